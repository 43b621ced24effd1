/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_link.bpf.h: the edge of a link
 *
 * A link is a veth pair: one end is in the namespace of a client, who is root
 * there and may send what he likes; the other end is here, and what the client
 * sends comes in by its ingress.
 *
 * steer_link sits there and believes nothing. A packet gets the checks of
 * steer_out. From a port of the link's own block, if the relay has opened it to
 * the link, it goes straight to the uplink: no process touches it, and a
 * super-packet stays one. From any other port it is refused (strict) or goes
 * to the relay, by the link TAP, to be translated into the block. ARP requests
 * and neighbour solicitations are answered here, for every address: programs
 * that do their own ask for whomever they send to.
 *
 * What describes an unfinished packet (segments, a checksum that is still to
 * be filled in) is the client's too, by PACKET_VNET_HDR or a TUN of his own, and
 * can be any lie: a checksum is written wherever it says, after the verdict.
 * So it must say what the headers say. bpf(2) programs do not see it in struct
 * __sk_buff; it is read from the kernel's own structure, by type information.
 *
 * link_in() brings a packet from the wire, or from lo, to its link. steer_tap
 * does it with what the relay has translated back. Both put it into the far end
 * at once (bpf_redirect_peer): it does not wait in the near one's queue.
 */
#ifndef SAFERAW_STEER_LINK_BPF_H
#define SAFERAW_STEER_LINK_BPF_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_end.bpf.h"
#include "steer_fragment.bpf.h"
#include "steer_maps.bpf.h"
#include "steer_out.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_port.bpf.h"
#include "steer_rate.bpf.h"

#define GSO_SIZE_MIN 500 /* bytes: a super-packet does not fall into thousands of packets */
#define TCP_CHECKSUM 16  /* offsets in transport headers */
#define UDP_CHECKSUM 6
#define UDP_HEADER 8

/* TCP flags */
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* ARP for IPv4 over Ethernet; linux/if_arp.h draws in headers of the C library */
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_TARGET_ADDRESS 2   /* option: the hardware address of the target */
#define ND_ANSWERED 0x60      /* solicited, override */
#define ND_HOPS 255

/* Of the kernel's own description of a packet: what of it is used */
struct skb_shared_info {
	unsigned int gso_type;
} __attribute__((preserve_access_index));

struct sk_buff {
	unsigned char *head;
	unsigned int end;
	__u16 network_header, csum_start, csum_offset;
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

#define CHECKSUM_PARTIAL 3

/* gso_type */
#define GSO_TCPV4 (1u << 0)
#define GSO_TCPV6 (1u << 4)
#define GSO_UDP_L4 (1u << 17)
#define GSO_HARMLESS (1u << 1 | 1u << 2 | 1u << 3) /* from a user, with ECN, with a fixed IPv4 id */

/* A frame that goes to one of a link's own devices */
static const __u8 gateway_mac[ETH_ALEN] = {0x02, 0, 0, 0, 0xff, 0xff};

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_size, protocol_size;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

/* A neighbour solicitation or advertisement with one option */
struct neighbour {
	__u8 type, code;
	__be16 checksum;
	__u8 flags, reserved[3];
	union address target;
	__u8 option, option_size, mac[ETH_ALEN];
};
#define ND_SHORT (sizeof(struct neighbour) - 8) /* without it */

/* What is summed before an ICMPv6 message */
struct pseudo {
	union address src, dst;
	__be32 length, protocol;
};

/**
 * link_refuse() - drop a packet of a link and count it, for the link and its slice
 * @number: of the link
 * @slice: its slice
 * @reason: why
 *
 * Return: TC_ACT_SHOT
 */
__noinline int link_refuse(__u32 number, __u32 slice, __u32 reason)
{
	struct steer_link_traffic *t = bpf_map_lookup_elem(&link_traffic, &number);

	if (t && reason < STEER_REASONS_N)
		__sync_fetch_and_add(&t->dropped[reason], 1);
	return refuse(slice, reason);
}

/**
 * link_deliver() - put a packet into a client's namespace
 * @skb: packet, with a link header
 * @number: of the link
 * @relayed: whether it comes from the relay
 *
 * Return: TC action
 */
static __always_inline int link_deliver(struct __sk_buff *skb, __u32 number, const bool relayed)
{
	struct steer_link_traffic *t = bpf_map_lookup_elem(&link_traffic, &number);
	struct steer_link *link = bpf_map_lookup_elem(&links, &number);
	__u32 packets = packets_in(skb);

	if (!t || !link || !link->ifindex)
		return refuse(0, STEER_LINK_GONE);
	__sync_fetch_and_add(&t->rx_packets, packets);
	__sync_fetch_and_add(&t->rx_bytes, skb->len - ETH_HLEN);
	if (relayed)
		__sync_fetch_and_add(&t->from_relay, packets);
	return bpf_redirect_peer(link->ifindex, 0);
}

/**
 * link_in() - a packet from the wire, or from lo, goes to a link, if its slice has not had too much
 * @skb: packet
 * @slice: of the link
 * @number: of the link
 *
 * Return: TC action
 */
__noinline int link_in(struct __sk_buff *skb, __u32 slice, __u32 number)
{
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &slice);

