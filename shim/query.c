/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * query.c: what a client may know of its slice
 *
 * Each function fills in one reply, all but its header, which is all zeros
 * when it comes here. Nothing of other slices is told, except that a port is
 * not this one's; only query_netns(), whose answer root alone gets, adds them up.
 */
#include "query.h"

#include <errno.h>
#include <string.h>

#include "flow.h"
#include "link.h"

/**
 * query_info() - what the slice may use
 * @slice: slice
 * @reply: filled in
 */
void query_info(const struct slice *slice, struct proto_info_reply *reply)
{
	const struct policy_slice *policy = &slice->policy;
	unsigned i;

	reply->mtu = slice->netns->record.mtu;
	reply->flows = slice->opened;
	reply->flows_max = slice->conf.record.flows_max;
	reply->clients = slice->served;
	reply->clients_max = slice->conf.record.clients_max;
	reply->rights = (uint8_t)((slice->conf.record.local ? PROTO_RIGHT_LOCAL : 0) |
				  (policy->fragments ? PROTO_RIGHT_FRAGMENTS : 0));
	reply->addresses = (uint8_t)policy->addresses;
	reply->ranges = (uint8_t)policy->ranges;
	reply->denied = (uint8_t)policy->denied;
	memcpy(reply->address, policy->address, policy->addresses * sizeof(policy->address[0]));
	for (i = 0; i < policy->ranges; i++)
		reply->range[i] = (struct proto_range){
			.class = policy->range[i].class, .lo = policy->range[i].lo, .hi = policy->range[i].hi};
	reply->grants = policy->grants;
	for (i = 0; i < policy->grants; i++)
		reply->grant[i] = (struct proto_grant){
			.protocol = policy->grant[i].protocol, .lo = policy->grant[i].lo, .hi = policy->grant[i].hi};
	for (i = 0; i < policy->denied; i++)
		reply->deny[i] = (struct proto_prefix){.addr = policy->deny[i].addr, .len = policy->deny[i].len};
	reply->proxied = policy->proxied;
	for (i = 0; i < policy->proxied; i++)
		reply->prefix[i] =
			(struct proto_prefix){.addr = policy->prefix[i].addr, .len = policy->prefix[i].len};
}

/**
 * fill_counters() - counters as they are told
 * @counters: of a flow or a slice
 * @reply: filled in
 */
static void fill_counters(const struct counters *counters, struct proto_stats_reply *reply)
{
	reply->reasons = VERDICTS_N;
	reply->rx_packets = counters->rx_packets;
	reply->rx_bytes = counters->rx_bytes;
	reply->tx_packets = counters->tx_packets;
	reply->tx_bytes = counters->tx_bytes;
	memcpy(reply->rx_refused, counters->rx_refused, sizeof(counters->rx_refused));
	memcpy(reply->tx_refused, counters->tx_refused, sizeof(counters->tx_refused));
}

/**
 * query_stats() - what went through a flow, or through the slice
 * @slice: slice
 * @number: of the flow; 0 for the slice
 * @reply: filled in
 */
void query_stats(const struct slice *slice, uint64_t number, struct proto_stats_reply *reply)
{
	const struct steer_traffic *traffic = &slice->netns->traffic[slice_number(slice)];
	const struct flow *flow;
	struct counters sum;
	unsigned i;

	if (number) {
		flow = roster_find(&slice->flows, number);
		if (flow)
			fill_counters(&flow->counters, reply);
		else
			reply->error = ENOENT;
		return;
	}
	sum = slice->counters;
	link_add_direct(slice, &sum);
	fill_counters(&sum, reply);
	reply->grants = slice->grants;
	reply->refusals = slice->refusals;
	reply->steer_reasons = STEER_REASONS_N;
	for (i = 0; i < STEER_REASONS_N; i++)
		reply->steer[i] = __atomic_load_n(&traffic->dropped[i], __ATOMIC_RELAXED) - slice->dropped[i];
}

/**
 * counters_add() - add counters up
 * @sum: changed
 * @counters: added to it
 */
void counters_add(struct counters *sum, const struct counters *counters)
{
	unsigned i;

	sum->rx_packets += counters->rx_packets;
	sum->rx_bytes += counters->rx_bytes;
	sum->tx_packets += counters->tx_packets;
	sum->tx_bytes += counters->tx_bytes;
	for (i = 0; i < VERDICTS_N; i++) {
		sum->rx_refused[i] += counters->rx_refused[i];
		sum->tx_refused[i] += counters->tx_refused[i];
	}
}

/**
 * add_dropped() - what steering dropped, of one slice's number
 * @sum: gets it added, by reason
 * @traffic: of the number
 */
static void add_dropped(uint64_t sum[static STEER_REASONS_N], const struct steer_traffic *traffic)
{
	unsigned i;

	for (i = 0; i < STEER_REASONS_N; i++)
		sum[i] += __atomic_load_n(&traffic->dropped[i], __ATOMIC_RELAXED);
}

/**
 * query_netns() - what went through a netns, and what belongs to no slice of it
 * @netns: netns
 * @reply: filled in
 */
