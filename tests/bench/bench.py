# SPDX-License-Identifier: Apache-2.0
"""How fast storefs is beside others, both sides in one go, as ratios.

    sudo .venv/bin/python tests/bench/bench.py [write] [read] [memory] [list]

Run by hand on a quiet machine, as root (caches are dropped, kernel settings
made equal). Nothing here is a test: the figures of a busy machine are only
figures. Needs about 8 GiB below --dir.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.bench import comparison, machine
from tests.bench.comparison import MiB, run
from tests.mount.mounting import configuration


class Bench:
    """A scratch directory with a datadir, a configuration and a mount point."""

    def __init__(self, scratch: pathlib.Path, rounds: int, quiet: float) -> None:
        self.scratch = scratch
        self.rounds = rounds
        self.quiet = quiet
        self.datadir = scratch / "images"
        self.datadir.mkdir()
        self.config = scratch / "storefs.conf"
        sections = {
            "glance_store": {"default_backend": "bench"},
            "bench": {"filesystem_store_datadir": self.datadir},
        }
        self.config.write_text(configuration({"bench": "file"}, sections))
        self.mountpoint = scratch / "mnt"
        self.store = self.mountpoint / "bench"

    def mount(self):
        command = machine.storefs(self.config, self.mountpoint)
        return machine.mounted(command, self.mountpoint)

    def random_file(self) -> pathlib.Path:
        """A GiB."""
        return comparison.random_file(self.scratch / "random", 1024)

    def in_turns(self, *sides: Callable[[], float]) -> list[float]:
        """The median of each side, in seconds."""
        named = {str(number): (lambda s=side: {"s": s()}) for number, side in enumerate(sides)}
        figures = comparison.in_turns(named, self.rounds, self.quiet)
        return [found["s"] for found in figures.values()]


def timed(*command: object) -> float:
    """Seconds."""
    return comparison.timed(lambda: run(*command))["s"]


def write(bench: Bench) -> Iterator[str]:
    """cp of 1 GiB into a file store against glance_store's add, no mount, no fsync."""
    source = bench.random_file()
    upstream = machine.upstream_python()
    script = machine.HERE / "upstream_add.py"
    with bench.mount() as pid:

        def ours() -> float:
            target = bench.store / "image"
            target.unlink(missing_ok=True)
            machine.drop_caches()
            run("cat", source)
            return timed("cp", source, target)

        def theirs() -> float:
            datadir = pathlib.Path(tempfile.mkdtemp(dir=bench.scratch))
            machine.drop_caches()
            run("cat", source)
            command = [upstream, script, source, datadir, "image"]
            added = subprocess.run(command, capture_output=True, check=True, text=True)
            shutil.rmtree(datadir)
            return float(added.stdout.split()[-1])

        begun = machine.cpu_seconds(pid)
        mine, upstreams = bench.in_turns(ours, theirs)
        cpu = (machine.cpu_seconds(pid) - begun) / bench.rounds
    yield f"write: cp of 1 GiB, md5 + sha512 and fsync      {1024 / mine:7.0f} MiB/s"
    yield f"       glance_store 5.7.0 add, no mount         {1024 / upstreams:7.0f} MiB/s"
    yield f"       ratio (aim 1.4)                          {upstreams / mine:7.2f}"
    yield f"       storefs' CPU seconds a GiB               {cpu:7.2f}"


def read(bench: Bench) -> Iterator[str]:
    """A cold sequential read of 1 GiB against a filesystem that does nothing."""
    size = 1024 * MiB
    image = bench.datadir / "image"
    shutil.copy(bench.random_file(), image)
    null = bench.scratch / "null"

    def cold(path: pathlib.Path) -> float:
        machine.drop_caches()
        run("cat", image)
        return timed("dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")

    def warm(path: pathlib.Path) -> float:
        return timed("dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")

    with bench.mount(), machine.mounted(machine.null_fs(null, size), null):
        machine.same_kernel_settings(null)
        ours = bench.store / "image"
        mine, nothing = bench.in_turns(lambda: cold(ours), lambda: cold(null / "null"))
        cold(ours)
        again, plain = bench.in_turns(lambda: warm(ours), lambda: warm(image))
    yield f"read:  cold, 1 GiB                              {1024 / mine:7.0f} MiB/s"
    yield f"       a filesystem that does nothing           {1024 / nothing:7.0f} MiB/s"
    yield f"       ratio (aim 0.6)                          {nothing / mine:7.2f}"
    yield f"       opened again, from the page cache        {1024 / again:7.0f} MiB/s"
    yield f"       the same of the datadir's file           {1024 / plain:7.0f} MiB/s"


def memory(bench: Bench) -> Iterator[str]:
    """The peak RSS of storefs with 4 readers and 4 writers at once, 1 GiB each."""
    source = bench.random_file()
    for number in range(4):
        shutil.copy(source, bench.datadir / f"in{number}")
    with bench.mount() as pid:
        machine.drop_caches()
        machine.reset_peak(pid)
        jobs = [("cp", bench.store / f"in{n}", "/dev/null") for n in range(4)]
        jobs += [("cp", source, bench.store / f"out{n}") for n in range(4)]
        threads = [threading.Thread(target=timed, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak = machine.peak_rss(pid)
    yield f"memory: 4 readers and 4 writers (aim 256)       {peak:7.0f} MiB"


def list_(bench: Bench) -> Iterator[str]:
    """ls -l of 10,000 images, cold, against ls -l of the datadir; stat of known names."""
    for number in range(10_000):
        (bench.datadir / f"image-{number:05}").write_bytes(b"x")

    def cold(path: pathlib.Path) -> float:
        machine.drop_caches()
        return timed("ls", "-l", path)

    with bench.mount():
        ours, plain = bench.in_turns(lambda: cold(bench.store), lambda: cold(bench.datadir))
        names = [bench.store / f"image-{number:05}" for number in range(1000)]
        begun = time.monotonic()
        for name in names:
            name.stat()
        known = time.monotonic() - begun
    yield f"list:  ls -l of 10,000, cold                    {ours:7.2f} s"
    yield f"       ls -l of the datadir, cold               {plain:7.2f} s"
    yield f"       ratio to (3 times that + 0.5 s), aim < 1 {ours / (3 * plain + 0.5):7.2f}"
    yield f"       stat of a known name                     {known * 1000:7.0f} us"


BENCHES = {"write": write, "read": read, "memory": memory, "list": list_}


def main() -> None:
    given = comparison.arguments(__doc__, BENCHES, rounds=5).parse_args()

    def lines(name: str, scratch: pathlib.Path) -> Iterator[str]:
        return BENCHES[name](Bench(scratch, given.rounds, given.quiet))

    comparison.print_each(given, BENCHES, lines)


if __name__ == "__main__":
    main()
