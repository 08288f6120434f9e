"""The alternative: an app of two lines on hydra-submitit-launcher, run in an environment of its own."""

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    """Two values."""

    learning_rate: float = 1e-4
    rank: int = 8


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")  # type: ignore[untyped-decorator, unused-ignore]
def main(config: Config) -> None:
    """What would train."""
    print(config)


if __name__ == "__main__":
    main()
