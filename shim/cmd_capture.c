/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_capture.c: saferaw capture: what the flows of a slice send and receive
 *
 * A sniffer on all ports of the slice, with its ICMP errors, read until enough
 * has come or a signal ends it. The expression and the snaplen are a filter on
 * the sniffer's own socket, so what is not asked for takes no room in its
 * queue. What came before the filter was there is thrown away, and then the
 * capture begins, with a line on standard error.
 *
 * Packets go to a pcap file with nanoseconds, whose link type is raw IP, or
 * each becomes a line on standard output. What a signal finds waiting still
 * belongs to the capture; what comes after the signal does not.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"

#define BATCH 64 /* packets between two looks at the signals */

/* What the command line says */
struct asked {
	const char *file;        /* NULL: lines */
	uint64_t snaplen, count; /* count 0: no end */
	char *expression;
};

struct capture {
	struct saferaw *saferaw;
	struct saferaw_flow *flow;
	pcap_t *pcap;
	pcap_dumper_t *dumper; /* NULL: lines */
	uint64_t captured, limit;
	uint64_t lost;   /* of the flow, before the capture began */
	uint64_t end_ns; /* packets of later than that are not wanted; 0: no end yet */
};

static const struct option options[] = {{"write", required_argument, NULL, 'w'},
					{"snaplen", required_argument, NULL, 's'},
					{"count", required_argument, NULL, 'c'},
					{"help", no_argument, NULL, 'h'},
					{NULL, 0, NULL, 0}};

static const char usage[] = "usage: saferaw [-s SLICE] capture [OPTION...] [EXPRESSION]\n"
			    "\n"
			    "  -w, --write FILE  write a pcap file (- is standard output) instead of lines\n"
			    "  -s, --snaplen N   with -w: no more than N bytes of each packet\n"
			    "  -c, --count N     end after so many packets\n"
			    "  -h, --help        this text\n"
			    "\n"
			    "  EXPRESSION  which packets, as in pcap-filter(7); all without it\n";

/**
 * read_number() - the value of an option, in optarg
 * @name: of the option
 * @max: largest value; the smallest is 1
 * @value: set
 *
 * Return: whether it is right
 */
static bool read_number(const char *name, uint64_t max, uint64_t *value)
{
	if (parse_u64(optarg, max, value) && *value)
		return true;
	cmd_error("--%s: '%s' is not a number from 1 to %" PRIu64, name, optarg, max);
	return false;
}

/**
 * join() - the words of an expression
 * @words: the words
 * @n: how many
 *
 * Return: the expression, to be freed; NULL when memory is short
 */
static char *join(char **words, int n)
{
	size_t room = 1;
	char *text, *at;
	int i;

	for (i = 0; i < n; i++)
		room += strlen(words[i]) + 1;
	text = calloc(1, room);
	for (i = 0, at = text; text && i < n; i++)
		at += sprintf(at, "%s%s", i ? " " : "", words[i]);
	return text;
}

/**
 * open_flow() - the sniffer, with its filter
 * @capture: gets it
 * @expression: "" for everything
 * @snaplen: bytes to keep
 *
 * Return: 0; or -1, and it has been said why
 */
static int open_flow(struct capture *capture, const char *expression, unsigned snaplen)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw_stats stats = {.size = sizeof(stats)};
	uint8_t byte;

	request.kind = SAFERAW_SNIFFER;
	request.flags = SAFERAW_META | SAFERAW_ERRORS;
	capture->flow = saferaw_open(capture->saferaw, &request);
	if (!capture->flow || saferaw_flow_filter(capture->flow, expression, snaplen) < 0 ||
	    saferaw_flow_stats(capture->flow, &stats) < 0) {
		cmd_error("%s", saferaw_error(capture->saferaw));
		return -1;
	}
	while (saferaw_recv(capture->flow, &byte, sizeof(byte), NULL, MSG_DONTWAIT) > 0)
		;
	capture->lost = stats.rx_refused;
	return 0;
}

/**
 * open_file() - the pcap file
 * @capture: gets it
 * @name: of the file, "-" for standard output
 * @snaplen: what the file says of itself
 *
 * Return: 0; or -1, and it has been said why
 */
static int open_file(struct capture *capture, const char *name, unsigned snaplen)
{
	if (!strcmp(name, "-") && isatty(STDOUT_FILENO)) {
		cmd_error("a capture file is not for a terminal: give -w a name, or standard output a pipe");
		return -1;
	}
	capture->pcap = pcap_open_dead_with_tstamp_precision(DLT_RAW, (int)snaplen, PCAP_TSTAMP_PRECISION_NANO);
	if (!capture->pcap) {
		cmd_error("%s", strerrordesc_np(ENOMEM));
		return -1;
	}
	capture->dumper = pcap_dump_open(capture->pcap, name);
	if (!capture->dumper) {
		cmd_error("%s", pcap_geterr(capture->pcap));
		return -1;
	}
	return 0;
}

