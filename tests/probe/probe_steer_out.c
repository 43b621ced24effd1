/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_steer_out.c: what the relay may send leaves unchanged, and nothing else leaves at all
 *
 * steer_out has run when write(2) to the TUN returns, so a refusal is read
 * off its counter at once; that nothing has left besides is shown by a later
 * packet. Refusals are a table: what is wrong with the packet, and the reason.
 */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "tap.h"
#include "util.h"
#include "world.h"

#define JUMBO 9000

static struct packet packet;
static const char *mode;

/**
 * leaves() - check that a packet of the relay reaches the peer, unchanged
 * @w: the world
 * @recipe: of the packet
 * @what: it is
 */
static void leaves(struct world *w, const struct recipe *recipe, const char *what)
{
	packet_make(&packet, recipe);
	tap_ok(tun_send(w, &packet) && wire_gets(w, &packet), "%s: %s to %s leaves", mode, what, recipe->dst);
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
	static const char *const names[] = {
#define X(symbol, name, text) name,
		STEER_REASONS(X)
#undef X
	};
	uint64_t before = w->traffic[slice].dropped[reason];

	packet_make(&packet, recipe);
	tun_send(w, &packet);
	tap_ok(w->traffic[slice].dropped[reason] == before + 1 && wire_silent(w, &packet), "%s: %s from %s to %s: %s",
	       mode, what, recipe->src, recipe->dst, names[reason]);
}

/**
 * test_leaving() - on the link, through gateways, with and without a known neighbour
 * @w: the world
 */
static void test_leaving(struct world *w)
{
	static const char *const ways[][2] = {
		{HOST4, PEER4}, {SECOND4, FAR4}, {HOST4, FAR4VIA6}, {HOST6, PEER6}, {SECOND6, FAR6}};
	struct recipe r = {.sport = PORT, .dport = 80};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		bool v6 = strchr(ways[i][0], ':');

		world_shell(w->ns.fd, "ip neigh flush dev up0");
		r.src = ways[i][0];
		r.dst = ways[i][1];
		r.protocol = TCP;
		r.ttl = 255;
		leaves(w, &r, "TCP to an unresolved neighbour");
		leaves(w, &r, "TCP to a resolved neighbour");
		r.protocol = UDP;
		r.ttl = 1;
		leaves(w, &r, "UDP with a TTL of 1");
		r.protocol = ICMP;
		for (const uint8_t *type = v6 ? (uint8_t[]){128, 129, 255} : (uint8_t[]){8, 0, 13, 14, 255};
		     *type != 255; type++) {
			r.type = *type;
			r.dport = PORT;
			leaves(w, &r, "ICMP request or reply");
		}
	}
	r.protocol = TCP;
	r.sport = PORT_CLOSED;
	leaves(w, &r, "TCP from a held port that is not open");
	r.sport = PORT;
}

/* What is wrong with a packet, and what steer_out says to it. Where nothing else is said it is UDP from PORT to 80.
 */
struct refusal {
	unsigned slice;
	enum steer_reason reason;
	const char *what;
	struct recipe recipe;
};

#define V4 .src = HOST4, .dst = PEER4
#define V6 .src = HOST6, .dst = PEER6
#define FROM4 .src = HOST4, .dst
#define FROM6 .src = HOST6, .dst
#define MORE .fragmented = true, .fragment = FRAGMENT_MORE
#define FIRST MORE, .payload = 4 /* 16 bytes of UDP, with the tag */
#define LATER(units) .fragmented = true, .fragment = units

