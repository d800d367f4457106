/**
 * Every method, stopped after half of its steps and resumed, against the same run in one piece: bytes of the weights, of the
 * optimizer and of what else a checkpoint carries (critic, controllers, running means, place in the data), and every metric.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import * as methods from '../../src/methods/index.ts';
import { buildModel, saveModel, scoreModelFrom } from '../../src/models/index.ts';
import { allocateParameters, initialize } from '../../src/nn/parameters.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-resume-'));
const at = (...parts: string[]): string => join(folder, ...parts);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');

const nouns = ['cat', 'dog', 'rose'];
const rows = Array.from({ length: 18 }, (_, i) => ({ prompt: `the ${nouns[i % 3]} has`, index: i }));
const data: Readonly<Record<string, (row: { prompt: string; index: number }) => object>> = {
  prompts: ({ prompt, index }) => ({ prompt, answer: String(index % 7) }),
  texts: ({ prompt, index }) => ({ prompt, completion: ` ${index} toys`, rating: 1 + (index % 5) }),
  pairs: ({ prompt, index }) => ({ prompt, chosen: ` ${index} toys`, rejected: ` ${index + 1} bowls` }),
  marks: ({ prompt, index }) => ({ prompt, completion: ` ${index} toys`, label: index % 3 > index % 2 }),
  steps: ({ prompt, index }) => ({
    prompt,
    completions: ['so', `it is ${index}`],
    labels: [true, index % 2 === 0],
  }),
};

const filesOf = {
  'language modeling or prompt-completion': 'texts',
  'language modeling, prompt-completion or prompt-only': 'texts',
  'prompt-completion': 'texts',
  preference: 'pairs',
  'unpaired preference or preference': 'marks',
  'stepwise supervision': 'steps',
} as const;

beforeAll(() => {
  const sentences = rows.map(({ prompt, index }) => `${prompt} ${index} toys and ${index} bowls so it is`);
  const tokenizer = trainBpe(sentences, { vocabSize: 270, specialTokens: { bos: '<s>', eos: '</s>' } });
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const model = buildModel(config);
  const files = Object.fromEntries(tokenizer.files);
  for (const [name, seed] of [
    ['model', 1],
    ['teacher', 2],
  ] as const) {
    const parameters = allocateParameters(model.parameters);
    initialize(parameters, createRng(seed));
    saveModel(at(name), { config, parameters, files });
    if (name === 'teacher') continue;
    const { parameters: scored } = scoreModelFrom({ model, parameters }, { rng: createRng(3) });
    const scoring = { ...config, architectures: ['LlamaForSequenceClassification'], num_labels: 1 };
    saveModel(at('reward'), { config: scoring, parameters: scored, files });
  }
  for (const [name, of] of Object.entries(data))
    writeFileSync(at(`${name}.jsonl`), rows.map((row) => `${JSON.stringify(of(row))}\n`).join(''));
  // Some completions succeed, at any point of training: a score of 0 or 1 by their length.
  writeFileSync(
    at('even.mjs'),
    'export default ({ completions }) => completions.map((text) => 1 - (text.length % 2));',
  );
});

/** Four steps of four rows; the fifth batch would begin the second pass over the data. */
const offline = '--max-steps 4 --batch-size 5 --micro-batch-size 3 --max-length 48 --learning-rate 3e-3';
const online =
  '--iterations 4 --batch-size 8 --max-new-tokens 5 --mini-batch-size 4 --micro-batch-size 3 --learning-rate 3e-3';
const groups = '--completions-per-prompt 4';
const best = '--evaluation-share 0.3 --evaluate-every 1 --best-metric loss';

/** Settings that give a method a state of its own, where it has any. */
const special: Readonly<Record<string, string>> = {
  sft: best,
  gkd: '--teacher-model teacher --lambda 0.5 --seq-kd --max-new-tokens 4',
  dpo: `${best} --optimizer sgd --momentum 0.9`,
  bco: '--use-udm',
  'bt-rm': '--evaluation-share 0.3 --evaluate-every 2',
  prm: '--step-separator |',
  ppo: '--reward-model reward --critic-warmup 1 --kl-target 1 --kl-horizon 50',
  grpo: `${groups} --update-epochs 2 --resampling-rounds 3 --curriculum success --kl-coefficient 0.1 --use-bias-correction-kl --entropy-target 9 --length-target 3 --learning-rate-kl 0.01 --watch-kl 1e6`,
  rloo: groups,
  'reinforce-plus-plus': '--entropy-target 9',
  'online-dpo': `${groups} --choose max-random --mini-batch-size 1`,
  raft: `${groups} --keep 2`,
};

/** Every method with its rows and settings. */
const table = Object.values(methods).map(({ id, kind, data }): [string, string, string] => {
  const own = special[id] ?? '';
  if (kind === 'train') return [id, filesOf[data], `${offline} ${own}`];
  return [id, 'prompts', `${online} ${own.includes('reward') ? '' : '--reward even.mjs'} ${own}`];
});

const timed = /^(eps|tokens_per_second|time\/.*)$/;
const numbersOf = (record: Record<string, number>) =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !timed.test(name)));

/** Everything that a run leaves, as far as it does not depend on the clock. */
function left(run: string) {
  const read = (...parts: string[]): Buffer => readFileSync(at(run, ...parts));
  const { log_history, ...state } = JSON.parse(read('checkpoint-3', 'trainer_state.json').toString()) as {
    log_history: Record<string, number>[];
  };
  return {
    weights: read('model', 'model.safetensors').toString('base64'),
    last: read('checkpoint-3', 'model.safetensors').toString('base64'),
    optimizer: read('checkpoint-3', 'optimizer.safetensors').toString('base64'),
    state,
    history: log_history.map(numbersOf),
    metrics: read('metrics.jsonl')
      .toString()
      .trim()
      .split('\n')
      .map((line) => numbersOf(JSON.parse(line))),
  };
}

it.each(table)(
  '%s on %s, stopped after two of four steps, ends as if it had not been',
  async (id, file, settings) => {
    const named = words(settings).map((word) =>
      ['teacher', 'reward', 'even.mjs'].includes(word) ? at(word) : word,
    );
    const argv = (run: string, ...more: string[]): string[] => [
      ...[id, '--model', at('model'), '--data', at(`${file}.jsonl`), '--output', at(run), ...named],
      ...words('--seed 4 --log-every 1 --save-every 3 --threads 1'),
      ...more,
    ];
    const straight = await runHeed(argv(`${id}-straight`));
    expect(straight.code, straight.stderr).toBe(0);
    let asked = false;
    const stopped = await runHeed(argv(`${id}-stopped`, '--json'), (text, interrupt) => {
      if (asked || !/"event":"metrics".*"step":2,/.test(text)) return;
      asked = true;
      interrupt();
    });
    expect(stopped.code, stopped.stderr).toBe(130);
    const resumed = await runHeed(argv(`${id}-stopped`, '--resume'));
    expect(resumed.stderr).toMatch(/resuming after (step|iteration) 2/);
    expect(resumed.code, resumed.stderr).toBe(0);
    const [one, two] = [left(`${id}-straight`), left(`${id}-stopped`)];
    expect(two.metrics).toEqual(one.metrics);
    expect(two).toEqual(one);
    expect(new Set(one.metrics.map((record) => JSON.stringify(record))).size).toBeGreaterThanOrEqual(4);
  },
);
