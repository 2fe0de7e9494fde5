#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""lunport, Debian's tgt and a bare echo side by side, in one run.

Each server is pinned to one processor, the load to another, and the servers
take turns, so that a machine that speeds up or slows down hits all of them.
What is printed is the target's CPU time per operation and its ratio to the
others: the absolute rates of a shared machine mean little.

Some cases compare lunport with itself: the same server, with digests and
without, in many short turns. What a machine does besides makes an operation
dearer and never cheaper, and how many commands come with one system call
changes from turn to turn; so the lower quartiles are compared, and how far the
quartiles are apart tells what the ratio is worth.

Needs tgtd and tgtadm (Debian package tgt) and root for the comparison with
tgt; without them it measures lunport and the echo.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "conformance"))
from rig import free_port  # noqa: E402

CASES = {
    # name: (store type, tgt's store, options of bench)
    "read-4k-q32": ("null", "null", ["--depth=32"]),
    "read-4k-q32-ram": ("ram", "null", ["--depth=32"]),
    "read-4k-n4q32": ("null", "null", ["--depth=32", "--sessions=4"]),
    "read-4k-q1": ("null", "null", ["--depth=1"]),
    "write-4k-q32": ("null", "null", ["--depth=32", "--reads=0"]),
    "mixed-4k-q32": ("ram", "null", ["--depth=32", "--reads=70"]),
    "read-256k-q8": ("ram", "null", ["--depth=8", "--block=262144", "--sequential"]),
    "write-256k-q8": ("ram", "null", ["--depth=8", "--block=262144", "--sequential", "--reads=0"]),
    "read-1m-q8": ("ram", "null", ["--depth=8", "--block=1048576", "--sequential"]),
}

# What one server is asked for in turns; the first is what the others are compared with
DIGESTS = {"none": [], "header": ["--digests=header"], "data": ["--digests=data"],
           "both": ["--digests=both"]}
TURN_SECONDS = 0.3
TURNS = 8  # a round
VARIANTS = {
    # name: (store type, options of bench, further options by the name of the variant)
    "digests-read-4k-q32": ("null", ["--depth=32"], DIGESTS),
    "digests-write-4k-q32": ("null", ["--depth=32", "--reads=0"], DIGESTS),
    "digests-read-128k-q8": ("ram", ["--depth=8", "--block=131072"], DIGESTS),
    "digests-write-128k-q8": ("ram", ["--depth=8", "--block=131072", "--reads=0"], DIGESTS),
}


def wait_for(port, process):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("a server does not listen")


def pinned(cpu, command):
    return ["taskset", "-c", str(cpu)] + command


class Lunport:
    name = "lunport"

    def __init__(self, daemon, cpu, store, directory):
        self.port = free_port()
        self.log = open(os.path.join(directory, "log"), "wb")
        state = os.path.join(directory, "state")
        for folder in ("backstores", "targets", "portal-groups"):
            os.makedirs(os.path.join(state, folder), exist_ok=True)
        size = 1 << 28 if store == "ram" else 1 << 36
        self.target = "iqn.2026-11.org.lunport:bench"
        self.bus = self.start_bus(directory)
        self.process = subprocess.Popen(
            pinned(cpu, [daemon, f"--bus={self.bus}", "--config-dir", os.path.join(directory, "etc"),
                         "--state-dir", state, "--listen", f"127.0.0.1:{self.port}", "--workers=1"]), stderr=self.log)
        wait_for(self.port, self.process)
        lunctl = os.path.join(os.path.dirname(daemon), "ctl", "lunctl")
        for words in (["backstore", "create", "disk", f"--type={store}", f"--size={size}"],
                      ["target", "create", self.target, "--enable"],
                      ["lun", "add", self.target, "disk", "--lun=1"],
                      ["access", "open", self.target]):
            subprocess.run([lunctl, f"--bus={self.bus}"] + words, check=True)
        self.pid = self.process.pid
        self.options = [f"--target={self.target}", "--lun=1"]

    def start_bus(self, directory):
        self.bus_process = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile",
                                             f"--address=unix:path={directory}/bus"])
        for _ in range(100):
            if os.path.exists(f"{directory}/bus"):
                break
            time.sleep(0.02)
        return f"unix:path={directory}/bus"

    def stop(self):
        for process in (self.process, self.bus_process):
            process.terminate()
            process.wait(20)
        self.log.close()


