#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Links as monitor and steering make them, with a stand-in relay: a tenant's own namespace works, and is confined."""

import contextlib
import errno
import itertools
import os
import select
import signal
import socket
import struct

from harness import PATIENCE, packets, proto, rogue, tap
from harness.broker import Broker, slice_section
from harness.link import (GATEWAY_MAC, PACKET_TUN, PYTHON, QUIET, REASONS, STRICT, TWICE, Frames, Tenant, frame, linked, offload,
                          twice)
from harness.tap import until
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness, own_talk

LO, HI = 40000, 40255
FAMILIES = ((HOST4, PEER4, socket.AF_INET), (HOST6, PEER6, socket.AF_INET6))
MTU = 1500


@contextlib.contextmanager
def scene(*sections, flags=0, configure=True):
    """A pair, a broker with a stand-in relay, a tenant with a link; yields all of them and the link's number."""
    sections = sections or (slice_section(users=("games", "list"), extra="local = no"),)
    with Pair() as pair, linked(pair, *sections) as (relay, broker), Tenant(broker.slice()) as tenant:
        link = relay.link(tenant, LO, HI, flags=flags)
        if configure:
            tenant.configure(LO, HI)
        yield pair, broker, relay, tenant, link


def devices(namespace):
    """Names of a namespace's devices."""
    return [line.split(":")[1].strip().split("@")[0] for line in namespace.run("ip", "-o", "link").splitlines()]


def listener(namespace, family, address, port=0, kind=socket.SOCK_STREAM):
    """A socket that listens."""
    sock = namespace.bound(address, port, kind)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def test_programs():
    """ping, curl and iperf3 work inside, both families; a server inside is reached; the host's stack stays out of it."""
    with scene() as (pair, _, relay, tenant, link):
        server = pair.peer.popen(PYTHON, "-m", "http.server", "-b", "::", "-d", "/usr/share/common-licenses", "8000",
                                 stdout=-3, stderr=-3)
        try:
            before = [pair.host.counter(name) for name in ("TcpOutRsts", "IcmpOutDestUnreachs", "IpForwDatagrams")]
            for _, peer, _ in FAMILIES:
                tap.check(twice(tenant.run("ping", *TWICE, "-e", str(LO + 5), peer)), f"ping {peer}")
                until(lambda: pair.peer.run("ss", "-Hlnt", "sport", "8000"), "the server does not listen")
                page = tenant.run("curl", "-sS", "-m50", f"http://{f'[{peer}]' if ':' in peer else peer}:8000/GPL-2")
                with open("/usr/share/common-licenses/GPL-2", encoding="utf-8") as file:
                    tap.check(page == file.read(), f"the page from {peer}")
                for direction in ((), ("-R",), ("-u", "-b", "20M")):
                    iperf = pair.peer.popen("iperf3", "-s", "-1", stdout=-3, stderr=-3)  # one each: it is busy after the client's end
                    until(lambda: pair.peer.run("ss", "-Hlnt", "sport", "5201"), "iperf3 does not listen")
                    said = tenant.run("iperf3", "-c", peer, "-t1", *direction)
                    tap.check("receiver" in said, said)
                    iperf.wait(PATIENCE)
            after = [pair.host.counter(name) for name in ("TcpOutRsts", "IcmpOutDestUnreachs", "IpForwDatagrams")]
            tap.equal(after, before, "what the host's stack did")
            tap.equal(relay.reasons(link), {}, "what was refused")
            rx_packets, _, tx_packets, tx_bytes, *relayed = relay.counters(link)
            tap.check(rx_packets > 100 and tx_packets > 1000 and tx_bytes > 1000 * MTU, f"counters {relay.counters(link)}")
            tap.equal(relayed, [0, 0], "packets that the relay saw")
        finally:
            server.kill()
            server.wait(PATIENCE)


def test_inbound():
    """A connection from outside to a port of the block reaches the tenant; a port that is not open to it is the host's."""
    with scene() as (pair, _, relay, tenant, _):
        for host, _, family in FAMILIES:
            echo = tenant.popen(PYTHON, "-c", "import socket,sys; s=socket.create_server((sys.argv[1], 40009), family=int(sys.argv[2])); "
                                "print('', flush=True); c,_=s.accept(); c.sendall(c.recv(99))", host, str(int(family)), stdout=-1)
            echo.stdout.readline()
            caller = pair.peer.socket(family, socket.SOCK_STREAM)
            caller.settimeout(PATIENCE)
            caller.connect((host, 40009))
            caller.sendall(b"from outside")
            tap.equal(caller.recv(99), b"from outside", "the echo")
            tap.equal(echo.wait(PATIENCE), 0, "exit of the server")
            # Nothing of this conversation may be under way when the port closes: its end has arrived, and a RST is not answered.
            tap.equal(caller.recv(99), b"", "the end")
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()
            for block in (0, PACKET_TUN):  # closed, or a flow's: nothing for the tenant
                relay.open(40009, 40009, block)
                with Frames(tenant) as frames:
                    source = pair.peer.socket(family, socket.SOCK_DGRAM)
                    source.sendto(b"late", (host, 40009))
                    tap.equal(frames.packet(packets.udp(host, PEER6 if ":" in host else PEER4, 40009, 9)), 0, "errno")
            relay.open(40009, 40009)
        until(lambda: relay.counters(1)[5] >= 4, "packets are missing")
        tap.equal(relay.counters(1)[5], 4, "packets from a port that is not open to the link: the relay's")


