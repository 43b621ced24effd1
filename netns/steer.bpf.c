/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer.bpf.c: the tc programs that move packets between the uplinks and the packet TUN
 *
 * steer_in sits on the ingress of every uplink, lo included. It takes a packet
 * off the host's path only when everything holds: the monitor is alive, the
 * destination is an address of this namespace or in a proxied prefix, its port belongs to a slice
 * (`allowed`), the reservation of the port is held, and the relay has opened it
 * (`open`). Then the packet goes into the TUN, or is dropped because the slice
 * is over its share of the ring or its rate. All other traffic is answered
 * with TC_ACT_UNSPEC: the next program, and then the host, see it as if
 * steering were not there.
 *
 * steer_out sits on the ingress of the TUN and sees what the relay wrote. It
 * believes nothing of it: only a packet from such an address and
 * from a held port of a slice leaves, and only to a destination that is
 * neither special nor denied. The namespace's own addresses are reached
 * through the ingress of lo, where steer_in sees the packet again, so that two
 * flows of one host can talk; so are proxied addresses, which would come back from the
 * wire, where a flow is open; all others by a route look-up on behalf of the
 * helper device. It answers redirect or drop and nothing else, so no packet of
 * the relay ever enters the host's own forwarding path.
 *
 * steer_drop stands behind steer_out for the time when steer_out is gone (a
 * tcx link goes with the monitor) while the relay still holds the TUN.
 *
 * steer_link.bpf.h has the edge of links, steer_maps.bpf.h the maps,
 * steer_packet.bpf.h reads the headers. What many paths reach, or loops, is a global
 * function: it is verified once, by itself. Links need CAP_PERFMON besides CAP_BPF and
 * CAP_NET_ADMIN, as they read the kernel's own description of a packet.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define LO_IFINDEX 1 /* in every network namespace */
#define FAMILY_V4 2  /* AF_INET and AF_INET6, which no UAPI header defines */
#define FAMILY_V6 10

int link_in(struct __sk_buff *skb, __u32 slice, __u32 number); /* steer_link.bpf.h */

/**
 * alive() - has the monitor shown a sign of life of late?
 *
 * Return: false if the heartbeat is stale.
 */
static __always_inline bool alive(void)
{
	__u32 zero = 0;
	__u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	return beat && (__s64)(bpf_ktime_get_ns() - *(volatile __u64 *)beat) <= (__s64)STEER_STALE_NS;
}

/**
 * local_index() - index of one of this namespace's own addresses
 * @address: as it stands in a packet
 * @version: IP version of that packet
 *
 * Return: index into the blocks, or NOT_FOUND.
 */
static __always_inline int local_index(const union address *address, __u8 version)
{
	__u32 *index;

	if (is_loopback(address, version))
		return NOT_FOUND;
	index = bpf_map_lookup_elem(&addresses, address);
	return index ? (int)*index : NOT_FOUND;
}

/**
 * row_of() - row of an own address, or of the proxied prefix that an address is in
 * @address: as it stands in a packet
 * @version: IP version of that packet
 *
 * Return: index into the blocks, or NOT_FOUND.
 */
__noinline int row_of(const union address *address, __u8 version)
{
	struct steer_proxied prefix = {.len = 128};
	union address own; /* on the stack: Linux 6.1 takes no argument of such a function as a key */
	__u32 *row;
	int index;

	if (!address)
		return NOT_FOUND;
	own = *address;
	index = local_index(&own, version);
	if (index >= 0 || is_loopback(&own, version))
		return index;
	prefix.addr = own.key;
	row = bpf_map_lookup_elem(&proxied, &prefix);
	return row ? (int)*row : NOT_FOUND;
}

/**
 * is_proxied() - is a row one of proxied prefixes?
 * @row: index
 */
static __always_inline bool is_proxied(__u32 row)
{
	return row >= STEER_ADDRESSES_MAX;
}

