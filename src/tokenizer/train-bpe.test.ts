import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bpeCorpus, hardTexts } from '../../test/support/bpe-corpus.ts';
import { learnMerges } from './learn-merges.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import { trainBpe } from './train-bpe.ts';

const byte = (character: string): number => character.charCodeAt(0);

/** The definition, word by word: count all pairs afresh before every merge. */
function learnSlowly(
  counts: ReadonlyMap<string, number>,
  limit: number,
  minFrequency: number,
): [number, number][] {
  let words = [...counts].map(([word, times]) => ({ ids: [...Buffer.from(word)], times }));
  const merges: [number, number][] = [];
  while (merges.length < limit) {
    const pairs = new Map<string, { pair: [number, number]; times: number }>();
    for (const { ids, times } of words) {
      for (let i = 0; i + 1 < ids.length; i++) {
        const key = `${ids[i]},${ids[i + 1]}`;
        const known = pairs.get(key);
        pairs.set(key, { pair: [ids[i]!, ids[i + 1]!], times: (known?.times ?? 0) + times });
      }
    }
    const best = [...pairs.values()].sort(
      (a, b) => b.times - a.times || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1],
    )[0];
    if (best === undefined || best.times < minFrequency) break;
    const made = 256 + merges.length;
    merges.push(best.pair);
    words = words.map(({ ids, times }) => {
      const merged: number[] = [];
      for (let i = 0; i < ids.length; i++) {
        const hit = ids[i] === best.pair[0] && ids[i + 1] === best.pair[1];
        merged.push(hit ? made : ids[i]!);
        if (hit) i++;
      }
      return { ids: merged, times };
    });
  }
  return merges;
}

describe('learnMerges', () => {
  it('merges by frequency, ties by the smaller ids', () => {
    // aab × 2, ab × 1, ba × 3: pairs aa 2, ab 3, ba 3. ab and ba tie at 3, a < b, so ab → 256 first.
    // Then: a·256 2, 256 alone, ba 3 → ba = 257. Then a·256 = 258. Nothing is left.
    const words = new Map([
      ['aab', 2],
      ['ab', 1],
      ['ba', 3],
    ]);
    expect(learnMerges(words, { firstByte: 0, merges: 9, minFrequency: 1 })).toEqual([
      [byte('a'), byte('b')],
      [byte('b'), byte('a')],
      [byte('a'), 256],
    ]);
    expect(learnMerges(words, { firstByte: 0, merges: 9, minFrequency: 3 })).toHaveLength(2);
    expect(learnMerges(words, { firstByte: 0, merges: 1, minFrequency: 1 })).toHaveLength(1);
  });

  it('equals the definition, with fresh counts before every merge', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 9 });
    const corpus = fc.array(fc.tuple(word, fc.integer({ min: 1, max: 4 })), { maxLength: 12 });
    fc.assert(
      fc.property(corpus, fc.integer({ min: 1, max: 3 }), (entries, minFrequency) => {
        const counts = new Map(entries);
        const fast = learnMerges(counts, { firstByte: 0, merges: 30, minFrequency });
        expect(fast).toEqual(learnSlowly(counts, 30, minFrequency));
      }),
      { numRuns: 300 },
    );
  });
});

describe('trainBpe', () => {
  const options = {
    vocabSize: 400,
    specialTokens: { bos: '<s>', eos: '</s>', pad: '</s>', additional: ['<|user|>'] },
    chatTemplate: '{{ messages[0].content }}',
    modelMaxLength: 128,
  };
  const tokenizer = trainBpe(bpeCorpus, options);

  it('lays out special tokens, bytes, then merges', () => {
    expect(tokenizer.vocabSize).toBe(400);
    expect([0, 1, 2].map((id) => tokenizer.tokenText(id))).toEqual(['<s>', '</s>', '<|user|>']);
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.unkId]).toEqual([
      0,
      1,
      1,
      undefined,
    ]);
    expect(tokenizer.tokenText(3 + byte('A'))).toBe('A');
    expect(tokenizer.tokenText(3 + 0xe2)).toBe('<0xE2>');
    expect([...tokenizer.specialIds]).toEqual([0, 1, 2]);
    expect(tokenizer.addsBos).toBe(true);
    expect(tokenizer.chatTemplate).toBe(options.chatTemplate);
  });

  it('compresses what it was trained on', () => {
    const text = 'The gardener waters the roses.';
    expect(tokenizer.encode(text).length).toBeLessThan(10); // 30 bytes
  });

  it('gives any text back', () => {
    for (const text of hardTexts)
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.replaceAll(/<s>|<\|user\|>|<\/s>/g, ''));
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (prompt, completion) => {
        const ids = [...tokenizer.encode(prompt), ...tokenizer.encode(completion, { continuation: true })];
        expect(tokenizer.decode(ids)).toBe(prompt + completion);
      }),
    );
  });

  it('loads back with the same ids', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-bpe-'));
    await tokenizer.save(folder);
    const again = await loadTokenizer(folder);
    for (const text of hardTexts) expect(again.encode(text)).toEqual(tokenizer.encode(text));
    expect(again.chatTemplate).toBe(options.chatTemplate);
    expect([...again.files]).toHaveLength(3);
  });

  it('does not depend on the order of the texts', () => {
    const reversed = trainBpe([...bpeCorpus].reverse(), options);
    expect(new TextDecoder().decode(reversed.files.get('tokenizer.json'))).toBe(
      new TextDecoder().decode(tokenizer.files.get('tokenizer.json')),
    );
  });

  it('never merges across a special token', () => {
    const special = trainBpe(Array(50).fill('go<|user|>on'), {
      vocabSize: 300,
      specialTokens: { additional: ['<|user|>'] },
    });
    expect(special.encode('go<|user|>on').map((id) => special.tokenText(id))).toEqual([
      'go',
      '<|user|>',
      'on',
    ]);
    expect(special.vocabSize).toBe(259); // only `go` and `on` repeat
    expect(special.addsBos).toBe(false);
  });

  it('keeps digits apart when asked', () => {
    const texts = Array(20).fill('in 2026 and 2025');
    const show = (splitDigits: boolean): string[] => {
      const trained = trainBpe(texts, { vocabSize: 300, splitDigits });
      return trained.encode('in 2026').map((id) => trained.tokenText(id));
    };
    expect(show(true)).toEqual(['in', ' ', '2', '0', '2', '6']);
    expect(show(false)).toEqual(['in', ' 2026']);
  });

  it('refuses impossible options', () => {
    expect(() => trainBpe([], { vocabSize: 255 })).toThrow(
      'trainBpe: vocabSize: expected a whole number from 256',
    );
    expect(() => trainBpe([], { vocabSize: 300, addBos: true })).toThrow(
      'expected specialTokens.bos to be given',
    );
    expect(() =>
      trainBpe([], { vocabSize: 300, specialTokens: { eos: '<e>', additional: ['<e>'] } }),
    ).toThrow('expected different texts');
    expect(() => trainBpe([], { vocabSize: 300, specialTokens: { eos: 'a' } })).toThrow('two characters');
  });
});
