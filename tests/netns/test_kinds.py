#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Kinds of flows: sniffers and icmp-error flows beside consumers, in the relay alone and with real routers and hosts."""

import errno
import os
import random
import signal
import socket
import struct

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.monitor import Monitor, Slice
from harness.packets import Packet
from harness.proto import CLASS_ANY, CONSUMER, ERRORS, ICMP, ICMP_ERROR, META, META_SENT, SNIFFER, TCP, UDP
from harness.tap import check, equal, raises
from harness.topology import HOST4, HOST6, PEER4, PEER6, Namespace, Pair, connect

HERE, HERE6, FAR, FAR6 = "192.0.2.1", "2001:db8::1", "198.51.100.7", "2001:db8:ffff::7"
ROUTER, ROUTER6 = "203.0.113.1", "2001:db8:eeee::1"
FAR2, FAR2_6 = "198.51.100.8", "2001:db8:ffff::8"
BOTH = ((HERE, FAR, ROUTER), (HERE6, FAR6, ROUTER6))
MAKE = {TCP: packets.tcp, UDP: packets.udp}


def outbound(kind, src, dst, port, dport=53):
    """A packet that a flow sends."""
    return packets.echo(src, dst, port) if kind == ICMP else MAKE[kind](src, dst, port, dport)


def inbound(kind, src, dst, port, sport=53):
    """A packet that arrives for a flow."""
    return packets.echo(src, dst, port, reply=True) if kind == ICMP else MAKE[kind](src, dst, sport, port)


def error_about(packet, router, quoted=None):
    """The ICMP error (time exceeded) that a router makes of a packet that this host sent."""
    source = Packet(packet).src
    return packets.icmp(router, source, 3 if ":" in source else 11, payload=packet[:quoted])


def drained(flow):
    """What is there to read on a flow with META: (flags, packet) each."""
    found = []
    for message in flow.drain():
        size, flags, time, length, _ = proto.META_HEADER.unpack_from(message)
        equal((size, length), (24, len(message) - 24), "size and length in the header")
        check(time > 1_600_000_000 * 10 ** 9, f"time {time}")
        found.append((flags, message[size:]))
    return found


def test_sniffer():
    """Any number of sniffers see what a flow sends, filled in, and receives; and hold nothing."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        for kind in (TCP, UDP, ICMP):
            for here, far, _ in BOTH:
                flow = client.open(kind, local=here, port=40000)
                reserves = len(relay.reserves)
                sniffers = [client.open(kind, local=local, port=40000, kind=SNIFFER, flags=META, remote=remote)
                            for local in (None, here) for remote in (None, far) for _ in range(3)]
                equal(len(relay.reserves), reserves, "reservations of sniffers")
                relay.arrive(inbound(kind, far, here, 40000) + b"ethernet padding")
                equal(flow.recv(), inbound(kind, far, here, 40000), "at the consumer")
                flow.send(outbound(kind, "::" if ":" in here else "0.0.0.0", far, 40000))
                left = relay.sent()
                equal(Packet(left).src, here, "source filled in")
                client.stats()
                for sniffer in sniffers:
                    equal(drained(sniffer), [(0, inbound(kind, far, here, 40000)), (META_SENT, left)], "at a sniffer")
                    equal(client.stats(sniffer.number)["rx_packets"], 2, "counted")
                    sniffer.close()
                flow.close()
        equal([client.stats()[name] for name in ("rx_packets", "tx_packets")], [6, 6], "the slice's totals")


def test_sniffer_sees_no_more():
    """Not another remote's, port's, protocol's, family's packets, not ICMP errors unasked, not what the verdict refuses."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow, other = client.open(UDP, port=40000), client.open(UDP, port=40001)
        tcp = client.open(TCP, port=40000)
        sniffer = client.open(UDP, port=40000, remote=FAR, remote_port=53, kind=SNIFFER, flags=META)
        asked = client.open(UDP, port=40000, kind=SNIFFER, flags=META | ERRORS, family=socket.AF_INET)
        quiet = client.open(UDP, port=40900, kind=SNIFFER, flags=META)
        good = inbound(UDP, FAR, HERE, 40000)
        error = error_about(outbound(UDP, HERE, FAR, 40000), ROUTER)
        for packet in (inbound(UDP, FAR, HERE, 40001), inbound(TCP, FAR, HERE, 40000), inbound(UDP, FAR6, HERE6, 40000),
                       good[:10] + b"\xba\xad" + good[12:], inbound(UDP, "127.0.0.1", HERE, 40000), error,
                       inbound(UDP, FAR, HERE, 40900)):
            relay.arrive(packet)
        relay.arrive(inbound(UDP, FAR, HERE, 40000, sport=54))
        relay.arrive(good)
        for sender in (flow, tcp, other):
            sender.send(outbound(UDP, HERE, FAR2, sender.port))
        flow.send(outbound(UDP, HERE, FAR, 40001))
        check(relay.sent() and relay.sent(), "what may be sent")
        client.stats()
        equal(drained(sniffer), [(0, good)], "with a remote")
        equal(drained(asked), [(0, error), (0, inbound(UDP, FAR, HERE, 40000, sport=54)), (0, good),
                               (META_SENT, outbound(UDP, HERE, FAR2, 40000))], "for IPv4 with errors")
        equal(drained(quiet), [], "on a port without a flow")


