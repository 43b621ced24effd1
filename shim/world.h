/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h: the namespaces and slices that the relay serves
 */
#ifndef SAFERAW_WORLD_H
#define SAFERAW_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "exacts.h"
#include "flowtab.h"
#include "fragments.h"
#include "slots.h"
#include "loop.h"
#include "policy.h"
#include "ports.h"
#include "priv.h"
#include "roster.h"
#include "routes.h"

#define WORLD_MEMBERS_MAX 256 /* users and groups of one slice, and those that may sniff it */
#define WORLD_PEERS_MAX 16    /* namespaces that one slice's clients may be in */

struct client;
struct link;
struct reader;
struct world;
TAILQ_HEAD(client_list, client);

/* What went through, and what did not and why */
struct counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_refused[VERDICTS_N], tx_refused[VERDICTS_N];
};

struct member {
	uint32_t kind; /* PRIV_MEMBER_; 0: none */
	uint32_t id;
};

/* A slice as the monitor describes it */
struct slice_conf {
	struct priv_slice record; /* 0 in record.slice: there is none */
	unsigned ranges, addresses, members, peers, denied;
	struct policy_range range[POLICY_RANGES_MAX];
	unsigned grants;
	struct policy_grant grant[POLICY_GRANTS_MAX];
	struct addr address[STEER_ADDRESSES_MAX];
	unsigned proxied;
	struct prefix prefix[STEER_PROXIED_MAX];
	struct member member[WORLD_MEMBERS_MAX];
	uint64_t peer[WORLD_PEERS_MAX]; /* netns cookies */
	struct prefix deny[POLICY_DENY_MAX];
};

/* What slices can have ports on, by steering's row: the netns's own addresses, and proxied prefixes behind them */
#define WORLD_OWN_ROWS ((1ULL << STEER_ADDRESSES_MAX) - 1)
struct address_set {
	uint64_t known, present, v4; /* sets of rows */
	struct addr addr[STEER_ADDRESSES_MAX];
	struct prefix prefix[STEER_PROXIED_MAX];
};

/* All flow state of the packets of one TUN queue. One queue, hence one shard, for each netns. */
struct shard {
	struct flowtab flows;   /* struct flow */
	struct flowtab holds;   /* struct hold */
	struct flowtab readers; /* struct reader: the first of a list */
	struct exacts exacts;
	struct ports ports;
	struct fragments fragments; /* first ones that have arrived */
};

struct netns {
	struct world *world;
	struct priv_netns record; /* record.mtu is kept up to date */
	bool gone;                /* being detached: the monitor holds nothing in it any more */
	struct watch tun, tap;         /* packet TUN, link TAP */
	struct steer_open *open[STEER_BLOCKS]; /* NULL: the monitor has made no such block */
	struct steer_traffic *traffic; /* [STEER_SLICES_MAX] */
	struct steer_link_traffic *link_traffic; /* [STEER_LINKS_MAX], read only */
	struct address_set addresses;
	struct slots slots;
	LIST_HEAD(, slice) slices;
	struct link *links[STEER_LINKS_MAX]; /* by number; NULL: none */
	struct shard shard;
	struct routes routes;
	struct counters unknown; /* packets that no slice can be blamed for */
	struct counters past;    /* of slices that are gone */
};

struct slice {
	LIST_ENTRY(slice) link; /* netns->slices */
	struct netns *netns;
	struct slice_conf conf;
	struct policy_slice policy;
	uint64_t owned; /* its addresses, present or not, and its proxied prefixes: set of rows */
	struct watch listener;
	struct client_list clients, lobby; /* served; refused, but not yet told */
	unsigned served, refused;          /* of them */
	LIST_HEAD(, link) links;
	struct roster flows;               /* open ones */
	unsigned opened;                   /* flows, those that are being opened included */
	unsigned readers;                  /* read-only ones among them */
	struct reader *wide;               /* list of sniffers on all ports */
	uint64_t copies_turn;              /* turn of the loop that `copies` is of */
	unsigned copies;                   /* made in it, beyond what each packet has free */
	uint64_t memory;                   /* bytes that they may take */
	unsigned parked;                   /* packets that wait for a route */
	uint16_t ip_id;
	struct fragments sent; /* first fragments */
	struct counters counters;
	uint64_t grants, refusals;
	uint64_t dropped[STEER_REASONS_N]; /* by steering, of an earlier slice of this number */
};

struct world {
	struct netns *netns[PRIV_NETNS_MAX];
	struct slice *slice[STEER_SLICES_MAX];
	uint64_t flows; /* number of the youngest flow */
	int fd_ceiling; /* clients get no fd from here up: a reload needs some too */
	bool accept_paused;
};

struct netns *netns_new(struct world *world, const struct priv_netns *record, const int fd[PRIV_NETNS_FDS],
			watch_fn *tun_ready, watch_fn *tap_ready);
void netns_free(struct netns *netns);
bool netns_block_ok(const struct priv_block *record);
struct steer_open *netns_map_block(int fd);
bool netns_set_address(struct netns *netns, const struct priv_address *record);
void netns_forget_proxied(struct netns *netns);
int netns_row(const struct netns *netns, const struct addr *addr);
uint64_t netns_family(const struct netns *netns, int family);
struct slice *slice_new(struct netns *netns, const struct slice_conf *conf, int listener, watch_fn *accept_ready);
void slice_free(struct slice *slice);
void slice_refresh(struct slice *slice);
unsigned slice_number(const struct slice *slice);
bool slice_has_member(const struct slice *slice, struct member member);
void world_fd_closed(struct world *world);

#endif
