/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxied.c: prefixes that are routed to the host and belong to one slice whole
 *
 * A router sends a prefix to this host (by a static route, or because the host
 * answers for it as a neighbour), but the kernel has none of its addresses:
 * no socket can be bound to one, and nobody answers there. A slice can be given
 * such a prefix, with every port of every protocol on every address of it.
 *
 * A prefix is one row, behind those of the own addresses, so that steering,
 * reservations and the relay treat its ports as they treat an address's; a
 * port belongs to one user on the whole prefix. As with own addresses a row is
 * its prefix's until detach: the relay knows it by that index. Rows come and
 * go with the configuration alone, never with what happens to devices.
 *
 * An own address inside a prefix stays the namespace's own.
 */
#include "proxied.h"

#include <string.h>

#include "log.h"

/**
 * proxied_owns() - whether a row is a slice's
 * @ns: the namespace
 * @slice: a slice of it
 * @row: of a proxied prefix
 */
bool proxied_owns(const struct netns *ns, const struct conf_slice *slice, unsigned row)
{
	const struct prefix prefix = netns_prefix(&ns->address[row]);

	for (unsigned i = 0; i < slice->prefixes; i++)
		if (prefix_eq(&slice->prefix[i], &prefix))
			return true;
	return false;
}

/**
 * proxied_has() - whether an address is inside a proxied prefix
 * @ns: the namespace
 * @addr: an address, none of the namespace's own
 */
bool proxied_has(const struct netns *ns, const struct addr *addr)
{
	for (unsigned row = STEER_ADDRESSES_MAX; netns_has_row(ns, row); row++) {
		const struct prefix prefix = netns_prefix(&ns->address[row]);

		if (ns->address[row].present && prefix_contains(&prefix, addr))
			return true;
	}
	return false;
}

/**
 * row_of() - the row of a prefix
 * @ns: the namespace
 * @prefix: the prefix; gets a row when it has none yet
 *
 * Return: the row, NULL when there is none left.
 */
static struct netns_address *row_of(struct netns *ns, const struct prefix *prefix)
{
	struct netns_address *row = &ns->address[STEER_ADDRESSES_MAX];

	for (unsigned i = 0; i < ns->proxied; i++) {
		const struct prefix there = netns_prefix(&row[i]);

		if (prefix_eq(&there, prefix))
			return &row[i];
	}
	if (ns->proxied == STEER_PROXIED_MAX)
		return NULL;
	row[ns->proxied] = (struct netns_address){.addr = prefix->addr, .len = prefix->len};
	return &row[ns->proxied++];
}

/**
 * enter_slice() - see that the prefixes of a slice have rows
 * @ns: the namespace
 * @slice: a slice of it
 */
static void enter_slice(struct netns *ns, const struct conf_slice *slice)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < slice->prefixes; i++) {
		struct netns_address *row = row_of(ns, &slice->prefix[i]);

		if (row)
			row->present = true;
		else
			log_warn("%s: has had %d proxied prefixes, which is all that fit: "
				 "%s of slice %s gets no flows until saferawd is restarted",
				 ns->conf.name, STEER_PROXIED_MAX, prefix_text(&slice->prefix[i], text), slice->name);
	}
}

/**
 * proxied_refit() - after a reload, and at the start: which prefixes there are
 * @ns: the namespace
 * @conf: the configuration
 *
 * Steering hears of it from permit_all().
 */
void proxied_refit(struct netns *ns, const struct conf *conf)
{
	for (unsigned row = STEER_ADDRESSES_MAX; netns_has_row(ns, row); row++)
		ns->address[row].present = false;
	for (unsigned i = 0; i < conf->slices; i++)
		if (netns_has_slice(ns, conf, &conf->slice[i]))
			enter_slice(ns, &conf->slice[i]);
}
