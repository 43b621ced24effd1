/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * priv.h: messages between the relay and the monitor
 *
 * SOCK_SEQPACKET on a fixed fd, fixed sizes, host byte order. The monitor
 * checks type, exact size and fd count against its table before it looks at
 * anything else, and takes any surprise for a relay that was taken over: it
 * kills it.
 *
 * Configuration goes from monitor to relay as BEGIN, records, COMMIT; the
 * relay builds a new set aside and swaps at COMMIT, so a reload is atomic. A
 * record of an object that the relay has already (same index, same serial)
 * brings its fds again; the relay keeps its own and closes the copies.
 */
#ifndef SAFERAW_PRIV_H
#define SAFERAW_PRIV_H

#include <assert.h>
#include <stdint.h>

#include "addr.h"
#include "proto.h"
#include "steer.h"

/* The relay's fixed file descriptors, given by the monitor across exec */
#define PRIV_FD_MONITOR 3 /* this channel */
#define PRIV_FD_ROOT 4	  /* an empty directory: the relay's file system view */
#define PRIV_FD_FIRST_FREE 5

#define PRIV_NETNS_MAX 64
#define PRIV_ANY_ADDRESS 0xff /* every own address of the slice, now and later; none that is proxied */

enum priv_type {
	/* monitor to relay: configuration */
	PRIV_BEGIN = 1,
	PRIV_NETNS,	/* 4 fds: packet TUN queue, `traffic` map, link TAP, `link_traffic` map */
	PRIV_ADDRESS,
	PRIV_SLICE,	/* 1 fd: listening control socket */
	PRIV_RANGE,
	PRIV_SLICE_ADDRESS,
	PRIV_MEMBER,
	PRIV_PEER_NETNS,
	PRIV_DENY,
	PRIV_COMMIT,
	/* monitor to relay: news, outside a transaction */
	PRIV_ADDRESS_NEWS, /* a struct priv_address */
	PRIV_ROUTES_NEWS,  /* a struct priv_routes_news */
	PRIV_SHUTDOWN,	   /* a struct priv_plain */
	/* relay to monitor, and the replies */
	PRIV_READY,	 /* the sandbox is closed and the first COMMIT applied */
	PRIV_RESERVE,
	PRIV_RESERVED,	 /* reply */
	PRIV_RELEASE,
	PRIV_ROUTE,
	PRIV_ROUTED,	 /* reply */
	PRIV_LINK,	 /* 1 fd: the client's control socket */
	PRIV_LINKED,	 /* reply */
	PRIV_UNLINK,	 /* a struct priv_link_end */
	/* monitor to relay, again; a link that the relay has ended itself brings none */
	PRIV_LINK_NEWS,	 /* a struct priv_link_end: the device is gone, with its namespace or by root's hand */
	/* monitor to relay, in a transaction or outside */
	PRIV_BLOCK,	 /* 1 fd: a block of the `open` map */
	/* relay to monitor, and the reply */
	PRIV_COVERED,
	PRIV_COVERS,
	/* monitor to relay, in a transaction */
	PRIV_GRANT,
	PRIV_SLICE_GRANT,
	PRIV_SLICE_PROXIED,
	PRIV_TYPES
};

struct priv_header {
	uint32_t type;
	uint32_t size; /* exact size of the message, bytes */
};

/* BEGIN, COMMIT, SHUTDOWN, READY */
struct priv_plain {
	struct priv_header header;
};

#define PRIV_NETNS_FDS 4
struct priv_netns {
	struct priv_header header;
	uint32_t netns;	 /* index, < PRIV_NETNS_MAX */
	uint32_t serial; /* another attachment under the same index has another serial */
	uint32_t mtu;	 /* smallest MTU of its uplinks */
	uint32_t pad;
	uint64_t cookie; /* SO_NETNS_COOKIE; 0: not known */
	char name[PROTO_NAME_MAX];
};

