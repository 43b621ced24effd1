/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_text.c: the configuration's files, read and made safe for libconfuse
 *
 * libconfuse 3.3 parses the configuration, but its scanner has habits that a
 * strict configuration cannot have. This pass over the text comes first and
 * refuses, with file and line, whatever would wake one of them:
 *
 *  - ${NAME} becomes the value of an environment variable: refused.
 *  - A string takes escapes, and an unknown one stops the scanner inside the
 *    string: a backslash is refused, and so is a line end in a string.
 *  - At a string or comment that never ends the scanner reports nothing of
 *    use, and stays inside it for whatever is parsed next: refused.
 *  - It passes over characters that start no word ('*', '+'), so that an
 *    unquoted eth* would mean eth: refused outside quotes.
 *  - A section that the end of the file cuts off counts as complete: braces
 *    are counted here.
 *  - It counts the line of a comment more than once: comments are replaced
 *    by blanks, after which the line numbers of its errors are right.
 *
 * Control characters are refused as well, so that no message about the file
 * can carry one. Since libconfuse keeps no line of where a section begins,
 * those lines are collected on the way; top-level keys take no lists, so
 * every brace outside all others opens a section.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_text.h"
#include "util.h"

#define BLANKS "\t\n\r"

/* Where the pass over the text is */
struct scan {
	struct conf_text *text;
	conf_report *report;
	void *arg;
	size_t at;
	unsigned line;
	unsigned depth;     /* of braces */
	unsigned open_line; /* of the outermost brace */
	bool in_word;       /* the character before belongs to an unquoted word */
};

/**
 * conf_complain() - report one error
 * @report: called once
 * @arg: for @report
 * @file: path
 * @line: line in it, 0 for none
 * @format: what is wrong, as for vprintf(3)
 * @ap: its arguments
 */
void conf_complain(conf_report *report, void *arg, const char *file, unsigned line, const char *format, va_list ap)
{
	char text[512], whole[sizeof(text) + PATH_MAX + 16];

	vsnprintf(text, sizeof(text), format, ap);
	if (line)
		snprintf(whole, sizeof(whole), "%.*s:%u: %s", PATH_MAX, file, line, text);
	else
		snprintf(whole, sizeof(whole), "%.*s: %s", PATH_MAX, file, text);
	report(whole, arg);
}

/**
 * refuse() - report an error of the text
 * @scan: the pass
 * @line: line, 0 for the file as a whole
 * @format: what is wrong
 *
 * Return: -1
 */
static int __attribute__((format(printf, 3, 4)))
refuse(const struct scan *scan, unsigned line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	conf_complain(scan->report, scan->arg, scan->text->path, line, format, ap);
	va_end(ap);
	return -1;
}

/**
 * peek() - a character ahead
 * @scan: the pass
 * @ahead: how far
 *
 * Return: the character, 0 behind the end
 */
static char peek(const struct scan *scan, size_t ahead)
{
	return ahead < scan->text->size - scan->at ? scan->text->data[scan->at + ahead] : '\0';
}

/**
 * check_byte() - refuse control characters
 * @scan: the pass, at the byte
 * @allowed: the ones that may stand here
 *
 * Return: 0, or -1 after a report
 */
static int check_byte(const struct scan *scan, const char *allowed)
{
	unsigned char c = (unsigned char)scan->text->data[scan->at];

	if ((c < ' ' && !strchr(allowed, c)) || c == '\0' || c == 0x7f)
		return refuse(scan, scan->line, "control character (byte %u)", c);
	return 0;
}

/**
 * skip_string() - pass over a quoted string
 * @scan: the pass, at the opening quote; behind the closing one afterwards
 *
 * Return: 0, or -1 after a report
 */
static int skip_string(struct scan *scan)
{
	char quote = peek(scan, 0);

	for (scan->at++; scan->at < scan->text->size; scan->at++) {
		if (check_byte(scan, "\n") < 0)
			return -1;
		if (peek(scan, 0) == quote) {
			scan->at++;
			return 0;
		}
		if (peek(scan, 0) == '\n')
			break;
		if (peek(scan, 0) == '\\')
			return refuse(scan, scan->line, "backslash in a string: there are no escapes");
		if (peek(scan, 0) == '$' && peek(scan, 1) == '{')
			return refuse(scan, scan->line, "\"${\": variables are not expanded");
	}
	return refuse(scan, scan->line, "string is not closed on its line");
}

/**
 * blank() - replace one character by a blank
 * @scan: the pass, at it; behind it afterwards
 */
