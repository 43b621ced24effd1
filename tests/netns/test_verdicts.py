#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A program that writes to the plain fd learns from the library why each packet did not pass; none vanishes uncounted."""

import ctypes
import errno
import os
import signal
import socket
import struct
import sys

from harness import packets, proto, tap
from harness.broker import program
from harness.monitor import Monitor, Slice
from harness.topology import run

HERE, HERE6, FAR, FAR6 = "192.0.2.1", "2001:db8::1", "198.51.100.7", "2001:db8:ffff::7"
DENY = (("203.0.113.0", 120), ("2001:db8:bad::", 48))
TWO = Slice(number=2, name="two", users=("news",), ranges=((1, 41000, 41099),), fragments=True)
# about packets that arrive, about links, or about a kind of flow that is not asked for here
NOT_SENT = {"pass", "checksum", "read-only", "queue-full", "error-unwanted", "local", "no-link", "no-mapping", "napt-exhausted",
            "copy-limit", "gre"}


class Stats(ctypes.Structure):
    """struct saferaw_stats"""
    _fields_ = [("size", ctypes.c_size_t)] + [(name, ctypes.c_uint64) for name in (
        "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "rx_refused", "tx_refused")]


class Request(ctypes.Structure):
    """struct saferaw_request"""
    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_int), ("protocol", ctypes.c_int), ("flags", ctypes.c_uint),
                ("count", ctypes.c_uint), ("local", ctypes.c_ubyte * 128), ("remote", ctypes.c_ubyte * 128)]


