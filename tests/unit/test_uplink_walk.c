/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_uplink_walk.c: a random walk of ip(8) commands, against a model
 *
 * The model knows what each command does to the devices and their addresses.
 * After every few commands the watch is read and everything that netns/uplink.c
 * keeps is compared. One walk has a watch so small that it overruns.
 * $SEED chooses other walks.
 */
#include "uplink_world.h"

#define DEVICES 4
#define ADDRESSES 10 /* the first half IPv4 */
#define STEPS 250
#define ROWS_UNSEEN -1

static struct {
	bool there, uplink, up;
	unsigned mtu;
	bool has[ADDRESSES];
} model[DEVICES];
static int rows[ADDRESSES]; /* where each address was seen first */
static unsigned seed;

static const char *name_of(unsigned d)
{
	static char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "%c%u", model[d].uplink ? 'u' : 'x', d);
	return name;
}

static const char *address(unsigned a)
{
	static char text[ADDR_TEXT_MAX];

	snprintf(text, sizeof(text), a < ADDRESSES / 2 ? "10.0.0.%u" : "2001:db8::%u", a + 1);
	return text;
}

/* A device that goes down loses its IPv6 addresses */
static void set_up(unsigned d, bool up)
{
	ip("link set %s %s", name_of(d), up ? "up" : "down");
	if (model[d].up && !up)
		memset(model[d].has + ADDRESSES / 2, 0, ADDRESSES / 2 * sizeof(bool));
	model[d].up = up;
}

static void make(unsigned d)
{
	memset(&model[d], 0, sizeof(model[d]));
	model[d].there = true;
	model[d].uplink = rand() % 2;
	model[d].mtu = 1500;
	ip("link add %s type veth peer name q%u", name_of(d), d);
}

static void rename_device(unsigned d)
{
	bool up = model[d].up;
	char old[IFNAMSIZ];

	set_up(d, false);
	snprintf(old, sizeof(old), "%s", name_of(d));
	model[d].uplink = !model[d].uplink;
	ip("link set %s name %s", old, name_of(d));
	if (up)
		set_up(d, true);
}

static void change_address(unsigned d, unsigned a)
{
	bool v4 = a < ADDRESSES / 2;

	ip("address %s %s/%d dev %s%s", model[d].has[a] ? "del" : "add", address(a), v4 ? 32 : 128, name_of(d),
	   model[d].has[a] || v4 ? "" : " nodad");
	model[d].has[a] = !model[d].has[a];
}

static void step(void)
{
	unsigned d = (unsigned)rand() % DEVICES;

	if (!model[d].there) {
		make(d);
		return;
	}
	switch (rand() % 12) {
	case 0:
		ip("link del %s", name_of(d));
		model[d].there = false;
		break;
	case 1:
	case 2:
		rename_device(d);
		break;
	case 3:
	case 4:
		set_up(d, !model[d].up);
		break;
	case 5:
		model[d].mtu = 1280 + (unsigned)rand() % 1000;
		ip("link set %s mtu %u", name_of(d), model[d].mtu);
		break;
	default:
		change_address(d, (unsigned)rand() % ADDRESSES);
	}
}

/* What differs between the model and what is kept; NULL: nothing */
static const char *wrong_address(void)
{
	for (unsigned a = 0; a < ADDRESSES; a++) {
		bool expected = false;

		for (unsigned d = 0; d < DEVICES; d++)
			expected |= model[d].there && model[d].uplink && model[d].has[a];
		if (present(address(a)) != expected)
			return address(a);
	}
	return NULL;
}

static const char *wrong_device(void)
{
	unsigned mtu = 0, steering = 1; /* lo has it */

	for (unsigned d = 0; d < DEVICES; d++) {
		if (!model[d].there)
			continue;
		if (has_steering(name_of(d)) != model[d].uplink)
			return name_of(d);
		steering += model[d].uplink;
		if (model[d].uplink && model[d].up && (!mtu || model[d].mtu < mtu))
			mtu = model[d].mtu;
	}
	for (unsigned i = 0; i < INDEX_MAX; i++)
		steering -= steered[i];
	return ns.mtu != (mtu ? mtu : 1500) ? "the MTU" : steering ? "steering on a device that is gone" : NULL;
}

/* The kernel announces IPv6 addresses a little after the command has returned */
static void compare(unsigned at)
{
	const char *wrong;

	pump();
	while ((wrong = wrong_device()) || (wrong = wrong_address())) {
		ck_assert_msg(poll(&(struct pollfd){.fd = uplink_fd(&ns), .events = POLLIN}, 1, WAIT_MS) > 0,
			      "seed %u step %u: %s", seed, at, wrong);
		pump();
	}
	for (unsigned a = 0; a < ADDRESSES; a++) {
		int row = row_of(address(a));

		ck_assert_msg(rows[a] == ROWS_UNSEEN || rows[a] == row, "seed %u step %u: %s moved", seed, at,
			      address(a));
		rows[a] = row;
	}
}

static void walk(unsigned usual, bool overrun)
{
	int least = 0;

	seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : usual;
	srand(seed);
	for (unsigned a = 0; a < ADDRESSES; a++)
		rows[a] = ROWS_UNSEEN;
	ck_assert_int_eq(uplink_open(&ns), 0);
	if (overrun)
		ck_assert_int_eq(setsockopt(uplink_fd(&ns), SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)), 0);
	for (unsigned at = 0; at < STEPS; at++) {
		step();
		if (rand() % 3 && at != STEPS - 1)
			continue;
		compare(at);
	}
	ck_assert_int_eq(detaches > 0, true);
}

START_TEST(a_walk)
{
	walk(1, false);
}
END_TEST

START_TEST(another_walk)
{
	walk(2, false);
}
END_TEST

START_TEST(a_walk_that_loses_messages)
{
	walk(3, true);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_walk, another_walk, a_walk_that_loses_messages};

	return world_run("uplink_walk", tests, ARRAY_SIZE(tests));
}
