"""The report's sections on what `hades-inspect` measured: nearest visited states, and the influence of each pair."""

from functools import partial

import numpy as np
from markupsafe import Markup

from hades.errors import HadesError
from hades.pictures.markup import html, png, responsive
from hades.pictures.pairs import Pairs, pairs_of
from hades.pictures.scenes.draw import can_draw, draw
from hades.runs.record import RunRecord
from hades.studies.inspection.figures import distance_bars, influence_bars
from hades.studies.inspection.influence import Influence
from hades.studies.inspection.nearest import Nearest, NearestState
from hades.studies.inspection.numbers import Inspection, dataset_fingerprint, read_inspection
from hades.studies.inspection.words import HOW_WORDS_ARE_READ, pairs_in_words
from hades.text import integer, interval, number, return_text, signed

MOST_TWINS = 32
_MOST_ROWS = 12  # features of a pair in the table; those that differ most


def inspection_of(run: RunRecord) -> tuple[Inspection | None, str]:
    """The inspection beside a run's dataset, or the reason why there is none to show, with the remedy."""
    if run.dataset is None or len(run.dataset.environment.members) > 1:  # several tasks are not inspected at once
        return None, ""
    command = f"hades-inspect --workdir={run.workdir}"
    try:
        inspection = read_inspection(run.workdir)
    except HadesError as error:
        return None, str(error)
    if inspection is None:
        what = "How near these states are to really visited ones, and what each pair is worth"
        return None, f"{what}: {command} measures it and writes it into this page."
    if inspection.dataset != dataset_fingerprint(run.dataset):
        return None, f"The reading.json beside this page is about another dataset; {command} measures this one."
    return inspection, ""


def nearest_states(run: RunRecord) -> Markup:
    """Each synthetic observation beside the nearest visited one; one line where nothing has been measured."""
    inspection, problem = inspection_of(run)
    if run.dataset is None or inspection is None:
        return html.hint(problem) if problem else Markup()
    nearest, pairs = inspection.nearest, pairs_of(run.dataset)
    labels = [pairs.label(i) for i in range(len(pairs))]
    what = "Distance of each synthetic observation from the nearest visited state"
    return html.section(
        "Nearest visited states",
        f"{verdict(nearest)} {beside_random(nearest)}",
        responsive(partial(distance_bars, nearest, labels), "distance", what, run.figures),
        html.note(_how_distances_are_read(nearest, pairs)),
        _twins(nearest, pairs),
        _features(nearest, pairs),
        html.note(_who_visited(inspection)),
    )


def verdict(nearest: Nearest) -> str:
    """In one sentence or two, whether the synthetic observations lie among the visited states."""
    count = len(nearest.pairs)
    inside = sum(nearest.is_visited(i) for i in range(count))
    distances = [pair.distance for pair in nearest.pairs]
    low, high = number(min(distances)), number(max(distances))
    span = f"{low} standard deviations" if low == high else f"{low} to {high} standard deviations"
    usual = f"Visited states are {number(nearest.neighbour_median)} from the nearest one of another episode (median)"
    usual += f", and 95 % of them at most {number(nearest.neighbour_far)}."
    whole = {1: "The synthetic state lies", 2: "Both synthetic states lie"}.get(
        count, f"All {count} synthetic states lie"
    )
    if inside == count:
        return f"{whole} among the states that policies really visit: {span} from the nearest one. {usual}"
    if inside == 0:
        return f"{whole} off the states that policies really visit: {span} from the nearest one. {usual}"
    verb, rest = "lies" if inside == 1 else "lie", "other" if count - inside == 1 else "others"
    return (
        f"{inside} of {count} synthetic states {verb} among the states that policies really visit, the {rest} off "
        f"them: all are {span} from the nearest one. {usual}"
    )


def beside_random(nearest: Nearest) -> str:
    """Describe whether trained policies come nearer to the synthetic states than random actions do."""
    count = len(nearest.pairs)
    nearer = sum(pair.distance < pair.random_distance for pair in nearest.pairs)
    if count == 1:
        return f"Random actions come {'less near' if nearer else 'as near, or nearer'}."
    if not nearer:
        return f"Random actions come nearer to {'both' if count == 2 else f'all {count}'} of them."
    whom = {count: "both" if count == 2 else f"all {count}"}.get(nearer, f"{nearer} of {count}")
    return f"The trained policies come nearer to {whom} of them than random actions do."


