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

#define OUTGOING_FDS_MAX 1

/* One message, a member of the object that it is about; at most once in the queue */
struct outgoing {
	TAILQ_ENTRY(outgoing) link;
	bool queued;
	void (*sent)(
		struct outgoing *outgoing); /* it is on its way, the object may go; NULL: nobody waits for that */
	void (*failed)(struct outgoing *outgoing); /* with fds: the kernel passes no more of them now; not sent */
	unsigned fds;
	int fd[OUTGOING_FDS_MAX]; /* go along; they stay their owner's, who keeps them open until then */
	union {
		struct priv_header header;
		struct priv_plain plain;
		struct priv_reserve reserve;
		struct priv_release release;
		struct priv_route route;
		struct priv_covered covered;
		struct priv_link link;
		struct priv_link_end unlink;
	} message;
};

void outbox_init(struct watch *channel);
void outbox_send(struct outgoing *outgoing);
void outbox_cancel(struct outgoing *outgoing);
void outbox_flush(void);

#endif
