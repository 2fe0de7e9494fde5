#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Boot a throw-away systemd (container.py) without a network and run a script in it.

inside.sh, the script, prints TAP. That a file system outlives what is done to the service here is
tested with a Linux initiator, in tests/kernel.

    run.py BUILD-FOLDER PREFIX [SCRIPT]
"""

import pathlib
import shutil
import subprocess
import sys

import container

HERE = pathlib.Path(__file__).resolve().parent

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
TIMEOUT = 1700


def install(build, root):
    """What a package would do, our users and what runs the script."""
    container.install(build, root, USERS)
    service = root / "usr/lib/systemd/system/lunport-test.service"
    service.write_text(SERVICE.format(timeout=TIMEOUT - 20))


def boot(root):
    """Returns what the console showed; results are in files of the overlay."""
    try:
        process = subprocess.run(container.command(root, "--private-network"), timeout=TIMEOUT,
                                 env=container.environment(), stdin=subprocess.DEVNULL, check=False,
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
    build, prefix = sys.argv[1:3]
    container.need(prefix)
    script = HERE / (sys.argv[3] if len(sys.argv) > 3 else "inside.sh")
    with container.overlay() as root:
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