/**
 * has_id() - is this an ICMP message that a flow on its identifier gets?
 * @row: that it is for
 * @version: IP version
 * @type: ICMP type
 *
 * Requests to an own address are the host's to answer. Nobody but a flow answers on a proxied one.
 *
 * Return: false for all but replies, and requests to a proxied address.
 */
static __always_inline bool has_id(__u32 row, __u8 version, __u8 type)
{
	return is_reply(version, type) || (is_proxied(row) && is_request(version, type));
}

/**
 * port_index() - a port as an index into a block
 * @port: host byte order
 *
 * The verifier of Linux 6.1 forgets how wide a value is when its byte order changes. The compiler does not, and
 * would leave out a mask that is written in C.
 *
 * Return: the port
 */
static __always_inline __u64 port_index(__u16 port)
{
	__u64 index = port;

	asm volatile("%0 &= 0xffff" : "+r"(index));
	return index;
}

/**
 * owner() - the slice that holds a port
 * @index: of the local address or its prefix
 * @end: class and port
 *
 * Return: slice number, 0 if the port belongs to nobody or is not held.
 */
static __always_inline __u32 owner(__u32 index, const struct end *end)
{
	__u32 number = STEER_BLOCK(index, end->class), zero = 0;
	void *block = bpf_map_lookup_elem(&allowed, &number);
	struct steer_allowed *row;
	__u16 entry;

	if (!block)
		return 0;
	row = bpf_map_lookup_elem(block, &zero);
	if (!row)
		return 0;
	entry = row->port[port_index(end->port)];
	return entry & STEER_HELD ? entry & STEER_SLICE_MASK : 0;
}

/**
 * opened() - what the relay says of a port
 * @index: of the local address or its prefix
 * @end: class and port
 *
 * Return: STEER_CLOSED, STEER_PACKET_TUN or STEER_LINK.
 */
static __always_inline __u8 opened(__u32 index, const struct end *end)
{
	__u32 number = STEER_BLOCK(index, end->class), zero = 0;
	void *block = bpf_map_lookup_elem(&open, &number);
	struct steer_open *row;

	if (!block)
		return STEER_CLOSED;
	row = bpf_map_lookup_elem(block, &zero);
	return row ? row->port[port_index(end->port)] : STEER_CLOSED;
}

/**
 * link_at() - the link whose block a port is in
 * @slice: that holds the port
 * @end: class and port
 *
 * Return: number, 0 for none.
 */
static __always_inline __u32 link_at(__u32 slice, const struct end *end)
{
	struct steer_link_ports key = {.slice = slice, .class = end->class, .unit = end->port / STEER_LINK_UNIT};
	__u32 *number = bpf_map_lookup_elem(&link_ports, &key);

	return number ? *number : 0;
}

/**
 * steered() - where packets to a port go
 * @index: of the local address or its prefix
 * @end: class and port
 * @link: result: number of the link, 0 for the packet TUN
 *
 * Return: slice number, 0 if the port is not held or neither flow nor link is open on it.
 */
static __always_inline __u32 steered(__u32 index, const struct end *end, __u32 *link)
{
	__u8 state = opened(index, end);
	__u32 slice;

	*link = 0;
	if (state != STEER_PACKET_TUN && state != STEER_LINK)
		return 0;
	slice = owner(index, end);
	if (state == STEER_PACKET_TUN)
		return slice;
	*link = link_at(slice, end);
	return *link ? slice : 0;
}

/**
 * refuse() - drop a packet and count it
 * @slice: that it is counted for, 0 for nobody
 * @reason: why
 *
 * Return: TC_ACT_SHOT
 */
__noinline int refuse(__u32 slice, __u32 reason)
{
	struct steer_traffic *t = bpf_map_lookup_elem(&traffic, &slice);

	if (t && reason < STEER_REASONS_N)
		__sync_fetch_and_add(&t->dropped[reason], 1);
	return TC_ACT_SHOT;
}