/**
 * print_ends() - protocol and ends of a packet
 * @version: 4 or 6
 * @protocol: upper-layer protocol
 * @src: source
 * @sport: its port or id, 0 for none
 * @dst: destination
 * @dport: its port or id, 0 for none
 */
static void print_ends(unsigned version, unsigned protocol, const struct addr *src, uint16_t sport,
		       const struct addr *dst, uint16_t dport)
{
	const unsigned family = version == 4 ? AF_INET : AF_INET6;
	const int class = policy_class((int)protocol);
	char from[CMD_ENDPOINT_MAX], to[CMD_ENDPOINT_MAX];

	if (class < 0)
		printf("protocol %u", protocol);
	else
		fputs(cmd_protocol((unsigned)class, family), stdout);
	if (sport || dport)
		printf(" %s to %s", cmd_endpoint(from, family, src, sport, 1),
		       cmd_endpoint(to, family, dst, dport, 1));
	else
		printf(" %s to %s", addr_text(src, from), addr_text(dst, to));
}

/**
 * print_packet() - one packet as a line
 * @meta: of the packet
 * @data: packet, whole
 * @length: bytes
 */
static void print_packet(const struct saferaw_meta *meta, const uint8_t *data, size_t length)
{
	const time_t seconds = (time_t)(meta->time_ns / NS_PER_S);
	enum verdict verdict;
	struct pkt pkt;
	struct tm tm;

	localtime_r(&seconds, &tm);
	printf("%02d:%02d:%02d.%09u %-3s ", tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(meta->time_ns % NS_PER_S),
	       meta->flags & SAFERAW_META_SENT ? "out" : "in");
	verdict = pkt_parse(&pkt, data, length, false);
	if (verdict != VERDICT_PASS) {
		printf("%s, %zu bytes\n", verdict_text(verdict), length);
		return;
	}
	printf("IPv%u ", pkt.version);
	print_ends(pkt.version, pkt.protocol, &pkt.src, pkt.sport, &pkt.dst, pkt.dport);
	if (pkt.flags & PKT_ICMP_ERROR) {
		printf(", type %u code %u about ", pkt.icmp_type, pkt.icmp_code);
		print_ends(pkt.version, pkt.inner_protocol, &pkt.inner_src, pkt.inner_sport, &pkt.inner_dst,
			   pkt.inner_dport);
	}
	printf("%s, %u bytes\n", pkt.flags & PKT_FRAGMENT ? ", fragment" : "", pkt.len);
}

/**
 * take_packet() - one packet belongs to the capture
 * @capture: capture
 * @meta: of the packet
 * @data: packet, cut perhaps
 * @length: bytes
 */
static void take_packet(struct capture *capture, const struct saferaw_meta *meta, const uint8_t *data, size_t length)
{
	const struct pcap_pkthdr head = {.ts.tv_sec = (time_t)(meta->time_ns / NS_PER_S),
					 .ts.tv_usec = (suseconds_t)(meta->time_ns % NS_PER_S),
					 .caplen = (uint32_t)length,
					 .len = meta->length};

	capture->captured++;
	if (capture->dumper)
		pcap_dump((u_char *)capture->dumper, &head, data);
	else
		print_packet(meta, data, length);
}

/**
 * drain() - take what waits, some of it
 * @capture: capture
 *
 * Return: 1 when the capture goes on, 0 when it is complete; -1 when the flow has ended, and it has been said so
 */
