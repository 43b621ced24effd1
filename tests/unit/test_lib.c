/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_lib.c: the client library's conversation with the broker
 *
 * Connecting, faults of the broker, events, threads and processes. Flows are
 * in test_lib_flow.c, their filters in test_lib_filter.c.
 */
#include <pthread.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib_world.h"

START_TEST(connect_finds_the_slice)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/slices/unit.sock", run_dir);
	handle = saferaw_connect(path);
	ck_assert_ptr_nonnull(handle);
	ck_assert_str_eq(saferaw_slice(handle), "unit");
	saferaw_disconnect(handle);
	handle = saferaw_connect(NULL);
	ck_assert_ptr_nonnull(handle);
	saferaw_disconnect(handle);
	setenv("SAFERAW_SLICE", "nobody", 1);
	ck_assert_null_errno(saferaw_connect(NULL), ENOENT);
	setenv("SAFERAW_SLICE", "unit", 1);
	handle = saferaw_connect(NULL);
	ck_assert_ptr_nonnull(handle);
	ck_assert_str_eq(saferaw_error(handle), "");
}
END_TEST

START_TEST(connect_needs_a_choice_among_several)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/slices/other.sock", run_dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	handle = saferaw_connect(NULL); /* nobody is there */
	ck_assert_ptr_nonnull(handle);
	ck_assert_str_eq(saferaw_slice(handle), "unit");
	saferaw_disconnect(handle);
	handle = NULL;
	rmdir(path);
	ck_assert_int_eq(symlink("unit.sock", path), 0);
	ck_assert_null_errno(saferaw_connect(NULL), ENOTUNIQ);
	ck_assert_ptr_nonnull(strstr(saferaw_error(NULL), "other, unit"));
	unlink(path);
	snprintf(path, sizeof(path), "%s/empty", run_dir);
	setenv("SAFERAW_RUN_DIR", path, 1);
	ck_assert_null_errno(saferaw_connect(NULL), ENOENT);
	mkdir(path, 0700);
	strcat(path, "/slices");
	mkdir(path, 0700);
	ck_assert_null_errno(saferaw_connect(NULL), ENOENT);
	ck_assert_ptr_nonnull(strstr(saferaw_error(NULL), "there is no slice"));
}
END_TEST

