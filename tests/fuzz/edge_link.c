/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edge_link.c: what comes out of links, by steering and by the reference
 *
 * There are three links, each with a block of ports: two of a plain slice, one
 * behind the other, whose other ports go to the relay to be translated, and a
 * strict one of a slice that may send fragments. Their packets are put before
 * steer_link by BPF_PROG_TEST_RUN, as coming from the link's device.
 *
 * To the reference a link is a namespace in which its block is all that there
 * is. What that may send must go straight on. What could be sent if all ports
 * were the link's must go to the relay, or be refused where the link is strict;
 * everything else must be refused. Two things are left out: neighbour
 * solicitations, which are answered, and what a destination among the host's
 * own addresses needs besides. What a proxied one needs is looked at where a
 * packet goes straight on.
 */
#include "edge_link.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <net/if.h>

#include "../probe/tap.h"
#include "scenery.h"
#include "util.h"

#define LINKS 3
#define BLOCK 16
#define HEADER 40 /* bytes: the kernel does no test runs with less than an IP header */

/* A link, and what the reference takes it for */
static struct {
	const char *device;
	unsigned slice, flags;
	uint16_t lo;
	unsigned ifindex;
	struct reference_netns block,
		all; /* its ports alone; as if all were its own, and open at proxied addresses */
} edge[LINKS] = {
	{.device = "lk1", .slice = SLICE, .lo = 5040},
	{.device = "lk3", .slice = SLICE, .lo = 5056},
	{.device = "lk2", .slice = SLICE_LOCAL, .lo = 5072, .flags = STEER_LINK_STRICT},
};

static struct reference_netns blocks; /* those of all links alone */
static int program;
static struct steer_link_traffic *traffic;
static uint64_t straight, relayed, refused[STEER_REASONS_N];

/** add_ports() - ports of all classes that links have are a slice's too */
static void add_ports(struct reference_netns *netns, unsigned slice, uint16_t first, uint16_t last)
{
	static const enum reference_class classes[] = {REFERENCE_TCP, REFERENCE_UDP, REFERENCE_ICMP};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(classes); i++)
		netns->range[netns->ranges++] = (struct reference_range){.class = classes[i],
									 .first = first,
									 .last = last,
									 .slice = slice,
									 .held = true,
									 .open = true};
}

/** make_netns() - a netns in which some ports of all classes that links have are a slice's, and no others on own
 * addresses */
static void make_netns(struct reference_netns *netns, unsigned slice, uint16_t first, uint16_t last)
{
	unsigned i;

	*netns = scenery.netns;
	netns->link = true;
	netns->local[slice] = true; /* what that takes besides is not looked at */
	netns->ranges = 0;
	for (i = 0; i < scenery.netns.ranges; i++)
		if (scenery.netns.range[i].proxied)
			netns->range[netns->ranges++] = scenery.netns.range[i];
	add_ports(netns, slice, first, last);
}

/** open_proxied() - as if a flow were open on every proxied port */
static void open_proxied(struct reference_netns *netns)
{
	unsigned i;

	for (i = 0; i < netns->ranges; i++)
		if (netns->range[i].proxied) {
			netns->range[i].first = 0;
			netns->range[i].last = 65535;
			netns->range[i].held = netns->range[i].open = true;
		}
}

/** device_index() - ifindex of a device of the steered host */
static unsigned device_index(const char *name)
{
	struct ifreq request = {0};
	int fd = world_socket(scenery.world->ns.fd, AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		tap_bail(name);
	close_fd(&fd);
	return (unsigned)request.ifr_ifindex;
}

/** make_link() - a device, its block of ports, and steering on it */
static void make_link(unsigned n)
{
	struct steer_link link = {.slice = edge[n].slice, .flags = edge[n].flags};
	struct netns *ns = &scenery.world->ns;
	unsigned class, address, port;

	/* its far end stays down, so that no kernel has anything to say there */
	world_shell(ns->fd, "ip link add %s type veth peer name %sp && ip link set %s up", edge[n].device,
		    edge[n].device, edge[n].device);
	edge[n].ifindex = link.ifindex = device_index(edge[n].device);
	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct policy_range range = {
			.class = (uint8_t) class, .lo = edge[n].lo, .hi = (uint16_t)(edge[n].lo + BLOCK - 1)};

		link.lo[class] = range.lo;
		link.hi[class] = range.hi;
		for (address = 0; address < ns->addresses; address++) {
			steering_allow(ns, address, &range, edge[n].slice);
			for (port = range.lo; port <= range.hi; port++) {
				steering_hold(ns, address, (enum steer_class) class, (uint16_t)port, true);
				scenery.world->open[STEER_BLOCK(address, class)]->port[port] = STEER_LINK;
			}
		}
	}
	if (steering_link(ns, n + 1, &link) < 0)
		tap_bail("steering_link");
	make_netns(&edge[n].block, edge[n].slice, edge[n].lo, (uint16_t)(edge[n].lo + BLOCK - 1));
	make_netns(&edge[n].all, edge[n].slice, 0, 65535);
	open_proxied(&edge[n].all);
}

/**
 * edge_link_make() - make the links
 */
void edge_link_make(void)
{
	unsigned n;

	traffic = mmap(NULL, STEER_LINKS_MAX * sizeof(*traffic), PROT_READ, MAP_SHARED,
		       steering_link_traffic_fd(&scenery.world->ns), 0);
	if (traffic == MAP_FAILED)
		tap_bail("mmap of link_traffic");
	program = scenery_program("steer_link");
	blocks = scenery.netns;
	blocks.ranges = 0;
	for (n = 0; n < LINKS; n++)
		make_link(n);
	for (n = 0; n < LINKS; n++) {
		add_ports(&blocks, edge[n].slice, edge[n].lo, (uint16_t)(edge[n].lo + BLOCK - 1));
		add_ports(&scenery.netns, edge[n].slice, edge[n].lo, (uint16_t)(edge[n].lo + BLOCK - 1));
	}
}

