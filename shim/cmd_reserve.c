/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_reserve.c: saferaw reserve, saferaw release: more ports for a slice, at run time
 *
 * What a slice may use is widened by root alone, and never through the relay:
 * this command writes one drop-in of saferawd's configuration for each grant
 * (a reserve section, saferaw.conf(5)), or removes it, and asks saferawd to
 * reload. It needs no power but root's over the files.
 *
 *	check the configuration as it is -> change the drop-in -> check it again ->
 *	SIGHUP to who holds the lock of the run directory -> ask the slice's broker
 *
 * If any step says no, the drop-in is put back as it was. The checks are made
 * by the program that will read it: the saferawd that runs, else the one that
 * is found in $PATH. Signals wait meanwhile, and a lock on the directory of
 * drop-ins keeps two of these commands apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

#define CONFIG SYSCONFDIR "/saferaw/saferaw.conf"
#define WAIT_NS (10 * NS_PER_S) /* for saferawd to take it up */
#define LOOK_NS (20 * NS_PER_MS)

struct grant {
	bool release;
	const char *slice, *protocol;
	uint8_t class; /* enum steer_class */
	uint16_t lo, hi;
	char name[80];      /* SLICE-PROTOCOL-PORTS */
	char file[96];      /* its drop-in */
	char other[104];    /* while it is being written, or may have to come back */
	const char *config; /* the main file */
	int dir;            /* of the drop-ins */
	pid_t pid;          /* of saferawd, 0 when it does not run */
	struct saferaw *saferaw;
};

/**
 * parse() - the command's arguments
 * @grant: filled in
 * @argc: how many
 * @argv: reserve or release, SLICE, PROTOCOL, PORT[-PORT]
 *
 * Return: false after a complaint
 */
static bool parse(struct grant *grant, int argc, char **argv)
{
	char ports[16];
	size_t n;

	if (argc != 4) {
		cmd_error("usage: saferaw [-c FILE] reserve|release SLICE PROTOCOL PORT[-PORT]");
		return false;
	}
	grant->release = !strcmp(argv[0], "release");
	grant->slice = argv[1];
	n = strspn(argv[1], "abcdefghijklmnopqrstuvwxyz0123456789_-");
	if (!n || n >= PROTO_NAME_MAX || argv[1][n]) {
		cmd_error("'%s' is no name of a slice", argv[1]);
		return false;
	}
	while (grant->class < STEER_PORT_CLASSES &&
	       strcmp(argv[2], policy_class_name((enum steer_class)grant->class)))
		grant->class ++;
	grant->protocol = argv[2];
	if (grant->class == STEER_PORT_CLASSES) {
		cmd_error("'%s' is no protocol that has ports here: tcp, udp, icmp, sctp, dccp or udplite", argv[2]);
		return false;
	}
	if (!parse_port_range(argv[3], &grant->lo, &grant->hi)) {
		cmd_error("'%s' is neither a port nor a range of ports", argv[3]);
		return false;
	}
	snprintf(ports, sizeof(ports), grant->lo == grant->hi ? "%u" : "%u-%u", grant->lo, grant->hi);
	snprintf(grant->name, sizeof(grant->name), "%s-%s-%s", grant->slice, grant->protocol, ports);
	snprintf(grant->file, sizeof(grant->file), "50-reserve-%s.conf", grant->name);
	snprintf(grant->other, sizeof(grant->other), ".%s.old", grant->file);
	return true;
}

/**
 * open_dir() - open the directory of drop-ins, make it if need be, and lock it
 * @grant: config is set; dir is set on success
 *
 * Return: false after a complaint
 */
static bool open_dir(struct grant *grant)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s.d", grant->config) >= (int)sizeof(path)) {
		cmd_error("%s: %s", grant->config, strerror(ENAMETOOLONG));
		return false;
	}
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		grant->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (grant->dir < 0 || flock(grant->dir, LOCK_EX) < 0) {
		cmd_error("%s: %s", path, strerror(errno));
		return false;
	}
	return true;
}

/**
 * find_daemon() - who holds the lock of the run directory
 *
 * Return: its pid; 0 when nobody does
 */
static pid_t find_daemon(void)
{
	const char *run = secure_getenv("SAFERAW_RUN_DIR");
	char path[PATH_MAX], text[16] = "";
	bool held = false;
	int fd;

	if (snprintf(path, sizeof(path), "%s/lock", run && *run ? run : RUN_DIR) >= (int)sizeof(path))
		return 0;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
		       pread(fd, text, sizeof(text) - 1, 0) > 0;
	close_fd(&fd);
	return held ? atoi(text) : 0;
}

/**
 * ask_reload() - tell saferawd to read its configuration again
 * @grant: pid is set
 *
 * The lock is looked at again once the process cannot be mistaken for another.
 *
 * Return: false after a complaint
 */
static bool ask_reload(const struct grant *grant)
{
	int process = pidfd_open(grant->pid, 0);
	bool asked = process >= 0 && find_daemon() == grant->pid && pidfd_send_signal(process, SIGHUP, NULL, 0) == 0;

	if (!asked)
		cmd_error("saferawd, process %d, has ended or cannot be told to reload", grant->pid);
	close_fd(&process);
	return asked;
}

/**
 * check_config() - have saferawd check its configuration
 * @grant: config and pid are set
 *
 * Return: whether it is right; else saferawd has said what is wrong
 */
static bool check_config(const struct grant *grant)
{
	char path[64] = "saferawd";
	int status = -1;
	pid_t child;

	if (grant->pid)
		snprintf(path, sizeof(path), "/proc/%d/exe", grant->pid);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO); /* where it says that all is well */
		execlp(path, "saferawd", "-c", grant->config, "--check-config", (char *)NULL);
		cmd_error("%s: %s", path, strerror(errno));
		_exit(CMD_FAILED);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return child > 0 && status == 0;
}

