"""A dataset of vector observations as a picture: a table of signed bars and values, or a heat map where it is large."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.figures import NARROW, WIDE, Sheet, figure, render
from hades.pictures.pairs import Pairs
from hades.pictures.palette import BLUE, INK, MUTED, NEGATIVE, POSITIVE, TRACK
from hades.text import number, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_PAIRS, _MOST_FEATURES, _MOST_ACTIONS = 16, 8, 8
_MOST_COLUMNS, _MOST_ROWS = 6, 20
"""The most that a table shows legibly, with a row for each pair or, where they have many features, a column; anything
larger becomes a heat map."""
_NAME_PITCH = 0.125
"""Inches from one upright name to the next at which they stay apart."""


def dataset_table(pairs: Pairs, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """`dataset_figure` as a file's content."""
    return render(dataset_figure(pairs, narrow=narrow), image_format)


def dataset_figure(pairs: Pairs, *, narrow: bool = False) -> "Figure":
    """Draw every pair with its named features and its target.

    A bar is the normalised value, on one scale for the whole picture; the number beside it is the raw value. `narrow`
    stacks the features of a pair, for a phone. Large datasets become heat maps.
    """
    if not fits_table(pairs):
        return _heat_map(pairs, narrow)
    wide = _table if len(pairs.features) <= _MOST_FEATURES else _columns
    return (_cards if narrow else wide)(pairs)


def fits_table(pairs: Pairs) -> bool:
    """Return True if `dataset_table` draws a table."""
    count, features = len(pairs), len(pairs.features)
    in_rows = count <= _MOST_PAIRS and features <= _MOST_FEATURES
    in_columns = count <= _MOST_COLUMNS and features <= _MOST_ROWS
    return len(pairs.actions) <= _MOST_ACTIONS and (in_rows or in_columns)


def bar_scale(values: np.ndarray) -> float:
    """The normalised value of a full bar: the largest one, rounded up to a tidy number."""
    largest = max(float(np.abs(values).max()), 1e-3)
    power = 10.0 ** np.floor(np.log10(largest))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 8, 10) if step * power >= largest * 0.999))


def _table(pairs: Pairs) -> "Figure":
    """Rows are pairs, columns are features, the target at the right."""
    count, features = len(pairs), pairs.features
    left, target_width, head = 0.45, 2.15, 0.55
    row_height = max(0.56, 0.21 * len(pairs.actions) + 0.16)
    pitch = (WIDE - left - target_width) / len(features)
    scale = bar_scale(pairs.observations)
    with figure(WIDE, head + count * row_height + 0.3) as fig:
        sheet = Sheet(fig)
        for j, name in enumerate(features):
            sheet.text(left + (j + 0.5) * pitch, head / 2, _wrapped(name, pitch), 8.5, MUTED, ha="center")
        title = _target_title(pairs)
        if len(pairs.actions) == 1:  # its name stands above, where there is room for it
            title = _wrapped(f"target: {pairs.actions[0]}, full bar ±1", target_width)
        sheet.text(WIDE - target_width + 0.2, head / 2, title, 8.5, MUTED)
        for i in range(count):
            top = head + i * row_height
            middle = top + row_height / 2
            sheet.rule(0, top, WIDE, top)
            sheet.text(0.12, middle, str(i + 1), 9, MUTED)
            for j in range(len(features)):
                centre = left + (j + 0.5) * pitch
                _signed_bar(sheet, centre, middle - 0.09, 0.4 * pitch, pairs.observations[i, j] / scale, 0.17)
                sheet.text(centre, middle + 0.14, number(pairs.raw[i, j]), 9, ha="center")
            _target(sheet, pairs, i, WIDE - target_width + 0.2, middle, target_width - 0.25)
        _scale_note(sheet, pairs, head + count * row_height + 0.17, scale, left)
        return fig


