/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_reserve.c: who holds which ports, and whether the rest of the host stays off them
 *
 * Nothing sleeps but for the shortest quarantine that there is: what is to stay
 * held is given an hour, what is to go is given no time at all.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "reserve_world.h"

#define WAIT_MS 10000 /* for an answer */

START_TEST(every_address)
{
	unsigned class;

	for (class = 0; class < STEER_PORT_CLASSES; class ++) {
		ck_assert_int_eq(acquire(&all, 10, class, ANY, AF_UNSPEC, 5000, 5009), 0);
		ck_assert_uint_eq(held_fds(), kernel_has(class) ? 10 : 0);
		ck_held(class, 5000, 0xf);
		ck_held(class, 5009, 0xf);
		ck_held(class, 5010, 0);
		ck_assert_int_eq(release(&all, 10, class, ANY, AF_UNSPEC, 5000, 5009, 0), 0);
		ck_assert_uint_eq(held_fds(), 0);
		ck_held(class, 5000, 0);
	}
}
END_TEST

START_TEST(one_family)
{
	unsigned class;

	for (class = CLASS_TCP; class <= CLASS_UDP; class ++) {
		ck_assert_int_eq(acquire(&all, 10, class, ANY, AF_INET, 5000, 5000), 0);
		ck_held(class, 5000, 0x3);
		ck_assert_int_eq(acquire(&all, 11, class, ANY, AF_INET6, 5000, 5000), 0);
		ck_held(class, 5000, 0xf);
		ck_assert_uint_eq(held_fds(), 2);
		ck_assert_int_eq(acquire(&all, 11, class, ANY, AF_UNSPEC, 5000, 5000), EADDRINUSE);
		ck_assert_int_eq(release(&all, 10, class, ANY, AF_INET, 5000, 5000, 0), 0);
		ck_held(class, 5000, 0xc);
		ck_assert_int_eq(acquire(&all, 11, class, ANY, AF_UNSPEC, 5000, 5000), 0);
		ck_held(class, 5000, 0xf);
		ck_assert_uint_eq(held_fds(), 2);
		reserve_orphan(&ns, 0);
	}
}
END_TEST

START_TEST(one_address)
{
	unsigned class, row;

	for (class = CLASS_TCP; class <= CLASS_UDP; class ++)
		for (row = 0; row < ROWS; row++) {
			ck_assert_int_eq(acquire(&all, 10, class, row, 0, 5000, 5001), 0);
			ck_assert_uint_eq(held_fds(), 2);
			ck_held(class, 5001, 1u << row);
			ck_assert_int_eq(release(&all, 10, class, row, 0, 5000, 5001, 0), 0);
			ck_held(class, 5001, 0);
		}
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000), 0);
	ck_held(CLASS_TCP, 6000, 0x5);
	ck_assert_int_eq(acquire(&second, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000), 0);
	ck_held(CLASS_TCP, 6000, 0x7);
	ck_assert_int_eq(acquire(&second, 10, CLASS_TCP, ANY, AF_INET6, 6001, 6001), EADDRNOTAVAIL);
}
END_TEST

START_TEST(references)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5000, 5000), 0);
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert_uint_eq(entered, 1);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_INET, 5000, 5000, 0), EINVAL);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000, 0), 0);
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000, 0), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000, 0), EINVAL);
	/* the socket for all is still what holds the one */
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert(marks[CLASS_TCP][0][5000] && !marks[CLASS_TCP][1][5000]);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, 1, 0, 5000, 5000), 0);
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5000, 5000, 0), 0);
	ck_assert_int_eq(release(&all, 11, CLASS_TCP, 1, 0, 5000, 5000, 0), 0);
	ck_held(CLASS_TCP, 5000, 0);
}
END_TEST

/* Steering is told that the monitor lives with every socket that is made and every port that is let go */
START_TEST(alive_meanwhile)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, ANY, AF_UNSPEC, 5000, 5099), 0);
	ck_assert_uint_ge(beats, 100);
	beats = 0;
	ck_assert_int_eq(release(&all, 10, CLASS_UDP, ANY, AF_UNSPEC, 5000, 5099, 0), 0);
	ck_assert_uint_ge(beats, 100);
}
END_TEST

