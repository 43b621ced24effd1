/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_uplink.c: devices, addresses, MTUs and forwarding are followed as they change
 */
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "uplink_world.h"

static void veth(const char *name, const char *peer)
{
	ip("link add %s type veth peer name %s", name, peer);
	ip("link set %s up", name);
	ip("link set %s up", peer);
}

/* The same, and no device has anything of its own to say: no link-local address, the kernel makes those in its own
 * time */
static void quiet_veth(const char *name, const char *peer)
{
	ip("link add %s type veth peer name %s", name, peer);
	ip("link set %s addrgenmode none up", name);
	ip("link set %s addrgenmode none up", peer);
}

static void open_uplinks(void)
{
	ck_assert_int_eq(uplink_open(&ns), 0);
}

START_TEST(what_is_there_at_start)
{
	veth("u0", "p0");
	ip("address add 192.0.2.1/24 dev u0");
	ip("address add 2001:db8::1/64 dev u0 nodad");
	ip("address add 198.51.100.7/32 dev lo");
	ip("address add 203.0.113.1/24 dev p0");
	open_uplinks();
	ck_assert(has_steering("u0") && has_steering("lo"));
	ck_assert(!has_steering("p0") && !has_steering("sr0") && !has_steering("sr0h"));
	ck_assert(present("192.0.2.1") && present("2001:db8::1") && present("198.51.100.7"));
	ck_assert_uint_eq(ns.addresses, 3); /* no 127.0.0.1, ::1, fe80::, nor p0's */
	ck_assert_uint_eq(ns.mtu, 1500);
	ck_assert_int_eq(fcntl(uplink_fd(&ns), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(fcntl(uplink_fd(&ns), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}
END_TEST

START_TEST(devices_come_and_go)
{
	const char *name;
	unsigned n = 0, index;

	open_uplinks();
	ck_assert_uint_eq(ns.mtu, 1500);
	ip("link add u0 type veth peer name p0"); /* down: an uplink all the same */
	ck_assert_int_eq(pump(), UPLINK_ROUTES);
	ck_assert(has_steering("u0"));
	index = if_nametoindex("u0");
	while (uplink_nth(&ns, n, &name))
		n++;
	ck_assert_uint_eq(n, 2);
	ip("link del u0");
	pump();
	ck_assert(!steered[index]);
	ck_assert_uint_eq(detaches, 1);
	ck_assert_uint_eq(uplink_nth(&ns, 1, &name), 0);
}
END_TEST

START_TEST(a_device_of_ours_is_deleted)
{
	static const char *const own[] = {"sr0", "sr0h", "sr0l"};

	open_uplinks();
	ip("link add u0 type veth peer name p0");
	ip("link del u0");
	ck_assert_int_eq(pump() & UPLINK_BROKEN, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++) {
		ip("link del %s", own[i]);
		ck_assert_int_eq(pump() & UPLINK_BROKEN, UPLINK_BROKEN);
	}
}
END_TEST

START_TEST(a_filter_of_ours_is_removed)
{
	open_uplinks();
	ip("link add u0 type veth peer name p0");
	ck_assert_int_eq(system("tc qdisc add dev u0 clsact && tc qdisc del dev u0 clsact"), 0);
	ck_assert_int_eq(pump() & UPLINK_BROKEN, 0);
	whole = false;
	ck_assert_int_eq(system("tc qdisc add dev u0 clsact && tc qdisc del dev u0 clsact"), 0);
	ck_assert_int_eq(pump() & UPLINK_BROKEN, UPLINK_BROKEN);
}
END_TEST

START_TEST(tuns_of_ours_are_no_uplinks)
{
	snprintf(ns.conf.uplink[0], sizeof(ns.conf.uplink[0]), "*");
	ip("tuntap add dev saferaw9 mode tun");
	ip("tuntap add dev vpn0 mode tun");
	open_uplinks();
	ck_assert(!has_steering("saferaw9") && !has_steering("sr0") && !has_steering("sr0h"));
	ck_assert(has_steering("vpn0") && has_steering("lo"));
}
END_TEST

START_TEST(a_renamed_device_is_judged_anew)
{
	ip("link add u0 type veth peer name p0");
	open_uplinks();
	ip("link set u0 name x0");
	pump();
	ck_assert(!has_steering("x0"));
	ip("link set p0 name u5");
	pump();
	ck_assert(has_steering("u5"));
	ip("link set x0 name u6");
	ip("link set u5 name x5");
	pump();
	ck_assert(has_steering("u6") && !has_steering("x5"));
}
END_TEST

START_TEST(another_device_with_the_same_index)
{
	ip("link add u0 index 77 type veth peer name p0");
	open_uplinks();
	ck_assert(steered[77]);
	attaches = 0;
	ip("link del u0");
	ip("link add u0 index 77 type veth peer name p0");
	pump();
	ck_assert(steered[77]);
	ck_assert_uint_eq(detaches, 1);
	ck_assert_uint_eq(attaches, 1);
}
END_TEST

START_TEST(a_bridge_port_is_not_a_deleted_device)
{
	ip("link add u0 type veth peer name p0");
	if (system("ip link add br0 type bridge 2>/dev/null"))
		return; /* a kernel without bridges */
	ip("link set u0 master br0");
	open_uplinks();
	ip("link set u0 nomaster");
	pump();
	ck_assert(has_steering("u0"));
	ck_assert_uint_eq(detaches, 0);
}
END_TEST

START_TEST(refused_steering_is_tried_again_when_the_device_changes)
{
	ip("link add u0 type veth peer name p0");
	ip("link add u1 type veth peer name p1");
	refused = if_nametoindex("u0");
	open_uplinks();
	ck_assert(!has_steering("u0") && has_steering("u1"));
	ck_assert_uint_eq(warnings, 1);
	ck_assert_ptr_nonnull(strstr(last_warning, "u0"));
	attaches = 0;
	ip("link set u1 mtu 1400");
	pump();
	ck_assert_uint_eq(attaches, 0);
	ip("link set u0 mtu 1400");
	pump();
	ck_assert_uint_eq(attaches, 1);
	ck_assert_uint_eq(warnings, 1); /* the same refusal is said once */
	refused = 0;
	ip("link set u0 up");
	pump();
	ck_assert(has_steering("u0"));
	ip("link set u0 mtu 1300");
	attaches = 0;
	pump();
	ck_assert_uint_eq(attaches, 0);
}
END_TEST

START_TEST(an_address_keeps_its_row)
{
	int first, second;

	veth("u0", "p0");
	ip("address add 192.0.2.1/24 dev u0");
	open_uplinks();
	first = row_of("192.0.2.1");
	ip("address add 2001:db8::1/64 dev u0 nodad");
	until(present("2001:db8::1"));
	second = row_of("2001:db8::1");
	ip("address del 192.0.2.1/24 dev u0");
	ck_assert_int_eq(pump(), UPLINK_ADDRESSES | UPLINK_ROUTES);
	ck_assert(!present("192.0.2.1") && present("2001:db8::1"));
	ip("address add 192.0.2.9/24 dev u0");
	pump();
	ip("address add 192.0.2.1/24 dev u0");
	ck_assert_int_eq(pump(), UPLINK_ADDRESSES | UPLINK_ROUTES);
	ck_assert(present("192.0.2.1") && present("192.0.2.9"));
	ck_assert_int_eq(row_of("192.0.2.1"), first);
	ck_assert_int_eq(row_of("2001:db8::1"), second);
	ck_assert_uint_eq(ns.addresses, 3);
}
END_TEST

START_TEST(an_address_on_two_devices_stays_as_long_as_one_has_it)
{
	veth("u0", "p0");
	veth("u1", "p1");
	ip("address add 192.0.2.1/24 dev u0");
	ip("address add 192.0.2.1/32 dev u1");
	open_uplinks();
	ip("address del 192.0.2.1/24 dev u0");
	ck_assert_int_eq(pump(), UPLINK_ROUTES);
	ck_assert(present("192.0.2.1"));
	ip("link set u1 down"); /* no device that is up takes another name before Linux 6.2 */
	ck_assert_int_eq(pump(), UPLINK_ROUTES);
	ip("link set u1 name x1");
	ck_assert_int_eq(pump(), UPLINK_ADDRESSES | UPLINK_ROUTES);
	ck_assert(!present("192.0.2.1"));
	ck_assert_uint_eq(ns.addresses, 1);
}
END_TEST

START_TEST(addresses_that_do_not_count)
{
	veth("u0", "p0");
	open_uplinks();
	ip("address add 127.0.0.2/8 dev u0");
	ip("address add 169.254.1.1/16 dev u0");
	ip("address add 10.0.0.1/8 dev u0 scope link");
	ip("address add 10.0.0.3/8 dev p0");
	ip("address add 10.0.0.4/8 dev sr0");
	ip("address add ::ffff:10.0.0.5/128 dev u0 nodad");
	pump();
	ck_assert_uint_eq(ns.addresses, 0);
	ip("address add 10.9.0.1 peer 10.9.0.2/32 dev u0"); /* the own end counts */
	pump();
	ck_assert(present("10.9.0.1"));
	ck_assert_uint_eq(ns.addresses, 1);
}
END_TEST

START_TEST(an_ipv6_address_counts_from_the_end_of_duplicate_detection)
{
	ip("link add u0 type veth peer name p0");
	ip("link set u0 up");
	open_uplinks();
	ip("address add 2001:db8::1/64 dev u0");
	pump();
	/* the detection does not begin before the link is there */
	ck_assert_int_eq(system("ip -6 address show dev u0 tentative | grep -q 2001:db8::1"), 0);
	ck_assert(!present("2001:db8::1"));
	ip("link set p0 up");
	until(present("2001:db8::1"));
	ip("address add 2001:db8::2/64 dev p0 nodad"); /* u0's neighbour has this one */
	ip("address add 2001:db8::2/64 dev u0");
	while (system("ip -6 address show dev u0 dadfailed | grep -q 2001:db8::2"))
		ck_assert_int_gt(poll(&(struct pollfd){.fd = uplink_fd(&ns), .events = POLLIN}, 1, WAIT_MS), 0);
	pump();
	ck_assert(!present("2001:db8::2"));
}
END_TEST

START_TEST(temporary_addresses_do_not_count)
{
	veth("u0", "p0");
	set("ipv6/conf/u0/use_tempaddr", "2");
	open_uplinks();
	ip("address add 2001:db8::1/64 dev u0 mngtmpaddr nodad");
	until(present("2001:db8::1"));
	while (system("ip -6 address show dev u0 temporary -tentative | grep -q 2001:db8:"))
		ck_assert_int_gt(poll(&(struct pollfd){.fd = uplink_fd(&ns), .events = POLLIN}, 1, WAIT_MS), 0);
	pump();
	ck_assert_uint_eq(ns.addresses, 1);
}
END_TEST

START_TEST(more_addresses_than_rows)
{
	veth("u0", "p0");
	open_uplinks();
	for (unsigned i = 1; i <= STEER_ADDRESSES_MAX; i++)
		ip("address add 10.0.0.%u/8 dev u0", i);
	pump();
	ck_assert_uint_eq(ns.addresses, STEER_ADDRESSES_MAX);
	ck_assert_uint_eq(warnings, 0);
	ip("address del 10.0.0.1/8 dev u0"); /* takes its secondaries along, and gives no row up */
	ip("address add 10.0.1.1/8 dev u0");
	ip("address add 10.0.1.2/8 dev u0");
	pump();
	ck_assert_uint_eq(ns.addresses, STEER_ADDRESSES_MAX);
	ck_assert_int_eq(row_of("10.0.1.1"), -1);
	ck_assert_int_eq(row_of("10.0.0.32"), STEER_ADDRESSES_MAX - 1);
	ip("address add 10.0.0.1/8 dev u0");
	pump();
	ck_assert(present("10.0.0.1"));
	ck_assert_uint_eq(warnings, 1);
}
END_TEST

START_TEST(the_smallest_mtu)
{
	veth("u0", "p0");
	veth("u1", "p1");
	ip("link set u0 mtu 9000");
	ip("link set u1 mtu 8000");
	ip("link set p1 mtu 600");
	open_uplinks();
	ck_assert_uint_eq(ns.mtu, 8000);
	ip("link set u1 mtu 1400");
	ck_assert_int_eq(pump() & UPLINK_ROUTES, UPLINK_ROUTES);
	ck_assert_uint_eq(ns.mtu, 1400);
	ip("link set u1 down");
	pump();
	ck_assert_uint_eq(ns.mtu, 9000);
	ip("link del u0");
	pump();
	ck_assert_uint_eq(ns.mtu, 1500);
}
END_TEST

START_TEST(many_route_changes_are_one)
{
	FILE *batch;
	unsigned calls = 0;
	struct pollfd watch;

	quiet_veth("u0", "p0");
	ip("address add 192.0.2.1/24 dev u0");
	open_uplinks();
	watch = (struct pollfd){.fd = uplink_fd(&ns), .events = POLLIN};
	batch = popen("ip -batch -", "we");
	ck_assert_ptr_nonnull(batch);
	for (unsigned i = 0; i < 5000; i++)
		fprintf(batch, "route add 10.%u.%u.0/24 via 192.0.2.2\n", i / 256, i % 256);
	ck_assert_int_eq(pclose(batch), 0);
	for (; poll(&watch, 1, 0) > 0; calls++)
		ck_assert_int_eq(uplink_read(&ns), UPLINK_ROUTES);
	ck_assert_uint_ge(calls, 1);
	ck_assert_uint_le(calls, 5);
	ip("rule add from 192.0.2.1 lookup 100");
	ck_assert_int_eq(pump(), UPLINK_ROUTES);
}
END_TEST

START_TEST(forwarding_is_set_again)
{
	open_uplinks();
	ck_assert_int_eq(setting("ipv4/conf/sr0h/forwarding"), 1);
	ck_assert_int_eq(setting("ipv6/conf/sr0h/forwarding"), 1);
	for (unsigned i = 0; i < 4; i++) {
		set("ipv4/ip_forward", i & 1 ? "0" : "1");
		set("ipv6/conf/all/forwarding", i & 2 ? "0" : "1");
		ck_assert_int_eq(pump(), 0);
		ck_assert_int_eq(setting("ipv4/conf/sr0h/forwarding"), 1);
		ck_assert_int_eq(setting("ipv6/conf/sr0h/forwarding"), 1);
		ck_assert_int_eq(setting("ipv4/conf/sr0/forwarding"), 0);
		ck_assert_int_eq(setting("ipv6/conf/sr0/forwarding"), 0);
		ck_assert_int_eq(setting("ipv4/conf/lo/forwarding"), i & 1 ? 0 : 1);
	}
}
END_TEST

START_TEST(lost_messages_lose_nothing)
{
	int least = 0; /* the kernel makes it its minimum: a few messages */

	quiet_veth("u0", "p0");
	ip("address add 192.0.2.1/24 dev u0");
	ip("link add u1 type veth peer name p1");
	refused = if_nametoindex("u1");
	open_uplinks();
	ck_assert_int_eq(setsockopt(uplink_fd(&ns), SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)), 0);
	refused = 0;
	for (unsigned i = 0; i < 50; i++) {
		ip("route add 10.0.%u.0/24 via 192.0.2.2", i);
	}
	set("ipv4/ip_forward", "1");
	set("ipv4/ip_forward", "0");
	ip("link add u2 type veth peer name p2");
	ip("address add 198.51.100.1/24 dev u2");
	ip("address del 192.0.2.1/24 dev u0");
	ip("link set u0 down");
	ip("link set u0 name x0");
	ck_assert_int_eq(uplink_read(&ns), UPLINK_ADDRESSES | UPLINK_ROUTES);
	ck_assert(has_steering("u1") && has_steering("u2") && !has_steering("x0"));
	ck_assert(!present("192.0.2.1") && present("198.51.100.1"));
	ck_assert_int_eq(setting("ipv4/conf/sr0h/forwarding"), 1);
	pump(); /* what was put right has left messages too */
	ip("address add 192.0.2.1/24 dev u2");
	ck_assert_int_eq(uplink_read(&ns), UPLINK_ADDRESSES | UPLINK_ROUTES);
	ck_assert(present("192.0.2.1"));
}
END_TEST

START_TEST(only_the_kernel_is_heard)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
	} forged = {.header = {.nlmsg_len = sizeof(forged), .nlmsg_type = RTM_NEWROUTE}};
	struct sockaddr_nl watch = {0};
	socklen_t size = sizeof(watch);
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	open_uplinks();
	pump();
	ck_assert_int_eq(getsockname(uplink_fd(&ns), (struct sockaddr *)&watch, &size), 0);
	ck_assert_int_eq(sendto(sock, &forged, sizeof(forged), 0, (struct sockaddr *)&watch, size), sizeof(forged));
	ck_assert_int_eq(poll(&(struct pollfd){.fd = uplink_fd(&ns), .events = POLLIN}, 1, 0), 1);
	ck_assert_int_eq(uplink_read(&ns), 0);
	close(sock);
}
END_TEST

START_TEST(devices_are_set)
{
	unsigned index = if_nametoindex("sr0");

	ck_assert_int_eq(uplink_set(&ns, index, true, 1280, 8192), 0); /* before anything is followed, too */
	ck_assert_int_eq(system("ip link show sr0 | grep -q ',UP.* mtu 1280 .*qlen 8192'"), 0);
	open_uplinks();
	ck_assert_int_eq(uplink_set(&ns, index, true, 0, 0), 0);
	ck_assert_int_eq(system("ip link show sr0 | grep -q ',UP.* mtu 1280 .*qlen 8192'"), 0);
	ck_assert_int_eq(uplink_set(&ns, index, false, 1400, 0), 0);
	ck_assert_int_ne(system("ip link show sr0 | grep -q ',UP'"), 0);
	ck_assert_int_eq(uplink_set(&ns, INDEX_MAX, true, 0, 0), -1);
	ck_assert_int_eq(errno, ENODEV);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_is_there_at_start,
		devices_come_and_go,
		tuns_of_ours_are_no_uplinks,
		a_renamed_device_is_judged_anew,
		another_device_with_the_same_index,
		a_bridge_port_is_not_a_deleted_device,
		refused_steering_is_tried_again_when_the_device_changes,
		an_address_keeps_its_row,
		an_address_on_two_devices_stays_as_long_as_one_has_it,
		addresses_that_do_not_count,
		an_ipv6_address_counts_from_the_end_of_duplicate_detection,
		temporary_addresses_do_not_count,
		more_addresses_than_rows,
		the_smallest_mtu,
		many_route_changes_are_one,
		forwarding_is_set_again,
		lost_messages_lose_nothing,
		only_the_kernel_is_heard,
		devices_are_set,
		a_device_of_ours_is_deleted,
		a_filter_of_ours_is_removed,
	};

	return world_run("uplink", tests, ARRAY_SIZE(tests));
}
