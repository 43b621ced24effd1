/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exacts.c: numbers that stand for addresses in proxied prefixes
 *
 * The key of a flow says its local address by the row, one byte, which is all
 * that an own address needs. A proxied prefix has one row for up to 2^120
 * addresses, of which flows name a few. Each of those gets a number, which is
 * in the keys of its flows; it lives as long as they do. A packet for a prefix
 * costs one look-up more, and finds no number for an address that no flow
 * names. Packets for own addresses never come here.
 */
#include "exacts.h"

#include <stdlib.h>

/**
 * exacts_find() - the number of an address
 * @exacts: of the shard
 * @addr: address in a proxied prefix
 *
 * Return: the number, 0 when no flow names the address.
 */
uint64_t exacts_find(const struct exacts *exacts, const struct addr *addr)
{
	const struct flowkey key = {.remote = *addr};
	const struct exact *exact = flowtab_find(&exacts->tab, &key);

	return exact ? exact->number : 0;
}

/**
 * exacts_get() - one reference to the number of an address, which is given if need be
 * @exacts: of the shard
 * @addr: address in a proxied prefix
 *
 * Return: what has the number, or NULL and ENOMEM.
 */
struct exact *exacts_get(struct exacts *exacts, const struct addr *addr)
{
	const struct flowkey key = {.remote = *addr};
	struct exact *exact = flowtab_find(&exacts->tab, &key);

	if (!exact) {
		exact = calloc(1, sizeof(*exact));
		if (!exact)
			return NULL;
		*exact = (struct exact){.key = key, .number = exacts->last + 1};
		if (flowtab_insert(&exacts->tab, &key, exact) < 0) {
			free(exact);
			return NULL;
		}
		exacts->last++;
	}
	exact->flows++;
	return exact;
}

/**
 * exacts_put() - one reference less
 * @exacts: of the shard
 * @exact: freed with the last one
 */
void exacts_put(struct exacts *exacts, struct exact *exact)
{
	if (--exact->flows)
		return;
	flowtab_remove(&exacts->tab, &exact->key);
	free(exact);
}
