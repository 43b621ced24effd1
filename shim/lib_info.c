/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_info.c: what the broker said of the slice, and the check that rests on it
 *
 * saferaw_send() judges a packet by the broker's own code (pkt.c, policy.c)
 * with what the broker said of the slice's addresses, ranges and deny-list.
 * All senders of a handle share it, so it is a snapshot that never changes:
 * lib_learn() puts another in its place, and a sender that finds its own is
 * not the handle's any more takes the lock and changes over. Otherwise a
 * sender takes no lock.
 *
 * The broker's verdict counts, so to let a packet go by old knowledge does no
 * harm; to refuse one by old knowledge would. Therefore a refusal that rests
 * on what was told (and not on the packet or the flow alone) is given only
 * when that is younger than LIB_TRUST_NS and no event says that it is stale;
 * else the broker is asked and the packet judged again. The same holds for the
 * MTU of a route.
 *
 * Where the caller does not want to wait, the broker is not asked: an event
 * makes the library let the broker decide, age alone does not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libsaferaw_int.h"
#include "pkt.h"

/**
 * info_new() - a snapshot of an answer to PROTO_INFO
 * @reply: answer; its counts are checked here
 *
 * Return: the snapshot, with one reference; or NULL and errno, EPROTO or ENOMEM
 */
static struct lib_info *info_new(const struct proto_info_reply *reply)
{
	struct lib_info *info;
	unsigned i;

	if (reply->addresses > STEER_ADDRESSES_MAX || reply->ranges > POLICY_RANGES_MAX ||
	    reply->denied > POLICY_DENY_MAX || reply->grants > POLICY_GRANTS_MAX ||
	    reply->proxied > STEER_PROXIED_MAX) {
		errno = EPROTO;
		return NULL;
	}
	info = calloc(1, sizeof(*info));
	if (!info)
		return NULL;
	info->refs = 1;
	info->mtu = reply->mtu;
	info->slice.fragments = reply->rights & PROTO_RIGHT_FRAGMENTS;
	info->slice.addresses = reply->addresses;
	info->slice.ranges = reply->ranges;
	info->slice.denied = reply->denied;
	memcpy(info->slice.address, reply->address, sizeof(info->slice.address));
	for (i = 0; i < reply->ranges; i++)
		info->slice.range[i] = (struct policy_range){
			.class = reply->range[i].class, .lo = reply->range[i].lo, .hi = reply->range[i].hi};
	info->slice.grants = reply->grants;
	for (i = 0; i < reply->grants; i++)
		info->slice.grant[i] = (struct policy_grant){
			.protocol = reply->grant[i].protocol, .lo = reply->grant[i].lo, .hi = reply->grant[i].hi};
	for (i = 0; i < reply->denied; i++)
		info->slice.deny[i] = (struct prefix){.addr = reply->deny[i].addr, .len = reply->deny[i].len};
	info->slice.proxied = reply->proxied;
	for (i = 0; i < reply->proxied; i++)
		info->slice.prefix[i] = (struct prefix){.addr = reply->prefix[i].addr, .len = reply->prefix[i].len};
	return info;
}

/**
 * lib_info_put() - give a reference back
 * @info: snapshot or NULL; the handle's lock is held, or nobody else has the handle
 */
void lib_info_put(struct lib_info *info)
{
	if (info && !--info->refs)
		free(info);
}

/**
 * lib_learn() - ask the broker about the slice and make it known to senders
 * @saferaw: handle, locked
 *
 * What was known stays when the answer does not come.
 *
 * Return: 0; or -1 and errno
 */
int lib_learn(struct saferaw *saferaw)
{
	struct proto_request request = {.header = {.type = PROTO_INFO, .size = sizeof(request)}};
	struct proto_info_reply reply;
	struct lib_info *info, *old = saferaw->info;

	atomic_store(&saferaw->stale, false); /* before: news during the exchange are about what follows */
	saferaw->info_ns = clock_ns();
	if (lib_exchange(saferaw, &request, &reply, sizeof(reply), NULL) < 0)
		return -1;
	if (reply.error)
		return lib_fail(saferaw, reply.error, "slice '%s': %m", saferaw->slice);
	info = info_new(&reply);
	if (!info)
		return lib_fail(saferaw, errno, "slice '%s': what the broker said of it: %m", saferaw->slice);
	atomic_store(&saferaw->info, info);
	lib_info_put(old);
	return 0;
}

/**
 * lib_info_hold() - make the handle's snapshot the one that a flow's sender uses
 * @flow: flow; the handle's lock is held
 */
void lib_info_hold(struct saferaw_flow *flow)
{
	struct lib_info *old = flow->info;

	flow->info = flow->saferaw->info;
	flow->info->refs++;
	lib_info_put(old);
}