def load():
    """The built library. One with AddressSanitizer needs its runtime in the process from the start."""
    path = program(".libs/libsaferaw.so")
    if not os.path.exists(path):
        print("1..0 # SKIP built without the shared library")
        sys.exit(77)
    with open(path, "rb") as file:
        sanitized = b"__asan_init" in file.read()
    if sanitized and "LD_PRELOAD" not in os.environ:
        runtime = run("gcc", "-print-file-name=libasan.so").strip()
        os.execve(sys.executable, [sys.executable, *sys.argv],
                  dict(os.environ, LD_PRELOAD=runtime, ASAN_OPTIONS="detect_leaks=0", KEPT=os.environ.get("ASAN_OPTIONS", "")))
    if sanitized:  # not for the programs that are started from here
        del os.environ["LD_PRELOAD"]
        os.environ["ASAN_OPTIONS"] = os.environ.pop("KEPT", "")
    lib = ctypes.CDLL(path, use_errno=True)
    for name, result, arguments in (
            ("connect", ctypes.c_void_p, [ctypes.c_char_p]), ("open", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]),
            ("disconnect", None, [ctypes.c_void_p]), ("close", None, [ctypes.c_void_p]),
            ("flow_fd", ctypes.c_int, [ctypes.c_void_p]), ("reason", ctypes.c_char_p, [ctypes.c_uint]),
            ("last_reason", ctypes.c_uint, [ctypes.c_void_p]),
            ("send", ctypes.c_ssize_t, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]),
            ("flow_stats", ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
            ("refused", ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p])):
        function = getattr(lib, "saferaw_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


LIB = load()


def sockaddr(address, port):
    """A struct sockaddr_storage."""
    raw = packets.packed(address)
    head = struct.pack("=H", socket.AF_INET6 if len(raw) == 16 else socket.AF_INET) + struct.pack("!H", port)
    data = head + (bytes(4) if len(raw) == 16 else b"") + raw
    return (ctypes.c_ubyte * 128)(*data.ljust(128, b"\0"))


class Flow:
    """A flow of the library's, written past saferaw_send()."""

    def __init__(self, handle, protocol, local, port, remote=None):
        request = Request(size=ctypes.sizeof(Request), kind=1, protocol=protocol, local=sockaddr(local, port))
        if remote:
            request.remote = sockaddr(*remote)
        self.flow = LIB.saferaw_open(handle, ctypes.byref(request))
        tap.check(self.flow, f"saferaw_open: errno {ctypes.get_errno()}")
        self.fd = LIB.saferaw_flow_fd(self.flow)

    def refused(self, reason):
        """saferaw_refused() of what was sent."""
        tx = ctypes.c_uint64()
        tap.equal(LIB.saferaw_refused(self.flow, proto.VERDICTS.index(reason), None, ctypes.byref(tx)), 0, "saferaw_refused")
        return tx.value

    def stats(self):
        """saferaw_flow_stats()"""
        stats = Stats(size=ctypes.sizeof(Stats))
        tap.equal(LIB.saferaw_flow_stats(self.flow, ctypes.byref(stats)), 0, "saferaw_flow_stats")
        return stats

    def learns(self, relay, packet, reason):
        """Writes a packet to the fd; checks that one is refused, for that reason."""
        count, total, passed = self.refused(reason), self.stats().tx_refused, self.stats().tx_packets
        os.write(self.fd, packet)
        tap.check(relay.wait(lambda: self.refused(reason) > count), f"not counted as {reason}: {packet[:60].hex()}")
        after = self.stats()
        tap.equal((self.refused(reason), after.tx_refused, after.tx_packets), (count + 1, total + 1, passed), reason)

    def says(self, packet, reason, error):
        """saferaw_send() gives the same verdict at once."""
        ctypes.set_errno(0)
        tap.equal(LIB.saferaw_send(self.flow, packet, len(packet), 0), -1, f"saferaw_send: {reason}")
        tap.equal((LIB.saferaw_reason(LIB.saferaw_last_reason(self.flow)).decode(), ctypes.get_errno()), (reason, error),
                  "what saferaw_send() says")


def connect(relay, user="games", name="one"):
    """A handle of the library's."""
    with proto.user(user):
        handle = LIB.saferaw_connect(relay.path(name).encode())
    tap.check(handle, f"saferaw_connect: errno {ctypes.get_errno()}")
    return handle


def malformed(here, far, port):
    """(reason, errno, packet) for a UDP flow of that family: everything that follows from the packet and the slice."""
    six = ":" in here
    good = packets.udp(here, far, port, 9)
    body = good[40 if six else 20:]
    yield "short", errno.EINVAL, good[:19]
    yield "version", errno.EINVAL, b"\x75" + good[1:]
    yield "length", errno.EINVAL, good + b"tail"
    yield "transport", errno.EINVAL, good[:-len(body) + 4] + b"\x7f\xff" + body[6:]
    yield "protocol", errno.EPERM, packets.tcp(here, far, port, 9)
    yield "source", errno.EPERM, packets.udp("2001:db8::77" if six else "192.0.2.77", far, port, 9)
    yield "port", errno.EPERM, packets.udp(here, far, port + 1, 9)
    for reason, to4, to6 in (("loopback", "127.0.0.1", "::1"), ("multicast", "224.0.0.1", "ff02::1"),
                             ("unspecified", "0.0.0.0", "::"), ("link-local", "169.254.1.1", "fe80::7"),
                             ("denied", "203.0.113.9", "2001:db8:bad::7")):
        yield reason, errno.EPERM, packets.udp(here, to6 if six else to4, port, 9)
    whole = packets.udp(here, far, port, 9, bytes(24))
    yield "fragment", errno.EPERM, packets.fragment(whole, 0, 16)
    yield "fragment", errno.EPERM, packets.fragment(whole, 16)
    yield "fragment-length", errno.EINVAL, packets.fragment(whole, 0, 15)
    yield "tiny-fragment", errno.EINVAL, packets.fragment(whole, 0, 7)
    if six:
        yield "extension", errno.EINVAL, packets.ip(here, far, 51, b"\x11\x01" + bytes(10) + body)
        yield "routing-header", errno.EPERM, packets.ip(here, far, 43, b"\x11\x02\x00\x01" + bytes(20) + body)
        yield "home-address", errno.EPERM, packets.ip(here, far, 60, b"\x11\x02\x01\x00\xc9\x10" + bytes(18) + body)
        yield "chain-end", errno.EINVAL, packets.ip(here, far, 59, body)
        yield "atomic-fragment", errno.EINVAL, packets.ip(here, far, 44, b"\x11\0\0\0" + bytes(4) + body)
        yield "martian", errno.EINVAL, good[:8] + proto.mapped(HERE) + good[24:]
    else:
        yield "header-length", errno.EINVAL, b"\x44" + good[1:]
        yield "option", errno.EINVAL, packets.udp(here, far, port, 9, options=b"\x07\xff\x04\0")
        yield "source-route", errno.EPERM, packets.udp(here, far, port, 9, options=b"\x83\x07\x04\x0a\0\0\x01\0")
        yield "broadcast", errno.EPERM, packets.udp(here, "255.255.255.255", port, 9)


def form(relay, handle, seen):
    """What follows from the packet, the flow and the slice."""
    for here, far, icmp, family in ((HERE, FAR, packets.ICMP, 4), (HERE6, FAR6, packets.ICMPV6, 6)):
        flow = Flow(handle, packets.UDP, here, 40000)
        for reason, error, packet in malformed(here, far, 40000):
            flow.learns(relay, packet, reason)
            flow.says(packet, reason, error)
            seen.add(reason)
        connected = Flow(handle, packets.UDP, here, 40001, (far, 53))
        echo = Flow(handle, icmp, here, 40000)
        for other, reason, packet in (
                (connected, "remote", packets.udp(here, far, 40001, 54)),
                (echo, "icmp-type", packets.icmp(here, far, 3 if family == 4 else 1, 0, struct.pack("!HH", 40000, 1),
                                                       packets.udp(here, far, 40000, 9)))):
            other.learns(relay, packet, reason)
            other.says(packet, reason, errno.EPERM)
            seen.add(reason)


def fragments(relay, handle, seen):
    """Later fragments, of a slice that may send them: the library lets them pass, the relay knows the first ones."""
    for here, far, port in ((HERE, FAR, 41000), (HERE6, FAR6, 41001)):
        flow = Flow(handle, packets.UDP, here, port)
        whole = packets.udp(here, far, port, 9, bytes(56))
        first, later = packets.fragment(whole, 0, 32), packets.fragment(whole, 32)
        flow.learns(relay, later, "orphan-fragment")
        for packet in (first, later):
            tap.equal(LIB.saferaw_send(flow.flow, packet, len(packet), 0), len(packet), "what saferaw_send() says of a fragment")
            tap.equal(relay.sent(), packet, "what leaves")
        flow.learns(relay, packets.fragment(whole, 24), "overlap")
        flow.learns(relay, packets.fragment(whole, 32, ident=8), "orphan-fragment")
    seen |= {"orphan-fragment", "overlap"}


def routes(relay, handle, seen):
    """What follows from routes: too big, no route; and beyond any packet."""
    for port, here, far in ((40002, HERE, FAR), (40003, HERE6, FAR6)):
        flow = Flow(handle, packets.UDP, here, port)
        relay.routes[far] = (here, 1400)
        relay.mtu = 1280
        relay.routes_news(1280)
        packet = packets.udp(here, far, port, 9, bytes(1380))
        flow.learns(relay, packet, "too-big")
        flow.learns(relay, bytes(65536), "too-big")
        nowhere = packets.udp(here, far[:-1] + "9", port, 9, bytes(1380))
        flow.learns(relay, nowhere, "no-route")
        flow.says(nowhere, "no-route", errno.ENETUNREACH)
    seen |= {"too-big", "no-route"}


def waiting(relay, handle, seen):
    """More packets wait for a route than the slice may have waiting."""
    flows = [Flow(handle, packets.UDP, HERE, 40010 + number) for number in range(20)]
    relay.answering.clear()
    for number, flow in enumerate(flows):
        os.write(flow.fd, packets.udp(HERE, f"198.51.100.{100 + number}", 40010 + number, 9, bytes(1380)))
    tap.check(relay.wait(lambda: sum(flow.refused("route-wait") for flow in flows) == 4), "not counted as route-wait")
    relay.answering.set()
    tap.check(relay.wait(lambda: sum(flow.refused("no-route") for flow in flows) == 16), "what waited is not counted")
    seen.add("route-wait")


def kernel(relay, handle, seen):
    """An address that goes; a TUN that takes nothing more."""
    flow = Flow(handle, packets.UDP, HERE, 40040)
    good = packets.udp(HERE, FAR, 40040, 9, bytes(1000))
    sent = 0
    while not flow.refused("tun-full"):
        os.write(flow.fd, good)
        sent += 1
    tap.check(relay.wait(lambda: flow.stats().tx_packets + flow.refused("tun-full") == sent), "a packet went uncounted")
    out = 0
    while relay.sent(0.2):
        out += 1
    tap.equal(out, flow.stats().tx_packets, "what came out, and what was counted as sent")
    relay.address_news(HERE, 0)
    tap.check(relay.wait(lambda: proto.Client(relay.path(), "games").flows()[-1][14] == 1), "not dormant")
    flow.learns(relay, packets.udp("0.0.0.0", FAR, 40040, 9), "dormant")
    seen |= {"tun-full", "dormant"}


def test_every_reason():
    """Each reason for which the relay refuses what is sent: one packet, one count, the same word from the library."""
    with Monitor([Slice(deny=DENY), TWO]) as relay:
        handle, seen = connect(relay), {"no-flow"}  # which has its own test below
        fragments(relay, connect(relay, "news", "two"), seen)
        for part in (form, routes, waiting, kernel):
            part(relay, handle, seen)
        tap.equal(set(proto.VERDICTS) - seen - NOT_SENT, set(), "reasons that nothing was refused for")
        for number, name in enumerate(proto.VERDICTS):
            tap.equal(LIB.saferaw_reason(number).decode(), name, "name of a reason")
        LIB.saferaw_disconnect(handle)


def test_taken_back():
    """What is unread or waits when a flow is taken back is counted: as no-flow, for the slice and the netns."""
    with Monitor([Slice(), TWO]) as relay:
        root, client = relay.client(None, "two"), relay.client()
        parked, stays = client.open(proto.UDP, local=HERE, port=40000), client.open(proto.UDP, local=HERE, port=40001)
        relay.answering.clear()
        for number in range(5):
            parked.send(packets.udp(HERE, FAR, 40000, 9, bytes(1480 + number)))
        tap.check(relay.wait(lambda: client.stats()["rx_packets"] == 0), "the relay does not answer")
        relay.configure(Slice(ranges=((1, 40001, 40999),)), TWO)
        tap.check(relay.wait(lambda: client.stats()["tx"]["no-flow"] == 5), f"counted: {client.stats()['tx']}")
        relay.answering.set()
        tap.check(stays.recv(0) is None, "the flow that fits is gone too")
        relay.configure(TWO)
        tap.check(relay.wait(lambda: stays.recv(0) == b""), "the slice does not end")
        tap.equal(root.netns()["tx"]["no-flow"], 5, "the netns's count")


def test_reader_gone():
    """A packet for a flow whose reader has just gone counts as no-flow, once, whoever notices first."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        for number in range(50):
            flow = client.open(proto.UDP, local=HERE, port=40000 + number)
            relay.arrive(packets.udp(FAR, HERE, 53, 40000 + number))
            tap.check(flow.recv(), "nothing arrived")
            os.kill(relay.process.pid, signal.SIGSTOP)
            relay.arrive(packets.udp(FAR, HERE, 53, 40000 + number))
            flow.close()
            os.kill(relay.process.pid, signal.SIGCONT)
        root = relay.client(None)
        tap.check(relay.wait(lambda: root.netns()["rx"]["no-flow"] + root.netns()["unknown_rx"]["no-flow"] == 50),
                  f"counted: {root.netns()}")


tap.main(test_every_reason, test_taken_back, test_reader_gone, modes=("auto",))
