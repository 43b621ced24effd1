/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h: two throw-away network namespaces joined by a veth pair, one of them steered
 */
#ifndef SAFERAW_WORLD_H
#define SAFERAW_WORLD_H

#include "netns.h"
#include "packets.h"
#include "steering.h"

/* The steered host's addresses, with indexes 0 to 3; and the others */
#define HOST4 "10.11.0.1"
#define HOST6 "fd11::1"
#define SECOND4 "10.11.0.3"
#define SECOND6 "fd11::3"
#define PEER4 "10.11.0.2"
#define PEER6 "fd11::2"
#define FAR4 "10.12.0.9" /* behind the peer */
#define FAR6 "fd12::9"
#define FAR4VIA6 "10.13.0.9" /* behind the peer's IPv6 address */
#define DENIED4 "10.66.1.2"
#define DENIED6 "fd66::2"
#define FORBIDDEN4 "10.12.0.66" /* denied to SLICE alone */
#define FORBIDDEN6 "fd12::66"

/* Ports of all classes, on all addresses */
#define PORT 5000        /* slice 1, held, open */
#define PORT_OTHER 5001  /* slice 1, held, open */
#define PORT_CLOSED 5002 /* slice 1, held */
#define PORT_UNHELD 5003 /* slice 1, open */
#define PORT_LOCAL 5010  /* slice 2, which is local, held, open */
#define PORT_HOST 6000   /* nobody's, but `open` says open */
#define PORT_LATER 6001  /* nobody's: for what follows */
/* Proxied prefixes, with the rows behind STEER_ADDRESSES_MAX: all ports are SLICE_WHOLE's, of which those above are held and open, or not */
#define PROXIED4 "198.51.100.64/28"
#define PROXIED6 "2001:db8:9::/64"
#define PROXIED_HOST4 "203.0.113.7/32"

#define SLICE 1
#define SLICE_LOCAL 2 /* may send fragments too */
#define SLICE_WHOLE 3 /* may send fragments */

#define SHARE 512
#define WAIT_MS 10000 /* for what must happen: only a probe that fails waits so long */

struct world {
	struct netns ns;
	int home, peer; /* namespaces, as is ns.fd */
	int wire;       /* AF_PACKET at the peer's end of the veth */
	unsigned wire_ifindex, uplink;
	uint8_t host_mac[6], peer_mac[6];
	struct steer_open *open[STEER_BLOCKS]; /* of the rows that there are */
	struct steer_traffic *traffic;
};

struct world *world_make(enum conf_attach mode, unsigned mtu);
void world_free(struct world *world);
void world_steer(struct world *world);
void world_proxy(struct world *world);
void world_alive(void);
void world_stale(void);
int world_probe(unsigned mtu, void (*checks)(struct world *world));
void world_shell(int ns, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_sysctl(int ns, const char *name, const char *value);
int world_socket(int ns, int family, int type, int protocol);
void world_enter(int ns);

bool wire_send_frame(struct world *world, const struct packet *packet, const uint8_t *destination, int vlan);
bool wire_send(struct world *world, const struct packet *packet);
bool wire_gets(struct world *world, const struct packet *packet);
bool wire_silent(struct world *world, const struct packet *packet);
void wire_settle(struct world *world);
bool tun_send(struct world *world, const struct packet *packet);
bool tun_gets(struct world *world, const struct packet *packet);
bool tun_silent(struct world *world, const struct packet *packet);

#endif
