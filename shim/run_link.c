/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_link.c: a link: asked for, kept up, asked for again
 *
 * The broker puts a device into the network namespace that the control socket
 * was made in, for as long as the conversation lasts; so the socket comes from
 * inside (run_ns_socket()), and is connected here, by the caller's credentials.
 * The link is configured from inside (run_net.c). Nothing is to be done then
 * but wait for the end of the conversation:
 *
 *	the relay is started again     the ports wait for their owner (grace period):
 *	                               a new conversation gets the same block, and the
 *	                               program's connections go on
 *	saferawd ends, and comes back  the same, if nobody was faster; if somebody has the
 *	                               block and the user did not ask for it by number, another block
 *	the device is deleted          the same: by root inside, or outside
 *
 * Meanwhile addresses of the slice come and go, inside as they do outside.
 *
 * So a lost link is asked for again and again, often at first and then every
 * second, until the program ends: it is told of the loss as any program is when
 * a cable is pulled, by errors, and may go on. Losing and finding the link are
 * said once each, unless it is back before anybody would notice.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "run.h"

#define ONCE_NS (50 * NS_PER_MS) /* between two tries while the grace period may last */
#define LATER_NS (1 * NS_PER_S)  /* and then */
#define GRACE_NS (10 * NS_PER_S) /* how long a dead relay's ports wait for their owner */
#define NOTICE_NS (2 * NS_PER_S) /* a link that is back by then is not worth a word */
#define TRY_MS 2000              /* for an answer: signals wait meanwhile */

/**
 * exchange() - ask for the link
 * @link: link
 * @request: what is asked for
 *
 * Return: 0, with the reply in the link; an errno, with its text in the conversation
 */
static int exchange(struct run_link *link, struct proto_link *request)
{
	struct saferaw *saferaw = link->saferaw;
	struct proto_link_reply reply;
	int error = 0;

	if (lib_lock(saferaw) < 0)
		return errno;
	if (lib_exchange(saferaw, request, &reply, sizeof(reply), NULL) < 0) {
		error = errno;
	} else if (reply.error) {
		error = reply.error;
		reply.text[sizeof(reply.text) - 1] = 0;
		lib_fail(saferaw, error, "slice '%s': %s", saferaw->slice,
			 *reply.text ? reply.text : strerror(error));
	} else if (reply.addresses > STEER_ADDRESSES_MAX) {
		error = EPROTO;
		lib_fail(saferaw, error, "slice '%s': the broker sent what is not in the protocol", saferaw->slice);
	} else {
		link->reply = reply;
	}
	lib_unlock(saferaw);
	return error;
}

/**
 * wanted() - the request for a link as the user wants it, or for the block that it had
 * @link: link
 * @again: whether it is for the block that it had
 */
static struct proto_link wanted(const struct run_link *link, bool again)
{
	struct proto_link request = {
		.header = {.type = PROTO_LINK, .size = sizeof(request)},
		.flags = link->wish.flags,
		.count = link->wish.count,
	};
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES; class ++)
		request.port[class] = again ? link->reply.block[class].lo : link->wish.port;
	return request;
}

/**
 * connect_inside() - begin a conversation by a socket of the namespace
 * @link: gets it
 * @wait_ms: for an answer
 * @why: gets the text that says why not
 *
 * Return: whether it worked
 */
static bool connect_inside(struct run_link *link, unsigned wait_ms, char why[static LIB_TEXT_MAX])
{
	int sock = run_ns_socket(&link->ns);

	snprintf(why, LIB_TEXT_MAX, "there is no way in");
	if (sock < 0)
		return false;
	link->saferaw = lib_connect(link->wish.slice, sock, wait_ms);
	if (!link->saferaw)
		snprintf(why, LIB_TEXT_MAX, "%s", saferaw_error(NULL));
	return link->saferaw != NULL;
}

/**
 * run_link_open() - have the link made, and configure it
 * @link: wish and namespaces are set
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_link_open(struct run_link *link)
{
	struct proto_link request = wanted(link, false);
	char why[LIB_TEXT_MAX];

	if (!connect_inside(link, LIB_WAIT_MS, why)) {
		cmd_error("%s", why);
		return false;
	}
	snprintf(link->slice, sizeof(link->slice), "%s", saferaw_slice(link->saferaw));
	if (!link->wish.slice)
		link->wish.slice = link->slice; /* the same one again, whatever slices there will be */
	if (exchange(link, &request)) {
		cmd_error("%s", saferaw_error(link->saferaw));
		return false;
	}
	return run_ns_call(&link->ns, run_net_configure, &link->reply);
}

