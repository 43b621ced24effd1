/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shape.c: packets that are nearly right
 *
 * Bytes at random hardly ever get past the first length field. So packets are
 * built here as the RFCs have them, of every kind that the verdict tells
 * apart (options, chains of extension headers, fragments, errors that quote
 * another packet), and then broken in one place or a few: a bit, a field, a
 * length, the end. Most of what comes out is a hair's breadth from valid, on
 * either side.
 *
 * A number that the receiver would check is mostly right, and wrong now and
 * then on purpose, so that every rule has its share of the traffic. All is
 * drawn from a dice, so that the number it began with is enough to have the
 * same packet again.
 */
#include "shape.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define PAYLOAD_MAX 96 /* bytes behind the upper header, mostly */
#define PAYLOAD_LONG 1400
#define CHAIN_LONG 10  /* extension headers: more than are allowed */
#define BROKEN_HEAD 96 /* bytes in front, where headers are, which are broken most */

/* Protocol numbers (IANA) */
#define ICMP4 1
#define TCP 6
#define UDP 17
#define DCCP 33
#define SCTP 132
#define UDP_LITE 136
#define GRE 47
#define ICMP6 58
#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define DESTINATION_OPTIONS 60

/**
 * dice_roll() - 64 pseudo-random bits (splitmix64)
 * @dice: moved on
 */
