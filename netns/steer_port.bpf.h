/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_port.bpf.h: whose a port is, and where its packets go
 *
 * A local address or proxied prefix is a row; row and protocol class make a
 * block of ports in `allowed`, which only the monitor writes, and in `open`,
 * which the relay writes. A port has an owner when its slice's reservation is
 * held, and its packets are steered when the relay has opened it as well. All
 * of it holds while the monitor is alive, and shows that by its heartbeat.
 */
#ifndef SAFERAW_STEER_PORT_BPF_H
#define SAFERAW_STEER_PORT_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"

#define LO_IFINDEX 1 /* in every network namespace */

/**
 * alive() - has the monitor shown a sign of life of late?
 *
 * Return: false if the heartbeat is stale.
 */
static __always_inline bool alive(void)
{
	__u32 zero = 0;
	__u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	return beat && (__s64)(bpf_ktime_get_ns() - *(volatile __u64 *)beat) <= (__s64)STEER_STALE_NS;
}

/**
 * local_index() - index of one of this namespace's own addresses
 * @address: as it stands in a packet
 * @version: IP version of that packet
 *
 * Return: index into the blocks, or NOT_FOUND.
 */
static __always_inline int local_index(const union address *address, __u8 version)
{
	__u32 *index;

	if (is_loopback(address, version))
		return NOT_FOUND;
	index = bpf_map_lookup_elem(&addresses, address);
	return index ? (int)*index : NOT_FOUND;
}

/**
 * row_of() - row of an own address, or of the proxied prefix that an address is in
 * @address: as it stands in a packet
 * @version: IP version of that packet
 *
 * Return: index into the blocks, or NOT_FOUND.
 */
__noinline int row_of(const union address *address, __u8 version)
{
	struct steer_proxied prefix = {.len = 128};
	union address own; /* on the stack: Linux 6.1 takes no argument of such a function as a key */
	__u32 *row;
	int index;

	if (!address)
		return NOT_FOUND;
	own = *address;
	index = local_index(&own, version);
	if (index >= 0 || is_loopback(&own, version))
		return index;
	prefix.addr = own.key;
	row = bpf_map_lookup_elem(&proxied, &prefix);
	return row ? (int)*row : NOT_FOUND;
}

/**
 * is_proxied() - is a row one of proxied prefixes?
 * @row: index
 */
static __always_inline bool is_proxied(__u32 row)
{
	return row >= STEER_ADDRESSES_MAX;
}

/**
 * has_id() - is this an ICMP message that a flow on its identifier gets?
 * @row: that it is for
 * @version: IP version
 * @type: ICMP type
 *
 * Requests to an own address are the host's to answer. Nobody but a flow answers on a proxied one.
 *
 * Return: false for all but replies, and requests to a proxied address.
 */
static __always_inline bool has_id(__u32 row, __u8 version, __u8 type)
{
	return is_reply(version, type) || (is_proxied(row) && is_request(version, type));
}

/**
 * port_index() - a port as an index into a block
 * @port: host byte order
 *
 * The verifier of Linux 6.1 forgets how wide a value is when its byte order changes. The compiler does not, and
 * would leave out a mask that is written in C.
 *
 * Return: the port
 */
static __always_inline __u64 port_index(__u16 port)
{
	__u64 index = port;

	asm volatile("%0 &= 0xffff" : "+r"(index));
	return index;
}

/**
 * owner() - the slice that holds a port
 * @index: of the local address or its prefix
 * @end: class and port
 *
 * Return: slice number, 0 if the port belongs to nobody or is not held.
 */
static __always_inline __u32 owner(__u32 index, const struct end *end)
{
	__u32 number = STEER_BLOCK(index, end->class), zero = 0;
	void *block = bpf_map_lookup_elem(&allowed, &number);
	struct steer_allowed *row;
	__u16 entry;

	if (!block)
		return 0;
	row = bpf_map_lookup_elem(block, &zero);
	if (!row)
		return 0;
	entry = row->port[port_index(end->port)];
	return entry & STEER_HELD ? entry & STEER_SLICE_MASK : 0;
}

/**
 * opened() - what the relay says of a port
 * @index: of the local address or its prefix
 * @end: class and port
 *
 * Return: STEER_CLOSED, STEER_PACKET_TUN or STEER_LINK.
 */
static __always_inline __u8 opened(__u32 index, const struct end *end)
{
	__u32 number = STEER_BLOCK(index, end->class), zero = 0;
	void *block = bpf_map_lookup_elem(&open, &number);
	struct steer_open *row;

	if (!block)
		return STEER_CLOSED;
	row = bpf_map_lookup_elem(block, &zero);
	return row ? row->port[port_index(end->port)] : STEER_CLOSED;
}

/**
 * link_at() - the link whose block a port is in
 * @slice: that holds the port
 * @end: class and port
 *
 * Return: number, 0 for none.
 */
static __always_inline __u32 link_at(__u32 slice, const struct end *end)
{
	struct steer_link_ports key = {.slice = slice, .class = end->class, .unit = end->port / STEER_LINK_UNIT};
	__u32 *number = bpf_map_lookup_elem(&link_ports, &key);

	return number ? *number : 0;
}

/**
 * steered() - where packets to a port go
 * @index: of the local address or its prefix
 * @end: class and port
 * @link: result: number of the link, 0 for the packet TUN
 *
 * Return: slice number, 0 if the port is not held or neither flow nor link is open on it.
 */
static __always_inline __u32 steered(__u32 index, const struct end *end, __u32 *link)
{
	__u8 state = opened(index, end);
	__u32 slice;

	*link = 0;
	if (state != STEER_PACKET_TUN && state != STEER_LINK)
		return 0;
	slice = owner(index, end);
	if (state == STEER_PACKET_TUN)
		return slice;
	*link = link_at(slice, end);
	return *link ? slice : 0;
}

#endif
