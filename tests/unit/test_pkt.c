/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_pkt.c: parsing
 *
 * Two sources of truth: packets as a Linux host sent them, captured with its
 * checksum offload off; and, for what is refused, packets that are right but
 * for one thing.
 */
#include <check.h>

#include "packet.h"
#include "suite.h"
#include "util.h"

/* Captured packets, hexadecimal, and what is to be found in them */
static const struct vector {
	const char *hex;
	uint8_t protocol;
	uint8_t flags;
	uint16_t sport, dport, transport;
	uint16_t inner_sport, inner_dport;
} vectors[] = {
	/* ping and its answer, IPv4 and IPv6 */
	{"4500005411ea40004001a4bbc0000201c00002020800013a1f3b00013bf8036b00000000d5530400000000001011121314151617181"
	 "91a1b"
	 "1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
	 IPPROTO_ICMP, PKT_ICMP_REQUEST, 7995, 7995, 20, 0, 0},
	{"45000054f88300004001fe21c0000202c00002010000093a1f3b00013bf8036b00000000d5530400000000001011121314151617181"
	 "91a1b"
	 "1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
	 IPPROTO_ICMP, PKT_ICMP_REPLY, 7995, 7995, 20, 0, 0},
	{"6006347e00403a4020010db800000000000000000000000120010db80000000000000000000000028000322c1f3c00013bf8036b000"
	 "00000"
	 "d070040000000000101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
	 IPPROTO_ICMPV6, PKT_ICMP_REQUEST, 7996, 7996, 40, 0, 0},
	{"600c6d4b00403a4020010db800000000000000000000000220010db80000000000000000000000018100312c1f3c00013bf8036b000"
	 "00000"
	 "d070040000000000101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
	 IPPROTO_ICMPV6, PKT_ICMP_REPLY, 7996, 7996, 40, 0, 0},
	/* a UDP datagram of odd length, and the error that it drew */
	{"4500001f012f40004011b59bc0000201c0000202ed740009000bbaf16f6464", IPPROTO_UDP, 0, 60788, 9, 20, 0, 0},
	{"45c0003bf88b00004001fd72c0000202c00002010303811d000000004500001f012f40004011b59bc0000201c0000202ed740009000"
	 "bbaf1"
	 "6f6464",
	 IPPROTO_ICMP, PKT_ICMP_ERROR, 0, 0, 20, 60788, 9},
	{"6008d5de000b114020010db800000000000000000000000120010db8000000000000000000000002aacd0009000b26286f6464",
	 IPPROTO_UDP, 0, 43725, 9, 40, 0, 0},
	{"600b21ea003b3a4020010db800000000000000000000000220010db800000000000000000000000101045bfb000000006008d5de000"
	 "b1140"
	 "20010db800000000000000000000000120010db8000000000000000000000002aacd0009000b26286f6464",
	 IPPROTO_ICMPV6, PKT_ICMP_ERROR, 0, 0, 40, 43725, 9},
	/* TCP SYNs */
	{"4500003c58bf400040065df9c0000201c0000202c61600500128038100000000a002faf0915d0000020405b40402080a9341d959000"
	 "00000"
	 "0103030a",
	 IPPROTO_TCP, 0, 50710, 80, 20, 0, 0},
	{"6004e9e30028064020010db800000000000000000000000120010db800000000000000000000000291ac00504321689500000000a00"
	 "2fd20"
	 "3c370000020405a00402080adcf89898000000000103030a",
	 IPPROTO_TCP, 0, 37292, 80, 40, 0, 0},
	/* UDP-Lite datagrams whose checksum covers all, the header and three bytes, the header alone */
	{"45000028c82f40004088ee1ac0000201c00002029c40000700143aec73616665726177206c697465", IPPROTO_UDPLITE, 0,
	 40000, 7, 20, 0, 0},
	{"45000028c83040004088ee19c0000201c00002029c400007000b05ab73616665726177206c697465", IPPROTO_UDPLITE, 0,
	 40000, 7, 20, 0, 0},
	{"600215640014884020010db800000000000000000000000120010db80000000000000000000000029c4000070008079f73616665726"
	 "177206c697465",
	 IPPROTO_UDPLITE, 0, 40000, 7, 40, 0, 0},
	/* a multicast listener report: hop-by-hop options, then ICMPv6 of a type that is nothing to us */
	{"6000000000380001fe80000000000000004211fffee5612fff0200000000000000000000000000163a000502000001008f009a83000"
	 "00002"
	 "04000000ff0200000000000000000001ff00000104000000ff0200000000000000000001ffe5612f",
	 IPPROTO_ICMPV6, 0, 0, 0, 48, 0, 0},
};

