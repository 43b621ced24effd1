/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold.c: one reservation of ports, shared by the flows on them
 *
 * The monitor is asked once for each (slice, class, address, ports), whatever
 * the number of flows with different remotes on it: the first flow asks, the
 * last one releases. While the monitor has not answered the ports are claimed
 * here already, so that nobody else asks for them.
 *
 *	WAITING --granted--> HELD --last flow closes--> release sent, freed
 *	   |   \--refused--> FAILED --waiters give up--> freed
 *	   \--last flow gives up--> ORPHANED --answer--> (release sent,) freed
 *
 * A netns that is detached takes its reservations along: for those nothing is
 * released, and an answer that still comes (LOST) is for nobody.
 *
 * A link has its ports alone: its hold has one reference, and is made only where
 * nobody has any of them, not even the same user.
 *
 * Steering is switched on by hold_open(), when the first flow is in the flow
 * table and the ports are held, and off before the release is sent.
 */
#include "hold.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "readers.h"

TAILQ_HEAD(hold_list, hold);
static struct hold_list unanswered = TAILQ_HEAD_INITIALIZER(unanswered);
static struct hold_list leaving = TAILQ_HEAD_INITIALIZER(leaving); /* releases that are not sent yet */
static uint64_t cookies;

/**
 * hold_addresses() - the addresses that a local address of a flow stands for now
 * @slice: of the flow
 * @address: row, or PRIV_ANY_ADDRESS
 * @family: with PRIV_ANY_ADDRESS: AF_INET, AF_INET6 or AF_UNSPEC for both
 *
 * Return: set of rows
 */
uint64_t hold_addresses(const struct slice *slice, uint8_t address, uint8_t family)
{
	if (address != PRIV_ANY_ADDRESS)
		return slice->owned & 1ULL << address;
	return slice->owned & netns_family(slice->netns, family);
}

/**
 * make_key() - what a reservation is found by
 * @slice: of the reservation
 * @span: class and ports
 * @address: row, or PRIV_ANY_ADDRESS
 * @family: with PRIV_ANY_ADDRESS
 */
static struct flowkey make_key(const struct slice *slice, const struct policy_range *span, uint8_t address,
			       uint8_t family)
{
	struct flowkey key = {.lport = span->lo,
			      .rport = span->hi,
			      .slice = (uint16_t)slice_number(slice),
			      .local = address,
			      .class = span->class};

	if (address == PRIV_ANY_ADDRESS)
		key.local = family == AF_INET ? FLOWKEY_ANY_V4 : family == AF_INET6 ? FLOWKEY_ANY_V6 : FLOWKEY_ANY;
	return key;
}

/**
 * sent_release() - the release is on its way: nothing more to do
 * @outgoing: of the hold
 */
static void sent_release(struct outgoing *outgoing)
{
	struct hold *hold = container_of(outgoing, struct hold, outgoing);

	TAILQ_REMOVE(&leaving, hold, link);
	free(hold);
}

/**
 * request() - ask the monitor for the ports
 * @hold: hold
 */
static void request(struct hold *hold)
{
	hold->state = HOLD_WAITING;
	hold->cookie = ++cookies;
	hold->outgoing.message.reserve = (struct priv_reserve){
		.header = {PRIV_RESERVE, sizeof(struct priv_reserve)},
		.cookie = hold->cookie,
		.claim = {.netns = hold->slice->netns->record.netns,
			  .slice = slice_number(hold->slice),
			  .uid = hold->uid,
			  .class = hold->span.class,
			  .address = hold->address,
			  .family = hold->family,
			  .lo = hold->span.lo,
			  .hi = hold->span.hi},
	};
	TAILQ_INSERT_TAIL(&unanswered, hold, link);
	outbox_send(&hold->outgoing);
}

/**
 * release() - give the ports back to the monitor; the hold goes with the message
 * @hold: in no table; what the request said is still in its message
 */
static void release(struct hold *hold)
{
	const struct priv_claim asked = hold->outgoing.message.reserve.claim;

	hold->outgoing.message.release =
		(struct priv_release){.header = {PRIV_RELEASE, sizeof(struct priv_release)}, .claim = asked};
	hold->outgoing.sent = sent_release;
	TAILQ_INSERT_TAIL(&leaving, hold, link);
	outbox_send(&hold->outgoing);
}

