#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench-links: programs on a link against a bare veth, pasta and slirp4netns, in one run.

A tenant's namespace has a link, whose packets go through the host to the peer,
and beside it a veth straight to the same peer: the control. pasta and slirp4netns
run in the host, as the same user, on the same path as the link. Each figure is the median of
several rounds in which all take turns; what counts are the ratios. Then links
are added to the same broker, and the first one is measured again among them.
With --bars exits non-zero, naming every ratio that falls short.
"""

import argparse
import contextlib
import errno
import json
import os
import shutil
import stat
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from harness import cage  # pylint: disable=wrong-import-position
from harness.broker import program, slice_section  # pylint: disable=wrong-import-position
from harness.link import PYTHON, Tenant, linked  # pylint: disable=wrong-import-position
from harness.topology import HOST4, HOST6, PEER4, PEER6, Pair, run  # pylint: disable=wrong-import-position

LO, HI = 30000, 30255  # the link that is measured
FIRST, LAST, UNIT = 30256, 60015, 16  # blocks of the others
BARE_TENANT, BARE_PEER = ("198.51.100.1", "2001:db8:1::1"), ("198.51.100.2", "2001:db8:1::2")
PORT = 7000
SMALL = 64  # bytes of UDP payload
USER = "games"
TRIES = 20
JOBS = ("tcp out", "tcp in", "trips", "udp out", "udp in")


def to_bare(text, job, bound):
    """Rows of BARS: a job on the link against the same on the bare veth, in both families."""
    return tuple((f"{text}, {link} / {control} veth", lambda m, a=link, b=control: m(a, job) / m(b, job), bound)
                 for link, control in (("link", "bare"), ("link IPv6", "bare IPv6")))


# name, comparison of medians, bound
BARS = (
    *to_bare("TCP out", "tcp out", 0.85),
    *to_bare("TCP in", "tcp in", 0.85),
    *to_bare("TCP round trips", "trips", 0.7),
    *to_bare("UDP 64-byte packets/s out", "udp out", 0.6),
    *to_bare("UDP 64-byte packets/s in", "udp in", 0.6),
    ("TCP out, link / pasta", lambda m: m("link", "tcp out") / m("pasta", "tcp out"), 4.0),
    ("TCP in, link / pasta", lambda m: m("link", "tcp in") / m("pasta", "tcp in"), 4.0),
    ("TCP out, link / slirp4netns", lambda m: m("link", "tcp out") / m("slirp4netns", "tcp out"), 4.0),
    ("TCP in, link / slirp4netns", lambda m: m("link", "tcp in") / m("slirp4netns", "tcp in"), 4.0),
)

# Waits until a namespace of its own is set up, and then until it is killed
ASLEEP = "import sys; print('here', flush=True); sys.stdin.read()"

# N tenants in one process tree: each makes its namespaces and a control socket in them, and connects
MANY = """
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
for _ in range(int(sys.argv[2])):
    done, told = os.pipe()
    if not os.fork():
        if libc.unshare(0x10000000 | 0x40000000):
            os._exit(1)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(sys.argv[1])
        os.write(told, b".")
        signal.pause()
    os.close(told)
    if os.read(done, 1) != b".":
        sys.exit("a tenant failed")
    os.close(done)
print("here", flush=True)
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


class Path:
    """A way from a namespace to the peer."""

    def __init__(self, name, enter, peer, local=None, port=PORT):
        self.name, self.enter, self.peer, self.local, self.port = name, enter, peer, local, port

    def run(self, *argv):
        """Runs a program at this end; what it printed."""
        return run(*self.enter(*argv), timeout=60)

    def start(self, *argv):
        """Starts a server at this end that says when it is ready."""
        return ready(self.enter(*argv))


