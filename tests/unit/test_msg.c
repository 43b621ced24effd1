/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_msg.c: messages and the file descriptors that come with them
 *
 * Each test has its own process and its own socket pair, and most of them end
 * by counting: a receiver that refused a message must have as many file
 * descriptors open as before.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "msg.h"
#include "suite.h"
#include "util.h"

static int ours, theirs; /* the two ends */
static char data[64];    /* what was received */
static struct msg msg;

/** open_fds() - how many file descriptors this process has */
static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/** setup() - a fresh socket pair */
static void setup(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	memset(&msg, 0xff, sizeof(msg));
}

/** raw_send() - send `size` bytes and `fds` copies of standard error, without msg_send()'s checks */
static void raw_send(size_t size, unsigned fds)
{
	static char bytes[4096];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(250 * sizeof(int))];
	} control;
	struct iovec iov = {bytes, size};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;
	int fd = STDERR_FILENO;
	unsigned i;

	memset(&control, 0, sizeof(control));
	if (fds) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (i = 0; i < fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(fd), &fd, sizeof(fd));
	}
	ck_assert_int_eq(sendmsg(theirs, &header, 0), (ssize_t)size);
}

/** expect() - receive with an answer, and with an error when it is negative */
static void expect(ssize_t answer, int error)
{
	errno = 0;
	ck_assert_int_eq(msg_recv(ours, data, sizeof(data), &msg, MSG_DONTWAIT), answer);
	if (answer < 0)
		ck_assert_int_eq(errno, error);
	ck_assert_uint_eq(msg.size, answer < 0 ? 0 : (size_t)answer);
}

