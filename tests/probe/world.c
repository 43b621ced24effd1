/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.c: two throw-away network namespaces joined by a veth pair, one of them steered
 *
 *	host (steered)                        peer
 *	lo, tun, helper, up0 ---------------- wire0, routes to "far" networks
 *
 * The test stands in for the relay (it holds the TUN and opens ports) and for
 * the world (it has a packet socket on wire0). A packet is known by its tag,
 * whatever else the kernels have to say to each other. That a packet does
 * *not* come is shown without waiting: another one is sent after it that does.
 *
 * Here also is a stand-in for the monitor's netns_call().
 */
#include "world.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addr.h"
#include "tap.h"
#include "util.h"

#define LIFE_NS (3600 * NS_PER_S)
#define BUFFER (PACKET_ROOM + 64)

static int home_ns = -1;

/**
 * world_enter() - go into a namespace, for good
 * @ns: namespace
 */
void world_enter(int ns)
{
	if (setns(ns, CLONE_NEWNET) < 0)
		tap_bail("setns");
}

/* See netns.h */
int netns_call(const struct netns *ns, int (*fn)(void *arg), void *arg)
{
	int result, saved;

	world_enter(ns->fd);
	result = fn(arg);
	saved = errno;
	world_enter(home_ns);
	errno = saved;
	return result;
}

/**
 * new_namespace() - make a network namespace
 *
 * Return: fd
 */
static int new_namespace(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		tap_skip("no network namespaces here: %s", strerror(errno));
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	world_enter(home_ns);
	if (fd < 0)
		tap_bail("ns/net");
	return fd;
}

/**
 * world_shell() - run a command in a namespace
 * @ns: namespace
 * @format: command
 */
void world_shell(int ns, const char *format, ...)
{
	char command[512];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	world_enter(ns);
	status = system(command);
	world_enter(home_ns);
	if (status != 0) {
		errno = EINVAL;
		tap_bail(command);
	}
}

/**
 * world_sysctl() - set a net sysctl in a namespace
 * @ns: namespace
 * @name: below /proc/sys/net
 * @value: to write
 */
void world_sysctl(int ns, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	world_enter(ns);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	world_enter(home_ns);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tap_bail(path);
	close(fd);
}

/**
 * world_socket() - make a socket in a namespace
 * @ns: namespace
 * @family: as for socket(2)
 * @type: too
 * @protocol: too
 *
 * Return: fd
 */
int world_socket(int ns, int family, int type, int protocol)
{
	int fd;

	world_enter(ns);
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	world_enter(home_ns);
	if (fd < 0)
		tap_bail("socket");
	return fd;
}

/**
 * device() - ifindex and hardware address of a device
 * @ns: namespace
 * @name: of the device
 * @mac: result, or NULL
 *
 * Return: ifindex
 */
static unsigned device(int ns, const char *name, uint8_t *mac)
{
	int fd = world_socket(ns, AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = {0};
	unsigned ifindex;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		tap_bail(name);
	ifindex = (unsigned)request.ifr_ifindex;
	if (mac && ioctl(fd, SIOCGIFHWADDR, &request) == 0)
		memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
	return ifindex;
}

/**
 * make_tun() - make a TUN or TAP in the steered namespace
 * @ns: namespace
 * @name: of the device
 * @kind: IFF_TUN or IFF_TAP
 *
 * Return: fd
 */
static int make_tun(int ns, const char *name, int kind)
{
	struct ifreq request = {.ifr_flags = (short)(kind | IFF_NO_PI | IFF_MULTI_QUEUE)};
	int fd;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	world_enter(ns);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		tap_skip("/dev/net/tun: %s", strerror(errno));
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		tap_bail("TUNSETIFF");
	world_enter(home_ns);
	world_shell(ns, "ip link set %s addrgenmode none txqueuelen %u", name, STEER_RING);
	world_shell(ns, "ip link set %s up", name);
	return fd;
}

/**
 * make_veth() - make the wire
 * @world: of which the namespaces are there
 * @mtu: of the wire
 */
static void make_veth(struct world *world, unsigned mtu)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int host = world->ns.fd, peer = world->peer;

	world_shell(host, "ip link add up0 type veth peer name wire0 netns /proc/%d/fd/%d", getpid(), peer);
	world_shell(host, "ip link set lo up && ip link set up0 mtu %u up", mtu);
	world_shell(peer, "ip link set lo up && ip link set wire0 mtu %u up", mtu);
	for (const char *const *a =
		     (const char *const[]){HOST4 "/24", HOST6 "/64", SECOND4 "/24", SECOND6 "/64", NULL};
	     *a; a++)
		world_shell(host, "ip addr add %s dev up0 %s", *a, strchr(*a, ':') ? "nodad" : "");
	world_shell(peer, "ip addr add " PEER4 "/24 dev wire0 && ip addr add " PEER6 "/64 dev wire0 nodad");
	world_shell(host, "ip route add 10.12.0.0/24 via " PEER4 " && ip route add fd12::/64 via " PEER6);
	world_shell(host, "ip route add 10.13.0.0/24 via inet6 " PEER6);
	world_shell(host, "ip route add 10.66.0.0/16 via " PEER4 " && ip route add fd66::/64 via " PEER6);
	world->uplink = device(host, "up0", world->host_mac);
	world->wire_ifindex = device(peer, "wire0", world->peer_mac);
	world->wire = world_socket(peer, AF_PACKET, SOCK_RAW, 0);
	at.sll_ifindex = (int)world->wire_ifindex;
	if (bind(world->wire, (struct sockaddr *)&at, sizeof(at)) < 0)
		tap_bail("bind to wire0");
}

