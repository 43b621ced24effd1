/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * devices.h: which devices of a namespace are uplinks, and steering on them
 */
#ifndef SAFERAW_DEVICES_H
#define SAFERAW_DEVICES_H

#include <linux/netlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "netns.h"

struct device {
	unsigned ifindex;
	char name[IFNAMSIZ];
	uint32_t mtu;
	bool up, loopback;
	bool seen;     /* in the dump that is being read */
	bool attached; /* has steering */
	bool touched;  /* since steering was last refused */
	bool deleted;  /* the device that was attached; this one has its index */
	int refusal;   /* errno of the last refusal, so that each is logged once */
};

/* All uplinks, in no particular order; begins as all zeros */
struct devices {
	unsigned count, room;
	struct device *device;
};

void devices_free(struct devices *devices);
struct device *devices_find(const struct devices *devices, unsigned ifindex);
void devices_forget_seen(struct devices *devices);
void devices_take(struct devices *devices, const struct netns *ns, const struct nlmsghdr *message);
void devices_settle(struct devices *devices, struct netns *ns);
void devices_touch_all(struct devices *devices);
uint32_t devices_mtu(const struct devices *devices);

#endif
