/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flow.c: one flow: its socket, its place in the tables, its counters
 *
 *	NEW --flow_reserve()--> PENDING --the hold is held, flow_open()--> OPEN
 *
 * flow_unreserve() leads back to NEW, where another port can be tried, and
 * flow_close() out of any state. A flow is charged to its slice's limits as
 * long as it exists, is in the shard's flow table from PENDING on, so that two
 * requests cannot get the same endpoint, and gets packets when OPEN.
 *
 * In the table a consumer has one key for each of its ports, twice for a flow
 * of both families. A packet is looked up at the levels that its local port
 * has (see ports.h), the most specific first. On a proxied prefix the ports are
 * those of the prefix's row, and keys have a number for the address in it
 * (exacts.h); a flow on the whole prefix counts as one on any address. Read-only
 * flows are on lists instead (readers.h). An icmp-error flow holds its ports as
 * a consumer does, which is what brings errors here; a sniffer holds none.
 */
#include "flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "ends.h"
#include "parking.h"
#include "readers.h"
#include "util.h"

#define MEMORY_OF_PORT 128 /* bytes of table for each port of a range beyond the first */

/**
 * flow_new() - a flow in no table yet
 * @slice: charged for it
 * @opener: whose it is
 * @policy: what it may do; its ports may still be open (lo 0), then hi is lo + ports - 1
 * @kind: PROTO_KIND_
 *
 * Return: the flow, or NULL and errno: EMFILE when the slice has as many as it may,
 * ENOSPC when its memory bound is reached, ENOMEM.
 */
struct flow *flow_new(struct slice *slice, const struct opener *opener, const struct policy_flow *policy,
		      unsigned kind)
{
	uint64_t memory =
		2ULL * slice->conf.record.queue_bytes + (uint64_t)(policy->hi - policy->lo) * MEMORY_OF_PORT;
	struct exacts *exacts = &slice->netns->shard.exacts;
	uint64_t bound = slice->conf.record.memory_bytes;
	struct flow *flow;

	if (slice->opened >= slice->conf.record.flows_max) {
		errno = EMFILE;
		return NULL;
	}
	if (slice->memory > bound || memory > bound - slice->memory) {
		errno = ENOSPC;
		return NULL;
	}
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	if (policy->proxied && !policy->local_len && !(flow->exact = exacts_get(exacts, &policy->local))) {
		free(flow);
		return NULL;
	}
	flow->socket.fd = -1;
	flow->slice = slice;
	flow->memory = memory;
	flow->opener = *opener;
	flow->policy = *policy;
	flow->kind = (uint8_t)kind;
	flow->sees_all = kind == PROTO_KIND_SNIFFER && opener->sniffs.kind;
	flow->address = PRIV_ANY_ADDRESS;
	if (!addr_is_any(&policy->local))
		flow->address = (uint8_t)netns_row(slice->netns, &policy->local);
	slice->opened++;
	slice->memory += memory;
	return flow;
}

/**
 * level_of() - how specific a flow is
 * @flow: flow
 *
 * Return: bit number, see ports.h
 */
static unsigned level_of(const struct flow *flow)
{
	unsigned level = flow->address == PRIV_ANY_ADDRESS || flow->policy.local_len ? LEVEL_ANY_ADDRESS : 0;

	if (flow->policy.lo != flow->policy.hi)
		level += LEVEL_RANGE;
	if (addr_is_any(&flow->policy.remote))
		level += LEVEL_EVERYBODY;
	else if (!flow->policy.remote_port)
		level += LEVEL_HOST;
	return level;
}

/**
 * key_of() - one of a flow's keys
 * @flow: flow
 * @n: which one, from 0
 * @key: set when there is such a one
 *
 * Return: whether there is
 */
static bool key_of(const struct flow *flow, unsigned n, struct flowkey *key)
{
	unsigned ports = (unsigned)(flow->policy.hi - flow->policy.lo) + 1;
	bool both = flow->address == PRIV_ANY_ADDRESS && flow->policy.family == AF_UNSPEC;
	bool v4 = both ? n >= ports : flow->policy.family == AF_INET;

	if (n >= (both ? 2 * ports : ports))
		return false;
	*key = (struct flowkey){.remote = flow->policy.remote,
				.lport = (uint16_t)(flow->policy.lo + n % ports),
				.rport = flow->policy.remote_port,
				.slice = (uint16_t)slice_number(flow->slice),
				.local = flow->address,
				.class = flow->policy.class,
				.range = ports > 1,
				.exact = flow->exact ? flow->exact->number : 0};
	if (addr_is_any(&key->remote))
		key->remote = (struct addr){{0}};
	if (flow->address == PRIV_ANY_ADDRESS)
		key->local = v4 ? FLOWKEY_ANY_V4 : FLOWKEY_ANY_V6;
	return true;
}

/**
 * remove_keys() - take a flow's first keys out of the flow table
 * @flow: flow
 * @keys: how many
 */
