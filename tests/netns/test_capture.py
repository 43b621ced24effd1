#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""saferaw capture: judged by tcpdump, tshark and the wire."""

import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.packets import Packet
from harness.proto import TCP, UDP
from harness.tap import check, equal
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness

FLOOD = """
import os, socket
flow, packet = socket.socket(fileno=0), bytes.fromhex(os.environ["PACKET"])
while True:
    flow.send(packet)
"""
RECORD = struct.Struct("=IIII")
HEAD = struct.Struct("=IHHiIII")


class Capture:
    """saferaw capture as a user; ready when the constructor returns."""

    def __init__(self, pair, broker, *argv, user="games", stdout=subprocess.PIPE):
        entry = pwd.getpwnam(user)
        self.process = pair.host.popen("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups",
                                       program("saferaw"), "-s", broker.slice(), "capture", *argv, stdin=subprocess.DEVNULL,
                                       stdout=stdout, stderr=subprocess.PIPE, bufsize=0)
        line = self.process.stderr.readline()
        self.ready = b"capturing on slice one" in line
        self.sees_all = b"all users" in line
        self.said = "" if self.ready else line.decode()

    def read(self, size):
        """So many bytes of what it writes, when they are there."""
        data = b""
        while len(data) < size and (more := self.process.stdout.read(size - len(data))):
            data += more
        return data

    def finish(self, number=None, status=0):
        """Ends it by a signal, or waits; returns what it wrote."""
        if number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        self.said += err.decode()
        equal(self.process.returncode, status, f"exit status ({self.said})")
        return out

    def counts(self):
        """Captured and lost, as it said in the end."""
        words = self.said.split()
        return int(words[words.index("captured,") - 2]), int(words[words.index("lost") - 1])


def records(data):
    """The packets of a capture: (time in ns, original length, bytes) each; checks the file's head."""
    magic, major, minor, _, _, snaplen, link = HEAD.unpack_from(data)
    equal((magic, major, minor, link), (0xA1B23C4D, 2, 4, 101), "magic of nanoseconds, version, LINKTYPE_RAW")
    found, at = [], HEAD.size
    while at < len(data):
        seconds, nanoseconds, kept, length = RECORD.unpack_from(data, at)
        check(nanoseconds < 10 ** 9 and kept <= snaplen and kept <= length, "a record's head")
        at += RECORD.size
        found.append((seconds * 10 ** 9 + nanoseconds, length, data[at:at + kept]))
        at += kept
    return found


def exchange(pair, client):
    """A datagram out and back over each family, as a flow of the client's; returns the flow."""
    flow = client.open(UDP, port=40000)
    for here, there in ((HOST4, PEER4), (HOST6, PEER6)):
        with pair.peer.bound(there, 7) as echo:
            flow.send(packets.udp(here, there, 40000, 7, b"there and back"))
            data, back = echo.recvfrom(100)
            echo.sendto(data, back)
            check(flow.recv(), "answer")
    client.stats()  # whose answer means that the copies have been handed out too
    return flow


def read_with(*argv, data):
    """What a tool prints of a capture on its standard input."""
    return subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, timeout=PATIENCE).stdout.decode()


