/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_offload.bpf.h: what is still to be done to a packet of a link
 *
 * What describes an unfinished packet (segments, a checksum that is still to
 * be filled in) is the client's too, by PACKET_VNET_HDR or a TUN of his own, and
 * can be any lie: a checksum is written wherever it says, after the verdict.
 * So it must say what the headers say. bpf(2) programs do not see it in struct
 * __sk_buff; it is read from the kernel's own structure, by type information.
 */
#ifndef SAFERAW_STEER_OFFLOAD_BPF_H
#define SAFERAW_STEER_OFFLOAD_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_packet.bpf.h"

#define GSO_SIZE_MIN 500 /* bytes: a super-packet does not fall into thousands of packets */
#define TCP_CHECKSUM 16  /* offsets in transport headers */
#define UDP_CHECKSUM 6
#define UDP_HEADER 8

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

#endif
