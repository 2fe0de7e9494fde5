#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A daemon that nobody talks to sleeps, and is small.

Counts what /proc says about its threads: a wake-up of a worker is a mistake, however short. What the
login and the bus calls have set off has to settle first, and how long that takes depends on the
machine, so it is watched for several times as long; whatever comes again and again is in all of them.
LUNPORT_TEST_ALL=1 watches for a minute each time.
"""

import contextlib
import os
import pathlib
import re
import time

import rig

SECONDS = 60 if os.environ.get("LUNPORT_TEST_ALL") else 10
TIMES = 6
PSS_KIB = 16 * 1024


def switches(pid):
    """{thread: (name, context switches)}"""
    result = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends in this moment
            text = (task / "status").read_text()
            count = sum(int(number) for number in re.findall(r"ctxt_switches:\s+(\d+)", text))
            result[task.name] = ((task / "comm").read_text().strip(), count)
    return result


def watch(pid):
    """What the main thread did meanwhile, and which others did anything."""
    before = switches(pid)
    time.sleep(SECONDS)
    after = switches(pid)
    main_thread = str(pid)
    woken = [f"{name} ({thread}): {count - before.get(thread, ('', 0))[1]}"
             for thread, (name, count) in sorted(after.items())
             if thread != main_thread and count != before.get(thread, ("", 0))[1]]
    return after[main_thread][1] - before[main_thread][1], woken


def pss(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1])


def main():
    rig.need("iscsi-inq")
    if os.environ.get("LUNPORT_SANITIZED", "none") != "none":
        rig.skip_all("a sanitizer has memory and a thread of its own")
    tap = rig.Tap()
    with rig.server() as target:
        url = target.add_disk("disk", 64 * rig.MIB)
        rig.run("iscsi-inq", url)
        for _ in range(TIMES):
            main_thread, woken = watch(target.process.pid)
            if not woken:
                break
            print("# " + ", ".join(woken))
        tap.result(not woken, f"no thread but the main one wakes up in {SECONDS} s",
                   "\n".join(woken))
        print(f"# the main thread woke up {main_thread} times")
        size = pss(target.process.pid)
        print(f"# Pss {size} KiB")
        tap.result(size <= PSS_KIB, f"Pss is at most {PSS_KIB} KiB", f"it is {size} KiB")
    tap.done()


if __name__ == "__main__":
    main()
