# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""The source tree as the style tests see it, and the TAP of the rigs."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "conformance"))

from rig import Tap, need, skip_all  # noqa: E402, F401  pylint: disable=wrong-import-position


def files(folder, *suffixes):
    """Files below a folder with these endings, without build folders and caches."""
    return sorted(path for path in (ROOT / folder).rglob("*")
                  if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts)


def relative(path):
    """The name that a reader knows."""
    return str(path.relative_to(ROOT))
