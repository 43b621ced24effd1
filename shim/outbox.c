/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * outbox.c: the relay's messages to the monitor, in order
 *
 * The relay never waits for the monitor. What the channel does not take now
 * stays in a queue, whose links are inside the objects that the messages are
 * about (reservations, parked packets, clients): so it needs no memory of its
 * own and is as bounded as they are. Order matters: a release goes out before
 * a later reservation of the same port.
 */
#include "outbox.h"

#include <errno.h>

#include "log.h"
#include "msg.h"

static struct {
	struct watch *channel;
	TAILQ_HEAD(, outgoing) queue;
} outbox;

/**
 * outbox_init() - say where messages go
 * @channel: watch of the monitor's channel, watched for input
 */
void outbox_init(struct watch *channel)
{
	outbox.channel = channel;
	TAILQ_INIT(&outbox.queue);
}

/**
 * take_out() - a message is no longer in the queue
 * @outgoing: message
 */
static void take_out(struct outgoing *outgoing)
{
	TAILQ_REMOVE(&outbox.queue, outgoing, link);
	outgoing->queued = false;
}

/**
 * outbox_flush() - send what the channel takes
 *
 * Ends the process when the channel is broken: nothing works without the monitor.
 */
void outbox_flush(void)
{
	struct outgoing *outgoing;

	while ((outgoing = TAILQ_FIRST(&outbox.queue))) {
		const struct priv_header *header = &outgoing->message.header;
		int result =
			msg_send(outbox.channel->fd, header, header->size, outgoing->fd, outgoing->fds, MSG_DONTWAIT);

		if (result < 0 && errno == EAGAIN) {
			loop_watch(outbox.channel, EPOLLIN | EPOLLOUT);
			return;
		}
		if (result < 0 && (errno != ETOOMANYREFS || !outgoing->fds))
			log_fatal("the monitor's channel is broken: %m");
		take_out(outgoing);
		if (result < 0)
			outgoing->failed(outgoing);
		else if (outgoing->sent)
			outgoing->sent(outgoing);
	}
	loop_watch(outbox.channel, EPOLLIN);
}

/**
 * outbox_send() - send a message, after those that wait
 * @outgoing: message.header.size is set; it stays its owner's
 */
void outbox_send(struct outgoing *outgoing)
{
	bool idle = TAILQ_EMPTY(&outbox.queue);

	TAILQ_INSERT_TAIL(&outbox.queue, outgoing, link);
	outgoing->queued = true;
	if (idle)
		outbox_flush();
}

/**
 * outbox_cancel() - take a message back, if it still waits
 * @outgoing: message
 */
void outbox_cancel(struct outgoing *outgoing)
{
	if (outgoing->queued)
		take_out(outgoing);
}
