# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# Two nodes and one disk. The nodes are two sessions of this kernel with names of their own; what a
# cluster does to keep one of them out is done here by hand, with sg_persist, and then by fence_scsi.

us=iqn.2026-11.org.lunport:guest
them=iqn.2026-11.org.lunport:other

pr_in() { sg_persist -n -i "$@"; }
pr_out() { sg_persist -n -o "$@"; }
write_to() { dd if=/tmp/block of="$1" bs=4k count=1 oflag=direct; } # write_to DISK
read_from() { dd if="$1" of=/dev/null bs=4k count=1 iflag=direct; }
denied() { # denied DISK: a write ends with RESERVATION CONFLICT
    refused 'Reservation [Cc]onflict' sg_write_same -v --10 -l 0 -n 8 -i /dev/zero -x 512 "$1"
}
read_denied() { refused 'Reservation [Cc]onflict' sg_raw -v -r 512 "$1" 28 00 00 00 00 00 00 00 01 00; }
settled() { # nobody looks at the disks any more, and the unit attentions of both nodes are taken
    udevadm settle
    wait_for sg_turs "$A" && wait_for sg_turs "$B"
}
attention() { # attention PATTERN SG: the next command ends with this unit attention
    refused "$1" sg_turs -v "$2"
}

new_interface() {
    iscsiadm -m iface -I other -o new &&
        iscsiadm -m iface -I other -o update -n iface.transport_name -v tcp &&
        iscsiadm -m iface -I other -o update -n iface.initiatorname -v "$them"
}

head -c 4096 /dev/urandom > /tmp/block
must "node record" new_node
must "our login" login
must "an interface with another name" new_interface
must "a node record for it" iscsiadm -m node -I other -T "$IQN" -p "$PORTAL,1" -o new
must "their login" iscsiadm -m node -I other -T "$IQN" -p "$PORTAL" --login
must "our disk" wait_for disk_of 0 $us
must "their disk" wait_for disk_of 0 $them
udevadm settle
OURS=$(disk_of 0 $us)
THEIRS=$(disk_of 0 $them)
A=$(sg_of "$OURS")
B=$(sg_of "$THEIRS")
ok "both are one disk" \
    sh -c "sg_vpd -p di -rr $A > /tmp/a && sg_vpd -p sn $A > /tmp/sa && sg_vpd -p sn $B | cmp - /tmp/sa"
ok "the service sees two initiators" says "$them" host ctl session list

# Register and reserve

ok "capabilities: all six types" says 'Exclusive Access, all registrants: 1' pr_in -c "$A"
ok "capabilities: over a loss of power" says 'PTPL_C\): 1' pr_in -c "$A"
ok "no keys at first" says 'NO registered' pr_in -k "$A"
ok "no reservation at first" says 'NO reservation' pr_in -r "$A"
ok "reserve without a registration conflicts" refused 'Reservation [Cc]onflict' pr_out -R -T 1 -K 0xa1 "$A"
ok "we register" pr_out -G -S 0xa1 "$A"
ok "they register" pr_out -G -S 0xb1 "$B"
ok "a second registration needs the key" refused 'Reservation [Cc]onflict' pr_out -G -S 0xb2 "$B"
ok "they change their key" pr_out -G -K 0xb1 -S 0xb2 "$B"
ok "both keys are there" says '0xb2' pr_in -k "$A"
ok "and ours" says '0xa1' pr_in -k "$B"
ok "the generation counts" says 'generation=0x3' pr_in -k "$A"

for type in 1 3 5 6 7 8; do
    case $type in
    1) text='Write Exclusive$' registered=no reader=yes ;;
    3) text='Exclusive Access$' registered=no reader=no ;;
    5) text='Write Exclusive, registrants only' registered=yes reader=yes ;;
    6) text='Exclusive Access, registrants only' registered=yes reader=no ;;
    7) text='Write Exclusive, all registrants' registered=yes reader=yes ;;
    8) text='Exclusive Access, all registrants' registered=yes reader=no ;;
    esac
    ok "type $type: we reserve" pr_out -R -T $type -K 0xa1 "$A"
    ok "type $type: both see it" says "$text" pr_in -r "$B"
    ok "type $type: the holder writes" write_to "$OURS"
    if [ "$registered" = yes ]; then
        ok "type $type: who is registered writes" write_to "$THEIRS"
    else
        ok "type $type: who is registered does not write" denied "$B"
    fi
    ok "type $type: they unregister" pr_out -G -K 0xb2 -S 0 "$B"
    ok "type $type: who is not registered does not write" denied "$B"
    if [ "$reader" = yes ]; then
        ok "type $type: who is not registered reads" sg_raw -r 512 "$B" 28 00 00 00 00 00 00 00 01 00
    else
        ok "type $type: who is not registered does not read" read_denied "$B"
    fi
    ok "type $type: they register again" pr_out -I -S 0xb2 "$B"
    ok "type $type: release with another type is refused" \
        refused 'field in cdb|Illegal request' pr_out -L -T $((type == 1 ? 3 : 1)) -K 0xa1 "$A"
    udevadm settle # it has a look at what was written, and would take the unit attention
    ok "type $type: release" pr_out -L -T $type -K 0xa1 "$A"
    case $type in
    5 | 6 | 7 | 8) ok "type $type: they are told" attention 'Reservations released' "$B" ;;
    esac
    ok "type $type: nothing is reserved" says 'NO reservation' pr_in -r "$B"
    ok "type $type: they write" write_to "$THEIRS"
