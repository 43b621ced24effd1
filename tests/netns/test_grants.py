#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Protocols without ports: GRE by key, others by number, granted in the configuration.

Where the kernel has them, a gre tunnel of the peer's is the other end; else raw sockets are, which need nothing.
"""

import contextlib
import errno
import json
import os
import socket
import subprocess
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.rogue import taken_over
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair, family_of
from harness.witness import Witness

PATHS = ((HOST4, PEER4), (HOST6, PEER6))
OSPF = 89
ONE = slice_section(extra='gre = {"1000-1003", "4294967295"}\n  protocols = {"89", "ipencap"}')
TWO = slice_section("two", ("news",), "41000-41999", 'gre = {"2000"}')
SECOND4, SECOND6 = "192.0.2.5", "2001:db8::5"


def raw(namespace, address, protocol):
    """A raw socket of the kernel's."""
    sock = namespace.socket(family_of(address), socket.SOCK_RAW, protocol)
    sock.settimeout(PATIENCE)
    return sock


def body(packet):
    """What is behind the IP header."""
    return packets.Packet(packet).body


def heard(sock, size=2000):
    """What a raw socket gets, without an IPv4 header."""
    data = sock.recv(size)
    return data if sock.family == socket.AF_INET6 else data[20:]


def refused(client, flow, packet, reason):
    """Writes a packet; checks that it is refused for that reason."""
    before = client.stats(flow.number)
    flow.send(packet)
    deadline = time.monotonic() + PATIENCE
    while (now := client.stats(flow.number)) == before and time.monotonic() < deadline:
        pass
    tap.equal((now["tx"][reason], now["tx_packets"]), (before["tx"][reason] + 1, before["tx_packets"]), reason)


def tunnel(namespace, local, remote, key):
    """A kernel's gre tunnel with that key and 10.9.0.2 in it; None where the kernel has none."""
    name, kind = ("gre6", "ip6gre") if ":" in local else ("gre4", "gre")
    try:
        namespace.run("ip", "link", "add", name, "type", kind, "local", local, "remote", remote, "key", str(key))
    except RuntimeError as caught:
        tap.diagnose(f"no {kind} tunnels here: {caught}")
        return None
    namespace.run("ip", "addr", "add", "10.9.0.2/30", "dev", name)
    namespace.run("ip", "link", "set", name, "up")
    return name


def test_tunnel():
    """A flow is one end of a GRE tunnel whose other end is the kernel's: a UDP datagram goes through it and back."""
    for host, peer in PATHS:
        with Pair() as pair, Broker(pair.host, ONE) as broker:
            if not tunnel(pair.peer, peer, host, 1001):
                continue
            client = proto.Client(broker.slice(), "games")
            flow = client.open_grant(packets.GRE, 1001, local=host)
            server = pair.peer.bound("10.9.0.2", 7)
            flow.send(packets.gre(host, peer, 1001, packets.udp("10.9.0.1", "10.9.0.2", 5000, 7, b"through")))
            data, where = server.recvfrom(100)
            tap.equal((data, where), (b"through", ("10.9.0.1", 5000)), "what came through")
            server.sendto(b"and back", where)
            while (got := packets.Packet(flow.recv() or bytes(20))).body and got.body[8] >> 4 != 4:
                pass  # the tunnel device has news of its own
            inner = packets.Packet(got.body[8:])
            tap.equal((inner.src, inner.dst, inner.payload), ("10.9.0.2", "10.9.0.1", b"and back"), "what came back")


