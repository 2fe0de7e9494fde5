# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# What an administrator of a systemd machine does to the service, and what it does itself, while a file
# system is in use. The units are the installed ones; the target is described in /etc/lunport. To Linux it
# is one session and one disk all the time: a load that checks what it reads runs through everything, and
# nothing may notice. What has to outlive the process (persistent reservations, saved mode pages) is looked
# at each time.
#
# Whether initiators are asked to log out before a stop, and do, depends on who is quick enough. It is not
# looked at here; job-async.sh and tests/system give them all the time they need.

unit=lunportd.service
refusals='cannot make a connection|connect to .* failed'

inside() { host machine inside "$@"; }
service() { inside systemctl "$1" $unit; } # service VERB
property() { inside systemctl show -P "$1" $unit; } # property NAME
is() { says "^$2\$" property "$1"; } # is PROPERTY VALUE
differs() { ! is "$1" "$2"; }
socket_is() { says "^$1\$" inside systemctl show -P ActiveState lunportd.socket; } # socket_is STATE
sessions() { echo /sys/class/iscsi_session/*; }
rescan() { iscsiadm -m session --rescan; }

story() { # story NAME: what is heard and logged counts from here
    story=$1
    mark
    host remember
    id=$(property InvocationID)
}

back() { # another process serves now, Linux has logged in again, and all is as before
    ok "$story: the session is back" wait_for heard 'operational after recovery'
    ok "$story: the service is active" wait_for is ActiveState active
    ok "$story: it is another process" differs InvocationID "$id"
    ok "$story: the load goes on" load_runs
    ok "$story: the file system can be written" sh -c 'date > /tmp/disk/date && sync -f /tmp/disk/date'
    ok "$story: the registration is there" wait_for says '0xa1' sg_persist -n -i -k "$A"
    ok "$story: the reservation is" says 'Write Exclusive, registrants only' sg_persist -n -i -r "$A"
    ok "$story: so is the saved mode page" says 'TAS +1 .*sav: +1' sdparm --long --get=TAS "$A"
}

never_closed() { ok "$story: no connection was refused" not_heard "$refusals"; }

# The first login

must "the machine is switched on" host machine boot
ok "the socket is active" socket_is active
ok "the service is not" is ActiveState inactive
must "node record" new_node node.session.timeo.replacement_timeout=7200
must "login" login
ok "it has started the service" is ActiveState active
must "the disk appears" find_disk
SESSIONS=$(sessions)
A=$(sg_of "$DISK")
mkdir /tmp/disk
must "mkfs.ext4" mkfs.ext4 -q -F "$DISK"
must "mount" mount -o errors=remount-ro "$DISK" /tmp/disk
ok "a mode page is saved" sdparm --quiet --set=TAS --save "$A"
ok "we register, to be kept" sg_persist -n -o -I -Z -S 0xa1 "$A"
ok "we reserve" sg_persist -n -o -R -T 5 -K 0xa1 "$A"
load_begin "$DISK" /tmp/disk/load
must "the load runs" load_runs

# Restart and stop

story "restart"
ok "restart" service restart
back
never_closed

story "stop"
ok "stop" service stop
back
never_closed

story "stop of both"
ok "stop of both" inside systemctl stop lunportd.socket $unit
ok "stop of both: Linux tries again and again" wait_for heard "$refusals"
ok "stop of both: the service stays away" is ActiveState inactive
ok "stop of both: nothing has failed" is Result success
ok "start of the socket" inside systemctl start lunportd.socket
back

# Reload

story "reload"
ok "a new file describes another disk" host machine add_disk second 67108864 1
ok "reload" service reload
ok "reload: Linux finds it when it looks" rescan
ok "reload: the disk is there" wait_for disk_of 1
ok "reload: the load goes on" load_runs
ok "a file that is wrong" host machine describe wrong '[Backstore]'
ok "a reload that fails" refused 'failed' service reload
ok "a reload that fails: the journal says why" host journal 'wrong.conf'
ok "a reload that fails: the service runs on" is ActiveState active
ok "a reload that fails: the load goes on" load_runs
ok "the wrong file goes" host machine describe wrong ''
ok "a reload that works again" service reload
ok "reload: it is the same process" is InvocationID "$id"
ok "reload: Linux was not disturbed" not_heard "conn error|after recovery|$refusals"

# It dies, more often than systemd would let it without our settings

dies() { # dies N: so often, as fast as it comes back
    # shellcheck disable=SC2016 # the shell in the machine expands it
    inside sh -c 'n=0; while [ $n -lt '"$1"' ]; do n=$((n + 1)); systemctl kill -s KILL lunportd.service; '\
'until systemctl show lunportd.service | grep -cxE "NRestarts=$n|ActiveState=active" | grep -qx 2; do sleep 0.1; done; done'
}

story "SIGKILL"
ok "SIGKILL, seven times" dies 7
back
never_closed
ok "SIGKILL: the socket was not harmed" socket_is active

# A new version is installed

story "upgrade"
program() { inside readlink "/proc/$(property MainPID)/exe"; }
PROGRAM=$(program)
replace() { inside cp -p "$PROGRAM" "$PROGRAM.new" && inside mv "$PROGRAM.new" "$PROGRAM"; }
ok "the program is replaced" replace
ok "the service still has the old one" says ' \(deleted\)$' program
ok "systemd reads the units again" inside systemctl daemon-reload
ok "systemd begins anew itself" inside systemctl daemon-reexec
ok "the load goes on meanwhile" load_runs
ok "upgrade" service try-restart
back
never_closed
ok "upgrade: the service has the new one" says "^$PROGRAM\$" program
story "upgrade of both units"
ok "upgrade of both units" inside systemctl try-restart lunportd.socket $unit
back

# What had stopped and what was to stop then, as the journal of the last boot has it
last_words() {
    inside journalctl -b -1 -q -o cat --output-fields=UNIT MESSAGE_ID=9d1aaa27d60140bd96365438aad20286 UNIT=$unit \
        + MESSAGE_ID=de5b426a63be47a7b6ac3eaac82e2f6f UNIT=dbus.service | tail -n 2 | tr '\n' ' '
}

# The machine is switched off with all that goes on, and on

SECOND=$(disk_of 1)
head -c 4194304 /dev/urandom > /tmp/data
ok "data for the other disk" dd if=/tmp/data of="$SECOND" bs=64k conv=fsync
sum=$(sha256sum < /tmp/data)
story "power off"
ok "power off" host machine poweroff
ok "power off: what was flushed is on the disk" says "^$sum\$" host machine digest second 4194304
ok "power off: Linux tries again and again" wait_for heard "$refusals"
ok "power on" host machine boot
back
ok "power off: the service ended in order" host journal "Deactivated successfully"
ok "power off: it had the bus as long as it lived" says '^lunportd.service dbus.service $' last_words
ok "power off: it had not to be killed" says '^0$' host count 'Failed with result'

ok "the load has seen no error" load_end
ok "it was one session all the time" test "$(sessions)" = "$SESSIONS"
ok "a tree is copied" cp -a /usr/lib/udev /tmp/disk/tree
ok "unmount" umount /tmp/disk
ok "file system check" e2fsck -fn "$DISK"
ok "we unregister" sg_persist -n -o -G -K 0xa1 -S 0 "$A"
ok "logout" logout
ok "the kernel is content" kernel_is_sane
ok "no I/O error" no_io_error
