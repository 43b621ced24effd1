/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * query_link.c: what a client may know of its slice's links
 */
#include <errno.h>
#include <string.h>

#include "link.h"
#include "query.h"
#include "util.h"

/**
 * block_of() - the ports of one class of a link
 * @link: link
 * @class: enum steer_class
 */
static struct proto_block block_of(const struct link *link, unsigned class)
{
	const struct policy_range *block = &link->class[class].block;

	if (!block->hi)
		return (struct proto_block){0};
	return (struct proto_block){.lo = block->lo, .hi = block->hi, .direct_hi = link_direct_hi(link, class)};
}

/**
 * query_link() - what a link is, for whom it was made
 * @link: up
 * @reply: filled in
 */
void query_link(const struct link *link, struct proto_link_reply *reply)
{
	const struct slice *slice = link->slice;
	unsigned i;

	reply->link = link->number;
	reply->mtu = link->mtu;
	reply->addresses = (uint8_t)slice->policy.addresses;
	reply->local = slice->conf.record.local && !(link->flags & STEER_LINK_STRICT);
	for (i = 0; i < STEER_LINK_CLASSES; i++)
		reply->block[i] = block_of(link, i);
	memcpy(reply->address, slice->policy.address, slice->policy.addresses * sizeof(slice->policy.address[0]));
}

/**
 * refused() - packets of a link that were refused, by steering and by the relay
 * @link: up
 */
static uint64_t refused(const struct link *link)
{
	const struct steer_link_traffic *traffic = &link->netns->link_traffic[link->number];
	uint64_t sum = link->refused;
	unsigned i;

	for (i = 0; i < STEER_REASONS_N; i++)
		sum += traffic->dropped[i] - link->before.dropped[i];
	return sum;
}

/**
 * fill_row() - one link as it is told
 * @link: up
 * @row: all zeros; filled in
 */
static void fill_row(const struct link *link, struct proto_link_row *row)
{
	const struct steer_link_traffic *traffic = &link->netns->link_traffic[link->number];
	const struct napt_counters *counters = &link->napt->counters;
	unsigned i;

	row->link = link->number;
	row->uid = link->opener.uid;
	row->flags = link->flags;
	row->mappings = link->napt->used;
	row->rx_packets = traffic->rx_packets - link->before.rx_packets;
	row->rx_bytes = traffic->rx_bytes - link->before.rx_bytes;
	row->tx_packets = traffic->tx_packets - link->before.tx_packets;
	row->tx_bytes = traffic->tx_bytes - link->before.tx_bytes;
	row->rx_translated = link->translated.rx_packets;
	row->tx_translated = link->translated.tx_packets;
	row->refused = refused(link);
	row->created = counters->created;
	row->expired = counters->expired;
	row->displaced = counters->displaced;
	row->exhausted = counters->exhausted;
	for (i = 0; i < STEER_LINK_CLASSES; i++)
		row->block[i] = block_of(link, i);
}

/**
 * query_links() - the next links of the slice
 * @slice: slice
 * @after: links with higher numbers
 * @reply: filled in
 */
void query_links(const struct slice *slice, uint32_t after, struct proto_links_reply *reply)
{
	uint64_t now = clock_ns();
	uint32_t number;

	for (number = after; ++number && number < STEER_LINKS_MAX && reply->rows < PROTO_LINKS_MAX;) {
		struct link *link = slice->netns->links[number];

		if (!link || link->slice != slice)
			continue;
		link_expire(link, now);
		fill_row(link, &reply->row[reply->rows++]);
	}
}

/**
 * query_mappings() - the next mappings of a link
 * @slice: slice
 * @ask: which link, and after which mapping
 * @reply: filled in
 */
void query_mappings(const struct slice *slice, const struct proto_mappings *ask, struct proto_mappings_reply *reply)
{
	struct link *link = ask->link < STEER_LINKS_MAX ? slice->netns->links[ask->link] : NULL;
	unsigned class = ask->class, outer = ask->outer;
	uint64_t now = clock_ns();
	const struct mapping *mapping;

	if (!link || link->slice != slice) {
		reply->error = ENOENT;
		return;
	}
	link_expire(link, now);
	while (reply->rows < PROTO_MAPPINGS_MAX && (mapping = napt_next(link->napt, class, outer))) {
		class = mapping->class;
		outer = mapping->outer_port;
		reply->row[reply->rows++] =
			(struct proto_mapping_row){.class = mapping->class,
						   .host = mapping->host,
						   .inner = mapping->inner_port,
						   .outer = mapping->outer_port,
						   .remote_port = mapping->remote_port,
						   .age_ms = (uint32_t)((now - mapping->made_ns) / NS_PER_MS),
						   .idle_ms = (uint32_t)((now - mapping->used_ns) / NS_PER_MS),
						   .local = mapping->outer,
						   .remote = mapping->remote};
	}
}
