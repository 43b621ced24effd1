/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_ids.c: which users and groups a link's user namespace has
 *
 * The caller is always root inside. What else there is depends on what the
 * caller may do outside; the first of these that the kernel accepts is taken:
 *
 *	root       every id as itself
 *	/etc/subuid, /etc/subgid
 *	           1 and up are the ids granted to the caller there; newuidmap(1)
 *	           and newgidmap(1), which are setuid root, write the map
 *	anybody    nothing else, and setgroups(2) is denied: the kernel wants it
 *	           so for a map that needs no privilege
 *
 * With the last one a program that gives up root for another user (tcpdump,
 * scamper) cannot, and says so. Users and groups are mapped apart, since only one
 * of them may be granted.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "run.h"

#define RANGES_MAX 32 /* that are taken of those granted */
#define LINE_MAX_BYTES 256
#define NUMBER_ROOM 12
#define MAP_ROOM 2048 /* the kernel takes less than a page */

/* `count` ids from `inside` on are those from `outside` on */
struct range {
	uint32_t inside, outside, count;
};

struct map {
	struct range range[RANGES_MAX];
	unsigned ranges;
};

/* Users, or groups */
struct kind {
	const char *map;     /* file in /proc/PID */
	const char *granted; /* who may use which */
	const char *helper;  /* writes what is granted */
};

static const struct kind users = {"uid_map", "/etc/subuid", "newuidmap"};
static const struct kind groups = {"gid_map", "/etc/subgid", "newgidmap"};

/**
 * write_proc() - write a file of another process in /proc
 * @pid: process
 * @name: of the file
 * @text: written in one go, as the kernel wants it
 *
 * Return: 0; or -1 and errno
 */
static int write_proc(pid_t pid, const char *name, const char *text)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close_fd(&fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/**
 * write_map() - write a map oneself
 * @pid: process in the new namespace
 * @kind: of ids
 * @map: ranges
 *
 * Return: 0; or -1 and errno
 */
static int write_map(pid_t pid, const struct kind *kind, const struct map *map)
{
	char text[MAP_ROOM];
	size_t used = 0;
	unsigned i;

	for (i = 0; i < map->ranges; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%u %u %u\n", map->range[i].inside,
					 map->range[i].outside, map->range[i].count);
	return write_proc(pid, kind->map, text);
}

/**
 * own_map() - every id that there is here, as itself
 * @kind: of ids
 * @map: filled in
 */
static void own_map(const struct kind *kind, struct map *map)
{
	char path[64], line[LINE_MAX_BYTES];
	uint32_t outside;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/%s", kind->map);
	file = fopen(path, "re");
	while (file && map->ranges < RANGES_MAX && fgets(line, sizeof(line), file)) {
		struct range *range = &map->range[map->ranges];

		if (sscanf(line, "%u %u %u", &range->inside, &outside, &range->count) == 3) {
			range->outside = range->inside;
			map->ranges++;
		}
	}
	if (file)
		fclose(file);
}

/**
 * read_grant() - one line of /etc/subuid or /etc/subgid
 * @line: NAME-OR-UID:FIRST:COUNT; it is taken apart
 * @name: of the caller, or NULL
 * @range: outside and count are set
 *
 * Return: whether it grants the caller something
 */
static bool read_grant(char *line, const char *name, struct range *range)
{
	char *rest = line, *who = strsep(&rest, ":"), *first = strsep(&rest, ":"), *count = strsep(&rest, ":\n");
	char number[NUMBER_ROOM];
	uint64_t value;

	snprintf(number, sizeof(number), "%u", (unsigned)getuid());
	if (!count || (strcmp(who, number) != 0 && !(name && !strcmp(who, name))))
		return false;
	if (!parse_u64(first, UINT32_MAX - 1, &value))
		return false;
	range->outside = (uint32_t)value;
	if (!parse_u64(count, UINT32_MAX - range->outside, &value))
		return false;
	range->count = (uint32_t)value;
	return value > 0;
}

/**
 * granted_map() - root as the caller, and what is granted to the caller from 1 on
 * @kind: of ids
 * @own: the caller's id
 * @map: filled in
 *
 * Return: whether anything is granted
 */
static bool granted_map(const struct kind *kind, uint32_t own, struct map *map)
{
	const struct passwd *entry = getpwuid(getuid());
	FILE *file = fopen(kind->granted, "re");
	char line[LINE_MAX_BYTES];
	uint32_t next = 1;

	map->range[map->ranges++] = (struct range){0, own, 1};
	while (file && map->ranges < RANGES_MAX && fgets(line, sizeof(line), file)) {
		struct range *range = &map->range[map->ranges];

		if (!read_grant(line, entry ? entry->pw_name : NULL, range) || range->count > UINT32_MAX - next)
			continue;
		range->inside = next;
		next += range->count;
		map->ranges++;
	}
	if (file)
		fclose(file);
	return map->ranges > 1;
}

/**
 * call_helper() - have newuidmap(1) or newgidmap(1) write a map
 * @pid: process in the new namespace
 * @kind: of ids
 * @map: ranges
 *
 * Return: 0; or -1
 */
static int call_helper(pid_t pid, const struct kind *kind, const struct map *map)
{
	char numbers[1 + 3 * RANGES_MAX][NUMBER_ROOM], *argv[3 + 3 * RANGES_MAX], helper[16];
	unsigned n = 0, i;
	pid_t child;
	int status;

	snprintf(helper, sizeof(helper), "%s", kind->helper);
	snprintf(numbers[n++], NUMBER_ROOM, "%d", (int)pid);
	for (i = 0; i < map->ranges; i++) {
		snprintf(numbers[n++], NUMBER_ROOM, "%u", map->range[i].inside);
		snprintf(numbers[n++], NUMBER_ROOM, "%u", map->range[i].outside);
		snprintf(numbers[n++], NUMBER_ROOM, "%u", map->range[i].count);
	}
	argv[0] = helper;
	for (i = 0; i < n; i++)
		argv[i + 1] = numbers[i];
	argv[n + 1] = NULL;
	child = fork();
	if (!child) {
		execvp(helper, argv);
		_exit(1);
	}
	if (child < 0 || TEMP_FAILURE_RETRY(waitpid(child, &status, 0)) < 0)
		return -1;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

/**
 * map_kind() - map users, or groups
 * @pid: process in the new namespace
 * @kind: of ids
 * @own: the caller's id
 *
 * Return: whether they are mapped; a failure has been complained of
 */
static bool map_kind(pid_t pid, const struct kind *kind, uint32_t own)
{
	struct map map = {.ranges = 0};

	if (!geteuid()) {
		own_map(kind, &map);
		if (!write_map(pid, kind, &map))
			return true;
	} else if (granted_map(kind, own, &map)) {
		if (!call_helper(pid, kind, &map))
			return true;
		cmd_error("%s does not work: the program has your own id alone", kind->helper);
	}
	map = (struct map){.range = {{0, own, 1}}, .ranges = 1};
	if (kind == &groups && write_proc(pid, "setgroups", "deny") < 0) {
		cmd_error("cannot deny setgroups: %s", strerror(errno));
		return false;
	}
	if (!write_map(pid, kind, &map))
		return true;
	cmd_error("cannot write %s: %s", kind->map, strerror(errno));
	return false;
}

/**
 * run_ids_map() - map the ids of a new user namespace
 * @pid: the process in it, a child of this one
 *
 * Return: whether they are mapped; a failure has been complained of
 */
bool run_ids_map(pid_t pid)
{
	return map_kind(pid, &users, geteuid()) && map_kind(pid, &groups, getegid());
}
