/** Token ids against the Python library `tokenizers`, recorded by record-bpe-tokenizer.py. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadTokenizer, trainBpe } from '../../src/tokenizer/index.ts';
import { bpeCorpus, hardTexts } from '../support/bpe-corpus.ts';

const folder = fileURLToPath(new URL('data/bpe-tokenizer', import.meta.url));

const variants = {
  plain: { vocabSize: 560, specialTokens: { eos: '</s>', additional: ['<|user|>', '<|end|>'] } },
  'bos-digits': {
    vocabSize: 400,
    specialTokens: { bos: '<s>', eos: '</s>', pad: '</s>' },
    splitDigits: true,
  },
} as const;

interface Recorded {
  readonly tokenizers: string;
  readonly cases: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly plainIds: readonly number[];
    readonly decoded: string;
    readonly decodedWithSpecial: string;
  }[];
}

describe.each(Object.entries(variants))('trainBpe, %s', (name, options) => {
  const path = join(folder, name);
  const trained = trainBpe(bpeCorpus, options);

  // HEED_RECORD=1 writes the inputs of record-bpe-tokenizer.py.
  if (process.env.HEED_RECORD === '1') {
    mkdirSync(path, { recursive: true });
    for (const [file, bytes] of trained.files) writeFileSync(join(path, file), bytes);
    writeFileSync(join(folder, 'texts.json'), `${JSON.stringify(hardTexts, null, 1)}\n`);
  }

  it('writes the recorded files again, byte for byte', () => {
    for (const [file, bytes] of trained.files) {
      expect(new TextDecoder().decode(bytes)).toBe(readFileSync(join(path, file), 'utf8'));
    }
  });

  it('encodes and decodes as the Python library does', async () => {
    const recorded = JSON.parse(readFileSync(join(path, 'recorded.json'), 'utf8')) as Recorded;
    const loaded = await loadTokenizer(path);
    expect(recorded.cases.map((entry) => entry.text)).toEqual(hardTexts);
    for (const { text, ids, plainIds, decoded, decodedWithSpecial } of recorded.cases) {
      expect({ text, ids: loaded.encode(text) }).toEqual({ text, ids });
      expect({ text, ids: trained.encode(text) }).toEqual({ text, ids });
      expect({ text, ids: loaded.encode(text, { addSpecial: false }) }).toEqual({ text, ids: plainIds });
      expect(loaded.decode(ids)).toBe(decoded);
      expect(loaded.decode(ids, { skipSpecial: false })).toBe(decodedWithSpecial);
    }
  });
});
