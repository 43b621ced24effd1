/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upstream.h: what the monitor says (priv.h)
 */
#ifndef SAFERAW_UPSTREAM_H
#define SAFERAW_UPSTREAM_H

#include "world.h"

int upstream_open(struct world *world, int channel);

#endif
