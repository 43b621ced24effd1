/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slots.c: the slots that stand for protocols without ports, in one netns
 *
 * The monitor gives each protocol, and each GRE key, that some slice is
 * granted a slot, and tells them in runs of keys. They are collected while a
 * configuration is told, sorted once, and searched by halving for each packet
 * of such a protocol.
 */
#include "slots.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "policy.h"

#define ROOM_MIN 8

/**
 * run_ok() - whether a run can be
 * @run: as the monitor told it
 */
static bool run_ok(const struct priv_grant *run)
{
	if (!policy_grantable(run->protocol) || !run->slot || run->slot >= STEER_GRANT_SLOTS || !run->count ||
	    run->count > STEER_GRANT_SLOTS - (uint32_t)run->slot)
		return false;
	return run->protocol == IPPROTO_GRE ? run->count - 1 <= UINT32_MAX - run->key : !run->key && run->count == 1;
}

/**
 * slots_add() - one run more
 * @slots: table, not sorted afterwards
 * @run: run
 *
 * Return: whether it makes sense, and there is memory for it
 */
bool slots_add(struct slots *slots, const struct priv_grant *run)
{
	bool full = slots->runs >= ROOM_MIN ? !(slots->runs & (slots->runs - 1)) : !slots->runs;
	struct priv_grant *grown = slots->run;

	if (!run_ok(run) || slots->runs == STEER_GRANTS_MAX)
		return false;
	if (full)
		grown = reallocarray(slots->run, slots->runs ? 2 * slots->runs : ROOM_MIN, sizeof(*grown));
	if (!grown)
		return false;
	slots->run = grown;
	slots->run[slots->runs++] = *run;
	return true;
}

/**
 * compare() - which of two runs comes first
 * @a: run
 * @b: run
 */
static int compare(const void *a, const void *b)
{
	const struct priv_grant *first = a, *second = b;

	if (first->protocol != second->protocol)
		return first->protocol < second->protocol ? -1 : 1;
	return (first->key > second->key) - (first->key < second->key);
}

/**
 * slots_sort() - all runs are there: make them ready to be searched
 * @slots: table
 */
void slots_sort(struct slots *slots)
{
	if (slots->runs)
		qsort(slots->run, slots->runs, sizeof(*slots->run), compare);
}

/**
 * slots_find() - the slot of a protocol and key
 * @slots: sorted table
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 *
 * Return: slot, 0 when no slice of the netns is granted it
 */
uint16_t slots_find(const struct slots *slots, uint8_t protocol, uint32_t key)
{
	size_t lo = 0, hi = slots->runs;

	while (lo < hi) {
		const size_t middle = lo + (hi - lo) / 2;
		const struct priv_grant *run = &slots->run[middle];

		if (run->protocol == protocol && key >= run->key && key - run->key < run->count)
			return (uint16_t)(run->slot + (key - run->key));
		if (run->protocol < protocol || (run->protocol == protocol && run->key < key))
			lo = middle + 1;
		else
			hi = middle;
	}
	return 0;
}

/**
 * slots_of() - the slot of a packet, or of the packet that an ICMP error is about
 * @slots: sorted table
 * @protocol: of that packet
 * @pkt: packet
 *
 * Return: slot, 0 when it has none
 */
uint16_t slots_of(const struct slots *slots, uint8_t protocol, const struct pkt *pkt)
{
	if (protocol != IPPROTO_GRE)
		return slots_find(slots, protocol, 0);
	return pkt->flags & PKT_KEY ? slots_find(slots, protocol, pkt->key) : 0;
}

/**
 * slots_free() - let go of all
 * @slots: empty afterwards
 */
void slots_free(struct slots *slots)
{
	free(slots->run);
	*slots = (struct slots){0};
}
