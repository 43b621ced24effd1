/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench.c: one measurement of one way to have N flows
 *
 * Run by bench.py inside the host namespace, with an open fd of the peer
 * namespace. It opens N UDP flows by one of four methods, does one job with
 * them for some seconds, and prints one JSON object.
 *
 *   methods  saferaw  plain flows through the broker
 *            raw      control: a raw socket per flow with a BPF port filter (root)
 *            pcap     control: a libpcap handle per flow to receive, a raw socket to send (root)
 *            tun      control: one bare TUN that all packets are routed to, no demultiplexing (root)
 *   jobs     receive  the peer sends to the flows in turn; closed loop: a window of packets is out at
 *                     most, so nothing is lost and slow methods are measured at their own speed
 *            send     the flows send in turn to the peer, which counts what arrives at its device
 *            echo     one flow after the other sends a datagram to an echo server and waits for it
 *
 * CPU is that of the whole system: wall time of all processors minus their
 * idle time (/proc/stat), so work done in soft interrupts, the broker and the
 * generator all count, for each method alike.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "saferaw.h"

#define PAYLOAD 32
#define PACKET (sizeof(struct iphdr) + sizeof(struct udphdr) + PAYLOAD)
#define ECHO_PORT 7
#define SINK_PORT 9

struct method;

/* One flow as its method has it */
struct endpoint {
	int fd;
	uint16_t port;
	pcap_t *pcap;
	struct saferaw_flow *flow;
};

/* What the command line asked for, and what was made of it */
struct bench {
	const struct method *method;
	const char *slice;
	struct in_addr host, peer;
	int peer_netns;
	unsigned flows, seconds, window;
	uint16_t first_port;
	struct endpoint *endpoint;
	struct saferaw *saferaw;
	int epoll;
	uint64_t packets;
};

/* A way to have flows */
struct method {
	const char *name;
	void (*open)(struct bench *bench, struct endpoint *endpoint);
	unsigned (*receive)(struct endpoint *endpoint, void *buffer, size_t room); /* packets taken, 0: none there */
	bool single; /* one endpoint whatever the number of flows */
};

/** die() - end the run with a message and errno's text */
static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/** now_ns() - CLOCK_MONOTONIC in ns */
static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/** idle_ns() - idle time of all processors together since boot, ns */
static uint64_t idle_ns(void)
{
	uint64_t user, nice, system, idle, iowait;
	FILE *file = fopen("/proc/stat", "re");

	if (!file || fscanf(file, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &user, &nice,
			    &system, &idle, &iowait) != 5)
		die("/proc/stat");
	fclose(file);
	return (idle + iowait) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

/** packet_fill() - a UDP packet from the host's port to the peer's */
static void packet_fill(uint8_t packet[static PACKET], const struct bench *bench, uint16_t from, uint16_t to)
{
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .tot_len = htons(PACKET),
			   .ttl = 64,
			   .protocol = IPPROTO_UDP,
			   .saddr = bench->host.s_addr,
			   .daddr = bench->peer.s_addr};
	struct udphdr udp = {.source = htons(from), .dest = htons(to), .len = htons(sizeof(udp) + PAYLOAD)};

	memset(packet, 0, PACKET);
	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), &udp, sizeof(udp));
}

