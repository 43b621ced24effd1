/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_policy.c: the verdict, reason by reason, in both families and directions
 *
 * Each test starts from a slice, a flow and a packet that passes, changes one
 * thing, and expects the one reason that this is.
 */
#include <check.h>

#include "packet.h"
#include "suite.h"
#include "util.h"

/* What a verdict is asked about; addresses and ports as in packet.h: local 4000, remote 80 */
struct fixture {
	unsigned version;
	struct policy_slice slice;
	struct policy_flow flow;
	const char *src, *dst;
	unsigned sport, dport;
};

/** second() - another address of the slice, in a family */
static const char *second(unsigned version)
{
	return version == 4 ? "192.0.2.2" : "2001:db8::2";
}

/** stranger() - an address that is not the slice's, in a family */
static const char *stranger(unsigned version)
{
	return version == 4 ? "192.0.2.3" : "2001:db8::3";
}

/** any() - the unset address of a family */
static const char *any(unsigned version)
{
	return version == 4 ? "0.0.0.0" : "::";
}

/** start() - a fixture whose packet passes when sent */
static struct fixture start(unsigned version, enum steer_class class)
{
	struct fixture f = {.version = version, .sport = 4000, .dport = 80};

	f.slice.addresses = 4;
	f.slice.address[0] = addr(local(4));
	f.slice.address[1] = addr(second(4));
	f.slice.address[2] = addr(local(6));
	f.slice.address[3] = addr(second(6));
	f.slice.denied = 2;
	prefix_parse("203.0.113.0/24", &f.slice.deny[0]);
	prefix_parse("2001:db8:bad::/48", &f.slice.deny[1]);
	f.flow.class = class;
	f.flow.family = version == 4 ? AF_INET : AF_INET6;
	f.flow.local = addr(local(version));
	f.flow.lo = f.flow.hi = 4000;
	f.src = local(version);
	f.dst = remote(version);
	return f;
}

/** connect_flow() - tie the fixture's flow to its remote */
static void connect_flow(struct fixture *f, uint16_t port)
{
	f->flow.remote = addr(remote(f->version));
	f->flow.remote_port = port;
}

/** upper() - append the transport header of a class */
static void upper(const struct fixture *f, struct packet *p, enum steer_class class, bool reply)
{
	if (class == CLASS_TCP)
		packet_tcp(p, f->sport, f->dport);
	else if (class == CLASS_UDP)
		packet_udp(p, f->sport, f->dport, 1);
	else if (class == CLASS_SCTP)
		packet_sctp(p, f->sport, f->dport);
	else if (class == CLASS_DCCP)
		packet_dccp(p, f->sport, f->dport, 0, 1);
	else if (class == CLASS_UDPLITE)
		packet_udplite(p, f->sport, f->dport, 0, 1);
	else
		packet_icmp(p, f->version == 4 ? (reply ? 0 : 8) : (reply ? 129 : 128), 0, f->sport);
}

/** parsed() - the fixture's packet, of a class; ICMP a request or a reply */
static struct pkt parsed(const struct fixture *f, enum steer_class class, bool reply)
{
	int family = f->version == 4 ? AF_INET : AF_INET6;
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, f->version, f->src, f->dst, (uint8_t)policy_protocol(class, family));
	upper(f, &p, class, reply);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	return pkt;
}

/** sent_class() - the verdict on sending a packet of a class, by name */
static const char *sent_class(const struct fixture *f, enum steer_class class)
{
	struct pkt pkt = parsed(f, class, false);

	return verdict_name(policy_send(&f->slice, &f->flow, &pkt));
}

/** sent() - the verdict on sending a packet of the flow's class, by name */
static const char *sent(const struct fixture *f)
{
	return sent_class(f, f->flow.class);
}

/** turned() - a fixture with the packet the other way round, as it comes back */
static struct fixture turned(struct fixture f)
{
	const char *src = f.src;
	unsigned sport = f.sport;

	f.src = f.dst;
	f.dst = src;
	if (f.flow.class != CLASS_ICMP) {
		f.sport = f.dport;
		f.dport = sport;
	}
	return f;
}

/** received_class() - the verdict on receiving a packet of a class, by name */
static const char *received_class(const struct fixture *f, enum steer_class class)
{
	struct pkt pkt = parsed(f, class, true);

	return verdict_name(policy_receive(&f->flow, &pkt));
}

/** received() - the verdict on receiving a packet of the flow's class, by name */
static const char *received(const struct fixture *f)
{
	return received_class(f, f->flow.class);
}

