#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Proxied prefixes: the relay alone, in its sandbox, against a stand-in for the monitor."""

import errno
import pwd
import socket
import struct

from harness import packets, proto, tap
from harness.monitor import Monitor, Slice, refused
from harness.packets import Packet
from harness.tap import check, equal, raises

HERE, HERE6, FAR, FAR6 = "192.0.2.1", "2001:db8::1", "203.0.113.7", "2001:db8:ffff::7"
NET, NET6, HOST = "198.51.100.64/28", "2001:db8:9::/64", "203.0.113.200/32"
# the first address of a prefix, one inside, the last, the next one
IN = ("198.51.100.64", "198.51.100.69", "198.51.100.79", "198.51.100.80")
IN6 = ("2001:db8:9::", "2001:db8:9::5", "2001:db8:9:0:ffff:ffff:ffff:ffff", "2001:db8:9:1::")
ROWS = {NET: 32, NET6: 33, HOST: 34}  # as the stand-in gives them
FAMILIES = ((NET, IN, FAR), (NET6, IN6, FAR6))
MAKE = {proto.TCP: packets.tcp, proto.UDP: packets.udp, proto.SCTP: packets.sctp, proto.DCCP: packets.dccp,
        proto.UDPLITE: packets.udplite}


def trap(number=1, name="one", users=("games",), proxied=(NET, NET6), **more):
    """A slice with proxied prefixes and no ports at all otherwise."""
    return Slice(number=number, name=name, users=users, ranges=(), proxied=proxied, **more)


def uid(user="games"):
    """A user's number."""
    return pwd.getpwnam(user).pw_uid


def unseen(relay, client, packet, *flows):
    """Lets a packet arrive and checks that none of the flows gets it."""
    relay.arrive(packet)
    client.stats()
    equal([flow.number for flow in flows if flow.recv(0) is not None], [], "flows that got it")


def test_addresses_and_prefixes():
    """Every class, both families: an address has its own packets, a prefix the rest; both send as what they are."""
    with Monitor([trap()]) as relay:
        client = relay.client()
        for kind, make in MAKE.items():
            for net, (first, inside, last, beyond), far in FAMILIES:
                family = socket.AF_INET6 if ":" in net else socket.AF_INET
                equal(relay.is_open(7, kind, ROWS[net]), 0, "open byte before")
                whole = client.open(kind, local=net, port=7, family=family)
                exact = client.open(kind, local=inside, port=7)
                equal((whole.local, exact.local, exact.port), (first, inside, 7), "what was opened")
                equal(relay.reserves[-1], (kind, ROWS[net], family, 7, 7, uid(), 1), "what was reserved")
                equal(relay.is_open(7, kind, ROWS[net]), 1, "open byte")
                for address, flow in ((first, whole), (inside, exact), (last, whole)):
                    relay.arrive(make(far, address, 80, 7))
                    equal(flow.recv(), make(far, address, 80, 7), "what arrived")
                    flow.send(make(address, far, 7, 80))
                    equal(relay.sent(), make(address, far, 7, 80), "what was sent")
                unseen(relay, client, make(far, beyond, 80, 7), whole, exact)
                exact.send(make("::" if ":" in net else "0.0.0.0", far, 7, 80))
                equal(Packet(relay.sent()).src, inside, "source filled in")
                for flow, wrong in ((exact, last), (exact, beyond), (whole, beyond), (whole, "::" if ":" in net else "0.0.0.0"),
                                    (whole, HERE6 if ":" in net else HERE)):
                    refused(relay, client, flow, make(wrong, far, 7, 80), "source")
                refused(relay, client, whole, make(inside, far, 8, 80), "port")
                exact.close()
                check(relay.wait(lambda: len(client.flows()) == 1), "not closed")
                relay.arrive(make(far, inside, 80, 7))
                equal(whole.recv(), make(far, inside, 80, 7), "without a flow of its own")
                whole.close()
                check(relay.wait(lambda: relay.releases == relay.reserves), "releases")
                equal(relay.at_release[-1], 0, "open byte when the release came")