/** raw_open() - a raw UDP socket that takes packets to its port alone */
static void raw_open(struct bench *bench, struct endpoint *endpoint)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, endpoint->port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = bench->peer};
	int one = 1;

	endpoint->fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (endpoint->fd < 0 ||
	    setsockopt(endpoint->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(endpoint->fd, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) < 0 ||
	    connect(endpoint->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("raw socket");
}

/** socket_receive() - one packet from a socket or TUN */
static unsigned socket_receive(struct endpoint *endpoint, void *buffer, size_t room)
{
	return read(endpoint->fd, buffer, room) > 0;
}

/** pcap_open_flow() - a capture handle for one port, with as small a ring as libpcap takes */
static void pcap_open_flow(struct bench *bench, struct endpoint *endpoint)
{
	char error[PCAP_ERRBUF_SIZE], expression[64];
	struct bpf_program program;
	pcap_t *pcap = pcap_create("any", error);

	(void)bench;
	snprintf(expression, sizeof(expression), "udp dst port %u", endpoint->port);
	if (!pcap || pcap_set_snaplen(pcap, 2046) || pcap_set_immediate_mode(pcap, 1) ||
	    pcap_set_buffer_size(pcap, 1 << 18) || pcap_activate(pcap) < 0 ||
	    pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN) || pcap_setfilter(pcap, &program) ||
	    pcap_setnonblock(pcap, 1, error))
		die("libpcap handle");
	pcap_freecode(&program);
	endpoint->pcap = pcap;
	endpoint->fd = pcap_get_selectable_fd(pcap);
}

/** pcap_receive() - every packet that waits in the ring */
static unsigned pcap_receive(struct endpoint *endpoint, void *buffer, size_t room)
{
	struct pcap_pkthdr *header;
	const u_char *data;
	unsigned packets = 0;

	while (pcap_next_ex(endpoint->pcap, &header, &data) == 1) {
		memcpy(buffer, data, header->caplen < room ? header->caplen : room);
		packets++;
	}
	return packets;
}

/** saferaw_open_flow() - a plain flow on the host's address */
static void saferaw_open_flow(struct bench *bench, struct endpoint *endpoint)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct sockaddr_in *local = (struct sockaddr_in *)&request.local;

	if (!bench->saferaw && !(bench->saferaw = saferaw_connect(bench->slice)))
		die("saferaw_connect");
	request.protocol = IPPROTO_UDP;
	local->sin_family = AF_INET;
	local->sin_addr = bench->host;
	local->sin_port = htons(endpoint->port);
	endpoint->flow = saferaw_open(bench->saferaw, &request);
	if (!endpoint->flow) {
		fprintf(stderr, "bench: %s\n", saferaw_error(bench->saferaw));
		die("saferaw_open");
	}
	endpoint->fd = saferaw_flow_fd(endpoint->flow);
}

/** saferaw_receive_flow() - one packet of a flow */
static unsigned saferaw_receive_flow(struct endpoint *endpoint, void *buffer, size_t room)
{
	return saferaw_recv(endpoint->flow, buffer, room, NULL, MSG_DONTWAIT) > 0;
}

/** tun_open() - attach to the TUN "bench0", which bench.py made */
static void tun_open(struct bench *bench, struct endpoint *endpoint)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};

	(void)bench;
	strcpy(ifr.ifr_name, "bench0");
	endpoint->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (endpoint->fd < 0 || ioctl(endpoint->fd, TUNSETIFF, &ifr) < 0)
		die("/dev/net/tun");
}

static const struct method methods[] = {
	{"saferaw", saferaw_open_flow, saferaw_receive_flow, false},
	{"raw", raw_open, socket_receive, false},
	{"pcap", pcap_open_flow, pcap_receive, false},
	{"tun", tun_open, socket_receive, true},
};

/** open_flows() - all endpoints, watched by one epoll */
static void open_flows(struct bench *bench)
{
	unsigned count = bench->method->single ? 1 : bench->flows;

	bench->endpoint = calloc(count, sizeof(*bench->endpoint));
	bench->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!bench->endpoint || bench->epoll < 0)
		die("memory");
	for (unsigned i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &bench->endpoint[i]};

		bench->endpoint[i].port = (uint16_t)(bench->first_port + i);
		bench->method->open(bench, &bench->endpoint[i]);
		if (epoll_ctl(bench->epoll, EPOLL_CTL_ADD, bench->endpoint[i].fd, &event) < 0)
			die("epoll_ctl");
	}
}

/** start_in_peer() - fork a child that runs in the peer namespace and dies with its parent */
static pid_t start_in_peer(struct bench *bench, void (*run)(struct bench *bench, int in, int out), int in, int out)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(bench->peer_netns, CLONE_NEWNET) < 0)
		die("setns");
	run(bench, in, out);
	_exit(0);
}

/** generate() - send a packet to each flow in turn, as many as the semaphore `in` allows */
static void generate(struct bench *bench, int in, int out)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = bench->host};
	uint8_t payload[PAYLOAD] = {0};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned next = 0;
	uint64_t credit;

	(void)out;
	while (read(in, &credit, sizeof(credit)) == sizeof(credit)) {
		while (credit--) {
			to.sin_port = htons((uint16_t)(bench->first_port + next));
			sendto(sock, payload, sizeof(payload), 0, (struct sockaddr *)&to, sizeof(to));
			next = (next + 1) % bench->flows;
		}
	}
}

