/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_flowtab.c: the flow table against a model that is too simple to be wrong
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flowtab.h"
#include "suite.h"
#include "util.h"

#define KEYS 700
#define STEPS 200000

/** key_number() - the nth of some keys that differ in one field each */
static struct flowkey key_number(unsigned n)
{
	struct flowkey key = {.lport = 40000, .class = 1, .local = FLOWKEY_ANY_V4};

	switch (n % 8) {
	case 0:
		key.remote.b[n / 8 % 16] = (uint8_t)(1 + n / 8);
		break;
	case 1:
		key.lport = (uint16_t)(n / 8);
		break;
	case 2:
		key.rport = (uint16_t)(1 + n / 8);
		break;
	case 3:
		key.slice = (uint16_t)(1 + n / 8);
		break;
	case 4:
		key.local = (uint8_t)(n / 8);
		break;
	case 5:
		key.class = (uint8_t)(2 + n / 8);
		break;
	case 6:
		key.exact = 1ULL + n / 8;
		break;
	default:
		key.range = 1;
		key.exact = (uint64_t)n << 40;
	}
	return key;
}

/** agree() - the table has exactly what the model has */
static void agree(const struct flowtab *tab, void *const model[KEYS], size_t used)
{
	unsigned i;

	ck_assert_uint_eq(tab->used, used);
	ck_assert_uint_le(tab->used * 2, tab->mask + 1);
	for (i = 0; i < KEYS; i++) {
		struct flowkey key = key_number(i);

		ck_assert_ptr_eq(flowtab_find(tab, &key), model[i]);
	}
}

START_TEST(random_walk)
{
	static char values[KEYS];
	void *model[KEYS] = {0};
	struct flowtab tab;
	size_t used = 0;
	unsigned step;

	srand((unsigned)_i);
	ck_assert_int_eq(flowtab_init(&tab), 0);
	for (step = 0; step < STEPS; step++) {
		unsigned n = (unsigned)rand() % KEYS, phase = step / 20000 % 2;
		struct flowkey key = key_number(n);

		if ((unsigned)rand() % 8 < (phase ? 2 : 5)) {
			errno = 0;
			if (model[n]) {
				ck_assert_int_eq(flowtab_insert(&tab, &key, values), -1);
				ck_assert_int_eq(errno, EEXIST);
			} else {
				ck_assert_int_eq(flowtab_insert(&tab, &key, &values[n]), 0);
				model[n] = &values[n];
				used++;
			}
		} else {
			ck_assert_ptr_eq(flowtab_remove(&tab, &key), model[n]);
			used -= model[n] != NULL;
			model[n] = NULL;
		}
		ck_assert_ptr_eq(flowtab_find(&tab, &key), model[n]);
		if (step % 500 == 0)
			agree(&tab, model, used);
	}
	agree(&tab, model, used);
	flowtab_free(&tab);
}
END_TEST

START_TEST(many)
{
	const unsigned flows = 150000;
	struct flowtab tab;
	unsigned n, i, longest = 0;

	ck_assert_int_eq(flowtab_init(&tab), 0);
	for (n = 1; n <= flows; n++) {
		struct flowkey key = {.lport = 40000, .rport = (uint16_t)n};

		memcpy(key.remote.b, &n, sizeof(n));
		ck_assert_int_eq(flowtab_insert(&tab, &key, &tab), 0);
	}
	for (n = 0, i = 0; n <= tab.mask; n++) {
		i = tab.slot[n].value ? i + 1 : 0;
		longest = i > longest ? i : longest;
	}
	ck_assert_uint_lt(longest, 200); /* a look-up stays short: runs of full slots bound its probes */
	for (n = flows; n; n--) {
		struct flowkey key = {.lport = 40000, .rport = (uint16_t)n};

		memcpy(key.remote.b, &n, sizeof(n));
		ck_assert_ptr_eq(flowtab_remove(&tab, &key), &tab);
		ck_assert_ptr_null(flowtab_find(&tab, &key));
	}
	ck_assert_uint_eq(tab.used, 0);
	flowtab_free(&tab);
}
END_TEST

START_TEST(hash)
{
	const uint64_t secret[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	const uint64_t words[2] = {1, 2}, other[2] = {1, 3};

	/* published for SipHash-1-3 of the empty message with this key */
	ck_assert_uint_eq(flowtab_hash(secret, NULL, 0), 0xabac0158050fc4dc);
	ck_assert_uint_ne(flowtab_hash(secret, words, 2), flowtab_hash(secret, words, 1));
	ck_assert_uint_ne(flowtab_hash(secret, words, 2), flowtab_hash(secret, other, 2));
	ck_assert_uint_ne(flowtab_hash(secret, words, 2), flowtab_hash(words, words, 2));
}
END_TEST

START_TEST(secrets_differ)
{
	struct flowtab a, b;

	ck_assert_int_eq(flowtab_init(&a), 0);
	ck_assert_int_eq(flowtab_init(&b), 0);
	ck_assert_int_ne(memcmp(a.secret, b.secret, sizeof(a.secret)), 0);
	flowtab_free(&a);
	flowtab_free(&b);
}
END_TEST

/** main() - run them */
int main(void)
{
	Suite *suite = suite_create("flowtab");
	TCase *tests = tcase_create("all");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, random_walk, 1, 4);
	tcase_add_test(tests, many);
	tcase_add_test(tests, hash);
	tcase_add_test(tests, secrets_differ);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
