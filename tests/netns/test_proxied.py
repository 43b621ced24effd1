#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Proxied prefixes on the whole product: real tools outside talk to addresses that no device of the host has."""

import errno
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.link import TWICE, twice
from harness.packets import ACK, FIN, PSH, SYN, Packet
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair, family_of
from harness.witness import Witness

NET, NET6 = "198.51.100.64/28", "2001:db8:9::/64"
IN = ("198.51.100.64", "198.51.100.69", "198.51.100.79")
IN6 = ("2001:db8:9::", "2001:db8:9::5", "2001:db8:9:0:ffff:ffff:ffff:ffff")
# a prefix, addresses in it, the peer's address, the host's
WHERE = ((NET, IN, PEER4, HOST4), (NET6, IN6, PEER6, HOST6))
LATE = 1000  # packets under way to each flow
SILENT = ("TcpOutRsts", "IcmpOutDestUnreachs", "Icmp6OutDestUnreachs")
PAGE = b"a page from an address that is nobody's\n" * 30


def trap(name="one", users=("games",), proxied=(NET, NET6), extra=""):
    """A slice section with prefixes, and no ports otherwise."""
    users, proxied = (", ".join(f'"{word}"' for word in words) for words in (users, proxied))
    return f'slice "{name}" {{\n  users = {{{users}}}\n  proxied = {{{proxied}}}\n  {extra}\n}}\n'


class Site(Pair):
    """Host and peer; the peer sends what is for the prefixes to the host, where their routes end.

    So the host's kernel says nothing of them, whether or not a flow is open.
    """

    def __init__(self):
        super().__init__()
        for net, _, _, via in WHERE:
            self.peer.run("ip", "route", "add", net, "via", via)
            self.host.run("ip", "route", "add", "blackhole", net)
        self.before = {name: self.host.counter(name) for name in SILENT}

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                tap.equal({name: self.host.counter(name) for name in SILENT}, self.before, "what the host's kernel said")
        finally:
            self.delete()


def open_all(client, kind, net, port, **more):
    """A flow on a whole prefix."""
    return client.open(kind, local=net, port=port, family=family_of(net), **more)