/** from_hex() - a packet from hexadecimal text */
static void from_hex(struct packet *p, const char *hex)
{
	char two[3] = "";

	p->len = 0;
	for (; *hex; hex += 2) {
		memcpy(two, hex, 2);
		PACKET_ADD(p, (uint8_t)strtoul(two, NULL, 16));
	}
	p->version = p->b[0] >> 4;
}

/** verdict_of() - the verdict on a packet, by name */
static const char *verdict_of(const struct packet *p)
{
	struct pkt pkt;

	return verdict_name(packet_parse(&pkt, p, false));
}

/** tcp_packet() - a TCP packet without options or data, local port 4000 to remote port 80 */
static void tcp_packet(struct packet *p, unsigned version)
{
	packet_ip(p, version, local(version), remote(version), IPPROTO_TCP);
	packet_tcp(p, 4000, 80);
	packet_end(p);
}

START_TEST(captured)
{
	const struct vector *v = &vectors[_i];
	struct packet p;
	struct pkt pkt;
	uint16_t sum;

	from_hex(&p, v->hex);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.version, p.version);
	ck_assert_uint_eq(pkt.len, p.len);
	ck_assert_uint_eq(pkt.protocol, v->protocol);
	ck_assert_uint_eq(pkt.flags, v->flags);
	ck_assert_uint_eq(pkt.sport, v->sport);
	ck_assert_uint_eq(pkt.dport, v->dport);
	ck_assert_uint_eq(pkt.transport, v->transport);
	ck_assert_uint_eq(pkt.inner_sport, v->inner_sport);
	ck_assert_uint_eq(pkt.inner_dport, v->inner_dport);
	memcpy(&sum, p.b + pkt.transport + csum_field(&pkt), sizeof(sum));
	ck_assert_uint_eq(packet_transport_sum(&pkt), sum);
	if (v->flags & PKT_ICMP_ERROR) {
		ck_assert_uint_eq(pkt.inner_protocol, IPPROTO_UDP);
		ck_assert(addr_eq(&pkt.inner_src, &pkt.dst));
		ck_assert(addr_eq(&pkt.inner_dst, &pkt.src));
	}
}
END_TEST

START_TEST(cut_anywhere)
{
	struct packet p;
	struct pkt pkt;

	from_hex(&p, vectors[_i].hex);
	while (p.len--) {
		ck_assert_int_ne(packet_parse(&pkt, &p, false), VERDICT_PASS);
		ck_assert_int_ne(packet_parse(&pkt, &p, true), VERDICT_PASS);
	}
}
END_TEST

START_TEST(form_any_family)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;

	tcp_packet(&p, version);
	ck_assert_str_eq(verdict_of(&p), "pass");
	ck_assert_str_eq(verdict_name(pkt_parse(&pkt, NULL, 0, false)), "short");
	p.len = version == 4 ? 19 : 39;
	ck_assert_str_eq(verdict_of(&p), "short");
	tcp_packet(&p, version);
	p.b[0] = (uint8_t)((p.b[0] & 15) | 0x50);
	ck_assert_str_eq(verdict_of(&p), "version");
	tcp_packet(&p, version);
	p.len--;
	ck_assert_str_eq(verdict_of(&p), "length");
	p.len += 2;
	ck_assert_str_eq(verdict_of(&p), "length");
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, true)), "pass");
	ck_assert_uint_eq(pkt.len, p.len - 1);
	ck_assert_uint_eq(pkt.transport, version == 4 ? 20 : 40);
	ck_assert(!pkt.flags);
}
END_TEST

