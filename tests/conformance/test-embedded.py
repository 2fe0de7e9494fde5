#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""lunportd by itself: no bus, no systemd, one disk from the command line."""

import signal
import subprocess

import rig


class Embedded(rig.Daemon):
    """The daemon with a default disk and no bus."""

    def launch(self):
        """It is started, and that is all."""
        for name in ("config", "state"):
            (self.folder / name).mkdir(exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*rig.WITH_US, self.daemon, "--bus=none", "--config-dir", str(self.folder / "config"),
                 "--state-dir", str(self.folder / "state"), "--listen", f"127.0.0.1:{self.port}",
                 "--listen", f"127.0.0.1:{self.second}",
                 f"--default-disk={self.folder}/disk,64M"], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)

    def start(self):
        """When it can be reached it may still be at work on the disk: then it tells its address."""
        told = self.log().count("iscsi://")
        self.launch()
        self._wait()
        rig.wait_until(lambda: self.log().count("iscsi://") > told or not self.alive(), "the disk")

    def __init__(self):
        super().__init__()
        self.second = rig.free_port()


def find_target(portal):
    """The one target that discovery lists."""
    output = rig.run("iscsi-ls", "-s", portal)
    names = {word.split(":", 1)[1] for word in output.split() if word.startswith("Target:")}
    assert len(names) == 1, output
    return names.pop()


def main():
    rig.need("iscsi-ls", "qemu-io")
    if rig.os.environ.get("LUNPORT_TEST_TARGET") == "tgt":
        rig.skip_all("tgt has no such mode")
    tap = rig.Tap()
    with Embedded() as target:
        found = []
        tap.check("discovery lists one target", lambda: found.append(find_target(target.portal())))
        url = f"{target.portal()}/{found[0] if found else 'none'}/0"

        def write_and_read():
            output = rig.run("qemu-io", "-f", "raw", "-c", "write -P 0x5e 0 1M", "-c", "flush", "-c",
                             "read -P 0x5e 0 1M", url)
            assert "failed" not in output, output

        def second_portal():
            assert find_target(f"iscsi://127.0.0.1:{target.second}") == found[0]

        def file_has_it():
            with open(target.folder / "disk", "rb") as disk:
                assert disk.read(1 << 20) == b"\x5e" * (1 << 20)
            assert (target.folder / "disk").stat().st_size == 64 << 20

        def ends(number):
            target.process.send_signal(number)
            assert target.process.wait(rig.PATIENCE) == 0, target.log()

        tap.check("the disk is written and read back", write_and_read)
        tap.check("a second --listen serves the same", second_portal)
        tap.check("Ctrl-C ends it with status 0", ends, signal.SIGINT)
        tap.check("the file has the data and the size", file_has_it)
        tap.check("it starts again", target.start)
        tap.check("the target's name is the same", lambda: rig.run("iscsi-inq", url))
        tap.check("SIGTERM ends it with status 0", ends, signal.SIGTERM)

        def ends_early():
            for _ in range(10):
                target.launch()
                while target.alive() and not rig.answers(target.port):
                    pass
                ends(signal.SIGTERM)

        tap.check("SIGTERM does so while the disk is made", ends_early)
    tap.done()


if __name__ == "__main__":
    main()
