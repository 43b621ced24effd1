/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scenery.c: the world of probe/world.c as the reference and the relay know it, and packets between its ends
 *
 * The steered host has routes to everywhere; all of them lead to the peer, who
 * is known as a neighbour, has no address of its own any more, and so answers
 * nothing: whatever is on the wire came from the host.
 */
#include "scenery.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../probe/tap.h"
#include "util.h"

#define FRAME_MIN 60 /* bytes of an Ethernet frame without its checksum */
#define QUEUE_BYTES (16 << 20)

struct scenery scenery;

static const char *const addresses4[] = {HOST4,           SECOND4,         PEER4,         FAR4,
					 FAR4VIA6,        DENIED4,         FORBIDDEN4,    "127.0.0.1",
					 "0.0.0.0",       "0.1.2.3",       "224.0.0.1",   "255.255.255.255",
					 "10.11.0.255",   "169.254.1.1",   "240.0.0.1",   "203.0.113.9",
					 "198.51.100.64", "198.51.100.79", "203.0.113.7", "198.51.100.80"};
static const char *const addresses6[] = {HOST6,
					 SECOND6,
					 PEER6,
					 FAR6,
					 FAR6,
					 DENIED6,
					 FORBIDDEN6,
					 "::1",
					 "::",
					 "::2",
					 "ff02::1",
					 "ff05::1:3",
					 ("::ffff:" HOST4),
					 "fe80::1",
					 "fec0::1",
					 "2001:db8::9",
					 "2001:db8:9::",
					 "2001:db8:9::ffff:ffff:ffff:ffff",
					 "2001:db8:9::7",
					 "2001:db8:9:1::"};
static_assert(ARRAY_SIZE(addresses4) == ARRAY_SIZE(addresses6), "chosen by one number");

static const uint16_t ports[] = {PORT, PORT_OTHER, PORT_CLOSED, PORT_UNHELD, PORT_LOCAL, PORT_HOST, 0, 443};
#define GRE 47
#define OSPF 89
static const uint8_t protocols[] = {6, 17, 1, 132, 33, 136, GRE, OSPF};

/* What a refusal of steer_out may be called by the reference */
static const struct {
	enum steer_reason reason;
	const char *names[4];
} meanings[] = {
	{STEER_OUT_HEADER, {"option", "protocol"}}, /* the end of the packet is a broken option to it */
	{STEER_OUT_SOURCE, {"source", "martian"}},
	{STEER_OUT_PROTOCOL, {"protocol"}},
	{STEER_OUT_TYPE, {"icmp-type"}},
	{STEER_OUT_FRAGMENT, {"fragment", "fragment-length", "atomic-fragment"}},
	{STEER_OUT_TINY, {"fragment", "tiny-fragment"}},
	{STEER_OUT_ORPHAN, {"fragment"}},
	{STEER_OUT_OPTION, {"source-route", "routing-header", "home-address"}},
	{STEER_OUT_PORT, {"port"}},
	{STEER_OUT_LOOPBACK, {"loopback", "unspecified", "martian"}},
	{STEER_OUT_MULTICAST, {"multicast", "broadcast"}},
	{STEER_OUT_DENIED, {"denied"}},
	{STEER_OUT_LOCAL, {"no-flow"}},
	{STEER_OUT_NO_ROUTE, {"no-flow"}}, /* to a proxied address */
	{STEER_OUT_LINK_LOCAL, {"link-local"}},
};

/** scenery_reason() - the name of a reason of steering */
const char *scenery_reason(unsigned reason)
{
	static const char *const names[] = {
#define X(symbol, name, text) name,
		STEER_REASONS(X)
#undef X
	};

	return reason < STEER_REASONS_N ? names[reason] : "none";
}

