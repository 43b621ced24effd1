/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * permit.c: what steering may let through, from the configuration
 *
 * Each port of each of a namespace's addresses belongs to one slice or to
 * nobody, and a proxied prefix belongs to one slice whole. After a change the
 * whole table of such a row is written again, run by run: a port that keeps its
 * slice is written with what it was, so there is no moment in which it is
 * closed.
 */
#include "permit.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "proxied.h"
#include "steering.h"
#include "util.h"

#define BURST_NS (100 * NS_PER_MS) /* how much of its rate a slice may use at once */
#define SHARE_MIN 64               /* packets: less would lose ordinary bursts */

/**
 * permit_has_row() - whether an address or a proxied prefix is a slice's
 * @ns: its namespace
 * @slice: the slice
 * @row: which
 */
bool permit_has_row(const struct netns *ns, const struct conf_slice *slice, unsigned row)
{
	if (proxied_row(row))
		return proxied_owns(ns, slice, row);
	for (unsigned i = 0; i < slice->addresses; i++)
		if (addr_eq(&slice->address[i], &ns->address[row].addr))
			return true;
	return slice->addresses == 0;
}

/**
 * permit_has_range() - whether ports are all a slice's
 * @ns: its namespace
 * @slice: the slice
 * @address: a row of the slice's, or PRIV_ANY_ADDRESS
 * @range: class and ports
 *
 * The relay's own check: what it may grant is what the monitor will hold. Of a
 * proxied prefix every port is its slice's.
 */
bool permit_has_range(const struct netns *ns, const struct conf_slice *slice, uint8_t address,
		      const struct policy_range *range)
{
	struct policy_slice owns = {.ranges = slice->ranges};
	unsigned slot = range->lo;

	if (range->class == CLASS_GRANT) {
		while (slot <= range->hi && grants_owns(ns, slice, slot))
			slot++;
		return slot > range->hi;
	}
	if (address != PRIV_ANY_ADDRESS && proxied_row(address))
		return true;
	memcpy(owns.range, slice->range, sizeof(owns.range));
	return policy_slice_owns(&owns, range->class, range->lo, range->hi);
}

/**
 * claim() - enter a slice's ports of one class
 * @ns: its namespace
 * @owner: slice number of each port
 * @slice: the slice
 * @class: the class
 * @all: all of them, unless the class has no ports
 */
static void claim(const struct netns *ns, uint16_t owner[static STEER_PORTS], const struct conf_slice *slice,
		  enum steer_class class, bool all)
{
	for (unsigned port = 0; all && class < STEER_PORT_CLASSES && port < STEER_PORTS; port++)
		owner[port] = (uint16_t)slice->number;
	for (unsigned slot = 1; class == CLASS_GRANT && slice->grants && slot < STEER_GRANT_SLOTS; slot++)
		if (grants_owns(ns, slice, slot))
			owner[slot] = (uint16_t)slice->number;
	for (unsigned i = 0; !all && i < slice->ranges; i++) {
		const struct policy_range *range = &slice->range[i];

		for (unsigned port = range->lo; range->class == class && port <= range->hi; port++)
			owner[port] = (uint16_t)slice->number;
	}
}

/**
 * permit_class() - write again whose the ports of one class of one row are
 * @ns: the namespace
 * @index: of the row
 * @class: the class
 * @owner: slice number of each port
 *
 * A block is made when somebody first has a port in it.
 *
 * Return: 0, or -1 and errno.
 */
static int permit_class(struct netns *ns, unsigned index, enum steer_class class,
			const uint16_t owner[static STEER_PORTS])
{
	for (unsigned lo = 0, hi; lo < STEER_PORTS; lo = hi + 1) {
		for (hi = lo; hi + 1 < STEER_PORTS && owner[hi + 1] == owner[lo]; hi++)
			;
		if (owner[lo] && steering_block(ns, index, class) < 0)
			return -1;
		steering_allow(
			ns, index,
			&(struct policy_range){.class = (uint8_t) class, .lo = (uint16_t)lo, .hi = (uint16_t)hi},
			owner[lo]);
	}
	return 0;
}

/**
 * permit_address() - write again whose the ports of one row are, and whether it is there
 * @ns: the namespace
 * @conf: configuration
 * @index: of the row
 *
 * Return: 0, or -1 and errno.
 */
