/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_steer_in.c: which packets steer_in takes, which it leaves, and that it changes none
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"
#include "util.h"
#include "world.h"

static struct packet packet, inner;
static const char *mode;

/**
 * arrives() - check that a packet from the wire is steered, unchanged
 * @w: the world
 * @recipe: of the packet
 * @what: it is
 */
static void arrives(struct world *w, const struct recipe *recipe, const char *what)
{
	packet_make(&packet, recipe);
	tap_ok(wire_send(w, &packet) && tun_gets(w, &packet), "%s: %s to %s is steered", mode, what, recipe->dst);
}

/**
 * stays() - check that a packet from the wire is left to the host
 * @w: the world
 * @recipe: of the packet
 * @what: it is
 */
static void stays(struct world *w, const struct recipe *recipe, const char *what)
{
	packet_make(&packet, recipe);
	tap_ok(wire_send(w, &packet) && tun_silent(w, &packet), "%s: %s to %s is left alone", mode, what,
	       recipe->dst);
}

/* A pair of addresses of one family */
struct pair {
	const char *peer, *host;
	bool v6;
};

/**
 * test_ports() - which ports are steered, in all classes
 * @w: the world
 * @pair: addresses
 */
static void test_ports(struct world *w, const struct pair *pair)
{
	struct recipe r = {.src = pair->peer, .dst = pair->host, .sport = 80, .type = pair->v6 ? 129 : 0};
	static const uint8_t protocols[] = {TCP, UDP, ICMP};
	static const char *const names[] = {"TCP", "UDP", "echo reply"};
	char what[64];

	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
		r.protocol = protocols[i];
		r.dport = PORT;
		r.ttl = i ? 1 : 255;
		arrives(w, &r, names[i]);
		for (const uint16_t *port = (uint16_t[]){PORT_CLOSED, PORT_UNHELD, PORT_HOST, 7000, 0}; *port;
		     port++) {
			snprintf(what, sizeof(what), "%s port %u", names[i], *port);
			r.dport = *port;
			stays(w, &r, what);
		}
	}
	r.dport = PORT;
	r.protocol = 47;
	stays(w, &r, "GRE");
	r.protocol = ICMP;
	r.sport = PORT;
	r.type = pair->v6 ? 128 : 8;
	stays(w, &r, "echo request with an open id");
	r.protocol = UDP;
	r.payload = 1400;
	arrives(w, &r, "UDP of 1400 bytes");
}

/**
 * test_errors() - ICMP errors follow the inner packet
 * @w: the world
 * @pair: addresses
 */
static void test_errors(struct world *w, const struct pair *pair)
{
	static const uint8_t types[2][5] = {{3, 4, 5, 11, 12}, {1, 2, 3, 4, 0}}, protocols[] = {TCP, UDP, ICMP};
	struct recipe in = {
		.src = pair->host, .dst = pair->peer, .sport = PORT, .dport = 80, .type = pair->v6 ? 128 : 8};
	struct recipe r = {.src = pair->peer, .dst = pair->host, .protocol = ICMP, .inner = &inner};
	char what[64];

	for (const uint8_t *type = types[pair->v6]; type < types[pair->v6] + 5 && *type; type++) {
		for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
			in.protocol = protocols[i];
			packet_make(&inner, &in);
			r.type = *type;
			snprintf(what, sizeof(what), "ICMP error %u about protocol %u", *type, in.protocol);
			arrives(w, &r, what);
		}
	}
	in.protocol = UDP;
	in.src = pair->v6 ? "fd11::7" : "10.11.0.7";
	packet_make(&inner, &in);
	stays(w, &r, "ICMP error about another address's packet");
	in.src = pair->host;
	in.sport = PORT_CLOSED;
	packet_make(&inner, &in);
	stays(w, &r, "ICMP error about a closed port");
	in.sport = 0;
	in.protocol = ICMP;
	in.dport = PORT_CLOSED;
	in.type = pair->v6 ? 129 : 0;
	packet_make(&inner, &in);
	stays(w, &r, "ICMP error about an echo reply with a closed id");
	in.dport = PORT;
	packet_make(&inner, &in);
	arrives(w, &r, "ICMP error about an echo reply");
	in.type = pair->v6 ? 1 : 3;
	in.sport = PORT;
	packet_make(&inner, &in);
	stays(w, &r, "ICMP error about an ICMP error");
	in.protocol = UDP;
	in.fragmented = true;
	in.fragment = 6;
	in.payload = 8;
	packet_make(&inner, &in);
	inner.data[pair->v6 ? 48 : 20] = PORT >> 8;
	inner.data[pair->v6 ? 49 : 21] = PORT & 0xff;
	stays(w, &r, "ICMP error about a later fragment that begins like an open port");
	in.fragmented = false;
	in.sport = PORT;
	packet_make(&inner, &in);
	inner.len = pair->v6 ? 40 : 20; /* and four bytes of tag */
	stays(w, &r, "ICMP error that ends inside the inner header");
}

