# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""An initiator of a hundred lines: a normal session without authentication, one command at a time.

For commands that no tool sends as a test needs them. Data-Out goes as immediate data, so parameter
lists have to fit into one segment.
"""

import socket
import struct

import rig

LOGIN, COMMAND, NOP_OUT, NOP_IN = 0x43, 0x01, 0x40, 0x20
NO_TAG = 0xffffffff
KEYS = {
    "InitiatorName": "iqn.2026-11.org.lunport:rig",
    "SessionType": "Normal",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "FirstBurstLength": "65536",
    "MaxRecvDataSegmentLength": "65536",
    "ErrorRecoveryLevel": "0",
}


# The most that a segment can have and is still whole blocks of a file system
SEGMENT_BLOCKS = 0xfff8


class Initiator:
    """One connection; close() drops it without a logout."""

    def __init__(self, port, target=rig.IQN, timeout=3600, name=KEYS["InitiatorName"]):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.tag = 0
        self.command_number = 1
        self.expected_status = 0
        self._login(target, name)

    def close(self):
        self.socket.close()

    def _send(self, header, data=b""):
        header[5:8] = len(data).to_bytes(3, "big")
        self.socket.sendall(bytes(header) + data + bytes(-len(data) % 4))

    def _receive_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the target closed the connection")
            data += part
        return bytes(data)

    def _receive(self):
        header = self._receive_exactly(48)
        size = int.from_bytes(header[5:8], "big")
        return header, self._receive_exactly(size + -size % 4)[:size]

    def _login(self, target, name):
        keys = dict(KEYS, TargetName=target, InitiatorName=name)
        text = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
        header = bytearray(48)
        header[0] = LOGIN
        header[1] = 0x87  # from operational negotiation to full feature phase
        header[8] = 0x80
        header[13] = 1
        struct.pack_into(">I", header, 24, self.command_number)
        self._send(header, text)
        while True:
            answer, _ = self._receive()
            if answer[0] & 0x3f != 0x23 or answer[36] != 0:
                raise AssertionError(f"login: opcode {answer[0]:#x} status {answer[36:38].hex()}")
            self.expected_status = struct.unpack_from(">I", answer, 24)[0] + 1
            if answer[1] & 0x80:
                return
            self._send(header)

    def _answer_ping(self, ping):
        """It has come while nobody looked, or while the target was at work."""
        header = bytearray(48)
        header[0], header[1] = NOP_OUT, 0x80
        header[8:16] = ping[8:16]
        struct.pack_into(">I", header, 16, NO_TAG)
        header[20:24] = ping[20:24]
        struct.pack_into(">II", header, 24, self.command_number, self.expected_status)
        self._send(header)

    def command(self, lun, cdb, out=b"", size=0):
        """Returns the status, what came in, and the sense data."""
        self.tag += 1
        header = bytearray(48)
        header[0] = COMMAND
        header[1] = 0x81 | (0x20 if out else 0) | (0x40 if size else 0)
        struct.pack_into(">H", header, 8, lun)
        struct.pack_into(">IIII", header, 16, self.tag, len(out) or size, self.command_number,
                         self.expected_status)
        header[32:32 + len(cdb)] = cdb
        self.command_number += 1
        self._send(header, out)
        data = bytearray()
        while True:
            answer, part = self._receive()
            opcode = answer[0] & 0x3f
            if opcode == 0x25:  # Data-In, perhaps with the status
                data += part
                if answer[1] & 0x01:
                    self.expected_status = struct.unpack_from(">I", answer, 24)[0] + 1
                    return answer[3], bytes(data), b""
            elif opcode == 0x21:
                self.expected_status = struct.unpack_from(">I", answer, 24)[0] + 1
                sense = part[2:2 + int.from_bytes(part[:2], "big")] if part else b""
                return answer[3], bytes(data), sense
            elif opcode == NOP_IN and struct.unpack_from(">I", answer, 20)[0] != NO_TAG:
                self._answer_ping(answer)

    def ready(self, lun):
        """Take the unit attentions that wait."""
        for _ in range(10):
            if self.command(lun, bytes(6))[0] == 0:
                return
        raise AssertionError(f"LUN {lun} does not become ready")

    def designator(self, lun):
        """The NAA name of a unit, as a descriptor of VPD 83 has it."""
        status, page, _ = self.command(lun, bytes([0x12, 1, 0x83, 2, 0, 0]), size=512)
        assert status == 0, "INQUIRY"
        at = 4
        while at < len(page):
            if page[at + 1] & 0x3f == 3:
                return page[at:at + 4 + page[at + 3]]
            at += 4 + page[at + 3]
        raise AssertionError("the unit has no NAA designator")


def copy_list(source, destination, n_blocks, identifier=1):
    """The parameter list of EXTENDED COPY(LID1) for the first @n_blocks of a unit."""
    units = b"".join(bytes([0xe4, 0, 0, 0]) + name.ljust(24, b"\0") + bytes(4)
                     for name in (source, destination))
    segments = bytearray()
    for at in range(0, n_blocks, SEGMENT_BLOCKS):
        segments += struct.pack(">BBHHHHHQQ", 0x02, 0, 24, 0, 1, 0,
                                min(SEGMENT_BLOCKS, n_blocks - at), at, at)
    header = bytearray(16)
    header[0] = identifier
    struct.pack_into(">H", header, 2, len(units))
    struct.pack_into(">I", header, 8, len(segments))
    return bytes(header) + units + bytes(segments)
