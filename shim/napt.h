/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napt.h: translation of a client's ports into a pool of ports (NAPT)
 *
 * Pure: no I/O, no clock, no allocation after napt_new(). Out: aggregate (which
 * mapping is a packet's?), then rewrite. In: match, then rewrite. A mapping ends
 * by napt_release(); which ones are over, napt_expired() says. A later fragment
 * must have its first one's protocol and ports in its checked view
 * (fragments.h), as they were before the first one was rewritten.
 */
#ifndef SAFERAW_NAPT_H
#define SAFERAW_NAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"
#include "steer.h"

#define NAPT_CLASSES STEER_LINK_CLASSES
#define NAPT_NONE UINT16_MAX /* in place of a mapping's index */

enum napt_state {
	NAPT_FREE,
	NAPT_NEW,	  /* nothing has come back yet */
	NAPT_ANSWERED,	  /* UDP */
	NAPT_ECHOED,	  /* ICMP */
	NAPT_ESTABLISHED, /* TCP */
	NAPT_CLOSING,	  /* TCP: FIN both ways, or RST */
	NAPT_STATES
};

/* One pool port of one class, and what is translated to it */
struct mapping {
	struct addr inner, outer; /* the client's address, and the one that others see */
	struct addr remote;	  /* of the last packet sent, as others see it */
	uint64_t made_ns, used_ns;
	uint16_t inner_port, outer_port, remote_port; /* host byte order */
	uint16_t chain;		  /* next one with the same hash */
	uint16_t older, younger;  /* neighbours in the list of its class and state */
	uint8_t class, state;	  /* enum steer_class, enum napt_state */
	uint8_t seen;		  /* of a TCP connection, see napt.c */
	bool host;		  /* its remote is the host itself, behind the alias */
};

struct napt_list {
	uint16_t oldest, youngest;
};

struct napt_pool {
	uint16_t lo, hi; /* ports, both included; hi 0: none */
};

struct napt_conf {
	struct napt_pool pool[NAPT_CLASSES];
	struct addr alias[2]; /* of the host itself, IPv4 and IPv6; "::": none */
	uint64_t secret[2];   /* random */
};

struct napt_counters {
	uint64_t created, expired, displaced;
	uint64_t exhausted; /* packets that got no mapping */
};

struct napt {
	struct napt_conf conf;
	struct napt_counters counters;
	uint16_t first[NAPT_CLASSES]; /* index of the pool's first port */
	uint16_t mappings, used;      /* there are, in use */
	uint16_t mask;		      /* buckets less one */
	struct napt_list list[NAPT_CLASSES][NAPT_STATES];
	uint16_t *bucket; /* [mask + 1], index of the first mapping with the hash */
	struct mapping mapping[];
};

size_t napt_size(const struct napt_conf *conf);
struct napt *napt_new(const struct napt_conf *conf);
void napt_free(struct napt *napt);
struct mapping *napt_aggregate(struct napt *napt, const struct pkt *pkt, const struct addr *outer, uint64_t now,
			       enum verdict *verdict);
struct mapping *napt_match(struct napt *napt, const struct pkt *pkt, uint64_t now);
const struct addr *napt_alias(const struct napt *napt, const struct addr *like);
void napt_rewrite_out(const struct napt *napt, const struct mapping *mapping, struct pkt *pkt, uint8_t *data);
void napt_rewrite_in(const struct napt *napt, const struct mapping *mapping, struct pkt *pkt, uint8_t *data);
struct mapping *napt_expired(struct napt *napt, uint64_t now);
void napt_release(struct napt *napt, struct mapping *mapping);
const struct mapping *napt_next(const struct napt *napt, unsigned class, unsigned after);

#endif
