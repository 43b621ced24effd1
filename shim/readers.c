/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * readers.c: read-only flows, which get copies of packets
 *
 * A sniffer gets what is sent and received on its ports; an icmp-error flow
 * gets the ICMP errors about its ports. There may be any number of them on a
 * port, alike or not, so they are not in the flow table, which has one flow
 * for each endpoint, but on lists: one for each (local address or any, class,
 * port) that has readers, found through the shard's table of readers; and one
 * for each slice, of sniffers on all its ports.
 *
 * Whether a port may have readers is a bit of its entry (PORT_READERS), set
 * when a reader comes and when a port is claimed that has readers already. So
 * where there are none a packet costs no look-up; where there are it costs two,
 * and then each reader's share. Places in lists are made when a flow is
 * opened, never when a packet comes.
 *
 * Copying costs time that others wait for. So a list has a limit, and of what
 * a slice's packets want in copies beyond a few for each, there is so much in
 * one turn of the loop; the rest is lost to the readers, and counted.
 *
 * A sniffer holds no port: it takes none from anybody, and the host is as it
 * would be without. It sees flows of its own uid; those of others only when it
 * was opened under the slice's grant. What it sees is what the verdict has
 * passed, whether or not a reader of its flow was there and fast enough. Links
 * are no flows: most of their packets never come to the relay.
 */
#include "readers.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "deliver.h"
#include "ends.h"
#include "flow.h"

#define PLACES_MAX 256  /* of one list */
#define COPIES_FREE 16  /* of one packet */
#define COPIES_TURN 512 /* of all packets of a slice in one turn, beyond those: about half a millisecond */

/* A packet on its way round */
struct round {
	struct slice *slice;
	struct ends ends;
	unsigned copies; /* until now */
	uint32_t uid;    /* whose the local port is */
	bool proxied;    /* the local address is */
	bool error;      /* an ICMP error */
	const struct pkt *pkt;
	struct saferaw_meta meta;
	enum verdict verdict; /* what has become of it at icmp-error flows; VERDICT_NO_FLOW: there was none */
};

/**
 * is_wide() - whether a reader is on all ports of its slice
 * @flow: read-only flow
 */
static bool is_wide(const struct flow *flow)
{
	return !flow->policy.lo;
}

/**
 * key_of() - what the list of a port is found by
 * @slice: of the port
 * @address: row of the local address, or FLOWKEY_ANY
 * @class: enum steer_class
 * @port: host byte order
 */
static struct flowkey key_of(const struct slice *slice, unsigned address, unsigned class, unsigned port)
{
	return (struct flowkey){.lport = (uint16_t)port,
				.slice = (uint16_t)slice_number(slice),
				.local = (uint8_t)address,
				.class = (uint8_t) class};
}

/**
 * key_at() - what the list that a flow's nth place is on is found by
 * @flow: read-only flow on given ports
 * @n: from 0
 */
static struct flowkey key_at(const struct flow *flow, unsigned n)
{
	unsigned address = flow->address == PRIV_ANY_ADDRESS ? FLOWKEY_ANY : flow->address;

	return key_of(flow->slice, address, flow->policy.class, flow->policy.lo + n);
}

/**
 * first() - the list of a port
 * @slice: of the port
 * @address: row of the local address, or FLOWKEY_ANY
 * @class: enum steer_class
 * @port: host byte order
 *
 * Return: its first place, or NULL.
 */
static struct reader *first(const struct slice *slice, unsigned address, unsigned class, unsigned port)
{
	struct flowkey key = key_of(slice, address, class, port);

	return flowtab_find(&slice->netns->shard.readers, &key);
}

/**
 * head_of() - the list that a flow's nth place is or will be on
 * @flow: read-only flow
 * @n: from 0
 *
 * Return: its first place, or NULL.
 */
static struct reader *head_of(const struct flow *flow, unsigned n)
{
	struct flowkey key = key_at(flow, n);

	return is_wide(flow) ? flow->slice->wide : flowtab_find(&flow->slice->netns->shard.readers, &key);
}

/**
 * enter() - put a flow's nth place on its list
 * @flow: read-only flow
 * @n: from 0
 *
 * The second place of the list is the newest, so that the table is touched
 * for the first one alone.
 *
 * Return: 0, or -1 and ENOMEM, EMFILE.
 */
static int enter(struct flow *flow, unsigned n)
{
	struct reader *reader = &flow->reader[n], *head = head_of(flow, n);
	struct flowkey key = key_at(flow, n);

	*reader = (struct reader){.flow = flow, .places = 1};
	if (head && head->places == PLACES_MAX) {
		errno = EMFILE;
		return -1;
	}
	if (head) {
		head->places++;
		reader->previous = head;
		reader->next = head->next;
		if (head->next)
			head->next->previous = reader;
		head->next = reader;
		return 0;
	}
	if (!is_wide(flow))
		return flowtab_insert(&flow->slice->netns->shard.readers, &key, reader);
	flow->slice->wide = reader;
	return 0;
}

