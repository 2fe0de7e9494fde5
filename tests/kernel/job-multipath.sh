# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC1091,SC2154
#
# Two portal groups are two paths for multipathd. Under a load that checks what it reads, one group
# takes every access state, over D-Bus and by SET TARGET PORT GROUPS, and the second path is held
# and cut: whoever uses the map must not see an error. The second path leads through a relay on the
# host. Then reservations through the map.

. /mnt/multipath.sh

ok "a portal in another group" host ctl portal add "127.0.0.1:$PORT2" --group=2
must "multipathd" start_multipathd
must "two sessions" login_twice
must "a map of two paths" wait_for paths_are 2
M=/dev/mapper/$(map_name)
group_of() { sg_vpd -p di "$(disk_of 0 '' "$1")" 2> /dev/null | sed -n 's/.*Target port group: //p'; } # group_of PORT
port_of() { sg_vpd -p di "$(disk_of 0 '' "$1")" 2> /dev/null | sed -n 's/.*Relative target port: //p'; } # port_of PORT
ok "the first path is in group 1" test "$(group_of "$PORT")" = 0x1
ok "the second in group 2" test "$(group_of "$RELAY")" = 0x2
ok "and they are different ports" test "$(port_of "$PORT")" != "$(port_of "$RELAY")"
ok "the kernel has both groups" says 'alua: port group 02 state A' dmesg
ok "both are as good" wait_for path_is "$FIRST" 'active ready 50'
G=$(sg_of "$(disk_of 0 '' "$PORT")")
first_only() { in_flight "$FIRST" && ! in_flight "$SECOND"; } # the load does not go over the second path

load_begin "$M"
ok "active/non-optimized" host ctl portal alua "$IQN" 1 active-non-optimized
ok "multipathd prefers the other" wait_for path_is "$FIRST" 'active ready 10'
ok "sg_rtpg sees it" says 'active/non optimized' sg_rtpg -d "$G"
ok "standby" host ctl portal alua "$IQN" 1 standby
ok "multipathd sees it" wait_for path_is "$FIRST" 'active ghost 1'
ok "unavailable" host ctl portal alua "$IQN" 1 unavailable
ok "multipathd takes the path out" wait_for path_is "$FIRST" 'failed faulty'
ok "active/optimized, preferred" host ctl portal alua "$IQN" 1 active-optimized --preferred
ok "multipathd prefers it" wait_for path_is "$FIRST" 'active ready (50|80|130)'
# When Linux turns to a group that is not optimized it makes it so: until it has left the second one that stays
ok "the load is there and nowhere else" wait_for first_only
ok "the other becomes non-optimized" host ctl portal alua "$IQN" 2 active-non-optimized
ok "multipathd sees that" wait_for path_is "$SECOND" 'active ready 10'
ok "sg_stpg: the initiator makes it standby" sg_stpg --tp=2 --state=s "$G"
ok "the service knows" says 'standby' sg_rtpg -d "$G"
ok "multipathd knows" wait_for path_is "$SECOND" 'active ghost 1'
ok "sg_stpg: and optimized" sg_stpg --tp=1,2 --state=ao,ao "$G"
ok "multipathd knows that too" wait_for path_is "$SECOND" 'active ready 50'
ok "sg_stpg: a group that is not there" says 'Invalid field in parameter list' sg_stpg -v --tp=9 --state=s "$G"
ok "the second path is held" host hold
ok "multipathd takes it out" wait_for path_is "$SECOND" 'failed|i/o pending|faulty'
ok "the load goes on" load_runs
ok "it is released" host release
ok "multipathd takes it back" wait_for path_is "$SECOND" 'active ready 50'
ok "the second path is cut" host cut
ok "the load goes on without it" load_runs
ok "the path is back" wait_for path_is "$SECOND" 'active ready 50'
if [ -n "$ALL" ]; then
    round=1
    while [ $round -le 5 ]; do
        for group in 1 2; do
            for state in active-non-optimized standby unavailable transitioning active-optimized; do
                ok "round $round: group $group is $state" host ctl portal alua "$IQN" $group $state
                sleep 1
            done
        done
        host cut
        wait_for path_is "$SECOND" 'active ready 50'
        round=$((round + 1))
    done
    ok "the daemon is killed" host restart
    ok "both paths are back" wait_for paths_are 2
fi
ok "the load has seen no error" load_end

# Reservations

ok "mpathpersist: register" mpathpersist --out --register --param-sark=0xab1 "$M"
ok "both paths are registered" says '2 registered' mpathpersist -i -k "$M"
ok "mpathpersist: reserve" mpathpersist --out --reserve --param-rk=0xab1 --prout-type=5 "$M"
ok "mpathpersist: the reservation" says 'Write Exclusive, registrants only' mpathpersist -i -r "$M"
ok "mpathpersist: full status names both" sh -c "test \$(mpathpersist -i -s $M | grep -c 'iqn.2026-11.org.lunport:guest,i,0x') = 2"
ok "the map can be written" dd if=/dev/zero of="$M" bs=64k count=16 oflag=direct
ok "each path can" dd if=/dev/zero of="$(disk_of 0 '' "$RELAY")" bs=4k count=1 oflag=direct
must "a node with another name" iscsiadm -m iface -I other -o new
iscsiadm -m iface -I other -o update -n iface.transport_name -v tcp
iscsiadm -m iface -I other -o update -n iface.initiatorname -v iqn.2026-11.org.lunport:other
iscsiadm -m node -I other -T "$IQN" -p "$PORTAL,1" -o new
ok "it logs in" iscsiadm -m node -I other -T "$IQN" -p "$PORTAL" --login
wait_for disk_of 0 iqn.2026-11.org.lunport:other
O=$(sg_of "$(disk_of 0 iqn.2026-11.org.lunport:other)")
wait_for sg_turs "$O"
ok "it does not write" refused 'Reservation [Cc]onflict' sg_write_same -v --10 -l 0 -n 8 -i /dev/zero -x 512 "$O"
ok "it leaves" iscsiadm -m node -I other -T "$IQN" -p "$PORTAL" --logout
ok "mpathpersist: release" mpathpersist --out --release --param-rk=0xab1 --prout-type=5 "$M"
ok "nothing is reserved" says 'NO reservation' mpathpersist -i -r "$M"
ok "mpathpersist: unregister" mpathpersist --out --register --param-rk=0xab1 --param-sark=0 "$M"
ok "no key is left" says '[^0-9]0 registered' mpathpersist -i -k "$M"

ok "the disk grows" host ctl backstore resize disk 2G
for path in $(disk_of 0 '' "$PORT") $(disk_of 0 '' "$RELAY"); do
    echo 1 > "/sys/block/${path#/dev/}/device/rescan"
done
ok "multipathd makes the map grow" multipathd resize map "$(map_name)"
ok "the map has the new size" test "$(blockdev --getsize64 "$M")" = 2147483648
udevadm settle
ok "the map goes" wait_for multipath -f "$(map_name)"
stop_multipathd
iscsiadm -m session -u
ok "no kernel warning" kernel_is_sane