def test_sniffer_of_what_nobody_reads():
    """What arrives for a held port and is for no flow, or finds its reader too slow, a sniffer sees all the same."""
    with Monitor([Slice(queue=20000)]) as relay:
        client = relay.client()
        flow = client.open(UDP, port=40000, remote=FAR)
        sniffer = client.open(UDP, port=40000, kind=SNIFFER)
        for _ in range(200):
            relay.arrive(inbound(UDP, FAR, HERE, 40000))
            check(sniffer.recv(), "not seen")
        check(client.stats(flow.number)["rx"]["queue-full"] > 100, "the consumer's queue is not full")
        relay.arrive(inbound(UDP, FAR2, HERE, 40000))
        equal(sniffer.recv(), inbound(UDP, FAR2, HERE, 40000), "for no flow")
        equal(client.stats()["rx"]["no-flow"], 1, "counted as before")


def test_wide_sniffer():
    """Port 0 is every port of a class, and with no class every port of the slice; later ports and flows included."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        everything = client.open(CLASS_ANY, kind=SNIFFER, flags=META | ERRORS)
        datagrams = client.open(UDP, kind=SNIFFER, flags=META)
        six = client.open(CLASS_ANY, kind=SNIFFER, flags=META, family=socket.AF_INET6)
        here6 = client.open(CLASS_ANY, kind=SNIFFER, flags=META, local=HERE6)
        far = client.open(CLASS_ANY, kind=SNIFFER, flags=META, remote=FAR)
        equal((everything.port, everything.count, relay.reserves), (0, 1, []), "what was opened")
        flows = [client.open(kind, port=40100 + number) for number, kind in enumerate((TCP, UDP, ICMP))]
        seen, error = [], error_about(outbound(UDP, HERE, FAR, 40101), ROUTER)
        for number, kind in enumerate((TCP, UDP, ICMP)):
            for here, there, _ in BOTH:
                relay.arrive(inbound(kind, there, here, 40100 + number))
                check(flows[number].recv(), "received")
                flows[number].send(outbound(kind, here, there, 40100 + number))
                check(relay.sent(), "sent")
                seen += [(0, inbound(kind, there, here, 40100 + number)),
                         (META_SENT, outbound(kind, here, there, 40100 + number))]
        relay.arrive(error)
        client.stats()
        equal(drained(everything), seen + [(0, error)], "everything")
        equal(drained(datagrams), [pair for pair in seen if Packet(pair[1]).protocol == packets.UDP], "one class")
        for sniffer in (six, here6):
            equal(drained(sniffer), [pair for pair in seen if pair[1][0] >> 4 == 6], "IPv6")
        equal(drained(far), [pair for pair in seen if FAR in (Packet(pair[1]).src, Packet(pair[1]).dst)], "one remote")
        for sniffer in (everything, datagrams, six, here6, far):
            sniffer.close()
        relay.arrive(inbound(UDP, FAR, HERE, 40101))
        check(flows[1].recv(), "when they have gone")


def test_grant():
    """A sniffer sees its own uid's flows; another's only under the grant, which a reload can take back."""
    with Monitor([Slice(users=("games", "news"), sniff_users=("man",), sniff_groups=())]) as relay:
        owner, mate, granted = relay.client("games"), relay.client("news"), relay.client("man")
        flow = owner.open(UDP, port=40000)
        equal(raises(errno.EPERM, mate.open, UDP, port=40000, kind=SNIFFER).args[1][:16], "another user has", "text")
        raises(errno.EPERM, mate.open, UDP, port=40000, count=100, local=HERE, kind=SNIFFER)
        raises(errno.EADDRINUSE, mate.open, UDP, port=40000, kind=ICMP_ERROR)
        raises(errno.EACCES, mate.open, UDP, port=50000, kind=SNIFFER)
        raises(errno.EPERM, granted.open, UDP, port=40500)
        raises(errno.EPERM, granted.open, UDP, port=40500, kind=ICMP_ERROR)
        early = mate.open(UDP, port=40001, kind=SNIFFER)
        blind, sees = mate.open(CLASS_ANY, kind=SNIFFER), granted.open(CLASS_ANY, kind=SNIFFER)
        port = granted.open(UDP, port=40000, kind=SNIFFER)
        late = owner.open(UDP, port=40001)
        for number in (40000, 40001):
            relay.arrive(inbound(UDP, FAR, HERE, number))
        flow.send(outbound(UDP, HERE, FAR, 40000))
        check(relay.sent(), "sent")
        owner.stats()
        equal([len(one.drain()) for one in (early, blind, sees, port, flow, late)], [0, 0, 3, 2, 1, 1], "packets")
        relay.configure(Slice(users=("games", "news", "man")))
        for one in (sees, port):
            equal(one.recv(), b"", "a sniffer whose grant has gone")
        relay.arrive(inbound(UDP, FAR, HERE, 40000))
        check(flow.recv(), "the flow itself")
        equal((blind.recv(0), early.recv(0)), (None, None), "the others are there")
        relay.configure(Slice(users=("games",), sniff_groups=(os.stat("/").st_gid,)))
        equal(blind.recv(), b"", "a sniffer of one who is no member any more")
        root = relay.client(None)
        everything = root.open(CLASS_ANY, kind=SNIFFER)
        relay.arrive(inbound(UDP, FAR, HERE, 40000))
        check(everything.recv(), "by group")
        raises(errno.EPERM, root.open, UDP, port=40500)


def test_sniffer_takes_nothing():
    """A port that is sniffed is anybody's to open, and what was seen by the one before is not seen of the next."""
    with Monitor([Slice(users=("games", "news"))]) as relay:
        one, two = relay.client("games"), relay.client("news")
        sniffer = one.open(UDP, port=40000, count=10, kind=SNIFFER)
        equal((relay.is_open(40000, UDP), relay.reserves), (0, []), "ports that are sniffed")
        theirs = two.open(UDP, port=40005)
        relay.arrive(inbound(UDP, FAR, HERE, 40005))
        check(theirs.recv(), "their packet")
        theirs.close()
        check(relay.wait(lambda: len(relay.releases) == 1), "released")
        mine = one.open(UDP, port=40000, count=10)
        relay.arrive(inbound(UDP, FAR, HERE, 40005, sport=9))
        equal((sniffer.recv(), mine.recv()), (inbound(UDP, FAR, HERE, 40005, sport=9),) * 2, "my packet")
        equal(sniffer.recv(0), None, "nothing of theirs")


