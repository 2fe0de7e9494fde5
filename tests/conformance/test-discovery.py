# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""SendTargets end to end: which addresses are told to whom.

All in a network namespace of this test: it asks for one and runs itself again inside, with addresses of
both families on a pair of interfaces of its own. The initiator is a few lines here, because what
libiscsi and open-iscsi show of the answer is what they made of it.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys

import rig

LOCAL = "fe80::1"
PEER = "fe80::2"
GLOBAL = "2001:db8::1"
IPV4 = "192.0.2.1"


class Initiator:
    """Logs in, without digests or authentication, and asks."""

    def __init__(self, address, port, target=None, scope=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        where = (address, port, 0, scope) if family == socket.AF_INET6 else (address, port)
        self.socket = socket.socket(family)
        self.socket.settimeout(rig.PATIENCE)
        self.socket.connect(where)
        keys = ["InitiatorName=iqn.2026-11.org.lunport:discovery", "AuthMethod=None",
                "HeaderDigest=None", "DataDigest=None"]
        keys += [f"TargetName={target}", "SessionType=Normal"] if target else ["SessionType=Discovery"]
        # CSG 1, NSG 3, T
        header, _ = self.exchange(0x43, 0x87, keys, isid=b"\x80\x00\x00\x00\x00\x01")
        assert header[36:38] == b"\0\0", f"login status {header[36:38].hex()}"
        assert header[1] & 0x87 == 0x87, "the login did not end"
        self.stat_sn = struct.unpack(">I", header[24:28])[0] + 1

    def exchange(self, opcode, flags, keys, isid=bytes(6), stat_sn=0):
        text = b"".join(key.encode() + b"\0" for key in keys)
        data = text + bytes(-len(text) % 4)
        if opcode == 0x43:
            middle = isid + bytes(2)
            end = struct.pack(">IIII", 7, 0, 1, stat_sn)
        else:
            middle = bytes(8)
            end = struct.pack(">IIII", 8, 0xffffffff, 1, stat_sn)
        header = bytes([opcode, flags, 0, 0]) + struct.pack(">I", len(text)) + middle + end + bytes(16)
        self.socket.sendall(header + data)
        header = self.receive(48)
        size = struct.unpack(">I", header[4:8])[0]
        return header, self.receive(size + -size % 4)[:size]

    def receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the connection was closed"
            data += piece
        return data

    def send_targets(self, what="All"):
        """The values of TargetAddress by TargetName."""
        header, data = self.exchange(0x04, 0x80, [f"SendTargets={what}"], stat_sn=self.stat_sn)
        assert header[0] & 0x3f == 0x24, f"opcode {header[0]:#x}"
        found = {}
        name = None
        for key in data.split(b"\0"):
            word, _, value = key.decode().partition("=")
            if word == "TargetName":
                name = value
                found[name] = []
            elif word == "TargetAddress":
                found[name].append(value)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ask(address, port, scope=0):
    with Initiator(address, port, scope=scope) as initiator:
        return initiator.send_targets()[rig.IQN]


def expect(found, *wanted):
    assert sorted(found) == sorted(wanted), f"{sorted(found)} is not {sorted(wanted)}"


def test_loopback(target):
    expect(ask("127.0.0.1", target.port), f"127.0.0.1:{target.port},1")


def test_ipv6_loopback(target):
    target.ctl("portal", "add", f"[::1]:{target.port}")
    expect(ask("::1", target.port), f"127.0.0.1:{target.port},1", f"[::1]:{target.port},1")
    target.ctl("portal", "remove", f"[::1]:{target.port}")


def test_wildcard(target):
    """One portal, and whoever asks is told the address that he has come to."""
    port = rig.free_port()
    target.ctl("portal", "add", f"*:{port}", "--group=2")
    scope = socket.if_nametoindex("lunport0")
    first = f"127.0.0.1:{target.port},1"
    expect(ask("::1", port), first, f"[::1]:{port},2")
    expect(ask("127.0.0.1", port), first, f"127.0.0.1:{port},2")
    expect(ask(IPV4, port), first, f"{IPV4}:{port},2")
    expect(ask(GLOBAL, port), first, f"[{GLOBAL}]:{port},2")
    expect(ask(LOCAL, port, scope), first, f"[{LOCAL}]:{port},2")
    target.ctl("portal", "remove", f"*:{port}")


def test_link_local(target):
    """Told without zone, and only on its link."""
    scope = socket.if_nametoindex("lunport0")
    port = rig.free_port()
    target.ctl("portal", "add", f"[{LOCAL}%lunport0]:{port}", "--group=3")
    first = f"127.0.0.1:{target.port},1"
    expect(ask(LOCAL, port, scope), first, f"[{LOCAL}]:{port},3")
    expect(ask("127.0.0.1", target.port), first)
    target.ctl("portal", "remove", f"[{LOCAL}%lunport0]:{port}")


def test_announced(target):
    """Behind address translation: initiators are told what they can reach."""
    ports = [rig.free_port() for _ in range(3)]
    for port, announce in zip(ports, ("203.0.113.5", "203.0.113.6:3261", "[2001:db8:5::1]:3262")):
        target.ctl("portal", "add", f"127.0.0.1:{port}", "--group=4", f"--announce={announce}")
    expect(ask("127.0.0.1", ports[0]), f"127.0.0.1:{target.port},1", f"203.0.113.5:{ports[0]},4",
           "203.0.113.6:3261,4", "[2001:db8:5::1]:3262,4")
    target.stop()
    target.start()
    assert "203.0.113.6:3261,4" in ask("127.0.0.1", target.port), "not kept over a restart"
    for announce in ("*", "0.0.0.0", "fe80::1%lo", "a.b", "192.0.2.1:0"):
        try:
            target.ctl("portal", "add", "127.0.0.1:9", f"--announce={announce}")
        except subprocess.CalledProcessError:
            continue
        raise AssertionError(f"{announce} was taken")
    for port in ports:
        target.ctl("portal", "remove", f"127.0.0.1:{port}")


def test_normal(target):
    """In a normal session its own target is told and no other, and All is refused (RFC 7143 appendix C)."""
    target.ctl("target", "create", rig.IQN + ".other", "--enable")
    target.ctl("access", "open", rig.IQN + ".other")
    for what in ("", rig.IQN):
        with Initiator("127.0.0.1", target.port, target=rig.IQN) as initiator:
            found = initiator.send_targets(what)
        assert found == {rig.IQN: [f"127.0.0.1:{target.port},1"]}, f"{what}: {found}"
    with Initiator("127.0.0.1", target.port, target=rig.IQN) as initiator:
        assert initiator.send_targets(rig.IQN + ".other") == {}
    with Initiator("127.0.0.1", target.port, target=rig.IQN) as initiator:
        _, data = initiator.exchange(0x04, 0x80, ["SendTargets=All"], stat_sn=initiator.stat_sn)
        assert data.rstrip(b"\0") == b"SendTargets=Reject", data
    with Initiator("127.0.0.1", target.port) as initiator:
        assert sorted(initiator.send_targets()) == [rig.IQN, rig.IQN + ".other"]


def make_network():
    for line in ("link set lo up", "link add lunport0 type veth peer name lunport1",
                 f"addr add {IPV4}/24 dev lunport0", f"addr add {GLOBAL}/64 dev lunport0 nodad",
                 f"addr add {LOCAL}/64 dev lunport0 nodad", f"addr add {PEER}/64 dev lunport1 nodad",
                 "link set lunport0 up", "link set lunport1 up"):
        rig.run("ip", *line.split())


def main():
    rig.need("unshare", "ip")
    if "--inside" not in sys.argv:
        command = ["unshare", "--user", "--map-root-user", "--net"] if os.geteuid() != 0 else \
                  ["unshare", "--net"]
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode != 0:
            rig.skip_all("no network namespace can be made here")
        sys.exit(subprocess.run([*command, shutil.which("python3"), __file__, "--inside"],
                                check=False).returncode)
    try:
        make_network()
    except subprocess.CalledProcessError as error:
        rig.skip_all("no interfaces can be made here: " + " ".join(error.output.split()))

    tap = rig.Tap()
    with rig.Daemon() as target:
        target.add_disk(size=16 * rig.MIB, kind="ram")
        tap.check("loopback", test_loopback, target)
        tap.check("IPv6 loopback", test_ipv6_loopback, target)
        tap.check("wildcard", test_wildcard, target)
        tap.check("link-local", test_link_local, target)
        tap.check("announced", test_announced, target)
        tap.check("normal session", test_normal, target)
    tap.done()


if __name__ == "__main__":
    main()
