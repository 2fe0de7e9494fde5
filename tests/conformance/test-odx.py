#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Offloaded data transfer as Windows does it, between two sessions and two units.

The sequence is POPULATE TOKEN, RECEIVE ROD TOKEN INFORMATION for the token, WRITE USING TOKEN, RECEIVE
ROD TOKEN INFORMATION until it has ended.

ddpt 0.97 cannot stand in for Windows here. Its do_pop_tok() and do_wut() put the block device range
descriptors one byte too far to the front (from byte 15 and 535, where SBC has them from 16 and 536; the
length that they write afterwards, to the bytes before, hides the first one). For 800h blocks from LBA
1234h the list of POPULATE TOKEN ends with

    00 00 00 00 00 12 34 00  00 08 00 00  00 00 00 00

which is LBA 123400h and 80000h blocks: 256 times both. A target has to do just that, or refuse it.
"""

import shutil
import struct
import subprocess

import initiator
import rig

BLOCK = 512
PIECE = 16 * BLOCK
POPULATE, WRITE, RECEIVE = 0x10, 0x11, 0x07
GOOD = (0,)
ZERO_TOKEN = struct.pack(">IHH", 0xFFFF0001, 0, 0x1F8).ljust(512, b"\0")


class Session(initiator.Initiator):
    """One login to the target of the rig."""

    def __init__(self, port, name):
        super().__init__(port, name=name)
        self.ready(0)
        self.ready(1)

    def outcome(self, *arguments, **options):
        """The status, and the sense key, ASC and ASCQ if there are any."""
        status, _, sense = self.command(*arguments, **options)
        return (status, sense[2] & 15, sense[12], sense[13]) if sense else (status,)

    def good(self, *arguments, **options):
        """The data of a command that has to succeed."""
        status, data, sense = self.command(*arguments, **options)
        assert status == 0, f"status {status:#x} {sense.hex()}"
        return data

    def read(self, lun, lba, n_blocks):
        return self.good(lun, struct.pack(">BBIBHB", 0x28, 0, lba, 0, n_blocks, 0),
                         size=n_blocks * BLOCK)

    def write(self, lun, lba, data):
        for at in range(0, len(data), PIECE):
            piece = data[at:at + PIECE]
            self.good(lun, struct.pack(">BBIBHB", 0x2A, 0, lba + at // BLOCK, 0,
                                       len(piece) // BLOCK, 0), piece)

    def populate(self, lun, list_id, ranges):
        """The token."""
        body = b"".join(struct.pack(">QII", lba, n, 0) for lba, n in ranges)
        body = struct.pack(">HBBIIHH", 14 + len(body), 0, 0, 0, 0, 0, len(body)) + body
        self.good(lun, struct.pack(">BBIIIBB", 0x83, POPULATE, 0, list_id, len(body), 0, 0), body)
        data = self.information(lun, list_id)
        assert data[5] == 1 and data[15] == 0xF1, data.hex()
        assert int.from_bytes(data[16:24], "big") == sum(n for _, n in ranges)
        at = 32 + data[13]
        assert int.from_bytes(data[at:at + 4], "big") == 514
        return data[at + 6:at + 518]

    def write_using(self, lun, list_id, token, ranges, offset=0, flags=0):
        body = b"".join(struct.pack(">QII", lba, n, 0) for lba, n in ranges)
        body = (struct.pack(">HB5xQ", 534 + len(body), flags, offset) + token
                + struct.pack(">6xH", len(body)) + body)
        return self.outcome(lun, struct.pack(">BBIIIBB", 0x83, WRITE, 0, list_id, len(body), 0, 0),
                            body)

    def information(self, lun, list_id):
        return self.good(lun, struct.pack(">BBIIIBB", 0x84, RECEIVE, list_id, 0, 1024, 0, 0),
                         size=1024)


def pattern(n_blocks, seed):
    return b"".join(struct.pack(">II", seed, i) * (BLOCK // 8) for i in range(n_blocks))


def check_page(session):
    """The page as sg_vpd understands it."""
    data = session.good(0, bytes([0x12, 1, 0x8F, 4, 0, 0]), size=1024)
    assert data[4:8] == b"\0\0\0\x20", data.hex()
    if shutil.which("sg_vpd") is None:
        return
    result = subprocess.run(["sg_vpd", "--page=tpc", "--inhex=-"], text=True, check=True,
                            input=data.hex(" "), stdout=subprocess.PIPE)
    for expected in ("Block Device ROD", "Supported commands", "ROD token features",
                     "Supported ROD token and ROD types", "General copy operations"):
        assert expected.lower() in result.stdout.lower(), result.stdout


def copy(a, b):
    """From unit 0 to unit 1, in pieces that differ on either side, in the background."""
    data = pattern(256, 1)
    a.write(0, 100, data)
    token = a.populate(0, 7, [(100, 200), (300, 56)])
    assert b.write_using(1, 8, token, [(1000, 10), (5000, 246)], flags=1) == GOOD
    rig.wait_until(lambda: b.information(1, 8)[5] < 0x10, "the copy in the background")
    status = b.information(1, 8)
    assert status[4] == WRITE and status[5] == 1, status.hex()
    assert int.from_bytes(status[16:24], "big") == 256
    assert a.read(1, 1000, 10) + a.read(1, 5000, 246) == data

    assert b.write_using(1, 8, token, [(9000, 3)], offset=199) == GOOD
    assert b.read(1, 9000, 3) == data[199 * BLOCK:202 * BLOCK]


def change(a, b):
    """A write of the source ends the token."""
    token = a.populate(0, 7, [(0, 1 << 14)])
    assert b.write_using(1, 8, token, [(0, 1 << 14)]) == GOOD
    assert b.read(1, 0, 512) == b.read(0, 0, 512)
    b.write(0, 5000, pattern(1, 9))
    assert a.write_using(1, 8, token, [(0, 16)]) == (2, 5, 0x23, 0x08)
    assert b.write_using(1, 8, token, [(0, 16)]) == (2, 5, 0x23, 0x08)


def zeros(a, b):
    """The token that every copy manager knows."""
    a.write(1, 0, pattern(64, 3))
    assert b.write_using(1, 9, ZERO_TOKEN, [(1, 30), (40, 20)]) == GOOD
    data = pattern(64, 3)
    expected = (data[:BLOCK] + bytes(30 * BLOCK) + data[31 * BLOCK:40 * BLOCK] + bytes(20 * BLOCK)
                + data[60 * BLOCK:])
    assert a.read(1, 0, 64) == expected


def forged(a, b):
    """Not one bit of a token may differ."""
    token = a.populate(0, 7, [(0, 8)])
    for at, code in ((15, 0x04), (511, 0x05), (3, 0x01)):
        bad = bytearray(token)
        bad[at] ^= 0x10
        assert b.write_using(1, 8, bytes(bad), [(0, 8)]) == (2, 5, 0x23, code), at
    assert b.write_using(1, 8, token, [(0, 8)], flags=2) == GOOD
    assert b.write_using(1, 8, token, [(0, 8)]) == (2, 5, 0x23, 0x09)


def lost(target, a):
    """A session that is lost with something in the background ends when that has ended."""
    for cdb in (None, struct.pack(">BBHBB", 0x1B, 1, 0, 0x30, 0)):  # START STOP UNIT, IMMED, standby
        c = Session(target.port, "iqn.2026-11.org.lunport:c")
        target.ctl("backstore", "fault", "destination", "--on=all", "--stall")
        if cdb is None:
            token = a.populate(0, 7, [(0, 1 << 14)])
            assert c.write_using(1, 8, token, [(0, 1 << 14)], flags=1) == GOOD
        else:
            assert c.outcome(1, cdb) == GOOD
        c.close()
        target.ctl("backstore", "fault", "destination", "--clear")
        c = Session(target.port, "iqn.2026-11.org.lunport:c")  # waits for the end of the other
        assert len(c.read(1, 0, 8)) == 8 * BLOCK
        c.close()
    assert target.alive()


def main():
    if rig.os.environ.get("LUNPORT_TEST_TARGET") == "tgt":
        rig.skip_all("tgt has no such commands")
    tap = rig.Tap()
    with rig.Daemon() as target:
        target.add_disk("source", 64 * rig.MIB, lun=0)
        target.add_disk("destination", 64 * rig.MIB, lun=1)
        a = Session(target.port, "iqn.2026-11.org.lunport:a")
        b = Session(target.port, "iqn.2026-11.org.lunport:b")
        tap.check("VPD 8F", check_page, a)
        tap.check("a token of one session copies in another", copy, a, b)
        tap.check("a token ends when its blocks are written", change, a, b)
        tap.check("the zero token writes zeros", zeros, a, b)
        tap.check("forged and deleted tokens are refused", forged, a, b)
        tap.check("a lost session takes along what it has in the background", lost, target, a)
        a.close()
        b.close()
    tap.done()


if __name__ == "__main__":
    main()
