"""A recorded episode as an animated GIF, a film or a sheet of frames, with words below each frame."""

import dataclasses
import io
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hades.errors import MissingPackageError
from hades.pictures.pairs import action_names, describe_action
from hades.pictures.palette import BLUE, DRAWN, GRID, INK, MUTED, PAPER, VERMILION, rgb
from hades.pictures.scenes.canvas import font
from hades.pictures.scenes.recording import Episode

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 120
_FRAME_MS, _LAST_MS = 60, 1800
_LONG_NAME = 14  # characters of an action that do not fit between step and return
_MOST_SECONDS = 0.1  # between frames of moving bodies; a gait has a period of about half a second
_MOST_STEPS = 3  # between frames of a game, whose pieces move by a cell a step
_COLOURS, _FREQUENT = 64, 14
SHEET_COLUMNS = 10  # as in the page's style sheet, which shows them one after another


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The frames of an episode side by side as one PNG, which a page plays and can pause.

    Attributes:
        content: the PNG, of SHEET_COLUMNS frames a row, row by row. The last frame is repeated to the end of a row.
        rows: of the sheet.
        size: width and height of a frame.
        seconds: that all of the rows take.
    """

    content: bytes
    rows: int
    size: tuple[int, int]
    seconds: float


def frame_stride(length: int, max_frames: int = MAX_FRAMES) -> int:
    """Steps between frames, so that there are at most `max_frames` with the one behind the last step."""
    return max(1, -(-length // (max_frames - 1)))


def shown_steps(episode: Episode, max_frames: int = MAX_FRAMES) -> list[int]:
    """Steps that have a frame, and T: all of the episode, or its beginning where things would seem to jump."""
    length = len(episode)
    stride = frame_stride(length, max_frames)
    if episode.motion and stride * episode.motion.dt > _MOST_SECONDS:
        stride = max(1, int(_MOST_SECONDS / episode.motion.dt + 1e-3))
    elif episode.spec.is_image:
        stride = min(stride, _MOST_STEPS)
    return [*list(range(0, length, stride))[: max_frames - 1], length]


def episode_gif(episode: Episode, size: int = 320, max_frames: int = MAX_FRAMES) -> bytes:
    """An endless GIF, each frame with its time step, action and return so far.

    Raises:
        ValueError: where the environment cannot be drawn.
    """
    return frames_gif(episode_frames(episode, size, max_frames))


def frames_gif(frames: "list[Image.Image]") -> bytes:
    """The frames of an episode as an endless GIF, which stays at the last one for a while."""
    return gif(frames, [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS])


def frames_sheet(frames: "list[Image.Image]") -> Sheet:
    """The frames of an episode as a sheet; half the size of the GIF, because Pillow compresses it as one picture."""
    from PIL import Image

    palette = _common_palette(frames)
    (width, height), rows = frames[0].size, -(-len(frames) // SHEET_COLUMNS) + 1  # one more row of the last frame
    sheet = Image.new("P", (width * SHEET_COLUMNS, height * rows))
    sheet.putpalette(palette.getpalette() or [])
    small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    for i, frame in enumerate(small + small[-1:] * (rows * SHEET_COLUMNS - len(small))):
        sheet.paste(frame, (i % SHEET_COLUMNS * width, i // SHEET_COLUMNS * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", compress_level=9)
    return Sheet(buffer.getvalue(), rows, (width, height), rows * SHEET_COLUMNS * _FRAME_MS / 1000)


def gif(frames: "list[Image.Image]", durations: list[int]) -> bytes:
    """Frames of equal size as an endless GIF; the durations are milliseconds."""
    from PIL import Image

    palette = _common_palette(frames)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    return buffer.getvalue()


def episode_mp4(episode: Episode, size: int = 320) -> bytes:
    """The same frames as a film, by the ffmpeg of the extra `mp4`; the last one stays for as long.

    Raises:
        ValueError: where the environment cannot be drawn.
        MissingPackageError: where imageio-ffmpeg is not installed.
    """
    return frames_mp4(episode_frames(episode, size))


def frames_mp4(frames: "list[Image.Image]") -> bytes:
    """The frames of an episode as a film.

    Raises:
        MissingPackageError: where imageio-ffmpeg is not installed.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingPackageError(
            'An MP4 needs the package "imageio-ffmpeg": pip install "hades-rl[mp4]", or give a path that ends in .gif.'
        ) from error
    frames = frames + [frames[-1]] * (_LAST_MS // _FRAME_MS - 1)
    (width, height), rate = frames[0].size, 1000 / _FRAME_MS
    come = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:.3f}", "-i", "-")
    go = ("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p")  # players need even sizes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *come, *go, str(path)]
        subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
        return path.read_bytes()


