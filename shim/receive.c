/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * receive.c: packets from the TUN to flows
 *
 * One read, one parse, one look-up, one send for each packet, at any number of
 * flows. A flow whose reader is slow loses its own packets, counted; nobody
 * waits for it. A packet is passed on as it came, without what Ethernet put
 * behind it.
 *
 * The relay tells steering what it took out of the TUN's ring, slice by slice
 * (`drained`), which is how a flood at one slice leaves room to the others.
 * When the ring is empty everything that was ever queued has been drained, so
 * the counts are set right then.
 */
#include "receive.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "flow.h"
#include "fragments.h"
#include "log.h"
#include "pkt.h"
#include "saferaw.h"
#include "util.h"

#define BUDGET 64 /* packets in one turn */

/* A packet as read, with room for what a META flow gets before it */
struct frame {
	struct saferaw_meta meta;
	uint8_t data[PKT_MAX + 1]; /* a byte more: what fills it was cut */
};

static_assert(offsetof(struct frame, data) == sizeof(struct saferaw_meta), "header and packet are sent as one");

/* Where a packet goes, and whom it is counted for */
struct target {
	struct slice *slice; /* NULL: nobody's */
	struct flow *flow;   /* NULL: none matches */
};

/**
 * empty() - the ring is empty: all that was queued has been drained
 * @netns: of the TUN
 */
static void empty(struct netns *netns)
{
	struct slice *slice;

	LIST_FOREACH(slice, &netns->slices, link)
	{
		struct steer_traffic *traffic = &netns->traffic[slice_number(slice)];

		__atomic_store_n(&traffic->drained, __atomic_load_n(&traffic->queued, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	}
}

/**
 * refused() - count a packet that nobody gets
 * @netns: where it arrived
 * @target: whose it would have been
 * @verdict: why not
 */
static void refused(struct netns *netns, const struct target *target, enum verdict verdict)
{
	if (target->flow)
		target->flow->counters.rx_refused[verdict]++;
	if (target->slice)
		target->slice->counters.rx_refused[verdict]++;
	else
		netns->unknown.rx_refused[verdict]++;
}

/**
 * find_later() - where a later fragment goes
 * @netns: where it arrived
 * @pkt: packet
 */
static struct target find_later(const struct netns *netns, const struct pkt *pkt)
{
	const struct fragment *first = fragments_find(&netns->shard.fragments, pkt, clock_ns());
	struct target target = {0};

	if (!first)
		return target;
	target.slice = netns->world->slice[first->slice];
	if (target.slice && target.slice->netns == netns)
		target.flow = roster_find(&target.slice->flows, first->flow);
	else
		target.slice = NULL;
	return target;
}

/**
 * find() - where a packet goes
 * @netns: where it arrived
 * @pkt: packet
 */
static struct target find(struct netns *netns, const struct pkt *pkt)
{
	const struct port *port;
	struct target target = {0};

	if (pkt->flags & PKT_LATER)
		return find_later(netns, pkt);
	target.flow = flow_find(netns, pkt, &port);
	if (port)
		target.slice = netns->world->slice[port->slice];
	if (target.flow && port && pkt->flags & PKT_FRAGMENT)
		fragments_remember(&netns->shard.fragments, pkt, port->slice, target.flow->number, clock_ns());
	return target;
}

/**
 * judge() - whether a flow gets a packet
 * @flow: flow, or NULL
 * @pkt: packet
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict judge(const struct flow *flow, const struct pkt *pkt)
{
	if (!flow)
		return VERDICT_NO_FLOW;
	if (pkt->flags & PKT_ICMP_ERROR && !(flow->flags & PROTO_FLAG_ERRORS))
		return VERDICT_ERROR_UNWANTED;
	return policy_receive(&flow->policy, pkt);
}

/**
 * hand_over() - give a packet to a flow's reader
 * @flow: flow
 * @frame: packet
 * @len: its bytes, without padding
 *
 * A reader that has closed its end is dealt with where the flow is read: what
 * it sent before is still to be taken.
 *
 * Return: VERDICT_PASS, VERDICT_QUEUE_FULL, VERDICT_NO_FLOW when the reader has gone, or
 * VERDICT_TOO_BIG for its socket
 */
static enum verdict hand_over(struct flow *flow, struct frame *frame, uint32_t len)
{
	const void *data = frame->data;
	size_t size = len;

	if (flow->flags & PROTO_FLAG_META) {
		frame->meta =
			(struct saferaw_meta){.size = sizeof(frame->meta), .time_ns = clock_wall_ns(), .length = len};
		data = frame;
		size += sizeof(frame->meta);
	}
	if (send(flow->socket.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EPIPE || errno == ECONNRESET)
			return VERDICT_NO_FLOW;
		return errno == EMSGSIZE ? VERDICT_TOO_BIG : VERDICT_QUEUE_FULL;
	}
	flow->counters.rx_packets++;
	flow->counters.rx_bytes += len;
	flow->slice->counters.rx_packets++;
	flow->slice->counters.rx_bytes += len;
	return VERDICT_PASS;
}

/**
 * receive_packet() - one packet from the TUN
 * @netns: of the TUN
 * @frame: as read
 * @len: bytes read
 */
static void receive_packet(struct netns *netns, struct frame *frame, size_t len)
{
	struct target target = {0};
	enum verdict verdict;
	struct pkt pkt;

	verdict = pkt_parse(&pkt, frame->data, len, true);
	if (verdict == VERDICT_PASS) {
		target = find(netns, &pkt);
		verdict = judge(target.flow, &pkt);
	}
	if (target.slice) {
		struct steer_traffic *traffic = &netns->traffic[slice_number(target.slice)];

		__atomic_store_n(&traffic->drained, traffic->drained + 1, __ATOMIC_RELAXED);
	}
	if (verdict == VERDICT_PASS)
		verdict = hand_over(target.flow, frame, pkt.len);
	if (verdict != VERDICT_PASS)
		refused(netns, &target, verdict);
}

/**
 * receive_ready() - there are packets on a TUN
 * @tun: of a netns
 * @events: EPOLL bits
 *
 * A TUN that cannot be read any more (its device was deleted) is left alone
 * from then on; the monitor detaches the netns.
 */
void receive_ready(struct watch *tun, uint32_t events)
{
	static struct frame frame;
	struct netns *netns = container_of(tun, struct netns, tun);
	unsigned budget;
	ssize_t n;

	(void)events;
	for (budget = BUDGET; budget; budget--) {
		n = read(tun->fd, frame.data, sizeof(frame.data));
		if (n > 0) {
			receive_packet(netns, &frame, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			empty(netns);
		} else if (n == 0 || errno != EINTR) {
			log_error("netns %s: cannot read the TUN: %s", netns->record.name,
				  n ? strerror(errno) : "end of file");
			loop_watch(tun, 0);
		}
		return;
	}
}