def test_clients():
    """Who gets a link: a member, into a namespace that he owns, one each, as many as the slice has room for."""
    section = slice_section(users=("games", "root"), extra="links = 2") + slice_section("two", users=("list",), ports="50000-50999")
    with Pair() as pair, linked(pair, section) as (relay, broker):
        path = broker.slice()
        with Tenant(path) as first, Tenant(path) as second, Tenant(path) as third:
            socks = [relay.accept() for _ in range(3)]
            relay.link(first, LO, HI, sock=socks[0])
            tap.raises(errno.EBUSY, relay.link, first, LO, HI, sock=socks[0])
            second.run("ip", "link", "add", "eth0", "type", "veth", "peer", "other")
            tap.raises(errno.EEXIST, relay.link, second, LO + 256, HI + 256, sock=socks[1])
            second.run("ip", "link", "delete", "eth0")
            number = relay.link(second, LO + 256, HI + 256, sock=socks[1])
            tap.raises(errno.ENOSPC, relay.link, third, LO + 512, HI + 512, sock=socks[2])
            relay.unlink(number)
            relay.link(third, LO + 512, HI + 512, sock=socks[2])
            tap.equal(second.index(), 0, "the device of the link that was ended")
            relay.unlink(1)
        for user, lo in (("games", 40800), ("root", 40816)):  # root made the host's own user namespace, if anybody did
            with Tenant(path, user=user, own=False) as inside:
                tap.raises(errno.EPERM, relay.link, inside, lo, lo + 15)
        with Tenant(path, user="list") as stranger:
            relay.hold(50000, 50015, stranger.uid, 2)
            sock = relay.accept()
            error, _, _ = relay.ask([sock.fileno()], LO, HI)
            tap.equal(error, errno.EACCES, "errno for a client that is no member")
        with Tenant(path) as owner:
            relay.accept().close()
            for home in (pair.host, pair.peer):
                with home.inside(), proto.user("games"):
                    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    sock.connect(path)
                tap.raises(errno.EPERM, relay.link, owner, LO, HI)
        with Tenant(broker.slice("two"), user="list") as other:  # whose namespace a member of the slice has got into
            relay.accept(2).close()
            with open(f"/proc/{other.pid}/ns/net", "rb") as file:
                tap.check(rogue_connect(file.fileno(), path), "connecting from inside")
            tap.raises(errno.EPERM, relay.link, owner, LO, HI)
        tap.check(relay.answer(rogue.LINK_NEWS, 0.2) is None, "the monitor goes on")