START_TEST(round_trip)
{
	const int fd[MSG_FDS_MAX] = {0, 1, 2, 0, 1, 2, 0, 1};
	unsigned before = open_fds(), i, fds = (unsigned)_i;

	ck_assert_int_eq(msg_send(theirs, "hello", 5, fd, fds, 0), 0);
	expect(5, 0);
	ck_assert_mem_eq(data, "hello", 5);
	ck_assert_uint_eq(msg.fds, fds);
	ck_assert_uint_eq(open_fds(), before + fds);
	for (i = 0; i < fds; i++) {
		ck_assert_int_gt(msg.fd[i], STDERR_FILENO);
		ck_assert_int_eq(fcntl(msg.fd[i], F_GETFD), FD_CLOEXEC);
	}
	if (fds < MSG_FDS_MAX)
		msg.fd[fds] = ours; /* not one that came: stays */
	msg_close_fds(&msg);
	ck_assert_uint_eq(msg.fds, 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(taken_over)
{
	const int fd[2] = {STDERR_FILENO, STDERR_FILENO};
	unsigned before = open_fds();
	int kept;

	ck_assert_int_eq(msg_send(theirs, "x", 1, fd, 2, 0), 0);
	expect(1, 0);
	kept = msg.fd[0];
	msg.fd[0] = -1;
	msg_close_fds(&msg);
	ck_assert_int_eq(fcntl(kept, F_GETFD), FD_CLOEXEC);
	ck_assert_uint_eq(open_fds(), before + 1);
}
END_TEST

START_TEST(send_refused)
{
	const int fd[MSG_FDS_MAX + 1] = {0};

	ck_assert_int_eq(msg_send(theirs, "", 0, NULL, 0, 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(msg_send(theirs, "x", 1, fd, MSG_FDS_MAX + 1, 0), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(msg_send(-1, "x", 1, NULL, 0, 0), -1);
	ck_assert_int_eq(errno, EBADF);
	close(ours);
	ck_assert_int_eq(msg_send(theirs, "x", 1, NULL, 0, 0), -1); /* and no SIGPIPE */
	ck_assert_int_eq(errno, EPIPE);
}
END_TEST

START_TEST(send_full)
{
	int sent = 0;

	while (msg_send(theirs, data, sizeof(data), NULL, 0, MSG_DONTWAIT) == 0)
		sent++;
	ck_assert_int_eq(errno, EAGAIN);
	while (sent--)
		expect(sizeof(data), 0);
	expect(-1, EAGAIN);
}
END_TEST

START_TEST(exact_room)
{
	raw_send(sizeof(data), 1);
	expect(sizeof(data), 0);
	ck_assert_uint_eq(msg.fds, 1);
}
END_TEST

/* Messages that are refused: their size and how many fds they bring */
static const struct {
	size_t size;
	unsigned fds;
} refused[] = {
	{sizeof(data) + 1, 0}, {sizeof(data) + 1, 1}, {4096, MSG_FDS_MAX},
	{1, MSG_FDS_MAX + 1},  {1, MSG_FDS_MAX + 2},  {1, 250},
	{4096, 250},           {0, MSG_FDS_MAX + 1},
};

START_TEST(recv_refused)
{
	unsigned before = open_fds();

	raw_send(refused[_i].size, refused[_i].fds);
	raw_send(7, 0);
	expect(-1, EBADMSG);
	ck_assert_uint_eq(msg.fds, 0);
	ck_assert_uint_eq(open_fds(), before);
	expect(7, 0); /* the next one is untouched */
}
END_TEST

/* The same without room for fds: any that come are dropped, and the message with them */
START_TEST(recv_bare)
{
	unsigned before = open_fds(), fds;

	raw_send(sizeof(data), 0);
	ck_assert_int_eq(msg_recv_bare(ours, data, sizeof(data), MSG_DONTWAIT), sizeof(data));
	for (fds = 0; fds <= MSG_FDS_MAX; fds++) {
		raw_send(fds ? 1 : sizeof(data) + 1, fds);
		raw_send(7, 0);
		errno = 0;
		ck_assert_int_eq(msg_recv_bare(ours, data, sizeof(data), MSG_DONTWAIT), -1);
		ck_assert_int_eq(errno, EBADMSG);
		ck_assert_uint_eq(open_fds(), before);
		ck_assert_int_eq(msg_recv_bare(ours, data, sizeof(data), MSG_DONTWAIT), 7);
	}
	ck_assert_int_eq(msg_recv_bare(ours, data, sizeof(data), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(recv_credentials)
{
	const int on = 1;
	unsigned before = open_fds(), fds;

	ck_assert_int_eq(setsockopt(ours, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	for (fds = 0; fds <= MSG_FDS_MAX; fds++) {
		raw_send(1, fds);
		expect(-1, EBADMSG);
		ck_assert_uint_eq(msg.fds, 0);
		ck_assert_uint_eq(open_fds(), before);
	}
}
END_TEST

/* The receiver may have only one more: the kernel installs that one and drops the other */
START_TEST(recv_out_of_fds)
{
	unsigned before = open_fds();
	struct rlimit limit;
	int next = dup(STDERR_FILENO);

	ck_assert_int_ge(next, 0);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)next + 1;
	raw_send(1, 2);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect(-1, EBADMSG);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(end_of_file)
{
	unsigned before = open_fds();

	raw_send(0, 0);
	expect(0, 0);
	raw_send(0, 2);
	expect(0, 0);
	ck_assert_uint_eq(msg.fds, 0);
	ck_assert_uint_eq(open_fds(), before);
	raw_send(3, 0);
	close(theirs);
	expect(3, 0);
	expect(0, 0);
	expect(0, 0);
}
END_TEST

START_TEST(recv_nothing)
{
	expect(-1, EAGAIN);
	ck_assert_uint_eq(msg.fds, 0);
	close(ours);
	expect(-1, EBADF);
}
END_TEST

/** on_alarm() - the first one only interrupts, later ones bring a message */
static void on_alarm(int signal)
{
	static int calls;

	(void)signal;
	if (calls++ && send(theirs, "x", 1, MSG_DONTWAIT) < 0)
		abort();
}

START_TEST(recv_goes_on_after_signal)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval often = {.it_interval.tv_usec = 50000, .it_value.tv_usec = 50000}, never = {};
	ssize_t n;

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	n = msg_recv(ours, data, sizeof(data), &msg, 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	ck_assert_int_eq(n, 1);
}
END_TEST

/** msg_suite() - all tests of this file */
static Suite *msg_suite(void)
{
	Suite *suite = suite_create("msg");
	TCase *tests = tcase_create("msg");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_loop_test(tests, round_trip, 0, MSG_FDS_MAX + 1);
	tcase_add_test(tests, taken_over);
	tcase_add_test(tests, send_refused);
	tcase_add_test(tests, send_full);
	tcase_add_test(tests, exact_room);
	tcase_add_loop_test(tests, recv_refused, 0, ARRAY_SIZE(refused));
	tcase_add_test(tests, recv_bare);
	tcase_add_test(tests, recv_credentials);
	tcase_add_test(tests, recv_out_of_fds);
	tcase_add_test(tests, end_of_file);
	tcase_add_test(tests, recv_nothing);
	tcase_add_test(tests, recv_goes_on_after_signal);
	suite_add_tcase(suite, tests);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(msg_suite());
}