/**
 * packets_in() - how many packets of wire size is this?
 * @skb: packet, possibly one of GRO's or GSO's super-packets
 *
 * Return: count, at least 1.
 */
static __always_inline __u32 packets_in(struct __sk_buff *skb)
{
	__u32 size = skb->gso_size;

	if (!size)
		return 1;
	return skb->gso_segs ? skb->gso_segs : skb->len / size + 1;
}

/**
 * charge() - advance a token bucket (GCRA)
 * @due: theoretical arrival time, ns
 * @now: ns
 * @cost: ns
 *
 * If another CPU has moved @due meanwhile, it is up to date and the cost is
 * merely added: nothing is lost, and the limit is overrun by at most one
 * packet for each CPU.
 */
static __always_inline void charge(__u64 *due, __u64 now, __u64 cost)
{
	__u64 old = *(volatile __u64 *)due;

	if (!cost)
		return;
	if (__sync_val_compare_and_swap(due, old, (old > now ? old : now) + cost) != old)
		__sync_fetch_and_add(due, cost);
}

/**
 * rate_ok() - check and charge a slice's packet and byte rate
 * @conf: the slice
 * @slice: its number
 * @first: BUCKET_IN_PACKETS or BUCKET_OUT_PACKETS; the byte bucket follows it
 * @skb: packet
 *
 * Return: false if it is over one of them; then neither is charged.
 */
static __always_inline bool rate_ok(const struct steer_slice *conf, __u32 slice, const int first,
				    struct __sk_buff *skb)
{
	const struct steer_rate *packets = &conf->rate[first], *bytes = &conf->rate[first + 1];
	struct steer_buckets *b;
	__u64 now, *due;

	if (!packets->cost_q10 && !bytes->cost_q10)
		return true;
	b = bpf_map_lookup_elem(&buckets, &slice);
	if (!b)
		return false;
	due = &b->due_ns[first];
	now = bpf_ktime_get_ns();
	if (packets->cost_q10 && due[0] > now + packets->burst_ns)
		return false;
	if (bytes->cost_q10 && due[1] > now + bytes->burst_ns)
		return false;
	charge(&due[0], now, packets->cost_q10 * packets_in(skb) >> 10);
	charge(&due[1], now, bytes->cost_q10 * skb->len >> 10);
	return true;
}

/**
 * admit() - put a packet into the TUN, if its slice has room
 * @skb: packet
 * @slice: that gets it
 *
 * Return: TC action
 */
static __always_inline int admit(struct __sk_buff *skb, __u32 slice)
{
	struct steer_slice *conf = bpf_map_lookup_elem(&slices, &slice);
	struct steer_traffic *t = bpf_map_lookup_elem(&traffic, &slice);
	__s64 waiting;

	if (!conf || !t)
		return TC_ACT_SHOT;
	/* signed: the relay may set `drained` before a packet that is counted reaches the ring */
	waiting = *(volatile __u64 *)&t->queued - *(volatile __u64 *)&t->drained;
	if (waiting >= (__s64)conf->share)
		return refuse(slice, STEER_IN_SHARE);
	if (!rate_ok(conf, slice, BUCKET_IN_PACKETS, skb))
		return refuse(slice, STEER_IN_RATE);
	__sync_fetch_and_add(&t->queued, packets_in(skb));
	return bpf_redirect(tun_ifindex, 0);
}

/**
 * grant_slot() - what stands for a port where the protocol has none
 * @skb: packet
 * @p: its headers; of GRE the key is read, which only packets as in RFC 2890 have
 *
 * Return: slot, 0 when no slice is granted the protocol or the key.
 */