START_TEST(one_then_all)
{
	unsigned class;

	for (class = CLASS_TCP; class <= CLASS_UDP; class ++) {
		ck_assert_int_eq(acquire(&all, 10, class, 0, 0, 5000, 5000), 0);
		ck_assert_int_eq(acquire(&all, 10, class, ANY, AF_UNSPEC, 5000, 5000), 0);
		/* IPv4 address by address, IPv6 at once */
		ck_assert_uint_eq(held_fds(), 3);
		ck_held(class, 5000, 0xf);
		ck_assert_int_eq(release(&all, 10, class, 0, 0, 5000, 5000, 0), 0);
		ck_held(class, 5000, 0xf);
		ck_assert_int_eq(release(&all, 10, class, ANY, AF_UNSPEC, 5000, 5000, 0), 0);
		ck_held(class, 5000, 0);
	}
}
END_TEST

START_TEST(owners)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, 0, 0, 5000, 5005), 0);
	ck_assert_int_eq(acquire(&all, 11, CLASS_UDP, 0, 0, 5004, 5009), EADDRINUSE);
	ck_assert_uint_eq(in_the_way, 5004);
	ck_assert_int_eq(acquire(&all, 11, CLASS_UDP, ANY, AF_INET, 5005, 5005), EADDRINUSE);
	ck_assert_int_eq(acquire(&all, 11, CLASS_UDP, ANY, AF_INET6, 5005, 5005), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, ANY, AF_UNSPEC, 5005, 5005), EADDRINUSE);
	ck_assert_int_eq(acquire(&all, 11, CLASS_UDP, 1, 0, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, 0, 0, 5000, 5000), 0);
	ck_assert_int_eq(release(&all, 11, CLASS_UDP, 0, 0, 5000, 5000, 0), EINVAL);
	ck_held(CLASS_UDP, 5000, 0x3);
	ck_held(CLASS_UDP, 5006, 0);
}
END_TEST

START_TEST(out_of_range)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 4999, 5000), EACCES);
	ck_assert_uint_eq(in_the_way, 4999);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5990, 6009), EACCES);
	ck_assert_uint_eq(in_the_way, 6000);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5001, 5000), EINVAL);
	ck_assert_int_eq(acquire(&all, 10, STEER_CLASSES, ANY, AF_UNSPEC, 5000, 5000), EINVAL);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNIX, 5000, 5000), EINVAL);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 1, 0, 6000, 6000), EACCES);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ROWS, 0, 5000, 5000), EADDRNOTAVAIL);
	ns.address[0].present = false;
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5000, 5000), EADDRNOTAVAIL);
	ck_assert_uint_eq(entered, 0);
	ck_assert_uint_eq(marked, 0);
}
END_TEST

START_TEST(bad_releases)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5000, 5002), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5000, 5003, 0), EINVAL);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5002, 5001, 0), EINVAL);
	ck_assert_int_eq(release(&all, 10, STEER_CLASSES, 0, 0, 5000, 5000, 0), EINVAL);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 1, 0, 5000, 5000, 0), EINVAL);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 200, 0, 5000, 5000, 0), EINVAL);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 5000, 5000, 0), EINVAL);
	ck_held(CLASS_TCP, 5000, 0x1);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5000, 5002, HOUR_MS), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5000, 5002, HOUR_MS), EINVAL);
}
END_TEST

START_TEST(half_way)
{
	unsigned class, row;

	for (class = CLASS_TCP; class <= CLASS_UDP; class ++)
		for (row = 0; row < ROWS; row++) {
			int foreign = open_foreign(class, row, 5007);

			ck_assert_int_ge(foreign, 0);
			ck_assert_int_eq(acquire(&all, 10, class, 0, 0, 5002, 5002), 0);
			ck_assert_int_eq(acquire(&all, 10, class, ANY, AF_UNSPEC, 5000, 5009), EADDRINUSE);
			ck_assert_uint_eq(in_the_way, 5007);
			ck_assert_uint_eq(held_fds(), 2);
			ck_held(class, 5002, 1);
			ck_held(class, 5000, 0);
			ck_assert_int_eq(release(&all, 10, class, 0, 0, 5002, 5002, 0), 0);
			close(foreign);
			ck_assert_uint_eq(held_fds(), 0);
		}
}
END_TEST