/**
 * add_flows() - change the number of references
 * @hold: hold
 * @flows: how many more, modulo 2^32
 */
static void add_flows(struct hold *hold, uint32_t flows)
{
	uint64_t left;

	hold->flows += flows;
	for (left = hold->addresses; left; left &= left - 1)
		ports_add_flows(&hold->slice->netns->shard.ports, (unsigned)__builtin_ctzll(left), &hold->span,
				flows);
}

/**
 * unclaim() - let go of ports on some addresses
 * @hold: hold
 * @addresses: set of rows, all claimed
 */
static void unclaim(struct hold *hold, uint64_t addresses)
{
	struct shard *shard = &hold->slice->netns->shard;

	hold->addresses &= ~addresses;
	for (; addresses; addresses &= addresses - 1) {
		unsigned address = (unsigned)__builtin_ctzll(addresses);

		if (hold->open)
			ports_shut(&shard->ports, hold->slice->netns->open, address, &hold->span);
		ports_add_flows(&shard->ports, address, &hold->span, -hold->flows);
		ports_unclaim(&shard->ports, address, &hold->span);
	}
}

/**
 * claim() - claim the ports on some addresses
 * @hold: hold
 * @addresses: set of rows, all free for the hold's owner
 *
 * Return: 0, or -1 and ENOMEM; what was claimed until then stays.
 */
static int claim(struct hold *hold, uint64_t addresses)
{
	struct shard *shard = &hold->slice->netns->shard;

	for (; addresses; addresses &= addresses - 1) {
		unsigned address = (unsigned)__builtin_ctzll(addresses);

		if (ports_claim(&shard->ports, address, &hold->span, hold->key.slice, hold->uid) < 0)
			return -1;
		hold->addresses |= 1ULL << address;
		ports_set_link(&shard->ports, address, &hold->span, hold->of_link);
		ports_add_levels(&shard->ports, address, &hold->span, hold->levels);
		readers_mark(hold->slice, address, &hold->span);
		ports_add_flows(&shard->ports, address, &hold->span, hold->flows);
		if (hold->open)
			ports_open(&shard->ports, hold->slice->netns->open, address, &hold->span);
	}
	return 0;
}

/**
 * is_free() - whether somebody may have ports on some addresses
 * @hold: that wants them
 * @addresses: set of rows
 */
static bool is_free(const struct hold *hold, uint64_t addresses)
{
	const struct ports *ports = &hold->slice->netns->shard.ports;

	if (hold->of_link)
		return ports_first_taken(ports, addresses, &hold->span) < 0;
	return ports_may_claim(ports, addresses, &hold->span, hold->key.slice, hold->uid);
}

/**
 * make() - a new hold, claimed and asked for
 * @model: slice, key, span, uid, address, family and link are set
 *
 * Return: the hold, or NULL and EADDRINUSE, ENOMEM.
 */
static struct hold *make(const struct hold *model)
{
	struct shard *shard = &model->slice->netns->shard;
	uint64_t addresses = hold_addresses(model->slice, model->address, model->family);
	struct hold *hold;

	if (!is_free(model, addresses)) {
		errno = EADDRINUSE;
		return NULL;
	}
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		return NULL;
	*hold = *model;
	TAILQ_INIT(&hold->waiters);
	if (claim(hold, addresses) < 0 || flowtab_insert(&shard->holds, &hold->key, hold) < 0) {
		unclaim(hold, hold->addresses);
		free(hold);
		errno = ENOMEM;
		return NULL;
	}
	request(hold);
	return hold;
}

/**
 * hold_get() - one reference to a reservation, which is made if need be
 * @slice: of the flow
 * @uid: of the flow
 * @span: class and ports, which are the slice's
 * @address: row of an address of the slice, or PRIV_ANY_ADDRESS
 * @family: with PRIV_ANY_ADDRESS: AF_INET, AF_INET6, or AF_UNSPEC for both; else the address's
 *
 * Return: the hold, or NULL and EADDRINUSE when another slice or uid has one of the ports, ENOMEM.
 */
