"""What a run leaves: its adapter or model, whole, in the layout that PEFT and Transformers read."""

import shutil
from pathlib import Path
from typing import Any

from trainer import checkpoint, optimizers
from trainer.saving import wait_for_all


def save(trainer: Any, final: Path) -> None:
    """Write the adapter (PEFT layout) or the model (Transformers layout) of a trainer (RunTrainer) with the tokenizer,
    or nothing. All ranks."""
    partial = final.with_name(f".partial-{final.name}")
    if trainer.args.should_save:
        shutil.rmtree(partial, ignore_errors=True)
    wait_for_all()
    with optimizers.averaged(trainer.optimizer, trainer.model):
        _write(trainer, partial)
    wait_for_all()
    if trainer.args.should_save:
        # A pickle of paths and options, of no use to anybody.
        (partial / "training_args.bin").unlink(missing_ok=True)
        trainer.tuned.finish(partial)
        checkpoint.replace_folder(partial, final)
    wait_for_all()


def _write(trainer: Any, partial: Path) -> None:
    if trainer.is_fsdp_enabled:
        trainer._save(str(partial), state_dict=_gathered(trainer))
    elif trainer.run.parallel.strategy == "zero3":
        trainer.save_model(str(partial), _internal_call=True)
    else:
        trainer._save(str(partial))


def _gathered(trainer: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    peft = trainer.run.adapter.is_peft
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=peft)
    state: dict[str, Any] = get_model_state_dict(trainer.model, options=options)
    # Gathered one by one, tied weights are no longer seen to be one.
    tied = {} if peft else trainer.model.all_tied_weights_keys
    return {name: tensor for name, tensor in state.items() if name not in tied}