/** echo_server() - send every datagram to port 7 back; says on `out` when it is bound */
static void echo_server(struct bench *bench, int in, int out)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = bench->peer, .sin_port = htons(ECHO_PORT)};
	uint8_t buffer[2048];
	uint64_t one = 1;
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)in;
	if (bind(sock, (struct sockaddr *)&at, sizeof(at)) < 0 || write(out, &one, sizeof(one)) < 0)
		die("echo server");
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		ssize_t size = recvfrom(sock, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length);

		if (size >= 0)
			sendto(sock, buffer, (size_t)size, 0, (struct sockaddr *)&from, length);
	}
}

/** print_result() - the run's JSON object */
static void print_result(const struct bench *bench, const char *job, uint64_t wall, uint64_t cpu, const char *more)
{
	printf("{\"method\": \"%s\", \"job\": \"%s\", \"flows\": %u, \"packets\": %" PRIu64
	       ", \"seconds\": %.6f, \"cpu_us\": %.4f%s}\n",
	       bench->method->name, job, bench->flows, bench->packets, (double)wall / 1e9,
	       bench->packets ? (double)cpu / 1e3 / (double)bench->packets : 0.0, more);
}

/**
 * take_ready() - wait, and read once from each ready endpoint, as level-triggered programs do
 *
 * Return: the number of packets.
 */
static unsigned take_ready(struct bench *bench, int timeout_ms)
{
	static uint8_t buffer[1 << 16];
	struct epoll_event events[64];
	unsigned packets = 0;
	int ready = epoll_wait(bench->epoll, events, 64, timeout_ms);

	for (int i = 0; i < ready; i++)
		packets += bench->method->receive(events[i].data.ptr, buffer, sizeof(buffer));
	return packets;
}

/** job_receive() - receive for some seconds from a generator that has `window` packets out at most */
static void job_receive(struct bench *bench)
{
	int credits = eventfd(0, EFD_CLOEXEC);
	pid_t generator = start_in_peer(bench, generate, credits, -1);
	uint64_t start = now_ns(), idle = idle_ns(), end = start + bench->seconds * 1000000000ull;
	uint64_t out = 0, wall, cpu;

	while (now_ns() < end) {
		if (out <= bench->window / 2) {
			uint64_t more = bench->window - out;

			if (write(credits, &more, sizeof(more)) < 0)
				die("eventfd");
			out += more;
		}
		unsigned got = take_ready(bench, 1000);

		if (got == 0) /* all that was out is lost; count it as such by not counting it */
			out = 0;
		bench->packets += got;
		out -= got < out ? got : out;
	}
	wall = now_ns() - start;
	cpu = wall * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN) - (idle_ns() - idle);
	kill(generator, SIGKILL);
	waitpid(generator, NULL, 0);
	print_result(bench, "receive", wall, cpu, "");
}

/** peer_received() - packets that the peer's device has received; read in the peer namespace's sysfs by a child */
static uint64_t peer_received(struct bench *bench)
{
	char command[128], line[64] = "";
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "nsenter --net=/proc/%d/fd/%d ip -s -o link show eth0 | tr '\\\\' '\\n' | awk 'NR==4{print $2}'",
		 getpid(), bench->peer_netns);
	pipe = popen(command, "re");
	if (!pipe || !fgets(line, sizeof(line), pipe))
		die("the peer's counters");
	pclose(pipe);
	return strtoull(line, NULL, 10);
}

/** endpoint_send() - one packet out; blocks while the way is full */
static void endpoint_send(struct endpoint *endpoint, const uint8_t *packet)
{
	struct pollfd writable = {.fd = endpoint->fd, .events = POLLOUT};

	while (endpoint->flow ? saferaw_send(endpoint->flow, packet, PACKET, 0) < 0
			      : send(endpoint->fd, packet, PACKET, 0) < 0) {
		if (errno != EAGAIN && errno != ENOBUFS)
			die("send");
		poll(&writable, 1, 100);
	}
}

