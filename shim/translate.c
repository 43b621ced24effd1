/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * translate.c: packets between links and the packet TUN that need another port
 *
 *	link ==(link TAP)== translate ==(packet TUN)== wire, host
 *
 * What a link's programs send from a port outside its block, or to the host
 * itself, comes here by the link TAP. It is parsed, judged as a flow's packet
 * would be, given a pool port (napt.c), and leaves by the packet TUN, with the
 * backstop behind it. What arrives for a pool port with a mapping comes by the
 * packet TUN (receive.c) and goes back to the link by its TAP.
 *
 * On the TAP a packet has an Ethernet header, which steering makes: its
 * destination says which link it is (steer.h). The packet behind it is the
 * client's, who is root in its namespace, and is hostile. One link's packets
 * cost the others nothing but their place in the ring, and steering sees that
 * no slice takes more of that than its share: the relay tells it what it took
 * out (`tap_drained`), as for the packet TUN.
 */
#include "translate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <string.h>
#include <unistd.h>

#include "fragments.h"
#include "log.h"
#include "util.h"

#define BUDGET 64 /* packets in one turn */

static_assert(TRANSLATE_HEAD == sizeof(struct ether_header), "what is before a packet on the TAP");

static const uint8_t prefix[] = STEER_TAP_PREFIX;

/**
 * link_of() - the link that a frame comes from
 * @netns: of the TAP
 * @header: of the frame
 *
 * Return: the link, or NULL.
 */
static struct link *link_of(const struct netns *netns, const struct ether_header *header)
{
	const uint8_t *to = header->ether_dhost;
	unsigned number = (unsigned)to[4] << 8 | to[5];

	if (memcmp(to, prefix, sizeof(prefix)) != 0 || number >= STEER_LINKS_MAX)
		return NULL;
	return netns->links[number];
}

/**
 * is_host() - whether an address is the host itself, as links see it
 * @link: link
 * @addr: address
 */
static bool is_host(const struct link *link, const struct addr *addr)
{
	return addr_eq(addr, &link->napt->conf.alias[0]) || addr_eq(addr, &link->napt->conf.alias[1]);
}

/**
 * form() - read a packet from a link, and see what can be seen before its translation
 * @link: link
 * @type: of the frame, network byte order
 * @pkt: set
 * @data: packet
 * @len: bytes there
 *
 * A source that is not the slice's gets no mapping.
 *
 * Return: VERDICT_PASS or why not
 */
static enum verdict form(const struct link *link, uint16_t type, struct pkt *pkt, const uint8_t *data, size_t len)
{
	enum verdict verdict = pkt_parse(pkt, data, len, true);

	if (verdict != VERDICT_PASS)
		return verdict;
	if (type != htons(pkt->version == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6))
		return VERDICT_VERSION;
	if (!policy_slice_has_address(&link->slice->policy, &pkt->src))
		return VERDICT_SOURCE;
	if (is_host(link, &pkt->dst) && !link->slice->conf.record.local)
		return VERDICT_LOCAL;
	return pkt->len > link->netns->record.mtu ? VERDICT_TOO_BIG : VERDICT_PASS;
}

/**
 * leave() - a packet may leave: write it to the packet TUN
 * @link: of the packet
 * @pkt: packet, translated
 * @data: its bytes
 *
 * Return: VERDICT_PASS or VERDICT_TUN_FULL
 */
static enum verdict leave(struct link *link, const struct pkt *pkt, uint8_t *data)
{
	struct slice *slice = link->slice;

	pkt_fill(data, pkt, NULL, 0);
	if (write(slice->netns->tun.fd, data, pkt->len) < 0)
		return VERDICT_TUN_FULL;
	slice->counters.tx_packets++;
	slice->counters.tx_bytes += pkt->len;
	link->translated.tx_packets++;
	link->translated.tx_bytes += pkt->len;
	return VERDICT_PASS;
}

/**
 * translate_out() - one packet from a link
 * @link: link
 * @type: of the frame, network byte order
 * @data: packet, changed
 * @len: bytes there
 *
 * Return: VERDICT_PASS when it has left, or why not
 */
static enum verdict translate_out(struct link *link, uint16_t type, uint8_t *data, size_t len)
{
	struct slice *slice = link->slice;
	struct mapping *mapping;
	struct pkt pkt, sent;
	enum verdict verdict = form(link, type, &pkt, data, len);

	if (verdict == VERDICT_PASS && pkt.flags & PKT_LATER)
		verdict = fragments_follow(&slice->sent, &pkt, link->flow, clock_ns());
	if (verdict != VERDICT_PASS)
		return verdict;
	mapping = link_aggregate(link, &pkt, clock_ns(), &verdict);
	if (!mapping)
		return verdict;
	sent = pkt;
	napt_rewrite_out(link->napt, mapping, &pkt, data);
	verdict = policy_send(&slice->policy, &link->class[mapping->class].policy, &pkt);
	if (verdict == VERDICT_PASS)
		verdict = leave(link, &pkt, data);
	if (verdict == VERDICT_PASS && (sent.flags & (PKT_FRAGMENT | PKT_LATER)) == PKT_FRAGMENT)
		fragments_remember(&slice->sent, &sent, link->flow, clock_ns());
	return verdict;
}

