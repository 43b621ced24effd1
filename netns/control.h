/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.h: the sockets that slices' clients connect to
 */
#ifndef SAFERAW_CONTROL_H
#define SAFERAW_CONTROL_H

#include <sys/un.h>

#include "conf.h"

struct control_socket {
	char name[PROTO_NAME_MAX]; /* of the slice */
	int fd;
};

struct control {
	unsigned sockets;                                   /* rows used below */
	struct control_socket socket[2 * STEER_SLICES_MAX]; /* in a reload the old ones and the new ones */
};

int control_open(struct control *control, const struct conf *conf);
void control_trim(struct control *control, const struct conf *conf, const char *run_dir);
int control_fd(const struct control *control, const char *slice);
bool control_is(const struct conf *conf, const char *slice, int sock);

#endif
