/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verdict.c: what the verdict and the look-up cost for one packet, with 1 to 100,000 flows
 *
 * What receive.c does for each packet between read(2) and send(2): pkt_parse(),
 * flow_find() and policy_receive(). The flows are five-tuples on a thousand
 * ports, in the relay's own tables. A packet is written anew into one buffer
 * before each, as read(2) does it. Measured are
 *
 *	warm	64 flows in turn, among all the others: everything that is touched is in the caches
 *	random	all flows in random order: with many flows their own memory is not in the caches
 *	cold	one packet after a buffer larger than the caches was walked through: nothing is, not even code
 *
 * Prints a JSON array of {"family", "flows", "warm", "random", "cold"}, ns per packet. All numbers of
 * flows take turns in many short rounds, because machines are noisy and drift. What disturbs only adds: so warm and
 * random are the shortest round that judges packets less the shortest that only makes them, cold the lower quartile.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"
#include "util.h"

#define FLOWS_MAX 100000
#define PORTS 1000
#define FIRST 20000
#define REMOTE_PORT 443
#define SLICE 1
#define HOT 64 /* flows that are used in turn when warm */
#define ROUNDS 60
#define PACKETS 20000         /* in a round */
#define PACKETS_RANDOM 100000 /* the same: enough to find each flow a few times */
#define RANDOM_SHARE 6        /* in one round of so many */
#define COLD 3                /* packets in a round, each after all caches were emptied */
#define EVICT_MIN (64 << 20)  /* bytes to walk through, or twice the largest cache */
#define FAMILIES 2

static struct netns netns;
static struct slice slice;
static struct addr local[FAMILIES];
static uint8_t packet[128];
static size_t packet_size;
static uint8_t *evict;
static size_t evict_size;

/* One number of flows of one family, and what was measured with it */
struct set {
	int family;
	unsigned count;
	struct flow *flows;
	struct flowtab table;
	double warm[2], random[2]; /* shortest round: packets only made, and judged */
	double cold[ROUNDS * COLD];
};

static struct set sets[] = {
	{AF_INET, 1},     {AF_INET6, 1},     {AF_INET, 1000},      {AF_INET6, 1000},
	{AF_INET, 10000}, {AF_INET6, 10000}, {AF_INET, FLOWS_MAX}, {AF_INET6, FLOWS_MAX},
};

/** fail() - end with a message */
static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

/** remote_of() - the remote host of the nth flow */
static struct addr remote_of(int family, unsigned n)
{
	uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
	uint32_t host = htonl(0xc6120000 + n / PORTS);

	memcpy(bytes + 12, &host, sizeof(host));
	return family == AF_INET ? addr_from_v4(&host) : addr_from_v6(bytes);
}

/** add_port() - a port is the slice's, and has connected flows on it */
static void add_port(uint16_t port)
{
	const struct policy_range span = {.class = CLASS_UDP, .lo = port, .hi = port};
	unsigned i;

	for (i = 0; i < FAMILIES; i++) {
		if (ports_claim(&netns.shard.ports, i, &span, SLICE, 0) < 0)
			fail("ports_claim");
		ports_add_levels(&netns.shard.ports, i, &span, 1);
	}
}

/** add_flow() - the nth flow, open, in the flow table */
static void add_flow(const struct set *set, unsigned n)
{
	struct flow *flow = &set->flows[n];
	int family = set->family;
	struct flowkey key = {.remote = remote_of(family, n),
			      .lport = (uint16_t)(FIRST + n % PORTS),
			      .rport = REMOTE_PORT,
			      .slice = SLICE,
			      .local = family == AF_INET6,
			      .class = CLASS_UDP};

	*flow = (struct flow){.slice = &slice, .state = FLOW_OPEN, .number = n + 1};
	flow->policy = (struct policy_flow){.class = CLASS_UDP,
					    .family = (uint8_t)family,
					    .local = local[family == AF_INET6],
					    .lo = key.lport,
					    .hi = key.lport,
					    .remote = key.remote,
					    .remote_port = REMOTE_PORT};
	if (flowtab_insert(&netns.shard.flows, &key, flow) < 0)
		fail("flowtab_insert");
}

/** make_packet() - a UDP packet to the host, of which patch() sets the ends */
static void make_packet(int family)
{
	size_t header = family == AF_INET ? 20 : 40;

	memset(packet, 0, sizeof(packet));
	packet_size = header + 8 + 32;
	packet[0] = family == AF_INET ? 0x45 : 0x60;
	if (family == AF_INET) {
		packet[3] = (uint8_t)packet_size;
		packet[8] = 64;
		packet[9] = IPPROTO_UDP;
		memcpy(packet + 16, local[0].b + 12, 4);
	} else {
		packet[5] = 40;
		packet[6] = IPPROTO_UDP;
		packet[7] = 64;
		memcpy(packet + 24, local[1].b, 16);
	}
	packet[header] = REMOTE_PORT >> 8;
	packet[header + 1] = REMOTE_PORT & 0xff;
	packet[header + 5] = 40;
}

/** patch() - the packet is to the nth flow now */
static void patch(int family, unsigned n)
{
	struct addr remote = remote_of(family, n);
	uint16_t port = htons((uint16_t)(FIRST + n % PORTS)), sum;

	if (family == AF_INET6) {
		memcpy(packet + 8, remote.b, 16);
		memcpy(packet + 42, &port, sizeof(port));
		return;
	}
	memcpy(packet + 12, remote.b + 12, 4);
	memcpy(packet + 22, &port, sizeof(port));
	memset(packet + 10, 0, 2);
	sum = csum(packet, 20, 0);
	memcpy(packet + 10, &sum, sizeof(sum));
}

