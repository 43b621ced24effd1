/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_readers.c: read-only flows: who gets a copy, against a model that looks at every flow
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "flow.h"
#include "packet.h"
#include "readers.h"
#include "suite.h"
#include "util.h"

#define FLOWS 48
#define STEPS 20000
#define FIRST 40000
#define PORTS 6
#define SLICE 7

static struct netns netns;
static struct slice slice;
static struct flow flows[FLOWS];
static int reader_end[FLOWS];

/** set_up() - a netns with an address of each family, and a slice that owns both */
static void set_up(void)
{
	unsigned i;

	netns = (struct netns){0};
	ck_assert_int_eq(flowtab_init(&netns.shard.readers), 0);
	for (i = 0; i < ARRAY_SIZE(versions); i++) {
		struct priv_address record = {
			.index = (uint8_t)i, .present = 1, .len = 128, .addr = addr(local(versions[i]))};

		ck_assert(netns_set_address(&netns, &record));
	}
	slice = (struct slice){.netns = &netns, .owned = 3};
	slice.conf.record.slice = SLICE;
}

/** tear_down() - nothing is left */
static void tear_down(void)
{
	ck_assert_uint_eq(netns.shard.readers.used, 0);
	ck_assert_uint_eq(slice.readers, 0);
	ck_assert_ptr_null(slice.wide);
	flowtab_free(&netns.shard.readers);
	ports_free(&netns.shard.ports);
}

/** make() - the nth flow, of random kind and ports, added; or not, when memory is short */
static void make(unsigned n)
{
	struct flow *flow = &flows[n];
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	*flow = (struct flow){.slice = &slice, .socket.fd = pair[0], .address = PRIV_ANY_ADDRESS, .state = FLOW_OPEN};
	reader_end[n] = pair[1];
	flow->kind = rand() % 2 ? PROTO_KIND_SNIFFER : PROTO_KIND_ICMP_ERROR;
	flow->opener.uid = (uint32_t)rand() % 2;
	flow->policy = (struct policy_flow){.class = (uint8_t)(rand() % 2), .read_only = true};
	flow->policy.lo = (uint16_t)(FIRST + rand() % PORTS);
	flow->policy.hi = (uint16_t)(flow->policy.lo + (rand() % 3 ? 0 : 2));
	if (rand() % 3 == 0) {
		flow->address = (uint8_t)(rand() % 2);
		flow->policy.local = addr(local(versions[flow->address]));
		flow->policy.family = flow->address ? AF_INET6 : AF_INET;
	}
	if (flow->kind == PROTO_KIND_SNIFFER) {
		flow->flags = rand() % 2 ? PROTO_FLAG_ERRORS : 0;
		flow->sees_all = rand() % 3 == 0;
		if (rand() % 4 == 0)
			flow->policy.lo = flow->policy.hi = 0;
		if (!flow->policy.lo && rand() % 2)
			flow->policy.class = PROTO_CLASS_ANY;
	}
	ck_assert_int_eq(readers_add(flow), 0);
}

/** end() - the nth flow goes */
static void end(unsigned n)
{
	readers_remove(&flows[n]);
	ck_assert_ptr_null(flows[n].reader);
	close_fd(&flows[n].socket.fd);
	close_fd(&reader_end[n]);
	flows[n].state = FLOW_NEW;
}

/** claimed() - the entry of a port, when somebody has it */
static const struct port *claimed(unsigned address, unsigned class, unsigned port)
{
	return ports_find(&netns.shard.ports, address, class, (uint16_t)port);
}

/** toggle_claim() - a random port is claimed by a random uid, or let go */
static void toggle_claim(void)
{
	unsigned address = (unsigned)rand() % 2;
	struct policy_range span = {.class = (uint8_t)(rand() % 2), .lo = (uint16_t)(FIRST + rand() % PORTS)};

	span.hi = span.lo;
	if (claimed(address, span.class, span.lo)) {
		ports_unclaim(&netns.shard.ports, address, &span);
		return;
	}
	ck_assert_int_eq(ports_claim(&netns.shard.ports, address, &span, SLICE, (uint32_t)rand() % 2), 0);
	readers_mark(&slice, address, &span);
}

/** expects() - whether a flow is to get a copy, by looking at it alone */
static bool expects(const struct flow *flow, unsigned address, unsigned class, unsigned port, uint32_t uid,
		    bool error)
{
	const struct policy_flow *policy = &flow->policy;

	if (flow->state != FLOW_OPEN || (flow->address != PRIV_ANY_ADDRESS && flow->address != address))
		return false;
	if (policy->class != PROTO_CLASS_ANY && policy->class != class)
		return false;
	if (policy->lo && (port < policy->lo || port > policy->hi))
		return false;
	if (!flow->sees_all && flow->opener.uid != uid)
		return false;
	if (flow->kind == PROTO_KIND_ICMP_ERROR)
		return error;
	return !error || flow->flags & PROTO_FLAG_ERRORS;
}

