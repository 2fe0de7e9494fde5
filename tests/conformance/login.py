# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A login step by step, right or wrong, each from an address of its own, with CHAP by hashlib.

Every address of 127.0.0.0/8 is this machine; a log that is limited by address thus treats each login
as that of another peer.
"""

import hashlib
import itertools
import os
import socket
import struct

import rig

REQUEST, RESPONSE = 0x03, 0x23
IMMEDIATE = 0x40
TRANSIT, CONTINUE = 0x80, 0x40
SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3
INITIATOR = "iqn.2026-11.org.lunport:guest"
ALGORITHMS = {5: "md5", 6: "sha1", 7: "sha256", 8: "sha3_256"}

# Where the next login comes from; the first hosts are for whoever else uses the loopback
_hosts = itertools.count(16)


class Closed(Exception):
    """The target has closed the connection without a word."""


def chap_response(algorithm, identifier, secret, challenge):
    """RFC 1994 4.1: the hash of identifier, secret and challenge."""
    digest = hashlib.new(ALGORITHMS[algorithm])
    digest.update(bytes([identifier]) + secret.encode() + challenge)
    return "0x" + digest.hexdigest()


class Login:
    """One connection in the login phase."""

    def __init__(self, port, host=None, timeout=rig.PATIENCE):
        self.host = host or "127.1.{}.{}".format(*divmod(next(_hosts), 250))
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout,
                                               source_address=(self.host, 0))
        self.remote = "{}:{}".format(*self.socket.getsockname())
        self.isid = b"\x80" + os.urandom(5)
        self.tsih = 0
        self.tsih_given = 0  # by the last response
        self.version_min = 0
        self.status = None
        self.flags = 0
        self.data = b""
        self.keys = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def names(self, target, initiator=INITIATOR, **more):
        """What the first request of a normal session says of who is who."""
        keys = {"InitiatorName": initiator, "TargetName": target, "SessionType": "Normal", **more}
        return {key: value for key, value in keys.items() if value is not None}

    def send(self, keys, stage=SECURITY, following=None, opcode=REQUEST, flags=0):
        """A request; @following is the stage to go to, @keys are a dict, pairs or bytes."""
        if not isinstance(keys, bytes):
            pairs = keys.items() if isinstance(keys, dict) else keys
            keys = b"".join(f"{key}={value}\0".encode() for key, value in pairs)
        header = bytearray(48)
        header[0] = opcode | IMMEDIATE
        header[1] = flags | stage << 2 | (0 if following is None else TRANSIT | following)
        header[3] = self.version_min
        header[5:8] = len(keys).to_bytes(3, "big")
        header[8:14] = self.isid
        struct.pack_into(">H", header, 14, self.tsih)
        try:
            self.socket.sendall(bytes(header) + keys + bytes(-len(keys) % 4))
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed
            data += part
        return bytes(data)

    def receive(self):
        """A response; its status is returned, the rest is kept."""
        header = self._exactly(48)
        assert header[0] == RESPONSE, f"opcode {header[0]:#x}"
        size = int.from_bytes(header[5:8], "big")
        self.data = self._exactly(size + -size % 4)[:size]
        self.flags = header[1]
        self.tsih_given = struct.unpack_from(">H", header, 14)[0]
        self.status = struct.unpack_from(">H", header, 36)[0]
        self.keys = dict(pair.decode().partition("=")[::2] for pair in self.data.split(b"\0") if pair)
        return self.status

    def ask(self, keys, stage=SECURITY, following=None, **more):
        """A request and its response."""
        self.send(keys, stage, following, **more)
        return self.receive()

    def challenge(self, names, algorithms="8,7,6,5"):
        """Up to the target's challenge, which CHAP() answers."""
        status = self.ask({**names, "AuthMethod": "CHAP"})
        assert status == 0, f"{status:04x}"
        return self.ask({"CHAP_A": algorithms})

    def chap(self, user, secret, following=OPERATIONAL, **more):
        """Answer the challenge; @more may replace or add keys, None takes one away."""
        response = chap_response(int(self.keys["CHAP_A"]), int(self.keys["CHAP_I"]), secret,
                                 bytes.fromhex(self.keys["CHAP_C"][2:]))
        keys = {"CHAP_N": user, "CHAP_R": response, **more}
        return self.ask({key: value for key, value in keys.items() if value is not None},
                        following=following)
