/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * traffic.c: small packets and round trips between ordinary sockets
 *
 * Run by links.py on both ends of a path. iperf3 measures throughput; this what it
 * measures badly.
 *
 *	traffic echo PORT               serve round trips, one byte each way, until killed
 *	traffic trips ADDRESS PORT SEC  prints how many round trips a second, over one TCP connection
 *	traffic sink ADDRESS PORT       prints datagrams a second from the first one on, when one of size 1 comes
 *	traffic flood ADDRESS PORT SEC SIZE
 *	                                sends datagrams as fast as possible, then ones of size 1
 *
 * The sink takes many datagrams with each call, so that it is the sender and the path that are
 * measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define ROOM 2048
#define LAST 20 /* datagrams that say that it is over: some may be lost */
#define BUFFER (8 << 20)

/**
 * die() - end for want of something
 * @what: what failed
 */
static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/**
 * now() - the time
 *
 * Return: seconds.
 */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/**
 * place() - an address and a port
 * @address: text
 * @port: text
 * @size: set to the size of the result
 *
 * Return: the socket address.
 */
static const struct sockaddr *place(const char *address, const char *port, socklen_t *size)
{
	static struct sockaddr_in6 v6;
	static struct sockaddr_in v4;
	const in_port_t number = htons((uint16_t)atoi(port));

	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
		v4.sin_family = AF_INET;
		v4.sin_port = number;
		*size = sizeof(v4);
		return (const struct sockaddr *)&v4;
	}
	if (inet_pton(AF_INET6, address, &v6.sin6_addr) != 1)
		die(address);
	v6.sin6_family = AF_INET6;
	v6.sin6_port = number;
	*size = sizeof(v6);
	return (const struct sockaddr *)&v6;
}

/**
 * echo() - serve round trips
 * @argv: port
 */
static int echo(char **argv)
{
	int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1, fd;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(argv[0]))};
	char byte;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, 4) < 0)
		die("listen");
	puts("ready");
	fflush(stdout);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
			;
		close(fd);
	}
	die("accept");
}

/**
 * trips() - count round trips
 * @argv: address, port, seconds
 */
static int trips(char **argv)
{
	socklen_t size;
	const struct sockaddr *to = place(argv[0], argv[1], &size);
	int fd = socket(to->sa_family, SOCK_STREAM, 0), one = 1;
	double start, end;
	unsigned long n = 0;
	char byte = 0;

	if (connect(fd, to, size) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	start = now();
	end = start + atof(argv[2]);
	for (; now() < end; n++)
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			die("round trip");
	printf("%.0f\n", (double)n / (now() - start));
	return 0;
}

/**
 * messages() - a batch of messages
 * @header: filled in
 * @size: bytes of each
 */
static void messages(struct mmsghdr header[static BATCH], size_t size)
{
	static char room[BATCH][ROOM];
	static struct iovec iov[BATCH];

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){.iov_base = room[i], .iov_len = size};
		header[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
}

/**
 * sink() - count datagrams
 * @argv: address, port
 */
static int sink(char **argv)
{
	socklen_t size;
	const struct sockaddr *at = place(argv[0], argv[1], &size);
	int fd = socket(at->sa_family, SOCK_DGRAM, 0), room = BUFFER;
	struct mmsghdr header[BATCH];
	unsigned long n = 0;
	double start = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, at, size) < 0)
		die("bind");
	puts("ready");
	fflush(stdout);
	messages(header, ROOM);
	for (;;) {
		int got = recvmmsg(fd, header, BATCH, MSG_WAITFORONE, NULL);

		if (got < 0)
			die("recvmmsg");
		if (start == 0)
			start = now();
		for (int i = 0; i < got; i++) {
			if (header[i].msg_len == 1) {
				printf("%.0f\n", (double)n / (now() - start));
				return 0;
			}
			n++;
		}
	}
}

/**
 * flood() - send datagrams
 * @argv: address, port, seconds, size
 *
 * One call for each, as an ordinary program does.
 */
static int flood(char **argv)
{
	static const char payload[ROOM];
	socklen_t size;
	const struct sockaddr *to = place(argv[0], argv[1], &size);
	int fd = socket(to->sa_family, SOCK_DGRAM, 0);
	size_t bytes = (size_t)atoi(argv[3]);
	double end = now() + atof(argv[2]);

	if (connect(fd, to, size) < 0)
		die("connect");
	while (now() < end)
		for (unsigned i = 0; i < BATCH; i++)
			if (send(fd, payload, bytes, 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS)
				die("send");
	for (unsigned i = 0; i < LAST; i++) {
		usleep(10000);
		if (send(fd, payload, 1, 0) < 0)
			break;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*job)(char **argv);
	} jobs[] = {{"echo", 1, echo}, {"trips", 3, trips}, {"sink", 2, sink}, {"flood", 4, flood}};

	for (unsigned i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
		if (argc >= 2 && !strcmp(argv[1], jobs[i].name) && argc == 2 + jobs[i].arguments)
			return jobs[i].job(argv + 2);
	fputs("usage: traffic echo PORT | trips ADDRESS PORT SEC | sink ADDRESS PORT | flood ADDRESS PORT SEC SIZE\n",
	      stderr);
	return 2;
}
