/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_packet.bpf.h: what the steering programs read of a packet
 *
 * Headers are copied out with bpf_skb_load_bytes_relative(), from the network
 * header on: this works with and without a link header, and needs no packet
 * pointers, which CAP_BPF alone may not use at variable offsets. An address is
 * 16 bytes, IPv4 in the mapped form; therefore an address of an IPv6 packet
 * must pass is_loopback(), which names mapped ones too, before any look-up.
 *
 * What is refused here is what shim/pkt.c refuses, so that no sound relay ever
 * meets the backstop; where the two differ, the backstop reads less.
 */
#ifndef SAFERAW_STEER_PACKET_BPF_H
#define SAFERAW_STEER_PACKET_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

#define LINK_HEADER_MAX 64 /* more than any link header at ingress, bytes */
#define EXTENSIONS_MAX 8   /* IPv6 extension headers that are walked, as in pkt.c */
#define EXTENSION_UNIT 8   /* bytes that their lengths count in */
#define OPTION_PAD1 0
#define OPTION_HOME_ADDRESS 201 /* puts another source in (RFC 6275 6.3) */
#define OPTIONS_SIZE_MAX 2048   /* bytes of one header of options */
#define IP_OPTIONS_MAX 40  /* bytes */
#define IP_HEADER_MASK 63
#define IP_OFFSET_MASK 0x1fff
#define IP_MORE 0x2000
#define IPV6_FLOW_MASK 0x0fffffff
#define IPV6_OFFSET_MASK 0xfff8
#define IPV6_MORE 0x0001
#define FRAGMENT_UNIT 8      /* bytes that IPv4's offsets count in, and all but a last fragment's size */
#define DATAGRAM_MAX 65535   /* bytes: IPv4's with its header, IPv6's behind the fixed header */
#define NOT_FOUND -1

/* ICMP types; linux/icmp.h draws in headers of the C library */
enum icmp_type {
	ICMP_ECHOREPLY = 0,
	ICMP_DEST_UNREACH = 3,
	ICMP_SOURCE_QUENCH = 4,
	ICMP_REDIRECT = 5,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
	ICMP_TIMESTAMP = 13,
	ICMP_TIMESTAMPREPLY = 14,
};
#define TCP_DATA_OFFSET 12 /* where a TCP header says how long it is, words in the upper half of the byte */
#define DCCP_DATA_OFFSET 4 /* the same of a DCCP header, words */
#define GRE_HEADER 4 /* bytes before the checksum or key */
#define GRE_FIELD 4  /* bytes of checksum, key, sequence number */
#define ICMP_HEADER 8 /* bytes before the inner packet of an error, of either family */

union address {
	struct steer_address key;
	__be32 word[4];
	__u64 half[2];
};

/* What the IP header and the IPv6 extension headers say. Offsets count from the (outer) IP header. */
struct packet {
	union address src, dst;
	__u32 transport; /* offset of the transport header */
	__u32 length;    /* of the whole packet, bytes */
	__u32 fragment_id;
	__u32 data; /* offset of what a fragment holds of its datagram */
	__u32 from; /* where in the datagram that belongs, bytes */
	__be32 flow; /* IPv6 traffic class and flow label */
	__u8 tos;    /* IPv4 */
	__u8 version;
	__u8 protocol;
	bool strict;   /* set by the caller: look at IPv6 options too */
	bool options;  /* IPv4 options are there */
	bool routing;  /* an IPv6 routing header */
	bool on_way;   /* which has hops left to visit */
	bool home;     /* an IPv6 home address option; with `strict` */
	bool fragment; /* an IPv6 fragment header, or an IPv4 fragment */
	bool more;     /* more fragments follow */
	bool later;    /* not the first fragment: no transport header */
};

/* The first 8 bytes of a transport header: all that is read of one */
union transport {
	struct {
		__be16 source, dest;
	} port;
	struct {
		__u8 type, code;
		__be16 checksum, id;
	} icmp;
	__u64 whole;
};

struct extension {
	__u8 next, length, type, left;
};

/* Where walk_options() stands */
struct options {
	struct __sk_buff *skb;
	__u32 at, end; /* offsets from the IP header */
	bool broken, home;
};

struct fragment_header {
	__u8 next, reserved;
	__be16 offset;
	__be32 id;
};

/* A port (or ICMP identifier) and its protocol class */
struct end {
	__u32 class;
	__u16 port; /* host byte order */
};