	if (!conf || !rate_ok(conf, slice, BUCKET_IN_PACKETS, skb))
		return link_refuse(number, slice, STEER_IN_RATE);
	return link_deliver(skb, number, false);
}

/**
 * gso_type() - how a super-packet is to be cut
 * @skb: packet
 *
 * Return: the kernel's bits.
 */
static __always_inline __u32 gso_type(struct __sk_buff *skb)
{
	const struct sk_buff *kernel = (const void *)skb;
	const unsigned char *head = BPF_CORE_READ(kernel, head);
	const struct skb_shared_info *shared = (const void *)(head + BPF_CORE_READ(kernel, end));

	return BPF_CORE_READ(shared, gso_type);
}

/**
 * gso_reason() - does the description of a super-packet fit its headers?
 * @skb: super-packet
 * @p: its headers
 *
 * Return: why not, STEER_REASONS_N if it does.
 */
static __always_inline enum steer_reason gso_reason(struct __sk_buff *skb, const struct packet *p)
{
	__u32 type = gso_type(skb) & ~GSO_HARMLESS, tcp = p->version == 4 ? GSO_TCPV4 : GSO_TCPV6;

	if (p->fragment || (type != tcp && type != GSO_UDP_L4) ||
	    p->protocol != (type == GSO_UDP_L4 ? IPPROTO_UDP : IPPROTO_TCP))
		return STEER_LINK_GSO_TYPE;
	return skb->gso_size < GSO_SIZE_MIN ? STEER_LINK_GSO_SIZE : STEER_REASONS_N;
}

/**
 * offload_reason() - is what is still to be done to a packet what its headers say?
 * @skb: packet of a link
 * @p: its headers
 *
 * Return: why not, STEER_REASONS_N if it is.
 */
__noinline int offload_reason(struct __sk_buff *skb, struct packet *p)
{
	const struct sk_buff *kernel = (const void *)skb;
	__u32 start, offset, summed = BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed);

	if (!p)
		return STEER_LINK_CSUM_START;
	if (skb->gso_size) {
		enum steer_reason reason = gso_reason(skb, p);

		if (reason != STEER_REASONS_N)
			return reason;
	}
	if (summed != CHECKSUM_PARTIAL)
		return skb->gso_size ? STEER_LINK_CSUM_START : STEER_REASONS_N;
	start = BPF_CORE_READ(kernel, csum_start);
	offset = BPF_CORE_READ(kernel, csum_offset);
	if (p->fragment || start != BPF_CORE_READ(kernel, network_header) + p->transport)
		return STEER_LINK_CSUM_START;
	if (p->protocol == IPPROTO_TCP ? offset != TCP_CHECKSUM
				       : p->protocol != IPPROTO_UDP || offset != UDP_CHECKSUM)
		return STEER_LINK_CSUM_OFFSET;
	return STEER_REASONS_N;
}

