# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# What an administrator does on the first day: find the disk, use it, let it go.

ok "discovery lists the target" says "$IQN" iscsiadm -m discovery -t st -p "$PORTAL"
iscsiadm -m node -o delete
ok "node record" new_node
must "login" login
must "disk appears" find_disk
ok "INQUIRY" says "Peripheral device type: disk" sg_inq "$DISK"
ok "VPD device identification" says "NAA" sg_vpd -p di "$DISK"
ok "VPD block limits" says "Maximum unmap LBA count" sg_vpd -p bl "$DISK"
ok "VPD logical block provisioning" says "Unmap command supported \(LBPU\): 1" sg_vpd -p lbpv "$DISK"
ok "READ CAPACITY(16)" says "Logical block length=512 bytes" sg_readcap -16 "$DISK"
ok "REPORT LUNS" sg_luns "$DISK"
ok "REPORT SUPPORTED OPERATION CODES" says "Read\(16\)" sg_opcodes "$DISK"
ok "caching mode page" says "WCE|Caching" sg_modes -p 8 "$DISK"
ok "discard is offered" grep -qv '^0$' "/sys/block/${DISK#/dev/}/queue/discard_max_bytes"
ok "discard the whole disk" blkdiscard "$DISK"
ok "write zeroes" blkdiscard -z -o 0 -l 1048576 "$DISK"
must "mkfs.ext4" mkfs.ext4 -q -F "$DISK"
mkdir -p /tmp/disk
must "mount" mount -o discard "$DISK" /tmp/disk
ok "fio with verify, buffered" fio --name=a --directory=/tmp/disk --size=24m --bs=64k --rw=write \
    --fsync=32 --verify=crc32c --do_verify=1
ok "fio with verify, direct, 4 KiB random" fio --name=b --directory=/tmp/disk --size=8m --bs=4k \
    --rw=randwrite --ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c --do_verify=1
ok "fio with verify, direct, mixed sizes" fio --name=c --directory=/tmp/disk --size=24m \
    --bsrange=4k-512k --rw=randwrite --ioengine=libaio --iodepth=8 --direct=1 --verify=crc32c \
    --do_verify=1
ok "fstrim" fstrim /tmp/disk
ok "copy a tree" cp -a /usr/lib/udev /tmp/disk/tree
ok "unmount" umount /tmp/disk
ok "file system check" e2fsck -fn "$DISK"
ok "logout" logout
ok "disk is gone" no_disk
ok "second login" login
must "disk is back" find_disk
must "mount again" mount "$DISK" /tmp/disk
ok "the tree is as it was" diff -r /usr/lib/udev /tmp/disk/tree
ok "unmount again" umount /tmp/disk
ok "last logout" logout
ok "no kernel warning" kernel_is_content
