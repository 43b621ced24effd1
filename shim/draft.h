/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * draft.h: a configuration that is still being told (priv.h, BEGIN to COMMIT)
 */
#ifndef SAFERAW_DRAFT_H
#define SAFERAW_DRAFT_H

#include "world.h"

struct draft_netns {
	struct priv_netns record; /* header.type 0: there is none */
	int fd[PRIV_NETNS_FDS];   /* -1 when the relay has it already */
	unsigned addresses;
	struct priv_address address[STEER_ROWS_MAX];
	struct steer_open *open[STEER_BLOCKS]; /* NULL when there is none, or the relay has it already */
	struct slots slots;
};

struct draft_slice {
	struct slice_conf conf; /* conf.record.slice 0: there is none */
	int listener;           /* -1 when the relay has it already */
};

struct draft {
	bool begun;
	struct draft_netns netns[PRIV_NETNS_MAX];
	struct draft_slice *slice[STEER_SLICES_MAX];
};

/* One record each; false: it makes no sense. fds are taken over when the answer is true. */
bool draft_netns(struct draft *draft, const struct world *world, const struct priv_netns *record, int fd[PRIV_NETNS_FDS]);
bool draft_address(struct draft *draft, const struct priv_address *record);
bool draft_block(struct draft *draft, const struct world *world, const struct priv_block *record, int fd);
bool draft_grant(struct draft *draft, const struct priv_grant *record);
bool draft_slice(struct draft *draft, const struct world *world, const struct priv_slice *record, int *listener);
bool draft_range(struct draft *draft, const struct priv_range *record);
bool draft_slice_grant(struct draft *draft, const struct priv_slice_grant *record);
bool draft_slice_address(struct draft *draft, const struct priv_slice_address *record);
bool draft_slice_proxied(struct draft *draft, const struct priv_slice_proxied *record);
bool draft_member(struct draft *draft, const struct priv_member *record);
bool draft_peer_netns(struct draft *draft, const struct priv_peer_netns *record);
bool draft_deny(struct draft *draft, const struct priv_deny *record);
void draft_clear(struct draft *draft);

#endif
