/** regression-rm, prm and eval-rm from the command line on a tiny model, and their results as rewards. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { readRewardCard } from '../../src/parts/scorer/reward-card.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-rm-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const words = (text: string): string[] => text.split(' ');
const write = (name: string, rows: readonly object[]): void =>
  writeFileSync(at(name), rows.map((row) => JSON.stringify(row)).join('\n'));
const training = words('--epochs 4 --max-length 64 --batch-size 8 --learning-rate 0.01 --threads 1');

beforeAll(() => {
  const texts = Array.from({ length: 48 }, (_, i) => ({ good: i % 3 !== 0, text: `${i} toys` }));
  const tokenizer = trainBpe(
    texts.map(({ text }) => `the cat likes ${text} and hates them`),
    { vocabSize: 280, specialTokens: { bos: '<s>', eos: '</s>' } },
  );
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(at('model'), { config, parameters, files: Object.fromEntries(tokenizer.files) });
  const word = (good: boolean): string => (good ? ' likes' : ' hates');
  write(
    'ratings.jsonl',
    texts.map(({ good, text }) => ({
      prompt: text,
      completion: word(good),
      help: good ? 5 : 1,
      tone: good ? 2 : 4,
    })),
  );
  write(
    'steps.jsonl',
    texts.map(({ good, text }) => ({
      prompt: text,
      completions: [' likes', word(good)],
      labels: [true, good],
    })),
  );
  write(
    'pairs.jsonl',
    texts.map(({ text }, i) => ({
      prompt: text,
      chosen: ' likes',
      rejected: ' hates',
      topic: i < 30 ? 'a' : 'b',
    })),
  );
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Mean rewards of completions that are given, by the model in a folder. */
async function meanReward(model: string, completion: string): Promise<number> {
  write('given.jsonl', [{ prompt: '3 toys', completion }]);
  const { stdout } = await runHeed([
    ...['eval', '--model', at('model'), '--data', at('given.jsonl'), '--completions', 'given'],
    ...['--reward-model', at(model, 'model'), '--threads', '1', '--json'],
  ]);
  return JSON.parse(stdout.trim().split('\n').at(-1)!).groups[0].rewards[model].mean;
}

it('regression-rm: weighted ratings in the units of the scale are the reward', async () => {
  const { code } = await runHeed([
    ...[
      'regression-rm',
      '--model',
      at('model'),
      '--data',
      at('ratings.jsonl'),
      '--output',
      at('rating'),
      ...training,
    ],
    ...['--attributes', 'help,tone', '--attribute-weights', '1,0', '--evaluation-share', '0.25'],
  ]);
  expect(code).toBe(0);
  const { attributes } = readRewardCard(at('rating', 'model'))!;
  expect(attributes!.map(({ name, weight, rated, heldOut }) => [name, weight, rated, heldOut])).toEqual([
    ['help', 1, 12, true],
    ['tone', 0, 12, true],
  ]);
  expect(attributes![0]!.pearson).toBeGreaterThan(0.9);
  expect(attributes![1]!.spearman).toBeGreaterThan(0.8);
  const config = JSON.parse(readFileSync(at('rating', 'model', 'config.json'), 'utf8'));
  expect(config).toMatchObject({ num_labels: 2, id2label: { 0: 'help', 1: 'tone' } });
  const [liked, hated] = [await meanReward('rating', ' likes'), await meanReward('rating', ' hates')];
  expect(liked).toBeGreaterThan(4);
  expect(hated).toBeLessThan(2);
}, 60_000);

