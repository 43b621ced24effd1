/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * enter.h: namespace files, and going into a namespace and back (netns_call() itself is in netns.h)
 */
#ifndef SAFERAW_ENTER_H
#define SAFERAW_ENTER_H

#include <stdbool.h>
#include <stdint.h>

int enter_init(void);
int enter_open(const char *path);
int enter_new(void);
bool enter_same(int a, int b);
int enter_cookie(const char *path, uint64_t *cookie);
int enter_home(void);

#endif