def test_links():
    """A sniffer may be on the ports of its own user's link, and sees nothing of it; an icmp-error flow may not."""
    with Monitor([Slice(users=("games", "news"))]) as relay:
        client, other = relay.client(), relay.client("news")
        lo, _, direct = client.link(count=32, ports=(40032,) * 3).blocks[UDP]
        sniffers = [client.open(UDP, port=lo - 1, count=34, kind=SNIFFER), client.open(CLASS_ANY, kind=SNIFFER)]
        raises(errno.EPERM, other.open, UDP, port=lo, kind=SNIFFER)
        raises(errno.EADDRINUSE, client.open, UDP, port=lo, kind=ICMP_ERROR)
        relay.from_link(1, outbound(UDP, HERE, FAR, 50000))
        left = Packet(relay.sent())
        check(left.sport > direct, "not translated")
        relay.arrive(inbound(UDP, FAR, HERE, left.sport))
        check(relay.to_link(), "nothing came to the link")
        client.stats()
        equal([sniffer.recv(0) for sniffer in sniffers], [None, None], "at the sniffers")


def test_icmp_error():
    """Errors reach icmp-error flows by the inner header, whether or not a consumer is there, and nothing else does."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        for kind in (TCP, UDP, ICMP):
            for here, far, router in BOTH:
                sent = outbound(kind, here, far, 40000)
                watch = [client.open(kind, local=local, port=40000, kind=ICMP_ERROR, flags=META, remote=remote)
                         for local in (None, here) for remote in (None, far) for _ in range(2)]
                elsewhere = client.open(kind, port=40000, kind=ICMP_ERROR, remote=FAR2_6 if ":" in far else FAR2)
                equal(relay.is_open(40000, kind, [HERE, HERE6].index(here)), 1, "open byte")
                before = client.stats()
                relay.arrive(error_about(sent, router))
                relay.arrive(inbound(kind, far, here, 40000))
                relay.arrive(error_about(outbound(kind, here, far, 40001), router))
                flow = client.open(kind, port=40000)
                wants = client.open(kind, port=40000, remote=far, flags=ERRORS)
                relay.arrive(error_about(sent, router, 28 if ":" not in here else 48))
                check(wants.recv(), "a consumer that wants it gets it too")
                wants.close()
                check(relay.wait(lambda: len(client.flows()) == 10), "closed")
                relay.arrive(error_about(sent, router))
                client.stats()
                errors = [(0, error_about(sent, router, cut)) for cut in (None, 28 if ":" not in here else 48, None)]
                for one in watch:
                    equal(drained(one), errors, "at an icmp-error flow")
                equal((elsewhere.recv(0), flow.recv(0)), (None, None), "at another remote's, at the consumer")
                after = client.stats()
                equal(after["rx_packets"] - before["rx_packets"], 3, "received, in the slice's totals")
                equal([after["rx"][name] - before["rx"][name] for name in ("no-flow", "error-unwanted")],
                      [1, 0], "refused")
                equal(client.stats(flow.number)["rx"]["error-unwanted"], 0, "not refused by the consumer")
                for one in (*watch, elsewhere, flow):
                    one.close()
                check(relay.wait(lambda: not client.flows()), "closed")


def test_icmp_error_holds():
    """An icmp-error flow holds its port as a consumer does: one uid, one reservation, released by the last flow."""
    with Monitor([Slice(users=("games", "news"))]) as relay:
        client, other = relay.client(), relay.client("news")
        watch = client.open(UDP, kind=ICMP_ERROR)
        check(40000 <= watch.port <= 40999, "a free port")
        raises(errno.EADDRINUSE, other.open, UDP, port=watch.port)
        flow = client.open(UDP, port=watch.port)
        equal(len(relay.reserves), 1, "reservations")
        watch.close()
        check(relay.wait(lambda: len(client.flows()) == 1), "closed")
        equal((relay.is_open(flow.port, UDP), relay.releases), (1, []), "still held")
        flow.close()
        check(relay.wait(lambda: len(relay.releases) == 1), "released")
        equal(relay.is_open(flow.port, UDP), 0, "open byte")
        relay.busy.add((UDP, 40007))
        raises(errno.EADDRINUSE, client.open, UDP, port=40007, kind=ICMP_ERROR)


def test_read_only():
    """What is written to a read-only flow is dropped and counted."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        client.open(UDP, port=40000)
        for flow in (client.open(UDP, port=40000, kind=SNIFFER), client.open(UDP, port=40000, kind=ICMP_ERROR),
                     client.open(CLASS_ANY, kind=SNIFFER)):
            before = client.stats()["tx"]["read-only"]
            flow.send(outbound(UDP, HERE, FAR, 40000))
            check(relay.wait(lambda: client.stats(flow.number)["tx"]["read-only"] == 1), "not counted")
            equal(client.stats()["tx"]["read-only"], before + 1, "in the slice's totals")
            equal(relay.sent(0.02), None, "what came out")


