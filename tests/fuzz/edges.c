/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edges.c: steering against the reference, on very many packets
 *
 *	edges [RUNS [SEED]]
 *
 * The programs and maps of steering as they are, in namespaces of the test's
 * own; the packets of shape.c, of which half are broken.
 *
 * Out: each packet is written to the real TUN. steer_out has run when write(2)
 * returns, so a refusal is read off its counter; what was not refused must
 * come out of the far end of the wire, byte for byte and in order, and nothing
 * else may. A packet that the relay would send (pkt.c and policy.c say so) is
 * completed as the relay does it, and must pass. All others must pass only
 * where the reference for the backstop says so.
 *
 * In: each packet is put before steer_in by BPF_PROG_TEST_RUN, as coming from
 * the uplink. One in WIRE_SHARE is sent over the wire besides, and what reaches
 * the TUN is compared. What the reference takes, and nothing that it leaves,
 * must go into the TUN. Later fragments must go where their first went.
 *
 * An execution is one packet through one program. (steer_out is not run by
 * BPF_PROG_TEST_RUN: it compares the packet's own length with the frame's,
 * which has a link header there and none on the TUN.)
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../probe/tap.h"
#include "../probe/world.h"
#include "../reference/edge.h"
#include "pkt.h"
#include "shape.h"
#include "util.h"

#define RUNS 40000
#define SEED 1
#define MTU 1500
#define BATCH 64      /* packets between two looks at the wire */
#define WIRE_SHARE 16 /* one packet in so many goes in over the real wire */
#define PAIR_SHARE 32 /* one in so many is followed by a later fragment of the same datagram */
#define FRAME_MIN 60  /* bytes of an Ethernet frame without its checksum */
#define WAIT_MS 2000
#define SLICES 3 /* 0 for nobody, and the world's two */
#define QUEUE_BYTES (16 << 20)

#define OWN 2
static const char *const addresses4[] = {HOST4,         SECOND4,       PEER4,       FAR4,
					 FAR4VIA6,      DENIED4,       FORBIDDEN4,  "127.0.0.1",
					 "0.0.0.0",     "0.1.2.3",     "224.0.0.1", "255.255.255.255",
					 "10.11.0.255", "169.254.1.1", "240.0.0.1", "203.0.113.9"};
static const char *const addresses6[] = {
	HOST6,     SECOND6,      PEER6, FAR6,      FAR6,        DENIED6,           FORBIDDEN6,
	"::1",     "::",         "::2", "ff02::1", "ff05::1:3", ("::ffff:" HOST4), "fe80::1",
	"fec0::1", "2001:db8::9"};
static_assert(ARRAY_SIZE(addresses4) == ARRAY_SIZE(addresses6), "chosen by one number");

static const uint16_t ports[] = {PORT, PORT_OTHER, PORT_CLOSED, PORT_UNHELD, PORT_LOCAL, PORT_HOST, 0, 443};
static const uint8_t protocols[] = {6, 17, 1, 132, 33, 136};

/* What is known of a packet that is on its way */
struct expected {
	size_t size;
	uint8_t byte[SHAPE_ROOM];
};

static struct {
	struct world *world;
	struct dice dice;
	struct policy_slice policy[SLICES];
	struct reference_netns netns;
	uint8_t address4[ARRAY_SIZE(addresses4)][16], address6[ARRAY_SIZE(addresses6)][16];
	int steer_in;
	unsigned waiting, fragment_id;
	struct expected expected[3 * BATCH]; /* a packet and a pair of fragments for each */
	uint64_t done, passed, refused[STEER_REASONS_N], taken, left, wire, pairs;
} all;

