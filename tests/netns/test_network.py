#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The network changes under the broker: forwarding rewritten, devices and addresses come and go, tags, gateways, NAT."""

import errno
import socket
import struct

from harness import packets, proto, tap
from harness import broker as broker_harness
from harness.broker import Broker, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Namespace, Pair, connect, family_of
from harness.witness import Witness

BOTH = ((HOST4, PEER4), (HOST6, PEER6))


def reaches(flow, witness, source, target, text):
    """Raises Failure unless a datagram of flow arrives at the witness."""
    flow.send(packets.udp(source, target, flow.port, 9, text))
    tap.check(witness.wait(lambda p: p.payload == text), f"{text!r} to {target} did not arrive")


def test_forwarding_rewritten():
    """Somebody writes ip_forward and all.forwarding, on and off: flows go on sending."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, Witness(pair.peer, expression="udp") as witness:
        client = proto.Client(broker.slice(), "games")
        flows = [(client.open(proto.UDP, local=source, port=40001), source, target) for source, target in BOTH]
        for round_, value in enumerate((1, 0, 1, 0)):
            for flow, source, target in flows:
                reaches(flow, witness, source, target, b"before %d" % round_)
            pair.host.sysctl("net/ipv4/ip_forward", value)
            pair.host.sysctl("net/ipv6/conf/all/forwarding", value)
            # the monitor puts the look-up device right again as soon as the kernel tells it; until then a packet may be refused
            for flow, source, target in flows:
                def arrives(text=b"after %d" % round_, flow=flow, source=source, target=target):
                    flow.send(packets.udp(source, target, flow.port, 9, text))
                    return witness.wait(lambda p: p.payload == text and p.dst == target, 0.1)
                tap.until(arrives, f"{target}: every packet is lost after ip_forward = {value}")
            for setting, want in (("ipv4/conf/saferaw0/forwarding", "0"), ("ipv6/conf/saferaw0/forwarding", "0"),
                                  ("ipv4/conf/saferaw0h/forwarding", "1"), ("ipv6/conf/saferaw0h/forwarding", "1"),
                                  ("ipv4/conf/saferaw0/rp_filter", "1"), ("ipv4/conf/saferaw0/accept_local", "0")):
                tap.until(lambda s=setting, w=want: pair.host.sysctl(f"net/{s}") == w, f"{setting} does not become {want}")


def test_mended():
    """A device or a filter of the broker's is removed by somebody: it ends the flows, attaches anew, and serves again."""
    removals = (("ip", "link", "del", "saferaw0"), ("ip", "link", "del", "saferaw0h"), ("ip", "link", "del", "saferaw0l"),
                ("tc", "qdisc", "del", "dev", "saferaw0", "clsact"),
                ("tc", "filter", "del", "dev", "saferaw0", "ingress", "pref", "12"))
    if broker_harness.ATTACH == "clsact":
        removals += (("tc", "qdisc", "del", "dev", "eth0", "clsact"),)
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, Witness(pair.peer, expression="udp") as witness:
        for removal in removals:
            flow = proto.Client(broker.slice(), "games").open(proto.UDP, local=HOST4, port=40001)
            pair.host.run(*removal)
            tap.equal(flow.recv(), b"", f"end of file after {' '.join(removal)}")
            flow = proto.Client(broker.slice(), "games").open(proto.UDP, local=HOST4, port=40001)
            reaches(flow, witness, HOST4, PEER4, " ".join(removal).encode())
            pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"back", (HOST4, 40001))
            tap.equal(packets.Packet(flow.recv()).payload, b"back", "what the flow gets")
            flow.close()


