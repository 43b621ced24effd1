/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_napt.c: links that come and go, and what is translated for them, beside a reference
 *
 * An input is a list of steps; each is a byte that says what happens, and
 * whatever bytes it takes. Three links have small pools of their own on the
 * same addresses, the first and the last port there is among them. Packets
 * leave and arrive, of every kind and nearly right, errors about what has left
 * among them, and fragments; time passes, up to a timeout or just beyond it;
 * mappings are ended. What must hold after every step:
 *
 * - each packet goes by the mapping that the reference (tests/reference/napt.c) names, or is refused for its reason
 * - what arrives is at most one link's
 * - a packet that leaves has a port of its link's pool
 * - translated, it is what it was but for its ends (rewritten.c); refused, it is what it was
 * - the tables agree with the reference, with themselves and with the counters (table.c)
 *
 * The packet lies in memory of exactly its size, so that the address sanitizer
 * sees every byte read too far.
 */
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "../reference/napt.h"
#include "fragments.h"
#include "fuzz.h"
#include "napt.h"
#include "rewritten.h"
#include "shape.h"
#include "table.h"
#include "util.h"

#define LINKS 3
#define STEPS_MAX 150
#define INNER 12   /* ports that a client uses */
#define POOL_MAX 5 /* ports in one pool */
#define SECOND 1000000000ULL
#define MS 1000000ULL

static_assert(POOL_MAX * NAPT_CLASSES <= REFERENCE_PORTS, "the reference has room for a link");

/* Where the pools of each link are; they may begin up to three ports later */
static const uint16_t base[LINKS] = {1, 4000, UINT16_MAX - POOL_MAX - 2};

/* The host's own addresses, its aliases, and others; by version */
static const char *const own[2][2] = {{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}};
static const char *const aliases[2] = {"192.0.0.8", "64:ff9b:1::8"};
static const char *const others[2][2] = {{"198.51.100.7", "203.0.113.255"}, {"2001:db8:7::7", "fd00:ffff::ffff"}};

/* What leaves or arrives, in memory of its size */
struct parcel {
	uint8_t *byte;
	struct pkt pkt; /* its checked view */
	struct shape before;
};

static struct link {
	struct napt *napt; /* NULL: not there */
	struct reference_napt reference;
} links[LINKS];
static uint64_t now;

/* First fragments that left, and that arrived; and the last one of each, version 0 for none */
static struct fragments firsts[2];
static struct pkt last_first[2];

/** parse_addr() - an address from text that is one */
static struct addr parse_addr(const char *text)
{
	struct addr addr;

	MUST(addr_parse(text, &addr));
	return addr;
}

/** come() - a link comes, in the place of one that goes */
static void come(unsigned number, struct script *script)
{
	struct link *link = &links[number];
	uint8_t how = script_next(script), pool;
	struct napt_conf conf = {.secret = {how, number}};
	unsigned class;

	napt_free(link->napt);
	memset(link, 0, sizeof(*link));
	for (class = 0; class < NAPT_CLASSES; class ++) {
		pool = script_next(script);
		conf.pool[class].lo = (uint16_t)(base[number] + pool % 4);
		if (pool / 4 % (POOL_MAX + 1))
			conf.pool[class].hi = (uint16_t)(conf.pool[class].lo + pool / 4 % (POOL_MAX + 1) - 1);
	}
	for (class = 0; class < 2; class ++)
		if (!(how >> class & 1))
			link->reference.alias[class] = conf.alias[class] = parse_addr(aliases[class]);
	link->napt = napt_new(&conf);
	MUST(link->napt);
	table_learn(link->napt, &link->reference);
}

/** come_too_large() - a link with more ports than there can be mappings does not come */
static void come_too_large(struct script *script)
{
	struct napt_conf conf = {.pool = {{1, UINT16_MAX}}};

	conf.pool[1] = (struct napt_pool){1, script_next(script)};
	MUST(!napt_new(&conf));
}

/** put_plan_addr() - write an address into a plan */
static void put_plan_addr(uint8_t to[static 16], const struct addr *addr, unsigned version)
{
	memcpy(to, version == 4 ? addr->b + 12 : addr->b, version == 4 ? 4 : 16);
}

