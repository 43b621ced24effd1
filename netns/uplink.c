/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uplink.c: a namespace's devices, addresses and routes as they come and go
 *
 * The watch socket is a doorbell: its messages say that something about devices
 * (devices.c), addresses (addresses.c), routes or forwarding has changed, and nearly
 * nothing else is taken from them. uplink_read() empties it, adds up what kinds of news
 * there were, and then reads devices and addresses anew over the query socket.
 * So start, change and overrun (the kernel dropped messages: everything is
 * news) are one piece of code, a thousand route changes are one, and the order
 * of messages cannot matter. Since a change is announced after it was made, a
 * dump that comes too early is followed by another message.
 *
 * After an overrun the kernel drops messages, without saying so again, until
 * the socket has been found empty. The news then stay noted until that is so.
 *
 * A device of ours that is missing, and a filter that somebody has removed,
 * cannot be mended in place: the monitor is told, and attaches the namespace
 * anew.
 */
#include "uplink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addresses.h"
#include "devices.h"
#include "link.h"
#include "log.h"
#include "netlink.h"
#include "pkt.h"
#include "proxied.h"
#include "route.h"
#include "steering.h"
#include "sysctl.h"
#include "util.h"

/* Kinds of news */
#define NEWS_DEVICES 0x01
#define NEWS_ADDRESSES 0x02
#define NEWS_ROUTES 0x04
#define NEWS_FORWARDING 0x08
#define NEWS_FILTERS 0x10
#define NEWS_ALL 0x1f

#define OWN_DEVICES 3  /* packet TUN, helper, link TAP */
#define DRAIN_MAX 4096 /* messages taken from the watch at once: other work waits meanwhile */
#define DUMP_TRIES 8   /* of a dump that changes are made under */

struct uplinks {
	struct mnl_socket *watch, *query;
	unsigned news; /* NEWS_ not acted on yet */
	struct devices devices;
	struct addresses addresses;
	unsigned own; /* our own devices in the dump that is being read */
};

/**
 * take_device() - a device of the dump
 * @message: RTM_NEWLINK
 * @arg: the namespace
 */
static void take_device(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct netns *ns = arg;

	devices_take(&ns->uplinks->devices, ns, message);
	if (mnl_nlmsg_get_payload_len(message) >= sizeof(*info) && netns_made(ns, (unsigned)info->ifi_index))
		ns->uplinks->own++;
}

/**
 * take_address() - an address of the dump
 * @message: RTM_NEWADDR
 * @arg: the namespace
 */
static void take_address(const struct nlmsghdr *message, void *arg)
{
	struct netns *ns = arg;

	addresses_take(&ns->uplinks->addresses, ns, &ns->uplinks->devices, message);
}

/**
 * dump() - ask for all of something
 * @ns: the namespace; the seen marks of its devices and addresses begin clear
 * @request: what to ask
 * @take: called for each
 *
 * Return: 0, or -1 and errno; EINTR when it kept changing.
 */
static int dump(struct netns *ns, struct nlmsghdr *request, nl_each *take)
{
	struct uplinks *u = ns->uplinks;

	for (unsigned tries = 0; tries < DUMP_TRIES; tries++) {
		devices_forget_seen(&u->devices);
		addresses_forget_seen(&u->addresses);
		if (!nl_ask(u->query, request, take, ns))
			return 0;
		if (errno != EINTR)
			return -1;
	}
	return -1;
}

/**
 * read_devices() - bring the uplinks and ns->mtu up to date
 * @ns: the namespace
 *
 * Return: 0, or -1 and errno.
 */
static int read_devices(struct netns *ns)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	struct uplinks *u = ns->uplinks;

	u->own = 0;
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (dump(ns, request, take_device) < 0)
		return -1;
	devices_settle(&u->devices, ns);
	ns->mtu = devices_mtu(&u->devices);
	return 0;
}

/**
 * read_addresses() - bring ns->address up to date
 * @ns: the namespace
 *
 * Return: 1 when it has changed, 0 when not, or -1 and errno.
 */
static int read_addresses(struct netns *ns)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));

	if (dump(ns, request, take_address) < 0)
		return -1;
	return addresses_settle(&ns->uplinks->addresses, ns);
}

/**
 * set_forwarding() - set one of our devices' forwarding, if it is not right already
 * @ns: the namespace
 * @family: "ipv4" or "ipv6"
 * @device: name
 * @value: "0" or "1"
 */
