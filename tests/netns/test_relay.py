#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The relay alone, in its sandbox, against a stand-in for the monitor."""

import errno
import os
import pwd
import signal
import socket
import struct
import time

from harness import PATIENCE, monitor, packets, proto, tap
from harness.monitor import Monitor, Slice, refused
from harness.tap import check, equal, raises

HERE, HERE6, FAR, FAR6 = "192.0.2.1", "2001:db8::1", "198.51.100.7", "2001:db8:ffff::7"
TWO = Slice(number=2, name="two", users=("news",), ranges=((0, 41000, 41099), (1, 41000, 41099), (2, 41000, 41099)))
META = struct.Struct("=IIQII")


def udp_in(port, src=FAR, sport=53, dst=HERE, **more):
    """A datagram that arrives."""
    return packets.udp(src, dst, sport, port, **more)


def udp_out(port, dst=FAR, dport=53, src=HERE, **more):
    """A datagram that is sent."""
    return packets.udp(src, dst, port, dport, **more)


def test_sandbox():
    """The relay has no powers, no file system, no new privileges, and a filter."""
    with Monitor([Slice()]) as relay:
        with open(f"/proc/{relay.process.pid}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file.read().splitlines())
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            equal(int(status[name], 16), 0, name)
        equal(status["NoNewPrivs"].strip(), "1", "no_new_privs")
        equal(status["Seccomp"].strip(), "2", "seccomp mode")
        equal(status["Groups"].strip(), "", "groups")
        equal(os.readlink(f"/proc/{relay.process.pid}/root"), os.path.join(relay.directory, "empty"), "root")


def test_hello():
    """Members may speak, root may ask, strangers are told so."""
    with Monitor([Slice(), TWO]) as relay:
        equal(relay.client().slice, "one", "slice")
        equal(relay.client("news", "two").slice, "two", "slice")
        raises(errno.EPERM, relay.client, "news")
        root = relay.client(None)
        root.stats()
        raises(errno.EPERM, root.open, proto.UDP, port=40000)
        client = relay.client(hello=False)
        raises(errno.EPROTO, client.hello, 9)


def test_members():
    """A primary or supplementary group, and a namespace, can be what lets a client in."""
    gid = pwd.getpwnam("games").pw_gid
    with Monitor([Slice(users=(), groups=(gid,))]) as relay:
        relay.client().open(proto.UDP, port=40000)
        raises(errno.EPERM, relay.client, "news")
    with Monitor([Slice(users=(), groups=(12345,))]) as relay:
        raises(errno.EPERM, relay.client)
        os.setgroups([7, 12345])
        try:
            client = relay.client(None)
        finally:
            os.setgroups([])
        client.open(proto.UDP, port=40000)
    with Monitor([Slice(peers=(monitor.netns_cookie(),))]) as relay:
        relay.client()
        relay.configure(Slice(peers=(monitor.netns_cookie() + 1,)))
        raises(errno.EPERM, relay.client)


def test_main_job():
    """A flow of each class and family: reserved, opened, both directions, closed, released."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        uid = pwd.getpwnam("games").pw_uid
        cases = ((proto.TCP, HERE, FAR, packets.tcp), (proto.TCP, HERE6, FAR6, packets.tcp),
                 (proto.UDP, HERE, FAR, packets.udp), (proto.UDP, HERE6, FAR6, packets.udp))
        for number, (kind, here, far, make) in enumerate(cases):
            port, index = 40000 + number, [HERE, HERE6].index(here)
            equal(relay.is_open(port, kind, index), 0, "open byte before")
            flow = client.open(kind, local=here, port=port)
            equal((flow.port, flow.count, flow.local), (port, 1, here), "what was opened")
            family = socket.AF_INET6 if ":" in here else socket.AF_INET
            equal(relay.reserves[-1], (kind, index, family, port, port, uid, 1), "what was reserved")
            equal(relay.is_open(port, kind, index), 1, "open byte")
            relay.arrive(make(far, here, 80, port) + b"ethernet padding")
            equal(flow.recv(), make(far, here, 80, port), "what arrived")
            flow.send(make(here, far, port, 80))
            equal(relay.sent(), make(here, far, port, 80), "what was sent")
            equal([client.stats(flow.number)[key] for key in ("rx_packets", "tx_packets")], [1, 1], "counts")
            flow.close()
            check(relay.wait(lambda: len(relay.releases) == number + 1), "no release")
            equal(relay.releases, relay.reserves, "what was released")
            equal(relay.at_release[-1], 0, "open byte when the release came")
        equal(client.stats()["grants"], 4, "grants")


def test_icmp():
    """An echo is matched by its id; requests from outside are for nobody."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.ICMP, port=40007)
        for here, far in ((HERE, FAR), (HERE6, FAR6)):
            flow.send(packets.echo(here, far, 40007))
            equal(relay.sent(), packets.echo(here, far, 40007), "request")
            relay.arrive(packets.echo(far, here, 40007, reply=True))
            equal(flow.recv(), packets.echo(far, here, 40007, reply=True), "reply")
            relay.arrive(packets.echo(far, here, 40007))
        check(relay.wait(lambda: client.stats(flow.number)["rx"]["no-flow"] == 2), "requests not counted")
        refused(relay, client, flow, packets.echo(HERE, FAR, 40008), "port")


def test_meta_and_errors():
    """META puts a header before each packet; ERRORS lets ICMP errors through, and their lack counts them."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        plain = client.open(proto.UDP, port=40000)
        wants = client.open(proto.UDP, port=40001, flags=proto.META | proto.ERRORS)
        sent = time.time_ns()
        for port in (40000, 40001):
            relay.arrive(packets.icmp(FAR, HERE, 3, 4, payload=udp_out(port)))
        data = wants.recv()
        size, flags, when, length, _ = META.unpack_from(data)
        equal((size, flags, length), (24, 0, len(data) - 24), "meta")
        check(sent <= when <= time.time_ns(), "time")
        equal(packets.Packet(data[24:]).type, 3, "ICMP type")
        equal(client.stats(plain.number)["rx"]["error-unwanted"], 1, "unwanted")


def test_refused_opens():
    """Every refusal of an open has its errno."""
    with Monitor([Slice(flows=3, memory=65536 * 2 * 4), TWO]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        raises(errno.EACCES, client.open, proto.UDP, port=39999)
        raises(errno.EACCES, client.open, proto.UDP, port=40990, count=11)
        raises(errno.EACCES, client.open, proto.UDP, port=41000)
        raises(errno.EACCES, client.open, proto.UDP, count=1001)
        raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local="192.0.2.99", port=40000)
        raises(errno.EOPNOTSUPP, client.open, proto.UDP, port=40000, kind=4)
        raises(errno.EOPNOTSUPP, client.open, proto.UDP, port=40000, flags=0x80)
        for wrong in ({"protocol": 200}, {"count": 0}, {"port": 65535, "count": 2}, {"family": 99},
                      {"local": HERE, "family": socket.AF_INET6}, {"local": HERE, "family": socket.AF_UNSPEC},
                      {"remote": FAR6, "family": socket.AF_INET}, {"remote_port": 5},
                      {"protocol": proto.ICMP, "remote": FAR, "remote_port": 5}):
            raises(errno.EINVAL, client.open, **{"protocol": proto.UDP, "port": 40000, **wrong})
        equal(relay.reserves, [], "what the monitor was asked")
        relay.busy.add((proto.UDP, 40005))
        check("host" in str(raises(errno.EADDRINUSE, client.open, proto.UDP, port=40005)), "text")
        flows = [client.open(proto.UDP, port=40000 + n) for n in range(3)]
        raises(errno.EMFILE, client.open, proto.UDP, port=40003)
        flows.pop().close()
        flows.append(client.open(proto.UDP, port=40003))
        other.open(proto.UDP, port=41000)
        equal(client.stats()["refusals"], 18, "refusals counted")
        relay.configure(Slice(flows=9, memory=65536 * 2 * 4), TWO)
        flows.append(client.open(proto.UDP, port=40009))
        raises(errno.ENOSPC, client.open, proto.UDP, port=40010)


def test_ownership():
    """A port is its first opener's; flows with other remotes share the reservation."""
    with Monitor([Slice(users=("games", "news"))]) as relay:
        client, other = relay.client(), relay.client("news")
        first = client.open(proto.TCP, port=40000, remote=FAR, remote_port=80)
        second = client.open(proto.TCP, port=40000, remote=FAR, remote_port=81)
        equal(len(relay.reserves), 1, "reservations")
        raises(errno.EADDRINUSE, client.open, proto.TCP, port=40000, remote=FAR, remote_port=80)
        for more in ({}, {"local": HERE}, {"remote": FAR, "remote_port": 99}):
            raises(errno.EADDRINUSE, other.open, proto.TCP, port=40000, **more)
        equal(len(other.flows()), 2, "flows")
        other.open(proto.TCP, port=40000, local=HERE6).close()  # the first are on IPv4 alone
        theirs = other.open(proto.UDP, port=40000)
        first.close()
        check(relay.wait(lambda: len(client.flows()) == 2), "flows")
        equal([release for release in relay.releases if release[1] == 0xFF], [], "releases while a flow is left")
        second.close()
        check(relay.wait(lambda: len(relay.releases) == 2), "no release")
        other.open(proto.TCP, port=40000)
        check(theirs.send(udp_out(40000)), "what is on another class")


def test_most_specific():
    """A packet goes to the most specific flow."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        opens = {"range": {"port": 40000, "count": 10}, "range here": {"port": 40000, "count": 10, "local": HERE},
                 "port": {"port": 40005}, "port here": {"port": 40005, "local": HERE},
                 "host": {"port": 40005, "remote": FAR},
                 "connected": {"port": 40005, "remote": FAR, "remote_port": 53},
                 "connected here": {"port": 40005, "remote": FAR, "remote_port": 53, "local": HERE}}
        flows = {name: client.open(proto.UDP, **what) for name, what in opens.items()}
        relay.arrive(udp_in(40009, dst=HERE6, src=FAR6))
        check(flows["range"].recv(), "range, other address")
        relay.arrive(udp_in(40009))
        check(flows["range here"].recv(), "range")
        relay.arrive(udp_in(40005, dst=HERE6, src=FAR6))
        check(flows["port"].recv(), "port, other address")
        relay.arrive(udp_in(40005, src="198.51.100.8"))
        check(flows["port here"].recv(), "port")
        relay.arrive(udp_in(40005, sport=54))
        check(flows["host"].recv(), "host")
        for name in ("connected here", "connected", "host", "port here", "port", "range here", "range"):
            relay.arrive(udp_in(40005))
            check(flows[name].recv(), name)
            equal([n for n, flow in flows.items() if flow.recv(0)], [], "others that got it too")
            flows.pop(name).close()
            check(relay.wait(lambda: len(client.flows()) == len(flows)), "not closed")
        equal(relay.is_open(40005, proto.UDP), 0, "open byte after all")
        check(relay.wait(lambda: sorted(relay.releases) == sorted(relay.reserves)), "releases")


def test_any_port():
    """Port 0 finds a free one, passes over what the host has, and gives up when there is none."""
    with Monitor([Slice(ranges=((1, 40000, 40009), (1, 40020, 40029), (0, 40000, 40500)))]) as relay:
        client = relay.client()
        relay.busy |= {(proto.UDP, port) for port in range(40003, 40007)}
        flows = [client.open(proto.UDP) for _ in range(16)]
        want = sorted([*range(40000, 40003), *range(40007, 40010), *range(40020, 40030)])
        equal(sorted(flow.port for flow in flows), want, "ports")
        raises(errno.EADDRINUSE, client.open, proto.UDP)
        for flow in flows:
            if flow.port in (40025, 40026, 40027, 40007, 40008):
                flow.close()
        check(relay.wait(lambda: len(client.flows()) == 11), "not closed")
        run = client.open(proto.UDP, count=3)
        equal((run.port, run.count), (40025, 3), "a free run")
        relay.busy |= {(proto.TCP, port) for port in range(40000, 40501)}
        before = len(relay.reserves)
        raises(errno.EADDRINUSE, client.open, proto.TCP)
        equal(len(relay.reserves) - before, 64, "tries")
        starts = set()
        relay.busy.clear()
        for _ in range(8):
            flow = client.open(proto.TCP)
            starts.add(flow.port)
            flow.close()
        check(len(starts) > 2, f"ports are not random: {starts}")


def test_refused_packets():
    """What a flow may not send does not come out, and is counted by its reason."""
    with Monitor([Slice(deny=(("203.0.113.0", 120),))]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        connected = client.open(proto.UDP, port=40001, remote=FAR, remote_port=53)
        good = udp_out(40000)
        for packet, reason in ((udp_out(40001), "port"), (udp_out(40000, src="192.0.2.2"), "source"),
                               (packets.tcp(HERE, FAR, 40000, 80), "protocol"), (good[:-1], "length"),
                               (good + b"x", "length"), (b"\x45", "short"), (b"\x95" + good[1:], "version"),
                               (bytes(65536), "too-big"), (packets.fragment(good, 0, 8), "fragment")):
            refused(relay, client, flow, packet, reason)
        for destination, reason in (("127.0.0.1", "loopback"), ("224.0.0.1", "multicast"), ("203.0.113.9", "denied"),
                                    ("255.255.255.255", "broadcast"), ("169.254.169.254", "link-local")):
            refused(relay, client, flow, udp_out(40000, dst=destination), reason)
        refused(relay, client, connected, udp_out(40001, dport=54), "remote")
        flow.send(good)
        equal(relay.sent(), good, "a good one after all that")
        equal(client.stats()["tx"]["port"], 1, "the slice's own count")


def test_filled_in():
    """A zero source, an IPv4 id of 0 and the header checksum are filled in."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        flow.send(udp_out(40000, src="0.0.0.0", ident=0))
        packet = packets.Packet(relay.sent())
        equal(packet.src, HERE, "source")
        check(packet.header_good and packet.transport_good(), "checksums")
        check(packet.raw[4:6] != b"\0\0", "id")
        flow.send(udp_out(40000, src="::", dst=FAR6))
        packet = packets.Packet(relay.sent())
        check(packet.src == HERE6 and packet.transport_good(), "IPv6 source")


def test_close():
    """End of file, an empty message and shutdown close a flow; what was sent before goes out; fds are dropped."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        idle = relay.fds()
        for end in (lambda f: f.close(), lambda f: f.send(b""), lambda f: f.socket.shutdown(socket.SHUT_WR)):
            flow = client.open(proto.UDP, port=40000)
            relay.arrive(udp_in(40000))
            flow.recv()
            relay.arrive(udp_in(40000))  # left unread: the kernel tells the relay of a reset
            check(relay.wait(lambda n=flow.number: client.stats(n)["rx_packets"] == 2), "not received")
            socket.send_fds(flow.socket, [udp_out(40000)], [0, 1, 2])
            for _ in range(50):
                flow.send(udp_out(40000))
            end(flow)
            for _ in range(51):
                check(relay.sent(), "a packet sent before the end is lost")
            check(relay.wait(lambda: not client.flows() and not relay.is_open(40000, proto.UDP)), "not closed")
            check(relay.wait(lambda: relay.fds() == idle), "fds are left")
            flow.close()
        passed = client.open(proto.UDP, port=40001)
        client.close()
        relay.arrive(udp_in(40001))
        check(passed.recv(), "a flow lives as long as its fd")


def test_hostile():
    """A message that is not right ends that conversation alone; its flows live on."""
    hello = proto.HEADER.pack(proto.HELLO, 16, 1) + struct.pack("=II", 1, 0)
    info = proto.HEADER.pack(proto.INFO, 8, 2)
    wrong = ((proto.INFO, 9), (0, 8), (99, 8), (proto.EVENT, 8))
    headers = [proto.HEADER.pack(kind, size, 2) for kind, size in wrong]
    bad = ((info, 1), (info, 8), (info, 40), *((data, 0) for data in (
        info + b"x", info[:-1], b"x", hello, bytes(5000), *headers)))
    with Monitor([Slice()]) as relay:
        bystander = relay.client()
        fds = relay.fds()
        for data, count in bad:
            client = relay.client()
            flow = client.open(proto.UDP, port=40000)
            socket.send_fds(client.socket, [data], [0] * count)
            try:
                equal(client.socket.recv(100), b"", f"reply to {data[:16]!r} with {count} fds")
            except ConnectionResetError:
                pass
            relay.arrive(udp_in(40000))
            check(flow.recv(), "its flow lives on")
            bystander.stats()
            flow.close()
            check(relay.wait(lambda: relay.fds() == fds), "fds are left")
        for first in (info, proto.HEADER.pack(proto.OPEN, 56, 1) + bytes(48)):
            client = relay.client(hello=False)
            client.socket.send(first)
            equal(client.socket.recv(100), b"", "reply before hello")


def test_unread_replies():
    """Who does not read replies gets no more than one fd ahead, and everything later."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        for n in range(10):
            client.socket.send(proto.OPEN_REQUEST.pack(proto.OPEN, 56, 100 + n, 1, proto.UDP, 0, 0, 40000 + n, 1,
                                                       proto.ANY, proto.ANY, 0))
        bystander = relay.client()
        check(relay.wait(lambda: bystander.flows()), "nothing opened")
        for _ in range(10):  # turns, in which the relay could go on
            bystander.stats()
        equal([len(relay.reserves), len(bystander.flows())], [1, 1], "reservations and flows before a reply is read")
        for n in range(10):
            data, fd = client.reply(proto.OPEN, 100 + n)
            equal(proto.OPENED.unpack(data)[3], 0, "error")
            os.close(fd)
        for _ in range(40):
            client.socket.send(proto.HEADER.pack(proto.STATS, 16, 7) + bytes(8))
        bystander.stats()
        for _ in range(40):
            client.reply(proto.STATS, 7)


def test_slow_reader():
    """Who does not read loses its own packets and nobody else's."""
    with Monitor([Slice(queue=20000)]) as relay:
        client = relay.client()
        slow, quick = client.open(proto.UDP, port=40000), client.open(proto.UDP, port=40001)
        for _ in range(300):
            relay.arrive(udp_in(40000))
            relay.arrive(udp_in(40001))
            check(quick.recv(), "lost")
        stats = client.stats(slow.number)
        equal(stats["rx_packets"] + stats["rx"]["queue-full"], 300, "received and refused")
        check(stats["rx"]["queue-full"] > 100, "nothing refused")
        equal(len(slow.drain()), stats["rx_packets"], "what is there to read")
        check(relay.wait(lambda: relay.drained() == 600), "drained when the ring is empty is what was queued")


def test_unmatched():
    """What is for nobody, or cannot be from the wire, is counted and dropped."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000, remote=FAR)
        relay.arrive(udp_in(40000, src="198.51.100.8"))
        relay.arrive(udp_in(40001))
        relay.arrive(b"\x60junk")
        relay.arrive(udp_in(40000)[:10] + b"\xba\xad" + udp_in(40000)[12:])
        relay.arrive(udp_in(40000))
        check(flow.recv(), "good packet")
        equal(flow.recv(0), None, "others")
        equal((client.stats()["rx"]["no-flow"], client.stats(flow.number)["rx"]["checksum"]), (1, 1), "counts")


def test_fragments():
    """Later fragments follow the first."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        whole = packets.udp(FAR, HERE, 53, 40000, b"x" * 64)[20:]
        first = packets.ip(FAR, HERE, packets.UDP, whole[:40], ident=7, flags=1)
        later = packets.ip(FAR, HERE, packets.UDP, whole[40:], ident=7, offset=5)
        alien = packets.ip(FAR, HERE, packets.UDP, whole[40:], ident=8, offset=5)
        into = packets.ip(FAR, HERE, packets.UDP, whole[32:], ident=7, offset=4)
        for packet in (later, first, alien, into, later):
            relay.arrive(packet)
        equal([flow.recv(), flow.recv(), flow.recv(0)], [first, later, None], "fragments")
        equal(client.stats()["rx"]["overlap"] + relay.client(None).netns()["unknown_rx"]["overlap"], 1, "the overlap")
        equal(relay.client(None).netns()["unknown_rx"]["orphan-fragment"], 2, "the one that was first, and the alien")


def test_routes():
    """What needs a route waits for it, and nobody else waits."""
    with Monitor([Slice()], addresses=(HERE, "192.0.2.2", HERE6), mtu=1000) as relay:
        client = relay.client()
        one, two = client.open(proto.UDP, port=40000), client.open(proto.UDP, port=40001)
        big = udp_out(40000, payload=bytes(1200))
        relay.routes = {FAR: ("192.0.2.2", 1500), "198.51.100.8": (HERE, 1100)}
        relay.answering.clear()
        one.send(big)
        one.send(udp_out(40000))
        two.send(udp_out(40001))
        equal(relay.sent(), udp_out(40001), "another flow's")
        equal(relay.sent(0.1), None, "before the answer")
        relay.answering.set()
        equal([relay.sent(), relay.sent()], [big, udp_out(40000)], "after the answer, in order")
        one.send(udp_out(40000, src="0.0.0.0"))
        equal(packets.Packet(relay.sent()).src, "192.0.2.2", "the route's source")
        equal(relay.asked, [FAR], "questions")
        refused(relay, client, one, udp_out(40000, dst="198.51.100.8", payload=bytes(1200)), "too-big")
        refused(relay, client, one, udp_out(40000, dst="198.51.100.9", payload=bytes(1200)), "no-route")
        data, _ = client.request(proto.ROUTE, proto.mapped("198.51.100.8"))
        equal(struct.unpack_from("=iI16s", data, 8), (0, 1100, proto.mapped(HERE)), "route")
        data, _ = client.request(proto.ROUTE, proto.mapped("198.51.100.10"))
        equal(struct.unpack_from("=i", data, 8)[0], errno.ENETUNREACH, "route")
        relay.routes["198.51.100.8"] = (HERE, 1400)
        relay.routes_news(1000)
        equal(client.event()[0], proto.ROUTES, "event")
        one.send(udp_out(40000, dst="198.51.100.8", payload=bytes(1200)))
        check(relay.sent(), "fits after the change")
        relay.answering.clear()
        relay.routes["198.51.100.11"] = (HERE, 1500)
        one.send(udp_out(40000, dst="198.51.100.11", payload=bytes(1200)))
        one.send(udp_out(40000))
        relay.arrive(udp_in(40000))
        check(relay.wait(lambda: client.stats(one.number)["rx_packets"] == 1), "not received")
        one.close()
        two.send(udp_out(40001))
        check(relay.sent(), "others go on")
        relay.answering.set()
        check(relay.sent() and relay.sent(), "what was sent before the end")
        check(relay.wait(lambda: len(client.flows()) == 1), "a flow that was closed while its packet was parked")


def test_port():
    """Who has a port, and whether the monitor's sockets hold it: the monitor is asked, and nobody else waits meanwhile."""
    with Monitor([Slice()]) as relay:
        client, other, gone = relay.client(), relay.client(), relay.client()

        def ask(kind, port, local=None, family=0):
            """error, state, held, uid, flows, netns"""
            data, _ = client.request(proto.PORT, struct.pack("=BBH16sI", kind, family, port, proto.mapped(local), 0))
            return struct.unpack_from("=iBB2xIIQ", data, 8)

        flow = client.open(proto.UDP, local=HERE, port=40000)
        uid = pwd.getpwnam("games").pw_uid
        relay.covered = {(proto.UDP, 40000): 1, (proto.UDP, 40001): 2, (proto.UDP, 50000): 3}
        equal(ask(proto.UDP, 40000), (0, 2, 1, uid, 1, relay.cookie), "open and held")
        equal([ask(proto.UDP, 40000, local)[1:3] for local in (HERE, HERE6, FAR)], [(2, 1), (1, 0), (1, 0)], "by address")
        equal([ask(proto.UDP, 40001, family=family)[1:3] for family in (0, socket.AF_INET, socket.AF_INET6)],
              [(1, 1), (1, 0), (1, 1)], "held alone, by family")
        equal(ask(proto.UDP, 50000)[1:3], (0, 0), "not the slice's")
        equal(ask(proto.TCP, 40000)[1:3], (1, 0), "another class")
        equal(ask(9, 40000)[0], errno.EINVAL, "no class")
        relay.answering.clear()
        body = struct.pack("=BBH16sI", proto.UDP, 0, 40000, proto.ANY, 0)
        for one in (gone, client):
            one.socket.send(proto.HEADER.pack(proto.PORT, 32, 7) + body)
        other.stats()
        gone.close()
        relay.answering.set()
        data, _ = client.reply(proto.PORT, 7)
        equal(struct.unpack_from("=iBB", data, 8), (0, 2, 1), "after the answer")
        flow.close()


def test_parking_is_bounded():
    """A slice can park so many packets, and leaves places to others."""
    with Monitor([Slice(), TWO], mtu=1000) as relay:
        client, other = relay.client(), relay.client("news", "two")
        flows = [client.open(proto.UDP, port=40000 + n) for n in range(20)]
        theirs = other.open(proto.UDP, port=41000)
        relay.routes = {f"198.51.100.{n}": (HERE, 1500) for n in range(1, 99)}
        relay.answering.clear()
        for n, flow in enumerate(flows):
            flow.send(udp_out(flow.port, dst=f"198.51.100.{n + 1}", payload=bytes(1200)))
        check(relay.wait(lambda: client.stats()["tx"]["route-wait"] == 4), "not counted")
        theirs.send(udp_out(41000, dst="198.51.100.50", payload=bytes(1200)))
        relay.answering.set()
        equal(len([1 for _ in range(17) if relay.sent()]), 17, "packets after the answers")
        equal(other.stats()["tx"]["route-wait"], 0, "the other slice's")


def test_addresses():
    """An address that goes makes its flows dormant; one that comes is taken in by flows on any address."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        here, anywhere = client.open(proto.UDP, local=HERE, port=40000), client.open(proto.UDP, port=40001)
        relay.address_news(HERE, False)
        equal(client.event(), (proto.ADDRESS_GONE, 0, HERE), "event")
        refused(relay, client, here, udp_out(40000), "dormant")
        refused(relay, client, anywhere, udp_out(40001), "source")
        equal([row[14] for row in client.flows()], [1, 0], "dormant")
        relay.address_news(HERE, True)
        equal(client.event(), (proto.ADDRESS_BACK, 0, HERE), "event")
        here.send(udp_out(40000))
        check(relay.sent(), "goes on")
        equal(relay.is_open(40001, proto.UDP, 2), 0, "open byte of an address that nobody has")
        relay.address_news("192.0.2.3", True)
        equal(client.event(), (proto.ADDRESS_BACK, 0, "192.0.2.3"), "event")
        equal((relay.is_open(40001, proto.UDP, 2), relay.is_open(40000, proto.UDP, 2)), (1, 0), "open bytes")
        relay.arrive(udp_in(40001, dst="192.0.2.3"))
        check(anywhere.recv(), "on the new address")
        equal(len(relay.reserves), 2, "reservations")


def test_reload():
    """A reload revokes what no longer fits and touches nothing else."""
    with Monitor([Slice(users=("games", "news")), TWO]) as relay:
        client, leaver, other = relay.client(), relay.client("news"), relay.client("news", "two")
        stays, goes = client.open(proto.UDP, port=40000), client.open(proto.UDP, port=40900)
        lost, theirs = leaver.open(proto.UDP, port=40001), other.open(proto.UDP, port=41000)
        here = client.open(proto.UDP, local=HERE6, port=40002)
        client.stats()
        fds = relay.fds()
        relay.configure(Slice(users=("games", "news")), TWO)
        client.stats()
        check(relay.wait(lambda: relay.fds() == fds), "fds after a reload that changes nothing")
        relay.configure(Slice(ranges=((1, 40000, 40100),), addresses=(HERE,)))
        events = [client.event() for _ in range(3)]
        numbers = sorted(flow.number for flow in (goes, lost, here))
        equal(sorted(events), [(proto.REVOKED, number, None) for number in numbers], "events")
        for flow in (goes, lost, theirs, here):
            equal(flow.recv(), b"", "a revoked flow")
        for gone in (leaver, other):
            try:
                while gone.socket.recv(100):
                    pass
            except ConnectionResetError:
                pass
        relay.arrive(udp_in(40000))
        check(stays.recv(), "what still fits")
        equal((relay.is_open(40000, proto.UDP, 0), relay.is_open(40000, proto.UDP, 1)), (1, 0), "open bytes")
        raises(errno.EPERM, relay.client, "news")
        raises(errno.EACCES, client.open, proto.UDP, port=40900)
        check(relay.wait(lambda: len(relay.releases) == 4), "releases")
        relay.configure(Slice(serial=2))
        equal(stays.recv(), b"", "a slice with another serial is another slice")
        relay.client().open(proto.UDP, port=40000)


def test_detach():
    """A netns that is attached anew takes its flows along; nothing is released in it."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        client.stats()
        fds = relay.fds()
        old = relay.tun, relay.tun_relay, relay.traffic_fd, *(fd for fd, _ in relay.blocks.values())
        relay.make_netns()
        relay.serial = 2
        relay.configure(Slice())
        equal(flow.recv(), b"", "its flow")
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        relay.arrive(udp_in(40000))
        check(flow.recv(), "in the new one")
        equal(relay.releases, [], "releases")
        check(relay.wait(lambda: relay.fds() == fds), "fds are left")
        for end in old[:2]:
            end.close()
        for fd in old[2:]:
            os.close(fd)


def test_pending():
    """Requests that wait for the monitor: others go on, who leaves is forgotten, and what he got is released."""
    with Monitor([Slice()]) as relay:
        gone, client, third = relay.client(), relay.client(), relay.client()
        request = proto.OPEN_REQUEST.pack(proto.OPEN, 56, 5, 1, proto.UDP, 0, 0, 40000, 1, proto.ANY, proto.ANY, 0)
        relay.answering.clear()
        gone.socket.send(request)
        check(relay.wait(lambda: third.request(proto.INFO)), "others")
        gone.close()
        client.socket.send(request)
        third.socket.send(proto.OPEN_REQUEST.pack(proto.OPEN, 56, 6, 1, proto.UDP, 0, 0, 40000, 1, proto.ANY,
                                                  proto.mapped(FAR), 0))
        relay.client().stats()
        equal(relay.is_open(40000, proto.UDP), 0, "open before it is held")
        relay.answering.set()
        for one, ident in ((client, 5), (third, 6)):
            data, fd = one.reply(proto.OPEN, ident)
            equal(proto.OPENED.unpack(data)[3], 0, "error")
            os.close(fd)
        check(relay.wait(lambda: len(relay.reserves) == len(relay.releases)), "everything is released in the end")
        relay.answering.clear()
        client.socket.send(request)
        third.request(proto.INFO)
        relay.configure(Slice(ranges=((1, 40500, 40999),)))
        third.request(proto.INFO)
        relay.answering.set()
        data, fd = client.reply(proto.OPEN, 5)
        equal((proto.OPENED.unpack(data)[3], fd), (errno.EACCES, None), "a reload has taken the port away meanwhile")


def admitted(relay):
    """Whether there is a place for one more client."""
    try:
        return relay.client()
    except OSError as caught:
        equal(caught.errno, errno.EUSERS, "why not")
        return None


def test_limits():
    """Too many clients, too few fds: refused, and all is well when some have left."""
    with Monitor([Slice(clients=2)]) as relay:
        clients = [relay.client(), relay.client(hello=False)]
        raises(errno.EUSERS, relay.client)
        strangers = [relay.client("news", hello=False) for _ in range(30)]
        clients.pop().close()
        check(relay.wait(lambda: admitted(relay)), "after one has left")
        for one in strangers:
            one.close()
    with Monitor([Slice(clients=100)], nofile=64) as relay:
        client, flows = relay.client(), []
        error = None
        while not error:
            try:
                flows.append(client.open(proto.UDP))
            except OSError as caught:
                error = caught.errno
        equal(error, errno.ENFILE, "errno")
        check(len(flows) > 20, "flows")
        waits = []
        for _ in range(12):
            waits.append(relay.client(hello=False))
        relay.configure(Slice(clients=100))
        client.stats()
        for flow in flows[:20]:
            flow.close()
        raises(errno.EPERM, relay.client, "news")
        check(relay.client(), "accepts again")


def test_turns():
    """A flow with many packets waiting sends some of them, then it is another's turn."""
    with Monitor([Slice(queue=200000)]) as relay:
        client = relay.client()
        loud, quiet = client.open(proto.UDP, port=40000), client.open(proto.UDP, port=40001)
        os.kill(relay.process.pid, signal.SIGSTOP)
        for _ in range(200):
            loud.send(udp_out(40000))
        quiet.send(udp_out(40001))
        os.kill(relay.process.pid, signal.SIGCONT)
        order = [packets.Packet(relay.sent()).sport for _ in range(201)]
        check(order.index(40001) < 100, f"the other flow's packet came after {order.index(40001)}")


def hogged():
    """(seconds that a short request took, seconds that all took) among opens of tens of thousands of ports, and among their ends."""
    with Monitor([Slice(ranges=((1, 10000, 59999),), clients=64, flows=100, memory=1 << 33), TWO]) as relay:
        other = relay.client("news", "two")
        other.stats()
        hogs = [relay.client() for _ in range(40)]
        os.kill(relay.process.pid, signal.SIGSTOP)
        for number, hog in enumerate(hogs):
            hog.socket.send(proto.OPEN_REQUEST.pack(proto.OPEN, 56, 5, 1, proto.UDP, socket.AF_INET, 0, 10000 + number, 49000,
                                                    proto.ANY, proto.mapped(FAR), 1 + number))
        other.socket.send(proto.HEADER.pack(proto.STATS, 16, 9) + bytes(8))
        os.kill(relay.process.pid, signal.SIGCONT)
        begun = time.monotonic()
        other.reply(proto.STATS, 9)
        short = time.monotonic() - begun
        flows = []
        for hog in hogs:
            data, fd = hog.reply(proto.OPEN, 5)
            equal(proto.OPENED.unpack(data)[3], 0, "error")
            flows.append(fd)
        opens = short, time.monotonic() - begun
        other.stats()
        for fd in flows:
            os.close(fd)
        begun = time.monotonic()
        other.stats()
        short = time.monotonic() - begun
        check(relay.wait(lambda: len(relay.releases) == len(hogs)), "releases")
        ends = short, time.monotonic() - begun
        for number, hog in enumerate(hogs):
            equal(relay.is_open(10000 + number, proto.UDP), 0, "open byte")
        return opens, ends


def test_hogs():
    """Opens of tens of thousands of ports do not keep a short request waiting until all of them are done."""
    for _ in range(tap.TRIES):  # a short request that waits for a CPU does not wait for one each time
        opens, ends = hogged()
        if opens[0] < opens[1] / 4 and ends[0] < ends[1] / 2:
            return
        tap.diagnose(f"once more: {opens} {ends}")
    check(False, f"a short request and all took {opens} s, and when they ended {ends} s")


def test_slow_monitor():
    """Releases that the monitor does not take wait for it."""
    with Monitor([Slice(flows=3000)]) as relay:
        client = relay.client()
        flows = [client.open(proto.UDP, port=40000 + n % 1000, local=(HERE, HERE6)[n // 1000]) for n in range(2000)]
        relay.answering.clear()
        for flow in flows:
            flow.close()
        check(relay.wait(lambda: not client.flows()), "closed")
        relay.answering.set()
        check(relay.wait(lambda: sorted(relay.releases) == sorted(relay.reserves)), "releases")


def test_events_missed():
    """Events that a client has no room for are lost, and it is told so."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        for _ in range(50):
            relay.routes_news()
        other = relay.client()
        kinds = [client.event()[0] for _ in range(3)]
        while kinds[-1] != proto.MISSED:
            kinds.append(client.event()[0])
        check(len(kinds) < 50, "events")
        client.stats()
        other.stats()


def test_ends():
    """SHUTDOWN is told to clients; a monitor that is gone or talks nonsense ends the relay."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, port=40000)
        relay.send(monitor.message(monitor.SHUTDOWN))
        equal(client.event(), (proto.SHUTDOWN, 0, None), "event")
        equal(flow.recv(), b"", "flow")
        equal(relay.ended(), 0, "status")
    with Monitor([Slice()]) as relay:
        flow = relay.client().open(proto.UDP, port=40000)
        relay.channel.shutdown(socket.SHUT_RDWR)
        equal((relay.ended(), flow.recv()), (1, b""), "status and flow when the monitor is gone")
    nonsense = (monitor.message(monitor.COMMIT), monitor.message(99), monitor.message(monitor.BEGIN) + b"x", b"x",
                monitor.message(monitor.RESERVED, bytes(16)), monitor.message(monitor.READY),
                monitor.message(monitor.ADDRESS_NEWS, struct.pack("=IBBxx16s", 63, 0, 1, proto.mapped(HERE))),
                monitor.message(monitor.ADDRESS_NEWS, struct.pack("=IBBxx16s", 0, 32, 1, proto.mapped(HERE))),
                monitor.message(monitor.ADDRESS_NEWS, struct.pack("=IBBxx16s", 0, 0, 1, proto.mapped(FAR))))
    for data in nonsense:
        with Monitor([Slice()]) as relay:
            relay.send(data)
            equal(relay.ended(), 1, f"status after {data!r}")


def test_late_packets():
    """What has arrived for a port before a reload gives it to another slice is for the old owner's flow, and nobody else's."""
    with Monitor([Slice(queue=1 << 20), TWO]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        flow = client.open(proto.UDP, local=HERE, port=40000)
        os.kill(relay.process.pid, signal.SIGSTOP)  # so that it comes to all of this at once
        for _ in range(200):
            relay.arrive(udp_in(40000))
        datagram = udp_in(40000, payload=bytes(200))
        relay.arrive(packets.fragment(datagram, 0, 104))
        relay.configure(Slice(ranges=((1, 40900, 40999),), queue=1 << 20),
                        Slice(number=2, name="two", users=("news",), ranges=((1, 40000, 40099),)))
        os.kill(relay.process.pid, signal.SIGCONT)
        theirs = None
        while not theirs:
            try:
                theirs = other.open(proto.UDP, local=HERE, port=40000)
            except OSError as caught:
                equal(caught.errno, errno.EACCES, "why not yet")
        relay.arrive(packets.fragment(datagram, 104))
        relay.arrive(udp_in(40000, payload=b"for the new one"))
        equal(theirs.recv(), udp_in(40000, payload=b"for the new one"), "first thing at the new owner")
        equal(other.stats()["rx"]["orphan-fragment"], 1, "the rest of a datagram for the old owner")
        late = list(iter(flow.recv, b""))
        equal(late.pop(), packets.fragment(datagram, 0, 104), "its beginning")
        equal((len(late), set(late)), (200, {udp_in(40000)}), "at the old owner")


def test_many_flows():
    """Thousands of connected flows on one port cost one reservation, and each gets its own."""
    with Monitor([Slice(flows=5000, memory=1 << 40)], nofile=12000) as relay:
        client = relay.client()
        flows = [client.open(proto.UDP, port=40000, remote=FAR, remote_port=1 + n) for n in range(4000)]
        equal(len(relay.reserves), 1, "reservations")
        for n in (0, 1, 1999, 3999):
            relay.arrive(udp_in(40000, sport=n + 1))
            flows[n].socket.settimeout(PATIENCE)
            check(flows[n].socket.recv(2000), "received")
        equal([row[0] for row in client.flows()], [flow.number for flow in flows], "list")
        data, _ = client.request(proto.PORT, struct.pack("=BxH16sI", proto.UDP, 40000, proto.ANY, 0))
        equal(struct.unpack_from("=iBB2xIIQ", data, 8), (0, 2, 0, pwd.getpwnam("games").pw_uid, 4000, relay.cookie), "port")


if __name__ == "__main__":
    # no steering here, so there is one way to attach it
    tap.main(*(test for name, test in list(globals().items()) if name.startswith("test_")), modes=("auto",))
