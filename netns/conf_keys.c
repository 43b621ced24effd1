/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_keys.c: the keys of the configuration and what each takes
 *
 * Three tables, one for each kind of place a key can stand in. A key names a
 * function that turns one value (always a string, with its line) into a field
 * of struct conf, and complains with file and line if it cannot. Values of
 * all keys are looked at even when one is wrong, so that one run shows
 * all mistakes. Keys are taken in the order of the table, not of the file:
 * `low_ports` and `overflow_id` stand before the keys whose check needs them.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf_keys.h"
#include "util.h"

#define QUEUE_MAX (64u << 20) /* bytes of one flow */
#define RATE_MAX 1000000000000ULL
#define ID_MAX 0xfffffffeULL /* the last id, 0xffffffff, means "none" */

/**
 * conf_error() - complain, and count it
 * @loader: load
 * @file: path
 * @line: line, 0 for none
 * @format: what is wrong
 *
 * Return: false
 */
bool conf_error(struct conf_loader *loader, const char *file, unsigned line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	conf_complain(loader->report, loader->arg, file, line, format, ap);
	va_end(ap);
	loader->errors++;
	return false;
}

/**
 * conf_name_ok() - whether a slice or netns may be called so
 * @name: name; it becomes part of file names
 */
bool conf_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n < PROTO_NAME_MAX && !name[n];
}

/**
 * digits_only() - whether a text is a number
 * @text: text
 */
