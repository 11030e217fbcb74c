"""What students keep of their teacher's layers: over distillation seeds, corpora and groups of speakers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from skill_bench.base.escape import markdown, markdown_cell
from skill_bench.report.comparison import p_text
from skill_bench.report.render.layout import ABSENT
from skill_bench.report.statistics.interval import LEVEL
from skill_bench.report.statistics.paired import holm_by_name
from skill_bench.sweep.report.cells import bullets, changed, difference, estimate, grid, spread
from skill_bench.sweep.report.choices import REFERENCE, Measure, by_number_of_groups, by_sparsity
from skill_bench.sweep.report.readings import Difference, Part

_HOW = (
    "Held-out R2 from a student's layer to the teacher's, by regressions that have not heard the speakers: the mean "
    "over layers and corpora [95 % interval, Student's t over distillation seeds]. Whitened: every direction of the "
    "teacher's layer counts the same; plain: as much as it varies. Seeds: those with all corpora. Learnt sparsity: "
    "what the gates had learnt to remove before they settled. To SKILL: whitened; the interval holds what other "
    "distillation seeds and other speakers would change; a row with one seed is taken to vary over seeds as its recipe "
    f"does. p: after Holm for the number of rows of this table. {ABSENT}: not there."
)
_ONE_SEED = (
    "No row has several distillation seeds, so that nobody knows what another seed would change: intervals are over "
    "speakers alone, and there is no test."
)
_HOW_VARIANTS = (
    "Each row is the recipe with the change that is named; to the recipe: whitened, with intervals as above, not "
    "corrected for the number of rows. What is said in words is of rows with several distillation seeds, after Holm "
    "for the number of these."
)
_HOW_LAYERS = (
    "Each cell as above, for itself; what is said in words is after Holm for the layers of a row. Speakers and seeds "
    "are the same ones on all layers."
)
_DECIMALS = 3


def kept(parts: Sequence[Part]) -> list[str]:
    """The text on the students of each teacher; empty without any."""
    texts = []
    for part in parts:
        named = f" {markdown_cell(part.teacher.title)}" if len(parts) > 1 else ""
        texts += [f"## What students keep of their teacher{named}", *_of_one_teacher(part)]
    return texts


def _of_one_teacher(part: Part) -> list[str]:
    main, variants = (_ordered(part, are_variants=wanted) for wanted in (False, True))
    listed = ", ".join(
        f"{corpus} ({(one := part.heard[corpus]).audio_seconds / 60:.0f} min, {one.n_speakers} speakers)"
        for corpus in part.corpora
    )
    repeated = any(len(row.complete(part.corpora)) > 1 for row in part.rows.values())
    measure = Measure(
        what="Whitened, the mean over layers and corpora",
        rows=part.rows,
        estimate=lambda name: part.rows[name].whitened(part.corpora),
        against=part.against,
        decimals=_DECIMALS,
        verb="keeps",
        n_states=part.n_layers,
    )
    left_out = ["Left out, since others count in their place:", bullets([markdown(one) for one in part.left_out])]
    return [
        *_recipes(part, main),
        f"{_HOW} Corpora: {listed}.",
        *_from_other_layers(part, main),
        *([] if repeated or len(part.rows) < 2 else [_ONE_SEED]),
        *(_variants(part, variants) if variants else []),
        *by_number_of_groups(measure),
        *by_sparsity(measure),
        *_by_layer(part, main, variants),
        *_groups(part, [*main, *variants]),
        *(left_out if part.left_out else []),
    ]


def _ordered(part: Part, *, are_variants: bool) -> list[str]:
    """Rows that are a variant of another, or those that are not, from the one that keeps most."""
    found = {name: row.whitened(part.corpora) for name, row in part.rows.items() if bool(row.changes) == are_variants}
    return sorted(found, key=lambda name: (-(-math.inf if (one := found[name]) is None else one.value), name))


def _recipes(part: Part, names: Sequence[str]) -> list[str]:
    """The table, and what its tests say in words."""
    against = {name: one for name in names if (one := part.against(REFERENCE, name)) is not None}
    p_values = holm_by_name({name: one.p_value for name, one in against.items()})
    table = [
        [
            *_first_cells(part, name, part.corpora),
            difference(against.get(name), decimals=_DECIMALS),
            p_text(p_values[name]) if name in p_values else ABSENT,
        ]
        for name in names
    ]
    said = [*_most(part, names), *(_verdict(part, REFERENCE, name, against[name], p) for name, p in p_values.items())]
    return [grid(table, [*_headings(part.corpora), "to SKILL", "p"]), *([bullets(said)] if said else [])]


def _most(part: Part, names: Sequence[str]) -> list[str]:
    """Which row keeps most, and which of the others a test tells from it."""
    first, *others = names
    against = {name: one for name in others if (one := part.against(first, name)) is not None}
    p_values = holm_by_name({name: one.p_value for name, one in against.items()})
    if not p_values:
        return []
    told = {
        "told apart from it": [name for name, p in p_values.items() if p < 1 - LEVEL],
        "not told apart": [name for name, p in p_values.items() if p >= 1 - LEVEL],
    }
    texts = [
        f"{what}: {', '.join(markdown(part.rows[name].title) for name in own)}" for what, own in told.items() if own
    ]
    return [f"Of the recipes, most is kept by {markdown(part.rows[first].title)}: {'; '.join(texts)}."]


def _from_other_layers(part: Part, names: Sequence[str]) -> list[str]:
    """A sentence for each row whose layers are not the teacher's."""
    found = []
    for name in names:
        if own := part.rows[name].other_layers:
            layers = f"layer{'s' if len(own) > 1 else ''} {', '.join(map(str, own))}"
            title = markdown(part.rows[name].title)
            found.append(f"{title} has not as many layers: each of the teacher's is predicted from its {layers}.")
    return found


