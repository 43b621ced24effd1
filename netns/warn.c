/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * warn.c: what else on the host gets in the way of slices, or does not apply to them
 *
 * Packets of slices go round most of the host's network stack. Once, when a
 * namespace has been attached, the monitor looks for what an administrator may
 * not expect to meet or to miss there, and says so: one line for each thing
 * found, with what it means for slices and what to do about it.
 *
 *   NAT chains     NAT chooses ports without a look at what is reserved
 *   IPsec          policies see nothing of what slices send and receive
 *   XDP            runs before steering, always
 *   tcx            programs of an uplink run in one list: some before, some after steering
 *   tc filters     run after all of tcx; among each other by priority
 *   routes         that lead packets for a proxied prefix back to where they came from
 *
 * It is a service, not a safeguard: nothing here fails, and a question that
 * this kernel, or the capabilities at hand, do not answer is a line at debug
 * level. Steering is told from other programs by its name alone.
 */
#include "warn.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compat.h"
#include "log.h"
#include "netlink.h"
#include "route.h"
#include "steering.h"
#include "uplink.h"
#include "util.h"

#define STEER_IN "steer_in"    /* the program's name */
#define OUR_FILTERS "saferaw:" /* what the names of its filters begin with */
#define TCX_MAX 64             /* programs of one device that the kernel allows */

/* Programs or filters of one uplink that are not steering */
struct others {
	bool steering; /* was met already: what comes now runs after it */
	unsigned before, after;
	char name_before[40], name_after[40]; /* of the first ones */
};

/**
 * unanswered() - a question that could not be asked
 * @ns: the namespace
 * @about: what it was about
 */
static void unanswered(const struct netns *ns, const char *about)
{
	log_debug("%s: cannot look for %s: %s", ns->conf.name, about, strerror(errno));
}

/**
 * ask() - one request on a socket of its own
 * @ns: the namespace
 * @family: netlink family
 * @request: from nl_request()
 * @each: called for each message of the answer
 * @arg: its argument
 *
 * Return: 0, or -1 and errno.
 */
static int ask(const struct netns *ns, int family, struct nlmsghdr *request, nl_each *each, void *arg)
{
	struct mnl_socket *nl = nl_open(ns, family, 0);
	int error;

	if (!nl)
		return -1;
	error = nl_ask(nl, request, each, arg);
	nl_close(&nl);
	return error;
}

/* NAT chains that were found */
struct chains {
	unsigned count;
	char first[96]; /* "TABLE CHAIN" */
};

/**
 * take_chain() - count a chain if it is one for NAT
 * @message: NFT_MSG_NEWCHAIN
 * @arg: the struct chains
 */
static void take_chain(const struct nlmsghdr *message, void *arg)
{
	struct chains *chains = arg;
	const struct nlattr *found[NFTA_CHAIN_MAX + 1];

	nl_parse(message, sizeof(struct nfgenmsg), found, NFTA_CHAIN_MAX);
	if (strcmp(nl_text(found[NFTA_CHAIN_TYPE]), "nat"))
		return;
	if (!chains->count++)
		snprintf(chains->first, sizeof(chains->first), "%s %s", nl_text(found[NFTA_CHAIN_TABLE]),
			 nl_text(found[NFTA_CHAIN_NAME]));
}

/**
 * warn_nat_chains() - NAT of nftables, iptables-nft included
 * @ns: the namespace
 */
static void warn_nat_chains(const struct netns *ns)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	uint16_t type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
	struct nlmsghdr *request = nl_request(buffer, type, NLM_F_DUMP, sizeof(struct nfgenmsg));
	struct chains chains = {0};

	if (ask(ns, NETLINK_NETFILTER, request, take_chain, &chains) < 0)
		unanswered(ns, "NAT chains");
	else if (chains.count)
		log_warn("%s: %u NAT chain%s here (first: %s): NAT may pick a slice's port for a translated "
			 "connection; "
			 "keep the slices' ranges out of what it picks from ('masquerade to :LOW-HIGH')",
			 ns->conf.name, chains.count, chains.count == 1 ? "" : "s", chains.first);
}

/* A file of the namespace's /proc/net, and its beginning */
struct proc_file {
	const char *path;
	char text[256];
};