struct priv_address {
	struct priv_header header;
	uint32_t netns;
	uint8_t index;	/* row, into the blocks of steer.h */
	uint8_t present; /* 0: gone; its flows are dormant */
	uint8_t len;	/* bits of addr that count: 128, but in rows of proxied prefixes */
	uint8_t pad;
	struct addr addr;
};

/* Ports can be opened in a block of steer.h from now on. Told again: no change. */
struct priv_block {
	struct priv_header header;
	uint32_t netns;
	uint8_t address; /* row */
	uint8_t class;
	uint8_t pad[2];
};

struct priv_slice {
	struct priv_header header;
	uint32_t slice;	 /* number, 1 .. STEER_SLICES_MAX - 1 */
	uint32_t serial;
	uint32_t netns;
	uint32_t clients_max, flows_max;
	uint32_t queue_bytes;	/* SO_SNDBUF of the relay's end of each flow */
	uint64_t memory_bytes;	/* bound for all the slice's queues */
	uint8_t local;
	uint8_t all_addresses;	/* no PRIV_SLICE_ADDRESS follows: every address of the netns */
	uint8_t peer_netns_named; /* only clients from the PRIV_PEER_NETNS that follow */
	uint8_t fragments;	/* may be sent */
	uint8_t pad[4];
	char name[PROTO_NAME_MAX];
};

struct priv_range {
	struct priv_header header;
	uint32_t slice;
	uint8_t class;
	uint8_t pad;
	uint16_t lo, hi;
	uint16_t pad2;
};

struct priv_slice_address {
	struct priv_header header;
	uint32_t slice;
	uint32_t pad;
	struct addr addr;
};

/* A prefix that belongs to a slice whole. It has a row, unless the netns has none left. */
struct priv_slice_proxied {
	struct priv_header header;
	uint32_t slice;
	uint8_t len; /* of the 128-bit form */
	uint8_t pad[3];
	struct addr addr;
};

/* A protocol, or GRE keys one after the other, and the slots that stand for them in a netns */
struct priv_grant {
	struct priv_header header;
	uint32_t netns;
	uint16_t slot; /* of the first */
	uint8_t protocol;
	uint8_t pad;
	uint32_t key;   /* the first */
	uint32_t count; /* keys; 1 where the protocol is not GRE */
};

/* A slice may use a protocol, or GRE keys */
struct priv_slice_grant {
	struct priv_header header;
	uint32_t slice;
	uint8_t protocol;
	uint8_t pad[3];
	uint32_t lo, hi; /* keys, both included; 0 where the protocol is not GRE */
};

#define PRIV_MEMBER_USER 1
#define PRIV_MEMBER_GROUP 2
#define PRIV_MEMBER_SNIFF_USER 3 /* may sniff the whole slice */
#define PRIV_MEMBER_SNIFF_GROUP 4
struct priv_member {
	struct priv_header header;
	uint32_t slice;
	uint32_t kind; /* PRIV_MEMBER_ */
	uint32_t id;   /* uid or gid */
	uint32_t pad;
};

struct priv_peer_netns {
	struct priv_header header;
	uint32_t slice;
	uint32_t pad;
	uint64_t cookie; /* SO_NETNS_COOKIE */
};

struct priv_deny {
	struct priv_header header;
	uint32_t slice;
	uint8_t len;
	uint8_t pad[3];
	struct addr addr;
};

struct priv_routes_news {
	struct priv_header header;
	uint32_t netns;
	uint32_t mtu; /* smallest MTU of its uplinks now */
};

/* What a user of a slice has, or wants: ports lo..hi */
struct priv_claim {
	uint32_t netns;
	uint32_t slice;
	uint32_t uid;
	uint8_t class;
	uint8_t address; /* row or PRIV_ANY_ADDRESS */
	uint8_t family;	 /* with PRIV_ANY_ADDRESS: AF_INET, AF_INET6 or AF_UNSPEC for both */
	uint8_t pad;
	uint16_t lo, hi;
	uint32_t pad2;
};

/* Hold the ports: all or none. The same request again adds a reference. */
struct priv_reserve {
	struct priv_header header;
	uint64_t cookie; /* the relay's own; comes back in the reply */
	struct priv_claim claim;
};

