/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_sockets.c: the host's own sockets on a slice's ports
 *
 * They are read from /proc/net, which shows the network namespace of the
 * reader. So first it is made sure that this is the slice's, by its cookie;
 * where it is not, nothing is known of sockets, and that is said. Each port
 * that the broker holds shows a socket too, the one that it is held with. The
 * broker knows which those are, and is asked about each.
 *
 * SCTP's and DCCP's sockets are in no table of this form, and are not seen.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd.h"

static const struct table {
	const char *path;
	uint8_t class, family;
} tables[] = {
	{"/proc/net/tcp", CLASS_TCP, AF_INET},         {"/proc/net/tcp6", CLASS_TCP, AF_INET6},
	{"/proc/net/udp", CLASS_UDP, AF_INET},         {"/proc/net/udp6", CLASS_UDP, AF_INET6},
	{"/proc/net/icmp", CLASS_ICMP, AF_INET},       {"/proc/net/icmp6", CLASS_ICMP, AF_INET6},
	{"/proc/net/udplite", CLASS_UDPLITE, AF_INET}, {"/proc/net/udplite6", CLASS_UDPLITE, AF_INET6},
};

/* States of include/net/tcp_states.h, as the tables number them */
static const char *const states[] = {
	"unknown", "connected", "connecting", "connecting", "closing", "closing",    "time-wait",
	"bound",   "closing",   "closing",    "listening",  "closing", "connecting",
};

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
 * on_slice() - whether a socket is on an address and a port of a slice
 * @slice: slice
 * @row: socket
 */
static bool on_slice(const struct policy_slice *slice, const struct cmd_socket *row)
{
	return policy_slice_owns(slice, (enum steer_class)row->class, row->port, row->port) &&
	       (addr_is_any(&row->local) || policy_slice_has_address(slice, &row->local));
}

/**
 * read_table() - the sockets of one table that are on a slice's ports
 * @sockets: gets them
 * @file: open table
 * @table: which
 * @slice: slice
 *
 * Return: 0; or -1 and ENOMEM
 */
static int read_table(struct cmd_sockets *sockets, FILE *file, const struct table *table,
		      const struct policy_slice *slice)
{
	struct cmd_socket row = {.class = table->class, .family = table->family};
	unsigned port, state;
	char line[512], hex[33];

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %*u: %32[0-9A-F]:%x %*s %x %*s %*s %*s %u", hex, &port, &state, &row.uid) != 4 ||
		    port > UINT16_MAX || !read_address(hex, &row.local))
			continue; /* the heading */
		row.port = (uint16_t)port;
		row.state = (uint8_t)state;
		if (on_slice(slice, &row) && add_socket(sockets, &row) < 0)
			return -1;
	}
	return 0;
}

/**
 * read_tables() - all sockets of this network namespace that are on a slice's ports
 * @sockets: gets them
 * @slice: slice
 *
 * A table that is not there (no IPv6, say) has no sockets.
 *
 * Return: 0; or -1 and errno
 */
static int read_tables(struct cmd_sockets *sockets, const struct policy_slice *slice)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		FILE *file = fopen(tables[i].path, "re");
		int n;

		if (!file && errno != ENOENT)
			return -1;
		if (!file)
			continue;
		n = read_table(sockets, file, &tables[i], slice);
		fclose(file);
		if (n < 0)
			return -1;
	}
	return 0;
}

/**
 * own_netns() - the cookie of the network namespace that this process is in
 *
 * Return: the cookie, 0 when it cannot be had
 */
static uint64_t own_netns(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		cookie = 0;
	close_fd(&fd);
	return cookie;
}

/**
 * look_where() - whether this process is where the slice is
 * @cmd: slice
 * @slice: its ranges
 * @seen: set
 *
 * Return: 0; or -1, and it has been said why
 */
static int look_where(struct cmd *cmd, const struct policy_slice *slice, bool *seen)
{
	const struct addr any = {.b = {0}};
	struct proto_port_reply reply;

	*seen = false;
	if (!slice->ranges)
		return 0;
	if (cmd_port(cmd, slice->range[0].class, slice->range[0].lo, &any, AF_UNSPEC, &reply) < 0)
		return -1;
	*seen = reply.netns && reply.netns == own_netns();
	return 0;
}

/**
 * drop_brokers() - leave out the sockets that the broker holds ports with
 * @cmd: slice
 * @sockets: changed
 *
 * Return: 0; or -1, and it has been said why
 */
static int drop_brokers(struct cmd *cmd, struct cmd_sockets *sockets)
{
	struct proto_port_reply reply;
	size_t i, kept = 0;

	for (i = 0; i < sockets->used; i++) {
		const struct cmd_socket *row = &sockets->row[i];

		if (cmd_port(cmd, row->class, row->port, &row->local, row->family, &reply) < 0)
			return -1;
		if (!reply.held)
			sockets->row[kept++] = *row;
	}
	sockets->used = kept;
	return 0;
}

/**
 * cmd_sockets_read() - the host's own sockets on a slice's ports
 * @sockets: set; the caller frees sockets->row, also after an error
 * @cmd: slice
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_sockets_read(struct cmd_sockets *sockets, struct cmd *cmd)
{
	const struct policy_slice *slice = cmd_slice(cmd);

	*sockets = (struct cmd_sockets){0};
	if (look_where(cmd, slice, &sockets->seen) < 0)
		return -1;
	if (!sockets->seen)
		return 0;
	if (read_tables(sockets, slice) < 0) {
		cmd_error("cannot read the host's sockets: %s", strerror(errno));
		return -1;
	}
	return drop_brokers(cmd, sockets);
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
