#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Whatever a client may not send stays off the wire, is counted under its own reason, and costs nobody else anything."""

import errno
import os
import socket
import struct
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness, own_talk


def hostile4(port):
    """(name, reason, packet): what a UDP flow on HOST4:port must not get out."""
    good = packets.udp(HOST4, PEER4, port, 9)
    return (
        ("nothing but a byte", "short", b"\x45"),
        ("half a header", "short", good[:12]),
        ("version 7", "version", b"\x75" + good[1:]),
        ("header length 4", "header-length", b"\x44" + good[1:]),
        ("header length beyond the packet", "short", b"\x4f" + good[1:]),
        ("total length too long", "length", packets.udp(HOST4, PEER4, port, 9, length=200)),
        ("total length too short", "length", good + b"tail"),
        ("UDP length lies", "transport", good[:24] + b"\x7f\xff" + good[26:]),
        ("cut in the UDP header", "transport", packets.ip(HOST4, PEER4, packets.UDP, good[20:24])),
        ("bad option", "option", packets.udp(HOST4, PEER4, port, 9, options=b"\x07\xff\x04\0")),
        ("loose source route", "source-route", packets.udp(HOST4, PEER4, port, 9, options=b"\x83\x07\x04\x0a\0\0\x01\0")),
        ("strict source route", "source-route", packets.udp(HOST4, PEER4, port, 9, options=b"\x89\x07\x04\x0a\0\0\x01\0")),
        ("first fragment", "fragment", packets.udp(HOST4, PEER4, port, 9, b"x" * 8, flags=1)),
        ("later fragment", "fragment", packets.ip(HOST4, PEER4, packets.UDP, b"x" * 64, offset=8)),
        ("TCP", "protocol", packets.tcp(HOST4, PEER4, port, 9)),
        ("ICMP", "protocol", packets.echo(HOST4, PEER4, port)),
        ("SCTP", "protocol", packets.ip(HOST4, PEER4, 132, good[20:])),
        ("protocol 255", "protocol", packets.ip(HOST4, PEER4, 255, good[20:])),
        ("the other family", "protocol", packets.udp(HOST6, PEER6, port, 9)),
        ("spoofed source", "source", packets.udp("192.0.2.77", PEER4, port, 9)),
        ("the peer as source", "source", packets.udp(PEER4, PEER4, port, 9)),
        ("loopback source", "source", packets.udp("127.0.0.1", PEER4, port, 9)),
        ("neighbour's port", "port", packets.udp(HOST4, PEER4, port + 1, 9)),
        ("port 0", "port", packets.udp(HOST4, PEER4, 0, 9)),
        ("port outside the range", "port", packets.udp(HOST4, PEER4, 22, 9)),
        ("unspecified destination", "unspecified", packets.udp(HOST4, "0.0.0.0", port, 9)),
        ("loopback destination", "loopback", packets.udp(HOST4, "127.0.0.1", port, 9)),
        ("multicast", "multicast", packets.udp(HOST4, "224.0.0.1", port, 9)),
        ("limited broadcast", "broadcast", packets.udp(HOST4, "255.255.255.255", port, 9)),
        ("link-local destination", "link-local", packets.udp(HOST4, "169.254.1.1", port, 9)),
        ("denied destination", "denied", packets.udp(HOST4, "198.51.100.7", port, 9)),
    )


