# SPDX-License-Identifier: BSD-2-Clause
"""Test Anything Protocol: one line for each check, a plan at the end."""

import contextlib
import itertools
import os
import select
import signal
import sys
import time
import traceback

from . import PATIENCE, broker, cage


TRIES = 3  # of a test that fails while saferawd does not get to run
SECONDS = 180  # that a test may take; none takes a quarter of it where two CPUs have twice as much to do as they can
AGAIN = 20  # seconds until what a test does at its end is interrupted too


class Failure(Exception):
    """A check that does not hold."""


def check(holds, text):
    """Raises Failure with text unless holds."""
    if not holds:
        raise Failure(text)


def equal(got, want, what):
    """Raises Failure unless got == want."""
    check(got == want, f"{what}: got {got!r}, want {want!r}")


def raises(error, call, *args, **kwargs):
    """Calls; raises Failure unless it raised OSError with that errno."""
    try:
        call(*args, **kwargs)
    except OSError as caught:
        equal(caught.errno, error, f"errno of {call.__name__}")
        return caught
    raise Failure(f"{call.__name__} succeeded, want errno {error}")


def until(holds, text, seconds=PATIENCE):
    """Waits for something that nothing tells of."""
    deadline = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < deadline, text)
        select.select([], [], [], 0.02)


def diagnose(text):
    """Prints text as TAP diagnostics."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def overdue(*_):
    """SIGALRM: the test waits for something that does not happen."""
    raise Failure(f"not done after {SECONDS} s")


@contextlib.contextmanager
def limited():
    """What takes too long in here raises Failure, wherever it waits."""
    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def begin():
    """Only root can make network namespaces, and what root makes stays in a cage."""
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root to make network namespaces")
        sys.exit(77)
    cage.enter()


def outcome(test, shared):
    """Runs a test; what was wrong with it, or None."""
    wrong = None
    try:
        with limited():
            test()
    except Exception as caught:  # pylint: disable=broad-except
        wrong = [*([caught] if isinstance(caught, Failure) else []), traceback.format_exc()]
    left = [] if shared else cage.clean()
    return wrong or (left and [f"left running: {words}" for words in left])


def judged(test, shared):
    """The outcome of a test, on a machine on which saferawd gets to run: where it does not for seconds, packets are lost."""
    for _ in range(TRIES):
        broker.Broker.starved = False
        wrong = outcome(test, shared)
        if not wrong or shared or not broker.Broker.starved:
            break
        diagnose(f"{test.__name__} once more: this machine has not let saferawd run for seconds")
    return wrong


def distinct(modes):
    """Those of the ways to attach steering that are not the same here: without tcx (before Linux 6.6) auto is clsact."""
    has_tcx = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 6)
    return modes if has_tcx else modes[:1]


def main(*tests, modes=("auto", "clsact"), shared=False):
    """Runs each test (a function without arguments; its doc string's first line names it) and prints TAP.

    All of them once for each way to attach steering: auto is tcx where the kernel has it. SAFERAW_TEST_ONLY, if set,
    names the one function to run. A test must leave nothing running, unless the tests share what runs.
    """
    begin()
    modes = distinct(modes)
    only = os.environ.get("SAFERAW_TEST_ONLY")
    chosen = [test for test in tests if only in (None, test.__name__)]
    failed = 0
    for number, (mode, test) in enumerate(itertools.product(modes, chosen), 1):
        name = f"{(test.__doc__ or test.__name__).splitlines()[0].rstrip('.')} [{mode}]"
        broker.ATTACH = mode
        wrong = judged(test, shared)
        print(f"{'not ok' if wrong else 'ok'} {number} - {test.__name__}: {name}", flush=True)
        failed += bool(wrong)
        for text in wrong or ():
            diagnose(text)
    print(f"1..{len(chosen) * len(modes)}", flush=True)
    sys.exit(1 if failed else 0)
