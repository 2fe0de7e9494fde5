#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Who gets in and what he sees: libiscsi's tools with CHAP, discovery, rules and LUN maps.

Secrets go to lunctl through a descriptor, as an administrator's script would do it.
"""

import subprocess

import rig

ALICE = "iqn.2026-11.org.lunport:alice"
BOB = "iqn.2026-11.org.lunport:bob"
SECRET = "wonderland-123"
MUTUAL = "looking-glass-456"
OTHER = "iqn.2026-11.org.lunport:other"


def must_fail(function, *arguments):
    """What the command said when it was refused."""
    try:
        function(*arguments)
    except subprocess.CalledProcessError as error:
        return error.output
    raise AssertionError("it was not refused")


class Access:
    """The cases; each begins with a target that is closed and has no rules."""

    def __init__(self, target):
        self.target = target
        self.ctl = target.ctl

    def url(self, user=None, password=None, lun=0, more=""):
        login = f"{user}%{password}@" if user is not None else ""
        return f"iscsi://{login}127.0.0.1:{self.target.port}/{rig.IQN}/{lun}{more}"

    def inquiry(self, url, initiator=ALICE):
        return rig.run("iscsi-inq", "-i", initiator, url)

    def refused(self, url, initiator=ALICE):
        return must_fail(self.inquiry, url, initiator)

    def log_since(self, mark):
        return self.target.log()[mark:]

    def mark(self):
        return len(self.target.log())

    def closed(self):
        mark = self.mark()
        self.refused(self.url())
        wanted = f"lunctl access allow {rig.IQN} {ALICE}"
        rig.wait_until(lambda: wanted in self.log_since(mark), "the command that helps")

    def one_way(self):
        self.ctl("access", "allow", rig.IQN, "iqn.2026-11.*")
        self.target.ctl_secrets("target", "auth", rig.IQN, "chap", "--chap-user=alice", secret=SECRET)
        self.inquiry(self.url("alice", SECRET))

    def wrong(self, user, password, hint):
        mark = self.mark()
        self.refused(self.url(user, password))
        rig.wait_until(lambda: hint in self.log_since(mark), f"“{hint}” in the journal")
        assert SECRET not in self.target.log(), "the secret is in the journal"

    def mutual(self):
        self.target.ctl_secrets("target", "auth", rig.IQN, "chap", "--chap-user=alice",
                                "--mutual-user=target", secret=SECRET, mutual=MUTUAL)
        more = f"?target_user=target&target_password={MUTUAL}"
        self.inquiry(self.url("alice", SECRET, more=more))
        self.inquiry(self.url("alice", SECRET))

    def wrong_mutual(self):
        more = "?target_user=target&target_password=not-the-target-1"
        self.refused(self.url("alice", SECRET, more=more))

    def policy(self):
        """libiscsi knows MD5 only."""
        self.ctl("chap", "algorithms", "SHA3-256", "SHA-256")
        self.refused(self.url("alice", SECRET))
        self.ctl("chap", "algorithms", "SHA3-256", "SHA-256", "SHA1", "MD5")
        self.inquiry(self.url("alice", SECRET))

    def survives(self):
        """Accounts and rules are there after a crash."""
        self.target.kill()
        self.target.start()
        self.inquiry(self.url("alice", SECRET))
        self.refused(self.url("alice", "wonderland-124"))

    def session_shows_user(self):
        output = self.ctl("target", "show", rig.IQN)
        assert "CHAP" in output and "alice" in output and SECRET not in output, output

    def two_maps(self):
        self.ctl("target", "auth", rig.IQN, "none")
        self.ctl("access", "remove", rig.IQN, "iqn.2026-11.*")
        self.ctl("access", "allow", rig.IQN, ALICE, "--lun-map=0:0")
        self.ctl("access", "allow", rig.IQN, BOB, "--lun-map=0:1,5:0:ro")
        assert "ALICES" in self.inquiry(self.url())
        assert "BOBS" in self.inquiry(self.url(), BOB)
        assert "ALICES" in self.inquiry(self.url(lun=5), BOB)
        assert "ALICES" not in must_or_output(self.inquiry, self.url(lun=5))

    def writes(self):
        """ALICE may write her disk, BOB sees it without."""
        image = self.target.folder / "image"
        image.write_bytes(b"x" * rig.MIB)
        options = f"driver=iscsi,transport=tcp,portal=127.0.0.1:{self.target.port},target={rig.IQN}"
        write = ["qemu-img", "convert", "-n", "--target-image-opts", "-f", "raw", image]
        rig.run(*write, f"{options},lun=0,initiator-name={ALICE}")
        must_fail(rig.run, *write, f"{options},lun=5,initiator-name={BOB}")
        self.ctl("access", "read-only", rig.IQN, ALICE)
        must_fail(rig.run, *write, f"{options},lun=0,initiator-name={ALICE}")
        self.ctl("access", "writable", rig.IQN, ALICE)
        rig.run(*write, f"{options},lun=0,initiator-name={ALICE}")

    def own_account(self):
        """An account of a rule, which only he has."""
        self.target.ctl_secrets("access", "secret", rig.IQN, BOB, "--chap-user=bob",
                                secret="bobs-secret-789")
        self.inquiry(self.url("bob", "bobs-secret-789"), BOB)
        self.refused(self.url(), BOB)
        self.refused(self.url("alice", SECRET), BOB)
        self.inquiry(self.url(), ALICE)

    def several_accounts(self):
        """One after the other gets a secret of his own, and loses it, while the other goes on."""
        self.ctl("access", "secret", rig.IQN, BOB, "--remove")
        for user, secret in (("bob", "bobs-secret-789"), ("carol", "carols-secret-01")):
            self.target.ctl_secrets("account", "set", rig.IQN, user, f"--rule={BOB}", secret=secret)
        self.inquiry(self.url("bob", "bobs-secret-789"), BOB)
        self.inquiry(self.url("carol", "carols-secret-01"), BOB)
        self.refused(self.url("carol", "bobs-secret-789"), BOB)
        self.target.ctl_secrets("account", "set", rig.IQN, "carol", f"--rule={BOB}", secret="carols-secret-02")
        self.inquiry(self.url("carol", "carols-secret-02"), BOB)
        self.refused(self.url("carol", "carols-secret-01"), BOB)
        self.ctl("account", "remove", rig.IQN, "carol", f"--rule={BOB}")
        self.refused(self.url("carol", "carols-secret-02"), BOB)
        self.inquiry(self.url("bob", "bobs-secret-789"), BOB)

    def groups(self):
        self.ctl("group", "create", "nodes", BOB)
        self.ctl("access", "remove", rig.IQN, ALICE)
        self.ctl("access", "allow", rig.IQN, "--group=nodes")
        self.refused(self.url(), ALICE)
        self.ctl("group", "add", "nodes", ALICE)
        self.inquiry(self.url(), ALICE)
        self.ctl("access", "deny", rig.IQN, ALICE)
        self.refused(self.url(), ALICE)
        self.ctl("access", "remove", rig.IQN, ALICE)
        listed = self.ctl("access", "list", rig.IQN)
        assert "@nodes" in listed and "(others)" in listed and "bob" in listed, listed

    def listed(self, login=""):
        return rig.run("iscsi-ls", "-i", ALICE, f"iscsi://{login}127.0.0.1:{self.target.port}")

    def discovery(self):
        """What could not be logged in to is not told."""
        self.ctl("target", "create", OTHER, "--enable")
        shown = self.listed()
        assert rig.IQN in shown and OTHER not in shown, shown
        self.ctl("access", "open", OTHER)
        assert OTHER in self.listed()
        self.ctl("access", "deny", OTHER, ALICE)
        assert OTHER not in self.listed()

    def discovery_auth(self):
        self.target.ctl_secrets("discovery", "auth", "chap", "--chap-user=alice", secret=SECRET)
        must_fail(self.listed)
        must_fail(self.listed, "alice%wonderland-124@")
        assert rig.IQN in self.listed(f"alice%{SECRET}@")
        self.ctl("discovery", "auth", "none")
        assert rig.IQN in self.listed()

    def status_warns(self):
        output = self.ctl("status")
        assert "stored unencrypted" in output, output

    def no_traces(self):
        """Secrets are in no file but those of secrets, and nowhere on the bus."""
        for path in (self.target.folder / "state").rglob("*"):
            if path.is_file() and "secrets" not in path.parts:
                assert SECRET.encode() not in path.read_bytes(), path
        assert SECRET not in self.target.log()
        for folder in (self.target.folder / "state" / "secrets").iterdir():
            assert folder.stat().st_mode & 0o077 == 0, folder

    def export_to(self):
        self.ctl("export", str(self.target.folder / "disks" / "mine"), "--size=16M", f"--to={ALICE}",
                 "--target=iqn.2026-11.org.lunport:mine")
        url = f"iscsi://127.0.0.1:{self.target.port}/iqn.2026-11.org.lunport:mine/0"
        self.inquiry(url, ALICE)
        self.refused(url, BOB)


def must_or_output(function, *arguments):
    """The output, of a success or of a failure."""
    try:
        return function(*arguments)
    except subprocess.CalledProcessError as error:
        return error.output


def main():
    rig.need("iscsi-inq", "iscsi-ls", "qemu-img")
    tap = rig.Tap()
    with rig.Daemon() as target:
        case = Access(target)
        check = tap.check
        for name, product in (("a", "ALICES"), ("b", "BOBS")):
            target.ctl("backstore", "create", name, "--type=ram", "--size=16M", f"--product={product}")
        target.ctl("target", "create", rig.IQN, "--enable")
        target.ctl("lun", "add", rig.IQN, "a", "--lun=0")
        target.ctl("lun", "add", rig.IQN, "b", "--lun=1")
        check("a closed target refuses, and the journal says what to do", case.closed)
        check("CHAP one way", case.one_way)
        check("a wrong secret", case.wrong, "alice", "wonderland-124", "has another secret")
        check("a wrong user", case.wrong, "mallory", SECRET, "is not known here")
        check("no proof", case.wrong, None, None, f"lunctl target auth {rig.IQN} chap")
        check("CHAP both ways", case.mutual)
        check("a target that is not the one", case.wrong_mutual)
        check("algorithms that are not allowed", case.policy)
        check("the target shows its user and no secret", case.session_shows_user)
        check("status warns of secrets without a key", case.status_warns)
        check("they are there after a crash", case.survives)
        check("secrets leave no traces", case.no_traces)
        check("two initiators see two maps", case.two_maps)
        check("writes of one, none of the other", case.writes)
        check("an account of a rule", case.own_account)
        check("several accounts of a rule", case.several_accounts)
        check("groups and denials", case.groups)
        check("discovery tells what can be had", case.discovery)
        check("discovery with CHAP", case.discovery_auth)
        check("export to one initiator", case.export_to)
    tap.done()


if __name__ == "__main__":
    main()
