/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ports.h: who has which local port of one netns, as the relay knows it
 */
#ifndef SAFERAW_PORTS_H
#define SAFERAW_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy.h"
#include "steer.h"

/*
 * How specific a flow is, as a bit number: the lower, the more specific. From
 * the top: a connected flow before one with a remote host alone before one
 * for everybody; one port before a range; one address before any, or before
 * all of a prefix.
 */
#define LEVEL_HOST 4 /* remote host, any port of it */
#define LEVEL_EVERYBODY 8
#define LEVEL_RANGE 2
#define LEVEL_ANY_ADDRESS 1
#define LEVELS 12
#define PORT_LEVELS ((1U << LEVELS) - 1)
#define PORT_READERS (1U << LEVELS) /* read-only flows may be there (readers.h) */

/* One port of one row and class */
struct port {
	uint32_t uid;
	uint32_t holds;  /* reservations that cover it; 0: nobody's, and all else is zero */
	uint32_t opened; /* those of them that have steering on */
	uint32_t flows;  /* on them all */
	uint16_t slice;
	uint16_t levels; /* bits of the levels that may have a flow on it, and PORT_READERS */
	uint16_t link;	 /* number of the link that has it alone; 0: none, PORT_LINK_LATER: one without a number yet */
};

#define PORT_LINK_LATER UINT16_MAX

struct ports {
	struct port *block[STEER_BLOCKS]; /* NULL until the first claim in it */
};

/**
 * ports_find() - the entry of one port
 * @ports: table
 * @address: row, < STEER_ROWS_MAX
 * @class: enum steer_class
 * @port: host byte order
 *
 * Return: the entry, or NULL when nobody has the port.
 */
static inline const struct port *ports_find(const struct ports *ports, unsigned address, unsigned class,
					    uint16_t port)
{
	const struct port *block = ports->block[STEER_BLOCK(address, class)];

	return block && block[port].holds ? &block[port] : NULL;
}

void ports_free(struct ports *ports);
bool ports_may_claim(const struct ports *ports, uint64_t addresses, const struct policy_range *span, uint16_t slice,
		     uint32_t uid);
bool ports_of_others(const struct ports *ports, uint64_t addresses, const struct policy_range *span, uint32_t uid);
int ports_first_taken(const struct ports *ports, uint64_t addresses, const struct policy_range *span);
int ports_claim(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t slice, uint32_t uid);
void ports_unclaim(struct ports *ports, unsigned address, const struct policy_range *span);
void ports_add_levels(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t levels);
void ports_mark_readers(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t slice);
void ports_set_link(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t link);
void ports_divert(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address, unsigned class,
		  uint16_t port, bool on);
void ports_add_flows(struct ports *ports, unsigned address, const struct policy_range *span, uint32_t flows);
void ports_open(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address, const struct policy_range *span);
void ports_shut(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address, const struct policy_range *span);

#endif
