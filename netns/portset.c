/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portset.c: a set of ports, and the text that the kernel writes for one
 *
 * One bit for each port. The text is that of ip_local_reserved_ports: numbers and
 * ranges, in order, with commas between them.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "portset.h"

/**
 * has_port() - whether a set has a port
 * @ports: set
 * @port: port
 */
static bool has_port(const struct portset *ports, unsigned port)
{
	return ports->bits[port / 8] >> port % 8 & 1;
}

/**
 * portset_add() - add ports to a set
 * @ports: set
 * @lo: first
 * @hi: last
 */
void portset_add(struct portset *ports, unsigned lo, unsigned hi)
{
	for (; lo <= hi; lo++)
		ports->bits[lo / 8] |= (uint8_t)(1u << lo % 8);
}

/**
 * portset_parse() - the set that a list says
 * @text: "N,LOW-HIGH,...", as the kernel prints it; may be empty
 * @ports: filled in
 *
 * Return: 0, or -1 and EPROTO
 */
int portset_parse(const char *text, struct portset *ports)
{
	unsigned lo, hi;
	int n = 0;

	memset(ports, 0, sizeof(*ports));
	for (; *text && *text != '\n'; text += n) {
		if (sscanf(text, "%5u%n", &lo, &n) != 1)
			goto bad;
		text += n;
		hi = lo;
		n = 0;
		if (*text == '-' && sscanf(text, "-%5u%n", &hi, &n) != 1)
			goto bad;
		text += n;
		if (lo > hi || hi >= PORTSET_PORTS || !strchr(",\n", *text))
			goto bad;
		portset_add(ports, lo, hi);
		n = *text == ',';
	}
	return 0;
bad:
	errno = EPROTO;
	return -1;
}

/**
 * portset_print() - the list that says a set
 * @ports: set
 * @text: PORTSET_TEXT bytes
 *
 * Return: length
 */
size_t portset_print(const struct portset *ports, char text[static PORTSET_TEXT])
{
	unsigned lo, hi;
	size_t n = 0;

	text[0] = '\0';
	for (lo = 0; lo < PORTSET_PORTS; lo = hi + 1) {
		hi = lo;
		if (!has_port(ports, lo))
			continue;
		while (hi + 1 < PORTSET_PORTS && has_port(ports, hi + 1))
			hi++;
		n += (size_t)snprintf(text + n, PORTSET_TEXT - n, "%s%u", n ? "," : "", lo);
		if (hi > lo)
			n += (size_t)snprintf(text + n, PORTSET_TEXT - n, "-%u", hi);
	}
	return n;
}
