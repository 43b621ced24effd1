/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop.h: the relay's one event loop (epoll)
 */
#ifndef SAFERAW_LOOP_H
#define SAFERAW_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch;
typedef void watch_fn(struct watch *watch, uint32_t events);

/* One watched fd, a member of whatever owns it */
struct watch {
	watch_fn *ready; /* called with EPOLL bits */
	int fd;
	uint32_t events; /* EPOLL bits asked for; 0: not watched, so not even a hang-up is told */
};

#define container_of(member_pointer, type, member) ((type *)(void *)((char *)(member_pointer)-offsetof(type, member)))

int loop_init(void);
int loop_watch(struct watch *watch, uint32_t events);
void loop_close(struct watch *watch);
int loop_turn(void);
void loop_spend(unsigned work);
bool loop_late(unsigned work);
uint64_t loop_turns(void);

#endif
