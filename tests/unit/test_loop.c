/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_loop.c: the event loop serves every event, takes back those of closed watches, and does not spin
 */
#include <check.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "suite.h"
#include "util.h"

#define WAIT_NS (100 * NS_PER_MS)
#define SPENT_MAX_NS (10 * NS_PER_MS) /* far more than a wait should cost, far less than to spin through it */
#define TRIES 5                       /* a virtual CPU that is taken away is charged to who had it */

static unsigned calls;
static struct watch *victim;

/** take() - what there is to be read, is read */
static void take(struct watch *watch, uint32_t events)
{
	uint64_t value;

	(void)events;
	ck_assert_int_eq(read(watch->fd, &value, sizeof(value)), sizeof(value));
	calls++;
}

/** close_other() - the first of two ready watches to be served closes the other one */
static void close_other(struct watch *watch, uint32_t events)
{
	take(watch, events);
	loop_close(watch == victim ? watch + 1 : victim);
}

/** watch_event() - an eventfd that is ready at once, or a timer */
static struct watch watch_event(int fd, watch_fn *ready)
{
	ck_assert_int_ge(fd, 0);
	return (struct watch){.ready = ready, .fd = fd};
}

/** cpu_ns() - CPU time of this process */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

START_TEST(serves_and_stops)
{
	struct watch watch = watch_event(eventfd(3, EFD_CLOEXEC), take);

	ck_assert_int_eq(loop_init(), 0);
	ck_assert_int_eq(loop_watch(&watch, EPOLLIN), 0);
	ck_assert_int_eq(loop_turn(), 0);
	ck_assert_uint_eq(calls, 1);
	loop_close(&watch);
	ck_assert_int_eq(watch.fd, -1);
}
END_TEST

START_TEST(closed_in_its_turn)
{
	struct watch pair[2];

	pair[0] = watch_event(eventfd(1, EFD_CLOEXEC), close_other);
	pair[1] = watch_event(eventfd(1, EFD_CLOEXEC), close_other);
	victim = &pair[0];
	ck_assert_int_eq(loop_init(), 0);
	ck_assert_int_eq(loop_watch(&pair[0], EPOLLIN), 0);
	ck_assert_int_eq(loop_watch(&pair[1], EPOLLIN), 0);
	ck_assert_int_eq(loop_turn(), 0);
	ck_assert_uint_eq(calls, 1);
	ck_assert((pair[0].fd < 0) != (pair[1].fd < 0));
}
END_TEST

/** sleep_once() - a turn that waits for a timer; returns the CPU time that it took */
static uint64_t sleep_once(const struct watch *timer)
{
	const struct itimerspec later = {.it_value.tv_nsec = WAIT_NS};
	uint64_t start = clock_ns(), spent = cpu_ns();
	unsigned before = calls;

	ck_assert_int_eq(timerfd_settime(timer->fd, 0, &later, NULL), 0);
	ck_assert_int_eq(loop_turn(), 0);
	ck_assert_uint_eq(calls, before + 1);
	ck_assert_uint_ge(clock_ns() - start, WAIT_NS);
	return cpu_ns() - spent;
}

/* After a short wait the loop polls before it sleeps, after a long one it does not. It costs next to nothing either
 * way. */
START_TEST(sleeps)
{
	struct watch event = watch_event(eventfd(0, EFD_CLOEXEC), take);
	struct watch timer = watch_event(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), take);
	uint64_t least[2] = {UINT64_MAX, UINT64_MAX}; /* after a short wait, after a long one */

	ck_assert_int_eq(loop_init(), 0);
	ck_assert_int_eq(loop_watch(&event, EPOLLIN), 0);
	ck_assert_int_eq(loop_watch(&timer, EPOLLIN), 0);
	for (unsigned i = 0; i < TRIES && (least[0] > SPENT_MAX_NS || least[1] > SPENT_MAX_NS); i++) {
		ck_assert_int_eq(eventfd_write(event.fd, 1), 0);
		ck_assert_int_eq(loop_turn(), 0);
		for (unsigned after = 0; after < 2; after++) {
			uint64_t spent = sleep_once(&timer);

			least[after] = spent < least[after] ? spent : least[after];
		}
	}
	ck_assert_uint_le(least[0], SPENT_MAX_NS);
	ck_assert_uint_le(least[1], SPENT_MAX_NS);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tests = tcase_create("all");

	tcase_add_test(tests, serves_and_stops);
	tcase_add_test(tests, closed_in_its_turn);
	tcase_add_test(tests, sleeps);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
