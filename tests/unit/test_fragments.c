/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_fragments.c: the form of fragments, and which later one may follow which first
 */
#include <check.h>

#include "fragments.h"
#include "packet.h"
#include "suite.h"
#include "util.h"

#define SECOND 1000000000ULL

/** start() - a packet up to where what its fragment holds begins; `offset` in bytes */
static void start(struct packet *p, unsigned version, uint8_t protocol, unsigned offset, bool more)
{
	packet_ip(p, version, local(version), remote(version), version == 4 ? protocol : IPPROTO_FRAGMENT);
	if (version == 4)
		packet_u16(p, 6, offset / 8 | (more ? 0x2000 : 0));
	else
		PACKET_ADD(p, protocol, 0, (uint8_t)(offset >> 8), (uint8_t)(offset | more), 0, 0, 0x12, 0x34);
}

/** first_fragment() - a first fragment of UDP with `size` bytes behind the header */
static void first_fragment(struct packet *p, unsigned version, unsigned size)
{
	start(p, version, IPPROTO_UDP, 0, true);
	packet_udp(p, 4000, 53, size);
	packet_u16(p, p->len - size - 4, 2000); /* of the whole datagram */
	packet_end(p);
}

/** later_fragment() - a later fragment with `size` bytes */
static void later_fragment(struct packet *p, unsigned version, unsigned offset, unsigned size, bool more)
{
	start(p, version, IPPROTO_UDP, offset, more);
	packet_add(p, NULL, size);
	packet_end(p);
}

/** verdict_of() - what pkt_parse() says, by name */
static const char *verdict_of(const struct packet *p)
{
	struct pkt pkt;

	return verdict_name(packet_parse(&pkt, p, false));
}

START_TEST(sound)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;

	first_fragment(&p, version, 16);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, PKT_FRAGMENT | PKT_MORE);
	ck_assert_uint_eq(pkt.sport, 4000);
	ck_assert_uint_eq(pkt.from, 0);
	ck_assert_uint_eq(pkt.to, 24);
	ck_assert_uint_eq(pkt.id, 0x1234);
	later_fragment(&p, version, 24, 8, true);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, PKT_FRAGMENT | PKT_LATER | PKT_MORE);
	ck_assert_uint_eq(pkt.from, 24);
	ck_assert_uint_eq(pkt.to, 32);
	ck_assert_uint_eq(pkt.protocol, IPPROTO_UDP);
	ck_assert(!pkt.sport && !pkt.dport);
	later_fragment(&p, version, 32, 1, false);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, PKT_FRAGMENT | PKT_LATER);
	ck_assert_uint_eq(pkt.to, 33);
}
END_TEST

START_TEST(sizes)
{
	const unsigned version = versions[_i];
	struct packet p;

	first_fragment(&p, version, 15);
	ck_assert_str_eq(verdict_of(&p), "fragment-length");
	later_fragment(&p, version, 24, 15, true);
	ck_assert_str_eq(verdict_of(&p), "fragment-length");
	later_fragment(&p, version, 24, 15, false);
	ck_assert_str_eq(verdict_of(&p), "pass");
	later_fragment(&p, version, 24, 0, false);
	ck_assert_str_eq(verdict_of(&p), "fragment-length");
	later_fragment(&p, version, 24, 0, true);
	ck_assert_str_eq(verdict_of(&p), "fragment-length");
	/* the largest datagram, and one byte more; the IPv4 header counts too */
	later_fragment(&p, version, version == 4 ? 65512 : 65520, version == 4 ? 3 : 15, false);
	ck_assert_str_eq(verdict_of(&p), "pass");
	later_fragment(&p, version, version == 4 ? 65512 : 65520, version == 4 ? 4 : 16, false);
	ck_assert_str_eq(verdict_of(&p), "fragment-length");
}
END_TEST

/* IPv6 headers before the fragment header are part of the datagram, those of IPv4 are in its header */
START_TEST(sizes_with_headers)
{
	unsigned size;
	struct packet p;

	for (size = 7; size <= 8; size++) {
		packet_ip(&p, 6, local(6), remote(6), IPPROTO_DSTOPTS);
		PACKET_ADD(&p, IPPROTO_FRAGMENT, 0, 1, 4, 0, 0, 0, 0);
		PACKET_ADD(&p, IPPROTO_UDP, 0, 0xff, 0xf0, 0, 0, 0, 1);
		packet_add(&p, NULL, size);
		packet_end(&p);
		ck_assert_str_eq(verdict_of(&p), size == 7 ? "pass" : "fragment-length");
	}
	packet_ip(&p, 4, local(4), remote(4), IPPROTO_UDP);
	packet_u16(&p, 6, 0x4000); /* "do not fragment" is no fragment */
	packet_udp(&p, 4000, 53, 0);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "pass");
}
END_TEST

