/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steering.c: one namespace's BPF programs, and the devices that they are on
 *
 * Each attached namespace has its own copy of the programs, because the
 * ifindexes of its TUNs are constants in them, and its own maps; what these
 * tell the programs is in steering_maps.c.
 *
 * On the packet TUN and the link TAP, steer_drop comes first and stays for
 * good: from then on there is no moment at which a packet of the relay could go
 * on into the host's stack. It is a clsact filter, so it outlives this process,
 * and it goes with the device. steer_out is put before it: by a tcx link (tcx
 * programs run before clsact), or by a filter of a lower priority number. The
 * first attachment decides between tcx and clsact for the whole namespace.
 */
#include "steering.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "log.h"
#include "netlink.h"
#include "steering_maps.h"
#include "util.h"

/* Priorities of our clsact filters: early, but behind what others put first on purpose */
#define PRIORITY 11
#define PRIORITY_DROP 12

static LIST_HEAD(, steering) all = LIST_HEAD_INITIALIZER(all);

/**
 * print_libbpf() - what libbpf has to say
 * @level: of libbpf
 * @format: as for printf(3)
 * @args: its arguments
 *
 * Return: 0
 */
__attribute__((format(printf, 2, 0))) static int print_libbpf(enum libbpf_print_level level, const char *format,
							      va_list args)
{
	char *text;

	if (level == LIBBPF_DEBUG || vasprintf(&text, format, args) < 0)
		return 0;
	log_line(level == LIBBPF_WARN ? LOG_WARNING : LOG_DEBUG, "%s", text);
	free(text);
	return 0;
}

/**
 * load_programs() - load programs and maps, and map the values that are written here
 * @s: steering
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int load_programs(struct steering *s, const struct netns *ns)
{
	libbpf_set_print(print_libbpf);
	s->bpf = steer_bpf__open();
	if (!s->bpf)
		return -1;
	s->bpf->rodata->tun_ifindex = ns->tun_ifindex;
	s->bpf->rodata->helper_ifindex = ns->helper_ifindex;
	s->bpf->rodata->tap_ifindex = ns->tap_ifindex;
	if (steer_bpf__load(s->bpf))
		return -1;
	s->heartbeat = steering_map_values(bpf_map__fd(s->bpf->maps.heartbeat), sizeof(*s->heartbeat));
	return s->heartbeat ? 0 : -1;
}

/**
 * attach() - put a program on a device, the way that is in use
 * @ns: the namespace
 * @hook: result
 * @ifindex: of the device
 * @program: to attach
 *
 * Return: 0, or -1 and errno.
 */
static int attach(struct netns *ns, struct hook *hook, unsigned ifindex, const struct bpf_program *program)
{
	struct steering *s = ns->steering;

	if (s->mode != CONF_ATTACH_CLSACT) {
		if (hook_tcx(ns, hook, ifindex, bpf_program__fd(program)) == 0) {
			s->mode = CONF_ATTACH_TCX;
			return 0;
		}
		if (s->mode == CONF_ATTACH_TCX || (errno != EINVAL && errno != EOPNOTSUPP))
			return -1;
	}
	if (hook_clsact(s->nl, hook, ifindex, bpf_program__fd(program), PRIORITY, bpf_program__name(program)) < 0)
		return -1;
	s->mode = CONF_ATTACH_CLSACT;
	return 0;
}

/**
 * guard() - put the permanent drop on a device
 * @s: steering
 * @hook: result
 * @ifindex: of the device
 *
 * Return: 0, or -1 and errno.
 */
static int guard(struct steering *s, struct hook *hook, unsigned ifindex)
{
	const struct bpf_program *drop = s->bpf->progs.steer_drop;

	return hook_clsact(s->nl, hook, ifindex, bpf_program__fd(drop), PRIORITY_DROP, bpf_program__name(drop));
}

/**
 * steering_load() - load, and attach to the packet TUN
 * @ns: the namespace; its devices are there and up
 *
 * Return: 0, or -1 and errno.
 */
int steering_load(struct netns *ns)
{
	struct steering *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	ns->steering = s;
	s->name = ns->conf.name;
	LIST_INSERT_HEAD(&all, s, in_all);
	s->mode = ns->conf.attach;
	s->drop.link = s->out.link = s->tap.link = -1;
	s->nl = nl_open(ns, NETLINK_ROUTE, 0);
	if (s->nl && load_programs(s, ns) == 0 && guard(s, &s->drop, ns->tun_ifindex) == 0 &&
	    guard(s, &s->tap_drop, ns->tap_ifindex) == 0 && steering_sweep(ns, ns->tun_ifindex) >= 0 &&
	    attach(ns, &s->out, ns->tun_ifindex, s->bpf->progs.steer_out) == 0 &&
	    attach(ns, &s->tap, ns->tap_ifindex, s->bpf->progs.steer_tap) == 0)
		return 0;
	steering_unload(ns);
	return -1;
}

/**
 * steering_unload() - detach from all devices, and free
 * @ns: the namespace. errno stays.
 *
 * steer_drop stays on the TUN until the device goes: the relay may hold it longer than we do.
 */
void steering_unload(struct netns *ns)
{
	struct steering *s = ns->steering;
	int saved = errno;

	if (!s)
		return;
	for (unsigned i = 0; i < s->uplinks; i++)
		hook_detach(s->nl, &s->uplink[i]);
	if (s->out.ifindex)
		hook_detach(s->nl, &s->out);
	if (s->tap.ifindex)
		hook_detach(s->nl, &s->tap);
	steering_free_blocks(s);
	LIST_REMOVE(s, in_all);
	if (s->heartbeat)
		munmap(s->heartbeat, sizeof(*s->heartbeat));
	steer_bpf__destroy(s->bpf);
	nl_close(&s->nl);
	free(s->uplink);
	free(s);
	ns->steering = NULL;
	errno = saved;
}