static void set_forwarding(const struct netns *ns, const char *family, const char *device, const char *value)
{
	char name[sizeof("ipv4/conf//forwarding") + IFNAMSIZ];

	snprintf(name, sizeof(name), "%s/conf/%s/forwarding", family, device);
	if (sysctl_set(ns, NULL, name, value, false) < 0 && errno != ENOENT)
		log_error("%s: net/%s cannot be set to %s: %s", ns->conf.name, name, value, strerror(errno));
}

/**
 * keep_forwarding() - on for the device that the route look-up asks, off for the packet TUN
 * @ns: the namespace
 *
 * Writing net.ipv4.ip_forward or net.ipv6.conf.all.forwarding sets it for every device.
 */
static void keep_forwarding(const struct netns *ns)
{
	static const char *const family[] = {"ipv4", "ipv6"};

	for (unsigned i = 0; i < ARRAY_SIZE(family); i++) {
		set_forwarding(ns, family[i], ns->helper_name, "1");
		set_forwarding(ns, family[i], ns->tun_name, "0");
	}
}

/**
 * is_broken() - is anything of ours gone, as far as the news are about it?
 * @ns: the namespace; its devices have been read
 */
static bool is_broken(struct netns *ns)
{
	const struct uplinks *u = ns->uplinks;

	return (u->news & NEWS_DEVICES && u->own < OWN_DEVICES) || (u->news & NEWS_FILTERS && !steering_is_whole(ns));
}

/**
 * act() - bring up to date what the news are about
 * @ns: the namespace
 *
 * The news stay noted until all of it has succeeded.
 *
 * Return: UPLINK_ bits, or -1 and errno.
 */
static int act(struct netns *ns)
{
	struct uplinks *u = ns->uplinks;
	int changed = u->news & (NEWS_DEVICES | NEWS_ADDRESSES | NEWS_ROUTES) ? UPLINK_ROUTES : 0;
	int addresses = 0;

	if (u->news & NEWS_FORWARDING)
		keep_forwarding(ns);
	if (u->news & NEWS_DEVICES && read_devices(ns) < 0)
		return -1;
	if (u->news & (NEWS_DEVICES | NEWS_ADDRESSES))
		addresses = read_addresses(ns);
	if (addresses < 0)
		return -1;
	changed |= (addresses ? UPLINK_ADDRESSES : 0) | (is_broken(ns) ? UPLINK_BROKEN : 0);
	u->news = 0;
	return changed;
}

/**
 * hear_device() - a device has changed or is gone
 * @ns: the namespace
 * @message: RTM_NEWLINK or RTM_DELLINK
 */
static void hear_device(struct netns *ns, const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct device *device;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return; /* a bridge or IPv6 speaks about its own part of a device */
	if (link_heard(ns, message))
		return;
	ns->uplinks->news |= NEWS_DEVICES;
	device = devices_find(&ns->uplinks->devices, (unsigned)info->ifi_index);
	if (!device)
		return;
	device->touched = true;
	if (message->nlmsg_type == RTM_DELLINK)
		device->deleted = true;
}

/**
 * hear_address() - an address has changed or is gone
 * @ns: the namespace
 * @message: RTM_NEWADDR or RTM_DELADDR
 */
static void hear_address(struct netns *ns, const struct nlmsghdr *message)
{
	(void)message;
	ns->uplinks->news |= NEWS_ADDRESSES;
}

/**
 * hear_route() - a route, a rule or a next hop has changed or is gone
 * @ns: the namespace
 * @message: RTM_NEW... or RTM_DEL...
 */
static void hear_route(struct netns *ns, const struct nlmsghdr *message)
{
	(void)message;
	ns->uplinks->news |= NEWS_ROUTES;
}

/**
 * hear_settings() - a device's IP settings have changed: is the forwarding of ours still right?
 * @ns: the namespace
 * @message: RTM_NEWNETCONF
 */
static void hear_settings(struct netns *ns, const struct nlmsghdr *message)
{
	const struct nlattr *found[NETCONFA_MAX + 1];
	const struct netconfmsg *info = nl_parse(message, sizeof(*info), found, NETCONFA_MAX);
	uint32_t ifindex = nl_u32(found[NETCONFA_IFINDEX], 0);
	bool helper = ifindex == ns->helper_ifindex;

	if (!info || !found[NETCONFA_FORWARDING] || (!helper && ifindex != ns->tun_ifindex))
		return;
	if (nl_u32(found[NETCONFA_FORWARDING], 0) != (helper ? 1 : 0))
		ns->uplinks->news |= NEWS_FORWARDING;
}