struct hold *hold_get(struct slice *slice, uint32_t uid, const struct policy_range *span, uint8_t address,
		      uint8_t family)
{
	const struct hold model = {.slice = slice,
				   .key = make_key(slice, span, address, family),
				   .span = *span,
				   .uid = uid,
				   .address = address,
				   .family = family};
	struct hold *hold = flowtab_find(&slice->netns->shard.holds, &model.key);

	if (hold && (hold->uid != uid || hold->state == HOLD_FAILED || hold->of_link)) {
		errno = EADDRINUSE;
		return NULL;
	}
	if (!hold)
		hold = make(&model);
	if (hold)
		add_flows(hold, 1);
	return hold;
}

/**
 * hold_get_link() - a reservation for a link, on every address of the slice
 * @slice: of the link
 * @uid: of the link
 * @span: class and ports, which are the slice's
 *
 * Return: the hold, with its one reference; or NULL and EADDRINUSE when anybody has one of the ports, ENOMEM.
 */
struct hold *hold_get_link(struct slice *slice, uint32_t uid, const struct policy_range *span)
{
	const struct hold model = {.slice = slice,
				   .key = make_key(slice, span, PRIV_ANY_ADDRESS, AF_UNSPEC),
				   .span = *span,
				   .uid = uid,
				   .address = PRIV_ANY_ADDRESS,
				   .family = AF_UNSPEC,
				   .of_link = PORT_LINK_LATER};
	struct hold *hold;

	if (flowtab_find(&slice->netns->shard.holds, &model.key)) {
		errno = EADDRINUSE;
		return NULL;
	}
	hold = make(&model);
	if (hold)
		add_flows(hold, 1);
	return hold;
}

/**
 * dispose() - let go of a hold that has no references, and tell the monitor if need be
 * @hold: in no table
 */
static void dispose(struct hold *hold)
{
	if (hold->state == HOLD_HELD && !hold->slice->netns->gone) {
		release(hold);
	} else if (hold->state == HOLD_WAITING && !hold->outgoing.queued) {
		hold->state = HOLD_ORPHANED;
	} else {
		if (hold->state == HOLD_WAITING)
			TAILQ_REMOVE(&unanswered, hold, link);
		outbox_cancel(&hold->outgoing);
		free(hold);
	}
}

/**
 * hold_put() - one reference less; the last one ends the reservation
 * @hold: hold
 */
void hold_put(struct hold *hold)
{
	add_flows(hold, -1U);
	if (hold->flows)
		return;
	unclaim(hold, hold->addresses);
	flowtab_remove(&hold->slice->netns->shard.holds, &hold->key);
	if (!hold->answering)
		dispose(hold);
}

/**
 * hold_wait() - be told the monitor's answer
 * @hold: waiting; the waiter has a reference to it
 * @waiter: answered is set; it is called once, unless hold_stop_waiting() comes first
 */
void hold_wait(struct hold *hold, struct hold_waiter *waiter)
{
	waiter->hold = hold;
	TAILQ_INSERT_TAIL(&hold->waiters, waiter, link);
}

/**
 * hold_stop_waiting() - do not be told
 * @waiter: waits or not
 */
void hold_stop_waiting(struct hold_waiter *waiter)
{
	if (!waiter->hold)
		return;
	TAILQ_REMOVE(&waiter->hold->waiters, waiter, link);
	waiter->hold = NULL;
}

/**
 * hold_answer() - the monitor has answered
 * @reply: its answer
 *
 * Ends the process when nothing was asked.
 */
void hold_answer(const struct priv_reserved *reply)
{
	struct hold_waiter *waiter;
	struct hold *hold;

	TAILQ_FOREACH(hold, &unanswered, link)
		if (hold->cookie == reply->cookie)
			break;
	if (!hold)
		log_fatal("the monitor answers a reservation that was not asked for");
	TAILQ_REMOVE(&unanswered, hold, link);
	if (hold->state == HOLD_ORPHANED && !reply->error) {
		release(hold);
		return;
	}
	if (hold->state == HOLD_ORPHANED || hold->state == HOLD_LOST) {
		free(hold);
		return;
	}
	hold->state = reply->error ? HOLD_FAILED : HOLD_HELD;
	hold->answering = true;
	while ((waiter = TAILQ_FIRST(&hold->waiters))) {
		hold_stop_waiting(waiter);
		waiter->answered(waiter, reply->error);
	}
	hold->answering = false;
	if (!hold->flows)
		dispose(hold);
}

