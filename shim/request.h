/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.h: what a client asks for (proto.h)
 */
#ifndef SAFERAW_REQUEST_H
#define SAFERAW_REQUEST_H

#include "world.h"

void request_ready(struct watch *socket, uint32_t events);
void request_routed(struct netns *netns, const struct addr *destination);
void request_covered(struct netns *netns, const struct priv_covers *covers);

#endif
