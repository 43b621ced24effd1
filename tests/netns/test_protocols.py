#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ports of SCTP, DCCP and UDP-Lite: flows, refusals, the host's own sockets, the backstop.

The kernel's UDP-Lite sockets are witnesses where it has them. SCTP and DCCP packets are made by hand at both ends: raw
sockets need no support of the kernel's, and nothing here makes it load any.
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
PORTS = "\n".join(f'  {name} = {{"40000-40999"}}' for name in ("sctp", "dccp", "udplite"))
KINDS = ((proto.SCTP, packets.SCTP, packets.sctp), (proto.DCCP, packets.DCCP, packets.dccp),
         (proto.UDPLITE, packets.UDPLITE, packets.udplite))
UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV = 10, 11


def kernel_has(name):
    """Whether the kernel lists a protocol; asking for a socket could load it."""
    with open("/proc/net/protocols", encoding="ascii") as file:
        return any(line.split()[0] == name for line in file)


def speaks(number):
    """Whether the kernel speaks SCTP or DCCP: then it answers a packet for a port without a socket itself."""
    return kernel_has({packets.SCTP: "SCTP", packets.DCCP: "DCCP"}.get(number, "nothing"))


def next_with(flow, body):
    """The next packet with that body that the flow gets, behind what the far kernel may have to say; None when none comes."""
    while (data := flow.recv()) and packets.Packet(data).body != body:
        pass
    return data and packets.Packet(data)


def lite_socket(namespace, address, port=0):
    """A bound UDP-Lite socket of the kernel's."""
    return namespace.bound(address, port, protocol=packets.UDPLITE)


def test_every_port_protocol():
    """Packets of each protocol pass both ways, unchanged, in both families; the host answers none and sees none."""
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS)) as broker:
        client = proto.Client(broker.slice(), "games")
        for kind, number, make in KINDS:
            for host, peer in PATHS:
                flow = client.open(kind, local=host, port=40001)
                out, back = make(host, peer, 40001, 9), make(peer, host, 9, 40001)
                with Witness(pair.peer) as wire, Witness(pair.peer, direction="out") as away, \
                        pair.peer.socket(family_of(peer), socket.SOCK_RAW, number) as far, \
                        pair.host.socket(family_of(host), socket.SOCK_RAW, number) as near:
                    flow.send(out)
                    tap.check(wire.wait(lambda p, out=out: p.raw == out), f"protocol {number} did not leave unchanged")
                    far.sendto(packets.Packet(back).body, (host, 0))
                    body = packets.Packet(back).body
                    got = next_with(flow, body)
                    sent = away.wait(lambda p, body=body: p.body == body)
                    tap.check(got and (got.src, got.dst) == (peer, host), f"protocol {number}: {got}")
                    tap.equal(got.raw, sent and sent.raw, "what arrived, and what was on the wire")
                    near.setblocking(False)
                    tap.raises(errno.EAGAIN, near.recv, 100)
                    far.sendto(packets.Packet(make(peer, host, 9, 40002)).body, (host, 0))  # no flow: the host's
                    near.settimeout(PATIENCE)
                    tap.check(near.recv(200)[-8:] == out[-8:] or number == packets.UDPLITE, "what the host gets")
                    tap.check(flow.recv(0) is None, "the flow gets another port's packet")
                flow.close()


