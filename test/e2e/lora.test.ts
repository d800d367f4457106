/** Adapters from the command line on a tiny model: trained, stopped and resumed, trained further, generated with, refused. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createRng } from '../../src/core/rng.ts';
import { buildModel, isLoraModel, mergeAdapter, readModel, saveModel } from '../../src/models/index.ts';
import { allocateParameters, initialize, type Parameters } from '../../src/nn/parameters.ts';
import { loraFields } from '../../src/parts/trainer/lora-fields.ts';
import { loadOnlineModels } from '../../src/parts/trainer/online-models.ts';
import { trainBpe } from '../../src/tokenizer/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { tinyConfig } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-lora-'));
const at = (...parts: string[]): string => join(folder, ...parts);
const sentences = Array.from(
  { length: 40 },
  (_, i) => `the ${i % 2 ? 'cat' : 'dog'} has ${i} ${i % 3 ? 'toys' : 'bowls'}`,
);
const rows = (name: string, list: readonly object[]): string => {
  writeFileSync(at(name), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const texts = rows(
  'texts.jsonl',
  sentences.map((text) => ({ text })),
);
const pairs = rows(
  'pairs.jsonl',
  sentences.map((text, i) => ({ prompt: text.slice(0, 7), chosen: ` likes ${i}`, rejected: ` hates ${i}` })),
);
const model = at('model');
const tokenizer = trainBpe(sentences, { vocabSize: 280, specialTokens: { bos: '<s>', eos: '</s>' } });

beforeAll(() => {
  const config = { ...tinyConfig, vocab_size: tokenizer.vocabSize };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(1));
  saveModel(model, { config, parameters, files: Object.fromEntries(tokenizer.files) });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const common = [
  ...['--max-length', '64', '--batch-size', '4', '--log-every', '1', '--threads', '1'],
  ...['--learning-rate', '0.02', '--lora', '--lora-r', '4'],
];
const argv = (method: string, output: string, ...more: string[]): string[] => [
  ...[method, '--model', model, '--data', method === 'sft' ? texts : pairs, '--output', at(output)],
  ...common,
  ...more,
];
const metrics = (run: string): Record<string, number>[] =>
  readFileSync(at(run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { tokens_per_second, ...record } = JSON.parse(line) as Record<string, number>;
      return record;
    });
const weights = (run: string): Buffer => readFileSync(at(run, 'model', 'adapter_model.safetensors'));

describe('heed … --lora', () => {
  it('sft: writes an adapter and its tokenizer, small, that stands for the tuned model', async () => {
    const before = readFileSync(join(model, 'model.safetensors'));
    const run = await runHeed(argv('sft', 'sft', '--epochs', '4', '--lora-dropout', '0.05'));
    expect(run.stderr).not.toContain('error');
    expect(run.code).toBe(0);
    expect(readdirSync(at('sft', 'model')).sort()).toEqual(
      ['README.md', 'adapter_config.json', 'adapter_model.safetensors', ...tokenizer.files.keys()].sort(),
    );
    expect(readFileSync(at('sft', 'model', 'README.md'), 'utf8')).toMatch(/^library_name: peft$/m);
    const stored = JSON.parse(readFileSync(at('sft', 'model', 'adapter_config.json'), 'utf8'));
    expect(stored).toMatchObject({
      ...{ peft_type: 'LORA', task_type: 'CAUSAL_LM', r: 4, lora_alpha: 32, lora_dropout: 0.05 },
      base_model_name_or_path: model,
    });
    expect(readFileSync(join(model, 'model.safetensors')).equals(before)).toBe(true);
    const losses = metrics('sft').map(({ loss }) => loss!);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 1);

    const generate = (...from: string[]) =>
      runHeed(['generate', ...from, '--prompt', 'the cat', '--temperature', '0', '--json']);
    const [folderAlone, over, base] = [
      await generate('--model', at('sft', 'model')),
      await generate('--model', model, '--adapter', at('sft', 'model')),
      await generate('--model', model),
    ].map(({ stdout }) => (JSON.parse(stdout) as { ids: number[] }).ids);
    expect(over).toEqual(folderAlone);
    expect(base).not.toEqual(folderAlone);
    const merged = mergeAdapter(readModel(at('sft', 'model')));
    saveModel(at('merged'), {
      ...{ config: merged.config, parameters: merged.parameters },
      files: Object.fromEntries(tokenizer.files),
    });
    expect(JSON.parse((await generate('--model', at('merged'))).stdout).ids).toEqual(folderAlone);
  }, 60_000);

  it('dpo: starts at log 2, as the reference is the base, and learns the preference', async () => {
    const run = await runHeed(argv('dpo', 'dpo', '--evaluation-share', '0.25', '--epochs', '3'));
    expect(run.code).toBe(0);
    expect(metrics('dpo')[0]!['eval_loss']).toBeCloseTo(Math.LN2, 6);
    expect(metrics('dpo').at(-1)!['eval_rewards/accuracies']).toBeGreaterThan(0.9);
  }, 60_000);

  it('dpo on an adapter goes on with it, and its reference is the adapter as it was', async () => {
    const run = await runHeed([
      ...['dpo', '--model', at('sft', 'model'), '--data', pairs, '--output', at('further')],
      ...['--max-length', '64', '--evaluation-share', '0.25', '--threads', '1', '--learning-rate', '0.01'],
    ]);
    expect(run.stderr).not.toContain('error');
    expect(metrics('further')[0]!['eval_loss']).toBeCloseTo(Math.LN2, 5);
    const stored = JSON.parse(readFileSync(at('further', 'model', 'adapter_config.json'), 'utf8'));
    expect(stored).toMatchObject({ base_model_name_or_path: model, r: 4, lora_alpha: 32 });
    expect(weights('further').equals(weights('sft'))).toBe(false);
    expect(metrics('further').at(-1)!['eval_loss']).toBeLessThan(Math.LN2 - 0.05);
  }, 60_000);

  it('bt-rm: the adapter carries the new head over the language model', async () => {
    const run = await runHeed(argv('bt-rm', 'rm', '--evaluation-share', '0.25', '--epochs', '3'));
    expect(run.stderr).not.toContain('error');
    expect(metrics('rm').at(-1)!['eval_ece']).toBeDefined();
    const accuracies = metrics('rm').flatMap((record) => record['eval_accuracy'] ?? []);
    expect(accuracies.at(-1)).toBeGreaterThan(0.9);
    const stored = JSON.parse(readFileSync(at('rm', 'model', 'adapter_config.json'), 'utf8'));
    expect(stored).toMatchObject({ task_type: 'SEQ_CLS', modules_to_save: ['score'] });
    const loaded = readModel(at('rm', 'model'));
    expect(loaded.parameters.view('score.weight')).toHaveLength(16);
    expect(loaded.config['architectures']).toEqual(['LlamaForSequenceClassification']);
  }, 60_000);

  describe('ppo: policy, reference, critic and reward model over one base', () => {
    const settings = {
      ...{ model, rewardModel: at('rm', 'model'), seed: 0 },
      ...z.strictObject(loraFields).parse({ lora: true, loraR: 4 }),
    };
    const prompts = rows(
      'prompts.jsonl',
      sentences.map((text) => ({ prompt: text.slice(0, 7) })),
    );
    const ppo = (output: string, ...more: string[]): string[] => [
      ...['ppo', '--model', model, '--reward-model', at('rm', 'model'), '--data', prompts],
      ...['--output', at(output), '--iterations', '4', '--batch-size', '8', '--max-new-tokens', '6'],
      ...['--update-epochs', '2', '--learning-rate', '0.01', '--threads', '1', '--lora', ...more],
    ];

    it('share its memory: no weight of the base is there twice', async () => {
      for (const criticFrom of ['policy', 'reward-model'] as const) {
        const models = await loadOnlineModels({ ...settings, criticFrom });
        const { policy, reference, critic, rewardModels } = models;
        const rewardModel = rewardModels.get(settings.rewardModel)!;
        const place = (of: { readonly parameters: Parameters }, name: string): unknown[] => {
          const { buffer, byteOffset } = of.parameters.view(name);
          return [buffer, byteOffset];
        };
        for (const { name } of reference.model.parameters) {
          const [buffer, offset] = place(reference, name);
          for (const other of [policy, critic, rewardModel]) {
            expect(place(other, name)[0], name).toBe(buffer);
            expect(place(other, name)[1], name).toBe(offset);
          }
        }
        expect(isLoraModel(reference.model)).toBe(false);
        // What is trained is apart: an update of one moves no other.
        const own = [policy, critic, rewardModel].map(({ parameters }) => parameters.flat);
        expect(new Set(own.map(({ buffer }) => buffer)).size).toBe(3);
        expect(critic.parameters.has('score.weight')).toBe(true);
      }
    });

    it('share the integers of a base of 4 bits too, and train on them', async () => {
      const { policy, reference, critic, rewardModels } = await loadOnlineModels({
        ...settings,
        quantizeBase: '4bit',
      });
      const rewardModel = rewardModels.get(settings.rewardModel)!;
      const name = 'model.layers.0.mlp.up_proj.weight.packed';
      const packed = reference.parameters.arrays()[name]!;
      expect(packed).toBeInstanceOf(Uint8Array);
      for (const { parameters } of [policy, critic, rewardModel])
        expect(parameters.arrays()[name]).toBe(packed);
      const run = await runHeed([...ppo('ppo q4', '--quantize-base', '4bit'), '--iterations', '1']);
      expect(run.stderr).not.toContain('error');
      expect(run.code).toBe(0);
      expect(Math.abs(metrics('ppo q4')[0]!['objective/kl']!)).toBeLessThan(1e-4);
    }, 60_000);

    it('an adapter as policy goes on, with a copy of itself alone as the reference', async () => {
      const { policy, reference, critic } = await loadOnlineModels({
        ...settings,
        ...{ model: at('sft', 'model'), lora: false },
      });
      expect(reference.parameters.flat).toEqual(policy.parameters.flat);
      expect(reference.parameters.flat).not.toBe(policy.parameters.flat);
      const base = (of: { readonly parameters: Parameters }) => of.parameters.view('model.norm.weight');
      for (const other of [reference, critic]) {
        expect(base(other).buffer).toBe(base(policy).buffer);
        const trunk = 'model.layers.0.mlp.up_proj.lora_B.weight';
        expect(other.parameters.view(trunk)).toEqual(policy.parameters.view(trunk));
      }
      expect(critic.parameters.view('score.weight').every((x) => x === 0)).toBe(true);
    });

    it('train, and stopped after 2 iterations and resumed give the bytes of the uninterrupted run', async () => {
      const more = ['--lora-dropout', '0.1'];
      const straight = await runHeed(ppo('ppo', ...more));
      expect(straight.stderr).not.toContain('error');
      expect(straight.code).toBe(0);
      const [first, last] = [metrics('ppo')[0]!, metrics('ppo').at(-1)!];
      expect(Math.abs(first['objective/kl']!)).toBeLessThan(1e-4);
      expect(Math.abs(last['objective/kl']!)).toBeGreaterThan(1e-3);
      let asked = false;
      const stopped = await runHeed([...ppo('ppo stopped', ...more), '--json'], (text, interrupt) => {
        if (asked || !/"event":"metrics","step":2/.test(text)) return;
        asked = true;
        interrupt();
      });
      expect(stopped.code).toBe(130);
      expect((await runHeed([...ppo('ppo stopped', ...more), '--resume'])).code).toBe(0);
      expect(weights('ppo stopped').equals(weights('ppo'))).toBe(true);
    }, 60_000);
  });

  it.each([
    ['LoRA with dropout', ['--lora-dropout', '0.2']],
    ['DoRA with biases and the input embedding', ['--use-dora', '--lora-modules-to-save', 'embed_tokens']],
  ])(
    'stopped by Ctrl-C and resumed, gives the bytes of the uninterrupted run: %s',
    async (name, more) => {
      const [straight, stopped] = [`straight ${name}`, `stopped ${name}`];
      expect((await runHeed(argv('dpo', straight, ...more))).code).toBe(0);
      const first = await runHeed(argv('dpo', stopped, ...more), (text, interrupt) => {
        if (text.includes('"event":"metrics"') && text.includes('"step":3')) interrupt();
      });
      expect(first.code).toBe(130);
      const checkpoint = readdirSync(at(stopped)).find((file) => file.startsWith('checkpoint-'))!;
      expect(existsSync(at(stopped, checkpoint, 'adapter_model.safetensors'))).toBe(true);
      expect(existsSync(at(stopped, checkpoint, 'model.safetensors'))).toBe(false);
      // Two moments of what is trained, and nothing of the base.
      const optimizer = statSync(at(stopped, checkpoint, 'optimizer.safetensors')).size;
      const adapter = statSync(at(stopped, checkpoint, 'adapter_model.safetensors')).size;
      expect(optimizer).toBeLessThan(2.3 * adapter);
      const second = await runHeed([...argv('dpo', stopped, ...more), '--resume']);
      expect(second.code).toBe(0);
      expect(weights(stopped).equals(weights(straight))).toBe(true);
      expect(metrics(stopped)).toEqual(metrics(straight));
    },
    60_000,
  );

  it('over a base of 4 bits: the same adapter folder, less memory, resumed bit for bit', async () => {
    const more = ['--quantize-base', '4bit', '--gradient-checkpointing'];
    expect((await runHeed(argv('dpo', 'q4', '--evaluation-share', '0.25', ...more))).code).toBe(0);
    expect(metrics('q4')[0]!['eval_loss']).toBeCloseTo(Math.LN2, 5);
    expect(metrics('q4').at(-1)!['eval_rewards/accuracies']).toBeGreaterThan(0.6);
    const stopped = await runHeed(
      argv('dpo', 'q4 stopped', '--evaluation-share', '0.25', ...more),
      (text, interrupt) => {
        if (text.includes('"event":"metrics"') && text.includes('"step":3')) interrupt();
      },
    );
    expect(stopped.code).toBe(130);
    const resumed = await runHeed([
      ...argv('dpo', 'q4 stopped', '--evaluation-share', '0.25', ...more),
      '--resume',
    ]);
    expect(resumed.code).toBe(0);
    expect(weights('q4 stopped').equals(weights('q4'))).toBe(true);
    for (const quantize of ['none', '4bit']) {
      const run = await runHeed([
        ...['generate', '--model', at('q4', 'model'), '--quantize', quantize, '--prompt', 'the cat'],
        ...['--max-new-tokens', '5', '--json'],
      ]);
      expect(run.code).toBe(0);
    }
    const rm = argv('bt-rm', 'q4 rm', '--quantize-base', '8bit');
    expect((await runHeed(rm)).code).toBe(0);
    const whole = await runHeed([
      ...['bt-rm', '--model', model, '--data', pairs, '--output', at('bad'), '--max-length', '64'],
      ...['--quantize-base', '4bit'],
    ]);
    expect(whole.stderr).toMatch(/--quantize-base: expected --lora.*Add --lora/);
    expect(whole.code).toBe(2);
  }, 60_000);

  it('a dry run shows what is trained and the memory of each term', async () => {
    const run = await runHeed([...argv('dpo', 'dry'), '--dry-run', '--json']);
    const plan = JSON.parse(run.stdout) as {
      parameters: number;
      trained: number;
      memory: Record<'weights' | 'gradients' | 'optimizer', number>;
    };
    // Rank 4 on two layers: q and o 4·(16 + 16), k and v 4·(16 + 8), gate, up and down 4·(16 + 24).
    expect(plan.trained).toBe(2 * (2 * 128 + 2 * 96 + 3 * 160));
    expect(plan.memory.gradients).toBe(4 * plan.trained);
    expect(plan.memory.optimizer).toBe(8 * plan.trained);
    expect(plan.memory.weights).toBeGreaterThanOrEqual(4 * plan.parameters);
    expect(existsSync(at('dry'))).toBe(false);
    const text = await runHeed([...argv('dpo', 'dry'), '--dry-run']);
    expect(text.stdout).toMatch(/trained\s+1,?856 \(\d+(\.\d+)? %\)/);
  }, 60_000);

  it.each([
    ['an unknown layer', ['--lora-target-modules', 'q_prj'], /target modules: .*Did you mean "q_proj"\?/],
    [
      'names and patterns mixed',
      ['--lora-target-modules', 'q_proj,.*v_proj'],
      /or one regular expression alone/,
    ],
    ['a pattern that is none', ['--lora-target-modules', '.*('], /a regular expression, received "\.\*\("/],
    ['a rank of 0', ['--lora-r', '0'], /loraR|lora-r/],
    ['a module that is tied', ['--lora-modules-to-save', 'lm_head'], /tied output embedding/],
  ])('%s ends with exit code 2 and a message that names it', async (_name, more, message) => {
    const run = await runHeed(argv('dpo', 'bad', '--overwrite', ...more));
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(2);
  });

  it('an adapter on an adapter is refused, with what to do', async () => {
    const list = argv('dpo', 'bad', '--overwrite');
    list[list.indexOf(model)] = at('sft', 'model');
    const run = await runHeed(list);
    expect(run.stderr).toMatch(/--lora: expected a model without adapter.*Leave out --lora/);
    expect(run.code).toBe(2);
  });
});
