/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packet.h: packets for tests, put together front to back
 *
 * packet_ip() starts one, packet_add() and the like append, packet_end() sets
 * the lengths and the IPv4 header checksum right. A test then breaks what it
 * is about. Transport checksums are left to packet_transport_sum().
 */
#ifndef SAFERAW_TEST_PACKET_H
#define SAFERAW_TEST_PACKET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../reference/csum.h"
#include "pkt.h"

#define PACKET_ROOM 4096

struct packet {
	unsigned version; /* 4 or 6 */
	size_t len;
	uint8_t b[PACKET_ROOM];
};

/* The two families, for loop tests */
static const unsigned versions[] = {4, 6};

/** addr() - an address from text that is one */
static inline struct addr addr(const char *text)
{
	struct addr result;

	if (!addr_parse(text, &result))
		abort();
	return result;
}

/** local() - this host, in a family */
static inline const char *local(unsigned version)
{
	return version == 4 ? "192.0.2.1" : "2001:db8::1";
}

/** remote() - another host, in a family */
static inline const char *remote(unsigned version)
{
	return version == 4 ? "198.51.100.7" : "2001:db8:7::7";
}

/** packet_add() - append bytes; NULL for zeros */
static inline void packet_add(struct packet *p, const void *bytes, size_t n)
{
	if (n > sizeof(p->b) - p->len)
		abort();
	if (bytes)
		memcpy(p->b + p->len, bytes, n);
	else
		memset(p->b + p->len, 0, n);
	p->len += n;
}

#define PACKET_ADD(p, ...) packet_add(p, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/** packet_u16() - write a number into a header, network byte order */
static inline void packet_u16(struct packet *p, size_t at, unsigned value)
{
	p->b[at] = (uint8_t)(value >> 8);
	p->b[at + 1] = (uint8_t)value;
}

/** packet_ip() - start a packet with an IP header without options, upper protocol `protocol` */
static inline void packet_ip(struct packet *p, unsigned version, const char *src, const char *dst, uint8_t protocol)
{
	struct addr from = addr(src), to = addr(dst);

	memset(p, 0, sizeof(*p));
	p->version = version;
	if (version == 4) {
		PACKET_ADD(p, 0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0);
		packet_add(p, from.b + 12, 4);
		packet_add(p, to.b + 12, 4);
	} else {
		PACKET_ADD(p, 0x60, 0, 0, 0, 0, 0, protocol, 64);
		packet_add(p, from.b, 16);
		packet_add(p, to.b, 16);
	}
}

/** packet_sum() - set the IPv4 header checksum right, by the plain method */
static inline void packet_sum(struct packet *p)
{
	uint32_t sum = 0;
	size_t i;

	packet_u16(p, 10, 0);
	for (i = 0; i < (p->b[0] & 15) * 4U; i += 2)
		sum += (uint32_t)(p->b[i] << 8 | p->b[i + 1]);
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	packet_u16(p, 10, ~sum & 0xffff);
}

/** packet_transport_sum() - what a parsed packet's transport checksum should be */
static inline uint16_t packet_transport_sum(const struct pkt *pkt)
{
	return reference_csum(pkt->data, pkt->len, pkt->transport, pkt->protocol);
}

/** packet_end() - set the lengths, and the IPv4 header checksum */
static inline void packet_end(struct packet *p)
{
	if (p->version == 4) {
		packet_u16(p, 2, (unsigned)p->len);
		packet_sum(p);
	} else {
		packet_u16(p, 4, (unsigned)p->len - 40);
	}
}

/** packet_tcp() - append a TCP header */
static inline void packet_tcp(struct packet *p, unsigned sport, unsigned dport)
{
	PACKET_ADD(p, (uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport, 0, 0, 0, 1, 0, 0,
		   0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0);
}

/** packet_udp() - append a UDP header and `size` zero bytes */
static inline void packet_udp(struct packet *p, unsigned sport, unsigned dport, unsigned size)
{
	PACKET_ADD(p, (uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport,
		   (uint8_t)((size + 8) >> 8), (uint8_t)(size + 8), 0, 0);
	packet_add(p, NULL, size);
}

/** packet_udplite() - append a UDP-Lite header that covers `covered` bytes (0: all), and `size` zero bytes */
static inline void packet_udplite(struct packet *p, unsigned sport, unsigned dport, unsigned covered, unsigned size)
{
	size_t at = p->len;

	packet_udp(p, sport, dport, size);
	packet_u16(p, at + 4, covered);
}

/** packet_sctp() - append an SCTP common header and a chunk that says nothing */
static inline void packet_sctp(struct packet *p, unsigned sport, unsigned dport)
{
	PACKET_ADD(p, (uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport, 0, 0, 0, 1, 0, 0,
		   0, 0, 11, 0, 0, 4);
}

/** packet_dccp() - append a DCCP-Data header with a long sequence number, checksum coverage, and `size` zero bytes */
static inline void packet_dccp(struct packet *p, unsigned sport, unsigned dport, uint8_t coverage, unsigned size)
{
	PACKET_ADD(p, (uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport, 4, coverage, 0, 0,
		   2 << 1 | 1, 0, 0, 0, 0, 0, 0, 1);
	packet_add(p, NULL, size);
}

/** packet_gre() - append a GRE header of 12 bytes: flags and version, protocol, and what they say follows */
static inline void packet_gre(struct packet *p, unsigned flags, uint32_t first, uint32_t second)
{
	PACKET_ADD(p, (uint8_t)(flags >> 8), (uint8_t)flags, 8, 0, (uint8_t)(first >> 24), (uint8_t)(first >> 16),
		   (uint8_t)(first >> 8), (uint8_t)first, (uint8_t)(second >> 24), (uint8_t)(second >> 16),
		   (uint8_t)(second >> 8), (uint8_t)second);
}

/** packet_icmp() - append an ICMP header of eight bytes */
static inline void packet_icmp(struct packet *p, uint8_t type, uint8_t code, unsigned id)
{
	PACKET_ADD(p, type, code, 0, 0, (uint8_t)(id >> 8), (uint8_t)id, 0, 1);
}

/** icmp_protocol() - ICMP in IPv4, ICMPv6 in IPv6 */
static inline uint8_t icmp_protocol(unsigned version)
{
	return version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/** packet_error() - an ICMP error from the remote host that quotes `inner`, cut to `quoted` bytes */
static inline void packet_error(struct packet *p, uint8_t type, const struct packet *inner, size_t quoted)
{
	packet_ip(p, inner->version, remote(inner->version), local(inner->version), icmp_protocol(inner->version));
	packet_icmp(p, type, 0, 0);
	packet_add(p, inner->b, quoted < inner->len ? quoted : inner->len);
	packet_end(p);
}

/** packet_parse() - parse a packet in memory of exactly its size, which stays until the next call */
static inline enum verdict packet_parse(struct pkt *pkt, const struct packet *p, bool padded)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(p->len ? p->len : 1);
	if (!copy)
		abort();
	memcpy(copy, p->b, p->len);
	return pkt_parse(pkt, copy, p->len, padded);
}

#endif
