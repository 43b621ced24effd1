/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_out.bpf.h: packets of the relay to the wire, if they may
 *
 * steer_out sits on the ingress of the TUN and sees what the relay wrote. It
 * believes nothing of it: only a packet from such an address and from a held
 * port of a slice leaves, and only to a destination that is neither special
 * nor denied. The namespace's own addresses are reached through the ingress of
 * lo, where steer_in sees the packet again, so that two flows of one host can
 * talk; so are proxied addresses, which would come back from the wire, where a
 * flow is open; all others by a route look-up on behalf of the helper device.
 * It answers redirect or drop and nothing else, so no packet of the relay ever
 * enters the host's own forwarding path.
 */
#ifndef SAFERAW_STEER_OUT_BPF_H
#define SAFERAW_STEER_OUT_BPF_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_end.bpf.h"
#include "steer_fragment.bpf.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_port.bpf.h"
#include "steer_rate.bpf.h"

#define FAMILY_V4 2 /* AF_INET and AF_INET6, which no UAPI header defines */
#define FAMILY_V6 10

/**
 * form() - is a packet well-formed, and without what nobody may send?
 * @skb: packet
 * @p: its headers
 * @length: bytes that there are from the IP header on
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason form(struct __sk_buff *skb, const struct packet *p, __u32 length)
{
	if (p->length != length || p->transport > length) /* an extension header may be cut off */
		return STEER_OUT_HEADER;
	if (p->routing || p->home)
		return STEER_OUT_OPTION;
	if (p->fragment && fragment_reason(p) != STEER_REASONS_N)
		return STEER_OUT_FRAGMENT;
	return p->options ? options_reason(skb, p->transport) : STEER_REASONS_N;
}

/**
 * is_tiny() - does a first fragment lack a part of the transport header?
 * @skb: packet
 * @p: its headers
 * @class: of its protocol
 *
 * What is lacking would come in a fragment that nobody judges (RFC 1858).
 *
 * Return: true if it does.
 */
static __always_inline bool is_tiny(struct __sk_buff *skb, const struct packet *p, int class)
{
	__u32 left = p->length - p->transport, at = class == CLASS_TCP ? TCP_DATA_OFFSET : DCCP_DATA_OFFSET;
	__u8 words;

	if (p->length < p->transport || left < header_min(class))
		return true;
	if (class != CLASS_TCP && class != CLASS_DCCP)
		return false;
	if (!load(skb, p->transport + at, &words, sizeof(words)))
		return true;
	return (class == CLASS_TCP ? words >> 4 : words) * 4U > left;
}

/**
 * is_cut() - does a first fragment lack a part of a GRE header?
 * @skb: packet
 * @p: its headers; of GRE with a key
 *
 * Return: true if it does.
 */
static __always_inline bool is_cut(struct __sk_buff *skb, const struct packet *p)
{
	__u32 size = GRE_HEADER + GRE_FIELD;
	__be16 flags;

	if (p->protocol != IPPROTO_GRE || !load(skb, p->transport, &flags, sizeof(flags)))
		return false;
	size += flags & bpf_htons(STEER_GRE_CHECKSUM) ? GRE_FIELD : 0;
	size += flags & bpf_htons(STEER_GRE_SEQUENCE) ? GRE_FIELD : 0;
	return p->length < p->transport + size;
}

/**
 * sender() - the local end that a packet claims to come from
 * @skb: packet
 * @p: its headers, of no later fragment
 * @head: result: its transport header; zero where the protocol has no ports
 * @end: result
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason sender(struct __sk_buff *skb, const struct packet *p, union transport *head,
						struct end *end)
{
	int class = class_of(p);

	if (class < 0 && !grant_end(skb, p, end))
		return STEER_OUT_PROTOCOL;
	if (p->fragment && (class < 0 ? is_cut(skb, p) : is_tiny(skb, p, class)))
		return STEER_OUT_TINY;
	head->whole = 0;
	if (class >= 0 && !load(skb, p->transport, head, sizeof(*head)))
		return STEER_OUT_HEADER;
	if (class < 0)
		return STEER_REASONS_N;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head->icmp.id : head->port.source);
	if (class == CLASS_ICMP && !is_request(p->version, head->icmp.type) && !is_reply(p->version, head->icmp.type))
		return STEER_OUT_TYPE;
	return STEER_REASONS_N;
}

/**
 * follow_sent() - the slice that sends a later fragment
 * @p: it
 * @slice: result
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason follow_sent(const struct packet *p, __u32 *slice)
{
	struct fragment_owner *first = first_of(&sent, p);

	if (!first)
		return STEER_OUT_ORPHAN;
	*slice = first->slice;
	return p->from < first->end ? STEER_OUT_OVERLAP : STEER_REASONS_N;
}

/**
 * sending_slice() - the slice that a packet of the relay is from
 * @skb: packet
 * @p: its headers
 * @head: result: its transport header, unless it is a later fragment
 * @slice: result; also where the packet is refused, if it is known then
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason sending_slice(struct __sk_buff *skb, const struct packet *p,
						       union transport *head, __u32 *slice)
{
	int index = row_of(&p->src, p->version);
	enum steer_reason reason;
	struct end end;

	if (index < 0)
		return STEER_OUT_SOURCE;
	reason = form(skb, p, skb->len);
	if (reason != STEER_REASONS_N)
		return reason;
	if (p->later)
		return follow_sent(p, slice);
	reason = sender(skb, p, head, &end);
	if (reason != STEER_REASONS_N)
		return reason;
	*slice = owner(index, &end);
	return *slice ? STEER_REASONS_N : STEER_OUT_PORT;
}

/**
 * is_denied() - is an address on a deny-list?
 * @address: address
 * @slice: whose list; 0 for the one of the whole namespace
 *
 * Return: true if it is.
 */
