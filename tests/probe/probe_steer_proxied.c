/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_steer_proxied.c: proxied prefixes: which packets steer_in takes, and what steer_out lets go where
 */
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "tap.h"
#include "util.h"
#include "world.h"

static struct packet packet, inner;
static const char *mode;

typedef bool way(struct world *w, const struct packet *packet);

/**
 * goes() - check what becomes of a packet
 * @w: the world
 * @in: tun_send or wire_send: where it comes from
 * @out: where it shall be found, unchanged, or not
 * @recipe: of the packet
 * @what: becomes of it
 */
static void goes(struct world *w, way *in, way *out, const struct recipe *recipe, const char *what)
{
	packet_make(&packet, recipe);
	tap_ok(in(w, &packet) && out(w, &packet), "%s: protocol %u, ports %u and %u, from %s to %s: %s", mode,
	       recipe->protocol, recipe->sport, recipe->dport, recipe->src, recipe->dst, what);
}

/**
 * refused() - check that a packet of the relay is dropped and counted, and does not leave
 * @w: the world
 * @recipe: of the packet
 * @slice: that it is counted for
 * @reason: why it is dropped
 * @what: it is
 */
static void refused(struct world *w, const struct recipe *recipe, unsigned slice, enum steer_reason reason,
		    const char *what)
{
	uint64_t before = w->traffic[slice].dropped[reason];

	goes(w, tun_send, wire_silent, recipe, what);
	tap_ok(w->traffic[slice].dropped[reason] == before + 1, "%s: it is counted as reason %u", mode, reason);
}

/* Addresses of one family */
struct family {
	const char *peer, *host, *first, *inside, *last, *before, *behind;
	uint8_t requests[3], replies[3], others[3]; /* ICMP types, ended by 255 */
};

static const struct family families[] = {
	{PEER4,
	 HOST4,
	 "198.51.100.64",
	 "198.51.100.70",
	 "198.51.100.79",
	 "198.51.100.63",
	 "198.51.100.80",
	 {8, 13, 255},
	 {0, 14, 255},
	 {17, 10, 255}},
	{PEER6,
	 HOST6,
	 "2001:db8:9::",
	 "2001:db8:9::1:7",
	 "2001:db8:9::ffff:ffff:ffff:ffff",
	 "2001:db8:8:ffff:ffff:ffff:ffff:ffff",
	 "2001:db8:9:1::",
	 {128, 255, 255},
	 {129, 255, 255},
	 {133, 135, 255}},
};

/**
 * test_ports() - every address of a prefix, and none beside it; every port, where a flow is open
 * @w: the world
 * @f: addresses
 */
static void test_ports(struct world *w, const struct family *f)
{
	static const uint8_t protocols[] = {TCP, UDP, DCCP};
	struct recipe r = {.src = f->peer, .sport = 80, .ttl = 1};

	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
		r.protocol = protocols[i];
		for (const char *const *dst = (const char *const[]){f->first, f->inside, f->last, NULL}; *dst;
		     dst++) {
			r.dst = *dst;
			for (const uint16_t *port = (uint16_t[]){PORT, 0, 1}; *port != 1; port++) {
				r.dport = *port;
				goes(w, wire_send, tun_gets, &r, "steered");
			}
			for (const uint16_t *port = (uint16_t[]){PORT_CLOSED, PORT_UNHELD, PORT_HOST, 0}; *port;
			     port++) {
				r.dport = *port;
				goes(w, wire_send, tun_silent, &r, "left alone");
			}
		}
		r.dport = PORT;
		r.dst = f->before;
		goes(w, wire_send, tun_silent, &r, "beside the prefix: left alone");
		r.dst = f->behind;
		goes(w, wire_send, tun_silent, &r, "beside the prefix: left alone");
	}
}

/**
 * test_icmp() - requests are for the flow on their identifier, as replies are; the rest is the host's
 * @w: the world
 * @f: addresses
 */
static void test_icmp(struct world *w, const struct family *f)
{
	struct recipe r = {.src = f->peer, .dst = f->inside, .protocol = ICMP};

	for (unsigned i = 0; f->requests[i] != 255; i++) {
		r.type = f->requests[i];
		r.sport = PORT;
		goes(w, wire_send, tun_gets, &r, "a request: steered");
		r.sport = PORT_CLOSED;
		goes(w, wire_send, tun_silent, &r, "a request with a closed id: left alone");
		r.dst = f->host;
		r.sport = PORT;
		goes(w, wire_send, tun_silent, &r, "a request to an own address: left alone");
		r.dst = f->inside;
	}
	for (unsigned i = 0; f->replies[i] != 255; i++) {
		r.type = f->replies[i];
		r.dport = PORT;
		goes(w, wire_send, tun_gets, &r, "a reply: steered");
		r.dport = PORT_CLOSED;
		goes(w, wire_send, tun_silent, &r, "a reply with a closed id: left alone");
	}
	for (unsigned i = 0; f->others[i] != 255; i++) {
		r.type = f->others[i];
		r.sport = r.dport = PORT;
		goes(w, wire_send, tun_silent, &r, "another ICMP message: left alone");
	}
}

