/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policy.c: the verdict
 *
 * Pure functions of what they are given: no I/O, no allocation, no state. The
 * relay asks before it writes to the TUN and before it hands a packet to a
 * flow; libsaferaw asks the same before it sends, to tell a program at once;
 * the relay's answer counts.
 *
 * Whatever is not allowed here is refused: a packet passes when it has come
 * through every check, in the order in which they stand, and the first that
 * fails names the reason. Only packets that pkt_parse() has passed may be
 * asked about.
 *
 * Slices and flows name sets by addr_is_any(): a flow whose local address is
 * unset may use any of its slice's own, and one without a remote talks to
 * everybody. Which families it may use is said by its family alone.
 *
 * Proxied addresses are not the host's own: it answers nothing there, so what
 * it would answer elsewhere (echo and timestamp requests) is for flows. Only a
 * flow that names such an address, or the prefix that it is in, may use it.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "pkt.h"
#include "policy.h"
#include "util.h"

static const struct {
	const char *name;
	int error;
	const char *text;
} verdicts[] = {
#define X(symbol, name, error, text) [VERDICT_##symbol] = {name, error, text},
	VERDICTS(X)
#undef X
};

static_assert(ARRAY_SIZE(verdicts) == VERDICTS_N, "each verdict has its row");
static_assert(VERDICT_PASS == 0, "zero is the verdict that passes");

/* The classes: their names, and their IP protocols in each family (of a grant it is the flow's own) */
static const struct {
	const char *name;
	uint8_t v4, v6;
} classes[] = {
	[CLASS_TCP] = {"tcp", IPPROTO_TCP, IPPROTO_TCP},
	[CLASS_UDP] = {"udp", IPPROTO_UDP, IPPROTO_UDP},
	[CLASS_ICMP] = {"icmp", IPPROTO_ICMP, IPPROTO_ICMPV6},
	[CLASS_SCTP] = {"sctp", IPPROTO_SCTP, IPPROTO_SCTP},
	[CLASS_DCCP] = {"dccp", IPPROTO_DCCP, IPPROTO_DCCP},
	[CLASS_UDPLITE] = {"udplite", IPPROTO_UDPLITE, IPPROTO_UDPLITE},
	[CLASS_GRANT] = {"grant", 0, 0},
};

static_assert(ARRAY_SIZE(classes) == STEER_CLASSES, "each class has its row");

/*
 * Protocols that no slice can be granted whole: those with ports or ids of
 * their own, those that are headers on the way to another, and what is no
 * protocol.
 */
static const bool never_granted[256] = {
	[IPPROTO_TCP] = true,
	[IPPROTO_UDP] = true,
	[IPPROTO_ICMP] = true,
	[IPPROTO_ICMPV6] = true,
	[IPPROTO_SCTP] = true,
	[IPPROTO_DCCP] = true,
	[IPPROTO_UDPLITE] = true,
	[IPPROTO_HOPOPTS] = true,
	[IPPROTO_ROUTING] = true,
	[IPPROTO_FRAGMENT] = true,
	[IPPROTO_DSTOPTS] = true,
	[IPPROTO_ESP] = true,
	[IPPROTO_AH] = true,
	[IPPROTO_NONE] = true,
	[IPPROTO_MH] = true,
	[139] = true,
	[140] = true,
	[253] = true,
	[254] = true,
	[IPPROTO_RAW] = true,
};

/**
 * verdict_name() - the stable name of a verdict
 * @verdict: verdict
 *
 * Return: "unknown" for a number that is none
 */
const char *verdict_name(enum verdict verdict)
{
	return (unsigned)verdict < VERDICTS_N ? verdicts[verdict].name : "unknown";
}

/**
 * verdict_text() - what a verdict means, for people
 * @verdict: verdict
 *
 * Return: "unknown reason" for a number that is none
 */
const char *verdict_text(enum verdict verdict)
{
	return (unsigned)verdict < VERDICTS_N ? verdicts[verdict].text : "unknown reason";
}

/**
 * verdict_errno() - the errno that a refused send gets
 * @verdict: verdict
 *
 * Return: 0 for VERDICT_PASS, EINVAL for a number that is none
 */
int verdict_errno(enum verdict verdict)
{
	return (unsigned)verdict < VERDICTS_N ? verdicts[verdict].error : EINVAL;
}

/**
 * is_v4_compatible() - whether an address is in ::/96
 * @addr: address
 *
 * The old form of an IPv4 address in an IPv6 one (RFC 4291 2.5.5.1), which is
 * for no wire; "::" and ::1 are in it too.
 */
