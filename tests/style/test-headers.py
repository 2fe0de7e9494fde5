#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Each header stands alone: #pragma once, and it compiles without anything before it.

    test-headers.py BUILD-FOLDER COMPILER...
"""

import concurrent.futures
import os
import subprocess
import sys

import tree

PACKAGES = ["gio-unix-2.0", "libsystemd", "json-glib-1.0", "libisal"]


def flags(build):
    """What a file of ours is compiled with, as far as a header can notice."""
    output = []
    for package in PACKAGES:
        result = subprocess.run(["pkg-config", "--cflags", package], text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        output += result.stdout.split()
    return ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
            f"-I{tree.ROOT}/src", f"-I{build}/src", f"-I{build}/dbus", *output]


def compile_alone(command, path):
    """An empty string, or what is wrong."""
    if "#pragma once" not in path.read_text():
        return "no #pragma once"
    name = path.relative_to(tree.ROOT / "src")
    # Twice, because the second must change nothing.
    text = f'#include "{name}"\n#include "{name}"\n'
    result = subprocess.run([*command, "-fsyntax-only", "-x", "c", "-"], input=text, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.stdout if result.returncode else ""


def main():
    build, *compiler = sys.argv[1:]
    command = [*compiler, *flags(build)]
    tap = tree.Tap()
    headers = tree.files("src", ".h")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda path: compile_alone(command, path), headers)
        for path, wrong in zip(headers, results):
            tap.result(not wrong, f"headers: {tree.relative(path)}", wrong)
    tap.done()


if __name__ == "__main__":
    main()
