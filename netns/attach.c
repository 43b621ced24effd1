/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach.c: a namespace becomes attached, changes, and is let go of
 *
 * Attaching is a table of steps, each with its reverse. The first that fails
 * is logged, and those before it are undone from the last to the first; that
 * is also all that detaching is. So whatever was attached can be detached,
 * and it is the same at start, at stop and in a reload.
 *
 * What an earlier monitor left when it was killed is cleaned up first.
 * Nothing is steered before the last step: steering knows no address and no
 * slice until then.
 */
#include "attach.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "enter.h"
#include "link.h"
#include "log.h"
#include "permit.h"
#include "proxied.h"
#include "reserve.h"
#include "steering.h"
#include "sysctl.h"
#include "tun.h"
#include "uplink.h"
#include "util.h"

#define TUN_MTU 65535
#define TAP_MTU 65521 /* the largest that leaves room for a link header */

/* A namespace and what its steps need */
struct attaching {
	struct netns *ns;
	const struct conf *conf; /* NULL while detaching */
	const char *run_dir;
};

/**
 * open_namespace() - its file
 * @a: the namespace
 */
static int open_namespace(const struct attaching *a)
{
	if (!a->ns->conf.path[0])
		return 0;
	a->ns->fd = enter_open(a->ns->conf.path);
	return a->ns->fd < 0 ? -1 : 0;
}

/**
 * close_namespace() - the reverse of open_namespace()
 * @a: the namespace
 */
static void close_namespace(const struct attaching *a)
{
	close_fd(&a->ns->fd);
}

/**
 * list_devices() - the devices of the namespace that the caller is in
 * @arg: struct if_nameindex *, filled in
 */
static int list_devices(void *arg)
{
	struct if_nameindex **devices = arg;

	*devices = if_nameindex();
	return *devices ? 0 : -1;
}

/**
 * restore() - sysctls that a monitor which was killed has left changed
 * @a: the namespace
 */
static int restore(const struct attaching *a)
{
	return sysctl_restore(a->ns, a->run_dir);
}

/**
 * sweep() - steering that a monitor which was killed has left on devices
 * @a: the namespace
 *
 * Also on those that are no uplinks any more; our own TUNs are new.
 */
static int sweep(const struct attaching *a)
{
	struct if_nameindex *devices;

	if (netns_call(a->ns, list_devices, &devices) < 0)
		return -1;
	for (const struct if_nameindex *device = devices; device->if_index; device++)
		if (!netns_made(a->ns, device->if_index) && steering_sweep(a->ns, device->if_index) < 0)
			log_warn("%s: %s: cannot look for what a killed monitor has left: %m", a->ns->conf.name,
				 device->if_name);
	if_freenameindex(devices);
	return 0;
}

/**
 * open_tuns() - the devices
 * @a: the namespace
 */
static int open_tuns(const struct attaching *a)
{
	return tun_open(a->ns);
}

/**
 * close_tuns() - the reverse of open_tuns()
 * @a: the namespace
 */
static void close_tuns(const struct attaching *a)
{
	tun_close(a->ns);
}

/*
 * What the devices' settings are to be; they go with the device, so they are
 * not recorded. Forwarding is uplink.c's. No address, no router: the kernel
 * itself shall send nothing into them.
 */
static const struct {
	const char *before, *after, *value;
} device_sysctls[] = {
	{"ipv4/conf/", "/accept_local", "0"},         {"ipv4/conf/", "/rp_filter", "1"},
	{"ipv6/conf/", "/addr_gen_mode", "1"},        {"ipv6/conf/", "/accept_ra", "0"},
	{"ipv6/conf/", "/router_solicitations", "0"},
};

/**
 * settle_device() - settings, size and queue of one device, and up with it
 * @a: the namespace
 * @name: of the device
 * @ifindex: of the device
 * @mtu: bytes
 *
 * A kernel or a namespace without IPv6 lacks those settings; IPv4 goes on.
 */
static int settle_device(const struct attaching *a, const char *name, unsigned ifindex, unsigned mtu)
{
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(device_sysctls); i++) {
		bool v6 = strncmp(device_sysctls[i].before, "ipv6", 4) == 0;

		snprintf(path, sizeof(path), "%s%s%s", device_sysctls[i].before, name, device_sysctls[i].after);
		if (sysctl_set(a->ns, a->run_dir, path, device_sysctls[i].value, false) < 0 &&
		    !(v6 && errno == ENOENT))
			return -1;
	}
	return uplink_set(a->ns, ifindex, true, mtu, STEER_RING);
}

/**
 * settle_tuns() - the devices ready to be used
 * @a: the namespace
 *
 * They stay down until steering guards what comes out of them.
 */
