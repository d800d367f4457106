"""Records whole training runs of TRL's trainers: loss and gradient norm of 20 optimizer steps.

    pip install -r test/golden/requirements.txt
    python test/golden/record-trl-runs.py

One tiny random Llama (no dropout), rows read in order, AdamW at a constant rate, one micro-batch per step, float32 on the
CPU. SFT, DPO and the reward model learn from the texts below. GRPO and RLOO sample; their prompts, completions and scores
are recorded, so that another trainer can learn from the same ones.

Writes data/trl-runs/: model/, score-model/, rows as JSON Lines, runs.json. Needs data/bpe-tokenizer/plain.
"""
import json
import logging
import tempfile

import torch
import trl
from datasets import Dataset
from transformers import (AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification,
                          PrinterCallback)
from trl import (DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer,
                 SFTConfig, SFTTrainer)

from common import DATA, rounded, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
FOLDER = DATA / "trl-runs"
TOKENIZER = DATA / "bpe-tokenizer" / "plain"
STEPS = 20
BATCH = 4
NOUNS = ("cat", "dog", "rose", "river", "baker", "child", "horse")
GOOD = (" likes the warm sun", " waters the roses every day", " sings", " is kind to all of them", " has 3 friends")
BAD = (" hates it", " sleeps under a cold stone", " is not there", " has 12 bad days", " broke the old chair again")
COMMON = {"max_steps": STEPS, "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1,
          "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0,
          "optim": "adamw_torch", "logging_steps": 1, "report_to": "none", "save_strategy": "no", "use_cpu": True,
          "bf16": False, "gradient_checkpointing": False, "seed": 3, "disable_tqdm": True}


def config(**more):
    return LlamaConfig(vocab_size=421, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                       num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, tie_word_embeddings=True,
                       bos_token_id=None, eos_token_id=0, attention_dropout=0.0, **more)


def write_models():
    torch.manual_seed(17)
    # Without a padding id: torch takes the gradient from its embedding, and samples contain any id.
    model = LlamaForCausalLM(config())
    # A far end-of-text row, so that some samples stop early.
    model.model.embed_tokens.weight.data[0] *= 4
    model.save_pretrained(FOLDER / "model")
    LlamaForSequenceClassification(config(pad_token_id=2, num_labels=1)).save_pretrained(FOLDER / "score-model")


def tokenizer():
    loaded = AutoTokenizer.from_pretrained(TOKENIZER)
    # Another token than the end of text: reward models read the last token that is not padding.
    loaded.pad_token = "<|end|>"
    return loaded


