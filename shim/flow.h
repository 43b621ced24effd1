/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow.h: one flow: its socket, its place in the tables, its counters
 */
#ifndef SAFERAW_FLOW_H
#define SAFERAW_FLOW_H

#include "hold.h"
#include "pkt.h"
#include "proto.h"
#include "world.h"

struct parked;

/* Who opened a flow, as the kernel says, and which lines of the slice's lists let him open, and sniff the whole slice */
struct opener {
	uint32_t uid;
	struct member by, sniffs;
};

enum flow_state {
	FLOW_NEW,     /* charged to its slice, in no table */
	FLOW_PENDING, /* in the flow table; the reservation is being made */
	FLOW_OPEN,    /* has its socket and number */
};

struct flow {
	struct watch socket; /* the relay's end */
	struct slice *slice;
	struct hold *hold;     /* NULL for a sniffer */
	struct reader *reader; /* its places in lists, one for each port; NULL for a consumer */
	struct exact *exact;   /* stands for policy.local, where that is one address of a prefix; else NULL */
	struct parked *parked; /* a packet waits for its route; the socket is not read */
	uint64_t number;       /* 0 until open */
	uint64_t memory;       /* charged to the slice */
	struct opener opener;
	struct policy_flow policy;
	uint8_t kind, flags; /* PROTO_KIND_, PROTO_FLAG_ */
	uint8_t state;       /* enum flow_state */
	uint8_t address;     /* row of policy.local, or PRIV_ANY_ADDRESS */
	bool sees_all;       /* a sniffer under the slice's grant: of other uids' flows, too */
	struct counters counters;
};

struct flow *flow_new(struct slice *slice, const struct opener *opener, const struct policy_flow *policy,
		      unsigned kind);
int flow_reserve(struct flow *flow, uint16_t port);
void flow_unreserve(struct flow *flow);
int flow_open(struct flow *flow, watch_fn *socket_ready, int *client_fd);
void flow_close(struct flow *flow);
bool flow_fits(const struct flow *flow);
bool flow_is_dormant(const struct flow *flow);
void flow_read_on(struct flow *flow);
struct flow *flow_find(const struct netns *netns, const struct pkt *pkt, const struct port **port);

#endif
