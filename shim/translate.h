/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * translate.h: packets between links and the packet TUN that need another port
 */
#ifndef SAFERAW_TRANSLATE_H
#define SAFERAW_TRANSLATE_H

#include "link.h"

#define TRANSLATE_HEAD 14 /* bytes of an Ethernet header */

void translate_ready(struct watch *tap, uint32_t events);
enum verdict translate_in(struct link *link, struct pkt *pkt, uint8_t *data);

#endif
