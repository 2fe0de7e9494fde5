#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""systemd's own judgement of the units: understood without a word, and sandboxed well enough.

    test-units.py LUNPORTD.SERVICE LUNPORTD.SOCKET
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tree

# The score of systemd 252 for the file alone; what a running service gets is 1.4.
THRESHOLD = 16
# Lines whose absence has cut sessions (Requires=, LimitNOFILE=, StartLimitIntervalSec=) or would.
NEEDED = ["Requires=lunportd.socket", "LimitNOFILE=65536", "StartLimitIntervalSec=0",
          "After=lunportd.socket local-fs.target network.target dbus.service",
          "Type=notify", "BusName=org.lunport1", "Alias=dbus-org.lunport1.service",
          "User=lunport", "Restart=on-failure"]


def main():
    tree.need("systemd-analyze")
    tap = tree.Tap()
    units = [pathlib.Path(name) for name in sys.argv[1:]]
    service = units[0].read_text()
    for line in NEEDED:
        tap.result(re.search(f"^{re.escape(line)}$", service, re.MULTILINE) is not None,
                   f"units: lunportd.service has {line}")
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "lunportd"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for unit in units:
            shutil.copy(unit, folder)
        copy = pathlib.Path(folder) / units[0].name
        copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={program}", service,
                               flags=re.MULTILINE))
        # It ends with 0 even for keys that it does not know: what counts is that it says nothing.
        result = subprocess.run(["systemd-analyze", "verify", "--man=no",
                                 *[f"{folder}/{unit.name}" for unit in units]], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        lines = [line for line in result.stdout.splitlines() if "lunport" in line]
        tap.result(not lines, "units: systemd-analyze verify has nothing to say", "\n".join(lines))
        result = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                                 f"--threshold={THRESHOLD}", str(copy)], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        tap.result(result.returncode == 0, f"units: exposure is at most {THRESHOLD / 10}",
                   result.stdout)
    tap.done()


if __name__ == "__main__":
    main()
