/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addresses.h: which addresses of a namespace are its own, and the rows that they have
 */
#ifndef SAFERAW_ADDRESSES_H
#define SAFERAW_ADDRESSES_H

#include <linux/netlink.h>
#include <stdbool.h>

#include "devices.h"
#include "netns.h"

/* Begins as all zeros */
struct addresses {
	bool seen[STEER_ADDRESSES_MAX]; /* rows of ns->address in the dump that is being read */
	bool full;                      /* said that there are too many */
};

void addresses_forget_seen(struct addresses *a);
void addresses_take(struct addresses *a, struct netns *ns, const struct devices *devices,
		    const struct nlmsghdr *message);
int addresses_settle(const struct addresses *a, struct netns *ns);

#endif
