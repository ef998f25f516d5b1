"""`medseg models`: what can be named by `--model`, checked, and taken into the user's model folder."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medseg.cli import options, require_existing

if TYPE_CHECKING:
    from medseg.io import Policy

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List, show, check, install and build models; verify a lower precision."""


@command.command("list")
@options.as_json
def list_models(as_json: bool) -> None:
    """List installed models with licence, size and summary: those of plugins, then your own."""
    from medseg.model import Model, installed_models
    from medseg.plugin.catalog import discover

    found = installed_models(discover())
    if as_json:
        click.echo(
            json.dumps(
                [
                    _as_json(m) if isinstance(m, Model) else {"name": m[0].qualified, "problem": m[1]}
                    for m in found
                ],
                indent=2,
            )
        )
        return
    from medseg.cli.table import print_table

    rows = []
    for model in found:
        if isinstance(model, Model):
            assert model.card is not None  # a model folder has one
            assert model.entry is not None
            card, origin = model.card, _origin(model.entry)
            rows.append(
                (model.name, card.version, card.licence, _size(model.size_bytes), origin, card.summary)
            )
        else:
            entry, problem = model
            rows.append((entry.component.name, "", "", "", _origin(entry), problem))
    print_table(("model", "version", "licence", "size", "from", "summary"), rows, right=(3,), wrap=(5,))