/**
 * write_file() - write the drop-in and put it in its place
 * @grant: grant
 *
 * Return: 0; or -1 and errno, with nothing there
 */
static int write_file(const struct grant *grant)
{
	int fd = openat(grant->dir, grant->other, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	int written = -1, error;

	if (fd < 0)
		return -1;
	written = dprintf(fd,
			  "# made by: saferaw reserve; to be taken back by: saferaw release\n"
			  "reserve \"%s\" {\n\tslice = \"%s\"\n\t%s = {\"%u-%u\"}\n}\n",
			  grant->name, grant->slice, grant->protocol, grant->lo, grant->hi);
	if (written > 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0))
		written = -1;
	if (written > 0 && renameat(grant->dir, grant->other, grant->dir, grant->file) == 0) {
		close_fd(&fd);
		return 0;
	}
	error = errno;
	close_fd(&fd);
	unlinkat(grant->dir, grant->other, 0);
	errno = error;
	return -1;
}

/**
 * change() - write the drop-in, or put it aside
 * @grant: grant
 *
 * Return: false after a complaint
 */
static bool change(const struct grant *grant)
{
	bool there = faccessat(grant->dir, grant->file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (there != grant->release) {
		cmd_error(there ? "%s.d/%s: reserved already"
				: "%s.d/%s: is not there, so nothing of it was reserved",
			  grant->config, grant->file);
		return false;
	}
	if (grant->release ? renameat(grant->dir, grant->file, grant->dir, grant->other) < 0
			   : write_file(grant) < 0) {
		cmd_error("%s.d/%s: %s", grant->config, grant->file, strerror(errno));
		return false;
	}
	return true;
}

/**
 * put_back() - undo change()
 * @grant: grant
 */
static void put_back(const struct grant *grant)
{
	int rc = grant->release ? renameat(grant->dir, grant->other, grant->dir, grant->file)
				: unlinkat(grant->dir, grant->file, 0);

	if (rc < 0)
		cmd_error("%s.d/%s cannot be put back as it was: %s", grant->config, grant->file, strerror(errno));
}

/**
 * taken_up() - whether the broker knows of the change
 * @grant: grant
 *
 * Return: 1 or 0; -1 after a complaint
 */
static int taken_up(const struct grant *grant)
{
	struct proto_request request = {.header = {.type = PROTO_INFO, .size = sizeof(request)}};
	struct proto_info_reply info;
	bool there = false;
	unsigned i;

	if (lib_ask(grant->saferaw, &request, &info, sizeof(info)) < 0) {
		cmd_error("%s", saferaw_error(grant->saferaw));
		return -1;
	}
	for (i = 0; i < info.ranges && i < POLICY_RANGES_MAX; i++)
		there = there || (info.range[i].class == grant->class && info.range[i].lo == grant->lo &&
				  info.range[i].hi == grant->hi);
	return there != grant->release;
}

/**
 * make_known() - have saferawd reload, and see that it did
 * @grant: grant; its drop-in is changed and checked
 *
 * Return: false after a complaint
 */
static bool make_known(const struct grant *grant)
{
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	uint64_t until = clock_ns() + WAIT_NS;
	int known;

	if (!ask_reload(grant))
		return false;
	while ((known = taken_up(grant)) == 0 && clock_ns() < until)
		nanosleep(&pause, NULL);
	if (known == 0)
		cmd_error("saferawd did not take it up: its log says why, and is %s its configuration?",
			  grant->config);
	return known > 0;
}

/**
 * carry_out() - everything once the arguments and the directory are known
 * @grant: grant
 *
 * Return: exit status
 */
static int carry_out(struct grant *grant)
{
	bool right;

	grant->pid = find_daemon();
	if (grant->pid && !(grant->saferaw = saferaw_connect(grant->slice))) {
		cmd_error("%s", saferaw_error(NULL));
		return CMD_FAILED;
	}
	if (!check_config(grant)) {
		cmd_error("the configuration is wrong as it is: nothing is changed");
		return CMD_FAILED;
	}
	if (!change(grant))
		return CMD_FAILED;
	right = check_config(grant);
	if (!right || (grant->pid && !make_known(grant))) {
		put_back(grant);
		if (right)
			ask_reload(grant); /* in case that it was only late */
		cmd_error("nothing is changed");
		return CMD_FAILED;
	}
	if (grant->release)
		unlinkat(grant->dir, grant->other, 0);
	fsync(grant->dir);
	printf("slice %s: %s %u-%u %s, %s.d/%s %s; %s\n", grant->slice, grant->protocol, grant->lo, grant->hi,
	       grant->release ? "released" : "reserved", grant->config, grant->file,
	       grant->release ? "removed" : "written",
	       grant->pid ? "saferawd has taken it up" : "saferawd is not running, and takes it up when it starts");
	return CMD_OK;
}

/**
 * cmd_reserve() - reserve or release ports for a slice
 * @argc: how many arguments
 * @argv: reserve or release, SLICE, PROTOCOL, PORT[-PORT]
 * @config: saferawd's configuration, or NULL for the usual one
 *
 * Return: exit status
 */
int cmd_reserve(int argc, char **argv, const char *config)
{
	struct grant grant = {.config = config ? config : CONFIG, .dir = -1};
	int status = CMD_FAILED;
	sigset_t signals;

	if (!parse(&grant, argc, argv))
		return CMD_FAILED;
	if (geteuid()) {
		cmd_error("%s: only root may", argv[0]);
		return CMD_FAILED;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (open_dir(&grant))
		status = carry_out(&grant);
	close_fd(&grant.dir);
	saferaw_disconnect(grant.saferaw);
	return status;
}
