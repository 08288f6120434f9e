"""What `--help` prints."""

MAIN = """\
python -m launcher [VERB] [key=value ...] [flags]      fine-tune a language model on a Slurm cluster, or here

  python -m launcher +model=smollm2_135m +cluster=local              train here, and follow it
  python -m launcher plan +model=llama3_70b +cluster=2x8xh100        look before you submit
  python -m launcher +model=llama3_70b +cluster=2x8xh100 site.partition=gpu
  python -m launcher recipe=qlora_8b_single_gpu data=file data.path=rows.jsonl
  python -m launcher explain adapter.r                               what a field is; `catalogue`: what there is
  python -m launcher status                                          how all runs are
  python -m launcher resume RUN cluster.time=2-00:00:00              go on where it stopped

verbs
{verbs}

flags
  --json             one JSON document on stdout; everything else goes to stderr
  --config-dir DIR   your own options, as DIR/cluster/ours.yaml; SLURMWRIGHT_CONFIG_DIR names it for good
  --cfg job          Hydra's own: print the composed config; --info, --hydra-help and -sc (tab completion) work too

`VERB --help` says more. Exit codes: 0 done, 1 a bug, 2 wrong input, 3 the site refused, 4 the run failed, 5 assets
missing, 130 interrupted.
"""

LAYERS = """
A command is a line of layers. A group takes an option, a field takes a value; `+` before a group changes nothing:

  model=llama3_8b adapter=qlora data=file data.path=rows.jsonl cluster=4xh100     options of groups
  adapter.r=32 batch.global=64 method.learning_rate=1e-4                          fields

groups
{groups}

`catalogue [GROUP]` lists all options, `explain FIELD` says what it takes; `recipe=FILE.yaml` is a recipe from anywhere.
`cluster=2x8xh100` is short for `cluster=8xh100 cluster.nodes=2`. All mistakes of a line are reported at once.
"""

SUBMIT = """\
python -m launcher [submit] key=value ... [--json] [--config-dir DIR]

Compose, check, freeze and submit one run. A cluster of kind slurm submits and returns at once; `cluster=local` and
`cluster=here` run and follow the log. The same command again resumes the run, or says that it is finished.
"""

PLAN = """\
python -m launcher plan key=value ... [--json] [--config-dir DIR]

Everything up to submission: sizes, batch, layout, warnings, the exact batch script. Submits nothing, needs no Slurm.
"""

DATA = """\
python -m launcher data +model=NAME [data=...] [--row N] [--rows K] [--split train|eval] [--json]

Prepare a run's data in a temporary place and print what the model will see: each token with its label, so that you can
check what is trained on.

  --row N      the row to begin with, counted from 0
  --rows K     how many rows (default 1)
  --split S    train (the default) or eval
"""
