/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route.c: what the kernel's routing says about a destination
 *
 * The question is that of a local socket that has chosen no source, so the
 * answer's preferred source is the one that the kernel would choose.
 *
 * Path MTUs that the kernel has learnt are left out: no message announces them
 * or their end, so what depends on one would never be refreshed. The kernel
 * reports them as the MTU metric of an entry that is a clone and expires (a
 * default route from a router advertisement expires too, but is no clone).
 */
#include "route.h"

#include <errno.h>
#include <linux/rtnetlink.h>

/**
 * take_route() - the answer to a look-up
 * @message: RTM_NEWROUTE
 * @arg: the struct route to fill in
 */
static void take_route(const struct nlmsghdr *message, void *arg)
{
	struct route *route = arg;
	const struct nlattr *found[RTA_MAX + 1], *metric[RTAX_MAX + 1];
	const struct rtmsg *info = nl_parse(message, sizeof(*info), found, RTA_MAX);
	const struct nlattr *source = found[RTA_PREFSRC];
	bool learnt = false;

	if (!info)
		return;
	if (found[RTA_CACHEINFO] && mnl_attr_get_payload_len(found[RTA_CACHEINFO]) >= sizeof(struct rta_cacheinfo)) {
		const struct rta_cacheinfo *cache = mnl_attr_get_payload(found[RTA_CACHEINFO]);

		learnt = info->rtm_flags & RTM_F_CLONED && cache->rta_expires;
	}
	nl_parse_nested(found[RTA_METRICS], metric, RTAX_MAX);
	route->type = info->rtm_type;
	route->ifindex = nl_u32(found[RTA_OIF], 0);
	route->mtu = learnt ? 0 : nl_u32(metric[RTAX_MTU], 0);
	if (source && mnl_attr_get_payload_len(source) == (info->rtm_family == AF_INET ? 4 : 16)) {
		route->sourced = true;
		route->source = info->rtm_family == AF_INET ? addr_from_v4(mnl_attr_get_payload(source))
							    : addr_from_v6(mnl_attr_get_payload(source));
	}
}

/**
 * route_ask() - ask for the route to a destination
 * @nl: a NETLINK_ROUTE socket of the namespace
 * @destination: one host
 * @route: filled in
 *
 * Return: 0, or -1 and errno: what the kernel says about a destination that it does not reach.
 */
int route_ask(const struct mnl_socket *nl, const struct addr *destination, struct route *route)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETROUTE, 0, sizeof(struct rtmsg));
	struct rtmsg *info = mnl_nlmsg_get_payload(request);
	int family = addr_family(destination);
	size_t skip = family == AF_INET ? 12 : 0; /* an IPv4 address is the last four bytes */

	*route = (struct route){0};
	if (family == AF_UNSPEC) {
		errno = ENETUNREACH;
		return -1;
	}
	info->rtm_family = (uint8_t)family;
	info->rtm_dst_len = (uint8_t)(8 * (sizeof(destination->b) - skip));
	mnl_attr_put(request, RTA_DST, sizeof(destination->b) - skip, destination->b + skip);
	return nl_ask(nl, request, take_route, route);
}
