/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verdicts.c: the verdict against the reference, on very many packets
 *
 *	verdicts [RUNS [SEED]]
 *
 * What fuzz_verdict does, without libFuzzer and so a hundred times as fast: a
 * scene is drawn, a packet built for it, and the packet judged; half of them
 * are broken before. An execution is one packet, judged by both in both
 * directions. Ends with 0 when they always agreed; the first disagreement is
 * printed and ends it with 1. The seed makes it the same again; without one it
 * is the time, and without arguments both are fixed, which is what make check
 * does.
 *
 * On standard output: executions, how many a second, and how often which
 * verdict was given, so that it can be seen that every reason was met.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scene.h"

#define RUNS 1000000
#define SEED 1

/** now() - seconds of the monotonic clock */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/** run() - judge packets until there were enough, or two disagree; returns how many */
static uint64_t run(uint64_t runs, struct dice *dice, struct scene_tally *tally)
{
	static struct shape shape;
	uint64_t i;

	for (i = 0; i < runs; i++) {
		const struct scene *scene = scene_get(dice_below(dice, scene_count()));
		struct shape_plan plan = scene_plan(scene, dice);

		shape_build(&shape, dice, &plan);
		if (dice_one_in(dice, 2))
			shape_break(&shape, dice);
		if (!scene_agree(scene, shape.byte, shape.size, dice_one_in(dice, 2), tally))
			break;
	}
	return i;
}

/** main() - see the top */
int main(int argc, char **argv)
{
	uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : RUNS, done;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? (uint64_t)time(NULL) : SEED;
	struct dice dice = {.state = seed};
	struct scene_tally tally = {.sent = {0}};
	double start = now();
	unsigned i;

	if (!runs) {
		fprintf(stderr, "usage: verdicts [RUNS [SEED]]\n");
		return 2;
	}
	done = run(runs, &dice, &tally);
	printf("%" PRIu64 " executions, seed %" PRIu64 ", %.0f a second, %s\n", done, seed,
	       (double)done / (now() - start), done == runs ? "no disagreement" : "a disagreement");
	printf("%-16s %12s %12s\n", "verdict", "sent", "received");
	for (i = 0; i < VERDICTS_N; i++)
		if (tally.sent[i] || tally.received[i])
			printf("%-16s %12" PRIu64 " %12" PRIu64 "\n", verdict_name((enum verdict)i), tally.sent[i],
			       tally.received[i]);
	return done == runs ? 0 : 1;
}