def test_echo():
    """Echo and timestamp requests reach the flow of their identifier, as replies do, and are answered by nobody else."""
    with Monitor([trap(), Slice(number=2, name="two", users=("news",))]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        plain = other.open(proto.ICMP, port=40007)
        for net, (_, inside, last, _), far in FAMILIES:
            whole = client.open(proto.ICMP, local=net, port=40007, family=socket.AF_INET6 if ":" in net else socket.AF_INET)
            exact = client.open(proto.ICMP, local=inside, port=40007)
            for flow, here in ((exact, inside), (whole, last)):
                for reply in (False, True):
                    relay.arrive(packets.echo(far, here, 40007, reply=reply))
                    equal(flow.recv(), packets.echo(far, here, 40007, reply=reply), "arrived")
                    flow.send(packets.echo(here, far, 40007, reply=reply))
                    equal(relay.sent(), packets.echo(here, far, 40007, reply=reply), "sent")
            unseen(relay, client, packets.echo(far, inside, 40008), whole, exact)
            if net == NET:
                stamp = packets.icmp(far, inside, 13, rest=struct.pack("!HH", 40007, 1), payload=bytes(12))
                relay.arrive(stamp)
                equal(exact.recv(), stamp, "timestamp request")
            relay.arrive(packets.echo(far, HERE6 if ":" in net else HERE, 40007))
        check(relay.wait(lambda: other.stats(plain.number)["rx"]["no-flow"] == 2), "requests to own addresses not refused")


def test_most_specific():
    """Connected before host before everybody, one port before a range, an address before its prefix."""
    with Monitor([trap()]) as relay:
        client = relay.client()
        opens = {"prefix range": {"local": NET, "port": 1, "count": 65535}, "range": {"local": IN[1], "port": 1, "count": 65535},
                 "prefix": {"local": NET, "port": 53}, "port": {"local": IN[1], "port": 53},
                 "elsewhere": {"local": IN[2], "port": 53},
                 "prefix host": {"local": NET, "port": 53, "remote": FAR},
                 "host": {"local": IN[1], "port": 53, "remote": FAR},
                 "prefix connected": {"local": NET, "port": 53, "remote": FAR, "remote_port": 99},
                 "connected": {"local": IN[1], "port": 53, "remote": FAR, "remote_port": 99}}
        flows = {name: client.open(proto.UDP, family=socket.AF_INET, **what) for name, what in opens.items()}
        for name, what in opens.items():
            raises(errno.EADDRINUSE, client.open, proto.UDP, family=socket.AF_INET, **what)
        for packet, name in ((packets.udp(FAR, IN[0], 99, 65535), "prefix range"), (packets.udp(FAR, IN[1], 99, 1), "range"),
                             (packets.udp("192.0.2.9", IN[0], 99, 53), "prefix"), (packets.udp(FAR, IN[0], 98, 53), "prefix host"),
                             (packets.udp("192.0.2.9", IN[2], 99, 53), "elsewhere"),
                             (packets.udp(FAR, IN[0], 99, 53), "prefix connected")):
            relay.arrive(packet)
            equal(flows[name].recv(), packet, name)
        for name in ("connected", "prefix connected", "host", "prefix host", "port", "prefix", "range", "prefix range"):
            relay.arrive(packets.udp(FAR, IN[1], 99, 53))
            check(flows[name].recv(), name)
            equal([n for n, flow in flows.items() if flow.recv(0)], [], "others that got it too")
            flows.pop(name).close()
            check(relay.wait(lambda: len(client.flows()) == len(flows)), "not closed")


def test_refused():
    """Another slice's prefix, a part of one, none at all, another user's port: each has its errno, and nothing is reserved."""
    with Monitor([trap(users=("games", "news")), Slice(number=2, name="two", users=("news",))]) as relay:
        client, mate, other = relay.client(), relay.client("news"), relay.client("news", "two")
        held = client.open(proto.TCP, local=IN[1], port=80)
        reserves = len(relay.reserves)
        raises(errno.EACCES, client.open, proto.TCP, port=80)
        raises(errno.EACCES, client.open, proto.TCP)
        raises(errno.EACCES, client.open, proto.TCP, local=HERE, port=80)
        for local in (IN[3], "198.51.100.64/29", "198.51.100.72/29", "198.51.100.64/27", "198.51.100.69/28", "2001:db8:9::/65",
                      "2001:db8::/32", f"{HERE}/31"):
            raises(errno.EADDRNOTAVAIL, client.open, proto.TCP, local=local, port=80,
                   family=socket.AF_INET6 if ":" in local else socket.AF_INET)
        for local in (*IN[:3], NET):
            raises(errno.EADDRNOTAVAIL, other.open, proto.TCP, local=local, port=40000, family=socket.AF_INET)
        for local in (IN[1], IN[2], NET):  # a port of a prefix is one user's, whatever the address
            raises(errno.EADDRINUSE, mate.open, proto.TCP, local=local, port=80, family=socket.AF_INET)
        raises(errno.EINVAL, client.open, proto.TCP, local=NET, port=80, family=socket.AF_INET6)
        raises(errno.EINVAL, client.open, proto.TCP, local=NET, port=80, family=socket.AF_UNSPEC)
        for bits in (124, 129, 255):
            client.ident += 1
            client.socket.send(proto.OPEN_GRANT.pack(proto.OPEN, proto.OPEN_GRANT.size, client.ident, proto.CONSUMER, proto.TCP,
                                                     0 if bits == 124 else 2, 0, 81, 1, proto.ANY if bits == 124 else
                                                     proto.mapped(IN[0]), proto.ANY, 0, 0, bits, 0))
            raises(errno.EINVAL, client.opened, 0)
        equal(len(relay.reserves), reserves, "what the monitor was asked")
        held.close()
        check(relay.wait(lambda: len(relay.releases) == 1), "no release")
        mate.open(proto.TCP, local=NET, port=80, family=socket.AF_INET)


def test_any_address():
    """A flow that names no address has nothing of prefixes: neither packets nor ports, whoever has them."""
    both = trap(users=("games", "news"))
    both.ranges = ((proto.UDP, 40000, 40999),)
    with Monitor([both]) as relay:
        client, mate = relay.client(), relay.client("news")
        mine = client.open(proto.UDP, local=NET, port=40000, family=socket.AF_INET)
        theirs = mate.open(proto.UDP, port=40000)
        equal([one[1] for one in relay.reserves], [32, 0xFF], "what was reserved")
        equal([relay.is_open(40000, proto.UDP, row) for row in (0, 1, 32, 33)], [1, 1, 1, 0], "open bytes")
        relay.arrive(packets.udp(FAR, IN[1], 53, 40000))
        check(mine.recv(), "for the prefix")
        relay.arrive(packets.udp(FAR, HERE, 53, 40000))
        check(theirs.recv(), "for an own address")
        mine.close()
        check(relay.wait(lambda: len(relay.releases) == 1), "no release")
        unseen(relay, mate, packets.udp(FAR, IN[1], 53, 40000), theirs)
        refused(relay, mate, theirs, packets.udp(IN[1], FAR, 40000, 53), "source")


def test_own_address_inside():
    """An own address of the host inside a prefix is not the prefix's."""
    slices = trap(addresses=(HERE,)), Slice(number=2, name="two", users=("news",))
    with Monitor(slices, addresses=(HERE, HERE6, IN[2])) as relay:
        client, other = relay.client(), relay.client("news", "two")
        whole = client.open(proto.UDP, local=NET, port=40000, family=socket.AF_INET)
        raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local=IN[2], port=40001)
        theirs = other.open(proto.UDP, port=40000)
        relay.arrive(packets.udp(FAR, IN[2], 53, 40000))
        check(theirs.recv(), "at the address's owner")
        equal(whole.recv(0), None, "at the prefix")
        refused(relay, client, whole, packets.udp(IN[2], FAR, 40000, 53), "source")
        whole.send(packets.udp(IN[1], FAR, 40000, 53))
        check(relay.sent(), "from beside it")