START_TEST(form_v4)
{
	struct packet p;
	struct pkt pkt;

	tcp_packet(&p, 4);
	p.b[0] = 0x44;
	ck_assert_str_eq(verdict_of(&p), "header-length");
	p.b[0] = 0x4f;
	ck_assert_str_eq(verdict_of(&p), "short");
	tcp_packet(&p, 4);
	packet_u16(&p, 2, 0);
	ck_assert_str_eq(verdict_of(&p), "length");
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, true)), "length");
	packet_u16(&p, 2, 19);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, true)), "length");
	tcp_packet(&p, 4);
	p.b[11] ^= 1;
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, PKT_BAD_CHECKSUM);
	ck_assert_uint_eq(pkt.id, 0x1234);
}
END_TEST

/* IPv4 options, and what is to become of them */
static const struct option_case {
	uint8_t option[8];
	const char *verdict;
	uint8_t flags;
} option_cases[] = {
	{{1, 1, 1, 1, 1, 1, 1, 0}, "pass", 0},
	{{0, 0xff, 0xff, 0xff}, "pass", 0},                          /* nothing counts behind the end of the list */
	{{148, 4, 0, 0}, "pass", 0},                                 /* router alert */
	{{7, 7, 4, 0, 0, 0, 0, 0}, "pass", 0},                       /* record route */
	{{68, 8, 5, 0, 0, 0, 0, 0}, "pass", 0},                      /* timestamp */
	{{131, 7, 4, 198, 51, 100, 9, 0}, "pass", PKT_SOURCE_ROUTE}, /* loose source route */
	{{1, 137, 7, 4, 198, 51, 100, 9}, "pass", PKT_SOURCE_ROUTE}, /* strict */
	{{131, 3, 4, 0, 0, 0, 0, 0}, "pass", PKT_SOURCE_ROUTE},
	{{7, 0, 0, 0, 0, 0, 0, 0}, "option", 0},
	{{7, 1, 0, 0, 0, 0, 0, 0}, "option", 0},
	{{7, 9, 4, 0, 0, 0, 0, 0}, "option", 0},
	{{1, 1, 1, 1, 1, 1, 148, 2}, "pass", 0},
	{{1, 1, 1, 1, 1, 1, 1, 7}, "option", 0},
	{{1, 1, 1, 1, 1, 1, 131, 3}, "option", 0},
};

START_TEST(options_v4)
{
	const struct option_case *c = &option_cases[_i];
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, 4, local(4), remote(4), IPPROTO_TCP);
	p.b[0] = 0x47;
	packet_add(&p, c->option, sizeof(c->option));
	packet_tcp(&p, 4000, 80);
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), c->verdict);
	ck_assert_uint_eq(pkt.flags, c->flags);
	if (!strcmp(c->verdict, "pass")) {
		ck_assert_uint_eq(pkt.transport, 28);
		ck_assert_uint_eq(pkt.sport, 4000);
	}
}
END_TEST

/* Extension headers in front of a TCP header and four bytes: each is {next header, ...}; `first` is that of the fixed
 * header */
