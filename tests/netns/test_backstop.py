#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A relay that was taken over stays inside the slices' ports: steering is the backstop, the monitor widens nothing."""

import errno
import fcntl
import os
import select
import socket
import struct
import threading
import time

from harness import PATIENCE, packets, rogue, tap
from harness.broker import Broker, slice_section
from harness.rogue import taken_over
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness, own_talk


# linux/if_tun.h
TUNSETPERSIST, TUNSETOFFLOAD, TUNSETSNDBUF, TUNSETVNETHDRSZ = 0x400454CB, 0x400454D0, 0x400454D4, 0x400454D8
OFFLOADS = 0x01 | 0x02 | 0x04  # checksum, TSO of both families
NEWS = (rogue.ADDRESS_NEWS, rogue.ROUTES_NEWS)


def forged(source, target, port):
    """(name, packet): what must not leave, written straight into the TUN."""
    six = ":" in source
    stranger = "2001:db8::77" if six else "192.0.2.77"
    yield "a stranger as source", packets.udp(stranger, target, port, 9)
    yield "the peer as source", packets.udp(target, target, port, 9)
    yield "loopback as source", packets.udp("::1" if six else "127.0.0.1", target, port, 9)
    yield "a port that is not held", packets.udp(source, target, port + 1, 9)
    yield "a port outside the range", packets.udp(source, target, 22, 9)
    yield "TCP on a port held for UDP", packets.tcp(source, target, port, 9)
    yield "an RST from a host port", packets.tcp(source, target, 22, 9, flags=packets.RST)
    yield "an echo request with a foreign id", packets.echo(source, target, 7)
    yield "SCTP", packets.sctp(source, target, port, 9)
    yield "DCCP", packets.dccp(source, target, port, 9)
    yield "UDP-Lite", packets.udplite(source, target, port, 9)
    yield "GRE", packets.ip(source, target, 47, struct.pack("!HHI", 0x2000, 0x0800, port) + bytes(20))
    yield "IP in IP", packets.ip(source, target, 4, packets.udp(source, target, port, 9))
    yield "protocol 255", packets.ip(source, target, 255, bytes(20))
    yield "cut off", packets.udp(source, target, port, 9)[:(44 if six else 22)]
    yield "a byte", packets.udp(source, target, port, 9)[:1]
    yield "version 0", b"\x05" + packets.udp(source, target, port, 9)[1:]
    if six:
        body = packets.udp(source, target, port, 9)[40:]
        yield "a redirect", packets.icmp(source, target, 137, 0, bytes(4), bytes(32))
        yield "an error whose unused field is a held identifier", packets.icmp(source, target, 1, 0, struct.pack("!HH", port, 0), body)
        yield "a routing header with nothing left", packets.ip(source, target, 43, b"\x11\x02\x00\x00" + bytes(20) + body)
        yield "a router advertisement", packets.icmp(source, target, 134, 0, bytes(4), bytes(8))
        yield "a routing header", packets.ip(source, target, 43, b"\x11\x02\x00\x01" + bytes(20) + body)
        yield "a home address", packets.ip(source, target, 60, b"\x11\x02\x01\x00\xc9\x10" + packets.packed(stranger) + bytes(2) + body)
        yield "a fragment", packets.ip(source, target, 44, b"\x11\0\0\x01" + bytes(4) + body)
        yield "a later fragment", packets.ip(source, target, 44, b"\x11\0\0\x08" + bytes(4) + body)
        yield "a broken chain", packets.ip(source, target, 60, b"\x11\xff" + bytes(6))
        yield "multicast", packets.udp(source, "ff02::1", port, 9)
        yield "loopback", packets.udp(source, "::1", port, 9)
        yield "denied", packets.udp(source, "fd00:ec2::254", port, 9)
        yield "denied to the slice", packets.udp(source, "2001:db8:bad::7", port, 9)
        yield "link-local", packets.udp(source, "fe80::7", port, 9)
        yield "an IPv4 address in IPv6", packets.udp(source, "::192.0.2.2", port, 9)
    else:
        yield "a redirect", packets.icmp(source, target, 5, 0, bytes(4), packets.udp(target, source, 9, port))
        yield "an error whose unused field is a held identifier", packets.icmp(
            source, target, 3, 3, struct.pack("!HH", port, 0), packets.udp(target, source, 9, port))
        yield "a fragment", packets.udp(source, target, port, 9, flags=1)
        yield "a later fragment", packets.ip(source, target, 17, bytes(32), offset=8)
        yield "a source route", packets.udp(source, target, port, 9, options=b"\x83\x07\x04\x0a\0\0\x01\0")
        yield "multicast", packets.udp(source, "224.0.0.1", port, 9)
        yield "broadcast", packets.udp(source, "255.255.255.255", port, 9)
        yield "subnet broadcast", packets.udp(source, "192.0.2.255", port, 9)
        yield "loopback", packets.udp(source, "127.0.0.1", port, 9)
        yield "link-local and denied", packets.udp(source, "169.254.169.254", port, 9)
        yield "denied to the slice", packets.udp(source, "203.0.113.7", port, 9)
        yield "link-local", packets.udp(source, "169.254.7.7", port, 9)
        yield "this network", packets.udp(source, "0.1.2.3", port, 9)
        yield "no route", packets.udp(source, "100.64.0.1", port, 9)
        yield "an ARP look-alike", b"\0\1\x08\0\6\4\0\1" + bytes(20)


