/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_check.c: what can be checked only when every file is through
 *
 * Namespaces that would be attached twice or have more than there is room for,
 * ports that would have two owners, and the relay's user, whom the last file that
 * names one decides.
 */
#include <pwd.h>
#include <string.h>

#include "conf_keys.h"
#include "util.h"

/* What the slices of a netns may have of together */
static const struct {
	unsigned most;
	uint64_t (*count)(const struct conf_slice *slice);
	const char *what;
} rooms[] = {
	{STEER_GRANTS_MAX, conf_grants_count, "GRE keys and protocols"},
	{STEER_PROXIED_MAX, conf_proxied_count, "proxied prefixes"},
};

/**
 * check_paths() - no namespace may be attached under two names
 * @loader: load
 */
static void check_paths(struct conf_loader *loader)
{
	const struct conf *conf = loader->conf;
	unsigned i, j;

	for (i = 0; i < conf->netnses; i++)
		for (j = 0; j < i; j++) {
			/* the implied default comes last, and has no line to name */
			bool implied = !loader->netns_place[i].file;
			const struct conf_place *place = &loader->netns_place[implied ? j : i];

			if (!strcmp(conf->netns[i].path, conf->netns[j].path))
				conf_error(loader, place->file, place->line,
					   "netns \"%s\" and \"%s\" have the same path", conf->netns[j].name,
					   conf->netns[i].name);
		}
}

/**
 * share_address() - whether two slices have an address in common
 * @a: slice
 * @b: another one of the same netns
 */
static bool share_address(const struct conf_slice *a, const struct conf_slice *b)
{
	unsigned i, j;

	for (i = 0; i < a->addresses; i++)
		for (j = 0; j < b->addresses; j++)
			if (addr_eq(&a->address[i], &b->address[j]))
				return true;
	return !a->addresses || !b->addresses;
}

/**
 * check_overlap() - no port of an address may belong to two slices
 * @loader: load
 * @first: index of the slice that was defined first
 * @second: index of the other
 */
static void check_overlap(struct conf_loader *loader, unsigned first, unsigned second)
{
	const struct conf_slice *a = &loader->conf->slice[first], *b = &loader->conf->slice[second];
	const struct conf_draft *draft = &loader->draft[second];
	unsigned i, j;

	if (a->netns != b->netns || !share_address(a, b))
		return;
	conf_grants_overlap(loader, first, second);
	for (i = 0; i < b->ranges; i++)
		for (j = 0; j < a->ranges; j++) {
			const struct policy_range *r = &a->range[j], *s = &b->range[i];

			if (r->class == s->class && r->lo <= s->hi && s->lo <= r->hi)
				conf_error(loader, draft->place.file, draft->place.line,
					   "slice \"%s\": %s %u-%u overlaps %u-%u of slice \"%s\" (%s:%u)", b->name,
					   policy_class_name(s->class), s->lo, s->hi, r->lo, r->hi, a->name,
					   loader->draft[first].place.file, loader->draft[first].place.line);
		}
}

/**
 * check_room() - whether each netns has room for what its slices have
 * @loader: load
 * @room: index of rooms[]
 *
 * The slice with which there is too much is named.
 */
static void check_room(struct conf_loader *loader, size_t room)
{
	const unsigned most = rooms[room].most;
	const struct conf *conf = loader->conf;
	unsigned i, j;

	for (i = 0; i < conf->slices; i++) {
		const struct conf_slice *slice = &conf->slice[i];
		uint64_t before = 0, own = rooms[room].count(slice);

		for (j = 0; j < i && own; j++)
			if (conf->slice[j].netns == slice->netns)
				before += rooms[room].count(&conf->slice[j]);
		if (before <= most && before + own > most)
			conf_error(loader, loader->draft[i].place.file, loader->draft[i].place.line,
				   "slice \"%s\": with it netns \"%s\" has more than %u %s", slice->name,
				   conf->netns[slice->netns].name, most, rooms[room].what);
	}
}

/**
 * resolve_relay_user() - look up who the relay runs as
 * @loader: load
 */
static void resolve_relay_user(struct conf_loader *loader)
{
	const struct conf_place *place = &loader->relay_user_place;
	const struct passwd *passwd = getpwnam(loader->relay_user);

	if (!passwd) {
		conf_error(loader, place->file, place->line, "relay_user: there is no user \"%s\"",
			   loader->relay_user);
		return;
	}
	if (!passwd->pw_uid || !passwd->pw_gid || passwd->pw_uid == loader->overflow_uid ||
	    passwd->pw_gid == loader->overflow_gid)
		conf_error(
			loader, place->file, place->line,
			"relay_user: \"%s\" must be a user of the relay's own, not root or the kernel's overflow id",
			loader->relay_user);
	loader->conf->relay_uid = passwd->pw_uid;
	loader->conf->relay_gid = passwd->pw_gid;
}

/**
 * conf_check() - check the whole
 * @loader: load, with every slice's netns looked up
 */
void conf_check(struct conf_loader *loader)
{
	unsigned i, j;

	resolve_relay_user(loader);
	check_paths(loader);
	for (i = 0; i < ARRAY_SIZE(rooms); i++)
		check_room(loader, i);
	for (i = 0; i < loader->conf->slices; i++) {
		for (j = 0; j < i; j++)
			check_overlap(loader, j, i);
		for (j = 0; j <= i; j++)
			conf_proxied_overlap(loader, j, i);
	}
}
