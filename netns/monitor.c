/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor.c: what the relay may ask of the monitor, and what it is told
 *
 * The relay handles bytes from clients and from the wire, so the monitor
 * takes it for taken over. It may ask for what is in the table of requests, in
 * messages of exactly that size and with exactly so many file descriptors, and
 * every number in them is checked against the configuration (claim.c) before
 * anything is done with it; a link has rules of its own (link_request.c). A
 * sound relay asks for nothing else; so whatever else comes is logged, and the
 * relay is killed and started again.
 *
 * One thing excuses a request that the configuration does not cover: a reload
 * that the relay had not heard of when it asked. For a while after a reload
 * such a request is refused, not punished.
 *
 * Nothing here waits for the relay. Its replies fit a large socket buffer; a
 * relay that lets it fill up is taken for hung and killed too.
 */
#include "monitor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "claim.h"
#include "link.h"
#include "link_request.h"
#include "msg.h"
#include "permit.h"
#include "reserve.h"
#include "steering.h"
#include "tun.h"
#include "uplink.h"
#include "util.h"

#define BATCH 64                  /* requests in a row, before other work gets its turn */
#define TURN_NS (20 * NS_PER_MS)  /* the same: a request for many ports can take longer than this */
#define EXCUSE_NS (10 * NS_PER_S) /* how long the relay may not have heard of a reload */

/* Any request */
union request {
	struct priv_header header;
	struct priv_plain plain;
	struct priv_reserve reserve;
	struct priv_release release;
	struct priv_route route;
	struct priv_covered covered;
	struct priv_link link;
	struct priv_link_end unlink;
	char room[PRIV_MESSAGE_MAX];
};

#define PORTS_TEXT_MAX 32

/**
 * excused() - whether a reload may have crossed a request
 * @m: the monitor
 */
static bool excused(const struct monitor *m)
{
	return m->reloaded_ns && clock_ns() - m->reloaded_ns < EXCUSE_NS;
}

/**
 * reply() - answer the relay
 * @m: the monitor
 * @message: the answer
 * @size: bytes
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *reply(const struct monitor *m, const void *message, size_t size)
{
	if (msg_send(m->relay.channel, message, size, NULL, 0, MSG_DONTWAIT) == 0 || errno == EPIPE ||
	    errno == ECONNRESET)
		return NULL;
	return "it does not read its replies";
}

/**
 * ports_text() - ports in words
 * @ns: their namespace
 * @claim: the ports
 * @text: filled in: "tcp 40000-40009", "gre 1000"
 */
static void ports_text(const struct netns *ns, const struct priv_claim *claim, char text[static PORTS_TEXT_MAX])
{
	const char *class = policy_class_name((enum steer_class)claim->class);

	if (claim->class == CLASS_GRANT)
		grants_text(ns, claim->lo, text);
	else if (claim->lo == claim->hi)
		snprintf(text, PORTS_TEXT_MAX, "%s %u", class, claim->lo);
	else
		snprintf(text, PORTS_TEXT_MAX, "%s %u-%u", class, claim->lo, claim->hi);
}

/**
 * row_text() - an own address or a proxied prefix in words
 * @row: which
 * @text: filled in
 */
static void row_text(const struct netns_address *row, char text[static ADDR_TEXT_MAX])
{
	const struct prefix prefix = netns_prefix(row);

	if (row->len == 128)
		addr_text(&row->addr, text);
	else
		prefix_text(&prefix, text);
}

/**
 * log_reservation() - one line for each grant and refusal
 * @m: the monitor
 * @slice: whose
 * @claim: the ports
 * @error: errno, or 0 for a grant
 * @port: which was in the way
 */
static void log_reservation(struct monitor *m, const struct conf_slice *slice, const struct priv_claim *claim,
			    int error, uint16_t port)
{
	char address[ADDR_TEXT_MAX] = "any address", ports[PORTS_TEXT_MAX];
	struct log_limit *limit = &m->slice_limit[slice->number];

	if (claim->address != PRIV_ANY_ADDRESS)
		row_text(&m->netns[claim->netns]->address[claim->address], address);
	ports_text(m->netns[claim->netns], claim, ports);
	if (!error)
		log_limited(limit, LOG_INFO, "slice %s: uid %u gets %s on %s", slice->name, claim->uid, ports,
			    address);
	else
		log_limited(limit, LOG_NOTICE, "slice %s: uid %u does not get %s on %s: %u: %s", slice->name,
			    claim->uid, ports, address, port, strerror(error));
}