/**
 * load() - copy bytes out of a packet
 * @skb: packet
 * @offset: from the IP header
 * @to: destination
 * @size: bytes
 *
 * The relative load sees only the linear part of the packet, which a large
 * packet from a TUN does not have at all: then pull and try again.
 *
 * Return: false if the packet ends before.
 */
static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
	__u32 pull = offset + size + LINK_HEADER_MAX;

	if (bpf_skb_load_bytes_relative(skb, offset, to, size, BPF_HDR_START_NET) == 0)
		return true;
	if (bpf_skb_pull_data(skb, pull < skb->len ? pull : skb->len))
		return false;
	return bpf_skb_load_bytes_relative(skb, offset, to, size, BPF_HDR_START_NET) == 0;
}

/**
 * map_v4() - the 16-byte form of an IPv4 address
 * @to: result
 * @address: IPv4 address, network byte order
 */
static __always_inline void map_v4(union address *to, __be32 address)
{
	to->half[0] = 0;
	to->word[2] = bpf_htonl(0xffff);
	to->word[3] = address;
}

/**
 * parse_v4() - read an IPv4 header
 * @skb: packet
 * @base: offset of the header
 * @p: result, zeroed by the caller
 *
 * Return: false if it is broken or not there.
 */
__noinline int parse_v4(struct __sk_buff *skb, __u32 base, struct packet *p)
{
	struct iphdr ip;
	__u16 fragment;

	if (!p || !load(skb, base, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return false;
	fragment = bpf_ntohs(ip.frag_off);
	map_v4(&p->src, ip.saddr);
	map_v4(&p->dst, ip.daddr);
	p->version = 4;
	p->protocol = ip.protocol;
	p->transport = base + ip.ihl * 4;
	p->length = bpf_ntohs(ip.tot_len);
	p->fragment_id = ip.id;
	p->data = p->transport;
	p->from = (fragment & IP_OFFSET_MASK) * FRAGMENT_UNIT;
	p->tos = ip.tos;
	p->options = ip.ihl > 5;
	p->more = fragment & IP_MORE;
	p->later = fragment & IP_OFFSET_MASK;
	p->fragment = p->more || p->later;
	return true;
}

/**
 * step_option() - pass over one IPv6 option
 * @i: how many were passed over
 * @arg: struct options, moved on
 *
 * Return: 1 at the end, else 0.
 */
static long step_option(__u32 i, void *arg)
{
	struct options *o = arg;
	__u8 option[2] = {};

	if (o->at >= o->end)
		return 1;
	/* behind the last byte there may be nothing */
	if (!load(o->skb, o->at, option, o->end - o->at > 1 ? 2 : 1)) {
		o->broken = true;
		return 1;
	}
	o->at++;
	if (option[0] == OPTION_PAD1)
		return 0;
	o->home = o->home || option[0] == OPTION_HOME_ADDRESS;
	o->at += 1 + option[1];
	o->broken = o->at > o->end;
	return o->broken;
}

/**
 * walk_options() - look through a hop-by-hop or destination options header
 * @skb: packet
 * @at: offset of the first option
 * @end: offset behind the last one
 *
 * Return: OUT_HEADER or OUT_OPTION, STEER_REASONS_N if there is nothing wrong.
 */
__noinline int walk_options(struct __sk_buff *skb, __u32 at, __u32 end)
{
	struct options o = {.skb = skb, .at = at, .end = end};

	bpf_loop(OPTIONS_SIZE_MAX, step_option, &o, 0);
	if (o.broken)
		return STEER_OUT_HEADER;
	return o.home ? STEER_OUT_OPTION : STEER_REASONS_N;
}

/**
 * parse_extension() - step over one IPv6 extension header
 * @skb: packet
 * @p: in and out: p->protocol is the header at p->transport
 *
 * Return: false if it is broken.
 */
static __always_inline bool parse_extension(struct __sk_buff *skb, struct packet *p)
{
	struct extension ext;
	__u32 size;

	if (!load(skb, p->transport, &ext, sizeof(ext)))
		return false;
	size = (ext.length + 1) * EXTENSION_UNIT;
	if (p->protocol == IPPROTO_ROUTING) {
		p->routing = true;
		p->on_way = p->on_way || ext.left;
	} else if (p->strict) {
		int reason = walk_options(skb, p->transport + 2, p->transport + size);

		if (reason == STEER_OUT_HEADER)
			return false;
		p->home = p->home || reason == STEER_OUT_OPTION;
	}
	p->protocol = ext.next;
	p->transport += size;
	return true;
}

/**
 * parse_fragment() - step over an IPv6 fragment header
 * @skb: packet
 * @p: in and out, as in parse_extension()
 *
 * Return: false if it is broken or the second one.
 */
static __always_inline bool parse_fragment(struct __sk_buff *skb, struct packet *p)
{
	struct fragment_header header;

	if (p->fragment || !load(skb, p->transport, &header, sizeof(header)))
		return false;
	p->fragment = true;
	p->fragment_id = header.id;
	p->more = header.offset & bpf_htons(IPV6_MORE);
	p->later = header.offset & bpf_htons(IPV6_OFFSET_MASK);
	p->from = bpf_ntohs(header.offset) & IPV6_OFFSET_MASK;
	p->protocol = header.next;
	p->transport += sizeof(header);
	p->data = p->transport;
	return true;
}

/**
 * parse_v6() - read an IPv6 header and walk its extension headers
 * @skb: packet
 * @base: offset of the header
 * @p: result, zeroed by the caller but for `strict`
 *
 * Return: false if the chain is broken or too long, or hop-by-hop options are not its first header.
 */
__noinline int parse_v6(struct __sk_buff *skb, __u32 base, struct packet *p)
{
	struct ipv6hdr ip;

	if (!p || !load(skb, base, &ip, sizeof(ip)) || ip.version != 6)
		return false;
	__builtin_memcpy(&p->src, &ip.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip.daddr, sizeof(p->dst));
	__builtin_memcpy(&p->flow, &ip, sizeof(p->flow));
	p->flow &= bpf_htonl(IPV6_FLOW_MASK);
	p->version = 6;
	p->protocol = ip.nexthdr;
	p->transport = base + sizeof(ip);
	p->length = bpf_ntohs(ip.payload_len) + sizeof(ip);
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		if (p->later)
			return true;
		switch (p->protocol) {
		case IPPROTO_HOPOPTS:
			if (i > 0)
				return false;
			/* fall through */
		case IPPROTO_DSTOPTS:
		case IPPROTO_ROUTING:
			if (!parse_extension(skb, p))
				return false;
			break;
		case IPPROTO_FRAGMENT:
			if (!parse_fragment(skb, p))
				return false;
			break;
		default:
			return true;
		}
	}
	return false;
}

/**
 * parse() - read the headers of a packet
 * @skb: packet
 * @p: result, zeroed by the caller but for `strict`
 *
 * Return: false if it is neither IPv4 nor IPv6, or its headers are broken.
 */
static __always_inline bool parse(struct __sk_buff *skb, struct packet *p)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, 0, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_v6(skb, 0, p);
	return false;
}

