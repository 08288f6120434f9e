"""What exactly reaches TRL, transformers, PEFT and DeepSpeed, for GPUs too, where no test can run it."""

from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from trainer.failure import WorkerError

pytestmark = pytest.mark.train

GPU = {"name": "h100", "device": "cuda", "memory_gib": 80.0}


def config(**groups: Any) -> RunConfig:
    values: dict[str, Any] = {
        "model": {"id": "someone/model"},
        "gpu": GPU,
        "cluster": {"nodes": 2, "devices_per_node": 8},
        "batch": {"global": 64, "micro": 2},
        "method": {"epochs": 2.0},
        "parallel": {"strategy": "ddp"},
    }
    return derive(RunConfig.model_validate(values | groups))


def found(made: RunConfig, resume: bool = False) -> dict[str, Any]:
    from trainer.arguments import arguments

    return arguments(made, RunFolder("/runs/x"), sequences=6400, steps=500, evaluate=True, resume=resume)


def test_everything_for_ddp_on_gpus() -> None:
    assert found(config()) == {
        "output_dir": "/runs/x/checkpoints",
        "seed": 42,
        "use_cpu": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": 1024,
        "packing": False,
        "packing_strategy": "bfd",
        "padding_free": False,
        "pad_to_multiple_of": None,
        "shuffle_dataset": False,
        "completion_only_loss": False,
        "assistant_only_loss": False,
        "accelerator_config": {"split_batches": False, "dispatch_batches": False, "even_batches": True},
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": True,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 500,
        "average_tokens_across_devices": True,
        "loss_type": "nll",
        "neftune_noise_alpha": None,
        "learning_rate": 2e-4,
        "max_grad_norm": 1.0,
        "bf16": True,
        "fp16": False,
        "tf32": None,
        "use_liger_kernel": False,
        "torch_compile": False,
        "use_cache": False,
        "activation_checkpointing": True,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps",
        "eval_steps": 500,
        "eval_on_start": True,
        "save_strategy": "steps",
        "save_steps": 100,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "trust_remote_code": False,
    }


def test_fsdp2_on_gpus() -> None:
    made = found(config(parallel={"strategy": "fsdp2"}))
    assert made["fsdp"] is True
    assert made["fsdp_config"] == {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "SHARDED_STATE_DICT",
        "cpu_ram_efficient_loading": True,
        "activation_checkpointing": False,
    }
    quantised = found(config(parallel={"strategy": "fsdp2"}, adapter={"bits": 4}))
    assert quantised["fsdp_config"]["cpu_ram_efficient_loading"] is False
    saving = found(config(parallel={"strategy": "fsdp2", "offload": "parameters", "reshard": False}))["fsdp_config"]
    assert (saving["cpu_offload"], saving["reshard_after_forward"]) == (True, False)


def test_there_is_nothing_to_offload_from_without_a_gpu() -> None:
    made = config(parallel={"strategy": "fsdp2", "offload": "parameters"}, gpu={"device": "cpu"})
    with pytest.raises(WorkerError, match=r"there is no GPU: use parallel.offload=none"):
        found(made)


@pytest.mark.parametrize(("strategy", "reentrant"), [("zero1", False), ("zero2", False), ("zero3", True)])
def test_zero_on_gpus(strategy: str, reentrant: bool) -> None:
    made = found(config(parallel={"strategy": strategy}, method={"max_grad_norm": 0.5}))
    zero = {"stage": int(strategy[-1]), "overlap_comm": True, "contiguous_gradients": True}
    assert made["deepspeed"] == {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.5,
        "bf16": {"enabled": True},
        "fp16": {"enabled": False},
        "zero_optimization": zero | ({"stage3_gather_16bit_weights_on_model_save": True} if reentrant else {}),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    assert made["activation_checkpointing_kwargs"] == {"use_reentrant": reentrant}


def test_what_deepspeed_keeps_in_host_memory() -> None:
    host = {"device": "cpu", "pin_memory": True}
    states = found(config(parallel={"strategy": "zero1", "offload": "optimizer"}))["deepspeed"]["zero_optimization"]
    assert states["offload_optimizer"] == host and "offload_param" not in states
    both = found(config(parallel={"strategy": "zero3", "offload": "parameters"}))["deepspeed"]["zero_optimization"]
    assert (both["offload_optimizer"], both["offload_param"]) == (host, host)


def test_number_formats_and_kernels() -> None:
    half = config(precision={"compute": "fp16", "tf32": True}, parallel={"strategy": "zero2"})
    made = found(half)
    assert (made["fp16"], made["bf16"], made["tf32"]) == (True, False, True)
    assert (made["deepspeed"]["fp16"], made["deepspeed"]["bf16"]) == ({"enabled": True}, {"enabled": False})
    assert found(config(precision={"tf32": True}, gpu={"device": "cpu"}))["tf32"] is None
    method = {"liger": True, "compile": True, "loss": "dft", "neftune_alpha": 5.0, "max_grad_norm": 0.0}
    made = found(config(method=method))
    assert (made["use_liger_kernel"], made["torch_compile"]) == (True, True)
    assert (made["loss_type"], made["neftune_noise_alpha"], made["max_grad_norm"]) == ("dft", 5.0, 0.0)


def test_what_is_not_installed_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.arguments import check

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        WorkerError, match=r"method.liger=true needs the package liger-kernel.*pip install liger-kernel"
    ):
        check(config(method={"liger": True}))