static const struct chain_case {
	uint8_t first;
	uint8_t size;
	uint8_t bytes[24];
	const char *verdict;
	uint8_t flags;
} chain_cases[] = {
	{0, 8, {6, 0, 1, 4}, "pass", 0},
	{60, 8, {6, 0, 1, 4}, "pass", 0},
	{60, 8, {6, 0, 0, 0, 0, 0, 0, 0}, "pass", 0},
	{0, 16, {60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4}, "pass", 0},
	{60, 16, {6, 1, 1, 12}, "pass", 0},
	{43, 8, {6, 0, 0, 0}, "pass", PKT_SOURCE_ROUTE},
	{43, 16, {60, 0, 4, 1, 0, 0, 0, 0, 6, 0, 1, 4}, "pass", PKT_SOURCE_ROUTE},
	{44, 8, {6, 0, 0, 1, 1, 2, 3, 4}, "pass", PKT_FRAGMENT | PKT_MORE},
	{44, 8, {6, 0, 0, 8, 1, 2, 3, 4}, "pass", PKT_FRAGMENT | PKT_LATER},
	{44, 8, {6, 0, 0x80, 1, 1, 2, 3, 4}, "pass", PKT_FRAGMENT | PKT_LATER | PKT_MORE},
	{44, 16, {60, 0, 0, 1, 1, 2, 3, 4, 6, 0, 1, 4}, "pass", PKT_FRAGMENT | PKT_MORE},
	{44, 8, {6, 0, 0, 0, 1, 2, 3, 4}, "atomic-fragment", 0},
	{44, 16, {60, 0, 0, 1, 1, 2, 3, 4, 6, 9, 1, 4}, "tiny-fragment", 0},
	{60, 8, {6, 4, 1, 4}, "chain-end", 0}, /* beyond the packet */
	{43, 8, {6, 9, 0, 0}, "chain-end", 0},
	{60, 8, {6, 0, 1, 5}, "extension", 0},             /* an option beyond its header */
	{60, 8, {6, 0, 1, 3, 0, 0, 0, 1}, "extension", 0}, /* an option without its length */
	{60, 24, {6, 2, 1, 2, 0, 0, 201, 16}, "home-address", 0},
	{60, 16, {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4}, "extension", 0}, /* hop-by-hop not in front */
	{0, 16, {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4}, "extension", 0},
	{44, 16, {44, 0, 0, 1, 1, 2, 3, 4, 6, 0, 0, 1}, "extension", 0},
	{50, 0, {0}, "extension", 0},
	{51, 8, {6, 0}, "extension", 0},
	{59, 0, {0}, "chain-end", 0}, /* no next header */
	{135, 8, {6, 0}, "extension", 0},
	{139, 8, {6, 0}, "extension", 0},
	{140, 8, {6, 0}, "extension", 0},
	{253, 8, {6, 0}, "extension", 0},
	{254, 8, {6, 0}, "extension", 0},
	{60, 8, {59, 0, 1, 4}, "chain-end", 0},
};

START_TEST(chain_v6)
{
	const struct chain_case *c = &chain_cases[_i];
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, 6, local(6), remote(6), c->first);
	packet_add(&p, c->bytes, c->size);
	packet_tcp(&p, 4000, 80);
	packet_add(&p, NULL, 4);
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), c->verdict);
	if (strcmp(c->verdict, "pass"))
		return;
	ck_assert_uint_eq(pkt.flags, c->flags);
	ck_assert_uint_eq(pkt.protocol, IPPROTO_TCP);
	ck_assert_uint_eq(pkt.transport, 40 + c->size);
	ck_assert_uint_eq(pkt.sport, c->flags & PKT_LATER ? 0 : 4000);
}
END_TEST

START_TEST(chain_v6_cut)
{
	struct packet p;

	packet_ip(&p, 6, local(6), remote(6), 60);
	PACKET_ADD(&p, 6, 0, 1, 4, 0, 0, 0);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "chain-end");
	packet_ip(&p, 6, local(6), remote(6), 44);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "chain-end");
}
END_TEST

/* What follows the options is none of them, even where it begins like one that is refused */
START_TEST(chain_v6_end)
{
	struct packet p;

	packet_ip(&p, 6, local(6), remote(6), 60);
	PACKET_ADD(&p, IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0);
	packet_tcp(&p, 201 << 8, 80);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "pass");
}
END_TEST

START_TEST(chain_v6_long)
{
	struct packet p;
	unsigned headers, i;

	for (headers = 1; headers < 12; headers++) {
		packet_ip(&p, 6, local(6), remote(6), 60);
		for (i = 1; i <= headers; i++)
			PACKET_ADD(&p, i < headers ? 60 : IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0);
		packet_tcp(&p, 4000, 80);
		packet_end(&p);
		ck_assert_str_eq(verdict_of(&p), headers <= 8 ? "pass" : "extension");
	}
}
END_TEST

START_TEST(martian_v6)
{
	struct packet p;

	tcp_packet(&p, 6);
	memcpy(p.b + 8, addr("192.0.2.1").b, 16);
	ck_assert_str_eq(verdict_of(&p), "martian");
	tcp_packet(&p, 6);
	memcpy(p.b + 24, addr("127.0.0.1").b, 16);
	ck_assert_str_eq(verdict_of(&p), "martian");
}
END_TEST

