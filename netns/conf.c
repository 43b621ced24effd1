/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf.c: loads the configuration
 *
 * A file is read and checked as a text (conf_text.c, which also finds the
 * drop-ins), parsed by libconfuse into strings that know their lines, and
 * handed key by key to conf_keys.c. Sections are taken, and removed from
 * libconfuse's memory, as they end, so that a mistake further down hides none
 * above it. When every file is through, reserve sections are added to their
 * slices (conf_reserve.c), names of netns are looked up and conf_check.c checks
 * the whole.
 *
 * libconfuse stops at the first unknown key or syntax error of a file; of
 * wrong values it shows all. Of what it can do by itself: include() and
 * other functions exist only if a program registers them, and none is; "~" in
 * file names is expanded only by cfg_parse(), which is not used; variables
 * and escapes are refused by conf_text.c; "+=" appends to a list, which is
 * useful and stays. A key given twice would silently replace the first:
 * put_value() refuses it. Only one load can run at a time, because the
 * library's callbacks take no argument.
 *
 * Sections of drop-ins are added; their top-level keys replace those of the
 * files before.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_keys.h"
#include "priv.h"
#include "util.h"

#define RELAY_PATH PKGLIBEXECDIR "/saferaw-relay"
#define SLICES_MAX (STEER_SLICES_MAX - 1)
#define MEMORY_DEFAULT_MAX (2ULL << 30)

static const char *const default_deny[] = {"169.254.169.254/32", "fd00:ec2::254/128"};

static struct conf_loader *loading; /* for libconfuse's callbacks */

/**
 * on_error() - libconfuse found an error
 * @cfg: section that it is in
 * @format: text, as for vprintf(3)
 * @ap: its arguments
 */
static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *format, va_list ap)
{
	conf_complain(loading->report, loading->arg, loading->file->path, cfg ? (unsigned)cfg->line : 0, format, ap);
	loading->errors++;
	loading->explained = true;
}

/**
 * put_value() - keep one value of a key with its line
 * @cfg: section
 * @opt: key
 * @text: value
 * @result: set to a struct conf_value
 *
 * Return: 0, or -1 after a report
 */
static int put_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	unsigned *given = cfg == loading->root ? loading->given : loading->section_given;
	size_t i = (size_t)(opt - cfg->opts), n = strlen(text) + 1;
	struct conf_value *value = malloc(sizeof(*value) + n);

	if (!value) {
		conf_error(loading, loading->file->path, (unsigned)cfg->line, "%s", strerror(errno));
		return -1;
	}
	value->line = (unsigned)cfg->line;
	loading->line = value->line;
	memcpy(value->text, text, n);
	/* a second "=" has emptied the option before this call, a "+=" or the next one of a list has not */
	if (opt->nvalues == 1 && given[i])
		conf_error(loading, loading->file->path, value->line, "%s was given already in line %u", opt->name,
			   given[i]);
	if (!given[i])
		given[i] = value->line;
	memcpy(result, &value, sizeof(value));
	return 0;
}

/**
 * refuse_empty() - an empty list where it would mean the opposite of what it says
 * @section: as parsed
 * @name: key
 * @line: of the section
 * @meaning: why not
 */
static void refuse_empty(cfg_t *section, const char *name, unsigned line, const char *meaning)
{
	const cfg_opt_t *opt = cfg_getopt(section, name);

	if ((opt->flags & CFGF_MODIFIED) && !opt->nvalues)
		conf_error(loading, loading->file->path, line, "%s: an empty list %s", name, meaning);
}

/**
 * new_name() - check a section's name
 * @kind: "slice" or "netns"
 * @name: name
 * @line: of the section
 * @other: a section of that name, or NULL
 *
 * Return: false after a complaint
 */
static bool new_name(const char *kind, const char *name, unsigned line, const struct conf_place *other)
{
	if (!conf_name_ok(name))
		return conf_error(loading, loading->file->path, line,
				  "\"%.64s\" cannot be the name of a %s (a-z, 0-9, \"_-\", 1 to %d)", name, kind,
				  PROTO_NAME_MAX - 1);
	if (other)
		return conf_error(loading, loading->file->path, line, "%s \"%s\" is defined already at %s:%u", kind,
				  name, other->file, other->line);
	return true;
}

/**
 * find_netns() - a netns by its name
 * @loader: load
 * @name: name
 *
 * Return: its index, or conf->netnses
 */
static unsigned find_netns(const struct conf_loader *loader, const char *name)
{
	const struct conf *conf = loader->conf;
	unsigned i;

	for (i = 0; i < conf->netnses && strcmp(conf->netns[i].name, name); i++)
		;
	return i;
}

