/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_pkt.c: any bytes at all through the packet code and the verdict
 *
 * The first byte of an input says how the flow is set up, the rest is the
 * packet. What must hold whatever the bytes are is checked here with code of
 * its own, which shares nothing with what it checks but the structs. The
 * packet lies in memory of exactly its size, so that the address sanitizer
 * sees every byte read too far.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../reference/csum.h"
#include "fuzz.h"
#include "pkt.h"
#include "util.h"

/* Bits of an input's first byte; the lowest two are the class */
#define INPUT_CLASS 0x03
#define INPUT_PADDED 0x04
#define INPUT_LOCAL 0x08     /* the flow has a local address */
#define INPUT_CONNECTED 0x10 /* and a remote one */
#define INPUT_ONE_FAMILY 0x20
#define INPUT_V6 0x40        /* that family, and that of the addresses above */
#define INPUT_NO_SOURCE 0x80 /* pkt_fill() gets none */

#define PORT_LO 4000
#define PORT_HI 4999

/** parse_addr() - an address from text that is one */
static struct addr parse_addr(const char *text)
{
	struct addr addr;

	MUST(addr_parse(text, &addr));
	return addr;
}

/** the_slice() - the slice that every input is judged for */
static struct policy_slice the_slice(void)
{
	struct policy_slice slice = {.addresses = 2, .denied = 2};

	slice.address[0] = parse_addr("192.0.2.1");
	slice.address[1] = parse_addr("2001:db8::1");
	MUST(prefix_parse("203.0.113.0/24", &slice.deny[0]));
	MUST(prefix_parse("2001:db8:bad::/48", &slice.deny[1]));
	return slice;
}

/** the_flow() - the flow that an input asks for */
static struct policy_flow the_flow(const struct policy_slice *slice, uint8_t setup)
{
	struct policy_flow flow = {.class = (setup & INPUT_CLASS) % STEER_PORT_CLASSES, .lo = PORT_LO, .hi = PORT_HI};
	bool v6 = setup & INPUT_V6;

	if (setup & (INPUT_ONE_FAMILY | INPUT_LOCAL | INPUT_CONNECTED))
		flow.family = v6 ? AF_INET6 : AF_INET;
	if (setup & INPUT_LOCAL)
		flow.local = slice->address[v6];
	if (setup & INPUT_CONNECTED)
		flow.remote = parse_addr(v6 ? "2001:db8::2" : "192.0.2.2");
	return flow;
}

/** same_view() - whether two views say the same, wherever their packets lie */
static bool same_view(const struct pkt *a, const struct pkt *b)
{
	return a->len == b->len && a->version == b->version && a->protocol == b->protocol && a->flags == b->flags &&
	       a->icmp_type == b->icmp_type && a->icmp_code == b->icmp_code && a->transport == b->transport &&
	       a->id == b->id && addr_eq(&a->src, &b->src) && addr_eq(&a->dst, &b->dst) && a->sport == b->sport &&
	       a->dport == b->dport && a->inner_protocol == b->inner_protocol &&
	       addr_eq(&a->inner_src, &b->inner_src) && addr_eq(&a->inner_dst, &b->inner_dst) &&
	       a->inner_sport == b->inner_sport && a->inner_dport == b->inner_dport;
}

