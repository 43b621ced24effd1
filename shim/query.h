/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * query.h: what a client may know of its slice
 */
#ifndef SAFERAW_QUERY_H
#define SAFERAW_QUERY_H

#include "proto.h"
#include "world.h"

void counters_add(struct counters *sum, const struct counters *counters);
void query_info(const struct slice *slice, struct proto_info_reply *reply);
void query_stats(const struct slice *slice, uint64_t number, struct proto_stats_reply *reply);
void query_flows(const struct slice *slice, uint64_t after, struct proto_flows_reply *reply);
void query_netns(const struct netns *netns, struct proto_netns_reply *reply);
void query_link(const struct link *link, struct proto_link_reply *reply);
void query_links(const struct slice *slice, uint32_t after, struct proto_links_reply *reply);
void query_mappings(const struct slice *slice, const struct proto_mappings *ask, struct proto_mappings_reply *reply);
void query_port(const struct slice *slice, const struct proto_port *ask, uint64_t covered,
		struct proto_port_reply *reply);

#endif
