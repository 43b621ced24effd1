#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fragments: sent by slices that may, received by everybody; what a fragment could smuggle stays off the wire."""

import time

from harness import packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness

MAY = slice_section(extra="fragments = yes") + slice_section("two", ("news",), "41000-41999")
PLACES = ((HOST4, PEER4), (HOST6, PEER6))
TEXT = bytes(range(256)) * 12  # needs three fragments
SOON = 10  # seconds to wait for what comes in two, or is tried again


def pieces(whole, ident):
    """A packet as three fragments that fit the wire."""
    return [packets.fragment(whole, start, stop, ident) for start, stop in ((0, 1024), (1024, 2048), (2048, None))]


def test_whole_datagrams():
    """The peer's kernel puts together what a flow sends in fragments; a flow gets what the peer's kernel sends so, as it came."""
    with Pair() as pair, Broker(pair.host, MAY) as broker:
        client = proto.Client(broker.slice(), "games")
        for number, (here, there) in enumerate(PLACES):
            flow, peer = client.open(proto.UDP, local=here, port=40001), pair.peer.bound(there, 5000)
            whole = packets.udp(here, there, 40001, 5000, TEXT)
            for packet in pieces(whole, 77 + number):
                flow.send(packet)
            tap.check(peer.recv(65536) == TEXT, "not the datagram that was sent in fragments")
            peer.sendto(TEXT, (here, 40001))
            got = [packets.Packet(flow.recv()) for _ in range(3)]
            tap.check(all(packet.fragment and packet.size <= 1500 for packet in got), f"what arrived: {got}")
            tap.check(b"".join(packet.body for packet in got)[8:] == TEXT, "not the datagram that arrived in fragments")


def test_local():
    """Fragments between two flows of one host, and to a socket of the host's own where the slice may reach it."""
    own = slice_section(extra="fragments = yes local = yes") + slice_section("two", ("news",), "41000-41999")
    with Pair() as pair, Broker(pair.host, MAY) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        for number, (here, _) in enumerate(PLACES):
            flow, theirs = client.open(proto.UDP, local=here, port=40001), other.open(proto.UDP, local=here, port=41001)
            sock = pair.host.bound(here, 5000)
            for packet in pieces(packets.udp(here, here, 40001, 41001, TEXT), 10 + number):
                flow.send(packet)
                tap.equal(theirs.recv(), packet, "a fragment between flows")
            for packet in pieces(packets.udp(here, here, 40001, 5000, b"not" + TEXT), 20 + number):
                flow.send(packet)
            while client.stats(flow.number)["tx_packets"] < 6:
                pass
            broker.reload(own)
            for packet in pieces(packets.udp(here, here, 40001, 5000, TEXT), 30 + number):
                flow.send(packet)
            tap.check(sock.recv(65536) == TEXT, "not the datagram to the host's own socket, or not the one that may get there")
            broker.reload(MAY)


def test_sniffer():
    """A sniffer, with a remote's port or without, sees all fragments of what is sent and received, those without ports too."""
    with Pair() as pair, Broker(pair.host, MAY) as broker:
        client = proto.Client(broker.slice(), "games")
        for number, (here, there) in enumerate(PLACES):
            flow, peer = client.open(proto.UDP, local=here, port=40001), pair.peer.bound(there, 5000)
            sniffers = [client.open(proto.UDP, local=here, port=40001, remote=remote, remote_port=port, kind=proto.SNIFFER)
                        for remote, port in ((None, 0), (there, 5000), (there, 5001))]
            sent = pieces(packets.udp(here, there, 40001, 5000, TEXT), 50 + number)
            for packet in sent:
                flow.send(packet)
            tap.check(peer.recv(65536) == TEXT, "not the datagram that was sent in fragments")
            peer.sendto(TEXT, (here, 40001))
            received = [flow.recv() for _ in range(3)]
            for sniffer in sniffers[:2]:
                tap.check([sniffer.recv() for _ in range(6)] == sent + received, "not what a sniffer should see")
            tap.equal(sniffers[2].recv(0), None, "at a sniffer of another remote's")


