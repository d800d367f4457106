"""Makes a small tokenizer in the form of each family and records its ids on 500 texts; checks the families' real ones.

    HEED_RECORD=1 npx vitest run test/golden/tokenizer-families.test.ts   (writes texts.json)
    pip install -r test/golden/requirements.txt
    python test/golden/record-tokenizers.py                 the small ones, into data/tokenizers/<family>/
    python test/golden/record-tokenizers.py <folder>        ids of <folder>/<name>/tokenizer.json, as digests, into
                                                            data/tokenizers/real.json (scripts/check-tokenizers.mjs fetches)

Normalizers, pre-tokenizers, decoders, post-processors and kinds of added tokens are those of the published files; the
vocabularies are trained on the texts themselves, so that merges occur, and hold a few hundred entries.
"""
import hashlib
import json
import logging
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

logging.getLogger("transformers").setLevel(logging.ERROR)
FOLDER = Path(__file__).parent / "data" / "tokenizers"
TEXTS = json.loads((FOLDER / "texts.json").read_text("utf-8"))

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_SPLIT = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN_SPLIT = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST


def special(*texts):
    return [AddedToken(text, special=True, normalized=False) for text in texts]


def byte_level(normalizer, pre_tokenizer, post_processor, decoder, added, size, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    tokenizer.post_processor = post_processor(tokenizer) if post_processor else None
    tokenizer.decoder = decoder
    return tokenizer


def split(pattern, trim):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim, use_regex=False)])


def llama3():
    bos = "<|begin_of_text|>"
    return byte_level(
        None, split(LLAMA3_SPLIT, True),
        lambda t: processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                          special_tokens=[(bos, t.token_to_id(bos))])]),
        decoders.ByteLevel(), special(bos, "<|end_of_text|>", "<|eot_id|>"), 600, ignore_merges=True,
    ), dict(bos_token=bos, eos_token="<|eot_id|>", clean_up_tokenization_spaces=True)


def qwen():
    added = special("<|endoftext|>", "<|im_start|>", "<|im_end|>") + [
        AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")]
    return byte_level(
        normalizers.NFC(), split(QWEN_SPLIT, False), lambda _: processors.ByteLevel(
            add_prefix_space=False, trim_offsets=False, use_regex=False),
        decoders.ByteLevel(), added, 600,
    ), dict(eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False)


def gpt2():
    return byte_level(
        None, pre_tokenizers.ByteLevel(add_prefix_space=False), lambda _: processors.ByteLevel(trim_offsets=False),
        decoders.ByteLevel(), [AddedToken("<|endoftext|>", special=True, normalized=True)], 500,
    ), dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def smollm2():
    return byte_level(
        None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        None, decoders.ByteLevel(), special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"), 500,
    ), dict(bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>", pad_token="<|im_end|>",
            clean_up_tokenization_spaces=False)


def gemma():
    """Merges over characters, bytes for those without a token, and long runs of spaces and line ends as added tokens."""
    learner = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    learner.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=900, min_frequency=2, show_progress=False, limit_alphabet=160,
                                  special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)])
    learner.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    learner.train_from_iterator(TEXTS, trainer)
    learned = json.loads(learner.to_str())["model"]
    # Runs are tokens of the vocabulary too, merged from any two shorter ones.
    runs = ["\n" * n for n in range(2, 5)] + ["▁" * n for n in range(2, 9)] + ["\t\t"]
    for run in runs:
        learned["vocab"].setdefault(run, len(learned["vocab"]))
    learned["merges"] = [[run[:n], run[n:]] for run in runs for n in range(1, len(run))] + learned["merges"]
    tokenizer = Tokenizer(models.BPE(
        vocab=learned["vocab"], merges=[tuple(merge) for merge in learned["merges"]],
        unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.add_special_tokens(special("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"))
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in [*runs, "<unused0>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer, dict(bos_token="<bos>", eos_token="<end_of_turn>", pad_token="<pad>", unk_token="<unk>",
                           clean_up_tokenization_spaces=False)


def bert():
    """Not generative, but what `bert` classifiers come with."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(
        vocab_size=700, min_frequency=2, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(text, tokenizer.token_to_id(text)) for text in ("[CLS]", "[SEP]")])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")


def digest(numbers):
    return hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()[:8]


def record(name, make):
    tokenizer, config = make()
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True, separators=(",", ":")) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", **config}, indent=1) + "\n", "utf-8")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **config)
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    decoded = [library.decode(row, skip_special_tokens=False) for row in plain]
    lines = [json.dumps([a, b, None if c == text else c], separators=(",", ":"))
             for a, b, c, text in zip(ids, plain, decoded, TEXTS)]
    same = sum(c == text for c, text in zip(decoded, TEXTS))
    (folder / "recorded.json").write_text(
        f'{{"tokenizers":"{tokenizers.__version__}","transformers":"{transformers.__version__}","same":{same},"cases":[\n'
        + ",\n".join(lines) + "\n]}\n", "utf-8")
    print(name, tokenizer.get_vocab_size(), "ids equal text:", same)


def record_real(place):
    out = {}
    for file in sorted(Path(place).glob("*/tokenizer.json")):
        tokenizer = Tokenizer.from_file(str(file))
        out[file.parent.name] = {
            "tokens": tokenizer.get_vocab_size(),
            "ids": "".join(digest(tokenizer.encode(text).ids) for text in TEXTS),
            "decoded": "".join(digest(tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids,
                                                       skip_special_tokens=False).encode()) for text in TEXTS),
        }
        print(file.parent.name, out[file.parent.name]["tokens"])
    (FOLDER / "real.json").write_text(json.dumps(
        {"tokenizers": tokenizers.__version__, "families": out}, indent=1) + "\n", "utf-8")


if len(sys.argv) > 1:
    record_real(sys.argv[1])
else:
    for name, make in dict(llama3=llama3, qwen=qwen, gpt2=gpt2, smollm2=smollm2, gemma=gemma, bert=bert).items():
        record(name, make)
