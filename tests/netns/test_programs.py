#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Real programs, unmodified and without privilege, under saferaw run: each finds what it finds as root on the bare host.

Each program runs twice against a peer behind a router: as root on a host without saferaw, and as an ordinary user under
saferaw run on another. The two have networks of their own, which are the same to the last address, so that neither takes
ports or identifiers from the other. What the two print is read into named fields, which must be equal. The table in README is
made of the same list: --table FILE writes it, and the last test fails when README has another one.
"""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import tempfile
import xml.etree.ElementTree

from harness import PATIENCE, cage, tap
from harness.broker import Broker, program, slice_section
from harness.topology import HOST4, HOST6, EtcFiles, Routed, ROUTED4 as PEER4, ROUTED6 as PEER6

PEER4_ALONE = "198.51.100.3"  # the peer's too; one program alone talks to it
USER = "games"
README = os.path.join(os.environ.get("SAFERAW_SOURCE", os.path.join(os.path.dirname(__file__), "../..")), "README")
WORKERS = 4  # programs that run at once


def found(pattern, text):
    """All matches of a pattern; none is a failure."""
    matches = re.findall(pattern, text, re.MULTILINE)
    tap.check(matches, f"nothing matches {pattern!r} in:\n{text}")
    return matches


def ping(text):
    """ping and busybox ping."""
    return {"replies: size, source, sequence, TTL":
            found(r"^(\d+) bytes from ([0-9a-f:.]+): (?:icmp_)?seq=(\d+) ttl=(\d+)", text),
            "sent, received": found(r"(\d+) packets transmitted, (\d+)", text)}


def ping_route(text):
    """ping -R."""
    return {"the route that the packet recorded": found(r"^(?:RR:)?\s+((?:\d+\.){3}\d+)$", text)} | ping(text)


def hops(text):
    """traceroute, tracepath, tcptraceroute."""
    fields = {"hops": sorted(set(found(r"^ *(\d+):?  ?([0-9a-f:.]+)", text)))}
    if states := re.findall(r"\[(open|closed)\]", text):
        fields["state of the port"] = states
    if "pmtu" in text:
        fields["path MTU, hops there and back"] = found(r"Resume: pmtu (\d+) hops (\d+) back (\d+)", text)
    return fields


def mtr(text):
    """mtr -j."""
    return {"hops: address, sent, loss": [(hub["host"], hub["Snt"], hub["Loss%"]) for hub in json.loads(text)["report"]["hubs"]]}


def fping(text):
    """fping -c."""
    return {"replies: sequence, size": found(r": \[(\d+)\], (\d+) bytes", text),
            "sent, received, loss": found(r"xmt/rcv/%loss = (\d+)/(\d+)/(\d+)", text)}


def hping(text):
    """hping3 with TCP and UDP."""
    if "Unreachable" in text:
        return {"errors: kind, source": found(r"ICMP (.+ Unreachable) from ip=(\S+)", text)}
    return {"answers: size, source, TTL, DF, id, port, flags, sequence, window": found(
        r"len=(\d+) ip=(\S+) ttl=(\d+) (DF)? ?id=(\d+) sport=(\d+) flags=(\S+) seq=(\d+) win=(\d+)", text)}


def nping(text):
    """nping --tcp."""
    return {"answers: source, flags, TTL, id, size, window, options": found(
        r"^RCVD .* TCP (\S+) > \S+ (\S+) ttl=(\d+) id=(\d+) iplen=(\d+)  seq=\d+ win=(\d+) (.*)", text)}


def nmap(text):
    """nmap -oX -."""
    tree = xml.etree.ElementTree.fromstring(text[text.index("<?xml"):])
    fields = {"ports: state, reason, TTL": [
        (port.get("portid"), *(port.find("state").get(key) for key in ("state", "reason", "reason_ttl")))
        for port in tree.iter("port")]}
    if tree.find(".//os") is not None:
        tests = tree.find(".//osfingerprint").get("fingerprint").replace("\nOS:", "")
        # Its family: which version it is, is guessed from the times between answers too.
        fields["system that matches best"] = tree.find(".//osmatch/osclass").get("osfamily")
        fields["fingerprint: OPS, WIN, ECN, T1 to T7, U1, IE"] = found(r"\b(?:OPS|WIN|ECN|T[1-7]|U1|IE)\([^)]*\)", tests)
        fields["distance"] = tree.find(".//distance").get("value")
    return fields


def scamper(text):
    """scamper -O json."""
    result = json.loads(next(line for line in text.splitlines() if '"type":"cycle' not in line))
    names = ("addr", "from", "probe_ttl", "seq", "probe_size", "reply_size", "reply_ttl", "icmp_type", "icmp_code", "icmp_q_ttl",
             "icmp_q_ipl", "tcp_flags")
    return {"method": result["method"], "how it ended": result.get("stop_reason"),
            "replies: source, size, TTL, type, code, flags, quoted TTL and length": [
                {name: reply[name] for name in names if name in reply} for reply in result.get("hops", result.get("responses"))]}


def capture(text):
    """tcpdump and tshark, as CAPTURE runs them."""
    return {"every packet: source, destination, type, size": sorted(found(
        r"(\S+) (?:> )?(\S+?):? (?:ICMP echo )?(request|reply|8|0)\b.*?(\d+)$", text))}  # it may begin with a reply


def printed(*names):
    """Programs that print one field a line."""
    def read(text):
        lines = [line for line in text.splitlines() if line.strip()]
        tap.equal(len(lines), len(names), f"lines of {text!r}")
        return dict(zip(names, lines))
    return read


def dig(text):
    """dig."""
    return {"status": found(r"status: (\w+)", text), "answer": found(r"^(www\S+)\s+\d+\s+IN\s+(\S+)\s+(\S+)$", text)}


def iperf(text):
    """iperf3 -J, of the client."""
    result = json.loads(text)
    tap.check("error" not in result, result.get("error"))
    end = result["end"]
    return {"test": [result["start"]["test_start"][name] for name in ("protocol", "num_streams", "reverse", "duration")],
            "data arrived": end.get("sum_received", end.get("sum"))["bytes"] > 0}


# A capture of two requests and two replies of a ping of its own, by its size. On a link nothing else may be seen at all.
CAPTURE = """
import subprocess, sys
size, ready, argv = sys.argv[1], sys.argv[2], sys.argv[3:]
capture = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
while ready not in (line := capture.stderr.readline()):
    sys.stderr.write(line)
    if not line:
        sys.exit(1)
