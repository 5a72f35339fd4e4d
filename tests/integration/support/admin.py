"""Weir's admin listener, asked over HTTP."""

import http.client
import json
from typing import NamedTuple

from support import address as addresses
from support.metrics import Metrics
from support.patience import seconds


class Answer(NamedTuple):
    status: int
    headers: dict
    body: str

    def json(self):
        return json.loads(self.body)


class _Connection(http.client.HTTPConnection):
    """HTTP over whatever an address of the configuration names."""

    def __init__(self, address):
        super().__init__("localhost", timeout=seconds(10))
        self._address = address

    def connect(self):
        self.sock = addresses.connect(self._address, self.timeout)


class Admin:
    def __init__(self, address):
        self.address = address

    def request(self, method, path):
        connection = _Connection(self.address)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
            return Answer(response.status, dict(response.getheaders()), body)
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def delete(self, path):
        return self.request("DELETE", path)

    def metrics(self):
        answer = self.get("/metrics")
        assert answer.status == 200, answer
        return Metrics(answer.body)

    def status(self):
        return self.get("/status").json()

    def connections(self, query=""):
        answer = self.get("/connections" + query)
        assert answer.status == 200, answer
        return answer.json()["connections"]

    def is_ready(self):
        try:
            return self.get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False
