/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_talk.c: the library's conversation with the broker
 *
 * One request is under way at a time, under the handle's lock: it is sent, and
 * then messages are read until the one with its id is there. What comes in
 * between are events, which are kept in a ring for saferaw_next_event(), and
 * late answers to requests that were given up (their ids are lower), which are
 * thrown away with the file descriptors in them, so that a flow nobody waits
 * for ends. Anything else means that the two sides no longer understand each
 * other; the conversation is broken then and stays so.
 *
 * An event also has a meaning for the library itself: it makes what senders
 * know stale (lib_info.c).
 *
 * The program waits for events on an epoll instance over the control socket
 * and an eventfd that is 1 while the ring has something. Without the latter an
 * event that came in the middle of an exchange would lie in the ring and wake
 * nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libsaferaw_int.h"
#include "msg.h"

/* Any message of the broker */
union message {
	struct proto_header header;
	struct proto_event event;
	struct {
		struct proto_header header;
		int32_t error;
	} reply; /* how every reply begins */
	uint8_t bytes[PROTO_MESSAGE_MAX];
};

/**
 * lib_fail() - note what went wrong, with the lock held
 * @saferaw: handle
 * @error: errno
 * @format: text for people; %m is @error in words
 *
 * Return: -1, with errno set
 */
int lib_fail(struct saferaw *saferaw, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	errno = error;
	vsnprintf(saferaw->text, sizeof(saferaw->text), format, args);
	va_end(args);
	errno = error;
	return -1;
}

/**
 * lib_lock() - take the handle for a conversation
 * @saferaw: handle
 *
 * In a child of fork() the lock itself may be held by a thread that is not
 * there, so the process is looked at first.
 *
 * Return: 0; or -1 and ENOTCONN, without the lock, in another process than the handle's
 */
int lib_lock(struct saferaw *saferaw)
{
	if (getpid() != saferaw->owner) {
		errno = ENOTCONN;
		return -1;
	}
	pthread_mutex_lock(&saferaw->lock);
	return 0;
}

/**
 * lib_unlock() - let the handle go; errno stays as it was
 * @saferaw: handle
 */
void lib_unlock(struct saferaw *saferaw)
{
	pthread_mutex_unlock(&saferaw->lock);
}

/**
 * lib_note() - note what went wrong, outside a conversation
 * @saferaw: handle, not locked
 * @error: errno
 * @text: for people
 *
 * Return: -1, with errno set
 */
int lib_note(struct saferaw *saferaw, int error, const char *text)
{
	if (!lib_lock(saferaw)) {
		lib_fail(saferaw, error, "%s", text);
		lib_unlock(saferaw);
	}
	errno = error;
	return -1;
}

/**
 * broken() - end the conversation for good
 * @saferaw: handle, locked
 * @error: ECONNRESET or EPROTO
 *
 * Return: -1, with errno set
 */
static int broken(struct saferaw *saferaw, int error)
{
	saferaw->broken = error;
	return lib_fail(saferaw, error, "slice '%s': %s", saferaw->slice,
			error == EPROTO ? "the broker sent what is not in the protocol"
					: "the broker closed the conversation");
}

/**
 * keep_event() - put an event into the ring, and act on it
 * @saferaw: handle, locked
 * @event: event
 *
 * In a full ring the newest turns into "missed", so that the program is told
 * at the place where the gap is.
 */
static void keep_event(struct saferaw *saferaw, const struct proto_event *event)
{
	struct proto_event *slot;

	if (event->event != PROTO_EVENT_SHUTDOWN && event->event != PROTO_EVENT_REVOKED) {
		atomic_fetch_add(&saferaw->routes, 1);
		atomic_store(&saferaw->stale, true);
	}
	if (saferaw->events == LIB_EVENTS_MAX) {
		slot = &saferaw->event[(saferaw->first + LIB_EVENTS_MAX - 1) % LIB_EVENTS_MAX];
		memset(slot, 0, sizeof(*slot));
		slot->event = PROTO_EVENT_MISSED;
		return;
	}
	if (!saferaw->events)
		eventfd_write(saferaw->wake, 1);
	saferaw->event[(saferaw->first + saferaw->events++) % LIB_EVENTS_MAX] = *event;
}

