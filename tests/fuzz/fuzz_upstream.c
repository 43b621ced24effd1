/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_upstream.c: a monitor that says anything at all to the relay
 *
 * Where something surprises it the relay is to end, and nothing else is to
 * happen: no byte read too far, nothing half applied and used. An input is a
 * list of messages: mostly of the right size, with numbers that are nearly
 * right and the file descriptors that belong to them, now and then not.
 *
 * upstream.c is compiled into this file, so that its state can be set to the
 * beginning for the next input; and where the relay would end (the linker puts
 * __wrap_log_fatal() in the place of log_fatal()) it comes back here.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "log.h"

static jmp_buf ended;

#define exit(status) longjmp(ended, 1 + !(status))
#include "../../shim/upstream.c" /* NOLINT: see above */
#undef exit

#define MESSAGES_MAX 300

_Noreturn void __wrap_log_fatal(const char *format, ...);

/** __wrap_log_fatal() - the relay would end */
_Noreturn void __wrap_log_fatal(const char *format, ...)
{
	(void)format;
	longjmp(ended, 1);
}

static struct world world;
static struct watch tick;
static int monitor;

/** tick_ready() - so that no turn waits */
static void tick_ready(struct watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
}

/** make_fd() - a file descriptor of the kind that a message brings, or an empty file */
static int make_fd(uint32_t type, unsigned n, bool right)
{
	const off_t sizes[PRIV_NETNS_FDS] = {0, sizeof(struct steer_traffic) * STEER_SLICES_MAX, 0,
					     sizeof(struct steer_link_traffic) * STEER_LINKS_MAX};
	int fd, pair[2];

	if (right && ((type == PRIV_NETNS && n % 2 == 0) || type == PRIV_SLICE)) {
		MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
		close(pair[1]);
		return pair[0];
	}
	fd = memfd_create("map", MFD_CLOEXEC);
	MUST(fd >= 0);
	if (right && type == PRIV_NETNS)
		MUST(ftruncate(fd, sizes[n % PRIV_NETNS_FDS]) == 0);
	if (right && type == PRIV_BLOCK)
		MUST(ftruncate(fd, sizeof(struct steer_open)) == 0);
	return fd;
}

/**
 * fill() - the body of a message: small numbers, and bytes as they are
 * @message: its header is set
 * @script: script
 */
static void fill(union message *message, struct script *script)
{
	uint8_t *body = message->bytes + sizeof(message->header);
	size_t at = 0, size = message->header.size - sizeof(message->header);
	uint8_t how = script_next(script);

	for (; at < size; at += sizeof(uint32_t))
		body[at] = script_next(script);
	if (how % 8 == 0)
		for (at = 0; at < size; at++)
			body[at] ^= script_next(script);
	else if (message->header.type == PRIV_ADDRESS || message->header.type == PRIV_ADDRESS_NEWS)
		message->address.netns %= 2;
	else if (message->header.type == PRIV_NETNS)
		message->netns.netns %= 3;
	else if (message->header.type == PRIV_SLICE) {
		message->slice.slice %= 5;
		message->slice.netns %= 3;
	} else if (size >= sizeof(uint32_t)) /* a slice or a netns */
		body[0] %= 5;
}

/** say() - one message of the monitor */
static void say(struct script *script)
{
	union message message = {.bytes = {0}};
	uint8_t type = script_next(script), how = script_next(script);
	unsigned fds, i;
	size_t size;
	int fd[MSG_FDS_MAX];

	type %= PRIV_TYPES + 1;
	size = type < PRIV_TYPES ? messages[type].size : 16;
	fds = type < PRIV_TYPES ? messages[type].fds : 0;
	if (size < sizeof(message.header))
		size = sizeof(message.header);
	message.header = (struct priv_header){.type = type, .size = (uint32_t)size};
	fill(&message, script);
	if (how % 32 == 1)
		size = how;
	if (how % 32 == 2)
		fds = how % MSG_FDS_MAX;
	if (how % 32 == 3)
		message.header.size++;
	for (i = 0; i < fds; i++)
		fd[i] = make_fd(type, i, how % 32 != 4);
	msg_send(monitor, &message, size < sizeof(message) ? size : sizeof(message), fd, fds, MSG_DONTWAIT);
	for (i = 0; i < fds; i++)
		close(fd[i]);
}

/** play() - the whole script; comes back by longjmp() when the relay would end */
static void play(struct script *script)
{
	int channel[2];
	unsigned i;

	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) == 0);
	monitor = channel[0];
	world.fd_ceiling = 900;
	MUST(loop_init() == 0 && upstream_open(&world, channel[1]) == 0);
	tick = (struct watch){.ready = tick_ready, .fd = eventfd(1, EFD_CLOEXEC)};
	MUST(loop_watch(&tick, EPOLLIN) == 0);
	for (i = 0; i < MESSAGES_MAX && script->left; i++) {
		say(script);
		loop_turn();
	}
}

/** forget() - let go of everything that this relay had */
static void forget(void)
{
	unsigned i, j;

	for (i = 0; i < PRIV_NETNS_MAX; i++)
		for (j = 0; j < STEER_BLOCKS; j++)
			if (upstream.draft.netns[i].open[j])
				munmap(upstream.draft.netns[i].open[j], sizeof(struct steer_open));
	draft_clear(&upstream.draft);
	MUST(commit_draft(&world, &upstream.draft) == 0);
	for (i = 0; i < PRIV_NETNS_MAX; i++)
		MUST(!world.netns[i]);
	for (i = 0; i < STEER_SLICES_MAX; i++)
		MUST(!world.slice[i]);
	upstream.committed = upstream.ready.queued = false;
}

/**
 * LLVMFuzzerTestOneInput() - play one script
 * @input: bytes
 * @size: of them
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct script script;
	static int first = -1;

	if (first < 0) {
		first = dup(STDERR_FILENO);
		close(first);
		log_init("fuzz", -1);
	}
	script = (struct script){.at = input, .left = size};
	if (!setjmp(ended))
		play(&script);
	forget();
	close_range((unsigned)first, ~0U, 0);
	return 0;
}
