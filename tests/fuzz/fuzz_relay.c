/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_relay.c: clients that say anything at all, packets from both sides, and a monitor that answers as it likes
 *
 * An input is a list of steps; each is a byte that says what happens, and
 * whatever bytes it takes. Four clients connect, say what the protocol has
 * or what it has not, send file descriptors along, read or do not, go; packets
 * are written to the flows that they got and arrive from the wire; the
 * monitor grants, refuses, and reloads. What must hold:
 *
 * - what the relay writes to the TUN may be sent by some port of the slice, says the reference
 * - what a flow gets is for that flow, says the reference
 * - a reply has the type and size that it says, and an fd exactly where it grants a flow
 * - the monitor is asked for what the slice may have, and for nothing to be released that it does not hold (stage.c)
 * - when all clients have gone nothing is left of them, no file descriptor either (stage.c)
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "msg.h"
#include "proto.h"
#include "saferaw.h"
#include "shape.h"
#include "stage.h"
#include "util.h"

#define CLIENTS 4
#define FLOWS 16
#define STEPS_MAX 200
#define OPENS 64 /* requests of one client that it may find the reply to */

/* A flow that a client was given */
struct opened {
	int fd;
	unsigned kind;
	bool meta;
	struct reference_flow reference;
};

static int client[CLIENTS];
static struct proto_open asked[CLIENTS][OPENS]; /* by id */
static uint32_t ids[CLIENTS];
static struct opened flow[FLOWS];
static struct reference_slice the_slice;

/** reference_address() - an address as the reference has it */
static struct reference_address reference_address(const struct addr *addr)
{
	struct reference_address address = {.version = 0};

	if (addr_is_any(addr))
		return address;
	address.version = addr_family(addr) == AF_INET ? 4 : 6;
	memcpy(address.byte, addr_family(addr) == AF_INET ? addr->b + 12 : addr->b, address.version == 4 ? 4 : 16);
	return address;
}

/** make_slice() - the slice as the reference has it */
static void make_slice(void)
{
	const char *const texts[] = {STAGE_LOCAL4, STAGE_LOCAL6}, *const prefixes[] = {STAGE_PREFIX4, STAGE_PREFIX6};
	struct addr addr;

	the_slice.fragments = true;
	for (the_slice.proxied = 0; the_slice.proxied < 2; the_slice.proxied++) {
		MUST(addr_parse(prefixes[the_slice.proxied], &addr));
		the_slice.prefix[the_slice.proxied] = (struct reference_prefix){
			reference_address(&addr), the_slice.proxied ? STAGE_BITS6 : STAGE_BITS4};
	}
	for (the_slice.addresses = 0; the_slice.addresses < 2; the_slice.addresses++) {
		MUST(addr_parse(texts[the_slice.addresses], &addr));
		the_slice.address[the_slice.addresses] = reference_address(&addr);
	}
}

/** connect_client() - a client comes, in the place of one that goes */
static void connect_client(unsigned n)
{
	close_fd(&client[n]);
	client[n] = stage_connect();
	memset(asked[n], 0, sizeof(asked[n]));
}

/** fill_local() - a local address, or a proxied prefix, mostly */
static void fill_local(struct proto_open *open, uint8_t which)
{
	static const char *const locals[] = {"::",          STAGE_LOCAL4,    STAGE_LOCAL6,    "192.0.2.77",
					     STAGE_PREFIX4, STAGE_PREFIX6,   "198.51.100.69", "2001:db8:9::5",
					     STAGE_PREFIX4, "198.51.100.79", STAGE_PREFIX6,   "2001:db8:9::ffff"};
	const char *text = locals[which % ARRAY_SIZE(locals)];

	MUST(addr_parse(text, &open->local));
	if (which % 8 == 0)
		open->local_len = which;
	else if (!strcmp(text, STAGE_PREFIX4) || !strcmp(text, STAGE_PREFIX6))
		open->local_len = strchr(text, ':') ? STAGE_BITS6 : 96 + STAGE_BITS4;
}

