/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * veth.h: pairs of devices, one end here and one in another namespace
 */
#ifndef SAFERAW_VETH_H
#define SAFERAW_VETH_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/* A pair to be made, down */
struct veth {
	const char *name, *peer_name;
	int peer;       /* file of the peer's namespace */
	uint32_t mtu;   /* of both ends */
	uint32_t group; /* of the end that is here */
};

int veth_make(const struct mnl_socket *nl, const struct veth *veth);
unsigned veth_find(const struct mnl_socket *nl, const char *name);
int veth_up(const struct mnl_socket *nl, unsigned ifindex);
bool veth_there(const struct mnl_socket *nl, unsigned ifindex);
int veth_remove(const struct mnl_socket *nl, unsigned ifindex);
int veth_remove_group(const struct mnl_socket *nl, uint32_t group);

#endif
