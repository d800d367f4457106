"""Records GGUF files and what reference libraries read from them.

    pip install -r test/golden/requirements.txt
    python test/golden/record-gguf.py

Writes data/gguf/: blocks.json (random blocks of every element type, dequantised by the package `gguf`), <architecture>.gguf
(tiny random models, written with the names and the changes of llama.cpp's convert_hf_to_gguf.py; transformers must read
them back with the logits of the model they were made of), tokenizer-<kind>.gguf (vocabularies trained here, with ids by
`tokenizers` and `sentencepiece`).
"""
import base64
import io
import json

import gguf
import numpy as np
import sentencepiece
import tokenizers
import torch
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from common import DATA, draw, rounded, versions, write_json

FOLDER = DATA / "gguf"
FOLDER.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(2)
IDS = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7]
Q = gguf.GGMLQuantizationType


def text64(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


# --- blocks ---------------------------------------------------------------------------------------------------------
def record_blocks():
    """Random bytes; where they would make a scale that is not finite or huge, a random float16 instead."""
    random = np.random.default_rng(7)
    scales = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2],
              "Q6_K": [208]}
    record = {}
    for name in ["F32", "F16", "BF16", *scales]:
        kind = Q[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        count = 6 if elements > 1 else 64
        if elements == 1:
            values = (random.standard_normal(count) * 3).astype(np.float32)
            if name == "F16":
                blocks = values.astype(np.float16).view(np.uint8)
            elif name == "BF16":
                blocks = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
            else:
                blocks = values.view(np.uint8)
        else:
            blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
            for at in scales[name]:
                numbers = (random.standard_normal(count) * 0.1).astype(np.float16)
                numbers[0] = np.float16(3e-7)  # a subnormal
                blocks[:, at:at + 2] = numbers.view(np.uint8).reshape(count, 2)
        numbers = gguf.quants.dequantize(blocks.reshape(-1) if elements == 1 else blocks, kind)
        record[name] = {"elements": elements, "bytes": size, "blocks": text64(blocks),
                        "values": text64(numbers.astype(np.float32))}
    write_json(FOLDER / "blocks.json", {"versions": {"gguf": "0.19.0"}, "types": record})


# --- models ---------------------------------------------------------------------------------------------------------
LLAMA_LIKE = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
                  num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1000.0,
                  pad_token_id=3)
GEMMA = dict(vocab_size=24, hidden_size=12, intermediate_size=20, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
             max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1000.0, query_pre_attn_scalar=8, sliding_window=4,
             pad_token_id=3)
NEOX = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, layer_norm_eps=1e-5, rotary_pct=0.25, rotary_emb_base=10000, hidden_act="gelu")
VARIANTS = {
    "llama": ("llama", gguf.MODEL_ARCH.LLAMA, LLAMA_LIKE),
    "llama-untied-biases": ("llama", gguf.MODEL_ARCH.LLAMA,
                            dict(LLAMA_LIKE, attention_bias=True, tie_word_embeddings=False)),
    "llama-rope-llama3": ("llama", gguf.MODEL_ARCH.LLAMA, dict(LLAMA_LIKE, head_dim=64, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192))),
    "qwen2": ("qwen2", gguf.MODEL_ARCH.QWEN2, LLAMA_LIKE),
    "qwen3": ("qwen3", gguf.MODEL_ARCH.QWEN3, dict(LLAMA_LIKE, head_dim=12)),
    "gemma2": ("gemma2", gguf.MODEL_ARCH.GEMMA2, dict(GEMMA, num_hidden_layers=3, final_logit_softcapping=4.0,
                                                       attn_logit_softcapping=2.0)),
    "gemma3": ("gemma3_text", gguf.MODEL_ARCH.GEMMA3, dict(GEMMA, num_hidden_layers=7, rope_local_base_freq=10000.0,
                                                            rope_theta=1000000.0)),
    "phi3": ("phi3", gguf.MODEL_ARCH.PHI3, dict(LLAMA_LIKE, sliding_window=4)),
    "gptneox": ("gpt_neox", gguf.MODEL_ARCH.GPTNEOX, NEOX),
    "gptneox-sequential": ("gpt_neox", gguf.MODEL_ARCH.GPTNEOX, dict(NEOX, use_parallel_residual=False, num_attention_heads=4,
                                                                     rotary_pct=0.5)),
    "gpt2": ("gpt2", gguf.MODEL_ARCH.GPT2, dict(vocab_size=24, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=1)),
}


