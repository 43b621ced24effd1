#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What saferaw stats says: totals of slices and of their namespace, what belongs to nobody, and all of it as metrics."""

import errno
import json
import os
import pwd
import socket
import struct
import subprocess

from harness import PATIENCE, monitor, openmetrics, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.monitor import Monitor, Slice
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair

HERE, FAR = "192.0.2.1", "198.51.100.7"
TWO = slice_section("two", ("news",), "41000-41999")


def stats(directory, *argv, user=None, popen=subprocess.Popen, status=0):
    """What saferaw stats prints."""
    prefix = ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups") if user else ()
    done = popen([*prefix, program("saferaw"), "stats", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                 env=dict(os.environ, SAFERAW_RUN_DIR=directory))
    out, errors = done.communicate(timeout=PATIENCE)
    tap.equal(done.returncode, status, f"exit status of saferaw stats {' '.join(argv)} ({out}{errors})")
    return out


def metrics(directory, *argv, **more):
    """The metrics, as (family, **labels) -> number. What the strict parser takes, the one of Prometheus must take too."""
    text = stats(directory, "--openmetrics", *argv, **more)
    values = openmetrics.parse(text)
    try:
        from prometheus_client.openmetrics import parser  # pylint: disable=import-outside-toplevel
    except ImportError:
        tap.diagnose("python3-prometheus-client is not here: the parser of the tests alone")
    else:
        theirs = {(family.name, frozenset(sample.labels.items())): sample.value
                  for family in parser.text_string_to_metric_families(text) for sample in family.samples}
        tap.equal(theirs, values, "what Prometheus' own parser reads")
    return lambda family, **labels: values.get((family, frozenset(labels.items())))


def exchange(pair, client):
    """A flow of each family on which one packet goes, one comes, one is refused; returns the flows."""
    flows = []
    for here, far in ((HOST4, PEER4), (HOST6, PEER6)):
        flow = client.open(proto.UDP, local=here, port=40001)
        flow.send(packets.udp(here, far, 40001, 9, b"12345"))
        flow.send(packets.udp(here, far, 40002, 9))
        sender = pair.peer.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"abc", (here, 40001))
        tap.check(flow.recv(), f"nothing came to {here}")
        flows.append(flow)
    while client.stats()["tx"]["port"] < 2:
        pass
    return flows


def test_metrics():
    """--openmetrics: every slice for root, one's own for a user; right numbers, right form."""
    with Pair() as pair, Broker(pair.host, slice_section(extra="flows = 77\n  clients = 11"), TWO) as broker:
        client = proto.Client(broker.slice(), "games")
        flows = exchange(pair, client)
        get = metrics(broker.run_dir)
        for direction, size in (("rx", 31 + 51), ("tx", 33 + 53)):
            tap.equal(get("saferaw_packets", slice="one", direction=direction), 2, f"packets {direction}")
            tap.equal(get("saferaw_bytes", slice="one", direction=direction), size, f"bytes {direction}")
            tap.equal(get("saferaw_packets", slice="two", direction=direction), 0, f"packets {direction} of the other")
            tap.equal(get("saferaw_netns_packets", netns="default", direction=direction), 2, f"netns packets {direction}")
        tap.equal(get("saferaw_refused_packets", slice="one", direction="tx", reason="port"), 2, "refused")
        tap.equal(get("saferaw_refused_packets", slice="one", direction="rx", reason="port"), 0, "refused, received")
        tap.equal(get("saferaw_refused_packets", slice="one", direction="tx", reason="pass"), None, "pass is no reason")
        tap.equal(get("saferaw_netns_refused_packets", netns="default", direction="tx", reason="port"), 2, "netns refused")
        tap.equal(get("saferaw_dropped_packets", slice="one", direction="tx", reason="steer-out-rate"), 0, "dropped")
        tap.equal(get("saferaw_dropped_packets", slice="one", direction="rx", reason="steer-in-rate"), 0, "dropped, received")
        tap.equal([get("saferaw_opens", slice="one", result=result) for result in ("granted", "refused")], [2, 0], "opens")
        tap.equal([get(f"saferaw_{what}", slice="one") for what in ("flows", "flows_limit", "clients", "clients_limit")],
                  [2, 77, 2, 11], "gauges")  # the command is a client itself
        flows.pop().close()
        while metrics(broker.run_dir)("saferaw_flows", slice="one") != 1:
            pass
        get = metrics(broker.run_dir, "-s", "one", user="games")
        tap.equal(get("saferaw_packets", slice="one", direction="rx"), 2, "what a user sees of its slice")
        tap.equal(get("saferaw_packets", slice="two", direction="rx"), None, "what a user sees of another slice")
        tap.equal(get("saferaw_netns_packets", netns="default", direction="rx"), None, "what a user sees of the netns")
        stats(broker.run_dir, "--openmetrics", "-s", "two", user="games", status=2)


