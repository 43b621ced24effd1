/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spawn.h: the relay's process: start, end, and start again
 */
#ifndef SAFERAW_SPAWN_H
#define SAFERAW_SPAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"

struct relay {
	int pidfd;           /* -1: there is no relay */
	int channel;         /* priv.h, the monitor's end; -1: none, or the relay is being killed */
	bool ready;          /* PRIV_READY has come */
	uint64_t started_ns; /* of the one that runs */
	uint64_t next_ns;    /* when to start one, while there is none */
	uint64_t delay_ns;   /* how long the next wait is */
};

void relay_init(struct relay *relay);
int relay_start(struct relay *relay, const struct conf *conf);
void relay_kill(struct relay *relay);
void relay_reap(struct relay *relay);
void relay_shutdown(struct relay *relay);

#endif
