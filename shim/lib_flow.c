/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_flow.c: flows of the client library
 *
 * A flow is a socket that the broker gave, what the broker granted with it
 * (which is what the check before a send goes by), and the sender's own
 * knowledge (lib_info.c). Sending and receiving are one system call each and
 * take no lock; everything else is a question to the broker.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "libsaferaw_int.h"
#include "pkt.h"

#define REQUEST_FIRST offsetof(struct saferaw_request, key) /* size of the first version's request */
#define REQUEST_MAX 4096 /* no later version's request is larger: what claims to be was not initialised */

static_assert(SAFERAW_META == PROTO_FLAG_META && SAFERAW_ERRORS == PROTO_FLAG_ERRORS,
	      "flags go to the broker as they are");
static_assert((int)SAFERAW_CONSUMER == PROTO_KIND_CONSUMER && (int)SAFERAW_SNIFFER == PROTO_KIND_SNIFFER &&
		      (int)SAFERAW_ICMP_ERROR == PROTO_KIND_ICMP_ERROR,
	      "kinds too");
static_assert((int)SAFERAW_EVENT_MISSED == PROTO_EVENT_MISSED, "and events come as they are");
static_assert(sizeof(struct saferaw_meta) == 24, "no padding: it is in front of packets");

/**
 * request_copy() - take a request of whatever version the program was built with
 * @saferaw: handle, for the text
 * @from: request
 * @to: gets it
 *
 * Return: 0; or -1 and errno, EINVAL or E2BIG
 */
static int request_copy(struct saferaw *saferaw, const struct saferaw_request *from, struct saferaw_request *to)
{
	const uint8_t *bytes = (const uint8_t *)from;
	size_t i;

	if ((from->size < sizeof(*to) && from->size != REQUEST_FIRST) || from->size > REQUEST_MAX)
		return lib_note(saferaw, EINVAL, "the request's size is wrong: start from SAFERAW_REQUEST_INIT");
	for (i = sizeof(*to); i < from->size; i++)
		if (bytes[i])
			return lib_note(saferaw, E2BIG,
					"the request asks for more than this version of the library knows");
	*to = (struct saferaw_request){0};
	memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	return 0;
}

/**
 * endpoint() - address, port and family of one side
 * @ss: as the program gave it
 * @addr: set; every "any" becomes "::"
 * @port: set, host byte order
 * @family: what the flow is for as far as known, AF_UNSPEC for nothing yet; narrowed down
 *
 * Return: whether the family is one of the two and agrees
 */
static bool endpoint(const struct sockaddr_storage *ss, struct addr *addr, uint16_t *port, uint8_t *family)
{
	int own = ss->ss_family;

	if (!addr_from_sockaddr(ss, addr, port))
		return false;
	if (addr_family(addr) == AF_INET) /* IPv4-mapped, perhaps */
		own = AF_INET;
	if (addr_is_any(addr))
		*addr = (struct addr){.b = {0}};
	if (own == AF_UNSPEC)
		return true;
	if (*family != AF_UNSPEC && *family != own)
		return false;
	*family = (uint8_t)own;
	return true;
}

/**
 * known() - whether kind and flags are known to this library, and go together
 * @request: what the program asks for
 */
static bool known(const struct saferaw_request *request)
{
	if (request->kind < SAFERAW_CONSUMER || request->kind > SAFERAW_ICMP_ERROR)
		return false;
	if (request->kind == SAFERAW_ICMP_ERROR && request->flags & SAFERAW_ERRORS)
		return false;
	return !(request->flags & ~(unsigned)PROTO_FLAGS);
}

/**
 * class_of() - the class of what the program asks for
 * @request: what the program asks for
 *
 * Return: enum steer_class, or for a sniffer PROTO_CLASS_ANY; -1 when there is none
 */
static int class_of(const struct saferaw_request *request)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): filled in; lib_note() never returns 0 */
	if (request->kind == SAFERAW_SNIFFER && !request->protocol)
		return PROTO_CLASS_ANY;
	if (policy_grantable(request->protocol))
		return CLASS_GRANT;
	return policy_class(request->protocol);
}

/**
 * granted() - protocol and key of the message that asks for a flow
 * @request: what the program asks for
 * @open: protocol and key are filled in, if its class has them
 *
 * Return: whether they go with ports that are asked for
 */