def test_both_ways():
    """GRE by key and OSPF by number pass both ways unchanged, with checksum and sequence number too; the host sees none of it."""
    with Pair() as pair, Broker(pair.host, ONE) as broker:
        client = proto.Client(broker.slice(), "games")
        for host, peer in PATHS:
            for number, key, make in (
                    (packets.GRE, 1000, lambda a, b: packets.gre(a, b, 1000)),
                    (packets.GRE, 4294967295, lambda a, b: packets.gre(a, b, 4294967295, flags=0xB000, sequence=9)),
                    (OSPF, 0, lambda a, b: packets.ip(a, b, OSPF, b"\x02\x01" + bytes(30))),
                    (4, 0, lambda a, b: packets.ip(a, b, 4, packets.udp("10.0.0.1", "10.0.0.2", 1, 2)))):
                flow = client.open_grant(number, key, local=host)
                near, far = raw(pair.host, host, number), raw(pair.peer, peer, number)
                out = make(host, peer)
                with Witness(pair.peer) as wire:
                    flow.send(out)
                    tap.check(wire.wait(lambda p, out=out: p.raw == out), f"protocol {number} did not leave unchanged")
                tap.equal(heard(far), body(out), "what the peer's kernel has")
                far.sendto(body(make(peer, host)), (host, 0))
                got = packets.Packet(flow.recv() or bytes(20))
                tap.equal((got.src, got.dst, got.body), (peer, host, body(make(peer, host))), f"protocol {number}, back")
                near.setblocking(False)
                tap.raises(errno.EAGAIN, near.recv, 100)
                for sock in (near, far, flow):
                    sock.close()


def test_not_granted():
    """What is not granted cannot be opened, stays the host's when it arrives, and is refused by name when it is sent."""
    with Pair() as pair, Broker(pair.host, ONE, TWO) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        for number, key, error in ((packets.GRE, 2000, errno.EACCES), (packets.GRE, 999, errno.EACCES), (88, 0, errno.EACCES),
                                   (packets.TCP, 0, errno.EINVAL), (44, 0, errno.EINVAL), (255, 0, errno.EINVAL),
                                   (0, 0, errno.EINVAL), (OSPF, 1, errno.EINVAL)):
            tap.raises(error, client.open_grant, number, key)
        tap.raises(errno.EACCES, other.open_grant, packets.GRE, 1000)
        tap.raises(errno.EINVAL, client.open_grant, OSPF, port=7)
        tap.raises(errno.EINVAL, client.open_grant, OSPF, count=2)
        for host, peer in PATHS:
            flow, ospf = client.open_grant(packets.GRE, 1000, local=host), client.open_grant(OSPF, local=host)
            near, far = raw(pair.host, host, packets.GRE), raw(pair.peer, peer, packets.GRE)
            for arriving in (packets.gre(peer, host, 1001), packets.gre(peer, host, 2000), packets.gre(peer, host, 0, flags=0),
                             packets.gre(peer, host, 1000, flags=0x6000), packets.gre(peer, host, 1000, flags=0x2001)):
                far.sendto(body(arriving), (host, 0))
                tap.equal(heard(near), body(arriving), "what the host's raw socket gets")
            with Witness(pair.peer) as wire:
                for reason, packet in (
                        ("gre", packets.gre(host, peer, 0, flags=0)), ("gre", packets.gre(host, peer, 1000, flags=0x6000)),
                        ("gre", packets.gre(host, peer, 1000, flags=0x2001, kind=0x880B)),
                        ("gre", packets.gre(host, peer, 1000, flags=0x2800)), ("port", packets.gre(host, peer, 1001)),
                        ("transport", packets.ip(host, peer, packets.GRE, b"\x20\0\x08\0\0\0\x03")),
                        ("source", packets.gre(peer, peer, 1000)), ("protocol", packets.ip(host, peer, OSPF, bytes(20))),
                        ("loopback", packets.gre(host, "::1" if ":" in host else "127.0.0.1", 1000)),
                        ("multicast", packets.gre(host, "ff02::5" if ":" in host else "224.0.0.5", 1000))):
                    refused(client, flow, packet, reason)
                refused(client, ospf, packets.gre(host, peer, 1000), "protocol")
                refused(client, ospf, packets.udp(host, peer, 40001, 9), "protocol")
                marker = packets.gre(host, peer, 1000, b"the marker")
                flow.send(marker)
                tap.check(wire.wait(lambda p, marker=marker: p.raw == marker), "the marker did not leave")
                left = wire.all(lambda p: p.src == host and p.protocol in (packets.GRE, OSPF, packets.UDP))
                tap.equal(len(left), 1, f"what left: {left}")
            tap.check(flow.recv(0) is None, "the flow has got something")
            for sock in (near, far, flow, ospf):
                sock.close()


