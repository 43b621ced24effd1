/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libsaferaw.c: handles of the client library
 *
 * What each function of the library promises is written in saferaw.h. The
 * library is in five files: handles here, the conversation with the broker in
 * lib_talk.c, what the broker said of the slice in lib_info.c, flows in
 * lib_flow.c, their filters in lib_filter.c.
 *
 * A handle is counted: the program has one reference and each flow another, so
 * that flows may outlive saferaw_disconnect(), which only ends the
 * conversation. A flow itself is a socket and needs no handle; what it takes
 * from it is the knowledge that saferaw_send() checks by.
 *
 * A text that says what went wrong belongs to the handle. When there is no
 * handle, because saferaw_connect() failed, it belongs to the thread; so does
 * the copy that saferaw_error() returns, or another thread could change it
 * while it is read.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "libsaferaw_int.h"

#ifndef RUN_DIR
#error "RUN_DIR is the broker's run directory, as in -DRUN_DIR='\"/run/saferaw\"'"
#endif

static _Thread_local struct {
	char connect[LIB_TEXT_MAX]; /* why saferaw_connect() failed */
	char copy[LIB_TEXT_MAX];    /* what saferaw_error() returned for a handle */
} texts;

/**
 * setting() - a variable of the environment, unless it cannot be trusted
 * @name: variable
 *
 * Return: its value; NULL when it is unset or empty, or the program gains privilege by its file
 */
