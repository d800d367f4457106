"""Peak memory and time of a DPO step with LoRA in TRL at the size of SmolLM2-135M, one pair of 512 tokens, on the CPU.

    python bench/peers/torch_dpo_lora.py <folder with the tokenizer of SmolLM2> [--full] [--no-checkpointing]

Random weights, float32, rank 16 on all linear layers: what bench/adapter-memory.mjs measures.
"""
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer

full, checkpointing = "--full" in sys.argv, "--no-checkpointing" not in sys.argv
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, vocab_size=49152, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True))


def text(seed, count):
    ids = torch.randint(1000, 40000, (4 * count,), generator=torch.Generator().manual_seed(seed)).tolist()
    words = [tokenizer.decode([token]) for token in ids]
    words = [word for word in words if word.startswith(" ") and word[1:].isalpha()]
    while len(tokenizer("".join(words)).input_ids) > count:
        words.pop()
    return "".join(words)


rows = [{"prompt": text(1, 256), "chosen": text(2, 255), "rejected": text(3, 255)}]
times = []


class Clock(TrainerCallback):
    def on_step_begin(self, *_, **__):
        times.append(time.perf_counter())

    def on_step_end(self, *_, **__):
        times.append(time.perf_counter())


with tempfile.TemporaryDirectory() as folder:
    trainer = DPOTrainer(
        model=model, processing_class=tokenizer, train_dataset=Dataset.from_list(rows),
        args=DPOConfig(output_dir=folder, max_steps=1, per_device_train_batch_size=1, max_length=512, use_cpu=True,
                       bf16=False, fp16=False, gradient_checkpointing=checkpointing, report_to=[], save_strategy="no",
                       learning_rate=1e-4, logging_steps=1),
        peft_config=None if full else LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.train()
trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
print({"trained": trained, "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
       "before training MB": round(before * 1024 / 1e6),
       "seconds of the step": round(times[1] - times[0], 1), "torch": torch.__version__})
