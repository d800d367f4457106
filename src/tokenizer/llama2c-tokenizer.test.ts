import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readLlama2cTokenizer, readPieceVocabulary } from './llama2c-tokenizer.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import { checkTokenizerFits } from './tokenizer.ts';

/** 259 fixed pieces, then the ones given with scores. */
function pieceList(extra: readonly (readonly [string, number])[]): { text: string; score: number }[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    score: 0,
  }));
  const special = ['<unk>', '\n<s>\n', '\n</s>\n'].map((text) => ({ text, score: 0 }));
  return [...special, ...bytes, ...extra.map(([text, score]) => ({ text, score }))];
}

function toBinary(pieces: readonly { text: string; score: number }[]): Uint8Array {
  const texts = pieces.map((piece) => Buffer.from(piece.text));
  const head = Buffer.alloc(4);
  head.writeInt32LE(Math.max(...texts.map((text) => text.length)));
  const parts = pieces.map((piece, id) => {
    const fixed = Buffer.alloc(8);
    fixed.writeFloatLE(piece.score, 0);
    fixed.writeInt32LE(texts[id]!.length, 4);
    return Buffer.concat([fixed, texts[id]!]);
  });
  return Buffer.concat([head, ...parts]);
}

// Ids 259 … : ' ' 259, 'a' 260, 'b' 261, 'ab' 262, 'ba' 263, ' a' 264, 'aba' 265.
const pieces = pieceList([
  [' ', -9],
  ['a', -9],
  ['b', -9],
  ['ab', -1],
  ['ba', -1],
  [' a', -3],
  ['aba', -2],
]);
const tokenizer = readLlama2cTokenizer(toBinary(pieces), 'tok266.bin', 'tok266.bin');

