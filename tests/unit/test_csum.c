/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_csum.c: checksums, and filling in what a sender left open
 *
 * The oracle is the plain method of RFC 1071, word by word; test_pkt.c
 * compares with packets that a Linux host summed.
 */
#include <check.h>

#include "packet.h"
#include "suite.h"
#include "util.h"

/** plain_csum() - RFC 1071 word by word, as a number */
static uint16_t plain_csum(const uint8_t *data, size_t len, uint32_t sum)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)~sum;
}

START_TEST(csum_known)
{
	const uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	const uint8_t header[] = {0x45, 0,    0,    0x73, 0, 0, 0x40, 0,    0x40, 0x11,
				  0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,    0xc7};

	ck_assert_uint_eq(csum(rfc1071, sizeof(rfc1071), 0), htons(0x220d));
	ck_assert_uint_eq(csum(header, sizeof(header), 0), 0);
	ck_assert_uint_eq(csum(header, 10, 0), htons(plain_csum(header, 10, 0)));
	ck_assert_uint_eq(csum(NULL, 0, 0), 0xffff);
}
END_TEST

START_TEST(csum_any_length)
{
	uint8_t data[300];
	size_t len, shift;

	for (len = 0; len < sizeof(data); len++)
		data[len] = (uint8_t)(len * 167 + (len >> 3) * 59 + 0x91);
	for (shift = 0; shift < 9; shift++)
		for (len = 0; len < sizeof(data) - shift; len++)
			ck_assert_uint_eq(csum(data + shift, len, htons(0xabcd)),
					  htons(plain_csum(data + shift, len, 0xabcd)));
	memset(data, 0xff, sizeof(data));
	for (len = 1; len < sizeof(data); len++)
		ck_assert_uint_eq(csum(data, len, 0xffffffff), htons(plain_csum(data, len, 0xffff)));
}
END_TEST

/** transport_sum() - where the transport checksum of a parsed packet is, in a packet */
static uint8_t *transport_sum(struct packet *p, const struct pkt *pkt)
{
	return p->b + pkt->transport + csum_field(pkt);
}

/** build() - a packet with a right transport checksum, and its checked view */
static void build(struct packet *p, struct pkt *pkt, unsigned version, const char *source, uint8_t protocol)
{
	uint16_t sum;

	packet_ip(p, version, source, remote(version), protocol);
	if (protocol == IPPROTO_TCP)
		packet_tcp(p, 4000, 80);
	else if (protocol == IPPROTO_UDP)
		packet_udp(p, 4000, 53, 5);
	else if (protocol == IPPROTO_UDPLITE)
		packet_udplite(p, 4000, 53, 0, 5);
	else if (protocol == IPPROTO_DCCP)
		packet_dccp(p, 4000, 53, 0, 5);
	else
		packet_icmp(p, version == 4 ? 8 : 128, 0, 77);
	packet_end(p);
	ck_assert_int_eq(packet_parse(pkt, p, false), VERDICT_PASS);
	sum = packet_transport_sum(pkt);
	memcpy(transport_sum(p, pkt), &sum, sizeof(sum));
	ck_assert_int_eq(packet_parse(pkt, p, false), VERDICT_PASS);
}

#define PROTOCOLS 5
static const uint8_t protocols[2][PROTOCOLS] = {
	{IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_DCCP, IPPROTO_ICMP},
	{IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_DCCP, IPPROTO_ICMPV6},
};

/** fill_header_alone() - filling in a source changes nothing behind the IP header */
static void fill_header_alone(struct packet *p, const struct addr *source)
{
	const struct packet before = *p;
	struct pkt pkt;

	ck_assert_int_eq(packet_parse(&pkt, p, false), VERDICT_PASS);
	pkt_fill(p->b, &pkt, source, 9);
	ck_assert_mem_eq(p->b + pkt.transport, before.b + pkt.transport, p->len - pkt.transport);
	ck_assert_int_eq(packet_parse(&pkt, p, false), VERDICT_PASS);
	ck_assert(addr_eq(&pkt.src, source));
}

/* No pseudo-header: a filled-in source leaves an SCTP packet's own part as it is */
START_TEST(fill_sctp)
{
	const unsigned version = versions[_i];
	struct addr source = addr(local(version));
	struct packet p;

	packet_ip(&p, version, version == 4 ? "0.0.0.0" : "::", remote(version), IPPROTO_SCTP);
	packet_sctp(&p, 4000, 53);
	packet_end(&p);
	fill_header_alone(&p, &source);
}
END_TEST

START_TEST(no_transport_sum)
{
	const unsigned version = versions[_i];
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, version, local(version), remote(version), 89);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_int_eq(csum_field(&pkt), -1);
	packet_ip(&p, version, local(version), remote(version), icmp_protocol(10 - version));
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_int_eq(csum_field(&pkt), -1);
}
END_TEST