/** make_later() - a later fragment of the last datagram whose first one went this way, if there was any */
static void make_later(struct shape *shape, bool arrives, struct script *script)
{
	const struct pkt *first = &last_first[arrives];
	unsigned unit = first->to / 8 + script_next(script) % 4U - 1, header = first->version == 4 ? 20 : 48;
	uint8_t *byte = shape->byte;

	memset(byte, 0, header + 8);
	shape->size = first->version ? header + 8 : 0;
	if (first->version == 4) {
		memcpy(byte, (const uint8_t[]){0x45, 0, 0, 0, (uint8_t)(first->id >> 8), (uint8_t)first->id}, 6);
		memcpy(byte + 6, (const uint8_t[]){(uint8_t)(unit >> 8 & 0x1f), (uint8_t)unit, 64, first->protocol},
		       4);
		memcpy(byte + 12, first->src.b + 12, 4);
		memcpy(byte + 16, first->dst.b + 12, 4);
	} else {
		memcpy(byte, (const uint8_t[]){0x60, 0, 0, 0, 0, 16, IPPROTO_FRAGMENT, 64}, 8);
		memcpy(byte + 8, first->src.b, 16);
		memcpy(byte + 24, first->dst.b, 16);
		memcpy(byte + 40,
		       (const uint8_t[]){first->protocol, 0, (uint8_t)(unit >> 5), (uint8_t)(unit << 3),
					 (uint8_t)(first->id >> 24), (uint8_t)(first->id >> 16),
					 (uint8_t)(first->id >> 8), (uint8_t)first->id},
		       8);
	}
	shape_repair(shape, true, true);
}

/** cut_quote() - cut off what an error quotes, somewhere behind its ports */
static void cut_quote(struct shape *shape, const struct pkt *pkt, struct script *script)
{
	size_t size = pkt->inner_transport + 8U + script_next(script) % 12U;

	if (!(pkt->flags & PKT_ICMP_ERROR) || size >= shape->size)
		return;
	shape->size = size;
	shape_repair(shape, true, true);
}

/** set_flags() - let a TCP segment be one that connections are made and ended by */
static void set_flags(struct shape *shape, const struct pkt *pkt, struct script *script)
{
	static const uint8_t flags[] = {TH_SYN, TH_SYN | TH_ACK, TH_ACK, TH_FIN | TH_ACK, TH_RST};

	if (pkt->protocol == IPPROTO_TCP && !(pkt->flags & PKT_LATER))
		shape->byte[pkt->transport + 13U] = flags[script_next(script) % ARRAY_SIZE(flags)];
}

/** draw_sum() - a checksum that is right only by accident */
static unsigned draw_sum(struct script *script)
{
	unsigned high = script_next(script);

	return high << 8 | script_next(script);
}

/** make_parcel() - build a packet by a plan, nearly right; returns whether it has a form that is passed on */
static bool make_parcel(struct parcel *parcel, const struct shape_plan *plan, struct script *script)
{
	uint8_t how = script_next(script);
	struct dice dice = {.state = how >> 5};
	struct shape *shape = &parcel->before;

	script_take(script, (uint8_t *)&dice.state + 1, 3);
	if (how % 8 == 1)
		make_later(shape, plan->arrives, script);
	else
		shape_build(shape, &dice, plan);
	if (how % 8 == 2)
		shape_break(shape, &dice);
	if (!shape->size || pkt_parse(&parcel->pkt, shape->byte, shape->size, how & 8) != VERDICT_PASS)
		return false;
	if (how % 8 == 4)
		cut_quote(shape, &parcel->pkt, script);
	if (how % 8 > 4)
		set_flags(shape, &parcel->pkt, script);
	if (pkt_parse(&parcel->pkt, shape->byte, shape->size, how & 8) != VERDICT_PASS)
		return false;
	if (how & 16 && !(parcel->pkt.flags & PKT_LATER) && policy_class(parcel->pkt.protocol) >= 0 &&
	    policy_class(parcel->pkt.protocol) < NAPT_CLASSES)
		rewritten_sum(&parcel->pkt, shape->byte, how % 8 == 3 ? draw_sum(script) : 0);
	parcel->byte = malloc(shape->size);
	MUST(parcel->byte);
	memcpy(parcel->byte, shape->byte, shape->size);
	return pkt_parse(&parcel->pkt, parcel->byte, shape->size, how & 8) == VERDICT_PASS;
}

