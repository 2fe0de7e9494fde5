#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
#
# The first process of interest in the container: what an administrator of a systemd machine expects
# of a service. Prints TAP; what went on is on standard error.

set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_PAGER=cat NO_COLOR=1
number=0
name=iqn.2026-11.org.lunport:sys
bus=(org.lunport1 /org/lunport1/Manager org.lunport1.Manager)

ok() { # ok NAME COMMAND...
    local title=$1 output status

    shift
    number=$((number + 1))
    output=$("$@" 2>&1)
    status=$?
    {
        echo "== $number $title: $*"
        echo "$output"
        [ $status -eq 0 ] || echo "== status $status"
    } >&2
    if [ $status -eq 0 ]; then
        echo "ok $number - $title"
    else
        echo "not ok $number - $title"
        printf '%s\n' "$output" | tail -n 12 | sed 's/^/#   /'
    fi
}

not() { ! "$@"; }

says() { # says PATTERN COMMAND...: it succeeds and its output matches
    local pattern=$1 output

    shift
    output=$("$@" 2>&1) || { echo "$output"; return 1; }
    echo "$output"
    grep -qE -- "$pattern" <<< "$output"
}

refused() { # refused PATTERN COMMAND...: it fails, and says why
    local pattern=$1 output

    shift
    if output=$("$@" 2>&1); then
        echo "it was allowed: $output"
        return 1
    fi
    echo "$output"
    grep -qE -- "$pattern" <<< "$output"
}

as() { # as USER COMMAND...
    local user=$1

    shift
    setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs "$@"
}

until_true() { # until_true COMMAND...: for what the other side does in its own time
    local end=$((SECONDS + 300))

    while [ $SECONDS -lt $end ]; do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.1
    done
    "$@"
}

create_target() { # create_target USER NAME
    as "$1" busctl call --allow-interactive-authorization=no "${bus[@]}" CreateTarget 'sa{sv}' "$2" 0
}

entries() { # entries MATCH...: journal entries, all of them written
    journalctl --sync
    journalctl --quiet --output=cat "$@"
}

active() { systemctl is-active --quiet "$1"; }
state() { systemctl show -P "$2" "$1"; }
main_pid() { state lunportd.service MainPID; }

save_journal() { journalctl --quiet -b --no-pager > /lunport-test/journal; }
trap save_journal EXIT
trap 'exit 1' TERM

# A service that does not answer must not take the whole time.
iscsi-ls() { timeout 300 /usr/bin/iscsi-ls "$@"; }
iscsi-inq() { timeout 300 /usr/bin/iscsi-inq "$@"; }
qemu-io() { timeout 300 /usr/bin/qemu-io "$@"; }

# -- Activation ------------------------------------------------------------------------------------

ok "the socket is active after boot" active lunportd.socket
ok "the service is not" not active lunportd.service
ok "the first connection to port 3260 is answered" iscsi-ls iscsi://127.0.0.1
ok "it started the service" active lunportd.service
active lunportd.service || exit
ok "READY came with a status text" says 'target' state lunportd.service StatusText
ok "the watchdog is set" says '^30s$' state lunportd.service WatchdogUSec
ok "the service is the user lunport" says '^lunport$' ps -o user= -p "$(main_pid)"
ok "it has no capabilities" says '^CapEff:\s0000000000000000$' cat "/proc/$(main_pid)/status"
ok "start is in the journal" says 'Service started' entries MESSAGE_ID=1f0c4b8c52f84a3c8d0c6f0e0b5a4d01
ok "the service stops" systemctl stop lunportd.socket lunportd.service
ok "it ended well" says '^success$' state lunportd.service Result
ok "a call on the bus is answered" busctl get-property "${bus[@]}" Version
ok "it started the service too" active lunportd.service
ok "and its socket" active lunportd.socket

# -- Who may --------------------------------------------------------------------------------------

ok "root creates a target by busctl" says '^o "/org/lunport1/targets/' busctl call "${bus[@]}" \
    CreateTarget 'sa{sv}' "$name" 1 enabled b true
ok "the same name again is an error" refused 'AlreadyExists|already' busctl call "${bus[@]}" \
    CreateTarget 'sa{sv}' "$name" 0
ok "a wrong name is an error" refused 'InvalidName|[Ii]nvalid|name' busctl call "${bus[@]}" \
    CreateTarget 'sa{sv}' "nonsense" 0
