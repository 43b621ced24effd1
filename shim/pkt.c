/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkt.c: a checked view of one IP packet
 *
 * Everything that comes from the wire or from a client is read here and
 * nowhere else, and is taken for hostile. Headers are copied out and nothing
 * that was checked is read again: what struct pkt says is what counts from
 * then on. A length is compared with what is left, by subtraction, so nothing can
 * wrap. The work is bounded: at most 40 bytes of IPv4 options, at most
 * CHAIN_MAX IPv6 extension headers, one inner packet and none inside it.
 *
 * pkt_parse() answers for the form alone. Whether a packet may pass is
 * policy.c's to say, from the flags and fields that are set here; so a fragment
 * or a source route is well-formed, GRE without a key is, and a protocol that
 * nobody knows is passed on with ports 0. What is refused here cannot be
 * judged: lengths that disagree, options and extension headers that lead
 * nowhere, a transport header that is not all there, ICMP errors that do not
 * say what they are about, and IPv6 addresses in IPv4-mapped form (they are not
 * for the wire, RFC 4942 2.2, and struct addr would take them for IPv4).
 *
 * Of fragments, the first must hold all headers (RFC 7112, RFC 1858 for
 * IPv4), as it is the only one that is judged; all but the last must end at a
 * multiple of 8 bytes, none may be empty or end beyond the largest datagram. A
 * fragment header in a datagram that is whole serves nobody but who wants to
 * get past a filter (RFC 8021).
 *
 * An inner packet is what a router quotes of a packet that this host sent. It
 * may be cut off anywhere behind the first 8 bytes of its transport header
 * (RFC 792, RFC 1122 3.2.2), so its lengths and checksums mean nothing.
 */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>

#include "pkt.h"

#define CHAIN_MAX 8           /* IPv6 extension headers in one packet */
#define CHAIN_UNIT 8          /* bytes that their lengths count in */
#define FRAGMENT_MORE 1       /* of the IPv6 fragment header's offset field, host byte order */
#define HOME_ADDRESS 201      /* destination option that puts another source in (RFC 6275 6.3) */
#define TCP_LEN_MIN 20        /* bytes */
#define ICMP_LEN_MIN 8        /* bytes, either family */
#define ICMP_TIMESTAMP_LEN 20 /* bytes */
#define GRE_LEN_MIN 4         /* bytes */
#define GRE_FIELD_LEN 4       /* bytes of checksum, key, sequence number */
#define SCTP_LEN_MIN 12       /* bytes */
#define DCCP_LEN_MIN 12       /* bytes, with a short sequence number */
#define DCCP_LONG_LEN_MIN 16  /* bytes, with a long one */
#define DCCP_TYPES_SHORT 0x1c /* bit mask of the types that may have a short one: Data, Ack, DataAck */
#define QUOTED_MIN 8          /* bytes of a transport header that an ICMP error quotes at least */

/* ICMP types by what they are to us, as PKT_ flags; all others are 0 */
static const uint8_t icmp4_kind[256] = {
	[ICMP_ECHO] = PKT_ICMP_REQUEST,        [ICMP_ECHOREPLY] = PKT_ICMP_REPLY,
	[ICMP_TIMESTAMP] = PKT_ICMP_REQUEST,   [ICMP_TIMESTAMPREPLY] = PKT_ICMP_REPLY,
	[ICMP_DEST_UNREACH] = PKT_ICMP_ERROR,  [ICMP_SOURCE_QUENCH] = PKT_ICMP_ERROR,
	[ICMP_REDIRECT] = PKT_ICMP_ERROR,      [ICMP_TIME_EXCEEDED] = PKT_ICMP_ERROR,
	[ICMP_PARAMETERPROB] = PKT_ICMP_ERROR,
};
static const uint8_t icmp6_kind[256] = {
	[ICMP6_ECHO_REQUEST] = PKT_ICMP_REQUEST, [ICMP6_ECHO_REPLY] = PKT_ICMP_REPLY,
	[ICMP6_DST_UNREACH] = PKT_ICMP_ERROR,    [ICMP6_PACKET_TOO_BIG] = PKT_ICMP_ERROR,
	[ICMP6_TIME_EXCEEDED] = PKT_ICMP_ERROR,  [ICMP6_PARAM_PROB] = PKT_ICMP_ERROR,
};

