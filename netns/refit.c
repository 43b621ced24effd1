/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * refit.c: what a change of addresses or configuration does to the ports that are held
 *
 * An address that comes is one more for every hold on any address of a slice
 * that has it, so claims, covers and marks are made anew. They are after a reload,
 * too, which may have changed the addresses of a slice.
 *
 * After a reload a hold may be outside its slice's configuration. Without
 * references it goes at once. With them it becomes stale: no claim, no cover,
 * in nobody's way, but there until the relay, which learns of the reload
 * later, has released it: a relay that releases what it does not hold is
 * taken for an enemy.
 *
 * With "hold = always" a slice has a standing hold on each of its ports, which
 * no flow knows of: the sockets are there from the start, and what a flow
 * acquires finds them made. Another socket on such a port does not keep the
 * slice from being served: it is named in the log, the rest is held, and the
 * next reload tries again.
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "holds.h"
#include "priv.h"
#include "reserve.h"
#include "util.h"

#define FILES_FOR_OTHERS 256 /* than standing holds */

/**
 * reserve_extend() - after a change of addresses or scopes: claims, covers and marks anew
 * @ns: namespace, its table of addresses up to date
 *
 * What cannot be covered any more, because another socket has it by now, is
 * logged and stays unmarked.
 */
void reserve_extend(struct netns *ns)
{
	struct job job = {.best_effort = true, .limit = &ns->reserve->limit, .netns = ns->conf.name};
	struct port *port, *next;
	struct hold *hold;
	int rc = 0;

	for (port = LIST_FIRST(&ns->reserve->ports); port; port = LIST_NEXT(port, in_table)) {
		LIST_FOREACH(hold, &port->holds, in_port)
			if (!hold->stale)
				hold->claim = holds_claim(ns, hold->slice, hold->address, hold->family);
		if (!holder_for_all(port->class) && rc == 0)
			rc = covers_plan_each(&job, ns, port, holds_claims(port));
	}
	if (rc == 0)
		rc = covers_make(&job, ns);
	if (rc < 0)
		log_error("%s: cannot extend reservations: %m", ns->conf.name);
	covers_finish(&job, ns->reserve, rc == 0);
	for (port = LIST_FIRST(&ns->reserve->ports); port; port = next) {
		next = LIST_NEXT(port, in_table);
		holds_settle(ns, port);
	}
}

/**
 * stand_on() - a standing hold on one port
 * @ns: namespace
 * @slice: number
 * @class: protocol class
 * @number: port
 * @job: gets the sockets that are still to be made
 *
 * Return: 0, or -1 and ENOMEM
 */
static int stand_on(struct netns *ns, unsigned slice, uint8_t class, uint16_t number, struct job *job)
{
	struct port *port = holds_port(ns, class, number);
	struct hold *hold;

	if (!port)
		return -1;
	LIST_FOREACH(hold, &port->holds, in_port)
		if (hold->standing && hold->slice == slice)
			break;
	if (!hold) {
		hold = calloc(1, sizeof(*hold));
		if (!hold) {
			holds_settle(ns, port);
			return -1;
		}
		*hold = (struct hold){.port = port,
				      .references = 1,
				      .slice = slice,
				      .uid = UINT32_MAX,
				      .address = PRIV_ANY_ADDRESS,
				      .family = AF_UNSPEC,
				      .standing = true};
		LIST_INSERT_HEAD(&port->holds, hold, in_port);
	}
	hold->claim = holds_claim(ns, slice, PRIV_ANY_ADDRESS, AF_UNSPEC);
	return covers_plan(job, ns, port, hold, hold->claim);
}

/**
 * stand() - hold all ports of a slice, as far as that is possible
 * @ns: namespace
 * @slice: configuration of a slice of it
 *
 * A port that another socket has on one address can still be held on the
 * others: reserve_extend(), which follows, sees to that, and names what it cannot hold.
 */
static void stand(struct netns *ns, const struct conf_slice *slice)
{
	struct job job = {.best_effort = true, .again = true, .limit = &ns->reserve->limit, .netns = ns->conf.name};
	int rc = holds_set_scope(ns->reserve, slice);
	unsigned i, p;

	for (i = 0; i < slice->ranges; i++)
		for (p = slice->range[i].lo; p <= slice->range[i].hi && rc == 0; p++)
			rc = stand_on(ns, slice->number, slice->range[i].class, (uint16_t)p, &job);
	if (rc == 0)
		rc = covers_make(&job, ns);
	if (rc < 0)
		log_error("%s: cannot hold the ports of slice %s: %m", ns->conf.name, slice->name);
	covers_finish(&job, ns->reserve, rc == 0);
}

/**
 * reserve_refit() - after a reload, and at the start: let go of what no slice covers any more, hold what is always
 * held
 * @ns: namespace
 * @conf: the new configuration
 */
void reserve_refit(struct netns *ns, const struct conf *conf)
{
	const struct conf_slice *by_number[STEER_SLICES_MAX] = {0};
	struct port *port, *next_port;
	struct hold *hold, *next;
	unsigned i;

	for (i = 0; i < conf->slices; i++) {
		const struct conf_slice *slice = &conf->slice[i];

		if (!netns_has_slice(ns, conf, slice))
			continue;
		by_number[slice->number] = slice;
		if (ns->reserve->scope[slice->number])
			holds_set_scope(ns->reserve, slice);
	}
	for (port = LIST_FIRST(&ns->reserve->ports); port; port = next_port) {
		next_port = LIST_NEXT(port, in_table);
		for (hold = LIST_FIRST(&port->holds); hold; hold = next) {
			const struct conf_slice *slice = by_number[hold->slice];

			next = LIST_NEXT(hold, in_port);
			if (slice && holds_owned(ns, slice, port->class, port->number, hold->address) &&
			    (slice->hold_always || !hold->standing))
				continue;
			hold->stale = true;
			if (!hold->references || hold->standing)
				holds_end(ns, hold);
		}
	}
	for (i = 0; i < ARRAY_SIZE(by_number); i++)
		if (by_number[i] && by_number[i]->hold_always)
			stand(ns, by_number[i]);
	reserve_extend(ns);
}

/**
 * reserve_fits() - whether all that is to be held from the start fits the limit of open files
 * @conf: configuration
 *
 * Return: false after a log line
 */
bool reserve_fits(const struct conf *conf)
{
	uint64_t sockets = 0;
	struct rlimit files;
	unsigned i, j;

	for (i = 0; i < conf->slices; i++) {
		const struct conf_slice *slice = &conf->slice[i];

		for (j = 0; slice->hold_always && j < slice->ranges; j++)
			sockets +=
				(uint64_t)(slice->range[j].hi - slice->range[j].lo + 1) *
				(slice->addresses && !holder_for_all(slice->range[j].class) ? slice->addresses : 1);
	}
	if (!sockets || getrlimit(RLIMIT_NOFILE, &files) < 0 || sockets + FILES_FOR_OTHERS <= files.rlim_cur)
		return true;
	log_error("hold = always: %ju ports to be held need as many sockets and %d files more, but the limit of open "
		  "files (RLIMIT_NOFILE) is %ju",
		  (uintmax_t)sockets, FILES_FOR_OTHERS, (uintmax_t)files.rlim_cur);
	return false;
}