describe('llama2.c tokenizer', () => {
  it('merges the best score first, leftmost among equals', () => {
    // ' abab': ab (-1) at 1 ties with ba at 2 and ab at 3; the leftmost merges, then the second ab: ' ' ab ab. Joining
    // ' '+ab or ab+ab gives no piece, so ' a' (-3) never forms although it would come first in the text.
    expect(tokenizer.encode('abab')).toEqual([1, 259, 262, 262]);
    // ' aba': ab merges at 1, then ab+a = aba.
    expect(tokenizer.encode('aba')).toEqual([1, 259, 265]);
    // ' baa': ba at 1; ' '+ba is no piece and ba+a neither.
    expect(tokenizer.encode('baa')).toEqual([1, 259, 263, 260]);
    // ' bab': ba and ab tie and share the a; the left one takes it.
    expect(tokenizer.encode('bab')).toEqual([1, 259, 263, 261]);
    expect(tokenizer.encode('a')).toEqual([1, 264]);
  });

  it('writes what has no piece as bytes', () => {
    // é is C3 A9: ids 3 + 0xC3 and 3 + 0xA9.
    expect(tokenizer.encode('é')).toEqual([1, 259, 198, 172]);
    expect(tokenizer.decode([1, 259, 198, 172])).toBe('é');
  });

  it('puts no space into an empty text, and none before a continuation', () => {
    expect(tokenizer.encode('')).toEqual([1]);
    expect(tokenizer.encode('ab', { continuation: true })).toEqual([262]);
    expect(tokenizer.encode('ab', { addSpecial: false })).toEqual([259, 262]);
  });

  it('drops one space after BOS only', () => {
    expect(tokenizer.decode([1, 264, 264])).toBe('a a');
    expect(tokenizer.decode([264])).toBe(' a');
    expect(tokenizer.decode([1, 264, 2], { skipSpecial: false })).toBe('<s>a</s>');
  });

  it('reads the text of a special token only when asked', () => {
    const rendered = { addSpecial: false, parseSpecial: true };
    expect(tokenizer.encode('<s>ab</s>ab', rendered)).toEqual([1, 259, 262, 2, 262]);
    expect(tokenizer.encode('</s>', { addSpecial: false })).toHaveLength(5);
  });

  it('shows single tokens', () => {
    expect([1, 2, 13, 100, 264].map((id) => tokenizer.tokenText(id))).toEqual([
      '<s>',
      '</s>',
      '<0x0A>',
      'a',
      ' a',
    ]);
  });

  it('gives any text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  it('merges over spaces when a piece has one inside', () => {
    const joined = readLlama2cTokenizer(toBinary([...pieces, { text: 'b a', score: 0 }]), 'x.bin', 'x.bin');
    // ' b ab': no piece holds 'b ' or ' ab' apart from ' a' (-3), so ab (-1) merges first and 'b a' cannot form.
    expect(joined.encode('b ab')).toEqual([1, 259, 261, 259, 262]);
    // ' b a': ' a' is made, and 'b' + ' a' is the piece 'b a', id 266; cut at spaces, it would never be seen.
    expect(joined.encode('b a')).toEqual([1, 259, 266]);
    expect(tokenizer.encode('b a')).toEqual([1, 259, 261, 264]);
  });

  it('reads the same pieces from JSON', () => {
    const json = { pieces: pieces.map((piece, id) => ({ id, piece: piece.text, score: piece.score })) };
    const same = readPieceVocabulary(json, new Map(), 'vocab.json');
    expect(same.encode('abab aba é')).toEqual(tokenizer.encode('abab aba é'));
    expect(() =>
      readPieceVocabulary({ pieces: [{ id: 1, piece: 'x', score: 0 }] }, new Map(), 'vocab.json'),
    ).toThrow('vocab.json: pieces[0]: expected {id: 0, piece: string, score: number}');
  });

  it('refuses files of another form', () => {
    const read = (bytes: Uint8Array) => () => readLlama2cTokenizer(bytes, 'x.bin', 'x.bin');
    expect(read(new Uint8Array(2))).toThrow('received 2 bytes');
    expect(read(toBinary(pieces).subarray(0, 50))).toThrow(/ends inside piece \d/);
    const long = toBinary(pieces);
    long[0] = 2; // the longest piece shall have 2 bytes, but <unk> has 5
    expect(read(long)).toThrow('received a piece of 5 bytes where the longest has 2');
    expect(read(toBinary(pieces.slice(0, 10)))).toThrow('expected at least 259 pieces');
  });

  it('saves the file it was read from', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-tok-'));
    await tokenizer.save(folder);
    const again = await loadTokenizer(folder);
    expect(again.encode('abab é')).toEqual(tokenizer.encode('abab é'));
    expect(readFileSync(join(folder, 'tok266.bin'))).toEqual(toBinary(pieces));
  });

  it('must fit the model', () => {
    expect(() => checkTokenizerFits(tokenizer, { vocabSize: 266, where: 'model' })).not.toThrow();
    expect(() => checkTokenizerFits(tokenizer, { vocabSize: 265, where: 'model' })).toThrow(
      'model: expected a tokenizer with ids below 265, the model\'s vocabulary, received a tokenizer of 266 tokens (id 265 is "aba")',
    );
  });
});

const stories = fileURLToPath(new URL('../../../shared/data/models/stories260K', import.meta.url));
describe.skipIf(!existsSync(stories))('stories260K', () => {
  it.each(['tok512.bin', 'hf', 'hf/vocab.json', '.'])(
    'gives the recorded ids and texts from %s',
    async (path) => {
      const real = await loadTokenizer(join(stories, path));
      const reference = JSON.parse(readFileSync(join(stories, 'reference.json'), 'utf8')) as {
        cases: { prompt: string; ids: number[]; greedy_ids: number[]; greedy_text: string }[];
      };
      expect(real.vocabSize).toBe(512);
      for (const { prompt, ids, greedy_ids, greedy_text } of reference.cases) {
        expect(real.encode(prompt)).toEqual(ids);
        expect(real.decode(greedy_ids)).toBe(greedy_text);
      }
    },
  );
});
