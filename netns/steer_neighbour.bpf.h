/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_neighbour.bpf.h: who a client asks for on his link
 *
 * ARP requests and neighbour solicitations are answered here, for every address
 * but the host's own, which are the client's too: programs that do their own ask
 * for whomever they send to. The answer always names the same hardware address,
 * and goes back out of the device that the question came in by.
 */
#ifndef SAFERAW_STEER_NEIGHBOUR_BPF_H
#define SAFERAW_STEER_NEIGHBOUR_BPF_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"
#include "steer_rate.bpf.h"

/* ARP for IPv4 over Ethernet; linux/if_arp.h draws in headers of the C library */
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_TARGET_ADDRESS 2   /* option: the hardware address of the target */
#define ND_ANSWERED 0x60      /* solicited, override */
#define ND_HOPS 255

static const __u8 gateway_mac[ETH_ALEN] = STEER_GATEWAY_MAC;

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

#endif
