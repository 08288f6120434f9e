"""Rules between the cluster, the site and what is asked of Slurm."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule("container-image", reads=("site.container",), reason="a container needs an image")
def container_image(config: RunConfig) -> Iterator[Finding]:
    container = config.site.container
    if container.kind != "none" and not container.image:
        yield (
            "site.container.image",
            f"site.container.kind={container.kind} needs site.container.image=FILE_OR_NAME",
        )


@rule("local-nodes", reads=("cluster.kind", "cluster.nodes"), reason="this machine is one node")
def local_nodes(config: RunConfig) -> Iterator[Finding]:
    if config.cluster.kind == "local" and config.cluster.nodes != 1:
        yield (
            "cluster.nodes",
            f"cluster.nodes={config.cluster.nodes} with a local cluster: use cluster.nodes=1, or a Slurm cluster such "
            "as cluster=2x8xh100",
        )