static bool is_v4_compatible(const struct addr *addr)
{
	static const uint8_t zeros[12];

	return !memcmp(addr->b, zeros, sizeof(zeros));
}

/**
 * is_this_network() - whether an address says no more than "here"
 * @addr: address
 *
 * 0.0.0.0/8 is for a host that does not know its network yet (RFC 1122
 * 3.2.1.3); "::" says the same.
 */
static bool is_this_network(const struct addr *addr)
{
	return addr_family(addr) == AF_INET ? addr->b[12] == 0 : addr_is_any(addr);
}

/**
 * protocol_of() - a flow's protocol
 * @flow: flow
 * @family: of a packet
 */
static int protocol_of(const struct policy_flow *flow, int family)
{
	return flow->class == CLASS_GRANT ? flow->protocol : policy_protocol(flow->class, family);
}

/**
 * protocol_ok() - whether a protocol is a flow's, in the family that the packet is in
 * @flow: flow
 * @protocol: upper-layer protocol
 * @pkt: for its family
 *
 * In a later fragment of IPv6 the protocol cannot be seen: the chain of
 * headers may go on behind the fragment header of the first.
 */
static bool protocol_ok(const struct policy_flow *flow, uint8_t protocol, const struct pkt *pkt)
{
	int family = pkt->version == 4 ? AF_INET : AF_INET6;

	if (flow->family != AF_UNSPEC && flow->family != family)
		return false;
	return protocol == protocol_of(flow, family) || (pkt->flags & PKT_LATER && family == AF_INET6);
}

/**
 * port_verdict() - whether a local port or id, or what stands for one, is a flow's
 * @flow: flow whose protocol the packet has
 * @pkt: packet, or ICMP error about it
 * @port: port or id
 *
 * Return: VERDICT_PASS, VERDICT_GRE or VERDICT_PORT
 */
static enum verdict port_verdict(const struct policy_flow *flow, const struct pkt *pkt, uint16_t port)
{
	if (flow->class != CLASS_GRANT)
		return port < flow->lo || port > flow->hi ? VERDICT_PORT : VERDICT_PASS;
	if (flow->protocol != IPPROTO_GRE)
		return VERDICT_PASS;
	if (!(pkt->flags & PKT_KEY))
		return VERDICT_GRE;
	return pkt->key == flow->key ? VERDICT_PASS : VERDICT_PORT;
}

/**
 * local_ok() - whether an address is one of those that a flow names
 * @flow: flow
 * @addr: address
 *
 * Return: true also when the flow names none
 */
static bool local_ok(const struct policy_flow *flow, const struct addr *addr)
{
	const struct prefix prefix = {.addr = flow->local, .len = flow->local_len};

	if (flow->local_len)
		return prefix_contains(&prefix, addr);
	return addr_is_any(&flow->local) || addr_eq(addr, &flow->local);
}

/**
 * source_ok() - whether a packet to be sent has a source that it may have
 * @slice: of the flow
 * @flow: flow
 * @source: zero is right where one address can be filled in after the verdict,
 * which a prefix has not
 */
static bool source_ok(const struct policy_slice *slice, const struct policy_flow *flow, const struct addr *source)
{
	if (addr_is_any(source))
		return !flow->local_len;
	if (addr_is_any(&flow->local))
		return policy_slice_has_address(slice, source);
	return local_ok(flow, source);
}

/**
 * remote_ok() - whether the other end is the one that a flow is connected to
 * @flow: flow
 * @addr: of the other end
 * @port: of the other end, host byte order
 */
static bool remote_ok(const struct policy_flow *flow, const struct addr *addr, uint16_t port)
{
	if (addr_is_any(&flow->remote))
		return true;
	return addr_eq(addr, &flow->remote) && (!flow->remote_port || flow->remote_port == port);
}

/**
 * destination_verdict() - whether packets may be sent to an address at all
 * @slice: for its deny-list
 * @addr: destination
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict destination_verdict(const struct policy_slice *slice, const struct addr *addr)
{
	unsigned i;

	if (is_this_network(addr))
		return VERDICT_UNSPECIFIED;
	if (addr_is_loopback(addr) || is_v4_compatible(addr))
		return VERDICT_LOOPBACK;
	if (addr_is_multicast(addr))
		return VERDICT_MULTICAST;
	if (addr_is_broadcast(addr))
		return VERDICT_BROADCAST;
	if (addr_is_linklocal(addr))
		return VERDICT_LINK_LOCAL;
	for (i = 0; i < slice->denied; i++)
		if (prefix_contains(&slice->deny[i], addr))
			return VERDICT_DENIED;
	return VERDICT_PASS;
}

/**
 * route_verdict() - the verdict on a packet that says which way to go
 * @pkt: packet with PKT_SOURCE_ROUTE
 */
