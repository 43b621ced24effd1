/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * msg.h: one message and its file descriptors over a SOCK_SEQPACKET socket
 *
 * The only place where SCM_RIGHTS is read or written.
 */
#ifndef SAFERAW_MSG_H
#define SAFERAW_MSG_H

#include <stddef.h>
#include <sys/types.h>

#define MSG_FDS_MAX 8

/*
 * A received message: size in bytes, the fds that came with it (close-on-exec),
 * or why it is refused: truncated data, truncated or unknown control data.
 */
struct msg {
	size_t size;
	unsigned fds;
	int fd[MSG_FDS_MAX];
};

int msg_send(int sock, const void *data, size_t size, const int *fd, unsigned fds, int flags);
ssize_t msg_recv(int sock, void *data, size_t room, struct msg *msg, int flags);
ssize_t msg_recv_bare(int sock, void *data, size_t room, int flags);
void msg_close_fds(struct msg *msg);

#endif
