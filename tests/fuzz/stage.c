/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage.c: the whole relay but its process, with the test as its monitor, its wire and its clients
 *
 * Everything in shim/ that the relay consists of runs in this process, turn by
 * turn. Towards it the test is the monitor: it tells the configuration, and
 * judges each request as netns/monitor.c does, where a request that the relay
 * has no business to make would have it killed. So whatever clients say, the
 * relay must never get itself into that. The TUN is a socket pair: what the
 * relay writes comes out of stage_wire().
 */
#include "stage.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "msg.h"
#include "upstream.h"
#include "util.h"

#define ASKED_MAX 4096 /* requests that wait for an answer */
#define GRANTS_MAX 4096
#define NETNS 0
#define PREFIXES 2 /* proxied: the rows from STEER_ADDRESSES_MAX on */
#define MTU 1500
#define QUEUE_BYTES 8192
#define FLOWS_MAX 64
#define CLIENTS_MAX 4
#define LINKS 8 /* numbers of links that are given */
#define CALM 8  /* turns after which nothing is left to do */

struct world stage_world;

/* Ports that were granted and not released */
struct grant {
	struct priv_claim what;
	unsigned references;
};

static struct {
	bool open;
	struct watch tick;
	int monitor, wire, wire_inside, tap, tap_inside;
	struct sockaddr_un slice;
	socklen_t slice_size;
	unsigned asked, grants;
	union {
		struct priv_header header;
		struct priv_reserve reserve;
		struct priv_route route;
		struct priv_covered covered;
		struct priv_link link;
	} ask[ASKED_MAX];
	struct grant grant[GRANTS_MAX];
	bool present[2];
	enum { LINK_NONE, LINK_THERE, LINK_LOST } link[LINKS]; /* by number; lost: the relay may not have heard yet */
} stage;

/** tick_ready() - the loop has something to do in every turn, so it never waits */
static void tick_ready(struct watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
}

/** tell() - send the relay a message */
static void tell(const void *message, size_t size, const int *fd, unsigned fds)
{
	MUST(msg_send(stage.monitor, message, size, fd, fds, MSG_DONTWAIT) == 0);
}

/** tell_plain() - send it one that says all with its type */
static void tell_plain(uint32_t type)
{
	struct priv_plain plain = {.header = {type, sizeof(plain)}};

	tell(&plain, sizeof(plain), NULL, 0);
}