__noinline int grant_slot(struct __sk_buff *skb, const struct packet *p)
{
	struct steer_grant grant = {};
	__be16 flags;
	__be32 key;
	__u32 *slot;

	if (!p)
		return 0;
	grant.protocol = p->protocol;
	if (p->protocol == IPPROTO_GRE) {
		__u32 at = p->transport + GRE_HEADER;

		if (!load(skb, p->transport, &flags, sizeof(flags)) ||
		    (flags & bpf_htons(STEER_GRE_MUST)) != bpf_htons(STEER_GRE_KEYED))
			return 0;
		if (flags & bpf_htons(STEER_GRE_CHECKSUM))
			at += sizeof(key);
		if (!load(skb, at, &key, sizeof(key)))
			return 0;
		grant.key = bpf_ntohl(key);
	}
	slot = bpf_map_lookup_elem(&grants, &grant);
	return slot ? *slot : 0;
}

/**
 * grant_end() - the end, of either side, of a packet whose protocol has no ports
 * @skb: packet
 * @p: its headers
 * @end: result
 *
 * Return: false if no slice is granted the protocol or the key.
 */
static __always_inline bool grant_end(struct __sk_buff *skb, const struct packet *p, struct end *end)
{
	__u32 slot = grant_slot(skb, p);

	end->class = CLASS_GRANT;
	end->port = slot;
	return slot;
}

/**
 * inner_end() - the local end that an ICMP error is about
 * @skb: packet
 * @p: its headers
 * @end: result
 *
 * Return: false if the inner packet is not one that p->dst could have sent.
 */
static __always_inline bool inner_end(struct __sk_buff *skb, const struct packet *p, struct end *end)
{
	__u32 base = p->transport + ICMP_HEADER;
	struct packet inner = {};
	union transport head;
	int class;

	if (p->version == 4 ? !parse_v4(skb, base, &inner) : !parse_v6(skb, base, &inner))
		return false;
	if (inner.later || inner.src.half[0] != p->dst.half[0] || inner.src.half[1] != p->dst.half[1])
		return false;
	class = class_of(&inner);
	if (class < 0)
		return grant_end(skb, &inner, end);
	if (!load(skb, inner.transport, &head, sizeof(head)))
		return false;
	if (class == CLASS_ICMP && !is_request(inner.version, head.icmp.type) &&
	    !is_reply(inner.version, head.icmp.type))
		return false;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head.icmp.id : head.port.source);
	return true;
}

/**
 * receiver() - the local end that a packet is for
 * @skb: packet
 * @p: its headers, of an unfragmented packet or first fragment
 * @row: of its destination
 * @end: result
 *
 * Return: false if it has none that could be steered.
 */
static __always_inline bool receiver(struct __sk_buff *skb, const struct packet *p, __u32 row, struct end *end)
{
	int class = class_of(p);
	union transport head;

	if (class < 0)
		return grant_end(skb, p, end);
	if (!load(skb, p->transport, &head, sizeof(head)))
		return false;
	if (class == CLASS_ICMP && is_error(p->version, head.icmp.type))
		return inner_end(skb, p, end);
	if (class == CLASS_ICMP && !has_id(row, p->version, head.icmp.type))
		return false;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head.icmp.id : head.port.dest);
	return true;
}

/**
 * fragment_key() - what the fragments of one datagram have in common
 * @p: a fragment
 * @key: result
 */
static __always_inline void fragment_key(const struct packet *p, struct steer_fragment *key)
{
	key->src = p->src.key;
	key->dst = p->dst.key;
	key->id = p->fragment_id;
	/* for IPv6 the first fragment's chain may go on behind the fragment header, a later one's cannot be seen */
	key->protocol = p->version == 4 ? p->protocol : IPPROTO_FRAGMENT;
}

/**
 * note_first() - remember (or forget) whose a first fragment is
 * @map: `fragments`, `sent` or `link_sent`
 * @p: first fragment
 * @owner: who gets or sends it, slice 0 for nobody; the rest is filled in
 */
static __always_inline void note_first(void *map, const struct packet *p, struct fragment_owner *owner)
{
	struct steer_fragment key;

	fragment_key(p, &key);
	if (!owner->slice) {
		bpf_map_delete_elem(map, &key);
		return;
	}
	owner->end = fragment_end(p);
	owner->time_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(map, &key, owner, BPF_ANY);
}

