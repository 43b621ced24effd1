# SPDX-License-Identifier: BSD-2-Clause
"""IP packets by hand: written from the RFCs, shares no code with the broker."""

import ipaddress
import struct

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SCTP, DCCP, UDPLITE, GRE = 132, 33, 136, 47
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address):
    """An address text as bytes."""
    return ipaddress.ip_address(address).packed


def pseudo(src, dst, protocol, length):
    """Pseudo header (RFC 793, RFC 8200 8.1)."""
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length)
    return src + dst + struct.pack("!I3xB", length, protocol)


def ip(src, dst, protocol, payload, ttl=64, ident=0x1234, flags=0, offset=0, options=b"", ihl=None, length=None):
    """An IPv4 or IPv6 packet, by the family of src. flags/offset/options are IPv4's."""
    src, dst = packed(src), packed(dst)
    if len(src) == 16:
        size = len(payload) if length is None else length
        return struct.pack("!IHBB", 6 << 28, size, protocol, ttl) + src + dst + payload
    words = 5 + len(options) // 4 if ihl is None else ihl
    size = 20 + len(options) + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, size, ident, flags << 13 | offset, ttl, protocol, 0) + src + dst
    head += options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(src, dst, sport, dport, seq=1, ack=0, flags=SYN, payload=b"", window=65535, **more):
    """A TCP segment in an IP packet."""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, window, 0, 0)
    value = checksum(pseudo(packed(src), packed(dst), TCP, len(head) + len(payload)) + head + payload)
    return ip(src, dst, TCP, head[:16] + struct.pack("!H", value) + head[18:] + payload, **more)


def udp(src, dst, sport, dport, payload=b"saferaw", **more):
    """A UDP datagram in an IP packet."""
    size = 8 + len(payload)
    head = struct.pack("!HHHH", sport, dport, size, 0)
    value = checksum(pseudo(packed(src), packed(dst), UDP, size) + head + payload) or 0xFFFF
    return ip(src, dst, UDP, head[:6] + struct.pack("!H", value) + payload, **more)


def udplite(src, dst, sport, dport, payload=b"saferaw", coverage=0, sums=None, **more):
    """A UDP-Lite datagram (RFC 3828) whose checksum covers that many bytes, 0 for all; sums: the source that is summed."""
    body = struct.pack("!HHHH", sport, dport, coverage, 0) + payload
    value = checksum(pseudo(packed(sums or src), packed(dst), UDPLITE, len(body)) + body[:coverage or len(body)]) or 0xFFFF
    return ip(src, dst, UDPLITE, body[:6] + struct.pack("!H", value) + payload, **more)


def sctp(src, dst, sport, dport, payload=b"saferaw!", **more):
    """An SCTP packet (RFC 9260) with one chunk of a type that nobody knows, and its CRC32c."""
    chunk = struct.pack("!BBH", 0x3F, 0, 4 + len(payload)) + payload
    packet = struct.pack("!HHII", sport, dport, 0xCAFE, 0) + chunk
    return ip(src, dst, SCTP, packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:], **more)


