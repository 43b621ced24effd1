#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench: plain flows against root's raw sockets, libpcap and a bare TUN, in one run.

Each figure is the median of several rounds in which all methods take turns,
because machines are noisy and drift; what counts are the ratios. Prints a
table, writes bench.json, and with --bars exits non-zero naming every ratio
that falls short of what is promised in BARS.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from harness import cage  # pylint: disable=wrong-import-position
from harness.broker import Broker, program  # pylint: disable=wrong-import-position
from harness.topology import HOST4, PEER4, Pair  # pylint: disable=wrong-import-position

FLOWS = (1, 100, 1000, 10000)
PCAP_MAX = 1000  # a ring of its own for each handle: more does not fit into memory
SECTION = """slice "bench" {
  users = {"root"}
  udp = {"20000-39999"}
  flows = 20000
  memory = 100G
}
"""

# name, what it is, comparison, bound
BARS = (
    ("receive, 1 flow, CPU / root's raw socket", lambda m: m("saferaw", "receive", 1, "cpu_us") / m("raw", "receive", 1, "cpu_us"),
     "<=", 2.0),
    ("receive, 10,000 flows, CPU / own at 1 flow",
     lambda m: m("saferaw", "receive", 10000, "cpu_us") / m("saferaw", "receive", 1, "cpu_us"), "<=", 1.4),
    ("receive, 10,000 flows, root's raw sockets' CPU / own",
     lambda m: m("raw", "receive", 10000, "cpu_us") / m("saferaw", "receive", 10000, "cpu_us"), ">=", 100.0),
    ("round trip, 1 flow, median / root's raw socket",
     lambda m: m("saferaw", "echo", 1, "median_us") / m("raw", "echo", 1, "median_us"), "<=", 1.3),
)


def measure(pair, broker, method, job, flows, seconds):
    """One run of one method; a dict, or None when it cannot be done."""
    slow = method in ("raw", "pcap") and flows >= 1000
    argv = [program("tests/bench/bench"), method, job, str(flows), str(seconds * (2 if slow else 1)), "16" if slow else "128",
            pair.peer.path, HOST4, PEER4]
    if method == "saferaw":
        argv.append(broker.slice("bench"))
    done = pair.host.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = done.communicate()
    if done.returncode != 0:
        print(f"  {method} {job} {flows}: not measured: {errors.strip()}", file=sys.stderr)
        return None
    return json.loads(out)


def prepare(pair):
    """Neighbours known, silent sinks, and the bare TUN that the host's ports are routed to."""
    pair.host.run("ping", "-c1", "-W5", PEER4)
    pair.peer.run("nft", "add table ip bench; add chain ip bench in { type filter hook prerouting priority -300; };"
                         "add rule ip bench in udp dport 9 drop")


def plan(max_flows):
    """(method, job, flows) of one round."""
    steps = []
    for flows in (n for n in FLOWS if n <= max_flows):
        for job in ("receive", "send", "echo"):
            steps.append(("saferaw", job, flows))
            steps.append(("raw", job, flows))
        if flows <= PCAP_MAX:
            steps.append(("pcap", "receive", flows))
    return steps


def table(results, value):
    """The figures for people."""
    print(f"{'method':9}{'job':9}{'flows':>7}{'CPU us/packet':>15}{'packets/s':>12}{'median us':>11}{'p99 us':>9}")
    for method, job, flows in results:
        rate = f"{1 / statistics.median(r['seconds'] / max(r['packets'], 1) for r in results[method, job, flows]):,.0f}"
        trip = ([f"{value(method, job, flows, key):.1f}" for key in ("median_us", "p99_us")] if job == "echo" else ["", ""])
        print(f"{method:9}{job:9}{flows:>7}{value(method, job, flows, 'cpu_us'):>15.2f}{rate:>12}{trip[0]:>11}{trip[1]:>9}")


def main():
    """Runs all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--flows", type=int, default=max(FLOWS), help="most flows to measure")
    parser.add_argument("--bars", action="store_true", help="exit non-zero when a ratio falls short")
    parser.add_argument("--output", default="bench.json")
    args = parser.parse_args()
    cage.enter()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = min(args.flows, hard - 1000)
    if most < args.flows:
        print(f"the limit of {hard} open files allows no more than {most} flows", file=sys.stderr)
    results = {}
    with Pair() as pair, Broker(pair.host, SECTION) as broker:
        prepare(pair)
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
            for step in plan(most):
                if (result := measure(pair, broker, *step, args.seconds)) is not None:
                    results.setdefault(step, []).append(result)
    with Pair() as pair:
        tun_control(pair, args, results)

    def value(method, job, flows, key):
        return statistics.median(result[key] for result in results[method, job, flows])

    table(results, value)
    short = bars(value)
    with open(args.output, "w", encoding="ascii") as file:
        json.dump({"results": [r for rows in results.values() for r in rows],
                   "ratios": {name: ratio for name, ratio, _ in short}}, file, indent=1)
    sys.exit(args.bars and not all(met for _, _, met in short))


def tun_control(pair, args, results):
    """The bare TUN: the address of the flows lives behind it, and the host forwards to it."""
    pair.host.run("ip", "tuntap", "add", "bench0", "mode", "tun")
    pair.host.run("ip", "link", "set", "bench0", "up", "txqueuelen", "8192")
    pair.host.run("ip", "addr", "del", f"{HOST4}/24", "dev", "eth0")
    pair.host.run("ip", "addr", "add", "192.0.2.3/24", "dev", "eth0")
    pair.host.run("ip", "route", "add", f"{HOST4}/32", "dev", "bench0")
    pair.host.sysctl("net/ipv4/ip_forward", 1)
    pair.peer.run("ip", "route", "add", f"{HOST4}/32", "via", "192.0.2.3")
    for _ in range(args.rounds):
        if (result := measure(pair, None, "tun", "receive", 1, args.seconds)) is not None:
            results.setdefault(("tun", "receive", 1), []).append(result)


def bars(value):
    """Prints each promised ratio; returns [(name, ratio, met)]."""
    rows = []
    for name, ratio, sign, bound in BARS:
        try:
            got = ratio(value)
        except KeyError:
            print(f"not measured  {name} {sign} {bound}")
            rows.append((name, None, False))
            continue
        met = got <= bound if sign == "<=" else got >= bound
        print(f"{'met' if met else 'SHORT':13} {name}: {got:.2f} (to reach: {sign} {bound})")
        rows.append((name, got, met))
    return rows


if __name__ == "__main__":
    main()