def test_form():
    """What makes no sense is refused."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        refusals = ((errno.EOPNOTSUPP, {"kind": 0}), (errno.EOPNOTSUPP, {"kind": 4}), (errno.EOPNOTSUPP, {"flags": 4}),
                    (errno.EINVAL, {"kind": ICMP_ERROR, "flags": ERRORS}),
                    (errno.EINVAL, {"kind": SNIFFER, "port": 0, "count": 2}),
                    (errno.EINVAL, {"kind": SNIFFER, "count": 0}),
                    (errno.EINVAL, {"protocol": CLASS_ANY}), (errno.EINVAL, {"protocol": CLASS_ANY, "port": 0}),
                    (errno.EINVAL, {"protocol": CLASS_ANY, "port": 0, "kind": ICMP_ERROR}),
                    (errno.EINVAL, {"protocol": CLASS_ANY, "kind": SNIFFER}),
                    (errno.EINVAL, {"protocol": CLASS_ANY, "kind": SNIFFER, "port": 0, "remote": FAR, "remote_port": 1}),
                    (errno.EADDRNOTAVAIL, {"kind": SNIFFER, "local": "192.0.2.99"}))
        for error, changes in refusals:
            raises(error, client.open, **{"protocol": UDP, "port": 40000, **changes})
        relay.configure(Slice(ranges=((TCP, 40000, 40999),)))
        raises(errno.EACCES, client.open, UDP, kind=SNIFFER)
        client.open(TCP, kind=SNIFFER)


def test_limits():
    """Read-only flows are charged to their slice like all others; many of them cost what they get, and go."""
    with Monitor([Slice(flows=402, queue=5000, memory=8_000_000)], nofile=2000) as relay:
        client = relay.client()
        fds, flow = relay.fds(), client.open(UDP, port=40000)
        sniffers = [client.open(UDP, port=40000, kind=SNIFFER if number % 2 else ICMP_ERROR) for number in range(256)]
        check("read-only" in raises(errno.EMFILE, client.open, UDP, port=40000, kind=SNIFFER).args[1], "text")
        raises(errno.EMFILE, client.open, UDP, port=40000, count=2, kind=ICMP_ERROR)
        sniffers += [client.open(UDP, port=40001, kind=SNIFFER), *[client.open(CLASS_ANY, kind=SNIFFER) for _ in range(144)]]
        check("flows as it may" in raises(errno.EMFILE, client.open, TCP, port=40000, kind=SNIFFER).args[1], "text")
        relay.arrive(inbound(UDP, FAR, HERE, 40000))
        check(flow.recv(), "received")
        client.stats()
        equal([len(sniffer.drain()) for sniffer in sniffers], [0, 1] * 128 + [0] + [1] * 144, "copies")
        for sniffer in sniffers:
            sniffer.close()
        check(relay.wait(lambda: len(client.flows()) == 1), "closed")
        sniffers = [client.open(UDP, port=40000, count=1000, kind=SNIFFER) for _ in range(57)]
        raises(errno.ENOSPC, client.open, UDP, port=40000, count=1000, kind=SNIFFER)
        relay.arrive(inbound(UDP, FAR, HERE, 40000))
        check(flow.recv(), "received")
        client.stats()
        equal([len(sniffer.drain()) for sniffer in sniffers], [1] * 57, "copies")
        for one in (*sniffers, flow):
            one.close()
        check(relay.wait(lambda: relay.fds() == fds), "fds are left")


def test_slow_sniffer():
    """A sniffer that never reads loses its own copies, counted, and costs nobody else a packet."""
    with Monitor([Slice(queue=20000)]) as relay:
        client = relay.client()
        flow = client.open(UDP, port=40000)
        slow, quick = client.open(UDP, port=40000, kind=SNIFFER), client.open(UDP, port=40000, kind=SNIFFER)
        for _ in range(300):
            relay.arrive(inbound(UDP, FAR, HERE, 40000))
            check(flow.recv() and quick.recv(), "lost")
            flow.send(outbound(UDP, HERE, FAR, 40000))
            check(relay.sent() and quick.recv(), "lost")
        stats, totals = client.stats(slow.number), client.stats()
        check(stats["rx"]["queue-full"] > 400, "nothing refused")
        equal(stats["rx_packets"] + stats["rx"]["queue-full"], 600, "received and refused")
        equal(len(slow.drain()), stats["rx_packets"], "what is there to read")
        equal((totals["rx_packets"], totals["rx"]["queue-full"]), (300, 0), "the slice's totals")


def test_fragments():
    """Sniffers see fragmented datagrams as they came and as they are sent, and none that the verdict refuses."""
    with Monitor([Slice(fragments=True)]) as relay:
        client = relay.client()
        flow = client.open(UDP, port=40000, count=10)
        sniffers = [client.open(UDP, port=40003, kind=SNIFFER), client.open(CLASS_ANY, kind=SNIFFER)]
        watch = client.open(UDP, port=40003, kind=ICMP_ERROR)

        def fragments(packet, ident):
            """A datagram in two fragments, and another that reaches back into the first."""
            body, src, dst = packet[20:], Packet(packet).src, Packet(packet).dst
            return [packets.ip(src, dst, packets.UDP, part, ident=ident, flags=more, offset=offset)
                    for part, more, offset in ((body[:40], 1, 0), (body[40:], 0, 5), (body[32:], 0, 4))]

        arrives = fragments(packets.udp(FAR, HERE, 53, 40003, bytes(80)), 7)
        leaves = fragments(packets.udp(HERE, FAR, 40003, 53, bytes(80)), 8)
        for packet in (arrives[1], *arrives):
            relay.arrive(packet)
        for packet in (leaves[1], *leaves):
            flow.send(packet)
        equal([relay.sent(), relay.sent(), relay.sent(0.05)], [*leaves[:2], None], "what is sent")
        equal([flow.recv(), flow.recv(), flow.recv(0)], [*arrives[:2], None], "at the consumer")
        for sniffer in sniffers:
            equal([sniffer.recv(0) for _ in range(5)], [*arrives[:2], *leaves[:2], None], "at a sniffer")
        equal(watch.recv(0), None, "at an icmp-error flow")


def test_many_copies():
    """Where many read at once their copies are bounded, what is lost is counted, and flows lose nothing by it."""
    with Monitor([Slice(queue=200000), Slice(number=2, name="two", users=("news",), ranges=((1, 41000, 41999),))]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        flow, theirs = client.open(UDP, port=40000), other.open(UDP, port=41000)
        sniffers = [client.open(UDP, port=40000, kind=SNIFFER) for _ in range(200)]
        spy = other.open(UDP, port=41000, kind=SNIFFER)
        os.kill(relay.process.pid, signal.SIGSTOP)
        for _ in range(30):
            relay.arrive(inbound(UDP, FAR, HERE, 40000))
            relay.arrive(inbound(UDP, FAR, HERE, 41000), 2)
        os.kill(relay.process.pid, signal.SIGCONT)
        equal([len([one.recv() for _ in range(30)]) for one in (flow, theirs, spy)], [30, 30, 30], "what the flows got")
        got, lost = 0, 0
        for sniffer in sniffers:
            stats = client.stats(sniffer.number)
            got, lost = got + stats["rx_packets"], lost + stats["rx"]["copy-limit"]
            equal(len(sniffer.drain()), stats["rx_packets"], "what is there to read")
        equal(got + lost, 6000, "copies, made and lost")
        check(30 * 16 <= got <= 30 * 16 + 4 * 512, f"{got} copies in a few turns")
        equal(client.stats()["rx"]["copy-limit"], 0, "in the slice's totals")


def test_addresses():
    """A read-only flow on any address follows the slice's addresses."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        flow, sniffer = client.open(UDP, port=40000), client.open(UDP, port=40000, kind=SNIFFER)
        relay.address_news("192.0.2.3", True)
        check(client.event(), "event")
        relay.arrive(inbound(UDP, FAR, "192.0.2.3", 40000))
        equal((flow.recv(), sniffer.recv()), (inbound(UDP, FAR, "192.0.2.3", 40000),) * 2, "on the new address")
        relay.configure(Slice(addresses=(HERE6,)))
        relay.arrive(inbound(UDP, FAR6, HERE6, 40000))
        equal((flow.recv(), sniffer.recv()), (inbound(UDP, FAR6, HERE6, 40000),) * 2, "on what is left")


