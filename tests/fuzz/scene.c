/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scene.c: slices and flows that packets are judged for, by the verdict and by the reference
 *
 * All flows are of one slice, which has two addresses and a proxied prefix of
 * each family, and a deny-list. There is one for every class with every way to
 * set a flow up: family, local address (none, an own one, a proxied one, or the
 * prefix), remote, one port or several, read only or not. Each is described
 * twice, once for shim/policy.c and once for the reference.
 *
 * scene_agree() is what it is all about: both judge one packet in both
 * directions. The verdict must be a reason that the reference finds too, and
 * must be "pass" exactly when the reference finds none. Two that disagree are
 * printed, with the packet, so that it can be made a test.
 */
#include "scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkt.h"
#include "util.h"

#define SCENES_MAX 2048
#define CLASSES (REFERENCE_CLASSES + 1) /* those with ports, and grants */
#define PORT_FIRST 4000
#define PORT_LAST 4099
#define REMOTE_PORT 443

/* The slice's own addresses come first, then the remote that flows are connected to, proxied ones, and others */
#define OWN 2
#define PROXIED 3 /* the first address of the prefix, one inside, the last */
#define PROXIED_N 3
static const char *const addresses4[] = {
	"192.0.2.1",     "192.0.2.2",   "198.51.100.7",  "198.51.100.64",   "198.51.100.69",
	"198.51.100.79", "203.0.113.5", "198.51.100.80", "169.254.169.254", "127.0.0.1",
	"0.0.0.0",       "0.1.2.3",     "224.0.0.1",     "239.1.2.3",       "255.255.255.255",
	"240.0.0.1",     "10.1.2.3",    "169.254.1.1",   "192.0.2.3",       "198.51.100.63",
};
static const char *const addresses6[] = {
	"2001:db8::1",
	"2001:db8::2",
	"2001:db8:7::7",
	"2001:db8:9::",
	"2001:db8:9::5",
	"2001:db8:9:0:ffff:ffff:ffff:ffff",
	"2001:db8:bad::1",
	"2001:db8:9:1::",
	"fd00:ec2::254",
	"::1",
	"::",
	"::2",
	"::192.0.2.1",
	"::ffff:192.0.2.1",
	"ff02::1",
	"fe80::1",
	"febf::1",
	"fec0::1",
	"64:ff9b::1",
	"2001:db8::3",
};
static const char *const proxied[] = {"198.51.100.64/28", "2001:db8:9::/64"};
static const char *const denied[] = {"169.254.169.254/32", "fd00:ec2::254/128", "203.0.113.0/24", "2001:db8:bad::/48",
				     "10.0.0.0/9"};

static const uint16_t ports[] = {PORT_FIRST,    PORT_LAST, PORT_FIRST + 50, PORT_FIRST - 1,
				 PORT_LAST + 1, 0,         65535,           REMOTE_PORT};

/* Everything above as bytes, made once */
static struct {
	bool made;
	unsigned scenes;
	uint8_t address4[ARRAY_SIZE(addresses4)][16], address6[ARRAY_SIZE(addresses6)][16];
	struct policy_slice slice;
	struct reference_slice reference;
	struct scene scene[SCENES_MAX];
	const char *name[VERDICTS_N];
} all;

/** read_address() - bytes of an address that is one */
static void read_address(unsigned version, const char *text, uint8_t bytes[static 16])
{
	if (inet_pton(version == 4 ? AF_INET : AF_INET6, text, bytes) != 1)
		abort();
}

/** make_reference() - an address as the reference has it */
static struct reference_address make_reference(unsigned version, const uint8_t *bytes)
{
	struct reference_address address = {.version = version};

	memcpy(address.byte, bytes, version == 4 ? 4 : 16);
	return address;
}

/** make_policy() - an address as the verdict has it */
static struct addr make_policy(unsigned version, const uint8_t *bytes)
{
	return version == 4 ? addr_from_v4(bytes) : addr_from_v6(bytes);
}

