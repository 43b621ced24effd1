/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_stats.c: saferaw stats: a slice's totals, and what was refused why
 *
 * Two lists of reasons: those of the relay (policy.h), each way, and those of
 * steering (steer.h), which drops what the relay never sees and what a sound
 * relay never sends.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"

static const struct {
	const char *name, *text;
} steering[] = {
#define X(symbol, name, text) {name, text},
	STEER_REASONS(X)
#undef X
};

/**
 * ask() - ask the broker for the slice's totals
 * @cmd: slice
 * @info: what the slice is, filled in
 * @stats: totals, filled in
 *
 * Return: 0; or -1, and it has been said why
 */
static int ask(struct cmd *cmd, struct proto_info_reply *info, struct proto_stats_reply *stats)
{
	struct proto_request request = {.header = {.type = PROTO_INFO, .size = sizeof(request)}};
	struct proto_stats totals = {.header = {.type = PROTO_STATS, .size = sizeof(totals)}};

	if (lib_ask(cmd->saferaw, &request, info, sizeof(*info)) < 0 ||
	    lib_ask(cmd->saferaw, &totals, stats, sizeof(*stats)) < 0) {
		cmd_error("%s", saferaw_error(cmd->saferaw));
		return -1;
	}
	return 0;
}

/**
 * show_totals() - the totals
 * @cmd: manner
 * @info: what the slice is
 * @stats: totals
 */
static void show_totals(struct cmd *cmd, const struct proto_info_reply *info, const struct proto_stats_reply *stats)
{
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"rx_packets", stats->rx_packets},
		{"rx_bytes", stats->rx_bytes},
		{"tx_packets", stats->tx_packets},
		{"tx_bytes", stats->tx_bytes},
		{"grants", stats->grants},
		{"refusals", stats->refusals},
		{"flows", info->flows},
		{"flows_max", info->flows_max},
		{"clients", info->clients},
		{"clients_max", info->clients_max},
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		json_object_set_new(cmd->out, rows[i].name, json_integer((json_int_t)rows[i].value));
		if (!cmd->json)
			printf("%-20s %14" PRIu64 "\n", rows[i].name, rows[i].value);
	}
}

/**
 * show_refused() - what was refused by the relay
 * @cmd: manner
 * @stats: totals
 */
static void show_refused(struct cmd *cmd, const struct proto_stats_reply *stats)
{
	json_t *rx = json_object(), *tx = json_object();
	unsigned i;

	json_object_set_new(cmd->out, "rx_refused", rx);
	json_object_set_new(cmd->out, "tx_refused", tx);
	if (!cmd->json)
		printf("\n%-20s %14s %14s\n", "REFUSED", "RECEIVED", "SENT");
	for (i = VERDICT_PASS + 1; i < VERDICTS_N && i < stats->reasons; i++) {
		const char *name = verdict_name((enum verdict)i);

		if (stats->rx_refused[i] || cmd->all)
			json_object_set_new(rx, name, json_integer((json_int_t)stats->rx_refused[i]));
		if (stats->tx_refused[i] || cmd->all)
			json_object_set_new(tx, name, json_integer((json_int_t)stats->tx_refused[i]));
		if (!cmd->json && (stats->rx_refused[i] || stats->tx_refused[i] || cmd->all))
			printf("%-20s %14" PRIu64 " %14" PRIu64 "  %s\n", name, stats->rx_refused[i],
			       stats->tx_refused[i], verdict_text((enum verdict)i));
	}
}

/**
 * show_steering() - what was dropped by steering
 * @cmd: manner
 * @stats: totals
 */
static void show_steering(struct cmd *cmd, const struct proto_stats_reply *stats)
{
	json_t *steer = json_object();
	unsigned i;

	json_object_set_new(cmd->out, "steering", steer);
	if (!cmd->json)
		printf("\n%-20s %14s\n", "DROPPED", "PACKETS");
	for (i = 0; i < ARRAY_SIZE(steering) && i < stats->steer_reasons; i++) {
		if (!stats->steer[i] && !cmd->all)
			continue;
		json_object_set_new(steer, steering[i].name, json_integer((json_int_t)stats->steer[i]));
		if (!cmd->json)
			printf("%-20s %14" PRIu64 "  %s\n", steering[i].name, stats->steer[i], steering[i].text);
	}
}

/**
 * cmd_stats() - a slice's totals
 * @cmd: slice and manner
 *
 * Return: exit status
 */
int cmd_stats(struct cmd *cmd)
{
	struct proto_stats_reply stats;
	struct proto_info_reply info;

	if (ask(cmd, &info, &stats) < 0)
		return CMD_FAILED;
	show_totals(cmd, &info, &stats);
	show_refused(cmd, &stats);
	show_steering(cmd, &stats);
	return CMD_OK;
}