/**
 * test_errors() - an ICMP error is for the address that sent what it is about, not for its neighbour in the prefix
 * @w: the world
 * @f: addresses
 */
static void test_errors(struct world *w, const struct family *f)
{
	struct recipe in = {.src = f->inside, .dst = f->peer, .protocol = UDP, .sport = PORT, .dport = 80};
	struct recipe r = {.src = f->peer, .dst = f->inside, .protocol = ICMP, .inner = &inner};

	r.type = strchr(f->peer, ':') ? 1 : 3;
	packet_make(&inner, &in);
	goes(w, wire_send, tun_gets, &r, "an error: steered");
	r.dst = f->first;
	goes(w, wire_send, tun_silent, &r, "an error to another address of the prefix: left alone");
	r.dst = f->inside;
	in.sport = PORT_CLOSED;
	packet_make(&inner, &in);
	goes(w, wire_send, tun_silent, &r, "an error about a closed port: left alone");
	in.protocol = ICMP;
	in.sport = PORT;
	in.type = f->requests[0];
	packet_make(&inner, &in);
	goes(w, wire_send, tun_gets, &r, "an error about a request: steered");
}

/**
 * test_fragments() - a later fragment follows its first to the same address
 * @w: the world
 * @f: addresses
 */
static void test_fragments(struct world *w, const struct family *f)
{
	struct recipe first = {.src = f->peer,
			       .dst = f->inside,
			       .protocol = UDP,
			       .sport = 80,
			       .dport = PORT,
			       .fragmented = true,
			       .fragment = FRAGMENT_MORE,
			       .payload = 36,
			       .id = 77};
	struct recipe later = first;

	later.fragment = 6;
	goes(w, wire_send, tun_silent, &later, "a later fragment before its first: left alone");
	goes(w, wire_send, tun_gets, &first, "a first fragment: steered");
	goes(w, wire_send, tun_gets, &later, "its later fragment: steered");
	later.dst = f->last;
	goes(w, wire_send, tun_silent, &later, "a later fragment to another address: left alone");
}

/**
 * test_sources() - nobody outside can be in a prefix
 * @w: the world
 * @f: addresses
 */
static void test_sources(struct world *w, const struct family *f)
{
	struct recipe r = {.src = f->inside, .dst = f->host, .protocol = UDP, .sport = PORT, .dport = PORT};

	goes(w, wire_send, tun_silent, &r, "a proxied source from outside: left alone");
	r.dst = f->last;
	goes(w, wire_send, tun_silent, &r, "a proxied source from outside: left alone");
	r.src = f->host;
	r.sport = PORT_HOST; /* the host may tell that source, itself, that it has no route: not about an open port */
	goes(w, wire_send, tun_silent, &r, "an own source from outside: left alone");
}

/**
 * test_leaving() - from any address of the prefix, where the port is held, to the wire
 * @w: the world
 * @f: addresses
 */
static void test_leaving(struct world *w, const struct family *f)
{
	struct recipe r = {.dst = f->peer, .dport = 80, .ttl = 1};

	for (const char *const *src = (const char *const[]){f->first, f->inside, f->last, NULL}; *src; src++) {
		r.src = *src;
		for (const uint8_t *protocol = (uint8_t[]){TCP, UDP, ICMP, 0}; *protocol; protocol++) {
			r.protocol = *protocol;
			r.type = f->requests[0];
			r.sport = PORT;
			goes(w, tun_send, wire_gets, &r, "leaves");
			r.sport = PORT_UNHELD;
			refused(w, &r, 0, STEER_OUT_PORT, "from a port that is not held");
		}
	}
	r.protocol = UDP;
	r.sport = PORT;
	r.src = f->before;
	refused(w, &r, 0, STEER_OUT_SOURCE, "from beside the prefix");
	r.src = f->behind;
	refused(w, &r, 0, STEER_OUT_SOURCE, "from beside the prefix");
	r.src = f->inside;
	r.dst = strchr(f->peer, ':') ? DENIED6 : DENIED4;
	refused(w, &r, SLICE_WHOLE, STEER_OUT_DENIED, "to a denied destination");
	r.dst = f->host;
	refused(w, &r, SLICE_WHOLE, STEER_OUT_LOCAL, "to the host itself");
	r.dport = PORT;
	goes(w, tun_send, tun_gets, &r, "to a flow on an own address: gets there");
}

/**
 * test_arriving() - to a proxied address, without leaving: where a flow is open, whoever sends it; else not at all
 * @w: the world
 * @f: addresses
 */
