# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A throw-away systemd on an overlay of this machine, with lunport installed as by a package.

The overlay's lower folder is /, its upper one is on a tmpfs, so there is no image to make and
nothing stays behind. What Meson would install goes into the overlay. The container boots into a
target of its own, so that none of this machine's enabled units starts, not even by a timer.

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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance"))
import rig  # noqa: E402

NAME = "lunport-test.target"
TARGET = """[Unit]
Requires=basic.target dbus.socket
Wants=lunport-test.service dbus.service
After=basic.target
AllowIsolate=yes
"""


def need(prefix):
    """Skip the whole file where no container with our units can be booted."""
    if os.geteuid() != 0:
        rig.skip_all("only root can boot a container")
    rig.need("systemd-nspawn", "script", "busctl", "dbus-daemon", "meson")
    if prefix != "/usr":
        rig.skip_all(f"configured for {prefix}; bus and polkit read only /usr (meson --prefix=/usr)")
    if not any(pathlib.Path(path).exists() for path in ("/usr/lib/polkit-1/polkitd",
                                                        "/usr/libexec/polkitd")):
        rig.skip_all("polkitd is not installed")


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


def install(build, root, users=""):
    """What a package would do on a machine; users are lines for systemd-sysusers."""
    # Meson refuses nothing and asks nothing with these options; the output matters on failure.
    rig.run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root)
    (root / "usr/lib/sysusers.d/lunport-test.conf").write_text(users)
    rig.run("systemd-sysusers", f"--root={root}", "lunport.conf", "lunport-test.conf")
    rig.run("journalctl", f"--root={root}", "--update-catalog")
    (root / "usr/lib/systemd/system" / NAME).write_text(TARGET)
    rig.run("systemctl", f"--root={root}", "enable", "lunportd.socket", "lunportd.service")
    (root / "etc/systemd/system/timers.target").symlink_to("/dev/null")
    # The journal of this machine, its identity and its units of other packages stay out of it.
    shutil.rmtree(root / "var/log/journal", ignore_errors=True)
    (root / "etc/machine-id").write_text("")


def command(root, *options):
    """The words that boot it, in the foreground; environment() goes with them."""
    words = shlex.join([
        "systemd-nspawn", "-q", "-D", str(root), "-M", f"lunport-test-{os.getpid()}", "--boot",
        "--register=no", "--keep-unit", "--capability=all",
        "--system-call-filter=bpf @memlock", *options, f"systemd.unit={NAME}"])
    # Without a terminal nspawn's output is lost.
    return [*rig.WITH_US, "script", "-qec", words, "/dev/null"]


def environment():
    return dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")
