/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * send.c: packets from flows to the TUN
 *
 * A client's packet is copied out of the socket, and the copy is what is
 * parsed, judged, completed and written. File descriptors that were sent
 * along are dropped by the kernel, because nobody offers room for them. Each
 * flow gets a budget for one turn, so that one client cannot keep the others
 * waiting.
 *
 * A packet that is no larger than the smallest MTU of the netns, and whose
 * source is clear, needs no route. For the others the monitor is asked: the
 * packet is parked and its flow not read until the answer has come.
 */
#include "send.h"

#include <errno.h>
#include <unistd.h>

#include "flow.h"
#include "fragments.h"
#include "parking.h"
#include "pkt.h"
#include "readers.h"
#include "util.h"

#define BUDGET 32        /* packets of one flow in one turn */
#define ABANDON_MAX 4096 /* packets counted of a flow that is taken back: its client may go on sending meanwhile */

/* Answer of complete() besides verdicts: the route is not known */
#define ROUTE_UNKNOWN VERDICTS_N

/**
 * refused() - count a packet that is not sent
 * @flow: flow
 * @verdict: why
 */
static void refused(struct flow *flow, enum verdict verdict)
{
	flow->counters.tx_refused[verdict]++;
	flow->slice->counters.tx_refused[verdict]++;
}

/**
 * own_source() - the source that follows from the flow alone
 * @flow: flow
 * @family: of the packet
 * @source: set when there is one
 *
 * Return: how many addresses there were to choose from
 */
static unsigned own_source(const struct flow *flow, int family, struct addr *source)
{
	const struct policy_slice *policy = &flow->slice->policy;
	unsigned i, found = 0;

	if (!addr_is_any(&flow->policy.local)) {
		*source = flow->policy.local;
		return 1;
	}
	for (i = policy->addresses; i-- > 0;)
		if (addr_family(&policy->address[i]) == family) {
			*source = policy->address[i];
			found++;
		}
	return found;
}

/**
 * complete() - find the source, and see that the packet is not too large
 * @flow: flow
 * @pkt: packet that policy_send() has passed
 * @source: set to what a zero source is replaced by
 *
 * Return: VERDICT_PASS, or why not; ROUTE_UNKNOWN when the monitor must be asked first.
 */
static enum verdict complete(const struct flow *flow, const struct pkt *pkt, struct addr *source)
{
	const struct netns *netns = flow->slice->netns;
	unsigned sources = own_source(flow, pkt->version == 4 ? AF_INET : AF_INET6, source);
	bool choose = addr_is_any(&pkt->src) && sources > 1;
	const struct route *route;

	if (!sources)
		return VERDICT_DORMANT;
	if (!choose && pkt->len <= netns->record.mtu)
		return VERDICT_PASS;
	route = routes_find(&netns->routes, &pkt->dst);
	if (!route)
		return ROUTE_UNKNOWN;
	if (!route->mtu)
		return VERDICT_NO_ROUTE;
	if (pkt->len > route->mtu)
		return VERDICT_TOO_BIG;
	if (choose && policy_slice_has_address(&flow->slice->policy, &route->source))
		*source = route->source;
	return VERDICT_PASS;
}

/**
 * park() - let a packet wait for its route, and its flow with it
 * @flow: flow
 * @pkt: packet
 */
static void park(struct flow *flow, const struct pkt *pkt)
{
	flow->parked = parking_take(flow->slice, flow, pkt);
	if (flow->parked)
		loop_watch(&flow->socket, 0);
	else
		refused(flow, VERDICT_ROUTE_WAIT);
}

/**
 * judge() - whether a flow may send a packet now
 * @flow: flow
 * @pkt: packet that pkt_parse() has passed; a later fragment gets its first one's ports
 * @source: set to what a zero source is replaced by
 *
 * Return: VERDICT_PASS, or why not; ROUTE_UNKNOWN when the monitor must be asked first.
 */
static enum verdict judge(const struct flow *flow, struct pkt *pkt, struct addr *source)
{
	enum verdict verdict = policy_send(&flow->slice->policy, &flow->policy, pkt);

