/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rawget.c: fetch a page over a TCP connection made by hand
 *
 *	rawget [-v] [-s SLICE] [-a LOCAL] ADDRESS PORT [PATH]
 *
 * Needs no privilege, only a slice (see libsaferaw(3)). The host's stack knows
 * nothing of the connection: every segment is made and read here, and without
 * the flow the host would answer the server's first one with a reset. LOCAL is
 * where it comes from, if it matters: an own address of the slice, or a proxied one.
 *
 * How it works. What we send is one stream of positions: position 0 is the
 * SYN, then the bytes of the request, and the FIN last. `acked` says how many
 * of them the server has confirmed. transmit() sends what comes next, and when
 * no answer comes in time it is simply called again: that is all there is to
 * retransmission. What the server sends is taken in order only; a segment from
 * the future is dropped and asked for again by repeating the last ACK.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <saferaw.h>
#include <stdarg.h>
#include <sys/random.h>
#include <unistd.h>

#include "packet.h"

#define FIRST_WAIT_MS 500
#define TRIES 6

static struct {
	struct saferaw_flow *flow;
	struct sockaddr_storage local, remote;
	uint32_t first, acked; /* our first sequence number; positions the server has confirmed */
	uint32_t next;         /* the server's next sequence number */
	size_t segment;        /* most bytes of data in one segment */
	char request[2048];
	size_t length;       /* of the request */
	int server_finished; /* its FIN has come */
	char head[8192];     /* of the answer, up to the empty line */
	size_t head_length, body_at;
	int verbose;
} tcp;

/**
 * say() - a line of narration, with -v
 * @format: text
 */
static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list args;

	if (!tcp.verbose)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

/**
 * fail() - say what went wrong and give up
 * @what: what
 * @why: why
 */
static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "rawget: %s: %s\n", what, why);
	exit(1);
}

/**
 * send_segment() - make one segment and send it
 * @flags: TH_
 * @position: of its first byte in our stream
 * @data: bytes
 * @length: how many
 */
static void send_segment(uint8_t flags, uint32_t position, const char *data, size_t length)
{
	struct tcphdr header = {.th_sport = port_of(&tcp.local),
				.th_dport = port_of(&tcp.remote),
				.th_seq = htonl(tcp.first + position),
				.th_ack = htonl(flags & TH_ACK ? tcp.next : 0),
				.th_off = sizeof(header) / 4,
				.th_flags = flags,
				.th_win = htons(65535)};
	uint8_t packet[PACKET_MAX];
	size_t at, end;

	at = put_ip(packet, &tcp.local, &tcp.remote, IPPROTO_TCP, 64, sizeof(header) + length);
	end = at + sizeof(header) + length;
	memcpy(packet + at, &header, sizeof(header));
	if (length)
		memcpy(packet + at + sizeof(header), data, length);
	header.th_sum = checksum(packet, at, IPPROTO_TCP, end);
	memcpy(packet + at, &header, sizeof(header));
	say("> %s%s%sposition %u, %zu bytes\n", flags & TH_SYN ? "SYN " : "", flags & TH_FIN ? "FIN " : "",
	    flags & TH_ACK ? "ACK " : "", position, length);
	if (saferaw_send(tcp.flow, packet, end, 0) >= 0)
		return;
	if (saferaw_last_reason(tcp.flow))
		fail("refused", saferaw_reason_text(saferaw_last_reason(tcp.flow)));
	fail("send", strerror(errno));
}

/**
 * transmit() - send what the server has not confirmed, or just an ACK
 */
static void transmit(void)
{
	size_t at;

	if (!tcp.acked) {
		send_segment(TH_SYN, 0, NULL, 0);
		return;
	}
	for (at = tcp.acked - 1; at < tcp.length; at += tcp.segment) {
		size_t left = tcp.length - at, n = left < tcp.segment ? left : tcp.segment;

		send_segment(TH_ACK | TH_PUSH, (uint32_t)at + 1, tcp.request + at, n);
	}
	if (tcp.server_finished)
		send_segment(TH_FIN | TH_ACK, (uint32_t)tcp.length + 1, NULL, 0);
}

/**
 * print_page() - print what the server sends, without the HTTP head
 * @data: bytes, in order
 * @length: how many
 */
static void print_page(const char *data, size_t length)
{
	const char *end;
	size_t room = sizeof(tcp.head) - tcp.head_length;

	if (!tcp.body_at) {
		memcpy(tcp.head + tcp.head_length, data, length < room ? length : room);
		tcp.head_length += length < room ? length : room;
		end = memmem(tcp.head, tcp.head_length, "\r\n\r\n", 4);
		if (!end && length >= room)
			fail("answer", "its head is too long");
		if (!end)
			return;
		tcp.body_at = (size_t)(end - tcp.head) + 4;
		say("  %.*s\n", (int)strcspn(tcp.head, "\r"), tcp.head);
		data += length - (tcp.head_length - tcp.body_at);
		length = tcp.head_length - tcp.body_at;
	}
	fwrite(data, 1, length, stdout);
}

/**
 * take_data() - take what continues the server's stream
 * @sequence: number of the first byte
 * @data: bytes
 * @length: how many
 * @fin: whether it is the server's last
 */
static void take_data(uint32_t sequence, const char *data, size_t length, int fin)
{
	uint32_t known =
		tcp.next - sequence; /* bytes at the front that we have; huge when some before it are missing */

	if (tcp.server_finished || known > length)
		return;
	print_page(data + known, length - known);
	tcp.next += (uint32_t)length - known;
	if (fin) {
		tcp.next++;
		tcp.server_finished = 1;
	}
}