it('prm: the least of the steps is the reward', async () => {
  const { code } = await runHeed([
    ...['prm', '--model', at('model'), '--data', at('steps.jsonl'), '--output', at('steps'), ...training],
    ...['--evaluation-share', '0.25', '--lora'],
  ]);
  expect(code).toBe(0);
  const { process } = readRewardCard(at('steps', 'model'))!;
  expect(process).toMatchObject({
    separator: '\n',
    aggregate: 'min',
    heldOut: true,
    solutions: 12,
    steps: 24,
  });
  expect(process!.f1).toBeGreaterThan(0.9);
  expect(await meanReward('steps', ' likes\n likes\n')).toBeGreaterThan(0.5);
  expect(await meanReward('steps', ' likes\n hates\n')).toBeLessThan(0.5);
  const { stdout } = await runHeed([
    ...['generate', '3 toys', '--model', at('model'), '--best-of', '4', '--max-new-tokens', '4', '--json'],
    ...['--reward', at('steps', 'model'), '--threads', '1'],
  ]);
  const { score } = JSON.parse(stdout.trim().split('\n').at(-1)!) as { score: number };
  expect(score).toBeGreaterThan(0);
  expect(score).toBeLessThan(1);
}, 60_000);

it('eval-rm: accuracy by category and calibration, kept in the card', async () => {
  const args = ['--data', at('pairs.jsonl'), '--threads', '1'];
  await runHeed(['bt-rm', '--model', at('model'), ...args, '--output', at('bt'), ...training.slice(0, -2)]);
  const judged = ['eval-rm', '--model', at('bt', 'model'), ...args, '--by', 'topic', '--write-card'];
  const { code, stdout } = await runHeed(judged);
  expect(code).toBe(0);
  expect(stdout).toMatch(/a +30 +1\.000/);
  expect(stdout).toMatch(/calibration error 0\.\d+, with margins divided by/);
  const { benchmarks, evaluation } = readRewardCard(at('bt', 'model'))!;
  expect(Object.keys(benchmarks!['pairs.jsonl']!.accuracy)).toEqual(['all', 'a', 'b']);
  expect(benchmarks!['pairs.jsonl']!.accuracy['b']).toMatchObject({ pairs: 18, mean: 1 });
  expect(evaluation!.pairs).toBe(48);
  const wrong = await runHeed([...judged.slice(0, -2), 'kind']);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toMatch(/row 1, `kind`: expected a text/);
}, 60_000);

it('eval-rm --reference: the implicit reward of a DPO model has the accuracy that its training reports', async () => {
  // Labels of the first ten pairs are turned, so that not all held-out pairs are in order.
  const pairs = readFileSync(at('pairs.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const turned = pairs.map((row, i) =>
    i < 10 ? { ...row, chosen: row.rejected, rejected: row.chosen } : row,
  );
  write('turned.jsonl', turned);
  await runHeed([
    ...['dpo', '--model', at('model'), '--data', at('pairs.jsonl'), '--evaluation-data', at('turned.jsonl')],
    ...['--output', at('dpo'), ...training.slice(0, -2)],
  ]);
  const records = readFileSync(at('dpo', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const reported = records.findLast((record) => 'eval_rewards/accuracies' in record)[
    'eval_rewards/accuracies'
  ];
  const judge = ['eval-rm', '--data', at('turned.jsonl'), '--threads', '1', '--json', '--reference'];
  const { code, stdout } = await runHeed([...judge, at('model'), '--model', at('dpo', 'model')]);
  expect(code).toBe(0);
  const { groups, byPrompt } = JSON.parse(stdout.trim().split('\n').at(-1)!);
  expect(groups[0].accuracy.mean).toBeCloseTo(reported, 6);
  expect(groups[0].accuracy.mean).toBeCloseTo(38 / 48, 6);
  const last = (name: string): number => records.findLast((record) => name in record)[name];
  expect(byPrompt.accuracy.mean).toBeCloseTo(38 / 48, 6);
  expect(byPrompt.margin.mean).toBeCloseTo(last('eval_rewards/margins'), 5);
  expect(byPrompt.loss.mean).toBeCloseTo(last('eval_loss'), 5);
  // The model against itself has no opinion.
  const same = await runHeed([...judge, at('model'), '--model', at('model')]);
  expect(JSON.parse(same.stdout.trim().split('\n').at(-1)!).groups[0]).toMatchObject({
    tieRate: 1,
    accuracy: { mean: 0 },
  });
  const scored = await runHeed([...judge, at('model'), '--model', at('bt', 'model')]);
  expect(scored.code).toBe(2);
  expect(scored.stderr).toMatch(/expected a language model.*received a model with a score head/s);
}, 60_000);