/** build() - a packet that arrives for a port, or the error about one that was sent from it */
static void build(struct packet *p, unsigned version, unsigned class, unsigned port, bool error)
{
	const uint8_t protocol = class == CLASS_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	struct packet inner;

	packet_ip(&inner, version, error ? local(version) : remote(version), error ? remote(version) : local(version),
		  protocol);
	if (class == CLASS_TCP)
		packet_tcp(&inner, error ? port : 53, error ? 53 : port);
	else
		PACKET_ADD(&inner, (uint8_t)((error ? port : 53) >> 8), (uint8_t)(error ? port : 53),
			   (uint8_t)((error ? 53 : port) >> 8), (uint8_t)(error ? 53 : port), 0, 8, 0, 0);
	packet_end(&inner);
	*p = inner;
	if (!error)
		return;
	packet_ip(p, version, remote(version), local(version), version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	PACKET_ADD(p, version == 4 ? 11 : 3, 0, 0, 0, 0, 0, 0, 0);
	packet_add(p, inner.b, inner.len);
	packet_end(p);
}

/** bring() - a random packet, brought to the readers where its port says that there may be some */
static void bring(void)
{
	unsigned address = (unsigned)rand() % 2, class = (unsigned)rand() % 2, i;
	unsigned port = FIRST + (unsigned)rand() % (PORTS + 2);
	const struct port *entry = claimed(address, class, port);
	bool error = rand() % 2, watched = false;
	enum verdict verdict = VERDICT_NO_FLOW;
	uint8_t got[PACKET_ROOM];
	struct packet p;
	struct pkt pkt;

	build(&p, versions[address], class, port, error);
	ck_assert_int_eq(pkt_parse(&pkt, p.b, p.len, false), VERDICT_PASS);
	if (entry && readers_wanted(&slice, entry))
		verdict = readers_received(&slice, entry, &pkt);
	for (i = 0; i < FLOWS; i++) {
		bool wants = entry && expects(&flows[i], address, class, port, entry->uid, error);

		if (flows[i].state != FLOW_OPEN)
			continue;
		watched = watched || (wants && flows[i].kind == PROTO_KIND_ICMP_ERROR);
		ck_assert_int_eq(recv(reader_end[i], got, sizeof(got), 0), wants ? (ssize_t)p.len : -1);
		ck_assert_int_eq(recv(reader_end[i], got, sizeof(got), 0), -1);
	}
	ck_assert_int_eq(verdict, watched ? VERDICT_PASS : VERDICT_NO_FLOW);
}

START_TEST(random_walk)
{
	unsigned step, n;

	srand((unsigned)_i);
	set_up();
	for (step = 0; step < STEPS; step++) {
		n = (unsigned)rand() % FLOWS;
		if (rand() % 4 == 0 && flows[n].state != FLOW_OPEN)
			make(n);
		else if (rand() % 6 == 0 && flows[n].state == FLOW_OPEN)
			end(n);
		else if (rand() % 4 == 0)
			toggle_claim();
		else
			bring();
	}
	for (n = 0; n < FLOWS; n++)
		if (flows[n].state == FLOW_OPEN)
			end(n);
	tear_down();
}
END_TEST

/* Where no reader is, the port's entry says so, and that is all that is looked at. */
START_TEST(no_reader_no_bit)
{
	struct policy_range span = {.class = CLASS_TCP, .lo = FIRST, .hi = FIRST + 1}, one = span;

	srand(1);
	set_up();
	one.hi = one.lo;
	ck_assert_int_eq(ports_claim(&netns.shard.ports, 0, &one, SLICE, 0), 0);
	readers_mark(&slice, 0, &one);
	ck_assert(!readers_wanted(&slice, claimed(0, CLASS_TCP, FIRST)));
	make(0);
	readers_remove(&flows[0]);
	flows[0].kind = PROTO_KIND_SNIFFER;
	flows[0].address = PRIV_ANY_ADDRESS;
	flows[0].policy = (struct policy_flow){.class = CLASS_TCP, .lo = FIRST, .hi = FIRST + 1};
	ck_assert_int_eq(readers_add(&flows[0]), 0);
	ck_assert(readers_wanted(&slice, claimed(0, CLASS_TCP, FIRST)));
	ports_unclaim(&netns.shard.ports, 0, &one);
	ck_assert_int_eq(ports_claim(&netns.shard.ports, 0, &span, SLICE, 0), 0);
	readers_mark(&slice, 0, &span);
	ck_assert(readers_wanted(&slice, claimed(0, CLASS_TCP, FIRST)));
	ck_assert(readers_wanted(&slice, claimed(0, CLASS_TCP, FIRST + 1)));
	ports_unclaim(&netns.shard.ports, 0, &span);
	ck_assert_int_eq(ports_claim(&netns.shard.ports, 1, &span, SLICE + 1, 0), 0);
	ck_assert(!readers_wanted(&slice, claimed(1, CLASS_TCP, FIRST)));
	end(0);
	ports_unclaim(&netns.shard.ports, 1, &span);
	tear_down();
}
END_TEST

/* A list has a limit, whoever of those on it comes and goes, and what did not fit has left nothing behind. */
START_TEST(places)
{
	static struct flow many[257];
	struct flow range = {.slice = &slice, .address = PRIV_ANY_ADDRESS, .kind = PROTO_KIND_SNIFFER};
	unsigned i, turn;

	set_up();
	range.policy = (struct policy_flow){.class = CLASS_TCP, .lo = FIRST - 1, .hi = FIRST};
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = range;
		many[i].policy.lo = FIRST;
	}
	for (i = 0; i < 256; i++)
		ck_assert_int_eq(readers_add(&many[i]), 0);
	for (turn = 0; turn < 600; turn++) {
		i = turn * 7 % 256;
		errno = 0;
		ck_assert_int_eq(readers_add(&many[256]), -1);
		ck_assert_int_eq(errno, EMFILE);
		ck_assert_int_eq(readers_add(&range), -1);
		readers_remove(&many[i]);
		ck_assert_int_eq(readers_add(&many[256]), 0);
		readers_remove(&many[256]);
		ck_assert_int_eq(readers_add(&many[i]), 0);
	}
	ck_assert_uint_eq(netns.shard.readers.used, 1);
	for (i = 0; i < 256; i++)
		readers_remove(&many[i]);
	tear_down();
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("readers");
	TCase *tests = tcase_create("all");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, random_walk, 1, 5);
	tcase_add_test(tests, no_reader_no_bit);
	tcase_add_test(tests, places);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
