/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libsaferaw_int.h: what the files of libsaferaw, and the command, share
 *
 * Lock order: there is one lock, saferaw.lock. It guards everything in the
 * handle that is neither atomic nor set once at connect, and is held through
 * a whole exchange with the broker.
 */
#ifndef SAFERAW_LIBSAFERAW_INT_H
#define SAFERAW_LIBSAFERAW_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "policy.h"
#include "proto.h"
#include "saferaw.h"
#include "util.h"

#define LIB_EVENTS_MAX 64
#define LIB_TEXT_MAX 256
#define LIB_ROUTES_MAX 4            /* routes that a flow's sender remembers */
#define LIB_WAIT_MS 15000           /* for one answer of the broker */
#define LIB_TRUST_NS (1 * NS_PER_S) /* a refusal does not rest on anything older */

/*
 * What the broker said of the slice, whole. Never changed once it is made:
 * news are a new one. Senders keep the one that they use by a reference.
 */
struct lib_info {
	unsigned refs; /* under the handle's lock */
	uint32_t mtu;
	struct policy_slice slice;
};

struct saferaw {
	/* set once, at connect */
	int sock;    /* control socket, non-blocking */
	int wake;    /* eventfd: 1 while events are kept */
	int poll_fd; /* epoll over the two: what saferaw_fd() gives */
	pid_t owner;
	unsigned wait_ms; /* for one answer of the broker */
	char slice[PROTO_NAME_MAX];

	/* news that senders look for without the lock */
	_Atomic(struct lib_info *) info; /* only compared without the lock */
	atomic_bool stale;               /* an event says that info is out of date */
	atomic_uint routes;              /* changes whenever remembered routes are void */

	pthread_mutex_t lock;
	unsigned refs;          /* the program's own, and one for each flow */
	bool closed;            /* by saferaw_disconnect() */
	int broken;             /* errno that ended the conversation, or 0 */
	uint32_t id;            /* of the last request */
	uint64_t info_ns;       /* when info was asked for last */
	unsigned first, events; /* kept events: index of the oldest, how many */
	struct proto_event event[LIB_EVENTS_MAX];
	char text[LIB_TEXT_MAX];
};

/* A route that a sender remembers */
struct lib_route {
	struct addr destination;
	unsigned routes; /* the handle's count when it was asked for */
	uint32_t mtu;    /* 0: none here */
	uint64_t asked_ns;
};

struct saferaw_flow {
	/* set once, at open */
	struct saferaw *saferaw;
	int fd;
	unsigned flags; /* SAFERAW_META, SAFERAW_ERRORS */
	uint64_t number;
	struct policy_flow policy;

	/* the sender's */
	struct lib_info *info;
	unsigned last_reason;
	unsigned next_route; /* the next to be forgotten */
	struct lib_route route[LIB_ROUTES_MAX];
};

struct bpf_insn;
struct sock_filter;

/* lib_talk.c: the conversation with the broker */
int lib_fail(struct saferaw *saferaw, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
int lib_note(struct saferaw *saferaw, int error, const char *text);
int lib_lock(struct saferaw *saferaw);
void lib_unlock(struct saferaw *saferaw);
int lib_exchange(struct saferaw *saferaw, void *request, void *reply, size_t size, int *fd);
int lib_ask(struct saferaw *saferaw, void *request, void *reply, size_t size);
void lib_take_events(struct saferaw *saferaw);

/* lib_info.c: what the broker said of the slice */
int lib_learn(struct saferaw *saferaw);
void lib_info_hold(struct saferaw_flow *flow);
void lib_info_put(struct lib_info *info);
enum verdict lib_check(struct saferaw_flow *flow, const void *packet, size_t length, bool ask);

/* libsaferaw.c: handles */
struct saferaw *lib_connect(const char *slice, int sock, unsigned wait_ms);
void lib_release(struct saferaw *saferaw, struct lib_info *snapshot);
int lib_list_slices(char (**names)[PROTO_NAME_MAX]);

/* lib_filter.c: filters */
unsigned lib_filter_shift(const struct bpf_insn *from, unsigned count, unsigned by, struct sock_filter *to);

#endif
