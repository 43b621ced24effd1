#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Nobody starves another: clients that do not read, floods from outside, floods from inside."""

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import threading
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, PEER4, Pair
from harness.witness import Witness


def numbered(flow, count, seconds=PATIENCE):
    """The numbers in the payloads of the next count packets of flow."""
    numbers = []
    while len(numbers) < count:
        raw = flow.recv(seconds)
        if not raw:
            break
        numbers.append(struct.unpack("!I", packets.Packet(raw).payload[:4])[0])
    return numbers


def test_slow_reader():
    """A flow that is never read loses its own packets, counted; a flow of the same client loses none."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        deaf, good = client.open(proto.UDP, local=HOST4, port=40001), client.open(proto.UDP, local=HOST4, port=40002)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range(2000):
            sender.sendto(struct.pack("!I", number), (HOST4, 40001))
            if number % 10 == 0:
                sender.sendto(struct.pack("!I", number), (HOST4, 40002))
                tap.equal(numbered(good, 1), [number], "the good reader's packet")
        refused = client.stats(deaf.number)
        tap.check(refused["rx"]["queue-full"] > 0, "no queue-full counted")
        tap.equal(refused["rx"]["queue-full"] + refused["rx_packets"], 2000, "counted in all")
        tap.equal(client.stats(good.number)["rx"]["queue-full"], 0, "the good reader's losses")


def test_replies_unread():
    """A client that never reads its replies is not served on; others are, and fds in flight do not pile up."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="clients = 200")) as broker:
        stallers = [proto.Client(broker.slice(), "games") for _ in range(100)]
        for number, staller in enumerate(stallers):
            staller.socket.settimeout(0)
            for ident in range(200):
                try:
                    staller.socket.send(proto.OPEN_REQUEST.pack(
                        proto.OPEN, 56, ident, 1, proto.UDP, socket.AF_INET, 0, 40000 + number * 5 + ident % 5, 1,
                        proto.mapped(HOST4), proto.mapped(PEER4), 1 + ident))
                except BlockingIOError:
                    break
        client = proto.Client(broker.slice(), "games")
        flows = [client.open(proto.UDP, local=HOST4, port=40900 + number) for number in range(50)]
        tap.equal(len(flows), 50, "flows that the good client got")
        rows = client.flows()
        tap.check(len(rows) <= 50 + len(stallers), f"{len(rows) - 50} flows for {len(stallers)} clients that read nothing")


def test_flood_at_one_slice():
    """A flood from outside at one slice, whose reader sleeps, costs another slice no packet."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("news",), "41000-41999")) as broker:
        one, two = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("two"), "news")
        victim, quiet = one.open(proto.UDP, local=HOST4, port=40001), two.open(proto.UDP, local=HOST4, port=41001)
        flood = pair.peer.popen("/usr/bin/python3", "-c", f"""
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("{HOST4}", 40001))
os.write(1, b"x")
while True:
    try:
        s.send(b"flood")
    except OSError:
        pass
""", stdout=-1)
        flood.stdout.read(1)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        lost = 0
        for number in range(1000):
            sender.sendto(struct.pack("!I", number), (HOST4, 41001))
            lost += numbered(quiet, 1) != [number]
        flood.kill()
        flood.wait(PATIENCE)
        flood.stdout.close()
        tap.equal(lost, 0, "packets that the other slice lost")
        tap.check(victim.recv(1), "the flooded slice itself gets packets")


def at_most(seconds):
    """How many packets may pass at 100 a second in that time, with the tenth of a second that a burst may run ahead."""
    return 100 * (seconds + 0.1) * 1.1 + 2


def test_receive_limit():
    """packets_in: what is over the slice's limit is dropped in the kernel, counted as steer-in-rate."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="packets_in = 100")) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, local=HOST4, port=40001)

        def counted():
            stats = client.stats()
            return stats["steer"][0], stats["rx_packets"] + stats["rx"]["queue-full"]

        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        begun = time.monotonic()
        for _ in range(1000):
            sender.sendto(b"too many", (HOST4, 40001))
        tap.until(lambda: sum(counted()) >= 1000, "not all are dropped or received")
        most = at_most(time.monotonic() - begun)
        dropped, received = counted()
        tap.equal(dropped + received, 1000, "dropped and received")
        tap.check(5 <= received <= most, f"{received} received, want 5 to {most}")
        flow.close()


