/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_lib_filter.c: filters of flows, judged by libpcap
 *
 * The kernel's answer for a packet behind a struct saferaw_meta must be what
 * libpcap's own interpreter says of the packet alone, for each expression and
 * each packet below. What lies before the packet is made to look like a packet
 * too, so that a load that was not moved is seen.
 */
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsaferaw_int.h"
#include "suite.h"

#define PACKET_BYTES 512

static struct saferaw handle = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct saferaw_flow flow;
static int broker; /* the other end of the flow */

/* Packets: IPv4 TCP with options, IPv4 UDP, IPv4 UDP fragment, ICMP, IPv6 UDP, IPv6 TCP */
static const uint8_t packets[][64] = {
	{0x46, 0, 0, 64, 0,    1,    0, 0,  64, 6, 0, 0, 192, 0, 2, 1, 198,  51,   100, 1,
	 1,    1, 1, 1,  0x9c, 0x41, 0, 80, 0,  0, 0, 1, 0,   0, 0, 2, 0x50, 0x12, 1,   0},
	{0x45, 0, 0, 64, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x41, 0, 53, 0, 44, 0, 0},
	{0x45, 0, 0, 64, 0, 1, 0x20, 9, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1, 0x9c, 0x41, 0, 53, 0, 44},
	{0x45, 0, 0, 64, 0, 1, 0, 0, 1, 1, 0, 0, 192, 0, 2, 1, 198, 51, 100, 9, 8, 0, 0, 0, 0x12, 0x34, 0, 1},
	{0x60, 0,    0, 0,   0,    24, 17, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0,    0,    0, 0,  0, 0,
	 1,    0x20, 1, 0xd, 0xb8, 0,  0,  0,  0,    0, 0,   0,    0, 0, 0, 0, 2, 0x9c, 0x41, 0, 53, 0, 24},
	{0x60, 0,    0, 0,   0,    24, 6, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0,    0,    0, 0,  0, 0,
	 1,    0x20, 1, 0xd, 0xb8, 0,  0, 0,  0,    0, 0,   0,    0, 0, 0, 0, 2, 0x9c, 0x41, 0, 80, 0, 24},
};
static const size_t lengths[] = {40, 60, 64, 200, PACKET_BYTES};

static const char *const expressions[] = {
	"",
	"tcp",
	"udp port 53",
	"tcp port 80 or icmp",
	"ip6 and udp dst port 53",
	"tcp[13] & 2 != 0",
	"tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)",
	"udp[4:2] = 44",
	"ip[8] < 2",
	"ip6[6] = 17",
	"ip[ip[3] - 40] = 0x50",
	"icmp[icmptype] = icmp-echo",
	"src host 192.0.2.1 and not dst host 198.51.100.9",
	"net 2001:db8::/32",
	"greater 100",
	"less 60",
	"len > 100 and tcp",
	"len - 20 > 100",
	"len = 200 or (len != 64 and udp)",
	"port 80 or port 81 or port 82 or port 83 or less 100 or portrange 20-53",
	"ip[6:2] & 0x1fff != 0",
	"tcp or len >= 512 or udp or len <= 40",
	"not ip",
};

/**
 * start() - a flow that no broker gave, and a handle just for its lock and text
 */
static void start(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	handle.owner = getpid();
	flow = (struct saferaw_flow){.saferaw = &handle, .fd = pair[0]};
	broker = pair[1];
}

/**
 * stop() - put it away
 */
static void stop(void)
{
	close_fd(&flow.fd);
	close_fd(&broker);
}

/**
 * by_pcap() - what libpcap makes of a packet
 * @expression: filter
 * @snaplen: bytes to keep, not 0
 * @packet: packet
 * @length: bytes
 *
 * Return: bytes that are kept, 0 when it does not pass
 */
static size_t by_pcap(const char *expression, unsigned snaplen, const uint8_t *packet, size_t length)
{
	pcap_t *pcap = pcap_open_dead(DLT_RAW, (int)snaplen);
	struct bpf_program program;
	size_t kept;

	ck_assert_int_eq(pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN), 0);
	kept = bpf_filter(program.bf_insns, packet, (unsigned)length, (unsigned)length);
	pcap_freecode(&program);
	pcap_close(pcap);
	return kept < length ? kept : length;
}

/**
 * by_kernel() - what arrives of a packet on the flow
 * @packet: packet
 * @length: bytes
 *
 * Return: bytes, 0 when nothing does
 */
static size_t by_kernel(const uint8_t *packet, size_t length)
{
	struct {
		struct saferaw_meta meta;
		uint8_t bytes[PACKET_BYTES];
	} message = {.meta = {.length = (uint32_t)length}};
	uint8_t got[PACKET_BYTES];
	ssize_t n;

	memset(&message.meta, 0x45, sizeof(message.meta)); /* looks like IPv4 to a load that was not moved */
	message.meta.size = sizeof(message.meta);
	memcpy(message.bytes, packet, length);
	if (flow.flags & SAFERAW_META)
		ck_assert_int_gt(send(broker, &message, sizeof(message.meta) + length, 0), 0);
	else
		ck_assert_int_gt(send(broker, packet, length, 0), 0);
	n = saferaw_recv(&flow, got, sizeof(got), NULL, MSG_DONTWAIT);
	if (n < 0)
		ck_assert_int_eq(errno, EAGAIN);
	else
		ck_assert_mem_eq(got, packet, (size_t)n);
	return n < 0 ? 0 : (size_t)n;
}

