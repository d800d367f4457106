/**
 * Tokenizers in the form of each family against the Python libraries on 500 texts, recorded by record-tokenizers.py: ids
 * with and without special tokens, and the text that ids become.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { tokenizerTexts } from '../support/tokenizer-texts.ts';

const folder = fileURLToPath(new URL('data/tokenizers', import.meta.url));

interface Recorded {
  /** Texts that come back as they were. */
  readonly same: number;
  /** Ids, ids without what is put around a text, and what these decode to: null where it is the text. */
  readonly cases: readonly (readonly [number[], number[], string | null])[];
}

/** ASCII only, so that the file is the same for every reader. */
const ascii = (value: unknown): string =>
  JSON.stringify(value, null, 1).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

// HEED_RECORD=1 writes the input of record-tokenizers.py.
if (process.env.HEED_RECORD === '1') {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'texts.json'), `${ascii(tokenizerTexts)}\n`);
}

it('the texts are those that were recorded: 500, none twice', () => {
  expect(JSON.parse(readFileSync(join(folder, 'texts.json'), 'utf8'))).toEqual(tokenizerTexts);
  expect(new Set(tokenizerTexts).size).toBe(500);
});

const families = ['llama3', 'qwen', 'gpt2', 'smollm2', 'gemma', 'bert'];

describe.each(families)('%s', (name) => {
  const recorded = JSON.parse(readFileSync(join(folder, name, 'recorded.json'), 'utf8')) as Recorded;

  it('has the ids of the Python library on all texts', async () => {
    const tokenizer = await loadTokenizer(join(folder, name));
    const wrong = recorded.cases.flatMap(([ids, plain], index) => {
      const text = tokenizerTexts[index]!;
      const found = [tokenizer.encode(text), tokenizer.encode(text, { addSpecial: false })];
      return JSON.stringify(found) === JSON.stringify([ids, plain])
        ? []
        : [{ index, text, expected: plain, received: found[1] }];
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(wrong).toHaveLength(0);
  });

  it('gives back the texts that transformers gives back', async () => {
    const tokenizer = await loadTokenizer(join(folder, name));
    let same = 0;
    const wrong = recorded.cases.flatMap(([, plain, decoded], index) => {
      const text = tokenizerTexts[index]!;
      const received = tokenizer.decode(plain, { skipSpecial: false });
      if (received === text) same++;
      return received === (decoded ?? text) ? [] : [{ index, text, expected: decoded ?? text, received }];
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(wrong).toHaveLength(0);
    expect(same).toBe(recorded.same);
  });
});
