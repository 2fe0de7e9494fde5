# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2153,SC2154,SC2034
#
# For jobs with multipathd: two sessions and the map over them.

start_multipathd() {
    cat > /etc/multipath.conf << END
defaults {
    find_multipaths no
    polling_interval 1
    max_polling_interval 2
    path_grouping_policy group_by_prio
    failback immediate
    no_path_retry queue
    reservation_key file
    fast_io_fail_tmo 5
}
END
    modprobe dm-multipath && modprobe dm-service-time && multipathd && wait_for multipathd show config
}

stop_multipathd() { multipathd shutdown; }

# Sets FIRST and SECOND to the names of the paths as multipathd has them.
login_twice() {
    for pair in "$PORTAL,1" "$HOST:$RELAY,2"; do
        portal=${pair%,*}
        iscsiadm -m node -T "$IQN" -p "$pair" -o new || return 1
        for setting in 'node.conn[0].timeo.noop_out_interval=2' 'node.conn[0].timeo.noop_out_timeout=15' \
            node.session.timeo.replacement_timeout=5; do
            iscsiadm -m node -T "$IQN" -p "$portal" -o update -n "${setting%%=*}" -v "${setting#*=}"
        done
        iscsiadm -m node -T "$IQN" -p "$portal" --login || return 1
    done
    wait_for disk_of 0 '' "$PORT" && wait_for disk_of 0 '' "$RELAY" || return 1
    FIRST=$(disk_of 0 '' "$PORT")
    FIRST=${FIRST#/dev/}
    SECOND=$(disk_of 0 '' "$RELAY")
    SECOND=${SECOND#/dev/}
}

paths() { multipathd show paths raw format "%d %t %T %p"; }
path_is() { paths | grep -qE "^$1 +$2"; } # path_is NAME PATTERN: state in the map, checker, priority
paths_are() { [ "$(multipathd show paths raw format '%d %t %m' | grep -c 'active')" = "$1" ]; }
map_name() { multipathd show maps raw format '%n' | head -n 1; }
