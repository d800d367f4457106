import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Tokenizer } from '../tokenizer/index.ts';
import { loadTokenizer } from '../tokenizer/load-tokenizer.ts';
import { trainBpe } from '../tokenizer/train-bpe.ts';
import { type EncodeCacheOptions, openEncodeCache } from './encode-cache.ts';
import { encodeRows } from './encode-rows.ts';
import { createEncoder } from './encoder.ts';
import { type Row, toRows } from './row.ts';

const root = mkdtempSync(join(tmpdir(), 'heed-encode-cache-'));
afterAll(() => rmSync(root, { recursive: true }));
const folder = join(root, 'cache');
beforeEach(() => rmSync(folder, { recursive: true, force: true }));

async function tokenizerOf(name: string, ...texts: string[]): Promise<Tokenizer> {
  const place = join(root, name);
  await trainBpe(texts, { vocabSize: 270, specialTokens: { bos: '<s>', eos: '</s>' } }).save(place);
  return loadTokenizer(place);
}
const tokenizer = await tokenizerOf('one', 'the cat sat on the mat '.repeat(20));
const other = await tokenizerOf('two', 'where a dog ran '.repeat(20));

const pairs = toRows(
  Array.from({ length: 20 }, (_, index) => ({
    prompt: `the ${index}`,
    chosen: ` cat ${index}`,
    rejected: ' mat',
  })),
  'pairs.jsonl',
);

/** Encodes through the cache and counts the rows that were really encoded. */
function encode(rows: readonly Row[], options: Partial<EncodeCacheOptions> = {}, change = (row: Row) => row) {
  const encoder = createEncoder(options.tokenizer ?? tokenizer);
  let count = 0;
  const cache = openEncodeCache({ folder, tokenizer, encoding: { kind: 'preference' }, ...options });
  const { examples, report } = encodeRows(
    rows,
    (row) => {
      count++;
      return encoder.preference(change(row));
    },
    { refused: 'drop', cache },
  );
  return { examples, report, count };
}

describe('openEncodeCache', () => {
  it('gives what the encoder gives, and encodes only three rows again', () => {
    const first = encode(pairs);
    expect(first.count).toBe(20);
    const second = encode(pairs);
    expect(second).toEqual({ ...first, count: 3 });
    expect(second.examples[7]!.chosen.ids).toBeInstanceOf(Int32Array);
    expect(second.examples[7]!.chosen.mask).toBeInstanceOf(Uint8Array);
  });

  it('knows a row by its content, wherever it stands', () => {
    encode(pairs);
    const moved = toRows(
      [...pairs].reverse().map(({ columns }) => columns),
      'other.jsonl',
    );
    const more = toRows([{ prompt: 'x', chosen: 'y', rejected: 'z' }], 'more.jsonl');
    const { examples, count } = encode([...moved, ...more]);
    expect(count).toBe(4);
    expect(examples[0]!.where).toBe('other.jsonl, row 1');
    expect(examples[0]!.chosen.where).toBe('other.jsonl, row 1');
    // Old and new are kept.
    expect(encode([...more, ...pairs]).count).toBe(3);
  });

  it('keeps tokenizers, encodings and templates apart', () => {
    encode(pairs);
    expect(encode(pairs, { tokenizer: other }).count).toBe(20);
    expect(encode(pairs, { encoding: { kind: 'preference', maxLength: 8 } }).count).toBe(20);
    const template = new Map([
      ...tokenizer.files,
      ['chat_template.jinja', new TextEncoder().encode('{{ x }}')],
    ]);
    expect(encode(pairs, { tokenizer: { ...tokenizer, files: template } as Tokenizer }).count).toBe(20);
    expect(encode(pairs).count).toBe(3);
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it('forgets everything when the encoder gives something else, or the file is damaged', () => {
    const plain = encode(pairs);
    const changed = (row: Row): Row => ({ ...row, columns: { ...row.columns, chosen: ' changed' } });
    expect(encode(pairs, {}, changed).count).toBe(20);
    rmSync(folder, { recursive: true });
    encode(pairs);
    const file = join(folder, readdirSync(folder)[0]!);
    const bytes = readFileSync(file);
    for (const at of [0, 10, bytes.length >> 1, bytes.length - 1]) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = damaged[at]! ^ 1;
      writeFileSync(file, damaged);
      expect(encode(pairs)).toEqual(plain);
      writeFileSync(file, bytes.subarray(0, at));
      expect(encode(pairs)).toEqual(plain);
    }
  });

  it('keeps no refusals and writes nothing without need', () => {
    const bad = toRows([{ prompt: 'a', chosen: 'b', rejected: 'b' }]);
    const good = encode([...pairs, ...bad]);
    expect(good.report.dropped).toBe(1);
    const file = join(folder, readdirSync(folder)[0]!);
    rmSync(file);
    const cache = openEncodeCache({ folder, tokenizer, encoding: {} });
    cache.save();
    expect(existsSync(file)).toBe(false);
    expect(encode([...pairs, ...bad]).report).toEqual(good.report);
    expect(encode([...pairs, ...bad])).toMatchObject({ count: 4, report: good.report });
  });
});
