/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steering.c: one namespace's BPF programs and maps
 *
 * Each attached namespace has its own copy of the programs, because the
 * ifindexes of its TUNs are constants in them, and its own maps.
 *
 * On the packet TUN and the link TAP, steer_drop comes first and stays for
 * good: from then on there is no moment at which a packet of the relay could go
 * on into the host's stack. It is a clsact filter, so it outlives this process,
 * and it goes with the device. steer_out is put before it: by a tcx link (tcx
 * programs run before clsact), or by a filter of a lower priority number. The
 * first attachment decides between tcx and clsact for the whole namespace.
 *
 * `allowed`, `open` and `heartbeat` are mapped here: a permission or a hold
 * changes by one store. Blocks are made when they are first needed and stay
 * until the namespace is detached; that is what keeps a namespace with few
 * addresses and protocols small.
 *
 * An entry of `allowed` is written by this process alone, so it is read and
 * written without a lock; the store is atomic, and BPF sees the slice number
 * and the hold together.
 */
#include "steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "hook.h"
#include "log.h"
#include "netlink.h"
#include "util.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "steer.skel.h"
#pragma GCC diagnostic pop

/* Priorities of our clsact filters: early, but behind what others put first on purpose */
#define PRIORITY 11
#define PRIORITY_DROP 12

struct steering {
	LIST_ENTRY(steering) in_all;
	const char *name; /* of the namespace */
	struct steer_bpf *bpf;
	struct mnl_socket *nl;
	struct block {
		struct steer_allowed *allowed; /* NULL: there is no such block */
		struct steer_open *open;
		int open_fd; /* the relay gets a duplicate */
	} block[STEER_BLOCKS];
	uint64_t *heartbeat;
	enum conf_attach mode;                        /* AUTO until the first attachment */
	struct hook drop, out;                        /* on the packet TUN; ifindex 0 while not attached */
	struct hook tap_drop, tap;                    /* on the link TAP */
	struct hook link[STEER_LINKS_MAX], link_drop; /* on the near ends of links; they go with the device */
	unsigned uplinks;
	struct hook *uplink;
};

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
 * map_values() - map all values of a mmapable array into memory
 * @map: fd of the BPF map
 * @size: of all its values, bytes
 *
 * Return: address, or NULL and errno.
 */
static void *map_values(int map, size_t size)
{
	void *values = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);

	return values == MAP_FAILED ? NULL : values;
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
	s->heartbeat = map_values(bpf_map__fd(s->bpf->maps.heartbeat), sizeof(*s->heartbeat));
	return s->heartbeat ? 0 : -1;
}

/**
 * make_part() - one of the two maps of a block, in its place
 * @outer: array of maps that it goes into
 * @number: of the block
 * @size: of its value, bytes
 * @values: set to its value
 *
 * Return: its fd, or -1 and errno.
 */
static int make_part(const struct bpf_map *outer, uint32_t number, uint32_t size, void **values)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int saved, fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "block", sizeof(uint32_t), size, 1, &opts);

	if (fd < 0)
		return -1;
	*values = map_values(fd, size);
	if (*values && bpf_map_update_elem(bpf_map__fd(outer), &number, &fd, BPF_ANY) == 0)
		return fd;
	saved = errno;
	if (*values)
		munmap(*values, size);
	*values = NULL;
	close_fd(&fd);
	errno = saved;
	return -1;
}

/**
 * steering_block() - see that there is a block
 * @ns: the namespace
 * @index: of the address
 * @class: of the ports
 *
 * `allowed` comes last: without it the block is none.
 *
 * Return: 0, or -1 and errno.
 */
int steering_block(struct netns *ns, unsigned index, enum steer_class class)
{
	struct steering *s = ns->steering;
	uint32_t number = STEER_BLOCK(index, class);
	struct block *block = &s->block[number];
	void *values;
	int fd;

	if (!block->open) {
		fd = make_part(s->bpf->maps.open, number, sizeof(*block->open), &values);
		if (fd < 0)
			return -1;
		block->open = values;
		block->open_fd = fd;
	}
	if (!block->allowed) {
		fd = make_part(s->bpf->maps.allowed, number, sizeof(*block->allowed), &values);
		if (fd < 0)
			return -1;
		block->allowed = values;
		close_fd(&fd); /* never given away */
	}
	return 0;
}

/**
 * free_blocks() - let go of all blocks
 * @s: steering
 */
