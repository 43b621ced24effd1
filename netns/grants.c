/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * grants.c: the slots that stand for protocols without ports, in one namespace
 *
 * Each protocol, and each GRE key, that a slice of the namespace is granted
 * has a slot: a number that steering, reservations and the relay treat as
 * they treat a port. It is the same for all slices and addresses, and stays
 * the same across reloads, so that flows on it stay.
 *
 * What is granted no more loses its slot. That slot is not given to anything
 * else in the same reload, nor in the next ones, as long as there are others:
 * the relay learns of a reload a little later than steering does.
 */
#include "grants.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "netns.h"
#include "steering.h"

static_assert(2 * STEER_GRANTS_MAX < STEER_GRANT_SLOTS, "new ones find room beside all the old ones");

/**
 * find() - the slot of a protocol and key
 * @grants: table
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 *
 * Return: slot, 0 when it has none
 */
static unsigned find(const struct grants *grants, uint8_t protocol, uint32_t key)
{
	for (unsigned i = 1; i < STEER_GRANT_SLOTS; i++)
		if (grants->slot[i].taken && grants->slot[i].protocol == protocol && grants->slot[i].key == key)
			return i;
	return 0;
}

/**
 * take() - give a slot to a protocol and key that has none
 * @ns: the namespace
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 *
 * Return: slot, or 0 and errno
 */
static unsigned take(struct netns *ns, uint8_t protocol, uint32_t key)
{
	struct grants *grants = &ns->grants;

	for (unsigned i = 1; i < STEER_GRANT_SLOTS; i++) {
		grants->last = grants->last % (STEER_GRANT_SLOTS - 1) + 1;
		if (grants->slot[grants->last].taken)
			continue;
		if (steering_grant(ns, protocol, key, grants->last) < 0)
			return 0;
		grants->slot[grants->last].taken = true;
		grants->slot[grants->last].protocol = protocol;
		grants->slot[grants->last].key = key;
		return grants->last;
	}
	errno = ENOSPC;
	return 0;
}

/**
 * want() - see that all that a slice is granted has slots
 * @ns: its namespace
 * @slice: the slice
 * @wanted: set for each of these slots
 *
 * Return: 0, or -1 and errno
 */
static int want(struct netns *ns, const struct conf_slice *slice, bool wanted[static STEER_GRANT_SLOTS])
{
	for (unsigned i = 0; i < slice->grants; i++) {
		const struct policy_grant *grant = &slice->grant[i];

		for (uint64_t key = grant->lo; key <= grant->hi; key++) {
			unsigned slot = find(&ns->grants, grant->protocol, (uint32_t)key);

			if (!slot)
				slot = take(ns, grant->protocol, (uint32_t)key);
			if (!slot)
				return -1;
			wanted[slot] = true;
		}
	}
	return 0;
}

/**
 * grants_refit() - slots for what the slices of a namespace are granted, and for nothing else
 * @ns: the namespace
 * @conf: configuration
 *
 * Return: 0, or -1 and errno
 */
int grants_refit(struct netns *ns, const struct conf *conf)
{
	bool wanted[STEER_GRANT_SLOTS] = {false};

	for (unsigned i = 0; i < conf->slices; i++)
		if (netns_has_slice(ns, conf, &conf->slice[i]) && want(ns, &conf->slice[i], wanted) < 0)
			return -1;
	for (unsigned i = 1; i < STEER_GRANT_SLOTS; i++) {
		if (!ns->grants.slot[i].taken || wanted[i])
			continue;
		if (steering_grant(ns, ns->grants.slot[i].protocol, ns->grants.slot[i].key, 0) < 0)
			return -1;
		ns->grants.slot[i].taken = false;
	}
	return 0;
}

/**
 * grants_owns() - whether what has a slot is granted to a slice
 * @ns: namespace of the slice
 * @slice: the slice
 * @slot: any number
 */
bool grants_owns(const struct netns *ns, const struct conf_slice *slice, unsigned slot)
{
	if (slot >= STEER_GRANT_SLOTS || !ns->grants.slot[slot].taken)
		return false;
	for (unsigned i = 0; i < slice->grants; i++)
		if (slice->grant[i].protocol == ns->grants.slot[slot].protocol &&
		    slice->grant[i].lo <= ns->grants.slot[slot].key &&
		    ns->grants.slot[slot].key <= slice->grant[i].hi)
			return true;
	return false;
}

/**
 * grants_run() - the next slots that hang together: of one protocol, keys one after the other
 * @ns: the namespace
 * @slot: from here on; 1 at first
 * @run: filled in, but for its header
 *
 * Return: where to go on; 0 when there are no more, and none has been filled in
 */
unsigned grants_run(const struct netns *ns, unsigned slot, struct priv_grant *run)
{
	const struct grants *grants = &ns->grants;

	while (slot < STEER_GRANT_SLOTS && !grants->slot[slot].taken)
		slot++;
	if (slot == STEER_GRANT_SLOTS)
		return 0;
	*run = (struct priv_grant){.netns = ns->index,
				   .slot = (uint16_t)slot,
				   .protocol = grants->slot[slot].protocol,
				   .key = grants->slot[slot].key};
	do {
		run->count++;
		slot++;
	} while (run->protocol == IPPROTO_GRE && slot < STEER_GRANT_SLOTS && grants->slot[slot].taken &&
		 grants->slot[slot].protocol == IPPROTO_GRE && run->key <= UINT32_MAX - run->count &&
		 grants->slot[slot].key == run->key + run->count);
	return slot;
}

/**
 * grants_text() - what has a slot, in words
 * @ns: the namespace
 * @slot: slot
 * @text: filled in: "gre 1000", "protocol 89"
 *
 * Return: @text
 */
const char *grants_text(const struct netns *ns, unsigned slot, char text[static GRANTS_TEXT_MAX])
{
	if (slot >= STEER_GRANT_SLOTS || !ns->grants.slot[slot].taken)
		snprintf(text, GRANTS_TEXT_MAX, "nothing");
	else if (ns->grants.slot[slot].protocol == IPPROTO_GRE)
		snprintf(text, GRANTS_TEXT_MAX, "gre %u", ns->grants.slot[slot].key);
	else
		snprintf(text, GRANTS_TEXT_MAX, "protocol %u", ns->grants.slot[slot].protocol);
	return text;
}
