"""The rigid bodies of a MuJoCo model as shapes, without GL: what there is to draw, and where it is in a pose."""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

KINDS = {0: "plane", 2: "sphere", 3: "capsule", 4: "ellipsoid", 5: "cylinder", 6: "box", 7: "mesh"}
"""MuJoCo's numbers of the geometries that are drawn."""
_VISUAL_GROUPS = 3  # MuJoCo hides geometries of this group and above


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """One geometry, fixed to a link.

    Attributes:
        kind: one of `KINDS`.
        name: of the geometry, may be empty.
        link: row of a pose; -1 for what is fixed to the world.
        size: f64[3], MuJoCo's sizes: radius, half lengths.
        position, rotation: f64[3] and quaternion f64[4] within the link.
        vertices, faces: f64[V, 3] and i32[F, 3] of a mesh; else empty.
    """

    kind: str
    name: str
    link: int
    size: np.ndarray
    position: np.ndarray
    rotation: np.ndarray
    vertices: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))
    faces: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 3), np.int32))

    @property
    def radius(self) -> float:
        """Radius of a ball that is moved along a line (a sphere or a capsule); 0 for other shapes."""
        return float(self.size[0]) if self.kind in ("sphere", "capsule") else 0.0

    @cached_property
    def points(self) -> np.ndarray:
        """f64[K, 3] in the link's frame: the centre, both ends of the axis, or corners whose hull is the shape."""
        return rotate(self.rotation, self._own_points()) + self.position

    def _own_points(self) -> np.ndarray:
        x, y, _ = self.size
        if self.kind == "sphere":
            return np.zeros((1, 3))
        if self.kind == "capsule":
            return np.array([[0.0, 0.0, -y], [0.0, 0.0, y]])
        if self.kind == "mesh":
            return self.vertices
        if self.kind == "cylinder":
            return np.concatenate([circle(16) * x + [0.0, 0.0, h] for h in (-y, y)])
        if self.kind == "ellipsoid":
            return self.size * np.concatenate([circle(16)[:, axes] for axes in ([0, 1, 2], [0, 2, 1], [2, 0, 1])])
        corners = np.array([(i, j, k) for k in (-1, 1) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
        return corners[4:] * [x, y, 0.0] if self.kind == "plane" else corners * self.size


@dataclasses.dataclass(frozen=True, eq=False)
class Bodies:
    """The shapes of a model, and the names of its links in the order of a pose."""

    shapes: tuple[Shape, ...]
    links: tuple[str, ...]

    @cached_property
    def moving(self) -> tuple[Shape, ...]:
        """Shapes that belong to a link."""
        return tuple(s for s in self.shapes if s.link >= 0)

    def place(self, shape: Shape, positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """The shape's points in the world, f64[..., K, 3], in poses f[..., L, 3] and f[..., L, 4]."""
        if shape.link < 0:
            return shape.points
        return rotate(rotations[..., None, shape.link, :], shape.points) + positions[..., None, shape.link, :]


def bodies_of(model: Any) -> Bodies:
    """The bodies of an `mujoco.MjModel`; link i is body i + 1, as in Brax."""
    links = [model.body(i).name or f"link {i - 1}" for i in range(1, model.nbody)]
    shapes = []
    for geom in map(model.geom, range(model.ngeom)):
        kind = KINDS.get(geom.type.item())
        if kind is None or geom.rgba[3] == 0 or geom.group >= _VISUAL_GROUPS:
            continue
        fields = [np.array(x) for x in (geom.size, geom.pos, geom.quat)]
        mesh = _mesh(model, geom.dataid.item()) if kind == "mesh" else ()
        shapes.append(Shape(kind, geom.name, geom.bodyid.item() - 1, *fields, *mesh))
    return Bodies(shapes=tuple(shapes), links=tuple(links))


def circle(corners: int) -> np.ndarray:
    """A regular polygon f64[corners, 3] in the unit circle around the z-axis."""
    angle = np.linspace(0.0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle), np.zeros(corners)], -1)


def rotate(rotation: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points f64[..., 3] turned by quaternions f64[..., 4] (w, x, y, z), both broadcast."""
    w, axis = rotation[..., :1], rotation[..., 1:]
    turned = 2.0 * np.cross(axis, points)
    return points + w * turned + np.cross(axis, turned)


def hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of points f64[K, 2], anti-clockwise; the ends where they lie on one line."""
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # fewer than three points, or all on one line
        return np.unique(points, axis=0)[[0, -1]]


def _mesh(model: Any, i: int) -> tuple[np.ndarray, np.ndarray]:
    v, f = int(model.mesh_vertadr[i]), int(model.mesh_faceadr[i])
    vertices = model.mesh_vert[v : v + int(model.mesh_vertnum[i])].astype(np.float64)
    return vertices, model.mesh_face[f : f + int(model.mesh_facenum[i])].copy()