def test_any_port():
    """Port 0 is a free one of all of them, and passes over what is taken; a host prefix is its address."""
    with Monitor([trap(proxied=(NET, NET6, HOST), flows=100)]) as relay:
        client = relay.client()
        ports = [client.open(proto.TCP, local=IN[n % 3], port=0).port for n in range(40)]
        equal(len(set(ports)), 40, "different ones, though the addresses differ")
        check(min(ports) >= 1 and max(ports) > 40000 and min(ports) < 25000, f"not of all ports: {sorted(ports)}")
        run = client.open(proto.UDP, local=NET, port=0, count=65535, family=socket.AF_INET)
        equal((run.port, run.count), (1, 65535), "all of them")
        raises(errno.EADDRINUSE, client.open, proto.UDP, local=NET, port=0, family=socket.AF_INET)
        host = client.open(proto.UDP, local=HOST, port=9, family=socket.AF_INET)
        raises(errno.EADDRINUSE, client.open, proto.UDP, local="203.0.113.200", port=9)
        host.send(packets.udp("0.0.0.0", FAR, 9, 53))
        equal(Packet(relay.sent()).src, "203.0.113.200", "source filled in")
        relay.busy = {(proto.DCCP, port) for port in range(65536)}
        raises(errno.EADDRINUSE, client.open, proto.DCCP, local=NET, port=0, family=socket.AF_INET)


