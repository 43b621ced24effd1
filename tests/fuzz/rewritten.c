/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rewritten.c: a packet before and after its addresses and ports were changed
 *
 * What the packet should be afterwards is put together from what it was: the
 * new addresses and ports are written over it, and every byte must be as it is
 * there, but for the checksums. Of those each is summed from end to end, before
 * and after: what the sum is wrong by, mostly by nothing, must not have
 * changed. So a checksum that was right is right, one that was wrong is not
 * made right by us, and one over a part (a fragment, what an error quotes) is
 * what the whole needs.
 */
#include "rewritten.h"

#include <netinet/in.h>
#include <string.h>

#include "../reference/csum.h"
#include "fuzz.h"
#include "shape.h"

#define SUMS 4       /* checksums in one packet: IP, transport, and both in what is quoted */
#define NOWHERE 9999 /* in place of an offset */

/* A checksum: where it is and what it is over */
struct sum {
	size_t at, from, to; /* offsets; `to` not included */
	size_t header;       /* of the IP header whose addresses it is over too, or NOWHERE */
	bool udp;            /* 0 says that there is none */
};

/** read_two() - a number in network order */
static unsigned read_two(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/** write_two() - write a number in network order */
static void write_two(uint8_t *at, unsigned number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
}

/** transport_sum() - the checksum in a transport header */
static struct sum transport_sum(const struct pkt *pkt, unsigned protocol, size_t header, size_t transport)
{
	size_t at = transport + (protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2);

	return (struct sum){at, transport, pkt->len, protocol == IPPROTO_ICMP ? NOWHERE : header,
			    protocol == IPPROTO_UDP};
}

/** header_sum() - the checksum in an IPv4 header */
static struct sum header_sum(const uint8_t *packet, size_t header)
{
	return (struct sum){header + 10, header, header + (size_t)(packet[header] & 15) * 4, NOWHERE, false};
}

/** list_sums() - the checksums that are all there; those inside come first; returns how many */
static unsigned list_sums(const struct pkt *pkt, const uint8_t *packet, struct sum sum[static SUMS])
{
	bool error = pkt->flags & PKT_ICMP_ERROR;
	unsigned n = 0;

	if (error && pkt->version == 4)
		sum[n++] = header_sum(packet, pkt->inner);
	if (error)
		sum[n] = transport_sum(pkt, pkt->inner_protocol, pkt->inner, pkt->inner_transport);
	if (error && sum[n].at + 2 <= pkt->len)
		n++;
	if (!(pkt->flags & PKT_LATER))
		sum[n++] = transport_sum(pkt, pkt->protocol, 0, pkt->transport);
	if (pkt->version == 4)
		sum[n++] = header_sum(packet, 0);
	return n;
}

/** add() - add bytes to a sum of words in network order */
static uint64_t add(uint64_t sum, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? data[i] : (unsigned)data[i] << 8;
	return sum;
}

/** off_by() - how much all that a checksum is over, itself and the addresses included, is more than a fixed number */
static unsigned off_by(const struct sum *sum, const uint8_t *packet)
{
	const uint8_t *header = packet + sum->header;
	uint64_t all = add(0, packet + sum->from, sum->to - sum->from);

	if (sum->header != NOWHERE)
		all = header[0] >> 4 == 4 ? add(all, header + 12, 8) : add(all, header + 8, 32);
	return (unsigned)(all % 0xffff);
}

/** is_whole() - whether a packet's transport checksum can be told from the packet */
static bool is_whole(const struct pkt *pkt)
{
	return !(pkt->flags & (PKT_FRAGMENT | PKT_SOURCE_ROUTE));
}

/** right_sum() - a packet's transport checksum is what it should be */
static bool right_sum(const struct pkt *pkt, const uint8_t *packet)
{
	struct sum sum = transport_sum(pkt, pkt->protocol, 0, pkt->transport);
	uint16_t right = reference_csum(packet, pkt->len, pkt->transport, pkt->protocol);

	return !memcmp(packet + sum.at, &right, sizeof(right));
}

/**
 * rewritten_sum() - set the transport checksums of a packet right, or to what they happen to be
 * @pkt: TCP, UDP or ICMP
 * @packet: its bytes
 * @number: what its own is to be; 0 for the right one
 *
 * A quoted packet's may be cut off and is checked by nobody: it gets some number.
 */
void rewritten_sum(const struct pkt *pkt, uint8_t *packet, unsigned number)
{
	struct sum sum = transport_sum(pkt, pkt->inner_protocol, pkt->inner, pkt->inner_transport);
	uint16_t right;

	if (pkt->flags & PKT_ICMP_ERROR && sum.at + 2 <= pkt->len)
		write_two(packet + sum.at, 1 + off_by(&sum, packet));
	if (!is_whole(pkt))
		return;
	sum = transport_sum(pkt, pkt->protocol, 0, pkt->transport);
	right = reference_csum(packet, pkt->len, pkt->transport, pkt->protocol);
	memcpy(packet + sum.at, &right, sizeof(right));
	if (number)
		write_two(packet + sum.at, number);
}

/** write_addr() - write an address of the family of an IP header; which: 0 for the source, 1 for the destination */
static void write_addr(uint8_t *header, unsigned which, const struct addr *addr)
{
	if (header[0] >> 4 == 4)
		memcpy(header + 12 + which * 4UL, addr->b + 12, 4);
	else
		memcpy(header + 8 + which * 16UL, addr->b, 16);
}

/** write_ports() - write the ports, or the identifier, into a transport header */
static void write_ports(uint8_t *at, unsigned protocol, unsigned sport, unsigned dport)
{
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		write_two(at, sport);
		write_two(at + 2, dport);
	} else {
		write_two(at + 4, sport);
	}
}