/**
 * arp_answer() - answer a client's ARP request
 * @skb: ARP packet; becomes the answer
 * @number: of the link
 * @slice: of the link
 *
 * Return: TC action
 */
__noinline int arp_answer(struct __sk_buff *skb, __u32 number, __u32 slice)
{
	union address target;
	struct ethhdr frame;
	struct arp arp;
	__be32 asked;

	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)) || !load(skb, 0, &arp, sizeof(arp)))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	__builtin_memcpy(&asked, arp.target, sizeof(asked));
	map_v4(&target, asked);
	if (arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_size != ETH_ALEN || arp.protocol_size != sizeof(asked) ||
	    arp.operation != bpf_htons(ARP_REQUEST) || bpf_map_lookup_elem(&addresses, &target))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	__builtin_memcpy(frame.h_dest, frame.h_source, ETH_ALEN);
	__builtin_memcpy(frame.h_source, gateway_mac, ETH_ALEN);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	__builtin_memcpy(arp.target, arp.sender, sizeof(arp.target));
	__builtin_memcpy(arp.sender_mac, gateway_mac, ETH_ALEN);
	__builtin_memcpy(arp.sender, &asked, sizeof(asked));
	arp.operation = bpf_htons(ARP_REPLY);
	if (bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	return bpf_redirect(skb->ifindex, 0);
}

/**
 * nd_checksum() - ICMPv6 checksum of a neighbour advertisement
 * @src: its source
 * @dst: its destination
 * @message: with a checksum of 0
 * @size: bytes of it
 */
static __always_inline __be16 nd_checksum(const union address *src, const union address *dst,
					  struct neighbour *message, __u32 size)
{
	struct pseudo pseudo = {
		.src = *src, .dst = *dst, .length = bpf_htonl(size), .protocol = bpf_htonl(IPPROTO_ICMPV6)};
	__s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);

	sum = size == ND_SHORT ? bpf_csum_diff(NULL, 0, (__be32 *)message, ND_SHORT, sum)
			       : bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(*message), sum);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/**
 * nd_answer() - answer a client's neighbour solicitation
 * @skb: solicitation without extension headers; becomes the answer
 * @number: of the link
 * @slice: of the link
 *
 * One without a source is about the client's own address: it gets no answer.
 *
 * Return: TC action
 */
__noinline int nd_answer(struct __sk_buff *skb, __u32 number, __u32 slice)
{
	struct neighbour message = {};
	struct ethhdr frame;
	struct ipv6hdr ip;
	union address to, from;
	__u32 size = skb->len - ETH_HLEN - sizeof(ip);

	if ((size != ND_SHORT && size != sizeof(message)) || bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)) ||
	    !load(skb, 0, &ip, sizeof(ip)) || !load(skb, sizeof(ip), &message, ND_SHORT))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	__builtin_memcpy(&to, &ip.saddr, sizeof(to));
	from = message.target;
	if (ip.hop_limit != ND_HOPS || (!to.half[0] && !to.half[1]) || bpf_map_lookup_elem(&addresses, &from))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	__builtin_memcpy(&ip.daddr, &to, sizeof(to));
	__builtin_memcpy(&ip.saddr, &from, sizeof(from));
	__builtin_memcpy(frame.h_dest, frame.h_source, ETH_ALEN);
	__builtin_memcpy(frame.h_source, gateway_mac, ETH_ALEN);
	__builtin_memcpy(message.mac, gateway_mac, ETH_ALEN);
	message.type = ND_ADVERTISEMENT;
	message.code = message.checksum = 0;
	message.flags = ND_ANSWERED;
	message.option = ND_TARGET_ADDRESS;
	message.option_size = 1;
	message.checksum = nd_checksum(&from, &to, &message, size);
	if (bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &message,
				size == ND_SHORT ? ND_SHORT : sizeof(message), 0))
		return link_refuse(number, slice, STEER_LINK_ONLINK);
	return bpf_redirect(skb->ifindex, 0);
}

