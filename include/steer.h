/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer.h: what the BPF programs, the monitor and the relay share
 *
 * Each attached netns has its own set of these maps:
 *
 *   addresses  hash, own address -> row    monitor writes, BPF reads
 *   proxied    LPM trie, prefix -> row     monitor writes, BPF reads
 *   allowed    blocks, mmapable            monitor writes, BPF reads; never given to the relay
 *   open       blocks, mmapable            relay writes, BPF reads; zeroed by the monitor
 *   slices     array by slice number       monitor writes, BPF reads
 *   traffic    array by slice, mmapable    BPF and relay write counters
 *   denied     LPM trie, slice + prefix    monitor writes, BPF reads
 *   heartbeat  array of one, mmapable      monitor writes, BPF reads
 *   buckets    array by slice              BPF alone
 *   fragments  LRU hash                    BPF alone: first fragments that were steered
 *   sent       LRU hash                    BPF alone: first fragments that left
 *   grants     hash, protocol and key -> slot  monitor writes, BPF reads
 *   links      array by link number        monitor writes, BPF reads
 *   link_devices  hash, ifindex -> link    monitor writes, BPF reads
 *   link_ports hash, slice and ports -> link  monitor writes, BPF reads
 *   link_traffic  array by link, mmapable  BPF writes counters; the relay reads them
 *
 * A block is one (row, protocol class) and has an entry for each of
 * the 65,536 ports (or ICMP identifiers, in host byte order). It is an array of
 * one value, made by the monitor when a slice first has a port in it, and found
 * in an array of maps: where there is no block, nothing is allowed or open.
 */
#ifndef SAFERAW_STEER_H
#define SAFERAW_STEER_H

#include <linux/types.h>

/*
 * What a slice can have ports on is a row: an own address of the netns, or a
 * proxied prefix, which is routed to the host and belongs to one slice whole.
 */
#define STEER_ADDRESSES_MAX 32	 /* own addresses of one netns: rows 0 .. 31 */
#define STEER_PROXIED_MAX 32	 /* proxied prefixes of one netns: the rows behind */
#define STEER_ROWS_MAX (STEER_ADDRESSES_MAX + STEER_PROXIED_MAX)
#define STEER_SLICES_MAX 1024	 /* slice numbers 1 .. 1023; 0 is "nobody" */
#define STEER_PORTS 65536
#define STEER_RING 8192		 /* the packet TUN's queue, in packets */
#define STEER_STALE_NS 3000000000ULL /* a heartbeat older than this: hands off */
#define STEER_FRAGMENT_NS 2000000000ULL /* how long a later fragment may follow its first */

/* What a port number means. ICMP and ICMPv6 identifiers share a class: the address tells them apart. */
enum steer_class {
	CLASS_TCP,
	CLASS_UDP,
	CLASS_ICMP,
	CLASS_SCTP,
	CLASS_DCCP,
	CLASS_UDPLITE,
	CLASS_GRANT, /* GRE by key, other protocols by number: the "port" is a slot of `grants` */
	STEER_CLASSES
};

#define STEER_PORT_CLASSES CLASS_GRANT /* classes whose ports are in the packet; they come first */

#define STEER_BLOCKS (STEER_ROWS_MAX * STEER_CLASSES)
#define STEER_BLOCK(row, class) ((row) * STEER_CLASSES + (class))

/* An entry of `allowed`: the slice number, and whether the port's reservation is held */
#define STEER_SLICE_MASK 0x03ff
#define STEER_HELD 0x8000
struct steer_allowed {
	__u16 port[STEER_PORTS];
};

/* An entry of `open` */
#define STEER_CLOSED 0
#define STEER_PACKET_TUN 1
#define STEER_LINK 2 /* to the link whose block the port is in */
struct steer_open {
	__u8 port[STEER_PORTS];
};

/* A rate: cost of one unit (packet or byte) in 1/1024 ns, 0 for no limit; and how far ahead of the clock a burst may run */
struct steer_rate {
	__u64 cost_q10;
	__u64 burst_ns;
};

enum steer_bucket_name {
	BUCKET_IN_PACKETS,
	BUCKET_IN_BYTES,
	BUCKET_OUT_PACKETS,
	BUCKET_OUT_BYTES,
	STEER_BUCKETS
};

