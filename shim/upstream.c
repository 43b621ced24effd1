/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream.c: what the monitor says (priv.h)
 *
 * A table of messages with their exact sizes, fds and the state that they are
 * allowed in. The monitor does not make mistakes that the relay could go on
 * with: at any surprise, and when the channel closes, the process ends. Every
 * client then finds its flows at their end, steering lets go of their ports,
 * and the monitor starts another relay.
 */
#include "upstream.h"

#include <errno.h>
#include <stdlib.h>

#include "commit.h"
#include "draft.h"
#include "hold.h"
#include "linking.h"
#include "log.h"
#include "msg.h"
#include "outbox.h"
#include "request.h"
#include "send.h"
#include "util.h"

#define BUDGET 64 /* messages in one turn */

static struct {
	struct watch channel;
	struct world *world;
	struct draft draft;
	struct outgoing ready;
	bool committed; /* once */
} upstream;

/* A message as received */
union message {
	struct priv_header header;
	struct priv_netns netns;
	struct priv_address address;
	struct priv_slice slice;
	struct priv_range range;
	struct priv_slice_address slice_address;
	struct priv_member member;
	struct priv_peer_netns peer_netns;
	struct priv_deny deny;
	struct priv_routes_news routes_news;
	struct priv_reserved reserved;
	struct priv_routed routed;
	struct priv_covers covers;
	struct priv_linked linked;
	struct priv_link_end link_end;
	struct priv_block block;
	struct priv_grant grant;
	struct priv_slice_grant slice_grant;
	struct priv_slice_proxied slice_proxied;
	uint8_t bytes[PRIV_MESSAGE_MAX];
};

/**
 * take_begin() - BEGIN
 * @message: message
 * @fd: none
 *
 * Return: as of all these functions, whether the message makes sense
 */
static bool take_begin(const union message *message, int *fd)
{
	(void)message;
	(void)fd;
	upstream.draft.begun = true;
	return true;
}

/**
 * take_netns() - NETNS
 * @message: message
 * @fd: four, taken over
 */
static bool take_netns(const union message *message, int *fd)
{
	return draft_netns(&upstream.draft, upstream.world, &message->netns, fd);
}

/**
 * take_address() - ADDRESS
 * @message: message
 * @fd: none
 */
static bool take_address(const union message *message, int *fd)
{
	(void)fd;
	return draft_address(&upstream.draft, &message->address);
}

/**
 * take_block() - BLOCK
 * @message: message
 * @fd: one, taken over
 */
static bool take_block(const union message *message, int *fd)
{
	if (upstream.draft.begun)
		return draft_block(&upstream.draft, upstream.world, &message->block, *fd);
	return commit_block(upstream.world, &message->block, *fd);
}

/**
 * take_grant() - GRANT
 * @message: message
 * @fd: none
 */
static bool take_grant(const union message *message, int *fd)
{
	(void)fd;
	return draft_grant(&upstream.draft, &message->grant);
}

/**
 * take_slice_grant() - SLICE_GRANT
 * @message: message
 * @fd: none
 */
static bool take_slice_grant(const union message *message, int *fd)
{
	(void)fd;
	return draft_slice_grant(&upstream.draft, &message->slice_grant);
}

/**
 * take_slice() - SLICE
 * @message: message
 * @fd: one, taken over
 */
static bool take_slice(const union message *message, int *fd)
{
	return draft_slice(&upstream.draft, upstream.world, &message->slice, fd);
}

/**
 * take_range() - RANGE
 * @message: message
 * @fd: none
 */
static bool take_range(const union message *message, int *fd)
{
	(void)fd;
	return draft_range(&upstream.draft, &message->range);
}

/**
 * take_slice_address() - SLICE_ADDRESS
 * @message: message
 * @fd: none
 */
static bool take_slice_address(const union message *message, int *fd)
{
	(void)fd;
	return draft_slice_address(&upstream.draft, &message->slice_address);
}

/**
 * take_slice_proxied() - SLICE_PROXIED
 * @message: message
 * @fd: none
 */
static bool take_slice_proxied(const union message *message, int *fd)
{
	(void)fd;
	return draft_slice_proxied(&upstream.draft, &message->slice_proxied);
}

/**
 * take_member() - MEMBER
 * @message: message
 * @fd: none
 */
static bool take_member(const union message *message, int *fd)
{
	(void)fd;
	return draft_member(&upstream.draft, &message->member);
}