/**
 * test_fragments() - later fragments follow their first
 * @w: the world
 * @pair: addresses
 */
static void test_fragments(struct world *w, const struct pair *pair)
{
	struct recipe first = {.src = pair->peer, .dst = pair->host, .protocol = UDP, .sport = 80, .dport = PORT};
	struct recipe later = first;

	first.fragmented = later.fragmented = true;
	first.payload = 36; /* with header and tag 48 bytes */
	first.fragment = FRAGMENT_MORE;
	later.fragment = 6;
	later.payload = 60;
	first.id = later.id = 77;
	stays(w, &later, "a later fragment without its first");
	arrives(w, &first, "a first fragment");
	arrives(w, &later, "its later fragment");
	later.id = 78;
	stays(w, &later, "another datagram's later fragment");
	later.id = 77;
	first.dport = PORT_CLOSED;
	stays(w, &first, "a first fragment to a closed port, same id");
	stays(w, &later, "its later fragment");
	if (pair->v6) {
		first.dport = PORT;
		first.fragment = 0;
		arrives(w, &first, "an atomic fragment");
	}
}

/**
 * test_forms() - sources, frames and header chains that are not for us
 * @w: the world
 */
static void test_forms(struct world *w)
{
	static const char *const sources[] = {
		"127.0.0.1", "0.0.0.0", "0.1.2.3",     "224.0.0.1", "255.255.255.255",  HOST4, SECOND4,
		"::1",       "::",      "::10.11.0.2", "ff02::1",   "::ffff:10.11.0.2", HOST6, SECOND6};
	static const uint8_t other[6] = {2, 2, 3, 4, 5, 6}, broadcast[6] = {255, 255, 255, 255, 255, 255};
	struct recipe r = {.protocol = UDP, .sport = 80, .dport = PORT};
	char what[64];

	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++) {
		r.src = sources[i];
		r.dst = strchr(r.src, ':') ? HOST6 : HOST4;
		snprintf(what, sizeof(what), "source %s", r.src);
		stays(w, &r, what);
	}
	r.src = PEER6;
	r.dst = "::ffff:" HOST4;
	stays(w, &r, "an IPv6 packet with a mapped destination");
	r.src = PEER4;
	r.dst = HOST4;
	packet_make(&packet, &r);
	tap_ok(wire_send_frame(w, &packet, w->host_mac, 5) && tun_silent(w, &packet), "%s: VLAN tag is left alone",
	       mode);
	packet_make(&packet, &r);
	tap_ok(wire_send_frame(w, &packet, other, -1) && tun_silent(w, &packet), "%s: another's frame is left alone",
	       mode);
	packet_make(&packet, &r);
	tap_ok(wire_send_frame(w, &packet, broadcast, -1) && tun_silent(w, &packet), "%s: a broadcast is left alone",
	       mode);
	r.option = 7;
	arrives(w, &r, "IPv4 with options");
	r = (struct recipe){.src = PEER6, .dst = HOST6, .protocol = TCP, .sport = 80, .dport = PORT, .extensions = 8};
	arrives(w, &r, "IPv6 with 8 extension headers");
	r.extensions = 9;
	stays(w, &r, "IPv6 with 9 extension headers");
	r.extensions = 1;
	r.last = HOP_BY_HOP;
	stays(w, &r, "IPv6 with hop-by-hop options in second place");
	r.last = 0;
	r.first = HOP_BY_HOP;
	arrives(w, &r, "IPv6 with hop-by-hop options");
	r.first = ROUTING;
	arrives(w, &r, "IPv6 with a routing header that has been travelled");
	r.left = 1;
	stays(w, &r, "IPv6 with a routing header that has not");
}