def rogue_connect(namespace, path):
    """Connects as games from another user's namespace; the connection outlives this call."""
    import ctypes  # pylint: disable=import-outside-toplevel
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(namespace, 0x40000000):
        return False
    with proto.user("games"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(path)
    if libc.setns(home, 0x40000000):
        os._exit(99)
    os.close(home)
    kept.append(sock)
    return True


kept = []


def surprises(relay, sock):
    """(what the log says, how to ask): what no sound relay asks for."""
    fd = [sock.fileno()]
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept.append(ours)
    yield "LINK: that is no conversation", lambda: relay.ask([ours.fileno()], LO, HI)
    yield "LINK: that is no conversation", lambda: relay.ask([os.open("/proc/self/ns/net", os.O_RDONLY)], LO, HI)
    yield "LINK: that is no conversation", lambda: relay.ask([relay.tun], LO, HI)
    yield "LINK: that is no conversation", lambda: relay.ask([relay.controls[2].fileno()], LO, HI)
    yield "LINK: it lacks a file descriptor", lambda: relay.ask([], LO, HI)
    yield "LINK: it brings file descriptors", lambda: relay.ask(fd * 2, LO, HI)
    yield "LINK: ports are not the slice's", lambda: relay.ask(fd, 39984, HI)
    yield "LINK: ports are not the slice's", lambda: relay.ask(fd, LO, 41007)
    yield "LINK: the client does not hold the ports", lambda: relay.ask(fd, LO + 256, HI + 256)
    yield "LINK: its ports are no block", lambda: relay.ask(fd, LO + 1, HI)
    yield "LINK: its ports are no block", lambda: relay.ask(fd, LO, HI - 1)
    yield "LINK: its ports are no block", lambda: relay.ask(fd, HI + 1, LO - 1)
    yield "LINK: it has no ports", lambda: relay.ask(fd, 0, 0)
    yield "LINK: unknown flags", lambda: relay.ask(fd, LO, HI, flags=4)
    yield "LINK: no such slice", lambda: relay.ask(fd, LO, HI, number=0)
    yield "LINK: slice is not configured", lambda: relay.ask(fd, LO, HI, number=7)
    yield "LINK: no such netns", lambda: relay.ask(fd, LO, HI, netns=64)
    yield "LINK: netns is not attached", lambda: relay.ask(fd, LO, HI, netns=1)
    yield "UNLINK: no such link", lambda: (relay.unlink(4096), relay.answer(rogue.LINK_NEWS))
    yield "UNLINK: no such netns", lambda: (relay.unlink(1, 64), relay.answer(rogue.LINK_NEWS))


def test_surprises():
    """A relay that asks for a link in a way that no sound one does is killed, and nobody gets one."""
    section = slice_section() + slice_section("two", users=("list",), ports="50000-50999")
    with Pair() as pair:
        for at in itertools.count():
            with linked(pair, section) as (relay, broker), Tenant(broker.slice()) as tenant:
                sock = relay.accept()
                relay.hold(LO, HI, tenant.uid)
                todo = list(surprises(relay, sock))
                if at == len(todo):
                    return
                text, ask = todo[at]
                try:
                    ask()
                    tap.check(False, f"{text}: the monitor goes on")
                except (ConnectionError, BrokenPipeError):
                    pass
                broker.wait_log(f"relay: killed: {text}")
                tap.equal(tenant.index(), 0, "the device")


def lies(host, peer):
    """(name, reason, packet, offload): descriptions of an unfinished packet that its headers do not bear out."""
    six = ":" in host
    start = 14 + (40 if six else 20)
    tcp = packets.tcp(host, peer, LO + 1, 9, flags=packets.ACK, payload=bytes(4000))
    udp = packets.udp(host, peer, LO + 1, 9, bytes(4000))
    small = packets.udp(host, peer, LO + 1, 9, bytes(100))
    echo = packets.echo(host, peer, LO + 1)
    ours, theirs = (4, 1) if six else (1, 4)  # VIRTIO_NET_HDR_GSO_TCPV6 and TCPV4
    right = {"tcp": (start, 16), "udp": (start, 6)}
    yield "segments of 1 byte", "steer-link-gso-size", tcp, offload(ours, 1, right["tcp"])
    yield "segments of 499 bytes", "steer-link-gso-size", tcp, offload(ours, 499, right["tcp"])
    yield "datagrams of 8 bytes", "steer-link-gso-size", udp, offload(5, 8, right["udp"])
    yield "the other family's TCP", "steer-link-gso-type", tcp, offload(theirs, 1400, right["tcp"])
    yield "TCP segments of UDP", "steer-link-gso-type", udp, offload(ours, 1400, (start, 16))
    yield "UDP datagrams of TCP", "steer-link-gso-type", tcp, offload(5, 1400, (start, 6))
    yield "fragments of UDP", "steer-out-fragment", udp, offload(3, 1400, right["udp"])
    yield "segments larger than the wire", "steer-out-too-big", tcp, offload(ours, 1600, right["tcp"])
    yield "a checksum over the source port", "steer-link-csum-start", small, offload(csum=(start - 6, 6))
    yield "a checksum over the address", "steer-link-csum-start", small, offload(csum=(14 + 2, 10))
    yield "a checksum behind the header", "steer-link-csum-start", small, offload(csum=(start + 8, 6))
    yield "a checksum in the source port", "steer-link-csum-offset", small, offload(csum=(start, 0))
    yield "a checksum in the payload", "steer-link-csum-offset", small, offload(csum=(start, 20))
    yield "TCP's checksum in UDP", "steer-link-csum-offset", small, offload(csum=(start, 16))
    yield "an unfinished ICMP checksum", "steer-link-csum-offset", echo, offload(csum=(start, 2))


def hostile(host, peer):
    """(name, reason, packet): what may not leave a link."""
    six = ":" in host
    stranger = "2001:db8::77" if six else "192.0.2.77"
    yield "a stranger as source", "steer-out-source", packets.udp(stranger, peer, LO, 9)
    yield "the peer as source", "steer-out-source", packets.udp(peer, peer, LO, 9)
    yield "loopback as source", "steer-out-source", packets.udp("::1" if six else "127.0.0.1", peer, LO, 9)
    yield "SCTP", "steer-out-protocol", packets.sctp(host, peer, LO, 9)
    yield "GRE", "steer-out-protocol", packets.ip(host, peer, 47, bytes(28))
    yield "protocol 255", "steer-out-protocol", packets.ip(host, peer, 255, bytes(28))
    yield "cut off", "steer-out-header", packets.udp(host, peer, LO, 9)[:-3]
    yield "padded", "steer-out-header", packets.udp(host, peer, LO, 9) + bytes(3)
    yield "an ICMP error", "steer-out-icmp-type", packets.icmp(host, peer, *((1, 4) if six else (3, 3)), payload=packets.udp(
        peer, host, 9, LO))
    yield "multicast", "steer-out-multicast", packets.udp(host, "ff0e::1" if six else "224.0.0.251", LO, 9)
    yield "loopback", "steer-out-loopback", packets.udp(host, "::1" if six else "127.0.0.1", LO, 9)
    yield "denied", "steer-out-denied", packets.udp(host, "fd00:ec2::254" if six else "203.0.113.7", LO, 9)
    yield "link-local", "steer-out-link-local", packets.udp(host, "fe80::7" if six else "169.254.7.7", LO, 9)
    yield "the host itself", "steer-out-local", packets.udp(host, HOST6 if six else HOST4, LO, 9)
    yield "the host itself, by the mapped address", "steer-out-local", packets.udp(host, "64:ff9b:1::8" if six else "192.0.0.8", LO, 9)
    yield "no route", "steer-out-no-route", packets.udp(host, "2001:db9::1" if six else "100.64.0.1", LO, 9)
    yield "a foreign port", "steer-link-port", packets.udp(host, peer, HI + 1, 9)
    yield "a well-known port", "steer-link-port", packets.tcp(host, peer, 22, 9)
    yield "a foreign identifier", "steer-link-port", packets.echo(host, peer, 7)
    yield "a port that is not open to the link", "steer-link-port", packets.udp(host, peer, LO + 9, 9)
    if six:
        body = packets.udp(host, peer, LO, 9)[40:]
        yield "a routing header", "steer-out-option", packets.ip(host, peer, 43, b"\x11\x02\x00\x01" + bytes(20) + body)
        yield "a broken chain", "steer-out-header", packets.ip(host, peer, 60, b"\x11\xff" + bytes(6))
        yield "a fragment", "steer-out-fragment", packets.ip(host, peer, 44, b"\x11\0\0\x01" + bytes(4) + body)
        yield "a router solicitation", "steer-link-onlink", packets.icmp("fe80::9", "ff02::2", 133)
        yield "a router advertisement to the peer", "steer-out-icmp-type", packets.icmp(host, peer, 134, payload=bytes(8))
    else:
        yield "a source route", "steer-out-option", packets.udp(host, peer, LO, 9, options=b"\x83\x07\x04\x0a\0\0\x01\0")
        yield "a fragment", "steer-out-fragment", packets.udp(host, peer, LO, 9, flags=1)
        yield "a later fragment", "steer-out-orphan", packets.ip(host, peer, 17, bytes(32), offset=8)
        yield "broadcast", "steer-out-multicast", packets.udp(host, "255.255.255.255", LO, 9)
        yield "this network", "steer-out-loopback", packets.udp(host, "0.1.2.3", LO, 9)


def frames_of(host, peer):
    """(name, reason, frame): what is no IP packet."""
    packet = packets.udp(host, peer, LO + 1, 9)
    kind = b"\x86\xdd" if ":" in host else b"\x08\0"
    yield "a VLAN tag", "steer-link-vlan", frame(b"\x81\0\0\x05" + kind, packet)
    yield "a priority tag", "steer-link-vlan", frame(b"\x81\0\x60\0" + kind, packet)
    yield "a service VLAN tag", "steer-link-vlan", frame(b"\x88\xa8\0\x05" + kind, packet)
    yield "PPPoE", "steer-link-ethertype", frame(b"\x88\x64", packet)
    yield "LLDP", "steer-link-ethertype", frame(b"\x88\xcc", packet)
    yield "MPLS", "steer-link-ethertype", frame(b"\x88\x47", packet)
    yield "an ARP answer", "steer-link-onlink", frame(b"\x08\x06", arp(2, HOST4, PEER4))
    yield "the other family's type", "steer-out-header", frame(b"\x08\0" if ":" in host else b"\x86\xdd", packet)


def arp(operation, source, target, mac="020000000001"):
    """An ARP packet."""
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex(mac) + packets.packed(source) + bytes(
        6) + packets.packed(target)


def attempt(relay, link, witness, frames, host, peer, case):
    """Sends one hostile frame and a good packet behind it: that one arrives, the other was counted under its reason."""
    name, reason, send = case
    before, mark = relay.dropped(link, reason), os.urandom(8)
    slice_before = relay.slice_dropped(1, reason)
    error = send()
    tap.equal(frames.packet(packets.udp(host, peer, LO + 2, 9, b"good" + mark)), 0, "errno of the good packet")
    tap.check(witness.wait(lambda p: p.payload == b"good" + mark), f"{name}: the good packet behind it is lost")
    if error:  # this kernel sees through the lie itself
        tap.check(error in (errno.EINVAL, errno.ENOMEM), f"{name}: errno {error}")
        tap.diagnose(f"{name}: refused by the tenant's own kernel")
        return
    counted = relay.dropped(link, reason) - before
    tap.check(counted >= 1, f"{name}: {reason} counted {counted}: {relay.reasons(link)}")
    tap.equal(relay.slice_dropped(1, reason) - slice_before, counted, f"{name}: {reason} of the slice")


def tunnelled(tenant, host, peer):
    """A super-packet that the tenant's kernel puts into UDP: the segments are inside."""
    tenant.run("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "local", host, "remote", peer, "dstport", "4789",
               "srcport", str(LO + 3), str(LO + 5), "udpcsum")
    tenant.run("sysctl", "-qw", "net.ipv6.conf.vx0.disable_ipv6=1")
    tenant.run("ip", "link", "set", "vx0", "up")
    inner = packets.tcp("10.0.0.1", "10.0.0.2", 5, 9, flags=packets.ACK, payload=bytes(4000))
    with Frames(tenant, "vx0") as frames:
        result = frames.packet(inner, offload(1, 1000, (34, 16)))
    tenant.run("ip", "link", "delete", "vx0")
    return result


def test_hostile():
    """Nothing hostile leaves a link, each under its own reason: addresses, ports, frames, lies about offloads."""
    section = slice_section(extra='local = no\n  deny = {"203.0.113.0/24"}')
    with scene(section, flags=STRICT) as (pair, _, relay, tenant, link), Frames(tenant) as frames, Witness(
            pair.peer, expression="") as witness:
        relay.open(LO + 9, LO + 9, 0)
        for host, peer, _ in FAMILIES:
            cases = [(name, reason, lambda packet=packet: frames.packet(packet)) for name, reason, packet in hostile(host, peer)]
            cases += [(name, reason, lambda data=data: frames.send(data)) for name, reason, data in frames_of(host, peer)]
            cases += [(name, reason, lambda packet=packet, lie=lie: frames.packet(packet, lie))
                      for name, reason, packet, lie in lies(host, peer)]
            cases.append(("segments inside a tunnel", "steer-link-gso-type", lambda: tunnelled(tenant, host, peer)))
            for case in cases:
                attempt(relay, link, witness, frames, host, peer, case)
        escaped = witness.all(lambda p: not own_talk(p) and (p.payload is None or not p.payload.startswith(b"good")))
        tap.equal(escaped, [], "what escaped")
        wanted = {name for name in REASONS if name.startswith("steer-link")} - {"steer-link-gone", "steer-link-quiet", "steer-link-share"}
        tap.equal(wanted - set(relay.reasons(link)), set(), "reasons that nothing was refused for")


def test_fragments():
    """Fragments of a slice that may send them pass, and follow their first: straight, and by the relay."""
    with scene(slice_section(extra="fragments = yes")) as (pair, broker, relay, tenant, link), Tenant(broker.slice()) as second:
        relay.link(second, LO + 256, HI + 256)
        second.configure(LO + 256, HI + 256)
        for host, peer, _ in FAMILIES:
            said = tenant.run("ping", *TWICE, "-s4000", "-e", str(LO + 5), peer)
            tap.check(twice(said), said)
            tap.equal(relay.counters(link)[5], 0, "packets that the relay saw")
        tap.equal(relay.reasons(link), {}, "what was refused")
        for host, peer, _ in FAMILIES:
            tenant.run("ping", "-c1", "-W1", "-s4000", "-e", "7", peer, check=False)
            parts = [packets.Packet(tap_read(relay)[14:]) for _ in range(3)]
            tap.equal([p.fragment for p in parts], [True] * 3, "fragments at the relay")
        with Frames(tenant) as frames, Frames(second) as others, Witness(pair.peer) as witness:
            first = packets.udp(HOST4, PEER4, LO, 9, bytes(24), ident=7, flags=1)
            later = packets.ip(HOST4, PEER4, 17, b"the rest" * 3, ident=7, offset=4)
            tap.equal(frames.packet(first), 0, "errno")
            tap.equal(others.packet(later), 0, "errno")
            tap.equal(relay.dropped(2, "steer-out-orphan"), 1, "another link's later fragment")
            tap.equal(frames.packet(packets.ip(HOST4, PEER4, 17, b"the rest" * 3, ident=7, offset=2)), 0, "errno")
            tap.equal(relay.dropped(link, "steer-out-overlap"), 1, "a later fragment that reaches back")
            tap.equal(frames.packet(packets.udp(HOST4, PEER4, LO, 9, ident=8, flags=1)[:24]), 0, "errno")
            tap.equal(relay.dropped(link, "steer-out-header"), 1, "a short first fragment")
            tap.equal(frames.packet(later), 0, "errno")
            tap.check(witness.wait(lambda p: p.fragment and p.body == b"the rest" * 3), "the later fragment")
            tap.equal(len(witness.all(lambda p: p.fragment)), 2, "fragments that left")


def test_quiet():
    """A quiet link keeps what its kernel answers for ports without a socket inside; a program's own RST leaves."""
    for flags, count in ((0, 1), (QUIET, 0)):
        with scene(flags=flags) as (pair, _, relay, tenant, link), Frames(tenant) as frames:
            for host, peer, family in FAMILIES:
                with Witness(pair.peer, expression="tcp or udp or icmp or icmp6") as witness:
                    for ack in (0, 77):  # as an answer to a segment with ACK, and to a SYN
                        raw = packets.tcp(host, peer, LO + 4, 9, seq=ack, flags=packets.RST | (0 if ack else packets.ACK), window=0)
                        tap.equal(frames.packet(raw), 0, "errno")
                    tap.equal(frames.packet(packets.tcp(host, peer, LO + 4, 9, seq=5, flags=packets.RST | packets.ACK, window=9)), 0, "errno")
                    unreachable = relay.dropped(link, "steer-out-icmp-type")
                    caller = pair.peer.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)  # whose SYN is not sent again
                    caller.sendto(packets.tcp(peer, host, 9, LO + 6), (host, 0))
                    pair.peer.socket(family, socket.SOCK_DGRAM).sendto(b"nobody is there", (host, LO + 6))
                    # the tenant's kernel answers in the order in which it was asked
                    until(lambda n=unreachable: relay.dropped(link, "steer-out-icmp-type") > n, "no unreachable message")
                    tap.equal(frames.packet(packets.udp(host, peer, LO + 2, 9, b"marker")), 0, "errno")
                    tap.check(witness.wait(lambda p: p.payload == b"marker"), "no marker")
                    resets = witness.all(lambda p: p.flags is not None and p.flags & packets.RST)
                    tap.equal(len([p for p in resets if p.seq == 5]), 1, "the program's own RST")
                    tap.equal(len([p for p in resets if p.sport == LO + 4]), 1 + 2 * count, "resets from the packet socket")
                    tap.equal(len([p for p in resets if p.sport == LO + 6]), count, "resets of the tenant's kernel")
                    tap.equal(witness.all(lambda p: p.type in (3, 1) and p.sport is None), [], "unreachable messages")
            tap.equal(relay.dropped(link, "steer-link-quiet"), 0 if count else 6, "counted")
            tap.equal(relay.dropped(link, "steer-out-icmp-type"), 2, "unreachable messages counted")


