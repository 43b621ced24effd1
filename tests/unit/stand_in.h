/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stand_in.h: a broker for tests of the library, in a thread
 *
 * It answers by the protocol what `stand_in` says, and misbehaves once when it
 * is told to. The test changes the settings between its calls of the library,
 * when no request is under way.
 */
#ifndef SAFERAW_STAND_IN_H
#define SAFERAW_STAND_IN_H

#include <stdatomic.h>

#include "proto.h"

/* What to do, once, at the next request of the type in stand_in.at */
enum stand_in_fault {
	FAULT_NONE,
	FAULT_CLOSE,      /* end the conversation */
	FAULT_SILENT,     /* no answer, until stand_in_late() */
	FAULT_SHORT,      /* less than a header */
	FAULT_SIZE,       /* a message of another size than its header says */
	FAULT_TRUNCATED,  /* a message of another size than the type has */
	FAULT_HEADER,     /* of the right size, but the header says another */
	FAULT_TYPE,       /* a reply of another type */
	FAULT_FUTURE_ID,  /* an id that has not been given out */
	FAULT_NO_FD,      /* no file descriptor where one belongs */
	FAULT_EXTRA_FD,   /* one more than belongs */
	FAULT_ERROR_SIGN, /* a negative error */
	FAULT_LONG,       /* more than any message has */
	FAULT_EVENT_ID,   /* an event with an id */
	FAULT_EVENT_SIZE, /* an event of another size */
	FAULTS
};

struct stand_in {
	/* settings */
	enum proto_type at;
	_Atomic enum stand_in_fault fault;
	int hello_error, open_error, route_error, stats_error;
	uint32_t version;
	char slice[PROTO_NAME_MAX];
	struct proto_info_reply info;
	unsigned events;      /* to send before each reply */
	uint32_t event;       /* PROTO_EVENT_ of those */
	uint16_t port, count; /* to grant when the request's is 0 / to grant instead, unless 0 */
	uint32_t mtu;
	struct addr source;
	struct proto_stats_reply stats;

	/* what has been seen */
	atomic_uint seen[PROTO_TYPES];
	struct proto_open open;
	int flow; /* the broker's end of the flow opened last */
	int control;
};

extern struct stand_in stand_in;

void stand_in_start(const char *dir, const char *slice);
void stand_in_stop(void);
void stand_in_event(uint32_t event, uint64_t flow, const struct addr *addr);
void stand_in_held(void);
void stand_in_late(void);
void stand_in_hang_up(void);

#endif
