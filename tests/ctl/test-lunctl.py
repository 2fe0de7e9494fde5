#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""lunctl against the real service on a private bus: every verb, how it succeeds and how it fails.

The checks run in order and share one service; each leaves what it made unless a later one says that
it needs it. What a verb prints with --json is compared with what was asked for. The last check says
which verbs of “lunctl --list-verbs” nothing here has called, so a verb cannot be added without one.

Initiator is as much of an initiator as is needed to have a session: a login on a plain socket.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

import rig  # noqa: E402  pylint: disable=wrong-import-position

OK, FAILED, USAGE, NOT_FOUND, NOT_AUTHORIZED = range(5)
MIB = 1 << 20
IQN = "iqn.2026-11.org.example:ctl"
INITIATOR = "iqn.2026-11.org.example:initiator"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
COMPLETION = DATA / "lunctl.bash"


class Initiator:
    """One session with one connection; it never sends a command."""

    def __init__(self, port, target, name=INITIATOR, isid=1):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=rig.PATIENCE)
        keys = [f"InitiatorName={name}", "SessionType=Normal", f"TargetName={target}"]
        text = "".join(key + "\0" for key in keys).encode()
        # Immediate login request, from operational negotiation to the full feature phase
        header = struct.pack(">BBBBB3s6sHIHHII16x", 0x43, 0x87, 0, 0, 0,
                             len(text).to_bytes(3, "big"), bytes([0x80, 0, 0, 0, 0, isid]), 0,
                             1, 0, 0, 1, 0)
        self.sock.sendall(header + text + bytes(-len(text) % 4))
        reply = self.receive(48)
        self.receive((int.from_bytes(reply[5:8], "big") + 3) & ~3)
        self.tsih = int.from_bytes(reply[14:16], "big")
        self.status = reply[36:38]

    def receive(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise ConnectionError("the target closed the connection")
            data += more
        return data

    def is_closed(self):
        """Waits for what ends the connection; PDUs that come before are thrown away."""
        with contextlib.suppress(ConnectionResetError):
            while self.sock.recv(4096):
                pass
        return True

    def close(self):
        self.sock.close()


class Service(rig.Daemon):
    """The service, with lunctl's three outputs kept apart and the verbs it was asked counted."""

    def __init__(self, verbs):
        super().__init__()
        self.verbs = verbs

    def call(self, *words, prefix=(), bus=None):
        """Exit status, standard output, standard error."""
        self.verbs.add(" ".join(words[:2]))
        self.verbs.add(words[0] if words else "")
        result = subprocess.run([*prefix, self.lunctl, f"--bus={bus or self.address}", *words],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=rig.PATIENCE,
                                stderr=subprocess.PIPE, check=False,
                                env={**os.environ, "LC_ALL": "C.UTF-8"})
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def good(self, *words, **options):
        """It succeeds and has nothing to complain about."""
        status, output, errors = self.call(*words, **options)
        assert (status, errors) == (OK, ""), f"{words}: status {status}: {errors}{output}"
        return output

    def quiet(self, *words):
        """As good(), and like all that only change something it prints nothing."""
        output = self.good(*words)
        assert output == "", f"{words} printed {output!r}"

    def json(self, *words):
        output = self.good("--json=short", *words)
        assert output.count("\n") == 1, f"--json=short is one line: {output!r}"
        self.verbs.add(" ".join(words[:2]))
        self.verbs.add(words[0])
        return json.loads(output)

    def bad(self, status, text, *words, **options):
        """It fails with this status and one line that has this text."""
        got, output, errors = self.call(*words, **options)
        assert got == status, f"{words}: status {got} and not {status}: {errors}{output}"
        assert errors.startswith("lunctl: ") and errors.count("\n") == 1, f"{words}: {errors!r}"
        assert text in errors, f"{words}: “{text}” is not in {errors!r}"
        assert output == "", f"{words} failed and printed {output!r}"

    def names(self, noun):
        return [row["Name"] for row in self.json(noun, "list")]

    def everything(self):
        """All that is configured, for a comparison."""
        state = {noun: self.json(noun, "list") for noun in ("backstore", "target")}
        state["luns"] = {name: self.json("lun", "list", name) for name in self.names("target")}
        state["show"] = {name: self.json("target", "show", name) for name in self.names("target")}
        state["disks"] = {name: self.json("backstore", "show", name)
                          for name in self.names("backstore")}
        state["portals"] = [(row["Address"], row["Port"], row["Tag"], row["Origin"])
                            for row in self.json("portal", "list")]
        return state

    def unchanged(self, *words):
        """With --dry-run it succeeds and does nothing."""
        before = self.everything()
        self.good("--dry-run", *words)
        self.good(*words, "--dry-run")
        self.verbs.add(" ".join(words[:2]))
        assert self.everything() == before, f"{words} changed something"

    def nobody_is_left(self):
        """Who has dropped its connection is logged out when the service has seen that."""
        rig.wait_until(lambda: not self.json("session", "list"), "the end of the sessions")

    def end(self):
        self._end(self.process)
        equal(self.process.returncode, 0)


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def check_usage(service):
    """What is wrong with the words is said without a bus."""
    bus = "unix:path=/nonexistent/bus"
    for text, words in {
            "lunctl --help": [],
            "Unknown command “frobnicate": ["frobnicate"],
            "Unknown command “target explode”": ["target", "explode"],
            "Unknown option “--strange”": ["--strange", "status"],
            "Unknown option “--force”": ["target", "list", "--force"],
            "Usage: lunctl target show IQN": ["target", "show"],
            "Usage: lunctl lun add IQN BACKSTORE": ["lun", "add", "a", "b", "c"],
            "“yes” is not a JSON mode": ["--json=yes", "target", "list"],
            "“--size”: “many” is not a size": ["backstore", "create", "x", "--size=many"],
            "“--size” needs a value": ["backstore", "create", "x", "--size"],
            "“--read-only” takes no value": ["backstore", "create", "x", "--read-only=yes"],
            "“--lun”": ["lun", "add", "a", "b", "--lun=-1"],
            "Word 3 of the command line is not UTF-8": ["target", "show", "\udcff"]}.items():
        service.bad(USAGE, text, *words, bus=bus)
    service.bad(FAILED, "/nonexistent/bus", "status", bus=bus)


def check_help(service):
    output = service.good("--help")
    for noun in ("status", "export", "backstore create", "target set", "stats"):
        assert f"  {noun} " in output, output
    output = service.good("backstore", "create", "--help")
    assert "--block-size=" in output and "backstore list" not in output, output
    equal(service.call("frobnicate", "--help")[0], USAGE)
    assert service.good("--version").startswith("lunctl ")


def check_environment(service):
    """LUNPORT_BUS is --bus=."""
    result = subprocess.run([service.lunctl, "target", "list", "--no-legend"], timeout=rig.PATIENCE,
                            stdout=subprocess.PIPE, check=True,
                            env={**os.environ, "LUNPORT_BUS": service.address})
    equal(result.stdout, b"")


def check_backstore_create(service):
    disk = str(service.folder / "disks" / "one.img")
    service.unchanged("backstore", "create", "one", f"--path={disk}", "--size=64M")
    assert not os.path.exists(disk)
    service.quiet("backstore", "create", "one", f"--path={disk}", "--size=64M", "--serial=S1",
                  "--vendor=ACME", "--product=disk", "--naa=3123456789abcdef")
    equal(os.stat(disk).st_size, 64 * MIB)
    shown = service.json("backstore", "show", "one")
    for key, value in {"Name": "one", "Type": "file", "Path": disk, "Size": 64 * MIB,
                       "BlockSize": 512, "SerialNumber": "S1", "Wwn": "naa.3123456789abcdef",
                       "State": "online", "ReadOnly": False, "Persistent": True,
                       "Luns": []}.items():
        equal(shown[key], value)
    service.quiet("backstore", "create", "full", f"--path={service.folder}/disks/full.img",
                  "--size=4M", "--preallocate", "--cache=writethrough", "--block-size=4096")
    shown = service.json("backstore", "show", "full")
    equal((shown["BlockSize"], shown["Cache"], shown["WriteCache"]), (4096, "writethrough", False))
    assert shown["AllocatedSize"] >= 4 * MIB, shown
    service.quiet("backstore", "create", "memory", "--size=8M", "--runtime")
    shown = service.json("backstore", "show", "memory")
    equal((shown["Type"], shown["Persistent"]), ("ram", False))


def check_backstore_default_place(service):
    """A file without a path lies in the state directory."""
    service.quiet("backstore", "create", "here", "--type=file", "--size=1M")
    path = service.folder / "state" / "disks" / "here.img"
    equal(service.json("backstore", "show", "here")["Path"], str(path))
    equal(path.stat().st_size, MIB)
    service.unchanged("backstore", "delete", "here", "--delete-file")
    service.quiet("backstore", "delete", "here", "--delete-file")
    assert not path.exists()


def check_backstore_offline(service):
    service.unchanged("backstore", "offline", "one")
    service.quiet("backstore", "offline", "one")
    equal(service.json("backstore", "show", "one")["State"], "offline")
    service.quiet("backstore", "online", "one")
    equal(service.json("backstore", "show", "one")["State"], "online")
    service.bad(FAILED, "memory", "backstore", "offline", "memory")
    service.bad(NOT_FOUND, "none", "backstore", "online", "none")


def check_backstore_medium(service):
    image = service.folder / "image.iso"
    image.write_bytes(bytes(4096))
    service.quiet("backstore", "create", "drive", "--device-type=cdrom")
    assert re.search(r"Medium:? +none", service.good("backstore", "show", "drive"))
    service.unchanged("backstore", "load", "drive", str(image))
    service.quiet("backstore", "load", "drive", str(image))
    shown = service.good("backstore", "show", "drive")
    assert re.search(r"Medium:? +loaded", shown) and str(image) in shown, shown
    service.bad(NOT_FOUND, "nowhere", "backstore", "load", "drive", "/nowhere/image.iso")
    service.quiet("backstore", "eject", "drive", "--force")
    assert re.search(r"Medium:? +none", service.good("backstore", "show", "drive"))
    service.bad(NOT_FOUND, "none", "backstore", "eject", "none")
    service.bad(FAILED, "not a removable", "backstore", "eject", "one")
    service.quiet("backstore", "delete", "drive")


def check_backstore_read_only(service):
    service.unchanged("backstore", "read-only", "one")
    service.quiet("backstore", "read-only", "one")
    equal(service.json("backstore", "show", "one")["ReadOnly"], True)
    service.quiet("backstore", "writable", "one")
    equal(service.json("backstore", "show", "one")["ReadOnly"], False)
    service.bad(NOT_FOUND, "none", "backstore", "writable", "none")


def check_backstore_fault(service):
    service.unchanged("backstore", "fault", "one", "--on=read")
    service.quiet("backstore", "fault", "one", "--on=read", "--delay=200ms", "--count=3",
                  "--probability=0.5", "--seed=7", "--offset=1M", "--length=4K")
    service.quiet("backstore", "fault", "one", "--on=write,flush", "--error=ENOSPC")
    equal(service.json("backstore", "show", "one")["Faults"],
          [{"on": "read", "delay": 200000, "count": 3, "probability": 0.5, "seed": 7,
            "offset": MIB, "length": 4096},
           {"on": "write,flush", "error": "ENOSPC"}])
    assert "on=write,flush error=ENOSPC" in service.good("backstore", "show", "one")
    assert "ENOSPC" in service.good("backstore", "fault", "one")
    assert "Problem: Backstore one has faults set" in service.good("status")
    service.bad(FAILED, "error", "backstore", "fault", "one", "--error=EWRONG")
    service.bad(USAGE, "soon", "backstore", "fault", "one", "--delay=soon")
    service.bad(USAGE, "half", "backstore", "fault", "one", "--probability=half")
    service.bad(NOT_FOUND, "none", "backstore", "fault", "none", "--clear")
    service.quiet("backstore", "fault", "one", "--clear", "--on=map", "--stall")
    equal(service.json("backstore", "show", "one")["Faults"], [{"on": "map", "stall": True}])
    service.quiet("backstore", "fault", "one", "--clear")
    equal(service.json("backstore", "show", "one")["Faults"], [])
    assert "faults" not in service.good("status")


def check_limits(service):
    def value(name):
        return {row["Limit"]: row["Value"] for row in service.json("limits")}[name]

    equal(value("max-logins"), 256)
    service.unchanged("limits", "set", "max-logins=77")
    service.quiet("limits", "set", "max-logins=77", "max-bytes=1G")
    equal((value("max-logins"), value("max-bytes")), (77, 1 << 30))
    assert re.search(r"max-logins +77", service.good("limits"))
    service.bad(FAILED, "max-nothing", "limits", "set", "max-nothing=1")
    service.bad(FAILED, "MaxLogins", "limits", "set", "login-timeout=9", "max-logins=0")
    service.bad(USAGE, "max-logins", "limits", "set", "max-logins")
    service.bad(USAGE, "many", "limits", "set", "max-logins=many")
    equal((value("max-logins"), value("login-timeout")), (77, 15))
    service.quiet("limits", "set", "max-logins=256", "max-bytes=0")


def check_isns(service):
    equal(service.json("isns", "show")["IsnsServer"], "")
    service.unchanged("isns", "set", "127.0.0.1:9")
    service.quiet("isns", "set", "127.0.0.1:9")
    equal(service.json("isns", "show")["IsnsServer"], "127.0.0.1:9")
    service.bad(FAILED, "server", "isns", "set", "127.0.0.1:many")
    service.quiet("isns", "set", "off")
    equal(service.json("isns", "show")["IsnsServer"], "")


def check_backstore_resize(service):
    service.unchanged("backstore", "resize", "one", "65M")
    service.quiet("backstore", "resize", "one", "65M")
    equal(service.json("backstore", "show", "one")["Size"], 65 << 20)
    service.bad(FAILED, "shrink", "backstore", "resize", "one", "64M")
    service.bad(USAGE, "many", "backstore", "resize", "one", "many")
    service.bad(NOT_FOUND, "none", "backstore", "resize", "none", "1G")
    service.quiet("backstore", "resize", "--allow-shrink", "one", "64M")
    equal(service.json("backstore", "show", "one")["Size"], 64 << 20)


def check_backstore_list(service):
    rows = {row["Name"]: row for row in service.json("backstore", "list")}
    equal(sorted(rows), ["full", "memory", "one"])
    equal((rows["one"]["Size"], rows["one"]["LunCount"], rows["one"]["State"]),
          (64 * MIB, 0, "online"))
    table = service.good("backstore", "list")
    assert table.splitlines()[0].split()[:3] == ["NAME", "TYPE", "SIZE"], table
    assert "3 backstores listed." in table, table
    equal(len(service.good("--no-legend", "backstore", "list").splitlines()), 3)
    assert "  64.0M" in service.good("backstore", "show", "one").replace(": ", "   ")


def check_backstore_refusals(service):
    service.bad(FAILED, "already", "backstore", "create", "one", "--size=1M")
    service.bad(FAILED, "already", "backstore", "create", "two",
                f"--path={service.folder}/disks/one.img")
    service.bad(FAILED, "not supported", "backstore", "create", "two", "--type=tape", "--size=1M")
    service.bad(FAILED, "block-size", "backstore", "create", "two", "--size=1M", "--block-size=777")
    service.bad(NOT_FOUND, "nothing.img", "backstore", "create", "two",
                f"--path={service.folder}/disks/nothing.img")
    service.bad(NOT_FOUND, "No backstore “two”", "backstore", "show", "two")
    service.bad(NOT_FOUND, "No backstore “two”", "backstore", "delete", "two")
    service.bad(NOT_FOUND, "No backstore “--odd”", "backstore", "show", "--", "--odd")
    equal(service.names("backstore"), ["full", "memory", "one"])


def check_target(service):
    service.unchanged("target", "create", IQN)
    service.quiet("target", "create", IQN, "--alias=A disk")
    shown = service.json("target", "show", IQN)
    for key, value in {"Name": IQN, "Alias": "A disk", "Enabled": False, "State": "disabled",
                       "AccessMode": "closed", "SessionCount": 0}.items():
        equal(shown[key], value)
    service.unchanged("target", "enable", IQN)
    service.quiet("target", "enable", IQN)
    equal(service.json("target", "list"),
          [{"Path": service.json("target", "list")[0]["Path"], "Name": IQN, "Alias": "A disk",
            "Enabled": True, "State": "online", "AccessMode": "closed", "LunCount": 0,
            "SessionCount": 0}])
    service.unchanged("target", "disable", IQN)
    service.quiet("target", "disable", IQN)
    equal(service.json("target", "show", IQN)["State"], "disabled")
    service.quiet("target", "enable", IQN)
    service.quiet("target", "create", IQN + "-b", "--enable", "--runtime")
    service.unchanged("target", "delete", IQN + "-b")
    service.quiet("target", "delete", IQN + "-b")
    equal(service.names("target"), [IQN])


def check_target_refusals(service):
    service.bad(FAILED, "already", "target", "create", IQN)
    service.bad(FAILED, "not a valid name", "target", "create", "a disk")
    text = service.good("target", "show", IQN)
    assert "Portal groups: 1\n" in text and "  ImmediateData=yes\n" in text, text
    for verb in ("show", "enable", "disable", "delete"):
        service.bad(NOT_FOUND, IQN + "-none", "target", verb, IQN + "-none")
    service.bad(NOT_FOUND, IQN + "-none", "target", "set", IQN + "-none", "alias=x")


def check_target_set(service):
    # Initiator does not answer when it is asked whether it is there
    service.quiet("target", "set", IQN, "NopInterval=0")
    service.unchanged("target", "set", IQN, "MaxBurstLength=256K", "alias=Another")
    service.quiet("target", "set", IQN, "MaxBurstLength=256K", "FirstBurstLength=65536",
                  "ImmediateData=no", "HeaderDigest=None,CRC32C", "alias=Another = one")
    shown = service.json("target", "show", IQN)
    equal(shown["Alias"], "Another = one")
    for key, value in {"MaxBurstLength": 262144, "FirstBurstLength": 65536, "ImmediateData": False,
                       "HeaderDigest": "None,CRC32C", "InitialR2T": False}.items():
        equal(shown["Parameters"][key], value)
    before = service.everything()
    service.bad(USAGE, "ImmediateData is yes or no", "target", "set", IQN, "ImmediateData=maybe")
    service.bad(USAGE, "MaxBurstLength is a number", "target", "set", IQN, "MaxBurstLength=big")
    service.bad(USAGE, "“alias” is not KEY=VALUE", "target", "set", IQN, "alias")
    service.bad(FAILED, "Sparkle", "target", "set", IQN, "Sparkle=yes")
    service.bad(FAILED, "MaxBurstLength", "target", "set", IQN, "MaxBurstLength=1")
    equal(service.everything(), before)


def check_lun(service):
    service.unchanged("lun", "add", IQN, "one")
    service.quiet("lun", "add", IQN, "one")
    service.quiet("lun", "add", IQN, "memory", "--lun=7", "--read-only", "--runtime")
    rows = service.json("lun", "list", IQN)
    equal([(row["Number"], row["Backstore"], row["ReadOnly"], row["State"]) for row in rows],
          [(0, "one", False, "online"), (7, "memory", True, "online")])
    assert "2 logical units listed." in service.good("lun", "list", IQN)
    assert f"{IQN} LUN 0" in service.good("backstore", "show", "one")
    service.quiet("lun", "reset", IQN, "0")
    service.unchanged("lun", "reset", IQN, "0")
    service.bad(FAILED, "gone when the service stops", "lun", "add", IQN, "memory")
    service.unchanged("lun", "remove", IQN, "7")
    service.quiet("lun", "remove", IQN, "7")
    equal([row["Number"] for row in service.json("lun", "list", IQN)], [0])


def check_lun_reservations(service):
    target = service.json("target", "list")[0]["Name"]
    number = str(service.json("lun", "list", target)[0]["Number"])
    equal(service.json("lun", "show", target, number)["ReservationType"], "")
    equal(service.json("lun", "registrations", target, number), [])
    service.unchanged("lun", "clear-reservations", target, number)
    service.quiet("lun", "clear-reservations", target, number)
    service.unchanged("lun", "read-only", target, number)
    service.quiet("lun", "read-only", target, number)
    equal(service.json("lun", "show", target, number)["ReadOnly"], True)
    service.quiet("lun", "writable", target, number)
    equal(service.json("lun", "show", target, number)["ReadOnly"], False)
    for verb in "show", "registrations", "clear-reservations", "read-only", "writable":
        service.bad(NOT_FOUND, "99", "lun", verb, target, "99")


def check_lun_refusals(service):
    service.bad(FAILED, "", "lun", "add", IQN, "full", "--lun=0")
    service.bad(FAILED, "", "lun", "add", IQN, "full", "--lun=20000")
    service.bad(FAILED, "", "lun", "add", IQN, "full", "--lun=4294967295")
    service.bad(NOT_FOUND, "No backstore “none”", "lun", "add", IQN, "none")
    service.bad(NOT_FOUND, IQN + "-none", "lun", "add", IQN + "-none", "one")
    service.bad(NOT_FOUND, "no logical unit 9", "lun", "remove", IQN, "9")
    service.bad(NOT_FOUND, "no logical unit 9", "lun", "reset", IQN, "9")
    service.bad(NOT_FOUND, IQN + "-none", "lun", "list", IQN + "-none")
    service.bad(USAGE, "“first” is not a logical unit number", "lun", "remove", IQN, "first")
    service.bad(FAILED, IQN, "backstore", "delete", "one")


def check_access(service):
    closed = Initiator(service.port, IQN)
    closed.close()
    equal(closed.status[0], 2)
    service.unchanged("access", "open", IQN)
    service.quiet("access", "open", IQN)
    equal([(row["Target"], row["AccessMode"]) for row in service.json("access", "list")],
          [(IQN, "open")])
    service.unchanged("access", "close", IQN)
    service.quiet("access", "close", IQN)
    equal(service.json("target", "show", IQN)["AccessMode"], "closed")
    service.quiet("access", "open", IQN)
    for verb in ("open", "close"):
        service.bad(NOT_FOUND, IQN + "-none", "access", verb, IQN + "-none")


def with_secret(service, text, *words, option="--secret-fd", status=OK, output=""):
    """lunctl with a secret on a descriptor, without a terminal that it could ask on."""
    reader, writer = os.pipe()
    os.write(writer, text.encode() + b"\n")
    os.close(writer)
    service.verbs.add(" ".join(words[:2]))
    result = subprocess.run([service.lunctl, f"--bus={service.address}", *words, f"{option}={reader}"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=rig.PATIENCE,
                            stderr=subprocess.STDOUT, check=False, pass_fds=[reader],
                            start_new_session=True)
    os.close(reader)
    found = result.stdout.decode()
    equal((result.returncode, found if output == "" else output in found), (status, "" if output == "" else True))


def rules_of(service, key):
    return [row.get(key) for row in service.json("access", "list", IQN)]


def check_access_rules(service):
    host, other = "iqn.2026-11.org.lunport:host", "iqn.2026-11.org.lunport:other"
    service.quiet("access", "close", IQN)
    service.unchanged("access", "allow", IQN, host)
    service.quiet("access", "allow", IQN, host, "--from=192.0.2.0/24,::1", "--lun-map=3:0:ro",
                  "--portal-group=1", "--read-only")
    service.bad(FAILED, "already", "access", "allow", IQN, host)
    service.bad(USAGE, "is not LUN", "access", "allow", IQN, other, "--lun-map=x")
    service.bad(USAGE, "Name an initiator", "access", "allow", IQN)
    # A variable of a script that is not set must not make a rule for everywhere and everything
    service.bad(USAGE, "is not a network", "access", "allow", IQN, other, "--from=")
    service.bad(USAGE, "is not a network", "access", "deny", IQN, other, "--from=")
    service.bad(USAGE, "is not a target portal group tag", "access", "allow", IQN, other, "--portal-group=")
    service.bad(USAGE, "is not LUN", "access", "allow", IQN, other, "--lun-map=")
    service.bad(USAGE, "is not LUN", "access", "luns", IQN, host, "")
    service.quiet("access", "deny", IQN, other, "--terminate")
    equal(rules_of(service, "Who"), [host, other, "(others)"])
    equal(rules_of(service, "Action"), ["allow", "deny", "deny"])
    equal(rules_of(service, "Luns"), ["3:0:ro read-only", "", ""])
    equal(rules_of(service, "AuthenticationMethod"), ["Target", "", "None"])
    service.quiet("access", "writable", IQN, host)
    service.quiet("access", "luns", IQN, host, "all")
    equal(rules_of(service, "Luns")[0], "all")
    service.quiet("access", "read-only", IQN, host)
    with_secret(service, "the secret of the host", "access", "secret", IQN, host, "--chap-user=host")
    equal(rules_of(service, "ChapUser")[0], "host")
    assert "the secret" not in str(service.everything())
    service.quiet("access", "secret", IQN, host, "--remove")
    service.bad(NOT_FOUND, "no access rule", "access", "remove", IQN, host + "2")
    service.quiet("access", "remove", IQN, host)
    service.quiet("access", "remove", IQN, other)
    equal(rules_of(service, "Who"), ["(others)"])
    service.quiet("access", "open", IQN)


def check_groups(service):
    host = "iqn.2026-11.org.lunport:host"
    service.quiet("group", "create", "nodes")
    service.quiet("group", "add", "nodes", host, "iqn.2026-12.*")
    service.quiet("group", "remove", "nodes", host)
    equal([(row["Name"], row["Initiators"]) for row in service.json("group", "list")],
          [("nodes", ["iqn.2026-12.*"])])
    service.bad(NOT_FOUND, "not in the group", "group", "remove", "nodes", host)
    service.quiet("access", "allow", IQN, "--group=nodes")
    service.bad(FAILED, "access rule", "group", "delete", "nodes")
    service.quiet("access", "remove", IQN, "@nodes")
    service.quiet("group", "delete", "nodes")
    service.bad(NOT_FOUND, "nodes", "group", "delete", "nodes")


def check_authentication(service):
    with_secret(service, "the secret of all of them", "target", "auth", IQN, "chap", "--chap-user=all")
    equal(service.json("target", "show", IQN)["ChapUser"], "all")
    assert "stored unencrypted" in service.good("status")
    service.quiet("target", "auth", IQN, "none")
    service.bad(FAILED, "Kerberos", "target", "auth", IQN, "Kerberos")
    with_secret(service, "the secret of discovery", "discovery", "auth", "chap", "--chap-user=d")
    equal(service.json("discovery", "show")["DiscoveryChapUser"], "d")
    service.quiet("discovery", "auth", "none")
    service.quiet("chap", "algorithms", "SHA-256", "SHA1")
    equal(service.json("discovery", "show")["ChapAlgorithms"], ["SHA-256", "SHA1"])
    service.bad(FAILED, "ROT13", "chap", "algorithms", "ROT13")
    service.bad(FAILED, "more than once", "chap", "algorithms", "SHA1", "SHA1")
    service.quiet("chap", "algorithms", "SHA3-256", "SHA-256", "SHA1", "MD5")


def check_mutual(service):
    """The proof of the target is set and changed without the secret of the initiator."""

    def account():
        return [(row["ChapUser"], row["MutualChapUser"]) for row in service.json("account", "list", IQN)]
    with_secret(service, "the secret of all of them", "target", "auth", IQN, "chap", "--chap-user=all")
    with_secret(service, "the proof of the target", "target", "auth", IQN, "chap", "--mutual-user=t",
                option="--mutual-secret-fd")
    equal(account(), [("all", "t")])
    with_secret(service, "another one of the target", "account", "set", IQN, "all", "--mutual-user=u",
                option="--mutual-secret-fd")
    equal(account(), [("all", "u")])
    # A new account has no secret that could stay
    with_secret(service, "the proof of the target", "account", "set", IQN, "new", "--mutual-user=t",
                option="--mutual-secret-fd", status=USAGE, output="no terminal")
    service.quiet("target", "auth", IQN, "none")


def check_accounts(service):
    """Several for a target, for a rule and for discovery."""
    service.quiet("access", "allow", IQN, INITIATOR)
    with_secret(service, "the secret of one", "account", "set", IQN, "one")
    with_secret(service, "the secret of two", "account", "set", IQN, "two")
    with_secret(service, "the secret of three", "account", "set", IQN, "three", f"--rule={INITIATOR}")
    with_secret(service, "the secret of four", "account", "set", "discovery", "four")
    rows = [(row["Where"], row["Rule"], row["ChapUser"]) for row in service.json("account", "list")]
    equal(rows, [("discovery", "", "four"), (IQN, "", "one"), (IQN, "", "two"), (IQN, INITIATOR, "three")])
    equal([row["ChapUser"] for row in service.json("account", "list", "discovery")], ["four"])
    service.bad(USAGE, "no access rules", "account", "remove", "discovery", "four", "--rule=x")
    service.bad(NOT_FOUND, "“nobody”", "account", "remove", IQN, "nobody")
    service.bad(NOT_FOUND, "x", "account", "remove", IQN, "one", "--rule=x")
    service.unchanged("account", "remove", IQN, "one")
    service.quiet("account", "remove", IQN, "one")
    service.quiet("account", "remove", "discovery", "four")
    equal([row["ChapUser"] for row in service.json("account", "list", IQN)], ["two", "three"])
    service.quiet("target", "auth", IQN, "none")
    service.quiet("discovery", "auth", "none")
    service.quiet("access", "remove", IQN, INITIATOR)


def check_verify(service):
    service.unchanged("backstore", "flush", "full")
    service.quiet("backstore", "flush", "full")
    service.unchanged("backstore", "verify", "full")
    service.quiet("backstore", "verify", "full")
    service.quiet("backstore", "fault", "full", "--on=read", "--offset=8192", "--length=512")
    status, output, errors = service.call("--json=short", "backstore", "verify", "full")
    equal((status, json.loads(output)), (FAILED, [{"Offset": 8192, "Length": 4096}]))
    assert "4096 bytes in 1 places cannot be read" in errors, errors
    service.quiet("backstore", "fault", "full", "--clear")
    shown = service.json("backstore", "verify", "full", "--no-wait")
    equal(shown["Operation"], "Backstore.Verify")
    service.bad(NOT_FOUND, "none", "backstore", "verify", "none")


def check_alua(service):
    service.unchanged("portal", "alua", IQN, "1", "standby", "--preferred")
    service.quiet("portal", "alua", IQN, "1", "standby", "--preferred")
    equal(service.json("target", "show", IQN)["AluaStates"], [[1, "standby", True]])
    service.quiet("portal", "alua", IQN, "1", "active-optimized")
    equal(service.json("target", "show", IQN)["AluaStates"], [[1, "active-optimized", False]])
    service.bad(USAGE, "“first” is not a target portal group tag",
                "portal", "alua", IQN, "first", "standby")
    service.bad(NOT_FOUND, IQN + "-none", "portal", "alua", IQN + "-none", "1", "standby")
    service.bad(FAILED, "asleep", "portal", "alua", IQN, "1", "asleep")


def check_portal(service):
    port = rig.free_port()
    service.unchanged("portal", "add", f"127.0.0.1:{port}")
    service.quiet("portal", "add", f"127.0.0.1:{port}")
    assert rig.answers(port)
    rows = [row for row in service.json("portal", "list") if row["Port"] == port]
    equal([(row["Address"], row["Tag"], row["State"], row["Origin"]) for row in rows],
          [("127.0.0.1", 1, "listening", "configuration")])
    service.bad(FAILED, "", "portal", "add", f"127.0.0.1:{port}")
    service.unchanged("portal", "remove", f"127.0.0.1:{port}")
    service.quiet("portal", "remove", f"127.0.0.1:{port}")
    rig.wait_until(lambda: not rig.answers(port), "the end of the portal")
    service.bad(NOT_FOUND, f"No portal “127.0.0.1:{port}”", "portal", "remove", f"127.0.0.1:{port}")
    service.bad(USAGE, "“here” is not an address", "portal", "add", "here")
    service.bad(USAGE, "its port is 0", "portal", "add", "127.0.0.1:0")
    service.bad(USAGE, "“here” is not an address", "portal", "remove", "here")
    service.bad(USAGE, "--group", "portal", "add", f"127.0.0.1:{port}", "--group=70000")
    service.unchanged("portal", "add", f"127.0.0.1:{port}", "--group=9")
    service.bad(FAILED, "", "portal", "add", f"127.0.0.1:{service.port}", "--group=9")
    service.quiet("portal", "add", f"127.0.0.1:{port}", "--group=9", "--announce=192.0.2.7:4000")
    equal([row["AnnounceAddress"] for row in service.json("portal", "list") if row["Port"] == port],
          ["192.0.2.7:4000"])
    shown = service.json("portal", "show", f"127.0.0.1:{port}")
    equal((shown["Tag"], shown["AnnounceAddress"], shown["State"]), (9, "192.0.2.7:4000", "listening"))
    assert "Announced as: 192.0.2.7:4000\n" in service.good("portal", "show", f"127.0.0.1:{port}")
    service.unchanged("portal", "pause", f"127.0.0.1:{port}")
    service.quiet("portal", "pause", f"127.0.0.1:{port}")
    equal(service.json("portal", "show", f"127.0.0.1:{port}")["State"], "paused")
    service.quiet("portal", "resume", f"127.0.0.1:{port}")
    equal(service.json("portal", "show", f"127.0.0.1:{port}")["State"], "listening")
    for verb in ("show", "pause", "resume"):
        service.bad(NOT_FOUND, "No portal “192.0.2.9”", "portal", verb, "192.0.2.9")
        service.bad(USAGE, "“here” is not an address", "portal", verb, "here")
    equal([row["Tag"] for row in service.json("portal", "list") if row["Port"] == port], [9])
    service.quiet("portal", "remove", f"127.0.0.1:{port}")
    service.bad(FAILED, "command line", "portal", "remove", f"127.0.0.1:{service.port}")


def check_sessions(service):
    one = Initiator(service.port, IQN)
    two = Initiator(service.port, IQN, INITIATOR + "-2", isid=2)
    equal((one.status, two.status), (b"\0\0", b"\0\0"))
    rows = service.json("session", "list")
    equal(sorted((row["Tsih"], row["InitiatorName"], row["Target"]) for row in rows),
          sorted([(one.tsih, INITIATOR, IQN), (two.tsih, INITIATOR + "-2", IQN)]))
    equal([row["Tsih"] for row in service.json("session", "list", f"--initiator={INITIATOR}-2")],
          [two.tsih])
    equal(len(service.json("session", "list", f"--target={IQN}")), 2)
    equal(service.json("session", "list", "--target=iqn.2026-11.org.example:other"), [])

    shown = service.json("session", "show", str(one.tsih))
    for key, value in {"Tsih": one.tsih, "InitiatorName": INITIATOR, "Isid": "800000000001",
                       "RemoteAddress": "127.0.0.1", "ErrorRecoveryLevel": 0}.items():
        equal(shown[key], value)
    text = service.good("session", "show", str(one.tsih))
    assert f"Target: {IQN}\n" in text and "CID 0 from 127.0.0.1" in text, text

    service.bad(NOT_FOUND, "No session", "session", "show", "65535")
    service.bad(NOT_FOUND, "No session", "session", "terminate", "65535")
    service.bad(USAGE, "“first” is not the TSIH", "session", "show", "first")
    service.unchanged("session", "terminate", str(one.tsih))
    equal(len(service.json("session", "list")), 2)
    service.quiet("session", "terminate", str(one.tsih))
    assert one.is_closed()
    equal([row["Tsih"] for row in service.json("session", "list")], [two.tsih])
    one.close()
    two.close()
    service.nobody_is_left()


def check_sessions_in_the_way(service):
    """What would end a session is refused unless it is forced."""
    service.quiet("target", "create", IQN + "-busy", "--enable")
    service.quiet("access", "open", IQN + "-busy")
    service.quiet("lun", "add", IQN + "-busy", "full")
    for words in (["target", "disable", IQN + "-busy", "--abort"],
                  ["lun", "remove", IQN + "-busy", "0", "--force"],
                  ["target", "delete", IQN + "-busy", "--force"]):
        service.quiet("target", "enable", IQN + "-busy")
        initiator = Initiator(service.port, IQN + "-busy")
        equal(initiator.status, b"\0\0")
        service.bad(FAILED, "session", *words[:-1])
        service.unchanged(*words)
        service.quiet(*words)
        assert words[0] == "lun" or initiator.is_closed()
        initiator.close()
        service.nobody_is_left()
    equal(service.names("target"), [IQN])


def check_target_portal_groups(service):
    """Who comes through another portal group does not find the target."""
    def reached():
        initiator = Initiator(service.port, IQN)
        initiator.close()
        return initiator.status

    port = rig.free_port()
    service.quiet("portal", "add", f"127.0.0.1:{port}", "--group=9")
    for words in ("", "0", "70000", "x", "9,", "9,x"):
        service.bad(USAGE, "is not a target portal group tag", "target", "portal-groups", IQN, words)
        service.bad(USAGE, "is not a target portal group tag", "target", "create", IQN + "-new", f"--portal-group={words}")
    service.bad(NOT_FOUND, "portal_groups/77", "target", "portal-groups", IQN, "9,77")
    service.bad(NOT_FOUND, "portal_groups/77", "target", "create", IQN + "-new", "--portal-group=77")
    service.bad(NOT_FOUND, IQN + "-none", "target", "portal-groups", IQN + "-none", "9")
    equal(reached(), b"\0\0")
    service.unchanged("target", "portal-groups", IQN, "9")
    service.quiet("target", "portal-groups", IQN, "9")
    assert "Portal groups: 9\n" in service.good("target", "show", IQN)
    equal(reached(), b"\2\3")
    service.quiet("target", "portal-groups", IQN, "9,1", "--runtime")
    equal(reached(), b"\0\0")
    service.quiet("target", "portal-groups", IQN, "all")
    service.quiet("target", "create", IQN + "-new", "--portal-group=9,1")
    assert "Portal groups: 1, 9\n" in service.good("target", "show", IQN + "-new")
    service.quiet("target", "delete", IQN + "-new")
    service.quiet("portal", "remove", f"127.0.0.1:{port}")
    equal(reached(), b"\0\0")
    service.nobody_is_left()


def check_redirect(service):
    service.unchanged("target", "redirect", IQN, "192.0.2.7")
    service.quiet("target", "redirect", IQN, "192.0.2.7")
    equal(service.json("target", "show", IQN)["Redirect"], ["192.0.2.7", False])
    moved = Initiator(service.port, IQN)
    moved.close()
    equal(moved.status, b"\1\1")
    service.quiet("target", "redirect", IQN, "[2001:db8::7]:3261", "--permanent")
    text = service.good("target", "show", IQN)
    assert "Redirected to: [2001:db8::7]:3261, permanently\n" in text, text
    service.quiet("target", "redirect", IQN, "192.0.2.8", "--portal-group=1")
    equal(service.json("target", "show", IQN)["GroupRedirects"], [[1, "192.0.2.8", False]])
    assert "1: 192.0.2.8\n" in service.good("target", "show", IQN)
    moved = Initiator(service.port, IQN)
    moved.close()
    equal(moved.status, b"\1\1")
    service.bad(NOT_FOUND, "portal", "target", "redirect", IQN, "192.0.2.8", "--portal-group=77")
    service.quiet("target", "redirect", IQN, "--clear", "--portal-group=1")
    equal(service.json("target", "show", IQN)["GroupRedirects"], [])
    service.bad(USAGE, "--clear", "target", "redirect", IQN)
    service.bad(USAGE, "--clear", "target", "redirect", IQN, "192.0.2.7", "--clear")
    service.bad(FAILED, "here", "target", "redirect", IQN, "here")
    service.bad(NOT_FOUND, IQN + "-none", "target", "redirect", IQN + "-none", "192.0.2.7")
    service.quiet("target", "redirect", IQN, "--clear")
    equal(service.json("target", "show", IQN)["Redirect"], ["", False])


def check_jobs(service):
    """Initiator does not answer requests, so it is dropped at the deadline."""
    equal(service.json("job", "list"), [])
    initiator = Initiator(service.port, IQN)
    service.unchanged("session", "logout", str(initiator.tsih))
    service.quiet("session", "logout", str(initiator.tsih), "--timeout=1s")
    assert initiator.is_closed()
    service.nobody_is_left()
    initiator.close()

    initiator = Initiator(service.port, IQN)
    shown = service.json("target", "disable", IQN, "--drain", "--timeout=10min", "--no-wait")
    equal((shown["Operation"], shown["State"]), ("Target.Disable", "running"))
    job = [row for row in service.json("job", "list") if row["State"] == "running"][0]
    number = str(job["Number"])
    equal(job["Operation"], "Target.Disable")
    equal(service.json("job", "show", number)["Progress"], 0.0)
    service.bad(FAILED, f"Job {number}", "target", "disable", IQN, "--drain")
    service.unchanged("job", "cancel", number)
    service.quiet("job", "cancel", number)
    rig.wait_until(lambda: service.json("job", "show", number)["State"] == "canceled", "the end")
    equal(len(service.json("session", "list")), 1)
    service.quiet("target", "disable", IQN, "--drain", "--timeout=500ms")
    assert initiator.is_closed()
    initiator.close()
    service.quiet("target", "enable", IQN)
    service.bad(USAGE, "--drain and --abort", "target", "disable", IQN, "--drain", "--abort")
    service.bad(FAILED, "timeout", "target", "disable", IQN, "--timeout=5s")
    service.bad(USAGE, "“soon” is not a time", "target", "disable", IQN, "--timeout=soon")
    service.bad(NOT_FOUND, "No job 9999", "job", "show", "9999")
    service.bad(NOT_FOUND, "No job 9999", "job", "cancel", "9999")
    service.bad(USAGE, "“first” is not the number of a job", "job", "show", "first")
    service.bad(NOT_FOUND, "No session", "session", "logout", "65535")


def check_interrupt(service):
    """Ctrl-C cancels the job and says how it ended."""
    initiator = Initiator(service.port, IQN)
    with subprocess.Popen([service.lunctl, f"--bus={service.address}", "session", "logout",
                           str(initiator.tsih), "--timeout=10min"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as waiting:
        rig.wait_until(lambda: "running" in [row["State"] for row in service.json("job", "list")],
                       "the job")
        # It may not wait yet: then it dies of the signal, and the job goes on
        waiting.send_signal(signal.SIGINT)
        errors = waiting.communicate(timeout=rig.PATIENCE)[1].decode()
    if waiting.returncode != -signal.SIGINT:
        equal((waiting.returncode, errors), (FAILED, "lunctl: The job was canceled\n"))
        equal(len(service.json("session", "list")), 1)
    initiator.close()
    service.nobody_is_left()


def check_status(service):
    status = service.json("status")
    equal((status["State"], status["TargetCount"], status["Problems"]), ("running", 1, []))
    equal([row["Name"] for row in status["Targets"]], [IQN])
    equal([row["Port"] for row in status["Portals"]], [service.port])
    equal(status["Sessions"], [])
    text = service.good("status")
    assert "Service: running" in text and IQN in text and "Problem" not in text, text
    service.good("--json=pretty", "status")


def check_stats(service):
    initiator = Initiator(service.port, IQN)
    rows = service.json("stats")
    for row in rows:
        equal(sorted(row), ["Counter", "Object", "Path", "Value"])
    counters = {(row["Object"], row["Counter"]): row["Value"] for row in rows}
    equal(len(counters), len(rows))
    equal(counters["service", "sessions"], 1)
    for name in (f"target {IQN}", f"target {IQN} luns 0", "backstore one",
                 f"session {initiator.tsih}", f"portal 127.0.0.1 port {service.port}"):
        assert any(known == name for known, _ in counters), (name, counters)
    assert all(name and counter.replace("-", "").isalnum() for name, counter in counters), counters
    few = service.json("stats", IQN)
    assert 0 < len(few) < len(rows), few
    equal({row["Object"] for row in few}, {f"target {IQN}", f"target {IQN} luns 0"})
    assert "COUNTER" in service.good("stats")
    service.bad(NOT_FOUND, IQN + "-none", "stats", IQN + "-none")
    initiator.close()
    service.nobody_is_left()


def complete(service, *words):
    """What bash offers for the last word."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lunctl; ' \
             'printf "%s\\n" "${COMPREPLY[@]}"'
    path = f"{os.path.dirname(service.lunctl)}:{os.environ['PATH']}"
    result = subprocess.run(["bash", "--norc", "-c", script, "bash", str(COMPLETION), "lunctl", *words],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=rig.PATIENCE,
                            stderr=subprocess.PIPE, check=True,
                            env={**os.environ, "LUNPORT_BUS": service.address, "PATH": path})
    equal(result.stderr, b"")
    return sorted(result.stdout.decode().split())


def check_completion(service):
    initiator = Initiator(service.port, IQN)
    for words, found in {
            ("tar",): ["target"],
            ("--no-pager", "sta"): ["stats", "status"],
            ("target", "d"): ["delete", "disable"],
            ("lun", ""): ["add", "clear-reservations", "list", "read-only", "registrations", "remove", "reset", "show", "writable"],
            ("target", "show", ""): [IQN],
            ("target", "show", "iqn.2"): [IQN],
            ("target", "create", ""): [],
            ("lun", "add", IQN, ""): ["full", "memory", "one"],
            ("backstore", "delete", "o"): ["one"],
            ("backstore", "create", ""): [],
            ("backstore", "create", "x", "--pr"): ["--preallocate", "--product="],
            ("backstore", "create", "x", "--cache=w"): ["--cache=writeback", "--cache=writethrough"],
            ("stats", ""): [IQN],
            ("--json=", ): ["--json=off", "--json=pretty", "--json=short"],
            ("session", "show", ""): [str(initiator.tsih)],
            ("session", "list", "--target="): [f"--target={IQN}"],
            ("portal", "remove", ""): [f"127.0.0.1:{service.port}"]}.items():
        equal((words, complete(service, *words)), (words, found))
    (service.folder / "disks" / "taken.img").touch()
    equal(complete(service, "export", f"{service.folder}/disks/tak"),
          [f"{service.folder}/disks/taken.img"])
    assert "--fix" in complete(service, "export", "x", "--"), complete(service, "export", "x", "--")
    (service.folder / "disks" / "taken.img").unlink()
    initiator.close()
    service.nobody_is_left()


def check_export(service):
    disk = service.folder / "disks" / "My_Disk 1.raw"
    service.unchanged("export", str(disk), "--size=16M")
    assert not disk.exists()
    url = service.good("export", str(disk), "--size=16M").strip()
    equal(disk.stat().st_size, 16 * MIB)
    iqn = url.split("/")[3]
    equal(url, f"iscsi://127.0.0.1:{service.port}/{iqn}/0")
    assert iqn.endswith(".my-disk-1"), iqn
    shown = service.json("target", "show", iqn)
    equal((shown["State"], shown["AccessMode"]), ("online", "open"))
    equal([(row["Number"], row["Backstore"]) for row in service.json("lun", "list", iqn)],
          [(0, "My_Disk-1")])
    if shutil.which("iscsi-inq"):
        assert "LUNPORT" in rig.run("iscsi-inq", url)
    if shutil.which("iscsi-ls"):
        assert iqn in rig.run("iscsi-ls", f"iscsi://127.0.0.1:{service.port}")
    with open(service.folder / "disks" / "there.img", "wb") as file:
        file.truncate(4 * MIB)
    found = service.json("export", str(service.folder / "disks" / "there.img"), "--name=There",
                         f"--target={IQN}-there", "--read-only", "--cache=writeback")
    equal(found, {"Url": f"iscsi://127.0.0.1:{service.port}/{IQN}-there/0",
                  "Target": IQN + "-there", "Backstore": "There"})
    shown = service.json("backstore", "show", "There")
    equal((shown["Size"], shown["ReadOnly"], shown["Cache"]), (4 * MIB, True, "writeback"))


def check_export_by_name(service):
    """A name that is no path: the service has a place for the file."""
    url = service.good("export", "vm7", "--size=2M").strip()
    path = service.folder / "state" / "disks" / "vm7.img"
    equal(path.stat().st_size, 2 * MIB)
    equal(service.json("backstore", "show", "vm7")["Path"], str(path))
    assert url.endswith(".vm7/0"), url


def check_export_undo(service):
    service.nobody_is_left()
    before = service.everything()
    disk = service.folder / "disks" / "new.img"
    service.bad(FAILED, "already", "export", str(disk), "--size=1M", f"--target={IQN}")
    assert not disk.exists(), "the file that was made for it stays"
    service.bad(FAILED, "not a valid name", "export", str(disk), "--size=1M", "--target=disk")
    kept = service.folder / "disks" / "kept.img"
    kept.write_bytes(bytes(MIB))
    service.bad(FAILED, "already", "export", str(kept), f"--target={IQN}")
    equal(kept.stat().st_size, MIB)
    service.bad(NOT_FOUND, "missing.img”; --size=", "export", str(service.folder / "disks" / "missing.img"))
    service.bad(FAILED, "already", "export", str(kept), "--name=one")
    equal(service.everything(), before)


def check_export_permission(service):
    """What the service may not open is mended by commands that are printed, or run with --fix."""
    folder = service.folder / "disks" / "private"
    folder.mkdir(mode=0o700)
    path = folder / "secret.img"
    path.write_bytes(bytes(MIB))
    path.chmod(0)
    status, output, errors = service.call("export", str(path))
    lines = errors.splitlines()
    equal((status, output), (FAILED, ""))
    assert lines[-1].startswith("lunctl: "), errors
    user = "nobody"
    assert f"  setfacl -m u:{user}:rw {path}" in lines, errors
    assert f"  setfacl -m u:{user}:x {folder}" in lines, errors
    assert not any(line.endswith(f" {service.folder}") for line in lines), errors
    errors = service.call("export", str(folder / "new.img"), "--size=1M")[2]
    assert f"  setfacl -m u:{user}:rwx {folder}" in errors.splitlines(), errors
    if shutil.which("setfacl"):
        service.good("export", str(path), "--fix")
    else:
        assert service.call("export", str(path), "--fix")[0] == FAILED


def check_not_authorized(service):
    for words in (["target", "create", IQN + "-mine"], ["backstore", "delete", "full"],
                  ["export", "mine", "--size=1M"], ["access", "close", IQN]):
        service.bad(NOT_AUTHORIZED, "", *words, prefix=NOBODY)
        service.bad(NOT_AUTHORIZED, "", "--no-ask-password", *words, prefix=NOBODY)
    assert IQN in service.good("target", "list", prefix=NOBODY)


def check_restart(service):
    lost = rig.free_port()
    service.quiet("portal", "add", f"127.0.0.1:{rig.free_port()}")
    service.quiet("portal", "add", f"127.0.0.1:{lost}", "--runtime")
    kept = service.everything()
    gone = {"memory"}
    service.end()
    service.bad(FAILED, "The service is not on this bus", "status")
    service.bad(FAILED, "The service is not on this bus", "target", "list")
    service.start()
    rig.wait_until(lambda: all(row["State"] == "online"
                               for row in service.json("backstore", "list")), "the backstores")
    kept["backstore"] = [row for row in kept["backstore"] if row["Name"] not in gone]
    kept["disks"] = {name: disk for name, disk in kept["disks"].items() if name not in gone}
    kept["portals"] = [row for row in kept["portals"] if row[1] != lost]
    for part, found in service.everything().items():
        equal(found, kept[part])


def check_problems(service):
    """status names a disk that is not there."""
    service.end()
    (service.folder / "disks" / "there.img").unlink()
    service.start()
    rig.wait_until(lambda: service.json("status")["Problems"] != [], "the problem")
    assert "Problem: Backstore There is " in service.good("status")
    shown = service.json("backstore", "show", "There")
    assert shown["State"] in ("offline", "failed") and shown["LastError"][1], shown
    assert "Problem: " in service.good("backstore", "show", "There")


def check_delete(service):
    disk = service.folder / "disks" / "one.img"
    for name in service.names("target"):
        service.quiet("target", "delete", name)
    for name in service.names("backstore"):
        service.quiet("backstore", "delete", name)
    equal((service.names("target"), service.names("backstore")), ([], []))
    assert disk.exists(), "deleting a backstore deletes no data"
    equal([path.name for folder in ("backstores", "targets")
           for path in (service.folder / "state" / folder).iterdir()], [])


def check_examples(service):
    """The example configuration is one that the service takes."""
    service.end()
    for path in (DATA / "examples").glob("*.conf"):
        shutil.copy(path, service.folder / "config")
    service.start()
    name = "iqn.2026-11.org.example:vm1"
    equal((service.names("target"), service.names("backstore")), ([name], ["vm1"]))
    equal([row["Backstore"] for row in service.json("lun", "list", name)], ["vm1"])
    equal(sorted(row["Address"] for row in service.json("portal", "list") if row["Tag"] == 2),
          ["127.0.0.2", "::1"])
    service.bad(FAILED, "", "target", "delete", name)
    service.bad(FAILED, "", "lun", "remove", name, "0")
    service.end()
    for path in (service.folder / "config").iterdir():
        path.unlink()
    service.start()


def check_complete(service, verbs):
    """Every verb was called."""
    missing = []
    for line in service.good("--list-verbs").splitlines():
        noun, verb = line.split()[:2]
        words = noun if verb == "-" else f"{noun} {verb}"
        if words not in verbs:
            missing.append(words)
    equal(missing, [])


CHECKS = [check_usage, check_help, check_environment, check_backstore_create,
          check_backstore_default_place, check_backstore_offline, check_backstore_medium, check_backstore_read_only, check_backstore_fault, check_limits,
          check_isns,
          check_backstore_resize, check_backstore_list,
          check_backstore_refusals,
          check_target, check_target_refusals, check_target_set, check_lun, check_lun_reservations, check_lun_refusals,
          check_access, check_access_rules, check_groups, check_authentication, check_mutual, check_accounts, check_alua, check_portal, check_sessions, check_sessions_in_the_way, check_target_portal_groups, check_redirect, check_jobs, check_interrupt, check_status,
          check_stats, check_completion, check_export, check_export_by_name, check_export_undo, check_not_authorized,
          check_restart, check_problems, check_verify, check_delete, check_examples]


def name_of(check):
    return "lunctl: " + check.__name__[len("check_"):].replace("_", " ")


def nobody_can_run(service):
    """Another user exists for these tests only when we may become it and it may run the program."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    return all(subprocess.run([*NOBODY, program, "--version"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0
               for program in (service.lunctl, service.daemon))


class UnprivilegedService(Service):
    """The service as another user, who may not open everything."""

    def start(self):
        real = self.daemon
        wrapper = self.folder / "daemon"
        wrapper.write_text(f"#!/bin/sh\nexec {' '.join(NOBODY)} {real} \"$@\"\n")
        wrapper.chmod(0o755)
        os.chown(self.folder, 65534, 65534)
        self.options = ["--state-dir", str(self.folder / "own")]
        self.daemon = str(wrapper)
        super().start()
        self.daemon = real


def main():
    os.environ["LUNPORTD"], os.environ["LUNCTL"] = map(os.path.abspath, sys.argv[1:3])
    tap = rig.Tap()
    verbs = set()
    with Service(verbs) as service:
        with_nobody = nobody_can_run(service)
        for check in CHECKS:
            if check is check_not_authorized and not with_nobody:
                tap.skip(name_of(check), "there is no other user to be")
            else:
                tap.check(name_of(check), check, service)
        tap.check("lunctl: every verb was called", check_complete, service, verbs)
    if with_nobody:
        with UnprivilegedService(verbs) as service:
            tap.check(name_of(check_export_permission), check_export_permission, service)
    else:
        tap.skip(name_of(check_export_permission), "there is no other user to be")
    tap.done()


if __name__ == "__main__":
    main()
