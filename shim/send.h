/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * send.h: packets from flows to the TUN
 */
#ifndef SAFERAW_SEND_H
#define SAFERAW_SEND_H

#include "world.h"

void send_ready(struct watch *socket, uint32_t events);
void send_abandon(struct flow *flow);
void send_routed(struct netns *netns, const struct addr *destination);

#endif
