#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""The include graph against the table of layers (docs/ARCHITECTURE.md).

Data flows one way: a file includes its own folder and those that its row allows, nothing else. And
the list of files there names every one, alone or with its family.
"""

import fnmatch
import re

import tree

MAY_INCLUDE = {
    "util": set(),
    "engine": {"util"},
    "backstore": {"engine", "util"},
    "scsi": {"backstore", "engine", "util"},
    "iscsi": {"scsi", "engine", "util"},
    "model": {"util"},
    "control": {"model", "iscsi", "scsi", "backstore", "engine", "util"},
    "bus": {"control", "model", "util"},
    "ctl": {"util"},
}
DATA_PLANE = {"engine", "backstore", "scsi", "iscsi"}
FILES = re.compile(r"^\* `(\w+)/`:(.*?)(?=^\* |^$)", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def wrong_includes(path):
    """Sentences about the includes of one file that break a rule."""
    layer = tree.relative(path).split("/")[1]
    own = {layer}
    wrong = []
    includes = INCLUDE.findall(path.read_text())
    for kind, name in includes:
        if kind == "<":
            if layer in DATA_PLANE and re.match(r"(gio|glib-object|gobject)\b", name):
                wrong.append(f"{name}: GIO and GObject stay out of the data plane")
            continue
        folder = name.split("/")[0]
        if "/" not in name:
            # Generated code of D-Bus carries no folder.
            if not name.startswith("dbus-"):
                wrong.append(f"{name}: write includes from src")
        elif folder not in own | MAY_INCLUDE[layer]:
            wrong.append(f"{name}: {layer} must not include {folder}")
    return wrong + wrong_order(path, includes)


def wrong_order(path, includes):
    """A .c file includes its own header first, so that the header is known to stand alone."""
    header = path.with_suffix(".h")
    if path.suffix != ".c" or not header.exists():
        return []
    name = str(header.relative_to(tree.ROOT / "src"))
    # Or the private one of a module in several files, which begins with the public one.
    names = [('"', name), ('"', name.replace(".h", "-private.h"))]
    if includes and includes[0] in names:
        return []
    return [f"its own header {name} is not the first include"]


def wrong_names(folder, text):
    """Sentences about a folder's files and the names and families that the list has for them."""
    patterns = [word for words in re.findall(r"`([^`]+)`", text) for word in words.split()]
    names = {path.stem.removesuffix("-private")
             for path in tree.files(f"src/{folder}", ".c", ".h", ".def")}
    missing = [f"{name} is in no row" for name in sorted(names)
               if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    return missing + [f"there is no file {pattern}" for pattern in patterns
                      if not fnmatch.filter(names, pattern)]


def main():
    tap = tree.Tap()
    listed = dict(FILES.findall((tree.ROOT / "docs" / "ARCHITECTURE.md").read_text()))
    for folder in MAY_INCLUDE:
        wrong = wrong_names(folder, listed.get(folder, ""))
        tap.result(not wrong, f"layers: the files of src/{folder} are in docs/ARCHITECTURE.md",
                   "\n".join(wrong))
    for path in tree.files("src", ".c", ".h", ".def"):
        if len(path.relative_to(tree.ROOT / "src").parts) < 2:
            continue
        wrong = wrong_includes(path)
        tap.result(not wrong, f"layers: {tree.relative(path)}", "\n".join(wrong))
    tap.done()


if __name__ == "__main__":
    main()
