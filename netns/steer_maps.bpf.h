/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * steer_maps.bpf.h: the maps of one namespace's steering
 *
 * steer.h says what is in them, and who reads and writes which.
 */
#ifndef SAFERAW_STEER_MAPS_BPF_H
#define SAFERAW_STEER_MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "steer.h"

#define FRAGMENTS_MAX 4096
#define LINK_PORTS_MAX 65536 /* units of STEER_LINK_UNIT ports; takes no memory yet */
#define DENIED_MAX (2 * 32 * STEER_SLICES_MAX) /* old and new lists while one replaces the other; takes no memory yet */

/* Set by the loader before the programs are loaded */
const volatile __u32 tun_ifindex = 0;
const volatile __u32 helper_ifindex = 0;
const volatile __u32 tap_ifindex = 0;

/* Where a fragmented datagram was steered to, or who sends it */
struct fragment_owner {
	__u64 time_ns;
	__u32 slice;
	__u32 end;     /* of the first fragment, bytes of the datagram */
	__u32 link;    /* 0: it is not a link's */
	__u32 relayed; /* in `link_sent`: the relay translates it */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_ADDRESSES_MAX);
	__type(key, struct steer_address);
	__type(value, __u32);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_PROXIED_MAX);
	__type(key, struct steer_proxied);
	__type(value, __u32);
} proxied SEC(".maps");

struct allowed_block {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct steer_allowed));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, STEER_BLOCKS);
	__type(key, __u32);
	__array(values, struct allowed_block);
} allowed SEC(".maps");

struct open_block {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct steer_open));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, STEER_BLOCKS);
	__type(key, __u32);
	__array(values, struct open_block);
} open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * STEER_GRANTS_MAX); /* old and new ones while these replace those */
	__type(key, struct steer_grant);
	__type(value, __u32);
} grants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_SLICES_MAX);
	__type(key, __u32);
	__type(value, struct steer_slice);
} slices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_SLICES_MAX);
	__type(key, __u32);
	__type(value, struct steer_traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DENIED_MAX);
	__type(key, struct steer_prefix);
	__type(value, __u8);
} denied SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} heartbeat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_SLICES_MAX);
	__type(key, __u32);
	__type(value, struct steer_buckets);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct steer_fragment);
	__type(value, struct fragment_owner);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct steer_fragment);
	__type(value, struct fragment_owner);
} sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct steer_fragment);
	__type(value, struct fragment_owner);
} link_sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_LINKS_MAX);
	__type(key, __u32);
	__type(value, struct steer_link);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_LINKS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} link_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LINK_PORTS_MAX);
	__type(key, struct steer_link_ports);
	__type(value, __u32);
} link_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_LINKS_MAX);
	__type(key, __u32);
	__type(value, struct steer_link_traffic);
} link_traffic SEC(".maps");

#endif
