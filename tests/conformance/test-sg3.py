#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Each vital product data page as sg_vpd of sg3-utils reads it, without a complaint.

The pages are fetched by an initiator of the test and handed over as hexadecimal text, so that this
needs neither root nor a kernel initiator. Only sg_vpd can read such text in all versions.
"""

import re
import subprocess
import tempfile

import initiator
import rig

COMPLAINT = re.compile(r"malformed|warning|\?\?|unexpected|too short|truncated|bad |decode .*fail",
                       re.IGNORECASE)
ALLOCATION = 4096


def fetch(host, page):
    """The page, with its header."""
    status, data = host.command(0, bytes([0x12, 1, page, ALLOCATION >> 8, ALLOCATION & 0xff, 0]),
                                size=ALLOCATION)[:2]
    if status != 0:
        raise AssertionError(f"INQUIRY of page {page:02x}h ended in status {status:02x}h")
    return data


def decode(data):
    """What sg_vpd says of it."""
    with tempfile.NamedTemporaryFile("w", suffix=".hex") as file:
        file.write(data.hex(" ") + "\n")
        file.flush()
        done = subprocess.run(["sg_vpd", f"--inhex={file.name}", "--long"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=rig.PATIENCE, check=False)
    return done.returncode, done.stdout


def check_page(tap, host, page):
    """One page: its length is right and the decoder has nothing against it."""
    data = fetch(host, page)
    code, text = decode(data)
    right = (data[1] == page and len(data) == 4 + int.from_bytes(data[2:4], "big") and code == 0
             and not COMPLAINT.search(text))
    tap.result(right, f"sg_vpd reads page {page:02x}h", text)


def main():
    rig.need("sg_vpd")
    tap = rig.Tap()
    with rig.server() as server:
        server.add_disk()
        host = initiator.Initiator(server.port)
        host.ready(0)
        pages = fetch(host, 0)[4:]
        for page in pages:
            check_page(tap, host, page)
        host.close()
    tap.done()


if __name__ == "__main__":
    main()
