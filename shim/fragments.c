/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fragments.c: which flow the first fragment of a datagram went to
 *
 * Later fragments have no ports; they follow the first one, if that came a
 * short time ago. The flow is remembered by its number, so an entry may
 * outlive it.
 */
#include "fragments.h"

#include <netinet/in.h>

#include "steer.h"

/**
 * key_protocol() - the protocol as part of what all fragments of a datagram have in common
 * @pkt: a fragment
 *
 * Behind an IPv6 fragment header more extension headers may follow, which only
 * the first fragment shows; its identification is for all protocols together.
 */
static uint8_t key_protocol(const struct pkt *pkt)
{
	return pkt->version == 4 ? pkt->protocol : IPPROTO_FRAGMENT;
}

/**
 * slot() - where a datagram's entry is
 * @pkt: a fragment
 *
 * The identification is the sender's choice; who makes entries collide loses
 * fragments that he could as well not have sent.
 */
static unsigned slot(const struct pkt *pkt)
{
	return (unsigned)(pkt->id ^ pkt->src.b[15] ^ key_protocol(pkt)) & (FRAGMENTS - 1);
}

/**
 * fragments_remember() - a first fragment goes to a flow
 * @fragments: table
 * @pkt: it
 * @slice: number
 * @flow: number
 * @now: CLOCK_MONOTONIC, ns
 */
void fragments_remember(struct fragments *fragments, const struct pkt *pkt, unsigned slice, uint64_t flow,
			uint64_t now)
{
	fragments->entry[slot(pkt)] = (struct fragment){.src = pkt->src,
							.dst = pkt->dst,
							.time_ns = now,
							.flow = flow,
							.slice = (uint16_t)slice,
							.id = pkt->id,
							.protocol = key_protocol(pkt)};
}

/**
 * fragments_find() - the first fragment that a later one follows
 * @fragments: table
 * @pkt: the later one
 * @now: CLOCK_MONOTONIC, ns
 *
 * Return: the entry, or NULL.
 */
const struct fragment *fragments_find(const struct fragments *fragments, const struct pkt *pkt, uint64_t now)
{
	const struct fragment *fragment = &fragments->entry[slot(pkt)];

	if (!fragment->time_ns || now - fragment->time_ns > STEER_FRAGMENT_NS)
		return NULL;
	if (fragment->id != pkt->id || fragment->protocol != key_protocol(pkt))
		return NULL;
	return addr_eq(&fragment->src, &pkt->src) && addr_eq(&fragment->dst, &pkt->dst) ? fragment : NULL;
}
