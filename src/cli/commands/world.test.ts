import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runHeed } from '../../../test/support/run-heed.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-world-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const make = (...flags: string[]) => runHeed(['world', 'make', '--rows', '20', ...flags]);
/** Every file below a folder with its bytes. */
const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((file) => [file.slice(path.length + 1), readFileSync(file, 'base64')]),
  );

it('writes every set, the same bytes for the same seed and others for another', async () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string];
  expect((await make('--out', a)).code).toBe(0);
  expect((await make('--output', b)).code).toBe(0);
  expect((await make('--output', c, '--seed', '1')).code).toBe(0);
  const [first, second, third] = [filesOf(a), filesOf(b), filesOf(c)];
  expect(second).toEqual(first);
  expect(third['demonstrations/train.jsonl']).not.toBe(first['demonstrations/train.jsonl']);
  const manifest = JSON.parse(readFileSync(join(a, 'world.json'), 'utf8')) as {
    files: Record<string, number>;
  };
  for (const [name, rows] of Object.entries(manifest.files)) {
    expect(readFileSync(join(a, name), 'utf8').split('\n').length - 1).toBe(rows);
  }
  expect(Object.keys(manifest.files)).toEqual(
    expect.arrayContaining(['demonstrations/train.jsonl', 'shifts/adversarial.jsonl', 'stream.jsonl']),
  );
  expect(first['pictures/train-0.png']).toBeDefined();
});

it('writes only the sets asked for', async () => {
  const path = join(folder, 'some');
  await make('--output', path, '--sets', 'demonstrations,stream');
  expect(readdirSync(path).sort()).toEqual(['demonstrations', 'stream.jsonl', 'world.json']);
});

it('refuses a folder that exists, and replaces only what it wrote itself', async () => {
  const path = join(folder, 'old');
  mkdirSync(path);
  writeFileSync(join(path, 'thesis.txt'), 'mine');
  const foreign = await make('--output', path, '--overwrite', '--sets', 'stream');
  expect([foreign.code, foreign.stderr]).toEqual([2, expect.stringContaining('no world.json')]);
  expect(readFileSync(join(path, 'thesis.txt'), 'utf8')).toBe('mine');

  const own = join(folder, 'own');
  await make('--output', own, '--sets', 'stream');
  const again = await make('--output', own, '--sets', 'rankings');
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('Add --overwrite')]);
  expect((await make('--output', own, '--sets', 'rankings', '--overwrite')).code).toBe(0);
  expect(readdirSync(own).sort()).toEqual(['rankings', 'world.json']);
});
