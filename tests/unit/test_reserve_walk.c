/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_reserve_walk.c: a random walk over reservations, beside a model
 *
 * Requests, releases (many of what is not held), deaths of the relay and other
 * people's sockets, in any order. The model knows owners and counts and
 * nothing of sockets. After every step marks must be as the model says, the
 * number of sockets must be possible, and one port is tried from outside.
 */
#include "reserve_world.h"

#define STEPS 5000
#define PORTS 3
#define UIDS 2
#define SHAPES (ROWS + 3) /* each row, and "any" of each family and of both */
#define SLICES 3

/* One hold of the model: as plain as can be, one counter for everything that can be asked for */
struct model {
	unsigned references;
	bool waits;
};

static struct model model[STEER_PORT_CLASSES][PORTS][SLICES][UIDS][SHAPES];
static const struct conf_slice *const walkers[SLICES] = {&all, &first, &second};
static int foreign[STEER_PORT_CLASSES][PORTS][ROWS];

/* What a step is about */
struct step {
	unsigned class, port, slice, uid, shape;
};

/** shape_family() - the family that a shape asks for */
static int shape_family(unsigned shape)
{
	static const int any[] = {AF_UNSPEC, AF_INET, AF_INET6};

	return shape < ROWS ? 0 : any[shape - ROWS];
}

/** shape_rows() - the addresses that a shape is about */
static unsigned shape_rows(unsigned slice, unsigned shape)
{
	static const unsigned owned[SLICES] = {0xf, 0x5, 0x2}, of[] = {0xf, 0x3, 0xc};

	return shape < ROWS ? 1u << shape : owned[slice] & of[shape - ROWS];
}

/** port_number() - a port of a slice; those of the second and third are the same */
static unsigned port_number(unsigned slice, unsigned port)
{
	return (slice ? 6000 : 5000) + port;
}

/** same_port() - whether two slices mean the same by a port number of theirs */
static bool same_port(unsigned a, unsigned b)
{
	return !a == !b;
}

/** rows_held() - the addresses that anybody holds on a port, by the model */
static unsigned rows_held(unsigned class, unsigned port, unsigned slice, const struct step *but)
{
	unsigned s, u, k, set = 0;

	for (s = 0; s < SLICES; s++)
		for (u = 0; u < UIDS && same_port(s, slice); u++)
			for (k = 0; k < SHAPES; k++) {
				const struct model *m = &model[class][port][s][u][k];

				if ((m->references || m->waits) && !(but && but->slice == s && but->uid == u))
					set |= shape_rows(s, k);
			}
	return set;
}

/** expected() - what a request should be answered, were it not for foreign sockets */
static int expected(const struct step *step)
{
	unsigned rows = shape_rows(step->slice, step->shape);

	if (step->shape < ROWS && !(shape_rows(step->slice, ROWS) & rows))
		return EACCES;
	if (!rows)
		return EADDRNOTAVAIL;
	if (rows_held(step->class, step->port, step->slice, step) & rows)
		return EADDRINUSE;
	return 0;
}

/** foreign_rows() - the addresses on which somebody else has the port */
static unsigned foreign_rows(const struct step *step)
{
	unsigned row, set = 0;

	for (row = 0; row < ROWS && !step->slice; row++)
		set |= foreign[step->class][step->port][row] ? 1u << row : 0;
	return set;
}

/** walk_acquire() - one step: a request */
static void walk_acquire(const struct step *step)
{
	unsigned port = port_number(step->slice, step->port), theirs = foreign_rows(step);
	struct model *m = &model[step->class][step->port][step->slice][step->uid][step->shape];
	int want = expected(step);
	int rc = acquire(walkers[step->slice], step->uid, step->class, step->shape < ROWS ? step->shape : ANY,
			 shape_family(step->shape), port, port);

	if (!want && theirs && rc == EADDRINUSE)
		return; /* which of them was in the way depends on what is covered already */
	ck_assert_int_eq(rc, want);
	if (rc)
		return;
	ck_assert_uint_eq(theirs & shape_rows(step->slice, step->shape), 0);
	m->references++;
	m->waits = false;
}

