#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck disable=SC1090,SC1091,SC2034
#
# Runs in the guest instead of an init system: brings up the network and the iSCSI initiator, then
# the job. /mnt is the folder shared with the host; the host prints /mnt/results as TAP.
# /mnt/env sets PORT, IQN, LUN and JOB.

. /mnt/env
HOST=10.0.2.2
PORTAL=$HOST:$PORT
number=0

# The functions that jobs use. A command's output goes to the console file, which the host shows
# when something failed.

ok() { # ok NAME COMMAND...: passes when the command does
    name=$1
    shift
    number=$((number + 1))
    read -r seconds _ < /proc/uptime
    echo "# $seconds s: $name: $*"
    if "$@"; then
        echo "ok $number - $name" >> /mnt/results
    else
        echo "# failed with $?"
        echo "not ok $number - $name" >> /mnt/results
    fi
}

must() { # must NAME COMMAND...: without this the rest makes no sense
    ok "$@"
    case $(tail -n 1 /mnt/results) in "not ok"*)
        dmesg > /mnt/dmesg
        exit
        ;;
    esac
}

skip() { # skip NAME REASON
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2" >> /mnt/results
}

says() { # says PATTERN COMMAND...: the command passes and its output matches
    pattern=$1
    shift
    "$@" > /tmp/output 2>&1
    status=$?
    cat /tmp/output
    [ $status -eq 0 ] && grep -qE -- "$pattern" /tmp/output
}

clean() { # clean PATTERN COMMAND...: says, and no tool finds fault with what it got
    says "$@" && ! grep -iE 'malformed|too short|truncated|abridged|unexpected|not decoded|corrupt|wrong|bad |fail(ed|ure) to|unable to' /tmp/output
}

refused() { # refused PATTERN COMMAND...: the command fails and says why
    pattern=$1
    shift
    "$@" > /tmp/output 2>&1
    status=$?
    cat /tmp/output
    echo "# status $status"
    [ $status -ne 0 ] && grep -qE -- "$pattern" /tmp/output
}

no_node() { iscsiadm -m node -T "$IQN" -p "$PORTAL" -o delete > /dev/null 2>&1 || true; }

new_node() { # new_node [NAME=VALUE]...: a record made by hand, with these settings
    no_node
    iscsiadm -m node -T "$IQN" -p "$PORTAL,1" -o new || return 1
    # A busy machine may need longer than the 5 s and 15 s after which Linux gives up waiting
    for pair in 'node.conn[0].timeo.noop_out_timeout=60' 'node.conn[0].timeo.login_timeout=120' "$@"; do
        iscsiadm -m node -T "$IQN" -p "$PORTAL" -o update -n "${pair%%=*}" -v "${pair#*=}" || return 1
    done
}

login() { iscsiadm -m node -T "$IQN" -p "$PORTAL" --login; }
# Who wrote to the disk has made udev look at it once more: let it end before the disk goes.
logout() { udevadm settle; iscsiadm -m node -T "$IQN" -p "$PORTAL" --logout; }

find_disk() { # sets DISK to the disk of the LUN
    wait_for disk_of "$LUN" || return 1
    udevadm settle
    DISK=$(disk_of "$LUN")
}

disk_of() { # disk_of LUN [INITIATOR [PORT]]: prints the disk of a LUN in the session with that name and port
    for session in /sys/class/iscsi_session/session*; do
        [ -z "${2-}" ] || [ "$(cat "$session/initiatorname")" = "$2" ] || continue
        connection=/sys/class/iscsi_connection/connection${session##*/session}:0
        [ -z "${3-}" ] || [ "$(cat "$connection/persistent_port")" = "$3" ] || continue
        for device in "$session"/device/target*/*:"$1"/block/*; do
            [ -e "$device" ] && echo "/dev/${device##*/}" && return 0
        done
    done
    return 1
}

sg_of() { # sg_of DISK: prints its generic device
    for generic in /sys/block/"${1#/dev/}"/device/scsi_generic/*; do
        echo "/dev/${generic##*/}"
    done
}