ok "bob may read" busctl get-property "${bus[@]}" TargetCount
ok "bob may look at the status" as bob lunctl status
ok "bob is refused" refused 'denied|[Aa]uthorization|[Aa]uthentication' create_target bob iqn.2026-11.org.lunport:team1.bob
ok "alice is refused without a rule" refused 'denied|[Aa]uthorization|[Aa]uthentication' create_target alice iqn.2026-11.org.lunport:team1.a
ok "polkit answers" busctl status org.freedesktop.PolicyKit1
mkdir -p /etc/polkit-1/rules.d
cat > /etc/polkit-1/rules.d/20-test.rules <<'END'
polkit.addRule(function(action, subject) {
    if (action.id == "org.lunport1.manage-targets" && subject.isInGroup("storage-ops")) {
        var target = action.lookup("target");
        if (target && target.indexOf("iqn.2026-11.org.lunport:team1.") == 0)
            return polkit.Result.YES;
    }
});
END
chmod 755 /etc/polkit-1/rules.d
chmod 644 /etc/polkit-1/rules.d/20-test.rules
systemctl restart polkit.service
ok "alice is allowed once a rule says so" create_target alice iqn.2026-11.org.lunport:team1.a
ok "alice is refused outside of her rule" refused 'denied|[Aa]uthorization|[Aa]uthentication' create_target alice iqn.2026-11.org.lunport:team2.a
ok "alice may not make backstores" refused 'denied|[Aa]uthorization|[Aa]uthentication' \
    as alice busctl call --allow-interactive-authorization=no "${bus[@]}" CreateBackstore 'ssa{sv}' ram other 1 size t 1048576
ok "bob is refused still" refused 'denied|[Aa]uthorization|[Aa]uthentication' create_target bob iqn.2026-11.org.lunport:team1.bob
ok "bob may not make properties his own" refused '.' as bob busctl set-property "${bus[@]}" TargetCount u 7
ok "nobody else may own the name" refused '.' as bob busctl call org.freedesktop.DBus / \
    org.freedesktop.DBus RequestName su org.lunport1 0

# -- A disk ---------------------------------------------------------------------------------------

mkdir -p /srv/disks
chown lunport: /srv/disks
ok "a file of /srv becomes a backstore" lunctl backstore create data --type=file \
    --path=/srv/disks/data --size=256M
ok "and a logical unit" lunctl lun add "$name" data --lun=0
ok "open to everyone" lunctl access open "$name"
ok "discovery lists the target" says "$name" iscsi-ls -s iscsi://127.0.0.1
ok "the disk answers" iscsi-inq "iscsi://127.0.0.1/$name/0"
if command -v qemu-io > /dev/null; then
    ok "writing and reading works inside the sandbox" says 'read 4194304' qemu-io -f raw -t none \
        -c 'write -P 0x61 0 4M' -c flush -c 'discard 1M 1M' -c 'write -P 0x61 1M 1M' -c 'read -P 0x61 0 4M' \
        "iscsi://127.0.0.1/$name/0"
fi
ok "a path that the service may not open is refused with the reason" refused '[Pp]ermission|may not|read-only|[Rr]ead-only' \
    lunctl backstore create home --type=file --path=/root/disk --size=1M
ok "lunctl knows the target" says "$name" lunctl target list

# -- The journal: early, since it takes ten entries of an address in a minute ----------------------

ok "journalctl ISCSI_TARGET= finds the login" says 'logged in' entries "ISCSI_TARGET=$name"
ok "login has its message id" says "$name" entries MESSAGE_ID=5d3e8a1c7f6b4d29b0e4a9c2d8f15605
ok "the catalog explains it" says 'has opened a session from' journalctl --quiet -x MESSAGE_ID=5d3e8a1c7f6b4d29b0e4a9c2d8f15605
ok "journalctl -t lunportd finds the service" says . entries -t lunportd
ok "what alice changed is on record" says . entries MESSAGE_ID=f700e3d4c2b1464ad92514e3f2d80b0f "CALLER_UID=$(id -u alice)"
iscsi-inq iscsi://127.0.0.1/iqn.2026-11.org.lunport:nothing/0 > /dev/null 2>&1
ok "a refused login is on record" says 'refused' entries MESSAGE_ID=7f8d5e2a3b9c4f06a1d8e7c6b5f43207
identity=$(iscsi-inq -e 1 -c 131 "iscsi://127.0.0.1/$name/0")

# -- Secrets --------------------------------------------------------------------------------------