static bool digits_only(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

/**
 * parse_scaled() - a number with an optional k, M or G
 * @text: decimal digits; the suffix multiplies by 1,000, 1,000,000 or 1,000,000,000
 * @number: set on success
 *
 * Return: whether it is one
 */
static bool parse_scaled(const char *text, uint64_t *number)
{
	static const struct {
		char suffix;
		uint64_t factor;
	} scales[] = {{'k', 1000}, {'M', 1000000}, {'G', 1000000000}};
	char digits[24];
	size_t n = strspn(text, "0123456789"), i;
	uint64_t factor = 1;

	if (n >= sizeof(digits))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	for (i = 0; i < ARRAY_SIZE(scales) && text[n]; i++)
		if (text[n] == scales[i].suffix)
			factor = scales[i].factor;
	if (text[n] && (factor == 1 || text[n + 1]))
		return false;
	if (!parse_u64(digits, UINT64_MAX / factor, number))
		return false;
	*number *= factor;
	return true;
}

/**
 * take_number() - a number into a field of 4 or 8 bytes
 * @loader: load
 * @key: min and max say what is allowed
 * @value: text
 * @object: holds the field
 *
 * Return: false after a complaint
 */
static bool take_number(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			void *object)
{
	uint64_t number;
	uint32_t narrow;

	if (!parse_scaled(value->text, &number))
		return WRONG(loader, value, "%s: \"%.64s\" is not a number (a suffix k, M or G is allowed)",
			     key->name, value->text);
	if (number < key->min || number > key->max)
		return WRONG(loader, value, "%s: %.64s is not within %llu..%llu", key->name, value->text,
			     (unsigned long long)key->min, (unsigned long long)key->max);
	narrow = (uint32_t)number;
	if (key->size == sizeof(number))
		memcpy((char *)object + key->offset, &number, sizeof(number));
	else
		memcpy((char *)object + key->offset, &narrow, sizeof(narrow));
	return true;
}

/**
 * take_bool() - yes or no
 * @loader: load
 * @key: key
 * @value: text
 * @object: holds the field
 *
 * Return: false after a complaint
 */
static bool take_bool(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      void *object)
{
	int answer = cfg_parse_boolean(value->text);
	bool yes = answer > 0;

	if (answer < 0)
		return WRONG(loader, value, "%s: \"%.64s\" is neither yes nor no", key->name, value->text);
	memcpy((char *)object + key->offset, &yes, sizeof(yes));
	return true;
}

/**
 * take_path() - an absolute path
 * @loader: load
 * @key: size is the field's; min 1: may not be empty
 * @value: text
 * @object: holds the field
 *
 * Return: false after a complaint
 */
static bool take_path(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      void *object)
{
	size_t n = strlen(value->text);

	if (n ? value->text[0] != '/' : key->min > 0)
		return WRONG(loader, value, "%s: \"%.64s\" is not an absolute path", key->name, value->text);
	if (n >= key->size)
		return WRONG(loader, value, "%s: path is longer than %zu bytes", key->name, key->size - 1);
	memcpy((char *)object + key->offset, value->text, n + 1);
	return true;
}

/**
 * take_relay_user() - who the relay runs as; looked up when all files are read
 * @loader: load
 * @key: key
 * @value: text
 * @object: not used
 *
 * Return: false after a complaint
 */
static bool take_relay_user(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			    void *object)
{
	(void)object;
	if (!*value->text || strlen(value->text) >= sizeof(loader->relay_user))
		return WRONG(loader, value, "%s: \"%.64s\" cannot be a user's name", key->name, value->text);
	strcpy(loader->relay_user, value->text);
	loader->relay_user_place = (struct conf_place){loader->file->path, value->line};
	return true;
}

/**
 * device_name_ok() - whether a text can be (a pattern of) a device's name
 * @text: text
 * @room: longest + 1
 * @also: characters allowed beside letters and digits
 */
static bool device_name_ok(const char *text, size_t room, const char *also)
{
	size_t n;

	for (n = 0; text[n]; n++)
		if (!isalnum((unsigned char)text[n]) && !strchr(also, text[n]))
			return false;
	return n > 0 && n < room && strcmp(text, ".") && strcmp(text, "..");
}

/**
 * take_tun() - name of the packet TUN
 * @loader: load
 * @key: key
 * @value: text; so short that what struct conf_netns says fits a device's name
 * @object: struct conf_netns
 *
 * Return: false after a complaint
 */
static bool take_tun(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		     void *object)
{
	struct conf_netns *netns = object;

	if (!device_name_ok(value->text, CONF_TUN_SIZE, "._-"))
		return WRONG(loader, value,
			     "%s: \"%.64s\" cannot be a device's name (letters, digits, \"._-\", 1 to %d)", key->name,
			     value->text, CONF_TUN_SIZE - 1);
	strcpy(netns->tun, value->text);
	return true;
}

/**
 * take_uplink() - a pattern of device names
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_netns
 *
 * Return: false after a complaint
 */
static bool take_uplink(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			void *object)
{
	struct conf_netns *netns = object;

	if (!device_name_ok(value->text, IFNAMSIZ, "._-@*?[]!"))
		return WRONG(loader, value, "%s: \"%.64s\" cannot be a pattern of device names", key->name,
			     value->text);
	if (netns->uplinks == CONF_PATTERNS_MAX)
		return WRONG(loader, value, "%s: more than %d", key->name, CONF_PATTERNS_MAX);
	strcpy(netns->uplink[netns->uplinks++], value->text);
	return true;
}

/**
 * take_attach() - how steering is attached
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_netns
 *
 * Return: false after a complaint
 */
static bool take_attach(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			void *object)
{
	static const char *const names[] = {
		[CONF_ATTACH_AUTO] = "auto", [CONF_ATTACH_TCX] = "tcx", [CONF_ATTACH_CLSACT] = "clsact"};
	struct conf_netns *netns = object;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(value->text, names[i])) {
			netns->attach = (enum conf_attach)i;
			return true;
		}
	return WRONG(loader, value, "%s: \"%.64s\" is none of auto, tcx, clsact", key->name, value->text);
}

/**
 * take_deny() - a destination that may not be reached
 * @loader: load
 * @key: offset is the list's, min that of the number of its entries
 * @value: text
 * @object: struct conf_netns or conf_slice
 *
 * Return: false after a complaint
 */