static int settle_tuns(const struct attaching *a)
{
	if (settle_device(a, a->ns->tun_name, a->ns->tun_ifindex, TUN_MTU) < 0 ||
	    settle_device(a, a->ns->helper_name, a->ns->helper_ifindex, TUN_MTU) < 0)
		return -1;
	return settle_device(a, a->ns->tap_name, a->ns->tap_ifindex, TAP_MTU);
}

/**
 * remove_tuns() - the reverse of settle_tuns(), while steering is still there
 * @a: the namespace
 */
static void remove_tuns(const struct attaching *a)
{
	tun_remove(a->ns);
}

/**
 * accept_local() - let what is sent to the host itself in by lo
 * @a: the namespace
 *
 * The only setting of another device that is changed. It is recorded.
 */
static int accept_local(const struct attaching *a)
{
	return sysctl_set(a->ns, a->run_dir, "ipv4/conf/lo/accept_local", "1", true);
}

/**
 * reserve_ports() - keep the kernel's own choice of ports off the slices'
 * @a: the namespace
 *
 * Without it a slice now and then finds a port in use, which is no reason not
 * to serve it: the kernel's list has a largest size.
 */
static int reserve_ports(const struct attaching *a)
{
	if (sysctl_reserve_ports(a->ns, a->run_dir, a->conf) < 0)
		log_warn("%s: cannot keep the kernel's own choice of ports off the slices': %m", a->ns->conf.name);
	return 0;
}

/**
 * restore_sysctls() - the reverse of accept_local() and reserve_ports()
 * @a: the namespace
 */
static void restore_sysctls(const struct attaching *a)
{
	if (sysctl_restore(a->ns, a->run_dir) < 0)
		log_warn("%s: cannot put all sysctls back: %m", a->ns->conf.name);
}

/**
 * load_steering() - programs and maps
 * @a: the namespace
 */
static int load_steering(const struct attaching *a)
{
	return steering_load(a->ns);
}

/**
 * unload_steering() - the reverse of load_steering()
 * @a: the namespace
 */
static void unload_steering(const struct attaching *a)
{
	steering_unload(a->ns);
}

/**
 * init_reserve() - the table of held ports
 * @a: the namespace
 */
static int init_reserve(const struct attaching *a)
{
	return reserve_init(a->ns);
}

/**
 * find_prefixes() - the proxied prefixes that there are
 * @a: the namespace
 *
 * Return: 0
 */
static int find_prefixes(const struct attaching *a)
{
	proxied_refit(a->ns, a->conf);
	return 0;
}

/**
 * hold_ports() - hold what is held from the start
 * @a: the namespace; its addresses are known
 *
 * Return: 0
 */
static int hold_ports(const struct attaching *a)
{
	reserve_refit(a->ns, a->conf);
	return 0;
}

/**
 * free_reserve() - the reverse of init_reserve()
 * @a: the namespace
 */
static void free_reserve(const struct attaching *a)
{
	reserve_free(a->ns);
}

/**
 * init_links() - no links, and none that an earlier monitor left
 * @a: the namespace
 */
static int init_links(const struct attaching *a)
{
	return link_init(a->ns);
}

/**
 * free_links() - the reverse of init_links()
 * @a: the namespace
 */
static void free_links(const struct attaching *a)
{
	link_free(a->ns);
}

/**
 * open_uplinks() - the watch over devices, addresses and routes, and steering on the uplinks
 * @a: the namespace
 */
static int open_uplinks(const struct attaching *a)
{
	steering_beat();
	return uplink_open(a->ns);
}

/**
 * close_uplinks() - the reverse of open_uplinks()
 * @a: the namespace
 */
static void close_uplinks(const struct attaching *a)
{
	uplink_close(a->ns);
}

/**
 * permit() - what may pass
 * @a: the namespace
 */
static int permit(const struct attaching *a)
{
	return permit_all(a->ns, a->conf);
}

/**
 * nothing() - the reverse of a step that leaves nothing
 * @a: the namespace
 */
static void nothing(const struct attaching *a)
{
	(void)a;
}

static const struct {
	const char *name;
	int (*fn)(const struct attaching *a);
	void (*undo)(const struct attaching *a);
} steps[] = {
	{"open the namespace", open_namespace, close_namespace},
	{"restore sysctls of an earlier monitor", restore, nothing},
	{"make the TUN devices", open_tuns, close_tuns},
	{"let lo accept local sources", accept_local, restore_sysctls},
	{"reserve the slices' ports", reserve_ports, nothing},
	{"load steering", load_steering, unload_steering},
	{"remove steering of an earlier monitor", sweep, nothing},
	{"bring the TUN devices up", settle_tuns, remove_tuns},
	{"prepare reservations", init_reserve, free_reserve},
	{"remove links of an earlier monitor", init_links, free_links},
	{"follow the uplinks", open_uplinks, close_uplinks},
	{"find the proxied prefixes", find_prefixes, nothing},
	{"hold ports that are always held", hold_ports, nothing},
	{"open steering for the slices", permit, nothing},
};

