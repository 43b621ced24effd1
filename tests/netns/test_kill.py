#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Kills and stops: the relay is back within a second, a dead monitor leaves nothing that acts, a stop leaves nothing."""

import os
import signal
import socket
import subprocess
import time

from harness import PATIENCE, packets, proto, tap
from harness.broker import Broker, program, slice_section
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair
from harness.witness import Witness


def picture(namespace):
    """Everything that a start could leave behind: devices, filters, programs, sysctls, sockets."""
    links = namespace.run("ip", "-o", "link")
    names = [line.split(":")[1].strip().split("@")[0] for line in links.splitlines()]
    parts = {"links": names, "addresses": namespace.run("ip", "-o", "addr").split("valid_lft")[0]}
    for name in names:
        parts[f"qdisc {name}"] = namespace.run("tc", "qdisc", "show", "dev", name)
        parts[f"filter {name}"] = namespace.run("tc", "filter", "show", "dev", name, "ingress", check=False)
        parts[f"bpf {name}"] = namespace.run("bpftool", "net", "show", "dev", name, check=False)
    parts["sysctls"] = [line for line in namespace.run("sysctl", "-a", "--pattern", r"^net\.ipv[46]\.").splitlines()
                        if not any(word in line for word in (".stable_secret", "neigh.", "mtu_expires", "fib_", "tcp_fastopen_key"))]
    parts["sockets"] = namespace.run("ss", "-Hanutx").split("u_str")[0]
    return parts


def compare(before, after):
    """Raises Failure naming each part that differs."""
    for part in before.keys() | after.keys():
        tap.equal(after.get(part), before.get(part), part)


def killed_twice():
    """How many seconds the relay was gone for after two kills, and how many it may be."""
    gone = []
    with Pair() as pair, Broker(pair.host, slice_section(), start=False) as broker:
        begun = time.monotonic()
        broker.start()
        allowed = 1.0 + time.monotonic() - begun  # a second, and on a busy machine as long as the first start has taken
        listener = pair.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((HOST4, 40500))
        listener.settimeout(PATIENCE)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(2):
            client = proto.Client(broker.slice(), "games")
            flow = client.open(proto.UDP, port=40001)
            os.kill(broker.relay_pid(), signal.SIGKILL)
            killed = time.monotonic()
            tap.equal(flow.recv(), b"", "end of file on the flow")
            sender.sendto(b"host traffic", (HOST4, 40500))
            tap.equal(listener.recv(100), b"host traffic", "the host's own socket in the range")
            silent = pair.host.counter("IcmpOutDestUnreachs")
            sender.sendto(b"orphan", (HOST4, 40001))
            again = proto.Client(broker.slice(), "games")  # waits in the listen queue for the next relay
            flow = again.open(proto.UDP, port=40001)
            gone.append(time.monotonic() - killed)
            tap.equal(pair.host.counter("IcmpOutDestUnreachs"), silent, "the orphaned port was answered")
            sender.sendto(b"anew", (HOST4, 40001))
            while (packet := packets.Packet(flow.recv())).payload == b"orphan":
                pass
            tap.equal(packet.payload, b"anew", "the reopened flow")
            flow.close()
    return gone, allowed


def test_relay_killed():
    """kill -9 of the relay: back within a second, clients see end of file and reopen, host traffic goes on all the time."""
    for _ in range(tap.TRIES):  # what a busy machine delays, it does not delay each time
        gone, allowed = killed_twice()
        if max(gone) < allowed:
            return
        tap.diagnose(f"once more: gone for {gone} s")
    tap.check(False, f"the relay was gone for {gone} s, want less than {allowed:.2f}")