/** same() - nobody has changed a parcel */
static bool same(const struct parcel *parcel)
{
	return !memcmp(parcel->byte, parcel->before.byte, parcel->before.size);
}

/** same_behind() - nobody has changed what is behind the packet in a parcel */
static bool same_behind(const struct parcel *parcel)
{
	size_t len = parcel->pkt.len;

	return !memcmp(parcel->byte + len, parcel->before.byte + len, parcel->before.size - len);
}

/** follow() - give a later fragment its first one's ports; returns whether it may go on, as any other packet may */
static bool follow(struct pkt *pkt, bool arrives, unsigned number)
{
	return !(pkt->flags & PKT_LATER) || fragments_follow(&firsts[arrives], pkt, number + 1, now) == VERDICT_PASS;
}

/** remember() - a first fragment has passed */
static void remember(const struct pkt *pkt, bool arrives, unsigned number)
{
	if ((pkt->flags & (PKT_FRAGMENT | PKT_LATER)) != PKT_FRAGMENT)
		return;
	fragments_remember(&firsts[arrives], pkt, number + 1, now);
	last_first[arrives] = *pkt;
}

/** plan_protocol() - a protocol: mostly of a class that is translated */
static unsigned plan_protocol(unsigned version, unsigned which)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, 0, IPPROTO_UDPLITE, 1, 58, IPPROTO_GRE, 89};

	if (which == 2)
		return version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return protocols[which % ARRAY_SIZE(protocols)];
}

/** plan_out() - a packet of a client's: to somebody, to the host by its alias, from either address */
static struct shape_plan plan_out(struct script *script)
{
	uint8_t how = script_next(script), port = script_next(script);
	bool six = how & 1;
	struct shape_plan plan = {.version = six ? 6 : 4, .own_port = port % INNER, .other_port = port / INNER};
	unsigned class = how >> 1 & 3, to = how >> 3 & 3;
	struct addr from = parse_addr(own[six][how >> 5 & 1]);
	struct addr other = parse_addr(to < 2 ? others[six][to] : to == 2 ? aliases[six] : own[six][0]);

	plan.protocol = plan_protocol(plan.version, class < 3 ? class : how >> 5);
	put_plan_addr(plan.own, &from, plan.version);
	put_plan_addr(plan.other, &other, plan.version);
	return plan;
}

/** want_out() - how a packet should look when it has left by a port */
static struct pkt want_out(const struct pkt *pkt, const struct reference_port *port)
{
	struct pkt want = *pkt;

	want.src = port->outer;
	if (port->host)
		want.dst = port->outer;
	want.sport = port->number;
	if (port->class == CLASS_ICMP)
		want.dport = port->number;
	return want;
}

/** check_sent() - a mapping is the port that it should be, in its pool, and has noted whom it speaks to */
static void check_sent(const struct link *link, const struct mapping *mapping, const struct reference_port *port,
		       const struct pkt *want)
{
	const struct napt_pool *pool = &link->napt->conf.pool[mapping->class];

	MUST(mapping->class == port->class && mapping->outer_port == port->number);
	MUST(pool->hi && want->sport >= pool->lo && want->sport <= pool->hi);
	MUST(addr_eq(&mapping->remote, &want->dst));
	MUST(want->flags & PKT_LATER || mapping->class == CLASS_ICMP || mapping->remote_port == want->dport);
}

