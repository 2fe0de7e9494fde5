# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A journal that takes the entries of one daemon, with all their fields.

The daemon finds it where journald's socket is, in a mount namespace of its own, and by JOURNAL_STREAM
it believes that its standard error leads there. The protocol is journald's native one: lines NAME=VALUE,
or NAME, a length of 64 bits and a value that may have newlines.
"""

import os
import socket
import struct
import threading

import rig

SCRIPT = ("mount -t tmpfs -o mode=755 journal /run && mkdir -p /run/systemd/journal && "
          "ln -s \"$1\" /run/systemd/journal/socket && shift && exec \"$@\"")


def parse(datagram):
    """The fields of an entry."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = struct.unpack_from("<Q", datagram)[0]
            value, datagram = datagram[8:8 + size], datagram[8 + size + 1:]
        fields[name.decode()] = value.decode(errors="replace")
    return fields


class Journal:
    """Takes entries as long as the test lasts."""

    def __init__(self, path):
        self.path = path
        self.entries = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        while True:
            self.entries.append(parse(self.socket.recv(1 << 20)))

    def find(self, **wanted):
        """The entries that have these values."""
        return [entry for entry in self.entries
                if all(entry.get(name) == value for name, value in wanted.items())]


class Daemon(rig.Daemon):
    """A target that logs to a journal of the test."""

    def __init__(self, options=()):
        super().__init__(options)
        self.journal = Journal(self.folder / "journal")
        # The mount hides what else is below /run: the bus of the test is not there
        self.prefix = ["unshare", "--mount", "--propagation=private", "--", "sh", "-ec", SCRIPT, "sh",
                       str(self.journal.path)]

    def environment(self, log):
        """What makes the daemon believe that @log is the journal's stream."""
        status = os.fstat(log.fileno())
        return dict(os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")


def need():
    """Skip the whole file where no mount namespace can be had."""
    rig.need("unshare", "mount")
    try:
        rig.run("unshare", "--mount", "--propagation=private", "--", "mount", "-t", "tmpfs", "none", "/run")
    except rig.subprocess.CalledProcessError as error:
        rig.skip_all(f"no mount namespace: {error.output.strip()[:80]}")
