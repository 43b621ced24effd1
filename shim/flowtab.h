/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flowtab.h: a hash table from endpoints to what was opened on them
 */
#ifndef SAFERAW_FLOWTAB_H
#define SAFERAW_FLOWTAB_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

/* Values of struct flowkey's `local` that are no row */
#define FLOWKEY_ANY_V4 0xf4 /* every own IPv4 address of the slice */
#define FLOWKEY_ANY_V6 0xf6
#define FLOWKEY_ANY 0xff /* both families; reservations only */

/* 32 bytes, all of which count: unused ones are zero */
struct flowkey {
	struct addr remote; /* "::": everybody */
	uint16_t lport;     /* local port or id */
	uint16_t rport;     /* 0: any; of a reservation: its last port */
	uint16_t slice;     /* number */
	uint8_t local;      /* row of the local address, or FLOWKEY_ANY.. */
	uint8_t class;      /* enum steer_class */
	uint64_t range : 1; /* opened as one of several contiguous ports */
	uint64_t exact : 63; /* where the row is of a prefix: stands for the address in it (exacts.h); 0: all of them */
};

static_assert(sizeof(struct flowkey) == 32, "hashed and compared as bytes");

struct flowtab_slot {
	struct flowkey key;
	void *value; /* NULL: the slot is empty */
};

struct flowtab {
	uint64_t secret[2];
	size_t mask, used; /* slots are a power of two, less one; slots taken */
	struct flowtab_slot *slot;
};

int flowtab_init(struct flowtab *tab);
void flowtab_free(struct flowtab *tab);
void *flowtab_find(const struct flowtab *tab, const struct flowkey *key);
int flowtab_insert(struct flowtab *tab, const struct flowkey *key, void *value);
void *flowtab_remove(struct flowtab *tab, const struct flowkey *key);
uint64_t flowtab_hash(const uint64_t secret[2], const void *data, size_t words);

#endif
