/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_block.h: which ports a link gets
 */
#ifndef SAFERAW_LINK_BLOCK_H
#define SAFERAW_LINK_BLOCK_H

#include "link.h"

bool link_block_set(struct link *link, const struct proto_link *ask);
bool link_block_choose(struct link *link);
void link_block_pass_on(struct link *link);

#endif
