/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_files.c: /etc/resolv.conf and /etc/hosts inside a link
 *
 * A link cannot reach everything that the host can: the host's loopback is not
 * its own, and the host's addresses are local inside. So where the host's
 * resolver listens on 127.0.0.53, the program gets the list that this resolver
 * itself asks. Rules for a name server:
 *
 *	loopback, link-local      left out
 *	an address of the link    the host itself: with local = yes the address that stands
 *	                          for it, else left out
 *	anything else             as it is
 *
 * If nothing has to be left out or changed, the host's file is the program's
 * too. If none is left, that is said, and the file stays as it is: what fails
 * then fails for a reason that can be seen.
 *
 * With local = yes /etc/hosts also has a name for the host.
 *
 * The files are made on a tmpfs that only this mount namespace has, for a
 * moment on /tmp, and stay mounted over the host's: nothing is left on any disk,
 * whoever is killed when.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "run.h"

#define RESOLV "/etc/resolv.conf"
#define HOSTS "/etc/hosts"
#define HOST_NAME "host.saferaw.internal"
#define PLACE "/tmp"
#define FILE_MAX 65536 /* bytes of a file that are looked at */
#define LINE_ROOM 512

/* Where resolvers on the loopback write whom they ask: systemd-resolved, NetworkManager */
static const char *const upstream[] = {"/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"};

/* A file that is being made */
struct text {
	char bytes[FILE_MAX];
	size_t used;
	unsigned servers; /* usable, in it */
	bool changed;     /* something is not as in the file that it was made from */
};

/**
 * add() - add to a text, if there is room
 * @text: text
 * @line: to add
 */
static void add(struct text *text, const char *line)
{
	size_t n = strlen(line);

	if (n > sizeof(text->bytes) - text->used)
		return;
	memcpy(text->bytes + text->used, line, n);
	text->used += n;
}

/**
 * own() - whether an address is the link's own
 * @reply: the link
 * @addr: address
 */
static bool own(const struct proto_link_reply *reply, const struct addr *addr)
{
	unsigned i;

	for (i = 0; i < reply->addresses; i++)
		if (addr_eq(&reply->address[i], addr))
			return true;
	return false;
}

/**
 * server() - what stands for a name server inside the link
 * @reply: the link
 * @name: the server's address as the file has it
 *
 * Return: an address; NULL when it cannot be reached
 */
static const char *server(const struct proto_link_reply *reply, const char *name)
{
	struct addr addr;

	if (!addr_parse(name, &addr)) /* one with a zone is link-local */
		return NULL;
	if (own(reply, &addr) && reply->local)
		return addr_family(&addr) == AF_INET ? PROTO_LINK_HOST4 : PROTO_LINK_HOST6;
	if (own(reply, &addr) || addr_is_loopback(&addr) || addr_is_linklocal(&addr) || addr_is_any(&addr))
		return NULL;
	return name;
}

/**
 * take_line() - take over one line of a resolv.conf
 * @text: the new one
 * @reply: the link
 * @line: with its newline
 */
static void take_line(struct text *text, const struct proto_link_reply *reply, const char *line)
{
	char name[LINE_ROOM], new[LINE_ROOM + 16];
	const char *known;

	if (sscanf(line, "nameserver %511s", name) != 1) {
		add(text, line);
		return;
	}
	known = server(reply, name);
	if (known != name)
		text->changed = true;
	if (!known)
		return;
	text->servers++;
	snprintf(new, sizeof(new), "nameserver %s\n", known);
	add(text, new);
}

/**
 * take_file() - make a resolv.conf of one that the host has
 * @text: zeroed, and filled in
 * @reply: the link
 * @path: the host's
 *
 * Return: whether it names a server that can be reached
 */
static bool take_file(struct text *text, const struct proto_link_reply *reply, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[LINE_ROOM];

	*text = (struct text){.changed = !file};
	while (file && fgets(line, sizeof(line), file))
		take_line(text, reply, line);
	if (file)
		fclose(file);
	return text->servers > 0;
}

/**
 * make_resolv() - make the program's resolv.conf
 * @text: filled in
 * @reply: the link
 *
 * Return: whether the program needs one of its own
 */
static bool make_resolv(struct text *text, const struct proto_link_reply *reply)
{
	unsigned i;

	if (take_file(text, reply, RESOLV) && !text->changed)
		return false;
	for (i = 0; i < ARRAY_SIZE(upstream) && !text->servers; i++)
		if (take_file(text, reply, upstream[i]))
			text->changed = true;
	if (text->servers)
		return true;
	cmd_error("no name server of " RESOLV " can be reached through a link: names cannot be looked up");
	return false;
}

/**
 * make_hosts() - make the program's hosts: the host's, and a name for the host
 * @text: filled in
 * @reply: the link
 *
 * Return: whether the program needs one of its own
 */
static bool make_hosts(struct text *text, const struct proto_link_reply *reply)
{
	FILE *file;

	*text = (struct text){0};
	if (!reply->local)
		return false;
	add(text, PROTO_LINK_HOST4 " " HOST_NAME "\n" PROTO_LINK_HOST6 " " HOST_NAME "\n");
	file = fopen(HOSTS, "re");
	if (file) {
		text->used += fread(text->bytes + text->used, 1, sizeof(text->bytes) - text->used, file);
		fclose(file);
	}
	return true;
}

/**
 * put() - put a file over one of the host's
 * @path: the host's
 * @text: what is in it
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool put(const char *path, const struct text *text)
{
	char made[64];
	bool done;
	int fd;

	snprintf(made, sizeof(made), PLACE "%s", strrchr(path, '/'));
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	done = fd >= 0 && !fchmod(fd, 0644) && write(fd, text->bytes, text->used) == (ssize_t)text->used &&
	       !mount(made, path, NULL, MS_BIND, NULL);
	if (!done)
		cmd_error("cannot give the program a %s of its own: %s", path, strerror(errno));
	close_fd(&fd);
	return done;
}

/**
 * run_files_mount() - give the program the files that it needs, in a mount namespace of its own
 * @reply: the link
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_files_mount(const struct proto_link_reply *reply)
{
	static struct text resolv, hosts;
	bool has_resolv = make_resolv(&resolv, reply), has_hosts = make_hosts(&hosts, reply), done;

	if (!has_resolv && !has_hosts)
		return true;
	if (mount("saferaw", PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=755") < 0) {
		cmd_error("cannot mount a tmpfs: %s", strerror(errno));
		return false;
	}
	done = (!has_resolv || put(RESOLV, &resolv)) && (!has_hosts || put(HOSTS, &hosts));
	umount2(PLACE, MNT_DETACH);
	return done;
}
