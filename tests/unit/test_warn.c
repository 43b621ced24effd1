/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_warn.c: each warning, from the thing itself
 *
 * BPF programs are attached here by hand: one called steer_in stands for
 * steering.
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "compat.h"
#include "hook.h"
#include "netlink.h"
#include "uplink_world.h"
#include "warn.h"

/* Clashes with C library headers that come later */
#include <linux/netfilter_ipv4/ip_tables.h>

static bool run(const char *command)
{
	return system(command) == 0;
}

static void ck_warns(const char *text, unsigned lines)
{
	warnings = 0;
	last_warning[0] = 0;
	warn_at_start(&ns);
	ck_assert_msg(warnings == lines, "%u warnings instead of %u, the last: %s", warnings, lines, last_warning);
	ck_assert_msg(strstr(last_warning, text), "no '%s' in: %s", text, last_warning);
}

static void make_world(void)
{
	ip("link add u0 type veth peer name p0");
	ck_assert_int_eq(uplink_open(&ns), 0);
	ck_warns("", 0);
}

/* A program that lets everything pass */
static int program(enum bpf_prog_type type, const char *name)
{
	const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = type == BPF_PROG_TYPE_XDP ? XDP_PASS : -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(type, name, "GPL", pass, ARRAY_SIZE(pass), NULL);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	return fd;
}

/* Behind those that are there already; false when the kernel has no such thing */
static bool attach(const char *device, enum bpf_prog_type program_type, enum bpf_attach_type type, const char *name)
{
	return bpf_link_create(program(program_type, name), (int)if_nametoindex(device), type, NULL) >= 0;
}

START_TEST(nat_chains)
{
	make_world();
	ck_assert(run("nft add table ip uplinks"));
	ck_assert(run("nft add chain ip uplinks in '{ type filter hook input priority 0; }'"));
	ck_warns("", 0);
	ck_assert(run("nft add chain ip uplinks out '{ type nat hook postrouting priority 100; }'"));
	ck_warns("1 NAT chain here (first: uplinks out)", 1);
	ck_assert(run("nft add chain ip uplinks back '{ type nat hook prerouting priority -100; }'"));
	ck_warns("2 NAT chains here", 1);
}
END_TEST

START_TEST(nat_table_of_iptables)
{
	struct ipt_getinfo info = {.name = "nat"}; /* asking for it makes it */
	socklen_t size = sizeof(info);
	int sock = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	make_world();
	ck_assert_int_ge(sock, 0);
	if (getsockopt(sock, IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) < 0)
		return; /* a kernel without it */
	ck_warns("the nat table of iptables", 1);
}
END_TEST

START_TEST(ipsec_policies)
{
	make_world();
	ip("xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out action block");
	ck_warns("1 IPsec policy here", 1);
	ip("xfrm policy add src 10.1.0.0/16 dst 10.0.0.0/8 dir in action block");
	ck_warns("2 IPsec policies here", 1);
}
END_TEST

START_TEST(xdp)
{
	make_world();
	ck_assert(attach("u0", BPF_PROG_TYPE_XDP, BPF_XDP, "dropper"));
	ck_warns("uplink u0 has an XDP program", 1);
}
END_TEST

START_TEST(tcx_programs)
{
	make_world();
	if (!attach("u0", BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, "first"))
		return; /* before Linux 6.6 */
	ck_warns("has 1 tcx program(s) that run before steering (first: first)", 1);
	ck_assert(attach("u0", BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, "steer_in"));
	ck_warns("has 1 tcx program(s) that run before steering (first: first)", 1);
	ck_assert(attach("u0", BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, "third"));
	ck_warns("has 1 tcx program(s) that run after steering (first: third)", 2);
}
END_TEST

START_TEST(steering_alone)
{
	make_world();
	if (!attach("u0", BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, "steer_in"))
		return;
	ck_warns("", 0);
}
END_TEST

START_TEST(tc_filters)
{
	make_world();
	mode = "clsact";
	ck_assert(run("tc qdisc add dev u0 clsact"));
	ck_warns("", 0);
	ck_assert(run("tc filter add dev u0 ingress prio 7 bpf bytecode '1,6 0 0 4294967295'"));
	ck_assert(run("tc filter add dev u0 ingress prio 9 u32 match u32 0 0 flowid 1:1"));
	ck_warns("has 2 tc filter(s) that run before steering (first: bpf, priority 7)", 1);
	mode = "tcx";
	ck_warns("has 2 tc filter(s) that run after steering (first: bpf, priority 7)", 1);
}
END_TEST

START_TEST(tc_filters_around_steering)
{
	struct hook hook;
	struct mnl_socket *nl = nl_open(&ns, NETLINK_ROUTE, 0);
	int fd = program(BPF_PROG_TYPE_SCHED_CLS, "steer_in");

	make_world();
	mode = "clsact";
	ck_assert(run("tc qdisc add dev u0 clsact"));
	ck_assert_int_eq(hook_clsact(nl, &hook, if_nametoindex("u0"), fd, 8, "steer_in"), 0);
	nl_close(&nl);
	ck_warns("", 0);
	ck_assert(run("tc filter add dev u0 ingress prio 9 bpf bytecode '1,6 0 0 4294967295'"));
	ck_warns("after steering (first: bpf, priority 9)", 1);
	ck_assert(run("tc filter add dev u0 ingress prio 7 bpf bytecode '1,6 0 0 4294967295'"));
	ck_warns("after steering (first: bpf, priority 9)", 2);
}
END_TEST

START_TEST(routes_of_proxied)
{
	static const char *const prefixes[] = {"198.51.100.64/28", "2001:db8:9::/64"};
	static const char *const switches[] = {"ipv4/ip_forward", "ipv6/conf/all/forwarding"};
	static const char *const gateways[] = {"192.0.2.2", "2001:db8::2"};
	char command[128];
	unsigned i;

	make_world();
	ip("addr add 192.0.2.1/24 dev u0");
	ip("addr add 2001:db8::1/64 dev u0 nodad");
	ip("link set u0 up");
	ip("link set p0 up");
	for (i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct netns_address *row = &ns.address[STEER_ADDRESSES_MAX + i];
		struct prefix prefix;

		ck_assert(prefix_parse(prefixes[i], &prefix));
		*row = (struct netns_address){.addr = prefix.addr, .len = prefix.len, .present = true};
		ns.proxied = i + 1;
		ip("route add default via %s", gateways[i]);
		ck_warns("", 0);
		snprintf(command, sizeof(command), "echo 1 >/proc/sys/net/%s", switches[i]);
		ck_assert(run(command));
		ck_warns(prefixes[i], 1);
		ck_warns("is forwarded to u0", 1);
		row->present = false;
		ck_warns("", 0);
		row->present = true;
		ip("route add blackhole %s", prefixes[i]);
		ck_warns("", 0);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		nat_chains, nat_table_of_iptables,      ipsec_policies,    xdp, tcx_programs, steering_alone,
		tc_filters, tc_filters_around_steering, routes_of_proxied,
	};

	return world_run("warn", tests, ARRAY_SIZE(tests));
}
