/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rundir.h: the run directory and its lock
 */
#ifndef SAFERAW_RUNDIR_H
#define SAFERAW_RUNDIR_H

int rundir_open(const char *path);
void rundir_close(const char *path, int *lock_fd);

#endif