/**
 * read_proc() - read a file, in the namespace that the caller is in
 * @arg: the struct proc_file
 *
 * Return: 0, or -1 and errno.
 */
static int read_proc(void *arg)
{
	struct proc_file *file = arg;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, file->text, sizeof(file->text) - 1);
	close_fd(&fd);
	if (n < 0)
		return -1;
	file->text[n] = 0;
	return 0;
}

/**
 * warn_nat_table() - NAT of the older iptables
 * @ns: the namespace
 * @command: "iptables" or "ip6tables"
 * @path: the list of its tables, one per line
 */
static void warn_nat_table(const struct netns *ns, const char *command, const char *path)
{
	struct proc_file file = {.path = path};
	char *rest = file.text, *table;

	if (netns_call(ns, read_proc, &file) < 0) {
		unanswered(ns, path);
		return;
	}
	while ((table = strsep(&rest, "\n")))
		if (!strcmp(table, "nat"))
			log_warn("%s: the nat table of %s is in use here: NAT may pick a slice's port for a "
				 "translated "
				 "connection; keep the slices' ranges out of what it picks from (--to-ports)",
				 ns->conf.name, command);
}

/**
 * leads_back() - whether the kernel sends a packet for an address of a prefix out of an uplink
 * @ns: the namespace
 * @nl: a NETLINK_ROUTE socket of it
 * @addr: the address, none of the namespace's own
 * @uplink: set to the uplink's name
 *
 * It does not where that uplink does not forward, as packets come from there.
 */
static bool leads_back(const struct netns *ns, const struct mnl_socket *nl, const struct addr *addr,
		       const char **uplink)
{
	char path[sizeof("/proc/sys/net/ipv4/conf//forwarding") + IFNAMSIZ];
	struct proc_file file = {.path = path};
	unsigned ifindex, n = 0;
	struct route route;

	if (route_ask(nl, addr, &route) < 0 || route.type != RTN_UNICAST)
		return false;
	while ((ifindex = uplink_nth(ns, n, uplink)) && ifindex != route.ifindex)
		n++;
	if (!ifindex)
		return false;
	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/forwarding",
		 addr_family(addr) == AF_INET ? "ipv4" : "ipv6", *uplink);
	return netns_call(ns, read_proc, &file) == 0 && file.text[0] == '1';
}

/**
 * warn_proxied() - proxied prefixes whose packets go round and round where no flow takes them
 * @ns: the namespace
 */
static void warn_proxied(const struct netns *ns)
{
	struct mnl_socket *nl = nl_open(ns, NETLINK_ROUTE, 0);
	char text[ADDR_TEXT_MAX];
	const char *uplink;

	if (!nl) {
		unanswered(ns, "routes of proxied prefixes");
		return;
	}
	for (unsigned row = STEER_ADDRESSES_MAX; netns_has_row(ns, row); row++) {
		const struct prefix prefix = netns_prefix(&ns->address[row]);

		if (ns->address[row].present && leads_back(ns, nl, &prefix.addr, &uplink))
			log_warn("%s: what no flow takes of proxied %s is forwarded to %s, from where it may come "
				 "again: give "
				 "it a route that ends here ('ip route add blackhole %s')",
				 ns->conf.name, prefix_text(&prefix, text), uplink, text);
	}
	nl_close(&nl);
}

/**
 * take_policies() - how many IPsec policies there are
 * @message: XFRM_MSG_NEWSPDINFO
 * @arg: unsigned to add to
 */
static void take_policies(const struct nlmsghdr *message, void *arg)
{
	unsigned *policies = arg;
	const struct nlattr *found[XFRMA_SPD_MAX + 1];
	struct xfrmu_spdinfo info;

	nl_parse(message, sizeof(uint32_t), found, XFRMA_SPD_MAX);
	if (!found[XFRMA_SPD_INFO] || mnl_attr_get_payload_len(found[XFRMA_SPD_INFO]) < sizeof(info))
		return;
	memcpy(&info, mnl_attr_get_payload(found[XFRMA_SPD_INFO]), sizeof(info));
	*policies += info.incnt + info.outcnt + info.fwdcnt;
}

/**
 * warn_ipsec() - IPsec policies
 * @ns: the namespace
 */