START_TEST(connect_refuses_bad_names)
{
	char long_path[200];

	memset(long_path, 'a', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	ck_assert_null_errno(saferaw_connect(""), EINVAL);
	ck_assert_null_errno(saferaw_connect(".unit"), EINVAL);
	ck_assert_null_errno(saferaw_connect(long_path), EINVAL);
	long_path[0] = '/';
	ck_assert_null_errno(saferaw_connect(long_path), ENAMETOOLONG);
	ck_assert_null_errno(saferaw_connect("nobody"), ENOENT);
	ck_assert_ptr_nonnull(strstr(saferaw_error(NULL), "slice 'nobody'"));
	setenv("SAFERAW_RUN_DIR", long_path, 1);
	ck_assert_null_errno(saferaw_connect("unit"), ENAMETOOLONG);
}
END_TEST

START_TEST(connect_tells_what_is_not_a_broker)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/stream", run_dir);
	ck_assert_int_eq(bind(sock, (const struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(sock, 1), 0);
	ck_assert_null_errno(saferaw_connect(un.sun_path), EPROTO);
	close(sock);
	unlink(un.sun_path);
	sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ck_assert_int_eq(bind(sock, (const struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_null_errno(saferaw_connect(un.sun_path), ECONNREFUSED);
	close(sock);
}
END_TEST

START_TEST(connect_passes_the_greetings_errors_on)
{
	static const int errors[] = {EPERM, EUSERS, EPROTO, ENOMEM};
	const int before = fds_open();
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		stand_in.hello_error = errors[i];
		ck_assert_null_errno(saferaw_connect("unit"), errors[i]);
		ck_assert_str_ne(saferaw_error(NULL), "");
	}
	stand_in.hello_error = 0;
	stand_in.version = PROTO_VERSION + 1;
	ck_assert_null_errno(saferaw_connect("unit"), EPROTO);
	stand_in.version = PROTO_VERSION;
	memset(stand_in.slice, 'a', sizeof(stand_in.slice));
	ck_assert_null_errno(saferaw_connect("unit"), EPROTO);
	strcpy(stand_in.slice, "unit");
	stand_in.info.addresses = STEER_ADDRESSES_MAX + 1;
	ck_assert_null_errno(saferaw_connect("unit"), EPROTO);
	stand_in.info.addresses = 1;
	stand_in.info.proxied = STEER_PROXIED_MAX + 1;
	ck_assert_null_errno(saferaw_connect("unit"), EPROTO);
	stand_in.info.proxied = 0;
	stand_in.info.error = EACCES;
	ck_assert_null_errno(saferaw_connect("unit"), EACCES);
	ck_assert_int_le(fds_open(), before + 1); /* the stand-in may have its end of the last one yet */
}
END_TEST

START_TEST(every_fault_breaks_the_conversation)
{
	static const enum proto_type types[] = {PROTO_OPEN, PROTO_STATS};
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	enum stand_in_fault fault = (enum stand_in_fault)_i;
	struct saferaw_stats stats = {.size = sizeof(stats)};
	struct saferaw_event event;
	struct saferaw_flow *flow;
	int error = fault == FAULT_CLOSE ? ECONNRESET : EPROTO;
	unsigned i;

	if (fault == FAULT_SILENT)
		return; /* a test of its own */
	request.protocol = IPPROTO_UDP;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (fault == FAULT_NO_FD && types[i] != PROTO_OPEN)
			continue;
		handle = saferaw_connect("unit");
		ck_assert_ptr_nonnull(handle);
		flow = open_udp(0);
		stand_in.at = types[i];
		stand_in.fault = fault;
		if (types[i] == PROTO_OPEN)
			ck_assert_null_errno(saferaw_open(handle, &request), error);
		else
			ck_assert_fails(saferaw_flow_stats(flow, &stats), error);
		saferaw_close(flow);
		ck_assert_fails(saferaw_next_event(handle, &event), error);
		ck_assert_null_errno(saferaw_open(handle, &request), error);
		ck_assert_str_ne(saferaw_error(handle), "");
		saferaw_disconnect(handle);
		handle = NULL;
	}
}
END_TEST

START_TEST(late_answers_are_dropped)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw_event event;
	struct saferaw_flow *flow;
	int fds;

	request.protocol = IPPROTO_UDP;
	handle->wait_ms = 50;
	stand_in.at = PROTO_OPEN;
	stand_in.fault = FAULT_SILENT;
	ck_assert_null_errno(saferaw_open(handle, &request), ETIMEDOUT);
	stand_in_held();
	handle->wait_ms = LIB_WAIT_MS;
	fds = fds_open();
	stand_in_late();
	flow = open_udp(0);
	ck_assert_ptr_nonnull(flow);
	saferaw_close(flow);
	ck_assert_int_eq(fds_open(), fds);

	handle->wait_ms = 50;
	stand_in.fault = FAULT_SILENT;
	ck_assert_null_errno(saferaw_open(handle, &request), ETIMEDOUT);
	stand_in_held();
	fds = fds_open();
	stand_in_late(); /* with nothing else under way */
	ck_assert_int_eq(saferaw_next_event(handle, &event), 0);
	ck_assert_int_eq(fds_open(), fds);
}
END_TEST

START_TEST(events_between_replies_are_kept)
{
	const struct addr gone = address("192.0.2.1");
	struct sockaddr_storage expected = endpoint("192.0.2.1", 0);
	struct saferaw_event event;
	struct saferaw_flow *flow;
	unsigned i;

	ck_assert_int_eq(saferaw_next_event(handle, &event), 0);
	ck_assert(!readable(saferaw_fd(handle)));
	stand_in.events = 3;
	stand_in.event = PROTO_EVENT_REVOKED;
	flow = open_udp(0);
	ck_assert(readable(saferaw_fd(handle))); /* though the socket is empty */
	stand_in_event(PROTO_EVENT_ADDRESS_GONE, 0, &gone);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
		ck_assert_int_eq(event.type, SAFERAW_EVENT_REVOKED);
		ck_assert_uint_eq(event.flow, i);
	}
	ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
	ck_assert_int_eq(event.type, SAFERAW_EVENT_ADDRESS_GONE);
	ck_assert_mem_eq(&event.address, &expected, sizeof(expected));
	ck_assert_int_eq(saferaw_next_event(handle, &event), 0);
	ck_assert(!readable(saferaw_fd(handle)));
	saferaw_close(flow);
}
END_TEST

START_TEST(events_beyond_the_ring_are_missed)
{
	struct saferaw_event event;
	struct saferaw_flow *flow;
	unsigned i;

	stand_in.events = LIB_EVENTS_MAX + 10;
	stand_in.event = PROTO_EVENT_REVOKED;
	flow = open_udp(0);
	ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
	stand_in_event(PROTO_EVENT_SHUTDOWN, 0, NULL);
	for (i = 1; i < LIB_EVENTS_MAX - 1; i++) {
		ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
		ck_assert_int_eq(event.type, SAFERAW_EVENT_REVOKED);
		ck_assert_uint_eq(event.flow, i);
	}
	ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
	ck_assert_int_eq(event.type, SAFERAW_EVENT_MISSED);
	ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
	ck_assert_int_eq(event.type, SAFERAW_EVENT_SHUTDOWN);
	ck_assert_int_eq(saferaw_next_event(handle, &event), 0);
	saferaw_close(flow);
}
END_TEST

START_TEST(the_last_event_comes_before_the_end)
{
	struct saferaw_stats stats = {.size = sizeof(stats)};
	struct saferaw_flow *flow = open_udp(0);
	struct saferaw_event event;

	stand_in_event(PROTO_EVENT_SHUTDOWN, 0, NULL);
	stand_in_hang_up();
	ck_assert_fails(saferaw_flow_stats(flow, &stats), ECONNRESET);
	ck_assert_int_eq(saferaw_next_event(handle, &event), 1);
	ck_assert_int_eq(event.type, SAFERAW_EVENT_SHUTDOWN);
	ck_assert_fails(saferaw_next_event(handle, &event), ECONNRESET);
	ck_assert(readable(saferaw_fd(handle)));
	ck_assert_ptr_nonnull(strstr(saferaw_error(handle), "closed the conversation"));
	saferaw_close(flow);
}
END_TEST

START_TEST(flows_outlive_the_handle)
{
	struct saferaw_flow *flow = open_udp(0), *second = open_udp(0);
	struct saferaw_stats stats = {.size = sizeof(stats)};
	uint8_t bytes[64];

	saferaw_disconnect(handle);
	handle = NULL;
	saferaw_close(second);
	packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 59, 0), EINVAL);
	ck_assert_fails(saferaw_flow_stats(flow, &stats), ENOTCONN);
	packet(bytes, 60, "192.0.2.9", 40001, "198.51.100.1");
	ck_assert_fails(saferaw_send(flow, bytes, 60, 0), EPERM);
	saferaw_close(flow);
	saferaw_close(NULL);
	saferaw_disconnect(NULL);
}
END_TEST

