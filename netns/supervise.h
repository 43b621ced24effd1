/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * supervise.h: the monitor's main loop
 */
#ifndef SAFERAW_SUPERVISE_H
#define SAFERAW_SUPERVISE_H

#include "monitor.h"
#include "notify.h"

int supervise(struct monitor *m, struct notify *notify, int signal_fd);

#endif