/**
 * first_of() - the first fragment that a later one follows
 * @map: `fragments`, `sent` or `link_sent`
 * @p: later fragment
 *
 * Return: what is remembered of it, NULL if that is nothing or too old.
 */
static __always_inline struct fragment_owner *first_of(void *map, const struct packet *p)
{
	struct fragment_owner *first;
	struct steer_fragment key;

	fragment_key(p, &key);
	first = bpf_map_lookup_elem(map, &key);
	return first && bpf_ktime_get_ns() - first->time_ns <= STEER_FRAGMENT_NS ? first : NULL;
}

/**
 * source_ok() - could a remote host have sent this?
 * @skb: packet
 * @p: its headers
 *
 * Return: false if its source is special, or an own or proxied address on another device than lo.
 */
static __always_inline bool source_ok(struct __sk_buff *skb, const struct packet *p)
{
	if (is_loopback(&p->src, p->version) || is_multicast(&p->src, p->version))
		return false;
	return skb->ifindex == LO_IFINDEX || row_of(&p->src, p->version) < 0;
}

/**
 * steer_in() - ingress of an uplink: packets for open flows go into the TUN, those for links into their namespaces
 * @skb: packet
 *
 * steer_out brings to lo what is for a flow on a proxied address. When the flow
 * has closed on the way, the host would forward the packet: it goes no further.
 *
 * Return: TC_ACT_UNSPEC for everything that is not ours.
 */
SEC("tc")
int steer_in(struct __sk_buff *skb)
{
	struct fragment_owner *first, to = {};
	struct packet p = {};
	struct end end;
	int index;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || !parse(skb, &p) || p.on_way)
		return TC_ACT_UNSPEC;
	index = row_of(&p.dst, p.version);
	if (index < 0 || !alive() || !source_ok(skb, &p))
		return TC_ACT_UNSPEC;
	if (p.later) {
		first = first_of(&fragments, &p);
		if (first)
			to = *first;
	} else {
		if (receiver(skb, &p, index, &end))
			to.slice = steered(index, &end, &to.link);
		if (p.more)
			note_first(&fragments, &p, &to);
	}
	if (!to.slice && is_proxied(index) && skb->ifindex == LO_IFINDEX)
		return refuse(0, STEER_OUT_NO_ROUTE);
	if (!to.slice)
		return TC_ACT_UNSPEC;
	return to.link ? link_in(skb, to.slice, to.link) : admit(skb, to.slice);
}

/**
 * form() - is a packet well-formed, and without what nobody may send?
 * @skb: packet
 * @p: its headers
 * @length: bytes that there are from the IP header on
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason form(struct __sk_buff *skb, const struct packet *p, __u32 length)
{
	if (p->length != length || p->transport > length) /* an extension header may be cut off */
		return STEER_OUT_HEADER;
	if (p->routing || p->home)
		return STEER_OUT_OPTION;
	if (p->fragment && fragment_reason(p) != STEER_REASONS_N)
		return STEER_OUT_FRAGMENT;
	return p->options ? options_reason(skb, p->transport) : STEER_REASONS_N;
}

/**
 * is_tiny() - does a first fragment lack a part of the transport header?
 * @skb: packet
 * @p: its headers
 * @class: of its protocol
 *
 * What is lacking would come in a fragment that nobody judges (RFC 1858).
 *
 * Return: true if it does.
 */
static __always_inline bool is_tiny(struct __sk_buff *skb, const struct packet *p, int class)
{
	__u32 left = p->length - p->transport, at = class == CLASS_TCP ? TCP_DATA_OFFSET : DCCP_DATA_OFFSET;
	__u8 words;

	if (p->length < p->transport || left < header_min(class))
		return true;
	if (class != CLASS_TCP && class != CLASS_DCCP)
		return false;
	if (!load(skb, p->transport + at, &words, sizeof(words)))
		return true;
	return (class == CLASS_TCP ? words >> 4 : words) * 4U > left;
}

