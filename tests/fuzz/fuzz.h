/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h: what fuzz targets have in common: the entry, what must hold, and the script
 *
 * A target that plays a script reads its input byte by byte: each byte decides
 * something, and when the input is over every further one is 0.
 */
#ifndef SAFERAW_FUZZ_H
#define SAFERAW_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                              \
	do {                                                                                                         \
		if (!(condition)) {                                                                                  \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);               \
			abort();                                                                                     \
		}                                                                                                    \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* What is left of the input */
struct script {
	const uint8_t *at;
	size_t left;
};

/** script_next() - a byte of the script; 0 when it is over */
static inline uint8_t script_next(struct script *script)
{
	if (!script->left)
		return 0;
	script->left--;
	return *script->at++;
}

/** script_take() - so many bytes of the script, or what is left; the rest stays as it is */
static inline size_t script_take(struct script *script, void *to, size_t size)
{
	if (size > script->left)
		size = script->left;
	memcpy(to, script->at, size);
	script->at += size;
	script->left -= size;
	return size;
}

#endif
