/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proto.h: messages between a client and the relay (saferaw-protocol(7))
 *
 * SOCK_SEQPACKET, one record a message, host byte order except addresses
 * (network order, see addr.h). No padding: every field is at its natural
 * alignment, and the static_asserts below hold the sizes still. A request
 * carries an id of the client's choice; its one reply carries the same id.
 * Events carry id 0. The client sends no file descriptors.
 *
 * The relay takes a client's next request only when the client has read every
 * earlier reply (struct proto_opened is large enough to make the socket
 * unwritable until it is read), so at most one reply with an fd is in flight
 * for each client.
 */
#ifndef SAFERAW_PROTO_H
#define SAFERAW_PROTO_H

#include <assert.h>
#include <stdint.h>

#include "addr.h"
#include "policy.h"

#define PROTO_VERSION 1
#define PROTO_NAME_MAX 32	/* a slice's name with its NUL */
#define PROTO_SOCKET_SUFFIX ".sock" /* RUN_DIR/slices/NAME.sock */
#define PROTO_FLOWS_MAX 32	/* rows in one struct proto_flows */
#define PROTO_LINKS_MAX 16	/* rows in one struct proto_links_reply */
#define PROTO_MAPPINGS_MAX 64	/* rows in one struct proto_mappings_reply */

enum proto_type {
	PROTO_HELLO = 1,
	PROTO_INFO,
	PROTO_OPEN,
	PROTO_ROUTE,
	PROTO_STATS,
	PROTO_FLOWS,
	PROTO_PORT,
	PROTO_EVENT, /* relay to client only */
	PROTO_NETNS,
	PROTO_LINK,
	PROTO_LINKS,
	PROTO_MAPPINGS,
	PROTO_TYPES
};

struct proto_header {
	uint16_t type; /* enum proto_type; a reply has its request's type */
	uint16_t size; /* of the whole message, bytes */
	uint32_t id;
};

/* First message of a conversation, and the only one allowed before its reply */
struct proto_hello {
	struct proto_header header;
	uint32_t version;
	uint32_t features; /* bits that the client knows; none defined yet */
};

struct proto_hello_reply {
	struct proto_header header;
	int32_t error; /* 0, EPROTO (version), EPERM (uid), EUSERS (too many clients) */
	uint32_t version;
	uint32_t features;
	uint32_t pad;
	char slice[PROTO_NAME_MAX];
};

/* Any request without arguments: INFO, NETNS */
struct proto_request {
	struct proto_header header;
};

struct proto_prefix {
	struct addr addr;
	uint8_t len; /* of the 128-bit form: IPv4 /24 is 120 */
	uint8_t pad[3];
};

struct proto_range {
	uint8_t class; /* enum steer_class */
	uint8_t pad;
	uint16_t lo, hi;
};

struct proto_grant {
	uint8_t protocol;
	uint8_t pad[3];
	uint32_t lo, hi; /* keys of GRE, both included; else 0 */
};

#define PROTO_RIGHT_LOCAL 0x01	   /* may reach the host's own sockets */
#define PROTO_RIGHT_FRAGMENTS 0x02 /* may send fragments */

struct proto_info_reply {
	struct proto_header header;
	int32_t error;
	uint32_t mtu;	     /* smallest MTU of the netns's uplinks: what is no larger needs no PROTO_ROUTE */
	uint32_t flows, flows_max;
	uint32_t clients, clients_max;
	uint8_t rights;	     /* PROTO_RIGHT_ */
	uint8_t addresses, ranges, denied; /* rows used below */
	struct addr address[STEER_ADDRESSES_MAX];
	struct proto_range range[POLICY_RANGES_MAX];
	struct proto_prefix deny[POLICY_DENY_MAX];
	uint32_t grants; /* rows used below */
	struct proto_grant grant[POLICY_GRANTS_MAX];
	uint32_t proxied; /* rows used below */
	struct proto_prefix prefix[STEER_PROXIED_MAX]; /* the slice's whole, every port of each address */
};

