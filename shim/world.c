/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.c: the namespaces and slices that the relay serves
 *
 * Data and its derivation. A netns has the maps that it shares with steering,
 * its own addresses, and one shard of flow state; a slice has what the monitor
 * said of it (conf) and what follows from that and the present addresses
 * (policy, owned), which slice_refresh() works out again whenever either
 * changes. How the world changes from one configuration to the next is in
 * commit.c.
 *
 * Addresses are known by steering's row, which never changes while the netns is
 * attached; sets of rows are 64-bit masks. A proxied prefix has a row as an own
 * address has. An own address is found first: where a packet is for one, prefixes
 * cost nothing.
 */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util.h"

static_assert(STEER_ROWS_MAX == 64, "a set of rows is a uint64_t");

#define TRAFFIC_BYTES (sizeof(struct steer_traffic) * STEER_SLICES_MAX)
#define LINK_TRAFFIC_BYTES (sizeof(struct steer_link_traffic) * STEER_LINKS_MAX)

/**
 * map_shared() - map what is shared with steering
 * @fd: map; closed, whatever the answer: a mapping cannot be used for bpf(2)
 * @bytes: size
 * @protection: PROT_
 *
 * Return: the mapping, or NULL and errno.
 */
static void *map_shared(int fd, size_t bytes, int protection)
{
	void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	close_fd(&fd);
	return at == MAP_FAILED ? NULL : at;
}

/**
 * netns_new() - a netns without addresses and slices
 * @world: where it belongs
 * @record: what the monitor said
 * @fd: packet TUN, `traffic` map, link TAP, `link_traffic` map; taken over, whatever the answer
 * @tun_ready: called when the packet TUN can be read
 * @tap_ready: called when the link TAP can be read
 *
 * Return: the netns, or NULL and errno.
 */
struct netns *netns_new(struct world *world, const struct priv_netns *record, const int fd[PRIV_NETNS_FDS],
			watch_fn *tun_ready, watch_fn *tap_ready)
{
	struct netns *netns = calloc(1, sizeof(*netns));

	if (!netns) {
		for (unsigned i = 0; i < PRIV_NETNS_FDS; i++)
			close_fd(&(int){fd[i]});
		errno = ENOMEM;
		return NULL;
	}
	netns->world = world;
	netns->record = *record;
	netns->tun = (struct watch){.ready = tun_ready, .fd = fd[0]};
	netns->tap = (struct watch){.ready = tap_ready, .fd = fd[2]};
	netns->traffic = map_shared(fd[1], TRAFFIC_BYTES, PROT_READ | PROT_WRITE);
	netns->link_traffic = map_shared(fd[3], LINK_TRAFFIC_BYTES, PROT_READ);
	LIST_INIT(&netns->slices);
	routes_init(&netns->routes);
	fragments_init(&netns->shard.fragments);
	if (!netns->traffic || !netns->link_traffic || flowtab_init(&netns->shard.flows) < 0 ||
	    flowtab_init(&netns->shard.holds) < 0 || flowtab_init(&netns->shard.readers) < 0 ||
	    flowtab_init(&netns->shard.exacts.tab) < 0 || loop_watch(&netns->tun, EPOLLIN) < 0 ||
	    loop_watch(&netns->tap, EPOLLIN) < 0) {
		netns_free(netns);
		return NULL;
	}
	return netns;
}

/**
 * netns_free() - let go of a netns that has no slices (any more)
 * @netns: netns; errno stays as it was
 */
void netns_free(struct netns *netns)
{
	int saved = errno;
	unsigned i;

	loop_close(&netns->tun);
	loop_close(&netns->tap);
	flowtab_free(&netns->shard.flows);
	flowtab_free(&netns->shard.holds);
	flowtab_free(&netns->shard.readers);
	flowtab_free(&netns->shard.exacts.tab);
	ports_free(&netns->shard.ports);
	slots_free(&netns->slots);
	for (i = 0; i < STEER_BLOCKS; i++)
		if (netns->open[i])
			munmap(netns->open[i], sizeof(*netns->open[i]));
	if (netns->traffic)
		munmap(netns->traffic, TRAFFIC_BYTES);
	if (netns->link_traffic)
		munmap(netns->link_traffic, LINK_TRAFFIC_BYTES);
	free(netns);
	errno = saved;
}

/**
 * netns_block_ok() - whether a block that the monitor tells of can be
 * @record: what it said
 */