def test_ownership():
    """A key is its first opener's; flows with other remotes share it; the best fit gets a packet."""
    section = slice_section(users=("games", "news"), extra='gre = {"1000"}\n  protocols = {"89"}')
    with Pair() as pair, Broker(pair.host, section) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "news")
        wide = client.open_grant(packets.GRE, 1000)
        near = client.open_grant(packets.GRE, 1000, local=HOST4, remote=PEER4)
        tap.raises(errno.EADDRINUSE, client.open_grant, packets.GRE, 1000)
        tap.raises(errno.EADDRINUSE, other.open_grant, packets.GRE, 1000, local=HOST6)
        other.open_grant(OSPF).close()
        for peer, host, flow in ((PEER4, HOST4, near), (PEER6, HOST6, wide)):
            with raw(pair.peer, peer, packets.GRE) as far:
                far.sendto(body(packets.gre(peer, host, 1000)), (host, 0))
                tap.equal(packets.Packet(flow.recv()).src, peer, "who gets it")
        refused(client, near, packets.gre(HOST4, "192.0.2.9", 1000), "remote")
        sniffer = client.open_grant(packets.GRE, 1000, kind=proto.SNIFFER)
        near.send(packets.gre(HOST4, PEER4, 1000, b"sniffed"))
        tap.equal(packets.Packet(sniffer.recv()).body[-7:], b"sniffed", "what a sniffer sees")


def test_errors():
    """The kernel's protocol unreachable about such a packet reaches the flow that sent it, and an icmp-error flow."""
    with Pair() as pair, Broker(pair.host, ONE) as broker:
        client = proto.Client(broker.slice(), "games")
        for host, peer in PATHS:
            for number, key, sent in ((packets.GRE, 1002, packets.gre(host, peer, 1002, flags=0xA000)),
                                      (OSPF, 0, packets.ip(host, peer, OSPF, bytes(40)))):
                flow = client.open_grant(number, key, local=host, flags=proto.ERRORS)
                reader = client.open_grant(number, key, local=host, kind=proto.ICMP_ERROR)
                flow.send(sent)
                for one in (flow, reader):
                    error = packets.Packet(one.recv() or bytes(20))
                    tap.check(error.protocol in (packets.ICMP, packets.ICMPV6), f"protocol {number}: {error}")
                    tap.equal(error.payload[40 if error.version == 6 else 20:][:8], body(sent)[:8], "what it quotes")
                flow.close()
                reader.close()


def test_on_one_host():
    """Two slices of one host with the same key on addresses of their own talk; where no flow is, nothing gets to the host."""
    with Pair() as pair:
        for address in (f"{SECOND4}/24", f"{SECOND6}/64"):
            pair.host.run("ip", "addr", "add", address, "dev", "eth0", "nodad")
        sections = (slice_section(extra=f'gre = {{"7"}}\n  addresses = {{"{HOST4}", "{HOST6}"}}'),
                    slice_section("two", ("news",), "41000-41999", f'gre = {{"7"}}\n  addresses = {{"{SECOND4}", "{SECOND6}"}}'))
        with Broker(pair.host, *sections) as broker:
            one, two = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
            for left, right in ((HOST4, SECOND4), (HOST6, SECOND6)):
                here, there = one.open_grant(packets.GRE, 7, local=left), two.open_grant(packets.GRE, 7, local=right)
                here.send(packets.gre(left, right, 7, b"there"))
                tap.equal(packets.Packet(there.recv()).body[-5:], b"there", "there")
                there.send(packets.gre(right, left, 7, b"back"))
                tap.equal(packets.Packet(here.recv()).body[-4:], b"back", "back")
                there.close()
                before, near = sum(one.stats()["steer"]), raw(pair.host, right, packets.GRE)
                here.send(packets.gre(left, right, 7, b"nobody"))
                marker = packets.gre(left, PEER6 if ":" in left else PEER4, 7, b"the marker")
                with Witness(pair.peer) as wire:
                    here.send(marker)
                    tap.check(wire.wait(lambda p, marker=marker: p.raw == marker), "the marker did not leave")
                tap.equal(sum(one.stats()["steer"]), before + 1, "what steering refused")
                near.setblocking(False)
                tap.raises(errno.EAGAIN, near.recv, 100)
                here.close()


