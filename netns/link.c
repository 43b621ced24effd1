/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link.c: a namespace's links to the namespaces of clients
 *
 * A link is a pair of devices: the near end is here, has no address, and
 * carries steer_link; the far one is the client's "eth0". The client is root
 * in there and sets it up himself, so nothing but the pair is made, and his
 * namespace is neither entered nor kept open: when it ends, both ends go, and
 * the watch of uplink.c hears of it.
 *
 * Whatever ends a link (the relay, the client's namespace, root's hand, a reload)
 * the rest is taken back in one place: steering forgets it first, then the
 * device goes, then the ports lose the reference that the link had on them. That
 * reference is the monitor's own: a relay that releases the ports of a link
 * gives them to nobody else as long as the link is there.
 *
 * The near ends are one group of devices, which can be removed at once: each
 * alone waits for everything that may use it. The group's number comes from
 * the packet TUN's, of which there is one in the namespace. What a killed
 * monitor has left is known by name.
 *
 * A number is given again only after all others were, so that what is on its
 * way about an old link does not meet a new one.
 */
#include "link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "log.h"
#include "netlink.h"
#include "permit.h"
#include "reserve.h"
#include "steering.h"
#include "sysctl.h"
#include "util.h"
#include "veth.h"

#define NAME_INFIX "l" /* between the packet TUN's name and a link's number */
#define GROUP_MARK 0x53460000U
#define GROUP_MARK_MASK 0xffff0000U
#define SWEEP_MAX 64 /* groups and devices that were left over: more means that something else is wrong */

struct link {
	struct steer_link steer;
	uid_t uid;
	dev_t peer_dev; /* of the file of the client's namespace */
	ino_t peer_ino;
	bool gone; /* its device, or its right to be there */
};

struct links {
	struct mnl_socket *nl;
	uint32_t last; /* the last number given */
	struct link *link[STEER_LINKS_MAX];
};

/* A device that a dump has shown */
struct found {
	const struct netns *ns;
	unsigned ifindex; /* 0: none */
	uint32_t group;
};

/**
 * group_of() - the group of a namespace's links
 * @ns: the namespace
 */
static uint32_t group_of(const struct netns *ns)
{
	return GROUP_MARK | (ns->tun_ifindex & ~GROUP_MARK_MASK);
}

/**
 * link_named() - whether a device is a link's
 * @ns: the namespace
 * @name: of the device
 * @kind: of the device
 *
 * Return: true also for one that an earlier monitor left.
 */
bool link_named(const struct netns *ns, const char *name, const char *kind)
{
	size_t n = strlen(ns->conf.tun);

	if (strcmp(kind, "veth") != 0 || strncmp(name, ns->conf.tun, n) != 0)
		return false;
	name += n;
	if (strncmp(name, NAME_INFIX, strlen(NAME_INFIX)) != 0)
		return false;
	name += strlen(NAME_INFIX);
	return *name && name[strspn(name, "0123456789")] == '\0';
}

/**
 * keep_leftover() - note a device that is a link's
 * @message: part of a dump
 * @arg: struct found
 */
static void keep_leftover(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attribute[IFLA_MAX + 1], *about[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *info = nl_parse(message, sizeof(*info), attribute, IFLA_MAX);
	struct found *found = arg;

	nl_parse_nested(attribute[IFLA_LINKINFO], about, IFLA_INFO_MAX);
	if (!info || !link_named(found->ns, nl_text(attribute[IFLA_IFNAME]), nl_text(about[IFLA_INFO_KIND])))
		return;
	found->ifindex = (unsigned)info->ifi_index;
	found->group = nl_u32(attribute[IFLA_GROUP], 0);
}

/**
 * sweep() - remove links that a killed monitor has left
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int sweep(const struct netns *ns)
{
	const struct mnl_socket *nl = ns->links->nl;

	for (unsigned i = 0; i < SWEEP_MAX; i++) {
		_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
		struct nlmsghdr *request = nl_request(buffer, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
		struct found found = {.ns = ns};
		int result = -1;

		if (nl_ask(nl, request, keep_leftover, &found) < 0 && errno != EINTR)
			return -1;
		if (!found.ifindex)
			return 0;
		log_info("%s: removing links that an earlier saferawd left", ns->conf.name);
		if ((found.group & GROUP_MARK_MASK) == GROUP_MARK)
			result = veth_remove_group(nl, found.group);
		if (result < 0 && veth_remove(nl, found.ifindex) < 0)
			return -1;
	}
	errno = EBUSY;
	return -1;
}

/**
 * link_init() - no links yet
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
int link_init(struct netns *ns)
{
	ns->links = calloc(1, sizeof(*ns->links));
	if (!ns->links)
		return -1;
	ns->links->nl = nl_open(ns, NETLINK_ROUTE, 0);
	if (ns->links->nl && sweep(ns) == 0)
		return 0;
	link_free(ns);
	return -1;
}

/**
 * count() - how many links a slice has
 * @ns: the namespace
 * @slice: number
 */
static unsigned count(const struct netns *ns, unsigned slice)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < STEER_LINKS_MAX; i++)
		n += ns->links->link[i] && ns->links->link[i]->steer.slice == slice;
	return n;
}

