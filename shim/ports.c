/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ports.c: who has which local port of one netns, as the relay knows it
 *
 * One entry for each (row, class, port), in blocks as steering has
 * them, made on first use. A reservation claims its ports on every address
 * that it covers, so "is this port free here" is one look, and a reservation
 * on all addresses and one on a single address meet in the same entry. While
 * a port is claimed it is of one slice and uid.
 *
 * For each arriving packet the entry says whose port it is and which levels
 * of flow there are, so that the flow table is asked only where an answer may
 * be. `levels` may be too much (bits stay until the port is nobody's), never
 * too little.
 *
 * The `open` map follows `opened`: a byte is set as long as one reservation
 * of the port has steering on. The monitor makes a block of it before it grants
 * a port there; where it could not, steering stays shut.
 */
#include "ports.h"

#include <errno.h>
#include <stdlib.h>

/**
 * entry() - the entry of one port, whoever has it
 * @ports: table; the block exists
 * @address: row
 * @class: enum steer_class
 * @port: host byte order
 */
static struct port *entry(struct ports *ports, unsigned address, unsigned class, unsigned port)
{
	return &ports->block[STEER_BLOCK(address, class)][port];
}

/**
 * ports_free() - let go of the table's memory
 * @ports: table
 */
void ports_free(struct ports *ports)
{
	unsigned i;

	for (i = 0; i < STEER_BLOCKS; i++)
		free(ports->block[i]);
	*ports = (struct ports){0};
}

/**
 * ports_may_claim() - whether nobody else, and no link, has any of some ports
 * @ports: table
 * @addresses: set of rows
 * @span: class and ports
 * @slice: number of who asks
 * @uid: of who asks
 */
bool ports_may_claim(const struct ports *ports, uint64_t addresses, const struct policy_range *span, uint16_t slice,
		     uint32_t uid)
{
	unsigned port;

	for (; addresses; addresses &= addresses - 1) {
		unsigned address = (unsigned)__builtin_ctzll(addresses);

		for (port = span->lo; port <= span->hi; port++) {
			const struct port *p = ports_find(ports, address, span->class, (uint16_t)port);

			if (p && (p->slice != slice || p->uid != uid || p->link))
				return false;
		}
	}
	return true;
}

/**
 * ports_of_others() - whether another user has any of some ports, which are one slice's
 * @ports: table
 * @addresses: set of rows
 * @span: class and ports
 * @uid: of who asks
 */
bool ports_of_others(const struct ports *ports, uint64_t addresses, const struct policy_range *span, uint32_t uid)
{
	unsigned port;

	for (; addresses; addresses &= addresses - 1) {
		unsigned address = (unsigned)__builtin_ctzll(addresses);

		for (port = span->lo; port <= span->hi; port++) {
			const struct port *p = ports_find(ports, address, span->class, (uint16_t)port);

			if (p && p->uid != uid)
				return true;
		}
	}
	return false;
}

/**
 * ports_first_taken() - the first of some ports that anybody has
 * @ports: table
 * @addresses: set of rows
 * @span: class and ports
 *
 * Return: the port, or -1 when all are free on all the addresses.
 */
int ports_first_taken(const struct ports *ports, uint64_t addresses, const struct policy_range *span)
{
	uint64_t left;
	unsigned port;

	for (port = span->lo; port <= span->hi; port++)
		for (left = addresses; left; left &= left - 1)
			if (ports_find(ports, (unsigned)__builtin_ctzll(left), span->class, (uint16_t)port))
				return (int)port;
	return -1;
}

/**
 * ports_claim() - one reservation more on some ports of one address
 * @ports: table
 * @address: row
 * @span: class and ports, which ports_may_claim()
 * @slice: number of the owner
 * @uid: of the owner
 *
 * Return: 0, or -1 and ENOMEM.
 */
int ports_claim(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t slice, uint32_t uid)
{
	struct port **block = &ports->block[STEER_BLOCK(address, span->class)];
	unsigned port;

	if (!*block)
		*block = calloc(STEER_PORTS, sizeof(**block));
	if (!*block)
		return -1;
	for (port = span->lo; port <= span->hi; port++) {
		struct port *p = &(*block)[port];

		p->slice = slice;
		p->uid = uid;
		p->holds++;
	}
	return 0;
}

/**
 * ports_unclaim() - one reservation less; ports_shut() before, if it was open
 * @ports: table
 * @address: row
 * @span: class and ports, as claimed
 */
void ports_unclaim(struct ports *ports, unsigned address, const struct policy_range *span)
{
	unsigned port;

	for (port = span->lo; port <= span->hi; port++) {
		struct port *p = entry(ports, address, span->class, port);

		if (--p->holds == 0)
			*p = (struct port){0};
	}
}

/**
 * ports_set_link() - some ports are a link's
 * @ports: table
 * @address: row
 * @span: class and ports, claimed once
 * @link: its number, or PORT_LINK_LATER
 */
void ports_set_link(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t link)
{
	unsigned port;

	for (port = span->lo; port <= span->hi; port++)
		entry(ports, address, span->class, port)->link = link;
}

/**
 * ports_add_levels() - flows of some levels are there from now on
 * @ports: table
 * @address: row
 * @span: class and ports, claimed
 * @levels: bits
 */
void ports_add_levels(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t levels)
{
	unsigned port;

	for (port = span->lo; port <= span->hi; port++)
		entry(ports, address, span->class, port)->levels |= levels;
}

/**
 * ports_mark_readers() - read-only flows may be there from now on
 * @ports: table
 * @address: row
 * @span: class and ports; those that the slice has not claimed are passed over
 * @slice: number
 */
void ports_mark_readers(struct ports *ports, unsigned address, const struct policy_range *span, uint16_t slice)
{
	struct port *block = ports->block[STEER_BLOCK(address, span->class)];
	unsigned port;

	for (port = span->lo; block && port <= span->hi; port++)
		if (block[port].holds && block[port].slice == slice)
			block[port].levels |= PORT_READERS;
}

/**
 * ports_add_flows() - change how many flows there are
 * @ports: table
 * @address: row
 * @span: class and ports, claimed
 * @flows: how many more, modulo 2^32
 */
void ports_add_flows(struct ports *ports, unsigned address, const struct policy_range *span, uint32_t flows)
{
	unsigned port;

	for (port = span->lo; port <= span->hi; port++)
		entry(ports, address, span->class, port)->flows += flows;
}

/**
 * ports_open() - one reservation more that wants packets
 * @ports: table
 * @open: blocks of the netns
 * @address: row
 * @span: class and ports, claimed
 */
void ports_open(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address,
		const struct policy_range *span)
{
	struct steer_open *map = open[STEER_BLOCK(address, span->class)];
	unsigned port;

	for (port = span->lo; port <= span->hi; port++) {
		struct port *p = entry(ports, address, span->class, port);

		if (p->opened++ == 0 && map)
			__atomic_store_n(&map->port[port], p->link ? STEER_LINK : STEER_PACKET_TUN, __ATOMIC_RELEASE);
	}
}

/**
 * ports_divert() - let packets to an open port of a link come to the relay, or go to the link directly
 * @ports: table
 * @open: blocks of the netns
 * @address: row
 * @class: enum steer_class
 * @port: host byte order
 * @on: to the relay
 */
void ports_divert(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address, unsigned class,
		  uint16_t port, bool on)
{
	struct steer_open *map = open[STEER_BLOCK(address, class)];

	if (map && entry(ports, address, class, port)->opened)
		__atomic_store_n(&map->port[port], on ? STEER_PACKET_TUN : STEER_LINK, __ATOMIC_RELEASE);
}

/**
 * ports_shut() - one reservation less that wants packets
 * @ports: table
 * @open: blocks of the netns
 * @address: row
 * @span: class and ports, as opened
 */
void ports_shut(struct ports *ports, struct steer_open *const open[STEER_BLOCKS], unsigned address,
		const struct policy_range *span)
{
	struct steer_open *map = open[STEER_BLOCK(address, span->class)];
	unsigned port;

	for (port = span->lo; port <= span->hi; port++)
		if (--entry(ports, address, span->class, port)->opened == 0 && map)
			__atomic_store_n(&map->port[port], STEER_CLOSED, __ATOMIC_RELEASE);
}