/** make_map() - memory that stands in for a BPF map; the caller closes it */
static int make_map(size_t bytes)
{
	int fd = memfd_create("map", MFD_CLOEXEC);

	MUST(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	return fd;
}

/** address_of() - an own address */
static struct addr address_of(unsigned index)
{
	struct addr addr;

	MUST(addr_parse(index ? STAGE_LOCAL6 : STAGE_LOCAL4, &addr));
	return addr;
}

/** prefix_of() - the proxied prefix of a row */
static struct prefix prefix_of(unsigned row)
{
	struct prefix prefix = {.len = row == STEER_ADDRESSES_MAX ? 96 + STAGE_BITS4 : STAGE_BITS6};

	MUST(addr_parse(row == STEER_ADDRESSES_MAX ? STAGE_PREFIX4 : STAGE_PREFIX6, &prefix.addr));
	return prefix;
}

/** tell_blocks() - the ports of a row can be opened */
static void tell_blocks(unsigned row)
{
	unsigned class;

	for (class = 0; class < STEER_CLASSES; class ++) {
		const struct priv_block block = {.header = {PRIV_BLOCK, sizeof(block)},
						 .netns = NETNS,
						 .address = (uint8_t)row,
						 .class = (uint8_t) class};
		int map = make_map(sizeof(struct steer_open));

		tell(&block, sizeof(block), &map, 1);
		close_fd(&map);
		stage_turn();
	}
}

/** tell_prefixes() - the rows of the proxied prefixes; after a reload to less the first is gone */
static void tell_prefixes(bool narrow)
{
	unsigned row;

	for (row = STEER_ADDRESSES_MAX; row < STEER_ADDRESSES_MAX + PREFIXES; row++) {
		const struct prefix prefix = prefix_of(row);
		const struct priv_address address = {.header = {PRIV_ADDRESS, sizeof(address)},
						     .netns = NETNS,
						     .index = (uint8_t)row,
						     .present = !narrow || row > STEER_ADDRESSES_MAX,
						     .len = prefix.len,
						     .addr = prefix.addr};

		tell(&address, sizeof(address), NULL, 0);
		tell_blocks(row);
	}
}

/** tell_proxied() - the slice has the prefixes, after a reload to less without the first */
static void tell_proxied(bool narrow)
{
	unsigned row;

	for (row = STEER_ADDRESSES_MAX + narrow; row < STEER_ADDRESSES_MAX + PREFIXES; row++) {
		const struct prefix prefix = prefix_of(row);
		const struct priv_slice_proxied proxied = {.header = {PRIV_SLICE_PROXIED, sizeof(proxied)},
							   .slice = STAGE_SLICE,
							   .len = prefix.len,
							   .addr = prefix.addr};

		tell(&proxied, sizeof(proxied), NULL, 0);
	}
}

/** tell_netns() - the netns, its addresses, and the blocks of their ports */
static void tell_netns(void)
{
	struct priv_netns netns = {
		.header = {PRIV_NETNS, sizeof(netns)}, .netns = NETNS, .serial = 1, .mtu = MTU, .name = "stage"};
	int fd[PRIV_NETNS_FDS] = {dup(stage.wire_inside), make_map(sizeof(struct steer_traffic) * STEER_SLICES_MAX),
				  dup(stage.tap_inside),
				  make_map(sizeof(struct steer_link_traffic) * STEER_LINKS_MAX)};
	unsigned i;

	tell(&netns, sizeof(netns), fd, PRIV_NETNS_FDS);
	for (i = 0; i < PRIV_NETNS_FDS; i++)
		close_fd(&fd[i]);
	for (i = 0; i < 2; i++) {
		struct priv_address address = {.header = {PRIV_ADDRESS, sizeof(address)},
					       .netns = NETNS,
					       .index = (uint8_t)i,
					       .present = stage.present[i],
					       .len = 128,
					       .addr = address_of(i)};

		tell(&address, sizeof(address), NULL, 0);
	}
	for (i = 0; i < 2; i++)
		tell_blocks(i);
}

/** tell_grants() - what has no ports: GRE keys and a protocol, by their slots in the netns and as the slice's */
static void tell_grants(bool narrow)
{
	const struct priv_grant grants[] = {
		{{PRIV_GRANT, sizeof(struct priv_grant)}, NETNS, 1, IPPROTO_GRE, 0, STAGE_KEY, STAGE_KEYS},
		{{PRIV_GRANT, sizeof(struct priv_grant)}, NETNS, 1 + STAGE_KEYS, STAGE_PROTOCOL, 0, 0, 1}};
	const struct priv_slice_grant own[] = {
		{{PRIV_SLICE_GRANT, sizeof(struct priv_slice_grant)},
		 STAGE_SLICE,
		 IPPROTO_GRE,
		 {0},
		 STAGE_KEY,
		 STAGE_KEY + STAGE_KEYS - 1},
		{{PRIV_SLICE_GRANT, sizeof(struct priv_slice_grant)}, STAGE_SLICE, STAGE_PROTOCOL, {0}, 0, 0}};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(grants); i++)
		tell(&grants[i], sizeof(grants[i]), NULL, 0);
	for (i = 0; i < ARRAY_SIZE(own) - narrow; i++)
		tell(&own[i], sizeof(own[i]), NULL, 0);
}

/** tell_slice() - the slice, its ports, and who may use it */
static void tell_slice(int listener, bool narrow, bool member)
{
	struct priv_slice slice = {.header = {PRIV_SLICE, sizeof(slice)},
				   .slice = STAGE_SLICE,
				   .serial = 1,
				   .netns = NETNS,
				   .clients_max = CLIENTS_MAX,
				   .flows_max = FLOWS_MAX,
				   .queue_bytes = QUEUE_BYTES,
				   .memory_bytes = 16 << 20,
				   .local = 1,
				   .all_addresses = 1,
				   .fragments = !narrow,
				   .name = "stage"};
	struct priv_member user = {.header = {PRIV_MEMBER, sizeof(user)},
				   .slice = STAGE_SLICE,
				   .kind = PRIV_MEMBER_USER,
				   .id = getuid()};
	unsigned class;

	tell(&slice, sizeof(slice), &listener, 1);
	for (class = 0; class < STEER_PORT_CLASSES; class ++) {
		struct priv_range range = {.header = {PRIV_RANGE, sizeof(range)},
					   .slice = STAGE_SLICE,
					   .class = (uint8_t) class,
					   .lo = STAGE_FIRST,
					   .hi = narrow ? STAGE_NARROW : STAGE_LAST};

		tell(&range, sizeof(range), NULL, 0);
	}
	if (!member)
		user.kind = PRIV_MEMBER_SNIFF_USER;
	tell(&user, sizeof(user), NULL, 0);
	tell_grants(narrow);
	tell_proxied(narrow);
}

