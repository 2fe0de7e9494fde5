# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
# shellcheck shell=sh disable=SC2154
#
# open-iscsi proves who it is with every algorithm of CHAP, asks the target for a proof, and is refused
# with wrong secrets. What the daemon logs of a refusal says what to do about it.

SECRET=wonderland-123
MUTUAL=looking-glass-456
AUTH=node.session.auth

chap_node() { # chap_node SECRET ALGORITHM [NAME=VALUE]...
    secret=$1
    algorithm=$2
    shift 2
    new_node $AUTH.authmethod=CHAP $AUTH.username=alice "$AUTH.password=$secret" "$AUTH.chap_algs=$algorithm" \
        node.session.initial_login_retry_max=1 "$@"
}
both_ways() { # both_ways SECRET OF THE TARGET
    chap_node $SECRET SHA3-256,SHA256,SHA1,MD5 $AUTH.username_in=target "$AUTH.password_in=$1"
}
in_and_out() { login && find_disk && logout && no_disk; }

must "the target is closed" host ctl access close "$IQN"
must "a plain node record" new_node node.session.initial_login_retry_max=1
ok "no rule: refused" refused 'authorization failure|login rejected|fail' login
ok "the journal says which command helps" host journal "lunctl access allow $IQN"
must "a rule for everyone" host ctl access allow "$IQN" '*'
# The journal takes ten entries of an address in a minute: what is looked for there comes early
ok "a secret of the target" host secrets $SECRET $MUTUAL target auth "$IQN" chap --chap-user=alice --mutual-user=target
ok "mutual: node record" both_ways $MUTUAL
ok "mutual: login" in_and_out
ok "mutual, another target expected" both_ways not-the-target-1
ok "the initiator leaves" refused 'authorization failure|login rejected|fail' login
ok "the journal says why" host journal "another mutual CHAP user or secret"
must "CHAP with a secret" host secrets $SECRET '' target auth "$IQN" chap --chap-user=alice
must "a record without CHAP" new_node node.session.initial_login_retry_max=1
ok "no proof: refused" refused 'authorization failure|login rejected|fail' login
ok "the journal says what is wanted" host journal "CHAP is wanted here"
ok "a wrong secret" chap_node wonderland-124 SHA256
ok "it is refused" refused 'authorization failure|login rejected|fail' login
ok "the journal says what is wrong" host journal "has another secret"
for algorithm in MD5 SHA1 SHA256 SHA3-256; do
    ok "$algorithm: node record" chap_node $SECRET $algorithm
    ok "$algorithm: login" in_and_out
done
ok "a list of algorithms" chap_node $SECRET SHA3-256,SHA256,SHA1,MD5
ok "login with the strongest" in_and_out
ok "MD5 is taken off the list" host ctl chap algorithms SHA3-256 SHA-256
ok "MD5 only" chap_node $SECRET MD5
ok "it is refused too" refused 'authorization failure|login rejected|fail' login
ok "the kernel is content" kernel_is_sane
