#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Boot Debian's kernel in qemu and let open-iscsi use the target on this machine's loopback.

No KVM is needed and nothing of this machine's kernel is used. The job (job-NAME.sh) travels with
guest.sh over a 9p share, and so do its results; the guest sees the loopback as 10.0.2.2.

A job may ask for something to happen on this side: it writes a file with one word a line, which
class Host carries out, and finds status and output in two others.

For most jobs the target is a daemon that is a child of this process. The job "systemd" has it in a
machine of its own (machine.py), as a service that systemd starts.

    run.py JOB TSC-RATE-PROGRAM BUILD-FOLDER PREFIX
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance"))
import machine  # noqa: E402
import rig  # noqa: E402
import wire  # noqa: E402

KERNEL = ("quiet mitigations=off nokaslr nosmap nopti tsc=reliable no_timer_check "
          "random.trust_cpu=on nowatchdog rcupdate.rcu_expedited=1 panic=-1 console=ttyS0 "
          "rdinit=/init tsc_early_khz={khz}")
# The jobs that need nothing but a disk; the others ask for what only lunport has.
OF_ANY_TARGET = ("basic", "more", "long")
# The one whose target is a machine
OF_A_MACHINE = "systemd"
BOOTS = 4
BOOT_SECONDS = 300
STEP_SECONDS = 1800  # longer than any wait of a job
JOB_SECONDS = 7200
DETAILS = 15  # lines of the console for each failure


def image():
    """The folder with kernel and root image, made when it is not there."""
    result = subprocess.run([sys.executable, str(HERE / "image.py")], text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, check=False)
    if result.returncode != 0:
        for line in result.stderr.splitlines()[-20:]:
            print(f"# {line}")
        rig.skip_all("the guest image cannot be made: " + result.stderr.strip()[-120:].replace("\n", " "))
    return pathlib.Path(result.stdout.strip())


def boot(folder, share, khz, within):
    """qemu, without any device that the jobs do not use; @within: words that run it where the target is."""
    command = [
        *rig.WITH_US, *within, "qemu-system-x86_64", "-M", "microvm,acpi=on", "-accel", "tcg,thread=multi,tb-size=512",
        "-cpu", "max,la57=off", "-smp", "2", "-m", "768", "-nodefaults", "-no-user-config",
        "-no-reboot", "-display", "none", "-serial", f"file:{share}/serial",
        "-kernel", str(folder / "vmlinux"), "-initrd", str(folder / "initrd"),
        "-append", KERNEL.format(khz=khz),
        "-drive", f"id=root,if=none,format=raw,snapshot=on,file={folder}/root.img",
        "-device", "virtio-blk-device,drive=root",
        "-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net",
        "-fsdev", f"local,id=share,path={share},security_model=none",
        "-device", "virtio-9p-device,fsdev=share,mount_tag=share",
    ]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


