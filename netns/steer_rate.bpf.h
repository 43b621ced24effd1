/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_rate.bpf.h: what a slice may have, and counting what it does not get
 *
 * A slice has rates, in packets and bytes and each way, and a share of the
 * packet TUN's ring. So a flood at one slice is dropped here, before it takes
 * room from another. Every packet that is dropped is counted under its reason.
 */
#ifndef SAFERAW_STEER_RATE_BPF_H
#define SAFERAW_STEER_RATE_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"

/**
 * refuse() - drop a packet and count it
 * @slice: that it is counted for, 0 for nobody
 * @reason: why
 *
 * Return: TC_ACT_SHOT
 */
__noinline int refuse(__u32 slice, __u32 reason)
{
	struct steer_traffic *t = bpf_map_lookup_elem(&traffic, &slice);

	if (t && reason < STEER_REASONS_N)
		__sync_fetch_and_add(&t->dropped[reason], 1);
	return TC_ACT_SHOT;
}

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
 * packets_in() - how many packets of wire size is this?
 * @skb: packet, possibly one of GRO's or GSO's super-packets
 *
 * Return: count, at least 1.
 */
static __always_inline __u32 packets_in(struct __sk_buff *skb)
{
	__u32 size = skb->gso_size;

	if (!size)
		return 1;
	return skb->gso_segs ? skb->gso_segs : skb->len / size + 1;
}

/**
 * charge() - advance a token bucket (GCRA)
 * @due: theoretical arrival time, ns
 * @now: ns
 * @cost: ns
 *
 * If another CPU has moved @due meanwhile, it is up to date and the cost is
 * merely added: nothing is lost, and the limit is overrun by at most one
 * packet for each CPU.
 */
static __always_inline void charge(__u64 *due, __u64 now, __u64 cost)
{
	__u64 old = *(volatile __u64 *)due;

	if (!cost)
		return;
	if (__sync_val_compare_and_swap(due, old, (old > now ? old : now) + cost) != old)
		__sync_fetch_and_add(due, cost);
}

/**
 * rate_ok() - check and charge a slice's packet and byte rate
 * @conf: the slice
 * @slice: its number
 * @first: BUCKET_IN_PACKETS or BUCKET_OUT_PACKETS; the byte bucket follows it
 * @skb: packet
 *
 * Return: false if it is over one of them; then neither is charged.
 */
static __always_inline bool rate_ok(const struct steer_slice *conf, __u32 slice, const int first,
				    struct __sk_buff *skb)
{
	const struct steer_rate *packets = &conf->rate[first], *bytes = &conf->rate[first + 1];
	struct steer_buckets *b;
	__u64 now, *due;

	if (!packets->cost_q10 && !bytes->cost_q10)
		return true;
	b = bpf_map_lookup_elem(&buckets, &slice);
	if (!b)
		return false;
	due = &b->due_ns[first];
	now = bpf_ktime_get_ns();
	if (packets->cost_q10 && due[0] > now + packets->burst_ns)
		return false;
	if (bytes->cost_q10 && due[1] > now + bytes->burst_ns)
		return false;
	charge(&due[0], now, packets->cost_q10 * packets_in(skb) >> 10);
	charge(&due[1], now, bytes->cost_q10 * skb->len >> 10);
	return true;
}

/**
 * admit() - put a packet into the TUN, if its slice has room
 * @skb: packet
 * @slice: that gets it
 *
 * Return: TC action
 */
static __always_inline int admit(struct __sk_buff *skb, __u32 slice)
{
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &slice);
	struct steer_traffic *t = bpf_map_lookup_elem(&traffic, &slice);
	__s64 waiting;

	if (!conf || !t)
		return TC_ACT_SHOT;
	/* signed: the relay may set `drained` before a packet that is counted reaches the ring */
	waiting = *(volatile __u64 *)&t->queued - *(volatile __u64 *)&t->drained;
	if (waiting >= (__s64)conf->share)
		return refuse(slice, STEER_IN_SHARE);
	if (!rate_ok(conf, slice, BUCKET_IN_PACKETS, skb))
		return refuse(slice, STEER_IN_RATE);
	__sync_fetch_and_add(&t->queued, packets_in(skb));
	return bpf_redirect(tun_ifindex, 0);
}

#endif