#define PROTO_KIND_CONSUMER 1	/* reads and writes */
#define PROTO_KIND_SNIFFER 2	/* reads what is sent and received on ports; holds none */
#define PROTO_KIND_ICMP_ERROR 3 /* reads ICMP errors about ports */

#define PROTO_CLASS_ANY 0xff /* of a sniffer with port 0: every class */

#define PROTO_FLAG_META 0x01   /* struct saferaw_meta before each received packet */
#define PROTO_FLAG_ERRORS 0x02 /* ICMP errors about this flow arrive on it too; not with PROTO_KIND_ICMP_ERROR */
#define PROTO_FLAGS 0x03
#define PROTO_FLAG_ALL 0x80 /* in a row of FLOWS alone: a sniffer that sees flows of all uids */

struct proto_open {
	struct proto_header header;
	uint8_t kind;	  /* PROTO_KIND_ */
	uint8_t class;	  /* enum steer_class, or PROTO_CLASS_ANY */
	uint8_t family;	  /* AF_INET or AF_INET6; AF_UNSPEC for both, with local unset */
	uint8_t flags;	  /* PROTO_FLAG_ */
	uint16_t port;	  /* first local port or id; 0: a free one (free run, with count > 1); of a sniffer: all of them */
	uint16_t count;	  /* contiguous ports: 1 or more */
	struct addr local;  /* "::": any of the slice's own */
	struct addr remote; /* "::": none */
	uint16_t remote_port; /* 0 with a remote: any */
	uint8_t protocol; /* with CLASS_GRANT, where port and remote_port are 0 and count is 1; else 0 */
	uint8_t local_len; /* local is a proxied prefix: its length, as struct proto_prefix has it; 0: an address */
	uint32_t key;	  /* of GRE; else 0 */
};

/* With the flow's fd when error is 0. Padded on purpose, see above. */
struct proto_opened {
	struct proto_header header;
	int32_t error;	/* errno */
	uint16_t port;
	uint16_t count;
	uint64_t flow;	/* number of the flow, never used again while the relay lives */
	struct addr local;
	char text[64];	/* what was refused and why, for people; "" when granted */
	uint8_t pad[408];
};

struct proto_route {
	struct proto_header header;
	struct addr destination;
};

struct proto_route_reply {
	struct proto_header header;
	int32_t error; /* 0, ENETUNREACH */
	uint32_t mtu;
	struct addr source;
};

/* flow 0: the slice's own totals */
struct proto_stats {
	struct proto_header header;
	uint64_t flow;
};

struct proto_stats_reply {
	struct proto_header header;
	int32_t error; /* 0, ENOENT */
	uint16_t reasons, steer_reasons; /* rows used below, VERDICTS_N and STEER_REASONS_N of the relay */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t grants, refusals; /* of opens; slice totals only */
	uint64_t rx_refused[48]; /* by enum verdict */
	uint64_t tx_refused[48];
	uint64_t steer[STEER_REASONS_MAX];	 /* by enum steer_reason; slice totals only */
};

static_assert(VERDICTS_N <= 48, "struct proto_stats_reply has room for every verdict");
static_assert(STEER_REASONS_N <= STEER_REASONS_MAX, "struct proto_stats_reply has room for every reason");

/* The flows of this slice whose number is above `after`, in order */
struct proto_flows {
	struct proto_header header;
	uint64_t after;
};

struct proto_flow_row {
	uint64_t flow;
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t refused; /* both directions, all reasons */
	uint32_t uid;
	uint8_t kind, class, family, flags;
	uint16_t port, count;
	uint16_t remote_port;
	uint8_t dormant;
	uint8_t protocol; /* with CLASS_GRANT, where port is 0; else 0 */
	struct addr local, remote;
	uint32_t key;	  /* of GRE */
	uint8_t local_len; /* as in struct proto_open */
	uint8_t pad[3];
};