def test_neighbours():
    """ARP requests and neighbour solicitations of a link are answered, for everybody but the host's own addresses."""
    with scene() as (pair, _, relay, tenant, link), Witness(pair.peer, expression="arp or icmp6") as witness:
        tenant.run("ip", "link", "set", "eth0", "arp", "on")
        for asked in (PEER4, "198.51.100.9", PEER6, "2001:db8:5::9"):
            via = tenant.run("ip", "route", "get", asked, check=False)
            tap.check("eth0" in via, via)
            tenant.run("ip", "route", "replace", asked, "dev", "eth0")
            tenant.run("ping", "-c1", "-W1", "-e", str(LO + 5), asked, check=False)
            known = tenant.run("ip", "neigh", "show", asked, "dev", "eth0")
            tap.check(GATEWAY_MAC in known, f"neighbour {asked}: {known!r}")
        before = relay.dropped(link, "steer-link-onlink")
        with Frames(tenant) as frames:
            tap.equal(frames.send(frame(b"\x08\x06", arp(1, PEER4, HOST4), target="ffffffffffff")), 0, "errno")
        tap.equal(relay.dropped(link, "steer-link-onlink") - before, 1, "a request for the host's own address")
        own = relay.counters(link)
        tap.check(own[4:] == (0, 0), f"the relay saw nothing of it: {own}")
        ours = witness.all(lambda p: p.src in (HOST4, HOST6) and p.type not in (128, 135, 136))
        tap.equal(ours, [], "what the peer saw of it")


