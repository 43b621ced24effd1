/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_lib_flow.c: flows of the client library: opening, sending, receiving, counts
 *
 * Time goes by when a test says so: the linker puts __wrap_clock_ns() in the
 * place of clock_ns(). What the library has just been told stays fresh,
 * however long this process waits for its turn.
 */
#include <sys/resource.h>

#include "lib_world.h"

static uint64_t now_ns = NS_PER_S;

uint64_t __wrap_clock_ns(void);

/** __wrap_clock_ns() - the time */
uint64_t __wrap_clock_ns(void)
{
	return now_ns;
}

START_TEST(open_asks_and_gets)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct sockaddr_storage local, expected;
	struct saferaw_flow *flow;

	request.protocol = IPPROTO_UDP;
	request.flags = SAFERAW_META | SAFERAW_ERRORS;
	request.count = 3;
	request.local = endpoint("2001:db8::1", 40001);
	request.remote = endpoint("2001:db8::2", 53);
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	ck_assert_uint_eq(stand_in.open.kind, PROTO_KIND_CONSUMER);
	ck_assert_uint_eq(stand_in.open.class, CLASS_UDP);
	ck_assert_uint_eq(stand_in.open.family, AF_INET6);
	ck_assert_uint_eq(stand_in.open.flags, PROTO_FLAG_META | PROTO_FLAG_ERRORS);
	ck_assert_uint_eq(stand_in.open.port, 40001);
	ck_assert_uint_eq(stand_in.open.count, 3);
	ck_assert_uint_eq(stand_in.open.remote_port, 53);
	ck_assert_uint_eq(saferaw_flow_number(flow), 1);
	ck_assert_int_eq(fcntl(saferaw_flow_fd(flow), F_GETFD), FD_CLOEXEC);
	expected = endpoint("2001:db8::1", 40001);
	ck_assert_int_eq(saferaw_flow_local(flow, &local), 0);
	ck_assert_mem_eq(&local, &expected, sizeof(local));
	saferaw_close(flow);
}
END_TEST

START_TEST(open_finds_the_family)
{
	static const struct {
		int protocol, family;
		const char *local, *remote;
		int got; /* family, or -1 when refused */
	} rows[] = {
		{IPPROTO_TCP, AF_UNSPEC, NULL, NULL, AF_UNSPEC},
		{IPPROTO_TCP, AF_UNSPEC, "0.0.0.0", NULL, AF_INET},
		{IPPROTO_TCP, AF_INET6, NULL, NULL, AF_INET6},
		{IPPROTO_TCP, AF_UNSPEC, NULL, "192.0.2.9", AF_INET},
		{IPPROTO_TCP, AF_UNSPEC, "::ffff:192.0.2.1", "192.0.2.9", AF_INET},
		{IPPROTO_TCP, AF_UNSPEC, "192.0.2.1", "2001:db8::2", -1},
		{IPPROTO_ICMP, AF_UNSPEC, NULL, NULL, AF_INET},
		{IPPROTO_ICMPV6, AF_UNSPEC, NULL, NULL, AF_INET6},
		{IPPROTO_ICMP, AF_UNSPEC, "2001:db8::1", NULL, -1},
	};
	static const int any_family[] = {[AF_UNSPEC] = AF_INET6, [AF_INET] = AF_INET, [AF_INET6] = AF_INET6};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct saferaw_request request = SAFERAW_REQUEST_INIT;
		struct sockaddr_storage local;
		struct saferaw_flow *flow;

		request.protocol = rows[i].protocol;
		request.local.ss_family = (sa_family_t)rows[i].family;
		if (rows[i].local)
			request.local = endpoint(rows[i].local, 0);
		if (rows[i].remote)
			request.remote = endpoint(rows[i].remote, 7);
		if (rows[i].got < 0) {
			ck_assert_null_errno(saferaw_open(handle, &request), EAFNOSUPPORT);
			continue;
		}
		flow = saferaw_open(handle, &request);
		ck_assert_ptr_nonnull(flow);
		ck_assert_int_eq(stand_in.open.family, rows[i].got);
		ck_assert_int_eq(stand_in.open.count, 1);
		saferaw_flow_local(flow, &local);
		if (addr_is_any(&stand_in.open.local))
			ck_assert_int_eq(local.ss_family, any_family[rows[i].got]);
		ck_assert_int_eq(ntohs(((const struct sockaddr_in *)&local)->sin_port), 40007);
		saferaw_close(flow);
	}
}
END_TEST