def test_shut_after_kill():
    """What comes for an orphaned port does not reach the next relay, which has no flow for it."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        client = proto.Client(broker.slice(), "games")
        flow, orphan = client.open(proto.UDP, port=40001), client.open(proto.UDP, port=40002)
        os.kill(broker.relay_pid(), signal.SIGKILL)
        tap.equal(orphan.recv(), b"", "end of file on the flow")
        tap.equal(flow.recv(), b"", "end of file on the flow")
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.UDP, port=40001)
        sender = pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(3):
            sender.sendto(b"for the orphan", (HOST4, 40002))
        sender.sendto(b"the marker", (HOST4, 40001))
        tap.equal(packets.Packet(flow.recv()).payload, b"the marker", "what the reopened flow got")
        log = broker.finish()
        tap.check("for no slice" not in log, f"packets without a flow:\n{log}")


def test_grace():
    """An orphaned port waits for its owner: another uid of the slice gets EADDRINUSE, the owner gets it."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("games", "list"))) as broker:
        flow = proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
        os.kill(broker.relay_pid(), signal.SIGKILL)
        broker.wait_log("relay", 2)
        tap.raises(98, proto.Client(broker.slice(), "list").open, proto.UDP, port=40001)
        tap.equal(flow.recv(), b"", "end of file on the flow")
        proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)


def quarantined(ms):
    """Whether another is refused a port that was just closed, for a quarantine of that time; None if that was too short to tell."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("games", "list")), top=f"quarantine = {ms}") as broker:
        owner, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice(), "list")
        owner.open(proto.TCP, port=40001).close()
        last = owner.open(proto.TCP, port=40001)
        closed = time.monotonic()
        last.close()
        refused = False
        while True:
            try:
                other.open(proto.TCP, port=40001)
                return refused or (None if time.monotonic() - closed >= ms / 1000 else False)
            except OSError as caught:
                tap.equal(caught.errno, 98, "errno during the quarantine")
                tap.check(time.monotonic() - closed < ms / 1000 + PATIENCE, "the quarantine does not end")
                refused = True


def test_quarantine():
    """A closed port is kept from others for a while, silent, and can be reopened by its owner at once."""
    outcome = next(outcome for outcome in map(quarantined, (500, 5000, 50000)) if outcome is not None)
    tap.check(outcome, "another got the port at once")


def test_quarantine_ends():
    """After the quarantine the port is the host's again, though nobody asks saferawd for it."""
    with Pair() as pair, Broker(pair.host, slice_section(), top="quarantine = 300") as broker:
        client = proto.Client(broker.slice(), "games")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            client.open(proto.TCP if kind == socket.SOCK_STREAM else proto.UDP, port=40001).close()
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    pair.host.socket(socket.AF_INET, kind).bind((HOST4, 40001))
                    break
                except OSError as caught:
                    tap.equal(caught.errno, 98, "errno of the host's bind")
                    tap.check(time.monotonic() < deadline, "the port stays held")


def test_quarantine_silent():
    """A port in quarantine answers nothing, neither itself nor by the host, and what comes for it is not steered."""
    with Pair() as pair, Broker(pair.host, slice_section(), top="quarantine = 30k") as broker:
        client = proto.Client(broker.slice(), "games")
        for source, target in ((HOST4, PEER4), (HOST6, PEER6)):
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            client.open(proto.TCP, port=40001).close()
            client.open(proto.UDP, port=40001).close()
            while client.flows():
                pass
            with Witness(pair.host, expression="tcp or udp or icmp or icmp6", direction="out") as witness:
                caller = pair.peer.socket(family, socket.SOCK_STREAM)
                caller.setblocking(False)
                caller.connect_ex((source, 40001))
                sender = pair.peer.socket(family, socket.SOCK_DGRAM)
                sender.sendto(b"late", (source, 40001))
                pair.host.socket(family, socket.SOCK_DGRAM).sendto(b"the marker", (target, 9))
                tap.check(witness.wait(lambda p: p.payload == b"the marker"), "no marker")
                answers = witness.all(lambda p: p.sport == 40001 or p.type in (1, 3))
                tap.equal(answers, [], "answers")
                caller.close()
        log = broker.finish()
        tap.check("for no slice" not in log, f"packets that were steered without a flow:\n{log}")