ping = subprocess.Popen(["ping", "-n", "-q", "-i", "0.2", "-s", size, "%s"], stdout=subprocess.DEVNULL)
print(capture.communicate(timeout=60)[0])
ping.kill()
""" % PEER4

SCAPY = """
import logging, threading
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import *
conf.verb = 0
started = threading.Event()
sniffer = AsyncSniffer(count=2, lfilter=lambda p: ICMP in p and p[ICMP].id == 0x1234, started_callback=started.set)
sniffer.start()
started.wait(20)
r = sr1(IP(dst="%s")/ICMP(id=0x1234, seq=7)/b"scapy", timeout=9)
print(r.src, r.ttl, r[ICMP].type, r[ICMP].id, r[ICMP].seq, bytes(r[ICMP].payload))
r = sr1(IP(dst="%s")/TCP(sport=1234, dport=80, flags="S", seq=7), timeout=9)
print(r.src, r.ttl, r[TCP].sport, r[TCP].dport, r[TCP].flags, r[TCP].ack)
r = sr1(IPv6(dst="%s")/ICMPv6EchoRequest(id=0x1234, seq=7, data=b"scapy"), timeout=9)
print(r.src, r.hlim, r[ICMPv6EchoReply].id, r[ICMPv6EchoReply].seq, r[ICMPv6EchoReply].data)
sniffer.join(timeout=20)
print([(p[IP].src, p[IP].dst, p[ICMP].type, p[ICMP].seq) for p in sniffer.results])
""" % (PEER4, PEER4, PEER6)

LONG = """
import socket, time
s = socket.create_connection(("%s", 7))
for number in range(16):
    s.sendall(b"%%d\\n" %% number)
    got = s.recv(100)
    time.sleep(1)
