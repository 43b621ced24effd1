/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reload.c: from one configuration to the next
 *
 * The first configuration is a reload from nothing.
 *
 * A reload has two halves. The first can still say no: the files are read and
 * checked whole, every namespace is looked for, new ones are attached and new
 * control sockets opened. If anything fails there, what was made is undone
 * and the old configuration stays. The second half goes through: what is gone
 * is let go of, what stays takes on its new settings in place, and the relay
 * is sent the new configuration.
 *
 * Namespaces are the same by name, and slices by name and namespace. A slice
 * that stays keeps its number, by which steering, reservations and the relay
 * know it; a new one gets a number that nobody had a moment ago, as long as
 * there is one.
 */
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "enter.h"
#include "reserve.h"
#include "steering.h"
#include "util.h"
#include "warn.h"

/**
 * report() - an error in the configuration
 * @line: where and what
 * @arg: not used
 */
static void report(const char *line, void *arg)
{
	(void)arg;
	log_error("%s", line);
}

/**
 * reload_read() - read and check the configuration
 * @path: of the file
 *
 * Return: the configuration, or NULL after a log line for each error.
 */
struct conf *reload_read(const char *path)
{
	return conf_load(path, report, NULL);
}

/**
 * find_section() - a namespace's section
 * @conf: configuration, or NULL for an empty one
 * @name: of the namespace
 *
 * Return: the section, or NULL.
 */
static struct conf_netns *find_section(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; conf && i < conf->netnses; i++)
		if (strcmp(conf->netns[i].name, name) == 0)
			return &conf->netns[i];
	return NULL;
}

/**
 * find_attached() - a namespace that is attached
 * @m: the monitor
 * @name: of the namespace
 *
 * Return: its index, or PRIV_NETNS_MAX.
 */
static unsigned find_attached(const struct monitor *m, const char *name)
{
	unsigned i = 0;

	while (i < PRIV_NETNS_MAX && !(m->netns[i] && strcmp(m->netns[i]->conf.name, name) == 0))
		i++;
	return i;
}

/**
 * find_old_slice() - what a slice was before
 * @m: the monitor
 * @conf: the new configuration
 * @slice: of it
 *
 * Return: the slice of the same name in a namespace of the same name, or NULL.
 */
static const struct conf_slice *find_old_slice(const struct monitor *m, const struct conf *conf,
					       const struct conf_slice *slice)
{
	for (unsigned i = 0; m->conf && i < m->conf->slices; i++) {
		const struct conf_slice *old = &m->conf->slice[i];

		if (strcmp(old->name, slice->name) == 0 &&
		    strcmp(m->conf->netns[old->netns].name, conf->netns[slice->netns].name) == 0)
			return old;
	}
	return NULL;
}

/**
 * free_number() - a slice number that is not taken
 * @m: the monitor
 * @now: numbers that the new configuration has
 * @before: numbers that the old one had; used only when there is no other
 *
 * Return: the number. There is one, because a configuration has fewer slices.
 */
static unsigned free_number(struct monitor *m, const bool *now, const bool *before)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < STEER_SLICES_MAX; i++) {
			m->slice_last = m->slice_last % (STEER_SLICES_MAX - 1) + 1;
			if (!now[m->slice_last] && (round > 0 || !before[m->slice_last]))
				return m->slice_last;
		}
	return 0;
}

/**
 * number_slices() - those that stay keep their number, new ones get one
 * @m: the monitor
 * @conf: the new configuration
 */
static void number_slices(struct monitor *m, struct conf *conf)
{
	bool now[STEER_SLICES_MAX] = {false}, before[STEER_SLICES_MAX] = {false};

	for (unsigned i = 0; m->conf && i < m->conf->slices; i++)
		before[m->conf->slice[i].number] = true;
	for (unsigned i = 0; i < conf->slices; i++) {
		const struct conf_slice *old = find_old_slice(m, conf, &conf->slice[i]);

		conf->slice[i].number = old ? old->number : 0;
		now[conf->slice[i].number] = true;
	}
	for (unsigned i = 0; i < conf->slices; i++) {
		struct conf_slice *slice = &conf->slice[i];

		if (slice->number)
			continue;
		slice->number = free_number(m, now, before);
		now[slice->number] = true;
		m->slice_serial[slice->number] = ++m->serial;
	}
}

