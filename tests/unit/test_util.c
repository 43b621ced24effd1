/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_util.c: numbers, clocks, and log lines
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "suite.h"
#include "util.h"

START_TEST(numbers)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool ok;
		uint64_t value;
	} cases[] = {
		{"0", 0, true, 0},
		{"1", 0, false, 0},
		{"65535", 65535, true, 65535},
		{"65536", 65535, false, 0},
		{"007", 10, true, 7},
		{"10", 10, true, 10},
		{"11", 10, false, 0},
		{"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, false, 0},
		{"99999999999999999999999", UINT64_MAX, false, 0},
		{"", UINT64_MAX, false, 0},
		{" 1", UINT64_MAX, false, 0},
		{"1 ", UINT64_MAX, false, 0},
		{"+1", UINT64_MAX, false, 0},
		{"-1", UINT64_MAX, false, 0},
		{"0x10", UINT64_MAX, false, 0},
		{"1k", UINT64_MAX, false, 0},
	};
	uint64_t value;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		value = 12345;
		ck_assert_int_eq(parse_u64(cases[i].text, cases[i].max, &value), cases[i].ok);
		ck_assert_uint_eq(value, cases[i].ok ? cases[i].value : 12345);
	}
}
END_TEST

START_TEST(port_ranges)
{
	static const struct {
		const char *text;
		uint16_t lo, hi; /* 0: refused */
	} cases[] = {
		{"1", 1, 1},
		{"65535", 65535, 65535},
		{"4000-4999", 4000, 4999},
		{"1-65535", 1, 65535},
		{"80-80", 80, 80},
		{"0", 0, 0},
		{"65536", 0, 0},
		{"0-80", 0, 0},
		{"81-80", 0, 0},
		{"80-", 0, 0},
		{"-80", 0, 0},
		{"-", 0, 0},
		{"", 0, 0},
		{"80-65536", 0, 0},
		{"80 - 81", 0, 0},
		{"1-2-3", 0, 0},
		{"80--81", 0, 0},
	};
	uint16_t lo, hi;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		lo = hi = 0;
		ck_assert_int_eq(parse_port_range(cases[i].text, &lo, &hi), cases[i].lo != 0);
		ck_assert_uint_eq(lo, cases[i].lo);
		ck_assert_uint_eq(hi, cases[i].hi);
	}
}
END_TEST

START_TEST(closing)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd;

	ck_assert_int_ge(fd, 0);
	errno = ENOTTY;
	close_fd(&fd);
	ck_assert_int_eq(fd, -1);
	close_fd(&fd);
	close_fd(&copy); /* not open any more: errno must stay all the same */
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(dup2(STDERR_FILENO, STDIN_FILENO), STDIN_FILENO);
	fd = STDIN_FILENO; /* 0 is one like any other */
	close_fd(&fd);
	ck_assert_int_eq(fcntl(STDIN_FILENO, F_GETFD), -1);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
}
END_TEST

START_TEST(clocks)
{
	uint64_t first = clock_ns(), second = clock_ns();
	struct timespec before, after;
	time_t wall;

	ck_assert_uint_le(first, second);
	/* Not time(): the clock that it reads lags behind by up to a tick. */
	clock_gettime(CLOCK_REALTIME, &before);
	wall = (time_t)(clock_wall_ns() / NS_PER_S);
	clock_gettime(CLOCK_REALTIME, &after);
	ck_assert(before.tv_sec <= wall && wall <= after.tv_sec);
}
END_TEST

START_TEST(randomness)
{
	uint8_t a[600] = {0}, b[600] = {0};
	size_t i, zeros = 0;

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	ck_assert(memcmp(a, b, sizeof(a)));
	for (i = 0; i < sizeof(a); i++)
		zeros += !a[i];
	ck_assert_uint_lt(zeros, 60);
	random_bytes(NULL, 0);
}
END_TEST

static int log_fd; /* where standard error's lines can be read */