/* Upper-layer protocols whose header begins with two ports */
static const bool has_ports[256] = {
	[IPPROTO_TCP] = true,  [IPPROTO_UDP] = true,     [IPPROTO_SCTP] = true,
	[IPPROTO_DCCP] = true, [IPPROTO_UDPLITE] = true,
};

/* What an IPv6 next-header value is: an upper-layer protocol unless listed */
enum extension { EXT_NONE, EXT_OPTIONS, EXT_ROUTING, EXT_FRAGMENT, EXT_REFUSED };
static const uint8_t extension[256] = {
	[IPPROTO_HOPOPTS] = EXT_OPTIONS,
	[IPPROTO_DSTOPTS] = EXT_OPTIONS,
	[IPPROTO_ROUTING] = EXT_ROUTING,
	[IPPROTO_FRAGMENT] = EXT_FRAGMENT,
	[IPPROTO_ESP] = EXT_REFUSED,
	[IPPROTO_AH] = EXT_REFUSED,
	[IPPROTO_NONE] = EXT_REFUSED,
	[IPPROTO_MH] = EXT_REFUSED,
	[139] = EXT_REFUSED, /* host identity (RFC 7401) */
	[140] = EXT_REFUSED, /* shim6 (RFC 5533) */
	[253] = EXT_REFUSED, /* experiments (RFC 3692) */
	[254] = EXT_REFUSED,
};

/* Where the walk along an IPv6 packet's headers stands */
struct chain {
	uint8_t protocol; /* of the header at `at` */
	uint8_t flags;    /* PKT_FRAGMENT, PKT_LATER, PKT_MORE, PKT_SOURCE_ROUTE */
	uint32_t id;      /* of the fragment header; host byte order */
	uint32_t from;    /* offset of the fragment in its datagram, bytes */
	size_t fragment;  /* where what it holds begins, bytes from the start of the IPv6 header */
	size_t at;        /* bytes from the start of the IPv6 header */
};

/**
 * read_u16() - a 16-bit number of a header
 * @at: network byte order, any alignment
 *
 * Return: host byte order
 */
static inline uint16_t read_u16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return ntohs(value);
}

/**
 * v6_addr_ok() - whether a wire IPv6 address cannot be mistaken for an IPv4 one
 * @addr: address
 */
static inline bool v6_addr_ok(const struct addr *addr)
{
	return addr_family(addr) != AF_INET;
}

/**
 * options6_verdict() - check the options of a hop-by-hop or destination options header
 * @header: whole header
 * @size: bytes
 *
 * Return: VERDICT_PASS; VERDICT_EXTENSION unless each lies within the header, VERDICT_HOME_ADDRESS where one
 * puts another source in
 */
static enum verdict options6_verdict(const uint8_t *header, size_t size)
{
	size_t at = 2;

	while (at < size) {
		uint8_t type = header[at++], len;

		if (type == IP6OPT_PAD1)
			continue;
		if (type == HOME_ADDRESS)
			return VERDICT_HOME_ADDRESS;
		if (at == size)
			return VERDICT_EXTENSION;
		len = header[at++];
		if (len > size - at)
			return VERDICT_EXTENSION;
		at += len;
	}
	return VERDICT_PASS;
}

/**
 * chain_fragment() - read a fragment header
 * @chain: gets what it says
 * @header: it
 */
static void chain_fragment(struct chain *chain, const uint8_t header[static CHAIN_UNIT])
{
	uint16_t field = read_u16(header + 2);

	chain->flags |= PKT_FRAGMENT;
	if (field & FRAGMENT_MORE)
		chain->flags |= PKT_MORE;
	chain->from = field & ~7U;
	if (chain->from)
		chain->flags |= PKT_LATER;
	chain->fragment = chain->at + CHAIN_UNIT;
	chain->id = (uint32_t)read_u16(header + 4) << 16 | read_u16(header + 6);
}