static void free_blocks(struct steering *s)
{
	for (unsigned i = 0; i < STEER_BLOCKS; i++) {
		struct block *block = &s->block[i];

		if (block->allowed)
			munmap(block->allowed, sizeof(*block->allowed));
		if (block->open) {
			munmap(block->open, sizeof(*block->open));
			close_fd(&block->open_fd);
		}
	}
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
	free_blocks(s);
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
 * set_row() - enter a row into a map, or take it out
 * @map: fd
 * @key: of the row
 * @row: its index
 * @present: which of the two
 *
 * Return: 0, or -1 and errno.
 */
static int set_row(int map, const void *key, uint32_t row, bool present)
{
	if (present)
		return bpf_map_update_elem(map, key, &row, BPF_ANY) ? -1 : 0;
	return bpf_map_delete_elem(map, key) && errno != ENOENT ? -1 : 0;
}

/**
 * steering_address() - an address of the namespace, or a proxied prefix, came or went
 * @ns: the namespace
 * @index: of the row in ns->address
 * @present: whether it is there
 *
 * Return: 0, or -1 and errno.
 */
int steering_address(struct netns *ns, unsigned index, bool present)
{
	const struct steer_bpf *bpf = ns->steering->bpf;
	const struct netns_address *row = &ns->address[index];
	struct steer_proxied prefix = {.len = row->len};

	if (index < STEER_ADDRESSES_MAX)
		return set_row(bpf_map__fd(bpf->maps.addresses), &row->addr, index, present);
	memcpy(&prefix.addr, &row->addr, sizeof(prefix.addr));
	return set_row(bpf_map__fd(bpf->maps.proxied), &prefix, index, present);
}

/**
 * steering_allow() - give a range of ports on an address to a slice
 * @ns: the namespace
 * @index: of the address
 * @range: class and ports
 * @slice: number; 0: nobody, which also ends the holds. Else a hold stays.
 *
 * Where there is no block nobody has a port; steering_block() makes it.
 */
void steering_allow(struct netns *ns, unsigned index, const struct policy_range *range, unsigned slice)
{
	struct steer_allowed *allowed = ns->steering->block[STEER_BLOCK(index, range->class)].allowed;

	for (unsigned i = range->lo; allowed && i <= range->hi; i++) {
		uint16_t held = slice ? allowed->port[i] & STEER_HELD : 0;

		__atomic_store_n(&allowed->port[i], (uint16_t)(held | (slice & STEER_SLICE_MASK)), __ATOMIC_RELAXED);
	}
}

/**
 * steering_hold() - the reservation of a port was made or let go of
 * @ns: the namespace
 * @index: of the address
 * @class: of the port
 * @port: number or ICMP identifier, host byte order
 * @held: which of the two; where there is no block it stays shut
 */
void steering_hold(struct netns *ns, unsigned index, enum steer_class class, uint16_t port, bool held)
{
	struct steer_allowed *allowed = ns->steering->block[STEER_BLOCK(index, class)].allowed;
	uint16_t *entry = allowed ? &allowed->port[port] : NULL;

	if (entry)
		__atomic_store_n(entry, (uint16_t)((*entry & STEER_SLICE_MASK) | (held ? STEER_HELD : 0)),
				 __ATOMIC_RELAXED);
}

/**
 * steering_grant() - a protocol or GRE key has a slot, or has it no more
 * @ns: the namespace
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 * @slot: which; 0: none any more
 *
 * Return: 0, or -1 and errno.
 */
int steering_grant(struct netns *ns, uint8_t protocol, uint32_t key, unsigned slot)
{
	int map = bpf_map__fd(ns->steering->bpf->maps.grants);
	const struct steer_grant grant = {.key = key, .protocol = protocol};
	const uint32_t value = slot;

	if (slot)
		return bpf_map_update_elem(map, &grant, &value, BPF_ANY) ? -1 : 0;
	return bpf_map_delete_elem(map, &grant) && errno != ENOENT ? -1 : 0;
}

/**
 * steering_slice() - set a slice's limits and rights
 * @ns: the namespace
 * @number: of the slice
 * @slice: what applies to it
 *
 * Return: 0, or -1 and errno.
 */
int steering_slice(struct netns *ns, unsigned number, const struct steer_slice *slice)
{
	const uint32_t key = number;

	return bpf_map_update_elem(bpf_map__fd(ns->steering->bpf->maps.slices), &key, slice, BPF_ANY) ? -1 : 0;
}

/**
 * compare_keys() - order of two keys of `denied`, for qsort(3) and bsearch(3)
 * @a: struct steer_prefix
 * @b: struct steer_prefix
 */
static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct steer_prefix));
}

/**
 * steering_deny() - replace the lists of denied destinations
 * @ns: the namespace
 * @deny: the new lists, all slices' and the namespace's; sorted here
 * @denied: how many rows
 *
 * What is on both the old and the new lists is denied all the time. On an error both apply.
 *
 * Return: 0, or -1 and errno.
 */
