/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * linking.c: one request for a link, from the first check to the grant, and the link's end
 *
 * A client asks for a link to the namespace in which its control socket was
 * made. The relay finds a block of ports for each class (link_block.c), reserves
 * them like a flow's, and has the monitor make the device; who the client is and
 * whether the namespace is its own, the monitor finds out itself, from that
 * socket. What it refuses of blocks that the relay has chosen is passed over so
 * many times, then the request fails.
 *
 *	linking_begin() -> RESERVING --all held--> ASKING --made--> UP
 *	                     |  ^                  |   |             |
 *	                     |  `-another block    |   |             |
 *	                     `--refused------------+---|-> freed <---' end, taken back, device gone
 *	                                               |     ^
 *	                                 linking_end() v     |
 *	                                           ORPHANED --the monitor answers
 *
 * An orphan keeps its ports, so that nobody gets them whose device would meet
 * the orphan's.
 */
#include "linking.h"

#include <errno.h>

#include "link_block.h"
#include "log.h"
#include "util.h"

#define TRIES_MAX 64                              /* choices of blocks, each refused by the monitor */
#define COUNT_MAX (STEER_PORTS - STEER_LINK_UNIT) /* ports of a block: port 0 is in none */

static TAILQ_HEAD(, link) asking = TAILQ_HEAD_INITIALIZER(asking);
static uint64_t cookies;

struct refusal {
	int error;
	const char *text;
};

/* What a monitor's refusal is called: of ports, of the device */
static const struct refusal port_refusals[] = {
	{EADDRINUSE, "the host has a socket on a port, or it is in quarantine"},
	{EACCES, "a port is not the slice's"},
	{EADDRNOTAVAIL, "the slice has no address on the host"},
	{EMFILE, "the host has no room for more reservations"},
	{ENFILE, "the host has no room for more reservations"},
	{0, "the monitor refused the reservation"},
};
static const struct refusal device_refusals[] = {
	{EPERM, "the network namespace that the client speaks from is not his own"},
	{EACCES, "the client may not use the slice"},
	{EBUSY, "the network namespace has a link"},
	{EEXIST, "the network namespace has a device " PRIV_LINK_DEVICE},
	{ENOSPC, "there are as many links as there can be"},
	{0, "the monitor could not make the device"},
};

/**
 * text_of() - what a refusal is called
 * @refusal: table, whose last row has error 0
 * @error: errno
 */
static const char *text_of(const struct refusal *refusal, int error)
{
	while (refusal->error && refusal->error != error)
		refusal++;
	return refusal->text;
}

/**
 * log_refusal() - one line for a request that is refused
 * @slice: slice
 * @uid: who asked
 * @text: why
 */
static void log_refusal(const struct slice *slice, uint32_t uid, const char *text)
{
	static struct log_limit limit;

	log_limited(&limit, LOG_NOTICE, "slice %s: uid %u: link refused: %s", slice->conf.record.name, uid, text);
}

/**
 * fail() - a request is refused
 * @link: not up; freed
 * @error: errno
 * @text: why
 */
static void fail(struct link *link, int error, const char *text)
{
	struct link_user *user = link->user;

	log_refusal(link->slice, link->opener.uid, text);
	link_free(link);
	user->link = NULL;
	user->answered(user, error == EMFILE ? ENFILE : error, text);
}

/**
 * form_ok() - whether a request makes sense, whoever asks
 * @ask: request
 */
static bool form_ok(const struct proto_link *ask)
{
	unsigned class;

	if (ask->flags & ~STEER_LINK_FLAGS || ask->count > COUNT_MAX)
		return false;
	for (class = 0; class < STEER_LINK_CLASSES; class ++)
		if (ask->port[class] % STEER_LINK_UNIT)
			return false;
	return true;
}

static void reserve(struct link *link);

/**
 * failed_request() - the kernel does not pass file descriptors on now
 * @outgoing: of the link
 */
