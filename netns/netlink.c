/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netlink.c: requests to the kernel over netlink, and messages from it
 *
 * A socket belongs for life to the namespace that it was opened in, so it is
 * opened inside that namespace and used from outside.
 *
 * nl_ask() sends one request and reads until the kernel says that the answer
 * is complete: an acknowledgement, or the end of a dump. It reads on to the
 * end even when the kernel marks a dump as interrupted (something changed
 * between two of its parts), because an unfinished dump makes the next one
 * fail with EBUSY; the caller then gets EINTR and asks again. Messages with
 * another sequence number belong to a request that was given up and are
 * passed over.
 *
 * Whoever is root in a namespace may send netlink messages to any socket of
 * it. Only port 0 is the kernel; everything else is discarded unread.
 */
#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* The kernel answers at once, or something is wrong with it: the monitor must not hang then */
#define ANSWER_SECONDS 2

struct opening {
	int family, flags;
	struct mnl_socket *nl;
};

/**
 * open_inside() - create the socket, in the namespace that the caller is in
 * @arg: the struct opening
 *
 * Return: 0, or -1 and errno.
 */
static int open_inside(void *arg)
{
	struct opening *opening = arg;

	opening->nl = mnl_socket_open2(opening->family, SOCK_CLOEXEC | opening->flags);
	return opening->nl ? 0 : -1;
}

/**
 * nl_open() - open and bind a netlink socket of a namespace
 * @ns: the namespace
 * @family: NETLINK_ROUTE, NETLINK_NETFILTER ...
 * @flags: 0 or SOCK_NONBLOCK
 *
 * Return: the socket (close-on-exec), or NULL and errno.
 */
struct mnl_socket *nl_open(const struct netns *ns, int family, int flags)
{
	struct opening opening = {.family = family, .flags = flags};
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	int fd;

	if (netns_call(ns, open_inside, &opening) < 0)
		return NULL;
	fd = mnl_socket_get_fd(opening.nl);
	if (mnl_socket_bind(opening.nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		nl_close(&opening.nl);
	return opening.nl;
}

/**
 * nl_close() - close a socket, if it is open
 * @nl: the socket or NULL; NULL afterwards. errno stays.
 */
void nl_close(struct mnl_socket **nl)
{
	int saved = errno;

	if (*nl)
		mnl_socket_close(*nl);
	*nl = NULL;
	errno = saved;
}

/**
 * nl_join() - become a member of multicast groups
 * @nl: the socket
 * @group: group numbers (RTNLGRP_)
 * @groups: how many
 *
 * Return: 0, or -1 and errno.
 */
int nl_join(const struct mnl_socket *nl, const int *group, unsigned groups)
{
	for (unsigned i = 0; i < groups; i++) {
		int fd = mnl_socket_get_fd(nl);

		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group[i], sizeof(group[i])) < 0)
			return -1;
	}
	return 0;
}

/**
 * nl_receive() - one datagram from the kernel
 * @nl: the socket
 * @buffer: where to, aligned for a struct nlmsghdr
 * @room: bytes there
 *
 * Return: bytes, 0 for a datagram that is not the kernel's, or -1 and errno:
 * EAGAIN nothing there (or the time limit of a blocking socket has passed),
 * ENOBUFS messages were lost, EMSGSIZE this one did not fit, others from
 * recvfrom(2).
 */
ssize_t nl_receive(const struct mnl_socket *nl, void *buffer, size_t room)
{
	struct sockaddr_nl from = {0};
	socklen_t size = sizeof(from);
	ssize_t n;

	do
		n = recvfrom(mnl_socket_get_fd(nl), buffer, room, MSG_TRUNC, (struct sockaddr *)&from, &size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	if (size != sizeof(from) || from.nl_pid != 0)
		return 0;
	if ((size_t)n > room) {
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

/**
 * nl_request() - begin a request
 * @buffer: where to, NL_REQUEST_ROOM bytes, aligned for a struct nlmsghdr
 * @type: message type
 * @flags: NLM_F_DUMP; without it an acknowledgement is asked for
 * @header: bytes of the family's header, which is zeroed
 *
 * Return: the request; its payload is the family's header.
 */
struct nlmsghdr *nl_request(void *buffer, uint16_t type, uint16_t flags, size_t header)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = type;
	request->nlmsg_flags =
		(uint16_t)(NLM_F_REQUEST | ((flags & NLM_F_DUMP) == NLM_F_DUMP ? flags : flags | NLM_F_ACK));
	mnl_nlmsg_put_extra_header(request, header);
	return request;
}

/* An answer that is being read */
struct answer {
	nl_each *each;
	void *arg;
	bool complete, interrupted;
	int error; /* errno */
};

/**
 * read_end() - a message that ends an answer
 * @answer: the answer
 * @message: NLMSG_ERROR (an acknowledgement, when its code is 0) or NLMSG_DONE
 */
static void read_end(struct answer *answer, const struct nlmsghdr *message)
{
	int code = 0; /* both begin with one; an old kernel's NLMSG_DONE may lack it */

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(code))
		memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
	answer->complete = true;
	answer->error = -code;
}

/**
 * read_part() - the messages of one datagram
 * @answer: the answer that they are part of
 * @buffer: the datagram
 * @size: bytes
 * @sequence: of the request
 */
static void read_part(struct answer *answer, const void *buffer, int size, uint32_t sequence)
{
	const struct nlmsghdr *message = buffer;

	for (; !answer->complete && mnl_nlmsg_ok(message, size); message = mnl_nlmsg_next(message, &size)) {
		if (message->nlmsg_seq != sequence)
			continue;
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			answer->interrupted = true;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE)
			read_end(answer, message);
		else if (message->nlmsg_type >= NLMSG_MIN_TYPE && answer->each)
			answer->each(message, answer->arg);
	}
}