def test_udplite_sockets():
    """A flow and a kernel's UDP-Lite socket talk, with full and partial checksums; a source left open is filled in."""
    if not kernel_has("UDP-Lite"):
        tap.diagnose("the kernel has no UDP-Lite: nothing to talk to")
        return
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS)) as broker:
        client = proto.Client(broker.slice(), "games")
        for host, peer in PATHS:
            flow, far = client.open(proto.UDPLITE, local=host, port=40001), lite_socket(pair.peer, peer, 9)
            far.setsockopt(packets.UDPLITE, UDPLITE_RECV_CSCOV, 8)
            zero = "::" if ":" in host else "0.0.0.0"
            for coverage in (0, 8, 11, 15):
                flow.send(packets.udplite(host, peer, 40001, 9, b"saferaw", coverage))
                data, where = far.recvfrom(100)
                tap.equal((data, where[:2]), (b"saferaw", (host, 40001)), f"coverage {coverage}")
                flow.send(packets.udplite(zero, peer, 40001, 9, b"no source", coverage))
                tap.equal(far.recv(100), b"no source", f"source filled in, coverage {coverage}")
                far.setsockopt(packets.UDPLITE, UDPLITE_SEND_CSCOV, coverage)
                far.sendto(b"and back", (host, 40001))
                want = packets.Packet(packets.udplite(peer, host, 9, 40001, b"and back", coverage))
                tap.equal(packets.Packet(flow.recv()).body, want.body, f"the answer, coverage {coverage}")
            far.close()
            flow.close()


def test_errors():
    """The kernel's port unreachable about a UDP-Lite datagram, and a protocol unreachable about SCTP, reach the flow.

    So does the answer of a kernel that speaks SCTP.
    """
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS)) as broker:
        client = proto.Client(broker.slice(), "games")
        for kind, number, make in KINDS:
            for host, peer in PATHS:
                flow = client.open(kind, local=host, port=40001, flags=proto.ERRORS)
                sent = make(host, peer, 40001, 9)
                flow.send(sent)
                error = packets.Packet(flow.recv())
                if speaks(number):
                    tap.equal((error.protocol, error.src), (number, peer), "the answer")
                    flow.close()
                    continue
                tap.check(error.protocol in (packets.ICMP, packets.ICMPV6), f"protocol {number}: {error}")
                tap.check(error.payload.startswith(sent[:8]) or error.version == 4, "what it quotes")
                tap.equal(error.payload[40 if error.version == 6 else 20:][:4], sent[40 if error.version == 6 else 20:][:4],
                          "the ports that it quotes")
                flow.close()


def test_refused():
    """Foreign ports, other protocols and broken headers are refused by name; ports are owned for each protocol apart."""
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS), slice_section(
            "two", ("news",), "41000-41999", 'sctp = {"41000-41999"}')) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        tap.raises(errno.EACCES, client.open, proto.SCTP, port=41000)
        tap.raises(errno.EACCES, other.open, proto.UDPLITE, port=41000)
        tap.raises(errno.EINVAL, client.open, 200, port=40001)
        for kind, number, make in KINDS:
            for host, peer in PATHS:
                flow = client.open(kind, local=host, port=40001)
                good = make(host, peer, 40001, 9)
                head = 40 if ":" in host else 20
                bad = [("port", make(host, peer, 40002, 9)), ("source", make(peer, peer, 40001, 9)),
                       ("protocol", packets.udp(host, peer, 40001, 9)),
                       ("transport", packets.ip(host, peer, number, good[head:head + 7]))]
                if kind == proto.UDPLITE:
                    bad.append(("transport", packets.udplite(host, peer, 40001, 9, coverage=7)))
                if kind == proto.DCCP:
                    bad.append(("transport", packets.dccp(host, peer, 40001, 9, coverage=4)))
                with Witness(pair.peer) as wire:
                    for reason, packet in bad:
                        before = client.stats(flow.number)["tx"][reason]
                        flow.send(packet)
                        deadline = time.monotonic() + PATIENCE
                        while (now := client.stats(flow.number))["tx"][reason] == before:
                            tap.check(now["tx_packets"] == 0 and time.monotonic() < deadline, f"{reason} passes")
                    flow.send(good)
                    tap.check(wire.wait(lambda p, good=good: p.raw == good), "the good one does not leave")
                    tap.equal(len(wire.all(lambda p, number=number: p.protocol in (number, packets.UDP))), 1, "what left")
                flow.close()


