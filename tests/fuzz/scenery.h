/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scenery.h: the world of probe/world.c as the reference and the relay know it, and packets between its ends
 */
#ifndef SAFERAW_FUZZ_SCENERY_H
#define SAFERAW_FUZZ_SCENERY_H

#include "../probe/world.h"
#include "../reference/edge.h"
#include "policy.h"
#include "shape.h"

#define SCENERY_MTU 1500
#define SCENERY_SLICES 4    /* 0 for nobody, and the world's three */
#define SCENERY_OWN 2	    /* own addresses of a family; they come first */
#define SCENERY_PROXIED 16  /* where those in proxied prefixes begin; the last is one beside them */
#define SCENERY_ADDRESSES 20 /* of a family; the one after the own ones is the peer's */

extern struct scenery {
	struct world *world;
	struct dice dice;
	uint64_t done; /* executions */
	struct policy_slice policy[SCENERY_SLICES];
	struct reference_netns netns;
	uint8_t address4[SCENERY_ADDRESSES][16], address6[SCENERY_ADDRESSES][16];
} scenery;

void scenery_make(void);
int scenery_program(const char *name);
void scenery_build(struct shape *shape, bool arrives, const uint16_t *own_ports, unsigned own);
size_t scenery_frame(uint8_t *frame, const struct shape *shape);
uint32_t scenery_run(int program, unsigned ifindex, const uint8_t *frame, size_t size);
bool scenery_fits(unsigned reason, reference_set reasons);
bool scenery_onlink(const struct shape *shape);
const char *scenery_reason(unsigned reason);
_Noreturn void scenery_disagree(const char *what, const char *seen, const uint8_t *packet, size_t size);

#endif