/**
 * find_slice() - where a slice of that name was defined
 * @loader: load
 * @name: name
 *
 * Return: place, NULL for nowhere
 */
static const struct conf_place *find_slice(const struct conf_loader *loader, const char *name)
{
	unsigned i;

	for (i = 0; i < loader->conf->slices; i++)
		if (!strcmp(loader->conf->slice[i].name, name))
			return &loader->draft[i].place;
	return NULL;
}

/**
 * add_netns() - a netns with its defaults
 * @loader: load
 * @name: checked name
 * @place: where it was defined
 *
 * Return: the netns, NULL after a complaint
 */
static struct conf_netns *add_netns(struct conf_loader *loader, const char *name, const struct conf_place *place)
{
	struct conf *conf = loader->conf;
	struct conf_netns *netns = &conf->netns[conf->netnses];

	if (conf->netnses == PRIV_NETNS_MAX) {
		conf_error(loader, place->file, place->line, "more than %d netns", PRIV_NETNS_MAX);
		return NULL;
	}
	strcpy(netns->name, name);
	snprintf(netns->tun, sizeof(netns->tun), "saferaw%u", conf->netnses);
	loader->netns_place[conf->netnses++] = *place;
	return netns;
}

/**
 * fill_netns() - what was not given
 * @netns: netns
 * @denies: whether a deny-list was given
 */
static void fill_netns(struct conf_netns *netns, bool denies)
{
	if (!netns->uplinks)
		strcpy(netns->uplink[netns->uplinks++], "*");
	while (!denies && netns->denied < ARRAY_SIZE(default_deny)) {
		prefix_parse(default_deny[netns->denied], &netns->deny[netns->denied]);
		netns->denied++;
	}
}

/**
 * take_netns_section() - a netns section has ended
 * @section: it
 * @line: where it began
 */
static void take_netns_section(cfg_t *section, unsigned line)
{
	const char *name = cfg_title(section);
	unsigned i = find_netns(loading, name);
	struct conf_place place = {loading->file->path, line};
	struct conf_netns *netns;

	if (!new_name("netns", name, line, i < loading->conf->netnses ? &loading->netns_place[i] : NULL))
		return;
	netns = add_netns(loading, name, &place);
	if (!netns)
		return;
	refuse_empty(section, "uplinks", line, "would leave nothing to work on");
	conf_take(loading, conf_netns_keys, section, netns);
	fill_netns(netns, cfg_getopt(section, "deny")->flags & CFGF_MODIFIED);
}

/**
 * fill_slice() - what was not given, and what must have been
 * @slice: slice
 * @place: where it was defined
 */
static void fill_slice(struct conf_slice *slice, const struct conf_place *place)
{
	uint64_t queues = (uint64_t)slice->flows_max * slice->queue_bytes * 2;

	if (!slice->memory_bytes)
		slice->memory_bytes = queues < MEMORY_DEFAULT_MAX ? queues : MEMORY_DEFAULT_MAX;
	if (!slice->ranges && !slice->grants && !slice->prefixes)
		conf_error(
			loading, place->file, place->line,
			"slice \"%s\" has no ports: give it tcp, udp, icmp, sctp, dccp, udplite, gre, protocols or "
			"proxied",
			slice->name);
	if (!slice->users && !slice->groups)
		conf_error(loading, place->file, place->line, "slice \"%s\" has neither users nor groups",
			   slice->name);
}

/**
 * take_slice_section() - a slice section has ended
 * @section: it
 * @line: where it began
 */
static void take_slice_section(cfg_t *section, unsigned line)
{
	struct conf *conf = loading->conf;
	struct conf_slice *slice = &conf->slice[conf->slices];
	struct conf_draft *draft = &loading->draft[conf->slices];
	const char *name = cfg_title(section);
	unsigned before = loading->errors;

	if (!new_name("slice", name, line, find_slice(loading, name)))
		return;
	if (conf->slices == SLICES_MAX) {
		conf_error(loading, loading->file->path, line, "more than %d slices", SLICES_MAX);
		return;
	}
	conf->slices++;
	draft->place = (struct conf_place){loading->file->path, line};
	draft->netns_place = draft->place;
	strcpy(draft->netns, "default");
	strcpy(slice->name, name);
	slice->clients_max = 64;
	slice->flows_max = 4096;
	slice->links_max = 64;
	slice->queue_bytes = 212992;
	loading->slice_draft = draft;
	refuse_empty(section, "addresses", line, "would mean all of them: leave the key out for that");
	conf_take(loading, conf_slice_keys, section, slice);
	if (loading->errors == before)
		fill_slice(slice, &draft->place);
}

