#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Proxied prefixes as the monitor and steering have them, with a relay that was taken over: what it gets, and what it gets out."""

import errno
import os
import select
import socket
import struct
import time

from harness import packets, rogue, tap
from harness.broker import slice_section
from harness.proto import mapped
from harness.rogue import taken_over
from harness.tap import PATIENCE
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair, family_of
from harness.witness import Witness, own_talk

PREFIX4, PREFIX6 = "198.51.100.64", "2001:db8:9::"
INSIDE = {4: ("198.51.100.64", "198.51.100.70", "198.51.100.79"),
          6: ("2001:db8:9::", "2001:db8:9::1:7", "2001:db8:9:0:ffff:ffff:ffff:ffff")}
BESIDE = {4: ("198.51.100.63", "198.51.100.80"), 6: ("2001:db8:8:ffff:ffff:ffff:ffff:ffff", "2001:db8:9:1::")}
ENDS = {4: (HOST4, PEER4), 6: (HOST6, PEER6)}
TCP, UDP, ICMP, GRANT = 0, 1, 2, 6
OSPF = 89
PROXIED_ROWS = 32
OWNER, OTHER = 1, 2


def whole(name="whole", prefixes='"198.51.100.64/28", "2001:db8:9::/64"', extra=""):
    """A slice that has nothing but prefixes."""
    return f'slice "{name}" {{\n  users = {{"games"}}\n  proxied = {{{prefixes}}}\n  {extra}\n}}\n'


def routed(pair):
    """The peer sends the prefixes to the host, which has no way on for what nobody takes."""
    for prefix, gateway in (("198.51.100.64/28", HOST4), ("2001:db8:9::/64", HOST6)):
        pair.peer.run("ip", "route", "add", prefix, "via", gateway)
        pair.host.run("ip", "route", "add", "blackhole", prefix)


def gets(villain, wanted, seconds=PATIENCE):
    """The first packet from the TUN that is wanted; None when there is none in that time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and select.select([villain.tun], [], [], left)[0]:
        packet = packets.Packet(os.read(villain.tun, 70000))
        if wanted(packet):
            return packet
    return None


def to_prefix(packet):
    """What the peer's sockets send in these tests."""
    return packet.protocol == packets.UDP and packet.payload == b"to the prefix"


def hold(villain, port, **more):
    """A port of both prefixes is held for TCP, UDP and as an identifier, and open."""
    for address in (PREFIX4, PREFIX6):
        for kind in (TCP, UDP, ICMP):
            tap.equal(villain.reserve(port, kind=kind, address=address, **more), 0, f"port {port} of kind {kind} on {address}")
            villain.blocks[villain.addresses[mapped(address)], kind][port] = 1


def sockets(broker):
    """How many sockets the monitor has."""
    place = f"/proc/{broker.process.pid}/fd"
    return sum(os.readlink(f"{place}/{fd}").startswith("socket:") for fd in os.listdir(place))


def test_rows():
    """A prefix is one row behind the own addresses; every port of it is granted, by nothing that would take a socket."""
    with Pair() as pair, taken_over(pair, whole(), slice_section("two", ports="41000-41999")) as (villain, broker):
        own = [index for index in villain.rows if index < PROXIED_ROWS]
        tap.equal(sorted(villain.rows[index][0] for index in own), sorted(map(mapped, (HOST4, HOST6))), "own addresses")
        tap.equal({villain.rows[index][1] for index in own}, {128}, "their bits")
        prefixes = [(mapped(PREFIX4), 96 + 28), (mapped(PREFIX6), 64)]
        tap.equal([villain.rows[PROXIED_ROWS + i] for i in range(2)], [(*prefix, True) for prefix in prefixes], "rows of prefixes")
        tap.equal(villain.proxied, {OWNER: prefixes}, "prefixes of slices")
        tap.equal({kind for row, kind in villain.blocks if row == PROXIED_ROWS}, set(range(6)), "blocks: all but grants")
        before = sockets(broker)
        for kind in range(6):
            for ports in ((0, 0), (1, 1023), (65535, 65535)):
                for address in (PREFIX4, PREFIX6):
                    tap.equal(villain.reserve(*ports, kind=kind, address=address), 0, f"ports {ports} of kind {kind} on {address}")
        tap.equal(sockets(broker), before, "sockets of the monitor")
        tap.equal(villain.reserve(1, uid=6, address=PREFIX4), errno.EADDRINUSE, "another user's port")
        tap.equal(villain.reserve(41000, slice_number=OTHER), 0, "a port on any own address")
        villain.send(rogue.COVERED, struct.pack("=IBxH", 0, UDP, 41000))
        tap.equal(answer(villain, rogue.COVERS, "=IBxHQ")[3] >> PROXIED_ROWS, 0, "proxied rows on which a socket holds it")
        tap.check("gets udp 1-1023 on 198.51.100.64/28" in broker.log and "on 2001:db8:9::/64" in broker.log, broker.log)


