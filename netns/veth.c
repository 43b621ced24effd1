/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * veth.c: pairs of devices, one end here and one in another namespace
 *
 * Requests to the kernel. Both ends are made in one of them, the far one at
 * once in its own namespace, so nothing has to be moved and nobody enters that
 * namespace. The pair goes when either end goes.
 *
 * Removing a device waits for all that may still use it. The devices of a
 * group are removed together, and wait once.
 */
#include "veth.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "netlink.h"

/**
 * put_peer() - describe the end in the other namespace
 * @request: RTM_NEWLINK
 * @veth: the pair
 */
static void put_peer(struct nlmsghdr *request, const struct veth *veth)
{
	struct nlattr *peer = mnl_attr_nest_start(request, VETH_INFO_PEER);

	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, veth->peer_name);
	mnl_attr_put_u32(request, IFLA_MTU, veth->mtu);
	mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)veth->peer);
	mnl_attr_nest_end(request, peer);
}

/**
 * veth_make() - make a pair, both ends down
 * @nl: NETLINK_ROUTE socket of the namespace
 * @veth: the pair
 *
 * One queue for each end: they hold no packets.
 *
 * Return: 0, or -1 and errno: EEXIST when one of the names is taken.
 */
int veth_make(const struct mnl_socket *nl, const struct veth *veth)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request =
		nl_request(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	struct nlattr *info, *data;

	mnl_attr_put_strz(request, IFLA_IFNAME, veth->name);
	mnl_attr_put_u32(request, IFLA_MTU, veth->mtu);
	mnl_attr_put_u32(request, IFLA_GROUP, veth->group);
	mnl_attr_put_u32(request, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(request, IFLA_NUM_RX_QUEUES, 1);
	info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	put_peer(request, veth);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
	return nl_ask(nl, request, NULL, NULL);
}

/**
 * keep_index() - note a device's index
 * @message: RTM_NEWLINK
 * @arg: unsigned, filled in
 */
static void keep_index(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(*info))
		*(unsigned *)arg = (unsigned)info->ifi_index;
}

/**
 * veth_find() - the index of a device
 * @nl: NETLINK_ROUTE socket of the namespace
 * @name: of the device
 *
 * Return: index, or 0 and errno.
 */
unsigned veth_find(const struct mnl_socket *nl, const char *name)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	unsigned ifindex = 0;

	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return nl_ask(nl, request, keep_index, &ifindex) < 0 ? 0 : ifindex;
}

/**
 * by_index() - a request about one device
 * @buffer: NL_REQUEST_ROOM bytes
 * @type: RTM_
 * @ifindex: of the device
 *
 * Return: the request.
 */
static struct nlmsghdr *by_index(void *buffer, uint16_t type, unsigned ifindex)
{
	struct nlmsghdr *request = nl_request(buffer, type, 0, sizeof(struct ifinfomsg));
	struct ifinfomsg *link = mnl_nlmsg_get_payload(request);

	link->ifi_index = (int)ifindex;
	return request;
}

/**
 * veth_up() - bring the end that is here up
 * @nl: NETLINK_ROUTE socket of the namespace
 * @ifindex: of that end
 *
 * Return: 0, or -1 and errno.
 */
int veth_up(const struct mnl_socket *nl, unsigned ifindex)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = by_index(buffer, RTM_NEWLINK, ifindex);
	struct ifinfomsg *link = mnl_nlmsg_get_payload(request);

	link->ifi_flags = link->ifi_change = IFF_UP;
	return nl_ask(nl, request, NULL, NULL);
}

/**
 * veth_there() - whether a device is still there
 * @nl: NETLINK_ROUTE socket of the namespace
 * @ifindex: of the device
 *
 * Return: false only when the kernel says so.
 */
bool veth_there(const struct mnl_socket *nl, unsigned ifindex)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];

	return nl_ask(nl, by_index(buffer, RTM_GETLINK, ifindex), NULL, NULL) == 0 || errno != ENODEV;
}

/**
 * veth_remove() - remove a pair
 * @nl: NETLINK_ROUTE socket of the namespace
 * @ifindex: of the end that is here
 *
 * Return: 0, also when it is gone already, or -1 and errno.
 */
int veth_remove(const struct mnl_socket *nl, unsigned ifindex)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];

	return nl_ask(nl, by_index(buffer, RTM_DELLINK, ifindex), NULL, NULL) < 0 && errno != ENODEV ? -1 : 0;
}

/**
 * veth_remove_group() - remove all pairs of a group
 * @nl: NETLINK_ROUTE socket of the namespace
 * @group: its number
 *
 * Return: 0, also when there is none, or -1 and errno.
 */
int veth_remove_group(const struct mnl_socket *nl, uint32_t group)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_DELLINK, 0, sizeof(struct ifinfomsg));

	mnl_attr_put_u32(request, IFLA_GROUP, group);
	return nl_ask(nl, request, NULL, NULL) < 0 && errno != ENODEV ? -1 : 0;
}