static bool take_deny(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      void *object)
{
	struct prefix *deny = (void *)((char *)object + key->offset);
	unsigned *denied = (void *)((char *)object + key->min);

	if (*denied == POLICY_DENY_MAX)
		return WRONG(loader, value, "%s: more than %d prefixes", key->name, POLICY_DENY_MAX);
	if (!prefix_parse(value->text, &deny[*denied]))
		return WRONG(loader, value,
			     "%s: \"%.64s\" is not a prefix (ADDRESS/LENGTH, no bits set behind the length)",
			     key->name, value->text);
	++*denied;
	return true;
}

/**
 * take_netns() - the netns of a slice; looked up when all files are read
 * @loader: load
 * @key: key
 * @value: text
 * @object: not used
 *
 * Return: false after a complaint
 */
static bool take_netns(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object)
{
	(void)object;
	if (!conf_name_ok(value->text))
		return WRONG(loader, value, "%s: \"%.64s\" is not a name (a-z, 0-9, \"_-\", 1 to %d)", key->name,
			     value->text, PROTO_NAME_MAX - 1);
	strcpy(loader->slice_draft->netns, value->text);
	loader->slice_draft->netns_place.line = value->line;
	return true;
}

/**
 * take_address() - a local address of a slice
 * @loader: load
 * @key: key
 * @value: text
 * @object: struct conf_slice
 *
 * A link-local IPv6 address means nothing without its device, so it is no
 * address that a slice could own.
 *
 * Return: false after a complaint
 */
static bool take_address(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			 void *object)
{
	struct conf_slice *slice = object;
	struct addr addr;
	unsigned i;

	if (!addr_parse(value->text, &addr))
		return WRONG(loader, value, "%s: \"%.64s\" is not an address", key->name, value->text);
	if (addr_is_any(&addr) || addr_is_loopback(&addr) || addr_is_multicast(&addr) || addr_is_broadcast(&addr) ||
	    (addr_family(&addr) == AF_INET6 && addr_is_linklocal(&addr)))
		return WRONG(loader, value, "%s: %s is not a unicast address that a slice can own", key->name,
			     value->text);
	for (i = 0; i < slice->addresses; i++)
		if (addr_eq(&slice->address[i], &addr))
			return WRONG(loader, value, "%s: %s is there twice", key->name, value->text);
	if (slice->addresses == STEER_ADDRESSES_MAX)
		return WRONG(loader, value, "%s: more than %d", key->name, STEER_ADDRESSES_MAX);
	slice->address[slice->addresses++] = addr;
	return true;
}

/**
 * conf_read_range() - what a key of CONF_RANGE_KEYS has
 * @loader: load
 * @key: min is the class
 * @value: text
 * @range: filled in
 *
 * Return: false after a complaint
 */
bool conf_read_range(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		     struct policy_range *range)
{
	range->class = (uint8_t)key->min;
	return parse_port_range(value->text, &range->lo, &range->hi) ||
	       WRONG(loader, value, "%s: \"%.64s\" is not a port or range (N or LOW-HIGH, 1 to 65535)", key->name,
		     value->text);
}

/**
 * take_range() - ports or ICMP ids of a slice
 * @loader: load
 * @key: min is the class
 * @value: text
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
static bool take_range(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object)
{
	struct conf_slice *slice = object;
	struct policy_range range = {0};
	unsigned i;

	if (!conf_read_range(loader, key, value, &range))
		return false;
	if (range.class != CLASS_ICMP && range.lo < 1024 && !loader->slice_draft->low_ports)
		return WRONG(loader, value, "%s: %s reaches below 1024, which needs low_ports = yes", key->name,
			     value->text);
	for (i = 0; i < slice->ranges; i++)
		if (slice->range[i].class == range.class && slice->range[i].lo <= range.hi &&
		    slice->range[i].hi >= range.lo)
			return WRONG(loader, value, "%s: %s overlaps %u-%u of the same slice", key->name, value->text,
				     slice->range[i].lo, slice->range[i].hi);
	if (slice->ranges == POLICY_RANGES_MAX)
		return WRONG(loader, value, "%s: more than %d ranges (all protocols together)", key->name,
			     POLICY_RANGES_MAX);
	slice->range[slice->ranges++] = range;
	return true;
}

/**
 * conf_overflow_id() - the id that stands for ids without a name in a user namespace
 * @file: below /proc/sys/kernel
 *
 * Return: id
 */
