# SPDX-License-Identifier: BSD-2-Clause
"""tcpdump (libpcap) on one device of one namespace: the judge of what was on the wire."""

import re
import select
import struct
import subprocess
import time

from . import PATIENCE
from .packets import Packet


class Witness:
    """Captures from when the constructor returns. Packets of the IP families only."""

    def __init__(self, namespace, device="eth0", expression="ip or ip6", direction="in"):
        self.link = None
        self.buffer = b""
        self.seen = []
        self.process = namespace.popen(
            "tcpdump", "-i", device, "-Q", direction, "-n", "-U", "--immediate-mode", "-s", "4096", "-B", "32768", "-w", "-",
            expression,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while b"listening on" not in (line := self.process.stderr.readline()):
            if not line:
                raise RuntimeError("tcpdump did not start")

    def _parse(self):
        """Moves whole records from the buffer to seen."""
        if self.link is None:
            if len(self.buffer) < 24:
                return
            self.link = struct.unpack("=I", self.buffer[20:24])[0]
            self.buffer = self.buffer[24:]
        while len(self.buffer) >= 16:
            size = struct.unpack("=I", self.buffer[8:12])[0]
            if len(self.buffer) < 16 + size:
                return
            frame, self.buffer = self.buffer[16:16 + size], self.buffer[16 + size:]
            if self.link == 1:
                frame = frame[14:] if frame[12:14] in (b"\x08\x00", b"\x86\xdd") else b""
            if frame and frame[0] >> 4 in (4, 6):
                try:
                    self.seen.append(Packet(frame))
                except (struct.error, IndexError, ValueError):
                    self.seen.append(Broken(frame))

    def _read(self, timeout):
        """Reads what there is, waiting up to timeout seconds; False when nothing came."""
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return False
        data = self.process.stdout.read1(1 << 20)
        self.buffer += data
        self._parse()
        return bool(data)

    def wait(self, matches, seconds=PATIENCE):
        """The first packet, seen or to come, for which matches(packet) is true; None after that many seconds."""
        deadline = time.monotonic() + seconds
        start = 0
        while True:
            for packet in self.seen[start:]:
                if matches(packet):
                    return packet
            start = len(self.seen)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._read(left)

    def all(self, matches=lambda packet: True):
        """Every packet so far for which matches(packet) is true (send a marker and wait() for it first)."""
        while self._read(0):
            pass
        return [packet for packet in self.seen if matches(packet)]

    def stop(self):
        """Ends the capture; returns how many packets it has missed for want of room."""
        self.process.terminate()
        _, said = self.process.communicate()
        return int(re.search(rb"(\d+) packets? dropped by kernel", said).group(1))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        missed = self.stop()
        if missed and kind is None:
            raise RuntimeError(f"the witness missed {missed} packets and cannot judge")


def own_talk(packet):
    """Whether a kernel said this about its link: neighbour discovery has a hop limit of 255, listener reports of 1."""
    return packet.version == 6 and packet.type in (133, 135, 136, 143) and packet.ttl in (1, 255)


class Broken:
    """A packet that cannot be parsed; its attributes are all None."""

    def __init__(self, raw):
        self.raw = raw
        self.size = len(raw)

    def __getattr__(self, _):
        return None

    def __repr__(self):
        return f"<broken packet {self.raw[:48].hex()}>"
