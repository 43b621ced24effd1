/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_ports.c: saferaw ports: a slice's ranges, and who has what of them
 *
 * A row is what one user has open alike (protocol, address, ports), with how
 * many flows of each kind, for a protocol without ports with its key; or a
 * link's ports of one protocol; or a socket of the host's own. Rows are made
 * from the lists of flows and links, so that it takes a few questions however
 * wide the ranges are, and are sorted at the end.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/* What rows are sorted by, and have in common when they are one; all bytes count */
struct key {
	uint16_t class, port;
	uint16_t count;
	uint8_t family, local_len; /* length of the prefix that local is; 0: it is an address */
	uint32_t uid;
	uint32_t nth;           /* of links or sockets, from 1; 0: flows */
	uint32_t protocol, key; /* of CLASS_GRANT, where port is 0 */
	struct addr local;
};

static_assert(sizeof(struct key) == 40, "no padding: compared as bytes");

struct row {
	struct key key;
	unsigned flows[PROTO_KIND_ICMP_ERROR + 1]; /* by kind */
	const struct cmd_socket *socket;           /* NULL: a user has it open */
	uint32_t link;                             /* number, 0: flows */
};

struct rows {
	struct row *row;
	size_t used, room;
};

/**
 * show_range() - one range of the slice
 * @cmd: manner
 * @ranges: JSON array; gets one more
 * @range: range
 */
static void show_range(struct cmd *cmd, json_t *ranges, const struct policy_range *range)
{
	const char *name = policy_class_name((enum steer_class)range->class);

	json_array_append_new(ranges,
			      json_pack("{s:s, s:i, s:i}", "protocol", name, "low", range->lo, "high", range->hi));
	if (!cmd->json)
		printf("range %s %u-%u\n", name, range->lo, range->hi);
}

/**
 * show_what_it_has() - the slice's addresses, proxied prefixes and ranges
 * @cmd: slice and manner
 */
static void show_what_it_has(struct cmd *cmd)
{
	const struct policy_slice *slice = cmd_slice(cmd);
	json_t *addresses = json_array(), *proxied = json_array(), *ranges = json_array();
	char text[ADDR_TEXT_MAX];
	unsigned i;

	json_object_set_new(cmd->out, "addresses", addresses);
	json_object_set_new(cmd->out, "proxied", proxied);
	json_object_set_new(cmd->out, "ranges", ranges);
	for (i = 0; i < slice->addresses; i++) {
		json_array_append_new(addresses, cmd_json_addr(&slice->address[i]));
		if (!cmd->json)
			printf("address %s\n", addr_text(&slice->address[i], text));
	}
	for (i = 0; i < slice->proxied; i++) {
		json_array_append_new(proxied, json_string(prefix_text(&slice->prefix[i], text)));
		if (!cmd->json)
			printf("proxied %s\n", text);
	}
	for (i = 0; i < slice->ranges; i++)
		show_range(cmd, ranges, &slice->range[i]);
}

/**
 * add_row() - a row more
 * @rows: rows
 * @key: of the row
 *
 * Return: the row; or NULL, and it has been said that memory is short
 */
static struct row *add_row(struct rows *rows, const struct key *key)
{
	size_t room = rows->room ? rows->room * 2 : 64;
	struct row *more;

	if (rows->used == rows->room) {
		more = reallocarray(rows->row, room, sizeof(*more));
		if (!more) {
			cmd_error("%m");
			return NULL;
		}
		rows->row = more;
		rows->room = room;
	}
	rows->row[rows->used] = (struct row){.key = *key};
	return &rows->row[rows->used++];
}

/**
 * add_flow() - a flow, as a row of its own
 * @flow: flow
 * @arg: struct rows
 *
 * Return: 0; or -1, and it has been said why
 */
static int add_flow(const struct proto_flow_row *flow, void *arg)
{
	const struct key key = {.class = flow->class,
				.port = flow->port,
				.count = flow->count,
				.family = flow->family,
				.local_len = flow->local_len,
				.uid = flow->uid,
				.protocol = flow->protocol,
				.key = flow->key,
				.local = flow->local};
	struct row *row = add_row(arg, &key);

	if (!row)
		return -1;
	if (flow->kind <= PROTO_KIND_ICMP_ERROR)
		row->flows[flow->kind] = 1;
	return 0;
}

/**
 * add_link() - a link's ports, a row for each protocol
 * @link: link
 * @arg: struct rows
 *
 * Return: 0; or -1, and it has been said why
 */
static int add_link(const struct proto_link_row *link, void *arg)
{
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct proto_block *block = &link->block[class];
		const struct key key = {.class = (uint16_t) class,
					.port = block->lo,
					.count = (uint16_t)(block->hi - block->lo + 1),
					.uid = link->uid,
					.nth = link->link};
		struct row *row = block->hi ? add_row(arg, &key) : NULL;

		if (block->hi && !row)
			return -1;
		if (row)
			row->link = link->link;
	}
	return 0;
}

/**
 * add_sockets() - the host's own sockets, a row each
 * @rows: rows
 * @sockets: sockets
 *
 * Return: 0; or -1, and it has been said why
 */
static int add_sockets(struct rows *rows, const struct cmd_sockets *sockets)
{
	size_t i;

	for (i = 0; i < sockets->used; i++) {
		const struct cmd_socket *socket = &sockets->row[i];
		const struct key key = {.class = socket->class,
					.port = socket->port,
					.count = 1,
					.family = socket->family,
					.nth = 1 + (uint32_t)i,
					.local = socket->local};
		struct row *row = add_row(rows, &key);

		if (!row)
			return -1;
		row->socket = socket;
	}
	return 0;
}

/**
 * compare() - for qsort(3)
 * @a: a row
 * @b: another
 */
