/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * identity.c: who is at the other end of a control socket
 *
 * Everything is asked of the kernel, which noted it when the client
 * connected: uid and gid (SO_PEERCRED), supplementary groups (SO_PEERGROUPS)
 * and, where the slice names namespaces, the cookie of the client's
 * (SO_NETNS_COOKIE; on an accepted socket it is the client's).
 *
 * A client may speak when its uid, gid or one of its groups is on one of the
 * slice's lists: of those who may open flows, and of those who may sniff. Root
 * may always ask questions, from any namespace, but is on a list only if it is
 * named there.
 */
#include "identity.h"

#include <errno.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define GROUPS_MAX 65536 /* the kernel's own limit */

/**
 * in_named_netns() - whether a client is in one of the namespaces that the slice names, if it names any
 * @slice: slice
 * @sock: accepted control socket
 */
static bool in_named_netns(const struct slice *slice, int sock)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);
	unsigned i;

	if (!slice->conf.record.peer_netns_named)
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		return false;
	for (i = 0; i < slice->conf.peers; i++)
		if (slice->conf.peer[i] == cookie)
			return true;
	return false;
}

/**
 * find_member() - the line of one of the slice's lists that a client is on
 * @slice: slice
 * @sock: accepted control socket
 * @cred: uid and gid of the client
 * @user: PRIV_MEMBER_, of users of that list
 * @group: PRIV_MEMBER_, of groups of that list
 *
 * Return: the line; its kind is 0 when there is none.
 */
static struct member find_member(const struct slice *slice, int sock, const struct ucred *cred, uint32_t user,
				 uint32_t group)
{
	static gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);
	struct member member = {user, cred->uid};
	unsigned i;

	if (slice_has_member(slice, member))
		return member;
	member = (struct member){group, cred->gid};
	if (slice_has_member(slice, member))
		return member;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		size = 0;
	for (i = 0; i < size / sizeof(groups[0]); i++) {
		member.id = groups[i];
		if (slice_has_member(slice, member))
			return member;
	}
	return (struct member){0};
}

/**
 * identity_check() - whether a client may speak to a slice
 * @slice: slice
 * @sock: accepted control socket
 * @opener: set to who it is
 *
 * Return: 0, or EPERM.
 */
int identity_check(const struct slice *slice, int sock, struct opener *opener)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	*opener = (struct opener){.uid = UINT32_MAX};
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return EPERM;
	opener->uid = cred.uid;
	if (in_named_netns(slice, sock)) {
		opener->by = find_member(slice, sock, &cred, PRIV_MEMBER_USER, PRIV_MEMBER_GROUP);
		opener->sniffs = find_member(slice, sock, &cred, PRIV_MEMBER_SNIFF_USER, PRIV_MEMBER_SNIFF_GROUP);
	}
	return opener->by.kind || opener->sniffs.kind || cred.uid == 0 ? 0 : EPERM;
}
