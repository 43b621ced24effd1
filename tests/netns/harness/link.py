# SPDX-License-Identifier: BSD-2-Clause
"""Links: a client's own namespace, and a stand-in relay that makes a link to it and opens its ports."""

import contextlib
import errno
import json
import pwd
import re
import select
import socket
import struct
import subprocess

from . import PATIENCE, rogue
from .proto import STEER_REASONS as REASONS
from .topology import HOST4, HOST6

STRICT, QUIET = 1, 2
PACKET_TUN, TO_LINK = 1, 2
GATEWAY4, GATEWAY6, GATEWAY_MAC = "169.254.0.1", "fe80::1", "02:00:00:00:ff:ff"
CLASSES = 3
PYTHON = "/usr/bin/python3"  # one that every user may start
# Words for ping(8) until there are two replies. With a count alone it waits for the last one no longer than between two requests.
TWICE = ("-c2", "-i.2", "-w50")
# What runs inside: makes a control socket there, connects, says so, and waits until its input ends
INSIDE = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.read()
"""

# Puts frames, in hexadecimal, on a device, with or without a struct virtio_net_hdr before each; answers with the errno
FRAMES = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
for line in sys.stdin:
    offload, data = line.split()
    sock.setsockopt(263, 15, int(offload))
    try:
        sock.send(bytes.fromhex(data))
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def twice(said):
    """Whether ping with TWICE got its two replies; there are more where the first ones came late."""
    found = re.search(r"(\d+) received", said)
    return found is not None and int(found[1]) >= 2


class Frames:
    """A packet socket inside a tenant's namespace."""

    def __init__(self, tenant, device="eth0"):
        self.process = tenant.popen(PYTHON, "-c", FRAMES, device, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, frame, offload=None):
        """One frame, with that header of its unfinished rest; the errno."""
        print(int(offload is not None), ((offload or b"") + frame).hex(), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def packet(self, packet, offload=None):
        """One IP packet."""
        kind = b"\x08\0" if packet[0] >> 4 != 6 else b"\x86\xdd"
        return self.send(frame(kind, packet), offload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def frame(kind, payload, source="020000000001", target="02000000ffff"):
    """An Ethernet frame."""
    return bytes.fromhex(target) + bytes.fromhex(source) + kind + payload


def offload(gso_type=0, gso_size=0, csum=None, header=0):
    """A struct virtio_net_hdr; csum: (start, offset) from the frame's beginning."""
    start, offset = csum or (0, 0)
    return struct.pack("=BBHHHH", int(csum is not None), gso_type, header, gso_size, start, offset)


class Tenant:
    """A user's own user and network namespace, with a connection to a slice from inside."""

    def __init__(self, path, user="games", own=True):
        entry = pwd.getpwnam(user)
        self.uid = entry.pw_uid
        space = ["unshare", "-U", "-r", "-n"] if own else []
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", *space, PYTHON, "-c",
             INSIDE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "connected\n":
            raise RuntimeError("the tenant did not connect")
        self.pid = self.process.pid

    def enter(self, *argv):
        """The command line that runs argv inside, as root there."""
        return ["nsenter", f"--target={self.pid}", "--user", "--net", *argv]

    def run(self, *argv, check=True, **kwargs):
        """Runs a command inside, as root there; returns what it printed."""
        done = subprocess.run(self.enter(*argv), check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}")
        return done.stdout

    def popen(self, *argv, **kwargs):
        """subprocess.Popen inside."""
        return subprocess.Popen(self.enter(*argv), **kwargs)

    def configure(self, lo=None, hi=None, addresses=(HOST4, HOST6)):
        """Sets the far end up, as a client does."""
        lines = ["link set lo up", "link set eth0 addrgenmode none", "link set eth0 arp off up"]
        for address in addresses:
            lines.append(f"addr add {address}/{128 if ':' in address else 32} dev eth0 {'nodad' if ':' in address else ''}")
        lines += [f"neigh add {GATEWAY4} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
                  f"neigh add {GATEWAY6} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
                  f"route add default via {GATEWAY4} dev eth0 onlink", f"-6 route add default via {GATEWAY6} dev eth0 onlink"]
        for line in lines:
            self.run("ip", *line.split())
        if lo:
            self.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={lo} {hi}", "net.ipv4.ping_group_range=0 0")

    def python(self, script, *argv, **kwargs):
        """Runs a script inside."""
        return self.run(PYTHON, "-c", script, *argv, **kwargs)

    def index(self, name="eth0"):
        """Number of the device inside, 0 when there is none."""
        done = self.run("ip", "-j", "link", "show", "dev", name, check=False)
        rows = json.loads(done) if done else []
        return rows[0]["ifindex"] if rows else 0

    def lost(self, name="eth0"):
        """How many packets that were sent the kernel had no room for before they came out at the host's end."""
        return json.loads(self.run("ip", "-j", "-s", "link", "show", "dev", name))[0]["stats64"]["tx"]["dropped"]

    def close(self):
        """Ends the client, and with it its namespaces."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Relay(rogue.Rogue):
    """A relay that does nothing but make links, soundly if it is not told otherwise."""

    def accept(self, number=1):
        """The next client of a slice."""
        listener = self.controls[number]
        select.select([listener], [], [], PATIENCE)
        return listener.accept()[0]

    def answer(self, kind, seconds=PATIENCE):
        """The body of the next message of that kind; None when it does not come in time."""
        self.channel.settimeout(seconds)
        while True:
            try:
                data = self.channel.recv(256)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the monitor closed the channel")
            if struct.unpack_from("=I", data)[0] == kind:
                return data[8:]

    def ask(self, fds, lo, hi, *, flags=0, number=1, netns=0):
        """PRIV_LINK; lo and hi are one port for all classes or a list. (error, link, mtu)"""
        lo, hi = ([one] * CLASSES if isinstance(one, int) else one for one in (lo, hi))
        body = struct.pack("=QIII", 99, netns, number, flags) + struct.pack("=6H8x", *lo, *hi)
        socket.send_fds(self.channel, [struct.pack("=II", rogue.LINK, 8 + len(body)) + body], fds)
        cookie, error, link, mtu = struct.unpack_from("=QiII", self.answer(rogue.LINKED))
        assert cookie == 99
        return error, link, mtu

    def open(self, lo, hi, state=TO_LINK):
        """Writes the open bytes of a block."""
        for (_, kind), block in self.blocks.items():
            if kind < CLASSES:
                block[lo:hi + 1] = bytes([state]) * (hi + 1 - lo)

    def hold(self, lo, hi, uid, number=1):
        """Reserves a block of all classes."""
        for kind in range(CLASSES):
            error = self.reserve(lo, hi, uid=uid, kind=kind, slice_number=number)
            if error:
                raise OSError(error, f"reserve {lo}-{hi}")

    def link(self, tenant, lo, hi, *, flags=0, number=1, sock=None):
        """All of it: reserve, link, open. The link's number."""
        client = sock or self.accept(number)
        self.hold(lo, hi, tenant.uid, number)
        error, link, _ = self.ask([client.fileno()], lo, hi, flags=flags, number=number)
        if error:
            raise OSError(error, "no link")
        self.open(lo, hi)
        return link

    def unlink(self, link, netns=0):
        """PRIV_UNLINK"""
        self.send(rogue.UNLINK, struct.pack("=II", netns, link))

    def dropped(self, link, reason):
        """How many packets of a link were dropped for a reason."""
        at = link * rogue.LINK_TRAFFIC + 64 + 8 * REASONS.index(reason)
        return struct.unpack_from("=Q", self.link_traffic, at)[0]

    def reasons(self, link):
        """All reasons for which packets of a link were dropped."""
        return {name: self.dropped(link, name) for name in REASONS if self.dropped(link, name)}

    def slice_dropped(self, number, reason):
        """How many packets of a slice were dropped for a reason."""
        return struct.unpack_from("=Q", self.traffic, number * rogue.TRAFFIC + 128 + 8 * REASONS.index(reason))[0]

    def counters(self, link):
        """rx_packets, rx_bytes, tx_packets, tx_bytes, from_relay, to_relay"""
        return struct.unpack_from("=6Q", self.link_traffic, link * rogue.LINK_TRAFFIC)


@contextlib.contextmanager
def linked(pair, *sections):
    """A broker whose relay makes links; yields (relay, broker)."""
    with rogue.taken_over(pair, *sections, kind=Relay) as (relay, broker):
        yield relay, broker
