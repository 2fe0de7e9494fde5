# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2034,SC2154
#
# CRC32C digests: each alone, both, none, and a target that insists on them, each under a load that
# checks what it reads. The way to the target leads through a relay that knows PDUs (wire.py): it is
# a witness of what the login said, and then turns over a bit now and then. Whoever receives such a
# PDU must see that, the initiator recovers, and no error and no wrong byte gets to who uses the disk.

PORTAL=$HOST:$WIRE
c='node.conn[0].iscsi'
s=node.session.iscsi

# No block is written twice: of two writes under way at a time one that is tried again may come last.
random() { # random WHAT BS SIZE [OPTION]...: all over a region at random, then read and compare
    what=$1
    bs=$2
    size=$3
    shift 3
    fio --name="$what" --filename="$DISK" --size="$size" --bs="$bs" --rw="$what" --ioengine=libaio \
        --iodepth=16 --direct=1 --verify=crc32c --do_verify=1 --randseed=7 "$@"
}
sizes() { # sizes WHAT: blocks of several sizes, each with a place of its own
    random "$1" 512 256k && random "$1" 4k 2m --offset=16m && random "$1" 64k 4m --offset=32m &&
        random "$1" 1m 8m --offset=64m
}
with_digests() { # with_digests HEADER DATA [SETTING]...: offer just these digests, and have them
    header=$1
    data=$2
    shift 2
    new_node "$c.HeaderDigest=$header" "$c.DataDigest=$data" "$@" && login && find_disk &&
        host digests "$header" "$data"
}
end() { logout && no_disk; }
no_io_error() { ! grep 'I/O error' /mnt/dmesg; }

for pair in "CRC32C CRC32C" "CRC32C None" "None CRC32C" "None None"; do
    header=${pair% *}
    data=${pair#* }
    must "header $header, data $data: the service and the wire say so" with_digests "$header" "$data"
    ok "header $header, data $data: writes" sizes randwrite
    ok "header $header, data $data: reads and writes" sizes randrw
    ok "header $header, data $data: logout" end
done
ok "no error so far" kernel_is_content
ok "nor here" test "$(host count 'digest from')" = 0

ok "the target insists on both" host ctl target set "$IQN" HeaderDigest=CRC32C DataDigest=CRC32C
must "a node record without digests" new_node "$c.HeaderDigest=None" "$c.DataDigest=None" \
    node.session.initial_login_retry_max=1
ok "it is refused" refused 'initiator error|login rejected|fail' login
ok "the journal says why" host journal "the target requires a digest that the initiator did not offer"
must "an initiator that would rather not has digests" new_node "$c.HeaderDigest=None,CRC32C" "$c.DataDigest=None,CRC32C"
ok "it gets in" login
must "it sees the disk" find_disk
ok "both digests are agreed on" host digests CRC32C CRC32C
ok "writes under duty" sizes randwrite
ok "logout under duty" end

# What is turned over, in one of how many PDUs, how often, with what size of block, and who notices: dmesg has
# conn error 1014 for a header and 1015 for data, and Rejects; the service logs what it finds itself.
damaged() { # damaged NAME PLACE EVERY TIMES SIZE WITNESS PATTERN [SETTING]...
    label=$1
    place=$2
    every=$3
    times=$4
    block=$5
    witness=$6
    pattern=$7
    shift 7
    before=$($witness "$pattern")
    must "$label: login" with_digests CRC32C CRC32C 'node.conn[0].timeo.noop_out_timeout=5' "$@"
    must "$label: damage begins" host damage "$place" "$every" "$times"
    ok "$label: the load sees nothing of it" random randwrite "$block" 6m
    ok "$label: nor do reads and writes at a time" random randrw "$block" 4m --offset=64m
    done=$(host spare)
    ok "$label: PDUs were damaged, $done times" test "$done" -gt 0
    after=$($witness "$pattern")
    ok "$label: it was noticed, $((after - before)) times" test "$after" -gt "$before"
    ok "$label: the data is right without damage" random randwrite "$block" 6m --verify_only
    ok "$label: digests are agreed on again" host digests CRC32C CRC32C
    ok "$label: logout" end
}
in_log() { host count "$1"; }
in_dmesg() { dmesg | grep -c "$1"; }

damaged "solicited data" out-data 10 4 64k in_log 'Wrong data digest from' \
    "$s.InitialR2T=Yes" "$s.ImmediateData=No"
damaged "unsolicited data" out-data 10 4 64k in_dmesg 'rejected due to DataDigest error' \
    "$s.InitialR2T=No" "$s.ImmediateData=No"
damaged "header of data" out-header 20 3 64k in_log 'Wrong header digest from' \
    "$s.InitialR2T=Yes" "$s.ImmediateData=No"
damaged "data that comes" in-data 40 4 64k in_dmesg 'conn error (1015)'
damaged "header of data that comes" in-header 100 3 16k in_dmesg 'conn error (1014)'
damaged "header of a command" command-header 150 3 16k in_log 'Wrong header digest from'
damaged "immediate data" command-data 60 3 8k in_log 'Wrong data digest from'
ok "the kernel is content" kernel_is_sane
ok "no I/O error" no_io_error
