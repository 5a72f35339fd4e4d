"""Numbers that processes share: the one that counts writes them, a test reads them. They stay when
the process that counted is killed."""

import mmap

_SIZE = 8


class Tally:
    def __init__(self, path, names):
        self._places = {name: place for place, name in enumerate(names)}
        with open(path, "a+b") as file:
            file.truncate(_SIZE * len(names))
            self._map = mmap.mmap(file.fileno(), _SIZE * len(names))
        self._numbers = memoryview(self._map).cast("q")

    def __getitem__(self, name):
        return self._numbers[self._places[name]]

    def __setitem__(self, name, value):
        self._numbers[self._places[name]] = value

    def raise_to(self, name, value):
        self[name] = max(self[name], value)
