/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sandbox.h: the relay gives up everything that it does not need
 */
#ifndef SAFERAW_SANDBOX_H
#define SAFERAW_SANDBOX_H

void sandbox_enter_root(int root_fd);
void sandbox_drop_powers(void);
void sandbox_limit(void);
void sandbox_filter_calls(void);

#endif