static __always_inline bool is_denied(const union address *address, __u32 slice)
{
	struct steer_prefix prefix = {.len = STEER_PREFIX_LEN(128), .slice = slice, .addr = address->key};

	return bpf_map_lookup_elem(&denied, &prefix);
}

/**
 * destination() - may a slice send there at all?
 * @p: headers
 * @slice: number
 *
 * Return: why not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason destination(const struct packet *p, __u32 slice)
{
	if (is_loopback(&p->dst, p->version))
		return STEER_OUT_LOOPBACK;
	if (is_multicast(&p->dst, p->version))
		return STEER_OUT_MULTICAST;
	if (is_link_local(&p->dst, p->version))
		return STEER_OUT_LINK_LOCAL;
	if (is_denied(&p->dst, 0) || is_denied(&p->dst, slice))
		return STEER_OUT_DENIED;
	return STEER_REASONS_N;
}

/**
 * send_local() - hand a packet to this namespace's own lo
 * @skb: packet
 * @slice: that sends it
 *
 * Return: TC action
 */
static __always_inline int send_local(struct __sk_buff *skb, __u32 slice)
{
	__be16 ethertype = skb->protocol;

	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return refuse(slice, STEER_OUT_TOO_BIG);
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &ethertype, sizeof(ethertype), 0))
		return refuse(slice, STEER_OUT_HEADER);
	return bpf_redirect(LO_IFINDEX, BPF_F_INGRESS);
}

/* Where a packet leaves */
struct hop {
	__u32 ifindex;
	struct bpf_redir_neigh neigh;
};

/**
 * route() - find out where a packet leaves
 * @skb: packet
 * @p: its headers
 * @head: its transport header, unless it is a later fragment
 * @size: of the largest packet that becomes of it, bytes from the IP header on
 * @hop: result, zeroed by the caller
 *
 * All fragments of a datagram go the same way: by addresses alone.
 *
 * Return: why it does not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason route(struct __sk_buff *skb, const struct packet *p,
					       const union transport *head, __u32 size, struct hop *hop)
{
	struct bpf_fib_lookup fib = {.ifindex = helper_ifindex, .l4_protocol = p->protocol};
	__u32 mtu = size;
	long result;

	if (!p->fragment && class_of(p) != CLASS_ICMP) {
		fib.sport = head->port.source;
		fib.dport = head->port.dest;
	}
	if (p->version == 4) {
		fib.family = FAMILY_V4;
		fib.tos = p->tos;
		fib.ipv4_src = p->src.word[3];
		fib.ipv4_dst = p->dst.word[3];
	} else {
		fib.family = FAMILY_V6;
		fib.flowinfo = p->flow;
		__builtin_memcpy(fib.ipv6_src, &p->src, sizeof(p->src));
		__builtin_memcpy(fib.ipv6_dst, &p->dst, sizeof(p->dst));
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return STEER_OUT_TOO_BIG;
	/* an unresolved neighbour is resolved by redirect_neigh */
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return STEER_OUT_NO_ROUTE;
	/* a unicast route through lo or one of our own devices must not get round send_local() */
	if (fib.ifindex == LO_IFINDEX || fib.ifindex == tun_ifindex || fib.ifindex == helper_ifindex ||
	    fib.ifindex == tap_ifindex || bpf_map_lookup_elem(&link_devices, &fib.ifindex))
		return STEER_OUT_NO_ROUTE;
	/* what is cut into segments passes the kernel's check whatever their size: `mtu` is the device's afterwards
	 */
	if (bpf_check_mtu(skb, fib.ifindex, &mtu, 0, 0) || size > mtu)
		return STEER_OUT_TOO_BIG;
	hop->ifindex = fib.ifindex;
	hop->neigh.nh_family = fib.family; /* of the gateway, which may be the other one */
	__builtin_memcpy(hop->neigh.ipv6_nh, fib.ipv6_dst, sizeof(hop->neigh.ipv6_nh));
	return STEER_REASONS_N;
}

