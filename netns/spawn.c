/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spawn.c: the relay's process: start, end, and start again
 *
 * The relay is a program of its own, started by fork and exec, so that it has
 * nothing of the monitor's memory. It gets the file descriptors that priv.h
 * fixes and no others, namespaces of its own for mounts, network and IPC, its
 * user's uid and gid, and CAP_SYS_CHROOT, which it drops before it reads
 * anything. It dies with the monitor (PR_SET_PDEATHSIG).
 *
 * What the child does before exec is a table of named steps. The first that
 * fails is reported with its errno through a pipe that exec closes: end of
 * file on it means that the relay's program runs.
 *
 * A relay that dies is started again at once the first time; after that the
 * wait doubles from 100 ms to 5 s, until one has lived for 10 s.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "msg.h"
#include "powers.h"
#include "priv.h"
#include "util.h"

#define DELAY_MIN_NS (100 * NS_PER_MS)
#define DELAY_MAX_NS (5 * NS_PER_S)
#define LIFE_NS (10 * NS_PER_S) /* who lived so long starts with a clean record */
#define EXEC_MS 2000            /* from fork to exec; below STEER_STALE_NS, because the monitor waits */
#define SHUTDOWN_MS 1000        /* for a relay that was asked to end */
#define CHANNEL_BYTES (4 << 20) /* about 5,000 messages: a relay that is so far behind hangs */

#define FD_REPORT PRIV_FD_FIRST_FREE /* the child's end of the pipe */
#define FD_SAFE 16                   /* above every fixed number */

/* What the child needs to know */
struct birth {
	const struct conf *conf;
	int channel, report;
	pid_t parent;
};

/* What the child says when a step fails */
struct report {
	int error;
	char step[28];
};

/**
 * reset_signals() - the monitor's mask and dispositions are not the relay's
 * @birth: what the child needs
 */
static int reset_signals(struct birth *birth)
{
	sigset_t none;

	(void)birth;
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

/**
 * leave_namespaces() - mounts, network and IPC of its own
 * @birth: what the child needs
 */
static int leave_namespaces(struct birth *birth)
{
	(void)birth;
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0)
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/**
 * lift() - a duplicate of a file descriptor, above every fixed number
 * @fd: it stays open; -1 passes through
 *
 * Return: the duplicate, close-on-exec, or -1 and errno.
 */
static int lift(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_SAFE);
}

/**
 * arrange_files() - the fixed file descriptors, and no others
 * @birth: what the child needs
 */
static int arrange_files(struct birth *birth)
{
	char path[PATH_MAX];
	int channel, report, null, root;

	snprintf(path, sizeof(path), "%s/empty", birth->conf->run_dir);
	channel = lift(birth->channel);
	report = lift(birth->report);
	null = lift(open("/dev/null", O_RDONLY | O_CLOEXEC));
	root = lift(open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (channel < 0 || report < 0 || null < 0 || root < 0)
		return -1;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(channel, PRIV_FD_MONITOR) < 0 || dup2(root, PRIV_FD_ROOT) < 0 ||
	    dup3(report, FD_REPORT, O_CLOEXEC) < 0)
		return -1;
	birth->report = FD_REPORT;
	return close_range(FD_REPORT + 1, ~0U, 0);
}

/**
 * set_limits() - no core file, which would hold clients' packets
 * @birth: what the child needs
 */
static int set_limits(struct birth *birth)
{
	const struct rlimit none = {0, 0};

	(void)birth;
	umask(077);
	return setrlimit(RLIMIT_CORE, &none) < 0 || chdir("/") < 0 ? -1 : 0;
}

/**
 * reduce_powers() - first stage, with the monitor's powers still there
 * @birth: what the child needs
 */
static int reduce_powers(struct birth *birth)
{
	(void)birth;
	return powers_relay_prepare();
}

/**
 * change_identity() - become the relay's user
 * @birth: what the child needs
 */
static int change_identity(struct birth *birth)
{
	uid_t uid = birth->conf->relay_uid;
	gid_t gid = birth->conf->relay_gid;

	return setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ? -1 : 0;
}

/**
 * finish_powers() - second stage
 * @birth: what the child needs
 */
static int finish_powers(struct birth *birth)
{
	(void)birth;
	return powers_relay_finish();
}

/**
 * tie_to_parent() - die with the monitor
 * @birth: what the child needs
 *
 * After the change of identity, which would have cleared it.
 */
static int tie_to_parent(struct birth *birth)
{
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL) < 0)
		return -1;
	errno = ESRCH;
	return getppid() == birth->parent ? 0 : -1;
}

/**
 * execute() - the last step: returns only when it failed
 * @birth: what the child needs
 */
static int execute(struct birth *birth)
{
	char name[] = "saferaw-relay", journal[128];
	char *argv[] = {name, NULL}, *envp[] = {NULL, NULL};
	const char *stream = getenv("JOURNAL_STREAM");

	if (stream && snprintf(journal, sizeof(journal), "JOURNAL_STREAM=%s", stream) < (int)sizeof(journal))
		envp[0] = journal;
	execve(birth->conf->relay_path, argv, envp);
	return -1;
}

static const struct {
	const char *name;
	int (*fn)(struct birth *birth);
} steps[] = {
	{"signals", reset_signals},
	{"namespaces", leave_namespaces},
	{"files", arrange_files},
	{"limits", set_limits},
	{"powers", reduce_powers},
	{"identity", change_identity},
	{"powers after identity", finish_powers},
	{"parent", tie_to_parent},
	{"exec", execute},
};

/**
 * child() - from fork to exec
 * @birth: what to do it with
 */
