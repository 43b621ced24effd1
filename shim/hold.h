/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold.h: one reservation of ports, shared by the flows on them
 */
#ifndef SAFERAW_HOLD_H
#define SAFERAW_HOLD_H

#include "outbox.h"
#include "world.h"

enum hold_state {
	HOLD_WAITING, /* the monitor has been asked */
	HOLD_HELD,
	HOLD_FAILED,   /* the monitor said no; waiters are being told */
	HOLD_ORPHANED, /* nobody wants it any more, but the answer is still to come */
	HOLD_LOST,     /* the same, and its netns is gone */
};

struct hold {
	struct outgoing outgoing; /* request, later the release */
	TAILQ_ENTRY(hold) link;   /* of those that wait for an answer, later of those whose release waits */
	TAILQ_HEAD(, hold_waiter) waiters;
	struct slice *slice; /* not valid when orphaned */
	struct flowkey key;  /* in the shard's table of holds */
	struct policy_range span;
	uint32_t uid;
	uint64_t addresses; /* claimed: set of rows */
	uint64_t cookie;
	uint32_t flows; /* references */
	uint16_t levels;
	uint8_t state;   /* enum hold_state */
	uint8_t address; /* row or PRIV_ANY_ADDRESS */
	uint8_t family;  /* with PRIV_ANY_ADDRESS */
	bool open;       /* steering is on */
	bool answering;  /* waiters are being told: it stays, though they let go of it and may try other ports */
	uint16_t of_link; /* 0: of flows; else a link's alone, as in struct port */
};

/* Who wants to know the monitor's answer */
struct hold_waiter {
	TAILQ_ENTRY(hold_waiter) link;
	struct hold *hold; /* NULL: does not wait */
	void (*answered)(struct hold_waiter *waiter, int error);
};

struct hold *hold_get(struct slice *slice, uint32_t uid, const struct policy_range *span, uint8_t address,
		      uint8_t family);
struct hold *hold_get_link(struct slice *slice, uint32_t uid, const struct policy_range *span);
void hold_put(struct hold *hold);
void hold_wait(struct hold *hold, struct hold_waiter *waiter);
void hold_stop_waiting(struct hold_waiter *waiter);
void hold_answer(const struct priv_reserved *reply);
void hold_add_level(struct hold *hold, unsigned level);
void hold_open(struct hold *hold);
void hold_open_link(struct hold *hold, uint16_t link);
void hold_divert(const struct hold *hold, uint16_t port, bool on);
void hold_extend(struct hold *hold);
void hold_reduce(struct hold *hold);
void hold_forget(const struct netns *netns);
uint64_t hold_addresses(const struct slice *slice, uint8_t address, uint8_t family);

#endif
