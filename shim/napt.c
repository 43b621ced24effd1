/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napt.c: the mappings of a translation of a client's ports into a pool of ports (NAPT)
 *
 * Each pool port of each class (TCP, UDP, ICMP identifiers) has its one
 * struct mapping, free or in use, so that the way in is an index and the memory
 * is fixed. The way out is a hash of class, inner address and inner port, keyed,
 * because programs choose their ports. A mapping is independent of the endpoint
 * (RFC 4787): one inner port has one outer port, whomever it talks to, and
 * everybody may answer. The one exception is the host itself, see below.
 *
 * Free ports wait in a queue, in random order at first (RFC 6056), so a port is
 * used again as late as possible. A mapping in use is in the list of its class
 * and state, the least recently used one first; all of a list have the same
 * timeout, so what has expired is at its head.
 *
 *	        first packet out
 *	FREE ----------------------> NEW --answer--> ANSWERED (UDP), ECHOED (ICMP)
 *	                              |
 *	                              |--answer, then ACK--> ESTABLISHED
 *	                              |                       |      ^
 *	                              `---RST, FIN both ways--+-> CLOSING
 *
 * The pool is small and tools that scan use a new port for every packet. When
 * it is empty the oldest mapping that nobody is likely to miss is displaced: one
 * without an answer, one that is closing, an echo, each after it was idle for a
 * moment (see timeouts[]). An open connection or an answered UDP port is not
 * before its timeout.
 *
 * What has expired is over, whether the caller has come to release it or not:
 * nothing comes in by it, a new mapping may take its place, and what goes out
 * from the same port begins it anew.
 *
 * A RST from outside may be forged, and is not checked for its sequence number:
 * a connection that goes on sending is established again.
 *
 * The host itself has the client's own address, so the client sees it under an
 * alias. A packet to the alias goes to the outer address it comes from, by a
 * mapping of its own that only the host may answer, and its answer comes from
 * the alias.
 *
 * Later fragments go by their first one's mapping and never make one. ICMP
 * errors are matched by the packet that they quote.
 *
 * How a packet is changed, once its mapping is found, is in napt_rewrite.c.
 */
#include "napt.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "flowtab.h"
#include "util.h"

#define SECOND 1000000000ULL
#define MILLISECOND 1000000ULL

/* Bits of struct mapping's `seen` */
#define SEEN_ANSWER 0x01
#define SEEN_FIN_OUT 0x02
#define SEEN_FIN_IN 0x04
#define SEEN_FINS (SEEN_FIN_OUT | SEEN_FIN_IN)

/* How long a mapping of each state may be idle, ns, and after which time it may be displaced */
static const struct {
	uint64_t timeout, displaceable;
} timeouts[NAPT_STATES] = {
	[NAPT_NEW] = {30 * SECOND, 1 * SECOND},
	[NAPT_ANSWERED] = {120 * SECOND, 120 * SECOND},
	[NAPT_ECHOED] = {60 * SECOND, 5 * SECOND},
	[NAPT_ESTABLISHED] = {7440 * SECOND, 7440 * SECOND},
	[NAPT_CLOSING] = {10 * SECOND, 200 * MILLISECOND},
};

/* Hashed and compared as bytes */
struct key {
	struct addr inner;
	uint16_t port;
	uint8_t class, host;
	uint8_t pad[4];
};

static_assert(sizeof(struct key) == 24, "hashed as three words");

/**
 * pool_size() - how many ports there are
 * @pool: of a class
 */
static unsigned pool_size(const struct napt_pool *pool)
{
	return pool->hi ? (unsigned)(pool->hi - pool->lo) + 1 : 0;
}

/**
 * count_mappings() - how many mappings there can be
 * @conf: configuration
 */
static unsigned count_mappings(const struct napt_conf *conf)
{
	unsigned class, sum = 0;

	for (class = 0; class < NAPT_CLASSES; class ++)
		sum += pool_size(&conf->pool[class]);
	return sum;
}

/**
 * count_buckets() - how many hash values are told apart
 * @mappings: there can be
 *
 * Return: a power of two, not less than @mappings
 */
static unsigned count_buckets(unsigned mappings)
{
	unsigned buckets = 1;

	while (buckets < mappings)
		buckets *= 2;
	return buckets;
}

/**
 * napt_size() - the memory that napt_new() takes
 * @conf: configuration
 *
 * Return: bytes
 */
size_t napt_size(const struct napt_conf *conf)
{
	unsigned mappings = count_mappings(conf);

	return sizeof(struct napt) + mappings * sizeof(struct mapping) + count_buckets(mappings) * sizeof(uint16_t);
}

/**
 * list_of() - the list that a mapping is in
 * @napt: translation
 * @mapping: mapping
 */
static struct napt_list *list_of(struct napt *napt, const struct mapping *mapping)
{
	return &napt->list[mapping->class][mapping->state];
}

/**
 * list_add() - put a mapping at the young end of its class's and state's list
 * @napt: translation
 * @mapping: in no list
 */
static void list_add(struct napt *napt, struct mapping *mapping)
{
	struct napt_list *list = list_of(napt, mapping);
	uint16_t index = (uint16_t)(mapping - napt->mapping);

	mapping->older = list->youngest;
	mapping->younger = NAPT_NONE;
	if (list->youngest == NAPT_NONE)
		list->oldest = index;
	else
		napt->mapping[list->youngest].younger = index;
	list->youngest = index;
}

/**
 * list_remove() - take a mapping out of its list
 * @napt: translation
 * @mapping: in one
 */
static void list_remove(struct napt *napt, const struct mapping *mapping)
{
	struct napt_list *list = list_of(napt, mapping);

	if (mapping->older == NAPT_NONE)
		list->oldest = mapping->younger;
	else
		napt->mapping[mapping->older].younger = mapping->younger;
	if (mapping->younger == NAPT_NONE)
		list->youngest = mapping->older;
	else
		napt->mapping[mapping->younger].older = mapping->older;
}

/**
 * fill_pool() - queue a class's ports as free, in random order
 * @napt: translation
 * @class: enum steer_class
 */
static void fill_pool(struct napt *napt, unsigned class)
{
	const struct napt_pool *pool = &napt->conf.pool[class];
	struct mapping *mapping = &napt->mapping[napt->first[class]];
	unsigned i, size = pool_size(pool);

	for (i = 0; i < size; i++) {
		mapping[i].class = (uint8_t) class;
		mapping[i].outer_port = (uint16_t)(pool->lo + i);
	}
	for (i = size; i-- > 0;) { /* Fisher-Yates; `chain` holds the order, it means nothing else yet */
		uint64_t draw[1] = {(uint64_t) class << 32 | i};
		unsigned other = (unsigned)(flowtab_hash(napt->conf.secret, draw, 1) % (i + 1));
		uint16_t chosen = mapping[other].chain ? mapping[other].chain : (uint16_t)(other + 1);

		mapping[other].chain = mapping[i].chain ? mapping[i].chain : (uint16_t)(i + 1);
		list_add(napt, &mapping[chosen - 1]);
	}
}

/**
 * napt_new() - a translation without mappings
 * @conf: configuration; pools of all classes together have fewer than 65,535 ports
 *
 * Return: the translation, or NULL and ENOMEM, EINVAL.
 */
struct napt *napt_new(const struct napt_conf *conf)
{
	unsigned mappings = count_mappings(conf), class, state;
	struct napt *napt;

	if (mappings >= NAPT_NONE) {
		errno = EINVAL;
		return NULL;
	}
	napt = calloc(1, napt_size(conf));
	if (!napt)
		return NULL;
	napt->conf = *conf;
	napt->mappings = (uint16_t)mappings;
	napt->mask = (uint16_t)(count_buckets(mappings) - 1);
	napt->bucket = (uint16_t *)&napt->mapping[mappings];
	memset(napt->bucket, 0xff, (napt->mask + 1U) * sizeof(*napt->bucket));
	for (class = 0; class < NAPT_CLASSES; class ++) {
		if (class)
			napt->first[class] = (uint16_t)(napt->first[class - 1] + pool_size(&conf->pool[class - 1]));
		for (state = 0; state < NAPT_STATES; state++)
			napt->list[class][state] = (struct napt_list){NAPT_NONE, NAPT_NONE};
		fill_pool(napt, class);
	}
	return napt;
}

/**
 * napt_free() - let go of a translation with all its mappings
 * @napt: translation, or NULL
 */
void napt_free(struct napt *napt)
{
	free(napt);
}

/**
 * bucket_of() - where the mappings with the hash of a key begin
 * @napt: translation
 * @key: key
 */
static uint16_t *bucket_of(struct napt *napt, const struct key *key)
{
	return &napt->bucket[flowtab_hash(napt->conf.secret, key, sizeof(*key) / sizeof(uint64_t)) & napt->mask];
}

/**
 * key_of() - what a mapping is found by on the way out
 * @mapping: in use
 */
static struct key key_of(const struct mapping *mapping)
{
	return (struct key){
		.inner = mapping->inner, .port = mapping->inner_port, .class = mapping->class, .host = mapping->host};
}

/**
 * find() - the mapping of a key
 * @napt: translation
 * @key: key
 *
 * Return: the mapping, or NULL.
 */
static struct mapping *find(struct napt *napt, const struct key *key)
{
	uint16_t index;

	for (index = *bucket_of(napt, key); index != NAPT_NONE; index = napt->mapping[index].chain) {
		struct mapping *mapping = &napt->mapping[index];

		if (mapping->inner_port == key->port && mapping->class == key->class && mapping->host == key->host &&
		    addr_eq(&mapping->inner, &key->inner))
			return mapping;
	}
	return NULL;
}

/**
 * set_state() - a mapping is used now, and in some state from now on
 * @napt: translation
 * @mapping: in a list
 * @state: enum napt_state
 * @now: ns
 */
static void set_state(struct napt *napt, struct mapping *mapping, enum napt_state state, uint64_t now)
{
	list_remove(napt, mapping);
	mapping->state = (uint8_t)state;
	mapping->used_ns = now;
	list_add(napt, mapping);
}

/**
 * is_expired() - whether a mapping has been idle for too long
 * @mapping: in use
 * @now: ns
 */
static bool is_expired(const struct mapping *mapping, uint64_t now)
{
	return now - mapping->used_ns > timeouts[mapping->state].timeout;
}

/**
 * napt_release() - end a mapping; its port is free, and will be used again after all others that are
 * @napt: translation
 * @mapping: in use
 */
void napt_release(struct napt *napt, struct mapping *mapping)
{
	const struct key key = key_of(mapping);
	uint16_t *at = bucket_of(napt, &key), index = (uint16_t)(mapping - napt->mapping);

	while (*at != index)
		at = &napt->mapping[*at].chain;
	*at = mapping->chain;
	set_state(napt, mapping, NAPT_FREE, 0);
	napt->used--;
}

/**
 * napt_expired() - a mapping that has been idle for too long
 * @napt: translation
 * @now: ns
 *
 * It is the caller's to release.
 *
 * Return: the mapping, counted; or NULL when there is none (any more).
 */
struct mapping *napt_expired(struct napt *napt, uint64_t now)
{
	unsigned class, state;

	for (class = 0; class < NAPT_CLASSES; class ++)
		for (state = NAPT_FREE + 1; state < NAPT_STATES; state++) {
			uint16_t oldest = napt->list[class][state].oldest;

			if (oldest != NAPT_NONE && is_expired(&napt->mapping[oldest], now)) {
				napt->counters.expired++;
				return &napt->mapping[oldest];
			}
		}
	return NULL;
}

/**
 * displace() - end the mapping of a class that is least likely to be missed, or has expired; it is counted
 * @napt: translation
 * @class: enum steer_class
 * @now: ns
 *
 * Return: whether there was one
 */
static bool displace(struct napt *napt, unsigned class, uint64_t now)
{
	static const uint8_t order[] = {NAPT_CLOSING, NAPT_NEW, NAPT_ECHOED, NAPT_ANSWERED, NAPT_ESTABLISHED};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		uint16_t oldest = napt->list[class][order[i]].oldest;

		if (oldest == NAPT_NONE || now - napt->mapping[oldest].used_ns <= timeouts[order[i]].displaceable)
			continue;
		if (is_expired(&napt->mapping[oldest], now))
			napt->counters.expired++;
		else
			napt->counters.displaced++;
		napt_release(napt, &napt->mapping[oldest]);
		return true;
	}
	return false;
}

/**
 * begin() - a mapping is new from now on
 * @napt: translation
 * @mapping: in a list, with its key, and hashed
 * @outer: address that others will see
 * @now: ns
 */
static void begin(struct napt *napt, struct mapping *mapping, const struct addr *outer, uint64_t now)
{
	mapping->outer = *outer;
	mapping->made_ns = now;
	mapping->seen = 0;
	set_state(napt, mapping, NAPT_NEW, now);
	napt->counters.created++;
}

/**
 * begin_anew() - a mapping that has expired is used again before it was released: it is a new one, with the same port
 * @napt: translation
 * @mapping: in use, expired
 * @outer: address that others will see
 * @now: ns
 *
 * Return: the mapping
 */
static struct mapping *begin_anew(struct napt *napt, struct mapping *mapping, const struct addr *outer, uint64_t now)
{
	napt->counters.expired++;
	begin(napt, mapping, outer, now);
	return mapping;
}

/**
 * make() - a new mapping
 * @napt: translation
 * @key: of the packet
 * @outer: address that others will see
 * @now: ns
 *
 * Return: the mapping, or NULL when no port is free and none can be displaced.
 */
static struct mapping *make(struct napt *napt, const struct key *key, const struct addr *outer, uint64_t now)
{
	const struct napt_list *list = &napt->list[key->class][NAPT_FREE];
	uint16_t *bucket = bucket_of(napt, key);
	struct mapping *mapping;

	if (list->oldest == NAPT_NONE && !displace(napt, key->class, now)) {
		napt->counters.exhausted++;
		return NULL;
	}
	mapping = &napt->mapping[list->oldest];
	mapping->inner = key->inner;
	mapping->inner_port = key->port;
	mapping->host = key->host;
	mapping->chain = *bucket;
	*bucket = (uint16_t)(mapping - napt->mapping);
	napt->used++;
	begin(napt, mapping, outer, now);
	return mapping;
}

/**
 * next_tcp() - the state of a connection after a packet
 * @mapping: of it; `seen` is brought up to date
 * @flags: of the TCP header
 * @out: the client has sent it
 */
static enum napt_state next_tcp(struct mapping *mapping, uint8_t flags, bool out)
{
	if (flags & TH_RST)
		return NAPT_CLOSING;
	if (out && flags & TH_SYN && !(flags & TH_ACK)) { /* a new connection from the same port */
		mapping->seen = 0;
		return NAPT_NEW;
	}
	if (flags & TH_FIN)
		mapping->seen |= out ? SEEN_FIN_OUT : SEEN_FIN_IN;
	if (!out)
		mapping->seen |= SEEN_ANSWER;
	if ((mapping->seen & SEEN_FINS) == SEEN_FINS)
		return NAPT_CLOSING;
	if (out && flags & TH_ACK && mapping->seen & SEEN_ANSWER)
		return NAPT_ESTABLISHED;
	return mapping->state;
}

/**
 * track() - a mapping is used by a packet
 * @napt: translation
 * @mapping: in use
 * @pkt: packet, no ICMP error
 * @out: the client has sent it
 * @now: ns
 */
static void track(struct napt *napt, struct mapping *mapping, const struct pkt *pkt, bool out, uint64_t now)
{
	enum napt_state state = mapping->state;

	if (pkt->flags & PKT_LATER)
		state = mapping->state; /* its first one has said it all */
	else if (mapping->class == CLASS_TCP)
		state = next_tcp(mapping, pkt->tcp_flags, out);
	else if (!out)
		state = mapping->class == CLASS_UDP ? NAPT_ANSWERED : NAPT_ECHOED;
	set_state(napt, mapping, state, now);
}

/**
 * class_of() - the class that a packet is translated in
 * @pkt: packet
 * @verdict: set when it is in none
 *
 * Return: enum steer_class, or -1
 */
static int class_of(const struct pkt *pkt, enum verdict *verdict)
{
	int class = policy_class(pkt->protocol);

	*verdict = VERDICT_PROTOCOL;
	if (class < 0 || class >= NAPT_CLASSES ||
	    policy_protocol((enum steer_class) class, pkt->version == 4 ? AF_INET : AF_INET6) != pkt->protocol)
		return -1;
	*verdict = VERDICT_ICMP_TYPE;
	if (class == CLASS_ICMP && !(pkt->flags & (PKT_ICMP_REQUEST | PKT_ICMP_REPLY)))
		return -1;
	*verdict = VERDICT_PASS;
	return class;
}

/**
 * napt_alias() - what the client knows the host by
 * @napt: translation
 * @like: an address of the family that is asked for
 *
 * Return: the alias; "::" if there is none.
 */
const struct addr *napt_alias(const struct napt *napt, const struct addr *like)
{
	return &napt->conf.alias[addr_family(like) == AF_INET ? 0 : 1];
}

/**
 * is_alias() - whether a destination is the host itself
 * @napt: translation
 * @addr: destination
 */
static bool is_alias(const struct napt *napt, const struct addr *addr)
{
	const struct addr *alias = napt_alias(napt, addr);

	return !addr_is_any(alias) && addr_eq(alias, addr);
}

/**
 * napt_aggregate() - the mapping that a packet goes out by, made if need be
 * @napt: translation
 * @pkt: packet of the client's that pkt_parse() has passed
 * @outer: address that others are to see, of the packet's family; it counts for a new mapping
 * @now: ns, never less than before
 * @verdict: set: VERDICT_PASS, or why there is none (VERDICT_PROTOCOL, VERDICT_ICMP_TYPE,
 * VERDICT_ORPHAN_FRAGMENT for a later one whose first has no mapping any more, VERDICT_NAPT_EXHAUSTED)
 *
 * Return: the mapping, or NULL.
 */
struct mapping *napt_aggregate(struct napt *napt, const struct pkt *pkt, const struct addr *outer, uint64_t now,
			       enum verdict *verdict)
{
	struct key key = {.inner = pkt->src, .port = pkt->sport, .host = is_alias(napt, &pkt->dst)};
	bool later = pkt->flags & PKT_LATER;
	struct mapping *mapping;
	int class;

	class = class_of(pkt, verdict);
	if (class < 0)
		return NULL;
	key.class = (uint8_t) class;
	mapping = find(napt, &key);
	if (mapping && is_expired(mapping, now))
		mapping = later ? NULL : begin_anew(napt, mapping, outer, now);
	else if (!mapping && !later)
		mapping = make(napt, &key, outer, now);
	if (!mapping) {
		*verdict = later ? VERDICT_ORPHAN_FRAGMENT : VERDICT_NAPT_EXHAUSTED;
		return NULL;
	}
	mapping->remote = mapping->host ? mapping->outer : pkt->dst;
	mapping->remote_port = pkt->dport;
	track(napt, mapping, pkt, true, now);
	return mapping;
}

/**
 * at_port() - the mapping that has a pool port
 * @napt: translation
 * @class: of the port, or -1
 * @port: host byte order
 * @outer: address that it must have been used with
 * @now: ns
 *
 * Return: the mapping, or NULL.
 */
static struct mapping *at_port(struct napt *napt, int class, uint16_t port, const struct addr *outer, uint64_t now)
{
	const struct napt_pool *pool;
	struct mapping *mapping;

	if (class < 0 || class >= NAPT_CLASSES)
		return NULL;
	pool = &napt->conf.pool[class];
	if (!pool->hi || port < pool->lo || port > pool->hi)
		return NULL;
	mapping = &napt->mapping[napt->first[class] + (port - pool->lo)];
	if (mapping->state == NAPT_FREE || is_expired(mapping, now) || !addr_eq(&mapping->outer, outer))
		return NULL;
	return mapping;
}

/**
 * napt_match() - the mapping that a packet comes in by
 * @napt: translation
 * @pkt: packet that pkt_parse() has passed, to a pool port, or an ICMP error about one from there
 * @now: ns
 *
 * Errors keep no mapping alive.
 *
 * Return: the mapping, or NULL.
 */
struct mapping *napt_match(struct napt *napt, const struct pkt *pkt, uint64_t now)
{
	enum verdict verdict;
	struct mapping *mapping;

	if (pkt->flags & PKT_ICMP_ERROR) {
		mapping = at_port(napt, policy_class(pkt->inner_protocol), pkt->inner_sport, &pkt->inner_src, now);
		return mapping && (!mapping->host || addr_eq(&pkt->inner_dst, &mapping->outer)) ? mapping : NULL;
	}
	mapping = at_port(napt, class_of(pkt, &verdict), pkt->dport, &pkt->dst, now);
	if (!mapping || (mapping->host && !addr_eq(&pkt->src, &mapping->outer)))
		return NULL;
	track(napt, mapping, pkt, false, now);
	return mapping;
}

/**
 * napt_next() - the mappings in use, in the order of class and outer port
 * @napt: translation
 * @class: of the one before; any number
 * @after: its outer port; 0 with class 0 for the first one
 *
 * Return: the mapping, or NULL when there are no more.
 */
const struct mapping *napt_next(const struct napt *napt, unsigned class, unsigned after)
{
	const struct napt_pool *pool = &napt->conf.pool[class < NAPT_CLASSES ? class : 0];
	unsigned index, passed = after < pool->lo ? 0 : after + 1 - pool->lo;

	if (class >= NAPT_CLASSES)
		return NULL;
	index = napt->first[class] + (passed < pool_size(pool) ? passed : pool_size(pool));
	for (; index < napt->mappings; index++)
		if (napt->mapping[index].state != NAPT_FREE)
			return &napt->mapping[index];
	return NULL;
}