/**
 * on_section() - libconfuse has come to the end of a section
 * @root: of the file
 * @opt: kind of section; the only one of it that libconfuse holds is the one that has ended
 *
 * Return: 0, the file goes on
 */
static int on_section(cfg_t *root, cfg_opt_t *opt)
{
	cfg_t *section = cfg_opt_getnsec(opt, 0);
	unsigned line = loading->file->section_line[loading->section++];

	(void)root;
	if (!strcmp(opt->name, "netns"))
		take_netns_section(section, line);
	else if (!strcmp(opt->name, "reserve"))
		conf_reserve_take(loading, section, line);
	else
		take_slice_section(section, line);
	memset(loading->section_given, 0, sizeof(loading->section_given));
	cfg_opt_rmnsec(opt, 0);
	return 0;
}

/**
 * make_options() - libconfuse's form of a table of keys
 * @keys: table
 * @opts: filled in, room for CONF_KEYS_MAX
 *
 * Return: how many
 */
static unsigned make_options(const struct conf_key *keys, cfg_opt_t *opts)
{
	unsigned n;

	for (n = 0; keys[n].name; n++)
		opts[n] = keys[n].list
				  ? (cfg_opt_t)CFG_PTR_LIST_CB(keys[n].name, NULL, CFGF_NODEFAULT, put_value, free)
				  : (cfg_opt_t)CFG_PTR_CB(keys[n].name, NULL, CFGF_NODEFAULT, put_value, free);
	opts[n] = (cfg_opt_t)CFG_END();
	return n;
}

/**
 * note_broken() - libconfuse gave up on the present file
 * @loader: load
 *
 * It does not always say why: an empty string in the place of a key ends the
 * parse without a word. Then the last value that it took says where about.
 */
static void note_broken(struct conf_loader *loader)
{
	loader->broken = true;
	if (!loader->explained)
		conf_error(loader, loader->file->path, loader->line, "syntax error in this line or below");
}

/**
 * parse_text() - parse one file
 * @loader: load
 * @text: it
 */
static void parse_text(struct conf_loader *loader, const struct conf_text *text)
{
	cfg_opt_t netns[CONF_KEYS_MAX], slice[CONF_KEYS_MAX], reserve[CONF_KEYS_MAX], top[CONF_KEYS_MAX];
	unsigned n = make_options(conf_top_keys, top);
	FILE *fp;

	make_options(conf_netns_keys, netns);
	make_options(conf_slice_keys, slice);
	make_options(conf_reserve_keys, reserve);
	top[n++] = (cfg_opt_t)CFG_SEC("netns", netns, CFGF_MULTI | CFGF_TITLE);
	top[n++] = (cfg_opt_t)CFG_SEC("slice", slice, CFGF_MULTI | CFGF_TITLE);
	top[n++] = (cfg_opt_t)CFG_SEC("reserve", reserve, CFGF_MULTI | CFGF_TITLE);
	top[n] = (cfg_opt_t)CFG_END();

	loader->file = text;
	loader->section = 0;
	loader->line = 1;
	loader->explained = false;
	memset(loader->given, 0, sizeof(loader->given));
	memset(loader->section_given, 0, sizeof(loader->section_given));
	loader->root = cfg_init(top, CFGF_NONE);
	fp = text->size ? fmemopen(text->data, text->size, "r") : NULL;
	if (loader->root && fp) {
		loader->root->filename = strdup(text->path);
		cfg_set_error_function(loader->root, on_error);
		cfg_set_validate_func(loader->root, "netns", on_section);
		cfg_set_validate_func(loader->root, "slice", on_section);
		cfg_set_validate_func(loader->root, "reserve", on_section);
		if (cfg_parse_fp(loader->root, fp) != CFG_SUCCESS)
			note_broken(loader);
		conf_take(loader, conf_top_keys, loader->root, loader->conf);
	} else if (text->size) {
		loader->broken = true;
		conf_error(loader, text->path, 0, "%s", strerror(errno));
	}
	if (fp)
		fclose(fp);
	if (loader->root)
		cfg_free(loader->root);
	loader->root = NULL;
}

/**
 * imply_default() - netns "default" needs no section
 * @loader: load
 * @draft: a slice that uses it
 */
static void imply_default(struct conf_loader *loader, const struct conf_draft *draft)
{
	static const struct conf_place nowhere;
	bool full = loader->conf->netnses == PRIV_NETNS_MAX;
	struct conf_netns *netns = add_netns(loader, "default", full ? &draft->place : &nowhere);

	if (netns)
		fill_netns(netns, false);
}

/**
 * resolve_netns() - turn the names that slices give into indexes
 * @loader: load
 */
