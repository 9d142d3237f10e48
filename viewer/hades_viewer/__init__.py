"""The scripts of the interactive view of hades, with their licences. README.md lists where they come from."""

from pathlib import Path

FOLDER = Path(__file__).parent
VERSIONS = {"three": "0.150.1", "lil-gui": "0.18.0"}
"""Version by npm package; the licence of each is NAME.LICENSE.txt."""