def test_forged_packets():
    """Arbitrary packets written to the TUN: nothing but what comes from a held port of the slice leaves."""
    denied = slice_section(extra='local = no deny = {"203.0.113.0/24", "2001:db8:bad::/48"}')
    with Pair() as pair, taken_over(pair, denied) as (villain, _):
        tap.equal(villain.reserve(40001), 0, "a port of its own is granted")
        tap.equal(villain.reserve(40001, kind=2), 0, "an identifier of its own is granted")
        # so that it is not for want of a route that nothing gets there
        for place, gateway in (("169.254.0.0/16", PEER4), ("224.0.0.1", PEER4), ("203.0.113.0/24", PEER4),
                               ("fd00:ec2::254", PEER6), ("fe80::7", PEER6), ("2001:db8:bad::/48", PEER6), ("::/96", PEER6)):
            pair.host.run("ip", "route", "add", place, "via", gateway, "dev", "eth0")
        villain.scribble()
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            victim = pair.host.socket(family, socket.SOCK_DGRAM)
            victim.bind(("::" if ":" in source else "0.0.0.0", 9))
            victim.settimeout(0)
            marker = packets.udp(source, target, 40001, 9, b"the marker")
            with Witness(pair.peer) as witness:
                for _, packet in forged(source, target, 40001):
                    villain.write(packet)
                for _, packet in forged(source, source, 40001):  # into the host itself
                    villain.write(packet)
                villain.write(packets.udp(source, source, 40001, 9, b"into the host"))
                villain.write(marker)
                tap.check(witness.wait(lambda p: p.raw == marker), "the marker did not leave")
                # the host's own neighbour discovery and multicast listener reports go on all the time
                strays = witness.all(lambda p: p.raw != marker and not own_talk(p))
                tap.equal(strays, [], "what left")
            tap.raises(errno.EAGAIN, victim.recv, 100)


def test_deny_lists():
    """The backstop enforces each slice's own deny-list and the namespace's, and a reload replaces both."""
    def sections(mine, theirs):
        return (slice_section(extra=f"deny = {{{mine}}}"),
                slice_section("two", ports="41000-41999", extra=f"deny = {{{theirs}}}"))

    with Pair() as pair:
        for place, gateway in (("203.0.113.0/24", PEER4), ("2001:db8:bad::/48", PEER6)):
            pair.host.run("ip", "route", "add", place, "via", gateway)
        both = '"203.0.113.0/24", "2001:db8:bad::/48"'
        with taken_over(pair, *sections(both, "")) as (villain, broker), Witness(pair.peer, expression="udp") as witness:
            for number, port in ((1, 40001), (2, 41001)):
                tap.equal(villain.reserve(port, slice_number=number), 0, "a port of each slice is granted")

            def leaving():
                """The ports that get to both of the places on the lists."""
                for source, target in ((HOST4, "203.0.113.7"), (HOST6, "2001:db8:bad::7")):
                    for port in (40001, 41001):
                        villain.write(packets.udp(source, target, port, 9, b"to the denied"))
                villain.write(packets.udp(HOST4, PEER4, 40001, 9, b"the marker"))
                tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the marker did not leave")
                out = [p.sport for p in witness.all(lambda p: p.payload == b"to the denied")]
                witness.seen.clear()
                return sorted(out)

            tap.equal(leaving(), [41001, 41001], "what leaves with the first slice's list")
            for mine, theirs, netns, expected in (("", both, "", [40001, 40001]), ('"203.0.113.7"', "", "", [40001, 41001, 41001]),
                                                  ("", "", both, []), ("", "", "", [40001, 40001, 41001, 41001])):
                broker.netns = f"deny = {{{netns}}}" if netns else ""
                broker.reload(*sections(mine, theirs))
                tap.equal(leaving(), expected, f"what leaves with {mine or 'no list'}, {theirs or 'no list'}, {netns or 'no list'}")