/**
 * take_frame() - one frame from a TAP
 * @netns: of the TAP
 * @frame: as read
 * @len: bytes read
 */
static void take_frame(struct netns *netns, uint8_t *frame, size_t len)
{
	struct ether_header header;
	struct steer_traffic *traffic;
	enum verdict verdict;
	struct link *link;

	if (len < sizeof(header)) {
		netns->unknown.rx_refused[VERDICT_SHORT]++;
		return;
	}
	memcpy(&header, frame, sizeof(header));
	link = link_of(netns, &header);
	if (!link) {
		netns->unknown.rx_refused[VERDICT_NO_LINK]++;
		return;
	}
	traffic = &netns->traffic[slice_number(link->slice)];
	__atomic_store_n(&traffic->tap_drained, traffic->tap_drained + 1, __ATOMIC_RELAXED);
	link->relayed.tx_packets++;
	link->relayed.tx_bytes += len - sizeof(header);
	link_expire(link, clock_ns());
	verdict = translate_out(link, header.ether_type, frame + sizeof(header), len - sizeof(header));
	if (verdict == VERDICT_PASS)
		return;
	link->refused++;
	link->slice->counters.tx_refused[verdict]++;
}

/**
 * empty() - the ring is empty: all that was queued has been drained
 * @netns: of the TAP
 */
static void empty(struct netns *netns)
{
	struct slice *slice;

	LIST_FOREACH(slice, &netns->slices, link) {
		struct steer_traffic *traffic = &netns->traffic[slice_number(slice)];

		__atomic_store_n(&traffic->tap_drained, __atomic_load_n(&traffic->tap_queued, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	}
}

/**
 * translate_ready() - there are packets on a link TAP
 * @tap: of a netns
 * @events: EPOLL bits
 *
 * A TAP that cannot be read any more is left alone from then on, as a TUN is.
 */
void translate_ready(struct watch *tap, uint32_t events)
{
	static uint8_t frame[TRANSLATE_HEAD + PKT_MAX + 1]; /* a byte more: what fills it was cut */
	struct netns *netns = container_of(tap, struct netns, tap);
	unsigned budget;
	ssize_t n;

	(void)events;
	for (budget = BUDGET; budget; budget--) {
		n = read(tap->fd, frame, sizeof(frame));
		if (n > 0) {
			take_frame(netns, frame, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			empty(netns);
		} else if (n == 0 || errno != EINTR) {
			log_error("netns %s: cannot read the link TAP: %s", netns->record.name,
				  n ? strerror(errno) : "end of file");
			loop_watch(tap, 0);
		}
		return;
	}
}

/**
 * match() - the mapping that a packet comes in by
 * @link: link
 * @pkt: packet
 * @verdict: set
 *
 * Return: the mapping, or NULL when the packet is not for the link.
 */
static struct mapping *match(struct link *link, const struct pkt *pkt, enum verdict *verdict)
{
	int class = policy_class(pkt->flags & PKT_ICMP_ERROR ? pkt->inner_protocol : pkt->protocol);
	struct mapping *mapping;

	*verdict = VERDICT_PROTOCOL;
	if (class >= 0 && class < STEER_LINK_CLASSES)
		*verdict = policy_receive(&link->class[class].policy, pkt);
	if (*verdict != VERDICT_PASS)
		return NULL;
	mapping = napt_match(link->napt, pkt, clock_ns());
	if (!mapping)
		*verdict = VERDICT_NO_MAPPING;
	return mapping;
}

/**
 * translate_in() - a packet has arrived for a link's pool
 * @link: link
 * @pkt: packet that pkt_parse() has passed, changed; a later fragment has its first one's ports
 * @data: its bytes, changed, with TRANSLATE_HEAD bytes before them that may be written to
 *
 * Return: VERDICT_PASS when it is on its way to the link, or why not
 */
enum verdict translate_in(struct link *link, struct pkt *pkt, uint8_t *data)
{
	struct netns *netns = link->netns;
	struct ether_header header = {.ether_dhost = {[4] = (uint8_t)(link->number >> 8), (uint8_t)link->number},
				      .ether_type = htons(pkt->version == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6)};
	struct mapping *mapping;
	enum verdict verdict;

	link_expire(link, clock_ns());
	mapping = match(link, pkt, &verdict);
	if (!mapping) {
		link->refused++;
		return verdict;
	}
	napt_rewrite_in(link->napt, mapping, pkt, data);
	memcpy(header.ether_dhost, prefix, sizeof(prefix));
	memcpy(data - sizeof(header), &header, sizeof(header));
	if (write(netns->tap.fd, data - sizeof(header), pkt->len + sizeof(header)) < 0) {
		link->refused++;
		return VERDICT_TUN_FULL;
	}
	link->relayed.rx_packets++;
	link->relayed.rx_bytes += pkt->len;
	link->translated.rx_packets++;
	link->translated.rx_bytes += pkt->len;
	return VERDICT_PASS;
}