def test_file():
    """A file with what went over the wire, byte for byte and in order, that tcpdump and tshark read."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        path = os.path.join(directory, "out.pcap")
        client = proto.Client(broker.slice(), "games")
        pair.peer.run("ethtool", "-K", "eth0", "tx", "off")  # so that the witness sees finished checksums
        with Witness(pair.host, expression="udp port 40000", direction="inout") as witness:
            before = time.time_ns()
            capture = Capture(pair, broker, "-w", path, "-c", "4")
            check(capture.ready, capture.said)
            exchange(pair, client)
            equal(capture.finish(), b"", "standard output")
            equal(capture.counts(), (4, 0), "counts")
            witness.wait(lambda p: p.dport == 40000 and p.version == 6)
            wire = [p.raw for p in witness.all()]
        with open(path, "rb") as file:
            data = file.read()
        found = records(data)
        equal([raw for _, _, raw in found], wire, "packets")
        times = [stamp for stamp, _, _ in found]
        check(before < times[0] and times == sorted(times) and times[-1] < time.time_ns(), f"times {times}")
        lines = read_with("tcpdump", "-n", "-r", path, "--nano", data=b"").splitlines()
        equal([line.split(" ", 1)[1] for line in lines],
              [f"IP {HOST4}.40000 > {PEER4}.7: UDP, length 14", f"IP {PEER4}.7 > {HOST4}.40000: UDP, length 14",
               f"IP6 {HOST6}.40000 > {PEER6}.7: UDP, length 14", f"IP6 {PEER6}.7 > {HOST6}.40000: UDP, length 14"], "tcpdump")
        rows = read_with("tshark", "-n", "-r", path, "-T", "fields", "-e", "udp.srcport", "-e", "udp.checksum.status", "-e",
                         "frame.time_epoch", "-o", "udp.check_checksum:TRUE", data=b"").split("\n")
        equal([row.split("\t")[:2] for row in rows if row], [["40000", "1"], ["7", "1"]] * 2, "tshark: ports, checksums")
        equal([row.split("\t")[2].replace(".", "") for row in rows if row], [str(stamp) for stamp in times], "tshark: times")


def test_pipe():
    """-w - into a pipe, read while it goes on: each packet comes at once; an expression and a snaplen choose."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        capture = Capture(pair, broker, "-w", "-", "-s", "24", "udp", "and", "src", "port", "7")
        check(capture.ready, capture.said)
        head = capture.read(HEAD.size)
        equal(HEAD.unpack(head)[5], 24, "snaplen of the file")
        exchange(pair, client)
        first = capture.read(RECORD.size + 24)
        rest = capture.finish(signal.SIGINT)
        equal(capture.counts(), (2, 0), "counts")
        found = records(head + first + rest)
        equal([(length, len(raw), raw[0] >> 4) for _, length, raw in found], [(42, 24, 4), (62, 24, 6)], "cut packets")
        equal(len(read_with("tcpdump", "-n", "-r", "-", data=head + first + rest).splitlines()), 2, "tcpdump")
        equal(len(read_with("tshark", "-n", "-r", "-", data=head + first + rest).splitlines()), 2, "tshark")


def test_lines():
    """A line for each packet: direction, ends, size; ICMP errors say what they are about."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        capture = Capture(pair, broker)
        check(capture.ready, capture.said)
        flow = exchange(pair, client)
        flow.send(packets.udp(HOST4, PEER4, 40000, 9))
        with Witness(pair.host, expression="icmp") as witness:
            flow.send(packets.udp(HOST4, PEER4, 40000, 9))
            check(witness.wait(lambda p: p.type == 3), "port unreachable")
        client.stats()
        lines = [line.split(" ", 1)[1] for line in capture.finish(signal.SIGTERM).decode().splitlines()]
        error = f"in  IPv4 icmp {PEER4} to {HOST4}, type 3 code 3 about udp {HOST4}:40000 to {PEER4}:9, 63 bytes"
        equal(lines[:4], [f"out IPv4 udp {HOST4}:40000 to {PEER4}:7, 42 bytes", f"in  IPv4 udp {PEER4}:7 to {HOST4}:40000, 42 bytes",
                          f"out IPv6 udp [{HOST6}]:40000 to [{PEER6}]:7, 62 bytes",
                          f"in  IPv6 udp [{PEER6}]:7 to [{HOST6}]:40000, 62 bytes"], "lines")
        equal(sorted(lines[4:]), sorted([f"out IPv4 udp {HOST4}:40000 to {PEER4}:9, 35 bytes", error] * 2), "errors")
        equal(capture.counts(), (8, 0), "counts")


def test_lost():
    """Who reads too slowly is told exactly how many were lost; a signal still gets what waits, and nothing after it."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="queue = 20000")) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(UDP, port=40000)
        sink = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)  # or ICMP errors come back
        sink.bind((PEER4, 7))
        capture = Capture(pair, broker, "-w", "-")
        check(capture.ready, capture.said)
        capture.process.send_signal(signal.SIGSTOP)
        for number in range(500):
            flow.send(packets.udp(HOST4, PEER4, 40000, 7, b"%04d" % number))
        while client.stats(flow.number)["tx_packets"] < 500:
            pass
        capture.process.send_signal(signal.SIGINT)
        capture.process.send_signal(signal.SIGCONT)
        found = [Packet(raw).payload for _, _, raw in records(capture.finish())]
        captured, lost = capture.counts()
        equal((captured, captured + lost), (len(found), 500), "captured, and all")
        check(lost > 300, f"only {lost} were lost")
        equal(found, [b"%04d" % number for number in range(captured)], "the first ones")
        equal(client.stats()["tx_packets"], 500, "the flow itself has lost nothing")