def test_links():
    """Each link has rows of its own as long as it is there: as metrics, as JSON, for people."""
    with Monitor([Slice()]) as relay:
        client, other = relay.client(), relay.client()
        argv = ("-s", relay.path())
        tap.check("saferaw_link" not in stats(relay.directory, "--openmetrics", *argv), "metrics of links without one")
        client.link(count=32)
        other.link(count=16)
        for port in range(1, 9):  # as many as the pool has room for
            relay.from_link(1, packets.udp(HERE, FAR, port, 80))
            relay.arrive(packets.udp(FAR, HERE, 80, struct.unpack_from("!H", relay.sent(), 20)[0]))
            tap.check(relay.to_link(), "no answer")
        for port in (9, 10):
            relay.from_link(1, packets.udp(HERE, FAR, port, 80))
        tap.check(relay.wait(lambda: client.links()[0]["exhausted"] == 2), "not counted")
        tap.equal(relay.sent(0.02), None, "what came out without room")
        struct.pack_into("=QQQQ", relay.link_traffic, monitor.LINK_TRAFFIC, 8, 2000, 10, 700)
        struct.pack_into("=Q", relay.link_traffic, monitor.LINK_TRAFFIC + 64 + 8, 3)
        get, link = metrics(relay.directory, *argv), {"slice": "one", "link": "1", "uid": str(pwd.getpwnam("games").pw_uid)}
        for what, key, values in (("packets", "direction", {"rx": 8, "tx": 10}), ("bytes", "direction", {"rx": 2000, "tx": 700}),
                                  ("translated_packets", "direction", {"rx": 8, "tx": 8}), ("refused_packets", None, {None: 5}),
                                  ("mappings", None, {None: 8}),
                                  ("mapping_events", "event", {"created": 8, "expired": 0, "displaced": 0, "exhausted": 2})):
            tap.equal({value: get(f"saferaw_link_{what}", **link, **({key: value} if key else {})) for value in values}, values,
                      what)
        tap.equal(get("saferaw_link_mappings", **{**link, "link": "2"}), 0, "mappings of the other")
        rows = json.loads(stats(relay.directory, "--json", *argv))["slices"][0]["links"]
        tap.equal([[row[name] for name in ("link", "rx_bytes", "tx_translated", "refused", "exhausted", "mappings")] for row in rows],
                  [[1, 2000, 8, 5, 2, 8], [2, 0, 0, 0, 0, 0]], "JSON")
        lines = [line.split() for line in stats(relay.directory, *argv).splitlines()]
        tap.equal([line[:1] + line[5:7] for line in lines if line and line[0] in "12"], [["1", "8", "2000"], ["2", "0", "0"]],
                  "for people")
        client.close()
        tap.check(relay.wait(lambda: relay.unlinked == [1]), "the link does not end")
        get = metrics(relay.directory, *argv)
        tap.equal((get("saferaw_link_mappings", **link), get("saferaw_link_mappings", **{**link, "link": "2"})), (None, 0),
                  "one that is gone, one that is not")


def test_labels():
    """Label values are escaped: a slice's name that is meant to break the format does not."""
    name = 'a"} 1\\n\n# EOF'
    with Monitor([Slice(name=name)]) as relay:
        relay.client(None, name)
        get = metrics(relay.directory, "-s", relay.path(name))
        tap.equal(get("saferaw_packets", slice=name, direction="rx"), 0, "the slice of that name")