def neighbours(weight, heads):
    """Rows of a head's two halves to neighbouring pairs, as llama.cpp's converter lays out Llama's queries and keys."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def parts_apart(weight, heads):
    """The three of each head one after another to all queries, all keys, all values, as llama.cpp's converter fuses them."""
    shape = weight.shape
    return weight.reshape(heads, 3, shape[0] // heads // 3, *shape[1:]).swapaxes(0, 1).reshape(shape)


def write_model(name, model, arch, path):
    c = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    is_gpt2 = c.model_type == "gpt2"
    is_neox = c.model_type == "gpt_neox"
    layers = c.num_hidden_layers
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(4 * c.n_embd if is_gpt2 else c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    if is_gpt2:
        writer.add_layer_norm_eps(c.layer_norm_epsilon)
    elif is_neox:
        writer.add_layer_norm_eps(c.layer_norm_eps)
        writer.add_parallel_residual(c.use_parallel_residual)
        writer.add_rope_dimension_count(int(VARIANTS[name][2]["rotary_pct"] * (c.hidden_size // c.num_attention_heads)))
    else:
        writer.add_head_count_kv(c.num_key_value_heads)
        writer.add_layer_norm_rms_eps(c.rms_norm_eps)
        rope = c.rope_parameters
        rope = rope.get("full_attention", rope)
        writer.add_rope_freq_base(rope["rope_theta"])
        head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        if c.model_type in ("llama", "phi3"):
            writer.add_rope_dimension_count(head)
        writer.add_vocab_size(c.vocab_size)  # transformers asks for it
        if c.model_type.startswith("gemma") or c.model_type == "qwen3" or "llama3" in name:
            writer.add_key_length(head)
            writer.add_value_length(head)
        if c.model_type.startswith("gemma") or c.model_type == "phi3":
            writer.add_sliding_window(c.sliding_window)
        if c.model_type == "gemma2":
            writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
            writer.add_final_logit_softcapping(c.final_logit_softcapping)
    writer.add_file_type(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(arch, layers)
    for key, value in model.named_parameters():
        stem, kind = key.rsplit(".", 1)
        weight = value.detach().numpy()
        if c.model_type == "llama" and stem.endswith(("q_proj", "k_proj")):
            weight = neighbours(weight, c.num_attention_heads if stem.endswith("q_proj") else c.num_key_value_heads)
        if c.model_type.startswith("gemma") and stem.endswith("norm"):
            weight = weight + 1
        if is_neox and stem.endswith("query_key_value"):
            weight = parts_apart(weight, c.num_attention_heads)
        if is_gpt2 and weight.ndim == 2 and ".h." in key:
            weight = weight.T
        writer.add_tensor(f"{names.get_name(stem)}.{kind}", np.ascontiguousarray(weight))
    if "llama3" in name:
        base = rope["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head)
        waves, factor, low, high, old = 2 * torch.pi * base, 8.0, 1.0, 4.0, 8192
        smooth = (old / waves - low) / (high - low)
        divisors = torch.where(waves < old / high, torch.ones(()), torch.where(
            waves > old / low, torch.full((), factor), 1 / ((1 - smooth) / factor + smooth)))
        writer.add_tensor("rope_freqs.weight", divisors.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def record_models():
    record = {}
    for name, (model_type, arch, settings) in VARIANTS.items():
        settings = dict(settings)
        if model_type != "gpt2":
            settings.setdefault("tie_word_embeddings", name not in ("llama-rope-llama3", "gptneox", "gptneox-sequential"))
        config = AutoConfig.for_model(model_type).__class__.from_dict(settings)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        centre = 0.0 if model_type.startswith("gemma") else 1.0
        model.load_state_dict(draw([(k, tuple(v.shape)) for k, v in model.named_parameters()], seed=3, centre=centre),
                              strict=False)
        model.tie_weights()
        path = FOLDER / f"{name}.gguf"
        write_model(name, model, arch, path)
        ids = torch.tensor([IDS])
        with torch.no_grad():
            logits = model(ids).logits[0]
        # transformers does not apply rope_freqs.weight, nor does it put biases of Llama's queries in order, nor read GPT-NeoX.
        distance = None
        if model_type != "gpt_neox" and name not in ("llama-rope-llama3", "llama-untied-biases"):
            # Of these it does not read all of the config: head size, window, caps, positions.
            given = dict(config=config) if model_type in ("qwen3", "phi3", "gemma2", "gemma3_text", "gpt2") else {}
            read = AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=path.name, dtype=torch.float32,
                                                        attn_implementation="eager", **given).eval()
            with torch.no_grad():
                distance = ((read(ids).logits[0] - logits).abs().max() / logits.abs().max()).item()
        record[name] = {"ids": IDS, "logits": rounded(logits), "readBack": distance and rounded(distance, 2)}
        print(name, distance, path.stat().st_size)
    write_json(FOLDER / "models.json", {"versions": {**versions(), "gguf": "0.19.0"}, "models": record})


# --- tokenizers -----------------------------------------------------------------------------------------------------
CORPUS = """The quick brown fox jumps over the lazy dog while seventeen geese watch from the river bank in silence.
Training a language model takes patience: gradients flow, losses fall, and sometimes nothing happens at all.
It's what they're saying, isn't it? We'll see; I'd wait, you've waited, I'm sure she'll wait as well.
def train(model, batch):\n    loss = model(batch)\n    loss.backward()\n    return loss.item()
In 2024 there were 365 days plus 1, 12345 numbers, and 3.14159 reasons to count them: 100, 200, 300, 1000000.
Über den Wolken muß die Freiheit wohl grenzenlos sein, sagte der Müller zur Bäckerin; après tout, ça va très bien.
日本語の文章もここにあります。 今日は天気がいいですね。 中文也在这里,我们一起学习。 한국어 문장도 있습니다.
Emoji \U0001f600 \U0001f389 \U0001f44d\U0001f3fd and symbols → ≤ ≥ ∑ ∂ appear, as do tabs\tand   runs of    spaces.
the the the model model tokens tokens training training language language and and and of of in in to to a a a
"""
HARD = json.loads((DATA / "bpe-tokenizer" / "texts.json").read_text("utf-8")) + [
    "1234567 12 3 4567", " 42", "x1y22z333", "I'LL don'T WE'RE", "tab\tnew\n\nline \r\n end  ", "   lead", "trail   ",
    "ÅÄ é vs e\u0301", "<|im_start|>user\nhi<|im_end|>", "naïve→café", "日本語123テスト", "a" * 40, "if x:\n        y()",
    "\u00a0nbsp\u3000wide", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
]
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
FAMILIES = {
    "gpt-2": (None, [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)], False),
    "smollm": (None, [pre_tokenizers.Digits(individual_digits=True),
                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)], False),
    "llama-bpe": (None, [pre_tokenizers.Split(Regex(WORDS % "{1,3}"), "isolated"),
                         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)], True),
    "qwen2": (normalizers.NFC(), [pre_tokenizers.Split(Regex(WORDS % ""), "isolated"),
                                  pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)], False),
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write_vocabulary(path, arch, kind, pre, tokens, types, scores=None, merges=None, **ids):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(64)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    writer.add_bos_token_id(ids["bos"])
    writer.add_eos_token_id(ids["eos"])
    if "unk" in ids:
        writer.add_unk_token_id(ids["unk"])
    if "space" in ids:
        writer.add_add_space_prefix(ids["space"])
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def record_tokenizers():
    record = {}
    for pre, (normalizer, steps, whole) in FAMILIES.items():
        t = tokenizers.Tokenizer(models.BPE(ignore_merges=whole))
        if normalizer is not None:
            t.normalizer = normalizer
        t.pre_tokenizer = pre_tokenizers.Sequence(steps)
        t.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, show_progress=False,
                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
        t.train_from_iterator([CORPUS] * 3, trainer)
        whole_file = json.loads(t.to_str())
        vocab = sorted(t.get_vocab().items(), key=lambda item: item[1])
        write_vocabulary(
            FOLDER / f"tokenizer-{pre}.gguf", "llama", "gpt2", pre, [text for text, _ in vocab],
            [3 if text in SPECIAL else 1 for text, _ in vocab],
            merges=[" ".join(pair) for pair in whole_file["model"]["merges"]], bos=1, eos=2)
        bos = [1] if whole else []
        record[f"tokenizer-{pre}"] = [{"text": text, "ids": bos + t.encode(text).ids} for text in HARD]
    for name, space in (("spm", True), ("spm-no-prefix", False)):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS.split("\n") * 3), model_writer=model, vocab_size=480, model_type="bpe",
            byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=space, remove_extra_whitespaces=False,
            split_digits=True, user_defined_symbols=["<turn>"], allow_whitespace_only_pieces=True, num_threads=1,
            max_sentence_length=100000)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        size = sp.vocab_size()
        kinds = [3 if sp.is_control(i) else 2 if sp.is_unknown(i) else 6 if sp.is_byte(i)
                 else 4 if sp.id_to_piece(i) == "<turn>" else 1 for i in range(size)]
        write_vocabulary(
            FOLDER / f"tokenizer-{name}.gguf", "llama", "llama", "default", [sp.id_to_piece(i) for i in range(size)], kinds,
            scores=[sp.get_score(i) for i in range(size)], bos=sp.bos_id(), eos=sp.eos_id(), unk=sp.unk_id(), space=space)
        # Not compared: a control token's name in a text is text to sentencepiece and the token to tokenizer.json and
        # llama.cpp; those also put the dummy space after each added token, sentencepiece at the start alone.
        texts = [text for text in [*HARD, "▁already", *([] if space else ["hello <turn> there"])] if "<s>" not in text]
        record[f"tokenizer-{name}"] = [{"text": text, "ids": [sp.bos_id(), *sp.encode(text)]} for text in texts]
    write_json(FOLDER / "tokenizers.json", {
        "versions": {"gguf": "0.19.0", "tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__},
        "tokenizers": record})


record_blocks()
record_models()
record_tokenizers()
