/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napt_rewrite.c: a packet that goes by a mapping is changed into the one on the mapping's other side
 *
 * That is its addresses, one port, and the checksums over them; nothing else.
 * Checksums are changed by the difference (RFC 1624), so a wrong one stays wrong.
 * Of later fragments only the IP header is changed.
 *
 * In an ICMP error the packet that it quotes is turned back into the one that
 * the client has sent, checksums included, as far as it is there; the error's own
 * checksum covers that, too.
 */
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "napt.h"

/**
 * put() - write a field, and note what that changes in checksums over it
 * @at: field, at an even offset of what the checksum is over
 * @value: new contents, in network byte order
 * @size: bytes, even
 * @change: the difference is added, as a sum of 16-bit words
 */
static void put(uint8_t *at, const void *value, size_t size, uint32_t *change)
{
	const uint8_t *from = value;
	uint16_t old, new;
	size_t i;

	for (i = 0; i < size; i += sizeof(old)) {
		memcpy(&old, at + i, sizeof(old));
		memcpy(&new, from + i, sizeof(new));
		*change += (uint16_t)~old + (uint32_t) new;
		memcpy(at + i, &new, sizeof(new));
	}
}

/**
 * put_addr() - write an address
 * @at: field
 * @version: 4 or 6
 * @addr: of that family
 * @change: as in put()
 */
static void put_addr(uint8_t *at, unsigned version, const struct addr *addr, uint32_t *change)
{
	size_t size = version == 4 ? 4 : sizeof(addr->b);

	put(at, addr->b + sizeof(addr->b) - size, size, change);
}

/**
 * put_port() - write a port or identifier
 * @at: field
 * @port: host byte order
 * @change: as in put()
 */
static void put_port(uint8_t *at, uint16_t port, uint32_t *change)
{
	uint16_t value = htons(port);

	put(at, &value, sizeof(value), change);
}

/**
 * adjust() - bring a checksum up to date
 * @at: field
 * @inside: difference in what it is over
 * @udp: a UDP checksum: 0 says that there is none
 * @change: what this changes itself is added, as in put()
 */
static void adjust(uint8_t *at, uint32_t inside, bool udp, uint32_t *change)
{
	uint16_t sum;

	memcpy(&sum, at, sizeof(sum));
	if (udp && !sum)
		return;
	sum = csum(at, 0, (uint16_t)~sum + inside);
	if (udp && !sum)
		sum = UINT16_MAX;
	put(at, &sum, sizeof(sum), change);
}

/**
 * put_addrs() - write the addresses of an IP header, and its checksum
 * @header: IP header
 * @version: 4 or 6
 * @src: of that family
 * @dst: of that family
 * @change: difference for a pseudo-header, as in put(), the header's own checksum left out
 * @whole: the same with it
 */
static void put_addrs(uint8_t *header, unsigned version, const struct addr *src, const struct addr *dst,
		      uint32_t *change, uint32_t *whole)
{
	bool four = version == 4;

	put_addr(header + (four ? offsetof(struct ip, ip_src) : offsetof(struct ip6_hdr, ip6_src)), version, src,
		 change);
	put_addr(header + (four ? offsetof(struct ip, ip_dst) : offsetof(struct ip6_hdr, ip6_dst)), version, dst,
		 change);
	*whole += *change;
	if (four)
		adjust(header + offsetof(struct ip, ip_sum), *change, false, whole);
}

/* Where a transport header has its ports and its checksum */
struct layout {
	size_t sport, dport, sum; /* bytes; for ICMP both ports are the identifier */
	bool pseudo;              /* the checksum covers the addresses too */
	bool udp;
};

/**
 * layout_of() - where a transport header has its ports and its checksum
 * @class: enum steer_class
 * @version: 4 or 6
 */
static struct layout layout_of(unsigned class, unsigned version)
{
	static const struct layout layouts[NAPT_CLASSES] = {
		[CLASS_TCP] = {0, 2, 16, true, false},
		[CLASS_UDP] = {0, 2, 6, true, true},
		[CLASS_ICMP] = {4, 4, 2, true, false},
	};
	struct layout layout = layouts[class];