START_TEST(open_protocols_without_ports)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw_flow *flow;

	request.protocol = IPPROTO_GRE;
	request.key = 0xfffffffe;
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	ck_assert_uint_eq(stand_in.open.class, CLASS_GRANT);
	ck_assert_uint_eq(stand_in.open.protocol, IPPROTO_GRE);
	ck_assert_uint_eq(stand_in.open.key, 0xfffffffe);
	ck_assert(!stand_in.open.port && stand_in.open.count == 1);
	saferaw_close(flow);
	request.local = endpoint("192.0.2.1", 5);
	ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
	request.local = endpoint("192.0.2.1", 0);
	request.remote = endpoint("192.0.2.9", 5);
	ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
	request.remote = endpoint("192.0.2.9", 0);
	request.count = 2;
	ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
	request.count = 1;
	request.protocol = 89;
	ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
	request.key = 0;
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	ck_assert_uint_eq(stand_in.open.protocol, 89);
	saferaw_close(flow);
	request.protocol = IPPROTO_UDP;
	request.key = 1;
	ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
	request.size = offsetof(struct saferaw_request, key); /* a program that knows of no keys */
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	ck_assert(stand_in.open.class == CLASS_UDP && !stand_in.open.protocol && !stand_in.open.key);
	saferaw_close(flow);
}
END_TEST

START_TEST(open_prefixes)
{
	static const struct {
		const char *local;
		unsigned len;
		uint8_t asked; /* as the message has it; 0: EINVAL */
	} rows[] = {
		{"198.51.100.64", 28, 124},
		{"198.51.100.64", 32, 128},
		{"198.51.100.64", 33, 0},
		{"2001:db8:9::", 64, 64},
		{"2001:db8:9::", 128, 128},
		{"2001:db8:9::", 129, 0},
		{"0.0.0.0", 8, 0},
		{"::", 8, 0},
		{"198.51.100.64", UINT32_MAX, 0},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct saferaw_request request = SAFERAW_REQUEST_INIT;
		struct saferaw_flow *flow;

		request.protocol = IPPROTO_UDP;
		request.local = endpoint(rows[i].local, 53);
		request.local_len = rows[i].len;
		if (!rows[i].asked) {
			ck_assert_null_errno(saferaw_open(handle, &request), EINVAL);
			continue;
		}
		flow = saferaw_open(handle, &request);
		ck_assert_ptr_nonnull(flow);
		ck_assert_uint_eq(stand_in.open.local_len, rows[i].asked);
		saferaw_close(flow);
	}
}
END_TEST