/* First fragments that end inside a header, and how much of it they need */
static const struct {
	uint8_t protocol;
	uint8_t size, words; /* bytes of it; length that a TCP or DCCP header says it has */
	const char *verdict;
} tiny_cases[] = {
	{IPPROTO_TCP, 8, 5, "tiny-fragment"},
	{IPPROTO_TCP, 16, 5, "tiny-fragment"},
	{IPPROTO_TCP, 24, 5, "pass"},
	{IPPROTO_TCP, 24, 7, "tiny-fragment"},
	{IPPROTO_TCP, 32, 7, "pass"},
	{IPPROTO_TCP, 24, 4, "transport"},
	{IPPROTO_UDP, 0, 0, "tiny-fragment"},
	{IPPROTO_UDP, 4, 0, "tiny-fragment"},
	{IPPROTO_UDP, 8, 0, "pass"},
	{IPPROTO_UDPLITE, 4, 0, "tiny-fragment"},
	{IPPROTO_SCTP, 8, 0, "tiny-fragment"},
	{IPPROTO_SCTP, 16, 0, "pass"},
	{IPPROTO_DCCP, 8, 4, "tiny-fragment"},
	{IPPROTO_DCCP, 16, 4, "pass"},
	{IPPROTO_DCCP, 16, 5, "tiny-fragment"},
};

START_TEST(tiny)
{
	const unsigned version = versions[(size_t)_i % 2];
	const size_t i = (size_t)_i / 2;
	struct packet p;
	size_t at;

	start(&p, version, tiny_cases[i].protocol, 0, true);
	at = p.len;
	packet_add(&p, NULL, tiny_cases[i].size);
	if (tiny_cases[i].protocol == IPPROTO_UDP && tiny_cases[i].size >= 8)
		packet_u16(&p, at + 4, 100);
	if (tiny_cases[i].protocol == IPPROTO_TCP && tiny_cases[i].size > 12)
		p.b[at + 12] = (uint8_t)(tiny_cases[i].words << 4);
	if (tiny_cases[i].protocol == IPPROTO_DCCP && tiny_cases[i].size > 12) {
		p.b[at + 4] = tiny_cases[i].words;
		p.b[at + 8] = 1; /* a request with a long sequence number */
	}
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), tiny_cases[i].verdict);
}
END_TEST

START_TEST(tiny_icmp)
{
	const unsigned version = versions[_i];
	struct packet p;

	start(&p, version, icmp_protocol(version), 0, true);
	PACKET_ADD(&p, version == 4 ? 8 : 128, 0, 0, 0, 0, 77);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "tiny-fragment");
	PACKET_ADD(&p, 0, 1);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "pass");
}
END_TEST

START_TEST(no_fragments)
{
	struct packet p;

	start(&p, 6, IPPROTO_UDP, 0, false);
	packet_udp(&p, 4000, 53, 0);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "atomic-fragment");
	start(&p, 6, IPPROTO_FRAGMENT, 0, true); /* a fragment of a fragment */
	PACKET_ADD(&p, IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 2);
	packet_udp(&p, 4000, 53, 0);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "extension");
	start(&p, 6, IPPROTO_DSTOPTS, 0, true); /* the chain goes on in the next fragment (RFC 7112) */
	PACKET_ADD(&p, IPPROTO_UDP, 1, 1, 4, 0, 0, 0, 0);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "tiny-fragment");
}
END_TEST

/** parsed() - a packet, parsed; it stays until the next one is */
static struct pkt parsed(const struct packet *p)
{
	struct pkt pkt;

	ck_assert_int_eq(packet_parse(&pkt, p, false), VERDICT_PASS);
	return pkt;
}

/** followed() - what becomes of a later fragment of UDP at `offset`, by name */
static const char *followed(const struct fragments *table, unsigned version, unsigned offset, uint64_t flow,
			    uint64_t now)
{
	struct packet p;
	struct pkt pkt;

	later_fragment(&p, version, offset, 8, true);
	pkt = parsed(&p);
	return verdict_name(fragments_follow(table, &pkt, flow, now));
}

START_TEST(following)
{
	static struct fragments table;
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;

	fragments_init(&table);
	ck_assert_str_eq(followed(&table, version, 24, 7, 5 * SECOND), "orphan-fragment");
	first_fragment(&p, version, 16);
	pkt = parsed(&p);
	fragments_remember(&table, &pkt, 7, 5 * SECOND);
	ck_assert_str_eq(followed(&table, version, 24, 7, 5 * SECOND), "pass");
	ck_assert_str_eq(followed(&table, version, 65000, 7, 7 * SECOND), "pass");
	ck_assert_str_eq(followed(&table, version, 24, 7, 7 * SECOND + 1), "orphan-fragment");
	ck_assert_str_eq(followed(&table, version, 24, 8, 5 * SECOND), "orphan-fragment");
	ck_assert_str_eq(followed(&table, version, 24, FRAGMENT_ANYBODY, 7 * SECOND), "pass");
	ck_assert_str_eq(followed(&table, version, 24, FRAGMENT_ANYBODY, 7 * SECOND + 1), "orphan-fragment");
	ck_assert_str_eq(followed(&table, version, 16, FRAGMENT_ANYBODY, 5 * SECOND), "overlap");
	ck_assert_str_eq(followed(&table, version, 16, 7, 5 * SECOND), "overlap");
	ck_assert_str_eq(followed(&table, version, 8, 7, 5 * SECOND), "overlap");
	later_fragment(&p, version, 24, 8, false);
	pkt = parsed(&p);
	ck_assert_int_eq(fragments_follow(&table, &pkt, 7, 5 * SECOND), VERDICT_PASS);
	ck_assert_uint_eq(pkt.sport, 4000);
	ck_assert_uint_eq(pkt.dport, 53);
	/* another datagram with the same identification takes the first one's place */
	first_fragment(&p, version, 32);
	pkt = parsed(&p);
	fragments_remember(&table, &pkt, 8, 6 * SECOND);
	ck_assert_str_eq(followed(&table, version, 24, 7, 6 * SECOND), "orphan-fragment");
	ck_assert_str_eq(followed(&table, version, 24, 8, 6 * SECOND), "overlap");
	ck_assert_str_eq(followed(&table, version, 40, 8, 6 * SECOND), "pass");
}
END_TEST