/** received_error() - the verdict on an ICMP error that quotes what the fixture sends, by name */
static const char *received_error(const struct fixture *f, enum steer_class class, const char *to)
{
	int family = f->version == 4 ? AF_INET : AF_INET6;
	struct addr destination = addr(to);
	struct packet inner, p;
	struct pkt pkt;

	packet_ip(&inner, f->version, f->src, f->dst, (uint8_t)policy_protocol(class, family));
	upper(f, &inner, class, false);
	packet_end(&inner);
	packet_error(&p, f->version == 4 ? 3 : 1, &inner, inner.len);
	if (f->version == 4)
		memcpy(p.b + 16, destination.b + 12, 4);
	else
		memcpy(p.b + 24, destination.b, 16);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	return verdict_name(policy_receive(&f->flow, &pkt));
}

/* A loop index is a family and a class */
#define LOOPS (2 * STEER_PORT_CLASSES)
#define LOOP_VERSION(i) versions[(i) / STEER_PORT_CLASSES]
#define LOOP_CLASS(i) ((enum steer_class)((i) % STEER_PORT_CLASSES))

START_TEST(send_passes)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i));

	ck_assert_str_eq(sent(&f), "pass");
	connect_flow(&f, 0);
	ck_assert_str_eq(sent(&f), "pass");
	if (f.flow.class != CLASS_ICMP) {
		connect_flow(&f, 80);
		ck_assert_str_eq(sent(&f), "pass");
	}
	f.src = any(f.version);
	ck_assert_str_eq(sent(&f), "pass");
	f.flow.family = AF_UNSPEC;
	f.flow.local = addr("::");
	f.src = second(f.version);
	ck_assert_str_eq(sent(&f), "pass");
	f.flow.lo = 1;
	f.flow.hi = 65535;
	ck_assert_str_eq(sent(&f), "pass");
}
END_TEST

START_TEST(send_read_only)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i));

	f.flow.read_only = true;
	ck_assert_str_eq(sent(&f), "read-only");
}
END_TEST

START_TEST(send_protocol)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i)), other;
	unsigned class;
	struct packet p;
	struct pkt pkt;

	for (class = 0; class < STEER_PORT_CLASSES; class += 1)
		ck_assert_str_eq(sent_class(&f, class), class == f.flow.class ? "pass" : "protocol");
	other = start(10 - f.version, f.flow.class);
	other.flow = f.flow;
	ck_assert_str_eq(sent(&other), "protocol");
	packet_ip(&p, f.version, f.src, f.dst, 89);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_int_eq(policy_send(&f.slice, &f.flow, &pkt), VERDICT_PROTOCOL);
	/* the other family's ICMP */
	packet_ip(&p, f.version, f.src, f.dst, icmp_protocol(10 - f.version));
	packet_icmp(&p, f.version == 4 ? 128 : 8, 0, f.sport);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_int_eq(policy_send(&f.slice, &f.flow, &pkt), VERDICT_PROTOCOL);
}
END_TEST

START_TEST(send_fragment)
{
	const unsigned version = versions[_i];
	struct fixture f = start(version, CLASS_UDP);
	struct packet p;
	struct pkt pkt;
	unsigned later;

	for (later = 0; later < 2; later++) {
		packet_ip(&p, version, f.src, f.dst, version == 4 ? IPPROTO_UDP : IPPROTO_FRAGMENT);
		if (version == 4)
			packet_u16(&p, 6, later ? 1 : 0x2000);
		else
			PACKET_ADD(&p, IPPROTO_UDP, 0, 0, (uint8_t)(later ? 8 : 1), 0, 0, 0, 1);
		packet_udp(&p, f.sport, f.dport, 0);
		packet_end(&p);
		ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
		f.slice.fragments = false;
		ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), "fragment");
		f.slice.fragments = true;
		ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), "pass");
	}
}
END_TEST

