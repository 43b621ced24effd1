/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sysctl.c: the host's settings that the monitor changes
 *
 * A setting outside our own devices is written only after its old value is in
 * RUN_DIR/state/NETNS.sysctl, so that the stop, or the next start after a
 * kill -9, can put it back. The record is a text; its head explains its lines.
 * It is written aside and renamed, and read anew for every change: changes
 * are few, and so there is no second truth in memory.
 *
 * Whose value is it? One that is no longer ours, because somebody changed it
 * since, stays as it is. In the list of reserved ports every bit has its own
 * owner: ports that were reserved already when we came are not ours and stay
 * behind, and whatever others add meanwhile is kept. That list has no locked
 * update, so two programs that change it in the same instant can undo each
 * other; nobody can help that.
 *
 * A record belongs to one namespace, by its cookie (which the kernel never
 * gives again until it boots) and the boot's id. Another one that got the
 * same name has nothing of ours in it: the record is dropped. Inode
 * numbers of namespaces are given again at once and would not do.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "portset.h"
#include "sysctl.h"
#include "util.h"

#define RESERVED "ipv4/ip_local_reserved_ports"
#define NAME_ROOM 96
#define VALUE_ROOM 128
#define WRITE_MAX 4092 /* bytes of such a list that the kernel takes in one write */
#define SETTINGS_MAX 16

struct setting {
	char name[NAME_ROOM], old[VALUE_ROOM], ours[VALUE_ROOM];
};

/* Content of a record */
struct record {
	char boot[40];
	uint64_t cookie;
	unsigned settings;
	struct setting setting[SETTINGS_MAX];
	struct portset ports; /* that we reserved */
};

/* One access inside the namespace */
struct access {
	const char *name;
	char *text;
	size_t room;
	uint64_t cookie;
};

static const char explanation[] =
	"# What saferawd changed in one network namespace, kept so that it can be put back.\n"
	"# boot ID: the kernel's /proc/sys/kernel/random/boot_id; namespace COOKIE: its SO_NETNS_COOKIE.\n"
	"# set NAME<tab>OLD<tab>NEW: /proc/sys/net/NAME was OLD and was set to NEW.\n"
	"# ports LOW-HIGH,...: added to /proc/sys/net/" RESERVED ".\n";

/**
 * normalize() - one blank between words, none at the ends
 * @text: changed
 */