secrets=/var/lib/lunport/secrets/$name
chap=iscsi://alice%wonderland-123@127.0.0.1/$name/0
set_secret() { lunctl account set "$name" "$1" --secret-fd=3 3<<< "$2"; }
seal_key() {
    mkdir -p /etc/credstore.encrypted
    head -c 32 /dev/urandom | systemd-creds encrypt --with-key=host --name=lunport.key - /etc/credstore.encrypted/lunport.key
}
ok "an account without a key" set_secret alice wonderland-123
ok "is stored plainly" says '^lunport-secrets 1 plain' head -n 1 "$secrets"
ok "status warns of it" says 'stored unencrypted' lunctl status
ok "a key is sealed for this machine" seal_key
ok "the service starts with it" systemctl restart lunportd.service
ok "the secrets are sealed" until_true says '^lunport-secrets 1 aes-256-gcm' head -n 1 "$secrets"
ok "nothing warns any more" not says 'stored unencrypted' lunctl status
ok "another account" set_secret bob looking-glass-456
ok "the first lets in" iscsi-inq "$chap"
ok "the second does" iscsi-inq "iscsi://bob%looking-glass-456@127.0.0.1/$name/0"
ok "a wrong secret does not" not iscsi-inq "iscsi://bob%wonderland-123@127.0.0.1/$name/0"
ok "after another start they can be read still" systemctl restart lunportd.service
ok "and let in" until_true iscsi-inq "$chap"
mv /etc/credstore.encrypted/lunport.key /etc/lunport.key
ok "it starts without the key too" systemctl restart lunportd.service
ok "then nobody gets in" not iscsi-inq "$chap"
ok "status says why" says 'It is sealed' lunctl status
mv /etc/lunport.key /etc/credstore.encrypted/lunport.key
ok "the key comes back" systemctl restart lunportd.service
ok "and so do the secrets" until_true iscsi-inq "$chap"
ok "no proof any more" lunctl target auth "$name" none

# -- Life and death -------------------------------------------------------------------------------

ok "exposure of the running service is at most 1.4" systemd-analyze security --threshold=14 --no-pager lunportd.service
pid=$(main_pid)
ok "reload" systemctl reload lunportd.service
ok "reload keeps the process" test "$(main_pid)" = "$pid"
ok "restart" systemctl restart lunportd.service
ok "restart makes a new process" test "$(main_pid)" != "$pid"
ok "the targets are still there" says "$name" lunctl target list
ok "alice's target too" says 'team1\.a' lunctl target list
ok "the disk is the same disk" test "$identity" = "$(iscsi-inq -e 1 -c 131 "iscsi://127.0.0.1/$name/0")"
if command -v qemu-io > /dev/null; then
    ok "with the same data" says 'read 4194304' qemu-io -f raw -r -c 'read -P 0x61 0 4M' "iscsi://127.0.0.1/$name/0"
fi
pid=$(main_pid)
kill -KILL "$pid"
ok "after SIGKILL it starts again" until_true says . iscsi-inq "iscsi://127.0.0.1/$name/0"
ok "with a new process" test "$(main_pid)" != "$pid"
ok "socket and service restart together" systemctl restart lunportd.socket lunportd.service
ok "the disk answers again" until_true iscsi-inq "iscsi://127.0.0.1/$name/0"
rm -f /etc/polkit-1/rules.d/20-test.rules
systemctl mask --runtime --now polkit.service 2> /dev/null
ok "without polkit root still may" busctl call "${bus[@]}" CreateTarget 'sa{sv}' iqn.2026-11.org.lunport:nopolkit 0
ok "without polkit alice may not" refused . create_target alice iqn.2026-11.org.lunport:team1.b
if command -v qemu-io > /dev/null; then
    # He has all the time that he needs to go
    mkdir -p /run/systemd/system/lunportd.service.d
    printf '[Service]\nExecStart=\n%s --logout-timeout=60\nTimeoutStopSec=300s\n' \
        "$(systemctl cat lunportd.service | grep ^ExecStart=)" > /run/systemd/system/lunportd.service.d/patience.conf
    ok "a drop-in" systemctl daemon-reload
    ok "another restart" systemctl restart lunportd.service
    /usr/bin/qemu-io -f raw -c 'sleep 3600000' "iscsi://127.0.0.1/$name/0" > /dev/null 2>&1 &
    initiator=$!
    ok "somebody is logged in" until_true says "$name" lunctl session list
    mark=$(date +%s)
    ok "restart" systemctl restart lunportd.service
    ok "drops him" says 'ended: the service stops' entries --since="@$mark" MESSAGE_ID=6e0b9c4d8a2f4e17915cd3b7f6e80a06
    ok "he comes back" until_true says "$name" lunctl session list
    mark=$(date +%s)
fi
ok "socket and service stop" systemctl stop lunportd.socket lunportd.service
if command -v qemu-io > /dev/null; then
    ok "he was asked to log out" says 'ended: logout' entries --since="@$mark" MESSAGE_ID=6e0b9c4d8a2f4e17915cd3b7f6e80a06
    kill "$initiator"
fi
ok "nothing of it failed" says '^success$' state lunportd.service Result
# Of a file systemd tells the line; “ignoring” by itself is also what it says of a process that is gone already
ok "no unit was misunderstood" not says 'lunport.*(Unknown|Failed to parse|:[0-9]+: .*ignoring)' journalctl --quiet -b _PID=1
ok "the bus understood its policy" not says 'Unknown (username|group)|org\.lunport1\.conf' journalctl --quiet -b -t dbus-daemon

echo "# end"
