/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route.h: what the kernel's routing says about a destination
 */
#ifndef SAFERAW_ROUTE_H
#define SAFERAW_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "netlink.h"

/* What the kernel says about a destination */
struct route {
	uint8_t type; /* RTN_ */
	unsigned ifindex;
	bool sourced; /* source is set */
	struct addr source;
	uint32_t mtu; /* configured for the route; 0: none */
};

int route_ask(const struct mnl_socket *nl, const struct addr *destination, struct route *route);

#endif
