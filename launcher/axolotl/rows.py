"""Keys of the data: the sets of rows, what is held out, lengths, packing, order, and what is learnt."""

import re
from typing import Any

from launcher.axolotl import formats, places, templates
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, is_off, shown

_STORE = "prepared data lies in the store, found by its contents"
_OWN_PACKING = "how rows are put together is the packing's own matter; attention stays within each row"
_LOADING = "how rows are brought to a device is the trainer's own matter"
SAME = {
    "dataset_prepared_path": _STORE,
    "dataset_processes": _LOADING,
    "dataset_num_proc": _LOADING,
    "dataset_keep_in_memory": _LOADING,
    "num_dataset_shards_to_save": _STORE,
    "shuffle_merged_datasets": "data.order says how rows are ordered in training",
    "shuffle_before_merging_datasets": "data.order says how rows are ordered in training",
    "dataloader_pin_memory": _LOADING,
    "dataloader_num_workers": _LOADING,
    "dataloader_prefetch_factor": _LOADING,
    "dataloader_drop_last": "a last batch that is not full is no step of its own",
    "accelerator_config": _LOADING,
    "remove_unused_columns": _LOADING,
    "total_num_tokens": "it is counted",
    "total_supervised_tokens": "it is counted",
    "sample_packing_eff_est": "it is counted",
    "sample_packing_group_size": _OWN_PACKING,
    "sample_packing_bin_size": _OWN_PACKING,
    "sample_packing_sequentially": _OWN_PACKING,
    "sample_packing_seq_len_multiplier": _OWN_PACKING,
    "sample_packing_mp_start_method": _OWN_PACKING,
    "eval_sample_packing": "held-out rows are measured the same, packed or not",
    "multipack_real_batches": _OWN_PACKING,
    "batch_flattening": "it saves padding alone",
    "pad_to_sequence_len": "padding is not learnt and changes no result",
    "pad_to_multiple_of": "padding is not learnt and changes no result",
    "pretrain_multipack_buffer_size": _OWN_PACKING,
    "streaming_multipack_buffer_size": _OWN_PACKING,
    "pretrain_multipack_attn": _OWN_PACKING,
    "pretraining_sample_concatenation": "documents are put one after the other with data.packing",
    "max_prompt_len": "of preference methods alone",
    "preprocess_iterable": _LOADING,
    "is_preprocess": _LOADING,
}
REFUSED = {
    "dataset_shard_num": "a part of all rows together cannot be taken: take it of each set, with shards and shards_idx",
    "skip_prepare_dataset": "rows are always prepared: they must be text",
    "use_pose": "positions are not skipped (PoSE) to stretch a context",
}
_ROLES = ("system", "user", "assistant", "tool")
_SHORTEST = 2
"""Tokens below which Axolotl leaves a row out by itself."""
DEAD = {
    "dataset_shard_idx": "without dataset_shard_num it has no effect",
    "pose_split_on_token_ids": "of use_pose alone",
    "pose_max_context_len": "of use_pose alone",
    "pose_num_chunks": "of use_pose alone",
}


def take(sheet: Sheet, weights: Weights | None) -> None:
    """Take the keys of the data."""
    for key, why in (SAME | DEAD).items():
        sheet.same(key, why)
    for key, why in REFUSED.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        else:
            sheet.refuse(key, why)
    shortest = sheet.whole("min_sample_len")
    if shortest is not None and shortest > _SHORTEST:
        sheet.refuse("min_sample_len", "rows are not left out for being short: leave them out of the files")
    else:
        sheet.same("min_sample_len", "rows with nothing to learn are left out")
    text_alone, has_text = _sets(sheet, weights)
    _held_out(sheet, weights)
    _lengths(sheet, has_text)
    _order(sheet)
    if sheet.choices["method"] != "pretrain":
        everything = bool(sheet.flag("train_on_inputs")) and not sheet.known("train_on_inputs")
        sheet.set("data.learn", "all" if text_alone or everything else "answers")
    if sheet.flag("train_on_inputs") is not None and not sheet.known("train_on_inputs"):
        sheet.mapped("train_on_inputs", "data.learn")
    sheet.set("data.deduplicate", bool(sheet.flag("dataset_exact_deduplication")))
    if sheet.flag("dataset_exact_deduplication") is not None:
        sheet.mapped("dataset_exact_deduplication", "data.deduplicate")
    if sheet.raw("default_system_message") is not None and not sheet.known("default_system_message"):
        sheet.same("default_system_message", "no dataset's type uses it")


