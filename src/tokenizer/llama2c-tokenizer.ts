/**
 * The tokenizer of llama2.c checkpoints: SentencePiece-style pieces with scores, merged greedily, with bytes for what has
 * no piece.
 *
 * @source karpathy/llama2.c `run.c` (`encode`, `decode`, `build_tokenizer`): the file format and the merge order. What is
 *   implemented: the order of merges (highest score first, leftmost among equals), the dummy space, the byte ids.
 */
import { CheckpointError } from '../core/errors.ts';
import { showByte } from './byte-level.ts';
import {
  checkIds,
  type DecodeOptions,
  type EncodeOptions,
  type Tokenizer,
  writeTokenizerFiles,
} from './tokenizer.ts';

const UNK = 0;
const BOS = 1;
const EOS = 2;
/** Id of byte 0; bytes take the 256 ids from here. */
const FIRST_BYTE = 3;
const FIRST_PIECE = FIRST_BYTE + 256;
const SPACE = 0x20;
/** Words whose ids are kept. */
const WORD_CACHE = 65_536;
/** Special tokens as chat templates write them (the file stores BOS as a line of its own). */
const specialTexts = { [UNK]: '<unk>', [BOS]: '<s>', [EOS]: '</s>' } as const;

interface Piece {
  readonly text: string;
  readonly score: number;
}

/**
 * Reads `tok512.bin`: int32 longest piece in bytes, then per piece float32 score, int32 length, UTF-8 bytes; little endian.
 *
 * @param where the file, for messages
 * @throws CheckpointError when the bytes do not have this form
 */
export function readLlama2cTokenizer(bytes: Uint8Array, name: string, where: string): Tokenizer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const bad = (received: string): CheckpointError =>
    new CheckpointError({
      where,
      expected: 'a llama2.c tokenizer (int32 longest piece, then score, length and bytes of each piece)',
      received,
      fix: 'Pass the tokenizer file (tok512.bin, tokenizer.bin), not the weights',
    });
  if (bytes.length < 4) throw bad(`${bytes.length} bytes`);
  const longest = view.getInt32(0, true);
  const pieces: Piece[] = [];
  for (let at = 4; at < bytes.length; ) {
    if (at + 8 > bytes.length) throw bad(`a file that ends inside piece ${pieces.length}`);
    const score = view.getFloat32(at, true);
    const length = view.getInt32(at + 4, true);
    if (length < 0 || length > longest)
      throw bad(`a piece of ${length} bytes where the longest has ${longest}`);
    if (at + 8 + length > bytes.length) throw bad(`a file that ends inside piece ${pieces.length}`);
    pieces.push({ text: decoder.decode(bytes.subarray(at + 8, at + 8 + length)), score });
    at += 8 + length;
  }
  return createLlama2cTokenizer(pieces, new Map([[name, bytes]]), where);
}

/**
 * Reads the `vocab.json` that stands for the same file: `{pieces: [{id, piece, score}], …}`.
 *
 * @throws CheckpointError when the object does not have this form
 */
export function readPieceVocabulary(
  json: unknown,
  files: ReadonlyMap<string, Uint8Array>,
  where: string,
): Tokenizer {
  const list = isPieceVocabulary(json) ? json.pieces : [];
  const pieces: Piece[] = list.map((entry, id) => {
    const { piece, score, id: given } = (entry ?? {}) as { piece?: unknown; score?: unknown; id?: unknown };
    if (typeof piece !== 'string' || typeof score !== 'number' || given !== id) {
      throw new CheckpointError({
        where: `${where}: pieces[${id}]`,
        expected: `{id: ${id}, piece: string, score: number}`,
        received: JSON.stringify(entry) ?? 'undefined',
        fix: 'List the pieces in the order of their ids',
      });
    }
    return { text: piece, score };
  });
  return createLlama2cTokenizer(pieces, files, where);
}

/** Whether a parsed `vocab.json` lists pieces with scores (that of GPT-2 maps tokens to ids instead). */
export function isPieceVocabulary(json: unknown): json is { readonly pieces: readonly unknown[] } {
  return typeof json === 'object' && json !== null && 'pieces' in json && Array.isArray(json.pieces);
}