START_TEST(no_more_files)
{
	struct rlimit limit, low = {64, 64};

	getrlimit(RLIMIT_NOFILE, &limit);
	low.rlim_max = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5099), EMFILE);
	ck_assert_uint_gt(in_the_way, 5030);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(held_fds(), 0);
	ck_assert_uint_eq(marked, 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5099), 0);
}
END_TEST

START_TEST(quarantine)
{
	int ms;

	ck_assert_int_eq(reserve_sweep(&ns), -1);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5001), 0);
	ck_assert_int_eq(reserve_sweep(&ns), -1);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5001, HOUR_MS), 0);
	ms = reserve_sweep(&ns);
	ck_assert(ms > HOUR_MS - 60000 && ms <= HOUR_MS + 100); /* this process may have had to wait for its turn */
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, 0, 0, 5000, 5000), EADDRINUSE);
	/* its owner may have it again, in another form too */
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5001, 5001), 0);
	ck_assert_uint_eq(held_fds(), 2);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000, 1), 0);
	while ((ms = reserve_sweep(&ns)) >= 0 && ms < 1000) {
		ck_assert_int_gt(ms, 0);
		poll(NULL, 0, ms);
	}
	ck_held(CLASS_TCP, 5000, 0);
	ck_held(CLASS_TCP, 5001, 0xf);
}
END_TEST

START_TEST(over_but_not_swept)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5000, 5000), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, 0, 0, 5000, 5000, 1), 0);
	poll(NULL, 0, 102);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_assert_int_eq(reserve_sweep(&ns), -1);
}
END_TEST

START_TEST(dead_relay)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5009), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_UDP, 0, 0, 6000, 6000), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_UDP, 0, 0, 6000, 6000), 0);
	reserve_orphan(&ns, HOUR_MS);
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_held(CLASS_UDP, 6000, 0x1);
	ck_assert_int_eq(release(&first, 10, CLASS_UDP, 0, 0, 6000, 6000, 0), EINVAL);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), EADDRINUSE);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_UDP, 0, 0, 6000, 6000), 0);
	ck_assert_int_eq(release(&first, 10, CLASS_UDP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_UDP, 6000, 0);
	/* what waits already waits no longer, and the second death takes what the second relay had */
	reserve_orphan(&ns, 0);
	ck_held(CLASS_TCP, 5000, 0);
	ck_held(CLASS_TCP, 5001, 0xf);
}
END_TEST

/**
 * counter() - a counter of the namespace
 * @group: line in /proc/net/snmp, with its colon
 * @name: column
 */
static unsigned long counter(const char *group, const char *name)
{
	char names[2048], values[2048], *a, *b, *rest_a = NULL, *rest_b = NULL;
	FILE *fp = fopen("/proc/thread-self/net/snmp", "r");
	unsigned long value = 0;

	while (fgets(names, sizeof(names), fp) && fgets(values, sizeof(values), fp)) {
		if (strncmp(names, group, strlen(group)) != 0)
			continue;
		a = strtok_r(names, " \n", &rest_a);
		b = strtok_r(values, " \n", &rest_b);
		for (; a && b && strcmp(a, name) != 0; a = strtok_r(NULL, " \n", &rest_a))
			b = strtok_r(NULL, " \n", &rest_b);
		ck_assert(a && b);
		value = strtoul(b, NULL, 10);
	}
	fclose(fp);
	return value;
}

/**
 * knock() - a SYN or a datagram to a port on the first address
 * @type: of socket
 * @protocol: of socket, 0 for TCP and UDP
 * @port: port
 *
 * Return: socket
 */
