#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Links, as the relay alone sees them: requests, translation and refusals against a stand-in for the monitor."""

import errno
import json
import os
import pwd
import struct

from harness import packets, proto, tap
from harness.broker import program
from harness.monitor import LINK_TRAFFIC, Monitor, Slice
from harness.tap import check, equal, raises
from harness.topology import run

HERE, HERE6, FAR, FAR6 = "192.0.2.1", "2001:db8::1", "198.51.100.7", "2001:db8:ffff::7"
HOST, HOST6 = "192.0.0.8", "64:ff9b:1::8"
PAIRS = ((HERE, FAR), (HERE6, FAR6))
TWO = Slice(number=2, name="two", users=("news",), ranges=((0, 41000, 41999), (1, 41000, 41999), (2, 41000, 41999)))
CLOSED, TUN, LINK = 0, 1, 2


def make(kind, src, dst, sport, dport, reply=False, **more):
    """A packet of some class; of ICMP a request from sport or a reply to dport."""
    if kind == proto.ICMP:
        return packets.echo(src, dst, dport if reply else sport, reply=reply, **more)
    return (packets.tcp, packets.udp)[kind](src, dst, sport, dport, **more)


def port_of(kind, packet, far=False):
    """The source port (or destination port) or the id in a packet."""
    at = (20 if packet[0] >> 4 == 4 else 40) + (4 if kind == proto.ICMP else 2 if far else 0)
    return struct.unpack_from("!H", packet, at)[0]


def refused(relay, client, packet, reason, number=1):
    """A link sends a packet, and it is refused for that reason and does not come out."""
    before = client.stats()["tx"][reason]
    relay.from_link(number, packet)
    check(relay.wait(lambda: client.stats()["tx"][reason] == before + 1), f"not counted as {reason}: "
          f"{[(k, v) for k, v in client.stats()['tx'].items() if v]}")
    equal(relay.sent(0.02), None, f"what came out although {reason}")


def test_request():
    """A block of each class is reserved, the monitor gets the control socket, ports open for the link; all of it ends with the conversation."""
    with Monitor([Slice(), TWO]) as relay:
        uid, client = pwd.getpwnam("games").pw_uid, relay.client()
        client.stats()
        fds = relay.fds()
        link = client.link()
        lo, hi, direct = link.blocks[0]
        equal((hi - lo, hi - direct, lo % 16), (255, 64, 0), "block")
        check(40000 <= lo and hi <= 40999, "block outside the slice's range")
        equal(link.blocks, [link.blocks[0]] * 3, "blocks")
        equal((link.number, link.mtu, link.local), (1, 1500, False), "link")
        equal(sorted(link.addresses), sorted([HERE, HERE6]), "addresses")
        equal(sorted(relay.reserves), [(kind, 0xFF, 0, lo, hi, uid, 1) for kind in range(3)], "what was reserved")
        (netns, number, flags), asked_lo, asked_hi, names = relay.linked[0]
        equal((netns, number, flags, asked_lo, asked_hi), (0, 1, 0, (lo,) * 3, (hi,) * 3), "what the monitor was asked")
        check(len(names) == 1 and names[0].startswith("socket:"), f"fds {names}")
        equal(relay.fds(), fds, "the relay's fds")
        for kind in range(3):
            for index in range(2):
                equal([relay.is_open(port, kind, index) for port in (lo - 1, lo, hi, hi + 1)], [CLOSED, LINK, LINK, CLOSED],
                      "open bytes")
        raises(errno.EBUSY, client.link)
        equal([row["link"] for row in client.links()], [1], "links")
        equal(relay.client("news", "two").links(), [], "links of another slice")
        client.close()
        check(relay.wait(lambda: len(relay.releases) == 3), "no release")
        equal(sorted(relay.releases), sorted(relay.reserves), "what was released")
        equal((relay.at_release, relay.unlinked), ([0] * 3, [1]), "open bytes at release, and what the monitor was told")


