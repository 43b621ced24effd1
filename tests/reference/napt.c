/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napt.c: a second opinion on which port is whose
 *
 * The rules of a link's translation, written a second time in the plainest
 * way: one array of ports, which is searched from end to end for everything.
 * There is no list, no hash and no index. What is oldest is what has the
 * lowest turn.
 *
 * - A client's address, port and class have one outer port, whoever is spoken to; but for the host, behind its alias,
 *   they have one of their own, by which the host alone may answer.
 * - A new one gets the port that has been free for the longest time. When none is free one is displaced that has been
 *   idle for a while: what is over, or nobody is likely to miss.
 * - What has been idle for longer than its phase allows is over, whether it has been ended or not: nothing comes in
 * by it, and what goes out begins it anew.
 * - Later fragments and ICMP errors begin nothing, and change no phase; errors are no use.
 */
#include "napt.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#define MS 1000000ULL

enum { CLASS_IS_TCP, CLASS_IS_UDP, CLASS_IS_ICMP };

/* How long a phase may be idle, and how long it must have been to be displaced; ms */
static const struct {
	uint64_t idle, displaced;
} patience[PHASES] = {
	[PHASE_NEW] = {30000, 1000},    [PHASE_ANSWERED] = {120000, 120000},
	[PHASE_ECHOED] = {60000, 5000}, [PHASE_ESTABLISHED] = {7440000, 7440000},
	[PHASE_CLOSING] = {10000, 200},
};

/**
 * reference_napt_add() - one more pool port
 * @napt: reference
 * @class: of the port
 * @number: port; it is used after all others of its class that were added before
 */
void reference_napt_add(struct reference_napt *napt, unsigned class, uint16_t number)
{
	if (napt->ports == REFERENCE_PORTS)
		abort();
	napt->port[napt->ports++] = (struct reference_port){.class = class, .number = number, .turn = ++napt->turn};
}

/** to_phase() - a port is used now, and in some phase from now on */
static void to_phase(struct reference_napt *napt, struct reference_port *port, enum reference_phase phase,
		     uint64_t now)
{
	port->phase = phase;
	port->used = now;
	port->turn = ++napt->turn;
}

/** idle_longer() - whether a port in use has been idle for longer than so many ms */
static bool idle_longer(const struct reference_port *port, uint64_t now, uint64_t than)
{
	return now - port->used > than * MS;
}

/**
 * reference_napt_over() - whether a port in use has been idle for too long
 * @port: in use
 * @now: ns
 */
bool reference_napt_over(const struct reference_port *port, uint64_t now)
{
	return idle_longer(port, now, patience[port->phase].idle);
}

/** find() - which port of a class has a number; as many as there are for none */
static unsigned find(const struct reference_napt *napt, unsigned class, uint16_t number)
{
	unsigned i = 0;

	while (i < napt->ports && (napt->port[i].class != class || napt->port[i].number != number))
		i++;
	return i;
}

/**
 * reference_napt_at() - a pool port
 * @napt: reference
 * @class: of it
 * @number: of it
 *
 * Return: the port, free or in use, or NULL when it is in no pool.
 */
const struct reference_port *reference_napt_at(const struct reference_napt *napt, unsigned class, uint16_t number)
{
	unsigned i = find(napt, class, number);

	return i < napt->ports ? &napt->port[i] : NULL;
}

/**
 * reference_napt_end() - a port is free again
 * @napt: reference
 * @class: of the port
 * @number: of it
 */
void reference_napt_end(struct reference_napt *napt, unsigned class, uint16_t number)
{
	unsigned i = find(napt, class, number);

	if (i == napt->ports || !napt->port[i].phase)
		abort();
	to_phase(napt, &napt->port[i], PHASE_FREE, 0);
}

/** class_of() - the class of a packet that is no error, or -1 and why it has none */
static int class_of(const struct pkt *pkt, enum verdict *verdict)
{
	int icmp = pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	*verdict = VERDICT_PASS;
	if (pkt->protocol == IPPROTO_TCP)
		return CLASS_IS_TCP;
	if (pkt->protocol == IPPROTO_UDP)
		return CLASS_IS_UDP;
	if (pkt->protocol == icmp && pkt->flags & (PKT_ICMP_REQUEST | PKT_ICMP_REPLY))
		return CLASS_IS_ICMP;
	*verdict = pkt->protocol == icmp ? VERDICT_ICMP_TYPE : VERDICT_PROTOCOL;
	return -1;
}

/** oldest() - the port of a class and phase that has waited or been idle for longest, or NULL */
static struct reference_port *oldest(struct reference_napt *napt, unsigned class, enum reference_phase phase)
{
	struct reference_port *found = NULL;

	for (unsigned i = 0; i < napt->ports; i++)
		if (napt->port[i].class == class && napt->port[i].phase == phase &&
		    (!found || napt->port[i].turn < found->turn))
			found = &napt->port[i];
	return found;
}

/** take() - a free port for somebody new, displaced if need be, or NULL */
static struct reference_port *take(struct reference_napt *napt, unsigned class, uint64_t now)
{
	static const enum reference_phase least_missed[] = {PHASE_CLOSING, PHASE_NEW, PHASE_ECHOED, PHASE_ANSWERED,
							    PHASE_ESTABLISHED};
	struct reference_port *port = oldest(napt, class, PHASE_FREE);

