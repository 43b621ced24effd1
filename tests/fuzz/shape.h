/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shape.h: packets that are nearly right
 */
#ifndef SAFERAW_FUZZ_SHAPE_H
#define SAFERAW_FUZZ_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHAPE_ROOM 4096 /* bytes: what is built is never larger */

struct shape {
	size_t size;
	uint8_t byte[SHAPE_ROOM];
};

/* A fast source of pseudo-random numbers; any start is good */
struct dice {
	uint64_t state;
};

/* Who speaks to whom in a packet, and in which direction */
struct shape_plan {
	unsigned version;		/* 4 or 6 */
	unsigned protocol;		/* upper layer */
	uint8_t own[16], other[16];	/* addresses; IPv4 uses the first four bytes */
	uint16_t own_port, other_port;	/* an ICMP identifier is the own one */
	bool arrives;			/* from the other to us */
};

uint64_t dice_roll(struct dice *dice);
unsigned dice_below(struct dice *dice, unsigned limit);
bool dice_one_in(struct dice *dice, unsigned n);

void shape_build(struct shape *shape, struct dice *dice, const struct shape_plan *plan);
void shape_break(struct shape *shape, struct dice *dice);
void shape_repair(struct shape *shape, bool length, bool sum);

#endif
