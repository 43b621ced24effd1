#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Links with everything real: unprivileged users' namespaces, daemon and relay, programs, a router with a far host behind it."""

import contextlib
import errno
import os
import signal
import socket

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.guest import Guest
from harness.link import PYTHON, TWICE, Frames, twice
from harness.tap import check, equal, raises, until
from harness.topology import HOST4, HOST6, Namespace, connect
from harness.witness import Witness

ROUTER4, ROUTER6, FAR4, FAR6 = "192.0.2.254", "2001:db8::fe", "198.51.100.2", "2001:db8:1::2"
ALIAS4, ALIAS6 = "192.0.0.8", "64:ff9b:1::8"
FAMILIES = ((HOST4, FAR4, ALIAS4, ROUTER4, socket.AF_INET), (HOST6, FAR6, ALIAS6, ROUTER6, socket.AF_INET6))
BOTH = slice_section(users=("games", "news"))

# A server inside or outside: says when it listens, answers once with what it got
ECHO = """
import socket, sys
family, kind = (int(word) for word in sys.argv[1:3])
sock = socket.socket(family, kind)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind((sys.argv[3], int(sys.argv[4])))
if kind == socket.SOCK_STREAM:
    sock.listen()
print("listening", flush=True)
while True:
    if kind == socket.SOCK_STREAM:
        peer, address = sock.accept()
        peer.sendall(peer.recv(4096) + repr(address[1]).encode())
        peer.close()
    else:
        data, address = sock.recvfrom(4096)
        sock.sendto(data + repr(address[1]).encode(), address)
"""

# A client: sends, prints the answer; with a local port or 0
CALL = """
import socket, sys
family, kind = (int(word) for word in sys.argv[1:3])
sock = socket.socket(family, kind)
sock.settimeout(60)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("", int(sys.argv[3])))
sock.connect((sys.argv[4], int(sys.argv[5])))
sock.sendall(b"hello ")
print(sock.getsockname()[1], sock.recv(4096).decode())
if kind == socket.SOCK_STREAM:
    sock.recv(1)  # the server ends first: no TIME-WAIT here, in which the next call from the same port could not connect
"""


# Asks an echo server 20 times in a second, from a port that is translated; each question must be answered
ASK = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(60)
sock.bind(("", 777))
sock.connect((sys.argv[1], int(sys.argv[2])))
for number in range(20):
    sock.send(b"%d " % number)
    assert sock.recv(4096).startswith(b"%d " % number), number
    time.sleep(0.05)
"""

# Floods a destination from one port for so many seconds; prints how many packets
FLOOD = """
import socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind(("eth0", 0))
frame = bytes.fromhex(sys.argv[1])
end, count = time.monotonic() + float(sys.argv[2]), 0
print("begins", flush=True)
while time.monotonic() < end:
    try:
        count += sock.send(frame) > 0
    except OSError:
        pass
print(count)
"""


class World:
    """Host, router and far host, and a broker on the host."""

    def __init__(self, *sections):
        self.host, self.router, self.far = (Namespace(role) for role in ("host", "router", "far"))
        connect(self.host, self.router)
        connect(self.router, self.far, "eth1")
        for namespace, device, v4, v6 in ((self.host, "eth0", HOST4, HOST6), (self.router, "eth0", ROUTER4, ROUTER6),
                                          (self.router, "eth1", "198.51.100.1", "2001:db8:1::1"), (self.far, "eth0", FAR4, FAR6)):
            namespace.run("ip", "addr", "add", f"{v4}/24", "dev", device)
            namespace.run("ip", "addr", "add", f"{v6}/64", "dev", device, "nodad")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for namespace, v4, v6 in ((self.host, ROUTER4, ROUTER6), (self.far, "198.51.100.1", "2001:db8:1::1")):
            namespace.run("ip", "route", "add", "default", "via", v4)
            namespace.run("ip", "route", "add", "default", "via", v6)
        self.broker = Broker(self.host, *(sections or (slice_section(),)))
        self.running = []

    def guest(self, user="games", of="one", **more):
        """A user's namespace with a link of a slice."""
        guest = Guest(self.broker.slice(of), user)
        self.running.append(guest)
        guest.link(**more)
        return guest

    def echo(self, where, family, kind, address, port):
        """An echo server, ready."""
        server = where.popen(PYTHON, "-c", ECHO, str(int(family)), str(int(kind)), address, str(port), stdout=-1, text=True)
        self.running.append(server)
        equal(server.stdout.readline(), "listening\n", "server")

    def stop(self):
        """Ends everything."""
        for one in reversed(self.running):
            if isinstance(one, Guest):
                one.close()
            else:
                one.kill()
                one.wait(PATIENCE)
        self.broker.stop()
        for namespace in (self.host, self.router, self.far):
            namespace.delete()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            tap.diagnose(self.broker.log)
        self.stop()


