/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link.h: a client's own network namespace behind a device of ours
 */
#ifndef SAFERAW_LINK_H
#define SAFERAW_LINK_H

#include "flow.h"
#include "hold.h"
#include "napt.h"
#include "outbox.h"

struct link;

/* Whose link it is: a member of the client. The functions are set by the owner. */
struct link_user {
	struct link *link; /* NULL: none */
	/* The answer to linking_begin(); with an error there is no link any more */
	void (*answered)(struct link_user *user, int error, const char *text);
	/* It has ended by itself, or was taken back */
	void (*gone)(struct link_user *user, uint32_t number);
};

enum link_state {
	LINK_RESERVING, /* the monitor is asked for ports */
	LINK_ASKING,    /* it is asked for the device */
	LINK_UP,
	LINK_ORPHANED, /* nobody wants it any more, but the answer is still to come */
};

/* One class of a link */
struct link_class {
	struct hold_waiter waiter;
	struct link *link;
	struct hold *hold;         /* NULL: no ports, or none yet */
	struct policy_range block; /* hi 0: no ports */
	unsigned passed;           /* of its own choice: how many candidates came before */
	bool refused;              /* by the monitor */
	struct policy_flow policy; /* what may leave translated */
};

/* What has passed */
struct link_traffic {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

struct link {
	struct outgoing outgoing;       /* the request, later the end */
	struct link_user *user;         /* NULL when orphaned */
	TAILQ_ENTRY(link) asking;       /* of those that wait for the device, later of those whose end is to be told */
	LIST_ENTRY(link) of_slice;      /* slice->links, when up */
	struct slice *slice;            /* NULL: orphaned, and its slice is gone */
	struct netns *netns;            /* NULL: that is gone too */
	struct opener opener;
	uint64_t cookie;
	uint64_t memory;                /* charged to the slice */
	int control_fd;                 /* the client's, until the device is there */
	uint32_t flags;                 /* STEER_LINK_ */
	uint32_t number, mtu;           /* when up */
	uint64_t flow;                  /* number that no flow has, to know its fragments by; when up */
	uint16_t count;                 /* ports of each block */
	uint8_t state;                  /* enum link_state */
	uint8_t chosen;                 /* classes whose ports are ours to choose, as bits */
	uint8_t waiting;                /* answers about ports that are to come */
	int error;                      /* the first refusal among those */
	unsigned tries;                 /* choices that the monitor has refused */
	unsigned start, passed;         /* of a common choice: where to start, how many candidates came before */
	bool apart;                     /* there is none: each class has its own */
	struct link_class class[STEER_LINK_CLASSES];
	struct napt *napt;              /* from ASKING on */
	struct steer_link_traffic before; /* of an earlier link of this number */
	struct link_traffic relayed;    /* that came to the relay or came from it */
	struct link_traffic translated; /* of these, what passed */
	uint64_t refused;               /* packets, by the relay */
};

struct link *link_new(struct slice *slice, const struct opener *opener, const struct proto_link *ask);
void link_free(struct link *link);
void link_disown(struct link *link);
void link_drop_ports(struct link *link);
int link_make_napt(struct link *link);
void link_up(struct link *link, uint32_t number, uint32_t mtu);
void link_down(struct link *link, bool tell);
void link_say_end(struct link *link, uint32_t number);
void link_forget(const struct netns *netns);
uint16_t link_direct_hi(const struct link *link, unsigned class);
bool link_fits(const struct link *link);
void link_review(struct slice *slice);
void link_refit(struct slice *slice, void (*refit)(struct hold *hold));
void link_device_gone(struct netns *netns, uint32_t number);
struct mapping *link_aggregate(struct link *link, const struct pkt *pkt, uint64_t now, enum verdict *verdict);
void link_expire(struct link *link, uint64_t now);
void link_add_direct(const struct slice *slice, struct counters *sum);

#endif