	if (class == CLASS_ICMP && version == 4)
		layout.pseudo = false;
	return layout;
}

/**
 * rewrite() - write addresses and one port of a packet that is no ICMP error
 * @mapping: that it goes by
 * @pkt: packet with its new addresses
 * @data: its bytes
 * @out: which way it goes
 */
static void rewrite(const struct mapping *mapping, struct pkt *pkt, uint8_t *data, bool out)
{
	const struct layout layout = layout_of(mapping->class, pkt->version);
	uint16_t port = out ? mapping->outer_port : mapping->inner_port;
	uint32_t change = 0, whole = 0;

	if (out || mapping->class == CLASS_ICMP)
		pkt->sport = port;
	if (!out || mapping->class == CLASS_ICMP)
		pkt->dport = port;
	put_addrs(data, pkt->version, &pkt->src, &pkt->dst, &change, &whole);
	if (pkt->flags & PKT_LATER)
		return;
	if (!layout.pseudo)
		change = 0;
	put_port(data + pkt->transport + (out ? layout.sport : layout.dport), port, &change);
	adjust(data + pkt->transport + layout.sum, change, layout.udp, &whole);
}

/**
 * napt_rewrite_out() - make a client's packet one that may leave
 * @napt: translation
 * @mapping: what napt_aggregate() has found
 * @pkt: its checked view, changed along
 * @data: its bytes
 */
void napt_rewrite_out(const struct napt *napt, const struct mapping *mapping, struct pkt *pkt, uint8_t *data)
{
	pkt->src = mapping->outer;
	if (mapping->host && addr_eq(&pkt->dst, napt_alias(napt, &mapping->outer)))
		pkt->dst = mapping->outer;
	rewrite(mapping, pkt, data, true);
}

/**
 * rewrite_quoted() - turn the packet that an ICMP error quotes into the one that the client has sent
 * @napt: translation
 * @mapping: that it went by
 * @pkt: the error, changed along
 * @data: its bytes
 *
 * Of the transport header only the ports are sure to be there.
 *
 * Return: the difference in what the error's checksum is over, as in put()
 */
static uint32_t rewrite_quoted(const struct napt *napt, const struct mapping *mapping, struct pkt *pkt, uint8_t *data)
{
	const struct layout layout = layout_of(mapping->class, pkt->version);
	uint32_t change = 0, whole = 0, port = 0;

	pkt->inner_src = mapping->inner;
	if (mapping->host)
		pkt->inner_dst = *napt_alias(napt, &mapping->outer);
	pkt->inner_sport = mapping->inner_port;
	if (mapping->class == CLASS_ICMP)
		pkt->inner_dport = mapping->inner_port;
	put_addrs(data + pkt->inner, pkt->version, &pkt->inner_src, &pkt->inner_dst, &change, &whole);
	put_port(data + pkt->inner_transport + layout.sport, mapping->inner_port, &port);
	whole += port;
	if (pkt->len - pkt->inner_transport >= layout.sum + sizeof(uint16_t))
		adjust(data + pkt->inner_transport + layout.sum, layout.pseudo ? change + port : port, layout.udp,
		       &whole);
	return whole;
}

/**
 * napt_rewrite_in() - make a packet one for the client
 * @napt: translation
 * @mapping: what napt_match() has found
 * @pkt: its checked view, changed along
 * @data: its bytes
 */
void napt_rewrite_in(const struct napt *napt, const struct mapping *mapping, struct pkt *pkt, uint8_t *data)
{
	const struct layout icmp = layout_of(CLASS_ICMP, pkt->version);
	uint32_t change = 0, whole = 0, quoted;

	pkt->dst = mapping->inner;
	if (mapping->host && addr_eq(&pkt->src, &mapping->outer))
		pkt->src = *napt_alias(napt, &mapping->outer);
	if (!(pkt->flags & PKT_ICMP_ERROR)) {
		rewrite(mapping, pkt, data, false);
		return;
	}
	quoted = rewrite_quoted(napt, mapping, pkt, data);
	put_addrs(data, pkt->version, &pkt->src, &pkt->dst, &change, &whole);
	adjust(data + pkt->transport + icmp.sum, icmp.pseudo ? quoted + change : quoted, false, &whole);
}
