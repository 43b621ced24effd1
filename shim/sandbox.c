/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sandbox.c: the relay gives up everything that it does not need
 *
 * In stages, before a byte is read from anybody; a stage that does not
 * succeed, or whose result is not what it should be, ends the process:
 *
 *  1. sandbox_enter_root()    an empty directory is all there is of the file system
 *  2. sandbox_drop_powers()   no capability is left, and none can be had again
 *  3. sandbox_limit()         no process, no core file, no tracing by its own user
 *  4. sandbox_filter_calls()  of the system calls those of the table below
 *
 * The process starts as its own user with CAP_SYS_CHROOT alone, which stage 1
 * needs and stage 2 drops.
 *
 * A call that is not in the table raises SIGSYS; the handler writes its number
 * and ends the process. Calls of another architecture kill it outright.
 */
#include "sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

/* Whether this is a build for the address sanitizer, which gcc tells by a macro and clang by a feature */
#ifdef __SANITIZE_ADDRESS__
#define ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#endif

/* What one argument of a call must be; mask 0: anything */
struct argument {
	unsigned index;
	uint64_t mask, value;
};

/* Each call that may be made, and why */
static const struct {
	int call;
	const char *reason;
	struct argument argument[2];
} allowed[] = {
	{SCMP_SYS(epoll_wait), "the event loop", {{0}}},
	{SCMP_SYS(epoll_pwait), "the same, where libc has it so", {{0}}},
	{SCMP_SYS(epoll_ctl), "watch new clients and flows", {{0}}},
	{SCMP_SYS(read), "packets from the TUN", {{0}}},
	{SCMP_SYS(write), "packets to the TUN, log lines", {{0}}},
	{SCMP_SYS(recvmsg), "messages from clients and the monitor", {{0}}},
	{SCMP_SYS(sendmsg), "messages to clients and the monitor", {{0}}},
	{SCMP_SYS(recvfrom), "packets from flows", {{0}}},
	{SCMP_SYS(sendto), "packets to flows", {{0}}},
	{SCMP_SYS(accept4), "new clients", {{0}}},
	{SCMP_SYS(socketpair), "new flows", {{0, UINT32_MAX, AF_UNIX}}},
	{SCMP_SYS(setsockopt), "size of a send buffer", {{1, UINT32_MAX, SOL_SOCKET}, {2, UINT32_MAX, SO_SNDBUF}}},
	{SCMP_SYS(getsockopt), "who a client is", {{1, UINT32_MAX, SOL_SOCKET}}},
	{SCMP_SYS(close), "clients and flows that end", {{0}}},
	{SCMP_SYS(mmap), "maps shared with steering, large allocations", {{2, PROT_EXEC, 0}}},
	{SCMP_SYS(munmap), "the same, when they end", {{0}}},
	{SCMP_SYS(mremap), "large allocations that grow", {{0}}},
	{SCMP_SYS(brk), "small allocations", {{0}}},
	{SCMP_SYS(madvise), "huge pages for large tables", {{2, UINT32_MAX, MADV_HUGEPAGE}}},
	{SCMP_SYS(sched_yield), "offer the CPU while polling for events", {{0}}},
	{SCMP_SYS(clock_gettime), "the clock, where the vDSO has none", {{0}}},
	{SCMP_SYS(getrandom), "secrets and random ports", {{0}}},
	{SCMP_SYS(exit_group), "the end", {{0}}},
	{SCMP_SYS(rt_sigreturn), "return from a stop and continue", {{0}}},
	{SCMP_SYS(restart_syscall), "the same", {{0}}},
#ifdef ADDRESS_SANITIZER
	{SCMP_SYS(mprotect), "address sanitizer", {{2, PROT_EXEC, 0}}},
	{SCMP_SYS(madvise), "address sanitizer", {{0}}},
	{SCMP_SYS(sigaltstack), "address sanitizer", {{0}}},
	{SCMP_SYS(getpid), "address sanitizer", {{0}}},
	{SCMP_SYS(gettid), "address sanitizer", {{0}}},
	{SCMP_SYS(futex), "address sanitizer", {{0}}},
#endif
};

/**
 * sandbox_enter_root() - make a directory the whole file system
 * @root_fd: the directory, empty; closed
 */
