/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_uplink_route.c: source and MTU for a destination
 *
 * The world: u0 and u1 are uplinks, x0 is a device that is none. Behind u0's
 * peer is a router in a namespace of its own, with a narrow link behind it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "uplink_world.h"

#define LARGE 1400 /* payload that passes u0 and not the link behind the router */

/* Whether there is a route, and what it says: "SOURCE MTU", or "none" */
static const char *route(const char *destination)
{
	static char answer[ADDR_TEXT_MAX + 16];
	char text[ADDR_TEXT_MAX];
	struct addr to, source;
	uint32_t mtu;

	ck_assert(addr_parse(destination, &to));
	if (uplink_route(&ns, &to, &source, &mtu) < 0) {
		ck_assert_int_eq(errno, ENETUNREACH);
		return "none";
	}
	snprintf(answer, sizeof(answer), "%s %u", addr_text(&source, text), mtu);
	return answer;
}

#define ck_route(destination, answer) ck_assert_str_eq(route(destination), answer)

static void make_world(void)
{
	static const char *const pairs[] = {"u0", "u1", "x0"};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		ip("link add %s type veth peer name p%u", pairs[i], i);
		ip("link set %s up", pairs[i]);
		ip("link set p%u up", i);
	}
	ip("link set u1 mtu 9000");
	ip("address add 192.0.2.1/24 dev u0");
	ip("address add 2001:db8::1/64 dev u0 nodad");
	ip("address add 198.51.100.1/24 dev u1");
	ip("address add 2001:db8:1::1/64 dev u1 nodad");
	ip("address add 203.0.113.1/24 dev x0");
	ip("address add 2001:db8:2::1/64 dev x0 nodad");
	ck_assert_int_eq(uplink_open(&ns), 0);
}

START_TEST(on_link_and_by_a_gateway)
{
	make_world();
	ck_route("192.0.2.2", "192.0.2.1 1500");
	ck_route("198.51.100.2", "198.51.100.1 9000");
	ck_route("2001:db8::2", "2001:db8::1 1500");
	ck_route("2001:db8:1::2", "2001:db8:1::1 9000");
	ck_route("10.0.0.1", "none");
	ck_route("2001:db8:9::1", "none");
	ip("route add default via 192.0.2.2");
	ip("route add 10.1.0.0/16 via 198.51.100.2 src 192.0.2.1 mtu 1280");
	ip("route add 10.2.0.0/16 via 198.51.100.2 mtu 65000");
	ip("route add default via 2001:db8::2");
	ip("route add 2001:db8:9::/64 via 2001:db8:1::2 mtu 1300");
	ck_assert_int_eq(pump(), UPLINK_ROUTES);
	ck_route("10.0.0.1", "192.0.2.1 1500");
	ck_route("10.1.0.1", "192.0.2.1 1280");
	ck_route("10.2.0.1", "198.51.100.1 9000");
	ck_route("2001:db8:8::1", "2001:db8::1 1500");
	ck_route("2001:db8:9::1", "2001:db8:1::1 1300");
	ip("link set u0 mtu 1400");
	pump();
	ck_route("10.0.0.1", "192.0.2.1 1400");
}
END_TEST

START_TEST(no_unicast_by_an_uplink)
{
	static const char *const types[] = {"blackhole", "unreachable", "prohibit", "throw"};

	make_world();
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		ip("route add %s 10.%u.0.0/16", types[i], i);
		ip("route add %s 2001:db8:a%u::/64", types[i], i);
	}
	ip("route add 10.4.0.0/16 dev lo");
	ck_route("10.0.0.1", "none");
	ck_route("10.1.0.1", "none");
	ck_route("10.2.0.1", "none");
	ck_route("10.3.0.1", "none");
	ck_route("10.4.0.1", "none");
	ck_route("2001:db8:a0::1", "none");
	ck_route("2001:db8:a1::1", "none");
	ck_route("2001:db8:a2::1", "none");
	ck_route("2001:db8:a3::1", "none");
	ck_route("203.0.113.2", "none"); /* by x0 */
	ck_route("2001:db8:2::2", "none");
	ck_route("192.0.2.255", "none");
	ck_route("255.255.255.255", "none");
	ck_route("224.0.0.1", "none");
	ck_route("ff0e::1", "none");
	ck_route("::", "none");
	ck_route("0.0.0.0", "none");
}
END_TEST

START_TEST(the_host_itself)
{
	make_world();
	ck_route("192.0.2.1", "192.0.2.1 65535");
	until(strcmp(route("2001:db8:1::1"), "2001:db8:1::1 65535") ==
	      0);                        /* its local route comes a moment after it */
	ck_route("203.0.113.1", "none"); /* x0's address is none of ours */
	ck_route("127.0.0.1", "none");
	ck_route("::1", "none");
	ip("address del 192.0.2.1/24 dev u0");
	pump();
	ck_route("192.0.2.1", "none");
}
END_TEST