def test_unknown():
    """What belongs to no slice has rows of its own, for root alone: in the relay and in steering."""
    with Monitor([Slice()]) as relay:
        tap.raises(errno.EPERM, relay.client().netns)
        root = relay.client(None)
        before = root.netns()
        tap.equal((before["name"], sum(before["unknown_rx"].values())), ("default", 0), "at first")
        for number, packet in enumerate((packets.udp(FAR, HERE, 53, 40000), b"\x45", b"\x00" * 40,
                                         packets.udp(FAR, HERE, 53, 22), packets.ip(FAR, HERE, 132, bytes(20)))):
            relay.tun.send(packet)
            tap.check(relay.wait(lambda seen=number: sum(root.netns()["unknown_rx"].values()) > seen), "not counted")
        unknown = root.netns()["unknown_rx"]
        tap.equal({reason: count for reason, count in unknown.items() if count},
                  {"no-flow": 3, "short": 1, "version": 1}, "the relay's unknown")
        struct.pack_into("=Q", relay.traffic, monitor.DROPPED + 8 * 4, 6)
        struct.pack_into("=Q", relay.traffic, monitor.TRAFFIC + monitor.DROPPED, 9)
        after = root.netns()
        tap.equal((after["unknown_steer"][4], after["steer"][0], sum(after["steer"])), (6, 9, 9), "steering's")
        one, = json.loads(stats(relay.directory, "--json", "-s", relay.path()))["netns"]
        tap.equal((one["netns"], one["unknown_rx_refused"], one["unknown_steering"], one["steering"]),
                  ("default", {"short": 1, "version": 1, "no-flow": 3}, {"steer-out-source": 6}, {"steer-in-rate": 9}), "JSON")
        get = metrics(relay.directory, "-s", relay.path())
        tap.equal(get("saferaw_unknown_refused_packets", netns="default", direction="rx", reason="no-flow"), 3, "metrics")
        tap.equal(get("saferaw_unknown_dropped_packets", netns="default", direction="tx", reason="steer-out-source"), 6,
                  "metrics of steering")
        lines = stats(relay.directory, "-s", relay.path()).splitlines()
        tap.check("netns default" in lines, "the netns for people")
        tap.check(any(line.split()[:4] == ["no-flow", "0", "0", "3"] for line in lines), "the unknown for people")


def test_netns_outlives_slices():
    """The totals of a netns keep what went through slices that are gone; a slice that is new begins with nothing."""
    with Monitor([Slice(), Slice(number=2, name="two")]) as relay:
        root, client = relay.client(None, "two"), relay.client()
        flow = client.open(proto.UDP, local=HERE, port=40000)
        flow.send(packets.udp(HERE, FAR, 40000, 53))
        flow.send(packets.udp(HERE, FAR, 40001, 53))
        tap.check(relay.sent(), "nothing sent")
        struct.pack_into("=Q", relay.traffic, monitor.TRAFFIC + monitor.DROPPED, 9)
        tap.check(relay.wait(lambda: root.netns()["tx"]["port"] == 1), "not counted")
        tap.equal(client.stats()["steer"][0], 9, "the slice's drops")
        relay.configure(Slice(number=2, name="two"))
        tap.check(relay.wait(lambda: flow.recv(0) == b""), "the slice does not end")
        after = root.netns()
        tap.equal((after["tx_packets"], after["tx"]["port"], after["steer"][0]), (1, 1, 9), "what remains of it")
        relay.configure(Slice(number=2, name="two"), Slice(number=1, serial=5, name="three"))
        relay.wait(lambda: os.path.exists(relay.path("three")))
        tap.equal(relay.client(name="three").stats()["steer"][0], 0, "drops of a new slice with an old number")


def test_root_from_elsewhere():
    """Root asks about a slice whose clients must be in some namespace, from any; and cannot open there."""
    with Monitor([Slice(peers=(monitor.netns_cookie() + 1,), users=("games", "root"))]) as relay:
        tap.raises(errno.EPERM, relay.client)
        root = relay.client(None)
        tap.equal(root.netns()["name"], "default", "the netns")
        tap.raises(errno.EPERM, root.open, proto.UDP, port=40000)


def test_usage():
    """--openmetrics goes with stats alone."""
    done = subprocess.run([program("saferaw"), "flows", "--openmetrics"], stderr=subprocess.PIPE, text=True, check=False)
    tap.equal(done.returncode, 2, "exit status")
    tap.check("stats" in done.stderr, f"said {done.stderr!r}")


tap.main(test_metrics, test_links, test_labels, test_unknown, test_netns_outlives_slices, test_root_from_elsewhere, test_usage,
         modes=("auto",))