static void normalize(char *text)
{
	char *out = text, *word, *rest = NULL;

	for (word = strtok_r(text, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
		size_t n = strlen(word);

		if (out != text)
			*out++ = ' ';
		memmove(out, word, n);
		out += n;
	}
	*out = '\0';
}

/**
 * open_setting() - open a net sysctl of the present namespace
 * @name: below /proc/sys/net
 * @flags: as for open(2)
 *
 * Return: fd, or -1 and errno
 */
static int open_setting(const char *name, int flags)
{
	char path[sizeof("/proc/sys/net/") + NAME_ROOM];

	if (snprintf(path, sizeof(path), "/proc/sys/net/%s", name) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, flags | O_CLOEXEC);
}

/**
 * read_inside() - read a setting, inside the namespace
 * @arg: struct access; text is filled in
 *
 * Return: 0, or -1 and errno
 */
static int read_inside(void *arg)
{
	struct access *access = arg;
	int fd = open_setting(access->name, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	/* the whole in one call: a second one finds the end */
	n = read(fd, access->text, access->room - 1);
	close_fd(&fd);
	if (n < 0)
		return -1;
	access->text[n] = '\0';
	if ((size_t)n == access->room - 1) {
		errno = EOVERFLOW;
		return -1;
	}
	return 0;
}

/**
 * write_inside() - write a setting, inside the namespace
 * @arg: struct access; text is the value
 *
 * Return: 0, or -1 and errno
 */
static int write_inside(void *arg)
{
	const struct access *access = arg;
	int fd = open_setting(access->name, O_WRONLY);
	size_t size = strlen(access->text);
	ssize_t n;

	if (fd < 0)
		return -1;
	/* an empty write would say nothing; a line end says "empty" */
	n = size ? write(fd, access->text, size) : write(fd, "\n", 1);
	close_fd(&fd);
	if (n < 0)
		return -1;
	if ((size_t)n < size) {
		errno = E2BIG;
		return -1;
	}
	return 0;
}

/**
 * cookie_inside() - a namespace's cookie, inside it
 * @arg: struct access; cookie is set
 *
 * Return: 0, or -1 and errno
 */
static int cookie_inside(void *arg)
{
	struct access *access = arg;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	socklen_t size = sizeof(access->cookie);

	if (fd < 0)
		return -1;
	rc = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &access->cookie, &size);
	close_fd(&fd);
	return rc;
}

/**
 * record_path() - where a namespace's record is
 * @ns: namespace
 * @run_dir: run directory
 * @suffix: "" or ".new"
 * @path: filled in
 */
static void record_path(const struct netns *ns, const char *run_dir, const char *suffix, char path[static PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/state/%s.sysctl%s", PATH_MAX - 64, run_dir, ns->conf.name, suffix);
}

/**
 * new_record() - an empty record for a namespace
 * @ns: namespace
 * @record: filled in
 *
 * Return: 0, or -1 and errno
 */
static int new_record(const struct netns *ns, struct record *record)
{
	struct access access = {0};
	FILE *fp = fopen("/proc/sys/kernel/random/boot_id", "re");
	int n;

	memset(record, 0, sizeof(*record));
	if (!fp)
		return -1;
	n = fscanf(fp, "%39s", record->boot);
	fclose(fp);
	if (n != 1) {
		errno = EPROTO;
		return -1;
	}
	if (netns_call(ns, cookie_inside, &access) < 0)
		return -1;
	record->cookie = access.cookie;
	return 0;
}

/**
 * parse_line() - take in one line of a record
 * @record: gets it
 * @line: without its line end
 *
 * Return: 0, or -1 and EPROTO
 */
static int parse_line(struct record *record, char *line)
{
	struct setting *setting = &record->setting[record->settings];

	if (!*line || *line == '#' || sscanf(line, "boot %39s", record->boot) == 1 ||
	    sscanf(line, "namespace %" SCNu64, &record->cookie) == 1)
		return 0;
	if (!strncmp(line, "ports ", 6))
		return portset_parse(line + 6, &record->ports);
	if (record->settings < SETTINGS_MAX &&
	    sscanf(line, "set %95[^\t]\t%127[^\t]\t%127[^\t]", setting->name, setting->old, setting->ours) == 3) {
		record->settings++;
		return 0;
	}
	errno = EPROTO;
	return -1;
}

/**
 * load_record() - what was changed in a namespace
 * @ns: namespace
 * @run_dir: run directory
 * @record: filled in; empty when there is none, or it is about another namespace
 *
 * Return: 1, 0 when there is none, or -1 and errno
 */
static int load_record(const struct netns *ns, const char *run_dir, struct record *record)
{
	char path[PATH_MAX], *line = NULL;
	struct record *found;
	size_t room = 0;
	int rc = 0;
	FILE *fp;

	if (new_record(ns, record) < 0)
		return -1;
	record_path(ns, run_dir, "", path);
	fp = fopen(path, "re");
	if (!fp)
		return errno == ENOENT ? 0 : -1;
	found = calloc(1, sizeof(*found));
	while (found && rc == 0 && getline(&line, &room, fp) > 0) {
		line[strcspn(line, "\n")] = '\0';
		rc = parse_line(found, line);
	}
	if (!found || ferror(fp))
		rc = -1;
	fclose(fp);
	free(line);
	if (rc == 0 && found->cookie == record->cookie && !strcmp(found->boot, record->boot)) {
		*record = *found;
		rc = 1;
	} else if (rc == 0) {
		log_info("%s: %s is about an earlier namespace of that name, dropped", ns->conf.name, path);
		rc = unlink(path);
	}
	free(found);
	return rc;
}

/**
 * print_record() - write a record to a file
 * @ns: namespace
 * @record: content
 * @fp: file
 * @list: PORTSET_TEXT bytes to work in
 */
static void print_record(const struct netns *ns, const struct record *record, FILE *fp, char *list)
{
	unsigned i;

	fprintf(fp, "%s# This one: \"%s\", %s\nboot %s\nnamespace %" PRIu64 "\n", explanation, ns->conf.name,
		*ns->conf.path ? ns->conf.path : "where saferawd runs", record->boot, record->cookie);
	for (i = 0; i < record->settings; i++) {
		const struct setting *setting = &record->setting[i];

		fprintf(fp, "set %s\t%s\t%s\n", setting->name, setting->old, setting->ours);
	}
	if (portset_print(&record->ports, list))
		fprintf(fp, "ports %s\n", list);
}

/**
 * save_record() - put a record in the place of the one before
 * @ns: namespace
 * @run_dir: run directory
 * @record: content
 *
 * Return: 0, or -1 and errno
 */
static int save_record(const struct netns *ns, const char *run_dir, const struct record *record)
{
	char path[PATH_MAX], aside[PATH_MAX], *list = malloc(PORTSET_TEXT);
	int fd, rc = -1, saved;
	FILE *fp = NULL;

	record_path(ns, run_dir, "", path);
	record_path(ns, run_dir, ".new", aside);
	fd = list ? open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	if (fd >= 0)
		fp = fdopen(fd, "w");
	if (fp) {
		print_record(ns, record, fp, list);
		rc = ferror(fp) ? -1 : 0;
		if (fclose(fp) != 0)
			rc = -1;
	} else {
		close_fd(&fd);
	}
	if (rc == 0)
		rc = rename(aside, path);
	saved = errno;
	free(list);
	errno = saved;
	return rc;
}

/**
 * note_setting() - put a change to come on record
 * @record: record
 * @name: setting
 * @old: its present value
 * @ours: what it will be
 *
 * Return: 0, or -1 and errno
 */
static int note_setting(struct record *record, const char *name, const char *old, const char *ours)
{
	struct setting *setting;
	unsigned i;

	for (i = 0; i < record->settings && strcmp(record->setting[i].name, name) != 0; i++)
		;
	if (i == SETTINGS_MAX || !*old || !*ours || strlen(name) >= NAME_ROOM || strlen(old) >= VALUE_ROOM ||
	    strlen(ours) >= VALUE_ROOM) {
		errno = ENOSPC;
		return -1;
	}
	setting = &record->setting[i];
	/* what to go back to: after a second change of ours still the first value; after somebody else's change,
	 * theirs */
	if (i == record->settings || strcmp(setting->ours, old) != 0)
		strcpy(setting->old, old);
	strcpy(setting->name, name);
	strcpy(setting->ours, ours);
	if (i == record->settings)
		record->settings++;
	return 0;
}

/**
 * sysctl_set() - change a setting
 * @ns: namespace
 * @run_dir: run directory; not looked at without @record
 * @name: below /proc/sys/net
 * @value: new value
 * @record: put the old value on record first
 *
 * Return: 0 (also if it was so already), or -1 and errno; ENOENT if the kernel has no such setting
 */
int sysctl_set(const struct netns *ns, const char *run_dir, const char *name, const char *value, bool record)
{
	char present[VALUE_ROOM], wanted[VALUE_ROOM];
	struct access access = {.name = name, .text = present, .room = sizeof(present)};
	struct record known;

	if (netns_call(ns, read_inside, &access) < 0)
		return -1;
	normalize(present);
	snprintf(wanted, sizeof(wanted), "%s", value);
	normalize(wanted);
	if (!strcmp(present, wanted))
		return 0;
	if (record && (load_record(ns, run_dir, &known) < 0 || note_setting(&known, name, present, wanted) < 0 ||
		       save_record(ns, run_dir, &known) < 0))
		return -1;
	access.text = wanted;
	return netns_call(ns, write_inside, &access);
}

/**
 * wanted_ports() - the ports of a namespace's slices, of all classes but ICMP, whose identifiers are none
 * @ns: namespace
 * @conf: configuration
 * @ports: filled in
 */
static void wanted_ports(const struct netns *ns, const struct conf *conf, struct portset *ports)
{
	unsigned i, j;

	memset(ports, 0, sizeof(*ports));
	for (i = 0; i < conf->slices; i++) {
		const struct conf_slice *slice = &conf->slice[i];

		if (!netns_has_slice(ns, conf, slice))
			continue;
		for (j = 0; j < slice->ranges; j++)
			if (slice->range[j].class != CLASS_ICMP)
				portset_add(ports, slice->range[j].lo, slice->range[j].hi);
	}
}

/**
 * change_list() - put the reserved ports that are ours in the place of those that were
 * @ns: namespace
 * @record: says which are ours; updated
 * @wanted: which are to be reserved
 * @run_dir: where to save the record before the list is written; NULL not to
 * @list: PORTSET_TEXT bytes to work in
 *
 * Return: 0, or -1 and errno; E2BIG when the list is too long for the kernel
 */
static int change_list(const struct netns *ns, struct record *record, const struct portset *wanted,
		       const char *run_dir, char *list)
{
	struct access access = {.name = RESERVED, .text = list, .room = PORTSET_TEXT};
	struct portset present, target, ours;
	size_t i;

	if (netns_call(ns, read_inside, &access) < 0 || portset_parse(list, &present) < 0)
		return -1;
	for (i = 0; i < sizeof(present.bits); i++) {
		uint8_t others = present.bits[i] & (uint8_t)~record->ports.bits[i];

		ours.bits[i] = wanted->bits[i] & (uint8_t)~others;
		target.bits[i] = others | ours.bits[i];
		/* until the list is written, those of before are in it */
		record->ports.bits[i] |= ours.bits[i];
	}
	if (memcmp(&target, &present, sizeof(target)) != 0) {
		if (portset_print(&target, list) > WRITE_MAX) {
			errno = E2BIG;
			return -1;
		}
		if (run_dir && save_record(ns, run_dir, record) < 0)
			return -1;
		if (netns_call(ns, write_inside, &access) < 0)
			return -1;
	}
	record->ports = ours;
	return 0;
}

/**
 * sysctl_reserve_ports() - reserve the ports of a namespace's slices, and those alone
 * @ns: namespace
 * @run_dir: run directory
 * @conf: configuration
 *
 * Return: 0, or -1 and errno; E2BIG when the list is too long for the kernel
 */
int sysctl_reserve_ports(const struct netns *ns, const char *run_dir, const struct conf *conf)
{
	struct record record;
	struct portset wanted, before;
	char *list;
	int rc;

	if (load_record(ns, run_dir, &record) < 0)
		return -1;
	list = malloc(PORTSET_TEXT);
	if (!list)
		return -1;
	wanted_ports(ns, conf, &wanted);
	before = record.ports;
	rc = change_list(ns, &record, &wanted, run_dir, list);
	free(list);
	if (rc < 0 || !memcmp(&before, &record.ports, sizeof(before)))
		return rc;
	return save_record(ns, run_dir, &record);
}

/**
 * restore_setting() - put one setting back
 * @ns: namespace
 * @setting: from the record
 *
 * Return: 0, also if it is no longer ours or no longer there; or -1 and errno
 */
static int restore_setting(const struct netns *ns, const struct setting *setting)
{
	char present[VALUE_ROOM];
	struct access access = {.name = setting->name, .text = present, .room = sizeof(present)};

	if (netns_call(ns, read_inside, &access) < 0)
		return errno == ENOENT ? 0 : -1;
	normalize(present);
	if (strcmp(present, setting->ours) != 0) {
		log_info("%s: %s was changed to %s by somebody else, left so", ns->conf.name, setting->name, present);
		return 0;
	}
	snprintf(present, sizeof(present), "%s", setting->old);
	return netns_call(ns, write_inside, &access);
}

/**
 * sysctl_restore() - put everything back that is on record, and forget the record
 * @ns: namespace
 * @run_dir: run directory
 *
 * Return: 0, also when there is no record; or -1 and errno, with the record
 * kept if anything could not be put back
 */
int sysctl_restore(const struct netns *ns, const char *run_dir)
{
	static const struct portset none;
	struct record record;
	char path[PATH_MAX], *list;
	int rc = load_record(ns, run_dir, &record), error = 0;

	if (rc <= 0)
		return rc;
	list = malloc(PORTSET_TEXT);
	if (!list || change_list(ns, &record, &none, NULL, list) < 0)
		error = errno;
	free(list);
	while (record.settings--)
		if (restore_setting(ns, &record.setting[record.settings]) < 0)
			error = errno;
	record_path(ns, run_dir, "", path);
	if (!error && unlink(path) < 0)
		error = errno;
	errno = error;
	return error ? -1 : 0;
}
