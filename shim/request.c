/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.c: what a client asks for (proto.h)
 *
 * Requests are in a table with their exact sizes and the state of the
 * conversation that they are allowed in. Any surprise ends this conversation,
 * and its link, and nothing else.
 *
 * What the relay knows is answered at once. For the rest the monitor is asked,
 * and the client's next request is not read until its answer has come: that to
 * OPEN and LINK by opening.c and linking.c, that to ROUTE and PORT here.
 */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "client.h"
#include "log.h"
#include "msg.h"
#include "query.h"
#include "util.h"

/* A request as received */
union request {
	struct proto_header header;
	struct proto_hello hello;
	struct proto_open open;
	struct proto_route route;
	struct proto_stats stats;
	struct proto_flows flows;
	struct proto_port port;
	struct proto_link link;
	struct proto_links links;
	struct proto_mappings mappings;
	uint8_t bytes[PROTO_MESSAGE_MAX];
};

static struct log_limit surprises, strangers;

/**
 * handle_hello() - HELLO
 * @client: client
 * @request: its request
 */
static void handle_hello(struct client *client, const union request *request)
{
	struct proto_hello_reply *reply = &client->reply.hello;

	client_begin_reply(client, PROTO_HELLO, request->header.id, sizeof(*reply));
	reply->version = PROTO_VERSION;
	if (request->hello.version != PROTO_VERSION)
		reply->error = EPROTO;
	if (client->refusal) {
		reply->error = client->refusal;
		log_limited(&strangers, LOG_NOTICE, "slice %s: uid %u: refused: %s", client->slice->conf.record.name,
			    client->opener.uid, client->refusal == EUSERS ? "too many clients" : "not on the list");
	}
	if (reply->error)
		return;
	snprintf(reply->slice, sizeof(reply->slice), "%s", client->slice->conf.record.name);
	client->state = CLIENT_READY;
}

/**
 * handle_info() - INFO
 * @client: client
 * @request: its request
 */
static void handle_info(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_INFO, request->header.id, sizeof(client->reply.info));
	query_info(client->slice, &client->reply.info);
}

/**
 * handle_stats() - STATS
 * @client: client
 * @request: its request
 */
static void handle_stats(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_STATS, request->header.id, sizeof(client->reply.stats));
	query_stats(client->slice, request->stats.flow, &client->reply.stats);
}

/**
 * handle_flows() - FLOWS
 * @client: client
 * @request: its request
 */
static void handle_flows(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_FLOWS, request->header.id, sizeof(client->reply.flows));
	query_flows(client->slice, request->flows.after, &client->reply.flows);
}

/**
 * handle_netns() - NETNS
 * @client: client
 * @request: its request
 */
static void handle_netns(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_NETNS, request->header.id, sizeof(client->reply.netns));
	if (client->opener.uid == 0)
		query_netns(client->slice->netns, &client->reply.netns);
	else
		client->reply.netns.error = EPERM;
}

/**
 * handle_links() - LINKS
 * @client: client
 * @request: its request
 */
static void handle_links(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_LINKS, request->header.id, sizeof(client->reply.links));
	query_links(client->slice, request->links.after, &client->reply.links);
}

/**
 * handle_mappings() - MAPPINGS
 * @client: client
 * @request: its request
 */
static void handle_mappings(struct client *client, const union request *request)
{
	client_begin_reply(client, PROTO_MAPPINGS, request->header.id, sizeof(client->reply.mappings));
	query_mappings(client->slice, &request->mappings, &client->reply.mappings);
}

/**
 * fill_port() - reply to PORT
 * @client: client
 * @covered: the addresses on which the monitor's sockets hold the port
 */
static void fill_port(struct client *client, uint64_t covered)
{
	client_begin_reply(client, PROTO_PORT, client->request, sizeof(client->reply.port));
	client->state = CLIENT_READY;
	query_port(client->slice, &client->port, covered, &client->reply.port);
}

/**
 * handle_port() - PORT
 * @client: client
 * @request: its request
 */
static void handle_port(struct client *client, const union request *request)
{
	client->port = request->port;
	if (request->port.class >= STEER_PORT_CLASSES) { /* no socket holds it */
		client->request = request->header.id;
		fill_port(client, 0);
		return;
	}
	client->question.message.covered =
		(struct priv_covered){.header = {PRIV_COVERED, sizeof(struct priv_covered)},
				      .netns = client->slice->netns->record.netns,
				      .class = request->port.class,
				      .port = request->port.port};
	client_ask(client, request->header.id);
}

/**
 * request_covered() - the monitor has said where its sockets hold a port: tell who asked
 * @netns: where
 * @covers: the answer
 */
void request_covered(struct netns *netns, const struct priv_covers *covers)
{
	struct client *client, *next;

	for (client = client_next_asking(NULL, PRIV_COVERED); client; client = next) {
		next = client_next_asking(client, PRIV_COVERED);
		if (client->slice->netns != netns || client->port.class != covers->class ||
		    client->port.port != covers->port)
			continue;
		client_stop_asking(client);
		fill_port(client, covers->addresses);
		client_go_on(client);
	}
}

