/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policy.h: the verdict, slices and flows as the verdict sees them
 *
 * Pure: no I/O, no allocation, no global. The relay's answer counts;
 * libsaferaw asks the same code before it sends, so that a program learns of a
 * refusal at once.
 */
#ifndef SAFERAW_POLICY_H
#define SAFERAW_POLICY_H

#include "addr.h"
#include "steer.h"

/*
 * Every reason why a packet may not pass: X(symbol, name, errno, text).
 * Names are stable: they appear in JSON, metrics, logs and the manual.
 */
#define VERDICTS(X) \
	X(PASS, "pass", 0, "passes") \
	/* form of the packet (pkt.c) */ \
	X(SHORT, "short", EINVAL, "shorter than its headers") \
	X(VERSION, "version", EINVAL, "IP version is neither 4 nor 6") \
	X(HEADER_LENGTH, "header-length", EINVAL, "IP header length is wrong") \
	X(LENGTH, "length", EINVAL, "IP length disagrees with the packet's size") \
	X(CHECKSUM, "checksum", EINVAL, "IP header checksum is wrong") \
	X(EXTENSION, "extension", EINVAL, "IPv6 extension header chain is broken, too long or holds a header not allowed") \
	X(TRANSPORT, "transport", EINVAL, "transport header is short or inconsistent") \
	X(OPTION, "option", EINVAL, "IP options are malformed") \
	/* what may be sent (policy.c) */ \
	X(SOURCE_ROUTE, "source-route", EPERM, "source routing is not allowed") \
	X(FRAGMENT, "fragment", EPERM, "fragments are not allowed") \
	X(READ_ONLY, "read-only", EPERM, "the flow is read only") \
	X(PROTOCOL, "protocol", EPERM, "protocol is not the flow's") \
	X(ICMP_TYPE, "icmp-type", EPERM, "ICMP type is not echo or timestamp") \
	X(SOURCE, "source", EPERM, "source address is not the flow's") \
	X(PORT, "port", EPERM, "source port, ICMP id or GRE key is not the flow's") \
	X(REMOTE, "remote", EPERM, "destination is not the flow's remote") \
	X(LOOPBACK, "loopback", EPERM, "destination is a loopback address") \
	X(MULTICAST, "multicast", EPERM, "destination is multicast") \
	X(BROADCAST, "broadcast", EPERM, "destination is broadcast") \
	X(UNSPECIFIED, "unspecified", EPERM, "destination is unspecified") \
	X(LINK_LOCAL, "link-local", EPERM, "destination is link-local") \
	X(DENIED, "denied", EPERM, "destination is on the deny-list") \
	/* what the relay meets (shim/) */ \
	X(TOO_BIG, "too-big", EMSGSIZE, "larger than the path's MTU") \
	X(NO_ROUTE, "no-route", ENETUNREACH, "no route to the destination") \
	X(ROUTE_WAIT, "route-wait", EAGAIN, "too many packets wait for a route") \
	X(DORMANT, "dormant", EADDRNOTAVAIL, "the flow's address is not on the host") \
	X(TUN_FULL, "tun-full", ENOBUFS, "the kernel took no more packets") \
	X(QUEUE_FULL, "queue-full", ENOBUFS, "the flow's reader is too slow") \
	X(NO_FLOW, "no-flow", ENOENT, "no flow matches") \
	X(ERROR_UNWANTED, "error-unwanted", ENOENT, "ICMP error about a flow that did not ask for errors") \
	X(MARTIAN, "martian", EINVAL, "source address cannot be on the wire") \
	/* links */ \
	X(LOCAL, "local", EPERM, "destination is the host itself, and the slice is not local") \
	X(NO_LINK, "no-link", ENOENT, "comes from no link") \
	X(NO_MAPPING, "no-mapping", ENOENT, "nothing of the link is translated to the port") \
	X(NAPT_EXHAUSTED, "napt-exhausted", ENOBUFS, "the link has no port left to translate to") \
	/* fragments and extension headers (pkt.c, policy.c); new ones go behind the last: numbers are on the wire */ \
	X(FRAGMENT_LENGTH, "fragment-length", EINVAL, "fragment is empty, no multiple of 8 bytes or ends beyond 65,535") \
	X(TINY_FRAGMENT, "tiny-fragment", EINVAL, "first fragment does not hold all headers") \
	X(ATOMIC_FRAGMENT, "atomic-fragment", EINVAL, "IPv6 fragment header in a datagram that is whole") \
	X(ORPHAN_FRAGMENT, "orphan-fragment", EPERM, "later fragment without its allowed first") \
	X(OVERLAP, "overlap", EPERM, "later fragment reaches back into its first") \
	X(ROUTING_HEADER, "routing-header", EPERM, "IPv6 routing headers are not allowed") \
	X(HOME_ADDRESS, "home-address", EPERM, "IPv6 home address option is not allowed") \
	X(CHAIN_END, "chain-end", EINVAL, "IPv6 extension header chain ends before an upper-layer header") \
	/* read-only flows (readers.c) */ \
	X(COPY_LIMIT, "copy-limit", ENOBUFS, "there were too many copies of the slice's packets to be made at once") \
	/* protocols without ports (policy.c) */ \
	X(GRE, "gre", EPERM, "GRE without a key, with routing or of another version")