/* What can be seen of a later fragment is judged, what cannot is its first one's */
START_TEST(send_later_fragment)
{
	const unsigned version = versions[_i];
	struct fixture f = start(version, CLASS_UDP);
	struct policy_flow flow = f.flow;
	struct pkt pkt = {.version = (uint8_t)version, .flags = PKT_FRAGMENT | PKT_LATER, .from = 64, .to = 72};

	f.slice.fragments = true;
	pkt.protocol = (uint8_t)policy_protocol(CLASS_UDP, flow.family);
	pkt.src = addr(f.src);
	pkt.dst = addr(f.dst);
	flow.class = CLASS_UDP;
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "pass");
	flow.remote = addr(remote(version));
	flow.remote_port = 80;
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "pass");
	flow.remote = addr(stranger(version));
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "remote");
	flow.remote = addr("::");
	flow.class = CLASS_TCP; /* which IPv6 says in the first fragment alone */
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), version == 4 ? "protocol" : "pass");
	flow.class = CLASS_UDP;
	flow.family = version == 4 ? AF_INET6 : AF_INET;
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "protocol");
	flow.family = AF_UNSPEC;
	pkt.src = addr(stranger(version));
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "source");
	pkt.src = addr(f.src);
	pkt.dst = addr(version == 4 ? "203.0.113.9" : "2001:db8:bad::9");
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)), "denied");
	pkt.flags |= PKT_SOURCE_ROUTE;
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &flow, &pkt)),
			 version == 4 ? "source-route" : "routing-header");
}
END_TEST

START_TEST(source_route)
{
	const unsigned version = versions[_i];
	struct fixture f = start(version, CLASS_UDP), back = turned(f);
	const char *name = version == 4 ? "source-route" : "routing-header";
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, version, f.src, f.dst, version == 4 ? IPPROTO_UDP : IPPROTO_ROUTING);
	if (version == 4) {
		p.b[0] = 0x47;
		PACKET_ADD(&p, 131, 7, 4, 198, 51, 100, 9, 0);
	} else {
		PACKET_ADD(&p, IPPROTO_UDP, 0, 0, 0, 0, 0, 0, 0);
	}
	packet_udp(&p, f.sport, f.dport, 0);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), name);
	pkt.src = addr(back.src);
	pkt.dst = addr(back.dst);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), name);
}
END_TEST

START_TEST(send_icmp_type)
{
	const unsigned version = versions[_i];
	struct fixture f = start(version, CLASS_ICMP);
	struct packet p, inner;
	struct pkt pkt;
	unsigned type;

	packet_ip(&inner, version, f.dst, f.src, IPPROTO_TCP);
	packet_tcp(&inner, 80, 4000);
	packet_end(&inner);
	for (type = 0; type < 256; type++) {
		bool ok = version == 4 ? type == 0 || type == 8 || type == 13 || type == 14
				       : type == 128 || type == 129;

		packet_ip(&p, version, f.src, f.dst, icmp_protocol(version));
		packet_icmp(&p, (uint8_t)type, 0, f.sport);
		packet_add(&p, inner.b, inner.len);
		packet_end(&p);
		ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
		ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), ok ? "pass" : "icmp-type");
	}
}
END_TEST

START_TEST(send_source)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i));

	f.src = second(f.version); /* the slice's, but not the flow's */
	ck_assert_str_eq(sent(&f), "source");
	f.src = stranger(f.version);
	ck_assert_str_eq(sent(&f), "source");
	f.flow.local = addr("::");
	ck_assert_str_eq(sent(&f), "source");
	f.flow.local = addr(any(f.version));
	ck_assert_str_eq(sent(&f), "source");
	f.src = second(f.version);
	ck_assert_str_eq(sent(&f), "pass");
	f.slice.addresses = 0;
	ck_assert_str_eq(sent(&f), "source");
}
END_TEST

START_TEST(send_port)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i));

	f.flow.lo = 3999;
	f.flow.hi = 4001;
	for (f.sport = 3997; f.sport < 4004; f.sport++)
		ck_assert_str_eq(sent(&f), f.sport >= 3999 && f.sport <= 4001 ? "pass" : "port");
	f.sport = 0;
	ck_assert_str_eq(sent(&f), "port");
}
END_TEST

START_TEST(send_remote)
{
	struct fixture f = start(LOOP_VERSION(_i), LOOP_CLASS(_i));

	connect_flow(&f, 0);
	f.dst = stranger(f.version);
	ck_assert_str_eq(sent(&f), "remote");
	f.dst = remote(f.version);
	f.dport = 81;
	ck_assert_str_eq(sent(&f), "pass");
	connect_flow(&f, 80);
	ck_assert_str_eq(sent(&f), "remote");
}
END_TEST

