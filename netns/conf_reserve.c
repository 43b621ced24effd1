/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_reserve.c: reserve sections: more ports for a slice
 *
 * A section cannot be given twice, so what a drop-in adds to a slice that
 * another file defines is a section of its own kind:
 *
 *	reserve "name" { slice = one  tcp = {"41000-41010"} }
 *
 * It stands in any file, before or after its slice. Its ranges are kept until
 * every file is through and are then added to the slice's, under the same
 * rules as if they had been written there. Everything after that (overlap with
 * other slices, steering, reservations, the relay) knows only the slice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_keys.h"
#include "util.h"

/**
 * take_slice_name() - whose ports these are
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_reserve
 *
 * Return: false after a complaint
 */
static bool take_slice_name(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			    void *object)
{
	struct conf_reserve *reserve = object;

	if (!conf_name_ok(value->text))
		return WRONG(loader, value, "%s: \"%.64s\" is not a name (a-z, 0-9, \"_-\", 1 to %d)", key->name,
			     value->text, PROTO_NAME_MAX - 1);
	strcpy(reserve->slice, value->text);
	return true;
}

/**
 * take_range() - ports or ICMP ids
 * @loader: load
 * @key: min is the class
 * @value: text
 * @object: struct conf_reserve
 *
 * Return: false after a complaint
 */
static bool take_range(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object)
{
	struct conf_reserve *reserve = object;

	if (reserve->ranges == POLICY_RANGES_MAX)
		return WRONG(loader, value, "%s: more than %d ranges (all protocols together)", key->name,
			     POLICY_RANGES_MAX);
	if (!conf_read_range(loader, key, value, &reserve->range[reserve->ranges]))
		return false;
	reserve->ranges++;
	return true;
}

const struct conf_key conf_reserve_keys[] = {
	{"slice", false, take_slice_name},
	CONF_RANGE_KEYS(take_range),
	{NULL},
};

/**
 * reserve_name_ok() - whether a reserve may be called so
 * @name: name
 */
static bool reserve_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n < CONF_RESERVE_MAX && !name[n];
}

/**
 * conf_reserve_take() - a reserve section has ended
 * @loader: load
 * @section: it
 * @line: where it began
 */
void conf_reserve_take(struct conf_loader *loader, cfg_t *section, unsigned line)
{
	struct conf_reserve *reserve = calloc(1, sizeof(*reserve));
	const char *name = cfg_title(section), *file = loader->file->path;
	const struct conf_reserve *other;
	unsigned before = loader->errors;

	if (!reserve) {
		conf_error(loader, file, line, "%s", strerror(errno));
		return;
	}
	reserve->place = (struct conf_place){file, line};
	if (reserve_name_ok(name))
		strcpy(reserve->name, name);
	else
		conf_error(loader, file, line,
			   "\"%.80s\" cannot be the name of a reserve (a-z, 0-9, \"_-\", 1 to %d)", name,
			   CONF_RESERVE_MAX - 1);
	STAILQ_FOREACH(other, &loader->reserves, link)
	if (reserve->name[0] && !strcmp(other->name, reserve->name))
		conf_error(loader, file, line, "reserve \"%s\" is defined already at %s:%u", name, other->place.file,
			   other->place.line);
	conf_take(loader, conf_reserve_keys, section, reserve);
	if (loader->errors == before && !reserve->slice[0])
		conf_error(loader, file, line, "reserve \"%s\" names no slice", name);
	if (loader->errors == before && !reserve->ranges)
		conf_error(loader, file, line,
			   "reserve \"%s\" has no ports: give it tcp, udp, icmp, sctp, dccp or udplite", name);
	STAILQ_INSERT_TAIL(&loader->reserves, reserve, link);
}

/**
 * add_range() - one more range for a slice
 * @loader: load
 * @slice: slice
 * @low_ports: whether it may have ports below 1024
 * @reserve: where the range was written
 * @range: range
 */
static void add_range(struct conf_loader *loader, struct conf_slice *slice, bool low_ports,
		      const struct conf_reserve *reserve, const struct policy_range *range)
{
	const char *file = reserve->place.file, *class = policy_class_name((enum steer_class)range->class);
	unsigned line = reserve->place.line, i;

	if (range->class != CLASS_ICMP && range->lo < 1024 && !low_ports) {
		conf_error(loader, file, line,
			   "%s: %u-%u reaches below 1024, which needs low_ports = yes of slice \"%s\"", class,
			   range->lo, range->hi, slice->name);
		return;
	}
	for (i = 0; i < slice->ranges; i++) {
		const struct policy_range *own = &slice->range[i];

		if (own->class == range->class && own->lo <= range->hi && range->lo <= own->hi) {
			conf_error(loader, file, line, "%s: %u-%u overlaps %u-%u of the same slice", class, range->lo,
				   range->hi, own->lo, own->hi);
			return;
		}
	}
	if (slice->ranges == POLICY_RANGES_MAX)
		conf_error(loader, file, line, "slice \"%s\" has more than %d ranges with this", slice->name,
			   POLICY_RANGES_MAX);
	else
		slice->range[slice->ranges++] = *range;
}

/**
 * conf_reserve_apply() - every file is through: give the slices what was reserved for them
 * @loader: load
 */
void conf_reserve_apply(struct conf_loader *loader)
{
	const struct conf *conf = loader->conf;
	const struct conf_reserve *reserve;
	unsigned i, j;

	STAILQ_FOREACH(reserve, &loader->reserves, link)
	{
		for (i = 0; i < conf->slices && strcmp(conf->slice[i].name, reserve->slice); i++)
			;
		if (i == conf->slices && reserve->slice[0])
			conf_error(loader, reserve->place.file, reserve->place.line,
				   "reserve \"%s\": there is no slice \"%s\"", reserve->name, reserve->slice);
		for (j = 0; i < conf->slices && j < reserve->ranges; j++)
			add_range(loader, &conf->slice[i], loader->draft[i].low_ports, reserve, &reserve->range[j]);
	}
}

/**
 * conf_take_hold() - when a slice's ports are held
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
bool conf_take_hold(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		    void *object)
{
	struct conf_slice *slice = object;

	slice->hold_always = !strcmp(value->text, "always");
	if (slice->hold_always || !strcmp(value->text, "open"))
		return true;
	return WRONG(loader, value, "%s: \"%.64s\" is none of open, always", key->name, value->text);
}

/**
 * conf_reserve_free() - forget all sections
 * @loader: load
 */
void conf_reserve_free(struct conf_loader *loader)
{
	struct conf_reserve *reserve;

	while ((reserve = STAILQ_FIRST(&loader->reserves))) {
		STAILQ_REMOVE_HEAD(&loader->reserves, link);
		free(reserve);
	}
}