class Model:
    """What the walk expects: flows as they were asked for, nothing of how the relay keeps them."""

    def __init__(self):
        self.flows = []

    @staticmethod
    def covers(f, address):
        """Whether a flow is on that local address."""
        return f["local"] == address or (not f["local"] and (not f["remote"] or (":" in f["remote"]) == (":" in address)))

    def holders(self, kind, address, port):
        """The uids of consumers and icmp-error flows that have that port."""
        return {f["user"] for f in self.flows if f["what"] != SNIFFER and f["kind"] == kind and
                self.covers(f, address) and f["port"] <= port < f["port"] + f["count"]}

    def refusal(self, ask, granted):
        """The errno that the broker must give, 0 for none."""
        for address in (HERE, HERE6):
            for port in range(ask["port"], ask["port"] + ask["count"]) if ask["port"] else ():
                if self.covers(ask, address) and self.holders(ask["kind"], address, port) - {ask["user"]}:
                    if ask["what"] != SNIFFER:
                        return errno.EADDRINUSE
                    if not granted:
                        return errno.EPERM
        for f in self.flows if ask["what"] == CONSUMER else ():
            if (f["what"] == CONSUMER and (f["count"] > 1) == (ask["count"] > 1) and
                    all(f[name] == ask[name] for name in ("kind", "local", "remote", "rport")) and
                    f["port"] < ask["port"] + ask["count"] and ask["port"] < f["port"] + f["count"]):
                return errno.EADDRINUSE
        return 0

    @staticmethod
    def fits(f, kind, local, port, remote, rport):
        """Whether a packet of these ends is within a flow's request."""
        return (f["kind"] in (kind, CLASS_ANY) and f["local"] in (None, local) and f["remote"] in (None, remote) and
                (not f["port"] or f["port"] <= port < f["port"] + f["count"]) and f["rport"] in (0, rport))

    def consumer(self, *ends):
        """The most specific consumer for these ends, or None."""
        fitting = [f for f in self.flows if f["what"] == CONSUMER and self.fits(f, *ends)]
        return min(fitting, default=None, key=lambda f: (f["remote"] is None, f["rport"] == 0, f["count"] > 1,
                                                         f["local"] is None))

    def readers(self, error, kind, local, port, remote, rport):
        """Every read-only flow that gets a copy."""
        owners = self.holders(kind, local, port)
        return [f for f in self.flows if owners and self.fits(f, kind, local, port, remote, rport) and
                (f["granted"] or f["user"] in owners) and
                (f["what"] == ICMP_ERROR or (f["what"] == SNIFFER and f["flags"] & ERRORS) if error
                 else f["what"] == SNIFFER)]


