/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_in.bpf.h: packets from the wire to flows and links
 *
 * steer_in sits on the ingress of every uplink, lo included. It takes a packet
 * off the host's path only when everything holds: the monitor is alive, the
 * destination is an address of this namespace or in a proxied prefix, its port
 * belongs to a slice (`allowed`), the reservation of the port is held, and the
 * relay has opened it (`open`). Then the packet goes into the TUN or to a link,
 * or is dropped because the slice is over its share of the ring or its rate.
 * All other traffic is answered with TC_ACT_UNSPEC: the next program, and then
 * the host, see it as if steering were not there.
 */
#ifndef SAFERAW_STEER_IN_BPF_H
#define SAFERAW_STEER_IN_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_end.bpf.h"
#include "steer_fragment.bpf.h"
#include "steer_link_in.bpf.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_port.bpf.h"
#include "steer_rate.bpf.h"

/**
 * source_ok() - could a remote host have sent this?
 * @skb: packet
 * @p: its headers
 *
 * Return: false if its source is special, or an own or proxied address on another device than lo.
 */
static __always_inline bool source_ok(struct __sk_buff *skb, const struct packet *p)
{
	if (is_loopback(&p->src, p->version) || is_multicast(&p->src, p->version))
		return false;
	return skb->ifindex == LO_IFINDEX || row_of(&p->src, p->version) < 0;
}

/**
 * steer_in() - ingress of an uplink: packets for open flows go into the TUN, those for links into their namespaces
 * @skb: packet
 *
 * steer_out brings to lo what is for a flow on a proxied address. When the flow
 * has closed on the way, the host would forward the packet: it goes no further.
 *
 * Return: TC_ACT_UNSPEC for everything that is not ours.
 */
SEC("tc")
int steer_in(struct __sk_buff *skb)
{
	struct fragment_owner *first, to = {};
	struct packet p = {};
	struct end end;
	int index;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || !parse(skb, &p) || p.on_way)
		return TC_ACT_UNSPEC;
	index = row_of(&p.dst, p.version);
	if (index < 0 || !alive() || !source_ok(skb, &p))
		return TC_ACT_UNSPEC;
	if (p.later) {
		first = first_of(&fragments, &p);
		if (first)
			to = *first;
	} else {
		if (receiver(skb, &p, index, &end))
			to.slice = steered(index, &end, &to.link);
		if (p.more)
			note_first(&fragments, &p, &to);
	}
	if (!to.slice && is_proxied(index) && skb->ifindex == LO_IFINDEX)
		return refuse(0, STEER_OUT_NO_ROUTE);
	if (!to.slice)
		return TC_ACT_UNSPEC;
	return to.link ? link_in(skb, to.slice, to.link) : admit(skb, to.slice);
}

#endif