int permit_address(struct netns *ns, const struct conf *conf, unsigned index)
{
	uint16_t owner[STEER_PORTS];

	for (enum steer_class class = 0; class < STEER_CLASSES; class ++) {
		memset(owner, 0, sizeof(owner));
		for (unsigned i = 0; i < conf->slices; i++)
			if (netns_has_slice(ns, conf, &conf->slice[i]) && permit_has_row(ns, &conf->slice[i], index))
				claim(ns, owner, &conf->slice[i], class, proxied_row(index));
		if (permit_class(ns, index, class, owner) < 0)
			return -1;
	}
	return steering_address(ns, index, ns->address[index].present);
}

/**
 * rate() - a limit as steering counts it
 * @per_second: units a second; 0 for no limit
 * @factor: steering's units in one of these
 */
static struct steer_rate rate(uint64_t per_second, unsigned factor)
{
	if (!per_second)
		return (struct steer_rate){0};
	return (struct steer_rate){.cost_q10 = 1024 * NS_PER_S * factor / per_second, .burst_ns = BURST_NS};
}

/**
 * permit_slice() - a slice's limits
 * @ns: its namespace
 * @slice: the slice
 * @share: packets of it that may wait in the packet TUN's ring
 *
 * Return: 0, or -1 and errno.
 */
static int permit_slice(struct netns *ns, const struct conf_slice *slice, unsigned share)
{
	struct steer_slice limits = {.share = share};

	limits.flags = (slice->local ? STEER_LOCAL : 0) | (slice->fragments ? STEER_FRAGMENTS : 0);
	limits.rate[BUCKET_IN_PACKETS] = rate(slice->packets_in, 1);
	limits.rate[BUCKET_OUT_PACKETS] = rate(slice->packets_out, 1);
	limits.rate[BUCKET_IN_BYTES] = rate(slice->bits_in, 8);
	limits.rate[BUCKET_OUT_BYTES] = rate(slice->bits_out, 8);
	return steering_slice(ns, slice->number, &limits);
}

/**
 * add_denied() - add a deny-list to those of a namespace
 * @row: where; a row for each prefix
 * @slice: number; 0 for the list of the whole namespace
 * @deny: the list
 * @denied: its length
 *
 * Return: behind the last row.
 */
static struct steer_prefix *add_denied(struct steer_prefix *row, unsigned slice, const struct prefix *deny,
				       unsigned denied)
{
	for (unsigned i = 0; i < denied; i++, row++) {
		*row = (struct steer_prefix){.len = STEER_PREFIX_LEN(deny[i].len), .slice = slice};
		memcpy(&row->addr, &deny[i].addr, sizeof(row->addr));
	}
	return row;
}

/**
 * permit_deny() - the deny-lists of a namespace and its slices
 * @ns: the namespace; its own list is in ns->conf
 * @conf: configuration
 *
 * Return: 0, or -1 and errno.
 */
static int permit_deny(struct netns *ns, const struct conf *conf)
{
	struct steer_prefix *rows = calloc((conf->slices + 1) * (size_t)POLICY_DENY_MAX, sizeof(*rows)), *end;
	int result;

	if (!rows)
		return -1;
	end = add_denied(rows, 0, ns->conf.deny, ns->conf.denied);
	for (unsigned i = 0; i < conf->slices; i++)
		if (netns_has_slice(ns, conf, &conf->slice[i]))
			end = add_denied(end, conf->slice[i].number, conf->slice[i].deny, conf->slice[i].denied);
	result = steering_deny(ns, rows, (unsigned)(end - rows));
	free(rows);
	return result;
}

/**
 * permit_all() - everything that steering knows of the configuration
 * @ns: the namespace; its deny-list is in ns->conf
 * @conf: configuration
 *
 * What refuses comes first, what lets through last.
 *
 * Return: 0, or -1 and errno.
 */
int permit_all(struct netns *ns, const struct conf *conf)
{
	unsigned slices = 0, share;

	if (permit_deny(ns, conf) < 0)
		return -1;
	for (unsigned i = 0; i < conf->slices; i++)
		slices += netns_has_slice(ns, conf, &conf->slice[i]);
	share = slices > STEER_RING / SHARE_MIN || !slices ? SHARE_MIN : STEER_RING / slices;
	for (unsigned i = 0; i < conf->slices; i++)
		if (netns_has_slice(ns, conf, &conf->slice[i]) && permit_slice(ns, &conf->slice[i], share) < 0)
			return -1;
	if (grants_refit(ns, conf) < 0)
		return -1;
	for (unsigned row = 0; row < STEER_ROWS_MAX; row++)
		if (netns_has_row(ns, row) && permit_address(ns, conf, row) < 0)
			return -1;
	return 0;
}