static void test_arriving(struct world *w, const struct family *f)
{
	const struct {
		const char *src;
		uint16_t port;
		unsigned slice;
	} senders[] = {{f->host, PORT, SLICE},
		       {f->host, PORT_LOCAL, SLICE_LOCAL},
		       {f->first, PORT, SLICE_WHOLE},
		       {f->inside, PORT, SLICE_WHOLE}};
	struct recipe r = {.dst = f->inside};

	for (unsigned i = 0; i < ARRAY_SIZE(senders); i++) {
		r.src = senders[i].src;
		for (const uint8_t *protocol = (uint8_t[]){TCP, UDP, 0}; *protocol; protocol++) {
			r.protocol = *protocol;
			r.sport = senders[i].port;
			r.dport = PORT;
			goes(w, tun_send, tun_gets, &r, "to a flow: gets there");
			r.dport = PORT_CLOSED;
			refused(w, &r, senders[i].slice, STEER_OUT_NO_ROUTE, "to a closed port");
			r.dport = PORT_UNHELD;
			refused(w, &r, senders[i].slice, STEER_OUT_NO_ROUTE, "to a port that is not held");
		}
	}
	r = (struct recipe){
		.src = f->host, .dst = f->inside, .protocol = ICMP, .type = f->requests[0], .sport = PORT};
	goes(w, tun_send, tun_gets, &r, "a request to a flow on the same id: gets there");
	r.sport = PORT_LOCAL;
	refused(w, &r, SLICE_LOCAL, STEER_OUT_NO_ROUTE, "a request with an id without a flow");
}

/**
 * test_sent_fragments() - a later fragment to a proxied address follows its first there, and nothing else
 * @w: the world
 * @f: addresses
 */
static void test_sent_fragments(struct world *w, const struct family *f)
{
	struct recipe first = {.src = f->host,
			       .dst = f->inside,
			       .protocol = UDP,
			       .sport = PORT_LOCAL,
			       .dport = PORT,
			       .fragmented = true,
			       .fragment = FRAGMENT_MORE,
			       .payload = 36,
			       .id = 78};
	struct recipe later = first;

	later.fragment = 6;
	refused(w, &later, 0, STEER_OUT_ORPHAN, "a later fragment before its first");
	goes(w, tun_send, tun_gets, &first, "a first fragment to a flow: gets there");
	goes(w, tun_send, tun_gets, &later, "its later fragment: gets there");
	first.id = later.id = 79;
	first.dport = PORT_CLOSED;
	refused(w, &first, SLICE_LOCAL, STEER_OUT_NO_ROUTE, "a first fragment to a closed port");
	refused(w, &later, 0, STEER_OUT_ORPHAN, "its later fragment");
}

/**
 * test_own() - an own address in a prefix stays the host's; a prefix that is gone is nobody's
 * @w: the world
 */
static void test_own(struct world *w)
{
	struct recipe r = {.src = PEER4, .dst = "198.51.100.65", .protocol = UDP, .sport = 80, .dport = PORT};
	struct recipe out = {.src = "198.51.100.65", .dst = PEER4, .protocol = UDP, .sport = PORT, .dport = 80};
	struct netns *ns = &w->ns;

	goes(w, wire_send, tun_gets, &r, "steered");
	addr_parse(r.dst, &ns->address[ns->addresses].addr);
	steering_address(ns, ns->addresses, true);
	goes(w, wire_send, tun_silent, &r, "when it is an own address: left alone");
	refused(w, &out, 0, STEER_OUT_PORT, "from it when it is an own address");
	steering_address(ns, ns->addresses, false);
	goes(w, wire_send, tun_gets, &r, "when it is that no more: steered");
	steering_address(ns, STEER_ADDRESSES_MAX, false);
	goes(w, wire_send, tun_silent, &r, "when the prefix is gone: left alone");
	refused(w, &out, 0, STEER_OUT_SOURCE, "when the prefix is gone");
	r.dst = "203.0.113.7";
	goes(w, wire_send, tun_gets, &r, "to another prefix, of one address: steered");
	r.dst = "203.0.113.8";
	goes(w, wire_send, tun_silent, &r, "beside it: left alone");
	r.dst = "203.0.113.7";
	packet_make(&packet, &r);
	world_stale();
	wire_send(w, &packet);
	wire_settle(w);
	world_alive();
	tap_ok(tun_silent(w, &packet), "%s: a dead monitor's steering leaves all alone", mode);
}

/**
 * checks() - all of them
 * @w: the world
 */
static void checks(struct world *w)
{
	world_proxy(w);
	mode = steering_mode(&w->ns);
	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		test_ports(w, &families[i]);
		test_icmp(w, &families[i]);
		test_errors(w, &families[i]);
		test_fragments(w, &families[i]);
		test_sources(w, &families[i]);
		test_leaving(w, &families[i]);
		test_arriving(w, &families[i]);
		test_sent_fragments(w, &families[i]);
	}
	test_own(w);
}

int main(void)
{
	return world_probe(1500, checks);
}
