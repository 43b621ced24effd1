/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relay.c: saferaw-relay, the process that touches packets and clients
 *
 * Started by saferawd, never by hand: priv.h says which file descriptors it
 * gets. It has its own user and no powers, and first of all shuts itself into
 * a sandbox; what it reads afterwards, from the wire and from clients, is
 * hostile. One thread, one event loop; nothing in it waits but the loop.
 *
 *	relay -- upstream ---- commit, draft	what the monitor says
 *	      `- loop    |---- reception, client	what clients say
 *	                 |      |- opening	   a flow from request to grant
 *	                 |      `- linking	   a link from request to grant
 *	                 |---- receive		TUN -> flows, links
 *	                 |---- translate	links -> TUN, and back
 *	                 `---- send, parking	flows -> TUN
 *	below these: flow, link, hold, readers, deliver, world, and the plain data
 *	structures flowtab, napt, ports, roster, routes, fragments
 *
 * Includes and calls go down in this picture; up it goes through function
 * pointers alone: a watch's, a waiter's, an opening's.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "log.h"
#include "loop.h"
#include "priv.h"
#include "sandbox.h"
#include "upstream.h"
#include "world.h"

#define FDS_KEPT 64 /* for a reload; a quarter of them all, if that is less */

/**
 * fd_ceiling() - from which fd on clients get none
 */
static int fd_ceiling(void)
{
	struct rlimit limit;
	rlim_t kept = FDS_KEPT;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_fatal("cannot read the limit of file descriptors: %m");
	if (limit.rlim_cur > INT32_MAX)
		limit.rlim_cur = INT32_MAX;
	if (kept > limit.rlim_cur / 4)
		kept = limit.rlim_cur / 4;
	return (int)(limit.rlim_cur - kept);
}

/**
 * ignore_signals() - signals for the whole session or service are the monitor's to act on
 *
 * It says so through the channel, or closes it.
 */
static void ignore_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
}

/**
 * main() - the relay
 */
int main(void)
{
	static struct world world;

	log_init("saferaw-relay", LOG_INFO);
	ignore_signals();
	world.fd_ceiling = fd_ceiling();
	if (loop_init() < 0)
		log_fatal("cannot make the event loop: %m");
	sandbox_enter_root(PRIV_FD_ROOT);
	sandbox_drop_powers();
	sandbox_limit();
	sandbox_filter_calls();
	if (upstream_open(&world, PRIV_FD_MONITOR) < 0)
		log_fatal("cannot listen to the monitor: %m");
	while (loop_turn() == 0)
		;
	log_fatal("the event loop is broken: %m");
}