/* clang-format off */
#define R(slice, reason, what, ...) {slice, STEER_##reason, what, {__VA_ARGS__}}
static const struct refusal refusals[] = {
	R(0, OUT_SOURCE, "forged source", .src = "10.11.0.9", .dst = PEER4),
	R(0, OUT_SOURCE, "forged source", .src = "fd11::9", .dst = PEER6),
	R(0, OUT_SOURCE, "loopback source", .src = "127.0.0.1", .dst = PEER4),
	R(0, OUT_SOURCE, "loopback source", .src = "::1", .dst = PEER6),
	R(0, OUT_SOURCE, "mapped source", .src = "::ffff:" HOST4, .dst = PEER6),
	R(0, OUT_PROTOCOL, "GRE", V4, .protocol = 47),
	R(0, OUT_PROTOCOL, "ICMPv6 in IPv4", V4, .protocol = ICMPV6),
	R(0, OUT_PROTOCOL, "ESP", V6, .protocol = 50),
	R(0, OUT_TYPE, "unreachable", V4, .protocol = ICMP, .type = 3),
	R(0, OUT_TYPE, "redirect", V4, .protocol = ICMP, .type = 5),
	R(0, OUT_TYPE, "packet too big", V6, .protocol = ICMP, .type = 2),
	R(0, OUT_TYPE, "neighbour advertisement", V6, .protocol = ICMP, .type = 136),
	R(0, OUT_TYPE, "router advertisement", V6, .protocol = ICMP, .type = 134),
	R(SLICE, OUT_FRAGMENT, "first fragment", V4, FIRST),
	R(SLICE, OUT_FRAGMENT, "first fragment", V6, FIRST),
	R(0, OUT_ORPHAN, "later fragment", V4, LATER(5)),
	R(0, OUT_ORPHAN, "later fragment", V6, LATER(5)),
	R(0, OUT_FRAGMENT, "atomic fragment", V6, .fragmented = true, .sport = PORT_LOCAL),
	R(0, OUT_FRAGMENT, "first fragment of 17 bytes", V4, MORE, .payload = 5, .sport = PORT_LOCAL),
	R(0, OUT_FRAGMENT, "first fragment of 17 bytes", V6, MORE, .payload = 5, .sport = PORT_LOCAL),
	R(0, OUT_FRAGMENT, "fragment beyond the datagram's end", V4, LATER(8191), .payload = 8),
	R(0, OUT_FRAGMENT, "fragment beyond the datagram's end", V6, LATER(8191), .payload = 8),
	R(0, OUT_TINY, "first fragment of 16 bytes of TCP", V4, FIRST, .protocol = TCP, .header = 8, .sport = PORT_LOCAL),
	R(0, OUT_TINY, "first fragment of 16 bytes of TCP", V6, FIRST, .protocol = TCP, .header = 8, .sport = PORT_LOCAL),
	R(0, OUT_TINY, "first fragment of 16 bytes of DCCP", V4, FIRST, .protocol = DCCP, .header = 8, .sport = PORT_LOCAL),
	R(0, OUT_TINY, "first fragment of 16 bytes of DCCP", V6, FIRST, .protocol = DCCP, .header = 8, .sport = PORT_LOCAL),
	R(0, OUT_OPTION, "later fragment with a source route", V4, LATER(5), .option = 131),
	R(0, OUT_OPTION, "later fragment with a routing header", V6, LATER(5), .first = ROUTING),
	R(0, OUT_OPTION, "loose source route", V4, .option = 131),
	R(0, OUT_OPTION, "strict source route", V4, .option = 137),
	R(0, OUT_OPTION, "routing header", V6, .first = ROUTING),
	R(0, OUT_OPTION, "routing header with hops left", V6, .first = ROUTING, .left = 1),
	R(0, OUT_OPTION, "home address", V6, .extensions = 2, .option6 = HOME_ADDRESS),
	R(0, OUT_OPTION, "home address in hop-by-hop options", V6, .first = HOP_BY_HOP, .option6 = HOME_ADDRESS),
	R(0, OUT_HEADER, "hop-by-hop options in second place", V6, .extensions = 1, .last = HOP_BY_HOP),
	R(0, OUT_HEADER, "length too large", V4, .lie = 1),
	R(0, OUT_HEADER, "length too small", V6, .lie = -1),
	R(0, OUT_HEADER, "9 extension headers", V6, .extensions = 9),
	R(0, OUT_PORT, "port that is not held", V4, .sport = PORT_UNHELD),
	R(0, OUT_PORT, "nobody's port", V4, .protocol = TCP, .sport = PORT_HOST),
	R(0, OUT_PORT, "nobody's id", V6, .protocol = ICMP, .type = 128, .sport = 7),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM4 = "127.0.0.1"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM4 = "127.9.9.9"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM4 = "0.0.0.0"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM6 = "::1"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM6 = "::"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM4 = "0.1.2.3"),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM6 = "::ffff:" PEER4),
	R(SLICE, OUT_LOOPBACK, "UDP", FROM6 = "::" PEER4),
	R(SLICE, OUT_LINK_LOCAL, "UDP", FROM4 = "169.254.7.7"),
	R(SLICE, OUT_LINK_LOCAL, "UDP", FROM6 = "fe80::7"),
	R(SLICE, OUT_LINK_LOCAL, "UDP", FROM6 = "febf:ffff::7"),
	R(SLICE, OUT_MULTICAST, "UDP", FROM4 = "224.0.0.1"),
	R(SLICE, OUT_MULTICAST, "UDP", FROM4 = "255.255.255.255"),
	R(SLICE, OUT_MULTICAST, "UDP", FROM6 = "ff02::1"),
	R(SLICE, OUT_DENIED, "UDP", FROM4 = DENIED4),
	R(SLICE, OUT_DENIED, "UDP", FROM6 = DENIED6),
	R(SLICE, OUT_DENIED, "UDP of the slice that may not", FROM4 = FORBIDDEN4),
	R(SLICE, OUT_DENIED, "UDP of the slice that may not", FROM6 = FORBIDDEN6),
	R(SLICE, OUT_NO_ROUTE, "UDP without route", FROM4 = "10.99.0.1"),
	R(SLICE, OUT_NO_ROUTE, "UDP to the subnet's broadcast", FROM4 = "10.11.0.255"),
	R(SLICE, OUT_NO_ROUTE, "UDP without route", FROM6 = "fd99::1"),
	R(SLICE, OUT_NO_ROUTE, "UDP on a route through lo", FROM4 = "10.14.0.1"),
	R(SLICE, OUT_NO_ROUTE, "UDP on a route through the TUN", FROM6 = "fd14::1"),
	R(SLICE, OUT_TOO_BIG, "9001 bytes", V4, .payload = JUMBO + 1 - 32),
	R(SLICE, OUT_TOO_BIG, "9001 bytes", V6, .payload = JUMBO + 1 - 52),
	R(SLICE, OUT_TOO_BIG, "60000 bytes", V6, .payload = 60000),
	R(SLICE, OUT_LOCAL, "UDP to the host", FROM4 = HOST4),
	R(SLICE, OUT_LOCAL, "UDP to the host", FROM6 = SECOND6),
	R(SLICE, OUT_LOCAL, "TCP to a closed port", FROM4 = SECOND4, .dport = PORT_CLOSED),
	R(SLICE, OUT_LOCAL, "echo request to the host", FROM4 = SECOND4, .protocol = ICMP, .type = 8),
	R(SLICE, OUT_LOCAL, "echo reply with a closed id", FROM4 = SECOND4, .protocol = ICMP, .dport = PORT_CLOSED),
};
/* clang-format on */