/**
 * find_uplink() - what is attached to an uplink
 * @s: steering
 * @ifindex: of the uplink
 *
 * Return: the hook, or NULL.
 */
static struct hook *find_uplink(struct steering *s, unsigned ifindex)
{
	for (unsigned i = 0; i < s->uplinks; i++)
		if (s->uplink[i].ifindex == ifindex)
			return &s->uplink[i];
	return NULL;
}

/**
 * steering_attach() - put steer_in on an uplink
 * @ns: the namespace
 * @ifindex: of the uplink
 *
 * What a dead monitor left there is removed first: its program would run beside ours, with maps that nobody keeps.
 *
 * Return: 0, also if it is there already, or -1 and errno.
 */
int steering_attach(struct netns *ns, unsigned ifindex)
{
	struct steering *s = ns->steering;
	struct hook *grown;

	if (find_uplink(s, ifindex))
		return 0;
	if (steering_sweep(ns, ifindex) < 0)
		return -1;
	grown = reallocarray(s->uplink, s->uplinks + 1, sizeof(*grown));
	if (!grown)
		return -1;
	s->uplink = grown;
	if (attach(ns, &s->uplink[s->uplinks], ifindex, s->bpf->progs.steer_in) < 0)
		return -1;
	s->uplinks++;
	return 0;
}

/**
 * steering_detach() - take steer_in off an uplink
 * @ns: the namespace
 * @ifindex: of the uplink, which may be gone
 */
void steering_detach(struct netns *ns, unsigned ifindex)
{
	struct steering *s = ns->steering;
	struct hook *hook = find_uplink(s, ifindex);

	if (!hook)
		return;
	hook_detach(s->nl, hook);
	*hook = s->uplink[--s->uplinks];
}

/**
 * steering_sweep() - remove what a dead monitor left on a device, a steer_drop excepted
 * @ns: the namespace
 * @ifindex: of the device
 *
 * Return: how many filters were removed, or -1 and errno; 0 where we are attached ourselves.
 */
int steering_sweep(struct netns *ns, unsigned ifindex)
{
	struct steering *s = ns->steering;
	int removed;

	if (find_uplink(s, ifindex) || s->out.ifindex == ifindex)
		return 0;
	removed = hook_sweep(s->nl, ifindex, PRIORITY);
	if (removed > 0)
		log_info("%s: device %u: removed %d filter(s) that an earlier saferawd left", ns->conf.name, ifindex,
			 removed);
	return removed;
}

/**
 * steering_mode() - how programs are attached
 * @ns: the namespace
 *
 * Return: "tcx" or "clsact".
 */
const char *steering_mode(const struct netns *ns)
{
	return ns->steering->mode == CONF_ATTACH_TCX ? "tcx" : "clsact";
}

/**
 * steering_is_whole() - are all programs still on their devices?
 * @ns: the namespace
 *
 * Return: false if somebody has taken one off.
 */
bool steering_is_whole(const struct netns *ns)
{
	const struct steering *s = ns->steering;
	const struct hook *own[] = {&s->drop, &s->out, &s->tap_drop, &s->tap};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (hook_is_lost(s->nl, own[i]))
			return false;
	for (unsigned i = 0; i < s->uplinks; i++)
		if (hook_is_lost(s->nl, &s->uplink[i]))
			return false;
	return true;
}

/**
 * steering_beat() - tell the programs of all namespaces that the monitor is alive
 *
 * Programs that were not told for too long had their hands off meanwhile: the
 * log says so, because it explains packets that were lost.
 */
void steering_beat(void)
{
	uint64_t now = clock_ns(), last;
	struct steering *s;

	LIST_FOREACH(s, &all, in_all) {
		last = s->heartbeat ? __atomic_exchange_n(s->heartbeat, now, __ATOMIC_RELAXED) : 0;
		if (last && now - last > STEER_STALE_NS)
			log_warn("%s: nothing was steered for %ju ms: saferawd did not get to run", s->name,
				 (uintmax_t)((now - last - STEER_STALE_NS) / NS_PER_MS));
	}
}

/**
 * steering_link() - guard the near end of a link, and bring packets to it
 * @ns: the namespace
 * @number: of the link
 * @link: the link; its device is down
 *
 * Return: 0, or -1 and errno, with nothing left but on the device.
 */
int steering_link(struct netns *ns, unsigned number, const struct steer_link *link)
{
	struct steering *s = ns->steering;

	s->link[number].link = -1;
	if (guard(s, &s->link_drop, link->ifindex) == 0 &&
	    attach(ns, &s->link[number], link->ifindex, s->bpf->progs.steer_link) == 0 &&
	    steering_know_link(s, number, link) == 0)
		return 0;
	steering_unlink(ns, number, link);
	return -1;
}

/**
 * steering_unlink() - forget a link
 * @ns: the namespace
 * @number: of the link
 * @link: the link; its device is removed next, with the filters that are on it. errno stays.
 */
void steering_unlink(struct netns *ns, unsigned number, const struct steer_link *link)
{
	struct steering *s = ns->steering;
	int saved = errno;

	if (steering_forget_link(s, number, link) < 0)
		log_error("%s: steering cannot forget link %u: %m", ns->conf.name, number);
	close_fd(&s->link[number].link);
	errno = saved;
}
