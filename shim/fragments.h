/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fragments.h: the first fragments that passed, for those that follow them
 */
#ifndef SAFERAW_FRAGMENTS_H
#define SAFERAW_FRAGMENTS_H

#include <stdint.h>

#include "pkt.h"

#define FRAGMENT_SETS 32 /* a power of two */
#define FRAGMENT_WAYS 8	 /* datagrams remembered in each */
#define FRAGMENT_ANYBODY 0 /* in the place of a flow's number: whosoever the first one was */

/* A first fragment that has passed */
struct fragment {
	struct addr src, dst;
	uint64_t time_ns; /* CLOCK_MONOTONIC; 0: never used */
	uint64_t flow;	  /* number of the flow that has sent or got it */
	uint32_t id;
	uint32_t to; /* where it ends, bytes of the datagram */
	uint16_t sport, dport;
	uint8_t kind;	  /* protocol as far as all fragments show it */
	uint8_t protocol; /* upper-layer protocol */
	uint8_t flags;	  /* PKT_ICMP_REPLY, PKT_ICMP_REQUEST */
};

struct fragments {
	uint64_t secret[2];
	struct fragment entry[FRAGMENT_SETS][FRAGMENT_WAYS];
};

void fragments_init(struct fragments *fragments);
void fragments_remember(struct fragments *fragments, const struct pkt *pkt, uint64_t flow, uint64_t now);
enum verdict fragments_follow(const struct fragments *fragments, struct pkt *pkt, uint64_t flow, uint64_t now);

#endif