bool netns_block_ok(const struct priv_block *record)
{
	return record->address < STEER_ROWS_MAX && record->class < STEER_CLASSES;
}

/**
 * netns_map_block() - map a block of the `open` map
 * @fd: block; closed, whatever the answer
 *
 * Return: the mapping, or NULL and errno.
 */
struct steer_open *netns_map_block(int fd)
{
	return map_shared(fd, sizeof(struct steer_open), PROT_READ | PROT_WRITE);
}

/**
 * row_fits() - whether a row may be what the monitor says
 * @set: of the netns
 * @record: what the monitor said
 */
static bool row_fits(const struct address_set *set, const struct priv_address *record)
{
	const struct prefix said = {.addr = record->addr, .len = record->len};
	bool known;

	if (record->index >= STEER_ROWS_MAX || addr_is_any(&said.addr) || !said.len || said.len > 128)
		return false;
	known = set->known & 1ULL << record->index;
	if (record->index < STEER_ADDRESSES_MAX)
		return said.len == 128 && (!known || addr_eq(&set->addr[record->index], &said.addr));
	return !known || prefix_eq(&set->prefix[record->index - STEER_ADDRESSES_MAX], &said);
}

/**
 * netns_set_address() - an own address, or a proxied prefix, came, went or came back
 * @netns: netns
 * @record: what the monitor said
 *
 * slice_refresh() every slice of the netns afterwards.
 *
 * Return: false when there is no such row or it has been another's.
 */
bool netns_set_address(struct netns *netns, const struct priv_address *record)
{
	struct address_set *set = &netns->addresses;
	uint64_t bit;

	if (!row_fits(set, record))
		return false;
	bit = 1ULL << record->index;
	if (record->index < STEER_ADDRESSES_MAX)
		set->addr[record->index] = record->addr;
	else
		set->prefix[record->index - STEER_ADDRESSES_MAX] =
			(struct prefix){.addr = record->addr, .len = record->len};
	set->known |= bit;
	set->present = record->present ? set->present | bit : set->present & ~bit;
	if (addr_family(&record->addr) == AF_INET)
		set->v4 |= bit;
	return true;
}

/**
 * netns_forget_proxied() - no prefix is proxied, until the monitor says so again
 * @netns: netns
 */
void netns_forget_proxied(struct netns *netns)
{
	netns->addresses.present &= WORLD_OWN_ROWS;
}

/**
 * netns_row() - the row of an own address, or of the proxied prefix that an address is in
 * @netns: netns
 * @addr: address
 *
 * Return: the row, or -1. At STEER_ADDRESSES_MAX begin those of prefixes.
 */
int netns_row(const struct netns *netns, const struct addr *addr)
{
	const struct address_set *set = &netns->addresses;
	uint64_t left;

	for (left = set->known & WORLD_OWN_ROWS; left; left &= left - 1)
		if (addr_eq(&set->addr[__builtin_ctzll(left)], addr))
			return __builtin_ctzll(left);
	for (left = set->present & ~WORLD_OWN_ROWS; left; left &= left - 1)
		if (prefix_contains(&set->prefix[__builtin_ctzll(left) - STEER_ADDRESSES_MAX], addr))
			return __builtin_ctzll(left);
	return -1;
}

/**
 * netns_family() - the own addresses of a family, present or not
 * @netns: netns
 * @family: AF_INET, AF_INET6, AF_UNSPEC for both
 *
 * Return: set of rows
 */
uint64_t netns_family(const struct netns *netns, int family)
{
	const struct address_set *set = &netns->addresses;
	uint64_t own = set->known & WORLD_OWN_ROWS;

	if (family == AF_UNSPEC)
		return own;
	return family == AF_INET ? own & set->v4 : own & ~set->v4;
}

/**
 * slice_new() - a slice without clients and flows
 * @netns: where it belongs
 * @conf: what the monitor said
 * @listener: its listening control socket; taken over, whatever the answer
 * @accept_ready: called when a client waits on it
 *
 * Return: the slice, or NULL and errno.
 */
struct slice *slice_new(struct netns *netns, const struct slice_conf *conf, int listener, watch_fn *accept_ready)
{
	struct slice *slice = calloc(1, sizeof(*slice));

