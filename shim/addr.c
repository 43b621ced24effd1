/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addr.c: IP addresses and prefixes of either family
 *
 * Everything is kept as 16 bytes, IPv4 in its mapped form, so a comparison
 * never asks for the family first. The price is one rule that the rest of the
 * code relies on: a wire IPv6 packet never carries an address inside
 * ::ffff:0:0/96 past pkt_parse(), or it could pass for an IPv4 address here.
 *
 * Prefixes are lengths of the 128-bit form, as the BPF maps have them. So a
 * prefix of zeros that is shorter than 96 bits, "::/0" among them, covers IPv4
 * too.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "util.h"

#define V4_BITS 96 /* of the mapped form, in front of the IPv4 address */

static const struct addr v4_any = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}};
static const struct addr v6_any;
static const struct addr v6_loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

/**
 * is_v4() - whether an address is of the IPv4-mapped form
 * @addr: address
 */
static bool is_v4(const struct addr *addr)
{
	return !memcmp(addr->b, v4_any.b, V4_BITS / 8);
}

/**
 * addr_from_v4() - an address from an IPv4 one
 * @four_bytes: network order, any alignment
 */
struct addr addr_from_v4(const void *four_bytes)
{
	struct addr addr = v4_any;

	memcpy(addr.b + V4_BITS / 8, four_bytes, 4);
	return addr;
}

/**
 * addr_from_v6() - an address from an IPv6 one
 * @sixteen_bytes: network order, any alignment; a mapped one is an IPv4 address from here on
 */
struct addr addr_from_v6(const void *sixteen_bytes)
{
	struct addr addr;

	memcpy(addr.b, sixteen_bytes, sizeof(addr.b));
	return addr;
}

/**
 * addr_from_sockaddr() - address and port of a socket address
 * @ss: AF_INET, AF_INET6, or AF_UNSPEC for "::" with the port where the other two have it
 * @addr: set on success
 * @port: set on success, host byte order; may be NULL
 *
 * Return: false for any other family
 */
bool addr_from_sockaddr(const struct sockaddr_storage *ss, struct addr *addr, uint16_t *port)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memcpy(&in, ss, sizeof(in));
	memcpy(&in6, ss, sizeof(in6));
	switch (ss->ss_family) {
	case AF_INET:
		*addr = addr_from_v4(&in.sin_addr);
		break;
	case AF_INET6:
		*addr = addr_from_v6(&in6.sin6_addr);
		break;
	case AF_UNSPEC:
		*addr = v6_any;
		break;
	default:
		return false;
	}
	if (port)
		*port = ntohs(in.sin_port);
	return true;
}

/**
 * addr_to_sockaddr() - a socket address from address and port
 * @addr: "::" gives AF_UNSPEC
 * @port: host byte order
 * @ss: set whole, zeros where nothing is said
 */
void addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in in = {.sin_family = AF_UNSPEC, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(ss, 0, sizeof(*ss));
	if (addr_family(addr) == AF_INET6) {
		memcpy(&in6.sin6_addr, addr->b, sizeof(in6.sin6_addr));
		memcpy(ss, &in6, sizeof(in6));
		return;
	}
	if (is_v4(addr)) {
		in.sin_family = AF_INET;
		memcpy(&in.sin_addr, addr->b + V4_BITS / 8, sizeof(in.sin_addr));
	}
	memcpy(ss, &in, sizeof(in));
}

/**
 * addr_parse() - an address from text
 * @text: dotted quad or IPv6; no port, no zone, no blanks
 * @addr: set on success
 *
 * Return: whether it is one
 */
bool addr_parse(const char *text, struct addr *addr)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, text, b) == 1) {
		*addr = addr_from_v4(b);
		return true;
	}
	if (inet_pton(AF_INET6, text, b) == 1) {
		*addr = addr_from_v6(b);
		return true;
	}
	return false;
}

/**
 * addr_text() - text of an address
 * @addr: address
 * @text: filled in
 *
 * Return: @text
 */
const char *addr_text(const struct addr *addr, char text[static ADDR_TEXT_MAX])
{
	if (is_v4(addr))
		inet_ntop(AF_INET, addr->b + V4_BITS / 8, text, ADDR_TEXT_MAX);
	else
		inet_ntop(AF_INET6, addr->b, text, ADDR_TEXT_MAX);
	return text;
}

/**
 * addr_family() - the family of an address
 * @addr: address
 *
 * Return: AF_INET, AF_INET6, or AF_UNSPEC for "::"
 */
int addr_family(const struct addr *addr)
{
	if (is_v4(addr))
		return AF_INET;
	return addr_eq(addr, &v6_any) ? AF_UNSPEC : AF_INET6;
}

