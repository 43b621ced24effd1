/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reception.h: who comes to a slice's control socket, and who has to leave
 */
#ifndef SAFERAW_RECEPTION_H
#define SAFERAW_RECEPTION_H

#include "world.h"

void reception_ready(struct watch *listener, uint32_t events);
void reception_review(struct slice *slice);
void reception_close(struct slice *slice);

#endif
