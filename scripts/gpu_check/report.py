"""What was found, as JSON and as Markdown. Nothing runs here."""

import json


def as_json(machine, outcomes):
    parts = {o.name: {"outcome": o.word, "why": o.why, "seconds": o.seconds, "figures": o.figures} for o in outcomes}
    return json.dumps({"machine": machine, "parts": parts}, indent=2, ensure_ascii=False) + "\n"


def as_markdown(machine, outcomes):
    lines = ["# GPU check", "", *table(["", ""], machine.items()), ""]
    lines += table(["part", "outcome", "s", "why"], [(o.name, o.word, o.seconds, first_line(o.why)) for o in outcomes])
    for outcome in outcomes:
        lines += ["", f"## {outcome.name}: {outcome.title}", ""]
        if outcome.why:
            lines += [outcome.word + ":", "", "```", outcome.why, "```", ""]
        lines += figures(outcome.figures)
    return "\n".join(lines).rstrip() + "\n"


def figures(found):
    """Single figures as one table, each group of figures as one of its own."""
    single = [(key, value) for key, value in found.items() if not isinstance(value, dict)]
    lines = table(["figure", "value"], single) if single else []
    for key, group in found.items():
        if isinstance(group, dict) and group:
            lines += ["", *group_of(key, group)]
    return lines


def group_of(key, group):
    """A row for each entry; its own figures are the columns."""
    columns = list(dict.fromkeys(column for row in group.values() if isinstance(row, dict) for column in row))
    if not columns:
        return table([key, ""], group.items())
    return table([key, *columns], [(name, *(row.get(column, "") for column in columns)) for name, row in group.items()])


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cell(c) for c in cells) + " |"
    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def cell(value):
    return str("" if value is None else value).replace("|", "\\|").replace("\n", " ")


def first_line(text):
    return text.splitlines()[0] if text else ""


def exit_code(outcomes):
    return 1 if any(outcome.word == "failed" for outcome in outcomes) else 0


def summary(outcomes):
    counts = {word: sum(o.word == word for o in outcomes) for word in ("passed", "failed", "skipped")}
    return ", ".join(f"{count} {word}" for word, count in counts.items())
