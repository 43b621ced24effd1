/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_show.c: words that several subcommands use
 */
#include <stdio.h>
#include <string.h>

#include "cmd.h"

#define PORTS_MAX 24 /* longest text of ports, with its NUL */

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
 * ports_text() - ports in words
 * @text: filled in: 7, 7-9, *
 * @lo: first port, host byte order; 0 for every port
 * @count: ports
 *
 * Return: @text
 */
static const char *ports_text(char text[static PORTS_MAX], uint32_t lo, uint32_t count)
{
	if (!lo)
		snprintf(text, PORTS_MAX, "*");
	else if (count > 1)
		snprintf(text, PORTS_MAX, "%u-%u", lo, lo + count - 1);
	else
		snprintf(text, PORTS_MAX, "%u", lo);
	return text;
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
	char address[ADDR_TEXT_MAX], ports[PORTS_MAX];
	bool any = addr_is_any(addr);

	ports_text(ports, lo, count);
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
 * cmd_local() - a flow's local address or prefix, and ports, in words
 * @text: filled in: as of cmd_endpoint(), or 198.51.100.64/28:7, [2001:db8:9::/64]:7
 * @family: as of cmd_endpoint()
 * @local: address and length; length 0: it is one address
 * @lo: first port, host byte order; 0 for every port
 * @count: ports
 *
 * Return: @text
 */
const char *cmd_local(char text[static CMD_ENDPOINT_MAX], unsigned family, const struct prefix *local, uint32_t lo,
		      uint32_t count)
{
	char prefix[ADDR_TEXT_MAX], ports[PORTS_MAX];

	if (!local->len)
		return cmd_endpoint(text, family, &local->addr, lo, count);
	snprintf(text, CMD_ENDPOINT_MAX, addr_family(&local->addr) == AF_INET ? "%s:%s" : "[%s]:%s",
		 prefix_text(local, prefix), ports_text(ports, lo, count));
	return text;
}

/**
 * cmd_json_length() - a flow's local length for programs: as its family counts, null for one address
 * @local: address and length; length 0: it is one address
 */
json_t *cmd_json_length(const struct prefix *local)
{
	if (!local->len)
		return json_null();
	return json_integer(addr_family(&local->addr) == AF_INET ? local->len - 96 : local->len);
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
 * cmd_slice() - what the broker has said of the slice: addresses, ranges and the rest
 * @cmd: slice
 */
const struct policy_slice *cmd_slice(const struct cmd *cmd)
{
	const struct lib_info *info = atomic_load(&cmd->saferaw->info);

	return &info->slice;
}

/**
 * cmd_port() - ask the broker who has a port
 * @cmd: slice
 * @class: enum steer_class
 * @port: port
 * @local: address, "::" for any
 * @family: of any: AF_INET, AF_INET6, AF_UNSPEC for both
 * @reply: filled in
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_port(struct cmd *cmd, unsigned class, uint16_t port, const struct addr *local, unsigned family,
	     struct proto_port_reply *reply)
{
	struct proto_port request = {.header = {.type = PROTO_PORT, .size = sizeof(request)},
				     .class = (uint8_t) class,
				     .family = (uint8_t)family,
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
