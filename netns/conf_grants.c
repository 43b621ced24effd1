/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_grants.c: protocols that have no ports: GRE by key, others by number
 *
 * A slice has GRE keys, in ranges, and whole protocols, by number or by the
 * name that /etc/protocols has for them. What has ports or identifiers of its own
 * cannot be granted whole, nor what is only a header on the way to something
 * else: who may send what is behind it could not be said any more.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "conf_keys.h"
#include "util.h"

/**
 * grant_text() - a grant in words
 * @grant: grant
 * @text: filled in
 *
 * Return: @text
 */
static const char *grant_text(const struct policy_grant *grant, char text[static 48])
{
	if (grant->protocol != IPPROTO_GRE)
		snprintf(text, 48, "protocol %u", grant->protocol);
	else if (grant->lo == grant->hi)
		snprintf(text, 48, "gre %u", grant->lo);
	else
		snprintf(text, 48, "gre %u-%u", grant->lo, grant->hi);
	return text;
}

/**
 * overlap() - whether two grants have something in common
 * @a: grant
 * @b: grant
 */
static bool overlap(const struct policy_grant *a, const struct policy_grant *b)
{
	return a->protocol == b->protocol && a->lo <= b->hi && b->lo <= a->hi;
}

/**
 * add_grant() - one more grant for a slice
 * @loader: load
 * @key: key
 * @value: text
 * @slice: slice
 * @grant: grant
 *
 * Return: false after a complaint
 */
static bool add_grant(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      struct conf_slice *slice, const struct policy_grant *grant)
{
	char text[48];
	unsigned i;

	for (i = 0; i < slice->grants; i++)
		if (overlap(&slice->grant[i], grant))
			return WRONG(loader, value, "%s: %s overlaps %s of the same slice", key->name, value->text,
				     grant_text(&slice->grant[i], text));
	if (slice->grants == POLICY_GRANTS_MAX)
		return WRONG(loader, value, "%s: more than %d entries (gre and protocols together)", key->name,
			     POLICY_GRANTS_MAX);
	slice->grant[slice->grants++] = *grant;
	return true;
}

/**
 * conf_take_gre() - keys of GRE packets
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
bool conf_take_gre(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		   void *object)
{
	struct policy_grant grant = {.protocol = IPPROTO_GRE};
	const char *dash = strchr(value->text, '-');
	char first[12] = "";
	uint64_t lo, hi;

	if (!dash)
		snprintf(first, sizeof(first), "%s", value->text);
	else if ((size_t)(dash - value->text) < sizeof(first))
		memcpy(first, value->text, (size_t)(dash - value->text));
	if (!parse_u64(first, UINT32_MAX, &lo) || !parse_u64(dash ? dash + 1 : value->text, UINT32_MAX, &hi) ||
	    lo > hi)
		return WRONG(loader, value, "%s: \"%.64s\" is not a key or range (N or LOW-HIGH, 0 to 4294967295)",
			     key->name, value->text);
	if (hi - lo >= STEER_GRANTS_MAX)
		return WRONG(loader, value, "%s: %s are more than %d keys", key->name, value->text, STEER_GRANTS_MAX);
	grant.lo = (uint32_t)lo;
	grant.hi = (uint32_t)hi;
	return add_grant(loader, key, value, object, &grant);
}

/**
 * conf_take_protocol() - a whole protocol
 * @loader: load
 * @key: key
 * @value: name, or number
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
bool conf_take_protocol(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			void *object)
{
	struct policy_grant grant = {0};
	const struct protoent *entry;
	uint64_t number;

	if (!parse_u64(value->text, UINT8_MAX, &number)) {
		entry = *value->text ? getprotobyname(value->text) : NULL;
		if (!entry)
			return WRONG(loader, value, "%s: \"%.64s\" is no protocol (a name, or 1 to 254)", key->name,
				     value->text);
		number = (uint64_t)entry->p_proto;
	}
	if (number == IPPROTO_GRE)
		return WRONG(loader, value, "%s: \"%.64s\" is granted by its keys, with gre", key->name, value->text);
	if (policy_class((int)number) >= 0)
		return WRONG(loader, value,
			     "%s: \"%.64s\" is not granted whole: it has ports or identifiers, with %s", key->name,
			     value->text, policy_class_name((enum steer_class)policy_class((int)number)));
	if (!policy_grantable((int)number))
		return WRONG(loader, value,
			     "%s: \"%.64s\" cannot be granted: it is a header on the way to another, or none",
			     key->name, value->text);
	grant.protocol = (uint8_t)number;
	return add_grant(loader, key, value, object, &grant);
}

/**
 * conf_grants_overlap() - nothing may be granted to two slices on one address
 * @loader: load
 * @first: index of the slice that was defined first
 * @second: index of the other, of the same netns, with an address in common
 */
void conf_grants_overlap(struct conf_loader *loader, unsigned first, unsigned second)
{
	const struct conf_slice *a = &loader->conf->slice[first], *b = &loader->conf->slice[second];
	const struct conf_place *place = &loader->draft[second].place, *other = &loader->draft[first].place;
	char left[48], right[48];
	unsigned i, j;

	for (i = 0; i < b->grants; i++)
		for (j = 0; j < a->grants; j++)
			if (overlap(&a->grant[j], &b->grant[i]))
				conf_error(loader, place->file, place->line,
					   "slice \"%s\": %s overlaps %s of slice \"%s\" (%s:%u)", b->name,
					   grant_text(&b->grant[i], left), grant_text(&a->grant[j], right), a->name,
					   other->file, other->line);
}

/**
 * conf_grants_count() - how many keys and protocols a slice is granted
 * @slice: slice
 */
uint64_t conf_grants_count(const struct conf_slice *slice)
{
	uint64_t keys = 0;
	unsigned i;

	for (i = 0; i < slice->grants; i++)
		keys += (uint64_t)slice->grant[i].hi - slice->grant[i].lo + 1;
	return keys;
}