/**
 * on_ready() - PRIV_READY
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_ready(struct monitor *m, const union request *request, const int *fd)
{
	(void)request;
	(void)fd;
	m->relay.ready = true;
	log_info("relay: ready");
	return NULL;
}

/**
 * on_reserve() - PRIV_RESERVE
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_reserve(struct monitor *m, const union request *request, const int *fd)
{
	const struct priv_reserve *r = &request->reserve;
	const struct priv_claim *claim = &r->claim;
	struct priv_reserved answer = {
		.header = {.type = PRIV_RESERVED, .size = sizeof(answer)},
		.cookie = r->cookie,
		.port = claim->lo,
	};
	const struct conf_slice *slice = NULL;
	const char *fault = claim_form_fault(claim);

	(void)fd;
	if (fault)
		return fault;
	fault = claim_fault(claim, m->conf, m->netns, &slice);
	if (fault && !excused(m))
		return fault;
	if (fault)
		answer.error = EACCES;
	else if (reserve_acquire(m->netns[claim->netns], slice, claim, &answer.port) < 0)
		answer.error = errno;
	if (!fault)
		log_reservation(m, slice, claim, answer.error, answer.port);
	return reply(m, &answer, sizeof(answer));
}

/**
 * on_release() - PRIV_RELEASE
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_release(struct monitor *m, const union request *request, const int *fd)
{
	const struct priv_claim *claim = &request->release.claim;
	const char *fault = claim_form_fault(claim);

	(void)fd;
	if (fault)
		return fault;
	if (!m->netns[claim->netns])
		return excused(m) ? NULL : "netns is not attached";
	if (reserve_release(m->netns[claim->netns], claim, m->conf->quarantine_ms) == 0 || excused(m))
		return NULL;
	return "it releases what it does not hold";
}

/**
 * on_route() - PRIV_ROUTE
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_route(struct monitor *m, const union request *request, const int *fd)
{
	const struct priv_route *r = &request->route;
	struct priv_routed answer = {
		.header = {.type = PRIV_ROUTED, .size = sizeof(answer)},
		.netns = r->netns,
		.destination = r->destination,
	};

	(void)fd;
	if (r->netns >= PRIV_NETNS_MAX)
		return "no such netns";
	if (!m->netns[r->netns] && !excused(m))
		return "netns is not attached";
	if (!m->netns[r->netns] || uplink_route(m->netns[r->netns], &r->destination, &answer.source, &answer.mtu) < 0)
		answer.error = ENETUNREACH;
	return reply(m, &answer, sizeof(answer));
}

/**
 * on_covered() - PRIV_COVERED
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_covered(struct monitor *m, const union request *request, const int *fd)
{
	const struct priv_covered *r = &request->covered;
	struct priv_covers answer = {
		.header = {.type = PRIV_COVERS, .size = sizeof(answer)},
		.netns = r->netns,
		.class = r->class,
		.port = r->port,
	};

	(void)fd;
	if (r->netns >= PRIV_NETNS_MAX)
		return "no such netns";
	if (r->class >= STEER_CLASSES)
		return "no such protocol class";
	if (!m->netns[r->netns] && !excused(m))
		return "netns is not attached";
	if (m->netns[r->netns])
		answer.addresses = reserve_covered(m->netns[r->netns], r->class, r->port);
	return reply(m, &answer, sizeof(answer));
}

/**
 * on_link() - PRIV_LINK
 * @m: the monitor
 * @request: the message
 * @fd: the client's control socket
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_link(struct monitor *m, const union request *request, const int *fd)
{
	const struct link_request asked = {
		.message = &request->link,
		.sock = fd[0],
		.conf = m->conf,
		.netns = m->netns,
		.limit = m->slice_limit,
		.excused = excused(m),
	};
	struct priv_linked answer = {.header = {.type = PRIV_LINKED, .size = sizeof(answer)}};
	const char *fault = link_request(&asked, &answer);

	return fault ? fault : reply(m, &answer, sizeof(answer));
}

/**
 * on_unlink() - PRIV_UNLINK
 * @m: the monitor
 * @request: the message
 * @fd: what came with it
 *
 * A link may have ended by itself before the relay said so.
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *on_unlink(struct monitor *m, const union request *request, const int *fd)
{
	const struct priv_link_end *r = &request->unlink;

	(void)fd;
	if (r->netns >= PRIV_NETNS_MAX)
		return "no such netns";
	if (!r->link || r->link >= STEER_LINKS_MAX)
		return "no such link";
	if (!m->netns[r->netns])
		return excused(m) ? NULL : "netns is not attached";
	link_end(m->netns[r->netns], r->link, m->conf->quarantine_ms);
	return NULL;
}

/* Everything that a relay may say; only READY comes before READY */
static const struct {
	uint32_t type;
	size_t size;
	unsigned fds;
	const char *(*handler)(struct monitor *m, const union request *request, const int *fd);
	const char *name;
} requests[] = {
	{PRIV_READY, sizeof(struct priv_plain), 0, on_ready, "READY"},
	{PRIV_RESERVE, sizeof(struct priv_reserve), 0, on_reserve, "RESERVE"},
	{PRIV_RELEASE, sizeof(struct priv_release), 0, on_release, "RELEASE"},
	{PRIV_ROUTE, sizeof(struct priv_route), 0, on_route, "ROUTE"},
	{PRIV_COVERED, sizeof(struct priv_covered), 0, on_covered, "COVERED"},
	{PRIV_LINK, sizeof(struct priv_link), 1, on_link, "LINK"},
	{PRIV_UNLINK, sizeof(struct priv_link_end), 0, on_unlink, "UNLINK"},
};