def test_blocks():
    """Ports that are asked for; counts are rounded; strict has no pool; classes without common ranges have blocks of their own."""
    with Monitor([Slice(), TWO], mtu=1400) as relay:
        clients = [relay.client() for _ in range(4)]
        link = clients[0].link(ports=(40496,) * 3, count=100, flags=proto.QUIET)
        equal((link.blocks, link.mtu), ([(40496, 40607, 40579)] * 3, 1400), "112 ports")
        equal(relay.linked[-1][0][2], proto.QUIET, "flags")
        link = clients[1].link(count=16)
        equal((link.blocks[0][1] - link.blocks[0][0], link.blocks[0][1] - link.blocks[0][2]), (15, 4), "16 ports")
        link = clients[2].link(count=32)
        equal(link.blocks[0][1] - link.blocks[0][2], 8, "pool of 32 ports")
        link = clients[3].link(count=16, flags=proto.STRICT)
        equal(link.blocks[0][1], link.blocks[0][2], "pool of a strict link")
    ranges = ((0, 40000, 40099), (1, 50007, 50099))
    with Monitor([Slice(ranges=ranges)]) as relay:
        link = relay.client().link(count=32)
        check(40000 <= link.blocks[0][0] and link.blocks[0][1] <= 40099, f"tcp {link.blocks}")
        check(50007 < link.blocks[1][0] and link.blocks[1][1] <= 50099, f"udp {link.blocks}")
        equal(link.blocks[2], (0, 0, 0), "icmp")
        client = relay.client()
        raises(errno.EACCES, client.link, ports=(40032, 40032, 0), count=16)
        link = client.link(ports=(40016 if link.blocks[0][0] > 40016 else 40064, 0, 0), count=16)
        equal(link.blocks[0][0] % 16, 0, "tcp")


def test_refusals():
    """Requests that are refused, each with its error, and leave neither ports nor fds behind."""
    with Monitor([Slice(memory=1 << 18, queue=4096), TWO]) as relay:
        client, held = relay.client(), relay.client()
        flow = held.open(proto.UDP, port=40016)
        held.stats()
        fds = relay.fds()
        for error, more in ((errno.EINVAL, {"flags": 4}), (errno.EINVAL, {"ports": (40001, 0, 0)}),
                            (errno.EINVAL, {"count": 65535}), (errno.EACCES, {"ports": (41008, 0, 0)}),
                            (errno.EACCES, {"ports": (40992, 0, 0), "count": 16}), (errno.EACCES, {"ports": (65520,) * 3}),
                            (errno.EADDRINUSE, {"ports": (40016,) * 3, "count": 16}), (errno.EADDRINUSE, {"count": 1024}),
                            (errno.ENOSPC, {"count": 65520})):
            caught = raises(error, client.link, **more)
            check(caught.strerror, f"no text for {more}")
        root = relay.client(None)
        raises(errno.EPERM, root.link)
        root.close()
        equal(relay.linked, [], "what the monitor was asked")
        check(relay.wait(lambda: relay.fds() == fds), "fds that stay")
        for error in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EBUSY, errno.EEXIST, errno.ENOSPC, errno.EIO):
            relay.link_error = error
            raises(error, client.link)
        relay.link_error = 0
        relay.busy = {(2, port) for port in range(40000, 41000)}
        raises(errno.EADDRINUSE, client.link)
        equal(len(relay.linked), 7, "what the monitor was asked")
        raises(errno.EADDRINUSE, client.link, ports=(40032,) * 3, count=16)
        relay.busy = {(0, 40000 + 16 * unit) for unit in range(12)}
        link = client.link(count=800)
        check(link.blocks[0][0] >= 40192, f"block {link.blocks[0]}")  # beyond the busy ports by the smallest step
        flow.close()
        equal(client.stats()["grants"], 2, "grants")
        check(relay.wait(lambda: relay.fds() == fds - 1), "fds that stay")


def test_packed():
    """Blocks of one size lie side by side: as many links as there is room for, and then no more."""
    with Monitor([Slice(ranges=((0, 40008, 44200), (1, 40008, 44200), (2, 40008, 44200)), clients=100)]) as relay:
        clients = [relay.client() for _ in range(17)]
        blocks = sorted(client.link().blocks[0][:2] for client in clients[:16])
        equal(blocks, [(lo, lo + 255) for lo in range(40016, 40016 + 16 * 256, 256)], "blocks")
        raises(errno.EADDRINUSE, clients[16].link)
        clients[3].close()
        check(relay.wait(lambda: relay.unlinked), "not ended")
        check(clients[16].link(), "the place of one that has gone")