/**
 * chain_step() - pass over one extension header
 * @chain: moved on
 * @kind: enum extension of the header there
 * @data: start of the IPv6 header
 * @len: bytes there
 *
 * Return: VERDICT_PASS or what is wrong
 */
static enum verdict chain_step(struct chain *chain, uint8_t kind, const uint8_t *data, size_t len)
{
	const enum verdict cut = chain->flags & PKT_MORE ? VERDICT_TINY_FRAGMENT : VERDICT_CHAIN_END;
	enum verdict verdict = VERDICT_PASS;
	uint8_t head[CHAIN_UNIT];
	size_t size;

	if (kind == EXT_REFUSED)
		return chain->protocol == IPPROTO_NONE ? VERDICT_CHAIN_END : VERDICT_EXTENSION;
	if (len - chain->at < sizeof(head))
		return cut;
	memcpy(head, data + chain->at, sizeof(head));
	size = kind == EXT_FRAGMENT ? sizeof(head) : (head[1] + 1U) * CHAIN_UNIT;
	if (size > len - chain->at)
		return cut;
	if (kind == EXT_FRAGMENT && chain->flags & PKT_FRAGMENT) /* a fragment of a fragment */
		return VERDICT_EXTENSION;
	if (kind == EXT_FRAGMENT)
		chain_fragment(chain, head);
	else if (kind == EXT_ROUTING)
		chain->flags |= PKT_SOURCE_ROUTE;
	else
		verdict = options6_verdict(data + chain->at, size);
	chain->protocol = head[0];
	chain->at += size;
	return verdict;
}

/**
 * walk_chain() - pass over the extension headers of an IPv6 packet
 * @chain: protocol set to the fixed header's next header, the rest is set here
 * @data: start of the IPv6 header, which is there whole
 * @len: bytes there
 *
 * Stops at the upper-layer header, or behind the fragment header of a later
 * fragment.
 *
 * Return: VERDICT_PASS or what is wrong
 */
static enum verdict walk_chain(struct chain *chain, const uint8_t *data, size_t len)
{
	enum verdict verdict = VERDICT_PASS;
	unsigned headers;
	uint8_t kind;

	chain->flags = 0;
	chain->id = 0;
	chain->from = 0;
	chain->fragment = 0;
	chain->at = sizeof(struct ip6_hdr);
	for (headers = 0; (kind = extension[chain->protocol]) != EXT_NONE; headers++) {
		if (kind != EXT_REFUSED && (headers == CHAIN_MAX || (headers && chain->protocol == IPPROTO_HOPOPTS)))
			return VERDICT_EXTENSION;
		verdict = chain_step(chain, kind, data, len);
		if (verdict != VERDICT_PASS || chain->flags & PKT_LATER)
			break;
	}
	return verdict;
}

/**
 * parse_gre() - read a GRE header as far as its key (RFC 2784, RFC 2890)
 * @pkt: gets the key
 * @data: start of the header
 * @len: bytes there
 * @cut: the packet may be cut off behind the key
 *
 * Other kinds of GRE (with routing, version 1) are no concern of ours, and
 * what is in them behind the first four bytes is not looked at.
 *
 * Return: VERDICT_PASS or VERDICT_TRANSPORT
 */
static enum verdict parse_gre(struct pkt *pkt, const uint8_t *data, size_t len, bool cut)
{
	size_t key = GRE_LEN_MIN, end;
	uint16_t flags;

	if (len < GRE_LEN_MIN)
		return VERDICT_TRANSPORT;
	flags = read_u16(data);
	if ((flags & STEER_GRE_MUST) != STEER_GRE_KEYED)
		return VERDICT_PASS;
	key += flags & STEER_GRE_CHECKSUM ? GRE_FIELD_LEN : 0;
	end = key + GRE_FIELD_LEN + (flags & STEER_GRE_SEQUENCE && !cut ? GRE_FIELD_LEN : 0);
	if (len < end)
		return VERDICT_TRANSPORT;
	pkt->key = (uint32_t)read_u16(data + key) << 16 | read_u16(data + key + 2);
	pkt->flags |= PKT_KEY;
	return VERDICT_PASS;
}

