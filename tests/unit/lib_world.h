/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_world.h: what the tests of the client library begin with
 *
 * Each test has a run directory of its own with the slice "unit" in it, served
 * by the stand-in, and a handle where its fixture is start_connected().
 */
#ifndef SAFERAW_LIB_WORLD_H
#define SAFERAW_LIB_WORLD_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsaferaw_int.h"
#include "stand_in.h"
#include "suite.h"

#define ck_assert_fails(call, error)                                                                                 \
	do {                                                                                                         \
		errno = 0;                                                                                           \
		ck_assert_int_eq(call, -1);                                                                          \
		ck_assert_int_eq(errno, error);                                                                      \
	} while (0)

#define ck_assert_null_errno(call, error)                                                                            \
	do {                                                                                                         \
		errno = 0;                                                                                           \
		ck_assert_ptr_null(call);                                                                            \
		ck_assert_int_eq(errno, error);                                                                      \
	} while (0)

static char run_dir[] = "/tmp/test_lib.XXXXXX";
static struct saferaw *handle;

/**
 * address() - an address from text that is one
 * @text: text
 */
static inline struct addr address(const char *text)
{
	struct addr addr;

	ck_assert(addr_parse(text, &addr));
	return addr;
}

/**
 * endpoint() - a socket address from text
 * @text: address
 * @port: host byte order
 */
static inline struct sockaddr_storage endpoint(const char *text, uint16_t port)
{
	struct addr addr = address(text);
	struct sockaddr_storage ss;

	addr_to_sockaddr(&addr, port, &ss);
	return ss;
}

/**
 * remove_entry() - delete one entry of a tree, for nftw()
 */
static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/**
 * start() - a run directory and a stand-in broker, no handle yet
 */
static inline void start(void)
{
	ck_assert_ptr_nonnull(mkdtemp(run_dir));
	setenv("SAFERAW_RUN_DIR", run_dir, 1);
	unsetenv("SAFERAW_SLICE");
	stand_in_start(run_dir, "unit");
	stand_in.info.mtu = 1500;
	stand_in.info.addresses = 2;
	stand_in.info.address[0] = address("192.0.2.1");
	stand_in.info.address[1] = address("2001:db8::1");
	stand_in.info.ranges = 1;
	stand_in.info.range[0] = (struct proto_range){.class = CLASS_UDP, .lo = 40000, .hi = 40999};
	stand_in.info.denied = 1;
	stand_in.info.deny[0] = (struct proto_prefix){.addr = address("203.0.113.0"), .len = 120};
	handle = NULL;
}

/**
 * start_connected() - the same with a handle
 */
static inline void start_connected(void)
{
	start();
	handle = saferaw_connect("unit");
	ck_assert_ptr_nonnull(handle);
}

/**
 * stop() - put everything away
 */
static inline void stop(void)
{
	saferaw_disconnect(handle);
	stand_in_stop();
	nftw(run_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	strcpy(run_dir + strlen(run_dir) - 6, "XXXXXX");
}

/**
 * open_udp() - a flow on 192.0.2.1 UDP 40001
 * @flags: SAFERAW_
 */
static inline struct saferaw_flow *open_udp(unsigned flags)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw_flow *flow;

	request.protocol = IPPROTO_UDP;
	request.flags = flags;
	request.local = endpoint("192.0.2.1", 40001);
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	return flow;
}

/**
 * packet() - an IPv4 UDP packet to port 53
 * @bytes: gets it
 * @length: of the packet, bytes
 * @from: source
 * @port: source port
 * @to: destination
 *
 * Return: @bytes
 */
static inline uint8_t *packet(uint8_t *bytes, uint16_t length, const char *from, uint16_t port, const char *to)
{
	struct ip ip = {.ip_v = 4, .ip_hl = 5, .ip_len = htons(length), .ip_ttl = 64, .ip_p = IPPROTO_UDP};
	struct udphdr udp = {.uh_sport = htons(port), .uh_dport = htons(53), .uh_ulen = htons(length - sizeof(ip))};

	inet_pton(AF_INET, from, &ip.ip_src);
	inet_pton(AF_INET, to, &ip.ip_dst);
	memset(bytes, 0, length);
	memcpy(bytes, &ip, sizeof(ip));
	memcpy(bytes + sizeof(ip), &udp, sizeof(udp));
	return bytes;
}

/**
 * readable() - whether a file descriptor is readable now
 * @fd: file descriptor
 */
static inline bool readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

/**
 * fds_open() - how many file descriptors this process has
 */
static inline int fds_open(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