static void remove_keys(const struct flow *flow, unsigned keys)
{
	struct flowkey key;
	unsigned n;

	for (n = 0; n < keys && key_of(flow, n, &key); n++)
		flowtab_remove(&flow->slice->netns->shard.flows, &key);
}

/**
 * insert_keys() - put all of a flow's keys into the flow table
 * @flow: flow
 *
 * Return: 0, or -1 with none of them there and EADDRINUSE when another flow has one, ENOMEM.
 */
static int insert_keys(struct flow *flow)
{
	struct flowkey key;
	unsigned n;

	for (n = 0; key_of(flow, n, &key); n++) {
		if (flowtab_insert(&flow->slice->netns->shard.flows, &key, flow) == 0)
			continue;
		if (errno == EEXIST)
			errno = EADDRINUSE;
		remove_keys(flow, n);
		return -1;
	}
	return 0;
}

/**
 * enter_tables() - take a flow's places in the tables
 * @flow: flow with ports
 *
 * Return: 0, or -1 and EADDRINUSE, EMFILE, ENOMEM.
 */
static int enter_tables(struct flow *flow)
{
	return flow->policy.read_only ? readers_add(flow) : insert_keys(flow);
}

/**
 * let_go() - give a flow's reservation back, if it has one
 * @flow: flow; errno stays as it was
 */
static void let_go(struct flow *flow)
{
	int saved = errno;

	if (flow->hold)
		hold_put(flow->hold);
	flow->hold = NULL;
	errno = saved;
}

/**
 * flow_reserve() - take a place in the tables, and ask for the ports if nobody has yet
 * @flow: new
 * @port: first local port or id; 0 for a sniffer on all of its slice's
 *
 * Return: 0, and flow->hold says how it is with the reservation, where the kind
 * needs one; or -1 and EADDRINUSE, ENOMEM, or EMFILE when a port has as many
 * read-only flows as it may.
 */
int flow_reserve(struct flow *flow, uint16_t port)
{
	struct policy_range span = {.class = flow->policy.class, .lo = port};

	span.hi = (uint16_t)(port + (flow->policy.hi - flow->policy.lo));
	flow->policy.lo = span.lo;
	flow->policy.hi = span.hi;
	if (flow->kind != PROTO_KIND_SNIFFER) {
		flow->hold = hold_get(flow->slice, flow->opener.uid, &span, flow->address, flow->policy.family);
		if (!flow->hold)
			return -1;
	}
	if (enter_tables(flow) < 0) {
		let_go(flow);
		return -1;
	}
	if (flow->kind == PROTO_KIND_CONSUMER)
		hold_add_level(flow->hold, level_of(flow));
	flow->state = FLOW_PENDING;
	return 0;
}

/**
 * flow_unreserve() - leave the tables, and let go of the ports
 * @flow: any state but new; it is new afterwards
 */
void flow_unreserve(struct flow *flow)
{
	if (flow->reader)
		readers_remove(flow);
	else
		remove_keys(flow, UINT32_MAX);
	let_go(flow);
	flow->state = FLOW_NEW;
}

/**
 * make_socket() - the pair of sockets
 * @flow: gets one end
 * @client_fd: gets the other end
 *
 * What the client can have waiting towards the relay is bounded in the same
 * way as the other direction; it may raise that itself, up to the host's limit.
 *
 * Return: 0, or -1 and errno; EMFILE when the relay is short of fds.
 */
static int make_socket(struct flow *flow, int *client_fd)
{
	int bytes = (int)flow->slice->conf.record.queue_bytes;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (pair[0] >= flow->slice->netns->world->fd_ceiling || pair[1] >= flow->slice->netns->world->fd_ceiling)
		errno = EMFILE;
	else if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0 &&
		 setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0) {
		flow->socket.fd = pair[0];
		*client_fd = pair[1];
		return 0;
	}
	close_fd(&pair[0]);
	close_fd(&pair[1]);
	return -1;
}

/**
 * flow_open() - give a flow its socket and let packets in
 * @flow: pending, its hold (where it has one) is held
 * @socket_ready: called when the client has sent something or has closed its end
 * @client_fd: gets the client's end, the caller's to close
 *
 * Return: 0, or -1 and errno.
 */
int flow_open(struct flow *flow, watch_fn *socket_ready, int *client_fd)
{
	struct slice *slice = flow->slice;

	if (make_socket(flow, client_fd) < 0)
		return -1;
	flow->socket.ready = socket_ready;
	if (loop_watch(&flow->socket, EPOLLIN) < 0 ||
	    roster_append(&slice->flows, slice->netns->world->flows + 1, flow) < 0) {
		close_fd(client_fd);
		loop_close(&flow->socket);
		return -1;
	}
	flow->number = ++slice->netns->world->flows;
	flow->state = FLOW_OPEN;
	if (flow->hold)
		hold_open(flow->hold);
	return 0;
}

/**
 * flow_close() - end a flow, whatever its state, and free it
 * @flow: flow
 */
