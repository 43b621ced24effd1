/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * holder.c: one socket that holds a port
 *
 * It keeps everybody else from binding the port, and keeps the host silent on
 * it even while steering is away: a filter that drops everything is on it
 * before it is bound, and TCP listens (with no backlog), since a port that is
 * bound and not listening answers with RST. Nothing is ever read from it, and
 * nothing queues up.
 *
 * Every address of both families is one IPv6 socket with IPV6_V6ONLY off.
 * No flag that lets others share is set, and IP_FREEBIND is, so that an
 * address which goes away between the look and the bind can be held all the same.
 *
 * An ICMP identifier is held by a ping socket. The kernel gives it out once for
 * all addresses and both families, if SO_REUSEADDR is off (for ping
 * sockets it is on from the start), so one socket does. Who may have ping
 * sockets says net.ipv4.ping_group_range, by group. If that is no group
 * at all, nobody can take the identifier and there is nothing to be held. If
 * it is other groups than ours, the socket is made under the first of them:
 * another process could take the identifier, and the setting need not be changed.
 *
 * SCTP, DCCP and UDP-Lite may be modules, and asking for a socket would load
 * them; newer kernels have no DCCP and no UDP-Lite at all. So the kernel's list
 * of protocols is looked at first, and what is not on it has no ports that
 * anybody could take. When such a module comes later, what is held without a
 * socket stays so: the host's stack then answers there while steering is away.
 *
 * GRE keys and whole protocols cannot be held: raw sockets share them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "holder.h"
#include "util.h"

#define PING_GROUPS "/proc/sys/net/ipv4/ping_group_range"
#define PROTOCOLS "/proc/net/protocols"
#define PROTOCOLS_NS NS_PER_S /* how long the list is taken to be right: holders come in thousands */

/* The sockets of the classes. `listed`: their name in the kernel's list, NULL for what every kernel has. */
static const struct {
	int type, protocol;
	int backlog; /* of listen(2), -1: it does not listen */
	const char *listed;
} kinds[STEER_CLASSES] = {
	[CLASS_TCP] = {SOCK_STREAM, IPPROTO_TCP, 0, NULL},
	[CLASS_UDP] = {SOCK_DGRAM, IPPROTO_UDP, -1, NULL},
	[CLASS_ICMP] = {SOCK_DGRAM, IPPROTO_ICMP, -1, NULL},
	[CLASS_SCTP] = {SOCK_STREAM, IPPROTO_SCTP, 1, "SCTP"}, /* with 0 it would stop to listen */
	[CLASS_DCCP] = {SOCK_DCCP, IPPROTO_DCCP, 0, "DCCP"},
	[CLASS_UDPLITE] = {SOCK_DGRAM, IPPROTO_UDPLITE, -1, "UDP-Lite"},
	[CLASS_GRANT] = {0, 0, -1, ""}, /* no socket owns these: on no list */
};

/**
 * holder_for_all() - whether one holder keeps a port on all addresses
 * @class: enum steer_class
 */
bool holder_for_all(unsigned class)
{
	return class == CLASS_ICMP || class == CLASS_GRANT;
}

/**
 * set_flag() - set an integer socket option
 * @fd: socket
 * @level: option's level
 * @name: option
 * @value: value
 *
 * Return: 0, or -1 and errno
 */
