/**
 * Tokenizers inside GGUF files, as the files that a Hugging Face folder would have: one implementation of byte-pair
 * encoding serves both, and a model that came as GGUF leaves as a folder.
 *
 * Two kinds of vocabulary are read: `gpt2` (byte-level, with merges) and `llama` (SentencePiece pieces with scores, from
 * which the merges follow: a merge makes a piece of two pieces, the one of highest score first).
 *
 * @source ggml-org/llama.cpp `src/llama-vocab.cpp` (kinds, pre-tokenizers, defaults); ids recorded from `sentencepiece`,
 *   `tokenizers` and llama.cpp (test/golden, examples/real-models)
 */
import { CheckpointError } from '../core/errors.ts';
import type { GgufFile, GgufValue } from '../models/gguf.ts';
import { additionalTemplatesFolder } from './hf-tokenizer.ts';

type Json = Readonly<Record<string, unknown>>;

/** Types of tokens in the file. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

/** Metadata of a tokenizer, checked. */
interface Vocabulary {
  readonly where: string;
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
  get(name: string): GgufValue | undefined;
  flag(name: string, otherwise: boolean): boolean;
  /** The id of a special token. */
  id(name: string): number | undefined;
}

/**
 * The tokenizer files of a GGUF file by name: `tokenizer.json`, `tokenizer_config.json`, and chat templates where it has any.
 *
 * @throws CheckpointError when the file has no tokenizer, or one of a kind that is not known
 */
export function ggufTokenizerFiles({ file, metadata }: GgufFile): Map<string, Uint8Array> {
  const vocabulary = openVocabulary(file, metadata);
  const utf8 = new TextEncoder();
  const files = new Map<string, Uint8Array>();
  const add = (name: string, text: string) => files.set(name, utf8.encode(text));
  const own = metadata.get('tokenizer.huggingface.json');
  add('tokenizer.json', typeof own === 'string' ? own : JSON.stringify(definition(vocabulary)));
  add('tokenizer_config.json', `${JSON.stringify(configuration(vocabulary, metadata), null, 2)}\n`);
  for (const [key, template] of metadata) {
    const [, name] = /^tokenizer\.chat_template(?:\.(.+))?$/.exec(key) ?? [undefined, null];
    if (name === null || typeof template !== 'string') continue;
    if (name === undefined) add('chat_template.jinja', template);
    else if (/^[\w-]+$/.test(name)) add(`${additionalTemplatesFolder}/${name}.jinja`, template);
  }
  return files;
}

function openVocabulary(file: string, metadata: GgufFile['metadata']): Vocabulary {
  const get = (name: string) => metadata.get(`tokenizer.ggml.${name}`);
  const tokens = get('tokens');
  if (!Array.isArray(tokens) || !tokens.every((token) => typeof token === 'string')) {
    throw new CheckpointError({
      where: `${file}: tokenizer.ggml.tokens`,
      expected: 'a list of tokens',
      received: tokens === undefined ? 'nothing' : 'something else',
      fix: 'Name a tokenizer with --tokenizer, or use a file that has one',
    });
  }
  const types = get('token_type');
  return {
    where: file,
    tokens,
    types: isNumbers(types) && types.length === tokens.length ? types : new Uint8Array(tokens.length),
    get,
    flag: (name, otherwise) => {
      const value = get(name);
      return typeof value === 'boolean' ? value : otherwise;
    },
    id: (name) => {
      const value = get(`${name}_token_id`);
      return typeof value === 'number' && value < tokens.length ? value : undefined;
    },
  };
}

const isNumbers = (
  value: GgufValue | undefined,
): value is Exclude<GgufValue, readonly GgufValue[]> & ArrayLike<number> => ArrayBuffer.isView(value);

