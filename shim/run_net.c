/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_net.c: the network inside a link's namespace
 *
 * The broker only puts the device there. All else is set here, by the
 * namespace's own root, with rtnetlink and sysctls:
 *
 *	lo      up
 *	eth0    the slice's addresses, each alone in its net (/32, /128), the link's MTU,
 *	        no address of its own making, no ARP and no neighbour discovery: there
 *	        is nobody on the link but the host
 *	routes  everything by a gateway that exists only here (169.254.0.1, fe80::1),
 *	        a neighbour for good
 *	sysctls ip_local_port_range is the block, so that the kernel's own choice is
 *	        never translated; every group may open ping sockets
 *
 * Everything may be there already: when the broker comes back, eth0 is a new
 * device and the rest is as it was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "run.h"
#include "steer.h"

#define DEVICE "eth0"
#define ROOM 512 /* bytes: enough for every request here */
#define ANSWER_ROOM 8192
#define ANSWER_SECONDS 10

static const uint8_t gateway4[4] = {169, 254, 0, 1};
static const uint8_t gateway6[16] = {0xfe, 0x80, [15] = 1};
static const uint8_t gateway_mac[6] = STEER_GATEWAY_MAC;

/* A request that is being made */
union request {
	struct nlmsghdr header;
	char bytes[ROOM];
};

/**
 * begin() - begin a request that makes something, or sets what is there
 * @request: where to
 * @type: RTM_NEW...
 * @size: bytes of the family's header
 *
 * Return: the family's header, zeroed
 */
static void *begin(union request *request, uint16_t type, size_t size)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	header->nlmsg_seq = 1;
	return mnl_nlmsg_put_extra_header(header, size);
}

/**
 * ask() - send a request and read the kernel's answer
 * @nl: socket
 * @request: request
 * @what: what it is for, for people
 * @each: called for a message in the answer, or NULL
 * @arg: its argument
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool ask(const struct mnl_socket *nl, const union request *request, const char *what, mnl_cb_t each, void *arg)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_ROOM];
	ssize_t n = mnl_socket_sendto(nl, request, request->header.nlmsg_len);

	if (n > 0)
		n = mnl_socket_recvfrom(nl, answer, sizeof(answer));
	if (n > 0 && mnl_cb_run(answer, (size_t)n, 1, mnl_socket_get_portid(nl), each, arg) >= 0)
		return true;
	cmd_error("cannot set %s: %s", what, strerror(errno));
	return false;
}

/**
 * set_device() - bring a device up
 * @nl: socket
 * @index: of the device
 * @mtu: bytes; 0 for a device that is like lo: as it is
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool set_device(const struct mnl_socket *nl, unsigned index, uint32_t mtu)
{
	union request request;
	struct ifinfomsg *info = begin(&request, RTM_NEWLINK, sizeof(*info));

	request.header.nlmsg_flags &= (uint16_t) ~(NLM_F_CREATE | NLM_F_REPLACE);
	info->ifi_index = (int)index;
	info->ifi_flags = info->ifi_change = IFF_UP;
	if (mtu) {
		info->ifi_flags = info->ifi_change = IFF_UP | IFF_NOARP;
		mnl_attr_put_u32(&request.header, IFLA_MTU, mtu);
	}
	return ask(nl, &request, mtu ? "the device up" : "lo up", NULL, NULL);
}

/**
 * bytes_of() - the bytes of an address as its family writes them
 * @addr: address
 * @size: set to 4 or 16
 */
static const uint8_t *bytes_of(const struct addr *addr, size_t *size)
{
	bool v4 = addr_family(addr) == AF_INET;

	*size = v4 ? 4 : 16;
	return v4 ? addr->b + 12 : addr->b;
}