/**
 * is_cut() - does a first fragment lack a part of a GRE header?
 * @skb: packet
 * @p: its headers; of GRE with a key
 *
 * Return: true if it does.
 */
static __always_inline bool is_cut(struct __sk_buff *skb, const struct packet *p)
{
	__u32 size = GRE_HEADER + GRE_FIELD;
	__be16 flags;

	if (p->protocol != IPPROTO_GRE || !load(skb, p->transport, &flags, sizeof(flags)))
		return false;
	size += flags & bpf_htons(STEER_GRE_CHECKSUM) ? GRE_FIELD : 0;
	size += flags & bpf_htons(STEER_GRE_SEQUENCE) ? GRE_FIELD : 0;
	return p->length < p->transport + size;
}

/**
 * sender() - the local end that a packet claims to come from
 * @skb: packet
 * @p: its headers, of no later fragment
 * @head: result: its transport header; zero where the protocol has no ports
 * @end: result
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason sender(struct __sk_buff *skb, const struct packet *p, union transport *head,
						struct end *end)
{
	int class = class_of(p);

	if (class < 0 && !grant_end(skb, p, end))
		return STEER_OUT_PROTOCOL;
	if (p->fragment && (class < 0 ? is_cut(skb, p) : is_tiny(skb, p, class)))
		return STEER_OUT_TINY;
	head->whole = 0;
	if (class >= 0 && !load(skb, p->transport, head, sizeof(*head)))
		return STEER_OUT_HEADER;
	if (class < 0)
		return STEER_REASONS_N;
	end->class = class;
	end->port = bpf_ntohs(class == CLASS_ICMP ? head->icmp.id : head->port.source);
	if (class == CLASS_ICMP && !is_request(p->version, head->icmp.type) && !is_reply(p->version, head->icmp.type))
		return STEER_OUT_TYPE;
	return STEER_REASONS_N;
}

/**
 * follow_sent() - the slice that sends a later fragment
 * @p: it
 * @slice: result
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason follow_sent(const struct packet *p, __u32 *slice)
{
	struct fragment_owner *first = first_of(&sent, p);

	if (!first)
		return STEER_OUT_ORPHAN;
	*slice = first->slice;
	return p->from < first->end ? STEER_OUT_OVERLAP : STEER_REASONS_N;
}

/**
 * sending_slice() - the slice that a packet of the relay is from
 * @skb: packet
 * @p: its headers
 * @head: result: its transport header, unless it is a later fragment
 * @slice: result; also where the packet is refused, if it is known then
 *
 * Return: why it may not leave, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason sending_slice(struct __sk_buff *skb, const struct packet *p,
						       union transport *head, __u32 *slice)
{
	int index = row_of(&p->src, p->version);
	enum steer_reason reason;
	struct end end;

	if (index < 0)
		return STEER_OUT_SOURCE;
	reason = form(skb, p, skb->len);
	if (reason != STEER_REASONS_N)
		return reason;
	if (p->later)
		return follow_sent(p, slice);
	reason = sender(skb, p, head, &end);
	if (reason != STEER_REASONS_N)
		return reason;
	*slice = owner(index, &end);
	return *slice ? STEER_REASONS_N : STEER_OUT_PORT;
}

/**
 * is_denied() - is an address on a deny-list?
 * @address: address
 * @slice: whose list; 0 for the one of the whole namespace
 *
 * Return: true if it is.
 */
static __always_inline bool is_denied(const union address *address, __u32 slice)
{
	struct steer_prefix prefix = {.len = STEER_PREFIX_LEN(128), .slice = slice, .addr = address->key};

	return bpf_map_lookup_elem(&denied, &prefix);
}