int steering_deny(struct netns *ns, struct steer_prefix *deny, unsigned denied)
{
	int map = bpf_map__fd(ns->steering->bpf->maps.denied), more;
	struct steer_prefix key, next = {0};
	const uint8_t value = 1;

	for (unsigned i = 0; i < denied; i++)
		if (bpf_map_update_elem(map, &deny[i], &value, BPF_ANY))
			return -1;
	qsort(deny, denied, sizeof(*deny), compare_keys);
	for (more = bpf_map_get_next_key(map, NULL, &key); !more; key = next) {
		more = bpf_map_get_next_key(map, &key, &next);
		if (!bsearch(&key, deny, denied, sizeof(*deny), compare_keys) && bpf_map_delete_elem(map, &key))
			return -1;
	}
	return 0;
}

/**
 * steering_close_all() - shut every port: the relay, which opened them, is gone
 * @ns: the namespace
 */
void steering_close_all(struct netns *ns)
{
	for (unsigned i = 0; i < STEER_BLOCKS; i++)
		if (ns->steering->block[i].open)
			memset(ns->steering->block[i].open, STEER_CLOSED, sizeof(struct steer_open));
}

/**
 * steering_open_fd() - the map that the relay opens ports of a block in
 * @ns: the namespace
 * @index: of the address
 * @class: of the ports
 *
 * Return: fd, which stays steering's; -1 when there is no such block.
 */
int steering_open_fd(const struct netns *ns, unsigned index, enum steer_class class)
{
	const struct block *block = &ns->steering->block[STEER_BLOCK(index, class)];

	return block->open ? block->open_fd : -1;
}

/**
 * steering_traffic_fd() - the map of counters
 * @ns: the namespace
 *
 * Return: fd, which stays steering's.
 */
int steering_traffic_fd(const struct netns *ns)
{
	return bpf_map__fd(ns->steering->bpf->maps.traffic);
}

/**
 * link_ports() - say to which link the packets for a block of ports go
 * @s: steering
 * @number: of the link
 * @link: the link
 * @there: it comes, or goes
 *
 * Return: 0, or -1 and errno.
 */
static int link_ports(struct steering *s, unsigned number, const struct steer_link *link, bool there)
{
	const int map = bpf_map__fd(s->bpf->maps.link_ports);
	const uint32_t value = number;

	for (unsigned class = 0; class < STEER_LINK_CLASSES; class ++) {
		struct steer_link_ports key = {.slice = link->slice, .class = (uint16_t) class};

		for (unsigned port = link->lo[class]; link->hi[class] && port <= link->hi[class];
		     port += STEER_LINK_UNIT) {
			key.unit = (uint16_t)(port / STEER_LINK_UNIT);
			if (there ? bpf_map_update_elem(map, &key, &value, BPF_ANY) < 0
				  : bpf_map_delete_elem(map, &key) < 0 && errno != ENOENT)
				return -1;
		}
	}
	return 0;
}

/**
 * link_known() - tell the programs of a link
 * @s: steering
 * @number: of the link
 * @link: the link
 *
 * Return: 0, or -1 and errno.
 */
static int link_known(struct steering *s, unsigned number, const struct steer_link *link)
{
	const struct steer_link_traffic zero = {0};
	const uint32_t key = number;

	if (bpf_map_update_elem(bpf_map__fd(s->bpf->maps.link_traffic), &key, &zero, BPF_ANY) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(s->bpf->maps.links), &key, link, BPF_ANY) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(s->bpf->maps.link_devices), &link->ifindex, &key, BPF_ANY) < 0)
		return -1;
	return link_ports(s, number, link, true);
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
	    link_known(s, number, link) == 0)
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
	const struct steer_link none = {0};
	struct steering *s = ns->steering;
	const uint32_t key = number;
	int saved = errno;

	if (link_ports(s, number, link, false) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(s->bpf->maps.links), &key, &none, BPF_ANY) < 0 ||
	    (bpf_map_delete_elem(bpf_map__fd(s->bpf->maps.link_devices), &link->ifindex) < 0 && errno != ENOENT))
		log_error("%s: steering cannot forget link %u: %m", ns->conf.name, number);
	close_fd(&s->link[number].link);
	errno = saved;
}

/**
 * steering_link_traffic_fd() - the map of the links' counters
 * @ns: the namespace
 *
 * Return: fd, which stays steering's.
 */
int steering_link_traffic_fd(const struct netns *ns)
{
	return bpf_map__fd(ns->steering->bpf->maps.link_traffic);
}
