/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_metrics.c: saferaw stats --openmetrics: the totals as metrics
 *
 * OpenMetrics text format 1.0, which the textfile collector of Prometheus'
 * node_exporter reads too. All samples of one metric must stand together, so
 * the metrics are made from the whole JSON that stats has gathered: each
 * family is one walk over all slices, all namespaces, or all links of slices.
 *
 * A family takes its samples from members of each object: numbers, or objects
 * that have a number for each reason. A link's samples have its number and its
 * user beside the slice, and end with it. Its mappings are counted by event,
 * not in a metric for each: OpenMetrics keeps names that end in _created for
 * itself.
 */
#include <inttypes.h>
#include <string.h>

#include "cmd.h"

#define MEMBERS_MAX 4

struct family {
	const char *name, *help;
	const char *unit; /* the end of its name, or NULL */
	const char *list; /* "slices" or "netns" */
	bool gauge;
	struct {
		const char *key;           /* in the object */
		const char *label, *value; /* of its samples; label NULL: none */
	} member[MEMBERS_MAX];
	const char *part; /* of each object, an array whose objects have the members; NULL: it has them itself */
};

static const struct family families[] = {
	{"saferaw_packets",
	 "Packets that passed: rx to programs, tx from them.",
	 "packets",
	 "slices",
	 false,
	 {{"rx_packets", "direction", "rx"}, {"tx_packets", "direction", "tx"}}},
	{"saferaw_bytes",
	 "Bytes of the packets that passed.",
	 "bytes",
	 "slices",
	 false,
	 {{"rx_bytes", "direction", "rx"}, {"tx_bytes", "direction", "tx"}}},
	{"saferaw_refused_packets",
	 "Packets that the relay refused.",
	 "packets",
	 "slices",
	 false,
	 {{"rx_refused", "direction", "rx"}, {"tx_refused", "direction", "tx"}}},
	{"saferaw_dropped_packets",
	 "Packets that the steering programs in the kernel dropped.",
	 "packets",
	 "slices",
	 false,
	 {{"steering", NULL, NULL}}},
	{"saferaw_opens",
	 "Requests for a flow.",
	 NULL,
	 "slices",
	 false,
	 {{"grants", "result", "granted"}, {"refusals", "result", "refused"}}},
	{"saferaw_flows", "Flows that are open.", NULL, "slices", true, {{"flows", NULL, NULL}}},
	{"saferaw_flows_limit", "Flows that may be open at once.", NULL, "slices", true, {{"flows_max", NULL, NULL}}},
	{"saferaw_clients", "Clients that are connected.", NULL, "slices", true, {{"clients", NULL, NULL}}},
	{"saferaw_clients_limit",
	 "Clients that may be connected at once.",
	 NULL,
	 "slices",
	 true,
	 {{"clients_max", NULL, NULL}}},
	{"saferaw_link_packets",
	 "Packets of a link that passed: rx into it, tx out of it.",
	 "packets",
	 "slices",
	 false,
	 {{"rx_packets", "direction", "rx"}, {"tx_packets", "direction", "tx"}},
	 "links"},
	{"saferaw_link_bytes",
	 "Bytes of the packets that passed.",
	 "bytes",
	 "slices",
	 false,
	 {{"rx_bytes", "direction", "rx"}, {"tx_bytes", "direction", "tx"}},
	 "links"},
	{"saferaw_link_translated_packets",
	 "Packets that passed and whose port was translated.",
	 "packets",
	 "slices",
	 false,
	 {{"rx_translated", "direction", "rx"}, {"tx_translated", "direction", "tx"}},
	 "links"},
	{"saferaw_link_refused_packets",
	 "Packets of a link that were refused, either way, by steering or by the relay.",
	 "packets",
	 "slices",
	 false,
	 {{"refused", NULL, NULL}},
	 "links"},
	{"saferaw_link_mapping_events",
	 "Mappings created, expired, and displaced by others; exhausted: packets that got none.",
	 NULL,
	 "slices",
	 false,
	 {{"created", "event", "created"},
	  {"expired", "event", "expired"},
	  {"displaced", "event", "displaced"},
	  {"exhausted", "event", "exhausted"}},
	 "links"},
	{"saferaw_link_mappings", "Mappings in use.", NULL, "slices", true, {{"mappings", NULL, NULL}}, "links"},
	{"saferaw_netns_packets",
	 "Packets that passed, of all slices of a network namespace.",
	 "packets",
	 "netns",
	 false,
	 {{"rx_packets", "direction", "rx"}, {"tx_packets", "direction", "tx"}}},
	{"saferaw_netns_bytes",
	 "Bytes of the packets that passed, of all slices of a network namespace.",
	 "bytes",
	 "netns",
	 false,
	 {{"rx_bytes", "direction", "rx"}, {"tx_bytes", "direction", "tx"}}},
	{"saferaw_netns_refused_packets",
	 "Packets that the relay refused, of all slices of a network namespace.",
	 "packets",
	 "netns",
	 false,
	 {{"rx_refused", "direction", "rx"}, {"tx_refused", "direction", "tx"}}},
	{"saferaw_netns_dropped_packets",
	 "Packets that steering dropped, of all slices of a network namespace.",
	 "packets",
	 "netns",
	 false,
	 {{"steering", NULL, NULL}}},
	{"saferaw_unknown_refused_packets",
	 "Packets that reached the relay and belong to no slice.",
	 "packets",
	 "netns",
	 false,
	 {{"unknown_rx_refused", "direction", "rx"}}},
	{"saferaw_unknown_dropped_packets",
	 "Packets that steering dropped and that belong to no slice.",
	 "packets",
	 "netns",
	 false,
	 {{"unknown_steering", NULL, NULL}}},
};

