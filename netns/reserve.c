/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reserve.c: acquiring, releasing and waiting of ports
 *
 * Serves the relay's requests on the table of holds.c. A request is prepared
 * port by port (who else is there, which sockets are missing), the sockets are
 * made in one go, and only then is anything counted or told to steering;
 * whatever fails before leaves the table as it was.
 *
 * A hold whose last reference goes (released, or all at once when the relay
 * dies) stays, covered and marked, until its deadline; its owner can take it
 * up again, nobody else can. Deadlines are rounded up to a tenth of a second,
 * so that many closings do not mean as many sweeps over what waits.
 *
 * What becomes of holds when addresses or the configuration change is in refit.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "holds.h"
#include "priv.h"
#include "reserve.h"
#include "util.h"

#define TICK_NS (100 * NS_PER_MS)
#define SWEEP_MAX 4096 /* holds that end in one sweep: closing sockets takes time, and other work waits */

/**
 * check_request() - whether a request may be granted at all
 * @ns: namespace
 * @slice: configuration
 * @claim: what the request is about
 * @port: set to the first port that is not the slice's
 *
 * Return: 0, or an errno
 */
static int check_request(const struct netns *ns, const struct conf_slice *slice, const struct priv_claim *claim,
			 uint16_t *port)
{
	bool any = claim->address == PRIV_ANY_ADDRESS;
	unsigned p;

	*port = claim->lo;
	if (claim->class >= STEER_CLASSES || claim->lo > claim->hi)
		return EINVAL;
	if (any && claim->family != AF_UNSPEC && claim->family != AF_INET && claim->family != AF_INET6)
		return EINVAL;
	if (!any && !(netns_has_row(ns, claim->address) && ns->address[claim->address].present))
		return EADDRNOTAVAIL;
	for (p = claim->lo; p <= claim->hi; p++)
		if (!holds_owned(ns, slice, claim->class, (uint16_t)p, claim->address)) {
			*port = (uint16_t)p;
			return EACCES;
		}
	/* "any" of all addresses can be held before there is one; named addresses cannot */
	if (any && slice->addresses &&
	    !(holds_claim(ns, slice->number, claim->address, claim->family) &
	      holds_rows(ns, HOLDER_BOTH, NULL, true)))
		return EADDRNOTAVAIL;
	return 0;
}

/**
 * in_the_way() - whether a hold forbids a request
 * @hold: of the same port
 * @slice: the claim's
 * @claim: what the request is about
 * @wanted: addresses that it is about
 */
static bool in_the_way(const struct hold *hold, unsigned slice, const struct priv_claim *claim, uint64_t wanted)
{
	if (hold->stale || hold->standing || (hold->slice == slice && hold->uid == claim->uid))
		return false;
	if (hold->claim & wanted)
		return true;
	/* two users' "any" would meet on the first address that comes */
	return hold->slice == slice && hold->address == PRIV_ANY_ADDRESS && claim->address == PRIV_ANY_ADDRESS &&
	       holds_families(hold->family) & holds_families(claim->family);
}

/**
 * let_wait() - a hold has lost its last reference
 * @ns: namespace
 * @hold: hold; freed when it does not wait at all
 * @ms: how long its owner may come back for it
 */
static void let_wait(struct netns *ns, struct hold *hold, unsigned ms)
{
	uint64_t due = clock_ns() + ms * NS_PER_MS + TICK_NS - 1;

	hold->references = 0;
	if (hold->stale || !ms) {
		holds_end(ns, hold);
		return;
	}
	hold->deadline_ns = due - due % TICK_NS;
	LIST_INSERT_HEAD(&ns->reserve->waiting, hold, in_waiting);
}

/**
 * prepare() - everything for a request on one port but the sockets
 * @ns: namespace
 * @slice: number
 * @claim: what the request is about
 * @number: port
 * @job: gets the sockets to be made
 *
 * Return: 0, or -1 and errno; what was made goes with undo()
 */
