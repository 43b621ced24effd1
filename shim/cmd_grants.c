/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_grants.c: protocols without ports, as several subcommands show them
 *
 * GRE is called by its name and has a key, every other one is called by its
 * number.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

/**
 * cmd_grant_name() - a protocol without ports in words
 * @protocol: IPPROTO_
 * @text: room
 *
 * Return: @text: "gre", "89"
 */
const char *cmd_grant_name(unsigned protocol, char text[static CMD_GRANT_MAX])
{
	if (protocol == IPPROTO_GRE)
		snprintf(text, CMD_GRANT_MAX, "gre");
	else
		snprintf(text, CMD_GRANT_MAX, "%u", protocol);
	return text;
}

/**
 * cmd_grant() - ask the broker who has a protocol or GRE key
 * @cmd: slice
 * @protocol: IPPROTO_
 * @key: of GRE, else 0
 * @local: address, "::" for any
 * @reply: filled in
 *
 * Return: 0; or -1, and it has been said why
 */
int cmd_grant(struct cmd *cmd, uint8_t protocol, uint32_t key, const struct addr *local,
	      struct proto_port_reply *reply)
{
	struct proto_port request = {.header = {.type = PROTO_PORT, .size = sizeof(request)},
				     .class = CLASS_GRANT,
				     .port = protocol,
				     .local = *local,
				     .key = key};

	if (lib_ask(cmd->saferaw, &request, reply, sizeof(*reply)) < 0) {
		cmd_error("%s", saferaw_error(cmd->saferaw));
		return -1;
	}
	return 0;
}

/**
 * cmd_grants() - what a slice is granted beside ports
 * @cmd: manner; its object gets it
 * @slice: its grants
 */
void cmd_grants(struct cmd *cmd, const struct policy_slice *slice)
{
	json_t *grants = json_array();
	char name[CMD_GRANT_MAX];
	unsigned i;

	json_object_set_new(cmd->out, "grants", grants);
	for (i = 0; i < slice->grants; i++) {
		const struct policy_grant *grant = &slice->grant[i];

		cmd_grant_name(grant->protocol, name);
		json_array_append_new(grants, json_pack("{s:s, s:I, s:I}", "protocol", name, "low",
							(json_int_t)grant->lo, "high", (json_int_t)grant->hi));
		if (!cmd->json && grant->protocol == IPPROTO_GRE)
			printf("gre %u-%u\n", grant->lo, grant->hi);
		else if (!cmd->json)
			printf("protocol %s\n", name);
	}
}