/** leave() - a packet leaves a link, or is refused */
static void leave(unsigned number, struct parcel *parcel, bool elsewhere)
{
	struct link *link = &links[number];
	const struct reference_port *port;
	struct pkt first = parcel->pkt, want;
	enum verdict verdict, why;
	struct addr outer = parcel->pkt.src;
	struct mapping *mapping;

	if (elsewhere) /* the other one of the host's addresses */
		outer = parse_addr(own[first.version == 6][1]);
	port = reference_napt_out(&link->reference, &parcel->pkt, &outer, now, &why);
	mapping = napt_aggregate(link->napt, &parcel->pkt, &outer, now, &verdict);
	MUST(verdict == why && !mapping == !port && (verdict == VERDICT_PASS) == (mapping != NULL));
	MUST(same(parcel));
	if (!mapping)
		return;
	want = want_out(&parcel->pkt, port);
	check_sent(link, mapping, port, &want);
	napt_rewrite_out(link->napt, mapping, &parcel->pkt, parcel->byte);
	rewritten_check(&want, &parcel->pkt, parcel->before.byte, parcel->byte);
	MUST(same_behind(parcel));
	remember(&first, false, number);
}

/** step_out() - a client sends something */
static void step_out(unsigned number, struct script *script)
{
	static struct parcel parcel;
	struct shape_plan plan = plan_out(script);
	bool elsewhere = script_next(script) % 8 == 1;

	parcel.byte = NULL;
	if (make_parcel(&parcel, &plan, script) && links[number].napt && follow(&parcel.pkt, false, number))
		leave(number, &parcel, elsewhere);
	free(parcel.byte);
}

/** plan_in() - a packet to a port of a link's, or beside it, mostly from where it would come */
static struct shape_plan plan_in(const struct link *link, struct script *script)
{
	const struct reference_napt *reference = &link->reference;
	uint8_t which = script_next(script), how = script_next(script);
	struct reference_port port = {.class = which % 4, .number = which};
	struct shape_plan plan = {.arrives = true, .other_port = how >> 4};
	struct addr from;
	bool six;

	if (reference->ports)
		port = reference->port[which % reference->ports];
	if (!port.phase)
		port.outer = parse_addr(own[how & 1][0]);
	six = addr_family(&port.outer) == AF_INET6;
	plan.version = six ? 6 : 4;
	plan.protocol = plan_protocol(plan.version, how % 32 == 2 ? how >> 5 : port.class);
	plan.own_port = (uint16_t)(port.number + (how % 32 == 4) - (how % 32 == 6));
	from = port.host != (how % 16 == 8) ? port.outer : parse_addr(others[six][how >> 5 & 1]);
	if (how % 32 == 10)
		port.outer = parse_addr(own[six][how >> 5 & 1]);
	put_plan_addr(plan.own, &port.outer, plan.version);
	put_plan_addr(plan.other, &from, plan.version);
	return plan;
}

/** want_in() - how a packet should look to the client that has a port */
static struct pkt want_in(const struct link *link, const struct pkt *pkt, const struct reference_port *port)
{
	const struct addr *alias = &link->reference.alias[pkt->version == 6];
	struct pkt want = *pkt;

	want.dst = port->inner;
	if (port->host && addr_eq(&pkt->src, &port->outer))
		want.src = *alias;
	if (!(pkt->flags & PKT_ICMP_ERROR)) {
		want.dport = port->inner_number;
		if (port->class == CLASS_ICMP)
			want.sport = port->inner_number;
		return want;
	}
	want.inner_src = port->inner;
	want.inner_sport = port->inner_number;
	if (port->host)
		want.inner_dst = *alias;
	if (port->class == CLASS_ICMP)
		want.inner_dport = port->inner_number;
	return want;
}

/** arrive() - see whether a packet is for a link; returns whether it is */
static bool arrive(unsigned number, struct parcel *parcel)
{
	struct link *link = &links[number];
	const struct reference_port *port;
	struct pkt pkt = parcel->pkt, first = pkt, want;
	struct mapping *mapping;

	if (!link->napt || !follow(&pkt, true, number))
		return false;
	port = reference_napt_in(&link->reference, &pkt, now);
	mapping = napt_match(link->napt, &pkt, now);
	MUST(!mapping == !port);
	MUST(same(parcel));
	if (!mapping)
		return false;
	MUST(mapping->class == port->class && mapping->outer_port == port->number);
	want = want_in(link, &pkt, port);
	napt_rewrite_in(link->napt, mapping, &pkt, parcel->byte);
	rewritten_check(&want, &pkt, parcel->before.byte, parcel->byte);
	MUST(same_behind(parcel));
	memcpy(parcel->byte, parcel->before.byte, parcel->before.size); /* for the next link */
	remember(&first, true, number);
	return true;
}