class Host:
    """What the guest can ask for while it runs. Each returns the text that the guest prints."""

    def __init__(self, target):
        self.target = target
        self.mark = 0  # where the log of the daemon that runs now begins
        self.relay = wire.Relay(rig.free_port())
        self.wire = wire.Wire(target.port)

    def restart(self):
        """The daemon dies without a word and is started again."""
        self.target.kill()
        time.sleep(1)
        return self.start(*self.target.options)

    def stop(self):
        """The daemon is told to end, and does."""
        self.target.process.terminate()
        status = self.target.process.wait(120)
        if status != 0:
            raise subprocess.CalledProcessError(status, "lunportd", self.target.log()[-4000:])
        return ""

    def start(self, *options):
        """It is started again, with these options."""
        self.mark = len(self.target.log())
        self.target.options = list(options)
        self.target.start()
        return ""

    def keep(self):
        """From the next start on its port is open while it is away, too."""
        self.target.hold()
        return ""

    def session(self, verb, *arguments):
        """lunctl session, for the only one that there is."""
        rows = []

        def one():
            rows[:] = json.loads(self.target.ctl("--json=short", "session", "list"))
            return len(rows) == 1

        rig.wait_until(one, "there to be one session")
        return self.target.ctl("session", verb, str(rows[0]["Tsih"]), *arguments)

    def ctl(self, *arguments):
        """lunctl."""
        return self.target.ctl(*arguments)

    def secrets(self, secret, mutual, *arguments):
        """lunctl with a secret and, unless it is empty, one of the target."""
        return self.target.ctl_secrets(*arguments, secret=secret, mutual=mutual or None)

    def journal(self, text):
        """Whether the daemon has logged something with these words since it was started."""
        rig.wait_until(lambda: text in self.target.log()[self.mark:], text)
        return ""

    def count(self, text):
        """How many lines of its log have these words."""
        return f"{sum(text in line for line in self.target.log()[self.mark:].splitlines())}\n"

    def disk(self, name, lun, size, *options):
        """A file, its backstore and a LUN."""
        self.target.add_disk(name, size=size, lun=int(lun), options=options)
        return ""

    def load(self, backstore, name):
        """An ISO image with one file, made at the first time, into a drive; the guest sees it too."""
        path = self.target.folder / "share" / f"{name}.iso"
        if not path.exists():
            tree = self.target.folder / f"{name}-tree"
            tree.mkdir()
            (tree / "content").write_text(f"This is {name}\n")
            (tree / "filler").write_bytes(os.urandom(64 * rig.MIB // 1024 * len(name)))
            rig.run("xorriso", "-as", "mkisofs", "-quiet", "-V", name.upper(), "-o", path, tree)
        # By force: whenever udev looks at the medium that is in, the guest has the door locked
        return self.target.ctl("backstore", "load", "--force", backstore, str(path))

    def allocated(self, name):
        """How many KiB of a disk's file the file system has given to it."""
        return f"{(self.target.folder / 'disks' / name).stat().st_blocks // 2}\n"

    def machine(self, verb, *arguments):
        """What only a machine can do."""
        return getattr(self.target, verb)(*arguments)

    def remember(self):
        """What is looked for in the log comes after what is there now."""
        self.mark = len(self.target.log())
        return ""

    def hold(self):
        """The second way passes nothing on."""
        self.relay.hold()
        return ""

    def release(self):
        """The second way works again."""
        self.relay.release()
        return ""

    def cut(self):
        """The connections of the second way break."""
        self.relay.cut()
        return ""

    def damage(self, place, every, limit):
        """From now on the third way turns over a bit in some PDUs."""
        self.wire.damage(place, int(every), int(limit))
        return ""

    def spare(self):
        """How often it has done that; it does so no more."""
        return f"{self.wire.spare()}\n"

    def digests(self, header, data):
        """The digests of the one session, as its login said on the wire, and as lunctl says."""
        shown = self.session("show")
        right = (f"digests {header} and {data}" in shown
                 and self.wire.negotiated() == [header, data])
        if not right:
            raise subprocess.CalledProcessError(1, "digests", f"{self.wire.negotiated()}\n{shown}")
        return ""


def serve(host, share, request):
    """Do what the guest asks for."""
    name, *arguments = request.read_text().splitlines()
    status = 0
    try:
        text = getattr(host, name)(*arguments)
    except subprocess.CalledProcessError as error:
        status, text = error.returncode, error.output
    except Exception as error:  # whatever it is, the guest waits for an answer
        status, text = 1, f"{type(error).__name__}: {error}\n"
    (share / "answer").write_text(text)
    (share / "status").write_text(f"{status}\n")
    request.unlink()


class Patience:
    """Says when a guest takes too long: it is slow, and slower on a busy machine, but always gets further."""

    def __init__(self, share):
        self.console = share / "console"
        self.begin = self.moved = time.monotonic()
        self.size = -1

    def complaint(self):
        """Nothing as long as there is hope."""
        now = time.monotonic()
        size = self.console.stat().st_size if self.console.exists() else -1
        if size != self.size:
            self.size, self.moved = size, now
        if size < 0 and now - self.begin > BOOT_SECONDS:
            return f"it has not booted in {BOOT_SECONDS} s"
        if now - self.moved > STEP_SECONDS:
            return f"nothing has happened in it for {STEP_SECONDS} s"
        if now - self.begin > JOB_SECONDS:
            return f"it has not ended in {JOB_SECONDS} s"
        return ""


def wait(guest, host, share):
    """Until the guest has switched itself off. Returns why it had to be killed, or nothing."""
    patience = Patience(share)
    request = share / "request"
    while guest.poll() is None:
        if request.exists():
            serve(host, share, request)
        complaint = patience.complaint()
        if complaint:
            guest.kill()
            guest.wait()
            return complaint
        time.sleep(0.05)
    return ""


def run_guest(folder, share, khz, host):
    """Boot it, now and then more than once, and let it do its job. Returns what is wrong with its end, or nothing."""
    for _ in range(BOOTS):
        begin = time.monotonic()
        guest = boot(folder, share, khz, getattr(host.target, "within", []))
        complaint = wait(guest, host, share)
        print(f"# qemu ran for {time.monotonic() - begin:.0f} s" + (f": {complaint}" if complaint else ""))
        for line in guest.stdout.read().splitlines():
            print(f"# qemu: {line}")
        # Emulated on a busy machine a kernel may hang before it runs anything of ours
        if (share / "console").exists():
            break
    return complaint


def what_happened(console, name):
    """The lines that the console has of a check that failed."""
    for part in re.split(r"^# [0-9.]+ s: ", console, flags=re.MULTILINE)[1:]:
        if part.startswith(f"{name}: ") and "\n# failed with " in part:
            return part.splitlines()
    return []


def report(share, complaint):
    """The guest's results, each failure with what the console shows of it, then what else helps."""
    results = share / "results"
    lines = results.read_text().splitlines() if results.exists() else []
    console = (share / "console").read_text(errors="replace") if (share / "console").exists() else ""
    number = sum(1 for line in lines if re.match(r"(not )?ok ", line))
    complete = number > 0 and "# end" in lines
    for line in lines:
        if not line.startswith(("1..", "# end")):
            print(line)
        if line.startswith("not ok"):
            for detail in what_happened(console, line.partition(" - ")[2])[-DETAILS:]:
                print(f"#   {detail}")
    number += 1
    ended = complete and not complaint
    print(f"{'ok' if ended else 'not ok'} {number} - the guest finishes its job")
    if not ended:
        print(f"#   {complaint or 'it was switched off before the end of the job'}")
    bad = not ended or any(line.startswith("not ok") for line in lines)
    if bad:
        for name, count in (("serial", 20), ("console", 200), ("iscsid", 80), ("dmesg", 80)):
            if (share / name).exists():
                print(f"# ---- {name}")
                for line in (share / name).read_text(errors="replace").splitlines()[-count:]:
                    print(f"#   {line}")
    return number, bad


def main():
    job, tsc_rate, build, prefix = sys.argv[1:]
    if os.uname().machine != "x86_64":
        rig.skip_all("the rig is for x86_64")
    rig.need("qemu-system-x86_64", "mmdebstrap", "mke2fs", "apt-get")
    folder = image()
    khz = rig.run(tsc_rate).strip()
    bad = False
    if job == OF_A_MACHINE:
        machine.need(prefix)
    with machine.Machine(build) if job == OF_A_MACHINE else rig.server() as target:
        if isinstance(target, rig.Tgt) and job not in OF_ANY_TARGET:
            rig.skip_all("the job is for lunport")
        target.add_disk("disk", rig.GIB)
        share = target.folder / "share"
        share.mkdir()
        for name in ("guest.sh", "multipath.sh", f"job-{job}.sh"):
            shutil.copy(HERE / name, share)
        lun = 1 if isinstance(target, rig.Tgt) else 0
        host = Host(target)
        everything = "1" if os.environ.get("LUNPORT_TEST_ALL") else ""
        (share / "env").write_text(f"PORT={target.port}\nIQN={rig.IQN}\nLUN={lun}\nJOB={job}\n"
                                   f"PORT2={host.relay.target}\nRELAY={host.relay.port}\n"
                                   f"WIRE={host.wire.port}\n"
                                   f"ALL={everything}\nCAN_RESTART=1\n")
        number, bad = report(share, run_guest(folder, share, khz, host))
        number += 1
        print(f"{'ok' if target.alive() else 'not ok'} {number} - the target is alive")
        if bad or not target.alive():
            bad = True
            for line in target.log().splitlines()[-60:]:
                print(f"# target: {line}")
        print(f"1..{number}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