	if (verdict == VERDICT_PASS && pkt->flags & PKT_LATER)
		verdict = fragments_follow(&flow->slice->sent, pkt, flow->number, clock_ns());
	if (verdict == VERDICT_PASS && flow_is_dormant(flow))
		verdict = VERDICT_DORMANT;
	/* An own address of the host inside the prefix is none of the prefix's */
	if (verdict == VERDICT_PASS && flow->policy.local_len &&
	    netns_row(flow->slice->netns, &pkt->src) != flow->address)
		verdict = VERDICT_SOURCE;
	return verdict == VERDICT_PASS ? complete(flow, pkt, source) : verdict;
}

/**
 * sent() - a packet has left: count it, remember it, show it to whom it may concern
 * @flow: flow
 * @pkt: packet
 * @source: what a zero source was replaced by
 */
static void sent(struct flow *flow, const struct pkt *pkt, const struct addr *source)
{
	struct slice *slice = flow->slice;

	flow->counters.tx_packets++;
	flow->counters.tx_bytes += pkt->len;
	slice->counters.tx_packets++;
	slice->counters.tx_bytes += pkt->len;
	if ((pkt->flags & (PKT_FRAGMENT | PKT_LATER)) == PKT_FRAGMENT)
		fragments_remember(&slice->sent, pkt, flow->number, clock_ns());
	if (slice->readers)
		readers_sent(flow, pkt, source);
}

/**
 * send_packet() - judge one packet, complete it and write it to the TUN
 * @flow: flow
 * @data: packet, changed
 * @len: bytes
 */
static void send_packet(struct flow *flow, uint8_t *data, size_t len)
{
	struct slice *slice = flow->slice;
	struct addr source;
	struct pkt pkt;
	enum verdict verdict = pkt_parse(&pkt, data, len, false);

	if (verdict == VERDICT_PASS)
		verdict = judge(flow, &pkt, &source);
	if (verdict == ROUTE_UNKNOWN) {
		park(flow, &pkt);
		return;
	}
	if (verdict == VERDICT_PASS) {
		slice->ip_id += slice->ip_id == UINT16_MAX ? 2 : 1; /* 0 would mean "fill in" again */
		pkt_fill(data, &pkt, &source, slice->ip_id);
		if (write(slice->netns->tun.fd, data, pkt.len) < 0)
			verdict = VERDICT_TUN_FULL;
	}
	if (verdict == VERDICT_PASS)
		sent(flow, &pkt, &source);
	else
		refused(flow, verdict);
}

/**
 * send_ready() - a client has sent packets on a flow, or has closed it
 * @socket: the flow's
 * @events: EPOLL bits
 *
 * An empty message cannot be told from the end of the file, and is it. When
 * many ports are to be closed and it is too late in the turn for that, the end
 * is found again in the next.
 */
void send_ready(struct watch *socket, uint32_t events)
{
	static uint8_t buffer[PKT_MAX + 1];
	struct flow *flow = container_of(socket, struct flow, socket);
	unsigned budget, ports = (unsigned)(flow->policy.hi - flow->policy.lo) + 1;
	ssize_t n;

	(void)events;
	for (budget = BUDGET; budget && !flow->parked; budget--) {
		n = recv(socket->fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == ECONNRESET)
			continue; /* closed with packets unread; what it sent before is still to come */
		if (n <= 0) {
			if (loop_late(ports))
				return;
			loop_spend(ports);
			flow_close(flow);
			return;
		}
		if (n > PKT_MAX)
			refused(flow, VERDICT_TOO_BIG);
		else
			send_packet(flow, buffer, (size_t)n);
	}
}

/**
 * send_abandon() - a flow is about to be taken back: count what its client has sent and nobody will look at
 * @flow: open flow
 */
void send_abandon(struct flow *flow)
{
	unsigned left = ABANDON_MAX;
	uint8_t byte;

	if (flow->parked)
		refused(flow, VERDICT_NO_FLOW);
	while (left-- && recv(flow->socket.fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) > 0)
		refused(flow, VERDICT_NO_FLOW);
}

/**
 * send_routed() - a route is known now: send what waited for it
 * @netns: where
 * @destination: whereto; it is in the netns's cache
 */
void send_routed(struct netns *netns, const struct addr *destination)
{
	struct parked *parked;

	while ((parked = parking_find(netns, destination))) {
		struct flow *flow = parked->flow;

		parking_leave(parked);
		flow->parked = NULL;
		send_packet(flow, parked->data, parked->len);
		flow_read_on(flow);
	}
}
