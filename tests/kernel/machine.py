# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A target that is a machine: the units under a booted systemd, not a daemon that a test started.

It has the face of rig.Server as far as run.py needs it. The machine is the container of
tests/system. Its network is a namespace that a process of ours holds, so it is there while the
machine is switched off, and in which qemu runs, too: the guest's 10.0.2.2 is the machine's
loopback, and port 3260 of it is nobody else's. So the units run as they are.

The machine's disks are described in /etc/lunport, and its journal outlives it.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import container  # noqa: E402

import rig  # noqa: E402 (container knows where)

UNIT = "lunportd.service"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "cat"}
BACKSTORE = """[Backstore]
Name={name}
Type=file
Path=/srv/disks/{name}
Uuid={uuid}
"""
TARGET = f"""[Target]
Name={rig.IQN}
Enabled=yes
AccessMode=open
"""
LUN = """
[Lun {lun}]
Backstore={name}
"""


def need(prefix):
    """Skip the whole file where there can be no machine."""
    container.need(prefix)
    rig.need("unshare", "nsenter", "ip")


def first_process(ancestor):
    """The descendant of a process that is number 1 in a namespace of its own; None: not yet."""
    parents, first = {}, []
    for path in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended
        pid, numbers = int(path.parent.name), fields["NSpid"].split()
        parents[pid] = int(fields["PPid"])
        if len(numbers) > 1 and numbers[-1] == "1":
            first.append(pid)
    for pid in first:
        parent = parents[pid]
        while parent in parents and parent != ancestor:
            parent = parents[parent]
        if parent == ancestor:
            return pid
    return None


class Machine:
    """One that is off at first; with it begins and ends all that belongs to it."""

    port = 3260

    def __init__(self, build):
        self.build = build
        self.stack = contextlib.ExitStack()
        self.options = []
        self.luns = {}
        self.process = None
        self.leader = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            # What the guest shares with us is no part of the machine.
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunport-test-"))
            stack.callback(self._forget)
            self.root = stack.enter_context(container.overlay())
            container.install(self.build, self.root)
            (self.root / "var/log/journal").mkdir(parents=True)
            (self.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
            (self.root / "etc/lunport").mkdir(exist_ok=True)
            (self.root / "srv/disks").mkdir(parents=True)
            self._own_network(stack)
            stack.callback(self._unplug)
            stack.callback(self._keep_journal)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _own_network(self, stack):
        """A process that does nothing but have one; when it says so, it has."""
        holder = stack.enter_context(subprocess.Popen(
            [*rig.WITH_US, "unshare", "--net", "sh", "-c",
             "ip link set lo up && echo ready && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))
        stack.callback(holder.kill)
        if holder.stdout.readline() != "ready\n":
            raise RuntimeError("no network namespace can be made")
        self.network = f"/proc/{holder.pid}/ns/net"
        self.within = ["nsenter", f"--net={self.network}", "--"]

    def _forget(self):
        if os.environ.get("LUNPORT_TEST_KEEP"):
            print(f"# kept {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _keep_journal(self):
        if os.environ.get("LUNPORT_TEST_KEEP"):
            (self.folder / "journal").write_text(self.log())

    def _unplug(self):
        """As with a mains plug, if it is on."""
        if self.process is not None and self.process.poll() is None:
            if self.leader is not None:
                subprocess.run(["kill", "-KILL", str(self.leader)], check=False)
            else:
                self.process.kill()
            self.process.wait(rig.PATIENCE)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        """What the journal of this boot and of those before has of the service."""
        return rig.run("journalctl", f"--directory={self.root}/var/log/journal", "--quiet",
                       "--no-pager", "--output=short-monotonic", f"--unit={UNIT}")

    def ctl(self, *arguments):
        return self.inside("lunctl", *arguments)

    # What a job can ask for: host machine WORD...

    def inside(self, *words):
        """A command in the machine."""
        return rig.run("nsenter", "--target", self.leader, "--all", "--root", "--wd", "--", *words,
                       env=ENVIRONMENT)

    def add_disk(self, name, size=rig.GIB, lun=0):
        """A file, and files that describe the backstore and the target with this LUN, too."""
        disk = self.root / "srv/disks" / name
        with open(disk, "wb") as file:
            os.truncate(file.fileno(), int(size))
        users = (self.root / "etc/passwd").read_text().splitlines()
        user = next(line for line in users if line.startswith("lunport:")).split(":")
        os.chown(disk, int(user[2]), int(user[3]))
        self.luns[int(lun)] = name
        self.describe(name, BACKSTORE.format(name=name, uuid=uuid.uuid4()))
        self.describe("target", TARGET + "".join(LUN.format(lun=number, name=of)
                                                 for number, of in self.luns.items()))
        return ""

    def describe(self, name, text):
        """A file in /etc/lunport; without text it goes away."""
        path = self.root / "etc/lunport" / f"{name}.conf"
        if text:
            path.write_text(text + "\n")
        else:
            path.unlink()
        return ""

    def boot(self):
        """The machine is switched on, and is up."""
        with open(self.folder / "machine", "ab") as console:
            self.process = subprocess.Popen(
                container.command(self.root, f"--network-namespace-path={self.network}"),
                env=container.environment(), stdin=subprocess.DEVNULL, stdout=console,
                stderr=console)
        self.leader = None
        rig.wait_until(self._is_up, "the machine to be up")
        return ""

    def _is_up(self):
        if not self.alive():
            raise RuntimeError("the machine ended at once:\n"
                               + (self.folder / "machine").read_text(errors="replace")[-4000:])
        self.leader = first_process(self.process.pid)
        if self.leader is None:
            return False
        try:
            self.inside("systemctl", "is-active", container.NAME)
        except subprocess.CalledProcessError:
            return False
        return True

    def poweroff(self):
        """It is switched off as an administrator does, and has ended well."""
        try:
            self.inside("systemctl", "poweroff")
        except subprocess.CalledProcessError:
            pass  # the end comes over whoever has asked for it, too
        status = self.process.wait(rig.PATIENCE)
        if status != 0:
            raise subprocess.CalledProcessError(status, "systemd-nspawn", self.log()[-4000:])
        return ""

    def digest(self, name, size):
        """Of the beginning of a disk, as sha256sum prints it for standard input."""
        with open(self.root / "srv/disks" / name, "rb") as disk:
            return hashlib.sha256(disk.read(int(size))).hexdigest() + "  -\n"