/**
 * renew() - see to it that a flow's sender knows what there is to know
 * @flow: flow
 * @max_age_ns: ask again what is older
 * @ask: whether the broker may be asked
 *
 * Return: whether the sender's knowledge is up to date; when not, the broker
 * could not be asked or gave no answer
 */
static bool renew(struct saferaw_flow *flow, uint64_t max_age_ns, bool ask)
{
	struct saferaw *saferaw = flow->saferaw;
	bool fresh;

	if (lib_lock(saferaw) < 0)
		return true; /* another process: there is nobody who could know more */
	lib_take_events(saferaw);
	fresh = !atomic_load(&saferaw->stale);
	if (ask && (!fresh || clock_ns() - saferaw->info_ns > max_age_ns))
		fresh = !lib_learn(saferaw) || fresh;
	lib_info_hold(flow);
	lib_unlock(saferaw);
	return fresh;
}

/**
 * told() - whether a verdict rests on what the broker said of the slice
 * @verdict: verdict of policy_send()
 */
static bool told(enum verdict verdict)
{
	return verdict == VERDICT_SOURCE || verdict == VERDICT_DENIED || verdict == VERDICT_FRAGMENT;
}

/**
 * find_route() - the MTU of a destination as the sender remembers it
 * @flow: flow
 * @destination: address
 *
 * Return: what was remembered of it since routes changed last, or NULL
 */
static struct lib_route *find_route(struct saferaw_flow *flow, const struct addr *destination)
{
	unsigned routes = atomic_load(&flow->saferaw->routes), i;

	for (i = 0; i < LIB_ROUTES_MAX; i++) {
		struct lib_route *route = &flow->route[i];

		if (route->mtu && route->routes == routes && addr_eq(&route->destination, destination))
			return route;
	}
	return NULL;
}

/**
 * ask_route() - ask the broker about the route of a large packet
 * @flow: flow
 * @pkt: packet
 * @route: what is remembered of the destination, or NULL
 *
 * Return: VERDICT_PASS, also when there is no answer; VERDICT_TOO_BIG, VERDICT_NO_ROUTE
 */
static enum verdict ask_route(struct saferaw_flow *flow, const struct pkt *pkt, struct lib_route *route)
{
	struct proto_route request = {.header = {.type = PROTO_ROUTE, .size = sizeof(request)},
				      .destination = pkt->dst};
	unsigned routes = atomic_load(&flow->saferaw->routes);
	struct proto_route_reply reply;

	if (lib_ask(flow->saferaw, &request, &reply, sizeof(reply)) < 0)
		return errno == ENETUNREACH ? VERDICT_NO_ROUTE : VERDICT_PASS;
	if (!route)
		route = &flow->route[flow->next_route++ % LIB_ROUTES_MAX];
	*route = (struct lib_route){
		.destination = pkt->dst, .routes = routes, .mtu = reply.mtu, .asked_ns = clock_ns()};
	return pkt->len > reply.mtu ? VERDICT_TOO_BIG : VERDICT_PASS;
}

/**
 * check_size() - whether a packet that not every uplink takes fits its route
 * @flow: flow
 * @pkt: packet
 * @ask: whether the broker may be asked
 *
 * Return: VERDICT_PASS, VERDICT_TOO_BIG or VERDICT_NO_ROUTE
 */
static enum verdict check_size(struct saferaw_flow *flow, const struct pkt *pkt, bool ask)
{
	struct lib_route *route = find_route(flow, &pkt->dst);

	if (route && pkt->len <= route->mtu)
		return VERDICT_PASS;
	if (route && (!ask || clock_ns() - route->asked_ns < LIB_TRUST_NS))
		return VERDICT_TOO_BIG;
	return ask ? ask_route(flow, pkt, route) : VERDICT_PASS;
}

/**
 * lib_check() - the verdict on one packet that is to be sent
 * @flow: flow
 * @packet: whole IP packet
 * @length: bytes
 * @ask: whether the broker may be asked
 *
 * Return: VERDICT_PASS or why not
 */
enum verdict lib_check(struct saferaw_flow *flow, const void *packet, size_t length, bool ask)
{
	struct saferaw *saferaw = flow->saferaw;
	enum verdict verdict;
	struct pkt pkt;

	verdict = pkt_parse(&pkt, packet, length, false);
	if (verdict != VERDICT_PASS)
		return verdict;
	if (atomic_load(&saferaw->info) != flow->info || (ask && atomic_load(&saferaw->stale)))
		renew(flow, UINT64_MAX, ask);
	verdict = policy_send(&flow->info->slice, &flow->policy, &pkt);
	if (told(verdict)) {
		if (!renew(flow, LIB_TRUST_NS, ask) && !ask)
			return VERDICT_PASS;
		verdict = policy_send(&flow->info->slice, &flow->policy, &pkt);
	}
	if (verdict != VERDICT_PASS)
		return verdict;
	return pkt.len > flow->info->mtu ? check_size(flow, &pkt, ask) : VERDICT_PASS;
}