/** fill_open() - make sense of an OPEN, mostly */
static void fill_open(struct proto_open *open, struct script *script)
{
	const uint8_t how = script_next(script);
	static const char *const remotes[] = {"::", "198.51.100.7", "2001:db8:7::7", "224.0.0.1"};

	open->kind = (uint8_t)(script_next(script) % 4);
	open->class = (uint8_t)(script_next(script) % (STEER_CLASSES + 2));
	open->flags = (uint8_t)(how & 7);
	open->port = (uint16_t)(how & 8 ? 0 : STAGE_FIRST - 2 + script_next(script) % 108);
	open->count = (uint16_t)(how & 16 ? script_next(script) : 1);
	fill_local(open, script_next(script));
	MUST(addr_parse(remotes[script_next(script) % ARRAY_SIZE(remotes)], &open->remote));
	open->remote_port = how & 32 ? 443 : 0;
	if (open->class == CLASS_GRANT && !(how & 8)) {
		open->port = open->remote_port = 0;
		open->count = 1;
		open->protocol = how & 1 ? STAGE_PROTOCOL : IPPROTO_GRE;
		open->key = how & 1 ? 0 : STAGE_KEY - 1 + script_next(script) % 8;
	}
	open->family = how & 64 ? AF_INET : how & 128 ? AF_INET6 : AF_UNSPEC;
}

/** fill_link() - make sense of a LINK, mostly */
static void fill_link(struct proto_link *link, struct script *script)
{
	const uint8_t how = script_next(script);
	unsigned class;

	link->flags = how & 3;
	link->count = how & 4 ? 16 : how & 8 ? 32 : script_next(script);
	for (class = 0; class < STEER_LINK_CLASSES; class ++)
		link->port[class] = (uint16_t)(how & 16 ? 4000 + 16 * (script_next(script) % 7) : 0);
}

/** write_message() - put a message together: any bytes, any contents, or sense; returns its size */
static size_t write_message(unsigned n, uint64_t room[static 1], struct script *script)
{
	static const uint16_t sizes[] = {
		[PROTO_HELLO] = sizeof(struct proto_hello),   [PROTO_INFO] = sizeof(struct proto_request),
		[PROTO_OPEN] = sizeof(struct proto_open),     [PROTO_ROUTE] = sizeof(struct proto_route),
		[PROTO_STATS] = sizeof(struct proto_stats),   [PROTO_FLOWS] = sizeof(struct proto_flows),
		[PROTO_PORT] = sizeof(struct proto_port),     [PROTO_EVENT] = sizeof(struct proto_event),
		[PROTO_NETNS] = sizeof(struct proto_request), [PROTO_LINK] = sizeof(struct proto_link),
		[PROTO_LINKS] = sizeof(struct proto_links),   [PROTO_MAPPINGS] = sizeof(struct proto_mappings)};
	struct proto_header *header = (struct proto_header *)room;
	uint8_t how = script_next(script) % 8, type = script_next(script) % (uint8_t)(ARRAY_SIZE(sizes) + 2);
	size_t size = type < ARRAY_SIZE(sizes) ? sizes[type] : 16;

	if (how == 0) {
		size = script_take(script, room, script_next(script));
		header->id |= OPENS; /* so that no reply is taken for another's */
		return size;
	}
	if (size > sizeof(*header) && how == 1)
		script_take(script, room + 1, size - sizeof(*header));
	else if (type == PROTO_HELLO)
		((struct proto_hello *)room)->version = PROTO_VERSION;
	else if (type == PROTO_OPEN)
		fill_open((struct proto_open *)room, script);
	else if (type == PROTO_LINK)
		fill_link((struct proto_link *)room, script);
	else if (type == PROTO_MAPPINGS)
		((struct proto_mappings *)room)->link = script_next(script) % 4;
	else if (type == PROTO_ROUTE)
		MUST(addr_parse(how % 2 ? "198.51.100.9" : "2001:db8:7::9",
				&((struct proto_route *)room)->destination));
	*header = (struct proto_header){.type = type, .size = (uint16_t)size, .id = ids[n]++ % OPENS};
	if (type == PROTO_OPEN)
		memcpy(&asked[n][header->id], room, size);
	return size;
}

/** say() - a client says something, and may send file descriptors along */
static void say(unsigned n, struct script *script)
{
	static uint64_t room[PROTO_MESSAGE_MAX / sizeof(uint64_t)];
	uint8_t with = script_next(script);
	unsigned fds = with > 240 ? with % MSG_FDS_MAX + 1 : 0, i;
	int fd[MSG_FDS_MAX];
	size_t size;

	memset(room, 0, sizeof(room));
	size = write_message(n, room, script);
	for (i = 0; i < fds; i++)
		fd[i] = eventfd(0, EFD_CLOEXEC);
	if (client[n] >= 0 && size)
		msg_send(client[n], room, size, fd, fds, MSG_DONTWAIT | MSG_NOSIGNAL);
	for (i = 0; i < fds; i++)
		close_fd(&fd[i]);
}