def test_host_sockets():
    """A kernel UDP-Lite socket in the range works where no flow is, and is in a flow's way; a held port answers nobody."""
    if not kernel_has("UDP-Lite"):
        tap.diagnose("the kernel has no UDP-Lite: nothing is held")
        return
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS)) as broker:
        client = proto.Client(broker.slice(), "games")
        for host, peer in PATHS:
            near, far = lite_socket(pair.host, host, 40005), lite_socket(pair.peer, peer)
            far.sendto(b"to the host", (host, 40005))
            tap.equal(near.recv(100), b"to the host", "what the kernel's socket gets")
            tap.raises(errno.EADDRINUSE, client.open, proto.UDPLITE, local=host, port=40005)
            near.close()
            flow = client.open(proto.UDPLITE, local=host, port=40005)
            tap.raises(errno.EADDRINUSE, lite_socket, pair.host, host, 40005)
            flow.close()


def saferaw(pair, broker, *argv):
    """What the command prints, and its exit status."""
    done = pair.host.popen(program("saferaw"), *argv, stdout=subprocess.PIPE, text=True,
                           env=dict(os.environ, SAFERAW_RUN_DIR=broker.run_dir))
    return done.communicate(timeout=PATIENCE)[0], done.returncode


def test_command():
    """flows, ports and explain know the protocols by name."""
    with Pair() as pair, Broker(pair.host, slice_section(extra=PORTS)) as broker:
        client = proto.Client(broker.slice(), "games")
        with contextlib.ExitStack() as stack:
            for kind, _, _ in KINDS:
                stack.callback(client.open(kind, local=HOST4, port=40001).close)
            one, = json.loads(saferaw(pair, broker, "flows", "--json")[0])["slices"]
            tap.equal([row["protocol"] for row in one["flows"]], ["sctp", "dccp", "udplite"], "flows")
            one, = json.loads(saferaw(pair, broker, "ports", "--json")[0])["slices"]
            tap.equal(sorted(row["protocol"] for row in one["ports"]), ["dccp", "sctp", "udplite"], "ports")
            tap.check("udplite 40000-40999" in saferaw(pair, broker, "ports")[0], "ranges for people")
        tap.equal(saferaw(pair, broker, "explain", "dccp/40002")[1], 0, "a free port")
        tap.equal(saferaw(pair, broker, "explain", "dccp/41000")[1], 1, "a foreign one")
        packet = packets.sctp(HOST4, PEER4, 40007, 9)
        text, status = saferaw(pair, broker, "explain", packet.hex())
        tap.check(status == 0 and "sctp" in text, f"a packet: {text}")


def test_backstop():
    """A relay that was taken over sends these protocols from held ports alone, of the very protocol."""
    with Pair() as pair, taken_over(pair, slice_section(extra=PORTS)) as (villain, _):
        villain.scribble()
        for kind, _, make in KINDS:
            tap.equal(villain.reserve(40010 + kind, kind=kind), 0, "a port of its own")
            with Witness(pair.peer) as wire:
                for host, peer in PATHS:
                    for other, _, forge in KINDS:
                        for port in {40001, 40010 + kind, 40999, 22} - {40010 + other}:
                            villain.write(forge(host, peer, port, 9))
                    villain.write(packets.udp(host, peer, 40010 + kind, 9))
                    villain.write(make("2001:db8::77" if ":" in host else "192.0.2.77", peer, 40010 + kind, 9))
                    marker = make(host, peer, 40010 + kind, 9)
                    villain.write(marker)
                    tap.check(wire.wait(lambda p, marker=marker: p.raw == marker), "what is allowed does not leave")
                left = wire.all(lambda p: p.protocol not in (packets.ICMP, packets.ICMPV6))
                tap.equal(len(left), 2, f"what left: {left}")


tap.main(test_every_port_protocol, test_udplite_sockets, test_errors, test_refused, test_host_sockets, test_command, test_backstop)
