#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""make bench-verdict: what the verdict and the look-up cost, and what share of the relay's work they are.

Nanoseconds come from tests/bench/verdict, alone with the relay's own tables.
The relay's CPU for one packet is its own run time (/proc/PID/schedstat) over
what it handed to a client that receives on many flows, in the same minute.
Prints a table; with --bars exits non-zero naming every ratio that falls short.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
from harness import cage  # pylint: disable=wrong-import-position
from harness.broker import Broker, program  # pylint: disable=wrong-import-position
from harness.topology import HOST4, PEER4, Pair  # pylint: disable=wrong-import-position

FLOWS = 10000  # of the relay's run
SECTION = """slice "bench" {
  users = {"root"}
  udp = {"20000-39999"}
  flows = 20000
  memory = 100G
}
"""


# name, comparison, bound
BARS = (
    ("warm, 100,000 flows / 1 flow", lambda ns, share: max(ns[f, 100000]["warm"] / ns[f, 1]["warm"] for f in (4, 6)), "<=", 1.5),
    ("cold, 100,000 flows / 1 flow", lambda ns, share: max(ns[f, 100000]["cold"] / ns[f, 1]["cold"] for f in (4, 6)), "<=", 1.5),
    (f"share of the relay's CPU for a packet, {FLOWS:,} flows in random order", lambda ns, share: share, "<=", 0.05),
)


def sample(pair, broker):
    """How long the relay has run on a processor, ns, and how many packets the slice's flows have got."""
    told = pair.host.run(program("saferaw"), "-s", broker.slice("bench"), "stats", "--json")
    with open(f"/proc/{broker.relay_pid()}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]), json.loads(told)["slices"][0]["rx_packets"]


def relay_ns(seconds):
    """CPU of the relay for one packet that it receives, ns; the lower quartile of samples while all flows are open."""
    with Pair() as pair, Broker(pair.host, SECTION) as broker:
        pair.host.run("ping", "-c1", "-W5", PEER4)
        work = pair.host.popen(program("tests/bench/bench"), "saferaw", "receive", str(FLOWS), str(seconds + 2), "128",
                               pair.peer.path, HOST4, PEER4, broker.slice("bench"), stdout=subprocess.DEVNULL)
        while work.poll() is None and sample(pair, broker)[1] == 0:
            time.sleep(0.1)
        samples = [sample(pair, broker)]
        for _ in range(seconds * 2):
            time.sleep(0.5)
            samples.append(sample(pair, broker))
        if work.wait() != 0:
            sys.exit("bench saferaw receive failed")
        costs = sorted((after[0] - before[0]) / (after[1] - before[1])
                       for before, after in zip(samples, samples[1:]) if after[1] > before[1])
        return costs[len(costs) // 4]


def table(rows):
    """The figures for people."""
    print("pkt_parse(), flow_find() and policy_receive(), ns for one packet")
    print(f"{'family':8}{'flows':>8}{'warm':>10}{'random':>10}{'cold':>10}")
    for row in rows:
        print(f"IPv{row['family']:<5}{row['flows']:>8}{row['warm']:>10.1f}{row['random']:>10.1f}{row['cold']:>10.0f}")


def main():
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", action="store_true", help="exit non-zero when a ratio falls short")
    parser.add_argument("--seconds", type=int, default=3, help="that the relay is measured")
    args = parser.parse_args()
    cage.enter()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows = json.loads(subprocess.run([program("tests/bench/verdict")], check=True, capture_output=True).stdout)
    ns = {(row["family"], row["flows"]): row for row in rows}
    table(rows)
    per_packet = relay_ns(args.seconds)
    share = ns[4, FLOWS]["random"] / per_packet
    print(f"relay: {per_packet:,.0f} ns of CPU for one packet that it receives, {FLOWS:,} flows")
    met = True
    for name, ratio, sign, bound in BARS:
        got = ratio(ns, share)
        met = met and got <= bound
        print(f"{'met' if got <= bound else 'SHORT':13} {name}: {got:.3g} (to reach: {sign} {bound})")
    sys.exit(args.bars and not met)


if __name__ == "__main__":
    main()
