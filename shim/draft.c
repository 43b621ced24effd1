/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * draft.c: a configuration that is still being told (priv.h, BEGIN to COMMIT)
 *
 * Records are collected aside and change nothing. Each is checked against the
 * bounds of what it goes into; one that does not fit, or names a netns or
 * slice that was not told before it, makes no sense, and the caller ends the
 * process. The fds of what the relay has already (same index, same serial) are
 * closed at once, so that a reload needs few.
 */
#include "draft.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

/**
 * slice_of() - the slice that a record adds to
 * @draft: draft
 * @number: of the slice
 *
 * Return: its configuration, or NULL.
 */
static struct slice_conf *slice_of(struct draft *draft, uint32_t number)
{
	return number < STEER_SLICES_MAX && draft->slice[number] ? &draft->slice[number]->conf : NULL;
}

/**
 * draft_netns() - there is a netns
 * @draft: draft
 * @world: what the relay has
 * @record: netns
 * @fd: packet TUN, `traffic` map, link TAP, `link_traffic` map; taken over when the answer is true
 *
 * Return: whether it makes sense
 */
bool draft_netns(struct draft *draft, const struct world *world, const struct priv_netns *record,
		 int fd[PRIV_NETNS_FDS])
{
	const struct netns *old;
	struct draft_netns *netns;
	unsigned i;

	if (record->netns >= PRIV_NETNS_MAX || draft->netns[record->netns].record.header.type ||
	    !memchr(record->name, '\0', sizeof(record->name)))
		return false;
	netns = &draft->netns[record->netns];
	old = world->netns[record->netns];
	netns->record = *record;
	for (i = 0; i < ARRAY_SIZE(netns->fd); i++) {
		if (old && old->record.serial == record->serial)
			close_fd(&fd[i]);
		netns->fd[i] = fd[i];
	}
	return true;
}

/**
 * draft_address() - a netns has an own address, or a proxied prefix
 * @draft: draft
 * @record: address
 *
 * Return: whether it makes sense
 */
bool draft_address(struct draft *draft, const struct priv_address *record)
{
	struct draft_netns *netns;

	if (record->netns >= PRIV_NETNS_MAX)
		return false;
	netns = &draft->netns[record->netns];
	if (!netns->record.header.type || netns->addresses == ARRAY_SIZE(netns->address))
		return false;
	netns->address[netns->addresses++] = *record;
	return true;
}

/**
 * draft_block() - ports of one class can be opened on an address
 * @draft: draft
 * @world: what the relay has
 * @record: block
 * @fd: its part of the `open` map; taken over, whatever the answer
 *
 * Return: whether it makes sense
 */
bool draft_block(struct draft *draft, const struct world *world, const struct priv_block *record, int fd)
{
	struct draft_netns *netns = record->netns < PRIV_NETNS_MAX ? &draft->netns[record->netns] : NULL;
	const struct netns *old = netns ? world->netns[record->netns] : NULL;
	struct steer_open **open;

	if (!netns || !netns->record.header.type || !netns_block_ok(record)) {
		close_fd(&fd);
		return false;
	}
	open = &netns->open[STEER_BLOCK(record->address, record->class)];
	if (*open || (old && old->record.serial == netns->record.serial &&
		      old->open[STEER_BLOCK(record->address, record->class)])) {
		close_fd(&fd);
		return true;
	}
	*open = netns_map_block(fd);
	return *open;
}

/**
 * draft_grant() - protocols without ports have slots
 * @draft: draft
 * @record: run of them
 *
 * Return: whether it makes sense
 */
bool draft_grant(struct draft *draft, const struct priv_grant *record)
{
	if (record->netns >= PRIV_NETNS_MAX || !draft->netns[record->netns].record.header.type)
		return false;
	return slots_add(&draft->netns[record->netns].slots, record);
}

/**
 * stays() - whether the relay has a slice already, in a netns that stays
 * @draft: draft, with all netns told
 * @world: what the relay has
 * @record: slice
 */
static bool stays(const struct draft *draft, const struct world *world, const struct priv_slice *record)
{
	const struct slice *old = world->slice[record->slice];

	if (!old || old->conf.record.serial != record->serial || old->conf.record.netns != record->netns)
		return false;
	return old->netns->record.serial == draft->netns[record->netns].record.serial;
}

/**
 * draft_slice() - there is a slice
 * @draft: draft
 * @world: what the relay has
 * @record: slice
 * @listener: its listening control socket; taken over when the answer is true
 *
 * Return: whether it makes sense
 */