def _sets(sheet: Sheet, weights: Weights | None) -> tuple[bool, bool]:
    """The training rows. Whether all of them are plain text, and whether some are."""
    pretraining = sheet.raw("pretraining_dataset") is not None
    key = "pretraining_dataset" if pretraining else "datasets"
    if pretraining:
        sheet.same("datasets", "Axolotl reads pretraining_dataset alone where both are given")
    found = _read(sheet, key, weights, pretraining)
    sheet.choices["method"] = "pretrain" if pretraining else "sft"
    sheet.set("method.objective", "pretrain" if pretraining else "sft")
    streaming = pretraining or bool(sheet.flag("streaming"))
    if sheet.flag("streaming") is not None:
        sheet.mapped("streaming", "data.streaming")
    sheet.set("data.streaming", streaming)
    if streaming and sheet.raw("max_steps") is None:
        where = key if pretraining else "streaming"
        sheet.refuse(where, "rows that are read as they come need max_steps: Axolotl refuses it too")
    if not found:
        if sheet.raw(key) is None:
            sheet.places.setdefault(key, None)
            sheet.refuse(key, "no rows are named: Axolotl needs datasets, or pretraining_dataset")
        sheet.choices["data"] = "file"
        return pretraining, pretraining
    if sheet.flag("train_on_inputs") and all(rows["format"] == "chat" and "system" not in rows for rows in found):
        # Axolotl learns the messages of all roles then, but not what the template writes around them.
        for rows in found:
            rows["learn_roles"] = list(_ROLES)
        sheet.mapped("train_on_inputs", "data.learn_roles", "the messages of every role; not what stands around them")
    sheet.set("data.name", _name(found[0]["path"]))
    if len(found) == 1:
        sheet.choices["data"] = found[0]["source"]
        for field, value in found[0].items():
            sheet.set(f"data.{field}", value)
    else:
        sheet.choices["data"] = "sets"
        sheet.set("data.source", "sets")
        sheet.set("data.sets", found)
    if any(rows["format"] == "chat" and "chat_template" not in rows for rows in found):
        sheet.fields.setdefault("model.chat_template", templates.TOKENIZER)
    texts = [rows["format"] == "text" for rows in found]
    return all(texts), any(texts)


def _read(sheet: Sheet, key: str, weights: Weights | None, pretraining: bool = False) -> list[dict[str, Any]]:
    """Every set of a list of datasets, in the words of data.sets; an unreadable one is left out, the sheet says why."""
    value = sheet.raw(key)
    if isinstance(value, str):
        if pretraining:
            source = "file" if places.is_file(value, None, False, sheet.source.folder) else "hub"
            sheet.mapped(key, "data.source, data.path, data.streaming, method=pretrain")
            return [{"source": source, "path": value, "format": "text"}]
        sheet.refuse(key, f"{shown(value)} must be a list, as `- path: rows.jsonl` and under it `type: alpaca`")
        return []
    if isinstance(value, dict):
        prefixes = [key]
    elif isinstance(value, list):
        prefixes = [f"{key}[{position}]" for position in range(len(value))]
    else:
        if value is not None:
            sheet.refuse(key, f"{shown(value)} must be a list of datasets: Axolotl refuses it too")
        return []
    found = []
    for prefix in prefixes:
        if not isinstance(sheet.places.get(prefix), dict):
            sheet.refuse(
                prefix if prefix in sheet.places else key,
                "a dataset is a mapping, as `path: rows.jsonl` and `type: alpaca`",
            )
            continue
        if pretraining and sheet.places.get(f"{prefix}.type") in (None, "", "pretrain"):
            rows: dict[str, Any] | None = formats.plain_text(sheet, prefix)
        else:
            rows = formats.take(sheet, prefix, weights)
        place = places.take(sheet, prefix, "data" if len(prefixes) == 1 else "data.sets")
        if rows is not None and place is not None:
            found += [{"source": place.source} | fields | rows for fields in place.fields]
        _others(sheet, prefix)
    return found


def _others(sheet: Sheet, prefix: str) -> None:
    """Keys of a dataset that its type does not read."""
    for place in sheet.within(prefix):
        name = place.rpartition(".")[2]
        if (
            sheet.known(place)
            or sheet.raw(place) is None
            or any(known.startswith(place + ".") for known in sheet.findings)
        ):
            continue
        if name in _KEYS:
            sheet.same(place, "a dataset of this type does not read it")
        elif name == "preprocess_shards":
            sheet.same(place, _LOADING)


