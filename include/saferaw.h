/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * saferaw.h: raw IP for programs without privilege
 *
 * A program connects to its slice's broker, opens flows (a protocol, a local
 * address and a local port or ICMP identifier of the slice's range), and reads
 * and writes whole IP packets on them. The manual page is libsaferaw(3); the
 * protocol underneath, for other languages, is saferaw-protocol(7).
 *
 * Errors are returned in the manner of libc: NULL or -1, and errno. errno is
 * undefined after success. saferaw_error() has a sentence for people.
 *
 * Threads: any number may use one handle at once; calls that talk to the
 * broker take turns, and wait for each other. One flow may be used by one
 * sender (saferaw_send, saferaw_last_reason) and one receiver (saferaw_recv)
 * at once, without a lock; different flows are independent. Nobody may use
 * what is being closed.
 *
 * Waiting: a call that talks to the broker waits for the answer at most 15
 * seconds (ETIMEDOUT) and goes on after a signal. No other call waits, except
 * saferaw_send() and saferaw_recv() as send(2) and recv(2) do.
 *
 * Processes: a handle belongs to the process that made it. In a child of
 * fork(2) the broker's answers would go to whoever reads first, so there every
 * call that talks to the broker fails with ENOTCONN; the child may
 * saferaw_disconnect() and saferaw_close(), which do not disturb the parent,
 * and connect anew. Flows' file descriptors work in every process that has
 * them, by send(2) and recv(2). All file descriptors are close-on-exec.
 *
 * There is no signal, no output and no global state; only the text of a failed
 * saferaw_connect(), and the copy that saferaw_error() returns, are kept for
 * each thread.
 *
 * Addresses are struct sockaddr_in (AF_INET) or struct sockaddr_in6 (AF_INET6)
 * in a struct sockaddr_storage, port in network byte order as always; for ICMP
 * and ICMPv6 the port field holds the identifier of echo and timestamp
 * messages (RFC 792, RFC 4443), in network byte order too. An IPv4-mapped IPv6
 * address (RFC 4291 2.5.5.2) means the IPv4 address. Zones (sin6_scope_id) are
 * not used: link-local addresses are no addresses of a slice.
 */
#ifndef SAFERAW_H
#define SAFERAW_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden symbols; what this header declares is what it shows. */
#pragma GCC visibility push(default)

/* A conversation with the broker about one slice */
struct saferaw;
/* One flow of it */
struct saferaw_flow;

enum saferaw_kind {
	SAFERAW_CONSUMER = 1, /* reads and writes; the host's stack stays silent on its port */
	SAFERAW_SNIFFER,      /* reads what flows on its ports send and receive; holds no port */
	SAFERAW_ICMP_ERROR    /* reads ICMP errors about its port; the host's stack stays silent there */
};

/* struct saferaw_request flags */
#define SAFERAW_META 0x01   /* each packet read comes with a struct saferaw_meta */
#define SAFERAW_ERRORS 0x02 /* ICMP errors about this flow (sniffer: its ports) are read from it too */

/*
 * What to open. Start from SAFERAW_REQUEST_INIT. Fields that a later version
 * adds are behind these and zero in programs built with this one; `size` tells
 * the library which it has before it.
 */
struct saferaw_request {
	size_t size;                    /* sizeof(struct saferaw_request) */
	int kind;                       /* enum saferaw_kind */
	int protocol;                   /* IPPROTO_TCP, _UDP, _ICMP, _ICMPV6, _SCTP, _DCCP, _UDPLITE: with ports or ids;
					   IPPROTO_GRE with a key; any other, whole; sniffer: or 0, all */
	unsigned flags;                 /* SAFERAW_META, SAFERAW_ERRORS */
	unsigned count;                 /* contiguous ports from local's on: 0 and 1 mean one */
	struct sockaddr_storage local;  /* AF_UNSPEC or "any": every own one; port (ICMP: id) 0: a free one (sniffer: all) */
	struct sockaddr_storage remote; /* AF_UNSPEC: packets from and to everybody; port 0: any port of that host */
	uint32_t key;                   /* of GRE (RFC 2890), host byte order; else 0 */
	unsigned local_len;             /* local is a proxied prefix of so many bits; 0: it is one address */
};
#define SAFERAW_REQUEST_INIT                                                                                         \
	{                                                                                                            \
		.size = sizeof(struct saferaw_request), .kind = SAFERAW_CONSUMER                                     \
	}

#define SAFERAW_META_SENT 0x01 /* a flow of the slice has sent the packet; else it has arrived */

