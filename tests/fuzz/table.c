/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.c: the tables of a translation, beside the reference
 *
 * Looks at all that struct napt holds: each mapping is in exactly one list, the
 * one of its class and state, and stands there where the reference says that
 * it is its turn; those in use, and no others, are hashed once and listed once.
 */
#include "table.h"

#include "fuzz.h"

/** learn_pool() - tell the reference which ports of a class there are, in the order in which they are free */
static void learn_pool(const struct napt *napt, struct reference_napt *reference, unsigned class)
{
	const struct napt_pool *pool = &napt->conf.pool[class];
	unsigned n = 0, size = pool->hi ? pool->hi - pool->lo + 1U : 0;
	uint16_t index = napt->list[class][NAPT_FREE].oldest;

	for (; index != NAPT_NONE; index = napt->mapping[index].younger, n++) {
		const struct mapping *mapping = &napt->mapping[index];

		MUST(n < size && mapping->outer_port >= pool->lo && mapping->outer_port <= pool->hi);
		MUST(!reference_napt_at(reference, class, mapping->outer_port));
		reference_napt_add(reference, class, mapping->outer_port);
	}
	MUST(n == size);
}

/**
 * table_learn() - tell the reference which ports a translation has
 * @napt: new
 * @reference: without ports
 *
 * Their first order is random and is the one thing that the reference takes over.
 */
void table_learn(const struct napt *napt, struct reference_napt *reference)
{
	unsigned class;

	for (class = 0; class < NAPT_CLASSES; class ++)
		learn_pool(napt, reference, class);
}

/** check_mapping() - a mapping is as the reference has it; younger than `*turn`, which is brought up to date */
static void check_mapping(const struct reference_napt *reference, const struct mapping *mapping, uint64_t *turn)
{
	static const enum reference_phase phases[NAPT_STATES] = {[NAPT_FREE] = PHASE_FREE,
								 [NAPT_NEW] = PHASE_NEW,
								 [NAPT_ANSWERED] = PHASE_ANSWERED,
								 [NAPT_ECHOED] = PHASE_ECHOED,
								 [NAPT_ESTABLISHED] = PHASE_ESTABLISHED,
								 [NAPT_CLOSING] = PHASE_CLOSING};
	const struct reference_port *port = reference_napt_at(reference, mapping->class, mapping->outer_port);

	MUST(port && port->phase == phases[mapping->state] && port->turn > *turn);
	*turn = port->turn;
	if (!port->phase)
		return;
	MUST(mapping->used_ns == port->used && mapping->made_ns <= mapping->used_ns);
	MUST(mapping->inner_port == port->inner_number && mapping->host == port->host);
	MUST(addr_eq(&mapping->inner, &port->inner) && addr_eq(&mapping->outer, &port->outer));
}

/** check_lists() - every mapping is in the one list that it should be in, in order; returns how many are in use */
static unsigned check_lists(const struct napt *napt, const struct reference_napt *reference)
{
	unsigned class, state, seen = 0, used = 0;

	for (class = 0; class < NAPT_CLASSES; class ++)
		for (state = 0; state < NAPT_STATES; state++) {
			uint16_t index = napt->list[class][state].oldest, before = NAPT_NONE;
			uint64_t turn = 0;

			for (; index != NAPT_NONE; before = index, index = napt->mapping[index].younger) {
				const struct mapping *mapping = &napt->mapping[index];

				MUST(index < napt->mappings && seen++ < napt->mappings && mapping->older == before);
				MUST(mapping->class == class && mapping->state == state);
				check_mapping(reference, mapping, &turn);
				used += state != NAPT_FREE;
			}
			MUST(napt->list[class][state].youngest == before);
		}
	MUST(seen == napt->mappings && seen == reference->ports);
	return used;
}

/** check_hash() - exactly the mappings in use are hashed, each once */
static void check_hash(const struct napt *napt)
{
	bool seen[REFERENCE_PORTS] = {false};
	unsigned bucket, n = 0;
	uint16_t index;

	for (bucket = 0; bucket <= napt->mask; bucket++)
		for (index = napt->bucket[bucket]; index != NAPT_NONE; index = napt->mapping[index].chain) {
			MUST(index < napt->mappings && !seen[index] && napt->mapping[index].state != NAPT_FREE);
			seen[index] = true;
			n++;
		}
	MUST(n == napt->used);
}

/** check_listing() - what is listed to who asks is in order, and is all that is in use */
static void check_listing(const struct napt *napt)
{
	const struct mapping *mapping;
	unsigned n = 0, class = 0, after = 0;

	while ((mapping = napt_next(napt, class, after))) {
		MUST(mapping->state != NAPT_FREE && n++ < napt->used);
		MUST(mapping->class > class || (mapping->class == class && mapping->outer_port > after));
		class = mapping->class;
		after = mapping->outer_port;
	}
	MUST(n == napt->used);
}

/**
 * table_check() - a translation's tables agree with the reference, themselves and the counters
 * @napt: translation
 * @reference: what it should be
 */
void table_check(const struct napt *napt, const struct reference_napt *reference)
{
	MUST(check_lists(napt, reference) == napt->used);
	check_hash(napt);
	check_listing(napt);
	MUST(napt->counters.created == reference->created && napt->counters.expired == reference->expired);
	MUST(napt->counters.displaced == reference->displaced && napt->counters.exhausted == reference->exhausted);
}
