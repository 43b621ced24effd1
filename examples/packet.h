/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packet.h: IP headers and checksums for the examples
 *
 * A raw packet is an IP header and what the protocol puts behind it. For the
 * programs beside this file four things are enough: write the IP header, find
 * its end in a packet that has come, sum up, and read an address from the
 * command line. Addresses are in struct sockaddr_storage, as libsaferaw has
 * them.
 */
#ifndef EXAMPLES_PACKET_H
#define EXAMPLES_PACKET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IP_HEADER_MAX 40 /* IPv6; ours have no options and no extensions */
#define PACKET_MAX 65535

/**
 * read_address() - an address from text
 * @text: IPv4 or IPv6
 * @port: host byte order
 * @ss: set
 *
 * Return: 1 if it is one, else 0
 */
static inline int read_address(const char *text, unsigned port, struct sockaddr_storage *ss)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		memcpy(ss, &in, sizeof(in));
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		memcpy(ss, &in6, sizeof(in6));
	else
		return 0;
	return 1;
}

/**
 * read_prefix() - an address or prefix from text
 * @text: IPv4 or IPv6, and perhaps /LENGTH
 * @port: host byte order
 * @ss: set
 * @length: set, bits; 0: it is an address
 *
 * Return: 1 if it is one, else 0
 */
static inline int read_prefix(const char *text, unsigned port, struct sockaddr_storage *ss, unsigned *length)
{
	char address[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "/");

	*length = text[n] ? (unsigned)atoi(text + n + 1) : 0;
	if (n >= sizeof(address) || (text[n] && !*length))
		return 0;
	memcpy(address, text, n);
	address[n] = '\0';
	return read_address(address, port, ss);
}

/**
 * port_of() - the port, or ICMP identifier, of a socket address
 * @ss: AF_INET or AF_INET6: both have it in the same place
 *
 * Return: network byte order, as headers want it
 */
static inline uint16_t port_of(const struct sockaddr_storage *ss)
{
	struct sockaddr_in in;

	memcpy(&in, ss, sizeof(in));
	return in.sin_port;
}

/**
 * sum() - add 16-bit words (RFC 1071)
 * @so_far: sum to begin with
 * @data: words in network byte order, any alignment
 * @length: bytes
 *
 * Return: the sum, carries not yet folded in
 */
static inline uint32_t sum(uint32_t so_far, const void *data, size_t length)
{
	const uint8_t *bytes = data;
	size_t i;

	for (i = 0; i < length; i++)
		/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): it takes bit-fields for unset */
		so_far += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return so_far;
}

/**
 * fold() - the checksum of a sum
 * @so_far: sum
 *
 * Return: network byte order
 */
static inline uint16_t fold(uint32_t so_far)
{
	while (so_far >> 16)
		so_far = (so_far & 0xffff) + (so_far >> 16);
	return htons((uint16_t)~so_far);
}

/**
 * put_ip() - write an IP header
 * @packet: where to
 * @from: source
 * @to: destination, of the same family
 * @protocol: what follows
 * @ttl: hops
 * @length: bytes that follow
 *
 * Return: bytes of the header
 */
static inline size_t put_ip(uint8_t *packet, const struct sockaddr_storage *from, const struct sockaddr_storage *to,
			    uint8_t protocol, uint8_t ttl, size_t length)
{
	struct sockaddr_in from4, to4;
	struct sockaddr_in6 from6, to6;

	if (from->ss_family == AF_INET) {
		struct ip ip = {.ip_v = 4, .ip_hl = sizeof(ip) / 4, .ip_ttl = ttl, .ip_p = protocol};

		memcpy(&from4, from, sizeof(from4));
		memcpy(&to4, to, sizeof(to4));
		ip.ip_len = htons((uint16_t)(sizeof(ip) + length));
		ip.ip_src = from4.sin_addr;
		ip.ip_dst = to4.sin_addr;
		ip.ip_sum = fold(sum(0, &ip, sizeof(ip)));
		memcpy(packet, &ip, sizeof(ip)); /* an identification of 0 is filled in on the way */
		return sizeof(ip);
	} else {
		struct ip6_hdr ip6 = {.ip6_flow = htonl(6U << 28), .ip6_nxt = protocol, .ip6_hlim = ttl};

		memcpy(&from6, from, sizeof(from6));
		memcpy(&to6, to, sizeof(to6));
		ip6.ip6_plen = htons((uint16_t)length);
		ip6.ip6_src = from6.sin6_addr;
		ip6.ip6_dst = to6.sin6_addr;
		memcpy(packet, &ip6, sizeof(ip6));
		return sizeof(ip6);
	}
}

/**
 * checksum() - the checksum of TCP, UDP or ICMPv6, pseudo-header included
 * @packet: IP header and what follows, the checksum field being zero
 * @header: bytes of the IP header
 * @protocol: what follows
 * @length: bytes of the packet
 *
 * Return: network byte order
 */
static inline uint16_t checksum(const uint8_t *packet, size_t header, uint8_t protocol, size_t length)
{
	const size_t address = packet[0] >> 4 == 4 ? 12 : 8; /* source, and the destination behind it */
	const size_t both = packet[0] >> 4 == 4 ? 8 : 32;
	uint32_t so_far = protocol + (uint32_t)(length - header);

	return fold(sum(sum(so_far, packet + address, both), packet + header, length - header));
}

/**
 * ip_header() - bytes of the IP header of a packet that has come
 * @packet: what saferaw_recv() gave: lengths and header checksum are right
 *
 * No flow gets a packet with IPv6 extension headers unless somebody sends one;
 * these examples do without such packets.
 */
static inline size_t ip_header(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? (packet[0] & 0xfU) * 4 : sizeof(struct ip6_hdr);
}

#endif