/**
 * hold_add_level() - there is a flow of some level now
 * @hold: of the flow
 * @level: bit number
 */
void hold_add_level(struct hold *hold, unsigned level)
{
	uint16_t bit = (uint16_t)(1U << level);
	uint64_t left;

	if (hold->levels & bit)
		return;
	hold->levels |= bit;
	for (left = hold->addresses; left; left &= left - 1)
		ports_add_levels(&hold->slice->netns->shard.ports, (unsigned)__builtin_ctzll(left), &hold->span, bit);
}

/**
 * hold_open() - switch steering on
 * @hold: held; a flow on it can take packets
 */
void hold_open(struct hold *hold)
{
	struct netns *netns = hold->slice->netns;
	uint64_t left;

	if (hold->open)
		return;
	hold->open = true;
	for (left = hold->addresses; left; left &= left - 1)
		ports_open(&netns->shard.ports, netns->open, (unsigned)__builtin_ctzll(left), &hold->span);
}

/**
 * hold_open_link() - switch steering on, straight to a link
 * @hold: held, the link's
 * @link: its number
 */
void hold_open_link(struct hold *hold, uint16_t link)
{
	uint64_t left;

	hold->of_link = link;
	for (left = hold->addresses; left; left &= left - 1)
		ports_set_link(&hold->slice->netns->shard.ports, (unsigned)__builtin_ctzll(left), &hold->span, link);
	hold_open(hold);
}

/**
 * hold_divert() - let packets to a port of a link come to the relay, or go to the link directly
 * @hold: open, the link's
 * @port: host byte order
 * @on: to the relay
 */
void hold_divert(const struct hold *hold, uint16_t port, bool on)
{
	struct netns *netns = hold->slice->netns;
	uint64_t left;

	for (left = hold->addresses; left; left &= left - 1)
		ports_divert(&netns->shard.ports, netns->open, (unsigned)__builtin_ctzll(left), hold->span.class,
			     port, on);
}

/**
 * hold_reduce() - the slice has lost addresses: let go of the ports on them
 * @hold: hold
 */
void hold_reduce(struct hold *hold)
{
	unclaim(hold, hold->addresses & ~hold_addresses(hold->slice, hold->address, hold->family));
}

/**
 * hold_extend() - the slice has got addresses: claim the ports on them too
 * @hold: hold
 *
 * After every hold that lost some was reduced. An address on which the ports
 * are another's stays out; it is looked at again at the next change.
 */
void hold_extend(struct hold *hold)
{
	static struct log_limit limit;
	uint64_t new = hold_addresses(hold->slice, hold->address, hold->family) & ~hold->addresses;

	for (; new; new &= new - 1) {
		uint64_t address = new & -new;

		if (!is_free(hold, address) || claim(hold, address) < 0)
			log_limited(
				&limit, LOG_WARNING,
				"slice %s: a flow's or link's ports from %u on are in use on one of its addresses",
				hold->slice->conf.record.name, hold->span.lo);
	}
}

/**
 * hold_forget() - a netns is gone, and what the monitor held in it: no releases
 * @netns: it has no flows any more
 */
void hold_forget(const struct netns *netns)
{
	struct hold *hold, *next;

	TAILQ_FOREACH(hold, &unanswered, link)
		if (hold->outgoing.message.reserve.claim.netns == netns->record.netns)
			hold->state = HOLD_LOST;
	for (hold = TAILQ_FIRST(&leaving); hold; hold = next) {
		next = TAILQ_NEXT(hold, link);
		if (hold->outgoing.message.release.claim.netns != netns->record.netns)
			continue;
		outbox_cancel(&hold->outgoing);
		sent_release(&hold->outgoing);
	}
}
