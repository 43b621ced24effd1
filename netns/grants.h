/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * grants.h: the slots that stand for protocols without ports, in one namespace
 */
#ifndef SAFERAW_GRANTS_H
#define SAFERAW_GRANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "priv.h"
#include "steer.h"

struct netns;

struct grants {
	unsigned last; /* slot that was given away last */
	struct {
		bool taken;
		uint8_t protocol;
		uint32_t key;
	} slot[STEER_GRANT_SLOTS];
};

#define GRANTS_TEXT_MAX 32

int grants_refit(struct netns *ns, const struct conf *conf);
unsigned grants_run(const struct netns *ns, unsigned slot, struct priv_grant *run);
bool grants_owns(const struct netns *ns, const struct conf_slice *slice, unsigned slot);
const char *grants_text(const struct netns *ns, unsigned slot, char text[static GRANTS_TEXT_MAX]);

#endif
