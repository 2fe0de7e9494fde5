#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Make the three files that boot a Linux initiator in qemu, once, and print their folder.

    vmlinux    the kernel of Debian's linux-image package, uncompressed: what qemu's microvm can
               start without a firmware and without unpacking it under emulation
    initrd     busybox and the modules that reach the root image
    root.img   a small Debian with open-iscsi and the tools of the jobs, ext4

The packages come from the Debian archives that this machine's own apt is configured with. The
result is kept under $LUNPORT_CACHE (default /var/cache/lunport-tests) in a folder named by the
hash of everything that decides its content, so a change of the list makes a new one.
"""

import fcntl
import hashlib
import lzma
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

PACKAGES = [
    "busybox-static", "ddpt", "e2fsprogs", "eject", "fio", "iproute2", "kmod", "lsscsi", "mount", "multipath-tools",
    "open-iscsi", "python3", "python3-pexpect", "python3-pycurl", "sdparm", "sg3-utils", "smartmontools",
    "udev", "xfsprogs",
]
# Only their files: what they depend on is for other agents, and hundreds of megabytes.
UNPACKED = ["fence-agents"]
BOOT_MODULES = ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p", "virtio_net"]
# What stays of the kernel's modules; the rest is drivers for hardware that qemu does not have.
KEEP = [
    "arch", "block", "crypto", "lib", "mm", "net/9p", "net/core", "fs/ext4", "fs/jbd2", "fs/xfs", "fs/9p", "fs/fscache", "fs/netfs",
    "fs/mbcache.ko", "fs/btrfs", "fs/isofs", "fs/nls", "drivers/cdrom", "drivers/scsi", "drivers/block", "drivers/virtio", "drivers/md",
    "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "net/core/failover.ko", "drivers/char/hw_random",
]
VERSION = "3"
ATTEMPTS = 2
CACHE = pathlib.Path(os.environ.get("LUNPORT_CACHE", "/var/cache/lunport-tests"))


def debian_sources():
    """The lines of the Debian archives in this machine's apt configuration, one style for both."""
    form = "$(CREATED_BY)|$(ORIGIN)|$(SIGNED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    output = subprocess.run(["apt-get", "indextargets", "--format", form], check=True, text=True,
                            capture_output=True).stdout
    lines = []
    for line in output.splitlines():
        created_by, origin, signed_by, uri, release, component = line.split("|")
        if created_by == "Packages" and origin == "Debian":
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            text = f"deb {option}{uri} {release} {component}"
            if text not in lines:
                lines.append(text)
    return lines


def decompress_kernel(image):
    """The ELF file inside a bzImage; its place is in the boot protocol's setup header."""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start:start + length]
    if payload[:6] == b"\xfd7zXZ\x00":
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(payload)
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=payload[:-4], stdout=subprocess.PIPE,
                              check=True).stdout
    raise SystemExit("the kernel is compressed in a way that is not known here")


def module_closure(folder, names):
    """Paths of the modules and of what they need, in the order in which to load them."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {pathlib.Path(path).name.split(".ko")[0].replace("-", "_"): path for path in needs}
    builtin = (folder / "modules.builtin").read_text().replace("-", "_")
    order = []

    def visit(path):
        for other in reversed(needs[path]):
            if other not in order:
                visit(other)
        if path not in order:
            order.append(path)

    for name in names:
        if name in by_name:
            visit(by_name[name])
        elif f"/{name}.ko" not in builtin:
            raise SystemExit(f"the kernel has no module {name}")
    return order


class Cpio:
    """The archive format of an initial file system, as the kernel's documentation has it."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0

    def add(self, name, mode, content=b"", major=0, minor=0):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(raw), 0]
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)


INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do
    /bin/busybox insmod /modules/$module
done
n=0
until /bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root; do
    n=$((n + 1))
    [ $n -lt 50 ] || { echo "no root image"; /bin/busybox poweroff -f; }
    /bin/busybox sleep 0.1
done
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/guest-init
"""

GUEST_INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt || echo "no share"
sh /mnt/guest.sh > /mnt/console 2>&1
sync
/bin/busybox poweroff -f
"""


