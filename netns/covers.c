/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * covers.c: which sockets a hold needs, and making them
 *
 * A hold on "any" of a slice that owns all addresses takes all addresses of its
 * families in one socket, later ones included; but a family of which one
 * address is covered already is covered address by address, because a socket
 * for all cannot be bound beside it. Every other hold is covered address by
 * address. What is covered already needs nothing, and neither does a proxied
 * prefix.
 *
 * Sockets for a whole request are planned first, with all memory that they
 * need, and made in one visit to the namespace, so that afterwards only a
 * refusal by the kernel can have happened, and is undone whole.
 *
 * A request that needs more sockets than there is room for is refused while it
 * is planned, before the costly part: whoever asks for too much, again and
 * again, must not keep the monitor from its work. Some file descriptors are
 * kept back, without which a relay could not be started nor a reload be done.
 *
 * A second's work takes many seconds on a busy machine. Steering is told all
 * the while that the monitor lives, or it would take its hands off everybody's
 * packets.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "holds.h"
#include "priv.h"
#include "proxied.h"
#include "steering.h"
#include "util.h"

#define AT_ONCE 65536  /* sockets for one request: about a second's work */
#define FILES_KEPT 256 /* for all else that the monitor opens; a quarter of its files, if that is less */

/**
 * ceiling() - from which file descriptor on there are no sockets for ports
 */
static size_t ceiling(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 0;
	if (files.rlim_cur > INT32_MAX)
		files.rlim_cur = INT32_MAX;
	return files.rlim_cur - (files.rlim_cur / 4 < FILES_KEPT ? files.rlim_cur / 4 : FILES_KEPT);
}

/**
 * plan() - put one cover on a job
 * @job: job
 * @port: port
 * @of: HOLDER_ bits for all addresses of these families, 0 for one address
 * @index: of that one
 * @addr: that one
 *
 * Return: 0, or -1 and ENOMEM, EMFILE
 */
static int plan(struct job *job, struct port *port, unsigned of, unsigned index, const struct addr *addr)
{
	size_t room = job->room ? job->room * 2 : 64;
	struct cover **grown, *cover;

	if (job->n >= job->most && !job->best_effort) {
		job->failed = port->number;
		errno = EMFILE;
		return -1;
	}
	if (job->n == job->room) {
		grown = reallocarray(job->cover, room, sizeof(struct cover *));
		if (!grown)
			return -1;
		job->cover = grown;
		job->room = room;
	}
	cover = calloc(1, sizeof(*cover));
	if (!cover)
		return -1;
	cover->port = port;
	cover->index = index;
	cover->holder = (struct holder){
		.class = port->class, .families = (uint8_t)of, .port = port->number, .addr = *addr, .fd = -1};
	job->cover[job->n++] = cover;
	return 0;
}

/**
 * covers_plan_each() - cover addresses one by one
 * @job: job
 * @ns: namespace
 * @port: port
 * @set: addresses; those that are covered or not present are left out
 *
 * Return: 0, or -1 and ENOMEM
 */
int covers_plan_each(struct job *job, const struct netns *ns, struct port *port, uint64_t set)
{
	unsigned i;

	set &= ~holds_covered(ns, port) & holds_rows(ns, HOLDER_BOTH, NULL, true);
	for (i = 0; i < ns->addresses; i++)
		if (set >> i & 1 && plan(job, port, 0, i, &ns->address[i].addr) < 0)
			return -1;
	return 0;
}

/**
 * covers_plan() - cover what a new hold is about
 * @job: job
 * @ns: namespace
 * @port: port
 * @hold: hold, on the port already
 * @wanted: what it will claim
 *
 * Return: 0, or -1 and ENOMEM
 */
