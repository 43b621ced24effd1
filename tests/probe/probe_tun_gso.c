/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_tun_gso.c: super-packets and unfinished checksums come out of a TUN without offloads as on the wire
 *
 * The peer's packet socket makes such packets with a virtio header, and the
 * veth hands them to steering as they are. It also makes packets whose IP
 * header is not in the linear part of the kernel's buffer.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"
#include "util.h"
#include "world.h"

#define MSS 1400
#define JUMBO 9000
#define SEGMENTS 10

static struct packet packet;

/**
 * unfinish() - leave only the pseudo header's sum in the checksum field
 * @data: the packet
 * @len: bytes
 * @start: offset of the transport header
 * @offset: of the checksum field in it
 */
static void unfinish(uint8_t *data, size_t len, size_t start, size_t offset)
{
	bool v4 = data[0] >> 4 == 4;
	uint8_t pseudo[40] = {0};
	size_t size = v4 ? 8 : 32;
	uint32_t sum = (v4 ? data[9] : data[6]) + (uint32_t)(len - start);

	memcpy(pseudo, data + (v4 ? 12 : 8), size);
	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)(pseudo[i] << 8 | pseudo[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	data[start + offset] = (uint8_t)(sum >> 8);
	data[start + offset + 1] = (uint8_t)sum;
}

/**
 * send_raw() - send a packet with a virtio header
 * @w: the world
 * @header: virtio header
 *
 * Return: false if the kernel did not take it.
 */
static bool send_raw(struct world *w, const struct virtio_net_hdr *header)
{
	static uint8_t frame[PACKET_ROOM];
	const uint16_t ethertype = htons(packet.data[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	const size_t at = sizeof(*header) + ETH_HLEN;

	memcpy(frame, header, sizeof(*header));
	memcpy(frame + sizeof(*header), w->host_mac, 6);
	memcpy(frame + sizeof(*header) + 6, w->peer_mac, 6);
	memcpy(frame + at - 2, &ethertype, sizeof(ethertype));
	memcpy(frame + at, packet.data, packet.len);
	return send(w->wire, frame, at + packet.len, 0) == (ssize_t)(at + packet.len);
}

/**
 * count() - read packets from the TUN
 * @w: the world
 * @want: how many are expected
 * @bytes: result: of IP packets
 *
 * Return: how many came, 0 if one of them was too long or had a wrong checksum.
 */
static unsigned count(struct world *w, unsigned want, size_t *bytes)
{
	struct pollfd poll_fd = {.fd = w->ns.tun_fd, .events = POLLIN};
	static uint8_t data[PACKET_ROOM];
	unsigned n = 0;

	*bytes = 0;
	while (n < want && poll(&poll_fd, 1, WAIT_MS) > 0) {
		ssize_t len = read(w->ns.tun_fd, data, sizeof(data));

		if (len < 0 || (data[0] >> 4 == 4 ? data[9] : data[6]) !=
				       (packet.data[0] >> 4 == 4 ? packet.data[9] : packet.data[6]))
			continue;
		if (len > 1500 || !packet_sums_ok(data, (size_t)len))
			return 0;
		*bytes += (size_t)len;
		n++;
	}
	return n;
}

/**
 * test() - one family
 * @w: the world
 * @src: of the packets
 * @dst: of the packets
 * @header: size of the IP header
 */
static void test(struct world *w, const char *src, const char *dst, uint16_t header)
{
	struct recipe r = {.src = src, .dst = dst, .protocol = TCP, .sport = 80, .dport = PORT};
	struct virtio_net_hdr virtio = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = header == 20 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)(ETH_HLEN + header + 20),
		.gso_size = MSS,
		.csum_start = (uint16_t)(ETH_HLEN + header),
		.csum_offset = 16,
	};
	uint64_t queued = w->traffic[SLICE].queued;
	size_t bytes;
	unsigned n;

	r.payload = SEGMENTS * MSS - 4;
	packet_make(&packet, &r);
	unfinish(packet.data, packet.len, header, 16);
	tap_ok(send_raw(w, &virtio), "a TCP super-packet of %u segments to %s", SEGMENTS, dst);
	n = count(w, SEGMENTS, &bytes);
	tap_ok(n == SEGMENTS && bytes == SEGMENTS * (size_t)(header + 20 + MSS),
	       "comes out as %u packets with right checksums (%u)", SEGMENTS, n);
	tap_ok(w->traffic[SLICE].queued - queued == SEGMENTS, "and counts as so many");

	r.protocol = UDP;
	r.payload = 1000;
	packet_make(&packet, &r);
	unfinish(packet.data, packet.len, header, 6);
	virtio.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	virtio.gso_size = 0;
	virtio.csum_offset = 6;
	tap_ok(send_raw(w, &virtio), "a UDP packet with an unfinished checksum to %s", dst);
	tap_ok(count(w, 1, &bytes) == 1 && bytes == packet.len, "comes out with a right one");
}

/**
 * test_nonlinear() - a packet of which only the link header is linear is steered
 * @w: the world
 * @src: of the packet
 * @dst: of the packet
 */
static void test_nonlinear(struct world *w, const char *src, const char *dst)
{
	const struct recipe r = {
		.src = src, .dst = dst, .protocol = UDP, .sport = 80, .dport = PORT, .payload = 8000};
	const struct virtio_net_hdr virtio = {.hdr_len = ETH_HLEN};

	packet_make(&packet, &r);
	tap_ok(send_raw(w, &virtio) && tun_gets(w, &packet), "a packet in pages to %s is steered", dst);
}

int main(void)
{
	const int on = 1;
	struct world *w;

	tap_need_root();
	w = world_make(CONF_ATTACH_AUTO, JUMBO);
	if (setsockopt(w->wire, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
		tap_bail("PACKET_VNET_HDR");
	world_steer(w);
	test(w, PEER4, HOST4, 20);
	test(w, PEER6, HOST6, 40);
	test_nonlinear(w, PEER4, HOST4);
	test_nonlinear(w, PEER6, HOST6);
	world_free(w);
	return tap_end();
}