def walk(relay, clients, rng, steps):
    """Opens, closes, arrivals, sends and errors at random, each compared with the model."""
    model = Model()
    for _ in range(steps):
        kind, port = rng.choice((TCP, UDP)), 40000 + rng.randrange(4)
        here, far, router = rng.choice(BOTH)
        rport = rng.choice((53, 54))
        ends = (kind, here, port, far, rport)
        action = rng.randrange(10)
        if action < 3 and len(model.flows) < 40:
            what, user = rng.choice((CONSUMER, SNIFFER, SNIFFER, ICMP_ERROR)), rng.choice(tuple(clients))
            local, remote = rng.choice((None, None, here)), rng.choice((None, None, far))
            wide = what == SNIFFER and rng.randrange(4) == 0
            ask = {"what": what, "user": user, "kind": kind, "port": 0 if wide else port, "local": local, "remote": remote,
                   "count": rng.choice((1, 1, 3)), "rport": rport if remote and rng.randrange(2) else 0,
                   "flags": META | (rng.choice((0, ERRORS)) if what != ICMP_ERROR else 0)}
            if wide:
                ask.update(count=1, kind=rng.choice((kind, CLASS_ANY)), rport=0)
            ask["granted"] = what == SNIFFER and user == "man"
            want = model.refusal(ask, ask["granted"])
            try:
                got = 0
                ask["flow"] = clients[user].open(ask["kind"], local=local, port=ask["port"], remote=remote, kind=what,
                                                 remote_port=ask["rport"], count=ask["count"], flags=ask["flags"])
                ask["want"] = []
                model.flows.append(ask)
            except OSError as caught:
                got = caught.errno
            equal(got, want, f"errno of {ask}")
        elif action == 3 and model.flows:
            gone = model.flows.pop(rng.randrange(len(model.flows)))
            gone["flow"].close()
            check(relay.wait(lambda n=gone["flow"].number: n not in [row[0] for row in clients["man"].flows()]), "not closed")
        elif action < 6:
            packet = inbound(kind, far, here, port, rport)
            relay.arrive(packet)
            for f in [*filter(None, [model.consumer(*ends)]), *model.readers(False, *ends)]:
                f["want"].append((0, packet))
        elif action < 8:
            packet = error_about(outbound(kind, here, far, port, rport), router)
            relay.arrive(packet)
            wants = model.consumer(*ends)
            for f in ([wants] if wants and wants["flags"] & ERRORS else []) + model.readers(True, *ends):
                f["want"].append((0, packet))
        elif sender := model.consumer(*ends):
            packet = outbound(kind, here, far, port, rport)
            sender["flow"].send(packet)
            equal(relay.sent(), packet, "sent")
            for f in model.readers(False, *ends):
                f["want"].append((META_SENT, packet))
        clients["man"].stats()
        for f in model.flows:
            equal(drained(f["flow"]), f["want"], f"at {f}")
            f["want"] = []
        equal(len(clients["man"].flows()), len(model.flows), "flows")
    for f in model.flows:
        f["flow"].close()
    check(relay.wait(lambda: not clients["man"].flows()), "flows are left")
    check(relay.wait(lambda: sorted(relay.reserves) == sorted(relay.releases)), "reservations are left")
    check(not any(relay.is_open(port, kind, index) for port in range(40000, 40008) for kind in (TCP, UDP)
                  for index in (0, 1)), "open bytes are left")