/**
 * is_loopback() - is this address one that never is on a wire?
 * @a: address
 * @version: IP version of the packet that carries it
 *
 * Return: true for loopback, "this network" (0.0.0.0/8, RFC 1122 3.2.1.3) and, in
 * an IPv6 packet, :: and all that stands for an IPv4 address (::/96, ::ffff:0:0/96).
 */
static __always_inline bool is_loopback(const union address *a, __u8 version)
{
	__u8 top;

	if (version == 4) {
		top = bpf_ntohl(a->word[3]) >> 24;
		return top == 0 || top == 127;
	}
	return !a->half[0] && (!a->word[2] || a->word[2] == bpf_htonl(0xffff));
}

/**
 * is_link_local() - is this address of one link alone?
 * @a: address
 * @version: IP version of the packet that carries it
 *
 * Return: true for 169.254.0.0/16 and fe80::/10.
 */
static __always_inline bool is_link_local(const union address *a, __u8 version)
{
	if (version == 4)
		return bpf_ntohl(a->word[3]) >> 16 == 0xa9fe;
	return bpf_ntohl(a->word[0]) >> 22 == 0xfe80 >> 6;
}

/**
 * is_multicast() - is this address multicast or the limited broadcast?
 * @a: address
 * @version: IP version of the packet that carries it
 *
 * Return: true if it is.
 */
static __always_inline bool is_multicast(const union address *a, __u8 version)
{
	if (version == 4)
		return bpf_ntohl(a->word[3]) >> 28 == 0xe || a->word[3] == bpf_htonl(0xffffffff);
	return bpf_ntohl(a->word[0]) >> 24 == 0xff;
}

/**
 * class_of() - protocol class of a packet
 * @p: packet
 *
 * Return: enum steer_class, or NOT_FOUND.
 */
