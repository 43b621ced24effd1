/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf.h: the configuration as the monitor uses it
 */
#ifndef SAFERAW_CONF_H
#define SAFERAW_CONF_H

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy.h"
#include "proto.h"
#include "steer.h"

#define CONF_PATTERNS_MAX 16
#define CONF_MEMBERS_MAX 64
#define CONF_PEERS_MAX 16
#define CONF_TUN_SIZE (IFNAMSIZ - 5) /* of a packet TUN's name with its NUL */

enum conf_attach { CONF_ATTACH_AUTO, CONF_ATTACH_TCX, CONF_ATTACH_CLSACT };

struct conf_netns {
	char name[PROTO_NAME_MAX];
	char path[PATH_MAX]; /* of a namespace file; "": the one that saferawd runs in */
	char tun[IFNAMSIZ];  /* name of the packet TUN. With "h" behind it: the helper device, "l": the link TAP, "l17": link 17 */
	enum conf_attach attach;
	unsigned uplinks; /* glob patterns of device names */
	char uplink[CONF_PATTERNS_MAX][IFNAMSIZ];
	unsigned denied;
	struct prefix deny[POLICY_DENY_MAX];
};

struct conf_slice {
	char name[PROTO_NAME_MAX];
	unsigned number;    /* set by the monitor: stays the same across reloads, by name */
	unsigned netns;     /* index into struct conf's netns */
	unsigned addresses; /* 0: every address of the netns */
	struct addr address[STEER_ADDRESSES_MAX];
	unsigned prefixes;  /* proxied: routed to the host, and the slice's whole */
	struct prefix prefix[STEER_PROXIED_MAX];
	unsigned ranges;
	struct policy_range range[POLICY_RANGES_MAX];
	unsigned grants;
	struct policy_grant grant[POLICY_GRANTS_MAX];
	unsigned users, groups;
	uid_t user[CONF_MEMBERS_MAX];
	gid_t group[CONF_MEMBERS_MAX];
	unsigned sniff_users, sniff_groups; /* may sniff the whole slice */
	uid_t sniff_user[CONF_MEMBERS_MAX];
	gid_t sniff_group[CONF_MEMBERS_MAX];
	unsigned peers;                      /* 0: clients from any namespace */
	char peer[CONF_PEERS_MAX][PATH_MAX]; /* paths of namespaces that clients must be in */
	unsigned denied; /* the slice's own, checked by the relay; the netns's list is added to it there */
	struct prefix deny[POLICY_DENY_MAX];
	unsigned clients_max, flows_max, links_max;
	unsigned queue_bytes;             /* of one flow */
	uint64_t memory_bytes;            /* of all flows' queues */
	uint64_t packets_in, packets_out; /* a second; 0: no limit */
	uint64_t bits_in, bits_out;
	bool local, fragments;
	bool hold_always; /* its ports are held from the start, not one by one */
};

struct conf {
	char run_dir[PATH_MAX - 64];
	char relay_path[PATH_MAX];
	uid_t relay_uid;
	gid_t relay_gid;
	unsigned quarantine_ms; /* how long a closed port stays held */
	unsigned grace_ms;      /* how long a dead relay's ports stay held */
	unsigned netnses, slices;
	struct conf_netns *netns;
	struct conf_slice *slice; /* up to STEER_SLICES_MAX - 1 */
};

/*
 * netns "default" is there when it has a section or a slice uses it: a host that only
 * lends its containers' namespaces to slices keeps its own as it is.
 */

/* Called once for each error, with "FILE:LINE: text" or "FILE: text" */
typedef void conf_report(const char *line, void *arg);

/* The file and its drop-ins PATH.d/NAME.conf. NULL when anything was reported. One load at a time. */
struct conf *conf_load(const char *path, conf_report *report, void *arg);
void conf_free(struct conf *conf);

#endif
