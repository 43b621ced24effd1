#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The saferaw command and the examples, as users run them."""

import json
import os
import socket
import subprocess

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.monitor import Monitor, Slice
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair, run


def as_user(name):
    """The words that run a command as that user, without a capability."""
    return ("setpriv", f"--reuid={name}", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--no-new-privs")


def command(pair, broker, *argv, user="games", status=0):
    """Runs saferaw in the host namespace as that user; returns what it printed."""
    prefix = as_user(user) if user else ()
    done = pair.host.popen(*prefix, program("saferaw"), *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env=dict(os.environ, SAFERAW_RUN_DIR=broker.run_dir))
    out, errors = done.communicate(timeout=PATIENCE)
    tap.equal(done.returncode, status, f"exit status of saferaw {' '.join(argv)} ({out}{errors})")
    return out if status < 2 else errors


def test_lists():
    """flows, ports and stats: what is open, who has it, what was refused; for people and as JSON."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, local=HOST4, port=40001)
        other = client.open(proto.TCP, port=40002, remote=PEER6, remote_port=80)
        flow.send(packets.udp(HOST4, PEER4, 40009, 9))
        while not client.stats()["tx"]["port"]:
            pass
        listener = pair.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((HOST4, 40005))
        listener.listen()
        one, = json.loads(command(pair, broker, "flows", "--json"))["slices"]
        tap.equal(one["slice"], "one", "name of the slice")
        tap.equal([(row["protocol"], row["local"]["address"], row["local"]["port"], row["uid"], row["refused"])
                   for row in one["flows"]], [("udp", HOST4, 40001, 5, 1), ("tcp", None, 40002, 5, 0)], "flows")
        tap.equal(one["flows"][1]["remote"], {"address": PEER6, "port": 80}, "the remote")
        tap.check(f"{HOST4}:40001" in command(pair, broker, "flows"), "flows for people")
        one, = json.loads(command(pair, broker, "ports", "--json"))["slices"]
        tap.equal({(row["protocol"], row["port"]): (row["state"], row["uid"]) for row in one["ports"]},
                  {("udp", 40001): ("open", 5), ("tcp", 40002): ("open", 5), ("tcp", 40005): ("free", None)}, "ports")
        tap.check(f"{HOST4}:40005" in command(pair, broker, "ports"), "ports for people")
        one, = json.loads(command(pair, broker, "stats", "--json"))["slices"]
        tap.equal((one["tx_refused"], one["grants"]), ({"port": 1}, 2), "stats")
        tap.check("source port" in command(pair, broker, "stats"), "stats for people")
        readers = client.open(proto.CLASS_ANY, kind=proto.SNIFFER), client.open(proto.UDP, port=40001, kind=proto.ICMP_ERROR)
        one, = json.loads(command(pair, broker, "flows", "--json"))["slices"]
        tap.equal([(row["kind"], row["protocol"], row["local"]["port"]) for row in one["flows"]],
                  [("consumer", "udp", 40001), ("consumer", "tcp", 40002), ("sniffer", "any", 0), ("icmp-error", "udp", 40001)],
                  "kinds")
        tap.check("sniffer    any    *:*" in command(pair, broker, "flows"), "kinds for people")
        for each in (other, *readers):
            each.close()


def test_which_slice():
    """Without -s the slice is the only one that has the user on its list; who is on none, or on several, is told."""
    with Pair() as pair, Broker(pair.host, slice_section("one", ("games",), "40000-40999"),
                                slice_section("two", ("games", "news"), "41000-41999"),
                                slice_section("three", ("news", "mail"), "42000-42999")) as broker:
        one, = json.loads(command(pair, broker, "flows", "--json", user="mail"))["slices"]
        tap.equal(one["slice"], "three", "the slice of a user of one")
        tap.check("name one of them: three, two" in command(pair, broker, "flows", user="news", status=2), "a user of two")
        tap.check("no slice" in command(pair, broker, "flows", user="list", status=2), "a user of none")
        tap.equal([one["slice"] for one in json.loads(command(pair, broker, "flows", "--json", user=None))["slices"]],
                  ["one", "three", "two"], "root")


def ports(pair, broker, **more):
    """What saferaw ports says: {(protocol, address, port, count, uid, uid of the socket): kinds}."""
    one, = json.loads(command(pair, broker, "-s", "one", "ports", "--json", **more))["slices"]
    return {(row["protocol"], row["address"], row["port"], row["count"], row["uid"],
             row["kernel_socket"] and row["kernel_socket"]["uid"]): row["kinds"] for row in one["ports"]}, one["sockets_seen"]


def test_ports():
    """ports: who has what, of which kinds, and which sockets of the host are on the slice's ports; never the broker's own."""
    section = slice_section(users=("games", "news"), ports="40000-40019", extra="hold = always")
    with Pair() as pair, Broker(pair.host, section) as broker:
        games, news = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "news")
        tap.equal(ports(pair, broker), ({}, True), "with every port held by the broker, and none open")
        flows = [games.open(proto.UDP, local=HOST4, port=40001, remote=PEER4, remote_port=1 + n) for n in range(40)]
        flows += [games.open(proto.UDP, local=HOST4, port=40001, kind=kind) for kind in (proto.SNIFFER, proto.ICMP_ERROR) * 2]
        flows += [games.open(proto.TCP, port=40003, count=4), games.open(proto.ICMP, port=40001, family=socket.AF_INET6),
                  news.open(proto.TCP, port=40010, kind=proto.SNIFFER), news.open(proto.CLASS_ANY, kind=proto.SNIFFER)]
        tap.equal(ports(pair, broker)[0],
                  {("udp", HOST4, 40001, 1, 5, None): {"consumer": 40, "sniffer": 2, "icmp-error": 2},
                   ("tcp", None, 40003, 4, 5, None): {"consumer": 1}, ("icmpv6", None, 40001, 1, 5, None): {"consumer": 1},
                   ("tcp", None, 40010, 1, 9, None): {"sniffer": 1}, ("any", None, 0, 1, 9, None): {"sniffer": 1}}, "rows")
        text = command(pair, broker, "ports")
        tap.check("40 consumer, 2 sniffer, 2 icmp-error" in text and "*:40003-40006" in text, f"for people: {text}")
        one, = json.loads(command(pair, broker, "explain", "--json", "udp/40002"))["slices"]
        tap.equal((one["passes"], one["port"]["sockets_seen"]), (True, True), "a port that the broker holds can be opened")
        for flow in flows:
            flow.close()
        while games.flows():
            pass
        tap.equal(ports(pair, broker), ({}, True), "while ports are in quarantine")
        other = run("ip", "netns", "exec", pair.peer.name, "setpriv", "--reuid=games", "--clear-groups", program("saferaw"), "-s",
                    broker.slice(), "ports", "--json")
        tap.equal(json.loads(other)["slices"][0]["sockets_seen"], False, "asked from another network namespace")


def test_ports_of_links():
    """ports: a link's ports, with its number and user."""
    with Monitor([Slice()]) as relay:
        client = relay.client()
        client.link(count=32, ports=(40000, 40032, 0))
        flow = client.open(proto.TCP, port=40100)
        done = run("setpriv", "--reuid=games", "--clear-groups", program("saferaw"), "-s", relay.path(), "ports", "--json")
        rows = json.loads(done)["slices"][0]["ports"]
        tap.equal([(row["protocol"], row["count"], row["state"], row["uid"], row["kinds"], row["link"]) for row in rows],
                  [("tcp", 32, "open", 5, {}, 1), ("tcp", 1, "open", 5, {"consumer": 1}, None), ("udp", 32, "open", 5, {}, 1),
                   ("icmp", 32, "open", 5, {}, 1)], "rows")
        tap.equal([row["port"] for row in rows[:3]], [40000, 40100, 40032], "ports")
        tap.check("link 1" in run("setpriv", "--reuid=games", "--clear-groups", program("saferaw"), "-s", relay.path(), "ports"),
                  "for people")
        flow.close()


def test_proxied():
    """ports, flows, explain and capture: proxied prefixes, and what is open on them."""
    net, net6, far = "198.51.100.64/28", "2001:db8:9::/64", "203.0.113.7"
    slices = Slice(ranges=(), proxied=(net, net6), users=("games", "news")), Slice(number=2, name="two", users=("list",))
    with Monitor(slices) as relay:
        relay.routes = {far: (HOST4, 1500)}
        client = relay.client()
        flows = [client.open(proto.TCP, local=net, port=80, family=socket.AF_INET), client.open(proto.UDP, local="2001:db8:9::5", port=53),
                 client.open(proto.ICMP, local=net6, port=1, count=65535, family=socket.AF_INET6)]

        def said(*argv, status=0, user="games"):
            """What saferaw prints."""
            done = subprocess.run(["setpriv", f"--reuid={user}", "--clear-groups", program("saferaw"), "-s", relay.path(), *argv],
                                  check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
            tap.equal(done.returncode, status, f"exit status of saferaw {argv} ({done.stdout}{done.stderr})")
            return done.stdout

        one = json.loads(said("flows", "--json"))["slices"][0]
        tap.equal([(row["local"]["address"], row["local"]["length"], row["local"]["port"]) for row in one["flows"]],
                  [("198.51.100.64", 28, 80), ("2001:db8:9::5", None, 53), ("2001:db8:9::", 64, 1)], "flows")
        text = said("flows")
        for word in (f" {net}:80 ", " [2001:db8:9::5]:53 ", f" [{net6}]:1-65535 "):
            tap.check(word in text, f"{word!r} is not in: {text}")
        one = json.loads(said("ports", "--json"))["slices"][0]
        tap.equal((one["proxied"], [(row["address"], row["length"], row["port"], row["state"]) for row in one["ports"]]),
                  ([net, net6], [("198.51.100.64", 28, 80, "open"), ("2001:db8:9::5", None, 53, "open"),
                                 ("2001:db8:9::", 64, 1, "open")]), "ports")
        text = said("ports")
        tap.check(f"proxied {net}\nproxied {net6}\n" in text and f"{net}:80" in text, f"ports for people: {text}")
        for port, status, word in (("tcp/198.51.100.70:80", 0, "that is you"), ("tcp/198.51.100.70:22", 0, "with every port"),
                                   ("tcp/198.51.100.80:22", 1, "not the slice's"), ("udp/[2001:db8:9::ffff]:53", 0, "that is you"),
                                   ("tcp/22", 1, "not the slice's")):
            tap.check(word in said("explain", port, status=status), f"{word!r} is not said of {port}")
        tap.check("uid 5 has it" in said("explain", "tcp/198.51.100.70:80", status=1, user="news"), "another user's port")
        for packet, status, verdict in ((packets.udp("198.51.100.79", far, 22, 9), 0, "pass"),
                                        (packets.udp("198.51.100.80", far, 22, 9), 1, "source"),
                                        (packets.udp(HOST4, far, 22, 9), 1, "port"),
                                        (packets.udp("198.51.100.79", "127.0.0.1", 22, 9), 1, "loopback")):
            one, = json.loads(said("explain", "--json", packet.hex(), status=status))["slices"]
            tap.equal(one["verdict"], verdict, "verdict")
        capture = subprocess.Popen(["setpriv", "--reuid=games", "--clear-groups", program("saferaw"), "-s", relay.path(), "capture",
                                    "-c", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        tap.check(capture.stderr.readline(), "the capture does not begin")
        relay.arrive(packets.tcp(far, "198.51.100.70", 1024, 80))
        tap.check("203.0.113.7:1024 to 198.51.100.70:80" in capture.communicate(timeout=PATIENCE)[0], "the capture")
        tap.check(flows[0].recv(), "what was captured, at its flow")


def test_ports_of_the_host():
    """ports: sockets of the host in all shapes are seen beside the broker's, on the slice's own addresses alone."""
    sections = (slice_section(users=("games",), extra=f'addresses = {{"{HOST4}", "{HOST6}"}}'),
                slice_section("two", ("news",), extra='addresses = {"192.0.2.7"}'))
    with Pair() as pair:
        pair.host.run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
        with Broker(pair.host, *sections) as broker:
            games, news = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
            theirs, mine = news.open(proto.UDP, port=40001), games.open(proto.UDP, local=HOST4, port=40001)
            tap.equal(list(ports(pair, broker)[0]), [("udp", HOST4, 40001, 1, 5, None)], "with another slice's beside")
            held = []
            for family, kind, address, port in ((socket.AF_INET, socket.SOCK_STREAM, HOST4, 40005),
                                                (socket.AF_INET6, socket.SOCK_DGRAM, HOST6, 40001),
                                                (socket.AF_INET6, socket.SOCK_DGRAM, "::", 40007),
                                                (socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0", 40008),
                                                (socket.AF_INET, socket.SOCK_DGRAM, "192.0.2.7", 40009)):
                one = pair.host.socket(family, kind)
                one.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    one.listen()
                held.append(one)
            tap.equal({key[:3] for key in ports(pair, broker)[0] if key[5] == 0},
                      {("tcp", HOST4, 40005), ("udp", HOST6, 40001), ("udp", None, 40007), ("udp", None, 40008)},
                      "sockets of the host")
            tap.check("socket of the host: listening, uid 0" in command(pair, broker, "-s", "one", "ports"), "for people")
            for port, status in (("udp/40007", 1), (f"udp/[{HOST6}]:40001", 1), (f"udp/{HOST4}:40001", 0), ("udp/40002", 0)):
                command(pair, broker, "-s", "one", "explain", port, status=status)
            mine.close()
            theirs.close()


def test_root_sees_all():
    """Root sees every slice; a user sees the slice that lists it, and is told why not of others."""
    sections = (slice_section(), slice_section("two", ("news",), "41000-41999"))
    with Pair() as pair, Broker(pair.host, *sections) as broker:
        flow = proto.Client(broker.slice("two"), "news").open(proto.UDP, port=41001)
        rows = json.loads(command(pair, broker, "flows", "--json", user=None))["slices"]
        tap.equal({row["slice"]: len(row["flows"]) for row in rows}, {"one": 0, "two": 1}, "slices that root sees")
        flow.close()
        tap.check("not a member" in command(pair, broker, "-s", "two", "flows", status=2), "why a user does not see another's")
        tap.check("nowhere" in command(pair, broker, "-s", "nowhere", "flows", status=2), "a slice that is not there")


def test_explain():
    """explain: why a port can be opened or not, why a packet would pass or not."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("games", "list"))) as broker:
        client = proto.Client(broker.slice(), "list")
        flow = client.open(proto.UDP, local=HOST4, port=40001)
        listener = pair.host.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.bind((HOST6, 40005))
        listener.listen()
        for port, status, word in (("udp/40002", 0, "free"), ("udp/40001", 1, "uid 38"), ("tcp/22", 1, "not the slice's"),
                                   (f"tcp/[{HOST6}]:40005", 1, "in the way"), (f"tcp/{HOST4}:40005", 0, "free")):
            tap.check(word in command(pair, broker, "explain", port, status=status), f"{word!r} is not said of {port}")
        for packet, status, verdict in (
                (packets.udp(HOST4, PEER4, 40002, 9), 0, "pass"), (packets.udp(HOST6, PEER6, 40002, 9), 0, "pass"),
                (packets.udp(HOST4, PEER4, 22, 9), 1, "port"), (packets.udp(PEER4, HOST4, 40002, 9), 1, "source"),
                (packets.udp(HOST6, "ff02::1", 40002, 9), 1, "multicast"), (b"\x45\0", 1, "short"),
                (packets.udp(HOST4, PEER4, 40002, 9, bytes(3000)), 1, "too-big")):
            one, = json.loads(command(pair, broker, "explain", "--json", packet.hex(), status=status))["slices"]
            tap.equal(one["verdict"], verdict, "verdict")
        flow.close()


def test_examples():
    """udpecho and rawping talk to a kernel socket and to the kernel itself."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        for target, source in ((HOST4, PEER4), (HOST6, PEER6)):
            ping = pair.host.popen(*as_user("games"), program("examples/rawping"), "-s", broker.slice(), source,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said, _ = ping.communicate(timeout=PATIENCE)
            tap.equal(ping.returncode, 0, f"exit status of rawping ({said})")
            tap.check(source in said, f"rawping says {said!r}")
            echo = pair.host.popen(*as_user("games"), program("examples/udpecho"), "-s", broker.slice(), "40007",
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
            while not any(row[11] == 40007 for row in proto.Client(broker.slice(), "games").flows()):
                tap.equal(echo.poll(), None, "udpecho's end")
            caller = pair.peer.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
            caller.settimeout(PATIENCE)
            caller.connect((target, 40007))
            for size in (1, 2, 1000):
                caller.send(b"e" * size)
                tap.equal(caller.recv(2000), b"e" * size, "the echo")
            echo.kill()
            echo.communicate()


def test_library_built_against():
    """A program compiles and links against the public header alone, and asks for nothing else."""
    header = os.path.join(os.environ.get("SAFERAW_SOURCE", "."), "include", "saferaw.h")
    for language, compiler in (("c99", "cc"), ("c17", "cc")):
        run(compiler, f"-std={language}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", "c", header)


tap.main(test_lists, test_which_slice, test_ports, test_ports_of_links, test_proxied, test_ports_of_the_host,
         test_root_sees_all, test_explain, test_examples, test_library_built_against, modes=("auto",))