def _how_distances_are_read(nearest: Nearest, pairs: Pairs) -> str:
    unit = (
        "The unit is the standard deviation of a cell over the visited states (one for all cells), and a distance is "
        "the root mean square over all cells."
        if pairs.spec.is_image
        else "The unit is each feature’s standard deviation over the visited states, and a distance is the root mean "
        "square over the features that vary."
    )
    text = f"Green: where 95 % of the visited states find one of another episode. {unit} "
    text += "Blue bars end within the green, orange ones beyond it. A circle is the distance to the nearest state that "
    text += "random actions led to."
    if pairs.spec.is_image:
        text += " Frames of two episodes seldom agree, so for images this scale is a coarse one."
    if nearest.num_constant:
        most = max(pair.off_constant for pair in nearest.pairs)
        verbs = "never varies and is" if nearest.num_constant == 1 else "never vary and are"
        text += (
            f" {nearest.num_constant} of {pairs.spec.obs_size} features {verbs} left out; there the synthetic states "
        )
        text += f"differ by up to {number(most)} in raw units."
    return text


def _twins(nearest: Nearest, pairs: Pairs) -> Markup:
    """Synthetic and visited state side by side, where they can be drawn."""
    if not can_draw(pairs.spec.name, pairs.spec.obs_shape):
        return Markup()
    cards = []
    for i, near in enumerate(nearest.pairs[:MOST_TWINS]):
        states = (
            (pairs.raw[i], f"Synthetic state {i + 1}", "synthetic"),
            (np.array(near.observation), f"The visited state nearest to synthetic state {i + 1}", "nearest visited"),
        )
        drawn = [(draw(pairs.spec.name, x.reshape(pairs.spec.obs_shape), 240), alt, what) for x, alt, what in states]
        images = [(png(picture, alt), what) for picture, alt, what in drawn if picture is not None]
        where = "among the visited states" if nearest.is_visited(i) else "off the visited states"
        met = f"Met by policy {near.policy + 1} in episode {near.episode + 1}, step {near.step}."
        text = f"{number(near.distance)} s.d. apart, {where}. {_furthest(near, pairs)}{met}"
        cards.append((images, pairs.label(i), text))
    more = len(nearest.pairs) - len(cards)
    rest = html.note(f"The first {len(cards)} pairs; the chart above has all of them.") if more else Markup()
    return html.twins(cards) + rest


def _furthest(near: NearestState, pairs: Pairs) -> str:
    """The feature that accounts for most of the distance."""
    if not near.by_feature:
        return ""
    worst = int(np.abs(near.by_feature).argmax())
    return f"Furthest in {pairs.features[worst]} ({_apart(near.by_feature[worst])}). "


def _apart(deviation: float) -> str:
    return f"{signed(deviation) if abs(deviation) < 10 else number(deviation)} s.d."


def _features(nearest: Nearest, pairs: Pairs) -> Markup:
    """Vectors feature by feature: folded away below pictures, open where there are none."""
    if pairs.spec.is_image:
        return Markup()
    rows: list[tuple[str, ...]] = []
    for i, near in enumerate(nearest.pairs[:MOST_TWINS]):
        ranked = np.argsort(-np.abs(near.by_feature), kind="stable")[:_MOST_ROWS]
        for j in ranked:
            values = (pairs.raw[i, j], near.observation[j])
            rows.append((f"{i + 1} · {pairs.features[j]}", *map(number, values), _apart(near.by_feature[j])))
    head = ("pair and feature", "synthetic", "nearest visited", "apart")
    shown = html.table(rows, head)
    if not can_draw(pairs.spec.name, pairs.spec.obs_shape):
        return shown
    return html.details("Feature by feature, those that differ most first", shown)


