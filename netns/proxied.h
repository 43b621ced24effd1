/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proxied.h: prefixes that are routed to the host and belong to one slice whole
 */
#ifndef SAFERAW_PROXIED_H
#define SAFERAW_PROXIED_H

#include "netns.h"

/* Whether a row is one of proxied prefixes, not one of own addresses */
static inline bool proxied_row(unsigned row)
{
	return row >= STEER_ADDRESSES_MAX;
}

bool proxied_owns(const struct netns *ns, const struct conf_slice *slice, unsigned row);
bool proxied_has(const struct netns *ns, const struct addr *addr);
void proxied_refit(struct netns *ns, const struct conf *conf);

#endif
