/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verdict.h: a second opinion on every packet
 *
 * Shares nothing with shim/, not even a header: the packet comes as bytes,
 * the slice and the flow in the plain structs below, the answer is a set of
 * the names that saferaw-protocol(7) has for reasons. See verdict.c.
 */
#ifndef REFERENCE_VERDICT_H
#define REFERENCE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFERENCE_MANY 32 /* addresses of a slice, prefixes on its deny-list */

struct reference_address {
	unsigned version;  /* 4 or 6; 0: no address is given */
	uint8_t byte[16];  /* network order; IPv4 uses the first four */
};

struct reference_prefix {
	struct reference_address address;
	unsigned bits; /* that count: up to 32 in IPv4, 128 in IPv6 */
};

struct reference_slice {
	bool fragments; /* may send them */
	unsigned addresses, proxied, denied;
	struct reference_address address[REFERENCE_MANY];
	struct reference_prefix prefix[REFERENCE_MANY]; /* proxied: routed to the host, none of its own addresses */
	struct reference_prefix deny[REFERENCE_MANY];
};

/* What the ports of a flow are ports of */
enum reference_class {
	REFERENCE_TCP,
	REFERENCE_UDP,
	REFERENCE_ICMP,
	REFERENCE_SCTP,
	REFERENCE_DCCP,
	REFERENCE_UDPLITE,
	REFERENCE_CLASSES,
	REFERENCE_GRANT = REFERENCE_CLASSES /* no ports: a protocol by number, GRE by key */
};

struct reference_flow {
	enum reference_class class;
	bool read_only;
	unsigned version;		/* 4 or 6; 0: both */
	struct reference_address local; /* not given: any of the slice's own */
	unsigned local_bits;		/* of local, where it is a prefix; 0: it is an address */
	bool proxied;			/* local is in a proxied prefix of the slice */
	uint16_t first, last;		/* ports or identifiers, both included */
	unsigned protocol;		/* with REFERENCE_GRANT, which has no ports */
	uint32_t key;			/* of GRE */
	struct reference_address remote;
	uint16_t remote_port;		/* 0: any */
};

/* A set of reasons; the empty one means that the packet passes */
typedef uint32_t reference_set;

reference_set reference_send(const struct reference_slice *slice, const struct reference_flow *flow,
			     const uint8_t *packet, size_t size);
reference_set reference_receive(const struct reference_flow *flow, const uint8_t *packet, size_t size, bool padded);
bool reference_is_later(const uint8_t *packet, size_t size);
bool reference_is_on_way(const uint8_t *packet, size_t size);
bool reference_has(reference_set set, const char *name);
const char *reference_text(reference_set set, char text[static 256]);

#endif
