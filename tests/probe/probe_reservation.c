/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_reservation.c: a held port blocks every other bind and says nothing
 *
 * TCP: a dual-stack IPv6 socket that listens with a backlog of 0 behind a
 * filter that drops all. UDP: the same without the listening. Silence is shown
 * against a port that nobody holds: its refusal arrives, and only then is the
 * held one asked whether anything came.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

#define HELD 20000
#define FREE 20001
#define WAIT_MS 10000

/* An address of either family */
union any {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/**
 * loopback() - address of this host
 * @family: AF_INET or AF_INET6
 * @port: number
 *
 * Return: the address.
 */
static union any loopback(int family, uint16_t port)
{
	union any any = {0};

	any.sa.sa_family = (sa_family_t)family;
	any.v4.sin_port = htons(port); /* at the same place in both */
	if (family == AF_INET)
		any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		any.v6.sin6_addr = in6addr_loopback;
	return any;
}

/**
 * hold() - reserve HELD
 * @type: SOCK_STREAM or SOCK_DGRAM
 *
 * Return: fd
 */
static int hold(int type)
{
	struct sock_filter drop = {.code = BPF_RET | BPF_K, .k = 0};
	struct sock_fprog program = {.len = 1, .filter = &drop};
	union any any = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(HELD)}};
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), off = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    bind(fd, &any.sa, sizeof(any.v6)) < 0 || (type == SOCK_STREAM && listen(fd, 0) < 0))
		tap_bail("hold");
	return fd;
}

/**
 * blocked() - is a bind to HELD refused?
 * @family: AF_INET or AF_INET6
 * @type: of socket
 * @option: SO_REUSEADDR, SO_REUSEPORT, or 0
 *
 * Return: true for EADDRINUSE.
 */
static bool blocked(int family, int type, int option)
{
	union any any = loopback(family, HELD);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), on = 1;
	bool refused;

	if (fd < 0 || (option && setsockopt(fd, SOL_SOCKET, option, &on, sizeof(on)) < 0))
		tap_bail("socket");
	refused = bind(fd, &any.sa, sizeof(any)) < 0 && errno == EADDRINUSE;
	/* two TCP sockets with SO_REUSEADDR may share a port until one listens */
	if (!refused && type == SOCK_STREAM)
		refused = listen(fd, 1) < 0 && errno == EADDRINUSE;
	close(fd);
	return refused;
}

/**
 * call() - begin to talk to a port of this host
 * @family: AF_INET or AF_INET6
 * @type: of socket
 * @port: number
 *
 * Return: fd
 */
static int call(int family, int type, uint16_t port)
{
	union any any = loopback(family, port);
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, &any.sa, sizeof(any)) < 0 && errno != EINPROGRESS && errno != ECONNREFUSED))
		tap_bail("connect");
	if (type == SOCK_DGRAM && send(fd, "x", 1, 0) < 0 && errno != ECONNREFUSED)
		tap_bail("send");
	return fd;
}

/**
 * answered() - did anything come back?
 * @fd: from call()
 * @type: of socket: a TCP one becomes writable also when it is accepted
 * @timeout: ms
 *
 * Return: true if poll(2) says so.
 */
static bool answered(int fd, int type, int timeout)
{
	struct pollfd poll_fd = {.fd = fd, .events = type == SOCK_STREAM ? POLLIN | POLLOUT : POLLIN};

	return poll(&poll_fd, 1, timeout) > 0;
}

int main(void)
{
	static const struct {
		int type;
		const char *name;
	} types[] = {{SOCK_STREAM, "TCP"}, {SOCK_DGRAM, "UDP"}};
	static const int families[] = {AF_INET, AF_INET6}, options[] = {0, SO_REUSEADDR, SO_REUSEPORT};

	tap_need_root();
	if (unshare(CLONE_NEWNET) < 0)
		tap_skip("no network namespaces here: %s", strerror(errno));
	if (system("ip link set lo up") != 0)
		tap_skip("ip(8) does not work here");
	for (unsigned t = 0; t < 2; t++) {
		hold(types[t].type);
		for (unsigned f = 0; f < 2; f++) {
			int held = call(families[f], types[t].type, HELD),
			    free_ = call(families[f], types[t].type, FREE);
			int version = families[f] == AF_INET ? 4 : 6;

			tap_ok(answered(free_, types[t].type, WAIT_MS), "%s over IPv%d: a free port refuses",
			       types[t].name, version);
			tap_ok(!answered(held, types[t].type, 0), "%s over IPv%d: a held port is silent",
			       types[t].name, version);
			for (unsigned o = 0; o < 3; o++)
				tap_ok(blocked(families[f], types[t].type, options[o]),
				       "%s over IPv%d: it blocks a bind, option %d", types[t].name, version,
				       options[o]);
			close(held);
			close(free_);
		}
	}
	return tap_end();
}
