#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""hold = always: a slice's whole range is held from the start, through reloads and the relay's death, as far as it can be."""

import errno
import os
import signal
import socket
import threading

from harness import PATIENCE, packets, proto, rogue, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, Pair
from harness.witness import Witness

ALWAYS = "hold = always"
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
KINDS = ((V4, TCP, HOST4), (V4, UDP, HOST4), (V6, TCP, HOST6), (V6, UDP, HOST6))


def section(extra=ALWAYS, ports="40000-40019", **more):
    """A slice section with a small range."""
    return slice_section(ports=ports, extra=extra, **more)


def taken(pair, family, kind, address, port, protocol=0):
    """A socket of the host on that port, or None when it is held."""
    sock = pair.host.socket(family, kind, protocol)
    try:
        sock.bind((address, port))
    except OSError as caught:
        tap.equal(caught.errno, errno.EADDRINUSE, "errno of bind")
        sock.close()
        return None
    return sock


def held(pair, ports, expected, kinds=KINDS, text=""):
    """Checks that the ports are held, or that they are free, for every kind of socket."""
    for port in ports:
        for family, kind, address in kinds:
            sock = taken(pair, family, kind, address, port)
            tap.equal(sock is None, expected, f"{text} {kind.name} {address} port {port} is held")
            if sock:
                sock.close()


def wait_held(pair, port, expected, kind=KINDS[1]):
    """Waits until a port is held, or free."""
    def is_held():
        sock = taken(pair, *kind, port)
        if sock:
            sock.close()
        return sock is None

    tap.until(lambda: is_held() == expected, f"port {port} does not become {'held' if expected else 'free'}")


def test_from_the_start():
    """Every port and id is held, in both families, silent, before anybody has opened it; flows work as ever."""
    with Pair() as pair:
        pair.host.sysctl("net/ipv4/ping_group_range", "0 2147483647")
        with Broker(pair.host, section()) as broker:
            held(pair, range(40000, 40020), True)
            held(pair, (39999, 40020), False)
            tap.check(taken(pair, V4, UDP, "0.0.0.0", 40003, socket.IPPROTO_ICMP) is None, "an id is free")
            tap.check(taken(pair, V4, UDP, "0.0.0.0", 39000, socket.IPPROTO_ICMP), "an id outside the range is not")
            caller = pair.peer.socket(V4, UDP)
            for port in range(40000, 40020):
                caller.sendto(b"anybody there?", (HOST4, port))
            knock = pair.peer.socket(V4, TCP)
            knock.setblocking(False)
            tap.equal(knock.connect_ex((HOST4, 40000)), errno.EINPROGRESS, "connect")
            client = proto.Client(broker.slice(), "games")
            flow = client.open(proto.UDP, local=HOST4, port=40001)
            caller.sendto(b"hello", (HOST4, 40001))
            tap.equal(packets.Packet(flow.recv()).payload, b"hello", "what the flow gets")
            tap.equal([pair.host.counter(name) for name in ("TcpOutRsts", "IcmpOutDestUnreachs")], [0, 0], "the host's answers")
            wide = client.open(proto.TCP, port=40010, count=5)
            flow.close()
            wide.close()
        held(pair, (40000, 40019), False, text="after the end")


def test_stays_held():
    """Closed, its quarantine over, and the relay dead and back: the ports are held all the time."""
    with Pair() as pair, Broker(pair.host, section(), top="quarantine = 100\ngrace = 100\n") as broker:
        client = proto.Client(broker.slice(), "games")
        client.open(proto.UDP, local=HOST4, port=40001).close()
        client.open(proto.TCP, port=40002).close()
        threading.Event().wait(1.5)
        held(pair, (40001, 40002), True, text="after the quarantine")
        flow = client.open(proto.UDP, port=40003)
        os.kill(broker.relay_pid(), signal.SIGKILL)
        tap.equal(flow.recv(), b"", "the flow ends")
        broker.wait_log("relay: ready", 2)
        threading.Event().wait(1.5)
        held(pair, range(40000, 40020), True, text="after the relay")
        proto.Client(broker.slice(), "games").open(proto.UDP, port=40003)


def test_reload():
    """Ranges that come are held at once, those that go are free at once, and so with the key itself."""
    with Pair() as pair, Broker(pair.host, section("hold = open")) as broker:
        held(pair, (40000, 40019), False, text="hold = open:")
        broker.reload(section())
        held(pair, range(40000, 40020), True, text="hold = always:")
        flow = proto.Client(broker.slice(), "games").open(proto.UDP, local=HOST4, port=40010)
        broker.reload(section(ports="40010-40029"))
        held(pair, (40000, 40009), False, text="gone:")
        held(pair, range(40010, 40030), True, text="another range:")
        tap.check(flow.recv(0) is None, "the flow that fits has ended")
        broker.reload(section("hold = open", ports="40010-40029"))
        held(pair, (40011, 40029), False, text="hold = open again:")
        held(pair, (40010,), True, (KINDS[1],), text="a flow's port:")
        broker.reload(section("hold = open", ports="40010-40029"), section(name="two", users=("news",), ports="41000-41003"))
        held(pair, range(41000, 41004), True, text="a new slice:")
        broker.reload(section("hold = open", ports="40010-40029"))
        held(pair, range(41000, 41004), False, text="a slice that is gone:")


