#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""saferaw reserve and release: root gives a slice more ports at run time, and takes them back; nothing else changes."""

import errno
import os
import stat
import subprocess

from harness import PATIENCE, packets, proto, tap
from harness.broker import BUILD, Broker, program, slice_section
from harness.topology import HOST4, PEER4, Pair
from harness.witness import Witness

TWO = slice_section("two", ("news",), "41000-41999")


def saferaw(pair, broker, *argv, status=0, user=None, config=None):
    """Runs saferaw with the broker's configuration; returns all that it printed."""
    prefix = ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups") if user else ()
    done = pair.host.popen(*prefix, program("saferaw"), "-c", config or broker.config, *argv, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True,
                           env=dict(os.environ, SAFERAW_RUN_DIR=broker.run_dir, PATH=f"{BUILD}:{os.environ['PATH']}"))
    said, _ = done.communicate(timeout=PATIENCE)
    tap.equal(done.returncode, status, f"exit status of saferaw {' '.join(argv)} ({said})")
    return said


def drop_ins(broker):
    """The names of all files in the directory of drop-ins."""
    return sorted(os.listdir(broker.config + ".d")) if os.path.isdir(broker.config + ".d") else []


def test_reserve_and_release():
    """What is reserved can be opened and used at once, is the slice's alone, and ends with release."""
    with Pair() as pair, Broker(pair.host, slice_section(), TWO) as broker:
        client, other = proto.Client(broker.slice(), "games"), proto.Client(broker.slice("two"), "news")
        old = client.open(proto.UDP, local=HOST4, port=40001)
        tap.raises(errno.EACCES, client.open, proto.UDP, port=43000)
        tap.check("reserved" in saferaw(pair, broker, "reserve", "one", "udp", "43000-43009"), "what it says")
        tap.equal(drop_ins(broker), ["50-reserve-one-udp-43000-43009.conf"], "drop-ins")
        mode = os.stat(os.path.join(broker.config + ".d", drop_ins(broker)[0]))
        tap.equal((stat.S_IMODE(mode.st_mode), mode.st_uid), (0o644, 0), "mode and owner of the drop-in")
        tap.check("43000-43009" in pair.host.sysctl("net/ipv4/ip_local_reserved_ports"), "not in ip_local_reserved_ports")
        flow = client.open(proto.UDP, local=HOST4, port=43005)
        with Witness(pair.peer, expression="udp") as witness:
            flow.send(packets.udp(HOST4, PEER4, 43005, 9, b"new"))
            tap.check(witness.wait(lambda p: p.payload == b"new"), "a new port does not work")
            old.send(packets.udp(HOST4, PEER4, 40001, 9, b"old"))
            tap.check(witness.wait(lambda p: p.payload == b"old"), "an old flow works no more")
        for protocol, port in ((proto.UDP, 43010), (proto.UDP, 41999), (proto.TCP, 43000)):
            tap.raises(errno.EACCES, client.open, protocol, port=port)
        tap.raises(errno.EACCES, other.open, proto.UDP, port=43000)
        saferaw(pair, broker, "reserve", "two", "tcp", "43000")
        other.open(proto.TCP, port=43000)
        saferaw(pair, broker, "release", "one", "udp", "43000-43009")
        tap.equal(flow.recv(), b"", "the flow on a released port")
        tap.raises(errno.EACCES, client.open, proto.UDP, port=43005)
        tap.equal(drop_ins(broker), ["50-reserve-two-tcp-43000.conf"], "drop-ins that are left")
        tap.check(old.recv(0) is None, "the old flow has ended")