static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->key.class != y->key.class)
		return x->key.class < y->key.class ? -1 : 1;
	if (x->key.port != y->key.port)
		return x->key.port < y->key.port ? -1 : 1;
	return memcmp(&x->key, &y->key, sizeof(x->key));
}

/**
 * merge() - sort rows, and make one of those that are alike
 * @rows: rows
 */
static void merge(struct rows *rows)
{
	size_t i, kept = 0, kind;

	if (rows->used)
		qsort(rows->row, rows->used, sizeof(*rows->row), compare);
	for (i = 0; i < rows->used; i++) {
		if (!kept || compare(&rows->row[kept - 1], &rows->row[i])) {
			rows->row[kept++] = rows->row[i];
			continue;
		}
		for (kind = 0; kind < ARRAY_SIZE(rows->row[i].flows); kind++)
			rows->row[kept - 1].flows[kind] += rows->row[i].flows[kind];
	}
	rows->used = kept;
}

/**
 * is_open() - whether a row is of ports that are held for its user
 * @row: row
 */
static bool is_open(const struct row *row)
{
	return row->link || row->flows[PROTO_KIND_CONSUMER] || row->flows[PROTO_KIND_ICMP_ERROR];
}

/**
 * protocol_of() - a row's protocol in words
 * @row: row
 * @name: room
 */
static const char *protocol_of(const struct row *row, char name[static CMD_GRANT_MAX])
{
	return row->key.class == CLASS_GRANT ? cmd_grant_name(row->key.protocol, name)
					     : cmd_protocol(row->key.class, row->key.family);
}

/**
 * json_of() - a row for programs
 * @row: row
 */
static json_t *json_of(const struct row *row)
{
	const struct prefix own = {.addr = row->key.local, .len = row->key.local_len};
	json_t *kinds = json_object();
	char name[CMD_GRANT_MAX];
	json_int_t flows = 0;
	unsigned kind;

	for (kind = PROTO_KIND_CONSUMER; kind < ARRAY_SIZE(row->flows); kind++) {
		flows += row->flows[kind];
		if (row->flows[kind])
			json_object_set_new(kinds, cmd_kind(kind), json_integer(row->flows[kind]));
	}
	return json_pack(
		"{s:s, s:o, s:o, s:i, s:o, s:i, s:s, s:o, s:I, s:o, s:o, s:o}", "protocol", protocol_of(row, name),
		"address", cmd_json_addr(&row->key.local), "length", cmd_json_length(&own), "port", row->key.port,
		"key", row->key.class == CLASS_GRANT ? json_integer(row->key.key) : json_null(), "count",
		row->key.count, "state", cmd_port_state(is_open(row) ? PROTO_PORT_OPEN : PROTO_PORT_FREE), "uid",
		row->socket ? json_null() : json_integer(row->key.uid), "flows", flows, "kinds", kinds, "link",
		row->link ? json_integer(row->link) : json_null(), "kernel_socket", cmd_json_socket(row->socket));
}

/**
 * print_row() - a row for people
 * @row: row
 */
static void print_row(const struct row *row)
{
	char local[CMD_ENDPOINT_MAX], name[CMD_GRANT_MAX], kinds[80] = "";
	const struct prefix own = {.addr = row->key.local, .len = row->key.local_len};
	unsigned kind;
	int n = 0;

	cmd_local(local, row->key.family, &own, row->key.port + row->key.key, row->key.count);
	printf("%-8s %-32s ", protocol_of(row, name), local);
	if (row->socket) {
		printf("%8s  socket of the host: %s, uid %u\n", "-", cmd_socket_state(row->socket), row->socket->uid);
		return;
	}
	for (kind = PROTO_KIND_CONSUMER; kind < ARRAY_SIZE(row->flows); kind++)
		if (row->flows[kind])
			n += snprintf(kinds + n, sizeof(kinds) - (size_t)n, "%s%u %s", n ? ", " : "",
				      row->flows[kind], cmd_kind(kind));
	if (row->link)
		snprintf(kinds, sizeof(kinds), "link %u", row->link);
	printf("%8u  %s\n", row->key.uid, kinds);
}

/**
 * show_rows() - all rows
 * @cmd: manner
 * @rows: sorted
 */
static void show_rows(struct cmd *cmd, const struct rows *rows)
{
	json_t *ports = json_array();
	size_t i;

	json_object_set_new(cmd->out, "ports", ports);
	if (!cmd->json)
		printf("\n%-8s %-32s %8s  %s\n", "PROTO", "LOCAL", "UID", "FLOWS");
	for (i = 0; i < rows->used; i++) {
		json_array_append_new(ports, json_of(&rows->row[i]));
		if (!cmd->json)
			print_row(&rows->row[i]);
	}
}

/**
 * cmd_ports() - a slice's ports
 * @cmd: slice and manner
 *
 * Return: exit status
 */
int cmd_ports(struct cmd *cmd)
{
	struct cmd_sockets sockets = {0};
	struct rows rows = {0};
	int status = CMD_FAILED;

	show_what_it_has(cmd);
	cmd_grants(cmd, cmd_slice(cmd));
	if (cmd_sockets_read(&sockets, cmd) == 0 && cmd_each_flow(cmd, add_flow, &rows) == 0 &&
	    cmd_each_link(cmd, add_link, &rows) == 0 && add_sockets(&rows, &sockets) == 0) {
		merge(&rows);
		show_rows(cmd, &rows);
		json_object_set_new(cmd->out, "sockets_seen", json_boolean(sockets.seen));
		if (!cmd->json && !sockets.seen)
			puts("\n(of the host's sockets nothing is known here: the slice is in another network "
			     "namespace)");
		status = CMD_OK;
	}
	free(rows.row);
	free(sockets.row);
	return status;
}
