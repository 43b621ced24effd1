/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_packet.c: saferaw explain PACKET: whether a packet could be sent
 *
 * The packet is judged as the broker would judge it from a flow that is made
 * for it: its protocol, its family, its source port, no remote, and where its
 * source is proxied the prefix. So what speaks against the packet here speaks
 * against it on every flow of the slice; a flow with a remote may be stricter.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "cmd.h"

/**
 * describe() - a well-formed packet in words, and as JSON
 * @cmd: manner; its object gets it
 * @pkt: packet
 */
static void describe(struct cmd *cmd, const struct pkt *pkt)
{
	const unsigned family = pkt->version == 4 ? AF_INET : AF_INET6;
	const int class = policy_class(pkt->protocol);
	char src[CMD_ENDPOINT_MAX], dst[CMD_ENDPOINT_MAX], number[16];
	const char *protocol = number;

	snprintf(number, sizeof(number), "protocol %u", pkt->protocol);
	if (pkt->flags & PKT_KEY)
		snprintf(number, sizeof(number), "gre %u", pkt->key);
	if (class >= 0)
		protocol = cmd_protocol((unsigned)class, family);
	cmd_endpoint(src, family, &pkt->src, pkt->sport, 1);
	cmd_endpoint(dst, family, &pkt->dst, pkt->dport, 1);
	if (!cmd->json)
		printf("%-8s IPv%u %s, %s to %s, %u bytes\n", "packet", pkt->version, protocol, src, dst, pkt->len);
	json_object_set_new(cmd->out, "packet",
			    json_pack("{s:i, s:i, s:o, s:i, s:o, s:i, s:i}", "version", pkt->version, "protocol",
				      pkt->protocol, "source", cmd_json_addr(&pkt->src), "source_port", pkt->sport,
				      "destination", cmd_json_addr(&pkt->dst), "destination_port", pkt->dport,
				      "length", (int)pkt->len));
}

/**
 * judge_route() - whether a packet has a route that takes it
 * @cmd: slice and manner; its object gets the route
 * @pkt: packet
 * @verdict: set to the verdict
 *
 * Return: 0; or -1, and it has been said why
 */
static int judge_route(struct cmd *cmd, const struct pkt *pkt, enum verdict *verdict)
{
	struct proto_route request = {.header = {.type = PROTO_ROUTE, .size = sizeof(request)},
				      .destination = pkt->dst};
	struct proto_route_reply reply;
	char source[ADDR_TEXT_MAX];

	if (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) < 0) {
		*verdict = VERDICT_NO_ROUTE;
		if (errno == ENETUNREACH)
			return 0;
		cmd_error("%s", saferaw_error(cmd->saferaw));
		return -1;
	}
	*verdict = pkt->len > reply.mtu ? VERDICT_TOO_BIG : VERDICT_PASS;
	if (!cmd->json)
		printf("%-8s MTU %u, from %s\n", "route", reply.mtu, addr_text(&reply.source, source));
	json_object_set_new(
		cmd->out, "route",
		json_pack("{s:I, s:o}", "mtu", (json_int_t)reply.mtu, "source", cmd_json_addr(&reply.source)));
	return 0;
}

/**
 * tell_state() - say whether what a packet comes from is open
 * @cmd: manner; its object gets it
 * @port: what the broker says
 */
static void tell_state(struct cmd *cmd, const struct proto_port_reply *port)
{
	if (!cmd->json)
		printf("%-8s %s%s\n", "port", cmd_port_state(port->state),
		       port->state == PROTO_PORT_OPEN ? "" : ": it has to be opened first");
	json_object_set_new(cmd->out, "port_state", json_string(cmd_port_state(port->state)));
}

/**
 * name_local() - let the flow that is made for a packet have the packet's source, where that is proxied
 * @slice: slice
 * @pkt: packet
 * @flow: gets the prefix
 *
 * Return: whether it is
 */
