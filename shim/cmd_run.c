/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_run.c: saferaw run: an unmodified program, confined to a slice
 *
 * The program gets a network namespace of its own, in which it is root, with
 * one device: a link. Any socket works there; the kernel and the broker confine
 * what comes out to the slice (saferaw-relay's and saferawd's side of it is
 * theirs). Nothing here has any privilege.
 *
 *	namespaces -> reach the slice from there -> ask for the link -> configure it
 *	-> the child: files in /etc, execute the program
 *	-> here: pass signals on, keep the link up, until the last process has ended
 *
 * There is no silent fallback. When any step before the program's start fails,
 * it is not started. Afterwards the program's end is this one's.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd.h"
#include "msg.h"
#include "run.h"

static const struct option options[] = {
	{"slice", required_argument, NULL, 's'}, {"ports", required_argument, NULL, 'p'},
	{"strict", no_argument, NULL, 't'},      {"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
};

static const char usage[] =
	"usage: saferaw run [-s SLICE] [-p PORT[-PORT]] [--strict] [--quiet] [--] PROGRAM [ARGUMENT...]\n"
	"       saferaw netns add NAME [-s SLICE] [-p PORT[-PORT]] [--strict] [--quiet]\n"
	"       saferaw netns del NAME\n"
	"\n"
	"  -s, --slice SLICE        a slice's name, or the path of its control socket\n"
	"  -p, --ports PORT[-PORT]  the block of ports; begins at a multiple of 16\n"
	"      --strict             refuse what comes from other ports, instead of translating it\n"
	"      --quiet              say nothing for ports that nobody listens on\n"
	"\n"
	"Exit status of run: the program's; 125 it was not started, 126 it cannot be executed, 127 there is none.\n";

/* What the child has to know */
struct child {
	char **argv;
	pid_t parent;
};

/**
 * take_ports() - read the block of ports
 * @text: PORT or PORT-PORT
 * @wish: gets it
 *
 * Return: whether it can be a block; a failure has been complained of
 */
static bool take_ports(const char *text, struct run_wish *wish)
{
	uint16_t lo, hi;

	if (!parse_port_range(text, &lo, &hi)) {
		cmd_error("'%s' is neither a port nor a range of ports", text);
		return false;
	}
	if (lo % STEER_LINK_UNIT || (hi != lo && (hi + 1) % STEER_LINK_UNIT)) {
		cmd_error("'%s': a block of ports begins at a multiple of %u, and the next one after it does too",
			  text, STEER_LINK_UNIT);
		return false;
	}
	wish->port = lo;
	wish->count = hi == lo ? 0 : (uint16_t)(hi - lo + 1);
	return true;
}

/**
 * run_options() - read the options that run and netns have
 * @argc: how many arguments
 * @argv: arguments, of which the first is the command
 * @wish: gets them; its slice may be set already
 * @stop: whether the first argument that is no option ends them
 * @status: what to exit with when they are wrong; set to 0 by the help
 *
 * Return: index of the first argument that is no option; -1 when there is
 * nothing to do, after a complaint or the help
 */
int run_options(int argc, char **argv, struct run_wish *wish, bool stop, int *status)
{
	int opt;

	optind = 0; /* begin anew: main() has read what stands before */
	while ((opt = getopt_long(argc, argv, stop ? "+s:p:h" : "s:p:h", options, NULL)) != -1) {
		if (opt == 's') {
			wish->slice = optarg;
		} else if (opt == 'p' && !take_ports(optarg, wish)) {
			return -1;
		} else if (opt == 't') {
			wish->flags |= PROTO_LINK_STRICT;
		} else if (opt == 'q') {
			wish->flags |= PROTO_LINK_QUIET;
		} else if (opt == 'h') {
			fputs(usage, stdout);
			*status = 0;
			return -1;
		} else if (opt == '?') {
			return -1; /* getopt_long() has said why */
		}
	}
	return optind;
}

/**
 * set_environment() - tell the program which ports are its own
 * @reply: the link
 */
static void set_environment(const struct proto_link_reply *reply)
{
	static const char *const name[STEER_LINK_CLASSES] = {"SAFERAW_TCP", "SAFERAW_UDP", "SAFERAW_ICMP"};
	char text[16];
	unsigned class;

	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct proto_block *block = &reply->block[class];

		snprintf(text, sizeof(text), "%u-%u", block->lo, block->direct_hi);
		if (block->hi)
			setenv(name[class], text, 1);
		else
			unsetenv(name[class]);
	}
}

/**
 * become() - the child's part: become the program
 * @channel: to the parent, which sends what the link is
 * @arg: the struct child
 *
 * Return: exit status, when that fails
 */
static int become(int channel, void *arg)
{
	const struct child *child = arg;
	struct proto_link_reply reply;
	struct msg msg;

	if (msg_recv(channel, &reply, sizeof(reply), &msg, 0) != sizeof(reply))
		return RUN_FAILED; /* the parent has said why */
	if (!run_files_mount(&reply))
		return RUN_FAILED;
	set_environment(&reply);
	/* not earlier: a change of ids unsets it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != child->parent)
		return RUN_FAILED;
	execvp(child->argv[0], child->argv);
	cmd_error("%s: %s", child->argv[0], strerror(errno));
	return errno == ENOENT || errno == ENOTDIR ? RUN_NOT_FOUND : RUN_NOT_EXECUTABLE;
}

/**
 * supervise() - keep the link up as long as there is a process on it
 * @link: link
 * @job: the program
 */
static void supervise(struct run_link *link, struct run_job *job)
{
	while (run_job_work(job)) {
		struct pollfd pfd[2] = {{.fd = job->signals, .events = POLLIN},
					{.fd = run_link_fd(link), .events = POLLIN}};

		if (poll(pfd, ARRAY_SIZE(pfd), run_link_wait_ms(link)) >= 0 && !pfd[0].revents)
			run_link_work(link);
	}
}

/**
 * run_program() - run a program on a link
 * @link: wish is set
 * @argv: the program and its arguments
 *
 * Return: exit status
 */
static int run_program(struct run_link *link, char **argv)
{
	struct child child = {.argv = argv, .parent = getpid()};
	struct run_job job;
	int channel;
	pid_t pid;

	signal(SIGCHLD, SIG_DFL); /* ignored, as some programs leave it, it would hide how the children end */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = run_ns_spawn(&link->ns, CLONE_NEWNS, &channel, become, &child);
	if (pid < 0)
		return RUN_FAILED;
	if (!run_link_open(link) || !run_job_begin(&job, pid) ||
	    msg_send(channel, &link->reply, sizeof(link->reply), NULL, 0, 0) < 0) {
		close_fd(&channel); /* it waits for nothing else, and ends */
		return RUN_FAILED;
	}
	close_fd(&channel);
	supervise(link, &job);
	close_fd(&job.signals);
	run_link_close(link);
	return run_job_end(&job);
}

/**
 * cmd_run() - saferaw run
 * @argc: how many arguments
 * @argv: arguments, of which the first is the command
 * @slice: that was named before it, or NULL
 *
 * Return: exit status
 */
int cmd_run(int argc, char **argv, const char *slice)
{
	struct run_link link = {.wish = {.slice = slice}};
	int status = RUN_FAILED, first = run_options(argc, argv, &link.wish, true, &status);

	if (first < 0)
		return status;
	if (first == argc) {
		fputs(usage, stderr);
		return RUN_FAILED;
	}
	status = run_program(&link, argv + first);
	run_link_close(&link);
	return status;
}