/** walk_release() - one step: a release, often of what is not held */
static void walk_release(const struct step *step, unsigned ms)
{
	unsigned port = port_number(step->slice, step->port);
	struct model *m = &model[step->class][step->port][step->slice][step->uid][step->shape];
	int rc = release(walkers[step->slice], step->uid, step->class, step->shape < ROWS ? step->shape : ANY,
			 shape_family(step->shape), port, port, ms);

	ck_assert_int_eq(rc, m->references ? 0 : EINVAL);
	if (m->references && !--m->references)
		m->waits = ms > 0;
}

/** walk_foreign() - one step: somebody else opens or closes a socket (on ports of the first slice) */
static void walk_foreign(const struct step *step)
{
	unsigned row = step->shape % ROWS;
	int *fd = &foreign[step->class][step->port][row];

	if (step->class == CLASS_ICMP || !kernel_has(step->class))
		return;
	if (*fd) {
		close(*fd);
		*fd = 0;
		base_fds--;
		return;
	}
	*fd = open_foreign(step->class, row, port_number(0, step->port));
	if (*fd < 0)
		*fd = 0;
	else
		base_fds++;
	ck_assert(!*fd || !(rows_held(step->class, step->port, 0, NULL) >> row & 1));
}

/** walk_orphan() - one step: the relay dies */
static void walk_orphan(unsigned ms)
{
	struct model *m = &model[0][0][0][0][0];
	size_t i;

	reserve_orphan(&ns, ms);
	for (i = 0; i < sizeof(model) / sizeof(*m); i++) {
		if (m[i].references)
			m[i].waits = ms > 0;
		m[i].references = 0;
	}
}

/** walk_check() - what must hold after every step */
static void walk_check(void)
{
	static bool has[STEER_PORT_CLASSES];
	unsigned class, port, row, slice, total = 0, used = 0;

	for (class = 0; class < STEER_PORT_CLASSES && !has[CLASS_TCP]; class ++)
		has[STEER_PORT_CLASSES - 1 - class] = kernel_has(STEER_PORT_CLASSES - 1 - class);
	for (class = 0; class < STEER_PORT_CLASSES; class ++)
		for (port = 0; port < PORTS; port++)
			for (slice = 0; slice < 2; slice++) {
				unsigned set = rows_held(class, port, slice, NULL);

				used += set && has[class];
				for (row = 0; row < ROWS; row++) {
					ck_assert(marks[class][row][port_number(slice, port)] == (set >> row & 1));
					total += set >> row & 1;
				}
			}
	ck_assert_uint_eq(total, marked);
	ck_assert_uint_ge(held_fds(), used);
	ck_assert_uint_le(held_fds(), used * ROWS);
}

/** walk_probe() - after a step: one port, tried by somebody else */
static void walk_probe(const struct step *step)
{
	unsigned row = step->shape % ROWS, set = rows_held(step->class, step->port, step->slice, NULL);

	if (!kernel_has(step->class))
		return;
	if (set >> row & 1)
		ck_assert(shut(step->class, row, port_number(step->slice, step->port)));
	else if (!set && !foreign_rows(step))
		ck_assert(!shut(step->class, row, port_number(step->slice, step->port)));
}

START_TEST(random_walk)
{
	unsigned seed = 1 + (unsigned)_i, i;

	for (i = 0; i < STEPS; i++) {
		unsigned what = (unsigned)rand_r(&seed) % 1000;
		struct step step = {.class = (unsigned)rand_r(&seed) % STEER_PORT_CLASSES,
				    .port = (unsigned)rand_r(&seed) % PORTS,
				    .slice = (unsigned)rand_r(&seed) % SLICES,
				    .uid = (unsigned)rand_r(&seed) % UIDS,
				    .shape = (unsigned)rand_r(&seed) % SHAPES};

		if (what < 400)
			walk_acquire(&step);
		else if (what < 900)
			walk_release(&step, what % 3 ? 0 : HOUR_MS);
		else if (what < 990)
			walk_foreign(&step);
		else
			walk_orphan(what % 2 ? 0 : HOUR_MS);
		walk_check();
		walk_probe(&step);
	}
	for (i = 0; i < STEER_PORT_CLASSES * PORTS * ROWS; i++)
		base_fds -= (&foreign[0][0][0])[i] && !close((&foreign[0][0][0])[i]);
}
END_TEST

/** main() - run it */
int main(void)
{
	const TTest *const tests[] = {random_walk};

	return world_run("reserve_walk", tests, ARRAY_SIZE(tests), 4);
}