def test_reload():
    """A grant that goes takes its flows along, one that stays keeps them, and a new one can be used."""
    with Pair() as pair, Broker(pair.host, ONE) as broker:
        client = proto.Client(broker.slice(), "games")
        stays, goes = client.open_grant(packets.GRE, 1003), client.open_grant(OSPF)
        broker.reload(slice_section(extra='gre = {"5", "1003-1010"}\n  protocols = {"90"}'))
        tap.equal(goes.recv(), b"", "a flow whose grant has gone")
        tap.raises(errno.EACCES, client.open_grant, OSPF)
        fresh = client.open_grant(packets.GRE, 1010, local=HOST4)
        for flow, key in ((stays, 1003), (fresh, 1010)):
            with raw(pair.peer, PEER4, packets.GRE) as far:
                flow.send(packets.gre(HOST4, PEER4, key))
                tap.equal(heard(far), body(packets.gre(HOST4, PEER4, key)), "what leaves")
                far.sendto(body(packets.gre(PEER4, HOST4, key)), (HOST4, 0))
                tap.equal(packets.Packet(flow.recv()).src, PEER4, "what arrives")
        with raw(pair.peer, PEER4, OSPF) as far, raw(pair.host, HOST4, OSPF) as near:
            far.sendto(b"for the host", (HOST4, 0))
            tap.equal(heard(near), b"for the host", "what was granted is the host's again")


def saferaw(pair, broker, *argv):
    """What the command prints, and its exit status."""
    done = pair.host.popen(program("saferaw"), *argv, stdout=subprocess.PIPE, text=True,
                           env=dict(os.environ, SAFERAW_RUN_DIR=broker.run_dir))
    return done.communicate(timeout=PATIENCE)[0], done.returncode


def test_command():
    """flows, ports and explain know grants."""
    with Pair() as pair, Broker(pair.host, ONE) as broker:
        client = proto.Client(broker.slice(), "games")
        with contextlib.ExitStack() as stack:
            for number, key in ((packets.GRE, 1001), (OSPF, 0)):
                stack.callback(client.open_grant(number, key, local=HOST4).close)
            one, = json.loads(saferaw(pair, broker, "flows", "--json")[0])["slices"]
            tap.equal([(row["protocol"], row["local"]["key"], row["local"]["port"]) for row in one["flows"]],
                      [("gre", 1001, 0), ("89", 0, 0)], "flows")
            one, = json.loads(saferaw(pair, broker, "ports", "--json")[0])["slices"]
            tap.equal(one["grants"], [{"protocol": "gre", "low": 1000, "high": 1003},
                                      {"protocol": "gre", "low": 4294967295, "high": 4294967295},
                                      {"protocol": "89", "low": 0, "high": 0}, {"protocol": "4", "low": 0, "high": 0}], "grants")
            tap.equal({(row["protocol"], row["address"], row["key"], row["port"], row["uid"], *row["kinds"].items())
                       for row in one["ports"]},
                      {("gre", HOST4, 1001, 0, 5, ("consumer", 1)), ("89", HOST4, 0, 0, 5, ("consumer", 1))}, "open ones")
            text = saferaw(pair, broker, "ports")[0]
            tap.check("gre 1000-1003" in text and "192.0.2.1:1001" in text, f"grants for people: {text}")
            tap.check("192.0.2.1:1001" in saferaw(pair, broker, "flows")[0], "flows for people")
        for argument, status in (("gre/1002", 0), ("gre/999", 1), ("protocol/4", 0), ("protocol/88", 1),
                                 (f"gre/{HOST4}:1000", 0), (packets.gre(HOST4, PEER4, 1000).hex(), 0),
                                 (packets.gre(HOST4, PEER4, 999).hex(), 1), (packets.gre(HOST4, PEER4, 0, flags=0).hex(), 1),
                                 (packets.ip(HOST4, PEER4, 4, bytes(20)).hex(), 0), (packets.ip(HOST4, PEER4, 88, bytes(20)).hex(), 1)):
            text, got = saferaw(pair, broker, "explain", argument)
            tap.equal(got, status, f"explain {argument}: {text}")


