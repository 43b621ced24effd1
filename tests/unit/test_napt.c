/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_napt.c: translation of a client's ports into a pool of ports
 */
#include <check.h>

#include "fragments.h"
#include "napt.h"
#include "packet.h"
#include "suite.h"
#include "util.h"

#define SECOND 1000000000ULL
#define POOL_LO 40192
#define POOL_HI 40199
#define POOL (POOL_HI - POOL_LO + 1)
#define START (1000 * SECOND)

static const uint8_t protocols[NAPT_CLASSES] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
static uint64_t now;
static struct fragments sent_first, arrived_first;

/** alias() - the host itself, as the client sees it */
static const char *alias(unsigned version)
{
	return version == 4 ? "192.0.0.8" : "64:ff9b:1::8";
}

/** make_napt() - a translation with pools of POOL ports */
static struct napt *make_napt(void)
{
	const struct napt_conf conf = {
		.pool = {{POOL_LO, POOL_HI}, {POOL_LO, POOL_HI}, {POOL_LO, POOL_HI}},
		.alias = {addr(alias(4)), addr(alias(6))},
		.secret = {11, 12},
	};
	struct napt *napt = napt_new(&conf);

	ck_assert_ptr_nonnull(napt);
	now = START;
	return napt;
}

/** set_sum() - set a packet's transport checksum right */
static void set_sum(struct packet *p)
{
	struct pkt pkt;
	uint16_t sum;

	ck_assert_str_eq(verdict_name(pkt_parse(&pkt, p->b, p->len, false)), "pass");
	sum = packet_transport_sum(&pkt);
	memcpy(p->b + pkt.transport + csum_field(&pkt), &sum, sizeof(sum));
}

/** make() - a packet with checksums; sport and dport are the identifier, of a request or a reply, for ICMP */
static void make(struct packet *p, unsigned version, unsigned class, const char *src, unsigned sport, const char *dst,
		 unsigned dport, bool reply)
{
	packet_ip(p, version, src, dst, class == CLASS_ICMP ? icmp_protocol(version) : protocols[class]);
	if (class == CLASS_TCP)
		packet_tcp(p, sport, dport);
	else if (class == CLASS_UDP)
		packet_udp(p, sport, dport, 5);
	else if (version == 4)
		packet_icmp(p, reply ? 0 : 8, 0, reply ? dport : sport);
	else
		packet_icmp(p, reply ? 129 : 128, 0, reply ? dport : sport);
	packet_end(p);
	set_sum(p);
}

/** note() - remember a first fragment before it is rewritten, give a later one its first one's ports */
static enum verdict note(struct fragments *fragments, struct pkt *pkt)
{
	if (pkt->flags & PKT_LATER)
		return fragments_follow(fragments, pkt, 1, now);
	if (pkt->flags & PKT_FRAGMENT)
		fragments_remember(fragments, pkt, 1, now);
	return VERDICT_PASS;
}

/** out() - send a packet; it is rewritten */
static struct mapping *out(struct napt *napt, struct packet *p, const char *verdict)
{
	enum verdict got;
	struct mapping *mapping;
	struct pkt pkt;

	ck_assert_str_eq(verdict_name(pkt_parse(&pkt, p->b, p->len, false)), "pass");
	got = note(&sent_first, &pkt);
	mapping = got == VERDICT_PASS ? napt_aggregate(napt, &pkt, &pkt.src, now, &got) : NULL;
	ck_assert_str_eq(verdict_name(got), verdict);
	ck_assert_int_eq(!mapping, got != VERDICT_PASS);
	if (mapping)
		napt_rewrite_out(napt, mapping, &pkt, p->b);
	return mapping;
}

/** in() - receive a packet; it is rewritten when there is a mapping */
static struct mapping *in(struct napt *napt, struct packet *p)
{
	struct mapping *mapping;
	struct pkt pkt, again;