def _columns(pairs: Pairs) -> "Figure":
    """Columns are pairs, rows are features, the target below them."""
    line, head, gap, left = 0.26, 0.36, 0.44, 2.0
    features, actions = pairs.features, pairs.actions
    pitch = min(1.75, (WIDE - left) / len(pairs))
    scale, bottom = bar_scale(pairs.observations), head + len(features) * line + gap
    with figure(WIDE, bottom + len(actions) * line + 0.4) as fig:
        sheet = Sheet(fig)
        sheet.text(0.03, bottom - 0.17, _target_title(pairs), 8.5, MUTED)
        for y in (head - 0.04, bottom - 0.04):
            sheet.rule(0, y, WIDE, y)
        for top, names in ((head, features), (bottom, actions)):
            for j, name in enumerate(names):
                sheet.text(0.03, top + (j + 0.5) * line, name, 8.5, MUTED)
        for i in range(len(pairs)):
            x, room = left + i * pitch, pitch - 0.72
            sheet.text(x + room / 2, head / 2 - 0.02, str(i + 1), 9, weight="bold", ha="center")
            for j, value in enumerate(pairs.observations[i]):
                y = head + (j + 0.5) * line
                _signed_bar(sheet, x + room / 2, y, room / 2, value / scale, 0.15)
                sheet.text(x + room + 0.56, y, number(pairs.raw[i, j]), 8.5, ha="right")
            for k, value in enumerate(pairs.targets[i]):
                y = bottom + (k + 0.5) * line
                _target_bar(sheet, pairs, x, y, room, float(value))
                text = f"{value:.2f}" if pairs.spec.is_discrete else signed(float(value))
                sheet.text(x + room + 0.56, y, text, 8.5, ha="right")
        _scale_note(sheet, pairs, bottom + len(actions) * line + 0.22, scale, 0.11)
        return fig


def _cards(pairs: Pairs) -> "Figure":
    """One block for each pair, its features one under another."""
    features, actions = pairs.features, pairs.actions
    line, head, gap = 0.23, 0.34, 0.16
    block = head + line * (len(features) + len(actions)) + 0.12 + gap
    scale = bar_scale(pairs.observations)
    with figure(NARROW, len(pairs) * block + 0.3) as fig:
        sheet = Sheet(fig)
        for i in range(len(pairs)):
            top = i * block
            sheet.rule(0, top + 0.02, NARROW, top + 0.02)
            sheet.text(0.03, top + 0.19, f"pair {i + 1}", 9, weight="bold")
            for j, name in enumerate(features):
                y = top + head + (j + 0.5) * line
                sheet.text(0.03, y, name, 8.5, MUTED)
                _signed_bar(sheet, 2.35, y, 0.72, pairs.observations[i, j] / scale, 0.13)
                sheet.text(NARROW - 0.03, y, number(pairs.raw[i, j]), 8.5, ha="right")
            bottom = top + head + len(features) * line + 0.12
            _target(sheet, pairs, i, 0.03, bottom + line * len(actions) / 2, NARROW - 0.06, line)
        _scale_note(sheet, pairs, len(pairs) * block + 0.12, scale, 0.03)
        return fig


def _target_title(pairs: Pairs) -> str:
    return "target: action probabilities" if pairs.spec.is_discrete else "target: action (full bar: ±1)"


def _signed_bar(sheet: Sheet, centre: float, y: float, half: float, share: float, height: float) -> None:
    """A bar from a centre line, to the right for positive shares, in a pale track."""
    sheet.bar(centre - half, y, 2 * half, height, TRACK)
    share = float(np.clip(share, -1.0, 1.0))
    sheet.bar(centre, y, share * half, height, POSITIVE if share >= 0 else NEGATIVE)
    sheet.rule(centre, y - height * 0.75, centre, y + height * 0.75, MUTED, 0.9)


def _target(sheet: Sheet, pairs: Pairs, row: int, x: float, middle: float, width: float, line: float = 0.21) -> None:
    """Probability bars or signed bars (a full one is ±1), one line for each action, the likeliest in ink."""
    target, names = pairs.targets[row], pairs.actions
    if width <= 3 and len(names) == 1:
        names = ("",)
    longest = max(map(len, names))
    label, room = (1.6, 1.44) if width > 3 else (min(0.5 * width, 0.09 * longest + 0.12), 0.0)
    names = tuple(name if 0.07 * len(name) < label else name[: int(label / 0.07) - 1] + "…" for name in names)
    room = room or width - label - 0.48
    for k, (name, value) in enumerate(zip(names, target, strict=True)):
        y = middle + (k - (len(names) - 1) / 2) * line
        chosen = not pairs.spec.is_discrete or k == int(target.argmax())
        colour = INK if chosen else MUTED
        sheet.text(x, y, name, 8.5, colour)
        _target_bar(sheet, pairs, x + label, y, room, float(value), 1.0 if chosen else 0.45)
        sheet.text(
            x + width, y, f"{value:.2f}" if pairs.spec.is_discrete else signed(float(value)), 8.5, colour, ha="right"
        )


