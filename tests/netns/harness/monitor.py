# SPDX-License-Identifier: BSD-2-Clause
"""A stand-in for the monitor.

It runs the built relay alone, on sockets and memory files that look to it like
a TUN and BPF maps, and speaks include/priv.h, written from that page without a
line of the monitor.
"""

import errno
import fcntl
import mmap
import os
import pwd
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

from . import PATIENCE, proto, tap
from .broker import RELAY_USER, program

(BEGIN, NETNS, ADDRESS, SLICE, RANGE, SLICE_ADDRESS, MEMBER, PEER_NETNS, DENY, COMMIT, ADDRESS_NEWS, ROUTES_NEWS,
 SHUTDOWN, READY, RESERVE, RESERVED, RELEASE, ROUTE, ROUTED, LINK, LINKED, UNLINK, LINK_NEWS,
 BLOCK, COVERED, COVERS, GRANT, SLICE_GRANT, SLICE_PROXIED) = range(1, 30)
HEADER = struct.Struct("=II")
PORTS, CLASSES, ADDRESSES, SLICES = 65536, 6, 32, 1024
TRAFFIC, DROPPED = 384, 128  # bytes of one slice, and where in them the dropped packets are
LINKS, LINK_TRAFFIC = 4096, 320
ANY_ADDRESS = 0xFF
RESERVE_BODY = struct.Struct("=QIIIBBBxHH4x")
LINK_BODY = struct.Struct("=QIII3H3H8x")
RELEASE_BODY = struct.Struct("=IIIBBBxHH4x")


def message(kind, body=b""):
    """One message with its header."""
    return HEADER.pack(kind, HEADER.size + len(body)) + body


class Slice:
    """What the stand-in says of a slice."""

    def __init__(self, number=1, serial=1, netns=0, name="one", users=("games",), groups=(),
                 ranges=((0, 40000, 40999), (1, 40000, 40999), (2, 40000, 40999)), addresses=(), deny=(), clients=16,
                 flows=1000, queue=65536, memory=1 << 30, peers=None, sniff_users=(), sniff_groups=(), fragments=False,
                 local=False, proxied=()):
        self.__dict__.update({key: value for key, value in locals().items() if key != "self"})

    def records(self, listener):
        """Its messages with their fds."""
        body = struct.pack("=IIIIIIQBBBB4x32s", self.number, self.serial, self.netns, self.clients, self.flows,
                           self.queue, self.memory, self.local, not self.addresses, self.peers is not None,
                           self.fragments, self.name.encode())
        yield message(SLICE, body), [listener]
        for kind, low, high in self.ranges:
            yield message(RANGE, struct.pack("=IBxHHH", self.number, kind, low, high, 0)), []
        for address in self.addresses:
            yield message(SLICE_ADDRESS, struct.pack("=I4x16s", self.number, proto.mapped(address))), []
        for prefix in self.proxied:
            raw, bits = proto.prefixed(prefix)
            yield message(SLICE_PROXIED, struct.pack("=IB3x16s", self.number, bits, raw)), []
        for user in self.users:
            yield message(MEMBER, struct.pack("=IIII", self.number, 1, pwd.getpwnam(user).pw_uid, 0)), []
        for group in self.groups:
            yield message(MEMBER, struct.pack("=IIII", self.number, 2, group, 0)), []
        for user in self.sniff_users:
            yield message(MEMBER, struct.pack("=IIII", self.number, 3, pwd.getpwnam(user).pw_uid, 0)), []
        for group in self.sniff_groups:
            yield message(MEMBER, struct.pack("=IIII", self.number, 4, group, 0)), []
        for cookie in self.peers or ():
            yield message(PEER_NETNS, struct.pack("=I4xQ", self.number, cookie)), []
        for address, bits in self.deny:
            yield message(DENY, struct.pack("=IB3x16s", self.number, bits, proto.mapped(address))), []


