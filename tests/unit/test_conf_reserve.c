/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conf_reserve.c: reserve sections: what they add to slices, and what is said about wrong ones
 *
 * Each configuration is a main file with slice "a", and a drop-in, which is
 * what the table has.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "suite.h"
#include "util.h"

#define DROP_IN "saferaw.conf.d/r.conf"

static char dir[] = "/tmp/test_conf_reserve.XXXXXX";
static char errors[4096];

/**
 * put() - write a file into the test's directory
 * @name: file
 * @text: content
 */
static void put(const char *name, const char *text)
{
	char path[256];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs(text, fp);
	ck_assert_int_eq(fclose(fp), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
}

/**
 * collect() - the report: append an error without the directory it begins with
 * @line: error
 * @arg: not used
 */
static void collect(const char *line, void *arg)
{
	size_t n = strlen(errors);

	(void)arg;
	ck_assert(!strncmp(line, dir, strlen(dir)));
	snprintf(errors + n, sizeof(errors) - n, "%s\n", line + strlen(dir) + 1);
}

/**
 * load() - load a main file with slice "a", and a drop-in
 * @slice: more keys of the slice
 * @drop_in: text
 *
 * Return: as conf_load(); `errors` has what was reported
 */
static struct conf *load(const char *slice, const char *drop_in)
{
	char text[1024], path[256];

	snprintf(text, sizeof(text), "relay_user = daemon slice a { tcp = 5000-5009 users = root %s }", slice);
	put("saferaw.conf", text);
	put(DROP_IN, drop_in);
	errors[0] = '\0';
	snprintf(path, sizeof(path), "%s/saferaw.conf", dir);
	return conf_load(path, collect, NULL);
}

/** setup() - an empty directory */
static void setup(void)
{
	char path[256];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/saferaw.conf.d", dir);
	ck_assert_int_eq(mkdir(path, 0755), 0);
}

/** teardown() - remove it */
static void teardown(void)
{
	static const char *const names[] = {DROP_IN, "saferaw.conf.d", "saferaw.conf", ""};
	char path[256];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		remove(path);
	}
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

#define R(text) "reserve r { slice = a " text " }"

static const struct {
	const char *slice, *drop_in, *errors;
} bad[] = {
	{"", "reserve r { slice = b tcp = 6000 }", DROP_IN ":1: reserve \"r\": there is no slice \"b\"\n"},
	{"", "reserve r { tcp = 6000 }", DROP_IN ":1: reserve \"r\" names no slice\n"},
	{"hold = never", R("tcp = 6000"), "saferaw.conf:1: hold: \"never\" is none of open, always\n"},
	{"", R(""), DROP_IN ":1: reserve \"r\" has no ports: give it tcp, udp, icmp, sctp, dccp or udplite\n"},
	{"", R("tcp = {}"),
	 DROP_IN ":1: reserve \"r\" has no ports: give it tcp, udp, icmp, sctp, dccp or udplite\n"},
	{"", R("tcp = 0"), DROP_IN ":1: tcp: \"0\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n"},
	{"", R("tcp = 5009-5010"), DROP_IN ":1: tcp: 5009-5010 overlaps 5000-5009 of the same slice\n"},
	{"", R("udp = {7, 2000-2005}"),
	 DROP_IN ":1: udp: 7-7 reaches below 1024, which needs low_ports = yes of slice \"a\"\n"},
	{"", R("udp = {2000, 2000}"), DROP_IN ":1: udp: 2000-2000 overlaps 2000-2000 of the same slice\n"},
	{"", R("tcp = 6000") "\n" R("tcp = 6001"), DROP_IN ":2: reserve \"r\" is defined already at " /* its path */},
	{"", "reserve \"R\" { slice = a tcp = 6000 }",
	 DROP_IN ":1: \"R\" cannot be the name of a reserve (a-z, 0-9, \"_-\", 1 to 63)\n"},
	{"", R("tcp = 6000 users = root"), DROP_IN ":1: no such option 'users'\n"},
	{"", R("slice = a tcp = 6000"), DROP_IN ":1: slice was given already in line 1\n"},
	{"udp = {1025,1026,1027,1028,1029,1030,1031,1032,1033,1034,1035,1036,1037,1038,1039}", R("tcp = 6000"),
	 DROP_IN ":1: slice \"a\" has more than 16 ranges with this\n"},
	{"", "slice b { tcp = 6000 users = root } " R("tcp = 6000"),
	 DROP_IN ":1: slice \"b\": tcp 6000-6000 overlaps 6000-6000 of slice \"a\" (" /* its path */},
};

START_TEST(bad_ones)
{
	struct conf *conf = load(bad[_i].slice, bad[_i].drop_in);

	ck_assert_ptr_null(conf);
	ck_assert_msg(!strncmp(errors, bad[_i].errors, strlen(bad[_i].errors)), "%s instead of %s", errors,
		      bad[_i].errors);
	ck_assert_ptr_eq(strchr(errors, '\n'), errors + strlen(errors) - 1);
}
END_TEST

START_TEST(good_one)
{
	struct conf *conf =
		load("hold = always low_ports = yes",
		     R("tcp = {5010, 53} icmp = 7-9") "\n"
						      "reserve a-very-long-name-of-thirty-two-and-more-0123456789 "
						      "{ slice = b udp = 6000 } slice b { udp = 6001 users = root }");
	const struct policy_range *range;

	ck_assert_str_eq(errors, "");
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(conf->slices, 2);
	ck_assert(conf->slice[0].hold_always && !conf->slice[1].hold_always);
	ck_assert_uint_eq(conf->slice[0].ranges, 4);
	range = conf->slice[0].range;
	ck_assert(range[1].class == CLASS_TCP && range[1].lo == 5010 && range[1].hi == 5010);
	ck_assert(range[2].class == CLASS_TCP && range[2].lo == 53 && range[2].hi == 53);
	ck_assert(range[3].class == CLASS_ICMP && range[3].lo == 7 && range[3].hi == 9);
	ck_assert_uint_eq(conf->slice[1].ranges, 2);
	ck_assert_uint_eq(conf->slice[1].range[1].lo, 6000);
	conf_free(conf);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("conf_reserve");
	TCase *tcase = tcase_create("conf_reserve");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, bad_ones, 0, ARRAY_SIZE(bad));
	tcase_add_test(tcase, good_one);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
