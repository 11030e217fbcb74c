"""The tables of docs/how-to/deploying.md: scores of a checkpoint and of its graphs, from the records in
leaderboard/deployed, and what 8 bits do to its states, from docs/eight_bits.json.

python docs/deployed.py            # writes the tables
python docs/deployed.py --check    # says whether they are old ones
"""

from __future__ import annotations

import sys
from pathlib import Path

import eight_bits

from skill_bench.base import catalog
from skill_bench.base.documents import write_atomic
from skill_bench.report.comparison import SystemComparison, compare_systems
from skill_bench.report.table.load import load_table

PAGE = Path(__file__).parent / "how-to" / "deploying.md"
BEGIN, END = "<!-- table: python docs/{}.py -->\n", "<!-- end of the table -->\n"
RECORDS = catalog.folder("leaderboard") / "deployed" / "local.zip"


def scores() -> str:
    """Each graph beside the checkpoint, and the command that says more."""
    table = load_table(RECORDS, published=False, intervals=False)
    graphs = sorted(
        (row.title, row.system)
        for section in table.sections
        for row in section.rows
        if row.origin == "run" and "(ONNX " in row.title
    )
    found = [one for _, system in graphs for one in compare_systems(table, "run:skill", f"run:{system}")]
    command = f"skill-bench compare run:skill run:{graphs[0][1]} --results leaderboard/deployed/local.zip"
    return f"{table_of(found)}\n\nThe records come with skill-bench:\n`{command}`."


def table_of(found: list[SystemComparison]) -> str:
    """A row a task, for each graph its score, the difference and what the test says of that; which tasks count."""
    graphs = [one.b.partition("(")[2].rstrip(")") for one in found]
    lines = [
        f"| | checkpoint | {' | '.join(f'{name} | minus checkpoint, points | p' for name in graphs)} |",
        f"|---|--:|{'--:|' * 3 * len(graphs)}",
    ]
    for tasks in zip(*(one.tasks for one in found), strict=True):
        cells = [tasks[0].column.heading, f"{tasks[0].found.a:.2f}"]
        for task in tasks:
            of = task.found
            cells += [f"{of.b:.2f}", _difference(of.difference, of.interval.low, of.interval.high), f"{of.p_value:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    cells = ["mean, points", ""]
    for mean in (one.mean for one in found if one.mean is not None):
        cells += ["", _difference(mean.difference, mean.interval.low, mean.interval.high), f"{mean.p_value:.3f}"]
    lines += [f"| {' | '.join(cells)} |"] if len(cells) > 2 else []
    # The graphs have the same tasks, so that the same ones count.
    left_out = found[0].left_out
    return "\n".join([*lines, *([] if left_out is None else ["", f"{left_out[0].upper()}{left_out[1:]}"])])


def _difference(value: float, low: float, high: float) -> str:
    low, high = (round(end, 1) + 0 for end in (low, high))  # no negative zero
    return f"{round(value, 2) + 0:+.2f} ({low:+.1f} to {high:+.1f})"


def page(text: str) -> str:
    """The page with its tables made again."""
    for name, table in (("deployed", scores()), ("eight_bits", eight_bits.table())):
        before, rest = text.split(begin := BEGIN.format(name))
        text = f"{before}{begin}\n{table}\n\n{END}{rest.partition(END)[2]}"
    return text


def main(arguments: list[str]) -> int:
    """Writes or checks; returns the exit code."""
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if "--check" not in arguments:
        write_atomic(PAGE, new.encode())
    elif new != old:
        print(f"{PAGE.name} is not what the records give: run python docs/deployed.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
