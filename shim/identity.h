/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * identity.h: who is at the other end of a control socket
 */
#ifndef SAFERAW_IDENTITY_H
#define SAFERAW_IDENTITY_H

#include "flow.h"

int identity_check(const struct slice *slice, int sock, struct opener *opener);

#endif