/**
 * hear_filter() - a filter or a qdisc was removed: perhaps one of ours
 * @ns: the namespace
 * @message: RTM_DELTFILTER or RTM_DELQDISC
 */
static void hear_filter(struct netns *ns, const struct nlmsghdr *message)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*tc) || !link_bared(ns, (unsigned)tc->tcm_ifindex))
		ns->uplinks->news |= NEWS_FILTERS;
}

/* What the watch hears */
static const struct {
	uint16_t type;
	void (*hear)(struct netns *ns, const struct nlmsghdr *message);
} watched[] = {
	{RTM_NEWLINK, hear_device},   {RTM_DELLINK, hear_device},      {RTM_NEWADDR, hear_address},
	{RTM_DELADDR, hear_address},  {RTM_NEWROUTE, hear_route},      {RTM_DELROUTE, hear_route},
	{RTM_NEWRULE, hear_route},    {RTM_DELRULE, hear_route},       {RTM_NEWNEXTHOP, hear_route},
	{RTM_DELNEXTHOP, hear_route}, {RTM_NEWNETCONF, hear_settings}, {RTM_DELTFILTER, hear_filter},
	{RTM_DELQDISC, hear_filter},
};

static const int groups[] = {
	RTNLGRP_LINK,         RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
	RTNLGRP_IPV6_ROUTE,   RTNLGRP_IPV4_RULE,    RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP,
	RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, RTNLGRP_TC,
};

/**
 * hear() - the messages of one datagram
 * @ns: the namespace
 * @buffer: the datagram
 * @size: bytes
 */
static void hear(struct netns *ns, const void *buffer, int size)
{
	const struct nlmsghdr *message = buffer;

	for (; mnl_nlmsg_ok(message, size); message = mnl_nlmsg_next(message, &size))
		for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
			if (watched[i].type == message->nlmsg_type)
				watched[i].hear(ns, message);
}

/**
 * lose() - messages were lost: everything is news, and any device may have been touched
 * @u: the uplinks
 */
static void lose(struct uplinks *u)
{
	u->news = NEWS_ALL;
	devices_touch_all(&u->devices);
}

/**
 * drain() - empty the watch and note the news
 * @ns: the namespace
 * @lost: set: messages were lost and more may be, since the watch is not empty yet
 *
 * Return: 0, or -1 and errno.
 */
static int drain(struct netns *ns, bool *lost)
{
	_Alignas(struct nlmsghdr) char buffer[NL_ROOM];

	*lost = false;
	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		ssize_t n = nl_receive(ns->uplinks->watch, buffer, sizeof(buffer));

		if (n >= 0) {
			hear(ns, buffer, (int)n);
		} else if (errno == ENOBUFS || errno == EMSGSIZE) {
			lose(ns->uplinks);
			*lost = true;
		} else if (errno == EAGAIN) {
			*lost = false;
			return 0;
		} else {
			return -1;
		}
	}
	return 0;
}

/**
 * uplink_open() - begin to follow a namespace's devices, addresses and routes
 * @ns: the namespace, with its TUNs and steering; ns->uplinks, ns->address, ns->addresses and ns->mtu are filled in
 *
 * The watch is a member of its groups before the first dump, so that no change falls between the two.
 *
 * Return: 0, or -1 and errno.
 */
int uplink_open(struct netns *ns)
{
	struct uplinks *u = calloc(1, sizeof(*u));

	ns->uplinks = u;
	if (!u)
		return -1;
	u->news = NEWS_ALL;
	u->watch = nl_open(ns, NETLINK_ROUTE, SOCK_NONBLOCK);
	u->query = u->watch ? nl_open(ns, NETLINK_ROUTE, 0) : NULL;
	if (!u->query || nl_join(u->watch, groups, ARRAY_SIZE(groups)) < 0 || act(ns) < 0) {
		uplink_close(ns);
		return -1;
	}
	return 0;
}

/**
 * uplink_close() - stop following; steering stays where it is
 * @ns: the namespace. errno stays.
 */
void uplink_close(struct netns *ns)
{
	int saved = errno;

	if (!ns->uplinks)
		return;
	nl_close(&ns->uplinks->watch);
	nl_close(&ns->uplinks->query);
	devices_free(&ns->uplinks->devices);
	free(ns->uplinks);
	ns->uplinks = NULL;
	errno = saved;
}