/* A sender that left the source open and summed with zero is right once it is filled in */
START_TEST(fill_source)
{
	const unsigned version = versions[_i / PROTOCOLS];
	struct packet p, want;
	struct addr source = addr(local(version));
	struct pkt pkt;

	build(&want, &pkt, version, local(version), protocols[_i / PROTOCOLS][_i % PROTOCOLS]);
	build(&p, &pkt, version, version == 4 ? "0.0.0.0" : "::", protocols[_i / PROTOCOLS][_i % PROTOCOLS]);
	pkt_fill(p.b, &pkt, &source, 9);
	ck_assert_mem_eq(p.b, want.b, want.len);
	/* and what it did not leave open stays */
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	source = addr(remote(version));
	pkt_fill(p.b, &pkt, &source, 9);
	ck_assert_mem_eq(p.b, want.b, want.len);
}
END_TEST

START_TEST(fill_no_source)
{
	const unsigned version = versions[_i];
	struct addr foreign = addr(local(10 - version));
	struct packet p, before;
	struct pkt pkt;

	build(&p, &pkt, version, version == 4 ? "0.0.0.0" : "::", IPPROTO_TCP);
	before = p;
	pkt_fill(p.b, &pkt, NULL, 9);
	ck_assert_mem_eq(p.b, before.b, p.len);
	pkt_fill(p.b, &pkt, &foreign, 9); /* of the other family: not put in */
	ck_assert_mem_eq(p.b, before.b, p.len);
}
END_TEST

START_TEST(fill_udp_zero)
{
	const unsigned version = versions[_i];
	struct addr source = addr(local(version));
	const size_t size = version == 4 ? 4 : 16;
	struct packet p;
	struct pkt pkt;
	uint8_t *sum;

	build(&p, &pkt, version, version == 4 ? "0.0.0.0" : "::", IPPROTO_UDP);
	sum = transport_sum(&p, &pkt);
	memset(sum, 0, 2); /* no checksum */
	pkt_fill(p.b, &pkt, &source, 9);
	ck_assert(!sum[0] && !sum[1]);
	build(&p, &pkt, version, version == 4 ? "0.0.0.0" : "::", IPPROTO_UDP);
	packet_u16(&p, (size_t)(sum - p.b), ~plain_csum(source.b + 16 - size, size, 0) & 0xffff);
	pkt_fill(p.b, &pkt, &source, 9); /* would come out as zero, which means none */
	ck_assert(sum[0] == 0xff && sum[1] == 0xff);
}
END_TEST

START_TEST(fill_later_fragment)
{
	const unsigned version = versions[_i];
	struct addr source = addr(local(version));
	struct packet p;

	packet_ip(&p, version, version == 4 ? "0.0.0.0" : "::", remote(version), version == 4 ? IPPROTO_TCP : 44);
	if (version == 4)
		packet_u16(&p, 6, 5);
	else
		PACKET_ADD(&p, IPPROTO_TCP, 0, 0, 40, 0, 0, 0, 1);
	packet_add(&p, &source, sizeof(source)); /* anything: some other part of the segment */
	packet_add(&p, &source, sizeof(source));
	packet_end(&p);
	fill_header_alone(&p, &source);
}
END_TEST

START_TEST(fill_unknown_protocol)
{
	const unsigned version = versions[_i];
	struct addr source = addr(local(version));
	struct packet p, want;
	struct pkt pkt;

	packet_ip(&want, version, local(version), remote(version), 89);
	packet_add(&want, &source, sizeof(source));
	packet_end(&want);
	packet_ip(&p, version, version == 4 ? "0.0.0.0" : "::", remote(version), 89);
	packet_add(&p, &source, sizeof(source));
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	pkt_fill(p.b, &pkt, &source, 9);
	ck_assert_mem_eq(p.b, want.b, want.len);
}
END_TEST

START_TEST(fill_id_and_header_sum)
{
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, 4, local(4), remote(4), IPPROTO_TCP);
	p.b[0] = 0x46;
	PACKET_ADD(&p, 148, 4, 0, 0);
	packet_tcp(&p, 4000, 80);
	packet_end(&p);
	packet_u16(&p, 4, 0);
	packet_u16(&p, 10, 0xdead);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_uint_eq(pkt.flags, PKT_BAD_CHECKSUM);
	pkt_fill(p.b, &pkt, NULL, 0xbeef);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_uint_eq(pkt.flags, 0);
	ck_assert_uint_eq(pkt.id, 0xbeef);
	ck_assert_uint_eq(plain_csum(p.b, 24, 0), 0);
	pkt_fill(p.b, &pkt, NULL, 1); /* an id that is there stays */
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_uint_eq(pkt.id, 0xbeef);
}
END_TEST

/** csum_suite() - all tests of this file */
static Suite *csum_suite(void)
{
	Suite *suite = suite_create("csum");
	TCase *sums = tcase_create("sums"), *fill = tcase_create("fill");

	tcase_add_test(sums, csum_known);
	tcase_add_test(sums, csum_any_length);
	tcase_add_loop_test(sums, fill_sctp, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(sums, no_transport_sum, 0, ARRAY_SIZE(versions));
	suite_add_tcase(suite, sums);
	tcase_add_loop_test(fill, fill_source, 0, 2 * PROTOCOLS);
	tcase_add_loop_test(fill, fill_no_source, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(fill, fill_udp_zero, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(fill, fill_later_fragment, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(fill, fill_unknown_protocol, 0, ARRAY_SIZE(versions));
	tcase_add_test(fill, fill_id_and_header_sum);
	suite_add_tcase(suite, fill);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(csum_suite());
}