def test_relayed():
    """A port outside the block goes to the relay, at wire size with finished checksums; what it sends reaches the link."""
    with scene() as (pair, _, relay, tenant, link):
        with Frames(tenant) as frames:
            for host, peer, _ in FAMILIES:
                for raw in (packets.udp(host, peer, 1234, 9), packets.tcp(host, peer, 1234, 9), packets.echo(host, peer, 7)):
                    tap.equal(frames.packet(raw), 0, "errno")
                    got = tap_read(relay)
                    tap.equal(got[:6], bytes.fromhex("02000000") + struct.pack("!H", link), "the link's number")
                    tap.equal(got[14:], raw, "the packet")
                start = 14 + (40 if ":" in host else 20)
                big = unsummed(packets.tcp(host, peer, 1234, 9, flags=packets.ACK, payload=bytes(range(250)) * 40))
                tap.equal(frames.packet(big, offload(4 if ":" in host else 1, 1400, (start, 16))), 0, "errno")
                parts = [packets.Packet(tap_read(relay)[14:]) for _ in range(8)]
                tap.equal([p.transport_good() and p.header_good for p in parts], [True] * 8, "checksums of the segments")
                tap.equal(b"".join(p.payload for p in parts), bytes(range(250)) * 40, "the segments together")
        for host, peer, family in FAMILIES:
            server = tenant.popen(PYTHON, "-c", "import socket,sys; s=socket.socket(int(sys.argv[1]), socket.SOCK_DGRAM); "
                                  "s.bind(('', 1234)); print('', flush=True); print(s.recv(99))", str(int(family)), stdout=-1, text=True)
            server.stdout.readline()
            kind = b"\x86\xdd" if ":" in host else b"\x08\0"
            body = packets.udp(peer, host, 9, 1234, b"translated")
            for wrong in ("020000000fff", "02000000ffff", "ffffffffffff", "020000010001"):
                os.write(relay.tap, frame(kind, body, target=wrong))
            os.write(relay.tap, frame(b"\x81\0\0\x05" + kind, body, target=f"02000000{link:04x}"))
            os.write(relay.tap, frame(b"\x88\x64", body, target=f"02000000{link:04x}"))
            os.write(relay.tap, frame(kind, body, target=f"02000000{link:04x}"))
            tap.equal(server.communicate(timeout=PATIENCE)[0], "b'translated'\n", "what the tenant got")
        tap.equal(relay.counters(link)[4:], (2, 22), "packets from and to the relay")
        tap.equal(relay.slice_dropped(0, "steer-link-gone"), 12, "frames for no link")