/**
 * take_peer_netns() - PEER_NETNS
 * @message: message
 * @fd: none
 */
static bool take_peer_netns(const union message *message, int *fd)
{
	(void)fd;
	return draft_peer_netns(&upstream.draft, &message->peer_netns);
}

/**
 * take_deny() - DENY
 * @message: message
 * @fd: none
 */
static bool take_deny(const union message *message, int *fd)
{
	(void)fd;
	return draft_deny(&upstream.draft, &message->deny);
}

/**
 * take_commit() - COMMIT; the first one is answered by READY
 * @message: message
 * @fd: none
 */
static bool take_commit(const union message *message, int *fd)
{
	(void)message;
	(void)fd;
	if (commit_draft(upstream.world, &upstream.draft) < 0)
		log_fatal("cannot apply the configuration: %m");
	if (upstream.committed)
		return true;
	upstream.committed = true;
	upstream.ready.message.plain = (struct priv_plain){.header = {PRIV_READY, sizeof(struct priv_plain)}};
	outbox_send(&upstream.ready);
	return true;
}

/**
 * take_address_news() - ADDRESS_NEWS
 * @message: message
 * @fd: none
 */
static bool take_address_news(const union message *message, int *fd)
{
	(void)fd;
	return commit_address(upstream.world, &message->address);
}

/**
 * take_routes_news() - ROUTES_NEWS
 * @message: message
 * @fd: none
 */
static bool take_routes_news(const union message *message, int *fd)
{
	(void)fd;
	return commit_routes(upstream.world, &message->routes_news);
}

/**
 * take_shutdown() - SHUTDOWN; does not return
 * @message: message
 * @fd: none
 */
static bool take_shutdown(const union message *message, int *fd)
{
	(void)message;
	(void)fd;
	commit_shutdown(upstream.world);
	exit(EXIT_SUCCESS);
}

/**
 * take_reserved() - RESERVED
 * @message: message
 * @fd: none
 */
static bool take_reserved(const union message *message, int *fd)
{
	(void)fd;
	hold_answer(&message->reserved);
	return true;
}

/**
 * take_routed() - ROUTED
 * @message: message
 * @fd: none
 *
 * An answer about a netns that was detached meanwhile is for nobody.
 */
static bool take_routed(const union message *message, int *fd)
{
	const struct priv_routed *routed = &message->routed;
	struct netns *netns;

	(void)fd;
	if (routed->netns >= PRIV_NETNS_MAX)
		return false;
	netns = upstream.world->netns[routed->netns];
	if (!netns)
		return true;
	routes_learn(&netns->routes, &routed->destination, &routed->source, routed->error ? 0 : routed->mtu);
	send_routed(netns, &routed->destination);
	request_routed(netns, &routed->destination);
	return true;
}

/**
 * take_covers() - COVERS
 * @message: message
 * @fd: none
 *
 * An answer about a netns that was detached meanwhile is for nobody.
 */
static bool take_covers(const union message *message, int *fd)
{
	const struct priv_covers *covers = &message->covers;

	(void)fd;
	if (covers->netns >= PRIV_NETNS_MAX)
		return false;
	if (upstream.world->netns[covers->netns])
		request_covered(upstream.world->netns[covers->netns], covers);
	return true;
}

/**
 * take_linked() - LINKED
 * @message: message
 * @fd: none
 */
static bool take_linked(const union message *message, int *fd)
{
	(void)fd;
	linking_answer(&message->linked);
	return true;
}

/**
 * take_link_news() - LINK_NEWS
 * @message: message
 * @fd: none
 *
 * News of a netns that was detached meanwhile, or of a link that has ended, is for nobody.
 */
static bool take_link_news(const union message *message, int *fd)
{
	const struct priv_link_end *end = &message->link_end;

	(void)fd;
	if (end->netns >= PRIV_NETNS_MAX || end->link >= STEER_LINKS_MAX)
		return false;
	if (upstream.world->netns[end->netns])
		link_device_gone(upstream.world->netns[end->netns], end->link);
	return true;
}

#define ALWAYS 0      /* allowed at any time */
#define TELLING 1     /* between BEGIN and COMMIT */
#define NOT_TELLING 2 /* outside of that */