START_TEST(too_long_v6)
{
	uint8_t *data = calloc(1, 40 + 65535);
	struct pkt pkt;

	memcpy(data, (const uint8_t[]){0x60, 0, 0, 0, 0xff, 0xff, IPPROTO_UDP, 64}, 8);
	ck_assert_int_eq(pkt_parse(&pkt, data, 40 + 65535, false), VERDICT_LENGTH);
	data[5] = 0xff - 40;
	memcpy(data + 44, (const uint8_t[]){0xff, 0xff - 40}, 2);
	ck_assert_int_eq(pkt_parse(&pkt, data, PKT_MAX, false), VERDICT_PASS);
	ck_assert_uint_eq(pkt.len, PKT_MAX);
	free(data);
}
END_TEST

START_TEST(transport_tcp)
{
	const unsigned version = versions[_i];
	struct packet p;
	size_t at;

	tcp_packet(&p, version);
	at = p.len - 20;
	p.b[at + 12] = 0x40;
	ck_assert_str_eq(verdict_of(&p), "transport");
	p.b[at + 12] = 0x60;
	ck_assert_str_eq(verdict_of(&p), "transport");
	packet_add(&p, NULL, 4);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "pass");
	for (p.len = at + 19; p.len >= at; p.len--) {
		packet_end(&p);
		ck_assert_str_eq(verdict_of(&p), "transport");
	}
}
END_TEST

START_TEST(transport_udp)
{
	const unsigned version = versions[_i];
	static const struct {
		unsigned len;
		const char *verdict;
	} cases[] = {{12, "pass"},     {8, "pass"},      {13, "transport"},
		     {7, "transport"}, {0, "transport"}, {65535, "transport"}};
	struct packet p;
	size_t i, at;

	packet_ip(&p, version, local(version), remote(version), IPPROTO_UDP);
	at = p.len;
	packet_udp(&p, 4000, 53, 4);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		packet_u16(&p, at + 4, cases[i].len);
		packet_end(&p);
		ck_assert_str_eq(verdict_of(&p), cases[i].verdict);
	}
	packet_u16(&p, at + 4, 7);
	p.len = at + 7;
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "transport");
}
END_TEST

/** cut_transport() - that no packet passes whose transport header is cut; its whole size is `size` */
static void cut_transport(struct packet *p, size_t at, size_t size)
{
	packet_end(p);
	ck_assert_str_eq(verdict_of(p), "pass");
	for (p->len = at + size - 1; p->len >= at; p->len--) {
		packet_end(p);
		ck_assert_str_eq(verdict_of(p), "transport");
	}
}

START_TEST(transport_udplite)
{
	const unsigned version = versions[_i];
	static const struct {
		unsigned covered;
		const char *verdict;
	} cases[] = {{0, "pass"},      {8, "pass"},       {12, "pass"},        {1, "transport"},
		     {7, "transport"}, {13, "transport"}, {65535, "transport"}};
	struct packet p;
	size_t i, at;

	packet_ip(&p, version, local(version), remote(version), IPPROTO_UDPLITE);
	at = p.len;
	packet_udplite(&p, 4000, 53, 0, 4);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		packet_u16(&p, at + 4, cases[i].covered);
		packet_end(&p);
		ck_assert_str_eq(verdict_of(&p), cases[i].verdict);
	}
	packet_u16(&p, at + 4, 0);
	cut_transport(&p, at, 8);
}
END_TEST

START_TEST(transport_sctp)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;
	size_t at;

	packet_ip(&p, version, local(version), remote(version), IPPROTO_SCTP);
	at = p.len;
	packet_sctp(&p, 4000, 53);
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.sport, 4000);
	ck_assert_uint_eq(pkt.dport, 53);
	ck_assert_int_eq(csum_field(&pkt), -1);
	cut_transport(&p, at, 12);
}
END_TEST

