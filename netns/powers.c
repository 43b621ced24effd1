/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * powers.c: the capabilities of the monitor and of the relay that it starts
 *
 * The monitor keeps what it needs while it runs, and the reason stands beside
 * each in a table. Everything else leaves all its sets, the bounding set
 * included, before the first namespace is entered. Being uid 0 gives nothing
 * back: the securebits say so, locked. Each stage is verified by reading the
 * sets again from the kernel, and by trying to take a power back, which must
 * fail.
 *
 * The relay's child process goes down in two stages around its change of
 * identity: powers_relay_prepare() while it may still do everything, and
 * powers_relay_finish() after, which leaves CAP_SYS_CHROOT alone. That one is
 * ambient, so that it passes the exec; the relay uses it to enter its empty
 * root, and drops it before it reads a byte.
 */
#include "powers.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "log.h"
#include "util.h"

/* What the monitor keeps. setns(2) asks for CAP_SYS_ADMIN, to which CAP_BPF and CAP_PERFMON would add nothing. */
static const struct {
	unsigned capability;
	const char *reason;
} kept[] = {
	{CAP_SYS_ADMIN, "enter network namespaces, give the relay its own, load BPF programs"},
	{CAP_NET_ADMIN, "TUN devices, steering, network sysctls, socket buffers"},
	{CAP_NET_BIND_SERVICE, "hold ports below 1024"},
	{CAP_SETUID, "start the relay as its user"},
	{CAP_SETGID, "start the relay as its group"},
	{CAP_SETPCAP, "start the relay without powers"},
	{CAP_SYS_CHROOT, "let the relay enter its empty root"},
	{CAP_KILL, "end the relay, which has another uid"},
};

#define SECURE_MONITOR (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED)
#define SECURE_RELAY                                                                                                 \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |             \
	 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/**
 * is_kept() - whether the monitor keeps a capability
 * @capability: its number
 */
static bool is_kept(unsigned capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].capability == capability)
			return true;
	return false;
}

/**
 * powers_check() - say which capabilities are missing
 *
 * Return: 0, or -1 after a log line for each that is missing.
 */
int powers_check(void)
{
	int result = 0;

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0) {
		log_error("cannot read the capabilities of this process");
		return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, kept[i].capability) &&
		    capng_have_capability(CAPNG_BOUNDING_SET, kept[i].capability))
			continue;
		log_error("missing capability: cap_%s (needed to: %s)", capng_capability_to_name(kept[i].capability),
			  kept[i].reason);
		result = -1;
	}
	return result;
}

/**
 * has() - read from the library's copy of the sets
 * @type: the set
 * @capability: its number
 */
static bool has(capng_type_t type, unsigned capability)
{
	return capng_have_capability(type, capability) == 1;
}

/**
 * verify() - read the sets again and compare each capability with what it should be
 * @allowed: says which may be there
 * @inherit: whether those are inheritable and ambient too
 *
 * Return: 0, or -1 with EPERM.
 */
static int verify(bool (*allowed)(unsigned capability), bool inherit)
{
	errno = EPERM;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0)
		return -1;
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		bool want = allowed(cap);

		if (has(CAPNG_EFFECTIVE, cap) != want || has(CAPNG_PERMITTED, cap) != want ||
		    has(CAPNG_BOUNDING_SET, cap) != want || has(CAPNG_INHERITABLE, cap) != (want && inherit) ||
		    has(CAPNG_AMBIENT, cap) != (want && inherit)) {
			errno = EPERM;
			return -1;
		}
	}
	return 0;
}

/**
 * verify_lost() - try to take a power back
 *
 * CAP_SYS_MODULE is in nobody's list here, and would give everything.
 *
 * Return: 0 when the kernel refused, else -1 with EPERM.
 */
static int verify_lost(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0 ||
	    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_MODULE) < 0 ||
	    capng_apply(CAPNG_SELECT_CAPS) == 0) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/**
 * powers_reduce() - the monitor lets go of all powers but those in the table, for good
 *
 * Return: 0, or -1 after a log line.
 */
int powers_reduce(void)
{
	if (prctl(PR_SET_SECUREBITS, (unsigned long)SECURE_MONITOR) < 0) {
		log_error("cannot set securebits: %m");
		return -1;
	}
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, kept[i].capability);
	if (capng_apply(CAPNG_SELECT_ALL) < 0) {
		log_error("cannot reduce capabilities: %m");
		return -1;
	}
	if (verify(is_kept, false) < 0 || verify_lost() < 0) {
		log_error("capabilities that were dropped are still there");
		return -1;
	}
	return 0;
}

/**
 * is_relays() - whether the relay starts with a capability
 * @capability: its number
 */
static bool is_relays(unsigned capability)
{
	return capability == CAP_SYS_CHROOT;
}

/**
 * powers_relay_prepare() - before the relay's process changes its identity
 *
 * Shrinks the bounding set, makes CAP_SYS_CHROOT ambient, and sets the
 * securebits under which a change of uid moves no capability.
 *
 * Return: 0, or -1 and errno.
 */
int powers_relay_prepare(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i].capability);
	capng_update(CAPNG_ADD, CAPNG_BOUNDING_SET | CAPNG_INHERITABLE | CAPNG_AMBIENT, CAP_SYS_CHROOT);
	if (capng_apply(CAPNG_SELECT_ALL) < 0) {
		errno = EPERM;
		return -1;
	}
	return prctl(PR_SET_SECUREBITS, (unsigned long)SECURE_RELAY);
}

/**
 * powers_relay_finish() - after the relay's process has changed its identity
 *
 * Return: 0, or -1 and errno: also when something was not given up.
 */
int powers_relay_finish(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	capng_update(CAPNG_ADD,
		     CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET | CAPNG_AMBIENT,
		     CAP_SYS_CHROOT);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0) {
		errno = EPERM;
		return -1;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0)
		return -1;
	return verify(is_relays, true) < 0 || verify_lost() < 0 ? -1 : 0;
}
