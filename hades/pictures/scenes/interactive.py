"""An episode as an interactive page: Brax's own viewer, with everything it needs inside the file.

Brax's `io.html` loads half a dozen scripts from the network; this page loads none. It holds three.js and lil-gui from
the optional package hades-rl-viewer, the viewer's scripts from the installed brax package and the poses, all deflated
and in base64.
"""

import base64
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import re
import string
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from markupsafe import escape

from hades.data.files import write_bytes
from hades.errors import HadesError, MissingPackageError
from hades.pictures.palette import SCENE, rgb
from hades.pictures.scenes.bodies import Shape
from hades.pictures.scenes.ground import is_table
from hades.pictures.scenes.motion import Motion
from hades.pictures.scenes.recording import Episode

_CARRIED = {
    "three": "three.module.min.js",
    "three/addons/controls/OrbitControls.js": "OrbitControls.min.js",
    "lilgui": "lil-gui.esm.min.js",
}
"""Modules that Brax's viewer imports, and their files in hades-rl-viewer."""
_IMPORT = re.compile(r"""(\bfrom\s*)(["'])([^"']+)\2""")
_FIELD_OF_VIEW = np.deg2rad(40.0)  # of Brax's camera
_KINDS = {"ellipsoid": "Sphere"}  # Brax's viewer draws no ellipsoids


def write_viewer(episode: Episode, path: str | Path) -> Path:
    """Write an episode as one HTML file that needs no network.

    Args:
        episode: of an environment of rigid bodies, from `record`.
        path: of the file, such as "episode.html".

    Raises:
        MissingPackageError: where hades-rl-viewer or Brax's viewer is not installed.
        HadesError: where the episode has no bodies, Brax's viewer has changed, or the file cannot be written.
    """
    if episode.motion is None:
        raise HadesError(f"{episode.spec.name} has no bodies to show in space; its episode can be shown as a GIF.")
    scripts = viewer_package()
    modules = _modules(scripts.FOLDER)
    forward = episode.distance(len(episode))
    caption = f"{len(episode)} steps, return {episode.earned(len(episode))}" + (
        f", {forward} forward." if forward else "."
    )
    template = string.Template(
        importlib.resources.files("hades.pictures.scenes").joinpath("page.html").read_text("utf-8")
    )
    page = template.substitute(
        title=escape(f"One episode of {episode.spec.name}"),
        caption=escape(caption),
        licences=_licences(scripts),
        modules=json.dumps({name: _packed(source) for name, source in modules.items()}),
        system=_packed(json.dumps(_system(episode.motion), separators=(",", ":"))),
        camera=json.dumps(_camera(episode.motion)),
    )
    return write_bytes(path, page.encode("utf-8"))


def viewer_package() -> ModuleType:
    """Import hades_viewer, of the distribution hades-rl-viewer.

    Raises:
        MissingPackageError: where it is not installed.
    """
    try:
        return importlib.import_module("hades_viewer")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "The interactive view needs the package \"hades-rl-viewer\": pip install 'hades-rl[viewer]', or in a "
            "checkout pip install ./viewer."
        ) from error


def _modules(folder: Path) -> Mapping[str, str]:
    """Source of every script by its import name: those in `folder`, and those of Brax."""
    modules = {name: (folder / file).read_text("utf-8") for name, file in _CARRIED.items()}
    for name, source in _brax_scripts().items():
        modules[f"brax/{name}"] = _IMPORT.sub(lambda m: f"{m[1]}{m[2]}{m[3].replace('./', 'brax/', 1)}{m[2]}", source)
    missing = {m[3] for source in modules.values() for m in _IMPORT.finditer(source)} - set(modules)
    if missing or "brax/viewer.js" not in modules:
        version = importlib.metadata.version("brax")
        raise HadesError(
            f"The viewer of brax {version} is not supported: it imports {', '.join(sorted(missing))}. The "
            "episode can be shown as a GIF."
        )
    return modules


def _brax_scripts() -> Mapping[str, str]:
    """File name -> source of Brax's own viewer."""
    spec = importlib.util.find_spec("brax")
    folders = [Path(p) / "visualizer" / "js" for p in (spec.submodule_search_locations or ())] if spec else []
    scripts = {file.name: file.read_text("utf-8") for folder in folders for file in sorted(folder.glob("*.js"))}
    if not scripts:
        raise MissingPackageError('The interactive view needs the viewer of the package "brax": pip install brax')
    return scripts


def _licences(scripts: ModuleType) -> str:
    parts = [
        f"{name} {version}\n\n{(scripts.FOLDER / f'{name}.LICENSE.txt').read_text('utf-8')}"
        for name, version in scripts.VERSIONS.items()
    ]
    apache = importlib.metadata.distribution("brax").read_text("licenses/LICENSE")
    notice = "Copyright The Brax Authors, Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0"
    return "\n\n".join([*parts, f"Brax's viewer\n\n{notice}\n\n{apache or ''}"]).replace("--", "- -").strip()


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def _system(motion: Motion) -> dict[str, Any]:
    """The system as Brax's viewer reads it. Brax's own `io.json` adds the whole physics, in nine digits."""
    geoms: dict[str, list[dict[str, Any]]] = {}
    for shape in motion.bodies.shapes:
        link = "world" if shape.link < 0 else motion.bodies.links[shape.link]
        geoms.setdefault(link, []).append(_geom(motion, shape))
    positions, rotations = (np.nan_to_num(x).astype(np.float64).round(4) for x in (motion.positions, motion.rotations))
    states = [{"pos": p, "rot": r} for p, r in zip(positions.tolist(), rotations.tolist(), strict=True)]
    return {"opt": {"timestep": motion.dt}, "geoms": geoms, "states": {"x": states}}


def _geom(motion: Motion, shape: Shape) -> dict[str, Any]:
    size = shape.size
    if shape.kind == "plane":  # a size of 0 is an endless chequered floor; else Brax's viewer wants whole lengths
        size = 2 * size if is_table(shape) else 0 * size
    if shape.kind == "ellipsoid":
        size = np.full(3, size.mean())
    linear = [round((c / 255.0) ** 2.2, 4) for c in rgb(motion.camera.colour(motion.bodies, shape))]
    geom = {
        "name": _KINDS.get(shape.kind, shape.kind.capitalize()),
        "link_idx": shape.link,
        "pos": shape.position.tolist(),
        "rot": shape.rotation.tolist(),
        "rgba": [*linear, 1.0],
        "size": size.tolist(),
    }
    return geom | ({"vert": shape.vertices.tolist(), "face": shape.faces.tolist()} if shape.kind == "mesh" else {})


def _camera(motion: Motion) -> dict[str, Any]:
    """Near the view of the pictures, a little from above so that it looks like a space."""
    camera = motion.camera
    raised = type(camera)(
        camera.half, azimuth=camera.azimuth or 12.0, elevation=float(np.clip(camera.elevation, 14.0, 65.0))
    )
    distance = 1.25 * camera.half / np.tan(_FIELD_OF_VIEW / 2)
    target = motion.positions[0, 0].astype(np.float64) if camera.follow else np.array(camera.centre)
    return {
        "target": np.nan_to_num(target).tolist(),
        "position": np.nan_to_num(target + distance * raised.axes[2]).tolist(),
        "distance": float(distance),
        "follow": camera.follow,
        "background": SCENE,
    }
