/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holds.h: the table of held ports
 *
 * Between reserve.c, which serves requests, refit.c, which follows changes of
 * addresses and configuration, holds.c, which keeps the table right, and
 * covers.c, which makes sockets for it.
 */
#ifndef SAFERAW_HOLDS_H
#define SAFERAW_HOLDS_H

#include <sys/queue.h>

#include "holder.h"
#include "log.h"
#include "netns.h"

/* An owner's right to a port on one address, or on any of the slice's */
struct hold {
	LIST_ENTRY(hold) in_port;
	LIST_ENTRY(hold) in_waiting; /* while deadline_ns is set */
	struct port *port;
	uint64_t deadline_ns; /* 0: it has references, or is being made */
	uint32_t references;
	uint64_t claim; /* set of rows */
	uint32_t slice, uid;
	uint8_t address; /* index, or PRIV_ANY_ADDRESS */
	uint8_t family;  /* with PRIV_ANY_ADDRESS; else 0 */
	bool stale;      /* no longer configured; here until the relay has released it */
	bool standing;   /* the slice's own, as long as it is configured so (hold = always); no flow's */
};

/* A socket that keeps the rest of the host off a port */
struct cover {
	LIST_ENTRY(cover) in_port;
	struct port *port;
	unsigned index; /* of the address, when holder.families is 0 */
	struct holder holder;
};

struct port {
	LIST_ENTRY(port) in_table;
	LIST_HEAD(, hold) holds; /* never empty, but while a request is served */
	LIST_HEAD(, cover) covers;
	uint64_t marked; /* set of rows on which steering regards it as held */
	uint16_t number;
	uint8_t class;
};

/* The addresses of a slice, as its configuration last said */
struct scope {
	unsigned addresses; /* 0: all */
	struct addr address[STEER_ADDRESSES_MAX];
};

struct reserve {
	size_t covers; /* how many sockets there are */
	LIST_HEAD(, port) ports;
	LIST_HEAD(, hold) waiting;
	struct scope *scope[STEER_SLICES_MAX];
	struct log_limit limit;
	struct port *port[STEER_CLASSES][STEER_PORTS];
};

/* Covers to be made in one visit to the namespace */
struct job {
	bool best_effort; /* go on after an error, and log it */
	bool again;       /* what fails is tried once more, address by address: not logged yet, where that can be */
	const char *netns;
	struct log_limit *limit;
	size_t n, room;
	size_t most; /* that may be made, unless best_effort */
	struct cover **cover;
	uint16_t failed; /* port of the one that could not be made */
};

/* holds.c; sets of rows are masks by index in ns->address */
unsigned holds_families(int family); /* HOLDER_ bits */
int holds_set_scope(struct reserve *r, const struct conf_slice *slice);
bool holds_owned(const struct netns *ns, const struct conf_slice *slice, unsigned class, uint16_t port, uint8_t address);
uint64_t holds_rows(const struct netns *ns, unsigned families, const struct scope *scope, bool present);
uint64_t holds_claim(const struct netns *ns, unsigned slice, uint8_t address, uint8_t family);
uint64_t holds_claims(const struct port *port);
uint64_t holds_covered(const struct netns *ns, const struct port *port);
struct hold *holds_find(const struct port *port, uint8_t address, uint8_t family, uint32_t slice, uint32_t uid);
struct port *holds_port(struct netns *ns, uint8_t class, uint16_t number);
void holds_end(struct netns *ns, struct hold *hold);
void holds_settle(struct netns *ns, struct port *port);

/* covers.c */
int covers_plan(struct job *job, const struct netns *ns, struct port *port, const struct hold *hold, uint64_t wanted);
int covers_plan_each(struct job *job, const struct netns *ns, struct port *port, uint64_t set);
int covers_make(struct job *job, const struct netns *ns);
void covers_finish(struct job *job, struct reserve *r, bool keep);
size_t covers_room(const struct reserve *r);

#endif
