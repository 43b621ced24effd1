/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warn.h: what else on the host gets in the way of slices, or does not apply to them
 */
#ifndef SAFERAW_WARN_H
#define SAFERAW_WARN_H

#include "netns.h"

/* Look for it and log it. ns is attached, its uplinks are known. */
void warn_at_start(const struct netns *ns);

#endif
