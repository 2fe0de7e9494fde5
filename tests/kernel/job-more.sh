# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# Every way to negotiate, XFS, resets under load, and a daemon that is killed under a file system.

mkdir -p /tmp/disk

write_and_verify() { # on the raw disk, with what the session negotiated
    fio --name=v --filename="$DISK" --size=4m --bsrange=512-256k --blockalign=512 --rw=randwrite \
        --ioengine=libaio --iodepth=8 --direct=1 --verify=crc32c --do_verify=1
}

variant() { # variant NAME [SETTING=VALUE]...
    name=$1
    shift
    if new_node "$@" && login && find_disk; then
        ok "variant: $name" write_and_verify
    else
        ok "variant: $name" false
    fi
    logout
    no_disk
}

s=node.session.iscsi
c='node.conn[0].iscsi'
variant "header digest" "$c.HeaderDigest=CRC32C"
variant "data digest" "$c.DataDigest=CRC32C"
variant "both digests" "$c.HeaderDigest=CRC32C" "$c.DataDigest=CRC32C"
variant "InitialR2T, no immediate data" "$s.InitialR2T=Yes" "$s.ImmediateData=No"
variant "InitialR2T, immediate data" "$s.InitialR2T=Yes" "$s.ImmediateData=Yes"
variant "unsolicited data, no immediate data" "$s.InitialR2T=No" "$s.ImmediateData=No"
variant "bursts of 512 bytes" "$s.FirstBurstLength=512" "$s.MaxBurstLength=512" \
    "$c.MaxRecvDataSegmentLength=512"
variant "segments of 4 KiB" "$c.MaxRecvDataSegmentLength=4096" "$c.MaxXmitDataSegmentLength=4096"
variant "a burst of 16 MiB" "$s.FirstBurstLength=16776192" "$s.MaxBurstLength=16776192"
variant "queue depth 1" "node.session.queue_depth=1" "node.session.cmds_max=16"
variant "digests with small bursts" "$c.HeaderDigest=CRC32C" "$c.DataDigest=CRC32C" \
    "$s.FirstBurstLength=4096" "$s.MaxBurstLength=8192" "$s.InitialR2T=Yes"

new_node
must "login for XFS" login
must "disk for XFS" find_disk
ok "kernel is content so far" kernel_is_content
must "mkfs.xfs" mkfs.xfs -q -f "$DISK"
must "mount XFS" mount -o discard "$DISK" /tmp/disk
ok "fio on XFS" fio --name=x --directory=/tmp/disk --size=24m --bsrange=4k-256k --rw=randwrite \
    --ioengine=libaio --iodepth=8 --direct=1 --verify=crc32c --do_verify=1 --end_fsync=1
ok "fstrim on XFS" fstrim /tmp/disk
ok "unmount XFS" umount /tmp/disk
ok "xfs_repair finds nothing" xfs_repair -n "$DISK"

load_begin "$DISK"
must "the load runs" load_runs
ok "logical unit reset under load" sg_reset -N -d "$DISK"
ok "the load goes on after it" load_runs
ok "target reset under load" sg_reset -N -t "$DISK"
ok "the load goes on after that" load_runs
if [ "$CAN_RESTART" = 1 ]; then
    ok "the daemon is killed and started again" host restart
    ok "the load goes on with the new one" load_runs
else
    skip "the daemon is killed and started again" "the target cannot be restarted here"
fi
ok "the load has seen no error" load_end
ok "mkfs.ext4 after it" mkfs.ext4 -q -F "$DISK"
ok "file system check after it" e2fsck -fn "$DISK"
ok "logout" logout
ok "no kernel warning" kernel_is_sane