def call(guest, family, kind, port, address, there):
    """Calls an echo server from inside; (own port, port that the server saw)."""
    own, greeting, seen = guest.run(PYTHON, "-c", CALL, str(int(family)), str(int(kind)), str(port), address, str(there)).split()
    equal(greeting, "hello", "the answer")
    return int(own), int(seen)


def next_event(client):
    """The next event that is not about routes."""
    while (event := client.event()) and event[0] == proto.ROUTES:
        pass
    return event


def pool(link, kind):
    """The ports of a class that are for translation."""
    return range(link.blocks[kind][2] + 1, link.blocks[kind][1] + 1)


def test_direct():
    """From the block, chosen by the kernel or by the program, and to it: both families, TCP, UDP, echo; the relay sees nothing of it."""
    with World() as world:
        guest = world.guest()
        lo, _, direct = guest.granted.blocks[0]
        for host, far, _, _, family in FAMILIES:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                world.echo(world.far, family, kind, far, 5000)
                own, seen = call(guest, family, kind, 0, far, 5000)
                check(lo <= own <= direct, f"port {own} of {lo}-{direct}")
                equal(seen, own, "port that the server saw")
                equal(call(guest, family, kind, lo + 3, far, 5000), (lo + 3, lo + 3), "own port, and what the server saw")
                world.echo(guest, family, kind, host, lo + 5)
                caller = world.far.socket(family, kind)
                caller.settimeout(PATIENCE)
                caller.connect((host, lo + 5))
                caller.sendall(b"knock ")
                check(caller.recv(99).startswith(b"knock "), "the answer from inside")
            guest.run("ping", "-c1", "-W50", "-e", str(lo + 7), far)
        row = guest.row()
        equal((row["rx_translated"], row["tx_translated"], row["mappings"]), (0, 0, 0), "what the relay saw")
        check(row["tx_packets"] > 20 and row["rx_packets"] > 20, f"{row}")

        def counts():
            """Of the link and of its slice; more may come between the two: the end of a connection."""
            row, stats = guest.row(), guest.client.stats()
            return [[one[name] for name in ("rx_packets", "tx_packets")] for one in (row, stats)]

        until(lambda: len(set(map(tuple, counts()))) == 1, f"the link's counts are not the slice's: {counts()}")


def test_translated():
    """From ports outside the block: the far side sees one of the pool, and the answer finds back."""
    with World() as world:
        guest = world.guest()
        for host, far, _, _, family in FAMILIES:
            for kind, proto_kind in ((socket.SOCK_STREAM, proto.TCP), (socket.SOCK_DGRAM, proto.UDP)):
                world.echo(world.far, family, kind, far, 5000)
                for port in (777, 50000):
                    own, seen = call(guest, family, kind, port, far, 5000)
                    equal(own, port, "own port")
                    check(seen in pool(guest.granted, proto_kind), f"port {seen} is not of the pool")
                    check((proto_kind, port, seen, 5000, host, far, 0) in guest.client.mappings(guest.granted.number), "no such mapping")
            check("1 received" in guest.run("ping", "-c1", "-W50", "-e", "777", far), f"ping {far}")
        with Witness(world.far) as witness, guest.witness() as inside, Frames(guest) as frames:
            for host, far, _, _, family in FAMILIES:
                equal(frames.packet(packets.tcp(host, far, 1234, 5000, seq=77, ttl=9)), 0, "errno")
                left = witness.wait(lambda packet, f=far: packet.dst == f and packet.seq == 77)
                check(left.sport in pool(guest.granted, proto.TCP) and left.ttl == 8 and left.transport_good(), f"what left: {vars(left)}")
                came = inside.wait(lambda packet, f=far: packet.src == f and packet.dport == 1234)
                check(came.flags == packets.SYN | packets.ACK and came.ack == 78 and came.transport_good(), f"what came: {vars(came)}")


