/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit.c: from one configuration to the next, and what follows when addresses come and go
 *
 * A commit happens between two turns of the event loop, so nobody sees a half
 * of it. Packets that steering has taken for flows of the old configuration go
 * to those before anything changes, so that they reach nobody else, whoever gets
 * the ports. What is in the new configuration under the same index and serial is
 * kept and given its new settings; everything else of the old one ends.
 *
 * Then each flow of what was kept is looked at once: what no longer fits is
 * revoked, with an event for the slice's clients; the rest is not touched.
 * Reservations on "any address" first let go of addresses that their slice has
 * lost, all of them, and only then claim those that it has got, so that an
 * address can pass from one slice to another.
 */
#include "commit.h"

#include <errno.h>

#include "client.h"
#include "flow.h"
#include "linking.h"
#include "log.h"
#include "query.h"
#include "receive.h"
#include "reception.h"
#include "send.h"
#include "translate.h"
#include "util.h"

/**
 * revoke() - take a flow back
 * @flow: open flow; freed
 */
static void revoke(struct flow *flow)
{
	struct client_news news = {.event = PROTO_EVENT_REVOKED, .flow = flow->number};
	struct slice *slice = flow->slice;

	send_abandon(flow);
	flow_close(flow);
	client_tell(slice, &news);
}

/**
 * end_slice() - a slice is no more
 * @slice: freed
 */
static void end_slice(struct slice *slice)
{
	uint64_t number = 0;
	struct flow *flow;

	slice->netns->world->slice[slice_number(slice)] = NULL;
	while ((flow = roster_next(&slice->flows, number, &number)))
		revoke(flow);
	reception_close(slice);
	linking_forget(slice);
	counters_add(&slice->netns->past, &slice->counters);
	slice_free(slice);
}

/**
 * log_unknown() - say what arrived for nobody
 * @netns: where
 */
static void log_unknown(const struct netns *netns)
{
	unsigned i;

	for (i = 0; i < VERDICTS_N; i++)
		if (netns->unknown.rx_refused[i])
			log_info("netns %s: %ju packets for no slice: %s", netns->record.name,
				 (uintmax_t)netns->unknown.rx_refused[i], verdict_text((enum verdict)i));
}

/**
 * end_netns() - a netns is detached
 * @netns: freed, with its slices
 */
static void end_netns(struct netns *netns)
{
	netns->gone = true;
	while (!LIST_EMPTY(&netns->slices))
		end_slice(LIST_FIRST(&netns->slices));
	hold_forget(netns);
	linking_forget_netns(netns);
	netns->world->netns[netns->record.netns] = NULL;
	log_unknown(netns);
	netns_free(netns);
}

/**
 * end_old() - end what the new configuration does not have
 * @world: world
 * @draft: new configuration
 */
static void end_old(struct world *world, const struct draft *draft)
{
	unsigned i;

	for (i = 0; i < PRIV_NETNS_MAX; i++) {
		const struct priv_netns *new = &draft->netns[i].record;

		if (world->netns[i] && (!new->header.type || new->serial != world->netns[i]->record.serial))
			end_netns(world->netns[i]);
	}
	for (i = 0; i < STEER_SLICES_MAX; i++) {
		const struct slice *slice = world->slice[i];
		const struct draft_slice *new = draft->slice[i];

		if (slice && (!new || new->conf.record.serial != slice->conf.record.serial ||
			      new->conf.record.netns != slice->conf.record.netns))
			end_slice(world->slice[i]);
	}
}

/**
 * settle_netns() - bring a netns to its new settings, make it if need be
 * @world: world
 * @draft: what it is to be
 *
 * Return: 0, or -1 and errno.
 */
static int settle_netns(struct world *world, const struct draft_netns *draft)
{
	struct netns **netns = &world->netns[draft->record.netns];
	unsigned i;

	if (!*netns)
		*netns = netns_new(world, &draft->record, draft->fd, receive_ready, translate_ready);
	if (!*netns)
		return -1;
	(*netns)->record = draft->record;
	routes_flush(&(*netns)->routes);
	for (i = 0; i < STEER_BLOCKS; i++)
		if (draft->open[i])
			(*netns)->open[i] = draft->open[i];
	slots_free(&(*netns)->slots);
	(*netns)->slots = draft->slots;
	slots_sort(&(*netns)->slots);
	netns_forget_proxied(*netns);
	for (i = 0; i < draft->addresses; i++)
		if (!netns_set_address(*netns, &draft->address[i])) {
			errno = EINVAL;
			return -1;
		}
	return 0;
}

/**
 * settle_slice() - bring a slice to its new settings, make it if need be
 * @world: world
 * @draft: what it is to be
 *
 * Return: 0, or -1 and errno.
 */
static int settle_slice(struct world *world, const struct draft_slice *draft)
{
	struct slice **slice = &world->slice[draft->conf.record.slice];
	struct netns *netns = world->netns[draft->conf.record.netns];

	if (*slice) {
		(*slice)->conf = draft->conf;
		slice_refresh(*slice);
		return 0;
	}
	*slice = slice_new(netns, &draft->conf, draft->listener, reception_ready);
	return *slice ? 0 : -1;
}