def test_whose():
    """One sees one's own flows alone; who is named in sniff_users sees all of the slice, and that shows in the list."""
    section = slice_section(users=("games", "news"), extra='sniff_users = {"man"}')
    with Pair() as pair, Broker(pair.host, section) as broker:
        client = proto.Client(broker.slice(), "games")
        other, spy = Capture(pair, broker, user="news"), Capture(pair, broker, "tcp or udp", user="man")
        check(other.ready and spy.ready, other.said + spy.said)
        equal((other.sees_all, spy.sees_all), (False, True), "whose flows they say that they see")
        flow = exchange(pair, client)
        equal([row[7:9] + row[10:11] for row in client.flows()], [(2, 255, 0x03), (2, 255, 0x83), (1, UDP, 0)],
              "kind, class and flags in the list")
        flow.close()
        equal(other.finish(signal.SIGINT), b"", "another user's flows")
        equal(len(spy.finish(signal.SIGINT).splitlines()), 4, "under the grant")
        stranger = Capture(pair, broker, user="mail")
        check("not a member" in stranger.said or "not on" in stranger.said, stranger.said)
        stranger.finish(status=2)
        lost = Capture(pair, broker, user="man")
        broker.reload(slice_section(users=("games", "news")))
        lost.finish(status=2)
        check("closed the flow" in lost.said, lost.said)


def test_wrong():
    """A wrong expression, option or output ends with status 2 and says why; so does the end of the broker's relay."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for argv, text in ((("udp port x",), "x"), (("ether host 1:2:3:4:5:6",), "ethernet"), (("-c", "0"), "not a number from 1"),
                           (("-w", "-", "-s", "70000"), "not a number from 1"), (("-s", "60"), "goes with --write"),
                           (("-w", "/no/such/place"), "No such file"), (("--nonsense",), "unrecognized"),
                           (("-w",), "requires")):
            capture = Capture(pair, broker, *argv)
            capture.finish(status=2)
            check(not capture.ready and text in capture.said, f"{argv}: {capture.said}")
        with open("/dev/full", "wb") as full:
            capture = Capture(pair, broker, "-w", "-", stdout=full)
            capture.finish(status=2)
            check("No space left" in capture.said, capture.said)
        capture = Capture(pair, broker, "-w", "-")
        check(capture.ready, capture.said)
        capture.process.stdout.close()
        client.open(UDP, port=40001).send(packets.udp(HOST4, PEER4, 40001, 7))
        equal((capture.process.wait(PATIENCE), b"Broken pipe" in capture.process.stderr.read()), (2, True), "a reader that has gone")
        capture.process.stderr.close()
        capture = Capture(pair, broker)
        check(capture.ready, capture.said)
        os.kill(broker.relay_pid(), signal.SIGKILL)
        capture.finish(status=2)
        check("closed the flow" in capture.said and "not known" in capture.said, capture.said)


def test_busy():
    """Under traffic without a pause -c and a signal end it at once all the same, and nothing gets past the expression."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(TCP, port=40000)
        traffic = subprocess.Popen([sys.executable, "-c", FLOOD], stdin=flow.socket.fileno(),
                                   env={"PACKET": packets.tcp(HOST4, PEER4, 40000, 7).hex()})
        while client.stats(flow.number)["tx_packets"] < 1000:
            pass
        try:
            for argv, number, captured in (((), signal.SIGINT, None), (("-c", "100"), None, 100), *[(("udp",), signal.SIGTERM, 0)] * 20):
                capture = Capture(pair, broker, "-w", "-", *argv, stdout=subprocess.DEVNULL)
                check(capture.ready, capture.said)
                capture.finish(number)
                if captured is not None:
                    equal(capture.counts()[0], captured, "captured")
        finally:
            traffic.kill()
            traffic.wait(PATIENCE)


if __name__ == "__main__":
    tap.main(test_file, test_pipe, test_lines, test_lost, test_whose, test_wrong, test_busy, modes=("auto",))