static enum verdict route_verdict(const struct pkt *pkt)
{
	return pkt->version == 4 ? VERDICT_SOURCE_ROUTE : VERDICT_ROUTING_HEADER;
}

/**
 * policy_send() - whether a flow may send a packet
 * @slice: of the flow
 * @flow: flow
 * @pkt: packet that pkt_parse() has passed; a wrong IP header checksum and a
 * zero source do not matter, pkt_fill() sets both right
 *
 * A later fragment has neither ports nor type: whoever asks about one must
 * see to it that it follows a first one that has passed on the same flow.
 *
 * Return: VERDICT_PASS or why not
 */
enum verdict policy_send(const struct policy_slice *slice, const struct policy_flow *flow, const struct pkt *pkt)
{
	bool later = pkt->flags & PKT_LATER;
	enum verdict verdict;

	if (flow->read_only)
		return VERDICT_READ_ONLY;
	if (!protocol_ok(flow, pkt->protocol, pkt))
		return VERDICT_PROTOCOL;
	if (pkt->flags & PKT_FRAGMENT && !slice->fragments)
		return VERDICT_FRAGMENT;
	if (pkt->flags & PKT_SOURCE_ROUTE)
		return route_verdict(pkt);
	if (flow->class == CLASS_ICMP && !later && !(pkt->flags & (PKT_ICMP_REQUEST | PKT_ICMP_REPLY)))
		return VERDICT_ICMP_TYPE;
	if (!source_ok(slice, flow, &pkt->src))
		return VERDICT_SOURCE;
	verdict = later ? VERDICT_PASS : port_verdict(flow, pkt, pkt->sport);
	if (verdict != VERDICT_PASS)
		return verdict;
	if (!remote_ok(flow, &pkt->dst, later ? flow->remote_port : pkt->dport))
		return VERDICT_REMOTE;
	return destination_verdict(slice, &pkt->dst);
}

/**
 * receive_error() - whether an ICMP error is about a flow
 * @flow: flow
 * @pkt: ICMP error
 *
 * It must be addressed to the source of the packet that it quotes: one that
 * is not was made up, or is for somebody else.
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict receive_error(const struct policy_flow *flow, const struct pkt *pkt)
{
	if (!protocol_ok(flow, pkt->inner_protocol, pkt))
		return VERDICT_PROTOCOL;
	if (!addr_eq(&pkt->inner_src, &pkt->dst))
		return VERDICT_NO_FLOW;
	if (!local_ok(flow, &pkt->inner_src))
		return VERDICT_NO_FLOW;
	if (port_verdict(flow, pkt, pkt->inner_sport) != VERDICT_PASS)
		return VERDICT_NO_FLOW;
	return remote_ok(flow, &pkt->inner_dst, pkt->inner_dport) ? VERDICT_PASS : VERDICT_NO_FLOW;
}

/**
 * receive_plain() - whether a packet that is no ICMP error is for a flow
 * @flow: flow
 * @pkt: packet
 *
 * A later fragment has no ports: whoever asks about one has found the flow by
 * the fragment that came first. In IPv6 it does not tell its protocol either:
 * what its fragment header names may be an extension header, which is in the
 * first fragment alone (RFC 8200 4.5).
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict receive_plain(const struct policy_flow *flow, const struct pkt *pkt)
{
	unsigned wanted = PKT_ICMP_REPLY | (flow->proxied ? PKT_ICMP_REQUEST : 0U);
	bool later = pkt->flags & PKT_LATER;

	if (!protocol_ok(flow, pkt->protocol, pkt))
		return VERDICT_PROTOCOL;
	if (flow->class == CLASS_ICMP && !later && !(pkt->flags & wanted))
		return pkt->flags & PKT_ICMP_REQUEST ? VERDICT_NO_FLOW : VERDICT_ICMP_TYPE;
	if (!local_ok(flow, &pkt->dst))
		return VERDICT_NO_FLOW;
	if (!later && port_verdict(flow, pkt, pkt->dport) != VERDICT_PASS)
		return VERDICT_NO_FLOW;
	return remote_ok(flow, &pkt->src, later ? flow->remote_port : pkt->sport) ? VERDICT_PASS : VERDICT_NO_FLOW;
}

/**
 * policy_receive() - whether a packet from the wire may be handed to a flow
 * @flow: flow
 * @pkt: packet that pkt_parse() has passed
 *
 * What the host's own stack would not take is not taken either: a wrong header
 * checksum, a source that is no host, a source route. An ICMP request to an
 * own address carries an identifier of its sender's and is answered by the
 * host, so it is for no flow; nobody but flows answers for a proxied one.
 * Whether the flow wants ICMP errors is for the caller to look at.
 *
 * Return: VERDICT_PASS or why not; VERDICT_NO_FLOW when the packet is sound but not for this flow
 */