def test_scribbled_map():
    """With every byte of `open` set, ports that are not held stay the host's: its listener in the range works."""
    with Pair() as pair, taken_over(pair) as (villain, _):
        villain.scribble()
        for source in (HOST4, HOST6):
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            for port in (22, 40007):
                listener = pair.host.socket(family, socket.SOCK_STREAM)
                listener.bind((source, port))
                listener.listen()
                client = pair.peer.socket(family, socket.SOCK_STREAM)
                client.settimeout(PATIENCE)
                client.connect((source, port))
                client.close()
                listener.close()
            pair.peer.run("ping", "-c1", "-W50", source)


def test_forged_requests():
    """Requests that no sound relay makes widen nothing: refused, and the relay killed for what it should know better."""
    with Pair() as pair:
        listener = pair.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((HOST4, 40009))
        with taken_over(pair) as (villain, _):
            tap.equal(villain.reserve(40009), errno.EADDRINUSE, "a port that a kernel socket has")
            tap.equal(villain.reserve(40001, uid=5), 0, "held by one uid")
            tap.equal(villain.reserve(40001, uid=9), errno.EADDRINUSE, "the same port for another uid")
        bodies = (
            ("a port outside the range", rogue.RESERVE, {"lo": 22}), ("across the range's end", rogue.RESERVE, {"lo": 40999, "hi": 41000}),
            ("upside down", rogue.RESERVE, {"lo": 40002, "hi": 40001}), ("no such slice", rogue.RESERVE, {"slice_number": 7}),
            ("slice 0", rogue.RESERVE, {"slice_number": 0}), ("slice 4,000,000,000", rogue.RESERVE, {"slice_number": 4000000000}),
            ("no such class", rogue.RESERVE, {"kind": 9}), ("no such netns", rogue.RESERVE, {"netns": 5}),
            ("no such address", rogue.RESERVE, {"index": 31}), ("a release of nothing", rogue.RELEASE, {}))
        for text, kind, change in bodies:
            field = {"netns": 0, "slice_number": 1, "uid": 5, "kind": 1, "index": 255, "lo": 40001, "hi": 40001} | change
            field["hi"] = change.get("hi", field["lo"])
            common = struct.pack("=IIIBBBxHH4x", *(field[name] for name in ("netns", "slice_number", "uid", "kind", "index")),
                                 0, field["lo"], field["hi"])
            expect_no_grant(pair, text, kind, struct.pack("=Q", 1) + common if kind == rogue.RESERVE else common)
        good = struct.pack("=QIIIBBBxHH4x", 1, 0, 1, 5, 1, 255, 0, 40001, 40001)
        for text, kind, body in (("a type of the monitor's", rogue.COMMIT, b""), ("no such type", 99, b""),
                                 ("too short", rogue.RESERVE, good[:-4]), ("too long", rogue.RESERVE, good + bytes(4)),
                                 ("READY again", rogue.READY, b""),
                                 ("a question about no class", rogue.COVERED, struct.pack("=IBxH", 0, 9, 40001)),
                                 ("a question about no netns", rogue.COVERED, struct.pack("=IBxH", 5, 1, 40001)),
                                 ("a question about netns 64", rogue.COVERED, struct.pack("=IBxH", 64, 1, 40001))):
            expect_no_grant(pair, text, kind, body)


def expect_no_grant(pair, text, kind, body):
    """The monitor kills the relay and says why."""
    with taken_over(pair) as (villain, broker):
        villain.send(kind, body)
        try:
            while (data := villain.channel.recv(256)) and struct.unpack_from("=I", data)[0] in NEWS:
                pass
        except ConnectionResetError:
            data = b""
        except TimeoutError as caught:
            raise tap.Failure(f"{text}: neither an answer nor the end\n{broker.log}") from caught
        tap.equal(data, b"", f"{text}: the answer")
        tap.check("relay: killed: " in broker.log, f"{text}: no word of it in the log\n{broker.log}")


def test_forged_fds():
    """Fds sent to the monitor end the relay and do not stay open in the monitor."""
    with Pair() as pair, taken_over(pair) as (villain, broker):
        before = open_nulls(broker)
        null = os.open("/dev/null", os.O_RDONLY)
        good = struct.pack("=II", rogue.RESERVE, 40) + struct.pack("=QIIIBBBxHH4x", 1, 0, 1, 5, 1, 255, 0, 40001, 40001)
        socket.send_fds(villain.channel, [good], [null] * 3)
        os.close(null)
        try:
            while data := villain.channel.recv(256):
                tap.check(struct.unpack_from("=I", data)[0] in NEWS, "the monitor answers")
        except ConnectionResetError:
            pass
        broker.wait_log("relay: killed: ")
        tap.equal(open_nulls(broker), before, "fds of /dev/null in the monitor")


def open_nulls(broker):
    """How many fds of /dev/null the monitor has: what the test sends along, and nothing that comes and goes by itself."""
    place = f"/proc/{broker.process.pid}/fd"
    return sum(os.path.exists(f"{place}/{fd}") and os.readlink(f"{place}/{fd}") == "/dev/null" for fd in os.listdir(place))