/**
 * fill_route() - reply to ROUTE
 * @client: client
 * @route: what is known
 */
static void fill_route(struct client *client, const struct route *route)
{
	struct proto_route_reply *reply = &client->reply.route;

	client_begin_reply(client, PROTO_ROUTE, client->request, sizeof(*reply));
	client->state = CLIENT_READY;
	reply->error = route->mtu ? 0 : ENETUNREACH;
	reply->mtu = route->mtu;
	reply->source = route->source;
}

/**
 * handle_route() - ROUTE
 * @client: client
 * @request: its request
 */
static void handle_route(struct client *client, const union request *request)
{
	struct netns *netns = client->slice->netns;
	const struct route *route = routes_find(&netns->routes, &request->route.destination);

	client->request = request->header.id;
	if (route) {
		fill_route(client, route);
		return;
	}
	client->question.message.route = (struct priv_route){.header = {PRIV_ROUTE, sizeof(struct priv_route)},
							     .netns = netns->record.netns,
							     .destination = request->route.destination};
	client_ask(client, request->header.id);
}

/**
 * request_routed() - a route is known now: tell who asked for it
 * @netns: where
 * @destination: whereto; it is in the netns's cache
 */
void request_routed(struct netns *netns, const struct addr *destination)
{
	const struct route *route = routes_find(&netns->routes, destination);
	struct client *client, *next;

	for (client = client_next_asking(NULL, PRIV_ROUTE); client; client = next) {
		next = client_next_asking(client, PRIV_ROUTE);
		if (client->slice->netns != netns ||
		    !addr_eq(&client->question.message.route.destination, destination))
			continue;
		client_stop_asking(client);
		fill_route(client, route);
		client_go_on(client);
	}
}

/**
 * fill_opened() - reply to OPEN
 * @client: client
 * @error: errno, or 0 for granted
 */
static void fill_opened(struct client *client, int error)
{
	struct opening *opening = &client->opening;
	struct proto_opened *reply = &client->reply.opened;

	client_begin_reply(client, PROTO_OPEN, client->request, sizeof(*reply));
	client->state = CLIENT_READY;
	reply->error = error;
	if (error) {
		client->slice->refusals++;
		snprintf(reply->text, sizeof(reply->text), "%s", opening->text);
		return;
	}
	client->slice->grants++;
	client->reply_fd = opening->client_fd;
	reply->port = opening->flow->policy.class == CLASS_GRANT ? 0 : opening->flow->policy.lo;
	reply->count = (uint16_t)(opening->flow->policy.hi - opening->flow->policy.lo + 1);
	reply->flow = opening->flow->number;
	reply->local = opening->flow->policy.local;
	opening->flow = NULL; /* from here on it lives as long as its fd */
}

/**
 * opened() - the answer to OPEN is known at once
 * @opening: of the client, which handle_open() was called for
 * @error: errno, or 0 for granted
 */
static void opened(struct opening *opening, int error)
{
	fill_opened(container_of(opening, struct client, opening), error);
}

/**
 * open_answered() - the answer to OPEN is known, because the monitor's has come
 * @opening: of the client
 * @error: errno, or 0 for granted
 */
static void open_answered(struct opening *opening, int error)
{
	struct client *client = container_of(opening, struct client, opening);

	fill_opened(client, error);
	client_go_on(client);
}

/**
 * handle_open() - OPEN
 * @client: client
 * @request: its request
 */
static void handle_open(struct client *client, const union request *request)
{
	client->state = CLIENT_BUSY;
	client->request = request->header.id;
	client->opening.done = opened;
	loop_spend(request->open.count);
	opening_begin(&client->opening, client->slice, &client->opener, &request->open);
	client->opening.done = open_answered;
}

/**
 * fill_link() - reply to LINK
 * @client: client
 * @error: errno, or 0 for granted
 * @text: what was wrong
 */
static void fill_link(struct client *client, int error, const char *text)
{
	struct proto_link_reply *reply = &client->reply.link;

	client_begin_reply(client, PROTO_LINK, client->request, sizeof(*reply));
	client->state = CLIENT_READY;
	reply->error = error;
	if (error) {
		client->slice->refusals++;
		snprintf(reply->text, sizeof(reply->text), "%s", text);
		return;
	}
	client->slice->grants++;
	query_link(client->linked.link, reply);
}

/**
 * linked() - the answer to LINK is known at once
 * @user: of the client, which handle_link() was called for
 * @error: errno; it is a refusal
 * @text: what was wrong
 */
static void linked(struct link_user *user, int error, const char *text)
{
	fill_link(container_of(user, struct client, linked), error, text);
}

/**
 * link_answered() - the answer to LINK is known, because the monitor's has come
 * @user: of the client
 * @error: errno, or 0 for granted
 * @text: what was wrong
 */
static void link_answered(struct link_user *user, int error, const char *text)
{
	struct client *client = container_of(user, struct client, linked);

	fill_link(client, error, text);
	client_go_on(client);
}

