/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_block.c: which ports a link gets
 *
 * A block for each class that the slice has ports of, all of one size. Blocks
 * begin at multiples of STEER_LINK_UNIT. A block that the relay chooses is the
 * same for all classes where the slice's ranges have such a one that is free,
 * else each class gets its own; it looks from a random place of the ranges on.
 * What the relay knows as taken is passed over, and so is, whole, what the
 * monitor has refused (a socket of the host's, another user's quarantine).
 *
 * How far a choice has come is kept in the link, so that it goes on from there.
 */
#include "link_block.h"

#include "util.h"

#define UNITS (STEER_PORTS / STEER_LINK_UNIT)

/**
 * has_class() - whether a slice has any ports of a class
 * @policy: of the slice
 * @class: enum steer_class
 */
static bool has_class(const struct policy_slice *policy, unsigned class)
{
	unsigned i;

	for (i = 0; i < policy->ranges; i++)
		if (policy->range[i].class == class)
			return true;
	return false;
}

/**
 * set_block() - give a class its block
 * @link: link
 * @class: enum steer_class
 * @lo: first port, whose block ends at 65535 or before
 */
static void set_block(struct link *link, unsigned class, unsigned lo)
{
	link->class[class].block = (struct policy_range){
		.class = (uint8_t) class, .lo = (uint16_t)lo, .hi = (uint16_t)(lo + link->count - 1)};
}

/**
 * random_place() - where a choice begins
 * @link: link
 *
 * Blocks of one size are to lie side by side, so it is a whole number of them
 * behind the beginning of a range.
 *
 * Return: a place in the ranges of the first class to be chosen for, in units
 */
static unsigned random_place(const struct link *link)
{
	const struct policy_slice *policy = &link->slice->policy;
	const unsigned class = (unsigned)__builtin_ctz(link->chosen);
	uint32_t total = 0, random, at;
	unsigned i;

	for (i = 0; i < policy->ranges; i++)
		if (policy->range[i].class == class)
			total += policy->range[i].hi - policy->range[i].lo + 1U;
	random_bytes(&random, sizeof(random));
	at = (uint32_t)((uint64_t)random * total >> 32);
	for (i = 0; i < policy->ranges; i++) {
		uint32_t ports = policy->range[i].hi - policy->range[i].lo + 1U;

		if (policy->range[i].class != class)
			continue;
		if (at < ports)
			break;
		at -= ports;
	}
	at -= at % link->count;
	return (policy->range[i].lo + at + STEER_LINK_UNIT - 1) / STEER_LINK_UNIT;
}

/**
 * link_block_set() - give the classes the blocks that are asked for, and note which are to be chosen
 * @link: new
 * @ask: well-formed request
 *
 * A class that the slice has no ports of gets no block, whatever is asked for.
 *
 * Return: whether all blocks are the slice's, and there is one
 */
bool link_block_set(struct link *link, const struct proto_link *ask)
{
	const struct policy_slice *policy = &link->slice->policy;
	bool any = false;
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		unsigned lo = ask->port[class];

		if (!has_class(policy, class))
			continue;
		any = true;
		if (!lo)
			link->chosen |= (uint8_t)(1U << class);
		else if (lo + link->count > STEER_PORTS ||
			 !policy_slice_owns(policy, class, (uint16_t)lo, (uint16_t)(lo + link->count - 1)))
			return false;
		else
			set_block(link, class, lo);
	}
	if (link->chosen)
		link->start = random_place(link);
	return any;
}

/**
 * misfit() - whether a class could have its block somewhere
 * @link: link
 * @class: enum steer_class
 * @lo: first port
 *
 * Return: 0 when it could, else how many units on the next place is that is worth a look
 */
static unsigned misfit(const struct link *link, unsigned class, unsigned lo)
{
	const struct policy_range span = {
		.class = (uint8_t) class, .lo = (uint16_t)lo, .hi = (uint16_t)(lo + link->count - 1)};
	int taken;

	if (!lo || lo + link->count > STEER_PORTS ||
	    !policy_slice_owns(&link->slice->policy, class, span.lo, span.hi))
		return 1;
	taken = ports_first_taken(&link->netns->shard.ports, hold_addresses(link->slice, PRIV_ANY_ADDRESS, AF_UNSPEC),
				  &span);
	return taken < 0 ? 0 : ((unsigned)taken - lo) / STEER_LINK_UNIT + 1;
}

/**
 * place() - the nth place of a choice
 * @link: link
 * @n: number
 *
 * Return: first port
 */
static unsigned place(const struct link *link, unsigned n)
{
	return (link->start + n) % UNITS * STEER_LINK_UNIT;
}

/**
 * choose_common() - find one block for all classes that have none
 * @link: link; passes over what does not fit
 *
 * Return: whether there is one (any more)
 */
static bool choose_common(struct link *link)
{
	unsigned class, on, lo;

	while (link->passed < UNITS) {
		lo = place(link, link->passed);
		on = 0;
		for (class = 0; class < STEER_LINK_CLASSES && !on; class ++)
			if (link->chosen & 1U << class)
				on = misfit(link, class, lo);
		link->passed += on ? on : 1;
		if (on)
			continue;
		for (class = 0; class < STEER_LINK_CLASSES; class ++)
			if (link->chosen & 1U << class)
				set_block(link, class, lo);
		return true;
	}
	return false;
}

/**
 * choose_one() - find a block for one class
 * @link: link
 * @class: enum steer_class; passes over what does not fit
 *
 * Return: whether there is one (any more)
 */
static bool choose_one(struct link *link, unsigned class)
{
	unsigned *passed = &link->class[class].passed, on;

	while (*passed < UNITS && (on = misfit(link, class, place(link, *passed))))
		*passed += on;
	if (*passed < UNITS)
		set_block(link, class, place(link, *passed));
	return *passed < UNITS;
}

/**
 * link_block_choose() - find blocks for the classes that have none
 * @link: link
 *
 * Return: whether there are such (any more)
 */
bool link_block_choose(struct link *link)
{
	unsigned class;

	if (!link->chosen || (!link->apart && choose_common(link)))
		return true;
	link->apart = true;
	for (class = 0; class < STEER_LINK_CLASSES; class ++)
		if (link->chosen & 1U << class && !choose_one(link, class))
			return false;
	return true;
}

/**
 * link_block_pass_on() - the monitor has refused what was chosen: pass over it
 * @link: link
 *
 * What is in the way may be another user's block in quarantine, so a common
 * choice goes on behind the block; when that has led nowhere, choices apart go
 * on by the smallest step.
 */
void link_block_pass_on(struct link *link)
{
	unsigned class;

	if (!link->apart)
		link->passed += link->count / STEER_LINK_UNIT - 1U;
	for (class = 0; class < STEER_LINK_CLASSES && link->apart; class ++)
		link->class[class].passed += link->class[class].refused;
}
