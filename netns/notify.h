/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.h: telling the service manager
 */
#ifndef SAFERAW_NOTIFY_H
#define SAFERAW_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	struct sockaddr_un address; /* of systemd's socket */
	socklen_t size;             /* 0: there is none */
	int ready_fd;               /* -1: none, or done */
};

int notify_open(struct notify *notify, int ready_fd);
void notify_ready(struct notify *notify);
void notify_reloading(const struct notify *notify);
void notify_stopping(const struct notify *notify);

#endif