static void failed_request(struct outgoing *outgoing)
{
	struct link *link = container_of(outgoing, struct link, outgoing);

	TAILQ_REMOVE(&asking, link, asking);
	fail(link, ENFILE, "too many file descriptors are on their way");
}

/**
 * ask_device() - the ports are held: ask for the device
 * @link: link
 */
static void ask_device(struct link *link)
{
	struct priv_link *request = &link->outgoing.message.link;
	unsigned i;

	if (!link_fits(link)) {
		fail(link, EACCES, "the configuration has changed meanwhile");
		return;
	}
	if (link_make_napt(link) < 0) {
		fail(link, ENOSPC, "the relay is out of memory");
		return;
	}
	link->state = LINK_ASKING;
	link->cookie = ++cookies;
	link->outgoing = (struct outgoing){.failed = failed_request, .fds = 1, .fd = {link->control_fd}};
	*request = (struct priv_link){.header = {PRIV_LINK, sizeof(*request)},
				      .cookie = link->cookie,
				      .netns = link->netns->record.netns,
				      .slice = slice_number(link->slice),
				      .flags = link->flags};
	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		request->lo[i] = link->class[i].block.lo;
		request->hi[i] = link->class[i].block.hi;
	}
	TAILQ_INSERT_TAIL(&asking, link, asking);
	outbox_send(&link->outgoing);
}

/**
 * answered() - the monitor has answered about the ports of one class
 * @waiter: of the class
 * @error: errno, or 0 for held
 */
static void answered(struct hold_waiter *waiter, int error)
{
	struct link_class *class = container_of(waiter, struct link_class, waiter);
	struct link *link = class->link;

	class->refused = error != 0;
	if (!link->error)
		link->error = error;
	if (--link->waiting)
		return;
	error = link->error;
	if (!error) {
		ask_device(link);
		return;
	}
	link_drop_ports(link);
	if (link->chosen && error == EADDRINUSE && ++link->tries < TRIES_MAX) {
		link_block_pass_on(link);
		reserve(link);
	} else {
		fail(link, error, text_of(port_refusals, error));
	}
}

/**
 * take_ports() - reserve the blocks
 * @link: link with blocks
 *
 * Return: 0, or -1 and EADDRINUSE, ENOMEM; some may be reserved then.
 */
static int take_ports(struct link *link)
{
	unsigned i;

	for (i = 0; i < STEER_LINK_CLASSES; i++) {
		struct link_class *class = &link->class[i];

		class->link = link;
		class->waiter.answered = answered;
		if (!class->block.hi)
			continue;
		class->hold = hold_get_link(link->slice, link->opener.uid, &class->block);
		if (!class->hold)
			return -1;
		hold_wait(class->hold, &class->waiter);
		link->waiting++;
	}
	return 0;
}

/**
 * reserve() - choose blocks and reserve them
 * @link: link; freed when that is not possible
 */
static void reserve(struct link *link)
{
	link->waiting = 0;
	link->error = 0;
	loop_spend(link->count * STEER_LINK_CLASSES);
	if (!link_block_choose(link)) {
		fail(link, EADDRINUSE, "no block of so many ports is free");
		return;
	}
	if (take_ports(link) == 0)
		return;
	if (errno == EADDRINUSE)
		fail(link, EADDRINUSE, "a port is in use");
	else
		fail(link, ENOSPC, "the relay is out of memory");
}

/**
 * check() - whether a client may have a link at all
 * @user: whose it would be
 * @opener: who asks
 * @ask: what for
 * @text: set to what is wrong
 *
 * Return: 0, EINVAL, EPERM or EBUSY.
 */
static int check(const struct link_user *user, const struct opener *opener, const struct proto_link *ask,
		 const char **text)
{
	if (!form_ok(ask)) {
		*text = "a flag is not known, or the ports make no blocks";
		return EINVAL;
	}
	if (!opener->by.kind) {
		*text = "only users of the slice may have links";
		return EPERM;
	}
	if (user->link) {
		*text = "this conversation has a link";
		return EBUSY;
	}
	return 0;
}

