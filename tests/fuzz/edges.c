/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * edges.c: steering against the reference, on very many packets
 *
 *	edges [RUNS [SEED]]
 *
 * The programs and maps of steering as they are, in namespaces of the test's
 * own; the packets of shape.c, of which half are broken.
 *
 * Out: each packet is written to the real TUN. steer_out has run when write(2)
 * returns, so a refusal is read off its counter; what was not refused must
 * come out of the far end of the wire, byte for byte and in order, and nothing
 * else may. A packet that the relay would send (pkt.c and policy.c say so) is
 * completed as the relay does it, and must pass. All others must pass only
 * where the reference for the backstop says so.
 *
 * In: each packet is put before steer_in by BPF_PROG_TEST_RUN, as coming from
 * the uplink. One in WIRE_SHARE is sent over the wire besides, and what reaches
 * the TUN is compared. What the reference takes, and nothing that it leaves,
 * must go into the TUN.
 *
 * Links: each packet is put before steer_link (edge_link.c).
 *
 * Both ways a later fragment must go where its first went, and nowhere
 * without one; outwards it must not reach back into it.
 *
 * An execution is one packet through one program. (steer_out is not run by
 * BPF_PROG_TEST_RUN: it compares the packet's own length with the frame's,
 * which has a link header there and none on the TUN.)
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../probe/tap.h"
#include "edge_link.h"
#include "pkt.h"
#include "scenery.h"
#include "util.h"

#define RUNS 40000
#define SEED 1
#define BATCH 64      /* packets between two looks at the wire */
#define WIRE_SHARE 16 /* one packet in so many goes in over the real wire */
#define LINK_SHARE 4  /* one comes out of a link instead */
#define PAIR_SHARE 32 /* one in so many is followed by a later fragment of the same datagram */

/* What is known of a packet that is on its way */
struct expected {
	size_t size;
	uint8_t byte[SHAPE_ROOM];
};

static struct {
	int steer_in;
	unsigned waiting, fragment_id;
	struct expected expected[3 * BATCH]; /* a packet and a pair of fragments for each */
	uint64_t passed, refused[STEER_REASONS_N], taken, left, wire, pairs;
} all;

/** drained() - let no slice's share of the ring fill up */
static void drained(void)
{
	unsigned slice;

	for (slice = 0; slice < SCENERY_SLICES; slice++)
		scenery.world->traffic[slice].drained = scenery.world->traffic[slice].queued;
}

