/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napt.h: a second opinion on which port is whose
 *
 * Shares nothing with shim/napt.c but what goes in: addresses and the checked
 * view of a packet. See napt.c.
 */
#ifndef REFERENCE_NAPT_H
#define REFERENCE_NAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"

#define REFERENCE_PORTS 64 /* of all classes together, at the most */

enum reference_phase {
	PHASE_FREE,
	PHASE_NEW,	   /* nobody has answered */
	PHASE_ANSWERED,	   /* UDP */
	PHASE_ECHOED,	   /* ICMP */
	PHASE_ESTABLISHED, /* TCP */
	PHASE_CLOSING,	   /* TCP */
	PHASES
};

/* A pool port of one class, and what it stands for */
struct reference_port {
	unsigned class;
	uint16_t number; /* as others see it */
	enum reference_phase phase;
	uint64_t turn;   /* when it came into its phase, or was used: counted, no two are the same */
	uint64_t used;   /* ns */
	struct addr inner, outer;
	uint16_t inner_number;
	bool host;	 /* the host alone is spoken to */
	bool answered, fin_out, fin_in; /* seen of a TCP connection */
};

struct reference_napt {
	struct addr alias[2]; /* of the host, IPv4 and IPv6; "::" for none */
	unsigned ports;
	struct reference_port port[REFERENCE_PORTS];
	uint64_t turn;
	uint64_t created, expired, displaced, exhausted;
};

void reference_napt_add(struct reference_napt *napt, unsigned class, uint16_t number);
const struct reference_port *reference_napt_out(struct reference_napt *napt, const struct pkt *pkt,
						const struct addr *outer, uint64_t now, enum verdict *verdict);
const struct reference_port *reference_napt_in(struct reference_napt *napt, const struct pkt *pkt, uint64_t now);
const struct reference_port *reference_napt_at(const struct reference_napt *napt, unsigned class, uint16_t number);
bool reference_napt_over(const struct reference_port *port, uint64_t now);
void reference_napt_end(struct reference_napt *napt, unsigned class, uint16_t number);

#endif
