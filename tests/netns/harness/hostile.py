# SPDX-License-Identifier: BSD-2-Clause
"""Packets that must not leave: by name, with the verdict of the relay and the reason of steering.

saferaw-verdicts(7) has the same table; test_hostile.py sends all of it and
compares the two. A row says what flow of a client the packets are written to,
past the library. Only the last packet of a row is hostile; those before it are
what makes it so, and leave.

Steering's reason is that of the backstop, when a relay that was taken over
writes the same packets to the TUN: a name without "steer-out-", DEVICE where
the TUN itself takes no such packet, or LEAVES where only the relay can tell
(which flow, which remote) or only the receiver is concerned.

ARRIVING is the same for what comes from the wire to a flow: refused by the
relay with a verdict, or left to the HOST by steering. INNOCENT is what only
looks special and must pass, out or in BOTH directions.
"""

import dataclasses
import struct
from typing import Callable

from . import packets, proto
from .topology import HOST4, HOST6, PEER4, PEER6

DEVICE, LEAVES, HOST = "device", "leaves", "host"
OUT, BOTH = "out", "both"
# The flows that packets are written to: protocol and port, the second slice may send fragments
FLOWS = {"udp": (1, proto.UDP, 40001), "tcp": (1, proto.TCP, 40002), "icmp": (1, proto.ICMP, 40003), "connected": (1, proto.UDP, 40004),
         "fragments": (2, proto.UDP, 41001), "fragments-tcp": (2, proto.TCP, 41002)}
DENY = '"203.0.113.0/24", "2001:db8:bad::/48", "169.254.169.254/32", "fd00:ec2::254/128"'
UNROUTED = ("100.64.0.1", "2001:db8:ffff::1")  # no route leads there
PREFIXES = '"198.51.100.64/28", "2001:db8:9::/64"'  # proxied, the third slice's
PROXIED = ("198.51.100.69", "2001:db8:9::5")  # in these
PAD = b"\x01\x04" + bytes(4)  # six bytes of IPv6 options
TEXT = bytes(range(64))


@dataclasses.dataclass
class Row:
    """One attack."""
    name: str
    families: str  # "4", "6" or "46"
    flow: str
    verdict: str
    steering: str
    build: Callable