START_TEST(jumbo_devices_carry_no_more_than_an_ip_packet)
{
	make_world();
	ip("link set p1 mtu 65535");
	if (system("ip link set u1 mtu 65535 2>/dev/null"))
		return;
	pump();
	ck_route("198.51.100.2", "198.51.100.1 65535");
}
END_TEST

START_TEST(a_failed_question_does_not_spoil_the_next)
{
	make_world();
	for (unsigned i = 0; i < 100; i++) {
		ck_route("10.0.0.1", "none");
		ck_route("192.0.2.2", "192.0.2.1 1500");
	}
}
END_TEST

/* A router behind u0, in a namespace and a process of its own that waits for the end of a pipe */
static pid_t start_router(int *hold)
{
	int up[2], stay[2];
	char ready;
	pid_t pid;

	ck_assert(!pipe2(up, O_CLOEXEC) && !pipe2(stay, O_CLOEXEC));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(stay[1]);
		if (unshare(CLONE_NEWNET) < 0 || write(up[1], "r", 1) != 1)
			_exit(1);
		_exit(read(stay[0], &ready, 1) != 0);
	}
	close(stay[0]);
	close(up[1]);
	ck_assert_int_eq(read(up[0], &ready, 1), 1);
	close(up[0]);
	*hold = stay[1];
	return pid;
}

/* Send until the kernel has learnt a smaller path MTU from the router */
static int learn(int family, const struct sockaddr *to, socklen_t size)
{
	static const char data[LARGE];
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, mtu = 0;
	int option = family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER;
	int sock = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), always = IP_PMTUDISC_DO;
	socklen_t length = sizeof(mtu);

	ck_assert_int_eq(setsockopt(sock, level, option, &always, sizeof(always)), 0);
	ck_assert_int_eq(
		setsockopt(sock, level, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &(int){1}, sizeof(int)), 0);
	ck_assert_int_eq(connect(sock, to, size), 0);
	ck_assert_int_eq(send(sock, data, sizeof(data), 0), LARGE);
	ck_assert_int_eq(poll(&(struct pollfd){.fd = sock, .events = POLLERR}, 1, WAIT_MS), 1);
	ck_assert_int_eq(getsockopt(sock, level, family == AF_INET ? IP_MTU : IPV6_MTU, &mtu, &length), 0);
	close(sock);
	return mtu;
}

START_TEST(learnt_path_mtus_are_left_out)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	int hold, status;
	pid_t router;

	make_world();
	router = start_router(&hold);
	ip("link set p0 netns %d", router);
	ip("route add 10.0.0.0/8 via 192.0.2.2 mtu 1450");
	ip("route add 2001:db8:9::/64 via 2001:db8::2");
	for (unsigned i = 0; i < 9; i++) {
		static const char *const step[] = {
			"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
			"ip link add n0 mtu 1300 type veth peer name n1 mtu 1300",
			"ip link set n0 up",
			"ip link set n1 up",
			"ip link set p0 up",
			"ip address add 192.0.2.2/24 dev p0",
			"ip address add 2001:db8::2/64 dev p0 nodad",
			"ip address add 10.0.0.254/8 dev n0",
			"ip address add 2001:db8:9::fe/64 dev n0 nodad",
		};
		char command[256];

		snprintf(command, sizeof(command), "nsenter -t %d -n %s", router, step[i]);
		ck_assert_msg(system(command) == 0, "%s", command);
	}
	ck_assert(inet_pton(AF_INET, "10.0.0.1", &to4.sin_addr) &&
		  inet_pton(AF_INET6, "2001:db8:9::1", &to6.sin6_addr));
	ck_assert_int_eq(learn(AF_INET, (struct sockaddr *)&to4, sizeof(to4)), 1300);
	ck_assert_int_eq(learn(AF_INET6, (struct sockaddr *)&to6, sizeof(to6)), 1300);
	ck_assert_int_eq(system("ip route get 10.0.0.1 | grep -q 'mtu 1300'"), 0);
	pump();
	ck_route("10.0.0.1", "192.0.2.1 1500");
	ck_route("10.0.0.2", "192.0.2.1 1450");
	ck_route("2001:db8:9::1", "2001:db8::1 1500");
	close(hold);
	ck_assert_int_eq(waitpid(router, &status, 0), router);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		on_link_and_by_a_gateway,
		no_unicast_by_an_uplink,
		the_host_itself,
		jumbo_devices_carry_no_more_than_an_ip_packet,
		a_failed_question_does_not_spoil_the_next,
		learnt_path_mtus_are_left_out,
	};

	return world_run("uplink_route", tests, ARRAY_SIZE(tests));
}
