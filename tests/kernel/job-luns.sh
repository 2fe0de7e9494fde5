# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# Logical units of unusual numbers and sizes, and what changes while the initiator looks: a disk
# that grows, one that comes, one that goes, one that may not be written any more.

attention() { refused "$1" sg_turs -v "$2"; } # attention PATTERN SG
rescan() { iscsiadm -m session --rescan; }
calm() { udevadm settle; wait_for sg_turs "$1"; } # calm SG: nobody looks at it any more, all attentions are taken
gone() { ! disk_of "$1"; } # gone LUN
sectors() { cat "/sys/block/${1#/dev/}/size"; }

# The kernel makes its number of the two bytes as they are: those above 255 carry the mark of the
# flat addressing method.
flat() { echo $(($1 < 256 ? $1 : $1 + 16384)); }

write_last() { # write_last DISK: a block at the end, and back
    last=$(($(sectors "$1") - 1))
    dd if=/tmp/block of="$1" bs=512 count=1 seek=$last oflag=direct 2> /dev/null &&
        dd if="$1" bs=512 count=1 skip=$last iflag=direct 2> /dev/null | cmp - /tmp/block
}
read_beyond() { # read_beyond SG LBA
    # shellcheck disable=SC2046 # one argument a byte
    refused 'out of range' sg_raw -v -r 512 "$1" 88 00 $(printf '%016x' "$2" | sed 's/../& /g') 00 00 00 01 00 00
}

head -c 512 /dev/urandom > /tmp/block
for lun in 5 255 300 16383; do
    ok "LUN $lun" host disk "numbered$lun" $lun 16777216
done
ok "a disk of one block" host disk tiny 6 512
ok "a disk of 16 TiB less a page" host disk huge 7 17592186040320
ok "a disk of 64 TiB" host ctl backstore create vast --type=null --size=64T
ok "its LUN" host ctl lun add "$IQN" vast --lun=8
ok "a disk in memory" host ctl backstore create kept --type=ram --size=16M
ok "its LUN is read-only" host ctl lun add "$IQN" kept --lun=9 --read-only
must "node record" new_node
must "login" login
for lun in 0 5 6 7 8 9 255 300 16383; do
    ok "LUN $lun appears" wait_for disk_of "$(flat $lun)"
done
udevadm settle
G=$(sg_of "$(disk_of 0)")
ok "REPORT LUNS lists them all" says '9 lun entries' sg_luns "$G"
ok "one in flat addressing" says '412c000000000000' sg_luns "$G"
ok "the last one" says '7fff000000000000' sg_luns "$G"
ok "sg_luns --test: the number is what we gave" says '16383|0x3fff' sg_luns -t 7fff000000000000
for lun in 5 255 300 16383; do
    printf 'This is %-504s' $lun > /tmp/block
    ok "LUN $lun: write and read" write_last "$(disk_of "$(flat $lun)")"
done
for lun in 5 255 300 16383; do
    ok "LUN $lun is a disk of its own" \
        sh -c "dd if=$(disk_of "$(flat $lun)") bs=512 count=1 skip=32767 iflag=direct 2> /dev/null | grep -q 'This is $lun '"
done

TINY=$(disk_of 6)
ok "one block: its size" test "$(sectors "$TINY")" = 1
ok "one block: write and read" write_last "$TINY"
ok "one block: nothing beyond" read_beyond "$(sg_of "$TINY")" 1
ok "one block: READ CAPACITY(10)" says 'Last LBA=0 ' sg_readcap "$(sg_of "$TINY")"
HUGE=$(disk_of 7)
ok "16 TiB: its size" test "$(sectors "$HUGE")" = 34359738360
ok "16 TiB: write and read at the end" write_last "$HUGE"
ok "16 TiB: nothing beyond" read_beyond "$(sg_of "$HUGE")" 34359738360
ok "16 TiB: READ CAPACITY(10) says that it cannot" \
    says '00 +ff ff ff ff 00 00 02 00' sg_raw -r 8 "$(sg_of "$HUGE")" 25 00 00 00 00 00 00 00 00 00