def test_errors():
    """ICMP errors about what was sent from a proxied address reach those that ask for them, by the inner header."""
    with Monitor([trap()]) as relay:
        client = relay.client()
        for net, (_, inside, last, _), far in FAMILIES:
            family = socket.AF_INET6 if ":" in net else socket.AF_INET
            router = "2001:db8:aaaa::1" if ":" in net else "192.0.2.254"
            exact = client.open(proto.UDP, local=inside, port=53, flags=proto.ERRORS)
            whole = client.open(proto.UDP, local=net, port=53, family=family)
            reader = client.open(proto.UDP, local=net, port=53, family=family, kind=proto.ICMP_ERROR)
            for address, flows in ((inside, (exact, reader)), (last, (reader,))):
                about = packets.udp(address, far, 53, 5353)
                error = packets.icmp(router, address, 1 if ":" in net else 3, 4 if ":" in net else 3, payload=about)
                relay.arrive(error)
                equal([flow.recv() for flow in flows], [error] * len(flows), "at those that ask")
                equal(whole.recv(0), None, "at who does not ask")
            wrong = packets.icmp(router, last, 1 if ":" in net else 3, 4 if ":" in net else 3,
                                 payload=packets.udp(inside, far, 53, 5353))
            unseen(relay, client, wrong, exact, whole, reader)


