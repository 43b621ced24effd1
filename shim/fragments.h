/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fragments.h: which flow the first fragment of a datagram went to
 */
#ifndef SAFERAW_FRAGMENTS_H
#define SAFERAW_FRAGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"

#define FRAGMENTS 256 /* datagrams remembered; a power of two */

struct fragment {
	struct addr src, dst;
	uint64_t time_ns; /* CLOCK_MONOTONIC; 0: never used */
	uint64_t flow;    /* number */
	uint32_t id;
	uint16_t slice; /* number */
	uint8_t protocol;
};

struct fragments {
	struct fragment entry[FRAGMENTS];
};

void fragments_remember(struct fragments *fragments, const struct pkt *pkt, unsigned slice, uint64_t flow,
			uint64_t now);
const struct fragment *fragments_find(const struct fragments *fragments, const struct pkt *pkt, uint64_t now);

#endif