def pairs():
    # 52 pairs: the last of 13 batches comes before step 20, so the second epoch is met too.
    return [{"prompt": f"The {NOUNS[i % 7]} of house {i}", "chosen": GOOD[i % 5] + ("." if i % 3 else ""),
             "rejected": BAD[(i * 3 + i // 5) % 5] + ("." if i % 2 else "")} for i in range(52)]


def write_rows(name, rows):
    (FOLDER / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def recording(trainer_class):
    """The trainer with a list of the losses of its steps, unrounded, and of what its loss was computed from."""
    class Recorder(trainer_class):
        losses, batches = None, None

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            self.losses = [*(self.losses or []), loss.item()]
            return loss

        def _compute_loss(self, model, inputs, *rest):
            self.batches = [*(self.batches or []), inputs]
            return super()._compute_loss(model, inputs, *rest)
    return Recorder


def run(trainer_class, config_class, model, rows, settings, **more):
    with tempfile.TemporaryDirectory() as output:
        arguments = config_class(output_dir=output, **{**COMMON, **settings})
        trainer = recording(trainer_class)(model=model, args=arguments, train_dataset=Dataset.from_list(rows),
                                           processing_class=tokenizer(), **more)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    norms = [float(entry["grad_norm"]) for entry in trainer.state.log_history if "grad_norm" in entry]
    assert len(trainer.losses) == len(norms) == STEPS, (len(trainer.losses), len(norms))
    return trainer, {"learningRate": settings["learning_rate"], "losses": rounded(trainer.losses, 8),
                     "gradientNorms": rounded(norms, 8)}


def language_model():
    return LlamaForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)


SEQUENTIAL = {"train_sampling_strategy": "sequential"}


def record_sft(rows):
    data = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    return run(SFTTrainer, SFTConfig, language_model(), data, {**SEQUENTIAL, "learning_rate": 5e-3})[1]


def record_dpo(rows):
    return run(DPOTrainer, DPOConfig, language_model(), rows,
               {**SEQUENTIAL, "learning_rate": 5e-4, "beta": 0.3}, ref_model=language_model())[1]


def record_reward(rows):
    model = LlamaForSequenceClassification.from_pretrained(FOLDER / "score-model", dtype=torch.float32, num_labels=1)
    return run(RewardTrainer, RewardConfig, model, rows,
               {**SEQUENTIAL, "learning_rate": 2e-3, "center_rewards_coefficient": 0.01})[1]


def score(completions, completion_ids, **_):
    """Share of small letters e and a, less a little for length: neither constant nor all equal in a group."""
    return [(text.count("e") + text.count("a")) / 4 - 0.01 * len(ids)
            for text, ids in zip(completions, completion_ids, strict=True)]


def record_online(trainer_class, config_class, rows, settings):
    """Ten rollouts with two steps on each."""
    prompts = [{"prompt": row["prompt"]} for row in rows]
    given = []

    def reward(**kwargs):
        scores = score(**kwargs)
        given.append({tuple(ids): value for ids, value in zip(kwargs["completion_ids"], scores, strict=True)})
        return scores
    shared = {"per_device_train_batch_size": 8, "num_generations": 4, "num_iterations": 2, "steps_per_generation": 1,
              "max_completion_length": 8, "temperature": 1.0, "shuffle_dataset": False, "beta": 0.05, **settings}
    trainer, record = run(trainer_class, config_class, str(FOLDER / "model"), prompts, shared, reward_funcs=reward)
    iterations = []
    for first, second, scores in zip(trainer.batches[::2], trainer.batches[1::2], given, strict=True):
        assert torch.equal(first["completion_ids"], second["completion_ids"])
        # The trainer shuffles the completions of a rollout: scores are found by their ids.
        rows = [(p[pm.bool()].tolist(), c[cm.bool()].tolist()) for p, pm, c, cm in
                zip(first["prompt_ids"], first["prompt_mask"], first["completion_ids"], first["completion_mask"],
                    strict=True)]
        iterations.append({"prompts": [p for p, _ in rows], "completions": [c for _, c in rows],
                           "scores": rounded([scores[tuple(c)] for _, c in rows], 8),
                           "advantages": rounded(first["advantages"].double(), 8)})
    return {**record, "iterations": iterations}


write_models()
ROWS = pairs()
write_rows("pairs.jsonl", ROWS)
write_rows("demonstrations.jsonl", [{"prompt": row["prompt"], "completion": row["chosen"]} for row in ROWS])
write_json(FOLDER / "runs.json", {
    "versions": versions(trl), "batchSize": BATCH, "steps": STEPS,
    "sft": record_sft(ROWS), "dpo": record_dpo(ROWS), "bt-rm": record_reward(ROWS),
    "grpo": record_online(GRPOTrainer, GRPOConfig, ROWS, {"learning_rate": 1e-3, "loss_type": "bnpo",
                                                             "use_bias_correction_kl": False}),
    "grpo with corrected KL": record_online(GRPOTrainer, GRPOConfig, ROWS, {"learning_rate": 1e-3, "loss_type": "bnpo", "beta": 0.5,
                                                                            "use_bias_correction_kl": True}),
    "rloo": record_online(RLOOTrainer, RLOOConfig, ROWS, {"learning_rate": 2e-4}),
})