static int knock(int type, int protocol, unsigned port)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, protocol);
	struct sockaddr_storage ss;

	ck_assert_int_ge(fd, 0);
	addr_to_sockaddr(&ns.address[0].addr, (uint16_t)port, &ss);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&ss, sizeof(ss)), type == SOCK_STREAM ? -1 : 0);
	if (type == SOCK_DGRAM)
		ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	return fd;
}

/**
 * answered() - whether a knock was answered; closes its socket
 * @fd: from knock()
 * @type: of socket: a TCP one becomes writable also when it is accepted
 * @ms: to wait for the answer: loopback too delivers when the kernel gets to it
 */
static bool answered(int fd, int type, int ms)
{
	struct pollfd answer_fd = {.fd = fd, .events = type == SOCK_STREAM ? POLLIN | POLLOUT : POLLIN};
	bool answer = poll(&answer_fd, 1, ms) > 0;

	close(fd);
	return answer;
}

START_TEST(silence)
{
	unsigned long resets = counter("Tcp:", "OutRsts"), unreachable = counter("Icmp:", "OutDestUnreachs");
	int tcp[2], udp[2];

	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, 0, 0, 5001, 5001), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, 0, 0, 5001, 5001), 0);
	for (unsigned port = 5000; port <= 5001; port++) {
		tcp[port - 5000] = knock(SOCK_STREAM, 0, port);
		udp[port - 5000] = knock(SOCK_DGRAM, 0, port);
	}
	ck_assert(answered(knock(SOCK_STREAM, 0, 5002), SOCK_STREAM, WAIT_MS));
	ck_assert(answered(knock(SOCK_DGRAM, 0, 5002), SOCK_DGRAM, WAIT_MS));
	for (unsigned i = 0; i < 2; i++)
		ck_assert(!answered(tcp[i], SOCK_STREAM, 0) && !answered(udp[i], SOCK_DGRAM, 0));
	ck_assert_uint_eq(counter("Tcp:", "OutRsts"), resets + 1);
	ck_assert_uint_eq(counter("Icmp:", "OutDestUnreachs"), unreachable + 1);
}
END_TEST

/** forbid_sockets() - from now on this process is killed when it asks for a socket of a protocol */
static void forbid_sockets(unsigned protocol)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* A protocol that the kernel lacks has nothing to be held, and is not even asked for: that would load a module */
START_TEST(absent_protocols)
{
	static const unsigned classes[] = {CLASS_SCTP, CLASS_DCCP, CLASS_UDPLITE};
	static const unsigned protocols[] = {IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_UDPLITE};
	size_t i, sockets = 0;

	for (i = 0; i < ARRAY_SIZE(classes); i++) {
		unsigned class = classes[i];

		if (!kernel_has(class))
			forbid_sockets(protocols[i]);
		ck_assert_int_eq(acquire(&all, 10, class, ANY, AF_UNSPEC, 5000, 5000), 0);
		ck_assert_int_eq(acquire(&first, 10, class, 0, 0, 6000, 6000), 0);
		ck_assert_int_eq(acquire(&second, 10, class, 1, 0, 6000, 6000), 0);
		ck_assert_int_eq(acquire(&second, 11, class, 1, 0, 6000, 6000), EADDRINUSE);
		sockets += kernel_has(class) ? 3 : 0;
		ck_assert_uint_eq(held_fds(), sockets);
		ck_held(class, 5000, 0xf);
		ck_held(class, 6000, 0x3);
		ck_assert_int_eq(release(&first, 10, class, 0, 0, 6000, 6000, 0), 0);
		sockets -= kernel_has(class) ? 1 : 0;
		ck_held(class, 6000, 0x2);
	}
}
END_TEST

START_TEST(silence_udplite)
{
	unsigned long unreachable = counter("Icmp:", "OutDestUnreachs");
	int held;

	if (!kernel_has(CLASS_UDPLITE))
		return;
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDPLITE, ANY, AF_UNSPEC, 5000, 5000), 0);
	held = knock(SOCK_DGRAM, IPPROTO_UDPLITE, 5000);
	ck_assert(answered(knock(SOCK_DGRAM, IPPROTO_UDPLITE, 5001), SOCK_DGRAM, WAIT_MS));
	ck_assert(!answered(held, SOCK_DGRAM, 0));
	ck_assert_uint_eq(counter("Icmp:", "OutDestUnreachs"), unreachable + 1);
}
END_TEST

