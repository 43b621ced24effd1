/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netns.h: one attached network namespace, and entering it
 */
#ifndef SAFERAW_NETNS_H
#define SAFERAW_NETNS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "conf.h"
#include "grants.h"
#include "priv.h"

struct steering;
struct reserve;
struct uplinks;
struct links;

/* A row of steer.h: an own unicast address, or a proxied prefix. Its index never changes while the namespace is attached. */
struct netns_address {
	struct addr addr; /* the first of a prefix */
	uint8_t len;	  /* bits that count: 128 of an own address */
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
	unsigned addresses; /* rows of own addresses used below, present or not: the first ones */
	unsigned proxied;   /* rows of proxied prefixes used, from STEER_ADDRESSES_MAX on */
	struct netns_address address[STEER_ROWS_MAX];
	struct grants grants;
	struct steering *steering;
	struct reserve *reserve;
	struct uplinks *uplinks;
	struct links *links;
};

/* What a row stands for; an own address is a prefix of 128 bits */
static inline struct prefix netns_prefix(const struct netns_address *row)
{
	return (struct prefix){.addr = row->addr, .len = row->len};
}

/* Runs fn(arg) inside the namespace; returns what fn returned, or -1 and errno when the namespace cannot be entered. */
int netns_call(const struct netns *ns, int (*fn)(void *arg), void *arg);

/* Its cookie, as enter_cookie(); 0 when it cannot be had */
uint64_t netns_cookie(const struct netns *ns);

/* Whether a row is used */
static inline bool netns_has_row(const struct netns *ns, unsigned row)
{
	return row < STEER_ADDRESSES_MAX ? row < ns->addresses : row - STEER_ADDRESSES_MAX < ns->proxied;
}

/* Whether a slice of a configuration is in the namespace */
static inline bool netns_has_slice(const struct netns *ns, const struct conf *conf, const struct conf_slice *slice)
{
	return strcmp(conf->netns[slice->netns].name, ns->conf.name) == 0;
}

/* Whether a device of the namespace is one that tun.c made */
static inline bool netns_made(const struct netns *ns, unsigned ifindex)
{
	return ifindex == ns->tun_ifindex || ifindex == ns->helper_ifindex || ifindex == ns->tap_ifindex;
}

#endif
