/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stand_in.c: a broker for tests of the library, in a thread
 *
 * One client at a time: a connection is served until it ends, then the next
 * one is accepted. The thread ends when the listening socket is shut down.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "msg.h"
#include "stand_in.h"
#include "util.h"

struct stand_in stand_in;

static pthread_t thread;
static int listener;
static struct sockaddr_un address;

/* The reply under way; FAULT_SILENT leaves it for stand_in_late() */
static union {
	struct proto_header header;
	struct proto_hello_reply hello;
	struct proto_info_reply info;
	struct proto_opened opened;
	struct proto_route_reply route;
	struct proto_stats_reply stats;
	uint8_t bytes[PROTO_MESSAGE_MAX * 2];
} reply;
static int reply_fd;
static sem_t held; /* posted for each that is left */

/**
 * send_bytes() - send a message to the client
 * @size: of it, in `reply`
 * @fds: how many copies of reply_fd to pass
 */
static void send_bytes(size_t size, unsigned fds)
{
	int fd[2] = {reply_fd, reply_fd};

	msg_send(stand_in.control, &reply, size, fd, fds, 0);
}

/**
 * stand_in_event() - send an event to the client
 * @event: PROTO_EVENT_
 * @flow: number
 * @addr: or NULL
 */
void stand_in_event(uint32_t event, uint64_t flow, const struct addr *addr)
{
	struct proto_event message = {
		.header = {.type = PROTO_EVENT, .size = sizeof(message)}, .event = event, .flow = flow};

	if (addr)
		message.addr = *addr;
	ck_assert_int_eq(msg_send(stand_in.control, &message, sizeof(message), NULL, 0, 0), 0);
}

/**
 * send_event_fault() - send an event that is none
 * @id: of it
 * @more: bytes too many
 */
static void send_event_fault(uint32_t id, uint16_t more)
{
	union {
		struct proto_event event;
		uint8_t bytes[sizeof(struct proto_event) + 8];
	} message = {.event = {.header = {PROTO_EVENT, (uint16_t)(sizeof(struct proto_event) + more), id}}};

	msg_send(stand_in.control, &message, message.event.header.size, NULL, 0, 0);
}

/**
 * send_faulty() - send the reply with a fault
 * @fault: fault
 * @fds: file descriptors that belong to the reply
 */
static void send_faulty(enum stand_in_fault fault, unsigned fds)
{
	size_t size = reply.header.size;

	switch (fault) {
	case FAULT_SHORT:
		send_bytes(4, 0);
		return;
	case FAULT_SIZE:
		send_bytes(size - 4, 0);
		return;
	case FAULT_TRUNCATED:
		reply.header.size -= 4;
		send_bytes(size - 4, fds);
		return;
	case FAULT_HEADER:
		reply.header.size -= 4;
		break;
	case FAULT_TYPE:
		reply.header.type = reply.header.type == PROTO_PORT ? PROTO_INFO : PROTO_PORT;
		break;
	case FAULT_FUTURE_ID:
		reply.header.id += 5;
		break;
	case FAULT_NO_FD:
		fds = 0;
		break;
	case FAULT_EXTRA_FD:
		fds++;
		break;
	case FAULT_ERROR_SIGN:
		reply.hello.error = -EPERM; /* in the same place in every reply */
		break;
	case FAULT_LONG:
		send_bytes(sizeof(reply), 0);
		return;
	case FAULT_EVENT_ID:
		send_event_fault(7, 0);
		return;
	case FAULT_EVENT_SIZE:
		send_event_fault(0, 8);
		return;
	default:
		break;
	}
	send_bytes(size, fds);
}

/**
 * fill_opened() - the reply to PROTO_OPEN
 *
 * Return: file descriptors that go with it
 */
static unsigned fill_opened(void)
{
	const struct proto_open *open = &stand_in.open;
	int pair[2];

	reply.opened = (struct proto_opened){.error = stand_in.open_error,
					     .port = open->port ? open->port : stand_in.port,
					     .count = stand_in.count ? stand_in.count : open->count,
					     .flow = stand_in.seen[PROTO_OPEN] + 1,
					     .local = open->local};
	if (stand_in.open_error) {
		memset(reply.opened.text, 'x', sizeof(reply.opened.text)); /* not terminated */
		return 0;
	}
	close_fd(&stand_in.flow);
	close_fd(&reply_fd);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	stand_in.flow = pair[0];
	reply_fd = pair[1];
	return 1;
}

