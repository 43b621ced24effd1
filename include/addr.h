/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addr.h: one IP address of either family
 *
 * An address is 16 bytes in network order; an IPv4 address is kept in its
 * IPv4-mapped form (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so that both families
 * compare, hash and travel alike, in C, in BPF maps and in messages. Four
 * values name sets instead of hosts: "::" any address of any family (unset),
 * "::ffff:0.0.0.0" any IPv4 address. There is no separate "any IPv6": a
 * struct that needs it says so with a family beside the address.
 */
#ifndef SAFERAW_ADDR_H
#define SAFERAW_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t b[16];
};

struct prefix {
	struct addr addr;
	uint8_t len; /* of the 128-bit form: IPv4 /24 is 120 */
};

/* Room for the longest text of an address or prefix, with its NUL */
#define ADDR_TEXT_MAX 64

struct addr addr_from_v4(const void *four_bytes);
struct addr addr_from_v6(const void *sixteen_bytes);
bool addr_from_sockaddr(const struct sockaddr_storage *ss, struct addr *addr, uint16_t *port);
void addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *ss);
bool addr_parse(const char *text, struct addr *addr);
const char *addr_text(const struct addr *addr, char text[static ADDR_TEXT_MAX]);
int addr_family(const struct addr *addr);
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *addr);
bool addr_is_loopback(const struct addr *addr);
bool addr_is_multicast(const struct addr *addr);
bool addr_is_broadcast(const struct addr *addr);
bool addr_is_linklocal(const struct addr *addr);
bool prefix_parse(const char *text, struct prefix *prefix);
bool prefix_eq(const struct prefix *a, const struct prefix *b);
bool prefix_contains(const struct prefix *prefix, const struct addr *addr);
const char *prefix_text(const struct prefix *prefix, char text[static ADDR_TEXT_MAX]);

#endif