def test_monitor_killed():
    """The monitor is killed while the rogue lives on with the TUN: nothing forged leaves, nothing is forwarded."""
    with Pair() as pair:
        pair.host.sysctl("net/ipv4/ip_forward", 1)
        villain = rogue.Rogue()
        broker = Broker(pair.host, slice_section(extra="local = yes"), start=False, relay=villain.program)
        thread = threading.Thread(target=villain.take_over)
        thread.start()
        broker.start()
        thread.join()
        tap.equal(villain.reserve(40001), 0, "a port is held")
        local = pair.host.bound(HOST4, 9)
        villain.write(packets.udp(HOST4, HOST4, 40001, 9, b"while the monitor lives"))
        tap.equal(local.recv(100), b"while the monitor lives", "what the host's socket gets")
        # the rogue itself dies with the monitor; its fds live on here, in other hands
        broker.kill()
        villain.lifeline.settimeout(PATIENCE)
        tap.equal(villain.lifeline.recv(1), b"", "the end of the rogue's process")
        # switches forwarding on for every device, with nobody there to switch it off again for the TUN
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            for value in (0, 1):
                pair.host.sysctl(f"net/{switch}", value)
        for device in ("all", "saferaw0"):
            pair.host.sysctl(f"net/ipv4/conf/{device}/rp_filter", 0)
        time.sleep(3.5)  # clsact: until the sign of life is stale
        with Witness(pair.peer, expression="udp") as witness:
            # what was its right while the monitor lived
            for source, target in ((HOST4, PEER4), (HOST6, PEER6), (HOST4, HOST4)):
                villain.write(packets.udp(source, target, 40001, 9, b"forged"))
            for source in ("192.0.2.77", "198.51.100.1"):
                villain.write(packets.udp(source, PEER4, 40001, 9, b"forged"))
            villain.write(packets.udp("2001:db8::77", PEER6, 40001, 9, b"forged"))
            marker = pair.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
            marker.sendto(b"the marker", (PEER4, 9))
            tap.check(witness.wait(lambda p: p.payload == b"the marker"), "no marker")
            tap.equal(witness.all(lambda p: p.payload == b"forged"), [], "what left")
        local.settimeout(0)
        tap.raises(errno.EAGAIN, local.recv, 100)
        villain.close()
        broker.stop()


def spoil(tun):
    """What a holder of the TUN's fd can change without any privilege: offloads, link header, send buffer, persistence."""
    for request, value in ((TUNSETOFFLOAD, OFFLOADS), (TUNSETSNDBUF, 4096), (TUNSETVNETHDRSZ, 64), (TUNSETPERSIST, 1)):
        try:
            fcntl.ioctl(tun, request, value if request in (TUNSETOFFLOAD, TUNSETPERSIST) else struct.pack("=i", value))
        except OSError:
            tap.diagnose(f"the kernel refuses {request:#x}")


def test_tun_put_right():
    """Offloads and the rest that a taken-over relay set on the TUN are put right for the next: packets are of wire size again."""
    with Pair() as pair, taken_over(pair) as (villain, broker):
        for namespace in (pair.host, pair.peer):
            namespace.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on", "gro", "on")
        spoil(villain.tun)
        villain.let_go()
        villain.take_over()
        tap.equal(villain.reserve(40001, kind=0), 0, "a port of its own is granted")
        villain.scribble()
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            sender = pair.peer.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_STREAM)
            sender.setblocking(False)
            sender.connect_ex((source, 40001))
            syn = first_tcp(villain.tun, source, packets.SYN)
            villain.write(packets.tcp(source, target, 40001, syn.sport, 100, syn.seq + 1, packets.SYN | packets.ACK))
            first_tcp(villain.tun, source, packets.ACK)
            sender.setblocking(True)
            sender.sendall(b"y" * 5000)  # at once: the kernel makes a GSO packet of it
            segment = first_tcp(villain.tun, source)
            tap.check(segment.size <= 1500 and segment.transport_good(), f"{segment}, checksum right: {segment.transport_good()}")
            sender.close()
        broker.stop()
        tap.check("saferaw0" not in pair.host.run("ip", "-o", "link"), "the device outlives the broker")


def first_tcp(tun, target, flags=None):
    """The next TCP packet for that address, with just those flags if they are given; None when none comes."""
    while select.select([tun], [], [], PATIENCE)[0]:
        packet = packets.Packet(os.read(tun, 70000))
        if packet.protocol == packets.TCP and packet.dst == target and flags in (None, packet.flags):
            return packet
    return None


tap.main(test_forged_packets, test_deny_lists, test_scribbled_map, test_forged_requests, test_forged_fds, test_monitor_killed,
         test_tun_put_right)