static int prepare(struct netns *ns, unsigned slice, const struct priv_claim *claim, uint16_t number, struct job *job)
{
	uint64_t wanted = holds_claim(ns, slice, claim->address, claim->family);
	struct port *port = holds_port(ns, claim->class, number);
	struct hold *hold;

	if (!port)
		return -1;
	LIST_FOREACH(hold, &port->holds, in_port)
		if (in_the_way(hold, slice, claim, wanted)) {
			errno = EADDRINUSE;
			return -1;
		}
	hold = holds_find(port, claim->address, claim->family, slice, claim->uid);
	if (!hold) {
		hold = calloc(1, sizeof(*hold));
		if (!hold)
			return -1;
		*hold = (struct hold){.port = port,
				      .slice = slice,
				      .uid = claim->uid,
				      .address = claim->address,
				      .family = claim->address == PRIV_ANY_ADDRESS ? claim->family : 0,
				      .claim = wanted};
		LIST_INSERT_HEAD(&port->holds, hold, in_port);
	} else if (hold->references == UINT32_MAX) {
		errno = ENFILE;
		return -1;
	}
	return covers_plan(job, ns, port, hold, wanted);
}

/**
 * undo() - take back what prepare() made on one port
 * @ns: namespace
 * @class: protocol class
 * @number: port
 */
static void undo(struct netns *ns, uint8_t class, uint16_t number)
{
	struct port *port = ns->reserve->port[class][number];
	struct hold *hold, *next;

	if (!port)
		return;
	for (hold = LIST_FIRST(&port->holds); hold; hold = next) {
		next = LIST_NEXT(hold, in_port);
		if (!hold->references && !hold->deadline_ns) {
			LIST_REMOVE(hold, in_port);
			free(hold);
		}
	}
	holds_settle(ns, port);
}

/**
 * commit() - one more reference on one port
 * @ns: namespace
 * @slice: number
 * @claim: what the request is about
 * @number: port
 */
static void commit(struct netns *ns, unsigned slice, const struct priv_claim *claim, uint16_t number)
{
	struct port *port = ns->reserve->port[claim->class][number];
	struct hold *hold = holds_find(port, claim->address, claim->family, slice, claim->uid);

	if (hold->deadline_ns)
		LIST_REMOVE(hold, in_waiting);
	hold->deadline_ns = 0;
	hold->references++;
	hold->stale = false;
	hold->claim = holds_claim(ns, slice, hold->address, hold->family);
	holds_settle(ns, port);
}

/**
 * reserve_acquire() - hold a range of ports, all or none
 * @ns: namespace
 * @slice: configuration of the claim's slice
 * @claim: what the request is about
 * @port: set to the first port that was in the way
 *
 * Return: 0, or -1 and errno: EADDRINUSE, EACCES, EADDRNOTAVAIL, EMFILE, ENFILE, ENOMEM, EINVAL
 */
int reserve_acquire(struct netns *ns, const struct conf_slice *slice, const struct priv_claim *claim, uint16_t *port)
{
	struct job job = {.limit = &ns->reserve->limit,
			  .netns = ns->conf.name,
			  .failed = claim->lo,
			  .most = covers_room(ns->reserve)};
	unsigned p = claim->lo;
	int rc = 0, error;

	error = holds_set_scope(ns->reserve, slice) < 0 ? ENOMEM : check_request(ns, slice, claim, port);
	if (error) {
		errno = error;
		return -1;
	}
	for (; p <= claim->hi && rc == 0; p++) {
		job.failed = (uint16_t)p;
		rc = prepare(ns, slice->number, claim, (uint16_t)p, &job);
	}
	if (rc == 0)
		rc = covers_make(&job, ns);
	error = errno;
	covers_finish(&job, ns->reserve, rc == 0);
	while (p-- > claim->lo) {
		if (rc == 0)
			commit(ns, slice->number, claim, (uint16_t)p);
		else
			undo(ns, claim->class, (uint16_t)p);
	}
	if (rc < 0) {
		*port = job.failed;
		errno = error;
	}
	return rc;
}

/**
 * reserve_release() - one reference less on a range of ports
 * @ns: namespace
 * @claim: what the request is about
 * @quarantine_ms: how long a port without references stays held
 *
 * Return: 0, or -1 and EINVAL, with nothing changed, if the relay never held one of them
 */
