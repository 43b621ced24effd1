/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hook.c: a BPF program on the ingress of a device
 *
 * Linux 6.6 and later: a tcx link, which goes away by itself when the process
 * that holds it does, put before all others. Any Linux: a direct-action filter
 * on the clsact qdisc. That is a place which we share with others, so
 *
 *  - the qdisc is made only if there is none, and removed only if we made it
 *    and nothing else is in it by then;
 *  - a filter has our own priority and a handle that the kernel chooses, and so
 *    replaces nobody's;
 *  - filters that a dead monitor left are known by priority and name together,
 *    and are removed one by one.
 *
 * A netlink socket belongs to its namespace for life, so only the tcx link has
 * to be made inside.
 */
#include "hook.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "compat.h"
#include "netlink.h"
#include "util.h"

#define NAME_PREFIX "saferaw:" /* of all our filters, in TCA_BPF_NAME */
#define SWEEP_MAX 16           /* filters removed from a device at a time */
#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

/**
 * tc_request() - begin a traffic control request
 * @buffer: where to, NL_REQUEST_ROOM bytes
 * @type: RTM_
 * @flags: as for nl_request()
 * @ifindex: of the device
 * @parent: tcm_parent
 * @info: tcm_info
 * @handle: tcm_handle
 *
 * Return: the request.
 */
static struct nlmsghdr *tc_request(void *buffer, uint16_t type, uint16_t flags, unsigned ifindex, uint32_t parent,
				   uint32_t info, uint32_t handle)
{
	struct nlmsghdr *request = nl_request(buffer, type, flags, sizeof(struct tcmsg));
	struct tcmsg *tc = mnl_nlmsg_get_payload(request);

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = parent;
	tc->tcm_info = info;
	tc->tcm_handle = handle;
	return request;
}

/**
 * change_qdisc() - make or remove a device's clsact qdisc
 * @nl: netlink socket of the namespace
 * @ifindex: of the device
 * @type: RTM_NEWQDISC or RTM_DELQDISC
 *
 * Return: 0, or -1 and errno: EEXIST if it has one already.
 */
static int change_qdisc(struct mnl_socket *nl, unsigned ifindex, uint16_t type)
{
	const uint16_t flags = NLM_F_ACK | (type == RTM_NEWQDISC ? NLM_F_CREATE | NLM_F_EXCL : 0);
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request;

	request = tc_request(buffer, type, flags, ifindex, TC_H_CLSACT, 0, TC_H_MAKE(TC_H_CLSACT, 0));
	mnl_attr_put_strz(request, TCA_KIND, "clsact");
	return nl_ask(nl, request, NULL, NULL);
}

/**
 * delete_filter() - remove one bpf filter from a device's ingress
 * @nl: netlink socket of the namespace
 * @ifindex: of the device
 * @info: priority and protocol of the filter
 * @handle: of the filter
 *
 * Return: 0, or -1 and errno.
 */
static int delete_filter(struct mnl_socket *nl, unsigned ifindex, uint32_t info, uint32_t handle)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = tc_request(buffer, RTM_DELTFILTER, NLM_F_ACK, ifindex, INGRESS, info, handle);

	mnl_attr_put_strz(request, TCA_KIND, "bpf");
	return nl_ask(nl, request, NULL, NULL);
}

/**
 * dump_filters() - look at all filters at one end of a device
 * @nl: netlink socket of the namespace
 * @ifindex: of the device
 * @parent: INGRESS or EGRESS
 * @each: called for each
 * @arg: its argument
 *
 * Return: 0, or -1 and errno.
 */
static int dump_filters(struct mnl_socket *nl, unsigned ifindex, uint32_t parent, nl_each *each, void *arg)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];

	return nl_ask(nl, tc_request(buffer, RTM_GETTFILTER, NLM_F_DUMP, ifindex, parent, 0, 0), each, arg);
}

/**
 * count_filter() - count whatever is in the dump
 * @message: part of it
 * @arg: unsigned counter
 */
