#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The main job: raw TCP and UDP by programs without privilege, judged by real servers, the wire and the kernel's counters."""

import os
import socket
import struct
import subprocess
import tempfile

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Namespace, Pair, family_of
from harness.witness import Witness

PAGE = "a page from a real server, number %d\n"
SILENT = ("TcpOutRsts", "IcmpOutDestUnreachs", "Icmp6OutDestUnreachs")


def serve(namespace, directory, address):
    """python3 -m http.server, ready to answer on port 80."""
    process = namespace.popen("/usr/bin/python3", "-u", "-m", "http.server", "--bind", address, "--directory", directory,
                              "80", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if b"Serving" not in process.stdout.readline():
        raise RuntimeError("http.server did not start")
    return process


def as_nobody(nowhere, *argv):
    """Runs a program as nobody, without a capability, in a namespace without any interface but a dead lo."""
    return nowhere.popen("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all",
                         "--no-new-privs", *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_rawget():
    """rawget, as nobody in an empty network namespace, fetches a page over IPv4 and IPv6 while the host stays silent."""
    with Pair() as pair, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        content = "".join(PAGE % number for number in range(2000))
        with open(os.path.join(directory, "page.txt"), "w", encoding="ascii") as file:
            file.write(content)
        nowhere = Namespace("nowhere")
        nowhere.run("ip", "link", "set", "lo", "down")
        servers = [serve(pair.peer, directory, address) for address in (PEER4, PEER6)]
        section = slice_section(users=("nobody",), extra="overflow_id = yes")
        with Broker(pair.host, section) as broker, Witness(pair.peer, expression="tcp") as witness:
            before = {name: pair.host.counter(name) for name in SILENT}
            for address, source in ((PEER4, HOST4), (PEER6, HOST6)):
                client = as_nobody(nowhere, program("examples/rawget"), "-s", broker.slice(), address, "80", "/page.txt")
                page, errors = client.communicate(timeout=PATIENCE)
                tap.equal(client.returncode, 0, f"rawget's exit status ({errors})")
                tap.check(page.endswith(content), f"the page is not whole: {len(page)} of {len(content)}")
                syn = witness.wait(lambda p, a=address: p.dst == a and p.flags == packets.SYN)
                tap.equal(syn.src, source, "source on the wire")
                tap.check(40000 <= syn.sport <= 40999, f"source port {syn.sport} is not the slice's")
            for name in SILENT:
                tap.equal(pair.host.counter(name), before[name], name)
            tap.equal(witness.all(lambda p: p.flags and p.flags & packets.RST), [], "RSTs on the wire")
        for server in servers:
            server.kill()
            server.wait(PATIENCE)


def received(flow, source):
    """The next packet that a flow receives from an address; a SYN from another may have been sent again meanwhile."""
    while True:
        packet = packets.Packet(flow.recv())
        if packet.src == source:
            return packet


def test_kernel_silent():
    """Segments and datagrams to a held port are answered by nobody but its flow; to a closed one by the kernel, as usual."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flows = [client.open(kind, port=40010) for kind in (proto.TCP, proto.UDP)]
        before = {name: pair.host.counter(name) for name in SILENT}
        for source, target in ((PEER4, HOST4), (PEER6, HOST6)):
            with Witness(pair.host, direction="out") as witness:
                family = socket.AF_INET6 if ":" in target else socket.AF_INET
                probe = pair.peer.socket(family, socket.SOCK_STREAM)
                probe.setblocking(False)
                probe.connect_ex((target, 40010))
                got = received(flows[0], source)
                tap.equal((got.src, got.dst, got.dport, got.flags), (source, target, 40010, packets.SYN), "what the flow got")
                datagram = pair.peer.socket(family, socket.SOCK_DGRAM)
                datagram.sendto(b"question", (target, 40010))
                tap.equal(packets.Packet(flows[1].recv()).payload, b"question", "payload")
                # a closed port of the same range: the kernel answers, which is also the marker
                datagram.sendto(b"question", (target, 40011))
                tap.check(witness.wait(lambda p: p.type in (1, 3)), "no port unreachable for a closed port")
                tap.equal(witness.all(lambda p: p.flags and p.flags & packets.RST), [], "RSTs")
        tap.equal(pair.host.counter("TcpOutRsts"), before["TcpOutRsts"], "TcpOutRsts")
        for name in SILENT[1:]:
            tap.equal(pair.host.counter(name), before[name] + 1, name)


def test_two_slices():
    """Two slices side by side: each gets what is its own, and cannot open the other's ports."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("news",), "41000-41999")) as broker:
        one, two = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("two"), "news")
        tap.equal((one.slice, two.slice), ("one", "two"), "slice names")
        first, second = one.open(proto.UDP, port=40001), two.open(proto.UDP, port=41001)
        tap.raises(13, one.open, proto.UDP, port=41002)
        tap.raises(13, two.open, proto.UDP, port=40002)
        for source, target in ((PEER4, HOST4), (PEER6, HOST6)):
            family = socket.AF_INET6 if ":" in target else socket.AF_INET
            sender = pair.peer.socket(family, socket.SOCK_DGRAM)
            sender.sendto(b"for one", (target, 40001))
            sender.sendto(b"for two", (target, 41001))
            tap.equal(packets.Packet(first.recv()).payload, b"for one", "one's")
            tap.equal(packets.Packet(second.recv()).payload, b"for two", "two's")
            with Witness(pair.peer, expression="udp") as witness:
                first.send(packets.udp(target, source, 40001, 9, b"from one"))
                second.send(packets.udp(target, source, 41001, 9, b"from two"))
                tap.equal(witness.wait(lambda p: p.payload == b"from one").sport, 40001, "one's port")
                tap.equal(witness.wait(lambda p: p.payload == b"from two").sport, 41001, "two's port")
        tap.equal(first.drain() + second.drain(), [], "strays")


def test_icmp_ids():
    """Echo and timestamp by id: requests go out, replies come to the flow, the host answers pings with any id itself."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            flow = client.open(proto.ICMP, port=40077, family=socket.AF_INET6 if ":" in source else socket.AF_INET)
            with Witness(pair.host, direction="out") as witness:
                flow.send(packets.echo(source, target, 40077, 7, b"are you there"))
                reply = packets.Packet(flow.recv())
                tap.equal((reply.src, reply.type, reply.ident, reply.payload),
                          (target, 129 if ":" in source else 0, 40077, b"are you there"), "echo reply")
                raw = pair.peer.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_RAW,
                                       packets.ICMPV6 if ":" in source else packets.ICMP)
                for ident in (40077, 7):
                    message = packets.Packet(packets.echo(target, source, ident, 1, b"host?")).body
                    raw.sendto(message, (source, 0))
                    tap.check(witness.wait(lambda p, i=ident: p.type in (0, 129) and p.ident == i),
                              f"the host did not answer a ping with id {ident}")
            tap.equal(flow.drain(), [], "what the flow got besides")
        flow = client.open(proto.ICMP, local=HOST4, port=40078)
        flow.send(packets.icmp(HOST4, PEER4, 13, 0, struct.pack("!HH", 40078, 1), bytes(12)))
        tap.equal(packets.Packet(flow.recv()).type, 14, "timestamp reply")


def test_errors():
    """ICMP errors about a flow reach it when it asked for them, matched by the inner header, and are counted when not."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            curious = client.open(proto.UDP, local=source, port=40001, flags=proto.ERRORS)
            plain = client.open(proto.UDP, local=source, port=40002)
            for flow in (plain, curious):
                flow.send(packets.udp(source, target, flow.port, 9, b"nobody listens"))
            error = packets.Packet(curious.recv())
            tap.equal((error.src, error.type), (target, 1 if ":" in source else 3), "the error")
            tap.equal(plain.drain(), [], "what the other got")
            tap.equal(client.stats(plain.number)["rx"]["error-unwanted"], 1, "error-unwanted")


# Gets a flow over its standard input, then carries packets between the two
HEIR = """
import select, socket
giver = socket.socket(fileno=0)
flow = socket.socket(fileno=socket.recv_fds(giver, 1, 1)[1][0])
while True:
    ready = select.select([giver, flow], [], [])[0][0]
    packet = ready.recv(65536)
    if not packet:
        break
    (flow if ready is giver else giver).send(packet)
"""


def test_handed_over():
    """A flow that another slice's user was given stays its slice's, works until its last holder ends, and is no wider."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("news",), "41000-41999")) as broker:
        nowhere = Namespace("nowhere")
        giver, watcher = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("one"), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            server = pair.peer.socket(family_of(target), socket.SOCK_DGRAM)
            server.bind((target, 7))
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            heir = nowhere.popen("setpriv", "--reuid=news", "--regid=news", "--clear-groups", "--bounding-set=-all",
                                 "--no-new-privs", "/usr/bin/python3", "-c", HEIR, stdin=there)
            there.close()
            flow = giver.open(proto.UDP, local=source, port=40007)
            socket.send_fds(here, [b"."], [flow.socket.fileno()])
            flow.close()
            # a packet of the heir's own slice's port first: the flow does not carry it
            for port, text in ((41007, b"foreign"), (40007, b"question")):
                here.send(packets.udp(source, target, port, 7, text))
                if port == 40007:
                    question, client = server.recvfrom(100)
                    tap.equal((question, client[:2]), (b"question", (source, 40007)), "what the server got")
                    server.sendto(b"answer", client)
                    tap.equal(packets.Packet(here.recv(65536)).payload, b"answer", "the answer")
            row, = watcher.flows()
            stats = watcher.stats(row[0])
            tap.equal((stats["tx_packets"], stats["rx_packets"], stats["tx"]["port"]), (1, 1, 1), "counted for the flow")
            here.close()
            tap.equal(heir.wait(PATIENCE), 0, "the heir's exit status")
            tap.until(lambda: not watcher.flows(), "the flow outlives its last holder")


tap.main(test_rawget, test_kernel_silent, test_two_slices, test_icmp_ids, test_errors, test_handed_over)