#define STEER_LOCAL 1u	   /* may reach sockets of the host itself */
#define STEER_FRAGMENTS 2u /* may send fragments */
struct steer_slice {
	__u32 flags;
	__u32 share; /* packets of this slice that may wait in the TUN's ring at once */
	struct steer_rate rate[STEER_BUCKETS];
};

struct steer_buckets {
	__u64 due_ns[STEER_BUCKETS]; /* theoretical arrival time of the next unit (GCRA) */
};

/*
 * A link: a client's own network namespace on the far side of a veth pair. Its
 * number is 1 to 4,095 within the netns. Blocks of ports begin at multiples of
 * STEER_LINK_UNIT and have a multiple of it as their size.
 */
#define STEER_LINKS_MAX 4096
#define STEER_LINK_CLASSES 3 /* CLASS_TCP, CLASS_UDP, CLASS_ICMP: what a link may speak */
#define STEER_LINK_UNIT 16

#define STEER_LINK_STRICT 1u /* a port outside the block is refused, not translated */
#define STEER_LINK_QUIET 2u  /* what the client's kernel answers for ports without a socket stays inside */
#define STEER_LINK_FLAGS 3u

struct steer_link {
	__u32 ifindex; /* of the host's end; 0: there is no such link */
	__u32 slice;
	__u32 flags; /* STEER_LINK_ */
	__u16 lo[STEER_LINK_CLASSES], hi[STEER_LINK_CLASSES]; /* both included; hi 0: none */
};

/* Key of `link_ports` */
struct steer_link_ports {
	__u32 slice;
	__u16 class;
	__u16 unit; /* port / STEER_LINK_UNIT */
};

/*
 * On the link TAP a packet has an Ethernet header, and the last two bytes of
 * its destination address are the number of the link that it comes from or
 * goes to, in network byte order, behind these four.
 */
#define STEER_TAP_PREFIX {0x02, 0x00, 0x00, 0x00}

/* The hardware address behind which everybody is for the programs of a link */
#define STEER_GATEWAY_MAC {0x02, 0x00, 0x00, 0x00, 0xff, 0xff}

/* Inside a link these stand for the host itself, whose own address is the client's there (RFC 7600 reserves the first) */
#define STEER_MAPPED4 0xc0000008 /* 192.0.0.8, host byte order */
#define STEER_MAPPED6_TOP 0x0064ff9b00010000 /* 64:ff9b:1::8 */
#define STEER_MAPPED6_BOTTOM 0x0000000000000008

/*
 * Why steering dropped a packet: X(symbol, name, text). The IN_ ones are
 * steer_in's; the rest is the backstop's, which a sound relay never meets. New
 * ones go behind the last: the numbers are part of the control protocol.
 */
#define STEER_REASONS(X) \
	X(IN_RATE, "steer-in-rate", "over the slice's receive limit") \
	X(IN_SHARE, "steer-in-share", "the slice's share of the receive ring is full") \
	X(OUT_STALE, "steer-out-stale", "the monitor is not alive") \
	X(OUT_HEADER, "steer-out-header", "IP header or extension chain broken or too short") \
	X(OUT_SOURCE, "steer-out-source", "source is no address of the netns, nor proxied") \
	X(OUT_PROTOCOL, "steer-out-protocol", "protocol not allowed") \
	X(OUT_TYPE, "steer-out-icmp-type", "ICMP type not allowed") \
	X(OUT_FRAGMENT, "steer-out-fragment", "fragments not allowed, or malformed") \
	X(OUT_OPTION, "steer-out-option", "source routing or home address option not allowed") \
	X(OUT_PORT, "steer-out-port", "source port belongs to no slice or is not held") \
	X(OUT_LOOPBACK, "steer-out-loopback", "destination is loopback, unspecified or an IPv4 address in an IPv6 one") \
	X(OUT_MULTICAST, "steer-out-multicast", "destination is multicast or broadcast") \
	X(OUT_DENIED, "steer-out-denied", "destination is on the deny-list") \
	X(OUT_LOCAL, "steer-out-local", "destination is the host itself, and the slice is not local") \
	X(OUT_NO_ROUTE, "steer-out-no-route", "no unicast route to the destination, or it is proxied and no flow is open there") \
	X(OUT_TOO_BIG, "steer-out-too-big", "larger than the uplink's MTU") \
	X(OUT_RATE, "steer-out-rate", "over the slice's send limit") \
	X(OUT_LINK_LOCAL, "steer-out-link-local", "destination is link-local") \
	X(OUT_TINY, "steer-out-tiny", "first fragment does not hold all headers") \
	X(OUT_ORPHAN, "steer-out-orphan", "later fragment without its allowed first") \
	X(OUT_OVERLAP, "steer-out-overlap", "later fragment reaches back into its first") \
	X(LINK_GONE, "steer-link-gone", "no such link") \
	X(LINK_VLAN, "steer-link-vlan", "VLAN tag on a link") \
	X(LINK_ETHERTYPE, "steer-link-ethertype", "neither IP nor ARP on a link") \
	X(LINK_ONLINK, "steer-link-onlink", "neighbour discovery or group membership of a link's kernel, not answered") \
	X(LINK_GSO_TYPE, "steer-link-gso-type", "segmentation on a link does not fit the headers") \
	X(LINK_GSO_SIZE, "steer-link-gso-size", "segments on a link are smaller than 500 bytes") \
	X(LINK_CSUM_START, "steer-link-csum-start", "checksum on a link does not begin at the transport header") \
	X(LINK_CSUM_OFFSET, "steer-link-csum-offset", "checksum on a link would be written to a wrong place") \
	X(LINK_PORT, "steer-link-port", "source port is not of the link's block, and the link is strict") \
	X(LINK_QUIETED, "steer-link-quiet", "a quiet link's kernel answered for a port without a socket") \
	X(LINK_SHARE, "steer-link-share", "the slice's share of what the broker has to translate is full")

