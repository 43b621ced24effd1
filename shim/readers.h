/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * readers.h: read-only flows, which get copies of packets
 */
#ifndef SAFERAW_READERS_H
#define SAFERAW_READERS_H

#include "pkt.h"
#include "world.h"

struct flow;

/* One place of a read-only flow in the lists that packets are looked up in */
struct reader {
	struct reader *next, *previous; /* of the same list; previous NULL: the first */
	struct flow *flow;
	unsigned places; /* of the list, in the first */
};

/**
 * readers_wanted() - whether any read-only flow may want packets of a port
 * @slice: the port's
 * @port: its entry
 */
static inline bool readers_wanted(const struct slice *slice, const struct port *port)
{
	return port->levels & PORT_READERS || slice->wide;
}

int readers_add(struct flow *flow);
void readers_remove(struct flow *flow);
void readers_mark(const struct slice *slice, unsigned address, const struct policy_range *span);
enum verdict readers_received(struct slice *slice, const struct port *port, const struct pkt *pkt);
void readers_sent(const struct flow *flow, const struct pkt *pkt, const struct addr *source);

#endif