def test_not_for_everybody():
    """A slice without the right sends none; one with it loses the right with a reload, and its flow does not notice else."""
    with Pair() as pair, Broker(pair.host, MAY) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        flow, theirs = client.open(proto.UDP, local=HOST4, port=40001), other.open(proto.UDP, local=HOST4, port=41001)
        peer = pair.peer.bound(PEER4, 5000)

        def send(conversation, sender, port, ident, refused):
            """Sends a datagram in pieces and another in one; the peer gets the second alone when fragments are refused."""
            before = conversation.stats(sender.number)["tx"]["fragment"]
            for packet in pieces(packets.udp(HOST4, PEER4, port, 5000, TEXT), ident):
                sender.send(packet)
            sender.send(packets.udp(HOST4, PEER4, port, 5000, b"whole"))
            tap.check(peer.recv(65536) == (b"whole" if refused else TEXT), "not what the peer should get first")
            if not refused:
                tap.equal(peer.recv(65536), b"whole", "and then")
            tap.equal(conversation.stats(sender.number)["tx"]["fragment"] - before, 3 * refused, "fragments refused")

        send(other, theirs, 41001, 1, True)
        send(client, flow, 40001, 2, False)
        broker.reload(slice_section(), slice_section("two", ("news",), "41000-41999", "fragments = yes"))
        send(client, flow, 40001, 3, True)
        send(other, theirs, 41001, 4, False)


def test_following():
    """A later fragment passes after its first on the same flow, for two seconds, and not into it; all else is counted by name."""
    with Pair() as pair, Broker(pair.host, MAY) as broker:
        client = proto.Client(broker.slice(), "games")
        for here, there in PLACES:
            flow, other = client.open(proto.UDP, local=here, port=40001), client.open(proto.UDP, local=here, port=40002)
            whole = packets.udp(here, there, 40001, 5000, TEXT)
            with Witness(pair.peer, expression="host " + there) as witness:
                def out(packet, sender=flow, reason=None):
                    """Sends one; checks that it leaves, or is refused for that reason."""
                    count = client.stats(sender.number)["tx"]
                    sender.send(packet)
                    if not reason:
                        tap.check(witness.wait(lambda p: p.raw == packet, SOON), f"a fragment that may leave did not: {packet[:60].hex()}")
                        return
                    wait_count(client, sender, reason, count[reason] + 1)

                def follow(ident):
                    """A datagram's fragments one by one; the second of them."""
                    witness.all()
                    witness.seen.clear()
                    first, later, last = pieces(whole, ident)
                    out(later, reason="orphan-fragment")
                    out(first)
                    out(later, sender=other, reason="orphan-fragment")
                    out(later)
                    time.sleep(1)  # a half of what there is
                    out(last)
                    out(packets.fragment(whole, 1016, None, ident), reason="overlap")
                    out(packets.fragment(whole, 8, None, ident), reason="overlap")
                    return later

                for left in reversed(range(tap.TRIES)):  # a busy machine may take more than the two seconds that there are
                    try:
                        later = follow(1 + left)
                        break
                    except tap.Failure as caught:
                        if not left:
                            raise
                        tap.diagnose(f"once more: {caught}")
                time.sleep(2.1)  # the time is the point
                out(later, reason="orphan-fragment")
                tap.equal(len(witness.all(lambda p: p.fragment)), 3, "fragments that left")


def wait_count(client, flow, reason, count):
    """Waits until the flow has been refused so often for a reason."""
    deadline = time.monotonic() + SOON
    while (seen := client.stats(flow.number)["tx"])[reason] < count:
        tap.check(time.monotonic() < deadline, f"not counted as {reason}: {seen}")
    tap.equal(seen[reason], count, reason)


tap.main(test_whole_datagrams, test_local, test_sniffer, test_not_for_everybody, test_following)