def _who_visited(inspection: Inspection) -> str:
    nearest = inspection.nearest
    many = nearest.num_policies != 1
    text = (
        f"Visited: {integer(nearest.num_states)} states, drawn evenly from the {integer(nearest.num_steps)} of "
        f"{nearest.num_policies} {'policies' if many else 'policy'} trained on the dataset, {nearest.num_episodes} "
        f"whole episode{'s' if nearest.num_episodes != 1 else ''} {'each ' if many else ''}on report keys."
    )
    if inspection.frozen:
        text += " The file’s statistics restart at every evaluation; here they were made constant first."
    return text


def in_words(run: RunRecord) -> Markup:
    """Each pair in words; empty where nothing has been measured or the environment names no features."""
    inspection, _ = inspection_of(run)
    if run.dataset is None or inspection is None:
        return Markup()
    words = pairs_in_words(pairs_of(run.dataset), inspection.nearest)
    if not words:
        return Markup()
    rows = [(str(i), text) for i, text in enumerate(words[:MOST_TWINS], 1)]
    return html.section(
        "In words", html.table(rows, ("pair", "state → action"), "words"), html.note(HOW_WORDS_ARE_READ)
    )


def influence(run: RunRecord) -> Markup:
    """The influence of each pair; empty where nothing has been measured."""
    inspection, _ = inspection_of(run)
    if run.dataset is None or inspection is None:
        return Markup()
    measured, pairs = inspection.influence, pairs_of(run.dataset)
    title = "Influence of each pair"
    if not measured.pairs:
        text = "The dataset is one pair: without it nothing is left to train on, so there is no influence to measure."
        return html.section(title, text)
    labels = [pairs.label(i) for i in range(len(pairs))]
    head = ("pair", "difference", "95 % interval", "return without it")
    rows = [
        (f"{i + 1} · {label}", return_text(one.influence), interval((one.low, one.high)), return_text(one.without))
        for i, (label, one) in enumerate(zip(labels, measured.pairs, strict=True))
    ]
    return html.section(
        title,
        _what_was_left_out(measured),
        responsive(
            partial(influence_bars, measured, labels), "influence", "The return lost without each pair", run.figures
        ),
        html.details("In numbers", html.table(rows, head)),
        html.note(_how_influence_is_read(measured)),
    )


def _what_was_left_out(measured: Influence) -> str:
    harmful = [i for i, pair in enumerate(measured.pairs, 1) if pair.high is not None and pair.high < 0.0]
    helpful = [i for i, pair in enumerate(measured.pairs, 1) if pair.low is not None and pair.low > 0.0]
    unclear = [i for i in range(1, len(measured.pairs) + 1) if i not in harmful + helpful]
    text = (
        f"Policies trained on all pairs earn {return_text(measured.returns)} here. A bar is what is lost when the same "
        "policies are trained without that pair."
    )
    if helpful:
        most = max(helpful, key=lambda i: measured.pairs[i - 1].influence)
        text += f" Losing pair {most} costs most."
    if len(unclear) == len(measured.pairs):
        return text + " The measurement does not show that any single one is needed."
    if unclear:
        text += f" The return does not clearly need {_listed(unclear)}."
    if harmful:
        text += f" Without {_listed(harmful)} it is higher."
    return text


def _listed(pairs: list[int]) -> str:
    names = ", ".join(map(str, pairs[:-1])) + (" and " if len(pairs) > 1 else "") + str(pairs[-1])
    return f"pair{'s' if len(pairs) > 1 else ''} {names}"


def _how_influence_is_read(measured: Influence) -> str:
    unit = (
        f"{measured.num_inits} groups of {measured.num_episodes} episodes of the policy that the pairs train from its "
        "fixed initial weights"
        if measured.one_policy
        else f"{measured.num_inits} policies, {measured.num_episodes} whole episodes each"
    )
    with_interval = ", and lines are 95 % intervals of the paired difference" if measured.num_inits > 1 else ""
    batch = f" in mini-batches of {measured.batch_size}" if measured.batch_size else ""
    updates = f": {measured.num_updates} updates{batch}" if measured.num_updates else ""
    return (
        f"{unit}; the same initial weights and the same episodes with and without the pair{with_interval}. Blue: the "
        f"pair helps; orange: it harms; grey: the interval holds 0. The recipe stays the same{updates}. "
        "Influences need not add up: each is of one pair beside all the others."
    )
