/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steering_maps.c: what the BPF programs of one namespace are told (steer.h says what is in the maps)
 *
 * `allowed` and `open` are mapped here, a map of each for a block, which is the
 * ports of a class on an address: a permission or a hold changes by one store.
 * Blocks are made when they are first needed and stay until the namespace is
 * detached; that is what keeps a namespace with few addresses and protocols
 * small.
 *
 * An entry of `allowed` is written by this process alone, so it is read and
 * written without a lock; the store is atomic, and BPF sees the slice number
 * and the hold together.
 */
#include "steering_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "steering.h"
#include "util.h"

/**
 * steering_map_values() - map all values of a mmapable array into memory
 * @map: fd of the BPF map
 * @size: of all its values, bytes
 *
 * Return: address, or NULL and errno.
 */
void *steering_map_values(int map, size_t size)
{
	void *values = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);

	return values == MAP_FAILED ? NULL : values;
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
	*values = steering_map_values(fd, size);
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
 * steering_free_blocks() - let go of all blocks
 * @s: steering
 */
void steering_free_blocks(struct steering *s)
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
 * steering_know_link() - tell the programs of a link
 * @s: steering
 * @number: of the link
 * @link: the link
 *
 * Return: 0, or -1 and errno.
 */
int steering_know_link(struct steering *s, unsigned number, const struct steer_link *link)
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
 * steering_forget_link() - the programs know a link no more
 * @s: steering
 * @number: of the link
 * @link: the link
 *
 * Return: 0, or -1 and errno.
 */
int steering_forget_link(struct steering *s, unsigned number, const struct steer_link *link)
{
	const struct steer_link none = {0};
	const uint32_t key = number;

	if (link_ports(s, number, link, false) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(s->bpf->maps.links), &key, &none, BPF_ANY) < 0 ||
	    (bpf_map_delete_elem(bpf_map__fd(s->bpf->maps.link_devices), &link->ifindex) < 0 && errno != ENOENT))
		return -1;
	return 0;
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
 * steering_link_traffic_fd() - the map of the links' counters
 * @ns: the namespace
 *
 * Return: fd, which stays steering's.
 */
int steering_link_traffic_fd(const struct netns *ns)
{
	return bpf_map__fd(ns->steering->bpf->maps.link_traffic);
}
