/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd.h: what the parts of the command saferaw share
 */
#ifndef SAFERAW_CMD_H
#define SAFERAW_CMD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "libsaferaw_int.h"
#include "pkt.h"

/* Exit statuses */
#define CMD_OK 0
#define CMD_REFUSED 1 /* explain: would not pass */
#define CMD_FAILED 2  /* wrong usage, or a slice that cannot be reached */

/* One subcommand at work on one slice */
struct cmd {
	struct saferaw *saferaw;
	bool json;            /* print nothing: the caller prints `out` */
	bool all;             /* --all */
	bool openmetrics;     /* --openmetrics */
	const char *argument; /* of explain, else NULL */
	json_t *out;          /* this slice's object */
	struct proto_netns_reply *netns; /* stats for root: of each netns that was met */
	unsigned netnses;
};

/* A socket of the host's own stack */
struct cmd_socket {
	uint8_t class;	/* enum steer_class */
	uint8_t family; /* of its table: what "::" is for */
	uint8_t state;	/* as in /proc/net/tcp */
	uint16_t port; /* or ICMP identifier */
	uint32_t uid;
	struct addr local;
};

struct cmd_sockets {
	struct cmd_socket *row;
	size_t used, room;
	bool seen; /* the command is where the slice is; else there are none here */
};

/* The longest text of an address with ports, as cmd_endpoint() makes it */
#define CMD_ENDPOINT_MAX (ADDR_TEXT_MAX + 16)

/* saferaw.c */
void cmd_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cmd_error_to_syslog(void);

/* cmd_show.c: words that several subcommands use */
const char *cmd_protocol(unsigned class, unsigned family);
const char *cmd_kind(unsigned kind);
const char *cmd_endpoint(char text[static CMD_ENDPOINT_MAX], unsigned family, const struct addr *addr, uint32_t lo,
			 uint32_t count);
const char *cmd_local(char text[static CMD_ENDPOINT_MAX], unsigned family, const struct prefix *local, uint32_t lo,
		      uint32_t count);
json_t *cmd_json_addr(const struct addr *addr);
json_t *cmd_json_length(const struct prefix *local);
const struct policy_slice *cmd_slice(const struct cmd *cmd);
int cmd_port(struct cmd *cmd, unsigned class, uint16_t port, const struct addr *local, unsigned family,
	     struct proto_port_reply *reply);
const char *cmd_port_state(unsigned state);

/* cmd_sockets.c: the host's own sockets on a slice's ports, without those that the broker holds ports with */
int cmd_sockets_read(struct cmd_sockets *sockets, struct cmd *cmd);
const struct cmd_socket *cmd_sockets_find(const struct cmd_sockets *sockets, unsigned class, uint16_t port,
					  const struct addr *local);
const char *cmd_socket_state(const struct cmd_socket *socket);
json_t *cmd_json_socket(const struct cmd_socket *socket);

/* cmd_flows.c: call for each flow of the slice; 0, or -1 and it has been said why. What is called returns likewise. */
int cmd_each_flow(struct cmd *cmd, int (*fn)(const struct proto_flow_row *row, void *arg), void *arg);

/* cmd_links.c: the same for each link */
int cmd_each_link(struct cmd *cmd, int (*fn)(const struct proto_link_row *row, void *arg), void *arg);

/* cmd_grants.c: protocols without ports */
#define CMD_GRANT_MAX 8
const char *cmd_grant_name(unsigned protocol, char text[static CMD_GRANT_MAX]);
int cmd_grant(struct cmd *cmd, uint8_t protocol, uint32_t key, const struct addr *local,
	      struct proto_port_reply *reply);
void cmd_grants(struct cmd *cmd, const struct policy_slice *slice);

/* The subcommands: exit status */
int cmd_flows(struct cmd *cmd);
int cmd_links(struct cmd *cmd, bool mappings);
int cmd_ports(struct cmd *cmd);
int cmd_stats(struct cmd *cmd);
void cmd_stats_netns(struct cmd *cmd, json_t *top);
int cmd_explain(struct cmd *cmd);
int cmd_explain_packet(struct cmd *cmd);

/* cmd_metrics.c: what stats found, for Prometheus and its kin */
void cmd_metrics(const json_t *top, FILE *file);

/* cmd_reserve.c: reserve and release; the arguments without options, the configuration file or NULL */
int cmd_reserve(int argc, char **argv, const char *config);

/* cmd_capture.c, cmd_run.c, cmd_netns.c: with a command line of their own; slice is what was named before it, or NULL */
int cmd_capture(int argc, char **argv, const char *slice);
int cmd_run(int argc, char **argv, const char *slice);
int cmd_netns(int argc, char **argv, const char *slice);

/* cmd_given.c: a packet given on the command line. A static buffer holds it: the command looks at one. */
const uint8_t *cmd_given(const char *argument, size_t *length);

#endif
