/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slots.h: the slots that stand for protocols without ports, in one netns
 */
#ifndef SAFERAW_SLOTS_H
#define SAFERAW_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkt.h"
#include "priv.h"

struct slots {
	size_t runs;
	struct priv_grant *run; /* by protocol and key, once they are all there */
};

bool slots_add(struct slots *slots, const struct priv_grant *run);
void slots_sort(struct slots *slots);
uint16_t slots_find(const struct slots *slots, uint8_t protocol, uint32_t key);
uint16_t slots_of(const struct slots *slots, uint8_t protocol, const struct pkt *pkt);
void slots_free(struct slots *slots);

#endif
