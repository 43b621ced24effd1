/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_sandbox.c: the relay's filter of system calls, and that it will not run with powers
 *
 * Each test does what it does in a child of its own, and looks at how that
 * ended: a call that is not allowed ends it with status 2 and its number on
 * standard error.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "suite.h"
#include "util.h"

/* Calls that somebody who has taken the relay over would want */
static const struct {
	const char *name;
	long call, argument[4];
} wanted[] = {
	{"ioctl", SYS_ioctl, {0, TIOCSTI}},
	{"bpf", SYS_bpf, {BPF_MAP_UPDATE_ELEM}},
	{"openat", SYS_openat, {AT_FDCWD}},
	{"openat2", SYS_openat2, {AT_FDCWD}},
	{"socket AF_INET", SYS_socket, {AF_INET, SOCK_DGRAM}},
	{"socketpair AF_INET", SYS_socketpair, {AF_INET, SOCK_DGRAM}},
	{"connect", SYS_connect, {0}},
	{"bind", SYS_bind, {0}},
	{"execve", SYS_execve, {0}},
	{"execveat", SYS_execveat, {0}},
	{"clone", SYS_clone, {SIGCHLD}},
	{"clone3", SYS_clone3, {0}},
	{"ptrace", SYS_ptrace, {0}},
	{"process_vm_readv", SYS_process_vm_readv, {0}},
	{"kill", SYS_kill, {0}},
	{"setns", SYS_setns, {0}},
	{"unshare", SYS_unshare, {CLONE_NEWUSER}},
	{"chroot", SYS_chroot, {0}},
	{"mount", SYS_mount, {0}},
	{"setuid", SYS_setuid, {0}},
	{"capset", SYS_capset, {0}},
	{"prctl", SYS_prctl, {0}},
	{"keyctl", SYS_keyctl, {0}},
	{"io_uring_setup", SYS_io_uring_setup, {1}},
	{"userfaultfd", SYS_userfaultfd, {0}},
	{"rt_sigaction", SYS_rt_sigaction, {SIGSYS}},
	{"mprotect", SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}},
	{"mmap exec", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS}},
	{"setsockopt SO_ATTACH_FILTER", SYS_setsockopt, {0, SOL_SOCKET, SO_ATTACH_FILTER}},
	{"setsockopt SOL_IP", SYS_setsockopt, {0, 0, SO_SNDBUF}},
	{"getsockopt SOL_IP", SYS_getsockopt, {0, 0, 0}},
};

/** run() - run something in a child; its status, and what it wrote on standard error */
static int run(void (*what)(unsigned n), unsigned n, char *text, size_t room)
{
	int fds[2], status;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		what(n);
		_exit(0);
	}
	close(fds[1]);
	got = read(fds[0], text, room - 1);
	text[got > 0 ? got : 0] = '\0';
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/** call_wanted() - make one of the calls behind the filter */
static void call_wanted(unsigned n)
{
	sandbox_filter_calls();
	syscall(wanted[n].call, wanted[n].argument[0], wanted[n].argument[1], wanted[n].argument[2],
		wanted[n].argument[3], -1, 0);
}

START_TEST(stops)
{
	char text[200], number[40];

	ck_assert_msg(run(call_wanted, (unsigned)_i, text, sizeof(text)) == 2, "%s: allowed", wanted[_i].name);
	snprintf(number, sizeof(number), "system call %ld\n", wanted[_i].call);
	ck_assert_msg(strstr(text, number) != NULL, "%s: %s", wanted[_i].name, text);
}
END_TEST

/** call_needed() - what the relay does all day */
static void call_needed(unsigned n)
{
	char byte = 0;
	void *memory, *more;
	int pair[2];

	(void)n;
	sandbox_filter_calls();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    send(pair[0], "x", 1, MSG_DONTWAIT) != 1 || recv(pair[1], &byte, 1, MSG_DONTWAIT) != 1)
		_exit(9);
	memory = malloc(10 << 20);
	more = realloc(memory, 20 << 20);
	madvise(more ? more : memory, 20 << 20, MADV_HUGEPAGE);
	free(more ? more : memory);
	log_info("%ju", (uintmax_t)clock_ns());
	random_bytes(&byte, 1);
	exit(0);
}

START_TEST(lets_through)
{
	char text[200];

	ck_assert_msg(run(call_needed, 0, text, sizeof(text)) == 0, "%s", text);
}
END_TEST

/** call_drop() - drop powers as whoever runs the test */
static void call_drop(unsigned n)
{
	(void)n;
	sandbox_drop_powers();
}

/** call_drop_groups() - the same as another user, but with a group left */
static void call_drop_groups(unsigned n)
{
	(void)n;
	if (setresgid(1, 1, 1) < 0 || setresuid(1, 1, 1) < 0)
		_exit(9);
	sandbox_drop_powers();
}

/** call_drop_user() - the same as it should be */
static void call_drop_user(unsigned n)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		_exit(9);
	call_drop_groups(n);
}

START_TEST(drops)
{
	const gid_t group = 7;
	char text[200];

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(syscall(SYS_setgroups, 1, &group), 0);
	ck_assert_int_eq(run(call_drop, 0, text, sizeof(text)), 1);
	ck_assert_ptr_nonnull(strstr(text, "root"));
	ck_assert_int_eq(run(call_drop_groups, 0, text, sizeof(text)), 1);
	ck_assert_ptr_nonnull(strstr(text, "groups"));
	ck_assert_msg(run(call_drop_user, 0, text, sizeof(text)) == 0, "%s", text);
}
END_TEST

/** call_bad_root() - enter what is no directory */
static void call_bad_root(unsigned n)
{
	(void)n;
	sandbox_enter_root(STDERR_FILENO);
}

START_TEST(needs_root_directory)
{
	char text[200];

	ck_assert_int_eq(run(call_bad_root, 0, text, sizeof(text)), 1);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *tests = tcase_create("all");

	tcase_add_loop_test(tests, stops, 0, ARRAY_SIZE(wanted));
	tcase_add_test(tests, lets_through);
	tcase_add_test(tests, drops);
	tcase_add_test(tests, needs_root_directory);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
