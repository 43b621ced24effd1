/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap.h: what the probes print (Test Anything Protocol)
 */
#ifndef SAFERAW_TAP_H
#define SAFERAW_TAP_H

#include <stdbool.h>

bool tap_ok(bool passed, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tap_need_root(void);
_Noreturn void tap_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void tap_bail(const char *what);
int tap_end(void);

#endif
