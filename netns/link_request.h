/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link_request.h: the relay's request for a link
 */
#ifndef SAFERAW_LINK_REQUEST_H
#define SAFERAW_LINK_REQUEST_H

#include "log.h"
#include "netns.h"

/* A request, and what it is judged by */
struct link_request {
	const struct priv_link *message;
	int sock; /* the client's control socket */
	const struct conf *conf;
	struct netns *const *netns; /* PRIV_NETNS_MAX; NULL where none is attached */
	struct log_limit *limit;    /* by slice number */
	bool excused;		    /* a reload may have crossed it */
};

const char *link_request(const struct link_request *asked, struct priv_linked *answer);

#endif
