"""python -m tests.fuzz --minutes=10 [--seed=S] [--kinds=a,b] [--count=N]

Prints every failure with the command that repeats it, and the count of inputs at the end. Ends with 1 where one failed.
"""

import argparse
import faulthandler
import itertools
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.fuzz.harness import kinds, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--kinds", default=",".join(kinds()), help="separated by commas")
    parser.add_argument("--count", type=int, help="inputs of each kind")
    flags = parser.parse_args()
    names = flags.kinds.split(",")
    unknown = [name for name in names if name not in kinds()]
    if unknown:
        parser.error(f"there is no kind {unknown[0]}; known: {', '.join(kinds())}")
    faulthandler.enable()
    seeds = itertools.count(flags.seed) if flags.count is None else range(flags.seed, flags.seed + flags.count)
    print(f"seeds from {flags.seed}: {', '.join(names)}", flush=True)
    tally = run(names, seeds, seconds=60 * flags.minutes, report=lambda failure: print(f"\n{failure}", flush=True))
    print(f"\n{tally}")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