def answer(villain, kind, form):
    """The fields of the next message of a kind."""
    while True:
        data = villain.channel.recv(256)
        tap.check(data, "the monitor closed the channel")
        if struct.unpack_from("=I", data)[0] == kind:
            return struct.unpack_from(form, data, 8)


def test_forged_requests():
    """What is not the slice's on a prefix, and what a prefix is not: the relay that asks is killed."""
    asked = (("another slice's prefix", {"slice_number": OTHER, "index": PROXIED_ROWS}),
             ("a row that no prefix has", {"index": PROXIED_ROWS + 2}), ("the row behind the last", {"index": 64}),
             ("an own address, by a slice that has prefixes alone", {"index": 0}), ("any address, by such a slice", {"index": 255}),
             ("a grant that the slice has not", {"kind": GRANT, "index": PROXIED_ROWS}))
    with Pair() as pair:
        for text, change in asked:
            field = {"slice_number": OWNER, "kind": UDP, "index": 0} | change
            body = struct.pack("=QIIIBBBxHH4x", 1, 0, field["slice_number"], 5, field["kind"], field["index"], 0, 40001, 40001)
            with taken_over(pair, whole(), slice_section("two", ports="41000-41999")) as (villain, broker):
                villain.send(rogue.RESERVE, body)
                try:
                    while (data := villain.channel.recv(256)) and struct.unpack_from("=I", data)[0] != rogue.RESERVED:
                        pass
                except ConnectionResetError:
                    data = b""
                tap.equal(data, b"", f"{text}: the answer")
                tap.check("relay: killed: RESERVE: " in broker.log, f"{text}\n{broker.log}")


def test_out():
    """From every address of a prefix its owner's held ports alone leave, nothing from beside it, nothing to a proxied port without a flow."""
    with Pair() as pair, taken_over(pair, whole(), slice_section("two", ports="41000-41999", extra="local = yes")) as (villain, _):
        # so that it is not for want of a route that nothing gets there
        for prefix, gateway in (("198.51.100.64/28", PEER4), ("2001:db8:9::/64", PEER6)):
            pair.host.run("ip", "route", "add", prefix, "via", gateway)
        villain.scribble()
        hold(villain, 7)
        tap.equal(villain.reserve(41000, slice_number=OTHER), 0, "a port of the other slice")
        for version, (source, target) in ENDS.items():
            right = [packets.udp(address, target, 7, 9) for address in INSIDE[version]]
            right += [packets.tcp(address, target, 7, 9) for address in INSIDE[version]]
            right += [packets.echo(address, target, 7) for address in INSIDE[version]]
            wrong = [packets.udp(address, target, 8, 9) for address in INSIDE[version]]
            wrong += [packets.udp(address, target, 7, 9) for address in (*BESIDE[version], source)]
            wrong += [packets.udp(INSIDE[version][0], target, 41000, 9), packets.sctp(INSIDE[version][0], target, 7, 9)]
            wrong += [packets.udp(source, address, 41000, 9) for address in INSIDE[version]]
            wrong += [packets.udp(INSIDE[version][0], address, 7, 9) for address in INSIDE[version]]
            wrong += [packets.udp(INSIDE[version][0], source, 7, 9)]  # the host itself, which is for slices that are local
            with Witness(pair.peer) as witness:
                for packet in wrong + right:
                    villain.write(packet)
                tap.check(witness.wait(lambda p, last=right[-1]: p.raw == last), "the last packet did not leave")
                left = [p.raw for p in witness.all(lambda p: not own_talk(p))]
                tap.equal(sorted(left), sorted(right), f"what left, IPv{version}")
        dropped = villain.dropped()
        tap.equal(dropped["steer-out-no-route"], 2 * 6, "refused to proxied ports without a flow")