/**
 * put_label() - one label and its value
 * @file: where to
 * @lead: what stands before it
 * @name: of the label
 * @value: any text; escaped as the format wants it
 */
static void put_label(FILE *file, const char *lead, const char *name, const char *value)
{
	fprintf(file, "%s%s=\"", lead, name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", file);
		else if (*value == '"' || *value == '\\')
			fprintf(file, "\\%c", *value);
		else
			fputc(*value, file);
	}
	fputc('"', file);
}

/**
 * put_number() - one label whose value is a number
 * @file: where to
 * @name: of the label, and of the object's member
 * @object: JSON object
 */
static void put_number(FILE *file, const char *name, const json_t *object)
{
	fprintf(file, ",%s=\"%" PRIu64 "\"", name, (uint64_t)json_integer_value(json_object_get(object, name)));
}

/**
 * put_sample() - one number
 * @file: where to
 * @family: it belongs to
 * @whole: slice or netns that it is of
 * @object: the same, or a link of the slice
 * @member: index of the family's member
 * @reason: reason, or NULL
 * @number: JSON number
 */
static void put_sample(FILE *file, const struct family *family, const json_t *whole, const json_t *object,
		       unsigned member, const char *reason, const json_t *number)
{
	const char *scope = !strcmp(family->list, "netns") ? "netns" : "slice";

	fprintf(file, "%s%s", family->name, family->gauge ? "" : "_total");
	put_label(file, "{", scope, json_string_value(json_object_get(whole, scope)));
	if (family->part) {
		put_number(file, "link", object);
		put_number(file, "uid", object);
	}
	if (family->member[member].label)
		put_label(file, ",", family->member[member].label, family->member[member].value);
	else if (reason) /* of steering, whose names begin with steer-in and steer-out */
		put_label(file, ",", "direction", strncmp(reason, "steer-in", strlen("steer-in")) ? "tx" : "rx");
	if (reason)
		put_label(file, ",", "reason", reason);
	fprintf(file, "} %" PRIu64 "\n", (uint64_t)json_integer_value(number));
}

/**
 * put_object() - the samples that one object has
 * @file: where to
 * @family: they belong to
 * @whole: slice or netns that they are of
 * @object: the same, or a link of the slice
 */
static void put_object(FILE *file, const struct family *family, const json_t *whole, const json_t *object)
{
	for (unsigned m = 0; m < MEMBERS_MAX && family->member[m].key; m++) {
		json_t *value = json_object_get(object, family->member[m].key);

		if (json_is_integer(value))
			put_sample(file, family, whole, object, m, NULL, value);
		for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at))
			put_sample(file, family, whole, object, m, json_object_iter_key(at),
				   json_object_iter_value(at));
	}
}

/**
 * put_family() - one metric with all its samples
 * @file: where to
 * @family: metric
 * @list: JSON array of slices or netns
 */
static void put_family(FILE *file, const struct family *family, const json_t *list)
{
	fprintf(file, "# TYPE %s %s\n", family->name, family->gauge ? "gauge" : "counter");
	if (family->unit)
		fprintf(file, "# UNIT %s %s\n", family->name, family->unit);
	fprintf(file, "# HELP %s %s\n", family->name, family->help);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *whole = json_array_get(list, i), *parts = json_object_get(whole, family->part);

		if (!family->part)
			put_object(file, family, whole, whole);
		for (size_t p = 0; p < json_array_size(parts); p++)
			put_object(file, family, whole, json_array_get(parts, p));
	}
}

/**
 * has_samples() - whether there is anything for a family
 * @family: metric
 * @list: JSON array of slices or netns
 */
static bool has_samples(const struct family *family, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!family->part || json_array_size(json_object_get(json_array_get(list, i), family->part)))
			return true;
	return false;
}

/**
 * cmd_metrics() - everything as metrics
 * @top: what stats has gathered, with every reason
 * @file: where to
 *
 * Families of which there is nothing (the netns' for users, the links' where there is none) are left out.
 */
void cmd_metrics(const json_t *top, FILE *file)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(families); i++) {
		const json_t *list = json_object_get(top, families[i].list);

		if (has_samples(&families[i], list))
			put_family(file, &families[i], list);
	}
	fputs("# EOF\n", file);
}