def hostile6(port):
    """The same for a UDP flow on HOST6:port."""
    good = packets.udp(HOST6, PEER6, port, 9)
    body = good[40:]
    return (
        ("half a header", "short", good[:30]),
        ("payload length too long", "length", packets.udp(HOST6, PEER6, port, 9, length=200)),
        ("payload length too short", "length", good + b"tail"),
        ("chain that ends early", "chain-end", packets.ip(HOST6, PEER6, 60, b"\x11\x08" + bytes(6))),
        ("hop-by-hop in second place", "extension",
         packets.ip(HOST6, PEER6, 60, b"\x00\x00\x01\x04" + bytes(4) + b"\x11\x00\x01\x04" + bytes(4) + body)),
        ("authentication header", "extension", packets.ip(HOST6, PEER6, 51, b"\x11\x01" + bytes(10) + body)),
        ("no next header", "chain-end", packets.ip(HOST6, PEER6, 59, body)),
        ("ten destination options", "extension", packets.ip(
            HOST6, PEER6, 60, (b"\x3c\x00\x01\x04" + bytes(4)) * 9 + b"\x11\x00\x01\x04" + bytes(4) + body)),
        ("routing header", "routing-header", packets.ip(HOST6, PEER6, 43, b"\x11\x02\x00\x01" + bytes(20) + body)),
        ("first fragment", "fragment", packets.ip(HOST6, PEER6, 44, b"\x11\0\0\x01" + bytes(4) + body + b"x")),
        ("atomic fragment", "atomic-fragment", packets.ip(HOST6, PEER6, 44, b"\x11\0\0\0" + bytes(4) + body)),
        ("later fragment", "fragment", packets.ip(HOST6, PEER6, 44, b"\x11\0\0\x08" + bytes(4) + body)),
        ("UDP length lies", "transport", good[:44] + b"\x7f\xff" + good[46:]),
        ("TCP", "protocol", packets.tcp(HOST6, PEER6, port, 9)),
        ("neighbour discovery", "protocol", packets.icmp(HOST6, PEER6, 136, 0, b"\xe0\0\0\0", packets.packed(HOST6))),
        ("ICMP of the other family", "protocol", packets.ip(HOST6, PEER6, packets.ICMP, packets.echo(HOST4, PEER4, port)[20:])),
        ("the other family", "protocol", packets.udp(HOST4, PEER4, port, 9)),
        ("spoofed source", "source", packets.udp("2001:db8::77", PEER6, port, 9)),
        ("link-local source", "source", packets.udp("fe80::1", PEER6, port, 9)),
        ("loopback source", "source", packets.udp("::1", PEER6, port, 9)),
        ("mapped source", "martian", packets.ip(
            HOST6, PEER6, 17, body)[:8] + proto.mapped(HOST4) + packets.packed(PEER6) + body),
        ("neighbour's port", "port", packets.udp(HOST6, PEER6, port + 1, 9)),
        ("unspecified destination", "unspecified", packets.udp(HOST6, "::", port, 9)),
        ("loopback destination", "loopback", packets.udp(HOST6, "::1", port, 9)),
        ("mapped loopback destination", "martian", good[:24] + proto.mapped("127.0.0.1") + body),
        ("multicast", "multicast", packets.udp(HOST6, "ff02::1", port, 9)),
        ("link-local destination", "link-local", packets.udp(HOST6, "fe80::7", port, 9)),
        ("denied destination", "denied", packets.udp(HOST6, "2001:db8:bad::7", port, 9)),
    )


def counted(client, flow, total):
    """What the flow was refused, by reason, as soon as it is so many packets in all (they take another way than the question)."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reasons = client.stats(flow.number)["tx"]
        if sum(reasons.values()) >= total or time.monotonic() > deadline:
            return reasons


def refuse_all(pair, client, flow, table, marker):
    """Sends each; checks its counter, that nothing but the marker reached the wire, and that the flow still works."""
    with Witness(pair.peer) as witness:
        total = 0
        for name, reason, packet in table:
            before = client.stats(flow.number)["tx"][reason]
            total += 1
            flow.send(packet)
            after = counted(client, flow, total)
            tap.equal(after[reason], before + 1, f"{name}: count of {reason} among {after}")
            tap.equal(sum(after.values()), total, f"{name}: all reasons")
        flow.send(marker)
        tap.check(witness.wait(lambda p: p.raw == marker), "the marker did not arrive")
        tap.equal(witness.all(lambda p: p.raw != marker and not own_talk(p)), [], "what got out")


DENY = 'deny = {"198.51.100.0/24", "2001:db8:bad::/48"}'


def test_packets():
    """Hostile packets on UDP flows, both families: nothing gets out, each is counted under its own reason."""
    with Pair() as pair, Broker(pair.host, slice_section(extra=DENY)) as broker:
        client = proto.Client(broker.slice(), "games")
        neighbour = client.open(proto.UDP, port=40002)
        for source, target, table in ((HOST4, PEER4, hostile4(40001)), (HOST6, PEER6, hostile6(40001))):
            flow = client.open(proto.UDP, local=source, port=40001)
            refuse_all(pair, client, flow, table, packets.udp(source, target, 40001, 9, b"the marker"))
        tap.equal(neighbour.drain(), [], "what the neighbour got")


def test_connected():
    """A connected flow reaches its remote alone: five-tuple mismatches are refused, and not received either."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            flow = client.open(proto.UDP, local=source, port=40001, remote=target, remote_port=5000)
            other = target[:-1] + "9"
            refuse_all(pair, client, flow, (
                ("another port", "remote", packets.udp(source, target, 40001, 5001)),
                ("another host", "remote", packets.udp(source, other, 40001, 5000)),
            ), packets.udp(source, target, 40001, 5000, b"the marker"))
            sender = pair.peer.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
            sender.bind((target, 5001))
            sender.sendto(b"from another port", (source, 40001))
            right = pair.peer.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
            right.bind((target, 5000))
            right.sendto(b"from the remote", (source, 40001))
            tap.equal(packets.Packet(flow.recv()).payload, b"from the remote", "first packet received")


