/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_job.c: the program as a job: signals and ends
 *
 * Who starts a program by saferaw run should not notice the process in
 * between.
 *
 *  - The program stays in the same process group and session, so it has the
 *    terminal exactly as it would have it otherwise. What the terminal sends
 *    reaches every process of the group; what kill(2) sends to this one alone is
 *    passed on. The kernel says which is which (SI_KERNEL).
 *  - When the program stops, this process stops too, so that the shell sees a
 *    stopped job. SIGTSTP itself does nothing here: a program may catch it.
 *  - When the program was killed by a signal, this process dies of the same.
 *
 * This process is a subreaper: what the program leaves behind (a daemon, a job
 * in the background) becomes its child, and it ends only with the last of them,
 * for as long as anybody can use the link. By then a signal goes to all that is
 * left. A PID namespace would give the same, and more: nothing could outlive
 * it. But the program would see other process ids than everybody else, and need
 * its own /proc, which not every host lets it mount. The price is that kill -9
 * of this process kills the program (PR_SET_PDEATHSIG), not what the program
 * has started: those processes lose their network.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"
#include "run.h"

/* What is passed on to the program */
static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT};

/**
 * run_job_begin() - take over the signals
 * @job: filled in
 * @pid: of the program, a child of this process
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_job_begin(struct run_job *job, pid_t pid)
{
	sigset_t signals;
	unsigned i;

	*job = (struct run_job){.pid = pid};
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	for (i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(&signals, passed_on[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	job->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (job->signals < 0)
		cmd_error("no signalfd: %s", strerror(errno));
	return job->signals >= 0;
}

/**
 * signal_all() - send a signal to every child
 * @number: signal
 */
static void signal_all(int number)
{
	char path[64];
	FILE *file;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	while (file && fscanf(file, "%d", &pid) == 1)
		kill(pid, number);
	if (file)
		fclose(file);
}

/**
 * pass_on() - pass a signal on
 * @job: job
 * @info: signal
 */
static void pass_on(const struct run_job *job, const struct signalfd_siginfo *info)
{
	if (info->ssi_code == SI_KERNEL)
		return; /* of the terminal: they have it */
	if (job->ended)
		signal_all((int)info->ssi_signo);
	else
		kill(job->pid, (int)info->ssi_signo);
}

/**
 * reap() - take in what became of the children
 * @job: job
 *
 * Return: whether any are left
 */
static bool reap(struct run_job *job)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != job->pid)
			continue;
		if (WIFSTOPPED(status)) {
			kill(getpid(), SIGSTOP);
			continue;
		}
		job->ended = true;
		job->status = status;
	}
	return pid == 0;
}

/**
 * run_job_work() - take in the signals that have come
 * @job: job
 *
 * Return: false when the last process of the job has ended
 */
bool run_job_work(struct run_job *job)
{
	struct signalfd_siginfo info;

	/* first all of them: where SIGCONT has come, the program no longer counts as stopped */
	while (read(job->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			pass_on(job, &info);
	return reap(job);
}

/**
 * run_job_end() - end as the program has ended
 * @job: has ended
 *
 * Does not return when a signal killed it, unless that signal cannot kill.
 *
 * Return: exit status
 */
int run_job_end(const struct run_job *job)
{
	const struct rlimit none = {0, 0};
	sigset_t signals;
	int number;

	if (!WIFSIGNALED(job->status))
		return WEXITSTATUS(job->status);
	number = WTERMSIG(job->status);
	setrlimit(RLIMIT_CORE, &none); /* the core that matters is the program's */
	signal(number, SIG_DFL);
	sigemptyset(&signals);
	sigaddset(&signals, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	return 128 + number;
}
