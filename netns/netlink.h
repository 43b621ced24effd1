/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netlink.h: requests to the kernel over netlink, and messages from it
 */
#ifndef SAFERAW_NETLINK_H
#define SAFERAW_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "netns.h"

#define NL_ROOM 32768       /* bytes: the largest part of a dump that the kernel makes */
#define NL_REQUEST_ROOM 256 /* bytes: enough for every request here */

/* Called for each message of an answer */
typedef void nl_each(const struct nlmsghdr *message, void *arg);

struct mnl_socket *nl_open(const struct netns *ns, int family, int flags);
void nl_close(struct mnl_socket **nl);
int nl_join(const struct mnl_socket *nl, const int *group, unsigned groups);
ssize_t nl_receive(const struct mnl_socket *nl, void *buffer, size_t room);
struct nlmsghdr *nl_request(void *buffer, uint16_t type, uint16_t flags, size_t header);
int nl_ask(const struct mnl_socket *nl, struct nlmsghdr *request, nl_each *each, void *arg);
const void *nl_parse(const struct nlmsghdr *message, size_t header, const struct nlattr **found, unsigned max);
void nl_parse_nested(const struct nlattr *nest, const struct nlattr **found, unsigned max);
uint32_t nl_u32(const struct nlattr *attribute, uint32_t absent);
const char *nl_text(const struct nlattr *attribute);

#endif
