/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sysctl.h: the host's settings that the monitor changes, recorded before they are changed
 */
#ifndef SAFERAW_SYSCTL_H
#define SAFERAW_SYSCTL_H

#include "netns.h"

/*
 * Set net sysctl `name` ("ipv4/conf/lo/accept_local") in ns. With record, its
 * old value goes first into RUN_DIR/state/NETNS.sysctl; a value that is
 * already right is neither written nor recorded. 0, or -1 and errno; a setting
 * that the kernel does not have is -1 and ENOENT.
 */
int sysctl_set(const struct netns *ns, const char *run_dir, const char *name, const char *value, bool record);
/* Add ranges to (or take ours out of) net.ipv4.ip_local_reserved_ports; what others put there stays */
int sysctl_reserve_ports(const struct netns *ns, const char *run_dir, const struct conf *conf);
/* Put back everything recorded for ns and delete the record; 0 also when there is none. At start (after a kill -9) and at stop. */
int sysctl_restore(const struct netns *ns, const char *run_dir);

#endif
