/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tun.c: the devices of an attached namespace that a process holds: two TUNs and a TAP
 *
 * The packet TUN carries the slices' packets; the relay holds a duplicate of
 * its queue. The helper TUN is never read or written: it is the device that
 * steer_out asks the routing table about, since a look-up needs forwarding
 * switched on and the packet TUN must not have that. The link TAP carries what
 * the relay has to translate for links; it has a link header, in which the
 * number of the link is.
 *
 * A multi-queue TUN without an owner accepts a further queue from anybody who
 * may open /dev/net/tun, with no privilege at all. So each device is made in
 * a namespace that only the monitor is in, is given an owner that nobody is,
 * and is then moved to where it belongs: there is no moment in which somebody
 * else could reach it without an owner. Moving also fails when the name is
 * taken, where TUNSETIFF would join the other device.
 *
 * The holder of a TUN queue can change the device's settings without any
 * capability. The relay's system call filter has no ioctl, but the monitor
 * does not rely on that: tun_settle() puts every setting back after each
 * relay.
 */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "enter.h"
#include "log.h"
#include "netlink.h"
#include "util.h"

#define NOBODY 0xfffffffeUL /* an id that the kernel accepts and no process has */
#define VNET_HEADER 10      /* bytes: the kernel's default, sizeof(struct virtio_net_hdr) */
#define NAME_TRIES 20       /* a monitor that was killed a moment ago may leave its TUN until its relay is dead too */
#define NAME_WAIT_NS 50000000L /* between two tries */

/* A device under construction */
struct making {
	const char *name;
	short flags; /* IFF_TUN or IFF_TAP, and IFF_MULTI_QUEUE */
	int fd;
	unsigned ifindex;
};

/**
 * settle_fd() - put back every setting that the holder of a queue can change
 * @fd: the queue
 *
 * Return: 0, or -1 and errno of the first that failed.
 */
static int settle_fd(int fd)
{
	int no_program = -1, everything = INT_MAX, header = VNET_HEADER, on = 1;

	if (ioctl(fd, TUNSETOWNER, NOBODY) < 0 || ioctl(fd, TUNSETGROUP, NOBODY) < 0 ||
	    ioctl(fd, TUNSETPERSIST, 0UL) < 0 || ioctl(fd, TUNSETOFFLOAD, 0UL) < 0 ||
	    ioctl(fd, TUNSETSNDBUF, &everything) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
	    ioctl(fd, TUNSETSTEERINGEBPF, &no_program) < 0 || ioctl(fd, TUNSETFILTEREBPF, &no_program) < 0 ||
	    ioctl(fd, TUNSETCARRIER, &on) < 0)
		return -1;
	return fcntl(fd, F_SETFL, O_NONBLOCK);
}

/**
 * make_inside() - make the device in the namespace that the caller is in
 * @arg: the struct making; its fd and ifindex are filled in
 *
 * Return: 0, or -1 and errno; its fd may be open then.
 */
static int make_inside(void *arg)
{
	struct making *making = arg;
	struct ifreq request = {.ifr_flags = (short)(IFF_NO_PI | making->flags)};

	making->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (making->fd < 0)
		return -1;
	memcpy(request.ifr_name, making->name, strnlen(making->name, IFNAMSIZ - 1));
	if (ioctl(making->fd, TUNSETIFF, &request) < 0)
		return -1;
	making->ifindex = if_nametoindex(making->name);
	return making->ifindex ? settle_fd(making->fd) : -1;
}

/**
 * find_inside() - the device's number in the namespace that the caller is in
 * @arg: the struct making; its ifindex is filled in
 *
 * Return: 0, or -1 and errno.
 */
static int find_inside(void *arg)
{
	struct making *making = arg;

	making->ifindex = if_nametoindex(making->name);
	return making->ifindex ? 0 : -1;
}

/**
 * move() - move a device to another namespace
 * @nl: NETLINK_ROUTE socket of the namespace that it is in
 * @ifindex: the device, there
 * @to: file of the other namespace
 *
 * Return: 0, or -1 and errno: EEXIST when a device there has its name.
 */
static int move(const struct mnl_socket *nl, unsigned ifindex, int to)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	struct ifinfomsg *link = mnl_nlmsg_get_payload(request);

	link->ifi_index = (int)ifindex;
	mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)to);
	for (unsigned tries = 1;; tries++) {
		if (!nl_ask(nl, request, NULL, NULL))
			return 0;
		if (errno != EEXIST || tries >= NAME_TRIES)
			return -1;
		nanosleep(&(struct timespec){.tv_nsec = NAME_WAIT_NS}, NULL);
	}
}

