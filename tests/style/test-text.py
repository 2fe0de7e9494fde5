#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""What every file of the tree has: its licence, no leftovers, the format of clang-format."""

import concurrent.futures
import os
import re
import shutil
import subprocess

import tree

LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"
FOLDERS = ["src", "systemd", "dbus", "polkit", "data", "tests", "docs"]
TEXT = {".c", ".h", ".def", ".py", ".sh", ".build", ".xml", ".policy", ".conf", ".service",
        ".socket", ".in", ".catalog", ".rst", ".expect", ".supp", ".rules", ".bash", ".js"}
TOP = ["dev", ".ci/run", ".ci/count.py", "meson.build", "meson_options.txt", ".clang-tidy"]
LEFTOVERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")


def text_files():
    paths = [tree.ROOT / name for name in TOP if (tree.ROOT / name).exists()]
    for folder in FOLDERS:
        for path in sorted((tree.ROOT / folder).rglob("*")):
            named = path.name == "meson.build" or path.suffix in TEXT
            if path.is_file() and named and "corpus" not in path.parts:
                paths.append(path)
    return paths


def check_format(tap):
    if shutil.which("clang-format") is None:
        tap.skip("format", "clang-format is not installed")
        return
    version = subprocess.run(["clang-format", "--version"], text=True, check=False,
                             stdout=subprocess.PIPE).stdout
    if not re.search(r"version 14\.", version):
        tap.skip("format", "clang-format is not version 14, whose format is ours")
        return

    def dry_run(path):
        return subprocess.run(["clang-format", "--dry-run", "-Werror", str(path)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    paths = tree.files("src", ".c", ".h") + tree.files("tests", ".c", ".h")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, result in zip(paths, pool.map(dry_run, paths)):
            tap.result(result.returncode == 0, f"format: {tree.relative(path)}", result.stdout)


def check_shell(tap):
    if shutil.which("shellcheck") is None:
        tap.skip("shellcheck", "shellcheck is not installed")
        return
    scripts = [tree.ROOT / "dev", tree.ROOT / ".ci/run", *tree.files("tests", ".sh")]
    for path in scripts:
        result = subprocess.run(["shellcheck", "--severity=warning", str(path)], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        tap.result(result.returncode == 0, f"shellcheck: {tree.relative(path)}", result.stdout)


def main():
    tap = tree.Tap()
    for path in text_files():
        text = path.read_text()
        wrong = []
        if LICENCE not in "\n".join(text.splitlines()[:8]):
            wrong.append("no SPDX line in the first lines")
        wrong += [f"leftover: {match[0]}" for match in LEFTOVERS.finditer(text)]
        if path.suffix in (".c", ".h", ".py") and re.search(r"[ \t]+$", text, re.MULTILINE):
            wrong.append("blanks at the end of a line")
        if text and not text.endswith("\n"):
            wrong.append("no line feed at the end")
        tap.result(not wrong, f"text: {tree.relative(path)}", "\n".join(wrong))
    check_format(tap)
    check_shell(tap)
    tap.done()


if __name__ == "__main__":
    main()