unsigned long conf_overflow_id(const char *file)
{
	unsigned long id = 65534; /* the kernel's own default */
	FILE *fp = fopen(file, "re");

	if (!fp)
		return id;
	if (fscanf(fp, "%lu", &id) != 1)
		id = 65534;
	fclose(fp);
	return id;
}

/**
 * overflow_ok() - whether an id may be listed
 * @loader: load
 * @key: key
 * @value: text
 * @id: its id
 * @overflow: the kernel's overflow id of that kind
 *
 * Credentials of a user that the reader's user namespace does not know are
 * shown as the overflow id. So whoever is listed under it shares the slice
 * with every unmapped user of every user namespace.
 *
 * Return: false after a complaint
 */
static bool overflow_ok(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
			uint64_t id, unsigned long overflow)
{
	if (id != overflow || loader->slice_draft->overflow_id)
		return true;
	return WRONG(loader, value,
		     "%s: \"%.64s\" is the kernel's overflow id (%lu), which unmapped users of other user namespaces "
		     "appear as too; it needs overflow_id = yes",
		     key->name, value->text, overflow);
}

/**
 * add_id() - a user or group onto its list
 * @loader: load
 * @key: offset is the list's, min that of its count
 * @value: for complaints
 * @object: struct conf_slice
 * @id: id
 *
 * Return: false after a complaint
 */
static bool add_id(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		   void *object, uint64_t id)
{
	unsigned *ids = (unsigned *)(void *)((char *)object + key->min);
	uint32_t *list = (uint32_t *)(void *)((char *)object + key->offset);

	if (*ids == CONF_MEMBERS_MAX)
		return WRONG(loader, value, "%s: more than %d", key->name, CONF_MEMBERS_MAX);
	list[(*ids)++] = (uint32_t)id;
	return true;
}

/**
 * take_user() - a user that may connect to the slice, or sniff it
 * @loader: load
 * @key: key
 * @value: name, or number
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
static bool take_user(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      void *object)
{
	const struct passwd *passwd;
	uint64_t id;

	if (digits_only(value->text)) {
		if (!parse_u64(value->text, ID_MAX, &id))
			return WRONG(loader, value, "%s: %.64s is no user id", key->name, value->text);
	} else {
		passwd = *value->text ? getpwnam(value->text) : NULL;
		if (!passwd)
			return WRONG(loader, value, "%s: there is no user \"%.64s\"", key->name, value->text);
		id = passwd->pw_uid;
	}
	return overflow_ok(loader, key, value, id, loader->overflow_uid) && add_id(loader, key, value, object, id);
}

/**
 * take_group() - a group whose members may connect to the slice, or sniff it
 * @loader: load
 * @key: key
 * @value: name, or number
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
static bool take_group(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		       void *object)
{
	const struct group *group;
	uint64_t id;

	if (digits_only(value->text)) {
		if (!parse_u64(value->text, ID_MAX, &id))
			return WRONG(loader, value, "%s: %.64s is no group id", key->name, value->text);
	} else {
		group = *value->text ? getgrnam(value->text) : NULL;
		if (!group)
			return WRONG(loader, value, "%s: there is no group \"%.64s\"", key->name, value->text);
		id = group->gr_gid;
	}
	return overflow_ok(loader, key, value, id, loader->overflow_gid) && add_id(loader, key, value, object, id);
}

/**
 * take_peer() - a namespace that clients must be in
 * @loader: load
 * @key: key
 * @value: path
 * @object: struct conf_slice
 *
 * Return: false after a complaint
 */
static bool take_peer(struct conf_loader *loader, const struct conf_key *key, const struct conf_value *value,
		      void *object)
{
	struct conf_slice *slice = object;
	struct conf_key path = {.name = key->name, .size = PATH_MAX, .min = 1};

	if (slice->peers == CONF_PEERS_MAX)
		return WRONG(loader, value, "%s: more than %d", key->name, CONF_PEERS_MAX);
	if (!take_path(loader, &path, value, slice->peer[slice->peers]))
		return false;
	slice->peers++;
	return true;
}