/**
 * set_address() - give the device an address, or take it away
 * @nl: socket
 * @type: RTM_NEWADDR or RTM_DELADDR
 * @index: of the device
 * @addr: address
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool set_address(const struct mnl_socket *nl, uint16_t type, unsigned index, const struct addr *addr)
{
	union request request;
	struct ifaddrmsg *ifa = begin(&request, type, sizeof(*ifa));
	size_t size;
	const uint8_t *bytes = bytes_of(addr, &size);

	ifa->ifa_family = (uint8_t)addr_family(addr);
	ifa->ifa_prefixlen = (uint8_t)(size * 8);
	ifa->ifa_flags = IFA_F_NODAD;
	ifa->ifa_index = index;
	mnl_attr_put(&request.header, IFA_LOCAL, size, bytes);
	mnl_attr_put(&request.header, IFA_ADDRESS, size, bytes);
	return ask(nl, &request, "an address", NULL, NULL);
}

/**
 * note_type() - what kind of route an answer is
 * @message: RTM_NEWROUTE
 * @arg: uint8_t, set to it
 *
 * Return: MNL_CB_OK
 */
static int note_type(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	*(uint8_t *)arg = mnl_nlmsg_get_payload_len(message) >= sizeof(*route) ? route->rtm_type : RTN_UNSPEC;
	return MNL_CB_OK;
}

/**
 * wait_address() - wait until packets to an address are taken for our own
 * @nl: socket
 * @addr: address of the device
 *
 * The kernel makes the route that says so some time after it has acknowledged
 * an IPv6 address, and drops answers that come before.
 *
 * Return: whether they are; a failure has been complained of
 */
static bool wait_address(const struct mnl_socket *nl, const struct addr *addr)
{
	const uint64_t deadline = clock_ns() + ANSWER_SECONDS * NS_PER_S;
	const struct timespec pause = {.tv_nsec = NS_PER_MS};
	uint8_t type = RTN_UNSPEC;
	union request request;
	struct rtmsg *route = begin(&request, RTM_GETROUTE, sizeof(*route));
	size_t size;
	const uint8_t *bytes = bytes_of(addr, &size);

	request.header.nlmsg_flags = NLM_F_REQUEST;
	route->rtm_family = (uint8_t)addr_family(addr);
	route->rtm_dst_len = (uint8_t)(size * 8);
	mnl_attr_put(&request.header, RTA_DST, size, bytes);
	while (ask(nl, &request, "an address", note_type, &type)) {
		if (type == RTN_LOCAL)
			return true;
		if (clock_ns() > deadline) {
			cmd_error("an address does not become the link's");
			return false;
		}
		nanosleep(&pause, NULL);
	}
	return false;
}

/**
 * set_gateway() - send everything of a family to the host
 * @nl: socket
 * @index: of the device
 * @family: AF_INET or AF_INET6
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool set_gateway(const struct mnl_socket *nl, unsigned index, int family)
{
	const void *gateway = family == AF_INET ? (const void *)gateway4 : gateway6;
	const size_t size = family == AF_INET ? sizeof(gateway4) : sizeof(gateway6);
	union request request;
	struct ndmsg *neighbour = begin(&request, RTM_NEWNEIGH, sizeof(*neighbour));
	struct rtmsg *route;

	neighbour->ndm_family = (uint8_t)family;
	neighbour->ndm_ifindex = (int)index;
	neighbour->ndm_state = NUD_PERMANENT;
	mnl_attr_put(&request.header, NDA_DST, size, gateway);
	mnl_attr_put(&request.header, NDA_LLADDR, sizeof(gateway_mac), gateway_mac);
	if (!ask(nl, &request, "the gateway", NULL, NULL))
		return false;
	route = begin(&request, RTM_NEWROUTE, sizeof(*route));
	route->rtm_family = (uint8_t)family;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	route->rtm_flags = RTNH_F_ONLINK;
	mnl_attr_put(&request.header, RTA_GATEWAY, size, gateway);
	mnl_attr_put_u32(&request.header, RTA_OIF, index);
	return ask(nl, &request, "the default route", NULL, NULL);
}

/**
 * set_sysctl() - write a setting of this network namespace
 * @name: its path below /proc/sys/net
 * @format: its value
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool __attribute__((format(printf, 2, 3))) set_sysctl(const char *name, const char *format, ...)
{
	char path[128], text[64];
	va_list args;
	ssize_t n = -1;
	int fd, size;

	va_start(args, format);
	size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		n = write(fd, text, (size_t)size);
	if (n != size)
		cmd_error("cannot set %s to '%s': %s", path, text, strerror(errno));
	close_fd(&fd);
	return n == size;
}

/**
 * last_group() - the largest group id such that all below are in the namespace too
 */
