import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRows } from '../../data/index.ts';
import { commands } from '../commands.ts';
import type { Host } from '../host.ts';
import { runProgram } from '../run-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-data-command-'));
afterAll(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);

function rowsFile(name: string, rows: readonly object[]): string {
  writeFileSync(place(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return place(name);
}

async function data(...words: string[]) {
  let stdout = '';
  let stderr = '';
  const host: Host = {
    stdout: { columns: 80, write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    version: '0',
    clock: () => 0,
    now: () => 0,
    every: () => () => {},
    memory: () => 0,
    onSignal: () => () => {},
    exit: () => {},
  };
  const code = await runProgram(['data', ...words, '--quiet'], commands, host);
  return { code, stdout, stderr };
}

const columnsOf = async (path: string): Promise<unknown[]> =>
  (await loadRows(path, { from: 'none' })).map(({ columns }) => columns);

const texts = (count: number, from = 0): { text: string }[] =>
  Array.from({ length: count }, (_, index) => ({ text: `text ${from + index}` }));

describe('heed data', () => {
  it('converts forms and files', async () => {
    const alpaca = place('alpaca.json');
    writeFileSync(alpaca, JSON.stringify([{ instruction: 'Add', input: '', output: '3', id: 1 }], null, 2));
    const out = place('out.parquet');
    const { code, stdout } = await data('convert', alpaca, '--output', out, '--drop', 'id');
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^1 row in .*out\.parquet, /),
    });
    expect(await columnsOf(out)).toEqual([
      { prompt: [{ role: 'user', content: 'Add' }], completion: [{ role: 'assistant', content: '3' }] },
    ]);
    const before = readFileSync(out);
    const again = await data('convert', alpaca, '--output', out);
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('--overwrite') });
    expect(readFileSync(out).equals(before)).toBe(true);
    expect((await data('convert', alpaca, '--output', out, '--from', 'none', '--overwrite')).code).toBe(0);
    expect(await columnsOf(out)).toEqual([{ instruction: 'Add', input: '', output: '3', id: 1 }]);
  });

  it('removes repeated rows, shuffles with a seed and takes the first', async () => {
    const path = rowsFile('repeats.jsonl', [...texts(30), ...texts(5), { text: 'Text  3!' }]);
    const read = async (...flags: string[]) => {
      await data('convert', path, '--output', place('r.jsonl'), '--overwrite', ...flags);
      return columnsOf(place('r.jsonl'));
    };
    expect(await read('--unique', 'exact')).toEqual([...texts(30), { text: 'Text  3!' }]);
    expect(await read('--unique', 'normalized')).toEqual(texts(30));
    const shuffled = await read('--unique', 'normalized', '--shuffle', '--seed', '3');
    expect(shuffled).not.toEqual(texts(30));
    expect(shuffled).toHaveLength(30);
    expect(shuffled).toEqual(expect.arrayContaining(texts(30)));
    expect(await read('--unique', 'normalized', '--shuffle', '--seed', '3', '--max-rows', '4')).toEqual(
      shuffled.slice(0, 4),
    );
    const blocks = (await read('--unique', 'normalized', '--shuffle-block', '10')).slice(0, 10);
    expect(blocks).toEqual(expect.arrayContaining(texts(10)));
  });

  it('splits so that no prompt is on two sides', async () => {
    const rows = Array.from({ length: 200 }, (_, index) => ({
      prompt: `q${index % 50}`,
      completion: `a${index}`,
    }));
    const path = rowsFile('prompts.jsonl', rows);
    const { code } = await data(
      ...['split', path, '--test-share', '0.2', '--validation-share', '0.2'],
      ...['--output', place('parts'), '--format', 'jsonl.gz'],
    );
    expect(code).toBe(0);
    expect(readdirSync(place('parts')).sort()).toEqual([
      'test.jsonl.gz',
      'train.jsonl.gz',
      'validation.jsonl.gz',
    ]);
    const sides = await Promise.all(
      ['train', 'validation', 'test'].map(async (split) => loadRows(place('parts'), { split })),
    );
    expect(sides.flat()).toHaveLength(200);
    const prompts = sides.map((side) => new Set(side.map(({ columns }) => columns.prompt)));
    expect(prompts.reduce((sum, { size }) => sum + size, 0)).toBe(50);
  });

  it('mixes with weights', async () => {
    const [a, b] = [rowsFile('a.jsonl', texts(500)), rowsFile('b.jsonl', texts(500, 1000))];
    const out = place('mixed.jsonl.gz');
    const { code, stderr } = await data('mix', `${a},${b}`, '--weights', '4,1', '--output', out);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const mixed = (await columnsOf(out)) as { text: string }[];
    const share = mixed.filter(({ text }) => text.length <= 'text 999'.length).length / mixed.length;
    // Binomial, p = 0.8, about 625 draws: standard deviation 0.016.
    expect(Math.abs(share - 0.8)).toBeLessThan(0.06);
    await data('mix', `${a},${b}`, '--stop', 'all', '--output', out, '--overwrite');
    expect(await columnsOf(out)).toHaveLength(1000);
    expect(await data('mix', `${a},${b}`, '--weights', '1', '--output', place('x.jsonl'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--weights: expected 2, one for each data set, received 1'),
    });
  });

  it('counts', async () => {
    const path = rowsFile('stats.jsonl', [{ prompt: 'a', chosen: 'b', rejected: 'b' }, { text: 'abc' }]);
    const { stdout } = await data('stats', path, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'stats',
      rows: 2,
      types: { preference: 1, 'language modeling': 1 },
      equalSides: 1,
      characters: { text: { longest: 3 } },
    });
    const shown = (await data('stats', path)).stdout;
    expect(shown).toContain('2 rows: 1 preference, 1 language modeling');
    expect(shown).toContain('1 row with equal `chosen` and `rejected`');
  });

  it.each([
    [['convert', 'none.jsonl'], '--output: expected a file, received nothing'],
    [['split', 'none.jsonl'], '--output: expected a folder, received nothing'],
    [['convert', place('none.jsonl'), '--output', place('y.jsonl')], 'none.jsonl, which does not exist'],
    [['convert', place('none.jsonl'), '--output', place('y.txt')], 'ends with .jsonl, .jsonl.gz, .parquet'],
    [['count', 'a'], 'expected convert | split | mix | stats'],
  ])('%j ends with 2', async (words, message) => {
    const { code, stderr } = await data(...words);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
    expect(existsSync(place('y.jsonl'))).toBe(false);
  });
});
