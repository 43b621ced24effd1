/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link.h: a namespace's links to the namespaces of clients
 */
#ifndef SAFERAW_LINK_H
#define SAFERAW_LINK_H

#include <linux/netlink.h>

#include "netns.h"

/* What a link is to be */
struct link_order {
	const struct conf_slice *slice;
	uid_t uid;		   /* of the client */
	int peer;		   /* file of the client's network namespace */
	const struct priv_link *request; /* its ports and flags are checked already */
};

int link_init(struct netns *ns);
void link_free(struct netns *ns);
int link_make(struct netns *ns, const struct link_order *order, uint32_t *number);
void link_end(struct netns *ns, uint32_t number, unsigned quarantine_ms);
void link_end_all(struct netns *ns, unsigned quarantine_ms);
/* Links whose device is gone, or that no longer fit the configuration, one by one; 0 when there are no more. Ended. */
uint32_t link_next_gone(struct netns *ns, unsigned quarantine_ms);
void link_refit(struct netns *ns, const struct conf *conf);
/* A message about a device: whether the device is a link's. Notes one that is gone. */
bool link_heard(struct netns *ns, const struct nlmsghdr *message);
/* A filter or a qdisc was removed from a device: whether it is a link's, which is over then */
bool link_bared(struct netns *ns, unsigned ifindex);
/* Messages were lost: look which devices are still there */
void link_look(struct netns *ns);
/* Whether a device of that name and kind is a link's, some saferawd's of this configuration */
bool link_named(const struct netns *ns, const char *name, const char *kind);

#endif