struct proto_flows_reply {
	struct proto_header header;
	int32_t error;
	uint32_t rows; /* 0: no more */
	struct proto_flow_row row[PROTO_FLOWS_MAX];
};

/* Who has a port: for `saferaw ports` and `saferaw explain` */
struct proto_port {
	struct proto_header header;
	uint8_t class;
	uint8_t family; /* with local unset: AF_INET, AF_INET6, AF_UNSPEC for both */
	uint16_t port;	/* with CLASS_GRANT the protocol */
	struct addr local; /* "::": any own one */
	uint32_t key;	  /* of GRE */
};

#define PROTO_PORT_FOREIGN 0 /* outside the slice's ranges */
#define PROTO_PORT_FREE 1
#define PROTO_PORT_OPEN 2
struct proto_port_reply {
	struct proto_header header;
	int32_t error;
	uint8_t state; /* PROTO_PORT_ */
	uint8_t held;  /* a socket of the broker's keeps the host off it there, on one address at least */
	uint8_t pad[2];
	uint32_t uid;  /* of the holder, when open */
	uint32_t flows; /* on this port */
	uint64_t netns; /* cookie of the slice's network namespace (SO_NETNS_COOKIE); 0: not known */
};

#define PROTO_EVENT_SHUTDOWN 1	   /* the broker stops; flows end */
#define PROTO_EVENT_REVOKED 2	   /* a flow no longer fits the configuration; its fd is at end of file */
#define PROTO_EVENT_ADDRESS_GONE 3 /* flows on addr are dormant */
#define PROTO_EVENT_ADDRESS_BACK 4
#define PROTO_EVENT_ROUTES 5	   /* forget what PROTO_ROUTE said */
#define PROTO_EVENT_MISSED 6	   /* events were lost while replies went unread: ask INFO again */
#define PROTO_EVENT_UNLINKED 7	   /* this conversation's link is gone; `flow` is its number */
struct proto_event {
	struct proto_header header;
	uint32_t event;
	uint32_t pad;
	uint64_t flow;
	struct addr addr;
};

/*
 * The slice's whole netns: its slices together, those that are gone included,
 * and what belongs to none of them. For root alone.
 */
struct proto_netns_reply {
	struct proto_header header;
	int32_t error; /* 0, EPERM */
	uint16_t reasons, steer_reasons; /* rows used below, as in struct proto_stats_reply */
	char name[PROTO_NAME_MAX];
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_refused[48]; /* by enum verdict */
	uint64_t tx_refused[48];
	uint64_t steer[STEER_REASONS_MAX]; /* by enum steer_reason */
	uint64_t unknown_rx_refused[48];
	uint64_t unknown_steer[STEER_REASONS_MAX];
};

/*
 * A link: eth0 in the network namespace in which the client's control socket was
 * made, which must be one of his own. It lives as long as the conversation, which has one link at most. Each class has
 * its own block of ports: from lo on, `count` of them. lo..direct_hi the client
 * may use as they are, the rest is where its other ports are translated to.
 */
#define PROTO_LINK_STRICT STEER_LINK_STRICT /* no translation: another port is refused; direct_hi is hi */
#define PROTO_LINK_QUIET STEER_LINK_QUIET   /* what the client's kernel says of ports without a socket stays inside */
#define PROTO_LINK_COUNT 256		    /* ports of a block when the client does not say */

struct proto_link {
	struct proto_header header;
	uint32_t flags;	/* PROTO_LINK_ */
	uint16_t count;	/* ports of each block, rounded up to STEER_LINK_UNIT; 0: PROTO_LINK_COUNT */
	uint16_t port[STEER_LINK_CLASSES]; /* first port, a multiple of STEER_LINK_UNIT; 0: choose, the same for all where possible */
};

