/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.c: one client's conversation (proto.h)
 *
 * What is said to a client, and when. Its requests are handled one at a time
 * (request.c), and the next only when every earlier reply has been read, which
 * the kernel tells: the socket's send buffer is so small that one unread struct
 * proto_opened makes it unwritable. So a client has at most one fd in flight,
 * and cannot make the relay keep anything for it. What the socket is watched for
 * says where it stands:
 *
 *	input     the next request may come
 *	output    a reply, or news, waits until the client has read
 *	hang-up   the monitor is working on its request
 *
 * News (events) is not kept either: what finds no room is lost, and the client
 * is told so when it has read.
 *
 * When a conversation ends, its link does, too; the flows that were opened in it
 * live on, each as long as its fd.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "util.h"

static struct client_list asking = TAILQ_HEAD_INITIALIZER(asking);

/**
 * client_ask() - ask the monitor what a client wants to know
 * @client: client; its question is filled in
 * @id: of the client's request
 */
void client_ask(struct client *client, uint32_t id)
{
	client->state = CLIENT_BUSY;
	client->request = id;
	client->asks = true;
	TAILQ_INSERT_TAIL(&asking, client, asking);
	outbox_send(&client->question);
}

/**
 * client_stop_asking() - the client's question is answered, or of no interest any more
 * @client: client, with or without one
 */
void client_stop_asking(struct client *client)
{
	if (!client->asks)
		return;
	client->asks = false;
	outbox_cancel(&client->question);
	TAILQ_REMOVE(&asking, client, asking);
}

/**
 * client_next_asking() - the next client that asks the monitor a question of some type
 * @client: the one before, or NULL for the first
 * @type: PRIV_ROUTE or PRIV_COVERED
 *
 * Return: the client, or NULL.
 */
struct client *client_next_asking(struct client *client, enum priv_type type)
{
	client = client ? TAILQ_NEXT(client, asking) : TAILQ_FIRST(&asking);
	while (client && client->question.message.header.type != type)
		client = TAILQ_NEXT(client, asking);
	return client;
}

/**
 * client_close() - end a conversation and free it
 * @client: client; its open flows live on
 */
void client_close(struct client *client)
{
	struct slice *slice = client->slice;

	opening_cancel(&client->opening);
	linking_end(&client->linked);
	client_stop_asking(client);
	close_fd(&client->reply_fd);
	loop_close(&client->socket);
	if (client->refusal) {
		TAILQ_REMOVE(&slice->lobby, client, link);
		slice->refused--;
	} else {
		TAILQ_REMOVE(&slice->clients, client, link);
		slice->served--;
	}
	free(client);
	world_fd_closed(slice->netns->world);
}

/**
 * client_begin_reply() - a reply of zeros with its header
 * @client: client
 * @type: enum proto_type
 * @id: of the request
 * @size: of the reply
 */
void client_begin_reply(struct client *client, uint16_t type, uint32_t id, size_t size)
{
	memset(&client->reply, 0, size);
	client->reply.header = (struct proto_header){.type = type, .size = (uint16_t)size, .id = id};
	client->reply_size = size;
}

/**
 * client_watch() - watch the socket for what comes next
 * @client: client
 *
 * Return: false when epoll refuses.
 */
bool client_watch(struct client *client)
{
	uint32_t events = EPOLLIN;

	if (client->reply_size || client->unread || client->missed)
		events = EPOLLOUT;
	else if (client->state == CLIENT_BUSY)
		events = EPOLLRDHUP;
	return loop_watch(&client->socket, events) == 0;
}

/**
 * send_reply() - send the reply that waits
 * @client: client
 *
 * Return: false when the conversation is over: the client is gone, or was refused and knows it.
 */
static bool send_reply(struct client *client)
{
	bool fd = client->reply_fd >= 0;

	if (!client->reply_size)
		return true;
	if (msg_send(client->socket.fd, &client->reply, client->reply_size, &client->reply_fd, fd, MSG_DONTWAIT) <
	    0) {
		if (!fd || errno != ETOOMANYREFS)
			return errno == EAGAIN;
		close_fd(&client->reply_fd); /* which ends the flow */
		client->reply.opened.error = ENFILE;
		return send_reply(client);
	}
	client->reply_size = 0;
	client->unread = true;
	close_fd(&client->reply_fd);
	world_fd_closed(client->slice->netns->world);
	return !client->refusal;
}

/**
 * client_go_on() - send what waits and watch for what comes next, or close
 * @client: client; freed when the conversation is over
 */
void client_go_on(struct client *client)
{
	if (!send_reply(client) || !client_watch(client))
		client_close(client);
}

/**
 * send_news() - send an event, if the client has room for it
 * @client: client
 * @news: event
 */
static void send_news(struct client *client, const struct client_news *news)
{
	struct proto_event event = {
		.header = {.type = PROTO_EVENT, .size = sizeof(event)}, .event = news->event, .flow = news->flow};

	if (news->addr)
		event.addr = *news->addr;
	if (client->missed || msg_send(client->socket.fd, &event, sizeof(event), NULL, 0, MSG_DONTWAIT) < 0)
		client->missed = true;
}

/**
 * client_has_read() - the socket has room again, as every reply has been read
 * @client: client
 */
void client_has_read(struct client *client)
{
	client->unread = false;
	if (!client->reply_size && client->missed) {
		client->missed = false;
		send_news(client, &(struct client_news){.event = PROTO_EVENT_MISSED});
	}
}

/**
 * client_tell_one() - tell a client some news
 * @client: client; freed when the conversation is over
 * @news: event
 */
void client_tell_one(struct client *client, const struct client_news *news)
{
	send_news(client, news);
	if (!client_watch(client))
		client_close(client);
}

/**
 * client_tell() - tell all clients of a slice some news
 * @slice: slice
 * @news: event
 */
void client_tell(struct slice *slice, const struct client_news *news)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(&slice->clients); client; client = next) {
		next = TAILQ_NEXT(client, link);
		if (client->state != CLIENT_NEW)
			client_tell_one(client, news);
	}
}