class Family:
    """Builds packets of one family, as the flow that a row names would send them."""

    def __init__(self, version, flow, arriving=False):
        self.six = version == 6
        self.here, self.there = (HOST6, PEER6) if self.six else (HOST4, PEER4)
        self.port, self.other = FLOWS[flow][2], 9
        if arriving:
            self.here, self.there, self.port, self.other = self.there, self.here, self.other, self.port

    def pick(self, four, six):
        """The one of two that is of this family."""
        return six if self.six else four

    def udp(self, **more):
        """A datagram; any of it can be said otherwise."""
        src, dst, sport, dport = (more.pop(key, value) for key, value in (
            ("src", self.here), ("dst", self.there), ("sport", self.port), ("dport", self.other)))
        return packets.udp(src, dst, sport, dport, more.pop("payload", TEXT), **more)

    def to(self, four, six):
        """A datagram to somewhere."""
        return self.udp(dst=self.pick(four, six))

    def by(self, four, six):
        """A datagram from somebody."""
        return self.udp(src=self.pick(four, six))

    def body(self, packet=None):
        """What is behind the IP header of a packet, or of a datagram."""
        return (packet or self.udp())[self.pick(20, 40):]

    def ip(self, protocol, payload, **more):
        """A packet of a protocol."""
        return packets.ip(more.pop("src", self.here), more.pop("dst", self.there), protocol, payload, **more)

    def tcp(self, **more):
        """A segment."""
        return packets.tcp(self.here, self.there, self.port, self.other, payload=TEXT, **more)

    def icmp(self, kind, rest=None, payload=TEXT):
        """An ICMP message of a type, which has the flow's identifier where an echo has it."""
        return packets.icmp(self.here, self.there, kind, 0, rest or struct.pack("!HH", max(self.port, self.other), 1), payload)

    def error(self, kind, src=None):
        """An ICMP error about a datagram of its receiver's, or of another host's."""
        return self.icmp(kind, bytes(4), packets.udp(src or self.there, self.here, self.other, self.port))

    def chain(self, *headers, body=None, protocol=packets.UDP):
        """An IPv6 packet with extension headers, each (type, what is behind next header and length); then a datagram."""
        kinds = [kind for kind, _ in headers] + [protocol]
        data = b"".join(bytes([following, (len(rest) + 2) // 8 - 1]) + rest for (_, rest), following in zip(headers, kinds[1:]))
        return self.ip(kinds[0], data + (self.body() if body is None else body))

    def piece(self, start, stop=None, whole=None, **more):
        """A fragment of a datagram."""
        return packets.fragment(whole or self.udp(payload=TEXT * 4), start, stop, **more)


def _changed(packet, at, new):
    return packet[:at] + new + packet[at + len(new):]


def _routed(kind, left, addresses):
    """The rest of an IPv6 routing header behind its first two bytes."""
    return bytes([kind, left]) + bytes(4) + packets.packed("2001:db8::77") * addresses


HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
HOME = b"\x01\x00\xc9\x10" + packets.packed("2001:db8::77") + bytes(2)  # a home address option, padded

ROWS = (
    # the form of the IP header
    Row("a single byte", "46", "udp", "short", "header", lambda f: f.udp()[:1]),
    Row("half an IP header", "46", "udp", "short", "header", lambda f: f.udp()[:f.pick(19, 39)]),
    Row("IP version 7", "46", "udp", "version", DEVICE, lambda f: b"\x75" + f.udp()[1:]),
    Row("a look-alike of ARP", "4", "udp", "version", DEVICE, lambda f: b"\0\1\x08\0\6\4\0\1" + bytes(20)),
    Row("IPv4 header length of 16", "4", "udp", "header-length", "header", lambda f: b"\x44" + f.udp()[1:]),
    Row("IPv4 header length beyond the packet", "4", "udp", "short", "header", lambda f: b"\x4f" + f.udp()[1:28]),
    Row("length larger than the packet", "46", "udp", "length", "header", lambda f: f.udp(length=200)),
    Row("bytes behind the packet", "46", "udp", "length", "header", lambda f: f.udp() + b"tail"),
    Row("IPv4 length smaller than the header", "4", "udp", "length", "header", lambda f: f.udp(length=10)),
    Row("jumbogram", "6", "udp", "length", "header", lambda f: f.ip(0, b"\x11\x00\xc2\x04\x00\x01\x00\x00" + f.body(), length=0)),
    Row("IPv4 option without a length", "4", "udp", "option", "header", lambda f: f.udp(options=b"\x01\x01\x01\x07")),
    Row("IPv4 option beyond the header", "4", "udp", "option", "header", lambda f: f.udp(options=b"\x07\xff\x04\0")),
    Row("loose source route", "4", "udp", "source-route", "option", lambda f: f.udp(options=b"\x83\x07\x04\x0a\0\0\x01\0")),
    Row("strict source route", "4", "udp", "source-route", "option", lambda f: f.udp(options=b"\x89\x07\x04\x0a\0\0\x01\0")),
    Row("source route behind another option", "4", "udp", "source-route", "option",
        lambda f: f.udp(options=b"\x94\x04\0\0\x01\x83\x07\x04\x0a\0\0\x01")),
    # extension headers
    Row("routing header with hops left", "6", "udp", "routing-header", "option", lambda f: f.chain((ROUTING, _routed(0, 1, 1)))),
    Row("routing header without hops left", "6", "udp", "routing-header", "option", lambda f: f.chain((ROUTING, _routed(0, 0, 1)))),
    Row("mobility's routing header", "6", "udp", "routing-header", "option", lambda f: f.chain((ROUTING, _routed(2, 1, 1)))),
    Row("segment routing header", "6", "udp", "routing-header", "option", lambda f: f.chain((ROUTING, _routed(4, 0, 2)))),
    Row("routing header behind options", "6", "udp", "routing-header", "option",
        lambda f: f.chain((DESTINATION, PAD), (ROUTING, _routed(0, 1, 1)))),
    Row("home address option", "6", "udp", "home-address", "option", lambda f: f.chain((DESTINATION, HOME))),
    Row("home address in hop-by-hop options", "6", "udp", "home-address", "option", lambda f: f.chain((HOP, HOME))),
    Row("home address in a second header", "6", "udp", "home-address", "option",
        lambda f: f.chain((DESTINATION, PAD), (DESTINATION, HOME))),
    Row("IPv6 option beyond its header", "6", "udp", "extension", "header", lambda f: f.chain((DESTINATION, b"\x01\x05" + bytes(4)))),
    Row("hop-by-hop options in second place", "6", "udp", "extension", "header", lambda f: f.chain((DESTINATION, PAD), (HOP, PAD))),
    Row("nine extension headers", "6", "udp", "extension", "header", lambda f: f.chain(*[(DESTINATION, PAD)] * 9)),
    Row("fragment header in a fragment", "6", "fragments", "extension", "header",
        lambda f: f.ip(FRAGMENT, bytes([FRAGMENT, 0, 0, 1, 0, 0, 0, 1, 17, 0, 0, 1, 0, 0, 0, 2]) + f.body())),
    Row("authentication header", "6", "udp", "extension", "protocol", lambda f: f.chain((51, bytes(10)))),
    Row("encrypted payload", "6", "udp", "extension", "protocol", lambda f: f.ip(50, bytes(32))),
    Row("mobility header", "6", "udp", "extension", "protocol", lambda f: f.chain((135, bytes(6)))),
    Row("host identity header", "6", "udp", "extension", "protocol", lambda f: f.chain((139, bytes(6)))),
    Row("shim6 header", "6", "udp", "extension", "protocol", lambda f: f.chain((140, bytes(6)))),
    Row("experimental header", "6", "udp", "extension", "protocol", lambda f: f.chain((253, bytes(6)))),
    Row("chain that ends inside a header", "6", "udp", "chain-end", "header",
        lambda f: f.ip(DESTINATION, b"\x11\x08" + PAD)),
    Row("chain that ends before a header", "6", "udp", "chain-end", "header", lambda f: f.ip(DESTINATION, b"")),
    Row("no next header", "6", "udp", "chain-end", "protocol", lambda f: f.ip(59, f.body())),
    Row("no next header behind options", "6", "udp", "chain-end", "protocol", lambda f: f.chain((DESTINATION, PAD), protocol=59)),
    # fragments
    Row("first fragment without the right", "46", "udp", "fragment", "fragment", lambda f: f.piece(0, 64)),
    Row("later fragment without the right", "46", "udp", "fragment", "orphan", lambda f: f.piece(64)),
    Row("later fragment before its first", "46", "fragments", "orphan-fragment", "orphan", lambda f: f.piece(64, ident=100)),
    Row("later fragment of another datagram", "46", "fragments", "orphan-fragment", "orphan",
        lambda f: [f.piece(0, 64, ident=101), f.piece(64, ident=102)]),
    Row("later fragment to another destination", "46", "fragments", "orphan-fragment", "orphan",
        lambda f: [f.piece(0, 64, ident=103), f.piece(64, ident=103, whole=f.udp(dst=f.pick("192.0.2.9", "2001:db8::9"), payload=TEXT * 4))]),
    Row("fragment over its first one's ports", "46", "fragments", "overlap", "overlap",
        lambda f: [f.piece(0, 64, ident=106), f.piece(8, ident=106)]),
    Row("fragment over its first one's end", "46", "fragments", "overlap", "overlap",
        lambda f: [f.piece(0, 64, ident=107), f.piece(56, ident=107)]),
    Row("fragment over a TCP header's flags", "46", "fragments-tcp", "overlap", "overlap",
        lambda f: [f.piece(0, 24, f.tcp(), ident=108), f.piece(8, None, f.tcp(), ident=108)]),
    Row("first fragment with TCP's ports alone", "46", "fragments-tcp", "tiny-fragment", "tiny", lambda f: f.piece(0, 8, f.tcp())),
    Row("first fragment without TCP's last bytes", "46", "fragments-tcp", "tiny-fragment", "tiny", lambda f: f.piece(0, 16, f.tcp())),
    Row("first fragment without TCP's options", "46", "fragments-tcp", "tiny-fragment", "tiny",
        lambda f: _changed(f.piece(0, 24, f.tcp()), f.pick(32, 60), b"\x70")),
    Row("first fragment without its chain's end", "6", "fragments", "tiny-fragment", "header",
        lambda f: f.ip(FRAGMENT, bytes([DESTINATION, 0, 0, 1, 0, 0, 0, 1]) + b"\x11\x01" + PAD)),
    Row("atomic fragment", "6", "fragments", "atomic-fragment", "fragment", lambda f: f.piece(0)),
    Row("atomic fragment without the right", "6", "udp", "atomic-fragment", "fragment", lambda f: f.piece(0)),
    Row("empty fragment", "46", "fragments", "fragment-length", "fragment",
        lambda f: [f.piece(0, 64, ident=109), f.piece(64, 64, ident=109)]),
    Row("fragment of 63 bytes with more behind", "46", "fragments", "fragment-length", "fragment", lambda f: f.piece(0, 63)),
    Row("fragment beyond 65,535 bytes", "46", "fragments", "fragment-length", "fragment",
        lambda f: f.ip(FRAGMENT, b"\x11\0\xff\xf8" + bytes(4) + TEXT) if f.six else f.ip(packets.UDP, TEXT, offset=8191)),
    Row("later fragment with a forged source", "46", "fragments", "source", "source",
        lambda f: f.piece(64, whole=f.udp(src=f.pick("192.0.2.77", "2001:db8::77"), payload=TEXT * 4))),
    Row("later fragment with a routing header", "6", "fragments", "routing-header", "option",
        lambda f: f.chain((ROUTING, _routed(0, 1, 1)), body=f.piece(64)[40:], protocol=FRAGMENT)),
    Row("later fragment with a source route", "4", "fragments", "source-route", "option",
        lambda f: f.ip(packets.UDP, TEXT, options=b"\x83\x07\x04\x0a\0\0\x01\0", offset=8)),
    # protocol and transport header
    Row("UDP length beyond the packet", "46", "udp", "transport", LEAVES, lambda f: _changed(f.udp(), f.pick(24, 44), b"\x7f\xff")),
    Row("UDP header that is cut off", "46", "udp", "transport", "header", lambda f: f.ip(packets.UDP, f.body()[:4])),
    Row("TCP header that is cut off", "46", "tcp", "transport", LEAVES, lambda f: f.ip(packets.TCP, f.body(f.tcp())[:19])),
    Row("TCP data offset of 4", "46", "tcp", "transport", LEAVES, lambda f: _changed(f.tcp(), f.pick(32, 52), b"\x40")),
    Row("TCP data offset beyond the packet", "46", "tcp", "transport", LEAVES,
        lambda f: f.ip(packets.TCP, _changed(f.body(f.tcp()), 12, b"\xf0")[:40])),
    Row("ICMP header that is cut off", "46", "icmp", "transport", "header",
        lambda f: f.ip(f.pick(packets.ICMP, packets.ICMPV6), f.body(f.icmp(f.pick(8, 128)))[:7])),
    Row("TCP on a UDP flow", "46", "udp", "protocol", "port", lambda f: f.tcp()),
    Row("echo request on a UDP flow", "46", "udp", "protocol", "port", lambda f: f.icmp(f.pick(8, 128))),
    Row("SCTP on a UDP flow", "46", "udp", "protocol", "port", lambda f: f.ip(132, struct.pack("!HHII", f.port, 9, 0, 0))),
    Row("IP in IP", "46", "udp", "protocol", "protocol", lambda f: f.ip(4, packets.udp("127.0.0.1", "127.0.0.1", 9, 9))),
    Row("IPv6 in IP", "46", "udp", "protocol", "protocol", lambda f: f.ip(41, packets.udp("::1", "::1", 9, 9))),
    Row("OSPF", "46", "udp", "protocol", "protocol", lambda f: f.ip(89, bytes(24))),
    Row("IGMP", "46", "udp", "protocol", "protocol", lambda f: f.ip(2, bytes(8))),
    Row("protocol 255", "46", "udp", "protocol", "protocol", lambda f: f.ip(255, bytes(20))),
    Row("ICMP of the other family", "46", "icmp", "protocol", "protocol",
        lambda f: f.ip(f.pick(packets.ICMPV6, packets.ICMP), f.body(f.icmp(f.pick(128, 8))))),
    Row("packet of the other family", "46", "udp", "protocol", LEAVES, lambda f: Family(4 if f.six else 6, "udp").udp()),
    # ICMP types
    Row("destination unreachable", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.error(f.pick(3, 1))),
    Row("source quench", "4", "icmp", "icmp-type", "icmp-type", lambda f: f.error(4)),
    Row("packet too big", "6", "icmp", "icmp-type", "icmp-type", lambda f: f.error(2)),
    Row("time exceeded", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.error(f.pick(11, 3))),
    Row("parameter problem", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.error(f.pick(12, 4))),
    Row("redirect", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.pick(f.error(5), f.icmp(137, None, bytes(32)))),
    Row("router advertisement", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(f.pick(9, 134))),
    Row("router solicitation", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(f.pick(10, 133))),
    Row("neighbour solicitation", "6", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(135, None, packets.packed(f.there))),
    Row("neighbour advertisement", "6", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(136, None, packets.packed(f.here))),
    Row("multicast listener report", "6", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(131, None, packets.packed("ff02::1"))),
    Row("node information query", "6", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(139)),
    Row("address mask request", "4", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(17)),
    Row("ICMP type 255", "46", "icmp", "icmp-type", "icmp-type", lambda f: f.icmp(255)),
    # source, ports, remote
    Row("a stranger as source", "46", "udp", "source", "source", lambda f: f.by("192.0.2.77", "2001:db8::77")),
    Row("the receiver as source", "46", "udp", "source", "source", lambda f: f.by(PEER4, PEER6)),
    Row("another address of the host as source", "46", "udp", "source", LEAVES, lambda f: f.by("192.0.2.3", "2001:db8::3")),
    Row("another slice's proxied address as source", "46", "udp", "source", "port", lambda f: f.by(*PROXIED)),
    Row("loopback as source", "46", "udp", "source", "source", lambda f: f.by("127.0.0.1", "::1")),
    Row("multicast as source", "46", "udp", "source", "source", lambda f: f.by("224.0.0.1", "ff02::1")),
    Row("broadcast as source", "4", "udp", "source", "source", lambda f: f.by("255.255.255.255", "")),
    Row("link-local source", "46", "udp", "source", "source", lambda f: f.by("169.254.0.1", "fe80::1")),
    Row("IPv4-compatible source", "6", "udp", "source", "source", lambda f: f.by("", "::192.0.2.1")),
    Row("IPv4-mapped source", "6", "udp", "martian", "source", lambda f: _changed(f.udp(), 8, proto.mapped(HOST4))),
    Row("next flow's port", "46", "udp", "port", "port", lambda f: f.udp(sport=f.port + 100)),
    Row("port 0", "46", "udp", "port", "port", lambda f: f.udp(sport=0)),
    Row("a service's port", "46", "udp", "port", "port", lambda f: f.udp(sport=53)),
    Row("RST from a service's port", "46", "tcp", "port", "port",
        lambda f: packets.tcp(f.here, f.there, 22, 9, flags=packets.RST)),
    Row("another slice's port", "46", "udp", "port", "port", lambda f: f.udp(sport=41500)),
    Row("echo request with a foreign identifier", "46", "icmp", "port", "port",
        lambda f: packets.echo(f.here, f.there, 7)),
    Row("another remote", "46", "connected", "remote", LEAVES, lambda f: f.to("192.0.2.9", "2001:db8::9")),
    Row("another port of the remote", "46", "connected", "remote", LEAVES, lambda f: f.udp(dport=10)),
    # destination
    Row("to nowhere", "46", "udp", "unspecified", "loopback", lambda f: f.to("0.0.0.0", "::")),
    Row("to this network", "4", "udp", "unspecified", "loopback", lambda f: f.to("0.1.2.3", "")),
    Row("to loopback", "46", "udp", "loopback", "loopback", lambda f: f.to("127.0.0.1", "::1")),
    Row("to the end of loopback", "4", "udp", "loopback", "loopback", lambda f: f.to("127.255.255.254", "")),
    Row("to an IPv4-compatible address", "6", "udp", "loopback", "loopback", lambda f: f.to("", "::192.0.2.2")),
    Row("to an IPv4-mapped address", "6", "udp", "martian", "loopback", lambda f: _changed(f.udp(), 24, proto.mapped(PEER4))),
    Row("to IPv4-mapped loopback", "6", "udp", "martian", "loopback", lambda f: _changed(f.udp(), 24, proto.mapped("127.0.0.1"))),
    Row("to all hosts", "46", "udp", "multicast", "multicast", lambda f: f.to("224.0.0.1", "ff02::1")),
    Row("to a global multicast group", "46", "udp", "multicast", "multicast", lambda f: f.to("239.255.255.250", "ff0e::1")),
    Row("to the broadcast address", "4", "udp", "broadcast", "multicast", lambda f: f.to("255.255.255.255", "")),
    Row("to the subnet's broadcast address", "4", "udp", "pass", "no-route", lambda f: f.to("192.0.2.255", "")),
    Row("to a link-local address", "46", "udp", "link-local", "link-local", lambda f: f.to("169.254.1.1", "fe80::7")),
    Row("to the end of link-local", "46", "udp", "link-local", "link-local", lambda f: f.to("169.254.255.254", "febf:ffff::7")),
    Row("to the cloud's metadata by IPv4", "4", "udp", "link-local", "link-local", lambda f: f.to("169.254.169.254", "")),
    Row("to the cloud's metadata by IPv6", "6", "udp", "denied", "denied", lambda f: f.to("", "fd00:ec2::254")),
    Row("to a denied address", "46", "udp", "denied", "denied", lambda f: f.to("203.0.113.7", "2001:db8:bad::7")),
    Row("to a socket of the host", "46", "udp", "pass", "local", lambda f: f.to(HOST4, HOST6)),
    Row("to where no route leads", "46", "udp", "pass", "no-route", lambda f: f.to(*UNROUTED)),
    Row("to a proxied address without a flow", "46", "udp", "pass", "no-route", lambda f: f.to(*PROXIED)),
    # size
    Row("larger than the MTU", "46", "udp", "too-big", "too-big", lambda f: f.udp(payload=bytes(1480))),
    Row("larger than any packet", "46", "udp", "too-big", "header", lambda f: f.udp()[:f.pick(20, 40)] + bytes(65536)),
)


# (name, families, flow, verdict or HOST, how to build it)
ARRIVING = tuple(Row(name, families, flow, verdict, "", build) for name, families, flow, verdict, build in (
    ("wrong header checksum", "4", "udp", "checksum", lambda f: _changed(f.udp(), 10, b"\xde\xad")),
    ("length larger than what arrives", "46", "udp", "length", lambda f: f.udp(length=200)),
    ("datagram cut off", "46", "udp", "transport", lambda f: _changed(f.udp(), f.pick(24, 44), b"\x7f\xff")),
    ("segment cut off", "46", "tcp", "transport", lambda f: f.ip(packets.TCP, f.body(f.tcp())[:19])),
    ("source route that arrives", "4", "udp", "source-route", lambda f: f.udp(options=b"\x83\x07\x04\x0a\0\0\x01\0")),
    ("routing header at its end", "6", "udp", "routing-header", lambda f: f.chain((ROUTING, _routed(0, 0, 1)))),
    ("routing header on its way", "6", "udp", HOST, lambda f: f.chain((ROUTING, _routed(0, 1, 1)))),
    ("home address that arrives", "6", "udp", "home-address", lambda f: f.chain((DESTINATION, HOME))),
    ("broken option that arrives", "6", "udp", "extension", lambda f: f.chain((DESTINATION, b"\x01\x05" + bytes(4)))),
    ("hop-by-hop options out of place", "6", "udp", HOST, lambda f: f.chain((DESTINATION, PAD), (HOP, PAD))),
    ("encrypted payload that arrives", "46", "udp", HOST, lambda f: f.ip(50, bytes(32))),
    ("chain that leads nowhere", "6", "udp", HOST, lambda f: f.ip(DESTINATION, b"\x11\x08" + PAD)),
    ("atomic fragment that arrives", "6", "udp", "atomic-fragment", lambda f: f.piece(0)),
    ("first fragment that is too short", "46", "tcp", "tiny-fragment", lambda f: f.piece(0, 16, f.tcp())),
    ("first fragment of an odd size", "46", "udp", "fragment-length", lambda f: f.piece(0, 63)),
    ("later fragment that comes first", "46", "udp", HOST, lambda f: f.piece(64, ident=100)),
    ("later fragment for a closed port", "46", "udp", HOST,
        lambda f: [f.piece(0, 64, f.udp(dport=40999, payload=TEXT * 4), ident=101), f.piece(64, ident=101)]),
    ("later fragment into its first", "46", "udp", "overlap", lambda f: [f.piece(0, 64, ident=102), f.piece(8, ident=102)]),
    ("later fragment after a refused first", "46", "tcp", "orphan-fragment",
        lambda f: [f.piece(0, 16, f.tcp(), ident=103), f.piece(16, None, f.tcp(), ident=103)]),
    ("loopback as a stranger's source", "46", "udp", HOST, lambda f: f.by("127.0.0.1", "::1")),
    ("multicast as a stranger's source", "46", "udp", HOST, lambda f: f.by("224.0.0.1", "ff02::1")),
    ("nobody as source", "46", "udp", HOST, lambda f: f.by("0.0.0.0", "::")),
    ("this network as source", "4", "udp", HOST, lambda f: f.by("0.1.2.3", "")),
    ("the host itself as source", "46", "udp", HOST, lambda f: f.by(HOST4, HOST6)),
    ("a proxied address as source", "46", "udp", HOST, lambda f: f.by(*PROXIED)),
    ("IPv4-compatible address as source", "6", "udp", HOST, lambda f: f.by("", "::192.0.2.2")),
    ("IPv4-mapped address as source", "6", "udp", HOST, lambda f: _changed(f.udp(), 8, proto.mapped(PEER4))),
    ("answer from another remote", "46", "connected", "no-flow", lambda f: f.udp(sport=10)),
    ("echo request with an open identifier", "46", "icmp", HOST, lambda f: f.icmp(f.pick(8, 128))),
    ("error that the flow did not ask for", "46", "udp", "error-unwanted", lambda f: f.error(f.pick(3, 1))),
    ("error about another host's packet", "46", "udp", HOST, lambda f: f.error(f.pick(3, 1), f.pick("192.0.2.77", "2001:db8::77"))),
    ("error about an error", "46", "icmp", HOST,
        lambda f: f.icmp(f.pick(3, 1), bytes(4), packets.icmp(f.there, f.here, f.pick(3, 1), 0, bytes(4), f.udp()))),
))


# (name, families, flow, OUT or BOTH, how to build it)
INNOCENT = tuple(Row(name, families, flow, ways, "", build) for name, families, flow, ways, build in (
    ("a datagram", "46", "udp", BOTH, lambda f: f.udp()),
    ("an empty datagram", "46", "udp", BOTH, lambda f: f.udp(payload=b"")),
    ("a datagram without a checksum", "4", "udp", BOTH, lambda f: _changed(f.udp(), 26, b"\0\0")),
    ("a segment", "46", "tcp", BOTH, lambda f: f.tcp()),
    ("record route", "4", "udp", BOTH, lambda f: f.udp(options=b"\x07\x07\x04\0\0\0\0\x01")),
    ("timestamp option", "4", "udp", BOTH, lambda f: f.udp(options=b"\x44\x08\x05\0\0\0\0\0")),
    ("IPv4 router alert", "4", "udp", BOTH, lambda f: f.udp(options=b"\x94\x04\0\0")),
    ("IPv6 router alert", "6", "udp", BOTH, lambda f: f.chain((HOP, b"\x05\x02\0\0\x01\0"))),
    ("options that are all padding", "6", "udp", BOTH, lambda f: f.chain((HOP, bytes(6)), (DESTINATION, bytes(14)))),
    ("an option that nobody knows", "6", "udp", BOTH, lambda f: f.chain((DESTINATION, b"\x1e\x04abcd"))),
    ("an option that ends with its header", "6", "udp", BOTH, lambda f: f.chain((DESTINATION, b"\x01\x03abc\0"))),
    ("eight extension headers", "6", "udp", BOTH, lambda f: f.chain((HOP, PAD), *[(DESTINATION, PAD)] * 7)),
    ("a datagram that must not be fragmented", "4", "udp", BOTH, lambda f: f.udp(flags=2)),
    ("the largest that the wire takes", "46", "udp", BOTH, lambda f: f.udp(payload=bytes(f.pick(1472, 1452)))),
    ("echo request", "46", "icmp", OUT, lambda f: f.icmp(f.pick(8, 128))),
    ("echo reply", "46", "icmp", BOTH, lambda f: f.icmp(f.pick(0, 129))),
    ("timestamp request", "4", "icmp", OUT, lambda f: f.icmp(13, None, bytes(12))),
    ("timestamp reply", "4", "icmp", BOTH, lambda f: f.icmp(14, None, bytes(12))),
    ("first fragment with the header alone", "46", "fragments", BOTH, lambda f: f.piece(0, 8, ident=200)),
    ("first fragment behind options", "6", "fragments", BOTH,
        lambda f: f.chain((HOP, PAD), body=f.piece(0, 64, ident=201)[40:], protocol=FRAGMENT)),
    ("later fragment", "46", "fragments", BOTH, lambda f: [f.piece(0, 64, ident=202), f.piece(64, ident=202)]),
    ("last fragment before the one in the middle", "46", "fragments", BOTH,
        lambda f: [f.piece(0, 64, ident=203), f.piece(128, ident=203), f.piece(64, 128, ident=203)]),
))


def attacks(row, arriving=False):
    """(family's version, Family) for each family that a row is of."""
    for version in map(int, row.families):
        yield version, Family(version, row.flow, arriving)


def built(row, family):
    """The packets of a row: those that lead up to it, and the hostile one."""
    result = row.build(family)
    return (result[:-1], result[-1]) if isinstance(result, list) else ([], result)
