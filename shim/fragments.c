/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fragments.c: the first fragments that passed, for those that follow them
 *
 * Later fragments have no ports. They follow the first one, if that passed a
 * short time ago, and are taken to have its ports; and they must not reach
 * back into what it holds, because there are the headers that it was judged
 * by. They are of the same flow as the first: who has the port meanwhile gets
 * no rest of what was for somebody else.
 *
 * Identification and addresses are the sender's choice. So that nobody can
 * choose whose entry is displaced, the place of an entry depends on a secret;
 * of the places where it could go it takes the one that was used least
 * recently. Whoever floods the table makes others lose fragmented datagrams
 * that are under way at that moment, and nothing else.
 */
#include "fragments.h"

#include <assert.h>
#include <netinet/in.h>

#include "flowtab.h"
#include "steer.h"
#include "util.h"

/* What all fragments of a datagram have in common */
struct key {
	struct addr src, dst;
	uint32_t id;
	uint32_t kind;
};

static_assert(sizeof(struct key) % sizeof(uint64_t) == 0, "no padding, and whole words to hash");

/**
 * key_of() - what a fragment has in common with all others of its datagram
 * @pkt: a fragment
 *
 * Behind an IPv6 fragment header more extension headers may follow, which only
 * the first fragment shows; its identification is for all protocols together.
 */
static struct key key_of(const struct pkt *pkt)
{
	return (struct key){.src = pkt->src,
			    .dst = pkt->dst,
			    .id = pkt->id,
			    .kind = pkt->version == 4 ? pkt->protocol : IPPROTO_FRAGMENT};
}

/**
 * is_of() - whether an entry is a datagram's
 * @fragment: entry
 * @key: of the datagram
 */
static bool is_of(const struct fragment *fragment, const struct key *key)
{
	return fragment->time_ns && fragment->id == key->id && fragment->kind == key->kind &&
	       addr_eq(&fragment->src, &key->src) && addr_eq(&fragment->dst, &key->dst);
}

/**
 * set_of() - where entries of a datagram can be
 * @fragments: table
 * @key: of the datagram
 *
 * Return: number of the set
 */
static size_t set_of(const struct fragments *fragments, const struct key *key)
{
	return flowtab_hash(fragments->secret, key, sizeof(*key) / sizeof(uint64_t)) & (FRAGMENT_SETS - 1);
}

/**
 * fragments_init() - make an empty table
 * @fragments: table, all zeros
 */
void fragments_init(struct fragments *fragments)
{
	random_bytes(fragments->secret, sizeof(fragments->secret));
}

/**
 * fragments_remember() - a first fragment has passed
 * @fragments: table
 * @pkt: it
 * @flow: number of the flow that has sent or got it
 * @now: CLOCK_MONOTONIC, ns
 */
void fragments_remember(struct fragments *fragments, const struct pkt *pkt, uint64_t flow, uint64_t now)
{
	const struct key key = key_of(pkt);
	struct fragment *set = fragments->entry[set_of(fragments, &key)], *place = set;
	unsigned i;

	for (i = 0; i < FRAGMENT_WAYS; i++) {
		if (set[i].time_ns < place->time_ns)
			place = &set[i];
		if (is_of(&set[i], &key)) {
			place = &set[i];
			break;
		}
	}
	*place = (struct fragment){.src = key.src,
				   .dst = key.dst,
				   .time_ns = now,
				   .flow = flow,
				   .id = key.id,
				   .to = pkt->to,
				   .sport = pkt->sport,
				   .dport = pkt->dport,
				   .kind = (uint8_t)key.kind,
				   .protocol = pkt->protocol,
				   .flags = pkt->flags & (PKT_ICMP_REPLY | PKT_ICMP_REQUEST)};
}

/**
 * fragments_follow() - whether a later fragment follows its first one
 * @fragments: table
 * @pkt: the later one; when it does, it gets the first one's protocol and ports
 * @flow: number of the flow that sends or would get it, or FRAGMENT_ANYBODY: that is to be found by the ports
 * @now: CLOCK_MONOTONIC, ns
 *
 * Return: VERDICT_PASS, VERDICT_ORPHAN_FRAGMENT or VERDICT_OVERLAP
 */
enum verdict fragments_follow(const struct fragments *fragments, struct pkt *pkt, uint64_t flow, uint64_t now)
{
	const struct key key = key_of(pkt);
	const struct fragment *first = fragments->entry[set_of(fragments, &key)];
	const struct fragment *end = first + FRAGMENT_WAYS;

	while (first < end && !is_of(first, &key))
		first++;
	if (first == end || now - first->time_ns > STEER_FRAGMENT_NS)
		return VERDICT_ORPHAN_FRAGMENT;
	if (flow != FRAGMENT_ANYBODY && first->flow != flow)
		return VERDICT_ORPHAN_FRAGMENT;
	if (pkt->from < first->to)
		return VERDICT_OVERLAP;
	pkt->protocol = first->protocol;
	pkt->sport = first->sport;
	pkt->dport = first->dport;
	pkt->flags |= first->flags;
	return VERDICT_PASS;
}