enum steer_reason {
#define X(symbol, name, text) STEER_##symbol,
	STEER_REASONS(X)
#undef X
	STEER_REASONS_N
};
#define STEER_REASONS_MAX 32 /* rows that there is room for: whole cache lines */

/*
 * Traffic of one slice. `queued` counts packets that steer_in put into the
 * packet TUN's ring, `drained` those that the relay took out: their difference
 * is what waits. `tap_queued` and `tap_drained` are the same for the link
 * TAP. What BPF writes and what the relay writes have their own cache lines.
 * Slice 0 counts what belongs to nobody.
 */
struct steer_traffic {
	__u64 queued, tap_queued;
	__u64 pad0[6];
	__u64 drained, tap_drained;
	__u64 pad1[6];
	__u64 dropped[STEER_REASONS_MAX];
};

/* Traffic of one link. What is dropped is counted for its slice too. */
struct steer_link_traffic {
	__u64 rx_packets, rx_bytes; /* that went into the client's namespace; IP packets of wire size */
	__u64 tx_packets, tx_bytes; /* that came out of it and went on */
	__u64 from_relay, to_relay; /* packets of these that the relay had to do with */
	__u64 pad[2];
	__u64 dropped[STEER_REASONS_MAX];
};

struct steer_address {
	__u8 b[16];
};

/*
 * What has no ports of its own: a protocol, and for GRE the key (RFC 2890). Each
 * that some slice of the netns is granted has a slot, which stands where others
 * have a port. A slot is given to something else only after all others.
 */
#define STEER_GRANTS_MAX 1024 /* in one netns */
#define STEER_GRANT_SLOTS 4096 /* 1 .. 4095; 0 is none */
struct steer_grant {
	__u32 key; /* host byte order; 0 where the protocol is not GRE */
	__u8 protocol;
	__u8 pad[3];
};

/* Of the first two bytes of a GRE header (host byte order): those that must be as in STEER_GRE_KEYED, and the checksum's */
#define STEER_GRE_MUST 0x6c07 /* routing, key, strict source route, recursion, version (RFC 2784 2.2, RFC 2890) */
#define STEER_GRE_KEYED 0x2000
#define STEER_GRE_CHECKSUM 0x8000
#define STEER_GRE_SEQUENCE 0x1000

/* A destination that a slice may not send to */
struct steer_prefix {
	__u32 len; /* bits that count: STEER_PREFIX_LEN() */
	__u32 slice; /* number; 0: no slice of the netns may */
	struct steer_address addr;
};

#define STEER_PREFIX_LEN(bits) (32 + (bits)) /* the slice, and bits of the 128-bit form of the address */

/* A proxied prefix */
struct steer_proxied {
	__u32 len; /* bits that count, of the 128-bit form */
	struct steer_address addr;
};

struct steer_fragment {
	struct steer_address src, dst;
	__u32 id;
	__u32 protocol;
};

#endif
