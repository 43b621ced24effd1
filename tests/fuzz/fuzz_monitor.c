/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_monitor.c: a relay that was taken over says anything at all to the monitor
 *
 * What may come of it is in priv.h's table: an answer, or the relay's death.
 * An input is a list of messages, mostly of the right size and with numbers
 * that are nearly right. What must hold: nothing is reserved but ports that
 * the configuration gives to that slice, on an address of it; each sound
 * request that has an answer gets one, and no other message is sent; and
 * whoever broke a rule is killed before his next request is looked at.
 *
 * monitor.c and link_request.c are compiled into this file, with stand-ins for
 * what they would do to the host. They judge what they are given by a list of
 * their own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "fuzz.h"
#include "link.h"
#include "link_client.h"
#include "proxied.h"
#include "reserve.h"
#include "spawn.h"
#include "uplink.h"

static int fake_acquire(struct netns *ns, const struct conf_slice *slice, const struct priv_claim *claim,
			uint16_t *port);
static int fake_release(struct netns *ns, const struct priv_claim *claim, unsigned quarantine_ms);
static int fake_route(const struct netns *ns, const struct addr *destination, struct addr *source, uint32_t *mtu);
static uint64_t fake_covered(const struct netns *ns, uint8_t class, uint16_t port);
static bool fake_has(const struct netns *ns, uint32_t slice, uint32_t uid, const struct policy_range *range);
static int fake_client(int sock, const struct conf *conf, const struct conf_slice *slice, uid_t *uid);
static int fake_client_netns(int sock, uid_t uid);
static int fake_make(struct netns *ns, const struct link_order *order, uint32_t *number);
static void fake_end(struct netns *ns, uint32_t number, unsigned quarantine_ms);
static void fake_kill(struct relay *relay);

#define reserve_acquire fake_acquire
#define reserve_release fake_release
#define reserve_covered fake_covered
#define reserve_has fake_has
#define link_client fake_client
#define link_client_netns fake_client_netns
#define link_make fake_make
#define link_end fake_end
#define uplink_route fake_route
#define relay_kill fake_kill
#include "../../netns/link_request.c" /* NOLINT: see above */
#include "../../netns/monitor.c"      /* NOLINT: see above */
#undef reserve_acquire
#undef reserve_release
#undef reserve_covered
#undef reserve_has
#undef link_client
#undef link_client_netns
#undef link_make
#undef link_end
#undef uplink_route
#undef relay_kill

#define MESSAGES_MAX 200

/* Slice a has both addresses of "default" and a proxied prefix, slice b one of "other", slice c, of "default", is on
 * a namespace that is not attached */
static const char configuration[] =
	"relay_user = daemon\n"
	"netns default { } netns other { path = \"/run/netns/other\" }\n"
	"netns away { path = \"/run/netns/away\" }\n"
	"slice a { tcp = {\"5000-5009\", \"5120-5151\"} udp = {\"5000\", \"5120-5135\"} users = root "
	"proxied = \"198.51.100.64/28\" }\n"
	"slice b { netns = other addresses = \"192.0.2.2\" icmp = \"6000-6001\" users = root }\n"
	"slice c { netns = away tcp = \"7000\" users = root }\n";

#define OWN UINT64_C(3)
#define PROXIED (UINT64_C(1) << STEER_ADDRESSES_MAX)

/* The same once more, for the stand-ins: what may be reserved */
static const struct {
	unsigned slice, netns, class, lo, hi;
	uint64_t rows; /* set */
} may[] = {
	{1, 0, CLASS_TCP, 5000, 5009, OWN},       {1, 0, CLASS_TCP, 5120, 5151, OWN},
	{1, 0, CLASS_UDP, 5000, 5000, OWN},       {1, 0, CLASS_UDP, 5120, 5135, OWN},
	{2, 1, CLASS_ICMP, 6000, 6001, 2},        {1, 0, CLASS_TCP, 0, 65535, PROXIED},
	{1, 0, CLASS_UDP, 0, 65535, PROXIED},     {1, 0, CLASS_ICMP, 0, 65535, PROXIED},
	{1, 0, CLASS_SCTP, 0, 65535, PROXIED},    {1, 0, CLASS_DCCP, 0, 65535, PROXIED},
	{1, 0, CLASS_UDPLITE, 0, 65535, PROXIED},
};