static void warn_ipsec(const struct netns *ns)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, XFRM_MSG_GETSPDINFO, 0, sizeof(uint32_t));
	unsigned policies = 0;

	if (ask(ns, NETLINK_XFRM, request, take_policies, &policies) < 0)
		unanswered(ns, "IPsec policies");
	else if (policies)
		log_warn("%s: %u IPsec polic%s here: none applies to slices, whose packets leave and arrive in the "
			 "clear; "
			 "deny the destinations that must be encrypted",
			 ns->conf.name, policies, policies == 1 ? "y" : "ies");
}

/**
 * take_xdp() - a device's XDP program
 * @message: RTM_NEWLINK
 * @arg: int, set to how the program is attached (XDP_ATTACHED_)
 */
static void take_xdp(const struct nlmsghdr *message, void *arg)
{
	int *attached = arg;
	const struct nlattr *found[IFLA_MAX + 1], *xdp[IFLA_XDP_MAX + 1];

	nl_parse(message, sizeof(struct ifinfomsg), found, IFLA_MAX);
	nl_parse_nested(found[IFLA_XDP], xdp, IFLA_XDP_MAX);
	if (xdp[IFLA_XDP_ATTACHED] && mnl_attr_get_payload_len(xdp[IFLA_XDP_ATTACHED]) == sizeof(uint8_t))
		*attached = mnl_attr_get_u8(xdp[IFLA_XDP_ATTACHED]);
}

/**
 * warn_xdp() - an XDP program on an uplink
 * @ns: the namespace
 * @ifindex: the uplink
 * @name: its name
 */
static void warn_xdp(const struct netns *ns, unsigned ifindex, const char *name)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);
	int attached = XDP_ATTACHED_NONE;

	info->ifi_index = (int)ifindex;
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (ask(ns, NETLINK_ROUTE, request, take_xdp, &attached) < 0)
		unanswered(ns, "XDP programs");
	else if (attached != XDP_ATTACHED_NONE)
		log_warn("%s: uplink %s has an XDP program: it runs before steering, and what it drops or redirects "
			 "reaches no slice; let it pass the slices' ports",
			 ns->conf.name, name);
}

/**
 * note_other() - one more program or filter that is not steering
 * @others: those of the uplink so far
 * @name: what to call it
 */
static void note_other(struct others *others, const char *name)
{
	if (others->steering) {
		if (!others->after++)
			snprintf(others->name_after, sizeof(others->name_after), "%s", name);
	} else if (!others->before++) {
		snprintf(others->name_before, sizeof(others->name_before), "%s", name);
	}
}

/**
 * warn_others() - say what was noted
 * @ns: the namespace
 * @uplink: name
 * @what: "tcx program" or "tc filter"
 * @others: what was noted
 */
static void warn_others(const struct netns *ns, const char *uplink, const char *what, const struct others *others)
{
	if (others->before)
		log_warn(
			"%s: uplink %s has %u %s(s) that run before steering (first: %s): what they drop or redirect "
			"reaches no slice; let them pass the slices' ports",
			ns->conf.name, uplink, others->before, what, others->name_before);
	if (others->after)
		log_warn("%s: uplink %s has %u %s(s) that run after steering (first: %s): they see no packet that a "
			 "slice gets, and confine no slice; use limits and deny lists of saferaw.conf for that",
			 ns->conf.name, uplink, others->after, what, others->name_after);
}

/* The tcx programs of a device, in the order in which they run */
struct tcx {
	unsigned ifindex;
	uint32_t id[TCX_MAX];
	uint32_t count;
};

/**
 * query_tcx() - ask for them, in the namespace that the caller is in
 * @arg: the struct tcx
 *
 * Return: 0, or -1 and errno.
 */
static int query_tcx(void *arg)
{
	struct tcx *tcx = arg;

	tcx->count = TCX_MAX;
	return bpf_prog_query((int)tcx->ifindex, BPF_TCX_INGRESS, 0, NULL, tcx->id, &tcx->count) < 0 ? -1 : 0;
}

/**
 * program_name() - a BPF program's name
 * @id: its id
 * @name: filled in; "" when it is gone or has none
 */