def test_stop():
    """SIGTERM: devices, filters, programs, sysctls, sockets and files are as before the start."""
    with Pair() as pair:
        pair.host.sysctl("net/ipv4/ip_local_reserved_ports", "8080,9000-9010")
        before = picture(pair.host)
        broker = Broker(pair.host, slice_section())
        tap.check(picture(pair.host) != before, "the start changed nothing?")
        tap.check("40000-40999" in pair.host.sysctl("net/ipv4/ip_local_reserved_ports"), "reserved ports")
        client = proto.Client(broker.slice(), "games")
        flow = client.open(proto.TCP, port=40001)
        broker.process.terminate()
        tap.equal(client.event()[0], proto.SHUTDOWN, "the event")
        tap.equal(flow.recv(), b"", "end of file on the flow")
        tap.equal(broker.process.wait(PATIENCE), 0, "exit status")
        left = [os.path.join(place, name) for place, _, files in os.walk(broker.run_dir) for name in files if name != "lock"]
        tap.equal(left, [], "files in the run directory")
        compare(before, picture(pair.host))
        broker.process = None
        broker.stop()


def test_monitor_killed():
    """kill -9 of the monitor: no steering acts; the next start cleans up, and its stop leaves nothing."""
    with Pair() as pair:
        before = picture(pair.host)
        broker = Broker(pair.host, slice_section())
        flow = proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
        broker.kill()
        tap.equal(flow.recv(), b"", "end of file on the flow")
        if "steering by tcx" in broker.log:
            tap.check("steer_in" not in pair.host.run("bpftool", "net", "show", "dev", "eth0"), "steering is still attached")
        for address, family in ((HOST4, socket.AF_INET), (HOST6, socket.AF_INET6)):
            listener = pair.host.socket(family, socket.SOCK_DGRAM)
            listener.bind((address, 40001))
            listener.settimeout(0.2)
            sender = pair.peer.socket(family, socket.SOCK_DGRAM)
            deadline = time.monotonic() + 8  # clsact goes quiet when the heartbeat is stale
            while True:
                sender.sendto(b"for the host", (address, 40001))
                try:
                    tap.equal(listener.recv(100), b"for the host", "the host's own socket")
                    break
                except TimeoutError:
                    tap.check(time.monotonic() < deadline, "traffic vanishes for good")
            listener.close()
        broker.start()
        proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)
        broker.stop()
        compare(before, picture(pair.host))


def test_second_instance():
    """A second saferawd on the same run directory says so and leaves the first alone."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        second = pair.host.popen(program("saferawd"), "-c", broker.config, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = second.communicate(timeout=PATIENCE)
        tap.check(second.returncode != 0 and "already running" in said, f"exit {second.returncode}: {said}")
        proto.Client(broker.slice(), "games").open(proto.UDP, port=40001)


def test_foreign_filters():
    """Another owner's clsact filter on the uplink survives start and stop, before and behind ours."""
    with Pair() as pair:
        pair.host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        for prio in ("1", "50000"):
            pair.host.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", prio, "protocol", "ip", "u32",
                          "match", "ip", "dport", "5555", "0xffff", "flowid", "1:1")
        # a BPF program of somebody else's, at the very priority that saferawd's own filters have
        pair.host.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "11", "protocol", "all", "bpf",
                      "bytecode", "1,6 0 0 0", "flowid", "1:2")
        before = pair.host.run("tc", "filter", "show", "dev", "eth0", "ingress")
        tap.check("pref 50000" in before, "the other owner's filters")
        with Broker(pair.host, slice_section()) as broker:
            flow = proto.Client(broker.slice(), "games").open(proto.UDP, local=HOST4, port=40001)
            pair.peer.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"steered", (HOST4, 40001))
            tap.equal(packets.Packet(flow.recv()).payload, b"steered", "what the flow got")
        tap.equal(pair.host.run("tc", "filter", "show", "dev", "eth0", "ingress"), before, "the filters")


tap.main(test_relay_killed, test_shut_after_kill, test_grace, test_quarantine, test_quarantine_ends, test_quarantine_silent,
         test_stop, test_monitor_killed, test_second_instance, test_foreign_filters)