/** is_proxied() - whether an address is in a proxied prefix */
static bool is_proxied(const struct addr *addr)
{
	struct prefix four = {.len = 96 + STAGE_BITS4}, six = {.len = STAGE_BITS6};

	MUST(addr_parse(STAGE_PREFIX4, &four.addr) && addr_parse(STAGE_PREFIX6, &six.addr));
	return prefix_contains(&four, addr) || prefix_contains(&six, addr);
}

/** keep() - remember a flow that a client was given */
static void keep(unsigned n, const struct proto_opened *reply, int fd)
{
	static const enum reference_class classes[] = {
		[CLASS_TCP] = REFERENCE_TCP,     [CLASS_UDP] = REFERENCE_UDP,   [CLASS_ICMP] = REFERENCE_ICMP,
		[CLASS_SCTP] = REFERENCE_SCTP,   [CLASS_DCCP] = REFERENCE_DCCP, [CLASS_UDPLITE] = REFERENCE_UDPLITE,
		[CLASS_GRANT] = REFERENCE_GRANT,
	};
	const struct proto_open *ask = &asked[n][reply->header.id % OPENS];
	unsigned i;

	for (i = 0; i < FLOWS && flow[i].fd >= 0; i++)
		;
	if (i == FLOWS || reply->header.id >= OPENS || ask->class >= ARRAY_SIZE(classes)) {
		close(fd);
		return;
	}
	flow[i] = (struct opened){.fd = fd, .kind = ask->kind, .meta = ask->flags & PROTO_FLAG_META};
	flow[i].reference = (struct reference_flow){
		.class = classes[ask->class],
		.version = ask->family == AF_INET    ? 4
			   : ask->family == AF_INET6 ? 6
						     : 0,
		.local = reference_address(&ask->local),
		.local_bits = ask->local_len > 96 && addr_family(&ask->local) == AF_INET ? ask->local_len - 96U
											 : ask->local_len,
		.proxied = is_proxied(&ask->local),
		.first = reply->port,
		.last = (uint16_t)(reply->port + reply->count - 1),
		.remote = reference_address(&ask->remote),
		.remote_port = ask->remote_port,
		.protocol = ask->protocol,
		.key = ask->key,
	};
	if (ask->kind != PROTO_KIND_SNIFFER && ask->class == CLASS_GRANT)
		MUST(ask->protocol == STAGE_PROTOCOL ||
		     (ask->protocol == IPPROTO_GRE && ask->key >= STAGE_KEY && ask->key < STAGE_KEY + STAGE_KEYS));
	else if (ask->kind != PROTO_KIND_SNIFFER && flow[i].reference.proxied)
		MUST(reply->port && reply->count && flow[i].reference.last >= reply->port);
	else if (ask->kind != PROTO_KIND_SNIFFER)
		MUST(reply->port >= STAGE_FIRST && flow[i].reference.last <= STAGE_LAST && reply->count);
}

/** hear() - a client reads a message */
static void hear(unsigned n)
{
	static uint64_t room[PROTO_MESSAGE_MAX / sizeof(uint64_t)];
	const struct proto_header *header = (struct proto_header *)room;
	struct proto_opened *opened = (struct proto_opened *)room;
	struct msg msg;

	if (client[n] < 0)
		return;
	if (msg_recv(client[n], room, sizeof(room), &msg, MSG_DONTWAIT) <= 0) {
		if (errno != EAGAIN)
			close_fd(&client[n]);
		return;
	}
	MUST(msg.size >= sizeof(*header) && header->size == msg.size && header->type && header->type < PROTO_TYPES);
	MUST(msg.fds == (header->type == PROTO_OPEN && !opened->error));
	if (msg.fds)
		keep(n, opened, msg.fd[0]);
}

/** make_plan() - who speaks to whom: mostly as a flow would */
static struct shape_plan make_plan(const struct opened *opened, struct dice *dice)
{
	static const uint8_t protocols[] = {6, 17, 1, 132, 33, 136, IPPROTO_GRE}; /* by enum reference_class */
	static const char *const others[] = {"198.51.100.7", "2001:db8:7::7", "198.51.100.8", "2001:db8:7::8",
					     "127.0.0.9",    "ff02::5",       "0.0.0.0",      "::ffff:198.51.100.7"};
	const struct reference_flow *like = &opened->reference;
	bool fits = opened->fd >= 0 && !dice_one_in(dice, 8);
	struct shape_plan plan = {.version = fits ? like->version : 0};
	struct addr addr;
	bool v4;

