/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkt.h: a checked view of one IP packet
 *
 * pkt_parse() is the only code in the relay and the library that reads a
 * header. It copies what the verdict and the look-up need out of the packet,
 * so that nothing is read twice.
 */
#ifndef SAFERAW_PKT_H
#define SAFERAW_PKT_H

#include "addr.h"
#include "policy.h"

#define PKT_MAX 65535 /* largest IP packet, bytes (IPv6 jumbograms are not supported) */

#define PKT_FRAGMENT 0x01     /* part of a fragmented datagram */
#define PKT_LATER 0x02	      /* not the first fragment: no transport header */
#define PKT_SOURCE_ROUTE 0x04 /* LSRR, SSRR or an IPv6 routing header */
#define PKT_ICMP_ERROR 0x08   /* an ICMP error; the inner_ fields hold what it is about */
#define PKT_ICMP_REPLY 0x10   /* an echo or timestamp reply */
#define PKT_ICMP_REQUEST 0x20 /* an echo or timestamp request */
#define PKT_BAD_CHECKSUM 0x40 /* the IPv4 header checksum is wrong (a sender may leave it so) */
#define PKT_MORE 0x80	      /* not the last fragment */
#define PKT_KEY 0x100	      /* GRE with a key, as RFC 2890 has it; or an ICMP error about such a packet */

struct pkt {
	const uint8_t *data;
	uint32_t len;	     /* bytes: the IP packet whole, trailing padding left out */
	uint8_t version;     /* 4 or 6 */
	uint8_t protocol;    /* upper-layer protocol, IPv6 extension headers passed over */
	uint16_t flags;	     /* PKT_ */
	uint8_t icmp_type, icmp_code;
	uint16_t transport;  /* offset of the transport header */
	uint32_t id;	     /* identification: of the IPv4 header, of the IPv6 fragment header (else 0); host byte order */
	uint32_t from, to;   /* which bytes of its datagram a fragment holds, `to` not included; else both 0 */
	struct addr src, dst;
	uint16_t sport, dport; /* host byte order; both are the identifier for ICMP echo and timestamp */
	uint32_t key;	       /* with PKT_KEY; host byte order */
	uint8_t tcp_flags;

	/* the packet inside an ICMP error, as its sender (this host) sent it */
	uint16_t inner, inner_transport; /* offsets of its IP header and its transport header */
	uint8_t inner_protocol;
	struct addr inner_src, inner_dst;
	uint16_t inner_sport, inner_dport;
};

/* Direction-free form check: VERDICT_PASS, or what is wrong. `padded` allows bytes behind the IP length (Ethernet padding). */
enum verdict pkt_parse(struct pkt *pkt, const void *data, size_t len, bool padded);
void pkt_fill(uint8_t *data, const struct pkt *pkt, const struct addr *source, uint16_t id);
uint16_t csum(const void *data, size_t len, uint32_t sum);
int csum_field(const struct pkt *pkt); /* where in the transport header its checksum is, or -1 */

#endif
