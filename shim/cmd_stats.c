/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_stats.c: saferaw stats: a slice's totals, and what was refused why
 *
 * Two lists of reasons: those of the relay (policy.h), each way, and those of
 * steering (steer.h), which drops what the relay never sees and what a sound
 * relay never sends. After them come the slice's links.
 *
 * Root sees the network namespaces of the slices as well, each once, after
 * them: what all slices of one have in common, and in a column of its own what
 * belongs to none of them ("unknown").
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

#define COUNTS_MAX 3 /* columns of a table of reasons */

struct total {
	const char *name;
	uint64_t value;
};

struct reason {
	const char *name, *text;
};

/* A table of reasons: a row for each, a column for each kind of packet */
struct counts {
	const struct reason *reason;
	unsigned first, reasons; /* rows: from, up to but not including */
	unsigned columns;
	struct {
		const char *heading, *key;
		const uint64_t *count;
	} column[COUNTS_MAX];
};

static const struct reason verdicts[] = {
#define X(symbol, name, error, text) {name, text},
	VERDICTS(X)
#undef X
};

static const struct reason steering[] = {
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
 * show_totals() - a list of numbers
 * @cmd: manner
 * @out: JSON object that gets them
 * @row: numbers
 * @rows: how many
 */
static void show_totals(const struct cmd *cmd, json_t *out, const struct total *row, unsigned rows)
{
	unsigned i;

	for (i = 0; i < rows; i++) {
		json_object_set_new(out, row[i].name, json_integer((json_int_t)row[i].value));
		if (!cmd->json)
			printf("%-20s %14" PRIu64 "\n", row[i].name, row[i].value);
	}
}

/**
 * show_row() - one reason
 * @cmd: manner
 * @out: JSON object that has an object for each column
 * @table: table
 * @i: number of the reason
 */
static void show_row(const struct cmd *cmd, const json_t *out, const struct counts *table, unsigned i)
{
	bool show = cmd->all;
	unsigned c;

	for (c = 0; c < table->columns; c++) {
		uint64_t count = table->column[c].count[i];

		if (count || cmd->all)
			json_object_set_new(json_object_get(out, table->column[c].key), table->reason[i].name,
					    json_integer((json_int_t)count));
		show = show || count;
	}
	if (cmd->json || !show)
		return;
	printf("%-20s", table->reason[i].name);
	for (c = 0; c < table->columns; c++)
		printf(" %14" PRIu64, table->column[c].count[i]);
	printf("  %s\n", table->reason[i].text);
}

/**
 * show_counts() - a table of reasons
 * @cmd: manner
 * @out: JSON object that gets an object for each column
 * @title: of the table
 * @table: table
 */
static void show_counts(const struct cmd *cmd, json_t *out, const char *title, const struct counts *table)
{
	unsigned i, c;

	if (!cmd->json)
		printf("\n%-20s", title);
	for (c = 0; c < table->columns; c++) {
		json_object_set_new(out, table->column[c].key, json_object());
		if (!cmd->json)
			printf(" %14s", table->column[c].heading);
	}
	if (!cmd->json)
		putchar('\n');
	for (i = table->first; i < table->reasons; i++)
		show_row(cmd, out, table, i);
}

/**
 * learn_netns() - ask about the slice's netns, if it is the first slice of it
 * @cmd: slice
 *
 * Return: 0; or -1, and it has been said why
 */
static int learn_netns(struct cmd *cmd)
{
	struct proto_request request = {.header = {.type = PROTO_NETNS, .size = sizeof(request)}};
	struct proto_netns_reply reply, *more;
	unsigned i;

	if (lib_ask(cmd->saferaw, &request, &reply, sizeof(reply)) < 0) {
		cmd_error("%s", saferaw_error(cmd->saferaw));
		return -1;
	}
	reply.name[sizeof(reply.name) - 1] = '\0';
	for (i = 0; i < cmd->netnses; i++)
		if (!strcmp(cmd->netns[i].name, reply.name))
			return 0;
	more = reallocarray(cmd->netns, cmd->netnses + 1, sizeof(*more));
	if (!more) {
		cmd_error("%s", strerror(errno));
		return -1;
	}
	cmd->netns = more;
	cmd->netns[cmd->netnses++] = reply;
	return 0;
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

	if (ask(cmd, &info, &stats) < 0 || (!geteuid() && learn_netns(cmd) < 0))
		return CMD_FAILED;

	const struct total totals[] = {
		{"rx_packets", stats.rx_packets},
		{"rx_bytes", stats.rx_bytes},
		{"tx_packets", stats.tx_packets},
		{"tx_bytes", stats.tx_bytes},
		{"grants", stats.grants},
		{"refusals", stats.refusals},
		{"flows", info.flows},
		{"flows_max", info.flows_max},
		{"clients", info.clients},
		{"clients_max", info.clients_max},
	};
	const struct counts refused = {
		verdicts,
		VERDICT_PASS + 1,
		stats.reasons < VERDICTS_N ? stats.reasons : VERDICTS_N,
		2,
		{{"RECEIVED", "rx_refused", stats.rx_refused}, {"SENT", "tx_refused", stats.tx_refused}},
	};
	const struct counts dropped = {
		steering,
		0,
		stats.steer_reasons < STEER_REASONS_N ? stats.steer_reasons : STEER_REASONS_N,
		1,
		{{"PACKETS", "steering", stats.steer}},
	};

	show_totals(cmd, cmd->out, totals, ARRAY_SIZE(totals));
	show_counts(cmd, cmd->out, "REFUSED", &refused);
	show_counts(cmd, cmd->out, "DROPPED", &dropped);
	return cmd_links(cmd, false);
}

/**
 * show_netns() - what was counted in a netns
 * @cmd: manner
 * @reply: what the broker said of it
 *
 * Return: JSON object
 */
static json_t *show_netns(const struct cmd *cmd, const struct proto_netns_reply *reply)
{
	const struct total totals[] = {
		{"rx_packets", reply->rx_packets},
		{"rx_bytes", reply->rx_bytes},
		{"tx_packets", reply->tx_packets},
		{"tx_bytes", reply->tx_bytes},
	};
	const struct counts refused = {
		verdicts,
		VERDICT_PASS + 1,
		reply->reasons < VERDICTS_N ? reply->reasons : VERDICTS_N,
		3,
		{{"RECEIVED", "rx_refused", reply->rx_refused},
		 {"SENT", "tx_refused", reply->tx_refused},
		 {"UNKNOWN", "unknown_rx_refused", reply->unknown_rx_refused}},
	};
	const struct counts dropped = {
		steering,
		0,
		reply->steer_reasons < STEER_REASONS_N ? reply->steer_reasons : STEER_REASONS_N,
		2,
		{{"PACKETS", "steering", reply->steer}, {"UNKNOWN", "unknown_steering", reply->unknown_steer}},
	};
	json_t *out = json_object();

	json_object_set_new(out, "netns", json_string(reply->name));
	if (!cmd->json)
		printf("%snetns %s\n", cmd->netnses > 1 ? "\n" : "", reply->name);
	show_totals(cmd, out, totals, ARRAY_SIZE(totals));
	show_counts(cmd, out, "REFUSED", &refused);
	show_counts(cmd, out, "DROPPED", &dropped);
	return out;
}

/**
 * cmd_stats_netns() - the totals of all netns that cmd_stats() has met
 * @cmd: manner; what it has met is forgotten
 * @top: JSON object that gets a list of them
 */
void cmd_stats_netns(struct cmd *cmd, json_t *top)
{
	json_t *list = json_array();
	unsigned i;

	json_object_set_new(top, "netns", list);
	for (i = 0; i < cmd->netnses; i++)
		json_array_append_new(list, show_netns(cmd, &cmd->netns[i]));
	free(cmd->netns);
	cmd->netns = NULL;
	cmd->netnses = 0;
}