	if (!plan.version)
		plan.version = dice_one_in(dice, 2) ? 4 : 6;
	v4 = plan.version == 4;
	plan.protocol = protocols[fits ? like->class : dice_below(dice, sizeof(protocols))];
	if (plan.protocol == 1 && !v4)
		plan.protocol = 58;
	MUST(addr_parse(v4 ? STAGE_LOCAL4 : STAGE_LOCAL6, &addr));
	memcpy(plan.own, v4 ? addr.b + 12 : addr.b, v4 ? 4 : 16);
	if (fits && like->proxied && like->local.version == plan.version)
		memcpy(plan.own, like->local.byte, v4 ? 4 : 16);
	if (fits && like->local_bits && dice_one_in(dice, 2))
		plan.own[v4 || dice_one_in(dice, 4) ? 3 : 15] ^= (uint8_t)dice_below(dice, 32);
	MUST(addr_parse(others[!v4 + 2 * (dice_one_in(dice, 4) ? dice_below(dice, 4) : 0)], &addr));
	memcpy(plan.other, v4 ? addr.b + 12 : addr.b, v4 ? 4 : 16);
	if (fits && like->class == REFERENCE_GRANT)
		plan.protocol = like->protocol;
	plan.own_port = fits ? (like->class == REFERENCE_GRANT ? (uint16_t)like->key : like->first)
			     : (uint16_t)(STAGE_FIRST - 1 + dice_below(dice, 104));
	plan.other_port = dice_one_in(dice, 6) ? (uint16_t)dice_below(dice, 65536) : 443;
	return plan;
}

/** build() - a packet between the slice and somebody */
static void build(struct shape *shape, const struct opened *opened, struct script *script, bool arrives)
{
	struct dice dice = {.state = 0};
	struct shape_plan plan;

	script_take(script, &dice.state, 4);
	plan = make_plan(opened, &dice);
	plan.arrives = arrives;
	shape_build(shape, &dice, &plan);
	if (dice_one_in(&dice, 2))
		shape_break(shape, &dice);
}

/** may_leave_from() - whether a flow with some ports, on some addresses, could send a packet */
static bool may_leave_from(struct reference_flow any, const uint8_t *packet, size_t size)
{
	any.protocol = STAGE_PROTOCOL;
	for (any.class = 0; any.class <= REFERENCE_GRANT; any.class ++)
		if (!reference_send(&the_slice, &any, packet, size))
			return true;
	any.class = REFERENCE_GRANT;
	any.protocol = IPPROTO_GRE;
	for (any.key = STAGE_KEY; any.key < STAGE_KEY + STAGE_KEYS; any.key++)
		if (!reference_send(&the_slice, &any, packet, size))
			return true;
	return false;
}

/** may_leave() - whether something that the slice has could send a packet */
static bool may_leave(const uint8_t *packet, size_t size)
{
	struct reference_flow any = {.first = STAGE_FIRST, .last = STAGE_LAST};
	unsigned i;

	if (may_leave_from(any, packet, size))
		return true;
	any.first = 1;
	any.last = UINT16_MAX;
	for (i = 0; i < the_slice.proxied; i++) {
		any.local = the_slice.prefix[i].address;
		any.local_bits = the_slice.prefix[i].bits;
		if (may_leave_from(any, packet, size))
			return true;
	}
	return false;
}

/** check_wire() - what the relay has sent may be sent, and its source has been filled in */
static void check_wire(void)
{
	static uint8_t packet[65536];
	ssize_t n;

	while ((n = recv(stage_wire(), packet, sizeof(packet), MSG_DONTWAIT)) > 0)
		MUST(may_leave(packet, (size_t)n) && packet[packet[0] >> 4 == 4 ? 12 : 8]);
}

/** read_flow() - what a flow gets is for it */
static void read_flow(struct opened *opened)
{
	static uint8_t packet[65536 + sizeof(struct saferaw_meta)];
	size_t head = opened->meta ? sizeof(struct saferaw_meta) : 0;
	ssize_t n = recv(opened->fd, packet, sizeof(packet), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close_fd(&opened->fd);
		return;
	}
	MUST((size_t)n > head);
	if (opened->kind != PROTO_KIND_SNIFFER)
		MUST(!reference_receive(&opened->reference, packet + head, (size_t)n - head, false));
}

