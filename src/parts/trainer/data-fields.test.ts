import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { resolveConfig } from '../../core/resolve-config.ts';
import { dataFields, readHeldOutRows, readTrainingRows } from './data-fields.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-data-fields-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (path: string, ...texts: string[]): string => {
  const file = join(folder, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  return file;
};
const a = write('a.jsonl', 'a1', 'a2');
write('set/train.jsonl', 'b1', 'b2');
write('set/test.jsonl', 'c1');
const set = join(folder, 'set');

const schema = z.strictObject(dataFields);
const flags = (...pairs: [string, string][]) =>
  resolveConfig(schema, { flags: pairs.map(([name, value]) => ({ name, value })) }).value;
const file = (text: string) => resolveConfig(schema, { files: [{ path: 'c.yaml', text }] }).value;
const texts = async (config: z.output<typeof schema>, maxRows?: number) =>
  (await readTrainingRows({ ...config, seed: 0, maxRows })).map(({ columns }) => columns.text);

describe('training data', () => {
  it('is one data set or several, by flag, repeated flag, list or YAML', async () => {
    const all = ['a1', 'a2', 'b1', 'b2'];
    expect(await texts(flags(['data', a]))).toEqual(['a1', 'a2']);
    expect(await texts(flags(['data', a], ['data', set]))).toEqual(all);
    expect(await texts(flags(['data', `${a},${set}`]))).toEqual(all);
    expect(await texts(file(`data: ${a}`))).toEqual(['a1', 'a2']);
    expect(await texts(file(`data: [${a}, ${set}]`))).toEqual(all);
    expect(await texts(file(`dataset_name: ${set}\ndataset_train_split: test`))).toEqual(['c1']);
    expect(await texts(flags(['data', `${a},${set}`]), 3)).toEqual(['a1', 'a2', 'b1']);
    const mixed = await texts(flags(['data', `${a},${set}`], ['data-weights', '1,1']));
    expect(all).toEqual(expect.arrayContaining(mixed));
    expect(() => flags(['data', a], ['data-weights', '0,1'])).toThrow('--data-weights');
    expect(() => flags(['data', a], ['from', 'alpacca'])).toThrow('--from');
  });

  it('leaves out what a converter cannot read when asked, and says so', async () => {
    const rows = [{ instruction: 'a', output: 'b' }, { instruction: 'c' }];
    const path = join(folder, 'alpaca.jsonl');
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const config = { data: path, from: 'auto', seed: 0 } as const;
    await expect(readTrainingRows(config)).rejects.toThrow('row 2, `output`: expected text');
    const notes: string[] = [];
    const read = await readTrainingRows({ ...config, refused: 'drop' }, (message) => notes.push(message));
    expect(read).toHaveLength(1);
    expect(notes).toEqual([
      expect.stringMatching(/^1 rows could not be read and were left out, .*row 2, `output`/),
    ]);
  });

  it('holds out validation or test rows of a folder', async () => {
    const held = await readHeldOutRows(set, { from: 'auto' });
    expect(held.map(({ columns }) => columns.text)).toEqual(['c1']);
  });
});