struct priv_reserved {
	struct priv_header header;
	uint64_t cookie;
	int32_t error; /* 0; EADDRINUSE kernel socket or another's; EACCES not the slice's; ENFILE, EMFILE: out of fds; EADDRNOTAVAIL */
	uint16_t port; /* the first port that was in the way */
	uint16_t pad;
};

/* One reference less on each of the ports; no reply. The last one starts the quarantine. */
struct priv_release {
	struct priv_header header;
	struct priv_claim claim;
};

/* Where the monitor's own sockets hold a port: for who wants to tell them from the host's */
struct priv_covered {
	struct priv_header header;
	uint32_t netns;
	uint8_t class;
	uint8_t pad;
	uint16_t port;
};

struct priv_covers {
	struct priv_header header;
	uint32_t netns;
	uint8_t class;
	uint8_t pad;
	uint16_t port;
	uint64_t addresses; /* set of rows; proxied ones are never held by sockets */
};

struct priv_route {
	struct priv_header header;
	uint32_t netns;
	uint32_t pad;
	struct addr destination;
};

struct priv_routed {
	struct priv_header header;
	uint32_t netns;
	int32_t error; /* 0, ENETUNREACH */
	struct addr destination;
	struct addr source;
	uint32_t mtu;
	uint32_t pad;
};

/*
 * Make a link: a pair of devices with one end in the client's network
 * namespace. Who the client is, and in which namespace, the monitor asks the
 * control socket itself: no client's fd comes this way. The ports must be held already, by the client's uid, on any address of the slice
 * and of both families; the monitor keeps them held as long as the link is there.
 */
struct priv_link {
	struct priv_header header;
	uint64_t cookie; /* the relay's own; comes back in the reply */
	uint32_t netns;
	uint32_t slice;
	uint32_t flags; /* STEER_LINK_ */
	uint16_t lo[STEER_LINK_CLASSES], hi[STEER_LINK_CLASSES]; /* host byte order, both included; hi 0: none */
	uint32_t pad[2];
};

struct priv_linked {
	struct priv_header header;
	uint64_t cookie;
	/*
	 * 0; EPERM: the namespace is not the client's own; EACCES: the client may not use the slice; EINVAL: no control
	 * socket of that slice; EBUSY: the namespace has a link already; EEXIST: it has a device of that name; ENOSPC: no more
	 * links for the slice; others: the kernel made no device
	 */
	int32_t error;
	uint32_t link; /* number, 1 .. STEER_LINKS_MAX - 1 */
	uint32_t mtu;  /* of the device */
	uint32_t pad;
};

#define PRIV_LINK_DEVICE "eth0" /* the client's end of a link */

/* A link is over; no reply */
struct priv_link_end {
	struct priv_header header;
	uint32_t netns;
	uint32_t link;
};

#define PRIV_MESSAGE_MAX 128

static_assert(sizeof(struct priv_netns) == 64, "no padding");
static_assert(sizeof(struct priv_address) == 32, "no padding");
static_assert(sizeof(struct priv_block) == 16, "no padding");
static_assert(sizeof(struct priv_slice_proxied) == 32, "no padding");
static_assert(sizeof(struct priv_covers) == 24, "no padding");
static_assert(STEER_ROWS_MAX <= 64, "a set of rows is a uint64_t");
static_assert(sizeof(struct priv_slice) == 80, "no padding");
static_assert(sizeof(struct priv_grant) == 24, "no padding");
static_assert(sizeof(struct priv_slice_grant) == 24, "no padding");
static_assert(sizeof(struct priv_claim) == 24, "no padding");
static_assert(sizeof(struct priv_reserve) == 40, "no padding");
static_assert(sizeof(struct priv_release) == 32, "no padding");
static_assert(sizeof(struct priv_routed) == 56, "no padding");
static_assert(sizeof(struct priv_link) == 48, "no padding");
static_assert(sizeof(struct priv_linked) == 32, "no padding");
static_assert(sizeof(struct priv_link_end) == 16, "no padding");

#endif
