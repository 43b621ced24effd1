#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""saferaw run and saferaw netns: what the program sees, what passes through, what is left, whoever is killed when."""

import contextlib
import errno
import itertools
import json
import os
import pty
import pwd
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time

from harness import PATIENCE, proto, tap
from harness.broker import Broker, program, slice_section
from harness.tap import until
from harness.topology import HOST4, HOST6, PEER4, PEER6, EtcFiles, Pair, run

USER, OTHER = "games", "list"
STOPPED_DNS = "nameserver 127.0.0.53\n"
PYTHON = "/usr/bin/python3"

# What a program finds around it, as JSON
LOOK = r"""
import json, os, socket, subprocess, sys
def read(path):
    with open(path) as file:
        return file.read()
links = json.loads(subprocess.run(["ip", "-j", "addr"], stdout=subprocess.PIPE).stdout)
print(json.dumps({
    "ids": (os.getresuid(), os.getresgid()), "cwd": os.getcwd(), "input": sys.stdin.read(), "arguments": sys.argv[1:],
    "uid_map": read("/proc/self/uid_map").split(), "gid_map": read("/proc/self/gid_map").split(),
    "devices": [link["ifname"] for link in links if "UP" in link["flags"]], "mtu": links[-1]["mtu"],
    "addresses": [(a["local"], a["prefixlen"]) for a in links[-1]["addr_info"]],
    "range": read("/proc/sys/net/ipv4/ip_local_port_range").split(), "ping": read("/proc/sys/net/ipv4/ping_group_range").split(),
    "ports": {name: os.environ.get(name) for name in ("SAFERAW_TCP", "SAFERAW_UDP", "SAFERAW_ICMP")}, "mark": os.environ.get("MARK"),
    "resolv": read("/etc/resolv.conf"), "hosts": read("/etc/hosts"), "mounts": read("/proc/self/mounts"),
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
    "parent-death": read("/proc/self/status") and os.getppid() > 1}))
"""