def _target_bar(
    sheet: Sheet, pairs: Pairs, x: float, y: float, room: float, value: float, opacity: float = 1.0
) -> None:
    """A probability as a bar from the left, or an action as one from the middle, `room` inches wide."""
    if pairs.spec.is_discrete:
        sheet.bar(x, y, room, 0.13, TRACK)
        sheet.bar(x, y, room * value, 0.13, BLUE, opacity)
    else:
        _signed_bar(sheet, x + room / 2, y, room / 2, value, 0.13)


def _scale_note(sheet: Sheet, pairs: Pairs, y: float, scale: float, x: float) -> None:
    if not pairs.is_normalized:
        note = f"a full bar is ±{number(scale)} in the environment’s own units"
    elif x > 0.1:
        note = f"bars: normalised, a full one is ±{number(scale)} standard deviations; numbers: raw"
    else:
        note = f"bars: normalised, full = ±{number(scale)} s.d.; numbers: raw"
    sheet.text(x, y, note, 8, MUTED)


def _wrapped(name: str, width: float) -> str:
    """A name in lines that fit a column of `width` inches."""
    import textwrap

    return "\n".join(textwrap.wrap(name, max(6, int(width / 0.078))))


def _heat_map(pairs: Pairs, narrow: bool) -> "Figure":
    """Draw every pair as one row of colours: normalised features at the left, the target at the right."""
    flat = pairs.observations.reshape(len(pairs), -1)
    targets = pairs.targets
    width = NARROW if narrow else WIDE
    row = float(np.clip(6.0 / len(pairs), 0.08, 0.22))
    head, foot = 0.065 * max(map(len, (*pairs.features, *pairs.actions))) + 0.2, 0.4
    height = head + row * len(pairs) + foot
    share = flat.shape[1] / (flat.shape[1] + max(targets.shape[1], 2))
    left, gap = 0.35, 0.15
    room = width - left - gap - 0.05
    with figure(width, height) as fig:
        scale, limit = bar_scale(flat), 1.0 if pairs.spec.is_discrete else bar_scale(targets)
        box = (left / width, foot / height, room * share / width, row * len(pairs) / height)
        _panel(fig, box, flat / scale, pairs.features, numbered=True)
        box = ((left + room * share + gap) / width, box[1], room * (1 - share) / width, box[3])
        _panel(fig, box, targets / limit, pairs.actions, numbered=False)
        sheet = Sheet(fig)
        unit = " s.d." if pairs.is_normalized else ""
        note = f"orange −{number(scale)}, no colour 0, blue +{number(scale)}{unit}; targets: ±{number(limit)}"
        sheet.text(left, height - 0.17, note, 8, MUTED)
        return fig


def _panel(
    fig: "Figure", box: tuple[float, float, float, float], values: np.ndarray, names: Sequence[str], *, numbered: bool
) -> None:
    """f[N, columns] in [-1, 1] as colours, with names above and, where `numbered`, pairs counted at the left.

    Where columns are narrower than a line of text, as many are named, with a tick each, as there is room for.
    """
    ax = fig.add_axes(box)
    ax.imshow(diverging(values), aspect="auto", interpolation="none", extent=(0, values.shape[1], values.shape[0], 0))
    ax.grid(False)
    ax.xaxis.tick_top()
    each = math.ceil(_NAME_PITCH * len(names) / (box[2] * fig.get_figwidth()))
    ax.set_xticks(np.arange(0, len(names), each) + 0.5, names[::each], rotation=90, fontsize=8)
    rows = [i for i in range(len(values)) if i == 0 or (i + 1) % max(1, len(values) // 8) == 0]
    ax.set_yticks([i + 0.5 for i in rows] if numbered else [], [str(i + 1) for i in rows] if numbered else [])
    ax.tick_params(length=0)
    if each > 1:
        ax.tick_params(axis="x", length=3, width=0.5, color=MUTED)
    for spine in ax.spines.values():
        spine.set_visible(False)


def diverging(values: np.ndarray) -> np.ndarray:
    """Numbers in [-1, 1] as colours u8[..., 3]: orange below 0, white at 0, blue above."""
    from hades.pictures.palette import rgb

    share = np.clip(np.nan_to_num(values), -1.0, 1.0)[..., None]
    ends = np.where(share > 0, np.array(rgb(POSITIVE), np.float64), np.array(rgb(NEGATIVE), np.float64))
    return (255.0 + np.abs(share) * (ends - 255.0)).round().astype(np.uint8)