def test_quarantine():
    """Blocks that only the monitor knows as taken are passed over whole; a choice is somewhere in the ranges, not always at their start."""
    with Monitor([Slice(ranges=((0, 10000, 60000), (1, 10000, 60000), (2, 10000, 60000)), clients=100)]) as relay:
        relay.busy = {(1, port) for port in range(10000, 22000)}
        clients = [relay.client() for _ in range(20)]
        blocks = [client.link().blocks[0][0] for client in clients]
        check(all(lo >= 22000 for lo in blocks), f"{blocks}")
        check(max(blocks) - min(blocks) > 10000, f"always the same place: {blocks}")
        check(len(relay.reserves) < 20 * 3 * 64, f"{len(relay.reserves)} questions to the monitor")


def test_fds():
    """A request with fds ends the conversation, whatever it is, and no fd stays."""
    with Monitor([Slice()]) as relay:
        first = relay.client()
        here = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        first.stats()
        idle = relay.fds()
        for kind, body, fds in ((proto.LINK, bytes(12), (here,)), (proto.LINK, bytes(12), (here,) * 9), (proto.INFO, b"", (here,)),
                                (proto.LINK, bytes(11), (here,)), (proto.LINK, bytes(13), ())):
            client = relay.client()
            raises(errno.ECONNRESET, client.request, kind, body, fds)
        client = relay.client(hello=False)
        raises(errno.ECONNRESET, client.request, proto.LINK, bytes(12))
        check(relay.wait(lambda: relay.fds() == idle), "fds that stay")
        equal(first.links(), [], "links")
        os.close(here)


def test_alone():
    """A link has its ports alone: no flow of the same user, no other link; and no link where a flow is."""
    with Monitor([Slice()]) as relay:
        client, other = relay.client(), relay.client()
        client.link(ports=(40000,) * 3)
        raises(errno.EADDRINUSE, other.open, proto.UDP, port=40000)
        raises(errno.EADDRINUSE, other.open, proto.UDP, port=40000, count=256)
        raises(errno.EADDRINUSE, other.open, proto.TCP, port=40255, local=HERE)
        raises(errno.EADDRINUSE, other.link, ports=(40240,) * 3)
        flow = other.open(proto.UDP, port=40256)
        raises(errno.EADDRINUSE, other.link, ports=(40256,) * 3)
        others = [relay.client() for _ in range(8)]
        seen = {one.link(count=64).blocks[0][0] for one in others}
        equal(len(seen), 8, "blocks of eight links")
        check(all(lo > 40256 for lo in seen), f"{seen}")
        flow.close()


def test_unfinished():
    """A client that leaves at any moment of its request leaves nothing: no ports, and no device."""
    with Monitor([Slice()]) as relay:
        for _ in range(3):
            client = relay.client()
            relay.answering.clear()
            client.socket.send(proto.HEADER.pack(proto.LINK, 20, 9) + bytes(12))
            equal(relay.client().links(), [], "links")
            client.close()
            relay.answering.set()
        check(relay.wait(lambda: len(relay.reserves) == len(relay.releases)), "ports that stay")
        client = relay.client()
        link = client.link()
        equal([row["link"] for row in client.links()], [link.number], "links")