	ck_assert_str_eq(verdict_name(pkt_parse(&pkt, p->b, p->len, false)), "pass");
	if (note(&arrived_first, &pkt) != VERDICT_PASS)
		return NULL;
	mapping = napt_match(napt, &pkt, now);
	if (!mapping)
		return NULL;
	napt_rewrite_in(napt, mapping, &pkt, p->b);
	ck_assert_str_eq(verdict_name(pkt_parse(&again, p->b, p->len, false)), "pass");
	ck_assert(addr_eq(&pkt.src, &again.src) && addr_eq(&pkt.dst, &again.dst));
	ck_assert(pkt.flags & PKT_LATER || (pkt.sport == again.sport && pkt.dport == again.dport));
	ck_assert_uint_eq(pkt.inner_sport, again.inner_sport);
	ck_assert(addr_eq(&pkt.inner_dst, &again.inner_dst));
	return mapping;
}

/** send_one() - send a packet of the local host's from a port */
static struct mapping *send_one(struct napt *napt, unsigned version, unsigned class, unsigned port,
				const char *verdict)
{
	struct packet p;

	make(&p, version, class, local(version), port, remote(version), 53, false);
	return out(napt, &p, verdict);
}

/** send_tcp() - send or receive a TCP segment with some flags by a mapping, from where `port` is on */
static struct mapping *send_tcp(struct napt *napt, unsigned port, uint8_t flags, bool outward)
{
	struct packet p;

	if (outward)
		make(&p, 4, CLASS_TCP, local(4), port, remote(4), 80, false);
	else
		make(&p, 4, CLASS_TCP, remote(4), 80, local(4), port, false);
	p.b[20 + 13] = flags;
	set_sum(&p);
	return outward ? out(napt, &p, "pass") : in(napt, &p);
}

/** same() - two packets are the same, byte by byte */
static void same(const struct packet *a, const struct packet *b)
{
	ck_assert_uint_eq(a->len, b->len);
	ck_assert_mem_eq(a->b, b->b, a->len);
}

/* Every class in every family: what leaves and what comes back are what a program without translation would send */
START_TEST(there_and_back)
{
	const unsigned version = versions[_i / NAPT_CLASSES], class = _i % NAPT_CLASSES;
	struct napt *napt = make_napt();
	struct mapping *mapping;
	struct packet p, want;

	make(&p, version, class, local(version), 777, remote(version), 53, false);
	mapping = out(napt, &p, "pass");
	ck_assert_uint_ge(mapping->outer_port, POOL_LO);
	ck_assert_uint_le(mapping->outer_port, POOL_HI);
	make(&want, version, class, local(version), mapping->outer_port, remote(version), 53, false);
	same(&p, &want);

	make(&p, version, class, remote(version), 53, local(version), mapping->outer_port, true);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	make(&want, version, class, remote(version), 53, local(version), 777, true);
	same(&p, &want);

	make(&p, version, class, remote(version), 53, local(version), mapping->outer_port ^ 1, true);
	ck_assert_ptr_null(in(napt, &p));
	make(&p, version, class, remote(version), 53, version == 4 ? "203.0.113.9" : "2001:db8::9",
	     mapping->outer_port, true);
	ck_assert_ptr_null(in(napt, &p));
	napt_free(napt);
}
END_TEST