/*
 * Before each packet on a flow opened with SAFERAW_META, host byte order.
 * saferaw_recv() takes it off; who reads the file descriptor itself finds it
 * in front of the packet.
 */
struct saferaw_meta {
	uint32_t size;    /* of this header: the packet starts so many bytes in */
	uint32_t flags;   /* SAFERAW_META_SENT; newer brokers may set more */
	uint64_t time_ns; /* CLOCK_REALTIME when the broker took the packet from the kernel, or gave it to it */
	uint32_t length;  /* of the packet as it was, bytes; a filter may have cut what follows */
	uint32_t pad;
};

struct saferaw_stats {
	size_t size;                     /* set by the caller to sizeof(struct saferaw_stats) */
	uint64_t rx_packets, rx_bytes;   /* handed to the program */
	uint64_t tx_packets, tx_bytes;   /* put on the wire */
	uint64_t rx_refused, tx_refused; /* all reasons; one by one with saferaw_refused() */
};

enum saferaw_event_type {
	SAFERAW_EVENT_SHUTDOWN = 1, /* the broker stops; every flow is at its end */
	SAFERAW_EVENT_REVOKED,      /* the flow of number `flow` was taken back */
	SAFERAW_EVENT_ADDRESS_GONE, /* flows on `address` rest until it returns */
	SAFERAW_EVENT_ADDRESS_BACK,
	SAFERAW_EVENT_ROUTES, /* sources and MTUs may have changed */
	SAFERAW_EVENT_MISSED  /* some events before this one were lost */
};

struct saferaw_event {
	int type;                        /* enum saferaw_event_type; newer brokers may send more */
	uint64_t flow;                   /* REVOKED: number of the flow, as saferaw_flow_number() has it; else 0 */
	struct sockaddr_storage address; /* ADDRESS_GONE, ADDRESS_BACK; else AF_UNSPEC */
};

/**
 * saferaw_connect() - begin a conversation with a slice's broker
 * @slice: name of the slice; or path of its control socket when there is a '/'
 *	in it; NULL for $SAFERAW_SLICE, and where that is unset or empty for
 *	the only slice of this host, or the only one that has the user on its
 *	list
 *
 * A name is looked up as NAME.sock in the directory "slices" below the
 * broker's run directory, which $SAFERAW_RUN_DIR overrides. Both variables are
 * left out of account in a program that gains privilege by its file
 * (secure_getenv(3)). Who may connect is decided by the broker from the
 * credentials that the kernel reports (SO_PEERCRED, unix(7)) at this moment.
 *
 * Return: a handle; or NULL and errno (saferaw_error(NULL) has the text):
 *	EINVAL		not a name of a slice
 *	ENAMETOOLONG	name or path too long for a socket address
 *	ENOENT		no such slice, or no slice at all
 *	ENOTUNIQ	@slice is NULL and several slices have the user on their
 *			lists
 *	ECONNREFUSED	the broker is not running
 *	EACCES		no permission to use the socket
 *	EPERM		user and groups of this process are no members of the slice
 *	EUSERS		the slice has as many clients as it may have
 *	EPROTO		the broker speaks another version of the protocol, or something else is there
 *	ECONNRESET	the broker closed the conversation
 *	ETIMEDOUT	the broker does not answer
 *	EMFILE, ENFILE, ENOMEM	as socket(2)
 *
 * Thread-safe. Uses 3 file descriptors for each handle.
 */
struct saferaw *saferaw_connect(const char *slice);

/**
 * saferaw_disconnect() - end a conversation
 * @saferaw: handle, not used again; or NULL, which does nothing
 *
 * Flows stay open: each lives until saferaw_close(), or until the last copy of
 * its file descriptor is closed. On those left over, calls that talk to the
 * broker fail with ENOTCONN. errno is kept.
 */
void saferaw_disconnect(struct saferaw *saferaw);

/**
 * saferaw_slice() - name of the slice, as the broker says it
 * @saferaw: handle
 *
 * Return: the name; belongs to the handle. Thread-safe.
 */
const char *saferaw_slice(const struct saferaw *saferaw);

/**
 * saferaw_error() - what went wrong last, for people
 * @saferaw: handle; or NULL for this thread's last saferaw_connect() that failed
 *
 * One line without a full stop, in English. With a handle it is about the call
 * that failed last on it or on one of its flows, in whatever thread;
 * saferaw_send() and saferaw_recv() leave it alone (saferaw_reason_text() and
 * strerror(3) say it for them).
 *
 * Return: text, "" when nothing has failed; belongs to this thread and holds
 * until its next call of this function or of saferaw_connect(). Keeps errno.
 * Thread-safe.
 */
