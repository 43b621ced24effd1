/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach.h: a namespace becomes attached, changes, and is let go of
 */
#ifndef SAFERAW_ATTACH_H
#define SAFERAW_ATTACH_H

#include "netns.h"

struct netns *attach(const struct conf *conf, const struct conf_netns *wanted, unsigned index, uint32_t serial);
void detach(struct netns *ns, const char *run_dir);
int attach_update(struct netns *ns, const struct conf *conf, const struct conf_netns *wanted);

#endif