/* An error about a packet quotes it as it left; the client gets it as it was sent, however little is quoted */
START_TEST(errors)
{
	const unsigned version = versions[_i / NAPT_CLASSES], class = _i % NAPT_CLASSES;
	const size_t headers = version == 4 ? 20 : 40;
	struct packet sent, left, error, want;
	struct napt *napt = make_napt();
	struct mapping *mapping;
	uint64_t used;
	size_t quoted;

	make(&sent, version, class, local(version), 777, remote(version), 53, false);
	left = sent;
	mapping = out(napt, &left, "pass");
	used = mapping->used_ns;
	now += 20 * SECOND;
	for (quoted = headers + 8; quoted <= sent.len; quoted++) {
		packet_error(&error, version == 4 ? 11 : 3, &left, quoted);
		set_sum(&error);
		packet_error(&want, version == 4 ? 11 : 3, &sent, quoted);
		set_sum(&want);
		ck_assert_ptr_eq(in(napt, &error), mapping);
		if (class == CLASS_TCP && quoted == headers + 17)
			continue; /* one byte of its checksum, which stays as it left */
		same(&error, &want);
	}
	ck_assert_uint_eq(mapping->used_ns, used);
	now += 20 * SECOND;
	packet_error(&error, version == 4 ? 11 : 3, &left, sent.len);
	ck_assert_ptr_null(in(napt, &error));
	napt_free(napt);
}
END_TEST

/* An error about a protocol that is not translated is nobody's, whichever port it names */
START_TEST(errors_about_others)
{
	static const uint8_t others[] = {IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_UDPLITE, IPPROTO_GRE};
	const unsigned version = versions[_i / ARRAY_SIZE(others)];
	struct napt *napt = make_napt();
	struct mapping *mapping = send_one(napt, version, CLASS_TCP, 777, "pass");
	struct packet sent, error;

	packet_ip(&sent, version, local(version), remote(version), others[_i % ARRAY_SIZE(others)]);
	packet_tcp(&sent, mapping->outer_port, 53);
	packet_end(&sent);
	packet_error(&error, version == 4 ? 11 : 3, &sent, sent.len);
	ck_assert_ptr_null(in(napt, &error));
	napt_free(napt);
}
END_TEST

/* The host itself: under its alias for the client, its own address for everybody else, and nobody else may answer */
START_TEST(host)
{
	const unsigned version = versions[_i / NAPT_CLASSES], class = _i % NAPT_CLASSES;
	struct packet p, sent, left, want;
	struct napt *napt = make_napt();
	struct mapping *mapping, *other;

	make(&sent, version, class, local(version), 777, alias(version), 53, false);
	left = sent;
	mapping = out(napt, &left, "pass");
	make(&want, version, class, local(version), mapping->outer_port, local(version), 53, false);
	same(&left, &want);
	other = send_one(napt, version, class, 777, "pass");
	ck_assert_ptr_ne(mapping, other);

	make(&p, version, class, local(version), 53, local(version), mapping->outer_port, true);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	make(&want, version, class, alias(version), 53, local(version), 777, true);
	same(&p, &want);
	make(&p, version, class, remote(version), 53, local(version), mapping->outer_port, true);
	ck_assert_ptr_null(in(napt, &p));

	make(&p, version, class, local(version), mapping->outer_port, remote(version), 53, false);
	packet_error(&want, version == 4 ? 11 : 3, &p, p.len);
	ck_assert_ptr_null(in(napt, &want)); /* an error about what was not sent */

	packet_ip(&p, version, local(version), local(version), icmp_protocol(version));
	packet_icmp(&p, version == 4 ? 3 : 1, version == 4 ? 3 : 4, 0);
	packet_add(&p, left.b, left.len);
	packet_end(&p);
	set_sum(&p);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	packet_ip(&want, version, alias(version), local(version), icmp_protocol(version));
	packet_icmp(&want, version == 4 ? 3 : 1, version == 4 ? 3 : 4, 0);
	packet_add(&want, sent.b, sent.len);
	packet_end(&want);
	set_sum(&want);
	same(&p, &want);
	napt_free(napt);
}
END_TEST

