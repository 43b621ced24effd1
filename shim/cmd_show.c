/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_show.c: words that several subcommands use, and the host's own sockets
 *
 * The host's sockets are read from /proc/net, which shows the network
 * namespace of the reader. That is not always the slice's: the subcommands say
 * so. A port that a flow holds shows a socket too, the one that the broker
 * holds it with; so a socket is in the way only where no flow is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static const struct {
	const char *path;
	uint8_t class;
	bool six;
} tables[] = {
	{"/proc/net/tcp", CLASS_TCP, false},         {"/proc/net/tcp6", CLASS_TCP, true},
	{"/proc/net/udp", CLASS_UDP, false},         {"/proc/net/udp6", CLASS_UDP, true},
	{"/proc/net/icmp", CLASS_ICMP, false},       {"/proc/net/icmp6", CLASS_ICMP, true},
	{"/proc/net/udplite", CLASS_UDPLITE, false}, {"/proc/net/udplite6", CLASS_UDPLITE, true},
};

/* States of include/net/tcp_states.h, as the tables number them */
static const char *const states[] = {
	"unknown", "connected", "connecting", "connecting", "closing", "closing",    "time-wait",
	"bound",   "closing",   "closing",    "listening",  "closing", "connecting",
};

/**
 * cmd_protocol() - a flow's protocol in words
 * @class: enum steer_class
 * @family: AF_INET6 tells ICMPv6 from ICMP
 */
const char *cmd_protocol(unsigned class, unsigned family)
{
	if (class == PROTO_CLASS_ANY)
		return "any";
	return class == CLASS_ICMP && family == AF_INET6 ? "icmpv6" : policy_class_name((enum steer_class) class);
}

/**
 * cmd_kind() - a flow's kind in a word
 * @kind: PROTO_KIND_
 */
const char *cmd_kind(unsigned kind)
{
	static const char *const names[] = {[PROTO_KIND_CONSUMER] = "consumer",
					    [PROTO_KIND_SNIFFER] = "sniffer",
					    [PROTO_KIND_ICMP_ERROR] = "icmp-error"};

	return kind < ARRAY_SIZE(names) && names[kind] ? names[kind] : "unknown";
}

/**
 * cmd_endpoint() - address and ports in words
 * @text: filled in: 192.0.2.1:7, [2001:db8::1]:7-9, *:7
 * @family: what "::" stands for: AF_INET, AF_INET6, or AF_UNSPEC for both
 * @addr: address
 * @lo: first port, host byte order; 0 for every port
 * @count: ports
 *
 * Return: @text
 */
const char *cmd_endpoint(char text[static CMD_ENDPOINT_MAX], unsigned family, const struct addr *addr, uint32_t lo,
			 uint32_t count)
{
	char address[ADDR_TEXT_MAX], ports[16] = "*";
	bool any = addr_is_any(addr);

	if (lo && count > 1)
		snprintf(ports, sizeof(ports), "%u-%u", lo, lo + count - 1);
	else if (lo)
		snprintf(ports, sizeof(ports), "%u", lo);
	if (any && family == AF_UNSPEC)
		snprintf(text, CMD_ENDPOINT_MAX, "*:%s", ports);
	else if (any && family == AF_INET)
		snprintf(text, CMD_ENDPOINT_MAX, "0.0.0.0:%s", ports);
	else
		snprintf(text, CMD_ENDPOINT_MAX, addr_family(addr) == AF_INET ? "%s:%s" : "[%s]:%s",
			 addr_text(addr, address), ports);
	return text;
}

/**
 * cmd_json_addr() - an address as a JSON string, null for any
 * @addr: address
 */
json_t *cmd_json_addr(const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return addr_is_any(addr) ? json_null() : json_string(addr_text(addr, text));
}

/**
 * read_address() - an address of a table
 * @hex: 8 or 32 hexadecimal digits: 32-bit words of the address as numbers of this host
 * @addr: set
 *
 * Return: whether it is one
 */
static bool read_address(const char *hex, struct addr *addr)
{
	size_t words = strlen(hex) / 8, i;
	char digits[9] = "";
	uint32_t word[4];

	if (strlen(hex) != 8 && strlen(hex) != 32)
		return false;
	for (i = 0; i < words; i++) {
		memcpy(digits, hex + i * 8, 8);
		word[i] = (uint32_t)strtoul(digits, NULL, 16);
	}
	*addr = words == 1 ? addr_from_v4(word) : addr_from_v6(word);
	return true;
}

/**
 * add_socket() - append a row
 * @sockets: table
 * @row: row
 *
 * Return: 0; or -1 and ENOMEM
 */
