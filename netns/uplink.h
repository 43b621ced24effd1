/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uplink.h: a namespace's devices, addresses and routes as they come and go (rtnetlink)
 */
#ifndef SAFERAW_UPLINK_H
#define SAFERAW_UPLINK_H

#include "netns.h"

/* What uplink_read() found has changed since it was last asked */
#define UPLINK_ADDRESSES 0x01 /* ns->address */
#define UPLINK_ROUTES 0x02    /* routes or MTUs: ns->mtu is up to date */
#define UPLINK_BROKEN 0x04    /* somebody has removed a device or a filter of ours */

/*
 * Open the watch and the query socket inside ns, read the present devices and
 * addresses, attach steering to every uplink that matches ns->conf.uplink,
 * lo included. 0, or -1 and errno.
 */
int uplink_open(struct netns *ns);
void uplink_close(struct netns *ns);
int uplink_fd(const struct netns *ns); /* readable: call uplink_read() */
/* Take in what has changed; UPLINK_ bits, or -1 and errno. Overrun (ENOBUFS) re-reads everything. */
int uplink_read(struct netns *ns);
/* The n-th uplink's index and name, lo among them; 0 when there are no more */
unsigned uplink_nth(const struct netns *ns, unsigned n, const char **name);
/* Bring a device up / set its MTU (by ifindex), for the TUNs. 0, or -1 and errno. */
int uplink_set(struct netns *ns, unsigned ifindex, bool up, unsigned mtu, unsigned txqueuelen);
/* Source and MTU for a destination. 0, or -1 and ENETUNREACH. */
int uplink_route(struct netns *ns, const struct addr *destination, struct addr *source, uint32_t *mtu);

#endif
