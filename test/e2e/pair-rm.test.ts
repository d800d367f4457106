/** heed pair-rm from the command line, and its model where rewards are used: eval-rm, best-of-n, online DPO. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readRewardCard } from '../../src/parts/scorer/reward-card.ts';
import { runHeed } from '../support/run-heed.ts';
import { writeTinyFolder } from '../support/tiny-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-pair-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const words = (text: string): string[] => text.split(' ');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = async (argv: string[]) => {
  const done = await runHeed([...argv, '--threads', '1', '--json']);
  expect(done.stderr).not.toContain('"error"');
  expect(done.code).toBe(0);
  return done.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
};

beforeAll(async () => {
  writeTinyFolder(at('model'));
  const rows = Array.from({ length: 64 }, (_, i) => ({
    ...{ prompt: `${i}:`, chosen: ' ok', rejected: ' no' },
    topic: i % 2 === 0 ? 'even' : 'odd',
  }));
  const write = (name: string, list: readonly object[]): void =>
    writeFileSync(at(name), list.map((row) => JSON.stringify(row)).join('\n'));
  write('train.jsonl', rows.slice(0, 48));
  write('test.jsonl', rows.slice(48));
  write(
    'prompts.jsonl',
    rows.slice(0, 4).map(({ prompt }) => ({ prompt })),
  );
  await run([
    ...[
      'pair-rm',
      '--model',
      at('model'),
      '--data',
      at('train.jsonl'),
      '--evaluation-data',
      at('test.jsonl'),
    ],
    ...['--output', at('pairs'), ...words('--epochs 4 --batch-size 8 --max-length 48 --learning-rate 0.01')],
  ]);
}, 60_000);

it('writes a model with a card, and metrics of both orders', () => {
  const { evaluation, pairwise } = readRewardCard(at('pairs', 'model'))!;
  expect(evaluation).toMatchObject({ pairs: 16, heldOut: true, accuracy: 1 });
  expect(pairwise!.consistency).toBe(1);
  expect(pairwise!.orderBias).toBeLessThan(0.2);
  const records = readFileSync(at('pairs', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
  expect(records.some((record) => record['order/consistency'] !== undefined)).toBe(true);
  expect(records.some((record) => 'min_reward' in record)).toBe(false);
  const config = JSON.parse(readFileSync(at('pairs', 'model', 'config.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  expect(config['architectures']).toEqual(['LlamaForSequenceClassification']);
});

it('is judged by eval-rm, each row on its own, though prompts repeat', async () => {
  const row = JSON.stringify({ prompt: '60:', chosen: ' ok', rejected: ' no', topic: 'even' });
  writeFileSync(at('twice.jsonl'), `${row}\n${row}\n${readFileSync(at('test.jsonl'), 'utf8')}`);
  const [evaluation] = await run([
    ...[
      'eval-rm',
      '--model',
      at('pairs', 'model'),
      '--data',
      at('twice.jsonl'),
      '--by',
      'topic',
      '--write-card',
    ],
  ]);
  expect(evaluation.unscored).toBe(0);
  expect(evaluation.groups[0]).toMatchObject({ pairs: 18, accuracy: { mean: 1 } });
  expect(readRewardCard(at('pairs', 'model'))!.benchmarks!['twice.jsonl']!.accuracy.even!.mean).toBe(1);
});

it('picks the best of several completions', async () => {
  const lines = await run([
    ...['generate', '--model', at('model'), '--data', at('prompts.jsonl'), '--reward', at('pairs', 'model')],
    ...words('--best-of 3 --n 2 --max-new-tokens 6'),
  ]);
  const scores = lines.filter(({ score }) => score !== undefined).map(({ score }) => score as number);
  expect(scores.length).toBe(8);
  for (let i = 0; i < scores.length; i += 2) expect(scores[i]!).toBeGreaterThanOrEqual(scores[i + 1]!);
});

it('orders the completions of online DPO', async () => {
  await run([
    ...[
      'online-dpo',
      '--model',
      at('model'),
      '--data',
      at('prompts.jsonl'),
      '--reward-model',
      at('pairs', 'model'),
    ],
    ...['--output', at('online'), ...words('--iterations 2 --batch-size 8 --max-new-tokens 6 --log-every 1')],
    ...words('--completions-per-prompt 4 --max-length 32'),
  ]);
  const [record] = readFileSync(at('online', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
  expect(record!['objective/unscored']).toBe(0);
  // Scores of a group are relative: their mean is 0, and pairs have a margin.
  expect(Math.abs(record!['objective/scores']!)).toBeLessThan(1e-5);
  expect(record!['objective/scores_margin']!).toBeGreaterThan(0);
});
