/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * receive.h: packets from the TUN to flows
 */
#ifndef SAFERAW_RECEIVE_H
#define SAFERAW_RECEIVE_H

#include "loop.h"

struct netns;

void receive_ready(struct watch *tun, uint32_t events);
void receive_all(struct netns *netns);

#endif
