#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every attack of harness/hostile.py: from a client, and from a relay that was taken over. None gets out, each is counted."""

import errno
import os
import re
import socket
import time

from harness import PATIENCE, hostile, packets, proto, rogue, tap
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness, own_talk

SOURCE = os.environ.get("SAFERAW_SOURCE", ".")
SECTIONS = (slice_section(extra=f"deny = {{{hostile.DENY}}}"),
            slice_section("two", ("news",), "41000-41499", f"fragments = yes deny = {{{hostile.DENY}}}"),
            slice_section("three", ("list",), "41500-41999", f"proxied = {{{hostile.PREFIXES}}}"))
# so that it is not for want of a route that nothing gets there
ROUTES = {PEER4: ("169.254.0.0/16", "224.0.0.0/4", "203.0.113.0/24", "198.51.100.64/28"),
          PEER6: ("fd00:ec2::254", "2001:db8:bad::/48", "::/96", "2001:db8:9::/64")}


class Scene:
    """Host and peer, a witness on the wire, and sockets of the host's that must not hear anything."""

    def __init__(self):
        self.pair = Pair()
        for address, length in (("192.0.2.3", 24), ("2001:db8::3", 64)):
            self.pair.host.run("ip", "addr", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if ":" in address else []))
        for gateway, places in ROUTES.items():
            for place in places:
                self.pair.host.run("ip", "route", "add", place, "via", gateway, "dev", "eth0")
        self.sockets = [self.pair.host.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
        self.sockets[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for sock, address in zip(self.sockets, ("0.0.0.0", "::")):
            sock.bind((address, 9))
            sock.setblocking(False)
        self.allowed = set()

    def __enter__(self):
        self.witness = Witness(self.pair.peer)
        return self

    def __exit__(self, kind, *_):
        missed = self.witness.stop()
        self.pair.delete()
        if missed and kind is None:
            raise RuntimeError(f"the witness missed {missed} packets and cannot judge")

    def leaves(self, packet):
        """A packet that may leave does."""
        self.allowed.add(packet)
        tap.check(self.witness.wait(lambda p: p.raw == packet), f"did not leave: {packet[:60].hex()}")

    def judge(self, send):
        """Nothing has left but what may, which is shown by markers that were sent behind it all; no socket has heard of it."""
        for address, far in ((HOST4, PEER4), (HOST6, PEER6)):
            marker = packets.udp(address, far, 40001, 9, b"the marker")
            send(marker)
            self.leaves(marker)
        strays = self.witness.all(lambda p: p.raw not in self.allowed and not own_talk(p))
        tap.equal(strays, [], "what got out")
        for sock in self.sockets:
            tap.raises(errno.EAGAIN, sock.recv, 100)


def wait_counts(stats, before, expected):
    """Waits for one count more, and checks that it is the one that was expected and the only one."""
    deadline = time.monotonic() + PATIENCE
    while (after := stats()) == before and time.monotonic() < deadline:
        pass
    more = {reason: count - before[reason] for reason, count in after.items() if count != before[reason]}
    return more == {expected: 1}, more


class Clients:
    """The flows that the rows are sent on, by family: users of two slices."""

    def __init__(self, broker):
        self.clients = {1: proto.Client(broker.slice(), "games"), 2: proto.Client(broker.slice("two"), "news")}
        self.flows = {}
        for version, here, there in ((4, HOST4, PEER4), (6, HOST6, PEER6)):
            for name, (number, protocol, port) in hostile.FLOWS.items():
                remote = (there, 9) if name == "connected" else (None, 0)
                self.flows[version, name] = self.clients[number].open(protocol, here, port, *remote)

    def flow(self, version, row):
        """(flow, its counts) of a row: what the relay refused of it, and what steering dropped of the slice."""
        client, flow = self.clients[hostile.FLOWS[row.flow][0]], self.flows[version, row.flow]

        def stats():
            counts = dict(client.stats(flow.number)["tx"])
            counts.update(zip(proto.STEER_REASONS, client.stats()["steer"]))
            return counts

        return flow, stats


def test_client():
    """Written to a flow past the library: the relay refuses each for its reason, or where only routes can tell, steering does."""
    with Scene() as scene, Broker(scene.pair.host, *SECTIONS) as broker:
        clients = Clients(broker)
        for row in hostile.ROWS:
            for version, family in hostile.attacks(row):
                flow, stats = clients.flow(version, row)
                first, attack = hostile.built(row, family)
                for packet in first:
                    flow.send(packet)
                    scene.leaves(packet)
                before = stats()
                flow.send(attack)
                expected = row.verdict if row.verdict != "pass" else "steer-out-" + row.steering
                right, counted = wait_counts(stats, before, expected)
                tap.check(right, f"{row.name}, IPv{version}: counted {counted}, not {expected}: {attack[:80].hex()}")
        scene.judge(lambda packet: clients.flows[packet[0] >> 4, "udp"].send(packet))


def test_taken_over_relay():
    """Written to the TUN by a relay that was taken over: steering drops each for its reason."""
    with Scene() as scene, rogue.taken_over(scene.pair, *SECTIONS) as (villain, _):
        for number, protocol, port in hostile.FLOWS.values():
            tap.equal(villain.reserve(port, slice_number=number, kind=protocol), 0, "a port of its own is granted")
        villain.scribble()
        for row in hostile.ROWS:
            for version, family in hostile.attacks(row):
                first, attack = hostile.built(row, family)
                for packet in first:
                    villain.write(packet)
                    scene.leaves(packet)
                before = villain.dropped()
                villain.write(attack)
                more = {reason: count - before[reason] for reason, count in villain.dropped().items() if count != before[reason]}
                expected = {} if row.steering in (hostile.DEVICE, hostile.LEAVES) else {"steer-out-" + row.steering: 1}
                tap.equal(more, expected, f"{row.name}, IPv{version}: what is counted of {attack[:80].hex()}")
                if row.steering == hostile.LEAVES:
                    scene.allowed.add(attack)
        scene.judge(villain.write)


def wire(pair):
    """A function that sends a packet from the peer as it is."""
    raw = pair.peer.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("eth0", 0))
    ether = b"".join(bytes.fromhex(namespace.run("cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
                     for namespace in (pair.host, pair.peer))
    return lambda packet: raw.send(ether + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet)


def test_innocent():
    """What only looks special passes, as it is: out to the wire, and in to the flow."""
    with Scene() as scene, Broker(scene.pair.host, *SECTIONS) as broker:
        clients, arrive = Clients(broker), wire(scene.pair)
        for row in hostile.INNOCENT:
            for arriving in (False, True)[:1 + (row.verdict == hostile.BOTH)]:
                for version, family in hostile.attacks(row, arriving):
                    flow, stats = clients.flow(version, row)
                    first, last = hostile.built(row, family)
                    for packet in [*first, last]:
                        if arriving:
                            arrive(packet)
                            while (got := flow.recv()) and got != packet:  # an answer of the peer's kernel to what left before
                                pass
                            tap.check(got, f"{row.name}, IPv{version}: the flow did not get {packet[:80].hex()}")
                            continue
                        flow.send(packet)
                        tap.check(scene.witness.wait(lambda p, packet=packet: p.raw == packet),
                                  f"{row.name}, IPv{version}: did not leave: {stats()}")


def test_from_wire():
    """From the wire to a flow: refused for its reason, or left to the host; the flow does not hear of it."""
    with Pair() as pair, Broker(pair.host, *SECTIONS) as broker:
        clients, root = Clients(broker), proto.Client(broker.slice())
        arrive = wire(pair)

        def stats():
            answer = root.netns()
            return {name: answer["rx"][name] + answer["unknown_rx"][name] for name in answer["rx"]}

        for row in hostile.ARRIVING:
            for version, family in hostile.attacks(row, arriving=True):
                flow, _ = clients.flow(version, row)
                first, attack = hostile.built(row, family)
                for packet in first:
                    arrive(packet)
                marker = good(family, row)
                arrive(marker)
                got = [flow.recv()]
                while got[-1] != marker:
                    got.append(flow.recv())
                tap.check(set(got) <= {*first, marker}, f"{row.name}, IPv{version}: what led up to it: {got}")
                before = stats()
                arrive(attack)
                arrive(marker)
                tap.check(flow.recv() == marker, f"{row.name}, IPv{version}: the flow got it: {attack[:80].hex()}")
                more = {name: count - before[name] for name, count in stats().items() if count != before[name]}
                tap.equal(more, {} if row.verdict == hostile.HOST else {row.verdict: 1}, f"{row.name}, IPv{version}: counted")


def good(family, row):
    """What the flow of a row does get."""
    if row.flow == "icmp":
        return family.icmp(family.pick(0, 129))
    return family.tcp() if row.flow == "tcp" else family.udp(payload=b"good")


def text(*path):
    """A source file."""
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def rows(page, heading):
    """The rows of the table behind a heading of a manual page, without its first, which names the columns."""
    table = text("man", page).split(f"{heading}\n", 1)[1].split(".Bl -column", 1)[1].split(".El", 1)[0]
    return [tuple(line.removeprefix(".It ").split(" Ta ")) for line in table.splitlines() if line.startswith(".It ")][1:]


def in_header(name, macro):
    """The rows of a table of reasons in a header: (name, what else there is of it)."""
    table = text("include", name).split(f"#define {macro}(X)", 1)[1].split("\n\n", 1)[0]
    return [(row[0], *row[1:]) for row in re.findall(r'X\(\w+, "([^"]*)", (?:(\w+), )?"([^"]*)"\)', table)]


def test_manual():
    """saferaw-verdicts(7) has every attack and every verdict, with tests that exist; saferaw-protocol(7) numbers them all."""
    families = {"4": "4", "6": "6", "46": "4 6"}
    page = "saferaw-verdicts.7"
    sent, arriving = rows(page, ".Ss By a client"), rows(page, ".Ss From the wire")
    others, steering = rows(page, ".Ss Other verdicts"), rows(page, ".Ss Other reasons of steering")
    tap.equal(sent, [(row.name, families[row.families], row.verdict, row.steering) for row in hostile.ROWS], "attacks by a client")
    tap.equal(arriving, [(row.name, families[row.families], row.verdict) for row in hostile.ARRIVING], "attacks from the wire")
    tap.check(len(sent) + len(arriving) >= 60, "fewer than 60 attacks")
    verdicts, reasons = in_header("policy.h", "VERDICTS"), in_header("steer.h", "STEER_REASONS")
    named = {row[2] for row in sent + arriving} | {row[0] for row in others}
    tap.equal({name for name, *_ in verdicts} - named, set(), "verdicts that the page does not have")
    named = {f"steer-out-{row[3]}" for row in sent} | {row[0] for row in steering}
    tap.equal({name for name, *_ in reasons} - named, set(), "reasons of steering that the page does not have")
    for _, _, test in others + steering:
        file, function = test.split()
        tap.check(f"\ndef {function}(" in text("tests", "netns", f"{file}.py"), f"there is no {test}")
    tap.equal(rows("saferaw-protocol.7", ".Sh VERDICTS"),
              [(str(number), name, "\\(en" if error == "0" else error, meaning) for number, (name, error, meaning) in enumerate(verdicts)],
              "verdicts in the protocol's page")
    tap.equal(rows("saferaw-protocol.7", ".Sh STEERING"),
              [(str(number), name, meaning) for number, (name, _, meaning) in enumerate(reasons)], "reasons in the protocol's page")
    tap.equal(proto.VERDICTS, [row[0] for row in verdicts], "verdicts in the harness")
    tap.equal(proto.STEER_REASONS, [row[0] for row in reasons], "reasons in the harness")


tap.main(test_client, test_taken_over_relay, test_from_wire, test_innocent, test_manual)
