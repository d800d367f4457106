/** bt-rm and ppo from the command line on a tiny model: the way through, resumption from files, and what a user gets wrong. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, readModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { readRewardCard } from '../../src/parts/scorer/reward-card.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-ppo-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const rows = (name: string, list: readonly object[]): string => {
  writeFileSync(at(name), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const records = (run: string): Record<string, number>[] =>
  readFileSync(at(run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

const sentences = Array.from({ length: 40 }, (_, i) => `the ${i % 2 ? 'cat' : 'dog'} has ${i} toys`);
const prompts = rows(
  'prompts.jsonl',
  sentences.map((text) => ({ prompt: text.slice(0, 7) })),
);
const pairs = rows(
  'pairs.jsonl',
  sentences.map((text, i) => ({ prompt: text.slice(0, 7), chosen: ` likes ${i}`, rejected: ` hates ${i}` })),
);
const model = at('model');
const rewardModel = at('rm', 'model');
const words = (text: string): string[] => text.split(' ');

beforeAll(async () => {
  const tokenizer = trainBpe(sentences, { vocabSize: 280, specialTokens: { bos: '<s>', eos: '</s>' } });
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(model, { config, parameters, files: Object.fromEntries(tokenizer.files) });
  const { code } = await runHeed([
    ...['bt-rm', '--model', model, '--data', pairs, '--output', at('rm'), '--evaluation-share', '0.25'],
    ...words('--epochs 4 --max-length 64 --batch-size 8 --learning-rate 0.01 --threads 1'),
  ]);
  expect(code).toBe(0);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ppo = (output: string): string[] => [
  ...['ppo', '--model', model, '--reward-model', rewardModel, '--data', prompts, '--output', at(output)],
  ...words('--iterations 4 --batch-size 8 --max-new-tokens 6 --update-epochs 2 --mini-batch-size 4'),
  ...words('--learning-rate 0.003 --kl-target 1 --kl-horizon 100 --threads 1'),
];

describe('heed bt-rm, ppo', () => {
  it('a reward model is saved with its head, its card and its accuracy on held-out pairs', () => {
    expect(JSON.parse(readFileSync(join(rewardModel, 'config.json'), 'utf8'))).toMatchObject({
      architectures: ['LlamaForSequenceClassification'],
      num_labels: 1,
    });
    expect(readModel(rewardModel).parameters.has('score.weight')).toBe(true);
    const { normalizer, evaluation } = readRewardCard(rewardModel)!;
    expect(normalizer!.count).toBe(20);
    expect(evaluation).toMatchObject({ pairs: 10, heldOut: true });
    expect(evaluation!.accuracy).toBeGreaterThan(0.9);
    expect(records('rm').at(-1)!['eval_ece']).toBe(evaluation!.ece);
  });

  it('stopped after 2 iterations and resumed, ends with the bytes of the uninterrupted run', async () => {
    expect((await runHeed(ppo('straight'))).code).toBe(0);
    let asked = false;
    const stopped = await runHeed([...ppo('stopped'), '--json'], (text, interrupt) => {
      if (asked || !/"event":"metrics","step":2/.test(text)) return;
      asked = true;
      interrupt();
    });
    expect(stopped.code).toBe(130);
    expect(existsSync(at('stopped', 'checkpoint-2'))).toBe(true);
    expect((await runHeed([...ppo('stopped'), '--resume'])).code).toBe(0);
    const weights = (run: string): Buffer => readFileSync(at(run, 'model', 'model.safetensors'));
    expect(weights('stopped').equals(weights('straight'))).toBe(true);
    const numbers = (run: string): unknown[] =>
      records(run).map(({ eps: _, ...record }) =>
        Object.fromEntries(Object.entries(record).filter(([name]) => !name.startsWith('time/'))),
      );
    expect(numbers('stopped')).toEqual(numbers('straight'));
    expect(numbers('straight')).toHaveLength(4);
    expect(Math.abs(records('straight').at(-1)!['objective/kl']!)).toBeGreaterThan(1e-3);
    const rollouts = (run: string): unknown[] => {
      const database = new Database(at(run, 'run.db'));
      const rows = database.prepare('SELECT * FROM rollouts ORDER BY step, sample').all();
      database.close();
      return rows.map((row) => JSON.stringify(row));
    };
    expect(rollouts('stopped')).toEqual(rollouts('straight'));
    expect(rollouts('straight')).toHaveLength(32);
  });

  it('--dry-run plans memory and updates, for --memory too, and writes nothing', async () => {
    const flags = [...ppo('planned'), '--dry-run', '--json', '--memory'];
    const { code, stdout } = await runHeed([...flags, '8GiB']);
    expect(code).toBe(0);
    const line = stdout.split('\n').find((text) => text.includes('"plan"'))!;
    const plan = JSON.parse(line) as Record<string, number> & { memory: Record<string, number> };
    expect(plan).toMatchObject({ iterations: 4, updatesPerIteration: 4, microBatchSize: 4, prompts: 40 });
    const { memory } = plan;
    expect(memory.gradients).toBeGreaterThanOrEqual(4 * (plan.trained! + plan.critic!));
    expect(memory.optimizer).toBe(2 * memory.gradients!);
    // Two layers of keys and values of two heads of size four, for eight completions of up to 16 columns, and once more for
    // their prompts.
    expect(memory.sampling).toBe(4 * 2 * 2 * 2 * 4 * (8 * 16 + 8 * 10));
    // Eighty steps pay for packing the weights; forty do not.
    const samplingOf = async (rows: number): Promise<number> => {
      const long = ['8GiB', '--max-new-tokens', '40', '--scoring-batch-size', String(rows)];
      const { stdout } = await runHeed([...flags, ...long]);
      return JSON.parse(stdout.split('\n').find((text) => text.includes('"plan"'))!).memory.sampling;
    };
    const packed = (await samplingOf(4)) - (await samplingOf(8)) / 2;
    const file = statSync(join(model, 'model.safetensors')).size;
    expect(packed).toBeLessThan(file);
    expect(packed).toBeGreaterThan(file - 8192);
    const sum = Object.values(memory).reduce((total, bytes) => total + bytes);
    expect(sum).toBe(2 * memory.total!);
    expect(existsSync(at('planned'))).toBe(false);
    const { stderr } = await runHeed([...flags, '1MiB']);
    expect(stderr).toMatch(/--memory: expected at least 0\.25GiB/);
  });

  it('heed rollouts lists, filters and shows what was sampled', async () => {
    const last = records('straight').at(-1)!;
    const listed = await runHeed([
      'rollouts',
      at('straight'),
      '--steps',
      '4',
      '--json',
      ...words('--sort score'),
    ]);
    const lines = listed.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const [summary, rollouts] = [lines.pop(), lines as Record<string, number>[]];
    expect(summary).toMatchObject({ total: 8, pages: 1 });
    const mean = (name: string): number => rollouts.reduce((sum, rollout) => sum + rollout[name]! / 8, 0);
    expect(mean('score')).toBeCloseTo(last['objective/scores']!, 6);
    expect(mean('kl')).toBeCloseTo(last['objective/kl']!, 5);
    expect(mean('reward')).toBeCloseTo(last['objective/rlhf_reward']!, 6);
    expect(rollouts.map(({ score }) => score)).toEqual(
      rollouts.map(({ score }) => score!).sort((a, b) => a - b),
    );
    expect(new Set(rollouts.map(({ weightVersion }) => weightVersion))).toEqual(new Set([12]));

    const shown = await runHeed(['rollouts', at('straight'), '--show', '4:2']);
    const one = rollouts.find(({ sample }) => sample === 2)!;
    const table = shown.stdout.trim().split('\n').slice(-one.tokens!);
    expect(table[0]).toMatch(/^ *1 +-\d\.\d{4} +-\d\.\d{4} +-?\d\.\d{4} +-?\d\.\d{4} +\S/);
    const advantages = table.map((line) => Number(line.trim().split(/ +/)[4]));
    expect(advantages.reduce((sum, a) => sum + a, 0) / one.tokens!).toBeCloseTo(one.advantage!, 3);

    const missing = await runHeed(['rollouts', at('straight'), '--show', '9:2']);
    expect([missing.code, missing.stderr]).toEqual([
      2,
      expect.stringMatching(/iterations 1 to 4, such as 4:0/),
    ]);
    const none = await runHeed(['rollouts', at('rm')]);
    expect([none.code, none.stderr]).toEqual([
      2,
      expect.stringMatching(/run\.db: expected rollouts, received none/),
    ]);
  });

  it('says what is wrong with models that were swapped', async () => {
    const [swapped, noHead] = [ppo('a'), ppo('b')];
    swapped[2] = rewardModel;
    expect((await runHeed(swapped)).stderr).toMatch(/--model: expected a language model/);
    noHead[4] = model;
    const { code, stderr } = await runHeed(noHead);
    expect(stderr).toMatch(/reward model heed-ppo-\w+: expected a model with a score head/);
    expect(code).toBe(2);
  });
});
