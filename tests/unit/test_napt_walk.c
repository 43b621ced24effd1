/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_napt_walk.c: a random walk over translations, beside a model
 *
 * Packets out and in of every kind, clocks that jump, releases of what has
 * expired, in any order. The model knows which inner port was given which outer
 * port and nothing else. After every step the tables must agree with it and
 * with themselves.
 */
#include <check.h>

#include "napt.h"
#include "packet.h"
#include "suite.h"
#include "util.h"

#define STEPS 60000
#define CHECK_EVERY 50 /* steps between looks at all that there is */
#define INNER 40       /* ports that the client uses */
#define POOL_LO 2000
#define POOL_HI 2015
#define SECOND 1000000000ULL

/* What is translated, by family, class, port and whether it goes to the host: outer port, 0 for nothing */
static uint16_t model[2][NAPT_CLASSES][INNER][2];
static struct napt *napt;
static uint64_t now = SECOND;

/** draw() - a random number below a bound */
static unsigned draw(unsigned bound)
{
	return (unsigned)random() % bound;
}

/** make() - a packet of some class; for ICMP a request from sport, or a reply to dport */
static void make(struct packet *p, unsigned version, unsigned class, const char *src, unsigned sport, const char *dst,
		 unsigned dport, bool reply)
{
	static const uint8_t protocols[NAPT_CLASSES] = {IPPROTO_TCP, IPPROTO_UDP};

	packet_ip(p, version, src, dst, class == CLASS_ICMP ? icmp_protocol(version) : protocols[class]);
	if (class == CLASS_TCP) {
		packet_tcp(p, sport, dport);
		p->b[p->len - 7] = (uint8_t)draw(32);
	} else if (class == CLASS_UDP) {
		packet_udp(p, sport, dport, draw(4));
	} else {
		packet_icmp(p, (uint8_t)(version == 4 ? reply ? 0 : 8 : reply ? 129 : 128), 0, reply ? dport : sport);
	}
	packet_end(p);
}

/** forget() - a mapping is gone from the model, wherever it was */
static void forget(unsigned class, uint16_t outer)
{
	uint16_t *at = &model[0][0][0][0];
	size_t i, each = INNER * 2;

	for (i = 0; i < 2 * NAPT_CLASSES * each; i++)
		if (at[i] == outer && i / each % NAPT_CLASSES == class)
			at[i] = 0;
}

/** step_out() - the client sends something */
static void step_out(void)
{
	unsigned family = draw(2), version = versions[family], class = draw(NAPT_CLASSES), port = draw(INNER);
	bool to_host = !draw(4);
	const char *dst = !to_host ? remote(version) : version == 4 ? "192.0.0.8" : "64:ff9b:1::8";
	uint16_t *known = &model[family][class][port][to_host];
	uint64_t exhausted = napt->counters.exhausted;
	struct mapping *mapping;
	enum verdict verdict;
	struct packet p;
	struct pkt pkt;

	make(&p, version, class, local(version), port, dst, 80, false);
	ck_assert_int_eq(pkt_parse(&pkt, p.b, p.len, false), VERDICT_PASS);
	mapping = napt_aggregate(napt, &pkt, &pkt.src, now, &verdict);
	if (!mapping) {
		ck_assert_uint_eq(*known, 0);
		ck_assert_int_eq(verdict, VERDICT_NAPT_EXHAUSTED);
		ck_assert_uint_eq(napt->counters.exhausted, exhausted + 1);
		return;
	}
	if (*known) {
		ck_assert_uint_eq(mapping->outer_port, *known);
	} else {
		forget(class, mapping->outer_port); /* who was displaced, if anybody */
		*known = mapping->outer_port;
	}
	napt_rewrite_out(napt, mapping, &pkt, p.b);
	ck_assert_uint_eq(pkt.sport, *known);
	ck_assert_int_eq(mapping->host, to_host);
}

/** owner() - the inner port that has an outer port, by the model, or -1 */
static int owner(unsigned family, unsigned class, unsigned outer, bool *to_host)
{
	int port;

	for (port = 0; port < INNER; port++)
		for (*to_host = false;; *to_host = true) {
			if (model[family][class][port][*to_host] == outer)
				return port;
			if (*to_host)
				break;
		}
	return -1;
}