static int add_socket(struct cmd_sockets *sockets, const struct cmd_socket *row)
{
	size_t room = sockets->room ? sockets->room * 2 : 64;
	struct cmd_socket *more;

	if (sockets->used == sockets->room) {
		more = reallocarray(sockets->row, room, sizeof(*more));
		if (!more)
			return -1;
		sockets->row = more;
		sockets->room = room;
	}
	sockets->row[sockets->used++] = *row;
	return 0;
}

/**
 * read_table() - the sockets of one table that are on a slice's ports
 * @sockets: gets them
 * @file: open table
 * @class: enum steer_class of the table
 * @slice: slice
 *
 * Return: 0; or -1 and ENOMEM
 */
static int read_table(struct cmd_sockets *sockets, FILE *file, uint8_t class, const struct policy_slice *slice)
{
	struct cmd_socket row = {.class = class};
	unsigned port, state;
	char line[512], hex[33];

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %*u: %32[0-9A-F]:%x %*s %x %*s %*s %*s %u", hex, &port, &state, &row.uid) != 4 ||
		    port > UINT16_MAX || !read_address(hex, &row.local))
			continue; /* the heading */
		row.port = (uint16_t)port;
		row.state = (uint8_t)state;
		if (policy_slice_owns(slice, (enum steer_class) class, row.port, row.port) &&
		    add_socket(sockets, &row) < 0)
			return -1;
	}
	return 0;
}

/**
 * cmd_sockets_read() - the host's own sockets on a slice's ports
 * @sockets: set; the caller frees sockets->row, also after an error
 * @slice: slice
 *
 * A table that is not there (no IPv6, say) has no sockets.
 *
 * Return: 0; or -1 and errno
 */
int cmd_sockets_read(struct cmd_sockets *sockets, const struct policy_slice *slice)
{
	unsigned i;

	*sockets = (struct cmd_sockets){0};
	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		FILE *file = fopen(tables[i].path, "re");
		int n;

		if (!file && errno != ENOENT)
			return -1;
		if (!file)
			continue;
		n = read_table(sockets, file, tables[i].class, slice);
		fclose(file);
		if (n < 0)
			return -1;
	}
	return 0;
}

/**
 * cmd_sockets_find() - a socket that has a port
 * @sockets: table
 * @class: enum steer_class
 * @port: port
 * @local: address that is wanted, "::" for any; a socket on every address has this one too
 *
 * Return: the first, or NULL
 */
const struct cmd_socket *cmd_sockets_find(const struct cmd_sockets *sockets, unsigned class, uint16_t port,
					  const struct addr *local)
{
	size_t i;

	for (i = 0; i < sockets->used; i++) {
		const struct cmd_socket *row = &sockets->row[i];

		if (row->class == class && row->port == port &&
		    (addr_is_any(local) || addr_is_any(&row->local) || addr_eq(&row->local, local)))
			return row;
	}
	return NULL;
}

/**
 * cmd_socket_state() - a socket's state in a word
 * @socket: socket
 */
const char *cmd_socket_state(const struct cmd_socket *socket)
{
	return states[socket->state < ARRAY_SIZE(states) ? socket->state : 0];
}

/**
 * cmd_json_socket() - a socket as a JSON object, or null
 * @socket: socket or NULL
 */
json_t *cmd_json_socket(const struct cmd_socket *socket)
{
	if (!socket)
		return json_null();
	return json_pack("{s:o, s:s, s:I}", "local", cmd_json_addr(&socket->local), "state", cmd_socket_state(socket),
			 "uid", (json_int_t)socket->uid);
}

/**
 * cmd_port() - ask the broker who has a port
 * @cmd: slice
 * @class: enum steer_class
 * @port: port
 * @local: address, "::" for any
 * @reply: filled in
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_port(struct cmd *cmd, unsigned class, uint16_t port, const struct addr *local, struct proto_port_reply *reply)
{
	struct proto_port request = {.header = {.type = PROTO_PORT, .size = sizeof(request)},
				     .class = (uint8_t) class,
				     .port = port,
				     .local = *local};

	if (lib_ask(cmd->saferaw, &request, reply, sizeof(*reply)) < 0) {
		cmd_error("%s", saferaw_error(cmd->saferaw));
		return -1;
	}
	return 0;
}

/**
 * cmd_port_state() - a port's state in a word
 * @state: PROTO_PORT_
 */
const char *cmd_port_state(unsigned state)
{
	static const char *const names[] = {
		[PROTO_PORT_FOREIGN] = "foreign", [PROTO_PORT_FREE] = "free", [PROTO_PORT_OPEN] = "open"};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}