/**
 * has_link() - whether a client's namespace has a link already
 * @ns: the namespace
 * @peer: of the client's file
 */
static bool has_link(const struct netns *ns, const struct stat *peer)
{
	for (uint32_t i = 1; i < STEER_LINKS_MAX; i++) {
		const struct link *link = ns->links->link[i];

		if (link && !link->gone && link->peer_dev == peer->st_dev && link->peer_ino == peer->st_ino)
			return true;
	}
	return false;
}

/**
 * free_number() - a number that no link has
 * @links: the links
 *
 * Return: the number, or 0 when all are taken.
 */
static uint32_t free_number(struct links *links)
{
	for (unsigned i = 1; i < STEER_LINKS_MAX; i++) {
		links->last = links->last % (STEER_LINKS_MAX - 1) + 1;
		if (!links->link[links->last])
			return links->last;
	}
	return 0;
}

/**
 * claim_of() - what a link has of one class
 * @link: the link
 * @class: the class
 *
 * Return: the claim; hi 0: nothing.
 */
static struct priv_claim claim_of(const struct link *link, unsigned class)
{
	return (struct priv_claim){
		.slice = link->steer.slice,
		.uid = link->uid,
		.class = (uint8_t) class,
		.address = PRIV_ANY_ADDRESS,
		.family = AF_UNSPEC,
		.lo = link->steer.lo[class],
		.hi = link->steer.hi[class],
	};
}

/**
 * let_go() - take back the references on the ports of the first classes
 * @ns: the namespace
 * @link: the link
 * @classes: how many
 * @quarantine_ms: how long a port without references stays held
 */
static void let_go(struct netns *ns, const struct link *link, unsigned classes, unsigned quarantine_ms)
{
	for (unsigned class = 0; class < classes; class ++) {
		const struct priv_claim claim = claim_of(link, class);

		if (claim.hi && reserve_release(ns, &claim, quarantine_ms) < 0)
			log_error("%s: a link's ports were not held: %m", ns->conf.name);
	}
}

/**
 * hold() - a reference on all ports of a link
 * @ns: the namespace
 * @order: what the link is to be
 * @link: the link
 *
 * Return: 0, or -1 and errno, with none.
 */
static int hold(struct netns *ns, const struct link_order *order, const struct link *link)
{
	for (unsigned class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct priv_claim claim = claim_of(link, class);
		uint16_t port;
		int error;

		if (!claim.hi || reserve_acquire(ns, order->slice, &claim, &port) == 0)
			continue;
		error = errno;
		let_go(ns, link, class, 0);
		errno = error;
		return -1;
	}
	return 0;
}

/**
 * settle_device() - no IPv6 of its own on the near end, and up with it
 * @ns: the namespace
 * @name: of the device
 * @ifindex: of the device
 *
 * Return: 0, or -1 and errno.
 */
static int settle_device(const struct netns *ns, const char *name, unsigned ifindex)
{
	char path[64];

	snprintf(path, sizeof(path), "ipv6/conf/%s/disable_ipv6", name);
	if (sysctl_set(ns, NULL, path, "1", false) < 0 && errno != ENOENT)
		return -1;
	return veth_up(ns->links->nl, ifindex);
}

/**
 * make_device() - the pair, with steering on the near end before it is up
 * @ns: the namespace
 * @peer: file of the client's namespace
 * @number: of the link
 * @link: the link; its ifindex is filled in
 *
 * Return: 0, or -1, errno, and nothing left.
 */