/** make_listener() - the slice's control socket, under a name that the kernel chooses */
static int make_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	stage.slice.sun_family = AF_UNIX;
	stage.slice_size = sizeof(stage.slice);
	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&stage.slice, sizeof(sa_family_t)) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&stage.slice, &stage.slice_size) == 0 && listen(fd, 16) == 0);
	return fd;
}

/**
 * stage_configure() - tell the relay its configuration, for the first time or again
 * @narrow: the slice has fewer ports
 * @member: the user may open flows; else only sniff
 */
void stage_configure(bool narrow, bool member)
{
	static int listener = -1;

	if (listener < 0)
		listener = make_listener();
	tell_plain(PRIV_BEGIN);
	tell_netns();
	tell_prefixes(narrow);
	tell_slice(listener, narrow, member);
	tell_plain(PRIV_COMMIT);
	stage_turn();
}

/**
 * stage_open() - make the relay, once
 */
void stage_open(void)
{
	const int bytes = 1 << 20;
	int channel[2], tun[2], tap[2];

	if (stage.open)
		return;
	stage.open = true;
	log_init("stage", -1);
	stage_world.fd_ceiling = 900;
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) == 0);
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, tun) == 0);
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, tap) == 0);
	setsockopt(channel[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(tun[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(tun[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	stage.monitor = channel[0];
	stage.wire = tun[0];
	stage.wire_inside = tun[1];
	stage.tap = tap[0];
	stage.tap_inside = tap[1];
	stage.present[0] = stage.present[1] = true;
	MUST(loop_init() == 0 && upstream_open(&stage_world, channel[1]) == 0);
	stage.tick = (struct watch){.ready = tick_ready, .fd = eventfd(1, EFD_CLOEXEC)};
	MUST(loop_watch(&stage.tick, EPOLLIN) == 0);
	stage_configure(false, true);
	stage_hear();
}

/**
 * stage_turn() - one turn of the relay's loop
 */
void stage_turn(void)
{
	MUST(loop_turn() == 0);
}

/**
 * stage_connect() - a new client
 *
 * Return: its socket.
 */
int stage_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	MUST(fd >= 0);
	if (connect(fd, (struct sockaddr *)&stage.slice, stage.slice_size) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/**
 * stage_wire() - the far end of the TUN: a message is a packet
 */
int stage_wire(void)
{
	return stage.wire;
}

/**
 * stage_tap() - the far end of the link TAP: a message is an Ethernet frame
 */
int stage_tap(void)
{
	return stage.tap;
}

/**
 * stage_unlink() - the device of a link is gone
 * @number: of the link
 */
void stage_unlink(unsigned number)
{
	struct priv_link_end news = {
		.header = {PRIV_LINK_NEWS, sizeof(news)}, .netns = NETNS, .link = number % LINKS};

	if (stage.link[number % LINKS] != LINK_THERE)
		return;
	stage.link[number % LINKS] = LINK_LOST;
	tell(&news, sizeof(news), NULL, 0);
}

/**
 * stage_address() - an own address comes or goes
 * @index: 0 or 1
 * @present: whether it is there from now on
 */
void stage_address(unsigned index, bool present)
{
	struct priv_address news = {.header = {PRIV_ADDRESS_NEWS, sizeof(news)},
				    .netns = NETNS,
				    .index = (uint8_t)index,
				    .present = present,
				    .len = 128,
				    .addr = address_of(index)};

	stage.present[index] = present;
	tell(&news, sizeof(news), NULL, 0);
}

/**
 * stage_routes() - routes have changed
 * @mtu: of the uplinks
 */
void stage_routes(uint32_t mtu)
{
	struct priv_routes_news news = {.header = {PRIV_ROUTES_NEWS, sizeof(news)}, .netns = NETNS, .mtu = mtu};

	tell(&news, sizeof(news), NULL, 0);
}

/** same_ports() - whether a request is about what was granted */
static bool same_ports(const struct priv_claim *a, const struct priv_claim *b)
{
	return a->uid == b->uid && a->class == b->class && a->address == b->address && a->family == b->family &&
	       a->lo == b->lo && a->hi == b->hi;
}

/** check_ports() - what the monitor would kill the relay for */
static void check_ports(const struct priv_claim *claim)
{
	bool proxied = claim->address >= STEER_ADDRESSES_MAX && claim->address < STEER_ADDRESSES_MAX + PREFIXES;

	MUST(claim->netns == NETNS && claim->slice == STAGE_SLICE && claim->uid == getuid() &&
	     claim->class < STEER_CLASSES);
	MUST(claim->address < 2 || proxied || claim->address == PRIV_ANY_ADDRESS);
	if (claim->class == CLASS_GRANT)
		MUST(claim->lo && claim->lo == claim->hi && claim->hi <= STAGE_KEYS + 1);
	else if (proxied)
		MUST(claim->lo && claim->lo <= claim->hi);
	else
		MUST(claim->lo >= STAGE_FIRST && claim->lo <= claim->hi && claim->hi <= STAGE_LAST);
	MUST(claim->address != PRIV_ANY_ADDRESS || claim->family == AF_INET || claim->family == AF_INET6 ||
	     claim->family == AF_UNSPEC);
}

/** count_grant() - one reference more or less on some ports */
static void count_grant(const struct priv_claim *what, int change)
{
	unsigned i;

	for (i = 0; i < stage.grants && !same_ports(&stage.grant[i].what, what); i++)
		;
	MUST(i < GRANTS_MAX && (change > 0 || (i < stage.grants && stage.grant[i].references)));
	if (i == stage.grants)
		stage.grant[stage.grants++] = (struct grant){.what = *what};
	stage.grant[i].references += (unsigned)change;
}

/** check_link() - as check_ports(), for a link: its ports are held already */
static void check_link(const struct priv_link *link)
{
	unsigned class, i;

	MUST(link->netns == NETNS && link->slice == STAGE_SLICE && !(link->flags & ~STEER_LINK_FLAGS));
	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct priv_claim want = {.uid = getuid(),
						.class = (uint8_t) class,
						.address = PRIV_ANY_ADDRESS,
						.family = AF_UNSPEC,
						.lo = link->lo[class],
						.hi = link->hi[class]};

		for (i = 0; i < stage.grants && !same_ports(&stage.grant[i].what, &want); i++)
			;
		MUST(!want.hi || (i < stage.grants && stage.grant[i].references));
	}
}

/** hear_end() - the relay has ended a link */
static void hear_end(const struct priv_link_end *end)
{
	MUST(end->netns == NETNS && end->link && end->link < LINKS && stage.link[end->link] != LINK_NONE);
	stage.link[end->link] = LINK_NONE;
}

/** hear_release() - the relay lets go of ports */
static void hear_release(const struct priv_release *release)
{
	check_ports(&release->claim);
	count_grant(&release->claim, -1);
}

/* Sizes of what the relay may say */
static const size_t sizes[PRIV_TYPES] = {
	[PRIV_READY] = sizeof(struct priv_plain),     [PRIV_RESERVE] = sizeof(struct priv_reserve),
	[PRIV_RELEASE] = sizeof(struct priv_release), [PRIV_ROUTE] = sizeof(struct priv_route),
	[PRIV_COVERED] = sizeof(struct priv_covered), [PRIV_LINK] = sizeof(struct priv_link),
	[PRIV_UNLINK] = sizeof(struct priv_link_end),
};

/** hear() - one request of the relay */
static void hear(const void *message, const struct msg *msg)
{
	const struct priv_header *header = message;

	MUST(msg->size >= sizeof(*header) && header->type < PRIV_TYPES && sizes[header->type]);
	MUST(msg->size == sizes[header->type] && header->size == msg->size);
	MUST(msg->fds == (header->type == PRIV_LINK ? 1 : 0));
	if (header->type == PRIV_READY)
		return;
	if (header->type == PRIV_RELEASE) {
		hear_release(message);
		return;
	}
	if (header->type == PRIV_UNLINK) {
		hear_end(message);
		return;
	}
	MUST(stage.asked < ASKED_MAX);
	memcpy(&stage.ask[stage.asked++], message, msg->size);
	if (header->type == PRIV_RESERVE)
		check_ports(&stage.ask[stage.asked - 1].reserve.claim);
	if (header->type == PRIV_LINK)
		check_link(message);
	if (header->type == PRIV_COVERED)
		MUST(stage.ask[stage.asked - 1].covered.class < STEER_CLASSES);
}

/**
 * stage_hear() - take in what the relay has to say to the monitor
 */
void stage_hear(void)
{
	static uint64_t room[PRIV_MESSAGE_MAX / sizeof(uint64_t)];
	struct msg msg;

	while (msg_recv(stage.monitor, room, sizeof(room), &msg, MSG_DONTWAIT) > 0) {
		hear(room, &msg);
		msg_close_fds(&msg);
	}
}

/** answer_reserve() - yes or no to ports */
static void answer_reserve(const struct priv_reserve *ask, int error)
{
	struct priv_reserved reserved = {.header = {PRIV_RESERVED, sizeof(reserved)},
					 .cookie = ask->cookie,
					 .error = error,
					 .port = ask->claim.lo};

	if (!error)
		count_grant(&ask->claim, 1);
	tell(&reserved, sizeof(reserved), NULL, 0);
}

/** answer_route() - a route, or none */
static void answer_route(const struct priv_route *ask, int error)
{
	struct priv_routed routed = {.header = {PRIV_ROUTED, sizeof(routed)},
				     .netns = NETNS,
				     .error = error,
				     .destination = ask->destination,
				     .mtu = MTU};

	routed.source = address_of(addr_family(&routed.destination) != AF_INET);
	tell(&routed, sizeof(routed), NULL, 0);
}

/** answer_link() - a link, unless there are too many */
static void answer_link(const struct priv_link *ask, int error)
{
	struct priv_linked linked = {
		.header = {PRIV_LINKED, sizeof(linked)}, .cookie = ask->cookie, .error = error, .mtu = MTU};
	unsigned number = 1;

	while (number < LINKS && stage.link[number] != LINK_NONE)
		number++;
	if (!error && number == LINKS)
		linked.error = ENOSPC;
	if (!linked.error) {
		linked.link = number;
		stage.link[number] = LINK_THERE;
	}
	tell(&linked, sizeof(linked), NULL, 0);
}

/** answer_covered() - on which addresses a port is held */
static void answer_covered(const struct priv_covered *ask)
{
	struct priv_covers covers = {.header = {PRIV_COVERS, sizeof(covers)},
				     .netns = NETNS,
				     .class = ask->class,
				     .port = ask->port,
				     .addresses = 3};

	tell(&covers, sizeof(covers), NULL, 0);
}

/**
 * stage_answer() - answer the oldest request
 * @error: errno, or 0
 */
void stage_answer(int error)
{
	stage_hear();
	if (!stage.asked)
		return;
	if (stage.ask[0].header.type == PRIV_RESERVE)
		answer_reserve(&stage.ask[0].reserve, error);
	else if (stage.ask[0].header.type == PRIV_ROUTE)
		answer_route(&stage.ask[0].route, error);
	else if (stage.ask[0].header.type == PRIV_LINK)
		answer_link(&stage.ask[0].link, error);
	else
		answer_covered(&stage.ask[0].covered);
	memmove(&stage.ask[0], &stage.ask[1], --stage.asked * sizeof(stage.ask[0]));
}

/**
 * stage_clean() - everybody has left: see that nothing is left of them
 */
void stage_clean(void)
{
	const struct netns *netns;
	const struct slice *slice;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (!stage.present[i])
			stage_address(i, true);
	stage_routes(MTU);
	for (i = 0; i < CALM || stage.asked; i++) {
		stage_turn();
		stage_hear();
		while (stage.asked)
			stage_answer(EADDRINUSE);
	}
	netns = stage_world.netns[NETNS];
	slice = stage_world.slice[STAGE_SLICE];
	MUST(!slice->served && !slice->refused && !slice->opened && !slice->readers && !slice->memory);
	MUST(!slice->parked && !slice->wide);
	MUST(!netns->shard.flows.used && !netns->shard.holds.used && !netns->shard.readers.used);
	for (i = 0; i < stage.grants; i++)
		MUST(!stage.grant[i].references);
	for (i = 0; i < LINKS; i++)
		MUST(stage.link[i] != LINK_THERE && !netns->links[i]);
	memset(stage.link, 0, sizeof(stage.link));
	stage.grants = 0;
}
