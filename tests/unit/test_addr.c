/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_addr.c: addresses and prefixes
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "suite.h"
#include "util.h"

#define IS_ANY 0x01
#define IS_LOOPBACK 0x02
#define IS_MULTICAST 0x04
#define IS_BROADCAST 0x08
#define IS_LINKLOCAL 0x10

/* Addresses that print as they are read, and what they are */
static const struct {
	const char *text;
	int family;
	unsigned is;
} addresses[] = {
	{"0.0.0.0", AF_INET, IS_ANY},
	{"0.0.0.1", AF_INET, 0},
	{"10.1.2.3", AF_INET, 0},
	{"126.255.255.255", AF_INET, 0},
	{"127.0.0.0", AF_INET, IS_LOOPBACK},
	{"127.255.255.255", AF_INET, IS_LOOPBACK},
	{"128.0.0.0", AF_INET, 0},
	{"169.253.255.255", AF_INET, 0},
	{"169.254.0.0", AF_INET, IS_LINKLOCAL},
	{"169.254.255.255", AF_INET, IS_LINKLOCAL},
	{"169.255.0.0", AF_INET, 0},
	{"223.255.255.255", AF_INET, 0},
	{"224.0.0.0", AF_INET, IS_MULTICAST},
	{"239.255.255.255", AF_INET, IS_MULTICAST},
	{"240.0.0.0", AF_INET, 0},
	{"255.255.255.254", AF_INET, 0},
	{"254.255.255.255", AF_INET, 0},
	{"255.255.255.255", AF_INET, IS_BROADCAST},
	{"::", AF_UNSPEC, IS_ANY},
	{"::1", AF_INET6, IS_LOOPBACK},
	{"::2", AF_INET6, 0},
	{"::fffe:102:304", AF_INET6, 0},
	{"2001:db8::1", AF_INET6, 0},
	{"fe7f::1", AF_INET6, 0},
	{"fe80::1", AF_INET6, IS_LINKLOCAL},
	{"febf:ffff::1", AF_INET6, IS_LINKLOCAL},
	{"fec0::1", AF_INET6, 0},
	{"ff00::", AF_INET6, IS_MULTICAST},
	{"ff02::1", AF_INET6, IS_MULTICAST},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6, IS_MULTICAST},
};

START_TEST(kinds)
{
	const char *text = addresses[_i].text;
	const unsigned is = addresses[_i].is;
	char again[ADDR_TEXT_MAX];
	struct addr addr;

	ck_assert(addr_parse(text, &addr));
	ck_assert_str_eq(addr_text(&addr, again), text);
	ck_assert_int_eq(addr_family(&addr), addresses[_i].family);
	ck_assert_int_eq(addr_is_any(&addr), !!(is & IS_ANY));
	ck_assert_int_eq(addr_is_loopback(&addr), !!(is & IS_LOOPBACK));
	ck_assert_int_eq(addr_is_multicast(&addr), !!(is & IS_MULTICAST));
	ck_assert_int_eq(addr_is_broadcast(&addr), !!(is & IS_BROADCAST));
	ck_assert_int_eq(addr_is_linklocal(&addr), !!(is & IS_LINKLOCAL));
}
END_TEST

START_TEST(sockaddrs)
{
	struct sockaddr_storage ss;
	struct addr addr, again;
	uint16_t port = 0;

	ck_assert(addr_parse(addresses[_i].text, &addr));
	memset(&ss, 0xff, sizeof(ss));
	addr_to_sockaddr(&addr, 4000, &ss);
	ck_assert_int_eq(ss.ss_family, addresses[_i].family);
	ck_assert(addr_from_sockaddr(&ss, &again, &port));
	ck_assert(addr_eq(&addr, &again));
	ck_assert_uint_eq(port, 4000);
	ck_assert(addr_from_sockaddr(&ss, &again, NULL));
}
END_TEST

START_TEST(sockaddr_forms)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0xc0000201)}};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
	struct sockaddr_storage ss = {.ss_family = AF_UNIX}, made;
	struct addr addr, four;
	uint16_t port;

	ck_assert(!addr_from_sockaddr(&ss, &addr, &port));
	memcpy(&ss, &in, sizeof(in));
	ck_assert(addr_from_sockaddr(&ss, &four, &port));
	ck_assert(addr_parse("192.0.2.1", &addr));
	ck_assert(addr_eq(&addr, &four));
	addr_to_sockaddr(&four, 80, &made);
	ck_assert_mem_eq(&made, &in, sizeof(in));
	/* a mapped address in an IPv6 sockaddr is the same IPv4 address */
	ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr), 1);
	memcpy(&ss, &in6, sizeof(in6));
	ck_assert(addr_from_sockaddr(&ss, &addr, &port));
	ck_assert(addr_eq(&addr, &four));
	ck_assert_uint_eq(port, 81);
}
END_TEST

static const char *const no_addresses[] = {
	"",         " ",        "1.2.3",     "1.2.3.4.5",     "1.2.3.256",         "01.2.3.4",
	"1.2.3.4 ", " 1.2.3.4", "1.2.3.4/8", "0x1.2.3.4",     "localhost",         "fe80::1%lo",
	"[::1]",    "::1::",    ":",         "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::",
	"::g",
};

START_TEST(not_addresses)
{
	struct addr addr;

	ck_assert(!addr_parse(no_addresses[_i], &addr));
}
END_TEST