/**
 * edge_link_gets() - whether a packet from the wire may be for a link, and not for the TUN
 * @packet: its first byte
 * @size: bytes
 */
bool edge_link_gets(const uint8_t *packet, size_t size)
{
	return reference_in(&blocks, packet, size) != REFERENCE_STOPS;
}

/** is_solicitation() - whether this is asked of neighbours, or said to the link alone */
static bool is_solicitation(const struct shape *shape)
{
	return shape->size > 40 && shape->byte[0] >> 4 == 6 && shape->byte[6] == 58 && shape->byte[40] == 135;
}

/** reason_of() - why a link's packet was dropped */
static unsigned reason_of(unsigned n, const uint64_t before[STEER_REASONS_N])
{
	unsigned reason;

	for (reason = 0; reason < STEER_REASONS_N && traffic[n + 1].dropped[reason] == before[reason]; reason++)
		;
	return reason;
}

/** check_passed() - a packet has gone on: was that right, and by the right way? */
static void check_passed(unsigned n, const struct shape *shape, bool to_relay)
{
	reference_set block, all;
	enum reference_passage own = reference_out(&edge[n].block, shape->byte, shape->size, &block);
	enum reference_passage any = reference_out(&edge[n].all, shape->byte, shape->size, &all);
	char text[256];

	if (to_relay)
		relayed++;
	else
		straight++;
	if (any == REFERENCE_STOPS)
		scenery_disagree("link", reference_text(all, text), shape->byte, shape->size);
	if (reference_is_later(shape->byte, shape->size))
		return;
	if (to_relay && (own == REFERENCE_PASSES || edge[n].flags & STEER_LINK_STRICT))
		scenery_disagree("link", "goes to the relay", shape->byte, shape->size);
	if (!to_relay && own == REFERENCE_STOPS)
		scenery_disagree("link", reference_text(block, text), shape->byte, shape->size);
}

/** check_refused() - a packet was dropped: was that right, and for the right reason? */
static void check_refused(unsigned n, const struct shape *shape, unsigned reason)
{
	reference_set block, all;
	enum reference_passage own = reference_out(&edge[n].block, shape->byte, shape->size, &block);
	enum reference_passage any = reference_out(&edge[n].all, shape->byte, shape->size, &all);
	bool strict = edge[n].flags & STEER_LINK_STRICT, excused;
	char seen[512], text[256];

	if (reason < STEER_REASONS_N)
		refused[reason]++;
	excused = (reason == STEER_OUT_NO_ROUTE && scenery_onlink(shape)) ||
		  (reason == STEER_OUT_TOO_BIG && shape->size > SCENERY_MTU) ||
		  (reason == STEER_OUT_LOCAL && reference_to_self(&scenery.netns, shape->byte, shape->size)) ||
		  (reason == STEER_OUT_NO_ROUTE && own != REFERENCE_PASSES && reference_has(block, "no-flow")) ||
		  ((reason == STEER_OUT_ORPHAN || reason == STEER_OUT_OVERLAP) &&
		   reference_is_later(shape->byte, shape->size));
	if (excused)
		return;
	snprintf(seen, sizeof(seen), "%s; the reference says %s", scenery_reason(reason), reference_text(all, text));
	if (own == REFERENCE_PASSES || (any == REFERENCE_PASSES && !strict))
		scenery_disagree("link", seen, shape->byte, shape->size);
	if (reason == STEER_LINK_PORT ? !strict || own == REFERENCE_PASSES
				      : reason != STEER_LINK_ONLINK && !scenery_fits(reason, all))
		scenery_disagree("link", seen, shape->byte, shape->size);
}

/**
 * edge_link_packet() - one packet out of one of the links
 */
void edge_link_packet(void)
{
	static uint8_t frame[ETH_HLEN + SHAPE_ROOM];
	static struct shape shape;
	unsigned n = dice_below(&scenery.dice, LINKS);
	const uint16_t ports[] = {edge[n].lo, (uint16_t)(edge[n].lo + BLOCK - 1), (uint16_t)(edge[n].lo + BLOCK)};
	uint64_t before[STEER_REASONS_N], to_relay = traffic[n + 1].to_relay;
	uint32_t action;

	scenery_build(&shape, false, ports, ARRAY_SIZE(ports));
	if (shape.size < HEADER || is_solicitation(&shape))
		return;
	memcpy(before, traffic[n + 1].dropped, sizeof(before));
	scenery_frame(frame, &shape);
	action = scenery_run(program, edge[n].ifindex, frame, ETH_HLEN + shape.size);
	scenery.world->traffic[edge[n].slice].tap_drained = scenery.world->traffic[edge[n].slice].tap_queued;
	if (action == TC_ACT_REDIRECT)
		check_passed(n, &shape, traffic[n + 1].to_relay != to_relay);
	else if (action == TC_ACT_SHOT)
		check_refused(n, &shape, reason_of(n, before));
	else
		scenery_disagree("link", "neither goes on nor is dropped", shape.byte, shape.size);
}

/**
 * edge_link_report() - what was seen
 */
void edge_link_report(void)
{
	unsigned reason;

	printf("steer_link: %" PRIu64 " straight on, %" PRIu64 " to the relay", straight, relayed);
	for (reason = 0; reason < STEER_REASONS_N; reason++)
		if (refused[reason])
			printf(", %" PRIu64 " %s", refused[reason], scenery_reason(reason));
	printf("\n");
}