def test_orphan():
    """A client that leaves while the device is being made: the device ends, and only then its ports."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        take = relay.take_link
        relay.take_link = lambda both: (relay.answering.clear(), relay.late.append(both))
        relay.late = []
        client.socket.send(proto.HEADER.pack(proto.LINK, 20, 9) + bytes(12))
        check(relay.wait(lambda: relay.late), "no request for a device")
        relay.answering.set()
        client.close()
        equal(relay.client().links(), [], "links")
        equal(relay.releases, [], "released too early")
        take(relay.late[0])
        check(relay.wait(lambda: len(relay.releases) == 3), "no release")
        equal(relay.unlinked, [1], "what the monitor was told")


def test_translation():
    """Out from any port and back, each class in each family: byte by byte what is sent from a pool port."""
    with Monitor([Slice(), TWO]) as relay:
        client = relay.client()
        link = client.link()
        for kind in (proto.TCP, proto.UDP, proto.ICMP):
            for index, (here, far) in enumerate(PAIRS):
                relay.from_link(1, make(kind, here, far, 777, 80) + b"padding")
                left = relay.sent()
                outer = port_of(kind, left)
                check(link.blocks[kind][2] < outer <= link.blocks[kind][1], f"port {outer}")
                equal(left, make(kind, here, far, outer, 80), "what left")
                equal(relay.is_open(outer, kind, index), TUN, "open byte")
                relay.arrive(make(kind, far, here, 80, outer, reply=True))
                equal(relay.to_link(), (1, make(kind, far, here, 80, 777, reply=True)), "what came back")
                check((kind, 777, outer, 777 if kind == proto.ICMP else 80, here, far, 0) in client.mappings(1),
                      f"{client.mappings(1)}")
        row = client.links()[0]
        equal([row[name] for name in ("mappings", "created", "rx_translated", "tx_translated", "refused")], [6, 6, 6, 6, 0], "row")
        stats = client.stats()
        equal((stats["rx_packets"], stats["tx_packets"]), (6, 6), "slice's counts")
        check(relay.wait(lambda: relay.drained() == 6 and relay.tap_drained() == 6), "what was drained")
        raises(errno.ENOENT, relay.client("news", "two").mappings, 1)
        raises(errno.ENOENT, client.mappings, 2)
        raises(errno.ENOENT, client.mappings, 5000)


def test_errors_back():
    """An ICMP error about a translated packet comes back about the packet that was sent."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        client.link()
        for kind in (proto.TCP, proto.UDP, proto.ICMP):
            for here, far, router, code in ((HERE, FAR, "203.0.113.1", 11), (HERE6, FAR6, "2001:db8:5::1", 3)):
                sent = make(kind, here, far, 777, 33434, ttl=1)
                relay.from_link(1, sent)
                left = relay.sent()
                relay.arrive(packets.icmp(router, here, code, payload=left))
                equal(relay.to_link(), (1, packets.icmp(router, here, code, payload=sent)), "the error")


def test_host():
    """The host itself, under its alias, for a slice that is local; refused for others."""
    with Monitor([Slice(local=True), TWO]) as relay:
        client = relay.client()
        check(client.link().local, "local")
        for kind in (proto.TCP, proto.UDP, proto.ICMP):
            for here, host in ((HERE, HOST), (HERE6, HOST6)):
                relay.from_link(1, make(kind, here, host, 40001, 80))
                left = relay.sent()
                outer = port_of(kind, left)
                equal(left, make(kind, here, here, outer, 80), "what left")
                relay.arrive(make(kind, here, here, 80, outer, reply=True))
                equal(relay.to_link(), (1, make(kind, host, here, 80, 40001, reply=True)), "what came back")
                before = client.stats()["rx"]["no-mapping"]
                relay.arrive(make(kind, FAR if host == HOST else FAR6, here, 80, outer, reply=True))
                check(relay.wait(lambda n=before: client.stats()["rx"]["no-mapping"] == n + 1), "another host's answer")
        two = relay.client("news", "two")
        check(not two.link().local, "local")
        for here, host in ((HERE, HOST), (HERE6, HOST6)):
            relay.from_link(2, packets.udp(here, host, 5, 80), 2)
        check(relay.wait(lambda: two.stats()["tx"]["local"] == 2), "not counted")
        relay.configure(Slice(local=False))
        refused(relay, client, packets.udp(HERE, HOST, 5, 80), "local")