const char *saferaw_error(struct saferaw *saferaw);

/**
 * saferaw_fd() - a file descriptor to wait on for events
 * @saferaw: handle
 *
 * Readable (poll(2), select(2), epoll(7)) while saferaw_next_event() has an
 * event to give, or an error to report. It may be readable for a moment for no
 * reason while another thread talks to the broker. Only wait on it: it is
 * neither to be read nor closed.
 *
 * Return: the file descriptor. Thread-safe.
 */
int saferaw_fd(const struct saferaw *saferaw);

/**
 * saferaw_next_event() - take the next event
 * @saferaw: handle
 * @event: filled in when there is one
 *
 * Does not wait for events; it waits for a call that talks to the broker in
 * another thread. The handle keeps 64 events: what comes when it is full is
 * lost, and SAFERAW_EVENT_MISSED stands in its place. A program that does not
 * care for events need not call this.
 *
 * Return: 1 when @event is filled in; 0 when there is none; -1 and errno:
 *	ECONNRESET	the broker closed the conversation (a restart, too): connect and open anew
 *	EPROTO		the broker sent what is no message
 *	ENOTCONN	the handle belongs to another process
 *
 * Thread-safe.
 */
int saferaw_next_event(struct saferaw *saferaw, struct saferaw_event *event);

/**
 * saferaw_open() - open a flow
 * @saferaw: handle
 * @request: what to open
 *
 * The family of the flow is that of the addresses given; with ICMP it is IPv4,
 * with ICMPv6 IPv6; with another protocol and no address at all the flow is for
 * both families. The first flow on a protocol, address and port makes its uid the
 * port's holder; more flows on it differ in their remote and belong to the
 * same uid. A packet goes to the flow that fits it best: local and remote
 * before local alone before range. From when the call returns the host's stack
 * neither answers nor sees what arrives for the flow.
 *
 * Proxied prefixes (saferaw.conf(5)) are routed to the host and are the slice's
 * whole, with every port of each address; port 0 finds a free one among all. A flow
 * has part in one only when local is an address in it, or, with local_len, the
 * prefix. On the prefix it sends from whichever address of it the packet says,
 * which may not be zeros there. ICMP requests reach such flows too. A sniffer on
 * port 0 without an address sees all of the slice.
 *
 * A flow of the other kinds only reads: saferaw_send() fails with EPERM, and
 * what is written past it is dropped and counted ("read-only"). There may be
 * many of them on a port (256, alike or not), each with a copy of every packet;
 * who reads too slowly loses its own copies alone ("queue-full"), and so it is
 * when there are more copies of the slice's packets to be made than the broker
 * has time for ("copy-limit").
 *
 * SAFERAW_ICMP_ERROR reads the ICMP errors about its port, be it that a flow
 * on the port has sent what they are about or nobody has; with a remote only
 * those about packets to there. It holds its port as a consumer does: so it is
 * for the same uid, and the host's stack is silent there even when no consumer
 * is open.
 *
 * SAFERAW_SNIFFER reads what flows on its ports send (as it leaves, all filled
 * in) and what arrives for them (as it came, and also when nobody reads it),
 * and with SAFERAW_ERRORS the ICMP errors about them; SAFERAW_META says which
 * way a packet went. It holds no port: on one that nobody has open it reads
 * nothing. Protocol 0 is every protocol, and port 0 every port of the slice.
 * It reads of flows of its own uid; of others when the slice's configuration
 * says so (sniff_users, sniff_groups), and then of all.
 *
 * Return: a flow; or NULL and errno (and saferaw_error()):
 *	EINVAL		@request is not well-formed: size, kind, flags, count, a range beyond 65535, local_len
 *	E2BIG		@request has fields set that this version does not know
 *	EPROTONOSUPPORT	@request's protocol is none that a slice could have; 0 is for a sniffer on port 0
 *	EAFNOSUPPORT	families of protocol, local and remote disagree
 *	EPERM		the user may look at the slice (root may), but is no member of it; or the port
 *			to be sniffed is another user's
 *	EACCES		a port outside the slice's ranges, a protocol or key that it is not granted
 *	EADDRNOTAVAIL	local is no address or prefix of the slice, or not there at the moment
 *	EADDRINUSE	another user or a socket of the host has the port, a flow like this is open
 *			already, or (port 0) no port is free
 *	EOPNOTSUPP	the broker is older than this library and does not know the kind or a flag
 *	EMFILE		the slice has as many flows as it may have, or the port as many that only read; or
 *			this process is out of file descriptors
 *	ENOSPC		the slice's flows have as much memory as they may have
 *	ENFILE		the broker or the host is out of file descriptors or reservations
 *	ENOMEM		out of memory
 *	ECONNRESET, EPROTO, ETIMEDOUT, ENOTCONN		as saferaw_connect(), saferaw_next_event()
 *
 * A flow whose open timed out here is closed when the broker's answer comes.
 * Thread-safe.
 */
