/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hook.h: a BPF program on the ingress of a device
 */
#ifndef SAFERAW_HOOK_H
#define SAFERAW_HOOK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "netns.h"

/* One of our programs on one device */
struct hook {
	unsigned ifindex;
	int link;        /* tcx link; -1: it is a clsact filter */
	uint32_t info;   /* of the filter: its priority and protocol, as in struct tcmsg */
	uint32_t handle; /* of the filter, chosen by the kernel */
	bool made_qdisc; /* the device had no clsact qdisc before */
};

int hook_tcx(const struct netns *ns, struct hook *hook, unsigned ifindex, int program);
int hook_clsact(struct mnl_socket *nl, struct hook *hook, unsigned ifindex, int program, uint16_t priority,
		const char *name);
void hook_detach(struct mnl_socket *nl, struct hook *hook);
bool hook_is_lost(struct mnl_socket *nl, const struct hook *hook);
int hook_sweep(struct mnl_socket *nl, unsigned ifindex, uint16_t priority);

#endif
