/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reserve.h: which ports are held, by whom, and the sockets that hold them
 */
#ifndef SAFERAW_RESERVE_H
#define SAFERAW_RESERVE_H

#include "netns.h"
#include "priv.h"

/* An empty table for ns; 0, or -1 and errno */
int reserve_init(struct netns *ns);
/* Let go of everything and free */
void reserve_free(struct netns *ns);
/*
 * All ports of the claim or none. `slice` is the configuration of the claim's
 * slice. 0, or -1 and errno (priv_reserved.error lists them) with
 * *port the first one that was in the way.
 */
int reserve_acquire(struct netns *ns, const struct conf_slice *slice, const struct priv_claim *claim, uint16_t *port);
/* One reference less. -1 and EINVAL when the relay released what it never held. */
int reserve_release(struct netns *ns, const struct priv_claim *claim, unsigned quarantine_ms);
/* The addresses on which our own sockets hold a port */
uint64_t reserve_covered(const struct netns *ns, uint8_t class, uint16_t port);
/* Whether an owner has references on all ports of a range, on any address of both families */
bool reserve_has(const struct netns *ns, unsigned slice, uid_t uid, const struct policy_range *range);
/* The relay died: every hold loses its references and waits for its owner for grace_ms */
void reserve_orphan(struct netns *ns, unsigned grace_ms);
/* Let go of what has waited long enough; returns ms until the next is due, -1 for none */
int reserve_sweep(struct netns *ns);

/* refit.c */

/* An address came (or came back): extend holds on PRIV_ANY_ADDRESS to it. What another socket has by then is logged and stays shut. */
void reserve_extend(struct netns *ns);
/* Whether what is always to be held fits the limit of open files; else it has been said */
bool reserve_fits(const struct conf *conf);
/* After a reload, and at the start: let go of holds that no configured slice covers any more, hold what is always held */
void reserve_refit(struct netns *ns, const struct conf *conf);

#endif