static void program_name(uint32_t id, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	name[0] = 0;
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size))
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	close_fd(&fd);
}

/**
 * warn_tcx() - other tcx programs on an uplink
 * @ns: the namespace
 * @ifindex: the uplink
 * @uplink: its name
 */
static void warn_tcx(const struct netns *ns, unsigned ifindex, const char *uplink)
{
	struct tcx tcx = {.ifindex = ifindex};
	struct others others = {0};
	char name[BPF_OBJ_NAME_LEN];

	if (netns_call(ns, query_tcx, &tcx) < 0) {
		unanswered(ns, "tcx programs");
		return;
	}
	for (unsigned i = 0; i < tcx.count && i < TCX_MAX; i++) {
		program_name(tcx.id[i], name);
		if (!strcmp(name, STEER_IN))
			others.steering = true;
		else
			note_other(&others, *name ? name : "without a name");
	}
	warn_others(ns, uplink, "tcx program", &others);
}

/* The tc filters of a device, which come in the order in which they run; those of one priority count once */
struct filters {
	struct others others;
	unsigned priority; /* of those that are being read; 0: none yet */
	bool steering;     /* it is ours */
	char kind[16];
};

/**
 * end_priority() - all filters of one priority have been read
 * @filters: the filters
 */
static void end_priority(struct filters *filters)
{
	char name[40];

	if (filters->steering)
		filters->others.steering = true;
	else if (filters->priority) {
		snprintf(name, sizeof(name), "%s, priority %u", filters->kind, filters->priority);
		note_other(&filters->others, name);
	}
}

/**
 * take_filter() - a filter of the dump
 * @message: RTM_NEWTFILTER
 * @arg: the struct filters
 */
static void take_filter(const struct nlmsghdr *message, void *arg)
{
	struct filters *filters = arg;
	const struct nlattr *found[TCA_MAX + 1], *option[TCA_BPF_MAX + 1];
	const struct tcmsg *info = nl_parse(message, sizeof(*info), found, TCA_MAX);
	unsigned priority = info ? info->tcm_info >> 16 : 0;
	const char *kind = nl_text(found[TCA_KIND]);

	if (!priority)
		return;
	if (priority != filters->priority) {
		end_priority(filters);
		filters->priority = priority;
		filters->steering = false;
		snprintf(filters->kind, sizeof(filters->kind), "%s", kind);
	}
	if (strcmp(kind, "bpf"))
		return;
	nl_parse_nested(found[TCA_OPTIONS], option, TCA_BPF_MAX);
	if (!strncmp(nl_text(option[TCA_BPF_NAME]), OUR_FILTERS, strlen(OUR_FILTERS)))
		filters->steering = true;
}

/**
 * warn_filters() - other tc ingress filters on an uplink
 * @ns: the namespace
 * @ifindex: the uplink
 * @uplink: its name
 */
static void warn_filters(const struct netns *ns, unsigned ifindex, const char *uplink)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETTFILTER, NLM_F_DUMP, sizeof(struct tcmsg));
	struct tcmsg *info = mnl_nlmsg_get_payload(request);
	struct filters filters = {.others.steering = !strcmp(steering_mode(ns), "tcx")};

	info->tcm_ifindex = (int)ifindex;
	info->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	if (ask(ns, NETLINK_ROUTE, request, take_filter, &filters) < 0) {
		unanswered(ns, "tc filters");
		return;
	}
	end_priority(&filters);
	warn_others(ns, uplink, "tc filter", &filters.others);
}

/**
 * warn_at_start() - look for everything that is worth a warning, once
 * @ns: the namespace, attached, with its uplinks
 */
void warn_at_start(const struct netns *ns)
{
	const char *name;
	unsigned ifindex;

	warn_nat_chains(ns);
	warn_nat_table(ns, "iptables", "/proc/thread-self/net/ip_tables_names");
	warn_nat_table(ns, "ip6tables", "/proc/thread-self/net/ip6_tables_names");
	warn_ipsec(ns);
	warn_proxied(ns);
	for (unsigned n = 0; (ifindex = uplink_nth(ns, n, &name)); n++) {
		warn_xdp(ns, ifindex, name);
		warn_tcx(ns, ifindex, name);
		warn_filters(ns, ifindex, name);
	}
}
