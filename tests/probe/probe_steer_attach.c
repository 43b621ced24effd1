/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_steer_attach.c: steering comes and goes without a trace, beside others, and by violence
 *
 * Others' programs are filters that tc(8) put there. A monitor that is killed
 * is a child that loads steering and then gets SIGKILL, while this process
 * keeps the TUN, as the relay would.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr.h"
#include "tap.h"
#include "util.h"
#include "world.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "steer.skel.h"
#pragma GCC diagnostic pop

#define OTHER_BEFORE "ingress protocol all pref 1 bpf bytecode '1,6 0 0 0'"
#define OTHER_CLOSE "ingress protocol ip pref 10 bpf bytecode '1,6 0 0 0'"
#define OTHER_AFTER "ingress protocol all pref 50 bpf bytecode '1,6 0 0 0'"

static struct packet packet;

/**
 * lines() - count lines of what a command prints
 * @ns: namespace to run it in
 * @command: to run
 * @text: that the lines contain
 *
 * Return: how many.
 */
static int lines(int ns, const char *command, const char *text)
{
	char line[512];
	FILE *output;
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), n = 0;

	world_enter(ns);
	output = popen(command, "re");
	world_enter(home);
	close(home);
	if (!output)
		tap_bail(command);
	while (fgets(line, sizeof(line), output))
		n += strstr(line, text) != NULL;
	pclose(output);
	return n;
}

/**
 * filters() - how many filters of ours are on the uplink
 * @w: the world
 *
 * Return: count
 */
static int filters(struct world *w)
{
	return lines(w->ns.fd, "tc filter show dev up0 ingress", "saferaw:steer_in");
}

/**
 * qdiscs() - how many clsact qdiscs the uplink has
 * @w: the world
 *
 * Return: 0 or 1
 */
static int qdiscs(struct world *w)
{
	return lines(w->ns.fd, "tc qdisc show dev up0", "clsact");
}

/**
 * others() - how many of the other owner's filters are there
 * @w: the world
 *
 * Return: count
 */
static int others(struct world *w)
{
	return lines(w->ns.fd, "tc filter show dev up0 ingress", "bytecode");
}

/**
 * steered() - is a packet from the wire steered?
 * @w: the world
 *
 * Return: true if it comes out of the TUN.
 */
static bool steered(struct world *w)
{
	const struct recipe r = {.src = PEER4, .dst = HOST4, .protocol = UDP, .sport = 80, .dport = PORT};

	packet_make(&packet, &r);
	return wire_send(w, &packet) && tun_gets(w, &packet);
}

/**
 * host_gets() - does a packet from the wire reach the host's own socket?
 * @w: the world
 *
 * Return: true if it does; that it was not steered then follows, as it is one packet.
 */
static bool host_gets(struct world *w)
{
	const struct recipe r = {.src = PEER4, .dst = HOST4, .protocol = UDP, .sport = 80, .dport = PORT};
	struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	struct sockaddr_storage ss;
	struct addr addr;
	uint8_t data[64];
	ssize_t n;
	int fd = world_socket(w->ns.fd, AF_INET, SOCK_DGRAM, 0);

	addr_parse(HOST4, &addr);
	addr_to_sockaddr(&addr, PORT, &ss);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)) < 0)
		tap_bail("bind");
	packet_make(&packet, &r);
	wire_send(w, &packet);
	n = recv(fd, data, sizeof(data), 0);
	close(fd);
	return n > 0 && packet_tag(data, (size_t)n) == packet.tag;
}

/**
 * stack_silent() - does nothing that the relay writes get through the host's stack?
 * @w: the world, without steer_out, forwarding everywhere
 *
 * A datagram of the host's own is the packet that comes after.
 *
 * Return: true if a forged packet does not reach the wire.
 */
