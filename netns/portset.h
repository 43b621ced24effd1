/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portset.h: a set of ports, and the text that the kernel writes for one
 */
#ifndef SAFERAW_PORTSET_H
#define SAFERAW_PORTSET_H

#include <stddef.h>
#include <stdint.h>

#define PORTSET_PORTS 65536
#define PORTSET_TEXT (512u << 10) /* room for the text of any set */

struct portset {
	uint8_t bits[PORTSET_PORTS / 8];
};

void portset_add(struct portset *ports, unsigned lo, unsigned hi);
int portset_parse(const char *text, struct portset *ports);
size_t portset_print(const struct portset *ports, char text[static PORTSET_TEXT]);

#endif
