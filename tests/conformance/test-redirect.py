#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Redirection end to end: libiscsi asks one service and ends up at another that has the same target.

The serial number of the disk says which of the two answered.
"""

import subprocess

import rig


def serial(server):
    """What the unit serial number page of LUN 0 says behind the address of @server."""
    page = rig.run("iscsi-inq", "-e", "1", "-c", "128", server.url())
    return [name for name in ("here", "there") if f"[{name}]" in page]


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def check_stays(here, _there):
    equal(serial(here), ["here"])


def check_temporary(here, there):
    here.ctl("target", "redirect", rig.IQN, f"127.0.0.1:{there.port}")
    equal(serial(here), ["there"])


def check_permanent(here, there):
    """libiscsi follows only the other kind, and says what it was told."""
    here.ctl("target", "redirect", rig.IQN, f"127.0.0.1:{there.port}", "--permanent")
    try:
        serial(here)
    except subprocess.CalledProcessError as error:
        assert "moved permanently" in error.output, error.output
        return
    raise AssertionError("it got in")


def check_discovery_goes_on(here, _there):
    assert f":{here.port}" in str(rig.run("iscsi-ls", here.portal()))


def check_nobody_there(here, there):
    """Who is sent to a target that is disabled does not get in by another way."""
    here.ctl("target", "redirect", rig.IQN, f"127.0.0.1:{there.port}")
    there.ctl("target", "disable", rig.IQN)
    try:
        serial(here)
    except subprocess.CalledProcessError:
        return
    raise AssertionError("it got in")


def check_clear(here, there):
    here.ctl("target", "redirect", rig.IQN, "--clear")
    equal(serial(here), ["here"])
    there.ctl("target", "enable", rig.IQN)


def main():
    rig.need("iscsi-inq", "iscsi-ls")
    tap = rig.Tap()
    with rig.Daemon() as here, rig.Daemon() as there:
        here.add_disk(kind="ram", size=1 << 20, options=["--serial=here"])
        there.add_disk(kind="ram", size=1 << 20, options=["--serial=there"])
        for check in (check_stays, check_temporary, check_permanent, check_discovery_goes_on,
                      check_nobody_there, check_clear):
            name = check.__name__[len("check_"):].replace("_", " ")
            tap.check(f"redirect: {name}", check, here, there)
    tap.done()


if __name__ == "__main__":
    main()