static int drain(struct capture *capture)
{
	static uint8_t packet[PKT_MAX];
	struct saferaw_meta meta;
	unsigned left;
	ssize_t n;

	for (left = BATCH; left; left--) {
		n = saferaw_recv(capture->flow, packet, sizeof(packet), &meta, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return !capture->end_ns;
		if (n <= 0) {
			cmd_error("the broker has closed the flow");
			return -1;
		}
		if (capture->end_ns && meta.time_ns > capture->end_ns)
			return 0;
		take_packet(capture, &meta, packet, (size_t)n);
		if (capture->captured == capture->limit)
			return 0;
	}
	return 1;
}

/**
 * written() - whether everything until now could be written
 * @capture: capture
 *
 * Return: whether; if not, it has been said why
 */
static bool written(const struct capture *capture)
{
	FILE *file = capture->dumper ? pcap_dump_file(capture->dumper) : stdout;

	if (!fflush(file) && !ferror(file))
		return true;
	cmd_error("cannot write: %s", strerror(errno));
	return false;
}

/**
 * run() - capture until it is enough
 * @capture: open
 * @signals: signalfd of the signals that end it
 *
 * Return: exit status
 */
static int run(struct capture *capture, int signals)
{
	struct pollfd fd[] = {{.fd = saferaw_flow_fd(capture->flow), .events = POLLIN},
			      {.fd = signals, .events = POLLIN}};
	int more = 1;

	while (more > 0) {
		if (!capture->end_ns && poll(fd, ARRAY_SIZE(fd), -1) < 0)
			continue;
		if (fd[1].revents && !capture->end_ns)
			capture->end_ns = clock_wall_ns();
		more = drain(capture);
		if (!written(capture))
			return CMD_FAILED;
	}
	return more < 0 ? CMD_FAILED : CMD_OK;
}

/* What find_scope() looks for */
struct scope {
	uint64_t number;
	bool all;
};

/**
 * find_scope() - note whether the sniffer sees flows of all users, when this is it
 * @row: a flow of the slice
 * @arg: struct scope
 *
 * Return: 0
 */
static int find_scope(const struct proto_flow_row *row, void *arg)
{
	struct scope *scope = arg;

	if (row->flow == scope->number)
		scope->all = row->flags & PROTO_FLAG_ALL;
	return 0;
}

/**
 * announce() - say that the capture begins, and whose flows it sees
 * @capture: open
 *
 * Return: 0; or -1, and it has been said why
 */
static int announce(const struct capture *capture)
{
	struct cmd cmd = {.saferaw = capture->saferaw};
	struct scope scope = {.number = saferaw_flow_number(capture->flow)};

	if (cmd_each_flow(&cmd, find_scope, &scope) < 0)
		return -1;
	fprintf(stderr, "saferaw: capturing on slice %s, flows of %s\n", saferaw_slice(capture->saferaw),
		scope.all ? "all users" : "your own");
	return 0;
}

/**
 * conclude() - say how it went
 * @capture: capture that has come to its end
 */
static void conclude(const struct capture *capture)
{
	struct saferaw_stats stats = {.size = sizeof(stats)};

	fprintf(stderr, "saferaw: %" PRIu64 " packets captured", capture->captured);
	if (saferaw_flow_stats(capture->flow, &stats) < 0)
		fputs(", how many were lost is not known\n", stderr);
	else
		fprintf(stderr, ", %" PRIu64 " lost because they were read too slowly\n",
			stats.rx_refused - capture->lost);
}

/**
 * catch_signals() - let signals end the capture
 *
 * Return: signalfd; or -1, and it has been said why
 */
static int catch_signals(void)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN); /* a reader that has gone is seen when it is written to */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		cmd_error("cannot wait for signals: %s", strerror(errno));
	return fd;
}

/**
 * capture_slice() - capture on a slice
 * @capture: connected
 * @asked: what was asked for
 *
 * Return: exit status
 */
static int capture_slice(struct capture *capture, const struct asked *asked)
{
	int signals, status;

	if (open_flow(capture, asked->expression, (unsigned)asked->snaplen) < 0 ||
	    (asked->file && open_file(capture, asked->file, (unsigned)asked->snaplen) < 0))
		return CMD_FAILED;
	capture->limit = asked->count;
	signals = catch_signals();
	if (signals < 0 || announce(capture) < 0) {
		close_fd(&signals);
		return CMD_FAILED;
	}
	status = written(capture) ? run(capture, signals) : CMD_FAILED; /* a reader gets the file's head now */
	close_fd(&signals);
	conclude(capture);
	return status;
}

/**
 * read_options() - read the command line
 * @argc: how many arguments
 * @argv: arguments, from "capture" on
 * @asked: filled in, all but the expression; defaults are set, and optind is at its first word
 *
 * Return: -1 to go on, else the exit status
 */
static int read_options(int argc, char **argv, struct asked *asked)
{
	bool right = true;
	int opt;

	optind = 0;
	while (right && (opt = getopt_long(argc, argv, "w:s:c:h", options, NULL)) != -1) {
		if (opt == 'w')
			asked->file = optarg;
		else if (opt == 's')
			right = read_number("snaplen", PKT_MAX, &asked->snaplen);
		else if (opt == 'c')
			right = read_number("count", UINT64_MAX, &asked->count);
		else if (opt == 'h')
			fputs(usage, stdout);
		else
			right = false; /* getopt_long() has said why */
		if (opt == 'h')
			return CMD_OK;
	}
	if (right && asked->snaplen < PKT_MAX && !asked->file) {
		cmd_error("--snaplen goes with --write: lines are about whole packets");
		right = false;
	}
	return right ? -1 : CMD_FAILED;
}

/**
 * cmd_capture() - capture what the flows of a slice send and receive
 * @argc: how many arguments
 * @argv: arguments, from "capture" on
 * @slice: as for saferaw_connect()
 *
 * Return: exit status
 */
int cmd_capture(int argc, char **argv, const char *slice)
{
	struct asked asked = {.snaplen = PKT_MAX};
	struct capture capture = {0};
	int status = read_options(argc, argv, &asked);

	if (status >= 0)
		return status;
	status = CMD_FAILED;
	asked.expression = join(argv + optind, argc - optind);
	capture.saferaw = saferaw_connect(slice);
	if (!asked.expression || !capture.saferaw)
		cmd_error("%s", asked.expression ? saferaw_error(NULL) : strerrordesc_np(ENOMEM));
	else
		status = capture_slice(&capture, &asked);
	free(asked.expression);
	if (capture.dumper)
		pcap_dump_close(capture.dumper);
	if (capture.pcap)
		pcap_close(capture.pcap);
	saferaw_close(capture.flow);
	saferaw_disconnect(capture.saferaw);
	return status;
}