def _verdict(part: Part, reference: str, name: str, found: Difference, p: float) -> str:
    title, of = (markdown(part.rows[one].title) for one in (name, reference))
    low, high = found.interval.low, found.interval.high
    if p < 1 - LEVEL:
        way = "more" if found.difference > 0 else "less"
        return f"{title} keeps {way} than {of} by {abs(found.difference):.{_DECIMALS}f} (p {p_text(p)})."
    if not low < 0 < high:  # not once it is corrected for all rows
        return f"no difference shown: {title} and {of} are too close to call (p {p_text(p)})."
    ends = f"{-low:.{_DECIMALS}f} less to {high:.{_DECIMALS}f} more"
    return f"no difference shown: {title} may keep {ends} (p {p_text(p)})."


def _variants(part: Part, names: Sequence[str]) -> list[str]:
    """The table, and what the tests say of those that another seed was tried of."""
    recipes = {name: str(part.rows[name].recipe.get("name")) for name in names}
    against = {name: one for name in names if (one := part.against(recipes[name], name)) is not None}
    p_values = holm_by_name(
        {name: one.p_value for name, one in against.items() if len(part.rows[name].complete(part.corpora)) > 1}
    )
    table = [
        [
            *_first_cells(part, name, ()),
            difference(against.get(name), decimals=_DECIMALS),
            part.rows[recipe].title,
            changed(part.rows[name].changes),
        ]
        for name, recipe in recipes.items()
    ]
    said = [_verdict(part, recipes[name], name, against[name], p) for name, p in p_values.items()]
    return [
        "### Variants of a recipe",
        grid(table, [*_headings(()), "to the recipe", "recipe", "change"]),
        _HOW_VARIANTS,
        *([bullets(said)] if said else []),
    ]


def _headings(corpora: Sequence[str]) -> list[str]:
    each = [f"{corpus} ↑" for corpus in corpora]
    return ["student", "whitened ↑", "plain ↑", *each, "seeds", "params M", "learnt sparsity"]


def _first_cells(part: Part, name: str, corpora: Sequence[str]) -> list[str]:
    """Of one row; ``corpora``: those that have a column of their own."""
    row, students = part.rows[name], part.rows[name].students.values()
    means = [row.whitened(part.corpora), row.plain(part.corpora), *(row.whitened([corpus]) for corpus in corpora)]
    n, n_complete = len(row.readings), len(row.complete(part.corpora))
    parameters = [None if one.n_parameters is None else one.n_parameters / 1e6 for one in students]
    return [
        row.title,
        *(estimate(found, decimals=_DECIMALS) for found in means),
        f"{n}" if n == n_complete else f"{n_complete} of {n}",
        spread(parameters, decimals=2),
        spread([_number(one.details.get("learnt_sparsity")) for one in students], decimals=3),
    ]


def _number(said: object) -> float | None:
    """Checkpoints describe themselves in text."""
    try:
        value = float(str(said))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _by_layer(part: Part, main: Sequence[str], variants: Sequence[str]) -> list[str]:
    """What each row keeps of each layer; then where the recipes keep more than SKILL and where less."""
    layers = range(part.n_layers)
    headings = ["student", *(f"h{layer}" for layer in layers)]
    found = {name: [part.rows[name].whitened(part.corpora, layer) for layer in layers] for name in (*main, *variants)}
    values = [
        [part.rows[name].title, *(ABSENT if one is None else f"{one.value:.{_DECIMALS}f}" for one in own)]
        for name, own in found.items()
    ]
    parts = ["### By layer of the teacher, whitened", grid(values, headings)]
    against = {name: [part.against(REFERENCE, name, layer) for layer in layers] for name in main if name != REFERENCE}
    if not (known := {name: own for name, own in against.items() if all(own)}):
        return parts
    rows = [
        [part.rows[name].title, *(difference(one, decimals=_DECIMALS) for one in own)] for name, own in known.items()
    ]
    said = [f"SKILL beside {markdown(part.rows[name].title)}: {_where(own)}." for name, own in known.items()]
    return [*parts, "Minus SKILL:", grid(rows, headings), _HOW_LAYERS, bullets(said)]


def _where(found: Sequence[Difference | None]) -> str:
    """``keeps more at h0, h1; less at h7``, of SKILL, after Holm for the layers."""
    known = {layer: one for layer, one in enumerate(found) if one is not None}
    p_values = holm_by_name({layer: one.p_value for layer, one in known.items()})
    sure = [layer for layer, p in p_values.items() if p < 1 - LEVEL]
    ways = {
        "keeps more at": [layer for layer in sure if known[layer].difference < 0],
        "keeps less at": [layer for layer in sure if known[layer].difference > 0],
    }
    said = [f"{way} {', '.join(f'h{layer}' for layer in own)}" for way, own in ways.items() if own]
    return "; ".join(said) or "no layer is told apart"


def _groups(part: Part, names: Sequence[str]) -> list[str]:
    """Which states were averaged together; empty where no student says so."""
    rows = [
        [part.rows[name].title, groups, ", ".join(ABSENT if seed is None else f"{seed}" for seed in seeds)]
        for name in names
        for groups, seeds in part.rows[name].groups.items()
    ]
    heading = "### Groups of the teacher's hidden states that students learnt from"
    return [heading, grid(rows, ["student", "groups", "distillation seeds"])] if rows else []