int reserve_release(struct netns *ns, const struct priv_claim *claim, unsigned quarantine_ms)
{
	struct hold *hold;
	unsigned p;

	for (p = claim->lo; p <= claim->hi && claim->class < STEER_CLASSES; p++) {
		hold = holds_find(ns->reserve->port[claim->class][p], claim->address, claim->family, claim->slice,
				  claim->uid);
		if (!hold || !hold->references)
			break;
	}
	if (claim->lo > claim->hi || p <= claim->hi) {
		errno = EINVAL;
		return -1;
	}
	for (p = claim->lo; p <= claim->hi; p++) {
		hold = holds_find(ns->reserve->port[claim->class][p], claim->address, claim->family, claim->slice,
				  claim->uid);
		if (--hold->references == 0)
			let_wait(ns, hold, quarantine_ms);
	}
	return 0;
}

/**
 * reserve_covered() - the addresses on which our own sockets hold a port
 * @ns: namespace
 * @class: protocol class
 * @port: port
 *
 * Return: set of rows; none that is proxied
 */
uint64_t reserve_covered(const struct netns *ns, uint8_t class, uint16_t port)
{
	const struct port *entry = ns->reserve->port[class][port];

	return entry ? holds_covered(ns, entry) : 0;
}

/**
 * reserve_has() - whether an owner has references on all ports of a range
 * @ns: namespace
 * @slice: number
 * @uid: user
 * @range: class and ports; on any address of both families
 */
bool reserve_has(const struct netns *ns, unsigned slice, uid_t uid, const struct policy_range *range)
{
	for (unsigned p = range->lo; p <= range->hi; p++) {
		const struct hold *hold =
			holds_find(ns->reserve->port[range->class][p], PRIV_ANY_ADDRESS, AF_UNSPEC, slice, uid);

		if (!hold || !hold->references || hold->stale)
			return false;
	}
	return true;
}

/**
 * reserve_orphan() - the relay died: nothing has references any more
 * @ns: namespace
 * @grace_ms: how long owners may come back for what they had
 */
void reserve_orphan(struct netns *ns, unsigned grace_ms)
{
	struct port *port, *next_port;
	struct hold *hold, *next;

	for (port = LIST_FIRST(&ns->reserve->ports); port; port = next_port) {
		next_port = LIST_NEXT(port, in_table);
		/* the port goes with its last hold */
		for (hold = LIST_FIRST(&port->holds); hold; hold = next) {
			next = LIST_NEXT(hold, in_port);
			if (hold->references && !hold->standing)
				let_wait(ns, hold, grace_ms);
		}
	}
}

/**
 * reserve_sweep() - let go of what has waited long enough
 * @ns: namespace
 *
 * Return: ms until the next is due, -1 for none
 */
int reserve_sweep(struct netns *ns)
{
	uint64_t now = clock_ns(), due = UINT64_MAX;
	struct hold *hold, *next;
	unsigned ended = 0;

	for (hold = LIST_FIRST(&ns->reserve->waiting); hold; hold = next) {
		next = LIST_NEXT(hold, in_waiting);
		if (hold->deadline_ns <= now) {
			if (++ended > SWEEP_MAX)
				return 0;
			holds_end(ns, hold);
		} else if (hold->deadline_ns < due) {
			due = hold->deadline_ns;
		}
	}
	return due == UINT64_MAX ? -1 : (int)((due - now + NS_PER_MS - 1) / NS_PER_MS);
}

/**
 * reserve_init() - an empty table
 * @ns: namespace; reserve is set
 *
 * Return: 0, or -1 and ENOMEM
 */
int reserve_init(struct netns *ns)
{
	ns->reserve = calloc(1, sizeof(*ns->reserve));
	return ns->reserve ? 0 : -1;
}

/**
 * reserve_free() - let go of everything
 * @ns: namespace; reserve is NULL afterwards
 */
void reserve_free(struct netns *ns)
{
	struct hold *hold;
	struct port *port;
	unsigned i;

	if (!ns->reserve)
		return;
	while ((port = LIST_FIRST(&ns->reserve->ports))) {
		hold = LIST_FIRST(&port->holds);
		holds_end(ns, hold);
	}
	for (i = 0; i < STEER_SLICES_MAX; i++)
		free(ns->reserve->scope[i]);
	free(ns->reserve);
	ns->reserve = NULL;
}