/** job_send() - the flows send in turn for some seconds */
static void job_send(struct bench *bench)
{
	uint8_t packet[PACKET];
	uint64_t before = peer_received(bench), start = now_ns(), idle = idle_ns(), wall, cpu;
	uint64_t end = start + bench->seconds * 1000000000ull;
	unsigned next = 0;

	while (now_ns() < end) {
		struct endpoint *endpoint = &bench->endpoint[next];

		packet_fill(packet, bench, endpoint->port, SINK_PORT);
		endpoint_send(endpoint, packet);
		next = (next + 1) % bench->flows;
	}
	wall = now_ns() - start;
	cpu = wall * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN) - (idle_ns() - idle);
	bench->packets = peer_received(bench) - before;
	print_result(bench, "send", wall, cpu, "");
}

/** compare_ns() - for qsort() */
static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/** job_echo() - round trips, one at a time */
static void job_echo(struct bench *bench)
{
	enum { TRIPS_MAX = 200000 };
	static uint64_t trip[TRIPS_MAX];
	int bound = eventfd(0, EFD_CLOEXEC);
	pid_t server = start_in_peer(bench, echo_server, -1, bound);
	uint8_t packet[PACKET];
	uint64_t one, start, idle, end, wall, cpu;
	unsigned next = 0, trips = 0;
	char more[96];

	if (read(bound, &one, sizeof(one)) < 0)
		die("echo server");
	start = now_ns();
	idle = idle_ns();
	end = start + bench->seconds * 1000000000ull;
	while (now_ns() < end && trips < TRIPS_MAX) {
		struct endpoint *endpoint = &bench->endpoint[next];
		uint64_t sent = now_ns();

		packet_fill(packet, bench, endpoint->port, ECHO_PORT);
		endpoint_send(endpoint, packet);
		if (take_ready(bench, 1000) != 0)
			trip[trips++] = now_ns() - sent;
		next = (next + 1) % bench->flows;
	}
	wall = now_ns() - start;
	cpu = wall * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN) - (idle_ns() - idle);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	if (!trips)
		die("no round trip");
	qsort(trip, trips, sizeof(trip[0]), compare_ns);
	bench->packets = trips;
	snprintf(more, sizeof(more), ", \"median_us\": %.2f, \"p99_us\": %.2f", (double)trip[trips / 2] / 1e3,
		 (double)trip[trips - 1 - trips / 100] / 1e3);
	print_result(bench, "echo", wall, cpu, more);
}

static const struct job {
	const char *name;
	void (*run)(struct bench *bench);
} jobs[] = {{"receive", job_receive}, {"send", job_send}, {"echo", job_echo}};

/** usage() - to stderr, and exit */
static _Noreturn void usage(void)
{
	fputs("usage: bench METHOD JOB FLOWS SECONDS WINDOW PEER-NETNS-PATH HOST PEER [SLICE]\n", stderr);
	exit(2);
}

/** main() - METHOD JOB FLOWS SECONDS WINDOW PEER-NETNS-PATH HOST PEER [SLICE] */
int main(int argc, char **argv)
{
	struct bench bench = {.first_port = 20000};
	const struct job *job = NULL;
	struct rlimit limit;

	if (argc < 9)
		usage();
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(argv[1], methods[i].name))
			bench.method = &methods[i];
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
		if (!strcmp(argv[2], jobs[i].name))
			job = &jobs[i];
	bench.flows = (unsigned)strtoul(argv[3], NULL, 10);
	bench.seconds = (unsigned)strtoul(argv[4], NULL, 10);
	bench.window = (unsigned)strtoul(argv[5], NULL, 10);
	bench.peer_netns = open(argv[6], O_RDONLY | O_CLOEXEC);
	if (!bench.method || !job || !bench.flows || !bench.window || bench.peer_netns < 0 ||
	    inet_pton(AF_INET, argv[7], &bench.host) != 1 || inet_pton(AF_INET, argv[8], &bench.peer) != 1)
		usage();
	bench.slice = argc > 9 ? argv[9] : NULL;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	open_flows(&bench);
	job->run(&bench);
	return 0;
}
