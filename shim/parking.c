/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * parking.c: packets that wait for the monitor to name their route
 *
 * A few places, shared by all, and fewer for each slice, so that one that
 * sends to ever new destinations leaves places to the others. A flow whose
 * packet is parked is not read until the answer has come, so it has at most
 * one here.
 */
#include "parking.h"

#include <string.h>

#define PLACES 64
#define PLACES_OF_SLICE 16

static struct parked place[PLACES];

/**
 * parking_take() - park a packet, and ask for its route
 * @slice: of the flow
 * @flow: the packet's; it has none parked
 * @pkt: packet; it is copied
 *
 * Return: the place, or NULL when all that the slice may have are taken.
 */
struct parked *parking_take(struct slice *slice, struct flow *flow, const struct pkt *pkt)
{
	struct parked *parked = place;

	while (parked < place + PLACES && parked->flow)
		parked++;
	if (parked == place + PLACES || slice->parked == PLACES_OF_SLICE)
		return NULL;
	slice->parked++;
	parked->flow = flow;
	parked->slice = slice;
	parked->destination = pkt->dst;
	parked->len = pkt->len;
	memcpy(parked->data, pkt->data, pkt->len);
	parked->outgoing.message.route = (struct priv_route){.header = {PRIV_ROUTE, sizeof(struct priv_route)},
							     .netns = slice->netns->record.netns,
							     .destination = pkt->dst};
	outbox_send(&parked->outgoing);
	return parked;
}

/**
 * parking_find() - a packet that waits for a route
 * @netns: where
 * @destination: whereto
 *
 * Return: the place, or NULL.
 */
struct parked *parking_find(const struct netns *netns, const struct addr *destination)
{
	struct parked *parked;

	for (parked = place; parked < place + PLACES; parked++)
		if (parked->flow && parked->slice->netns == netns && addr_eq(&parked->destination, destination))
			return parked;
	return NULL;
}

/**
 * parking_leave() - free a place; what is in it stays until the next parking_take()
 * @parked: place
 */
void parking_leave(struct parked *parked)
{
	outbox_cancel(&parked->outgoing);
	parked->slice->parked--;
	parked->flow = NULL;
}
