/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rawping.c: ping with an ICMP identifier of the slice
 *
 *	rawping [-s SLICE] [-a LOCAL] [-c COUNT] [-t TTL] ADDRESS
 *
 * The flow is an identifier of ICMP echo messages (ICMPv6 for an IPv6
 * address), so only answers to this program come here. With SAFERAW_ERRORS,
 * errors about its messages come too: with a small -t the router where a
 * message ended says so, which is how traceroute works. With SAFERAW_META each
 * packet has the time when the broker took it from the kernel, so the round
 * trip does not contain this program's own delay.
 *
 * Exit status 0 when an echo reply came.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <saferaw.h>
#include <time.h>
#include <unistd.h>

#include "packet.h"

#define DATA_BYTES 56
#define INTERVAL_MS 1000

static struct sockaddr_storage local, remote;
static uint8_t protocol; /* IPPROTO_ICMP or IPPROTO_ICMPV6 */

/**
 * fail() - say what went wrong and give up
 * @why: why
 */
static _Noreturn void fail(const char *why)
{
	fprintf(stderr, "rawping: %s\n", why);
	exit(2);
}

/**
 * now_ns() - the clock that struct saferaw_meta is by
 */
static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/**
 * send_echo() - send one echo request
 * @flow: flow
 * @sequence: number of the message
 * @ttl: hops
 */
static void send_echo(struct saferaw_flow *flow, uint16_t sequence, uint8_t ttl)
{
	struct icmphdr header = {.type = protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	uint8_t packet[IP_HEADER_MAX + sizeof(header) + DATA_BYTES] = {0};
	const size_t length = sizeof(header) + DATA_BYTES;
	size_t at = put_ip(packet, &local, &remote, protocol, ttl, length);

	header.un.echo.id = port_of(&local);
	header.un.echo.sequence = htons(sequence);
	memcpy(packet + at, &header, sizeof(header));
	if (protocol == IPPROTO_ICMP)
		header.checksum = fold(sum(0, packet + at, length));
	else
		header.checksum = checksum(packet, at, protocol, at + length);
	memcpy(packet + at, &header, sizeof(header));
	if (saferaw_send(flow, packet, at + length, 0) >= 0)
		return;
	fail(saferaw_last_reason(flow) ? saferaw_reason_text(saferaw_last_reason(flow)) : strerror(errno));
}

/**
 * print_source() - print where a packet came from
 * @packet: IP packet
 */
static void print_source(const uint8_t *packet)
{
	char text[INET6_ADDRSTRLEN];
	int four = packet[0] >> 4 == 4;

	inet_ntop(four ? AF_INET : AF_INET6, packet + (four ? 12 : 8), text, sizeof(text));
	printf("%s: ", text);
}

/**
 * take_packet() - print what has come
 * @packet: IP packet
 * @meta: when it came, and its size
 * @sent_ns: when the last request was sent
 * @sequence: of the last request
 *
 * Return: 1 for the echo reply to it, else 0
 */
static int take_packet(const uint8_t *packet, const struct saferaw_meta *meta, uint64_t sent_ns, uint16_t sequence)
{
	const double ms = (double)(int64_t)(meta->time_ns - sent_ns) / 1e6;
	const size_t at = ip_header(packet);
	const int four = protocol == IPPROTO_ICMP;
	struct icmphdr header;

	memcpy(&header, packet + at, sizeof(header));
	if (header.type == (four ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) {
		if (ntohs(header.un.echo.sequence) != sequence)
			return 0;
		print_source(packet);
		printf("%zu bytes, sequence %u, ttl %u, %.3f ms\n", meta->length - at, sequence, packet[four ? 8 : 7],
		       ms);
		return 1;
	}
	print_source(packet);
	if (header.type == (four ? ICMP_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED))
		printf("time exceeded, %.3f ms\n", ms);
	else if (header.type == (four ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH))
		printf("destination unreachable, code %u, %.3f ms\n", header.code, ms);
	else
		printf("ICMP type %u, code %u, %.3f ms\n", header.type, header.code, ms);
	return 0;
}

/**
 * ping() - send one request and print what comes until it is time for the next
 * @flow: flow
 * @sequence: number of the message
 * @ttl: hops
 * @last: whether none follows, and waiting ends with the answer
 *
 * Return: 1 when the reply came, else 0
 */
static int ping(struct saferaw_flow *flow, uint16_t sequence, uint8_t ttl, int last)
{
	struct pollfd pfd = {.fd = saferaw_flow_fd(flow), .events = POLLIN};
	static uint8_t packet[PACKET_MAX];
	uint64_t sent_ns = now_ns(), passed_ms = 0;
	struct saferaw_meta meta;
	int replies = 0;

	send_echo(flow, sequence, ttl);
	while (passed_ms < INTERVAL_MS && poll(&pfd, 1, (int)(INTERVAL_MS - passed_ms)) > 0) {
		if (saferaw_recv(flow, packet, sizeof(packet), &meta, 0) <= 0)
			fail("the flow has been closed by the broker");
		replies += take_packet(packet, &meta, sent_ns, sequence);
		if (last && replies)
			break;
		passed_ms = (now_ns() - sent_ns) / 1000000;
	}
	return replies > 0;
}

/**
 * open_flow() - open a free identifier for the remote
 * @slice: name or NULL
 * @from: local address, NULL for any of the slice's own
 */
static struct saferaw_flow *open_flow(const char *slice, const char *from)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw *saferaw = saferaw_connect(slice);
	struct saferaw_flow *flow;

	if (!saferaw)
		fail(saferaw_error(NULL));
	protocol = remote.ss_family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	request.protocol = protocol;
	request.flags = SAFERAW_META | SAFERAW_ERRORS;
	request.remote = remote;
	if (from && !read_address(from, 0, &request.local))
		fail("-a: not an address");
	flow = saferaw_open(saferaw, &request);
	if (!flow || saferaw_flow_source(flow, &remote, &local, NULL) < 0)
		fail(saferaw_error(saferaw));
	return flow;
}

int main(int argc, char **argv)
{
	int option, count = 4, ttl = 64, i, replies = 0;
	const char *slice = NULL, *from = NULL;
	struct saferaw_flow *flow;

	while ((option = getopt(argc, argv, "a:s:c:t:")) != -1) {
		if (option == 'a')
			from = optarg;
		else if (option == 's')
			slice = optarg;
		else if (option == 'c')
			count = atoi(optarg);
		else if (option == 't')
			ttl = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind != 1 || !read_address(argv[optind], 0, &remote) || ttl < 1 || ttl > 255) {
		fputs("usage: rawping [-s SLICE] [-a LOCAL] [-c COUNT] [-t TTL] ADDRESS\n", stderr);
		return 2;
	}
	flow = open_flow(slice, from);
	for (i = 1; i <= count; i++)
		replies += ping(flow, (uint16_t)i, (uint8_t)ttl, i == count);
	printf("%d sent, %d answered\n", count, replies);
	return replies ? 0 : 1;
}