/**
 * refit_holds() - let the reservations of flows and links follow their slice's addresses
 * @slice: slice
 * @refit: hold_reduce() or hold_extend()
 */
static void refit_holds(struct slice *slice, void (*refit)(struct hold *hold))
{
	uint64_t number = 0;
	struct flow *flow;

	while ((flow = roster_next(&slice->flows, number, &number)))
		if (flow->hold)
			refit(flow->hold);
	link_refit(slice, refit);
}

/**
 * review_slice() - end what no longer fits a slice, and let go of lost addresses
 * @slice: slice
 */
static void review_slice(struct slice *slice)
{
	uint64_t number = 0;
	struct flow *flow;

	reception_review(slice);
	while ((flow = roster_next(&slice->flows, number, &number)))
		if (!flow_fits(flow))
			revoke(flow);
	link_review(slice);
	refit_holds(slice, hold_reduce);
}

/**
 * commit_draft() - make a draft the configuration
 * @world: world
 * @draft: cleared, whatever the answer
 *
 * Return: 0, or -1 and errno; the world is no whole one then.
 */
int commit_draft(struct world *world, struct draft *draft)
{
	int result = 0;
	unsigned i;

	for (i = 0; i < PRIV_NETNS_MAX; i++)
		if (world->netns[i])
			receive_all(world->netns[i]);
	end_old(world, draft);
	for (i = 0; i < PRIV_NETNS_MAX && result == 0; i++)
		if (draft->netns[i].record.header.type)
			result = settle_netns(world, &draft->netns[i]);
	for (i = 0; i < STEER_SLICES_MAX && result == 0; i++)
		if (draft->slice[i])
			result = settle_slice(world, draft->slice[i]);
	draft_clear(draft);
	if (result < 0)
		return -1;
	for (i = 0; i < STEER_SLICES_MAX; i++)
		if (world->slice[i])
			review_slice(world->slice[i]);
	for (i = 0; i < STEER_SLICES_MAX; i++)
		if (world->slice[i])
			refit_holds(world->slice[i], hold_extend);
	return 0;
}

/**
 * commit_block() - ports of one class can be opened on an address from now on
 * @world: world
 * @record: block
 * @fd: its part of the `open` map; taken over, whatever the answer
 *
 * Return: whether it makes sense
 */
bool commit_block(struct world *world, const struct priv_block *record, int fd)
{
	struct netns *netns = record->netns < PRIV_NETNS_MAX ? world->netns[record->netns] : NULL;
	struct steer_open **open;

	if (!netns || !netns_block_ok(record)) {
		close_fd(&fd);
		return false;
	}
	open = &netns->open[STEER_BLOCK(record->address, record->class)];
	if (*open)
		close_fd(&fd);
	else
		*open = netns_map_block(fd);
	return *open;
}

/**
 * commit_address() - an own address of a netns came or went
 * @world: world
 * @news: what the monitor said
 *
 * Return: whether it makes sense
 */
bool commit_address(struct world *world, const struct priv_address *news)
{
	struct client_news tell = {.addr = &news->addr};
	struct netns *netns = news->netns < PRIV_NETNS_MAX ? world->netns[news->netns] : NULL;
	struct slice *slice;

	if (!netns || !netns_set_address(netns, news))
		return false;
	routes_flush(&netns->routes);
	tell.event = news->present ? PROTO_EVENT_ADDRESS_BACK : PROTO_EVENT_ADDRESS_GONE;
	LIST_FOREACH(slice, &netns->slices, link) {
		slice_refresh(slice);
		refit_holds(slice, hold_extend);
		if (slice->owned & 1ULL << news->index)
			client_tell(slice, &tell);
	}
	return true;
}

/**
 * commit_routes() - routes of a netns have changed
 * @world: world
 * @news: what the monitor said
 *
 * Return: whether it makes sense
 */
bool commit_routes(struct world *world, const struct priv_routes_news *news)
{
	struct client_news tell = {.event = PROTO_EVENT_ROUTES};
	struct netns *netns = news->netns < PRIV_NETNS_MAX ? world->netns[news->netns] : NULL;
	struct slice *slice;

	if (!netns)
		return false;
	netns->record.mtu = news->mtu;
	routes_flush(&netns->routes);
	LIST_FOREACH(slice, &netns->slices, link) {
		client_tell(slice, &tell);
	}
	return true;
}

/**
 * commit_shutdown() - everything is about to end: say so
 * @world: world
 */
void commit_shutdown(struct world *world)
{
	struct client_news tell = {.event = PROTO_EVENT_SHUTDOWN};
	unsigned i;

	for (i = 0; i < STEER_SLICES_MAX; i++)
		if (world->slice[i])
			client_tell(world->slice[i], &tell);
	for (i = 0; i < PRIV_NETNS_MAX; i++)
		if (world->netns[i])
			log_unknown(world->netns[i]);
}
