/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * saferaw.c: the command: what a slice's broker knows
 *
 * A subcommand works on one slice at a time and makes a JSON object of it; for
 * people it prints lines as it goes. Without -s it is the slice that
 * libsaferaw would choose; for root, who may look into every slice, it is all
 * of them.
 *
 * The command asks the broker like any other client and is trusted by nobody.
 * It is linked with the library's own objects, since it speaks requests
 * (PROTO_FLOWS, PROTO_PORT) that are no part of the library's interface.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "cmd.h"

static const struct {
	const char *name, *argument, *what;
	int (*run)(struct cmd *cmd);
} commands[] = {
	{"flows", NULL, "the flows and links that are open, with their counts", cmd_flows},
	{"ports", NULL, "the slice's ports, who has them, and what is in the way", cmd_ports},
	{"stats", NULL, "totals, and what was refused why", cmd_stats},
	{"explain", "PORT|PACKET", "why a port can be opened, or a packet sent, or not", cmd_explain},
};

/* Those that read their arguments themselves: what stands behind them is not for this command */
static const struct {
	const char *name;
	int (*run)(int argc, char **argv, const char *slice);
} own_commands[] = {
	{"capture", cmd_capture},
	{"run", cmd_run},
	{"netns", cmd_netns},
};

static const struct option options[] = {
	{"slice", required_argument, NULL, 's'},  {"json", no_argument, NULL, 'j'},
	{"all", no_argument, NULL, 'a'},          {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},      {"openmetrics", no_argument, NULL, 'o'},
	{"config", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0},
};

static const char usage[] = "usage: saferaw [-s SLICE] COMMAND [--json] [--all] [ARGUMENT]\n"
			    "\n"
			    "  -s, --slice SLICE  a slice's name, or the path of its control socket; else\n"
			    "                     $SAFERAW_SLICE, else the only one that has you (root: all)\n"
			    "      --json         one JSON object on standard output\n"
			    "      --all          stats: reasons that never happened too\n"
			    "      --openmetrics  stats: metrics in OpenMetrics' text format instead\n"
			    "  -c, --config FILE  reserve, release: saferawd's configuration, if not the usual one\n"
			    "  -h, --help         this text\n"
			    "  -V, --version      version\n"
			    "\n";

static const char examples[] =
	"  capture  [OPTION...] [EXPRESSION]   what flows send and receive, as lines or pcap (capture --help)\n"
	"  run      [OPTION...] PROGRAM [ARGUMENT...]   an unmodified program, confined to the slice (run --help)\n"
	"  netns    add|del NAME   (root) the same as a named network namespace\n"
	"  reserve|release SLICE PROTOCOL PORT[-PORT]   (root) give a slice more ports, or take them back\n"
	"\n"
	"  PORT    tcp/40001  udp/192.0.2.1:40001  tcp/[2001:db8::1]:40001  icmp/7\n"
	"  PACKET  a whole IP packet: hexadecimal digits, or @FILE (raw bytes, or pcap: its first packet)\n"
	"\n"
	"Exit status: 0 done, passes; 1 would be refused; 2 wrong usage, or a slice that cannot be reached;\n"
	"run: the program's.\n";

static bool use_syslog;

/**
 * cmd_error_to_syslog() - from now on, cmd_error() writes to the system's log
 */
void cmd_error_to_syslog(void)
{
	use_syslog = true;
	openlog("saferaw", LOG_PID, LOG_DAEMON);
}

/**
 * cmd_error() - one line on standard error
 * @format: text
 */
