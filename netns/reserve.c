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
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "holds.h"
#include "priv.h"
#include "proxied.h"
#include "reserve.h"
#include "util.h"

#define TICK_NS (100 * NS_PER_MS)
#define SWEEP_MAX 4096       /* holds that end in one sweep: closing sockets takes time, and other work waits */
#define FILES_FOR_OTHERS 256 /* than standing holds */

/**
 * set_scope() - remember which addresses a slice has
 * @r: table
 * @slice: its configuration
 *
 * Return: 0, or -1 and ENOMEM
 */
static int set_scope(struct reserve *r, const struct conf_slice *slice)
{
	struct scope **scope = &r->scope[slice->number];

	if (!*scope)
		*scope = calloc(1, sizeof(**scope));
	if (!*scope)
		return -1;
	(*scope)->addresses = slice->addresses;
	memcpy((*scope)->address, slice->address, sizeof((*scope)->address));
	return 0;
}

/**
 * owns() - whether a slice's configuration has a port on an address
 * @ns: namespace
 * @slice: configuration
 * @class: protocol class
 * @port: port
 * @address: index, or PRIV_ANY_ADDRESS
 */
static bool owns(const struct netns *ns, const struct conf_slice *slice, unsigned class, uint16_t port,
		 uint8_t address)
{
	unsigned i;

	if (address != PRIV_ANY_ADDRESS && proxied_row(address))
		return proxied_owns(ns, slice, address) && (class != CLASS_GRANT || grants_owns(ns, slice, port));
	for (i = 0; i < slice->ranges; i++)
		if (slice->range[i].class == class && slice->range[i].lo <= port && port <= slice->range[i].hi)
			break;
	if (i == slice->ranges && (class != CLASS_GRANT || !grants_owns(ns, slice, port)))
		return false;
	if (address == PRIV_ANY_ADDRESS || !slice->addresses)
		return true;
	for (i = 0; i < slice->addresses; i++)
		if (addr_eq(&slice->address[i], &ns->address[address].addr))
			return true;
	return false;
}

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
		if (!owns(ns, slice, claim->class, (uint16_t)p, claim->address)) {
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

	error = set_scope(ns->reserve, slice) < 0 ? ENOMEM : check_request(ns, slice, claim, port);
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
 * extend() - after a change of addresses or scopes: claims, covers and marks anew
 * @ns: namespace
 *
 * What cannot be covered any more, because another socket has it by now, is
 * logged and stays unmarked.
 */
static void extend(struct netns *ns)
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
 * reserve_address_came() - an address is there now
 * @ns: namespace, its table of addresses up to date
 * @index: of the address
 */
void reserve_address_came(struct netns *ns, unsigned index)
{
	(void)index;
	extend(ns);
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
 * others: extend(), which follows, sees to that, and names what it cannot hold.
 */
static void stand(struct netns *ns, const struct conf_slice *slice)
{
	struct job job = {.best_effort = true, .again = true, .limit = &ns->reserve->limit, .netns = ns->conf.name};
	int rc = set_scope(ns->reserve, slice);
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
			set_scope(ns->reserve, slice);
	}
	for (port = LIST_FIRST(&ns->reserve->ports); port; port = next_port) {
		next_port = LIST_NEXT(port, in_table);
		for (hold = LIST_FIRST(&port->holds); hold; hold = next) {
			const struct conf_slice *slice = by_number[hold->slice];

			next = LIST_NEXT(hold, in_port);
			if (slice && owns(ns, slice, port->class, port->number, hold->address) &&
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
	extend(ns);
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