void sandbox_enter_root(int root_fd)
{
	if (fchdir(root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		log_fatal("sandbox: cannot enter the empty root: %m");
	close_fd(&root_fd);
}

/**
 * verify_no_powers() - see that nothing is left, and that nothing can be had again
 */
static void verify_no_powers(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = 1U << CAP_SYS_CHROOT, .permitted = 1U << CAP_SYS_CHROOT}};
	unsigned capability;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0UL, 0UL, 0UL, 0UL) != 1)
		log_fatal("sandbox: no_new_privs is not set");
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		log_fatal("sandbox: capabilities are left");
	for (capability = 0; cap_valid(capability); capability++) {
		if (capng_have_capability(CAPNG_PERMITTED, capability) ||
		    capng_have_capability(CAPNG_INHERITABLE, capability) ||
		    prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_IS_SET, (unsigned long)capability, 0UL, 0UL) >
			    0)
			log_fatal("sandbox: capability %u is left", capability);
	}
	if (syscall(SYS_capset, &header, data) == 0 || chroot(".") == 0)
		log_fatal("sandbox: CAP_SYS_CHROOT can be had again");
	if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)
		log_fatal("sandbox: root can be had again");
}

/**
 * sandbox_drop_powers() - drop every capability, and see that they are gone
 *
 * The process must not be root, and must have no supplementary groups.
 */
void sandbox_drop_powers(void)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0 || !ruid || !euid || !suid ||
	    !rgid || !egid || !sgid)
		log_fatal("sandbox: will not run as root");
	if (getgroups(0, NULL) != 0)
		log_fatal("sandbox: will not run with supplementary groups");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0 ||
	    prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0)
		log_fatal("sandbox: prctl: %m");
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		log_fatal("sandbox: cannot drop capabilities");
	verify_no_powers();
}

/**
 * sandbox_limit() - no process, no core file, no tracing by its own user
 */
void sandbox_limit(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_NPROC, &none) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL) < 0)
		log_fatal("sandbox: cannot set limits: %m");
}

/**
 * stopped() - SIGSYS: name the call that was not allowed, and end
 * @signal: SIGSYS
 * @info: has the call's number
 * @context: not used
 */
static void stopped(int signal, siginfo_t *info, void *context)
{
	static const char before[] = "saferaw-relay: sandbox: not allowed: system call ";
	char line[sizeof(before) + 16];
	unsigned call = (unsigned)info->si_syscall, digit = 1;
	size_t at = sizeof(before) - 1;

	(void)signal;
	(void)context;
	memcpy(line, before, at);
	while (call / digit >= 10)
		digit *= 10;
	for (; digit; digit /= 10)
		line[at++] = (char)('0' + call / digit % 10);
	line[at++] = '\n';
	_exit(write(STDERR_FILENO, line, at) < 0 ? 3 : 2);
}

/**
 * allow() - add one row of the table to the filter
 * @filter: filter
 * @row: index of the row
 *
 * Return: 0, or a negative errno.
 */
static int allow(scmp_filter_ctx filter, size_t row)
{
	struct scmp_arg_cmp compare[ARRAY_SIZE(allowed[0].argument)];
	unsigned i, n = 0;

	for (i = 0; i < ARRAY_SIZE(compare); i++) {
		const struct argument *argument = &allowed[row].argument[i];

		if (argument->mask)
			compare[n++] = SCMP_CMP(argument->index, SCMP_CMP_MASKED_EQ, argument->mask, argument->value);
	}
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, allowed[row].call, n, compare);
}

/**
 * sandbox_filter_calls() - allow the calls of the table, and no others
 */
void sandbox_filter_calls(void)
{
	const struct sigaction action = {.sa_sigaction = stopped, .sa_flags = SA_SIGINFO};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int result;
	size_t i;

	if (!filter || sigaction(SIGSYS, &action, NULL) < 0)
		log_fatal("sandbox: cannot make the system call filter");
	for (i = 0; i < ARRAY_SIZE(allowed); i++)
		if ((result = allow(filter, i)) < 0)
			log_fatal("sandbox: cannot allow system call %d (%s): %s", allowed[i].call, allowed[i].reason,
				  strerror(-result));
	result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (result == 0)
		result = seccomp_load(filter);
	if (result < 0)
		log_fatal("sandbox: cannot load the system call filter: %s", strerror(-result));
	seccomp_release(filter);
}
