#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Writes the keys of lunport.conf(5) into the page, as the service itself lists them.

    options-to-rst.py LUNPORTD PAGE              print the page with the keys as they are now
    options-to-rst.py LUNPORTD PAGE --in-place   write it

The table in src/model/schema.c is the one place where a key is written; “lunportd --print-options” prints
it. In the page each group's keys stand between “.. keys of GROUP” and “.. end of GROUP”.
tests/ctl/test-man.py fails when the page is not what this would write.
"""

import pathlib
import re
import subprocess
import sys


def read_groups(daemon):
    """{group: [(key, default, meaning)]}"""
    output = subprocess.run([daemon, "--print-options"], stdout=subprocess.PIPE, check=True).stdout
    groups, rows = {}, []
    for line in output.decode().splitlines():
        if line.startswith("["):
            rows = groups.setdefault(line.strip("[]"), [])
        elif line.startswith("    "):
            rows[-1][2] = line.strip()
        elif "=" in line:
            rows.append([*line.split("=", 1), ""])
    return groups


def escape(text):
    return re.sub(r"([\\*`|_<>])", r"\\\1", text)


def format_group(rows):
    text = ""
    for key, default, meaning in rows:
        text += f"**{key}=**" + (f" (default {escape(default)})" if default else "")
        text += f"\n    {escape(meaning)}\n\n"
    return text


def fill(page, groups):
    """The page with the keys of each group; a group without a place, or the reverse, is an error."""
    for name, rows in groups.items():
        begin, end = f".. keys of {name}\n\n", f".. end of {name}\n"
        if page.count(begin) != 1 or page.count(end) != 1:
            sys.exit(f"The page has no place for the keys of [{name}]")
        head, rest = page.split(begin)
        page = head + begin + format_group(rows) + end + rest.split(end)[1]
    for name in re.findall(r"^\.\. keys of (.*)$", page, re.MULTILINE):
        if name not in groups:
            sys.exit(f"There is no group [{name}]")
    return page


def main():
    daemon, path = sys.argv[1], pathlib.Path(sys.argv[2])
    page = fill(path.read_text(encoding="utf-8"), read_groups(daemon))
    if sys.argv[3:] == ["--in-place"]:
        path.write_text(page, encoding="utf-8")
    else:
        sys.stdout.reconfigure(encoding="utf-8")
        print(page, end="")


if __name__ == "__main__":
    main()
