/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_fragment.bpf.h: whose the first fragment of a datagram was
 *
 * Later fragments have no ports. They follow their first, for two seconds: what
 * comes in to where that was steered, what goes out if that was allowed to.
 */
#ifndef SAFERAW_STEER_FRAGMENT_BPF_H
#define SAFERAW_STEER_FRAGMENT_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "steer.h"
#include "steer_maps.bpf.h"
#include "steer_packet.bpf.h"

/**
 * fragment_key() - what the fragments of one datagram have in common
 * @p: a fragment
 * @key: result
 */
static __always_inline void fragment_key(const struct packet *p, struct steer_fragment *key)
{
	key->src = p->src.key;
	key->dst = p->dst.key;
	key->id = p->fragment_id;
	/* for IPv6 the first fragment's chain may go on behind the fragment header, a later one's cannot be seen */
	key->protocol = p->version == 4 ? p->protocol : IPPROTO_FRAGMENT;
}

/**
 * note_first() - remember (or forget) whose a first fragment is
 * @map: `fragments`, `sent` or `link_sent`
 * @p: first fragment
 * @owner: who gets or sends it, slice 0 for nobody; the rest is filled in
 */
static __always_inline void note_first(void *map, const struct packet *p, struct fragment_owner *owner)
{
	struct steer_fragment key;

	fragment_key(p, &key);
	if (!owner->slice) {
		bpf_map_delete_elem(map, &key);
		return;
	}
	owner->end = fragment_end(p);
	owner->time_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(map, &key, owner, BPF_ANY);
}

/**
 * first_of() - the first fragment that a later one follows
 * @map: `fragments`, `sent` or `link_sent`
 * @p: later fragment
 *
 * Return: what is remembered of it, NULL if that is nothing or too old.
 */
static __always_inline struct fragment_owner *first_of(void *map, const struct packet *p)
{
	struct fragment_owner *first;
	struct steer_fragment key;

	fragment_key(p, &key);
	first = bpf_map_lookup_elem(map, &key);
	return first && bpf_ktime_get_ns() - first->time_ns <= STEER_FRAGMENT_NS ? first : NULL;
}

#endif
