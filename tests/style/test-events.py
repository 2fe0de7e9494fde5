#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Each event of src/util/events.def has its entry in the journal's catalog, and the other way."""

import collections
import re

import tree

EVENT = re.compile(r'^EVENT\(\s*(\w+)\s*,\s*"([0-9a-f]{32})"\s*,\s*LOG_\w+\s*,\s*"([^"]*)"\)',
                   re.MULTILINE)


def catalog_entries(text):
    """{id: (header fields, body)}"""
    entries = {}
    for piece in re.split(r"^-- (?=[0-9a-f]{32})", text, flags=re.MULTILINE)[1:]:
        head, _, body = piece.partition("\n\n")
        number, *fields = head.splitlines()
        entries[number.strip()] = (dict(field.split(": ", 1) for field in fields), body.strip())
    return entries


def main():
    tap = tree.Tap()
    source = (tree.ROOT / "src/util/events.def").read_text()
    events = EVENT.findall(source)
    entries = catalog_entries((tree.ROOT / "systemd/lunport.catalog").read_text())
    tap.result(len(events) == len(re.findall(r"^EVENT\(", source, re.MULTILINE)),
               "events: each line of the table can be read")
    numbers = collections.Counter(number for _, number, _ in events)
    for symbol, number, sentence in events:
        wrong = []
        if numbers[number] > 1:
            wrong.append("its id is used twice")
        if sentence.endswith(".") or not re.match(r"[A-Z@]|polkit ", sentence):
            wrong.append("its sentence has a dot or no capital")
        if number not in entries:
            wrong.append(f"systemd/lunport.catalog has no entry {number}")
        else:
            fields, body = entries[number]
            if not fields.get("Subject") or not fields.get("Defined-By"):
                wrong.append("its entry needs Subject and Defined-By")
            if len(body) < 60:
                wrong.append("its entry does not say what happened and what to do")
        tap.result(not wrong, f"events: {symbol}", "\n".join(wrong))
    strangers = sorted(set(entries) - set(numbers))
    tap.result(not strangers, "events: the catalog has no entry without an event",
               " ".join(strangers))
    tap.done()


if __name__ == "__main__":
    main()
