"""`medseg tune`: parameters of the steps after the network, fitted on cases with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from medseg.cli import options, require_existing

if TYPE_CHECKING:
    from medseg.training.tuning import Tried, Tuned

__all__ = ["command"]


@click.command("tune")
@click.argument("model", metavar="MODEL")
@click.argument("dataset", metavar="DATASET")
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="PATH",
    help="The tuned model: a pipeline file where MODEL is one, else a folder.",
)
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="PLACE.PARAMETER=V1,V2",
    help="A parameter of a step under refine or postprocess, counted from 0, and values for it, as in "
    "postprocess[0].below_ml=0.1,0.5; repeatable.",
)
@click.option(
    "--metric",
    default="dice",
    show_default=True,
    metavar="NAME",
    help="What to choose by; `medseg plugins list` has all.",
)
@click.option("--cases", type=click.IntRange(min=1), metavar="N", help="Use so many cases; by default all.")
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="Draws the cases, and the order in which parameters take turns.",
)
@options.device
@options.engine
@options.precision
@options.threads
@options.overwrite
@options.quiet
@options.verbose
def command(
    model: str,
    dataset: str,
    out: str,
    vary: tuple[str, ...],
    metric: str,
    cases: int | None,
    seed: int,
    device: str,
    engine: str,
    precision: str,
    threads: int | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Choose parameters of MODEL's steps after the network by how well they do on DATASET.

    MODEL is what `segment --model` takes, DATASET what `train` takes; its cases should be none that the
    network was trained on. The network runs once for each case. Up to 64 combinations are all tried, of more
    one parameter at a time; MODEL's own values are always tried, and stay where nothing is better.
    """
    require_existing(dataset)

    from medseg.prediction import Resources
    from medseg.training.tuning import tune

    def progress(step: str, done: int, total: int) -> None:
        if step == "tune" and not quiet:
            click.echo(f"Case {done} of {total}", err=True)

    tuned = tune(
        model,
        dataset,
        out,
        vary=vary,
        metric=metric,
        cases=cases,
        seed=seed,
        overwrite=overwrite,
        resources=Resources(
            device=device, engine=engine, precision=precision, threads=threads, seed=seed, progress=progress
        ),
    )
    if not quiet:
        _print(tuned)
        click.echo(f"The tuned model is {out}. Research use only.")


def _print(tuned: Tuned) -> None:
    """One line for each candidate, the best first, and what is to be said of it."""
    from medseg.cli.table import print_table
    from medseg.training.tuning import record
    from medseg.training.variations import in_words

    names = [str(each) for each in tuned.variations.varied]
    metric = f"{tuned.metric} ({tuned.unit})" if tuned.unit else tuned.metric
    rows = [
        (*map(in_words, each.values), *_numbers(each, tuned.own), _note(each, tuned)) for each in tuned.ranked
    ]
    print_table(
        (*names, metric, "difference", "note"), rows, right=range(len(names) + 2), wrap=(len(names) + 2,)
    )
    for line in record(tuned):
        click.echo(line)


def _numbers(tried: Tried, own: Tried) -> tuple[str, str]:
    """The mean, and its difference to that of the pipeline's own values."""
    mean, before = tried.standing.mean, own.standing.mean
    if mean is None:
        return "-", "-"
    return f"{mean:.4f}", "-" if before is None else f"{mean - before:+.4f}"


def _note(tried: Tried, tuned: Tuned) -> str:
    words = ["best"] if tried is tuned.best else []
    words += ["the pipeline's own"] if tried is tuned.own else []
    words += [f"{tried.standing.missing} without a number"] if tried.standing.missing else []
    return ", ".join(words)
