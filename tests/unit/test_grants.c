/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_grants.c: protocols without ports: GRE by key, others by number
 *
 * From the packet (pkt.c) over the verdict (policy.c) to the slots that stand
 * for ports, as the monitor gives them away (netns/grants.c) and as the relay
 * finds them (slots.c).
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "netns.h"
#include "packet.h"
#include "slots.h"
#include "steering.h"
#include "suite.h"
#include "util.h"

#define KEY 0x2000
#define KEYED 7000000u

/** gre_packet() - a GRE packet from the local to the remote host, or back */
static void gre_packet(struct packet *p, unsigned version, unsigned flags, uint32_t first, bool back)
{
	packet_ip(p, version, back ? remote(version) : local(version), back ? local(version) : remote(version),
		  IPPROTO_GRE);
	packet_gre(p, flags, first, KEYED);
	packet_end(p);
}

/* GRE headers with 12 bytes behind the flags and the protocol; which have a key, and where */
static const struct {
	unsigned flags;
	bool keyed, second; /* the key is behind the checksum */
} headers[] = {
	{0x0000, false, false},          {0x2000, true, false},  {0xa000, true, true},
	{0x3000, true, false},           {0x8000, false, false}, {0x1000, false, false},
	{0x2000 | 0x4000, false, false}, {0x2001, false, false}, {0x2880, false, false},
	{0x2800, false, false},          {0x2400, false, false}, {0x2007, false, false},
	{0x2100, true, false},           {0x23f8, true, false},  {0x3081, false, false}, /* PPTP */
};

START_TEST(header)
{
	const unsigned version = versions[_i / ARRAY_SIZE(headers)];
	const size_t n = _i % ARRAY_SIZE(headers);
	struct packet p;
	struct pkt pkt;

	gre_packet(&p, version, headers[n].flags, 9, false);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_int_eq(!!(pkt.flags & PKT_KEY), headers[n].keyed);
	ck_assert_uint_eq(pkt.key, headers[n].keyed ? (headers[n].second ? KEYED : 9) : 0);
	ck_assert(!pkt.sport && !pkt.dport);
}
END_TEST

START_TEST(header_cut)
{
	const unsigned version = versions[_i];
	static const struct {
		unsigned flags;
		size_t size; /* bytes that it needs */
	} cuts[] = {{0, 4}, {0x4000, 4}, {KEY, 8}, {KEY | 0x8000, 12}, {KEY | 0x1000, 12}};
	struct packet p;
	struct pkt pkt;
	size_t i, size, at;

	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		gre_packet(&p, version, cuts[i].flags, 9, false);
		at = p.len - 12;
		for (size = 0; size <= 12; size++) {
			p.len = at + size;
			packet_end(&p);
			ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)),
					 size < cuts[i].size ? "transport" : "pass");
		}
	}
}
END_TEST

/** make_flow() - a flow of the local host, for GRE with key 9, or another protocol */
static struct policy_flow make_flow(unsigned version, uint8_t protocol)
{
	return (struct policy_flow){.class = CLASS_GRANT,
				    .family = version == 4 ? AF_INET : AF_INET6,
				    .local = addr(local(version)),
				    .protocol = protocol,
				    .key = protocol == IPPROTO_GRE ? 9 : 0};
}

/** verdict() - on a packet, sent or received */
static const char *verdict(const struct policy_flow *flow, const struct packet *p, bool received)
{
	struct policy_slice slice = {.addresses = 2, .address = {addr(local(4)), addr(local(6))}};
	struct pkt pkt;

	ck_assert_str_eq(verdict_name(packet_parse(&pkt, p, false)), "pass");
	return verdict_name(received ? policy_receive(flow, &pkt) : policy_send(&slice, flow, &pkt));
}

