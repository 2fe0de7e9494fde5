#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""./dev run on a machine that has nothing but Debian's base system and git.

A new root made by mmdebstrap gets a copy of the checkout; ./dev run starts in it, as root, in a
container that shares this machine's network; then the lines that it printed are run as they are.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "conformance"))
sys.path.insert(0, str(HERE.parent / "kernel"))
import image  # noqa: E402
import rig  # noqa: E402

CACHE = image.CACHE
TIMEOUT = 900
# Without procps, which a bare system lacks.
RUNS_AS_NOBODY = """for folder in /proc/[0-9]*; do
    [ "$(cat $folder/comm 2> /dev/null)" = lunportd ] || continue
    [ "$(stat -c %U $folder)" = nobody ] && exit 0
done
exit 1"""


def make_root(folder):
    """A minimal Debian, kept as an archive because making it takes half a minute."""
    sources = image.debian_sources()
    archive = CACHE / "fresh-root.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        listing = folder / "sources.list"
        listing.write_text("\n".join(sources) + "\n")
        with tempfile.TemporaryDirectory(prefix="making-", dir=CACHE) as making:
            made = pathlib.Path(making) / "root.tar"
            rig.run("mmdebstrap", "--mode=root", "--variant=minbase", "--include=git,ca-certificates",
                    "--quiet", "--aptopt=Acquire::Languages none", "--aptopt=Acquire::Retries 3", "",
                    made, listing, timeout=TIMEOUT)
            made.rename(archive)
    root = folder / "root"
    root.mkdir()
    rig.run("tar", "-C", root, "-xf", archive, timeout=TIMEOUT)
    return root


def copy_checkout(root):
    """What git clone would bring: no build folders."""
    target = root / "root/lunport"
    shutil.copytree(ROOT, target, symlinks=True,
                    ignore=lambda folder, names: [name for name in names
                                                  if pathlib.Path(folder) == ROOT
                                                  and re.match(r"build($|-)|\.git$", name)])


def container(root, *command):
    """The command line that runs something in the root, without a systemd of its own."""
    # An address of its own would need routing; the shared loopback needs a free port.
    return ["systemd-nspawn", "-q", "-D", str(root), "-M", f"lunport-fresh-{os.getpid()}",
            "--register=no", "--keep-unit", "--pipe", "--resolv-conf=copy-host", "--as-pid2",
            *command]


def child(pid):
    """The first child of a process."""
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


class DevRun:
    """./dev run in the container."""

    def __init__(self, root, port):
        self.output = ""
        self.process = subprocess.Popen(
            container(root, "/root/lunport/dev", "run", f"--listen=127.0.0.1:{port}", "--size=256M"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_ready(self):
        end = time.monotonic() + TIMEOUT
        for line in self.process.stdout:
            self.output += line
            if "lunctl status" in line:
                return
            if time.monotonic() > end:
                break
        raise AssertionError("./dev run did not come up:\n" + self.output[-6000:])

    def printed(self):
        """The indented lines between the headings: what a user would copy. Meson's come before."""
        text = self.output[self.output.index("lunportd runs as user"):]
        return re.findall(r"^    (\S.*)$", text, re.MULTILINE)

    def leader(self):
        """The first process of the container, as this machine numbers it."""
        return child(self.process.pid)

    def dev(self):
        """./dev itself, the second process there."""
        return child(self.leader())


def enter(run, script):
    """Another shell on the same machine."""
    return rig.run("nsenter", "-t", str(run.leader()), "--all", "/bin/bash", "-c", script,
                   timeout=TIMEOUT)


def main():
    if os.geteuid() != 0:
        rig.skip_all("only root can make another root")
    rig.need("mmdebstrap", "systemd-nspawn", "nsenter", "apt-get")
    tap = rig.Tap()
    with tempfile.TemporaryDirectory(prefix="lunport-fresh-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        root = make_root(folder)
        copy_checkout(root)
        run = DevRun(root, rig.free_port())
        try:
            if tap.check("./dev run comes up on a bare Debian", run.wait_ready):
                lines = run.printed()
                url = next((line for line in lines if line.startswith("iscsi://")), "")
                commands = [line for line in lines if not line.startswith("iscsi://")]
                tap.result(bool(url), "it prints the URL", run.output)
                tap.check("the packages that it names exist", enter, run,
                          "apt-get install -y -qq --no-install-recommends "
                          "libiscsi-bin qemu-utils qemu-block-extra")
                script = "set -ex\n" + "\n".join(commands)

                def all_lines():
                    output = enter(run, script)
                    assert "same" in output.splitlines(), output

                tap.check("the printed lines work as they are", all_lines)
                tap.check("it runs as another user than root", enter, run,
                          RUNS_AS_NOBODY)
                os.kill(run.dev(), signal.SIGINT)
                tap.check("Ctrl-C ends it", run.process.wait, rig.PATIENCE)
                disk = root / "var/tmp/lunport-dev/disk1.img"
                tap.result(disk.exists() and disk.stat().st_size == 256 << 20,
                           "the disk is kept", run.output)
        finally:
            if run.process.poll() is None:
                run.process.terminate()
                run.process.wait()
    tap.done()


if __name__ == "__main__":
    main()
