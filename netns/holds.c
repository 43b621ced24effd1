/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holds.c: keeps the table of held ports right
 *
 * Two things hang on a (class, port). A *hold* is somebody's right to it: an
 * owner (slice and uid) on one address or on any of the slice's, with a count of
 * references for each, so that every release finds the very thing that was
 * acquired. A *cover* is a socket that keeps the rest of the host off it, on
 * one address or on all of a family. Covers belong to the port and not to an
 * owner: where a socket of ours is already, a second one is not needed, and could
 * not be bound beside it anyway.
 *
 * A namespace has at most 64 rows (own addresses and proxied prefixes), so sets
 * of them are bit masks (by index in ns->address), and the rules are rules
 * about masks:
 *
 *   claim   of a hold: its row; with "any", the own addresses of the slice and family
 *   marked  of a port: claims of all its holds, where a cover backs them; this
 *	     is what steering regards as held
 *
 * On a proxied prefix a hold needs no cover: no socket could have its port.
 *
 * A slice with "hold = always" has a standing hold on every port of its range.
 * It needs covers like any other, but is in nobody's way and marks nothing:
 * until a flow has the port, not even the relay may send from it.
 *
 *   - Holds of different owners never have an address in common.
 *   - Covers of one port never overlap, and each backs a hold.
 *   - `marked` is changed nowhere but in holds_settle().
 *
 * The table is an array by class and port, of which only touched pages take
 * memory, and a list of what is in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "priv.h"
#include "proxied.h"
#include "steering.h"
#include "util.h"

/* Rows of proxied prefixes. The kernel has no such address: there is nothing that a socket could take or hold. */
#define PROXIED (~UINT64_C(0) << STEER_ADDRESSES_MAX)

/**
 * holds_families() - HOLDER_ bits of an address family
 * @family: AF_INET, AF_INET6, else both
 */
unsigned holds_families(int family)
{
	return family == AF_INET ? HOLDER_V4 : family == AF_INET6 ? HOLDER_V6 : HOLDER_BOTH;
}

/**
 * holds_set_scope() - remember which addresses a slice has
 * @r: table
 * @slice: its configuration
 *
 * Return: 0, or -1 and ENOMEM
 */
int holds_set_scope(struct reserve *r, const struct conf_slice *slice)
{
	struct scope **scope = &r->scope[slice->number];

	if (!*scope)
		*scope = calloc(1, sizeof(**scope));
	if (!*scope)
		return -1;
	(*scope)->addresses = slice->addresses;
	memcpy((*scope)->address, slice->address, sizeof((*scope)->address));
	return 0;
}

/**
 * holds_owned() - whether a slice's configuration has a port on an address
 * @ns: namespace
 * @slice: configuration
 * @class: protocol class
 * @port: port
 * @address: index, or PRIV_ANY_ADDRESS
 */
bool holds_owned(const struct netns *ns, const struct conf_slice *slice, unsigned class, uint16_t port,
		 uint8_t address)
{
	unsigned i;

	if (address != PRIV_ANY_ADDRESS && proxied_row(address))
		return proxied_owns(ns, slice, address) && (class != CLASS_GRANT || grants_owns(ns, slice, port));
	for (i = 0; i < slice->ranges; i++)
		if (slice->range[i].class == class && slice->range[i].lo <= port && port <= slice->range[i].hi)
			break;
	if (i == slice->ranges && (class != CLASS_GRANT || !grants_owns(ns, slice, port)))
		return false;
	if (address == PRIV_ANY_ADDRESS || !slice->addresses)
		return true;
	for (i = 0; i < slice->addresses; i++)
		if (addr_eq(&slice->address[i], &ns->address[address].addr))
			return true;
	return false;
}

/**
 * holds_rows() - own addresses of a namespace
 * @ns: namespace
 * @of: HOLDER_ bits
 * @scope: of a slice, NULL for all
 * @present: leave out those that are not there now
 *
 * Return: set of addresses
 */
uint64_t holds_rows(const struct netns *ns, unsigned of, const struct scope *scope, bool present)
{
	uint64_t set = 0;
	unsigned i, j;

	for (i = 0; i < ns->addresses; i++) {
		const struct netns_address *row = &ns->address[i];

		if (!(holds_families(addr_family(&row->addr)) & of) || (present && !row->present))
			continue;
		for (j = 0; scope && j < scope->addresses && !addr_eq(&scope->address[j], &row->addr); j++)
			;
		if (!scope || !scope->addresses || j < scope->addresses)
			set |= UINT64_C(1) << i;
	}
	return set;
}

/**
 * holds_claim() - the addresses that a hold is about
 * @ns: namespace
 * @slice: number
 * @address: index, or PRIV_ANY_ADDRESS
 * @family: with PRIV_ANY_ADDRESS
 *
 * Return: set of addresses
 */
uint64_t holds_claim(const struct netns *ns, unsigned slice, uint8_t address, uint8_t family)
{
	if (address != PRIV_ANY_ADDRESS)
		return UINT64_C(1) << address;
	return holds_rows(ns, holds_families(family), ns->reserve->scope[slice], false);
}