class Monitor:
    """The relay's process and everything around it. Reservations and routes are answered by a thread."""

    def __init__(self, slices=(), addresses=("192.0.2.1", "2001:db8::1"), mtu=1500, nofile=None, ready=True):
        self.directory = tempfile.mkdtemp(prefix="saferaw-relay-")
        os.chmod(self.directory, 0o755)
        os.mkdir(os.path.join(self.directory, "empty"))
        self.addresses = list(addresses)
        self.proxied = []  # prefixes that have a row, from ADDRESSES on, for good
        self.serial, self.mtu, self.cookie = 1, mtu, 4711
        self.covered = {}  # (class, port): mask of addresses on which sockets of the monitor's hold it
        self.busy, self.routes = set(), {}  # ports that are refused; destination: (source, mtu) or None
        self.reserves, self.releases, self.asked = [], [], []  # (class, address, family, lo, hi, uid, slice)
        self.at_release = []  # the open byte of each released port when its release came
        self.linked, self.unlinked = [], []  # (netns, slice, flags), lo, hi, what the fds are; numbers
        self.link_error, self.next_link = 0, 1
        self.answering = threading.Event()
        self.answering.set()
        self.is_ready = threading.Event()
        self.listeners, self.slices = {}, list(slices)
        self.lock = threading.Lock()
        self.make_netns()
        self.run(nofile)
        self.configure(*self.slices)
        if ready and not self.is_ready.wait(PATIENCE):
            raise RuntimeError(f"the relay did not become ready:\n{self.log}")

    def make_netns(self):
        """A TUN and maps."""
        self.tun, self.tun_relay = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.tun, self.tun_relay):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.tun_relay.setblocking(False)
        self.blocks = {}  # (address index, class): (fd, its bytes)
        self.traffic_fd = os.memfd_create("traffic")
        os.ftruncate(self.traffic_fd, TRAFFIC * SLICES)
        self.traffic = mmap.mmap(self.traffic_fd, TRAFFIC * SLICES)
        self.tap, self.tap_relay = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.tap_relay.setblocking(False)
        self.link_traffic_fd = os.memfd_create("link_traffic")
        os.ftruncate(self.link_traffic_fd, LINK_TRAFFIC * LINKS)
        self.link_traffic = mmap.mmap(self.link_traffic_fd, LINK_TRAFFIC * LINKS)

    def run(self, nofile):
        """Starts the relay with what it is to have, and nothing else."""
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.root = os.open(os.path.join(self.directory, "empty"), os.O_PATH | os.O_DIRECTORY)
        self.logfile = os.path.join(self.directory, "log")
        channel, root = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs.fileno(), self.root))
        limit = ["prlimit", f"--nofile={nofile}"] if nofile else []
        caps = "-all,+sys_chroot"
        command = [*limit, "setpriv", f"--reuid={RELAY_USER}", f"--regid={RELAY_USER}", "--clear-groups",
                   f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}", "--no-new-privs",
                   program("saferaw-relay")]
        script = f'exec 3<&{channel} 4<&{root} {channel}<&- {root}<&-; exec "$@"'
        with open(self.logfile, "wb") as log:
            self.process = subprocess.Popen(["bash", "-c", script, "-", *command], pass_fds=(channel, root),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(channel)
        os.close(root)
        theirs.close()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    @property
    def log(self):
        """What the relay has written."""
        with open(self.logfile, encoding="utf-8", errors="replace") as file:
            return file.read()

    def path(self, name="one"):
        """The control socket of a slice."""
        return os.path.join(self.directory, name + ".sock")

    def listener(self, name):
        """The listening socket of a slice."""
        if name not in self.listeners:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.bind(self.path(name))
            os.chmod(self.path(name), 0o666)
            sock.listen(64)
            sock.setblocking(False)
            self.listeners[name] = sock
        return self.listeners[name].fileno()

    def send(self, data, fds=()):
        """One message to the relay."""
        with self.lock:
            socket.send_fds(self.channel, [data], list(fds))

    def configure(self, *slices):
        """Tells a whole configuration."""
        self.slices = list(slices)
        self.send(message(BEGIN))
        self.send(message(NETNS, struct.pack("=IIIIQ32s", 0, self.serial, self.mtu, 0, self.cookie, b"default")),
                  [self.tun_relay.fileno(), self.traffic_fd, self.tap_relay.fileno(), self.link_traffic_fd])
        for index, address in enumerate(self.addresses):
            self.send(message(ADDRESS, struct.pack("=IBBBx16s", 0, index, 1, 128, proto.mapped(address))))
            self.tell_blocks(index)
        self.tell_proxied(slices)
        for one in slices:
            for data, fds in one.records(self.listener(one.name)):
                self.send(data, fds)
        self.send(message(COMMIT))

    def tell_proxied(self, slices):
        """Tells the rows of proxied prefixes, but for those that are no slice's any more."""
        wanted = [prefix for one in slices for prefix in one.proxied]
        self.proxied += [prefix for prefix in wanted if prefix not in self.proxied]
        for index, prefix in enumerate(self.proxied, ADDRESSES):
            if prefix in wanted:
                raw, bits = proto.prefixed(prefix)
                self.send(message(ADDRESS, struct.pack("=IBBBx16s", 0, index, 1, bits, raw)))
                self.tell_blocks(index)

    def tell_blocks(self, index):
        """Tells the blocks of an address, which are made at the first time."""
        for kind in range(CLASSES):
            if (index, kind) not in self.blocks:
                fd = os.memfd_create("open")
                os.ftruncate(fd, PORTS)
                self.blocks[index, kind] = fd, mmap.mmap(fd, PORTS)
            self.send(message(BLOCK, struct.pack("=IBBxx", 0, index, kind)), [self.blocks[index, kind][0]])

    def address_news(self, address, present):
        """An address has come or gone."""
        if address not in self.addresses:
            self.addresses.append(address)
        index = self.addresses.index(address)
        self.tell_blocks(index)
        self.send(message(ADDRESS_NEWS, struct.pack("=IBBBx16s", 0, index, present, 128, proto.mapped(address))))

    def routes_news(self, mtu=1500):
        """Routes have changed."""
        self.mtu = mtu
        self.send(message(ROUTES_NEWS, struct.pack("=II", 0, mtu)))

    def listen(self):
        """The thread: answers what the relay asks."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.channel, 4096, 4)
            except OSError:
                return
            if not data:
                return
            self.answering.wait()
            kind, size = HEADER.unpack_from(data)
            assert size == len(data), (kind, size, len(data))
            body = data[HEADER.size:]
            if kind == LINK:
                body = (body, fds)
            try:
                {READY: self.take_ready, RESERVE: self.take_reserve, RELEASE: self.take_release, ROUTE: self.take_route,
                 COVERED: self.take_covered, LINK: self.take_link, UNLINK: self.take_unlink}[kind](body)
            except OSError:
                return

    def take_ready(self, _):
        """READY"""
        self.is_ready.set()

    def take_reserve(self, body):
        """RESERVE"""
        cookie, _, number, uid, kind, address, family, low, high = RESERVE_BODY.unpack(body)
        self.reserves.append((kind, address, family, low, high, uid, number))
        error, port = 0, 0
        for port in range(low, high + 1):
            if (kind, port) in self.busy:
                error = errno.EADDRINUSE
                break
        self.send(message(RESERVED, struct.pack("=QiHxx", cookie, error, port)))

    def take_release(self, body):
        """RELEASE"""
        _, number, uid, kind, address, family, low, high = RELEASE_BODY.unpack(body)
        index = 0 if address == ANY_ADDRESS else address
        self.at_release.append(self.is_open(low, kind, index))
        self.releases.append((kind, address, family, low, high, uid, number))

    def take_link(self, message_and_fds):
        """LINK: a number, or the error that is in self.link_error."""
        body, fds = message_and_fds
        fields = LINK_BODY.unpack(body)
        self.linked.append((fields[1:4], fields[4:7], fields[7:10], [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]))
        for fd in fds:
            os.close(fd)
        number = 0 if self.link_error else self.next_link
        self.next_link += not self.link_error
        self.send(message(LINKED, struct.pack("=QiIII", fields[0], self.link_error, number, self.mtu, 0)))

    def take_unlink(self, body):
        """UNLINK"""
        self.unlinked.append(struct.unpack("=II", body)[1])

    def device_gone(self, number):
        """A link's device has gone."""
        self.send(message(LINK_NEWS, struct.pack("=II", 0, number)))

    def from_link(self, number, packet, slice_number=1):
        """A packet of a link's for the relay."""
        at = slice_number * TRAFFIC + 8
        struct.pack_into("=Q", self.traffic, at, struct.unpack_from("=Q", self.traffic, at)[0] + 1)
        kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
        self.tap.send(struct.pack("!4sH6xH", b"\2\0\0\0", number, kind) + packet)

    def to_link(self, seconds=PATIENCE):
        """(number, packet) that the relay has sent to a link; None when none came in that time."""
        if not select.select([self.tap], [], [], seconds)[0]:
            return None
        frame = self.tap.recv(1 << 17)
        prefix, number, kind = struct.unpack_from("!4sH6xH", frame)
        assert prefix == b"\2\0\0\0" and kind == (0x0800 if frame[14] >> 4 == 4 else 0x86DD), frame[:15]
        return number, frame[14:]

    def take_route(self, body):
        """ROUTE"""
        netns, destination = struct.unpack("=I4x16s", body)
        text = proto.unmapped(destination)
        self.asked.append(text)
        known = self.routes.get(text)
        source, mtu = known or (None, 0)
        self.send(message(ROUTED, struct.pack("=Ii16s16sI4x", netns, 0 if known else errno.ENETUNREACH, destination,
                                              proto.mapped(source), mtu)))

    def take_covered(self, body):
        """COVERED"""
        netns, kind, port = struct.unpack("=IBxH", body)
        self.send(message(COVERS, struct.pack("=IBxHQ", netns, kind, port, self.covered.get((kind, port), 0))))

    def tap_drained(self, number=1):
        """What the relay says it has taken out of the link TAP for a slice."""
        return struct.unpack_from("=Q", self.traffic, number * TRAFFIC + 72)[0]

    def is_open(self, port, kind=proto.TCP, address=0):
        """The byte in the open map."""
        return self.blocks[address, kind][1][port] if (address, kind) in self.blocks else 0

    def drained(self, number=1):
        """What the relay says it has taken out for a slice."""
        return struct.unpack_from("=Q", self.traffic, number * TRAFFIC + 64)[0]

    def arrive(self, packet, number=1):
        """A packet for the relay, queued for that slice."""
        queued, = struct.unpack_from("=Q", self.traffic, number * TRAFFIC)
        struct.pack_into("=Q", self.traffic, number * TRAFFIC, queued + 1)
        self.tun.send(packet)

    def sent(self, seconds=PATIENCE):
        """A packet of the relay's; None when none came in that time."""
        if not select.select([self.tun], [], [], seconds)[0]:
            return None
        return self.tun.recv(1 << 17)

    def client(self, user="games", name="one", **more):
        """A client of a slice."""
        return proto.Client(self.path(name), user, **more)

    def wait(self, condition, seconds=PATIENCE):
        """Waits until condition() holds; says whether it did."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def fds(self):
        """How many file descriptors the relay has."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ended(self, seconds=PATIENCE):
        """The relay's exit status, when it has ended in that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        """Ends everything."""
        self.answering.set()
        try:
            self.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.ended() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for sock in (self.channel, self.tun, self.tun_relay, self.tap, self.tap_relay, *self.listeners.values()):
            sock.close()
        for fd in (*(fd for fd, _ in self.blocks.values()), self.traffic_fd, self.link_traffic_fd, self.root):
            os.close(fd)
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            print("\n".join("# relay: " + line for line in self.log.splitlines()), flush=True)
        self.stop()


def netns_cookie():
    """The cookie of the namespace that this process is in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, 71, 8))[0]


def refused(relay, client, flow, packet, reason):
    """Sends a packet and checks that it is refused for that reason, and that it does not come out."""
    before = client.stats(flow.number)["tx"][reason]
    flow.send(packet)
    tap.check(relay.wait(lambda: client.stats(flow.number)["tx"][reason] == before + 1), f"not counted as {reason}: "
          f"{[(k, v) for k, v in client.stats(flow.number)['tx'].items() if v]}")
    tap.equal(relay.sent(0.02), None, f"what came out although {reason}")
