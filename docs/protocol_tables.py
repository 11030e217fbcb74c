"""What we set beside the programs that we follow: s3prl's tasks in docs/protocols.md, recipes in docs/recipes.md.

    python docs/protocol_tables.py            # writes the tables, from the originals
    python docs/protocol_tables.py --check    # says what is wrong: an undeclared difference, an old table

With a checkout of s3prl in SKILL_BENCH_S3PRL the facts are compared with its files too.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_bench.base.documents import write_atomic
from skill_bench.distillation import originals
from skill_bench.evaluation.task_files import load_task
from skill_bench.tasks import TaskSpec

PAGE = Path(__file__).parent / "protocols.md"
RECIPES = PAGE.with_name("recipes.md")
FACTS = Path(__file__).parent / "originals" / "s3prl.toml"
BEGIN, END = "<!-- tables: python docs/protocol_tables.py -->\n", "<!-- end of tables -->\n"
PROTOCOLS = ("strict", "s3prl")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One original value, see docs/originals/s3prl.toml; ``found`` is ours, by protocol."""

    task: str
    file: str
    key: str
    stated: Mapping[str, Any]
    found: Mapping[str, Any]

    @property
    def ours(self) -> str | None:
        return self.stated.get("ours")

    def differs(self, protocol: str) -> bool:
        """Whether ours has another value; what is said in words differs where a reason is given."""
        if self.ours is None:
            return protocol in self.stated
        return not alike(self.stated.get("as", self.stated.get("is")), self.found[protocol])


def read(text: str | None = None) -> tuple[dict[str, Any], list[Fact]]:
    """The file's own keys, and all facts beside our settings for the official corpora."""
    content = tomllib.loads(text or FACTS.read_text(encoding="utf-8"))
    about = {key: content.pop(key) for key in ("repository", "commit", "passed_over", "why")}
    facts = []
    for name, files in content.items():
        task = load_task(name)
        resolved = {protocol: task.for_suite("superb", protocol=protocol) for protocol in PROTOCOLS}
        for file, keys in files.items():
            for key, stated in keys.items():
                found = {p: value_of(spec, stated["ours"]) for p, spec in resolved.items()} if "ours" in stated else {}
                reasons = {p: reason(stated[p], about["why"]) for p in PROTOCOLS if p in stated}
                facts.append(Fact(task=name, file=file, key=key, stated={**stated, **reasons}, found=found))
    return about, facts


def reason(text: str, shared: Mapping[str, str]) -> str:
    """A reason, or the shared one that it names."""
    return shared[text[1:]] if text.startswith("@") else text


def value_of(task: TaskSpec, key: str) -> Any:
    """A setting by its dotted key; None where its table is absent."""
    value: Any = task
    for part in key.split("."):
        value = getattr(value, part) if value else None
    return value


def alike(original: Any, ours: Any) -> bool:
    """Equal, whatever the case of names; equal values of several layers are one value, and so is a list of one."""
    if isinstance(original, str) and isinstance(ours, str):
        return original.casefold() == ours.casefold()
    if isinstance(ours, tuple):
        return list(ours) == (original if isinstance(original, list) else [original])
    if isinstance(original, list):
        return all(value == ours for value in original)
    return bool(original == ours)


def undeclared(facts: list[Fact]) -> Iterator[str]:
    """Differences without a reason, and reasons without a difference."""
    for fact in facts:
        for protocol in PROTOCOLS:
            place = f"{fact.task}: {fact.key!r} of {fact.file}"
            if fact.differs(protocol) and protocol not in fact.stated:
                found, wanted = fact.found[protocol], fact.stated.get("as", fact.stated.get("is"))
                yield f"{place} is {wanted!r}, {fact.ours} is {found!r} in protocol {protocol}: say why, or make it so"
            # A value can be as near as ours come to the original, and still not be it.
            if protocol in fact.stated and not fact.differs(protocol) and protocol == "strict":
                yield f"{place}: there is a reason for a difference that protocol {protocol} has not"


