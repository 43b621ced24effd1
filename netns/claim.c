/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim.c: what a request of the relay is about, and whether it may be
 *
 * A claim is a slice, a namespace, an address or proxied prefix of it, and
 * ports. It is judged in two steps. One that no sound relay ever makes (a
 * number out of its bounds, ports that run backwards) is wrong in its form. One
 * that is well formed is held against the configuration and the attached
 * namespaces, and a reload may have taken away what a sound relay claimed a
 * moment before: what follows from that is the caller's to decide.
 */
#include "claim.h"

#include <sys/socket.h>

#include "permit.h"

/**
 * claim_form_fault() - what is wrong with a request whatever the configuration
 * @claim: what it is about
 *
 * Return: what is wrong, or NULL.
 */
const char *claim_form_fault(const struct priv_claim *claim)
{
	bool any = claim->address == PRIV_ANY_ADDRESS;

	if (claim->netns >= PRIV_NETNS_MAX)
		return "no such netns";
	if (claim->slice == 0 || claim->slice >= STEER_SLICES_MAX)
		return "no such slice";
	if (claim->class >= STEER_CLASSES)
		return "no such protocol class";
	if (!any && claim->address >= STEER_ROWS_MAX)
		return "no such address";
	if (any && claim->family != AF_INET && claim->family != AF_INET6 && claim->family != AF_UNSPEC)
		return "no such address family";
	return claim->lo > claim->hi ? "ports run backwards" : NULL;
}

/**
 * find_slice() - a slice by its number
 * @conf: configuration
 * @number: of the slice
 *
 * Return: the slice, or NULL.
 */
static const struct conf_slice *find_slice(const struct conf *conf, uint32_t number)
{
	for (unsigned i = 0; i < conf->slices; i++)
		if (conf->slice[i].number == number)
			return &conf->slice[i];
	return NULL;
}

/**
 * claim_fault() - what of a well-formed request the configuration does not cover
 * @claim: what it is about
 * @conf: configuration
 * @netns: the attached namespaces, PRIV_NETNS_MAX; NULL where none is attached
 * @slice: filled in when it is covered
 *
 * Return: what is wrong, or NULL.
 */
const char *claim_fault(const struct priv_claim *claim, const struct conf *conf, struct netns *const *netns,
			const struct conf_slice **slice)
{
	const struct netns *ns = netns[claim->netns];
	const struct conf_slice *found = find_slice(conf, claim->slice);
	const struct policy_range range = {.class = claim->class, .lo = claim->lo, .hi = claim->hi};

	if (!ns)
		return "netns is not attached";
	if (!found)
		return "slice is not configured";
	if (!netns_has_slice(ns, conf, found))
		return "slice is of another netns";
	if (claim->address != PRIV_ANY_ADDRESS && !netns_has_row(ns, claim->address))
		return "address is not known";
	if (claim->address != PRIV_ANY_ADDRESS && !permit_has_row(ns, found, claim->address))
		return "address is not the slice's";
	if (!permit_has_range(ns, found, claim->address, &range))
		return "ports are not the slice's";
	*slice = found;
	return NULL;
}