def test_flood_by_one_client():
    """A client that sends as fast as it can does not keep another's packet from the wire."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("news",), "41000-41999")) as broker:
        one, two = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("two"), "news")
        loud = [one.open(proto.UDP, local=HOST4, port=40001 + number) for number in range(20)]
        quiet = two.open(proto.UDP, local=HOST4, port=41001)
        # at the host's own end: what the peer's receive queue loses under the flood is not the broker's doing
        with Witness(pair.host, expression="udp src port 41001", direction="out") as witness:
            for flow in loud:
                flow.socket.setblocking(False)
            for number in range(100):
                for flow in loud:
                    packet = packets.udp(HOST4, PEER4, flow.port, 9, b"loud")
                    try:
                        for _ in range(50):
                            flow.send(packet)
                    except BlockingIOError:
                        pass
                quiet.send(packets.udp(HOST4, PEER4, 41001, 9, struct.pack("!I", number)))
            tap.check(witness.wait(lambda p: p.payload == struct.pack("!I", 99)), "the last one did not arrive")
            got = [struct.unpack("!I", p.payload)[0] for p in witness.all()]
            tap.equal(got, list(range(100)), "what arrived of the quiet one")


def test_ring_share():
    """While the relay stands still, a flood at one slice leaves room in the ring for another's packets."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("news",), "41000-41999")) as broker:
        one, two = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("two"), "news")
        flooded, quiet = one.open(proto.UDP, local=HOST4, port=40001), two.open(proto.UDP, local=HOST4, port=41001)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"who is there", (HOST4, 40001))
        tap.check(flooded.recv(), "the flow works")
        relay = broker.relay_pid()
        os.kill(relay, signal.SIGSTOP)
        try:
            for _ in range(10000):  # the ring has room for 8,192
                sender.sendto(b"flood", (HOST4, 40001))
            for number in range(20):
                sender.sendto(struct.pack("!I", number), (HOST4, 41001))
        finally:
            os.kill(relay, signal.SIGCONT)
        tap.equal(numbered(quiet, 20), list(range(20)), "what the other slice got")
        tap.check(one.stats()["steer"][1] > 0, "no steer-in-share counted")


def test_send_limit():
    """packets_out: what is over the slice's limit does not leave, counted as steer-out-rate."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="packets_out = 100")) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, local=HOST4, port=40001)
        with Witness(pair.peer, expression="udp") as witness:
            begun = time.monotonic()
            for _ in range(1000):
                flow.send(packets.udp(HOST4, PEER4, 40001, 9, b"too many"))
            tap.until(lambda: client.stats()["tx_packets"] == 1000, "not all are sent")
            most = at_most(time.monotonic() - begun)
            time.sleep(0.2)  # the bucket fills, and the marker passes
            flow.send(packets.udp(HOST4, PEER4, 40001, 9, b"the marker"))
            tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the marker did not arrive")
            arrived = len(witness.all(lambda p: p.payload == b"too many"))
        refused = client.stats()["steer"][16]
        tap.equal(refused + arrived, 1000, "refused and arrived")
        tap.check(arrived <= most, f"{arrived} arrived, want at most {most}")


class Hogs:
    """Clients that ask for many ports, again and again, while the context lasts."""

    def __init__(self, broker, count, ask):
        self.refusals, self.longest = set(), 0.0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.hog, args=(proto.Client(broker.slice("one"), "games"), ask(number)))
                        for number in range(count)]

    def hog(self, client, ask):
        """One of them."""
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                client.open(**ask).close()
            except OSError as caught:
                self.refusals.add(caught.errno)
            self.longest = max(self.longest, time.monotonic() - begun)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def hogged(pair):
    """A broker with a slice that owns tens of thousands of ports and one that owns a few; it may open 20,000 files."""
    return Broker(pair.host, slice_section("one", ("games",), "10000-59999", 'memory = "8G"'),
                  slice_section("two", ("news",), "60000-60999"), nofile=20000)


def test_too_many_ports():
    """Clients that ask for more ports than there are files stop neither others' packets nor their opens."""
    with Pair() as pair, hogged(pair) as broker:
        two = proto.Client(broker.slice("two"), "news")
        quiet = two.open(proto.UDP, local=HOST4, port=60001)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        slowest, deadline = 0.0, time.monotonic() + 3
        with Hogs(broker, 12, lambda number: {"protocol": number % 2, "port": 10000 + number, "count": 49000,
                                              "remote": PEER4, "remote_port": 1 + number}) as hogs:
            while time.monotonic() < deadline:
                sender.sendto(struct.pack("!I", 7), (HOST4, 60001))
                tap.equal(numbered(quiet, 1), [7], "what the other slice gets")
                begun = time.monotonic()
                two.open(proto.UDP, local=HOST4, port=60002).close()
                slowest = max(slowest, time.monotonic() - begun)
        allowed = max(2.0, 4 * hogs.longest)  # on a busy machine everything takes its time
        tap.check(slowest < allowed, f"an open by the other slice took {slowest:.1f} s, want less than {allowed:.1f}")
        tap.equal(hogs.refusals, {errno.ENFILE}, "why the hogs were refused")


