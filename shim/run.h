/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run.h: what the parts of saferaw run and saferaw netns share
 *
 *	cmd_run.c    the command run         cmd_netns.c  the command netns
 *	run_link.c   the link: asked for, kept up, asked for again
 *	run_net.c    devices, addresses, routes and settings inside
 *	run_ns.c     the namespaces          run_ids.c    users and groups in them
 *	run_files.c  /etc/resolv.conf and /etc/hosts inside
 *	run_job.c    the program as a job: signals and ends
 *
 * Calls run from the top down.
 */
#ifndef SAFERAW_RUN_H
#define SAFERAW_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libsaferaw_int.h"

/* Exit statuses, those of env(1) and timeout(1); any other is the program's own */
#define RUN_FAILED 125	       /* saferaw itself failed: the program was not started */
#define RUN_NOT_EXECUTABLE 126 /* the program is there and cannot be executed */
#define RUN_NOT_FOUND 127

/* What the user asked for */
struct run_wish {
	const char *slice;    /* as for saferaw_connect() */
	uint32_t flags;	      /* PROTO_LINK_ */
	uint16_t port, count; /* of the block; 0: the broker chooses */
};

/* A user namespace and the network namespace that it owns, or -1 */
struct run_ns {
	int user, net;
};

/* A link: begun with the wish and the namespaces alone */
struct run_link {
	struct run_wish wish;
	struct run_ns ns;
	struct saferaw *saferaw;       /* the conversation that the link lives with; NULL while it is lost */
	char slice[PROTO_NAME_MAX];
	struct proto_link_reply reply; /* what the link is, or was last */
	uint64_t lost_ns, next_ns;     /* since when it is lost, when to try again */
	bool said;		       /* that it is lost */
};

/* The program and what it has started */
struct run_job {
	pid_t pid;	 /* of the program */
	bool ended;	 /* it has; others may be left */
	int status;	 /* as waitpid(2) says it */
	int signals;	 /* signalfd */
};

/* cmd_run.c */
int run_options(int argc, char **argv, struct run_wish *wish, bool stop, int *status);

/* run_ns.c. A run_inside returns an exit status, a run_work whether it worked. */
typedef int run_inside(int channel, void *arg);
typedef bool run_work(const void *arg);
pid_t run_ns_spawn(struct run_ns *ns, int flags, int *channel, run_inside *inside, void *arg);
bool run_ns_call(const struct run_ns *ns, run_work *work, const void *arg);
int run_ns_socket(const struct run_ns *ns);
void run_ns_close(struct run_ns *ns);

/* run_ids.c */
bool run_ids_map(pid_t pid);

/* run_link.c */
bool run_link_open(struct run_link *link);
int run_link_fd(const struct run_link *link);
int run_link_wait_ms(const struct run_link *link);
void run_link_work(struct run_link *link);
void run_link_close(struct run_link *link);

/* run_net.c */
bool run_net_configure(const void *reply);
bool run_net_remove(const void *addr);

/* run_files.c */
bool run_files_mount(const struct proto_link_reply *reply);

/* run_job.c */
bool run_job_begin(struct run_job *job, pid_t pid);
bool run_job_work(struct run_job *job);
int run_job_end(const struct run_job *job);

#endif
