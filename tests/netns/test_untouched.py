#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What is not a flow's stays as it was: kernel sockets inside and outside the range, forwarded traffic, sizes, TTLs."""

import errno
import socket

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Namespace, Pair, connect, family_of
from harness.witness import Witness

BOTH = ((HOST4, PEER4), (HOST6, PEER6))


def exchange(host, peer, address, port):
    """A TCP conversation between kernel sockets, peer to host: True when it works both ways."""
    listener = host.bound(address, port, socket.SOCK_STREAM)
    listener.listen()
    client = peer.socket(family_of(address), socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect((address, port))
    server, _ = listener.accept()
    server.settimeout(PATIENCE)
    client.sendall(b"there")
    there = server.recv(100)
    server.sendall(b"back")
    back = client.recv(100)
    for sock in (client, server, listener):
        sock.close()
    return (there, back) == (b"there", b"back")


def test_kernel_listener():
    """A kernel listener inside the range works while no flow holds its port, and its port cannot be opened then."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        neighbour = client.open(proto.TCP, port=40005)
        for source, _ in BOTH:
            tap.check(exchange(pair.host, pair.peer, source, 40006), f"port in the range, {source}")
            tap.check(exchange(pair.host, pair.peer, source, 22222), f"port outside the range, {source}")
            listener = pair.host.socket(family_of(source), socket.SOCK_STREAM)
            listener.bind((source, 40007))
            listener.listen()
            refusal = tap.raises(errno.EADDRINUSE, client.open, proto.TCP, port=40007)
            tap.check(str(refusal), "a refusal says why")
            listener.close()
        held = pair.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        tap.raises(errno.EADDRINUSE, held.bind, (HOST4, 40005))
        tap.equal(neighbour.drain(), [], "what the neighbour got")


def test_outside():
    """Traffic outside the range, and out of the host's own sockets, is untouched; UDP, TCP and ping, both families."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        for source, target in BOTH:
            receiver = pair.peer.bound(target, 5000)
            sender = pair.host.socket(family_of(source), socket.SOCK_DGRAM)
            sender.settimeout(PATIENCE)
            sender.sendto(b"x" * 4000, (target, 5000))  # fragments too
            data, where = receiver.recvfrom(8000)
            tap.equal(len(data), 4000, "size there")
            receiver.sendto(data, where)
            tap.equal(len(sender.recv(8000)), 4000, "size back")
            pair.host.run("ping", "-c1", "-W50", target)
            pair.peer.run("ping", "-c1", "-W50", source)
        tap.equal(flow.drain(), [], "what the flow got")


def test_forwarded():
    """A host that routes goes on routing: packets through it to ports of the range are not taken."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        behind = Namespace("behind")
        connect(pair.host, behind, "eth1", "eth0")
        pair.host.run("ip", "addr", "add", "198.51.100.1/24", "dev", "eth1")
        behind.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
        behind.run("ip", "route", "add", "default", "via", "198.51.100.1")
        pair.peer.run("ip", "route", "add", "198.51.100.0/24", "via", HOST4)
        pair.host.sysctl("net/ipv4/ip_forward", 1)
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.TCP, port=40001)
        tap.check(exchange(behind, pair.peer, "198.51.100.2", 40001), "a conversation through the host")
        tap.equal(flow.drain(), [], "what the flow got")


def test_ttl():
    """TTL and hop limit 1 and 255 arrive and leave unchanged."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in BOTH:
            flow = client.open(proto.UDP, local=source, port=40001)
            with Witness(pair.peer, expression="udp or ip6") as witness:
                for ttl in (1, 255):
                    flow.send(packets.udp(source, target, 40001, 9, b"out%d" % ttl, ttl=ttl))
                    tap.equal(witness.wait(lambda p, t=ttl: p.payload == b"out%d" % t).ttl, ttl, "TTL out")
                    sender = pair.peer.socket(family_of(target), socket.SOCK_DGRAM)
                    level, name = ((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if ":" in target
                                   else (socket.IPPROTO_IP, socket.IP_TTL))
                    sender.setsockopt(level, name, ttl)
                    sender.sendto(b"in%d" % ttl, (source, 40001))
                    tap.equal(packets.Packet(flow.recv()).ttl, ttl, "TTL in")


def test_offloads():
    """With checksum offload, GSO and GRO on the veth, a flow's packets are of wire size with right checksums."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        for namespace in (pair.host, pair.peer):
            namespace.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on", "gro", "on")
        client = proto.Client(broker.slice(), "games")
        for source, target in BOTH:
            flow = client.open(proto.TCP, local=source, port=40001)
            sender = pair.peer.socket(family_of(target), socket.SOCK_STREAM)
            sender.setblocking(False)
            sender.connect_ex((source, 40001))
            syn = packets.Packet(flow.recv())
            tap.check(syn.transport_good(), "checksum of the SYN")
            flow.send(packets.tcp(source, target, 40001, syn.sport, 100, syn.seq + 1, packets.SYN | packets.ACK))
            tap.check(not packets.Packet(flow.recv()).flags & packets.SYN, "the handshake's third segment")
            sender.setblocking(True)
            sender.settimeout(PATIENCE)
            sender.sendall(b"y" * 30000)  # at once: the kernel makes a GSO packet of it
            got, expected = 0, syn.seq + 1
            while got < 5360:  # the initial congestion window, of the smallest segments
                segment = packets.Packet(flow.recv())
                tap.check(segment.size <= 1500, f"a packet of {segment.size} bytes")
                tap.check(segment.header_good and segment.transport_good(), "checksums")
                if segment.seq == expected & 0xFFFFFFFF:  # else the kernel sends again what is not acknowledged
                    expected += len(segment.payload)
                    got += len(segment.payload)
            sender.close()


tap.main(test_kernel_listener, test_outside, test_forwarded, test_ttl, test_offloads)