/** check_view() - what must be true of a packet that passes */
static void check_view(const struct pkt *pkt, size_t size, bool padded)
{
	size_t left = pkt->len - pkt->transport;
	bool icmp = pkt->protocol == (pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);

	MUST(pkt->version == 4 || pkt->version == 6);
	MUST(pkt->len <= size && (padded || pkt->len == size) && pkt->len <= PKT_MAX);
	MUST(pkt->transport >= (pkt->version == 4 ? 20 : 40) && pkt->transport <= pkt->len);
	MUST((addr_family(&pkt->src) == AF_INET) == (pkt->version == 4));
	MUST((addr_family(&pkt->dst) == AF_INET) == (pkt->version == 4));
	if (pkt->flags & PKT_LATER) {
		MUST(pkt->flags & PKT_FRAGMENT);
		MUST(!pkt->sport && !pkt->dport && !pkt->inner_protocol);
		return;
	}
	MUST(pkt->protocol != IPPROTO_TCP || left >= 20);
	MUST(pkt->protocol != IPPROTO_UDP || left >= 8);
	MUST(pkt->protocol != IPPROTO_UDPLITE || left >= 8);
	MUST((pkt->protocol != IPPROTO_SCTP && pkt->protocol != IPPROTO_DCCP) || left >= 12);
	MUST(!icmp || left >= 8);
	MUST(icmp || !(pkt->flags & (PKT_ICMP_ERROR | PKT_ICMP_REPLY | PKT_ICMP_REQUEST)));
	if (pkt->flags & PKT_ICMP_ERROR) {
		MUST(!pkt->sport && !pkt->dport && left >= 8 + (pkt->version == 4 ? 20 : 40));
		MUST((addr_family(&pkt->inner_src) == AF_INET) == (pkt->version == 4));
	} else {
		MUST(!pkt->inner_protocol && !pkt->inner_sport && !pkt->inner_dport);
	}
}

/** check_send() - what must be true of a packet that may be sent */
static void check_send(const struct policy_slice *slice, const struct policy_flow *flow, const struct pkt *pkt)
{
	const uint8_t *dst = pkt->dst.b;
	const bool v4 = pkt->version == 4;

	MUST(!(pkt->flags & (PKT_FRAGMENT | PKT_LATER | PKT_SOURCE_ROUTE | PKT_ICMP_ERROR)));
	MUST(pkt->sport >= PORT_LO && pkt->sport <= PORT_HI);
	MUST(policy_class(pkt->protocol) == flow->class);
	MUST(addr_is_any(&pkt->src) || addr_eq(&pkt->src, &slice->address[!v4]));
	MUST(addr_is_any(&flow->remote) || addr_eq(&pkt->dst, &flow->remote));
	if (v4) {
		MUST(dst[12] != 127 && dst[12] >> 4 != 14 && memcmp(dst + 12, "\377\377\377\377", 4));
		MUST(!(dst[12] == 169 && dst[13] == 254) && !(dst[12] == 203 && dst[13] == 0 && dst[14] == 113));
	} else {
		MUST(dst[0] != 0xff && !(dst[0] == 0xfe && dst[1] >> 6 == 2));
		MUST(memcmp(dst, (const uint8_t[12]){0}, 12));
	}
}

/** check_receive() - what must be true of a packet that a flow may get */
static void check_receive(const struct policy_flow *flow, const struct pkt *pkt)
{
	bool error = pkt->flags & PKT_ICMP_ERROR;
	uint16_t port = error ? pkt->inner_sport : pkt->dport;

	MUST(!(pkt->flags & (PKT_BAD_CHECKSUM | PKT_SOURCE_ROUTE)));
	MUST(pkt->flags & PKT_LATER || (port >= PORT_LO && port <= PORT_HI));
	if (!(pkt->flags & PKT_LATER) || pkt->version == 4) /* in IPv6 the first fragment alone tells the protocol */
		MUST(policy_class(error ? pkt->inner_protocol : pkt->protocol) == flow->class);
	MUST(addr_is_any(&flow->local) || addr_eq(&pkt->dst, &flow->local));
	MUST(addr_is_any(&flow->remote) || addr_eq(error ? &pkt->inner_dst : &pkt->src, &flow->remote));
	MUST(!error || addr_eq(&pkt->inner_src, &pkt->dst));
}

/** fills_id() - whether pkt_fill() gives a packet an identification: not a fragment, whose others have the same */
static bool fills_id(const struct pkt *pkt)
{
	return pkt->version == 4 && !pkt->id && !(pkt->flags & PKT_FRAGMENT);
}