/**
 * linking_begin() - begin with a request
 * @user: its functions are set; answered() may be called from here or later
 * @slice: of the client
 * @opener: who asks
 * @ask: what for, as it came
 * @control_fd: the client's control socket, which stays open as long as @user is there
 */
void linking_begin(struct link_user *user, struct slice *slice, const struct opener *opener,
		   const struct proto_link *ask, int control_fd)
{
	const char *text = "the slice's memory bound is reached";
	int error = check(user, opener, ask, &text);
	struct link *link = error ? NULL : link_new(slice, opener, ask);

	if (!link) {
		log_refusal(slice, opener->uid, text);
		user->answered(user, error ? error : ENOSPC, text);
		return;
	}
	link->user = user;
	user->link = link;
	link->control_fd = control_fd;
	if (link_block_set(link, ask))
		reserve(link);
	else
		fail(link, EACCES, "a port is not in the slice's ranges");
}

/**
 * linking_end() - end a link, or give a request for one up
 * @user: with or without a link; none of its functions is called
 */
void linking_end(struct link_user *user)
{
	struct link *link = user->link;

	if (!link)
		return;
	user->link = NULL;
	link->user = NULL;
	if (link->state == LINK_UP) {
		link_down(link, true);
	} else if (link->state == LINK_ASKING && !link->outgoing.queued) {
		link->state = LINK_ORPHANED;
	} else {
		if (link->state == LINK_ASKING)
			TAILQ_REMOVE(&asking, link, asking);
		outbox_cancel(&link->outgoing);
		link_free(link);
	}
}

/**
 * end_orphan() - the device of an orphan is there, or is not
 * @link: orphan, waiting no more; freed
 * @reply: the monitor's answer
 */
static void end_orphan(struct link *link, const struct priv_linked *reply)
{
	if (reply->error || !link->netns)
		link_free(link);
	else
		link_say_end(link, reply->link);
}

/**
 * rise() - the device is there
 * @link: waiting no more
 * @reply: the monitor's answer
 *
 * Ends the process when the number cannot be.
 */
static void rise(struct link *link, const struct priv_linked *reply)
{
	struct link_user *user = link->user;

	if (!reply->link || reply->link >= STEER_LINKS_MAX || link->netns->links[reply->link])
		log_fatal("the monitor gives a link a number that cannot be");
	if (link_fits(link)) {
		link_up(link, reply->link, reply->mtu);
		user->answered(user, 0, "");
		return;
	}
	user->link = NULL;
	link_say_end(link, reply->link);
	user->answered(user, EACCES, "the configuration has changed meanwhile");
}

/**
 * linking_answer() - the monitor has answered a request for a device
 * @reply: its answer
 *
 * Ends the process when nothing was asked.
 */
void linking_answer(const struct priv_linked *reply)
{
	struct link *link;

	TAILQ_FOREACH(link, &asking, asking)
		if (link->cookie == reply->cookie)
			break;
	if (!link)
		log_fatal("the monitor answers a request for a link that was not made");
	TAILQ_REMOVE(&asking, link, asking);
	if (link->state == LINK_ORPHANED) {
		end_orphan(link, reply);
	} else if (reply->error) {
		fail(link, reply->error, text_of(device_refusals, reply->error));
	} else {
		rise(link, reply);
	}
}

/**
 * linking_forget() - a slice ends: its orphans keep nothing of it
 * @slice: it has no clients any more
 */
void linking_forget(const struct slice *slice)
{
	struct link *link;

	TAILQ_FOREACH(link, &asking, asking) {
		if (link->slice == slice)
			link_disown(link);
	}
}

/**
 * linking_forget_netns() - a netns ends, and what the monitor had in it
 * @netns: it has no slices any more
 */
void linking_forget_netns(const struct netns *netns)
{
	struct link *link;

	TAILQ_FOREACH(link, &asking, asking) {
		if (link->netns == netns)
			link->netns = NULL;
	}
	link_forget(netns);
}