/**
 * is_solicitation() - is this a neighbour solicitation?
 * @skb: packet
 * @p: its headers
 */
static __always_inline bool is_solicitation(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type;

	return p->version == 6 && p->protocol == IPPROTO_ICMPV6 && p->transport == sizeof(struct ipv6hdr) &&
	       load(skb, p->transport, &type, sizeof(type)) && type == ND_SOLICITATION;
}

/**
 * is_onlink() - is this what an IPv6 kernel says to its own link alone (MLD, router solicitations)?
 * @p: headers
 */
static __always_inline bool is_onlink(const struct packet *p)
{
	return p->version == 6 && bpf_ntohl(p->dst.word[0]) >> 16 == 0xff02;
}

/**
 * is_mapped() - is this the address that stands for the host itself inside links?
 * @a: address
 * @version: IP version of the packet that carries it
 */
static __always_inline bool is_mapped(const union address *a, __u8 version)
{
	if (version == 4)
		return a->word[3] == bpf_htonl(STEER_MAPPED4);
	return a->half[0] == bpf_cpu_to_be64(STEER_MAPPED6_TOP) && a->half[1] == bpf_cpu_to_be64(STEER_MAPPED6_BOTTOM);
}

/**
 * is_answer() - is this what a kernel answers to a TCP segment that it has no socket for?
 * @skb: packet
 * @p: its headers
 *
 * RFC 9293 3.10.7.1: a RST without ACK, or one with ACK, a sequence number of 0, and no window either.
 */
static __always_inline bool is_answer(struct __sk_buff *skb, const struct packet *p)
{
	struct {
		__be16 port[2];
		__be32 sequence, acknowledged;
		__u8 offset, flags;
		__be16 window;
	} tcp;

	if (p->protocol != IPPROTO_TCP || !load(skb, p->transport, &tcp, sizeof(tcp)) || !(tcp.flags & TCP_RST))
		return false;
	return !(tcp.flags & TCP_ACK) || (!tcp.sequence && !tcp.window);
}

/**
 * largest() - size of the largest packet that a packet is cut into
 * @skb: packet
 * @p: its headers
 *
 * Return: bytes, from the IP header on.
 */
static __always_inline __u32 largest(struct __sk_buff *skb, const struct packet *p)
{
	__u8 offset = 0;

	if (!skb->gso_size)
		return p->length;
	if (p->protocol == IPPROTO_UDP)
		return p->transport + UDP_HEADER + skb->gso_size;
	load(skb, p->transport + TCP_DATA_OFFSET, &offset, sizeof(offset));
	return p->transport + (offset >> 4) * 4 + skb->gso_size;
}

/**
 * to_relay() - give the relay a packet of a link, if its slice has room
 * @skb: packet
 * @number: of the link
 * @slice: of the link
 *
 * Return: TC action
 */
__noinline int to_relay(struct __sk_buff *skb, __u32 number, __u32 slice)
{
	__u8 mac[ETH_ALEN] = {0x02, 0, 0, 0, number >> 8, number};
	struct steer_link_traffic *count = bpf_map_lookup_elem(&link_traffic, &number);
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &slice);
	struct steer_traffic *t = bpf_map_lookup_elem(&traffic, &slice);
	__u32 packets = packets_in(skb);
	__s64 waiting;

	if (!conf || !t || !count)
		return TC_ACT_SHOT;
	waiting = *(volatile __u64 *)&t->tap_queued - *(volatile __u64 *)&t->tap_drained;
	if (waiting >= (__s64)conf->share)
		return link_refuse(number, slice, STEER_LINK_SHARE);
	if (bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0))
		return link_refuse(number, slice, STEER_OUT_HEADER);
	__sync_fetch_and_add(&t->tap_queued, packets);
	__sync_fetch_and_add(&count->to_relay, packets);
	__sync_fetch_and_add(&count->tx_packets, packets);
	__sync_fetch_and_add(&count->tx_bytes, skb->len - ETH_HLEN);
	return bpf_redirect(tap_ifindex, 0);
}

