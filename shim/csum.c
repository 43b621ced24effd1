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
