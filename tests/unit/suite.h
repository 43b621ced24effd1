/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * suite.h: run a suite of unit tests
 */
#ifndef SAFERAW_TEST_SUITE_H
#define SAFERAW_TEST_SUITE_H

#include <check.h>
#include <stdlib.h>

/**
 * suite_run() - run all tests of a suite
 * @suite: suite; freed
 *
 * Return: exit status. Never the number of failures, of which 77 would be a skip and 256 a pass.
 */
static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
