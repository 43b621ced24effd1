/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conf_reserve.c: reserve sections: what they add to slices, and what is said about wrong ones
 *
 * Each configuration is a main file with slice "a", and a drop-in, which is
 * what the table has.
 */
#include <check.h>
#include <stdio.h>

#include "conf_world.h"
#include "suite.h"
#include "util.h"

#define DROP_IN DROP_INS "r.conf"

/**
 * load_both() - load a main file with slice "a", and a drop-in
 * @slice: more keys of the slice
 * @drop_in: text
 *
 * Return: as conf_load(); `errors` has what was reported
 */
static struct conf *load_both(const char *slice, const char *drop_in)
{
	char text[1024];

	snprintf(text, sizeof(text), "slice a { tcp = 5000-5009 users = root %s }", slice);
	put(MAIN, text);
	put(DROP_IN, drop_in);
	return load();
}

#define R(text) "reserve r { slice = a " text " }"

static const struct {
	const char *slice, *drop_in, *errors;
} bad[] = {
	{"", "reserve r { slice = b tcp = 6000 }", DROP_IN ":1: reserve \"r\": there is no slice \"b\"\n"},
	{"", "reserve r { tcp = 6000 }", DROP_IN ":1: reserve \"r\" names no slice\n"},
	{"hold = never", R("tcp = 6000"), MAIN ":1: hold: \"never\" is none of open, always\n"},
	{"", R(""), DROP_IN ":1: reserve \"r\" has no ports: give it tcp, udp, icmp, sctp, dccp or udplite\n"},
	{"", R("tcp = {}"),
	 DROP_IN ":1: reserve \"r\" has no ports: give it tcp, udp, icmp, sctp, dccp or udplite\n"},
	{"", R("tcp = 0"), DROP_IN ":1: tcp: \"0\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n"},
	{"", R("tcp = 5009-5010"), DROP_IN ":1: tcp: 5009-5010 overlaps 5000-5009 of the same slice\n"},
	{"", R("udp = {7, 2000-2005}"),
	 DROP_IN ":1: udp: 7-7 reaches below 1024, which needs low_ports = yes of slice \"a\"\n"},
	{"", R("udp = {2000, 2000}"), DROP_IN ":1: udp: 2000-2000 overlaps 2000-2000 of the same slice\n"},
	{"", R("tcp = 6000") "\n" R("tcp = 6001"), DROP_IN ":2: reserve \"r\" is defined already at " DROP_IN ":1\n"},
	{"", "reserve \"R\" { slice = a tcp = 6000 }",
	 DROP_IN ":1: \"R\" cannot be the name of a reserve (a-z, 0-9, \"_-\", 1 to 63)\n"},
	{"", R("tcp = 6000 users = root"), DROP_IN ":1: no such option 'users'\n"},
	{"", R("slice = a tcp = 6000"), DROP_IN ":1: slice was given already in line 1\n"},
	{"udp = {1025,1026,1027,1028,1029,1030,1031,1032,1033,1034,1035,1036,1037,1038,1039}", R("tcp = 6000"),
	 DROP_IN ":1: slice \"a\" has more than 16 ranges with this\n"},
	{"", "slice b { tcp = 6000 users = root } " R("tcp = 6000"),
	 DROP_IN ":1: slice \"b\": tcp 6000-6000 overlaps 6000-6000 of slice \"a\" (" MAIN ":1)\n"},
};

START_TEST(bad_ones)
{
	struct conf *conf = load_both(bad[_i].slice, bad[_i].drop_in);

	ck_assert_ptr_null(conf);
	ck_assert_str_eq(errors, bad[_i].errors);
}
END_TEST

START_TEST(good_one)
{
	struct conf *conf = load_both(
		"hold = always low_ports = yes",
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

	tcase_add_checked_fixture(tcase, world_begin, world_end);
	tcase_add_loop_test(tcase, bad_ones, 0, ARRAY_SIZE(bad));
	tcase_add_test(tcase, good_one);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
