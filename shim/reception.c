/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reception.c: who comes to a slice's control socket, and who has to leave
 *
 * Everybody may connect. Who may speak to the slice takes one of its places,
 * from the first moment on, so that silent ones are bounded too. Who may not,
 * or is one too many, waits in the lobby until it has said hello and is told
 * so; there it displaces only its like.
 */
#include "reception.h"

#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "identity.h"
#include "request.h"
#include "util.h"

#define ACCEPT_BUDGET 8 /* clients of one slice in one turn */
#define LOBBY_MAX 8     /* refused clients of one slice at once */

/*
 * What SO_SNDBUF is set to. The kernel doubles it to its own minimum, 4,608,
 * and calls a socket writable while at most a quarter of that is unread: less
 * than one struct proto_opened takes with the kernel's bookkeeping.
 */
#define SEND_BUFFER 2304

/**
 * seat() - a new client takes its place, at the table or in the lobby
 * @client: accepted; who it is and whether it may speak is known
 */
static void seat(struct client *client)
{
	struct slice *slice = client->slice;

	if (!client->refusal) {
		slice->served++;
		TAILQ_INSERT_TAIL(&slice->clients, client, link);
		return;
	}
	slice->refused++;
	TAILQ_INSERT_TAIL(&slice->lobby, client, link);
	if (slice->refused > LOBBY_MAX)
		client_close(TAILQ_FIRST(&slice->lobby));
}

/**
 * client_new() - a client has connected
 * @slice: to this one
 * @sock: accepted; taken over
 */
static void client_new(struct slice *slice, int sock)
{
	struct client *client = calloc(1, sizeof(*client));
	int bytes = SEND_BUFFER;

	if (!client || setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) < 0) {
		free(client);
		close_fd(&sock);
		return;
	}
	client->socket = (struct watch){.ready = request_ready, .fd = sock};
	client->slice = slice;
	client->reply_fd = -1;
	client->refusal = identity_check(slice, sock, &client->opener);
	if (!client->refusal && slice->served >= slice->conf.record.clients_max)
		client->refusal = EUSERS;
	seat(client);
	if (!client_watch(client))
		client_close(client);
}

/**
 * reception_ready() - clients wait at a slice's socket
 * @listener: the slice's
 * @events: EPOLL bits
 *
 * When fds are short nobody is accepted until one has been closed.
 */
void reception_ready(struct watch *listener, uint32_t events)
{
	struct slice *slice = container_of(listener, struct slice, listener);
	struct world *world = slice->netns->world;
	unsigned budget;

	(void)events;
	for (budget = ACCEPT_BUDGET; budget; budget--) {
		int sock = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (sock >= 0 && sock < world->fd_ceiling) {
			client_new(slice, sock);
			continue;
		}
		if (sock >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			close_fd(&sock);
			world->accept_paused = true;
			loop_watch(listener, 0);
		}
		return;
	}
}

/**
 * reception_review() - the slice's list has changed: end the conversations of who is not on it any more
 * @slice: slice
 */
void reception_review(struct slice *slice)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(&slice->clients); client; client = next) {
		next = TAILQ_NEXT(client, link);
		if (identity_check(slice, client->socket.fd, &client->opener))
			client_close(client);
	}
}

/**
 * reception_close() - end all conversations about a slice
 * @slice: slice
 */
void reception_close(struct slice *slice)
{
	while (!TAILQ_EMPTY(&slice->clients))
		client_close(TAILQ_FIRST(&slice->clients));
	while (!TAILQ_EMPTY(&slice->lobby))
		client_close(TAILQ_FIRST(&slice->lobby));
}
