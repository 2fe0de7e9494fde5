#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Count single results: of a Meson log (NAME.json) or of TAP (any other file).

Prints "passed failed skipped" on one line. A test program that fails without a failed result, by a
signal or a timeout, counts as one failure.
"""

import json
import re
import sys

TAP = re.compile(r"^\s*(not )?ok\b(.*)$")


def count_tap(text):
    """(passed, failed, skipped) of a TAP stream."""
    passed = failed = skipped = 0
    for line in text.splitlines():
        match = TAP.match(line)
        if match:
            directive = re.search(r"#\s*(SKIP|TO[D]O)", match[2], re.IGNORECASE)
            if directive:
                skipped += 1
            elif match[1]:
                failed += 1
            else:
                passed += 1
        elif re.match(r"^1\.\.0\s*# *SKIP", line, re.IGNORECASE):
            skipped += 1
    return passed, failed, skipped


def count_test(test):
    """The same for one entry of Meson's log."""
    passed, failed, skipped = count_tap(test.get("stdout") or "")
    if test["result"] in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"):
        failed = max(failed, 1)
    elif passed + failed + skipped == 0:
        if test["result"] == "SKIP":
            skipped = 1
        else:
            passed = 1
    return passed, failed, skipped


def main():
    total = [0, 0, 0]
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        if sys.argv[1].endswith(".json"):
            counts = [count_test(json.loads(line)) for line in file if line.strip()]
        else:
            counts = [count_tap(file.read())]
    for item in counts:
        total = [a + b for a, b in zip(total, item)]
    print(*total)


if __name__ == "__main__":
    main()