START_TEST(address_came)
{
	add_row(texts[ROWS], false);
	own(&first, texts[ROWS]);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6001), 0);
	ck_assert_int_eq(acquire(&second, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6001), 0);
	ck_assert(!marks[CLASS_TCP][ROWS][6000]);
	ck_assert_uint_eq(held_fds(), 1 + 4 + 2);
	run("ip addr add 192.0.2.9/32 dev lo");
	ck_assert_int_ge(open_foreign(CLASS_TCP, ROWS, 6001), 0);
	ns.address[ROWS].present = true;
	reserve_extend(&ns);
	ck_assert(marks[CLASS_TCP][ROWS][5000] && marks[CLASS_TCP][ROWS][6000]);
	/* somebody else was first there */
	ck_assert(!marks[CLASS_TCP][ROWS][6001]);
	ck_held(CLASS_TCP, 6001, 0x7);
	ck_assert(shut(CLASS_TCP, ROWS, 6000) && shut(CLASS_TCP, ROWS, 5000));
	ck_assert_uint_eq(held_fds(), 1 + 4 + 2 + 1 + 1);
	reserve_extend(&ns);
	ck_assert_uint_eq(held_fds(), 1 + 4 + 2 + 1 + 1);
	base_fds++; /* the foreign one */
}
END_TEST

START_TEST(new_address)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_INET6, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, ANY, AF_UNSPEC, 5000, 5000), 0);
	add_row("2001:db8::9", true);
	reserve_extend(&ns);
	ck_assert(marks[CLASS_TCP][ROWS][5000] && marks[CLASS_ICMP][ROWS][5000]);
	ck_assert_uint_eq(held_fds(), 2);
}
END_TEST

START_TEST(before_any_address)
{
	unsigned i;

	ns.addresses = 0;
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, ANY, AF_INET, 5000, 5000), EADDRINUSE);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000), EADDRNOTAVAIL);
	ns.addresses = ROWS;
	for (i = 0; i < ROWS; i++)
		reserve_extend(&ns);
	ck_held(CLASS_TCP, 5000, 0xf);
}
END_TEST

/**
 * reload() - a new configuration
 * @slice: its slices
 * @n: how many
 */
static void reload(const struct conf_slice *slice, unsigned n)
{
	struct conf_netns names[2] = {{.name = "other"}, {.name = "test"}};
	struct conf conf = {.netnses = 2, .netns = names, .slices = n, .slice = calloc(n + 1, sizeof(*slice))};

	if (n)
		memcpy(conf.slice, slice, n * sizeof(*slice));
	while (n--)
		conf.slice[n].netns = 1;
	reserve_refit(&ns, &conf);
	free(conf.slice);
}

START_TEST(refit)
{
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5001), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5002, 5002), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5002, 5002, HOUR_MS), 0);
	all.range[CLASS_TCP].hi = 5000;
	reload(&all, 1);
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_held(CLASS_TCP, 5001, 0);
	ck_held(CLASS_TCP, 5002, 0);
	ck_held(CLASS_TCP, 6000, 0);
	ck_assert_uint_eq(held_fds(), 1);
	/* the relay lets go of what it lost, once */
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5001, 5001, HOUR_MS), 0);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5001, 5001, HOUR_MS), EINVAL);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5002, 5002, HOUR_MS), EINVAL);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, HOUR_MS), 0);
	ck_assert_int_eq(reserve_sweep(&ns), -1);
}
END_TEST

START_TEST(stale_is_in_nobodys_way)
{
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	reload(NULL, 0);
	ck_assert_uint_eq(held_fds(), 0);
	second.addresses = 0;
	reload(&second, 1);
	ck_assert_int_eq(acquire(&second, 11, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000), 0);
	ck_held(CLASS_TCP, 6000, 0xf);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_TCP, 6000, 0xf);
}
END_TEST

