# SPDX-License-Identifier: BSD-2-Clause
"""Throw-away network namespaces with veth links between them.

The usual picture is Pair: a host (where the broker runs) and a peer (where
servers and witnesses run), each with an IPv4 and an IPv6 address:

    host  eth0 192.0.2.1/24, 2001:db8::1/64  ----  eth0 192.0.2.2/24, 2001:db8::2/64  peer
"""

import contextlib
import ctypes
import os
import socket
import subprocess

from . import PATIENCE

HOST4, PEER4 = "192.0.2.1", "192.0.2.2"
HOST6, PEER6 = "2001:db8::1", "2001:db8::2"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_counter = [0]


def run(*argv, check=True, **kwargs):
    """Runs a command, returns what it printed; a failure raises with what it printed to stderr."""
    done = subprocess.run(argv, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def family_of(address):
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Namespace:
    """One named network namespace."""

    def __init__(self, role):
        _counter[0] += 1
        self.name = f"srt{_counter[0]}-{role}"
        run("ip", "netns", "add", self.name)
        self.path = f"/run/netns/{self.name}"
        self.run("ip", "link", "set", "lo", "up")
        self.sysctl("net/ipv6/conf/default/router_solicitations", 0)  # nobody is there to ask, and tests see what is sent

    def delete(self):
        """Deletes the namespace; again: no effect."""
        run("ip", "netns", "delete", self.name, check=False)

    def run(self, *argv, check=True, **kwargs):
        """run() inside this namespace."""
        return run("ip", "netns", "exec", self.name, *argv, check=check, **kwargs)

    def popen(self, *argv, **kwargs):
        """subprocess.Popen inside this namespace."""
        return subprocess.Popen(["ip", "netns", "exec", self.name, *argv], **kwargs)

    @contextlib.contextmanager
    def inside(self):
        """The calling thread is in this namespace while the context lasts."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            if _libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(99)  # nothing may go on in the wrong namespace
            os.close(home)
            os.close(there)

    def bound(self, address, port=0, kind=socket.SOCK_DGRAM, protocol=0):
        """A socket of this namespace with an address, on which nothing is waited for longer than PATIENCE."""
        sock = self.socket(family_of(address), kind, protocol)
        sock.bind((address, port))
        sock.settimeout(PATIENCE)
        return sock

    def socket(self, family, kind, protocol=0):
        """A socket of this namespace."""
        with self.inside():
            return socket.socket(family, kind, protocol)

    def sysctl(self, name, value=None):
        """Reads or sets a sysctl by its path below /proc/sys."""
        with self.inside():
            path = f"/proc/sys/{name}"
            if value is not None:
                with open(path, "w", encoding="ascii") as file:
                    file.write(str(value))
            with open(path, encoding="ascii") as file:
                return file.read().strip()

    def counter(self, name):
        """One of the kernel's own counters (nstat): TcpOutRsts, IcmpOutDestUnreachs, Icmp6OutDestUnreachs ..."""
        for line in self.run("nstat", "-asz", name).splitlines():
            fields = line.split()
            if fields and fields[0] == name:
                return int(fields[1])
        raise KeyError(name)


def connect(left, right, left_name="eth0", right_name="eth0"):
    """A veth pair between two namespaces, up at both ends."""
    run("ip", "link", "add", left_name, "netns", left.name, "type", "veth",
        "peer", "name", right_name, "netns", right.name)
    left.run("ip", "link", "set", left_name, "up")
    right.run("ip", "link", "set", right_name, "up")


class Pair:
    """A host and a peer on one link."""

    def __init__(self):
        self.host, self.peer = Namespace("host"), Namespace("peer")
        connect(self.host, self.peer)
        for namespace, v4, v6 in ((self.host, HOST4, HOST6), (self.peer, PEER4, PEER6)):
            namespace.run("ip", "addr", "add", f"{v4}/24", "dev", "eth0")
            namespace.run("ip", "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")

    def delete(self):
        """Deletes both."""
        self.host.delete()
        self.peer.delete()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()


class EtcFiles:
    """Files that stand in for some of /etc in programs started in a namespace: ip netns exec mounts them."""

    def __init__(self, namespace, files):
        self.directory = f"/etc/netns/{namespace.name}"
        os.makedirs(self.directory)
        for name, text in files.items():
            self.write(name, text)

    def write(self, name, text):
        """Writes one of them, in its place."""
        with open(f"{self.directory}/{name}", "w", encoding="ascii") as file:
            file.write(text)


ROUTED4, ROUTED6 = "198.51.100.2", "2001:db8:1::2"


class Routed:
    """A host and a peer with a router between them; nobody limits the rate of ICMP errors."""

    def __init__(self):
        self.host, self.router, self.peer = Namespace("host"), Namespace("router"), Namespace("peer")
        for namespace in (self.host, self.router, self.peer):  # or neighbours are not looked for until link-local addresses are sure
            namespace.sysctl("net/ipv6/conf/default/accept_dad", 0)
        connect(self.host, self.router, "eth0", "west")
        connect(self.router, self.peer, "east", "eth0")
        for namespace, device, v4, v6, gateways in (
                (self.host, "eth0", HOST4, HOST6, ("192.0.2.254", "2001:db8::fe")),
                (self.router, "west", "192.0.2.254", "2001:db8::fe", ()),
                (self.router, "east", "198.51.100.254", "2001:db8:1::fe", ()),
                (self.peer, "eth0", ROUTED4, ROUTED6, ("198.51.100.254", "2001:db8:1::fe"))):
            namespace.run("ip", "addr", "add", f"{v4}/24", "dev", device)
            namespace.run("ip", "addr", "add", f"{v6}/64", "dev", device, "nodad")
            for gateway in gateways:
                namespace.run("ip", "-6" if ":" in gateway else "-4", "route", "add", "default", "via", gateway)
            namespace.sysctl("net/ipv4/icmp_ratelimit", 0)
            namespace.sysctl("net/ipv6/icmp/ratelimit", 0)
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)

    def delete(self):
        """Deletes them."""
        for namespace in (self.host, self.router, self.peer):
            namespace.delete()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()
