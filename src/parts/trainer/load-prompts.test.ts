import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadTokenizer, trainBpe } from '../../tokenizer/index.ts';
import { loadPrompts } from './load-prompts.ts';

const place = mkdtempSync(join(tmpdir(), 'heed-prompts-'));
afterAll(() => rmSync(place, { recursive: true }));
await trainBpe(['one two three '], { vocabSize: 260, specialTokens: { bos: '<s>', eos: '</s>' } }).save(
  place,
);
const tokenizer = await loadTokenizer(place);

const load = (rows: number, maxLength = 32) => {
  const data = join(place, `${rows}.jsonl`);
  const lines = Array.from(
    { length: rows },
    (_, row) => `${JSON.stringify({ prompt: `one ${row}`, gold: row })}\n`,
  );
  writeFileSync(data, lines.join(''));
  const observer = { stage() {}, note() {}, metrics() {} };
  const config = { data, from: 'auto', seed: 0, maxLength, truncation: 'error', refused: 'throw' } as const;
  return loadPrompts(config, tokenizer, observer, join(place, '.cache'));
};
const kept = (): number =>
  readdirSync(place).includes('.cache') ? readdirSync(join(place, '.cache')).length : 0;

describe('loadPrompts', () => {
  it('keeps the ids of many prompts, by what they depend on, and gives the same from there', async () => {
    const few = await load(10);
    expect(kept()).toBe(0);
    const many = await load(2000);
    expect(kept()).toBe(1);
    const again = await load(2000);
    expect(kept()).toBe(1);
    expect(again.prompts).toEqual(many.prompts);
    expect(again.prompts.slice(0, 10)).toEqual(
      few.prompts.map((prompt, row) => ({ ...prompt, row: again.prompts[row]!.row })),
    );
    expect(again.prompts[7]).toMatchObject({ text: 'one 7', row: { columns: { gold: 7 } } });
    await load(2000, 16);
    expect(kept()).toBe(2);
  });
});