def ready(argv):
    """A process that has said that it is ready."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"{argv}: not ready")
    return process


def iperf(path, seconds, *more):
    """Bits a second that arrive, by iperf3."""
    for _ in range(TRIES):
        said = json.loads(run(*path.enter("iperf3", "-J", "-c", path.peer, "-t", str(seconds), *more), check=False, timeout=60))
        if "error" not in said:
            return said["end"]["sum_received"]["bits_per_second"]
        time.sleep(0.2)  # its server has not yet done with the one before
    raise RuntimeError(f"iperf3 on {path.name}: {said['error']}")


def flood(sender, receiver, target, port, seconds):
    """Datagrams a second that arrive."""
    sink = ready(receiver(program("tests/bench/traffic"), "sink", target, str(port)))
    run(*sender(program("tests/bench/traffic"), "flood", target, str(port), str(seconds), str(SMALL)), timeout=60)
    return float(sink.communicate(timeout=10)[0])


def measure(pair, path, job, seconds):
    """The figure of one job on one path."""
    def peer(*argv):
        return ["ip", "netns", "exec", pair.peer.name, *argv]
    if job == "trips":
        return float(path.run(program("tests/bench/traffic"), "trips", path.peer, str(PORT), str(seconds)))
    if job == "udp out":
        return flood(path.enter, peer, path.peer, PORT, seconds)
    if job == "udp in":
        return flood(peer, path.enter, path.local, path.port, seconds)
    return iperf(path, seconds, *(["-R"] if job == "tcp in" else []))


def one_round(pair, paths, seconds, results):
    """Every job on every path, the paths in turn: machines are noisy, and what is compared shall be close together."""
    for job in JOBS:
        for path in paths:
            if path.local or job in ("tcp out", "tcp in"):
                results.setdefault(path.name, {}).setdefault(job, []).append(measure(pair, path, job, seconds))


@contextlib.contextmanager
def servers(pair):
    """What the peer serves."""
    processes = [pair.peer.popen("iperf3", "-s", stdout=subprocess.DEVNULL),
                 ready(["ip", "netns", "exec", pair.peer.name, program("tests/bench/traffic"), "echo", str(PORT)])]
    try:
        while not pair.peer.run("ss", "-Hlnt", "sport", "5201"):
            time.sleep(0.01)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def with_tun(pair, directory):
    """The beginning of a command in the host that has /dev/net/tun for everybody, as distributions do; nobody else sees it."""
    node = os.path.join(directory, "tun")
    if not os.path.exists(node):
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 200))
        os.chmod(node, 0o666)
    return ["ip", "netns", "exec", pair.host.name, "sh", "-c", f'mount --bind {node} /dev/net/tun && exec "$@"', "-"]


def as_user(*argv):
    """A command as the tenant's user."""
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *argv]


@contextlib.contextmanager
def pasta(pair, directory):
    """A namespace behind pasta, or None when it is not installed."""
    if not shutil.which("pasta"):
        yield None
        return
    argv = with_tun(pair, directory) + as_user("pasta", "--config-net", "--no-map-gw", "--", PYTHON, "-c", ASLEEP)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if not process.stdout.readline():
            raise RuntimeError("pasta does not start")
        yield Path("pasta", lambda *argv: inside(child_of(process.pid), argv), PEER4)
    finally:
        process.kill()
        process.wait()


def child_of(pid):
    """The youngest descendant: the program that runs inside."""
    while True:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if not children:
            return pid
        pid = int(children[-1])


def inside(pid, argv):
    """A command in a process's user and network namespace."""
    return ["nsenter", f"--target={pid}", "--user", "--net", *argv]


@contextlib.contextmanager
def slirp(pair, directory):
    """A namespace behind slirp4netns, or None when it is not installed."""
    if not shutil.which("slirp4netns"):
        yield None
        return
    home = subprocess.Popen(as_user("unshare", "-U", "-r", "-n", PYTHON, "-c", ASLEEP), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    home.stdout.readline()
    out, told = os.pipe()
    os.set_inheritable(told, True)
    argv = with_tun(pair, directory) + as_user("slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={told}", str(home.pid), "tap0")
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(told,))
    os.close(told)
    try:
        if not os.read(out, 1):
            raise RuntimeError("slirp4netns does not start")
        yield Path("slirp4netns", lambda *argv: inside(home.pid, argv), PEER4)
    finally:
        for one in (process, home):
            one.kill()
            one.wait()


def bare(pair, tenant):
    """A veth from the tenant straight to the peer, in both families."""
    run("ip", "link", "add", "bare0", "netns", pair.peer.name, "type", "veth", "peer", "name", "bare0", "netns", str(tenant.pid))
    for enter, addresses in ((pair.peer.run, BARE_PEER), (tenant.run, BARE_TENANT)):
        enter("ip", "addr", "add", f"{addresses[0]}/24", "dev", "bare0")
        enter("ip", "addr", "add", f"{addresses[1]}/64", "dev", "bare0", "nodad")
        enter("ip", "link", "set", "bare0", "up")
    return [Path("bare", tenant.enter, BARE_PEER[0], BARE_TENANT[0]), Path("bare IPv6", tenant.enter, BARE_PEER[1], BARE_TENANT[1])]


