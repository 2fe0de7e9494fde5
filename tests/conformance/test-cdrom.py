#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""A CD/DVD drive with real ISO images, seen by qemu's initiator and libiscsi's tools.

The images are made by xorriso. What is read is compared with them byte by byte.
"""

import filecmp
import os
import subprocess

import rig

BLOCK = 2048


def make_iso(folder, name, size):
    """An image with one file of random bytes."""
    tree = folder / f"{name}-tree"
    tree.mkdir()
    (tree / "content").write_bytes(os.urandom(size))
    path = folder / f"{name}.iso"
    rig.run("xorriso", "-as", "mkisofs", "-quiet", "-V", name.upper(), "-o", path, tree)
    assert path.stat().st_size % BLOCK == 0
    return path


def medium(target):
    """The line of the drive's medium."""
    for line in target.ctl("backstore", "show", "cd").splitlines():
        if line.strip().startswith("Medium"):
            return line.split()[-1]
    raise AssertionError("there is no medium in the output")


def must_fail(pattern, function, *arguments):
    """The command ends with an error that says why."""
    try:
        function(*arguments)
    except subprocess.CalledProcessError as error:
        assert pattern in error.output, error.output
        return
    raise AssertionError("it was not refused")


def read_all(target, url, iso):
    """The drive has this image and no other."""
    back = target.folder / "back"
    rig.run("qemu-img", "convert", "-f", "raw", "-O", "raw", url, back)
    assert filecmp.cmp(back, iso, shallow=False), "the bytes differ"
    info = rig.run("qemu-img", "info", "-f", "raw", url)
    assert str(iso.stat().st_size) in info, info


def main():
    rig.need("xorriso", "qemu-img", "qemu-io", "iscsi-inq")
    tap = rig.Tap()
    with rig.Daemon() as target:
        first = make_iso(target.folder, "first", 3 * rig.MIB)
        second = make_iso(target.folder, "second", 5 * rig.MIB)
        ctl, check, url = target.ctl, tap.check, target.url(0)
        check("an empty drive is made", ctl, "backstore", "create", "cd", "--device-type=cdrom")
        check("its target is made", ctl, "target", "create", rig.IQN, "--enable")
        check("its target is open", ctl, "access", "open", rig.IQN)
        check("the drive is LUN 0", ctl, "lun", "add", rig.IQN, "cd", "--lun=0")

        def inquiry():
            output = rig.run("iscsi-inq", url)
            assert "MMC" in output and "CD/DVD DRIVE" in output, output

        def says(expected):
            assert medium(target) == expected, medium(target)

        check("iscsi-inq sees a drive", inquiry)
        check("there is no medium", says, "none")
        check("nothing can be read from an empty drive",
              must_fail, "", rig.run, "qemu-img", "info", "-f", "raw", url)
        check("what is not there cannot be loaded", must_fail, "", ctl, "backstore", "load", "cd",
              "/nowhere.iso")
        check("there is no medium still", says, "none")
        check("an image is loaded", ctl, "backstore", "load", "cd", str(first))
        check("there is a medium", says, "loaded")
        check("all of it is read", read_all, target, url, first)
        check("another image is loaded", ctl, "backstore", "load", "cd", str(second))
        check("all of that is read", read_all, target, url, second)
        check("nothing is written", must_fail, "", rig.run, "qemu-io", "-f", "raw", "-c",
              "write 0 2048", url)
        check("the daemon is stopped", target.stop)
        check("and started", target.start)
        check("the image is there again", read_all, target, url, second)
        check("the medium is taken out", ctl, "backstore", "eject", "cd")
        check("it is gone", says, "none")
        check("taking it out again does nothing", ctl, "backstore", "eject", "cd")
        check("and the same image goes in again", ctl, "backstore", "load", "cd", str(second))
        check("and is read", read_all, target, url, second)
        check("memory is no drive", must_fail, "only for the types", ctl, "backstore", "create", "d",
              "--type=ram", "--size=1M", "--device-type=cdrom")

        def shared():
            ctl("backstore", "create", "cd2", "--device-type=cdrom", f"--path={second}")
            ctl("lun", "add", rig.IQN, "cd2", "--lun=1")
            read_all(target, target.url(1), second)

        check("two drives have the same image", shared)
    tap.done()


if __name__ == "__main__":
    main()