def test_hostile():
    """What a link may not send: each refused by name; frames that are no link's are counted for nobody."""
    with Monitor([Slice(deny=(("203.0.113.0", 120),))]) as relay:
        client, root = relay.client(), relay.client(None)
        client.link()
        good = packets.udp(HERE, FAR, 5, 80)
        for reason, packet in (("source", packets.udp("192.0.2.9", FAR, 5, 80)), ("source", packets.udp("0.0.0.0", FAR, 5, 80)),
                               ("source", packets.udp("2001:db8::9", FAR6, 5, 80)), ("denied", packets.udp(HERE, "203.0.113.4", 5, 80)),
                               ("loopback", packets.udp(HERE, "127.0.0.1", 5, 80)), ("multicast", packets.udp(HERE6, "ff02::1", 5, 80)),
                               ("protocol", packets.ip(HERE, FAR, 47, bytes(20))), ("protocol", packets.sctp(HERE, FAR, 5, 80)),
                               ("icmp-type", packets.icmp(HERE, FAR, 3, 3, payload=good)), ("short", good[:10]),
                               ("icmp-type", packets.icmp(HERE6, FAR6, 133)), ("length", good[:-1]), ("transport", packets.ip(HERE, FAR, 17, b"abc")),
                               ("too-big", packets.udp(HERE, FAR, 5, 80, payload=bytes(1500))),
                               ("source-route", packets.udp(HERE, FAR, 5, 80, options=b"\x83\x07\x04\xc0\x00\x02\x09\x00"))):
            refused(relay, client, packet, reason)
        equal(client.links()[0]["refused"], 15, "link's own count")
        for frame in (b"", b"\2", b"\2\0\0\0\0\1" + bytes(7), b"\2\0\0\0\0\2" + bytes(6) + b"\x08\x00" + good,
                      b"\2\0\0\1\0\1" + bytes(6) + b"\x08\x00" + good, b"\2\0\0\0\xff\xff" + bytes(6) + b"\x08\x00" + good):
            if frame:
                relay.tap.send(frame)
        check(relay.wait(lambda: root.netns()["unknown_rx"]["no-link"] == 3), f"{root.netns()['unknown_rx']}")
        equal(root.netns()["unknown_rx"]["short"], 2, "frames that are too short")
        before = client.stats()["tx"]["version"]
        relay.tap.send(b"\2\0\0\0\0\1" + bytes(6) + b"\x86\xdd" + good)
        check(relay.wait(lambda: client.stats()["tx"]["version"] == before + 1), "an ethertype that lies")
        relay.from_link(1, good)
        check(relay.sent(), "the link does not work any more")


