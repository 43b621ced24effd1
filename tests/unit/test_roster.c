/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_roster.c: flows in the order of their numbers, against a plain array
 */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "roster.h"
#include "suite.h"

#define NUMBERS 1000

/** flow_at() - something to point to; it is never looked into */
static struct flow *flow_at(unsigned number)
{
	static char flows[NUMBERS + 1];

	return (struct flow *)(void *)&flows[number];
}

/** agree() - the roster has exactly the flows that are there, in order */
static void agree(const struct roster *roster, const bool there[NUMBERS + 1], size_t live)
{
	uint64_t at = 0;
	unsigned number;

	ck_assert_uint_eq(roster->live, live);
	ck_assert_uint_le(roster->used, 2 * live + 1);
	for (number = 1; number <= NUMBERS; number++) {
		ck_assert_ptr_eq(roster_find(roster, number), there[number] ? flow_at(number) : NULL);
		if (!there[number])
			continue;
		ck_assert_ptr_eq(roster_next(roster, at, &at), flow_at(number));
		ck_assert_uint_eq(at, number);
	}
	ck_assert_ptr_null(roster_next(roster, at, &at));
}

START_TEST(random_walk)
{
	bool there[NUMBERS + 1] = {false};
	struct roster roster = {0};
	unsigned next = 1, step = 0;
	size_t live = 0;

	srand((unsigned)_i);
	while (next <= NUMBERS || live) {
		unsigned number = 1 + (unsigned)rand() % NUMBERS;

		if (next <= NUMBERS && rand() % 3) {
			next += rand() % 4 == 0; /* numbers have gaps: other slices' flows */
			if (next > NUMBERS)
				continue;
			ck_assert_int_eq(roster_append(&roster, next, flow_at(next)), 0);
			there[next++] = true;
			live++;
		} else {
			live -= there[number];
			there[number] = false;
			roster_remove(&roster, number);
		}
		if (step++ % 100 == 0)
			agree(&roster, there, live);
	}
	agree(&roster, there, 0);
	roster_free(&roster);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("roster");
	TCase *tests = tcase_create("all");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, random_walk, 1, 5);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