static bool granted(const struct saferaw_request *request, struct proto_open *open)
{
	if (open->class != CLASS_GRANT)
		return !request->key;
	open->protocol = (uint8_t)request->protocol;
	open->key = request->key;
	return (!request->key || request->protocol == IPPROTO_GRE) && !open->port && !open->remote_port &&
	       request->count <= 1;
}

/**
 * prefixed() - length of the prefix that is asked for
 * @request: what the program asks for
 * @open: its local address is filled in; gets the length
 *
 * Return: whether there can be such a prefix of the address
 */
static bool prefixed(const struct saferaw_request *request, struct proto_open *open)
{
	unsigned before = addr_family(&open->local) == AF_INET ? 96 : 0;

	if (!request->local_len)
		return true;
	if (addr_is_any(&open->local) || request->local_len > 128 - before)
		return false;
	open->local_len = (uint8_t)(before + request->local_len);
	return true;
}

/**
 * open_message() - the message that asks for a flow
 * @saferaw: handle, for the text
 * @request: what the program asks for
 * @open: filled in
 *
 * Return: 0; or -1 and errno
 */
static int open_message(struct saferaw *saferaw, const struct saferaw_request *request, struct proto_open *open)
{
	int class = class_of(request);

	*open = (struct proto_open){.header = {.type = PROTO_OPEN, .size = sizeof(*open)},
				    .kind = (uint8_t)request->kind,
				    .class = (uint8_t) class,
				    .flags = (uint8_t)request->flags};
	if (class < 0)
		return lib_note(saferaw, EPROTONOSUPPORT, "the protocol is none that a slice could have a part of");
	if (request->protocol == IPPROTO_ICMP || request->protocol == IPPROTO_ICMPV6)
		open->family = request->protocol == IPPROTO_ICMP ? AF_INET : AF_INET6;
	if (!known(request))
		return lib_note(saferaw, EINVAL, "the request's kind or flags are not known, or do not go together");
	if (!endpoint(&request->local, &open->local, &open->port, &open->family) ||
	    !endpoint(&request->remote, &open->remote, &open->remote_port, &open->family))
		return lib_note(saferaw, EAFNOSUPPORT, "the families of protocol, local and remote disagree");
	if (!prefixed(request, open))
		return lib_note(saferaw, EINVAL, "a prefix needs an address, and has no more bits than that");
	if (!granted(request, open))
		return lib_note(saferaw, EINVAL, "the protocol has no ports, or no keys");
	if (class == CLASS_ICMP)
		open->remote_port = 0;
	else if (open->remote_port && addr_is_any(&open->remote))
		return lib_note(saferaw, EINVAL, "a remote port needs a remote address");
	if (class == PROTO_CLASS_ANY && (open->port || open->remote_port))
		return lib_note(saferaw, EPROTONOSUPPORT, "a port needs a protocol");
	open->count = request->count ? (uint16_t)request->count : 1;
	if (request->count > UINT16_MAX || open->port + open->count - 1 > UINT16_MAX)
		return lib_note(saferaw, EINVAL, "the range of ports goes beyond 65535");
	return 0;
}

/**
 * flow_new() - a flow from what the broker granted
 * @saferaw: handle, locked
 * @open: what was asked for
 * @opened: what was granted
 * @fd: the flow's socket, the flow's on success
 *
 * Return: the flow; or NULL and errno
 */
static struct saferaw_flow *flow_new(struct saferaw *saferaw, const struct proto_open *open,
				     const struct proto_opened *opened, int fd)
{
	struct saferaw_flow *flow;

	if (opened->count != open->count || (open->port && opened->port != open->port) ||
	    opened->port + opened->count - 1 > UINT16_MAX) {
		lib_fail(saferaw, EPROTO, "slice '%s': the broker granted what was not asked for", saferaw->slice);
		return NULL;
	}
	flow = calloc(1, sizeof(*flow));
	if (!flow) {
		lib_fail(saferaw, ENOMEM, "%m");
		return NULL;
	}
	flow->saferaw = saferaw;
	flow->fd = fd;
	flow->flags = open->flags;
	flow->number = opened->flow;
	flow->policy = (struct policy_flow){.class = open->class,
					    .read_only = open->kind != PROTO_KIND_CONSUMER,
					    .family = open->family,
					    .local = opened->local,
					    .local_len = open->local_len % 128, /* a prefix of one address is that */
					    .lo = opened->port,
					    .hi = (uint16_t)(opened->port + opened->count - 1),
					    .protocol = open->protocol,
					    .key = open->key,
					    .remote = open->remote,
					    .remote_port = open->remote_port};
	saferaw->refs++;
	lib_info_hold(flow);
	return flow;
}