/**
 * keep_fixed() - what cannot change while saferawd runs stays as it was
 * @m: the monitor
 * @conf: the new configuration
 */
static void keep_fixed(const struct monitor *m, struct conf *conf)
{
	const struct conf *old = m->conf;

	if (strcmp(old->run_dir, conf->run_dir) != 0)
		log_warn("reload: another run directory needs a restart");
	if (old->relay_uid != conf->relay_uid || old->relay_gid != conf->relay_gid)
		log_warn("reload: another user for the relay needs a restart");
	memcpy(conf->run_dir, old->run_dir, sizeof(conf->run_dir));
	conf->relay_uid = old->relay_uid;
	conf->relay_gid = old->relay_gid;
	for (unsigned i = 0; i < conf->netnses; i++) {
		struct conf_netns *section = &conf->netns[i];
		const struct conf_netns *was = find_section(old, section->name);

		if (!was)
			continue;
		if (strcmp(was->tun, section->tun) != 0 || was->attach != section->attach)
			log_warn("reload: %s: another TUN name or way to attach needs a restart", section->name);
		memcpy(section->tun, was->tun, sizeof(section->tun));
		section->attach = was->attach;
	}
}

/**
 * check_owner() - whether a namespace is attached under another name
 * @m: the monitor
 * @section: of the namespace
 * @fd: its file, -1 for the monitor's own
 *
 * Return: 0, or -1 after a log line.
 */
static int check_owner(const struct monitor *m, const struct conf_netns *section, int fd)
{
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++) {
		const struct netns *ns = m->netns[i];

		if (!ns || strcmp(ns->conf.name, section->name) == 0 || !enter_same(ns->fd, fd))
			continue;
		log_error("%s: this namespace is attached already, as %s", section->name, ns->conf.name);
		return -1;
	}
	return 0;
}

/**
 * attach_one() - attach the namespace of a section, if it is new
 * @m: the monitor
 * @conf: the new configuration
 * @section: of the namespace
 *
 * Attaching takes a while, so those that are attached already hear first that
 * the monitor lives.
 *
 * Return: 0, or -1 after a log line.
 */
static int attach_one(struct monitor *m, const struct conf *conf, const struct conf_netns *section)
{
	int fd = section->path[0] ? enter_open(section->path) : -1, result;
	unsigned index = 0;

	if (section->path[0] && fd < 0) {
		log_error("%s: %s: %m", section->name, section->path);
		return -1;
	}
	result = check_owner(m, section, fd);
	close_fd(&fd);
	if (result < 0 || find_attached(m, section->name) < PRIV_NETNS_MAX)
		return result;
	while (index < PRIV_NETNS_MAX && m->netns[index])
		index++;
	if (index == PRIV_NETNS_MAX) {
		log_error("%s: more than %d namespaces", section->name, PRIV_NETNS_MAX);
		return -1;
	}
	steering_beat();
	m->netns[index] = attach(conf, section, index, ++m->serial);
	if (!m->netns[index])
		return -1;
	monitor_attached(m, index);
	warn_at_start(m->netns[index]);
	return 0;
}

/**
 * detach_one() - let go of a namespace
 * @m: the monitor
 * @index: of the namespace
 */
static void detach_one(struct monitor *m, unsigned index)
{
	detach(m->netns[index], m->conf->run_dir);
	m->netns[index] = NULL;
}

/**
 * prepare() - the first half: attach and open what is new
 * @m: the monitor
 * @conf: the new configuration
 *
 * Return: 0, or -1 after log lines, with everything as before.
 */