def make_initrd(root, folder, target):
    """busybox, the modules in loading order, and the script above."""
    archive = Cpio()
    for name in ("bin", "dev", "proc", "root", "modules"):
        archive.add(name, 0o040755)
    archive.add("dev/console", 0o020600, major=5, minor=1)
    archive.add("bin/busybox", 0o100755, (root / "bin/busybox").read_bytes())
    archive.add("init", 0o100755, INIT.encode())
    order = []
    for path in module_closure(folder, BOOT_MODULES):
        name = pathlib.Path(path).name
        content = (folder / path).read_bytes()
        if name.endswith(".xz"):
            name, content = name[:-3], lzma.decompress(content)
        order.append(name)
        archive.add(f"modules/{name}", 0o100644, content)
    archive.add("modules/order", 0o100644, "\n".join(order).encode())
    archive.add("TRAILER!!!", 0)
    target.write_bytes(bytes(archive.data))


def prune_modules(folder):
    """Keep the modules that a virtual machine of this rig can use."""
    kernel = folder / "kernel"
    for path in sorted(kernel.rglob("*.ko*")):
        relative = str(path.relative_to(kernel))
        if not any(relative.startswith(keep) for keep in KEEP):
            path.unlink()


def build(sources, folder):
    """Everything, into @folder."""
    root = folder / "root"
    listing = folder / "sources.list"
    listing.write_text("\n".join(sources) + "\n")
    download = ('cd "$1"/tmp && image=$(apt-cache depends linux-image-amd64 '
                '| sed -n "s/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p" | head -n 1) && '
                'apt-get download -o APT::Sandbox::User=root "$image" && '
                'dpkg-deb -x linux-image-*.deb kernel && mv kernel/boot/vmlinuz-* "$1"/boot/ && '
                'mv kernel/*lib/modules "$1"/usr/lib/ && rm -r kernel linux-image-*.deb && '
                f'apt-get download -o APT::Sandbox::User=root {" ".join(UNPACKED)} && '
                'for i in *.deb; do dpkg-deb -x "$i" "$1"; done && rm ./*.deb')
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    subprocess.run(
        ["mmdebstrap", "--mode=root", "--variant=essential", "--include=" + ",".join(PACKAGES), "--quiet",
         "--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none",
         "--aptopt=Acquire::Retries 3",
         "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
         "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=force-unsafe-io",
         f"--customize-hook={download}", "", str(root), str(listing)],
        check=True, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    modules = next((root / "usr/lib/modules").iterdir())
    prune_modules(modules)
    subprocess.run(["chroot", str(root), "/sbin/depmod", modules.name], check=True)
    kernel = next((root / "boot").glob("vmlinuz-*"))
    (folder / "vmlinux").write_bytes(decompress_kernel(kernel.read_bytes()))
    make_initrd(root, modules, folder / "initrd")
    shutil.rmtree(root / "boot")
    script = root / "sbin/guest-init"
    script.write_text(GUEST_INIT)
    script.chmod(0o755)
    with open(folder / "root.img", "wb") as image:
        image.truncate(1 << 30)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E",
                    "root_owner=0:0", "-d", str(root), str(folder / "root.img")], check=True,
                   stdin=subprocess.DEVNULL)
    shutil.rmtree(root)


def make(sources, final, is_last):
    """Whether it could be made; what an archive does not give now it may give a moment later."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=CACHE))
    try:
        build(sources, folder)
        folder.chmod(0o755)
        folder.rename(final)
    except subprocess.CalledProcessError:
        if is_last:
            raise
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def main():
    sources = debian_sources()
    if not sources:
        raise SystemExit("apt knows no Debian archive; try apt-get update")
    key = repr([VERSION, PACKAGES, UNPACKED, BOOT_MODULES, KEEP, sources, INIT, GUEST_INIT])
    CACHE.mkdir(parents=True, exist_ok=True)
    final = CACHE / ("kernel-" + hashlib.sha256(key.encode()).hexdigest()[:16])
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            if os.geteuid() != 0:
                raise SystemExit("only root can make the image")
            for attempt in range(ATTEMPTS):
                if make(sources, final, attempt == ATTEMPTS - 1):
                    break
    print(final)


if __name__ == "__main__":
    main()