int covers_plan(struct job *job, const struct netns *ns, struct port *port, const struct hold *hold, uint64_t wanted)
{
	static const struct addr any;
	unsigned missing = holds_families(hold->family), each = 0;
	const struct cover *cover;

	if (hold->address != PRIV_ANY_ADDRESS && proxied_row(hold->address))
		return 0;
	if (holder_for_all(port->class))
		return LIST_EMPTY(&port->covers) ? plan(job, port, HOLDER_BOTH, 0, &any) : 0;
	if (hold->address != PRIV_ANY_ADDRESS || ns->reserve->scope[hold->slice]->addresses)
		return covers_plan_each(job, ns, port, wanted);
	LIST_FOREACH(cover, &port->covers, in_port) {
		missing &= ~(unsigned)cover->holder.families;
		if (!cover->holder.families)
			each |= holds_families(addr_family(&cover->holder.addr));
	}
	if (missing & ~each && plan(job, port, missing & ~each, 0, &any) < 0)
		return -1;
	return covers_plan_each(job, ns, port, wanted & holds_rows(ns, missing & each, NULL, true));
}

/**
 * open_holder() - make one socket; errors in the words of struct priv_reserved
 * @job: job
 * @holder: what to hold
 * @end: file descriptors from this one on are for other uses
 *
 * What the kernel says about us (no privilege, no such family) must not look
 * like an answer about the slice's rights.
 *
 * Return: 0, or -1 and errno
 */
static int open_holder(struct job *job, struct holder *holder, size_t end)
{
	if (holder_open(holder) == 0) {
		if (holder->fd < 0 || (size_t)holder->fd < end)
			return 0;
		close_fd(&holder->fd);
		errno = EMFILE;
		return -1;
	}
	if (errno != EACCES && errno != EPERM && errno != EAFNOSUPPORT)
		return -1;
	log_limited(job->limit, LOG_WARNING, "%s: cannot hold %s %u: %m", job->netns,
		    policy_class_name(holder->class), holder->port);
	errno = EADDRNOTAVAIL;
	return -1;
}

/**
 * open_covers() - make a job's sockets, inside the namespace
 * @arg: struct job
 *
 * Return: 0, or -1 and errno with job->failed set
 */
static int open_covers(void *arg)
{
	struct job *job = arg;
	size_t i, end = ceiling();

	for (i = 0; i < job->n; i++) {
		struct holder *holder = &job->cover[i]->holder;

		steering_beat();
		if (open_holder(job, holder, end) == 0)
			continue;
		if (!job->best_effort) {
			job->failed = holder->port;
			return -1;
		}
		if (!job->again || holder_for_all(holder->class) || !holder->families)
			log_limited(job->limit, LOG_WARNING,
				    "%s: cannot hold %s %u on all addresses, it stays shut there: %m", job->netns,
				    policy_class_name(holder->class), holder->port);
		free(job->cover[i]);
		job->cover[i] = NULL;
	}
	return 0;
}

/**
 * covers_make() - make the planned covers
 * @job: job
 * @ns: namespace
 *
 * Return: 0, or -1 and errno; covers_finish() in either case
 */
int covers_make(struct job *job, const struct netns *ns)
{
	return job->n ? netns_call(ns, open_covers, job) : 0;
}

/**
 * covers_room() - how many sockets one request may need now
 * @r: table
 */
size_t covers_room(const struct reserve *r)
{
	size_t most = ceiling(), left = r->covers < most ? most - r->covers : 0;

	return left < AT_ONCE ? left : AT_ONCE;
}

/**
 * covers_finish() - put a job's covers where they belong, or give them up
 * @job: its list is freed
 * @r: table
 * @keep: whether they were made
 */
void covers_finish(struct job *job, struct reserve *r, bool keep)
{
	size_t i;

	for (i = 0; i < job->n; i++) {
		steering_beat();
		if (job->cover[i] && keep) {
			LIST_INSERT_HEAD(&job->cover[i]->port->covers, job->cover[i], in_port);
			r->covers++;
		}
		if (job->cover[i] && !keep) {
			close_fd(&job->cover[i]->holder.fd);
			free(job->cover[i]);
		}
	}
	free(job->cover);
}
