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
    for pair in "$@"; do
        iscsiadm -m node -T "$IQN" -p "$PORTAL" -o update -n "${pair%%=*}" -v "${pair#*=}" || return 1
    done
}

login() { iscsiadm -m node -T "$IQN" -p "$PORTAL" --login; }
# Who wrote to the disk has made udev look at it once more: let it end before the disk goes.
logout() { udevadm settle; iscsiadm -m node -T "$IQN" -p "$PORTAL" --logout; }

find_disk() { # sets DISK to the disk of the LUN
    n=0
    while [ $n -lt 100 ]; do
        udevadm settle
        for device in /sys/block/sd*; do
            [ -e "$device" ] || continue
            case $(readlink -f "$device/device") in
            *:"$LUN") DISK=/dev/${device##*/} && return 0 ;;
            esac
        done
        n=$((n + 1))
        sleep 0.1
    done
    return 1
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

wait_for() { # wait_for COMMAND...: until it passes, 30 seconds at most
    n=0
    until "$@" > /dev/null 2>&1; do
        n=$((n + 1))
        [ $n -lt 300 ] || return 1
        sleep 0.1
    done
}

no_disk() {
    n=0
    while [ $n -lt 100 ]; do
        [ -z "$(ls -d /sys/block/sd* 2> /dev/null)" ] && return 0
        n=$((n + 1))
        sleep 0.1
    done
    return 1
}

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

trap 'echo "1..$number" >> /mnt/results' EXIT
mkdir -p /run/lock
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
echo "InitiatorName=iqn.2026-11.org.lunport:guest" > /etc/iscsi/initiatorname.iscsi
/lib/systemd/systemd-udevd --daemon
for module in iscsi_tcp sd_mod sg crc32c_generic; do modprobe $module || echo "no $module"; done
udevadm settle
iscsid

. "/mnt/job-$JOB.sh"