def test_ports_in_vain():
    """Clients whose requests take the monitor long, and fail at the last port, do not stop others' packets."""
    with Pair() as pair, hogged(pair) as broker:
        blockers = [pair.host.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        for blocker in blockers:
            blocker.bind((HOST4, 25000))
        two = proto.Client(broker.slice("two"), "news")
        quiet = two.open(proto.UDP, local=HOST4, port=60001)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        deadline = time.monotonic() + 8
        with Hogs(broker, 24, lambda number: {"protocol": number % 2, "port": 10001 + number, "count": 15000 - number,
                                              "remote": PEER4, "remote_port": 1 + number}) as hogs:
            while time.monotonic() < deadline:
                sender.sendto(struct.pack("!I", 7), (HOST4, 60001))
                tap.equal(numbered(quiet, 1), [7], "what the other slice gets")
                time.sleep(0.05)
        tap.equal(hogs.refusals, {errno.EADDRINUSE}, "why the hogs were refused")


@contextlib.contextmanager
def slowed(pid):
    """A process gets a sixtieth of its time while the context lasts, as on a very busy machine."""
    over = threading.Event()

    def hold_up():
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(0.59)
            os.kill(pid, signal.SIGCONT)
            over.wait(0.01)

    thread = threading.Thread(target=hold_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_slow_monitor():
    """A request that takes a slow monitor many seconds does not make steering think that it is dead."""
    with Pair() as pair, hogged(pair) as broker:
        one, two = proto.Client(broker.slice("one"), "games"), proto.Client(broker.slice("two"), "news")
        quiet = two.open(proto.UDP, local=HOST4, port=60001)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with slowed(broker.process.pid):
            begun = time.monotonic()
            one.socket.send(proto.OPEN_REQUEST.pack(proto.OPEN, proto.OPEN_REQUEST.size, 7, proto.CONSUMER, proto.UDP, socket.AF_INET, 0,
                                                    10000, 15000, proto.mapped(HOST4), proto.ANY, 0))
            number = 0
            while not select.select([one.socket], [], [], 0.1)[0]:
                number += 1
                sender.sendto(struct.pack("!I", number), (HOST4, 60001))
                tap.equal(numbered(quiet, 1), [number], f"what the other slice gets after {time.monotonic() - begun:.1f} s")
            taken = time.monotonic() - begun
            data, fd = one.reply(proto.OPEN, 7)
            tap.equal(proto.OPENED.unpack(data)[3], 0, "error")
            os.close(fd)
        tap.check(taken > 3, f"the request has taken {taken:.1f} s only")
        tap.check("nothing was steered" not in broker.log, f"steering had its hands off:\n{broker.log}")


tap.main(test_slow_reader, test_replies_unread, test_flood_at_one_slice, test_receive_limit, test_flood_by_one_client,
         test_ring_share, test_send_limit, test_too_many_ports, test_ports_in_vain, test_slow_monitor)