static struct monitor the_monitor;
static struct netns netns[2];
static bool killed;
static unsigned answers; /* that are due */
static uid_t client_uid; /* of who asks for a link; 4 and 5: nobody who may */

/** is_covered() - whether some ports are a slice's */
static bool is_covered(const struct netns *ns, const struct priv_claim *claim)
{
	uint64_t covered = 0;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(may); i++)
		if (may[i].slice == claim->slice && may[i].netns == claim->netns && ns == &netns[claim->netns] &&
		    may[i].class == claim->class && claim->lo >= may[i].lo && claim->hi <= may[i].hi &&
		    claim->lo <= claim->hi)
			covered |= may[i].rows;
	return claim->address == PRIV_ANY_ADDRESS ? covered & OWN
						  : claim->address < STEER_ROWS_MAX && covered >> claim->address & 1;
}

/** fake_acquire() - reserve_acquire() */
static int fake_acquire(struct netns *ns, const struct conf_slice *slice, const struct priv_claim *claim,
			uint16_t *port)
{
	MUST(!killed && slice->number == claim->slice && is_covered(ns, claim));
	answers++;
	*port = claim->hi;
	errno = EADDRINUSE;
	return claim->uid % 2 ? -1 : 0;
}

/** fake_release() - reserve_release(); an odd uid has never held anything */
static int fake_release(struct netns *ns, const struct priv_claim *claim, unsigned quarantine_ms)
{
	MUST(!killed && quarantine_ms && claim->netns < ARRAY_SIZE(netns) && ns == &netns[claim->netns]);
	MUST(claim->class < STEER_CLASSES && claim->lo <= claim->hi);
	errno = EINVAL;
	return claim->uid % 2 ? -1 : 0;
}

/** fake_route() - uplink_route() */
static int fake_route(const struct netns *ns, const struct addr *destination, struct addr *source, uint32_t *mtu)
{
	MUST(!killed && (ns == &netns[0] || ns == &netns[1]));
	answers++;
	*source = *destination;
	*mtu = 1500;
	return destination->b[15] % 2 ? -1 : 0;
}

/** fake_covered() - reserve_covered() */
static uint64_t fake_covered(const struct netns *ns, uint8_t class, uint16_t port)
{
	MUST(!killed && (ns == &netns[0] || ns == &netns[1]) && class < STEER_CLASSES);
	answers++;
	return port;
}

/** fake_has() - reserve_has(); an odd uid holds nothing */
static bool fake_has(const struct netns *ns, uint32_t slice, uint32_t uid, const struct policy_range *range)
{
	const struct priv_claim claim = {.netns = ns->index,
					 .slice = slice,
					 .class = range->class,
					 .address = PRIV_ANY_ADDRESS,
					 .lo = range->lo,
					 .hi = range->hi};

	MUST(!killed && is_covered(ns, &claim));
	return uid % 2 == 0;
}

/** fake_client() - link_client() */
static int fake_client(int sock, const struct conf *conf, const struct conf_slice *slice, uid_t *uid)
{
	MUST(!killed && sock >= 0 && conf == the_monitor.conf && slice);
	answers++;
	*uid = client_uid;
	errno = client_uid == 4 ? EINVAL : EACCES;
	return client_uid < 4 ? 0 : -1;
}

/** fake_client_netns() - link_client_netns() */
static int fake_client_netns(int sock, uid_t uid)
{
	MUST(!killed && sock >= 0 && uid == client_uid && uid % 2 == 0);
	return client_uid == 2 ? -1 : memfd_create("netns", MFD_CLOEXEC);
}