/* What must be the same: addresses, identification, and in IPv4 the protocol */
START_TEST(other_datagrams)
{
	static struct fragments table;
	const unsigned version = versions[_i];
	struct pkt first, other;
	struct packet p;

	fragments_init(&table);
	first_fragment(&p, version, 16);
	first = parsed(&p);
	fragments_remember(&table, &first, 0, SECOND);
	later_fragment(&p, version, 24, 8, false);
	first = parsed(&p);
	other = first;
	other.src.b[15] ^= 1;
	ck_assert_int_eq(fragments_follow(&table, &other, 0, SECOND), VERDICT_ORPHAN_FRAGMENT);
	other = first;
	other.dst.b[15] ^= 1;
	ck_assert_int_eq(fragments_follow(&table, &other, 0, SECOND), VERDICT_ORPHAN_FRAGMENT);
	other = first;
	other.id++;
	ck_assert_int_eq(fragments_follow(&table, &other, 0, SECOND), VERDICT_ORPHAN_FRAGMENT);
	other = first;
	other.protocol = IPPROTO_TCP;
	ck_assert_int_eq(fragments_follow(&table, &other, 0, SECOND),
			 version == 4 ? VERDICT_ORPHAN_FRAGMENT : VERDICT_PASS);
	if (version == 6)
		ck_assert_uint_eq(other.protocol, IPPROTO_UDP);
}
END_TEST

/* As many datagrams as half the table can be under way at once, and a flood of others leaves the youngest in place */
START_TEST(crowds)
{
	static struct fragments table;
	const unsigned many = FRAGMENT_SETS * FRAGMENT_WAYS / 2;
	unsigned i, lost = 0;
	struct packet p;
	struct pkt pkt;

	fragments_init(&table);
	first_fragment(&p, 4, 16);
	pkt = parsed(&p);
	for (i = 0; i < 100 * many; i++) {
		pkt.id = i;
		fragments_remember(&table, &pkt, i, SECOND + i);
	}
	pkt.from = pkt.to;
	for (i = 99 * many; i < 100 * many; i++) {
		pkt.id = i;
		lost += fragments_follow(&table, &pkt, i, 2 * SECOND) != VERDICT_PASS;
	}
	ck_assert_uint_lt(lost, many / 8);
}
END_TEST

/* A client's identification of 0 is filled in, but not in a fragment: the next would get another one */
START_TEST(filling_in)
{
	const struct addr source = addr(local(4));
	struct packet p;
	struct pkt pkt;

	first_fragment(&p, 4, 16);
	packet_u16(&p, 4, 0);
	packet_end(&p);
	pkt = parsed(&p);
	pkt_fill(p.b, &pkt, &source, 0x4711);
	ck_assert_uint_eq(p.b[4] << 8 | p.b[5], 0);
	packet_u16(&p, 6, 0);
	packet_u16(&p, 24, 24);
	packet_end(&p);
	pkt = parsed(&p);
	pkt_fill(p.b, &pkt, &source, 0x4711);
	ck_assert_uint_eq(p.b[4] << 8 | p.b[5], 0x4711);
}
END_TEST

/** fragments_suite() - all tests of this file */
static Suite *fragments_suite(void)
{
	Suite *suite = suite_create("fragments");
	TCase *form = tcase_create("form"), *memory = tcase_create("memory");

	tcase_add_loop_test(form, sound, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(form, sizes, 0, ARRAY_SIZE(versions));
	tcase_add_test(form, sizes_with_headers);
	tcase_add_loop_test(form, tiny, 0, 2 * ARRAY_SIZE(tiny_cases));
	tcase_add_loop_test(form, tiny_icmp, 0, ARRAY_SIZE(versions));
	tcase_add_test(form, no_fragments);
	tcase_add_test(form, filling_in);
	suite_add_tcase(suite, form);
	tcase_add_loop_test(memory, following, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(memory, other_datagrams, 0, ARRAY_SIZE(versions));
	tcase_add_test(memory, crowds);
	suite_add_tcase(suite, memory);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(fragments_suite());
}
