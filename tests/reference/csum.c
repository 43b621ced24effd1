/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csum.c: what a transport checksum should be, word by word
 *
 * The product never sums a whole segment: it changes a checksum by what it
 * has changed in the packet. So tests need somebody who sums it all: this is
 * RFC 1071's plain method, which shares nothing with shim/. test_pkt.c
 * compares it with packets that a Linux host summed.
 */
#include "csum.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* Where in a transport header its checksum is */
static const struct {
	unsigned protocol, version; /* version 0: both */
	size_t offset;
} field[] = {
	{IPPROTO_TCP, 0, 16}, {IPPROTO_UDP, 0, 6},  {IPPROTO_UDPLITE, 0, 6},
	{IPPROTO_DCCP, 0, 6}, {IPPROTO_ICMP, 4, 2}, {IPPROTO_ICMPV6, 6, 2},
};

/**
 * add() - add bytes to a sum of 16-bit words
 * @sum: so far
 * @data: at an even offset of what is summed
 * @len: bytes, 64 KiB at the most; an odd one at the end counts as if a zero followed
 */
static uint64_t add(uint64_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (unsigned)data[i] << 8;
	return sum;
}

/**
 * covered() - how much of a segment its checksum covers (RFC 768, RFC 3828 3.1, RFC 4340 9.2)
 * @start: of the transport header
 * @len: bytes there
 * @protocol: of it
 */
static size_t covered(const uint8_t *start, size_t len, unsigned protocol)
{
	size_t said = len;

	if (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE)
		said = (size_t)(start[4] << 8 | start[5]);
	if (protocol == IPPROTO_UDPLITE && !said)
		said = len;
	if (protocol == IPPROTO_DCCP && start[5] & 15)
		said = (start[4] + (start[5] & 15U) - 1) * 4;
	return said < len ? said : len;
}

/**
 * reference_csum() - what a packet's transport checksum should be
 * @packet: no fragment, no source route; the transport header is there
 * @size: of the packet, bytes
 * @transport: offset of its transport header, bytes
 * @protocol: of the transport
 *
 * The length in the pseudo-header is UDP's own, and for all others the whole.
 *
 * Return: the checksum, as it is stored; 0 for a protocol that has none where we know it.
 */
uint16_t reference_csum(const uint8_t *packet, size_t size, size_t transport, unsigned protocol)
{
	const uint8_t *start = packet + transport;
	size_t whole = size - transport, len = covered(start, whole, protocol), at = 0;
	unsigned version = packet[0] >> 4;
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++)
		if (field[i].protocol == protocol && (!field[i].version || field[i].version == version))
			at = field[i].offset;
	if (!at)
		return 0;
	if (protocol != IPPROTO_ICMP) /* the only one without a pseudo-header */
		sum = (version == 4 ? add(0, packet + 12, 8) : add(0, packet + 8, 32)) + protocol +
		      (protocol == IPPROTO_UDP ? len : whole);
	sum = add(add(sum, start, at), start + at + 2, len - at - 2);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	if (sum == 0xffff && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE))
		return 0xffff; /* 0 would mean that there is none */
	return htons((uint16_t)~sum);
}
