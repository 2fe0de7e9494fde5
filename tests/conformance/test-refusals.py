#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Every way a login can be refused: what the initiator is told, and what the administrator reads.

The initiator gets a status of RFC 7143 11.13.5 and nothing else: no text, no hint which of user and
secret was wrong. The entry of the journal has the same status, who, from where and to what, a sentence
that names what to mend, and where a command of lunctl mends it, that command. No entry has a secret.

A case is a row of one of the tables: a name, what the initiator does, the status, the words that the
reason must have, and the command (None: nothing on this side helps).
"""

import base64
import json
import os
import struct

import journal
import rig
from login import (CONTINUE, FULL_FEATURE, INITIATOR, OPERATIONAL, SECURITY, TRANSIT, Closed, Login,
                   chap_response)

SECRET = "wonderland-123"
MUTUAL = "looking-glass-456"
DISC_SECRET = "rabbit-hole-789"
PLAIN = "iqn.2026-11.org.lunport:plain"      # open, without CHAP
HIDDEN = "iqn.2026-11.org.lunport:hidden"    # in a portal group that nobody reaches
RULES = "iqn.2026-11.org.lunport:rules"      # closed, with some rules
DIGESTS = "iqn.2026-11.org.lunport:digests"  # insists on digests
AWAY = "iqn.2026-11.org.lunport:away"        # redirects
NOBODY = "iqn.2026-11.org.lunport:nobody"    # not there
DENIED = "iqn.2026-11.org.lunport:denied"
OWN = "iqn.2026-11.org.lunport:own"          # has a rule with a secret of its own
FAR = "iqn.2026-11.org.lunport:far"          # has a rule for another network

SUCCESS, MOVED, MOVED_PERMANENTLY = 0x0000, 0x0101, 0x0102
INITIATOR_ERROR, AUTHENTICATION, AUTHORIZATION, NOT_FOUND = 0x0200, 0x0201, 0x0202, 0x0203
REMOVED, VERSION, MISSING, SESSION_TYPE, NO_SESSION, INVALID = 0x0204, 0x0205, 0x0207, 0x0209, 0x020a, 0x020b
UNAVAILABLE, RESOURCES = 0x0301, 0x0302
CLOSED = "closed"  # without a word

# A test that stands still for some seconds is not what is to be refused
LOGIN_SECONDS, SILENCE_SECONDS = 300, 120

AUTH = f"lunctl target auth {rig.IQN} chap --chap-user=USER"


def chap(user="alice", secret=SECRET, algorithms="8,7,6,5", target=rig.IQN, initiator=INITIATOR, **more):
    """A login by CHAP, up to the answer to the response."""
    def play(login):
        status = login.challenge(login.names(target, initiator), algorithms)
        return status or login.chap(user, secret, **more)
    return play


def first(target=rig.IQN, initiator=INITIATOR, stage=OPERATIONAL, following=FULL_FEATURE, **more):
    """One request says it all; a key of None is left out."""
    return lambda login: login.ask(login.names(target, initiator, **more), stage, following)


def long_login(login):
    """Two requests, with more keys in them than everybody has to take."""
    status = login.ask(login.names(PLAIN, **{f"X-{i}": "y" * 200 for i in range(30)}), OPERATIONAL, flags=CONTINUE)
    return status or login.ask({f"Y-{i}": "y" * 200 for i in range(20)}, OPERATIONAL, FULL_FEATURE)


def discovery(**more):
    """A discovery session asks for a proof too."""
    def play(login):
        names = {"InitiatorName": INITIATOR, "SessionType": "Discovery"}
        if not more:
            return login.ask(names, OPERATIONAL, FULL_FEATURE)
        return login.challenge(names) or login.chap(**more)
    return play


def reflected(login):
    """The target's challenge comes back as one of the initiator."""
    login.challenge(login.names(rig.IQN))
    return login.chap("alice", SECRET, CHAP_I=login.keys["CHAP_I"], CHAP_C=login.keys["CHAP_C"])


def mutual_without_account(login):
    login.challenge(login.names(rig.IQN, OWN))
    return login.chap("owner", SECRET + "-own", CHAP_I=7, CHAP_C="0x" + os.urandom(16).hex())


