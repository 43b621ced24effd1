#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A slice's limits hold, say so by their own errno or counter, and cost another slice nothing."""

import errno
import itertools
import socket
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair

FAMILIES = ((HOST4, PEER4, socket.AF_INET), (HOST6, PEER6, socket.AF_INET6))
IN_RATE, OUT_RATE = 0, 16  # rows of steering's reasons
BURST = 0.1  # seconds that a burst may run ahead of the rate
NUMBER, PAYLOAD = 600, 972  # of packets, and bytes in each
OTHER = slice_section("two", ("news",), "41000-41999")


class Sink:
    """A socket of the peer that counts what arrives."""

    def __init__(self, namespace, family, address, port):
        self.socket = namespace.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: the sink itself loses nothing
        self.socket.bind((address, port))

    def count(self, expected):
        """How many there are: waits for as many as are expected, and then a little for more."""
        for seen in itertools.count():
            self.socket.settimeout(PATIENCE if seen < expected else 0.2)
            try:
                self.socket.recv(2048)
            except TimeoutError:
                return seen


def within(passed, seconds, rate, what):
    """Checks that as many passed as a rate lets pass in a time, with its burst; a tenth more or less is allowed."""
    most, least = rate * (seconds + BURST) * 1.1 + 2, rate * BURST * 0.9
    tap.check(least <= passed <= most, f"{what}: {passed} passed in {seconds:.3f} s, want {least:.1f} to {most:.1f}")


def flood_in(pair, client, other, here, family, rate):
    """A flood from the peer at slice one, while slice two gets a packet now and then."""
    flow, quiet = client.open(proto.UDP, local=here, port=40001), other.open(proto.UDP, local=here, port=41001)
    sender = pair.peer.socket(family, socket.SOCK_DGRAM)
    time.sleep(BURST)  # the bucket fills
    before, start, got = client.stats(), time.monotonic(), 0
    for number in range(NUMBER):
        sender.sendto(bytes(PAYLOAD), (here, 40001))
        if number % 20 == 0:
            sender.sendto(b"quiet", (here, 41001))
            got += quiet.recv() is not None
        flow.drain()

    def counted():
        after = client.stats()
        full = after["rx"]["queue-full"] - before["rx"]["queue-full"]
        return after["rx_packets"] - before["rx_packets"] + full, after["steer"][IN_RATE] - before["steer"][IN_RATE]

    tap.until(lambda: sum(counted()) >= NUMBER, f"{here}: counted are {counted()}")
    seconds = time.monotonic() - start
    passed, dropped = counted()
    tap.equal(passed + dropped, NUMBER, f"{here}: counted in all")
    within(passed, seconds, rate, f"to {here}")
    tap.equal(got, NUMBER // 20, f"{here}: packets that the other slice got")
    flow.close()
    quiet.close()


def flood_out(pair, client, other, here, far, family, rate):
    """A flood of slice one at the peer, while slice two sends a packet now and then."""
    flow, quiet = client.open(proto.UDP, local=here, port=40001), other.open(proto.UDP, local=here, port=41001)
    sink, quiet_sink = Sink(pair.peer, family, far, 5001), Sink(pair.peer, family, far, 5002)
    quiet.send(packets.udp(here, far, 41001, 5002))  # the neighbour is known before the burst
    tap.check(quiet_sink.socket.recv(100), "nothing from the other slice")
    before, start = client.stats(), time.monotonic()
    for number in range(NUMBER):
        flow.send(packets.udp(here, far, 40001, 5001, bytes(PAYLOAD)))
        if number % 20 == 0:
            quiet.send(packets.udp(here, far, 41001, 5002))
    while (after := client.stats())["tx_packets"] - before["tx_packets"] < NUMBER:
        pass
    seconds = time.monotonic() - start
    dropped = after["steer"][OUT_RATE] - before["steer"][OUT_RATE]
    passed = sink.count(NUMBER - dropped)
    tap.equal(passed + dropped, NUMBER, f"{here}: counted in all")
    within(passed, seconds, rate, f"from {here}")
    tap.equal(quiet_sink.count(NUMBER // 20), NUMBER // 20, f"{here}: packets that got out of the other slice")
    tap.equal(other.stats()["steer"][OUT_RATE], 0, "the other slice's drops")
    flow.close()
    quiet.close()


def rates(extra, rate, direction):
    """Floods in both families under one limit."""
    with Pair() as pair, Broker(pair.host, slice_section(extra=extra), OTHER) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        for here, far, family in FAMILIES:
            if direction == "in":
                flood_in(pair, client, other, here, family, rate)
            else:
                flood_out(pair, client, other, here, far, family, rate)


def test_packets_in():
    """packets_in: what is more is dropped and counted as steer-in-rate; both families."""
    rates("packets_in = 300", 300, "in")


def test_packets_out():
    """packets_out: what is more is dropped and counted as steer-out-rate; both families."""
    rates("packets_out = 300", 300, "out")


def test_bits_in():
    """bits_in: the same, for 1,000 byte packets."""
    rates("bits_in = 2400k", 300, "in")


def test_bits_out():
    """bits_out: the same, for 1,000 byte packets."""
    rates("bits_out = 2400k", 300, "out")


def test_flows():
    """flows: one more is refused with EMFILE; one closed makes room; another slice opens on."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="flows = 5"), OTHER) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        flows = [client.open(proto.UDP, port=40001 + number) for number in range(5)]
        refused = tap.raises(errno.EMFILE, client.open, proto.UDP, port=40100)
        tap.check("flows" in str(refused), f"the text says {refused}")
        other.open(proto.UDP, port=41001)
        flows.pop().close()
        while client.stats() and len(client.flows()) == 5:
            pass
        flows.append(client.open(proto.TCP, local=HOST6, port=40100))
        tap.equal(client.stats()["refusals"], 1, "refusals counted")


def test_clients():
    """clients: one more is refused with EUSERS; one gone makes room; another slice is not concerned."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="clients = 3"), OTHER) as broker:
        clients = [proto.Client(broker.slice(), "games") for _ in range(3)]
        tap.raises(errno.EUSERS, proto.Client, broker.slice(), "games")
        proto.Client(broker.slice("two"), "news")
        clients.pop().close()
        deadline = time.monotonic() + PATIENCE
        while len(clients) < 3:
            try:
                clients.append(proto.Client(broker.slice(), "games"))
            except OSError as caught:
                tap.check(caught.errno == errno.EUSERS and time.monotonic() < deadline, f"still refused: {caught}")


def test_memory():
    """memory: a flow that does not fit is refused with ENOSPC; one closed makes room."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="queue = 100k\n  memory = 700k"), OTHER) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        flows = [client.open(proto.UDP, port=40001 + number) for number in range(3)]
        refused = tap.raises(errno.ENOSPC, client.open, proto.UDP, port=40100)
        tap.check("memory" in str(refused), f"the text says {refused}")
        other.open(proto.UDP, port=41001)
        flows.pop().close()
        while len(client.flows()) == 3:
            pass
        flows.append(client.open(proto.UDP, port=40100))
        tap.raises(errno.ENOSPC, client.open, proto.UDP, port=40200, count=100)


tap.main(test_packets_in, test_packets_out, test_bits_in, test_bits_out, test_flows, test_clients, test_memory,
         modes=("auto",))