s.close()
print(got.decode().strip())
""" % PEER4

# A raw ICMP socket, an echo request made by hand
SOCAT = rf"printf '\010\000\345\312\022\064\000\001' | timeout 2 socat -t9 - IP4-SENDTO:{PEER4_ALONE}:1 | od -An -tx1"

SYN_PORTS = ("-n", "-p", "79-81", "-oX", "-", PEER4)

# What it is called, what is run, how its output is read
CLIENTS = (
    ("ping", ("ping", "-n", "-c2", "-i0.2", PEER4), ping),
    ("ping -6", ("ping", "-n", "-6", "-c2", "-i0.2", PEER6), ping),
    ("ping -R", ("ping", "-n", "-R", "-c1", PEER4), ping_route),
    ("ping -s 4000", ("ping", "-n", "-s", "4000", "-c2", "-i0.2", PEER4), ping),
    ("ping -6 -s 4000", ("ping", "-n", "-6", "-s", "4000", "-c2", "-i0.2", PEER6), ping),
    ("traceroute -I", ("traceroute", "-n", "-I", PEER4), hops),
    ("traceroute -T", ("traceroute", "-n", "-T", PEER4), hops),
    ("traceroute -U", ("traceroute", "-n", "-U", "-p", "9", PEER4), hops),
    ("traceroute -6", ("traceroute", "-n", "-6", PEER6), hops),
    ("traceroute -6 -I", ("traceroute", "-n", "-6", "-I", PEER6), hops),
    ("traceroute -6 -T", ("traceroute", "-n", "-6", "-T", PEER6), hops),
    ("tracepath", ("tracepath", "-n", PEER4), hops),
    ("tracepath -6", ("tracepath", "-n", "-6", PEER6), hops),
    ("tcptraceroute", ("tcptraceroute", "-n", PEER4, "80"), hops),
    ("mtr", ("mtr", "-n", "-j", "-c2", "-i0.2", PEER4), mtr),
    ("mtr --udp", ("mtr", "-n", "-j", "-c2", "-i0.2", "--udp", PEER4), mtr),
    ("mtr --tcp", ("mtr", "-n", "-j", "-c2", "-i0.2", "--tcp", "-P", "80", PEER4), mtr),
    ("mtr -6", ("mtr", "-n", "-j", "-c2", "-i0.2", "-6", PEER6), mtr),
    ("fping", ("sh", "-c", f"fping -c2 -p200 {PEER4} 2>&1"), fping),
    ("fping -6", ("sh", "-c", f"fping -6 -c2 -p200 {PEER6} 2>&1"), fping),
    ("hping3 -S", ("hping3", "-n", "-S", "-p", "80", "-c", "2", "-i", "u200000", PEER4), hping),
    ("hping3 --udp", ("hping3", "-n", "--udp", "-p", "9", "-c", "2", "-i", "u200000", PEER4), hping),
    ("nping --tcp", ("nping", "--tcp", "-p", "80", "-c", "2", "--delay", "200ms", PEER4), nping),
    ("nmap -sS", ("nmap", "-sS", *SYN_PORTS), nmap),
    ("nmap -sU", ("nmap", "-sU", *SYN_PORTS), nmap),
    ("nmap -sT", ("nmap", "-sT", *SYN_PORTS), nmap),
    ("nmap -O", ("nmap", "-O", "-d", "--max-os-tries", "1", *SYN_PORTS), nmap),
    ("scamper trace icmp-paris", ("scamper", "-O", "json", "-I", f"trace -P icmp-paris -q 1 {PEER4}"), scamper),
    ("scamper trace udp-paris", ("scamper", "-O", "json", "-I", f"trace -P udp-paris -q 1 {PEER4}"), scamper),
    ("scamper trace tcp (-O rawtcp)",
     ("scamper", "-O", "json", "-O", "rawtcp", "-I", f"trace -P tcp -d 80 -q 1 {PEER4}"), scamper),
    ("scamper ping", ("scamper", "-O", "json", "-I", f"ping -c 2 -i 1 {PEER4}"), scamper),
    ("tcpdump", ("/usr/bin/python3", "-c", CAPTURE, "77", "listening on", "tcpdump", "-n", "-t", "-c4", "-i", "eth0", "--immediate-mode",
                 "FILTER-77"), capture),
    ("tshark", ("/usr/bin/python3", "-c", CAPTURE, "78", "Capturing on", "tshark", "-n", "-l", "-c4", "-i", "eth0", "-f", "FILTER-78", "-T",
                "fields", "-E", "separator= ", "-e", "ip.src", "-e", "ip.dst", "-e", "icmp.type", "-e", "ip.len"), capture),
    ("scapy (sr1, sniff)", ("/usr/bin/python3", "-c", SCAPY),
     printed("answers: source, TTL, type, id, sequence, data", "SYN's answer", "answer over IPv6", "what was sniffed")),
    ("socat (raw ICMP)", ("sh", "-c", SOCAT), lambda text: {"answer, every byte": found(r"(?:[0-9a-f]{2} ?)+", text)[-1]}),
    ("curl", ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n%{size_download}\n%{remote_ip}\n", f"http://{PEER4}/"),
     printed("status", "bytes", "server")),
    ("curl -6", ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}\n%{size_download}\n%{remote_ip}\n", f"http://[{PEER6}]/"),
     printed("status", "bytes", "server")),
    ("dig", ("dig", f"@{PEER4}", "www.test", "A"), dig),
    ("dig +tcp over IPv6", ("dig", "+tcp", f"@{PEER6}", "www.test", "AAAA"), dig),
    ("iperf3 -c", ("iperf3", "-J", "-t1", "-c", PEER4), iperf),
    ("iperf3 -c -R", ("iperf3", "-J", "-t1", "-R", "-p", "5202", "-c", PEER4), iperf),
    ("iperf3 -c -u -6", ("iperf3", "-J", "-t1", "-u", "-b10M", "-p", "5203", "-c", PEER6), iperf),
    ("long-lived TCP", ("/usr/bin/python3", "-c", LONG), printed("16 lines that came back in 16 seconds")),
    ("busybox ping (static binary)", ("busybox", "ping", "-c2", PEER4), ping),
    ("busybox wget", ("busybox", "wget", "-q", "-O", "-", f"http://{PEER4}/"), printed("page")),
)

# Servers, reached from the peer: a port of their own, what is run, what it says when it is ready, who calls, how that is read
SERVERS = (
    ("nc -l", 44000, ("nc", "-n", "-v", "-l", "{port}"), "Listening", ("sh", "-c", "echo from outside | nc -N -n {address} {port}"),
     printed("what came from outside")),
    ("iperf3 -s", 44256, ("iperf3", "-s", "-1", "--forceflush", "-p", "{port}"), "listening",
     ("iperf3", "-J", "-t1", "-c", "{address}", "-p", "{port}"), iperf),
)


class Network:
    """A host, a router, and a peer with its servers."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        os.chmod(self.directory.name, 0o777)
        net = Routed()
        self.host, self.peer = net.host, net.peer
        self.peer.run("ip", "addr", "add", f"{PEER4_ALONE}/24", "dev", "eth0")
        with open(f"{self.directory.name}/index.html", "w", encoding="ascii") as file:
            file.write("a page\n")
        for port in (5201, 5202, 5203):
            self.start(self.peer, "iperf3", "-s", "-p", str(port))
        self.start(self.peer, "socat", "TCP4-LISTEN:7,fork,reuseaddr", "PIPE")
        self.start(self.peer, "dnsmasq", "-k", "--no-resolv", "--no-hosts", "--address=/www.test/203.0.113.9",
                   "--address=/www.test/2001:db8:9::9", "--user=root", "--pid-file=")
        server = self.peer.popen("python3", "-u", "-m", "http.server", "--bind", "::", "--directory", self.directory.name, "80",
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        tap.check(b"Serving" in server.stdout.readline(), "http.server")
        for port in (7, 53, 5201, 5202, 5203):
            while not self.peer.run("ss", "-Hltn", f"sport = :{port}"):
                pass

    def start(self, namespace, *argv):
        """A process that runs until the end."""
        namespace.popen(*argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class World:
    """Two networks; in one a broker, and other slices' traffic all the while."""

    def __init__(self):
        self.bare, self.saferaw = Network(), Network()
        EtcFiles(self.saferaw.host, {name: f"{USER}:200000:65536\n" for name in ("subuid", "subgid")})
        self.broker = Broker(
            self.saferaw.host, slice_section("one", (USER,), "40000-43999", "fragments = yes"),
            slice_section("servers", (USER,), "44000-44511"), slice_section("other", ("news",), "46000-46999"))
        others = ("ping", "-n", "-q", "-i", "0.05", "-s", "99", PEER4)
        self.saferaw.start(self.saferaw.host, *others)
        self.saferaw.start(self.saferaw.host, *self.link("other", "news"), *others)

    def link(self, name="one", user=USER, *options):  # pylint: disable=keyword-arg-before-vararg
        """The words that run a program on a link of that slice, as that user."""
        return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", f"HOME={self.saferaw.directory.name}",
                program("saferaw"), "run", "-s", self.broker.slice(name), *options, "--")


def output(network, prefix, argv):
    """What a program prints."""
    done = network.host.popen(*prefix, *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, errors = done.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        done.kill()
        raise
    tap.equal(done.returncode, 0, f"exit status of {' '.join((*prefix, *argv))[:300]}\n{out}{errors}")
    return out if out.strip() else errors


def captured(argv, link):
    """A capture's command, with the filter for where it runs: on a link only the kernel's own multicast is left out."""
    return [re.sub(r"^FILTER-(\d+)$", lambda m: "not ip6 multicast" if link else f"icmp and ip[2:2] = {int(m[1]) + 28}", word)
            for word in argv]


def run_client(world, argv, read):
    """The fields that a client prints, on the bare host and on a link."""
    return [read(output(network, prefix, captured(argv, bool(prefix))))
            for network, prefix in ((world.bare, ()), (world.saferaw, world.link()))]


def run_server(world, port, argv, ready, caller, read):  # pylint: disable=too-many-arguments
    """The same of a server, called from the peer."""
    results = []
    for network, prefix in ((world.bare, ()), (world.saferaw, world.link("servers", USER, "-p", str(port)))):
        both = []
        for address in (HOST4, HOST6):
            words = [word.format(port=port, address=address) for word in argv]
            if address == HOST6 and words[0] == "nc":
                words.insert(1, "-6")
            server = network.host.popen(*prefix, *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, bufsize=1)
            while ready not in (line := server.stdout.readline()):
                tap.check(line, f"{words[0]} ended before it was ready")
            called = network.peer.run(*(word.format(port=port, address=address) for word in caller))
            said, _ = server.communicate(timeout=PATIENCE)
            both.append(read(called or said.splitlines()[-1]))
        results.append({f"{name} ({family})": value for family, fields in zip(("IPv4", "IPv6"), both)
                        for name, value in fields.items()})
    return results


def compare(results):
    """Each field of the bare host's is the link's."""
    bare, link = results
    tap.equal(sorted(link), sorted(bare), "fields")
    for name, value in bare.items():
        tap.equal(link[name], value, name)


def test_name(name):
    """What the test of a program is called, for SAFERAW_TEST_ONLY."""
    return "test_" + re.sub(r"\W+", "_", name)


def make_test(entry, future, world, rows):
    """The test of one program. What differs by chance, as by a packet that a busy machine has lost, does not do so each time."""
    name, run, *arguments = entry

    def test():
        ask = lambda: future.result(timeout=170)  # noqa: E731
        for left in reversed(range(tap.TRIES)):
            try:
                results = ask()
                compare(results)
                break
            except Exception as caught:  # pylint: disable=broad-except
                if not left:
                    raise
                tap.diagnose(f"{name} once more: {caught}")
                ask = lambda: run(world, *arguments)  # noqa: E731
        rows.append((name, "; ".join(dict.fromkeys(re.sub(r" \(IPv\d\)$", "", field) for field in results[0]))))
    test.__name__ = test_name(name)
    test.__doc__ = f"{name}: on a link as on the bare host"
    return test


def table(rows):
    """The table for README: programs that are compared in the same way stand together."""
    alike = {}
    for name, fields in rows:
        alike.setdefault(fields, []).append(name)
    lines = ["| works under saferaw run | what is equal to the bare host, as root |", "|---|---|"]
    return "".join(f"{line}\n" for line in lines + [f"| {', '.join(names)} | {fields} |" for fields, names in alike.items()])


def main():
    """Starts all programs, some at a time, and reports on each."""
    tap.begin()
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", metavar="FILE", help="write README's table there")
    options = parser.parse_args()
    todo = [(name, run_client, argv, read) for name, argv, read in CLIENTS] + [(entry[0], run_server, *entry[1:]) for entry in SERVERS]
    only = os.environ.get("SAFERAW_TEST_ONLY")
    todo = [entry for entry in todo if only in (None, test_name(entry[0]))]
    with tap.limited():
        rows, world, pool = [], World(), concurrent.futures.ThreadPoolExecutor(WORKERS)
    # the slow ones first
    futures = {entry[0]: pool.submit(entry[1], world, *entry[2:])
               for entry in sorted(todo, key=lambda entry: entry[0] not in ("long-lived TCP", "nmap -O"))}

    def test_table():
        """README has this table."""
        text = table(rows)
        if options.table:
            with open(options.table, "w", encoding="utf-8") as file:
                file.write(text)
        with open(README, encoding="utf-8") as file:
            tap.check(text in file.read(), f"README has another table; this is it:\n{text}")

    try:
        tap.main(*(make_test(entry, futures[entry[0]], world, rows) for entry in todo), *([] if only else [test_table]), modes=("auto",), shared=True)
    finally:
        cage.clean()  # first, so that no thread waits for what a program has to say
        pool.shutdown(cancel_futures=True)


main()
