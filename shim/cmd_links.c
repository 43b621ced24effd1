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

/**
 * show_link() - list one link
 * @cmd: slice and manner
 * @row: link
 * @first: whether it is the first one
 * @mappings: whether they are listed; else JSON has their number in their place
 */
static void show_link(struct cmd *cmd, const struct proto_link_row *row, bool first, bool mappings)
{
	json_t *object, *list;

	if (cmd->json) {
		object = json_link(row);
		list = mappings ? json_array() : json_integer((json_int_t)row->mappings);
		json_object_set_new(object, "mappings", list);
		json_array_append_new(json_object_get(cmd->out, "links"), object);
		if (mappings)
			show_mappings(cmd, row->link, list);
		return;
	}
	if (first)
		printf("\n%6s %-12s %-12s %-12s %6s %10s %12s %10s %12s %8s %10s %8s %9s %s\n", "LINK", "TCP", "UDP",
		       "ICMP", "UID", "RX-PACKETS", "RX-BYTES", "TX-PACKETS", "TX-BYTES", "REFUSED", "TRANSLATED",
		       "MAPPINGS", "EXHAUSTED", "FLAGS");
	print_link(row);
	if (mappings)
		show_mappings(cmd, row->link, NULL);
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
	struct proto_links request = {.header = {.type = PROTO_LINKS, .size = sizeof(request)}};
	struct proto_links_reply reply;
	uint32_t i;

	json_object_set_new(cmd->out, "links", json_array());
	do {
		if (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) < 0) {
			cmd_error("%s", saferaw_error(cmd->saferaw));
			return CMD_FAILED;
		}
		for (i = 0; i < reply.rows && i < PROTO_LINKS_MAX; i++) {
			show_link(cmd, &reply.row[i], request.after == 0, mappings);
			request.after = reply.row[i].link;
		}
	} while (reply.rows);
	return CMD_OK;
}