/**
 * inner_headers() - read the IP headers of the packet inside an ICMP error
 * @pkt: gets inner_src, inner_dst and inner_protocol
 * @data: start of the inner packet
 * @len: bytes of it
 *
 * Return: how many bytes the headers take, 0 when they are broken or the inner
 * packet is a later fragment
 */
static size_t inner_headers(struct pkt *pkt, const uint8_t *data, size_t len)
{
	struct ip6_hdr six;
	struct ip four;
	struct chain chain;

	if (pkt->version == 4) {
		if (len < sizeof(four))
			return 0;
		memcpy(&four, data, sizeof(four));
		if (four.ip_v != 4 || four.ip_hl < 5 || four.ip_hl * 4U > len || ntohs(four.ip_off) & IP_OFFMASK)
			return 0;
		pkt->inner_src = addr_from_v4(&four.ip_src);
		pkt->inner_dst = addr_from_v4(&four.ip_dst);
		pkt->inner_protocol = four.ip_p;
		return four.ip_hl * 4U;
	}
	if (len < sizeof(six))
		return 0;
	memcpy(&six, data, sizeof(six));
	chain.protocol = six.ip6_nxt;
	if (six.ip6_vfc >> 4 != 6 || walk_chain(&chain, data, len) != VERDICT_PASS || chain.flags & PKT_LATER)
		return 0;
	pkt->inner_src = addr_from_v6(&six.ip6_src);
	pkt->inner_dst = addr_from_v6(&six.ip6_dst);
	pkt->inner_protocol = chain.protocol;
	return v6_addr_ok(&pkt->inner_src) && v6_addr_ok(&pkt->inner_dst) ? chain.at : 0;
}

/**
 * parse_inner() - read the packet inside an ICMP error
 * @pkt: gets the inner_ fields
 * @data: start of the inner packet
 * @len: bytes of it
 *
 * Return: VERDICT_PASS or VERDICT_TRANSPORT
 */
static enum verdict parse_inner(struct pkt *pkt, const uint8_t *data, size_t len)
{
	const uint8_t icmp = pkt->protocol; /* of the error, hence of what it may be about in this family */
	const uint8_t *kinds = pkt->version == 4 ? icmp4_kind : icmp6_kind;
	size_t headers = inner_headers(pkt, data, len);

	if (!headers)
		return VERDICT_TRANSPORT;
	pkt->inner = (uint16_t)(data - pkt->data);
	pkt->inner_transport = (uint16_t)(pkt->inner + headers);
	data += headers;
	len -= headers;
	if (has_ports[pkt->inner_protocol]) {
		if (len < QUOTED_MIN)
			return VERDICT_TRANSPORT;
		pkt->inner_sport = read_u16(data);
		pkt->inner_dport = read_u16(data + 2);
	} else if (pkt->inner_protocol == icmp) {
		if (len < ICMP_LEN_MIN || !(kinds[data[0]] & (PKT_ICMP_REQUEST | PKT_ICMP_REPLY)))
			return VERDICT_TRANSPORT;
		pkt->inner_sport = pkt->inner_dport = read_u16(data + 4);
	} else if (pkt->inner_protocol == IPPROTO_GRE) {
		return parse_gre(pkt, data, len, true);
	}
	return VERDICT_PASS;
}

/**
 * parse_icmp() - read an ICMP or ICMPv6 message
 * @pkt: gets what it says
 * @data: start of the message
 * @len: bytes of it
 *
 * Return: VERDICT_PASS or VERDICT_TRANSPORT
 */
static enum verdict parse_icmp(struct pkt *pkt, const uint8_t *data, size_t len)
{
	uint8_t head[ICMP_LEN_MIN], kind;

