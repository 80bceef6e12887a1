"""Twenty tasks at the console: clicks and seconds of each, and whether the answer on the page is right.

    python -m benchmarks.tasks [--json OUT] [--only WORD ...]

A server of its own, with two bundles trained on a small made-up domain, four weeks of outcomes, experiments
and visitors, is asked what product managers and engineers want to know, in Chromium at 1440 by 900 pixels.
Each task begins at the start page. Clicks and keys are real and counted; what is read is held against the
API. Seconds of the page are measured: until what a person looks for can be seen. Seconds of the person are
the Keystroke-Level Model's (see :mod:`benchmarks.tasks.hand`): an expert's, who knows where things are.

Exit status 1: an answer on the page is wrong or missing, or the page met an error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.console import CHROMIUM
from benchmarks.tasks import engineer, manager
from benchmarks.tasks.hand import Effort, Hand, WrongAnswerError
from benchmarks.tasks.parts import Task
from benchmarks.tasks.world import World, served

TASKS = (*manager.TASKS, *engineer.TASKS)
SIZE = {"width": 1440, "height": 900}


@dataclass(frozen=True)
class Done:
    """A task that was done.

    Attributes:
        task: The task.
        effort: What it took.
        answer: What was read; None where it was wrong.
        problem: What was wrong.
    """

    task: Task
    effort: Effort
    answer: str | None
    problem: str | None = None


def do(browser: Any, world: World, task: Task) -> Done:
    """Do one task in a browser with nothing cached."""
    from playwright.sync_api import Error as PlaywrightError

    context = browser.new_context(viewport=SIZE, locale="en-US", reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    hand = Hand(page)
    answer, problem = None, None
    try:
        page.goto(f"{world.url}/")
        page.wait_for_selector("#items:not([aria-busy]) .card")
        answer = task.do(hand, world)
    except (WrongAnswerError, PlaywrightError) as error:
        problem = " ".join(str(error).split())[:400]
    finally:
        context.close()
    return Done(task, hand.effort, answer, problem or ("; ".join(faults) or None))


def do_all(world: World, tasks: Sequence[Task]) -> list[Done]:
    """Do tasks one after the other; those that change the server come so that all can be done."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        raise SystemExit("Chromium and the package playwright are needed")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        done = [do(browser, world, task) for task in tasks]
        browser.close()
    return done


def show(found: Sequence[Done]) -> None:
    """Print a table, and what was read and done."""
    console = Console()
    table = Table("task", "clicks", "keys", "scrolls", "page s", "person s", title=machine())
    for who in dict.fromkeys(done.task.who for done in found):
        table.add_section()
        for done in found:
            if done.task.who != who:
                continue
            effort = done.effort
            figures = (effort.clicks, effort.keys, effort.scrolls)
            question = f"{who}: {done.task.question}"
            table.add_row(
                f"[red]{question}" if done.problem else question,
                *(str(figure) for figure in figures),
                f"{effort.waited:.1f}",
                f"{effort.person:.1f}",
            )
    console.print(table)
    for done in found:
        console.print(f"\n[bold]{done.task.question}[/] {', '.join(done.effort.steps)}.", highlight=False)
        console.print(f"  WRONG: {done.problem}" if done.problem else f"  {done.answer}", markup=False)


def markdown(found: Sequence[Done]) -> str:
    """The table of the documentation."""
    lines = [
        "| who | task | clicks | keys | scrolls | page, s | person, s |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    for done in found:
        effort = done.effort
        figures = (effort.clicks, effort.keys, effort.scrolls, f"{effort.waited:.1f}", f"{effort.person:.1f}")
        cells = (done.task.who, done.task.question, *figures)
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Do the tasks and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="Tasks whose question has one of the words."
    )
    parser.add_argument("--markdown", action="store_true", help="Print the table of the documentation, too.")
    options = parser.parse_args()
    words = [word.lower() for word in options.only or [""]]
    tasks = [task for task in TASKS if any(word in task.question.lower() for word in words)]
    with served() as world:
        found = do_all(world, tasks)
    show(found)
    if options.markdown:
        print(markdown(found))
    rows = [
        {
            "who": done.task.who,
            "question": done.task.question,
            **asdict(done.effort),
            "person": done.effort.person,
            "answer": done.answer,
            "problem": done.problem,
        }
        for done in found
    ]
    write_json(options.json, {"machine": machine(), "tasks": rows})
    sys.exit(int(any(done.problem for done in found)))


if __name__ == "__main__":
    main()
