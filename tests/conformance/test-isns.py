# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Registration with a real iSNS server, and that the service never waits for one.

isnsd runs on a loopback port with a folder of its own; isnsadm lists what it knows. A server that
does not answer is a listening socket that nobody accepts from, one that is away a port where nothing
listens, and one that hangs in connect() a listening socket whose backlog is full.

A second isnsd is given an interval of a few seconds for its inquiries, and writes down what comes of
them.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import rig

SECOND = "iqn.2026-11.org.lunport:second"
TRIALS = 10


class Daemon(rig.Daemon):
    """With what lunctl has no verb for."""

    def busctl(self, verb, *arguments):
        return rig.run("busctl", f"--address={self.address}", verb, "org.lunport1",
                       "/org/lunport1/Manager", "org.lunport1.Manager", *arguments)

    def call(self, *arguments):
        return self.busctl("call", *arguments)

    def features(self):
        return self.busctl("get-property", "Features")


class Isns:
    """isnsd and isnsadm, Debian's open-isns."""

    def __init__(self, options="", debug=()):
        self.folder = tempfile.mkdtemp(prefix="lunport-isns-")
        self.debug = debug
        self.port = rig.free_port()
        self.process = None
        config = f"{self.folder}/isnsd.conf"
        client = f"{self.folder}/isnsadm.conf"
        with open(config, "w", encoding="utf-8") as text:
            text.write(f"HostName = localhost\nSourceName = {rig.IQN}.isns\nBindAddress = 127.0.0.1:{self.port}\n"
                       f"Security = 0\nRegistrationPeriod = 10m\nDefaultDiscoveryDomain = 1\n"
                       f"ControlSocket = {self.folder}/control\nPIDFile = {self.folder}/pid\n{options}")
        with open(client, "w", encoding="utf-8") as text:
            text.write(f"HostName = localhost\nSourceName = {rig.IQN}.adm\nServerAddress = 127.0.0.1:{self.port}\n"
                       f"Security = 0\nControlSocket = {self.folder}/control\n")
        self.config = config
        self.client = client

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                [*rig.WITH_US, shutil.which("isnsd") or "/usr/sbin/isnsd", "--foreground",
                 "--config", self.config, *self.debug],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        rig.wait_until(lambda: rig.answers(self.port), "isnsd to listen")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(f"{self.folder}/log", encoding="utf-8", errors="replace") as log:
            return log.read()

    def admin(self, *arguments):
        return rig.run(shutil.which("isnsadm") or "/usr/sbin/isnsadm", "--config", self.client,
                       "--local", *arguments)

    def list(self, what):
        """Objects of a kind, as isnsadm prints them."""
        return self.admin("--list", what)

    def has(self, name):
        return name in self.list("nodes")

    def wait_list(self, what, condition):
        """Until a list is right; it is told in several messages."""
        rig.wait_until(lambda: condition(self.list(what)), f"the right list of {what}")

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def state(target):
    return re.search(r"State\s*: (\S+)", target.ctl("isns", "show")).group(1)


def wait_state(target, wanted):
    rig.wait_until(lambda: state(target) == wanted, f"the state {wanted}")


def entries(target, text):
    return target.log().count(text)


def prompt(prepare, function, seconds):
    """It does not wait for the server: not each time, that is, since a busy machine may be slow now and then."""
    taken = []
    while len(taken) < TRIALS and (not taken or taken[-1] >= seconds):
        prepare()
        begin = time.monotonic()
        function()
        taken.append(time.monotonic() - begin)
    assert taken[-1] < seconds, "took " + ", ".join(f"{each:.1f} s" for each in taken)


def login(target):
    rig.run("iscsi-inq", target.url())


def test_register(target, isns):
    target.ctl("isns", "set", f"127.0.0.1:{isns.port}")
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN), "the node")
    isns.wait_list("nodes", lambda nodes: "Target" in nodes)
    isns.wait_list("portals", lambda portals: "127.0.0.1" in portals and str(target.port) in portals)
    isns.wait_list("portal-groups", lambda groups: rig.IQN in groups and str(target.port) in groups)
    isns.wait_list("entities", lambda entities: ".lunport" in entities)


