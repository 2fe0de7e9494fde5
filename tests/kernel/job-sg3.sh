# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# The SCSI commands one by one, as sg3-utils, ddpt, smartctl and sdparm see them. Each tool decodes
# what it gets with knowledge of its own, so a field in the wrong place shows in the text. The
# commands go to the sg device: a partition scan, a page cache or an open for writing is not wanted.

raw_read() { # raw_read DISK LBA BLOCKS
    dd if="$1" bs=64k skip=$(($2 * 512)) count=$(($3 * 512)) iflag=direct,skip_bytes,count_bytes 2> /dev/null
}
raw_write() { # raw_write DISK LBA < DATA
    dd of="$1" bs=64k seek=$(($2 * 512)) iflag=fullblock oflag=direct,seek_bytes conv=notrunc 2> /dev/null
}
same() { # same FILE DISK LBA: the disk has at LBA what is in the file
    raw_read "$2" "$3" $(($(stat -c %s "$1") / 512)) | cmp - "$1"
}
is_zero() { raw_read "$1" "$2" "$3" | cmp -n $(($3 * 512)) - /dev/zero; } # is_zero DISK LBA BLOCKS
repeat() { # repeat TIMES FILE: a power of two
    cp "$2" /tmp/once
    n=1
    while [ $n -lt "$1" ]; do
        cat /tmp/once /tmp/once > /tmp/twice
        mv /tmp/twice /tmp/once
        n=$((n * 2))
    done
    cat /tmp/once
}

sense='5|Illegal request|Illegal Request'
invalid_field='[Ii]nvalid field in cdb|[Bb]ad field in cdb'
invalid_opcode='[Ii]nvalid command operation code|not supported|Illegal request, Invalid opcode|Invalid opcode'

must "a second disk" host disk two 1 67108864
must "node record" new_node
must "login" login
must "disks appear" wait_for disk_of 1
udevadm settle
DISK=$(disk_of 0)
TWO=$(disk_of 1)
G=$(sg_of "$DISK")

# Who are you

ok "sg_inq: version and bits" clean 'TPGS=3  3PC=1' sg_inq "$G"
ok "sg_inq: command queueing" clean 'CmdQue=1' sg_inq "$G"
ok "sg_inq -d: version descriptors or none" says 'Vendor identification: LUNPORT' sg_inq -d "$G"
ok "sg_inq: a page that is not there" refused "$invalid_field" sg_inq -v --force --page=0xc5 "$G"
ok "sg_vpd: supported pages" clean 'Device identification \[di\]' sg_vpd "$G"
pages=$(sg_vpd "$G" | sed -n 's/.*\[\([a-z0-9]*\)\]$/\1/p')
for page in $pages; do
    ok "sg_vpd: page $page" clean 'VPD page' sg_vpd -p "$page" "$G"
    ok "sg_inq: page $page" clean . sg_inq --page="$page" "$G"
done
ok "sg_vpd -a: everything" clean 'Block limits' sg_vpd -a "$G"
ok "sg_vpd: as many pages as expected" test "$(echo "$pages" | wc -w)" -ge 11
ok "sg_vpd: the serial number is that of the page" \
    says "$(sg_inq "$G" | sed -n 's/.*serial number: //p')" sg_vpd -p sn "$G"
ok "the kernel has read the same" \
    sh -c "sg_vpd -p di -rr $G 2> /dev/null | cmp - /sys/block/${DISK#/dev/}/device/vpd_pg83"
