/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edge.c: the reference that steering is compared with
 *
 * Steering knows ports and slices, but no flows. So what it promises is what
 * the verdict would say for the best flow that there could be:
 *
 * - Out, behind a relay that may have been taken over: a packet leaves only if
 *   some held port of some slice could send it. What concerns only the receiver
 *   (the rest of the transport header) is not steering's to look at.
 * - In: a packet is taken if some open port would get it. Steering may take
 *   what the relay then refuses (a bad checksum, say), but only what is for
 *   an open port of this namespace; everything else is the host's.
 * - Proxied addresses are nobody's but a flow's. What is sent to one stays in
 *   the namespace, and only an open port may be reached there.
 *
 * Between what must pass and what must not there is what may do either.
 */
#include "edge.h"

#include <string.h>

/** name() - the reason of a name, as a set */
static reference_set name(const char *text)
{
	unsigned bit;

	for (bit = 0; bit < 32; bit++)
		if (reference_has(1u << bit, text))
			return 1u << bit;
	return 0;
}

/** passage() - what follows from the reasons of one look, some of which are left to another */
static enum reference_passage passage(reference_set reasons, reference_set left)
{
	return !reasons ? REFERENCE_PASSES : reasons & ~left ? REFERENCE_STOPS : REFERENCE_EITHER;
}

/** make_flow() - the flow that has all the ports of a range, on one address or on all own ones */
static struct reference_flow make_flow(const struct reference_range *range, const struct reference_address *local)
{
	struct reference_flow flow = {.class = range->class,
				      .proxied = range->proxied,
				      .first = range->first,
				      .last = range->last,
				      .protocol = range->protocol,
				      .key = range->key};

	if (local)
		flow.local = *local;
	return flow;
}

/** read_end() - source or destination of a packet; no version where there is none */
static struct reference_address read_end(const uint8_t *packet, size_t size, bool destination)
{
	struct reference_address address = {.version = 0};
	size_t bytes = size && packet[0] >> 4 == 6 ? 16 : 4;
	size_t at = bytes == 16 ? 8 : 12;

	if (size < (bytes == 16 ? 40 : 20) || (bytes == 4 && packet[0] >> 4 != 4))
		return address;
	address.version = bytes == 16 ? 6 : 4;
	memcpy(address.byte, packet + at + (destination ? bytes : 0), bytes);
	return address;
}

/** is_own() - whether an address is one of the namespace's */
static bool is_own(const struct reference_netns *netns, const struct reference_address *address)
{
	unsigned i;

	for (i = 0; i < netns->addresses; i++)
		if (address->version && netns->address[i].version == address->version &&
		    !memcmp(netns->address[i].byte, address->byte, sizeof(address->byte)))
			return true;
	return false;
}

/** is_proxied() - whether an address is in one of the namespace's prefixes, and not its own */
static bool is_proxied(const struct reference_netns *netns, const struct reference_address *address)
{
	unsigned i, bit;

	for (i = 0; i < netns->proxied && !is_own(netns, address); i++) {
		const struct reference_prefix *prefix = &netns->prefix[i];

		if (!address->version || prefix->address.version != address->version)
			continue;
		for (bit = 0; bit < prefix->bits; bit++)
			if ((prefix->address.byte[bit / 8] ^ address->byte[bit / 8]) & 0x80 >> bit % 8)
				break;
		if (bit == prefix->bits)
			return true;
	}
	return false;
}

/** is_at() - whether the ports of a range are ports of an address */
static bool is_at(const struct reference_netns *netns, const struct reference_range *range,
		  const struct reference_address *address)
{
	return range->proxied ? is_proxied(netns, address) : is_own(netns, address);
}

/**
 * reference_to_self() - whether a packet is for one of the namespace's own addresses, or a proxied one
 * @netns: namespace
 * @packet: its first byte
 * @size: bytes
 */
bool reference_to_self(const struct reference_netns *netns, const uint8_t *packet, size_t size)
{
	struct reference_address to = read_end(packet, size, true);

	return is_own(netns, &to) || is_proxied(netns, &to);
}