/* What a refusal of steer_out may be called by the reference */
static const struct {
	enum steer_reason reason;
	const char *names[4];
} meanings[] = {
	{STEER_OUT_HEADER, {"option"}},
	{STEER_OUT_SOURCE, {"source", "martian"}},
	{STEER_OUT_PROTOCOL, {"protocol"}},
	{STEER_OUT_TYPE, {"icmp-type"}},
	{STEER_OUT_FRAGMENT, {"fragment"}},
	{STEER_OUT_TINY, {"fragment"}},
	{STEER_OUT_ORPHAN, {"fragment"}},
	{STEER_OUT_OPTION, {"source-route", "routing-header", "home-address"}},
	{STEER_OUT_PORT, {"port"}},
	{STEER_OUT_LOOPBACK, {"loopback", "unspecified", "martian"}},
	{STEER_OUT_MULTICAST, {"multicast", "broadcast"}},
	{STEER_OUT_DENIED, {"denied"}},
	{STEER_OUT_LOCAL, {"no-flow"}},
	{STEER_OUT_LINK_LOCAL, {"link-local"}},
};

/** steer_name() - the name of a reason of steering */
static const char *steer_name(unsigned reason)
{
	static const char *const names[] = {
#define X(symbol, name, text) name,
		STEER_REASONS(X)
#undef X
	};

	return reason < STEER_REASONS_N ? names[reason] : "none";
}

/** disagree() - print a packet that is not treated as it should be, and leave */
static _Noreturn void disagree(const char *what, const char *seen, const uint8_t *packet, size_t size)
{
	size_t at;

	fprintf(stderr, "%s: %s, at execution %" PRIu64 "\npacket", what, seen, all.done);
	for (at = 0; at < size; at++)
		fprintf(stderr, "%s%02x", at % 4 ? "" : " ", packet[at]);
	fprintf(stderr, "\n");
	exit(1);
}

/** read_address() - bytes of an address that is one */
static struct reference_address read_address(const char *text)
{
	struct reference_address address = {.version = strchr(text, ':') ? 6 : 4};

	if (inet_pton(address.version == 4 ? AF_INET : AF_INET6, text, address.byte) != 1)
		abort();
	return address;
}

/** deny() - a prefix for a slice's deny-list, on both sides */
static void deny(unsigned slice, const char *text, unsigned bits)
{
	struct reference_slice *reference = &all.netns.slice[slice];
	struct policy_slice *policy = &all.policy[slice];
	char prefix[ADDR_TEXT_MAX];

	reference->deny[reference->denied].address = read_address(text);
	reference->deny[reference->denied++].bits = bits;
	snprintf(prefix, sizeof(prefix), "%s/%u", text, bits);
	if (!prefix_parse(prefix, &policy->deny[policy->denied++]))
		abort();
}

/** give() - ports of all classes for a slice */
static void give(uint16_t first, uint16_t last, unsigned slice, bool held, bool open)
{
	unsigned class;

	for (class = 0; class < REFERENCE_CLASSES; class ++)
		all.netns.range[all.netns.ranges++] = (struct reference_range){
			.class = class, .first = first, .last = last, .slice = slice, .held = held, .open = open};
}

/** describe() - the world of world.c, as reference and relay have it */
static void describe(void)
{
	unsigned i, slice;

	for (i = 0; i < ARRAY_SIZE(addresses4); i++) {
		memcpy(all.address4[i], read_address(addresses4[i]).byte, 16);
		memcpy(all.address6[i], read_address(addresses6[i]).byte, 16);
	}
	for (i = 0; i < 2 * OWN; i++) {
		const char *text = i < OWN ? addresses4[i] : addresses6[i - OWN];

		all.netns.address[all.netns.addresses++] = read_address(text);
		for (slice = SLICE; slice <= SLICE_LOCAL; slice++)
			if (!addr_parse(text, &all.policy[slice].address[all.policy[slice].addresses++]))
				abort();
	}
	for (slice = SLICE; slice <= SLICE_LOCAL; slice++) {
		deny(slice, DENIED4, 32);
		deny(slice, "fd66::", 96);
	}
	deny(SLICE, FORBIDDEN4, 32);
	deny(SLICE, FORBIDDEN6, 128);
	all.netns.local[SLICE_LOCAL] = true;
	all.policy[SLICE_LOCAL].fragments = all.netns.slice[SLICE_LOCAL].fragments = true;
	give(PORT, PORT_OTHER, SLICE, true, true);
	give(PORT_CLOSED, PORT_CLOSED, SLICE, true, false);
	give(PORT_UNHELD, PORT_UNHELD, SLICE, false, true);
	give(PORT_LOCAL, PORT_LOCAL, SLICE_LOCAL, true, true);
}