	for (unsigned i = 0; !port && i < sizeof(least_missed) / sizeof(*least_missed); i++) {
		port = oldest(napt, class, least_missed[i]);
		if (port && !idle_longer(port, now, patience[port->phase].displaced))
			port = NULL;
		if (!port)
			continue;
		if (reference_napt_over(port, now))
			napt->expired++;
		else
			napt->displaced++;
		to_phase(napt, port, PHASE_FREE, 0);
	}
	napt->exhausted += port == NULL;
	return port;
}

/** begin() - somebody has a free port from now on */
static void begin(struct reference_napt *napt, struct reference_port *port, const struct pkt *pkt, bool host,
		  const struct addr *outer)
{
	port->inner = pkt->src;
	port->inner_number = pkt->sport;
	port->host = host;
	port->outer = *outer;
	port->answered = port->fin_out = port->fin_in = false;
	port->phase = PHASE_NEW;
	napt->created++;
}

/** after_tcp() - the phase of a connection after a segment */
static enum reference_phase after_tcp(struct reference_port *port, uint8_t flags, bool out)
{
	bool syn = flags & TH_SYN, ack = flags & TH_ACK, fin = flags & TH_FIN;

	if (flags & TH_RST)
		return PHASE_CLOSING;
	if (out && syn && !ack) {
		port->answered = port->fin_out = port->fin_in = false;
		return PHASE_NEW;
	}
	port->answered = port->answered || !out;
	port->fin_out = port->fin_out || (out && fin);
	port->fin_in = port->fin_in || (!out && fin);
	if (port->fin_out && port->fin_in)
		return PHASE_CLOSING;
	return out && ack && port->answered ? PHASE_ESTABLISHED : port->phase;
}

/** use() - a packet goes by a port */
static void use(struct reference_napt *napt, struct reference_port *port, const struct pkt *pkt, bool out,
		uint64_t now)
{
	enum reference_phase phase = port->phase;

	if (!(pkt->flags & PKT_LATER)) {
		if (port->class == CLASS_IS_TCP)
			phase = after_tcp(port, pkt->tcp_flags, out);
		else if (!out)
			phase = port->class == CLASS_IS_UDP ? PHASE_ANSWERED : PHASE_ECHOED;
	}
	to_phase(napt, port, phase, now);
}

/** held_by() - the port that who sends a packet has already, or NULL */
static struct reference_port *held_by(struct reference_napt *napt, unsigned class, const struct pkt *pkt, bool host)
{
	for (unsigned i = 0; i < napt->ports; i++) {
		struct reference_port *port = &napt->port[i];

		if (port->phase && port->class == class && port->host == host && port->inner_number == pkt->sport &&
		    addr_eq(&port->inner, &pkt->src))
			return port;
	}
	return NULL;
}

/**
 * reference_napt_out() - the port that a client's packet leaves by
 * @napt: reference
 * @pkt: packet
 * @outer: address for a new one
 * @now: ns
 * @verdict: set
 *
 * Return: the port, or NULL.
 */
const struct reference_port *reference_napt_out(struct reference_napt *napt, const struct pkt *pkt,
						const struct addr *outer, uint64_t now, enum verdict *verdict)
{
	const struct addr *alias = &napt->alias[pkt->version == 6];
	bool host = !addr_is_any(alias) && addr_eq(alias, &pkt->dst), later = pkt->flags & PKT_LATER;
	struct reference_port *port;
	int class = class_of(pkt, verdict);

	if (class < 0)
		return NULL;
	port = held_by(napt, (unsigned)class, pkt, host);
	if (later && (!port || reference_napt_over(port, now))) {
		*verdict = VERDICT_ORPHAN_FRAGMENT;
		return NULL;
	}
	if (port && reference_napt_over(port, now)) {
		napt->expired++;
		to_phase(napt, port, PHASE_FREE, 0);
	}
	if (!port && !(port = take(napt, (unsigned)class, now))) {
		*verdict = VERDICT_NAPT_EXHAUSTED;
		return NULL;
	}
	if (!port->phase)
		begin(napt, port, pkt, host, outer);
	use(napt, port, pkt, true, now);
	return port;
}

/**
 * reference_napt_in() - the port that a packet comes in by
 * @napt: reference
 * @pkt: packet
 * @now: ns
 *
 * Return: the port, or NULL.
 */
const struct reference_port *reference_napt_in(struct reference_napt *napt, const struct pkt *pkt, uint64_t now)
{
	bool error = pkt->flags & PKT_ICMP_ERROR;
	struct pkt sent = {.version = pkt->version, .protocol = pkt->inner_protocol, .flags = PKT_ICMP_REQUEST};
	const struct addr *own = error ? &pkt->inner_src : &pkt->dst, *other = error ? &pkt->inner_dst : &pkt->src;
	enum verdict verdict;
	int class = class_of(error ? &sent : pkt, &verdict);
	unsigned i = class < 0 ? napt->ports : find(napt, (unsigned)class, error ? pkt->inner_sport : pkt->dport);
	struct reference_port *port = &napt->port[i];

	if (i == napt->ports || !port->phase || reference_napt_over(port, now) || !addr_eq(&port->outer, own))
		return NULL;
	if (port->host && !addr_eq(other, own))
		return NULL;
	if (!error)
		use(napt, port, pkt, false, now);
	return port;
}