void flow_close(struct flow *flow)
{
	struct slice *slice = flow->slice;

	if (flow->parked)
		parking_leave(flow->parked);
	if (flow->number)
		roster_remove(&slice->flows, flow->number);
	if (flow->state != FLOW_NEW)
		flow_unreserve(flow);
	loop_close(&flow->socket);
	if (flow->exact)
		exacts_put(&slice->netns->shard.exacts, flow->exact);
	slice->opened--;
	slice->memory -= flow->memory;
	free(flow);
	world_fd_closed(slice->netns->world);
}

/**
 * opener_fits() - whether a flow's opener may still have what it has
 * @flow: flow
 */
static bool opener_fits(const struct flow *flow)
{
	const struct member user = {PRIV_MEMBER_USER, flow->opener.uid};
	const struct member sniffs = {PRIV_MEMBER_SNIFF_USER, flow->opener.uid};

	if (flow->sees_all)
		return slice_has_member(flow->slice, sniffs) || slice_has_member(flow->slice, flow->opener.sniffs);
	return slice_has_member(flow->slice, user) || slice_has_member(flow->slice, flow->opener.by);
}

/**
 * flow_fits() - whether a flow is within its slice's configuration
 * @flow: flow with ports
 */
bool flow_fits(const struct flow *flow)
{
	const struct slice *slice = flow->slice;

	if (flow->address != PRIV_ANY_ADDRESS && !(slice->owned & 1ULL << flow->address))
		return false;
	if (!opener_fits(flow))
		return false;
	if (!flow->policy.lo) /* a sniffer on all ports, whichever they are */
		return true;
	if (flow->policy.class == CLASS_GRANT)
		return policy_slice_granted(&slice->policy, flow->policy.protocol, flow->policy.key) &&
		       slots_find(&slice->netns->slots, flow->policy.protocol, flow->policy.key) == flow->policy.lo;
	return flow->policy.proxied ||
	       policy_slice_owns(&slice->policy, flow->policy.class, flow->policy.lo, flow->policy.hi);
}

/**
 * flow_is_dormant() - whether a flow's address is away from the host
 * @flow: flow
 */
bool flow_is_dormant(const struct flow *flow)
{
	return flow->address != PRIV_ANY_ADDRESS && !(flow->slice->netns->addresses.present & 1ULL << flow->address);
}

/**
 * flow_read_on() - read the client's packets again, after one was parked
 * @flow: open; closed and freed when epoll refuses
 */
void flow_read_on(struct flow *flow)
{
	flow->parked = NULL;
	if (loop_watch(&flow->socket, EPOLLIN) < 0)
		flow_close(flow);
}

/**
 * key_at() - what a flow of some level for a packet is found by
 * @ends: of the packet
 * @slice: number of the port's owner
 * @address: row of the local address
 * @exact: what stands for it, where the row is of a prefix; else 0
 * @level: bit number
 */
static struct flowkey key_at(const struct ends *ends, uint16_t slice, int address, uint64_t exact, unsigned level)
{
	struct flowkey key = {.lport = ends->lport,
			      .slice = slice,
			      .local = (uint8_t)address,
			      .class = (uint8_t)ends->class,
			      .range = (level & LEVEL_RANGE) != 0};

	/* Without a number there is no flow at the level: what is found is on the whole prefix, and next in turn
	 * anyhow */
	if (address >= STEER_ADDRESSES_MAX)
		key.exact = level & LEVEL_ANY_ADDRESS ? 0 : exact;
	else if (level & LEVEL_ANY_ADDRESS)
		key.local = addr_family(ends->local) == AF_INET ? FLOWKEY_ANY_V4 : FLOWKEY_ANY_V6;
	if (level < LEVEL_EVERYBODY)
		key.remote = *ends->remote;
	if (level < LEVEL_HOST)
		key.rport = ends->rport;
	return key;
}

/**
 * flow_find() - the consumer that an arrived packet is for
 * @netns: where it arrived
 * @pkt: packet that pkt_parse() has passed, no later fragment
 * @port: set to the entry of its local port, or NULL when nobody has that
 *
 * Return: the most specific flow, or NULL.
 */
struct flow *flow_find(const struct netns *netns, const struct pkt *pkt, const struct port **port)
{
	const struct ends ends = ends_received(netns, pkt);
	int address = netns_row(netns, ends.local);
	uint64_t exact = 0;
	unsigned left;

	*port = NULL;
	if (address < 0 || ends.class < 0)
		return NULL;
	*port = ports_find(&netns->shard.ports, (unsigned)address, (unsigned)ends.class, ends.lport);
	if (*port && address >= STEER_ADDRESSES_MAX)
		exact = exacts_find(&netns->shard.exacts, ends.local);
	for (left = *port ? (*port)->levels & PORT_LEVELS : 0; left; left &= left - 1) {
		struct flowkey key = key_at(&ends, (*port)->slice, address, exact, (unsigned)__builtin_ctz(left));
		struct flow *flow = flowtab_find(&netns->shard.flows, &key);

		if (flow && flow->state == FLOW_OPEN)
			return flow;
	}
	return NULL;
}