/** make_prefix() - a prefix, for both sides */
static void make_prefix(const char *text, struct prefix *policy, struct reference_prefix *reference)
{
	char address[ADDR_TEXT_MAX], *slash;

	if (!prefix_parse(text, policy))
		abort();
	snprintf(address, sizeof(address), "%s", text);
	slash = strchr(address, '/');
	*slash = '\0';
	reference->bits = (unsigned)strtoul(slash + 1, NULL, 10);
	reference->address.version = strchr(address, ':') ? 6 : 4;
	read_address(reference->address.version, address, reference->address.byte);
}

/** make_slice() - the slice, for both sides */
static void make_slice(void)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(addresses4); i++)
		read_address(4, addresses4[i], all.address4[i]);
	for (i = 0; i < ARRAY_SIZE(addresses6); i++)
		read_address(6, addresses6[i], all.address6[i]);
	for (i = 0; i < OWN; i++) {
		all.slice.address[all.slice.addresses++] = make_policy(4, all.address4[i]);
		all.slice.address[all.slice.addresses++] = make_policy(6, all.address6[i]);
		all.reference.address[all.reference.addresses++] = make_reference(4, all.address4[i]);
		all.reference.address[all.reference.addresses++] = make_reference(6, all.address6[i]);
	}
	for (i = 0; i < ARRAY_SIZE(proxied); i++)
		make_prefix(proxied[i], &all.slice.prefix[i], &all.reference.prefix[i]);
	all.slice.proxied = all.reference.proxied = ARRAY_SIZE(proxied);
	for (i = 0; i < ARRAY_SIZE(denied); i++)
		make_prefix(denied[i], &all.slice.deny[i], &all.reference.deny[i]);
	all.slice.denied = all.reference.denied = ARRAY_SIZE(denied);
}

/* What a flow has for a local address */
enum local { LOCAL_ANY, LOCAL_OWN, LOCAL_PROXIED, LOCAL_PREFIX, LOCALS };

/* One way to set up a flow */
struct setup {
	unsigned class, version;
	enum local local;
	bool remote, remote_port, read_only;
	uint16_t lo, hi;
};

/** make_local() - describe a flow's local address to both sides */
static void make_local(struct scene *scene, const struct setup *setup)
{
	static const unsigned indices[LOCALS] = {0, 0, PROXIED + 1, PROXIED};
	unsigned version = setup->version, prefix = version == 6;
	const uint8_t *address =
		version == 6 ? all.address6[indices[setup->local]] : all.address4[indices[setup->local]];

	if (setup->local == LOCAL_ANY)
		return;
	scene->flow.local = make_policy(version, address);
	scene->reference.local = make_reference(version, address);
	scene->flow.proxied = scene->reference.proxied = setup->local != LOCAL_OWN;
	if (setup->local == LOCAL_PREFIX) {
		scene->flow.local_len = all.slice.prefix[prefix].len;
		scene->reference.local_bits = all.reference.prefix[prefix].bits;
	}
}

/** make_scene() - describe a flow to both sides */
static void make_scene(const struct setup *setup)
{
	static const enum reference_class classes[] = {
		[CLASS_TCP] = REFERENCE_TCP,     [CLASS_UDP] = REFERENCE_UDP,   [CLASS_ICMP] = REFERENCE_ICMP,
		[CLASS_SCTP] = REFERENCE_SCTP,   [CLASS_DCCP] = REFERENCE_DCCP, [CLASS_UDPLITE] = REFERENCE_UDPLITE,
		[CLASS_GRANT] = REFERENCE_GRANT,
	};
	struct scene *scene = &all.scene[all.scenes++];
	unsigned version = setup->version;

	if (all.scenes > SCENES_MAX)
		abort();
	scene->fragments = all.scenes / 3 % 2; /* with each kind of flow, and without */
	scene->flow = (struct policy_flow){.class = (uint8_t)setup->class,
					   .family = version == 4   ? AF_INET
						     : version == 6 ? AF_INET6
								    : AF_UNSPEC,
					   .lo = setup->lo,
					   .hi = setup->hi,
					   .read_only = setup->read_only};
	scene->reference = (struct reference_flow){.class = classes[setup->class],
						   .version = version,
						   .first = setup->lo,
						   .last = setup->hi,
						   .read_only = setup->read_only};
	make_local(scene, setup);
	if (setup->remote) {
		scene->flow.remote = make_policy(version, version == 4 ? all.address4[OWN] : all.address6[OWN]);
		scene->reference.remote =
			make_reference(version, version == 4 ? all.address4[OWN] : all.address6[OWN]);
	}
	if (setup->class == CLASS_GRANT) {
		scene->flow.protocol = setup->lo == setup->hi ? 47 : setup->lo ? 89 : 4;
		scene->reference.protocol = scene->flow.protocol;
		scene->flow.key = scene->reference.key = setup->lo == setup->hi ? setup->lo : 0;
	}
	if (setup->remote_port)
		scene->flow.remote_port = scene->reference.remote_port = REMOTE_PORT;
}

