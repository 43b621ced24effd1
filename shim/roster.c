/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * roster.c: the flows of one slice, in the order of their numbers
 *
 * Numbers only grow, so a new flow goes to the end and the array is sorted by
 * itself: finding one, or the next after one, is a binary search. A closed
 * flow leaves an empty row; when most rows are empty they are squeezed out,
 * which costs each flow a constant on average.
 */
#include "roster.h"

#include <stdlib.h>

#define ROOM_MIN 16

/**
 * first_above() - the first row whose number is above a number
 * @roster: roster
 * @number: number
 *
 * Return: its index, roster->used when there is none.
 */
static size_t first_above(const struct roster *roster, uint64_t number)
{
	size_t lo = 0, hi = roster->used;

	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;

		if (roster->row[middle].number > number)
			hi = middle;
		else
			lo = middle + 1;
	}
	return lo;
}

/**
 * row_of() - the row with a number
 * @roster: roster
 * @number: number
 *
 * Return: the row, or NULL.
 */
static struct roster_row *row_of(const struct roster *roster, uint64_t number)
{
	size_t above = first_above(roster, number);

	return above && roster->row[above - 1].number == number ? &roster->row[above - 1] : NULL;
}

/**
 * roster_append() - add a flow
 * @roster: roster
 * @number: above every number that was ever in it
 * @flow: flow
 *
 * Return: 0, or -1 and ENOMEM.
 */
int roster_append(struct roster *roster, uint64_t number, struct flow *flow)
{
	if (roster->used == roster->room) {
		size_t room = roster->room ? roster->room * 2 : ROOM_MIN;
		struct roster_row *row = reallocarray(roster->row, room, sizeof(*row));

		if (!row)
			return -1;
		roster->row = row;
		roster->room = room;
	}
	roster->row[roster->used++] = (struct roster_row){number, flow};
	roster->live++;
	return 0;
}

/**
 * roster_find() - the flow with a number
 * @roster: roster
 * @number: number
 *
 * Return: the flow, or NULL.
 */
struct flow *roster_find(const struct roster *roster, uint64_t number)
{
	const struct roster_row *row = row_of(roster, number);

	return row ? row->flow : NULL;
}

/**
 * roster_next() - the flow with the next higher number
 * @roster: roster
 * @after: number, of a flow or not
 * @number: set to the flow's
 *
 * Return: the flow, or NULL when there is none.
 */
struct flow *roster_next(const struct roster *roster, uint64_t after, uint64_t *number)
{
	size_t i;

	for (i = first_above(roster, after); i < roster->used; i++)
		if (roster->row[i].flow) {
			*number = roster->row[i].number;
			return roster->row[i].flow;
		}
	return NULL;
}

/**
 * roster_remove() - take a flow out
 * @roster: roster
 * @number: of a flow that is in it
 */
void roster_remove(struct roster *roster, uint64_t number)
{
	struct roster_row *row = row_of(roster, number);
	size_t i, kept = 0;

	if (!row || !row->flow)
		return;
	row->flow = NULL;
	roster->live--;
	if (roster->live >= roster->used / 2)
		return;
	for (i = 0; i < roster->used; i++)
		if (roster->row[i].flow)
			roster->row[kept++] = roster->row[i];
	roster->used = kept;
}

/**
 * roster_free() - let go of the roster's memory
 * @roster: empty afterwards
 */
void roster_free(struct roster *roster)
{
	free(roster->row);
	*roster = (struct roster){0};
}
