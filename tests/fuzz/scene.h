/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scene.h: slices and flows that packets are judged for, by the verdict and by the reference
 */
#ifndef SAFERAW_FUZZ_SCENE_H
#define SAFERAW_FUZZ_SCENE_H

#include "policy.h"
#include "shape.h"
#include "../reference/verdict.h"

/* One slice and one flow, as either side has them */
struct scene {
	bool fragments; /* the slice may send them */
	struct policy_flow flow;
	struct reference_flow reference;
};

/* What has been judged, by direction and verdict */
struct scene_tally {
	uint64_t sent[VERDICTS_N], received[VERDICTS_N];
};

unsigned scene_count(void);
const struct scene *scene_get(unsigned number);
struct shape_plan scene_plan(const struct scene *scene, struct dice *dice);
bool scene_agree(const struct scene *scene, const uint8_t *packet, size_t size, bool padded,
		 struct scene_tally *tally);

#endif
