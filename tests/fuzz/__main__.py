"""`python -m tests.fuzz --inputs N --seed S [--target NAME]`: exit 1 when an input fails."""

from __future__ import annotations

import sys

import click

from .runner import Result, run
from .targets import TARGETS

SHOWN = 2_000  # characters


@click.command()
@click.option("--inputs", default=10_000, show_default=True, help="Inputs for each target.")
@click.option("--seed", default=1, show_default=True)
@click.option("--target", "names", multiple=True, type=click.Choice([target.name for target in TARGETS]))
@click.option("--at", default=0, help="Number of the first input.")
@click.option("--failures", default=1, show_default=True, help="End a target after so many failures.")
def main(inputs: int, seed: int, names: tuple[str, ...], at: int, failures: int) -> None:
    """Fuzz what reads foreign bytes."""
    failed = False
    for target in TARGETS:
        if names and target.name not in names:
            continue
        result = run(target, inputs, seed, at, failures)
        click.echo(line(result))
        for failure in result.failures:
            failed = True
            click.echo(
                f"  failed: --target {failure.target} --seed {failure.seed} --at {failure.number} --inputs 1"
            )
            click.echo(f"  why:    {failure.why}")
            shown = repr(failure.small)
            click.echo(f"  input:  {shown if len(shown) < SHOWN else shown[:SHOWN] + ' ...'}")
    sys.exit(failed)


def line(result: Result) -> str:
    """One line of figures."""
    return (
        f"{result.target:12} {result.inputs:9,} inputs {result.seconds:7.1f} s, slowest "
        f"{result.slowest * 1000:6.2f} ms (--at {result.slowest_number}), peak {result.peak / 2**20:5.1f} MB, "
        f"resident +{result.grown / 2**20:.1f} MB"
    )


if __name__ == "__main__":
    main()