/** receive_any() - what the best of the open ports says of a packet that is for an address of ours */
static enum reference_passage receive_any(const struct reference_netns *netns, const uint8_t *packet, size_t size,
					  reference_set left)
{
	struct reference_address to = read_end(packet, size, true);
	enum reference_passage best = REFERENCE_STOPS;
	unsigned i;

	for (i = 0; i < netns->ranges && best != REFERENCE_PASSES; i++) {
		struct reference_flow flow = make_flow(&netns->range[i], &to);
		enum reference_passage this;

		if (!netns->range[i].held || !netns->range[i].open || !is_at(netns, &netns->range[i], &to))
			continue;
		this = passage(reference_receive(&flow, packet, size, true), left);
		if (this != REFERENCE_STOPS)
			best = this;
	}
	return best;
}

/**
 * reference_out() - whether a packet that the relay writes may leave
 * @netns: namespace
 * @packet: its first byte
 * @size: bytes
 * @reasons: set to all that may be said against it
 *
 * The source must have been filled in by now. To the namespace's own addresses
 * it gets only if its slice is local, or to an open port; to proxied ones only
 * to an open port.
 */
enum reference_passage reference_out(const struct reference_netns *netns, const uint8_t *packet, size_t size,
				     reference_set *reasons)
{
	const reference_set left = name("transport") | name("option");
	struct reference_address from = read_end(packet, size, false), to = read_end(packet, size, true);
	enum reference_passage best = REFERENCE_STOPS;
	unsigned i;

	*reasons = is_own(netns, &from) || (is_proxied(netns, &from) && !netns->link) ? 0 : name("source");
	for (i = 0; i < netns->ranges && best != REFERENCE_PASSES; i++) {
		const struct reference_range *range = &netns->range[i];
		struct reference_slice slice = netns->slice[range->slice];
		struct reference_flow flow = make_flow(range, range->proxied ? &from : NULL);
		reference_set set;

		if (!range->held || (range->proxied && netns->link))
			continue;
		memcpy(slice.address, netns->address, sizeof(slice.address));
		slice.addresses = netns->addresses;
		memcpy(slice.prefix, netns->prefix, sizeof(slice.prefix));
		slice.proxied = netns->proxied;
		set = reference_send(&slice, &flow, packet, size);
		if (!is_at(netns, range, &from))
			set |= name("source");
		if (!(set & ~left) &&
		    (is_proxied(netns, &to) || (is_own(netns, &to) && !netns->local[range->slice])) &&
		    receive_any(netns, packet, size, left | name("checksum")) == REFERENCE_STOPS)
			set |= name("no-flow");
		*reasons |= set;
		if (passage(set, left) != REFERENCE_STOPS)
			best = passage(set, left);
	}
	return best;
}

/**
 * reference_in() - whether a packet from the wire goes into the TUN
 * @netns: namespace
 * @packet: its first byte
 * @size: bytes, with what Ethernet put behind the packet
 *
 * A later fragment goes where its first went, which is not known here. What is
 * still on its way, by a route in the packet, is for the host to send on.
 */
enum reference_passage reference_in(const struct reference_netns *netns, const uint8_t *packet, size_t size)
{
	const reference_set left = name("checksum") | name("transport") | name("option") | name("source-route") |
				   name("length") | name("header-length") | name("extension") | name("short") |
				   name("routing-header") | name("home-address") | name("chain-end") |
				   name("fragment-length") | name("tiny-fragment") | name("atomic-fragment");
	struct reference_address from = read_end(packet, size, false);
	enum reference_passage best;

	if (is_own(netns, &from) || is_proxied(netns, &from) || reference_is_on_way(packet, size))
		return REFERENCE_STOPS;
	best = receive_any(netns, packet, size, left);
	return best == REFERENCE_PASSES && reference_is_later(packet, size) ? REFERENCE_EITHER : best;
}
