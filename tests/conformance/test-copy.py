#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""EXTENDED COPY on a file system that shares extents: XFS on a loop device.

Two units are files there. The whole of the first is copied to the second by one command, over the
network; the files must then be equal, and the second one must have no extent of its own. For
comparison a third file gets the same data the long way, read and written through an initiator
(qemu-img, 16 requests of 2 MiB at a time). Both times include making the data durable. They are printed and judge
nothing.

Needs root, loop devices and mkfs.xfs; mounts are made in a namespace of its own. --size=BYTES or
LUNPORT_TEST_ALL=1 for 10 GiB.
"""

import argparse
import array
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import initiator
import rig

FICLONERANGE = 0x4020940d
FS_IOC_FIEMAP = 0xc020660b
EXTENT_LAST, EXTENT_UNWRITTEN, EXTENT_SHARED = 0x1, 0x800, 0x2000
PATTERN = 64 * rig.MIB
BLOCK = 512


def reexec():
    """Go on as root of a mount namespace that nobody else sees."""
    if os.geteuid() != 0:
        rig.skip_all("needs root, for a loop device and a mount")
    rig.need("unshare", "mount", "umount", "losetup", "mkfs.xfs", "qemu-img", "cmp")
    if not os.environ.get("LUNPORT_TEST_NAMESPACE"):
        os.environ["LUNPORT_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation=private", sys.executable,
                              *sys.argv])


class FileSystem:
    """XFS in a sparse file."""

    def __init__(self, size):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunport-copy-"))
        self.place = self.folder / "mnt"
        self.size = size

    def __enter__(self):
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(self.size)
        self.place.mkdir()
        try:
            rig.run("mkfs.xfs", "-q", "-m", "reflink=1", image)
            rig.run("mount", "-t", "xfs", "-o", "loop", image, self.place)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(self.folder)
            rig.skip_all("no XFS on a loop device here: " + error.output.strip().replace("\n", "; "))
        return self.place

    def __exit__(self, *_):
        rig.run("umount", self.place)
        shutil.rmtree(self.folder)


def fill(path, size):
    """Real data all through, but no more of it than one pattern needs."""
    with open(path, "w+b") as file:
        for _ in range(0, min(size, PATTERN), rig.MIB):
            file.write(os.urandom(rig.MIB))
        file.flush()
        for at in range(PATTERN, size, PATTERN):
            fcntl.ioctl(file, FICLONERANGE,
                        struct.pack("qQQQ", file.fileno(), 0, min(PATTERN, size - at), at))
        os.fsync(file.fileno())


def extents(path):
    """Yields (offset, bytes, flags) of all extents."""
    with open(path, "rb") as file:
        at = 0
        while True:
            request = array.array("B", struct.pack("QQIIII", at, 2 ** 63, 0, 0, 512, 0)
                                  + bytes(512 * 56))
            fcntl.ioctl(file, FS_IOC_FIEMAP, request)
            count = struct.unpack_from("I", request, 20)[0]
            for i in range(count):
                logical, _, length, _, _, flags = struct.unpack_from("QQQQQI", request, 32 + 56 * i)
                yield logical, length, flags
                if flags & EXTENT_LAST:
                    return
                at = logical + length
            if count == 0:
                return


def copy_by_command(peer, size):
    """One EXTENDED COPY from LUN 0 to LUN 1, and what makes it durable. Seconds."""
    names = [peer.designator(lun) for lun in (0, 1)]
    parameters = initiator.copy_list(*names, size // BLOCK)
    start = time.monotonic()
    status, _, sense = peer.command(
        0, struct.pack(">BB8xIxx", 0x83, 0, len(parameters)), out=parameters)
    assert status == 0, f"EXTENDED COPY: status {status:#x} sense {sense.hex()}"
    status, _, sense = peer.command(1, bytes([0x91]) + bytes(15))
    assert status == 0, f"SYNCHRONIZE CACHE: status {status:#x} sense {sense.hex()}"
    return time.monotonic() - start


def copy_the_long_way(target):
    """LUN 0 to LUN 2 through qemu-img. Seconds."""
    start = time.monotonic()
    rig.run("qemu-img", "convert", "-n", "-W", "-m", "16", "-S", "0", "-f", "raw", "-O", "raw",
            target.url(0), target.url(2), timeout=3600)
    return time.monotonic() - start


def compare(one, other):
    rig.run("cmp", one, other, timeout=1800)


def check_shared(path, size):
    mapped = list(extents(path))
    own = [(at, length) for at, length, flags in mapped if not flags & EXTENT_SHARED]
    assert sum(length for _, length, _ in mapped) == size, "not all of the file has extents"
    assert not own, f"not shared (offset, bytes): {own[:10]}"


def check_status(peer, size):
    status, data, _ = peer.command(0, bytes([0x84, 0x05, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]),
                                   size=64)
    assert status == 0, "RECEIVE COPY STATUS"
    assert data[5] == 0x01, f"the copy has the status {data[5]:#x}"
    assert struct.unpack_from(">Q", data, 16)[0] == size, "not all bytes are said to be copied"


def run(tap, place, size):
    disks = [place / f"disk{lun}" for lun in range(3)]
    fill(disks[0], size)
    with rig.Daemon(()) as target:
        for lun, disk in enumerate(disks):
            options = [f"--size={size}"] if lun > 0 else []
            target.ctl("backstore", "create", disk.name, "--type=file", f"--path={disk}", *options)
        target.ctl("target", "create", rig.IQN, "--enable")
        target.ctl("access", "open", rig.IQN)
        for lun, disk in enumerate(disks):
            target.ctl("lun", "add", rig.IQN, disk.name, f"--lun={lun}")

        peer = initiator.Initiator(target.port)
        for lun in range(2):
            peer.ready(lun)
        seconds = []
        tap.check("one EXTENDED COPY copies all",
                  lambda: seconds.append(copy_by_command(peer, size)))
        tap.check("its status says so", check_status, peer, size)
        peer.close()
        tap.check("the files are equal", compare, disks[0], disks[1])
        tap.check("all extents are shared", check_shared, disks[1], size)
        tap.check("the long way copies too", lambda: seconds.append(copy_the_long_way(target)))
        tap.check("those files are equal", compare, disks[0], disks[2])
        if len(seconds) == 2:
            rates = [size / rig.MIB / s for s in seconds]
            print(f"# {size // rig.MIB} MiB: EXTENDED COPY {seconds[0]:.3f} s ({rates[0]:.0f} MiB/s), "
                  f"read and written {seconds[1]:.3f} s ({rates[1]:.0f} MiB/s): "
                  f"{seconds[1] / seconds[0]:.0f} times faster")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, metavar="BYTES", default=10 * rig.GIB
                        if os.environ.get("LUNPORT_TEST_ALL") else 256 * rig.MIB)
    size = parser.parse_args().size
    reexec()
    tap = rig.Tap()
    with FileSystem(2 * size + rig.GIB) as place:
        run(tap, place, size)
    tap.done()


if __name__ == "__main__":
    main()