/**
 * lose() - note that the link is lost
 * @link: link
 */
static void lose(struct run_link *link)
{
	saferaw_disconnect(link->saferaw);
	link->saferaw = NULL;
	link->next_ns = clock_ns();
	if (!link->lost_ns)
		link->lost_ns = link->next_ns;
}

/**
 * try_again() - try to get the link back, in one conversation
 * @link: lost
 * @why: filled in when it is not back
 *
 * Return: whether it is back
 */
static bool try_again(struct run_link *link, char why[static LIB_TEXT_MAX])
{
	struct proto_link request = wanted(link, true);
	int error;

	if (!connect_inside(link, TRY_MS, why))
		return false;
	error = exchange(link, &request);
	if (error == EADDRINUSE && !link->wish.port) {
		request = wanted(link, false);
		error = exchange(link, &request);
	}
	if (error)
		snprintf(why, LIB_TEXT_MAX, "%s", saferaw_error(link->saferaw));
	else if (run_ns_call(&link->ns, run_net_configure, &link->reply))
		return true;
	else
		snprintf(why, LIB_TEXT_MAX, "it cannot be configured");
	return false;
}

/**
 * find() - try to get a lost link back, if it is time
 * @link: lost
 */
static void find(struct run_link *link)
{
	uint64_t now = clock_ns();
	char why[LIB_TEXT_MAX];

	if (now < link->next_ns)
		return;
	if (try_again(link, why)) {
		if (link->said)
			cmd_error("the link is back");
		link->lost_ns = 0;
		link->said = false;
		return;
	}
	lose(link);
	now = clock_ns();
	link->next_ns = now + (now - link->lost_ns < GRACE_NS ? ONCE_NS : LATER_NS);
	if (!link->said && now - link->lost_ns > NOTICE_NS) {
		cmd_error("the link is lost: %s; trying to get it back", why);
		link->said = true;
	}
}

/**
 * run_link_fd() - what to wait on for news of the link
 * @link: link
 *
 * Return: file descriptor; -1 while it is lost
 */
int run_link_fd(const struct run_link *link)
{
	return link->saferaw ? saferaw_fd(link->saferaw) : -1;
}

/**
 * run_link_wait_ms() - how long to wait
 * @link: link
 *
 * Return: milliseconds; -1 as long as it likes
 */
int run_link_wait_ms(const struct run_link *link)
{
	uint64_t now = clock_ns();

	if (link->saferaw)
		return -1;
	return link->next_ns > now ? (int)((link->next_ns - now) / NS_PER_MS) + 1 : 0;
}

/**
 * change_address() - an address of the slice has come or gone: so it does inside
 * @link: link
 * @event: ADDRESS_BACK or ADDRESS_GONE
 */
static void change_address(struct run_link *link, const struct saferaw_event *event)
{
	struct proto_link_reply *reply = &link->reply;
	unsigned i = 0;
	struct addr addr;

	if (!addr_from_sockaddr(&event->address, &addr, NULL))
		return;
	while (i < reply->addresses && !addr_eq(&reply->address[i], &addr))
		i++;
	if (event->type == PROTO_EVENT_ADDRESS_BACK && i == reply->addresses && i < STEER_ADDRESSES_MAX) {
		reply->address[reply->addresses++] = addr;
		run_ns_call(&link->ns, run_net_configure, reply);
	} else if (event->type == PROTO_EVENT_ADDRESS_GONE && i < reply->addresses) {
		reply->address[i] = reply->address[--reply->addresses];
		run_ns_call(&link->ns, run_net_remove, &addr);
	}
}

/**
 * run_link_work() - take in what has come, and what is due
 * @link: link
 */
void run_link_work(struct run_link *link)
{
	struct saferaw_event event;
	int n = 0;

	while (link->saferaw && (n = saferaw_next_event(link->saferaw, &event)) > 0)
		if (event.type == PROTO_EVENT_UNLINKED)
			lose(link);
		else
			change_address(link, &event);
	if (link->saferaw && n < 0)
		lose(link);
	if (!link->saferaw)
		find(link);
}

/**
 * run_link_close() - end the link
 * @link: link; may be open in part
 */
void run_link_close(struct run_link *link)
{
	saferaw_disconnect(link->saferaw);
	link->saferaw = NULL;
	run_ns_close(&link->ns);
}