/* Prefixes: as written, as printed, one address inside, one outside (NULL: none is) */
static const struct {
	const char *text, *printed;
	unsigned len;
	const char *inside, *outside;
} prefixes[] = {
	{"10.0.0.0/8", "10.0.0.0/8", 104, "10.255.255.255", "11.0.0.0"},
	{"10.0.0.0/7", "10.0.0.0/7", 103, "11.255.255.255", "12.0.0.0"},
	{"0.0.0.0/0", "0.0.0.0/0", 96, "255.1.2.3", "2001:db8::1"},
	{"0.0.0.0", "0.0.0.0/32", 128, "0.0.0.0", "::"},
	{"169.254.169.254", "169.254.169.254/32", 128, "169.254.169.254", "169.254.169.255"},
	{"192.0.2.128/25", "192.0.2.128/25", 121, "192.0.2.255", "192.0.2.127"},
	{"192.0.2.6/31", "192.0.2.6/31", 127, "192.0.2.7", "192.0.2.5"},
	{"fd00:ec2::254", "fd00:ec2::254/128", 128, "fd00:ec2::254", "fd00:ec2::255"},
	{"2001:db8::/32", "2001:db8::/32", 32, "2001:db8:ffff::1", "2001:db9::"},
	{"fe80::/10", "fe80::/10", 10, "febf::1", "fec0::"},
	{"8000::/1", "8000::/1", 1, "ffff::", "7fff::"},
	{"::/0", "::/0", 0, "2001:db8::1", NULL},
	{"::/0", "::/0", 0, "192.0.2.1", NULL}, /* lengths are of the 128-bit form */
	{"::ffff:10.0.0.0/104", "10.0.0.0/8", 104, "10.1.2.3", "2001:db8::1"},
};

START_TEST(prefixes_ok)
{
	char text[ADDR_TEXT_MAX];
	struct prefix prefix;
	struct addr addr;

	ck_assert(prefix_parse(prefixes[_i].text, &prefix));
	ck_assert_uint_eq(prefix.len, prefixes[_i].len);
	ck_assert_str_eq(prefix_text(&prefix, text), prefixes[_i].printed);
	ck_assert(prefix_contains(&prefix, &prefix.addr));
	ck_assert(addr_parse(prefixes[_i].inside, &addr));
	ck_assert(prefix_contains(&prefix, &addr));
	if (prefixes[_i].outside) {
		ck_assert(addr_parse(prefixes[_i].outside, &addr));
		ck_assert(!prefix_contains(&prefix, &addr));
	}
}
END_TEST

static const char *const no_prefixes[] = {
	"",
	"/",
	"/8",
	"10.0.0.0/",
	"10.0.0.0/33",
	"10.0.0.0/-1",
	"10.0.0.0/+8",
	"10.0.0.0/8 ",
	"0000000000000000000000000000000000000000000000000000000000000001/8", /* exactly ADDR_TEXT_MAX before the
										 slash */
	"10.0.0.1/8",
	"::1/127",
	"::/129",
	"2001:db8::/",
	"10.0.0.0/8/8",
	"10/8",
	"10.0.0.0/0x8",
	"::/1000",
	"2001:db8::1/64",
	"0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0/8",
};

START_TEST(prefixes_wrong)
{
	struct prefix prefix;

	ck_assert(!prefix_parse(no_prefixes[_i], &prefix));
}
END_TEST

START_TEST(prefix_length_from_outside)
{
	struct prefix prefix;
	struct addr addr;

	ck_assert(addr_parse("192.0.2.1", &addr));
	prefix = (struct prefix){.addr = addr, .len = 255};
	ck_assert(prefix_contains(&prefix, &addr));
	prefix.addr.b[15] ^= 1;
	ck_assert(!prefix_contains(&prefix, &addr));
}
END_TEST

START_TEST(prefix_bit_by_bit)
{
	struct prefix prefix;
	struct addr addr, flipped;
	unsigned bit;

	ck_assert(addr_parse("2001:db8:1234:5678:9abc:def0:1357:9bdf", &addr));
	for (prefix.len = 0; prefix.len <= 128; prefix.len++)
		for (bit = 0; bit < 128; bit++) {
			prefix.addr = flipped = addr;
			flipped.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			ck_assert_int_eq(prefix_contains(&prefix, &flipped), bit >= prefix.len);
		}
}
END_TEST

/** addr_suite() - all tests of this file */
static Suite *addr_suite(void)
{
	Suite *suite = suite_create("addr");
	TCase *one = tcase_create("address"), *many = tcase_create("prefix");

	tcase_add_loop_test(one, kinds, 0, ARRAY_SIZE(addresses));
	tcase_add_loop_test(one, sockaddrs, 0, ARRAY_SIZE(addresses));
	tcase_add_test(one, sockaddr_forms);
	tcase_add_loop_test(one, not_addresses, 0, ARRAY_SIZE(no_addresses));
	suite_add_tcase(suite, one);
	tcase_add_loop_test(many, prefixes_ok, 0, ARRAY_SIZE(prefixes));
	tcase_add_loop_test(many, prefixes_wrong, 0, ARRAY_SIZE(no_prefixes));
	tcase_add_test(many, prefix_length_from_outside);
	tcase_add_test(many, prefix_bit_by_bit);
	suite_add_tcase(suite, many);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(addr_suite());
}