_KEYS = (
    "chat_template", "chat_template_jinja", "conversation", "drop_system_message", "field", "field_human",
    "field_input", "field_instruction", "field_messages", "field_model", "field_output", "field_system",
    "field_thinking", "field_tools", "format", "input_format", "logprobs_field", "message_field_content",
    "message_field_role", "message_field_training", "message_field_training_detail", "message_property_mappings",
    "no_input_format", "roles", "roles_to_train", "split_thinking", "strict", "system_format", "system_prompt",
    "temperature", "template_thinking_key", "text_column", "train_on_eos", "train_on_eot",
)  # fmt: skip
"""Keys that some types of dataset read and others pass over."""


def _name(path: str) -> str:
    """A short name for the rows, part of the run's id."""
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    plain = re.sub(r"\.(jsonl?|csv|parquet|arrow|txt)$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).strip("._-")[:40] or "rows"


def _held_out(sheet: Sheet, weights: Weights | None) -> None:
    found = _read(sheet, "test_datasets", weights)
    size = sheet.number("val_set_size", 0)
    if sheet.raw("pretraining_dataset") is not None and not found:
        sheet.set("data.eval_fraction", 0.0)
        sheet.same("val_set_size", "of rows that are read as they come Axolotl holds none out")
        return
    if found:
        if size:
            sheet.refuse("val_set_size", "val_set_size and test_datasets exclude each other: Axolotl refuses it too")
        sheet.set("data.eval_sets", found)
        sheet.same("val_set_size", "the held-out rows are those of test_datasets")
        return
    if size is not None and size > 1:
        sheet.put("val_set_size", "data.eval_rows", int(size))
    elif size == 1:
        sheet.refuse("val_set_size", "1 would hold out every row: write a share below 1, or a number of rows above it")
    else:
        sheet.set("data.eval_fraction", size or 0.0)
        sheet.mapped("val_set_size", "data.eval_fraction")


def is_held_out(sheet: Sheet) -> bool:
    """Whether rows are held out for evaluation; known once the keys of the data were taken."""
    return any(sheet.fields.get(field) for field in ("data.eval_sets", "data.eval_rows", "data.eval_fraction"))


def _lengths(sheet: Sheet, has_text: bool) -> None:
    length = sheet.whole("sequence_len", 1) or 512
    if not sheet.known("sequence_len"):
        sheet.mapped("sequence_len", "data.max_length")
    packed = sheet.whole("max_packed_sequence_len", 1)
    if packed is not None:
        length = min(length, packed)
        sheet.mapped("max_packed_sequence_len", "data.packing, data.max_length", "attention stays within each row")
    sheet.set("data.max_length", length)
    packing = sheet.flag("sample_packing")
    sheet.set("data.packing", bool(packing) or packed is not None or sheet.fields["method.objective"] == "pretrain")
    if packing is not None:
        sheet.mapped("sample_packing", "data.packing")
    strategy = sheet.text("excess_length_strategy")
    overlong = "split" if has_text else "drop"
    if strategy == "truncate":
        overlong = "cut"
    elif strategy == "raise":
        sheet.mapped("excess_length_strategy", "data.overlong", "rows over which Axolotl would stop are left out")
    elif strategy not in (None, "drop"):
        sheet.refuse("excess_length_strategy", f"{strategy} must be drop, truncate or raise: Axolotl refuses it too")
    if strategy in ("drop", "truncate"):
        sheet.mapped("excess_length_strategy", "data.overlong")
    sheet.set("data.overlong", overlong)
    evaluation = sheet.whole("eval_sequence_len", 1)
    if evaluation is not None:
        sheet.same("eval_sequence_len", "held-out rows have the length of the others")


def _order(sheet: Sheet) -> None:
    order = "random"
    if sheet.flag("group_by_length") and not sheet.fields["data.packing"]:
        order = "length"
    if sheet.flag("curriculum_sampling"):
        order = "sequential"
    sheet.set("data.order", order)
    for key in ("group_by_length", "curriculum_sampling"):
        if sheet.flag(key) is not None:
            packs = key == "group_by_length" and sheet.fields["data.packing"]
            sheet.mapped(key, "data.order", "packs are all about as long" if packs else "")