def test_more(target, isns):
    target.ctl("target", "create", SECOND, "--enable")
    rig.wait_until(lambda: isns.has(SECOND) and isns.has(rig.IQN), "both nodes")


def test_disable(target, isns):
    target.ctl("target", "disable", SECOND)
    rig.wait_until(lambda: not isns.has(SECOND) and isns.has(rig.IQN), "the end of the second node")
    target.ctl("target", "enable", SECOND)
    rig.wait_until(lambda: isns.has(SECOND), "the second node again")


def test_groups(target, isns):
    """An announced address is registered instead of the other; a node has only the portals of its groups."""
    port = rig.free_port()
    target.ctl("portal", "add", f"127.0.0.1:{port}", "--group=7", "--announce=192.0.2.7:4444")
    isns.wait_list("portals", lambda portals: "192.0.2.7" in portals and "4444" in portals
                   and str(port) not in portals)
    # what initiators are told is no loopback address any more, as there is another one
    isns.wait_list("portals", lambda portals: "127.0.0.1" not in portals)
    # the target of group 1 only is not said to be there by group 7, as a server assumes by itself
    target.call("CreateTarget", "sa{sv}", SECOND + ".one", "2", "portal-groups", "ao", "1",
                "/org/lunport1/portal_groups/1", "enabled", "b", "true")
    rig.wait_until(lambda: isns.has(SECOND + ".one"), "the third node")
    isns.wait_list("portal-groups", lambda groups: SECOND + ".one" not in groups and rig.IQN in groups)
    isns.wait_list("portal-groups", lambda groups: re.search(r"tag = 7\b", groups)
                   and not re.search(r"tag = 1\b", groups))
    target.ctl("target", "delete", SECOND + ".one")
    target.ctl("portal", "remove", f"127.0.0.1:{port}")
    rig.wait_until(lambda: "192.0.2.7" not in isns.list("portals"), "its end")


def test_restart(target, isns):
    registered = entries(target, "are registered with the iSNS server")
    lost = entries(target, "cannot be used, it is tried again")
    isns.kill()
    wait_state(target, "unavailable")
    assert "unavailable" in target.ctl("status"), target.ctl("status")
    isns.start()
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN) and isns.has(SECOND), "both nodes")
    assert entries(target, "cannot be used, it is tried again") == lost + 1, target.log()[-2000:]
    assert entries(target, "are registered with the iSNS server") == registered + 1, target.log()[-2000:]


def test_keeps(target, isns):
    """The setting is kept over a restart of the service, which takes its targets back when it ends.

    For that it has a second, which is not always enough on a busy machine.
    """
    for _ in range(TRIALS):
        wait_state(target, "registered")
        target.stop()
        try:
            rig.wait_until(lambda: not isns.has(rig.IQN), "the end of the node", 10)
            break
        except TimeoutError:
            target.start()
    assert not isns.has(rig.IQN), isns.list("nodes")
    target.start()
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN), "the node")


def called(name):
    """A command before another one, which then runs where the host is called @name."""
    return ["unshare", "--uts", "--", "sh", "-ec", 'hostname "$0" && exec "$@"', name]


def test_renamed(target, isns):
    """What a service that was killed has left under another name of the host is taken back."""
    for name in ("former", "latter"):
        target.kill()
        target.prefix = called(name)
        target.start()
        wait_state(target, "registered")
        rig.wait_until(lambda: isns.has(rig.IQN), "the node")
        entities = re.findall(r'Entity identifier = "(.*)"', isns.list("entities"))
        assert len(entities) == 1 and entities[0].startswith(name + "."), entities
    target.kill()
    target.prefix = []
    target.start()
    wait_state(target, "registered")
    assert "latter" not in isns.list("entities"), isns.list("entities")