# A busy machine emulates ten times slower than an idle one: no wait is a measurement.
wait_for() { # wait_for COMMAND...: until it passes, ten minutes at most
    read -r begin _ < /proc/uptime
    until "$@" > /dev/null 2>&1; do
        read -r now _ < /proc/uptime
        [ $((${now%.*} - ${begin%.*})) -lt 600 ] || return 1
        sleep 0.1
    done
}

no_disk() { wait_for sh -c '! ls -d /sys/block/sd*'; }

# A load in the background that writes and checks again and again until load_end, or an error. Each round
# has other data, so a block that an earlier one wrote is wrong.
load_begin() { # load_begin DISK [FILE]: on the disk, or in a file of its file system
    loaded=$(readlink -f "$1")
    loaded=${loaded##*/}
    rm -f /tmp/load-failed
    touch /tmp/load-goes-on
    : > /tmp/rounds
    (
        round=1
        while [ -e /tmp/load-goes-on ]; do
            fio --name=l --filename="${2-$1}" --size=4m --bs=16k --rw=randwrite --ioengine=libaio --iodepth=8 \
                --direct=1 --verify=crc32c --do_verify=1 --randseed=$round > /tmp/load 2>&1 ||
                { touch /tmp/load-failed; exit 1; }
            echo round >> /tmp/rounds
            round=$((round + 1))
        done
    ) &
    LOAD=$!
}

load_runs() { # it does a whole round from now on, and is in the middle of the next
    rounds=$(wc -l < /tmp/rounds)
    wait_for load_reached $((rounds + 2)) && [ ! -e /tmp/load-failed ] && wait_for in_flight "$loaded"
}
load_reached() { [ "$(wc -l < /tmp/rounds)" -ge "$1" ] || [ -e /tmp/load-failed ]; }

in_flight() { read -r reads writes < "/sys/block/$1/inflight" && [ $((reads + writes)) -gt 0 ]; } # in_flight sdX

load_end() { # it must not have seen an error
    rm /tmp/load-goes-on
    wait "$LOAD"
    status=$?
    tail -n 30 /tmp/load
    return $status
}

# What iscsid says, that is what it hears from targets and does about it

LOG=/tmp/iscsid.log
mark() { mark=$(wc -l < $LOG); }
heard() { tail -n "+$((mark + 1))" $LOG | grep -qE "$1"; } # heard PATTERN: iscsid says so since mark
not_heard() { ! heard "$1"; }

host() { # host WORD...: ask the host for something and wait until it is done
    printf '%s\n' "$@" > /mnt/request.new
    mv /mnt/request.new /mnt/request
    while [ -e /mnt/request ]; do sleep 0.05; done
    cat /mnt/answer
    return "$(cat /mnt/status)"
}

kernel_is_content() { # no warning, no I/O error, no lost connection
    dmesg > /mnt/dmesg
    ! grep -E 'WARNING:|BUG:|Oops|Call Trace|I/O error|EXT4-fs error|XFS.*([Cc]orrupt|error)|detected conn error|ping timeout|Sense Key' /mnt/dmesg
}

kernel_is_sane() { # as above for jobs that break connections on purpose
    dmesg > /mnt/dmesg
    ! grep -E 'WARNING:|BUG:|Oops|Call Trace|EXT4-fs error|XFS.*([Cc]orrupt|error)' /mnt/dmesg
}

no_io_error() { ! grep 'I/O error' /mnt/dmesg; } # in what one of these two has seen

trap 'cp $LOG /mnt/iscsid; echo "1..$number" >> /mnt/results' EXIT
mkdir -p /run/lock
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
echo "InitiatorName=iqn.2026-11.org.lunport:guest" > /etc/iscsi/initiatorname.iscsi
/lib/systemd/systemd-udevd --daemon
for module in iscsi_tcp sd_mod sg crc32c_generic; do modprobe $module || echo "no $module"; done
udevadm settle
iscsid -f -d 4 > $LOG 2>&1 &
ISCSID=$!
wait_for grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix

. "/mnt/job-$JOB.sh"
echo "# end" >> /mnt/results # also a syntax error ends a job
