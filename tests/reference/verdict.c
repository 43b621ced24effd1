// SPDX-License-Identifier: BSD-2-Clause
/*
 * verdict.c: the reference that the verdict is compared with
 *
 * Written from the RFCs, the design and saferaw-protocol(7), not from the
 * code that it judges, and sharing nothing with it: when both agree on a
 * packet, two readings of the documents agree. It is slow and plain on
 * purpose. Each rule stands alone, reads the packet anew and says with which
 * RFC it can be checked.
 *
 * A packet can be wrong in several ways at once, and the documents do not say
 * which reason is to be named then. So the answer is the set of all reasons
 * that hold: the verdict must be one of the set, and "pass" exactly when the
 * set is empty. Where a rule cannot be judged because an earlier one failed
 * (no ports in a header that is cut off) it adds nothing.
 */
#include "verdict.h"

#include <stdio.h>
#include <string.h>

/* Reasons, each a bit of a set */
#define WHY_SHORT (1u << 0)
#define WHY_VERSION (1u << 1)
#define WHY_HEADER_LENGTH (1u << 2)
#define WHY_LENGTH (1u << 3)
#define WHY_CHECKSUM (1u << 4)
#define WHY_EXTENSION (1u << 5)
#define WHY_TRANSPORT (1u << 6)
#define WHY_OPTION (1u << 7)
#define WHY_SOURCE_ROUTE (1u << 8)
#define WHY_FRAGMENT (1u << 9)
#define WHY_READ_ONLY (1u << 10)
#define WHY_PROTOCOL (1u << 11)
#define WHY_ICMP_TYPE (1u << 12)
#define WHY_SOURCE (1u << 13)
#define WHY_PORT (1u << 14)
#define WHY_REMOTE (1u << 15)
#define WHY_LOOPBACK (1u << 16)
#define WHY_MULTICAST (1u << 17)
#define WHY_BROADCAST (1u << 18)
#define WHY_UNSPECIFIED (1u << 19)
#define WHY_LINK_LOCAL (1u << 20)
#define WHY_DENIED (1u << 21)
#define WHY_NO_FLOW (1u << 22)
#define WHY_MARTIAN (1u << 23)
#define WHY_FRAGMENT_LENGTH (1u << 24)
#define WHY_TINY_FRAGMENT (1u << 25)
#define WHY_ATOMIC_FRAGMENT (1u << 26)
#define WHY_ROUTING_HEADER (1u << 27)
#define WHY_HOME_ADDRESS (1u << 28)
#define WHY_CHAIN_END (1u << 29)
#define WHY_GRE (1u << 30)
#define WHY_NO_UPPER (WHY_TRANSPORT | WHY_TINY_FRAGMENT) /* its header cannot be judged */