struct proto_block {
	uint16_t lo, hi; /* hi 0: the slice has no ports of the class */
	uint16_t direct_hi;
	uint16_t pad;
};

struct proto_link_reply {
	struct proto_header header;
	int32_t error; /* errno */
	uint32_t link; /* number, 1 to STEER_LINKS_MAX - 1 */
	uint32_t mtu;
	uint8_t addresses; /* rows used below */
	uint8_t local;	   /* the host's own sockets are at PROTO_LINK_HOST4 and PROTO_LINK_HOST6 */
	uint8_t pad[2];
	struct proto_block block[STEER_LINK_CLASSES];
	struct addr address[STEER_ADDRESSES_MAX]; /* the slice's that are present */
	char text[64]; /* what was refused and why, for people; "" when granted */
};

/* The host as seen from a link, where its own addresses are the link's */
#define PROTO_LINK_HOST4 "192.0.0.8"	 /* RFC 7600: no other host has it */
#define PROTO_LINK_HOST6 "64:ff9b:1::8" /* RFC 8215: local use */

/* The links of this slice whose number is above `after`, in order */
struct proto_links {
	struct proto_header header;
	uint32_t after;
	uint32_t pad;
};

struct proto_link_row {
	uint32_t link;
	uint32_t uid;
	uint32_t flags;
	uint32_t mappings; /* in use */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes; /* of all */
	uint64_t rx_translated, tx_translated; /* packets, of these */
	uint64_t refused; /* both directions, all reasons, by steering and by the relay */
	uint64_t created, expired, displaced, exhausted; /* mappings; of exhausted: packets that got none */
	struct proto_block block[STEER_LINK_CLASSES];
};

struct proto_links_reply {
	struct proto_header header;
	int32_t error;
	uint32_t rows; /* 0: no more */
	struct proto_link_row row[PROTO_LINKS_MAX];
};

/* The mappings of a link behind the one at (class, outer), in order; the first ones: class 0, outer 0 */
struct proto_mappings {
	struct proto_header header;
	uint32_t link;
	uint16_t class;
	uint16_t outer;
};

struct proto_mapping_row {
	uint8_t class;
	uint8_t host; /* its remote is the host itself */
	uint16_t inner, outer; /* ports or ids */
	uint16_t remote_port; /* of the last packet sent */
	uint32_t age_ms, idle_ms;
	struct addr local, remote;
};

struct proto_mappings_reply {
	struct proto_header header;
	int32_t error; /* 0, ENOENT: no such link of the slice */
	uint32_t rows; /* 0: no more */
	struct proto_mapping_row row[PROTO_MAPPINGS_MAX];
};

#define PROTO_MESSAGE_MAX 4096

static_assert(sizeof(struct proto_hello_reply) == 56, "no padding");
static_assert(sizeof(struct proto_info_reply) == 2124, "no padding");
static_assert(sizeof(struct proto_open) == 56, "no padding");
static_assert(sizeof(struct proto_opened) == 512, "large enough to fill a minimal socket buffer");
static_assert(sizeof(struct proto_flow_row) == 104, "no padding");
static_assert(sizeof(struct proto_port_reply) == 32, "no padding");
static_assert(sizeof(struct proto_flows_reply) <= PROTO_MESSAGE_MAX, "fits a message");
static_assert(sizeof(struct proto_stats_reply) <= PROTO_MESSAGE_MAX, "fits a message");
static_assert(sizeof(struct proto_netns_reply) == 1744, "no padding");
static_assert(sizeof(struct proto_link) == 20, "no padding");
static_assert(sizeof(struct proto_link_reply) == 624, "no padding");
static_assert(sizeof(struct proto_link_row) == 128, "no padding");
static_assert(sizeof(struct proto_mapping_row) == 48, "no padding");
static_assert(sizeof(struct proto_mappings_reply) <= PROTO_MESSAGE_MAX, "fits a message");

#endif