/**
 * serve() - judge one message and do what it asks
 * @m: the monitor
 * @request: the message
 * @msg: how it came
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *serve(struct monitor *m, const union request *request, const struct msg *msg)
{
	if (msg->size < sizeof(request->header))
		return "it has no header";
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (requests[i].type != request->header.type)
			continue;
		if (msg->size != requests[i].size || request->header.size != msg->size)
			return "wrong size";
		if (msg->fds != requests[i].fds)
			return msg->fds ? "it brings file descriptors" : "it lacks a file descriptor";
		if (m->relay.ready == (requests[i].type == PRIV_READY))
			return "wrong time";
		return requests[i].handler(m, request, msg->fd);
	}
	return "unknown type";
}

/**
 * type_name() - what a message is called
 * @type: of the message
 */
static const char *type_name(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (requests[i].type == type)
			return requests[i].name;
	return "message";
}

/**
 * monitor_requests() - take the relay's requests
 * @m: the monitor; its relay is killed when anything surprises
 *
 * Clients decide how many ports a request is for, so a turn ends by the clock
 * too: in between the monitor must show steering that it lives.
 */
void monitor_requests(struct monitor *m)
{
	union request request = {0};
	const char *fault = NULL;
	struct msg msg;
	ssize_t n = 1;
	uint64_t end = clock_ns() + TURN_NS;

	for (unsigned i = 0; i < BATCH && !fault && n > 0 && (i == 0 || clock_ns() < end); i++) {
		n = msg_recv(m->relay.channel, &request, sizeof(request), &msg, MSG_DONTWAIT);
		if (n > 0)
			fault = serve(m, &request, &msg);
		else if (n < 0 && errno == EBADMSG)
			fault = "its message is too long, or brings too much along";
		else if (n == 0 || errno != EAGAIN)
			fault = "it has closed its channel";
		msg_close_fds(&msg);
	}
	if (!fault)
		return;
	log_error("relay: killed: %s%s%s", n > 0 ? type_name(request.header.type) : "", n > 0 ? ": " : "", fault);
	relay_kill(&m->relay);
}

/**
 * told_or_kill() - a relay that could not be told something is hung or gone
 * @m: the monitor
 * @result: of telling it
 */
static void told_or_kill(struct monitor *m, int result)
{
	if (result == 0)
		return;
	log_error("relay: killed: cannot tell it the news: %m");
	relay_kill(&m->relay);
}

