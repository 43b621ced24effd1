/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_text.h: the configuration's files, read and made safe for libconfuse
 */
#ifndef SAFERAW_CONF_TEXT_H
#define SAFERAW_CONF_TEXT_H

#include <stdarg.h>
#include <stddef.h>

#include "conf.h"

#define CONF_TEXT_MAX (1u << 20) /* bytes of one file */

struct conf_text {
	char *path;
	char *data; /* comments are blanks */
	size_t size;
	unsigned sections;
	unsigned *section_line; /* of the opening brace of each section, in order */
};

/* The files of one configuration, in their order. A refused one is there, and empty. */
struct conf_files {
	unsigned n;
	struct conf_text *text;
};

/* "FILE:LINE: text", or "FILE: text" with line 0, to report */
void conf_complain(conf_report *report, void *arg, const char *file, unsigned line, const char *format, va_list ap)
	__attribute__((format(printf, 5, 0)));
/* How many errors were reported */
unsigned conf_files_read(struct conf_files *files, const char *path, conf_report *report, void *arg);
void conf_files_free(struct conf_files *files);

#endif
