"""Programs: parse flags, call hades, print where the result lies."""

import sys
from pathlib import Path

from hades.commands.terminal import prepare

if Path(sys.argv[0]).name.partition("-")[0] == "hades":  # a console script, which imports this package first
    prepare()
