"""The grid file: what it means, and what is told when it is wrong.

How many groups: a student each, the best first, and refusals.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_settings import leaves
from small_models import noise, recipe

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UnknownName, UsageError
from skill_bench.corpora.data import Utterance
from skill_bench.layers.options import SimilarGroups, UniformGroups
from skill_bench.models import checkpoint
from skill_bench.models.checkpoint import LoadedModel
from skill_bench.sweep import number_of_groups
from skill_bench.sweep.grid import choose, read_grid
from skill_bench.sweep.number_of_groups import try_numbers

HEAD = 'tasks = ["demo/ks"]\nseeds = [0, 1]\nprobe_seeds = [0]\n'
SHORT = recipe("skill", joint=4, final=2)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(HEAD + text)
    return path


def test_rows_and_seeds_make_jobs_in_rounds(tmp_path: Path) -> None:
    grid, jobs = read_grid(
        write(
            tmp_path,
            """
scale_updates = 0.01
changes = { data = { seconds_per_batch = 16.0 }, joint = { learning_rate = 5e-4 } }
[[students]]
name = "skill-k4"
recipe = "skill"
[[students]]
name = "skill-k2"
recipe = "skill"
changes = { groups = { n_groups = 2, linkage = "ward", contiguous = false }, joint = { learning_rate = 1e-4 } }
seeds = [0]
[[students]]
name = "random_groups"
recipe = "random_groups"
changes.groups.seed = "{seed}"
[[students]]
name = "given"
checkpoint = "other/given-{seed}.safetensors"
""",
        )
    )
    assert [job.name for job in jobs] == [
        "skill-k4-s0", "skill-k2-s0", "random_groups-s0", "given-s0", "skill-k4-s1", "random_groups-s1", "given-s1",
    ]  # fmt: skip
    by_name = {job.name: job for job in jobs}
    k2 = by_name["skill-k2-s0"].recipe
    assert k2 is not None
    assert isinstance(k2.groups, SimilarGroups)
    assert (k2.groups.n_groups, k2.groups.linkage, k2.groups.contiguous) == (2, "ward", False)
    assert k2.joint
    assert (k2.joint.learning_rate, k2.joint.n_updates, k2.data.seconds_per_batch) == (1e-4, 500, 16.0)
    other = by_name["random_groups-s1"].recipe
    assert other is not None
    assert other.seed == 1
    assert other.groups.method == "random"
    assert other.groups.seed == 1
    assert by_name["given-s1"].checkpoint == tmp_path / "other" / "given-1.safetensors"
    assert by_name["given-s1"].recipe is None
    assert grid.upstreams == ()
    assert [job.name for job in choose(jobs, ["skill-k2", "given"])] == ["skill-k2-s0", "given-s0", "given-s1"]
    assert choose(jobs, []) == jobs
    with pytest.raises(UnknownName, match=r"unknown student 'skill-k3'\. Did you mean"):
        choose(jobs, ["skill-k3"])


def test_common_changes_leave_out_stages_that_a_recipe_does_not_have(tmp_path: Path) -> None:
    common = "changes = { joint = { learning_rate = 5e-4 }, final = { learning_rate = 3e-4 } }\n"
    _, jobs = read_grid(write(tmp_path, common + '[[students]]\nname = "d"\nrecipe = "distilhubert"\n'))
    recipe = jobs[0].recipe
    assert recipe is not None
    assert recipe.joint is False
    assert recipe.final.learning_rate == 3e-4


def test_another_method_comes_with_its_keys_in_any_order(tmp_path: Path) -> None:
    groups = 'changes = { groups = { n_groups = 3, include_input = true, method = "uniform" } }\n'
    _, jobs = read_grid(write(tmp_path, '[[students]]\nname = "u"\nrecipe = "skill"\n' + groups))
    assert jobs[0].recipe is not None
    assert jobs[0].recipe.groups == UniformGroups(method="uniform", n_groups=3, include_input=True)


def test_the_shipped_grid_is_valid() -> None:
    grid, jobs = read_grid(catalog.folder("leaderboard") / "evidence.toml")
    main = {"skill", "skill_whitened", "dphubert", "random_groups", "uniform_groups", "distilhubert"}
    assert main <= {row.name for row in grid.students}
    rows = [row for row in grid.students if row.name in main]
    assert all(row.seeds is None and row.tasks == rows[0].tasks for row in rows)
    assert {task.partition("/")[0] for task in grid.tasks} == {"local", "dspspeech20"}
    assert len(grid.fidelity) == 3
    assert grid.design
    assert len(grid.seeds) >= 3
    assert len(grid.probe_seeds) >= 3
    recipes = [job.recipe for job in jobs]
    assert all(recipes)
    assert len({r.model_dump_json() for r in recipes if r}) == len(recipes), "two rows are the same experiment"


def test_another_teacher_has_the_main_rows_of_the_evidence() -> None:
    (here, own), (there, all_jobs) = (
        read_grid(catalog.folder("leaderboard") / name) for name in ("earlier_teacher.toml", "evidence.toml")
    )
    main = {job.name: job.recipe for job in all_jobs if job.row.seeds is None}
    added = {name: main.pop(name) for name in list(main) if name.startswith("skill_whitened-")}
    assert len(added) == len(there.seeds), "chosen with the bundled teacher, and of it alone"
    assert {job.name: job.recipe for job in own} == main
    assert (here.fidelity, here.probe_seeds, here.upstreams) == (there.fidelity, there.probe_seeds, there.upstreams)
    assert set(here.tasks) < set(there.tasks)


def test_the_candidates_are_skill_with_one_or_two_options_changed() -> None:
    grid, jobs = read_grid(catalog.folder("leaderboard") / "candidates.toml")
    recipes = {job.row.name: job.recipe for job in jobs if job.seed == 0 and job.recipe}
    assert len({r.model_dump_json() for r in recipes.values()}) == len(grid.students), (
        "two rows are the same experiment"
    )
    plain = leaves(recipes["skill"])
    rows = [leaves(recipe) for name, recipe in recipes.items() if recipe.name == "skill" and name != "skill"]
    changed = [{key for key, value in row.items() if plain.get(key) != value} for row in rows]
    assert {len(keys) for keys in changed} == {1, 2}
    alone = set.union(*(keys for keys in changed if len(keys) == 1))
    options = {"largest", "weights", "measure", "n_groups", "include_input"}
    assert alone == {f"groups.{key}" for key in options} | {"loss.norm", "loss.heads"}


def test_a_recipe_file_is_relative_to_the_grid(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "skill"\ntitle = "Mine"\nsource = "here"\n')
    _, jobs = read_grid(write(tmp_path, '[[students]]\nname = "mine"\nrecipe = "mine.toml"\n'))
    assert jobs[0].recipe is not None
    assert jobs[0].recipe.title == "Mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[students]]\nname = "a"\nrecipee = "skill"', "unknown key .*Did you mean 'recipe'"),
        ('[[students]]\nname = "a"', "'a' needs either 'recipe' or 'checkpoint'"),
        ('[[students]]\nname = "a"\ncheckpoint = "a.safetensors"', r"put {seed} in its name or give seeds"),
        ('[[students]]\nname = "A b"\nrecipe = "skill"', "key 'students.0.name'"),
        ('[[students]]\nname = "a"\nrecipe = "skill"\nchanges.groups.n_group = 2', "student 'a': .*n_groups"),
        ('[[students]]\nname = "a"\nrecipe = "skill"\n[[students]]\nname = "a"\nrecipe = "skill"', "more than once"),
        ('upstreams = ["fbank"]\n[[students]]\nname = "fbank"\nrecipe = "skill"', "called fbank, as upstreams are"),
        ('[[students]]\nname = "a"\nrecipe = "skil"', "unknown recipe 'skil'"),
        ('upstreams = ["fbnk"]\nstudents = []', "unknown upstream 'fbnk'"),
        ('[[students]]\nname = "a"\nrecipe = "skill"\ntasks = ["demo/kw"]', "unknown task 'kw'"),
        ('[[students]]\nname = "a"\nrecipe = "skill"\ntasks = ["dem/ks"]', "unknown suite 'dem'"),
        ('[[students]]\nname = "a"\nrecipe = "skill"\ntasks = ["ks"]', "students.0.tasks"),
        ('students = []\n' + 2 * '[[fidelity]]\ncorpus = "a"\ndata = ["b"]\n', "fidelity on a occurs more than once"),
        ('scale_updates = 0.0\nstudents = []', "scale_updates"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((SpecError, UnknownName), match=message):
        read_grid(write(tmp_path, text))


def test_the_number_whose_student_keeps_most_comes_first(
    teacher: LoadedModel, speech: list[Utterance], tmp_path: Path
) -> None:
    other = noise(tmp_path / "other", n=6)
    found = try_numbers(
        teacher, speech, other, recipe=SHORT, numbers=[2, 5, 3], folder=tmp_path / "k", corpus="other", n_folds=3
    )
    kept = [one.fidelity.readings[0].whitened.value for one in found]
    assert kept == sorted(kept, reverse=True)
    assert len({*kept}) == 3
    assert {one.n_groups: len(one.groups) for one in found} == {2: 2, 3: 3, 5: 5}
    for one in found:
        assert (one.fidelity.n_utterances, one.fidelity.corpus) == (6, "other")
        student = checkpoint.load(tmp_path / "k" / f"groups-{one.n_groups}.safetensors")
        assert one.fidelity.student.checkpoint_sha256 == student.sha256
        assert student.metadata["layer_groups"] == str([list(group) for group in one.groups])
        assert f'"n_groups":{one.n_groups}' in student.metadata["recipe"]


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("dphubert", [2], r"recipe dphubert: its groups are given by hand, .* similarity, uniform or random"),
        ("skill", [], r"numbers of groups \[\]: expected one or more"),
        ("skill", [3, 0], r"numbers of groups \[3, 0\]: expected one or more, each at least 1"),
        ("skill", [3], r"1 of 8 held-out utterances are also trained on, first .*7\.wav: a student knows them"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_any_training(
    name: str,
    numbers: list[int],
    message: str,
    teacher: LoadedModel,
    speech: list[Utterance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(number_of_groups, "distill", None)
    other = [*noise(tmp_path / "other", n=7), speech[7]]
    with pytest.raises(UsageError, match=message):
        try_numbers(teacher, speech, other, recipe=recipe(name), numbers=numbers, folder=tmp_path / "k")
