#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""libiscsi's iscsi-test-cu, one test per process, judged by what it prints.

A test that asserts something wrong fails, one that prints [SKIPPED] did not really run, all others
pass. libiscsi.expect names the tests that do not have to pass, each with its reason; whatever it
does not name must pass, and a name in it that passes has to be taken out. Some tests give a command
three seconds, which a busy machine may not have, so what fails is tried again, and said to be.

    test-libiscsi.py [--run=NAME] [TEST...]    NAME as in RUNS
    test-libiscsi.py --union                   all runs, and that each test passes in one of them

TARGET_URL aims it at a target that runs already (its LUN is overwritten).
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import typing

import rig

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = rig.PATIENCE
TRIES = 3


class Run(typing.NamedTuple):
    """What makes a run another one."""
    about: str
    kind: str = "file"
    size: int = 4 * rig.GIB
    options: tuple = ()
    lun_options: tuple = ()
    family: str = ""  # only the tests with that in their name
    void: str = ""  # what this part of a reason in libiscsi.expect explains is no reason here
    n_paths: int = 1


RUNS = {
    "disk": Run("a thin file of 512-byte blocks"),
    "4k": Run("a thin file of 4096-byte blocks", options=("--block-size=4096",)),
    "512e": Run("a thin file of 512-byte blocks on physical blocks of 4096",
                options=("--physical-block-size=4096",)),
    "thick": Run("a file that is not thin", options=("--thick",)),
    "ram": Run("memory", kind="ram", size=rig.GIB),
    "block": Run("a loop device", kind="block", size=rig.GIB),
    "paths": Run("two paths", void="there is one path", n_paths=2),
    "removable": Run("a removable medium", options=("--removable",),
                     void="the medium is not removable"),
    "lenient": Run("a removable medium that takes what is reserved",
                   options=("--removable", "--lenient-cdb"), family="StartStopUnit",
                   void="the medium is not removable"),
    "read-only": Run("a read-only LUN", lun_options=("--read-only",), family="ReadOnly",
                     void="the medium is writable"),
    "erase": Run("a medium that takes long to erase", kind="null", size=(32 << 10) * rig.GIB,
                 family="Sanitize.Reset"),
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
    void = RUNS[kind].void if kind in RUNS else ""
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

    def accepted(self, test):
        """What a test may come to besides a pass, and why."""
        return self.table.get(test.split(".", 1)[1], (set(), ""))

    def try_test(self, test, urls):
        """The result that counts, and the output."""
        for tries in range(1, TRIES + 1):
            result, output = run_one(test, urls)
            if result not in ("fail", "crash") or result in self.accepted(test)[0] or tries == TRIES:
                break
            print(f"# {test}: {result} {reason_of(output)}, is tried again")
        return result, output

    def judge(self, test, result, output):
        name = test.split(".", 1)[1]
        accepted, reason = self.accepted(test)
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
    """All tests, then what can only be said about all of them. Returns their results."""
    judge = Judge(tap, expectations(kind))
    results = {}
    for test in tests:
        results[test], output = judge.try_test(test, urls)
        judge.judge(test, results[test], output)
        if not alive():
            tap.result(False, f"the target is alive after {test}")
            return results
    print("# " + ", ".join(f"{count} {name}" for name, count in sorted(judge.counts.items())))
    if whole:
        tap.result(not judge.stale, "every test that libiscsi.expect names still needs it",
                   "these pass now: " + " ".join(judge.stale))
    return results


@contextlib.contextmanager
def loop_device(size):
    """A block device over a sparse file, or None where the machine gives none."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.truncate(size)
        process = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", file.name], text=True,
                                 capture_output=True, check=False)
        if process.returncode != 0:
            yield None
            return
        device = process.stdout.strip()
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def run_kind(tap, kind, tests, whole=False):
    """One run on a target of its own."""
    run = RUNS[kind]
    tests = [test for test in tests if run.family in test]
    if kind != "erase":  # how far an erase comes while that test sleeps depends on the machine
        tests = [test for test in tests if RUNS["erase"].family not in test]
    with contextlib.ExitStack() as stack:
        options = list(run.options)
        if run.kind == "block":
            device = stack.enter_context(loop_device(run.size))
            if device is None:
                tap.skip(f"the run {kind}", "there is no loop device to be had")
                return {}
            options.append(f"--path={device}")
        target = stack.enter_context(rig.server())
        url = target.add_disk("disk", run.size, kind=run.kind, options=options,
                              lun_options=run.lun_options)
        if kind == "erase":  # the suite sleeps for a minute, deaf to NOP-In
            target.ctl("target", "set", rig.IQN, "NopInterval=0")
        results = run_suite(tap, tests, [url] * run.n_paths, target.alive, kind, whole)
        tap.check("the target ends without complaint", target.stop)
        return results


def run_union(tap, tests):
    """Every run; each test passes in one of them, or libiscsi.expect says why it cannot in any."""
    table = {name: reason for name, (_, reason) in expectations("none").items()}
    passed = {}
    for kind, run in RUNS.items():
        print(f"# {kind}: {run.about}")
        for test, result in run_kind(tap, kind, tests).items():
            if result == "pass":
                passed.setdefault(test, []).append(kind)
    missing = [test for test in tests if test not in passed]
    for test in missing:
        reason = table.get(test.split(".", 1)[1], "no reason is known")
        print(f"# passes whole in no run: {test}: {reason}")
    print(f"# {len(passed)} of {len(tests)} pass in one run or more")
    unexplained = [test for test in missing if test.split(".", 1)[1] not in table]
    tap.result(not unexplained, "each test passes in some run, or it is known why in none",
               " ".join(unexplained))


def main():
    rig.need("iscsi-test-cu")
    arguments = sys.argv[1:]
    kind = "disk"
    if arguments and arguments[0].startswith("--run="):
        kind = arguments.pop(0)[len("--run="):]
    tests = all_tests()
    tap = rig.Tap()
    if arguments == ["--union"]:
        run_union(tap, tests)
        tap.done()
    if arguments:
        tests = [test for test in tests if any(word in test for word in arguments)]
    if "TARGET_URL" in os.environ:
        run_suite(tap, tests, [os.environ["TARGET_URL"]], lambda: True, kind, False)
        tap.done()
    run_kind(tap, kind, tests, kind == "disk" and not arguments)
    tap.done()


if __name__ == "__main__":
    main()
