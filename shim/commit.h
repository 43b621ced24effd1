/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commit.h: from one configuration to the next, and what follows when addresses come and go
 */
#ifndef SAFERAW_COMMIT_H
#define SAFERAW_COMMIT_H

#include "draft.h"
#include "world.h"

int commit_draft(struct world *world, struct draft *draft);
bool commit_block(struct world *world, const struct priv_block *record, int fd);
bool commit_address(struct world *world, const struct priv_address *news);
bool commit_routes(struct world *world, const struct priv_routes_news *news);
void commit_shutdown(struct world *world);

#endif
