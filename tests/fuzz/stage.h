/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage.h: the whole relay but its process, with the test as its monitor, its wire and its clients
 */
#ifndef SAFERAW_FUZZ_STAGE_H
#define SAFERAW_FUZZ_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../reference/verdict.h"
#include "fuzz.h"
#include "world.h"

#define STAGE_LOCAL4 "192.0.2.1"
#define STAGE_LOCAL6 "2001:db8::1"
#define STAGE_PREFIX4 "198.51.100.64" /* proxied: /28, but after a reload to less; and /64 */
#define STAGE_PREFIX6 "2001:db8:9::"
#define STAGE_BITS4 28
#define STAGE_BITS6 64
#define STAGE_FIRST 4000 /* ports of the slice, all classes, on its own addresses */
#define STAGE_LAST 4099
#define STAGE_NARROW 4049 /* the last one after a reload to less */
#define STAGE_KEY 4000   /* the first key of GRE that the slice has, and how many */
#define STAGE_KEYS 4
#define STAGE_PROTOCOL 89 /* that it has whole, but after a reload to less */
#define STAGE_SLICE 1

extern struct world stage_world;

void stage_open(void);
void stage_turn(void);
int stage_connect(void);
int stage_wire(void);
int stage_tap(void);
void stage_unlink(unsigned number);
void stage_configure(bool narrow, bool member);
void stage_address(unsigned index, bool present);
void stage_routes(uint32_t mtu);
void stage_hear(void);
void stage_answer(int error);
void stage_clean(void);

#endif