static bool stack_silent(struct world *w)
{
	const struct recipe forged = {.src = "10.77.0.1", .dst = PEER4, .protocol = UDP, .sport = PORT, .dport = 80};
	int fd = world_socket(w->ns.fd, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	struct addr addr;
	uint8_t data[256];
	bool silent = true;
	uint32_t later;
	ssize_t n;

	packet_make(&packet, &forged);
	tun_send(w, &packet);
	addr_parse(PEER4, &addr);
	addr_to_sockaddr(&addr, 9, &ss);
	later = htonl(~packet.tag);
	sendto(fd, &later, sizeof(later), 0, (struct sockaddr *)&ss, sizeof(struct sockaddr_in));
	close(fd);
	while ((n = recv(w->wire, data, sizeof(data), 0)) > 0 && packet_tag(data, (size_t)n) != ~packet.tag)
		silent = silent && packet_tag(data, (size_t)n) != packet.tag;
	return silent && n > 0;
}

/**
 * killed_monitor() - load steering in a child, and kill it
 * @w: the world
 */
static void killed_monitor(struct world *w)
{
	int ready[2];
	char byte;
	pid_t child;

	if (pipe(ready) < 0 || (child = fork()) < 0)
		tap_bail("fork");
	if (child == 0) {
		world_steer(w);
		byte = steered(w);
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	tap_ok(read(ready[0], &byte, 1) == 1 && byte, "a child steers");
	close(ready[0]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/**
 * test_tcx() - links
 *
 * A link goes when its last fd does, and the kernel closes those of a killed process before the parent sees its end.
 */
static void test_tcx(void)
{
	struct world *w = world_make(CONF_ATTACH_TCX, 1500);
	const struct timeval limit = {.tv_sec = WAIT_MS / 1000};

	setsockopt(w->wire, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	world_sysctl(w->ns.fd, "ipv4/ip_forward", "1");
	world_sysctl(w->ns.fd, "ipv4/conf/all/rp_filter", "0");
	world_sysctl(w->ns.fd, "ipv4/conf/tun/rp_filter", "0");
	killed_monitor(w);
	tap_ok(host_gets(w), "tcx: after SIGKILL the host gets its packets again");
	tap_ok(stack_silent(w), "tcx: after SIGKILL nothing forged leaves by the host's stack");
	world_shell(w->ns.fd, "tc qdisc del dev tun clsact");
	tap_ok(!stack_silent(w), "tcx: and it would leave, were it not for steer_drop");
	world_steer(w);
	tap_ok(steered(w), "tcx: a new monitor steers");
	tap_ok(!strcmp(steering_mode(&w->ns), "tcx") && qdiscs(w) == 0, "tcx: no qdisc on the uplink");
	steering_detach(&w->ns, w->uplink);
	tap_ok(host_gets(w), "tcx: detached: the host gets its packets");
	tap_ok(steering_attach(&w->ns, w->uplink) == 0 && steering_attach(&w->ns, w->uplink) == 0 && steered(w),
	       "tcx: attached again, twice");
	steering_unload(&w->ns);
	tap_ok(host_gets(w), "tcx: unloaded: the host gets its packets");
	world_free(w);
}

/**
 * has_tcx() - is this kernel one with tcx links (Linux 6.6)?
 */
static bool has_tcx(void)
{
	struct utsname name;
	unsigned major, minor;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		tap_bail("uname");
	return major > 6 || (major == 6 && minor >= 6);
}

/**
 * test_without_tcx() - a kernel that has no links: who asks for them is told, who leaves the choice gets filters
 */
static void test_without_tcx(void)
{
	struct world *w = world_make(CONF_ATTACH_TCX, 1500);

	tap_ok(steering_load(&w->ns) < 0 && (errno == EINVAL || errno == EOPNOTSUPP),
	       "no tcx: refused where it is asked for");
	world_free(w);
	w = world_make(CONF_ATTACH_AUTO, 1500);
	world_steer(w);
	tap_ok(steered(w) && !strcmp(steering_mode(&w->ns), "clsact") && qdiscs(w) == 1, "no tcx: clsact is chosen");
	world_free(w);
}

/**
 * test_clsact() - filters, alone
 */
static void test_clsact(void)
{
	struct world *w = world_make(CONF_ATTACH_CLSACT, 1500);

	world_steer(w);
	tap_ok(steered(w) && filters(w) == 1 && qdiscs(w) == 1, "clsact: steers by one filter");
	tap_ok(steering_attach(&w->ns, w->uplink) == 0 && filters(w) == 1, "clsact: attached twice is attached once");
	tap_ok(steering_sweep(&w->ns, w->uplink) == 0 && steering_sweep(&w->ns, w->ns.tun_ifindex) == 0 &&
		       filters(w) == 1,
	       "clsact: a sweep spares what is in use");
	steering_detach(&w->ns, w->uplink);
	tap_ok(qdiscs(w) == 0 && host_gets(w), "clsact: detached: the qdisc is gone, the host gets its packets");
	steering_attach(&w->ns, w->uplink);
	world_shell(w->ns.fd, "tc filter add dev up0 " OTHER_AFTER);
	steering_unload(&w->ns);
	tap_ok(filters(w) == 0 && others(w) == 1 && qdiscs(w) == 1,
	       "clsact: a filter that came later survives the end");
	world_free(w);

	w = world_make(CONF_ATTACH_CLSACT, 1500);
	world_steer(w);
	world_shell(w->ns.fd, "ip link del up0");
	steering_detach(&w->ns, w->uplink);
	tap_ok(true, "clsact: an uplink that is gone can be detached");
	world_free(w);
}

/**
 * test_neighbours() - filters beside others', and after a violent end
 * @qdisc: that the other owner uses: clsact or ingress
 */
static void test_neighbours(const char *qdisc)
{
	struct world *w = world_make(CONF_ATTACH_CLSACT, 1500);
	int before;

	world_shell(w->ns.fd, "tc qdisc add dev up0 %s", qdisc);
	world_shell(w->ns.fd, "tc filter add dev up0 " OTHER_BEFORE);
	world_shell(w->ns.fd, "tc filter add dev up0 " OTHER_CLOSE);
	world_shell(w->ns.fd, "tc filter add dev up0 " OTHER_AFTER);
	before = others(w);
	tap_ok(before == 3, "%s: another's filters are there", qdisc);
	killed_monitor(w);
	tap_ok(filters(w) == 1 && others(w) == before, "%s: a killed monitor leaves its filter", qdisc);
	tap_ok(lines(w->ns.fd, "tc filter show dev tun ingress", "saferaw:steer_drop") == 1, "%s: and steer_drop",
	       qdisc);
	world_steer(w);
	tap_ok(lines(w->ns.fd, "tc filter show dev tun ingress", "saferaw:steer_out") == 1,
	       "%s: one steer_out on the TUN", qdisc);
	tap_ok(filters(w) == 1 && steered(w), "%s: the next one replaces it", qdisc);
	tap_ok(others(w) == before, "%s: another's filters survive the start", qdisc);
	steering_unload(&w->ns);
	tap_ok(filters(w) == 0 && others(w) == before && host_gets(w), "%s: they survive the end", qdisc);
	world_shell(w->ns.fd, "tc filter del dev up0 ingress");
	tap_ok(lines(w->ns.fd, "tc qdisc show dev up0", qdisc) == 1, "%s: so does the qdisc", qdisc);
	world_free(w);
}

/**
 * load_with_few_powers() - keep CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN alone, and load
 *
 * Return: 0, or what went wrong.
 */
static int load_with_few_powers(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct few[2] = {{0}};
	struct steer_bpf *bpf;

	few[0].effective = few[0].permitted = 1u << CAP_NET_ADMIN;
	few[1].effective = few[1].permitted = 1u << (CAP_BPF - 32) | 1u << (CAP_PERFMON - 32);
	if (syscall(SYS_capset, &header, few) < 0)
		return 1;
	bpf = steer_bpf__open_and_load();
	return bpf ? 0 : 2;
}

/**
 * test_powers() - the programs pass the verifier without CAP_SYS_ADMIN
 */
static void test_powers(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(load_with_few_powers());
	waitpid(child, &status, 0);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	       "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are enough to load");
}

int main(void)
{
	tap_need_root();
	if (system("tc -V >/dev/null 2>&1") != 0)
		tap_skip("tc(8) is not installed");
	test_powers();
	if (has_tcx())
		test_tcx();
	else
		test_without_tcx();
	test_clsact();
	test_neighbours("clsact");
	test_neighbours("ingress");
	return tap_end();
}
