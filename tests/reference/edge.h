/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edge.h: a second opinion on what steering does at the edge of a network namespace
 *
 * As verdict.h, for all slices of a namespace at once. See edge.c.
 */
#ifndef REFERENCE_EDGE_H
#define REFERENCE_EDGE_H

#include "verdict.h"

#define REFERENCE_SLICES 4
#define REFERENCE_RANGES 80

/* Ports on every own address of the namespace, or on every proxied one */
struct reference_range {
	bool proxied;
	enum reference_class class;
	uint16_t first, last; /* both included */
	unsigned protocol;    /* with REFERENCE_GRANT, which has no ports */
	uint32_t key;	      /* of GRE */
	unsigned slice;	      /* whose they are */
	bool held;	      /* the reservation is held */
	bool open;	      /* a flow is open on each */
};

struct reference_netns {
	unsigned addresses, proxied, ranges;
	bool link; /* what is sent comes out of a link, which has nothing of proxied addresses */
	struct reference_address address[REFERENCE_MANY];
	struct reference_prefix prefix[REFERENCE_MANY]; /* proxied: routed to the host; an own address in one is not of it */
	struct reference_range range[REFERENCE_RANGES];
	bool local[REFERENCE_SLICES];		       /* the slice may reach the host's own sockets */
	struct reference_slice slice[REFERENCE_SLICES]; /* for its deny-list, the namespace's included */
};

/* What may happen to a packet: not, must, or either, where the documents leave it to the second look that follows */
enum reference_passage { REFERENCE_STOPS, REFERENCE_PASSES, REFERENCE_EITHER };

enum reference_passage reference_out(const struct reference_netns *netns, const uint8_t *packet, size_t size,
				     reference_set *reasons);
enum reference_passage reference_in(const struct reference_netns *netns, const uint8_t *packet, size_t size);
bool reference_to_self(const struct reference_netns *netns, const uint8_t *packet, size_t size);

#endif
