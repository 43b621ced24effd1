/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_explain.c: saferaw explain PORT: whether a port could be opened, and what is in the way
 *
 * Says what the broker would say to saferaw_open(), one finding a line, and the
 * first that is against it is the result. What only the attempt can show (the
 * slice's limits, a reservation that the host refuses) is not looked at.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

/* What is asked about */
struct wanted {
	unsigned class;
	uint16_t port;
	uint8_t protocol; /* with CLASS_GRANT */
	uint32_t key;     /* of GRE */
	struct addr local;
};

/**
 * is_word() - whether a text begins with a word and a slash
 * @text: text
 * @word: word
 */
static bool is_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	return !strncmp(text, word, length) && text[length] == '/';
}

/**
 * read_class() - the protocol before the slash
 * @text: argument
 * @wanted: gets the class, and for GRE the protocol
 *
 * Return: what is behind the slash; or NULL when this is no PORT
 */
static const char *read_class(const char *text, struct wanted *wanted)
{
	const char *slash = strchr(text, '/');

	if (!slash)
		return NULL;
	for (wanted->class = 0; wanted->class < STEER_PORT_CLASSES; wanted->class ++)
		if (is_word(text, policy_class_name((enum steer_class)wanted->class)))
			return slash + 1;
	wanted->protocol = is_word(text, "gre") ? IPPROTO_GRE : 0;
	if (is_word(text, "gre") || is_word(text, "protocol"))
		return slash + 1;
	wanted->class = CLASS_ICMP;
	return is_word(text, "icmpv6") ? slash + 1 : NULL;
}

/**
 * read_number() - the port, key or protocol behind the slash
 * @text: digits
 * @wanted: gets it
 *
 * Return: whether it can be one
 */
static bool read_number(const char *text, struct wanted *wanted)
{
	const bool grant = wanted->class == CLASS_GRANT, key = grant && wanted->protocol;
	uint64_t value;

	if (!parse_u64(text, key ? UINT32_MAX : grant ? UINT8_MAX : UINT16_MAX, &value) || (!value && !key))
		return false;
	if (key)
		wanted->key = (uint32_t)value;
	else if (grant)
		wanted->protocol = (uint8_t)value;
	else
		wanted->port = (uint16_t)value;
	return true;
}

/**
 * read_endpoint() - address and port behind the slash
 * @text: PORT, ADDRESS:PORT or [ADDRESS]:PORT
 * @wanted: gets both; its class is known
 *
 * Return: whether it is one
 */
static bool read_endpoint(const char *text, struct wanted *wanted)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	char address[ADDR_TEXT_MAX];
	size_t length = colon ? (size_t)(colon - text) : 0;

	if (!read_number(port, wanted))
		return false;
	if (!colon)
		return true;
	if (text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	return addr_parse(address, &wanted->local);
}

/**
 * finding() - print one finding
 * @cmd: manner
 * @about: what it is about
 * @text: what was found
 */
static void finding(const struct cmd *cmd, const char *about, const char *text)
{
	if (!cmd->json)
		printf("%-8s %s\n", about, text);
}

/**
 * judge_state() - whether what the broker says of a port is in the way
 * @reply: what it says
 * @text: set to that in words
 * @room: bytes there
 *
 * Return: 0, or the errno that saferaw_open() would fail with
 */
static int judge_state(const struct proto_port_reply *reply, char *text, size_t room)
{
	switch (reply->state) {
	case PROTO_PORT_FREE:
		snprintf(text, room, "free");
		return 0;
	case PROTO_PORT_OPEN:
		snprintf(text, room, "open: uid %u has it, flows: %u%s", reply->uid, reply->flows,
			 reply->uid == geteuid() ? "; that is you, and other remotes can be opened" : "");
		return reply->uid == geteuid() ? 0 : EADDRINUSE;
	default:
		snprintf(text, room, "not the slice's");
		return EACCES;
	}
}

/**
 * judge_address() - whose an address is
 * @slice: slice
 * @local: address, "::" for any
 *
 * Return: in words; NULL when it is not the slice's
 */
static const char *judge_address(const struct policy_slice *slice, const struct addr *local)
{
	if (addr_is_any(local) || policy_slice_has_address(slice, local))
		return "the slice's";
	return policy_slice_prefix(slice, local) ? "the slice's, proxied: with every port" : NULL;
}

/**
 * judge_socket() - whether a socket of the host is in the way
 * @sockets: of the host
 * @socket: the one that is on the port, or NULL
 * @text: set to that in words
 * @room: bytes there
 *
 * Return: 0 or EADDRINUSE
 */
static int judge_socket(const struct cmd_sockets *sockets, const struct cmd_socket *socket, char *text, size_t room)
{
	char local[CMD_ENDPOINT_MAX];

	if (!sockets->seen) {
		snprintf(text, room, "not known: the slice is in another network namespace than this command");
		return 0;
	}
	if (!socket) {
		snprintf(text, room, "no socket of the host has it");
		return 0;
	}
	cmd_endpoint(local, socket->family, &socket->local, socket->port, 1);
	snprintf(text, room, "%s, %s, uid %u, is in the way", local, cmd_socket_state(socket), socket->uid);
	return EADDRINUSE;
}

