/** Data sets as users name them. The hub is played by a function: no network here. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRows, openData } from './data-source.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-sources-'));
afterAll(() => rmSync(folder, { recursive: true }));

const lines = (...rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

function write(path: string, ...rows: object[]): string {
  const file = join(folder, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, lines(...rows));
  return file;
}

const texts = async (...names: Parameters<typeof loadRows>) =>
  (await loadRows(...names)).map(({ columns }) => columns.text);

describe('openData', () => {
  it('takes the named split of a folder, train when none is named, and only files for files', async () => {
    const set = join(folder, 'set');
    const train = write('set/train.jsonl', { text: 'a' });
    write('set/test.jsonl', { text: 'b' });
    expect(await texts(set)).toEqual(['a']);
    expect(await texts(set, { split: 'test' })).toEqual(['b']);
    expect(await texts(set, { prefer: ['validation', 'test', 'train'] })).toEqual(['b']);
    await expect(openData(set, { split: 'dev' })).rejects.toThrow(
      `${set}: expected a split test | train, received dev`,
    );
    await expect(openData(train, { split: 'test' })).rejects.toThrow(
      '--split: expected a folder or a data set of the hub',
    );
    await expect(loadRows(join(folder, 'none.jsonl'))).rejects.toThrow('none.jsonl, which does not exist');
  });

  it('recognizes the form of the rows by the first, unless told', async () => {
    const alpaca = write(
      'alpaca.jsonl',
      { instruction: 'a', output: 'b' },
      { instruction: 'c', output: 'd' },
    );
    const source = await openData(alpaca);
    expect(source.converter).toBe('alpaca');
    expect((await loadRows(alpaca)).map(({ columns }) => Object.keys(columns))).toEqual([
      ['prompt', 'completion'],
      ['prompt', 'completion'],
    ]);
    expect((await loadRows(alpaca, { from: 'none' }))[0]!.columns).toEqual({ instruction: 'a', output: 'b' });
    const mixed = write('mixed.jsonl', { instruction: 'a', output: 'b' }, { text: 'x' });
    await expect(loadRows(mixed)).rejects.toThrow(
      `${mixed}, row 2, \`instruction\`: expected text, received nothing`,
    );
    const refused: string[] = [];
    const kept = await loadRows(mixed, { onRefused: (error) => refused.push(error.where) });
    expect({ kept: kept.length, refused }).toEqual({
      kept: 1,
      refused: [`${mixed}, row 2, \`instruction\``],
    });
    await expect(loadRows(mixed, { from: 'sharegpt' })).rejects.toThrow('row 1, `conversations`');
  });

  it('reads several as one: in order, or mixed with weights from a seed', async () => {
    const numbered = (name: string, count: number): string =>
      write(`${name}.jsonl`, ...Array.from({ length: count }, (_, index) => ({ text: `${name}${index}` })));
    const [a, b] = [numbered('a', 300), numbered('b', 300)];
    expect((await texts([a, b])).map((text) => String(text)[0]).join('')).toBe(
      'a'.repeat(300) + 'b'.repeat(300),
    );
    const mixed = await texts([a, b], { weights: [1, 3], seed: 5 });
    expect(mixed).toEqual(await texts([a, b], { weights: [1, 3], seed: 5 }));
    expect(mixed).not.toEqual(await texts([a, b], { weights: [1, 3], seed: 6 }));
    const share = mixed.filter((text) => String(text).startsWith('a')).length / mixed.length;
    // Binomial, p = 1/4, about 400 draws: standard deviation 0.022.
    expect(Math.abs(share - 0.25)).toBeLessThan(0.08);
    expect(await texts([a, b], { limit: 2 })).toEqual(['a0', 'a1']);
    await expect(loadRows([a, b], { weights: [1] })).rejects.toThrow(
      '--data-weights: expected 2, one for each data set',
    );
  });
});

describe('data sets of the hub', () => {
  const commit = 'c'.repeat(40);
  const files: Readonly<Record<string, string>> = {
    'README.md':
      '---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n---\n',
    'main/train-0.jsonl': lines({ text: 'one' }),
    'main/train-1.jsonl': lines({ text: 'two' }),
    'main/test-0.jsonl': lines({ text: 'three' }),
  };
  const fetched: string[] = [];
  let down = false;
  const fakeFetch = (async (input: string | URL | Request) => {
    if (down) throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') });
    const url = new URL(String(input));
    if (url.pathname.startsWith('/api/datasets/tiny/pairs/revision/')) {
      return Response.json({ _id: '1', id: 'tiny/pairs', sha: commit, lastModified: '2025-01-01' });
    }
    if (url.pathname.includes('/tree/')) {
      return Response.json(
        Object.entries(files).map(([path, text]) => ({
          type: 'file',
          path,
          size: text.length,
          oid: createHash('sha1').update(`blob ${text.length}\0${text}`).digest('hex'),
        })),
      );
    }
    const path = /\/resolve\/\w+\/(.+)$/.exec(url.pathname)?.[1];
    if (path === undefined || files[path] === undefined) return new Response('no', { status: 404 });
    const bytes = new TextEncoder().encode(files[path]);
    if (new Headers((input as Request).headers).get('range') === null && !fetched.includes(path))
      fetched.push(path);
    return new Response(bytes, {
      headers: {
        etag: '"x"',
        'content-length': String(bytes.length),
        'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}`,
      },
    });
  }) as typeof fetch;
  const hub = {
    cacheDir: join(folder, 'hub'),
    fetch: fakeFetch,
    endpoint: 'https://hub.test',
    offline: false,
  };

  it('are fetched by their README, only the files of the split; then the cache serves', async () => {
    expect(await texts('tiny/pairs', { hub })).toEqual(['one', 'two']);
    expect(fetched.sort()).toEqual(['README.md', 'main/train-0.jsonl', 'main/train-1.jsonl']);
    down = true;
    expect(await texts('tiny/pairs', { hub })).toEqual(['one', 'two']);
    expect(await texts('tiny/pairs#main', { hub: { ...hub, offline: true } })).toEqual(['one', 'two']);
    await expect(openData('tiny/pairs', { hub, split: 'test' })).rejects.toThrow(
      'tiny/pairs: expected a split train, received test',
    );
    await expect(openData('tiny/pairs#other', { hub })).rejects.toThrow(
      'expected one of the configurations main',
    );
    await expect(openData('tiny/unknown', { hub })).rejects.toThrow(
      /dataset tiny\/unknown, revision main: expected .* the Hugging Face hub.*received no answer.*hf download/,
    );
  });
});