bool draft_slice(struct draft *draft, const struct world *world, const struct priv_slice *record, int *listener)
{
	struct draft_slice *slice;

	if (!record->slice || record->slice >= STEER_SLICES_MAX || draft->slice[record->slice])
		return false;
	if (record->netns >= PRIV_NETNS_MAX || !draft->netns[record->netns].record.header.type ||
	    !memchr(record->name, '\0', sizeof(record->name)) || record->queue_bytes > INT32_MAX)
		return false;
	slice = calloc(1, sizeof(*slice));
	if (!slice)
		return false;
	if (stays(draft, world, record))
		close_fd(listener);
	slice->conf.record = *record;
	slice->listener = *listener;
	draft->slice[record->slice] = slice;
	return true;
}

/**
 * draft_range() - a slice has ports
 * @draft: draft
 * @record: ports
 *
 * Return: whether it makes sense
 */
bool draft_range(struct draft *draft, const struct priv_range *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->ranges == ARRAY_SIZE(conf->range) || record->class >= STEER_PORT_CLASSES ||
	    record->lo > record->hi)
		return false;
	conf->range[conf->ranges++] =
		(struct policy_range){.class = record->class, .lo = record->lo, .hi = record->hi};
	return true;
}

/**
 * draft_slice_grant() - a slice has a protocol, or GRE keys
 * @draft: draft
 * @record: grant
 *
 * Return: whether it makes sense
 */
bool draft_slice_grant(struct draft *draft, const struct priv_slice_grant *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->grants == ARRAY_SIZE(conf->grant) || !policy_grantable(record->protocol) ||
	    record->lo > record->hi)
		return false;
	conf->grant[conf->grants++] =
		(struct policy_grant){.protocol = record->protocol, .lo = record->lo, .hi = record->hi};
	return true;
}

/**
 * draft_slice_address() - a slice may use an address
 * @draft: draft
 * @record: address
 *
 * Return: whether it makes sense
 */
bool draft_slice_address(struct draft *draft, const struct priv_slice_address *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->addresses == ARRAY_SIZE(conf->address))
		return false;
	conf->address[conf->addresses++] = record->addr;
	return true;
}

/**
 * draft_slice_proxied() - a proxied prefix is a slice's
 * @draft: draft
 * @record: prefix
 *
 * Return: whether it makes sense
 */
bool draft_slice_proxied(struct draft *draft, const struct priv_slice_proxied *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->proxied == ARRAY_SIZE(conf->prefix) || !record->len || record->len > 128)
		return false;
	conf->prefix[conf->proxied++] = (struct prefix){.addr = record->addr, .len = record->len};
	return true;
}

/**
 * draft_member() - a user or group may use a slice, or sniff the whole of it
 * @draft: draft
 * @record: who
 *
 * Return: whether it makes sense
 */
bool draft_member(struct draft *draft, const struct priv_member *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->members == ARRAY_SIZE(conf->member))
		return false;
	if (record->kind < PRIV_MEMBER_USER || record->kind > PRIV_MEMBER_SNIFF_GROUP)
		return false;
	conf->member[conf->members++] = (struct member){record->kind, record->id};
	return true;
}

/**
 * draft_peer_netns() - a slice's clients may be in a namespace
 * @draft: draft
 * @record: its cookie
 *
 * Return: whether it makes sense
 */
bool draft_peer_netns(struct draft *draft, const struct priv_peer_netns *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->peers == ARRAY_SIZE(conf->peer))
		return false;
	conf->peer[conf->peers++] = record->cookie;
	return true;
}

/**
 * draft_deny() - a slice may not send to some destinations
 * @draft: draft
 * @record: prefix
 *
 * Return: whether it makes sense
 */
bool draft_deny(struct draft *draft, const struct priv_deny *record)
{
	struct slice_conf *conf = slice_of(draft, record->slice);

	if (!conf || conf->denied == ARRAY_SIZE(conf->deny) || record->len > 128)
		return false;
	conf->deny[conf->denied++] = (struct prefix){.addr = record->addr, .len = record->len};
	return true;
}

/**
 * draft_clear() - an empty draft; fds, blocks and slots must have been taken out of it
 * @draft: draft
 */
void draft_clear(struct draft *draft)
{
	unsigned i;

	for (i = 0; i < STEER_SLICES_MAX; i++)
		free(draft->slice[i]);
	*draft = (struct draft){0};
}