function definition(vocabulary: Vocabulary): Json {
  const kind = vocabulary.get('model');
  switch (kind) {
    case 'gpt2':
      return byteLevelDefinition(vocabulary);
    case 'llama':
      return pieceDefinition(vocabulary);
    default:
      throw new CheckpointError({
        where: `${vocabulary.where}: tokenizer.ggml.model`,
        expected: 'gpt2 or llama',
        received: JSON.stringify(kind) ?? 'nothing',
        fix: 'Name a tokenizer with --tokenizer',
      });
  }
}

/** Splits words off before merging, as patterns of `tokenizer.json`. */
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const words = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const byteLevel = (useRegex: boolean): Json => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const splitBy = (pattern: string): readonly Json[] => [
  { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
  byteLevel(false),
];

interface PreTokenizer {
  readonly steps: readonly Json[];
  readonly normalizer?: Json;
  /** A word that is a token by itself is not built from merges. */
  readonly wholeWords?: boolean;
  /** Whether a text begins with BOS where the file does not say. */
  readonly addsBos?: boolean;
}

const gpt2Words: PreTokenizer = { steps: [byteLevel(true)] };
const llama3Words: PreTokenizer = { steps: splitBy(words('{1,3}')), wholeWords: true, addsBos: true };
const qwenWords: PreTokenizer = { steps: splitBy(words('')), normalizer: { type: 'NFC' } };
// As `Digits` with individual digits, which the JavaScript library takes for ASCII digits only.
const smollmWords: PreTokenizer = {
  steps: [
    { type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false },
    byteLevel(true),
  ],
};

/** Pre-tokenizers by their name in the file. */
const preTokenizers: ReadonlyMap<unknown, PreTokenizer> = new Map([
  ['gpt-2', gpt2Words],
  ['phi-2', gpt2Words],
  ['olmo', gpt2Words],
  ['smollm', smollmWords],
  ['starcoder', smollmWords],
  ['llama3', llama3Words],
  ['llama-v3', llama3Words],
  ['llama-bpe', llama3Words],
  ['qwen2', qwenWords],
]);

function byteLevelDefinition(vocabulary: Vocabulary): Json {
  const name = vocabulary.get('pre');
  const pre = preTokenizers.get(name);
  if (pre === undefined) {
    throw new CheckpointError({
      where: `${vocabulary.where}: tokenizer.ggml.pre`,
      expected: [...preTokenizers.keys()].join(', '),
      received: JSON.stringify(name) ?? 'nothing, as in files of before May 2024',
      fix: 'Name the tokenizer of the original model with --tokenizer',
    });
  }
  const merges = vocabulary.get('merges');
  if (!Array.isArray(merges)) {
    throw new CheckpointError({
      where: `${vocabulary.where}: tokenizer.ggml.merges`,
      expected: 'a list of merges',
      received: merges === undefined ? 'nothing' : 'something else',
      fix: 'Name the tokenizer of the original model with --tokenizer',
    });
  }
  return {
    version: '1.0',
    added_tokens: addedTokens(vocabulary),
    normalizer: pre.normalizer ?? null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: pre.steps },
    post_processor: postProcessor(vocabulary, pre.addsBos ?? false),
    decoder: byteLevel(true),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.wholeWords ?? false,
      vocab: vocabOf(vocabulary),
      merges,
    },
  };
}

function pieceDefinition(vocabulary: Vocabulary): Json {
  const unknown = vocabulary.id('unknown');
  const prefix = vocabulary.flag('add_space_prefix', true);
  const space = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  return {
    version: '1.0',
    added_tokens: addedTokens(vocabulary),
    normalizer: prefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, space] }
      : space,
    pre_tokenizer: null,
    post_processor: postProcessor(vocabulary, true),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown === undefined ? null : vocabulary.tokens[unknown],
      fuse_unk: true,
      byte_fallback: hasBytes(vocabulary),
      ignore_merges: false,
      vocab: vocabOf(vocabulary),
      merges: mergesOf(vocabulary),
    },
  };
}

function hasBytes({ types }: Vocabulary): boolean {
  return Array.prototype.some.call(types, (type) => type === BYTE);
}