/**
 * make_devices() - make the packet TUN, the helper device and the link TAP, and set what steering needs
 * @world: the world
 */
static void make_devices(struct world *world)
{
	struct netns *ns = &world->ns;

	ns->tun_fd = make_tun(ns->fd, "tun", IFF_TUN);
	ns->helper_fd = make_tun(ns->fd, "tunh", IFF_TUN);
	ns->tap_fd = make_tun(ns->fd, "tunl", IFF_TAP);
	ns->tun_ifindex = device(ns->fd, "tun", NULL);
	ns->helper_ifindex = device(ns->fd, "tunh", NULL);
	ns->tap_ifindex = device(ns->fd, "tunl", NULL);
	world_sysctl(ns->fd, "ipv4/conf/tun/forwarding", "0");
	world_sysctl(ns->fd, "ipv4/conf/tun/accept_local", "0");
	world_sysctl(ns->fd, "ipv4/conf/tun/rp_filter", "1");
	world_sysctl(ns->fd, "ipv6/conf/tun/forwarding", "0");
	world_sysctl(ns->fd, "ipv4/conf/tunh/forwarding", "1");
	world_sysctl(ns->fd, "ipv6/conf/tunh/forwarding", "1");
	world_sysctl(ns->fd, "ipv4/conf/lo/accept_local", "1");
}

/**
 * world_make() - make a world, not yet steered
 * @mode: how to attach
 * @mtu: of the wire
 *
 * Return: the world
 */
struct world *world_make(enum conf_attach mode, unsigned mtu)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		tap_bail("calloc");
	if (home_ns < 0)
		home_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (access("/sbin/ip", X_OK) && access("/usr/sbin/ip", X_OK) && access("/usr/bin/ip", X_OK))
		tap_skip("iproute2 is not installed");
	world->ns.conf.attach = mode;
	world->home = home_ns;
	world->ns.fd = new_namespace();
	world->peer = new_namespace();
	make_veth(world, mtu);
	make_devices(world);
	return world;
}

/**
 * give_row() - give a port of all classes on a row to a slice
 * @world: the world
 * @row: of an address or a proxied prefix
 * @port: number
 * @slice: 0 for nobody
 * @held: is the reservation held?
 * @open: has the relay opened it?
 */
static void give_row(struct world *world, unsigned row, uint16_t port, unsigned slice, bool held, bool open)
{
	struct policy_range range = {.lo = port, .hi = port};

	for (range.class = 0; range.class < STEER_CLASSES; range.class ++) {
		steering_allow(&world->ns, row, &range, slice);
		steering_hold(&world->ns, row, range.class, port, held);
		world->open[STEER_BLOCK(row, range.class)]->port[port] = open ? STEER_PACKET_TUN : STEER_CLOSED;
	}
}

/**
 * give() - give a port of all classes on all addresses to a slice
 * @world: the world
 * @port: number
 * @slice: 0 for nobody
 * @held: is the reservation held?
 * @open: has the relay opened it?
 */