START_TEST(stale_comes_back)
{
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	reload(NULL, 0);
	reload(&first, 1);
	ck_held(CLASS_TCP, 6000, 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	ck_held(CLASS_TCP, 6000, 1);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_TCP, 6000, 1);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_TCP, 6000, 0);
	/* the relay died in between */
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	reload(NULL, 0);
	reserve_orphan(&ns, HOUR_MS);
	ck_assert_int_eq(reserve_sweep(&ns), -1);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, 0), EINVAL);
}
END_TEST

START_TEST(other_addresses)
{
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000), 0);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, 0, 0, 6000, 6000), 0);
	first.addresses = 0;
	own(&first, texts[3]);
	reload(&first, 1);
	ck_held(CLASS_TCP, 6000, 0x8);
	first.addresses = 0;
	reload(&first, 1);
	ck_held(CLASS_TCP, 6000, 0xf);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, ANY, AF_UNSPEC, 6000, 6000, 0), 0);
	ck_assert_int_eq(release(&first, 10, CLASS_TCP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_TCP, 6000, 0);
}
END_TEST

START_TEST(identifiers)
{
	ck_assert_int_eq(acquire(&first, 10, CLASS_ICMP, 0, 0, 6000, 6000), 0);
	ck_assert_uint_eq(held_fds(), 1);
	ck_held(CLASS_ICMP, 6000, 0x1);
	ck_assert_int_eq(acquire(&second, 11, CLASS_ICMP, 1, 0, 6000, 6000), 0);
	ck_assert_int_eq(acquire(&second, 10, CLASS_ICMP, ANY, AF_INET, 6000, 6000), EADDRINUSE);
	ck_held(CLASS_ICMP, 6000, 0x3);
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert_int_eq(release(&first, 10, CLASS_ICMP, 0, 0, 6000, 6000, 0), 0);
	ck_held(CLASS_ICMP, 6000, 0x2);
	ck_assert_int_ge(open_foreign(CLASS_ICMP, 2, 6001), 0);
	base_fds++;
	ck_assert_int_eq(acquire(&second, 11, CLASS_ICMP, 1, 0, 6001, 6001), EADDRINUSE);
}
END_TEST

START_TEST(ping_groups)
{
	/* nobody can have a ping socket: nothing to be held */
	run("echo 1 0 >/proc/sys/net/ipv4/ping_group_range");
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_uint_eq(held_fds(), 0);
	ck_assert(marks[CLASS_ICMP][0][5000]);
	ck_assert_int_eq(release(&all, 10, CLASS_ICMP, ANY, AF_UNSPEC, 5000, 5000, 0), 0);
	/* others can: the socket is made as one of them */
	run("echo 100 200 >/proc/sys/net/ipv4/ping_group_range");
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert_uint_eq(getegid(), 0);
	ck_assert_int_eq(setegid(150), 0);
	ck_held(CLASS_ICMP, 5000, 0xf);
	/* and may not be: as an unprivileged process would find it */
	ck_assert_int_eq(setegid(0), 0);
	run("echo 100 200 >/proc/sys/net/ipv4/ping_group_range");
	ck_assert_int_eq(seteuid(1), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, ANY, AF_UNSPEC, 5001, 5001), EADDRNOTAVAIL);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(without_ipv6)
{
	ns.addresses = 2;
	no_v6 = true;
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, ANY, AF_INET, 5000, 5000), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_UDP, ANY, AF_INET6, 5001, 5001), EADDRNOTAVAIL);
	ck_assert(marks[CLASS_TCP][1][5000] && marks[CLASS_UDP][1][5000]);
	ck_assert(shut(CLASS_TCP, 0, 5000) && shut(CLASS_UDP, 1, 5000));
	no_v6 = false;
	ns.addresses = ROWS;
	reserve_orphan(&ns, 0);
}
END_TEST

