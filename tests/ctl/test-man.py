#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""The man pages say what the programs do: every verb, every option, every key.

    test-man.py LUNPORTD LUNCTL PAGES OPTIONS-TO-RST
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

from rig import Tap  # noqa: E402  pylint: disable=wrong-import-position


def run(*arguments):
    return subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE,
                          check=True).stdout.decode()


def entries(page):
    """The entries of COMMANDS, each from its term to the next one."""
    commands = page.split("COMMANDS\n========\n")[1].split("\nEXIT STATUS\n")[0]
    return [entry for entry in re.split(r"\n(?=\*\*)", commands) if entry.startswith("**")]


def check_verbs(tap, lunctl, page):
    """Each verb has an entry, which names its options and no other."""
    for line in run(lunctl, "--list-verbs").splitlines():
        noun, verb, *options = line.split()
        words = noun if verb == "-" else f"{noun} {verb}"
        found = [entry for entry in entries(page) if f"**{words}**" in entry.splitlines()[0]]
        wrong = [] if len(found) == 1 else [f"{len(found)} entries"]
        text = "\n".join(found)
        wrong += [option for option in options if f"**{option}**" not in text]
        named = re.findall(r"\*\*(--[a-z-]+=?)", text)
        wrong += [f"no such option: {name}" for name in named if name not in options]
        tap.result(not wrong, f"lunctl(1): {words}", "\n".join(wrong))


def check_options(tap, program, name, page):
    """Every option of --help, and none that is not there."""
    options = set(re.findall(r"(--[a-z][a-z-]*)", "\n".join(
        line for line in run(program, "--help").splitlines() if re.match(r" +(-\w, )?--", line))))
    tap.result(len(options) > 5, f"{name}: --help lists options", str(options))
    named = set(re.findall(r"^(--[a-z][a-z-]*)", page, re.MULTILINE))
    for option in sorted(options | named):
        tap.result(option in options and option in named, f"{name}: {option}",
                   "not in --help" if option in named else "not in the page")


def main():
    daemon, lunctl, pages, generator = sys.argv[1:5]
    pages = pathlib.Path(pages)
    tap = Tap()
    check_verbs(tap, lunctl, (pages / "lunctl.1.rst").read_text(encoding="utf-8"))
    check_options(tap, lunctl, "lunctl(1)", (pages / "lunctl.1.rst").read_text(encoding="utf-8"))
    check_options(tap, daemon, "lunportd(8)",
                  (pages / "lunportd.8.rst").read_text(encoding="utf-8"))
    conf = pages / "lunport.conf.5.rst"
    fresh = run(sys.executable, generator, daemon, conf)
    tap.result(fresh == conf.read_text(encoding="utf-8"), "lunport.conf(5) has the keys of the schema",
               f"write it: {pathlib.Path(generator).name} {pathlib.Path(daemon).name} {conf.name} --in-place")
    tap.done()


if __name__ == "__main__":
    main()