/* Every message that the monitor sends */
static const struct {
	size_t size;
	unsigned fds;
	int when;
	bool (*take)(const union message *message, int *fd);
} messages[PRIV_TYPES] = {
	[PRIV_BEGIN] = {sizeof(struct priv_plain), 0, NOT_TELLING, take_begin},
	[PRIV_NETNS] = {sizeof(struct priv_netns), PRIV_NETNS_FDS, TELLING, take_netns},
	[PRIV_ADDRESS] = {sizeof(struct priv_address), 0, TELLING, take_address},
	[PRIV_SLICE] = {sizeof(struct priv_slice), 1, TELLING, take_slice},
	[PRIV_RANGE] = {sizeof(struct priv_range), 0, TELLING, take_range},
	[PRIV_SLICE_ADDRESS] = {sizeof(struct priv_slice_address), 0, TELLING, take_slice_address},
	[PRIV_MEMBER] = {sizeof(struct priv_member), 0, TELLING, take_member},
	[PRIV_PEER_NETNS] = {sizeof(struct priv_peer_netns), 0, TELLING, take_peer_netns},
	[PRIV_DENY] = {sizeof(struct priv_deny), 0, TELLING, take_deny},
	[PRIV_COMMIT] = {sizeof(struct priv_plain), 0, TELLING, take_commit},
	[PRIV_ADDRESS_NEWS] = {sizeof(struct priv_address), 0, NOT_TELLING, take_address_news},
	[PRIV_ROUTES_NEWS] = {sizeof(struct priv_routes_news), 0, NOT_TELLING, take_routes_news},
	[PRIV_SHUTDOWN] = {sizeof(struct priv_plain), 0, ALWAYS, take_shutdown},
	[PRIV_RESERVED] = {sizeof(struct priv_reserved), 0, ALWAYS, take_reserved},
	[PRIV_ROUTED] = {sizeof(struct priv_routed), 0, ALWAYS, take_routed},
	[PRIV_COVERS] = {sizeof(struct priv_covers), 0, ALWAYS, take_covers},
	[PRIV_LINKED] = {sizeof(struct priv_linked), 0, ALWAYS, take_linked},
	[PRIV_LINK_NEWS] = {sizeof(struct priv_link_end), 0, ALWAYS, take_link_news},
	[PRIV_BLOCK] = {sizeof(struct priv_block), 1, ALWAYS, take_block},
	[PRIV_GRANT] = {sizeof(struct priv_grant), 0, TELLING, take_grant},
	[PRIV_SLICE_GRANT] = {sizeof(struct priv_slice_grant), 0, TELLING, take_slice_grant},
	[PRIV_SLICE_PROXIED] = {sizeof(struct priv_slice_proxied), 0, TELLING, take_slice_proxied},
};

/**
 * dispatch() - check one message against the table and act on it
 * @message: message
 * @msg: how it came
 *
 * Return: whether it makes sense
 */
static bool dispatch(const union message *message, struct msg *msg)
{
	unsigned type = msg->size < sizeof(message->header) ? 0 : message->header.type;

	if (!type || type >= PRIV_TYPES || !messages[type].take)
		return false;
	if (msg->size != messages[type].size || message->header.size != msg->size || msg->fds != messages[type].fds)
		return false;
	if (messages[type].when != ALWAYS && upstream.draft.begun != (messages[type].when == TELLING))
		return false;
	return messages[type].take(message, msg->fd);
}

/**
 * channel_ready() - the monitor has said something, or can hear again
 * @channel: watch
 * @events: EPOLL bits
 */
static void channel_ready(struct watch *channel, uint32_t events)
{
	union message message;
	struct msg msg;
	unsigned budget;
	ssize_t n;

	if (events & EPOLLOUT)
		outbox_flush();
	for (budget = BUDGET; budget; budget--) {
		n = msg_recv(channel->fd, &message, sizeof(message), &msg, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n == 0)
			log_fatal("the monitor is gone");
		if (n < 0)
			log_fatal("the monitor's channel is broken: %m");
		if (!dispatch(&message, &msg))
			log_fatal("the monitor says what makes no sense: message type %u of %zu bytes with %u fds",
				  msg.size < sizeof(message.header) ? 0 : message.header.type, msg.size, msg.fds);
	}
}

/**
 * upstream_open() - begin to listen to the monitor
 * @world: configured by it
 * @channel: socket
 *
 * Return: 0, or -1 and errno.
 */
int upstream_open(struct world *world, int channel)
{
	upstream.world = world;
	upstream.channel = (struct watch){.ready = channel_ready, .fd = channel};
	outbox_init(&upstream.channel);
	return loop_watch(&upstream.channel, EPOLLIN);
}
