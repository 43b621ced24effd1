/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steering_maps.h: one namespace's steering, inside
 *
 * Between steering.c, which puts the programs on devices, and steering_maps.c,
 * which tells them what they must know.
 */
#ifndef SAFERAW_STEERING_MAPS_H
#define SAFERAW_STEERING_MAPS_H

#include <sys/queue.h>

#include "hook.h"
#include "netns.h"
#include "steer.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "steer.skel.h"
#pragma GCC diagnostic pop

struct steering {
	LIST_ENTRY(steering) in_all;
	const char *name; /* of the namespace */
	struct steer_bpf *bpf;
	struct mnl_socket *nl;
	struct block {
		struct steer_allowed *allowed; /* NULL: there is no such block */
		struct steer_open *open;
		int open_fd; /* the relay gets a duplicate */
	} block[STEER_BLOCKS];
	uint64_t *heartbeat;
	enum conf_attach mode;                        /* AUTO until the first attachment */
	struct hook drop, out;                        /* on the packet TUN; ifindex 0 while not attached */
	struct hook tap_drop, tap;                    /* on the link TAP */
	struct hook link[STEER_LINKS_MAX], link_drop; /* on the near ends of links; they go with the device */
	unsigned uplinks;
	struct hook *uplink;
};

/* The values of a mmapable array in memory, @size bytes of them; NULL and errno */
void *steering_map_values(int map, size_t size);
void steering_free_blocks(struct steering *s);
int steering_know_link(struct steering *s, unsigned number, const struct steer_link *link);
int steering_forget_link(struct steering *s, unsigned number, const struct steer_link *link);

#endif