def twice(login):
    login.ask({**login.names(rig.IQN), "AuthMethod": "CHAP"})
    return login.ask([("CHAP_A", "5"), ("CHAP_A", "6")])


def early(login):
    """A response before there is a challenge."""
    return login.ask({**login.names(rig.IQN), "AuthMethod": "CHAP", "CHAP_N": "alice", "CHAP_R": "0x00"})


def without_method(login):
    return login.ask({**login.names(rig.IQN), "CHAP_A": "5"})


def distrust(login):
    """Mutual CHAP whose answer is not what the initiator expects: it says nothing and goes."""
    login.challenge(login.names(rig.IQN), "8")
    challenge = os.urandom(32)
    status = login.chap("alice", SECRET, CHAP_I=9, CHAP_C="0b" + base64.b64encode(challenge).decode())
    assert status == SUCCESS, f"{status:04x}"
    assert login.keys["CHAP_R"] == chap_response(8, 9, MUTUAL, challenge), "the target's proof is wrong"
    login.socket.close()
    return CLOSED


def no_key(login):
    return login.ask(b"InitiatorName\0", OPERATIONAL, FULL_FEATURE)


def many_keys(login):
    return login.ask([*login.names(PLAIN).items(), *((f"X-{i}", "1") for i in range(130))], OPERATIONAL,
                     FULL_FEATURE)


def version(login):
    login.version_min = 1
    return first(PLAIN)(login)


def no_session(login):
    login.tsih = 0xfffe
    return first(PLAIN)(login)


def other_isid(login):
    login.ask({**login.names(PLAIN), "AuthMethod": "None"}, SECURITY)
    login.isid = b"\x80" + bytes(5)
    return login.ask({}, SECURITY, OPERATIONAL)


def backwards(login):
    """The operational stage inside of that of security."""
    login.ask({**login.names(rig.IQN), "AuthMethod": "CHAP"})
    return login.ask({}, OPERATIONAL, FULL_FEATURE)


def other_pdu(login):
    """A NOP-Out in the middle."""
    login.ask({**login.names(PLAIN), "AuthMethod": "None"}, SECURITY)
    login.socket.sendall(bytes([0x40, 0x80]) + bytes(46))
    return login.receive()


def no_login(login):
    """Something else at once: not even an answer."""
    login.socket.sendall(bytes([0x40, 0x80]) + bytes(46))
    return login.receive()


def both_continue(login):
    """C and T exclude each other, RFC 7143 11.12.2."""
    return login.ask(login.names(PLAIN), SECURITY, flags=TRANSIT | 0x40 | OPERATIONAL)