/**
 * destination() - may a slice send there at all?
 * @p: headers
 * @slice: number
 *
 * Return: why not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason destination(const struct packet *p, __u32 slice)
{
	if (is_loopback(&p->dst, p->version))
		return STEER_OUT_LOOPBACK;
	if (is_multicast(&p->dst, p->version))
		return STEER_OUT_MULTICAST;
	if (is_link_local(&p->dst, p->version))
		return STEER_OUT_LINK_LOCAL;
	if (is_denied(&p->dst, 0) || is_denied(&p->dst, slice))
		return STEER_OUT_DENIED;
	return STEER_REASONS_N;
}

/**
 * send_local() - hand a packet to this namespace's own lo
 * @skb: packet
 * @slice: that sends it
 *
 * Return: TC action
 */
static __always_inline int send_local(struct __sk_buff *skb, __u32 slice)
{
	__be16 ethertype = skb->protocol;

	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return refuse(slice, STEER_OUT_TOO_BIG);
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &ethertype, sizeof(ethertype), 0))
		return refuse(slice, STEER_OUT_HEADER);
	return bpf_redirect(LO_IFINDEX, BPF_F_INGRESS);
}

/* Where a packet leaves */
struct hop {
	__u32 ifindex;
	struct bpf_redir_neigh neigh;
};

/**
 * route() - find out where a packet leaves
 * @skb: packet
 * @p: its headers
 * @head: its transport header, unless it is a later fragment
 * @size: of the largest packet that becomes of it, bytes from the IP header on
 * @hop: result, zeroed by the caller
 *
 * All fragments of a datagram go the same way: by addresses alone.
 *
 * Return: why it does not, STEER_REASONS_N if there is nothing wrong.
 */