/**
 * undo() - take steps back, the last first
 * @a: the namespace
 * @n: how many were taken
 */
static void undo(const struct attaching *a, size_t n)
{
	while (n--)
		steps[n].undo(a);
}

/**
 * attach() - attach a namespace
 * @conf: configuration
 * @wanted: its section there
 * @index: where in the monitor's table it will be
 * @serial: of this attachment
 *
 * Return: the namespace, or NULL after a log line, with everything as before.
 */
struct netns *attach(const struct conf *conf, const struct conf_netns *wanted, unsigned index, uint32_t serial)
{
	struct netns *ns = calloc(1, sizeof(*ns));
	const struct attaching a = {.ns = ns, .conf = conf, .run_dir = conf->run_dir};

	if (!ns) {
		log_error("%s: no memory", wanted->name);
		return NULL;
	}
	ns->index = index;
	ns->serial = serial;
	ns->conf = *wanted;
	ns->fd = ns->tun_fd = ns->helper_fd = ns->tap_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].fn(&a) == 0)
			continue;
		log_error("%s: cannot %s%s%s: %m", wanted->name, steps[i].name, i || !wanted->path[0] ? "" : " ",
			  i ? "" : wanted->path);
		undo(&a, i);
		free(ns);
		return NULL;
	}
	log_info("%s: attached, devices %s and %s, steering by %s", ns->conf.name, ns->tun_name, ns->helper_name,
		 steering_mode(ns));
	return ns;
}

/**
 * detach() - let go of a namespace; everything in it is as before
 * @ns: the namespace; freed
 * @run_dir: run directory
 */
void detach(struct netns *ns, const char *run_dir)
{
	const struct attaching a = {.ns = ns, .run_dir = run_dir};

	log_info("%s: detached", ns->conf.name);
	undo(&a, ARRAY_SIZE(steps));
	free(ns);
}

/**
 * list_uplinks() - the device numbers of the uplinks
 * @ns: the namespace
 *
 * Return: the numbers, ended by 0, to be freed; or NULL and errno.
 */
static unsigned *list_uplinks(const struct netns *ns)
{
	const char *name;
	unsigned n = 0, *list;

	while (uplink_nth(ns, n, &name))
		n++;
	list = calloc(n + 1, sizeof(*list));
	for (unsigned i = 0; list && i < n; i++)
		list[i] = uplink_nth(ns, i, &name);
	return list;
}

/**
 * is_uplink() - whether a device is an uplink
 * @ns: the namespace
 * @ifindex: of the device
 */
static bool is_uplink(const struct netns *ns, unsigned ifindex)
{
	const char *name;
	unsigned found;

	for (unsigned n = 0; (found = uplink_nth(ns, n, &name)); n++)
		if (found == ifindex)
			return true;
	return false;
}

/**
 * follow_again() - after the patterns of uplinks have changed
 * @ns: the namespace
 *
 * Steering stays on an uplink that stays.
 *
 * Return: 0, or -1 and errno.
 */
static int follow_again(struct netns *ns)
{
	unsigned *before = list_uplinks(ns);
	int result;

	if (!before)
		return -1;
	uplink_close(ns);
	result = uplink_open(ns);
	for (unsigned i = 0; result == 0 && before[i]; i++)
		if (!is_uplink(ns, before[i]))
			steering_detach(ns, before[i]);
	free(before);
	return result;
}

/**
 * attach_update() - a namespace that stays attached takes on a new configuration
 * @ns: the namespace
 * @conf: configuration
 * @wanted: its section there
 *
 * Return: 0, or -1 after a log line: then it can only be detached.
 */
int attach_update(struct netns *ns, const struct conf *conf, const struct conf_netns *wanted)
{
	bool patterns = ns->conf.uplinks != wanted->uplinks ||
			memcmp(ns->conf.uplink, wanted->uplink, sizeof(wanted->uplink)) != 0;

	ns->conf = *wanted;
	proxied_refit(ns, conf);
	if ((patterns && follow_again(ns) < 0) || permit_all(ns, conf) < 0) {
		log_error("%s: cannot take on its new configuration: %m", ns->conf.name);
		return -1;
	}
	link_refit(ns, conf);
	reserve_refit(ns, conf);
	return reserve_ports(&(struct attaching){.ns = ns, .conf = conf, .run_dir = conf->run_dir});
}