	if (len < sizeof(head))
		return VERDICT_TRANSPORT;
	memcpy(head, data, sizeof(head));
	pkt->icmp_type = head[0];
	pkt->icmp_code = head[1];
	kind = pkt->version == 4 ? icmp4_kind[head[0]] : icmp6_kind[head[0]];
	pkt->flags |= kind;
	if (kind == PKT_ICMP_ERROR)
		return parse_inner(pkt, data + sizeof(head), len - sizeof(head));
	if (kind)
		pkt->sport = pkt->dport = read_u16(head + 4);
	if (pkt->version == 4 && (head[0] == ICMP_TIMESTAMP || head[0] == ICMP_TIMESTAMPREPLY) &&
	    len < ICMP_TIMESTAMP_LEN)
		return VERDICT_TRANSPORT;
	return VERDICT_PASS;
}

/**
 * tcp_ok() - check a TCP header
 * @data: start of it
 * @len: bytes there
 */
static inline bool tcp_ok(const uint8_t *data, size_t len)
{
	size_t header;

	if (len < TCP_LEN_MIN)
		return false;
	header = (data[12] >> 4) * 4U;
	return header >= TCP_LEN_MIN && header <= len;
}

/**
 * udp_ok() - check a UDP or UDP-Lite header
 * @data: start of it
 * @len: bytes there
 * @lite: the length field is UDP-Lite's checksum coverage, where 0 is the whole datagram (RFC 3828 3.1)
 * @fragment: the field is about the whole datagram, which is not there to compare it with
 */
static inline bool udp_ok(const uint8_t *data, size_t len, bool lite, bool fragment)
{
	struct udphdr udp;

	if (len < sizeof(udp))
		return false;
	memcpy(&udp, data, sizeof(udp));
	if (lite && !udp.uh_ulen)
		return true;
	return ntohs(udp.uh_ulen) >= sizeof(udp) && (ntohs(udp.uh_ulen) <= len || fragment);
}

/**
 * dccp_covered() - how much application data a DCCP checksum covers (RFC 4340 9.2)
 * @field: the header's sixth byte, with CCVal and CsCov
 *
 * Return: bytes; SIZE_MAX for all
 */
static size_t dccp_covered(uint8_t field)
{
	return field & 0xf ? ((field & 0xfU) - 1) * 4 : SIZE_MAX;
}

/**
 * dccp_ok() - check a DCCP header (RFC 4340 5.1, 9.2)
 * @data: start of it
 * @len: bytes there
 * @fragment: the checksum's coverage may reach beyond what is there
 */
static bool dccp_ok(const uint8_t *data, size_t len, bool fragment)
{
	size_t header, covered;
	uint8_t head[DCCP_LEN_MIN];
	bool extended;

	if (len < sizeof(head))
		return false;
	memcpy(head, data, sizeof(head));
	header = head[4] * 4U;
	covered = dccp_covered(head[5]);
	extended = head[8] & 1;
	if (!extended && !(DCCP_TYPES_SHORT >> (head[8] >> 1 & 0xf) & 1))
		return false;
	if (header < (extended ? DCCP_LONG_LEN_MIN : DCCP_LEN_MIN) || header > len)
		return false;
	return covered == SIZE_MAX || fragment || covered <= len - header;
}

/**
 * ports_ok() - check a transport header that begins with two ports
 * @pkt: everything before it is set
 * @data: start of it
 * @len: bytes there
 */
static inline bool ports_ok(const struct pkt *pkt, const uint8_t *data, size_t len)
{
	bool fragment = pkt->flags & PKT_FRAGMENT;

	switch (pkt->protocol) {
	case IPPROTO_TCP:
		return tcp_ok(data, len);
	case IPPROTO_UDP:
		return udp_ok(data, len, false, fragment);
	case IPPROTO_UDPLITE:
		return udp_ok(data, len, true, fragment);
	case IPPROTO_DCCP:
		return dccp_ok(data, len, fragment);
	default:
		return len >= SCTP_LEN_MIN;
	}
}

