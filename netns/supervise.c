/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * supervise.c: the monitor's main loop
 *
 * The loop waits for signals, the relay's requests and death, and news of
 * each namespace; once a second it tells steering that the monitor lives and
 * lets go of ports whose time is over. There are few file descriptors and
 * they change with every reload and restart, so the list is made anew for
 * each poll(2) and cannot be out of date.
 *
 * Start-up is the same loop: the relay's first PRIV_READY ends it, and a
 * relay that dies before that ends the monitor.
 */
#include "supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "reload.h"
#include "reserve.h"
#include "steering.h"
#include "uplink.h"
#include "util.h"

#define READY_NS (10 * NS_PER_S) /* from a relay's start to its PRIV_READY */
#define SWEEP_MIN_MS 50          /* between two looks at ports whose time is over */

enum { AT_SIGNAL, AT_DEATH, AT_REQUEST, AT_NETNS, AT_ALL = AT_NETNS + PRIV_NETNS_MAX };

struct loop {
	struct monitor *m;
	struct notify *notify;
	int signal_fd;
	bool started; /* the first relay has become ready */
	bool stop;
	uint64_t beat_ns, sweep_ns; /* when they are due */
};

/**
 * take_signal() - end, or reload
 * @loop: the loop
 */
static void take_signal(struct loop *loop)
{
	struct signalfd_siginfo info;

	if (read(loop->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP) {
		loop->stop = true;
		return;
	}
	notify_reloading(loop->notify);
	reload(loop->m);
	if (loop->started)
		notify_ready(loop->notify);
}

/**
 * start_relay() - start a relay and configure it
 * @loop: the loop
 *
 * Return: 0, or -1 when there is none.
 */
static int start_relay(struct loop *loop)
{
	if (relay_start(&loop->m->relay, loop->m->conf) < 0)
		return -1;
	monitor_tell_all(loop->m);
	return 0;
}

/**
 * beat() - once a second
 * @loop: the loop
 * @now: CLOCK_MONOTONIC, ns
 */
static void beat(struct loop *loop, uint64_t now)
{
	struct monitor *m = loop->m;

	loop->beat_ns = now + NS_PER_S;
	steering_beat();
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++) {
		if (m->netns[i] && m->unread[i])
			monitor_news(m, i);
		if (m->netns[i] && m->broken[i])
			reload_mend(m, i);
	}
}

/**
 * sweep() - let go of ports whose time is over
 * @loop: the loop
 * @now: CLOCK_MONOTONIC, ns
 *
 * A port that is released after this is looked at a second later at most.
 */
static void sweep(struct loop *loop, uint64_t now)
{
	int next_ms = 1000;

	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++) {
		int ms = loop->m->netns[i] ? reserve_sweep(loop->m->netns[i]) : -1;

		if (ms >= 0 && ms < next_ms)
			next_ms = ms;
	}
	loop->sweep_ns = now + (uint64_t)(next_ms < SWEEP_MIN_MS ? SWEEP_MIN_MS : next_ms) * NS_PER_MS;
}

/**
 * keep_time() - do what is due
 * @loop: the loop
 *
 * Return: 0, or -1 when the relay could not be started for the first time.
 */
static int keep_time(struct loop *loop)
{
	struct relay *relay = &loop->m->relay;
	uint64_t now = clock_ns();

	if (now >= loop->beat_ns)
		beat(loop, now);
	if (now >= loop->sweep_ns)
		sweep(loop, now);
	if (relay->pidfd < 0 && now >= relay->next_ns && start_relay(loop) < 0 && !loop->started)
		return -1;
	if (relay->channel >= 0 && !relay->ready && now > relay->started_ns + READY_NS) {
		log_error("relay: killed: it does not become ready");
		relay_kill(relay);
	}
	if (relay->ready && !loop->started) {
		loop->started = true;
		log_info("ready");
		notify_ready(loop->notify);
	}
	return 0;
}

/**
 * wait_ms() - how long there is nothing to do
 * @loop: the loop
 */
static int wait_ms(const struct loop *loop)
{
	const struct relay *relay = &loop->m->relay;
	uint64_t now = clock_ns(), due = loop->beat_ns < loop->sweep_ns ? loop->beat_ns : loop->sweep_ns;

	if (relay->pidfd < 0 && relay->next_ns < due)
		due = relay->next_ns;
	return due <= now ? 0 : (int)((due - now) / NS_PER_MS) + 1;
}

/**
 * list() - what to wait for
 * @loop: the loop
 * @wait: filled in; poll(2) passes over what is not open
 */
static void list(const struct loop *loop, struct pollfd wait[static AT_ALL])
{
	const struct monitor *m = loop->m;

	wait[AT_SIGNAL].fd = loop->signal_fd;
	wait[AT_DEATH].fd = m->relay.pidfd;
	wait[AT_REQUEST].fd = m->relay.channel;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		wait[AT_NETNS + i].fd = m->netns[i] && !m->unread[i] ? uplink_fd(m->netns[i]) : -1;
	for (unsigned i = 0; i < AT_ALL; i++)
		wait[i].events = POLLIN;
}

/**
 * take_events() - do what poll(2) found
 * @loop: the loop
 * @found: its answer
 *
 * A reload closes namespaces and opens others, so it comes last.
 *
 * Return: 0, or -1 when the first relay died before it was ready.
 */
static int take_events(struct loop *loop, const struct pollfd found[static AT_ALL])
{
	struct monitor *m = loop->m;

	if (found[AT_DEATH].revents) {
		monitor_relay_died(m);
		if (!loop->started)
			return -1;
	} else if (found[AT_REQUEST].revents) {
		monitor_requests(m);
	}
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (found[AT_NETNS + i].revents)
			monitor_news(m, i);
	if (found[AT_SIGNAL].revents)
		take_signal(loop);
	return 0;
}

/**
 * supervise() - run until a signal ends it
 * @m: the monitor, with its namespaces attached and its control sockets open
 * @notify: who wants to know when it is ready
 * @signal_fd: SIGHUP reloads, other signals end
 *
 * Return: 0 after such a signal, or -1 after a log line when start-up failed.
 */
int supervise(struct monitor *m, struct notify *notify, int signal_fd)
{
	struct loop loop = {.m = m, .notify = notify, .signal_fd = signal_fd};
	struct pollfd wait[AT_ALL];

	while (!loop.stop) {
		if (keep_time(&loop) < 0)
			return -1;
		list(&loop, wait);
		if (poll(wait, AT_ALL, wait_ms(&loop)) < 0) {
			if (errno == EINTR)
				continue;
			log_error("poll: %m");
			return -1;
		}
		if (take_events(&loop, wait) < 0) {
			log_error("the relay did not become ready");
			return -1;
		}
	}
	return 0;
}