	if (!slice) {
		close_fd(&listener);
		return NULL;
	}
	slice->netns = netns;
	slice->conf = *conf;
	slice->listener = (struct watch){.ready = accept_ready, .fd = listener};
	TAILQ_INIT(&slice->clients);
	TAILQ_INIT(&slice->lobby);
	random_bytes(&slice->ip_id, sizeof(slice->ip_id));
	fragments_init(&slice->sent);
	memcpy(slice->dropped, netns->traffic[slice_number(slice)].dropped, sizeof(slice->dropped));
	LIST_INSERT_HEAD(&netns->slices, slice, link);
	slice_refresh(slice);
	if (loop_watch(&slice->listener, EPOLLIN) < 0) {
		slice_free(slice);
		return NULL;
	}
	return slice;
}

/**
 * slice_free() - let go of a slice that has neither clients nor flows (any more)
 * @slice: slice; errno stays as it was
 */
void slice_free(struct slice *slice)
{
	int saved = errno;

	LIST_REMOVE(slice, link);
	loop_close(&slice->listener);
	roster_free(&slice->flows);
	free(slice);
	errno = saved;
}

/**
 * configured() - whether a slice's configuration covers an address
 * @conf: configuration
 * @addr: address
 */
static bool configured(const struct slice_conf *conf, const struct addr *addr)
{
	unsigned i;

	for (i = 0; i < conf->addresses; i++)
		if (addr_eq(&conf->address[i], addr))
			return true;
	return conf->record.all_addresses;
}

/**
 * is_proxied_for() - whether a slice's configuration has a proxied prefix
 * @conf: configuration
 * @prefix: prefix
 */
static bool is_proxied_for(const struct slice_conf *conf, const struct prefix *prefix)
{
	unsigned i;

	for (i = 0; i < conf->proxied; i++)
		if (prefix_eq(&conf->prefix[i], prefix))
			return true;
	return false;
}

/**
 * refresh_proxied() - work out again which prefixes are a slice's
 * @slice: slice
 */
static void refresh_proxied(struct slice *slice)
{
	const struct address_set *set = &slice->netns->addresses;
	struct policy_slice *policy = &slice->policy;
	uint64_t left;

	policy->proxied = 0;
	for (left = set->present & ~WORLD_OWN_ROWS; left; left &= left - 1) {
		const struct prefix *prefix = &set->prefix[__builtin_ctzll(left) - STEER_ADDRESSES_MAX];

		if (!is_proxied_for(&slice->conf, prefix))
			continue;
		slice->owned |= left & -left;
		policy->prefix[policy->proxied++] = *prefix;
	}
}

/**
 * slice_refresh() - work out again what follows from configuration and addresses
 * @slice: slice
 */
void slice_refresh(struct slice *slice)
{
	const struct address_set *set = &slice->netns->addresses;
	struct policy_slice *policy = &slice->policy;
	uint64_t left;

	policy->fragments = slice->conf.record.fragments;
	policy->ranges = slice->conf.ranges;
	memcpy(policy->range, slice->conf.range, sizeof(policy->range));
	policy->grants = slice->conf.grants;
	memcpy(policy->grant, slice->conf.grant, sizeof(policy->grant));
	policy->denied = slice->conf.denied;
	memcpy(policy->deny, slice->conf.deny, sizeof(policy->deny));
	policy->addresses = 0;
	slice->owned = 0;
	for (left = set->known & WORLD_OWN_ROWS; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		if (!configured(&slice->conf, &set->addr[i]))
			continue;
		slice->owned |= 1ULL << i;
		if (set->present & 1ULL << i)
			policy->address[policy->addresses++] = set->addr[i];
	}
	refresh_proxied(slice);
}

/**
 * slice_number() - a slice's number, in messages and in steering's maps
 * @slice: slice
 */
unsigned slice_number(const struct slice *slice)
{
	return slice->conf.record.slice;
}

/**
 * slice_has_member() - whether a user or group is on a slice's list
 * @slice: slice
 * @member: who
 */
bool slice_has_member(const struct slice *slice, struct member member)
{
	unsigned i;

	for (i = 0; i < slice->conf.members; i++)
		if (slice->conf.member[i].kind == member.kind && slice->conf.member[i].id == member.id)
			return true;
	return false;
}

/**
 * world_fd_closed() - there is an fd again: go on accepting, where that was paused
 * @world: world
 */
void world_fd_closed(struct world *world)
{
	unsigned i;

	if (!world->accept_paused)
		return;
	world->accept_paused = false;
	for (i = 0; i < STEER_SLICES_MAX; i++)
		if (world->slice[i])
			loop_watch(&world->slice[i]->listener, EPOLLIN);
}
