/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packets.c: test packets, made by hand
 *
 * Written independently of the relay's own packet code, so that an error in
 * one does not hide behind the same error in the other.
 */
#include "packets.h"

#include <arpa/inet.h>
#include <string.h>

#define FRAGMENT 44
#define PADN 1

/**
 * put16() - write a number in network byte order
 * @to: where
 * @value: number
 */
static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/**
 * get16() - read a number in network byte order
 * @from: where
 *
 * Return: number
 */
static unsigned get16(const uint8_t *from)
{
	return (unsigned)(from[0] << 8 | from[1]);
}

/**
 * sum() - internet checksum, not yet complemented
 * @data: bytes
 * @len: how many
 * @start: sum so far
 *
 * Return: sum, folded to 16 bits.
 */
static uint32_t sum(const uint8_t *data, size_t len, uint32_t start)
{
	for (size_t i = 0; i < len; i += 2)
		start += (uint32_t)(data[i] << 8) | (i + 1 < len ? data[i + 1] : 0);
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

/**
 * transport_sum() - sum over pseudo header and transport
 * @ip: IP header
 * @protocol: of the transport
 * @data: transport header
 * @len: bytes there
 *
 * Return: 0xffff if the checksum in it is right.
 */
static uint32_t transport_sum(const uint8_t *ip, uint8_t protocol, const uint8_t *data, size_t len)
{
	uint32_t pseudo = 0;

	if (protocol != ICMP) {
		pseudo = ip[0] >> 4 == 4 ? sum(ip + 12, 8, 0) : sum(ip + 8, 32, 0);
		pseudo += protocol + (uint32_t)len;
	}
	return sum(data, len, pseudo);
}

/**
 * put_transport() - write a transport header
 * @to: where
 * @r: recipe
 * @v6: family
 *
 * Return: its size
 */
static size_t put_transport(uint8_t *to, const struct recipe *r, bool v6)
{
	if (r->protocol == TCP) {
		put16(to, r->sport);
		put16(to + 2, r->dport);
		to[12] = 5 << 4;
		to[13] = 0x10; /* ACK */
		return 20;
	}
	if (r->protocol == DCCP) { /* DataAck, with options */
		put16(to, r->sport);
		put16(to + 2, r->dport);
		to[4] = 5;
		to[8] = 4 << 1 | 1;
		return 20;
	}
	if (r->protocol == ICMP) {
		bool reply = v6 ? r->type == 129 : r->type == 0 || r->type == 14;

		to[0] = r->type;
		if (!r->inner)
			put16(to + 4, reply ? r->dport : r->sport);
		return 8;
	}
	put16(to, r->sport);
	put16(to + 2, r->dport);
	return 8;
}

/**
 * finish() - put in lengths and checksums
 * @packet: of which data and len are there
 * @r: recipe
 * @transport: offset of the transport header
 * @protocol: as in the IP header
 */
static void finish(struct packet *packet, const struct recipe *r, size_t transport, uint8_t protocol)
{
	static const struct {
		uint8_t protocol, offset;
	} where[] = {{TCP, 16}, {UDP, 6}, {ICMP, 2}, {ICMPV6, 2}};
	uint8_t *ip = packet->data, *data = ip + transport;
	size_t len = packet->len - transport;

	if (protocol == UDP && !(r->fragmented && r->fragment & 0x7fff))
		put16(data + 4, (unsigned)len);
	for (size_t i = 0; i < sizeof(where) / sizeof(*where); i++)
		if (protocol == where[i].protocol && !r->fragmented)
			put16(data + where[i].offset, ~transport_sum(ip, protocol, data, len) & 0xffff);
	if (ip[0] >> 4 == 4) {
		put16(ip + 2, (unsigned)((int)packet->len + r->lie));
		put16(ip + 10, ~sum(ip, (ip[0] & 15) * 4u, 0) & 0xffff);
	} else {
		put16(ip + 4, (unsigned)((int)packet->len - 40 + r->lie));
	}
}

/**
 * put_v4() - write an IPv4 header
 * @ip: where, zeroed
 * @r: recipe
 *
 * Return: its size
 */
static size_t put_v4(uint8_t *ip, const struct recipe *r)
{
	size_t size = 20;

	if (r->option) {
		ip[20] = 1; /* no operation, then an option of 7 bytes */
		ip[21] = r->option;
		ip[22] = 7;
		ip[23] = 4;
		size = 28;
	}
	ip[0] = (uint8_t)(4 << 4 | size / 4);
	put16(ip + 4, r->id);
	if (r->fragmented)
		put16(ip + 6, (r->fragment & 0x1fff) | (r->fragment & FRAGMENT_MORE ? 0x2000 : 0));
	ip[8] = r->ttl ? r->ttl : 64;
	ip[9] = r->protocol;
	inet_pton(AF_INET, r->src, ip + 12);
	inet_pton(AF_INET, r->dst, ip + 16);
	return size;
}

/**
 * put_v6() - write an IPv6 header and its extension headers
 * @ip: where, zeroed
 * @r: recipe
 * @protocol: of the transport header
 *
 * Return: size of all of them
 */
static size_t put_v6(uint8_t *ip, const struct recipe *r, uint8_t protocol)
{
	unsigned headers = r->extensions + (r->first ? 1u : 0u) + (r->last ? 1u : 0u);
	uint8_t *next = ip + 6;
	size_t size = 40;

	ip[0] = 6 << 4;
	ip[7] = r->ttl ? r->ttl : 64;
	inet_pton(AF_INET6, r->src, ip + 8);
	inet_pton(AF_INET6, r->dst, ip + 24);
	for (unsigned i = 0; i < headers; i++, size += 8) {
		*next = (uint8_t)(r->first && i == 0            ? r->first
				  : r->last && i == headers - 1 ? r->last
								: DESTINATION);
		ip[size + 2] = *next == ROUTING ? 0 : r->option6 ? r->option6 : PADN;
		ip[size + 3] = *next == ROUTING ? r->left : 4;
		next = ip + size;
	}
	if (r->fragmented) {
		*next = FRAGMENT;
		next = ip + size;
		put16(ip + size + 2, (unsigned)((r->fragment & 0x1fff) << 3 | (r->fragment & FRAGMENT_MORE ? 1 : 0)));
		put16(ip + size + 6, r->id);
		size += 8;
	}
	*next = protocol;
	return size;
}

/**
 * packet_make() - make a packet
 * @packet: result, with a tag that no other has
 * @r: recipe
 */
void packet_make(struct packet *packet, const struct recipe *r)
{
	static uint32_t tags = 0x7a570000;
	bool v6 = strchr(r->src, ':');
	uint8_t protocol = v6 && r->protocol == ICMP ? ICMPV6 : r->protocol;
	size_t at, transport;

	memset(packet, 0, sizeof(*packet));
	at = transport = v6 ? put_v6(packet->data, r, protocol) : put_v4(packet->data, r);
	if (!r->fragmented || !(r->fragment & 0x7fff))
		at += put_transport(packet->data + at, r, v6);
	at = r->header ? transport + r->header : at;
	for (size_t i = 0; i < r->payload; i++)
		packet->data[at++] = (uint8_t)i;
	if (r->inner) {
		memcpy(packet->data + at, r->inner->data, r->inner->len);
		at += r->inner->len;
	}
	packet->tag = ++tags;
	put16(packet->data + at, packet->tag >> 16);
	put16(packet->data + at + 2, packet->tag & 0xffff);
	packet->len = at + 4;
	finish(packet, r, transport, protocol);
}

/**
 * packet_tag() - the tag of a packet
 * @data: the packet
 * @len: bytes
 *
 * Return: tag, or something that is none.
 */
uint32_t packet_tag(const uint8_t *data, size_t len)
{
	return len < 4 ? 0 : (uint32_t)get16(data + len - 4) << 16 | get16(data + len - 2);
}

/**
 * packet_sums_ok() - are all checksums of an unfragmented packet without extension headers right?
 * @data: the packet
 * @len: bytes
 *
 * Return: true if they are.
 */
bool packet_sums_ok(const uint8_t *data, size_t len)
{
	bool v4 = data[0] >> 4 == 4;
	size_t header = v4 ? (data[0] & 15u) * 4 : 40;
	uint8_t protocol = v4 ? data[9] : data[6];

	if (v4 && sum(data, header, 0) != 0xffff)
		return false;
	return transport_sum(data, protocol, data + header, len - header) == 0xffff;
}