static int make_device(struct netns *ns, int peer, uint32_t number, struct link *link)
{
	const struct mnl_socket *nl = ns->links->nl;
	char name[IFNAMSIZ];
	const struct veth veth = {
		.name = name, .peer_name = PRIV_LINK_DEVICE, .peer = peer, .mtu = ns->mtu, .group = group_of(ns)};
	int error;

	if (snprintf(name, sizeof(name), "%s" NAME_INFIX "%u", ns->conf.tun, number) >= IFNAMSIZ) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (veth_make(nl, &veth) < 0)
		return -1;
	link->steer.ifindex = veth_find(nl, name);
	if (link->steer.ifindex && steering_link(ns, number, &link->steer) == 0) {
		if (settle_device(ns, name, link->steer.ifindex) == 0)
			return 0;
		error = errno;
		steering_unlink(ns, number, &link->steer);
	} else {
		error = errno;
	}
	veth_remove(nl, link->steer.ifindex);
	errno = error;
	return -1;
}

/**
 * link_make() - make a link
 * @ns: the namespace
 * @order: what it is to be
 * @number: filled in
 *
 * Return: 0, or -1 and errno: ENOSPC, EBUSY, EEXIST as in struct priv_linked, and others.
 */
int link_make(struct netns *ns, const struct link_order *order, uint32_t *number)
{
	struct link *link;
	struct stat peer;

	if (fstat(order->peer, &peer) < 0)
		return -1;
	errno = EBUSY;
	if (has_link(ns, &peer))
		return -1;
	errno = ENOSPC;
	if (count(ns, order->slice->number) >= order->slice->links_max)
		return -1;
	*number = free_number(ns->links);
	link = *number ? calloc(1, sizeof(*link)) : NULL;
	if (!link)
		return -1;
	*link = (struct link){.uid = order->uid, .peer_dev = peer.st_dev, .peer_ino = peer.st_ino};
	link->steer.slice = order->slice->number;
	link->steer.flags = order->request->flags;
	memcpy(link->steer.lo, order->request->lo, sizeof(link->steer.lo));
	memcpy(link->steer.hi, order->request->hi, sizeof(link->steer.hi));
	if (hold(ns, order, link) == 0) {
		if (make_device(ns, order->peer, *number, link) == 0) {
			ns->links->link[*number] = link;
			return 0;
		}
		let_go(ns, link, STEER_LINK_CLASSES, 0);
	}
	free(link);
	return -1;
}

/**
 * forget() - everything of a link but its device ends
 * @ns: the namespace
 * @number: of the link
 * @quarantine_ms: how long a port without references stays held
 */
static void forget(struct netns *ns, uint32_t number, unsigned quarantine_ms)
{
	struct link *link = ns->links->link[number];

	steering_unlink(ns, number, &link->steer);
	let_go(ns, link, STEER_LINK_CLASSES, quarantine_ms);
	ns->links->link[number] = NULL;
	free(link);
}

/**
 * link_end() - end a link
 * @ns: the namespace
 * @number: of the link; nothing happens when there is none
 * @quarantine_ms: how long its ports stay held
 */
void link_end(struct netns *ns, uint32_t number, unsigned quarantine_ms)
{
	unsigned ifindex;

	if (number >= STEER_LINKS_MAX || !ns->links->link[number])
		return;
	ifindex = ns->links->link[number]->steer.ifindex;
	forget(ns, number, quarantine_ms);
	if (veth_remove(ns->links->nl, ifindex) < 0)
		log_error("%s: cannot remove a link's device: %m", ns->conf.name);
}

/**
 * link_end_all() - end all links
 * @ns: the namespace
 * @quarantine_ms: how long their ports stay held
 */
void link_end_all(struct netns *ns, unsigned quarantine_ms)
{
	unsigned ended = 0;

	for (uint32_t i = 1; i < STEER_LINKS_MAX; i++)
		if (ns->links->link[i]) {
			forget(ns, i, quarantine_ms);
			ended++;
		}
	if (ended && veth_remove_group(ns->links->nl, group_of(ns)) < 0)
		log_error("%s: cannot remove the links' devices: %m", ns->conf.name);
}

