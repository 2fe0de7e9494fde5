#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""kill -9 under writes: what was flushed stays, and so does the configuration.

A writer drives one qemu-io through its commands and notes which write and which flush was
answered. qemu-img bench keeps the target busy on a second LUN meanwhile. After the kill and a
new start each block must hold what was flushed last or something written to it later.
"""

import collections
import os
import random
import re
import subprocess
import threading
import time

import rig

PROMPT = "qemu-io> "
BLOCK = 16384
BLOCKS = 512
ROUNDS = 3
SEED = 20261122


class Writer:
    """Writes and flushes until the target dies, and remembers what may be on the disk."""

    def __init__(self, url):
        self.process = subprocess.Popen(
            ["qemu-io", "-f", "raw", "-t", "writeback", url], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.flushed = {}
        self.later = collections.defaultdict(set)
        self.flushes = 0
        self.under_way = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.random = random.Random(SEED)

    def _prompt(self):
        """Everything up to the next prompt: with it the command before has ended."""
        text = ""
        while not text.endswith(PROMPT):
            piece = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            if not piece:
                raise EOFError
            text += piece
        return text

    def _command(self, text):
        """Send one command; an error in its answer is the end."""
        os.write(self.process.stdin.fileno(), text.encode() + b"\n")
        if re.search(r"failed|rror", self._prompt()):
            raise EOFError

    def _work(self):
        try:
            self._prompt()
            while True:
                batch = {}
                for _ in range(8):
                    block, value = self.random.randrange(BLOCKS), self.random.randrange(1, 255)
                    self.later[block].add(value)
                    self._command(f"write -P {value} {block * BLOCK} {BLOCK}")
                    batch[block] = value
                self._command("flush")
                for block, value in batch.items():
                    self.flushed[block] = value
                    self.later[block] = set()
                self.flushes += 1
                if self.flushes >= 20:
                    self.under_way.set()
        except (EOFError, OSError):
            self.under_way.set()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join()

    def wrong_blocks(self, data):
        """Blocks whose content is neither flushed nor written later."""
        wrong = []
        for block, value in self.flushed.items():
            content = data[block * BLOCK:(block + 1) * BLOCK]
            allowed = self.later[block] | {value}
            torn = set(content) - allowed
            if torn or (not self.later[block] and set(content) != {value}):
                wrong.append(block)
        return wrong


def read_all(url, path):
    rig.run("qemu-img", "convert", "-f", "raw", "-O", "raw", url, path)
    return path.read_bytes()


def identity(target, url):
    """What the outside knows the disk by, and all that is configured."""
    listing = rig.run("iscsi-ls", "-s", target.portal())
    pages = [rig.run("iscsi-inq", "-e", "1", "-c", str(page), url) for page in (0x80, 0x83)]
    return [listing, *pages]


def crash(target, url, bench_url, number):
    """One round; returns the number of flushes that were acknowledged."""
    bench = subprocess.Popen(
        ["qemu-img", "bench", "-w", "-f", "raw", "-t", "none", "-c", "10000000", "-d", "16", "-s",
         "8192", "--flush-interval=32", bench_url], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Writer(url) as writer:
            assert writer.under_way.wait(rig.PATIENCE), f"only {writer.flushes} flushes"
            time.sleep(random.Random(SEED + number).random() / 2)
            target.kill()
    finally:
        bench.kill()
        bench.wait()
    assert writer.flushes >= 20, f"only {writer.flushes} flushes were answered"
    target.start()
    data = read_all(url, target.folder / "readback")
    wrong = writer.wrong_blocks(data)
    assert not wrong, f"blocks {wrong[:10]} lost what was flushed ({len(wrong)} in all)"
    print(f"# {writer.flushes} flushes, {len(writer.flushed)} blocks compared")


def main():
    rig.need("qemu-io", "qemu-img", "iscsi-ls", "iscsi-inq")
    tap = rig.Tap()
    with rig.server() as target:
        url = target.add_disk("disk", BLOCK * BLOCKS, lun=0)
        bench_url = target.add_disk("bench", rig.GIB, lun=1)
        before = identity(target, url)

        def same():
            after = identity(target, url)
            assert before == after, f"before: {before}\nafter: {after}"

        for number in range(1, ROUNDS + 1):
            passed = tap.check(f"kill -9, time {number}: every flushed write is there", crash,
                               target, url, bench_url, number)
            if not passed and not target.alive():
                tap.check("the target starts again", target.start)
            tap.check(f"kill -9, time {number}: configuration and identity are intact", same)
        tap.check("the target ends without complaint", target.stop)
        tap.check("the target starts after a clean end", target.start)
        tap.check("configuration and identity are intact after a clean end", same)
    tap.done()


if __name__ == "__main__":
    main()