START_TEST(gre)
{
	const unsigned version = versions[_i];
	struct policy_flow flow = make_flow(version, IPPROTO_GRE);
	struct packet p;

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		bool good = headers[i].keyed && !headers[i].second;

		gre_packet(&p, version, headers[i].flags, 9, false);
		ck_assert_str_eq(verdict(&flow, &p, false), good ? "pass" : headers[i].keyed ? "port" : "gre");
		gre_packet(&p, version, headers[i].flags, 9, true);
		ck_assert_str_eq(verdict(&flow, &p, true), good ? "pass" : "no-flow");
	}
	gre_packet(&p, version, KEY, 10, false);
	ck_assert_str_eq(verdict(&flow, &p, false), "port");
	gre_packet(&p, version, KEY, 9, false);
	flow.remote = addr(remote(version));
	ck_assert_str_eq(verdict(&flow, &p, false), "pass");
	flow.remote = addr(version == 4 ? "198.51.100.8" : "2001:db8:7::8");
	ck_assert_str_eq(verdict(&flow, &p, false), "remote");
	flow = make_flow(version, 89);
	ck_assert_str_eq(verdict(&flow, &p, false), "protocol");
	flow.class = CLASS_TCP;
	ck_assert_str_eq(verdict(&flow, &p, false), "protocol");
	flow = make_flow(10 - version, IPPROTO_GRE);
	ck_assert_str_eq(verdict(&flow, &p, false), "protocol");
}
END_TEST

START_TEST(other_protocol)
{
	const unsigned version = versions[_i];
	struct policy_flow flow = make_flow(version, 89);
	struct packet p;

	packet_ip(&p, version, local(version), remote(version), 89);
	packet_end(&p); /* nothing behind the IP header is looked at, nor need be there */
	ck_assert_str_eq(verdict(&flow, &p, false), "pass");
	packet_ip(&p, version, remote(version), local(version), 89);
	packet_end(&p);
	ck_assert_str_eq(verdict(&flow, &p, true), "pass");
	ck_assert_str_eq(verdict(&flow, &p, false), "source");
	packet_ip(&p, version, local(version), version == 4 ? "127.0.0.1" : "::1", 89);
	packet_end(&p);
	ck_assert_str_eq(verdict(&flow, &p, false), "loopback");
	packet_ip(&p, version, local(version), remote(version), 88);
	packet_end(&p);
	ck_assert_str_eq(verdict(&flow, &p, false), "protocol");
	flow.read_only = true;
	ck_assert_str_eq(verdict(&flow, &p, false), "read-only");
}
END_TEST

START_TEST(errors)
{
	const unsigned version = versions[_i];
	struct policy_flow flow = make_flow(version, IPPROTO_GRE), other = make_flow(version, 89);
	const size_t skip = version == 4 ? 20 : 40;
	struct packet inner, p;
	struct pkt pkt;

	gre_packet(&inner, version, KEY, 9, false);
	packet_error(&p, version == 4 ? 3 : 1, &inner, skip + 8); /* as much as a router must quote */
	ck_assert_str_eq(verdict(&flow, &p, true), "pass");
	ck_assert_str_eq(verdict(&other, &p, true), "protocol");
	flow.key = 10;
	ck_assert_str_eq(verdict(&flow, &p, true), "no-flow");
	packet_error(&p, version == 4 ? 3 : 1, &inner, skip + 7);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "transport");
	gre_packet(&inner, version, KEY | 0x9000, 1, false);
	packet_error(&p, version == 4 ? 3 : 1, &inner, skip + 11);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "transport");
	packet_error(&p, version == 4 ? 3 : 1, &inner, skip + 12);
	flow.key = KEYED;
	ck_assert_str_eq(verdict(&flow, &p, true), "pass");
	gre_packet(&inner, version, 0, 9, false);
	packet_error(&p, version == 4 ? 3 : 1, &inner, inner.len);
	ck_assert_str_eq(verdict(&flow, &p, true), "no-flow");
	packet_ip(&inner, version, local(version), remote(version), 89);
	packet_end(&inner);
	packet_error(&p, version == 4 ? 3 : 1, &inner, inner.len);
	ck_assert_str_eq(verdict(&other, &p, true), "pass");
}
END_TEST

