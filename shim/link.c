/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link.c: a client's own network namespace behind a device of ours
 *
 * A link has a block of ports for each class, alone (hold.c). Steering hands
 * what arrives on them to the device directly, and lets what comes from them
 * leave directly. The relay sees what must be translated alone (translate.c):
 * the upper part of each block is a pool for that, and while a pool port has a
 * mapping, its packets come to the relay. Nobody waits for a mapping's end:
 * what has expired is ended when the next packet passes, and is not used
 * before.
 *
 * A link lives as long as the conversation in which it was asked for
 * (linking.c), unless its device goes, with the client's namespace, or the
 * configuration no longer has room for it.
 */
#include "link.h"

#include <stdlib.h>

#include "log.h"
#include "util.h"

#define POOL_MIN 8       /* ports of a pool, where the block has four times as many */
#define EXPIRE_BUDGET 16 /* mappings that are ended when a packet passes */

static TAILQ_HEAD(, link) ending = TAILQ_HEAD_INITIALIZER(ending);

/**
 * pool_ports() - how many ports of a block are for translation
 * @link: link; all its blocks have the same size
 */
static unsigned pool_ports(const struct link *link)
{
	unsigned quarter = link->count / 4U;

	if (link->flags & STEER_LINK_STRICT)
		return 0;
	return quarter < POOL_MIN && link->count >= 4 * POOL_MIN ? POOL_MIN : quarter;
}

/**
 * link_direct_hi() - the last port of a block that is not for translation
 * @link: link
 * @class: that it has ports of
 */
uint16_t link_direct_hi(const struct link *link, unsigned class)
{
	return (uint16_t)(link->class[class].block.hi - pool_ports(link));
}

/**
 * napt_conf() - what a link's translation is made from
 * @link: link with its blocks
 */
static struct napt_conf napt_conf(const struct link *link)
{
	struct napt_conf conf = {0};
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES; class ++)
		if (link->class[class].block.hi && pool_ports(link))
			conf.pool[class] = (struct napt_pool){(uint16_t)(link_direct_hi(link, class) + 1),
							      link->class[class].block.hi};
	addr_parse(PROTO_LINK_HOST4, &conf.alias[0]);
	addr_parse(PROTO_LINK_HOST6, &conf.alias[1]);
	random_bytes(conf.secret, sizeof(conf.secret));
	return conf;
}

/**
 * memory_of() - what a link takes, before its blocks are known
 * @link: count and flags are set
 *
 * Return: bytes, at most
 */
static uint64_t memory_of(const struct link *link)
{
	struct napt_conf conf = {0};
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES && pool_ports(link); class ++)
		conf.pool[class] = (struct napt_pool){1, (uint16_t)pool_ports(link)};
	return sizeof(*link) + napt_size(&conf);
}

/**
 * link_new() - a link without ports
 * @slice: charged for it
 * @opener: whose it is
 * @ask: well-formed request
 *
 * Return: the link, or NULL when the slice's memory bound or all memory is reached.
 */
struct link *link_new(struct slice *slice, const struct opener *opener, const struct proto_link *ask)
{
	uint64_t bound = slice->conf.record.memory_bytes;
	struct link *link = calloc(1, sizeof(*link));
	unsigned count = ask->count ? ask->count : PROTO_LINK_COUNT;

	if (!link)
		return NULL;
	link->slice = slice;
	link->netns = slice->netns;
	link->opener = *opener;
	link->flags = ask->flags;
	link->count = (uint16_t)((count + STEER_LINK_UNIT - 1) / STEER_LINK_UNIT * STEER_LINK_UNIT);
	link->memory = memory_of(link);
	if (slice->memory > bound || link->memory > bound - slice->memory) {
		free(link);
		return NULL;
	}
	slice->memory += link->memory;
	return link;
}

/**
 * link_disown() - a link is its slice's no more: neither ports nor memory of it
 * @link: not up
 */
void link_disown(struct link *link)
{
	if (!link->slice)
		return;
	link_drop_ports(link);
	link->slice->memory -= link->memory;
	link->slice = NULL;
}

/**
 * link_free() - let go of a link
 * @link: not up, and neither the monitor nor the outbox has anything of it
 */
void link_free(struct link *link)
{
	link_disown(link);
	napt_free(link->napt);
	free(link);
}