ok "the kernel's identifier is one of the page" \
    says "$(sed 's/^t10.LUNPORT *//; s/^naa.//' "/sys/block/${DISK#/dev/}/device/wwid")" sg_vpd -p di "$G"
ok "sg_luns: 0 and 1" says '0001000000000000' sg_luns "$G"
ok "sg_luns --select=1: the well known unit" says 'c101000000000000' sg_luns -s 1 "$G"
ok "sg_luns --select=2: all" says '3 lun entries' sg_luns -s 2 "$G"
ok "sg_luns --select=16: no administrative units" says '0 lun entries' sg_luns -s 16 "$G"
ok "sg_luns --select=17" says '2 lun entries' sg_luns -s 17 "$G"
ok "sg_luns --select=18: none that is subsidiary" says '0 lun entries' sg_luns -s 18 "$G"
ok "sg_luns --select=3 is refused" refused "$invalid_field" sg_luns -s 3 "$G"
ok "sg_readcap" says 'Last LBA=2097151 ' sg_readcap "$G"
ok "sg_readcap -l" says 'lbpme=1, lbprz=1' sg_readcap -l "$G"
ok "sg_readcap -l: 4096-byte physical blocks" says 'exponent=3 ' sg_readcap -l "$G"
ok "sg_ident: set" sh -c "printf lunport-rig | sg_ident --set $G"
ok "sg_ident: told" says 'lunport-rig' sg_ident -A "$G"
ok "sg_ident: cleared" sg_ident --clear "$G"
ok "sg_ident: nothing left" sh -c "! sg_ident -A $G 2>&1 | grep lunport-rig"
ok "sg_ident: the types" says 'Maximum information length: [1-9]' sg_ident --itype 127 "$G"
ok "sg_timestamp: set" sg_timestamp --milliseconds=1700000000000 "$G"
ok "sg_timestamp: goes on from there" says '^1700[0-9]{9}$' sg_timestamp "$G"
ok "sg_timestamp: says where it is from" says 'SET TIMESTAMP' sg_timestamp -o "$G"

# Pages

ok "sg_modes -a" clean 'Informational exceptions control' sg_modes -a "$G"
ok "sg_modes -aa: subpages" clean 'Control extension' sg_modes -aa "$G"
ok "sg_modes: changeable" clean 'page_control: changeable' sg_modes -c 1 -a "$G"
ok "sg_modes: default" clean 'page_control: default' sg_modes -c 2 -a "$G"
ok "sg_modes: saved" clean 'page_control: saved' sg_modes -c 3 -aa "$G"
ok "sg_modes: MODE SENSE(6)" clean 'MODE SENSE\(6\)' sg_modes -6 -a "$G"
ok "sg_modes: long LBA" clean 'longlba=1' sg_modes -L -a "$G"
ok "sg_modes: a page that is not there" refused "$sense" sg_modes -p 0x2d "$G"
ok "sdparm" says 'WCE +1' sdparm -p ca "$G"
ok "sdparm -a: all fields" says 'D_SENSE +0' sdparm -a "$G"
ok "sdparm -i" says 'NAA' sdparm -i "$G"
ok "sdparm: descriptor sense on" sdparm --quiet --set=D_SENSE "$G"
ok "sdparm: it is on" says 'D_SENSE +1' sdparm --get=D_SENSE "$G"
ok "sense is in descriptor format" refused 'Descriptor format' sg_inq -v --force --page=0xc5 "$G"
ok "sdparm: descriptor sense off" sdparm --quiet --clear=D_SENSE "$G"
ok "sdparm: write protection on, saved" sdparm --quiet --save --set=SWP "$G"
ok "a write is refused with DATA PROTECT" \
    refused 'Data protect|write protected|Write protected' sg_write_same --10 --lba=0 --num=8 -i /dev/zero -x 512 "$G"
ok "sg_modes: WP is set" says 'WP=1' sg_modes -p 0xa "$G"
ok "sdparm: write protection off" sdparm --quiet --save --clear=SWP "$G"
ok "sg_modes: WP is clear" says 'WP=0' sg_modes -p 0xa "$G"
ok "sdparm: a field that cannot be changed" refused . sdparm --set=DRA "$G"
ok "sdparm -C capacity" says 'blocks: 2097152' sdparm -C capacity "$G"
ok "sg_logs -a" clean 'Informational Exceptions page' sg_logs -a "$G"
ok "sg_logs -aa: subpages" clean 'Supported log pages and subpages' sg_logs -aa "$G"
for page in $(sg_logs "$G" | sed -n 's/.*\[\([a-z0-9]*\)\]$/\1/p'); do
    ok "sg_logs: page $page" clean . sg_logs -p "$page" "$G"
done
ok "sg_logs: a page that is not there" refused "field in cdb illegal|$sense" sg_logs -p 0x18 "$G"
ok "sg_logs: reset of the counters" sg_logs --reset --select --control=1 --page=2 "$G"
ok "smartctl -a" clean 'SMART Health Status: OK' smartctl -a "$G"
ok "smartctl: its identity" clean 'LU is thin provisioned, LBPRZ=1' smartctl -i "$G"
ok "smartctl: self-test log" clean 'No Self-tests|Self-test' smartctl -l selftest "$G"

# Commands

ok "sg_opcodes -a" clean 'Read\(16\)' sg_opcodes -a "$G"
ok "sg_opcodes: as many as expected" sh -c "test \$(sg_opcodes -a $G | grep -c '^ [0-9a-f][0-9a-f] ') -ge 70"
ok "sg_opcodes: timeouts" clean 'Nominal +Recommended' sg_opcodes -a -R "$G"
ok "sg_opcodes: one command" says 'Usage data: 28 18 ff ff ff ff 00 ff ff 00' sg_opcodes -n -o 0x28 "$G"
ok "sg_opcodes: one command with its timeouts" clean 'timeout' sg_opcodes -n -R -o 0x42 "$G"
ok "sg_opcodes: a service action" says 'Usage data: 9e (1f|12) ff' sg_opcodes -n -o 0x9e,0x12 "$G"
ok "sg_opcodes: what is not supported" says 'Command is NOT supported' sg_opcodes -n -o 0x85 "$G"
ok "sg_opcodes -t: task management" clean 'Logical unit reset' sg_opcodes -t "$G"
ok "sg_opcodes -t -q: with timeouts" clean 'tmf long timeout' sg_opcodes -t -q "$G"
ok "sg_turs" sg_turs -n 5 "$G"
ok "sg_requests: nothing to tell" says 'No Sense' sg_requests "$G"
ok "sg_requests -d: descriptor format" says 'Descriptor format' sg_requests -d "$G"
ok "sg_senddiag: self-test" says 'GOOD' sg_senddiag -t "$G"
ok "sg_senddiag: the pages" says '0x00' sg_senddiag -l "$G"
ok "sg_ses is refused" refused "$sense" sg_ses -p 1 "$G"
ok "sg_rdac is refused" refused "$sense" sg_rdac -a "$G"
ok "sg_get_elem_status is refused" refused "$invalid_field|$invalid_opcode" sg_get_elem_status "$G"
ok "sg_sat_identify is refused" refused "$sense|$invalid_opcode" sg_sat_identify "$G"
ok "sg_zone is refused" refused "$sense|$invalid_opcode" sg_reset_wp --all "$G"
head -c 64 /dev/urandom > /tmp/echo
# sg_read_buffer 1.46 always asks for no bytes.
ok "READ BUFFER: descriptor" says '00 +03|00 +0[0-9] ' sg_raw -r 4 "$G" 3c 0b 00 00 00 00 00 00 04 00
ok "sg_write_buffer: echo" sg_write_buffer -m echo -I /tmp/echo --length=64 "$G"
ok "READ BUFFER: echo" \
    sh -c "sg_raw -r 64 -o /tmp/back $G 3c 0a 00 00 00 00 00 00 40 00 && cmp /tmp/back /tmp/echo"
ok "sg_write_buffer: microcode is refused" \
    refused "$sense" sg_write_buffer -m dmc -I /tmp/echo --length=64 "$G"
ok "sg_sync" sg_sync "$G"
ok "sg_sync --16" sg_sync --16 --lba=8 --count=8 "$G"
ok "sg_start: start" sg_start --start "$G"
ok "sg_start: stop, answered at once" sg_start --immed --stop "$G"
ok "it stops behind" wait_for refused 'not ready|Not ready|NOT_READY' sg_turs -v "$G"
ok "sg_start: start, answered at once" sg_start --immed --start "$G"
ok "it starts behind" wait_for sg_turs "$G"
ok "sg_rbuf" sg_rbuf --size=64k "$G"
ok "sg_rtpg" says 'active/optimized' sg_rtpg -d "$G"
ok "sg_rtpg -e: extended header" clean 'Implicit transition time' sg_rtpg -d -e "$G"
ok "sg_reset: logical unit" sg_reset -N -d "$G"
ok "sg_reset: target" sg_reset -N -t "$G"
ok "sg_turs after it" wait_for sg_turs "$G"

# The medium

head -c 1M /dev/urandom > /tmp/data
head -c 512 /dev/urandom > /tmp/block
ok "sg_dd writes" sg_dd if=/tmp/data of="$G" bs=512 bpt=128 blk_sgio=1
ok "sg_dd reads the same" \
    sh -c "sg_dd if=$G of=/tmp/back bs=512 count=2048 cdbsz=16 && cmp /tmp/back /tmp/data"
ok "sg_dd with FUA and DPO" sg_dd if=/tmp/data of="$G" bs=512 oflag=fua,dpo count=256
ok "sgp_dd: threads" sh -c "sgp_dd if=$G of=/tmp/back bs=512 count=2048 thr=4 && cmp /tmp/back /tmp/data"
ok "sg_read" sg_read if="$G" bs=512 count=2048 bpt=32
ok "sg_get_lba_status: mapped" says 'blocks: +2048  mapped' sg_get_lba_status -l 0 "$G"
ok "sg_get_lba_status: a hole" says 'blocks: +2093056  deallocated' sg_get_lba_status -l 4096 "$G"
ok "sg_get_lba_status -b" says '0x0*400  0x400  0  0' sg_get_lba_status -b -l 1024 "$G"
ok "sg_unmap" sg_unmap -f -l 1024,2000 -n 512,8 "$G"
ok "sg_get_lba_status: unmapped" says 'blocks: +512  deallocated' sg_get_lba_status -l 1024 "$G"
ok "what is unmapped reads as zeros" is_zero "$DISK" 1024 512
ok "what is not still has its data" \
    sh -c "dd if=$DISK bs=512 skip=1536 count=448 iflag=direct 2> /dev/null | cmp - /tmp/data 0 786432 -n 229376"
ok "sg_unmap beyond the end" refused 'LBA out of range' sg_unmap -f -l 0x10000000 -n 8 "$G"
ok "sg_unmap --all" sg_unmap -f --all=8192,4096 "$G"
ok "sg_unmap: anchor is refused" refused 'bad field in UNMAP cdb' sg_unmap -f -a -l 1024 -n 8 "$G"
repeat 16 /tmp/block > /tmp/blocks
ok "sg_write_same (10)" sg_write_same --10 -i /tmp/block -l 8 -n 16 "$G"
ok "it wrote the block 16 times" same /tmp/blocks "$DISK" 8
ok "sg_write_same (16)" sg_write_same --16 -i /tmp/block -l 40 -n 16 "$G"
ok "and so did the longer one" same /tmp/blocks "$DISK" 40
ok "sg_write_same --ndob" sg_write_same --16 --ndob -l 40 -n 8 "$G"
ok "it wrote zeros" is_zero "$DISK" 40 8
ok "and no more of them" \
    sh -c "dd if=$DISK bs=512 skip=48 count=8 iflag=direct 2> /dev/null | cmp -n 4096 - /tmp/blocks"
ok "sg_write_same --unmap (16)" sg_write_same --16 --unmap -l 8 -n 16 "$G"
ok "it reads as zeros" is_zero "$DISK" 8 16
ok "sg_write_same --unmap (10)" sg_write_same --10 --unmap -l 48 -n 8 "$G"
ok "sg_write_same --unmap with NDOB" sg_write_same --16 --unmap --ndob -l 1536 -n 64 "$G"
ok "it reads as zeros as well" is_zero "$DISK" 1536 64
ok "sg_write_same: anchor is refused" refused "$sense" sg_write_same --16 --anchor --unmap -l 8 -n 8 "$G"
ok "sg_write_same: no length is refused" refused "$sense" sg_write_same --16 -i /tmp/block -l 8 -n 0 "$G"
ok "sg_write_same: more than the limit is refused" \
    refused "$sense" sg_write_same --16 -i /tmp/block -l 8 -n 600000 "$G"
raw_write "$DISK" 100 < /tmp/block
head -c 512 /dev/urandom > /tmp/other
cat /tmp/block /tmp/other > /tmp/pair
ok "sg_compare_and_write: match" sg_compare_and_write -i /tmp/pair -l 100 -n 1 -x 1024 "$G"
ok "it wrote the second block" same /tmp/other "$DISK" 100
ok "sg_compare_and_write: miscompare" \
    refused 'Miscompare at byte offset: 0' sg_compare_and_write -i /tmp/pair -l 100 -n 1 -x 1024 "$G"
ok "it wrote nothing" same /tmp/other "$DISK" 100
cp /tmp/other /tmp/nearly
printf '\377' | dd of=/tmp/nearly bs=1 seek=300 conv=notrunc 2> /dev/null
cmp -s /tmp/other /tmp/nearly && printf '\376' | dd of=/tmp/nearly bs=1 seek=300 conv=notrunc 2> /dev/null
cat /tmp/nearly /tmp/block > /tmp/pair
ok "sg_compare_and_write: the offset of the miscompare" \
    refused 'byte offset: 300 ' sg_compare_and_write -i /tmp/pair -l 100 -n 1 -x 1024 "$G"
repeat 256 /tmp/block > /tmp/many
ok "sg_compare_and_write: more than the limit is refused" \
    refused "$sense|num > 255|exceeds" sg_compare_and_write -i /tmp/many -l 100 -n 256 -x 131072 "$G"
ok "sg_verify" sg_verify -l 0 -c 1024 "$G"
ok "sg_verify --16" sg_verify --16 -l 0 -c 1024 "$G"
raw_read "$DISK" 100 8 > /tmp/eight
ok "sg_verify --ndo: equal" sg_verify -l 100 -c 8 --ndo=4096 -i /tmp/eight "$G"
printf '\001\002' | dd of=/tmp/eight bs=1 seek=1000 conv=notrunc 2> /dev/null
ok "sg_verify --ndo: not equal" \
    refused 'Info fld=0x3e[89]|MISCOMPARE' sg_verify -v -l 100 -c 8 --ndo=4096 -i /tmp/eight "$G"
sg_write_same --16 -i /tmp/block -l 200 -n 8 "$G"
ok "sg_verify --ebytchk=3: all blocks equal" \
    sg_verify --16 --ebytchk=3 -l 200 -c 8 --ndo=512 -i /tmp/block "$G"
ok "sg_verify --ebytchk=3: one is not" \
    refused 'MISCOMPARE' sg_verify --16 --ebytchk=3 -l 199 -c 8 --ndo=512 -i /tmp/block "$G"
ok "sg_write_verify" sg_write_verify --16 -l 300 -n 1 -i /tmp/block "$G"
ok "it wrote" same /tmp/block "$DISK" 300
ok "sg_write_verify --bytchk (10)" sg_write_verify --bytchk=1 -l 301 -n 1 -i /tmp/other "$G"
ok "it wrote too" same /tmp/other "$DISK" 301
ok "sg_write_x --or" sg_write_x --or --16 --bs=512 --lba=300 --num=1 --in=/tmp/other "$G"
ok "sg_write_x --atomic" sg_write_x --atomic=0 --16 --bs=512 --lba=400 --num=16 --in=/tmp/blocks "$G"
ok "the atomic write wrote" same /tmp/blocks "$DISK" 400
ok "sg_prefetch" sg_seek --pre-fetch --lba=0 --num-blocks=64 "$G"
ok "sg_read_block_limits is for tapes" refused "$sense|$invalid_opcode" sg_read_block_limits "$G"
ok "sg_reassign: no grown defects" says 'grown defect list: 0' sg_reassign -g "$G"

# Copies

raw_write "$DISK" 0 < /tmp/data
ok "sg_copy_results: what it can" clean 'Maximum segment length: [1-9]' sg_copy_results -p "$G"
ok "sg_xcopy to the other disk" sg_xcopy if="$DISK" of="$TWO" bs=512 count=2048
ok "the copy is equal" same /tmp/data "$TWO" 0
ok "ddpt with oflag=xcopy" ddpt if="$DISK" of="$TWO" bs=512 seek=8192 count=2048 oflag=xcopy
ok "its copy is equal" same /tmp/data "$TWO" 8192
ok "ddpt with iflag=xcopy on one disk" ddpt if="$DISK" iflag=xcopy of="$DISK" bs=512 seek=65536 count=2048
ok "a copy on the same disk is equal" same /tmp/data "$DISK" 65536

# The same to a disk of another target. The session there is only to look at what has come.

OTHER=$IQN-other
there() { (IQN=$OTHER && "$@"); } # there COMMAND...: with the other target
must "a third disk" host ctl backstore create three --type=ram --size=64M
must "another target" host ctl target create "$OTHER" --enable
must "it is open" host ctl access open "$OTHER"
must "the disk is there" host ctl lun add "$OTHER" three --lun=7
ok "node record of the other target" there new_node
ok "login to the other target" there login
ok "its disk appears" wait_for disk_of 7
udevadm settle
THREE=$(disk_of 7)
ok "sg_xcopy to the disk of the other target" sg_xcopy if="$DISK" of="$THREE" bs=512 count=2048
ok "that copy is equal" same /tmp/data "$THREE" 0
ok "sg_xcopy from the other target" sg_xcopy if="$THREE" of="$TWO" bs=512 seek=32768 count=2048
ok "it is equal too" same /tmp/data "$TWO" 32768
ok "ddpt on the other target's disk" ddpt if="$THREE" iflag=xcopy of="$THREE" bs=512 seek=8192 count=2048
ok "equal again" same /tmp/data "$THREE" 8192
ok "the other target is closed" host ctl access close "$OTHER"
ok "no copy to who could not log in" \
    refused '[Cc]opy aborted' sg_xcopy --on_src if="$DISK" of="$THREE" bs=512 seek=32768 count=2048
ok "nothing was written" is_zero "$THREE" 32768 2048
ok "logout from the other target" there logout

# A copy by token, as Windows does it. By hand: the range descriptors of ddpt 0.97 begin one byte too
# early, so they name 256 times the LBA and the number of blocks (see test-odx.py).
hex() { for byte in "$@"; do printf '%b' "\\0$(printf '%o' "0x$byte")"; done; }
hex 00 1e 00 00 00 00 00 00 00 00 00 00 00 00 00 10 \
    00 00 00 00 00 00 00 00 00 00 08 00 00 00 00 00 > /tmp/populate
H=$(sg_of "$TWO")
ok "the limits of tokens" clean 'Maximum token transfer size: [1-9]' sg_vpd -p tpc "$G"
ok "POPULATE TOKEN" \
    says 'Good' sg_raw -s 32 -i /tmp/populate "$G" 83 10 00 00 00 00 00 00 01 02 00 00 00 20 00 00
ok "RECEIVE ROD TOKEN INFORMATION" \
    says 'Good' sg_raw -r 1024 -o /tmp/answer "$G" 84 07 00 00 01 02 00 00 00 00 00 00 04 00 00 00
ok "it is about 2048 blocks" says '^ *00 00 00 00 00 00 08 00' od -An -tx1 -j 16 -N 8 /tmp/answer
{
    hex 02 26 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    dd if=/tmp/answer bs=1 skip=38 count=512 2> /dev/null
    hex 00 00 00 00 00 00 00 10 00 00 00 00 00 00 40 00 00 00 08 00 00 00 00 00
} > /tmp/use
ok "WRITE USING TOKEN" \
    says 'Good' sg_raw -s 552 -i /tmp/use "$H" 83 11 00 00 00 00 00 00 01 03 00 00 02 28 00 00
ok "what was copied by token is equal" same /tmp/data "$TWO" 16384
printf 'X' | dd of=/tmp/use bs=1 seek=100 conv=notrunc 2> /dev/null
ok "a token that is not ours is refused" \
    refused 'nvalid token' sg_raw -s 552 -i /tmp/use "$H" 83 11 00 00 00 00 00 00 01 04 00 00 02 28 00 00

# Erasing

raw_write "$TWO" 0 < /tmp/data
ok "sg_sanitize --overwrite" sg_sanitize --overwrite --zero --quick --wait "$H"
ok "it overwrote" is_zero "$TWO" 0 2048
repeat 2048 /tmp/block > /tmp/pattern
ok "sg_sanitize --overwrite with a pattern, in the background" \
    sg_sanitize --overwrite --pattern=/tmp/block --quick --early "$H"
ok "sg_turs: the disk comes back" wait_for sg_turs "$H"
ok "sg_requests: nothing under way" says 'No Sense' sg_requests "$H"
ok "it wrote the pattern" same /tmp/pattern "$TWO" 0
ok "sg_sanitize --block" sg_sanitize --block --quick --wait "$H"
ok "it erased" is_zero "$TWO" 0 2048
raw_write "$TWO" 0 < /tmp/data
ok "sg_sanitize --crypto" sg_sanitize --crypto --quick --wait "$H"
ok "the data is gone" sh -c "! { dd if=$TWO bs=64k count=16 iflag=direct 2> /dev/null | cmp -s - /tmp/data; }"
raw_write "$TWO" 0 < /tmp/data
ok "sg_format --wait" sg_format --format --quick --wait "$H"
ok "a formatted disk is empty" is_zero "$TWO" 0 2048
ok "sg_format: another block size is refused" refused . sg_format --format --quick --wait --size=4096 "$H"
ok "sg_readcap after it" says 'Last LBA=131071 ' sg_readcap "$H"
ok "logout" logout
ok "no kernel warning" kernel_is_sane
