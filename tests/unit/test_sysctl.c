/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_sysctl.c: settings are recorded, changed, and put back; and only if they are still ours
 *
 * Each test runs in a process, a network namespace and a run directory of its
 * own. A kill -9 is played by saying nothing to the code under test: it keeps
 * nothing in memory, so a second call is what a second process would do.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "portset.h"
#include "suite.h"
#include "sysctl.h"
#include "util.h"

#define LOCAL "ipv4/conf/lo/accept_local"
#define RESERVED "ipv4/ip_local_reserved_ports"

static char dir[] = "/tmp/test_sysctl.XXXXXX";
static struct netns ns;
static struct conf_slice slices[3];
static struct conf_netns names[2] = {{.name = "other"}, {.name = "n"}};
static struct conf conf = {.netnses = 2, .netns = names, .slice = slices};

int netns_call(const struct netns *in, int (*fn)(void *arg), void *arg)
{
	ck_assert_ptr_eq(in, &ns);
	return fn(arg);
}

/**
 * get() - a setting's value, without its line end
 * @name: below /proc/sys/net
 */
static const char *get(const char *name)
{
	static char text[65536];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(n, 0);
	close(fd);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/**
 * put() - somebody else changes a setting
 * @name: below /proc/sys/net
 * @value: new value
 */
static void put(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(write(fd, value, strlen(value)), (ssize_t)strlen(value));
	close(fd);
}

/**
 * record() - the record as it is on disk
 *
 * Return: text, "" when there is none
 */
static const char *record(void)
{
	static char text[65536];
	char path[128];
	size_t n = 0;
	FILE *fp;

	snprintf(path, sizeof(path), "%s/state/n.sysctl", dir);
	fp = fopen(path, "r");
	if (fp) {
		n = fread(text, 1, sizeof(text) - 1, fp);
		fclose(fp);
	}
	text[n] = '\0';
	return text;
}

/** setup() - a namespace and a run directory */
static void setup(void)
{
	char path[128];

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/state", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ns = (struct netns){.fd = -1, .conf = {.name = "n", .path = "/run/netns/n"}};
}

/** teardown() - nothing but the record may be left in the run directory */
static void teardown(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -f %s/state/n.sysctl && rmdir %s/state %s", dir, dir, dir);
	ck_assert_int_eq(system(command), 0);
}

/**
 * reserve() - reserve ports for a slice, and for others that must not matter
 * @lo: first
 * @hi: last, 0 for none
 *
 * Return: 0, or the errno
 */
static int reserve(uint16_t lo, uint16_t hi)
{
	memset(slices, 0, sizeof(slices));
	slices[0] = (struct conf_slice){.netns = 0, .ranges = 1, .range = {{CLASS_TCP, 3000, 3999}}};
	slices[1] = (struct conf_slice){.netns = 1, .ranges = 1, .range = {{CLASS_ICMP, 2000, 2999}}};
	slices[2] = (struct conf_slice){.netns = 1, .ranges = 2, .range = {{CLASS_TCP, lo, hi}, {CLASS_UDP, lo, lo}}};
	conf.slices = hi ? 3 : 2;
	return sysctl_reserve_ports(&ns, dir, &conf) == 0 ? 0 : errno;
}

START_TEST(set_and_restore)
{
	ck_assert_str_eq(get(LOCAL), "0");
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "1", true), 0);
	ck_assert_str_eq(get(LOCAL), "1");
	ck_assert_ptr_nonnull(strstr(record(), "set " LOCAL "\t0\t1\n"));
	ck_assert_ptr_nonnull(strstr(record(), "# This one: \"n\", /run/netns/n\n"));
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(LOCAL), "0");
	ck_assert_str_eq(record(), "");
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
}
END_TEST

START_TEST(right_already)
{
	put("ipv4/ping_group_range", "5 10");
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "0", true), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ping_group_range", " 5\t10\n", true), 0);
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(without_record)
{
	ck_assert_int_eq(sysctl_set(&ns, NULL, LOCAL, "1", false), 0);
	ck_assert_str_eq(get(LOCAL), "1");
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(several)
{
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ping_group_range", "5 10", true), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "1", true), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ping_group_range", "6 10", true), 0);
	ck_assert_int_eq(reserve(4000, 4009), 0);
	ck_assert_ptr_nonnull(strstr(record(), "set ipv4/ping_group_range\t1 0\t6 10\n"));
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get("ipv4/ping_group_range"), "1\t0");
	ck_assert_str_eq(get(LOCAL), "0");
	ck_assert_str_eq(get(RESERVED), "");
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(changed_by_others)
{
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ping_group_range", "5 10", true), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ip_default_ttl", "10", true), 0);
	put("ipv4/ping_group_range", "7 7");
	put("ipv4/ip_default_ttl", "20");
	/* ours again: what others wanted is now the value to go back to */
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ip_default_ttl", "10", true), 0);
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get("ipv4/ping_group_range"), "7\t7");
	ck_assert_str_eq(get("ipv4/ip_default_ttl"), "20");
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(settings_that_do_not_exist)
{
	char path[128], line[128];
	FILE *fp;

	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/nonsense", "1", true), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_str_eq(record(), "");
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "x", true), -1);
	ck_assert_int_eq(errno, EINVAL);
	/* it was on record before the kernel refused it; that does no harm */
	snprintf(path, sizeof(path), "%s/state/n.sysctl", dir);
	fp = fopen(path, "a");
	snprintf(line, sizeof(line), "set ipv4/conf/gone/accept_local\t0\t1\n");
	fputs(line, fp);
	fclose(fp);
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(LOCAL), "0");
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(no_record_no_change)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state", dir);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "1", true), -1);
	ck_assert_str_eq(get(LOCAL), "0");
	ck_assert_int_ne(reserve(4000, 4009), 0);
	ck_assert_str_eq(get(RESERVED), "");
	ck_assert_int_eq(mkdir(path, 0700), 0);
}
END_TEST

