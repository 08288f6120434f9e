"""How finding a model can fail."""

from collections.abc import Sequence

from trainer.errors import PreparationError


class SourceUnavailable(Exception):
    """One source cannot give the model; another may. `reason` is a clause that fits behind a colon."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ModelUnavailable(PreparationError):
    """No source gives the model. `tried` holds each source with its reason."""

    exit_code = 5

    def __init__(self, model: str, tried: Sequence[tuple[str, str]]) -> None:
        self.tried = list(tried)
        lines = "".join(f"\n  {source}: {reason}" for source, reason in tried)
        super().__init__(f"model {model} cannot be had from any source:{lines}")


class PickleRefused(PreparationError):
    """Weights are there, but pickled, and loading a pickle runs whatever code is in it."""

    def __init__(self, place: str, file: str) -> None:
        super().__init__(
            f"{place} holds no safetensors, only pickled weights ({file}), and loading a pickle can run any code: "
            "if you trust it, add model.allow_pickle=true"
        )
