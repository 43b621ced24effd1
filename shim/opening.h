/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opening.h: one request for a flow, from the first check to the grant
 */
#ifndef SAFERAW_OPENING_H
#define SAFERAW_OPENING_H

#include "flow.h"

struct opening {
	struct hold_waiter waiter;
	void (*done)(struct opening *opening, int error); /* set by the owner; called once for each opening_begin() */
	struct flow *flow;                                /* while it goes on; the new flow when done without error */
	int client_fd;          /* when done without error: the client's end, the owner's to close */
	const char *text;       /* when done with an error: what was wrong */
	bool any_port;          /* port 0: choose one */
	uint32_t start, passed; /* of the choice: where to start, how many candidates came after that */
	unsigned tries;         /* ports that the monitor has refused */
};

void opening_begin(struct opening *opening, struct slice *slice, const struct opener *opener,
		   const struct proto_open *ask);
void opening_cancel(struct opening *opening);

#endif