/** Ids by token; the first of equal ones. */
function vocabOf({ tokens }: Vocabulary): Record<string, number> {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!ids.has(token)) ids.set(token, id);
  return Object.fromEntries(ids);
}

/**
 * The merges of a vocabulary of scored pieces: every way to make a piece of two pieces, pieces of higher score first; the
 * ways to one piece in the order of their parts' ids.
 */
function mergesOf(vocabulary: Vocabulary): (readonly [string, string])[] {
  const { tokens, types, where } = vocabulary;
  const scores = vocabulary.get('scores');
  if (!isNumbers(scores) || scores.length !== tokens.length) {
    throw new CheckpointError({
      where: `${where}: tokenizer.ggml.scores`,
      expected: `${tokens.length} numbers, one per token`,
      received: isNumbers(scores) ? String(scores.length) : 'nothing',
      fix: 'Name the tokenizer of the original model with --tokenizer',
    });
  }
  const isText = (id: number): boolean =>
    types[id] !== CONTROL && types[id] !== UNKNOWN && types[id] !== BYTE && types[id] !== USER_DEFINED;
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (isText(id) && !ids.has(token)) ids.set(token, id);
  const order = [...ids.values()].sort((a, b) => scores[b]! - scores[a]! || a - b);
  const merges: (readonly [string, string])[] = [];
  for (const id of order) {
    const piece = tokens[id]!;
    const ways: (readonly [number, number])[] = [];
    for (let at = 1; at < piece.length; at++) {
      const left = ids.get(piece.slice(0, at));
      if (left === undefined) continue;
      const right = ids.get(piece.slice(at));
      if (right !== undefined) ways.push([left, right]);
    }
    ways.sort(([a, b], [c, d]) => a - c || b - d);
    for (const [left, right] of ways) merges.push([tokens[left]!, tokens[right]!]);
  }
  return merges;
}

/** Tokens that are found in a text before anything else. */
function addedTokens({ tokens, types }: Vocabulary): Json[] {
  const added: Json[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id];
    if (type !== CONTROL && type !== USER_DEFINED && type !== UNKNOWN) continue;
    const special = type !== USER_DEFINED;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return added;
}

/** What goes around a text: BOS and EOS as the file says. */
function postProcessor(vocabulary: Vocabulary, addsBos: boolean): Json | null {
  const around = (name: 'bos' | 'eos', wanted: boolean) => {
    const id = vocabulary.flag(`add_${name}_token`, wanted) ? vocabulary.id(name) : undefined;
    return id === undefined ? [] : [{ id, token: vocabulary.tokens[id]! }];
  };
  const before = around('bos', addsBos);
  const after = around('eos', false);
  if (before.length + after.length === 0) return null;
  const piece = ({ token }: { token: string }) => ({ SpecialToken: { id: token, type_id: 0 } });
  const text = (id: 'A' | 'B') => [
    ...before.map(piece),
    { Sequence: { id, type_id: 0 } },
    ...after.map(piece),
  ];
  return {
    type: 'TemplateProcessing',
    single: text('A'),
    pair: [...text('A'), ...text('B')],
    special_tokens: Object.fromEntries(
      [...before, ...after].map(({ id, token }) => [token, { id: token, ids: [id], tokens: [token] }]),
    ),
  };
}

function configuration(vocabulary: Vocabulary, metadata: GgufFile['metadata']): Json {
  const role = (name: string, key: string): Json => {
    const id = vocabulary.id(name);
    return id === undefined ? {} : { [key]: vocabulary.tokens[id] };
  };
  const context = metadata.get(`${String(metadata.get('general.architecture'))}.context_length`);
  return {
    ...role('bos', 'bos_token'),
    ...role('eos', 'eos_token'),
    ...role('unknown', 'unk_token'),
    ...role('padding', 'pad_token'),
    clean_up_tokenization_spaces: false,
    ...(typeof context === 'number' ? { model_max_length: context } : {}),
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
}
