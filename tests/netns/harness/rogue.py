# SPDX-License-Identifier: BSD-2-Clause
"""The test's side of rogue-relay: what an attacker has who took the relay over."""

import contextlib
import mmap
import os
import shutil
import socket
import struct
import tempfile
import threading

from . import PATIENCE
from .broker import Broker, slice_section
from .monitor import DROPPED, LINK_TRAFFIC, LINKS, SLICES, TRAFFIC
from .proto import STEER_REASONS, mapped

(BEGIN, NETNS, ADDRESS, SLICE, RANGE, SLICE_ADDRESS, MEMBER, PEER_NETNS, DENY, COMMIT,
 ADDRESS_NEWS, ROUTES_NEWS, SHUTDOWN, READY, RESERVE, RESERVED, RELEASE, ROUTE, ROUTED, LINK, LINKED, UNLINK,
 LINK_NEWS, BLOCK, COVERED, COVERS, GRANT, SLICE_GRANT, SLICE_PROXIED) = range(1, 30)
ANY_ADDRESS = 0xFF
PORTS = 65536


class Rogue:
    """Prepares a place for rogue-relay; after start() holds the channel, the TUN and the maps."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="saferaw-rogue-")
        os.chmod(self.directory, 0o755)
        self.program = os.path.join(self.directory, "rogue-relay")
        shutil.copy(os.path.join(os.path.dirname(os.path.dirname(__file__)), "rogue-relay"), self.program)
        path = os.path.join(self.directory, "rogue.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.lifeline = self.channel = self.tun = self.tap = None
        self.blocks = {}  # open bytes by (address index, class)
        self.addresses, self.controls = {}, {}
        self.rows = {}  # index: (first address, bits of its 16 bytes, whether it is there)
        self.proxied = {}  # slice: [(first address, bits)]
        self.slots = {}  # (protocol, key): slot
        self.traffic = self.link_traffic = None

    def take_over(self):
        """Waits for rogue-relay, takes the configuration in, and tells the monitor that all is well."""
        self.lifeline, _ = self.listener.accept()
        _, fds, _, _ = socket.recv_fds(self.lifeline, 100, 1)
        self.channel = socket.socket(fileno=fds[0])
        self.channel.settimeout(PATIENCE)
        self.learn()
        self.send(READY)

    def learn(self):
        """Takes a whole configuration in, the first or the next one; what is known already is kept."""
        self.proxied = {}
        while True:
            data, fds, _, _ = socket.recv_fds(self.channel, 256, 8)
            kind, _ = struct.unpack_from("=II", data)
            if kind == NETNS and self.tun is None:
                self.tun, self.tap = os.dup(fds[0]), os.dup(fds[2])
                self.traffic = mmap.mmap(fds[1], TRAFFIC * SLICES)
                self.link_traffic = mmap.mmap(fds[3], LINK_TRAFFIC * LINKS, prot=mmap.PROT_READ)
            elif kind == BLOCK and (data[12], data[13]) not in self.blocks:
                self.blocks[data[12], data[13]] = mmap.mmap(fds[0], PORTS)
            elif kind == SLICE and struct.unpack_from("=I", data, 8)[0] not in self.controls:
                self.controls[struct.unpack_from("=I", data, 8)[0]] = socket.socket(fileno=os.dup(fds[0]))
            elif kind == GRANT:
                _, slot, protocol, key, count = struct.unpack_from("=IHBxII", data, 8)
                self.slots |= {(protocol, key + n): slot + n for n in range(count)}
            elif kind == ADDRESS:
                index = data[12]
                self.addresses[bytes(data[16:32])] = index
                self.rows[index] = bytes(data[16:32]), data[14], bool(data[13])
            elif kind == SLICE_PROXIED:
                number, bits = struct.unpack_from("=IB", data, 8)
                self.proxied.setdefault(number, []).append((bytes(data[16:32]), bits))
            for fd in fds:
                os.close(fd)
            if kind == COMMIT:
                break

    def send(self, kind, body=b""):
        """One message to the monitor."""
        self.channel.send(struct.pack("=II", kind, 8 + len(body)) + body)

    def reserve(self, lo, hi=None, *, slice_number=1, uid=5, kind=1, address=None, netns=0):
        """Asks the monitor to hold ports; returns the error in its answer."""
        index = ANY_ADDRESS if address is None else self.addresses[mapped(address)]
        self.send(RESERVE, struct.pack("=QIIIBBBxHH4x", 77, netns, slice_number, uid, kind, index, 0, lo, hi or lo))
        while True:
            data = self.channel.recv(256)
            if not data:
                raise ConnectionResetError("the monitor closed the channel")
            if struct.unpack_from("=I", data)[0] == RESERVED:
                return struct.unpack_from("=Qi", data, 8)[1]

    def scribble(self):
        """Opens everything that can be opened."""
        for block in self.blocks.values():
            block[:] = b"\1" * PORTS

    def dropped(self):
        """What steering has dropped, of nobody and the first few slices together: {reason: packets}."""
        rows = [struct.unpack_from(f"={len(STEER_REASONS)}Q", self.traffic, TRAFFIC * number + DROPPED) for number in range(8)]
        return dict(zip(STEER_REASONS, map(sum, zip(*rows))))

    def write(self, packet):
        """Puts a packet, any packet, into the TUN. An error counts as refused."""
        try:
            os.write(self.tun, packet)
        except OSError:
            pass

    def let_go(self):
        """The rogue ends; its fds close."""
        for sock in (self.channel, self.lifeline):
            if sock:
                sock.close()
        for fd in (self.tun, self.tap):
            if fd is not None:
                os.close(fd)
        self.tun = self.tap = None
        for memory in (*self.blocks.values(), self.traffic, self.link_traffic):
            if memory:
                memory.close()
        for sock in self.controls.values():
            sock.close()
        self.blocks, self.controls, self.traffic, self.link_traffic = {}, {}, None, None
        self.channel = self.lifeline = None

    def close(self):
        """Ends and removes everything."""
        self.let_go()
        self.listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def taken_over(pair, *sections, kind=None):
    """A broker whose relay is the rogue, or of a kind derived from it; yields (rogue, broker)."""
    villain = (kind or Rogue)()
    broker = Broker(pair.host, *(sections or (slice_section(extra="local = no"),)), start=False, relay=villain.program)
    thread = threading.Thread(target=villain.take_over, daemon=True)
    thread.start()
    try:
        broker.start()
        thread.join()
        yield villain, broker
    finally:
        villain.let_go()
        broker.stop()
        villain.close()