/**
 * uplink_fd() - the watch, for poll(2)
 * @ns: the namespace
 *
 * Return: its fd.
 */
int uplink_fd(const struct netns *ns)
{
	return mnl_socket_get_fd(ns->uplinks->watch);
}

/**
 * uplink_read() - take in what has changed
 * @ns: the namespace
 *
 * Return: UPLINK_ bits, or -1 and errno.
 */
int uplink_read(struct netns *ns)
{
	bool lost;
	int changed;

	if (drain(ns, &lost) < 0)
		return -1;
	changed = act(ns);
	if (changed < 0 && errno == EINTR)
		changed = 0; /* whatever got in the way of the dump has left a message in the watch */
	if (lost) {
		lose(ns->uplinks);
		link_look(ns);
	}
	return changed;
}

/**
 * uplink_nth() - the uplinks one by one
 * @ns: the namespace
 * @n: 0 for the first
 * @name: filled in: the device's name, good until the next uplink_read()
 *
 * Return: device index, or 0 when there are no more.
 */
unsigned uplink_nth(const struct netns *ns, unsigned n, const char **name)
{
	const struct devices *devices = &ns->uplinks->devices;

	if (n >= devices->count)
		return 0;
	*name = devices->device[n].name;
	return devices->device[n].ifindex;
}

/**
 * uplink_set() - bring a device up or down, set its MTU and queue length
 * @ns: the namespace; it need not be followed yet
 * @ifindex: device index
 * @up: or down
 * @mtu: bytes; 0: leave it
 * @txqueuelen: packets; 0: leave it
 *
 * Return: 0, or -1 and errno.
 */
int uplink_set(struct netns *ns, unsigned ifindex, bool up, unsigned mtu, unsigned txqueuelen)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_SETLINK, 0, sizeof(struct ifinfomsg));
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);
	struct mnl_socket *nl = nl_open(ns, NETLINK_ROUTE, 0);
	int error;

	if (!nl)
		return -1;
	info->ifi_index = (int)ifindex;
	info->ifi_flags = up ? IFF_UP : 0;
	info->ifi_change = IFF_UP;
	if (mtu)
		mnl_attr_put_u32(request, IFLA_MTU, mtu);
	if (txqueuelen)
		mnl_attr_put_u32(request, IFLA_TXQLEN, txqueuelen);
	error = nl_ask(nl, request, NULL, NULL);
	nl_close(&nl);
	return error;
}

/**
 * own_address() - whether an address is one of the namespace's own
 * @ns: the namespace
 * @addr: address
 */
static bool own_address(const struct netns *ns, const struct addr *addr)
{
	for (unsigned row = 0; row < ns->addresses; row++)
		if (ns->address[row].present && addr_eq(&ns->address[row].addr, addr))
			return true;
	return false;
}

/**
 * uplink_route() - what a packet to a destination may be like
 * @ns: the namespace
 * @destination: one host
 * @source: filled in: the address that the kernel would send from; for an own address, itself
 * @mtu: filled in: largest IP packet, bytes
 *
 * To a proxied address nothing goes but what stays in the namespace, whatever
 * the routes say. Where they give no source, as that of a blackhole, it is said
 * to be the address itself, which is no answer for anybody else.
 *
 * Return: 0, or -1 and ENETUNREACH unless it is an own address or leaves by unicast through an uplink.
 */
int uplink_route(struct netns *ns, const struct addr *destination, struct addr *source, uint32_t *mtu)
{
	struct route route;
	const struct device *device;
	int asked = route_ask(ns->uplinks->query, destination, &route);

	if (!own_address(ns, destination) && proxied_has(ns, destination)) {
		*source = asked == 0 && route.sourced ? route.source : *destination;
		*mtu = PKT_MAX;
		return 0;
	}
	if (asked < 0)
		goto unreachable;
	if (route.type == RTN_LOCAL && own_address(ns, destination)) {
		*source = *destination;
		*mtu = PKT_MAX;
		return 0;
	}
	device = devices_find(&ns->uplinks->devices, route.ifindex);
	if (route.type != RTN_UNICAST || !route.sourced || !device || device->loopback)
		goto unreachable;
	*source = route.source;
	*mtu = route.mtu && route.mtu < device->mtu ? route.mtu : device->mtu;
	if (*mtu > PKT_MAX)
		*mtu = PKT_MAX;
	return 0;
unreachable:
	errno = ENETUNREACH;
	return -1;
}