/**
 * make() - make a device and bring it to its namespace
 * @ns: the namespace
 * @making: name and flags; the rest is filled in
 *
 * Return: 0, or -1, errno, and nothing left.
 */
static int make(const struct netns *ns, struct making *making)
{
	struct netns workshop = {.fd = enter_new()};
	struct mnl_socket *nl = NULL;
	int result = -1;

	making->fd = -1;
	if (workshop.fd < 0)
		return -1;
	nl = nl_open(&workshop, NETLINK_ROUTE, 0);
	if (nl && !netns_call(&workshop, make_inside, making) &&
	    !move(nl, making->ifindex, ns->fd < 0 ? enter_home() : ns->fd) && !netns_call(ns, find_inside, making))
		result = 0;
	if (result < 0)
		close_fd(&making->fd);
	nl_close(&nl);
	close_fd(&workshop.fd);
	return result;
}

/**
 * tun_settle() - put the settings of what a relay held back
 * @ns: the namespace
 *
 * A queue that was detached is attached again; one that is attached refuses
 * that with EINVAL. The link TAP has only one queue, which cannot be detached.
 *
 * Return: 0, or -1 and errno.
 */
int tun_settle(const struct netns *ns)
{
	struct ifreq request = {.ifr_flags = IFF_ATTACH_QUEUE};

	if (ioctl(ns->tun_fd, TUNSETQUEUE, &request) < 0 && errno != EINVAL)
		return -1;
	return settle_fd(ns->tun_fd) < 0 ? -1 : settle_fd(ns->tap_fd);
}

/**
 * tun_remove() - remove the devices, whoever still holds a queue of them
 * @ns: the namespace
 *
 * A relay that does not close its duplicate, or that has made the device
 * persistent, would keep it there without steering.
 */
void tun_remove(const struct netns *ns)
{
	const unsigned ifindex[] = {ns->tun_ifindex, ns->helper_ifindex, ns->tap_ifindex};
	const char *const name[] = {ns->tun_name, ns->helper_name, ns->tap_name};
	struct mnl_socket *nl = nl_open(ns, NETLINK_ROUTE, 0);

	for (size_t i = 0; i < ARRAY_SIZE(ifindex); i++) {
		_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
		struct nlmsghdr *request = nl_request(buffer, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
		struct ifinfomsg *link = mnl_nlmsg_get_payload(request);

		link->ifi_index = (int)ifindex[i];
		if (!nl || (nl_ask(nl, request, NULL, NULL) < 0 && errno != ENODEV))
			log_warn("%s: cannot remove device %s: %m", ns->conf.name, name[i]);
	}
	nl_close(&nl);
}

/**
 * tun_close() - give the devices up; they go with their last holder
 * @ns: the namespace. errno stays.
 */
void tun_close(struct netns *ns)
{
	close_fd(&ns->tun_fd);
	close_fd(&ns->helper_fd);
	close_fd(&ns->tap_fd);
}

/**
 * open_one() - make one of the devices
 * @ns: the namespace
 * @suffix: of its name, behind the packet TUN's
 * @flags: IFF_TUN or IFF_TAP, and IFF_MULTI_QUEUE
 * @name: filled in
 * @ifindex: filled in
 *
 * Return: its queue, or -1 and errno.
 */
static int open_one(const struct netns *ns, const char *suffix, short flags, char name[static IFNAMSIZ],
		    unsigned *ifindex)
{
	struct making making = {.name = name, .flags = flags};

	if (snprintf(name, IFNAMSIZ, "%s%s", ns->conf.tun, suffix) >= IFNAMSIZ) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (make(ns, &making) < 0)
		return -1;
	*ifindex = making.ifindex;
	return making.fd;
}

/**
 * tun_open() - make the devices, down
 * @ns: the namespace; its tun_, helper_ and tap_ fields are filled in
 *
 * Return: 0, or -1, errno, and nothing left.
 */
int tun_open(struct netns *ns)
{
	ns->tun_fd = open_one(ns, "", IFF_TUN | IFF_MULTI_QUEUE, ns->tun_name, &ns->tun_ifindex);
	if (ns->tun_fd >= 0)
		ns->helper_fd = open_one(ns, "h", IFF_TUN, ns->helper_name, &ns->helper_ifindex);
	if (ns->helper_fd >= 0)
		ns->tap_fd = open_one(ns, "l", IFF_TAP, ns->tap_name, &ns->tap_ifindex);
	if (ns->tap_fd >= 0)
		return 0;
	tun_close(ns);
	return -1;
}
