/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_links.c: the links of a slice, as saferaw flows and saferaw stats have them
 *
 * Each is a row of numbers. Below it flows lists what is translated for the
 * link, mapping by mapping; stats only says how many there are, so what it
 * prints is bounded by the number of links that the slice may have.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"

/**
 * block_text() - the ports of one class in words
 * @text: filled in: "40000-40255" or "-"
 * @block: ports
 *
 * Return: @text
 */
static const char *block_text(char text[static 16], const struct proto_block *block)
{
	if (block->hi)
		snprintf(text, 16, "%u-%u", block->lo, block->hi);
	else
		snprintf(text, 16, "-");
	return text;
}

/**
 * print_link() - one link for people
 * @row: link
 */
static void print_link(const struct proto_link_row *row)
{
	char text[STEER_LINK_CLASSES][16];
	unsigned i;

	for (i = 0; i < STEER_LINK_CLASSES; i++)
		block_text(text[i], &row->block[i]);
	printf("%6u %-12s %-12s %-12s %6u %10" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %8" PRIu64
	       " %10" PRIu64 " %8u %9" PRIu64 " %s%s\n",
	       row->link, text[CLASS_TCP], text[CLASS_UDP], text[CLASS_ICMP], row->uid, row->rx_packets,
	       row->rx_bytes, row->tx_packets, row->tx_bytes, row->refused, row->rx_translated + row->tx_translated,
	       row->mappings, row->exhausted, row->flags & PROTO_LINK_STRICT ? "S" : "-",
	       row->flags & PROTO_LINK_QUIET ? "Q" : "-");
}

/**
 * json_link() - one link for programs, without its mappings
 * @row: link
 */
static json_t *json_link(const struct proto_link_row *row)
{
	json_t *ports = json_object();
	unsigned i;

	for (i = 0; i < STEER_LINK_CLASSES; i++)
		if (row->block[i].hi)
			json_object_set_new(ports, policy_class_name((enum steer_class)i),
					    json_pack("{s:i, s:i, s:i}", "low", row->block[i].lo, "high",
						      row->block[i].hi, "direct_high", row->block[i].direct_hi));
	return json_pack("{s:I, s:I, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "link",
			 (json_int_t)row->link, "uid", (json_int_t)row->uid, "strict",
			 row->flags & PROTO_LINK_STRICT ? 1 : 0, "quiet", row->flags & PROTO_LINK_QUIET ? 1 : 0,
			 "ports", ports, "rx_packets", (json_int_t)row->rx_packets, "rx_bytes",
			 (json_int_t)row->rx_bytes, "tx_packets", (json_int_t)row->tx_packets, "tx_bytes",
			 (json_int_t)row->tx_bytes, "refused", (json_int_t)row->refused, "rx_translated",
			 (json_int_t)row->rx_translated, "tx_translated", (json_int_t)row->tx_translated, "created",
			 (json_int_t)row->created, "expired", (json_int_t)row->expired, "displaced",
			 (json_int_t)row->displaced, "exhausted", (json_int_t)row->exhausted);
}

/**
 * print_mapping() - one mapping for people
 * @row: mapping
 */
static void print_mapping(const struct proto_mapping_row *row)
{
	char local[CMD_ENDPOINT_MAX], remote[CMD_ENDPOINT_MAX];
	unsigned family = (unsigned)addr_family(&row->local);

	cmd_endpoint(local, family, &row->local, row->outer, 1);
	cmd_endpoint(remote, family, &row->remote, row->remote_port, 1);
	printf("%6s %-6s %5u as %-24s to %-24s age %" PRIu32 " s, idle %" PRIu32 " s\n", "",
	       cmd_protocol(row->class, family), row->inner, local, row->host ? "the host" : remote,
	       row->age_ms / 1000, row->idle_ms / 1000);
}

/**
 * json_mapping() - one mapping for programs
 * @row: mapping
 */
