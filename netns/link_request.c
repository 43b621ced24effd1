/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_request.c: the relay's request for a link
 *
 * The relay names the ports and hands over a client's control socket. Each of
 * these must hold before a link is made, and nothing of it is believed:
 *
 *   the ports      are whole blocks, as steering keeps them      block_fault()
 *   the slice      has them by the configuration                 link_fault()
 *   the client     is one of the slice's, by the kernel's word   link_client.c
 *   the client     has those ports by reservations of his uid    holds_block()
 *   the namespace  is the client's own, and none of those that
 *                  are attached                                  link_client.c, is_attached()
 *
 * A client may ask for a link that he cannot have, and is told so; a relay
 * that asks for one which its own books rule out is at fault. So for what the
 * relay knows (the form, the slice's ports, whose they are) the answer is a
 * fault, unless a reload may have crossed the request.
 */
#include "link_request.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "claim.h"
#include "enter.h"
#include "link.h"
#include "link_client.h"
#include "reserve.h"
#include "util.h"

/**
 * block_fault() - what is wrong with the blocks of ports of a link, whatever the configuration
 * @r: the message
 *
 * Return: what is wrong, or NULL.
 */
static const char *block_fault(const struct priv_link *r)
{
	unsigned blocks = 0;

	for (unsigned class = 0; class < STEER_LINK_CLASSES; class ++) {
		unsigned lo = r->lo[class], hi = r->hi[class];

		if (!hi && !lo)
			continue;
		if (lo > hi || lo % STEER_LINK_UNIT || (hi + 1) % STEER_LINK_UNIT)
			return "its ports are no block";
		blocks++;
	}
	if (r->flags & ~STEER_LINK_FLAGS)
		return "unknown flags";
	return blocks ? NULL : "it has no ports";
}

/**
 * link_fault() - what of a well-formed request for a link the configuration does not cover
 * @asked: the request
 * @slice: filled in when it is covered
 *
 * Return: what is wrong, or NULL.
 */
static const char *link_fault(const struct link_request *asked, const struct conf_slice **slice)
{
	const struct priv_link *r = asked->message;
	struct priv_claim claim = {
		.netns = r->netns, .slice = r->slice, .address = PRIV_ANY_ADDRESS, .family = AF_UNSPEC};
	const char *fault = NULL;

	for (unsigned class = 0; !fault && class < STEER_LINK_CLASSES; class ++) {
		claim.class = (uint8_t) class;
		claim.lo = r->lo[class];
		claim.hi = r->hi[class];
		if (claim.hi)
			fault = claim_fault(&claim, asked->conf, asked->netns, slice);
	}
	return fault;
}

/**
 * holds_block() - whether a client has the ports of a link
 * @ns: the namespace
 * @r: the message
 * @uid: of the client
 */
static bool holds_block(const struct netns *ns, const struct priv_link *r, uid_t uid)
{
	for (unsigned class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct policy_range range = {.class = (uint8_t) class, .lo = r->lo[class], .hi = r->hi[class]};

		if (range.hi && !reserve_has(ns, r->slice, uid, &range))
			return false;
	}
	return true;
}

/**
 * is_attached() - whether a network namespace is one of those that are attached
 * @asked: the request
 * @fd: its file
 */
static bool is_attached(const struct link_request *asked, int fd)
{
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (asked->netns[i] && enter_same(asked->netns[i]->fd, fd))
			return true;
	return enter_same(-1, fd);
}

/**
 * log_link() - one line for each link that is made or refused
 * @asked: the request
 * @slice: whose
 * @uid: of the client
 * @answer: what came of it
 */
static void log_link(const struct link_request *asked, const struct conf_slice *slice, uid_t uid,
		     const struct priv_linked *answer)
{
	struct log_limit *limit = &asked->limit[slice->number];

	if (answer->error)
		log_limited(limit, LOG_NOTICE, "slice %s: uid %u gets no link: %s", slice->name, uid,
			    strerror(answer->error));
	else
		log_limited(limit, LOG_INFO, "slice %s: uid %u gets link %u", slice->name, uid, answer->link);
}

/**
 * make() - make a link for the client at the other end of a control socket
 * @asked: the request; the configuration covers it
 * @slice: its slice
 * @answer: its error, link and mtu are filled in
 *
 * What the client is to blame for is an error; the rest is the relay's fault.
 *
 * Return: NULL, or what is wrong with the relay.
 */
static const char *make(const struct link_request *asked, const struct conf_slice *slice, struct priv_linked *answer)
{
	const struct priv_link *r = asked->message;
	struct link_order order = {.slice = slice, .peer = -1, .request = r};
	struct netns *ns = asked->netns[r->netns];
	int error = 0;

	if (link_client(asked->sock, asked->conf, slice, &order.uid) < 0) {
		if (errno == EINVAL)
			return "that is no conversation with the slice";
		error = errno;
	} else if (!holds_block(ns, r, order.uid)) {
		if (!asked->excused)
			return "the client does not hold the ports";
		error = EACCES;
	} else {
		order.peer = link_client_netns(asked->sock, order.uid);
		if (order.peer < 0 || is_attached(asked, order.peer))
			error = EPERM;
		else if (link_make(ns, &order, &answer->link) < 0)
			error = errno;
	}
	close_fd(&order.peer);
	answer->error = error;
	answer->mtu = ns->mtu;
	log_link(asked, slice, order.uid, answer);
	return NULL;
}

/**
 * link_request() - judge a request for a link, and make it
 * @asked: the request
 * @answer: filled in, but for its header
 *
 * Return: NULL, or what is wrong with the relay.
 */
const char *link_request(const struct link_request *asked, struct priv_linked *answer)
{
	const struct priv_link *r = asked->message;
	const struct priv_claim claim = {.netns = r->netns, .slice = r->slice};
	const struct conf_slice *slice = NULL;
	const char *fault = claim_form_fault(&claim);

	answer->cookie = r->cookie;
	answer->error = EACCES;
	if (!fault)
		fault = block_fault(r);
	if (fault)
		return fault;
	fault = link_fault(asked, &slice);
	if (fault)
		return asked->excused ? NULL : fault;
	return make(asked, slice, answer);
}