static void give(struct world *world, uint16_t port, unsigned slice, bool held, bool open)
{
	for (unsigned row = 0; row < world->ns.addresses; row++)
		give_row(world, row, port, slice, held, open);
}

/**
 * denied() - a destination for the deny-list
 * @slice: whose list, 0 for everybody's
 * @text: ADDRESS/LENGTH
 */
static struct steer_prefix denied(unsigned slice, const char *text)
{
	struct steer_prefix row = {.slice = slice};
	struct prefix prefix;

	if (!prefix_parse(text, &prefix))
		tap_bail(text);
	row.len = STEER_PREFIX_LEN(prefix.len);
	memcpy(&row.addr, &prefix.addr, sizeof(row.addr));
	return row;
}

/**
 * make_blocks() - blocks for all classes on a row
 * @world: the world
 * @row: of an address or a proxied prefix
 */
static void make_blocks(struct world *world, unsigned row)
{
	for (enum steer_class class = 0; class < STEER_CLASSES; class ++) {
		struct steer_open *open;

		if (steering_block(&world->ns, row, class) < 0)
			tap_bail("steering_block");
		open = mmap(NULL, sizeof(*open), PROT_READ | PROT_WRITE, MAP_SHARED,
			    steering_open_fd(&world->ns, row, class), 0);
		if (open == MAP_FAILED)
			tap_bail("mmap of a block");
		world->open[STEER_BLOCK(row, class)] = open;
	}
}

/**
 * configure() - tell steering about addresses, slices and ports
 * @world: the world
 */
static void configure(struct world *world)
{
	static const char *const addresses[] = {HOST4, HOST6, SECOND4, SECOND6};
	const struct steer_slice plain = {.share = SHARE},
				 local = {.share = SHARE, .flags = STEER_LOCAL | STEER_FRAGMENTS};
	struct steer_prefix deny[] = {denied(0, DENIED4 "/32"), denied(0, "fd66::/96"),
				      denied(SLICE, FORBIDDEN4 "/32"), denied(SLICE, FORBIDDEN6 "/128")};

	world->ns.addresses = ARRAY_SIZE(addresses);
	for (unsigned i = 0; i < world->ns.addresses; i++)
		if (!addr_parse(addresses[i], &world->ns.address[i].addr) ||
		    steering_address(&world->ns, i, true) < 0)
			tap_bail("steering_address");
	if (steering_deny(&world->ns, deny, ARRAY_SIZE(deny)) < 0)
		tap_bail("steering_deny");
	if (steering_slice(&world->ns, SLICE, &plain) < 0 || steering_slice(&world->ns, SLICE_LOCAL, &local) < 0)
		tap_bail("steering_slice");
	for (unsigned i = 0; i < world->ns.addresses; i++)
		make_blocks(world, i);
	give(world, PORT, SLICE, true, true);
	give(world, PORT_OTHER, SLICE, true, true);
	give(world, PORT_CLOSED, SLICE, true, false);
	give(world, PORT_UNHELD, SLICE, false, true);
	give(world, PORT_LOCAL, SLICE_LOCAL, true, true);
	give(world, PORT_HOST, 0, false, true);
	world_alive();
}

/**
 * world_steer() - load steering, attach it to up0 and lo, and configure it
 * @world: the world
 */
void world_steer(struct world *world)
{
	const int prot = PROT_READ | PROT_WRITE;

	if (steering_load(&world->ns) < 0)
		tap_bail("steering_load");
	if (steering_attach(&world->ns, world->uplink) < 0 || steering_attach(&world->ns, 1) < 0)
		tap_bail("steering_attach");
	world->traffic = mmap(NULL, STEER_SLICES_MAX * sizeof(*world->traffic), prot, MAP_SHARED,
			      steering_traffic_fd(&world->ns), 0);
	if (world->traffic == MAP_FAILED)
		tap_bail("mmap of a map");
	configure(world);
}

/**
 * world_proxy() - tell steering about proxied prefixes too
 * @world: the world, steered
 */