void query_netns(const struct netns *netns, struct proto_netns_reply *reply)
{
	struct counters sum = netns->past;
	const struct slice *slice;
	unsigned i;

	LIST_FOREACH(slice, &netns->slices, link) {
		counters_add(&sum, &slice->counters);
		link_add_direct(slice, &sum);
	}
	memcpy(reply->name, netns->record.name, sizeof(reply->name));
	reply->reasons = VERDICTS_N;
	reply->steer_reasons = STEER_REASONS_N;
	reply->rx_packets = sum.rx_packets;
	reply->rx_bytes = sum.rx_bytes;
	reply->tx_packets = sum.tx_packets;
	reply->tx_bytes = sum.tx_bytes;
	memcpy(reply->rx_refused, sum.rx_refused, sizeof(sum.rx_refused));
	memcpy(reply->tx_refused, sum.tx_refused, sizeof(sum.tx_refused));
	memcpy(reply->unknown_rx_refused, netns->unknown.rx_refused, sizeof(netns->unknown.rx_refused));
	for (i = 1; i < STEER_SLICES_MAX; i++)
		add_dropped(reply->steer, &netns->traffic[i]);
	add_dropped(reply->unknown_steer, &netns->traffic[0]);
}

/**
 * refused_packets() - all packets of a flow that were refused
 * @counters: of the flow
 */
static uint64_t refused_packets(const struct counters *counters)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < VERDICTS_N; i++)
		sum += counters->rx_refused[i] + counters->tx_refused[i];
	return sum;
}

/**
 * query_flows() - the next flows of the slice
 * @slice: slice
 * @after: flows with higher numbers
 * @reply: filled in
 */
void query_flows(const struct slice *slice, uint64_t after, struct proto_flows_reply *reply)
{
	const struct flow *flow;

	while (reply->rows < PROTO_FLOWS_MAX && (flow = roster_next(&slice->flows, after, &after)))
		reply->row[reply->rows++] = (struct proto_flow_row){
			.flow = flow->number,
			.rx_packets = flow->counters.rx_packets,
			.rx_bytes = flow->counters.rx_bytes,
			.tx_packets = flow->counters.tx_packets,
			.tx_bytes = flow->counters.tx_bytes,
			.refused = refused_packets(&flow->counters),
			.uid = flow->opener.uid,
			.kind = flow->kind,
			.class = flow->policy.class,
			.family = flow->policy.family,
			.flags = flow->flags | (flow->sees_all ? PROTO_FLAG_ALL : 0),
			.port = flow->policy.class == CLASS_GRANT ? 0 : flow->policy.lo,
			.count = (uint16_t)(flow->policy.hi - flow->policy.lo + 1),
			.remote_port = flow->policy.remote_port,
			.dormant = flow_is_dormant(flow),
			.protocol = flow->policy.protocol,
			.key = flow->policy.key,
			.local = flow->policy.local,
			.local_len = flow->policy.local_len,
			.remote = flow->policy.remote,
		};
}

/**
 * asked_addresses() - the addresses that a question about a port is about
 * @slice: slice
 * @ask: question
 *
 * Return: set of rows; none for an address that is not the slice's
 */
static uint64_t asked_addresses(const struct slice *slice, const struct proto_port *ask)
{
	int address = netns_row(slice->netns, &ask->local);

	if (addr_is_any(&ask->local))
		return hold_addresses(slice, PRIV_ANY_ADDRESS, ask->family);
	return address < 0 ? 0 : slice->owned & 1ULL << address;
}

/**
 * query_port() - who has a port
 * @slice: slice
 * @ask: class, port (or protocol and key), and local address or "::"
 * @covered: the addresses on which the monitor's sockets hold it
 * @reply: filled in
 *
 * Without an address, the own one with the most flows on the port is told of. A
 * port in quarantine is told as free and held: when others may have it again,
 * only the monitor knows.
 */
void query_port(const struct slice *slice, const struct proto_port *ask, uint64_t covered,
		struct proto_port_reply *reply)
{
	uint16_t number = ask->port;
	uint64_t left;
	bool ours;

	if (ask->class >= STEER_CLASSES) {
		reply->error = EINVAL;
		return;
	}
	left = asked_addresses(slice, ask);
	reply->netns = slice->netns->record.cookie;
	reply->state = PROTO_PORT_FREE;
	ours = policy_slice_owns(&slice->policy, ask->class, number, number) || left & ~WORLD_OWN_ROWS;
	if (ask->class == CLASS_GRANT) {
		number = ask->port > UINT8_MAX ? 0 : slots_find(&slice->netns->slots, (uint8_t)ask->port, ask->key);
		ours = number && policy_slice_granted(&slice->policy, (uint8_t)ask->port, ask->key);
	}
	if (!ours) {
		reply->state = PROTO_PORT_FOREIGN;
		return;
	}
	reply->held = (covered & left) != 0;
	for (; left; left &= left - 1) {
		const struct port *port =
			ports_find(&slice->netns->shard.ports, (unsigned)__builtin_ctzll(left), ask->class, number);

		if (!port || port->flows < reply->flows)
			continue;
		reply->state = PROTO_PORT_OPEN;
		reply->uid = port->uid;
		reply->flows = port->flows;
	}
}
