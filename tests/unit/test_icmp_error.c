/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_icmp_error.c: the packet inside an ICMP error
 */
#include <check.h>

#include "packet.h"
#include "suite.h"
#include "util.h"

/** inner_packet() - what the remote host's router may quote: a packet of ours with a transport header of 8 bytes */
static void inner_packet(struct packet *p, unsigned version, uint8_t protocol)
{
	packet_ip(p, version, local(version), remote(version), protocol);
	if (protocol == icmp_protocol(version))
		packet_icmp(p, version == 4 ? 8 : 128, 0, 77);
	else
		packet_udp(p, 4000, 53, 0);
	packet_end(p);
}

/** error_verdict() - the verdict on an ICMP error about a packet, of which `quoted` bytes are quoted */
static const char *error_verdict(const struct packet *inner, size_t quoted, struct pkt *pkt)
{
	static struct packet p;

	packet_error(&p, inner->version == 4 ? 11 : 3, inner, quoted);
	return verdict_name(packet_parse(pkt, &p, false));
}

START_TEST(error_types)
{
	const unsigned version = versions[_i];
	const char *errors = version == 4 ? "\3\4\5\13\14" : "\1\2\3\4";
	struct packet inner, p;
	struct pkt pkt;
	unsigned type;

	inner_packet(&inner, version, IPPROTO_TCP);
	for (type = 0; type < 256; type++) {
		bool error = type && strchr(errors, (int)type);

		packet_error(&p, (uint8_t)type, &inner, inner.len);
		ck_assert_str_eq(verdict_name(packet_parse(&pkt, &p, false)), "pass");
		ck_assert_uint_eq(pkt.icmp_type, type);
		ck_assert_int_eq(!!(pkt.flags & PKT_ICMP_ERROR), error);
		ck_assert_uint_eq(pkt.inner_sport, error ? 4000 : 0);
		ck_assert_uint_eq(pkt.inner_dport, error ? 53 : 0);
		if (!error)
			continue;
		ck_assert_uint_eq(pkt.inner_protocol, IPPROTO_TCP);
		ck_assert(addr_eq(&pkt.inner_src, &pkt.dst));
		ck_assert(addr_eq(&pkt.inner_dst, &pkt.src));
		ck_assert(!pkt.sport && !pkt.dport);
	}
}
END_TEST

START_TEST(error_quotes)
{
	const unsigned version = versions[_i];
	static const uint8_t with_ports[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_UDPLITE};
	const size_t header = version == 4 ? 20 : 40;
	struct packet inner;
	struct pkt pkt;
	size_t quoted, i;

	for (i = 0; i < ARRAY_SIZE(with_ports); i++) {
		inner_packet(&inner, version, with_ports[i]);
		for (quoted = 0; quoted <= inner.len; quoted++)
			ck_assert_str_eq(error_verdict(&inner, quoted, &pkt),
					 quoted < header + 8 ? "transport" : "pass");
		ck_assert_uint_eq(pkt.inner_sport, 4000);
		ck_assert_uint_eq(pkt.inner_dport, 53);
	}
	inner_packet(&inner, version, icmp_protocol(version));
	ck_assert_str_eq(error_verdict(&inner, header + 7, &pkt), "transport");
	ck_assert_str_eq(error_verdict(&inner, header + 8, &pkt), "pass");
	ck_assert_uint_eq(pkt.inner_sport, 77);
	ck_assert_uint_eq(pkt.inner_dport, 77);
	inner.b[header] = version == 4 ? 0 : 129; /* flows send answers too */
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "pass");
	ck_assert_uint_eq(pkt.inner_sport, 77);
	inner.b[header] = version == 4 ? 3 : 1;
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	inner_packet(&inner, version, 89);
	ck_assert_str_eq(error_verdict(&inner, header, &pkt), "pass");
	ck_assert(!pkt.inner_sport && !pkt.inner_dport);
	inner_packet(&inner, version, IPPROTO_UDP);
	inner.b[0] = (uint8_t)((inner.b[0] & 15) | (10 - version) << 4);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
}
END_TEST

START_TEST(error_quotes_v4)
{
	struct packet inner;
	struct pkt pkt;

	inner_packet(&inner, 4, IPPROTO_UDP);
	inner.b[0] = 0x44;
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	inner.b[0] = 0x48;
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	PACKET_ADD(&inner, 0, 0, 0, 0);
	inner.b[0] = 0x46; /* the first four bytes count as options now */
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "pass");
	ck_assert_uint_eq(pkt.inner_sport, 8);
	inner_packet(&inner, 4, IPPROTO_UDP);
	packet_u16(&inner, 6, 1);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	packet_u16(&inner, 6, 0x2000);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "pass");
	packet_u16(&inner, 2, 9000); /* what a router says of the length counts for nothing */
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "pass");
}
END_TEST

START_TEST(error_quotes_v6)
{
	struct packet inner;
	struct pkt pkt;

	packet_ip(&inner, 6, local(6), remote(6), 60);
	PACKET_ADD(&inner, IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0);
	packet_udp(&inner, 4000, 53, 0);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "pass");
	ck_assert_uint_eq(pkt.inner_sport, 4000);
	inner.b[40] = 59;
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	packet_ip(&inner, 6, local(6), remote(6), 44);
	PACKET_ADD(&inner, IPPROTO_UDP, 0, 0, 8, 0, 0, 0, 0);
	packet_udp(&inner, 4000, 53, 0);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	inner_packet(&inner, 6, IPPROTO_UDP);
	memcpy(inner.b + 8, addr("192.0.2.1").b, 16);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
	inner_packet(&inner, 6, IPPROTO_UDP);
	memcpy(inner.b + 24, addr("192.0.2.1").b, 16);
	ck_assert_str_eq(error_verdict(&inner, inner.len, &pkt), "transport");
}
END_TEST

/** icmp_error_suite() - all tests of this file */
static Suite *icmp_error_suite(void)
{
	Suite *suite = suite_create("icmp-error");
	TCase *errors = tcase_create("errors");

	tcase_add_loop_test(errors, error_types, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(errors, error_quotes, 0, ARRAY_SIZE(versions));
	tcase_add_test(errors, error_quotes_v4);
	tcase_add_test(errors, error_quotes_v6);
	suite_add_tcase(suite, errors);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(icmp_error_suite());
}