/** write_ends() - write all addresses and ports over a packet */
static void write_ends(const struct pkt *pkt, uint8_t *packet)
{
	write_addr(packet, 0, &pkt->src);
	write_addr(packet, 1, &pkt->dst);
	if (pkt->flags & PKT_ICMP_ERROR) {
		write_addr(packet + pkt->inner, 0, &pkt->inner_src);
		write_addr(packet + pkt->inner, 1, &pkt->inner_dst);
		write_ports(packet + pkt->inner_transport, pkt->inner_protocol, pkt->inner_sport, pkt->inner_dport);
	} else if (!(pkt->flags & PKT_LATER)) {
		write_ports(packet + pkt->transport, pkt->protocol, pkt->sport, pkt->dport);
	}
}

/** check_view() - a view is of the same packet, and has the ends that it should have */
static void check_view(const struct pkt *want, const struct pkt *got, bool ports)
{
	MUST(got->len == want->len && got->version == want->version);
	MUST(got->transport == want->transport && got->tcp_flags == want->tcp_flags && got->id == want->id);
	MUST(addr_eq(&got->src, &want->src) && addr_eq(&got->dst, &want->dst));
	MUST(!ports || (got->sport == want->sport && got->dport == want->dport && got->flags == want->flags));
	MUST(got->inner == want->inner && got->inner_transport == want->inner_transport);
	MUST(addr_eq(&got->inner_src, &want->inner_src) && addr_eq(&got->inner_dst, &want->inner_dst));
	MUST(got->inner_sport == want->inner_sport && got->inner_dport == want->inner_dport);
}

/** check_sum() - a checksum is off by what it was before */
static void check_sum(const struct sum *sum, const uint8_t *before, const uint8_t *after)
{
	bool none = sum->udp && !read_two(before + sum->at);

	MUST(!sum->udp || none == !read_two(after + sum->at));
	MUST(none || off_by(sum, before) == off_by(sum, after));
}

/**
 * rewritten_check() - a packet has been changed where it should, and nowhere else
 * @want: view of the packet before, with the addresses and ports that it should have
 * @got: its view, changed along with it; a later fragment's has its first one's ports
 * @before: its bytes before
 * @after: and now
 */
void rewritten_check(const struct pkt *want, const struct pkt *got, const uint8_t *before, const uint8_t *after)
{
	static uint8_t expected[SHAPE_ROOM];
	struct sum sum[SUMS];
	struct pkt again;
	unsigned i, n = list_sums(want, before, sum);

	memcpy(expected, before, want->len);
	write_ends(want, expected);
	for (i = 0; i < n; i++) {
		check_sum(&sum[i], before, after);
		memcpy(expected + sum[i].at, after + sum[i].at, 2);
	}
	MUST(!memcmp(expected, after, want->len));
	if (!(want->flags & PKT_LATER) && is_whole(want) && right_sum(want, before))
		MUST(right_sum(want, after));
	MUST(pkt_parse(&again, after, want->len, false) == VERDICT_PASS);
	check_view(want, got, true);
	check_view(want, &again, !(want->flags & PKT_LATER));
}