static _Noreturn void child(struct birth *birth)
{
	struct report report = {0};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].fn(birth) == 0)
			continue;
		report.error = errno;
		snprintf(report.step, sizeof(report.step), "%s", steps[i].name);
		break;
	}
	_exit(write(birth->report, &report, sizeof(report)) == sizeof(report) ? 1 : 2);
}

/**
 * await_exec() - wait until the child runs the relay's program
 * @fd: the monitor's end of the pipe
 * @path: of the program
 *
 * Return: 0, or -1 after a log line.
 */
static int await_exec(int fd, const char *path)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	struct report report = {0};
	ssize_t n;

	if (poll(&wait, 1, EXEC_MS) <= 0) {
		log_error("relay: starting takes too long");
		return -1;
	}
	n = read(fd, &report, sizeof(report));
	if (n == 0)
		return 0;
	report.step[sizeof(report.step) - 1] = 0;
	errno = n == sizeof(report) ? report.error : EIO;
	log_error("relay: cannot start %s: %s: %m", path, report.step);
	return -1;
}

/**
 * relay_init() - no relay yet
 * @relay: filled in
 */
void relay_init(struct relay *relay)
{
	*relay = (struct relay){.pidfd = -1, .channel = -1};
}

/**
 * make_channel() - the socket pair between monitor and relay
 * @pair: filled in: the monitor's end, the relay's end
 *
 * Return: 0, or -1 and errno.
 */
static int make_channel(int pair[2])
{
	const int bytes = CHANNEL_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0) {
			close_fd(&pair[0]);
			close_fd(&pair[1]);
			return -1;
		}
	return 0;
}

/**
 * give_birth() - fork, and follow the child to its exec
 * @relay: gets the pidfd
 * @birth: what the child needs
 *
 * Return: 0, or -1 after a log line.
 */
static int give_birth(struct relay *relay, struct birth *birth)
{
	int report[2], result = -1;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0) {
		log_error("relay: cannot make a pipe: %m");
		return -1;
	}
	birth->report = report[1];
	pid = fork();
	if (pid == 0)
		child(birth);
	close_fd(&report[1]);
	relay->pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (relay->pidfd >= 0) {
		result = await_exec(report[0], birth->conf->relay_path);
	} else {
		log_error("relay: cannot start its process: %m");
		if (pid > 0 && (kill(pid, SIGKILL) < 0 || waitpid(pid, NULL, 0) < 0))
			log_error("relay: cannot take its process back: %m");
	}
	close_fd(&report[0]);
	return result;
}

/**
 * relay_start() - start a relay
 * @relay: none runs
 * @conf: its program, user and root
 *
 * Return: 0, or -1 after a log line. What runs nevertheless (a child that
 * failed) is killed, and its end is still to be reaped.
 */
int relay_start(struct relay *relay, const struct conf *conf)
{
	struct birth birth = {.conf = conf, .parent = getpid()};
	int pair[2], result;

	relay->ready = false;
	relay->started_ns = clock_ns();
	if (make_channel(pair) < 0) {
		log_error("relay: cannot make its channel: %m");
		relay->next_ns = relay->started_ns + DELAY_MAX_NS;
		return -1;
	}
	relay->channel = pair[0];
	birth.channel = pair[1];
	result = give_birth(relay, &birth);
	close_fd(&pair[1]);
	if (result < 0) {
		relay_kill(relay);
		relay->next_ns = relay->started_ns + DELAY_MAX_NS;
	}
	return result;
}

/**
 * relay_kill() - end the relay now, and listen to it no more
 * @relay: the relay; its end shows at its pidfd
 */
void relay_kill(struct relay *relay)
{
	close_fd(&relay->channel);
	relay->ready = false;
	if (relay->pidfd >= 0 && pidfd_send_signal(relay->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		log_error("relay: cannot kill it: %m");
}

/**
 * relay_reap() - take note of the relay's end, and decide when the next one starts
 * @relay: its pidfd is readable
 */
void relay_reap(struct relay *relay)
{
	uint64_t now = clock_ns();
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)relay->pidfd, &info, WEXITED) < 0)
		log_error("relay: cannot wait for it: %m");
	close_fd(&relay->pidfd);
	close_fd(&relay->channel);
	relay->ready = false;
	if (now - relay->started_ns >= LIFE_NS)
		relay->delay_ns = 0;
	relay->next_ns = now + relay->delay_ns;
	log_warn("relay: %s %d; the next one starts in %ju ms",
		 info.si_code == CLD_EXITED ? "ended with status" : "was ended by signal", info.si_status,
		 (uintmax_t)(relay->delay_ns / NS_PER_MS));
	relay->delay_ns = relay->delay_ns ? relay->delay_ns * 2 : DELAY_MIN_NS;
	if (relay->delay_ns > DELAY_MAX_NS)
		relay->delay_ns = DELAY_MAX_NS;
}

/**
 * relay_shutdown() - ask the relay to end, and see to it
 * @relay: one runs, or none
 */
void relay_shutdown(struct relay *relay)
{
	const struct priv_plain message = {.header = {.type = PRIV_SHUTDOWN, .size = sizeof(message)}};
	struct pollfd wait = {.fd = relay->pidfd, .events = POLLIN};

	if (relay->pidfd < 0)
		return;
	if (relay->channel < 0 || msg_send(relay->channel, &message, sizeof(message), NULL, 0, MSG_DONTWAIT) < 0 ||
	    TEMP_FAILURE_RETRY(poll(&wait, 1, SHUTDOWN_MS)) <= 0)
		relay_kill(relay);
	if (waitid(P_PIDFD, (id_t)relay->pidfd, &(siginfo_t){0}, WEXITED) < 0)
		log_error("relay: cannot wait for it: %m");
	close_fd(&relay->pidfd);
	close_fd(&relay->channel);
}
