/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor.h: the monitor's state, and what the relay may ask of it
 */
#ifndef SAFERAW_MONITOR_H
#define SAFERAW_MONITOR_H

#include "configure.h"
#include "control.h"
#include "log.h"
#include "netns.h"
#include "spawn.h"

struct monitor {
	const char *conf_path;
	struct conf *conf;
	struct netns *netns[PRIV_NETNS_MAX];
	uint32_t told[PRIV_NETNS_MAX]; /* addresses that were present when last looked at: a bit for each index */
	bool unread[PRIV_NETNS_MAX];   /* news of the uplinks could not be read: try again */
	bool broken[PRIV_NETNS_MAX];   /* a device or a filter of ours is gone: attach anew */
	uint32_t serial;               /* the last one given */
	uint32_t slice_serial[STEER_SLICES_MAX]; /* by slice number */
	unsigned slice_last;                     /* the last slice number given */
	struct control control;
	struct relay relay;
	uint64_t reloaded_ns; /* when the relay was last told of a reload; 0: never */
	struct log_limit slice_limit[STEER_SLICES_MAX], limit;
};

void monitor_requests(struct monitor *m);
void monitor_news(struct monitor *m, unsigned index);
void monitor_links(struct monitor *m, unsigned index);
void monitor_addresses(struct monitor *m, unsigned index);
void monitor_tell_all(struct monitor *m);
void monitor_attached(struct monitor *m, unsigned index);
void monitor_relay_died(struct monitor *m);

#endif