/** capture() - send standard error into a pipe, as `name`, up to a priority */
static void capture(const char *name, int max_priority)
{
	int pipe_fd[2];

	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(pipe_fd[1], STDERR_FILENO), STDERR_FILENO);
	log_fd = pipe_fd[0];
	log_init(name, max_priority);
}

/** logged() - what has been written since the last call */
static const char *logged(void)
{
	static char text[16384];
	ssize_t n = read(log_fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(log_lines)
{
	capture("test", LOG_INFO);
	errno = ENOENT;
	log_info("%d and %s: %m", 1, "two");
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_str_eq(logged(), "test: 1 and two: No such file or directory\n");
	log_debug("hidden");
	ck_assert_str_eq(logged(), "");
	log_error("a\nb\x1b[1m\r\x7f"
		  "c\t\xc3\xa9");
	ck_assert_str_eq(logged(), "test: a?b?[1m??c?\xc3\xa9\n");
	log_warn("%s", "");
	ck_assert_str_eq(logged(), "test: \n");
}
END_TEST

START_TEST(log_long_line)
{
	char *text = malloc(5001);
	const char *line;

	memset(text, 'x', 5000);
	text[5000] = '\0';
	capture("test", LOG_INFO);
	log_info("%s", text);
	line = logged();
	ck_assert_uint_gt(strlen(line), 900);
	ck_assert_uint_le(strlen(line), 1024);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	log_init(text, LOG_INFO); /* a name that leaves no room */
	log_info("text");
	line = logged();
	ck_assert_uint_le(strlen(line), 1024);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	free(text);
}
END_TEST

START_TEST(log_journal)
{
	char stream[64];
	struct stat st;

	capture("test", LOG_INFO);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_init("test", LOG_INFO);
	log_warn("text");
	ck_assert_str_eq(logged(), "<4>test: text\n");
	ck_assert_int_eq(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_init("test", LOG_INFO);
	log_warn("text");
	ck_assert_str_eq(logged(), "test: text\n");
}
END_TEST

START_TEST(log_limit_holds)
{
	struct log_limit limit = {0};
	const char *text;
	unsigned i, lines;
	uint64_t start;

	capture("test", LOG_INFO);
	for (i = 0; i < 500; i++)
		log_limited(&limit, LOG_DEBUG, "hidden");
	ck_assert_uint_eq(limit.lines, 0);
	do { /* within a second, which a process that has to wait for its turn may miss */
		logged();
		limit = (struct log_limit){0};
		start = clock_ns();
		for (i = 0; i < 500; i++)
			log_limited(&limit, LOG_INFO, "again");
	} while (clock_ns() - start >= NS_PER_S);
	for (lines = 0, text = logged(); (text = strchr(text, '\n')); text++)
		lines++;
	ck_assert_uint_eq(lines, LOG_LIMIT_LINES);
	ck_assert_uint_eq(limit.left_out, 500 - LOG_LIMIT_LINES);
	limit.window_ns -= NS_PER_S; /* a second later */
	log_limited(&limit, LOG_INFO, "once more");
	ck_assert_str_eq(logged(), "test: 480 lines like the next were left out\ntest: once more\n");
	ck_assert_uint_eq(limit.left_out, 0);
}
END_TEST

START_TEST(log_fatal_exits)
{
	capture("test", LOG_INFO);
	log_fatal("the end");
}
END_TEST

/** util_suite() - all tests of this file */
static Suite *util_suite(void)
{
	Suite *suite = suite_create("util");
	TCase *util = tcase_create("util"), *log = tcase_create("log");

	tcase_add_test(util, numbers);
	tcase_add_test(util, port_ranges);
	tcase_add_test(util, closing);
	tcase_add_test(util, clocks);
	tcase_add_test(util, randomness);
	suite_add_tcase(suite, util);
	tcase_add_test(log, log_lines);
	tcase_add_test(log, log_long_line);
	tcase_add_test(log, log_journal);
	tcase_add_test(log, log_limit_holds);
	tcase_add_exit_test(log, log_fatal_exits, EXIT_FAILURE);
	suite_add_tcase(suite, log);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(util_suite());
}
