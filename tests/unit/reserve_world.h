/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reserve_world.h: a network namespace for each test of reservations, with a table for steering
 *
 * Each test runs in a process and a network namespace of its own, with two
 * addresses of each family on lo. Steering is a table here, so that every
 * mark can be compared; the sockets are real ones.
 */
#ifndef SAFERAW_RESERVE_WORLD_H
#define SAFERAW_RESERVE_WORLD_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "reserve.h"
#include "steering.h"
#include "suite.h"
#include "util.h"

#define ROWS 4
#define HOUR_MS 3600000
#define ANY PRIV_ANY_ADDRESS

static const char *const texts[ROWS + 1] = {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.9"};
static struct netns ns;
static struct conf_slice all, first, second; /* all addresses; rows 0 and 2; row 1 */
static bool marks[STEER_CLASSES][STEER_ROWS_MAX][STEER_PORTS];
static unsigned marked, entered, beats, base_fds;
static bool no_v6;
static uint16_t in_the_way;

/* Stand-ins for what reserve.c stands on */

int netns_call(const struct netns *in, int (*fn)(void *arg), void *arg)
{
	ck_assert_ptr_eq(in, &ns);
	entered++;
	return fn(arg);
}

void steering_beat(void)
{
	beats++;
}

void steering_hold(struct netns *in, unsigned index, enum steer_class class, uint16_t port, bool held)
{
	bool *mark = &marks[class][index][port];

	ck_assert_ptr_eq(in, &ns);
	ck_assert(netns_has_row(&ns, index));
	ck_assert(*mark != held);
	*mark = held;
	marked += held ? 1 : -1u;
}

int socket(int family, int type, int protocol)
{
	if (no_v6 && family == AF_INET6) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return (int)syscall(SYS_socket, family, type, protocol);
}

/**
 * run() - a command of the test's set-up
 * @command: for the shell
 */
static inline void run(const char *command)
{
	ck_assert_msg(system(command) == 0, "%s", command);
}

/**
 * fds() - how many file descriptors this process has
 */
static inline unsigned fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

/**
 * held_fds() - how many sockets reservations have
 */
static inline unsigned held_fds(void)
{
	return fds() - base_fds;
}

/* See steering.h: nothing is steered here */
int steering_grant(struct netns *namespace, uint8_t protocol, uint32_t key, unsigned slot)
{
	(void)namespace;
	(void)protocol;
	(void)key;
	(void)slot;
	return 0;
}

/**
 * add_row() - one more address of the namespace
 * @text: address
 * @present: whether it is there
 */
static inline void add_row(const char *text, bool present)
{
	ck_assert(addr_parse(text, &ns.address[ns.addresses].addr));
	ns.address[ns.addresses++].present = present;
}

/**
 * proxy() - give a slice a proxied prefix
 * @slice: slice
 * @text: prefix
 *
 * Return: its row
 */
static inline unsigned proxy(struct conf_slice *slice, const char *text)
{
	const unsigned row = STEER_ADDRESSES_MAX + ns.proxied++;
	struct prefix *prefix = &slice->prefix[slice->prefixes++];

	ck_assert(prefix_parse(text, prefix));
	ns.address[row] = (struct netns_address){.addr = prefix->addr, .len = prefix->len, .present = true};
	return row;
}

/**
 * make_slice() - a slice
 * @slice: filled in
 * @number: of it
 * @lo: its ports and ids: 1,000 from here
 */
static inline void make_slice(struct conf_slice *slice, unsigned number, uint16_t lo)
{
	unsigned class;

	memset(slice, 0, sizeof(*slice));
	slice->number = number;
	for (class = 0; class < STEER_PORT_CLASSES; class ++)
		slice->range[slice->ranges++] =
			(struct policy_range){.class = (uint8_t) class, .lo = lo, .hi = (uint16_t)(lo + 999)};
}

/**
 * own() - give a slice an address
 * @slice: slice
 * @text: address
 */
static inline void own(struct conf_slice *slice, const char *text)
{
	ck_assert(addr_parse(text, &slice->address[slice->addresses++]));
}

/** world_begin() - a namespace, its table of addresses, slices */
static inline void world_begin(void)
{
	unsigned i;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up");
	run("ip addr add 192.0.2.1/32 dev lo; ip addr add 192.0.2.2/32 dev lo");
	run("ip addr add 2001:db8::1/128 dev lo nodad; ip addr add 2001:db8::2/128 dev lo nodad");
	run("echo 0 65535 >/proc/sys/net/ipv4/ping_group_range");
	ns = (struct netns){.fd = -1, .conf.name = "test"};
	for (i = 0; i < ROWS; i++)
		add_row(texts[i], true);
	make_slice(&all, 1, 5000);
	make_slice(&first, 2, 6000);
	own(&first, texts[0]);
	own(&first, texts[2]);
	make_slice(&second, 3, 6000);
	own(&second, texts[1]);
	ck_assert_int_eq(reserve_init(&ns), 0);
	base_fds = fds();
}

/** world_end() - whatever the test did, nothing stays behind */
static inline void world_end(void)
{
	reserve_free(&ns);
	ck_assert_uint_eq(held_fds(), 0);
	ck_assert_uint_eq(marked, 0);
}

/** make_claim() - what a request is about, as acquire() and release() take it */
static inline struct priv_claim make_claim(const struct conf_slice *slice, unsigned uid, unsigned class,
					   unsigned address, int family, unsigned lo, unsigned hi)
{
	return (struct priv_claim){
		.slice = slice->number,
		.uid = uid,
		.class = (uint8_t) class,
		.address = (uint8_t)address,
		.family = (uint8_t)family,
		.lo = (uint16_t)lo,
		.hi = (uint16_t)hi,
	};
}

/**
 * acquire() - a request of the relay
 * @slice: its slice
 * @uid: user
 * @class: protocol class
 * @address: row, or ANY
 * @family: with ANY
 * @lo: first port
 * @hi: last port
 *
 * Return: 0, or the errno
 */
static inline int acquire(const struct conf_slice *slice, unsigned uid, unsigned class, unsigned address, int family,
			  unsigned lo, unsigned hi)
{
	const struct priv_claim claim = make_claim(slice, uid, class, address, family, lo, hi);

	in_the_way = 0;
	return reserve_acquire(&ns, slice, &claim, &in_the_way) == 0 ? 0 : errno;
}

/**
 * release() - a release of the relay
 * @slice: its slice
 * @uid: user
 * @class: protocol class
 * @address: row, or ANY
 * @family: with ANY
 * @lo: first port
 * @hi: last port
 * @ms: quarantine
 *
 * Return: 0, or the errno
 */
static inline int release(const struct conf_slice *slice, unsigned uid, unsigned class, unsigned address, int family,
			  unsigned lo, unsigned hi, unsigned ms)
{
	const struct priv_claim claim = make_claim(slice, uid, class, address, family, lo, hi);

	return reserve_release(&ns, &claim, ms) == 0 ? 0 : errno;
}

/** kernel_has() - whether the kernel has sockets of a class, without making it load any */
static inline bool kernel_has(unsigned class)
{
	static const char *const names[STEER_CLASSES] = {
		[CLASS_SCTP] = "SCTP ", [CLASS_DCCP] = "DCCP ", [CLASS_UDPLITE] = "UDP-Lite "};
	FILE *file = fopen("/proc/net/protocols", "re");
	bool found = !names[class];
	char line[256];

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		found = found || !strncmp(line, names[class], strlen(names[class]));
	fclose(file);
	return found;
}

/**
 * open_foreign() - a socket of somebody else on the host
 * @class: protocol class
 * @row: address
 * @port: port or id
 *
 * Return: the socket, or -1 and errno
 */
static inline int open_foreign(unsigned class, unsigned row, unsigned port)
{
	static const struct {
		int type, protocol;
	} kinds[STEER_CLASSES] = {
		[CLASS_TCP] = {SOCK_STREAM, 0},
		[CLASS_UDP] = {SOCK_DGRAM, 0},
		[CLASS_ICMP] = {SOCK_DGRAM, IPPROTO_ICMP},
		[CLASS_SCTP] = {SOCK_STREAM, IPPROTO_SCTP},
		[CLASS_DCCP] = {SOCK_DCCP, IPPROTO_DCCP},
		[CLASS_UDPLITE] = {SOCK_DGRAM, IPPROTO_UDPLITE},
	};
	struct sockaddr_storage ss;
	struct addr addr;
	int fd, on = 1, family;

	ck_assert(addr_parse(texts[row], &addr));
	family = addr_family(&addr);
	addr_to_sockaddr(&addr, (uint16_t)port, &ss);
	fd = socket(family, kinds[class].type,
		    class == CLASS_ICMP && family == AF_INET6 ? IPPROTO_ICMPV6 : kinds[class].protocol);
	ck_assert_int_ge(fd, 0);
	/* the friendliest of them: shares whatever its owner would let it share */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (class != CLASS_ICMP)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, sizeof(ss)) < 0)
		close_fd(&fd);
	return fd;
}

