/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * permit.h: what steering may let through, from the configuration
 */
#ifndef SAFERAW_PERMIT_H
#define SAFERAW_PERMIT_H

#include <stdbool.h>

#include "conf.h"
#include "netns.h"

bool permit_has_row(const struct netns *ns, const struct conf_slice *slice, unsigned row);
bool permit_has_range(const struct netns *ns, const struct conf_slice *slice, uint8_t address, const struct policy_range *range);
int permit_address(struct netns *ns, const struct conf *conf, unsigned index);
int permit_all(struct netns *ns, const struct conf *conf);

#endif