def more_links(relay, path, count, first):
    """Makes links until there are that many; the seconds for each, and whether there was room for all."""
    process = subprocess.Popen(as_user("setsid", PYTHON, "-c", MANY, path, str(count)), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    uid = int(run("id", "-u", USER))
    socks, made, begun = [], 0, None
    for number in range(count):
        socks.append(relay.accept())
        begun = begun or time.monotonic()
        lo = first + UNIT * number
        try:
            error = relay.reserve(lo, lo + UNIT - 1, uid=uid, kind=0) or relay.ask(
                [socks[-1].fileno()], [lo, 0, 0], [lo + UNIT - 1, 0, 0])[0]
            if error:
                raise OSError(error, "no link")
        except OSError as caught:
            if caught.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            break
        made += 1
    return process, socks, made, (time.monotonic() - begun) / max(made, 1)


def grow(relay, broker, path, args, results):
    """The first link among more and more others, which have TCP ports alone: each held port is a file of the broker's."""
    processes, socks, total = [], [], 1
    print(f"{'links':>7}{'ms/link':>10}{'trips/s':>10}", flush=True)
    for goal in sorted({1, 10, 100, args.links}):
        if goal > total:
            process, opened, made, seconds = more_links(relay, broker.slice(), goal - total, FIRST + UNIT * (total - 1))
            processes.append(process)
            socks += opened
            short = made < goal - total
            total += made
        else:
            seconds, short = 0, False
        rows = [(float(path.run(program("tests/bench/traffic"), "trips", PEER4, str(PORT), str(args.seconds))))
                for _ in range(args.rounds)]
        results[f"among {total}"] = {"trips": rows, "ms": seconds * 1000}
        print(f"{total:>7}{seconds * 1000:>10.1f}{statistics.median(rows):>10,.0f}", flush=True)
        if short:
            print(f"no more: each block of {UNIT} ports takes as many files, and their limit is reached")
            break
    for process in processes:
        process.stdin.close()  # it takes its children along
        process.wait()


def main():
    """Runs all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--links", type=int, default=1000, help="most links in one broker")
    parser.add_argument("--bars", action="store_true", help="exit non-zero when a ratio falls short")
    parser.add_argument("--output", default="bench-links.json")
    args = parser.parse_args()
    cage.enter()
    results, growth = {}, {}
    section = slice_section(users=(USER,), ports=f"{LO}-{LAST}", extra="links = 4000")
    with Pair() as pair, linked(pair, section) as (relay, broker), Tenant(broker.slice(), USER) as tenant, servers(pair):
        relay.link(tenant, LO, HI)
        tenant.configure(LO, HI)
        links = [Path("link", tenant.enter, PEER4, HOST4, LO + 7), Path("link IPv6", tenant.enter, PEER6, HOST6, LO + 7)]
        pair.host.run("ip", "route", "add", "default", "via", PEER4)  # pasta looks for it
        with pasta(pair, broker.directory) as second, slirp(pair, broker.directory) as third:
            paths = [path for path in (*links, *bare(pair, tenant), second, third) if path]
            for number in range(args.rounds):
                print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
                one_round(pair, paths if number % 2 else paths[::-1], args.seconds, results)
        table(results)
        grow(relay, broker, links[0], args, growth)
    met = bars(results)
    with open(args.output, "w", encoding="ascii") as file:
        json.dump({"results": results, "links": growth, "ratios": {name: ratio for name, ratio, _ in met}}, file, indent=1)
    sys.exit(args.bars and not all(good for _, _, good in met))


def table(results):
    """The figures for people."""
    print(f"{'':13}{'TCP out':>16}{'TCP in':>16}{'trips':>12}{'UDP out':>12}{'UDP in':>12}   (bit/s, per second)")
    for name, rows in results.items():
        print(f"{name:13}" + "".join(f"{statistics.median(rows[job]):>{16 if job[0] == 't' and job != 'trips' else 12},.0f}"
                                     for job in JOBS if job in rows), flush=True)


def bars(results):
    """Prints each promised ratio; returns [(name, ratio, met)]."""
    rows = []
    for name, ratio, bound in BARS:
        try:
            got = ratio(lambda path, job: statistics.median(results[path][job]))
        except KeyError:
            print(f"not measured  {name} >= {bound}")
            rows.append((name, None, False))
            continue
        limit = ratio(lambda path, job: statistics.median(results[path.replace("link", "bare")][job]))
        print(f"{'met' if got >= bound else 'SHORT':13} {name}: {got:.2f} (to reach: >= {bound}; the bare veth has {limit:.2f})")
        rows.append((name, got, got >= bound))
    return rows


if __name__ == "__main__":
    main()