CHAP_CASES = [
    ("a wrong secret",               chap(secret="wonderland-124"),         AUTHENTICATION, "“alice” has another secret", AUTH),
    ("a wrong secret with MD5",      chap(secret="wonderland-124", algorithms="5"), AUTHENTICATION, "“alice” has another secret", AUTH),
    ("an unknown user",              chap(user="mallory"),                  AUTHENTICATION, "“mallory” is not known here", AUTH),
    ("a user with control characters", chap(user="m\x1b[2J\x07"),           AUTHENTICATION, "is not known here", AUTH),
    ("no CHAP offered",              first(stage=SECURITY, following=OPERATIONAL, AuthMethod="None"), AUTHENTICATION, "the initiator does not offer it: set its CHAP user and secret", AUTH),
    ("no authentication at all",     first(),                               AUTHENTICATION, "skips authentication: set its CHAP user and secret", AUTH),
    ("a security stage without AuthMethod", first(stage=SECURITY),          AUTHENTICATION, "skips authentication", AUTH),
    ("another method",               first(stage=SECURITY, following=None, AuthMethod="KRB5,SRP"), AUTHENTICATION, "the initiator does not offer it", AUTH),
    ("algorithms nobody knows",      chap(algorithms="1,99"),               AUTHENTICATION, "the initiator offers none that is known", "lunctl chap algorithms ALGORITHM..."),
    ("a reflected challenge",        reflected,                             AUTHENTICATION, "reflection", None),
    ("a response of another size",   chap(CHAP_R="0x" + "5a" * 16),         AUTHENTICATION, "is not one of SHA3-256: it has 16 bytes", None),
    ("a response that is no number", chap(CHAP_R="hello"),                  INITIATOR_ERROR, "CHAP_R has a value that is malformed", None),
    ("a response without a name",    chap(CHAP_N=None),                     MISSING, "did not come together", None),
    ("a challenge without identifier", chap(CHAP_C="0x0102"),               MISSING, "did not come together", None),
    ("a list of algorithms twice",   twice,                                 INITIATOR_ERROR, "CHAP_A was sent twice", None),
    ("a response too early",         early,                                 INITIATOR_ERROR, "came before or after its step", None),
    ("CHAP without AuthMethod",      without_method,                        INITIATOR_ERROR, "came without AuthMethod=CHAP", None),
    ("mutual CHAP that is not set up", mutual_without_account,              AUTHENTICATION, "“owner” has no mutual user and secret", f"lunctl access secret {rig.IQN} '{OWN}' --mutual-user=USER"),
    ("a wrong secret under a rule",  chap(user="owner", secret="wonderland-124", initiator=OWN), AUTHENTICATION, "“owner” has another secret", f"lunctl access secret {rig.IQN} '{OWN}'"),
    ("the user of another rule",     chap(initiator=OWN),                   AUTHENTICATION, "“alice” is not known here", f"lunctl access secret {rig.IQN} '{OWN}'"),
    ("the target is not believed",   distrust,                              CLOSED,         "another mutual CHAP user or secret", None),
    ("discovery without a proof",    discovery(),                           AUTHENTICATION, "CHAP is wanted here", "lunctl discovery auth chap --chap-user=USER"),
    ("discovery, a wrong secret",    discovery(user="finder", secret=SECRET), AUTHENTICATION, "“finder” has another secret", "lunctl discovery auth chap --chap-user=USER"),
    ("discovery, a target's user",   discovery(user="alice", secret=SECRET), AUTHENTICATION, "“alice” is not known here", "lunctl discovery auth chap --chap-user=USER"),
]

POLICY_CASES = [
    ("MD5 where it is not allowed",  chap(algorithms="5"),   AUTHENTICATION, "the initiator offers MD5, allowed here: SHA3-256, SHA-256", "lunctl chap algorithms ALGORITHM..."),
    ("SHA1 and MD5",                 chap(algorithms="6,5"), AUTHENTICATION, "the initiator offers SHA1, MD5, allowed here: SHA3-256, SHA-256", "lunctl chap algorithms ALGORITHM..."),
]

ACCESS_CASES = [
    ("nobody is let in",             first(RULES),                          AUTHORIZATION, "No access rule of the target lets this initiator in", f"lunctl access allow {RULES} {INITIATOR}"),
    ("a rule denies",                first(RULES, DENIED),                  AUTHORIZATION, f"The access rule for “{DENIED}” denies this initiator", f"lunctl access remove {RULES} '{DENIED}'"),
    ("a rule for another network",   first(RULES, FAR),                     AUTHORIZATION, "from its address and through this portal group", f"lunctl access allow {RULES} {FAR}"),
    ("a target that is not there",   first(NOBODY),                         NOT_FOUND,     "There is no such target here", "lunctl target list"),
    ("a target of another portal group", first(HIDDEN),                     NOT_FOUND,     "not reached through portal group 1", None),
    ("a target that moved for now",  first(AWAY),                           MOVED,         "The target has moved to 192.0.2.9:3260", None),
]