void cmd_error(const char *format, ...)
{
	va_list args;

	if (use_syslog) {
		va_start(args, format);
		vsyslog(LOG_WARNING, format, args);
		va_end(args);
		return;
	}
	fputs("saferaw: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/**
 * help() - print how the command is used
 * @file: where to
 */
static void help(FILE *file)
{
	unsigned i;

	fputs(usage, file);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(file, "  %-8s %-12s %s\n", commands[i].name, commands[i].argument ? commands[i].argument : "",
			commands[i].what);
	fputs(examples, file);
}

/**
 * run_slice() - run a subcommand on one slice
 * @cmd: what was asked for
 * @run: subcommand
 * @slice: as for saferaw_connect()
 * @heading: whether to say which slice it is
 * @list: of JSON objects; gets one
 *
 * Return: exit status
 */
static int run_slice(struct cmd *cmd, int (*run)(struct cmd *), const char *slice, bool heading, json_t *list)
{
	int status;

	cmd->saferaw = saferaw_connect(slice);
	if (!cmd->saferaw) {
		cmd_error("%s", saferaw_error(NULL));
		return CMD_FAILED;
	}
	cmd->out = json_object();
	json_object_set_new(cmd->out, "slice", json_string(saferaw_slice(cmd->saferaw)));
	json_array_append_new(list, cmd->out);
	if (heading && !cmd->json)
		printf("slice %s\n", saferaw_slice(cmd->saferaw));
	status = run(cmd);
	if (heading && !cmd->json)
		putchar('\n');
	saferaw_disconnect(cmd->saferaw);
	return status;
}

/**
 * run_all() - run a subcommand on every slice of this host
 * @cmd: what was asked for
 * @run: subcommand
 * @list: of JSON objects; gets one for each slice
 *
 * A packet or port passes when one of the slices lets it.
 *
 * Return: exit status
 */
static int run_all(struct cmd *cmd, int (*run)(struct cmd *), json_t *list)
{
	bool seen[CMD_FAILED + 1] = {false};
	char(*names)[PROTO_NAME_MAX];
	int n = lib_list_slices(&names), i;

	if (n < 0) {
		cmd_error("no slices here (%s): is saferawd running?", strerror(errno));
		return CMD_FAILED;
	}
	for (i = 0; i < n; i++)
		seen[run_slice(cmd, run, names[i], n > 1, list)] = true;
	free(names);
	if (!n)
		cmd_error("there is no slice: is saferawd running?");
	if (!n || seen[CMD_FAILED])
		return CMD_FAILED;
	return seen[CMD_OK] ? CMD_OK : CMD_REFUSED;
}

/**
 * run_command() - run a subcommand on the slices that are meant, and print its JSON
 * @cmd: what was asked for
 * @run: subcommand
 * @slice: of -s, or NULL
 *
 * Return: exit status
 */
static int run_command(struct cmd *cmd, int (*run)(struct cmd *), const char *slice)
{
	const char *preset = getenv("SAFERAW_SLICE");
	json_t *top = json_object(), *list = json_array();
	int status;

	cmd->json = cmd->json || cmd->openmetrics;
	cmd->all = cmd->all || cmd->openmetrics; /* a series begins with 0, not with its first event */
	json_object_set_new(top, "slices", list);
	if (!slice && !geteuid() && !(preset && *preset))
		status = run_all(cmd, run, list);
	else
		status = run_slice(cmd, run, slice, false, list);
	if (cmd->netnses)
		cmd_stats_netns(cmd, top);
	if (cmd->openmetrics) {
		cmd_metrics(top, stdout);
	} else if (cmd->json) {
		json_dumpf(top, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	}
	json_decref(top);
	if (fflush(stdout) || ferror(stdout)) {
		cmd_error("cannot write: %s", strerror(errno));
		return CMD_FAILED;
	}
	return status;
}

/**
 * find_own() - find a subcommand that reads its arguments itself
 * @argc: how many arguments
 * @argv: arguments
 * @at: set to its index
 * @slice: set to what -s before it says, or NULL
 *
 * Return: index in own_commands; -1 when it is another
 */
static int find_own(int argc, char **argv, int *at, const char **slice)
{
	unsigned i;
	int opt;

	opterr = 0; /* main() will complain */
	while ((opt = getopt_long(argc, argv, "+s:c:hV", options, NULL)) == 's')
		*slice = optarg;
	opterr = 1;
	*at = optind;
	for (i = 0; i < ARRAY_SIZE(own_commands); i++)
		if (opt == -1 && *at < argc && !strcmp(argv[*at], own_commands[i].name))
			return (int)i;
	optind = 0; /* begin anew */
	*slice = NULL;
	return -1;
}

/**
 * run_named() - run the subcommand that is named
 * @cmd: options
 * @argc: how many arguments, without options
 * @argv: arguments, from the subcommand on
 * @slice: of -s, or NULL
 *
 * Return: exit status
 */
static int run_named(struct cmd *cmd, int argc, char **argv, const char *slice)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		int arguments = commands[i].argument ? 1 : 0;

		if (strcmp(argv[0], commands[i].name))
			continue;
		if (argc - 1 != arguments) {
			cmd_error("usage: saferaw [-s SLICE] %s [--json] %s", commands[i].name,
				  arguments ? commands[i].argument : "");
			return CMD_FAILED;
		}
		if (cmd->openmetrics && commands[i].run != cmd_stats) {
			cmd_error("--openmetrics goes with stats alone");
			return CMD_FAILED;
		}
		cmd->argument = arguments ? argv[1] : NULL;
		return run_command(cmd, commands[i].run, slice);
	}
	cmd_error("'%s' is no command: see saferaw --help", argv[0]);
	return CMD_FAILED;
}

/**
 * main() - read the command line
 * @argc: number of arguments
 * @argv: arguments
 *
 * Options may stand before and after the subcommand.
 *
 * Return: exit status
 */
int main(int argc, char **argv)
{
	const char *slice = NULL, *config = NULL;
	struct cmd cmd = {0};
	int opt, at, own = find_own(argc, argv, &at, &slice);

	if (own >= 0)
		return own_commands[own].run(argc - at, argv + at, slice);
	while ((opt = getopt_long(argc, argv, "s:c:hV", options, NULL)) != -1) {
		if (opt == 's') {
			slice = optarg;
		} else if (opt == 'j') {
			cmd.json = true;
		} else if (opt == 'a') {
			cmd.all = true;
		} else if (opt == 'c') {
			config = optarg;
		} else if (opt == 'o') {
			cmd.openmetrics = true;
		} else if (opt == 'h') {
			help(stdout);
			return CMD_OK;
		} else if (opt == 'V') {
			puts("saferaw " PACKAGE_VERSION);
			return CMD_OK;
		} else {
			return CMD_FAILED; /* getopt_long() has said why */
		}
	}
	if (optind == argc) {
		help(stderr);
		return CMD_FAILED;
	}
	if (!strcmp(argv[optind], "reserve") || !strcmp(argv[optind], "release"))
		return cmd_reserve(argc - optind, argv + optind, config);
	return run_named(&cmd, argc - optind, argv + optind, slice);
}
