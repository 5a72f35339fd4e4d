"""An endpoint as a program: answers each line with its name. `hold` makes it stop reading that
connection and keep it open: whatever is sent then is unread when the program is killed.
"""

import socketserver
import sys
import threading


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(self.server.name.encode() + b"\n")
            if line == b"hold\n":
                threading.Event().wait()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


def main():
    host, _, port = sys.argv[1].rpartition(":")
    with Server((host, int(port)), Handler) as server:
        server.name = sys.argv[2]
        server.serve_forever()


if __name__ == "__main__":
    main()
