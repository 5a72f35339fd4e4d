"""Bytes that prove themselves: a stream made from a seed, and its SHA-256 at the other end."""

import hashlib
import random
import threading

BLOCK = 256 * 1024
_noise = random.Random(20241124).randbytes(BLOCK)


def blocks(size, seed=0):
    """`size` bytes in blocks. Each block carries its number: one in the wrong place shows."""
    number = 0
    while size > 0:
        head = seed.to_bytes(8, "big") + number.to_bytes(8, "big")
        block = head + _noise[len(head):]
        yield block if size >= BLOCK else block[:size]
        size -= BLOCK
        number += 1


def digest_of(size, seed=0):
    digest = hashlib.sha256()
    for block in blocks(size, seed):
        digest.update(block)
    return digest.hexdigest()


def send(stream, size, seed=0):
    """Sends, finishes, and returns the digest."""
    digest = hashlib.sha256()
    for block in blocks(size, seed):
        digest.update(block)
        stream.send(block)
    stream.finish()
    return digest.hexdigest()


def receive(stream):
    """(size, digest) of everything up to the peer's end"""
    digest, size = hashlib.sha256(), 0
    while piece := stream.receive():
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


class Sending(threading.Thread):
    """send() on a thread of its own, so that both directions run at once."""

    def __init__(self, stream, size, seed=0):
        super().__init__(daemon=True)
        self._arguments = (stream, size, seed)
        self.digest, self.error = None, None
        self.start()

    def run(self):
        try:
            self.digest = send(*self._arguments)
        except OSError as error:
            self.error = error

    def result(self):
        self.join()
        if self.error:
            raise self.error
        return self.digest


def both_ways(stream, size, seed=0):
    """Sends and receives at once; returns (digest sent, size received, digest received)."""
    sending = Sending(stream, size, seed)
    received, digest = receive(stream)
    return sending.result(), received, digest