static void resolve_netns(struct conf_loader *loader)
{
	const struct conf *conf = loader->conf;
	unsigned i;

	for (i = 0; i < conf->slices; i++) {
		const struct conf_draft *draft = &loader->draft[i];
		struct conf_slice *slice = &conf->slice[i];

		slice->netns = find_netns(loader, draft->netns);
		if (slice->netns < conf->netnses)
			continue;
		if (!strcmp(draft->netns, "default"))
			imply_default(loader, draft);
		else
			conf_error(loader, draft->netns_place.file, draft->netns_place.line,
				   "slice \"%s\": there is no netns \"%s\"", slice->name, draft->netns);
		if (slice->netns == conf->netnses)
			slice->netns = UINT_MAX - i; /* of its own, so that it overlaps nobody */
	}
	for (i = 0; i < conf->slices; i++) {
		const struct conf_slice *slice = &conf->slice[i];

		if (slice->netns < conf->netnses &&
		    slice->denied + conf->netns[slice->netns].denied > POLICY_DENY_MAX)
			conf_error(loader, loader->draft[i].place.file, loader->draft[i].place.line,
				   "slice \"%s\": its deny-list and its netns's have more than %d prefixes together",
				   slice->name, POLICY_DENY_MAX);
	}
}

/**
 * make_conf() - an empty configuration, with room for what the files define
 * @sections: how many sections they have
 *
 * Return: configuration with its defaults, NULL and ENOMEM
 */
static struct conf *make_conf(size_t sections)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return NULL;
	conf->netns = calloc(PRIV_NETNS_MAX + 1, sizeof(*conf->netns));
	conf->slice = calloc(sections, sizeof(*conf->slice));
	if (!conf->netns || !conf->slice) {
		conf_free(conf);
		return NULL;
	}
	strcpy(conf->run_dir, RUN_DIR);
	strcpy(conf->relay_path, RELAY_PATH);
	conf->quarantine_ms = 2000;
	conf->grace_ms = 10000;
	return conf;
}

/**
 * make_room() - all memory that a load needs beside the files
 * @loader: load
 * @files: read already
 *
 * Return: 0, or -1 after a report
 */
static int make_room(struct conf_loader *loader, const struct conf_files *files)
{
	size_t sections = 0, i;

	for (i = 0; i < files->n; i++)
		sections += files->text[i].sections;
	/* one more than can be used: sections are looked at before they are counted */
	sections = sections < SLICES_MAX ? sections + 1 : SLICES_MAX + 1;
	loader->conf = make_conf(sections);
	loader->netns_place = calloc(PRIV_NETNS_MAX + 1, sizeof(*loader->netns_place));
	loader->draft = calloc(sections, sizeof(*loader->draft));
	if (!loader->conf || !loader->netns_place || !loader->draft) {
		conf_error(loader, files->text[0].path, 0, "%s", strerror(ENOMEM));
		return -1;
	}
	loader->relay_user_place.file = files->text[0].path;
	return 0;
}

/**
 * conf_load() - load a configuration and its drop-ins
 * @path: main file
 * @report: called for each error
 * @arg: for @report
 *
 * Return: the configuration, conf_free() it; NULL when anything was reported
 */
struct conf *conf_load(const char *path, conf_report *report, void *arg)
{
	struct conf_loader loader = {.report = report, .arg = arg, .relay_user = "saferaw"};
	struct conf_files files;
	unsigned i;

	loader.overflow_uid = conf_overflow_id("/proc/sys/kernel/overflowuid");
	loader.overflow_gid = conf_overflow_id("/proc/sys/kernel/overflowgid");
	STAILQ_INIT(&loader.reserves);
	loading = &loader;
	loader.errors = conf_files_read(&files, path, report, arg);
	loader.broken = loader.errors > 0;
	if (files.n && make_room(&loader, &files) == 0) {
		for (i = 0; i < files.n; i++)
			parse_text(&loader, &files.text[i]);
		/* after a file that broke off, a name that is missing may be in the rest of it */
		if (!loader.broken) {
			conf_reserve_apply(&loader);
			resolve_netns(&loader);
			conf_check(&loader);
		}
	}
	loading = NULL;
	if (loader.errors || loader.broken) {
		conf_free(loader.conf);
		loader.conf = NULL;
	}
	free(loader.netns_place);
	free(loader.draft);
	conf_reserve_free(&loader);
	conf_files_free(&files);
	return loader.conf;
}

/**
 * conf_free() - let go of a configuration
 * @conf: may be NULL
 */
void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	free(conf->netns);
	free(conf->slice);
	free(conf);
}