/**
 * send_remote() - route a packet and send it out of an uplink
 * @skb: packet, without a link header
 * @p: its headers
 * @head: its transport header, unless it is a later fragment
 * @slice: that sends it
 *
 * Return: TC action
 */
static __always_inline int send_remote(struct __sk_buff *skb, const struct packet *p, const union transport *head,
				       __u32 slice)
{
	struct hop hop = {};
	enum steer_reason reason = route(skb, p, head, p->length, &hop);

	if (reason == STEER_REASONS_N && bpf_skb_change_head(skb, ETH_HLEN, 0))
		reason = STEER_OUT_TOO_BIG;
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	return bpf_redirect_neigh(hop.ifindex, &hop.neigh, sizeof(hop.neigh), 0);
}

/**
 * is_taken() - is a flow or link open where a packet goes?
 * @skb: packet
 * @p: headers
 * @head: transport header
 * @row: of its destination
 *
 * Where the protocol has no ports both ends are of the same slot.
 */
static __always_inline bool is_taken(struct __sk_buff *skb, const struct packet *p, const union transport *head,
				     __u32 row)
{
	int class = class_of(p);
	struct end end = {.class = class};
	__u32 link;

	end.port = bpf_ntohs(head->port.dest);
	if (class < 0)
		return grant_end(skb, p, &end) && steered(row, &end, &link) != 0;
	if (class == CLASS_ICMP) {
		if (!has_id(row, p->version, head->icmp.type))
			return false;
		end.port = bpf_ntohs(head->icmp.id);
	}
	return steered(row, &end, &link) != 0;
}

/**
 * local_reason() - may a slice reach this port of the host itself, or of a proxied address?
 * @skb: packet
 * @p: headers
 * @head: transport header, unless it is a later fragment, whose first may then
 * @row: of its destination
 * @conf: the slice
 *
 * On a proxied address there is nobody but flows, and a packet for it that
 * left the host would come back.
 *
 * Return: why not, STEER_REASONS_N if a flow is open there, or the slice may reach host sockets.
 */
static __always_inline enum steer_reason local_reason(struct __sk_buff *skb, const struct packet *p,
						      const union transport *head, __u32 row,
						      const struct steer_slice *conf)
{
	if (p->later || (conf->flags & STEER_LOCAL && !is_proxied(row)) || is_taken(skb, p, head, row))
		return STEER_REASONS_N;
	return is_proxied(row) ? STEER_OUT_NO_ROUTE : STEER_OUT_LOCAL;
}

/**
 * steer_out() - ingress of the TUN: what the relay sends leaves, if it is allowed to
 * @skb: packet
 *
 * Return: a redirect or TC_ACT_SHOT, and nothing else.
 */
SEC("tc")
int steer_out(struct __sk_buff *skb)
{
	struct packet p = {.strict = true};
	union transport head = {};
	struct steer_slice *conf;
	enum steer_reason reason;
	__u32 slice = 0;
	int index, action;

	if (!alive())
		return refuse(0, STEER_OUT_STALE);
	if (!parse(skb, &p))
		return refuse(0, STEER_OUT_HEADER);
	reason = sending_slice(skb, &p, &head, &slice);
	conf = bpf_map_lookup_elem(&slices, &slice);
	if (reason != STEER_REASONS_N || !conf)
		return refuse(slice, reason);
	reason = destination(&p, slice);
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	if (p.fragment && !(conf->flags & STEER_FRAGMENTS))
		return refuse(slice, STEER_OUT_FRAGMENT);
	if (!rate_ok(conf, slice, BUCKET_OUT_PACKETS, skb))
		return refuse(slice, STEER_OUT_RATE);
	index = row_of(&p.dst, p.version);
	if (index >= 0)
		reason = local_reason(skb, &p, &head, index, conf);
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	action = index < 0 ? send_remote(skb, &p, &head, slice) : send_local(skb, slice);
	if (p.more && !p.later && action != TC_ACT_SHOT)
		note_first(&sent, &p, &(struct fragment_owner){.slice = slice});
	return action;
}

#endif
