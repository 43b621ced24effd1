/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_keys.h: the keys of the configuration and what each takes
 *
 * Between conf.c, which loads files, conf_keys.c, which knows the keys, and
 * conf_check.c, which checks the whole.
 */
#ifndef SAFERAW_CONF_KEYS_H
#define SAFERAW_CONF_KEYS_H

#include <confuse.h>
#include <sys/queue.h>

#include "conf.h"
#include "conf_text.h"

#define CONF_KEYS_MAX 40 /* of one kind of section */
#define CONF_RESERVE_MAX 64 /* the name of a reserve section with its NUL: a slice, a protocol and ports go in */

/* Where something was written */
struct conf_place {
	const char *file;
	unsigned line;
};

/* What a slice's section says beyond struct conf_slice, until everything is read */
struct conf_draft {
	struct conf_place place;
	struct conf_place netns_place;
	char netns[PROTO_NAME_MAX];
	bool low_ports, overflow_id;
};

/* What a reserve section says, until everything is read */
struct conf_reserve {
	STAILQ_ENTRY(conf_reserve) link;
	struct conf_place place;
	char name[CONF_RESERVE_MAX], slice[PROTO_NAME_MAX]; /* "": wrong */
	unsigned ranges;
	struct policy_range range[POLICY_RANGES_MAX];
};

/* A load in progress */
struct conf_loader {
	conf_report *report;
	void *arg;
	unsigned errors;
	bool broken; /* a file could not be read to its end: what it defines is not known */
	struct conf *conf;
	const struct conf_text *file;          /* present one */
	unsigned section;                      /* sections of it that were taken */
	unsigned line;                         /* of the last value in it */
	bool explained;                        /* libconfuse has said why it stopped in it */
	cfg_t *root;                           /* of the present file */
	unsigned given[CONF_KEYS_MAX];         /* line of each top-level key of the present file, 0: not given */
	unsigned section_given[CONF_KEYS_MAX]; /* the same for the present section */
	struct conf_place *netns_place;        /* of each conf->netns; file NULL: not written anywhere */
	struct conf_draft *draft;              /* for each conf->slice */
	struct conf_draft *slice_draft;        /* of the present section */
	STAILQ_HEAD(, conf_reserve) reserves;
	char relay_user[64];
	struct conf_place relay_user_place;
	unsigned long overflow_uid, overflow_gid;
};

/* A key's value as libconfuse keeps it for us */
struct conf_value {
	unsigned line;
	char text[];
};

/* One key. `take` puts a value into object + offset, or complains. */
struct conf_key {
	const char *name;
	bool list;
	bool (*take)(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		     void *object);
	size_t offset, size; /* of a plain field */
	uint64_t min, max;   /* of a number; of ranges, min is the class; of lists, min is the offset of their count */
	bool draft;          /* the object is the section's struct conf_draft */
};

/* Port ranges, a key for each class that has ports or identifiers; they are read by conf_read_range() */
#define CONF_RANGE_KEYS(take) \
	{"tcp", true, take, .min = CLASS_TCP}, \
	{"udp", true, take, .min = CLASS_UDP}, \
	{"icmp", true, take, .min = CLASS_ICMP}, \
	{"sctp", true, take, .min = CLASS_SCTP}, \
	{"dccp", true, take, .min = CLASS_DCCP}, \
	{"udplite", true, take, .min = CLASS_UDPLITE}

extern const struct conf_key conf_top_keys[], conf_netns_keys[], conf_slice_keys[]; /* end with name NULL */
extern const struct conf_key conf_reserve_keys[];

/* "FILE:LINE: text" to the report; false */
bool conf_error(struct conf_loader *loader, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* The same about the value of a key */
#define WRONG(loader, value, ...) conf_error(loader, (loader)->file->path, (value)->line, __VA_ARGS__)
bool conf_read_range(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		     struct policy_range *range);
bool conf_name_ok(const char *name);
unsigned long conf_overflow_id(const char *file);
/* conf_reserve.c: reserve sections, and when a slice's ports are held */
bool conf_take_hold(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value, void *object);
void conf_reserve_take(struct conf_loader *loader, cfg_t *section, unsigned line);
void conf_reserve_apply(struct conf_loader *loader);
void conf_reserve_free(struct conf_loader *loader);
/* conf_grants.c: protocols without ports */
bool conf_take_gre(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value, void *object);
bool conf_take_protocol(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			void *object);
void conf_grants_overlap(struct conf_loader *loader, unsigned first, unsigned second);
uint64_t conf_grants_count(const struct conf_slice *slice);
/* conf_proxied.c: prefixes that are routed to the host */
bool conf_take_proxied(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object);
void conf_proxied_overlap(struct conf_loader *loader, unsigned first, unsigned second);
uint64_t conf_proxied_count(const struct conf_slice *slice);
/* conf_check.c: what can be checked only when every file is through */
void conf_check(struct conf_loader *loader);
/* Hand every value of a parsed section to its key */
void conf_take(struct conf_loader *loader, const struct conf_key *keys, cfg_t *section, void *object);

#endif
