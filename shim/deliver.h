/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deliver.h: one packet into one flow's socket
 */
#ifndef SAFERAW_DELIVER_H
#define SAFERAW_DELIVER_H

#include "flow.h"
#include "saferaw.h"

enum verdict deliver(struct flow *flow, struct saferaw_meta *meta, const void *data, uint32_t len);

#endif
