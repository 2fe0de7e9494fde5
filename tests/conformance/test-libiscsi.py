#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""libiscsi's iscsi-test-cu, one test per process, judged by what it prints.

A test that asserts something wrong fails, one that prints [SKIPPED] did not really run, all others
pass. libiscsi.expect names the tests that do not have to pass, each with its reason; whatever it
does not name must pass, and a name in it that passes has to be taken out.

    test-libiscsi.py [--run=disk|4k|paths|erase|removable|read-only] [TEST...]

TARGET_URL aims it at a target that runs already (its LUN is overwritten).
"""

import os
import pathlib
import re
import subprocess
import sys

import rig

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = 180
# What makes a run another one: options of the backstore and of the LUN, which tests, and a part of
# the reasons in libiscsi.expect that are none in this run
RUNS = {
    "disk": ([], [], "", None),
    "4k": (["--block-size=4096"], [], "", None),
    "paths": ([], [], "", "there is one path"),
    "removable": (["--removable"], [], "", "the medium is not removable"),
    "read-only": ([], ["--read-only"], "ReadOnly", "the medium is writable"),
    "erase": ([], [], "Sanitize.Reset", "a run of its own"),
}
COMMAND = ["iscsi-test-cu", "--dataloss", "--allow-sanitize", "-V"]


def all_tests():
    """The list repeats families; each test once, by its shortest home."""
    output = rig.run("iscsi-test-cu", "--list")
    tests = []
    for line in output.splitlines():
        parts = line.strip().split(".")
        if len(parts) == 3 and parts[0] in ("SCSI", "iSCSI"):
            tests.append(line.strip())
    return tests


def expectations(kind):
    """{test: (set of results that are accepted besides a pass, reason)}; "4k:" before a name is for
    that run only."""
    void = RUNS[kind][3]
    table = {}
    for line in (HERE / "libiscsi.expect").read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            name, results, reason = line.split(None, 2)
            if ":" in name:
                run, name = name.split(":")
                if run != kind:
                    continue
            if void and void in reason:
                continue
            table[name] = (set(results.split(",")), reason)
    return table


def body(output):
    """What the test itself printed; libiscsi prepares and cleans up with commands of its own."""
    match = re.search(r"^  Test: .*?(?:^|\.\.\.)(?:passed|FAILED)", output, re.MULTILINE | re.DOTALL)
    return match[0] if match else output


def classify(output, status):
    """pass, fail, skip or crash."""
    match = re.search(r"^\s*tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", output, re.MULTILINE)
    if not match:
        return "crash"
    if int(match[4]) or status != 0:
        return "fail"
    if int(match[2]) == 0 or "[SKIPPED]" in body(output):
        return "skip"
    return "pass"


def run_one(test, urls):
    """One process for one test."""
    try:
        process = subprocess.run([*COMMAND, f"--test={test}", *urls], text=True, errors="replace",
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return "hang", output.decode(errors="replace") if isinstance(output, bytes) else output
    return classify(process.stdout, process.returncode), process.stdout


def reason_of(output):
    """Why libiscsi says that it skipped, for the list of explained results."""
    match = re.search(r"\[(?:SKIPPED|FAILED)\]\s*(.*)", body(output))
    return match[1] if match else ""


class Judge:
    """Compares results with expectations and counts."""

    def __init__(self, tap, table):
        self.tap = tap
        self.table = table
        self.counts = {}
        self.stale = []

    def judge(self, test, result, output):
        name = test.split(".", 1)[1]
        accepted, reason = self.table.get(name, (set(), ""))
        self.counts[result] = self.counts.get(result, 0) + 1
        if result == "pass":
            self.tap.result(True, test)
            if accepted and "pass" not in accepted:
                self.stale.append(name)
        elif result in accepted:
            self.tap.skip(f"{test} ({result})", reason)
        else:
            self.tap.result(False, f"{test} ({result}) {reason_of(output)}".rstrip(), output)


def run_suite(tap, tests, urls, alive, kind, whole):
    """All tests, then what can only be said about all of them."""
    judge = Judge(tap, expectations(kind))
    for test in tests:
        result, output = run_one(test, urls)
        judge.judge(test, result, output)
        if not alive():
            tap.result(False, f"the target is alive after {test}")
            return
    print("# " + ", ".join(f"{count} {name}" for name, count in sorted(judge.counts.items())))
    if whole:
        tap.result(not judge.stale, "every test that libiscsi.expect names still needs it",
                   "these pass now: " + " ".join(judge.stale))


def main():
    rig.need("iscsi-test-cu")
    arguments = sys.argv[1:]
    kind = "disk"
    if arguments and arguments[0].startswith("--run="):
        kind = arguments.pop(0)[len("--run="):]
    options, lun_options, family, _ = RUNS[kind]
    tests = [test for test in all_tests() if family in test]
    if arguments:
        tests = [test for test in tests if any(word in test for word in arguments)]
    tap = rig.Tap()
    if "TARGET_URL" in os.environ:
        run_suite(tap, tests, [os.environ["TARGET_URL"]], lambda: True, kind, False)
        tap.done()
    with rig.server() as target:
        store, size = ("null", 32 << 10) if kind == "erase" else ("file", 4)
        url = target.add_disk("disk", size * rig.GIB, kind=store, options=options,
                              lun_options=lun_options)
        if kind == "erase":  # the suite sleeps for a minute, deaf to NOP-In
            target.ctl("target", "set", rig.IQN, "NopInterval=0")
        urls = [url, url] if kind == "paths" else [url]
        run_suite(tap, tests, urls, target.alive, kind, kind == "disk" and not arguments)
        tap.check("the target ends without complaint", target.stop)
    tap.done()


if __name__ == "__main__":
    main()