START_TEST(proxied)
{
	const unsigned v4 = proxy(&first, "198.51.100.64/28"), v6 = proxy(&second, "2001:db8:9::/64");
	unsigned class;

	for (class = 0; class < STEER_PORT_CLASSES; class ++) {
		ck_assert_int_eq(acquire(&first, 10, class, v4, 0, 0, 65535), 0);
		ck_assert_int_eq(acquire(&first, 11, class, v4, 0, 80, 80), EADDRINUSE);
		ck_assert_int_eq(acquire(&first, 10, class, v6, 0, 80, 80), EACCES);
		ck_assert_int_eq(acquire(&second, 10, class, v6, 0, 80, 80), 0);
		ck_assert(marks[class][v4][0] && marks[class][v4][65535] && marks[class][v6][80]);
		ck_assert(!marks[class][v6][81] && !marks[class][0][80]);
		ck_assert_uint_eq(reserve_covered(&ns, (uint8_t) class, 80), 0);
		ck_assert_int_eq(release(&first, 10, class, v4, 0, 0, 65535, 0), 0);
		ck_assert(!marks[class][v4][80] && marks[class][v6][80]);
		ck_assert_int_eq(release(&second, 10, class, v6, 0, 80, 80, 0), 0);
	}
	ck_assert_int_eq(acquire(&first, 10, CLASS_GRANT, v4, 0, 1, 1), EACCES);
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, STEER_ADDRESSES_MAX + 2, 0, 80, 80), EADDRNOTAVAIL);
	ns.address[v4].present = false;
	ck_assert_int_eq(acquire(&first, 10, CLASS_TCP, v4, 0, 80, 80), EADDRNOTAVAIL);
	ck_assert_uint_eq(held_fds(), 0);
	ck_assert_uint_eq(entered, 0);
}
END_TEST

START_TEST(proxied_beside_own)
{
	const unsigned row = proxy(&all, "198.51.100.64/28");

	/* "any" is about own addresses alone, and a socket for those is none of the prefix's */
	ck_assert_int_eq(acquire(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000), 0);
	ck_held(CLASS_TCP, 5000, 0xf);
	ck_assert(!marks[CLASS_TCP][row][5000]);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, row, 0, 5000, 5000), 0);
	ck_assert(marks[CLASS_TCP][row][5000]);
	ck_assert_uint_eq(held_fds(), 1);
	ck_assert_int_eq(release(&all, 10, CLASS_TCP, ANY, AF_UNSPEC, 5000, 5000, 0), 0);
	ck_held(CLASS_TCP, 5000, 0);
	ck_assert(marks[CLASS_TCP][row][5000]);
	ck_assert_uint_eq(held_fds(), 0);
	/* an identifier's one socket is for own addresses too, and comes with the first of them */
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, row, 0, 7, 7), 0);
	ck_assert_uint_eq(held_fds(), 0);
	ck_assert_int_eq(acquire(&all, 10, CLASS_ICMP, 0, 0, 5000, 5000), 0);
	ck_assert_uint_eq(held_fds(), 1);
	/* without its relay it waits, and is shut when its time is over */
	reserve_orphan(&ns, HOUR_MS);
	ck_assert(marks[CLASS_TCP][row][5000]);
	ck_assert_int_eq(acquire(&all, 12, CLASS_TCP, row, 0, 5000, 5000), EADDRINUSE);
	ck_assert_int_eq(acquire(&all, 11, CLASS_TCP, row, 0, 5000, 5000), 0);
	ck_assert_int_eq(release(&all, 11, CLASS_TCP, row, 0, 5000, 5000, 0), 0);
	ck_assert(!marks[CLASS_TCP][row][5000]);
}
END_TEST

/** main() - run them */
int main(void)
{
	const TTest *const tests[] = {
		every_address,   one_family,   one_address,        references,       one_then_all,
		owners,          out_of_range, bad_releases,       half_way,         no_more_files,
		quarantine,      dead_relay,   over_but_not_swept, silence,          address_came,
		new_address,     refit,        before_any_address, stale_comes_back, stale_is_in_nobodys_way,
		other_addresses, identifiers,  ping_groups,        without_ipv6,     absent_protocols,
		silence_udplite, proxied,      proxied_beside_own, alive_meanwhile,
	};

	return world_run("reserve", tests, ARRAY_SIZE(tests), 1);
}