/* Destinations, and what is said to them */
static const struct destination {
	const char *text, *verdict;
} destinations[] = {
	{"0.0.0.0", "unspecified"},
	{"0.0.0.1", "unspecified"}, /* "this network" */
	{"0.255.255.255", "unspecified"},
	{"1.0.0.0", "pass"},
	{"127.0.0.1", "loopback"},
	{"127.255.255.255", "loopback"},
	{"224.0.0.1", "multicast"},
	{"239.255.255.255", "multicast"},
	{"255.255.255.255", "broadcast"},
	{"169.254.0.1", "link-local"},
	{"169.254.169.254", "link-local"},
	{"203.0.113.0", "denied"},
	{"203.0.113.255", "denied"},
	{"203.0.112.255", "pass"},
	{"203.0.114.0", "pass"},
	{"126.255.255.255", "pass"},
	{"128.0.0.1", "pass"},
	{"223.255.255.255", "pass"},
	{"169.253.255.255", "pass"},
	{"192.0.2.1", "pass"}, /* one of ours: steering's to say */
	{"::", "unspecified"},
	{"::1", "loopback"},
	{"::127.0.0.1", "loopback"}, /* IPv4-compatible */
	{"::192.0.2.1", "loopback"},
	{"::2", "loopback"},
	{"ff02::1", "multicast"},
	{"ff0e::1", "multicast"},
	{"fe80::1", "link-local"},
	{"febf:ffff::1", "link-local"},
	{"2001:db8:bad::", "denied"},
	{"2001:db8:bad:ffff:ffff:ffff:ffff:ffff", "denied"},
	{"2001:db8:bae::", "pass"},
	{"fec0::1", "pass"},
	{"0:0:0:0:0:1::", "pass"},
	{"fd00::1", "pass"},
};

START_TEST(send_destination)
{
	const struct destination *d = &destinations[_i];
	struct fixture f = start(strchr(d->text, ':') ? 6 : 4, CLASS_UDP);

	f.dst = d->text;
	ck_assert_str_eq(sent(&f), d->verdict);
	f.flow.class = CLASS_ICMP;
	ck_assert_str_eq(sent(&f), d->verdict);
}
END_TEST

START_TEST(receive_passes)
{
	struct fixture f = turned(start(LOOP_VERSION(_i), LOOP_CLASS(_i)));

	ck_assert_str_eq(received(&f), "pass");
	f.flow.read_only = true;
	ck_assert_str_eq(received(&f), "pass");
	connect_flow(&f, f.flow.class == CLASS_ICMP ? 0 : 80);
	ck_assert_str_eq(received(&f), "pass");
	f.flow.family = AF_UNSPEC;
	f.flow.local = addr("::");
	f.dst = second(f.version);
	ck_assert_str_eq(received(&f), "pass");
}
END_TEST

START_TEST(receive_refused)
{
	const struct fixture good = turned(start(LOOP_VERSION(_i), LOOP_CLASS(_i)));
	struct fixture f = good;
	unsigned class;

	for (class = 0; class < STEER_PORT_CLASSES; class += 1)
		ck_assert_str_eq(received_class(&f, class), class == f.flow.class ? "pass" : "protocol");
	f.flow.family = f.version == 4 ? AF_INET6 : AF_INET;
	ck_assert_str_eq(received(&f), "protocol");
	f = good;
	f.dst = second(f.version);
	ck_assert_str_eq(received(&f), "no-flow");
	f = good;
	f.flow.lo = f.flow.hi = 4001;
	ck_assert_str_eq(received(&f), "no-flow");
	f.flow.lo = f.flow.hi = 3999;
	ck_assert_str_eq(received(&f), "no-flow");
	f = good;
	connect_flow(&f, 0);
	f.src = stranger(f.version);
	ck_assert_str_eq(received(&f), "no-flow");
	f.src = remote(f.version);
	f.flow.remote_port = 79;
	ck_assert_str_eq(received(&f), "no-flow");
}
END_TEST

START_TEST(receive_checksum)
{
	struct fixture f = turned(start(4, CLASS_UDP));
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, 4, f.src, f.dst, IPPROTO_UDP);
	packet_udp(&p, f.sport, f.dport, 0);
	packet_end(&p);
	p.b[10] ^= 0x10;
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "checksum");
	f = turned(f);
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), "source");
	pkt.src = addr(f.src);
	pkt.dst = addr(f.dst);
	pkt.sport = 4000;
	ck_assert_str_eq(verdict_name(policy_send(&f.slice, &f.flow, &pkt)), "pass"); /* pkt_fill() sets it right */
}
END_TEST