def test_grants():
    """A slice's GRE keys and protocols are its own on its prefixes too, and no others."""
    with Pair() as pair, taken_over(pair, whole(extra='gre = {"1000"}\nprotocols = {"ospf"}')) as (villain, _):
        routed(pair)
        rows = {4: PREFIX4, 6: PREFIX6}
        for slot in villain.slots.values():
            for address in rows.values():
                tap.equal(villain.reserve(slot, kind=GRANT, address=address), 0, "a grant on a prefix")
                villain.blocks[villain.addresses[mapped(address)], GRANT][slot] = 1
        for version, (_, target) in ENDS.items():
            inside = INSIDE[version][1]
            right = [packets.gre(inside, target, 1000), packets.ip(inside, target, OSPF, b"to the peer")]
            wrong = [packets.gre(inside, target, 1001), packets.ip(inside, target, OSPF + 1, b"to the peer")]
            with Witness(pair.peer, expression="proto 47 or proto 89 or proto 90" if version == 4 else "ip6") as witness:
                for packet in wrong + right:
                    villain.write(packet)
                tap.check(witness.wait(lambda p, last=right[-1]: p.raw == last), "the last packet did not leave")
                tap.equal([p.raw for p in witness.all(lambda p: p.protocol in (47, OSPF, OSPF + 1))], right, f"what left, IPv{version}")
            with pair.peer.socket(family_of(target), socket.SOCK_RAW, OSPF) as sender:
                sender.sendto(b"to the prefix", (inside, 0))
            tap.equal(gets(villain, lambda p: p.protocol == OSPF).body, b"to the prefix", f"what comes, IPv{version}")


def test_between():
    """What is sent to a proxied port with a flow stays in the namespace, whoever sends it; echo requests are for flows too."""
    with Pair() as pair, taken_over(pair, whole(), slice_section("two", ports="41000-41999")) as (villain, _):
        hold(villain, 7)
        tap.equal(villain.reserve(41000, slice_number=OTHER), 0, "a port of the other slice")
        for version, (source, _) in ENDS.items():
            inside = INSIDE[version]
            with Witness(pair.peer, expression="udp or icmp[0] == 8 or icmp6 and ip6[40] == 128") as witness:
                for packet in (packets.udp(source, inside[1], 41000, 7), packets.udp(inside[0], inside[2], 7, 7),
                               packets.tcp(inside[0], inside[1], 7, 7), packets.echo(inside[0], inside[2], 7)):
                    villain.write(packet)
                    tap.check(gets(villain, lambda p, raw=packet: p.raw == raw), f"{packets.Packet(packet)} does not come")
                tap.equal(witness.all(lambda p: True), [], "what left")


