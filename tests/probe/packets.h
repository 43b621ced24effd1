/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packets.h: test packets, made by hand
 */
#ifndef SAFERAW_PACKETS_H
#define SAFERAW_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_ROOM 66000
#define TCP 6
#define UDP 17
#define ICMP 1 /* stands for ICMPv6 in an IPv6 packet */
#define ICMPV6 58
#define DCCP 33
#define HOP_BY_HOP 0x100 /* stands for 0, which is the usual */
#define ROUTING 43
#define DESTINATION 60
#define ROUTER_ALERT 5 /* option */
#define HOME_ADDRESS 201

/*
 * What a packet is made from. Zero means the usual: TTL 64, no options, no
 * payload but the tag. The last four bytes of every packet are its tag, by
 * which it is known again.
 */
struct recipe {
	const char *src, *dst; /* both of one family */
	uint8_t protocol;
	uint16_t sport, dport; /* the id of ICMP is sport for requests and dport for replies */
	uint8_t type;          /* of ICMP */
	uint8_t ttl;
	uint16_t payload;           /* bytes between transport header and tag */
	uint8_t header;             /* bytes of the transport header that are there; 0: all of it */
	uint8_t option;             /* IPv4: a source route or another option of 8 bytes is added */
	uint8_t extensions;         /* IPv6: destination options headers */
	uint16_t first, last;       /* IPv6: headers put before and behind the destination options */
	uint8_t option6;            /* IPv6: the option in the options headers, of 4 bytes; 0: padding */
	uint8_t left;               /* IPv6: segments left, of a routing header */
	uint16_t fragment;          /* offset in units of 8 bytes | FRAGMENT_MORE */
	bool fragmented;            /* fragment and id apply */
	uint32_t id;                /* of the fragmented datagram */
	const struct packet *inner; /* ICMP error: what it is about */
	int lie;                    /* added to the IP length field */
};

#define FRAGMENT_MORE 0x8000

struct packet {
	size_t len;
	uint32_t tag;
	uint8_t data[PACKET_ROOM];
};

void packet_make(struct packet *packet, const struct recipe *recipe);
uint32_t packet_tag(const uint8_t *data, size_t len);
bool packet_sums_ok(const uint8_t *data, size_t len);

#endif
