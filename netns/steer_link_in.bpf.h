/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_link_in.bpf.h: packets to a link
 *
 * link_in() brings a packet from the wire, or from lo, to its link. steer_tap
 * does it with what the relay has translated back. Both put it into the far end
 * at once (bpf_redirect_peer): it does not wait in the near one's queue.
 */
#ifndef SAFERAW_STEER_LINK_IN_BPF_H
#define SAFERAW_STEER_LINK_IN_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_port.bpf.h"
#include "steer_rate.bpf.h"

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
