/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * enter.c: namespace files, and going into a namespace and back
 *
 * The monitor has one thread. It enters a network namespace with setns(2),
 * does one thing there (opens a socket, a device, a sysctl) and returns. What
 * it opened stays tied to that namespace for life, so everything else happens
 * from outside.
 *
 * A monitor that could not come back would from then on do its work in a
 * namespace that somebody else may own. That ends the process.
 */
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "netns.h"
#include "util.h"

static int home_fd = -1; /* the namespace that the monitor was started in */
static int here_fd = -1; /* the one that it is in now */

/**
 * enter_init() - remember the namespace that the process runs in
 *
 * Return: 0, or -1 and errno.
 */
int enter_init(void)
{
	home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	here_fd = home_fd;
	return home_fd < 0 ? -1 : 0;
}

/**
 * enter_home() - the namespace that the process runs in
 *
 * Return: its file, open as long as the process lives.
 */
int enter_home(void)
{
	return home_fd;
}

/**
 * call_in() - run a function inside a namespace
 * @fd: the namespace's file
 * @fn: the function
 * @arg: its argument
 *
 * Return: what @fn returned, with its errno, or -1 and errno.
 */
static int call_in(int fd, int (*fn)(void *arg), void *arg)
{
	int outer = here_fd, result, error;

	if (setns(fd, CLONE_NEWNET) < 0)
		return -1;
	here_fd = fd;
	result = fn(arg);
	error = errno;
	if (setns(outer, CLONE_NEWNET) < 0)
		log_fatal("cannot come back from a network namespace: %m");
	here_fd = outer;
	errno = error;
	return result;
}

/**
 * netns_call() - run a function inside an attached namespace
 * @ns: the namespace
 * @fn: the function
 * @arg: its argument
 *
 * Return: what @fn returned, with its errno, or -1 and errno when the
 * namespace cannot be entered.
 */
int netns_call(const struct netns *ns, int (*fn)(void *arg), void *arg)
{
	return call_in(ns->fd < 0 ? home_fd : ns->fd, fn, arg);
}

/**
 * enter_open() - open the file of a network namespace
 * @path: of the file
 *
 * Return: the file, close-on-exec, or -1 and errno: EINVAL for a file that is
 * something else.
 */
int enter_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		errno = EINVAL;
		close_fd(&fd);
	}
	return fd;
}

/**
 * enter_new() - make an empty network namespace
 *
 * Return: its file, close-on-exec, or -1 and errno. It goes with the file.
 */
int enter_new(void)
{
	int fd, error;

	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	error = errno;
	if (setns(here_fd, CLONE_NEWNET) < 0)
		log_fatal("cannot come back from a network namespace: %m");
	errno = error;
	return fd;
}

/**
 * enter_same() - whether two files are of the same namespace
 * @a: a namespace's file, -1 for the one that the monitor runs in
 * @b: another
 */
bool enter_same(int a, int b)
{
	struct stat st_a, st_b;

	if (fstat(a < 0 ? home_fd : a, &st_a) < 0 || fstat(b < 0 ? home_fd : b, &st_b) < 0)
		return false;
	return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/**
 * read_cookie() - the cookie of the namespace that the caller is in
 * @arg: uint64_t, filled in
 *
 * Return: 0, or -1 and errno.
 */
static int read_cookie(void *arg)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(uint64_t);
	int result;

	if (fd < 0)
		return -1;
	result = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, arg, &size);
	close_fd(&fd);
	return result;
}

/**
 * netns_cookie() - the cookie of an attached namespace
 * @ns: the namespace
 *
 * Return: the cookie, or 0 when it cannot be had.
 */
uint64_t netns_cookie(const struct netns *ns)
{
	uint64_t cookie;

	return netns_call(ns, read_cookie, &cookie) < 0 ? 0 : cookie;
}

/**
 * enter_cookie() - the cookie of a namespace: what a socket made there tells by SO_NETNS_COOKIE
 * @path: of the namespace's file
 * @cookie: filled in
 *
 * Return: 0, or -1 and errno.
 */
int enter_cookie(const char *path, uint64_t *cookie)
{
	int fd = enter_open(path), result;

	if (fd < 0)
		return -1;
	result = call_in(fd, read_cookie, cookie);
	close_fd(&fd);
	return result;
}