def test_in_the_way():
    """A socket of the host in the range is named in the log; the rest is held; a reload tries again."""
    with Pair() as pair:
        first = taken(pair, V4, TCP, HOST4, 40005)
        first.listen()
        second = taken(pair, V6, UDP, HOST6, 40006)
        with Broker(pair.host, section()) as broker:
            for port in (40005, 40006):
                tap.check(f" {port} " in broker.log, f"{port} is not named in the log:\n{broker.log}")
            held(pair, [port for port in range(40000, 40020) if port not in (40005, 40006)], True)
            held(pair, (40005,), True, (KINDS[1], KINDS[2], KINDS[3]), "the rest of 40005:")
            held(pair, (40006,), True, (KINDS[0], KINDS[1], KINDS[2]), "the rest of 40006:")
            client = proto.Client(broker.slice(), "games")
            tap.raises(errno.EADDRINUSE, client.open, proto.TCP, local=HOST4, port=40005)
            client.open(proto.UDP, local=HOST4, port=40006)
            first.close()
            second.close()
            held(pair, (40005,), False, (KINDS[0],), "before the reload:")
            broker.reload(section())
            held(pair, range(40000, 40020), True, text="after the reload:")
            client.open(proto.TCP, local=HOST4, port=40005)


def test_addresses():
    """Of a slice with addresses of its own those alone are held, and later ones when they come."""
    with Pair() as pair, Broker(pair.host, section(f'{ALWAYS}\n  addresses = {{"{HOST4}", "192.0.2.77"}}')) as broker:
        held(pair, (40000, 40019), True, KINDS[:2])
        held(pair, (40000, 40019), False, KINDS[2:])
        pair.host.run("ip", "addr", "add", "192.0.2.77/24", "dev", "eth0")
        wait_held(pair, 40000, True, (V4, UDP, "192.0.2.77"))
        held(pair, range(40000, 40020), True, ((V4, UDP, "192.0.2.77"), (V4, TCP, "192.0.2.77")))
        proto.Client(broker.slice(), "games").open(proto.UDP, local="192.0.2.77", port=40000)


class Limited:
    """A namespace in which what is started may open few files."""

    def __init__(self, namespace, files):
        self.namespace, self.files = namespace, files

    def popen(self, *argv, **more):
        """Namespace.popen() under the limit."""
        return self.namespace.popen("prlimit", f"--nofile={self.files}:{self.files}", *argv, **more)


def test_limit_of_files():
    """A range that needs more files than there may be is refused with a sentence, at start and at reload."""
    with Pair() as pair, Broker(Limited(pair.host, 1024), section(ports="40000-40999"), start=False) as broker:
        try:
            broker.start()
        except RuntimeError as caught:
            tap.check("3000 ports" in str(caught) and "RLIMIT_NOFILE) is 1024" in str(caught), f"it says {caught}")
        else:
            raise tap.Failure("it starts")
        broker.process.wait(PATIENCE)
        broker.process = None
        broker.configure(section(ports="40000-40199"))
        broker.start()
        broker.reload(section(ports="40000-40999"))
        tap.check("stays as it was" in broker.log, "a reload that does not fit is taken")
        held(pair, (40000, 40199), True)
        held(pair, (40200,), False)


def test_backstop():
    """Held is not open: a relay that was taken over sends from no port of the range that no flow has."""
    with Pair() as pair:
        villain = rogue.Rogue()
        broker = Broker(pair.host, section(), start=False, relay=villain.program)
        thread = threading.Thread(target=villain.take_over)
        thread.start()
        try:
            broker.start()
            thread.join()
            with Witness(pair.peer, expression="udp") as witness:
                os.write(villain.tun, packets.udp(HOST4, PEER4, 40001, 9, b"held alone"))
                tap.equal(villain.reserve(40002), 0, "reserve")
                os.write(villain.tun, packets.udp(HOST4, PEER4, 40002, 9, b"a flow's"))
                tap.check(witness.wait(lambda p: p.payload == b"a flow's"), "a reserved port does not work")
                tap.equal(witness.all(lambda p: p.sport == 40001), [], "what got out")
        finally:
            villain.let_go()
            broker.stop()
            villain.close()


tap.main(test_from_the_start, test_stays_held, test_reload, test_in_the_way, test_addresses, test_limit_of_files,
         test_backstop, modes=("auto",))