static const char *setting(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

/**
 * slices_dir() - the directory of control sockets
 * @path: filled in
 * @room: bytes there
 *
 * Return: whether it fits
 */
static bool slices_dir(char *path, size_t room)
{
	const char *run = setting("SAFERAW_RUN_DIR");
	int n = snprintf(path, room, "%s/slices", run ? run : RUN_DIR);

	return n > 0 && (size_t)n < room;
}

/**
 * name_ok() - whether a text can be a slice's name
 * @name: text, not terminated
 * @length: bytes
 */
static bool name_ok(const char *name, size_t length)
{
	return length && length < PROTO_NAME_MAX && name[0] != '.' && !memchr(name, '/', length);
}

/**
 * is_socket_name() - whether a directory entry is a slice's control socket, by its name
 * @entry: entry
 *
 * Return: not 0 if it is, as scandir() wants it
 */
static int is_socket_name(const struct dirent *entry)
{
	const size_t suffix = strlen(PROTO_SOCKET_SUFFIX), length = strlen(entry->d_name);

	return length > suffix && !strcmp(entry->d_name + length - suffix, PROTO_SOCKET_SUFFIX) &&
	       name_ok(entry->d_name, length - suffix);
}

/**
 * lib_list_slices() - names of this host's slices, in alphabetical order
 * @names: set to an array that the caller frees
 *
 * Return: how many; or -1 and errno
 */
int lib_list_slices(char (**names)[PROTO_NAME_MAX])
{
	struct dirent **entries;
	char dir[PATH_MAX];
	int n, i;

	if (!slices_dir(dir, sizeof(dir))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	n = scandir(dir, &entries, is_socket_name, alphasort);
	if (n < 0)
		return -1;
	*names = calloc((size_t)n + 1, sizeof(**names));
	for (i = 0; i < n; i++) {
		if (*names)
			memcpy((*names)[i], entries[i]->d_name,
			       strlen(entries[i]->d_name) - strlen(PROTO_SOCKET_SUFFIX));
		free(entries[i]);
	}
	free(entries);
	return *names ? n : -1;
}

/**
 * find_socket() - the address of a slice's control socket
 * @saferaw: new handle; gets what to call the slice until the broker has said it
 * @slice: as the program gave it
 * @un: filled in
 *
 * Return: 0; or -1 and errno
 */
static int find_socket(struct saferaw *saferaw, const char *slice, struct sockaddr_un *un)
{
	char dir[PATH_MAX];
	int n;

	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(saferaw->slice, sizeof(saferaw->slice), "%s", slice);
	if (strchr(slice, '/')) {
		n = snprintf(un->sun_path, sizeof(un->sun_path), "%s", slice);
	} else {
		if (!name_ok(slice, strlen(slice)))
			return lib_fail(saferaw, EINVAL, "'%.64s' is not the name of a slice", slice);
		if (!slices_dir(dir, sizeof(dir)))
			return lib_fail(saferaw, ENAMETOOLONG, "$SAFERAW_RUN_DIR is too long");
		n = snprintf(un->sun_path, sizeof(un->sun_path), "%s/%s" PROTO_SOCKET_SUFFIX, dir, slice);
	}
	if (n < 0 || (size_t)n >= sizeof(un->sun_path))
		return lib_fail(saferaw, ENAMETOOLONG, "the path of slice '%s' is too long for a socket",
				saferaw->slice);
	return 0;
}

/**
 * open_socket() - connect the control socket
 * @saferaw: new handle; may have the socket already
 * @un: where to
 *
 * A full backlog makes connect() wait, hence the send timeout, which is what
 * bounds it (socket(7)).
 *
 * Return: 0; or -1 and errno
 */
static int open_socket(struct saferaw *saferaw, const struct sockaddr_un *un)
{
	const struct timeval wait = {.tv_sec = saferaw->wait_ms / 1000, .tv_usec = saferaw->wait_ms % 1000 * 1000};
	struct sockaddr_storage ss = {0};

	memcpy(&ss, un, sizeof(*un));
	if (saferaw->sock < 0)
		saferaw->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (saferaw->sock < 0)
		return lib_fail(saferaw, errno, "cannot make a socket: %m");
	if (setsockopt(saferaw->sock, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return lib_fail(saferaw, errno, "cannot bound the wait for the broker: %m");
	if (!connect(saferaw->sock, (const struct sockaddr *)&ss, sizeof(*un)))
		return 0;
	if (errno == EAGAIN)
		errno = ETIMEDOUT;
	else if (errno == EPROTOTYPE) /* some other kind of AF_UNIX socket */
		errno = EPROTO;
	return lib_fail(saferaw, errno, "cannot reach slice '%s' at %s: %m", saferaw->slice, un->sun_path);
}

/**
 * open_poll() - make what saferaw_fd() gives
 * @saferaw: new handle with its control socket
 *
 * Return: 0; or -1 and errno
 */
static int open_poll(struct saferaw *saferaw)
{
	struct epoll_event event = {.events = EPOLLIN};

	saferaw->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	saferaw->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (saferaw->wake < 0 || saferaw->poll_fd < 0 ||
	    epoll_ctl(saferaw->poll_fd, EPOLL_CTL_ADD, saferaw->sock, &event) < 0 ||
	    epoll_ctl(saferaw->poll_fd, EPOLL_CTL_ADD, saferaw->wake, &event) < 0)
		return lib_fail(saferaw, errno, "cannot prepare for events: %m");
	return 0;
}

/**
 * greet() - say hello and see who is there
 * @saferaw: new handle with its control socket; gets the slice's name
 *
 * Return: 0; or -1 and errno
 */
static int greet(struct saferaw *saferaw)
{
	struct proto_hello hello = {.header = {.type = PROTO_HELLO, .size = sizeof(hello)}, .version = PROTO_VERSION};
	struct proto_hello_reply reply;

	if (lib_exchange(saferaw, &hello, &reply, sizeof(reply), NULL) < 0)
		return -1;
	if (reply.error == EPERM)
		return lib_fail(saferaw, EPERM, "slice '%s': user %u is not a member", saferaw->slice,
				(unsigned)geteuid());
	if (reply.error == EUSERS)
		return lib_fail(saferaw, EUSERS, "slice '%s' has as many clients as it may have", saferaw->slice);
	if (reply.error == EPROTO || (!reply.error && reply.version != PROTO_VERSION))
		return lib_fail(saferaw, EPROTO, "slice '%s': the broker speaks version %u of the protocol, not %u",
				saferaw->slice, reply.version, PROTO_VERSION);
	if (reply.error)
		return lib_fail(saferaw, reply.error, "slice '%s': %m", saferaw->slice);
	if (!name_ok(reply.slice, strnlen(reply.slice, sizeof(reply.slice))))
		return lib_fail(saferaw, EPROTO, "slice '%s': the broker did not say its name", saferaw->slice);
	memcpy(saferaw->slice, reply.slice, sizeof(saferaw->slice));
	return 0;
}

/**
 * handle_new() - a handle that has nothing open yet
 *
 * Return: the handle; or NULL and ENOMEM
 */
static struct saferaw *handle_new(void)
{
	struct saferaw *saferaw = calloc(1, sizeof(*saferaw));

	if (!saferaw)
		return NULL;
	saferaw->sock = saferaw->wake = saferaw->poll_fd = -1;
	saferaw->owner = getpid();
	saferaw->refs = 1;
	pthread_mutex_init(&saferaw->lock, NULL); /* cannot fail with default attributes */
	return saferaw;
}

/**
 * admits() - whether a slice has this user on its list
 * @saferaw: new handle, for its patience
 * @name: of the slice
 *
 * Asked in a conversation of its own. A slice that is full counts: it has him on
 * its list.
 *
 * Return: 1 or 0; or -1 and errno when the broker does not answer
 */
static int admits(struct saferaw *saferaw, const char *name)
{
	struct saferaw *probe = handle_new();
	struct sockaddr_un un;
	int error = 0;

	if (!probe)
		return lib_fail(saferaw, ENOMEM, "%m");
	probe->wait_ms = saferaw->wait_ms;
	if (find_socket(probe, name, &un) < 0 || open_socket(probe, &un) < 0 || greet(probe) < 0)
		error = errno;
	if (error == ETIMEDOUT)
		lib_fail(saferaw, error, "%s", probe->text);
	saferaw_disconnect(probe);
	errno = error;
	return error == ETIMEDOUT ? -1 : !error || error == EUSERS;
}

/**
 * choose() - find the only one of several slices that has this user on its list
 * @saferaw: new handle
 * @names: their names
 * @n: how many
 *
 * Return: its index; or -1 and errno
 */
static int choose(struct saferaw *saferaw, char (*names)[PROTO_NAME_MAX], int n)
{
	char list[LIB_TEXT_MAX / 2] = "";
	int i, found = -1, admitted = 0;
	size_t used = 0;

	for (i = 0; i < n; i++) {
		int answer = admits(saferaw, names[i]);

		if (answer < 0)
			return -1;
		if (!answer)
			continue;
		found = i;
		if (used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", admitted ? ", " : "",
						 names[i]);
		admitted++;
	}
	if (!admitted)
		return lib_fail(saferaw, EPERM, "user %u is a member of no slice here", (unsigned)geteuid());
	if (admitted > 1)
		return lib_fail(saferaw, ENOTUNIQ, "there are several slices, name one of them: %s", list);
	return found;
}

/**
 * only_slice() - find the only slice of this host, or the only one that has this user on its list
 * @saferaw: new handle
 * @name: gets its name
 *
 * Return: 0; or -1 and errno, ENOTUNIQ when there are several
 */
static int only_slice(struct saferaw *saferaw, char name[PROTO_NAME_MAX])
{
	char(*names)[PROTO_NAME_MAX], dir[PATH_MAX];
	int n, which = 0;

	if (!slices_dir(dir, sizeof(dir)))
		return lib_fail(saferaw, ENAMETOOLONG, "$SAFERAW_RUN_DIR is too long");
	n = lib_list_slices(&names);
	if (n < 0)
		return lib_fail(saferaw, errno, "%.128s: %m", dir);
	if (!n)
		which = lib_fail(saferaw, ENOENT, "%.128s: there is no slice", dir);
	else if (n > 1)
		which = choose(saferaw, names, n);
	if (which >= 0)
		memcpy(name, names[which], PROTO_NAME_MAX);
	free(names);
	return which < 0 ? -1 : 0;
}

/**
 * lib_connect() - begin a conversation with a slice's broker
 * @slice: as for saferaw_connect()
 * @sock: a new control socket, which is the handle's then; or -1
 * @wait_ms: for one answer of the broker, in the whole conversation
 *
 * Return: as saferaw_connect()
 */
struct saferaw *lib_connect(const char *slice, int sock, unsigned wait_ms)
{
	struct saferaw *saferaw = handle_new();
	char name[PROTO_NAME_MAX];
	struct sockaddr_un un;

	if (!saferaw) {
		snprintf(texts.connect, sizeof(texts.connect), "%m");
		close_fd(&sock);
		return NULL;
	}
	saferaw->sock = sock;
	saferaw->wait_ms = wait_ms;
	if (!slice)
		slice = setting("SAFERAW_SLICE");
	if (!slice && !only_slice(saferaw, name))
		slice = name;
	if (slice && !find_socket(saferaw, slice, &un) && !open_socket(saferaw, &un) && !open_poll(saferaw) &&
	    !greet(saferaw) && !lib_learn(saferaw))
		return saferaw;
	memcpy(texts.connect, saferaw->text, sizeof(texts.connect));
	saferaw_disconnect(saferaw);
	return NULL;
}

/** saferaw_connect() - begin a conversation with a slice's broker (saferaw.h) */
struct saferaw *saferaw_connect(const char *slice)
{
	return lib_connect(slice, -1, LIB_WAIT_MS);
}

/**
 * lib_release() - let go of a handle, and of its lock
 * @saferaw: handle; locked, unless this is a child of the process that made it
 * @snapshot: the snapshot that goes with the reference, or NULL
 *
 * A child has one thread and must not touch the lock, which may have been held
 * when it was born.
 */
void lib_release(struct saferaw *saferaw, struct lib_info *snapshot)
{
	bool last = !--saferaw->refs;

	lib_info_put(snapshot);
	if (getpid() == saferaw->owner)
		pthread_mutex_unlock(&saferaw->lock);
	if (!last)
		return;
	lib_info_put(saferaw->info);
	pthread_mutex_destroy(&saferaw->lock);
	free(saferaw);
}

/** saferaw_disconnect() - end a conversation (saferaw.h) */
void saferaw_disconnect(struct saferaw *saferaw)
{
	int saved = errno;

	if (!saferaw)
		return;
	lib_lock(saferaw);
	saferaw->closed = true;
	close_fd(&saferaw->poll_fd);
	close_fd(&saferaw->wake);
	close_fd(&saferaw->sock);
	lib_release(saferaw, NULL);
	errno = saved;
}

/** saferaw_slice() - name of the slice (saferaw.h) */
const char *saferaw_slice(const struct saferaw *saferaw)
{
	return saferaw->slice;
}

/** saferaw_error() - what went wrong last, for people (saferaw.h) */
const char *saferaw_error(struct saferaw *saferaw)
{
	int saved = errno;

	if (!saferaw)
		return texts.connect;
	if (lib_lock(saferaw) < 0) {
		snprintf(texts.copy, sizeof(texts.copy), "the handle belongs to another process");
		errno = saved;
		return texts.copy;
	}
	memcpy(texts.copy, saferaw->text, sizeof(texts.copy));
	lib_unlock(saferaw);
	errno = saved;
	return texts.copy;
}

/** saferaw_fd() - a file descriptor to wait on for events (saferaw.h) */
int saferaw_fd(const struct saferaw *saferaw)
{
	return saferaw->poll_fd;
}
