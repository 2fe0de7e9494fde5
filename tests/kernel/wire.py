# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Ways to a port of the target that are not as they should be.

A Relay can stop to pass anything on. A Wire knows where iSCSI PDUs begin and end (RFC 7143 11) and
turns a bit over in some of them. What it knows of digests it has read in the login's answers, so it is
a witness of what was negotiated too.
"""

import itertools
import random
import socket
import threading

import rig

BHS_SIZE = 48
DIGEST_SIZE = 4
LOGINS = (0x03, 0x23)
DIGEST_KEYS = ("HeaderDigest", "DataDigest")

# What can be damaged: opcode, and whether it is the data or the header
PLACES = {
    "command-data": (0x01, True),
    "command-header": (0x01, False),
    "out-data": (0x05, True),
    "out-header": (0x05, False),
    "in-data": (0x25, True),
    "in-header": (0x25, False),
}


class Relay:
    """Another way to a port, through a process that can stop to pass anything on."""

    def __init__(self, port):
        self.target = port
        self.open = threading.Event()
        self.open.set()
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = self._dial()
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            self.pairs += [near, far]
            for source, sink, change in zip((near, far), (far, near), self._changes()):
                threading.Thread(target=self._pass, args=(source, sink, change), daemon=True).start()

    def _dial(self):
        return socket.create_connection(("127.0.0.1", self.target), timeout=rig.PATIENCE)

    def _changes(self):
        """What happens to the bytes of a new connection, to the target and back."""
        return bytes, bytes

    def _pass(self, source, sink, change):
        try:
            while data := source.recv(1 << 16):
                self.open.wait()
                sink.sendall(change(data))
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def hold(self):
        """Nothing passes, and nobody is told."""
        self.open.clear()

    def release(self):
        """What was held passes now."""
        self.open.set()

    def cut(self):
        """Every connection ends."""
        for end in self.pairs:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.pairs = []


class Stream:
    """One direction of a connection, PDU by PDU; at most a header is held back, or a login."""

    def __init__(self, wire, keys):
        self.wire = wire
        self.keys = keys
        self.pending = bytearray()
        self.rest = 0       # bytes of the PDU that is on its way
        self.damage = None  # where in them

    def feed(self, data):
        """What can be passed on when @data has come."""
        self.pending += data
        out = bytearray()
        while True:
            out += self._take()
            if self.rest != 0 or not self._begin():
                return out

    def _take(self):
        part = self.pending[:self.rest]
        del self.pending[:self.rest]
        self.rest -= len(part)
        if self.damage is not None:
            if self.damage < len(part):
                part[self.damage] ^= 1 << self.wire.random.randrange(8)
                self.damage = None
            else:
                self.damage -= len(part)
        return part

    def _digest(self, name, is_login):
        return DIGEST_SIZE if not is_login and self.keys.get(name) == "CRC32C" else 0

    def _begin(self):
        """Look at a header; False while it is not there."""
        if len(self.pending) < BHS_SIZE:
            return False
        opcode = self.pending[0] & 0x3f
        is_login = opcode in LOGINS
        size = int.from_bytes(self.pending[5:8], "big")
        header = BHS_SIZE + 4 * self.pending[4]
        head = header + self._digest("HeaderDigest", is_login)
        whole = head + size + -size % 4
        if size:
            whole += self._digest("DataDigest", is_login)
        if is_login and len(self.pending) < whole:
            return False
        if opcode == 0x23:
            self._learn(self.pending[head:head + size])
        self.rest = whole
        self.damage = self.wire.choose(opcode, header, head, size)
        return True

    def _learn(self, text):
        for pair in bytes(text).split(b"\0"):
            key, _, value = pair.decode(errors="replace").partition("=")
            if key in DIGEST_KEYS:
                self.keys[key] = value


class Wire(Relay):
    """A relay that turns over a bit now and then.

    Each connection comes from another address of the loopback: the log of the target is limited by
    address, and nothing of what happens here shall be left out.
    """

    def __init__(self, port):
        self.plan = None
        self.seen = self.done = 0
        self.random = None
        self.keys = {}
        self.hosts = itertools.count(2)
        super().__init__(port)

    def _dial(self):
        host = "127.2.{}.{}".format(*divmod(next(self.hosts), 250))
        return socket.create_connection(("127.0.0.1", self.target), timeout=rig.PATIENCE, source_address=(host, 0))

    def _changes(self):
        self.keys = keys = {}
        return Stream(self, keys).feed, Stream(self, keys).feed

    def damage(self, place, every, limit):
        """One of @every PDUs from now on, @limit times at most."""
        self.seen = self.done = 0
        self.random = random.Random(place)  # the same bits each time
        self.plan = PLACES[place] + (every, limit)

    def spare(self):
        """No more damage; how much there was."""
        self.plan = None
        return self.done

    def choose(self, opcode, header, head, size):
        """Where in a PDU a bit is turned over, or None."""
        if self.plan is None:
            return None
        wanted, is_data, every, limit = self.plan
        if opcode != wanted or (is_data and size == 0) or self.done >= limit:
            return None
        self.seen += 1
        if self.seen % every != 0:
            return None
        self.done += 1
        return head + self.random.randrange(size) if is_data else self.random.randrange(header)

    def negotiated(self):
        """The digests of the last login that came this way, as the target answered."""
        return [self.keys.get(name, "None") for name in DIGEST_KEYS]
