/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * configure.h: telling the relay what there is, and what has changed
 */
#ifndef SAFERAW_CONFIGURE_H
#define SAFERAW_CONFIGURE_H

#include "control.h"
#include "netns.h"

/* Everything that the relay is told about */
struct picture {
	const struct conf *conf;
	struct netns *const *netns; /* PRIV_NETNS_MAX; NULL where none is attached */
	const struct control *control;
	const uint32_t *slice_serial; /* by slice number */
};

int configure_relay(int channel, const struct picture *picture);
int configure_address(int channel, const struct netns *ns, unsigned index);
int configure_link_gone(int channel, const struct netns *ns, uint32_t link);
int configure_routes(int channel, const struct netns *ns);

#endif