/* What leaves though it looks special */
static const struct {
	const char *what;
	struct recipe recipe;
} specials[] = {
	{"IPv4 with a record route option", {V4, .sport = PORT, .option = 7}},
	{"IPv4 with a timestamp option", {V4, .sport = PORT, .option = 68}},
	{"IPv4 with a router alert option", {V4, .sport = PORT, .option = 148}},
	{"IPv6 with a router alert option", {V6, .sport = PORT, .first = HOP_BY_HOP, .option6 = ROUTER_ALERT}},
	{"IPv6 with destination options", {V6, .sport = PORT, .extensions = 3}},
	{"IPv6 with 8 extension headers", {V6, .sport = PORT, .first = HOP_BY_HOP, .extensions = 7}},
	{"IPv4 that another slice may not send", {FROM4 = FORBIDDEN4, .sport = PORT_LOCAL}},
	{"IPv6 that another slice may not send", {FROM6 = FORBIDDEN6, .sport = PORT_LOCAL}},
};

/**
 * test_specials() - options that harm nobody, and one slice's deny-list and another's packets
 * @w: the world
 */
static void test_specials(struct world *w)
{
	for (unsigned i = 0; i < ARRAY_SIZE(specials); i++) {
		struct recipe r = specials[i].recipe;

		r.protocol = UDP;
		leaves(w, &r, specials[i].what);
	}
}