/**
 * parse_transport() - read the upper-layer header
 * @pkt: everything before it is set; gets ports and the like
 *
 * Return: VERDICT_PASS or VERDICT_TRANSPORT
 */
static inline enum verdict parse_transport(struct pkt *pkt)
{
	const uint8_t *data = pkt->data + pkt->transport;
	size_t len = pkt->len - pkt->transport;

	if (has_ports[pkt->protocol]) {
		if (!ports_ok(pkt, data, len))
			return VERDICT_TRANSPORT;
		pkt->sport = read_u16(data);
		pkt->dport = read_u16(data + 2);
	}
	if (pkt->protocol == IPPROTO_TCP)
		pkt->tcp_flags = data[13];
	if (pkt->protocol == (pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return parse_icmp(pkt, data, len);
	return pkt->protocol == IPPROTO_GRE ? parse_gre(pkt, data, len, false) : VERDICT_PASS;
}

/**
 * header_is_cut() - whether a packet ends inside its upper-layer header
 * @pkt: everything before it is set
 */
static bool header_is_cut(const struct pkt *pkt)
{
	static const uint8_t least[256] = {
		[IPPROTO_TCP] = TCP_LEN_MIN,
		[IPPROTO_UDP] = sizeof(struct udphdr),
		[IPPROTO_SCTP] = SCTP_LEN_MIN,
		[IPPROTO_DCCP] = DCCP_LEN_MIN,
		[IPPROTO_ICMP] = ICMP_LEN_MIN,
		[IPPROTO_ICMPV6] = ICMP_LEN_MIN,
		[IPPROTO_UDPLITE] = sizeof(struct udphdr),
	};
	const uint8_t *data = pkt->data + pkt->transport;
	size_t len = pkt->len - pkt->transport;

	if (len < least[pkt->protocol] || pkt->protocol == IPPROTO_GRE) /* of which nothing else can be wrong */
		return true;
	if (pkt->protocol == IPPROTO_TCP)
		return (data[12] >> 4) * 4U > len;
	return pkt->protocol == IPPROTO_DCCP && data[4] * 4U > len;
}

/**
 * parse_payload() - read what is behind the IP headers
 * @pkt: everything before it is set
 * @before: bytes of the datagram's headers that each fragment has a copy of, as they count in its length
 *
 * Return: VERDICT_PASS or what is wrong
 */
static enum verdict parse_payload(struct pkt *pkt, size_t before)
{
	enum verdict verdict = VERDICT_PASS;
	uint32_t size = pkt->to - pkt->from;

	if (!(pkt->flags & PKT_FRAGMENT))
		return parse_transport(pkt);
	if (!(pkt->flags & (PKT_MORE | PKT_LATER)))
		return VERDICT_ATOMIC_FRAGMENT;
	if (!(pkt->flags & PKT_LATER))
		verdict = parse_transport(pkt);
	if (verdict != VERDICT_PASS)
		return header_is_cut(pkt) ? VERDICT_TINY_FRAGMENT : verdict;
	if (!size || (pkt->flags & PKT_MORE && size % CHAIN_UNIT) || before + pkt->to > PKT_MAX)
		return VERDICT_FRAGMENT_LENGTH;
	return VERDICT_PASS;
}

/**
 * parse_fragment4() - read what an IPv4 header says of fragments
 * @pkt: gets it; len and transport are set
 * @field: flags and offset, host byte order
 */
static inline void parse_fragment4(struct pkt *pkt, uint16_t field)
{
	if (!(field & (IP_MF | IP_OFFMASK)))
		return;
	pkt->flags |= PKT_FRAGMENT;
	if (field & IP_MF)
		pkt->flags |= PKT_MORE;
	if (field & IP_OFFMASK)
		pkt->flags |= PKT_LATER;
	pkt->from = (field & IP_OFFMASK) * CHAIN_UNIT;
	pkt->to = pkt->from + pkt->len - pkt->transport;
}

/**
 * parse_options4() - walk the options of an IPv4 header
 * @pkt: gets PKT_SOURCE_ROUTE
 * @option: a copy of them
 * @len: bytes
 *
 * Return: VERDICT_PASS or VERDICT_OPTION
 */
static enum verdict parse_options4(struct pkt *pkt, const uint8_t *option, size_t len)
{
	size_t at = 0;

	while (at < len && option[at] != IPOPT_END) {
		if (option[at] == IPOPT_NOOP) {
			at++;
			continue;
		}
		if (len - at < 2 || option[at + 1] < 2 || option[at + 1] > len - at)
			return VERDICT_OPTION;
		if (option[at] == IPOPT_LSRR || option[at] == IPOPT_SSRR)
			pkt->flags |= PKT_SOURCE_ROUTE;
		at += option[at + 1];
	}
	return VERDICT_PASS;
}

/**
 * parse_v4() - read an IPv4 packet
 * @pkt: data is set; gets the rest
 * @len: bytes there
 * @padded: whether bytes may follow the packet
 *
 * Return: VERDICT_PASS or what is wrong
 */
static enum verdict parse_v4(struct pkt *pkt, size_t len, bool padded)
{
	union {
		struct ip ip;
		uint8_t bytes[15 * 4];
	} head;
	size_t header, total, fixed = sizeof(head.ip);
	enum verdict verdict = VERDICT_PASS;

	if (len < fixed)
		return VERDICT_SHORT;
	memcpy(head.bytes, pkt->data, fixed);
	header = head.ip.ip_hl * 4U;
	if (header < fixed)
		return VERDICT_HEADER_LENGTH;
	if (header > len)
		return VERDICT_SHORT;
	total = ntohs(head.ip.ip_len);
	if (total < header || total > len || (total < len && !padded))
		return VERDICT_LENGTH;
	pkt->len = (uint32_t)total;
	pkt->transport = (uint16_t)header;
	pkt->protocol = head.ip.ip_p;
	pkt->id = ntohs(head.ip.ip_id);
	pkt->src = addr_from_v4(&head.ip.ip_src);
	pkt->dst = addr_from_v4(&head.ip.ip_dst);
	if (header > fixed) {
		memcpy(head.bytes + fixed, pkt->data + fixed, header - fixed);
		verdict = parse_options4(pkt, head.bytes + fixed, header - fixed);
	}
	if (csum(head.bytes, header, 0))
		pkt->flags |= PKT_BAD_CHECKSUM;
	parse_fragment4(pkt, ntohs(head.ip.ip_off));
	return verdict == VERDICT_PASS ? parse_payload(pkt, header) : verdict;
}

/**
 * parse_v6() - read an IPv6 packet
 * @pkt: data is set; gets the rest
 * @len: bytes there
 * @padded: whether bytes may follow the packet
 *
 * Return: VERDICT_PASS or what is wrong
 */
static enum verdict parse_v6(struct pkt *pkt, size_t len, bool padded)
{
	struct ip6_hdr ip6;
	enum verdict verdict;
	struct chain chain;
	size_t total;

	if (len < sizeof(ip6))
		return VERDICT_SHORT;
	memcpy(&ip6, pkt->data, sizeof(ip6));
	total = sizeof(ip6) + ntohs(ip6.ip6_plen);
	if (total > PKT_MAX || total > len || (total < len && !padded))
		return VERDICT_LENGTH;
	pkt->len = (uint32_t)total;
	pkt->src = addr_from_v6(&ip6.ip6_src);
	pkt->dst = addr_from_v6(&ip6.ip6_dst);
	if (!v6_addr_ok(&pkt->src) || !v6_addr_ok(&pkt->dst))
		return VERDICT_MARTIAN;
	chain.protocol = ip6.ip6_nxt;
	verdict = walk_chain(&chain, pkt->data, total);
	if (verdict != VERDICT_PASS)
		return verdict;
	pkt->protocol = chain.protocol;
	pkt->flags |= chain.flags;
	pkt->id = chain.id;
	pkt->transport = (uint16_t)chain.at;
	if (!(chain.flags & PKT_FRAGMENT))
		return parse_transport(pkt);
	pkt->from = chain.from;
	pkt->to = chain.from + pkt->len - (uint32_t)chain.fragment;
	return parse_payload(pkt, chain.fragment - CHAIN_UNIT - sizeof(ip6));
}

/**
 * pkt_parse() - read one packet and check its form
 * @pkt: set whole; what is in it counts only when the packet passes
 * @data: the packet, which must stay while @pkt is used
 * @len: bytes there
 * @padded: whether bytes may follow the IP packet; they are left out of pkt->len
 *
 * Return: VERDICT_PASS or what is wrong
 */
enum verdict pkt_parse(struct pkt *pkt, const void *data, size_t len, bool padded)
{
	*pkt = (struct pkt){.data = data};
	if (!len)
		return VERDICT_SHORT;
	pkt->version = pkt->data[0] >> 4;
	if (pkt->version == 4)
		return parse_v4(pkt, len, padded);
	if (pkt->version == 6)
		return parse_v6(pkt, len, padded);
	return VERDICT_VERSION;
}

/**
 * fill_source() - put the source in, and add it to the transport checksum
 * @data: the packet, writable
 * @pkt: its checked view; its source is zero
 * @source: of the packet's family
 *
 * A program that leaves the source open cannot have summed it, so what it did
 * sum is taken to be right for a zero source and is adjusted for the real one
 * (RFC 1624). A UDP checksum of zero says that there is none, and stays. An SCTP
 * checksum does not cover the addresses.
 */
static void fill_source(uint8_t *data, const struct pkt *pkt, const struct addr *source)
{
	size_t size = pkt->version == 4 ? 4 : 16;
	const uint8_t *address = source->b + sizeof(source->b) - size;
	int field = csum_field(pkt);
	uint16_t sum;
	uint8_t *at;

	memcpy(data + (pkt->version == 4 ? offsetof(struct ip, ip_src) : offsetof(struct ip6_hdr, ip6_src)), address,
	       size);
	if (field < 0 || pkt->flags & PKT_LATER || pkt->protocol == IPPROTO_ICMP)
		return;
	at = data + pkt->transport + field;
	memcpy(&sum, at, sizeof(sum));
	if (pkt->protocol == IPPROTO_UDP && !sum)
		return;
	sum = csum(address, size, (uint16_t)~sum);
	if ((pkt->protocol == IPPROTO_UDP || pkt->protocol == IPPROTO_UDPLITE) && !sum)
		sum = 0xffff;
	memcpy(at, &sum, sizeof(sum));
}

/**
 * pkt_fill() - put in what the sender left open
 * @data: the packet, writable, pkt->len bytes
 * @pkt: its checked view
 * @source: put in when the packet's source is zero and the families agree; or NULL
 * @id: put in when the IPv4 identification is 0; host byte order
 *
 * The identification of a fragment stays as it is, since all fragments of a
 * datagram must have the same one. The IPv4 header checksum is always set
 * right. The transport checksum is touched only where the source is put in,
 * see fill_source().
 */
void pkt_fill(uint8_t *data, const struct pkt *pkt, const struct addr *source, uint16_t id)
{
	const size_t id_at = offsetof(struct ip, ip_id), sum_at = offsetof(struct ip, ip_sum);
	const int family = pkt->version == 4 ? AF_INET : AF_INET6;
	uint16_t field;

	if (source && addr_is_any(&pkt->src) && addr_family(source) == family)
		fill_source(data, pkt, source);
	if (pkt->version != 4)
		return;
	if (!pkt->id && !(pkt->flags & PKT_FRAGMENT)) {
		field = htons(id);
		memcpy(data + id_at, &field, sizeof(field));
	}
	memset(data + sum_at, 0, sizeof(field));
	field = csum(data, pkt->transport, 0); /* in IPv4 the transport header starts where the options end */
	memcpy(data + sum_at, &field, sizeof(field));
}
