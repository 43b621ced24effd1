/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_seqpacket.c: SEQPACKET pairs as the relay uses them
 *
 * - With the smallest SO_SNDBUF, one unread message of proto.h's fd-carrying
 *   size makes the sender's end unwritable: so at most one unread reply with
 *   an fd exists for each client.
 * - A message of no bytes reads as end of file: so none may be sent.
 * - The writer's end tells a closed reader by EPIPE, not by a signal.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto.h"
#include "tap.h"

#define SMALLEST_SNDBUF 4608

/**
 * writable() - would poll(2) say that one can write?
 * @fd: socket
 *
 * Return: true for POLLOUT.
 */
static bool writable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLOUT;
}

int main(void)
{
	int pair[2], size = 1;
	socklen_t len = sizeof(size);
	char reply[sizeof(struct proto_opened)] = {0}, room[1024];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		tap_bail("socketpair");
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0 ||
	    getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &len) < 0)
		tap_bail("SO_SNDBUF");
	tap_ok(size == SMALLEST_SNDBUF, "the smallest SO_SNDBUF is %d (it is %d)", SMALLEST_SNDBUF, size);
	tap_ok(sizeof(reply) == 512, "struct proto_opened has 512 bytes");
	tap_ok(writable(pair[0]), "an empty socket is writable");
	tap_ok(send(pair[0], reply, sizeof(reply), MSG_NOSIGNAL) == sizeof(reply), "a reply is sent");
	tap_ok(!writable(pair[0]), "with one unread reply it is not writable");
	tap_ok(recv(pair[1], room, sizeof(room), 0) == sizeof(reply), "the reply is read");
	tap_ok(writable(pair[0]), "it is writable again");

	tap_ok(send(pair[0], reply, 0, MSG_NOSIGNAL) == 0, "a message of no bytes is sent");
	tap_ok(recv(pair[1], room, sizeof(room), 0) == 0, "it reads like end of file");
	tap_ok(recv(pair[1], room, sizeof(room), 0) < 0 && errno == EAGAIN, "but the peer is still there");
	close(pair[1]);
	tap_ok(send(pair[0], reply, sizeof(reply), MSG_NOSIGNAL) < 0 && errno == EPIPE, "to a closed peer: EPIPE");
	return tap_end();
}
