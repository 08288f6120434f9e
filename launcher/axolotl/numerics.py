"""Keys of how the numbers are computed: precision, attention kernels, memory. Few of them change a result."""

from launcher.axolotl.sheet import Sheet, is_off, shown

_KERNEL = "the same mathematics by another kernel"
_MEMORY = "memory and speed alone"
SAME = {
    "flash_attn_cross_entropy": _KERNEL,
    "flash_attn_rms_norm": _KERNEL,
    "flash_attn_fuse_qkv": _KERNEL,
    "flash_attn_fuse_mlp": _KERNEL,
    "flash_optimum": _KERNEL,
    "flash_attn_d512": _KERNEL,
    "large_head_attention": _KERNEL,
    "sdpa_varlen": _KERNEL,
    "fused_attn_kernel": _KERNEL,
    "gemma4_hybrid_attn_impl": _KERNEL,
    "flex_attn_compile_kwargs": _KERNEL,
    "lora_mlp_kernel": _KERNEL,
    "lora_qkv_kernel": _KERNEL,
    "lora_o_kernel": _KERNEL,
    "lora_embedding_kernel": _KERNEL,
    "unsloth_cross_entropy_loss": _KERNEL,
    "unsloth_lora_mlp": _KERNEL,
    "unsloth_lora_qkv": _KERNEL,
    "unsloth_lora_o": _KERNEL,
    "unsloth_rms_norm": _KERNEL,
    "unsloth_rope": _KERNEL,
    "cut_cross_entropy": "the same loss with less memory",
    "use_scattermoe": _KERNEL,
    "use_sonicmoe": _KERNEL,
    "expert_backend": _KERNEL,
    "moe_grouped_backend": _KERNEL,
    "moe_kernels": _KERNEL,
    "moe_kernel_backend": _KERNEL,
    "moe_bnb_fast": _KERNEL,
    "moe_dequant_chunk_size": _KERNEL,
    "experts_implementation": _KERNEL,
    "llama4_linearized_experts": _KERNEL,
    "tiled_mlp": _MEMORY,
    "tiled_mlp_num_shards": _MEMORY,
    "tiled_mlp_use_original_mlp": _MEMORY,
    "long_sequence_alst": _MEMORY,
    "gradient_checkpointing_kwargs": "how activations are computed anew changes no result",
    "selective_checkpointing": "which activations are computed anew changes no result",
    "activation_offloading": _MEMORY,
    "layer_offloading": _MEMORY,
    "torch_empty_cache_steps": _MEMORY,
    "gc_collect_steps": _MEMORY,
    "gc_steps": _MEMORY,
    "torch_compile_backend": "torch's own is taken",
    "torch_compile_mode": "torch's own is taken",
    "torch_compile_options": "torch's own are taken",
    "torch_compile_kwargs": "torch's own are taken",
    "fp32_norms": "norms are computed in fp32",
    "fp32_norm_classes": "norms are computed in fp32",
    "optimize_memory_usage": _MEMORY,
}
LIGER = (
    "liger_rope", "liger_rms_norm", "liger_rms_norm_gated", "liger_layer_norm", "liger_swiglu", "liger_glu_activation",
    "liger_cross_entropy", "liger_fused_linear_cross_entropy",
)  # fmt: skip
REFUSED = {
    "s2_attention": "shifted sparse attention there is not",
    "landmark_attention": "landmark attention there is not",
    "fp8": "training in fp8 there is not",
    "qat": "training for a later quantisation there is not",
    "quantization": "weights are not quantised after training",
    "scaling_softmax": "scaled softmax attention there is not",
    "sage_attention": "attention with 8-bit products (Sage) computes other numbers, and there is not",
    "liger_use_token_scaling": "this scaling of the loss there is not",
}
DEAD = {
    "fp8_config": "of fp8 alone",
    "fp8_enable_fsdp_float8_all_gather": "of fp8 alone",
    "scaling_softmax_factor": "of scaling_softmax alone",
    "scaling_softmax_bias": "of scaling_softmax alone",
    "landmark_attention_mem_freq": "of landmark_attention alone",
    "liger_kernel_impl": _KERNEL,
}
_ATTENTION = {
    "flash_attention_2": "auto",
    "flash_attention_3": "flash_attention_3",
    "flash_attention_4": "auto",
    "flash_attention_torch": "auto",
    "flash": "auto",
    "kernels-community/flash-attn2": "auto",
    "kernels-community/flash-attn3": "flash_attention_3",
    "kernels-community/vllm-flash-attn3": "flash_attention_3",
    "flex_attention": "flex_attention",
    "flex": "flex_attention",
    "xformers": "auto",
    "sdpa": "sdpa",
    "sdp": "sdpa",
    "eager": "eager",
}
_FLAGS = {
    "xformers_attention": "xformers",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
"""Old flags, in the order in which Axolotl gives way to them."""


def take(sheet: Sheet, kind: str) -> None:
    """Take the keys of the computation. `kind` is the adapter's kind; keys of the layout were taken before."""
    for key, why in (SAME | DEAD).items():
        sheet.same(key, why)
    for key, why in REFUSED.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        else:
            sheet.refuse(key, why)
    _precision(sheet, kind)
    _attention(sheet)
    checkpointing = sheet.raw("gradient_checkpointing")
    if str(checkpointing).lower() in ("offload", "offload_disk", "unsloth", "disk"):
        why = "activations are computed anew; they rest in the device's memory"
        sheet.put("gradient_checkpointing", "method.gradient_checkpointing", True, why)
    elif (on := sheet.flag("gradient_checkpointing")) is not None:
        sheet.put("gradient_checkpointing", "method.gradient_checkpointing", on)
    compiled = True if sheet.raw("torch_compile") == "auto" else sheet.flag("torch_compile")
    if compiled is not None:
        sheet.put("torch_compile", "method.compile", compiled)
    fused = [sheet.flag(key) for key in LIGER]
    if any(fused):
        sheet.set("method.liger", True)
    for key, on in zip(LIGER, fused, strict=True):
        if on:
            sheet.mapped(key, "method.liger", "all of them are taken that the model has")
        else:
            sheet.same(key, _KERNEL)


def _precision(sheet: Sheet, kind: str) -> None:
    """bf16, fp16 and their kin. bf16: auto is Axolotl's default, and stands behind fp16."""
    told = {key: sheet.raw(key) for key in ("bf16", "bfloat16", "fp16", "float16", "float32", "tf32")}
    bf16 = (
        True
        if str(told["bf16"]).lower() == "full"
        else "auto"
        if told["bf16"] in ("auto", None)
        else sheet.flag("bf16")
    )
    pure16, fp16, half = sheet.flag("bfloat16"), sheet.flag("fp16"), sheet.flag("float16")
    missing = told["bf16"] is None
    if bf16 is True or pure16:
        compute = "bf16"
    elif fp16 or half:
        compute = "fp16"
    elif bf16 == "auto" and not (missing and sheet.flag("float32")):
        compute = "auto"
    else:
        compute = "fp32"
    sheet.set("precision.compute", compute)
    for key in ("bf16", "bfloat16", "fp16", "float16", "float32"):
        sheet.mapped(key, "precision.compute")
    weights, why = "auto", ""
    if kind != "lora":
        # One copy a worker: the weights themselves are bf16. DeepSpeed and FSDP keep fp32 copies beside them.
        sharded = str(sheet.fields.get("parallel.strategy", "auto")) not in ("auto", "ddp")
        weights = "fp32" if sharded or compute not in ("bf16", "auto") else "bf16"
        why = "Axolotl keeps trained weights in bf16 where they are not sharded; precision.weights=fp32 is more exact"
    sheet.set("precision.weights", weights)
    if weights == "bf16":
        sheet.mapped("bf16", "precision.compute, precision.weights", why)
    tf32 = True if told["tf32"] == "auto" else sheet.flag("tf32")
    if tf32 is not None:
        sheet.put("tf32", "precision.tf32", tf32)


def _attention(sheet: Sheet) -> None:
    name = sheet.text("attn_implementation")
    found = None
    if name is not None:
        found = _ATTENTION.get(name.split("@")[0].split(":")[0])
        if found is None and name in ("sage", "fp8"):
            sheet.refuse("attn_implementation", f"attention by {name} computes other numbers, and there is not")
        elif found is None and "flash" in name:
            found = "auto"
        elif found is None:
            sheet.refuse("attn_implementation", f"attention by {shown(name)} there is not: {', '.join(_ATTENTION)}")
        if found is not None:
            sheet.mapped("attn_implementation", "model.attention")
    for key, kind in _FLAGS.items():
        on = sheet.flag(key)
        if on and found is None:
            found = _ATTENTION[kind]
            why = "flash where it is installed, else sdpa: the same numbers" if found == "auto" else ""
            sheet.mapped(key, "model.attention", why)
        elif on is not None:
            sheet.same(key, "another kernel is chosen" if on else "switched off")
    if found is not None:
        sheet.set("model.attention", found)
