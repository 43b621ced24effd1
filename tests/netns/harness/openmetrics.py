# SPDX-License-Identifier: BSD-2-Clause
"""OpenMetrics text format 1.0, strictly, as far as counters and gauges go; written from the specification."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})\{{(.*)\}} (-?[0-9]+(?:\.[0-9]+)?)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
SUFFIX = {"counter": "_total", "gauge": ""}


def labels(text):
    """A dict of the labels between the braces."""
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match[1] in found:
            raise ValueError(f"labels {text!r} at {at}")
        if match[3] and match.end() == len(text):
            raise ValueError(f"comma at the end of {text!r}")
        found[match[1]] = re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[2])
        at = match.end()
    return found


class Family:
    """One metric: its metadata, and its samples by their labels."""

    def __init__(self, name):
        self.name, self.meta, self.samples = name, {}, {}

    def describe(self, kind, text):
        """A line of metadata."""
        if kind in self.meta or self.samples:
            raise ValueError(f"{kind} of {self.name} comes twice or too late")
        if kind == "TYPE" and text not in SUFFIX:
            raise ValueError(f"type {text}")
        if kind == "UNIT" and not self.name.endswith("_" + text):
            raise ValueError(f"{self.name} does not end in its unit {text}")
        self.meta[kind] = text

    def add(self, line):
        """A line with a sample."""
        match = SAMPLE.fullmatch(line)
        if not match or match[1] != self.name + SUFFIX[self.meta["TYPE"]]:
            raise ValueError(f"{line!r} in {self.name}")
        key = frozenset(labels(match[2]).items())
        if key in self.samples:
            raise ValueError(f"{line!r} comes twice")
        value = float(match[3])
        if self.meta["TYPE"] == "counter" and value < 0:
            raise ValueError(f"negative counter: {line!r}")
        self.samples[key] = value


def parse(text):
    """{(family, frozenset of (label, value)): number}; ValueError for whatever is not right."""
    if not text.endswith("# EOF\n"):
        raise ValueError("no # EOF at the end")
    families, current = {}, None
    for line in text[:-len("# EOF\n")].splitlines():
        if line.startswith("#"):
            _, kind, name, value = line.split(" ", 3)
            if kind not in ("TYPE", "UNIT", "HELP") or not re.fullmatch(NAME, name):
                raise ValueError(f"metadata {line!r}")
            if current is None or current.name != name:
                if name in families:
                    raise ValueError(f"{name} is in two places")
                current = families[name] = Family(name)
            current.describe(kind, value)
        elif current is None:
            raise ValueError(f"{line!r} belongs to no metric")
        else:
            current.add(line)
    return {(family.name, key): value for family in families.values() for key, value in family.samples.items()}