/** saferaw_open() - open a flow (saferaw.h) */
struct saferaw_flow *saferaw_open(struct saferaw *saferaw, const struct saferaw_request *request)
{
	struct saferaw_flow *flow = NULL;
	struct saferaw_request copy;
	struct proto_opened opened;
	struct proto_open open;
	int fd = -1;

	if (request_copy(saferaw, request, &copy) < 0 || open_message(saferaw, &copy, &open) < 0 ||
	    lib_lock(saferaw) < 0)
		return NULL;
	if (!lib_exchange(saferaw, &open, &opened, sizeof(opened), &fd)) {
		opened.text[sizeof(opened.text) - 1] = '\0';
		if (opened.error)
			lib_fail(saferaw, opened.error, "slice '%s': %s", saferaw->slice, opened.text);
		else
			flow = flow_new(saferaw, &open, &opened, fd);
	}
	if (!flow)
		close_fd(&fd);
	lib_unlock(saferaw);
	return flow;
}

/** saferaw_close() - close a flow (saferaw.h) */
void saferaw_close(struct saferaw_flow *flow)
{
	int saved = errno;

	if (!flow)
		return;
	close_fd(&flow->fd);
	lib_lock(flow->saferaw);
	lib_release(flow->saferaw, flow->info);
	free(flow);
	errno = saved;
}

/** saferaw_flow_fd() - the flow's file descriptor (saferaw.h) */
int saferaw_flow_fd(const struct saferaw_flow *flow)
{
	return flow->fd;
}

/** saferaw_flow_number() - the flow's number (saferaw.h) */
uint64_t saferaw_flow_number(const struct saferaw_flow *flow)
{
	return flow->number;
}

/** saferaw_flow_local() - what the flow got (saferaw.h) */
int saferaw_flow_local(const struct saferaw_flow *flow, struct sockaddr_storage *local)
{
	addr_to_sockaddr(&flow->policy.local, flow->policy.lo, local);
	if (local->ss_family == AF_UNSPEC && flow->policy.family != AF_INET) {
		const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(flow->policy.lo)};

		memcpy(local, &any, sizeof(any));
	} else if (local->ss_family == AF_UNSPEC) {
		local->ss_family = AF_INET; /* the port is where it belongs, the address is zero */
	}
	return 0;
}

/** saferaw_flow_source() - the source address and MTU for a destination (saferaw.h) */
int saferaw_flow_source(struct saferaw_flow *flow, const struct sockaddr_storage *destination,
			struct sockaddr_storage *source, uint32_t *mtu)
{
	struct proto_route request = {.header = {.type = PROTO_ROUTE, .size = sizeof(request)}};
	uint8_t family = flow->policy.family;
	struct proto_route_reply reply;
	uint16_t port;

	if (destination->ss_family == AF_UNSPEC || !endpoint(destination, &request.destination, &port, &family))
		return lib_note(flow->saferaw, EAFNOSUPPORT, "the destination is not of the flow's family");
	if (lib_ask(flow->saferaw, &request, &reply, sizeof(reply)) < 0)
		return -1;
	if (source)
		addr_to_sockaddr(addr_is_any(&flow->policy.local) ? &reply.source : &flow->policy.local,
				 flow->policy.lo, source);
	if (mtu)
		*mtu = reply.mtu;
	return 0;
}

/** saferaw_send() - check one packet and send it (saferaw.h) */
ssize_t saferaw_send(struct saferaw_flow *flow, const void *packet, size_t length, int flags)
{
	enum verdict verdict;

	flow->last_reason = VERDICT_PASS;
	if (flags & ~MSG_DONTWAIT) {
		errno = EINVAL;
		return -1;
	}
	verdict = lib_check(flow, packet, length, !(flags & MSG_DONTWAIT));
	if (verdict != VERDICT_PASS) {
		flow->last_reason = verdict;
		errno = verdict_errno(verdict);
		return -1;
	}
	return send(flow->fd, packet, length, flags | MSG_NOSIGNAL);
}