START_TEST(grantable)
{
	static const int never[] = {-1, 0,  1,   6,   17,  33,  43,  44,  50,  51,  58,
				    59, 60, 132, 135, 136, 139, 140, 253, 254, 255, 256};
	const struct policy_slice slice = {.grants = 2, .grant = {{IPPROTO_GRE, 5, 9}, {89, 0, 0}}};
	size_t i;
	int n, count = 0;

	for (i = 0; i < ARRAY_SIZE(never); i++)
		ck_assert(!policy_grantable(never[i]));
	for (n = 0; n < 256; n++)
		count += policy_grantable(n);
	ck_assert_int_eq(count, 256 - 20);
	ck_assert(policy_slice_granted(&slice, IPPROTO_GRE, 5) && policy_slice_granted(&slice, IPPROTO_GRE, 9));
	ck_assert(!policy_slice_granted(&slice, IPPROTO_GRE, 4) && !policy_slice_granted(&slice, IPPROTO_GRE, 10));
	ck_assert(policy_slice_granted(&slice, 89, 0) && !policy_slice_granted(&slice, 88, 0));
	ck_assert(!policy_slice_owns(&slice, CLASS_GRANT, 1, 1));
}
END_TEST

START_TEST(slots_found)
{
	static const struct priv_grant runs[] = {
		{.slot = 1, .protocol = 89, .count = 1},
		{.slot = 2, .protocol = IPPROTO_GRE, .key = 100, .count = 10},
		{.slot = 20, .protocol = IPPROTO_GRE, .key = 0, .count = 1},
		{.slot = 30, .protocol = IPPROTO_GRE, .key = UINT32_MAX - 1, .count = 2},
		{.slot = 40, .protocol = 2, .count = 1},
	};
	struct slots slots = {0};
	size_t i, k;

	ck_assert_uint_eq(slots_find(&slots, 89, 0), 0);
	for (i = 0; i < ARRAY_SIZE(runs); i++)
		ck_assert(slots_add(&slots, &runs[i]));
	slots_sort(&slots);
	for (i = 0; i < ARRAY_SIZE(runs); i++)
		for (k = 0; k < runs[i].count; k++)
			ck_assert_uint_eq(slots_find(&slots, runs[i].protocol, (uint32_t)(runs[i].key + k)),
					  runs[i].slot + k);
	ck_assert_uint_eq(slots_find(&slots, IPPROTO_GRE, 99), 0);
	ck_assert_uint_eq(slots_find(&slots, IPPROTO_GRE, 110), 0);
	ck_assert_uint_eq(slots_find(&slots, IPPROTO_GRE, 1), 0);
	ck_assert_uint_eq(slots_find(&slots, IPPROTO_GRE, UINT32_MAX - 2), 0);
	ck_assert_uint_eq(slots_find(&slots, 88, 0), 0);
	ck_assert_uint_eq(slots_find(&slots, 89, 1), 0);
	slots_free(&slots);
}
END_TEST

START_TEST(slots_nonsense)
{
	static const struct priv_grant runs[] = {
		{.slot = 0, .protocol = 89, .count = 1},
		{.slot = 1, .protocol = 89, .count = 0},
		{.slot = 1, .protocol = 89, .count = 2},
		{.slot = 1, .protocol = 89, .key = 1, .count = 1},
		{.slot = 1, .protocol = 6, .count = 1},
		{.slot = 1, .protocol = 44, .count = 1},
		{.slot = 1, .protocol = IPPROTO_GRE, .key = UINT32_MAX, .count = 2},
		{.slot = 1, .protocol = IPPROTO_GRE, .count = STEER_GRANT_SLOTS},
		{.slot = STEER_GRANT_SLOTS - 1, .protocol = IPPROTO_GRE, .count = 2},
		{.slot = UINT16_MAX, .protocol = IPPROTO_GRE, .count = 1},
	};
	struct slots slots = {0};

	ck_assert(!slots_add(&slots, &runs[_i]));
	ck_assert_uint_eq(slots.runs, 0);
	slots_free(&slots);
}
END_TEST

static uint32_t steered[256][2048]; /* what steering was told: slot by protocol and key */

/* See steering.h: a table here */
int steering_grant(struct netns *ns, uint8_t protocol, uint32_t key, unsigned slot)
{
	(void)ns;
	steered[protocol][key] = slot;
	return 0;
}

static struct netns ns = {.conf.name = "n"};
static struct conf_netns sections[] = {{.name = "m"}, {.name = "n"}};
static struct conf_slice slices[2];
static struct conf conf = {.netnses = 2, .netns = sections, .slices = 2, .slice = slices};

/** grant() - one more grant for a slice */
static void grant(struct conf_slice *slice, uint8_t protocol, uint32_t lo, uint32_t hi)
{
	slice->grant[slice->grants++] = (struct policy_grant){protocol, lo, hi};
}

