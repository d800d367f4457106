/** Rewards from the command line on a tiny model: modules, built-in names, weights, and what a user gets wrong. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-rewards-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const words = (text: string): string[] => text.split(' ');

beforeAll(() => {
  const sentences = Array.from({ length: 40 }, (_, i) => `the ${i % 2 ? 'cat' : 'dog'} has ${i} toys`);
  const tokenizer = trainBpe(sentences, { vocabSize: 280, specialTokens: { bos: '<s>', eos: '</s>' } });
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(at('model'), { config, parameters, files: Object.fromEntries(tokenizer.files) });
  const rows = sentences.map((text, i) => ({ prompt: text.slice(0, 7), answer: i, bonus: i % 2 }));
  writeFileSync(at('rows.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
  writeFileSync(
    at('mine.mjs'),
    `export default ({ columns }) => columns.bonus;
     export const vowels = async ({ completions, options }) =>
       completions.map((text) => options.scale * (text.match(/[aeiou]/g) ?? []).length);
     export const broken = ({ columns, step }) => columns.bonus.map((bonus) => {
       if (bonus === 1 && step === 2) throw new RangeError('odd');
       return 0;
     });
     export const fails = () => { throw new RangeError('no'); };`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mine = ['--reward', at('mine.mjs')];
const grpo = (output: string, ...rewards: string[]): string[] => [
  ...['grpo', '--model', at('model'), '--data', at('rows.jsonl'), '--output', at(output), ...rewards],
  ...words('--iterations 2 --batch-size 8 --completions-per-prompt 4 --max-new-tokens 6 --threads 1'),
];

describe('heed grpo --reward', () => {
  it('adds a function with columns, one with options and a built-in reward by their weights', async () => {
    const rewards = ['--reward', at('mine.mjs'), '--reward', `${at('mine.mjs')}#vowels,exact-answer`];
    const options = ['--reward-weights', '1,0..2@1,-0.5', '--reward-options', '{vowels: {scale: 0.25}}'];
    const { code, stderr } = await runHeed(grpo('three', ...rewards, ...options));
    expect(stderr).not.toContain('expected');
    expect(code).toBe(0);
    const records = readFileSync(at('three', 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const parts = records.map((record) =>
      ['mine', 'vowels', 'exact-answer'].map((name) => record[`rewards/${name}/mean`] as number),
    );
    for (const [index, [mine, vowels, exact]] of parts.entries())
      expect(records[index]['objective/scores']).toBeCloseTo(mine! + 2 * index * vowels! - 0.5 * exact!, 9);
    expect(parts[1]![1]).toBeGreaterThan(0);
    expect(records[0]['rewards/mine/std']).toBeTypeOf('number');
  });

  it('names reward, row and step of what a function throws', async () => {
    const { code, stderr } = await runHeed(grpo('broken', '--reward', `${at('mine.mjs')}#broken`));
    expect(code).toBe(2);
    expect(stderr).toMatch(/reward broken, step 2, .*rows.jsonl, row \d+ \(completion .*RangeError: odd/);
  });

  const failing = (output: string, ...more: string[]): string[] => [
    ...grpo(output, '--reward', `${at('mine.mjs')}#fails`),
    ...more,
  ];
  const without: [string, string[]][] = [
    ['a reward that refuses the first row', failing('nothing/deep')],
    [
      'a server of metrics without address',
      [...grpo('nothing/deep', ...mine), '--report-to', 'tensorboard,mlflow'],
    ],
  ];
  it.each(without)('%s leaves no folder behind', async (_, argv) => {
    expect((await runHeed(argv)).code).toBe(2);
    expect(existsSync(at('nothing'))).toBe(false);
  });

  it('a run that fails before its first record takes back only what it made', async () => {
    mkdirSync(at('kept', 'tensorboard'), { recursive: true });
    writeFileSync(at('kept', 'notes.txt'), 'mine');
    expect((await runHeed(failing('kept', '--report-to', 'tensorboard'))).code).toBe(2);
    expect(readdirSync(at('kept')).sort()).toEqual(['notes.txt', 'tensorboard']);
    // The name is free again, and taken once there is a record.
    expect((await runHeed(grpo('kept', '--reward', `${at('mine.mjs')}#broken`))).code).toBe(2);
    expect(readFileSync(at('kept', 'metrics.jsonl'), 'utf8')).toContain('"step":1,');
    const again = await runHeed(grpo('kept', ...mine));
    expect(again.stderr).toMatch(/expected a folder without a run/);
    expect((await runHeed(failing('kept', '--resume'))).code).toBe(2);
    expect(existsSync(at('kept', 'metrics.jsonl'))).toBe(true);
  });

  it.each([
    [[], /--reward: expected at least one reward, received none/],
    [['--reward', 'exact-anser'], /"exact-anser", which is none of them.*Did you mean exact-answer/],
    [
      ['--reward', 'format,exact-answer', '--reward-weights', '1'],
      /expected 2, one for each reward, received 1/,
    ],
    [
      ['--reward', 'exact-answer', '--reward-options', '{format: {}}'],
      /options of exact-answer, received format/,
    ],
    [['--reward', 'length', '--reward-options', '{length: {maxmum: 3}}'], /rewardOptions.length/],
    [
      ['--reward', 'exact-answer', '--reward-options', '{exact-answer: {column: gold}}'],
      /row \d+: expected a column `gold`/,
    ],
  ])('refuses %j', async (flags, message) => {
    const { code, stderr } = await runHeed(grpo('wrong', ...flags, '--overwrite'));
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });
});

describe('heed eval', () => {
  const evaluate = (...more: string[]) =>
    runHeed([
      'eval',
      '--model',
      at('model'),
      '--data',
      at('rows.jsonl'),
      '--threads',
      '1',
      '--json',
      ...more,
    ]);
  const groupsOf = (stdout: string) =>
    JSON.parse(stdout.trim().split('\n').at(-1)!).groups as {
      readonly name: string;
      readonly rows: number;
      readonly rewards: Record<string, { mean?: number; low?: number; high?: number; unscored: number }>;
    }[];

  it('gives means with intervals over all rows and by a column', async () => {
    const rewards = ['--reward', at('mine.mjs'), '--by', 'bonus', '--output', at('scored.jsonl')];
    const { code, stdout } = await evaluate(...rewards, '--max-new-tokens', '4');
    expect(code).toBe(0);
    const groups = groupsOf(stdout);
    expect(groups.map(({ name, rows, rewards: { mine } }) => [name, rows, mine!.mean])).toEqual([
      ['all', 40, 0.5],
      ['0', 20, 0],
      ['1', 20, 1],
    ]);
    const { low, high } = groups[0]!.rewards['mine']!;
    expect(low).toBeGreaterThan(0.3);
    expect(high).toBeLessThan(0.7);
    const written = readFileSync(at('scored.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(written.length).toBe(40);
    expect(written[1]).toMatchObject({ answer: 1, bonus: 1, scores: { mine: 1 } });
    expect(written[1].completion).toBeTypeOf('string');
  });

  it('scores completions that are given', async () => {
    const rows = [
      { prompt: '2 + 2 =', completion: ' 4', answer: '4' },
      { prompt: '2 + 3 =', completion: ' 4', answer: '5' },
    ];
    writeFileSync(at('given.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
    const flags = ['--completions', 'given', '--data', at('given.jsonl'), '--reward', 'exact-answer'];
    expect(groupsOf((await evaluate(...flags)).stdout)[0]).toMatchObject({
      rows: 2,
      rewards: { 'exact-answer': { mean: 0.5, unscored: 0 } },
    });
    const refused = await evaluate(...flags, '--by', 'topic');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/row 1, `topic`: expected a text/);
  });
});
