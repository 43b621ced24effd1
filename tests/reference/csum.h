/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csum.h: what a transport checksum should be, word by word
 */
#ifndef REFERENCE_CSUM_H
#define REFERENCE_CSUM_H

#include <stddef.h>
#include <stdint.h>

uint16_t reference_csum(const uint8_t *packet, size_t size, size_t transport, unsigned protocol);

#endif