/** drain() - throw away what a socket or the TUN has */
static void drain(int fd)
{
	static uint8_t buffer[PKT_MAX + ETH_HLEN + 1];
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (poll(&ready, 1, 0) > 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
}

/** is_neighbourly() - whether this is what kernels say to each other about a link: ICMPv6 133 to 137 and 143 */
static bool is_neighbourly(const uint8_t *packet, size_t size)
{
	size_t at = size > 40 && packet[6] == 0 ? 48 : 40;

	return size > at && packet[0] >> 4 == 6 && packet[at == 48 ? 40 : 6] == 58 &&
	       ((packet[at] >= 133 && packet[at] <= 137) || packet[at] == 143);
}

/** is_ours() - whether the host itself sent a packet: by lo its answers to what came out may reach the TUN at any
 * time */
static bool is_ours(const uint8_t *packet, size_t size)
{
	unsigned i;

	for (i = 0; i < SCENERY_OWN; i++) {
		if (size >= 20 && packet[0] >> 4 == 4 && !memcmp(packet + 12, scenery.address4[i], 4))
			return true;
		if (size >= 40 && packet[0] >> 4 == 6 && !memcmp(packet + 8, scenery.address6[i], 16))
			return true;
	}
	return false;
}

/**
 * arrive() - see that exactly what is expected arrives, in order
 * @fd: wire or TUN
 * @header: bytes of its link header
 * @what: for the message
 */
static void arrive(int fd, size_t header, const char *what)
{
	static uint8_t data[PKT_MAX + ETH_HLEN + 1];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	unsigned next = 0;

	while (poll(&ready, 1, next < all.waiting ? WAIT_MS : 0) > 0) {
		ssize_t n = read(fd, data, sizeof(data));
		const struct expected *expected = &all.expected[next];
		size_t size = n < (ssize_t)header ? 0 : (size_t)n - header;
		uint16_t type = header ? (uint16_t)(data[12] << 8 | data[13]) : ETH_P_IP;

		if (!size || (type != ETH_P_IP && type != ETH_P_IPV6) || is_neighbourly(data + header, size) ||
		    (!header && is_ours(data, size)))
			continue;
		if (next == all.waiting || expected->size != size || memcmp(expected->byte, data + header, size))
			scenery_disagree(what, "came, and was not expected", data + header, size);
		next++;
	}
	if (next < all.waiting)
		scenery_disagree(what, "did not come", all.expected[next].byte, all.expected[next].size);
	all.waiting = 0;
}

/** expect() - a packet must arrive */
static void expect(const uint8_t *packet, size_t size)
{
	struct expected *expected = &all.expected[all.waiting++];

	expected->size = size;
	memcpy(expected->byte, packet, size);
}

/**
 * relay_sends() - whether the relay would send a packet, on the best flow that there could be
 * @shape: packet, completed as the relay does it
 */
static bool relay_sends(struct shape *shape)
{
	struct pkt pkt;
	unsigned i;

	if (pkt_parse(&pkt, shape->byte, shape->size, false) != VERDICT_PASS)
		return false;
	for (i = 0; i < scenery.netns.ranges; i++) {
		const struct reference_range *range = &scenery.netns.range[i];
		const struct policy_slice *slice = &scenery.policy[range->slice];
		const struct policy_flow flow = {.class = (uint8_t)range->class,
						 .lo = range->first,
						 .hi = range->last,
						 .protocol = (uint8_t)range->protocol,
						 .key = range->key,
						 .local = range->proxied ? pkt.src : (struct addr){{0}},
						 .proxied = range->proxied};

		if (!range->held || (range->proxied && !policy_slice_prefix(slice, &pkt.src)) ||
		    policy_send(slice, &flow, &pkt) != VERDICT_PASS)
			continue;
		pkt_fill(shape->byte, &pkt, &slice->address[pkt.version == 4 ? 0 : SCENERY_OWN], 1);
		return true;
	}
	return false;
}

/** write_out() - write a packet to the TUN; returns why steer_out dropped it, STEER_REASONS_N when it did not */
static unsigned write_out(const struct shape *shape)
{
	uint64_t before[SCENERY_SLICES][STEER_REASONS_N];
	unsigned slice, reason;

	for (slice = 0; slice < SCENERY_SLICES; slice++)
		memcpy(before[slice], scenery.world->traffic[slice].dropped, sizeof(before[slice]));
	if (write(scenery.world->ns.tun_fd, shape->byte, shape->size) < 0)
		return STEER_OUT_HEADER; /* the TUN itself takes nothing but IP */
	for (slice = 0; slice < SCENERY_SLICES; slice++)
		for (reason = STEER_OUT_STALE; reason < STEER_LINK_GONE; reason++)
			if (scenery.world->traffic[slice].dropped[reason] != before[slice][reason])
				return reason;
	return STEER_REASONS_N;
}

/**
 * judge_out() - one packet through steer_out
 * @shape: packet; completed as the relay does it, if that sends it
 *
 * Return: why it was dropped, STEER_REASONS_N when it was not.
 */
static unsigned judge_out(struct shape *shape)
{
	bool sends = relay_sends(shape), excused, self;
	reference_set reasons;
	enum reference_passage passage = reference_out(&scenery.netns, shape->byte, shape->size, &reasons);
	unsigned reason = write_out(shape);
	char seen[512], text[256];

	self = reference_to_self(&scenery.netns, shape->byte, shape->size);
	if (sends && !self && passage != REFERENCE_PASSES)
		scenery_disagree("out", "the relay sends it, the reference does not", shape->byte, shape->size);
	if (reason == STEER_REASONS_N) {
		all.passed++;
		if (passage == REFERENCE_STOPS)
			scenery_disagree("out", reference_text(reasons, text), shape->byte, shape->size);
		if (!self && !scenery_onlink(shape))
			expect(shape->byte, shape->size);
		return reason;
	}
	all.refused[reason]++;
	excused = (reason == STEER_OUT_NO_ROUTE && scenery_onlink(shape)) ||
		  (reason == STEER_OUT_TOO_BIG && shape->size > SCENERY_MTU) ||
		  ((reason == STEER_OUT_ORPHAN || reason == STEER_OUT_OVERLAP) &&
		   reference_is_later(shape->byte, shape->size));
	snprintf(seen, sizeof(seen), "%s; the reference says %s", scenery_reason(reason),
		 reference_text(reasons, text));
	if (!excused && (passage == REFERENCE_PASSES || !scenery_fits(reason, reasons)))
		scenery_disagree("out", seen, shape->byte, shape->size);
	return reason;
}

/**
 * make_fragment() - make a packet a fragment of a datagram
 * @shape: packet
 * @offset: in the datagram, bytes; 0 for the first, which has more behind it
 * @id: of the datagram; in IPv6 it is another than those of shape.c
 *
 * Return: false where it is too short.
 */
static bool make_fragment(struct shape *shape, unsigned offset, unsigned id)
{
	uint8_t *b = shape->byte;
	unsigned version = shape->size ? b[0] >> 4 : 0;

	if (version == 4 && shape->size >= 28) {
		b[4] = (uint8_t)(id >> 8);
		b[5] = (uint8_t)id;
		b[6] = (uint8_t)(offset / 8 >> 8) | (offset ? 0 : 0x20);
		b[7] = (uint8_t)(offset / 8);
	} else if (version == 6 && shape->size >= 48 && shape->size + 8 <= SHAPE_ROOM && b[6]) {
		memmove(b + 48, b + 40, shape->size - 40);
		shape->size += 8;
		memcpy(b + 40,
		       (const uint8_t[]){b[6], 0, (uint8_t)(offset >> 8), (uint8_t)offset | !offset,
					 (uint8_t)(id >> 24) | 0x80, (uint8_t)(id >> 16), (uint8_t)(id >> 8),
					 (uint8_t)id},
		       8);
		b[6] = 44;
	} else {
		return false;
	}
	shape_repair(shape, true, true);
	return true;
}

/** out_pair() - a first fragment, and one that goes on where it ends or earlier: it leaves after one that has left */
static void out_pair(const struct shape *shape)
{
	unsigned header = shape->size && shape->byte[0] >> 4 == 6 ? 40 : 4 * (shape->byte[0] & 15u), data, back,
		 reason;
	unsigned id = ++all.fragment_id;
	struct shape first = *shape, later;
	bool left;

	if (shape->size < header + 8 || shape->size > SCENERY_MTU - 8)
		return;
	data = (unsigned)(shape->size - header) & ~7u;
	first.size = header + data;
	if (!make_fragment(&first, 0, id))
		return;
	left = judge_out(&first) == STEER_REASONS_N;
	later = *shape;
	later.size = header + 8;
	memcpy(later.byte, first.byte, header); /* with the source that was filled in */
	if (header == 40)
		later.byte[6] = shape->byte[6];
	back = dice_one_in(&scenery.dice, 4) ? 8 : 0;
	if (data - back == 0 || !make_fragment(&later, data - back, id))
		return;
	all.pairs++;
	reason = judge_out(&later);
	if ((reason == STEER_REASONS_N) != (left && !back) || (left && back && reason != STEER_OUT_OVERLAP))
		scenery_disagree("out",
				 left ? "a later fragment, after its first had left"
				      : "a later fragment, its first was dropped",
				 later.byte, later.size);
}

/** out() - one packet through steer_out, now and then with fragments */
static void out(struct shape *shape)
{
	const struct shape whole = *shape;

	judge_out(shape);
	if (dice_one_in(&scenery.dice, PAIR_SHARE))
		out_pair(&whole);
}

/** run_in() - run steer_in on a frame from the uplink; returns whether it takes it */
static bool run_in(const uint8_t *frame, size_t size)
{
	uint32_t action = scenery_run(all.steer_in, scenery.world->uplink, frame, size);

	if (action != TC_ACT_REDIRECT && action != (uint32_t)TC_ACT_UNSPEC)
		scenery_disagree("in", "neither taken nor left", frame + ETH_HLEN, size - ETH_HLEN);
	return action == TC_ACT_REDIRECT;
}

/** in_pair() - a first fragment, the next one of its datagram, and one of a datagram that nobody began */
static void in_pair(const struct shape *shape)
{
	static uint8_t frame[ETH_HLEN + SHAPE_ROOM];
	struct shape first = *shape, later = *shape, stray = *shape;
	unsigned id = ++all.fragment_id;
	bool taken;

	if (!make_fragment(&first, 0, id) || !make_fragment(&later, 32, id) || !make_fragment(&stray, 32, id))
		return;
	stray.byte[shape->byte[0] >> 4 == 4 ? 12 : 8] ^= 0x80; /* of a host that sends nothing else */
	shape_repair(&stray, false, true);
	all.pairs++;
	taken = run_in(frame, scenery_frame(frame, &first));
	if (run_in(frame, scenery_frame(frame, &later)) != taken)
		scenery_disagree("in",
				 taken ? "a later fragment is left, its first was taken"
				       : "a later fragment is taken, its first was left",
				 later.byte, later.size);
	if (run_in(frame, scenery_frame(frame, &stray)))
		scenery_disagree("in", "a later fragment is taken whose first never came", stray.byte, stray.size);
}

/** in() - one packet through steer_in */
static void in(const struct shape *shape)
{
	static uint8_t frame[ETH_HLEN + SHAPE_ROOM];
	size_t size = scenery_frame(frame, shape);
	const uint8_t *packet = frame + ETH_HLEN;
	enum reference_passage passage = reference_in(&scenery.netns, packet, size - ETH_HLEN);
	bool taken = run_in(frame, size);

	if (taken)
		all.taken++;
	else
		all.left++;
	if (taken && passage == REFERENCE_STOPS)
		scenery_disagree("in", "taken, though it is the host's", packet, size - ETH_HLEN);
	if (!taken && passage == REFERENCE_PASSES)
		scenery_disagree("in", "left, though an open port would get it", packet, size - ETH_HLEN);
	if (size <= ETH_HLEN + SCENERY_MTU && dice_one_in(&scenery.dice, WIRE_SHARE) &&
	    !edge_link_gets(packet, size - ETH_HLEN)) {
		all.wire++;
		if (send(scenery.world->wire, frame, size, 0) < 0)
			tap_bail("send on the wire");
		if (taken)
			expect(packet, size - ETH_HLEN);
	}
	if (dice_one_in(&scenery.dice, PAIR_SHARE))
		in_pair(shape);
}

/** step() - one packet, out or in */
static void step(struct shape *shape, bool outward)
{
	scenery_build(shape, !outward, NULL, 0);
	if (outward)
		out(shape);
	else
		in(shape);
}

/** run() - so many packets, first out and then in */
static void run(uint64_t runs)
{
	static struct shape shape;

	for (; scenery.done < runs; scenery.done++) {
		bool outward = scenery.done / BATCH % 2 == 0;

		if (scenery.done % BATCH == 0) {
			drain(scenery.world->wire);
			drain(scenery.world->ns.tun_fd);
		}
		if (dice_one_in(&scenery.dice, LINK_SHARE))
			edge_link_packet();
		else
			step(&shape, outward);
		drained();
		if (scenery.done % BATCH == BATCH - 1)
			arrive(outward ? scenery.world->wire : scenery.world->ns.tun_fd, outward ? ETH_HLEN : 0,
			       outward ? "out, on the wire" : "in, at the TUN");
	}
}

/** report() - what was seen */
static void report(uint64_t seed, double seconds)
{
	unsigned reason;

	printf("%" PRIu64 " executions, seed %" PRIu64 ", %.0f a second, no disagreement\n", scenery.done, seed,
	       (double)scenery.done / seconds);
	printf("steer_out: %" PRIu64 " left", all.passed);
	for (reason = 0; reason < STEER_REASONS_N; reason++)
		if (all.refused[reason])
			printf(", %" PRIu64 " %s", all.refused[reason], scenery_reason(reason));
	printf("\nnever met:");
	for (reason = STEER_OUT_STALE; reason < STEER_LINK_GONE; reason++)
		if (!all.refused[reason])
			printf(" %s", scenery_reason(reason));
	printf("\nsteer_in: %" PRIu64 " taken, %" PRIu64 " left to the host; %" PRIu64
	       " of them over the wire too; %" PRIu64 " fragmented datagrams both ways\n",
	       all.taken, all.left, all.wire, all.pairs);
	edge_link_report();
}

/** main() - see the top */
int main(int argc, char **argv)
{
	uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : RUNS;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? (uint64_t)time(NULL) : SEED;
	uint64_t start;

	if (!runs) {
		fprintf(stderr, "usage: edges [RUNS [SEED]]\n");
		return 2;
	}
	tap_need_root();
	scenery.dice.state = seed;
	scenery_make();
	all.steer_in = scenery_program("steer_in");
	edge_link_make();
	world_enter(scenery.world->ns.fd);
	start = clock_ns();
	run(runs);
	report(seed, (double)(clock_ns() - start) / 1e9);
	world_enter(scenery.world->home);
	world_free(scenery.world);
	return 0;
}