/** saferaw_recv() - receive one packet (saferaw.h) */
ssize_t saferaw_recv(struct saferaw_flow *flow, void *buffer, size_t room, struct saferaw_meta *meta, int flags)
{
	const bool has_meta = flow->flags & SAFERAW_META;
	struct saferaw_meta head;
	struct iovec iov[] = {{.iov_base = &head, .iov_len = sizeof(head)}, {.iov_base = buffer, .iov_len = room}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (!has_meta) {
		message.msg_iov = &iov[1];
		message.msg_iovlen = 1;
	}
	if (flags & ~MSG_DONTWAIT || (meta && !has_meta)) {
		errno = EINVAL;
		return -1;
	}
	n = recvmsg(flow->fd, &message, flags);
	if (n < 0 && errno == ECONNRESET) /* told first, and once: packets that are here already are behind it */
		n = recvmsg(flow->fd, &message, flags);
	if (n <= 0 || !has_meta)
		return n;
	if ((size_t)n <= sizeof(head) || head.size != sizeof(head)) {
		errno = EPROTO;
		return -1;
	}
	if (meta)
		*meta = head;
	return n - (ssize_t)sizeof(head);
}

/**
 * ask_stats() - ask the broker for a flow's counts
 * @flow: flow
 * @reply: filled in; its row count is not more than there are rows
 *
 * Return: 0; or -1 and errno
 */
static int ask_stats(struct saferaw_flow *flow, struct proto_stats_reply *reply)
{
	struct proto_stats request = {.header = {.type = PROTO_STATS, .size = sizeof(request)}, .flow = flow->number};

	if (lib_ask(flow->saferaw, &request, reply, sizeof(*reply)) < 0)
		return -1;
	if (reply->reasons > ARRAY_SIZE(reply->tx_refused))
		reply->reasons = ARRAY_SIZE(reply->tx_refused);
	return 0;
}

/** saferaw_flow_stats() - what the flow has done so far (saferaw.h) */
int saferaw_flow_stats(struct saferaw_flow *flow, struct saferaw_stats *stats)
{
	struct proto_stats_reply reply;
	unsigned i;

	if (stats->size < sizeof(*stats))
		return lib_note(flow->saferaw, EINVAL, "the size of struct saferaw_stats is not set");
	if (ask_stats(flow, &reply) < 0)
		return -1;
	*stats = (struct saferaw_stats){.size = sizeof(*stats),
					.rx_packets = reply.rx_packets,
					.rx_bytes = reply.rx_bytes,
					.tx_packets = reply.tx_packets,
					.tx_bytes = reply.tx_bytes};
	for (i = 0; i < reply.reasons; i++) {
		stats->rx_refused += reply.rx_refused[i];
		stats->tx_refused += reply.tx_refused[i];
	}
	return 0;
}

/** saferaw_refused() - how many packets were refused for one reason (saferaw.h) */
int saferaw_refused(struct saferaw_flow *flow, unsigned reason, uint64_t *rx, uint64_t *tx)
{
	struct proto_stats_reply reply;

	if (reason >= VERDICTS_N)
		return lib_note(flow->saferaw, EINVAL, "not the number of a reason");
	if (ask_stats(flow, &reply) < 0)
		return -1;
	if (rx)
		*rx = reason < reply.reasons ? reply.rx_refused[reason] : 0;
	if (tx)
		*tx = reason < reply.reasons ? reply.tx_refused[reason] : 0;
	return 0;
}

/** saferaw_reason() - name of a verdict (saferaw.h) */
const char *saferaw_reason(unsigned reason)
{
	return reason < VERDICTS_N ? verdict_name((enum verdict)reason) : NULL;
}

/** saferaw_reason_text() - a verdict in words (saferaw.h) */
const char *saferaw_reason_text(unsigned reason)
{
	return reason < VERDICTS_N ? verdict_text((enum verdict)reason) : NULL;
}

/** saferaw_last_reason() - why the last saferaw_send() on a flow was refused (saferaw.h) */
unsigned saferaw_last_reason(const struct saferaw_flow *flow)
{
	return flow->last_reason;
}
