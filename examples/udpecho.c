/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * udpecho.c: an echo server on a UDP port of the slice
 *
 *	udpecho [-s SLICE] [-a ADDRESS[/LENGTH]] [PORT]
 *
 * Sends every datagram back to where it came from, by turning the packet
 * round: the addresses change places, the ports change places. A checksum is a
 * sum, and the same words are summed, so it stays right as it is; only the TTL
 * is set anew, and with it the IPv4 header's checksum. Without PORT it is a
 * free one of the slice's. The port is printed first. ADDRESS is an own address
 * of the slice or a proxied one; with LENGTH it is a proxied prefix, on which every
 * address answers.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <saferaw.h>
#include <unistd.h>

#include "packet.h"

/**
 * fail() - say what went wrong and give up
 * @why: why
 */
static _Noreturn void fail(const char *why)
{
	fprintf(stderr, "udpecho: %s\n", why);
	exit(1);
}

/**
 * swap() - let two pieces of memory change places
 * @a: one
 * @b: the other
 * @length: bytes of each, at most 16
 */
static void swap(uint8_t *a, uint8_t *b, size_t length)
{
	uint8_t kept[16];

	memcpy(kept, a, length);
	memcpy(a, b, length);
	memcpy(b, kept, length);
}

/**
 * turn_round() - make the answer out of a packet
 * @packet: IP packet
 */
static void turn_round(uint8_t *packet)
{
	const size_t at = ip_header(packet);
	uint16_t header_sum;

	swap(packet + at, packet + at + 2, 2);
	if (packet[0] >> 4 == 6) {
		swap(packet + 8, packet + 24, 16);
		packet[7] = 64;
		return;
	}
	swap(packet + 12, packet + 16, 4);
	packet[8] = 64;
	memset(packet + 10, 0, 2);
	header_sum = fold(sum(0, packet, at));
	memcpy(packet + 10, &header_sum, 2);
}

/**
 * open_flow() - open the port
 * @saferaw: handle
 * @local: address or proxied prefix; NULL for every own address of the slice, in both families
 * @port: 0 for a free one
 */
static struct saferaw_flow *open_flow(struct saferaw *saferaw, const char *local, unsigned port)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct sockaddr_storage got;
	struct saferaw_flow *flow;
	struct sockaddr_in in = {.sin_family = AF_UNSPEC, .sin_port = htons((uint16_t)port)};

	request.protocol = IPPROTO_UDP;
	memcpy(&request.local, &in, sizeof(in));
	if (local && !read_prefix(local, port, &request.local, &request.local_len))
		fail("-a: neither an address nor a prefix");
	flow = saferaw_open(saferaw, &request);
	if (!flow)
		fail(saferaw_error(saferaw));
	saferaw_flow_local(flow, &got);
	printf("%u\n", ntohs(port_of(&got)));
	fflush(stdout);
	return flow;
}

int main(int argc, char **argv)
{
	const char *slice = NULL, *local = NULL;
	static uint8_t packet[PACKET_MAX];
	struct saferaw *saferaw;
	struct saferaw_flow *flow;
	int option;
	ssize_t n;

	while ((option = getopt(argc, argv, "a:s:")) != -1) {
		if (option == 'a')
			local = optarg;
		else if (option == 's')
			slice = optarg;
		else
			return 2;
	}
	if (argc - optind > 1) {
		fputs("usage: udpecho [-s SLICE] [-a ADDRESS[/LENGTH]] [PORT]\n", stderr);
		return 2;
	}
	saferaw = saferaw_connect(slice);
	if (!saferaw)
		fail(saferaw_error(NULL));
	flow = open_flow(saferaw, local, optind < argc ? (unsigned)atoi(argv[optind]) : 0);
	while ((n = saferaw_recv(flow, packet, sizeof(packet), NULL, 0)) > 0) {
		turn_round(packet);
		if (saferaw_send(flow, packet, (size_t)n, 0) < 0)
			fprintf(stderr, "udpecho: not sent: %s\n",
				saferaw_last_reason(flow) ? saferaw_reason_text(saferaw_last_reason(flow))
							  : strerror(errno));
	}
	fail(n ? strerror(errno) : "the flow has been closed by the broker");
}
