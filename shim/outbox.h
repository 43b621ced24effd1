/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outbox.h: the relay's messages to the monitor, in order
 */
#ifndef SAFERAW_OUTBOX_H
#define SAFERAW_OUTBOX_H

#include <stdbool.h>
#include <sys/queue.h>

#include "loop.h"
#include "priv.h"

/* One message, a member of the object that it is about; at most once in the queue */
struct outgoing {
	TAILQ_ENTRY(outgoing) link;
	bool queued;
	void (*sent)(
		struct outgoing *outgoing); /* it is on its way, the object may go; NULL: nobody waits for that */
	union {
		struct priv_header header;
		struct priv_plain plain;
		struct priv_reserve reserve;
		struct priv_release release;
		struct priv_route route;
		struct priv_covered covered;
	} message;
};

void outbox_init(struct watch *channel);
void outbox_send(struct outgoing *outgoing);
void outbox_cancel(struct outgoing *outgoing);
void outbox_flush(void);

#endif
