#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Error recovery end to end: what the option says is what is negotiated, and it works over TCP.

No tool at hand negotiates a level above 0, so the few PDUs are made here. Every mechanism is seen
one by one in tests/iscsi; this is about the service.
"""

import os
import struct

import rig
from login import FULL_FEATURE, OPERATIONAL, Login

BLOCKS = 64
SIZE = BLOCKS * 512
SEGMENT = 8192
COMMAND, TASK_MANAGEMENT, SNACK, NOP_IN, DATA_IN = 0x01, 0x42, 0x10, 0x20, 0x25
TEST_UNIT_READY = bytes(16)
READ, WRITE, SIMPLE, FINAL = 0x40, 0x20, 0x01, 0x80
RESERVED = 0xffffffff


class Session:
    """One connection of a session; another one may go on where it ends."""

    def __init__(self, server, before=None):
        self.login = Login(server.port)
        if before is not None:
            self.login.isid, self.login.tsih = before.login.isid, before.tsih
        keys = {"ErrorRecoveryLevel": 2, "DefaultTime2Wait": 0, "DefaultTime2Retain": 3600, "InitialR2T": "No",
                "MaxBurstLength": 65536, "FirstBurstLength": 65536} if before is None else {}
        status = self.login.ask({**self.login.names(rig.IQN), **keys,
                                 "MaxRecvDataSegmentLength": SEGMENT}, OPERATIONAL, FULL_FEATURE)
        assert status == 0, f"login status {status:04x}"
        self.socket = self.login.socket
        self.level = int(self.login.keys.get("ErrorRecoveryLevel", 0))
        self.tsih = self.login.tsih_given
        self.number = 0 if before is None else before.number
        self.tag = 0x100 if before is None else before.tag + 1000
        self.expected = 0
        self.last = b""

    def exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the target closed the connection"
            data += part
        return data

    def receive(self):
        """(header, data); a NOP-In only tells that the window has moved."""
        while True:
            header = self.exactly(48)
            size = int.from_bytes(header[5:8], "big")
            data = self.exactly(size + -size % 4)[:size]
            if header[0] != NOP_IN:
                return header, data

    def send(self, header, data=b""):
        header[5:8] = len(data).to_bytes(3, "big")
        struct.pack_into(">I", header, 28, self.expected)
        self.socket.sendall(bytes(header) + data)

    def command(self, cdb, flags, length, data=b""):
        """Returns its tag."""
        header = bytearray(48)
        header[0], header[1] = COMMAND, FINAL | SIMPLE | flags
        self.tag += 1
        struct.pack_into(">III", header, 16, self.tag, length, self.number)
        self.number += 1
        header[32:32 + len(cdb)] = cdb
        self.send(header, data)
        return self.tag

    def read(self):
        return self.command(struct.pack(">BBIBHB", 0x28, 0, 0, 0, BLOCKS, 0), READ, SIZE)

    def ready(self):
        """Until the unit attention is gone."""
        for _ in range(4):
            self.command(TEST_UNIT_READY, 0, 0)
            header, _data = self.receive()
            self.expected = struct.unpack_from(">I", header, 24)[0] + 1
            if header[3] == 0:
                return
        raise AssertionError("not ready")

    def take_data(self, first=0):
        """All Data-Ins from DataSN @first on to the status: {DataSN: (offset, data)}."""
        pieces = {}
        while True:
            header, data = self.receive()
            assert header[0] == DATA_IN, f"opcode {header[0]:#x}"
            number, offset = struct.unpack_from(">II", header, 36)
            assert number >= first
            pieces[number] = (offset, data)
            if header[1] & 1:
                self.last = header
                return pieces

    def snack(self, kind, tag, first, count):
        header = bytearray(48)
        header[0], header[1] = SNACK, FINAL | kind
        struct.pack_into(">II", header, 16, tag, RESERVED)
        struct.pack_into(">II", header, 40, first, count)
        self.send(header)

    def reassign(self, tag, data_sn):
        """Returns the response."""
        header = bytearray(48)
        header[0], header[1] = TASK_MANAGEMENT, FINAL | 8
        self.tag += 1
        struct.pack_into(">III", header, 16, self.tag, tag, self.number)
        struct.pack_into(">I", header, 36, data_sn)
        self.send(header)
        return self.receive()[0][2]


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def set_level(server, level):
    server.ctl("target", "set", rig.IQN, f"ErrorRecoveryLevel={level}")


def check_default(server):
    equal(Session(server).level, 0)


def check_negotiated(server):
    for level in (1, 2):
        set_level(server, level)
        equal(Session(server).level, level)


def joined(pieces):
    return b"".join(data for _offset, data in (pieces[number] for number in sorted(pieces)))


def check_snack(server):
    session = Session(server)
    session.ready()
    content = os.urandom(SIZE)
    session.command(struct.pack(">BBIBHB", 0x2a, 0, 0, 0, BLOCKS, 0), WRITE, SIZE, content)
    header, _data = session.receive()
    equal(header[3], 0)
    session.expected += 1
    tag = session.read()
    pieces = session.take_data()
    equal(joined(pieces), content)
    session.snack(0, tag, 1, 1)
    again, data = session.receive()
    equal((struct.unpack_from(">I", again, 36)[0], data), (1, pieces[1][1]))
    session.snack(1, RESERVED, struct.unpack_from(">I", session.last, 24)[0], 1)
    equal(session.receive()[0][36:], session.last[36:])


def check_reassign(server):
    old = Session(server)
    old.ready()
    tag = old.read()
    pieces = old.take_data()
    old.socket.close()
    # Under the same CID: an implicit logout for recovery. The task may be had after Time2Wait.
    new = Session(server, old)
    rig.wait_until(lambda: new.reassign(tag, 2) == 0, "the task to be reassigned")
    rest = new.take_data(2)
    equal(joined(rest), joined({number: pieces[number] for number in pieces if number >= 2}))


def main():
    tap = rig.Tap()
    with rig.Daemon() as server:
        server.add_disk(size=16 << 20)
        # However long this process is kept from running, no connection and no task is given up meanwhile
        server.ctl("target", "set", rig.IQN, "NopInterval=0", "DefaultTime2Retain=3600")
        tap.check("no level above 0 unless it is asked for", check_default, server)
        tap.check("the option is the highest level", check_negotiated, server)
        tap.check("SNACK for data and status", check_snack, server)
        tap.check("a read goes on after its connection", check_reassign, server)
        tap.check("the service is alive", server.ctl, "status")
    tap.done()


if __name__ == "__main__":
    main()
