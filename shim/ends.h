/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ends.h: the end of a packet that is on this host, and the other one
 */
#ifndef SAFERAW_ENDS_H
#define SAFERAW_ENDS_H

#include "pkt.h"

struct ends {
	const struct addr *local, *remote;
	uint16_t lport, rport; /* ports or ids, host byte order */
	int class;             /* enum steer_class, -1: none */
};

/**
 * ends_received() - the ends of a packet that has arrived
 * @pkt: packet; an ICMP error is about a packet that went the other way
 */
static inline struct ends ends_received(const struct pkt *pkt)
{
	if (pkt->flags & PKT_ICMP_ERROR)
		return (struct ends){&pkt->inner_src, &pkt->inner_dst, pkt->inner_sport, pkt->inner_dport,
				     policy_class(pkt->inner_protocol)};
	return (struct ends){&pkt->dst, &pkt->src, pkt->dport, pkt->sport, policy_class(pkt->protocol)};
}

/**
 * ends_sent() - the ends of a packet that is sent
 * @pkt: packet
 * @source: what a source of zeros is replaced by
 */
static inline struct ends ends_sent(const struct pkt *pkt, const struct addr *source)
{
	return (struct ends){addr_is_any(&pkt->src) ? source : &pkt->src, &pkt->dst, pkt->sport, pkt->dport,
			     policy_class(pkt->protocol)};
}

#endif
