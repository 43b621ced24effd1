/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * receive.c: packets from the TUN to flows
 *
 * One read, one parse, one look-up, one send for each packet, at any number of
 * flows. A flow whose reader is slow loses its own packets, counted; nobody
 * waits for it. A packet is passed on as it came, without what Ethernet put
 * behind it. Where its port has read-only flows, they get copies (readers.h);
 * a slice's totals count a packet once all the same. What is for a link's pool
 * goes to translate.c, and no read-only flow sees it, as they see nothing else
 * of links.
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

#include "deliver.h"
#include "flow.h"
#include "fragments.h"
#include "log.h"
#include "pkt.h"
#include "readers.h"
#include "translate.h"
#include "util.h"

#define BUDGET 64 /* packets in one turn */

/* Where a packet goes, and whom it is counted for */
struct target {
	struct slice *slice;     /* NULL: nobody's */
	struct flow *flow;       /* NULL: no consumer matches */
	struct link *link;       /* NULL: none has the port */
	const struct port *port; /* of the local end; NULL: nobody's */
};

/**
 * empty() - the ring is empty: all that was queued has been drained
 * @netns: of the TUN
 */
static void empty(struct netns *netns)
{
	struct slice *slice;

	LIST_FOREACH(slice, &netns->slices, link) {
		struct steer_traffic *traffic = &netns->traffic[slice_number(slice)];

		__atomic_store_n(&traffic->drained, __atomic_load_n(&traffic->queued, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	}
}

/**
 * count() - count a packet for its slice
 * @netns: where it arrived
 * @slice: whose port it was for, NULL for nobody's
 * @len: bytes of it
 * @verdict: what has become of it
 */
static void count(struct netns *netns, struct slice *slice, uint32_t len, enum verdict verdict)
{
	struct counters *counters = slice ? &slice->counters : &netns->unknown;

	if (verdict == VERDICT_PASS) {
		counters->rx_packets++;
		counters->rx_bytes += len;
	} else {
		counters->rx_refused[verdict]++;
	}
}

/**
 * find() - where a packet goes
 * @netns: where it arrived
 * @pkt: packet; a later fragment has the ports of its first
 */
static struct target find(const struct netns *netns, const struct pkt *pkt)
{
	struct target target = {0};

	target.flow = flow_find(netns, pkt, &target.port);
	if (target.port)
		target.slice = netns->world->slice[target.port->slice];
	if (target.port && target.port->link < STEER_LINKS_MAX)
		target.link = netns->links[target.port->link];
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
 * copy() - give a packet to the read-only flows of its port
 * @target: whose port it is, and the consumer
 * @pkt: packet
 * @verdict: what has become of it at the consumer
 *
 * Return: what has become of it: an ICMP error that no consumer wants is
 * received when an icmp-error flow gets it
 */
static enum verdict copy(const struct target *target, const struct pkt *pkt, enum verdict verdict)
{
	enum verdict copied = readers_received(target->slice, target->port, pkt);

	if (verdict != VERDICT_NO_FLOW && verdict != VERDICT_ERROR_UNWANTED)
		return verdict;
	return copied == VERDICT_NO_FLOW ? verdict : copied;
}

/**
 * give() - give a packet to those that it is for
 * @target: they
 * @pkt: packet
 * @data: its bytes, with TRANSLATE_HEAD bytes before them; changed for a link
 *
 * Return: VERDICT_PASS when it has been received by whom it was for, or why not
 */
static enum verdict give(const struct target *target, const struct pkt *pkt, uint8_t *data)
{
	enum verdict judged = judge(target->flow, pkt), verdict = judged;
	struct saferaw_meta meta = {0};

	if (target->link) {
		struct pkt translated = *pkt;

		return translate_in(target->link, &translated, data);
	}
	if (judged == VERDICT_PASS)
		verdict = deliver(target->flow, &meta, pkt->data, pkt->len);
	if (target->port && target->slice && readers_wanted(target->slice, target->port))
		verdict = copy(target, pkt, verdict);
	if (judged != VERDICT_PASS && verdict == judged && target->flow)
		target->flow->counters.rx_refused[judged]++;
	return verdict;
}

/**
 * is_first() - whether later fragments may follow a packet
 * @pkt: packet
 *
 * Those of an ICMP error may not: it is about a flow, but from somebody else.
 */
static bool is_first(const struct pkt *pkt)
{
	return (pkt->flags & (PKT_FRAGMENT | PKT_LATER | PKT_ICMP_ERROR)) == PKT_FRAGMENT;
}

/**
 * owner() - the number that fragments for somebody are known by
 * @target: whom they are for
 *
 * Return: of a flow or a link; that of no flow when there is neither
 */
static uint64_t owner(const struct target *target)
{
	if (target->flow)
		return target->flow->number;
	return target->link ? target->link->flow : UINT64_MAX;
}

/**
 * pass_on() - give a packet to those that it is for, and see to it that fragments stay together
 * @netns: where it arrived
 * @target: whom its ports are
 * @pkt: packet; a later fragment has the ports of its first
 * @data: as of give()
 *
 * Return: VERDICT_PASS when it has been received by whom it was for, or why not
 */
static enum verdict pass_on(struct netns *netns, const struct target *target, struct pkt *pkt, uint8_t *data)
{
	struct fragments *fragments = &netns->shard.fragments;
	enum verdict verdict = VERDICT_PASS;

	if (pkt->flags & PKT_LATER)
		verdict = fragments_follow(fragments, pkt, owner(target), clock_ns());
	if (verdict == VERDICT_PASS)
		verdict = give(target, pkt, data);
	if (is_first(pkt) && (verdict == VERDICT_PASS || verdict == VERDICT_QUEUE_FULL))
		fragments_remember(fragments, pkt, owner(target), clock_ns());
	return verdict;
}

/**
 * receive_packet() - one packet from the TUN
 * @netns: of the TUN
 * @data: as read, with TRANSLATE_HEAD bytes before it
 * @len: bytes read
 */
static void receive_packet(struct netns *netns, uint8_t *data, size_t len)
{
	struct target target = {0};
	enum verdict verdict;
	struct pkt pkt;

	verdict = pkt_parse(&pkt, data, len, true);
	if (verdict == VERDICT_PASS && pkt.flags & PKT_LATER)
		verdict = fragments_follow(&netns->shard.fragments, &pkt, FRAGMENT_ANYBODY, clock_ns());
	if (verdict == VERDICT_PASS) {
		target = find(netns, &pkt);
		verdict = pass_on(netns, &target, &pkt, data);
	}
	if (target.slice) {
		struct steer_traffic *traffic = &netns->traffic[slice_number(target.slice)];

		__atomic_store_n(&traffic->drained, traffic->drained + 1, __ATOMIC_RELAXED);
	}
	count(netns, target.slice, pkt.len, verdict);
}

/**
 * receive() - packets from a TUN, until there are none
 * @netns: of the TUN
 * @budget: packets at most
 *
 * A TUN that cannot be read any more (its device was deleted) is left alone
 * from then on; the monitor detaches the netns.
 */
static void receive(struct netns *netns, unsigned budget)
{
	static uint8_t buffer[TRANSLATE_HEAD + PKT_MAX + 1]; /* a byte more: what fills it was cut */
	struct watch *tun = &netns->tun;
	uint8_t *packet = buffer + TRANSLATE_HEAD;
	ssize_t n;

	for (; budget; budget--) {
		n = read(tun->fd, packet, sizeof(buffer) - TRANSLATE_HEAD);
		if (n > 0) {
			receive_packet(netns, packet, (size_t)n);
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

/**
 * receive_ready() - there are packets on a TUN
 * @tun: of a netns
 * @events: EPOLL bits
 */
void receive_ready(struct watch *tun, uint32_t events)
{
	(void)events;
	receive(container_of(tun, struct netns, tun), BUDGET);
}

/**
 * receive_all() - all packets that are in a TUN's ring now, to whom they are for now
 * @netns: of the TUN
 *
 * Steering takes none any more for what is about to change hands; what it has
 * taken until then is no more than the ring holds.
 */
void receive_all(struct netns *netns)
{
	receive(netns, STEER_RING);
}