@command.command("show")
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show NAME (an installed model, a model folder or a pipeline file): its card, labels and pipeline."""
    from medseg.run.chosen import prepare
    from medseg.run.provenance import describe_pipeline

    model, pipeline = prepare(name)
    described = describe_pipeline(pipeline)
    if as_json:
        click.echo(json.dumps({**_as_json(model), "pipeline": described}, indent=2))
        return
    import yaml

    click.echo(f"{model.name}" + (f" {model.card.version}" if model.card else ""))
    if model.card is not None:
        click.echo(model.card.summary)
        click.echo(f"  licence       {model.card.licence}")
        click.echo(f"  intended use  {model.card.intended_use}")
        for title, lines in (
            ("limitations", model.card.limitations),
            ("trained on", model.card.training_data),
            ("evaluation", model.card.evaluation),
            ("references", model.card.references),
        ):
            for number, line in enumerate(lines):
                click.echo(f"  {title if number == 0 else '':<13} {line}")
    click.echo(f"  size          {_size(model.size_bytes)}")
    if model.entry is not None:
        click.echo(f"  from          {_origin(model.entry)}")
    click.echo(f"  folder        {model.folder}")
    click.echo("  labels        " + ", ".join(f"{label.value} {label.name}" for label in pipeline.labels))
    click.echo("  research use only, not for diagnosis")
    click.echo("\npipeline:")
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, default_flow_style=None)
    click.echo("\n".join(f"  {line}" for line in text.splitlines()))


@command.command("install")
@click.argument("source", metavar="FOLDER|ZIP")
@click.option("--overwrite", is_flag=True, help="Replace an installed model of the same name.")
@options.verbose
def install(source: str, overwrite: bool) -> None:
    """Copy a model, a FOLDER or a ZIP of one, into your model folder, where --model finds it by name.

    It is checked first and refused if anything in it is not data of a model. Your model folder is
    $MEDSEG_MODELS, else medseg/models in $XDG_DATA_HOME or ~/.local/share.
    """
    from medseg.plugin.catalog import discover
    from medseg.run.install import install_model

    catalog = discover()
    checked = install_model(Path(source), overwrite=overwrite, catalog=catalog)
    model, card = checked.model, checked.model.card
    assert card is not None  # install_model has seen to it
    click.echo(f"{card.name} {card.version} is installed in {model.folder}")
    click.echo(f"  {card.summary}")
    click.echo(f"  licence       {card.licence}")
    click.echo(f"  intended use  {card.intended_use}")
    click.echo(f"  size          {_counted(checked)}")
    click.echo("  research use only, not for diagnosis")
    others = [entry for entry in catalog.of_kind("model") if entry.component.name == card.name]
    if others:
        names = " or ".join(repr(entry.qualified) for entry in others)
        click.echo(f"{names} has this name too: write --model user/{card.name} for this one", err=True)


@command.command("check")
@click.argument("name", metavar="NAME|FOLDER|ZIP")
@options.verbose
def check(name: str) -> None:
    """Check a model: card, pipeline, every file and its checksum. Nothing in it is loaded or run.

    Whether the weights fit the network is seen when the model is used: a mismatch is refused then.
    """
    from medseg.run.install import check_model

    checked = check_model(name)
    card = checked.model.card
    assert card is not None  # check_model has seen to it
    click.echo(f"{card.name} {card.version}: ok ({_counted(checked)})")


@command.command("build")
@click.argument("source", metavar="RUN|FOLDER|ZIP|NAME")
@click.option("-o", "--out", required=True, metavar="DIST", help="Folder for the distribution.")
@click.option("--name", metavar="NAME", help="Name of the model; by default the one on its card.")
@click.option("--version", metavar="V", help="Version of model and package; by default that on the card.")
@click.option("--half", is_flag=True, help="Store the weights in half precision: half of the bytes.")
@click.option("--overwrite", is_flag=True, help="Replace a distribution that was built before.")
@options.verbose
def build(source: str, out: str, name: str | None, version: str | None, half: bool, overwrite: bool) -> None:
    """Write a package of a model for pip to install: that of a training RUN, a FOLDER, a ZIP, or NAME.

    The package holds data and a record, no code: card, pipeline, weights; of a training the plan and command
    too. The model is checked first. Finish its card before: it is what others know of the model. What is a
    file or folder here is not looked for among the installed models.
    """
    from medseg.model import find_model
    from medseg.plugin.catalog import discover
    from medseg.run.build import Packing, build_model
    from medseg.training.again import model_and_training

    catalog = discover()
    path = Path(source) if os.path.lexists(source) else find_model(source, catalog).folder
    model, training = model_and_training(path, catalog)
    packing = Packing(name=name, version=version, half=half, training=training)
    built = build_model(model, Path(out), packing, overwrite=overwrite, catalog=catalog)
    distribution = built.distribution
    click.echo(f"{distribution.name} {distribution.version} is in {built.folder} ({_counted(built.model)})")
    click.echo(f"  licence       {distribution.licence}")
    count = sum(each.tensors for each in built.rounded)
    if count:
        error = max(each.error for each in built.rounded)
        click.echo(f"  rounded       tensors to half precision: {count}, by up to {error:.2g} of their size;")
        click.echo("                the card says so, and its evaluation is of the weights before")
    place = out if Path(out).is_absolute() else f"./{out}"  # a bare word would be a package of an index
    click.echo(f"  install it    pip install {shlex.quote(place)}")
    click.echo("  research use only, not for diagnosis")


@command.command("verify")
@click.argument("name", metavar="MODEL")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--precision",
    type=click.Choice(["bf16", "fp16"]),
    default="bf16",
    show_default=True,
    help="The precision to hold against fp32.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "openvino"]),
    default="auto",
    show_default=True,
    help="What computes the network, in both precisions.",
)
@options.device
@options.threads
@options.policy
@options.verbose
def verify(
    name: str,
    images: tuple[str, ...],
    precision: str,
    engine: str,
    device: str,
    threads: int | None,
    policy: Policy,
) -> None:
    """Segment each IMAGE in fp32 and in a lower precision, print the Dice, and record it in MODEL's card.

    Where a card records a Dice of 0.999 or more for every label, bf16 is taken by itself. A plugin's card is
    not changed: what to add to it is printed.
    """
    for image in images:
        require_existing(image)

    from medseg.model.card import ENOUGH_DICE
    from medseg.model.precision import may_record, record, written
    from medseg.prediction import Resources
    from medseg.run.verify import Agreement, verify_precision

    def tell(found: Agreement) -> None:
        for label, dice in found.dice.items():
            click.echo(f"{found.image}  {label:<24} {'absent' if dice is None else f'{dice:.6f}'}")

    resources = Resources(engine=engine, device=device, threads=threads)
    model, evidence = verify_precision(
        name, images, precision=precision, resources=resources, policy=policy, heard=tell
    )
    for label, dice in evidence.labels.items():
        click.echo(f"mean     {label:<24} {dice:.6f}")
    enough = min(evidence.labels.values()) >= ENOUGH_DICE
    taken = "taken by itself" if enough else "taken only when asked for"
    measured = f"Dice {evidence.dice_mean:.6f}, lowest {evidence.dice_lowest:.6f}"
    click.echo(
        f"{precision} by {evidence.engine}: {measured}; {taken}, as each label must have {ENOUGH_DICE}"
    )
    if may_record(model):
        click.echo(f"recorded in {record(model, evidence)}")
    else:
        click.echo("the card is a plugin's and is not changed; its maker may add:")
        click.echo(written([evidence]), nl=False)


def _counted(checked: Any) -> str:
    """How many files, of weights among them, and how large."""
    weights = {0: "no weights", 1: "1 of weights"}.get(checked.weights, f"{checked.weights} of weights")
    return f"{checked.files} files, {weights}, {_size(checked.size_bytes)}"


def _origin(entry: Any) -> str:
    """Who installed a model: a distribution, or the user and where."""
    return f"user, {entry.place}" if entry.place else f"{entry.distribution} {entry.version}"


def _as_json(model: Any) -> dict[str, Any]:
    """A model as plain data."""
    return {
        "name": model.name,
        "distribution": model.entry.distribution if model.entry else None,
        "folder": str(model.folder),
        "size_bytes": model.size_bytes,
        "pipeline_sha256": model.sha256,
        "card": model.card.model_dump() if model.card else None,
    }


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