ok "16 TiB: discard of 1 TiB" blkdiscard -o 0 -l 1T "$HUGE"
ok "16 TiB: mkfs.xfs" mkfs.xfs -q -f -K -l size=64m "$HUGE"
ok "16 TiB: the file is small still" test "$(host allocated huge)" -lt 200000
ok "64 TiB: its size" test "$(sectors "$(disk_of 8)")" = 137438953472
ok "64 TiB: the end can be read" \
    dd if="$(disk_of 8)" of=/dev/null bs=512 count=1 skip=137438953471 iflag=direct
READONLY=$(disk_of 9)
ok "read-only: the kernel knows" grep -qx 1 "/sys/block/${READONLY#/dev/}/ro"
ok "read-only: it reads" dd if="$READONLY" of=/dev/null bs=4k count=1 iflag=direct
ok "read-only: it does not write" \
    refused 'Data protect|Write protected' sg_raw -v -s 512 -i /tmp/block "$(sg_of "$READONLY")" 2a 00 00 00 00 00 00 00 01 00
ok "read-only: it does not unmap" refused 'rotect|Read-only' sg_unmap -v -f -l 0 -n 8 "$(sg_of "$READONLY")"

# Changes that the initiator sees

DISK=$(disk_of 5)
H=$(sg_of "$DISK")
calm "$H"
ok "the backstore grows" host ctl backstore resize numbered5 32M
ok "the initiator is told" attention 'Capacity data has changed' "$H"
ok "told once" sg_turs "$H"
ok "the kernel takes the new size" \
    sh -c "echo 1 > /sys/block/${DISK#/dev/}/device/rescan; test \"\$(cat /sys/block/${DISK#/dev/}/size)\" = 65536"
ok "the new end: write and read" write_last "$DISK"
ok "shrinking is refused" refused 'shrink|smaller' host ctl backstore resize numbered5 8M
ok "unless it is wanted" host ctl backstore resize numbered5 16M --allow-shrink
calm "$H"
ok "nothing beyond the new end" read_beyond "$H" 32768
ok "the kernel takes that size too" \
    sh -c "echo 1 > /sys/block/${DISK#/dev/}/device/rescan; test \"\$(cat /sys/block/${DISK#/dev/}/size)\" = 32768"

calm "$G"
ok "a LUN comes" host disk late 10 16777216
ok "the initiator is told of it" attention 'Reported luns data has changed' "$G"
ok "told once of it" sg_turs "$G"
ok "it is there after a rescan" sh -c 'iscsiadm -m session --rescan > /dev/null'
ok "the disk appears" wait_for disk_of 10
udevadm settle
ok "it can be written" write_last "$(disk_of 10)"
LATE=$(disk_of 10)
L=$(sg_of "$LATE")
calm "$G"
ok "the LUN goes" host ctl lun remove "$IQN" 10 --force
ok "the initiator is told of that" attention 'Reported luns data has changed' "$G"
ok "its commands are refused" refused 'Logical unit not supported|not supported' sg_turs -v "$L"
echo 1 > "/sys/block/${LATE#/dev/}/device/delete"
ok "the disk is gone" wait_for gone 10
rescan > /dev/null
ok "and stays so" gone 10
ok "nothing lists it" sh -c "! sg_luns $G | grep 000a000000000000"

DISK=$(disk_of 255)
H=$(sg_of "$DISK")
calm "$H"
ok "a LUN becomes read-only" host ctl lun read-only "$IQN" 255
calm "$H"
ok "it does not write now" \
    refused 'Data protect|Write protected' sg_raw -v -s 512 -i /tmp/block "$H" 2a 00 00 00 00 00 00 00 01 00
ok "the kernel sees it" \
    sh -c "echo 1 > /sys/block/${DISK#/dev/}/device/rescan; blockdev --rereadpt $DISK; cat /sys/block/${DISK#/dev/}/ro | grep -qx 1"
ok "it becomes writable" host ctl lun writable "$IQN" 255
calm "$H"
ok "it writes again" sg_raw -v -s 512 -i /tmp/block "$H" 2a 00 00 00 00 00 00 00 01 00
ok "storage goes offline" host ctl backstore offline numbered5
H=$(sg_of "$(disk_of 5)")
sg_turs "$H" # the unit attention
ok "not ready" refused 'not ready|Not ready|Not Ready' sg_turs -v "$H"
ok "storage comes back" host ctl backstore online numbered5
ok "ready" wait_for sg_turs "$H"
ok "logout" logout
ok "no kernel warning" kernel_is_sane
