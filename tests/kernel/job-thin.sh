# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# What is discarded in the guest is given back by the host: after each way to discard, the backing
# file must have lost what it held, and what was not discarded must be as it was.

mkdir -p /tmp/disk

allocated() { host allocated disk; } # prints KiB
fewer() { # fewer KIB COMMAND...: the file has at least so much less after the command
    least=$1
    shift
    before=$(allocated)
    "$@" || return 1
    after=$(allocated)
    echo "# $before KiB before, $after after"
    [ $((before - after)) -ge "$least" ]
}
more() { # more KIB COMMAND...
    least=$1
    shift
    before=$(allocated)
    "$@" || return 1
    after=$(allocated)
    echo "# $before KiB before, $after after"
    [ $((after - before)) -ge "$least" ]
}
fill() { dd if=/tmp/data of="$1" bs=1M oflag=direct conv=notrunc 2> /dev/null; } # 32 MiB, no zeros
shrunk() { sync; [ "$(allocated)" -lt $((full - 4000)) ]; }
zeros() { # zeros FIRST-KIB KIB: read past the cache
    dd if="$DISK" bs=64k skip=$(($1 * 1024)) count=$(($2 * 1024)) iflag=direct,skip_bytes,count_bytes 2> /dev/null |
        cmp -n $(($2 * 1024)) - /dev/zero
}
data() { # data FIRST-KIB KIB: what fill() wrote
    dd if="$DISK" bs=64k skip=$(($1 * 1024)) count=$(($2 * 1024)) iflag=direct,skip_bytes,count_bytes 2> /dev/null |
        cmp -i 0:$(($1 * 1024)) -n $(($2 * 1024)) - /tmp/data
}

head -c 32M /dev/urandom > /tmp/data
head -c 12M /dev/urandom > /tmp/file
must "node record" new_node
must "login" login
must "disk appears" find_disk
queue=/sys/block/${DISK#/dev/}/queue
ok "the kernel discards with UNMAP or WRITE SAME" \
    grep -qE 'unmap|writesame' "/sys/block/${DISK#/dev/}"/device/scsi_disk/*/provisioning_mode
ok "discard_max_bytes is that of VPD B0" test "$(cat "$queue/discard_max_hw_bytes")" -ge 536870912
ok "discard_granularity" grep -qx 4096 "$queue/discard_granularity"
ok "write_zeroes_max_bytes" grep -qv '^0$' "$queue/write_zeroes_max_bytes"
ok "the kernel knows it as thin" grep -qx 1 "/sys/block/${DISK#/dev/}"/device/scsi_disk/*/thin_provisioning

ok "the file grows with what is written" more 32000 fill "$DISK"
ok "blkdiscard of a range" fewer 8000 blkdiscard -o 8388608 -l 8388608 "$DISK"
ok "it reads as zeros" zeros 8192 8192
ok "what is before it is as it was" data 6144 2048
ok "what is after it is as it was" data 16384 2048
ok "blkdiscard of one block that is not aligned" blkdiscard -o 512 -l 512 "$DISK"
ok "its neighbours are as they were" data 1 16
dd if=/tmp/data of="$DISK" bs=1M count=1 oflag=direct conv=notrunc 2> /dev/null
ok "blkdiscard -z" blkdiscard -z -o 4194304 -l 4194304 "$DISK"
ok "it wrote zeros" zeros 4096 4096
ok "and nothing else" data 2048 2048
ok "fallocate -p on the block device" fewer 4000 fallocate -p -o 16777216 -l 4194304 "$DISK"
ok "that is a hole now" zeros 16384 4096
ok "fallocate -z on the block device" fallocate -z -o 20971520 -l 4194304 "$DISK"
ok "that is zeros" zeros 20480 4096
ok "and what follows is as it was" data 24576 2048
ok "blkdiscard of everything" fewer 12000 blkdiscard "$DISK"
ok "nothing is left" zeros 0 8192
ok "the file is nearly empty" test "$(allocated)" -lt 64

for kind in ext4 xfs; do
    case $kind in
    ext4) must "mkfs.ext4" mkfs.ext4 -q -F "$DISK" ;;
    xfs) must "mkfs.xfs" mkfs.xfs -q -f "$DISK" ;;
    esac
    must "$kind: mount without discard" mount "$DISK" /tmp/disk
    ok "$kind: a file" more 12000 sh -c 'cp /tmp/file /tmp/disk/a && sync'
    cp /tmp/file /tmp/disk/b
    sync
    ok "$kind: the hole in a file" fallocate -p -o 4194304 -l 6291456 /tmp/disk/b
    ok "$kind: fstrim gives it back" fewer 6000 fstrim -v /tmp/disk
    ok "$kind: its other parts are as they were" \
        sh -c 'cmp -n 4194304 /tmp/disk/b /tmp/file && cmp -i 10485760 /tmp/disk/b /tmp/file'
    rm /tmp/disk/a
    sync
    ok "$kind: fstrim after a file is gone" fewer 12000 fstrim -v /tmp/disk
    umount /tmp/disk
    must "$kind: mount with discard" mount -o discard "$DISK" /tmp/disk
    full=$(allocated)
    rm /tmp/disk/b
    ok "$kind: a file that is gone gives its space back by itself" wait_for shrunk
    umount /tmp/disk
done
ok "logout" logout
ok "no kernel warning" kernel_is_content
