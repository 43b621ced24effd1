/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.h: one client's conversation (proto.h)
 */
#ifndef SAFERAW_CLIENT_H
#define SAFERAW_CLIENT_H

#include "linking.h"
#include "opening.h"
#include "outbox.h"
#include "proto.h"
#include "world.h"

enum client_state {
	CLIENT_NEW,   /* has not said hello */
	CLIENT_READY, /* may send requests */
	CLIENT_BUSY,  /* the monitor is working on its request */
};

struct client {
	struct watch socket;
	TAILQ_ENTRY(client) link; /* of the slice's clients, or of its lobby */
	struct slice *slice;
	struct opener opener;
	int refusal;   /* errno for the reply to its hello; not 0: it is in the lobby */
	uint8_t state; /* enum client_state */
	bool unread;   /* a reply was sent, and the socket not found writable since */
	bool missed;   /* news was lost */
	struct opening opening;
	struct link_user linked;     /* its link, if it has one */
	TAILQ_ENTRY(client) asking; /* of those that have asked the monitor something */
	struct outgoing question;   /* PRIV_ROUTE or PRIV_COVERED */
	bool asks;                  /* the question goes on */
	struct proto_port port;     /* what PRIV_COVERED is for */
	uint32_t request;            /* id of the request that the monitor is working on */
	size_t reply_size;           /* of a reply that waits to be sent; 0: none */
	int reply_fd;                /* goes along with it */
	union {
		struct proto_header header;
		struct proto_hello_reply hello;
		struct proto_info_reply info;
		struct proto_opened opened;
		struct proto_route_reply route;
		struct proto_stats_reply stats;
		struct proto_flows_reply flows;
		struct proto_port_reply port;
		struct proto_netns_reply netns;
		struct proto_link_reply link;
		struct proto_links_reply links;
		struct proto_mappings_reply mappings;
	} reply;
};

/* What clients are told of their own accord; flow and address are 0 and NULL where they mean nothing */
struct client_news {
	uint32_t event; /* PROTO_EVENT_ */
	uint64_t flow;
	const struct addr *addr;
};

void client_ask(struct client *client, uint32_t id);
void client_stop_asking(struct client *client);
struct client *client_next_asking(struct client *client, enum priv_type type);
void client_begin_reply(struct client *client, uint16_t type, uint32_t id, size_t size);
void client_go_on(struct client *client);
bool client_watch(struct client *client);
void client_has_read(struct client *client);
void client_tell_one(struct client *client, const struct client_news *news);
void client_tell(struct slice *slice, const struct client_news *news);
void client_close(struct client *client);

#endif
