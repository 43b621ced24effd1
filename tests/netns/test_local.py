#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A slice and the host that it lives on: host sockets, other slices, with every setting of rp_filter."""

import socket

from harness import packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, Pair, family_of

ADDRESSES = (HOST4, HOST6)


def test_local_yes():
    """With local = yes a slice talks to a kernel socket of the host, which answers it; rp_filter 0, 1 and 2."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="local = yes")) as broker:
        client = proto.Client(broker.slice(), "games")
        for rp_filter in (0, 1, 2):
            pair.host.sysctl("net/ipv4/conf/all/rp_filter", rp_filter)
            for address in ADDRESSES:
                flow = client.open(proto.UDP, local=address, port=40001)
                server = pair.host.bound(address, 5000)
                flow.send(packets.udp(address, address, 40001, 5000, b"hello host"))
                data, where = server.recvfrom(100)
                tap.equal((data, where[:2]), (b"hello host", (address, 40001)), f"rp_filter {rp_filter}")
                server.sendto(b"hello slice", where)
                tap.equal(packets.Packet(flow.recv()).payload, b"hello slice", "the answer")
                flow.close()
                server.close()


def test_local_no():
    """Without it the host's sockets are out of reach, and the refusal is counted; ping to the host likewise."""
    with Pair() as pair, Broker(pair.host, slice_section(), slice_section("two", ("news",), "41000-41999", "local = yes")) as broker:
        client = proto.Client(broker.slice(), "games")
        free = proto.Client(broker.slice("two"), "news")
        for count, address in enumerate(ADDRESSES, 1):
            flow, marker = client.open(proto.UDP, local=address, port=40001), free.open(proto.UDP, local=address, port=41001)
            server = pair.host.bound(address, 5000)
            flow.send(packets.udp(address, address, 40001, 5000, b"hello host"))
            marker.send(packets.udp(address, address, 41001, 5000, b"marker"))
            tap.equal(server.recv(100), b"marker", "what the server got first")
            tap.equal(sum(client.stats()["steer"]), count, "steering's count")
            flow.close()
            marker.close()
            server.close()


def test_slice_to_slice():
    """Two slices of one host talk to each other, without local = yes; rp_filter 0, 1 and 2."""
    with Pair() as pair, Broker(pair.host, slice_section(), slice_section("two", ("news",), "41000-41999")) as broker:
        one, two = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        for rp_filter in (0, 1, 2):
            pair.host.sysctl("net/ipv4/conf/all/rp_filter", rp_filter)
            for address in ADDRESSES:
                left, right = one.open(proto.UDP, local=address, port=40001), two.open(proto.UDP, local=address, port=41001)
                left.send(packets.udp(address, address, 40001, 41001, b"there"))
                got = packets.Packet(right.recv())
                tap.equal((got.sport, got.payload), (40001, b"there"), "there")
                right.send(packets.udp(address, address, 41001, 40001, b"back"))
                tap.equal(packets.Packet(left.recv()).payload, b"back", "back")
                left.close()
                right.close()


def test_host_to_slice():
    """A kernel socket of the host reaches a flow through lo."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for address in ADDRESSES:
            flow = client.open(proto.TCP, local=address, port=40001)
            caller = pair.host.socket(family_of(address), socket.SOCK_STREAM)
            caller.setblocking(False)
            caller.connect_ex((address, 40001))
            syn = packets.Packet(flow.recv())
            tap.equal((syn.src, syn.flags), (address, packets.SYN), "the SYN")
            tap.check(syn.transport_good(), "its checksum")
            caller.close()
            flow.close()


tap.main(test_local_yes, test_local_no, test_slice_to_slice, test_host_to_slice)
