/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_netns.c: saferaw netns: a link as a named network namespace
 *
 * For what takes a namespace by its file: ip netns exec NAME, podman --network
 * ns:/run/netns/NAME, NetworkNamespacePath= of a systemd unit. Root makes it,
 * as ip netns add does (a file in /run/netns with the namespace mounted on it);
 * but it belongs to a user namespace of its own, in which every id stands for
 * itself. The broker puts a device into no other kind, and what runs in it as
 * that namespace's root only has no power over the host's network.
 *
 * A process stays in the background and keeps the link up. It holds no more of
 * the namespace than a lock on the file under the mount, which also says who it
 * is: so ip netns del ends it just as saferaw netns del does, which only waits
 * for the end besides.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "run.h"

#define PLACE "/run/netns"
#define NAME_MAX_BYTES 64
#define END_MS 10000 /* for the process in the background to end */

/* A named namespace */
struct named {
	char path[sizeof(PLACE "/") + NAME_MAX_BYTES];
	int file; /* under the mount, locked */
	struct run_link link;
};

/**
 * take_name() - check a name
 * @named: gets the path
 * @name: name
 *
 * Return: whether it can be one; a failure has been complained of
 */
static bool take_name(struct named *named, const char *name)
{
	size_t n = strlen(name);

	if (!n || n > NAME_MAX_BYTES || name[0] == '.' || strchr(name, '/')) {
		cmd_error("'%s' is no name of a namespace", name);
		return false;
	}
	snprintf(named->path, sizeof(named->path), PLACE "/%s", name);
	return true;
}

/**
 * make_place() - make the directory of named namespaces as ip(8) does
 *
 * A mount in it must be seen in every mount namespace, also in those that are there already.
 *
 * Return: whether it is there; a failure has been complained of
 */
static bool make_place(void)
{
	if (mkdir(PLACE, 0755) < 0 && errno != EEXIST)
		goto fail;
	if (!mount("", PLACE, "none", MS_SHARED | MS_REC, NULL))
		return true;
	if (errno == EINVAL && !mount(PLACE, PLACE, "none", MS_BIND | MS_REC, NULL) &&
	    !mount("", PLACE, "none", MS_SHARED | MS_REC, NULL))
		return true;
fail:
	cmd_error("%s: %s", PLACE, strerror(errno));
	return false;
}

/**
 * make_file() - make the file, and lock it
 * @named: file is set
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool make_file(struct named *named)
{
	struct flock lock = {.l_type = F_WRLCK};

	named->file = open(named->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	if (named->file >= 0 && !fcntl(named->file, F_SETLK, &lock))
		return true;
	cmd_error("%s: %s", named->path, strerror(errno));
	return false;
}

/**
 * nothing() - what the process that makes the namespaces does in them
 * @channel: unused
 * @arg: unused
 *
 * Return: exit status
 */
static int nothing(int channel, void *arg)
{
	(void)channel;
	(void)arg;
	return 0;
}

/**
 * mount_file() - mount the namespace on its file
 * @named: with its namespaces
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool mount_file(const struct named *named)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", named->link.ns.net);
	if (!mount(from, named->path, "none", MS_BIND, NULL))
		return true;
	cmd_error("cannot mount the namespace on %s: %s", named->path, strerror(errno));
	return false;
}

/**
 * unmake() - undo what make() has done, in whole or in part
 * @named: file is -1 where there is none of ours
 */
static void unmake(struct named *named)
{
	run_link_close(&named->link);
	if (named->file < 0)
		return;
	umount2(named->path, MNT_DETACH);
	unlink(named->path);
	close_fd(&named->file);
}

/**
 * watch() - prepare for the end
 * @named: with its file, not mounted on yet
 * @pfd: gets what to wait for: the file's removal, and signals that end this process
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool watch(const struct named *named, struct pollfd pfd[static 2])
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	pfd[0] = (struct pollfd){.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
	pfd[1] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
	if (pfd[0].fd >= 0 && inotify_add_watch(pfd[0].fd, named->path, IN_ATTRIB) >= 0 && pfd[1].fd >= 0)
		return true;
	cmd_error("cannot watch %s: %s", named->path, strerror(errno));
	return false;
}

/**
 * make() - make the namespace with its link
 * @named: path and wish are set
 * @pfd: as for watch()
 *
 * Return: whether it is there; a failure has been complained of
 */
static bool make(struct named *named, struct pollfd pfd[static 2])
{
	int channel;
	pid_t pid;

	if (!make_place() || !make_file(named) || !watch(named, pfd))
		return false;
	pid = run_ns_spawn(&named->link.ns, 0, &channel, nothing, NULL);
	if (pid < 0)
		return false;
	close_fd(&channel);
	TEMP_FAILURE_RETRY(waitpid(pid, NULL, 0));
	return mount_file(named) && run_link_open(&named->link);
}

/**
 * detach() - become a process in the background
 * @ready: gets a byte and is closed
 */