/**
 * test_refusals() - the table
 * @w: the world
 */
static void test_refusals(struct world *w)
{
	static const uint8_t junk[][24] = {{0x45}, {0x65}, {0x60, 0}, {0x44}};

	world_shell(w->ns.fd, "ip route add 10.14.0.0/24 dev lo && ip route add fd14::/64 dev tun");
	/* so that it is not for want of a route that nothing gets there */
	world_shell(w->ns.fd, "ip route add 169.254.0.0/16 via " PEER4 " && ip route add fe80::/10 via " PEER6);
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct recipe r = refusals[i].recipe;

		r.protocol = r.protocol ? r.protocol : UDP;
		r.sport = r.sport ? r.sport : PORT;
		r.dport = r.dport ? r.dport : 80;
		refused(w, &r, refusals[i].slice, refusals[i].reason, refusals[i].what);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(junk); i++) {
		uint64_t before = w->traffic[0].dropped[STEER_OUT_HEADER];
		ssize_t n = write(w->ns.tun_fd, junk[i], i == 3 ? 24 : 19);

		tap_ok(n < 0 || w->traffic[0].dropped[STEER_OUT_HEADER] == before + 1, "%s: garbage %u is dropped",
		       mode, i);
	}
}

/**
 * test_fragments() - a later fragment follows its first, in time and not into it
 * @w: the world
 * @src: source
 * @dst: destination
 * @denied: destination that no slice may send to
 */
static void test_fragments(struct world *w, const char *src, const char *dst, const char *denied)
{
	struct recipe first = {.src = src, .dst = dst, .protocol = UDP, .sport = PORT_LOCAL, .dport = 80, FIRST};
	struct recipe later = {.src = src, .dst = dst, .protocol = UDP, LATER(2), .payload = 60};

	first.id = later.id = 1;
	refused(w, &later, 0, STEER_OUT_ORPHAN, "later fragment before its first");
	leaves(w, &first, "first fragment");
	leaves(w, &later, "later fragment");
	later.fragment = 2 | FRAGMENT_MORE;
	later.payload = 60;
	leaves(w, &later, "later fragment that is not the last");
	later.fragment = 3;
	leaves(w, &later, "later fragment that reaches into another later one");
	later.fragment = 1;
	refused(w, &later, SLICE_LOCAL, STEER_OUT_OVERLAP, "later fragment that reaches into its first");
	later.fragment = 100;
	leaves(w, &later, "later fragment far behind");
	later.id = 2;
	refused(w, &later, 0, STEER_OUT_ORPHAN, "later fragment of another datagram");
	later.id = first.id = 3;
	first.sport = PORT;
	refused(w, &first, SLICE, STEER_OUT_FRAGMENT, "first fragment of a slice that may not");
	refused(w, &later, 0, STEER_OUT_ORPHAN, "later fragment of one that was refused");
	first.sport = PORT_LOCAL;
	first.dst = later.dst = denied;
	refused(w, &first, SLICE_LOCAL, STEER_OUT_DENIED, "first fragment");
	refused(w, &later, 0, STEER_OUT_ORPHAN, "later fragment of one that was refused");
}