def test_walk():
    """Opens, closes and packets at random: each flow reads exactly what the model says, and nothing is left in the end."""
    rng = random.Random(int(os.environ.get("SAFERAW_TEST_SEED", 1)))  # the same walk each time, or another
    with Monitor([Slice(users=("games", "news", "man"), sniff_users=("man",))]) as relay:
        clients = {name: relay.client(name) for name in ("games", "news", "man")}
        fds = relay.fds()
        for _ in range(4):
            walk(relay, clients, rng, 400)
            check(relay.wait(lambda: relay.fds() == fds), "fds are left")


class Routed:
    """A host, a real router that the way to the peer leads over, and the peer."""

    def __init__(self):
        self.host, self.router, self.peer = Namespace("host"), Namespace("router"), Namespace("peer")
        connect(self.host, self.router)
        connect(self.router, self.peer, "eth1", "eth0")
        for namespace, device, v4, v6 in ((self.host, "eth0", HOST4, HOST6), (self.router, "eth0", PEER4, PEER6),
                                          (self.router, "eth1", ROUTER, ROUTER6),
                                          (self.peer, "eth0", "203.0.113.2", "2001:db8:eeee::2")):
            namespace.run("ip", "addr", "add", f"{v4}/24", "dev", device)
            namespace.run("ip", "addr", "add", f"{v6}/64", "dev", device, "nodad")
        for namespace, v4, v6 in ((self.host, PEER4, PEER6), (self.peer, ROUTER, ROUTER6)):
            namespace.run("ip", "route", "add", "default", "via", v4)
            namespace.run("ip", "-6", "route", "add", "default", "via", v6)
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for namespace in (self.router, self.peer):
            namespace.sysctl("net/ipv4/icmp_ratelimit", 0)
            namespace.sysctl("net/ipv4/icmp_msgs_per_sec", 100000)
            namespace.sysctl("net/ipv6/icmp/ratelimit", 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for namespace in (self.host, self.router, self.peer):
            namespace.delete()


def test_real_errors():
    """A real router's time-exceeded and a real host's port-unreachable reach icmp-error flows: TCP, UDP, echo, both families."""
    with Routed() as net, Broker(net.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for here, far, router in ((HOST4, "203.0.113.2", PEER4), (HOST6, "2001:db8:eeee::2", PEER6)):
            for kind in (TCP, UDP, ICMP):
                watch = [client.open(kind, local=here, port=40000, kind=ICMP_ERROR) for _ in range(2)]
                sniffer = client.open(kind, port=40000, kind=SNIFFER, flags=META | ERRORS)
                flow = client.open(kind, local=here, port=40000)
                probe = outbound(kind, here, far, 40000, dport=9)
                ttl = 7 if ":" in here else 8
                one = probe[:ttl] + b"\x01" + probe[ttl + 1:]
                if ":" not in here:
                    one = one[:10] + b"\0\0" + one[12:]
                flow.send(one)
                for each in watch:
                    error = Packet(each.recv())
                    equal((error.src, error.dst, error.type, error.code), (router, here, 3 if ":" in here else 11, 0),
                          "time exceeded")
                equal([flags for flags in (proto.META_HEADER.unpack_from(sniffer.recv())[1] for _ in range(2))],
                      [META_SENT, 0], "at the sniffer: sent, and the error")
                if kind == UDP:
                    flow.send(probe)
                    for each in watch:
                        error = Packet(each.recv())
                        equal((error.src, error.type, error.code), (far, *((1, 4) if ":" in here else (3, 3))),
                              "port unreachable")
                equal(flow.recv(0.05), None, "at the consumer, which did not ask")
                for each in (*watch, sniffer, flow):
                    each.close()


def test_host_is_not_changed():
    """A sniffer on a port leaves the host's answers and sockets there as they are; an icmp-error flow holds it silent."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        sniffer = client.open(TCP, port=40000, kind=SNIFFER)
        for target in (HOST4, HOST6):
            family = socket.AF_INET6 if ":" in target else socket.AF_INET
            probe = pair.peer.socket(family, socket.SOCK_STREAM)
            probe.settimeout(PATIENCE)
            raises(errno.ECONNREFUSED, probe.connect, (target, 40000))
            listener = pair.host.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((target, 40000))
            listener.listen()
            probe = pair.peer.socket(family, socket.SOCK_STREAM)
            probe.settimeout(PATIENCE)
            probe.connect((target, 40000))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            probe.close()
            equal(listener.accept()[1][0], PEER6 if ":" in target else PEER4, "who came")
            raises(errno.EADDRINUSE, client.open, TCP, local=target, port=40000, kind=ICMP_ERROR)
            listener.close()
        equal(sniffer.recv(0), None, "what the sniffer has seen of the host's own")
        before = pair.host.counter("TcpOutRsts")
        client.open(TCP, port=40001, kind=ICMP_ERROR)
        probe = pair.peer.socket(socket.AF_INET, socket.SOCK_STREAM)
        probe.settimeout(0.3)
        raises(None, probe.connect, (HOST4, 40001))
        equal(pair.host.counter("TcpOutRsts"), before, "RSTs")


def test_real_sniffing():
    """A sniffer beside a real exchange sees both directions; after kill -9 of the relay it is at its end like all flows."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("games", "news"), extra='sniff_users = {"man"}')) as broker:
        client, spy = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "man")
        raises(errno.EPERM, spy.open, UDP, port=40000)
        sniffer = spy.open(CLASS_ANY, kind=SNIFFER, flags=META)
        flow = client.open(UDP, port=40000)
        raises(errno.EPERM, proto.Client(broker.slice(), "news").open, UDP, port=40000, kind=SNIFFER)
        for here, there in ((HOST4, PEER4), (HOST6, PEER6)):
            echo = pair.peer.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_DGRAM)
            echo.bind((there, 7))
            flow.send(packets.udp(here, there, 40000, 7))
            data, back = echo.recvfrom(100)
            echo.sendto(data, back)
            check(flow.recv(), "answer")
            equal([proto.META_HEADER.unpack_from(sniffer.recv())[1] for _ in range(2)], [META_SENT, 0], "directions")
        broker.reload(slice_section(users=("games", "news")))
        equal(sniffer.recv(), b"", "a sniffer whose grant has gone")
        mine = client.open(UDP, port=40000, kind=SNIFFER)
        os.kill(broker.relay_pid(), signal.SIGKILL)
        equal(mine.recv(), b"", "end of file")


if __name__ == "__main__":
    tap.main(*(test for name, test in list(globals().items()) if name.startswith("test_")))