/** find_program() - the fd of one of steering's programs, which is among this process's own */
static int find_program(const char *name)
{
	int fd;

	for (fd = 3; fd < 256; fd++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (!bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, name) &&
		    info.type == BPF_PROG_TYPE_SCHED_CLS)
			return fd;
	}
	errno = ENOENT;
	tap_bail(name);
}

/** make() - the namespaces: routes to everywhere, a neighbour who is known and does not answer */
static void make(void)
{
	const int bytes = QUEUE_BYTES, on = 1;
	const uint8_t *mac;

	all.world = world_make(CONF_ATTACH_AUTO, MTU);
	world_shell(all.world->ns.fd, "ip route add default via " PEER4 " && ip route add default via " PEER6);
	mac = all.world->peer_mac;
	for (const char *const *a = (const char *const[]){PEER4, PEER6, NULL}; *a; a++)
		world_shell(all.world->ns.fd,
			    "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x nud permanent dev up0", *a,
			    mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	world_shell(all.world->peer, "ip addr flush dev wire0");
	/* fragments that are left to the host wait for the rest of their datagram: it shall not say that none came */
	world_sysctl(all.world->ns.fd, "ipv4/ipfrag_time", "100000");
	world_sysctl(all.world->ns.fd, "ipv6/ip6frag_time", "100000");
	world_steer(all.world);
	all.steer_in = find_program("steer_in");
	setsockopt(all.world->wire, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(all.world->wire, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	describe();
}

/** pick() - mostly one of the first few, which are right */
static unsigned pick(unsigned right, unsigned limit)
{
	return dice_below(&all.dice, dice_one_in(&all.dice, 4) ? limit : right);
}

/** build() - a packet between the world's addresses and ports, broken or not */
static void build(struct shape *shape, bool arrives)
{
	struct shape_plan plan = {.version = dice_one_in(&all.dice, 2) ? 4 : 6, .arrives = arrives};
	unsigned own = pick(OWN, ARRAY_SIZE(addresses4));
	unsigned other =
		dice_one_in(&all.dice, 2) ? OWN + pick(2, 14) : dice_below(&all.dice, ARRAY_SIZE(addresses4));

	plan.protocol = protocols[dice_below(&all.dice, ARRAY_SIZE(protocols))];
	if (plan.protocol == 1 && plan.version == 6)
		plan.protocol = 58;
	if (dice_one_in(&all.dice, 24))
		plan.protocol = dice_below(&all.dice, 256);
	memcpy(plan.own, plan.version == 4 ? all.address4[own] : all.address6[own], 16);
	memcpy(plan.other, plan.version == 4 ? all.address4[other] : all.address6[other], 16);
	plan.own_port = ports[dice_one_in(&all.dice, 3) ? dice_below(&all.dice, ARRAY_SIZE(ports))
							: 4 * dice_one_in(&all.dice, 3)];
	plan.other_port = ports[dice_below(&all.dice, ARRAY_SIZE(ports))];
	shape_build(shape, &all.dice, &plan);
	if (dice_one_in(&all.dice, 2))
		shape_break(shape, &all.dice);
}

/** drained() - let no slice's share of the ring fill up */
static void drained(void)
{
	unsigned slice;

	for (slice = 0; slice < SLICES; slice++)
		all.world->traffic[slice].drained = all.world->traffic[slice].queued;
}

/** drain() - throw away what a socket or the TUN has */
static void drain(int fd)
{
	static uint8_t buffer[PKT_MAX + ETH_HLEN + 1];
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (poll(&ready, 1, 0) > 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
}

/** is_neighbourly() - whether this is what kernels say to each other about a link: ICMPv6 133 to 137 and 143 */
static bool is_neighbourly(const uint8_t *packet, size_t size)
{
	size_t at = size > 40 && packet[6] == 0 ? 48 : 40;

	return size > at && packet[0] >> 4 == 6 && packet[at == 48 ? 40 : 6] == 58 &&
	       ((packet[at] >= 133 && packet[at] <= 137) || packet[at] == 143);
}

/** is_ours() - whether the host itself sent a packet: by lo its answers to what came out may reach the TUN at any
 * time */
static bool is_ours(const uint8_t *packet, size_t size)
{
	unsigned i;

	for (i = 0; i < OWN; i++) {
		if (size >= 20 && packet[0] >> 4 == 4 && !memcmp(packet + 12, all.address4[i], 4))
			return true;
		if (size >= 40 && packet[0] >> 4 == 6 && !memcmp(packet + 8, all.address6[i], 16))
			return true;
	}
	return false;
}

/**
 * arrive() - see that exactly what is expected arrives, in order
 * @fd: wire or TUN
 * @header: bytes of its link header
 * @what: for the message
 */
static void arrive(int fd, size_t header, const char *what)
{
	static uint8_t data[PKT_MAX + ETH_HLEN + 1];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	unsigned next = 0;

	while (poll(&ready, 1, next < all.waiting ? WAIT_MS : 0) > 0) {
		ssize_t n = read(fd, data, sizeof(data));
		const struct expected *expected = &all.expected[next];
		size_t size = n < (ssize_t)header ? 0 : (size_t)n - header;
		uint16_t type = header ? (uint16_t)(data[12] << 8 | data[13]) : ETH_P_IP;

		if (!size || (type != ETH_P_IP && type != ETH_P_IPV6) || is_neighbourly(data + header, size) ||
		    (!header && is_ours(data, size)))
			continue;
		if (next == all.waiting || expected->size != size || memcmp(expected->byte, data + header, size))
			disagree(what, "came, and was not expected", data + header, size);
		next++;
	}
	if (next < all.waiting)
		disagree(what, "did not come", all.expected[next].byte, all.expected[next].size);
	all.waiting = 0;
}

/** expect() - a packet must arrive */
static void expect(const uint8_t *packet, size_t size)
{
	struct expected *expected = &all.expected[all.waiting++];

	expected->size = size;
	memcpy(expected->byte, packet, size);
}

/**
 * relay_sends() - whether the relay would send a packet, on the best flow that there could be
 * @shape: packet, completed as the relay does it
 */
static bool relay_sends(struct shape *shape)
{
	struct pkt pkt;
	unsigned i;

	if (pkt_parse(&pkt, shape->byte, shape->size, false) != VERDICT_PASS)
		return false;
	for (i = 0; i < all.netns.ranges; i++) {
		const struct reference_range *range = &all.netns.range[i];
		const struct policy_slice *slice = &all.policy[range->slice];
		const struct policy_flow flow = {
			.class = (uint8_t)range->class, .lo = range->first, .hi = range->last};

		if (!range->held || policy_send(slice, &flow, &pkt) != VERDICT_PASS)
			continue;
		pkt_fill(shape->byte, &pkt, &slice->address[pkt.version == 4 ? 0 : OWN], 1);
		return true;
	}
	return false;
}

/** write_out() - write a packet to the TUN; returns why steer_out dropped it, STEER_REASONS_N when it did not */
static unsigned write_out(const struct shape *shape)
{
	uint64_t before[SLICES][STEER_REASONS_N];
	unsigned slice, reason;

	for (slice = 0; slice < SLICES; slice++)
		memcpy(before[slice], all.world->traffic[slice].dropped, sizeof(before[slice]));
	if (write(all.world->ns.tun_fd, shape->byte, shape->size) < 0)
		return STEER_OUT_HEADER; /* the TUN itself takes nothing but IP */
	for (slice = 0; slice < SLICES; slice++)
		for (reason = STEER_OUT_STALE; reason < STEER_REASONS_N; reason++)
			if (all.world->traffic[slice].dropped[reason] != before[slice][reason])
				return reason;
	return STEER_REASONS_N;
}

/**
 * reason_fits() - whether steer_out's reason is one that the reference has too
 * @reason: of steer_out
 * @reasons: of the reference, which reads no further where headers cannot be told from each other
 */
static bool reason_fits(unsigned reason, reference_set reasons)
{
	static const char *const unread[] = {"short",     "version",   "header-length", "length",
					     "extension", "chain-end", "tiny-fragment", "transport"};
	unsigned i, j;

	for (i = 0; i < ARRAY_SIZE(unread); i++)
		if (reference_has(reasons, unread[i]))
			return true;
	for (i = 0; i < ARRAY_SIZE(meanings); i++)
		for (j = 0; meanings[i].reason == reason && meanings[i].names[j]; j++)
			if (reference_has(reasons, meanings[i].names[j]))
				return true;
	return false;
}

/** is_onlink() - whether the destination is on the wire itself, where nobody answers for it but the peer */
static bool is_onlink(const struct shape *shape)
{
	const uint8_t *to = shape->byte + (shape->byte[0] >> 4 == 4 ? 16 : 24);

	if (shape->byte[0] >> 4 == 4)
		return !memcmp(to, all.address4[0], 3) && memcmp(to, all.address4[OWN], 4);
	return !memcmp(to, all.address6[0], 8) && memcmp(to, all.address6[OWN], 16);
}

/**
 * judge_out() - one packet through steer_out
 * @shape: packet; completed as the relay does it, if that sends it
 *
 * Return: why it was dropped, STEER_REASONS_N when it was not.
 */
static unsigned judge_out(struct shape *shape)
{
	bool sends = relay_sends(shape), excused, self;
	reference_set reasons;
	enum reference_passage passage = reference_out(&all.netns, shape->byte, shape->size, &reasons);
	unsigned reason = write_out(shape);
	char seen[512], text[256];

	self = reference_to_self(&all.netns, shape->byte, shape->size);
	if (sends && !self && passage != REFERENCE_PASSES)
		disagree("out", "the relay sends it, the reference does not", shape->byte, shape->size);
	if (reason == STEER_REASONS_N) {
		all.passed++;
		if (passage == REFERENCE_STOPS)
			disagree("out", reference_text(reasons, text), shape->byte, shape->size);
		if (!self && !is_onlink(shape))
			expect(shape->byte, shape->size);
		return reason;
	}
	all.refused[reason]++;
	excused = (reason == STEER_OUT_NO_ROUTE && is_onlink(shape)) ||
		  (reason == STEER_OUT_TOO_BIG && shape->size > MTU) ||
		  ((reason == STEER_OUT_ORPHAN || reason == STEER_OUT_OVERLAP) &&
		   reference_is_later(shape->byte, shape->size));
	snprintf(seen, sizeof(seen), "%s; the reference says %s", steer_name(reason), reference_text(reasons, text));
	if (!excused && (passage == REFERENCE_PASSES || !reason_fits(reason, reasons)))
		disagree("out", seen, shape->byte, shape->size);
	return reason;
}

/**
 * make_fragment() - make a packet a fragment of a datagram
 * @shape: packet
 * @offset: in the datagram, bytes; 0 for the first, which has more behind it
 * @id: of the datagram
 *
 * Return: false where it is too short.
 */
static bool make_fragment(struct shape *shape, unsigned offset, unsigned id)
{
	uint8_t *b = shape->byte;
	unsigned version = shape->size ? b[0] >> 4 : 0;

	if (version == 4 && shape->size >= 28) {
		b[4] = (uint8_t)(id >> 8);
		b[5] = (uint8_t)id;
		b[6] = (uint8_t)(offset / 8 >> 8) | (offset ? 0 : 0x20);
		b[7] = (uint8_t)(offset / 8);
	} else if (version == 6 && shape->size >= 48 && shape->size + 8 <= SHAPE_ROOM && b[6]) {
		memmove(b + 48, b + 40, shape->size - 40);
		shape->size += 8;
		memcpy(b + 40,
		       (const uint8_t[]){b[6], 0, (uint8_t)(offset >> 8), (uint8_t)offset | !offset,
					 (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id},
		       8);
		b[6] = 44;
	} else {
		return false;
	}
	shape_repair(shape, true, true);
	return true;
}

/** out_pair() - a first fragment, and one that goes on where it ends or earlier: it leaves after one that has left */
static void out_pair(const struct shape *shape)
{
	unsigned header = shape->size && shape->byte[0] >> 4 == 6 ? 40 : 4 * (shape->byte[0] & 15u), data, back,
		 reason;
	unsigned id = ++all.fragment_id;
	struct shape first = *shape, later;
	bool left;

	if (shape->size < header + 8 || shape->size > MTU - 8)
		return;
	data = (unsigned)(shape->size - header) & ~7u;
	first.size = header + data;
	if (!make_fragment(&first, 0, id))
		return;
	left = judge_out(&first) == STEER_REASONS_N;
	later = *shape;
	later.size = header + 8;
	memcpy(later.byte, first.byte, header); /* with the source that was filled in */
	if (header == 40)
		later.byte[6] = shape->byte[6];
	back = dice_one_in(&all.dice, 4) ? 8 : 0;
	if (data - back == 0 || !make_fragment(&later, data - back, id))
		return;
	all.pairs++;
	reason = judge_out(&later);
	if ((reason == STEER_REASONS_N) != (left && !back) || (left && back && reason != STEER_OUT_OVERLAP))
		disagree("out",
			 left ? "a later fragment, after its first had left"
			      : "a later fragment, its first was dropped",
			 later.byte, later.size);
}

/** out() - one packet through steer_out, now and then with fragments */
static void out(struct shape *shape)
{
	const struct shape whole = *shape;

	judge_out(shape);
	if (dice_one_in(&all.dice, PAIR_SHARE))
		out_pair(&whole);
}

/** make_frame() - a packet as it is on the wire; returns the frame's size */
static size_t make_frame(uint8_t *frame, const struct shape *shape)
{
	unsigned version = shape->size ? shape->byte[0] >> 4 : 4;
	uint16_t type = htons(version == 6 ? ETH_P_IPV6 : ETH_P_IP);
	size_t size = ETH_HLEN + shape->size;

	memcpy(frame, all.world->host_mac, 6);
	memcpy(frame + 6, all.world->peer_mac, 6);
	memcpy(frame + 12, &type, sizeof(type));
	memcpy(frame + ETH_HLEN, shape->byte, shape->size);
	if (size < FRAME_MIN)
		memset(frame + size, 0, FRAME_MIN - size);
	return size < FRAME_MIN ? FRAME_MIN : size;
}

/** run_in() - run steer_in on a frame from the uplink; returns whether it takes it */
static bool run_in(const uint8_t *frame, size_t size)
{
	struct __sk_buff context = {.ifindex = all.world->uplink};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)size, .ctx_in = &context,
		    .ctx_size_in = sizeof(context));

	if (bpf_prog_test_run_opts(all.steer_in, &opts) < 0)
		tap_bail("BPF_PROG_TEST_RUN");
	if (opts.retval != TC_ACT_REDIRECT && opts.retval != (uint32_t)TC_ACT_UNSPEC)
		disagree("in", "neither taken nor left", frame + ETH_HLEN, size - ETH_HLEN);
	return opts.retval == TC_ACT_REDIRECT;
}

/** in_pair() - a first fragment, the next one of its datagram, and one of a datagram that nobody began */
static void in_pair(const struct shape *shape)
{
	static uint8_t frame[ETH_HLEN + SHAPE_ROOM];
	struct shape first = *shape, later = *shape, stray = *shape;
	unsigned id = ++all.fragment_id;
	bool taken;

	if (!make_fragment(&first, 0, id) || !make_fragment(&later, 32, id) || !make_fragment(&stray, 32, id))
		return;
	stray.byte[shape->byte[0] >> 4 == 4 ? 12 : 8] ^= 0x80; /* of a host that sends nothing else */
	shape_repair(&stray, false, true);
	all.pairs++;
	taken = run_in(frame, make_frame(frame, &first));
	if (run_in(frame, make_frame(frame, &later)) != taken)
		disagree("in",
			 taken ? "a later fragment is left, its first was taken"
			       : "a later fragment is taken, its first was left",
			 later.byte, later.size);
	if (run_in(frame, make_frame(frame, &stray)))
		disagree("in", "a later fragment is taken whose first never came", stray.byte, stray.size);
}

/** in() - one packet through steer_in */
static void in(const struct shape *shape)
{
	static uint8_t frame[ETH_HLEN + SHAPE_ROOM];
	size_t size = make_frame(frame, shape);
	const uint8_t *packet = frame + ETH_HLEN;
	enum reference_passage passage = reference_in(&all.netns, packet, size - ETH_HLEN);
	bool taken = run_in(frame, size);

	if (taken)
		all.taken++;
	else
		all.left++;
	if (taken && passage == REFERENCE_STOPS)
		disagree("in", "taken, though it is the host's", packet, size - ETH_HLEN);
	if (!taken && passage == REFERENCE_PASSES)
		disagree("in", "left, though an open port would get it", packet, size - ETH_HLEN);
	if (size <= ETH_HLEN + MTU && dice_one_in(&all.dice, WIRE_SHARE)) {
		all.wire++;
		if (send(all.world->wire, frame, size, 0) < 0)
			tap_bail("send on the wire");
		if (taken)
			expect(packet, size - ETH_HLEN);
	}
	if (dice_one_in(&all.dice, PAIR_SHARE))
		in_pair(shape);
}

/** run() - so many packets, first out and then in */
static void run(uint64_t runs)
{
	static struct shape shape;

	for (; all.done < runs; all.done++) {
		bool outward = all.done / BATCH % 2 == 0;

		if (all.done % BATCH == 0) {
			steering_beat(&all.world->ns);
			drain(all.world->wire);
			drain(all.world->ns.tun_fd);
		}
		build(&shape, !outward);
		if (outward)
			out(&shape);
		else
			in(&shape);
		drained();
		if (all.done % BATCH == BATCH - 1)
			arrive(outward ? all.world->wire : all.world->ns.tun_fd, outward ? ETH_HLEN : 0,
			       outward ? "out, on the wire" : "in, at the TUN");
	}
}

/** report() - what was seen */
static void report(uint64_t seed, double seconds)
{
	unsigned reason;

	printf("%" PRIu64 " executions, seed %" PRIu64 ", %.0f a second, no disagreement\n", all.done, seed,
	       (double)all.done / seconds);
	printf("steer_out: %" PRIu64 " left", all.passed);
	for (reason = 0; reason < STEER_REASONS_N; reason++)
		if (all.refused[reason])
			printf(", %" PRIu64 " %s", all.refused[reason], steer_name(reason));
	printf("\nsteer_in: %" PRIu64 " taken, %" PRIu64 " left to the host; %" PRIu64
	       " of them over the wire too; %" PRIu64 " pairs of fragments\n",
	       all.taken, all.left, all.wire, all.pairs);
}

/** main() - see the top */
int main(int argc, char **argv)
{
	uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : RUNS;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? (uint64_t)time(NULL) : SEED;
	uint64_t start;

	if (!runs) {
		fprintf(stderr, "usage: edges [RUNS [SEED]]\n");
		return 2;
	}
	tap_need_root();
	all.dice.state = seed;
	make();
	world_enter(all.world->ns.fd);
	start = clock_ns();
	run(runs);
	report(seed, (double)(clock_ns() - start) / 1e9);
	world_enter(all.world->home);
	world_free(all.world);
	return 0;
}