/** make_flows() - the flows that have a local address, if they have one, of some kind */
static void make_flows(enum local local)
{
	static const uint16_t range[][2] = {{PORT_FIRST, PORT_FIRST}, {PORT_FIRST, PORT_LAST}, {0, 65535}};
	unsigned bits;

	for (bits = 0; bits < 16 * CLASSES * ARRAY_SIZE(range) * 3; bits++) {
		unsigned rest = bits / 16 / CLASSES;
		struct setup setup = {.class = bits / 16 % CLASSES,
				      .version = rest % 3 == 0   ? 0
						 : rest % 3 == 1 ? 4
								 : 6,
				      .local = bits & 1 ? local : LOCAL_ANY,
				      .remote = bits & 2,
				      .remote_port = bits & 4,
				      .read_only = (bits & 15) == 8,
				      .lo = range[rest / 3][0],
				      .hi = range[rest / 3][1]};

		if ((bits & 8 && !setup.read_only) || (!setup.version && bits & 7) ||
		    (local != LOCAL_OWN && !setup.local) ||
		    (setup.remote_port && (!setup.remote || setup.class == CLASS_ICMP || setup.class == CLASS_GRANT)))
			continue;
		make_scene(&setup);
	}
}

/** make_all() - the slice and every flow */
static void make_all(void)
{
	unsigned i;

	make_slice();
	for (i = 0; i < VERDICTS_N; i++)
		all.name[i] = i == VERDICT_PASS ? NULL : verdict_name((enum verdict)i);
	for (i = LOCAL_OWN; i < LOCALS; i++)
		make_flows(i);
	all.made = true;
}

/**
 * scene_count() - how many scenes there are
 */
unsigned scene_count(void)
{
	if (!all.made)
		make_all();
	return all.scenes;
}

/**
 * scene_get() - a scene
 * @number: of it, less than scene_count()
 */
const struct scene *scene_get(unsigned number)
{
	return &all.scene[number % scene_count()];
}

/** pick() - mostly the first of several, which is right */
static unsigned pick(struct dice *dice, unsigned right, unsigned limit)
{
	return dice_one_in(dice, 6) ? dice_below(dice, limit) : right;
}

/** own_address() - which address, by number, a scene's flow would have at its own end */
static unsigned own_address(const struct policy_flow *flow, struct dice *dice)
{
	if (!flow->proxied)
		return addr_is_any(&flow->local) ? dice_below(dice, OWN) : 0;
	return PROXIED + (flow->local_len ? dice_below(dice, PROXIED_N) : 1);
}

/**
 * scene_plan() - who speaks to whom, mostly as a scene's flow would
 * @scene: scene
 * @dice: dice
 */
struct shape_plan scene_plan(const struct scene *scene, struct dice *dice)
{
	static const uint8_t protocols[] = {1, 6, 17, 58, 47, 132, 136, 33, 2, 4, 41, 89};
	const struct policy_flow *flow = &scene->flow;
	unsigned own = pick(dice, own_address(flow, dice), ARRAY_SIZE(addresses4));
	unsigned other = pick(dice, OWN, ARRAY_SIZE(addresses4));
	struct shape_plan plan = {.version = scene->reference.version, .arrives = dice_one_in(dice, 2)};