def differences_from(checkout: Path, about: Mapping[str, Any], facts: list[Fact]) -> Iterator[str]:
    """What s3prl's files say otherwise, or say besides.

    Args:
        checkout: s3prl's repository, at the commit of the facts or another.
        about: The facts' own keys.
        facts: All of them.
    """
    import yaml

    for task, file in dict.fromkeys((fact.task, fact.file) for fact in facts):
        own = [fact for fact in facts if (fact.task, fact.file) == (task, file)]
        text = (checkout / "s3prl" / "downstream" / file).read_text(encoding="utf-8")
        if not file.endswith(".yaml"):
            yield from (
                f"{file} does not say {what!r}" for f in own for what in f.stated.get("says", ()) if what not in text
            )
            yield from (
                f"{file} holds other lines" for f in own if "lines" in f.stated and text.split() != f.stated["is"]
            )
            continue
        left = dict(flat(yaml.safe_load(text)))
        for fact in own:
            found = left.pop(fact.key, "no such key")
            if found != fact.stated.get("is"):
                yield f"{file}: {fact.key} is {found!r}, the facts say {fact.stated.get('is')!r}"
        for key, value in left.items():
            if not any(fnmatch.fnmatch(f"{file}:{key}", pattern) for pattern in about["passed_over"]):
                yield f"{file}: {key} = {value!r} is in no table"


def flat(content: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a tree by dotted key."""
    if not isinstance(content, dict) or not content:
        yield before, content
        return
    for key, value in content.items():
        yield from flat(value, f"{before}.{key}" if before else str(key))


def tables(about: Mapping[str, Any], facts: list[Fact]) -> str:
    """For every task a table of what differs in either protocol, and in a line a file what is equal."""
    source = f"{about['repository']}/blob/{about['commit']}/s3prl/downstream"
    lines = []
    for task in dict.fromkeys(fact.task for fact in facts):
        own = [fact for fact in facts if fact.task == task]
        differing = [fact for fact in own if any(p in fact.stated for p in PROTOCOLS)]
        lines += [
            f"### {task.upper()}",
            "",
            "| setting | s3prl | protocol `s3prl` | `strict` | why | source |",
            "|---|---|---|---|---|---|",
            *(f"| {' | '.join(cells(fact))} |" for fact in differing),
            "",
        ]
        for file in dict.fromkeys(fact.file for fact in own):
            equal = [in_words(fact) for fact in own if fact.file == file and fact not in differing]
            if equal:
                lines += [f"As in [{file}]: {', '.join(equal)}.", ""]
    return "\n".join([*lines, *(f"[{file}]: {source}/{file}" for file in dict.fromkeys(fact.file for fact in facts))])


def cells(fact: Fact) -> list[str]:
    """One row."""
    ours = {p: shown(fact.found[p]) if fact.ours else fact.stated["here"] for p in PROTOCOLS}
    original = shown(fact.stated.get("is"))
    if "as" in fact.stated and "s3prl" not in fact.stated and not fact.differs("s3prl"):
        original += f" (`{shown(fact.stated['as'])}`)"
    why = "; ".join(dict.fromkeys(fact.stated[p] for p in PROTOCOLS if p in fact.stated))
    return [name(fact), original, ours["s3prl"], ours["strict"], why, f"[{fact.file}]"]


def in_words(fact: Fact) -> str:
    """A setting without a difference."""
    here = fact.stated.get("here", "the same")
    return f"{name(fact)} {shown(fact.stated.get('is'))}{'' if here == 'the same' else f' ({here})'}"


def name(fact: Fact) -> str:
    """The key without what all of them begin with."""
    return fact.key.removeprefix("downstream_expert.").removeprefix("runner.")


def shown(value: Any) -> str:
    """A value in a table's cell."""
    if isinstance(value, list | tuple):
        if len(value) > 12:
            return f"{len(value)} of them"
        return ", ".join("blank" if one == " " else shown(one) for one in value) or "–"
    if value is None or value is False:
        return "–" if value is None else "no"
    if value is True:
        return "yes"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("<", "\\<").replace("|", "\\|")


def page(text: str, made: str) -> str:
    """The page with its tables replaced."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    """Writes or checks; returns the exit code."""
    about, facts = read()
    problems = list(undeclared(facts))
    if checkout := os.environ.get("SKILL_BENCH_S3PRL"):
        problems += differences_from(Path(checkout), about, facts)
    made = {PAGE: page(PAGE.read_text(encoding="utf-8"), tables(about, facts)), RECIPES: originals.markdown()}
    for file, new in made.items():
        if "--check" not in arguments:
            write_atomic(file, new.encode())
        elif new != file.read_text(encoding="utf-8"):
            problems.append(f"{file.name} is not what the tables give: run python docs/protocol_tables.py")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