static __always_inline int class_of(const struct packet *p)
{
	if (p->protocol == IPPROTO_TCP)
		return CLASS_TCP;
	if (p->protocol == IPPROTO_UDP)
		return CLASS_UDP;
	if (p->protocol == (p->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return CLASS_ICMP;
	if (p->protocol == IPPROTO_SCTP)
		return CLASS_SCTP;
	if (p->protocol == IPPROTO_DCCP)
		return CLASS_DCCP;
	if (p->protocol == IPPROTO_UDPLITE)
		return CLASS_UDPLITE;
	return NOT_FOUND;
}

/**
 * is_request() - is this the type of an ICMP message whose id is its sender's?
 * @version: IP version
 * @type: ICMP type
 *
 * Return: true for echo and timestamp requests.
 */
static __always_inline bool is_request(__u8 version, __u8 type)
{
	return version == 4 ? type == ICMP_ECHO || type == ICMP_TIMESTAMP : type == ICMPV6_ECHO_REQUEST;
}

/**
 * is_reply() - is this the type of an ICMP message whose id is its receiver's?
 * @version: IP version
 * @type: ICMP type
 *
 * Return: true for echo and timestamp replies.
 */
static __always_inline bool is_reply(__u8 version, __u8 type)
{
	return version == 4 ? type == ICMP_ECHOREPLY || type == ICMP_TIMESTAMPREPLY : type == ICMPV6_ECHO_REPLY;
}

/**
 * is_error() - is this the type of an ICMP error?
 * @version: IP version
 * @type: ICMP type
 *
 * Return: true if an inner packet follows.
 */
static __always_inline bool is_error(__u8 version, __u8 type)
{
	const __u32 v4 = 1 << ICMP_DEST_UNREACH | 1 << ICMP_SOURCE_QUENCH | 1 << ICMP_REDIRECT |
			 1 << ICMP_TIME_EXCEEDED | 1 << ICMP_PARAMETERPROB;
	const __u32 v6 =
		1 << ICMPV6_DEST_UNREACH | 1 << ICMPV6_PKT_TOOBIG | 1 << ICMPV6_TIME_EXCEED | 1 << ICMPV6_PARAMPROB;

	return type < 32 && ((version == 4 ? v4 : v6) >> type & 1);
}

/**
 * header_min() - bytes that a transport header takes at least
 * @class: enum steer_class
 */
static __always_inline __u32 header_min(int class)
{
	if (class == CLASS_TCP)
		return 20;
	return class == CLASS_SCTP || class == CLASS_DCCP ? 12 : 8;
}

/**
 * fragment_end() - where in its datagram a fragment ends
 * @p: fragment
 *
 * Return: bytes
 */
static __always_inline __u32 fragment_end(const struct packet *p)
{
	return p->from + p->length - p->data;
}

/**
 * fragment_reason() - is a fragment well-formed?
 * @p: fragment, of a packet whose length is right
 *
 * Return: OUT_FRAGMENT, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason fragment_reason(const struct packet *p)
{
	__u32 size = p->length - p->data;
	__u32 before = p->version == 4 ? p->data : p->data - sizeof(struct ipv6hdr) - sizeof(struct fragment_header);

	if (!p->more && !p->later) /* an atomic fragment */
		return STEER_OUT_FRAGMENT;
	if (p->length <= p->data || (p->more && size % FRAGMENT_UNIT) || before + fragment_end(p) > DATAGRAM_MAX)
		return STEER_OUT_FRAGMENT;
	return STEER_REASONS_N;
}

/**
 * options_reason() - look for source routes among IPv4 options
 * @skb: packet
 * @end: offset of the transport header
 *
 * Return: OUT_OPTION or OUT_HEADER, STEER_REASONS_N if there is nothing wrong.
 */
__noinline int options_reason(struct __sk_buff *skb, __u32 end)
{
	__u32 offset = sizeof(struct iphdr);
	__u8 option[2] = {};

	for (int i = 0; i < IP_OPTIONS_MAX && offset < end; i++) {
		/* behind the last byte there may be nothing */
		if (!load(skb, offset, option, end - offset > 1 ? 2 : 1))
			return STEER_OUT_HEADER;
		if (option[0] == IPOPT_LSRR || option[0] == IPOPT_SSRR)
			return STEER_OUT_OPTION;
		if (option[0] == IPOPT_END)
			break;
		if (option[0] == IPOPT_NOOP)
			option[1] = 1;
		else if (option[1] < 2 || option[1] > end - offset)
			return STEER_OUT_HEADER;
		/* a header has 60 bytes at most: the mask changes nothing, but keeps the verifier's states few */
		offset = (offset + option[1]) & IP_HEADER_MASK;
	}
	return STEER_REASONS_N;
}

#endif