class Tgt:
    name = "tgt"

    def __init__(self, cpu, store):
        self.port = free_port()
        self.control = 60
        self.process = subprocess.Popen(
            pinned(cpu, ["tgtd", "-f", "-C", str(self.control), "--iscsi", f"portal=127.0.0.1:{self.port}"]),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)
        self.target = "iqn.2026-11.org.lunport:tgt"
        for words in (["--op", "new", "--mode", "target", "--tid", "1", "-T", self.target],
                      ["--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1",
                       "--backing-store", "x", "--bstype", store],
                      ["--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"]):
            subprocess.run(["tgtadm", "-C", str(self.control), "--lld", "iscsi"] + words, check=True)
        self.pid = self.process.pid
        self.options = [f"--target={self.target}", "--lun=1"]

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)


class Echo:
    name = "echo"

    def __init__(self, bindir, cpu, block):
        self.port = free_port()
        self.process = subprocess.Popen(pinned(cpu, [os.path.join(bindir, "echo"), str(self.port), str(block)]))
        wait_for(self.port, self.process)
        self.pid = self.process.pid
        self.options = ["--echo"]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def measure(bench, server, cpu, options, seconds):
    command = pinned(cpu, [bench, f"--address=127.0.0.1:{server.port}", f"--pid={server.pid}", "--json",
                           f"--seconds={seconds}"] + server.options + options)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{server.name}: bench failed")
    return json.loads(done.stdout)


def run_case(args, name):
    store, tgt_store, options = CASES[name]
    block = next((o.split("=")[1] for o in options if o.startswith("--block=")), "4096")
    servers = []
    with tempfile.TemporaryDirectory(prefix="lunport-bench-") as directory:
        try:
            servers.append(Lunport(args.daemon, args.server_cpu, store, directory))
            if shutil.which("tgtd") and os.geteuid() == 0 and not args.no_tgt:
                servers.append(Tgt(args.server_cpu, tgt_store))
            if "--reads=0" not in options and not args.no_echo:
                servers.append(Echo(os.path.dirname(args.bench), args.server_cpu, block))
            rounds = {server.name: [] for server in servers}
            for _ in range(args.rounds):
                for server in servers:
                    rounds[server.name].append(
                        measure(args.bench, server, args.load_cpu, options, args.seconds))
        finally:
            for server in servers:
                server.stop()
    return rounds


def run_variants(args, name):
    store, options, variants = VARIANTS[name]
    names = list(variants)
    rounds = {variant: [] for variant in names}
    with tempfile.TemporaryDirectory(prefix="lunport-bench-") as directory:
        server = Lunport(args.daemon, args.server_cpu, store, directory)
        try:
            for turn in range(args.rounds * TURNS):
                # None of them always comes behind the same other one
                for variant in names[turn % len(names):] + names[:turn % len(names)]:
                    rounds[variant].append(measure(args.bench, server, args.load_cpu,
                                                   options + variants[variant] + ["--warmup=0.05"],
                                                   TURN_SECONDS))
        finally:
            server.stop()
    return rounds


def report(name, rounds):
    print(f"{name}:")
    first = next(iter(rounds))
    base = [r["cpu_us"] for r in rounds[first]]
    for server, results in rounds.items():
        cpu = [r["cpu_us"] for r in results]
        ratio = statistics.median(c / b for c, b in zip(cpu, base))
        print(f"  {server:8} CPU {statistics.median(cpu):8.3f} µs/op  "
              f"{statistics.median(r['per_second'] for r in results):10.0f}/s  "
              f"{statistics.median(r['mb_per_second'] for r in results):8.1f} MB/s  "
              f"p50 {statistics.median(r['p50_us'] for r in results):8.1f} µs  "
              f"p99 {statistics.median(r['p99_us'] for r in results):8.1f} µs  "
              f"{ratio:6.2f} x {first}")
    sys.stdout.flush()


def report_variants(name, rounds):
    print(f"{name}:")
    first = next(iter(rounds))
    quartiles = {variant: statistics.quantiles([r["cpu_us"] for r in results], n=4)
                 for variant, results in rounds.items()}
    for variant, (low, middle, high) in quartiles.items():
        print(f"  {variant:8} CPU µs/op: lower quartile {low:8.3f}  median {middle:8.3f}  "
              f"upper {high:8.3f}  {low / quartiles[first][0]:6.3f} x {first}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="build directory with src/lunportd and tests/bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--load-cpu", type=int, default=1)
    parser.add_argument("--no-tgt", action="store_true")
    parser.add_argument("--no-echo", action="store_true")
    parser.add_argument("cases", nargs="*", default=[], help="all of: " + " ".join([*CASES, *VARIANTS]))
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    args.daemon = os.path.join(build, "src", "lunportd")
    args.bench = os.path.join(build, "tests", "bench", "bench")
    for name in args.cases or [*CASES, *VARIANTS]:
        if name in CASES:
            report(name, run_case(args, name))
        else:
            report_variants(name, run_variants(args, name))


if __name__ == "__main__":
    main()