/**
 * monitor_attached() - a namespace was attached: its addresses are known to steering
 * @m: the monitor
 * @index: of the namespace
 */
void monitor_attached(struct monitor *m, unsigned index)
{
	const struct netns *ns = m->netns[index];

	m->unread[index] = m->broken[index] = false;
	m->told[index] = 0;
	for (unsigned i = 0; i < ns->addresses; i++)
		m->told[index] |= ns->address[i].present ? 1U << i : 0;
}

/**
 * address_news() - an address came or went
 * @m: the monitor
 * @ns: the namespace
 * @index: of the address
 *
 * Steering knows first, so that the relay opens no port on an address that
 * the kernel still delivers elsewhere.
 */
static void address_news(struct monitor *m, struct netns *ns, unsigned index)
{
	m->told[ns->index] ^= 1U << index;
	if (permit_address(ns, m->conf, index) < 0)
		log_error("%s: cannot tell steering about an address: %m", ns->conf.name);
	if (ns->address[index].present)
		reserve_extend(ns);
	if (m->relay.channel >= 0)
		told_or_kill(m, configure_address(m->relay.channel, ns, index));
}

/**
 * monitor_addresses() - act on addresses that came or went
 * @m: the monitor
 * @index: of the namespace
 */
void monitor_addresses(struct monitor *m, unsigned index)
{
	struct netns *ns = m->netns[index];

	for (unsigned i = 0; i < ns->addresses; i++)
		if (ns->address[i].present != !!(m->told[index] & 1U << i))
			address_news(m, ns, i);
}

/**
 * monitor_links() - end the links that cannot stay, and tell the relay
 * @m: the monitor
 * @index: of the namespace
 */
void monitor_links(struct monitor *m, unsigned index)
{
	struct netns *ns = m->netns[index];
	uint32_t link;

	while ((link = link_next_gone(ns, m->conf->quarantine_ms))) {
		log_limited(&m->limit, LOG_INFO, "%s: link %u is over", ns->conf.name, link);
		if (m->relay.channel >= 0)
			told_or_kill(m, configure_link_gone(m->relay.channel, ns, link));
	}
}

/**
 * monitor_news() - take in what has changed in a namespace
 * @m: the monitor
 * @index: of the namespace
 */
void monitor_news(struct monitor *m, unsigned index)
{
	struct netns *ns = m->netns[index];
	int changed = uplink_read(ns);

	m->unread[index] = changed < 0;
	if (changed < 0) {
		log_limited(&m->limit, LOG_ERR, "%s: cannot read what has changed: %m", ns->conf.name);
		return;
	}
	if (changed & UPLINK_BROKEN && !m->broken[index]) {
		log_error("%s: somebody has removed a device or a filter of ours: attaching anew", ns->conf.name);
		m->broken[index] = true;
	}
	monitor_links(m, index);
	if (changed & UPLINK_ADDRESSES)
		monitor_addresses(m, index);
	if (changed & UPLINK_ROUTES && m->relay.channel >= 0)
		told_or_kill(m, configure_routes(m->relay.channel, ns));
}

/**
 * monitor_tell_all() - send the relay the whole configuration
 * @m: the monitor
 */
void monitor_tell_all(struct monitor *m)
{
	const struct picture picture = {
		.conf = m->conf,
		.netns = m->netns,
		.control = &m->control,
		.slice_serial = m->slice_serial,
	};

	if (m->relay.channel >= 0)
		told_or_kill(m, configure_relay(m->relay.channel, &picture));
}

/**
 * monitor_relay_died() - close what the relay had open, and keep its ports for a while
 * @m: the monitor; its relay has ended
 */
void monitor_relay_died(struct monitor *m)
{
	relay_reap(&m->relay);
	m->reloaded_ns = 0;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++) {
		struct netns *ns = m->netns[i];

		if (!ns)
			continue;
		steering_close_all(ns);
		link_end_all(ns, m->conf->grace_ms);
		reserve_orphan(ns, m->conf->grace_ms);
		if (tun_settle(ns) < 0)
			log_error("%s: cannot put the settings of %s back: %m", ns->conf.name, ns->tun_name);
	}
}
