# SPDX-License-Identifier: Apache-2.0
"""A mount that ends again and again while others write into it, and what is seen after it."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.crash.ledger import Account, Content, Ledger, sha256
from tests.crash.stores import CrashStore
from tests.mount.mounting import Mount
from tests.mount.tools import PATIENCE, await_true

TREE = Path(__file__).parent.parent.parent

#: Names of the programs that write at once, and what their images' names begin with.
WRITERS = ("one", "two", "three")

#: From a promise to the crash, at most so many seconds: about what an image takes.
MOMENT = 0.4

#: So many promises at most are made before a crash.
PROMISES = 12


class Crashes:
    """Writers, crashes and looks at what is left, from one *seed*."""

    def __init__(
        self, mount: Mount, store: CrashStore, directory: Path, seed: str, flags: Sequence[str]
    ) -> None:
        self.mount = mount
        self.store = store
        self.rng = random.Random(seed)
        self.seed = seed
        self._flags = flags
        self.ledgers = [Ledger(directory / f"ledger-{name}") for name in WRITERS]
        self._writers: list[subprocess.Popen[bytes]] = []
        self.number = 0

    @property
    def images(self) -> Path:
        return self.mount / "s"

    def write_until_a_moment(self) -> None:
        """Start the writers; come back some promises later, in the middle of something."""
        self.number += 1
        until = self._promises() + self.rng.randrange(PROMISES)
        self._start_writers()
        await_true(lambda: self._promises() >= until or self._ended(), "promises")
        time.sleep(self.rng.uniform(0, MOMENT))
        assert not self._ended(), self._told(f"a writer failed, see above; {self.mount.log_text}")

    def join(self) -> None:
        """The mount is gone: so are the writers, and none with an error of its own."""
        codes = [writer.wait(PATIENCE) for writer in self._writers]
        assert codes == [0] * len(codes), self._told(f"writers ended with {codes}")
        self._writers = []

    def check(self) -> None:
        """The mount stands again: what is seen is what was promised, whole, and nothing else."""
        account = Account(self.ledgers)
        self._look(account)  # what waits in the spool can be read before it is stored
        try:
            await_true(lambda: not self.store.leftovers(), "an end of what is left")
        except AssertionError as exc:
            raise AssertionError(self._told(f"left for ever: {self.store.leftovers()}")) from exc
        seen = self._look(account)
        for ledger, prefix in zip(self.ledgers, WRITERS):
            names = {*account.names, *seen}
            ledger.observe({n: seen.get(n) for n in names if n.startswith(f"{prefix}-")})

    def _look(self, account: Account) -> dict[str, Content]:
        seen = self._seen()
        faults = account.faults(seen)
        assert not faults, self._told("\n".join(faults))
        return seen

    def close(self) -> None:
        for writer in self._writers:
            writer.kill()
            writer.wait()

    def _start_writers(self) -> None:
        for ledger, prefix in zip(self.ledgers, WRITERS):
            command = [sys.executable, "-m", "tests.crash.writer", self.images, ledger.path, prefix]
            command += [str(self.rng.randrange(2**32)), *self._flags]
            self._writers.append(subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE))
        for writer in self._writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            writer.stdout.close()

    def _promises(self) -> int:
        return sum(ledger.promises() for ledger in self.ledgers)

    def _ended(self) -> bool:
        return any(writer.poll() is not None for writer in self._writers)

    def _seen(self) -> dict[str, Content]:
        """Every image there is, read to its end; its hashes are those of its bytes."""
        return {name: self._hash(self.images / name) for name in os.listdir(self.images)}

    def _hash(self, path: Path) -> str:
        data = path.read_bytes()
        assert path.stat().st_size == len(data)
        return sha256(data)

    def _told(self, fault: str) -> str:
        log = self.mount.log_text
        return f"after crash {self.number} of STOREFS_SEED={self.seed}:\n{fault}\n{log[-4000:]}"
