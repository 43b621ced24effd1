/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flowtab.c: a hash table from endpoints to what was opened on them
 *
 * Open addressing with linear probing, keys inside the slots, so that a
 * look-up touches one or two cache lines however many entries there are. The
 * table is at most half full. It grows when something is inserted, which is
 * when a flow is opened, never when a packet is looked up. Removal moves the
 * entries behind back into the gap, so there are no tombstones and no decay.
 *
 * A look-up in a large table misses the TLB too, and in a virtual machine that
 * costs more than the cache line itself. So a large table asks for huge pages.
 *
 * Clients choose remote addresses and ports, so the hash is keyed by a secret
 * (SipHash with 1 and 3 rounds): nobody outside can make long probes.
 *
 * A pure data structure: what values point to is not its business.
 */
#include "flowtab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util.h"

#define SLOTS_MIN 64
#define HUGE_PAGE (2UL << 20) /* bytes */

/**
 * rotate() - rotate left
 * @x: word
 * @bits: 1 to 63
 */
static inline uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

/**
 * sip_round() - one round of SipHash
 * @v: the four words of state
 */
static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/**
 * flowtab_hash() - SipHash-1-3 of whole 64-bit words
 * @secret: key
 * @data: any alignment
 * @words: how many, at most 31
 */
uint64_t flowtab_hash(const uint64_t secret[2], const void *data, size_t words)
{
	uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d,
			 secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573};
	uint64_t word;
	size_t i;

	for (i = 0; i <= words; i++) {
		if (i < words)
			memcpy(&word, (const uint8_t *)data + i * sizeof(word), sizeof(word));
		else
			word = (uint64_t)(words * sizeof(word)) << 56;
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/**
 * home() - the slot where a key belongs
 * @tab: table
 * @key: key
 */
static inline size_t home(const struct flowtab *tab, const struct flowkey *key)
{
	return flowtab_hash(tab->secret, key, sizeof(*key) / sizeof(uint64_t)) & tab->mask;
}

/**
 * probe() - the slot that has a key, or the empty one where it would go
 * @tab: table, never full
 * @key: key
 */
static inline struct flowtab_slot *probe(const struct flowtab *tab, const struct flowkey *key)
{
	size_t at = home(tab, key);

	while (tab->slot[at].value && memcmp(&tab->slot[at].key, key, sizeof(*key)) != 0)
		at = (at + 1) & tab->mask;
	return &tab->slot[at];
}

/**
 * flowtab_init() - an empty table with a secret of its own
 * @tab: set whole
 *
 * Return: 0, or -1 and ENOMEM.
 */
int flowtab_init(struct flowtab *tab)
{
	*tab = (struct flowtab){.mask = SLOTS_MIN - 1};
	random_bytes(tab->secret, sizeof(tab->secret));
	tab->slot = calloc(SLOTS_MIN, sizeof(*tab->slot));
	return tab->slot ? 0 : -1;
}

/**
 * flowtab_free() - let go of the table's memory
 * @tab: table
 */
void flowtab_free(struct flowtab *tab)
{
	free(tab->slot);
	tab->slot = NULL;
}

/**
 * flowtab_find() - look a key up
 * @tab: table
 * @key: key
 *
 * Return: its value, or NULL.
 */
void *flowtab_find(const struct flowtab *tab, const struct flowkey *key)
{
	return probe(tab, key)->value;
}

/**
 * new_slots() - memory for empty slots
 * @slots: how many, a power of two
 *
 * Without huge pages it is only slower: no reason to fail.
 *
 * Return: the slots, or NULL and ENOMEM.
 */
static struct flowtab_slot *new_slots(size_t slots)
{
	size_t bytes = (slots * sizeof(struct flowtab_slot) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	struct flowtab_slot *slot;

	if (slots * sizeof(*slot) < HUGE_PAGE)
		return calloc(slots, sizeof(*slot));
	slot = aligned_alloc(HUGE_PAGE, bytes);
	if (!slot)
		return NULL;
	madvise(slot, bytes, MADV_HUGEPAGE);
	return memset(slot, 0, bytes);
}

/**
 * grow() - double the table
 * @tab: table
 *
 * Return: 0, or -1 and ENOMEM; the table is as it was then.
 */
static int grow(struct flowtab *tab)
{
	struct flowtab_slot *old = tab->slot;
	size_t slots = tab->mask + 1, i;
	struct flowtab_slot *new = new_slots(slots * 2);

	if (!new)
		return -1;
	tab->slot = new;
	tab->mask = slots * 2 - 1;
	for (i = 0; i < slots; i++)
		if (old[i].value)
			*probe(tab, &old[i].key) = old[i];
	free(old);
	return 0;
}

/**
 * flowtab_insert() - add a key
 * @tab: table
 * @key: key
 * @value: not NULL
 *
 * Return: 0, or -1 and EEXIST when the key is there, ENOMEM.
 */
int flowtab_insert(struct flowtab *tab, const struct flowkey *key, void *value)
{
	struct flowtab_slot *slot;

	if (tab->used >= (tab->mask + 1) / 2 && grow(tab) < 0)
		return -1;
	slot = probe(tab, key);
	if (slot->value) {
		errno = EEXIST;
		return -1;
	}
	*slot = (struct flowtab_slot){*key, value};
	tab->used++;
	return 0;
}

/**
 * flowtab_remove() - take a key out
 * @tab: table
 * @key: key
 *
 * Return: its value, or NULL when it was not there.
 */
void *flowtab_remove(struct flowtab *tab, const struct flowkey *key)
{
	struct flowtab_slot *slot = probe(tab, key);
	size_t gap = (size_t)(slot - tab->slot), at = gap;
	void *value = slot->value;

	if (!value)
		return NULL;
	while (tab->slot[at = (at + 1) & tab->mask].value) {
		/* an entry may move into the gap unless its home lies between the two */
		size_t from_home = (at - home(tab, &tab->slot[at].key)) & tab->mask;

		if (from_home >= ((at - gap) & tab->mask)) {
			tab->slot[gap] = tab->slot[at];
			gap = at;
		}
	}
	tab->slot[gap].value = NULL;
	tab->used--;
	return value;
}