static void blank(struct scan *scan)
{
	scan->text->data[scan->at++] = ' ';
}

/**
 * blank_comment() - replace a comment by blanks
 * @scan: the pass, at its first character; behind it afterwards
 * @block: whether it ends at the next star and slash, instead of the line's end
 *
 * Return: 0, or -1 after a report
 */
static int blank_comment(struct scan *scan, bool block)
{
	unsigned first = scan->line;

	if (block) {
		blank(scan);
		blank(scan);
	}
	while (scan->at < scan->text->size) {
		if (check_byte(scan, BLANKS) < 0)
			return -1;
		if (peek(scan, 0) == '\n') {
			if (!block)
				return 0;
			scan->line++;
			scan->at++;
			continue;
		}
		if (block && peek(scan, 0) == '*' && peek(scan, 1) == '/') {
			blank(scan);
			blank(scan);
			return 0;
		}
		blank(scan);
	}
	return block ? refuse(scan, first, "comment is not closed") : 0;
}

/**
 * note_brace() - count a brace
 * @scan: the pass, at the brace
 *
 * Return: 0, or -1 after a report
 */
static int note_brace(struct scan *scan)
{
	struct conf_text *text = scan->text;
	unsigned *grown;

	if (peek(scan, 0) == '}') {
		if (!scan->depth)
			return refuse(scan, scan->line, "closing brace without an opening one");
		scan->depth--;
		return 0;
	}
	if (scan->depth++)
		return 0;
	scan->open_line = scan->line;
	grown = reallocarray(text->section_line, text->sections + 1, sizeof(*grown));
	if (!grown)
		return refuse(scan, 0, "%s", strerror(errno));
	text->section_line = grown;
	text->section_line[text->sections++] = scan->line;
	return 0;
}

/**
 * scan_plain() - pass over one character outside strings and comments
 * @scan: the pass, at it
 *
 * Return: 0, or -1 after a report
 */
static int scan_plain(struct scan *scan)
{
	char c = peek(scan, 0);

	if (check_byte(scan, BLANKS) < 0)
		return -1;
	if (c == '\n')
		scan->line++;
	if ((c == '{' || c == '}') && note_brace(scan) < 0)
		return -1;
	if (c == '$' && peek(scan, 1) == '{')
		return refuse(scan, scan->line, "\"${\": variables are not expanded");
	if (c == '*' || c == '\\' || (c == '+' && peek(scan, 1) != '='))
		return refuse(scan, scan->line, "'%c' must stand between quotes", c);
	if (c == '/' && scan->in_word && (peek(scan, 1) == '/' || peek(scan, 1) == '*'))
		return refuse(scan, scan->line, "\"/%c\" inside a word: use quotes", peek(scan, 1));
	scan->in_word = !strchr(" \t\n\r{}()=,+", c);
	scan->at++;
	return 0;
}

/**
 * scan_text() - check a text and blank its comments
 * @scan: set up by the caller
 *
 * Return: 0, or -1 after a report
 */
static int scan_text(struct scan *scan)
{
	while (scan->at < scan->text->size) {
		char c = peek(scan, 0), next = peek(scan, 1);
		int rc;

		if (c == '#' || (c == '/' && next == '/' && !scan->in_word))
			rc = blank_comment(scan, false);
		else if (c == '/' && next == '*' && !scan->in_word)
			rc = blank_comment(scan, true);
		else if (c == '"' || c == '\'')
			rc = skip_string(scan);
		else
			rc = scan_plain(scan);
		if (rc < 0)
			return -1;
		if (strchr("#\"'", c))
			scan->in_word = false;
	}
	if (scan->depth)
		return refuse(scan, scan->open_line, "section is not closed");
	return 0;
}

/**
 * read_all() - take a file's content
 * @scan: for the report
 * @fd: file
 *
 * Return: 0, or -1 after a report
 */
static int read_all(const struct scan *scan, int fd)
{
	struct conf_text *text = scan->text;
	ssize_t n = 1;
	char *fitting;

	text->data = malloc(CONF_TEXT_MAX + 1);
	if (!text->data)
		return refuse(scan, 0, "%s", strerror(errno));
	while (n > 0 && text->size <= CONF_TEXT_MAX) {
		n = read(fd, text->data + text->size, CONF_TEXT_MAX + 1 - text->size);
		if (n < 0)
			return refuse(scan, 0, "cannot read: %s", strerror(errno));
		text->size += (size_t)n;
	}
	if (text->size > CONF_TEXT_MAX)
		return refuse(scan, 0, "larger than %u bytes", CONF_TEXT_MAX);
	fitting = realloc(text->data, text->size + 1);
	if (fitting)
		text->data = fitting;
	return 0;
}