static int set_flag(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/**
 * ping_groups() - which groups may have ping sockets in this namespace
 * @low: first; set on success
 *
 * Return: 1, 0 if none may, or -1 and errno
 */
static int ping_groups(gid_t *low)
{
	FILE *fp = fopen(PING_GROUPS, "re");
	unsigned lo, hi;
	int n;

	if (!fp)
		return -1;
	n = fscanf(fp, "%u %u", &lo, &hi);
	fclose(fp);
	if (n != 2) {
		errno = EPROTO;
		return -1;
	}
	*low = lo;
	return lo <= hi;
}

/**
 * ping_socket() - make a ping socket, under another group if need be
 * @fd: set on success; -1 when nobody can have one
 *
 * Return: 0, or -1 and errno
 */
static int ping_socket(int *fd)
{
	int type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, rc, saved;
	gid_t own = getegid(), group = 0;

	*fd = socket(AF_INET, type, IPPROTO_ICMP);
	if (*fd >= 0 || errno != EACCES)
		return *fd < 0 ? -1 : 0;
	rc = ping_groups(&group);
	if (rc <= 0)
		return rc;
	if (setegid(group) < 0)
		return -1;
	*fd = socket(AF_INET, type, IPPROTO_ICMP);
	saved = errno;
	if (setegid(own) < 0) {
		close_fd(fd);
		return -1;
	}
	errno = saved;
	return *fd < 0 ? -1 : 0;
}

/**
 * read_listed() - which of the classes that may be absent the kernel has
 * @listed: set
 *
 * Return: 0, or -1 and errno
 */
static int read_listed(bool listed[static STEER_CLASSES])
{
	FILE *file = fopen(PROTOCOLS, "re");
	char line[256], name[32];
	unsigned i;

	if (!file)
		return -1;
	memset(listed, 0, STEER_CLASSES * sizeof(*listed));
	while (fgets(line, sizeof(line), file))
		for (i = 0; i < STEER_CLASSES && sscanf(line, "%31s", name) == 1; i++)
			listed[i] |= kinds[i].listed && !strcmp(name, kinds[i].listed);
	fclose(file);
	return 0;
}

/**
 * is_absent() - whether the kernel has no ports of a class
 * @class: enum steer_class
 *
 * Return: 1, 0, or -1 and errno
 */
static int is_absent(unsigned class)
{
	static bool listed[STEER_CLASSES];
	static uint64_t read_ns;
	uint64_t now = clock_ns();

	if (!kinds[class].listed)
		return 0;
	if (!read_ns || now - read_ns > PROTOCOLS_NS) {
		if (read_listed(listed) < 0)
			return -1;
		read_ns = now;
	}
	return !listed[class];
}

/**
 * make_socket() - the socket for a holder, not bound
 * @holder: what for; fd is set
 * @family: set to the socket's family
 *
 * Return: 0 (with fd -1 if nothing needs holding), or -1 and errno
 */
static int make_socket(struct holder *holder, int *family)
{
	int type = kinds[holder->class].type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol = kinds[holder->class].protocol;
	int absent = is_absent(holder->class);

	*family = holder->families ? (holder->families & HOLDER_V6 ? AF_INET6 : AF_INET) : addr_family(&holder->addr);
	if (holder->class == CLASS_ICMP) {
		*family = AF_INET;
		return ping_socket(&holder->fd);
	}
	if (absent)
		return absent < 0 ? -1 : 0;
	holder->fd = socket(*family, type, protocol);
	if (holder->fd < 0 && errno == EAFNOSUPPORT && holder->families == HOLDER_BOTH) {
		/* a kernel without IPv6: IPv4 is everything */
		*family = AF_INET;
		holder->fd = socket(*family, type, protocol);
	}
	return holder->fd < 0 ? -1 : 0;
}

/**
 * close_to_all() - make a socket take nothing and share nothing, before it is bound
 * @holder: its socket
 * @family: the socket's
 *
 * Return: 0, or -1 and errno
 */
static int close_to_all(const struct holder *holder, int family)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop};
	int fd = holder->fd;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -1;
	if (holder->class == CLASS_ICMP)
		return set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 0);
	if (family == AF_INET6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, holder->families != HOLDER_BOTH) < 0)
		return -1;
	return set_flag(fd, IPPROTO_IP, IP_FREEBIND, 1);
}

/**
 * bind_socket() - take the port
 * @holder: its socket
 * @family: the socket's
 *
 * Return: 0, or -1 and errno
 */
static int bind_socket(const struct holder *holder, int family)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(holder->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(holder->port)};
	struct sockaddr_storage ss;
	socklen_t size = family == AF_INET6 ? sizeof(in6) : sizeof(in);

	memset(&ss, 0, sizeof(ss));
	if (!holder->families)
		addr_to_sockaddr(&holder->addr, holder->port, &ss);
	else if (family == AF_INET6)
		memcpy(&ss, &in6, sizeof(in6));
	else
		memcpy(&ss, &in, sizeof(in));
	if (bind(holder->fd, (const struct sockaddr *)&ss, size) < 0)
		return -1;
	return kinds[holder->class].backlog < 0 ? 0 : listen(holder->fd, kinds[holder->class].backlog);
}

/**
 * holder_open() - hold a port
 * @holder: what to hold; fd is set
 *
 * Return: 0, or -1 and errno: EADDRINUSE if another socket has the port
 */
int holder_open(struct holder *holder)
{
	int family;

	holder->fd = -1;
	if (make_socket(holder, &family) < 0)
		return -1;
	if (holder->fd < 0 || (close_to_all(holder, family) == 0 && bind_socket(holder, family) == 0))
		return 0;
	close_fd(&holder->fd);
	return -1;
}
