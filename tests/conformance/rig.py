# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""What the tests that need a running target share: the target itself, and TAP.

A Daemon is lunportd on a private bus and a free loopback port, with all it owns in one temporary
folder, configured through lunctl alone. Tgt has the same face and starts Debian's tgtd instead: it
proves a rig without us. LUNPORT_TEST_TARGET=tgt chooses it.

The programs are found through LUNPORTD and LUNCTL (Meson sets both) and may be sanitizer builds.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

GIB = 1 << 30
MIB = 1 << 20
SKIP = 77
PATIENCE = 300  # seconds for what takes a moment: a limit is there to end a hang, not to measure
IQN = "iqn.2026-11.org.lunport:test"

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


class Tap:
    """Counts and prints results; the exit status belongs to done()."""

    def __init__(self):
        self.number = 0
        self.failed = 0

    def result(self, passed, name, detail="", directive=""):
        """One line, with the detail as comments when the test failed."""
        self.number += 1
        if not passed and not directive:
            self.failed += 1
        print(f"{'ok' if passed else 'not ok'} {self.number} - {name}{directive}")
        if detail and not passed:
            for line in detail.splitlines()[-40:]:
                print(f"#   {line}")
        sys.stdout.flush()
        return passed

    def skip(self, name, reason):
        """A test that this machine or this target cannot run."""
        self.result(True, name, directive=f" # SKIP {reason}")

    def check(self, name, function, *arguments):
        """Run a function; an exception is the failure."""
        try:
            function(*arguments)
        except Exception as error:  # any failure of a test is a result, not the end of the run
            output = getattr(error, "output", None) or ""
            if isinstance(output, bytes):
                output = output.decode(errors="replace")
            return self.result(False, name, f"{output}\n{type(error).__name__}: {error}")
        return self.result(True, name)

    def done(self):
        """The plan; call it last."""
        print(f"1..{self.number}")
        sys.stdout.flush()
        sys.exit(1 if self.failed else 0)


# What a test starts ends with it, also when the test itself is killed.
WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


def skip_all(reason):
    """Nothing of this file can run here."""
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def need(*programs):
    """Skip the whole file unless the programs are installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_all("not installed: " + " ".join(missing))


def run(*arguments, timeout=PATIENCE, **options):
    """A command whose failure is an exception that carries the output."""
    result = subprocess.run([str(argument) for argument in arguments], timeout=timeout, text=True,
                            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False, **options)
    if result.returncode != 0:
        raise subprocess.CalledProcessError(result.returncode, arguments, result.stdout)
    return result.stdout


def wait_until(condition, what, seconds=PATIENCE):
    """Poll an outside condition that offers nothing to wait on."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def connections_begin():
    """The first port that the kernel may give to a connection."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as text:
        first = int(text.read().split()[0])
    return first if first > 11000 else 32768


_held_ports = []


def free_port():
    """A TCP port of 127.0.0.1 that nothing uses, and that nothing will take.

    It lies below those that the kernel gives to connections; the UDP port of the same number is held until
    this process ends, by which tests that run at the same time keep out of each other's way.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(10000, connections_begin())
        token = socket.socket(type=socket.SOCK_DGRAM)
        try:
            token.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            token.close()
            continue
        _held_ports.append(token)
        return port
    raise OSError("no port of 127.0.0.1 is free")


