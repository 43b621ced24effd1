/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edge_link.h: what comes out of links, by steering and by the reference
 */
#ifndef SAFERAW_FUZZ_EDGE_LINK_H
#define SAFERAW_FUZZ_EDGE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void edge_link_make(void);
bool edge_link_gets(const uint8_t *packet, size_t size);
void edge_link_packet(void);
void edge_link_report(void);

#endif