enum verdict {
#define X(symbol, name, error, text) VERDICT_##symbol,
	VERDICTS(X)
#undef X
	VERDICTS_N
};

const char *verdict_name(enum verdict verdict);
const char *verdict_text(enum verdict verdict);
int verdict_errno(enum verdict verdict);

#define POLICY_RANGES_MAX 16 /* port ranges of one slice, all classes together */
#define POLICY_DENY_MAX 32   /* prefixes on one slice's deny-list, the netns's included */

struct policy_range {
	uint8_t class;	 /* enum steer_class */
	uint16_t lo, hi; /* host byte order, both included */
};

#define POLICY_GRANTS_MAX 16 /* grants of one slice */

/* A protocol by number; GRE by key */
struct policy_grant {
	uint8_t protocol;
	uint32_t lo, hi; /* keys, host byte order, both included; both 0 where the protocol is not GRE */
};

/* What the verdict needs to know of a slice */
struct policy_slice {
	bool fragments; /* may send them */
	unsigned addresses, proxied, ranges, grants, denied;
	struct addr address[STEER_ADDRESSES_MAX]; /* own addresses that the slice may use and that are present */
	struct prefix prefix[STEER_PROXIED_MAX];  /* proxied: the slice's whole, with every port of each address */
	struct policy_range range[POLICY_RANGES_MAX];
	struct policy_grant grant[POLICY_GRANTS_MAX];
	struct prefix deny[POLICY_DENY_MAX];
};

/* What the verdict needs to know of a flow */
struct policy_flow {
	uint8_t class;	    /* enum steer_class; of a read-only flow also PROTO_CLASS_ANY */
	bool read_only;
	uint8_t family;	    /* AF_INET, AF_INET6; AF_UNSPEC for both (only with local unset) */
	struct addr local;  /* "::": any of the slice's own addresses of that family */
	uint8_t local_len;  /* bits of local that count, where it is a prefix; 0: all, it is one address */
	bool proxied;	    /* local is proxied */
	uint16_t lo, hi;    /* local ports or ids, host byte order, both included; not looked at with CLASS_GRANT */
	uint8_t protocol;   /* with CLASS_GRANT */
	uint32_t key;	    /* with CLASS_GRANT and GRE; else 0 */
	struct addr remote; /* "::": not connected */
	uint16_t remote_port; /* 0 with a remote: any port of that host */
};

struct pkt;

enum verdict policy_send(const struct policy_slice *slice, const struct policy_flow *flow, const struct pkt *pkt);
enum verdict policy_receive(const struct policy_flow *flow, const struct pkt *pkt);
bool policy_slice_owns(const struct policy_slice *slice, enum steer_class class, uint16_t lo, uint16_t hi);
bool policy_slice_granted(const struct policy_slice *slice, uint8_t protocol, uint32_t key);
bool policy_grantable(int ip_protocol);
bool policy_slice_has_address(const struct policy_slice *slice, const struct addr *addr);
const struct prefix *policy_slice_prefix(const struct policy_slice *slice, const struct addr *addr);
int policy_class(int ip_protocol);
int policy_protocol(enum steer_class class, int family);
const char *policy_class_name(enum steer_class class);

#endif
