/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_flows.c: saferaw flows: the flows of a slice
 *
 * The broker gives them some at a time, in the order of their numbers; what is
 * opened or closed meanwhile may or may not be among them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"

/**
 * protocol_of() - a flow's protocol in words
 * @row: flow
 * @name: room
 *
 * Return: the words
 */
static const char *protocol_of(const struct proto_flow_row *row, char name[static CMD_GRANT_MAX])
{
	return row->class == CLASS_GRANT ? cmd_grant_name(row->protocol, name)
					 : cmd_protocol(row->class, row->family);
}

/**
 * print_row() - one flow for people
 * @row: flow
 */
static void print_row(const struct proto_flow_row *row)
{
	char local[CMD_ENDPOINT_MAX], remote[CMD_ENDPOINT_MAX] = "-", name[CMD_GRANT_MAX];
	const struct prefix own = {.addr = row->local, .len = row->local_len};

	cmd_local(local, row->family, &own, row->class == CLASS_GRANT ? row->key : row->port, row->count);
	if (!addr_is_any(&row->remote))
		cmd_endpoint(remote, row->family, &row->remote, row->remote_port, 1);
	printf("%6" PRIu64 " %-10s %-6s %-24s %-24s %6u %10" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64
	       " %8" PRIu64 " %s%s%s%s\n",
	       row->flow, cmd_kind(row->kind), protocol_of(row, name), local, remote, row->uid, row->rx_packets,
	       row->rx_bytes, row->tx_packets, row->tx_bytes, row->refused, row->flags & PROTO_FLAG_META ? "M" : "-",
	       row->flags & PROTO_FLAG_ERRORS ? "E" : "-", row->flags & PROTO_FLAG_ALL ? "A" : "-",
	       row->dormant ? "D" : "-");
}

/**
 * json_row() - one flow for programs
 * @row: flow
 */
static json_t *json_row(const struct proto_flow_row *row)
{
	static const char *const families[] = {[AF_UNSPEC] = "both", [AF_INET] = "ipv4", [AF_INET6] = "ipv6"};
	const struct prefix own = {.addr = row->local, .len = row->local_len};
	json_t *remote = json_null(), *flags = json_array();
	char name[CMD_GRANT_MAX];

	if (!addr_is_any(&row->remote))
		remote = json_pack("{s:o, s:i}", "address", cmd_json_addr(&row->remote), "port", row->remote_port);
	if (row->flags & PROTO_FLAG_META)
		json_array_append_new(flags, json_string("meta"));
	if (row->flags & PROTO_FLAG_ERRORS)
		json_array_append_new(flags, json_string("errors"));
	if (row->flags & PROTO_FLAG_ALL)
		json_array_append_new(flags, json_string("all"));
	return json_pack(
		"{s:I, s:s, s:s, s:s, s:{s:o, s:o, s:i, s:i, s:o}, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:b}",
		"flow", (json_int_t)row->flow, "kind", cmd_kind(row->kind), "protocol", protocol_of(row, name),
		"family",
		row->family < ARRAY_SIZE(families) && families[row->family] ? families[row->family] : "unknown",
		"local", "address", cmd_json_addr(&row->local), "length", cmd_json_length(&own), "port", row->port,
		"count", row->count, "key",
		row->class == CLASS_GRANT ? json_integer((json_int_t)row->key) : json_null(), "remote", remote, "uid",
		(json_int_t)row->uid, "rx_packets", (json_int_t)row->rx_packets, "rx_bytes",
		(json_int_t)row->rx_bytes, "tx_packets", (json_int_t)row->tx_packets, "tx_bytes",
		(json_int_t)row->tx_bytes, "refused", (json_int_t)row->refused, "flags", flags, "dormant",
		row->dormant);
}

/**
 * cmd_each_flow() - call a function for each flow of a slice
 * @cmd: slice
 * @fn: called with each; returns 0, or -1 to end it, and has said why
 * @arg: for it
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_each_flow(struct cmd *cmd, int (*fn)(const struct proto_flow_row *row, void *arg), void *arg)
{
	struct proto_flows request = {.header = {.type = PROTO_FLOWS, .size = sizeof(request)}};
	struct proto_flows_reply reply;
	uint32_t i;

	do {
		if (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) < 0) {
			cmd_error("%s", saferaw_error(cmd->saferaw));
			return -1;
		}
		for (i = 0; i < reply.rows && i < PROTO_FLOWS_MAX; i++) {
			if (fn(&reply.row[i], arg) < 0)
				return -1;
			request.after = reply.row[i].flow;
		}
	} while (reply.rows);
	return 0;
}

/**
 * show() - list one flow
 * @row: flow
 * @arg: struct cmd; its array of flows gets one more
 *
 * Return: 0
 */
static int show(const struct proto_flow_row *row, void *arg)
{
	const struct cmd *cmd = arg;

	if (cmd->json)
		json_array_append_new(json_object_get(cmd->out, "flows"), json_row(row));
	else
		print_row(row);
	return 0;
}

/**
 * cmd_flows() - list the flows of a slice, and its links
 * @cmd: slice and manner
 *
 * Return: exit status
 */
int cmd_flows(struct cmd *cmd)
{
	json_object_set_new(cmd->out, "flows", json_array());
	if (!cmd->json)
		printf("%6s %-10s %-6s %-24s %-24s %6s %10s %12s %10s %12s %8s %s\n", "FLOW", "KIND", "PROTO",
		       "LOCAL", "REMOTE", "UID", "RX-PACKETS", "RX-BYTES", "TX-PACKETS", "TX-BYTES", "REFUSED",
		       "FLAGS");
	return cmd_each_flow(cmd, show, cmd) < 0 ? CMD_FAILED : cmd_links(cmd, true);
}
