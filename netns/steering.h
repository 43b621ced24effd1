/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steering.h: one namespace's BPF programs and maps (include/steer.h says what is in the maps)
 */
#ifndef SAFERAW_STEERING_H
#define SAFERAW_STEERING_H

#include "netns.h"
#include "steer.h"

/* Load into ns (devices must exist), attach steer_out and the permanent drop to the packet TUN. 0, or -1 and errno. */
int steering_load(struct netns *ns);
/* Detach everything from every device that still is there, and free. */
void steering_unload(struct netns *ns);
/* Attach steer_in to an uplink; again on the same uplink: no change. 0, or -1 and errno. */
int steering_attach(struct netns *ns, unsigned ifindex);
/* Forget an uplink: detach if the device still is there. */
void steering_detach(struct netns *ns, unsigned ifindex);
/* Are all programs still on their devices? */
bool steering_is_whole(const struct netns *ns);
/* Remove what a dead monitor left on a device (clsact filters of ours). Returns how many. */
int steering_sweep(struct netns *ns, unsigned ifindex);
/* "tcx" or "clsact": what is in use */
const char *steering_mode(const struct netns *ns);

/* The monitor is alive, for all namespaces: once a second, and within what may take longer because clients ask for much */
void steering_beat(void);
int steering_block(struct netns *ns, unsigned index, enum steer_class class);
int steering_address(struct netns *ns, unsigned index, bool present);
void steering_allow(struct netns *ns, unsigned index, const struct policy_range *range, unsigned slice); /* slice 0: nobody */
void steering_hold(struct netns *ns, unsigned index, enum steer_class class, uint16_t port, bool held);
int steering_grant(struct netns *ns, uint8_t protocol, uint32_t key, unsigned slot); /* slot 0: none any more */
int steering_slice(struct netns *ns, unsigned number, const struct steer_slice *slice);
int steering_deny(struct netns *ns, struct steer_prefix *deny, unsigned denied); /* replaces all lists; sorts @deny */
void steering_close_all(struct netns *ns); /* zero `open`: the relay is gone */
int steering_open_fd(const struct netns *ns, unsigned index, enum steer_class class); /* -1: there is no such block */
int steering_traffic_fd(const struct netns *ns);
/* A link's near end is there, down: its counters begin at 0, and what comes out of it is judged. 0, or -1 and errno. */
int steering_link(struct netns *ns, unsigned number, const struct steer_link *link);
void steering_unlink(struct netns *ns, unsigned number, const struct steer_link *link);
int steering_link_traffic_fd(const struct netns *ns);

#endif
