/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * util.h: small helpers that every part needs
 */
#ifndef SAFERAW_UTIL_H
#define SAFERAW_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL

uint64_t clock_ns(void);	  /* CLOCK_MONOTONIC, ns: what bpf_ktime_get_ns() returns */
uint64_t clock_wall_ns(void);	  /* CLOCK_REALTIME, ns */
void close_fd(int *fd);		  /* closes *fd if it is one, sets it to -1, keeps errno */
bool parse_u64(const char *text, uint64_t max, uint64_t *value); /* decimal digits alone */
bool parse_port_range(const char *text, uint16_t *lo, uint16_t *hi); /* "N" or "LO-HI", 1..65535 */
void random_bytes(void *buffer, size_t size); /* getrandom(2); cannot fail after boot */

#endif