def test_addresses():
    """An address goes: its flows are dormant, told and counted; it returns: they resume. A new one can be opened."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, Witness(pair.peer, expression="udp") as witness:
        client = proto.Client(broker.slice(), "games")
        for address, target, length in (("192.0.2.50", PEER4, "24"), ("2001:db8::50", PEER6, "64")):
            tap.raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local=address, port=40001)
            while client.event(0.2):
                pass
            nodad = ["nodad"] if ":" in address else []
            pair.host.run("ip", "addr", "add", f"{address}/{length}", "dev", "eth0", *nodad)
            await_event(client, proto.ADDRESS_BACK, address)
            flow = client.open(proto.UDP, local=address, port=40001)
            reaches(flow, witness, address, target, b"from the new address")
            pair.host.run("ip", "addr", "del", f"{address}/{length}", "dev", "eth0")
            await_event(client, proto.ADDRESS_GONE, address)
            flow.send(packets.udp(address, target, 40001, 9, b"from nowhere"))
            tap.until(lambda f=flow: client.stats(f.number)["tx"]["dormant"] == 1, "not counted as dormant")
            pair.host.run("ip", "addr", "add", f"{address}/{length}", "dev", "eth0", *nodad)
            await_event(client, proto.ADDRESS_BACK, address)
            reaches(flow, witness, address, target, b"from the address again")
            tap.equal(witness.all(lambda p: p.payload == b"from nowhere"), [], "what left meanwhile")


def await_event(client, kind, address):
    """Waits until the broker says that of the address: by an event or, when events were lost unread, in its INFO."""
    while event := client.event():
        if event[0] == kind and event[2] == address:
            return
        if event[0] == proto.MISSED and (address in client.addresses()) == (kind == proto.ADDRESS_BACK):
            return
    raise tap.Failure(f"no event {kind} about {address}")


def test_wildcard_address():
    """A flow on any address takes in addresses that come later."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        pair.host.run("ip", "addr", "add", "192.0.2.50/24", "dev", "eth0")
        await_event(client, proto.ADDRESS_BACK, "192.0.2.50")
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for address in (HOST4, "192.0.2.50"):
            sender.sendto(b"to any", (address, 40001))
            tap.equal(packets.Packet(flow.recv()).dst, address, "destination")


def test_uplinks():
    """A second uplink appears, carries flows both ways, also by a gateway, and goes again."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        for round_ in range(2):
            other = Namespace("other")
            connect(pair.host, other, "eth1", "eth0")
            pair.host.run("ip", "addr", "add", "198.51.100.1/24", "dev", "eth1")
            other.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
            await_event(client, proto.ADDRESS_BACK, "198.51.100.1")
            pair.host.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.2")
            with Witness(other, expression="udp") as witness:
                reaches(flow, witness, "198.51.100.1", "198.51.100.2", b"on link %d" % round_)
                reaches(flow, witness, "198.51.100.1", "203.0.113.9", b"by gateway %d" % round_)
            sender = other.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.sendto(b"in by the second", ("198.51.100.1", 40001))
            got = packets.Packet(flow.recv())
            tap.equal((got.payload, got.src), (b"in by the second", "198.51.100.2"), "what came in")
            pair.host.run("ip", "link", "del", "eth1")
            await_event(client, proto.ADDRESS_GONE, "198.51.100.1")
            other.delete()


def test_source_filled():
    """A zero source, an IPv4 id of 0 and the header checksum are filled in; the source is the route's."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        pair.host.run("ip", "addr", "add", "192.0.2.50/24", "dev", "eth0")
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        with Witness(pair.peer, expression="udp") as witness:
            blank = bytearray(packets.udp("0.0.0.0", PEER4, 40001, 9, b"blank", ident=0))
            blank[10:12] = b"\0\0"
            flow.send(bytes(blank))
            got = witness.wait(lambda p: p.payload == b"blank")
            tap.equal((got.src, got.header_good, got.transport_good()), (HOST4, True, True), "source and checksums")
            tap.check(got.raw[4:6] != b"\0\0", "the id is still 0")
            flow.send(packets.udp("::", PEER6, 40001, 9, b"blank six"))
            got = witness.wait(lambda p: p.payload == b"blank six")
            tap.equal((got.src, got.transport_good()), (HOST6, True), "source and checksum")