/**
 * leave() - take a flow's nth place off its list
 * @flow: read-only flow
 * @n: from 0
 *
 * The table has room for a key that was just removed, so putting the next
 * place in its stead cannot fail.
 */
static void leave(struct flow *flow, unsigned n)
{
	struct reader *reader = &flow->reader[n], *head = head_of(flow, n);
	struct flowtab *tab = &flow->slice->netns->shard.readers;
	struct flowkey key = key_at(flow, n);

	head->places--;
	if (reader == head && reader->next)
		reader->next->places = head->places;
	if (reader->next)
		reader->next->previous = reader->previous;
	if (reader->previous) {
		reader->previous->next = reader->next;
	} else if (is_wide(flow)) {
		flow->slice->wide = reader->next;
	} else {
		flowtab_remove(tab, &key);
		if (reader->next)
			flowtab_insert(tab, &key, reader->next);
	}
}

/**
 * mark_claimed() - tell the entries of a new reader's ports of it
 * @flow: read-only flow on given ports
 */
static void mark_claimed(const struct flow *flow)
{
	const struct slice *slice = flow->slice;
	const struct policy_range span = {flow->policy.class, flow->policy.lo, flow->policy.hi};
	uint64_t left = slice->owned & netns_family(slice->netns, flow->policy.family);

	if (flow->address != PRIV_ANY_ADDRESS)
		left = 1ULL << flow->address;
	for (; left; left &= left - 1)
		ports_mark_readers(&slice->netns->shard.ports, (unsigned)__builtin_ctzll(left), &span,
				   (uint16_t)slice_number(slice));
}

/**
 * readers_mark() - ports have been claimed: tell their entries of the readers that they have already
 * @slice: that has claimed them
 * @address: row of the local address
 * @span: class and ports
 */
void readers_mark(const struct slice *slice, unsigned address, const struct policy_range *span)
{
	struct policy_range one = *span;
	unsigned port;

	if (!slice->readers)
		return;
	for (port = span->lo; port <= span->hi; port++) {
		if (!first(slice, address, span->class, port) && !first(slice, FLOWKEY_ANY, span->class, port))
			continue;
		one.lo = one.hi = (uint16_t)port;
		ports_mark_readers(&slice->netns->shard.ports, address, &one, (uint16_t)slice_number(slice));
	}
}

/**
 * readers_add() - put a flow on the lists; it gets packets from when it is open
 * @flow: read-only flow with ports, or with port 0: on all of its slice's
 *
 * Return: 0, or -1 and ENOMEM, or EMFILE when a list has as many as it may.
 */
int readers_add(struct flow *flow)
{
	unsigned places = (unsigned)(flow->policy.hi - flow->policy.lo) + 1, n;

	flow->reader = calloc(places, sizeof(*flow->reader));
	if (!flow->reader)
		return -1;
	for (n = 0; n < places; n++) {
		int error;

		if (enter(flow, n) == 0)
			continue;
		error = errno;
		while (n-- > 0)
			leave(flow, n);
		free(flow->reader);
		flow->reader = NULL;
		errno = error;
		return -1;
	}
	flow->slice->readers++;
	if (!is_wide(flow))
		mark_claimed(flow);
	return 0;
}

/**
 * readers_remove() - take a flow off the lists
 * @flow: read-only flow that readers_add() has added
 */
void readers_remove(struct flow *flow)
{
	unsigned places = (unsigned)(flow->policy.hi - flow->policy.lo) + 1, n;

	for (n = 0; n < places; n++)
		leave(flow, n);
	free(flow->reader);
	flow->reader = NULL;
	flow->slice->readers--;
}

/**
 * local_ok() - whether a packet's local address is one that a reader names
 * @flow: reader
 * @round: packet
 *
 * Who names none is on the slice's own addresses; who names no port either is on
 * all that the slice has.
 */
static bool local_ok(const struct flow *flow, const struct round *round)
{
	const struct policy_flow *policy = &flow->policy;
	const struct prefix prefix = {.addr = policy->local, .len = policy->local_len ? policy->local_len : 128};

	if (addr_is_any(&policy->local))
		return !round->proxied || is_wide(flow);
	return prefix_contains(&prefix, round->ends.local);
}

/**
 * wants() - whether a packet is for a reader
 * @flow: on a list that the packet has been brought to
 * @round: packet
 */
