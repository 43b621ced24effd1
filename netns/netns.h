/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netns.h: one attached network namespace, and entering it
 */
#ifndef SAFERAW_NETNS_H
#define SAFERAW_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "grants.h"
#include "priv.h"

struct steering;
struct reserve;
struct uplinks;
struct links;

/* One of the namespace's own unicast addresses. Its index never changes while the namespace is attached. */
struct netns_address {
	struct addr addr;
	bool present;
};

struct netns {
	unsigned index;	 /* in the monitor's table and in messages to the relay */
	uint32_t serial; /* of this attachment */
	struct conf_netns conf;
	int fd;		 /* of the namespace file; -1: the one that the monitor runs in */
	int tun_fd;	 /* packet TUN, queue 0: the relay gets a duplicate */
	int helper_fd;	 /* the device that only the route look-up uses */
	int tap_fd;	 /* link TAP: the relay gets a duplicate */
	unsigned tun_ifindex, helper_ifindex, tap_ifindex;
	char tun_name[IFNAMSIZ], helper_name[IFNAMSIZ], tap_name[IFNAMSIZ];
	uint32_t mtu;	 /* smallest of its uplinks, lo left out; 1500 while there is none */
	unsigned addresses; /* rows used below, present or not */
	struct netns_address address[STEER_ADDRESSES_MAX];
	struct grants grants;
	struct steering *steering;
	struct reserve *reserve;
	struct uplinks *uplinks;
	struct links *links;
};

/* Runs fn(arg) inside the namespace; returns what fn returned, or -1 and errno when the namespace cannot be entered. */
int netns_call(const struct netns *ns, int (*fn)(void *arg), void *arg);

/* Its cookie, as enter_cookie(); 0 when it cannot be had */
uint64_t netns_cookie(const struct netns *ns);

/* Whether a device of the namespace is one that tun.c made */
static inline bool netns_made(const struct netns *ns, unsigned ifindex)
{
	return ifindex == ns->tun_ifindex || ifindex == ns->helper_ifindex || ifindex == ns->tap_ifindex;
}

#endif