def test_sniffers():
    """A sniffer sees of a prefix what it names; one that names no address sees own ones, one that names no port either all."""
    both = trap()
    both.ranges = ((proto.UDP, 40000, 40999),)
    with Monitor([both]) as relay:
        client = relay.client()
        flow = client.open(proto.UDP, local=NET, port=40000, family=socket.AF_INET)
        own = client.open(proto.UDP, port=40000)
        sniffers = {name: client.open(proto.UDP if port else proto.CLASS_ANY, port=port, kind=proto.SNIFFER, local=local,
                                      family=socket.AF_INET)
                    for name, port, local in (("none", 40000, None), ("prefix", 40000, NET), ("address", 40000, IN[1]),
                                              ("wide", 0, None), ("wide prefix", 0, NET), ("wide address", 0, IN[2]))}
        for address, names in ((IN[1], {"prefix", "address", "wide", "wide prefix"}),
                               (IN[2], {"prefix", "wide", "wide prefix", "wide address"}),
                               (HERE, {"none", "wide"})):
            relay.arrive(packets.udp(FAR, address, 53, 40000))
            (own if address == HERE else flow).send(packets.udp(address, FAR, 40000, 53))
            check(relay.sent(), "sent")
            client.stats()
            equal({name: len(one.drain()) for name, one in sniffers.items()},
                  {name: 2 if name in names else 0 for name in sniffers}, f"packets of {address}")
        asked = client.open(proto.ICMP, local=IN[1], port=7)
        sniffer = client.open(proto.ICMP, local=NET, port=7, kind=proto.SNIFFER, family=socket.AF_INET)
        relay.arrive(packets.echo(FAR, IN[1], 7))
        equal((asked.recv(), sniffer.recv()), (packets.echo(FAR, IN[1], 7),) * 2, "an echo request")


def test_grants():
    """A protocol without ports on a proxied address or prefix, as the slice's grants say."""
    with Monitor([trap()]) as relay:
        client = relay.client()
        for local in (IN[1], NET):
            raises(errno.EACCES, client.open_grant, 89, local=local, family=socket.AF_INET)


def test_fragments():
    """Later fragments follow their first, to an address and to a prefix."""
    with Monitor([trap(fragments=True)]) as relay:
        client = relay.client()
        exact = client.open(proto.UDP, local=IN[1], port=53)
        whole = client.open(proto.UDP, local=NET6, port=53, family=socket.AF_INET6)
        for flow, here, far in ((exact, IN[1], FAR), (whole, IN6[2], FAR6)):
            datagram = packets.udp(far, here, 5353, 53, payload=bytes(range(200)))
            parts = [packets.fragment(datagram, 0, 104), packets.fragment(datagram, 104)]
            for part in parts:
                relay.arrive(part)
            equal([flow.recv(), flow.recv()], parts, "arrived")
            datagram = packets.udp(here, far, 53, 5353, payload=bytes(range(200)))
            parts = [packets.fragment(datagram, 0, 104), packets.fragment(datagram, 104)]
            for part in parts:
                flow.send(part)
            equal([relay.sent(), relay.sent()], parts, "sent")


def test_reload():
    """A prefix that goes takes its flows with it; the next owner gets none of their packets before it opens, all after."""
    two = trap(number=2, name="two", users=("news",))
    with Monitor([trap(), trap(number=2, name="two", users=("news",), proxied=())]) as relay:
        client, other = relay.client(), relay.client("news", "two")
        flows = [client.open(proto.UDP, local=NET, port=53, family=socket.AF_INET), client.open(proto.UDP, local=IN6[1], port=53)]
        relay.configure(trap(), trap(number=2, name="two", users=("news",), proxied=()))
        equal(client.prefixes(), [NET, NET6], "prefixes")
        relay.arrive(packets.udp(FAR, IN[1], 5353, 53))
        check(flows[0].recv(), "after a reload that changes nothing")
        relay.configure(trap(proxied=()), two)
        equal(sorted(client.event()[:2] for _ in flows), sorted((proto.REVOKED, flow.number) for flow in flows), "events")
        equal([flow.recv() for flow in flows], [b"", b""], "end of file")
        check(relay.wait(lambda: sorted(relay.releases) == sorted(relay.reserves)), "releases")
        equal([relay.is_open(53, proto.UDP, row) for row in (32, 33)], [0, 0], "open bytes")
        equal((client.prefixes(), other.prefixes()), ([], [NET, NET6]), "prefixes")
        raises(errno.EADDRNOTAVAIL, client.open, proto.UDP, local=IN[1], port=53)
        theirs = other.open(proto.UDP, local=IN[2], port=53)
        unseen(relay, other, packets.udp(FAR, IN[1], 5353, 53), theirs)
        relay.arrive(packets.udp(FAR, IN[2], 5353, 53))
        check(theirs.recv(), "the next owner's")
        wider = "198.51.100.64/27"
        relay.configure(trap(proxied=()), trap(number=2, name="two", users=("news",), proxied=(wider,)))
        equal(other.event()[:2], (proto.REVOKED, theirs.number), "event")
        equal(other.prefixes(), [wider], "prefixes")
        whole = other.open(proto.UDP, local=wider, port=53, family=socket.AF_INET)
        relay.arrive(packets.udp(FAR, IN[2], 5353, 53))
        check(whole.recv(), "a wider prefix in the stead of one")
        equal(relay.reserves[-1][1], 34, "row")