START_TEST(damaged_record)
{
	static const char *const damage[] = {"nonsense\n", "set x\n", "ports 1-\n", "ports 70000\n", "set a\t\t1\n"};
	char path[128];
	unsigned i;
	FILE *fp;

	snprintf(path, sizeof(path), "%s/state/n.sysctl", dir);
	for (i = 0; i < ARRAY_SIZE(damage); i++) {
		fp = fopen(path, "w");
		fputs(damage[i], fp);
		fclose(fp);
		ck_assert_int_eq(sysctl_restore(&ns, dir), -1);
		ck_assert_int_eq(errno, EPROTO);
	}
}
END_TEST

START_TEST(another_namespace)
{
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "1", true), 0);
	ck_assert_int_eq(reserve(4000, 4009), 0);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	put(LOCAL, "1");
	put(RESERVED, "4000-4009");
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(LOCAL), "1");
	ck_assert_str_eq(get(RESERVED), "4000-4009");
	ck_assert_str_eq(record(), "");
	/* and a change does not go on from such a record either */
	ck_assert_int_eq(sysctl_set(&ns, dir, "ipv4/ip_default_ttl", "10", true), 0);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	ck_assert_int_eq(sysctl_set(&ns, dir, LOCAL, "1", true), 0);
	ck_assert_ptr_null(strstr(record(), "ip_default_ttl"));
}
END_TEST

START_TEST(ports)
{
	put(RESERVED, "53,4005,5000-5001");
	ck_assert_int_eq(reserve(4000, 4009), 0);
	ck_assert_str_eq(get(RESERVED), "53,4000-4009,5000-5001");
	ck_assert_ptr_nonnull(strstr(record(), "ports 4000-4004,4006-4009\n"));
	ck_assert_int_eq(reserve(4000, 4009), 0);
	/* others add some and take one of ours away, which comes back at the next reload */
	put(RESERVED, "53,4000-4008,5000-5001,6000");
	ck_assert_int_eq(reserve(4002, 4011), 0);
	ck_assert_str_eq(get(RESERVED), "53,4002-4011,5000-5001,6000");
	ck_assert_ptr_nonnull(strstr(record(), "ports 4002-4004,4006-4011\n"));
	ck_assert_int_eq(reserve(0, 0), 0);
	ck_assert_str_eq(get(RESERVED), "53,4005,5000-5001,6000");
	ck_assert_int_eq(reserve(1, 65535), 0);
	ck_assert_str_eq(get(RESERVED), "1-65535");
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(RESERVED), "53,4005,5000-5001,6000");
	ck_assert_str_eq(record(), "");
}
END_TEST

START_TEST(killed_between_record_and_write)
{
	ck_assert_int_eq(reserve(4000, 4009), 0);
	/* recorded, and not written: the list has none, or not all of them */
	put(RESERVED, "53,4000-4003");
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(RESERVED), "53");
}
END_TEST

START_TEST(too_long)
{
	static char list[8192];
	size_t n = 0;
	unsigned i;

	for (i = 0; i < 682; i++)
		n += (size_t)sprintf(list + n, "%s%u", n ? "," : "", 10000 + 2 * i);
	ck_assert_uint_eq(n, 4091);
	put(RESERVED, list);
	ck_assert_int_eq(reserve(4000, 4009), E2BIG);
	ck_assert_str_eq(get(RESERVED), list);
	ck_assert_str_eq(record(), "");
	/* one number less, and it fits */
	list[n - 12] = '\0';
	put(RESERVED, list);
	ck_assert_int_eq(reserve(4000, 4009), 0);
	ck_assert_int_eq(sysctl_restore(&ns, dir), 0);
	ck_assert_str_eq(get(RESERVED), list);
}
END_TEST

START_TEST(port_sets)
{
	static const struct {
		const char *text, *printed;
	} good[] = {{"", ""}, {"\n", ""}, {"0,65535", "0,65535"}, {"1,2,3,5-6\n", "1-3,5-6"}, {"0-65535", "0-65535"}};
	static const char *const bad[] = {"x", "1;2", "70000", "5-4", "1-", "1-x", "-5", "100000"};
	struct portset set;
	char *text = malloc(PORTSET_TEXT);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		ck_assert_int_eq(portset_parse(good[i].text, &set), 0);
		ck_assert_uint_eq(portset_print(&set, text), strlen(good[i].printed));
		ck_assert_str_eq(text, good[i].printed);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(portset_parse(bad[i], &set) < 0 && errno == EPROTO, "%s", bad[i]);
	memset(&set, 0x55, sizeof(set));
	ck_assert_uint_lt(portset_print(&set, text), PORTSET_TEXT - 16);
	ck_assert_int_eq(portset_parse(text, &set), 0);
	ck_assert_uint_eq(set.bits[8191], 0x55);
	free(text);
}
END_TEST

/** main() - run them; exit status 77 without the privilege to make a namespace */
int main(void)
{
	const TTest *const tests[] = {
		set_and_restore,
		right_already,
		without_record,
		several,
		changed_by_others,
		settings_that_do_not_exist,
		no_record_no_change,
		damaged_record,
		another_namespace,
		ports,
		port_sets,
		killed_between_record_and_write,
		too_long,
	};
	Suite *suite = suite_create("sysctl");
	TCase *tcase = tcase_create("sysctl");
	size_t i;

	if (geteuid())
		return 77;
	log_init("test_sysctl", LOG_ERR);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
