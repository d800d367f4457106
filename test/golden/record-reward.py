"""Records scores, losses and metrics of reward models, and rewards, advantages and losses of PPO.

    pip install -r test/golden/requirements.txt
    pip download trl==0.24.0 --no-deps -d older && python -m zipfile -e older/trl-0.24.0-*.whl older
    python test/golden/record-reward.py older [folder of a reward model that heed wrote]

Scores are those of transformers' LlamaForSequenceClassification; loss and metrics those of TRL 1.16.0's RewardTrainer.
PPO is no longer in the pinned TRL: its statements are cut out of TRL 0.24.0's `ppo_trainer.py` and run on given numbers.
With a folder, checks only that transformers loads it and prints its scores of three sequences.

Writes data/llama-score/ and data/ppo.json.
"""
import logging
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification
from trl.trainer.reward_trainer import RewardTrainer

from common import DATA, rounded, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)

SEQUENCES = [[3, 7, 1, 9, 0], [5, 5, 2], [1, 0, 0, 4, 11, 6, 8], [2], [9, 3, 7, 7], [10, 4]]


def padded(sequences):
    """Right-padded ids with their attention mask; the padding id 0 is a real token of some sequences too."""
    width = max(map(len, sequences))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in sequences])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in sequences])
    return ids, mask


def record_score_model():
    folder = DATA / "llama-score"
    torch.manual_seed(5)
    config = LlamaConfig(vocab_size=12, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16, num_labels=1,
                         initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    # Alone, so that transformers cannot mistake a last token of id 0 for padding.
    scores = [model(torch.tensor([row]), pad_token_id=None).logits.item() if row[-1] != 0 else
              model.score(model.model(torch.tensor([row])).last_hidden_state)[0, -1].item() for row in SEQUENCES]
    record = {"versions": versions(trl), "sequences": SEQUENCES, "scores": rounded(scores), "losses": []}
    # RewardTrainer on pairs that transformers reads at the right place: rows 1, 2, 3 chosen, 4, 5 and another rejected.
    pairs = SEQUENCES[1:4] + [SEQUENCES[4], SEQUENCES[5], [8, 8]]
    ids, mask = padded(pairs)
    for margin, centering in ((None, None), ([0.5, 0.0, 1.0], None), (None, 0.05)):
        metrics = defaultdict(lambda: defaultdict(list))
        accelerator = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
        trainer = SimpleNamespace(model=SimpleNamespace(training=True), accelerator=accelerator, _metrics=metrics,
                                  _total_train_tokens=0, _tp_size=1,
                                  args=SimpleNamespace(center_rewards_coefficient=centering))
        inputs = {"input_ids": ids, "attention_mask": mask}
        if margin is not None:
            inputs["margin"] = torch.tensor(margin)
        call = lambda **kw: model(**{k: v for k, v in kw.items() if k != "margin"})
        call.training = True
        loss = RewardTrainer.compute_loss(SimpleNamespace(**{**vars(trainer), "model": call}), call, inputs)
        names = ("accuracy", "margin", "min_reward", "mean_reward", "max_reward")
        record["losses"].append({"margin": margin, "centering": centering, "loss": rounded(loss.item()),
                                 "metrics": {name: rounded(float(metrics["train"][name][-1])) for name in names}})
    record["pairs"] = pairs
    write_json(folder / "recorded.json", record)


def statements(older, first, last):
    """Lines of TRL's train() from the one that holds `first` to the one that holds `last`, dedented."""
    lines = (older / "trl/trainer/ppo_trainer.py").read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if first in line)
    end = next(i for i, line in enumerate(lines) if i >= start and last in line)
    return textwrap.dedent("\n".join(lines[start:end + 1]))


def older_core(older):
    names = {"torch": torch, "Optional": object, "__name__": "core"}
    source = (older / "trl/core.py").read_text("utf-8")
    source = source[source.index("def masked_mean"):source.index("class LengthSampler")]
    exec(source.replace("Optional[bool]", "object"), names)
    return names