START_TEST(receive_martian)
{
	static const char *const sources[] = {"0.0.0.0",         "0.1.2.3", "127.0.0.1", "127.9.9.9", "224.0.0.1",
					      "255.255.255.255", "::",      "::1",       "ff02::1",   "::192.0.2.9"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sources); i++) {
		struct fixture f = turned(start(strchr(sources[i], ':') ? 6 : 4, CLASS_TCP));

		f.src = sources[i];
		ck_assert_str_eq(received(&f), "martian");
	}
}
END_TEST

START_TEST(receive_icmp_type)
{
	const unsigned version = versions[_i];
	struct fixture f = turned(start(version, CLASS_ICMP));
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, version, f.src, f.dst, icmp_protocol(version));
	packet_icmp(&p, version == 4 ? 8 : 128, 0, 4000);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow"); /* the host's to answer */
	packet_ip(&p, version, f.src, f.dst, icmp_protocol(version));
	packet_icmp(&p, version == 4 ? 10 : 133, 0, 4000);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "icmp-type");
}
END_TEST

START_TEST(receive_later_fragment)
{
	const unsigned version = versions[_i];
	struct fixture f = turned(start(version, CLASS_UDP));
	struct packet p;
	struct pkt pkt;

	packet_ip(&p, version, f.src, f.dst, version == 4 ? IPPROTO_UDP : IPPROTO_FRAGMENT);
	if (version == 4)
		packet_u16(&p, 6, 1);
	else
		PACKET_ADD(&p, IPPROTO_UDP, 0, 0, 8, 0, 0, 0, 1);
	packet_add(&p, NULL, 8);
	packet_end(&p);
	ck_assert_int_eq(packet_parse(&pkt, &p, false), VERDICT_PASS);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "pass");
	connect_flow(&f, 80);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "pass");
	f.flow.remote = addr(stranger(version));
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow");
	f.flow.remote = addr("::");
	f.flow.local = addr(second(version));
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow");
	f.flow.local = addr("::");
	f.flow.class = CLASS_TCP; /* in IPv6 the first fragment alone tells the protocol */
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), version == 4 ? "protocol" : "pass");
	f.flow.family = version == 4 ? AF_INET6 : AF_INET;
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "protocol");
}
END_TEST

START_TEST(receive_errors)
{
	const struct fixture good = start(LOOP_VERSION(_i), LOOP_CLASS(_i));
	struct fixture f = good;
	unsigned class;

	for (class = 0; class < STEER_PORT_CLASSES; class += 1)
		ck_assert_str_eq(received_error(&f, class, f.src), class == f.flow.class ? "pass" : "protocol");
	ck_assert_str_eq(received_error(&f, f.flow.class, second(f.version)), "no-flow"); /* made up */
	f.src = second(f.version);
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "no-flow");
	f.flow.local = addr("::");
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "pass");
	f = good;
	f.flow.lo = f.flow.hi = 4001;
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "no-flow");
	f = good;
	connect_flow(&f, f.flow.class == CLASS_ICMP ? 0 : 80);
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "pass");
	f.flow.remote_port = 79;
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "no-flow");
	connect_flow(&f, 0);
	f.dst = stranger(f.version);
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "no-flow");
}
END_TEST

/** proxied() - an address in the fixture's proxied prefix of a family: its first, one inside, its last, the next */
static const char *proxied(unsigned version, unsigned which)
{
	static const char *const v4[] = {"198.51.100.64", "198.51.100.69", "198.51.100.79", "198.51.100.80"};
	static const char *const v6[] = {"2001:db8:9::", "2001:db8:9::5", "2001:db8:9:0:ffff:ffff:ffff:ffff",
					 "2001:db8:9:1::"};

	return version == 4 ? v4[which] : v6[which];
}

/** start_proxied() - a fixture whose flow has one proxied address, or the prefix that it is in */
static struct fixture start_proxied(unsigned version, enum steer_class class, bool whole)
{
	struct fixture f = start(version, class);

	f.slice.proxied = 2;
	prefix_parse("198.51.100.64/28", &f.slice.prefix[0]);
	prefix_parse("2001:db8:9::/64", &f.slice.prefix[1]);
	f.flow.local = addr(proxied(version, whole ? 0 : 1));
	f.flow.local_len = whole ? f.slice.prefix[version == 6].len : 0;
	f.flow.proxied = true;
	f.src = proxied(version, 1);
	return f;
}

