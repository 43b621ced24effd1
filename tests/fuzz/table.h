/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table.h: the tables of a translation, beside the reference
 */
#ifndef SAFERAW_FUZZ_TABLE_H
#define SAFERAW_FUZZ_TABLE_H

#include "../reference/napt.h"
#include "napt.h"

void table_learn(const struct napt *napt, struct reference_napt *reference);
void table_check(const struct napt *napt, const struct reference_napt *reference);

#endif