/**
 * compare() - compare both for every expression, packet, length and snaplen
 */
static void compare(void)
{
	static const unsigned snaplens[] = {0, 1, 44, 100};
	uint8_t packet[PACKET_BYTES] = {0};
	size_t e, p, l, s, passed = 0;

	for (e = 0; e < ARRAY_SIZE(expressions); e++) {
		for (s = 0; s < ARRAY_SIZE(snaplens); s++) {
			unsigned keep = snaplens[s] ? snaplens[s] : PACKET_BYTES;

			ck_assert_int_eq(saferaw_flow_filter(&flow, expressions[e], snaplens[s]), 0);
			for (p = 0; p < ARRAY_SIZE(packets) * ARRAY_SIZE(lengths); p++) {
				l = lengths[p % ARRAY_SIZE(lengths)];
				memcpy(packet, packets[p / ARRAY_SIZE(lengths)], sizeof(packets[0]));
				ck_assert_msg(by_kernel(packet, l) == by_pcap(expressions[e], keep, packet, l),
					      "'%s', packet %zu, snaplen %u", expressions[e], p, snaplens[s]);
				passed += by_pcap(expressions[e], keep, packet, l) > 0;
			}
		}
	}
	ck_assert_uint_gt(passed, 900);
}

START_TEST(kernel_and_libpcap_agree)
{
	compare();
}
END_TEST

START_TEST(kernel_and_libpcap_agree_behind_metadata)
{
	flow.flags = SAFERAW_META;
	compare();
}
END_TEST

START_TEST(a_filter_is_taken_away)
{
	uint8_t packet[64];

	memcpy(packet, packets[0], sizeof(packet));
	ck_assert_int_eq(saferaw_flow_filter(&flow, NULL, 0), 0);
	ck_assert_int_eq(saferaw_flow_filter(&flow, "udp", 0), 0);
	ck_assert_uint_eq(by_kernel(packet, sizeof(packet)), 0);
	ck_assert_int_eq(saferaw_flow_filter(&flow, NULL, 0), 0);
	ck_assert_uint_eq(by_kernel(packet, sizeof(packet)), sizeof(packet));
}
END_TEST

START_TEST(bad_expressions_are_told)
{
	char offset[] = "ip[4294967280] = 1";

	errno = 0;
	ck_assert_int_eq(saferaw_flow_filter(&flow, "tcp prt 80", 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_nonnull(strstr(saferaw_error(&handle), "syntax error"));
	ck_assert_int_eq(saferaw_flow_filter(&flow, "ether host 00:00:00:00:00:01", 0), -1);
	flow.flags = SAFERAW_META;
	errno = 0;
	ck_assert_int_eq(saferaw_flow_filter(&flow, offset, 0), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(jumps_are_re_aimed)
{
	const struct bpf_insn program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),         /* becomes two */
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 50, 0, 2), /* to 2, or to 4 */
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),         /* becomes two */
		BPF_STMT(BPF_JMP | BPF_JA, 1),                 /* to 5 */
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 9),
	};
	struct sock_filter moved[2 * ARRAY_SIZE(program)];

	ck_assert_uint_eq(lib_filter_shift(program, ARRAY_SIZE(program), 24, moved), 8);
	ck_assert_uint_eq(moved[2].jt, 0);
	ck_assert_uint_eq(moved[2].jf, 3);
	ck_assert_uint_eq(moved[5].k, 1);
	ck_assert_uint_eq(moved[6].k, 0);
	ck_assert_uint_eq(moved[7].k, 33);
	ck_assert_uint_eq(lib_filter_shift(program, ARRAY_SIZE(program) - 1, 24, moved), 0); /* a jump out of it */
}
END_TEST

START_TEST(what_cannot_be_moved_is_refused)
{
	static const struct bpf_insn bad[] = {
		BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0x80000000),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0x7ffffff0),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0xfffff000),
	};
	struct bpf_insn far[300];
	struct sock_filter moved[600];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_uint_eq(lib_filter_shift(&bad[i], 1, 24, moved), 0);
	ck_assert_uint_eq(lib_filter_shift(bad, BPF_MAXINSNS + 1, 24, moved), 0);
	for (i = 0; i < ARRAY_SIZE(far); i++)
		far[i] = (struct bpf_insn)BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0);
	far[0] = (struct bpf_insn)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 200, 0);
	ck_assert_uint_eq(lib_filter_shift(far, ARRAY_SIZE(far), 24, moved), 0); /* 400 is too far */
	ck_assert_uint_eq(lib_filter_shift(far, ARRAY_SIZE(far), 0, moved), ARRAY_SIZE(far));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libsaferaw filters");
	TCase *tests = tcase_create("filter");

	tcase_add_checked_fixture(tests, start, stop);
	tcase_add_test(tests, kernel_and_libpcap_agree);
	tcase_add_test(tests, kernel_and_libpcap_agree_behind_metadata);
	tcase_add_test(tests, a_filter_is_taken_away);
	tcase_add_test(tests, bad_expressions_are_told);
	tcase_add_test(tests, jumps_are_re_aimed);
	tcase_add_test(tests, what_cannot_be_moved_is_refused);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