/** judge() - what the relay does for a packet; returns the flow that gets it */
static inline const struct flow *judge(void)
{
	const struct port *port;
	const struct flow *flow;
	struct pkt pkt;

	if (pkt_parse(&pkt, packet, packet_size, true) != VERDICT_PASS)
		return NULL;
	flow = flow_find(&netns, &pkt, &port);
	return flow && policy_receive(&flow->policy, &pkt) == VERDICT_PASS ? flow : NULL;
}

/** by_size() - order for qsort() */
static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/** run() - ns of a packet to so many flows at some distance, one after the other or any of them, judged or only made
 */
static double run(const struct set *set, unsigned many, unsigned distance, bool random, bool judged)
{
	uint32_t state = 1;
	uint64_t start = clock_ns();
	unsigned packets = random ? PACKETS_RANDOM : PACKETS, i, n;

	for (i = 0; i < packets; i++) {
		state = state * 1664525 + 1013904223;
		n = (random ? (unsigned)((uint64_t)state * many >> 32) : i % many) * distance;
		patch(set->family, n);
		if (judged && judge() != &set->flows[n])
			fail("a packet did not find its flow");
		__asm__ volatile("" ::: "memory");
	}
	return (double)(clock_ns() - start) / packets;
}

/** keep_shorter() - a round that only makes packets, and one that judges them */
static void keep_shorter(const struct set *set, bool random, double shortest[2])
{
	unsigned many = random || set->count < HOT ? set->count : HOT, judged;

	for (judged = 0; judged < 2; judged++) {
		double ns = run(set, many, set->count / many, random, judged);

		if (!shortest[judged] || ns < shortest[judged])
			shortest[judged] = ns;
	}
}

/** cold_ns() - what it costs after everything was driven out of the caches, ns */
static double cold_ns(const struct set *set, unsigned n)
{
	uint64_t start, empty;
	size_t at;

	for (at = 0; at < evict_size; at += 64)
		evict[at]++;
	patch(set->family, n);
	start = clock_ns();
	empty = clock_ns();
	if (judge() != &set->flows[n])
		fail("a packet did not find its flow");
	return (double)(clock_ns() - empty) - (double)(empty - start);
}

/** measure() - one round with one set */
static void measure(struct set *set, unsigned round)
{
	unsigned i;

	netns.shard.flows = set->table;
	make_packet(set->family);
	keep_shorter(set, false, set->warm);
	if (round % RANDOM_SHARE == 0)
		keep_shorter(set, true, set->random);
	for (i = 0; i < COLD; i++)
		set->cold[round * COLD + i] = cold_ns(set, (round * COLD + i) * 7919 % set->count);
}

/** quartile() - the lower one of some figures, which are put in order */
static double quartile(double *ns, unsigned n)
{
	qsort(ns, n, sizeof(*ns), by_size);
	return ns[n / 4];
}

/** make_set() - the flows of a set, and the table that finds them */
static void make_set(struct set *set)
{
	unsigned i;

	set->flows = calloc(set->count, sizeof(*set->flows));
	if (!set->flows || flowtab_init(&netns.shard.flows) < 0)
		fail("memory");
	for (i = 0; i < set->count; i++)
		add_flow(set, i);
	set->table = netns.shard.flows;
}

/** prepare() - the netns, its addresses and ports */
static void prepare(void)
{
	static const char *const addresses[] = {"192.0.2.1", "2001:db8::1"};
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	unsigned i;

	evict_size = 2 * (size_t)(cache > 0 ? cache : 0);
	if (evict_size < EVICT_MIN)
		evict_size = EVICT_MIN;
	evict = calloc(1, evict_size);
	if (!evict)
		fail("memory");
	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		struct priv_address record = {.index = (uint8_t)i, .present = 1, .len = 128};

		if (!addr_parse(addresses[i], &record.addr) || !netns_set_address(&netns, &record))
			fail(addresses[i]);
		local[i] = record.addr;
	}
	slice.netns = &netns;
	slice.conf.record.slice = SLICE;
	for (i = 0; i < PORTS; i++)
		add_port((uint16_t)(FIRST + i));
}

/** report() - print the figures, and free what they are of */
static void report(struct set *set, const char *end)
{
	printf("{\"family\": %d, \"flows\": %u, \"warm\": %.1f, \"random\": %.1f, \"cold\": %.1f}%s\n",
	       set->family == AF_INET ? 4 : 6, set->count, set->warm[1] - set->warm[0],
	       set->random[1] - set->random[0], quartile(set->cold, ROUNDS * COLD), end);
	flowtab_free(&set->table);
	free(set->flows);
}

/** main() - measure */
int main(void)
{
	unsigned round, i;

	prepare();
	for (i = 0; i < ARRAY_SIZE(sets); i++)
		make_set(&sets[i]);
	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < ARRAY_SIZE(sets); i++)
			measure(&sets[i], round);
	printf("[");
	for (i = 0; i < ARRAY_SIZE(sets); i++)
		report(&sets[i], i + 1 < ARRAY_SIZE(sets) ? "," : "]");
	ports_free(&netns.shard.ports);
	free(evict);
	return 0;
}
