# SPDX-License-Identifier: BSD-2-Clause
"""The control protocol, written from saferaw-protocol(7) without a line of libsaferaw."""

import contextlib
import errno
import ipaddress
import os
import pwd
import select
import socket
import struct

from . import PATIENCE

TCP, UDP, ICMP, SCTP, DCCP, UDPLITE, GRANT = range(7)
HELLO, INFO, OPEN, ROUTE, STATS, FLOWS, PORT, EVENT = range(1, 9)
NETNS, LINK, LINKS, MAPPINGS = range(9, 13)
CONSUMER, SNIFFER, ICMP_ERROR = 1, 2, 3
CLASS_ANY = 255
META, ERRORS = 1, 2
META_SENT = 1
SHUTDOWN, REVOKED, ADDRESS_GONE, ADDRESS_BACK, ROUTES, MISSED, UNLINKED = range(1, 8)
STRICT, QUIET = 1, 2
HEADER = struct.Struct("=HHI")
OPEN_REQUEST = struct.Struct("=HHIBBBBHH16s16sH6x")
OPEN_GRANT = struct.Struct("=HHIBBBBHH16s16sHBBI")
OPENED = struct.Struct("=HHIiHHQ16s64s408x")
STATS_REPLY = struct.Struct("=HHIiHHQQQQQQ48Q48Q32Q")
NETNS_REPLY = struct.Struct("=HHIiHH32sQQQQ48Q48Q32Q48Q32Q")
FLOW_ROW = struct.Struct("=QQQQQQIBBBBHHHBx16s16s4xB3x")
PREFIX = struct.Struct("=16sB3x")
LINK_REPLY = struct.Struct("=HHIiIIBB2x" + "HHHH" * 3 + "512s64s")
LINK_ROW = struct.Struct("=IIII" + "Q" * 11 + "HHHH" * 3)
MAPPING_ROW = struct.Struct("=BxHHHII16s16s")
META_HEADER = struct.Struct("=IIQII")
ANY = b"\0" * 16

VERDICTS = """pass short version header-length length checksum extension transport option source-route fragment
read-only protocol icmp-type source port remote loopback multicast broadcast unspecified link-local denied too-big
no-route route-wait dormant tun-full queue-full no-flow error-unwanted martian local no-link no-mapping napt-exhausted
fragment-length tiny-fragment atomic-fragment orphan-fragment overlap routing-header home-address chain-end copy-limit gre""".split()

STEER_REASONS = ("steer-in-rate steer-in-share steer-out-" + """stale header source protocol icmp-type fragment option port loopback multicast
denied local no-route too-big rate link-local tiny orphan overlap""".replace("\n", " ").replace(" ", " steer-out-")
                 + """ steer-link-gone steer-link-vlan steer-link-ethertype steer-link-onlink steer-link-gso-type steer-link-gso-size
steer-link-csum-start steer-link-csum-offset steer-link-port steer-link-quiet steer-link-share""").split()


def mapped(address):
    """An address text as the protocol's 16 bytes; None: any."""
    if address is None:
        return ANY
    raw = ipaddress.ip_address(address).packed
    return raw if len(raw) == 16 else b"\0" * 10 + b"\xff\xff" + raw


def prefixed(text):
    """An address or prefix text as the protocol's 16 bytes and length; length 0: an address, or any."""
    if text is None or "/" not in text:
        return mapped(text), 0
    address, bits = text.split("/")
    return mapped(address), int(bits) + (0 if ":" in address else 96)


def unmapped(raw):
    """The protocol's 16 bytes as text; None for any."""
    if raw == ANY:
        return None
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


@contextlib.contextmanager
def user(name):
    """Effective ids of that user while the context lasts: what SO_PEERCRED of a connection made meanwhile says."""
    entry = pwd.getpwnam(name)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


