"""Check the installation and the machine, and print a table to paste into an issue report.

hades doctor
hades doctor --workdir=/mnt/shared/runs     # where your runs will be

Ends with status 1 when something FAILED. docs/doctor.md says what each row means.
"""

import dataclasses
import sys

from absl import flags

from hades.commands.command_line import give_result, start
from hades.commands.path_flags import define_path
from hades.machines.doctor import Row, Status, all_checks, examine, has_failed, markdown

WORKDIR = define_path("workdir", "runs", "Folder that runs are to live in; nothing is left in it.")
VERBOSE = flags.DEFINE_bool("progress", True, "Say on stderr what is being checked.")


def main() -> int:
    rows = examine(all_checks(WORKDIR.value.absolute()), _say if VERBOSE.value else lambda line: None)
    give_result([dataclasses.asdict(row) for row in rows])
    print(markdown(rows))
    print(f"\n{_verdict(rows)}")
    return 1 if has_failed(rows) else 0


def _verdict(rows: list[Row]) -> str:
    failed, warned = ([row.check for row in rows if row.status is s] for s in (Status.FAILED, Status.WARNING))
    if failed:
        return f"FAILED: {', '.join(failed)}. The last column says what to do."
    return f"Ready to run; warnings: {', '.join(warned)}." if warned else "Ready to run."


def _say(line: str) -> None:
    print(f"checking {line} …", file=sys.stderr, flush=True)


def run() -> None:
    """Console script."""
    start(__name__, main)


if __name__ == "__main__":
    run()
