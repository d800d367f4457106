/** Real data sets, where they are there: each row encodes, masks hold what they must. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from '../tokenizer/index.ts';
import { encodeRows } from './encode-rows.ts';
import { createEncoder } from './encoder.ts';
import { readRows } from './read-rows.ts';
import type { Row } from './row.ts';
import { parsePreference } from './row-types.ts';

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