struct saferaw_flow *saferaw_open(struct saferaw *saferaw, const struct saferaw_request *request);

/**
 * saferaw_close() - close a flow
 * @flow: flow, not used again; or NULL, which does nothing
 *
 * The flow itself ends when no copy of its file descriptor is left, dup(2) and
 * other processes included. Its ports then stay silent and kept for the same
 * slice and user for some seconds. Packets not read are lost. errno is kept.
 */
void saferaw_close(struct saferaw_flow *flow);

/**
 * saferaw_flow_fd() - the flow's file descriptor
 * @flow: flow
 *
 * A connected AF_UNIX SOCK_SEQPACKET socket (unix(7)): one message is one
 * packet. It may be waited on, duplicated, sent to another process, set
 * O_NONBLOCK, read and written. What is written past saferaw_send() is judged
 * by the broker alone, which drops and counts what may not pass. End of file
 * means that the flow has been closed by the broker.
 *
 * Return: the file descriptor; belongs to the flow. Thread-safe.
 */
int saferaw_flow_fd(const struct saferaw_flow *flow);

/**
 * saferaw_flow_number() - the flow's number, as events and `saferaw flows` have it
 * @flow: flow
 *
 * Return: the number, not 0; never used again while the broker lives. Thread-safe.
 */
uint64_t saferaw_flow_number(const struct saferaw_flow *flow);

/**
 * saferaw_flow_local() - what the flow got
 * @flow: flow
 * @local: set to local address and (first) port or id. A flow on every address
 *	has 0.0.0.0 if it is for IPv4 alone, else "::"; one on a prefix the
 *	prefix's first address.
 *
 * Return: 0. Thread-safe.
 */
int saferaw_flow_local(const struct saferaw_flow *flow, struct sockaddr_storage *local);

/**
 * saferaw_flow_source() - the source address and MTU for a destination
 * @flow: flow
 * @destination: AF_INET or AF_INET6; its port does not matter
 * @source: set to what to send from: the flow's own address, or where it is
 *	open on every address what the host's routes say, or the first of a
 *	proxied prefix; with the flow's (first) port. May be NULL.
 * @mtu: set to the largest IP packet that the route takes, bytes; path MTU
 *	discovery (RFC 1191, RFC 8201) beyond that is the program's own
 *	business. May be NULL.
 *
 * A packet may also be sent from source 0.0.0.0 or "::": the broker then puts
 * the same address in, but on a prefix it refuses the packet.
 *
 * Return: 0; or -1 and errno (and saferaw_error()):
 *	EAFNOSUPPORT	@destination's family is neither, or not the flow's
 *	ENETUNREACH	no route
 *	ECONNRESET, EPROTO, ETIMEDOUT, ENOTCONN		as saferaw_next_event()
 *
 * Thread-safe.
 */
int saferaw_flow_source(struct saferaw_flow *flow, const struct sockaddr_storage *destination,
			struct sockaddr_storage *source, uint32_t *mtu);

/**
 * saferaw_send() - check one packet and send it
 * @flow: flow
 * @packet: a whole IP packet, IPv4 (RFC 791) or IPv6 (RFC 8200), in wire form
 * @length: bytes; exactly the packet's own length
 * @flags: 0 or MSG_DONTWAIT
 *
 * An IPv4 header checksum that is wrong, an IPv4 identification of 0 and a
 * source of zeros are filled in on the way; the transport checksum is then
 * adjusted for the source, and is otherwise the program's own. The check is
 * the broker's own code with what the broker has told; the broker checks again,
 * and its verdict counts (see saferaw_refused()). When what was told is out of
 * date, or the packet is larger than every uplink is sure to take, the broker
 * is asked first. With MSG_DONTWAIT it is never asked: the packet goes to it
 * unless it is refused by what is known.
 *
 * Return: @length; or -1 and errno:
 *	EINVAL		the packet is malformed, or @flags has other flags
 *	EPERM		the packet may not be sent on this flow
 *	EMSGSIZE	larger than the route's MTU
 *	ENETUNREACH	no route
 *	EAGAIN		MSG_DONTWAIT or O_NONBLOCK, and the flow's queue to the broker is full
 *	EPIPE, ECONNRESET	the flow has ended
 *	ENOBUFS, ENOMEM	as send(2)
 * After the first four saferaw_last_reason() tells the one reason. Success
 * means that the broker has the packet, as it means with send(2) on UDP.
 *
 * Raises no signal. One thread at a time may send on one flow.
 */