/**
 * link_drop_ports() - give the ports back, which switches steering off
 * @link: link
 */
void link_drop_ports(struct link *link)
{
	unsigned i;

	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		struct link_class *class = &link->class[i];

		hold_stop_waiting(&class->waiter);
		if (class->hold)
			hold_put(class->hold);
		class->hold = NULL;
	}
}

/**
 * link_make_napt() - get ready to translate
 * @link: with its ports
 *
 * Return: 0, or -1 and ENOMEM.
 */
int link_make_napt(struct link *link)
{
	const struct napt_conf conf = napt_conf(link);
	unsigned i;

	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		struct link_class *class = &link->class[i];

		class->policy =
			(struct policy_flow){.class = (uint8_t)i, .lo = class->block.lo, .hi = class->block.hi};
	}
	link->napt = napt_new(&conf);
	return link->napt ? 0 : -1;
}

/**
 * link_up() - the device is there: let packets in
 * @link: with its ports held
 * @number: that the monitor has given it, which no other link of the netns has
 * @mtu: of the device, bytes
 */
void link_up(struct link *link, uint32_t number, uint32_t mtu)
{
	unsigned i;

	link->state = LINK_UP;
	link->number = number;
	link->mtu = mtu;
	link->flow = ++link->netns->world->flows;
	link->before = link->netns->link_traffic[number];
	link->netns->links[number] = link;
	LIST_INSERT_HEAD(&link->slice->links, link, of_slice);
	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		struct hold *hold = link->class[i].hold;

		if (!hold)
			continue;
		hold_reduce(hold); /* addresses may have come and gone meanwhile */
		hold_extend(hold);
		hold_open_link(hold, (uint16_t)number);
	}
}

/**
 * sent_end() - the monitor knows of the end: nothing more to do
 * @outgoing: of the link
 */
static void sent_end(struct outgoing *outgoing)
{
	struct link *link = container_of(outgoing, struct link, outgoing);

	TAILQ_REMOVE(&ending, link, asking);
	link_free(link);
}

/**
 * link_say_end() - tell the monitor of a link's end; the link goes with the message
 * @link: not up
 * @number: its number
 */
void link_say_end(struct link *link, uint32_t number)
{
	link->outgoing = (struct outgoing){.sent = sent_end};
	link->outgoing.message.unlink = (struct priv_link_end){.header = {PRIV_UNLINK, sizeof(struct priv_link_end)},
							       .netns = link->netns->record.netns,
							       .link = number};
	link_disown(link);
	TAILQ_INSERT_TAIL(&ending, link, asking);
	outbox_send(&link->outgoing);
}

/**
 * link_forget() - a netns ends: the monitor need not be told of the end of its links
 * @netns: it has no links any more
 */
void link_forget(const struct netns *netns)
{
	struct link *link, *next;

	for (link = TAILQ_FIRST(&ending); link; link = next) {
		next = TAILQ_NEXT(link, asking);
		if (link->netns != netns)
			continue;
		outbox_cancel(&link->outgoing);
		sent_end(&link->outgoing);
	}
}

/**
 * difference() - what a counter has gone up by, less a part of that
 * @counter: of steering
 * @before: what it was
 * @part: counted by the relay, which may be ahead
 */
static uint64_t difference(uint64_t counter, uint64_t before, uint64_t part)
{
	return counter - before > part ? counter - before - part : 0;
}

/**
 * add_direct() - count what has passed a link without the relay
 * @link: up
 * @sum: changed
 */
static void add_direct(const struct link *link, struct counters *sum)
{
	const struct steer_link_traffic *now = &link->netns->link_traffic[link->number], *before = &link->before;
	const struct link_traffic *relayed = &link->relayed;

	sum->rx_packets += difference(now->rx_packets, before->rx_packets, relayed->rx_packets);
	sum->rx_bytes += difference(now->rx_bytes, before->rx_bytes, relayed->rx_bytes);
	sum->tx_packets += difference(now->tx_packets, before->tx_packets, relayed->tx_packets);
	sum->tx_bytes += difference(now->tx_bytes, before->tx_bytes, relayed->tx_bytes);
}

/**
 * link_add_direct() - count what has passed a slice's links without the relay
 * @slice: slice
 * @sum: changed
 */
void link_add_direct(const struct slice *slice, struct counters *sum)
{
	const struct link *link;

	LIST_FOREACH(link, &slice->links, of_slice) {
		add_direct(link, sum);
	}
}

