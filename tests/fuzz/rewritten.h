/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rewritten.h: a packet before and after its addresses and ports were changed
 */
#ifndef SAFERAW_FUZZ_REWRITTEN_H
#define SAFERAW_FUZZ_REWRITTEN_H

#include <stdint.h>

#include "pkt.h"

void rewritten_sum(const struct pkt *pkt, uint8_t *packet, unsigned number);
void rewritten_check(const struct pkt *want, const struct pkt *got, const uint8_t *before, const uint8_t *after);

#endif
