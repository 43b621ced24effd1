/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim.h: what a request of the relay is about, and whether it may be
 */
#ifndef SAFERAW_CLAIM_H
#define SAFERAW_CLAIM_H

#include "netns.h"

const char *claim_form_fault(const struct priv_claim *claim);
const char *claim_fault(const struct priv_claim *claim, const struct conf *conf, struct netns *const *netns,
			const struct conf_slice **slice);

#endif