def unsummed(packet):
    """A TCP packet as a kernel gives it to a device that sums: with the sum of the pseudo header alone."""
    p = packets.Packet(packet)
    at = len(packet) - len(p.body) + 16
    value = packets.checksum(packets.pseudo(packets.packed(p.src), packets.packed(p.dst), packets.TCP, len(p.body))) ^ 0xFFFF
    return packet[:at] + struct.pack("!H", value) + packet[at + 2:]


def tap_read(relay):
    """One frame from the link TAP."""
    tap.check(select.select([relay.tap], [], [], PATIENCE)[0], "nothing comes to the relay")
    return os.read(relay.tap, 70000)


def test_share():
    """A slice that sends the relay more than it takes has its own share of the ring filled, and is told why."""
    sections = (slice_section(), slice_section("two", users=("list",), ports="50000-50999"))
    with scene(*sections) as (_, _, relay, tenant, link), Frames(tenant) as frames:
        tenant.python("import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 999))\n"
                      "for _ in range(6000): s.sendto(b'flood', (sys.argv[1], 9))", PEER4)
        queued = struct.unpack_from("=Q", relay.traffic, rogue.TRAFFIC + 8)[0]
        tap.equal(queued, 4096, "packets that wait for the relay")
        dropped = 6000 - 4096 - tenant.lost()
        tap.equal(relay.dropped(link, "steer-link-share"), dropped, "the others")
        struct.pack_into("=Q", relay.traffic, rogue.TRAFFIC + 72, queued)  # the relay has taken them
        tap.equal(frames.packet(packets.udp(HOST4, PEER4, 999, 9)), 0, "errno")
        tap.equal(relay.dropped(link, "steer-link-share"), dropped, "after the relay has caught up")