/**
 * test_local_fragments() - fragments to a flow of the same host
 * @w: the world
 * @local: source and destination
 */
static void test_local_fragments(struct world *w, const char *local)
{
	struct recipe first = {
		.src = local, .dst = local, .protocol = UDP, .sport = PORT_LOCAL, .dport = PORT, FIRST};
	struct recipe later = {.src = local, .dst = local, .protocol = UDP, LATER(2), .payload = 60};

	first.id = later.id = 10;
	packet_make(&packet, &first);
	tap_ok(tun_send(w, &packet) && tun_gets(w, &packet), "%s: first fragment to a flow on %s", mode, local);
	packet_make(&packet, &later);
	tap_ok(tun_send(w, &packet) && tun_gets(w, &packet), "%s: later fragment to a flow on %s", mode, local);
}

/**
 * test_sizes() - packets that the kernel holds in pages leave up to the uplink's MTU
 * @w: the world
 */
static void test_sizes(struct world *w)
{
	struct recipe r = {V4, .protocol = UDP, .sport = PORT};

	for (const uint16_t *size = (uint16_t[]){1500, 3900, 4096, 8999, JUMBO, 0}; *size; size++) {
		char what[32];

		snprintf(what, sizeof(what), "%u bytes", *size);
		r.payload = *size - 32;
		leaves(w, &r, what);
	}
	r = (struct recipe){V6, .protocol = TCP, .sport = PORT, .payload = JUMBO - 64, .ttl = 1};
	leaves(w, &r, "9000 bytes");
}

/**
 * test_rate() - a slice's send limit
 * @w: the world
 */
static void test_rate(struct world *w)
{
	struct recipe r = {V4, .protocol = UDP, .sport = PORT_LOCAL, .payload = 1000 - 32};
	struct steer_slice slice = {.share = SHARE, .flags = STEER_LOCAL | STEER_FRAGMENTS};
	uint64_t before = w->traffic[SLICE_LOCAL].dropped[STEER_OUT_RATE];

	/* a second for each byte, and 1500 seconds ahead of the clock: the first two packets of 1,000 bytes */
	slice.rate[BUCKET_OUT_BYTES] = (struct steer_rate){.cost_q10 = NS_PER_S << 10, .burst_ns = 1500 * NS_PER_S};
	steering_slice(&w->ns, SLICE_LOCAL, &slice);
	leaves(w, &r, "the first packet");
	leaves(w, &r, "the second packet");
	refused(w, &r, SLICE_LOCAL, STEER_OUT_RATE, "the third packet");
	tap_ok(w->traffic[SLICE_LOCAL].dropped[STEER_OUT_RATE] == before + 1, "%s: one is counted", mode);
	slice = (struct steer_slice){.share = SHARE, .flags = STEER_LOCAL | STEER_FRAGMENTS};
	steering_slice(&w->ns, SLICE_LOCAL, &slice);
}

/**
 * bound_socket() - a UDP socket of the host's
 * @w: the world
 * @address: to bind to
 * @port: to bind to
 *
 * Return: fd
 */
static int bound_socket(struct world *w, const char *address, uint16_t port)
{
	struct sockaddr_storage ss;
	struct addr addr;
	int fd = world_socket(w->ns.fd, strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);

	addr_parse(address, &addr);
	addr_to_sockaddr(&addr, port, &ss);
	if (bind(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in6)) < 0)
		tap_bail("bind");
	return fd;
}

/**
 * socket_gets() - does a socket of the host get the payload of `packet`?
 * @fd: socket
 *
 * Return: true if its tag is what arrives.
 */
static bool socket_gets(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint8_t data[2048];
	ssize_t n;

	if (poll(&poll_fd, 1, WAIT_MS) <= 0)
		return false;
	n = recv(fd, data, sizeof(data), 0);
	return n >= 4 && packet_tag(data, (size_t)n) == packet.tag;
}