/**
 * link_down() - end a link; it is freed, at once or when the monitor has been told
 * @link: up
 * @tell: the monitor does not know yet
 */
void link_down(struct link *link, bool tell)
{
	add_direct(link, &link->slice->counters);
	link->netns->links[link->number] = NULL;
	LIST_REMOVE(link, of_slice);
	link->state = LINK_ORPHANED;
	if (tell && !link->netns->gone)
		link_say_end(link, link->number);
	else
		link_free(link);
}

/**
 * take_back() - a link ends, and its user is told
 * @link: up
 * @tell: the monitor does not know yet
 */
static void take_back(struct link *link, bool tell)
{
	struct link_user *user = link->user;
	uint32_t number = link->number;

	user->link = NULL;
	link_down(link, tell);
	user->gone(user, number);
}

/**
 * link_fits() - whether a link is within its slice's configuration
 * @link: link with its blocks
 */
bool link_fits(const struct link *link)
{
	const struct slice *slice = link->slice;
	const struct member user = {PRIV_MEMBER_USER, link->opener.uid};
	unsigned i;

	if (!slice_has_member(slice, user) && !slice_has_member(slice, link->opener.by))
		return false;
	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		const struct policy_range *block = &link->class[i].block;

		if (block->hi && !policy_slice_owns(&slice->policy, block->class, block->lo, block->hi))
			return false;
	}
	return true;
}

/**
 * link_review() - the configuration has changed: end what no longer fits
 * @slice: slice
 */
void link_review(struct slice *slice)
{
	struct link *link, *next;

	for (link = LIST_FIRST(&slice->links); link; link = next) {
		next = LIST_NEXT(link, of_slice);
		if (link_fits(link))
			continue;
		log_info("slice %s: uid %u: link %u no longer fits the configuration", slice->conf.record.name,
			 link->opener.uid, link->number);
		take_back(link, true);
	}
}

/**
 * link_refit() - let the reservations of links follow their slice's addresses
 * @slice: slice
 * @refit: hold_reduce() or hold_extend()
 *
 * On a new address steering hands everything to the device at first.
 */
void link_refit(struct slice *slice, void (*refit)(struct hold *hold))
{
	const struct mapping *mapping;
	struct link *link;
	unsigned i;

	LIST_FOREACH(link, &slice->links, of_slice) {
		for (i = 0; i < STEER_LINK_CLASSES; i++)
			if (link->class[i].hold)
				refit(link->class[i].hold);
		for (mapping = napt_next(link->napt, 0, 0); mapping;
		     mapping = napt_next(link->napt, mapping->class, mapping->outer_port))
			hold_divert(link->class[mapping->class].hold, mapping->outer_port, true);
	}
}

/**
 * link_device_gone() - the monitor says that a device has gone
 * @netns: where
 * @number: of the link; one that has ended already is passed over
 */
void link_device_gone(struct netns *netns, uint32_t number)
{
	if (number < STEER_LINKS_MAX && netns->links[number])
		take_back(netns->links[number], false);
}

/**
 * link_aggregate() - the mapping that a packet of the client's goes out by
 * @link: up
 * @pkt: packet that pkt_parse() has passed, from an address of the slice
 * @now: ns
 * @verdict: set, see napt_aggregate()
 *
 * Return: the mapping, whose packets come to the relay from now on; or NULL.
 */
struct mapping *link_aggregate(struct link *link, const struct pkt *pkt, uint64_t now, enum verdict *verdict)
{
	uint64_t created = link->napt->counters.created;
	struct mapping *mapping = napt_aggregate(link->napt, pkt, &pkt->src, now, verdict);

	if (mapping && link->napt->counters.created != created)
		hold_divert(link->class[mapping->class].hold, mapping->outer_port, true);
	return mapping;
}

/**
 * link_expire() - end mappings that have been idle for too long, or some of them
 * @link: up
 * @now: ns
 */
void link_expire(struct link *link, uint64_t now)
{
	struct mapping *mapping;
	unsigned budget = EXPIRE_BUDGET;

	while (budget-- && (mapping = napt_expired(link->napt, now))) {
		hold_divert(link->class[mapping->class].hold, mapping->outer_port, false);
		napt_release(link->napt, mapping);
	}
}