/**
 * take_segment() - take in what the server sent, and answer
 * @packet: IP packet
 * @length: bytes
 *
 * The flow is connected, and the broker has checked that addresses, ports and
 * lengths are right.
 */
static void take_segment(const uint8_t *packet, size_t length)
{
	const size_t at = ip_header(packet);
	struct tcphdr header;
	uint32_t confirmed;
	size_t data;

	memcpy(&header, packet + at, sizeof(header));
	data = at + header.th_off * 4U;
	length -= data;
	confirmed = ntohl(header.th_ack) - tcp.first;
	say("< %s%s%s%zu bytes\n", header.th_flags & TH_SYN ? "SYN " : "", header.th_flags & TH_FIN ? "FIN " : "",
	    header.th_flags & TH_ACK ? "ACK " : "", length);
	if (header.th_flags & TH_RST)
		fail("connection", "reset by the server");
	if (!(header.th_flags & TH_ACK) || confirmed > tcp.length + 2)
		return;
	if (!tcp.acked) { /* the connection begins with the SYN that confirms ours */
		if (!(header.th_flags & TH_SYN) || confirmed != 1)
			return;
		tcp.next = ntohl(header.th_seq) + 1;
		tcp.acked = 1;
		transmit(); /* the request; it confirms the server's SYN */
		return;
	}
	if (confirmed > tcp.acked)
		tcp.acked = confirmed;
	take_data(ntohl(header.th_seq), (const char *)packet + data, length, header.th_flags & TH_FIN);
	if (tcp.server_finished && tcp.acked < tcp.length + 2)
		transmit(); /* our FIN; it confirms the server's */
	else if (length || header.th_flags & (TH_SYN | TH_FIN))
		send_segment(TH_ACK, (uint32_t)tcp.length + 1, NULL, 0);
}

/**
 * converse() - hold the conversation, from the SYN until both sides have finished
 */
static void converse(void)
{
	struct pollfd pfd = {.fd = saferaw_flow_fd(tcp.flow), .events = POLLIN};
	int wait_ms = FIRST_WAIT_MS, tries = 0;
	uint8_t packet[PACKET_MAX];
	ssize_t n;

	transmit();
	while (!tcp.server_finished || tcp.acked < tcp.length + 2) {
		if (poll(&pfd, 1, wait_ms) == 0) {
			if (++tries == TRIES && tcp.server_finished)
				return; /* we have the page; it does not matter that the server never heard our FIN */
			if (tries == TRIES)
				fail("connection", "the server does not answer");
			wait_ms *= 2;
			transmit();
			continue;
		}
		n = saferaw_recv(tcp.flow, packet, sizeof(packet), NULL, 0);
		if (n <= 0)
			fail("receive", n ? strerror(errno) : "the flow has been closed by the broker");
		take_segment(packet, (size_t)n);
		wait_ms = FIRST_WAIT_MS;
		tries = 0;
	}
}

/**
 * open_flow() - open a connected flow on a free port of the slice
 * @slice: name or NULL
 * @local: address, NULL for any of the slice's own
 */
static void open_flow(const char *slice, const char *local)
{
	struct saferaw_request request = SAFERAW_REQUEST_INIT;
	struct saferaw *saferaw = saferaw_connect(slice);
	uint32_t mtu;

	if (!saferaw)
		fail("broker", saferaw_error(NULL));
	request.protocol = IPPROTO_TCP;
	request.remote = tcp.remote;
	if (local && !read_address(local, 0, &request.local))
		fail("local address", local);
	tcp.flow = saferaw_open(saferaw, &request);
	if (!tcp.flow || saferaw_flow_source(tcp.flow, &tcp.remote, &tcp.local, &mtu) < 0)
		fail("flow", saferaw_error(saferaw));
	tcp.segment = 536; /* what every server takes that does not say more (RFC 9293 3.7.1) */
	say("  port %u, MTU %u\n", ntohs(port_of(&tcp.local)), mtu);
}

int main(int argc, char **argv)
{
	const char *slice = NULL, *local = NULL, *path;
	int option;

	while ((option = getopt(argc, argv, "a:s:v")) != -1) {
		if (option == 'a')
			local = optarg;
		else if (option == 's')
			slice = optarg;
		else if (option == 'v')
			tcp.verbose = 1;
		else
			return 2;
	}
	if (argc - optind < 2 || argc - optind > 3 ||
	    !read_address(argv[optind], (unsigned)atoi(argv[optind + 1]), &tcp.remote)) {
		fputs("usage: rawget [-v] [-s SLICE] [-a LOCAL] ADDRESS PORT [PATH]\n", stderr);
		return 2;
	}
	path = argc - optind == 3 ? argv[optind + 2] : "/";
	tcp.length = (size_t)snprintf(tcp.request, sizeof(tcp.request),
				      "GET %s HTTP/1.0\r\nHost: rawget\r\nConnection: close\r\n\r\n", path);
	if (tcp.length >= sizeof(tcp.request))
		fail("path", "too long");
	if (getrandom(&tcp.first, sizeof(tcp.first), 0) < 0) /* nobody shall guess it (RFC 6528) */
		fail("random number", strerror(errno));
	open_flow(slice, local);
	converse();
	if (fflush(stdout))
		fail("output", strerror(errno));
	if (!tcp.body_at || tcp.head_length < 12 || memcmp(tcp.head + 8, " 200", 4) != 0)
		fail("server", tcp.body_at ? "did not answer 200 OK" : "sent no page");
	return 0;
}
