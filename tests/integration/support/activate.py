"""Becomes a program that is given sockets, as systemd gives them: sd_listen_fds(3).

  activate.py [--names a:b] [--pid N] FD,FD... PROGRAM ARGUMENT...
"""

import argparse
import fcntl
import os

FIRST = 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--names")
    parser.add_argument("--pid", type=int, default=os.getpid())
    parser.add_argument("descriptors", type=lambda text: [int(each) for each in text.split(",")])
    parser.add_argument("program", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    least = FIRST + len(given.descriptors)
    for each in given.descriptors:
        os.set_inheritable(each, False)
    for place, copy in enumerate([fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, least)
                                  for each in given.descriptors]):
        os.dup2(copy, FIRST + place)
    os.environ["LISTEN_PID"] = str(given.pid)
    os.environ["LISTEN_FDS"] = str(len(given.descriptors))
    if given.names is not None:
        os.environ["LISTEN_FDNAMES"] = given.names
    os.execvp(given.program[0], given.program)


if __name__ == "__main__":
    main()