def test_icmp_types():
    """An ICMP flow sends echo and timestamp with its id, nothing else."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        ident = struct.pack("!HH", 40001, 1)
        for source, target, kinds in ((HOST4, PEER4, (3, 4, 5, 9, 11, 12, 15, 17)),
                                      (HOST6, PEER6, (1, 2, 3, 4, 130, 133, 134, 135, 136, 137))):
            inner = packets.udp(source, target, 40001, 9)
            flow = client.open(proto.ICMP, local=source, port=40001)
            table = [(f"type {kind}", "icmp-type", packets.icmp(source, target, kind, 0, ident, inner)) for kind in kinds]
            table.append(("another id", "port", packets.echo(source, target, 40002)))
            refuse_all(pair, client, flow, table, packets.echo(source, target, 40001, payload=b"the marker"))


def test_mtu():
    """What is larger than the way's MTU is refused by name and counted; the MTU itself passes."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            flow = client.open(proto.UDP, local=source, port=40001)
            room = 1500 - (48 if ":" in source else 28)
            refuse_all(pair, client, flow, (
                ("MTU + 1", "too-big", packets.udp(source, target, 40001, 9, bytes(room + 1))),
                ("9,000", "too-big", packets.udp(source, target, 40001, 9, bytes(9000))),
                ("64 KB", "too-big", packets.udp(source, target, 40001, 9, bytes(65000))),
            ), packets.udp(source, target, 40001, 9, bytes(room)))


def test_opens():
    """Opens that are refused say why, and with which errno."""
    sections = (slice_section(users=("games", "list"), extra="flows = 8"), slice_section("two", ("news",), "41000-41999"))
    with Pair() as pair, Broker(pair.host, *sections) as broker:
        client, mate = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "list")
        for case in (
                (errno.EACCES, {"port": 22}), (errno.EACCES, {"port": 41000}), (errno.EACCES, {"port": 40999, "count": 2}),
                (errno.EADDRNOTAVAIL, {"port": 40001, "local": "192.0.2.77"}),
                (errno.EADDRNOTAVAIL, {"port": 40001, "local": "127.0.0.1"}),
                (errno.EADDRNOTAVAIL, {"port": 40001, "local": "2001:db8::77"}),
                (errno.EOPNOTSUPP, {"port": 40001, "kind": 99}), (errno.EOPNOTSUPP, {"port": 40001, "flags": 0x80}),
                (errno.EINVAL, {"port": 40001, "count": 0}), (errno.EINVAL, {"port": 40001, "family": 99})):
            tap.raises(case[0], client.open, proto.UDP, **case[1])
        tap.raises(errno.EINVAL, client.open, 77, port=40001)
        mine = client.open(proto.UDP, port=40001)
        tap.raises(errno.EADDRINUSE, client.open, proto.UDP, port=40001)  # the same again
        tap.raises(errno.EADDRINUSE, mate.open, proto.UDP, port=40001)  # a slice-mate's port
        tap.raises(errno.EADDRINUSE, mate.open, proto.UDP, port=40001, remote=PEER4, remote_port=9)
        more = [client.open(proto.UDP, port=40001, local=HOST4, remote=PEER4, remote_port=number) for number in range(1, 8)]
        tap.raises(errno.EMFILE, mate.open, proto.UDP, port=40005)
        more.pop().close()
        mine.close()
        tap.equal(len(more), 6, "flows on one port")


