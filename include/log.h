/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h: lines on standard error, for people and for journald
 *
 * A line is "<priority>name: text" when journald reads it ($JOURNAL_STREAM),
 * else "name: text". What a client or the wire can trigger goes through a
 * struct log_limit, which lets so many lines pass a second and says how many
 * it left out.
 */
#ifndef SAFERAW_LOG_H
#define SAFERAW_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

struct log_limit {
	uint64_t window_ns; /* start of the present second */
	unsigned lines;	    /* passed in it */
	unsigned left_out;
};

#define LOG_LIMIT_LINES 20 /* a second, for each struct log_limit */

void log_init(const char *name, int max_priority);
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_limited(struct log_limit *limit, int priority, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void log_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