/**
 * holds_covered() - the addresses on which our sockets hold a port
 * @ns: namespace
 * @port: port
 *
 * Return: set of addresses
 */
uint64_t holds_covered(const struct netns *ns, const struct port *port)
{
	const struct cover *cover;
	uint64_t set = 0;

	LIST_FOREACH(cover, &port->covers, in_port)
		set |= cover->holder.families ? holds_rows(ns, cover->holder.families, NULL, false)
					      : UINT64_C(1) << cover->index;
	return set;
}

/**
 * claims() - the addresses that holds of a port are about
 * @port: port
 * @standing: whether those count that no flow has
 *
 * Return: set of addresses
 */
static uint64_t claims(const struct port *port, bool standing)
{
	const struct hold *hold;
	uint64_t set = 0;

	LIST_FOREACH(hold, &port->holds, in_port)
		set |= hold->stale || (hold->standing && !standing) ? 0 : hold->claim;
	return set;
}

/**
 * holds_claims() - the addresses that any hold of a port is about
 * @port: port
 *
 * Return: set of addresses
 */
uint64_t holds_claims(const struct port *port)
{
	return claims(port, true);
}

/**
 * backs() - whether a cover serves a hold
 * @ns: namespace
 * @cover: cover
 * @hold: hold of the same port
 */
static bool backs(const struct netns *ns, const struct cover *cover, const struct hold *hold)
{
	if (hold->stale || (hold->address != PRIV_ANY_ADDRESS && proxied_row(hold->address)))
		return false;
	if (!cover->holder.families)
		return hold->claim >> cover->index & 1;
	if (hold->address == PRIV_ANY_ADDRESS)
		return holds_families(hold->family) & cover->holder.families;
	return holds_families(addr_family(&ns->address[hold->address].addr)) & cover->holder.families;
}

/**
 * holds_settle() - after a change: tell steering, close what is needed no more
 * @ns: namespace
 * @port: freed when nothing is left of it
 */
void holds_settle(struct netns *ns, struct port *port)
{
	uint64_t marks = claims(port, false) & (holds_covered(ns, port) | PROXIED), changed = marks ^ port->marked;
	struct cover *cover, *next;
	struct hold *hold;
	unsigned i;

	port->marked = marks;
	steering_beat(); /* this may be one of very many */
	for (i = 0; i < STEER_ROWS_MAX; i++)
		if (changed >> i & 1)
			steering_hold(ns, i, port->class, port->number, marks >> i & 1);
	for (cover = LIST_FIRST(&port->covers); cover; cover = next) {
		next = LIST_NEXT(cover, in_port);
		LIST_FOREACH(hold, &port->holds, in_port)
			if (backs(ns, cover, hold))
				break;
		if (hold)
			continue;
		LIST_REMOVE(cover, in_port);
		ns->reserve->covers--;
		close_fd(&cover->holder.fd);
		free(cover);
	}
	if (LIST_EMPTY(&port->holds)) {
		LIST_REMOVE(port, in_table);
		ns->reserve->port[port->class][port->number] = NULL;
		free(port);
	}
}

/**
 * holds_end() - a hold is over
 * @ns: namespace
 * @hold: freed; its port too when nothing else is left of it
 */
void holds_end(struct netns *ns, struct hold *hold)
{
	struct port *port = hold->port;

	if (hold->deadline_ns)
		LIST_REMOVE(hold, in_waiting);
	LIST_REMOVE(hold, in_port);
	free(hold);
	holds_settle(ns, port);
}

/**
 * holds_find() - what an owner has of a port
 * @port: may be NULL
 * @address: index, or PRIV_ANY_ADDRESS
 * @family: with PRIV_ANY_ADDRESS
 * @slice: number
 * @uid: user
 *
 * Return: hold, or NULL
 */
struct hold *holds_find(const struct port *port, uint8_t address, uint8_t family, uint32_t slice, uint32_t uid)
{
	struct hold *hold;

	if (!port)
		return NULL;
	LIST_FOREACH(hold, &port->holds, in_port)
		if (!hold->standing && hold->slice == slice && hold->uid == uid && hold->address == address &&
		    (address != PRIV_ANY_ADDRESS || hold->family == family))
			return hold;
	return NULL;
}

/**
 * holds_port() - a port's entry, after what is over has gone from it
 * @ns: namespace
 * @class: protocol class
 * @number: port
 *
 * Return: entry, made if need be; NULL and ENOMEM
 */
struct port *holds_port(struct netns *ns, uint8_t class, uint16_t number)
{
	struct port **slot = &ns->reserve->port[class][number], *port;
	struct hold *hold, *next;
	uint64_t now = clock_ns();

	for (hold = *slot ? LIST_FIRST(&(*slot)->holds) : NULL; hold; hold = next) {
		next = LIST_NEXT(hold, in_port);
		if (hold->deadline_ns && hold->deadline_ns <= now)
			holds_end(ns, hold);
	}
	if (*slot)
		return *slot;
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->class = class;
	port->number = number;
	LIST_INSERT_HEAD(&ns->reserve->ports, port, in_table);
	return *slot = port;
}
