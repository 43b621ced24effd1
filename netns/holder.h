/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holder.h: one socket that holds a port
 */
#ifndef SAFERAW_HOLDER_H
#define SAFERAW_HOLDER_H

#include "addr.h"
#include "steer.h"

#define HOLDER_V4 0x01
#define HOLDER_V6 0x02
#define HOLDER_BOTH 0x03

struct holder {
	uint8_t class;    /* enum steer_class */
	uint8_t families; /* HOLDER_: every address of these; 0: addr alone */
	uint16_t port;    /* or ICMP identifier, host byte order */
	struct addr addr;
	int fd; /* -1: not open, or nothing there to be held */
};

/* Whether one holder keeps a port on all addresses */
bool holder_for_all(unsigned class);
/* Set holder->fd. Runs inside the namespace. 0, or -1 and errno. */
int holder_open(struct holder *holder);

#endif