def test_identity():
    """A uid that is not listed is turned away with EPERM; root may ask but not open; the kernel says who it is."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        tap.raises(errno.EPERM, proto.Client, broker.slice(), "news")
        root = proto.Client(broker.slice())
        tap.check("rx" in root.stats(), "root reads the statistics")
        tap.raises(errno.EPERM, root.open, proto.UDP, port=40001)


def test_messages():
    """Malformed conversations end that conversation alone: wrong length, order, type, fds, too large."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        witness = proto.Client(broker.slice(), "games")
        flow = witness.open(proto.UDP, port=40001)
        good_open = proto.OPEN_REQUEST.pack(proto.OPEN, 56, 1, 1, proto.UDP, 0, 0, 40002, 1, proto.ANY, proto.ANY, 0)
        hello = proto.HEADER.pack(proto.HELLO, 16, 1) + struct.pack("=II", 1, 0)

        def ends(text, *messages, fds=(), hello_first=True):
            """The broker closes the conversation on the last message."""
            client = proto.Client(broker.slice(), "games", hello=hello_first)
            for message in messages[:-1]:
                client.socket.send(message)
            socket.send_fds(client.socket, [messages[-1]], fds)
            try:
                while client.socket.recv(8192):
                    pass
            except ConnectionResetError:
                pass
            except TimeoutError as caught:
                raise tap.Failure(f"{text}: the conversation goes on") from caught

        null = os.open("/dev/null", os.O_RDONLY)
        ends("no hello", good_open, hello_first=False)
        ends("hello twice", hello)
        ends("one byte", b"\x01")
        ends("size field too small", proto.HEADER.pack(proto.OPEN, 55, 1) + good_open[8:])
        ends("size field too large", proto.HEADER.pack(proto.OPEN, 57, 1) + good_open[8:])
        ends("short message", good_open[:-1])
        ends("long message", good_open + b"\0")
        ends("unknown type", proto.HEADER.pack(99, 8, 1))
        ends("type 0", proto.HEADER.pack(0, 8, 1))
        ends("an event", proto.HEADER.pack(proto.EVENT, 8, 1))
        ends("8 KB", bytes(8192))
        ends("an fd", good_open, fds=[null])
        ends("twenty fds", good_open, fds=[null] * 20)
        os.close(null)
        tap.raises(errno.EPROTO, lambda: proto.Client(broker.slice(), "games", hello=False).hello(version=99))
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"still there", (HOST4, 40001))
        tap.equal(packets.Packet(flow.recv()).payload, b"still there", "the bystander's flow")
        tap.check(witness.stats(flow.number)["rx_packets"] == 1, "the bystander's conversation")


def test_fds_on_flow():
    """Fds sent along with a packet on a flow go nowhere; the packet is an ordinary one."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, local=HOST4, port=40001)
        relay = broker.relay_pid()
        client.stats()  # by now the relay has closed its copy of the flow's fd
        before = len(os.listdir(f"/proc/{relay}/fd"))
        with Witness(pair.peer, expression="udp") as witness:
            flow.send(packets.udp(HOST4, PEER4, 40001, 9, b"first"))  # the neighbour is known before the burst
            tap.check(witness.wait(lambda p: p.payload == b"first"), "the flow does not work")
            null = os.open("/dev/null", os.O_RDONLY)
            for number in range(50):
                packet = packets.udp(HOST4, PEER4, 40001, 9, b"with fds %d" % number)
                try:
                    socket.send_fds(flow.socket, [packet], [null] * 10)
                except OSError as caught:  # SO_PASSRIGHTS off (Linux 6.16): refused at the sender
                    tap.equal(caught.errno, errno.EPERM, "errno of a refused fd")
            os.close(null)
            flow.send(packets.udp(HOST4, PEER4, 40001, 9, b"the marker"))
            tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the flow works no more")
        tap.equal(len(os.listdir(f"/proc/{relay}/fd")), before, "the relay's open fds")


tap.main(test_packets, test_connected, test_icmp_types, test_mtu, test_opens, test_identity, test_messages, test_fds_on_flow)
