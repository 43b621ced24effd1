/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reload.h: from one configuration to the next
 */
#ifndef SAFERAW_RELOAD_H
#define SAFERAW_RELOAD_H

#include "monitor.h"

struct conf *reload_read(const char *path);
int reload_apply(struct monitor *m, struct conf *conf);
void reload(struct monitor *m);
void reload_mend(struct monitor *m, unsigned index);
void reload_detach_all(struct monitor *m);

#endif
