#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Boot a throw-away systemd on an overlay of this machine and run a script in it.

The overlay's lower folder is /, its upper one is on a tmpfs, so there is no image to make and
nothing stays behind. What Meson would install goes into the overlay. The container boots into a
target of its own, so that none of this machine's enabled units starts; inside.sh prints TAP.

    run.py BUILD-FOLDER PREFIX [SCRIPT]

The two options and the environment variable of systemd-nspawn give it a pure cgroup v2 with BPF:
without them DeviceAllow= and IPAddressDeny= are silently not enforced.
"""

import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance"))
import rig  # noqa: E402

TARGET = """[Unit]
Requires=basic.target dbus.socket
Wants=lunport-test.service dbus.service
After=basic.target
AllowIsolate=yes
"""
SERVICE = """[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/bash /lunport-test/script.sh
ExecStopPost=/bin/systemctl --force --force poweroff
StandardOutput=append:/lunport-test/results
StandardError=append:/lunport-test/errors
TimeoutStartSec={timeout}
"""
USERS = """g storage-ops -
u alice - "In storage-ops" /
u bob - "In no group" /
m alice storage-ops
"""
TIMEOUT = 600


@contextlib.contextmanager
def overlay():
    """A writable copy of / that is gone afterwards."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="lunport-system-", dir="/run"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1g", "lunport", base], check=True)
    try:
        for name in ("upper", "work", "root"):
            (base / name).mkdir()
        subprocess.run(["mount", "-t", "overlay", "-o",
                        f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", "lunport",
                        base / "root"], check=True)
        try:
            yield base / "root"
        finally:
            subprocess.run(["umount", base / "root"], check=False)
    finally:
        subprocess.run(["umount", "-l", base], check=False)
        base.rmdir()


def install(build, root):
    """What a package would do on a machine."""
    # Meson refuses nothing and asks nothing with these options; the output matters on failure.
    rig.run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root)
    (root / "usr/lib/sysusers.d/lunport-test.conf").write_text(USERS)
    rig.run("systemd-sysusers", f"--root={root}", "lunport.conf", "lunport-test.conf")
    rig.run("journalctl", f"--root={root}", "--update-catalog")
    units = root / "usr/lib/systemd/system"
    (units / "lunport-test.target").write_text(TARGET)
    (units / "lunport-test.service").write_text(SERVICE.format(timeout=TIMEOUT - 20))
    rig.run("systemctl", f"--root={root}", "enable", "lunportd.socket", "lunportd.service")
    # The journal of this machine, its identity and its units of other packages stay out of it.
    shutil.rmtree(root / "var/log/journal", ignore_errors=True)
    (root / "etc/machine-id").write_text("")


def boot(root):
    """Returns what the console showed; results are in files of the overlay."""
    command = shlex.join([
        "systemd-nspawn", "-q", "-D", str(root), "-M", f"lunport-test-{os.getpid()}", "--boot",
        "--register=no", "--keep-unit", "--private-network", "--capability=all",
        "--system-call-filter=bpf @memlock", "systemd.unit=lunport-test.target"])
    environment = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")
    try:
        # Without a terminal nspawn's output is lost.
        process = subprocess.run(["script", "-qec", command, "/dev/null"], timeout=TIMEOUT,
                                 env=environment, stdin=subprocess.DEVNULL, check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return process.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode(errors="replace") + "\ntimeout"


def comments(title, text, count):
    if text.strip():
        print(f"# ---- {title}")
        for line in text.splitlines()[-count:]:
            print(f"#   {line}")


def main():
    if os.geteuid() != 0:
        rig.skip_all("only root can boot a container")
    rig.need("systemd-nspawn", "script", "busctl", "dbus-daemon", "meson")
    build, prefix = sys.argv[1:3]
    script = HERE / (sys.argv[3] if len(sys.argv) > 3 else "inside.sh")
    if prefix != "/usr":
        rig.skip_all(f"configured for {prefix}; bus and polkit read only /usr (meson --prefix=/usr)")
    if not any(pathlib.Path(path).exists() for path in ("/usr/lib/polkit-1/polkitd",
                                                        "/usr/libexec/polkitd")):
        rig.skip_all("polkitd is not installed")
    with overlay() as root:
        install(build, root)
        folder = root / "lunport-test"
        folder.mkdir()
        shutil.copy(script, folder / "script.sh")
        console = boot(root)

        def text(name):
            path = folder / name
            return path.read_text(errors="replace") if path.exists() else ""

        lines = text("results").splitlines()
        results = [line for line in lines if line.startswith(("ok ", "not ok "))]
        print("\n".join(lines))
        number = len(results)
        complete = "# end" in lines
        if not complete:
            number += 1
            print(f"not ok {number} - the script in the container reaches its end")
        bad = not complete or any(line.startswith("not ok") for line in results)
        if bad:
            comments("console", console, 40)
            comments("errors", text("errors"), 80)
            comments("journal", text("journal"), 120)
        print(f"1..{number}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