def record_ppo(older):
    core = older_core(older)
    rewards_source = statements(older, "logr = ref_logprobs - logprobs", "advantages = torch.masked_fill(advantages")
    losses_source = statements(older, "vpredclipped = torch.clamp(", "pg_loss = masked_mean(")
    torch.manual_seed(3)
    B, C = 3, 5
    normal = lambda: torch.randn(B, C, dtype=torch.float64)
    logprobs, ref_logprobs, values = -normal().abs() - 0.1, -normal().abs() - 0.1, normal()
    scores = torch.randn(B, dtype=torch.float64)
    record = {"versions": {**versions(), "trl": "0.24.0"}, "scores": rounded(scores), "logProbs": rounded(logprobs),
              "referenceLogProbs": rounded(ref_logprobs), "values": rounded(values), "estimates": []}
    # What is compared must start from the numbers that are stored.
    logprobs, ref_logprobs, values, scores = (torch.tensor(record[name], dtype=torch.float64) for name in
                                              ("logProbs", "referenceLogProbs", "values", "scores"))
    none = torch.zeros(B, C, dtype=torch.bool)
    for settings in ({"kl_estimator": "k1", "kl_coef": 0.05, "gamma": 1.0, "lam": 0.95, "whiten_rewards": False},
                     {"kl_estimator": "k3", "kl_coef": 0.3, "gamma": 0.9, "lam": 0.5, "whiten_rewards": True}):
        # Every completion fills its row: TRL puts the score of a shorter one behind its last token.
        length = torch.full((B,), C - 1)
        names = {**core, "logprobs": logprobs, "ref_logprobs": ref_logprobs, "values": values, "scores": scores,
                 "sequence_lengths": length, "sequence_lengths_p1": length + 1, "padding_mask": none,
                 "padding_mask_p1": none, "responses": none, "args": SimpleNamespace(**settings)}
        exec(rewards_source, names)
        record["estimates"].append({**settings, "rewards": rounded(names["rewards"]),
                                    "returns": rounded(names["returns"]), "advantages": rounded(names["advantages"])})
    new_logprobs = torch.tensor(rounded(logprobs + 0.3 * normal()), dtype=torch.float64).requires_grad_()
    vpred = torch.tensor(rounded(values + 0.3 * normal()), dtype=torch.float64).requires_grad_()
    padding = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 1, 1, 1]], dtype=torch.bool)
    names = {**core, "vpred": vpred, "mb_values": values, "mb_return": torch.tensor(record["estimates"][0]["returns"]).double(),
             "new_logprobs": new_logprobs, "mb_logprobs": logprobs, "padding_mask": padding, "padding_mask_p1": padding,
             "mb_advantage": torch.tensor(record["estimates"][0]["advantages"]).double(), "micro_batch_inds": slice(None),
             "args": SimpleNamespace(cliprange=0.2, cliprange_value=0.2)}
    exec(losses_source, names)
    (names["pg_loss"] + names["vf_loss"]).backward()
    record["update"] = {"logProbs": rounded(new_logprobs), "values": rounded(vpred), "mask": (~padding).int().tolist(),
                        "policyLoss": rounded(names["pg_loss"].item()), "valueLoss": rounded(names["vf_loss"].item()),
                        "valueClipped": rounded(names["vf_clipfrac"].item()),
                        "policyGradient": rounded(new_logprobs.grad + 0.0), "valueGradient": rounded(vpred.grad + 0.0)}
    write_json(DATA / "ppo.json", record)


if len(sys.argv) > 2:
    model = AutoModelForSequenceClassification.from_pretrained(sys.argv[2]).eval()
    print(type(model).__name__, model.config.num_labels)
    for row in ([3, 7, 1], [5, 9, 2, 8], [4]):
        print(row, model(torch.tensor([row])).logits.item())
else:
    record_score_model()
    record_ppo(Path(sys.argv[1]))
