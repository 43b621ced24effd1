/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer.bpf.c: the tc programs that move packets between the uplinks and the packet TUN
 *
 *	steer_in	ingress of every uplink, lo included (steer_in.bpf.h)
 *	steer_out	ingress of the packet TUN (steer_out.bpf.h)
 *	steer_link	ingress of a link's near end (steer_link.bpf.h)
 *	steer_tap	ingress of the link TAP (steer_link_in.bpf.h)
 *	steer_drop	behind the last three, for the time when they are gone
 *			(a tcx link goes with the monitor) while relay and
 *			clients still hold their devices
 *
 * They share the maps (steer_maps.bpf.h), and read headers alike
 * (steer_packet.bpf.h). What many paths reach, or loops, is a global function:
 * it is verified once, by itself. Links need CAP_PERFMON besides CAP_BPF and
 * CAP_NET_ADMIN, as they read the kernel's own description of a packet.
 *
 * Linux 6.1 must load all of this. Its verifier knows less than later ones;
 * where that shapes the code, a comment says so.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "steer_in.bpf.h"
#include "steer_link.bpf.h"
#include "steer_link_in.bpf.h"
#include "steer_out.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/**
 * steer_drop() - behind the others: nothing goes on that they have not passed
 * @skb: packet
 *
 * Return: TC_ACT_SHOT
 */
SEC("tc")
int steer_drop(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_SHOT;
}
