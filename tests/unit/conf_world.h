/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_world.h: configuration files in a directory of their own
 *
 * Each test has a new directory (fixtures world_begin and world_end), in which it
 * puts files and loads them. What is reported is kept with the directory left out.
 */
#ifndef SAFERAW_CONF_WORLD_H
#define SAFERAW_CONF_WORLD_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf.h"

#define MAIN "saferaw.conf"
#define DROP_INS MAIN ".d/"

static char dir[] = "/tmp/test_conf.XXXXXX";
static char errors[65536];

/**
 * put() - write a file into the test's directory
 * @name: file
 * @text: content; a user that every system has is put in front for the relay
 */
static inline void put(const char *name, const char *text)
{
	char path[256];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs(strcmp(name, MAIN) != 0 ? "" : "relay_user = daemon ", fp);
	fputs(text, fp);
	ck_assert_int_eq(fclose(fp), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
}

/**
 * collect() - the report: append an error without the directory
 * @line: error
 * @arg: the number of errors
 */
static inline void collect(const char *line, void *arg)
{
	size_t n = strlen(errors);
	const char *at;

	while ((at = strstr(line, dir))) {
		n += (size_t)snprintf(errors + n, sizeof(errors) - n, "%.*s", (int)(at - line), line);
		line = at + strlen(dir) + 1;
	}
	snprintf(errors + n, sizeof(errors) - n, "%s\n", line);
	++*(unsigned *)arg;
}

/**
 * load() - load what put() wrote
 *
 * Return: as conf_load(); `errors` has what was reported
 */
static inline struct conf *load(void)
{
	char path[256];
	unsigned n = 0;
	struct conf *conf;

	errors[0] = '\0';
	snprintf(path, sizeof(path), "%s/" MAIN, dir);
	conf = conf_load(path, collect, &n);
	ck_assert(!conf == (n > 0));
	return conf;
}

/** world_begin() - a directory for the test */
static inline void world_begin(void)
{
	char path[256];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/" DROP_INS, dir);
	ck_assert_int_eq(chmod(dir, 0755) | mkdir(path, 0755), 0);
}

/** world_end() - remove it */
static inline void world_end(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

#endif