ssize_t saferaw_send(struct saferaw_flow *flow, const void *packet, size_t length, int flags);

/**
 * saferaw_recv() - receive one packet
 * @flow: flow
 * @buffer: gets the IP packet, as it came from the wire: TTL unchanged,
 *	checksums finished, no link-layer padding
 * @room: bytes there; 65535 is enough for every packet; the rest of a larger
 *	packet is lost
 * @meta: filled in on a flow opened with SAFERAW_META; NULL when not wanted
 * @flags: 0 or MSG_DONTWAIT
 *
 * Return: bytes of the packet in @buffer; 0 when the flow has ended; or -1 and errno:
 *	EINVAL		@flags has other flags, or @meta on a flow without SAFERAW_META
 *	EAGAIN		MSG_DONTWAIT or O_NONBLOCK, and no packet is there
 *	EINTR		a signal came
 *	EPROTO		the broker sent no packet
 *
 * One thread at a time may receive on one flow.
 */
ssize_t saferaw_recv(struct saferaw_flow *flow, void *buffer, size_t room, struct saferaw_meta *meta, int flags);

/**
 * saferaw_flow_filter() - receive only what a filter lets pass
 * @flow: flow
 * @expression: in the language of pcap-filter(7), over the IP packet; NULL
 *	takes the filter away
 * @snaplen: bytes to keep of each packet, 0 for all. An empty @expression with
 *	a @snaplen cuts every packet.
 *
 * Compiled by libpcap and attached to this end of the flow with
 * SO_ATTACH_FILTER (socket(7)), for every copy of its file descriptor: the
 * kernel runs it in the broker's send, and what does not pass takes no room in
 * the flow's queue. A packet counts as handed to the program all the same.
 * Packets that wait already are not filtered again.
 *
 * Return: 0; or -1 and errno (and saferaw_error()):
 *	EINVAL		@expression is wrong, or needs what an IP packet does not have
 *	ENOMEM		the filter is too large for the kernel (net.core.optmem_max), or out of memory
 *
 * Thread-safe.
 */
int saferaw_flow_filter(struct saferaw_flow *flow, const char *expression, unsigned snaplen);

/**
 * saferaw_flow_stats() - what the flow has done so far
 * @flow: flow
 * @stats: size set by the caller; filled in
 *
 * The broker's counts: a packet just sent may not be in them yet.
 *
 * Return: 0; or -1 and errno (and saferaw_error()):
 *	EINVAL		@stats->size is none of a known version
 *	ENOENT		the flow has ended
 *	ECONNRESET, EPROTO, ETIMEDOUT, ENOTCONN		as saferaw_next_event()
 *
 * Thread-safe.
 */
int saferaw_flow_stats(struct saferaw_flow *flow, struct saferaw_stats *stats);

/**
 * saferaw_refused() - how many packets were refused for one reason
 * @flow: flow
 * @reason: number of a reason, see saferaw_reason()
 * @rx: set to those that arrived for the flow; may be NULL
 * @tx: set to those that the program sent; may be NULL
 *
 * The broker's counts; what saferaw_send() refused itself never reached it.
 * Each call asks the broker.
 *
 * Return: 0; or -1 and errno as saferaw_flow_stats(), EINVAL for a number that
 * is no reason. Thread-safe.
 */
int saferaw_refused(struct saferaw_flow *flow, unsigned reason, uint64_t *rx, uint64_t *tx);

/**
 * saferaw_reason() - name of a verdict
 * @reason: number; 0 is "pass", the others are reasons for a refusal, without
 *	gaps; numbers and names never change their meaning
 *
 * Return: a short name in lower case, or NULL behind the last. Thread-safe.
 */
const char *saferaw_reason(unsigned reason);

/**
 * saferaw_reason_text() - a verdict in words
 * @reason: number
 *
 * Return: text in English without a full stop, or NULL behind the last. Thread-safe.
 */
const char *saferaw_reason_text(unsigned reason);

/**
 * saferaw_last_reason() - why the last saferaw_send() on a flow was refused
 * @flow: flow
 *
 * Return: number of the reason; 0 when it was not refused by the check, be it
 * that the packet went out or that the call failed otherwise. For the thread
 * that sends.
 */
unsigned saferaw_last_reason(const struct saferaw_flow *flow);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