/** filled_byte_ok() - whether pkt_fill() may have changed the byte at an offset */
static bool filled_byte_ok(const struct pkt *pkt, size_t at)
{
	const size_t src = pkt->version == 4 ? 12 : 8, end = pkt->version == 4 ? 16 : 24;
	const int field = csum_field(pkt);

	if (pkt->version == 4 && (at == 10 || at == 11 || (fills_id(pkt) && (at == 4 || at == 5))))
		return true;
	if (!addr_is_any(&pkt->src))
		return false;
	if (at >= src && at < end)
		return true;
	return !(pkt->flags & PKT_LATER) && field >= 0 && at - pkt->transport - (size_t)field < 2;
}

/** transport_sum() - what a packet's transport checksum should be */
static uint16_t transport_sum(const struct pkt *pkt)
{
	return reference_csum(pkt->data, pkt->len, pkt->transport, pkt->protocol);
}

/** check_fill() - fill a copy in, and see that it is right and nothing else has changed */
static void check_fill(const struct pkt *pkt, const struct addr *source)
{
	uint8_t *copy = malloc(pkt->len);
	struct pkt want = *pkt, filled;
	size_t at;

	MUST(copy);
	memcpy(copy, pkt->data, pkt->len);
	pkt_fill(copy, pkt, source, 0x4d2);
	for (at = 0; at < pkt->len; at++)
		MUST(copy[at] == pkt->data[at] || filled_byte_ok(pkt, at));
	MUST(pkt_parse(&filled, copy, pkt->len, false) == VERDICT_PASS);
	want.flags &= (uint16_t)~PKT_BAD_CHECKSUM;
	if (fills_id(pkt))
		want.id = 0x4d2;
	if (source && addr_is_any(&pkt->src))
		want.src = *source;
	MUST(same_view(&want, &filled));
	if (!(pkt->flags & PKT_FRAGMENT) && csum_field(pkt) >= 0) {
		uint16_t before, after;

		memcpy(&before, pkt->data + pkt->transport + csum_field(pkt), sizeof(before));
		memcpy(&after, copy + pkt->transport + csum_field(pkt), sizeof(after));
		if (before && before == transport_sum(pkt)) /* was right: still is, 0 and 0xffff being the same */
			MUST(after == transport_sum(&filled) || (uint16_t)(after + 1) <= 1);
	}
	free(copy);
}

/** check_padding() - a byte more behind a packet must change nothing where padding is allowed */
static void check_padding(const struct pkt *pkt, const uint8_t *packet, size_t size)
{
	uint8_t *longer = malloc(size + 1);
	struct pkt view;

	MUST(longer);
	memcpy(longer, packet, size);
	longer[size] = 0xa5;
	MUST(pkt_parse(&view, longer, size + 1, true) == VERDICT_PASS);
	MUST(same_view(pkt, &view));
	MUST(pkt_parse(&view, longer, size + 1, false) == VERDICT_LENGTH);
	free(longer);
}

/** LLVMFuzzerTestOneInput() - one input: set-up byte, then the packet */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	const struct policy_slice slice = the_slice();
	struct policy_flow flow;
	struct pkt pkt;
	uint8_t *packet;

	if (!size || !(packet = malloc(size - 1 ? size - 1 : 1)))
		return 0;
	memcpy(packet, input + 1, --size);
	flow = the_flow(&slice, input[0]);
	if (pkt_parse(&pkt, packet, size, input[0] & INPUT_PADDED) == VERDICT_PASS) {
		check_view(&pkt, size, input[0] & INPUT_PADDED);
		check_padding(&pkt, packet, size);
		if (policy_send(&slice, &flow, &pkt) == VERDICT_PASS)
			check_send(&slice, &flow, &pkt);
		if (policy_receive(&flow, &pkt) == VERDICT_PASS)
			check_receive(&flow, &pkt);
		check_fill(&pkt, input[0] & INPUT_NO_SOURCE ? NULL : &slice.address[pkt.version == 6]);
	}
	free(packet);
	return 0;
}
