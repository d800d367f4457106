import { afterAll, describe, expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { optimize } from '../graph/optimize.ts';
import { adamW } from '../optim/optimizer.ts';
import { supervisedStep } from '../parts/step/supervised.ts';
import { createLearner } from '../parts/trainer/learner.ts';
import { peakActivationBytes } from '../parts/trainer/memory.ts';
import { stepProgram } from '../parts/trainer/programs.ts';
import { defaultLora, type LoraConfig, shortestTargets } from './lora-config.ts';
import { attachLora } from './lora-model.ts';
import { mergeLora } from './merge-adapter.ts';
import { scoreModelOver } from './score-model.ts';

const lora = (settings: Partial<LoraConfig> = {}): LoraConfig => ({
  ...defaultLora,
  r: 2,
  alpha: 4,
  ...settings,
});
const attach = (settings: Partial<LoraConfig> = {}, seed = 0) =>
  attachLora(tinyModel(), lora(settings), { rng: createRng(seed) });

describe('attachLora', () => {
  it('trains two matrices per layer and nothing else: gradients and moments are as long', () => {
    const base = tinyModel();
    const { model, parameters } = attachLora(base, lora());
    // Per layer of the tiny model (D 16, H·E 16, K·E 8, F 24) at rank 2: q and o 2·(16 + 16), k and v 2·(16 + 8),
    // gate, up and down 2·(16 + 24).
    const trained = 2 * (2 * 64 + 2 * 48 + 3 * 80);
    expect(parameters.count).toBe(trained);
    expect(parameters.flat.length).toBe(trained); // every matrix fills whole stretches of 16 numbers
    expect(parameters.like().flat.length).toBe(trained);
    expect(Object.keys(parameters.like().arrays())).toEqual(parameters.specs.map(({ name }) => name));
    const moments = Object.values(adamW({ size: parameters.flat.length }).state().moments);
    expect(moments.map(({ length }) => length)).toEqual([trained, trained]);
    expect(parameters.frozenBytes).toBe(4 * base.parameters.count);
    expect(model.parameters.filter(({ frozen }) => frozen === true)).toHaveLength(
      base.model.parameters.length,
    );
  });

  it('puts policy, reward and critic over one base: the memory of the base is that of all, bit for bit unchanged', async () => {
    const base = tinyModel();
    const before = base.parameters.flat.slice();
    const scored = scoreModelOver(base, { rng: createRng(5) });
    const adapters = [
      attachLora(base, lora()),
      ...[1, 2].map((seed) =>
        attachLora(scored, lora({ modulesToSave: ['score'] }), { rng: createRng(seed) }),
      ),
    ];
    for (const { parameters } of adapters) {
      for (const { name } of base.model.parameters) {
        if (name.includes('embed_tokens') && !parameters.has(name)) continue;
        expect(parameters.view(name).buffer, name).toBe(base.parameters.buffer);
        expect(parameters.view(name).byteOffset, name).toBe(base.parameters.view(name).byteOffset);
      }
      expect(parameters.buffer).not.toBe(base.parameters.buffer);
    }
    expect(base.parameters.flat).toEqual(before);
  });

  it('takes ranks and alphas from patterns, and scales by the root of the rank when asked', () => {
    const { model } = attach({
      rankPattern: { 'layers\\.1\\..*': 3, q_proj: 1 },
      alphaPattern: { 'mlp.down_proj': 10 },
      rslora: true,
    });
    const of = (module: string) => {
      const { rank, scale } = model.lora.targets.find((target) => target.module.endsWith(module))!;
      return [rank, scale];
    };
    expect(of('0.self_attn.q_proj')).toEqual([1, 4]);
    expect(of('1.self_attn.q_proj')).toEqual([3, 4 / Math.sqrt(3)]); // the first key that matches
    expect(of('0.mlp.down_proj')).toEqual([2, 10 / Math.sqrt(2)]);
  });

  it('chooses layers by name, by the end of a name, by a regular expression', () => {
    const chosen = (targetModules: LoraConfig['targetModules']) =>
      attach({ targetModules }).model.lora.targets.map(({ module }) => module.replace('model.layers.', ''));
    expect(chosen(['q_proj', 'model.layers.1.mlp.up_proj'])).toEqual([
      ...['0.self_attn.q_proj', '1.self_attn.q_proj', '1.mlp.up_proj'],
    ]);
    expect(chosen({ regex: '.*\\.1\\..*(q|v)_proj' })).toEqual(['1.self_attn.q_proj', '1.self_attn.v_proj']);
    expect(() => chosen(['_proj'])).toThrow(/received "_proj"/);
    // Whole names: a match inside is not enough.
    expect(() => chosen({ regex: 'q_proj' })).toThrow(/received \/q_proj\/, which matches none/);
  });

  it('writes the shortest names that mean the same layers', () => {
    const names = (targetModules: LoraConfig['targetModules']) => {
      const { model } = attach({ targetModules });
      return shortestTargets(model.base, model.lora.targets);
    };
    expect(names(['q_proj', 'v_proj'])).toEqual(['q_proj', 'v_proj']);
    expect(names(['model.layers.1.mlp.up_proj'])).toEqual(['model.layers.1.mlp.up_proj']);
  });

  it.each([
    [
      { targetModules: ['q_prj'] },
      /target modules: expected names of linear layers: q_proj, .*"q_prj".*Did you mean "q_proj"/,
    ],
    [{ targetModules: { regex: '(' } }, /target modules: expected a regular expression, received "\("/],
    [{ targetModules: [] }, /target modules: .*received none/],
    [{ modulesToSave: ['lm_head'] }, /modules to save: .*"lm_head". A tied output embedding/],
    [{ rankPattern: { q_proj: 0 } }, /rank: expected a positive integer, received 0 for .*q_proj/],
  ])('names what is wrong: %j', (settings, message) => {
    expect(() => attach(settings as Partial<LoraConfig>)).toThrow(message);
  });

  it('draws A like a linear layer of PyTorch and B as 0', () => {
    const { parameters } = attach({ r: 16 });
    const down = parameters.view('model.layers.0.self_attn.q_proj.lora_A.weight');
    expect(Math.max(...down.map(Math.abs))).toBeLessThanOrEqual(0.25); // 1/√16
    expect(Math.max(...down)).toBeGreaterThan(0.24);
    expect(Math.min(...down)).toBeLessThan(-0.24);
    expect(parameters.view('model.layers.0.self_attn.q_proj.lora_B.weight').every((x) => x === 0)).toBe(true);
  });

  it('merges into weights of their own: the base stays', () => {
    const base = tinyModel();
    const before = base.parameters.flat.slice();
    const adapted = attachLora(base, lora({ targetModules: ['q_proj'] }));
    const up = adapted.parameters.view('model.layers.0.self_attn.q_proj.lora_B.weight');
    up[0] = 1; // output 0, rank 0
    const merged = mergeLora(adapted);
    const down = adapted.parameters.view('model.layers.0.self_attn.q_proj.lora_A.weight');
    const weight = base.parameters.view('model.layers.0.self_attn.q_proj.weight');
    const after = merged.parameters.view('model.layers.0.self_attn.q_proj.weight');
    // α/R = 2 times the first row of A is added to the first row of W.
    for (let i = 0; i < 16; i++) expect(after[i]).toBeCloseTo(weight[i]! + 2 * down[i]!, 6);
    expect(after.subarray(16)).toEqual(weight.subarray(16));
    expect(base.parameters.flat).toEqual(before);
    expect(merged.parameters.buffer).not.toBe(base.parameters.buffer);
  });
});

describe('training an adapter', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  function learner(settings: Partial<LoraConfig>, microBatchSize = 4, base = tinyModel()) {
    const adapted = attachLora(base, lora(settings), { rng: createRng(4) });
    const optimizer = adamW({ size: adapted.parameters.flat.length });
    return {
      ...adapted,
      base,
      optimizer,
      ...createLearner({
        ...{ engine, ...adapted, optimizer },
        step: supervisedStep({ aggregation: 'token-mean', packed: false }),
        settings: { microBatchSize, bucket: 8, maxGradNorm: 1, gradientCheckpointing: false },
      }),
    };
  }
  const examples = tinyExamples(4);

  it.each([
    ['LoRA', {}],
    ['DoRA with dropout', { dora: true, dropout: 0.1 }],
    ['all biases and a norm', { targetModules: ['q_proj'], bias: 'all', modulesToSave: ['model.norm'] }],
  ] as const)('%s: the loss falls and the base is bit for bit what it was', async (_name, settings) => {
    const own = learner(settings, 4, tinyModel(1, { attention_bias: true }));
    const before = own.base.parameters.flat.slice();
    const losses: number[] = [];
    for (let step = 0; step < 20; step++) losses.push((await own.update(examples, 1e-2, 'step')).loss);
    own.dispose();
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.1);
    expect(own.base.parameters.flat).toEqual(before);
  });

  it('is the same for any micro-batch without dropout, and for rematerialised layers with it', async () => {
    const [whole, parts] = [learner({}), learner({}, 1)];
    for (const own of [whole, parts]) {
      for (const [i, x] of own.parameters.flat.entries()) own.parameters.flat[i] = x === 0 ? 0.05 : x;
      await own.update(examples, 1e-2, 'step');
      own.dispose();
    }
    for (const [i, x] of whole.parameters.flat.entries()) expect(parts.parameters.flat[i]).toBeCloseTo(x, 5);
  });

  it('draws dropout from the seed and the number of the step: a resumed run goes on bit for bit', async () => {
    const run = async (
      steps: number,
      from?: { weights: Float32Array; state: ReturnType<typeof snapshot> },
    ) => {
      const own = learner({ dropout: 0.3 });
      if (from !== undefined) {
        own.parameters.flat.set(from.weights);
        own.optimizer.load(from.state);
      }
      const losses: number[] = [];
      for (let step = 0; step < steps; step++) losses.push((await own.update(examples, 1e-2, 'step')).loss);
      own.dispose();
      return { losses, weights: own.parameters.flat.slice(), state: snapshot(own.optimizer.state()) };
    };
    const snapshot = (state: { steps: number; moments: Readonly<Record<string, Float32Array>> }) => ({
      steps: state.steps,
      moments: Object.fromEntries(Object.entries(state.moments).map(([name, m]) => [name, m.slice()])),
    });
    const whole = await run(6);
    const half = await run(3);
    const rest = await run(3, half);
    expect([...half.losses, ...rest.losses]).toEqual(whole.losses);
    expect(rest.weights).toEqual(whole.weights);
  });

  it('keeps no mask of a rematerialised layer', () => {
    const perLayer = (dropout: number): number => {
      const peak = (layers: number): number => {
        const { model } = attachLora(tinyModel(1, { num_hidden_layers: layers }), lora({ dropout }));
        const step = supervisedStep({ aggregation: 'token-mean', packed: false });
        const program = stepProgram(model, step, 4, 32, { withGradients: true, rematerialize: true });
        return peakActivationBytes(optimize(program));
      };
      return (peak(16) - peak(8)) / 8;
    };
    // Keys of the features: 8 bytes for each input of the seven changes, 6·16 + 24. A mask has 4·32 times as many numbers.
    expect(perLayer(0.1) - perLayer(0)).toBe(8 * 120);
  });

  it('draws another mask for every step and micro-batch, and none for an evaluation', async () => {
    const own = learner({ dropout: 0.3 });
    own.parameters.flat.fill(0.1);
    const still = async () => (await own.update(examples, 0, 'step')).loss;
    const losses = [await still(), await still()];
    expect(losses[1]).not.toBe(losses[0]);
    const parts = learner({ dropout: 0.3 }, 1);
    parts.parameters.flat.fill(0.1);
    // Twice the same example: with one mask for both the loss would be that of one.
    const twice = (await parts.update([examples[0]!, examples[0]!], 0, 'step')).loss;
    const other = learner({ dropout: 0.3 }, 1);
    other.parameters.flat.fill(0.1);
    expect(twice).not.toBe((await other.update([examples[0]!], 0, 'step')).loss);
    const batch = { examples, rows: 4, columns: 16 };
    expect(await own.runner.evaluate(batch)).toEqual(await own.runner.evaluate(batch));
    for (const one of [own, parts, other]) one.dispose();
  });
});