class Stack(threading.Thread):
    """All there is at the addresses: answers echo requests and datagrams, and serves a page. One write, no retransmission."""

    def __init__(self, *flows):
        super().__init__(daemon=True)
        self.flows, self.over = flows, os.eventfd(0)
        self.start()

    def run(self):
        """Answers what arrives until the end."""
        while True:
            for ready in select.select([self.over, *(flow.socket for flow in self.flows)], [], [])[0]:
                if ready == self.over:
                    return
                packet = Packet(ready.recv(65536))
                for answer in self.answers(packet):
                    ready.send(answer)

    @staticmethod
    def answers(packet):
        """What is to be said to a packet."""
        here, there, ports = packet.dst, packet.src, (packet.dport, packet.sport)
        if packet.type in (8, 128):
            yield packets.echo(here, there, packet.ident, packet.body[6] << 8 | packet.body[7], packet.payload, reply=True)
        elif packet.protocol == packets.UDP:
            yield packets.udp(here, there, *ports, packet.payload.upper())
        elif packet.protocol == packets.TCP and packet.flags & SYN:
            yield packets.tcp(here, there, *ports, 1000, packet.seq + 1, SYN | ACK)
        elif packet.protocol == packets.TCP and packet.payload:
            head = f"HTTP/1.0 200 OK\r\nX-Address: {here}\r\nContent-Length: {len(PAGE)}\r\n\r\n".encode()
            text, ack = head + PAGE, packet.seq + len(packet.payload)
            for at in range(0, len(text), 500):
                yield packets.tcp(here, there, *ports, 1001 + at, ack, ACK | PSH, text[at:at + 500])
            yield packets.tcp(here, there, *ports, 1001 + len(text), ack, ACK | FIN)
        elif packet.protocol == packets.TCP and packet.flags & FIN:
            yield packets.tcp(here, there, *ports, packet.ack, packet.seq + 1, ACK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.eventfd_write(self.over, 1)
        self.join()
        os.close(self.over)


def test_real_tools():
    """ping, curl and datagrams from outside find every address of a prefix answering, each from itself."""
    with Site() as site, Broker(site.host, trap()) as broker:
        client = proto.Client(broker.slice(), "games")
        for net, addresses, _, _ in WHERE:
            flows = [open_all(client, proto.ICMP, net, 1, count=65535), open_all(client, proto.TCP, net, 80),
                     open_all(client, proto.UDP, net, 7)]
            with Stack(*flows):
                for address in addresses:
                    said = site.peer.run("ping", "-n", *TWICE, address)
                    tap.check(twice(said) and f"from {address}" in said, f"ping: {said}")
                    host = f"[{address}]" if ":" in address else address
                    page = site.peer.run("curl", "-s", "-i", "--max-time", str(int(PATIENCE)), f"http://{host}/")
                    tap.check(page.endswith(PAGE.decode()) and f"X-Address: {address}" in page, f"curl: {page!r}")
                    sender = site.peer.socket(family_of(address), socket.SOCK_DGRAM)
                    sender.settimeout(PATIENCE)
                    sender.sendto(b"question", (address, 7))
                    answer, whose = sender.recvfrom(100)
                    tap.equal((answer, whose[:2]), (b"QUESTION", (address, 7)), "the answer")


def test_examples():
    """rawget, rawping and udpecho on a proxied address: a page from a real server, answers of the peer's kernel, echoes."""
    with Site() as site, Broker(site.host, trap()) as broker, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with open(os.path.join(directory, "page"), "wb") as file:
            file.write(PAGE)
        user = ("setpriv", "--reuid=games", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--no-new-privs")
        for net, addresses, peer, _ in WHERE:
            server = site.peer.popen("/usr/bin/python3", "-u", "-m", "http.server", "--bind", peer, "--directory", directory, "80",
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            tap.check(b"Serving" in server.stdout.readline(), "the server does not start")
            with Witness(site.peer) as witness:
                tap.equal(site.host.run(*user, program("examples/rawget"), "-s", broker.slice(), "-a", addresses[1], peer, "80",
                                        "/page").encode(), PAGE, "the page")
                syn = witness.wait(lambda p, a=peer: p.dst == a and p.flags == SYN)
                tap.equal((syn.src, syn.transport_good(), syn.header_good), (addresses[1], True, True), "on the wire")
                said = site.host.run(*user, program("examples/rawping"), "-s", broker.slice(), "-a", addresses[2], "-c", "1", peer)
                tap.check("1 sent, 1 answered" in said, f"rawping: {said}")
            server.kill()
            server.wait(PATIENCE)
            echo = site.host.popen(*user, program("examples/udpecho"), "-s", broker.slice(), "-a", net, "7", stdout=subprocess.PIPE)
            tap.equal(echo.stdout.readline(), b"7\n", "udpecho's port")
            for address in addresses:
                sender = site.peer.socket(family_of(address), socket.SOCK_DGRAM)
                sender.settimeout(PATIENCE)
                sender.sendto(b"echo", (address, 7))
                answer, whose = sender.recvfrom(100)
                tap.equal((answer, whose[:2]), (b"echo", (address, 7)), "the echo")
            echo.kill()
            echo.wait(PATIENCE)


def test_on_the_link():
    """Single addresses of the host's own link, for which it answers ARP and neighbour discovery, set up as the manual says."""
    addresses = "192.0.2.77", "2001:db8::77"
    with Pair() as pair, Broker(pair.host, trap(proxied=addresses)) as broker:
        pair.host.run("ip", "link", "add", "nowhere", "type", "veth", "peer", "name", "nobody")
        for device in ("nowhere", "nobody"):
            pair.host.run("ip", "link", "set", device, "up")
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/eth0/proxy_ndp"):
            pair.host.sysctl(name, 1)
        client = proto.Client(broker.slice(), "games")
        flows = []
        for address in addresses:
            pair.host.run("ip", "route", "add", address, "dev", "nowhere")
            pair.host.run("ip", "neigh", "add", "proxy", address, "dev", "eth0")
            flows.append(client.open(proto.ICMP, local=address, port=1, count=65535))
        with Stack(*flows):
            for address in addresses:
                said = pair.peer.run("ping", "-n", "-c", "1", "-W", str(int(PATIENCE)), address)
                tap.check(" 0% packet loss" in said and f"from {address}" in said, f"ping: {said}")


def test_refused():
    """Another slice and another user of the same one get nothing of a prefix, and nobody sends from beside it."""
    sections = trap(users=("games", "news")), slice_section("two", ("list",), "40000-40999")
    with Site() as site, Broker(site.host, *sections) as broker, Witness(site.peer) as witness:
        client, mate = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "news")
        other = proto.Client(broker.slice("two"), "list")
        tap.equal((client.prefixes(), other.prefixes()), ([NET, NET6], []), "prefixes")
        for net, addresses, peer, host in WHERE:
            family = family_of(net)
            whole, exact = open_all(client, proto.UDP, net, 40001), client.open(proto.UDP, local=addresses[1], port=40002)
            theirs = other.open(proto.UDP, local=host, port=40001)
            for local in (*addresses, net):
                tap.raises(errno.EADDRNOTAVAIL, other.open, proto.UDP, local=local, port=40003, family=family)
                tap.raises(errno.EADDRINUSE, mate.open, proto.UDP, local=local, port=40001, family=family)
                tap.raises(errno.EADDRINUSE, mate.open, proto.UDP, local=local, port=40002, family=family)
            tap.raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local=net.split("/")[0] + ("/65" if ":" in net else "/29"),
                       port=1, family=family)
            tap.raises(errno.EACCES, client.open, proto.UDP, port=40001)
            beside = "198.51.100.80" if family == socket.AF_INET else "2001:db8:9:1::"
            for flow, source, port in ((whole, beside, 40001), (whole, host, 40001), (whole, addresses[0], 40002),
                                       (exact, addresses[0], 40002), (theirs, addresses[0], 40001), (theirs, beside, 40001)):
                flow.send(packets.udp(source, peer, port, 9, b"forged"))
            for flow, source in ((whole, addresses[2]), (exact, addresses[1]), (theirs, host)):
                flow.send(packets.udp(source, peer, flow.port, 9, b"marker"))
                tap.check(witness.wait(lambda p, s=source: p.src == s and p.payload == b"marker"), "the marker does not arrive")
            tap.equal(witness.all(lambda p: p.payload == b"forged"), [], "what got out")
            theirs.close()


def test_grants():
    """GRE by key and a protocol by number: on every address of a prefix what the slice is granted, and nothing else."""
    section = trap(extra='gre = {"1000-1003"}\n  protocols = {"89"}')
    with Site() as site, Broker(site.host, section) as broker, Witness(site.peer) as witness:
        client = proto.Client(broker.slice(), "games")
        for net, addresses, peer, _ in WHERE:
            family = family_of(net)
            tunnel, exact = client.open_grant(packets.GRE, 1001, local=net, family=family), client.open_grant(89, local=addresses[1])
            for number, key in ((packets.GRE, 1004), (90, 0)):
                tap.raises(errno.EACCES, client.open_grant, number, key, local=net, family=family)
            for flow, number, texts in ((tunnel, packets.GRE, {key: Packet(packets.gre(peer, addresses[0], key)).body
                                                               for key in (1001, 1002)}), (exact, 89, {1001: b"a protocol"})):
                raw = site.peer.socket(family, socket.SOCK_RAW, number)
                for address in addresses:
                    for text in reversed(texts.values()):
                        raw.sendto(text, (address, 0))
                    if flow == tunnel or address == addresses[1]:
                        got = Packet(flow.recv())
                        tap.equal((got.dst, got.body), (address, texts[1001]), "what the flow gets")
                for source in (addresses[1], "192.0.2.77" if family == socket.AF_INET else "2001:db8::77"):
                    flow.send(packets.ip(source, peer, number, texts[1001]))
                tap.check(witness.wait(lambda p, n=number, s=addresses[1]: (p.protocol, p.src) == (n, s)), "it does not leave")
                tap.until(lambda f=flow: client.stats(f.number)["tx"]["source"] == 1, "the forged one is not counted once")
            tap.equal([flow.drain() for flow in (tunnel, exact)], [[], []], "strays")


def test_silence():
    """A port without a flow is the host's: where the prefix's route ends there nothing comes back, though the host forwards."""
    with Site() as site, Broker(site.host, trap()) as broker:
        client = proto.Client(broker.slice(), "games")
        markers = [open_all(client, proto.UDP, net, 7) for net, _, _, _ in WHERE]
        for forwards in (0, 1):
            site.host.sysctl("net/ipv4/ip_forward", forwards)
            site.host.sysctl("net/ipv6/conf/all/forwarding", forwards)
            before = {name: site.host.counter(name) for name in ("IpForwDatagrams", "Ip6OutForwDatagrams")}
            for marker, (_, addresses, peer, _) in zip(markers, WHERE):
                family = family_of(peer)
                with Witness(site.peer) as witness:
                    for _ in range(3):
                        site.peer.socket(family, socket.SOCK_DGRAM).sendto(b"nobody", (addresses[1], 8))
                        probe = site.peer.socket(family, socket.SOCK_STREAM)
                        probe.setblocking(False)
                        probe.connect_ex((addresses[1], 7))
                        raw = site.peer.socket(family, socket.SOCK_RAW, packets.ICMPV6 if ":" in peer else packets.ICMP)
                        raw.sendto(Packet(packets.echo(peer, addresses[1], 77)).body, (addresses[1], 0))
                    site.peer.socket(family, socket.SOCK_DGRAM).sendto(b"somebody", (addresses[1], 7))
                    tap.equal(Packet(marker.recv()).payload, b"somebody", "what is for the flow")
                    marker.send(packets.udp(addresses[2], peer, 7, 9, b"the marker"))
                    tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the marker does not arrive")
                    tap.equal(witness.all(lambda p, a=addresses[1]: p.src == a or p.dst == a), [], "what came back")
            tap.equal([marker.drain() for marker in markers], [[], []], "strays")
            tap.equal({name: site.host.counter(name) for name in before}, before, "what the host has forwarded")


def test_on_the_host():
    """Flows of another slice reach a proxied address where a flow is open, and it never shows on the wire; else they are refused."""
    with Site() as site, Broker(site.host, trap(), slice_section("two", ("news",), "40000-40999", "local = yes")) as broker, \
            Witness(site.peer) as witness:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        flows = []
        for net, addresses, peer, host in WHERE:
            here, there = open_all(client, proto.UDP, net, 53), other.open(proto.UDP, local=host, port=40001)
            there.send(packets.udp(host, addresses[1], 40001, 53, b"question"))
            tap.equal(Packet(here.recv()).payload, b"question", "at the proxied address")
            here.send(packets.udp(addresses[1], host, 53, 40001, b"answer"))
            tap.equal(Packet(there.recv()).payload, b"answer", "back at the host's")
            second = client.open(proto.UDP, local=addresses[2], port=54)
            second.send(packets.udp(addresses[2], addresses[0], 54, 53, b"neighbour"))
            tap.equal(Packet(here.recv()).payload, b"neighbour", "within the prefix")
            before = other.stats()["steer"][proto.STEER_REASONS.index("steer-out-no-route")]
            there.send(packets.udp(host, addresses[1], 40001, 55, b"nobody"))
            there.send(packets.udp(host, peer, 40001, 9, b"the marker"))
            tap.check(witness.wait(lambda p, h=host: p.src == h and p.payload == b"the marker"), "the marker does not arrive")
            tap.equal(other.stats()["steer"][proto.STEER_REASONS.index("steer-out-no-route")], before + 1, "refused")
            flows += [here, there, second]
        strays = witness.all(lambda p: p.payload in (b"question", b"answer", b"neighbour", b"nobody"))
        tap.equal(strays, [], "on the wire")
        tap.equal([flow.drain() for flow in flows], [[]] * len(flows), "strays")


def test_from_the_host():
    """With an IPv4 route to lo the host's own programs reach a port with a flow, and no other; IPv6 takes such a route for none."""
    with Site() as site, Broker(site.host, trap(extra="local = yes")) as broker:
        client = proto.Client(broker.slice(), "games")
        for net, _, _, _ in WHERE:
            site.host.run("ip", "route", "del", "blackhole", net)
            site.host.run("ip", "route", "add", net, "dev", "lo")
        asker = site.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.settimeout(PATIENCE)
        with Stack(open_all(client, proto.UDP, NET, 7), open_all(client, proto.TCP, NET, 80)), Witness(site.host, device="lo") as witness:
            asker.sendto(b"nobody", (IN[1], 8))
            asker.sendto(b"question", (IN[1], 7))
            tap.equal(asker.recvfrom(100), (b"QUESTION", (IN[1], 7)), "the answer")
            page = site.host.run("curl", "-s", "--max-time", str(int(PATIENCE)), f"http://{IN[2]}/")
            tap.equal(page.encode(), PAGE, "the page")
            tap.check(witness.wait(lambda p: p.payload == b"question"), "what was sent next is not on lo")
            tap.equal(len(witness.all(lambda p: p.payload == b"nobody")), 1, "how often what is for nobody comes to lo")
        flow = open_all(client, proto.UDP, NET6, 7)
        asker6 = site.host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        asker6.sendto(b"question", (IN6[1], 7))
        refused = SILENT[2]
        tap.until(lambda: site.host.counter(refused) > site.before[refused], "the kernel does not say that there is no route")
        tap.equal(flow.drain(), [], "what comes to the flow")
        site.before[refused] = site.host.counter(refused)


def test_spoofed():
    """What comes from outside in the name of a proxied address is for no flow."""
    with Site() as site, Broker(site.host, trap(), slice_section("two", ("news",), "40000-40999")) as broker:
        whole = open_all(proto.Client(broker.slice(), "games"), proto.UDP, NET, 53)
        plain = proto.Client(broker.slice("two"), "news").open(proto.UDP, port=40001)
        raw = site.peer.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for flow, address in ((whole, IN[2]), (plain, HOST4)):
            for source in (IN[0], IN[1], PEER4):
                raw.sendto(packets.udp(source, address, 9, flow.port), (address, 0))
            tap.equal(Packet(flow.recv()).src, PEER4, "what arrives")
            tap.equal(flow.drain(), [], "what else arrives")


def opened_at_last(client, net):
    """A flow on port 53 of a prefix, as soon as the slice may have one."""
    while True:
        try:
            return open_all(client, proto.UDP, net, 53)
        except OSError as caught:
            tap.equal(caught.errno, errno.EADDRNOTAVAIL, "why not yet")


def test_reload():
    """A prefix goes to another slice: the old one's flows end, and nothing that was sent to them ever reaches the new one's."""
    both = (trap(), trap("two", ("news",), ("203.0.113.0/30",)))
    with Site() as site, Broker(site.host, *both) as broker:
        senders = [(site.peer.socket(family_of(addresses[1]), socket.SOCK_DGRAM), addresses[1]) for _, addresses, _, _ in WHERE]
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        flows = [open_all(client, proto.UDP, net, 53) for net, _, _, _ in WHERE]
        for turn, text in ((0, b"before"), (1, b"after a reload that changes nothing")):
            if turn:
                broker.reload(*both)
            for flow, (sender, address) in zip(flows, senders):
                sender.sendto(text, (address, 53))
                tap.equal(Packet(flow.recv()).payload, text, "at the old owner")
        relay = broker.relay_pid()
        os.kill(relay, signal.SIGSTOP)  # so that a lot is under way when the prefix goes
        for _ in range(LATE):
            for sender, address in senders:
                sender.sendto(b"late", (address, 53))
        broker.reload(trap(proxied=("203.0.113.0/30",)), trap("two", ("news",)))
        os.kill(relay, signal.SIGCONT)
        theirs = [opened_at_last(other, net) for net, _, _, _ in WHERE]
        for flow, (sender, address) in zip(theirs, senders):
            sender.sendto(b"for the new one", (address, 53))
            tap.equal(Packet(flow.recv()).payload, b"for the new one", "first thing at the new owner")
        tap.equal(other.stats()["rx_packets"], len(theirs), "counted for the new owner")
        for flow in flows:
            late = {Packet(packet).payload for packet in iter(flow.recv, b"")}
            tap.equal(late, {b"late"}, "at the old owner")
        tap.equal(sorted(client.event(PATIENCE)[:2] for _ in flows),
                  sorted((proto.REVOKED, flow.number) for flow in flows), "events")
        tap.equal((client.prefixes(), other.prefixes()), (["203.0.113.0/30"], [NET, NET6]), "prefixes")
        tap.raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local=IN[1], port=53)