	if (!plan.version || dice_one_in(dice, 24))
		plan.version = dice_one_in(dice, 2) ? 4 : 6;
	plan.protocol = flow->protocol;
	if (flow->class != CLASS_GRANT)
		plan.protocol = (unsigned)policy_protocol(flow->class, plan.version == 6 ? AF_INET6 : AF_INET);
	if (dice_one_in(dice, 12))
		plan.protocol = protocols[dice_below(dice, ARRAY_SIZE(protocols))];
	memcpy(plan.own, plan.version == 4 ? all.address4[own] : all.address6[own], 16);
	memcpy(plan.other, plan.version == 4 ? all.address4[other] : all.address6[other], 16);
	plan.own_port = ports[pick(dice, 0, ARRAY_SIZE(ports))];
	plan.other_port = ports[pick(dice, ARRAY_SIZE(ports) - 1, ARRAY_SIZE(ports))];
	if (plan.version == 4 && !plan.arrives && dice_one_in(dice, 32))
		memset(plan.own, 0, 4); /* to be filled in */
	return plan;
}

/** tell() - print what the two disagree about */
static void tell(const struct scene *scene, const uint8_t *packet, size_t size, const char *what,
		 enum verdict verdict, reference_set reference)
{
	char text[256];
	size_t at;

	fprintf(stderr, "%s: the verdict is \"%s\", the reference says \"%s\"\n", what, verdict_name(verdict),
		reference_text(reference, text));
	fprintf(stderr,
		"scene %td: class %s family %u local %d proxied %d bits %u remote %d port %u ports %u-%u read-only "
		"%d fragments %d\npacket",
		scene - all.scene, policy_class_name(scene->flow.class), scene->reference.version,
		scene->reference.local.version != 0, scene->reference.proxied, scene->reference.local_bits,
		scene->reference.remote.version != 0, scene->flow.remote_port, scene->flow.lo, scene->flow.hi,
		scene->flow.read_only, scene->fragments);
	for (at = 0; at < size; at++)
		fprintf(stderr, "%s%02x", at % 4 ? "" : " ", packet[at]);
	fprintf(stderr, "\n");
}

/** same() - whether a verdict is what the reference says */
static bool same(enum verdict verdict, reference_set reference)
{
	return verdict == VERDICT_PASS ? !reference : reference_has(reference, all.name[verdict]);
}

/**
 * scene_agree() - whether verdict and reference say the same of a packet
 * @scene: for whom it is judged
 * @packet: its first byte
 * @size: bytes
 * @padded: whether, as a packet that arrives, it may have bytes behind its end
 * @tally: counts the verdicts
 *
 * Return: false when they do not; then that has been printed.
 */
bool scene_agree(const struct scene *scene, const uint8_t *packet, size_t size, bool padded,
		 struct scene_tally *tally)
{
	struct pkt pkt;
	enum verdict verdict = pkt_parse(&pkt, packet, size, false);
	reference_set reference;
	bool agree;

	all.slice.fragments = all.reference.fragments = scene->fragments;
	reference = reference_send(&all.reference, &scene->reference, packet, size);
	if (verdict == VERDICT_PASS)
		verdict = policy_send(&all.slice, &scene->flow, &pkt);
	tally->sent[verdict]++;
	agree = same(verdict, reference);
	if (!agree)
		tell(scene, packet, size, "send", verdict, reference);

	verdict = pkt_parse(&pkt, packet, size, padded);
	reference = reference_receive(&scene->reference, packet, size, padded);
	if (verdict == VERDICT_PASS)
		verdict = policy_receive(&scene->flow, &pkt);
	tally->received[verdict]++;
	if (same(verdict, reference))
		return agree;
	tell(scene, packet, size, padded ? "receive, padded" : "receive", verdict, reference);
	return false;
}