function createLlama2cTokenizer(
  pieces: readonly Piece[],
  files: ReadonlyMap<string, Uint8Array>,
  where: string,
): Tokenizer {
  if (pieces.length < FIRST_PIECE) {
    throw new CheckpointError({
      where,
      expected: `at least ${FIRST_PIECE} pieces (unknown, BOS, EOS and 256 bytes come first)`,
      received: `${pieces.length}`,
    });
  }
  const idOf = new Map<string, number>();
  for (const [id, piece] of pieces.entries()) if (!idOf.has(piece.text)) idOf.set(piece.text, id);
  const utf8 = new TextEncoder();
  const fromUtf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  // A space is only ever the first character of a piece, so no merge reaches over one: words can be merged apart, and kept.
  const wordsApart = pieces.every((piece) => piece.text.lastIndexOf(' ') <= 0);
  const wordIds = new Map<string, readonly number[]>();

  function encodePart(text: string): number[] {
    if (!wordsApart) return encodeWord(text);
    const all: number[] = [];
    for (const word of text.split(/(?= )/)) {
      let ids = wordIds.get(word);
      if (ids === undefined) {
        ids = encodeWord(word);
        if (wordIds.size >= WORD_CACHE) wordIds.clear();
        wordIds.set(word, ids);
      }
      for (const id of ids) all.push(id);
    }
    return all;
  }

  function encodeWord(text: string): number[] {
    const ids: number[] = [];
    for (const character of text) {
      const id = idOf.get(character);
      if (id !== undefined) ids.push(id);
      else for (const byte of utf8.encode(character)) ids.push(byte + FIRST_BYTE);
    }
    return mergePieces(ids, pieces, idOf);
  }

  function encode(text: string, options: EncodeOptions = {}): number[] {
    const { addSpecial = true, continuation = false, parseSpecial = false } = options;
    const ids: number[] = addSpecial && !continuation ? [BOS] : [];
    let prefix = continuation ? '' : ' ';
    for (const part of parseSpecial ? text.split(/(<s>|<\/s>)/) : [text]) {
      if (part === '') continue;
      const special = parseSpecial ? (part === '<s>' ? BOS : part === '</s>' ? EOS : undefined) : undefined;
      if (special !== undefined) {
        ids.push(special);
        continue;
      }
      for (const id of encodePart(prefix + part)) ids.push(id);
      prefix = '';
    }
    return ids;
  }

  const pieceBytes = pieces.map((piece, id) => {
    if (id < FIRST_BYTE) return utf8.encode(specialTexts[id as 0 | 1 | 2]);
    return id < FIRST_PIECE ? Uint8Array.of(id - FIRST_BYTE) : utf8.encode(piece.text);
  });

  function decode(ids: ArrayLike<number>, { skipSpecial = true }: DecodeOptions = {}): string {
    checkIds('decode', ids, pieces.length);
    const parts: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < FIRST_BYTE && skipSpecial) continue;
      const part = pieceBytes[id]!;
      const dropSpace = id >= FIRST_PIECE && i > 0 && ids[i - 1] === BOS && part[0] === SPACE;
      parts.push(dropSpace ? part.subarray(1) : part);
    }
    return fromUtf8.decode(Buffer.concat(parts));
  }

  return {
    kind: 'llama2c',
    vocabSize: pieces.length,
    bosId: BOS,
    eosId: EOS,
    unkId: UNK,
    specialIds: new Set([UNK, BOS, EOS]),
    specialTokens: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
    addsBos: true,
    chatTemplates: new Map(),
    files,
    encode,
    decode,
    tokenText(id) {
      checkIds('tokenText', [id], pieces.length);
      if (id < FIRST_BYTE) return specialTexts[id as 0 | 1 | 2];
      if (id >= FIRST_PIECE) return pieces[id]!.text;
      const byte = id - FIRST_BYTE;
      return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : showByte(byte);
    },
    save: (folder) => writeTokenizerFiles(folder, files),
  };
}

/**
 * Merges neighbours until no joined piece exists: always the pair whose joined piece has the highest score, the leftmost
 * among equals. A heap of candidates over a linked list, O(n log n); a candidate is stale once either side has changed.
 */
function mergePieces(
  ids: readonly number[],
  pieces: readonly Piece[],
  idOf: ReadonlyMap<string, number>,
): number[] {
  const n = ids.length;
  const current = Int32Array.from(ids);
  const next = Int32Array.from({ length: n }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: n }, (_, i) => i - 1);
  /** Merges at each position so far; a candidate made before the last one is stale. -1: merged into its left neighbor. */
  const version = new Int32Array(n);
  const heap: Candidate[] = [];

  const propose = (left: number): void => {
    const right = next[left]!;
    if (right >= n) return;
    const joined = idOf.get(pieces[current[left]!]!.text + pieces[current[right]!]!.text);
    if (joined === undefined) return;
    push(heap, {
      score: pieces[joined]!.score,
      left,
      right,
      joined,
      leftVersion: version[left]!,
      rightVersion: version[right]!,
    });
  };
  for (let i = 0; i < n; i++) propose(i);

  for (let best = pop(heap); best !== undefined; best = pop(heap)) {
    const { left, right } = best;
    if (version[left] !== best.leftVersion || version[right] !== best.rightVersion) continue;
    current[left] = best.joined;
    version[left]!++;
    version[right] = -1;
    next[left] = next[right]!;
    if (next[left]! < n) previous[next[left]!] = left;
    if (previous[left]! >= 0) propose(previous[left]!);
    propose(left);
  }
  const merged: number[] = [];
  for (let i = 0; i < n; i = next[i]!) merged.push(current[i]!);
  return merged;
}

interface Candidate {
  readonly score: number;
  readonly left: number;
  readonly right: number;
  readonly joined: number;
  readonly leftVersion: number;
  readonly rightVersion: number;
}

const isBefore = (a: Candidate, b: Candidate): boolean =>
  a.score > b.score || (a.score === b.score && a.left < b.left);

function push(heap: Candidate[], entry: Candidate): void {
  let at = heap.length;
  heap.push(entry);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(entry, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Candidate[]): Candidate | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return top;
}