/* One proxied address: as an own one */
START_TEST(proxied_address)
{
	const struct fixture good = start_proxied(LOOP_VERSION(_i), LOOP_CLASS(_i), false);
	struct fixture f = good, back = turned(good);

	ck_assert_str_eq(sent(&f), "pass");
	ck_assert_str_eq(received(&back), "pass");
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "pass");
	f.src = any(f.version);
	ck_assert_str_eq(sent(&f), "pass");
	f.src = proxied(f.version, 2);
	back = turned(f);
	ck_assert_str_eq(sent(&f), "source");
	ck_assert_str_eq(received(&back), "no-flow");
	ck_assert_str_eq(received_error(&f, f.flow.class, f.src), "no-flow");
}
END_TEST

/* A whole prefix: any address of it, none beside it, and none to fill in */
START_TEST(proxied_prefix)
{
	struct fixture f = start_proxied(LOOP_VERSION(_i), LOOP_CLASS(_i), true), back;
	unsigned which;

	for (which = 0; which < 4; which++) {
		f.src = proxied(f.version, which);
		back = turned(f);
		ck_assert_str_eq(sent(&f), which < 3 ? "pass" : "source");
		ck_assert_str_eq(received(&back), which < 3 ? "pass" : "no-flow");
		ck_assert_str_eq(received_error(&f, f.flow.class, f.src), which < 3 ? "pass" : "no-flow");
	}
	f.src = any(f.version);
	ck_assert_str_eq(sent(&f), "source");
	f.src = local(f.version);
	back = turned(f);
	ck_assert_str_eq(sent(&f), "source");
	ck_assert_str_eq(received(&back), "no-flow");
}
END_TEST

/* A flow that names no address has none that is proxied */
START_TEST(proxied_unnamed)
{
	struct fixture f = start_proxied(LOOP_VERSION(_i), LOOP_CLASS(_i), false);

	f.flow.local = addr("::");
	f.flow.proxied = false;
	ck_assert_str_eq(sent(&f), "source");
	f.src = local(f.version);
	ck_assert_str_eq(sent(&f), "pass");
}
END_TEST

/* Nobody else answers what is asked of a proxied address */
START_TEST(proxied_requests)
{
	struct fixture f = start_proxied(versions[_i], CLASS_ICMP, true), back = turned(f);
	struct pkt pkt = parsed(&back, CLASS_ICMP, false);

	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "pass");
	f.flow.remote = addr(stranger(f.version));
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow");
	f.flow.remote = addr("::");
	f.flow.lo = f.flow.hi = 4001;
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow");
	f = start(f.version, CLASS_ICMP);
	back = turned(f);
	pkt = parsed(&back, CLASS_ICMP, false);
	ck_assert_str_eq(verdict_name(policy_receive(&f.flow, &pkt)), "no-flow");
}
END_TEST

/** policy_suite() - all tests of this file */
static Suite *policy_suite(void)
{
	Suite *suite = suite_create("policy");
	TCase *sending = tcase_create("send"), *receiving = tcase_create("receive"), *proxy = tcase_create("proxied");

	tcase_add_loop_test(sending, send_passes, 0, LOOPS);
	tcase_add_loop_test(sending, send_read_only, 0, LOOPS);
	tcase_add_loop_test(sending, send_protocol, 0, LOOPS);
	tcase_add_loop_test(sending, send_fragment, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(sending, send_later_fragment, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(sending, source_route, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(sending, send_icmp_type, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(sending, send_source, 0, LOOPS);
	tcase_add_loop_test(sending, send_port, 0, LOOPS);
	tcase_add_loop_test(sending, send_remote, 0, LOOPS);
	tcase_add_loop_test(sending, send_destination, 0, ARRAY_SIZE(destinations));
	suite_add_tcase(suite, sending);
	tcase_add_loop_test(receiving, receive_passes, 0, LOOPS);
	tcase_add_loop_test(receiving, receive_refused, 0, LOOPS);
	tcase_add_test(receiving, receive_checksum);
	tcase_add_test(receiving, receive_martian);
	tcase_add_loop_test(receiving, receive_icmp_type, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(receiving, receive_later_fragment, 0, ARRAY_SIZE(versions));
	tcase_add_loop_test(receiving, receive_errors, 0, LOOPS);
	suite_add_tcase(suite, receiving);
	tcase_add_loop_test(proxy, proxied_address, 0, LOOPS);
	tcase_add_loop_test(proxy, proxied_prefix, 0, LOOPS);
	tcase_add_loop_test(proxy, proxied_unnamed, 0, LOOPS);
	tcase_add_loop_test(proxy, proxied_requests, 0, ARRAY_SIZE(versions));
	suite_add_tcase(suite, proxy);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(policy_suite());
}
