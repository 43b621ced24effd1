/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * routes.h: what the monitor said of destinations: source and MTU
 */
#ifndef SAFERAW_ROUTES_H
#define SAFERAW_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define ROUTES 4096 /* remembered for one netns; a power of two */

struct route {
	struct addr destination, source;
	uint32_t mtu;        /* bytes; 0: unreachable */
	uint32_t generation; /* of the cache when it was learnt */
};

struct routes {
	uint64_t secret[2];
	uint32_t generation; /* entries of another one are forgotten; never 0 */
	struct route entry[ROUTES];
};

void routes_init(struct routes *routes);
const struct route *routes_find(const struct routes *routes, const struct addr *destination);
void routes_learn(struct routes *routes, const struct addr *destination, const struct addr *source, uint32_t mtu);
void routes_flush(struct routes *routes);

#endif