def test_lo():
    """What has come to lo for a proxied address, and finds no flow there any more, is dropped, also where the host forwards."""
    with Pair() as pair, taken_over(pair, whole(), slice_section("two", ports="41000-41999")) as (villain, _):
        for command in ("ip route add 198.51.100.64/28 via 192.0.2.2", "ip route add 2001:db8:9::/64 via 2001:db8::2",
                        "sysctl -q net.ipv4.ip_forward=1", "sysctl -q net.ipv6.conf.all.forwarding=1"):
            pair.host.run(*command.split())
        tap.equal(villain.reserve(41000, slice_number=OTHER), 0, "a port of the other slice")
        for version, (source, target) in ENDS.items():
            with Witness(pair.peer, expression="udp") as witness, pair.host.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                wire.bind(("lo", 0))
                for address in INSIDE[version]:
                    wire.send(bytes(12) + (b"\x08\x00" if version == 4 else b"\x86\xdd") + packets.udp(source, address, 41000, 9))
                villain.write(packets.udp(source, target, 41000, 9, b"the marker"))
                tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the marker did not leave")
                tap.equal([p for p in witness.all(lambda p: p.dst != target)], [], f"what left, IPv{version}")
        tap.equal(villain.dropped()["steer-out-no-route"], 6, "dropped and counted")


def test_in():
    """A peer whose kernel has a route pings every address of a prefix, and a flow answers; what no flow has is the host's."""
    with Pair() as pair, taken_over(pair, whole()) as (villain, _):
        routed(pair)
        hold(villain, 7)
        for version, (_, target) in ENDS.items():
            for address in INSIDE[version]:
                answer_ping(pair, villain, address, target)
            with pair.peer.socket(family_of(target), socket.SOCK_DGRAM) as sender:
                for port in (8, 7):  # nobody's, and the flow's
                    sender.sendto(b"to the prefix", (INSIDE[version][1], port))
            came = gets(villain, to_prefix)
            tap.equal(came and came.dport, 7, f"the port of what comes first, IPv{version}")


def answer_ping(pair, villain, address, peer):
    """One echo request of a real ping with identifier 7, and its answer by the flow."""
    ping = pair.peer.popen("ping", "-e", "7", "-c", "1", "-W", "50", address, stdout=-3)
    request = gets(villain, lambda p: p.type in (8, 128))
    tap.check(request and request.dst == address, f"{address}: no request: {request}")
    sequence = struct.unpack("!H", request.body[6:8])[0]
    villain.write(packets.echo(address, peer, 7, sequence, request.payload, reply=True))
    tap.equal(ping.wait(), 0, f"ping {address}")


def test_routes():
    """A destination in a prefix needs no route: what is for it stays in the namespace."""
    with Pair() as pair, taken_over(pair, whole()) as (villain, _):
        for text in ("without a route", "with a route that ends there", "with one that leads away"):
            if "ends" in text:
                routed(pair)
            if "away" in text:
                pair.host.run("ip", "route", "replace", "198.51.100.64/28", "via", PEER4)
                pair.host.run("ip", "route", "replace", "2001:db8:9::/64", "via", PEER6)
            for version, (source, _) in ENDS.items():
                there = mapped(INSIDE[version][1])
                villain.send(rogue.ROUTE, struct.pack("=II16s", 0, 0, there))
                _, error, _, chosen, mtu = answer(villain, rogue.ROUTED, "=Ii16s16sI4x")
                tap.equal((error, mtu), (0, 65535), f"{text}, IPv{version}: error and MTU")
                tap.equal(chosen, mapped(source) if "away" in text else there, f"{text}, IPv{version}: source")


MARKER = 40000  # a port of the first slice on own addresses


def marked(pair, villain, version):
    """What of port 7 of the prefix passes in and out: a packet each way, told from what comes after it and always passes."""
    source, target = ENDS[version]
    with Witness(pair.peer, expression="udp dst port 9") as witness, pair.peer.socket(family_of(target), socket.SOCK_DGRAM) as sender:
        for address, port in ((INSIDE[version][1], 7), (source, MARKER)):
            sender.sendto(b"to the prefix", (address, port))
            villain.write(packets.udp(address, target, port, 9, b"to the peer"))
        tap.check(witness.wait(lambda p: p.sport == MARKER), "the marker did not leave")
        came = [gets(villain, to_prefix).dport]
        while came[-1] != MARKER:
            came.append(gets(villain, to_prefix).dport)
        return 7 in came, bool(witness.all(lambda p: p.sport == 7))