/**
 * own_port() - does a packet come from a port that is the link's, and open to it?
 * @link: link
 * @index: of the source address
 * @end: source port
 */
static __always_inline bool own_port(const struct steer_link *link, __u32 index, const struct end *end)
{
	__u32 class = end->class;

	if (class >= STEER_LINK_CLASSES || end->port < link->lo[class] || end->port > link->hi[class])
		return false;
	return opened(index, end) == STEER_LINK && owner(index, end) == link->slice;
}

/**
 * link_send() - a packet that has been found right leaves by itself
 * @skb: packet
 * @p: its headers
 * @head: its transport header
 * @number: of the link
 * @slice: of the link
 *
 * Return: TC action
 */
static __always_inline int link_send(struct __sk_buff *skb, const struct packet *p, const union transport *head,
				     __u32 number, __u32 slice)
{
	struct steer_link_traffic *count = bpf_map_lookup_elem(&link_traffic, &number);
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &slice);
	int index = row_of(&p->dst, p->version);
	struct hop hop = {};
	enum steer_reason reason;

	if (!conf || !count)
		return TC_ACT_SHOT;
	if (index >= 0)
		reason = local_reason(skb, p, head, index, conf);
	else
		reason = route(skb, p, head, largest(skb, p), &hop);
	if (reason == STEER_REASONS_N && !rate_ok(conf, slice, BUCKET_OUT_PACKETS, skb))
		reason = STEER_OUT_RATE;
	if (reason != STEER_REASONS_N)
		return link_refuse(number, slice, reason);
	__sync_fetch_and_add(&count->tx_packets, packets_in(skb));
	__sync_fetch_and_add(&count->tx_bytes, skb->len - ETH_HLEN);
	if (index < 0)
		return bpf_redirect_neigh(hop.ifindex, &hop.neigh, sizeof(hop.neigh), 0);
	/* lo takes what has its own address, which is all zeros */
	if (bpf_skb_store_bytes(skb, 0, &(struct ethhdr){}, ETH_ALEN, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(LO_IFINDEX, BPF_F_INGRESS);
}

/**
 * link_follow() - does a later fragment follow a first one of the same link?
 * @p: later fragment
 * @number: of the link
 * @relayed: result: it goes the way of the first
 *
 * Return: why not, STEER_REASONS_N if it does.
 */
static __always_inline enum steer_reason link_follow(const struct packet *p, __u32 number, bool *relayed)
{
	struct fragment_owner *first = first_of(&link_sent, p);

	if (!first || first->link != number)
		return STEER_OUT_ORPHAN;
	*relayed = first->relayed;
	return p->from < first->end ? STEER_OUT_OVERLAP : STEER_REASONS_N;
}

/**
 * link_begin() - may a link send from that port, and by which way?
 * @skb: packet
 * @p: its headers, of no later fragment
 * @head: result: its transport header
 * @link: that it comes from
 * @relayed: result: the relay translates it
 *
 * Return: why not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason link_begin(struct __sk_buff *skb, const struct packet *p,
						    union transport *head, const struct steer_link *link,
						    bool *relayed)
{
	struct end end = {};
	enum steer_reason reason = sender(skb, p, head, &end);

	if (reason != STEER_REASONS_N)
		return reason;
	if (end.class >= STEER_LINK_CLASSES)
		return STEER_OUT_PROTOCOL;
	*relayed = is_mapped(&p->dst, p->version) || !own_port(link, local_index(&p->src, p->version), &end);
	if (link->flags & STEER_LINK_QUIET && is_answer(skb, p))
		return STEER_LINK_QUIETED;
	return STEER_REASONS_N;
}

/**
 * link_judge() - may a packet leave a link?
 * @skb: packet
 * @p: its headers
 * @head: result: its transport header, unless it is a later fragment
 * @number: of the link
 * @link: the link
 * @relayed: result: the relay translates it
 *
 * Return: why not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason link_judge(struct __sk_buff *skb, struct packet *p, union transport *head,
						    __u32 number, const struct steer_link *link, bool *relayed)
{
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &link->slice);
	enum steer_reason reason;

	if (!conf || local_index(&p->src, p->version) < 0)
		return STEER_OUT_SOURCE;
	reason = form(skb, p, skb->len - ETH_HLEN);
	if (reason == STEER_REASONS_N)
		reason = p->later ? link_follow(p, number, relayed) : link_begin(skb, p, head, link, relayed);
	if (reason == STEER_REASONS_N)
		reason = destination(p, link->slice);
	if (reason != STEER_REASONS_N)
		return reason;
	if (p->fragment && !(conf->flags & STEER_FRAGMENTS))
		return STEER_OUT_FRAGMENT;
	if (is_mapped(&p->dst, p->version) && !(conf->flags & STEER_LOCAL))
		return STEER_OUT_LOCAL;
	if (*relayed && link->flags & STEER_LINK_STRICT)
		return STEER_LINK_PORT;
	return offload_reason(skb, p);
}

/**
 * link_packet() - an IP packet of a client
 * @skb: packet
 * @number: of the link
 * @link: the link
 *
 * Return: TC action
 */
static __always_inline int link_packet(struct __sk_buff *skb, __u32 number, const struct steer_link *link)
{
	struct fragment_owner first = {.slice = link->slice, .link = number};
	struct packet p = {.strict = true};
	union transport head = {};
	enum steer_reason reason;
	bool relayed = false;
	int action;

	if (!parse(skb, &p))
		return link_refuse(number, link->slice, STEER_OUT_HEADER);
	if (is_solicitation(skb, &p))
		return nd_answer(skb, number, link->slice);
	if (is_onlink(&p))
		return link_refuse(number, link->slice, STEER_LINK_ONLINK);
	reason = link_judge(skb, &p, &head, number, link, &relayed);
	if (reason != STEER_REASONS_N)
		return link_refuse(number, link->slice, reason);
	if (relayed)
		action = to_relay(skb, number, link->slice);
	else
		action = link_send(skb, &p, &head, number, link->slice);
	first.relayed = relayed;
	if (p.more && !p.later && action != TC_ACT_SHOT)
		note_first(&link_sent, &p, &first);
	return action;
}

/**
 * steer_link() - ingress of the near end of a link: what a client sends
 * @skb: frame
 *
 * Return: a redirect or TC_ACT_SHOT, and nothing else.
 */
SEC("tc")
int steer_link(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, *number = bpf_map_lookup_elem(&link_devices, &ifindex);
	struct steer_link *link = number ? bpf_map_lookup_elem(&links, number) : NULL;

	if (!link)
		return refuse(0, STEER_LINK_GONE);
	if (!alive())
		return link_refuse(*number, link->slice, STEER_OUT_STALE);
	if (skb->vlan_present)
		return link_refuse(*number, link->slice, STEER_LINK_VLAN);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return arp_answer(skb, *number, link->slice);
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return link_refuse(*number, link->slice, STEER_LINK_ETHERTYPE);
	return link_packet(skb, *number, link);
}

/**
 * steer_tap() - ingress of the link TAP: what the relay sends to a link
 * @skb: frame; the end of its destination address is the link's number
 *
 * Return: a redirect or TC_ACT_SHOT, and nothing else.
 */
SEC("tc")
int steer_tap(struct __sk_buff *skb)
{
	const __u8 prefix[] = STEER_TAP_PREFIX;
	__u8 mac[ETH_ALEN];

	if (!alive())
		return refuse(0, STEER_OUT_STALE);
	if (skb->vlan_present || (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)) ||
	    bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)) || __builtin_memcmp(mac, prefix, sizeof(prefix)))
		return refuse(0, STEER_LINK_GONE);
	/* the client's kernel takes no frame that is another's */
	if (bpf_skb_change_type(skb, PACKET_HOST))
		return refuse(0, STEER_LINK_GONE);
	return link_deliver(skb, mac[4] << 8 | mac[5], true);
}

#endif
