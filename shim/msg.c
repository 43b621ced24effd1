/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * msg.c: one message and its file descriptors over a SOCK_SEQPACKET socket
 *
 * Passing file descriptors is where a receiver leaks or gets more than it
 * asked for, so this is the only file that does it. What the peer sends is
 * hostile. The kernel installs the fds before the receiver can say no, hence
 * the order here: first take every fd that came, then judge the message, and
 * if it is refused close them all. A refused message is EBADMSG and leaves
 * nothing behind:
 *
 *  - data longer than the caller's room (MSG_TRUNC),
 *  - control data longer than ours (MSG_CTRUNC): more fds than MSG_FDS_MAX,
 *  - any control data other than SCM_RIGHTS.
 *
 * How many fds are right is for the caller to say, by msg->fds: the count is
 * what the kernel wrote, never what we had room for. (Control buffers are
 * rounded up to 8 bytes: one made for a single fd takes two, and no flag
 * says so.)
 *
 * That closing is where a receiver can be made to wait: closing a file of a FUSE
 * file system asks whoever serves that, and waits for the answer. So from peers
 * that have no fds to send, msg_recv_bare() takes messages without offering
 * room for any. The kernel drops them then, unopened and unclosed, and says so.
 *
 * A message of no bytes is what end of file looks like on this kind of socket,
 * so msg_send() does not send one and msg_recv() takes one for the end.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "msg.h"
#include "util.h"

/* Control data of one message, aligned as the CMSG_ macros want it */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
};

/**
 * msg_send() - send one message
 * @sock: SOCK_SEQPACKET
 * @data: message
 * @size: bytes, at least one
 * @fd: file descriptors to pass along; they stay open here
 * @fds: how many, 0 to MSG_FDS_MAX
 * @flags: MSG_DONTWAIT or 0
 *
 * Never raises SIGPIPE, and goes on after a signal.
 *
 * Return: 0, or -1 and errno: EINVAL, or what sendmsg(2) says (EAGAIN, EPIPE, ETOOMANYREFS ...)
 */
int msg_send(int sock, const void *data, size_t size, const int *fd, unsigned fds, int flags)
{
	struct iovec iov;
	union control control;
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (!size || fds > MSG_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&iov.iov_base, &data, sizeof(data)); /* sendmsg() only reads, its type cannot say so */
	iov.iov_len = size;
	if (fds) {
		memset(&control, 0, sizeof(control));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fd, fds * sizeof(int));
	}
	return TEMP_FAILURE_RETRY(sendmsg(sock, &header, flags | MSG_NOSIGNAL)) < 0 ? -1 : 0;
}

/**
 * take_fds() - take every file descriptor of one SCM_RIGHTS record
 * @cmsg: the record
 * @msg: gets them; those that it has no room for are closed
 *
 * Return: whether all had room and the record is a whole number of fds
 */
static bool take_fds(struct cmsghdr *cmsg, struct msg *msg)
{
	size_t bytes = cmsg->cmsg_len - CMSG_LEN(0), at;
	bool ok = bytes % sizeof(int) == 0;
	int fd;

	for (at = 0; bytes - at >= sizeof(fd); at += sizeof(fd)) {
		memcpy(&fd, CMSG_DATA(cmsg) + at, sizeof(fd));
		if (msg->fds < MSG_FDS_MAX) {
			msg->fd[msg->fds++] = fd;
		} else {
			close_fd(&fd);
			ok = false;
		}
	}
	return ok;
}

/**
 * take_control() - take what came beside a message's data
 * @header: as recvmsg() left it
 * @msg: gets the file descriptors, also when the answer is false
 *
 * Return: whether all of it was file descriptors, and no more than MSG_FDS_MAX
 */
static bool take_control(struct msghdr *header, struct msg *msg)
{
	bool ok = !(header->msg_flags & MSG_CTRUNC);
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		if (cmsg->cmsg_len < CMSG_LEN(0))
			return false;
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS || !take_fds(cmsg, msg))
			ok = false;
	}
	return ok;
}

/**
 * msg_recv() - receive one message
 * @sock: SOCK_SEQPACKET
 * @data: where to
 * @room: bytes there
 * @msg: size and file descriptors (close-on-exec); set whatever the answer. The fds are the caller's.
 * @flags: MSG_DONTWAIT or 0
 *
 * Return: bytes; 0 at end of file; -1 and errno: EBADMSG for a message that is
 * refused (it is gone from the socket), or what recvmsg(2) says
 */
ssize_t msg_recv(int sock, void *data, size_t room, struct msg *msg, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = room};
	union control control;
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};
	ssize_t n;
	bool ok;

	msg->size = 0;
	msg->fds = 0;
	n = TEMP_FAILURE_RETRY(recvmsg(sock, &header, flags | MSG_CMSG_CLOEXEC));
	if (n < 0)
		return -1;
	ok = take_control(&header, msg) && !(header.msg_flags & MSG_TRUNC);
	if (!ok || !n)
		msg_close_fds(msg);
	if (!ok) {
		errno = EBADMSG;
		return -1;
	}
	msg->size = (size_t)n;
	return n;
}

/**
 * msg_recv_bare() - receive one message that may bring no file descriptors, nor other control data
 * @sock: SOCK_SEQPACKET
 * @data: where to
 * @room: bytes there
 * @flags: MSG_DONTWAIT or 0
 *
 * Return: bytes; 0 at end of file; -1 and errno: EBADMSG for a message that is refused (it is gone from the
 * socket), or what recvmsg(2) says
 */
ssize_t msg_recv_bare(int sock, void *data, size_t room, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = room};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = TEMP_FAILURE_RETRY(recvmsg(sock, &header, flags));

	if (n >= 0 && header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		errno = EBADMSG;
		return -1;
	}
	return n;
}

/**
 * msg_close_fds() - close the file descriptors that came with a message
 * @msg: has none afterwards; errno stays as it was
 *
 * What the caller has taken over is marked by setting msg->fd[i] to -1.
 */
void msg_close_fds(struct msg *msg)
{
	unsigned i;

	for (i = 0; i < msg->fds; i++)
		close_fd(&msg->fd[i]);
	msg->fds = 0;
}