/* On a prefix every address of it may be the source, but not none; on one address of it that one */
START_TEST(send_from_prefixes)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw_flow *flow;
	uint8_t bytes[64];

	request.protocol = IPPROTO_UDP;
	request.local = endpoint("198.51.100.64", 53);
	request.local_len = 28;
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	packet(bytes, 60, "198.51.100.79", 53, "198.51.100.1");
	ck_assert_int_eq(saferaw_send(flow, bytes, 60, 0), 60);
	packet(bytes, 60, "0.0.0.0", 53, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "source");
	packet(bytes, 60, "198.51.100.80", 53, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	saferaw_close(flow);
	request.local_len = 32;
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	packet(bytes, 60, "198.51.100.65", 53, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	packet(bytes, 60, "0.0.0.0", 53, "198.51.100.1");
	ck_assert_int_eq(saferaw_send(flow, bytes, 60, 0), 60);
	saferaw_close(flow);
}
END_TEST

START_TEST(open_refuses_bad_requests)
{
	struct {
		struct saferaw_request request;
		uint64_t more;
	} later = {.request = SAFERAW_REQUEST_INIT};
	const struct saferaw_request good = {.size = sizeof(good), .kind = SAFERAW_CONSUMER, .protocol = IPPROTO_UDP};
	struct saferaw_request bad;
	struct saferaw_flow *flow;

	bad = good;
	bad.size--;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad.size = offsetof(struct saferaw_request, key) - 1;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.size = SIZE_MAX;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.kind = 0;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad.kind = 4;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad.kind = SAFERAW_ICMP_ERROR;
	bad.flags = SAFERAW_ERRORS;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.protocol = 0;
	ck_assert_null_errno(saferaw_open(handle, &bad), EPROTONOSUPPORT);
	bad.kind = SAFERAW_ICMP_ERROR;
	ck_assert_null_errno(saferaw_open(handle, &bad), EPROTONOSUPPORT);
	bad.kind = SAFERAW_SNIFFER;
	bad.local = endpoint("192.0.2.1", 40001);
	ck_assert_null_errno(saferaw_open(handle, &bad), EPROTONOSUPPORT);
	bad.local = endpoint("192.0.2.1", 0);
	bad.remote = endpoint("192.0.2.9", 53);
	ck_assert_null_errno(saferaw_open(handle, &bad), EPROTONOSUPPORT);
	bad = good;
	bad.flags = 0x80;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.flags = 0x100 | SAFERAW_META;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.protocol = IPPROTO_ESP;
	ck_assert_null_errno(saferaw_open(handle, &bad), EPROTONOSUPPORT);
	bad = good;
	bad.local.ss_family = AF_UNIX;
	ck_assert_null_errno(saferaw_open(handle, &bad), EAFNOSUPPORT);
	bad = good;
	bad.count = 65536;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad.local = endpoint("192.0.2.1", 65535);
	bad.count = 2;
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	bad = good;
	bad.remote = endpoint("0.0.0.0", 53);
	ck_assert_null_errno(saferaw_open(handle, &bad), EINVAL);
	ck_assert_uint_eq(stand_in.seen[PROTO_OPEN], 0);

	later.request.size = sizeof(later);
	later.request.protocol = IPPROTO_UDP;
	later.more = 1;
	ck_assert_null_errno(saferaw_open(handle, &later.request), E2BIG);
	later.more = 0;
	flow = saferaw_open(handle, &later.request);
	ck_assert_ptr_nonnull(flow);
	saferaw_close(flow);
}
END_TEST

START_TEST(read_only_kinds)
{
	static const struct {
		int kind, protocol;
		unsigned flags;
		uint16_t port;
		uint8_t class;
	} rows[] = {
		{SAFERAW_SNIFFER, IPPROTO_TCP, SAFERAW_META | SAFERAW_ERRORS, 40001, CLASS_TCP},
		{SAFERAW_SNIFFER, 0, SAFERAW_META, 0, PROTO_CLASS_ANY},
		{SAFERAW_ICMP_ERROR, IPPROTO_UDP, 0, 40001, CLASS_UDP},
	};
	uint8_t bytes[60];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct saferaw_request request = SAFERAW_REQUEST_INIT;
		struct saferaw_flow *flow;

		request.kind = rows[i].kind;
		request.protocol = rows[i].protocol;
		request.flags = rows[i].flags;
		request.local = endpoint("192.0.2.1", rows[i].port);
		stand_in.port = 0;
		flow = saferaw_open(handle, &request);
		ck_assert_ptr_nonnull(flow);
		ck_assert_uint_eq(stand_in.open.kind, (unsigned)rows[i].kind);
		ck_assert_uint_eq(stand_in.open.class, rows[i].class);
		ck_assert_uint_eq(stand_in.open.flags, rows[i].flags);
		ck_assert_uint_eq(stand_in.open.port, rows[i].port);
		ck_assert_fails(saferaw_send(flow, packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1"), 60, 0),
				EPERM);
		ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "read-only");
		saferaw_close(flow);
	}
}
END_TEST