/** fake_make() - link_make() */
static int fake_make(struct netns *ns, const struct link_order *order, uint32_t *number)
{
	unsigned class;

	MUST(!killed && order->peer >= 0 && order->uid == 0 && order->slice->number == order->request->slice);
	MUST(!(order->request->flags & ~STEER_LINK_FLAGS));
	for (class = 0; class < STEER_LINK_CLASSES; class ++) {
		const struct policy_range range = {
			.class = (uint8_t) class, .lo = order->request->lo[class], .hi = order->request->hi[class]};

		MUST(!range.hi || fake_has(ns, order->request->slice, order->uid, &range));
	}
	*number = 1;
	return 0;
}

/** fake_end() - link_end() */
static void fake_end(struct netns *ns, uint32_t number, unsigned quarantine_ms)
{
	MUST(!killed && (ns == &netns[0] || ns == &netns[1]) && number && number < STEER_LINKS_MAX && quarantine_ms);
}

/** fake_kill() - relay_kill() */
static void fake_kill(struct relay *relay)
{
	MUST(!killed);
	killed = true;
	close_fd(&relay->channel);
}

/** must_not() - a configuration without errors has none to report */
static void must_not(const char *line, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
	abort();
}

/** load() - the configuration, and the two namespaces that are attached */
static void load(void)
{
	static const char *const addresses[] = {"192.0.2.1", "192.0.2.2"};
	int fd = memfd_create("conf", MFD_CLOEXEC);
	char path[32];
	unsigned i, j;

	log_init("fuzz", -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST(fd >= 0 && fchmod(fd, 0600) == 0 &&
	     write(fd, configuration, sizeof(configuration) - 1) == sizeof(configuration) - 1);
	the_monitor.conf = conf_load(path, must_not, NULL);
	close(fd);
	for (i = 0; i < the_monitor.conf->slices; i++)
		the_monitor.conf->slice[i].number = i + 1;
	for (i = 0; i < ARRAY_SIZE(netns); i++) {
		netns[i].index = i;
		netns[i].conf = the_monitor.conf->netns[i];
		for (j = 0; j < ARRAY_SIZE(addresses); j++) {
			MUST(addr_parse(addresses[j], &netns[i].address[j].addr));
			netns[i].address[j].present = true;
		}
		netns[i].addresses = ARRAY_SIZE(addresses);
		proxied_refit(&netns[i], the_monitor.conf);
		the_monitor.netns[i] = &netns[i];
	}
}

/** fill_claim() - a claim that is nearly right */
static void fill_claim(struct priv_claim *claim, struct script *script)
{
	static const uint16_t bases[] = {5000, 5120, 6000, 7000};
	static const uint8_t rows[] = {0, 1, 2, STEER_ADDRESSES_MAX, STEER_ADDRESSES_MAX + 1};
	uint8_t how = script_next(script), slice = script_next(script) % 5;

	claim->slice = slice;
	claim->netns = how & 1 ? slice / 2 : script_next(script) % 4;
	claim->uid = how & 2 ? 0 : script_next(script);
	claim->class = how & 4 ? (slice == 2 ? CLASS_ICMP : CLASS_TCP) : script_next(script) % (STEER_CLASSES + 1);
	claim->address = how & 8 ? PRIV_ANY_ADDRESS : rows[script_next(script) % ARRAY_SIZE(rows)];
	claim->family = how & 16 ? AF_UNSPEC : script_next(script);
	claim->lo = (uint16_t)(bases[slice % 4] + (how & 32 ? 0 : script_next(script) % 12 - 1));
	claim->hi = (uint16_t)(claim->lo + (how & 64 ? 0 : script_next(script) % 6 - 1));
}

/** write_message() - put a message together; returns its size */
static size_t write_message(union request *request, struct script *script)
{
	uint8_t how = script_next(script), which = script_next(script);
	const size_t row = which % (ARRAY_SIZE(requests) + 1);
	size_t size = row < ARRAY_SIZE(requests) ? requests[row].size : 16, at;
	struct priv_claim claim = {0};
	uint8_t cookie;

	*request = (union request){0};
	request->header.type = row < ARRAY_SIZE(requests) ? requests[row].type : which;
	request->header.size = (uint32_t)size;
	fill_claim(&claim, script);
	cookie = script_next(script);
	if (request->header.type == PRIV_RESERVE) {
		request->reserve.cookie = cookie;
		request->reserve.claim = claim;
	} else if (request->header.type == PRIV_RELEASE) {
		request->release.claim = claim;
	} else if (request->header.type == PRIV_LINK) {
		request->link.netns = claim.netns;
		request->link.slice = claim.slice;
		request->link.flags = how >> 6;
		request->link.lo[0] = claim.lo & 0xfff0;
		request->link.hi[0] = (uint16_t)(request->link.lo[0] | (how & 32 ? 31 : 15));
		request->link.lo[1] = how & 16 ? request->link.lo[0] : 0;
		request->link.hi[1] = how & 16 ? request->link.lo[0] + 15 : 0;
		client_uid = script_next(script) % 6;
	} else if (request->header.type == PRIV_UNLINK) {
		request->unlink.netns = claim.netns;
		request->unlink.link = script_next(script) % 4;
	} else if (request->header.type == PRIV_COVERED) {
		request->covered.netns = claim.netns;
		request->covered.class = claim.class;
		request->covered.port = claim.lo;
	} else {
		request->route.netns = claim.netns;
		request->route.destination.b[15] = cookie;
	}
	for (at = sizeof(request->header); how % 16 == 1 && at < size; at++)
		request->room[at] ^= (char)script_next(script);
	if (how % 32 == 2)
		request->header.size++;
	return how % 32 == 3 ? how : size;
}

/** hear() - the relay reads its answers: as many as are due */
static void hear(int relay)
{
	union request reply;
	struct msg msg;

	while (msg_recv(relay, &reply, sizeof(reply), &msg, MSG_DONTWAIT) > 0) {
		MUST(!msg.fds && msg.size == reply.header.size);
		MUST(reply.header.type == PRIV_RESERVED || reply.header.type == PRIV_ROUTED ||
		     reply.header.type == PRIV_COVERS || reply.header.type == PRIV_LINKED);
		if (answers)
			answers--;
		else /* about a netns that is not there any more, or ports that are not the slice's any more */
			MUST(the_monitor.reloaded_ns);
	}
}

/** play() - the whole script */
static void play(struct script *script)
{
	union request request;
	int channel[2], file;
	unsigned i;

	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, channel) == 0);
	the_monitor.relay = (struct relay){.pidfd = -1, .channel = channel[0]};
	killed = false;
	answers = 0;
	the_monitor.reloaded_ns = script_next(script) % 4 ? 0 : clock_ns();
	for (i = 0; i < MESSAGES_MAX && script->left && !killed; i++) {
		size_t size = write_message(&request, script);
		unsigned fds = (request.header.type == PRIV_LINK) ^ (script_next(script) > 250);

		file = fds ? eventfd(0, EFD_CLOEXEC) : -1;
		msg_send(channel[1], &request, size < sizeof(request) ? size : sizeof(request), &file, fds,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		close_fd(&file);
		monitor_requests(&the_monitor);
		hear(channel[1]);
		MUST(killed || !answers);
	}
	close_fd(&the_monitor.relay.channel);
	close_fd(&channel[1]);
}

/**
 * LLVMFuzzerTestOneInput() - play one script
 * @input: bytes
 * @size: of them
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct script script = {.at = input, .left = size};

	if (!the_monitor.conf)
		load();
	play(&script);
	return 0;
}