def test_arrivals():
    """What arrives for a link's block and no mapping, or is no packet for anybody, is refused by name."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        link = client.link()
        relay.from_link(1, packets.udp(HERE, FAR, 777, 80))
        outer = port_of(proto.UDP, relay.sent())
        pool = link.blocks[1][2] + 1
        free = pool if outer != pool else pool + 1
        for reason, packet in (("no-mapping", packets.udp(FAR, HERE, 80, free)), ("no-mapping", packets.tcp(FAR, HERE, 80, outer)),
                               ("no-mapping", packets.udp(FAR6, HERE6, 80, outer)), ("no-mapping", packets.udp(FAR, HERE, 80, link.blocks[1][0])),
                               ("martian", packets.udp("127.0.0.1", HERE, 80, outer)),
                               ("source-route", packets.udp(FAR, HERE, 80, outer, options=b"\x83\x07\x04\xc0\x00\x02\x09\x00"))):
            before = client.stats()["rx"][reason]
            relay.arrive(packet)
            check(relay.wait(lambda r=reason, n=before: client.stats()["rx"][r] == n + 1), f"not counted as {reason}")
            equal(relay.to_link(0.02), None, f"what came although {reason}")
        relay.arrive(packets.udp("203.0.113.99", HERE, 53, outer))
        equal(relay.to_link(), (1, packets.udp("203.0.113.99", HERE, 53, 777)), "from somebody else")


def test_fragments():
    """Fragments follow their first one in both directions, where the slice may send them; others are refused by name."""
    text = bytes(range(256)) * 8
    with Monitor([Slice(fragments=True), TWO]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        client.link()
        other.link()
        for here, far in PAIRS:
            whole = packets.udp(here, far, 777, 80, text)
            first, later = packets.fragment(whole, 0, 1024), packets.fragment(whole, 1024)
            refused(relay, client, later, "orphan-fragment")
            relay.from_link(1, first)
            left = relay.sent()
            outer = packets.Packet(left).sport
            equal(left, packets.fragment(packets.udp(here, far, outer, 80, text), 0, 1024), "first fragment")
            relay.from_link(1, later)
            equal(relay.sent(), later, "later fragment")
            refused(relay, client, packets.fragment(whole, 512, 1024), "overlap")
            before = other.stats()["tx"]["fragment"]
            relay.from_link(2, first, 2)
            check(relay.wait(lambda n=before: other.stats()["tx"]["fragment"] == n + 1), "a slice that may not")
            relay.from_link(2, later, 2)
            check(relay.wait(lambda: other.stats()["tx"]["orphan-fragment"]), "a fragment of another link's")
            back = packets.udp(far, here, 80, outer, text)
            relay.arrive(packets.fragment(back, 1024))
            equal(relay.to_link(0.02), None, "later fragment without its first")
            relay.arrive(packets.fragment(back, 0, 1024))
            back = packets.udp(far, here, 80, 777, text)
            equal(relay.to_link(), (1, packets.fragment(back, 0, 1024)), "first fragment")
            relay.arrive(packets.fragment(back, 1024))
            equal(relay.to_link(), (1, packets.fragment(back, 1024)), "later fragment")


def test_exhaustion():
    """A link without ports left loses its own packets, counted; its neighbour and its open connections go on."""
    with Monitor([Slice(), TWO]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        link = client.link(count=32)
        other.link(count=32)
        relay.from_link(1, packets.udp(HERE, FAR, 1, 80))
        kept = port_of(proto.UDP, relay.sent())
        relay.arrive(packets.udp(FAR, HERE, 80, kept))
        equal(relay.to_link(), (1, packets.udp(FAR, HERE, 80, 1)), "answer")
        for port in range(2, 9):
            relay.from_link(1, packets.udp(HERE, FAR, port, 80))
            check(relay.sent(), "nothing left")
        refused(relay, client, packets.udp(HERE, FAR, 9, 80), "napt-exhausted")
        refused(relay, client, packets.udp(HERE6, FAR6, 1, 80), "napt-exhausted")
        relay.from_link(1, packets.tcp(HERE, FAR, 9, 80))
        check(relay.sent(), "another class")
        relay.from_link(2, packets.udp(HERE, FAR, 9, 80), 2)
        check(relay.sent(), "another link")
        relay.arrive(packets.udp(FAR, HERE, 80, kept))
        equal(relay.to_link(), (1, packets.udp(FAR, HERE, 80, 1)), "answer")
        row = client.links()[0]
        equal([row[name] for name in ("mappings", "created", "exhausted", "displaced")], [9, 9, 2, 0], "row")
        equal(len(client.mappings(link.number)), 9, "mappings")


def test_listing():
    """saferaw flows lists links and mappings, for people and as JSON."""
    with Monitor([Slice(local=True)]) as relay:
        client, other = relay.client(), relay.client()
        lo = client.link(flags=proto.QUIET).blocks[0][0]
        other.link(flags=proto.STRICT, count=16)
        relay.from_link(1, packets.udp(HERE, FAR, 777, 80))
        outer = port_of(proto.UDP, relay.sent())
        relay.from_link(1, packets.echo(HERE6, HOST6, 5))
        struct.pack_into("=QQQQ", relay.link_traffic, LINK_TRAFFIC, port_of(proto.ICMP, relay.sent()), 2000, 7, 700)
        struct.pack_into("=Q", relay.link_traffic, LINK_TRAFFIC + 64 + 8, 3)
        listed = json.loads(run(program("saferaw"), "-s", relay.path(), "flows", "--json"))["slices"][0]["links"]
        equal([(row["link"], row["strict"], row["quiet"]) for row in listed], [(1, False, True), (2, True, False)], "links")
        equal(listed[0]["ports"]["tcp"], {"low": lo, "high": lo + 255, "direct_high": lo + 191}, "ports")
        equal([listed[0][name] for name in ("uid", "rx_bytes", "tx_bytes", "tx_translated", "refused", "created")],
              [5, 2000, 700, 2, 3, 2], "counts")
        udp, echo = listed[0]["mappings"]
        equal((udp["protocol"], udp["inner"], udp["outer"], udp["remote"], udp["host"]),
              ("udp", 777, {"address": HERE, "port": outer}, {"address": FAR, "port": 80}, False), "mapping")
        equal((echo["protocol"], echo["inner"], echo["remote"]["address"], echo["host"]), ("icmpv6", 5, HERE6, True), "mapping")
        text = run(program("saferaw"), "-s", relay.path(), "flows")
        for word in (f"{lo}-{lo + 255}", f"777 as {HERE}:{outer}", f"to {FAR}:80", "the host", " S-", " -Q"):
            check(word in text, f"no {word!r} in:\n{text}")
        stats = client.stats()
        equal((stats["rx_packets"] > 0, stats["rx_bytes"], stats["tx_packets"]), (True, 2000, 7), "slice's counts")
        client.close()
        check(relay.wait(lambda: other.stats()["rx_bytes"] == 2000 and len(other.links()) == 1), "what stays of its counts")


def test_strict():
    """Nothing of a strict link is translated."""
    with Monitor([Slice(local=True)]) as relay:
        client = relay.client()
        equal(client.link(flags=proto.STRICT).local, False, "local")
        refused(relay, client, packets.udp(HERE, FAR, 5, 80), "napt-exhausted")
        refused(relay, client, packets.udp(HERE, HOST, 5, 80), "napt-exhausted")


def test_gone():
    """The device goes: the client is told, ports are released, and it may ask again; the monitor is told nothing."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        client.link()
        relay.device_gone(1)
        equal(client.event(), (proto.UNLINKED, 1, None), "event")
        check(relay.wait(lambda: len(relay.releases) == 3), "no release")
        equal((client.links(), relay.unlinked), ([], []), "links, and what the monitor was told")
        relay.device_gone(1)
        relay.device_gone(4095)
        equal(client.link().number, 2, "another link")


