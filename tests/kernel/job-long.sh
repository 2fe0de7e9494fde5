# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# ./dev test --all: a file system under a load of minutes, through five deaths of the daemon.

mkdir -p /tmp/disk

must "node record" new_node
must "login" login
must "disk appears" find_disk
must "mkfs.ext4" mkfs.ext4 -q -F "$DISK"
must "mount" mount -o discard "$DISK" /tmp/disk

written() { # prints sectors
    read -r _ _ _ _ _ _ sectors _ < "/sys/block/${DISK#/dev/}/stat"
    echo "$sectors"
}
has_written() { [ "$(written)" -ge "$1" ]; }

fio --name=l --directory=/tmp/disk --size=128m --bsrange=4k-256k --rw=randwrite --ioengine=libaio \
    --iodepth=16 --direct=1 --verify=crc32c --do_verify=1 --loops=2 > /tmp/load 2>&1 &
load=$!
round=1
while [ $round -le 5 ]; do
    ok "the load writes, time $round" wait_for has_written $(($(written) + 32768))
    ok "the daemon is killed and started again, time $round" host restart
    round=$((round + 1))
done

load_end() {
    wait $load
    status=$?
    tail -n 30 /tmp/load
    return $status
}

ok "the load has seen no error" load_end
ok "copy a tree" cp -a /usr/lib /tmp/disk/tree
ok "unmount" umount /tmp/disk
ok "file system check" e2fsck -fn "$DISK"
ok "mount again" mount "$DISK" /tmp/disk
ok "the tree is as it was" diff -r /usr/lib /tmp/disk/tree
ok "unmount again" umount /tmp/disk
ok "logout" logout
ok "no kernel warning" kernel_is_sane
