import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DataError } from '../../core/errors.ts';
import { toRows } from '../../data/index.ts';
import { functionReward, loadRewardFunction, rewardInput } from './reward-function.ts';
import type { ScoreItem } from './scorer.ts';

const rows = toRows(
  [
    { prompt: 'a', answer: 1, tag: 'x' },
    { prompt: 'b', answer: 2 },
  ],
  'test',
);
const items = rows.map(
  (row, i): ScoreItem => ({
    ...{ prompt: `p${i}`, completion: `c${i}`, promptIds: [1], completionIds: [3, 4 + i], finish: 'stop' },
    row,
  }),
);

describe('functionReward', () => {
  it('gives texts, ids and every column, and takes scores that come later', async () => {
    const seen: unknown[] = [];
    const reward = functionReward(
      'mine',
      (input) => {
        seen.push(input);
        return Promise.resolve(input.completionIds.map(({ length }) => length));
      },
      { scale: 2 },
    );
    expect(await reward.score(items, { iteration: 4 })).toEqual([2, 2]);
    expect(seen).toEqual([
      {
        prompts: ['p0', 'p1'],
        completions: ['c0', 'c1'],
        promptIds: [[1], [1]],
        completionIds: [
          [3, 4],
          [3, 5],
        ],
        finish: ['stop', 'stop'],
        columns: { prompt: ['a', 'b'], answer: [1, 2], tag: ['x', undefined] },
        step: 5,
        options: { scale: 2 },
      },
    ]);
    expect(rewardInput(items).step).toBe(0);
  });

  it('names the reward, the step and the row of an error', async () => {
    const reward = functionReward('mine', ({ columns }) =>
      columns.answer!.map((answer) => {
        if (answer === 2) throw new TypeError('no two');
        return 0;
      }),
    );
    await expect(reward.score(items, { iteration: 0 })).rejects.toThrow(
      'reward mine, step 1, test, row 2 (completion "c1"): expected scores, received TypeError: no two.',
    );
    const together = functionReward('mine', async ({ prompts }) => {
      if (prompts.length > 1) throw new Error('too many');
      return [0];
    });
    await expect(together.score(items)).rejects.toThrow(/all 2 completions at once, though none alone/);
    const thrown = functionReward('mine', () => Promise.reject('a text'));
    await expect(thrown.score(items)).rejects.toThrow(/row 1 .*expected scores, received a text/);
    // heed's own errors name the row themselves, and come through as they are.
    const own = new DataError({ where: 'here', expected: 'this', received: 'that' });
    await expect(functionReward('mine', () => Promise.reject(own)).score(items)).rejects.toBe(own);
  });

  it('keeps undefined and null, and refuses other lists and other values', async () => {
    const of = (value: unknown) => functionReward('mine', () => value as number[]).score(items);
    expect(await of([undefined, null])).toEqual([undefined, null]);
    expect(await of(new Array(2))).toEqual([undefined, undefined]);
    await expect(of([1])).rejects.toThrow(/a list of 2 scores, one per completion, received a list of 1/);
    await expect(of(undefined)).rejects.toThrow(/received nothing/);
    await expect(of([1, Number.NaN])).rejects.toThrow(/test, row 2 .*received NaN/);
    await expect(of(['1', 1])).rejects.toThrow(/test, row 1 .*received "1"/);
  });
});

describe('loadRewardFunction', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heed-reward-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  it('takes the default export or the one that is named', async () => {
    const path = file(
      'short.mjs',
      'export default () => [1];\nexport const long = async ({ completions }) => completions.map((c) => c.length);',
    );
    const [first, second] = [await loadRewardFunction(path), await loadRewardFunction(`${path}#long`)];
    expect([first.name, second.name]).toEqual(['short', 'long']);
    expect(await second.score(rewardInput(items))).toEqual([2, 2]);
  });

  it('says what is wrong with a module', async () => {
    const path = file('two.mjs', 'export const one = () => [];\nexport const size = 1;');
    await expect(loadRewardFunction(path)).rejects.toThrow(
      /a function as default export, received the functions one. Write .*two.mjs#one/,
    );
    await expect(loadRewardFunction(`${path}#size`)).rejects.toThrow(/an exported function "size"/);
    await expect(loadRewardFunction(file('none.mjs', 'export default 3;'))).rejects.toThrow(/Export one/);
    await expect(loadRewardFunction(join(folder, 'absent.mjs'))).rejects.toThrow(/Check the path/);
    const types = file('typed.ts', 'export default (): number[] => [1];');
    if ((process.features as { typescript?: unknown }).typescript)
      expect((await loadRewardFunction(types)).name).toBe('typed');
    else await expect(loadRewardFunction(types)).rejects.toThrow(/Node 22.18 or newer, or compile/);
  });
});
