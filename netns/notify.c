/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.c: telling the service manager
 *
 * Two ways are known: systemd's, a datagram of NAME=VALUE lines to the socket
 * in $NOTIFY_SOCKET, whose address may be abstract (sd_notify(3)); and s6's, a
 * newline on a file descriptor given by number. A manager that does not listen
 * is no reason to stop.
 */
#include "notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

/**
 * notify_open() - find out who wants to know
 * @notify: filled in
 * @ready_fd: from the command line, or -1
 *
 * $NOTIFY_SOCKET is taken out of the environment.
 *
 * Return: 0, or -1 after a log line.
 */
int notify_open(struct notify *notify, int ready_fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	*notify = (struct notify){.address = {.sun_family = AF_UNIX}, .ready_fd = ready_fd};
	if (ready_fd >= 0 && fcntl(ready_fd, F_SETFD, FD_CLOEXEC) < 0) {
		log_error("--ready-fd=%d: %m", ready_fd);
		return -1;
	}
	if (length < 2)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || length >= sizeof(notify->address.sun_path)) {
		log_error("$NOTIFY_SOCKET is no address of a socket: %s", path);
		return -1;
	}
	memcpy(notify->address.sun_path, path, length);
	if (path[0] == '@')
		notify->address.sun_path[0] = 0;
	notify->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	unsetenv("NOTIFY_SOCKET");
	return 0;
}

/**
 * tell() - send systemd a datagram
 * @notify: where to
 * @text: NAME=VALUE lines
 */
static void tell(const struct notify *notify, const char *text)
{
	const struct sockaddr *address = (const struct sockaddr *)&notify->address;
	int fd;

	if (!notify->size)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, address, notify->size) < 0)
		log_warn("cannot tell the service manager: %m");
	close_fd(&fd);
}

/**
 * notify_ready() - clients can connect, or a reload is done
 * @notify: where to; its file descriptor is closed
 */
void notify_ready(struct notify *notify)
{
	tell(notify, "READY=1");
	if (notify->ready_fd >= 0 && write(notify->ready_fd, "\n", 1) < 0)
		log_warn("cannot write to the file descriptor of --ready-fd: %m");
	close_fd(&notify->ready_fd);
}

/**
 * notify_reloading() - a reload begins; notify_ready() ends it
 * @notify: where to
 */
void notify_reloading(const struct notify *notify)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ns() / 1000);
	tell(notify, text);
}

/**
 * notify_stopping() - the end begins
 * @notify: where to
 */
void notify_stopping(const struct notify *notify)
{
	tell(notify, "STOPPING=1");
}
