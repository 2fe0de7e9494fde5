# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Each limit that a peer can run into: what it meets, and what the administrator sees of it.

A limit is set to a small value, where need be when a connection that counts is there already, reached
twice from one address, and then has to be in “lunctl limits” and “lunctl status”, and in the journal
once, as one address gets one entry a minute. The test takes nothing for granted about time: a limit of
time is waited for until the connection is closed, and whether there is one entry is only asked within
the minute.

In a network namespace of its own, where there can be one, it also has addresses of IPv6.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import rig
from login import CONTINUE, FULL_FEATURE, OPERATIONAL, SECURITY, Closed, Login

DEFAULTS = ("max-connections=8192", "max-logins=256", "max-logins-per-address=64", "max-sessions=4096",
            "max-sessions-per-target=0", "silence-timeout=60", "login-timeout=600", "pdu-timeout=600",
            "max-text-size=16384", "max-ahs-size=1020")
NETWORK = "2001:db8:0:1::"
OTHER_NETWORK = "2001:db8:0:2::"


def is_closed(connection):
    """Waits until it is, or until there is something to be read."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def full_login(login):
    return login.ask(login.names(rig.IQN), OPERATIONAL, FULL_FEATURE)


def held_login(port, host):
    """One that is in the login phase for certain: it was answered."""
    login = Login(port, host)
    assert login.ask({**login.names(rig.IQN), "AuthMethod": "None"}, SECURITY) == 0
    return login


def beside_a_login(port, host, set_limit):
    with held_login(port, host):
        set_limit()
        for _ in range(2):
            with Login(port, host) as more:
                assert is_closed(more.socket)


def beside_a_session(port, host, set_limit):
    with Login(port, host) as first:
        assert full_login(first) == 0
        set_limit()
        for _ in range(2):
            with Login(port, host) as more:
                assert is_closed(more.socket)


def one_session_more(port, host, set_limit):
    with Login(port, host) as first:
        assert full_login(first) == 0
        set_limit()
        for _ in range(2):
            with Login(port, host) as more:
                status = full_login(more)
                assert status == 0x0302, f"{status:04x}"
                assert is_closed(more.socket)


def silent(port, host, set_limit):
    set_limit()
    for _ in range(2):
        with Login(port, host) as login:
            assert is_closed(login.socket)


def slow(port, host, set_limit):
    """It may be closed before or after the answer."""
    set_limit()
    for _ in range(2):
        with Login(port, host) as login:
            try:
                login.ask({**login.names(rig.IQN), "AuthMethod": "None"}, SECURITY)
                assert is_closed(login.socket)
            except (Closed, ConnectionError):
                pass


def unfinished(port, host, set_limit):
    """A PDU that never ends; pings that come meanwhile are read and not answered."""
    set_limit()
    for _ in range(2):
        with Login(port, host) as login:
            assert full_login(login) == 0
            login.socket.sendall(b"\x40\x80")
            try:
                while login.socket.recv(4096):
                    pass
            except ConnectionResetError:
                pass


def long_text(port, host, set_limit):
    set_limit()
    for _ in range(2):
        with Login(port, host) as login:
            more = {f"X-{i}": "y" * 200 for i in range(35)}
            status = login.ask(login.names(rig.IQN, **more), OPERATIONAL, flags=CONTINUE)
            status = status or login.ask({f"Y-{i}": "y" * 200 for i in range(20)}, OPERATIONAL, FULL_FEATURE)
            assert status == 0x0200, f"{status:04x}"


def long_header(port, host, set_limit):
    """TEST UNIT READY with an additional header segment: a Reject, then the connection is closed."""
    set_limit()
    for _ in range(2):
        with Login(port, host) as login:
            assert full_login(login) == 0
            command = bytearray(48)
            command[0:2] = b"\x01\x81"
            command[4] = 1
            login.socket.sendall(bytes(command) + b"\0\1\2\0")
            header = login.socket.recv(48, socket.MSG_WAITALL)
            assert header[0] == 0x3f, f"{header[0]:#x}"


CASES = [
    ("max-connections", ["max-connections=1"], beside_a_session),
    ("max-logins", ["max-logins=1"], beside_a_login),
    ("max-logins-per-address", ["max-logins-per-address=1"], beside_a_login),
    ("max-sessions", ["max-sessions=1"], one_session_more),
    ("max-sessions-per-target", ["max-sessions-per-target=1"], one_session_more),
    ("silence-timeout", ["silence-timeout=1"], silent),
    ("login-timeout", ["login-timeout=1"], slow),
    ("pdu-timeout", ["pdu-timeout=1"], unfinished),
    ("max-text-size", ["max-text-size=8192"], long_text),
    ("max-ahs-size", ["max-ahs-size=0"], long_header),
]


def hits_of(target, name):
    """How often, and the last one by whom."""
    row = [row for row in json.loads(target.ctl("limits", "--json=short")) if row["Limit"] == name][0]
    return row.get("Hits", 0), row.get("Peer", "")


def check_limit(target, number, name, settings, play):
    host = f"127.2.{number}.1"
    begin = time.monotonic()
    try:
        play(target.port, host, lambda: target.ctl("limits", "set", *settings))
    finally:
        target.ctl("limits", "set", *DEFAULTS)
    rig.wait_until(lambda: hits_of(target, name)[0] >= 2, f"{name} to be counted")
    hits, peer = hits_of(target, name)
    assert hits == 2, hits
    assert peer.startswith(host + ":"), peer
    status = target.ctl("status")
    assert f"Limit {name} was reached 2 times" in status, status
    entries = [line for line in target.log().splitlines() if f"{host}:" in line and "has reached the limit" in line]
    assert entries and f"has reached the limit {name}: " in entries[0], target.log()[-2000:]
    if time.monotonic() - begin < 60:
        assert len(entries) == 1, entries


def check_good(target):
    """None of it is in the way of who keeps to the limits."""
    with Login(target.port) as login:
        assert full_login(login) == 0


def connect_from(host, port):
    return socket.create_connection((NETWORK + "1", port), timeout=rig.PATIENCE, source_address=(host, 0))


def check_network(target):
    """All addresses of an IPv6 network of 64 bits are one peer."""
    port = rig.free_port()
    target.ctl("portal", "add", f"[{NETWORK}1]:{port}")
    target.ctl("limits", "set", "max-logins-per-address=1")
    try:
        with connect_from(NETWORK + "a", port), connect_from(NETWORK + "b", port) as second, \
                connect_from(OTHER_NETWORK + "a", port) as third:
            assert is_closed(second)
            # a NOP-Out is no login: that it is closed for that, and not before, shows that it was let in
            before = hits_of(target, "max-logins-per-address")[0]
            third.sendall(bytes([0x40, 0x80]) + bytes(46))
            assert is_closed(third)
        assert hits_of(target, "max-logins-per-address")[0] == before
        assert hits_of(target, "max-logins-per-address")[1].startswith(f"[{NETWORK}b]:")
    finally:
        target.ctl("limits", "set", *DEFAULTS)
    target.ctl("portal", "remove", f"[{NETWORK}1]:{port}")


def make_network():
    rig.run("ip", "link", "set", "lo", "up")
    for address in (NETWORK + "1", NETWORK + "a", NETWORK + "b", OTHER_NETWORK + "a"):
        rig.run("ip", "addr", "add", f"{address}/128", "dev", "lo", "nodad")


def enter_namespace():
    """Run again in a namespace, if there can be one; returns whether this is it and has a network."""
    if "--inside" in sys.argv:
        try:
            make_network()
        except subprocess.CalledProcessError:
            return False
        return True
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    command = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net"]
    probe = [*command, "ip", "link", "set", "lo", "up"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        return False
    os.execvp(command[0], [*command, shutil.which("python3"), __file__, "--inside"])
    return False


def main():
    has_network = enter_namespace()
    tap = rig.Tap()
    with rig.Daemon() as target:
        target.add_disk(size=rig.MIB, kind="ram")
        target.ctl("target", "set", rig.IQN, "NopInterval=2", "NopTimeout=120")
        target.ctl("limits", "set", *DEFAULTS)
        for number, (name, settings, play) in enumerate(CASES):
            tap.check(name, check_limit, target, number, name, settings, play)
        if has_network:
            tap.check("IPv6 networks", check_network, target)
        else:
            tap.skip("IPv6 networks", "no network namespace")
        tap.check("who keeps to the limits", check_good, target)
    tap.done()


if __name__ == "__main__":
    main()