def test_errors():
    """A router's time exceeded, and a far host's port unreachable, come back about the packet as it was sent."""
    with World() as world:
        guest = world.guest()
        with guest.witness("icmp or icmp6") as inside, Frames(guest) as frames:
            for host, far, _, router, _ in FAMILIES:
                size, quoted = (40, 80) if ":" in host else (20, 28)
                for number, sent in enumerate((packets.udp(host, far, 777, 33434, b"x" * 8, ttl=1),
                                               packets.tcp(host, far, 777, 33435, ttl=1), packets.echo(host, far, 777, ttl=1))):
                    equal(frames.packet(sent), 0, "errno")
                    came = inside.wait(lambda p, r=router, s=sent[size - 20:size + 8]: p.src == r and s in p.body)
                    check(came, f"no error {number} from {router}: {[vars(p) for p in inside.seen]}")
                    inner = came.body[8:]
                    equal(inner[size:size + 8], sent[size:size + 8], "quoted transport header")
                    check(came.transport_good(), "checksum of the error")
                sent = packets.udp(host, far, 777, 33436, b"yy")
                equal(frames.packet(sent), 0, "errno")
                came = inside.wait(lambda p, f=far: p.src == f)
                check(came and sent[size:] in came.body and came.transport_good(), f"port unreachable: {came and vars(came)}")
                del quoted
        check("Hop limit" in guest.run("ping", "-c1", "-W50", "-t1", FAR6, check=False), "ping does not say it")
        equal(guest.row()["refused"], 0, "packets that were refused")


def test_fragments():
    """Large pings, in fragments both ways; without the right they do not leave."""
    with World(slice_section(extra="fragments = yes"), slice_section("two", ("news",), "42000-42999")) as world:
        guest, other = world.guest(), world.guest("news", "two")
        for _, far, _, _, _ in FAMILIES:
            check(twice(guest.run("ping", *TWICE, "-s4000", "-e", "777", far)), f"ping {far}")
            check("0 received" in other.run("ping", "-c1", "-W1", "-s4000", "-e", "777", far, check=False), f"ping {far}")
        check(guest.row()["tx_translated"] >= 12, f"{guest.row()}")
        equal(other.row()["tx_translated"], 0, "fragments that left")


def test_host():
    """The host's own services at their alias, for a slice that is local; refused for another."""
    with World(slice_section(extra="local = yes"), slice_section("two", ("news",), "42000-42999")) as world:
        guest, other = world.guest(), world.guest("news", "two")
        equal((guest.granted.local, other.granted.local), (True, False), "local")
        lo = guest.granted.blocks[0][0]
        for host, _, alias, _, family in FAMILIES:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                world.echo(world.host, family, kind, host, 5000)
                for port in (0, 777, lo + 1):
                    _, seen = call(guest, family, kind, port, alias, 5000)
                    check(seen in pool(guest.granted, proto.TCP), f"port {seen}")
            check("1 received" in guest.run("ping", "-c1", "-W50", alias), f"ping {alias}")
            check("0 received" in other.run("ping", "-c1", "-W1", alias, check=False), f"ping {alias}")
        check(all(mapping[6] for mapping in guest.client.mappings(guest.granted.number)), "mappings are not the host's")
        check(other.row()["refused"] >= 2, "not counted")


def test_strict():
    """A strict link is not translated: what comes from outside its block does not leave, and is counted."""
    with World() as world:
        guest = world.guest(flags=proto.STRICT)
        lo, hi, direct = guest.granted.blocks[0]
        equal(hi, direct, "ports for translation")
        with Witness(world.far) as witness, Frames(guest) as frames:
            for host, far, _, _, _ in FAMILIES:
                frames.packet(packets.tcp(host, far, 777, 5000, seq=66))
                frames.packet(packets.tcp(host, far, hi, 5000, seq=67))
                check(witness.wait(lambda p, f=far: p.dst == f and p.seq == 67 and p.sport == hi), "a port of the block")
            equal(witness.all(lambda p: p.seq == 66), [], "what left")
        equal((guest.row()["refused"], guest.row()["created"]), (2, 0), "refused, mappings")
        equal(lo % 16, 0, "block")


