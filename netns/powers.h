/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * powers.h: the capabilities of the monitor and of the relay that it starts
 */
#ifndef SAFERAW_POWERS_H
#define SAFERAW_POWERS_H

int powers_check(void);
int powers_reduce(void);
int powers_relay_prepare(void);
int powers_relay_finish(void);

#endif
