/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * compat.h: constants of the kernel that are newer than Debian 12's headers
 *
 * The headers that may have them are included first: some are enumerators
 * there, which a macro of the same name must not precede.
 */
#ifndef SAFERAW_COMPAT_H
#define SAFERAW_COMPAT_H

#include <linux/bpf.h>

#ifndef BPF_TCX_INGRESS
#define BPF_TCX_INGRESS 46 /* Linux 6.6 */
#endif

#ifndef BPF_F_BEFORE
#define BPF_F_BEFORE (1U << 3) /* Linux 6.6 */
#endif

#endif
