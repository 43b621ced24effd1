/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_conf.c: any bytes at all as a configuration file
 *
 * A load either gives a configuration that keeps its promises, or errors that
 * each name the file. Whatever it was, a good file loads afterwards: the
 * scanner of libconfuse has state of its own, which must not outlive a
 * bad file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "fuzz.h"

/* What the report is checked against */
struct reports {
	char path[32];
	unsigned n;
};

/**
 * check_report() - the report: every error names the file, and none smuggles in a line
 * @line: error
 * @arg: struct reports
 */
static void check_report(const char *line, void *arg)
{
	struct reports *reports = arg;
	size_t n = strlen(reports->path);
	const char *c;

	MUST(!strncmp(line, reports->path, n) && line[n] == ':');
	for (c = line; *c; c++)
		MUST((unsigned char)*c >= ' ' && *c != 0x7f);
	reports->n++;
}

/**
 * check_slice() - what everybody relies on in a slice
 * @conf: its configuration
 * @slice: slice
 */
static void check_slice(const struct conf *conf, const struct conf_slice *slice)
{
	unsigned i;

	MUST(*slice->name && strlen(slice->name) < sizeof(slice->name) && !strchr(slice->name, '/'));
	MUST(slice->netns < conf->netnses);
	MUST(slice->ranges > 0 && slice->ranges <= POLICY_RANGES_MAX);
	for (i = 0; i < slice->ranges; i++)
		MUST(slice->range[i].lo > 0 && slice->range[i].lo <= slice->range[i].hi &&
		     slice->range[i].class < STEER_PORT_CLASSES);
	MUST(slice->users + slice->groups > 0);
	MUST(slice->denied + conf->netns[slice->netns].denied <= POLICY_DENY_MAX);
	MUST(slice->flows_max > 0 && slice->clients_max > 0 && slice->memory_bytes > 0);
}

/**
 * load() - load bytes as a file
 * @data: content
 * @size: of it
 *
 * Return: whether it is a good configuration
 */
static bool load(const void *data, size_t size)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct reports reports = {.n = 0};
	struct conf *conf;
	unsigned i;

	MUST(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(reports.path, sizeof(reports.path), "/proc/self/fd/%d", fd);
	conf = conf_load(reports.path, check_report, &reports);
	close(fd);
	MUST(!conf == (reports.n > 0));
	if (!conf)
		return false;
	MUST(conf->relay_uid && conf->run_dir[0] == '/' && conf->relay_path[0] == '/');
	for (i = 0; i < conf->netnses; i++)
		MUST(conf->netns[i].uplinks > 0 && strlen(conf->netns[i].tun) < sizeof(conf->netns[i].tun) - 1);
	for (i = 0; i < conf->slices; i++)
		check_slice(conf, &conf->slice[i]);
	conf_free(conf);
	return true;
}

/**
 * LLVMFuzzerTestOneInput() - one input
 * @input: bytes
 * @size: of them
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static const char good[] = "relay_user = daemon slice a { tcp = 5000 users = root }";

	load(input, size);
	MUST(load(good, sizeof(good) - 1));
	return 0;
}