/**
 * fill_reply() - the reply to a request
 * @request: request
 *
 * Return: file descriptors that go with it
 */
static unsigned fill_reply(const struct proto_header *request)
{
	static const uint16_t sizes[PROTO_TYPES] = {
		[PROTO_HELLO] = sizeof(reply.hello), [PROTO_INFO] = sizeof(reply.info),
		[PROTO_OPEN] = sizeof(reply.opened), [PROTO_ROUTE] = sizeof(reply.route),
		[PROTO_STATS] = sizeof(reply.stats),
	};
	unsigned fds = 0;

	memset(&reply, 0, sizeof(reply));
	if (request->type == PROTO_HELLO) {
		reply.hello.error = stand_in.hello_error;
		reply.hello.version = stand_in.version;
		memcpy(reply.hello.slice, stand_in.slice, sizeof(reply.hello.slice));
	} else if (request->type == PROTO_INFO) {
		reply.info = stand_in.info;
	} else if (request->type == PROTO_OPEN) {
		fds = fill_opened();
	} else if (request->type == PROTO_ROUTE) {
		reply.route.error = stand_in.route_error;
		reply.route.mtu = stand_in.mtu;
		reply.route.source = stand_in.source;
	} else {
		reply.stats = stand_in.stats;
		reply.stats.error = stand_in.stats_error;
	}
	reply.header = (struct proto_header){request->type, sizes[request->type], request->id};
	return fds;
}

/**
 * answer() - answer one request
 * @request: request
 *
 * Return: whether the conversation goes on
 */
static bool answer(const struct proto_header *request)
{
	enum stand_in_fault fault = FAULT_NONE;
	unsigned i, fds;

	if (request->type == stand_in.at)
		fault = atomic_exchange(&stand_in.fault, FAULT_NONE);
	for (i = 0; i < stand_in.events; i++)
		stand_in_event(stand_in.event, i, NULL);
	fds = fill_reply(request);
	atomic_fetch_add(&stand_in.seen[request->type], 1);
	if (fault == FAULT_CLOSE)
		return false;
	if (fault == FAULT_SILENT)
		sem_post(&held);
	else
		send_faulty(fault, fds);
	return true;
}

/**
 * stand_in_held() - wait until FAULT_SILENT has held a reply back
 *
 * The client gives a request up after a time, and the thread may not have run in that time.
 */
void stand_in_held(void)
{
	while (sem_wait(&held) < 0)
		;
}

/**
 * stand_in_late() - send the reply that FAULT_SILENT held back
 */
void stand_in_late(void)
{
	send_bytes(reply.header.size, reply.header.type == PROTO_OPEN && !reply.opened.error);
}

/**
 * stand_in_hang_up() - end the conversation from the broker's side
 */
void stand_in_hang_up(void)
{
	shutdown(stand_in.control, SHUT_RDWR);
}

/**
 * serve() - the thread: one client after the other
 */
static void *serve(void *arg)
{
	union {
		struct proto_header header;
		struct proto_open open;
		uint8_t bytes[PROTO_MESSAGE_MAX];
	} request;
	struct msg msg;

	while ((stand_in.control = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		while (msg_recv(stand_in.control, &request, sizeof(request), &msg, 0) > 0) {
			if (request.header.type == PROTO_OPEN)
				stand_in.open = request.open;
			if (!answer(&request.header))
				break;
		}
		close_fd(&stand_in.control);
	}
	return arg;
}

/**
 * stand_in_start() - start with good manners
 * @dir: run directory, exists
 * @slice: name
 */
void stand_in_start(const char *dir, const char *slice)
{
	char path[sizeof(address.sun_path)];

	memset(&stand_in, 0, sizeof(stand_in));
	stand_in.version = PROTO_VERSION;
	stand_in.flow = stand_in.control = reply_fd = -1;
	stand_in.port = 40007;
	ck_assert_int_eq(sem_init(&held, 0, 0), 0);
	snprintf(stand_in.slice, sizeof(stand_in.slice), "%s", slice);
	snprintf(path, sizeof(path), "%s/slices", dir);
	mkdir(path, 0755);
	address.sun_family = AF_UNIX;
	snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/slices/%.31s.sock", dir, slice);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

/**
 * stand_in_stop() - stop, after the client has disconnected
 */
void stand_in_stop(void)
{
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close_fd(&listener);
	close_fd(&stand_in.flow);
	close_fd(&reply_fd);
	sem_destroy(&held);
	unlink(address.sun_path);
}