def test_namespace_gone():
    """A tenant's namespace that ends takes the device along; the relay hears of it, and the block is free again."""
    with scene(slice_section(), configure=False) as (pair, broker, relay, tenant, link):
        tap.check(f"saferaw0l{link}" in devices(pair.host), "the device")
        guard = pair.host.run("tc", "filter", "show", "dev", f"saferaw0l{link}", "ingress")
        tap.check("saferaw:steer_drop" in guard, f"the permanent drop on it: {guard}")
        tenant.close()
        tap.equal(relay.answer(rogue.LINK_NEWS), struct.pack("=II", 0, link), "the news")
        until(lambda: f"saferaw0l{link}" not in devices(pair.host), "the device stays")
        relay.unlink(link)  # which the relay may say before it has read the news
        with Tenant(broker.slice()) as second:
            sock = relay.accept()
            error, number, mtu = relay.ask([sock.fileno()], LO, HI)
            tap.equal((error, mtu), (0, MTU), "the next link on the same ports")
            tap.check(number != link, "another number")
            pair.host.run("ip", "link", "delete", f"saferaw0l{number}")  # root's hand
            tap.equal(relay.answer(rogue.LINK_NEWS), struct.pack("=II", 0, number), "the news")
            tap.equal(second.index(), 0, "the device inside")
            _, number, _ = relay.ask([sock.fileno()], LO, HI)
            pair.host.run("tc", "qdisc", "delete", "dev", f"saferaw0l{number}", "clsact")  # a link without its guard
            tap.equal(relay.answer(rogue.LINK_NEWS), struct.pack("=II", 0, number), "the news")
            tap.equal(second.index(), 0, "the device inside")


