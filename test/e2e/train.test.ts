/** sft, dpo and generate from the command line on a tiny model: the way through, resumption, and what a user gets wrong. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-e2e-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const rows = (name: string, list: readonly object[]): string => {
  writeFileSync(at(name), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};

const sentences = Array.from(
  { length: 40 },
  (_, i) => `the ${i % 2 ? 'cat' : 'dog'} has ${i} ${i % 3 ? 'toys' : 'bowls'}`,
);
const model = at('model');
const texts = rows(
  'texts.jsonl',
  sentences.map((text) => ({ text })),
);
const pairs = rows(
  'pairs.jsonl',
  sentences.map((text, i) => ({ prompt: text.slice(0, 7), chosen: ` likes ${i}`, rejected: ` hates ${i}` })),
);

function makeModel(path: string, vocabulary: number): void {
  const tokenizer = trainBpe(sentences, { vocabSize: 280, specialTokens: { bos: '<s>', eos: '</s>' } });
  const config = { ...tinyConfig, vocab_size: Math.min(tokenizer.vocabSize, vocabulary) };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(path, { config, parameters, files: Object.fromEntries(tokenizer.files) });
}

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  makeModel(model, 1000);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const common = [
  '--max-length',
  '64',
  '--batch-size',
  '4',
  '--log-every',
  '1',
  '--threads',
  '1',
  '--learning-rate',
  '0.01',
];

describe('heed sft, dpo, generate', () => {
  it('go from a model and rows to a tuned model that answers', async () => {
    const sft = await runHeed([
      'sft',
      '--model',
      model,
      '--data',
      texts,
      '--output',
      at('sft'),
      '--epochs',
      '4',
      ...common,
      '--json',
    ]);
    expect(sft.stderr + sft.stdout).not.toContain('"error"');
    expect(sft.code).toBe(0);
    const losses = readFileSync(at('sft', 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).loss as number);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);

    const dpo = await runHeed([
      'dpo',
      '--model',
      at('sft', 'model'),
      '--data',
      pairs,
      '--evaluation-share',
      '0.25',
      '--output',
      at('dpo'),
      '--epochs',
      '3',
      ...common,
    ]);
    expect(dpo.code).toBe(0);
    const records = readFileSync(at('dpo', 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>);
    expect(records[0]!['eval_loss']).toBeCloseTo(Math.LN2, 5);
    expect(records.at(-1)!['eval_rewards/accuracies']).toBeGreaterThan(0.9);

    const generated = await runHeed([
      'generate',
      '--model',
      at('dpo', 'model'),
      '--prompt',
      'the cat',
      '--max-new-tokens',
      '5',
      '--json',
    ]);
    const answer = JSON.parse(generated.stdout) as { ids: number[]; logProbs: number[]; finish: string };
    expect(answer.ids.length).toBe(answer.logProbs.length);
    expect(answer.ids.length).toBeLessThanOrEqual(5);
  }, 120_000);

  it('stopped by Ctrl-C and resumed, give the bytes of the uninterrupted run', async () => {
    const argv = (output: string): string[] => [
      'dpo',
      '--model',
      model,
      '--data',
      pairs,
      '--output',
      at(output),
      ...common,
    ];
    expect((await runHeed(argv('straight'))).code).toBe(0);
    const stopped = await runHeed(argv('stopped'), (text, interrupt) => {
      if (text.includes('"event":"metrics"') && text.includes('"step":3')) interrupt();
    });
    expect(stopped.code).toBe(130);
    const resumed = await runHeed([...argv('stopped'), '--resume']);
    expect(resumed.code).toBe(0);
    const bytes = (run: string): Buffer => readFileSync(at(run, 'model', 'model.safetensors'));
    expect(bytes('stopped').equals(bytes('straight'))).toBe(true);
    const metrics = (run: string): unknown[] =>
      readFileSync(at(run, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => {
          const { tokens_per_second, ...record } = JSON.parse(line) as Record<string, number>;
          return record;
        });
    expect(metrics('stopped')).toEqual(metrics('straight'));

    const kept = readFileSync(at('stopped', 'config.yaml'), 'utf8');
    const other = await runHeed([...argv('stopped'), '--resume', '--seed', '5']);
    expect(other.stderr).toMatch(/expected a run with the same data, model and settings/);
    expect(readFileSync(at('stopped', 'config.yaml'), 'utf8')).toBe(kept);
  }, 120_000);

  it('a dry run prints the plan and writes nothing', async () => {
    const run = await runHeed([
      'dpo',
      '--model',
      model,
      '--data',
      pairs,
      '--output',
      at('dry'),
      ...common,
      '--dry-run',
      '--json',
    ]);
    const plan = JSON.parse(run.stdout) as {
      parameters: number;
      steps: number;
      memory: { weights: number; optimizer: number };
    };
    expect(plan.steps).toBe(10);
    expect(plan.memory.optimizer).toBe(2 * plan.memory.weights);
    expect(() => readFileSync(at('dry', 'config.yaml'))).toThrow();
  });
});

describe('bad input ends with exit code 2 and a message that names it', () => {
  const dpo = (...argv: string[]): string[] => [
    'dpo',
    '--model',
    model,
    '--output',
    at('bad'),
    '--overwrite',
    ...common,
    ...argv,
  ];
  it.each<[string, () => string[], RegExp]>([
    ['a missing file', () => dpo('--data', at('none.jsonl')), /none\.jsonl, which does not exist/],
    [
      'a row without chosen',
      () => dpo('--data', rows('no.jsonl', [{ prompt: 'a', rejected: 'b' }])),
      /row 1: expected a column `chosen`/,
    ],
    ['an empty data set', () => dpo('--data', rows('empty.jsonl', [])), /an empty data set/],
    [
      'a prompt longer than the context',
      () =>
        dpo('--data', rows('long.jsonl', [{ prompt: 'word '.repeat(200), chosen: ' a', rejected: ' b' }])),
      /row 1: expected a prompt of fewer than 64 tokens/,
    ],
    ['an unknown flag', () => dpo('--data', pairs, '--learning-rat', '1'), /Did you mean --learning-rate\?/],
    [
      'a length beyond the context',
      () => dpo('--data', pairs, '--max-length', '65'),
      /at most 64, the model's context/,
    ],
    [
      'a tokenizer that does not fit the model',
      () => {
        makeModel(at('narrow'), 100);
        return ['dpo', '--model', at('narrow'), '--data', pairs, '--output', at('bad'), ...common];
      },
      /a tokenizer with ids below 100/,
    ],
    [
      'a corrupt safetensors file',
      () => {
        makeModel(at('corrupt'), 1000);
        truncateSync(at('corrupt', 'model.safetensors'), 4000);
        return ['sft', '--model', at('corrupt'), '--data', texts, '--output', at('bad'), ...common];
      },
      /model\.safetensors .*damaged or not safetensors/,
    ],
    [
      'a run folder that holds a run',
      () => ['dpo', '--model', model, '--data', pairs, '--output', at('dpo'), ...common],
      /--resume .*--overwrite/,
    ],
  ])('%s', async (_name, argv, message) => {
    const run = await runHeed(argv());
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(2);
  });

  it('a learning rate that breaks the numbers stops, names a tensor and leaves the last checkpoint', async () => {
    const run = await runHeed([
      ...[
        'sft',
        '--model',
        model,
        '--data',
        texts,
        '--output',
        at('nan'),
        '--save-every',
        '1',
        '--max-grad-norm',
        '0',
      ],
      ...common.slice(0, -2),
      ...['--learning-rate', '1e25'],
    ]);
    expect(run.stderr).toMatch(/step \d+: expected finite numbers, .*"model\.[a-z_.0-9]+" is not finite/);
    expect(run.code).toBe(2);
    expect(readFileSync(at('nan', 'checkpoint-1', 'model.safetensors')).length).toBeGreaterThan(1000);
  });
});