/** step_in() - something arrives, and is for one link or none */
static void step_in(unsigned number, struct script *script)
{
	static struct parcel parcel;
	struct shape_plan plan = plan_in(&links[number], script);
	unsigned i, takers = 0;

	parcel.byte = NULL;
	if (make_parcel(&parcel, &plan, script))
		for (i = 0; i < LINKS; i++)
			takers += arrive(i, &parcel);
	MUST(takers <= 1);
	free(parcel.byte);
}

/** step_time() - time passes: a timeout exactly, or a little more */
static void step_time(uint8_t how)
{
	static const uint64_t jumps[] = {
		0,           200 * MS,    SECOND,       2 * SECOND,   5 * SECOND,   10 * SECOND,
		30 * SECOND, 60 * SECOND, 120 * SECOND, 121 * SECOND, 7440 * SECOND};

	now += jumps[how / 2 % ARRAY_SIZE(jumps)] + how % 2;
}

/** step_expire() - some of what is over is ended */
static void step_expire(unsigned number, unsigned some)
{
	struct link *link = &links[number];
	const struct reference_port *port;
	struct mapping *mapping;
	unsigned i;

	while (link->napt && some--) {
		mapping = napt_expired(link->napt, now);
		for (i = 0; !mapping && i < link->reference.ports; i++)
			MUST(!link->reference.port[i].phase || !reference_napt_over(&link->reference.port[i], now));
		if (!mapping)
			return;
		port = reference_napt_at(&link->reference, mapping->class, mapping->outer_port);
		MUST(port && port->phase && reference_napt_over(port, now));
		link->reference.expired++;
		reference_napt_end(&link->reference, mapping->class, mapping->outer_port);
		napt_release(link->napt, mapping);
	}
}

/** is_behind() - whether a port comes behind another one in a listing */
static bool is_behind(const struct reference_port *port, unsigned class, unsigned number)
{
	return port->class > class || (port->class == class && port->number > number);
}

/** step_ask() - somebody asks what comes behind any port at all, or there is a link that is too large */
static void step_ask(unsigned number, struct script *script)
{
	const struct reference_napt *reference = &links[number].reference;
	const struct reference_port *want = NULL, *port;
	uint8_t how = script_next(script);
	unsigned class = how % (NAPT_CLASSES + 1U), after = script_next(script), i;
	const struct mapping *got;

	if (!links[number].napt || how > 200) {
		come_too_large(script);
		return;
	}
	after = how & 64 ? after << 8 : base[number] + after % 8 - 1;
	for (i = 0; i < reference->ports; i++) {
		port = &reference->port[i];
		if (port->phase && class < NAPT_CLASSES && is_behind(port, class, after) &&
		    (!want || is_behind(want, port->class, port->number)))
			want = port;
	}
	got = napt_next(links[number].napt, class, after);
	MUST(!got == !want && (!got || (got->class == want->class && got->outer_port == want->number)));
}

/** step() - one thing happens */
static void step(struct script *script)
{
	uint8_t what = script_next(script);
	unsigned number = what / 16 % LINKS, i;

	switch (what % 16) {
	case 0:
		come(number, script);
		break;
	case 1:
		step_time(script_next(script));
		break;
	case 2:
		step_expire(number, what / 16 / LINKS + 1U);
		break;
	case 3:
		step_ask(number, script);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		step_in(number, script);
		break;
	default:
		step_out(number, script);
	}
	for (i = 0; i < LINKS; i++)
		if (links[i].napt)
			table_check(links[i].napt, &links[i].reference);
}

/**
 * LLVMFuzzerTestOneInput() - play one script
 * @input: bytes
 * @size: of them
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct script script = {.at = input, .left = size};
	unsigned i;

	now = SECOND;
	memset(firsts, 0, sizeof(firsts));
	memset(last_first, 0, sizeof(last_first));
	for (i = 0; i < STEPS_MAX && script.left; i++)
		step(&script);
	for (i = 0; i < LINKS; i++)
		napt_free(links[i].napt);
	memset(links, 0, sizeof(links));
	return 0;
}
