/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_ports.c: saferaw ports: a slice's ranges, and what is on them
 *
 * The broker is asked about every port of every range, one at a time; it takes
 * a request of one client after the other, so this holds up nobody.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

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
 * show_port() - one port, if there is something to say about it
 * @cmd: manner
 * @ports: JSON array; gets one more
 * @class: enum steer_class
 * @port: port
 * @reply: what the broker says
 * @socket: socket of the host on it, or NULL
 */
static void show_port(struct cmd *cmd, json_t *ports, unsigned class, uint16_t port,
		      const struct proto_port_reply *reply, const struct cmd_socket *socket)
{
	const bool open = reply->state == PROTO_PORT_OPEN;
	char name[24], uid[16] = "-";

	if (!open && !socket)
		return;
	json_array_append_new(ports, json_pack("{s:s, s:i, s:s, s:o, s:I, s:o}", "protocol",
					       policy_class_name((enum steer_class) class), "port", port, "state",
					       cmd_port_state(reply->state), "uid",
					       open ? json_integer((json_int_t)reply->uid) : json_null(), "flows",
					       (json_int_t)reply->flows, "kernel_socket",
					       open ? json_null() : cmd_json_socket(socket)));
	if (cmd->json)
		return;
	snprintf(name, sizeof(name), "%s/%u", policy_class_name((enum steer_class) class), port);
	if (open)
		snprintf(uid, sizeof(uid), "%u", reply->uid);
	printf("%-12s %-8s %8s %8u", name, cmd_port_state(reply->state), uid, reply->flows);
	if (open)
		puts("  -");
	else
		printf("  %s, uid %u\n", cmd_socket_state(socket), socket->uid);
}

/**
 * show_ports() - the ports of the slice that somebody has
 * @cmd: slice and manner
 * @slice: its ranges
 * @sockets: sockets of the host
 *
 * Return: 0; or -1, and it has been said why
 */
static int show_ports(struct cmd *cmd, const struct policy_slice *slice, const struct cmd_sockets *sockets)
{
	const struct addr any = {.b = {0}};
	struct proto_port_reply reply;
	json_t *ports = json_array();
	unsigned i, port;

	json_object_set_new(cmd->out, "ports", ports);
	if (!cmd->json)
		printf("\n%-12s %-8s %8s %8s  %s\n", "PORT", "STATE", "UID", "FLOWS", "SOCKET IN THE WAY");
	for (i = 0; i < slice->ranges; i++) {
		const struct policy_range *range = &slice->range[i];

		for (port = range->lo; port <= range->hi; port++) {
			if (cmd_port(cmd, range->class, (uint16_t)port, &any, &reply) < 0)
				return -1;
			show_port(cmd, ports, range->class, (uint16_t)port, &reply,
				  cmd_sockets_find(sockets, range->class, (uint16_t)port, &any));
		}
	}
	return 0;
}

/**
 * cmd_ports() - a slice's ports
 * @cmd: slice and manner
 *
 * Return: exit status
 */
int cmd_ports(struct cmd *cmd)
{
	struct lib_info *info = cmd->saferaw->info;
	json_t *addresses = json_array(), *ranges = json_array();
	struct cmd_sockets sockets;
	char text[ADDR_TEXT_MAX];
	int failed;
	unsigned i;

	json_object_set_new(cmd->out, "addresses", addresses);
	json_object_set_new(cmd->out, "ranges", ranges);
	for (i = 0; i < info->slice.addresses; i++) {
		json_array_append_new(addresses, cmd_json_addr(&info->slice.address[i]));
		if (!cmd->json)
			printf("address %s\n", addr_text(&info->slice.address[i], text));
	}
	for (i = 0; i < info->slice.ranges; i++)
		show_range(cmd, ranges, &info->slice.range[i]);
	if (cmd_sockets_read(&sockets, &info->slice) < 0) {
		cmd_error("cannot read the host's sockets: %s", strerror(errno));
		failed = -1;
	} else {
		failed = show_ports(cmd, &info->slice, &sockets);
	}
	free(sockets.row);
	if (!failed && !cmd->json)
		puts("\n(sockets are those of the network namespace that this command runs in)");
	return failed ? CMD_FAILED : CMD_OK;
}