/* DCCP headers: data offset in words, coverage, type and X bit; behind them 8 bytes of data */
static const struct {
	uint8_t offset, coverage, type;
	const char *verdict;
} dccp_cases[] = {
	{4, 0, 2 << 1 | 1, "pass"},       {4, 0, 0 << 1 | 1, "pass"},      {3, 0, 0 << 1 | 1, "transport"},
	{3, 0, 2 << 1, "pass"},           {3, 0, 3 << 1, "pass"},          {3, 0, 4 << 1, "pass"},
	{3, 0, 0 << 1, "transport"},      {3, 0, 5 << 1, "transport"},     {3, 0, 15 << 1, "transport"},
	{2, 0, 2 << 1, "transport"},      {0, 0, 2 << 1, "transport"},     {6, 0, 2 << 1 | 1, "pass"},
	{7, 0, 2 << 1 | 1, "transport"},  {4, 1, 2 << 1 | 1, "pass"},      {4, 3, 2 << 1 | 1, "pass"},
	{4, 4, 2 << 1 | 1, "transport"},  {6, 2, 2 << 1 | 1, "transport"}, {4, 0xf3, 2 << 1 | 1, "pass"},
	{4, 15, 2 << 1 | 1, "transport"},
};

START_TEST(transport_dccp)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;
	size_t i, at;

	packet_ip(&p, version, local(version), remote(version), IPPROTO_DCCP);
	at = p.len;
	packet_dccp(&p, 4000, 53, 0, 8);
	packet_end(&p);
	for (i = 0; i < ARRAY_SIZE(dccp_cases); i++) {
		p.b[at + 4] = dccp_cases[i].offset;
		p.b[at + 5] = dccp_cases[i].coverage;
		p.b[at + 8] = dccp_cases[i].type;
		ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), dccp_cases[i].verdict);
	}
	p.b[at + 4] = 4;
	p.b[at + 5] = 0;
	cut_transport(&p, at, 16);
}
END_TEST

START_TEST(transport_icmp)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, version, local(version), remote(version), icmp_protocol(version));
	packet_icmp(&p, version == 4 ? 8 : 128, 0, 77);
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, PKT_ICMP_REQUEST);
	ck_assert_uint_eq(pkt.sport, 77);
	ck_assert_uint_eq(pkt.dport, 77);
	p.len--;
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "transport");
	/* the other family's ICMP is just some protocol */
	packet_ip(&p, version, local(version), remote(version), icmp_protocol(10 - version));
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert(!pkt.flags && !pkt.sport && !pkt.dport);
	packet_ip(&p, version, local(version), remote(version), 89);
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "pass");
}
END_TEST

START_TEST(transport_timestamp)
{
	const uint8_t types[] = {13, 14};
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, 4, local(4), remote(4), IPPROTO_ICMP);
	packet_icmp(&p, types[_i], 0, 77);
	packet_add(&p, NULL, 12);
	packet_end(&p);
	ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
	ck_assert_uint_eq(pkt.flags, _i ? PKT_ICMP_REPLY : PKT_ICMP_REQUEST);
	ck_assert_uint_eq(pkt.dport, 77);
	p.len--;
	packet_end(&p);
	ck_assert_str_eq(verdict_of(&p), "transport");
}
END_TEST

/** pkt_suite() - all tests of this file */
static Suite *pkt_suite(void)
{
	Suite *suite = suite_create("pkt");
	TCase *form = tcase_create("form"), *transport = tcase_create("transport");

	tcase_add_loop_test(form, captured, 0, ARRAY_SIZE(vectors));
	tcase_add_loop_test(form, cut_anywhere, 0, ARRAY_SIZE(vectors));
	tcase_add_loop_test(form, form_any_family, 0, ARRAY_SIZE(versions));
	tcase_add_test(form, form_v4);
	tcase_add_loop_test(form, options_v4, 0, ARRAY_SIZE(option_cases));
	tcase_add_loop_test(form, chain_v6, 0, ARRAY_SIZE(chain_cases));
	tcase_add_test(form, chain_v6_cut);
	tcase_add_test(form, chain_v6_end);
	tcase_add_test(form, chain_v6_long);
	tcase_add_test(form, martian_v6);
	tcase_add_test(form, too_long_v6);
	suite_add_tcase(suite, form);
	tcase_add_loop_test(transport, transport_tcp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_udp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_udplite, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_sctp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_dccp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_icmp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(transport, transport_timestamp, 0, 2);
	suite_add_tcase(suite, transport);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(pkt_suite());
}
