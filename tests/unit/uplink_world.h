/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uplink_world.h: a network namespace for each test, and stand-ins for what netns/uplink.c stands on
 *
 * Each test runs in a process and a network namespace of its own (fixtures
 * world_begin and world_end), and changes that namespace with ip(8). Nothing
 * sleeps: a change that the kernel makes before ip returns has its message in
 * the watch already, and for any other until_*() polls the watch.
 */
#ifndef SAFERAW_UPLINK_WORLD_H
#define SAFERAW_UPLINK_WORLD_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"
#include "log.h"
#include "steering.h"
#include "suite.h"
#include "sysctl.h"
#include "uplink.h"
#include "util.h"

#define INDEX_MAX 4096 /* of a device in a namespace that was just made */
#define WAIT_MS 10000  /* for what the kernel does in its own time */

static struct netns ns;
static bool steered[INDEX_MAX];
static unsigned attaches, detaches, warnings;
static unsigned refused; /* index of the device that takes no steering */
static char last_warning[512];
static const char *mode = "tcx";
static bool whole = true; /* nobody has removed a filter of ours */

int netns_call(const struct netns *in, int (*fn)(void *arg), void *arg)
{
	(void)in;
	return fn(arg);
}

/* No links here */
bool link_named(const struct netns *in, const char *name, const char *kind)
{
	(void)in;
	(void)name;
	(void)kind;
	return false;
}

bool link_heard(struct netns *in, const struct nlmsghdr *message)
{
	(void)in;
	(void)message;
	return false;
}

bool link_bared(struct netns *in, unsigned ifindex)
{
	(void)in;
	(void)ifindex;
	return false;
}

void link_look(struct netns *in)
{
	(void)in;
}

int steering_attach(struct netns *in, unsigned ifindex)
{
	char name[IFNAMSIZ];

	(void)in;
	ck_assert_uint_lt(ifindex, INDEX_MAX);
	ck_assert(!steered[ifindex]);
	attaches++;
	errno = ENODEV;
	if (!if_indextoname(ifindex, name))
		return -1;
	errno = EOPNOTSUPP;
	if (ifindex == refused)
		return -1;
	steered[ifindex] = true;
	return 0;
}

void steering_detach(struct netns *in, unsigned ifindex)
{
	(void)in;
	ck_assert(steered[ifindex]);
	detaches++;
	steered[ifindex] = false;
}

bool steering_is_whole(const struct netns *in)
{
	(void)in;
	return whole;
}

const char *steering_mode(const struct netns *in)
{
	(void)in;
	return mode;
}

void log_line(int priority, const char *format, ...)
{
	va_list args;

	if (priority > LOG_WARNING)
		return;
	va_start(args, format);
	vsnprintf(last_warning, sizeof(last_warning), format, args);
	va_end(args);
	warnings++;
}

static inline int setting(const char *name)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "%s: %s", path, strerror(errno));
	close(fd);
	return atoi(text);
}

static inline void set(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0 && write(fd, value, strlen(value)) > 0, "%s: %s", path, strerror(errno));
	close(fd);
}

int sysctl_set(const struct netns *in, const char *run_dir, const char *name, const char *value, bool record)
{
	(void)in;
	ck_assert(!run_dir && !record);
	if (setting(name) != atoi(value))
		set(name, value);
	return 0;
}

__attribute__((format(printf, 1, 2))) static inline void ip(const char *format, ...)
{
	char command[512] = "ip ";
	va_list args;

	va_start(args, format);
	vsnprintf(command + 3, sizeof(command) - 3, format, args);
	va_end(args);
	ck_assert_msg(system(command) == 0, "%s", command);
}

static inline void world_begin(void)
{
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	ip("link set lo up");
	ip("tuntap add dev sr0 mode tun");
	ip("tuntap add dev sr0h mode tun");
	ip("tuntap add dev sr0l mode tap");
	ns = (struct netns){.fd = -1, .tun_fd = -1, .helper_fd = -1, .tun_name = "sr0", .helper_name = "sr0h"};
	snprintf(ns.conf.name, sizeof(ns.conf.name), "test");
	snprintf(ns.conf.uplink[0], sizeof(ns.conf.uplink[0]), "u*");
	ns.conf.uplinks = 1;
	ns.tun_ifindex = if_nametoindex("sr0");
	ns.helper_ifindex = if_nametoindex("sr0h");
	ns.tap_ifindex = if_nametoindex("sr0l");
}

static inline void world_end(void)
{
	uplink_close(&ns);
}

static inline bool has_steering(const char *name)
{
	unsigned ifindex = if_nametoindex(name);

	ck_assert_msg(ifindex, "no device %s", name);
	return steered[ifindex];
}

/* The row of an address, or -1 */
static inline int row_of(const char *text)
{
	struct addr addr;

	ck_assert(addr_parse(text, &addr));
	for (unsigned row = 0; row < ns.addresses; row++)
		if (addr_eq(&ns.address[row].addr, &addr))
			return (int)row;
	return -1;
}

static inline bool present(const char *text)
{
	int row = row_of(text);

	return row >= 0 && ns.address[row].present;
}

/* What the watch has until now; UPLINK_ bits */
static inline int pump(void)
{
	struct pollfd watch = {.fd = uplink_fd(&ns), .events = POLLIN};
	int changed = 0;

	while (poll(&watch, 1, 0) > 0) {
		int bits = uplink_read(&ns);

		ck_assert_msg(bits >= 0, "uplink_read: %s", strerror(errno));
		changed |= bits;
	}
	return changed;
}

#define until(condition)                                                                                             \
	do {                                                                                                         \
		struct pollfd until_watch = {.fd = uplink_fd(&ns), .events = POLLIN};                                \
		pump();                                                                                              \
		while (!(condition)) {                                                                               \
			ck_assert_msg(poll(&until_watch, 1, WAIT_MS) > 0, "never: %s", #condition);                  \
			ck_assert_int_ge(uplink_read(&ns), 0);                                                       \
		}                                                                                                    \
	} while (0)

/* Tests of a suite, each in its own world; exit status for main(), 77 without the privilege */
static inline int world_run(const char *name, const TTest *const *tests, unsigned count)
{
	Suite *suite = suite_create(name);
	TCase *all = tcase_create(name);

	if (unshare(CLONE_NEWNET) < 0) {
		printf("needs root: no network namespace: %s\n", strerror(errno));
		return 77;
	}
	suite_add_tcase(suite, all);
	tcase_add_checked_fixture(all, world_begin, world_end);
	tcase_set_timeout(all, 120);
	for (unsigned i = 0; i < count; i++)
		tcase_add_test(all, tests[i]);
	return suite_run(suite);
}

#endif
