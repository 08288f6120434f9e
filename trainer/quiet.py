"""What libraries say that means nothing to the person who reads a run's log; each with its reason."""

import logging
import warnings


def quieten() -> None:
    """Call before the training stack is imported."""
    # It looks for a faster kernel on the hub, which is not asked.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Trainer counts accumulation itself and tells accelerate of none, DeepSpeed of all: they differ, as they should.
    logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
    # It warns of intervals that a resumed run has changed; ours are the new ones.
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
    # Old names: PEFT 0.21 of transformers 5.23, DeepSpeed 0.19.8 of torch 2.13.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    warnings.filterwarnings("ignore", message="`torch.distributed.* is deprecated", category=FutureWarning)


def no_progress_bars() -> None:
    """A log is no terminal. Imports transformers."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