static int prepare(struct monitor *m, const struct conf *conf)
{
	uint32_t serial = m->serial;
	bool ok = reserve_fits(conf);

	for (unsigned i = 0; ok && i < conf->netnses; i++)
		ok = attach_one(m, conf, &conf->netns[i]) == 0;
	if (ok && control_open(&m->control, conf) == 0)
		return 0;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (m->netns[i] && m->netns[i]->serial > serial) {
			detach(m->netns[i], conf->run_dir);
			m->netns[i] = NULL;
		}
	control_trim(&m->control, m->conf, conf->run_dir);
	return -1;
}

/**
 * has_moved() - whether a section's path leads to another namespace than the attached one
 * @ns: the attached one
 * @section: its section now
 */
static bool has_moved(const struct netns *ns, const struct conf_netns *section)
{
	int fd = section->path[0] ? enter_open(section->path) : -1;
	bool moved = !enter_same(ns->fd, fd);

	close_fd(&fd);
	return moved;
}

/**
 * settle() - the second half, for a namespace that was attached before
 * @m: the monitor, with its new configuration
 * @index: of the namespace
 *
 * One whose path leads elsewhere now is attached anew. When that fails its
 * slices are not served, until a reload succeeds.
 */
static void settle(struct monitor *m, unsigned index)
{
	struct netns *ns = m->netns[index];
	const struct conf_netns *section = find_section(m->conf, ns->conf.name);

	if (!section) {
		detach_one(m, index);
	} else if (has_moved(ns, section)) {
		detach_one(m, index);
		attach_one(m, m->conf, section);
	} else if (attach_update(ns, m->conf, section) < 0) {
		detach_one(m, index);
	} else {
		monitor_addresses(m, index); /* other uplinks, other addresses */
	}
}

/**
 * reload_apply() - go over to a configuration
 * @m: the monitor; when it takes the configuration, the old one is freed
 * @conf: the configuration
 *
 * Return: 0, or -1 after log lines, with everything as before.
 */
int reload_apply(struct monitor *m, struct conf *conf)
{
	struct conf *old = m->conf;
	uint32_t serial;

	if (old)
		keep_fixed(m, conf);
	number_slices(m, conf);
	serial = m->serial;
	if (prepare(m, conf) < 0)
		return -1;
	m->conf = conf;
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (m->netns[i] && m->netns[i]->serial <= serial)
			settle(m, i);
	monitor_tell_all(m);
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (m->netns[i])
			monitor_links(m, i);
	control_trim(&m->control, conf, conf->run_dir);
	if (old) {
		m->reloaded_ns = clock_ns();
		conf_free(old);
	}
	return 0;
}

/**
 * reload() - read the configuration again and go over to it
 * @m: the monitor; stays as it is when anything is wrong
 */
void reload(struct monitor *m)
{
	struct conf *conf = reload_read(m->conf_path);

	if (conf && reload_apply(m, conf) == 0) {
		log_info("reload: done");
		return;
	}
	if (conf)
		conf_free(conf);
	log_error("reload: the configuration stays as it was");
}

/**
 * reload_mend() - attach a namespace anew from which somebody has removed something of ours
 * @m: the monitor
 * @index: of the namespace
 *
 * Its flows end. When it cannot be attached, its slices are not served until a reload succeeds.
 */
void reload_mend(struct monitor *m, unsigned index)
{
	const struct conf_netns *section = find_section(m->conf, m->netns[index]->conf.name);

	detach_one(m, index);
	attach_one(m, m->conf, section);
	monitor_tell_all(m);
	m->reloaded_ns = clock_ns();
}

/**
 * reload_detach_all() - let go of every namespace
 * @m: the monitor
 */
void reload_detach_all(struct monitor *m)
{
	for (unsigned i = 0; i < PRIV_NETNS_MAX; i++)
		if (m->netns[i])
			detach_one(m, i);
}
