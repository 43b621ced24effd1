/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tun.h: the devices of an attached namespace that a process holds: two TUNs and a TAP
 */
#ifndef SAFERAW_TUN_H
#define SAFERAW_TUN_H

#include "netns.h"

int tun_open(struct netns *ns);
void tun_remove(const struct netns *ns);
void tun_close(struct netns *ns);
int tun_settle(const struct netns *ns);

#endif