def test_two():
    """Two users' links at once: blocks of their own, and one that floods its pool costs the other nothing."""
    with World(BOTH) as world:
        guest, other = world.guest(count=32), world.guest("news", count=32)
        check(guest.granted.blocks[0][1] < other.granted.blocks[0][0] or other.granted.blocks[0][1] < guest.granted.blocks[0][0], "blocks")
        world.echo(world.far, socket.AF_INET, socket.SOCK_DGRAM, FAR4, 5000)
        with Witness(world.far, expression="udp port 5001") as witness, Frames(guest) as frames:
            for port in range(1000, 1040):
                frames.packet(packets.udp(HOST4, FAR4, port, 5001))
            until(lambda: guest.row()["exhausted"] + guest.row()["displaced"] >= 32, f"not counted: {guest.row()}")
            equal(call(other, socket.AF_INET, socket.SOCK_DGRAM, 777, FAR4, 5000)[0], 777, "the other link")
            row = guest.row()
            frames.packet(packets.udp(HOST4, FAR4, guest.granted.blocks[proto.UDP][0], 5001, b"marker"))
            check(witness.wait(lambda p: p.payload == b"marker"), "no marker")
            until(lambda: len(witness.all(lambda p: p.payload != b"marker")) >= 8, "not all that left has arrived")
            sources = {packet.sport for packet in witness.all(lambda p: p.payload != b"marker")}
        equal((row["mappings"], len(sources)), (8, 8), "mappings, and what left")
        check(sources <= set(pool(guest.granted, proto.UDP)), f"{sources}")
        equal(guest.client.stats()["tx"]["napt-exhausted"], row["exhausted"], "slice's count")


def test_flood():
    """A link that floods the relay loses its own packets, counted; one of another slice loses none of its translated ones."""
    with World(slice_section(), slice_section("two", ("news",), "42000-42999")) as world:
        guest, other = world.guest(), world.guest("news", "two")
        world.echo(world.far, socket.AF_INET, socket.SOCK_DGRAM, FAR4, 5000)
        frame = bytes.fromhex("02000000ffff0200000000010800") + packets.udp(HOST4, FAR4, 777, 5001)
        flood = guest.popen(PYTHON, "-c", FLOOD, frame.hex(), "2", stdout=-1, text=True)
        equal(flood.stdout.readline(), "begins\n", "flood")
        other.run(PYTHON, "-c", ASK, FAR4, "5000")
        sent = int(flood.communicate()[0]) - guest.lost()
        until(lambda: guest.row()["refused"] + guest.row()["tx_translated"] == sent, f"{sent} sent, {guest.row()}")
        equal((other.row()["refused"], other.row()["tx_translated"]), (0, 20), "refused, translated")


def test_reload():
    """A reload that fits leaves a link alone; one that takes ports or the user away ends it, and the client is told."""
    wide, narrow = slice_section(users=("games", "news")), slice_section(users=("games", "news"), ports="41000-41999")
    with World(wide) as world:
        guest = world.guest()
        world.echo(world.far, socket.AF_INET, socket.SOCK_STREAM, FAR4, 5000)
        world.broker.reload(wide, slice_section("two", ("daemon",), "45000-45999"))
        call(guest, socket.AF_INET, socket.SOCK_STREAM, 0, FAR4, 5000)
        call(guest, socket.AF_INET, socket.SOCK_STREAM, 777, FAR4, 5000)
        world.broker.reload(narrow)
        equal(next_event(guest.client), (proto.UNLINKED, guest.granted.number, None), "event")
        until(lambda: guest.index() == 0, "the device stays")
        equal(guest.client.links(), [], "links")
        check(guest.link().blocks[0][0] >= 41000, "another block")
        # not from the port of the call before: its last segment may have had no link to leave by, and is sent again and again
        call(guest, socket.AF_INET, socket.SOCK_STREAM, 778, FAR4, 5000)
        world.broker.reload(slice_section(users=("news",), ports="41000-41999"))
        raises(errno.ECONNRESET, next_event, guest.client)
        until(lambda: guest.index() == 0, "the device stays")
        equal(world.broker.relay_pid() is not None and world.broker.log.count("relay: ready"), 1, "relays so far")