static void count_filter(const struct nlmsghdr *message, void *arg)
{
	(void)message;
	++*(unsigned *)arg;
}

/**
 * qdisc_empty() - is there nothing in a device's clsact qdisc?
 * @nl: netlink socket of the namespace
 * @ifindex: of the device
 *
 * Return: false also when the kernel does not say.
 */
static bool qdisc_empty(struct mnl_socket *nl, unsigned ifindex)
{
	unsigned filters = 0;

	return !dump_filters(nl, ifindex, INGRESS, count_filter, &filters) &&
	       !dump_filters(nl, ifindex, EGRESS, count_filter, &filters) && filters == 0;
}

/* What a tcx link is made of */
struct tcx {
	unsigned ifindex;
	int program;
	int link; /* result */
};

/**
 * link_inside() - make a tcx link, inside the namespace
 * @arg: struct tcx
 *
 * Return: 0, or -1 and errno.
 */
static int link_inside(void *arg)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = BPF_F_BEFORE);
	struct tcx *tcx = arg;

	tcx->link = bpf_link_create(tcx->program, (int)tcx->ifindex, (enum bpf_attach_type)BPF_TCX_INGRESS, &opts);
	return tcx->link < 0 ? -1 : 0;
}

/**
 * hook_tcx() - attach by a tcx link, before all other programs there
 * @ns: the namespace
 * @hook: result
 * @ifindex: of the device
 * @program: fd
 *
 * Return: 0, or -1 and errno: EINVAL or EOPNOTSUPP from a kernel that has no tcx.
 */
int hook_tcx(const struct netns *ns, struct hook *hook, unsigned ifindex, int program)
{
	struct tcx tcx = {.ifindex = ifindex, .program = program};

	if (netns_call(ns, link_inside, &tcx) < 0)
		return -1;
	*hook = (struct hook){.ifindex = ifindex, .link = tcx.link};
	return 0;
}

/**
 * keep_filter() - note the identity of a filter that was made
 * @message: the kernel's echo
 * @arg: struct hook
 */
static void keep_filter(const struct nlmsghdr *message, void *arg)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	struct hook *hook = arg;

	if (message->nlmsg_type != RTM_NEWTFILTER || mnl_nlmsg_get_payload_len(message) < sizeof(*tc))
		return;
	hook->info = tc->tcm_info;
	hook->handle = tc->tcm_handle;
}

/**
 * hook_clsact() - attach by a filter on the clsact qdisc
 * @nl: netlink socket of the namespace
 * @hook: result
 * @ifindex: of the device
 * @program: fd
 * @priority: of the filter, ours alone
 * @name: for people who list the filters
 *
 * Return: 0, or -1 and errno.
 */