START_TEST(a_child_leaves_the_conversation_alone)
{
	struct saferaw_flow *flow = open_udp(0);
	struct saferaw_stats stats = {.size = sizeof(stats)};
	uint8_t bytes[64], got[64];
	int status;
	pid_t pid;

	packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1");
	pthread_mutex_lock(&handle->lock); /* as another thread of the parent might have it */
	pid = fork();
	if (!pid) {
		int bad = saferaw_flow_stats(flow, &stats) != -1 || errno != ENOTCONN;

		bad |= saferaw_next_event(handle, &(struct saferaw_event){0}) != -1 || errno != ENOTCONN;
		bad |= saferaw_send(flow, bytes, 60, 0) != 60;
		saferaw_disconnect(handle);
		saferaw_close(flow);
		_exit(bad);
	}
	pthread_mutex_unlock(&handle->lock);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(recv(stand_in.flow, got, sizeof(got), 0), 60);
	ck_assert_int_eq(saferaw_flow_stats(flow, &stats), 0);
	saferaw_close(flow);
}
END_TEST

/**
 * use_handle() - a thread that uses the handle that others use too
 */
static void *use_handle(void *arg)
{
	struct saferaw_flow *flow = arg;
	struct saferaw_stats stats = {.size = sizeof(stats)};
	struct saferaw_event event;
	uint8_t bytes[64];
	unsigned i;

	packet(bytes, 60, "192.0.2.1", 40001, "198.51.100.1");
	for (i = 0; i < 300; i++) {
		ck_assert_int_eq(saferaw_flow_stats(flow, &stats), 0);
		ck_assert_int_ge(saferaw_next_event(handle, &event), 0);
		saferaw_send(flow, bytes, 60, MSG_DONTWAIT);
		saferaw_error(handle);
	}
	return NULL;
}

START_TEST(threads_share_a_handle)
{
	struct saferaw_flow *flow[4];
	pthread_t user[4];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flow); i++)
		flow[i] = open_udp(0);
	stand_in.events = 1;
	stand_in.event = PROTO_EVENT_ADDRESS_BACK;
	for (i = 0; i < ARRAY_SIZE(flow); i++)
		ck_assert_int_eq(pthread_create(&user[i], NULL, use_handle, flow[i]), 0);
	for (i = 0; i < ARRAY_SIZE(flow); i++) {
		pthread_join(user[i], NULL);
		saferaw_close(flow[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libsaferaw conversation");
	TCase *connecting = tcase_create("connect"), *talking = tcase_create("talk");

	tcase_add_checked_fixture(connecting, start, stop);
	tcase_add_test(connecting, connect_finds_the_slice);
	tcase_add_test(connecting, connect_needs_a_choice_among_several);
	tcase_add_test(connecting, connect_refuses_bad_names);
	tcase_add_test(connecting, connect_tells_what_is_not_a_broker);
	tcase_add_test(connecting, connect_passes_the_greetings_errors_on);
	tcase_add_loop_test(connecting, every_fault_breaks_the_conversation, FAULT_NONE + 1, FAULTS);
	suite_add_tcase(suite, connecting);
	tcase_add_checked_fixture(talking, start_connected, stop);
	tcase_add_test(talking, late_answers_are_dropped);
	tcase_add_test(talking, events_between_replies_are_kept);
	tcase_add_test(talking, events_beyond_the_ring_are_missed);
	tcase_add_test(talking, the_last_event_comes_before_the_end);
	tcase_add_test(talking, flows_outlive_the_handle);
	tcase_add_test(talking, a_child_leaves_the_conversation_alone);
	tcase_add_test(talking, threads_share_a_handle);
	suite_add_tcase(suite, talking);
	return suite_run(suite);
}
