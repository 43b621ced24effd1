/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop.c: the relay's one event loop (epoll)
 *
 * Level-triggered, so that a handler may stop at its budget and will be called
 * again. The fd's owner embeds a struct watch and is found from it. A handler
 * may close any watch, also one whose event is later in the batch that is
 * being served: loop_close() takes such events back, so whatever is closed may
 * be freed at once.
 *
 * Few things take long, and those are counted: opening and closing many ports
 * at once. When a turn has done enough of that, more of it waits for the next
 * turn, and whatever is short goes first.
 *
 * A watch without interest leaves the epoll set: epoll tells hang-ups of
 * whatever is in it, asked or not, and would do so in every turn.
 *
 * To be woken from sleep on an idle CPU costs more than all that the relay
 * does with a packet. So before it sleeps it looks again and again for a short
 * time, but only while that pays: when the last events came sooner than that
 * after the turn before. Conversations of questions and answers are such a
 * time; a relay with little to do sleeps at once. Between two looks it offers
 * its CPU to whoever waits for it, who may be the one to send the next packet.
 */
#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "util.h"

#define BATCH 256      /* events of one turn */
#define WORK_SHORT 256 /* ports: less than this is never put off */
#define WORK_MAX 4096  /* ports in one turn: about a millisecond */
#define POLL_NS 50000  /* a wait shorter than this is worth polling for: about what a wake-up costs at worst */

static struct {
	int fd;
	int count, at; /* of the batch: how many, and which one is being served */
	unsigned work; /* done in this turn, ports */
	uint64_t turns;
	bool polls; /* the last wait was short */
	struct epoll_event event[BATCH];
} loop = {.fd = -1};

/**
 * loop_init() - make the epoll instance
 *
 * Return: 0, or -1 and errno.
 */
int loop_init(void)
{
	loop.fd = epoll_create1(EPOLL_CLOEXEC);
	return loop.fd < 0 ? -1 : 0;
}

/**
 * loop_watch() - change what is watched for
 * @watch: fd and ready are set
 * @events: EPOLL bits, 0 for none
 *
 * Return: 0, or -1 and errno (ENOMEM, ENOSPC), only when the fd was not watched before.
 */
int loop_watch(struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	int op = EPOLL_CTL_MOD;

	if (events == watch->events)
		return 0;
	if (!watch->events)
		op = EPOLL_CTL_ADD;
	else if (!events)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(loop.fd, op, watch->fd, &event) < 0)
		return -1;
	watch->events = events;
	return 0;
}

/**
 * loop_close() - close a watched fd and forget the events that it had
 * @watch: its fd is -1 afterwards; it may be freed
 */
void loop_close(struct watch *watch)
{
	int i;

	loop_watch(watch, 0);
	for (i = loop.at + 1; i < loop.count; i++)
		if (loop.event[i].data.ptr == watch)
			loop.event[i].data.ptr = NULL;
	close_fd(&watch->fd);
}

/**
 * look() - see which events there are, without waiting
 *
 * Return: how many, or -1 and errno.
 */
static int look(void)
{
	return epoll_wait(loop.fd, loop.event, BATCH, 0);
}

/**
 * await() - wait for events
 *
 * Return: how many, or -1 and errno.
 */
static int await(void)
{
	uint64_t start = clock_ns();
	int n = look();

	while (loop.polls && n == 0 && clock_ns() - start < POLL_NS) {
		sched_yield();
		n = look();
	}
	if (n == 0)
		n = epoll_wait(loop.fd, loop.event, BATCH, -1);
	loop.polls = clock_ns() - start < POLL_NS;
	return n;
}

/**
 * loop_turn() - wait for events and serve them
 *
 * Return: 0, or -1 and errno when epoll fails.
 */
int loop_turn(void)
{
	int n = await();

	if (n < 0)
		return errno == EINTR ? 0 : -1;
	loop.count = n;
	loop.work = 0;
	loop.turns++;
	for (loop.at = 0; loop.at < loop.count; loop.at++) {
		struct watch *watch = loop.event[loop.at].data.ptr;

		if (watch && watch->events)
			watch->ready(watch, loop.event[loop.at].events);
	}
	loop.count = 0;
	return 0;
}

/**
 * loop_turns() - which turn this is
 *
 * Return: turns until now, this one included; 0 before the first
 */
uint64_t loop_turns(void)
{
	return loop.turns;
}

/**
 * loop_spend() - note that this turn has done something long
 * @work: ports
 */
void loop_spend(unsigned work)
{
	loop.work += work;
}

/**
 * loop_late() - whether something had better wait for the next turn
 * @work: ports
 *
 * Return: true when it is long and this turn has done enough. The caller
 * leaves the event alone then, and it comes again.
 */
bool loop_late(unsigned work)
{
	return work >= WORK_SHORT && loop.work >= WORK_MAX;
}