/**
 * read_file() - open a file, check that it may be trusted, and take its content
 * @scan: for the report
 *
 * Only a regular file that not everybody may write to is read: the
 * configuration says who gets which ports.
 *
 * Return: 0, or -1 after a report
 */
static int read_file(const struct scan *scan)
{
	int fd = open(scan->text->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc;
	struct stat st;

	if (fd < 0)
		return refuse(scan, 0, "cannot open: %s", strerror(errno));
	if (fstat(fd, &st) < 0)
		rc = refuse(scan, 0, "cannot stat: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		rc = refuse(scan, 0, "is not a regular file");
	else if (st.st_mode & S_IWOTH)
		rc = refuse(scan, 0, "is writable by everybody");
	else
		rc = read_all(scan, fd);
	close_fd(&fd);
	return rc;
}

/**
 * add_file() - read one more file
 * @files: list
 * @path: of the file, allocated; taken over
 * @report: called for each error
 * @arg: for @report
 *
 * Return: how many errors were reported, 0 or 1
 */
static unsigned add_file(struct conf_files *files, char *path, conf_report *report, void *arg)
{
	struct conf_text *grown = path ? reallocarray(files->text, files->n + 1, sizeof(*grown)) : NULL;
	struct conf_text none = {.path = path};
	struct scan scan = {.text = &none, .report = report, .arg = arg, .line = 1};

	if (!grown) {
		report("out of memory", arg);
		free(path);
		return 1;
	}
	files->text = grown;
	scan.text = &files->text[files->n++];
	*scan.text = none;
	if (read_file(&scan) == 0 && scan_text(&scan) == 0)
		return 0;
	scan.text->size = 0;
	scan.text->sections = 0;
	return 1;
}

/**
 * is_drop_in() - whether a directory entry is a drop-in, for scandir(3)
 * @entry: entry
 */
static int is_drop_in(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && entry->d_name[0] != '.' && !strcmp(entry->d_name + n - 5, ".conf");
}

/**
 * by_name() - the order of drop-ins, the same in every locale
 * @a: entry
 * @b: entry
 */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/**
 * add_directory() - read the drop-ins
 * @files: list
 * @dir: directory; need not exist
 * @report: called for each error
 * @arg: for @report
 *
 * Return: how many errors were reported
 */
static unsigned add_directory(struct conf_files *files, char *dir, conf_report *report, void *arg)
{
	struct conf_text text = {.path = dir};
	struct scan scan = {.text = &text, .report = report, .arg = arg};
	struct dirent **entry = NULL;
	unsigned errors = 0;
	char *path;
	struct stat st;
	int n, i;

	if (!stat(dir, &st) && (st.st_mode & S_IWOTH)) {
		refuse(&scan, 0, "is writable by everybody");
		return 1;
	}
	n = scandir(dir, &entry, is_drop_in, by_name);
	if (n < 0 && errno != ENOENT) {
		refuse(&scan, 0, "cannot read the directory: %s", strerror(errno));
		return 1;
	}
	for (i = 0; i < n; i++) {
		if (asprintf(&path, "%s/%s", dir, entry[i]->d_name) < 0)
			path = NULL;
		errors += add_file(files, path, report, arg);
		free(entry[i]);
	}
	free(entry);
	return errors;
}

/**
 * conf_files_read() - read the main file and its drop-ins
 * @files: filled in; conf_files_free() afterwards
 * @path: main file; drop-ins are PATH.d/NAME.conf, in the order of strcmp(3)
 * @report: called for each error
 * @arg: for @report
 *
 * Return: how many errors were reported
 */
unsigned conf_files_read(struct conf_files *files, const char *path, conf_report *report, void *arg)
{
	unsigned errors;
	char *dir;

	memset(files, 0, sizeof(*files));
	errors = add_file(files, strdup(path), report, arg);
	if (asprintf(&dir, "%s.d", path) < 0)
		return errors + add_file(files, NULL, report, arg);
	errors += add_directory(files, dir, report, arg);
	free(dir);
	return errors;
}

/**
 * conf_files_free() - let go of the files' memory
 * @files: files
 */
void conf_files_free(struct conf_files *files)
{
	while (files->n--) {
		free(files->text[files->n].path);
		free(files->text[files->n].data);
		free(files->text[files->n].section_line);
	}
	free(files->text);
}
