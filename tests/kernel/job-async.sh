# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# What the target tells unasked, and what open-iscsi makes of it: requests to log out, announcements that
# connections are dropped, requests to negotiate, SCSI events, and being sent to another address. A load
# that checks what it reads runs through all of it, and to Linux it is one session and one disk all the
# time: nothing that uses the disk may notice.

sessions() { echo /sys/class/iscsi_session/*; }
port_is() { grep -qx "$1" /sys/class/iscsi_connection/connection*/port; } # port_is PORT: where it is connected to
sends_at_most() { grep -qx "$1" /sys/class/iscsi_connection/connection*/max_xmit_dlength; }
connected() { ss -Htn state established "dport = :$PORT" | grep -q .; }
has_sectors() { grep -qx "$1" "/sys/block/${DISK#/dev/}/size"; }
rescan() { iscsiadm -m session --rescan; }

back() { # back NAME: the session that has been lost since mark is back, and the load goes on
    ok "$1: Linux logs in again" wait_for heard 'operational after recovery'
    ok "$1: the load goes on" load_runs
}
told() { # told NAME PATTERN COMMAND...: with the command Linux is told this, and it comes back
    label=$1
    words=$2
    shift 2
    mark
    ok "$label" "$@"
    ok "$label: Linux is told" wait_for heard "$words"
    back "$label"
}
logs_out='Target requests logout within 60 seconds'
drops_all='Target dropping all connections, reconnect min 2 '
drops_one='Target dropping (connection )?0, reconnect min 2 '
negotiates='Received async event param negotiation'

must "node record" new_node node.session.timeo.replacement_timeout=1200
must "login" login
must "disk appears" find_disk
SESSIONS=$(sessions)
load_begin "$DISK"
must "the load runs" load_runs

# One session, one target. What is looked for in the journal comes early: it takes ten entries a minute

told "the session is to log out" "$logs_out" host session logout --timeout=60
ok "it has" host journal 'ended: logout'
told "the session is ended" "$drops_all" host session terminate
ok "nobody has asked it" host journal 'ended: it was ended by the administrator'
mark
ok "the target is drained" host ctl target disable "$IQN" --drain --timeout=60
ok "drained: Linux was asked" heard "$logs_out"
ok "drained: nobody is left" says '^\[\]$' host ctl --json=short session list
ok "drained: Linux tries again" wait_for heard 'login rejected|target error'
ok "drained: the target takes initiators again" host ctl target enable "$IQN"
back "drained"

# Parameters, sizes and units that change, first without a word

mark
ok "shorter PDUs" host ctl target set "$IQN" MaxRecvDataSegmentLength=65536
ok "shorter PDUs: the load goes on" load_runs
ok "shorter PDUs: Linux was not told" not_heard 'Read AEN'
told "events are to be told" "$negotiates" host ctl target set "$IQN" AsyncEvents=yes
ok "Linux has negotiated" sends_at_most 65536
told "longer PDUs" "$negotiates" host ctl target set "$IQN" MaxRecvDataSegmentLength=131072
ok "Linux has negotiated again" sends_at_most 131072
mark
ok "the disk grows" host ctl backstore resize disk 2G
ok "the disk grows: Linux is told" wait_for heard 'Read AEN 0'
ok "the disk grows: the load goes on" load_runs
ok "the disk grows: Linux looks again" rescan
ok "the disk grows: it has the new size" wait_for has_sectors 4194304
ok "another disk" host disk late 3 16777216
ok "another disk: Linux finds it without having looked" wait_for disk_of 3
ok "another disk: the load goes on" load_runs
ok "none of it was an error" not_heard 'Invalid sense|Kernel reported|param negotiation|after recovery'

# The service ends

mark
ok "a stop where nobody is asked" host stop
ok "a stop where nobody is asked: Linux is told" wait_for heard "$drops_all"
ok "a stop where nobody is asked: it tries again" wait_for heard 'cannot make a connection|connect to .* failed'
ok "a start" host start --logout-timeout=60
back "a start"
mark
ok "a stop for good" host stop
ok "a stop for good: Linux is told" wait_for heard "$logs_out"
ok "a stop for good: it has logged out" host journal 'ended: logout'
ok "a stop for good: it tries again" wait_for heard 'cannot make a connection|connect to .* failed'
ok "from now on systemd has the port" host keep
ok "a second start" host start --logout-timeout=2
back "a second start"
mark
kill -STOP "$ISCSID"
ok "a stop while Linux cannot answer" host stop
ok "a stop while Linux cannot answer: it was waited for" host journal 'ended: the initiator did not log out in time'
kill -CONT "$ISCSID"
ok "a stop while Linux cannot answer: it hears of both" wait_for heard "$drops_one"
ok "a third start" host start
back "a third start"
mark
ok "a restart" host stop
ok "a restart: Linux is told" wait_for heard "$drops_all"
ok "a restart: it is dropped" host journal 'ended: the service stops'
ok "a restart: its connection waits in the port" wait_for connected
ok "a restart: the service is back" host start
back "a restart"
ok "a restart: no connection was refused" not_heard 'cannot make a connection|connect to .* failed'

# Another address. Linux takes "for good" as "for now", and asks at the first one next time

ok "another portal" host ctl portal add "127.0.0.1:$PORT2" --group=2
ok "the target is elsewhere for now" host ctl target redirect "$IQN" "$HOST:$PORT2" --portal-group=1
told "elsewhere for now" "$drops_all" host session terminate
ok "Linux has gone there" port_is "$PORT2"
ok "it is here again" host ctl target redirect "$IQN" --portal-group=1 --clear
told "here again" "$drops_all" host session terminate
ok "Linux has come back" port_is "$PORT"
ok "the target has moved for good" host ctl target redirect "$IQN" "$HOST:$PORT2" --portal-group=1 --permanent
told "moved for good" "$drops_all" host session terminate
ok "Linux has moved" port_is "$PORT2"

ok "the load has seen no error" load_end
ok "it was one session all the time" test "$(sessions)" = "$SESSIONS"
ok "logout" logout
ok "a new session" login
ok "the disk appears there" find_disk
ok "it is at the other address" port_is "$PORT2"
ok "it can be read" dd if="$DISK" of=/dev/null bs=64k count=64 iflag=direct
ok "last logout" logout
ok "the kernel is content" kernel_is_sane
ok "no I/O error" no_io_error
