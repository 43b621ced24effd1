# SPDX-License-Identifier: BSD-2-Clause
"""What a test program and all that it starts live in: namespaces of processes and of mounts, which end with it.

Three processes make a cage. The warden is the process that was started: it
waits, and whatever ends it ends the cage. The keeper is process 1 inside; it
collects orphans as init does, and with it the kernel ends every process inside
and unmounts every mount. The inmate runs the tests:

    warden  -- waits -->  keeper (process 1)  -- waits -->  inmate (the tests)  -->  saferawd, clients ...

The named network namespaces, what stands in for files of /etc in them, and
temporary files are the cage's own. So nothing that a test forgets, or has no
time to remove, is there for the next one to stumble upon; and a process that
holds the program's standard output cannot outlive the program.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import PATIENCE

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
PR_SET_PDEATHSIG = 1
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PLACES = ("/run/netns", "/etc/netns")  # of ip-netns(8)
_libc = ctypes.CDLL(None, use_errno=True)
_inside = []


def enter():
    """Goes on in a cage; only the inmate returns from here. In a cage already: no effect."""
    if _inside:
        return
    sys.stdout.flush()
    directory = tempfile.mkdtemp(prefix="saferaw-")
    os.chmod(directory, 0o1777)
    warden = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    if _libc.unshare(CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    keeper = os.fork()
    if keeper:
        ward(keeper, directory)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != 0 or not os.path.exists(f"/proc/{warden}"):
        os._exit(1)
    furnish()
    inmate = os.fork()
    if inmate:
        keep(inmate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    tempfile.tempdir = os.environ["TMPDIR"] = directory
    _inside.append(True)


def ward(keeper, directory):
    """The warden: waits for the keeper's end, or brings it about, and removes what was written."""
    for number in ENDS:
        signal.signal(number, lambda *_: os.kill(keeper, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    code = os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(code if code >= 0 else 128 - code)


def furnish():
    """Mounts that are the cage's own."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    for place in PLACES:
        os.makedirs(place, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "cage", place], check=True)


def keep(inmate):
    """The keeper: waits for every process that ends inside, and ends with the inmate."""
    while True:
        pid, status = os.wait()
        if pid == inmate:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def others():
    """Processes in the cage besides keeper and inmate, by pid: their command lines. What has ended does not count."""
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/cmdline", "rb") as line:
            if stat.read().rsplit(b")", 1)[1].split()[0] not in b"ZX":
                found[pid] = line.read().replace(b"\0", b" ").decode(errors="replace").strip() or str(pid)
    return found


def clean():
    """Ends what a test has left: processes, named namespaces, files in their /etc. The processes' command lines."""
    left = others()
    if left:
        os.kill(-1, signal.SIGKILL)  # in a cage: everybody inside but the keeper and the caller
        deadline = time.monotonic() + PATIENCE
        while others() and time.monotonic() < deadline:
            time.sleep(0.01)
    for name in os.listdir("/run/netns"):
        subprocess.run(["ip", "netns", "delete", name], check=False)
    for name in os.listdir("/etc/netns"):
        shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
    return sorted(left.values())