/**
 * link_free() - end all links, and free
 * @ns: the namespace. errno stays.
 */
void link_free(struct netns *ns)
{
	int saved = errno;

	if (ns->steering)
		link_end_all(ns, 0);
	nl_close(&ns->links->nl);
	free(ns->links);
	ns->links = NULL;
	errno = saved;
}

/**
 * link_next_gone() - end one link that cannot stay
 * @ns: the namespace
 * @quarantine_ms: how long its ports stay held
 *
 * Return: its number, or 0 when there is none.
 */
uint32_t link_next_gone(struct netns *ns, unsigned quarantine_ms)
{
	for (uint32_t i = 1; i < STEER_LINKS_MAX; i++)
		if (ns->links->link[i] && ns->links->link[i]->gone) {
			link_end(ns, i, quarantine_ms);
			return i;
		}
	return 0;
}

/**
 * covered() - whether the configuration has room for a link
 * @ns: the namespace
 * @conf: configuration
 * @link: the link
 */
static bool covered(const struct netns *ns, const struct conf *conf, const struct link *link)
{
	const struct steer_link *steer = &link->steer;
	const struct conf_slice *slice = NULL;

	for (unsigned i = 0; i < conf->slices; i++)
		if (conf->slice[i].number == steer->slice && netns_has_slice(ns, conf, &conf->slice[i]))
			slice = &conf->slice[i];
	for (unsigned class = 0; slice && class < STEER_LINK_CLASSES; class ++) {
		const struct policy_range range = {
			.class = (uint8_t) class, .lo = steer->lo[class], .hi = steer->hi[class]};

		if (range.hi && !permit_has_range(ns, slice, PRIV_ANY_ADDRESS, &range))
			slice = NULL;
	}
	return slice;
}

/**
 * link_refit() - after a reload: note the links that the configuration does not cover any more
 * @ns: the namespace
 * @conf: the new configuration
 */
void link_refit(struct netns *ns, const struct conf *conf)
{
	for (uint32_t i = 1; i < STEER_LINKS_MAX; i++) {
		struct link *link = ns->links->link[i];

		if (link && !covered(ns, conf, link))
			link->gone = true;
	}
}

/**
 * find() - the link that has a device
 * @ns: the namespace
 * @ifindex: of the device
 *
 * Return: the link, or NULL.
 */
static struct link *find(const struct netns *ns, unsigned ifindex)
{
	for (uint32_t i = 1; ns->links && i < STEER_LINKS_MAX; i++)
		if (ns->links->link[i] && ns->links->link[i]->steer.ifindex == ifindex)
			return ns->links->link[i];
	return NULL;
}

/**
 * link_heard() - a message about a device
 * @ns: the namespace
 * @message: RTM_NEWLINK or RTM_DELLINK
 *
 * Return: whether the device is, or was, a link's: then it is nobody else's business.
 */
bool link_heard(struct netns *ns, const struct nlmsghdr *message)
{
	const struct nlattr *found[IFLA_MAX + 1], *about[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *info = nl_parse(message, sizeof(*info), found, IFLA_MAX);
	struct link *link = info ? find(ns, (unsigned)info->ifi_index) : NULL;

	nl_parse_nested(found[IFLA_LINKINFO], about, IFLA_INFO_MAX);
	if (link && message->nlmsg_type == RTM_DELLINK)
		link->gone = true;
	return link || link_named(ns, nl_text(found[IFLA_IFNAME]), nl_text(about[IFLA_INFO_KIND]));
}

/**
 * link_bared() - a filter or a qdisc was removed from a device
 * @ns: the namespace
 * @ifindex: of the device
 *
 * Nobody but us puts one on a link, so it was ours: without it the link cannot stay.
 *
 * Return: whether the device is a link's.
 */
bool link_bared(struct netns *ns, unsigned ifindex)
{
	struct link *link = find(ns, ifindex);

	if (link)
		link->gone = true;
	return link;
}

/**
 * link_look() - find out which links have lost their device
 * @ns: the namespace
 */
void link_look(struct netns *ns)
{
	for (uint32_t i = 1; ns->links && i < STEER_LINKS_MAX; i++) {
		struct link *link = ns->links->link[i];

		if (link && !veth_there(ns->links->nl, link->steer.ifindex))
			link->gone = true;
	}
}
