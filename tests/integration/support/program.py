"""Servers of the tests' own, in processes of their own: they count in a Tally, so that nothing has
to connect to them to learn whether they listen, and they can be killed and come back."""

import os
import sys

from support.servers import Server
from support.tally import Tally

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))


class Program(Server):
    """The module support.NAME, run with the address to listen on, the tally's path and more
    arguments. It sets "listening" once it does; every other count is an attribute."""

    def __init__(self, directory, name, counts):
        super().__init__(directory, name)
        self._tally_path = self.file("tally")
        self.tally = Tally(self._tally_path, counts)

    def run(self, *arguments):
        self.tally["listening"] = 0
        self.start(sys.executable, "-m", f"support.{self.name}", self.address, self._tally_path,
                   *map(str, arguments), cwd=ROOT)

    def kill(self):
        self.process.kill()

    def _accepts(self):
        assert self.process.is_running(), f"{self.name} ended:\n{self.process.errors()[-2000:]}"
        return self.tally["listening"] == 1

    @property
    def accepted(self):
        return self.tally["accepted"]

    @property
    def open(self):
        return self.tally["open"]

    @property
    def peak(self):
        return self.tally["peak"]