/* One inner port has one outer port, whomever it talks to; each inner port and address its own */
START_TEST(endpoint_independent)
{
	const struct addr last = addr("203.0.113.5");
	struct napt *napt = make_napt();
	struct mapping *mapping;
	struct packet p;

	mapping = send_one(napt, 4, CLASS_UDP, 777, "pass");
	make(&p, 4, CLASS_UDP, local(4), 777, "203.0.113.5", 99, false);
	ck_assert_ptr_eq(out(napt, &p, "pass"), mapping);
	ck_assert_uint_eq(mapping->remote_port, 99);
	ck_assert(addr_eq(&mapping->remote, &last));
	make(&p, 4, CLASS_UDP, "203.0.113.77", 4, local(4), mapping->outer_port, false);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	ck_assert_ptr_ne(send_one(napt, 4, CLASS_UDP, 778, "pass"), mapping);
	ck_assert_ptr_ne(send_one(napt, 6, CLASS_UDP, 777, "pass"), mapping);
	ck_assert_ptr_ne(send_one(napt, 4, CLASS_TCP, 777, "pass"), mapping);
	ck_assert_uint_eq(napt->used, 4);
	ck_assert_uint_eq(napt->counters.created, 4);
	napt_free(napt);
}
END_TEST

/* A mapping to another address than the client's own, which a library may ask for */
START_TEST(other_address)
{
	struct napt *napt = make_napt();
	struct addr outer = addr("192.0.2.99");
	struct mapping *mapping;
	struct packet p, want;
	enum verdict verdict;
	struct pkt pkt;

	make(&p, 4, CLASS_TCP, "10.0.0.1", 777, remote(4), 53, false);
	ck_assert_int_eq(pkt_parse(&pkt, p.b, p.len, false), VERDICT_PASS);
	mapping = napt_aggregate(napt, &pkt, &outer, now, &verdict);
	napt_rewrite_out(napt, mapping, &pkt, p.b);
	make(&want, 4, CLASS_TCP, "192.0.2.99", mapping->outer_port, remote(4), 53, false);
	same(&p, &want);
	make(&p, 4, CLASS_TCP, remote(4), 53, "192.0.2.99", mapping->outer_port, true);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	make(&want, 4, CLASS_TCP, remote(4), 53, "10.0.0.1", 777, true);
	same(&p, &want);
	make(&p, 4, CLASS_TCP, remote(4), 53, "10.0.0.1", mapping->outer_port, true);
	ck_assert_ptr_null(in(napt, &p));
	napt_free(napt);
}
END_TEST

/* A wrong checksum stays wrong by the same difference, a UDP checksum of none stays none and never becomes one */
START_TEST(checksums)
{
	struct napt *napt = make_napt();
	struct mapping *mapping;
	struct packet p, want;

	make(&p, 4, CLASS_TCP, local(4), 777, remote(4), 53, false);
	packet_u16(&p, 20 + 16, 0xdead);
	mapping = out(napt, &p, "pass");
	make(&want, 4, CLASS_TCP, local(4), mapping->outer_port, remote(4), 53, false);
	ck_assert_mem_ne(p.b + 36, want.b + 36, 2);
	make(&p, 4, CLASS_UDP, local(4), 777, remote(4), 53, false);
	packet_u16(&p, 20 + 6, 0);
	out(napt, &p, "pass");
	ck_assert_uint_eq(p.b[26] << 8 | p.b[27], 0);
	napt_free(napt);
}
END_TEST

/* Every UDP port, so that each checksum comes up, also the one that would be 0 */
START_TEST(every_port)
{
	struct napt *napt = make_napt();
	struct packet p, want;
	unsigned port;

	for (port = 1; port < 65536; port++) {
		struct mapping *mapping;

		make(&p, 4, CLASS_UDP, local(4), port, remote(4), 53, false);
		mapping = out(napt, &p, "pass");
		make(&want, 4, CLASS_UDP, local(4), mapping->outer_port, remote(4), 53, false);
		same(&p, &want);
		make(&p, 4, CLASS_UDP, remote(4), 53, local(4), mapping->outer_port, true);
		ck_assert_ptr_eq(in(napt, &p), mapping);
		make(&want, 4, CLASS_UDP, remote(4), 53, local(4), port, true);
		same(&p, &want);
		napt_release(napt, mapping);
	}
	ck_assert_uint_eq(napt->used, 0);
	napt_free(napt);
}
END_TEST

