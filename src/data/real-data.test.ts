/** Real data sets, where they are there: each row encodes, masks hold what they must. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from '../tokenizer/index.ts';
import { loadRows, openData } from './data-source.ts';
import { encodeRows } from './encode-rows.ts';
import { createEncoder } from './encoder.ts';
import { readRows } from './read-rows.ts';
import type { Row } from './row.ts';
import { detectRowType, parsePreference, parseRow } from './row-types.ts';
import { writeRows } from './write-rows.ts';

const data = fileURLToPath(new URL('../../../shared/data', import.meta.url));

describe.skipIf(!existsSync(data))('real data with the stories260K tokenizer', async () => {
  const tokenizer = existsSync(data) ? await loadTokenizer(join(data, 'models/stories260K')) : undefined;
  const encoder = tokenizer && createEncoder(tokenizer);

  async function rowsOf(file: string): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const row of readRows(join(data, file))) rows.push(row);
    return rows;
  }

  it.each([
    ['hh-helpful/test.jsonl.gz', 206],
    ['tulu-human-pairs/train.jsonl.gz', 570],
    ['alpaca-eval-gpt4/test.jsonl.gz', 1056],
  ])('encodes the pairs of %s', async (file, count) => {
    const rows = await rowsOf(file);
    const { examples, report } = encodeRows(rows, encoder!.preference);
    expect(report).toMatchObject({ rows: count, dropped: 0, sequences: 2 * count, truncated: 0 });
    for (const [index, { chosen, rejected }] of examples.entries()) {
      const { promptLength } = chosen;
      expect(chosen.ids.slice(0, promptLength)).toEqual(rejected.ids.slice(0, promptLength));
      const row = parsePreference(rows[index]!);
      for (const [side, content] of [
        [chosen, row.chosen],
        [rejected, row.rejected],
      ] as const) {
        expect([side.ids.at(-1), side.mask.at(-1)]).toEqual([tokenizer!.eosId, 1]);
        const learned = tokenizer!.decode(side.ids.slice(promptLength));
        expect(learned).toBe(typeof content === 'string' ? content : ` ${content[0]!.content}`);
      }
    }
  });

  it.each([
    ['tinystories-sample/test.jsonl.gz', 108],
    ['instruction-sft/seed.jsonl.gz', 162],
    ['instruction-sft/alpaca.jsonl.gz', 896],
  ])('encodes the demonstrations of %s', async (file, count) => {
    const { examples, report } = encodeRows(await rowsOf(file), encoder!.supervised);
    expect(report).toMatchObject({ rows: count, dropped: 0, sequences: count });
    for (const { ids, mask } of examples) {
      expect([ids[0], mask[0], ids.at(-1), mask.at(-1)]).toEqual([tokenizer!.bosId, 0, tokenizer!.eosId, 1]);
      expect(ids.indexOf(tokenizer!.bosId!, 1)).toBe(-1);
    }
  });

  it('counts the tokens of the stories as the reference does', async () => {
    // reference.json: 43 612 tokens predicted over the 108 test stories cut to 512 tokens, BOS included and no EOS.
    const { supervised } = createEncoder(tokenizer!, { maxLength: 512, stop: 'none' });
    const { report } = encodeRows(await rowsOf('tinystories-sample/test.jsonl.gz'), supervised);
    expect(report.learned).toBe(43_612);
  });
});

describe.skipIf(!existsSync(data))('real data', () => {
  it('has as many rows as its README says, each valid for the type that its columns spell', async () => {
    const readme = readFileSync(join(data, 'README.md'), 'utf8');
    const said = [...readme.matchAll(/^\| `([\w-]+)` \|.*?\| (\d+) \| \d+ \|/gm)].map(([, name, rows]) => [
      name,
      Number(rows),
    ]);
    expect(said.length).toBeGreaterThan(30);
    const found: [string, number][] = [];
    const refused: string[] = [];
    for (const [name] of said as [string, number][]) {
      let count = 0;
      for (const file of readdirSync(join(data, name)).filter((entry) => entry.endsWith('.jsonl.gz'))) {
        for await (const row of readRows(join(data, name, file))) {
          count++;
          const type = detectRowType(row);
          try {
            if (type !== undefined) parseRow(row, type);
          } catch (error) {
            refused.push((error as Error).message);
          }
        }
      }
      found.push([name, count]);
    }
    expect(found).toEqual(said);
    expect(refused).toEqual([]);
  });

  it('goes through folders, splits and Parquet unchanged', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heed-real-'));
    try {
      for (const split of ['train', 'test']) {
        const { rows } = await openData(join(data, 'hh-helpful'), { split });
        const path = join(folder, `${split}.parquet`);
        await writeRows(path, rows);
        const columns = async (name: string, options = {}) =>
          (await loadRows(name, options)).map((row) => row.columns);
        const written = await columns(folder, { split });
        expect(written).toEqual(await columns(join(data, 'hh-helpful', `${split}.jsonl.gz`)));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
