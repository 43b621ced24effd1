/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_end.bpf.h: the local end that a packet is about
 *
 * A class and a port, or what stands for a port: an ICMP identifier, and for
 * GRE and protocols without any a slot of `grants`. Of an ICMP error it is
 * that of the packet which the error quotes.
 */
#ifndef SAFERAW_STEER_END_BPF_H
#define SAFERAW_STEER_END_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_port.bpf.h"

/**
 * grant_slot() - what stands for a port where the protocol has none
 * @skb: packet
 * @p: its headers; of GRE the key is read, which only packets as in RFC 2890 have
 *
 * Return: slot, 0 when no slice is granted the protocol or the key.
 */
__noinline int grant_slot(struct __sk_buff *skb, const struct packet *p)
{
	struct steer_grant grant = {};
	__be16 flags;
	__be32 key;
	__u32 *slot;

	if (!p)
		return 0;
	grant.protocol = p->protocol;
	if (p->protocol == IPPROTO_GRE) {
		__u32 at = p->transport + GRE_HEADER;

		if (!load(skb, p->transport, &flags, sizeof(flags)) ||
		    (flags & bpf_htons(STEER_GRE_MUST)) != bpf_htons(STEER_GRE_KEYED))
			return 0;
		if (flags & bpf_htons(STEER_GRE_CHECKSUM))
			at += sizeof(key);
		if (!load(skb, at, &key, sizeof(key)))
			return 0;
		grant.key = bpf_ntohl(key);
	}
	slot = bpf_map_lookup_elem(&grants, &grant);
	return slot ? *slot : 0;
}

/**
 * grant_end() - the end, of either side, of a packet whose protocol has no ports
 * @skb: packet
 * @p: its headers
 * @end: result
 *
 * Return: false if no slice is granted the protocol or the key.
 */
static __always_inline bool grant_end(struct __sk_buff *skb, const struct packet *p, struct end *end)
{
	__u32 slot = grant_slot(skb, p);

	end->class = CLASS_GRANT;
	end->port = slot;
	return slot;
}

/**
 * inner_end() - the local end that an ICMP error is about
 * @skb: packet
 * @p: its headers
 * @end: result
 *
 * Return: false if the inner packet is not one that p->dst could have sent.
 */
static __always_inline bool inner_end(struct __sk_buff *skb, const struct packet *p, struct end *end)
{
	__u32 base = p->transport + ICMP_HEADER;
	struct packet inner = {};
	union transport head;
	int class;

	if (p->version == 4 ? !parse_v4(skb, base, &inner) : !parse_v6(skb, base, &inner))
		return false;
	if (inner.later || inner.src.half[0] != p->dst.half[0] || inner.src.half[1] != p->dst.half[1])
		return false;
	class = class_of(&inner);
	if (class < 0)
		return grant_end(skb, &inner, end);
	if (!load(skb, inner.transport, &head, sizeof(head)))
		return false;
	if (class == CLASS_ICMP && !is_request(inner.version, head.icmp.type) &&
	    !is_reply(inner.version, head.icmp.type))
		return false;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head.icmp.id : head.port.source);
	return true;
}

/**
 * receiver() - the local end that a packet is for
 * @skb: packet
 * @p: its headers, of an unfragmented packet or first fragment
 * @row: of its destination
 * @end: result
 *
 * Return: false if it has none that could be steered.
 */
static __always_inline bool receiver(struct __sk_buff *skb, const struct packet *p, __u32 row, struct end *end)
{
	int class = class_of(p);
	union transport head;

	if (class < 0)
		return grant_end(skb, p, end);
	if (!load(skb, p->transport, &head, sizeof(head)))
		return false;
	if (class == CLASS_ICMP && is_error(p->version, head.icmp.type))
		return inner_end(skb, p, end);
	if (class == CLASS_ICMP && !has_id(row, p->version, head.icmp.type))
		return false;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head.icmp.id : head.port.dest);
	return true;
}

#endif
