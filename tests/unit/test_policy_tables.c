/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_policy_tables.c: names, classes, and what a slice owns
 */
#include <check.h>
#include <errno.h>

#include "packet.h"
#include "suite.h"
#include "util.h"

START_TEST(names)
{
	unsigned i, j;

	for (i = 0; i < VERDICTS_N; i++) {
		ck_assert_ptr_nonnull(verdict_name(i));
		ck_assert_uint_gt(strlen(verdict_text(i)), 0);
		ck_assert_int_eq(!verdict_errno(i), i == VERDICT_PASS);
		for (j = 0; j < i; j++)
			ck_assert_str_ne(verdict_name(i), verdict_name(j));
	}
	ck_assert_str_eq(verdict_name(VERDICTS_N), "unknown");
	ck_assert_str_eq(verdict_name((enum verdict) - 1), "unknown");
	ck_assert_str_eq(verdict_text(VERDICTS_N), "unknown reason");
	ck_assert_int_eq(verdict_errno(VERDICTS_N), EINVAL);
	ck_assert_str_eq(verdict_name(VERDICT_TOO_BIG), "too-big");
	ck_assert_int_eq(verdict_errno(VERDICT_TOO_BIG), EMSGSIZE);
	ck_assert_int_eq(verdict_errno(VERDICT_SOURCE), EPERM);
}
END_TEST

START_TEST(class_names)
{
	ck_assert_int_eq(policy_class(IPPROTO_TCP), CLASS_TCP);
	ck_assert_int_eq(policy_class(IPPROTO_UDP), CLASS_UDP);
	ck_assert_int_eq(policy_class(IPPROTO_ICMP), CLASS_ICMP);
	ck_assert_int_eq(policy_class(IPPROTO_ICMPV6), CLASS_ICMP);
	ck_assert_int_eq(policy_class(132), CLASS_SCTP);
	ck_assert_int_eq(policy_class(33), CLASS_DCCP);
	ck_assert_int_eq(policy_class(136), CLASS_UDPLITE);
	ck_assert_int_eq(policy_class(89), -1);
	ck_assert_int_eq(policy_class(0), -1);
	ck_assert_int_eq(policy_class(-1), -1);
	ck_assert_int_eq(policy_class(256 + IPPROTO_TCP), -1);
	ck_assert_int_eq(policy_protocol(CLASS_ICMP, AF_INET), IPPROTO_ICMP);
	ck_assert_int_eq(policy_protocol(CLASS_ICMP, AF_INET6), IPPROTO_ICMPV6);
	ck_assert_int_eq(policy_protocol(CLASS_TCP, AF_INET6), IPPROTO_TCP);
	ck_assert_int_eq(policy_protocol(STEER_PORT_CLASSES, AF_INET), -1);
	ck_assert_str_eq(policy_class_name(CLASS_ICMP), "icmp");
	ck_assert_str_eq(policy_class_name(CLASS_SCTP), "sctp");
	ck_assert_str_eq(policy_class_name(CLASS_DCCP), "dccp");
	ck_assert_str_eq(policy_class_name(CLASS_UDPLITE), "udplite");
	ck_assert_str_eq(policy_class_name(STEER_CLASSES), "unknown");
}
END_TEST

START_TEST(ownership)
{
	const struct policy_slice slice = {.ranges = 4,
					   .range = {{CLASS_TCP, 5000, 5099},
						     {CLASS_TCP, 4000, 4999},
						     {CLASS_UDP, 65000, 65535},
						     {CLASS_TCP, 6000, 6000}},
					   .addresses = 1,
					   .address = {addr("192.0.2.1")}};
	static const struct {
		enum steer_class class;
		uint16_t lo, hi;
		bool owns;
	} cases[] = {
		{CLASS_TCP, 4000, 4000, true},   {CLASS_TCP, 4000, 4999, true},   {CLASS_TCP, 4990, 5010, true},
		{CLASS_TCP, 4000, 5099, true},   {CLASS_TCP, 4000, 5100, false},  {CLASS_TCP, 3999, 4000, false},
		{CLASS_TCP, 5099, 6000, false},  {CLASS_TCP, 6000, 6000, true},   {CLASS_TCP, 4001, 4000, false},
		{CLASS_UDP, 4000, 4000, false},  {CLASS_UDP, 65000, 65535, true}, {CLASS_UDP, 65535, 65535, true},
		{CLASS_ICMP, 4000, 4000, false}, {CLASS_TCP, 0, 65535, false},    {CLASS_TCP, 0, 0, false},
	};
	struct addr mine = addr("192.0.2.1"), other = addr("192.0.2.2"), unset = addr("::");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		ck_assert_int_eq(policy_slice_owns(&slice, cases[i].class, cases[i].lo, cases[i].hi), cases[i].owns);
	ck_assert(policy_slice_has_address(&slice, &mine));
	ck_assert(!policy_slice_has_address(&slice, &other));
	ck_assert(!policy_slice_has_address(&slice, &unset));
}
END_TEST

START_TEST(prefixes)
{
	struct policy_slice slice = {.proxied = 2, .addresses = 1, .address = {addr("192.0.2.1")}};
	static const struct {
		const char *addr;
		int in;
	} cases[] = {
		{"192.0.2.1", -1},    {"::", -1},           {"198.51.100.63", -1},   {"198.51.100.64", 0},
		{"198.51.100.79", 0}, {"2001:db8:9::7", 1}, {"2001:db8:9:1::7", -1}, {"198.51.100.80", -1},
	};
	size_t i;

	prefix_parse("198.51.100.64/28", &slice.prefix[0]);
	prefix_parse("2001:db8:9::/64", &slice.prefix[1]);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr at = addr(cases[i].addr);

		ck_assert_ptr_eq(policy_slice_prefix(&slice, &at),
				 cases[i].in < 0 ? NULL : &slice.prefix[cases[i].in]);
	}
}
END_TEST

/** tables_suite() - all tests of this file */
static Suite *tables_suite(void)
{
	Suite *suite = suite_create("policy-tables");
	TCase *tables = tcase_create("tables");

	tcase_add_test(tables, names);
	tcase_add_test(tables, class_names);
	tcase_add_test(tables, ownership);
	tcase_add_test(tables, prefixes);
	suite_add_tcase(suite, tables);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(tables_suite());
}