/* What ports nobody can translate is refused by name */
START_TEST(refused)
{
	const unsigned version = versions[_i];
	struct napt *napt = make_napt();
	struct packet p;

	packet_ip(&p, version, local(version), remote(version), IPPROTO_SCTP);
	packet_sctp(&p, 1, 2);
	packet_end(&p);
	out(napt, &p, "protocol");
	packet_ip(&p, version, local(version), remote(version), version == 4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	packet_icmp(&p, 8, 0, 7);
	packet_end(&p);
	out(napt, &p, "protocol");
	packet_ip(&p, version, local(version), remote(version), icmp_protocol(version));
	packet_icmp(&p, version == 4 ? 13 + 2 : 133, 0, 7);
	packet_add(&p, NULL, 16);
	packet_end(&p);
	out(napt, &p, "icmp-type");
	ck_assert_uint_eq(napt->used, 0);
	napt_free(napt);
}
END_TEST

/* State after each segment of a connection, and after those that come too late or again */
START_TEST(connection)
{
	enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
	struct napt *napt = make_napt();
	struct mapping *mapping = send_tcp(napt, 777, SYN, true);
	const unsigned port = mapping->outer_port;
	const struct {
		bool outward;
		uint8_t flags, state;
	} steps[] = {
		{true, SYN, NAPT_NEW},
		{true, ACK, NAPT_NEW},
		{false, SYN | ACK, NAPT_NEW},
		{true, ACK, NAPT_ESTABLISHED},
		{false, ACK, NAPT_ESTABLISHED},
		{false, RST, NAPT_CLOSING},
		{true, ACK, NAPT_ESTABLISHED}, /* it was forged */
		{true, FIN | ACK, NAPT_ESTABLISHED},
		{false, ACK, NAPT_ESTABLISHED},
		{false, FIN | ACK, NAPT_CLOSING},
		{true, ACK, NAPT_CLOSING},
		{true, SYN, NAPT_NEW}, /* again from the same port */
		{false, SYN | ACK, NAPT_NEW},
		{true, ACK, NAPT_ESTABLISHED},
		{true, SYN, NAPT_NEW},
		{false, RST | ACK, NAPT_CLOSING},
		{true, RST, NAPT_CLOSING},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		ck_assert_ptr_eq(send_tcp(napt, steps[i].outward ? 777 : port, steps[i].flags, steps[i].outward),
				 mapping);
		ck_assert_msg(mapping->state == steps[i].state, "step %u: state %u", i, mapping->state);
	}
	napt_free(napt);
}
END_TEST

/* How long each state lasts without packets; a moment before it is still there */
START_TEST(timeouts)
{
	static const struct {
		unsigned class;
		bool answered;
		unsigned seconds;
	} rows[] = {{CLASS_TCP, false, 30},  {CLASS_UDP, false, 30}, {CLASS_ICMP, false, 30},
		    {CLASS_TCP, true, 7440}, {CLASS_UDP, true, 120}, {CLASS_ICMP, true, 60}};
	const unsigned class = rows[_i].class;
	struct napt *napt = make_napt();
	struct mapping *mapping = send_one(napt, 6, class, 777, "pass");
	struct packet p;

	make(&p, 6, class, remote(6), 53, local(6), mapping->outer_port, true);
	if (rows[_i].answered) {
		ck_assert_ptr_eq(in(napt, &p), mapping);
		make(&p, 6, class, local(6), 777, remote(6), 53, false);
		p.b[53] = class == CLASS_TCP ? 16 : p.b[53]; /* ACK */
		out(napt, &p, "pass");
	}
	now += rows[_i].seconds * SECOND;
	ck_assert_ptr_null(napt_expired(napt, now));
	now++;
	make(&p, 6, class, remote(6), 53, local(6), mapping->outer_port, true);
	ck_assert_ptr_null(in(napt, &p));
	ck_assert_ptr_eq(napt_expired(napt, now), mapping);
	napt_release(napt, mapping);
	ck_assert_ptr_null(napt_expired(napt, now));
	ck_assert_uint_eq(napt->counters.expired, 1);
	ck_assert_uint_eq(napt->used, 0);
	napt_free(napt);
}
END_TEST

/* What has expired and was not released yet: nothing comes in by it, and what goes out makes it a new one */
START_TEST(expired_anew)
{
	const unsigned class = _i;
	struct napt *napt = make_napt();
	struct mapping *mapping = send_one(napt, 6, class, 777, "pass");
	enum verdict verdict;
	struct packet p;
	struct pkt pkt;

	make(&p, 6, class, remote(6), 53, local(6), mapping->outer_port, true);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	now += 121 * SECOND;
	make(&p, 6, class, local(6), 777, remote(6), 53, false);
	ck_assert_int_eq(pkt_parse(&pkt, p.b, p.len, false), VERDICT_PASS);
	pkt.flags |= PKT_FRAGMENT | PKT_LATER;
	ck_assert_ptr_null(napt_aggregate(napt, &pkt, &pkt.src, now, &verdict));
	ck_assert_int_eq(verdict, VERDICT_ORPHAN_FRAGMENT);
	ck_assert_uint_eq(napt->counters.expired, 0);

	ck_assert_ptr_eq(send_one(napt, 6, class, 777, "pass"), mapping);
	ck_assert_int_eq(mapping->state, NAPT_NEW);
	ck_assert_uint_eq(mapping->made_ns, now);
	ck_assert_uint_eq(napt->counters.expired, 1);
	ck_assert_uint_eq(napt->counters.created, 2);
	ck_assert_uint_eq(napt->used, 1);
	ck_assert_ptr_null(napt_expired(napt, now));
	napt_free(napt);
}
END_TEST

/* No port is left: counted and refused, for that class alone; after a moment the oldest idle one is displaced */
START_TEST(exhaustion)
{
	const unsigned class = _i;
	struct napt *napt = make_napt();
	struct mapping *first = NULL, *mapping;
	unsigned port;

	for (port = 1; port <= POOL; port++) {
		mapping = send_one(napt, 4, class, port, "pass");
		first = first ? first : mapping;
	}
	send_one(napt, 4, class, port, "napt-exhausted");
	send_one(napt, 6, class, 1, "napt-exhausted");
	send_one(napt, 4, (class + 1) % NAPT_CLASSES, 1, "pass");
	send_one(napt, 4, class, 2, "pass");
	ck_assert_uint_eq(napt->counters.exhausted, 2);
	now += SECOND;
	send_one(napt, 4, class, port, "napt-exhausted");
	send_one(napt, 4, class, 3, "pass");
	now++;
	ck_assert_ptr_eq(send_one(napt, 4, class, port, "pass"), first);
	ck_assert_uint_eq(first->inner_port, port);
	ck_assert_uint_eq(napt->counters.displaced, 1);
	ck_assert_uint_eq(napt->used, POOL + 1);
	napt_free(napt);
}
END_TEST

/* What has been answered, or is open, is displaced by nothing before its timeout */
START_TEST(never_displaced)
{
	struct napt *napt = make_napt();
	unsigned port;

	for (port = 1; port <= POOL; port++) {
		struct mapping *tcp = send_tcp(napt, port, 2, true);
		struct mapping *udp = send_one(napt, 4, CLASS_UDP, port, "pass");
		struct packet p;

		ck_assert_ptr_eq(send_tcp(napt, tcp->outer_port, 18, false), tcp);
		send_tcp(napt, port, 16, true);
		make(&p, 4, CLASS_UDP, remote(4), 53, local(4), udp->outer_port, true);
		ck_assert_ptr_eq(in(napt, &p), udp);
	}
	now += 120 * SECOND;
	send_one(napt, 4, CLASS_TCP, port, "napt-exhausted");
	send_one(napt, 4, CLASS_UDP, port, "napt-exhausted");
	now++;
	send_one(napt, 4, CLASS_UDP, port, "pass"); /* who has expired is in nobody's way */
	now += (7440 - 120) * SECOND - 1;
	send_one(napt, 4, CLASS_TCP, port, "napt-exhausted");
	now++;
	send_one(napt, 4, CLASS_TCP, port, "pass");
	ck_assert_uint_eq(napt->counters.expired, 2);
	ck_assert_uint_eq(napt->counters.displaced, 0);
	napt_free(napt);
}
END_TEST

/** make_fragment() - the first fragment of a datagram with a big UDP header, or a later one */
static void make_fragment(struct packet *p, unsigned version, const char *src, unsigned sport, const char *dst,
			  unsigned dport, bool later)
{
	packet_ip(p, version, src, dst, version == 4 ? IPPROTO_UDP : IPPROTO_FRAGMENT);
	if (version == 6)
		PACKET_ADD(p, IPPROTO_UDP, 0, 0, later ? 16 : 1, 0, 0, 0, 9);
	if (later)
		packet_add(p, NULL, 8);
	else
		packet_udp(p, sport, dport, 8);
	if (version == 4)
		packet_u16(p, 6, later ? 2 : 0x2000);
	packet_end(p);
	if (!later)
		packet_u16(p, p->len - 10, 0x1234);
}

/* Later fragments follow their first one, both ways; others are refused */
START_TEST(fragments)
{
	const unsigned version = versions[_i];
	struct napt *napt = make_napt();
	struct packet p, before;
	struct mapping *mapping;

	make_fragment(&p, version, local(version), 0, remote(version), 0, true);
	out(napt, &p, "orphan-fragment");
	make_fragment(&p, version, local(version), 777, remote(version), 53, false);
	mapping = out(napt, &p, "pass");
	make_fragment(&p, version, local(version), 0, remote(version), 0, true);
	before = p;
	ck_assert_ptr_eq(out(napt, &p, "pass"), mapping);
	same(&p, &before);

	make_fragment(&p, version, remote(version), 0, local(version), 0, true);
	ck_assert_ptr_null(in(napt, &p));
	make_fragment(&p, version, remote(version), 53, local(version), mapping->outer_port, false);
	ck_assert_ptr_eq(in(napt, &p), mapping);
	make_fragment(&p, version, remote(version), 0, local(version), 0, true);
	now += 2 * SECOND;
	before = p;
	ck_assert_ptr_eq(in(napt, &p), mapping);
	same(&p, &before);
	now++;
	ck_assert_ptr_null(in(napt, &p));
	napt_free(napt);
}
END_TEST

/* A later fragment goes by its first one's mapping, to the host too, and makes none when that is over */
START_TEST(fragment_too_late)
{
	struct napt *napt = make_napt();
	struct mapping *mapping;
	struct packet p;

	make_fragment(&p, 4, local(4), 777, alias(4), 53, false);
	mapping = out(napt, &p, "pass");
	make_fragment(&p, 4, local(4), 0, alias(4), 0, true);
	ck_assert_ptr_eq(out(napt, &p, "pass"), mapping);
	ck_assert_mem_eq(p.b + 16, p.b + 12, 4); /* it goes to the host's own address too */
	napt_release(napt, mapping);
	make_fragment(&p, 4, local(4), 0, alias(4), 0, true);
	out(napt, &p, "orphan-fragment");
	ck_assert_uint_eq(napt->used, 0);
	napt_free(napt);
}
END_TEST

/* Pools may be absent, and there may be none at all */
START_TEST(empty_pools)
{
	struct napt_conf conf = {.pool = {[CLASS_UDP] = {POOL_LO, POOL_LO}}};
	struct napt *napt = napt_new(&conf);
	struct mapping *mapping;
	struct packet p;

	now = START;
	send_one(napt, 4, CLASS_TCP, 1, "napt-exhausted");
	mapping = send_one(napt, 4, CLASS_UDP, 1, "pass");
	ck_assert_uint_eq(mapping->outer_port, POOL_LO);
	ck_assert_ptr_eq(napt_next(napt, 0, 0), mapping);
	ck_assert_ptr_null(napt_next(napt, CLASS_UDP, POOL_LO));
	ck_assert_ptr_null(napt_next(napt, CLASS_UDP, UINT16_MAX));
	ck_assert_ptr_null(napt_next(napt, NAPT_CLASSES, 0));
	make(&p, 4, CLASS_TCP, remote(4), 1, local(4), 0, false);
	ck_assert_ptr_null(in(napt, &p));
	make(&p, 4, CLASS_UDP, local(4), 1, alias(4), 53, false);
	ck_assert_ptr_eq(out(napt, &p, "pass"), mapping); /* no alias is configured */
	napt_free(napt);

	conf.pool[CLASS_UDP].hi = 0;
	napt = napt_new(&conf);
	send_one(napt, 4, CLASS_UDP, 1, "napt-exhausted");
	ck_assert_ptr_null(napt_next(napt, 0, 0));
	ck_assert_ptr_null(napt_expired(napt, now));
	napt_free(napt);

	conf.pool[CLASS_TCP] = conf.pool[CLASS_UDP] = (struct napt_pool){1, 65535};
	ck_assert_ptr_null(napt_new(&conf));
}
END_TEST

/* Free ports are used in an order that the secret decides, each once before the first is used again */
START_TEST(order)
{
	struct napt_conf conf = {.pool = {[CLASS_UDP] = {1000, 1255}}};
	unsigned first[2], round, port, in_order = 0;
	bool seen[256] = {false};

	for (round = 0; round < 2; round++) {
		struct napt *napt;
		unsigned last = 0;

		conf.secret[0] = round;
		napt = napt_new(&conf);
		memset(seen, 0, sizeof(seen));
		for (port = 1; port <= 256; port++) {
			struct mapping *mapping = send_one(napt, 4, CLASS_UDP, port, "pass");

			ck_assert(!seen[mapping->outer_port - 1000]);
			seen[mapping->outer_port - 1000] = true;
			in_order += mapping->outer_port == last + 1;
			last = mapping->outer_port;
			if (port == 1)
				first[round] = last;
			napt_release(napt, mapping);
		}
		ck_assert_uint_eq(send_one(napt, 4, CLASS_UDP, 1, "pass")->outer_port, first[round]);
		napt_free(napt);
	}
	ck_assert_uint_ne(first[0], first[1]);
	ck_assert_uint_lt(in_order, 32);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("napt");
	TCase *tests = tcase_create("all");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, there_and_back, 0, 2 * NAPT_CLASSES);
	tcase_add_loop_test(tests, errors, 0, 2 * NAPT_CLASSES);
	tcase_add_loop_test(tests, errors_about_others, 0, 2 * 4);
	tcase_add_loop_test(tests, host, 0, 2 * NAPT_CLASSES);
	tcase_add_test(tests, endpoint_independent);
	tcase_add_test(tests, other_address);
	tcase_add_test(tests, checksums);
	tcase_add_test(tests, every_port);
	tcase_add_loop_test(tests, refused, 0, 2);
	tcase_add_test(tests, connection);
	tcase_add_loop_test(tests, timeouts, 0, 6);
	tcase_add_loop_test(tests, expired_anew, 0, NAPT_CLASSES);
	tcase_add_loop_test(tests, exhaustion, 0, NAPT_CLASSES);
	tcase_add_test(tests, never_displaced);
	tcase_add_loop_test(tests, fragments, 0, 2);
	tcase_add_test(tests, fragment_too_late);
	tcase_add_test(tests, empty_pools);
	tcase_add_test(tests, order);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