void world_proxy(struct world *world)
{
	static const char *const prefixes[] = {PROXIED4, PROXIED6, PROXIED_HOST4};
	const struct steer_slice whole = {.share = SHARE, .flags = STEER_FRAGMENTS};
	struct netns *ns = &world->ns;

	if (steering_slice(ns, SLICE_WHOLE, &whole) < 0)
		tap_bail("steering_slice");
	for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++) {
		const unsigned row = STEER_ADDRESSES_MAX + i;
		struct policy_range all = {.hi = STEER_PORTS - 1};
		struct prefix prefix;

		if (!prefix_parse(prefixes[i], &prefix))
			tap_bail(prefixes[i]);
		ns->address[row] = (struct netns_address){.addr = prefix.addr, .len = prefix.len, .present = true};
		ns->proxied = i + 1;
		make_blocks(world, row);
		for (all.class = 0; all.class < STEER_PORT_CLASSES; all.class ++)
			steering_allow(ns, row, &all, SLICE_WHOLE);
		give_row(world, row, 0, SLICE_WHOLE, true, true);
		give_row(world, row, PORT, SLICE_WHOLE, true, true);
		give_row(world, row, PORT_CLOSED, SLICE_WHOLE, true, false);
		give_row(world, row, PORT_UNHELD, SLICE_WHOLE, false, true);
		if (steering_address(ns, row, true) < 0)
			tap_bail("steering_address");
	}
}

/**
 * heartbeat() - say when the monitor was alive
 * @beat: ns of the monotonic clock
 *
 * The map is found among this process's own fds: steering does not give it away.
 */
static void heartbeat(uint64_t beat)
{
	const uint32_t key = 0;

	for (int fd = 3; fd < 256; fd++) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && !strcmp(info.name, "heartbeat") &&
		    info.value_size == sizeof(beat) && bpf_map_update_elem(fd, &key, &beat, BPF_ANY) == 0)
			return;
	}
	errno = ENOENT;
	tap_bail("heartbeat map");
}

/**
 * world_alive() - let the monitor be alive, however long this process has to wait for its turn
 */
void world_alive(void)
{
	heartbeat(clock_ns() + LIFE_NS);
}

/**
 * world_stale() - let the heartbeat be too old
 */
void world_stale(void)
{
	heartbeat(clock_ns() - STEER_STALE_NS - 1);
}

/**
 * world_free() - take everything down; the namespaces go with their last fd
 * @world: the world
 */
void world_free(struct world *world)
{
	steering_unload(&world->ns);
	for (unsigned i = 0; i < STEER_BLOCKS; i++)
		if (world->open[i])
			munmap(world->open[i], sizeof(*world->open[i]));
	if (world->traffic)
		munmap(world->traffic, STEER_SLICES_MAX * sizeof(*world->traffic));
	close(world->wire);
	close(world->ns.tun_fd);
	close(world->ns.helper_fd);
	close(world->ns.tap_fd);
	close(world->ns.fd);
	close(world->peer);
	free(world);
}

/**
 * world_probe() - make a probe's checks for each way to attach steering, each time in a new world
 * @mtu: of the wire
 * @checks: all of them; the world is steered
 *
 * Return: exit status
 */
int world_probe(unsigned mtu, void (*checks)(struct world *world))
{
	static const enum conf_attach ways[] = {CONF_ATTACH_AUTO, CONF_ATTACH_CLSACT};

	tap_need_root();
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct world *world = world_make(ways[i], mtu);

		world_steer(world);
		checks(world);
		world_free(world);
	}
	return tap_end();
}

/**
 * gets() - does a packet arrive?
 * @fd: TUN or packet socket
 * @header: bytes of link header
 * @packet: expected, whole and unchanged
 * @absent: one that must not come before it, or NULL
 *
 * Return: false if it does not come in time, was changed, or @absent came.
 */
static bool gets(int fd, size_t header, const struct packet *packet, const struct packet *absent)
{
	static uint8_t data[BUFFER];
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	for (;;) {
		ssize_t n;
		uint32_t tag;

		if (poll(&poll_fd, 1, WAIT_MS) <= 0)
			return false;
		n = read(fd, data, sizeof(data));
		if (n < 0 || (size_t)n < header)
			continue;
		tag = packet_tag(data, (size_t)n);
		if (absent && tag == absent->tag)
			return false;
		if (tag == packet->tag)
			return (size_t)n == packet->len + header && !memcmp(data + header, packet->data, packet->len);
	}
}

/**
 * sentinel() - make a packet that is sure to pass
 * @packet: result
 * @outward: from the host to the peer, or the other way
 */