/** step_in() - something arrives */
static void step_in(void)
{
	unsigned family = draw(2), version = versions[family], class = draw(NAPT_CLASSES);
	unsigned outer = POOL_LO - 1 + draw(POOL_HI - POOL_LO + 3);
	bool from_host = !draw(4), to_host;
	int port = owner(family, class, outer, &to_host);
	struct mapping *mapping;
	struct packet p;
	struct pkt pkt;

	make(&p, version, class, from_host ? local(version) : remote(version), 80, local(version), outer, true);
	ck_assert_int_eq(pkt_parse(&pkt, p.b, p.len, false), VERDICT_PASS);
	mapping = napt_match(napt, &pkt, now);
	if (!mapping)
		return; /* it may have expired; check_all() looks at who has */
	ck_assert_int_ge(port, 0);
	ck_assert(!to_host || from_host);
	napt_rewrite_in(napt, mapping, &pkt, p.b);
	ck_assert_uint_eq(pkt.dport, (unsigned)port);
}

/** step_time() - time goes by, and what has expired is released, or only some of it */
static void step_time(void)
{
	static const uint64_t jumps[] = {1, SECOND / 10, 2 * SECOND, 31 * SECOND, 7441 * SECOND};
	struct mapping *mapping;
	unsigned some = draw(40);

	now += jumps[draw(draw(20) ? 3 : ARRAY_SIZE(jumps))];
	while (some-- && (mapping = napt_expired(napt, now))) {
		forget(mapping->class, mapping->outer_port);
		napt_release(napt, mapping);
	}
}

/** check_list() - one list is whole, in the order of time, and of one class and state; returns its length */
static unsigned check_list(unsigned class, unsigned state)
{
	uint16_t index = napt->list[class][state].oldest, before = NAPT_NONE;
	unsigned n = 0;
	uint64_t used = 0;

	for (; index != NAPT_NONE; index = napt->mapping[index].younger) {
		const struct mapping *mapping = &napt->mapping[index];

		ck_assert_uint_eq(mapping->older, before);
		ck_assert_uint_eq(mapping->class, class);
		ck_assert_uint_eq(mapping->state, state);
		ck_assert_uint_ge(mapping->used_ns, used);
		used = mapping->used_ns;
		before = index;
		n++;
	}
	ck_assert_uint_eq(napt->list[class][state].youngest, before);
	return n;
}

/** check_mappings() - what is listed is what the model has, each outer port once; returns how many */
static unsigned check_mappings(void)
{
	const struct mapping *mapping;
	unsigned n = 0, class = 0, after = 0;

	while ((mapping = napt_next(napt, class, after))) {
		unsigned family = addr_family(&mapping->inner) == AF_INET ? 0 : 1;

		ck_assert(mapping->class > class || (mapping->class == class && mapping->outer_port > after));
		class = mapping->class;
		after = mapping->outer_port;
		ck_assert_uint_eq(model[family][class][mapping->inner_port][mapping->host], after);
		n++;
	}
	return n;
}

/** check_all() - the tables agree with the model and with themselves */
static void check_all(void)
{
	const uint16_t *at = &model[0][0][0][0];
	unsigned class, state, sum = 0, known = 0;
	size_t i;

	for (class = 0; class < NAPT_CLASSES; class ++) {
		unsigned all = check_list(class, NAPT_FREE);

		for (state = NAPT_FREE + 1; state < NAPT_STATES; state++) {
			unsigned n = check_list(class, state);

			all += n;
			sum += n;
		}
		ck_assert_uint_eq(all, POOL_HI - POOL_LO + 1);
	}
	for (i = 0; i < sizeof(model) / sizeof(*at); i++)
		known += at[i] != 0;
	ck_assert_uint_eq(napt->used, sum);
	ck_assert_uint_eq(known, sum);
	ck_assert_uint_eq(check_mappings(), sum);
	ck_assert_uint_eq(napt->counters.created - napt->counters.expired - napt->counters.displaced, sum);
}

START_TEST(random_walk)
{
	const struct napt_conf conf = {
		.pool = {{POOL_LO, POOL_HI}, {POOL_LO, POOL_HI}, {POOL_LO, POOL_HI}},
		.alias = {addr("192.0.0.8"), addr("64:ff9b:1::8")},
		.secret = {(uint64_t)_i, 12},
	};
	unsigned step;

	srandom((unsigned)_i);
	napt = napt_new(&conf);
	for (step = 0; step < STEPS; step++) {
		unsigned which = draw(10);

		if (which < 5)
			step_out();
		else if (which < 9)
			step_in();
		else
			step_time();
		if (step % CHECK_EVERY == 0)
			check_all();
	}
	ck_assert_uint_gt(napt->counters.expired, 100);
	ck_assert_uint_gt(napt->counters.displaced, 100);
	ck_assert_uint_gt(napt->counters.exhausted, 100);
	napt_free(napt);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("napt_walk");
	TCase *tests = tcase_create("all");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, random_walk, 1, 6);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