/**
 * conclude() - say the result
 * @cmd: manner; its object gets the result
 * @error: 0, or what saferaw_open() would fail with
 *
 * Return: exit status
 */
static int conclude(struct cmd *cmd, int error)
{
	char text[80];

	snprintf(text, sizeof(text), error ? "refused: %s" : "passes: it can be opened", strerror(error));
	finding(cmd, "result", text);
	json_object_set_new(cmd->out, "passes", json_boolean(!error));
	json_object_set_new(cmd->out, "error", error ? json_string(strerrorname_np(error)) : json_null());
	return error ? CMD_REFUSED : CMD_OK;
}

/**
 * ask() - ask the broker who has the port
 * @cmd: slice
 * @wanted: port
 * @reply: filled in
 *
 * Return: 0; or -1, and it has been said why
 */
static int ask(struct cmd *cmd, const struct wanted *wanted, struct proto_port_reply *reply)
{
	if (wanted->class == CLASS_GRANT)
		return cmd_grant(cmd, wanted->protocol, wanted->key, &wanted->local, reply);
	return cmd_port(cmd, wanted->class, wanted->port, &wanted->local, AF_UNSPEC, reply);
}

/**
 * json_port() - what was found of a port, for programs
 * @wanted: port
 * @reply: what the broker says of it
 * @sockets: of the host
 * @socket: the one that is on the port, or NULL
 *
 * Return: JSON object, without whose the address is
 */
static json_t *json_port(const struct wanted *wanted, const struct proto_port_reply *reply,
			 const struct cmd_sockets *sockets, const struct cmd_socket *socket)
{
	const bool grant = wanted->class == CLASS_GRANT, open = reply->state == PROTO_PORT_OPEN;
	char name[CMD_GRANT_MAX];

	return json_pack("{s:s, s:i, s:o, s:o, s:s, s:o, s:I, s:b, s:o}", "protocol",
			 grant ? cmd_grant_name(wanted->protocol, name)
			       : policy_class_name((enum steer_class)wanted->class),
			 "port", wanted->port, "key", grant ? json_integer((json_int_t)wanted->key) : json_null(),
			 "address", cmd_json_addr(&wanted->local), "state", cmd_port_state(reply->state), "uid",
			 open ? json_integer((json_int_t)reply->uid) : json_null(), "flows", (json_int_t)reply->flows,
			 "sockets_seen", sockets->seen, "kernel_socket", cmd_json_socket(socket));
}

/**
 * explain_port() - look at one port
 * @cmd: slice and manner
 * @wanted: port
 *
 * Return: exit status
 */
static int explain_port(struct cmd *cmd, const struct wanted *wanted)
{
	const struct policy_slice *slice = cmd_slice(cmd);
	const char *address = judge_address(slice, &wanted->local);
	bool own = addr_is_any(&wanted->local) || policy_slice_has_address(slice, &wanted->local);
	const struct cmd_socket *socket;
	struct proto_port_reply reply;
	struct cmd_sockets sockets;
	int state, in_way;
	char text[256];
	json_t *port;

	if (ask(cmd, wanted, &reply) < 0)
		return CMD_FAILED;
	if (cmd_sockets_read(&sockets, cmd) < 0) {
		free(sockets.row);
		return CMD_FAILED;
	}
	finding(cmd, "address", address ? address : "not the slice's, or not there at the moment");
	state = judge_state(&reply, text, sizeof(text));
	finding(cmd, "port", text);
	socket = own ? cmd_sockets_find(&sockets, wanted->class, wanted->port, &wanted->local) : NULL;
	in_way = judge_socket(&sockets, socket, text, sizeof(text));
	if (own && reply.state != PROTO_PORT_FOREIGN)
		finding(cmd, "socket", text);
	port = json_port(wanted, &reply, &sockets, socket);
	json_object_set_new(port, "address_is_slices", json_boolean(address));
	json_object_set_new(cmd->out, "port", port);
	free(sockets.row);
	if (!address)
		return conclude(cmd, EADDRNOTAVAIL);
	return conclude(cmd, state ? state : in_way);
}

/**
 * cmd_explain() - explain a port or a packet
 * @cmd: slice, manner, and the argument
 *
 * Return: exit status
 */
int cmd_explain(struct cmd *cmd)
{
	struct wanted wanted = {.class = 0};
	const char *endpoint = cmd->argument[0] == '@' ? NULL : read_class(cmd->argument, &wanted);

	if (!endpoint)
		return cmd_explain_packet(cmd);
	if (!read_endpoint(endpoint, &wanted)) {
		cmd_error("'%s' is not a port: PROTOCOL/PORT, PROTOCOL/ADDRESS:PORT or PROTOCOL/[ADDRESS]:PORT",
			  cmd->argument);
		return CMD_FAILED;
	}
	return explain_port(cmd, &wanted);
}