/** use_flow() - a flow's owner writes a packet, reads one, or closes it */
static void use_flow(struct opened *opened, struct script *script)
{
	static struct shape shape;
	uint8_t how = script_next(script) % 8;

	if (opened->fd < 0)
		return;
	if (how == 0) {
		close_fd(&opened->fd);
	} else if (how < 4) {
		read_flow(opened);
	} else {
		build(&shape, opened, script, false);
		send(opened->fd, shape.byte, shape.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/** arrive() - a packet comes from the wire, mostly for a flow */
static void arrive(const struct opened *opened, struct script *script)
{
	static struct shape shape;

	build(&shape, opened, script, true);
	if (shape.size)
		send(stage_wire(), shape.byte, shape.size, MSG_DONTWAIT);
}

/** leave() - a frame comes from a link: with a packet of the slice's, or of any ports */
static void leave(unsigned number, struct script *script)
{
	static const uint8_t prefix[] = STEER_TAP_PREFIX;
	static struct shape shape;
	struct opened like = {.fd = -1};
	uint8_t frame[14 + SHAPE_ROOM] = {0};

	build(&shape, &like, script, false);
	memcpy(frame, prefix, sizeof(prefix));
	frame[5] = (uint8_t)number;
	frame[12] = shape.byte[0] >> 4 == 6 ? 0x86 : 0x08;
	frame[13] = shape.byte[0] >> 4 == 6 ? 0xdd : 0x00;
	memcpy(frame + 14, shape.byte, shape.size);
	send(stage_tap(), frame, 14 + shape.size, MSG_DONTWAIT);
}

/** check_tap() - what links get has a header, and a packet for the slice */
static void check_tap(void)
{
	static uint8_t frame[14 + 65536];
	struct reference_flow any = {.first = 0, .last = 65535};
	bool allowed;
	ssize_t n;

	while ((n = recv(stage_tap(), frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
		MUST(n > 14);
		allowed = false;
		for (any.class = 0; any.class < REFERENCE_CLASSES; any.class ++)
			allowed = allowed || !reference_receive(&any, frame + 14, (size_t)n - 14, false);
		MUST(allowed);
	}
}

/** news() - the monitor has something to say; returns whether the configuration has changed */
static bool news(struct script *script)
{
	static const int errors[] = {0, 0, 0, 0, EADDRINUSE, EACCES, ENFILE, EADDRNOTAVAIL};
	uint8_t how = script_next(script);

	switch (how % 8) {
	case 0:
		stage_configure(how & 8, how & 48);
		return true;
	case 1:
		stage_address(how >> 3 & 1, how & 16);
		return false;
	case 2:
		stage_routes(how & 8 ? 1500 : 1280);
		return false;
	case 3:
		stage_unlink(how >> 3 & 3);
		return false;
	default:
		stage_answer(errors[how >> 3 & 7]);
		return false;
	}
}

/** step() - one thing happens; returns whether the configuration has changed */
static bool step(struct script *script)
{
	uint8_t what = script_next(script);
	unsigned n = what >> 6, i;
	bool changed = false;

	switch (what % 8) {
	case 0:
		connect_client(n);
		break;
	case 1:
		hear(n);
		break;
	case 2:
		changed = news(script);
		break;
	case 3:
		arrive(&flow[what >> 3 & (FLOWS - 1)], script);
		break;
	case 5:
		leave(what >> 3 & 3, script);
		break;
	case 4:
		use_flow(&flow[what >> 3 & (FLOWS - 1)], script);
		break;
	default:
		say(n, script);
	}
	for (i = 0; i < 2; i++)
		stage_turn();
	stage_hear();
	check_wire();
	check_tap();
	return changed;
}

/** lowest_free() - the file descriptor that would be opened next */
static int lowest_free(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/**
 * LLVMFuzzerTestOneInput() - play one script
 * @input: bytes
 * @size: of them
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct script script = {.at = input, .left = size};
	bool changed = false;
	unsigned i;
	int lowest;

	stage_open();
	make_slice();
	lowest = lowest_free();
	for (i = 0; i < CLIENTS; i++)
		client[i] = -1;
	for (i = 0; i < FLOWS; i++)
		flow[i].fd = -1;
	for (i = 0; i < STEPS_MAX && script.left; i++)
		changed = step(&script) || changed;
	for (i = 0; i < CLIENTS; i++)
		close_fd(&client[i]);
	for (i = 0; i < FLOWS; i++)
		close_fd(&flow[i].fd);
	if (changed)
		stage_configure(false, true);
	stage_clean();
	check_wire();
	MUST(lowest_free() == lowest);
	return 0;
}
