/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap.c: what the probes print (Test Anything Protocol)
 *
 * One line for each check, the plan at the end. A probe that cannot run here
 * exits with 77, which automake takes for a skip.
 */
#include "tap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_SKIP 77

static unsigned checks, failures;

/**
 * tap_ok() - report one check
 * @passed: its result
 * @format: what was checked
 *
 * Return: @passed
 */
bool tap_ok(bool passed, const char *format, ...)
{
	va_list args;

	printf("%sok %u - ", passed ? "" : "not ", ++checks);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	failures += !passed;
	return passed;
}

/**
 * tap_note() - say something that is no result
 * @format: text
 */
void tap_note(const char *format, ...)
{
	va_list args;

	fputs("# ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/**
 * tap_skip() - leave: the probe cannot run here
 * @format: why
 */
void tap_skip(const char *format, ...)
{
	va_list args;

	fputs("1..0 # SKIP ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(EXIT_SKIP);
}

/**
 * tap_need_root() - skip unless the caller is root
 */
void tap_need_root(void)
{
	if (geteuid() != 0)
		tap_skip("needs root");
}

/**
 * tap_bail() - leave: what the probe needs has failed
 * @what: was tried; errno says why it failed
 */
void tap_bail(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/**
 * tap_end() - print the plan
 *
 * Return: exit status
 */
int tap_end(void)
{
	printf("1..%u\n", checks);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
