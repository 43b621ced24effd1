/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * devices.c: which devices of a namespace are uplinks, and steering on them
 *
 * A device is an uplink when its name matches a pattern of the configuration,
 * or when it is the loopback device; whether it is up does not matter. TUNs of
 * ours never are: what they carry has passed steering already.
 *
 * The table is brought up to date from whole dumps: clear the seen marks, take
 * every device of the dump, settle. A dump that was not complete is begun anew
 * and never settled, so that no steering is taken off by mistake. A device that
 * was renamed is simply found to match or not.
 *
 * Steering that a device refuses is tried again when something about that
 * device has changed. A device that was deleted is noted as such, because
 * another one may have its index by the time of the next dump.
 */
#include "devices.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "log.h"
#include "netlink.h"
#include "steering.h"

#define MTU_DEFAULT 1500
#define TUN_PREFIX "saferaw" /* a TUN whose name begins so is some saferawd's */

/**
 * devices_free() - forget all; steering stays where it is
 * @devices: the uplinks
 */
void devices_free(struct devices *devices)
{
	free(devices->device);
	*devices = (struct devices){0};
}

/**
 * devices_find() - an uplink by index
 * @devices: the uplinks
 * @ifindex: device index
 *
 * Return: the uplink, or NULL.
 */
struct device *devices_find(const struct devices *devices, unsigned ifindex)
{
	for (unsigned i = 0; i < devices->count; i++)
		if (devices->device[i].ifindex == ifindex)
			return &devices->device[i];
	return NULL;
}

/**
 * add_device() - one more uplink
 * @devices: the uplinks
 * @ifindex: its index
 *
 * Return: the uplink, or NULL without memory.
 */
static struct device *add_device(struct devices *devices, unsigned ifindex)
{
	if (devices->count == devices->room) {
		unsigned room = devices->room ? 2 * devices->room : 8;
		struct device *larger = reallocarray(devices->device, room, sizeof(*larger));

		if (!larger)
			return NULL;
		devices->device = larger;
		devices->room = room;
	}
	devices->device[devices->count] = (struct device){.ifindex = ifindex, .touched = true};
	return &devices->device[devices->count++];
}

/**
 * is_uplink() - whether a device is one
 * @ns: the namespace
 * @info: the device
 * @name: its name
 * @kind: its kind ("veth", "tun"), "" for hardware
 */
static bool is_uplink(const struct netns *ns, const struct ifinfomsg *info, const char *name, const char *kind)
{
	unsigned ifindex = (unsigned)info->ifi_index;

	if (info->ifi_flags & IFF_LOOPBACK)
		return true;
	if (netns_made(ns, ifindex))
		return false;
	if (link_named(ns, name, kind))
		return false;
	if (!strcmp(kind, "tun") && !strncmp(name, TUN_PREFIX, strlen(TUN_PREFIX)))
		return false;
	for (unsigned i = 0; i < ns->conf.uplinks; i++)
		if (!fnmatch(ns->conf.uplink[i], name, 0))
			return true;
	return false;
}

/**
 * devices_forget_seen() - before a dump
 * @devices: the uplinks
 */
void devices_forget_seen(struct devices *devices)
{
	for (unsigned i = 0; i < devices->count; i++)
		devices->device[i].seen = false;
}

/**
 * devices_touch_all() - any device may have changed: try again where steering was refused
 * @devices: the uplinks
 */
void devices_touch_all(struct devices *devices)
{
	for (unsigned i = 0; i < devices->count; i++)
		devices->device[i].touched = true;
}

/**
 * devices_take() - a device of the dump
 * @devices: the uplinks
 * @ns: the namespace
 * @message: RTM_NEWLINK
 */
void devices_take(struct devices *devices, const struct netns *ns, const struct nlmsghdr *message)
{
	const struct nlattr *found[IFLA_MAX + 1], *about[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *info = nl_parse(message, sizeof(*info), found, IFLA_MAX);
	const char *name = nl_text(found[IFLA_IFNAME]);
	struct device *device;

	nl_parse_nested(found[IFLA_LINKINFO], about, IFLA_INFO_MAX);
	if (!info || !*name || !is_uplink(ns, info, name, nl_text(about[IFLA_INFO_KIND])))
		return;
	device = devices_find(devices, (unsigned)info->ifi_index);
	if (!device)
		device = add_device(devices, (unsigned)info->ifi_index);
	if (!device) {
		log_error("%s: no memory for uplink %s", ns->conf.name, name);
		return;
	}
	snprintf(device->name, sizeof(device->name), "%s", name);
	device->mtu = nl_u32(found[IFLA_MTU], MTU_DEFAULT);
	device->up = info->ifi_flags & IFF_UP;
	device->loopback = info->ifi_flags & IFF_LOOPBACK;
	device->seen = true;
}

/**
 * attach() - put steering on an uplink, or say why not (ENODEV: it is gone already, and the watch will say so)
 * @ns: the namespace
 * @device: the uplink
 */
static void attach(struct netns *ns, struct device *device)
{
	device->touched = false;
	if (!steering_attach(ns, device->ifindex)) {
		device->attached = true;
		device->refusal = 0;
		log_info("%s: uplink %s has steering (%s)", ns->conf.name, device->name, steering_mode(ns));
	} else if (errno != ENODEV && device->refusal != errno) {
		device->refusal = errno;
		log_error("%s: uplink %s takes no steering: %s; its packets reach no slice", ns->conf.name,
			  device->name, strerror(errno));
	}
}

/**
 * devices_settle() - steering on and off, after a complete dump
 * @devices: the uplinks
 * @ns: the namespace
 */
void devices_settle(struct devices *devices, struct netns *ns)
{
	unsigned i = 0;

	while (i < devices->count) {
		struct device *device = &devices->device[i];

		if (device->attached && (device->deleted || !device->seen)) {
			steering_detach(ns, device->ifindex);
			device->attached = false;
			device->touched = true;
		}
		device->deleted = false;
		if (!device->seen) {
			log_info("%s: %s is no uplink any more", ns->conf.name, device->name);
			*device = devices->device[--devices->count];
			continue;
		}
		if (!device->attached && device->touched)
			attach(ns, device);
		i++;
	}
}

/**
 * devices_mtu() - what fits through every uplink that is up, the loopback device left out
 * @devices: the uplinks
 *
 * Return: smallest MTU, bytes; 1500 when no uplink is up.
 */
uint32_t devices_mtu(const struct devices *devices)
{
	uint32_t mtu = 0;

	for (unsigned i = 0; i < devices->count; i++) {
		const struct device *device = &devices->device[i];

		if (device->up && !device->loopback && (!mtu || device->mtu < mtu))
			mtu = device->mtu;
	}
	return mtu ? mtu : MTU_DEFAULT;
}