def test_steps_and_intervals() -> None:
    made = found(
        config(
            method={"max_steps": 500},
            checkpoint={"interval": None},
            evaluation={"interval": 50},
            batch={"global": 64, "micro": 2, "evaluation": 8},
        ),
        resume=True,
    )
    assert (made["save_steps"], made["eval_steps"], made["eval_on_start"]) == (500, 50, False)
    assert made["per_device_eval_batch_size"] == 8
    # 6400 sequences are 100 steps.
    made = found(config(checkpoint={"per_epoch": 3.0}, evaluation={"interval": 7, "per_epoch": 0.5}))
    assert (made["save_steps"], made["eval_steps"]) == (33, 200)
    assert found(config(checkpoint={"per_epoch": 1000.0}))["save_steps"] == 1


def test_an_argument_that_trl_does_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import arguments

    class Older:
        def __init__(self, output_dir: str) -> None: ...

    monkeypatch.setattr(arguments, "SFTConfig", Older)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        found(config())


def test_weights_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trainer import model

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "flash_attn" else None)
    assert model.load_arguments(config()) == {
        "dtype": torch.bfloat16,
        "attn_implementation": "flash_attention_2",
        "trust_remote_code": False,
        "use_safetensors": True,
        "local_files_only": True,
    }
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert model.load_arguments(config())["attn_implementation"] is None
    full = {"kind": "full"}
    assert model.resting_dtype(config(adapter=full)) == torch.float32
    assert model.resting_dtype(config(adapter=full, parallel={"strategy": "zero3"})) == torch.bfloat16
    assert model.resting_dtype(config(adapter=full, precision={"weights": "bf16"})) == torch.bfloat16
    assert model.resting_dtype(config(adapter={"kind": "freeze", "last_layers": 1})) == torch.bfloat16
    assert model.resting_dtype(config(precision={"compute": "fp16"})) == torch.float16
    pickle = {"id": "someone/model", "allow_pickle": True, "trust_remote_code": True, "attention": "eager"}
    for chosen in ("flash_attention_3", "flex_attention"):
        asked = model.load_arguments(config(model={"id": "someone/model", "attention": chosen}))
        assert asked["attn_implementation"] == chosen
    loose = model.load_arguments(config(model=pickle))
    assert (loose["use_safetensors"], loose["trust_remote_code"], loose["attn_implementation"]) == (None, True, "eager")


@pytest.mark.parametrize(("softcap", "kernel"), [(50.0, "eager"), (None, "sdpa")])
def test_attention_that_nobody_chose_is_one_that_the_model_has(
    tmp_path: Path, softcap: float | None, kernel: str
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from trainer import model

    family = "llama" if softcap is None else "gemma2"
    shape = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 4,
             "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape)).save_pretrained(tmp_path)
    made = config(model={"id": str(tmp_path), "source": "folder"}, gpu={"device": "cpu"})
    assert made.model.architecture is not None and made.model.architecture.attn_logit_softcapping == softcap
    assert model.load_model(tmp_path, made).config._attn_implementation == kernel


def test_qlora_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trainer import model

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    made = model.load_arguments(config(adapter={"bits": 4}))
    assert made["device_map"] == {"": 3}
    four = made["quantization_config"]
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert (four.bnb_4bit_compute_dtype, four.bnb_4bit_quant_storage) == (torch.bfloat16, torch.uint8)
    sharded = model.load_arguments(config(adapter={"bits": 4}, parallel={"strategy": "fsdp2"}))
    assert sharded["quantization_config"].bnb_4bit_quant_storage == torch.bfloat16
    assert "device_map" not in sharded
    assert model.quantisation(config(adapter={"bits": 8})).load_in_8bit is True
    other = model.quantisation(config(adapter={"bits": 4, "quant_type": "fp4", "double_quant": False}))
    assert (other.bnb_4bit_quant_type, other.bnb_4bit_use_double_quant) == ("fp4", False)


def test_the_environment_says_who_reads_the_weights_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from trainer import parallel

    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR", "ACCELERATE_USE_FSDP", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOCAL_RANK", "0")
    parallel.prepare_environment(config(parallel={"strategy": "fsdp2"}), world=16)
    assert os.environ["ACCELERATE_USE_FSDP"] == "true" and "CUDA_VISIBLE_DEVICES" not in os.environ
    parallel.prepare_environment(config(gpu={"device": "cpu"}, cluster={"cpu_threads": 3}), world=1)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["DS_ACCELERATOR"]) == ("", "cpu")
    assert "LOCAL_RANK" not in os.environ


def test_steps_are_passes_over_sequences() -> None:
    from trainer.arguments import total_steps

    batch = {"global": 64, "micro": 2}
    assert total_steps(config(method={"epochs": 1.0}, batch=batch), 64) == 1
    assert total_steps(config(method={"epochs": 1.0}, batch=batch), 65) == 2
    assert total_steps(config(method={"epochs": 2.5}, batch=batch), 1000) == 40
    assert total_steps(config(method={"epochs": 0.01}, batch=batch), 10) == 1
    assert total_steps(config(method={"max_steps": 7}, batch=batch), 10**6) == 7


def test_passes_over_the_rows_have_no_gap() -> None:
    from trainer.order import Order

    order = list(Order(rows=10, length=25, seed=1))
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20] and len(order) == len(Order(10, 25, 1)) == 25
    assert order == list(Order(10, 25, 1)) and order != list(Order(10, 25, 2))
    assert list(Order(10, 40, 1))[:25] == order