def quarantined(ms):
    """Whether another user is refused a port of a prefix that was just closed, twice; None if the time was too short to tell."""
    with Site() as site, Broker(site.host, trap(users=("games", "news")), top=f"quarantine = {ms}") as broker:
        games, news = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "news")

        def free(local=IN[1]):
            """Whether the other user gets it."""
            try:
                news.open(proto.TCP, local=local, port=80)
            except OSError as caught:
                tap.equal(caught.errno, errno.EADDRINUSE, "why not")
                return False
            return True

        for mine, theirs in ((IN[1], IN[2]), (IN[2], IN[1])):  # its own user may have it again at once
            flow = games.open(proto.TCP, local=mine, port=80)
            closed = time.monotonic()
            flow.close()
            tap.until(lambda: not games.flows(), "the flow does not end")
            if free(theirs):
                return None if time.monotonic() - closed >= ms / 1000 else False
        tap.until(free, "the quarantine does not end")
        return True


def test_quarantine():
    """A port of a prefix that is closed stays its user's for the quarantine; to another user it is in use until then."""
    outcome = next(outcome for outcome in map(quarantined, (1000, 10000, 50000)) if outcome is not None)
    tap.check(outcome, "another user got the port at once")


def test_relay_killed():
    """kill -9 of the relay: flows end, the host stays silent for them, their user opens them again and nobody else."""
    with Site() as site, Broker(site.host, trap(users=("games", "news"))) as broker:
        for net, addresses, peer, _ in WHERE:
            client = proto.Client(broker.slice(), "games")
            flow = open_all(client, proto.UDP, net, 53)
            os.kill(broker.relay_pid(), signal.SIGKILL)
            tap.equal(flow.recv(PATIENCE), b"", "end of file")
            sender = site.peer.socket(family_of(peer), socket.SOCK_DGRAM)
            sender.settimeout(PATIENCE)
            sender.sendto(b"meanwhile", (addresses[1], 53))
            mate, client = proto.Client(broker.slice(), "news"), proto.Client(broker.slice(), "games")
            tap.equal(client.prefixes(), [NET, NET6], "prefixes")
            tap.raises(errno.EADDRINUSE, mate.open, proto.UDP, local=addresses[2], port=53)
            with Stack(open_all(client, proto.UDP, net, 53)):
                sender.sendto(b"again", (addresses[1], 53))
                tap.equal(sender.recv(100), b"AGAIN", "the answer")


