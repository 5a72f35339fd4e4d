"""The text of /metrics as samples."""

import re
from typing import NamedTuple

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)",?')


class Sample(NamedTuple):
    name: str
    labels: dict
    value: float


class Metrics:
    def __init__(self, text):
        self.text = text
        self.samples = []
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            elif line and not line.startswith("#"):
                name, labels, value = _LINE.match(line).groups()
                pairs = dict(_LABEL.findall(labels or ""))
                self.samples.append(Sample(name, pairs, float(value)))

    def find(self, name, **labels):
        """The samples of a name whose labels include these."""
        return [sample for sample in self.samples
                if sample.name == name and labels.items() <= sample.labels.items()]

    def sum(self, name, **labels):
        """Their sum. A name without any sample is a mistake of the test or of Weir."""
        assert self.find(name), f"no sample named {name}"
        return sum(sample.value for sample in self.find(name, **labels))

    def outcomes(self, **labels):
        """{reason: sessions that ended so}, the zeros left out."""
        counts = {}
        for sample in self.find("weir_sessions_total", **labels):
            if sample.value:
                reason = sample.labels["reason"]
                counts[reason] = counts.get(reason, 0) + int(sample.value)
        return counts