/**
 * test_local() - the host's own sockets and other flows, through lo
 * @w: the world
 * @local: source
 * @other: destination, may be the same
 * @rp_filter: net.ipv4.conf.all.rp_filter
 */
static void test_local(struct world *w, const char *local, const char *other, const char *rp_filter)
{
	struct recipe r = {.src = local, .dst = other, .protocol = UDP, .sport = PORT_LOCAL, .dport = 9000};
	int fd = bound_socket(w, other, 9000);
	struct sockaddr_storage ss;
	uint8_t data[2048];
	struct addr addr;
	struct pollfd tun = {.fd = w->ns.tun_fd, .events = POLLIN};
	bool came = false;

	world_sysctl(w->ns.fd, "ipv4/conf/all/rp_filter", rp_filter);
	packet_make(&packet, &r);
	tap_ok(tun_send(w, &packet) && socket_gets(fd), "%s: all.rp_filter %s: %s reaches a socket on %s", mode,
	       rp_filter, local, other);
	r.sport = PORT;
	r.dport = PORT_LOCAL;
	for (const uint8_t *protocol = (uint8_t[]){TCP, UDP, ICMP, 0}; *protocol; protocol++) {
		r.protocol = *protocol;
		r.type = strchr(local, ':') ? 129 : 0;
		if (*protocol == ICMP)
			r.dport = PORT; /* an id is both: source and destination flow are one */
		packet_make(&packet, &r);
		tap_ok(tun_send(w, &packet) && tun_gets(w, &packet),
		       "%s: all.rp_filter %s: flow on %s to flow on %s, protocol %u", mode, rp_filter, local, other,
		       *protocol);
	}
	addr_parse(local, &addr);
	addr_to_sockaddr(&addr, PORT, &ss);
	sendto(fd, "\xca\xfe\xba\xbe", 4, 0, (struct sockaddr *)&ss, sizeof(struct sockaddr_in6));
	while (!came && poll(&tun, 1, WAIT_MS) > 0) {
		ssize_t n = read(w->ns.tun_fd, data, sizeof(data));

		came = n > 0 && packet_tag(data, (size_t)n) == 0xcafebabe && packet_sums_ok(data, (size_t)n);
	}
	tap_ok(came, "%s: all.rp_filter %s: a socket on %s reaches a flow on %s", mode, rp_filter, other, local);
	close(fd);
}

/**
 * test_stale() - a monitor that is dead
 * @w: the world
 */
static void test_stale(struct world *w)
{
	struct recipe r = {V4, .protocol = UDP, .sport = PORT};
	uint64_t before = w->traffic[0].dropped[STEER_OUT_STALE];

	world_stale();
	packet_make(&packet, &r);
	tun_send(w, &packet);
	tap_ok(w->traffic[0].dropped[STEER_OUT_STALE] == before + 1, "%s: nothing is sent for a dead monitor", mode);
	steering_beat();
	tap_ok(wire_silent(w, &packet), "%s: nothing has left", mode);
	world_alive();
	leaves(w, &r, "UDP, after the monitor came back,");
}

/**
 * checks() - all of them
 * @w: the world
 */
static void checks(struct world *w)
{
	mode = steering_mode(&w->ns);
	test_leaving(w);
	test_specials(w);
	test_sizes(w);
	test_rate(w);
	test_refusals(w);
	test_fragments(w, HOST4, PEER4, DENIED4);
	test_fragments(w, HOST6, FAR6, DENIED6);
	test_local_fragments(w, HOST4);
	test_local_fragments(w, HOST6);
	for (const char *const *rp = (const char *const[]){"0", "1", "2", NULL}; *rp; rp++) {
		test_local(w, HOST4, HOST4, *rp);
		test_local(w, SECOND4, HOST4, *rp);
		test_local(w, HOST6, SECOND6, *rp);
	}
	test_stale(w);
}

int main(void)
{
	return world_probe(JUMBO, checks);
}
