/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * util.c: small helpers that every part needs
 *
 * Numbers from people are read by hand and not by strtoul(3), which takes
 * blanks, signs and other bases, and is easily asked the wrong way about
 * overflow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/**
 * read_clock() - a clock's time
 * @clock: CLOCK_MONOTONIC or CLOCK_REALTIME
 *
 * Return: ns
 */
static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/**
 * clock_ns() - monotonic time, the same that bpf_ktime_get_ns() tells
 *
 * Return: ns
 */
uint64_t clock_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/**
 * clock_wall_ns() - wall-clock time
 *
 * Return: ns since 1970
 */
uint64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

/**
 * close_fd() - close a file descriptor, once
 * @fd: nothing happens when *fd is negative; -1 afterwards
 *
 * errno stays as it was, so that this can stand on an error path.
 */
void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/**
 * parse_digits() - a decimal number of so many characters
 * @text: first character
 * @n: how many
 * @max: largest value allowed
 * @value: set on success
 *
 * Return: whether there is at least one character, all are digits, and the value is at most @max
 */
static bool parse_digits(const char *text, size_t n, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;
	size_t i;

	if (!n)
		return false;
	for (i = 0; i < n; i++) {
		unsigned digit = (unsigned char)text[i] - '0';

		if (digit > 9 || v > max / 10 || digit > max - v * 10)
			return false;
		v = v * 10 + digit;
	}
	*value = v;
	return true;
}

/**
 * parse_u64() - a decimal number from text
 * @text: digits alone: no sign, no blank, no suffix
 * @max: largest value allowed
 * @value: set on success
 *
 * Return: whether it is one
 */
bool parse_u64(const char *text, uint64_t max, uint64_t *value)
{
	return parse_digits(text, strlen(text), max, value);
}

/**
 * parse_port_range() - "N" or "LO-HI" from text
 * @text: ports, 1 to 65535, the lower first
 * @lo: set on success
 * @hi: set on success
 *
 * Return: whether it is one
 */
bool parse_port_range(const char *text, uint16_t *lo, uint16_t *hi)
{
	const char *dash = strchr(text, '-');
	uint64_t first, last;

	if (!parse_digits(text, dash ? (size_t)(dash - text) : strlen(text), UINT16_MAX, &first))
		return false;
	last = first;
	if (dash && !parse_u64(dash + 1, UINT16_MAX, &last))
		return false;
	if (!first || first > last)
		return false;
	*lo = (uint16_t)first;
	*hi = (uint16_t)last;
	return true;
}

/**
 * random_bytes() - bytes that nobody can guess
 * @buffer: filled in
 * @size: bytes
 *
 * Ends the process when the kernel has none to give, which it always has once
 * it has booted: going on with guessable ones would be worse.
 */
void random_bytes(void *buffer, size_t size)
{
	uint8_t *at = buffer;

	while (size) {
		ssize_t n = getrandom(at, size, 0);

		if (n < 0 && errno != EINTR)
			abort();
		if (n > 0) {
			at += n;
			size -= (size_t)n;
		}
	}
}