/** scenery_disagree() - print a packet that is not treated as it should be, and leave */
_Noreturn void scenery_disagree(const char *what, const char *seen, const uint8_t *packet, size_t size)
{
	size_t at;

	fprintf(stderr, "%s: %s, at execution %" PRIu64 "\npacket", what, seen, scenery.done);
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
	struct reference_slice *reference = &scenery.netns.slice[slice];
	struct policy_slice *policy = &scenery.policy[slice];
	char prefix[ADDR_TEXT_MAX];

	reference->deny[reference->denied].address = read_address(text);
	reference->deny[reference->denied++].bits = bits;
	snprintf(prefix, sizeof(prefix), "%s/%u", text, bits);
	if (!prefix_parse(prefix, &policy->deny[policy->denied++]))
		abort();
}

/** add_range() - a range of ports, or a grant, for the reference */
static void add_range(struct reference_range range)
{
	if (scenery.netns.ranges == REFERENCE_RANGES)
		abort();
	scenery.netns.range[scenery.netns.ranges++] = range;
}

/** give() - ports of all classes for a slice; SLICE_WHOLE has them on proxied addresses */
static void give(uint16_t first, uint16_t last, unsigned slice, bool held, bool open)
{
	unsigned class;

	for (class = 0; class < REFERENCE_CLASSES; class ++)
		add_range((struct reference_range){.proxied = slice == SLICE_WHOLE,
						   .class = class,
						   .first = first,
						   .last = last,
						   .slice = slice,
						   .held = held,
						   .open = open});
}

/** proxy() - a prefix that is routed to the host, and SLICE_WHOLE's */
static void proxy(const char *text, unsigned bits)
{
	struct policy_slice *policy = &scenery.policy[SLICE_WHOLE];
	char prefix[ADDR_TEXT_MAX];

	scenery.netns.prefix[scenery.netns.proxied++] =
		(struct reference_prefix){.address = read_address(text), .bits = bits};
	snprintf(prefix, sizeof(prefix), "%s/%u", text, bits);
	if (!prefix_parse(prefix, &policy->prefix[policy->proxied++]))
		abort();
}

/** describe() - the world of world.c, as reference and relay have it */
static void describe(void)
{
	unsigned i, slice;

	for (i = 0; i < ARRAY_SIZE(addresses4); i++) {
		memcpy(scenery.address4[i], read_address(addresses4[i]).byte, 16);
		memcpy(scenery.address6[i], read_address(addresses6[i]).byte, 16);
	}
	for (i = 0; i < 2 * SCENERY_OWN; i++) {
		const char *text = i < SCENERY_OWN ? addresses4[i] : addresses6[i - SCENERY_OWN];

		scenery.netns.address[scenery.netns.addresses++] = read_address(text);
		for (slice = SLICE; slice <= SLICE_LOCAL; slice++)
			if (!addr_parse(text, &scenery.policy[slice].address[scenery.policy[slice].addresses++]))
				abort();
	}
	for (slice = SLICE; slice <= SLICE_WHOLE; slice++) {
		deny(slice, DENIED4, 32);
		deny(slice, "fd66::", 96);
	}
	deny(SLICE, FORBIDDEN4, 32);
	deny(SLICE, FORBIDDEN6, 128);
	scenery.netns.local[SLICE_LOCAL] = true;
	scenery.policy[SLICE_LOCAL].fragments = scenery.netns.slice[SLICE_LOCAL].fragments = true;
	give(PORT, PORT_OTHER, SLICE, true, true);
	give(PORT_CLOSED, PORT_CLOSED, SLICE, true, false);
	give(PORT_UNHELD, PORT_UNHELD, SLICE, false, true);
	give(PORT_LOCAL, PORT_LOCAL, SLICE_LOCAL, true, true);
	proxy("198.51.100.64", 28);
	proxy("203.0.113.7", 32);
	proxy("2001:db8:9::", 64);
	scenery.policy[SLICE_WHOLE].fragments = scenery.netns.slice[SLICE_WHOLE].fragments = true;
	give(0, 0, SLICE_WHOLE, true, true);
	give(PORT, PORT, SLICE_WHOLE, true, true);
	give(PORT_CLOSED, PORT_CLOSED, SLICE_WHOLE, true, false);
}