/**
 * test_limits() - a slice's share of the ring and its rate
 * @w: the world
 */
static void test_limits(struct world *w)
{
	struct recipe r = {.src = PEER4, .dst = HOST4, .protocol = UDP, .sport = 80, .dport = PORT_OTHER};
	struct steer_traffic *t = &w->traffic[SLICE];
	struct steer_slice slice = {.share = 1};
	uint64_t before = t->dropped[STEER_IN_SHARE], queued;

	t->drained = t->queued;
	steering_slice(&w->ns, SLICE, &slice);
	arrives(w, &r, "the first packet of a slice with room for one");
	packet_make(&packet, &r);
	wire_send(w, &packet);
	r.dport = PORT_LOCAL;
	arrives(w, &r, "another slice's packet");
	tap_ok(t->dropped[STEER_IN_SHARE] == before + 1, "%s: the second one was dropped and counted", mode);
	t->drained = t->queued + 3;
	r.dport = PORT_OTHER;
	arrives(w, &r, "a packet after the relay has read more than was counted");

	queued = t->queued;
	t->drained = queued;
	before = t->dropped[STEER_IN_RATE];
	slice.share = SHARE;
	slice.rate[BUCKET_IN_PACKETS] =
		(struct steer_rate){.cost_q10 = 1000 * NS_PER_S << 10, .burst_ns = 2500 * NS_PER_S};
	steering_slice(&w->ns, SLICE, &slice);
	for (unsigned i = 0; i < 6; i++) {
		packet_make(&packet, &r);
		wire_send(w, &packet);
	}
	r.dport = PORT_LOCAL;
	arrives(w, &r, "another slice's packet");
	tap_ok(t->queued - queued == 3 && t->dropped[STEER_IN_RATE] == before + 3,
	       "%s: a burst of 2.5 lets 3 of 6 packets in (%ju in, %ju dropped)", mode,
	       (uintmax_t)(t->queued - queued), (uintmax_t)(t->dropped[STEER_IN_RATE] - before));
	slice = (struct steer_slice){.share = SHARE};
	steering_slice(&w->ns, SLICE, &slice);
}

/**
 * test_stale() - a monitor that is dead, an address that is gone, ports that are shut
 * @w: the world
 */
static void test_stale(struct world *w)
{
	struct recipe r = {.src = PEER4, .dst = SECOND4, .protocol = UDP, .sport = 80, .dport = PORT};

	arrives(w, &r, "UDP");
	steering_address(&w->ns, 2, false);
	stays(w, &r, "UDP, the address being gone,");
	steering_address(&w->ns, 2, true);
	arrives(w, &r, "UDP, the address being back,");
	packet_make(&packet, &r);
	world_stale();
	wire_send(w, &packet);
	wire_settle(w);
	world_alive();
	tap_ok(tun_silent(w, &packet), "%s: a dead monitor's steering leaves all alone", mode);
	steering_close_all(&w->ns);
	packet_make(&packet, &r);
	wire_send(w, &packet);
	wire_settle(w);
	for (unsigned block = 0; block < w->ns.addresses * STEER_CLASSES; block++)
		w->open[block]->port[PORT] = STEER_PACKET_TUN;
	tap_ok(tun_silent(w, &packet), "%s: after steering_close_all() nothing is steered", mode);
}

/**
 * checks() - all of them
 * @w: the world
 */
static void checks(struct world *w)
{
	static const struct pair pairs[] = {{PEER4, HOST4, false}, {PEER6, HOST6, true}, {FAR4, SECOND4, false}};

	mode = steering_mode(&w->ns);
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		test_ports(w, &pairs[i]);
		test_errors(w, &pairs[i]);
		test_fragments(w, &pairs[i]);
	}
	test_forms(w);
	test_limits(w);
	test_stale(w);
}

int main(void)
{
	return world_probe(1500, checks);
}
