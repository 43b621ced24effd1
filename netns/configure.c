/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * configure.c: telling the relay what there is, and what has changed
 *
 * The whole configuration goes as BEGIN, records, COMMIT (priv.h), every time
 * anew: to a relay that has just been started and after a reload alike.
 *
 * It can be more than the socket takes at once. Then the monitor waits for
 * the relay, which it does nowhere else; meanwhile it keeps steering alive,
 * and it gives up on a relay that takes too long. Single news never wait.
 */
#include "configure.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "enter.h"
#include "log.h"
#include "msg.h"
#include "steering.h"
#include "util.h"

#define ALL_NS (5 * NS_PER_S) /* for a whole configuration */
#define WAIT_MS 500           /* between two signs of life to steering */

/* A configuration on its way */
struct sending {
	int channel;
	const struct picture *picture;
	uint64_t deadline_ns;
};

/**
 * await_room() - wait until the relay has read some of what it was sent
 * @s: the configuration
 *
 * Return: 0, or -1 and errno.
 */
static int await_room(const struct sending *s)
{
	struct pollfd room = {.fd = s->channel, .events = POLLOUT};

	steering_beat();
	if (clock_ns() > s->deadline_ns) {
		errno = ETIMEDOUT;
		return -1;
	}
	return poll(&room, 1, WAIT_MS) < 0 && errno != EINTR ? -1 : 0;
}

/**
 * send_record() - send one record
 * @s: the configuration
 * @type: of the record
 * @record: begins with a struct priv_header, which is filled in
 * @size: bytes
 * @fd: file descriptors that go with it
 * @fds: how many
 *
 * Return: 0, or -1 and errno.
 */
static int send_record(const struct sending *s, enum priv_type type, void *record, size_t size, const int *fd,
		       unsigned fds)
{
	const struct priv_header header = {.type = type, .size = (uint32_t)size};

	memcpy(record, &header, sizeof(header));
	while (msg_send(s->channel, record, size, fd, fds, MSG_DONTWAIT) < 0)
		if (errno != EAGAIN || await_room(s) < 0)
			return -1;
	return 0;
}

/**
 * send_plain() - BEGIN or COMMIT
 * @s: the configuration
 * @type: which
 */
static int send_plain(const struct sending *s, enum priv_type type)
{
	struct priv_plain record = {0};

	return send_record(s, type, &record, sizeof(record), NULL, 0);
}

/**
 * address_record() - what a row is like now
 * @ns: its namespace
 * @index: of the row
 */
static struct priv_address address_record(const struct netns *ns, unsigned index)
{
	return (struct priv_address){
		.netns = ns->index,
		.index = (uint8_t)index,
		.present = ns->address[index].present,
		.len = ns->address[index].len,
		.addr = ns->address[index].addr,
	};
}

/**
 * block_record() - what the relay is told of a block
 * @ns: its namespace
 * @index: of the address
 * @class: of the ports
 */
static struct priv_block block_record(const struct netns *ns, unsigned index, enum steer_class class)
{
	return (struct priv_block){
		.header = {.type = PRIV_BLOCK, .size = sizeof(struct priv_block)},
		.netns = ns->index,
		.address = (uint8_t)index,
		.class = (uint8_t) class,
	};
}

/**
 * send_blocks() - the blocks of a row
 * @s: the configuration
 * @ns: the namespace
 * @index: of the row
 *
 * Return: 0, or -1 and errno.
 */