done

# Preempt

settled
ok "we reserve again" pr_out -R -T 5 -K 0xa1 "$A"
ok "they preempt" pr_out -P -T 5 -K 0xb2 -S 0xa1 "$B"
ok "we are told" attention 'Registrations preempted' "$A"
ok "they hold it" says 'Key=0xb2' pr_in -r "$A"
ok "our key is gone" says '1 registered' pr_in -k "$A"
ok "we do not write" denied "$A"
ok "we do not come back with a key that is gone" \
    refused 'Reservation [Cc]onflict' pr_out -G -K 0xa1 -S 0xa2 "$A"
ok "we register, whatever was there" pr_out -I -S 0xa2 "$A"
ok "we write" write_to "$OURS"
ok "full status: the holder" says 'Reservation holder' pr_in -s "$A"
ok "full status: their port" says "$them,i,0x" pr_in -s "$A"
ok "full status: ours" says "$us,i,0x" pr_in -s "$A"
# Without TAS nobody answers what was aborted, and their kernel waits for its own timeouts.
ok "aborted tasks are to be answered" sdparm --quiet --set=TAS "$A"
settled
(dd if=/dev/zero of="$THEIRS" bs=256k count=2000 oflag=direct > /tmp/load 2>&1; echo "ended $?" >> /tmp/load) &
LOAD=$!
must "their load runs" wait_for in_flight "${THEIRS#/dev/}"
ok "we preempt and abort under their load" pr_out -A -T 5 -K 0xa2 -S 0xb2 "$A"
wait "$LOAD"
ok "their load has failed" grep -q 'ended 1' /tmp/load
settled
ok "aborted tasks need not be answered" sdparm --quiet --clear=TAS "$A"
settled
ok "they do not write" denied "$B"
ok "we do" write_to "$OURS"
ok "preempting a key that is not there conflicts" \
    refused 'Reservation [Cc]onflict' pr_out -P -T 5 -K 0xa2 -S 0xdead "$A"
ok "clear" pr_out -C -K 0xa2 "$A"
ok "no keys after it" says 'NO registered' pr_in -k "$B"

# Register and move, and for others

settled
port=$(sg_vpd -p di "$B" 2> /dev/null | sed -n 's/.*Relative target port: //p')
ok "we register to move" pr_out -G -S 0xa3 "$A"
ok "we reserve to move" pr_out -R -T 3 -K 0xa3 "$A"
their_port=$(pr_out -G -S 0xb3 "$B" > /dev/null 2>&1; pr_in -s "$A" | sed -n "s/.*port id: \($them.*\)/\1/p")
pr_out -G -K 0xb3 -S 0 "$B"
ok "register and move" pr_out -M -K 0xa3 -S 0xb3 -Q "$port" -X "$their_port" "$A"
ok "they hold it now" says 'Key=0xb3' pr_in -r "$A"
settled
ok "they write" write_to "$THEIRS"
ok "we do not" denied "$A"
ok "they clear" pr_out -C -K 0xb3 "$B"
settled
ok "register for a port that is not here" \
    pr_out -G -S 0xc1 -X "iqn.2026-11.org.lunport:third,i,0x00023d000005" "$A"
ok "it is registered" says 'lunport:third,i,0x00023d000005' pr_in -s "$A"
ok "all target ports" pr_out -G -K 0xc1 -S 0xc2 "$A"
ok "clear that" pr_out -C -K 0xc2 "$A"
settled

# sg_persist sends a mere name without its port; it means the sessions of that name

