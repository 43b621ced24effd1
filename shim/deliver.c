/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deliver.c: one packet into one flow's socket
 *
 * Never waits: what the socket has no room for is the reader's loss, and is
 * counted for its flow. What the slice's totals make of it is the caller's
 * business, since one packet may go into many flows.
 */
#include "deliver.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "util.h"

/**
 * put() - write one message into a flow's socket
 * @flow: open flow
 * @meta: goes in front on a flow with META
 * @data: packet
 * @len: bytes of it
 *
 * Return: as send(2)
 */
static ssize_t put(const struct flow *flow, struct saferaw_meta *meta, const void *data, uint32_t len)
{
	struct iovec iov[] = {{.iov_base = meta, .iov_len = sizeof(*meta)}, {.iov_len = len}};
	const struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

	if (!(flow->flags & PROTO_FLAG_META))
		return send(flow->socket.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!meta->time_ns)
		meta->time_ns = clock_wall_ns();
	meta->size = sizeof(*meta);
	meta->length = len;
	memcpy(&iov[1].iov_base, &data, sizeof(data)); /* sendmsg() only reads, its type cannot say so */
	return sendmsg(flow->socket.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/**
 * deliver() - give a packet to a flow's reader, and count that for the flow
 * @flow: open flow
 * @meta: flags are set; the time, where it is 0, is set by the first flow that wants it
 * @data: packet
 * @len: its bytes, without padding
 *
 * A reader that has closed its end is dealt with where the flow is read: what
 * it sent before is still to be taken.
 *
 * Return: VERDICT_PASS, VERDICT_QUEUE_FULL, VERDICT_NO_FLOW when the reader has gone, or
 * VERDICT_TOO_BIG for its socket
 */
enum verdict deliver(struct flow *flow, struct saferaw_meta *meta, const void *data, uint32_t len)
{
	enum verdict verdict = VERDICT_QUEUE_FULL;

	if (put(flow, meta, data, len) >= 0) {
		flow->counters.rx_packets++;
		flow->counters.rx_bytes += len;
		return VERDICT_PASS;
	}
	if (errno == EPIPE || errno == ECONNRESET)
		verdict = VERDICT_NO_FLOW;
	else if (errno == EMSGSIZE)
		verdict = VERDICT_TOO_BIG;
	flow->counters.rx_refused[verdict]++;
	return verdict;
}