static int send_blocks(const struct sending *s, const struct netns *ns, unsigned index)
{
	for (enum steer_class class = 0; class < STEER_CLASSES; class ++) {
		struct priv_block record = block_record(ns, index, class);
		int fd = steering_open_fd(ns, index, class);

		if (fd >= 0 && send_record(s, PRIV_BLOCK, &record, sizeof(record), &fd, 1) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_netns() - a namespace, its rows and their blocks
 * @s: the configuration
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int send_netns(const struct sending *s, const struct netns *ns)
{
	struct priv_netns record = {
		.netns = ns->index, .serial = ns->serial, .mtu = ns->mtu, .cookie = netns_cookie(ns)};
	const int fd[PRIV_NETNS_FDS] = {ns->tun_fd, steering_traffic_fd(ns), ns->tap_fd,
					steering_link_traffic_fd(ns)};

	snprintf(record.name, sizeof(record.name), "%s", ns->conf.name);
	if (send_record(s, PRIV_NETNS, &record, sizeof(record), fd, ARRAY_SIZE(fd)) < 0)
		return -1;
	for (unsigned i = 0; i < STEER_ROWS_MAX; i++) {
		struct priv_address address = address_record(ns, i);

		if (netns_has_row(ns, i) && (send_record(s, PRIV_ADDRESS, &address, sizeof(address), NULL, 0) < 0 ||
					     send_blocks(s, ns, i) < 0))
			return -1;
	}
	return 0;
}

/**
 * send_slots() - what stands for protocols without ports
 * @s: the configuration
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int send_slots(const struct sending *s, const struct netns *ns)
{
	struct priv_grant record;

	for (unsigned slot = grants_run(ns, 1, &record); slot; slot = grants_run(ns, slot, &record))
		if (send_record(s, PRIV_GRANT, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	return 0;
}

/**
 * send_members() - users or groups of a slice
 * @s: the configuration
 * @slice: the slice
 * @kind: PRIV_MEMBER_
 * @id: the ids
 * @ids: how many
 *
 * Return: 0, or -1 and errno.
 */
static int send_members(const struct sending *s, const struct conf_slice *slice, uint32_t kind, const uint32_t *id,
			unsigned ids)
{
	for (unsigned i = 0; i < ids; i++) {
		struct priv_member record = {.slice = slice->number, .kind = kind, .id = id[i]};

		if (send_record(s, PRIV_MEMBER, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_all_members() - the slice's lists of users and groups
 * @s: the configuration
 * @slice: the slice
 *
 * Return: 0, or -1 and errno.
 */
static int send_all_members(const struct sending *s, const struct conf_slice *slice)
{
	if (send_members(s, slice, PRIV_MEMBER_USER, slice->user, slice->users) < 0 ||
	    send_members(s, slice, PRIV_MEMBER_GROUP, slice->group, slice->groups) < 0 ||
	    send_members(s, slice, PRIV_MEMBER_SNIFF_USER, slice->sniff_user, slice->sniff_users) < 0)
		return -1;
	return send_members(s, slice, PRIV_MEMBER_SNIFF_GROUP, slice->sniff_group, slice->sniff_groups);
}

/**
 * send_peers() - the namespaces that a slice's clients must be in
 * @s: the configuration
 * @slice: the slice
 *
 * They are looked up now. One that is not there admits nobody.
 *
 * Return: 0, or -1 and errno.
 */
static int send_peers(const struct sending *s, const struct conf_slice *slice)
{
	for (unsigned i = 0; i < slice->peers; i++) {
		struct priv_peer_netns record = {.slice = slice->number};

		if (enter_cookie(slice->peer[i], &record.cookie) < 0)
			log_warn("slice %s: no client can come from %s: %m", slice->name, slice->peer[i]);
		else if (send_record(s, PRIV_PEER_NETNS, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_denied() - a deny-list that a slice is under
 * @s: the configuration
 * @slice: the slice
 * @deny: the prefixes
 * @denied: how many
 *
 * Return: 0, or -1 and errno.
 */
static int send_denied(const struct sending *s, const struct conf_slice *slice, const struct prefix *deny,
		       unsigned denied)
{
	for (unsigned i = 0; i < denied; i++) {
		struct priv_deny record = {.slice = slice->number, .len = deny[i].len, .addr = deny[i].addr};

		if (send_record(s, PRIV_DENY, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_ports() - a slice's port ranges and grants
 * @s: the configuration
 * @slice: the slice
 *
 * Return: 0, or -1 and errno.
 */
static int send_ports(const struct sending *s, const struct conf_slice *slice)
{
	for (unsigned i = 0; i < slice->ranges; i++) {
		const struct policy_range *range = &slice->range[i];
		struct priv_range record = {
			.slice = slice->number, .class = range->class, .lo = range->lo, .hi = range->hi};

		if (send_record(s, PRIV_RANGE, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	for (unsigned i = 0; i < slice->grants; i++) {
		const struct policy_grant *grant = &slice->grant[i];
		struct priv_slice_grant record = {
			.slice = slice->number, .protocol = grant->protocol, .lo = grant->lo, .hi = grant->hi};

		if (send_record(s, PRIV_SLICE_GRANT, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_rows() - a slice's addresses and proxied prefixes
 * @s: the configuration
 * @slice: the slice
 *
 * Return: 0, or -1 and errno.
 */
static int send_rows(const struct sending *s, const struct conf_slice *slice)
{
	for (unsigned i = 0; i < slice->addresses; i++) {
		struct priv_slice_address record = {.slice = slice->number, .addr = slice->address[i]};

		if (send_record(s, PRIV_SLICE_ADDRESS, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	for (unsigned i = 0; i < slice->prefixes; i++) {
		struct priv_slice_proxied record = {
			.slice = slice->number, .len = slice->prefix[i].len, .addr = slice->prefix[i].addr};

		if (send_record(s, PRIV_SLICE_PROXIED, &record, sizeof(record), NULL, 0) < 0)
			return -1;
	}
	return 0;
}

/**
 * send_slice() - a slice and all that belongs to it
 * @s: the configuration
 * @slice: the slice
 * @ns: its namespace
 *
 * Return: 0, or -1 and errno.
 */
static int send_slice(const struct sending *s, const struct conf_slice *slice, const struct netns *ns)
{
	const int fd = control_fd(s->picture->control, slice->name);
	struct priv_slice record = {
		.slice = slice->number,
		.serial = s->picture->slice_serial[slice->number],
		.netns = ns->index,
		.clients_max = slice->clients_max,
		.flows_max = slice->flows_max,
		.queue_bytes = slice->queue_bytes,
		.memory_bytes = slice->memory_bytes,
		.local = slice->local,
		.fragments = slice->fragments,
		.all_addresses = slice->addresses == 0,
		.peer_netns_named = slice->peers != 0,
	};

	snprintf(record.name, sizeof(record.name), "%s", slice->name);
	if (send_record(s, PRIV_SLICE, &record, sizeof(record), &fd, 1) < 0 || send_ports(s, slice) < 0 ||
	    send_rows(s, slice) < 0 || send_all_members(s, slice) < 0 || send_peers(s, slice) < 0 ||
	    send_denied(s, slice, ns->conf.deny, ns->conf.denied) < 0)
		return -1;
	return send_denied(s, slice, slice->deny, slice->denied);
}

/**
 * send_slices() - the slices of a namespace
 * @s: the configuration
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int send_slices(const struct sending *s, const struct netns *ns)
{
	const struct conf *conf = s->picture->conf;

	for (unsigned i = 0; i < conf->slices; i++)
		if (netns_has_slice(ns, conf, &conf->slice[i]) && send_slice(s, &conf->slice[i], ns) < 0)
			return -1;
	return 0;
}

/**
 * configure_relay() - send the relay the whole configuration
 * @channel: to the relay
 * @picture: the configuration
 *
 * Return: 0, or -1 and errno: then the relay has an unfinished one.
 */
int configure_relay(int channel, const struct picture *picture)
{
	const struct sending s = {.channel = channel, .picture = picture, .deadline_ns = clock_ns() + ALL_NS};

	if (send_plain(&s, PRIV_BEGIN) < 0)
		return -1;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (picture->netns[i] &&
		    (send_netns(&s, picture->netns[i]) < 0 || send_slots(&s, picture->netns[i]) < 0))
			return -1;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (picture->netns[i] && send_slices(&s, picture->netns[i]) < 0)
			return -1;
	return send_plain(&s, PRIV_COMMIT);
}

/**
 * configure_address() - tell the relay that an address came or went
 * @channel: to the relay
 * @ns: the namespace
 * @index: of the address
 *
 * Its blocks come first, also those that the relay has, which does no harm.
 *
 * Return: 0, or -1 and errno: EAGAIN when the relay does not read.
 */
int configure_address(int channel, const struct netns *ns, unsigned index)
{
	struct priv_address news = address_record(ns, index);

	for (enum steer_class class = 0; class < STEER_CLASSES; class ++) {
		const struct priv_block block = block_record(ns, index, class);
		const int fd = steering_open_fd(ns, index, class);

		if (fd >= 0 && msg_send(channel, &block, sizeof(block), &fd, 1, MSG_DONTWAIT) < 0)
			return -1;
	}
	news.header = (struct priv_header){.type = PRIV_ADDRESS_NEWS, .size = sizeof(news)};
	return msg_send(channel, &news, sizeof(news), NULL, 0, MSG_DONTWAIT);
}

/**
 * configure_routes() - tell the relay that routes may have changed
 * @channel: to the relay
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno: EAGAIN when the relay does not read.
 */
int configure_routes(int channel, const struct netns *ns)
{
	const struct priv_routes_news news = {
		.header = {.type = PRIV_ROUTES_NEWS, .size = sizeof(news)},
		.netns = ns->index,
		.mtu = ns->mtu,
	};

	return msg_send(channel, &news, sizeof(news), NULL, 0, MSG_DONTWAIT);
}

/**
 * configure_link_gone() - tell the relay that a link is over
 * @channel: to the relay
 * @ns: the namespace
 * @link: its number
 *
 * Return: 0, or -1 and errno: EAGAIN when the relay does not read.
 */
int configure_link_gone(int channel, const struct netns *ns, uint32_t link)
{
	const struct priv_link_end news = {
		.header = {.type = PRIV_LINK_NEWS, .size = sizeof(news)},
		.netns = ns->index,
		.link = link,
	};

	return msg_send(channel, &news, sizeof(news), NULL, 0, MSG_DONTWAIT);
}