/* What has no ports: which slice may use it on own addresses, and whether a flow is open on it */
static const struct grant {
	uint8_t protocol;
	uint32_t key;
	unsigned slice;
	bool open;
} granted[] = {
	{GRE, PORT, SLICE, true},
	{GRE, PORT_LOCAL, SLICE_LOCAL, true},
	{GRE, PORT_CLOSED, SLICE, false},
	{OSPF, 0, SLICE_LOCAL, true},
};

/** grant() - tell steering and the reference what is granted; slots are counted from 1 */
static void grant(void)
{
	struct netns *ns = &scenery.world->ns;
	unsigned i, row, proxied;

	for (i = 0; i < ARRAY_SIZE(granted); i++) {
		const uint16_t slot = (uint16_t)(i + 1);
		const struct policy_range range = {.class = CLASS_GRANT, .lo = slot, .hi = slot};

		if (steering_grant(ns, granted[i].protocol, granted[i].key, slot) < 0)
			tap_bail("steering_grant");
		for (row = 0; row < STEER_ROWS_MAX; row++) {
			if (!netns_has_row(ns, row))
				continue;
			steering_allow(ns, row, &range, row < STEER_ADDRESSES_MAX ? granted[i].slice : SLICE_WHOLE);
			steering_hold(ns, row, CLASS_GRANT, slot, true);
			scenery.world->open[STEER_BLOCK(row, CLASS_GRANT)]->port[slot] = granted[i].open;
		}
		for (proxied = 0; proxied < 2; proxied++)
			add_range((struct reference_range){.proxied = proxied,
							   .class = REFERENCE_GRANT,
							   .protocol = granted[i].protocol,
							   .key = granted[i].key,
							   .slice = proxied ? SLICE_WHOLE : granted[i].slice,
							   .held = true,
							   .open = granted[i].open});
	}
}

/** scenery_program() - the fd of one of steering's programs, which is among this process's own */
int scenery_program(const char *name)
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

