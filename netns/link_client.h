/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_client.h: who asks for a link, and for which namespace
 */
#ifndef SAFERAW_LINK_CLIENT_H
#define SAFERAW_LINK_CLIENT_H

#include <sys/types.h>

#include "conf.h"

int link_client(int sock, const struct conf *conf, const struct conf_slice *slice, uid_t *uid);
int link_client_netns(int sock, uid_t uid);

#endif