/* Names of the bits, as in saferaw-protocol(7) */
static const char *const names[] = {
	"short",         "version",         "header-length",  "length",       "checksum",
	"extension",     "transport",       "option",         "source-route", "fragment",
	"read-only",     "protocol",        "icmp-type",      "source",       "port",
	"remote",        "loopback",        "multicast",      "broadcast",    "unspecified",
	"link-local",    "denied",          "no-flow",        "martian",      "fragment-length",
	"tiny-fragment", "atomic-fragment", "routing-header", "home-address", "chain-end",
	"gre",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

/* Protocol numbers (IANA) */
#define HOP_BY_HOP 0
#define ICMP4 1
#define TCP 6
#define UDP 17
#define DCCP 33
#define ROUTING 43
#define GRE 47
#define FRAGMENT_HEADER 44
#define ESP 50
#define AUTHENTICATION 51
#define ICMP6 58
#define NO_NEXT_HEADER 59
#define DESTINATION_OPTIONS 60
#define SCTP 132
#define MOBILITY 135
#define UDP_LITE 136
#define HIP 139
#define SHIM6 140
#define EXPERIMENT 253
#define EXPERIMENT_2 254
#define PROTOCOLS 256

#define CHAIN_MAX                                                                                                    \
	8 /* extension headers of one packet; the limit is the project's (RFC 8504 5.3 lets a host have one) */

/* What is an IPv6 extension header (IANA's list; RFC 7045): those that are walked, and those that end the walk */
static const uint8_t walked[PROTOCOLS] = {
	[HOP_BY_HOP] = 1, [ROUTING] = 1, [FRAGMENT_HEADER] = 1, [DESTINATION_OPTIONS] = 1};
static const uint8_t not_allowed[PROTOCOLS] = {
	[ESP] = 1, [AUTHENTICATION] = 1, [NO_NEXT_HEADER] = 1, [MOBILITY] = 1,
	[HIP] = 1, [SHIM6] = 1,          [EXPERIMENT] = 1,     [EXPERIMENT_2] = 1};

/* What the rules need to know of a packet; filled in as far as it can be read */
struct reading {
	const uint8_t *packet;
	size_t size;        /* bytes of the IP packet, padding left out */
	reference_set form; /* what is wrong with its form */
	unsigned version;
	unsigned protocol;          /* upper layer */
	size_t upper;               /* where that begins; 0 when it was not found */
	bool routed, on_way;        /* a source route; an IPv6 one with segments left */
	bool fragment, first, last; /* first and last fragment; both in a datagram that is whole */
	size_t offset, begin;       /* of a fragment in its datagram; where in the packet what it holds begins */
	struct reference_address source, destination;

	/* of what an ICMP error is about */
	struct reference_address inner_source, inner_destination;
	unsigned inner_protocol;
	const uint8_t
		*inner_upper; /* header of the upper layer, 8 bytes; NULL where it has no ports and no identifier */
};

/**
 * reference_has() - whether a reason is in a set
 * @set: to look in
 * @name: of the reason, as in saferaw-protocol(7)
 */
bool reference_has(reference_set set, const char *name)
{
	unsigned i;

	for (i = 0; i < NAMES; i++)
		if (!strcmp(names[i], name))
			return set & 1u << i;
	return false;
}

/**
 * reference_text() - a set for people
 * @set: to write
 * @text: where to
 *
 * Return: @text
 */
const char *reference_text(reference_set set, char text[static 256])
{
	size_t at = 0;
	unsigned i;

	snprintf(text, 256, "pass");
	for (i = 0; i < NAMES; i++)
		if (set & 1u << i)
			at += (size_t)snprintf(text + at, 256 - at, "%s%s", at ? "|" : "", names[i]);
	return text;
}

/** two() - a number of two bytes in network order */
static unsigned two(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

/** make_address() - an address out of a header */
static struct reference_address make_address(unsigned version, const uint8_t *bytes)
{
	struct reference_address address = {.version = version};

	memcpy(address.byte, bytes, version == 4 ? 4 : 16);
	return address;
}

/** same_address() - whether two addresses are one */
static bool same_address(const struct reference_address *a, const struct reference_address *b)
{
	return a->version == b->version && !memcmp(a->byte, b->byte, a->version == 4 ? 4 : 16);
}

/** in_prefix() - whether an address begins as a prefix does */
static bool in_prefix(const struct reference_address *address, const struct reference_prefix *prefix)
{
	unsigned bit;

	if (address->version != prefix->address.version)
		return false;
	for (bit = 0; bit < prefix->bits; bit++) {
		unsigned mask = 0x80u >> bit % 8;

		if ((address->byte[bit / 8] & mask) != (prefix->address.byte[bit / 8] & mask))
			return false;
	}
	return true;
}

/** begins() - whether an address is in a prefix that is written out here */
static bool begins(const struct reference_address *address, unsigned version, const char *bytes, unsigned bits)
{
	struct reference_prefix prefix = {.address = {.version = version}, .bits = bits};

	memcpy(prefix.address.byte, bytes, (bits + 7) / 8);
	return in_prefix(address, &prefix);
}

/** unset() - whether an address in a packet is all zero: to be filled in */
static bool unset(const struct reference_address *address)
{
	return begins(address, 4, "\0\0\0\0", 32) || begins(address, 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 128);
}

/** mapped() - whether this is an IPv4-mapped address, which is for no wire (RFC 4291 2.5.5.2, RFC 4942 2.2) */
static bool mapped(const struct reference_address *address)
{
	return begins(address, 6, "\0\0\0\0\0\0\0\0\0\0\377\377", 96);
}

/** disguised() - whether this is an IPv4 address in an IPv6 one, mapped or "compatible" (RFC 4291 2.5.5) */
static bool disguised(const struct reference_address *address)
{
	return mapped(address) || begins(address, 6, "\0\0\0\0\0\0\0\0\0\0\0", 96);
}

/* Form */

/**
 * header4_sum() - whether the checksum of an IPv4 header is right (RFC 791, 3.1; RFC 1071)
 * @header: its first byte
 * @length: of it, bytes
 */
static bool header4_sum(const uint8_t *header, size_t length)
{
	unsigned long sum = 0;
	size_t at;

	for (at = 0; at < length; at += 2)
		sum += two(header + at);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/**
 * read_options4() - walk the options of an IPv4 header (RFC 791, 3.1)
 * @r: reading
 * @end: where the header ends
 *
 * Loose (131) and strict (137) source routes are source routing. Which data
 * other options may hold is between the routers; only their lengths matter.
 */
static void read_options4(struct reading *r, size_t end)
{
	size_t at = 20;

	while (at < end && r->packet[at] != 0) {
		unsigned type = r->packet[at];

		if (type == 1) {
			at++;
			continue;
		}
		if (type == 131 || type == 137)
			r->routed = true;
		if (at + 1 >= end || r->packet[at + 1] < 2 || at + r->packet[at + 1] > end) {
			r->form |= WHY_OPTION;
			return;
		}
		at += r->packet[at + 1];
	}
}

/**
 * read4() - read an IPv4 header (RFC 791, 3.1)
 * @r: reading
 * @size: bytes at hand
 * @padded: whether there may be more of them than the header says
 */
static void read4(struct reading *r, size_t size, bool padded)
{
	size_t header, total, offset;

	if (size < 20) {
		r->form |= WHY_SHORT;
		return;
	}
	header = (size_t)(r->packet[0] & 15) * 4;
	total = two(r->packet + 2);
	offset = (size_t)(two(r->packet + 6) & 0x1fff) * 8;
	if (header < 20)
		r->form |= WHY_HEADER_LENGTH;
	if (header > size)
		r->form |= WHY_HEADER_LENGTH | WHY_SHORT;
	if (total > size || (total < size && !padded))
		r->form |= WHY_LENGTH;
	if (total < header)
		r->form |= WHY_LENGTH | WHY_HEADER_LENGTH;
	if (r->form)
		return;
	r->size = total;
	r->first = offset == 0;
	r->last = !(r->packet[6] & 0x20);
	r->fragment = !r->first || !r->last;
	r->offset = offset;
	r->begin = header;
	r->protocol = r->packet[9];
	r->source = make_address(4, r->packet + 12);
	r->destination = make_address(4, r->packet + 16);
	read_options4(r, header);
	r->upper = header;
}

/**
 * extension_length() - length of an IPv6 extension header (RFC 8200, 4.3 to 4.6)
 * @type: of it
 * @header: its first byte
 * @left: bytes from there on
 *
 * Return: bytes, 0 when it is cut off
 */
static size_t extension_length(unsigned type, const uint8_t *header, size_t left)
{
	size_t length = 8;

	if (left < 8)
		return 0;
	if (type != FRAGMENT_HEADER)
		length += (size_t)header[1] * 8;
	return length <= left ? length : 0;
}

/**
 * options6_rules() - what is wrong with the options of an IPv6 header (RFC 8200, 4.2)
 * @header: hop-by-hop or destination options header, whole
 * @length: of it, bytes
 *
 * Each option is a type, a length and as many bytes, but for type 0, which is
 * one byte of padding. Type 201 puts another source into the packet (home
 * address, RFC 6275 6.3): who may use which source could not be said any more.
 */
static reference_set options6_rules(const uint8_t *header, size_t length)
{
	reference_set set = 0;
	size_t at = 2;

	while (at < length) {
		if (header[at] == 0) {
			at++;
			continue;
		}
		if (header[at] == 201)
			set |= WHY_HOME_ADDRESS;
		if (at + 1 >= length || at + 2 + header[at + 1] > length)
			return set | WHY_EXTENSION;
		at += 2u + header[at + 1];
	}
	return set;
}

/**
 * read_fragment6() - read a fragment header (RFC 8200, 4.5)
 * @r: reading
 * @at: where it is
 */
static void read_fragment6(struct reading *r, size_t at)
{
	if (r->fragment)
		r->form |= WHY_EXTENSION; /* RFC 8200 4.1: each extension header once */
	r->fragment = true;
	r->offset = two(r->packet + at + 2) & 0xfff8;
	r->begin = at + 8;
	r->first = r->offset == 0;
	r->last = !(r->packet[at + 3] & 1);
}

/**
 * read_chain6() - walk the extension headers to the upper layer (RFC 8200, 4)
 * @r: reading
 *
 * Those that a slice may use are hop-by-hop options, right behind the IPv6
 * header, destination options, and fragment and routing headers, which the
 * rules on fragments and routes deal with. Behind the fragment header of a
 * fragment that is not the first there is no header to read. In a first
 * fragment the chain must be whole (RFC 7112).
 */
static void read_chain6(struct reading *r)
{
	unsigned type = r->packet[6], headers = 0;
	size_t at = 40, length;

	for (; walked[type] && r->first; at += length) {
		length = extension_length(type, r->packet + at, r->size - at);
		if (++headers > CHAIN_MAX || (type == HOP_BY_HOP && at != 40))
			r->form |= WHY_EXTENSION;
		if (!length)
			r->form |= r->fragment && !r->last ? WHY_TINY_FRAGMENT : WHY_CHAIN_END;
		if (headers > CHAIN_MAX || !length || (type == HOP_BY_HOP && at != 40))
			return;
		if (type == HOP_BY_HOP || type == DESTINATION_OPTIONS)
			r->form |= options6_rules(r->packet + at, length);
		if (type == ROUTING) { /* RFC 5095 for type 0; no other is for a slice to use either */
			r->routed = true;
			r->on_way = r->on_way || r->packet[at + 3];
		}
		if (type == FRAGMENT_HEADER)
			read_fragment6(r, at);
		type = r->packet[at];
	}
	if (r->first && not_allowed[type])
		r->form |= type == NO_NEXT_HEADER ? WHY_CHAIN_END : WHY_EXTENSION;
	r->protocol = type;
	r->upper = at;
}

/**
 * read6() - read an IPv6 header (RFC 8200, 3)
 * @r: reading
 * @size: bytes at hand
 * @padded: whether there may be more of them than the header says
 */
static void read6(struct reading *r, size_t size, bool padded)
{
	size_t total;

	if (size < 40) {
		r->form |= WHY_SHORT;
		return;
	}
	total = 40 + (size_t)two(r->packet + 4);
	if (total > size || (total < size && !padded) || total > 65535) {
		r->form |= WHY_LENGTH;
		return;
	}
	r->size = total;
	r->first = r->last = true;
	r->source = make_address(6, r->packet + 8);
	r->destination = make_address(6, r->packet + 24);
	read_chain6(r);
}

/** icmp_of() - the protocol number of ICMP in a version of IP */
static unsigned icmp_of(unsigned version)
{
	return version == 4 ? ICMP4 : ICMP6;
}

/** has_ports() - whether a protocol's header begins with a source and a destination port */
static bool has_ports(unsigned protocol)
{
	return protocol == TCP || protocol == UDP || protocol == SCTP || protocol == DCCP || protocol == UDP_LITE;
}

/** is_query() - whether an ICMP message asks: echo or timestamp (RFC 792), echo (RFC 4443, 4.1) */
static bool is_query(unsigned version, unsigned type)
{
	return version == 4 ? type == 8 || type == 13 : type == 128;
}

/** is_answer() - whether an ICMP message answers one of these */
static bool is_answer(unsigned version, unsigned type)
{
	return version == 4 ? type == 0 || type == 14 : type == 129;
}

/** is_error() - whether an ICMP message is an error about a packet that it quotes (RFC 792; RFC 4443, 3) */
static bool is_error(unsigned version, unsigned type)
{
	return version == 4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12
			    : type >= 1 && type <= 4;
}

/**
 * gre_key() - where the key of a GRE packet is (RFC 2784, 2.1; RFC 2890, 2)
 * @header: its first two bytes
 *
 * C (bit 0), K (bit 2) and S (bit 3) say that a checksum, a key and a sequence
 * number follow, in this order and of four bytes each. Bits 1, 4 and 5 must be
 * zero, or the packet is one of RFC 1701, with routing or the like; so must the
 * version be, which is 1 for PPTP (RFC 2637).
 *
 * Return: bytes from the header's start; 0 when it has no key, or is of another kind
 */
static size_t gre_key(const uint8_t *header)
{
	if (header[0] & 0x4c || !(header[0] & 0x20) || header[1] & 7)
		return 0;
	return header[0] & 0x80 ? 8 : 4;
}

/** four() - a number of four bytes in network order */
static uint32_t four(const uint8_t *bytes)
{
	return (uint32_t)two(bytes) << 16 | two(bytes + 2);
}

/**
 * read_inner() - what an ICMP error is about
 * @r: reading of the error; gets the inner_ fields
 * @packet: the start of a packet that it quotes
 * @left: bytes of that
 *
 * A router quotes the header and at least 8 bytes more (RFC 792; RFC 1122
 * 3.2.2): enough for ports or an identifier. Where it cut the packet off, the
 * lengths in there say nothing. An error is never about an error (RFC 1122).
 */
static void read_inner(struct reading *r, const uint8_t *packet, size_t left)
{
	struct reading inner = {.packet = packet, .size = left, .version = r->version, .first = true, .last = true};
	size_t header = r->version == 4 ? 20 : 40;

	r->form |= WHY_TRANSPORT; /* until it is found sound */
	if (left < header || packet[0] >> 4 != r->version)
		return;
	if (r->version == 4) {
		inner.upper = (size_t)(packet[0] & 15) * 4;
		if (inner.upper < header || inner.upper > left)
			return;
		inner.first = !(two(packet + 6) & 0x1fff);
		inner.protocol = packet[9];
	} else {
		read_chain6(&inner);
	}
	r->inner_source = make_address(r->version, packet + (r->version == 4 ? 12 : 8));
	r->inner_destination = make_address(r->version, packet + (r->version == 4 ? 16 : 24));
	if (!inner.first) /* it cannot be told whose it is */
		r->form |= WHY_FRAGMENT;
	if (inner.form || !inner.first || mapped(&r->inner_source) || mapped(&r->inner_destination))
		return;
	r->inner_protocol = inner.protocol;
	if (has_ports(inner.protocol) || inner.protocol == icmp_of(r->version)) {
		if (left - inner.upper < 8)
			return;
		r->inner_upper = packet + inner.upper;
	}
	if (inner.protocol == GRE) {
		size_t key;

		if (left - inner.upper < 4)
			return;
		key = gre_key(packet + inner.upper);
		if (key && left - inner.upper < key + 4)
			return; /* it does not say which conversation it is about */
		r->inner_upper = packet + inner.upper;
	}
	if (inner.protocol == icmp_of(r->version) && !is_query(r->version, r->inner_upper[0]) &&
	    !is_answer(r->version, r->inner_upper[0]))
		return;
	r->form &= ~WHY_TRANSPORT;
}

/**
 * dccp_wrong() - whether a DCCP header is inconsistent (RFC 4340, 5.1 and 9.2)
 * @header: its first byte
 * @left: bytes from there on
 * @whole: whether all of the datagram is there
 *
 * The generic header is judged; what a type has behind it is its receiver's.
 * Only Data (2), Ack (3) and DataAck (4) may have the short one. A checksum
 * that covers a part of the data counts it in words, from 1 for none.
 */
static bool dccp_wrong(const uint8_t *header, size_t left, bool whole)
{
	size_t offset, covered;
	unsigned type;

	if (left < 12)
		return true;
	offset = (size_t)header[4] * 4;
	type = header[8] >> 1 & 15;
	covered = header[5] & 15;
	if (!(header[8] & 1) && (type < 2 || type > 4))
		return true;
	if (offset < (header[8] & 1 ? 16 : 12) || offset > left)
		return true;
	return covered && whole && (covered - 1) * 4 > left - offset;
}

/**
 * upper_length() - how many bytes of a packet the header of the upper layer takes, as far as it can be seen
 * @protocol: its number
 * @header: its first byte
 * @left: bytes from there on
 */
static size_t upper_length(unsigned protocol, const uint8_t *header, size_t left)
{
	size_t least = protocol == TCP ? 20 : protocol == SCTP || protocol == DCCP ? 12 : 8, says = 0;

	if (left >= least && protocol == TCP)
		says = (size_t)(header[12] >> 4) * 4;
	if (left >= least && protocol == DCCP)
		says = (size_t)header[4] * 4;
	if (protocol == GRE)
		return left >= 4 && gre_key(header) ? gre_key(header) + (header[0] & 0x10 ? 8 : 4) : 4;
	return says > least ? says : least;
}

/**
 * fragment_rules() - what is wrong with a fragment as such
 * @r: reading
 *
 * All but the last hold a multiple of 8 bytes, none holds nothing, and the
 * datagram has 65,535 bytes at most: in IPv4 with its header (RFC 791, 3.2), in
 * IPv6 without the fixed one (RFC 8200, 4.5). A fragment header that is
 * first and last at once ("atomic") is not to be sent any more (RFC 8021).
 */
static reference_set fragment_rules(const struct reading *r)
{
	size_t size = r->size - r->begin, before = r->version == 4 ? r->begin : r->begin - 48;
	reference_set set = 0;

	if (r->version == 6 && r->first && r->last)
		set |= WHY_ATOMIC_FRAGMENT;
	if (!size || (!r->last && size % 8) || before + r->offset + size > 65535)
		set |= WHY_FRAGMENT_LENGTH;
	return set;
}

/**
 * read_upper() - the header of the upper layer, which a first fragment has whole (RFC 1858, RFC 7112)
 * @r: reading
 */
static void read_upper(struct reading *r)
{
	size_t left = r->size - r->upper;
	const uint8_t *header = r->packet + r->upper;
	bool whole = !r->fragment, wrong = false;

	if (!r->first)
		return;
	if (r->protocol == TCP) /* RFC 9293 3.1: data offset, in words */
		wrong = left < 20 || header[12] >> 4 < 5 || (size_t)(header[12] >> 4) * 4 > left;
	else if (r->protocol == UDP) /* RFC 768: the length counts the header and the data */
		wrong = left < 8 || two(header + 4) < 8 || (whole && two(header + 4) > left);
	else if (r->protocol == UDP_LITE) /* RFC 3828 3.1: what the checksum covers, all or at least the header */
		wrong = left < 8 || (two(header + 4) && (two(header + 4) < 8 || (whole && two(header + 4) > left)));
	else if (r->protocol == SCTP) /* RFC 9260 3.1 */
		wrong = left < 12;
	else if (r->protocol == GRE)
		wrong = left < 4 || (gre_key(header) && left < gre_key(header) + (header[0] & 0x10 ? 8 : 4));
	else if (r->protocol == DCCP)
		wrong = dccp_wrong(header, left, whole);
	else if (r->protocol == icmp_of(r->version)) /* RFC 792: a timestamp message has three times in it */
		wrong = left < 8 || (r->version == 4 && (header[0] == 13 || header[0] == 14) && left < 20);
	if (wrong && r->fragment && !r->last && upper_length(r->protocol, header, left) > left)
		r->form |= WHY_TINY_FRAGMENT;
	else if (wrong)
		r->form |= WHY_TRANSPORT;
	else if (r->protocol == icmp_of(r->version) && is_error(r->version, header[0]))
		read_inner(r, header + 8, left - 8);
}

/**
 * read_packet() - read a packet as far as it can be read
 * @packet: its first byte
 * @size: bytes at hand
 * @padded: whether bytes may stand behind its end
 *
 * Return: reading
 */
static struct reading read_packet(const uint8_t *packet, size_t size, bool padded)
{
	struct reading r = {.packet = packet, .size = size};

	if (size == 0) {
		r.form = WHY_SHORT;
		return r;
	}
	r.version = packet[0] >> 4;
	if (r.version == 4)
		read4(&r, size, padded);
	else if (r.version == 6)
		read6(&r, size, padded);
	else
		r.form |= WHY_VERSION;
	if (r.upper)
		read_upper(&r);
	if (r.upper && r.fragment)
		r.form |= fragment_rules(&r);
	return r;
}

/**
 * reference_is_later() - whether a packet is a fragment, and not the first
 * @packet: its first byte
 * @size: bytes
 */
bool reference_is_later(const uint8_t *packet, size_t size)
{
	struct reading r = read_packet(packet, size, true);

	return r.upper && !r.first;
}

/**
 * reference_is_on_way() - whether a packet has places to visit before its last destination (RFC 8200, 4.4)
 * @packet: its first byte
 * @size: bytes
 */
bool reference_is_on_way(const uint8_t *packet, size_t size)
{
	return read_packet(packet, size, true).on_way;
}

/* Rules */

/** wanted_protocol() - the protocol number of a flow in a version of IP */
static unsigned wanted_protocol(const struct reference_flow *flow, unsigned version)
{
	static const uint8_t protocol[REFERENCE_CLASSES] = {
		[REFERENCE_TCP] = TCP,   [REFERENCE_UDP] = UDP,          [REFERENCE_SCTP] = SCTP,
		[REFERENCE_DCCP] = DCCP, [REFERENCE_UDPLITE] = UDP_LITE,
	};

	if (flow->class == REFERENCE_GRANT)
		return flow->protocol;
	return flow->class == REFERENCE_ICMP ? icmp_of(version) : protocol[flow->class];
}

/**
 * own_port() - the port or identifier of the side that sent a packet
 * @class: what it is of
 * @upper: header of the upper layer, at least 8 bytes
 * @theirs: the other side's instead; an identifier is both sides'
 */
static uint16_t own_port(enum reference_class class, const uint8_t *upper, bool theirs)
{
	return (uint16_t)two(upper + (class == REFERENCE_ICMP ? 4 : theirs ? 2 : 0));
}

/**
 * grant_rules() - whether a GRE packet is of a flow's key
 * @flow: flow without ports, whose protocol the packet has
 * @upper: GRE header
 *
 * Other protocols have nothing that could be of another flow.
 */
static reference_set grant_rules(const struct reference_flow *flow, const uint8_t *upper)
{
	if (flow->protocol != GRE)
		return 0;
	if (!gre_key(upper))
		return WHY_GRE;
	return four(upper + gre_key(upper)) == flow->key ? 0 : WHY_PORT;
}

/** destination_rules() - where nobody may send to (RFC 1122 3.2.1.3, RFC 4291 2.4, RFC 3927) */
static reference_set destination_rules(const struct reference_slice *slice, const struct reference_address *to)
{
	reference_set set = 0;
	unsigned i;

	if (begins(to, 4, "\177", 8) || begins(to, 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 128))
		set |= WHY_LOOPBACK;
	if (begins(to, 4, "\340", 4) || begins(to, 6, "\377", 8))
		set |= WHY_MULTICAST;
	if (begins(to, 4, "\377\377\377\377", 32))
		set |= WHY_BROADCAST;
	if (begins(to, 4, "\0", 8) || begins(to, 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 128))
		set |= WHY_UNSPECIFIED;
	if (begins(to, 4, "\251\376", 16) || begins(to, 6, "\376\200", 10))
		set |= WHY_LINK_LOCAL;
	if (disguised(to))
		set |= WHY_LOOPBACK | WHY_MARTIAN;
	for (i = 0; i < slice->denied; i++)
		if (in_prefix(to, &slice->deny[i]))
			set |= WHY_DENIED;
	return set;
}

/** is_local() - whether an address is a flow's, which has one, or all of a prefix */
static bool is_local(const struct reference_flow *flow, const struct reference_address *address)
{
	const struct reference_prefix prefix = {.address = flow->local, .bits = flow->local_bits};

	return flow->local_bits ? in_prefix(address, &prefix) : same_address(address, &flow->local);
}

/**
 * source_rules() - whether the source is the flow's and the slice's
 *
 * A blank one is filled in, where there is one address to do so. Proxied
 * addresses are for those who ask for them.
 */
static reference_set source_rules(const struct reference_slice *slice, const struct reference_flow *flow,
				  const struct reference_address *from)
{
	reference_set set = 0;
	unsigned i;

	if (flow->version && flow->version != from->version)
		set |= WHY_PROTOCOL;
	if (mapped(from))
		set |= WHY_MARTIAN;
	if (unset(from))
		return flow->local_bits ? set | WHY_SOURCE : set;
	if (flow->local.version && !is_local(flow, from))
		return set | WHY_SOURCE;
	for (i = 0; i < slice->proxied && flow->local.version; i++)
		if (in_prefix(from, &slice->prefix[i]))
			return set;
	for (i = 0; i < slice->addresses; i++)
		if (same_address(from, &slice->address[i]))
			return set;
	return set | WHY_SOURCE;
}

/** route_rules() - a packet that says itself which way to go */
static reference_set route_rules(const struct reading *r)
{
	return !r->routed ? 0 : r->version == 4 ? WHY_SOURCE_ROUTE : WHY_ROUTING_HEADER;
}

/** send_upper_rules() - protocol, ICMP type and ports of a packet that is sent */
static reference_set send_upper_rules(const struct reference_flow *flow, const struct reading *r)
{
	const uint8_t *upper = r->packet + r->upper;
	reference_set set = 0;
	uint16_t port;

	if (r->protocol != wanted_protocol(flow, r->version) && (r->first || r->version == 4))
		return WHY_PROTOCOL; /* in IPv6 the first fragment alone tells (RFC 8200, 4.5) */
	if (!r->first || r->form & WHY_NO_UPPER)
		return 0;
	if (flow->class == REFERENCE_ICMP && !is_query(r->version, upper[0]) && !is_answer(r->version, upper[0]))
		return WHY_ICMP_TYPE;
	if (flow->class == REFERENCE_GRANT)
		return grant_rules(flow, upper);
	port = own_port(flow->class, upper, false);
	if (port < flow->first || port > flow->last)
		set |= WHY_PORT;
	if (flow->remote.version && flow->remote_port && flow->class != REFERENCE_ICMP &&
	    own_port(flow->class, upper, true) != flow->remote_port)
		set |= WHY_REMOTE;
	return set;
}

/**
 * reference_send() - why a packet may not be sent
 * @slice: who sends
 * @flow: on what
 * @packet: its first byte
 * @size: bytes
 *
 * Return: all reasons; empty when it may
 */
reference_set reference_send(const struct reference_slice *slice, const struct reference_flow *flow,
			     const uint8_t *packet, size_t size)
{
	struct reading r = read_packet(packet, size, false);
	reference_set set = r.form;

	if (flow->read_only)
		set |= WHY_READ_ONLY;
	set |= route_rules(&r);
	if (r.fragment && !slice->fragments)
		set |= WHY_FRAGMENT;
	if (r.source.version) {
		set |= source_rules(slice, flow, &r.source);
		set |= destination_rules(slice, &r.destination);
		if (flow->remote.version && !same_address(&r.destination, &flow->remote))
			set |= WHY_REMOTE;
	}
	if (r.upper)
		set |= send_upper_rules(flow, &r);
	return set;
}

/**
 * error_rules() - whether an ICMP error is about something that a flow sent
 * @flow: flow
 * @r: reading of a sound error
 *
 * It is sent to the source of the packet that it quotes.
 */
static reference_set error_rules(const struct reference_flow *flow, const struct reading *r)
{
	reference_set set = 0;
	uint16_t port;

	if (r->inner_protocol != wanted_protocol(flow, r->version))
		return WHY_PROTOCOL;
	if (!same_address(&r->inner_source, &r->destination))
		set |= WHY_NO_FLOW;
	if (flow->remote.version && !same_address(&r->inner_destination, &flow->remote))
		set |= WHY_NO_FLOW;
	if (flow->class == REFERENCE_GRANT)
		return grant_rules(flow, r->inner_upper) ? set | WHY_NO_FLOW : set;
	port = own_port(flow->class, r->inner_upper, false);
	if (port < flow->first || port > flow->last)
		set |= WHY_NO_FLOW;
	if (flow->remote.version && flow->remote_port && flow->class != REFERENCE_ICMP &&
	    own_port(flow->class, r->inner_upper, true) != flow->remote_port)
		set |= WHY_NO_FLOW;
	return set;
}

/** wire_rules() - addresses that nothing on a wire has (RFC 1122 3.2.1.3, RFC 4291 2.5 and 2.7) */
static reference_set wire_rules(const struct reading *r)
{
	const struct reference_address *from = &r->source;

	if (unset(from) || disguised(from) || mapped(&r->destination) || begins(from, 4, "\0", 8) ||
	    begins(from, 4, "\177", 8) || begins(from, 4, "\340", 4) || begins(from, 4, "\377\377\377\377", 32) ||
	    begins(from, 6, "\377", 8))
		return WHY_MARTIAN;
	return 0;
}

/** receive_upper_rules() - protocol, ICMP type and ports of a packet that arrives */
static reference_set receive_upper_rules(const struct reference_flow *flow, const struct reading *r)
{
	const uint8_t *upper = r->packet + r->upper;
	reference_set set = 0;
	uint16_t port;

	if (r->first && r->protocol == icmp_of(r->version) && is_error(r->version, upper[0]))
		return error_rules(flow, r);
	if (flow->remote.version && !same_address(&r->source, &flow->remote))
		set |= WHY_NO_FLOW;
	if (!r->first &&
	    r->version == 6) /* RFC 8200 4.5: what a later fragment has for a next header counts for nothing */
		return set;
	if (r->protocol != wanted_protocol(flow, r->version))
		return set | WHY_PROTOCOL;
	if (!r->first)
		return set;
	if (flow->class == REFERENCE_ICMP && !is_answer(r->version, upper[0])) {
		if (!is_query(r->version, upper[0]))
			return set | WHY_ICMP_TYPE;
		if (!flow->proxied) /* the host answers for its own addresses */
			set |= WHY_NO_FLOW;
	}
	if (flow->class == REFERENCE_GRANT)
		return grant_rules(flow, upper) ? set | WHY_NO_FLOW : set;
	port = own_port(flow->class, upper, true);
	if (port < flow->first || port > flow->last)
		set |= WHY_NO_FLOW;
	if (flow->remote.version && flow->remote_port && flow->class != REFERENCE_ICMP &&
	    own_port(flow->class, upper, false) != flow->remote_port)
		set |= WHY_NO_FLOW;
	return set;
}

/**
 * reference_receive() - why a flow does not get a packet
 * @flow: flow
 * @packet: its first byte
 * @size: bytes
 * @padded: whether bytes may stand behind its end
 *
 * Return: all reasons; empty when it gets it
 */
reference_set reference_receive(const struct reference_flow *flow, const uint8_t *packet, size_t size, bool padded)
{
	struct reading r = read_packet(packet, size, padded);
	reference_set set = r.form;

	if (r.version == 4 && r.upper && !header4_sum(packet, r.upper))
		set |= WHY_CHECKSUM;
	set |= route_rules(&r);
	if (r.source.version) {
		set |= wire_rules(&r);
		if (flow->version && flow->version != r.version)
			set |= WHY_PROTOCOL;
		if (flow->local.version && !is_local(flow, &r.destination))
			set |= WHY_NO_FLOW;
	}
	if (r.upper && !(r.form & WHY_NO_UPPER))
		set |= receive_upper_rules(flow, &r);
	return set;
}
