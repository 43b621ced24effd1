/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_link.bpf.h: packets from a link
 *
 * A link is a veth pair: one end is in the namespace of a client, who is root
 * there and may send what he likes; the other end is here, and what the client
 * sends comes in by its ingress.
 *
 * steer_link sits there and believes nothing, neither the packet nor its
 * description (steer_offload.bpf.h). A packet gets the checks of steer_out.
 * From a port of the link's own block, if the relay has opened it to the link,
 * it goes straight to the uplink: no process touches it, and a super-packet
 * stays one. From any other port it is refused (strict) or goes to the relay,
 * by the link TAP, to be translated into the block. Who asks for a neighbour
 * gets an answer (steer_neighbour.bpf.h). The way back is in
 * steer_link_in.bpf.h.
 */
#ifndef SAFERAW_STEER_LINK_BPF_H
#define SAFERAW_STEER_LINK_BPF_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_end.bpf.h"
#include "steer_fragment.bpf.h"
#include "steer_maps.bpf.h"
#include "steer_neighbour.bpf.h"
#include "steer_offload.bpf.h"
#include "steer_out.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_port.bpf.h"
#include "steer_rate.bpf.h"

/* TCP flags */
#define TCP_RST 0x04
#define TCP_ACK 0x10

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

#endif
