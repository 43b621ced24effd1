/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_verdict.c: the verdict against the reference, on packets that libFuzzer makes
 *
 * An input is two bytes that choose a scene, one byte whose lowest bit says
 * whether padding is allowed, and the packet. The mutator knows packets: it
 * builds new ones, breaks those that it has, sets lengths and sums right, and
 * now and then leaves it to libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "scene.h"

#define HEAD 3 /* bytes before the packet */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room) __attribute__((weak));

/** scene_of() - the scene that an input is for */
static const struct scene *scene_of(const uint8_t *input)
{
	return scene_get((unsigned)input[0] | (unsigned)input[1] << 8);
}

/**
 * LLVMFuzzerTestOneInput() - judge one input by both
 * @input: bytes
 * @size: of them
 *
 * The packet lies in memory of exactly its size, so that the address sanitizer
 * sees every byte read too far.
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct scene_tally tally;
	uint8_t *packet;

	if (size < HEAD || !(packet = malloc(size - HEAD ? size - HEAD : 1)))
		return 0;
	memcpy(packet, input + HEAD, size - HEAD);
	if (!scene_agree(scene_of(input), packet, size - HEAD, input[2] & 1, &tally))
		abort();
	free(packet);
	return 0;
}

/**
 * LLVMFuzzerCustomMutator() - make another input of one
 * @data: input, changed
 * @size: of it, bytes
 * @room: that it may take
 * @seed: what the change is drawn from
 *
 * Return: size of the new input
 */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
	struct dice dice = {.state = seed};
	struct shape shape = {.size = 0};
	struct shape_plan plan;

	if (dice_one_in(&dice, 4) || size < HEAD || room < HEAD)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, room) : size;
	if (dice_one_in(&dice, 4)) {
		data[0] = (uint8_t)dice_below(&dice, 256);
		data[1] = (uint8_t)dice_below(&dice, 256);
		data[2] = (uint8_t)dice_below(&dice, 2);
	}
	if (dice_one_in(&dice, 4)) {
		plan = scene_plan(scene_of(data), &dice);
		shape_build(&shape, &dice, &plan);
	} else {
		shape.size = size - HEAD < SHAPE_ROOM ? size - HEAD : SHAPE_ROOM;
		memcpy(shape.byte, data + HEAD, shape.size);
		shape_break(&shape, &dice);
	}
	if (shape.size > room - HEAD)
		shape.size = room - HEAD;
	memcpy(data + HEAD, shape.byte, shape.size);
	return HEAD + shape.size;
}
