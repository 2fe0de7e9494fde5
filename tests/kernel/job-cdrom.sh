# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# A CD/DVD drive and its media, as Linux' sr driver and its tools see them.

mkdir -p /tmp/cd

medium_is() { host ctl backstore show cd | grep -qE "Medium:? +$1\$"; }
has_size() { [ "$(blockdev --getsize64 /dev/sr0)" = "$1" ]; }
size_of() { stat -c %s "/mnt/$1.iso"; }
same_as() { dd if=/dev/sr0 bs=64k iflag=direct 2> /dev/null | cmp - "/mnt/$1.iso"; }
no_medium() { ! dd if=/dev/sr0 of=/dev/null bs=2048 count=1 2> /dev/null; }
busy() { ! host ctl backstore eject cd; }

modprobe sr_mod
modprobe isofs
echo 0 > /proc/sys/dev/cdrom/autoclose # opening the device must not load what was ejected
must "an empty drive on the target" host ctl backstore create cd --device-type=cdrom
must "it is LUN 5" host ctl lun add "$IQN" cd --lun=5
new_node
must "login" login
must "sr_mod finds the drive" wait_for test -b /dev/sr0
G=$(echo /sys/block/sr0/device/scsi_generic/*)
G=/dev/${G##*/}
echo 500 > /sys/block/sr0/events_poll_msecs

ok "sg_inq tells a drive of MMC-6" says 'MMC-6' sg_inq -d "$G"
ok "it is removable" says 'RMB=1' sg_inq "$G"
ok "sg_vpd lists no pages of disks" sh -c "sg_vpd '$G' && ! sg_vpd '$G' | grep -q 0xb"
ok "an empty drive is not ready" refused 'not ready|Not ready|NOT READY|completed=' sg_turs -v "$G"
ok "sg_get_config without a medium" says 'power management|Power management' sg_get_config "$G"
ok "sg_opcodes knows READ TOC" says 'TOC' sg_opcodes "$G"
ok "mode page 2Ah by sg_modes" says '0x2a|2a' sg_modes -p 0x2a "$G"
ok "sdparm decodes the capabilities" says 'DVD-ROM' sdparm --long --page=cms "$G"
ok "there is nothing to read" no_medium

must "an image is loaded" host load cd first
ok "Linux notices the medium" wait_for has_size "$(size_of first)"
ok "all of it is read" same_as first
ok "sg_readcap" says 'Block size = 2048|length=2048|2048 bytes' sg_readcap "$G"
ok "sg_get_config tells a CD" says 'CD-ROM|CD-rom' sg_get_config "$G"
ok "READ TOC by sg_raw" says '00 12 01 01' sg_raw -r 20 "$G" 43 00 00 00 00 00 00 00 14 00
ok "GET EVENT STATUS NOTIFICATION by sg_raw" says '00 06 04 16' \
    sg_raw -r 8 "$G" 4a 01 00 00 10 00 00 00 08 00
ok "cdrom_id sees data on a CD" says 'ID_CDROM_MEDIA_CD=1' /lib/udev/cdrom_id /dev/sr0
ok "blkid sees the file system" says 'FIRST' blkid -p /dev/sr0
must "mount" mount -t iso9660 -o ro /dev/sr0 /tmp/cd
ok "the file on it" says '^This is first$' cat /tmp/cd/content
ok "a mounted medium cannot be taken away" busy
ok "unmount" umount /tmp/cd
# Asked by the event, udev's rule ejects it; where that has no rule, eject does
wait_for medium_is ejected || eject /dev/sr0
ok "the service sees what the initiator has ejected" wait_for medium_is ejected
ok "there is nothing to read after it" no_medium
ok "eject -t loads it again" eject -t /dev/sr0
ok "the service sees that" wait_for medium_is loaded
ok "it is the same" wait_for same_as first

must "another image is loaded" host load cd second
ok "Linux notices that it is another one" wait_for has_size "$(size_of second)"
ok "all of that is read" same_as second
ok "mount the other" mount -t iso9660 -o ro /dev/sr0 /tmp/cd
ok "the file on the other" says '^This is second$' cat /tmp/cd/content
ok "unmount the other" umount /tmp/cd

ok "the administrator ejects" host ctl backstore eject --force cd
ok "the drive is empty" wait_for no_medium
ok "it says that its tray is open" wait_for says '3a 02|tray open' \
    sh -c "sg_raw '$G' 00 00 00 00 00 00 2>&1; sg_requests -v '$G' 2>&1"
ok "the first one goes in again" host load cd first
ok "and is read" wait_for same_as first
ok "logout" logout