def test_addresses():
    """An address that the host gets later is the link's too; one that it loses can send nothing."""
    with World() as world:
        guest = world.guest()
        world.echo(world.far, socket.AF_INET, socket.SOCK_DGRAM, FAR4, 5000)
        world.host.run("ip", "addr", "add", "192.0.2.33/24", "dev", "eth0")
        equal(next_event(guest.client), (proto.ADDRESS_BACK, 0, "192.0.2.33"), "event")
        guest.run("ip", "addr", "add", "192.0.2.33/32", "dev", "eth0")
        guest.run("ip", "route", "change", "default", "via", "169.254.0.1", "dev", "eth0", "onlink", "src", "192.0.2.33")
        for port in (0, 777):
            call(guest, socket.AF_INET, socket.SOCK_DGRAM, port, FAR4, 5000)
        check(guest.client.mappings(guest.granted.number)[0][4] == "192.0.2.33", "the mapping's address")
        world.host.run("ip", "addr", "del", "192.0.2.33/24", "dev", "eth0")
        equal(next_event(guest.client), (proto.ADDRESS_GONE, 0, "192.0.2.33"), "event")
        before = guest.row()
        with Frames(guest) as frames:
            for port in (777, guest.granted.blocks[1][0]):
                frames.packet(packets.udp("192.0.2.33", FAR4, port, 5000))
        until(lambda: guest.row()["refused"] == before["refused"] + 2, f"{before} {guest.row()}")


def test_relay_killed():
    """kill -9 of the relay: the conversation ends, the same user gets the same block again in time, nobody else does."""
    with World(BOTH) as world:
        guest, other = world.guest(), world.guest("news")
        blocks, first = guest.granted.blocks, guest.index()
        os.kill(world.broker.relay_pid(), signal.SIGKILL)
        raises(errno.ECONNRESET, next_event, guest.client)
        until(lambda: guest.index() == 0, "the device stays")
        ports = tuple(block[0] for block in blocks)
        thief = other.talk()
        raises(errno.EADDRINUSE, thief.link, ports=ports)
        thief.close()
        equal(guest.link(ports=ports).blocks, blocks, "blocks")
        check(guest.index() != first, "a new device")
        for _, far, _, _, family in FAMILIES:
            world.echo(world.far, family, socket.SOCK_STREAM, far, 5000)
            call(guest, family, socket.SOCK_STREAM, 0, far, 5000)
            call(guest, family, socket.SOCK_STREAM, 777, far, 5000)


def test_client_killed():
    """kill -9 of the client: device, namespace and ports go; a conversation that ends takes its link along, and nothing else."""
    with World() as world:
        devices = lambda: [line for line in world.host.run("ip", "-o", "link").splitlines() if "saferaw0l" in line]  # noqa: E731
        before = len(devices())
        guest, stays = world.guest(), world.guest()
        equal(len(devices()), before + 2, "devices")
        guest.client.close()
        until(lambda: len(devices()) == before + 1 and guest.index() == 0, f"the device stays: {devices()}")
        guest.link()
        guest.client.socket.close()
        guest.process.kill()
        guest.process.wait(PATIENCE)
        until(lambda: len(devices()) == before + 1, f"the device stays: {devices()}")
        equal([row["link"] for row in stays.client.links()], [stays.granted.number], "links")
        world.echo(world.far, socket.AF_INET, socket.SOCK_STREAM, FAR4, 5000)
        call(stays, socket.AF_INET, socket.SOCK_STREAM, 777, FAR4, 5000)
        with contextlib.suppress(OSError):
            stays.run("ip", "link", "delete", "eth0")
        equal(next_event(stays.client), (proto.UNLINKED, stays.granted.number, None), "event")
        check(stays.client.link(), "another link in the same conversation")


if __name__ == "__main__":
    tap.main(test_direct, test_translated, test_errors, test_fragments, test_host, test_strict, test_two, test_flood, test_reload, test_addresses, test_relay_killed,
             test_client_killed)