class Flow:
    """A plain flow: the fd, and what the broker said of it."""

    def __init__(self, fd, number, local, port, count, meta):
        self.socket = socket.socket(fileno=fd)
        self.number, self.local, self.port, self.count, self.meta = number, local, port, count, meta

    def send(self, packet):
        """Writes one packet."""
        return self.socket.send(packet)

    def recv(self, seconds=PATIENCE):
        """One packet, or None when none came in that time; b'' is end of file."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        data = self.socket.recv(1 << 17)
        return data

    def drain(self):
        """Every packet that is there now."""
        packets = []
        while packet := self.recv(0):
            packets.append(packet)
        return packets

    def close(self):
        """Gives the flow back."""
        self.socket.close()


class Link:
    """What the broker said of a link."""

    def __init__(self, number, mtu, local, blocks, addresses, count):
        self.number, self.mtu, self.local = number, mtu, local
        self.blocks = [blocks[at:at + 3] for at in range(0, 12, 4)]  # (lo, hi, direct_hi) of each class
        self.addresses = [unmapped(addresses[16 * row:16 * row + 16]) for row in range(count)]


class Client:
    """A conversation. Raises OSError with the errno that the broker gave."""

    def __init__(self, path, name=None, hello=True, seconds=PATIENCE, sock=None):
        self.socket = sock or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(seconds)
        self.ident = 0
        self.events = []
        if not sock:  # else it is connected
            with user(name) if name else contextlib.nullcontext():
                self.socket.connect(path)
        if hello:
            self.slice = self.hello()

    def request(self, kind, body=b"", fds=()):
        """Sends one request with fds, returns its reply and the fd that came with it (or None)."""
        self.ident += 1
        socket.send_fds(self.socket, [HEADER.pack(kind, HEADER.size + len(body), self.ident) + body], list(fds))
        return self.reply(kind, self.ident)

    def reply(self, kind, ident):
        """The reply to that request; events before it are kept."""
        while True:
            data, fds, flags, _ = socket.recv_fds(self.socket, 8192, 4)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the broker closed the conversation")
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("truncated reply")
            got_kind, size, got_ident = HEADER.unpack_from(data)
            if size != len(data):
                raise ValueError(f"size {size} in a message of {len(data)}")
            if got_kind == EVENT:
                self.events.append(data)
                continue
            if (got_kind, got_ident) != (kind, ident):
                raise ValueError(f"reply {got_kind}/{got_ident} to {kind}/{ident}")
            return data, fds[0] if fds else None

    def hello(self, version=1):
        """The greeting; returns the slice's name."""
        data, _ = self.request(HELLO, struct.pack("=II", version, 0))
        error = struct.unpack_from("=i", data, 8)[0]
        if error:
            raise OSError(error, os.strerror(error))
        return data[24:56].rstrip(b"\0").decode()

    def event(self, seconds=PATIENCE):
        """(type, flow, address) of the next event; None when none came."""
        if not self.events:
            self.socket.settimeout(seconds)
            try:
                data = self.socket.recv(8192)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            self.events.append(data)
        kind, flow, address = struct.unpack_from("=IxxxxQ16s", self.events.pop(0), 8)
        return kind, flow, unmapped(address)

    def open(self, protocol, local=None, port=0, remote=None, remote_port=0, count=1, flags=0, family=None, kind=CONSUMER,
             number=0, key=0):
        """Opens a flow; local may be a prefix, number and key are of a protocol without ports."""
        if family is None:
            family = socket.AF_UNSPEC
            for text in (local, remote):
                if text:
                    family = socket.AF_INET6 if ":" in text else socket.AF_INET
        self.ident += 1
        local, bits = prefixed(local)
        self.socket.send(OPEN_GRANT.pack(OPEN, OPEN_GRANT.size, self.ident, kind, protocol, family, flags, port, count,
                                         local, mapped(remote), remote_port, number, bits, key))
        return self.opened(flags)

    def opened(self, flags):
        """The flow that the reply to the last OPEN has."""
        data, fd = self.reply(OPEN, self.ident)
        _, _, _, error, port, count, number, address, text = OPENED.unpack(data)
        if error:
            if fd is not None:
                raise ValueError("a refusal with an fd")
            raise OSError(error, text.rstrip(b"\0").decode())
        return Flow(fd, number, unmapped(address), port, count, bool(flags & META))

    def link(self, flags=0, count=0, ports=(0, 0, 0)):
        """Asks for a link to the namespace in which the control socket was made."""
        data, _ = self.request(LINK, struct.pack("=IH3H", flags, count, *ports))
        fields = LINK_REPLY.unpack(data)
        if fields[3]:
            raise OSError(fields[3], fields[21].rstrip(b"\0").decode())
        return Link(*fields[4:6], bool(fields[7]), fields[8:20], fields[20], fields[6])

    def links(self):
        """The slice's links: a list of dicts."""
        rows, after = [], 0
        names = """link uid flags mappings rx_packets rx_bytes tx_packets tx_bytes rx_translated tx_translated refused created
        expired displaced exhausted""".split()
        while True:
            data, _ = self.request(LINKS, struct.pack("=II", after, 0))
            error, count = struct.unpack_from("=iI", data, 8)
            if error:
                raise OSError(error, os.strerror(error))
            if count == 0:
                return rows
            rows += [dict(zip(names, LINK_ROW.unpack_from(data, 16 + at * LINK_ROW.size))) for at in range(count)]
            after = rows[-1]["link"]

    def mappings(self, link):
        """The mappings of a link: a list of (class, inner, outer, remote port, local, remote, to the host)."""
        rows, last = [], (0, 0)
        while True:
            data, _ = self.request(MAPPINGS, struct.pack("=IHH", link, *last))
            error, count = struct.unpack_from("=iI", data, 8)
            if error:
                raise OSError(error, os.strerror(error))
            if count == 0:
                return rows
            for at in range(count):
                offset = 16 + at * MAPPING_ROW.size
                kind, inner, outer, remote_port, _, _, local, remote = MAPPING_ROW.unpack_from(data, offset)
                rows.append((kind, inner, outer, remote_port, unmapped(local), unmapped(remote), data[offset + 1]))
                last = (kind, outer)

    def open_grant(self, number, key=0, **more):
        """Opens a flow of a protocol without ports."""
        return self.open(GRANT, number=number, key=key, **more)

    def stats(self, flow=0):
        """A dict: rx_packets, rx_bytes, tx_packets, tx_bytes, grants, refusals, rx {reason: n}, tx {reason: n}, steer [n]."""
        data, _ = self.request(STATS, struct.pack("=Q", flow))
        fields = STATS_REPLY.unpack(data)
        if fields[3]:
            raise OSError(fields[3], os.strerror(fields[3]))
        names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "grants", "refusals")
        result = dict(zip(names, fields[6:12]))
        rows = fields[4]
        result["rx"] = dict(zip(VERDICTS, fields[12:12 + rows]))
        result["tx"] = dict(zip(VERDICTS, fields[60:60 + rows]))
        result["steer"] = list(fields[108:108 + fields[5]])
        return result

    def netns(self):
        """The slice's netns, for root: a dict as of stats() with name, unknown_rx {reason: n}, unknown_steer [n]."""
        data, _ = self.request(NETNS)
        fields = NETNS_REPLY.unpack(data)
        if fields[3]:
            raise OSError(fields[3], os.strerror(fields[3]))
        reasons, steer = fields[4], fields[5]
        result = dict(zip(("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), fields[7:11]))
        result["name"] = fields[6].rstrip(b"\0").decode()
        result["rx"] = dict(zip(VERDICTS, fields[11:11 + reasons]))
        result["tx"] = dict(zip(VERDICTS, fields[59:59 + reasons]))
        result["steer"] = list(fields[107:107 + steer])
        result["unknown_rx"] = dict(zip(VERDICTS, fields[139:139 + reasons]))
        result["unknown_steer"] = list(fields[187:187 + steer])
        return result

    def addresses(self):
        """The slice's addresses that are present now."""
        data, _ = self.request(INFO)
        return [unmapped(data[36 + 16 * row:52 + 16 * row]) for row in range(data[33])]

    def prefixes(self):
        """The slice's proxied prefixes."""
        data, _ = self.request(INFO)
        rows = [PREFIX.unpack_from(data, 1484 + PREFIX.size * row) for row in range(struct.unpack_from("=I", data, 1480)[0])]
        return [f"{unmapped(raw)}/{bits - (96 if '.' in unmapped(raw) else 0)}" for raw, bits in rows]

    def flows(self):
        """Every flow of the slice: a list of tuples as in struct proto_flow_row."""
        rows, after = [], 0
        while True:
            data, _ = self.request(FLOWS, struct.pack("=Q", after))
            error, count = struct.unpack_from("=iI", data, 8)
            if error:
                raise OSError(error, os.strerror(error))
            if count == 0:
                return rows
            rows += [FLOW_ROW.unpack_from(data, 16 + at * FLOW_ROW.size) for at in range(count)]
            after = rows[-1][0]

    def close(self):
        """Ends the conversation; flows live on."""
        self.socket.close()