PROTOCOL_CASES = [
    ("a version of the future",      version,                               VERSION,         "speaks no version of iSCSI that is spoken here", None),
    ("no InitiatorName",             first(PLAIN, None),                    MISSING,         "InitiatorName is missing", None),
    ("no TargetName",                first(None),                           MISSING,         "TargetName is missing", None),
    ("an InitiatorName that is none", first(PLAIN, "iqn.x y"),              INITIATOR_ERROR, "InitiatorName is not a valid iSCSI name", None),
    ("a name for a shell",           first(RULES, "iqn.2026-11.x:$(reboot)'"), INITIATOR_ERROR, "InitiatorName is not a valid iSCSI name", None),
    ("a TargetName that is none",    first("foo"),                          NOT_FOUND,       "TargetName is not a valid iSCSI name", "lunctl target list"),
    ("an unknown SessionType",       first(PLAIN, SessionType="Weird"),     SESSION_TYPE,    "SessionType is not known", None),
    ("a session that is not there",  no_session,                            NO_SESSION,      "there is no session of this TSIH", None),
    ("a digest that is insisted on", first(DIGESTS, HeaderDigest="None", DataDigest="None"), INITIATOR_ERROR, "the target requires a digest that the initiator did not offer", None),
    ("no word on a digest",          first(DIGESTS),                        INITIATOR_ERROR, "the target requires a digest", None),
    ("a key of the target",          first(PLAIN, TargetAlias="mine"),      INITIATOR_ERROR, "Negotiation failed at TargetAlias: an initiator may not send this key", None),
    ("a key twice",                  lambda login: login.ask([*login.names(PLAIN).items(), ("MaxBurstLength", "512"), ("MaxBurstLength", "512")], OPERATIONAL, FULL_FEATURE), INITIATOR_ERROR, "Negotiation failed at MaxBurstLength: a key was sent twice", None),
    ("text that is no pair",         no_key,                                INITIATOR_ERROR, "The login text is not key=value pairs", None),
    ("more keys than anybody has",   many_keys,                             INITIATOR_ERROR, "The login text has too many keys", None),
    ("another ISID in the middle",   other_isid,                            INITIATOR_ERROR, "ISID, TSIH or CID changed during the login", None),
    ("the next stage unasked",       backwards,                             INITIATOR_ERROR, "is wrong in security negotiation", None),
    ("C and T together",             both_continue,                         INITIATOR_ERROR, "is wrong in start", None),
    ("a stage that is reserved",     first(PLAIN, stage=2),                 INITIATOR_ERROR, "is wrong in start", None),
    ("another PDU in the middle",    other_pdu,                             INVALID,         "A PDU came that is no Login Request", None),
    ("another PDU at once",          no_login,                              CLOSED,          "The first PDU is no Login Request", None),
]