/**
 * link_gone() - the client's link has ended, but not by the client: tell it
 * @user: of the client
 * @number: of the link
 */
static void link_gone(struct link_user *user, uint32_t number)
{
	struct client *client = container_of(user, struct client, linked);

	client_tell_one(client, &(struct client_news){.event = PROTO_EVENT_UNLINKED, .flow = number});
}

/**
 * handle_link() - LINK
 * @client: client
 * @request: its request
 */
static void handle_link(struct client *client, const union request *request)
{
	client->state = CLIENT_BUSY;
	client->request = request->header.id;
	client->linked.gone = link_gone;
	client->linked.answered = linked;
	linking_begin(&client->linked, client->slice, &client->opener, &request->link, client->socket.fd);
	client->linked.answered = link_answered;
}

/* Every request there is */
static const struct {
	size_t size;
	enum client_state state; /* the one in which it is allowed */
	void (*handle)(struct client *client, const union request *request);
} requests[PROTO_TYPES] = {
	[PROTO_HELLO] = {sizeof(struct proto_hello), CLIENT_NEW, handle_hello},
	[PROTO_INFO] = {sizeof(struct proto_request), CLIENT_READY, handle_info},
	[PROTO_OPEN] = {sizeof(struct proto_open), CLIENT_READY, handle_open},
	[PROTO_ROUTE] = {sizeof(struct proto_route), CLIENT_READY, handle_route},
	[PROTO_STATS] = {sizeof(struct proto_stats), CLIENT_READY, handle_stats},
	[PROTO_FLOWS] = {sizeof(struct proto_flows), CLIENT_READY, handle_flows},
	[PROTO_PORT] = {sizeof(struct proto_port), CLIENT_READY, handle_port},
	[PROTO_NETNS] = {sizeof(struct proto_request), CLIENT_READY, handle_netns},
	[PROTO_LINK] = {sizeof(struct proto_link), CLIENT_READY, handle_link},
	[PROTO_LINKS] = {sizeof(struct proto_links), CLIENT_READY, handle_links},
	[PROTO_MAPPINGS] = {sizeof(struct proto_mappings), CLIENT_READY, handle_mappings},
};

/**
 * surprise() - what is wrong with a message, before its contents are looked at
 * @client: client
 * @request: message
 * @size: bytes of it
 *
 * Return: NULL when it is right, else a few words.
 */
static const char *surprise(const struct client *client, const union request *request, size_t size)
{
	unsigned type = size < sizeof(request->header) ? 0 : request->header.type;

	if (!type || type >= PROTO_TYPES || !requests[type].handle)
		return "unknown message";
	if (requests[type].state != client->state)
		return "message out of order";
	return size != requests[type].size || request->header.size != size ? "message of a wrong length" : NULL;
}

/**
 * take_request() - read and handle one request
 * @client: client; state is new or ready
 *
 * Return: false when the conversation is over.
 */
static bool take_request(struct client *client)
{
	const char *what = "message that is too long, or brings file descriptors";
	union request request;
	ssize_t n = msg_recv_bare(client->socket.fd, &request, sizeof(request), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n == 0 || (n < 0 && errno != EBADMSG))
		return false;
	if (n > 0)
		what = surprise(client, &request, (size_t)n);
	if (!what) {
		requests[request.header.type].handle(client, &request);
		return true;
	}
	log_limited(&surprises, LOG_NOTICE, "slice %s: uid %u: disconnected: %s", client->slice->conf.record.name,
		    client->opener.uid, what);
	return false;
}

/**
 * must_wait() - whether a client's next request had better wait for the next turn of the loop
 * @client: client
 *
 * Only an OPEN for many ports ever does, or a LINK, which looks at many, so only these are looked for.
 */
static bool must_wait(const struct client *client)
{
	struct proto_open next;
	ssize_t n;

	if (!loop_late(UINT16_MAX))
		return false;
	n = recv(client->socket.fd, &next, sizeof(next), MSG_PEEK | MSG_DONTWAIT);
	if (n == sizeof(struct proto_link) && next.header.type == PROTO_LINK)
		return true;
	return n == sizeof(next) && next.header.type == PROTO_OPEN && loop_late(next.count);
}

/**
 * request_ready() - something happened on a client's socket
 * @socket: the client's
 * @events: EPOLL bits
 */
void request_ready(struct watch *socket, uint32_t events)
{
	struct client *client = container_of(socket, struct client, socket);

	if (events & (EPOLLHUP | EPOLLERR) || (events & EPOLLRDHUP && client->state == CLIENT_BUSY)) {
		client_close(client);
		return;
	}
	if (events & EPOLLOUT)
		client_has_read(client);
	if (events & EPOLLIN && client->state != CLIENT_BUSY && must_wait(client))
		return;
	if (events & EPOLLIN && client->state != CLIENT_BUSY && !take_request(client)) {
		client_close(client);
		return;
	}
	client_go_on(client);
}
