"""Bash scripts that ssh runs on every worker of a TPU pod, each safe to run again, and the parsing of their output.

Below `~/hades` of a worker, `venv/<label>` holds an installed package and `runs/<name>` one run: its `log` since the
last start, its `lock`, which is held as long as a process of it lives, and its `status` once it has ended. The training
is detached from ssh, so that a dropped connection leaves it alone.

Answers carry a tag and the worker's name: gcloud runs a command on all workers at once and mixes what they print.
"""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Literal, cast

from hades.machines.commands import shell_line
from hades.runs.signals import FINISHED, INTERRUPTED, PROCESS_LOST, RESTARTABLE

PYTHON = "3.12"
"""Python version of the workers' environment: images of TPU VMs ship Python 3.10, which JAX no longer supports."""
TAG = "hades-worker"
MARK = "| "
"""Prefix of the lines of a log."""
_ANSWER = re.compile(rf"^{TAG} (\S+) (absent|running|lost|installed|mounted|started|ended)(?: (\d+))?$", re.MULTILINE)


What = Literal["absent", "running", "lost", "installed", "mounted", "started", "ended"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer of one worker.

    Attributes:
        host: its name.
        what: `absent` (never started), `running`, `lost` (gone without a status), `ended`, or the step it completed.
        status: exit status of `hades-train`, where it ended.
    """

    host: str
    what: What
    status: int | None = None


def answers(text: str) -> list[Answer]:
    """Those in the mixed output of all workers, one for each host."""
    found = (
        Answer(host, cast(What, what), int(status) if status else None)
        for host, what, status in _ANSWER.findall(text.replace("\r", ""))
    )
    return sorted({answer.host: answer for answer in found}.values(), key=lambda answer: answer.host)


def outcome(statuses: Sequence[int]) -> int:
    """Exit status of a run. One failure outweighs its peers, which a failure leaves interrupted or lost (75, 76)."""
    if failures := [s for s in statuses if s not in (FINISHED, *RESTARTABLE) and s < 128]:
        return failures[0]
    if all(status == FINISHED for status in statuses):
        return FINISHED
    stopped = all(status in (FINISHED, INTERRUPTED) for status in statuses)
    return INTERRUPTED if stopped else PROCESS_LOST  # above 128: killed by a signal


def install(label: str, requirement: str) -> str:
    """Install a package once.

    Args:
        label: names the virtual environment: another package, another label.
        requirement: for pip, in the form that bash expands inside double quotes.
    """
    return f"""\
set -eu
export PATH="$HOME/.local/bin:$PATH"
venv="$HOME/hades/venv/{label}"
if [ ! -f "$venv/installed" ]; then
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv
  rm -rf "$venv"
  mkdir -p "$HOME/hades/venv"
  uv venv --quiet --python {PYTHON} "$venv"
  uv pip install --quiet --python "$venv/bin/python" "{requirement}"
  touch "$venv/installed"
fi
echo "{TAG} $(hostname) installed"
"""


def mount(bucket: str, path: str) -> str:
    """Mount a bucket with gcsfuse, which is installed first where it is missing.

    A checkpoint is completed by renaming its folder, which gcsfuse refuses without --rename-dir-limit in buckets that
    have no hierarchical namespace. What one worker writes has to be seen by the others at once: no cached metadata.
    https://cloud.google.com/storage/docs/cloud-storage-fuse/cli-options
    """
    keys = "/usr/share/keyrings/cloud.google.asc"
    where = shlex.quote(path)
    return f"""\
set -eu
if ! mountpoint -q {where}; then
  if ! command -v gcsfuse >/dev/null; then
    curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee {keys} >/dev/null
    echo "deb [signed-by={keys}] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -c -s) main" \\
      | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get -o DPkg::Lock::Timeout=300 update -qq
    sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq gcsfuse
  fi
  sudo mkdir -p {where}
  sudo chown "$(id -u):$(id -g)" {where}
  gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 \\
    --metadata-cache-negative-ttl-secs=0 {bucket} {where}
fi
echo "{TAG} $(hostname) mounted"
"""


def program(label: str) -> str:
    """`hades-train` as it is called from a run's folder."""
    return f"../../venv/{label}/bin/hades-train"


def start(name: str, words: Sequence[str]) -> str:
    """Start the training, unless it is running.

    A signal that also reaches the shell around `hades-train` must not end it: it notes the status.
    """
    task = 'trap : TERM INT; echo $$ > pid; "$@"; echo $? > status.new; mv status.new status'
    return f"""\
set -eu
mkdir -p "$HOME/hades/runs/{name}"
cd "$HOME/hades/runs/{name}"
if [ -f "$HOME/{name}.gin" ]; then cp "$HOME/{name}.gin" config.gin; fi
if flock --nonblock lock true; then
  rm -f status
  if [ -f log ]; then cat log >> log.before; rm log; fi
  PYTHONUNBUFFERED=1 setsid nohup flock --wait 5 lock bash -c {shlex.quote(task)} hades-run \\
    {shell_line(words)} \\
    >> log 2>&1 < /dev/null &
  for attempt in $(seq 100); do
    if [ -f status ] || ! flock --nonblock lock true; then break; fi
    sleep 0.1
  done
fi
echo "{TAG} $(hostname) started"
"""


def state(name: str) -> str:
    """Say what has become of the training."""
    return f"""\
cd "$HOME/hades/runs/{name}" 2>/dev/null || {{ echo "{TAG} $(hostname) absent"; exit 0; }}
if ! flock --nonblock lock true; then echo "{TAG} $(hostname) running"
elif [ -f status ]; then echo "{TAG} $(hostname) ended $(cat status)"
elif [ -f pid ]; then echo "{TAG} $(hostname) lost"
else echo "{TAG} $(hostname) absent"
fi
"""


def log(name: str, first_line: int, seconds: float) -> str:
    """Print the log from a line on, until the training ends or the time is over.

    Its lines are marked, because gcloud prints lines of its own among them.
    """
    return f"""\
cd "$HOME/hades/runs/{name}" && timeout {seconds:g} \\
  tail --pid="$(cat pid)" --sleep-interval=0.5 --lines=+{first_line} -F log 2>/dev/null | sed --unbuffered 's/^/{MARK}/'
"""