class Refusals:
    """Plays cases and compares both sides of each."""

    def __init__(self, target, tap):
        self.target = target
        self.tap = tap

    def entry(self, remote, event="Login of"):
        """The one entry about a peer."""
        def found():
            return [entry for entry in self.target.journal.find(ISCSI_REMOTE=remote)
                    if entry["MESSAGE"].startswith(event)]
        rig.wait_until(found, f"an entry about {remote}")
        assert len(found()) == 1, found()
        return found()[0]

    def play(self, action, status):
        """Returns the peer's address when the answer was what it should be."""
        with Login(self.target.port) as login:
            try:
                got = action(login)
            except Closed:
                got = CLOSED
            assert got == status, f"{got if got == CLOSED else f'{got:04x}'}: {login.data}"
            if status != CLOSED:
                self.says_no_more(login, status)
            return login.remote

    @staticmethod
    def says_no_more(login, status):
        """Nothing but the number; the address of a target that has moved."""
        assert login.flags == 0, f"flags {login.flags:#x}"
        if status in (MOVED, MOVED_PERMANENTLY):
            assert list(login.keys) == ["TargetAddress"], login.data
            return
        assert login.data == b"", login.data
        try:
            more = login.socket.recv(1)
        except ConnectionResetError:
            more = b""
        assert more == b"", "the connection goes on"

    def case(self, action, status, words, cure):
        entry = self.entry(self.play(action, status))
        shown = str(entry)
        assert entry.get("ISCSI_STATUS", CLOSED) == (status if status == CLOSED else f"{status:04x}"), shown
        assert words in entry["REASON"] and words in entry["MESSAGE"], shown
        assert entry.get("CURE") == cure, shown
        assert cure is None or f"({cure})" in entry["MESSAGE"], shown
        assert entry["PRIORITY"] == "4" and len(entry["MESSAGE_ID"]) == 32, shown
        assert all(char.isprintable() for char in entry["MESSAGE"]), shown
        for secret in (SECRET, MUTUAL, DISC_SECRET):
            assert secret not in shown, "a secret is in the journal"

    def run(self, cases):
        for name, action, status, words, cure in cases:
            self.tap.check(f"refused: {name}", self.case, action, status, words, cure)

    def changed(self, change, undo, status, words):
        """The configuration changes while a login is under way."""
        def action(login):
            login.ask({**login.names(PLAIN), "AuthMethod": "None"}, SECURITY, OPERATIONAL)
            self.target.ctl(*change)
            return login.ask({}, OPERATIONAL, FULL_FEATURE)
        try:
            entry = self.entry(self.play(action, status))
        finally:
            for words_of_command in undo:
                self.target.ctl(*words_of_command)
        assert words in entry["REASON"], entry

    def nobody_is_left(self):
        """Who has dropped its connection is logged out when the target has seen that."""
        rig.wait_until(lambda: json.loads(self.target.ctl("--json=short", "session", "list")) == [],
                       "the end of the sessions")

    def limit(self, name, value, default, action, status):
        """A limit has an entry of its own kind, with its name."""
        self.nobody_is_left()
        self.target.ctl("limits", "set", f"{name}={value}")
        try:
            remote = self.play(action, status)
            entry = self.entry(remote, f"{remote} has reached the limit")
        finally:
            self.target.ctl("limits", "set", f"{name}={default}")
        assert entry["LIMIT"] == name and name in entry["MESSAGE"] and entry["REASON"], entry
        assert name in self.target.ctl("limits"), "lunctl knows the name"

    def beside(self, action):
        """@action while somebody is logged in to the plain target."""
        def play(login):
            with Login(self.target.port) as other:
                assert first(PLAIN)(other) == SUCCESS
                return action(login)
        return play

    def rejected_value(self):
        """A value nobody can use is answered with Reject (RFC 7143 6.2), and the login goes on."""
        with Login(self.target.port) as login:
            keys = {**login.names(PLAIN), "MaxBurstLength": "plenty", "ErrorRecoveryLevel": "9"}
            assert login.ask(keys, OPERATIONAL, FULL_FEATURE) == SUCCESS
            assert login.keys["MaxBurstLength"] == "Reject", login.keys

    def short_secret(self):
        """That a secret is too short is said to whoever sets it, not to who uses it."""
        try:
            self.target.ctl_secrets("target", "auth", rig.IQN, "chap", "--chap-user=alice", secret="short")
        except rig.subprocess.CalledProcessError as error:
            assert "12" in error.output, error.output
            return
        raise AssertionError("it was taken")

    def same_secret(self):
        """One secret for both directions would let reflection through."""
        try:
            self.target.ctl_secrets("target", "auth", rig.IQN, "chap", "--chap-user=alice",
                                    "--mutual-user=target", secret=SECRET, mutual=SECRET)
        except rig.subprocess.CalledProcessError as error:
            assert "secret" in error.output, error.output
            return
        raise AssertionError("it was taken")

    def every_algorithm(self, number):
        """And the right way in, both ways, with the hashes of another implementation."""
        with Login(self.target.port) as login:
            assert login.challenge(login.names(rig.IQN), str(number)) == SUCCESS
            assert login.keys["CHAP_A"] == str(number)
            challenge = os.urandom(24)
            status = login.chap("alice", SECRET, CHAP_I=number, CHAP_C="0x" + challenge.hex())
            assert status == SUCCESS, f"{status:04x}"
            assert login.keys["CHAP_N"] == "target"
            assert login.keys["CHAP_R"] == chap_response(number, number, MUTUAL, challenge)
            assert login.ask({}, OPERATIONAL, FULL_FEATURE) == SUCCESS


def prepare(target):
    """Targets for all cases. One comes from a file: lunctl does not set the portal groups of a target."""
    (target.folder / "config").mkdir()
    (target.folder / "config" / "hidden.conf").write_text(
        f"[Target]\nName={HIDDEN}\nEnabled=yes\nAccessMode=open\nPortalGroups=7\n")
    (target.folder / "config" / "group.conf").write_text("[PortalGroup]\nTag=7\n")


