/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * parking.h: packets that wait for the monitor to name their route
 */
#ifndef SAFERAW_PARKING_H
#define SAFERAW_PARKING_H

#include "outbox.h"
#include "pkt.h"
#include "world.h"

struct flow;

struct parked {
	struct outgoing outgoing; /* the question */
	struct flow *flow;        /* NULL: the place is free */
	struct slice *slice;
	struct addr destination;
	size_t len;
	uint8_t data[PKT_MAX];
};

struct parked *parking_take(struct slice *slice, struct flow *flow, const struct pkt *pkt);
struct parked *parking_find(const struct netns *netns, const struct addr *destination);
void parking_leave(struct parked *parked);

#endif
