#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Configuration: reload touches only what no longer fits; errors name file and line and change nothing."""

import errno
import socket
import subprocess

from harness import packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.topology import HOST4, Namespace, Pair, connect


def gets(sender, flow, text, address=HOST4):
    """Raises Failure unless a datagram to the flow's port arrives."""
    sender.sendto(text, (address, flow.port))
    tap.equal(packets.Packet(flow.recv()).payload, text, "what the flow got")


def test_reload():
    """Flows that still fit do not notice; others are revoked and told; new ranges, users and slices work at once."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("games", "list"))) as broker:
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client, listed = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "list")
        stays, goes = client.open(proto.UDP, port=40001), client.open(proto.UDP, port=40900)
        expelled = listed.open(proto.UDP, port=40002)
        broker.reload(slice_section(ports="40000-40799"), slice_section("two", ("news",), "41000-41999"))
        gets(sender, stays, b"after the reload")
        tap.equal(goes.recv(), b"", "end of file on the revoked flow")
        tap.equal(expelled.recv(), b"", "end of file on the flow of a uid that is no longer listed")
        event = client.event()
        tap.equal(event[:2], (proto.REVOKED, goes.number), "the event")
        tap.raises(errno.EACCES, client.open, proto.UDP, port=40900)
        tap.raises(errno.EPERM, proto.Client, broker.slice(), "list")
        gets(sender, proto.Client(broker.slice("two"), "news").open(proto.UDP, port=41001), b"for the new slice")
        broker.reload(slice_section(ports="40000-40799"))
        gets(sender, stays, b"after the second")
        tap.check(not_reachable(broker.slice("two")), "the socket of the slice that is gone")


def not_reachable(path):
    """Whether nobody answers at that socket."""
    try:
        proto.Client(path, "news")
    except OSError:
        return True
    return False


def test_bad_reload():
    """A configuration with an error is refused as a whole, with file and line; everything goes on."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flow = proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
        broker.reload(slice_section(), slice_section("two", ("news",), "40500-41500"))
        tap.check(f"{broker.config}:" in broker.log, f"no file and line in the log:\n{broker.log}")
        gets(sender, flow, b"all the same")
        tap.check(not_reachable(broker.slice("two")), "half of a bad configuration is in force")


def test_check_config():
    """--check-config: good is 0, bad is not 0 and names file and line, and nothing is started."""
    with Pair() as pair:
        broker = Broker(pair.host, slice_section(), start=False)
        for section, status, text in ((slice_section(), 0, "ok"), (slice_section(ports="1-2"), 1, f"{broker.config}:"),
                                      (slice_section(extra="colour = red"), 1, f"{broker.config}:")):
            broker.configure(section)
            done = subprocess.run([program("saferawd"), "--check-config", "-c", broker.config], check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            tap.equal((done.returncode != 0), status != 0, f"exit status of: {done.stdout}")
            tap.check(text in done.stdout, f"{text!r} is not in {done.stdout!r}")
        broker.stop()


def test_netns_at_run_time():
    """A second namespace is attached by a reload, serves its slice, and is let go of by the next."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flow = proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
        box, outside = Namespace("box"), Namespace("outside")
        connect(box, outside)
        box.run("ip", "addr", "add", "198.51.100.1/24", "dev", "eth0")
        outside.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
        more = f'netns "box" {{ path = "{box.path}" }}\n' + slice_section("boxed", ("news",), extra='netns = "box"')
        broker.reload(slice_section(), more)
        boxed = proto.Client(broker.slice("boxed"), "news").open(proto.UDP, port=40001)
        gets(outside.socket(socket.AF_INET, socket.SOCK_DGRAM), boxed, b"into the box", "198.51.100.1")
        gets(sender, flow, b"meanwhile")
        broker.reload(slice_section())
        tap.equal(boxed.recv(), b"", "end of file in the box")
        tap.check("saferaw" not in box.run("ip", "-o", "link"), "devices left in the box")
        gets(sender, flow, b"afterwards")


def test_client_netns():
    """client_netns: only clients from that namespace may connect, by the kernel's word."""
    with Pair() as pair:
        inside, outside = Namespace("inside"), Namespace("elsewhere")
        with Broker(pair.host, slice_section(extra=f'client_netns = {{"{inside.path}"}}')) as broker:
            with inside.inside():
                proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
            with outside.inside():
                tap.raises(errno.EPERM, proto.Client, broker.slice(), "games")
            tap.raises(errno.EPERM, proto.Client, broker.slice(), "games")


tap.main(test_reload, test_bad_reload, test_check_config, test_netns_at_run_time, test_client_netns)