def command(pair, broker, *argv, user=USER, options=(), name="one", **kwargs):
    """saferaw run, as that user, in the host's namespace; a process."""
    ids = (f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups") if user else ()
    kwargs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | kwargs
    kwargs["env"] = dict(kwargs.get("env", os.environ), PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    return pair.host.popen("setpriv", *ids, "--", program("saferaw"), "-s", broker.slice(name), "run", *options, "--", *argv, **kwargs)


def finish(process, status=0, seconds=PATIENCE):
    """What it printed, when it ends with that status."""
    out, errors = process.communicate(timeout=seconds)
    tap.equal(process.returncode, status, f"exit status ({out}{errors})")
    return out, errors


def started(process):
    """Waits for the program's first line, and returns it."""
    line = process.stdout.readline()
    if not line:
        raise tap.Failure(f"it did not start: {process.communicate()}")
    return line.strip()


def look(pair, broker, **kwargs):
    """What a program finds around it, and what was said on standard error."""
    out, errors = finish(command(pair, broker, PYTHON, "-c", LOOK, **kwargs))
    return json.loads(out), errors


def links(pair):
    """The host's ends of links."""
    return [link["ifname"] for link in json.loads(pair.host.run("ip", "-j", "link", "show", "type", "veth")) if link["ifname"] != "eth0"]


def supervisor(process):
    """Pid of saferaw itself: what ip netns exec and setpriv have become."""
    return process.pid


def children(pid):
    """Pids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def test_inside():
    """The program is root in a namespace with one device; addresses, ports, ids, environment, input, directory are right."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        seen, errors = look(pair, broker, cwd=directory, env={"MARK": "one"}, options=("-p", "40256-40511"),
                            stdin=open("/proc/sys/kernel/ostype", encoding="ascii"))
        tap.equal(errors, "", "what was said")
        tap.equal(seen["ids"], [[0, 0, 0], [0, 0, 0]], "ids")
        tap.equal((seen["uid_map"], seen["gid_map"]), (["0", "5", "1"], ["0", "60", "1"]), "maps")
        tap.equal((seen["devices"], seen["mtu"]), (["lo", "eth0"], 1500), "devices")
        tap.equal(sorted(seen["addresses"]), sorted([[HOST4, 32], [HOST6, 128]]), "addresses")
        tap.equal(seen["range"], ["40256", "40447"], "ip_local_port_range: all but the last quarter")
        tap.equal(set(seen["ports"].values()), {"40256-40447"}, "ports in the environment")
        tap.equal((seen["cwd"], seen["mark"], seen["input"], seen["fds"]), (directory, "one", "Linux\n", [0, 1, 2]), "what passes through")
        seen, _ = look(pair, broker, options=("--strict", "-p", "40256"))
        tap.equal(seen["range"], ["40256", "40511"], "with --strict all of the block")
        until(lambda: not links(pair), "links are left")


def test_ids():
    """/etc/subuid gives the program more users, to whom it can drop; for root, everybody is himself."""
    with Pair() as pair, Broker(pair.host, slice_section(), slice_section("two", ("root",), "41000-41999")) as broker:
        EtcFiles(pair.host, {name: f"daemon:100000:5\n{USER}:200000:65536\n5:400000:100\n" for name in ("subuid", "subgid")})
        seen, errors = look(pair, broker)
        tap.equal((errors, seen["uid_map"]), ("", "0 5 1 1 200000 65536 65537 400000 100".split()), "users")
        tap.equal(seen["gid_map"], "0 60 1 1 200000 65536 65537 400000 100".split(), "groups")
        tap.equal(seen["ping"], ["0", "65636"], "ping_group_range")
        drop = ("setpriv", "--reuid=daemon", "--regid=daemon", "--init-groups", "id", "-u")
        tap.equal(finish(command(pair, broker, *drop))[0], "1\n", "another user")
        tap.equal(look(pair, broker, user=None, name="two")[0]["uid_map"], ["0", "0", "4294967295"], "root's users")


def test_names():
    """resolv.conf: as it is where it can be, the local resolver's own list, the host's mapped address, or a complaint."""
    with Pair() as pair, Broker(pair.host, slice_section(), slice_section("two", (USER,), "41000-41999", "local = yes")) as broker:
        files = EtcFiles(pair.host, {"resolv.conf": f"nameserver {PEER4}\n"})
        mounted = "resolv.conf tmpfs"
        seen, errors = look(pair, broker)
        tap.equal((seen["resolv"], errors), (f"nameserver {PEER4}\n", ""), "one that can be reached")
        tap.check("saferaw /etc" not in seen["mounts"], f"mounted for nothing: {mounted}")
        files.write("resolv.conf", f"search example.org\nnameserver 127.0.0.53\nnameserver {PEER6}\noptions edns0\n")
        seen, errors = look(pair, broker)
        tap.equal((seen["resolv"], errors), (f"search example.org\nnameserver {PEER6}\noptions edns0\n", ""), "what is left")
        tap.check("host.saferaw.internal" not in seen["hosts"], "a name for the host without local = yes")
        for lines in ("nameserver 127.0.0.1\n", "nameserver ::1\n", f"nameserver {HOST4}\n", "nameserver fe80::1%eth0\n", ""):
            files.write("resolv.conf", lines)
            seen, errors = look(pair, broker)
            tap.check("no name server" in errors and seen["resolv"] == lines, f"{lines!r}: {errors!r} {seen['resolv']!r}")
        files.write("resolv.conf", f"nameserver {HOST4}\nnameserver {HOST6}\n")
        seen, errors = look(pair, broker, name="two")
        tap.equal((seen["resolv"], errors), ("nameserver 192.0.0.8\nnameserver 64:ff9b:1::8\n", ""), "the host's own server")
        tap.check("192.0.0.8 host.saferaw.internal" in seen["hosts"] and "localhost" in seen["hosts"], "hosts")


def test_upstream():
    """Where resolv.conf names the loopback alone, the list that systemd-resolved keeps is taken."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        EtcFiles(pair.host, {"resolv.conf": STOPPED_DNS})
        path = os.path.join(directory, "resolv.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"nameserver {PEER4}\nnameserver {PEER6}\n")
        script = f"mount -t tmpfs run /run/systemd && mkdir /run/systemd/resolve && cp {path} /run/systemd/resolve/ && exec \"$@\""
        words = ("setpriv", f"--reuid={USER}", "--clear-groups", program("saferaw"), "run", "-s", broker.slice(), "cat", "/etc/resolv.conf")
        os.makedirs("/run/systemd", exist_ok=True)
        tap.equal(pair.host.run("sh", "-c", script, "sh", *words), f"nameserver {PEER4}\nnameserver {PEER6}\n", "resolv.conf")


def test_exit():
    """Exit statuses: the program's own, its signal; 125 when it was not started, 126, 127."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker, tempfile.TemporaryDirectory() as directory:
        mark = os.path.join(directory, "mark")
        os.chmod(directory, 0o777)
        for words, status in ((("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -KILL $$"), -9),
                              (("sh", "-c", "kill -TERM $$"), -15), (("/nowhere/program",), 127), (("no-such-program",), 127),
                              (("/etc/passwd",), 126), ((directory,), 126)):
            finish(command(pair, broker, *words), status)
        touch = ("touch", mark)
        for options, name, user, said in (((), "nowhere", USER, "cannot reach"), ((), "one", OTHER, "not a member"),
                                          (("-p", "40001"), "one", USER, "multiple"), (("-p", "39984"), "one", USER, "range"),
                                          (("-p", "x"), "one", USER, "port"), (("--nonsense",), "one", USER, "nonsense"),
                                          (("-p", "40000-65535"), "one", USER, "range")):
            errors = finish(command(pair, broker, *touch, options=options, name=name, user=user), 125)[1]
            tap.check(said in errors, f"{options} {name} {user}: {errors}")
        limited = pair.host.popen("setpriv", f"--reuid={USER}", "--clear-groups", "sh", "-c",
                                  f"echo 0 >/proc/sys/user/max_user_namespaces; exec {program('saferaw')} run -s {broker.slice()} touch {mark}",
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        limited.communicate(timeout=PATIENCE)
        first = command(pair, broker, "sh", "-c", "echo; exec sleep 60", options=("-p", "40000"))
        started(first)
        tap.check("use" in finish(command(pair, broker, *touch, options=("-p", "40000")), 125)[1], "a block that is taken")
        first.kill()
        first.communicate()
        os.unlink(mark) if limited.returncode == 0 else None  # pylint: disable=expression-not-assigned
        tap.check(not os.path.exists(mark), "a program was started without its link")


def test_signals():
    """Signals sent to saferaw reach the program, once each; those that end it end saferaw in the same way."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
    # They are waited for, not caught: a handler that runs between two calls of pause() leaves the second one waiting.
    script = f"""
import signal
signals = {{signal.Signals[name] for name in {names}}}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
print("ready", flush=True)
while True:
    print(signal.Signals(signal.sigwait(signals)).name, flush=True)
"""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        process = command(pair, broker, PYTHON, "-c", script)
        started(process)
        for name in (*names, "SIGTERM"):
            process.send_signal(getattr(signal, name))
            tap.equal(started(process), name, "what the program got")
        os.kill(children(supervisor(process))[0], signal.SIGKILL)
        finish(process, -9)
        process = command(pair, broker, "sh", "-c", "echo; exec sleep 60")
        started(process)
        process.terminate()
        finish(process, -15)
        until(lambda: not links(pair), "a link is left")


# A shell as far as job control goes: runs its arguments as a job on the terminal, continues it when it has stopped
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    status = os.waitpid(pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        print("ended", os.waitstatus_to_exitcode(status), flush=True)
        break
    os.tcsetpgrp(0, os.getpgrp())
    print("stopped", flush=True)
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
"""


def test_terminal():
    """On a terminal: ^C reaches the program once, ^Z stops both, a continued job goes on, the program may read."""
    script = "trap 'echo got-int' INT; stty -echo; echo ready; while read line; do echo \"line $line\"; done; exit 3"
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        pid, terminal = pty.fork()
        if not pid:
            os.execvp(PYTHON, [PYTHON, "-c", SHELL, "ip", "netns", "exec", pair.host.name, "setpriv", f"--reuid={USER}", "--clear-groups",
                               program("saferaw"), "run", "-s", broker.slice(), "bash", "-c", script])
        said = b""

        def say(keys, text):
            nonlocal said
            os.write(terminal, keys)
            deadline = time.monotonic() + PATIENCE
            while text not in said:
                tap.check(time.monotonic() < deadline and select.select([terminal], [], [], PATIENCE)[0], f"no {text} in {said}")
                said += os.read(terminal, 1000)

        say(b"", b"ready")
        say(b"hello\n", b"line hello")
        say(b"\x03", b"got-int")
        say(b"\x1a", b"stopped")
        say(b"again\n", b"line again")
        say(b"\x04", b"ended 3")
        os.waitpid(pid, 0)
        tap.equal((said.count(b"got-int"), said.count(b"stopped")), (1, 1), "how often the program got SIGINT, and stopped")
        os.close(terminal)


def test_last_child():
    """What the program leaves behind keeps its link, and gets the signals; the exit status is still the program's."""
    script = "(trap 'echo left got it; exit' TERM; echo $$; while :; do sleep 0.05; done) & exit 5"
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        process = command(pair, broker, "sh", "-c", script)
        main = int(started(process))
        until(lambda: not os.path.exists(f"/proc/{main}"), "the program does not end")
        tap.equal((process.poll(), len(links(pair))), (None, 1), "saferaw has ended, or its link")
        process.terminate()
        tap.check("left got it" in finish(process, 5)[0], "what was left got no signal")
        until(lambda: not links(pair), "a link is left")


def test_kills():
    """kill -9 of saferaw takes the program along; of the program ends saferaw: no process, device or port is left."""
    with Pair() as pair, Broker(pair.host, slice_section(), top="quarantine = 300") as broker:
        for victim in ("saferaw", "program"):
            process = command(pair, broker, "sh", "-c", "echo $$; exec sleep 60", options=("-p", "40000"))
            inner = int(started(process))
            os.kill(supervisor(process) if victim == "saferaw" else inner, signal.SIGKILL)
            finish(process, -9)
            until(lambda pid=inner: not os.path.exists(f"/proc/{pid}"), f"the program outlives {victim}")
            until(lambda: not links(pair), "a link is left")
        process = command(pair, broker, "true", options=("-p", "40000"))
        finish(process)


def talk(pair, family=socket.AF_INET):
    """A listener on the peer for a program's long conversation."""
    listener = pair.peer.socket(family, socket.SOCK_STREAM)
    listener.bind((PEER6 if family == socket.AF_INET6 else PEER4, 7000))
    listener.listen()
    listener.settimeout(PATIENCE)
    return listener


TALKER = """
import socket, sys
s = socket.create_connection(("%s", 7000))
while data := s.recv(1000):
    s.sendall(data.upper())
"""


def test_relay_killed():
    """kill -9 of the relay: the link is back, with the same block, and a TCP connection through it goes on."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        for family, address in ((socket.AF_INET, PEER4), (socket.AF_INET6, PEER6)):
            with talk(pair, family) as listener:
                process = command(pair, broker, PYTHON, "-c", TALKER % address)
                connection, peer = listener.accept()
                connection.settimeout(PATIENCE)
                for word in (b"one", b"two"):
                    connection.sendall(word)
                    tap.equal(connection.recv(100), word.upper(), "the answer")
                    relay = broker.relay_pid()
                    os.kill(relay, signal.SIGKILL)
                    until(lambda relay=relay: broker.relay_pid() not in (None, relay), "no relay")
                connection.sendall(b"three")
                tap.equal(connection.recv(100), b"THREE", "the answer after two kills")
                tap.equal(connection.getpeername()[1], peer[1], "the port")
                connection.close()
                tap.equal(finish(process)[1], "", "what was said")


def test_broker_stopped():
    """saferawd ends: that is said, the program goes on; saferawd is back: so is the link, and that is said."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        script = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.2)
print("ready", flush=True)
for line in sys.stdin:
    try:
        s.sendto(line.encode(), ("%s", 7001))
        while s.recv(100).decode() != line:  # the answer to an earlier one, late
            pass
        print(line, end="", flush=True)
    except OSError as error:
        print("error", flush=True)
""" % PEER4
        server = pair.peer.popen("socat", "UDP4-RECVFROM:7001,fork", "PIPE", stderr=subprocess.DEVNULL)
        process = command(pair, broker, PYTHON, "-c", script, stdin=subprocess.PIPE)
        started(process)

        numbers = itertools.count()

        def answered():
            text = f"question {next(numbers)}"
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            return started(process) == text

        until(answered, "no answer")
        broker.process.terminate()
        broker.process.wait(PATIENCE)
        until(lambda: not links(pair), "the link outlives saferawd")
        tap.check(not answered(), "a program without its link is answered")
        said = process.stderr.readline()
        tap.check("lost" in said, f"said: {said}")
        broker.start()
        said = process.stderr.readline()
        tap.check("back" in said, f"said: {said}")
        until(answered, "no answer when it is back")
        process.stdin.close()
        process.wait(PATIENCE)
        server.terminate()
        server.wait(PATIENCE)


def test_device_deleted():
    """The program deletes its device, as root there may: it gets a new one, with the same ports."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        script = "ip link del eth0; while ! ip -6 route get 2001:db8::2 >/dev/null 2>&1; do sleep 0.05; done; ping -n -q -c1 -W50 192.0.2.2 >/dev/null && echo back"
        tap.equal(finish(command(pair, broker, "sh", "-c", script))[0], "back\n", "what the program says")


def test_addresses():
    """An address that the host gets or loses, the link gets or loses, in both families."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        script = """
import subprocess, sys, time
def local(address):
    return "local" in subprocess.run(["ip", "route", "get", address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
print("ready", flush=True)
for line in sys.stdin:
    command, address, peer = line.split()
    deadline = time.monotonic() + 60
    while local(address) != (command == "add") and time.monotonic() < deadline:
        pass
    argv = ["ping", "-n", "-q", "-c1", "-W50", "-I", address, peer]
    print(subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, flush=True)
"""
        process = command(pair, broker, PYTHON, "-c", script, stdin=subprocess.PIPE)
        started(process)
        for address, prefix, peer in (("192.0.2.77", 24, PEER4), ("2001:db8::77", 64, PEER6)):
            for word, status in (("add", "0"), ("del", "2"), ("add", "0")):
                pair.host.run("ip", "addr", word, f"{address}/{prefix}", "dev", "eth0", *(["nodad"] if ":" in address else []))
                process.stdin.write(f"{word} {address} {peer}\n")
                process.stdin.flush()
                tap.equal(started(process), status, f"exit status of ping from {address}, {word}")
        process.stdin.close()
        process.wait(PATIENCE)


def test_monitor_killed():
    """kill -9 of the monitor: nothing more gets out of the link; started again, it makes the link anew and nothing old is left."""
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        process = command(pair, broker, "sh", "-c", f"echo; exec ping -n -i0.05 {PEER4}")
        started(process)
        while "ttl=" not in started(process):
            pass
        broker.kill()
        said = process.stderr.readline()
        tap.check("lost" in said, f"said: {said}")
        before = pair.peer.counter("IcmpInEchos")
        time.sleep(0.3)  # six packets' time
        tap.equal(pair.peer.counter("IcmpInEchos"), before, "packets that got out without a monitor")
        broker.start()
        said = process.stderr.readline()
        tap.check("back" in said, f"said: {said}")
        while pair.peer.counter("IcmpInEchos") == before:
            pass
        tap.equal(len(links(pair)), 1, "links")
        process.terminate()
        process.communicate()
        until(lambda: not links(pair), "a link is left")


# Makes a control socket in a namespace of its own and passes it on; waits until its input ends
GIVER = """
import array, os, socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [sock.fileno()])
sys.stdin.read()
"""


@contextlib.contextmanager
def socket_of(*prefix):
    """A control socket, not connected, that a process made which those words start."""
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen([*prefix, PYTHON, "-c", GIVER, str(theirs.fileno())], stdin=subprocess.PIPE,
                                        pass_fds=(theirs.fileno(),)) as process:
        sock = socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0])
        yield sock
        process.stdin.close()


def test_whose_namespace():
    """A link goes nowhere but into a namespace of the client's own, by its user namespace: not the host's, nor another user's."""
    def ids(user):
        return ("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups")

    own = ("unshare", "--user", "--map-root-user", "--net")
    with Pair() as pair, Broker(pair.host, slice_section()) as broker:
        host = ("nsenter", f"--net={pair.host.path}")
        for prefix, error in (((*host, *ids(USER)), errno.EPERM), (ids(USER), errno.EPERM), (("unshare", "--net"), errno.EPERM),
                              ((*ids(OTHER), *own), errno.EPERM), (own, errno.EPERM), ((*ids(USER), *own), 0)):
            with socket_of(*prefix) as sock:
                with proto.user(USER):
                    sock.connect(broker.slice())
                client = proto.Client(None, sock=sock)
                got = struct.unpack_from("=HHIi", client.request(proto.LINK, struct.pack("=IHHHH", 0, 0, 0, 0, 0))[0])[3]
                tap.equal((got, len(links(pair))), (error, 0 if error else 1), f"error, links for {' '.join(prefix)}")
                if not error:
                    again = struct.unpack_from("=HHIi", client.request(proto.LINK, struct.pack("=IHHHH", 0, 0, 0, 0, 0))[0])[3]
                    tap.equal((again, len(links(pair))), (errno.EBUSY, 1), "a second one")
                client.socket.close()
        until(lambda: not links(pair), "a link is left")


def test_netns():
    """saferaw netns: ip netns exec works in it; del, by either command, ends all of it; others' namespaces are left alone."""
    with Pair() as pair, Broker(pair.host, slice_section(users=("root",))) as broker:
        name = pair.host.name + "-link"

        def netns(*argv, status=0):
            done = subprocess.run(["nsenter", f"--net={pair.host.path}", program("saferaw"), "netns", *argv], check=False, timeout=PATIENCE,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            tap.equal(done.returncode, status, f"exit status of netns {argv} ({done.stderr})")
            return done.stderr

        for delete in (lambda: netns("del", name), lambda: run("ip", "netns", "del", name)):
            netns("add", name, "-s", broker.slice(), "-p", "40000")
            tap.check("File exists" in netns("add", name, "-s", broker.slice(), status=2), "the same name again")
            out = run("ip", "netns", "exec", name, "ping", "-n", "-q", "-c1", "-W50", PEER4)
            tap.check(" 0% packet loss" in out, out)
            tap.equal(run("ip", "netns", "exec", name, "cat", "/proc/sys/net/ipv4/ip_local_port_range").split(), ["40000", "40191"], "ports")
            delete()
            tap.check(not os.path.exists(f"/run/netns/{name}"), "the file is left")
            until(lambda: not links(pair), "the link is left")
        tap.check("saferaw netns add" in netns("del", pair.host.name, status=2), "another's namespace")
        tap.check(os.path.exists(pair.host.path), "another's namespace was deleted")
        for wrong in (("add", "a/b"), ("add", ".."), ("add", ""), ("del", "../x"), ("del", "nowhere"), ("add",), ("move", "x")):
            netns(*wrong, status=2)
        netns("add", name, "-s", "/nowhere/slice.sock", status=2)
        tap.check(not os.path.exists(f"/run/netns/{name}"), "a file without a link")


tap.main(test_inside, test_ids, test_names, test_upstream, test_exit, test_signals, test_terminal, test_last_child, test_kills,
         test_relay_killed, test_broker_stopped, test_device_deleted,
         test_addresses, test_monitor_killed, test_whose_namespace, test_netns, modes=("auto",))