def test_refused():
    """What the configuration does not allow, or does not mean anything, is refused with nothing changed."""
    with Pair() as pair, Broker(pair.host, slice_section(), TWO) as broker:
        saferaw(pair, broker, "reserve", "one", "icmp", "500")
        before = drop_ins(broker)
        for argv, word in ((("reserve", "one", "udp", "41005"), "overlaps"), (("reserve", "one", "udp", "40000"), "overlaps"),
                           (("reserve", "one", "udp", "80"), "below 1024"), (("reserve", "one", "icmp", "500"), "already"),
                           (("reserve", "three", "udp", "43000"), "three"), (("reserve", "one", "ipip", "43000"), "protocol"),
                           (("reserve", "one", "udp", "0"), "port"), (("reserve", "one", "udp", "9-8"), "port"),
                           (("reserve", "one", "udp", "65536"), "port"), (("reserve", "../one", "udp", "43000"), "name"),
                           (("reserve", "one", "udp"), "usage"), (("release", "one", "udp", "43000"), "not there"),
                           (("release", "one", "udp", "40000-40999"), "not there")):
            tap.check(word in saferaw(pair, broker, *argv, status=2), f"{word!r} is not said of {argv}")
            tap.equal(drop_ins(broker), before, f"drop-ins after {argv}")
        tap.check("root" in saferaw(pair, broker, "reserve", "one", "udp", "43000", status=2, user="games"), "users")
        tap.equal((drop_ins(broker), broker.log.count("reload: done")), (before, 1), "changes")
        tap.check("stays as it was" not in broker.log, "a reload failed")


def test_wrong_configuration():
    """A configuration that is wrong already is left alone, and so is one that a release would break."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        saferaw(pair, broker, "reserve", "one", "tcp", "43000")
        with open(broker.config, "a", encoding="utf-8") as file:
            file.write("nonsense = 1\n")
        before = drop_ins(broker)
        for argv in (("reserve", "one", "tcp", "43001"), ("release", "one", "tcp", "43000")):
            tap.check("nonsense" in saferaw(pair, broker, *argv, status=2), "the mistake is not named")
            tap.equal(drop_ins(broker), before, "drop-ins")
        proto.Client(broker.slice(), "games").open(proto.TCP, port=43000)


def test_not_running():
    """Without saferawd the drop-in is checked and written, and holds from its start on."""
    with Pair() as pair, Broker(pair.host, slice_section(), start=False) as broker:
        tap.check("not running" in saferaw(pair, broker, "reserve", "one", "udp", "43000"), "what it says")
        saferaw(pair, broker, "reserve", "one", "udp", "40005", status=2)
        broker.start()
        client = proto.Client(broker.slice(), "games")
        client.open(proto.UDP, port=43000)
        broker.kill()
        saferaw(pair, broker, "release", "one", "udp", "43000")
        broker.start()
        tap.raises(errno.EACCES, proto.Client(broker.slice(), "games").open, proto.UDP, port=43000)


def test_not_taken_up():
    """When the saferawd that runs does not read the file, the drop-in is taken away again."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        elsewhere = os.path.join(broker.directory, "elsewhere.conf")
        with open(broker.config, encoding="utf-8") as file, open(elsewhere, "w", encoding="utf-8") as copy:
            copy.write(file.read())
        tap.check("did not take it up" in saferaw(pair, broker, "reserve", "one", "udp", "43000", status=2, config=elsewhere),
                  "what it says")
        tap.equal((os.listdir(elsewhere + ".d"), drop_ins(broker)), ([], []), "drop-ins")


def test_side_by_side():
    """Many commands at once: each grant is there in the end."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        environment = dict(os.environ, SAFERAW_RUN_DIR=broker.run_dir)
        running = [pair.host.popen(program("saferaw"), "-c", broker.config, "reserve", "one", "udp", str(port), env=environment,
                                   stdout=subprocess.PIPE) for port in range(43000, 43008)]
        for process in running:
            process.communicate(timeout=PATIENCE)
            tap.equal(process.returncode, 0, "exit status")
        client = proto.Client(broker.slice(), "games")
        for port in range(43000, 43008):
            client.open(proto.UDP, port=port)


tap.main(test_reserve_and_release, test_refused, test_wrong_configuration, test_not_running, test_not_taken_up,
         test_side_by_side, modes=("auto",))
