/** A byte-level byte-pair tokenizer, trained on texts and written as a Hugging Face `tokenizer.json`. */
import { ConfigError } from '../core/errors.ts';
import { byteCharacters } from './byte-level.ts';
import { readHfTokenizer } from './hf-tokenizer.ts';
import { learnMerges } from './learn-merges.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface TrainBpeOptions {
  /** Most tokens of the vocabulary: special tokens, 256 bytes, then merges. Fewer when no pair is frequent enough. */
  readonly vocabSize: number;
  readonly specialTokens?: {
    readonly bos?: string;
    readonly eos?: string;
    readonly pad?: string;
    readonly unk?: string;
    /** Further special tokens, such as those that a chat template writes around a turn. */
    readonly additional?: readonly string[];
  };
  /** Put BOS before every encoded text. Default: whether `bos` is given. */
  readonly addBos?: boolean;
  /** Times that a pair must occur to be merged, at least 1. Default 2. */
  readonly minFrequency?: number;
  /** Every digit is a token of its own, which makes arithmetic easier for small models and numbers longer. Default false. */
  readonly splitDigits?: boolean;
  /** Jinja source, written as `chat_template.jinja`. */
  readonly chatTemplate?: string;
  /** Longest sequence the model takes, in tokens; written for other tools. */
  readonly modelMaxLength?: number;
}

/** Runs of letters, of digits, of other signs (each with one space before) and of white space, as GPT-2 splits. */
const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const digitPattern = '\\p{N}';

/**
 * Trains byte-level BPE: every text is cut into words by the GPT-2 pattern, words into bytes; then the most frequent pair
 * of neighbouring tokens becomes a token, again and again.
 *
 * Ids: special tokens in the order bos, eos, pad, unk, additional; then byte values 0–255; then merges in the order learned.
 * Ties: of equally frequent pairs, the one with the smaller left id, then the smaller right id, is merged. The result
 * depends on the multiset of words only, so the order of texts does not matter.
 *
 * @throws ConfigError when the vocabulary cannot hold the special tokens and bytes, or special tokens repeat
 * @source Sennrich, Haddow, Birch (2016), "Neural machine translation of rare words with subword units", section 3.2
 * @example
 * const tokenizer = trainBpe(texts, { vocabSize: 2048, specialTokens: { bos: '<s>', eos: '</s>' } });
 * await tokenizer.save('model'); // loadTokenizer('model') gives the same ids
 */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): Tokenizer {
  const { vocabSize, specialTokens = {}, minFrequency = 2, splitDigits = false } = options;
  const { bos, eos, pad, unk, additional = [] } = specialTokens;
  const addBos = options.addBos ?? bos !== undefined;
  // One token may have several roles (pad = eos is usual), so roles are made unique; `additional` must not repeat.
  const special = [...new Set([bos, eos, pad, unk].filter((token) => token !== undefined)), ...additional];
  checkOptions(special, vocabSize, minFrequency, addBos && bos === undefined);

  const words = countWords(texts, special, splitDigits);
  const firstByte = special.length;
  const merges = learnMerges(words, { firstByte, merges: vocabSize - firstByte - 256, minFrequency });

  const pieces = [...special, ...byteCharacters];
  const mergeLines: string[] = [];
  for (const [left, right] of merges) {
    mergeLines.push(`${pieces[left]!} ${pieces[right]!}`);
    pieces.push(pieces[left]! + pieces[right]!);
  }

  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: preTokenizer(splitDigits),
    post_processor: addBos && bos !== undefined ? bosProcessor(bos, special.indexOf(bos)) : null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: mergeLines,
    },
  };
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...(bos === undefined ? {} : { bos_token: bos, add_bos_token: addBos }),
    ...(eos === undefined ? {} : { eos_token: eos, add_eos_token: false }),
    ...(pad === undefined ? {} : { pad_token: pad }),
    ...(unk === undefined ? {} : { unk_token: unk }),
    ...(additional.length === 0 ? {} : { additional_special_tokens: additional }),
    added_tokens_decoder: Object.fromEntries(special.map((content, id) => [id, { content, ...flags }])),
    clean_up_tokenization_spaces: false,
    ...(options.modelMaxLength === undefined ? {} : { model_max_length: options.modelMaxLength }),
  };
  const utf8 = new TextEncoder();
  const files = new Map([
    ['tokenizer.json', utf8.encode(`${JSON.stringify(definition, null, 1)}\n`)],
    ['tokenizer_config.json', utf8.encode(`${JSON.stringify(config, null, 2)}\n`)],
  ]);
  if (options.chatTemplate !== undefined) files.set('chat_template.jinja', utf8.encode(options.chatTemplate));
  return readHfTokenizer(files, 'trainBpe');
}

function checkOptions(
  special: readonly string[],
  vocabSize: number,
  minFrequency: number,
  bosMissing: boolean,
): void {
  const least = special.length + 256;
  const bad = (option: string, expected: string, received: unknown): ConfigError =>
    new ConfigError({ where: `trainBpe: ${option}`, expected, received: String(received) });
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > 2 ** 20) {
    throw bad(
      'vocabSize',
      `a whole number from ${least} (256 bytes, ${special.length} special) to 1048576`,
      vocabSize,
    );
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1) {
    throw bad('minFrequency', 'a whole number of at least 1', minFrequency);
  }
  if (bosMissing) throw bad('addBos', 'specialTokens.bos to be given', 'none');
  const seen = new Set<string>();
  for (const token of special) {
    if (token === '' || seen.has(token))
      throw bad('specialTokens', 'different texts, none empty', `"${token}"`);
    // A lone character of the byte alphabet would replace a byte in the vocabulary.
    if (byteCharacters.includes(token))
      throw bad('specialTokens', 'texts of two characters or more', `"${token}"`);
    seen.add(token);
  }
}

/** Words of the texts with their counts, as the pre-tokenizer written below cuts them. */
function countWords(
  texts: Iterable<string>,
  special: readonly string[],
  splitDigits: boolean,
): Map<string, number> {
  const words = new Map<string, number>();
  // The longest first: the text `<s1>` holds the token `<s1>`, not `<s` and more.
  const cut =
    special.length === 0
      ? undefined
      : new RegExp(
          [...special]
            .sort((a, b) => b.length - a.length)
            .map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
            .join('|'),
        );
  for (const text of texts) {
    for (const part of cut === undefined ? [text] : text.split(cut)) {
      for (const run of splitDigits ? part.split(/(\p{N})/u) : [part]) {
        for (const word of run.match(wordPattern) ?? []) words.set(word, (words.get(word) ?? 0) + 1);
      }
    }
  }
  return words;
}

function preTokenizer(splitDigits: boolean): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  if (!splitDigits) return byteLevel;
  const split = { type: 'Split', pattern: { Regex: digitPattern }, behavior: 'Isolated', invert: false };
  return { type: 'Sequence', pretokenizers: [split, byteLevel] };
}

function bosProcessor(bos: string, id: number): object {
  const bosItem = (typeId: number): object => ({ SpecialToken: { id: bos, type_id: typeId } });
  const text = (name: 'A' | 'B', typeId: number): object => ({ Sequence: { id: name, type_id: typeId } });
  return {
    type: 'TemplateProcessing',
    single: [bosItem(0), text('A', 0)],
    pair: [bosItem(0), text('A', 0), bosItem(1), text('B', 1)],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  };
}