/** scenery_make() - the namespaces: routes to everywhere, a neighbour who is known and does not answer */
void scenery_make(void)
{
	const int bytes = QUEUE_BYTES, on = 1;
	const uint8_t *mac;

	scenery.world = world_make(CONF_ATTACH_AUTO, SCENERY_MTU);
	world_shell(scenery.world->ns.fd, "ip route add default via " PEER4 " && ip route add default via " PEER6);
	mac = scenery.world->peer_mac;
	for (const char *const *a = (const char *const[]){PEER4, PEER6, NULL}; *a; a++)
		world_shell(scenery.world->ns.fd,
			    "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x nud permanent dev up0", *a,
			    mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	world_shell(scenery.world->peer, "ip addr flush dev wire0");
	/* fragments that are left to the host wait for the rest of their datagram: it shall not say that none came */
	world_sysctl(scenery.world->ns.fd, "ipv4/ipfrag_time", "100000");
	world_sysctl(scenery.world->ns.fd, "ipv6/ip6frag_time", "100000");
	world_steer(scenery.world);
	world_proxy(scenery.world);
	setsockopt(scenery.world->wire, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(scenery.world->wire, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	describe();
	grant();
}

/** pick() - mostly one of the first few, which are right */
static unsigned pick(unsigned right, unsigned limit)
{
	return dice_below(&scenery.dice, dice_one_in(&scenery.dice, 4) ? limit : right);
}

/**
 * scenery_build() - a packet between the world's addresses and ports, broken or not
 * @shape: set
 * @arrives: from somebody else to us
 * @own_ports: what to take ours from, mostly; NULL for those that the world opens
 * @own: how many
 */
void scenery_build(struct shape *shape, bool arrives, const uint16_t *own_ports, unsigned own)
{
	static const uint16_t opened[] = {PORT, PORT, PORT_LOCAL};
	struct dice *dice = &scenery.dice;
	struct shape_plan plan = {.version = dice_one_in(dice, 2) ? 4 : 6, .arrives = arrives};
	unsigned from = pick(SCENERY_OWN, SCENERY_ADDRESSES);
	unsigned to = dice_one_in(dice, 2) ? SCENERY_OWN + pick(2, SCENERY_ADDRESSES - SCENERY_OWN)
					   : dice_below(dice, SCENERY_ADDRESSES);

	if (dice_one_in(dice, 4))
		from = SCENERY_PROXIED + dice_below(dice, SCENERY_ADDRESSES - SCENERY_PROXIED);
	plan.protocol = protocols[dice_below(dice, ARRAY_SIZE(protocols))];
	if (plan.protocol == 1 && plan.version == 6)
		plan.protocol = 58;
	if (dice_one_in(dice, 24))
		plan.protocol = dice_below(dice, 256);
	memcpy(plan.own, plan.version == 4 ? scenery.address4[from] : scenery.address6[from], 16);
	memcpy(plan.other, plan.version == 4 ? scenery.address4[to] : scenery.address6[to], 16);
	if (!own_ports) {
		own_ports = opened;
		own = ARRAY_SIZE(opened);
	}
	plan.own_port = own_ports[dice_below(dice, own)];
	if (dice_one_in(dice, 3))
		plan.own_port = ports[dice_below(dice, ARRAY_SIZE(ports))];
	plan.other_port = ports[dice_below(dice, ARRAY_SIZE(ports))];
	shape_build(shape, dice, &plan);
	if (dice_one_in(dice, 2))
		shape_break(shape, dice);
}

/**
 * scenery_fits() - whether steer_out's reason is one that the reference has too
 * @reason: of steer_out
 * @reasons: of the reference, which reads no further where headers cannot be told from each other
 */
bool scenery_fits(unsigned reason, reference_set reasons)
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

/** scenery_onlink() - whether the destination is on the wire itself, where nobody answers for it but the peer */
bool scenery_onlink(const struct shape *shape)
{
	const uint8_t *to = shape->byte + (shape->byte[0] >> 4 == 4 ? 16 : 24);

	if (shape->byte[0] >> 4 == 4)
		return !memcmp(to, scenery.address4[0], 3) && memcmp(to, scenery.address4[SCENERY_OWN], 4);
	return !memcmp(to, scenery.address6[0], 8) && memcmp(to, scenery.address6[SCENERY_OWN], 16);
}

/** scenery_frame() - a packet as it is on the wire; returns the frame's size */
size_t scenery_frame(uint8_t *frame, const struct shape *shape)
{
	unsigned version = shape->size ? shape->byte[0] >> 4 : 4;
	uint16_t type = htons(version == 6 ? ETH_P_IPV6 : ETH_P_IP);
	size_t size = ETH_HLEN + shape->size;

	memcpy(frame, scenery.world->host_mac, 6);
	memcpy(frame + 6, scenery.world->peer_mac, 6);
	memcpy(frame + 12, &type, sizeof(type));
	memcpy(frame + ETH_HLEN, shape->byte, shape->size);
	if (size < FRAME_MIN)
		memset(frame + size, 0, FRAME_MIN - size);
	return size < FRAME_MIN ? FRAME_MIN : size;
}

/**
 * scenery_run() - run one of the programs on a frame
 * @program: fd
 * @ifindex: of the device that it comes from
 * @frame: its first byte
 * @size: bytes
 *
 * Return: TC action
 */
uint32_t scenery_run(int program, unsigned ifindex, const uint8_t *frame, size_t size)
{
	struct __sk_buff context = {.ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)size, .ctx_in = &context,
		    .ctx_size_in = sizeof(context));

	if (bpf_prog_test_run_opts(program, &opts) < 0)
		tap_bail("BPF_PROG_TEST_RUN");
	return opts.retval;
}
