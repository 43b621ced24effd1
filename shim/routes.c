/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * routes.c: what the monitor said of destinations: source and MTU
 *
 * A cache of fixed size, one entry for each hash value: a new destination
 * displaces an old one, which costs a question to the monitor and nothing
 * else. The hash is keyed, because clients choose destinations.
 */
#include "routes.h"

#include "flowtab.h"
#include "util.h"

/**
 * slot() - where a destination's entry is
 * @routes: cache
 * @destination: address
 */
static unsigned slot(const struct routes *routes, const struct addr *destination)
{
	return flowtab_hash(routes->secret, destination->b, sizeof(destination->b) / sizeof(uint64_t)) & (ROUTES - 1);
}

/**
 * routes_init() - an empty cache
 * @routes: all zeros
 */
void routes_init(struct routes *routes)
{
	random_bytes(routes->secret, sizeof(routes->secret));
	routes->generation = 1;
}

/**
 * routes_find() - what is known of a destination
 * @routes: cache
 * @destination: address
 *
 * Return: the entry, or NULL.
 */
const struct route *routes_find(const struct routes *routes, const struct addr *destination)
{
	const struct route *route = &routes->entry[slot(routes, destination)];

	return route->generation == routes->generation && addr_eq(&route->destination, destination) ? route : NULL;
}

/**
 * routes_learn() - remember what the monitor said
 * @routes: cache
 * @destination: address
 * @source: of packets to it
 * @mtu: bytes; 0 for unreachable
 */
void routes_learn(struct routes *routes, const struct addr *destination, const struct addr *source, uint32_t mtu)
{
	routes->entry[slot(routes, destination)] = (struct route){*destination, *source, mtu, routes->generation};
}

/**
 * routes_flush() - forget everything
 * @routes: cache
 */
void routes_flush(struct routes *routes)
{
	if (++routes->generation == 0)
		routes->generation = 1;
}
