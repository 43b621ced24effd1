/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * roster.h: the flows of one slice, in the order of their numbers
 */
#ifndef SAFERAW_ROSTER_H
#define SAFERAW_ROSTER_H

#include <stddef.h>
#include <stdint.h>

struct flow;

struct roster_row {
	uint64_t number;
	struct flow *flow; /* NULL: closed */
};

struct roster {
	struct roster_row *row;
	size_t used, room, live; /* rows with a number, rows there are, rows with a flow */
};

int roster_append(struct roster *roster, uint64_t number, struct flow *flow);
struct flow *roster_find(const struct roster *roster, uint64_t number);
struct flow *roster_next(const struct roster *roster, uint64_t after, uint64_t *number);
void roster_remove(struct roster *roster, uint64_t number);
void roster_free(struct roster *roster);

#endif
