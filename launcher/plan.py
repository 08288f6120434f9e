"""The verb `plan`, and the plan itself: what a run will be, worked out from its config alone. Needs no Slurm."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conf.folder import RunFolder
from conf.schema.adapter import AdapterConfig
from conf.schema.cluster import GpuConfig
from conf.schema.problems import Problem
from conf.schema.run import RunConfig
from conf.schema.trainable import initial_rank, trainable_count
from launcher import argv, report
from launcher.going_on import IN_WORDS, goes_on
from launcher.resolve import Resolved, resolve
from launcher.site import recall
from launcher.slurm.facts import SiteFacts
from launcher.slurm.flags import flags
from launcher.slurm.script import command, render

NOT_ESTIMATED = Problem(
    "plan", "memory and time are not estimated yet: whether the run fits its devices shows when it starts",
    rule="not-estimated", warning=True,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher plan OVERRIDES [--json]`. Gives the exit code."""
    line = argv.single(argv.parse(arguments))
    resolved = resolve(line.overrides, line.config_dir)
    plan = make_plan(resolved, recall())
    if line.json:
        report.document(plan)
    else:
        show(resolved, plan)
    return 0


def make_plan(resolved: Resolved, facts: SiteFacts | None) -> dict[str, Any]:
    """The plan as plan.json has it. Outside `site` it is the same for the same command, wherever that is typed.

    `facts`: what is known of the site, None where nothing is."""
    config, folder = resolved.config, resolved.folder
    return {
        "run_id": folder.id,
        "identity_digest": resolved.digest,
        "world_size": config.world_size,
        "batch": config.batch.model_dump(by_alias=True, exclude={"evaluation"}),
        "parallel": config.parallel.strategy,
        "sizes": {"parameters": config.model.parameters, "trainable_parameters": trainable_parameters(config)},
        "memory": {"peak_gib": None, "parts": {}},
        "time": {"hours": None, "gpu_hours": None},
        "script": render(config, folder) if config.cluster.kind == "slurm" else None,
        "warnings": report.records([*resolved.warnings, NOT_ESTIMATED]),
        "site": site_request(config, folder, facts),
    }


def site_request(config: RunConfig, folder: RunFolder, facts: SiteFacts | None) -> dict[str, Any]:
    """What is asked of the site: the cluster, and for a batch job every flag and the command line of sbatch."""
    cluster = config.cluster
    asked: dict[str, Any] = {"name": config.site.name, "kind": cluster.kind, "nodes": cluster.nodes}
    asked |= {"devices_per_node": cluster.devices_per_node, "device": config.gpu.name}
    if cluster.kind == "slurm":
        history = facts.history if facts is not None else None
        asked |= {"goes_on": goes_on(config, facts), "history": asdict(history) if history is not None else None}
        asked |= {"time": cluster.time, "partition": config.site.partition, "account": config.site.account}
        asked |= {"flags": flags(config, folder.id), "command": command(config, folder)}
    return asked


def trainable_parameters(config: RunConfig) -> int | None:
    """Parameters that are trained; None where the architecture is not known or a target cannot be placed in it."""
    adapter, shape = config.adapter, config.model.architecture
    if adapter.kind == "full":
        return config.model.parameters
    return None if shape is None else trainable_count(shape, adapter)


def show(resolved: Resolved, plan: dict[str, Any]) -> None:
    """Print a plan for people, on stdout."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table.grid(padding=(0, 3))
    for title, text in _rows(resolved, plan):
        table.add_row(Text(title, style="bold"), Text(report.one_line(text)))
    console.print(table)
    if plan["script"]:
        console.print(Text("\nthe batch script, as sbatch gets it", style="bold"))
        print(report.inert(plan["script"]), end="")
    print()
    report.print_warnings([*resolved.warnings, NOT_ESTIMATED])


def _rows(resolved: Resolved, plan: dict[str, Any]) -> list[tuple[str, str]]:
    config = resolved.config
    model, adapter, data, method, batch = config.model, config.adapter, config.data, config.method, config.batch
    length = f"{method.max_steps} steps" if method.max_steps else f"{method.epochs:g} epochs"
    where = f"{config.cluster.nodes} nodes x " if config.cluster.nodes > 1 else ""
    limit = f"limit {config.cluster.time}; " if config.cluster.kind == "slurm" else ""
    return [
        ("run", plan["run_id"]),
        ("folder", str(resolved.folder.path)),
        ("model", f"{model.id}: {_size(plan['sizes'])}"),
        ("licence", (model.licence or "see the model's page") + (", a token of the hub is needed" * model.gated)),
        ("adapter", _adapter(adapter)),
        ("data", f"{data.name}, up to {data.max_length} tokens{', packed' if data.packing else ''}"),
        ("method", f"{method.name}, {length}, learning rate {method.learning_rate:g}"),
        ("device", _device(config.gpu)),
        ("workers", f"{where}{config.cluster.devices_per_node} = {plan['world_size']}, {plan['parallel']}, "
                    f"{config.precision.compute}"),
        ("batch", f"{batch.global_} = {batch.micro} micro x {batch.accumulation} accumulation x {plan['world_size']}"),
        ("memory", "not estimated"),
        ("time", limit + "not estimated"),
        *([("goes on", IN_WORDS[plan["site"]["goes_on"]])] if config.cluster.kind == "slurm" else []),
    ]  # fmt: skip


def _adapter(adapter: AdapterConfig) -> str:
    """What is trained, in a line."""
    if adapter.kind == "full":
        return adapter.name
    if adapter.kind == "freeze":
        what = [f"the last {adapter.last_layers} layers"] if adapter.last_layers else []
        return f"{adapter.name}: {', '.join(what + adapter.unfrozen)}"
    rank = f" r={adapter.r}"
    if adapter.kind == "adalora":
        rank = f" r={initial_rank(adapter)} to {adapter.r} alpha={adapter.alpha:g}"
    elif adapter.kind == "lora":
        rank += f" alpha={adapter.alpha:g}"
    layers = "" if adapter.layers is None else f" of layers {', '.join(map(str, adapter.layers))}"
    targets = ", ".join([*(adapter.targets or []), *adapter.target_parameters])
    return f"{adapter.name}{'' if adapter.kind == 'ia3' else rank} on {targets}{layers}"


def _size(sizes: dict[str, Any]) -> str:
    total, trained = sizes["parameters"], sizes["trainable_parameters"]
    if not total:
        return "size unknown"
    return f"{report.human(total)} parameters" + (
        f", {report.human(trained)} trained ({trained / total:.2%})" if trained else ""
    )


def _device(gpu: GpuConfig) -> str:
    facts = ((gpu.memory_gib, "GiB"), (gpu.bf16_tflops, "Tflop/s in bf16"), (gpu.bandwidth_gb_s, "GB/s"))
    known = ", ".join(f"{value:g} {unit}" for value, unit in facts if value is not None)
    return (gpu.type or gpu.device) + (f": {known}" if known else "")