def test_own_address_inside():
    """An address of the host in a prefix is the host's: its stack answers, and the slice neither sees nor uses it."""
    with Site() as site, Broker(site.host, trap()) as broker, Witness(site.peer) as witness:
        client = proto.Client(broker.slice(), "games")
        whole = open_all(client, proto.UDP, NET, 53)
        site.host.run("ip", "addr", "add", f"{IN[2]}/32", "dev", "eth0")
        tap.until(lambda: IN[2] in client.addresses(), "the address is not told")
        tap.raises(errno.EACCES, client.open, proto.UDP, local=IN[2], port=54)
        listener = site.host.bound(IN[2], 53)
        sender = site.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"for the host", (IN[2], 53))
        tap.equal(listener.recv(100), b"for the host", "at the host's socket")
        sender.sendto(b"for the slice", (IN[1], 53))
        tap.equal(Packet(whole.recv()).payload, b"for the slice", "at the flow")
        whole.send(packets.udp(IN[2], PEER4, 53, 9, b"forged"))
        whole.send(packets.udp(IN[1], PEER4, 53, 9, b"the marker"))
        tap.check(witness.wait(lambda p: p.payload == b"the marker"), "the marker does not arrive")
        tap.equal(witness.all(lambda p: p.payload == b"forged"), [], "what got out")
        tap.equal(client.stats(whole.number)["tx"]["source"], 1, "counted")
        site.host.run("ip", "addr", "del", f"{IN[2]}/32", "dev", "eth0")


tap.main(test_real_tools, test_examples, test_on_the_link, test_refused, test_grants, test_silence, test_on_the_host, test_from_the_host, test_spoofed,
         test_reload, test_quarantine, test_relay_killed, test_own_address_inside)