static json_t *json_mapping(const struct proto_mapping_row *row)
{
	return json_pack("{s:s, s:i, s:{s:o, s:i}, s:{s:o, s:i}, s:b, s:I, s:I}", "protocol",
			 cmd_protocol(row->class, (unsigned)addr_family(&row->local)), "inner", row->inner, "outer",
			 "address", cmd_json_addr(&row->local), "port", row->outer, "remote", "address",
			 cmd_json_addr(&row->remote), "port", row->remote_port, "host", row->host, "age_ms",
			 (json_int_t)row->age_ms, "idle_ms", (json_int_t)row->idle_ms);
}

/**
 * show_mappings() - list what is translated for a link
 * @cmd: slice and manner
 * @link: number; when it has gone meanwhile, nothing is listed
 * @list: JSON array that gets the mappings, or NULL to print them
 */
static void show_mappings(struct cmd *cmd, uint32_t link, json_t *list)
{
	struct proto_mappings request = {.header = {.type = PROTO_MAPPINGS, .size = sizeof(request)}, .link = link};
	struct proto_mappings_reply reply;
	uint32_t i;

	while (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) == 0 && reply.rows) {
		for (i = 0; i < reply.rows && i < PROTO_MAPPINGS_MAX; i++) {
			const struct proto_mapping_row *row = &reply.row[i];

			if (list)
				json_array_append_new(list, json_mapping(row));
			else
				print_mapping(row);
			request.class = row->class;
			request.outer = row->outer;
		}
	}
}

/* What is listed of links */
struct listing {
	struct cmd *cmd;
	bool mappings; /* those of each; else JSON has their number in their place */
	bool begun;    /* the heading is there */
};

/**
 * show_link() - list one link
 * @row: link
 * @arg: struct listing
 *
 * Return: 0
 */
static int show_link(const struct proto_link_row *row, void *arg)
{
	struct listing *listing = arg;
	struct cmd *cmd = listing->cmd;
	json_t *object, *list;

	if (cmd->json) {
		object = json_link(row);
		list = listing->mappings ? json_array() : json_integer((json_int_t)row->mappings);
		json_object_set_new(object, "mappings", list);
		json_array_append_new(json_object_get(cmd->out, "links"), object);
		if (listing->mappings)
			show_mappings(cmd, row->link, list);
		return 0;
	}
	if (!listing->begun)
		printf("\n%6s %-12s %-12s %-12s %6s %10s %12s %10s %12s %8s %10s %8s %9s %s\n", "LINK", "TCP", "UDP",
		       "ICMP", "UID", "RX-PACKETS", "RX-BYTES", "TX-PACKETS", "TX-BYTES", "REFUSED", "TRANSLATED",
		       "MAPPINGS", "EXHAUSTED", "FLAGS");
	listing->begun = true;
	print_link(row);
	if (listing->mappings)
		show_mappings(cmd, row->link, NULL);
	return 0;
}

/**
 * cmd_each_link() - call a function for each link of a slice
 * @cmd: slice
 * @fn: called with each; returns 0, or -1 to end it, and has said why
 * @arg: for it
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_each_link(struct cmd *cmd, int (*fn)(const struct proto_link_row *row, void *arg), void *arg)
{
	struct proto_links request = {.header = {.type = PROTO_LINKS, .size = sizeof(request)}};
	struct proto_links_reply reply;
	uint32_t i;

	do {
		if (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) < 0) {
			cmd_error("%s", saferaw_error(cmd->saferaw));
			return -1;
		}
		for (i = 0; i < reply.rows && i < PROTO_LINKS_MAX; i++) {
			if (fn(&reply.row[i], arg) < 0)
				return -1;
			request.after = reply.row[i].link;
		}
	} while (reply.rows);
	return 0;
}

/**
 * cmd_links() - list the links of a slice
 * @cmd: slice and manner
 * @mappings: whether those of each are listed
 *
 * Return: exit status
 */
int cmd_links(struct cmd *cmd, bool mappings)
{
	struct listing listing = {.cmd = cmd, .mappings = mappings};

	json_object_set_new(cmd->out, "links", json_array());
	return cmd_each_link(cmd, show_link, &listing) < 0 ? CMD_FAILED : CMD_OK;
}
