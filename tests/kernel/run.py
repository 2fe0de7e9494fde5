#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Boot Debian's kernel in qemu and let open-iscsi use the target on this machine's loopback.

No KVM is needed and nothing of this machine's kernel is used. The job (job-NAME.sh) travels with
guest.sh over a 9p share, and so do its results; the guest sees the loopback as 10.0.2.2.

    run.py basic|more TSC-RATE-PROGRAM
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance"))
import rig  # noqa: E402

KERNEL = ("quiet mitigations=off nokaslr nosmap nopti tsc=reliable no_timer_check "
          "random.trust_cpu=on nowatchdog rcupdate.rcu_expedited=1 panic=-1 console=ttyS0 "
          "rdinit=/init tsc_early_khz={khz}")


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


def boot(folder, share, khz):
    """qemu, without any device that the jobs do not use."""
    command = [
        "qemu-system-x86_64", "-M", "microvm,acpi=on", "-accel", "tcg,thread=multi,tb-size=512",
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


def serve(target, share, request):
    """What the guest asks for while it runs."""
    word = request.read_text().strip()
    if word == "restart":
        target.kill()
        time.sleep(1)
        target.start()
    else:
        print(f"# the guest asks for {word}, which is not known")
    request.unlink()


def wait(guest, target, share, seconds):
    """Until the guest has switched itself off."""
    end = time.monotonic() + seconds
    request = share / "request"
    while guest.poll() is None:
        if request.exists():
            serve(target, share, request)
        if time.monotonic() > end:
            guest.kill()
            guest.wait()
            return False
        time.sleep(0.1)
    return True


def report(share, ended):
    """The guest's results as they are, then what helps to understand a failure."""
    results = share / "results"
    lines = results.read_text().splitlines() if results.exists() else []
    number = sum(1 for line in lines if re.match(r"(not )?ok ", line))
    complete = any(line.startswith("1..") for line in lines)
    for line in lines:
        if not line.startswith("1.."):
            print(line)
    number += 1
    print(f"{'ok' if ended and complete else 'not ok'} {number} - the guest finishes its job")
    bad = not (ended and complete) or any(line.startswith("not ok") for line in lines)
    if bad:
        for name, count in (("serial", 20), ("console", 200), ("dmesg", 80)):
            if (share / name).exists():
                print(f"# ---- {name}")
                for line in (share / name).read_text(errors="replace").splitlines()[-count:]:
                    print(f"#   {line}")
    return number, bad


def main():
    job, tsc_rate = sys.argv[1:]
    if os.uname().machine != "x86_64":
        rig.skip_all("the rig is for x86_64")
    rig.need("qemu-system-x86_64", "mmdebstrap", "mke2fs", "apt-get")
    folder = image()
    khz = rig.run(tsc_rate).strip()
    bad = False
    with rig.server() as target:
        target.add_disk("disk", rig.GIB)
        share = target.folder / "share"
        share.mkdir()
        for name in ("guest.sh", f"job-{job}.sh"):
            shutil.copy(HERE / name, share)
        lun = 1 if isinstance(target, rig.Tgt) else 0
        (share / "env").write_text(f"PORT={target.port}\nIQN={rig.IQN}\nLUN={lun}\nJOB={job}\n"
                                   "CAN_RESTART=1\n")
        begin = time.monotonic()
        guest = boot(folder, share, khz)
        ended = wait(guest, target, share, 900 if job == "basic" else 2400)
        print(f"# qemu ran for {time.monotonic() - begin:.0f} s")
        for line in guest.stdout.read().splitlines():
            print(f"# qemu: {line}")
        number, bad = report(share, ended)
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
