# SPDX-License-Identifier: BSD-2-Clause
"""The built saferawd, run in a namespace with a configuration of the test's own."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from . import PATIENCE

BUILD = os.environ.get("SAFERAW_BUILD", os.getcwd())
ATTACH = "auto"  # how steering is attached: tap.main() sets it
RELAY_USER = "backup"  # exists on every Debian, and is no client in any test


def program(name):
    """Path of a built program."""
    return os.path.join(BUILD, name)


def slice_section(name="one", users=("games",), ports="40000-40999", extra=""):
    """A slice section of a configuration file."""
    quoted = ", ".join(f'"{user}"' for user in users)
    return (f'slice "{name}" {{\n  users = {{{quoted}}}\n  tcp = {{"{ports}"}}\n  udp = {{"{ports}"}}\n'
            f'  icmp = {{"{ports}"}}\n  {extra}\n}}\n')


class Broker:
    """saferawd inside a namespace. Its log is kept in self.log."""

    starved = False  # any of them has said that it did not get to run, and that nothing was steered meanwhile

    def __init__(self, namespace, *sections, netns="", start=True, relay=None, top="", nofile=None):
        self.namespace = namespace
        self.directory = tempfile.mkdtemp(prefix="saferaw-test-")
        os.chmod(self.directory, 0o755)
        self.run_dir = os.path.join(self.directory, "run")
        self.config = os.path.join(self.directory, "saferaw.conf")
        self.logfile = os.path.join(self.directory, "log")
        self.relay = relay or program("saferaw-relay")
        self.top, self.netns, self.nofile = top, netns, nofile
        self.process = None
        self.configure(*sections)
        if start:
            self.start()

    def configure(self, *sections):
        """Writes the configuration file."""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'run_dir = "{self.run_dir}"\nrelay_user = "{RELAY_USER}"\nrelay_path = "{self.relay}"\n{self.top}\n')
            file.write(f'netns "default" {{\n  attach = {ATTACH}\n{self.netns}\n}}\n')
            file.write("".join(sections))

    def start(self, seconds=PATIENCE):
        """Starts saferawd and waits until it says that it is ready."""
        ready, given = os.pipe()
        os.set_inheritable(given, True)
        limit = ("prlimit", f"--nofile={self.nofile}") if self.nofile else ()
        with open(self.logfile, "ab") as log:
            self.process = self.namespace.popen(*limit, program("saferawd"), "-c", self.config, f"--ready-fd={given}",
                                                pass_fds=(given,), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(given)
        try:
            if not select.select([ready], [], [], seconds)[0] or os.read(ready, 1) != b"\n":
                raise RuntimeError(f"saferawd did not become ready:\n{self.log}")
        finally:
            os.close(ready)

    @property
    def log(self):
        """What it has logged so far."""
        with open(self.logfile, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, text, count=1, seconds=PATIENCE):
        """Waits until text stands count times in the log."""
        deadline = time.monotonic() + seconds
        with open(self.logfile, encoding="utf-8", errors="replace") as file:
            seen = ""
            while seen.count(text) < count:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no {text!r} in the log:\n{seen}")
                seen += file.read()
                select.select([], [], [], 0.01)

    def slice(self, name="one"):
        """Path of a slice's control socket."""
        return os.path.join(self.run_dir, "slices", f"{name}.sock")

    def relay_pid(self):
        """Pid of the relay: the monitor's only child."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        return int(children[0]) if children else None

    def reload(self, *sections):
        """Writes a new configuration and has it loaded."""
        before = self.log.count("reload: done") + self.log.count("reload: the configuration stays")
        self.configure(*sections)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while self.log.count("reload: done") + self.log.count("reload: the configuration stays") == before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no reload:\n{self.log}")
            select.select([], [], [], 0.01)

    def finish(self, seconds=PATIENCE):
        """SIGTERM; returns the whole log, with what is only said at the end."""
        self.process.terminate()
        if status := self.process.wait(seconds):
            raise RuntimeError(f"exit status {status}:\n{self.log}")
        self.process = None
        return self.log

    def stop(self, seconds=PATIENCE):
        """SIGTERM; returns the exit status. Removes the test's directory."""
        status = None
        if self.process:
            self.process.terminate()
            status = self.process.wait(seconds)
            self.process = None
        Broker.starved |= os.path.exists(self.logfile) and "did not get to run" in self.log
        shutil.rmtree(self.directory, ignore_errors=True)
        return status

    def kill(self):
        """SIGKILL to the monitor alone."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.process and kind is None:
                self.finish()
        finally:
            self.stop()