/**
 * addr_eq() - whether two addresses are the same
 * @a: one
 * @b: the other
 */
bool addr_eq(const struct addr *a, const struct addr *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/**
 * addr_is_any() - whether this is "::" or 0.0.0.0
 * @addr: address
 */
bool addr_is_any(const struct addr *addr)
{
	return addr_eq(addr, &v6_any) || addr_eq(addr, &v4_any);
}

/**
 * addr_is_loopback() - whether this is ::1 or in 127.0.0.0/8
 * @addr: address
 */
bool addr_is_loopback(const struct addr *addr)
{
	return is_v4(addr) ? addr->b[12] == 127 : addr_eq(addr, &v6_loopback);
}

/**
 * addr_is_multicast() - whether this is in 224.0.0.0/4 or ff00::/8
 * @addr: address
 */
bool addr_is_multicast(const struct addr *addr)
{
	return is_v4(addr) ? (addr->b[12] & 0xf0) == 0xe0 : addr->b[0] == 0xff;
}

/**
 * addr_is_broadcast() - whether this is 255.255.255.255
 * @addr: address
 */
bool addr_is_broadcast(const struct addr *addr)
{
	return is_v4(addr) && (addr->b[12] & addr->b[13] & addr->b[14] & addr->b[15]) == 0xff;
}

/**
 * addr_is_linklocal() - whether this is in 169.254.0.0/16 or fe80::/10
 * @addr: address
 */
bool addr_is_linklocal(const struct addr *addr)
{
	if (is_v4(addr))
		return addr->b[12] == 169 && addr->b[13] == 254;
	return addr->b[0] == 0xfe && (addr->b[1] & 0xc0) == 0x80;
}

/**
 * mask() - clear the host bits of a prefix
 * @addr: changed
 * @len: bits to keep, 0 to 128
 */
static void mask(struct addr *addr, unsigned len)
{
	unsigned i;

	for (i = 0; i < sizeof(addr->b); i++) {
		unsigned keep = len > i * 8 ? len - i * 8 : 0;

		if (keep < 8)
			addr->b[i] &= (uint8_t)(0xff00 >> keep);
	}
}

/**
 * prefix_parse() - a prefix from text
 * @text: ADDRESS/LENGTH, or an address alone, which means all its bits
 * @prefix: set on success
 *
 * An address with bits set behind the length is refused: 10.0.0.1/8 is
 * somebody's mistake, and it cannot be known which half of it.
 *
 * Return: whether it is one
 */
bool prefix_parse(const char *text, struct prefix *prefix)
{
	char address[ADDR_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	unsigned before;
	struct addr addr, masked;
	uint64_t len;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	if (!addr_parse(address, &addr))
		return false;
	before = strchr(address, ':') ? 0 : V4_BITS;
	len = 128 - before;
	if (slash && !parse_u64(slash + 1, len, &len))
		return false;
	masked = addr;
	mask(&masked, before + (unsigned)len);
	if (!addr_eq(&masked, &addr))
		return false;
	prefix->addr = addr;
	prefix->len = (uint8_t)(before + len);
	return true;
}

/**
 * prefix_eq() - whether two prefixes are the same
 * @a: prefix
 * @b: another one
 */
bool prefix_eq(const struct prefix *a, const struct prefix *b)
{
	return a->len == b->len && addr_eq(&a->addr, &b->addr);
}

/**
 * prefix_contains() - whether an address is inside a prefix
 * @prefix: prefix; a length above 128 means 128
 * @addr: address
 */
bool prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
	unsigned len = prefix->len < 128 ? prefix->len : 128;
	unsigned bytes = len / 8, bits = len % 8;

	if (memcmp(prefix->addr.b, addr->b, bytes) != 0)
		return false;
	return !bits || !((prefix->addr.b[bytes] ^ addr->b[bytes]) & (0xff00 >> bits) & 0xff);
}

/**
 * prefix_text() - text of a prefix
 * @prefix: prefix
 * @text: filled in with ADDRESS/LENGTH, the length as its family counts
 *
 * Return: @text
 */
const char *prefix_text(const struct prefix *prefix, char text[static ADDR_TEXT_MAX])
{
	char address[ADDR_TEXT_MAX];
	unsigned before = is_v4(&prefix->addr) && prefix->len >= V4_BITS ? V4_BITS : 0;

	if (before)
		addr_text(&prefix->addr, address);
	else
		inet_ntop(AF_INET6, prefix->addr.b, address, sizeof(address));
	snprintf(text, ADDR_TEXT_MAX, "%.48s/%u", address, prefix->len - before);
	return text;
}