static bool wants(const struct flow *flow, const struct round *round)
{
	const struct policy_flow *policy = &flow->policy;
	const struct ends *ends = &round->ends;

	if (flow->state != FLOW_OPEN || (!flow->sees_all && flow->opener.uid != round->uid))
		return false;
	if (round->error ? flow->kind != PROTO_KIND_ICMP_ERROR && !(flow->flags & PROTO_FLAG_ERRORS)
			 : flow->kind != PROTO_KIND_SNIFFER)
		return false;
	if (policy->class != PROTO_CLASS_ANY && policy->class != ends->class)
		return false;
	if (policy->family != AF_UNSPEC && policy->family != (round->pkt->version == 4 ? AF_INET : AF_INET6))
		return false;
	if (!local_ok(flow, round))
		return false;
	if (addr_is_any(&policy->remote))
		return true;
	return addr_eq(&policy->remote, ends->remote) && (!policy->remote_port || policy->remote_port == ends->rport);
}

/**
 * affordable() - whether one copy more of a packet may be made
 * @round: packet
 */
static bool affordable(struct round *round)
{
	struct slice *slice = round->slice;

	if (round->copies++ < COPIES_FREE)
		return true;
	if (slice->copies_turn != loop_turns()) {
		slice->copies_turn = loop_turns();
		slice->copies = 0;
	}
	return slice->copies++ < COPIES_TURN;
}

/**
 * copy() - give a packet to a reader that wants it
 * @flow: reader
 * @round: packet
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict copy(struct flow *flow, struct round *round)
{
	if (affordable(round))
		return deliver(flow, &round->meta, round->pkt->data, round->pkt->len);
	flow->counters.rx_refused[VERDICT_COPY_LIMIT]++;
	return VERDICT_COPY_LIMIT;
}

/**
 * pass_on() - give a packet to those of a list that want it
 * @reader: first of the list, or NULL
 * @round: packet
 */
static void pass_on(const struct reader *reader, struct round *round)
{
	enum verdict verdict;

	for (; reader; reader = reader->next) {
		if (!wants(reader->flow, round))
			continue;
		verdict = copy(reader->flow, round);
		if (reader->flow->kind == PROTO_KIND_ICMP_ERROR && round->verdict != VERDICT_PASS)
			round->verdict = verdict;
	}
}

/**
 * go_round() - give a packet to all readers that want it
 * @slice: of the local port
 * @address: row of the local address
 * @marked: whether the port has readers of its own
 * @round: packet
 */
static void go_round(const struct slice *slice, unsigned address, bool marked, struct round *round)
{
	unsigned class = (unsigned)round->ends.class;

	round->proxied = address >= STEER_ADDRESSES_MAX;
	if (marked) {
		pass_on(first(slice, address, class, round->ends.lport), round);
		pass_on(first(slice, FLOWKEY_ANY, class, round->ends.lport), round);
	}
	pass_on(slice->wide, round);
}

/**
 * readers_received() - a packet has arrived for a port that may have readers
 * @slice: the port's
 * @port: its entry
 * @pkt: packet; a later fragment has the ports of its first
 *
 * What no flow of the port could get is for no reader either.
 *
 * Return: what has become of it at icmp-error flows: VERDICT_PASS when one has
 * got it, why not when there are some and none has, VERDICT_NO_FLOW when there are none
 */
enum verdict readers_received(struct slice *slice, const struct port *port, const struct pkt *pkt)
{
	struct round round = {.slice = slice,
			      .ends = ends_received(slice->netns, pkt),
			      .uid = port->uid,
			      .error = pkt->flags & PKT_ICMP_ERROR,
			      .pkt = pkt,
			      .verdict = VERDICT_NO_FLOW};
	int address = netns_row(slice->netns, round.ends.local);
	const struct policy_flow policy = {.class = (uint8_t)round.ends.class,
					   .proxied = address >= STEER_ADDRESSES_MAX,
					   .family = pkt->version == 4 ? AF_INET : AF_INET6,
					   .lo = round.ends.lport,
					   .hi = round.ends.lport,
					   .protocol = round.ends.protocol,
					   .key = pkt->key};

	if (address >= 0 && policy_receive(&policy, pkt) == VERDICT_PASS)
		go_round(slice, (unsigned)address, port->levels & PORT_READERS, &round);
	return round.verdict;
}

/**
 * readers_sent() - a flow has sent a packet, and its slice has readers
 * @flow: flow
 * @pkt: packet; its data is as it left
 * @source: what was put in for a source of zeros
 */
void readers_sent(const struct flow *flow, const struct pkt *pkt, const struct addr *source)
{
	struct slice *slice = flow->slice;
	struct round round = {.slice = slice,
			      .ends = ends_sent(slice->netns, pkt, source),
			      .uid = flow->opener.uid,
			      .pkt = pkt,
			      .meta = {.flags = SAFERAW_META_SENT},
			      .verdict = VERDICT_NO_FLOW};
	int address = netns_row(slice->netns, round.ends.local);
	const struct port *port;

	if (address < 0 || round.ends.class < 0)
		return;
	port = ports_find(&slice->netns->shard.ports, (unsigned)address, (unsigned)round.ends.class,
			  round.ends.lport);
	if (port)
		go_round(slice, (unsigned)address, port->levels & PORT_READERS, &round);
}