def answers(port):
    """Whether something listens there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
            return True
    except OSError:
        return False


class Server:
    """The common part of the two targets: a folder, a port, processes."""

    def __init__(self, all_options=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunport-test-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.process = None
        self.options = list(all_options)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if os.environ.get("LUNPORT_TEST_KEEP"):
            print(f"# kept {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, lun=0, iqn=IQN):
        return f"iscsi://127.0.0.1:{self.port}/{iqn}/{lun}"

    def portal(self):
        return f"iscsi://127.0.0.1:{self.port}"

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        try:
            return (self.folder / "log").read_text(errors="replace")
        except OSError:
            return ""

    def _wait(self, seconds=PATIENCE):
        def ready():
            if not self.alive():
                raise RuntimeError("the target ended at once:\n" + self.log()[-4000:])
            return answers(self.port)
        wait_until(ready, "the target to listen", seconds)

    def _end(self, process, seconds=PATIENCE):
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self):
        """As if the power of this process were cut."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Daemon(Server):
    """lunportd, alone on its bus."""

    def __init__(self, all_options=()):
        super().__init__(all_options)
        self.daemon = os.environ.get("LUNPORTD") or skip_all("LUNPORTD names no daemon")
        self.lunctl = os.environ.get("LUNCTL") or skip_all("LUNCTL names no program")
        need("dbus-daemon")
        self.bus = None
        self.address = f"unix:path={self.folder}/bus"
        self.known = set()
        self.prefix = []
        self.socket = None

    def environment(self, log):
        """Of the daemon, whose standard error is @log; None: that of the test."""
        return None

    def hold(self):
        """From the next start on the port is ours, and the daemon inherits it as from a socket unit."""
        self.socket = socket.create_server(("127.0.0.1", self.port))

    def _command(self):
        """The daemon and how it gets its port; LISTEN_PID is only known where it will run."""
        if self.socket is None:
            return [self.daemon, "--listen", f"127.0.0.1:{self.port}"]
        return ["bash", "-c", 'exec 3<&"$0" && LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"',
                str(self.socket.fileno()), self.daemon]

    def start(self):
        if self.bus is None or self.bus.poll() is not None:
            (self.folder / "bus").unlink(missing_ok=True)
            config = self.folder / "bus.conf"
            config.write_text(BUS_CONFIG.format(path=self.folder / "bus"))
            self.bus = subprocess.Popen(
                [*WITH_US, "dbus-daemon", f"--config-file={config}", "--nofork"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until((self.folder / "bus").exists, "the bus")
            for name in ("config", "state", "disks"):
                (self.folder / name).mkdir(exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*WITH_US, *self.prefix, *self._command(), f"--bus={self.address}", "--config-dir",
                 str(self.folder / "config"), "--state-dir", str(self.folder / "state"), *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(log),
                pass_fds=[self.socket.fileno()] if self.socket else [])
        self._wait()
        wait_until(self._on_the_bus, "the name on the bus")

    def _on_the_bus(self):
        if not self.alive():
            raise RuntimeError("the target ended at once:\n" + self.log()[-4000:])
        try:
            self.ctl("status")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self):
        """A clean end; what a sanitizer found on the way out is an error."""
        try:
            self._end(self.process)
            if self.process is not None and self.process.returncode not in (0, -signal.SIGKILL):
                raise RuntimeError(f"lunportd ended with status {self.process.returncode}:\n"
                                   + self.log()[-6000:])
        finally:
            self._end(self.bus)

    def ctl(self, *arguments):
        return run(self.lunctl, f"--bus={self.address}", *arguments)

    def ctl_secrets(self, *arguments, secret=None, mutual=None):
        """lunctl with one secret or two, each on a descriptor of its own."""
        command = [self.lunctl, f"--bus={self.address}", *arguments]
        descriptors = []
        for option, text in (("--secret-fd", secret), ("--mutual-secret-fd", mutual)):
            if text is None:
                continue
            reader, writer = os.pipe()
            os.write(writer, text.encode() + b"\n")
            os.close(writer)
            command.append(f"{option}={reader}")
            descriptors.append(reader)
        try:
            return run(*command, pass_fds=descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def add_disk(self, name="disk", size=GIB, lun=0, kind="file", iqn=IQN, options=(),
                 lun_options=()):
        """A backstore, its target if new, and the LUN, open to everyone."""
        arguments = ["backstore", "create", name, f"--type={kind}", f"--size={size}", *options]
        if kind == "file":
            arguments.append(f"--path={self.folder}/disks/{name}")
        self.ctl(*arguments)
        if iqn not in self.known:
            self.ctl("target", "create", iqn, "--enable")
            self.ctl("target", "set", iqn, f"NopTimeout={2 * PATIENCE}")
            self.ctl("access", "open", iqn)
            self.known.add(iqn)
        self.ctl("lun", "add", iqn, name, f"--lun={lun}", *lun_options)
        return self.url(lun, iqn)


class Tgt(Server):
    """Debian's tgtd with the same face. Its LUN 0 is a controller, so numbers begin at 1."""

    def __init__(self, all_options=()):
        super().__init__(())
        need("tgtd", "tgtadm")
        self.control = str(free_port() % 30000 + 1)
        self.known = {}
        self.commands = []

    def start(self):
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*WITH_US, "tgtd", "-f", "-C", self.control, "--iscsi", f"portal=127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self._wait()
        for command in self.commands:
            run(*command)

    def stop(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def _adm(self, *arguments):
        command = ["tgtadm", "-C", self.control, "--lld", "iscsi", *arguments]
        run(*command)
        self.commands.append(command)

    def url(self, lun=0, iqn=IQN):
        return super().url(lun + 1, iqn)

    def add_disk(self, name="disk", size=GIB, lun=0, kind="file", iqn=IQN, options=(),
                 lun_options=()):
        path = self.folder / name
        with open(path, "wb") as disk:
            disk.truncate(size)
        if iqn not in self.known:
            self.known[iqn] = str(len(self.known) + 1)
            self._adm("--op", "new", "--mode", "target", "--tid", self.known[iqn], "-T", iqn)
            self._adm("--op", "bind", "--mode", "target", "--tid", self.known[iqn], "-I", "ALL")
        tid = ["--tid", self.known[iqn], "--lun", str(lun + 1)]
        self._adm("--op", "new", "--mode", "logicalunit", *tid, "-b", str(path))
        self._adm("--op", "update", "--mode", "logicalunit", *tid, "--params",
                  "thin_provisioning=1")
        return self.url(lun, iqn)


def server(options=()):
    """The target that the environment asks for."""
    if os.environ.get("LUNPORT_TEST_TARGET") == "tgt":
        return Tgt(options)
    return Daemon(options)