static bool name_local(const struct policy_slice *slice, const struct pkt *pkt, struct policy_flow *flow)
{
	const struct prefix *prefix = policy_slice_prefix(slice, &pkt->src);

	if (!prefix || policy_slice_has_address(slice, &pkt->src))
		return false;
	flow->local = prefix->addr;
	flow->local_len = prefix->len;
	flow->proxied = true;
	return true;
}

/**
 * judge_grant() - the verdict on a well-formed packet whose protocol has no ports
 * @cmd: slice and manner
 * @pkt: packet
 * @verdict: set
 *
 * Return: 0; or -1, and it has been said why
 */
static int judge_grant(struct cmd *cmd, const struct pkt *pkt, enum verdict *verdict)
{
	const struct policy_slice *slice = cmd_slice(cmd);
	struct policy_flow flow = {.class = CLASS_GRANT,
				   .family = pkt->version == 4 ? AF_INET : AF_INET6,
				   .protocol = pkt->protocol,
				   .key = pkt->key};
	struct proto_port_reply port;

	name_local(slice, pkt, &flow);
	*verdict = VERDICT_PROTOCOL;
	if (policy_grantable(pkt->protocol))
		*verdict = policy_send(slice, &flow, pkt);
	if (*verdict != VERDICT_PASS)
		return 0;
	if (cmd_grant(cmd, pkt->protocol, pkt->key, &pkt->src, &port) < 0)
		return -1;
	if (!policy_slice_granted(slice, pkt->protocol, pkt->key)) {
		*verdict = pkt->protocol == IPPROTO_GRE ? VERDICT_PORT : VERDICT_PROTOCOL;
		return 0;
	}
	tell_state(cmd, &port);
	return judge_route(cmd, pkt, verdict);
}

/**
 * judge() - the verdict on a well-formed packet
 * @cmd: slice and manner
 * @pkt: packet
 * @verdict: set
 *
 * Return: 0; or -1, and it has been said why
 */
static int judge(struct cmd *cmd, const struct pkt *pkt, enum verdict *verdict)
{
	const struct policy_slice *slice = cmd_slice(cmd);
	const int class = policy_class(pkt->protocol);
	struct policy_flow flow = {.family = pkt->version == 4 ? AF_INET : AF_INET6};
	struct proto_port_reply port;

	if (class < 0)
		return judge_grant(cmd, pkt, verdict);
	flow.class = (uint8_t) class;
	if (name_local(slice, pkt, &flow) ||
	    policy_slice_owns(slice, (enum steer_class) class, pkt->sport, pkt->sport))
		flow.lo = flow.hi = pkt->sport;
	else
		flow.lo = 1; /* no port is the flow's */
	*verdict = policy_send(slice, &flow, pkt);
	if (*verdict != VERDICT_PASS)
		return 0;
	if (cmd_port(cmd, flow.class, pkt->sport, &pkt->src, flow.family, &port) < 0)
		return -1;
	tell_state(cmd, &port);
	return judge_route(cmd, pkt, verdict);
}

/**
 * cmd_explain_packet() - whether a packet could be sent from a slice
 * @cmd: slice, manner, and the argument
 *
 * Return: exit status
 */
int cmd_explain_packet(struct cmd *cmd)
{
	enum verdict verdict;
	const uint8_t *data;
	struct pkt pkt;
	size_t length;

	data = cmd_given(cmd->argument, &length);
	if (!data)
		return CMD_FAILED;
	verdict = pkt_parse(&pkt, data, length, false);
	if (verdict == VERDICT_PASS) {
		describe(cmd, &pkt);
		if (judge(cmd, &pkt, &verdict) < 0)
			return CMD_FAILED;
	}
	if (!cmd->json)
		printf("%-8s %s: %s\n", "verdict", verdict_name(verdict), verdict_text(verdict));
	json_object_set_new(cmd->out, "verdict", json_string(verdict_name(verdict)));
	json_object_set_new(cmd->out, "text", json_string(verdict_text(verdict)));
	json_object_set_new(cmd->out, "passes", json_boolean(verdict == VERDICT_PASS));
	return verdict == VERDICT_PASS ? CMD_OK : CMD_REFUSED;
}
