/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_ns.c: the namespaces that a link is made in
 *
 * A user namespace needs no privilege, and makes its owner root over the network
 * and mount namespaces in it; nothing outside. The process that is to live there
 * makes them, and its parent, which stays outside, does what must be done from
 * outside:
 *
 *	child                                  parent
 *	unshare user, network, mount
 *	  -- the two namespaces as fds -->
 *	                                       maps the ids
 *	  <-- done --
 *	becomes root, goes on
 *
 * End of file instead means that the other side has given up, and said why.
 *
 * Later the parent works inside by a short-lived child of its own
 * (run_ns_call()), which enters both namespaces. It may: the owner of a
 * user namespace has all capabilities in it. The parent itself never enters: its
 * credentials and its network namespace are what the broker asks the kernel for.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "msg.h"
#include "run.h"

/**
 * refuse() - say why there is no user namespace
 *
 * Debian, Ubuntu and the kernel itself each have a switch of their own.
 */
static void refuse(void)
{
	cmd_error("cannot make a user and network namespace: %s", strerror(errno));
	if (errno == EPERM || errno == ENOSPC || errno == EACCES)
		cmd_error("this host does not let users make namespaces: see user.max_user_namespaces, "
			  "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns");
}

/**
 * make() - make the namespaces, and give them to the parent
 * @channel: to the parent
 * @flags: CLONE_NEWNS or 0
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool make(int channel, int flags)
{
	int fd[2] = {-1, -1};
	bool done = false;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | flags) < 0) {
		refuse();
		return false;
	}
	fd[0] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	fd[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd[0] >= 0 && fd[1] >= 0)
		done = !msg_send(channel, "", 1, fd, 2, 0);
	if (!done)
		cmd_error("cannot pass the namespaces on: %s", strerror(errno));
	close_fd(&fd[0]);
	close_fd(&fd[1]);
	return done;
}

/**
 * become_root() - take the ids that the parent has mapped
 *
 * The supplementary groups stay: what they give access to outside, they give inside.
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool become_root(void)
{
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) {
		cmd_error("cannot become root of the namespace: %s", strerror(errno));
		return false;
	}
	return true;
}

/**
 * live() - the child's life
 * @channel: to the parent
 * @flags: CLONE_NEWNS or 0
 * @inside: what it does then
 * @arg: its argument
 */
static _Noreturn void live(int channel, int flags, run_inside *inside, void *arg)
{
	struct msg msg;
	char go;

	if (!make(channel, flags) || msg_recv(channel, &go, sizeof(go), &msg, 0) != 1 || !become_root())
		_exit(RUN_FAILED);
	_exit(inside(channel, arg));
}

/**
 * take() - take the namespaces from the child and map its ids
 * @pid: child
 * @channel: to it
 * @ns: filled in
 *
 * Return: whether it worked; a failure has been complained of, here or there
 */
static bool take(pid_t pid, int channel, struct run_ns *ns)
{
	struct msg msg;
	char byte;

	if (msg_recv(channel, &byte, sizeof(byte), &msg, 0) != 1)
		return false;
	if (msg.fds != 2) {
		msg_close_fds(&msg);
		return false;
	}
	*ns = (struct run_ns){.user = msg.fd[0], .net = msg.fd[1]};
	return run_ids_map(pid) && !msg_send(channel, "", 1, NULL, 0, 0);
}

/**
 * run_ns_spawn() - start a child in new namespaces, as root of them
 * @ns: set to the namespaces, which are the caller's to close
 * @flags: CLONE_NEWNS for a mount namespace too, or 0
 * @channel: set to a socket to the child
 * @inside: what the child does, with the other end; its exit status
 * @arg: its argument
 *
 * Return: pid of the child; or -1, when a failure has been complained of and nothing is left
 */
pid_t run_ns_spawn(struct run_ns *ns, int flags, int *channel, run_inside *inside, void *arg)
{
	int end[2];
	pid_t pid;

	*ns = (struct run_ns){-1, -1};
	*channel = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) < 0) {
		cmd_error("no socket: %s", strerror(errno));
		return -1;
	}
	pid = fork();
	if (!pid) {
		close_fd(&end[0]);
		live(end[1], flags, inside, arg);
	}
	close_fd(&end[1]);
	*channel = end[0];
	if (pid > 0 && take(pid, *channel, ns))
		return pid;
	if (pid < 0)
		cmd_error("cannot start a process: %s", strerror(errno));
	close_fd(channel);
	run_ns_close(ns);
	if (pid > 0)
		TEMP_FAILURE_RETRY(waitpid(pid, NULL, 0));
	return -1;
}

/**
 * run_ns_call() - do something inside, by a short-lived child
 * @ns: where
 * @work: what; it complains of its own failures
 * @arg: its argument
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_ns_call(const struct run_ns *ns, run_work *work, const void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (setns(ns->user, CLONE_NEWUSER) < 0 || setns(ns->net, CLONE_NEWNET) < 0) {
			cmd_error("cannot enter the namespace: %s", strerror(errno));
			_exit(1);
		}
		_exit(work(arg) ? 0 : 1);
	}
	if (pid < 0 || TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) {
		cmd_error("cannot work in the namespace: %s", strerror(errno));
		return false;
	}
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/**
 * give_socket() - make a socket, and pass it on
 * @arg: int, where to
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool give_socket(const void *arg)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !msg_send(*(const int *)arg, "", 1, &fd, 1, 0))
		return true;
	cmd_error("no socket: %s", strerror(errno));
	return false;
}

/**
 * run_ns_socket() - a control socket that was made inside
 * @ns: where
 *
 * Return: the socket, not connected; or -1, when a failure has been complained of
 */
int run_ns_socket(const struct run_ns *ns)
{
	struct msg msg;
	int end[2], fd = -1;
	char byte;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) < 0) {
		cmd_error("no socket: %s", strerror(errno));
		return -1;
	}
	if (run_ns_call(ns, give_socket, &end[1]) && msg_recv(end[0], &byte, 1, &msg, MSG_DONTWAIT) == 1) {
		if (msg.fds == 1)
			fd = msg.fd[0];
		else
			msg_close_fds(&msg);
	}
	close_fd(&end[0]);
	close_fd(&end[1]);
	return fd;
}

/**
 * run_ns_close() - let the namespaces go
 * @ns: both -1 afterwards
 */
void run_ns_close(struct run_ns *ns)
{
	close_fd(&ns->user);
	close_fd(&ns->net);
}
