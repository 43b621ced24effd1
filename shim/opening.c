/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opening.c: one request for a flow, from the first check to the grant
 *
 * What the client asks for is checked in one order: form, identity,
 * permission, capacity, conflict; message length and fds were checked before
 * it came here. The first check that fails ends the request, and nothing has
 * been taken by then that is not given back.
 *
 * The ports are then reserved, which may need the monitor's answer; the
 * request waits for it without anybody else waiting.
 *
 * Port 0 asks for a free one (RFC 6056): a random candidate of the slice's
 * ranges, then the next ones in turn. What the relay knows as taken is passed
 * over; what the monitor refuses (a socket of the host's) is passed over so
 * many times, then the request fails.
 *
 * A sniffer reserves nothing, and with port 0 is on all ports. Only who may
 * sniff the whole slice gets one on a port that another user has.
 */
#include "opening.h"

#include <errno.h>
#include <netinet/in.h>

#include "log.h"
#include "send.h"
#include "util.h"

#define TRIES_MAX 64

/* What a monitor's refusal is called */
static const struct {
	int error;
	const char *text;
} monitor_texts[] = {
	{EADDRINUSE, "the host has a socket on the port, or it is in quarantine"},
	{EACCES, "the port is not the slice's"},
	{EADDRNOTAVAIL, "the address is not on the host"},
	{EMFILE, "the host has no room for more reservations"},
	{ENFILE, "the host has no room for more reservations"},
};

/**
 * finish() - tell the owner how it went
 * @opening: request
 * @error: errno, or 0 for granted
 * @text: what was wrong
 */
static void finish(struct opening *opening, int error, const char *text)
{
	struct flow *flow = opening->flow;

	opening->text = text;
	if (error) {
		opening->flow = NULL;
		if (flow)
			flow_close(flow);
	}
	opening->done(opening, error);
}

/**
 * refuse() - end a request for a reason of the relay's own
 * @opening: request
 * @slice: slice
 * @uid: who asked
 * @error: errno
 * @text: what was wrong
 */
static void refuse(struct opening *opening, const struct slice *slice, uint32_t uid, int error, const char *text)
{
	static struct log_limit limit;

	log_limited(&limit, LOG_NOTICE, "slice %s: uid %u: flow refused: %s", slice->conf.record.name, uid, text);
	finish(opening, error, text);
}

/**
 * local_ok() - whether local address, its length and family are well-formed and agree
 * @ask: request
 */
static bool local_ok(const struct proto_open *ask)
{
	if (ask->family != AF_UNSPEC && ask->family != AF_INET && ask->family != AF_INET6)
		return false;
	if (ask->local_len > 128 || (ask->local_len && addr_is_any(&ask->local)))
		return false;
	if (addr_family(&ask->local) == AF_UNSPEC)
		return true;
	return addr_family(&ask->local) == ask->family;
}

/**
 * remote_ok() - whether the remote is well-formed and of the right family
 * @ask: request
 */
static bool remote_ok(const struct proto_open *ask)
{
	if (addr_is_any(&ask->remote))
		return !ask->remote_port && addr_family(&ask->remote) == AF_UNSPEC;
	if (ask->class == CLASS_ICMP && ask->remote_port)
		return false;
	return ask->family == AF_UNSPEC || addr_family(&ask->remote) == ask->family;
}

/**
 * kind_ok() - whether kind and flags are known here
 * @ask: request
 */
static bool kind_ok(const struct proto_open *ask)
{
	return ask->kind >= PROTO_KIND_CONSUMER && ask->kind <= PROTO_KIND_ICMP_ERROR && !(ask->flags & ~PROTO_FLAGS);
}

/**
 * class_ok() - whether the class is one, or may be every class
 * @ask: request
 */
static bool class_ok(const struct proto_open *ask)
{
	if (ask->class == PROTO_CLASS_ANY)
		return ask->kind == PROTO_KIND_SNIFFER && !ask->port && !ask->remote_port;
	return ask->class < STEER_CLASSES;
}

/**
 * grant_ok() - whether protocol and key are there when they must be, and only then
 * @ask: request
 */
static bool grant_ok(const struct proto_open *ask)
{
	if (ask->class != CLASS_GRANT)
		return !ask->protocol && !ask->key;
	if (ask->port || ask->remote_port || ask->count != 1)
		return false;
	return policy_grantable(ask->protocol) && (ask->protocol == IPPROTO_GRE || !ask->key);
}

/**
 * count_ok() - whether there can be so many ports
 * @ask: request
 */
static bool count_ok(const struct proto_open *ask)
{
	if (ask->kind == PROTO_KIND_SNIFFER && !ask->port)
		return ask->count == 1;
	return ask->count && ask->count <= STEER_PORTS - ask->port;
}

/**
 * check_form() - whether a request makes sense, whoever asks
 * @ask: request
 * @text: set to what is wrong
 *
 * Return: 0, EINVAL or EOPNOTSUPP.
 */
static int check_form(const struct proto_open *ask, const char **text)
{
	int error = EINVAL;

	if (!kind_ok(ask)) {
		*text = "the kind of flow or a flag is not known here";
		error = EOPNOTSUPP;
	} else if (ask->kind == PROTO_KIND_ICMP_ERROR && ask->flags & PROTO_FLAG_ERRORS) {
		*text = "ICMP errors are all that an icmp-error flow gets";
	} else if (!class_ok(ask)) {
		*text = "the protocol class is none, or goes with another kind or port";
	} else if (!grant_ok(ask)) {
		*text = "the protocol number or key is none, or goes with another class or port";
	} else if (!count_ok(ask)) {
		*text = "the number of ports is zero or too large";
	} else if (!local_ok(ask)) {
		*text = "the local address does not fit the family";
	} else if (!remote_ok(ask)) {
		*text = "the remote is incomplete or does not fit the family";
	} else {
		error = 0;
	}
	return error;
}

/**
 * is_proxied() - whether a request is for a proxied address or prefix, be it the slice's or not
 * @slice: slice
 * @ask: well-formed request
 */
static bool is_proxied(const struct slice *slice, const struct proto_open *ask)
{
	return !addr_is_any(&ask->local) && netns_row(slice->netns, &ask->local) >= STEER_ADDRESSES_MAX;
}

/* The ports that a free one is looked for among */
struct offer {
	const struct policy_range *range;
	unsigned ranges;
};

/**
 * offer_of() - the ports that a slice has on an address
 * @policy: of the slice
 * @proxied: whether the address is: then it has all, but 0, which is none
 */
static struct offer offer_of(const struct policy_slice *policy, bool proxied)
{
	static const struct policy_range every[STEER_PORT_CLASSES] = {
		{CLASS_TCP, 1, UINT16_MAX},  {CLASS_UDP, 1, UINT16_MAX},  {CLASS_ICMP, 1, UINT16_MAX},
		{CLASS_SCTP, 1, UINT16_MAX}, {CLASS_DCCP, 1, UINT16_MAX}, {CLASS_UDPLITE, 1, UINT16_MAX}};

	return proxied ? (struct offer){every, STEER_PORT_CLASSES} : (struct offer){policy->range, policy->ranges};
}

/**
 * candidates() - how many ports a free run may start at
 * @offer: ports
 * @class: enum steer_class
 * @count: ports of the run
 */
static uint32_t candidates(const struct offer *offer, unsigned class, unsigned count)
{
	uint32_t total = 0;
	unsigned i;

	for (i = 0; i < offer->ranges; i++) {
		unsigned ports = (unsigned)(offer->range[i].hi - offer->range[i].lo) + 1;

		if (offer->range[i].class == class && ports >= count)
			total += ports - count + 1;
	}
	return total;
}

/**
 * candidate() - the nth port that a free run may start at
 * @offer: ports
 * @class: enum steer_class
 * @count: ports of the run
 * @n: less than candidates()
 * @left: set to how many candidates of the same range follow
 *
 * Return: the port
 */
static uint16_t candidate(const struct offer *offer, unsigned class, unsigned count, uint32_t n, uint32_t *left)
{
	unsigned i;

	for (i = 0; i < offer->ranges; i++) {
		const struct policy_range *range = &offer->range[i];
		unsigned ports = (unsigned)(range->hi - range->lo) + 1;

		if (range->class != class || ports < count)
			continue;
		*left = ports - count - n;
		if (n <= ports - count)
			return (uint16_t)(range->lo + n);
		n -= ports - count + 1;
	}
	*left = 0;
	return 0;
}

/**
 * has_ports() - whether what is asked for is in the slice's ranges, or on an address that has every port
 * @slice: slice
 * @ask: well-formed request for an address of the slice
 */
static bool has_ports(const struct slice *slice, const struct proto_open *ask)
{
	const struct policy_slice *policy = &slice->policy;
	const bool proxied = is_proxied(slice, ask);
	const struct offer offer = offer_of(policy, proxied);

	if (ask->class == PROTO_CLASS_ANY)
		return true;
	if (ask->class == CLASS_GRANT)
		return ask->port && policy_slice_granted(policy, ask->protocol, ask->key);
	if (!ask->port)
		return candidates(&offer, ask->class, ask->count);
	return proxied || policy_slice_owns(policy, ask->class, ask->port, (uint16_t)(ask->port + ask->count - 1));
}

/**
 * spies() - whether a sniffer would be on a port that another user has
 * @slice: slice
 * @opener: who asks
 * @ask: well-formed request for ports of the slice
 */
static bool spies(const struct slice *slice, const struct opener *opener, const struct proto_open *ask)
{
	const struct policy_range span = {ask->class, ask->port, (uint16_t)(ask->port + ask->count - 1)};
	int address = netns_row(slice->netns, &ask->local);
	uint64_t addresses = hold_addresses(slice, address < 0 ? PRIV_ANY_ADDRESS : (uint8_t)address, ask->family);

	if (ask->kind != PROTO_KIND_SNIFFER || !ask->port || opener->sniffs.kind)
		return false;
	return ports_of_others(&slice->netns->shard.ports, addresses, &span, opener->uid);
}

/**
 * check_local() - whether the slice has the local address, or the prefix
 * @slice: slice
 * @ask: well-formed request
 * @text: set to what is wrong
 *
 * Return: 0 or EADDRNOTAVAIL.
 */
static int check_local(const struct slice *slice, const struct proto_open *ask, const char **text)
{
	const struct prefix asked = {.addr = ask->local, .len = ask->local_len}, *prefix;
	int row;

	if (addr_is_any(&ask->local))
		return 0;
	row = netns_row(slice->netns, &ask->local);
	if (row < 0 || !(slice->owned & 1ULL << row)) {
		*text = "the address is not the slice's";
		return EADDRNOTAVAIL;
	}
	if (!ask->local_len)
		return 0;
	prefix = policy_slice_prefix(&slice->policy, &ask->local);
	if (row >= STEER_ADDRESSES_MAX && prefix && prefix_eq(prefix, &asked))
		return 0;
	*text = "the prefix is not one that is proxied for the slice";
	return EADDRNOTAVAIL;
}

/**
 * check_permission() - whether the slice may have what is asked for
 * @slice: slice
 * @opener: who asks
 * @ask: well-formed request
 * @text: set to what is wrong
 *
 * Return: 0, EPERM, EADDRNOTAVAIL or EACCES.
 */
static int check_permission(const struct slice *slice, const struct opener *opener, const struct proto_open *ask,
			    const char **text)
{
	int error;

	if (!opener->by.kind && !(opener->sniffs.kind && ask->kind == PROTO_KIND_SNIFFER)) {
		*text = "only users of the slice may open flows";
		return EPERM;
	}
	error = check_local(slice, ask, text);
	if (error)
		return error;
	if (!has_ports(slice, ask)) {
		*text = ask->class == CLASS_GRANT ? "the protocol or key is not granted to the slice"
						  : "the port is not in the slice's ranges";
		return EACCES;
	}
	if (!spies(slice, opener, ask))
		return 0;
	*text = "another user has the port, and only some may sniff that";
	return EPERM;
}

/**
 * pick_port() - the next candidate that nobody has
 * @opening: request for any port; passes over what is taken
 *
 * Return: the first port, or -1 when there is none.
 */
static int pick_port(struct opening *opening)
{
	const struct flow *flow = opening->flow;
	const struct slice *slice = flow->slice;
	unsigned count = (unsigned)(flow->policy.hi - flow->policy.lo) + 1;
	const struct offer offer = offer_of(&slice->policy, flow->policy.proxied);
	uint32_t total = candidates(&offer, flow->policy.class, count), left;
	uint64_t addresses = hold_addresses(slice, flow->address, flow->policy.family);

	while (opening->passed < total) {
		struct policy_range span = {.class = flow->policy.class};
		int taken;

		span.lo = candidate(&offer, span.class, count, (opening->start + opening->passed) % total, &left);
		span.hi = (uint16_t)(span.lo + count - 1);
		taken = ports_first_taken(&slice->netns->shard.ports, addresses, &span);
		opening->passed++;
		if (taken < 0)
			return span.lo;
		/* no run that has the taken port in it is free */
		opening->passed += (uint32_t)(taken - span.lo) < left ? (uint32_t)(taken - span.lo) : left;
	}
	return -1;
}

/**
 * grant() - the ports are held: open the flow
 * @opening: request
 */
static void grant(struct opening *opening)
{
	struct flow *flow = opening->flow;

	if (!flow_fits(flow))
		refuse(opening, flow->slice, flow->opener.uid, EACCES, "the configuration has changed meanwhile");
	else if (flow_open(flow, send_ready, &opening->client_fd) < 0)
		refuse(opening, flow->slice, flow->opener.uid, errno == EMFILE ? ENFILE : errno,
		       "the relay is out of file descriptors or memory");
	else
		finish(opening, 0, "");
}

/**
 * reserve() - reserve the ports, or the next that may be free
 * @opening: request with a new flow
 * @port: first port, when it was given
 */
static void reserve(struct opening *opening, uint16_t port)
{
	struct flow *flow = opening->flow;
	int chosen = port;

	do {
		if (opening->any_port)
			chosen = pick_port(opening);
		if (chosen < 0) {
			refuse(opening, flow->slice, flow->opener.uid, EADDRINUSE, "no port of the slice is free");
			return;
		}
		if (flow_reserve(flow, (uint16_t)chosen) == 0) {
			if (!flow->hold || flow->hold->state == HOLD_HELD)
				grant(opening);
			else
				hold_wait(flow->hold, &opening->waiter);
			return;
		}
	} while (opening->any_port && errno == EADDRINUSE);
	if (errno == EADDRINUSE)
		refuse(opening, flow->slice, flow->opener.uid, EADDRINUSE, "the port or the endpoint is in use");
	else if (errno == EMFILE)
		refuse(opening, flow->slice, flow->opener.uid, EMFILE, "there are as many read-only flows as may be");
	else
		refuse(opening, flow->slice, flow->opener.uid, ENOSPC, "the relay is out of memory");
}

/**
 * answered() - the monitor has answered
 * @waiter: of the request
 * @error: errno, or 0 for held
 */
static void answered(struct hold_waiter *waiter, int error)
{
	struct opening *opening = container_of(waiter, struct opening, waiter);
	const char *text = "the monitor refused the reservation";
	unsigned i;

	if (!error) {
		grant(opening);
		return;
	}
	if (opening->any_port && error == EADDRINUSE && ++opening->tries < TRIES_MAX) {
		flow_unreserve(opening->flow);
		reserve(opening, 0);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(monitor_texts); i++)
		if (monitor_texts[i].error == error)
			text = monitor_texts[i].text;
	finish(opening, error == EMFILE ? ENFILE : error, text);
}

/**
 * policy_of() - what the flow that is asked for may do
 * @ask: request
 */
static struct policy_flow policy_of(const struct proto_open *ask)
{
	struct policy_flow policy = {.class = ask->class,
				     .read_only = ask->kind != PROTO_KIND_CONSUMER,
				     .family = ask->family,
				     .lo = ask->port,
				     .hi = (uint16_t)(ask->port + ask->count - 1),
				     .protocol = ask->protocol,
				     .key = ask->key,
				     .remote = ask->remote,
				     .remote_port = ask->remote_port};

	if (!addr_is_any(&ask->local))
		policy.local = ask->local;
	policy.local_len = ask->local_len;
	if (policy.family == AF_UNSPEC && !addr_is_any(&ask->remote))
		policy.family = (uint8_t)addr_family(&ask->remote);
	return policy;
}

/**
 * opening_begin() - begin with a request
 * @opening: done is set, no other request goes on
 * @slice: whose flow it will be
 * @opener: who asks
 * @request: what for, as it came
 *
 * Where the protocol has no ports its slot stands for one from here on. What is
 * granted to nobody has none. A prefix of one address is that address.
 *
 * done() may be called from here or later.
 */
void opening_begin(struct opening *opening, struct slice *slice, const struct opener *opener,
		   const struct proto_open *request)
{
	struct proto_open slotted = *request, *ask = &slotted;
	const char *text = "";
	int error = check_form(ask, &text);
	struct policy_flow policy;

	if (!error && ask->class == CLASS_GRANT)
		ask->port = slots_find(&slice->netns->slots, ask->protocol, ask->key);
	if (ask->local_len == 128)
		ask->local_len = 0;
	policy = policy_of(ask);
	policy.proxied = !error && is_proxied(slice, ask);
	*opening = (struct opening){.done = opening->done, .client_fd = -1};
	opening->waiter.answered = answered;
	opening->any_port = !ask->port && ask->kind != PROTO_KIND_SNIFFER;
	if (!error)
		error = check_permission(slice, opener, ask, &text);
	if (error) {
		refuse(opening, slice, opener->uid, error, text);
		return;
	}
	opening->flow = flow_new(slice, opener, &policy, ask->kind);
	if (!opening->flow) {
		error = errno == EMFILE ? EMFILE : ENOSPC;
		refuse(opening, slice, opener->uid, error,
		       error == EMFILE ? "the slice has as many flows as it may"
				       : "the slice's memory bound is reached");
		return;
	}
	opening->flow->flags = ask->flags;
	random_bytes(&opening->start, sizeof(opening->start));
	opening->start /= 2; /* so that it can be counted on from */
	reserve(opening, ask->port);
}

/**
 * opening_cancel() - give a request up; done() is not called
 * @opening: goes on or not
 */
void opening_cancel(struct opening *opening)
{
	hold_stop_waiting(&opening->waiter);
	if (opening->flow)
		flow_close(opening->flow);
	opening->flow = NULL;
}