def mark(villain):
    """The marker's port is held and open."""
    tap.equal(villain.reserve(MARKER), 0, "the marker's port")
    for address in (HOST4, HOST6):
        villain.blocks[villain.addresses[mapped(address)], UDP][MARKER] = 1


def test_reload():
    """A reload takes a prefix away, gives it to another slice, and brings others: rows stay their prefixes', and holds end."""
    own, two = f'udp = {{"{MARKER}"}}', slice_section("two", ports="41000-41999")
    elsewhere = whole(prefixes='"2001:db8:a::/64"', extra=own)
    steps = (("nothing changes", (whole(extra=own), two), (True, True), OWNER, True),
             ("it is given away", (elsewhere, whole("two")), (True, True, True), OTHER, False),
             ("it is gone", (elsewhere, two), (False, False, True), None, False),
             ("it is back", (whole(extra=own), two), (True, True, False), OWNER, False))
    with Pair() as pair, taken_over(pair, whole(extra=own), two) as (villain, broker):
        routed(pair)
        mark(villain)
        hold(villain, 7)
        for text, sections, rows, owner, stays in steps:
            broker.reload(*sections)
            villain.learn()
            tap.equal(tuple(villain.rows[PROXIED_ROWS + i][2] for i in range(len(rows))), rows, f"{text}: which rows are there")
            tap.equal(len(villain.proxied.get(owner, ())), 2 if owner else 0, f"{text}: whose")
            for version in ENDS:
                tap.equal(marked(pair, villain, version), (stays, stays), f"{text}: port 7 in and out, IPv{version}")
            if owner == OTHER:  # the port is free for somebody else, who then lets it go
                for address in (PREFIX4, PREFIX6):
                    tap.equal(villain.reserve(7, slice_number=OTHER, uid=9, address=address), 0, f"{text}: the port, for another user")
                release(villain, 7, OTHER)


def release(villain, port, number):
    """One reference less on a UDP port of both prefixes, of uid 9."""
    for address in (PREFIX4, PREFIX6):
        body = struct.pack("=IIIBBBxHH4x", 0, number, 9, UDP, villain.addresses[mapped(address)], 0, port, port)
        villain.send(rogue.RELEASE, body)


def test_too_many():
    """A namespace has had 32 prefixes: the next new one is said to get no flows, and the others are served."""
    many = [f'"10.{number}.0.0/16"' for number in range(33)]
    with Pair() as pair, taken_over(pair, whole(prefixes=", ".join(many[:32]))) as (villain, broker):
        broker.reload(whole(prefixes=", ".join(many[1:])))
        villain.learn()
        tap.equal(sorted(villain.rows)[-1], 63, "the last row")
        tap.equal([villain.rows[row][2] for row in range(32, 64)], [False] + [True] * 31, "which are there")
        broker.wait_log("has had 32 proxied prefixes")
        tap.equal(villain.reserve(7, address="10.31.0.0"), 0, "a port of one that has a row")


def test_relay_dies():
    """A relay that dies leaves its ports on a prefix held and silent for their owner, shut to everybody else."""
    with Pair() as pair, taken_over(pair, whole(extra=f'udp = {{"{MARKER}"}}')) as (villain, _):
        routed(pair)
        hold(villain, 7)
        villain.let_go()
        villain.take_over()
        mark(villain)
        tap.equal(villain.reserve(7, uid=9, address=PREFIX4), errno.EADDRINUSE, "the port, for another user")
        for version in ENDS:
            tap.equal(marked(pair, villain, version)[0], False, f"port 7 is steered before its owner is back, IPv{version}")
        hold(villain, 7)
        for version in ENDS:
            tap.equal(marked(pair, villain, version), (True, True), f"port 7 in and out for its owner, IPv{version}")


tap.main(test_rows, test_forged_requests, test_out, test_grants, test_between, test_lo, test_in, test_routes, test_reload, test_too_many,
         test_relay_dies)
