/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csum.c: Internet checksums (RFC 1071)
 *
 * Words are added as they lie in memory, without swapping: the one's
 * complement sum comes out in the same byte order as its words, so a result
 * is stored and compared as memory, never as a number. Eight bytes are added
 * at a time with the carry put back, and the sum is folded once at the end.
 *
 * SCTP has a CRC instead (RFC 9260 appendix A), over its own packet alone. It
 * is its sender's business: nothing that is filled in here changes it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "pkt.h"

/**
 * add() - one's complement sum of two 64-bit words
 * @sum: one
 * @word: the other
 */
static inline uint64_t add(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

/**
 * add_bytes() - add data to a sum
 * @sum: sum so far
 * @data: at an even offset of what is summed; any alignment
 * @len: bytes; an odd one at the end counts as if a zero followed
 */
static inline uint64_t add_bytes(uint64_t sum, const uint8_t *data, size_t len)
{
	uint64_t eight;
	uint32_t four;
	uint16_t two;

	for (; len >= sizeof(eight); data += sizeof(eight), len -= sizeof(eight)) {
		memcpy(&eight, data, sizeof(eight));
		sum = add(sum, eight);
	}
	if (len >= sizeof(four)) {
		memcpy(&four, data, sizeof(four));
		sum = add(sum, four);
		data += sizeof(four);
		len -= sizeof(four);
	}
	if (len >= sizeof(two)) {
		memcpy(&two, data, sizeof(two));
		sum = add(sum, two);
		data += sizeof(two);
		len -= sizeof(two);
	}
	if (len) {
		two = 0;
		memcpy(&two, data, 1);
		sum = add(sum, two);
	}
	return sum;
}

/**
 * fold() - the checksum of a sum
 * @sum: one's complement sum of 64-bit words
 */
static inline uint16_t fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

/**
 * csum() - Internet checksum
 * @data: any alignment
 * @len: bytes
 * @sum: to begin with: 0, or a sum of 16-bit words in network byte order
 *
 * Return: the checksum, in network byte order; 0 over data whose checksum is right
 */
uint16_t csum(const void *data, size_t len, uint32_t sum)
{
	return fold(add_bytes(sum, data, len));
}

/**
 * csum_field() - where a packet's transport checksum is
 * @pkt: parsed, not a later fragment
 *
 * Return: bytes from the transport header's start; -1 for a protocol whose
 * checksum we do not know
 */
int csum_field(const struct pkt *pkt)
{
	switch (pkt->protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 6;
	case IPPROTO_ICMP:
		return pkt->version == 4 ? 2 : -1;
	case IPPROTO_ICMPV6:
		return pkt->version == 6 ? 2 : -1;
	default:
		return -1;
	}
}

/**
 * dccp_covered() - how much application data a DCCP checksum covers (RFC 4340 9.2)
 * @field: the header's sixth byte, with CCVal and CsCov
 *
 * Return: bytes; SIZE_MAX for all
 */
size_t dccp_covered(uint8_t field)
{
	return field & 0xf ? ((field & 0xfU) - 1) * 4 : SIZE_MAX;
}

/**
 * covered() - how much of a transport header and what follows a checksum covers
 * @pkt: parsed
 * @len: bytes there
 *
 * A UDP length that is less than what is there leaves the rest out. UDP-Lite
 * says in its place how much is covered, 0 for all; DCCP says it in words of
 * data behind the header.
 */
static size_t covered(const struct pkt *pkt, size_t len)
{
	const uint8_t *start = pkt->data + pkt->transport;
	size_t covered = len;
	uint16_t field;

	if (pkt->protocol == IPPROTO_UDP || pkt->protocol == IPPROTO_UDPLITE) {
		memcpy(&field, start + 4, sizeof(field));
		covered = field || pkt->protocol == IPPROTO_UDP ? ntohs(field) : len;
	} else if (pkt->protocol == IPPROTO_DCCP && dccp_covered(start[5]) != SIZE_MAX) {
		covered = start[4] * 4U + dccp_covered(start[5]);
	}
	return covered < len ? covered : len;
}

/**
 * csum_transport() - what a packet's transport checksum should be
 * @pkt: parsed, not a fragment, no source route
 *
 * Computed as if the field held zero, so it serves to fill in and to compare.
 * That of UDP and UDP-Lite is never 0. The length in the pseudo-header is
 * UDP's own, and for all others the whole (RFC 3828 3.1, RFC 4340 9.1).
 *
 * Return: the checksum, in network byte order; 0 for a protocol that is not
 * TCP, UDP, UDP-Lite, DCCP, ICMP in IPv4 or ICMPv6 in IPv6
 */
uint16_t csum_transport(const struct pkt *pkt)
{
	const uint8_t *start = pkt->data + pkt->transport;
	size_t address = pkt->version == 4 ? 12 : 0; /* where in the 16 bytes it starts */
	bool udp = pkt->protocol == IPPROTO_UDP, lite = pkt->protocol == IPPROTO_UDPLITE;
	size_t whole = pkt->len - pkt->transport, len;
	int field = csum_field(pkt);
	uint64_t sum = 0;
	uint16_t result;

	if (field < 0)
		return 0;
	len = covered(pkt, whole);
	if (pkt->protocol != IPPROTO_ICMP) { /* the only one without a pseudo-header */
		sum = add_bytes(sum, pkt->src.b + address, sizeof(pkt->src.b) - address);
		sum = add_bytes(sum, pkt->dst.b + address, sizeof(pkt->dst.b) - address);
		sum = add(sum, htonl((uint32_t)(udp ? len : whole)));
		sum = add(sum, htons(pkt->protocol));
	}
	sum = add_bytes(sum, start, (size_t)field);
	sum = add_bytes(sum, start + field + 2, len - (size_t)field - 2);
	result = fold(sum);
	return result || !(udp || lite) ? result : 0xffff;
}
