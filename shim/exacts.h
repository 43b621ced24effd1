/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exacts.h: numbers that stand for addresses in proxied prefixes
 */
#ifndef SAFERAW_EXACTS_H
#define SAFERAW_EXACTS_H

#include "flowtab.h"

/* An address of a prefix that a flow names */
struct exact {
	struct flowkey key;
	uint64_t number; /* from 1 on, never used again */
	uint32_t flows;  /* references */
};

/* Those of one shard */
struct exacts {
	struct flowtab tab; /* struct exact */
	uint64_t last;	    /* number given */
};

uint64_t exacts_find(const struct exacts *exacts, const struct addr *addr);
struct exact *exacts_get(struct exacts *exacts, const struct addr *addr);
void exacts_put(struct exacts *exacts, struct exact *exact);

#endif
