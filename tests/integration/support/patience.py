"""Deadlines. A wait polls for what it waits for, and fails in words when it does not come.

WEIR_TEST_PATIENCE multiplies every deadline: a sanitizer build is several times slower.
WEIR_TEST_FULL=1 runs at full length what is cut short otherwise.
"""

import os
import time

PATIENCE = float(os.environ.get("WEIR_TEST_PATIENCE", "1"))
FULL = os.environ.get("WEIR_TEST_FULL", "") not in ("", "0")


def seconds(count):
    """A deadline of `count` seconds for an ordinary build, for the build under test."""
    return count * PATIENCE


def full_or_short(full, short):
    """How long, or how often: as the contract says, or enough for every day."""
    return full if FULL else short


def wait_until(condition, what, timeout=5.0, every=0.01):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + seconds(timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {seconds(timeout):g} s: {what}")
        time.sleep(every)


def holds_for(condition, what, duration, every=0.01):
    """The opposite: condition() has to stay true for `duration` seconds."""
    end = time.monotonic() + duration
    while time.monotonic() < end:
        assert condition(), f"did not stay true: {what}"
        time.sleep(every)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.start