def test_told():
    """Info, the list of flows and questions about ports tell of prefixes."""
    with Monitor([trap()]) as relay:
        client = relay.client()
        equal((client.addresses(), client.prefixes()), ([HERE, HERE6], [NET, NET6]), "info")
        flows = [client.open(proto.UDP, local=NET, port=53, family=socket.AF_INET),
                 client.open(proto.UDP, local=IN[1], port=54, count=3)]
        equal([(proto.unmapped(row[15]), row[17], row[11], row[12]) for row in client.flows()],
              [(IN[0], 124, 53, 1), (IN[1], 0, 54, 3)], "flows")

        def ask(port, local):
            """state, held, uid, flows"""
            data, _ = client.request(proto.PORT, struct.pack("=BBH16sI", proto.UDP, 0, port, proto.mapped(local), 0))
            return struct.unpack_from("=iBB2xII", data, 8)

        equal(ask(53, IN[2]), (0, 2, 0, uid(), 1), "open, on the prefix")
        equal(ask(55, IN[0]), (0, 2, 0, uid(), 1), "open, on an address")
        equal(ask(57, IN[0]), (0, 1, 0, 0, 0), "free")
        equal(ask(53, None)[:2], (0, 0), "not on own addresses")
        flows.clear()
        check(relay.wait(lambda: ask(53, IN[2])[1] == 1), "not free when they are closed")


def test_surprises():
    """What no monitor says about rows and prefixes ends the relay."""
    from harness.monitor import ADDRESS_NEWS, BEGIN, NETNS, SLICE_PROXIED, message  # pylint: disable=import-outside-toplevel

    def row(index, bits, address):
        """An address as the monitor tells it."""
        return struct.pack("=IBBBx16s", 0, index, 1, bits, proto.mapped(address))

    for wrong in (row(64, 124, IN[0]), row(0, 124, HERE), row(32, 0, IN[0]), row(32, 129, IN[0]), row(32, 125, IN[0]),
                  row(32, 124, "198.51.100.80"), row(32, 124, None)):
        with Monitor([trap()]) as relay:
            relay.send(message(ADDRESS_NEWS, wrong))
            check(relay.wait(lambda: relay.process.poll() is not None), f"lives on after {wrong!r}")
    for slice_number, bits in ((1, 0), (1, 129), (9, 124)):
        with Monitor([trap()]) as relay:
            relay.send(message(BEGIN))
            relay.send(message(NETNS, struct.pack("=IIIIQ32s", 0, relay.serial, 1500, 0, relay.cookie, b"default")),
                       [relay.tun_relay.fileno(), relay.traffic_fd, relay.tap_relay.fileno(), relay.link_traffic_fd])
            for data, fds in trap(proxied=()).records(relay.listener("one")):
                relay.send(data, fds)
            relay.send(message(SLICE_PROXIED, struct.pack("=IB3x16s", slice_number, bits, proto.mapped(IN[0]))))
            check(relay.wait(lambda: relay.process.poll() is not None), f"lives on after {slice_number}, {bits}")


if __name__ == "__main__":
    # no steering here, so there is one way to attach it
    tap.main(*(test for name, test in list(globals().items()) if name.startswith("test_")), modes=("auto",))