static void sentinel(struct packet *packet, bool outward)
{
	struct recipe recipe = {.protocol = UDP, .sport = PORT, .dport = PORT};

	recipe.src = outward ? HOST4 : PEER4;
	recipe.dst = outward ? PEER4 : HOST4;
	packet_make(packet, &recipe);
}

/**
 * wire_send_frame() - send a packet from the peer, in a frame of our choice
 * @world: the world
 * @packet: to send
 * @destination: hardware address
 * @vlan: id of a VLAN tag, -1 for none
 *
 * Return: false if the kernel did not take it.
 */
bool wire_send_frame(struct world *world, const struct packet *packet, const uint8_t *destination, int vlan)
{
	static uint8_t frame[BUFFER];
	uint16_t ethertype = htons(packet->data[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6), tag[2];
	size_t at = 12;

	memcpy(frame, destination, 6);
	memcpy(frame + 6, world->peer_mac, 6);
	if (vlan >= 0) {
		tag[0] = htons(ETH_P_8021Q);
		tag[1] = htons((uint16_t)vlan);
		memcpy(frame + at, tag, sizeof(tag));
		at += sizeof(tag);
	}
	memcpy(frame + at, &ethertype, sizeof(ethertype));
	at += sizeof(ethertype);
	memcpy(frame + at, packet->data, packet->len);
	return send(world->wire, frame, at + packet->len, 0) == (ssize_t)(at + packet->len);
}

/**
 * wire_send() - send a packet from the peer to the host
 * @world: the world
 * @packet: to send
 *
 * Return: false if the kernel did not take it.
 */
bool wire_send(struct world *world, const struct packet *packet)
{
	return wire_send_frame(world, packet, world->host_mac, -1);
}

/**
 * wire_settle() - wait until the host has dealt with all that was sent on the wire
 * @world: the world
 *
 * What is received may wait for a CPU. Behind it goes a packet to a socket of
 * the host's: when that has got it, the others have been judged.
 */
void wire_settle(struct world *world)
{
	const struct recipe recipe = {.src = PEER4, .dst = HOST4, .protocol = UDP, .sport = 80, .dport = PORT_LATER};
	struct pollfd poll_fd = {.fd = world_socket(world->ns.fd, AF_INET, SOCK_DGRAM, 0), .events = POLLIN};
	static struct packet later;
	struct sockaddr_storage ss;
	struct addr addr;

	addr_parse(HOST4, &addr);
	addr_to_sockaddr(&addr, PORT_LATER, &ss);
	if (bind(poll_fd.fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)) < 0)
		tap_bail("bind");
	packet_make(&later, &recipe);
	if (!wire_send(world, &later) || poll(&poll_fd, 1, WAIT_MS) <= 0)
		tap_bail("what follows on the wire");
	close(poll_fd.fd);
}

/**
 * tun_send() - send a packet as the relay does
 * @world: the world
 * @packet: to send
 *
 * Return: false if the kernel did not take it.
 */
bool tun_send(struct world *world, const struct packet *packet)
{
	return write(world->ns.tun_fd, packet->data, packet->len) == (ssize_t)packet->len;
}

/**
 * wire_gets() - does the peer get a packet?
 * @world: the world
 * @packet: expected
 *
 * Return: true if it comes unchanged.
 */
bool wire_gets(struct world *world, const struct packet *packet)
{
	return gets(world->wire, ETH_HLEN, packet, NULL);
}

/**
 * wire_silent() - did a packet stay off the wire?
 * @world: the world
 * @packet: that was sent
 *
 * Return: true if one that was sent after it arrives and it does not.
 */
bool wire_silent(struct world *world, const struct packet *packet)
{
	static struct packet later;

	sentinel(&later, true);
	return tun_send(world, &later) && gets(world->wire, ETH_HLEN, &later, packet);
}

/**
 * tun_gets() - does the relay get a packet?
 * @world: the world
 * @packet: expected
 *
 * Return: true if it comes unchanged.
 */
bool tun_gets(struct world *world, const struct packet *packet)
{
	return gets(world->ns.tun_fd, 0, packet, NULL);
}

/**
 * tun_silent() - did a packet stay out of the TUN?
 * @world: the world
 * @packet: that was sent
 *
 * Return: true if one that was sent after it arrives and it does not.
 */
bool tun_silent(struct world *world, const struct packet *packet)
{
	static struct packet later;

	sentinel(&later, false);
	return wire_send(world, &later) && gets(world->ns.tun_fd, 0, &later, packet);
}