START_TEST(open_passes_refusals_on)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	int fds;

	request.protocol = IPPROTO_UDP;
	stand_in.open_error = EADDRINUSE;
	ck_assert_null_errno(saferaw_open(handle, &request), EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(saferaw_error(handle), "slice 'unit': xxxx"));
	ck_assert_uint_eq(strlen(saferaw_error(handle)), strlen("slice 'unit': ") + 63);
	stand_in.open_error = 0;
	stand_in.count = 2; /* not what is asked for */
	fds = fds_open();
	ck_assert_null_errno(saferaw_open(handle, &request), EPROTO);
	ck_assert_int_eq(fds_open(), fds + 2); /* both are the stand-in's */
}
END_TEST

START_TEST(open_survives_a_full_table_of_fds)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct rlimit before, tight;
	struct saferaw_flow *flow;
	int fds;

	request.protocol = IPPROTO_UDP;
	saferaw_close(open_udp(0));
	fds = fds_open();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	for (tight.rlim_cur = 0; fcntl((int)tight.rlim_cur, F_GETFD) >= 0; tight.rlim_cur++)
		; /* the stand-in puts two in the place of those it closes; the flow's finds no room */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	ck_assert_null_errno(saferaw_open(handle, &request), EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(fds_open(), fds);
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	saferaw_close(flow);
}
END_TEST

START_TEST(send_checks_first)
{
	struct saferaw_flow *flow = open_udp(0);
	uint8_t bytes[128], got[128];

	ck_assert_int_eq(saferaw_send(flow, packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1"), 60, 0), 60);
	ck_assert_uint_eq(saferaw_last_reason(flow), 0);
	ck_assert_int_eq(recv(stand_in.flow, got, sizeof(got), 0), 60);
	ck_assert_mem_eq(got, bytes, 60);
	ck_assert_fails(saferaw_send(flow, bytes, 59, 0), EINVAL);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "length");
	ck_assert_fails(saferaw_send(flow, bytes, 0, 0), EINVAL);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "short");
	ck_assert_fails(saferaw_send(flow, packet(bytes, 60, "192.0.2.1", 40002, "198.51.100.1"), 60, 0), EPERM);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "port");
	ck_assert_fails(saferaw_send(flow, packet(bytes, 60, "192.0.2.2", 40001, "198.51.100.1"), 60, 0), EPERM);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "source");
	ck_assert_fails(saferaw_send(flow, packet(bytes, 60, "192.0.2.1", 40001, "203.0.113.7"), 60, 0), EPERM);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "denied");
	ck_assert_fails(saferaw_send(flow, packet(bytes, 60, "192.0.2.1", 40001, "127.0.0.1"), 60, 0), EPERM);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "loopback");
	ck_assert_fails(saferaw_send(flow, bytes, 60, MSG_OOB), EINVAL);
	ck_assert_uint_eq(saferaw_last_reason(flow), 0);
	ck_assert_fails(recv(stand_in.flow, got, sizeof(got), MSG_DONTWAIT), EAGAIN);
	close_fd(&stand_in.flow);
	packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPIPE);
	saferaw_close(flow);
}
END_TEST

