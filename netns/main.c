/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main.c: saferawd: options, the order of start-up, the end
 *
 * Start-up is a table of named steps; the first that fails ends the process,
 * and whatever was done is undone by the same function that ends a normal
 * run. Powers go first: from then on nothing runs with more than saferawd
 * keeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "enter.h"
#include "log.h"
#include "monitor.h"
#include "notify.h"
#include "powers.h"
#include "reload.h"
#include "rundir.h"
#include "supervise.h"
#include "util.h"

#define DEFAULT_CONF SYSCONFDIR "/saferaw/saferaw.conf"
#define EXIT_USAGE 2

/* What the command line says */
struct options {
	const char *conf_path;
	bool check, verbose;
	int ready_fd;
};

/* What start-up makes */
struct daemon {
	struct options options;
	struct notify notify;
	int signal_fd, lock_fd;
	struct conf *conf; /* until the monitor has it */
	char run_dir[PATH_MAX];
	struct monitor monitor;
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check-config", no_argument, NULL, 'C'},
	{"ready-fd", required_argument, NULL, 'r'},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static const char usage[] = "usage: saferawd [-v] [-c FILE] [--ready-fd=N]\n"
			    "       saferawd [-c FILE] --check-config\n"
			    "  -c, --config=FILE   configuration [" DEFAULT_CONF "]\n"
			    "      --check-config  check the configuration and do nothing else\n"
			    "      --ready-fd=N    write a newline to file descriptor N when clients can connect\n"
			    "  -v, --verbose       say more\n"
			    "  -V, --version       print the version\n"
			    "  -h, --help          print this\n";

/**
 * print() - write text to standard output and end
 * @text: the text
 */
static _Noreturn void print(const char *text)
{
	exit(fputs(text, stdout) < 0 || fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/**
 * refuse() - wrong use
 */
static _Noreturn void refuse(void)
{
	fputs(usage, stderr);
	exit(EXIT_USAGE);
}

/**
 * parse() - read the command line
 * @argc: of main()
 * @argv: of main()
 *
 * Return: the options.
 */
static struct options parse(int argc, char **argv)
{
	struct options options = {.conf_path = DEFAULT_CONF, .ready_fd = -1};
	uint64_t number;
	int option;

	while ((option = getopt_long(argc, argv, "c:vVh", long_options, NULL)) >= 0) {
		if (option == 'c')
			options.conf_path = optarg;
		else if (option == 'C')
			options.check = true;
		else if (option == 'v')
			options.verbose = true;
		else if (option == 'V')
			print("saferawd " PACKAGE_VERSION "\n");
		else if (option == 'h')
			print(usage);
		else if (option == 'r' && parse_u64(optarg, INT_MAX, &number))
			options.ready_fd = (int)number;
		else
			refuse();
	}
	if (optind < argc)
		refuse();
	return options;
}

/**
 * print_error() - an error in the configuration, for --check-config
 * @line: where and what
 * @arg: not used
 */
static void print_error(const char *line, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

/**
 * check_config() - all that --check-config does
 * @path: of the configuration
 *
 * Return: exit status.
 */
static int check_config(const char *path)
{
	struct conf *conf = conf_load(path, print_error, NULL);

	if (!conf)
		return EXIT_FAILURE;
	conf_free(conf);
	return printf("%s: ok\n", path) < 0 || fflush(stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/**
 * hold_standard_fds() - see that no other file becomes 0, 1 or 2
 * @d: the daemon
 */
static int hold_standard_fds(struct daemon *d)
{
	int fd;

	(void)d;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -1;
	return close(fd);
}

/**
 * take_signals() - signals come by file descriptor, and a broken pipe is an error like others
 * @d: the daemon
 */
static int take_signals(struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -1;
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signal_fd < 0 ? -1 : 0;
}

/**
 * reduce_powers() - keep only the capabilities that are needed
 * @d: the daemon
 */
static int reduce_powers(struct daemon *d)
{
	(void)d;
	return powers_check() < 0 ? -1 : powers_reduce();
}

/**
 * read_config() - the configuration
 * @d: the daemon
 */
static int read_config(struct daemon *d)
{
	d->conf = reload_read(d->options.conf_path);
	return d->conf ? 0 : -1;
}

/**
 * raise_limits() - as many files as the system lets this process have: each held port is one
 * @d: the daemon
 */
static int raise_limits(struct daemon *d)
{
	struct rlimit files;

	(void)d;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	log_info("up to %ju files: each port that is held takes at least one", (uintmax_t)files.rlim_cur);
	return 0;
}

/**
 * open_rundir() - the run directory, and the lock that makes this the only monitor there
 * @d: the daemon
 */
static int open_rundir(struct daemon *d)
{
	snprintf(d->run_dir, sizeof(d->run_dir), "%s", d->conf->run_dir);
	d->lock_fd = rundir_open(d->run_dir);
	return d->lock_fd < 0 ? -1 : 0;
}

/**
 * remember_home() - the namespace that the process runs in
 * @d: the daemon
 */
static int remember_home(struct daemon *d)
{
	(void)d;
	return enter_init();
}

/**
 * apply_config() - attach the namespaces and open the control sockets
 * @d: the daemon
 */
static int apply_config(struct daemon *d)
{
	if (reload_apply(&d->monitor, d->conf) < 0)
		return -1;
	d->conf = NULL;
	return 0;
}

/**
 * find_notify() - who wants to know
 * @d: the daemon
 */
static int find_notify(struct daemon *d)
{
	return notify_open(&d->notify, d->options.ready_fd);
}

static const struct {
	const char *name;
	bool explains; /* logs why it failed */
	int (*fn)(struct daemon *d);
} steps[] = {
	{"standard files", false, hold_standard_fds},
	{"service manager", true, find_notify},
	{"signals", false, take_signals},
	{"powers", true, reduce_powers},
	{"configuration", true, read_config},
	{"limits", false, raise_limits},
	{"run directory", true, open_rundir},
	{"own namespace", false, remember_home},
	{"namespaces and slices", true, apply_config},
};

/**
 * start() - all steps
 * @d: the daemon
 *
 * Return: 0, or -1 after a log line.
 */
static int start(struct daemon *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].fn(d) == 0)
			continue;
		log_error("cannot start: %s%s%s", steps[i].name, steps[i].explains ? "" : ": ",
			  steps[i].explains ? "" : strerror(errno));
		return -1;
	}
	return 0;
}

/**
 * stop() - undo whatever start-up and the run have made
 * @d: the daemon
 */
static void stop(struct daemon *d)
{
	notify_stopping(&d->notify);
	relay_shutdown(&d->monitor.relay);
	reload_detach_all(&d->monitor);
	control_trim(&d->monitor.control, NULL, d->run_dir);
	rundir_close(d->run_dir, &d->lock_fd);
	if (d->conf)
		conf_free(d->conf);
	if (d->monitor.conf)
		conf_free(d->monitor.conf);
	close_fd(&d->signal_fd);
}

/**
 * main() - start, run until a signal ends it, stop
 * @argc: number of arguments
 * @argv: arguments
 *
 * Return: exit status.
 */
int main(int argc, char **argv)
{
	static struct daemon d = {.signal_fd = -1, .lock_fd = -1};
	int result;

	d.options = parse(argc, argv);
	if (d.options.check)
		return check_config(d.options.conf_path);
	log_init("saferawd", d.options.verbose ? LOG_DEBUG : LOG_INFO);
	d.monitor.conf_path = d.options.conf_path;
	relay_init(&d.monitor.relay);
	result = start(&d);
	if (result == 0)
		result = supervise(&d.monitor, &d.notify, d.signal_fd);
	stop(&d);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