int hook_clsact(struct mnl_socket *nl, struct hook *hook, unsigned ifindex, int program, uint16_t priority,
		const char *name)
{
	const uint32_t info = TC_H_MAKE((uint32_t)priority << 16, htons(ETH_P_ALL));
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request;
	char text[64];
	struct nlattr *options;

	*hook = (struct hook){.ifindex = ifindex, .link = -1};
	hook->made_qdisc = change_qdisc(nl, ifindex, RTM_NEWQDISC) == 0;
	if (!hook->made_qdisc && errno != EEXIST)
		return -1;
	request = tc_request(buffer, RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO, ifindex,
			     INGRESS, info, 0);
	snprintf(text, sizeof(text), NAME_PREFIX "%s", name);
	mnl_attr_put_strz(request, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(request, TCA_OPTIONS);
	mnl_attr_put_u32(request, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(request, TCA_BPF_NAME, text);
	mnl_attr_put_u32(request, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(request, options);
	if (nl_ask(nl, request, keep_filter, hook) == 0 && hook->handle)
		return 0;
	hook_detach(nl, hook);
	return -1;
}

/**
 * hook_detach() - take a program off its device, if the device still is there
 * @nl: netlink socket of the namespace
 * @hook: from hook_tcx() or hook_clsact(). errno stays.
 */
void hook_detach(struct mnl_socket *nl, struct hook *hook)
{
	int saved = errno;

	close_fd(&hook->link);
	if (hook->handle)
		delete_filter(nl, hook->ifindex, hook->info, hook->handle);
	if (hook->made_qdisc && qdisc_empty(nl, hook->ifindex))
		change_qdisc(nl, hook->ifindex, RTM_DELQDISC);
	errno = saved;
}

/* A filter that is looked for */
struct search {
	const struct hook *hook;
	bool found;
};

/**
 * match_filter() - is this the filter that is looked for?
 * @message: part of a dump
 * @arg: struct search
 */
static void match_filter(const struct nlmsghdr *message, void *arg)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	struct search *search = arg;

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(*tc) && tc->tcm_info == search->hook->info &&
	    tc->tcm_handle == search->hook->handle)
		search->found = true;
}

/**
 * hook_is_lost() - has somebody taken a program of ours off its device?
 * @nl: netlink socket of the namespace
 * @hook: from hook_tcx(), whose link is ours to end, or hook_clsact()
 *
 * Return: false also when the device is gone, or the kernel does not say.
 */
bool hook_is_lost(struct mnl_socket *nl, const struct hook *hook)
{
	_Alignas(struct nlmsghdr) char buffer[NL_REQUEST_ROOM];
	struct nlmsghdr *request = nl_request(buffer, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	struct search search = {.hook = hook};
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);

	if (!hook->handle || dump_filters(nl, hook->ifindex, INGRESS, match_filter, &search) < 0 || search.found)
		return false;
	info->ifi_index = (int)hook->ifindex;
	return nl_ask(nl, request, NULL, NULL) == 0;
}

/* Filters of ours that a dump has shown */
struct leftovers {
	uint16_t priority;
	unsigned n;
	struct {
		uint32_t info, handle;
	} filter[SWEEP_MAX];
};

/**
 * note_leftover() - note a filter that has our priority and our kind of name
 * @message: part of a dump
 * @arg: struct leftovers
 */
static void note_leftover(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *found[TCA_MAX + 1], *option[TCA_BPF_MAX + 1];
	const struct tcmsg *tc = nl_parse(message, sizeof(*tc), found, TCA_MAX);
	struct leftovers *left = arg;

	if (!tc || !tc->tcm_handle || tc->tcm_info >> 16 != left->priority || left->n == SWEEP_MAX)
		return;
	if (strcmp(nl_text(found[TCA_KIND]), "bpf") != 0)
		return;
	nl_parse_nested(found[TCA_OPTIONS], option, TCA_BPF_MAX);
	if (strncmp(nl_text(option[TCA_BPF_NAME]), NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return;
	left->filter[left->n].info = tc->tcm_info;
	left->filter[left->n++].handle = tc->tcm_handle;
}

/**
 * hook_sweep() - remove what a dead monitor left on a device
 * @nl: netlink socket of the namespace
 * @ifindex: of the device
 * @priority: that hook_clsact() was called with
 *
 * Nobody knows any more who made the qdisc. When our filters were the last
 * ones on it, it goes with them: whoever attaches next makes one again.
 *
 * Return: how many filters were removed, or -1 and errno.
 */
int hook_sweep(struct mnl_socket *nl, unsigned ifindex, uint16_t priority)
{
	struct leftovers left = {.priority = priority};
	int removed = 0;

	if (dump_filters(nl, ifindex, INGRESS, note_leftover, &left) < 0)
		return -1;
	for (unsigned i = 0; i < left.n; i++)
		removed += delete_filter(nl, ifindex, left.filter[i].info, left.filter[i].handle) == 0;
	if (removed && qdisc_empty(nl, ifindex))
		change_qdisc(nl, ifindex, RTM_DELQDISC);
	return removed;
}
