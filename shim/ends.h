/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ends.h: the end of a packet that is on this host, and the other one
 */
#ifndef SAFERAW_ENDS_H
#define SAFERAW_ENDS_H

#include "slots.h"
#include "world.h"

struct ends {
	const struct addr *local, *remote;
	uint16_t lport, rport; /* ports or ids, host byte order */
	int class;             /* enum steer_class, -1: none */
	uint8_t protocol;
};

/**
 * ends_class() - the class of a packet, and the slot that stands for ports where there are none
 * @ends: ends with protocol and ports
 * @netns: that the packet is in
 * @pkt: packet
 *
 * Return: the ends
 */
static inline struct ends ends_class(struct ends ends, const struct netns *netns, const struct pkt *pkt)
{
	ends.class = policy_class(ends.protocol);
	if (ends.class >= 0)
		return ends;
	ends.lport = slots_of(&netns->slots, ends.protocol, pkt);
	ends.class = ends.lport ? CLASS_GRANT : -1;
	return ends;
}

/**
 * ends_received() - the ends of a packet that has arrived
 * @netns: where
 * @pkt: packet; an ICMP error is about a packet that went the other way
 */
static inline struct ends ends_received(const struct netns *netns, const struct pkt *pkt)
{
	struct ends ends = {&pkt->dst, &pkt->src, pkt->dport, pkt->sport, -1, pkt->protocol};

	if (pkt->flags & PKT_ICMP_ERROR)
		ends = (struct ends){&pkt->inner_src,  &pkt->inner_dst, pkt->inner_sport,
				     pkt->inner_dport, -1,              pkt->inner_protocol};
	return ends_class(ends, netns, pkt);
}

/**
 * ends_sent() - the ends of a packet that is sent
 * @netns: where
 * @pkt: packet
 * @source: what a source of zeros is replaced by
 */
static inline struct ends ends_sent(const struct netns *netns, const struct pkt *pkt, const struct addr *source)
{
	const struct addr *local = addr_is_any(&pkt->src) ? source : &pkt->src;
	const struct ends ends = {local, &pkt->dst, pkt->sport, pkt->dport, -1, pkt->protocol};

	return ends_class(ends, netns, pkt);
}

#endif
