#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Copies between units of two targets, by whom the access rules of the other target let in.

An initiator has a session with one target only. EXTENDED COPY from a unit there to one of the other
target, and a token of the other target's unit used here, have to work as long as the initiator could
log in to the other target, and have to end when it could not any more.
"""

import json
import struct
import threading

import initiator
import rig

OTHER = rig.IQN + "-other"
A = "iqn.2026-11.org.lunport:a"
BLOCK = 512
N_BLOCKS = 2048
PIECE = 16 * BLOCK
GOOD = (0,)
UNREACHABLE = (2, 0x0A, 0x08, 0x04)
DEVICE_FAILURE = (2, 0x0A, 0x0D, 0x01)
VANISHED = (2, 0x0A, 0x0D, 0x02)
UNKNOWN_TOKEN = (2, 0x05, 0x23, 0x04)


def outcome(session, cdb, out):
    """The status, and the sense key, ASC and ASCQ if there are any."""
    status, _, sense = session.command(0, cdb, out=out)
    return (status, sense[2] & 15, sense[12], sense[13]) if sense else (status,)


def good(session, cdb, **options):
    status, data, sense = session.command(0, cdb, **options)
    assert status == 0, f"status {status:#x} {sense.hex()}"
    return data


def write(session, seed):
    """The first blocks of its unit; returns what they have now."""
    data = b"".join(struct.pack(">II", seed, i) * (BLOCK // 8) for i in range(N_BLOCKS))
    for at in range(0, len(data), PIECE):
        good(session, struct.pack(">BBIBHB", 0x2A, 0, at // BLOCK, 0, PIECE // BLOCK, 0),
             out=data[at:at + PIECE])
    return data


def read(session):
    return good(session, struct.pack(">BBIBHB", 0x28, 0, 0, 0, N_BLOCKS, 0), size=N_BLOCKS * BLOCK)


class Scene:
    """A session with either target; who is asked to copy has the first one only."""

    def __init__(self, target):
        self.target = target
        self.here = initiator.Initiator(target.port, name=A)
        self.there = initiator.Initiator(target.port, target=OTHER, name="iqn.2026-11.org.lunport:b")
        self.here.ready(0)
        self.there.ready(0)
        self.seed = 0

    def close(self):
        self.here.close()
        self.there.close()

    def is_busy(self):
        """Whether a command is on its way."""
        rows = json.loads(self.target.ctl("stats", "--json=short"))
        return any(row["Counter"] == "active" and row["Value"] > 0 for row in rows)

    def copy(self):
        """From here to there; the outcome, and whether the data has come."""
        self.seed += 1
        data = write(self.here, self.seed)
        names = [session.designator(0) for session in (self.here, self.there)]
        parameters = initiator.copy_list(*names, N_BLOCKS)
        result = outcome(self.here, struct.pack(">BB8xIxx", 0x83, 0, len(parameters)), parameters)
        return result, read(self.there) == data

    def populate(self):
        """A token of the unit there."""
        body = struct.pack(">HB11xH", 14 + 16, 0, 16) + struct.pack(">QII", 0, N_BLOCKS, 0)
        good(self.there, struct.pack(">BBIIIBB", 0x83, 0x10, 0, 1, len(body), 0, 0), out=body)
        data = good(self.there, struct.pack(">BBIIIBB", 0x84, 0x07, 1, 0, 1024, 0, 0), size=1024)
        at = 32 + data[13]
        return data[at + 6:at + 518]

    def use(self, token):
        """The token, for the unit here."""
        body = (struct.pack(">HB5xQ", 534 + 16, 0, 0) + token + struct.pack(">6xH", 16)
                + struct.pack(">QII", 0, N_BLOCKS, 0))
        return outcome(self.here, struct.pack(">BBIIIBB", 0x83, 0x11, 0, 2, len(body), 0, 0), body)


def copies(scene):
    assert scene.copy() == (GOOD, True)


def tokens(scene):
    data = write(scene.there, 1000)
    token = scene.populate()
    assert scene.use(token) == GOOD
    assert read(scene.here) == data
    scene.target.ctl("access", "close", OTHER)
    assert scene.use(token) == UNKNOWN_TOKEN
    scene.target.ctl("access", "open", OTHER)
    assert scene.use(token) == GOOD


def rules(scene):
    ctl = scene.target.ctl
    ctl("access", "close", OTHER)
    assert scene.copy() == (UNREACHABLE, False)
    ctl("access", "allow", OTHER, A)
    assert scene.copy() == (GOOD, True)
    ctl("access", "read-only", OTHER, A)
    assert scene.copy() == (DEVICE_FAILURE, False)
    ctl("access", "writable", OTHER, A)
    assert scene.copy() == (GOOD, True)
    ctl("access", "remove", OTHER, A)
    assert scene.copy() == (UNREACHABLE, False)
    ctl("access", "open", OTHER)


def proof(scene):
    """An account there that the initiator has not shown here."""
    scene.target.ctl_secrets("target", "auth", OTHER, "chap", "--chap-user=anne",
                             secret="correct horse battery")
    assert scene.copy() == (UNREACHABLE, False)
    scene.target.ctl("target", "auth", OTHER, "none")
    assert scene.copy() == (GOOD, True)


def ends(scene):
    """The other target is closed while a copy waits for a disk that does not answer."""
    ctl = scene.target.ctl
    found = []
    ctl("backstore", "fault", "source", "--on=read,copy", "--stall")
    before = read(scene.there)
    names = [session.designator(0) for session in (scene.here, scene.there)]
    parameters = initiator.copy_list(*names, N_BLOCKS)
    copier = threading.Thread(target=lambda: found.append(
        outcome(scene.here, struct.pack(">BB8xIxx", 0x83, 0, len(parameters)), parameters)))
    copier.start()
    rig.wait_until(scene.is_busy, "the copy to begin")
    ctl("access", "close", OTHER)
    ctl("backstore", "fault", "source", "--clear")
    copier.join(rig.PATIENCE)
    assert found == [VANISHED], found
    ctl("access", "open", OTHER)
    assert read(scene.there) == before
    assert scene.copy() == (GOOD, True)


def main():
    if rig.os.environ.get("LUNPORT_TEST_TARGET") == "tgt":
        rig.skip_all("tgt has no such commands")
    tap = rig.Tap()
    with rig.Daemon() as target:
        target.add_disk("source", 64 * rig.MIB)
        target.add_disk("destination", 64 * rig.MIB, iqn=OTHER)
        scene = Scene(target)
        tap.check("a copy to a unit of another target", copies, scene)
        tap.check("a token of another target's unit", tokens, scene)
        tap.check("the other target's access rules hold", rules, scene)
        tap.check("so does what it asks for as proof", proof, scene)
        tap.check("a copy ends with the access", ends, scene)
        scene.close()
    tap.done()


if __name__ == "__main__":
    main()
