/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.c: the sockets that slices' clients connect to
 *
 * RUN_DIR/slices/NAME.sock for each slice: made and kept by the monitor,
 * accepted on by the relay, which gets duplicates. So a client that comes
 * while the relay is being started again waits in the backlog instead of
 * being refused. Everybody may connect: who may speak is decided by the
 * relay, by the uid that the kernel vouches for.
 *
 * A reload opens what is new before it closes what is gone.
 */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define BACKLOG 128 /* clients of one slice that may wait for the relay */

/**
 * socket_path() - where a slice's socket is
 * @run_dir: run directory
 * @slice: its name
 * @address: filled in
 *
 * Return: 0, or -1 with ENAMETOOLONG.
 */
static int socket_path(const char *run_dir, const char *slice, struct sockaddr_un *address)
{
	int n;

	address->sun_family = AF_UNIX;
	n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/slices/%s" PROTO_SOCKET_SUFFIX, run_dir,
		     slice);
	if (n > 0 && (size_t)n < sizeof(address->sun_path))
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

/**
 * open_socket() - make a slice's socket and listen
 * @run_dir: run directory
 * @slice: its name
 *
 * Return: the socket (close-on-exec, non-blocking), or -1 and errno.
 */
static int open_socket(const char *run_dir, const char *slice)
{
	struct sockaddr_un address;
	mode_t mask;
	int fd, result;

	if (socket_path(run_dir, slice, &address) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	mask = umask(0111);
	result = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (result < 0 || listen(fd, BACKLOG) < 0)
		close_fd(&fd);
	return fd;
}

/**
 * control_fd() - the listening socket of a slice
 * @control: the sockets
 * @slice: its name
 *
 * Return: the socket, or -1.
 */
int control_fd(const struct control *control, const char *slice)
{
	for (unsigned i = 0; i < control->sockets; i++)
		if (strcmp(control->socket[i].name, slice) == 0)
			return control->socket[i].fd;
	return -1;
}

/**
 * control_open() - open a socket for each slice that has none
 * @control: the sockets
 * @conf: the slices
 *
 * Return: 0, or -1 after a log line. What was opened until then stays, for
 * control_trim() to close.
 */
int control_open(struct control *control, const struct conf *conf)
{
	for (unsigned i = 0; i < conf->slices; i++) {
		struct control_socket *socket = &control->socket[control->sockets];
		const char *name = conf->slice[i].name;

		if (control_fd(control, name) >= 0)
			continue;
		socket->fd = open_socket(conf->run_dir, name);
		if (socket->fd < 0) {
			log_error("slice %s: cannot open its control socket in %s: %m", name, conf->run_dir);
			return -1;
		}
		snprintf(socket->name, sizeof(socket->name), "%s", name);
		control->sockets++;
	}
	return 0;
}

/**
 * is_wanted() - whether a configuration has a slice
 * @conf: the configuration, or NULL for an empty one
 * @slice: its name
 */
static bool is_wanted(const struct conf *conf, const char *slice)
{
	for (unsigned i = 0; conf && i < conf->slices; i++)
		if (strcmp(conf->slice[i].name, slice) == 0)
			return true;
	return false;
}

/**
 * control_trim() - close and remove the sockets of slices that are gone
 * @control: the sockets
 * @conf: the slices that stay; NULL for none
 * @run_dir: run directory
 */
void control_trim(struct control *control, const struct conf *conf, const char *run_dir)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < control->sockets; i++) {
		struct control_socket *socket = &control->socket[i];
		struct sockaddr_un address;

		if (is_wanted(conf, socket->name)) {
			control->socket[kept++] = *socket;
			continue;
		}
		close_fd(&socket->fd);
		if (socket_path(run_dir, socket->name, &address) < 0 || unlink(address.sun_path) < 0)
			log_warn("slice %s: cannot remove its control socket: %m", socket->name);
	}
	control->sockets = kept;
}

/**
 * control_is() - whether a socket is the relay's end of a conversation with a slice
 * @conf: configuration
 * @slice: its name
 * @sock: any file
 *
 * An accepted socket has the path of the one that it was accepted on.
 */
bool control_is(const struct conf *conf, const char *slice, int sock)
{
	struct sockaddr_un want, have = {0};
	socklen_t size = sizeof(have);

	if (socket_path(conf->run_dir, slice, &want) < 0 || getsockname(sock, (struct sockaddr *)&have, &size) < 0 ||
	    have.sun_family != AF_UNIX)
		return false;
	return strncmp(have.sun_path, want.sun_path, sizeof(want.sun_path)) == 0;
}