def crc32c(data):
    """CRC32c (RFC 9260 appendix A), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def dccp(src, dst, sport, dport, payload=b"saferaw!", kind=2, coverage=0, **more):
    """A DCCP packet (RFC 4340) with a long sequence number and no options; kind 2 is Data."""
    body = struct.pack("!HHBBHBBHI", sport, dport, 4, coverage, 0, kind << 1 | 1, 0, 0, 7) + payload
    covered = 16 + (coverage - 1) * 4 if coverage else len(body)
    value = checksum(pseudo(packed(src), packed(dst), DCCP, len(body)) + body[:covered])
    return ip(src, dst, DCCP, body[:6] + struct.pack("!H", value) + body[8:], **more)


def gre(src, dst, key, payload=b"saferaw", flags=0x2000, kind=0x0800, sequence=0, **more):
    """A GRE packet (RFC 2784, RFC 2890) with what the flags say; kind is that of the payload."""
    head = struct.pack("!HH", flags, kind) + (bytes(4) if flags & 0x8000 else b"")
    head += struct.pack("!I", key) if flags & 0x2000 else b""
    head += struct.pack("!I", sequence) if flags & 0x1000 else b""
    if flags & 0x8000:
        head = head[:4] + struct.pack("!H", checksum(head + payload)) + head[6:]
    return ip(src, dst, GRE, head + payload, **more)


def icmp(src, dst, kind, code=0, rest=b"\0\0\0\0", payload=b"", **more):
    """An ICMP or ICMPv6 message in an IP packet, by the family of src."""
    head = struct.pack("!BBH", kind, code, 0) + rest
    if ":" in src:
        value = checksum(pseudo(packed(src), packed(dst), ICMPV6, len(head) + len(payload)) + head + payload)
        protocol = ICMPV6
    else:
        value, protocol = checksum(head + payload), ICMP
    return ip(src, dst, protocol, head[:2] + struct.pack("!H", value) + head[4:] + payload, **more)


def echo(src, dst, ident, sequence=1, payload=b"saferaw echo", reply=False, **more):
    """An echo request or reply."""
    kind = (129 if reply else 128) if ":" in src else (0 if reply else 8)
    return icmp(src, dst, kind, 0, struct.pack("!HH", ident, sequence), payload, **more)


def fragment(whole, start, stop=None, ident=7, more=None):
    """The fragment of a packet without options and extension headers that holds bytes start to stop of what is behind its header."""
    size = 40 if whole[0] >> 4 == 6 else 20
    part = whole[size:][start:stop]
    more = stop is not None and size + stop < len(whole) if more is None else more
    if size == 40:
        head = struct.pack("!BxHI", whole[6], start | more, ident)
        return whole[:4] + struct.pack("!HB", len(head) + len(part), 44) + whole[7:40] + head + part
    head = whole[:2] + struct.pack("!HHHBBH", 20 + len(part), ident, start // 8 | more << 13, whole[8], whole[9], 0) + whole[12:20]
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + part


class Packet:
    """What a packet says, for comparing; attributes are None where they do not apply."""

    def __init__(self, raw):
        self.raw = raw
        self.version = raw[0] >> 4
        self.sport = self.dport = self.flags = self.seq = self.ack = self.type = self.code = self.ident = None
        self.fragment = False
        if self.version == 4:
            words, size, frag, self.ttl, self.protocol = raw[0] & 15, *struct.unpack("!2xH2xHBB", raw[:10])
            self.src, self.dst = (str(ipaddress.ip_address(raw[at:at + 4])) for at in (12, 16))
            self.fragment = bool(frag & 0x3FFF)
            self.header_good = checksum(raw[:words * 4]) == 0
            self.body = raw[words * 4:size]
            later = bool(frag & 0x1FFF)
        else:
            size, self.protocol, self.ttl = struct.unpack("!4xHBB", raw[:8])
            self.src, self.dst = (str(ipaddress.ip_address(raw[at:at + 16])) for at in (8, 24))
            self.header_good = True
            self.body = raw[40:40 + size]
            later = False
            while self.protocol in (0, 43, 44, 60):
                if self.protocol == 44:
                    self.fragment = True
                    later = later or struct.unpack("!H", self.body[2:4])[0] >> 3 != 0
                skip = 8 if self.protocol == 44 else 8 + self.body[1] * 8
                self.protocol, self.body = self.body[0], self.body[skip:]
        self.size = len(raw)
        if not later:
            self._transport()

    def _transport(self):
        body = self.body
        if self.protocol in (TCP, UDP, SCTP, DCCP, UDPLITE):
            self.sport, self.dport = struct.unpack("!HH", body[:4])
        if self.protocol == TCP:
            self.seq, self.ack, offset, self.flags = struct.unpack("!IIBB", body[4:14])
            self.payload = body[(offset >> 4) * 4:]
        elif self.protocol in (UDP, UDPLITE):
            self.payload = body[8:]
        elif self.protocol in (SCTP, DCCP):
            self.payload = body[16:]
        elif self.protocol in (ICMP, ICMPV6):
            self.type, self.code = body[0], body[1]
            self.ident = struct.unpack("!H", body[4:6])[0]
            self.payload = body[8:]

    def transport_good(self):
        """Whether the transport checksum is right."""
        if self.protocol == ICMP:
            return checksum(self.body) == 0
        if self.protocol == UDP and self.version == 4 and self.body[6:8] == b"\0\0":
            return True
        return checksum(pseudo(packed(self.src), packed(self.dst), self.protocol, len(self.body)) + self.body) == 0

    def __repr__(self):
        return (f"<IPv{self.version} {self.src}:{self.sport} > {self.dst}:{self.dport} proto {self.protocol} "
                f"type {self.type} ident {self.ident} flags {self.flags} ttl {self.ttl} size {self.size}>")