static uint32_t last_group(void)
{
	FILE *file = fopen("/proc/self/gid_map", "re");
	uint32_t inside, outside, count, next = 0;

	while (file && fscanf(file, "%u %u %u", &inside, &outside, &count) == 3 && inside == next)
		next += count;
	if (file)
		fclose(file);
	return next ? next - 1 : 0;
}

/**
 * set_sysctls() - the settings that are not a device's
 * @reply: the link
 *
 * Both TCP and UDP take their ports from the one range there is. Where the
 * slice has different blocks for them, UDP's are translated. The kernel refuses
 * a range below 1024.
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool set_sysctls(const struct proto_link_reply *reply)
{
	const struct proto_block *block = &reply->block[reply->block[CLASS_TCP].hi ? CLASS_TCP : CLASS_UDP];
	uint32_t group = last_group();

	if (block->hi && block->lo >= 1024 &&
	    !set_sysctl("ipv4/ip_local_port_range", "%u %u", block->lo, block->direct_hi))
		return false;
	return set_sysctl("ipv4/ping_group_range", "0 %u", group < INT32_MAX ? group : INT32_MAX);
}

/**
 * configure_device() - everything about eth0
 * @nl: socket
 * @reply: the link
 *
 * Return: whether it worked; a failure has been complained of
 */
static bool configure_device(const struct mnl_socket *nl, const struct proto_link_reply *reply)
{
	unsigned index = if_nametoindex(DEVICE), i;
	bool has[2] = {false, false};

	if (!index) {
		cmd_error("the broker made no device");
		return false;
	}
	for (i = 0; i < reply->addresses; i++)
		has[addr_family(&reply->address[i]) == AF_INET6] = true;
	/* else the kernel would make a link-local address, and talk about it */
	if (has[1] && !set_sysctl("ipv6/conf/" DEVICE "/addr_gen_mode", "1"))
		return false;
	if (!set_device(nl, index, reply->mtu))
		return false;
	for (i = 0; i < reply->addresses; i++)
		if (!set_address(nl, RTM_NEWADDR, index, &reply->address[i]))
			return false;
	for (i = 0; i < reply->addresses; i++)
		if (!wait_address(nl, &reply->address[i]))
			return false;
	return (!has[0] || set_gateway(nl, index, AF_INET)) && (!has[1] || set_gateway(nl, index, AF_INET6));
}

/**
 * open_netlink() - a netlink socket of the namespace that this process is in
 *
 * Return: the socket; or NULL, when a failure has been complained of
 */
static struct mnl_socket *open_netlink(void)
{
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (nl && !mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) &&
	    !setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return nl;
	cmd_error("no netlink socket: %s", strerror(errno));
	if (nl)
		mnl_socket_close(nl);
	return NULL;
}

/**
 * run_net_configure() - configure the network of the namespace that this process is in
 * @arg: the struct proto_link_reply that says what the link is
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_net_configure(const void *arg)
{
	const struct proto_link_reply *reply = arg;
	struct mnl_socket *nl = open_netlink();
	bool done;

	if (!nl)
		return false;
	done = set_device(nl, if_nametoindex("lo"), 0) && configure_device(nl, reply) && set_sysctls(reply);
	mnl_socket_close(nl);
	return done;
}

/**
 * run_net_remove() - take an address away from the link of the namespace that this process is in
 * @arg: the struct addr
 *
 * Return: whether it worked; a failure has been complained of
 */
bool run_net_remove(const void *arg)
{
	struct mnl_socket *nl = open_netlink();
	bool done;

	if (!nl)
		return false;
	done = set_address(nl, RTM_DELADDR, if_nametoindex(DEVICE), arg);
	mnl_socket_close(nl);
	return done;
}