START_TEST(send_knows_of_new_addresses)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	const struct addr fresh = address("192.0.2.2");
	struct saferaw_flow *flow;
	uint8_t bytes[64];

	request.protocol = IPPROTO_UDP;
	request.local = endpoint("0.0.0.0", 40001);
	flow = saferaw_open(handle, &request);
	ck_assert_ptr_nonnull(flow);
	packet(bytes, 60, "192.0.2.2", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 1); /* that of connect is fresh enough */
	stand_in.info.address[stand_in.info.addresses++] = fresh;
	stand_in_event(PROTO_EVENT_ADDRESS_BACK, 0, &fresh);
	ck_assert_int_eq(saferaw_send(flow, bytes, 60, 0), 60);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 2);

	stand_in.info.addresses--;
	stand_in_event(PROTO_EVENT_ADDRESS_GONE, 0, &fresh);
	ck_assert_int_eq(saferaw_send(flow, bytes, 60, 0), 60); /* passing by old knowledge asks nobody */
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 2);
	now_ns += 2 * LIB_TRUST_NS;
	packet(bytes, 60, "192.0.2.3", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 3);
	now_ns += 2 * LIB_TRUST_NS; /* without any event */
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 4);
	packet(bytes, 60, "192.0.2.2", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 4);
	saferaw_close(flow);
}
END_TEST

START_TEST(send_without_waiting_asks_nobody)
{
	struct saferaw_flow *flow = open_udp(0);
	const struct addr fresh = address("192.0.2.2");
	uint8_t bytes[4096];

	packet(bytes, 60, "192.0.2.1", 40001, "203.0.113.7");
	now_ns += 2 * LIB_TRUST_NS;
	ck_assert_fails(saferaw_send(flow, bytes, 60, MSG_DONTWAIT), EPERM);
	stand_in_event(PROTO_EVENT_ADDRESS_BACK, 0, &fresh);
	ck_assert_int_eq(saferaw_send(flow, bytes, 60, MSG_DONTWAIT), 60); /* the broker decides */
	packet(bytes, 4000, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_int_eq(saferaw_send(flow, bytes, 4000, MSG_DONTWAIT), 4000);
	ck_assert_uint_eq(stand_in.seen[PROTO_INFO], 1);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 0);
	while (saferaw_send(flow, bytes, 4000, MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_uint_eq(saferaw_last_reason(flow), 0);
	saferaw_close(flow);
}
END_TEST

START_TEST(send_knows_the_mtu)
{
	struct saferaw_flow *flow = open_udp(0);
	char to[] = "198.51.100.0";
	uint8_t bytes[10000];

	stand_in.mtu = 9000;
	packet(bytes, 9000, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_int_eq(saferaw_send(flow, bytes, 9000, 0), 9000);
	ck_assert_int_eq(saferaw_send(flow, bytes, 9000, 0), 9000);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 1);
	packet(bytes, 9001, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 9001, 0), EMSGSIZE);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "too-big");
	ck_assert_fails(saferaw_send(flow, bytes, 9001, MSG_DONTWAIT), EMSGSIZE);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 1);
	stand_in.mtu = 9100;
	now_ns += 2 * LIB_TRUST_NS;
	ck_assert_int_eq(saferaw_send(flow, bytes, 9001, 0), 9001);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 2);
	stand_in_event(PROTO_EVENT_ROUTES, 0, NULL);
	packet(bytes, 60, "192.0.2.9", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM); /* takes the event in */
	packet(bytes, 9000, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_int_eq(saferaw_send(flow, bytes, 9000, 0), 9000);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 3);
	for (to[11] = '2'; to[11] <= '6'; to[11]++)
		ck_assert_int_eq(saferaw_send(flow, packet(bytes, 9000, "192.0.2.1", 40001, to), 9000, 0), 9000);
	ck_assert_uint_eq(stand_in.seen[PROTO_ROUTE], 8);
	stand_in.route_error = ENETUNREACH;
	packet(bytes, 9000, "192.0.2.1", 40001, "198.51.100.9");
	ck_assert_fails(saferaw_send(flow, bytes, 9000, 0), ENETUNREACH);
	ck_assert_str_eq(saferaw_reason(saferaw_last_reason(flow)), "no-route");
	saferaw_close(flow);
}
END_TEST