def test_release():
    """A relay that releases a link's ports does not free them for others: the monitor keeps them with the link."""
    with scene(slice_section(users=("games", "list")), configure=False) as (_, _, relay, tenant, link):
        for kind in range(3):
            relay.send(rogue.RELEASE, struct.pack("=IIIBBBxHH4x", 0, 1, tenant.uid, kind, rogue.ANY_ADDRESS, 0, LO, HI))
        tap.equal(relay.reserve(LO, uid=41), errno.EADDRINUSE, "another uid's reservation")
        relay.unlink(link)
        tap.equal(relay.reserve(LO, uid=41), errno.EADDRINUSE, "in the quarantine")


def test_reload():
    """A reload that takes a link's ports away ends it; one that does not leaves it alone."""
    with scene(slice_section(), configure=False) as (_, broker, relay, tenant, link):
        broker.reload(slice_section(ports="40000-40511"))
        tap.check(relay.answer(rogue.LINK_NEWS, 0.3) is None, "the link is over")
        tap.check(tenant.index(), "the device inside")
        broker.reload(slice_section(ports="40128-40511"))
        tap.equal(relay.answer(rogue.LINK_NEWS), struct.pack("=II", 0, link), "the news")
        tap.equal(tenant.index(), 0, "the device inside")


def test_relay_killed():
    """The relay dies: all links end at once, nothing more leaves, and the next one can make them again."""
    with scene(slice_section(), configure=False) as (pair, broker, relay, tenant, _):
        with Tenant(broker.slice()) as second:
            relay.link(second, LO + 256, HI + 256)
            relay.lifeline.close()
            os.kill(broker.relay_pid(), signal.SIGKILL)
            until(lambda: not tenant.index() and not second.index(), "the devices stay")
            until(lambda: not [name for name in devices(pair.host) if name.startswith("saferaw0l") and name != "saferaw0l"],
                  "devices on the host")


def test_monitor_killed():
    """kill -9 of the monitor: nothing leaves the link any more, and the next start removes what is left of it."""
    with scene(slice_section()) as (pair, broker, relay, tenant, link), Frames(tenant) as frames:
        with Witness(pair.peer, expression=f"src host {HOST4} or src host {HOST6}") as witness:
            tap.equal(frames.packet(packets.udp(HOST4, PEER4, LO, 9, b"before")), 0, "errno")
            tap.check(witness.wait(lambda p: p.payload == b"before"), "the link works")
            broker.kill()
            if "steering by tcx" not in broker.log:
                until(lambda: relay.dropped(link, "steer-out-stale") or frames.packet(packets.udp(HOST4, PEER4, LO, 9, b"soon")),
                      "clsact goes on for ever")
            relay.open(0, 65535)
            pair.host.sysctl("net/ipv4/ip_forward", 1)
            pair.host.sysctl("net/ipv6/conf/all/forwarding", 1)
            for host, peer, family in FAMILIES:
                for raw in (packets.udp(host, peer, LO, 9, b"dead"), packets.udp(host, peer, 22, 9, b"dead"),
                            packets.udp(peer, peer, LO, 9, b"dead"), packets.echo(host, peer, LO, payload=b"dead"),
                            packets.udp(host, host, LO, 9, b"dead")):
                    tap.equal(frames.packet(raw), 0, "errno")
                pair.host.socket(family, socket.SOCK_DGRAM).sendto(b"the marker", (peer, 9))
                tap.check(witness.wait(lambda p: p.payload == b"the marker"), "no marker")
                tap.equal(witness.all(lambda p: p.payload == b"dead"), [], "what left")
            pair.host.sysctl("net/ipv4/ip_forward", 0)
            pair.host.sysctl("net/ipv6/conf/all/forwarding", 0)
        relay.let_go()
        real = Broker(pair.host, slice_section(), start=False)
        real.run_dir, real.config = broker.run_dir, broker.config
        real.relay = real.relay  # the built one
        real.configure(slice_section())
        real.start()
        tap.check("removing links that an earlier saferawd left" in real.log, real.log)
        tap.equal(tenant.index(), 0, "the device inside")
        real.stop()


tap.main(test_programs, test_inbound, test_clients, test_surprises, test_hostile, test_fragments, test_quiet, test_neighbours, test_relayed,
         test_share, test_namespace_gone, test_release, test_reload, test_relay_killed, test_monitor_killed)