def test_reload():
    """A slice that loses a range, a member or itself loses the links there; what still fits goes on."""
    with Monitor([Slice(), TWO]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        client.link(ports=(40000,) * 3)
        other.link()
        relay.configure(Slice(ranges=((0, 40000, 40999), (1, 40000, 40999), (2, 40100, 40999))), TWO)
        equal(client.event(), (proto.UNLINKED, 1, None), "event")
        check(relay.wait(lambda: relay.unlinked == [1] and len(relay.releases) == 3), "not ended")
        relay.from_link(2, packets.udp(HERE, FAR, 9, 80), 2)
        check(relay.sent(), "the other link has ended too")
        client.link(ports=(40256,) * 3)
        relay.configure(Slice(users=("news",)), TWO)
        check(relay.wait(lambda: relay.unlinked == [1, 3]), "a member's link stays")
        relay.configure(Slice(users=("news",)))
        check(relay.wait(lambda: relay.unlinked == [1, 3, 2] and len(relay.releases) == 9), "a slice's link stays")
        equal(relay.ended(0.1), None, "the relay")


def test_addresses():
    """A new address of the slice is the link's too, its mappings included; one that is gone is not."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        link = client.link()
        relay.from_link(1, packets.udp(HERE, FAR, 777, 80))
        outer = port_of(proto.UDP, relay.sent())
        relay.address_news("192.0.2.33", 1)
        equal(client.event(), (proto.ADDRESS_BACK, 0, "192.0.2.33"), "event")
        equal([relay.is_open(port, proto.UDP, 2) for port in (link.blocks[1][0], outer)], [LINK, TUN], "open bytes")
        relay.from_link(1, packets.udp("192.0.2.33", FAR, 5, 80))
        check(relay.sent(), "nothing left")
        relay.address_news("192.0.2.33", 0)
        refused(relay, client, packets.udp("192.0.2.33", FAR, 5, 80), "source")


def test_netns_gone():
    """The netns is attached anew: its links end, nothing is released twice, and the relay goes on."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        client.link()
        relay.serial += 1
        relay.configure(Slice(serial=2))
        raises(errno.ECONNRESET, client.stats)
        equal(relay.client().link().number, 2, "another link")
        equal((relay.unlinked, relay.releases), ([], []), "what the monitor was told")


if __name__ == "__main__":
    tap.main(test_request, test_blocks, test_refusals, test_packed, test_quarantine, test_fds, test_alone, test_unfinished, test_orphan, test_translation,
             test_errors_back, test_host, test_hostile, test_arrivals, test_fragments,
             test_exhaustion, test_listing, test_strict, test_gone, test_reload,
             test_addresses, test_netns_gone, modes=("auto",))