START_TEST(source_is_the_routes_or_the_flows)
{
	struct saferaw_flow *flow = open_udp(0), *any;
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct sockaddr_storage to = endpoint("198.51.100.1", 53), six = endpoint("2001:db8::2", 53), source,
				expected;
	uint32_t mtu;

	stand_in.mtu = 1400;
	stand_in.source = address("192.0.2.77");
	expected = endpoint("192.0.2.1", 40001);
	ck_assert_int_eq(saferaw_flow_source(flow, &to, &source, &mtu), 0);
	ck_assert_mem_eq(&source, &expected, sizeof(source));
	ck_assert_uint_eq(mtu, 1400);
	ck_assert_fails(saferaw_flow_source(flow, &six, NULL, NULL), EAFNOSUPPORT);
	six.ss_family = AF_UNSPEC;
	ck_assert_fails(saferaw_flow_source(flow, &six, NULL, NULL), EAFNOSUPPORT);
	request.protocol = IPPROTO_UDP;
	any = saferaw_open(handle, &request);
	expected = endpoint("192.0.2.77", 40007);
	ck_assert_int_eq(saferaw_flow_source(any, &to, &source, NULL), 0);
	ck_assert_mem_eq(&source, &expected, sizeof(source));
	stand_in.route_error = ENETUNREACH;
	ck_assert_fails(saferaw_flow_source(any, &to, &source, NULL), ENETUNREACH);
	saferaw_close(flow);
	saferaw_close(any);
}
END_TEST

START_TEST(recv_gives_packets)
{
	struct saferaw_flow *flow = open_udp(0);
	struct saferaw_meta meta;
	uint8_t bytes[64], got[64];

	ck_assert_fails(saferaw_recv(flow, got, sizeof(got), NULL, MSG_DONTWAIT), EAGAIN);
	ck_assert_fails(saferaw_recv(flow, got, sizeof(got), NULL, MSG_PEEK), EINVAL);
	ck_assert_fails(saferaw_recv(flow, got, sizeof(got), &meta, 0), EINVAL);
	packet(bytes, 60, "198.51.100.1", 53, "192.0.2.1");
	ck_assert_int_eq(send(stand_in.flow, bytes, 60, 0), 60);
	ck_assert_int_eq(send(stand_in.flow, bytes, 60, 0), 60);
	ck_assert_int_eq(saferaw_recv(flow, got, sizeof(got), NULL, 0), 60);
	ck_assert_mem_eq(got, bytes, 60);
	ck_assert_int_eq(saferaw_recv(flow, got, 20, NULL, 0), 20);
	ck_assert_int_eq(send(saferaw_flow_fd(flow), bytes, 60, 0), 60);
	ck_assert_int_eq(send(stand_in.flow, bytes, 60, 0), 60);
	close_fd(&stand_in.flow); /* with something unread: ECONNRESET comes before the packet */
	ck_assert_int_eq(saferaw_recv(flow, got, sizeof(got), NULL, 0), 60);
	ck_assert_int_eq(saferaw_recv(flow, got, sizeof(got), NULL, 0), 0);
	saferaw_close(flow);
}
END_TEST

START_TEST(recv_splits_the_metadata_off)
{
	struct saferaw_flow *flow = open_udp(SAFERAW_META);
	struct {
		struct saferaw_meta meta;
		uint8_t bytes[56];
	} message = {.meta = {.size = sizeof(message.meta), .time_ns = 12345, .length = 56}};
	struct saferaw_meta meta;
	uint8_t got[64];

	packet(message.bytes, 56, "198.51.100.1", 53, "192.0.2.1");
	send(stand_in.flow, &message, sizeof(message), 0);
	send(stand_in.flow, &message, sizeof(message), 0);
	ck_assert_int_eq(saferaw_recv(flow, got, sizeof(got), &meta, 0), 56);
	ck_assert_mem_eq(got, message.bytes, 56);
	ck_assert_mem_eq(&meta, &message.meta, sizeof(meta));
	ck_assert_int_eq(saferaw_recv(flow, got, sizeof(got), NULL, 0), 56);
	send(stand_in.flow, &message, 24, 0);
	ck_assert_fails(saferaw_recv(flow, got, sizeof(got), NULL, 0), EPROTO);
	message.meta.size = 32;
	send(stand_in.flow, &message, sizeof(message), 0);
	ck_assert_fails(saferaw_recv(flow, got, sizeof(got), NULL, 0), EPROTO);
	saferaw_close(flow);
}
END_TEST