def test_backstop():
    """A relay that was taken over sends what is granted and open, and nothing else without ports."""
    with Pair() as pair, taken_over(pair, ONE, TWO) as (villain, _):
        villain.scribble()
        slots = villain.slots
        tap.equal(sorted(slots), sorted([(47, key) for key in (1000, 1001, 1002, 1003, 2000, 4294967295)] + [(4, 0), (OSPF, 0)]),
                  "what has slots")
        tap.equal(villain.reserve(slots[47, 1000], kind=proto.GRANT), 0, "a key of its own")
        tap.equal(villain.reserve(slots[OSPF, 0], kind=proto.GRANT), 0, "a protocol of its own")
        for host, peer in PATHS:
            good = packets.gre(host, peer, 1000), packets.ip(host, peer, OSPF, b""), packets.ip(host, peer, OSPF, bytes(9))
            stranger = "2001:db8::77" if ":" in host else "192.0.2.77"
            bad = [packets.gre(host, peer, key) for key in (1001, 2000, 0, 5, 4294967295)]
            bad += [packets.gre(host, peer, 1000, flags=flags) for flags in (0x6000, 0x2001, 0x2800, 0x2400, 0x2007, 0x2002)]
            bad += [packets.gre(host, peer, 0, flags=0), packets.gre(host, peer, 0, flags=0x8000, payload=(1000).to_bytes(4, "big")),
                    packets.gre(stranger, peer, 1000), packets.ip(stranger, peer, OSPF, bytes(20)),
                    packets.ip(host, peer, packets.GRE, b"\x20\0\x08\0\0\0\x03"), packets.ip(host, peer, 88, bytes(20)),
                    packets.ip(host, peer, 4, packets.udp(host, peer, 1, 2)), packets.ip(host, peer, 255, bytes(20))]
            with Witness(pair.peer) as wire:
                for packet in bad:
                    villain.write(packet)
                for packet in good:
                    villain.write(packet)
                tap.check(wire.wait(lambda p, good=good: p.raw == good[-1]), "what is allowed does not leave")
                left = wire.all(lambda p: p.protocol not in (packets.ICMP, packets.ICMPV6))
                tap.equal([p.raw for p in left], list(good), f"what left: {left}")


def test_forged_slot():
    """A slot that stands for nothing of the slice's is not reserved: the relay that asks is ended."""
    for foreign in (4095, 0, None):
        with Pair() as pair, taken_over(pair, ONE, TWO) as (villain, broker):
            slot = villain.slots[47, 2000] if foreign is None else foreign
            try:
                error = villain.reserve(slot, slot or 0, kind=proto.GRANT)
            except ConnectionResetError:
                error = None
            tap.check(error is None or error == errno.EACCES, f"slot {slot}: {error}")
            broker.wait_log("relay: killed: ")


tap.main(test_tunnel, test_both_ways, test_not_granted, test_ownership, test_errors, test_on_one_host, test_reload, test_command,
         test_backstop, test_forged_slot)