def test_vlan_tag():
    """A VLAN-tagged frame to a steered port is not steered (it would arrive with a hole in its header)."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, local=HOST4, port=40001)
        raw = pair.peer.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
        mac = {name: bytes.fromhex(namespace.run("cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
               for name, namespace in (("host", pair.host), ("peer", pair.peer))}
        tagged = packets.udp(PEER4, HOST4, 9, 40001, b"tagged")
        plain = packets.udp(PEER4, HOST4, 9, 40001, b"plain")
        raw.send(mac["host"] + mac["peer"] + struct.pack("!HHH", 0x8100, 5, 0x0800) + tagged)
        raw.send(b"\x02\0\0\0\0\x77" + mac["peer"] + b"\x08\0" + plain)  # another station's frame
        raw.send(mac["host"] + mac["peer"] + b"\x08\0" + plain + b"ethernet padding")
        got = packets.Packet(flow.recv())
        tap.equal((got.payload, got.size), (b"plain", len(plain)), "the first packet that the flow got")
        tap.equal(flow.drain(), [], "what it got besides")
        # a tagged one that was steered would be broken, hence nobody's, which is said at the end
        log = broker.finish()
        tap.check("for no slice" not in log, f"the tagged frame was steered:\n{log}")


def test_bad_from_wire():
    """From the wire: bad header checksum, lying lengths, martian sources do not reach a flow; what is good does."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        raw = pair.peer.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
        ether = b"".join(bytes.fromhex(namespace.run("cat", "/sys/class/net/eth0/address").strip().replace(":", ""))
                         for namespace in (pair.host, pair.peer))
        good4, good6 = packets.udp(PEER4, HOST4, 9, 40001), packets.udp(PEER6, HOST6, 9, 40001)
        for packet in (
                good4[:10] + b"\xde\xad" + good4[12:], packets.udp(PEER4, HOST4, 9, 40001, length=400), good4[:22],
                packets.udp("127.0.0.1", HOST4, 9, 40001), packets.udp("224.0.0.1", HOST4, 9, 40001),
                packets.udp("0.0.0.0", HOST4, 9, 40001), packets.udp(HOST4, HOST4, 9, 40001),
                packets.udp("::1", HOST6, 9, 40001), packets.udp("ff02::1", HOST6, 9, 40001),
                packets.udp("::", HOST6, 9, 40001), packets.udp(HOST6, HOST6, 9, 40001), good6[:44]):
            raw.send(ether + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0") + packet)
        raw.send(ether + b"\x08\0" + good4)
        tap.equal(flow.recv(), good4, "the first packet that the flow got")
        raw.send(ether + b"\x86\xdd" + good6)
        tap.equal(flow.recv(), good6, "the second")


def test_fragments_in():
    """A fragmented datagram reaches the flow as it came, first and later fragments; the host's own are untouched."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, _ in BOTH:
            flow = client.open(proto.UDP, local=source, port=40001)
            sender = pair.peer.socket(family_of(source), socket.SOCK_DGRAM)
            sender.sendto(b"z" * 4000, (source, 40001))
            got = [packets.Packet(flow.recv()) for _ in range(3)]
            tap.check(all(packet.fragment and packet.size <= 1500 for packet in got), f"fragments: {got}")
            tap.equal(sum(len(packet.body) for packet in got), 4008, "bytes in all")
            receiver = pair.host.bound(source, 40002)
            sender.sendto(b"z" * 4000, (source, 40002))
            tap.equal(len(receiver.recv(8000)), 4000, "the host's own datagram")
            tap.equal(flow.drain(), [], "what the flow got besides")


def test_nowhere_to_go():
    """No route, subnet broadcast: nothing goes up the host's stack or out, and it is counted."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target, places in ((HOST4, PEER4, ("203.0.113.1", "192.0.2.255")), (HOST6, PEER6, ("2001:db8:1::1",))):
            flow = client.open(proto.UDP, local=source, port=40001)
            with Witness(pair.peer, expression="udp") as witness:
                for place in places:
                    before = client.stats()
                    flow.send(packets.udp(source, place, 40001, 9, b"to nowhere"))
                    reaches(flow, witness, source, target, b"the marker for " + place.encode())
                    after = client.stats()
                    counted = sum(after["steer"]) - sum(before["steer"]) + after["tx"]["no-route"] - before["tx"]["no-route"]
                    tap.equal(counted, 1, f"counts for {place}")
                tap.equal(witness.all(lambda p: p.payload == b"to nowhere"), [], "what left")


def test_nat_warned():
    """A NAT chain on the host: a warning at the start, and flows work all the same."""
    with Pair() as pair:
        pair.host.run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
                             "add rule ip nat post oifname eth0 masquerade")
        with Broker(pair.host, slice_section()) as broker, Witness(pair.peer, expression="udp") as witness:
            tap.check("NAT" in broker.log or "nat" in broker.log, f"no warning:\n{broker.log}")
            flow = proto.Client(broker.slice(), "games").open(proto.UDP, local=HOST4, port=40001)
            reaches(flow, witness, HOST4, PEER4, b"untranslated")
            tap.equal(witness.all(lambda p: p.payload == b"untranslated")[0].sport, 40001, "source port")


tap.main(test_forwarding_rewritten, test_mended, test_addresses, test_wildcard_address, test_uplinks, test_source_filled,
         test_vlan_tag, test_bad_from_wire, test_fragments_in, test_nowhere_to_go, test_nat_warned)