/**
 * nl_ask() - send a request and take in the whole answer
 * @nl: a blocking socket
 * @request: from nl_request(); may be sent again
 * @each: called for each message of the answer, or NULL
 * @arg: its argument
 *
 * Return: 0, or -1 and errno: what the kernel said, EINTR for a dump that
 * something changed under, ETIMEDOUT.
 */
int nl_ask(const struct mnl_socket *nl, struct nlmsghdr *request, nl_each *each, void *arg)
{
	static uint32_t sequence;
	struct answer answer = {.each = each, .arg = arg};
	_Alignas(struct nlmsghdr) char buffer[NL_ROOM];

	request->nlmsg_seq = ++sequence;
	if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return -1;
	while (!answer.complete) {
		ssize_t n = nl_receive(nl, buffer, sizeof(buffer));

		if (n < 0) {
			if (errno == EAGAIN)
				errno = ETIMEDOUT;
			return -1;
		}
		read_part(&answer, buffer, (int)n, request->nlmsg_seq);
	}
	if (!answer.error && answer.interrupted)
		answer.error = EINTR;
	errno = answer.error ? answer.error : errno;
	return answer.error ? -1 : 0;
}

/* Where attributes that are found go */
struct search {
	const struct nlattr **found;
	unsigned max;
};

/**
 * keep_attribute() - note an attribute that is looked for
 * @attribute: the attribute
 * @arg: the struct search
 *
 * Return: MNL_CB_OK, for the next one.
 */
static int keep_attribute(const struct nlattr *attribute, void *arg)
{
	const struct search *search = arg;

	if (mnl_attr_get_type(attribute) <= search->max)
		search->found[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

/**
 * nl_parse() - find the attributes of a message
 * @message: the message
 * @header: bytes of the family's header in front of the attributes
 * @found: filled in: @max + 1 pointers, by attribute type; NULL where there is none
 * @max: largest type that is looked for
 *
 * Return: the family's header, or NULL when the message is too short for it.
 */
const void *nl_parse(const struct nlmsghdr *message, size_t header, const struct nlattr **found, unsigned max)
{
	struct search search = {.found = found, .max = max};

	memset(found, 0, (max + 1) * sizeof(*found));
	if (mnl_nlmsg_get_payload_len(message) < header)
		return NULL;
	mnl_attr_parse(message, (unsigned)header, keep_attribute, &search);
	return mnl_nlmsg_get_payload(message);
}

/**
 * nl_parse_nested() - find the attributes inside an attribute
 * @nest: the outer attribute, or NULL
 * @found: filled in as by nl_parse()
 * @max: largest type that is looked for
 */
void nl_parse_nested(const struct nlattr *nest, const struct nlattr **found, unsigned max)
{
	struct search search = {.found = found, .max = max};

	memset(found, 0, (max + 1) * sizeof(*found));
	if (nest)
		mnl_attr_parse_nested(nest, keep_attribute, &search);
}

/**
 * nl_u32() - the value of an attribute of four bytes
 * @attribute: the attribute or NULL
 * @absent: what to return when there is none, or it has another size
 *
 * Return: the value, or @absent.
 */
uint32_t nl_u32(const struct nlattr *attribute, uint32_t absent)
{
	if (!attribute || mnl_attr_get_payload_len(attribute) != sizeof(uint32_t))
		return absent;
	return mnl_attr_get_u32(attribute);
}

/**
 * nl_text() - the value of an attribute that is a string
 * @attribute: the attribute or NULL
 *
 * Return: the string; "" when there is none or it does not end.
 */
const char *nl_text(const struct nlattr *attribute)
{
	const char *text;

	if (!attribute)
		return "";
	text = mnl_attr_get_payload(attribute);
	return memchr(text, 0, mnl_attr_get_payload_len(attribute)) ? text : "";
}