static __always_inline enum steer_reason route(struct __sk_buff *skb, const struct packet *p,
					       const union transport *head, __u32 size, struct hop *hop)
{
	struct bpf_fib_lookup fib = {.ifindex = helper_ifindex, .l4_protocol = p->protocol};
	__u32 mtu = size;
	long result;

	if (!p->fragment && class_of(p) != CLASS_ICMP) {
		fib.sport = head->port.source;
		fib.dport = head->port.dest;
	}
	if (p->version == 4) {
		fib.family = FAMILY_V4;
		fib.tos = p->tos;
		fib.ipv4_src = p->src.word[3];
		fib.ipv4_dst = p->dst.word[3];
	} else {
		fib.family = FAMILY_V6;
		fib.flowinfo = p->flow;
		__builtin_memcpy(fib.ipv6_src, &p->src, sizeof(p->src));
		__builtin_memcpy(fib.ipv6_dst, &p->dst, sizeof(p->dst));
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return STEER_OUT_TOO_BIG;
	/* an unresolved neighbour is resolved by redirect_neigh */
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return STEER_OUT_NO_ROUTE;
	/* a unicast route through lo or one of our own devices must not get round send_local() */
	if (fib.ifindex == LO_IFINDEX || fib.ifindex == tun_ifindex || fib.ifindex == helper_ifindex ||
	    fib.ifindex == tap_ifindex || bpf_map_lookup_elem(&link_devices, &fib.ifindex))
		return STEER_OUT_NO_ROUTE;
	/* what is cut into segments passes the kernel's check whatever their size: `mtu` is the device's afterwards
	 */
	if (bpf_check_mtu(skb, fib.ifindex, &mtu, 0, 0) || size > mtu)
		return STEER_OUT_TOO_BIG;
	hop->ifindex = fib.ifindex;
	hop->neigh.nh_family = fib.family; /* of the gateway, which may be the other one */
	__builtin_memcpy(hop->neigh.ipv6_nh, fib.ipv6_dst, sizeof(hop->neigh.ipv6_nh));
	return STEER_REASONS_N;
}

/**
 * send_remote() - route a packet and send it out of an uplink
 * @skb: packet, without a link header
 * @p: its headers
 * @head: its transport header, unless it is a later fragment
 * @slice: that sends it
 *
 * Return: TC action
 */
static __always_inline int send_remote(struct __sk_buff *skb, const struct packet *p, const union transport *head,
				       __u32 slice)
{
	struct hop hop = {};
	enum steer_reason reason = route(skb, p, head, p->length, &hop);

	if (reason == STEER_REASONS_N && bpf_skb_change_head(skb, ETH_HLEN, 0))
		reason = STEER_OUT_TOO_BIG;
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	return bpf_redirect_neigh(hop.ifindex, &hop.neigh, sizeof(hop.neigh), 0);
}

/**
 * is_taken() - is a flow or link open where a packet goes?
 * @skb: packet
 * @p: headers
 * @head: transport header
 * @row: of its destination
 *
 * Where the protocol has no ports both ends are of the same slot.
 */
static __always_inline bool is_taken(struct __sk_buff *skb, const struct packet *p, const union transport *head,
				     __u32 row)
{
	int class = class_of(p);
	struct end end = {.class = class};
	__u32 link;

	end.port = bpf_ntohs(head->port.dest);
	if (class < 0)
		return grant_end(skb, p, &end) && steered(row, &end, &link) != 0;
	if (class == CLASS_ICMP) {
		if (!has_id(row, p->version, head->icmp.type))
			return false;
		end.port = bpf_ntohs(head->icmp.id);
	}
	return steered(row, &end, &link) != 0;
}

/**
 * local_reason() - may a slice reach this port of the host itself, or of a proxied address?
 * @skb: packet
 * @p: headers
 * @head: transport header, unless it is a later fragment, whose first may then
 * @row: of its destination
 * @conf: the slice
 *
 * On a proxied address there is nobody but flows, and a packet for it that
 * left the host would come back.
 *
 * Return: why not, STEER_REASONS_N if a flow is open there, or the slice may reach host sockets.
 */
static __always_inline enum steer_reason local_reason(struct __sk_buff *skb, const struct packet *p,
						      const union transport *head, __u32 row,
						      const struct steer_slice *conf)
{
	if (p->later || (conf->flags & STEER_LOCAL && !is_proxied(row)) || is_taken(skb, p, head, row))
		return STEER_REASONS_N;
	return is_proxied(row) ? STEER_OUT_NO_ROUTE : STEER_OUT_LOCAL;
}

/**
 * steer_out() - ingress of the TUN: what the relay sends leaves, if it is allowed to
 * @skb: packet
 *
 * Return: a redirect or TC_ACT_SHOT, and nothing else.
 */
SEC("tc")
int steer_out(struct __sk_buff *skb)
{
	struct packet p = {.strict = true};
	union transport head = {};
	struct steer_slice *conf;
	enum steer_reason reason;
	__u32 slice = 0;
	int index, action;

	if (!alive())
		return refuse(0, STEER_OUT_STALE);
	if (!parse(skb, &p))
		return refuse(0, STEER_OUT_HEADER);
	reason = sending_slice(skb, &p, &head, &slice);
	conf = bpf_map_lookup_elem(&slices, &slice);
	if (reason != STEER_REASONS_N || !conf)
		return refuse(slice, reason);
	reason = destination(&p, slice);
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	if (p.fragment && !(conf->flags & STEER_FRAGMENTS))
		return refuse(slice, STEER_OUT_FRAGMENT);
	if (!rate_ok(conf, slice, BUCKET_OUT_PACKETS, skb))
		return refuse(slice, STEER_OUT_RATE);
	index = row_of(&p.dst, p.version);
	if (index >= 0)
		reason = local_reason(skb, &p, &head, index, conf);
	if (reason != STEER_REASONS_N)
		return refuse(slice, reason);
	action = index < 0 ? send_remote(skb, &p, &head, slice) : send_local(skb, slice);
	if (p.more && !p.later && action != TC_ACT_SHOT)
		note_first(&sent, &p, &(struct fragment_owner){.slice = slice});
	return action;
}

#include "steer_link.bpf.h"

/**
 * steer_drop() - behind steer_out: nothing of the relay goes on
 * @skb: packet
 *
 * Return: TC_ACT_SHOT
 */
SEC("tc")
int steer_drop(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_SHOT;
}