enum verdict policy_receive(const struct policy_flow *flow, const struct pkt *pkt)
{
	if (pkt->flags & PKT_BAD_CHECKSUM)
		return VERDICT_CHECKSUM;
	if (is_this_network(&pkt->src) || addr_is_loopback(&pkt->src) || addr_is_multicast(&pkt->src) ||
	    addr_is_broadcast(&pkt->src) || is_v4_compatible(&pkt->src))
		return VERDICT_MARTIAN;
	if (pkt->flags & PKT_SOURCE_ROUTE)
		return route_verdict(pkt);
	return pkt->flags & PKT_ICMP_ERROR ? receive_error(flow, pkt) : receive_plain(flow, pkt);
}

/**
 * policy_slice_owns() - whether a slice may use all of some ports
 * @slice: slice
 * @class: protocol class
 * @lo: first port or id, host byte order
 * @hi: last one, included
 *
 * Ranges that touch or overlap count as one.
 */
bool policy_slice_owns(const struct policy_slice *slice, enum steer_class class, uint16_t lo, uint16_t hi)
{
	uint32_t next = lo; /* lowest port not yet found */
	bool found = lo <= hi;
	unsigned i;

	while (found && next <= hi) {
		found = false;
		for (i = 0; i < slice->ranges; i++) {
			const struct policy_range *range = &slice->range[i];

			if (range->class == class && range->lo <= next && next <= range->hi) {
				next = range->hi + 1U;
				found = true;
			}
		}
	}
	return found;
}

/**
 * policy_slice_granted() - whether a slice may use a protocol that has no ports
 * @slice: slice
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 */
bool policy_slice_granted(const struct policy_slice *slice, uint8_t protocol, uint32_t key)
{
	unsigned i;

	for (i = 0; i < slice->grants; i++)
		if (slice->grant[i].protocol == protocol && slice->grant[i].lo <= key && key <= slice->grant[i].hi)
			return true;
	return false;
}

/**
 * policy_grantable() - whether a protocol is one that slices can be granted
 * @ip_protocol: IPPROTO_
 */
bool policy_grantable(int ip_protocol)
{
	const unsigned number = (unsigned)ip_protocol;

	return number < ARRAY_SIZE(never_granted) && !never_granted[number];
}

/**
 * policy_slice_prefix() - the proxied prefix of a slice that an address is in
 * @slice: slice
 * @addr: address
 *
 * Every port of every address in it is the slice's, whatever its ranges.
 *
 * Return: the prefix, or NULL
 */
const struct prefix *policy_slice_prefix(const struct policy_slice *slice, const struct addr *addr)
{
	unsigned i;

	for (i = 0; i < slice->proxied; i++)
		if (prefix_contains(&slice->prefix[i], addr))
			return &slice->prefix[i];
	return NULL;
}

/**
 * policy_slice_has_address() - whether a slice may use an own address now
 * @slice: slice
 * @addr: address
 */
bool policy_slice_has_address(const struct policy_slice *slice, const struct addr *addr)
{
	unsigned i;

	for (i = 0; i < slice->addresses; i++)
		if (addr_eq(&slice->address[i], addr))
			return true;
	return false;
}

/**
 * policy_class() - the class of an IP protocol
 * @ip_protocol: IPPROTO_
 *
 * Return: enum steer_class, -1 for a protocol that has no ports
 */
int policy_class(int ip_protocol)
{
	unsigned i;

	for (i = 0; i < STEER_PORT_CLASSES; i++)
		if (classes[i].v4 == ip_protocol || classes[i].v6 == ip_protocol)
			return (int)i;
	return -1;
}

/**
 * policy_protocol() - the IP protocol of a class
 * @class: enum steer_class
 * @family: AF_INET6, or any other for IPv4
 *
 * Return: IPPROTO_, -1 for a number that is no class with ports
 */
int policy_protocol(enum steer_class class, int family)
{
	if ((unsigned)class >= STEER_PORT_CLASSES)
		return -1;
	return family == AF_INET6 ? classes[class].v6 : classes[class].v4;
}

/**
 * policy_class_name() - the name of a class: "tcp", "udp", "icmp", "sctp", "dccp", "udplite", "grant"
 * @class: enum steer_class
 *
 * Return: "unknown" for a number that is no class
 */
const char *policy_class_name(enum steer_class class)
{
	return (unsigned)class < STEER_CLASSES ? classes[class].name : "unknown";
}