/** ck_runs() - that what the relay would be told finds what steering was told */
static void ck_runs(unsigned runs)
{
	struct slots slots = {0};
	struct priv_grant run;
	unsigned slot, key;

	for (slot = grants_run(&ns, 1, &run); slot; slot = grants_run(&ns, slot, &run))
		ck_assert(slots_add(&slots, &run));
	ck_assert_uint_eq(slots.runs, runs);
	slots_sort(&slots);
	for (key = 0; key < ARRAY_SIZE(steered[0]); key++)
		ck_assert_uint_eq(slots_find(&slots, IPPROTO_GRE, key), steered[IPPROTO_GRE][key]);
	ck_assert_uint_eq(slots_find(&slots, 89, 0), steered[89][0]);
	slots_free(&slots);
}

START_TEST(given_away)
{
	char text[GRANTS_TEXT_MAX];
	unsigned slot;

	slices[0].netns = slices[1].netns = 1;
	grant(&slices[0], IPPROTO_GRE, 10, 19);
	grant(&slices[0], 89, 0, 0);
	grant(&slices[1], IPPROTO_GRE, 15, 24); /* on another address */
	ck_assert_int_eq(grants_refit(&ns, &conf), 0);
	ck_runs(3);
	slot = steered[IPPROTO_GRE][15];
	ck_assert_uint_ne(slot, 0);
	ck_assert(grants_owns(&ns, &slices[0], slot) && grants_owns(&ns, &slices[1], slot));
	ck_assert(!grants_owns(&ns, &slices[1], steered[IPPROTO_GRE][10]));
	ck_assert(!grants_owns(&ns, &slices[0], 0) && !grants_owns(&ns, &slices[0], STEER_GRANT_SLOTS));
	ck_assert_str_eq(grants_text(&ns, slot, text), "gre 15");
	ck_assert_str_eq(grants_text(&ns, steered[89][0], text), "protocol 89");
	/* what stays keeps its slot, what goes loses it, and nobody gets it soon */
	slices[0].grants = 1;
	slices[0].grant[0] = (struct policy_grant){IPPROTO_GRE, 12, 12};
	grant(&slices[1], IPPROTO_GRE, 30, 39);
	ck_assert_int_eq(grants_refit(&ns, &conf), 0);
	ck_assert_uint_eq(steered[IPPROTO_GRE][15], slot);
	ck_assert_uint_eq(steered[IPPROTO_GRE][10], 0);
	ck_assert_uint_eq(steered[89][0], 0);
	ck_assert_uint_gt(steered[IPPROTO_GRE][30], 16);
	ck_runs(4);
	/* of another netns */
	slices[0].netns = slices[1].netns = 0;
	ck_assert_int_eq(grants_refit(&ns, &conf), 0);
	ck_runs(0);
	ck_assert_str_eq(grants_text(&ns, slot, text), "nothing");
}
END_TEST

START_TEST(all_anew_again_and_again)
{
	unsigned round;

	slices[0].netns = 1;
	slices[0].grants = 1;
	conf.slices = 1;
	for (round = 0; round < 20; round++) {
		uint32_t lo = round & 1 ? STEER_GRANTS_MAX : 0;

		slices[0].grant[0] = (struct policy_grant){IPPROTO_GRE, lo, lo + STEER_GRANTS_MAX - 1};
		ck_assert_int_eq(grants_refit(&ns, &conf), 0);
	}
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("grants");
	TCase *pure = tcase_create("pure"), *slots = tcase_create("slots");

	tcase_add_loop_test(pure, header, 0, 2 * ARRAY_SIZE(headers));
	tcase_add_loop_test(pure, header_cut, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(pure, gre, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(pure, other_protocol, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(pure, errors, 0, ARRAY_SIZE(versions));
	tcase_add_test(pure, grantable);
	suite_add_tcase(suite, pure);
	tcase_add_test(slots, slots_found);
	tcase_add_loop_test(slots, slots_nonsense, 0, 10);
	tcase_add_test(slots, given_away);
	tcase_add_test(slots, all_anew_again_and_again);
	suite_add_tcase(suite, slots);
	return suite_run(suite);
}