/**
 * conf_take() - hand every value of a parsed section to its key
 * @loader: load
 * @keys: the section's, in the order of the section's options
 * @section: as parsed
 * @object: what the values go into
 */
void conf_take(struct conf_loader *loader, const struct conf_key *keys, cfg_t *section, void *object)
{
	unsigned i, j;

	for (i = 0; keys[i].name; i++) {
		cfg_opt_t *opt = &section->opts[i];

		for (j = 0; j < cfg_opt_size(opt); j++)
			keys[i].take(loader, &keys[i], cfg_opt_getnptr(opt, j),
				     keys[i].draft ? loader->slice_draft : object);
	}
}

#define FIELD(type, field) .offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)

const struct conf_key conf_top_keys[] = {
	{"run_dir", false, take_path, FIELD(conf, run_dir), .min = 1},
	{"relay_path", false, take_path, FIELD(conf, relay_path), .min = 1},
	{"relay_user", false, take_relay_user},
	{"quarantine", false, take_number, FIELD(conf, quarantine_ms), 0, 3600000},
	{"grace", false, take_number, FIELD(conf, grace_ms), 0, 3600000},
	{NULL},
};

const struct conf_key conf_netns_keys[] = {
	{"path", false, take_path, FIELD(conf_netns, path)},
	{"tun", false, take_tun},
	{"uplinks", true, take_uplink},
	{"attach", false, take_attach},
	{"deny", true, take_deny, FIELD(conf_netns, deny), offsetof(struct conf_netns, denied)},
	{NULL},
};

const struct conf_key conf_slice_keys[] = {
	{"low_ports", false, take_bool, FIELD(conf_draft, low_ports), .draft = true},
	{"overflow_id", false, take_bool, FIELD(conf_draft, overflow_id), .draft = true},
	{"netns", false, take_netns},
	{"addresses", true, take_address},
	{"proxied", true, conf_take_proxied},
	CONF_RANGE_KEYS(take_range),
	{"gre", true, conf_take_gre},
	{"protocols", true, conf_take_protocol},
	{"users", true, take_user, FIELD(conf_slice, user), offsetof(struct conf_slice, users)},
	{"groups", true, take_group, FIELD(conf_slice, group), offsetof(struct conf_slice, groups)},
	{"sniff_users", true, take_user, FIELD(conf_slice, sniff_user), offsetof(struct conf_slice, sniff_users)},
	{"sniff_groups", true, take_group, FIELD(conf_slice, sniff_group), offsetof(struct conf_slice, sniff_groups)},
	{"client_netns", true, take_peer},
	{"deny", true, take_deny, FIELD(conf_slice, deny), offsetof(struct conf_slice, denied)},
	{"clients", false, take_number, FIELD(conf_slice, clients_max), 1, 10000},
	{"flows", false, take_number, FIELD(conf_slice, flows_max), 1, 1000000},
	{"links", false, take_number, FIELD(conf_slice, links_max), 0, STEER_LINKS_MAX - 1},
	{"queue", false, take_number, FIELD(conf_slice, queue_bytes), 4608, QUEUE_MAX},
	{"memory", false, take_number, FIELD(conf_slice, memory_bytes), 4608, 1ULL << 40},
	{"packets_in", false, take_number, FIELD(conf_slice, packets_in), 0, RATE_MAX},
	{"packets_out", false, take_number, FIELD(conf_slice, packets_out), 0, RATE_MAX},
	{"bits_in", false, take_number, FIELD(conf_slice, bits_in), 0, RATE_MAX},
	{"bits_out", false, take_number, FIELD(conf_slice, bits_out), 0, RATE_MAX},
	{"local", false, take_bool, FIELD(conf_slice, local)},
	{"fragments", false, take_bool, FIELD(conf_slice, fragments)},
	{"hold", false, conf_take_hold},
	{NULL},
};