def configure(target):
    ctl = target.ctl
    ctl("limits", "set", f"login-timeout={LOGIN_SECONDS}", f"silence-timeout={SILENCE_SECONDS}")
    ctl("backstore", "create", "disk", "--type=ram", "--size=16M")
    for iqn in (rig.IQN, PLAIN, RULES, DIGESTS, AWAY):
        ctl("target", "create", iqn, "--enable")
        ctl("lun", "add", iqn, "disk", "--lun=0")
    for iqn in (rig.IQN, PLAIN, DIGESTS, AWAY):
        ctl("access", "open", iqn)
    target.ctl_secrets("target", "auth", rig.IQN, "chap", "--chap-user=alice", "--mutual-user=target",
                       secret=SECRET, mutual=MUTUAL)
    ctl("access", "allow", rig.IQN, OWN)
    target.ctl_secrets("access", "secret", rig.IQN, OWN, "--chap-user=owner", secret=SECRET + "-own")
    target.ctl_secrets("discovery", "auth", "chap", "--chap-user=finder", secret=DISC_SECRET)
    ctl("access", "deny", RULES, DENIED)
    ctl("access", "allow", RULES, FAR, "--from=192.0.2.0/24")
    ctl("target", "set", DIGESTS, "HeaderDigest=CRC32C", "DataDigest=CRC32C")
    ctl("target", "redirect", AWAY, "192.0.2.9")


def main():
    journal.need()
    tap = rig.Tap()
    target = journal.Daemon()
    prepare(target)
    with target:
        case = Refusals(target, tap)
        configure(target)
        for number in (5, 6, 7, 8):
            tap.check(f"let in: CHAP_A={number}, both ways", case.every_algorithm, number)
        tap.check("let in: a value that is rejected", case.rejected_value)
        tap.check("refused to set: a short secret", case.short_secret)
        tap.check("refused to set: one secret for both directions", case.same_secret)
        case.run(CHAP_CASES)
        target.ctl("chap", "algorithms", "SHA3-256", "SHA-256")
        case.run(POLICY_CASES)
        target.ctl("chap", "algorithms", "SHA3-256", "SHA-256", "SHA1", "MD5")
        case.run(ACCESS_CASES)
        target.ctl("target", "redirect", AWAY, "192.0.2.9", "--permanent")
        case.run([("a target that moved for good", first(AWAY), MOVED_PERMANENTLY,
                   "The target has moved to 192.0.2.9:3260", None)])
        target.ctl("target", "disable", AWAY)
        case.run([("a target that is disabled", first(AWAY), UNAVAILABLE, "not available now",
                   f"lunctl target enable {AWAY}")])
        case.run(PROTOCOL_CASES)

        change = tap.check
        change("refused: disabled during the login", case.changed, ["target", "disable", PLAIN],
               [["target", "enable", PLAIN]], UNAVAILABLE, "the target was changed during the login")
        change("refused: closed during the login", case.changed, ["access", "close", PLAIN],
               [["access", "open", PLAIN]], AUTHORIZATION, "the target was changed during the login")

        tap.check("limit: sessions of a target", case.limit, "max-sessions-per-target", 1, 0,
                  case.beside(first(PLAIN)), RESOURCES)
        tap.check("limit: sessions in all", case.limit, "max-sessions", 1, 4096,
                  case.beside(first(PLAIN)), RESOURCES)
        tap.check("limit: text", case.limit, "max-text-size", 8192, 16384, long_login, INITIATOR_ERROR)
        tap.check("limit: logins of an address", case.limit, "max-logins-per-address", 1, 64,
                  crowd(target.port, 1), CLOSED)
        tap.check("limit: time for a login", case.limit, "login-timeout", 1, LOGIN_SECONDS, half(target.port), CLOSED)
        tap.check("limit: silence", case.limit, "silence-timeout", 1, SILENCE_SECONDS, Login.receive, CLOSED)
        target.ctl("target", "delete", PLAIN, "--force")
    tap.done()


def crowd(port, n):
    """@n other connections of the same address are there and have not logged in."""
    def play(login):
        others = [Login(port, host=login.host) for _ in range(n)]
        try:
            return first(PLAIN)(others[-1])
        finally:
            login.remote = others[-1].remote
            for other in others:
                other.socket.close()
    return play


def half(_port):
    """A login that does not go on."""
    def play(login):
        login.ask({**login.names(PLAIN), "AuthMethod": "None"}, SECURITY)
        return login.receive()
    return play


if __name__ == "__main__":
    main()
