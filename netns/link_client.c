/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_client.c: who asks for a link, and for which namespace
 *
 * The relay hands over the client's accepted control socket and nothing else,
 * and is not believed: the kernel tells whose conversation it is (the path that
 * the client connected to, SO_PEERCRED, SO_PEERGROUPS) and which network
 * namespace the client's socket was made in (SIOCGSKNS, which asks for
 * CAP_NET_ADMIN there). So no file that a client has chosen is ever received
 * here: closing one can wait for a file system of the client's own.
 *
 * A client gets a link into a namespace that he owns: the user namespace that
 * owns it is not the monitor's, and was made by his uid. So neither the host's
 * own namespace nor another user's gets one, whoever asks from inside.
 */
#include "link_client.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "control.h"
#include "enter.h"
#include "util.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

#define GROUPS_MAX 65536 /* the kernel's own limit */

/**
 * listed() - whether a number is in a list
 * @id: the number
 * @list: the list
 * @n: its length
 */
static bool listed(unsigned id, const unsigned *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == id)
			return true;
	return false;
}

/**
 * in_group() - whether a client is in one of a slice's groups
 * @sock: control socket
 * @slice: the slice
 * @gid: of the client
 */
static bool in_group(int sock, const struct conf_slice *slice, gid_t gid)
{
	static gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (listed(gid, slice->group, slice->groups))
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (unsigned i = 0; i < size / sizeof(groups[0]); i++)
		if (listed(groups[i], slice->group, slice->groups))
			return true;
	return false;
}

/**
 * in_named_netns() - whether a client is in one of the namespaces that the slice names, if it names any
 * @sock: control socket
 * @slice: the slice
 */
static bool in_named_netns(int sock, const struct conf_slice *slice)
{
	uint64_t cookie, named;
	socklen_t size = sizeof(cookie);

	if (!slice->peers)
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		return false;
	for (unsigned i = 0; i < slice->peers; i++)
		if (enter_cookie(slice->peer[i], &named) == 0 && named == cookie)
			return true;
	return false;
}

/**
 * link_client() - who is at the other end of a control socket
 * @sock: as the relay handed it over
 * @conf: configuration
 * @slice: that it is said to be of
 * @uid: filled in
 *
 * Return: 0, or -1 and errno: EINVAL it is no client's of that slice; EACCES he may not use it.
 */
int link_client(int sock, const struct conf *conf, const struct conf_slice *slice, uid_t *uid)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (!control_is(conf, slice->name, sock) || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0) {
		errno = EINVAL;
		return -1;
	}
	*uid = cred.uid;
	errno = EACCES;
	if (!in_named_netns(sock, slice))
		return -1;
	return listed(cred.uid, slice->user, slice->users) || in_group(sock, slice, cred.gid) ? 0 : -1;
}

/**
 * own_user_namespace() - whether a user namespace is the monitor's
 * @fd: its file
 *
 * Return: true also when that cannot be found out.
 */
static bool own_user_namespace(int fd)
{
	struct stat own, other;

	return stat("/proc/self/ns/user", &own) < 0 || fstat(fd, &other) < 0 ||
	       (own.st_dev == other.st_dev && own.st_ino == other.st_ino);
}

/**
 * link_client_netns() - the network namespace of a client, if it is his own
 * @sock: his control socket
 * @uid: of the client
 *
 * Return: its file, close-on-exec, or -1 and errno: EPERM it is not his.
 */
int link_client_netns(int sock, uid_t uid)
{
	int fd = ioctl(sock, SIOCGSKNS), user = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);
	uid_t owner = 0;
	bool his =
		user >= 0 && !own_user_namespace(user) && ioctl(user, NS_GET_OWNER_UID, &owner) == 0 && owner == uid;

	close_fd(&user);
	if (his)
		return fd;
	close_fd(&fd);
	errno = EPERM;
	return -1;
}
