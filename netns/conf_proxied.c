/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_proxied.c: prefixes that are routed to the host, and belong to one slice whole
 *
 * No address may have two owners: prefixes of a netns do not overlap, and hold
 * no address that a slice names as one of its `addresses`. Nor may a prefix
 * hold what means something else: addresses that are never routed, or those by
 * which links know the host.
 */
#include <string.h>

#include "conf_keys.h"
#include "util.h"

/*
 * What no prefix may have an address in common with. Links know the host by
 * 192.0.0.8 and 64:ff9b:1::8 (steer.h); the latter is in ::/8, where IPv4
 * addresses in IPv6 ones are too.
 */
static const char *const special[] = {
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.8/32", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8",
};

/**
 * is_v6() - the family of a prefix, which its first address alone does not tell
 * @text: of the prefix
 */
static bool is_v6(const char *text)
{
	return strchr(text, ':');
}

/**
 * overlap() - whether two prefixes have an address in common
 * @a: prefix
 * @b: another one
 */
static bool overlap(const struct prefix *a, const struct prefix *b)
{
	return a->len < b->len ? prefix_contains(a, &b->addr) : prefix_contains(b, &a->addr);
}

/**
 * special_of() - the special prefix that a prefix overlaps
 * @text: the prefix
 * @prefix: the same
 *
 * Return: it, or NULL
 */
static const char *special_of(const char *text, const struct prefix *prefix)
{
	struct prefix other;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(special); i++)
		if (is_v6(special[i]) == is_v6(text) && prefix_parse(special[i], &other) && overlap(&other, prefix))
			return special[i];
	return NULL;
}

/**
 * conf_take_proxied() - a prefix that is routed to the host, and is the slice's
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
bool conf_take_proxied(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object)
{
	const char *meant;
	struct conf_slice *slice = object;
	char text[ADDR_TEXT_MAX];
	struct prefix prefix;
	unsigned i;

	if (!prefix_parse(value->text, &prefix))
		return WRONG(loader, value,
			     "%s: \"%.64s\" is neither an address nor a prefix (ADDRESS/LENGTH, no bits set "
			     "behind the length)",
			     key->name, value->text);
	meant = special_of(value->text, &prefix);
	if (meant)
		return WRONG(loader, value, "%s: %s overlaps %s, which cannot be a slice's", key->name, value->text,
			     meant);
	for (i = 0; i < slice->prefixes; i++)
		if (overlap(&slice->prefix[i], &prefix))
			return WRONG(loader, value, "%s: %s overlaps %s of the same slice", key->name, value->text,
				     prefix_text(&slice->prefix[i], text));
	if (slice->prefixes == STEER_PROXIED_MAX)
		return WRONG(loader, value, "%s: more than %d", key->name, STEER_PROXIED_MAX);
	slice->prefix[slice->prefixes++] = prefix;
	return true;
}

/**
 * check_addresses() - no address that a slice names may be inside a prefix
 * @loader: load
 * @proxying: index of the slice that has the prefixes
 * @naming: index of the slice that names addresses, which may be the same
 */
static void check_addresses(struct conf_loader *loader, unsigned proxying, unsigned naming)
{
	const struct conf_slice *a = &loader->conf->slice[proxying], *b = &loader->conf->slice[naming];
	const struct conf_place *place = &loader->draft[proxying].place, *other = &loader->draft[naming].place;
	char prefix[ADDR_TEXT_MAX], addr[ADDR_TEXT_MAX];
	unsigned i, j;

	for (i = 0; i < a->prefixes; i++)
		for (j = 0; j < b->addresses; j++)
			if (prefix_contains(&a->prefix[i], &b->address[j]))
				conf_error(loader, place->file, place->line,
					   "slice \"%s\": proxied %s holds %s, an address of slice \"%s\" (%s:%u)",
					   a->name, prefix_text(&a->prefix[i], prefix),
					   addr_text(&b->address[j], addr), b->name, other->file, other->line);
}

/**
 * conf_proxied_overlap() - no address may belong to two slices of a netns
 * @loader: load
 * @first: index of the slice that was defined first
 * @second: index of the other, which may be the same
 */
void conf_proxied_overlap(struct conf_loader *loader, unsigned first, unsigned second)
{
	const struct conf_slice *a = &loader->conf->slice[first], *b = &loader->conf->slice[second];
	const struct conf_place *place = &loader->draft[second].place, *other = &loader->draft[first].place;
	char left[ADDR_TEXT_MAX], right[ADDR_TEXT_MAX];
	unsigned i, j;

	if (a->netns != b->netns)
		return;
	check_addresses(loader, second, first);
	if (first == second)
		return;
	check_addresses(loader, first, second);
	for (i = 0; i < b->prefixes; i++)
		for (j = 0; j < a->prefixes; j++)
			if (overlap(&a->prefix[j], &b->prefix[i]))
				conf_error(loader, place->file, place->line,
					   "slice \"%s\": proxied %s overlaps %s of slice \"%s\" (%s:%u)", b->name,
					   prefix_text(&b->prefix[i], left), prefix_text(&a->prefix[j], right),
					   a->name, other->file, other->line);
}

/**
 * conf_proxied_count() - how many prefixes a slice has
 * @slice: slice
 */
uint64_t conf_proxied_count(const struct conf_slice *slice)
{
	return slice->prefixes;
}