GOOD_INQUIRY = "Good ESI response"


def test_inquiries(target, isns):
    """The server asks again and again whether we are there, and is answered."""
    target.ctl("isns", "set", f"127.0.0.1:{isns.port}")
    wait_state(target, "registered")
    isns.wait_list("portals", lambda portals: "ESI interval" in portals and "SCN port" in portals
                   and "ESI port" in portals)
    before = entries(target, "are registered with the iSNS server")
    rig.wait_until(lambda: isns.log().count(GOOD_INQUIRY) >= 4, "four inquiries")
    rig.wait_until(lambda: isns.has(rig.IQN), "the node")
    assert state(target) == "registered"
    # it has looked all the time as if nothing had happened
    assert entries(target, "are registered with the iSNS server") == before, target.log()[-2000:]
    isns.wait_list("entities", lambda entities: entities.count(".lunport") == 1)


def test_removal(target, isns):
    """Somebody removes one of our nodes: the server tells us, and it is there again at once."""
    for name in (SECOND, rig.IQN):
        notified = isns.log().count("acknowledged notification")
        isns.admin("--deregister", f"iscsi-name={name}")
        rig.wait_until(lambda: isns.log().count("acknowledged notification") > notified,
                       "the notification")
        rig.wait_until(lambda: isns.has(SECOND) and isns.has(rig.IQN), "both nodes")


def test_death(target, isns):
    """A service that is killed is forgotten although it could not say so; a living one is not."""
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN), "the node")
    target.kill()
    rig.wait_until(lambda: not isns.has(rig.IQN) and not isns.has(SECOND), "the end of the nodes")
    isns.wait_list("entities", lambda entities: ".lunport" not in entities)
    target.start()
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN) and isns.has(SECOND), "the nodes")


def test_no_inquiries(target, isns):
    """A server without inquiries refuses our port (ESI Not Available); we do without."""
    target.ctl("isns", "set", f"127.0.0.1:{isns.port}")
    wait_state(target, "registered")
    rig.wait_until(lambda: isns.has(rig.IQN), "the node")
    assert "ESI port" not in isns.list("portals"), isns.list("portals")


def test_off(target, isns):
    target.ctl("isns", "set", "off")
    wait_state(target, "off")
    rig.wait_until(lambda: not isns.has(rig.IQN), "the end of the node")


def test_bad_name(target):
    for name in ("a b", "host:99999", "*", "-x", "0.0.0.0"):
        try:
            target.ctl("isns", "set", name)
        except subprocess.CalledProcessError:
            continue
        raise AssertionError(f"{name} was taken")


def test_absent(target):
    target.ctl("isns", "set", f"127.0.0.1:{rig.free_port()}")
    wait_state(target, "unavailable")
    prompt(lambda: None, lambda: login(target), 4)
    prompt(lambda: None, lambda: target.ctl("status"), 4)


class Silent:
    """Takes connections and says nothing; with a full backlog does not even take them."""

    def __init__(self, full):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(0 if full else 8)
        self.port = self.socket.getsockname()[1]
        self.others = []
        for _ in range(4 if full else 0):
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", self.port))
            self.others.append(other)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in [self.socket, *self.others]:
            one.close()


def test_silent(target, full):
    with Silent(full) as silent:
        def again():
            """The thread begins to wait."""
            if not target.alive():
                target.start()
            target.ctl("isns", "set", "off")
            target.ctl("isns", "set", f"127.0.0.1:{silent.port}")

        prompt(again, lambda: login(target), 4)
        for i in range(5):
            target.ctl("target", "create", f"{rig.IQN}.{i}", "--enable")
        prompt(again, lambda: target.ctl("status"), 4)
        for i in range(5):
            target.ctl("target", "delete", f"{rig.IQN}.{i}")
        prompt(again, target.stop, 8)
    target.start()
    target.ctl("isns", "set", "off")