/**
 * out_of_fds() - whether this process can have no more file descriptors
 * @saferaw: handle
 */
static bool out_of_fds(const struct saferaw *saferaw)
{
	int fd = fcntl(saferaw->sock, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return true;
	close_fd(&fd);
	return false;
}

/**
 * take_message() - read one message
 * @saferaw: handle, locked
 * @message: gets it, when it is a reply
 * @msg: gets its size and file descriptors
 *
 * A file descriptor that this process has no room for is lost with the message
 * that it came in. The conversation goes on, and the flow ends.
 *
 * Return: 1 for the reply to the last request; 0 for anything else that was
 * dealt with; -1 and errno: EAGAIN when there is none, EMFILE, or the conversation is broken
 */
static int take_message(struct saferaw *saferaw, union message *message, struct msg *msg)
{
	ssize_t n = msg_recv(saferaw->sock, message, sizeof(*message), msg, MSG_DONTWAIT);

	if (n < 0 && errno == ECONNRESET) /* told first, and once; what the broker sent before is behind it */
		n = msg_recv(saferaw->sock, message, sizeof(*message), msg, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return -1;
	if (n < 0 && errno == EBADMSG && out_of_fds(saferaw))
		return lib_fail(saferaw, EMFILE, "this process is out of file descriptors");
	if (n <= 0)
		return broken(saferaw, n < 0 && errno == EBADMSG ? EPROTO : ECONNRESET);
	if (msg->size < sizeof(message->header) || message->header.size != msg->size)
		goto garbage;
	if (message->header.type == PROTO_EVENT) {
		if (msg->size != sizeof(message->event) || msg->fds || message->header.id)
			goto garbage;
		keep_event(saferaw, &message->event);
		return 0;
	}
	if (message->header.id == saferaw->id)
		return 1;
	if (saferaw->id - message->header.id < UINT32_MAX / 2) {
		msg_close_fds(msg);
		return 0;
	}
garbage:
	msg_close_fds(msg);
	return broken(saferaw, EPROTO);
}

/**
 * wait_ready() - wait for the control socket
 * @saferaw: handle, locked
 * @events: POLLIN or POLLOUT
 * @deadline_ns: on CLOCK_MONOTONIC
 *
 * Return: 0; or -1 and errno, ETIMEDOUT
 */
static int wait_ready(struct saferaw *saferaw, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = {.fd = saferaw->sock, .events = events};
	uint64_t now = clock_ns();
	int n = 0;

	if (now < deadline_ns)
		n = poll(&pfd, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1);
	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	return lib_fail(saferaw, n ? errno : ETIMEDOUT, "slice '%s': the broker does not answer", saferaw->slice);
}

/**
 * accept_reply() - check the form of a reply and give it to the caller
 * @saferaw: handle, locked
 * @type: of the request
 * @message: the reply
 * @msg: its size and file descriptors
 * @size: bytes that a reply of this type has
 * @fd: gets the file descriptor; NULL for a reply that may have none
 *
 * A reply with an error has no file descriptor, one without must have it where
 * one belongs.
 *
 * Return: 0, or -1 and EPROTO
 */
static int accept_reply(struct saferaw *saferaw, uint16_t type, const union message *message, struct msg *msg,
			size_t size, int *fd)
{
	unsigned wanted = fd && !message->reply.error;

	if (message->header.type != type || msg->size != size || msg->fds != wanted || message->reply.error < 0) {
		msg_close_fds(msg);
		return broken(saferaw, EPROTO);
	}
	if (wanted)
		*fd = msg->fd[0];
	return 0;
}

/**
 * lib_take_events() - read what has come, without waiting
 * @saferaw: handle, locked
 */
void lib_take_events(struct saferaw *saferaw)
{
	union message message;
	struct msg msg;
	int n;

	if (saferaw->broken || saferaw->closed)
		return;
	while ((n = take_message(saferaw, &message, &msg)) >= 0)
		if (n)
			msg_close_fds(&msg); /* the last request was given up; its answer is late */
}

/**
 * lib_exchange() - send a request and wait for its reply
 * @saferaw: handle, locked
 * @request: begins with a struct proto_header that has type and size; gets an id
 * @reply: filled in
 * @size: bytes of @reply: what a reply of this type has
 * @fd: set to the file descriptor that came, else untouched; NULL where none may come
 *
 * Return: 0, whatever error the reply holds; or -1 and errno: ECONNRESET, EPROTO, ETIMEDOUT, ENOTCONN, EMFILE
 */
int lib_exchange(struct saferaw *saferaw, void *request, void *reply, size_t size, int *fd)
{
	const uint64_t deadline = clock_ns() + saferaw->wait_ms * NS_PER_MS;
	struct proto_header *header = request;
	union message message;
	struct msg msg;
	int n;

	if (saferaw->closed)
		return lib_fail(saferaw, ENOTCONN, "slice '%s': disconnected", saferaw->slice);
	if (saferaw->broken)
		return broken(saferaw, saferaw->broken);
	header->id = ++saferaw->id ? saferaw->id : ++saferaw->id; /* 0 is for events */
	while (msg_send(saferaw->sock, request, header->size, NULL, 0, MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN) {
			lib_take_events(saferaw); /* it may have said why */
			return broken(saferaw, ECONNRESET);
		}
		if (wait_ready(saferaw, POLLOUT, deadline) < 0)
			return -1;
	}
	while ((n = take_message(saferaw, &message, &msg)) <= 0) {
		if (n < 0 && (errno != EAGAIN || wait_ready(saferaw, POLLIN, deadline) < 0))
			return -1;
	}
	if (accept_reply(saferaw, header->type, &message, &msg, size, fd) < 0)
		return -1;
	memcpy(reply, &message, size);
	return 0;
}

/**
 * lib_ask() - send a request that gives no file descriptor, and take its reply's error for one's own
 * @saferaw: handle, not locked
 * @request: as for lib_exchange()
 * @reply: filled in
 * @size: bytes of @reply
 *
 * Return: 0; or -1 and errno, that of the reply or of lib_exchange()
 */
int lib_ask(struct saferaw *saferaw, void *request, void *reply, size_t size)
{
	union message message;
	int n;

	if (lib_lock(saferaw) < 0)
		return -1;
	n = lib_exchange(saferaw, request, &message, size, NULL);
	if (!n) {
		memcpy(reply, &message, size);
		/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch): broken() never returns 0 */
		if (message.reply.error)
			n = lib_fail(saferaw, message.reply.error, "slice '%s': %m", saferaw->slice);
	}
	lib_unlock(saferaw);
	return n;
}

/** saferaw_next_event() - take the next event (saferaw.h) */
int saferaw_next_event(struct saferaw *saferaw, struct saferaw_event *event)
{
	const struct proto_event *oldest;
	eventfd_t count;
	int n = 0;

	if (lib_lock(saferaw) < 0)
		return -1;
	lib_take_events(saferaw);
	if (saferaw->events) {
		oldest = &saferaw->event[saferaw->first];
		*event = (struct saferaw_event){.type = (int)oldest->event, .flow = oldest->flow};
		addr_to_sockaddr(&oldest->addr, 0, &event->address);
		saferaw->first = (saferaw->first + 1) % LIB_EVENTS_MAX;
		if (!--saferaw->events)
			eventfd_read(saferaw->wake, &count);
		n = 1;
	} else if (saferaw->broken) {
		n = broken(saferaw, saferaw->broken);
	}
	lib_unlock(saferaw);
	return n;
}
