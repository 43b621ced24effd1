/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.c: lines on standard error, for people and for journald
 *
 * A line is one write(2), so lines of several processes on one pipe do not
 * mix. Control characters become '?': text that came from outside can neither
 * forge a second line nor talk to a terminal. Lines are cut at LINE_BYTES.
 *
 * Whether journald reads is told by $JOURNAL_STREAM, which names the device
 * and inode of the stream: a process whose standard error was redirected
 * after that has another inode, and writes plain lines.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define LINE_BYTES 1024

static struct {
	const char *name;
	int max_priority;
	bool journal;
} setup = {"saferaw", LOG_INFO, false};

/**
 * journal_reads() - whether standard error is the stream that $JOURNAL_STREAM names
 */
static bool journal_reads(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char here[64];

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, here);
}

/**
 * log_init() - who writes, and how much
 * @name: before each line; must outlive the process's last line
 * @max_priority: LOG_ERR .. LOG_DEBUG; lines above it are dropped
 */
void log_init(const char *name, int max_priority)
{
	setup.name = name;
	setup.max_priority = max_priority;
	setup.journal = journal_reads();
}

/**
 * write_line() - put one line together and write it
 * @priority: of syslog(3)
 * @format: of the text
 * @args: its arguments
 *
 * %m works, and errno stays as it was.
 */
static void __attribute__((format(printf, 2, 0))) write_line(int priority, const char *format, va_list args)
{
	const size_t room = LINE_BYTES - 1; /* the last byte is for the newline */
	char line[LINE_BYTES];
	int saved = errno, n;
	size_t start, end;

	if (setup.journal)
		n = snprintf(line, room, "<%d>%s: ", priority, setup.name);
	else
		n = snprintf(line, room, "%s: ", setup.name);
	start = n < 0 ? 0 : (size_t)n;
	if (start >= room)
		start = room - 1;
	errno = saved;
	n = vsnprintf(line + start, room - start, format, args);
	end = n < 0 ? start : start + (size_t)n;
	if (end >= room)
		end = room - 1;
	for (; start < end; start++)
		if ((unsigned char)line[start] < 0x20 || line[start] == 0x7f)
			line[start] = '?';
	line[end++] = '\n';
	while (write(STDERR_FILENO, line, end) < 0 && errno == EINTR)
		;
	errno = saved;
}

/**
 * log_line() - write one line
 * @priority: of syslog(3)
 * @format: as of printf(3), no newline at the end
 */
void log_line(int priority, const char *format, ...)
{
	va_list args;

	if (priority > setup.max_priority)
		return;
	va_start(args, format);
	write_line(priority, format, args);
	va_end(args);
}

/**
 * log_limited() - write one line, if its kind has not had too many this second
 * @limit: of that kind, zeros at first
 * @priority: of syslog(3)
 * @format: as of log_line()
 *
 * The first line of a later second is preceded by one that says how many were
 * left out.
 */
void log_limited(struct log_limit *limit, int priority, const char *format, ...)
{
	uint64_t now = clock_ns();
	va_list args;

	if (priority > setup.max_priority)
		return;
	if (now - limit->window_ns >= NS_PER_S) {
		if (limit->left_out)
			log_line(priority, "%u lines like the next were left out", limit->left_out);
		*limit = (struct log_limit){.window_ns = now};
	}
	if (limit->lines >= LOG_LIMIT_LINES) {
		limit->left_out++;
		return;
	}
	limit->lines++;
	va_start(args, format);
	write_line(priority, format, args);
	va_end(args);
}

/**
 * log_fatal() - write one line and end the process with status 1
 * @format: as of log_line()
 */
void log_fatal(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(LOG_CRIT, format, args);
	va_end(args);
	exit(EXIT_FAILURE);
}