static void detach(int *ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	cmd_error_to_syslog();
	if (write(*ready, "", 1) != 1 || chdir("/") < 0)
		cmd_error("%s", strerror(errno)); /* nobody waits any more: that is no reason to end */
	close_fd(ready);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close_fd(&null);
}

/**
 * keep() - the life of the process in the background
 * @named: path and wish are set
 * @ready: gets a byte when the namespace is there
 *
 * Return: exit status
 */
static int keep(struct named *named, int ready)
{
	struct pollfd pfd[3];
	bool removed = false;

	setsid();
	named->file = -1;
	if (!make(named, pfd)) {
		unmake(named);
		return CMD_FAILED;
	}
	detach(&ready);
	do {
		run_link_work(&named->link);
		pfd[2] = (struct pollfd){.fd = run_link_fd(&named->link), .events = POLLIN};
		poll(pfd, ARRAY_SIZE(pfd), run_link_wait_ms(&named->link));
		removed = pfd[0].revents;
	} while (!removed && !pfd[1].revents);
	if (removed)
		close_fd(&named->file); /* what has that name now is not ours */
	unmake(named);
	return CMD_OK;
}

/**
 * add() - saferaw netns add
 * @named: path and wish are set
 *
 * Return: exit status
 */
static int add(struct named *named)
{
	int ready[2], status = 0;
	pid_t pid = -1;
	ssize_t n;
	char byte;

	if (!pipe2(ready, O_CLOEXEC))
		pid = fork();
	if (pid < 0) {
		cmd_error("cannot start a process: %s", strerror(errno));
		return CMD_FAILED;
	}
	if (!pid) {
		close_fd(&ready[0]);
		_exit(keep(named, ready[1]));
	}
	close_fd(&ready[1]);
	n = TEMP_FAILURE_RETRY(read(ready[0], &byte, sizeof(byte)));
	close_fd(&ready[0]);
	if (n == 1)
		return CMD_OK;
	TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)); /* it has said why */
	return CMD_FAILED;
}

/**
 * is_ours() - whether a named namespace is one that this command has made
 * @path: its file
 *
 * Return: whether it has a user namespace of its own; else that has been complained of
 */
static bool is_ours(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), user = -1;
	struct stat theirs, own;
	bool ours = false;

	if (fd < 0) {
		cmd_error("%s: %s", path, strerror(errno));
		return false;
	}
	user = ioctl(fd, NS_GET_USERNS);
	if (user >= 0 && !fstat(user, &theirs) && !stat("/proc/self/ns/user", &own))
		ours = theirs.st_dev != own.st_dev || theirs.st_ino != own.st_ino;
	if (!ours)
		cmd_error("%s was not made by saferaw netns add", path);
	close_fd(&user);
	close_fd(&fd);
	return ours;
}

/**
 * find_keeper() - who keeps up the link of a named namespace
 * @path: its file, with nothing mounted on it any more
 *
 * Return: pidfd of the process in the background; -1 when there is none
 */
static int find_keeper(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK};
	int file = open(path, O_RDWR | O_CLOEXEC), keeper = -1;

	if (file >= 0 && !fcntl(file, F_GETLK, &lock) && lock.l_type != F_UNLCK && lock.l_pid > 0)
		keeper = pidfd_open(lock.l_pid, 0);
	close_fd(&file);
	return keeper;
}

/**
 * del() - saferaw netns del
 * @path: file of the namespace
 *
 * Return: exit status
 */
static int del(const char *path)
{
	struct pollfd pfd = {.events = POLLIN};
	int status = CMD_OK;

	if (!is_ours(path))
		return CMD_FAILED;
	umount2(path, MNT_DETACH);
	pfd.fd = find_keeper(path);
	if (unlink(path) < 0) {
		cmd_error("%s: %s", path, strerror(errno));
		status = CMD_FAILED;
	} else if (pfd.fd >= 0 && TEMP_FAILURE_RETRY(poll(&pfd, 1, END_MS)) != 1) {
		cmd_error("%s: the process that keeps up the link does not end", path);
		status = CMD_FAILED;
	}
	close_fd(&pfd.fd);
	return status;
}

/**
 * cmd_netns() - saferaw netns
 * @argc: how many arguments
 * @argv: arguments, of which the first is the command
 * @slice: that was named before it, or NULL
 *
 * Return: exit status
 */
int cmd_netns(int argc, char **argv, const char *slice)
{
	struct named named = {.link = {.wish = {.slice = slice}}};
	int status = CMD_FAILED, first = run_options(argc, argv, &named.link.wish, false, &status);
	bool adds;

	if (first < 0)
		return status;
	adds = argc - first == 2 && !strcmp(argv[first], "add");
	if (!adds && (argc - first != 2 || strcmp(argv[first], "del") != 0)) {
		cmd_error("usage: saferaw netns add NAME [-s SLICE], saferaw netns del NAME");
		return CMD_FAILED;
	}
	if (!take_name(&named, argv[first + 1]))
		return CMD_FAILED;
	return adds ? add(&named) : del(named.path);
}
