/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rundir.c: the run directory and its lock
 *
 *   RUN_DIR/        0755  belongs to the monitor, nobody else may write
 *   RUN_DIR/lock          held with flock(2) as long as a monitor lives; has its pid in it
 *   RUN_DIR/slices/ 0755  control sockets, one for each slice
 *   RUN_DIR/state/  0700  what sysctls were before they were changed
 *   RUN_DIR/empty/  0555  the relay's root
 *
 * A monitor that was killed leaves all of it behind, but not the lock. Who
 * gets the lock removes the sockets, which nobody listens on any more; the
 * state is for sysctl_restore().
 */
#include "rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

static const struct {
	const char *name;
	mode_t mode;
} folders[] = {
	{"slices", 0755},
	{"state", 0700},
	{"empty", 0555},
};

/**
 * open_folder() - make a directory unless it is there, and open it
 * @at: directory that it is in, or AT_FDCWD
 * @name: of the directory
 * @mode: that it gets, also when it was there
 *
 * Return: the directory, or -1 after a log line: also when it belongs to
 * somebody else.
 */
static int open_folder(int at, const char *name, mode_t mode)
{
	struct stat st;
	int fd;

	if (mkdirat(at, name, mode) < 0 && errno != EEXIST) {
		log_error("run directory: cannot make %s: %m", name);
		return -1;
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		log_error("run directory: cannot open %s: %m", name);
		close_fd(&fd);
	} else if (st.st_uid != geteuid()) {
		log_error("run directory: %s belongs to uid %u", name, st.st_uid);
		close_fd(&fd);
	} else if (fchmod(fd, mode) < 0) {
		log_error("run directory: cannot set the mode of %s: %m", name);
		close_fd(&fd);
	}
	return fd;
}

/**
 * take_lock() - become the only monitor of this run directory
 * @dir: the run directory
 *
 * The monitor that stops removes the file, so after the lock is taken it must
 * still be the file that the name leads to.
 *
 * Return: the locked file, or -1 after a log line.
 */
static int take_lock(int dir)
{
	struct stat mine, named;

	for (;;) {
		int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd < 0) {
			log_error("run directory: cannot open its lock: %m");
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			log_error(errno == EWOULDBLOCK ? "already running"
						       : "run directory: cannot take its lock: %m");
			close_fd(&fd);
			return -1;
		}
		if (!fstat(fd, &mine) && !fstatat(dir, "lock", &named, AT_SYMLINK_NOFOLLOW) &&
		    mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
			/* whoever misses the pid is saferaw reserve, not the monitor */
			if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
				log_warn("run directory: cannot write to its lock: %m");
			return fd;
		}
		close_fd(&fd);
	}
}

/**
 * clear_folder() - remove everything in a directory
 * @fd: the directory; closed afterwards
 */
static void clear_folder(int fd)
{
	DIR *folder = fdopendir(fd);
	const struct dirent *entry;

	if (!folder) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(fd, entry->d_name, 0) < 0)
			log_warn("run directory: cannot remove %s: %m", entry->d_name);
	closedir(folder);
}

/**
 * rundir_open() - make the run directory as it should be, and take its lock
 * @path: of the directory
 *
 * Return: the lock, to be kept open, or -1 after a log line.
 */
int rundir_open(const char *path)
{
	int dir = open_folder(AT_FDCWD, path, 0755), lock_fd;

	if (dir < 0)
		return -1;
	lock_fd = take_lock(dir);
	for (size_t i = 0; lock_fd >= 0 && i < ARRAY_SIZE(folders); i++) {
		int fd = open_folder(dir, folders[i].name, folders[i].mode);

		if (fd < 0)
			close_fd(&lock_fd);
		else if (strcmp(folders[i].name, "slices") == 0)
			clear_folder(fd);
		else
			close_fd(&fd);
	}
	close_fd(&dir);
	return lock_fd;
}

/**
 * rundir_close() - remove the run directory and give the lock up
 * @path: of the directory
 * @lock_fd: from rundir_open(); -1 afterwards
 *
 * What is not empty stays: the state of a setting that could not be put back.
 */
void rundir_close(const char *path, int *lock_fd)
{
	int dir;

	if (*lock_fd < 0)
		return;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	for (size_t i = 0; dir >= 0 && i < ARRAY_SIZE(folders); i++)
		if (unlinkat(dir, folders[i].name, AT_REMOVEDIR) < 0)
			log_warn("run directory: cannot remove %s: %m", folders[i].name);
	if (dir >= 0 && unlinkat(dir, "lock", 0) < 0)
		log_warn("run directory: cannot remove its lock: %m");
	close_fd(&dir);
	close_fd(lock_fd);
	rmdir(path);
}