class Forgetful(threading.Thread):
    """A server with a short registration period that knows nobody a moment after it was told."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = []

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.serve(connection)

    def serve(self, connection):
        while True:
            header = connection.recv(12, socket.MSG_WAITALL)
            if len(header) < 12:
                return
            _, function, size, flags, xid, _ = struct.unpack(">6H", header)
            connection.recv(size, socket.MSG_WAITALL)
            self.seen.append((function, bool(flags & 0x1000)))
            # an answer to another question first; then a status, a delimiter, the registration period
            payload = struct.pack(">IIIIII", 0, 0, 0, 6, 4, 15) if function == 1 else struct.pack(">I", 9)
            for number, first in ((xid + 77, True), (xid, False)):
                connection.sendall(struct.pack(">6H", 1, function | 0x8000, len(payload), 0x4c00,
                                               number & 0xffff, 0) + payload)


def test_period(target):
    """Looked after within the period, and registered again when the server does not know it any more."""
    server = Forgetful()
    server.start()
    target.ctl("isns", "set", f"127.0.0.1:{server.port}")
    rig.wait_until(lambda: server.seen.count((1, True)) >= 2, "another registration")
    first = server.seen.index((1, True))
    assert (2, False) in server.seen[first:server.seen.index((1, True), first + 1)], server.seen
    wait_state(target, "registered")
    target.ctl("isns", "set", "off")
    rig.wait_until(lambda: (4, False) in server.seen, "the deregistration")
    server.listener.close()


def test_garbage(target):
    """What is no iSNS server cannot do harm."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(rig.PATIENCE)
        target.ctl("isns", "set", f"127.0.0.1:{listener.getsockname()[1]}")
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", struct.pack(">6H", 1, 0x8001, 0, 0x4c00, 1, 0),
                       struct.pack(">6HIII", 1, 0x8001, 12, 0x4c00, 1, 0, 0, 6, 0xffffffff)):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(answer)
            wait_state(target, "unavailable")
    target.ctl("isns", "set", "off")


def main():
    rig.need("iscsi-inq", "busctl")
    os.environ["PATH"] += ":/usr/sbin"
    rig.need("isnsd", "isnsadm")
    tap = rig.Tap()
    isns = Isns()
    fast = Isns("ESIMinInterval = 1s\nESIMaxInterval = 2s\nESIRetries = 10\n",
                ("--debug", "esi", "--debug", "scn"))
    without = Isns("ESIRetries = 0\n")
    try:
        with Daemon() as target:
            target.add_disk(size=16 * rig.MIB, kind="ram")
            if '"isns"' not in target.features():
                rig.skip_all("built without iSNS")
            isns.start()
            tap.check("register", test_register, target, isns)
            tap.check("a second target", test_more, target, isns)
            tap.check("a target is disabled", test_disable, target, isns)
            tap.check("announced addresses", test_groups, target, isns)
            tap.check("the server restarts", test_restart, target, isns)
            tap.check("the service restarts", test_keeps, target, isns)
            if subprocess.run([*called("probe"), "true"], check=False, capture_output=True).returncode == 0:
                tap.check("the host has another name", test_renamed, target, isns)
            else:
                tap.skip("the host has another name", "no namespace for it")
            fast.start()
            tap.check("inquiries", test_inquiries, target, fast)
            tap.check("somebody removes a node", test_removal, target, fast)
            tap.check("the service is killed", test_death, target, fast)
            without.start()
            tap.check("a server that does not inquire", test_no_inquiries, target, without)
            tap.check("off", test_off, target, without)
            tap.check("names that are none", test_bad_name, target)
            tap.check("the registration period ends", test_period, target)
            tap.check("no iSNS server", test_garbage, target)
            tap.check("no server", test_absent, target)
            tap.check("a server that says nothing", test_silent, target, False)
            tap.check("a server that hangs in connect()", test_silent, target, True)
    finally:
        for one in (isns, fast, without):
            one.end()
    tap.done()


if __name__ == "__main__":
    main()
