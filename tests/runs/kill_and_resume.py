"""Kill a CartPole run again and again, and compare what it ends with to a run that nobody touched.

python tests/runs/kill_and_resume.py --kills=50 --workdir=runs/kills

Every start of the run gets SIGKILL or SIGTERM at a random moment: a quarter of them while it starts (imports, restores,
compiles), the others while it searches, spread over the run. At the end dataset, metrics, evaluations and the arrays of
the last checkpoint must be the same bytes, and no kill may have lost more than one checkpoint interval.
"""

import argparse
import dataclasses
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATIONS, INTERVAL = 200, 10
STARTING_SHARE = 0.25
LOGS = ("metrics.jsonl", "evaluations.jsonl", "dataset.safetensors")


@dataclasses.dataclass(frozen=True)
class Kill:
    """One of them.

    Attributes:
        name: of the signal.
        starting: whether the run had not done a generation since its start.
        reached: generations done when it came.
        kept: generation of the newest checkpoint afterwards.
    """

    name: str
    starting: bool
    reached: int
    kept: int

    @property
    def lost(self) -> int:
        return self.reached - self.kept


def start(workdir: Path) -> subprocess.Popen[bytes]:
    bindings = (f"Experiment.generations = {GENERATIONS}", f"Experiment.checkpoint_every = {INTERVAL}")
    words = [sys.executable, str(ROOT / "launch/train.py"), "--config=cartpole_hades_r", f"--workdir={workdir}"]
    words += [f"--gin_bindings={line}" for line in bindings]
    log = workdir.with_suffix(".log").open("ab")
    return subprocess.Popen(words, stdout=log, stderr=log)


def done(workdir: Path) -> int:
    """Generations in the metric log."""
    log = workdir / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def written(workdir: Path) -> int:
    """When the metric log was last written, which every start does first: rows behind its checkpoint are dropped."""
    log = workdir / "metrics.jsonl"
    return log.stat().st_mtime_ns if log.exists() else 0


def kept(workdir: Path) -> int:
    """Generation of the newest checkpoint."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def kill_once(workdir: Path, randomness: random.Random, kills_left: int, start_seconds: float) -> Kill | None:
    """Start the run and kill it; None where it ended first."""
    number = randomness.choice((signal.SIGKILL, signal.SIGTERM))
    starting = randomness.random() < STARTING_SHARE
    before, untouched = kept(workdir), written(workdir)
    process = start(workdir)
    if starting:
        wait(process, randomness.uniform(0.0, start_seconds))
    else:
        while (written(workdir) == untouched or done(workdir) <= before) and process.poll() is None:
            time.sleep(0.01)
        target = done(workdir) + randomness.uniform(0.0, 2.0) * (GENERATIONS - before) / kills_left
        while done(workdir) < min(target, GENERATIONS - 1) and process.poll() is None:
            time.sleep(0.002)
    process.send_signal(number)
    status = process.wait(timeout=300)
    if status == 0:
        return None
    assert status in (-number, 75), f"the run ended with {status}: see {workdir.with_suffix('.log')}"
    reached = before if written(workdir) == untouched else max(before, done(workdir))
    return Kill(signal.Signals(number).name, starting, reached, kept(workdir))


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def digest_of_state(workdir: Path) -> str:
    """SHA-256 of the arrays in the newest checkpoint, optimiser state included, as their reader sees them."""
    code = (
        "import hashlib, sys, orbax.checkpoint as ocp, jax; step = sys.argv[1]\n"
        "with ocp.CheckpointManager(sys.argv[1]) as m:\n"
        "    tree = m.restore(m.latest_step(), args=ocp.args.Composite(tree=ocp.args.StandardRestore())).tree\n"
        "import numpy as np; h = hashlib.sha256()\n"
        "for path, x in jax.tree_util.tree_leaves_with_path(tree):\n"
        "    key = jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)\n"
        "    h.update(str(path).encode() + np.asarray(jax.random.key_data(x) if key else x).tobytes())\n"
        "print(h.hexdigest())"
    )
    words = [sys.executable, "-c", code, str((workdir / "checkpoints").absolute())]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]


def what_it_left(workdir: Path) -> dict[str, str]:
    files = {name: hashlib.sha256((workdir / name).read_bytes()).hexdigest() for name in LOGS}
    return files | {f"state of generation {kept(workdir)}": digest_of_state(workdir)}


def kill_and_resume(folder: Path, num_kills: int, seed: int) -> tuple[list[Kill], int, list[str]]:
    """The kills, how many runs they hit (one may end before the last kill), and what differs at their ends."""
    randomness = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    whole = folder / "whole"
    began = time.monotonic()
    assert start(whole).wait(timeout=600) == 0, f"see {whole.with_suffix('.log')}"
    print(f"uninterrupted: {GENERATIONS} generations in {time.monotonic() - began:.0f} s", flush=True)
    kills: list[Kill] = []
    runs, different = 0, []
    while len(kills) < num_kills:
        broken = folder / f"broken_{runs}"
        kills += killed_until_the_end(broken, randomness, num_kills - len(kills))
        runs += 1
        expected, found = what_it_left(whole), what_it_left(broken)
        different += [f"{broken.name}: {name}" for name in expected if expected[name] != found.get(name)]
    return kills, runs, different


def killed_until_the_end(workdir: Path, randomness: random.Random, num_kills: int) -> list[Kill]:
    """Kill one run so often, or until it ends by itself; let it end."""
    start_seconds = seconds_to_first_generation(workdir)
    kills: list[Kill] = []
    while len(kills) < num_kills:
        kill = kill_once(workdir, randomness, num_kills - len(kills), start_seconds)
        if kill is None:
            return kills
        kills.append(kill)
        print(f"{len(kills):3} {kill.name} at generation {kill.reached}, lost {kill.lost}", flush=True)
    assert start(workdir).wait(timeout=600) == 0, f"see {workdir.with_suffix('.log')}"
    return kills


def seconds_to_first_generation(workdir: Path) -> float:
    """Start a run, and end it (uncounted) when it has done something."""
    began, process = time.monotonic(), start(workdir)
    while done(workdir) == 0:
        time.sleep(0.05)
    process.kill()
    process.wait()
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=Path("runs/kills"))
    flags = parser.parse_args()
    kills, runs, different = kill_and_resume(flags.workdir, flags.kills, flags.seed)
    names = Counter(kill.name for kill in kills)
    lost = {name: max((kill.lost for kill in kills if kill.name == name), default=0) for name in names}
    print(f"kills: {len(kills)} ({', '.join(f'{count} {name}' for name, count in sorted(names.items()))}), ", end="")
    print(f"{sum(kill.starting for kill in kills)} of them while it started, over {runs} run(s)")
    print(f"most generations lost by one: {lost} (a checkpoint every {INTERVAL})")
    print(f"byte-identical to the uninterrupted run: {'NO: ' + ', '.join(different) if different else 'yes'}")
    return int(bool(different) or max(lost.values(), default=0) > INTERVAL)


if __name__ == "__main__":
    sys.exit(main())
