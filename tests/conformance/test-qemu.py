#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""qemu's iSCSI driver and libiscsi's tools against the target: another peer than the test suite.

What is read back is compared byte by byte, and for file backstores with the file itself.
LUNPORT_TEST_ALL=1 copies 1 GiB instead of 64 MiB.
"""

import filecmp
import os
import re
import subprocess

import rig

SIZE = rig.GIB if os.environ.get("LUNPORT_TEST_ALL") else 64 * rig.MIB


def qemu_io(url, *commands, image=None):
    """Run the commands in one qemu-io; each failure it prints is a failure."""
    arguments = ["qemu-io", "-f", "raw", "-t", "none"]
    if image:
        arguments = ["qemu-io", "--image-opts", "-t", "none"]
        url = image
    for command in commands:
        arguments += ["-c", command]
    output = rig.run(*arguments, url)
    if re.search(r"failed|[Ee]rror|Pattern verification", output):
        raise AssertionError(output)
    return output


def must_fail(*arguments):
    """A command that has to end with an error of its own, not by a timeout or signal."""
    result = subprocess.run(arguments, timeout=rig.PATIENCE, stdin=subprocess.DEVNULL, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode > 0, result.stdout


def random_file(path, size):
    with open(path, "wb") as file:
        for _ in range(0, size, rig.MIB):
            file.write(os.urandom(rig.MIB))


def test_listing(tap, target, url):
    def listing():
        output = rig.run("iscsi-ls", "-s", target.portal())
        assert rig.IQN in output and "Lun:" in output.replace("LUN", "Lun"), output

    def inquiry():
        output = rig.run("iscsi-inq", url)
        assert "Peripheral Device Type" in output or "DIRECT_ACCESS" in output, output

    tap.check("iscsi-ls shows target and LUN", listing)
    tap.check("iscsi-inq shows the standard page", inquiry)
    for page in (0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2):
        tap.check(f"iscsi-inq shows VPD page {page:02X}", rig.run, "iscsi-inq", "-e", "1", "-c",
                  str(page), url)


def test_copy(tap, target):
    url = target.add_disk("copy", SIZE, lun=1)
    source, back = target.folder / "source", target.folder / "back"
    random_file(source, SIZE)
    qcow2 = target.add_disk("qcow2", SIZE + 64 * rig.MIB, lun=2)

    def compare_files():
        assert filecmp.cmp(source, back, shallow=False), "the bytes differ"

    copy = ["qemu-img", "convert", "-n", "-W", "-m", "16", "-O", "raw"]
    mebibytes = SIZE // rig.MIB
    tap.check(f"{mebibytes} MiB of random data go in, 16 requests at a time", rig.run, *copy, "-f",
              "raw", source, url)
    tap.check("qemu-img compare finds no difference", rig.run, "qemu-img", "compare", "-f", "raw",
              "-F", "raw", source, url)
    tap.check("the data comes out", rig.run, "qemu-img", "convert", "-W", "-m", "16", "-f", "raw",
              "-O", "raw", url, back)
    tap.check("it is the same, byte by byte", compare_files)
    tap.check("qemu-img map", rig.run, "qemu-img", "map", "-f", "raw", "--output=json", url)
    tap.check("qcow2 on a LUN", rig.run, "qemu-img", "create", "-f", "qcow2", qcow2, str(SIZE))
    tap.check("random data into qcow2", rig.run, *copy[:-1], "qcow2", "-f", "raw", source, qcow2)
    tap.check("qcow2 is consistent", rig.run, "qemu-img", "check", "-f", "qcow2", qcow2)
    tap.check("qcow2 has the data", rig.run, "qemu-img", "compare", "-f", "raw", "-F", "qcow2",
              source, qcow2)


def test_requests(tap, target, url):
    size = 256 * rig.MIB
    image = (f"driver=iscsi,transport=tcp,portal=127.0.0.1:{target.port},target={rig.IQN},"
             f"lun={url.rsplit('/', 1)[1]}")
    cases = [
        ("write and read", ["write -P 0xaa 0 1M", "read -P 0xaa 0 1M"]),
        ("one block in the middle", ["write -P 0x11 512 512", "read -P 0xaa 0 512",
                                     "read -P 0x11 512 512", "read -P 0xaa 1024 512"]),
        ("write zeroes", ["write -z 64k 64k", "read -P 0 64k 64k", "read -P 0xaa 128k 64k"]),
        ("write zeroes with unmap", ["write -z -u 256k 128k", "read -P 0 256k 128k",
                                     "read -P 0xaa 384k 64k"]),
        ("discard", ["discard 512k 256k", "flush", "read 512k 256k", "read -P 0xaa 768k 256k"]),
        ("discard and write again", ["discard 0 1M", "write -P 0x22 4k 8k", "read -P 0x22 4k 8k"]),
        ("force unit access", ["write -f -P 0x33 1M 128k", "read -P 0x33 1M 128k"]),
        ("a request of 64 MiB", ["write -P 0x44 2M 64M", "flush", "read -P 0x44 2M 64M"]),
        ("write zeroes of 128 MiB", ["write -z 2M 128M", "read -P 0 2M 64M"]),
        ("odd numbers of blocks", ["write -P 0x55 1536 13824", "read -P 0x55 1536 13824"]),
        ("many at once", [f"aio_write -P {n + 1} {n * 64}k 64k" for n in range(64)]
         + ["aio_flush"] + [f"read -P {n + 1} {n * 64}k 64k" for n in range(64)]),
        ("the last block", [f"write -P 0x66 {size - 512} 512", f"read -P 0x66 {size - 512} 512"]),
        ("the last MiB", [f"write -P 0x77 {size - rig.MIB} 1M",
                          f"read -P 0x77 {size - rig.MIB} 1M"]),
    ]
    for name, commands in cases:
        tap.check(f"qemu-io: {name}", lambda c=commands: qemu_io(url, *c))
    for digest in ("crc32c", "none", "crc32c-none", "none-crc32c"):
        tap.check(f"qemu-io: header-digest={digest}",
                  lambda d=digest: qemu_io(None, "write -P 0x88 0 3M", "read -P 0x88 0 3M",
                                           image=f"{image},header-digest={d}"))


def test_refusals(tap, target, url):
    wrong_target = url.replace(rig.IQN, rig.IQN + ".nothing")
    wrong_lun = url.rsplit("/", 1)[0] + "/99"
    tap.check("an unknown target is refused", must_fail, "qemu-img", "info", wrong_target)
    tap.check("an unknown LUN is refused", must_fail, "qemu-img", "info", wrong_lun)
    tap.check("the target serves on", lambda: qemu_io(url, "read 0 4k"))


def test_stores(tap, target):
    """Every kind of store does the same; what a flush promised is in the file."""
    kinds = [("file", cache) for cache in ("none", "writeback", "writethrough")] + [("ram", None)]
    for number, (kind, cache) in enumerate(kinds, 10):
        name = f"{kind}-{cache}" if cache else kind
        options = [f"--cache={cache}"] if cache else []
        size = 64 * rig.MIB

        def store(name=name, kind=kind, options=options, number=number, size=size):
            url = target.add_disk(name, size, lun=number, kind=kind, options=options)
            qemu_io(url, "write -P 0xa1 0 5M", "write -P 0xa2 1536 512", "discard 4M 512k",
                    f"write -f -P 0xa3 {size - 4096} 4096", "flush", "read -P 0xa2 1536 512",
                    "read -P 0xa1 2048 3M")
            if kind == "file":
                with open(target.folder / "disks" / name, "rb") as file:
                    data = file.read(rig.MIB)
                    assert data == b"\xa1" * 1536 + b"\xa2" * 512 + b"\xa1" * (rig.MIB - 2048)
                    file.seek(size - 4096)
                    assert file.read() == b"\xa3" * 4096

        tap.check(f"store: {name}", store)


def main():
    rig.need("iscsi-ls", "iscsi-inq", "qemu-img", "qemu-io")
    if "iscsi" not in rig.run("qemu-img", "--help").split("Supported formats:")[-1]:
        rig.skip_all("qemu has no iSCSI driver here")
    tap = rig.Tap()
    with rig.server() as target:
        url = target.add_disk("disk", 256 * rig.MIB)
        test_listing(tap, target, url)
        test_copy(tap, target)
        test_requests(tap, target, url)
        test_refusals(tap, target, url)
        if isinstance(target, rig.Daemon):
            test_stores(tap, target)
        tap.result(target.alive(), "the target is alive", target.log())
        tap.check("the target ends without complaint", target.stop)
    tap.done()


if __name__ == "__main__":
    main()