uint64_t dice_roll(struct dice *dice)
{
	uint64_t z = dice->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/**
 * dice_below() - a number from 0 on
 * @dice: moved on
 * @limit: it is less than this, which is at least 1
 */
unsigned dice_below(struct dice *dice, unsigned limit)
{
	return (unsigned)((dice_roll(dice) >> 32) * limit >> 32);
}

/**
 * dice_one_in() - a rare event
 * @dice: moved on
 * @n: how rare
 */
bool dice_one_in(struct dice *dice, unsigned n)
{
	return dice_below(dice, n) == 0;
}

/** put() - append bytes, as many as there is room for; NULL for zeros */
static void put(struct shape *shape, const void *bytes, size_t size)
{
	if (size > SHAPE_ROOM - shape->size)
		size = SHAPE_ROOM - shape->size;
	if (bytes)
		memcpy(shape->byte + shape->size, bytes, size);
	else
		memset(shape->byte + shape->size, 0, size);
	shape->size += size;
}

/** put_byte() - append one */
static void put_byte(struct shape *shape, unsigned byte)
{
	uint8_t value = (uint8_t)byte;

	put(shape, &value, sizeof(value));
}

/** put_two() - append a number in network order */
static void put_two(struct shape *shape, unsigned number)
{
	put_byte(shape, number >> 8);
	put_byte(shape, number);
}

/** set_two() - write a number in network order, where it fits */
static void set_two(struct shape *shape, size_t at, unsigned number)
{
	if (at + 2 > shape->size)
		return;
	shape->byte[at] = (uint8_t)(number >> 8);
	shape->byte[at + 1] = (uint8_t)number;
}

/** header4() - length of the IPv4 header that begins somewhere, as far as it is there */
static size_t header4(const struct shape *shape, size_t start)
{
	size_t header = (size_t)(shape->byte[start] & 15) * 4;

	return header < shape->size - start ? header : (shape->size - start) & ~(size_t)1;
}

/** sum4() - set the checksum of the IPv4 header that begins somewhere right (RFC 1071) */
static void sum4(struct shape *shape, size_t start)
{
	size_t at, header = header4(shape, start);
	uint32_t sum = 0;

	set_two(shape, start + 10, 0);
	for (at = start; at + 1 < start + header; at += 2)
		sum += (uint32_t)shape->byte[at] << 8 | shape->byte[at + 1];
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	set_two(shape, start + 10, ~sum & 0xffff);
}

/**
 * shape_repair() - make a packet's own account of itself right again
 * @shape: packet
 * @length: set the length in the IP header
 * @sum: set the IPv4 header checksum
 */
void shape_repair(struct shape *shape, bool length, bool sum)
{
	bool v4 = shape->size >= 20 && shape->byte[0] >> 4 == 4;

	if (length && v4)
		set_two(shape, 2, (unsigned)shape->size);
	if (length && shape->size >= 40 && shape->byte[0] >> 4 == 6)
		set_two(shape, 4, (unsigned)shape->size - 40);
	if (sum && v4)
		sum4(shape, 0);
}

/** put_option4() - append an IPv4 option (RFC 791, 2113, 6814) */
static void put_option4(struct shape *shape, struct dice *dice)
{
	static const uint8_t type[] = {7, 68, 148, 130, 136, 131, 137, 82, 25};
	unsigned size = 2 + dice_below(dice, 10);

	switch (dice_below(dice, 8)) {
	case 0:
	case 1:
		put_byte(shape, 1);
		return;
	case 2:
		size = dice_one_in(dice, 3) ? dice_below(dice, 60) : size;
		/* fall through */
	default:
		put_byte(shape, dice_one_in(dice, 6) ? dice_below(dice, 256) : type[dice_below(dice, COUNT(type))]);
		put_byte(shape, size);
		put_byte(shape, 4);
		put(shape, NULL, size > 3 ? size - 3 : 0);
	}
}

/** put_options4() - append the options of an IPv4 header, and fill it up */
static void put_options4(struct shape *shape, struct dice *dice, size_t start)
{
	unsigned options = dice_below(dice, 5);
	size_t header;

	while (options--)
		put_option4(shape, dice);
	if (shape->size > start + 60)
		shape->size = start + 60;
	while ((shape->size - start) % 4)
		put_byte(shape, dice_one_in(dice, 4));
	header = shape->size - start;
	shape->byte[start] = (uint8_t)(0x40 | header / 4);
}

/** put_ip4() - append an IPv4 header */
static void put_ip4(struct shape *shape, struct dice *dice, const struct shape_plan *plan)
{
	size_t start = shape->size;
	unsigned offset = 0;

	if (dice_one_in(dice, 8)) /* a fragment: more to come, offset, or both */
		offset = (dice_one_in(dice, 2) ? 0x2000 : 0) | (dice_one_in(dice, 2) ? 0 : dice_below(dice, 0x2000));
	else if (dice_one_in(dice, 4))
		offset = 0x4000;
	put_byte(shape, 0x45);
	put_byte(shape, dice_below(dice, 256));
	put_two(shape, 0);
	put_two(shape, dice_one_in(dice, 4) ? 0 : dice_below(dice, 65536));
	put_two(shape, offset);
	put_byte(shape, dice_below(dice, 256));
	put_byte(shape, plan->protocol);
	put_two(shape, 0);
	put(shape, plan->arrives ? plan->other : plan->own, 4);
	put(shape, plan->arrives ? plan->own : plan->other, 4);
	if (dice_one_in(dice, 4))
		put_options4(shape, dice, start);
}

/** put_options6() - append a header of IPv6 options but for its first byte */
static void put_options6(struct shape *shape, struct dice *dice)
{
	static const uint8_t type[] = {1, 1, 5, 0xc2, 0x63, 0x1e, 201};
	size_t start = shape->size, end;
	unsigned units = dice_one_in(dice, 8) ? dice_below(dice, 8) : dice_below(dice, 2);

	put_byte(shape, units);
	end = start + 7 + (size_t)units * 8;
	while (shape->size < end) {
		size_t room = end - shape->size;
		unsigned size = room < 2 ? 0 : dice_below(dice, (unsigned)room - 1);

		if (room < 2 || dice_one_in(dice, 3)) {
			put_byte(shape, 0);
			continue;
		}
		put_byte(shape, type[dice_below(dice, COUNT(type) - !dice_one_in(dice, 8))]);
		put_byte(shape, dice_one_in(dice, 32) ? size + 1 + dice_below(dice, 40) : size);
		put(shape, NULL, size);
	}
}

/** put_fragment6() - append a fragment header but for its first byte */
static void put_fragment6(struct shape *shape, struct dice *dice)
{
	unsigned offset = dice_one_in(dice, 2) ? 0 : dice_below(dice, 65536) & 0xfff8;

	put_byte(shape, 0);
	put_two(shape, offset | dice_one_in(dice, 2));
	put_two(shape, 0);
	put_two(shape, dice_below(dice, 65536));
}

/** put_routing() - append a routing header but for its first byte (RFC 8200, 6554, 8754, 6275) */
static void put_routing(struct shape *shape, struct dice *dice)
{
	unsigned units = dice_below(dice, 3);

	put_byte(shape, units);
	put_byte(shape, dice_below(dice, 5));
	put_byte(shape, dice_below(dice, 2));
	put(shape, NULL, 4 + (size_t)units * 8);
}

/**
 * put_chain() - append extension headers
 * @shape: packet
 * @dice: dice
 * @next: where the type of what comes next is written; points to the last such place afterwards
 */
static void put_chain(struct shape *shape, struct dice *dice, size_t *next)
{
	static const uint8_t types[] = {DESTINATION_OPTIONS,
					DESTINATION_OPTIONS,
					DESTINATION_OPTIONS,
					HOP_BY_HOP,
					ROUTING,
					FRAGMENT,
					FRAGMENT,
					50,
					51,
					59,
					135,
					139};
	unsigned left = dice_one_in(dice, 8) ? dice_below(dice, CHAIN_LONG) + 1 : dice_below(dice, 2) + 1;
	bool first = true;

	for (; left; left--, first = false) {
		unsigned type = types[dice_below(dice, dice_one_in(dice, 4) ? COUNT(types) : 3)];

		if (first && dice_one_in(dice, 3))
			type = HOP_BY_HOP;
		shape->byte[*next] = (uint8_t)type;
		*next = shape->size;
		put_byte(shape, 59);
		if (type == FRAGMENT)
			put_fragment6(shape, dice);
		else if (type == ROUTING)
			put_routing(shape, dice);
		else
			put_options6(shape, dice);
	}
}

/** put_ip6() - append an IPv6 header and its extension headers */
static void put_ip6(struct shape *shape, struct dice *dice, const struct shape_plan *plan)
{
	size_t next = shape->size + 6;

	put_byte(shape, 0x60 | dice_below(dice, 16));
	put_byte(shape, dice_below(dice, 256));
	put(shape, NULL, 4);
	put_byte(shape, plan->protocol);
	put_byte(shape, dice_below(dice, 256));
	put(shape, plan->arrives ? plan->other : plan->own, 16);
	put(shape, plan->arrives ? plan->own : plan->other, 16);
	if (dice_one_in(dice, 3))
		put_chain(shape, dice, &next);
	shape->byte[next] = (uint8_t)plan->protocol;
}

/** put_tcp() - append a TCP header (RFC 9293) */
static void put_tcp(struct shape *shape, struct dice *dice)
{
	unsigned words = dice_one_in(dice, 3) ? 5 + dice_below(dice, 11) : 5;

	put(shape, NULL, 8);
	put_byte(shape, (dice_one_in(dice, 24) ? dice_below(dice, 16) : words) << 4);
	put_byte(shape, dice_below(dice, 256));
	put(shape, NULL, 6 + (size_t)(words - 5) * 4);
}

/** put_udp() - append the rest of a UDP header */
static void put_udp(struct shape *shape, struct dice *dice, size_t payload)
{
	put_two(shape,
		dice_one_in(dice, 16) ? dice_below(dice, dice_one_in(dice, 2) ? 12 : 65536) : (unsigned)payload + 8);
	put_two(shape, 0);
}

/** put_dccp() - append the rest of a DCCP header (RFC 4340) */
static void put_dccp(struct shape *shape, struct dice *dice)
{
	bool extended = dice_one_in(dice, 2);
	unsigned type = extended || dice_one_in(dice, 16) ? dice_below(dice, 16) : 2 + dice_below(dice, 3);
	unsigned words = (extended ? 4 : 3) + (dice_one_in(dice, 3) ? dice_below(dice, 6) : 0);

	put_byte(shape, dice_one_in(dice, 24) ? dice_below(dice, 16) : words);
	put_byte(shape, dice_one_in(dice, 4) ? dice_below(dice, 256) : 0);
	put_two(shape, 0);
	put_byte(shape, type << 1 | extended);
	put(shape, NULL, (size_t)words * 4 - 9);
}

/** put_packet() - append a packet; one inside an ICMP error quotes no other */
static void put_packet(struct shape *shape, struct dice *dice, const struct shape_plan *plan, bool quoted);

/** put_icmp() - append an ICMP message (RFC 792, RFC 4443) */
static void put_icmp(struct shape *shape, struct dice *dice, const struct shape_plan *plan, bool quoted)
{
	static const uint8_t query4[] = {8, 8, 13}, answer4[] = {0, 0, 14}, error4[] = {3, 11, 12, 4, 5};
	static const uint8_t error6[] = {1, 2, 3, 4};
	bool v4 = plan->version == 4, error = !quoted && dice_one_in(dice, plan->arrives ? 2 : 8);
	bool answer = dice_one_in(dice, 8) != plan->arrives;
	struct shape_plan inner = *plan;
	unsigned type;

	if (error)
		type = v4 ? error4[dice_below(dice, COUNT(error4))] : error6[dice_below(dice, COUNT(error6))];
	else if (v4)
		type = answer ? answer4[dice_below(dice, COUNT(answer4))] : query4[dice_below(dice, COUNT(query4))];
	else
		type = answer ? 129 : 128;
	put_byte(shape, dice_one_in(dice, 16) ? dice_below(dice, 256) : type);
	put_byte(shape, dice_one_in(dice, 8) ? dice_below(dice, 256) : 0);
	put_two(shape, 0);
	put_two(shape, plan->own_port);
	put_two(shape, dice_below(dice, 65536));
	if (!error)
		return;
	inner.arrives = dice_one_in(dice, 16); /* it quotes what we sent */
	put_packet(shape, dice, &inner, true);
}

/** put_gre() - append a GRE header, mostly with the own port for a key */
static void put_gre(struct shape *shape, struct dice *dice, const struct shape_plan *plan)
{
	unsigned flags = 0x2000;

	if (dice_one_in(dice, 3))
		flags |= dice_below(dice, 16) << 12;
	if (dice_one_in(dice, 6))
		flags = dice_below(dice, 65536);
	put_two(shape, flags);
	put_two(shape, 0x0800);
	if (flags & 0x8000)
		put(shape, NULL, 4);
	put_two(shape, dice_one_in(dice, 12) ? dice_below(dice, 65536) : 0);
	put_two(shape, plan->own_port);
	if (flags & 0x1000)
		put(shape, NULL, 4);
}

/** put_upper() - append what follows the IP headers */
static void put_upper(struct shape *shape, struct dice *dice, const struct shape_plan *plan, bool quoted)
{
	size_t payload = dice_below(dice, dice_one_in(dice, 64) ? PAYLOAD_LONG : PAYLOAD_MAX);

	if (plan->protocol == ICMP4 || plan->protocol == ICMP6) {
		put_icmp(shape, dice, plan, quoted);
	} else if (plan->protocol == GRE) {
		put_gre(shape, dice, plan);
	} else {
		put_two(shape, plan->arrives ? plan->other_port : plan->own_port);
		put_two(shape, plan->arrives ? plan->own_port : plan->other_port);
		if (plan->protocol == TCP)
			put_tcp(shape, dice);
		else if (plan->protocol == UDP)
			put_udp(shape, dice, payload);
		else if (plan->protocol == UDP_LITE)
			put_udp(shape, dice,
				dice_one_in(dice, 2) ? payload : dice_below(dice, (unsigned)payload + 1));
		else if (plan->protocol == DCCP)
			put_dccp(shape, dice);
		else if (plan->protocol == SCTP)
			put(shape, NULL, 8);
	}
	put(shape, NULL, payload);
}

static void put_packet(struct shape *shape, struct dice *dice, const struct shape_plan *plan, bool quoted)
{
	size_t start = shape->size;

	if (plan->version == 4)
		put_ip4(shape, dice, plan);
	else
		put_ip6(shape, dice, plan);
	put_upper(shape, dice, plan, quoted);
	if (plan->version == 4) {
		set_two(shape, start + 2, (unsigned)(shape->size - start));
		sum4(shape, start);
	} else {
		set_two(shape, start + 4, (unsigned)(shape->size - start) - 40);
	}
	if (quoted && dice_one_in(dice, 2)) /* a router may cut it off */
		shape->size -= dice_below(dice, (unsigned)(shape->size - start));
}

/**
 * shape_build() - build a packet that is right
 * @shape: set whole
 * @dice: what it is like
 * @plan: who speaks to whom
 *
 * What a plan for ICMP arrives with may be an error about another protocol:
 * about what the plan would have sent, with the ports that it has.
 */
void shape_build(struct shape *shape, struct dice *dice, const struct shape_plan *plan)
{
	struct shape_plan error = *plan;

	shape->size = 0;
	if (plan->protocol != ICMP4 && plan->protocol != ICMP6 && plan->arrives && dice_one_in(dice, 6)) {
		/* an error from a router about what the plan sent */
		struct shape_plan inner = *plan;

		error.protocol = plan->version == 4 ? ICMP4 : ICMP6;
		inner.arrives = dice_one_in(dice, 16);
		if (plan->version == 4)
			put_ip4(shape, dice, &error);
		else
			put_ip6(shape, dice, &error);
		put_byte(shape, plan->version == 4 ? 3 : 1);
		put(shape, NULL, 7);
		put_packet(shape, dice, &inner, true);
		shape_repair(shape, true, true);
		return;
	}
	put_packet(shape, dice, plan, false);
}

/** break_bytes() - change a byte or two near the front */
static void break_bytes(struct shape *shape, struct dice *dice)
{
	static const uint16_t numbers[] = {0,    1,     7,      8,      20,     40,     0x7f,   0x80,
					   0xff, 0x100, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xfff8, 0xffff};
	size_t head = shape->size < BROKEN_HEAD ? shape->size : BROKEN_HEAD;
	size_t at = dice_below(dice, (unsigned)(dice_one_in(dice, 8) ? shape->size : head));

	switch (dice_below(dice, 4)) {
	case 0:
		shape->byte[at] ^= (uint8_t)(1u << dice_below(dice, 8));
		break;
	case 1:
		shape->byte[at] = (uint8_t)dice_below(dice, 256);
		break;
	case 2:
		shape->byte[at] = (uint8_t)(shape->byte[at] + (dice_one_in(dice, 2) ? 1 : -1));
		break;
	default:
		set_two(shape, at, numbers[dice_below(dice, COUNT(numbers))]);
	}
}

/** break_size() - cut the end off, add to it, or take bytes out of the middle */
static void break_size(struct shape *shape, struct dice *dice)
{
	size_t at = dice_below(dice, (unsigned)shape->size);
	size_t some = 1 + dice_below(dice, 16);

	switch (dice_below(dice, 4)) {
	case 0:
		shape->size = at;
		break;
	case 1:
		put(shape, NULL, some);
		break;
	case 2:
		some = some < shape->size ? some : shape->size;
		shape->size -= some;
		break;
	default:
		some = some < shape->size - at ? some : shape->size - at;
		memmove(shape->byte + at, shape->byte + at + some, shape->size - at - some);
		shape->size -= some;
	}
}

/** break_field() - change what the first bytes of the IP header say */
static void break_field(struct shape *shape, struct dice *dice)
{
	static const uint8_t protocols[] = {0,  1,  2,  4,  6,  17,  41,  43, 44, 47,
					    50, 51, 58, 59, 60, 132, 136, 33, 89, 255};
	bool v4 = shape->byte[0] >> 4 == 4;

	switch (dice_below(dice, 4)) {
	case 0: /* version and header length */
		shape->byte[0] = (uint8_t)dice_below(dice, 256);
		break;
	case 1:
		if (shape->size > 9)
			shape->byte[v4 ? 9 : 6] = protocols[dice_below(dice, COUNT(protocols))];
		break;
	case 2: /* length */
		set_two(shape, v4 ? 2 : 4, (unsigned)(shape->size - (v4 ? 0 : 40) + dice_below(dice, 9) - 4));
		break;
	default: /* offset of a fragment */
		set_two(shape, v4 ? 6 : 42, dice_below(dice, 65536));
	}
}

/**
 * shape_break() - break a packet somewhere
 * @shape: changed
 * @dice: dice
 *
 * Half of the time its lengths and checksum are made right again, so that not
 * they are what the packet fails on.
 */
void shape_break(struct shape *shape, struct dice *dice)
{
	unsigned times = 1 + dice_below(dice, 3);

	while (times-- && shape->size) {
		unsigned how = dice_below(dice, 8);

		if (how < 4)
			break_bytes(shape, dice);
		else if (how < 6)
			break_field(shape, dice);
		else
			break_size(shape, dice);
	}
	shape_repair(shape, dice_one_in(dice, 2), dice_one_in(dice, 2));
}
