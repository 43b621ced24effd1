# SPDX-License-Identifier: BSD-2-Clause
"""An unprivileged user's own namespace, with conversations from inside it, and the link that it asks for."""

import pwd
import socket
import subprocess

from . import PATIENCE, proto
from .link import PYTHON, Tenant
from .witness import Witness

# What runs inside: connects a control socket for each line that it reads, and passes it on
INSIDE = """
import socket, sys
channel = socket.socket(fileno=int(sys.argv[2]))
for _ in sys.stdin:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(sys.argv[1])
    socket.send_fds(channel, [b"."], [sock.fileno()])
    sock.close()
"""


class Guest(Tenant):
    """A tenant whose conversations the test holds."""

    def __init__(self, path, user="games"):  # pylint: disable=super-init-not-called
        entry = pwd.getpwnam(user)
        self.uid = entry.pw_uid
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(PATIENCE)
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "unshare", "-U", "-r", "-n",
             PYTHON, "-c", INSIDE, path, str(theirs.fileno())], stdin=subprocess.PIPE, pass_fds=(theirs.fileno(),), text=True)
        theirs.close()
        self.pid = self.process.pid
        self.client = self.granted = None

    def talk(self):
        """A new conversation."""
        print(file=self.process.stdin, flush=True)
        _, fds, _, _ = socket.recv_fds(self.channel, 1, 1)
        return proto.Client(None, sock=socket.socket(fileno=fds[0]))

    def link(self, **more):
        """Asks for a link in a new conversation, and configures it."""
        self.client = self.talk()
        self.granted = self.client.link(**more)
        lo, _, direct = self.granted.blocks[0]
        self.configure(lo, direct, self.granted.addresses)
        return self.granted

    def row(self):
        """The link as it is listed."""
        return next(row for row in self.client.links() if row["link"] == self.granted.number)

    def witness(self, expression="ip or ip6"):
        """A capture of what arrives by the link. Root's: inside there is one id only, and tcpdump wants another."""
        class Inside:  # pylint: disable=too-few-public-methods
            """For Witness."""
            popen = staticmethod(lambda *argv, **more: subprocess.Popen(["nsenter", f"--target={self.pid}", "--net", *argv], **more))
        return Witness(Inside, expression=expression)

    def close(self):
        """Ends the conversation and everything inside."""
        if self.client:
            self.client.close()
        self.channel.close()
        super().close()
