/** Runs that go wrong: what the watchdog does, and that the update it saved can be taken again to the bit. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-watchdog-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const words = (text: string): string[] => text.trim().split(' ');
const sentences = Array.from({ length: 24 }, (_, i) => `the ${i % 2 ? 'cat' : 'dog'} has ${i} toys`);
const rows = (name: string, list: readonly object[]): string => {
  writeFileSync(at(name), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const records = (run: string): Record<string, number>[] =>
  readFileSync(at(run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
const reproducers = (run: string): string[] =>
  readdirSync(at(run))
    .filter((name) => name.startsWith('reproducer-'))
    .map((name) => at(run, name));

const texts = rows(
  'texts.jsonl',
  sentences.map((text) => ({ text })),
);
const prompts = rows(
  'prompts.jsonl',
  sentences.map((text) => ({ prompt: text.slice(0, 7) })),
);
const pairs = rows(
  'pairs.jsonl',
  sentences.map((text, i) => ({ prompt: text.slice(0, 7), chosen: ` likes ${i}`, rejected: ` hates ${i}` })),
);

beforeAll(async () => {
  const tokenizer = trainBpe(sentences, { vocabSize: 270, specialTokens: { bos: '<s>', eos: '</s>' } });
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(at('model'), { config, parameters, files: Object.fromEntries(tokenizer.files) });
  await runHeed([
    ...['bt-rm', '--model', at('model'), '--data', pairs, '--output', at('rm')],
    ...words('--max-steps 4 --max-length 64 --learning-rate 0.01 --threads 1'),
  ]);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sft = (output: string, flags: string) =>
  runHeed([
    ...['sft', '--model', at('model'), '--data', texts, '--output', at(output)],
    ...words(`--max-length 64 --max-steps 8 --log-every 1 --schedule constant --threads 1 ${flags}`),
  ]);
const ppo = (output: string, flags: string) =>
  runHeed([
    ...['ppo', '--model', at('model'), '--reward-model', at('rm', 'model'), '--data', prompts],
    ...['--output', at(output)],
    ...words('--iterations 6 --batch-size 8 --max-new-tokens 6 --update-epochs 2 --mini-batch-size 4'),
    ...words(`--learning-rate 0.02 --schedule constant --kl-coefficient 0 --threads 1 ${flags}`),
  ]);
const replay = (file: string) => runHeed(['replay', file]);

describe('an update that is not finite', () => {
  it('stops the run with weights as before, and can be taken again', async () => {
    const { code, stderr } = await sft('nan', '--learning-rate 1e30 --max-grad-norm 0');
    expect([code, stderr]).toEqual([2, expect.stringMatching(/step \d: expected finite numbers/)]);
    const [file] = reproducers('nan');
    expect(stderr).toContain(`heed replay ${file}`);
    const again = await replay(file!);
    expect([again.code, again.stdout]).toEqual([
      0,
      expect.stringMatching(/NaN +NaN +yes[\s\S]*\nbyte-equal/),
    ]);
  });
});

describe('a gradient that is much larger than usual', () => {
  it('is told of, and the run goes on; the saved update has the same gradient and gives the same weights', async () => {
    const flags = '--learning-rate 0.5 --watch-grad-norm 1.05 --watch-window 2 --watch-action warn';
    const { code, stderr } = await sft('spike', flags);
    expect(code).toBe(0);
    expect(stderr).toMatch(/step \d: the gradient norm is [\d.]+, above 1\.05 times/);
    expect(records('spike').at(-1)!.step).toBe(8);
    const [file] = reproducers('spike');
    const again = await replay(file!);
    expect([again.code, again.stdout]).toEqual([
      0,
      expect.stringMatching(/weights after \(SHA-256\) +(\w{16}) +\1 +yes/),
    ]);
    // One weight off by its last bit shows.
    const bytes = readFileSync(file!);
    const data = 8 + Number(bytes.readBigUInt64LE(0));
    bytes[data]! ^= 1;
    writeFileSync(at('changed.safetensors'), bytes);
    const changed = await replay(at('changed.safetensors'));
    expect([changed.code, changed.stdout]).toEqual([
      1,
      expect.stringMatching(/gradient \(SHA-256\).* NO\n[\s\S]*not byte-equal/),
    ]);
  });
});

describe('a policy that leaves its reference', () => {
  it('goes back to the last checkpoint with a lower learning rate, and ends within the limit', async () => {
    expect(await ppo('free', '')).toMatchObject({ code: 0 });
    const kl = (run: string): number[] => records(run).map((record) => record['objective/kl']!);
    const limit = Math.max(...kl('free')) / 2;
    const flags = `--watch-kl ${limit} --watch-action roll-back --save-every 2 --rollback-limit 9 --rollback-learning-rate 0.2`;
    const { code, stderr } = await ppo('held', flags);
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/back to the last checkpoint after iteration \d, .*above/),
    ]);
    expect(Math.max(...kl('held'))).toBeLessThanOrEqual(limit);
    expect(records('held').map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(records('held').at(-1)!.lr!).toBeLessThan(0.2 * 0.02 * 1.001);
    const listed = await runHeed(['rollouts', at('held'), '--json', '--limit', '100']);
    expect(listed.stdout.trim().split('\n')).toHaveLength(6 * 8 + 1);
    const again = await replay(reproducers('held')[0]!);
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/objective\/kl is .* above/)]);
  });

  it('stops after as many roll-backs as are allowed', async () => {
    const flags = '--watch-kl 1e-3 --watch-action roll-back --rollback-limit 2';
    const { code, stderr } = await ppo('limit', flags);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/watchdog "kl".*came again after 2 roll-backs/),
    ]);
    expect(existsSync(at('limit', 'checkpoint-0'))).toBe(true);
  });
});

it('heed replay refuses a file that is something else', async () => {
  const { code, stderr } = await replay(at('model', 'model.safetensors'));
  expect([code, stderr]).toEqual([2, expect.stringMatching(/expected a file that a watchdog saved/)]);
});
