/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linking.h: one request for a link, from the first check to the grant, and the link's end
 */
#ifndef SAFERAW_LINKING_H
#define SAFERAW_LINKING_H

#include "link.h"

void linking_begin(struct link_user *user, struct slice *slice, const struct opener *opener,
		   const struct proto_link *ask, int control_fd);
void linking_end(struct link_user *user);
void linking_answer(const struct priv_linked *reply);
void linking_forget(const struct slice *slice);
void linking_forget_netns(const struct netns *netns);

#endif