def episode_frames(episode: Episode, size: int, max_frames: int = MAX_FRAMES) -> "list[Image.Image]":
    """One picture for each of the shown steps, with words below."""
    return [_frame(episode, t, size) for t in shown_steps(episode, max_frames)]


def _frame(episode: Episode, t: int, size: int) -> "Image.Image":
    """The scene before step t with a strip of words below and a line that shows how far the episode is."""
    from PIL import Image, ImageDraw

    scene = episode.draw(t, size)
    lines = words(episode, t)
    strip = round((0.06 * len(lines) + 0.08) * size)
    frame = Image.new("RGB", (scene.width, scene.height + strip), PAPER)
    frame.paste(scene, (0, 0))
    pen = ImageDraw.Draw(frame)
    pen.rectangle((0, scene.height, scene.width, scene.height + 2), fill=GRID)
    pen.rectangle((0, scene.height, round(scene.width * t / len(episode)), scene.height + 2), fill=BLUE)
    text, margin = font(0.042 * size), 0.02 * size
    for i, (left, middle, right) in enumerate(lines):
        y = scene.height + 1 + strip / 2 + 0.062 * size * (i - (len(lines) - 1) / 2)
        pen.text((margin, y), left, fill=MUTED, font=text, anchor="lm")
        pen.text((scene.width / 2, y), middle, fill=VERMILION if middle == "end" else INK, font=text, anchor="mm")
        pen.text((scene.width - margin, y), right, fill=MUTED, font=text, anchor="rm")
    return frame


def words(episode: Episode, t: int) -> list[tuple[str, str, str]]:
    """Text below the scene before step t: left, middle and right of each line."""
    action = "end"
    if t < len(episode):  # an environment clips the actions of a Box
        taken = episode.actions[t]
        action = describe_action(episode.spec, taken if episode.spec.is_discrete else np.clip(taken, -1.0, 1.0))
    step, earned = f"step {t}", f"return {episode.earned(t)}"
    if forward := episode.distance(t):
        return [(step, f"forward {forward}", earned), ("", action, "")]
    names = action_names(episode.spec)
    if (episode.spec.is_discrete or len(names) == 1) and max(map(len, names)) > _LONG_NAME:
        return [(step, "", earned), ("", action, "")]
    return [(step, action, earned)]


def _common_palette(frames: "list[Image.Image]") -> "Image.Image":
    """One palette for all frames, from a sheet of a few of them: nothing flickers, and unchanged pixels cost nothing.

    The colours of scenes and the most frequent ones are in it as they are; the rest is shared out over the others.
    """
    from PIL import Image

    some = frames[:: max(1, len(frames) // 8)]
    sheet = np.concatenate([np.asarray(frame) for frame in some])
    colours, counts = np.unique(sheet @ (1 << 16, 1 << 8, 1), return_counts=True)  # 20 × faster than rows
    exact = [channel for colour in DRAWN for channel in rgb(colour)]
    for colour in colours[np.argsort(-counts, kind="stable")[:_FREQUENT]].tolist():
        exact += colour.to_bytes(3, "big")
    rest = Image.fromarray(sheet).quantize(_COLOURS - len(exact) // 3, method=Image.Quantize.MAXCOVERAGE)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *(rest.getpalette() or [])][: 3 * _COLOURS])
    return palette
