/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * addresses.c: which addresses of a namespace are its own, and the rows that they have
 *
 * Own addresses are the unicast addresses of global scope on the uplinks; on
 * the loopback device too, where routers keep theirs. IPv6 addresses count from
 * the end of duplicate address detection. Temporary ones (RFC 8981) never
 * count: they are made to be given up, and each would use up a row for good,
 * because a row of ns->address belongs to its address until detach. Steering,
 * reservations and the relay know the address by that index.
 */
#include "addresses.h"

#include <linux/rtnetlink.h>
#include <string.h>

#include "log.h"
#include "netlink.h"

/**
 * address_of() - the own address in a message, if it is one that counts
 * @message: RTM_NEWADDR
 * @addr: filled in
 * @ifindex: filled in: the device that has it
 *
 * Return: whether it counts.
 */
static bool address_of(const struct nlmsghdr *message, struct addr *addr, unsigned *ifindex)
{
	const struct nlattr *found[IFA_MAX + 1];
	const struct ifaddrmsg *info = nl_parse(message, sizeof(*info), found, IFA_MAX);
	const struct nlattr *own = found[IFA_LOCAL] ? found[IFA_LOCAL] : found[IFA_ADDRESS];
	bool v6 = info && info->ifa_family == AF_INET6;
	uint32_t unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED | (v6 ? IFA_F_TEMPORARY : 0);

	if (!info || !own || info->ifa_scope != RT_SCOPE_UNIVERSE || (!v6 && info->ifa_family != AF_INET))
		return false;
	if (mnl_attr_get_payload_len(own) != (v6 ? 16 : 4) || nl_u32(found[IFA_FLAGS], info->ifa_flags) & unusable)
		return false;
	*addr = v6 ? addr_from_v6(mnl_attr_get_payload(own)) : addr_from_v4(mnl_attr_get_payload(own));
	*ifindex = info->ifa_index;
	return addr_family(addr) == info->ifa_family && !addr_is_any(addr) && !addr_is_loopback(addr) &&
	       !addr_is_multicast(addr) && !addr_is_linklocal(addr);
}

/**
 * addresses_forget_seen() - a dump begins
 * @a: addresses
 */
void addresses_forget_seen(struct addresses *a)
{
	memset(a->seen, 0, sizeof(a->seen));
}

/**
 * addresses_take() - an address of the dump: note its row, or give it one
 * @a: addresses
 * @ns: the namespace
 * @devices: its uplinks
 * @message: RTM_NEWADDR
 */
void addresses_take(struct addresses *a, struct netns *ns, const struct devices *devices,
		    const struct nlmsghdr *message)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	unsigned ifindex, row = 0;

	if (!address_of(message, &addr, &ifindex) || !devices_find(devices, ifindex))
		return;
	while (row < ns->addresses && !addr_eq(&ns->address[row].addr, &addr))
		row++;
	if (row == STEER_ADDRESSES_MAX) {
		if (!a->full)
			log_warn(
				"%s: has had %d addresses, which is all that fit: %s and later new ones get no flows "
				"until saferawd is restarted",
				ns->conf.name, STEER_ADDRESSES_MAX, addr_text(&addr, text));
		a->full = true;
		return;
	}
	if (row == ns->addresses)
		ns->address[ns->addresses++] = (struct netns_address){.addr = addr, .len = 128};
	a->seen[row] = true;
}

/**
 * addresses_settle() - a dump has ended: bring ns->address up to date
 * @a: addresses
 * @ns: the namespace
 *
 * Return: 1 when it has changed, 0 when not.
 */
int addresses_settle(const struct addresses *a, struct netns *ns)
{
	char text[ADDR_TEXT_MAX];
	int changed = 0;

	for (unsigned row = 0; row < ns->addresses; row++) {
		struct netns_address *address = &ns->address[row];

		if (address->present == a->seen[row])
			continue;
		address->present = a->seen[row];
		changed = 1;
		log_info("%s: address %s %s", ns->conf.name, addr_text(&address->addr, text),
			 address->present ? "is there" : "is gone");
	}
	return changed;
}