/**
 * shut() - whether a port is closed to the rest of the host
 * @class: protocol class
 * @row: address
 * @port: port
 */
static inline bool shut(unsigned class, unsigned row, unsigned port)
{
	int fd = open_foreign(class, row, port);

	if (fd < 0) {
		ck_assert_int_eq(errno, EADDRINUSE);
		return true;
	}
	close(fd);
	return false;
}

/**
 * ck_held() - that a port is held on exactly these addresses
 * @class: protocol class
 * @port: port
 * @set: rows, as bits
 */
static inline void ck_held(unsigned class, unsigned port, unsigned set)
{
	unsigned i;

	for (i = 0; i < ROWS; i++) {
		ck_assert_msg(marks[class][i][port] == (set >> i & 1), "class %u port %u row %u", class, port, i);
		if (kernel_has(class) && (class != CLASS_ICMP || set >> i & 1))
			ck_assert_msg(shut(class, i, port) == (set >> i & 1), "class %u port %u row %u", class, port,
				      i);
	}
}

/**
 * world_run() - run tests
 * @name: of the suite
 * @test: tests
 * @tests: how many
 * @times: how often each, with another number
 *
 * Return: exit status; 77 without the privilege to make a namespace
 */
static inline int world_run(const char *name, const TTest *const *test, size_t tests, int times)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	if (geteuid())
		return 77;
	log_init(name, LOG_ERR);
	tcase_add_checked_fixture(tcase, world_begin, world_end);
	tcase_set_timeout(tcase, 120);
	while (tests--)
		tcase_add_loop_test(tcase, *test++, 0, times);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}

#endif