ok "register for the other node by its name" pr_out -G -S 0xc5 -X "$them" "$A"
ok "its port is registered" says "$them,i,0x" pr_in -s "$A"
ok "and ours" says '2 registered' pr_in -k "$B"
ok "we reserve for both" pr_out -R -T 5 -K 0xc5 "$A"
ok "they write without having asked" write_to "$THEIRS"
ok "who is registered already is refused" refused 'Illegal request|parameter' pr_out -G -S 0xc6 -K 0xc5 -X "$them" "$A"
ok "clear what was for both" pr_out -C -K 0xc5 "$A"
settled
ok "a name that nobody has is refused" \
    refused 'Illegal request|parameter' pr_out -G -S 0xc6 -X iqn.2026-11.org.lunport:nobody "$A"
ok "and nobody is registered" says 'NO registered' pr_in -k "$A"
ok "we register to move by name" pr_out -G -S 0xc7 "$A"
ok "we reserve to move by name" pr_out -R -T 3 -K 0xc7 "$A"
ok "register and move by name" pr_out -M -K 0xc7 -S 0xb7 -Q "$port" -X "$them" "$A"
settled
ok "by name they hold it" says 'Key=0xb7' pr_in -r "$A"
ok "by name they write" write_to "$THEIRS"
ok "by name we do not" denied "$A"
ok "by name they clear" pr_out -C -K 0xb7 "$B"
settled
ok "register for all target ports" pr_out -I -Y -S 0xd1 "$A"
ok "the service lists it" says "$us" host ctl lun registrations "$IQN" 0
ok "the administrator clears" host ctl lun clear-reservations "$IQN" 0
settled
ok "nothing is left" says 'NO registered' pr_in -k "$A"

# Over the death of the daemon

ok "register, to be kept" pr_out -I -Z -S 0xa4 "$A"
ok "reserve" pr_out -R -T 3 -K 0xa4 "$A"
ok "it says that it is kept" says 'PTPL_A\): 1' pr_in -c "$A"
ok "the daemon is killed and started again" host restart
ok "we are there again" wait_for sg_turs "$A"
ok "they are too" wait_for sg_turs "$B"
ok "the key is there" says '0xa4' pr_in -k "$A"
ok "the reservation is" says 'Exclusive Access' pr_in -r "$A"
ok "they do not write" denied "$B"
ok "we do" write_to "$OURS"
ok "no longer to be kept" pr_out -I -S 0xa4 "$A"
ok "the daemon is killed again" host restart
wait_for sg_turs "$A"
wait_for sg_turs "$B"
ok "nothing has been kept" says 'NO registered' pr_in -k "$A"
ok "all may write" write_to "$THEIRS"

# The fence agent, as Pacemaker calls it

settled
fence() { fence_scsi -o "$1" -d "$2" -n "$3" -k "$4"; } # fence ACTION DISK NODE KEY
ok "node 2 comes up" fence on "$THEIRS" node2 2
ok "node 1 comes up" fence on "$OURS" node1 1 # the agent keeps node 1's key as its own
ok "node 2 is on" says 'Status: ON' fence status "$OURS" node2 2
ok "both write" write_to "$OURS"
ok "both do" write_to "$THEIRS"
ok "node 1 fences node 2" says 'Powered OFF|Success' fence off "$OURS" node2 2
ok "node 2 is off" sh -c "fence_scsi -o status -d $OURS -n node2 -k 2 | grep 'Status: OFF'"
settled
ok "node 2 does not write" denied "$B"
ok "its kernel does not either" sh -c "! dd if=/tmp/block of=$THEIRS bs=4k count=1 oflag=direct"
ok "node 2 reads" read_from "$THEIRS"
ok "node 1 goes on" write_to "$OURS"
ok "node 2 comes back" fence on "$THEIRS" node2 2
ok "and writes" write_to "$THEIRS"
pr_out -C -K 0x2 "$B"

# Before there were keys

settled
ok "RESERVE(6)" sg_raw "$A" 16 00 00 00 00 00
ok "the other node conflicts" refused 'Reservation [Cc]onflict' sg_raw "$B" 2a 00 00 00 00 00 00 00 00 00
ok "RELEASE(6) of the other node changes nothing" sg_raw "$B" 17 00 00 00 00 00
ok "it conflicts still" refused 'Reservation [Cc]onflict' sg_turs -v "$B"
ok "RELEASE(6)" sg_raw "$A" 17 00 00 00 00 00
ok "the other node writes" write_to "$THEIRS"
ok "RESERVE(10)" sg_raw "$B" 56 00 00 00 00 00 00 00 00 00
ok "we conflict" refused 'Reservation [Cc]onflict' sg_turs -v "$A"
ok "their session ends" iscsiadm -m node -I other -T "$IQN" -p "$PORTAL" --logout
ok "and with it what it had reserved" wait_for write_to "$OURS"
ok "our logout" logout
ok "no kernel warning" kernel_is_sane