START_TEST(stats_are_the_brokers)
{
	struct saferaw_flow *flow = open_udp(0);
	struct saferaw_stats stats = {.size = 8};
	uint64_t rx, tx;

	ck_assert_fails(saferaw_flow_stats(flow, &stats), EINVAL);
	stats.size = sizeof(stats);
	stand_in.stats.reasons = 1000; /* more than there is room for */
	stand_in.stats.rx_packets = 1;
	stand_in.stats.rx_bytes = 2;
	stand_in.stats.tx_packets = 3;
	stand_in.stats.tx_bytes = 4;
	stand_in.stats.tx_refused[VERDICT_SOURCE] = 5;
	stand_in.stats.tx_refused[VERDICT_PORT] = 6;
	stand_in.stats.rx_refused[VERDICT_QUEUE_FULL] = 7;
	ck_assert_int_eq(saferaw_flow_stats(flow, &stats), 0);
	ck_assert_uint_eq(stats.rx_packets, 1);
	ck_assert_uint_eq(stats.rx_bytes, 2);
	ck_assert_uint_eq(stats.tx_packets, 3);
	ck_assert_uint_eq(stats.tx_bytes, 4);
	ck_assert_uint_eq(stats.tx_refused, 11);
	ck_assert_uint_eq(stats.rx_refused, 7);
	ck_assert_int_eq(saferaw_refused(flow, VERDICT_PORT, &rx, &tx), 0);
	ck_assert_uint_eq(rx, 0);
	ck_assert_uint_eq(tx, 6);
	stand_in.stats.reasons = VERDICT_PORT; /* an older broker */
	ck_assert_int_eq(saferaw_refused(flow, VERDICT_PORT, NULL, &tx), 0);
	ck_assert_uint_eq(tx, 0);
	ck_assert_fails(saferaw_refused(flow, VERDICTS_N, &rx, &tx), EINVAL);
	stand_in.stats_error = ENOENT;
	ck_assert_fails(saferaw_flow_stats(flow, &stats), ENOENT);
	ck_assert_str_eq(saferaw_reason(0), "pass");
	ck_assert_ptr_nonnull(saferaw_reason_text(VERDICTS_N - 1));
	ck_assert_ptr_null(saferaw_reason(VERDICTS_N));
	ck_assert_ptr_null(saferaw_reason_text(VERDICTS_N));
	saferaw_close(flow);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libsaferaw flows");
	TCase *flows = tcase_create("flow");

	tcase_add_checked_fixture(flows, start_connected, stop);
	tcase_add_test(flows, open_asks_and_gets);
	tcase_add_test(flows, open_finds_the_family);
	tcase_add_test(flows, open_protocols_without_ports);
	tcase_add_test(flows, open_prefixes);
	tcase_add_test(flows, open_refuses_bad_requests);
	tcase_add_test(flows, read_only_kinds);
	tcase_add_test(flows, open_passes_refusals_on);
	tcase_add_test(flows, open_survives_a_full_table_of_fds);
	tcase_add_test(flows, send_checks_first);
	tcase_add_test(flows, send_from_prefixes);
	tcase_add_test(flows, send_knows_of_new_addresses);
	tcase_add_test(flows, send_without_waiting_asks_nobody);
	tcase_add_test(flows, send_knows_the_mtu);
	tcase_add_test(flows, source_is_the_routes_or_the_flows);
	tcase_add_test(flows, recv_gives_packets);
	tcase_add_test(flows, recv_splits_the_metadata_off);
	tcase_add_test(flows, stats_are_the_brokers);
	suite_add_tcase(suite, flows);
	return suite_run(suite);
}
