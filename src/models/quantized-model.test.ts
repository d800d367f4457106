import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../test/support/engines-agree.ts';
import { evaluate, goldenFolder } from '../../test/support/golden-model.ts';
import { tinyExamples, tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createEncoder, type EncodedExample, readRows } from '../data/index.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { createGenerator } from '../generate/generate.ts';
import { dequantizeMatrix, quantizeMatrix } from '../nn/quantize.ts';
import { adamW } from '../optim/optimizer.ts';
import { sequenceLogProbs } from '../parts/reference.ts';
import { supervisedStep } from '../parts/step/supervised.ts';
import { createLearner } from '../parts/trainer/learner.ts';
import { loadTokenizer } from '../tokenizer/index.ts';
import { readModel, saveModel } from './checkpoint.ts';
import { defaultLora } from './lora-config.ts';
import { attachLora, type ModelWithParameters } from './lora-model.ts';
import { mergeLora } from './merge-adapter.ts';
import { type QuantizeOptions, quantizeModel } from './quantized-model.ts';

const ids = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7];
const logits = async (model: ModelWithParameters, engine = createInterpreter()): Promise<Float64Array> =>
  Float64Array.from((await evaluate(engine, model, { ids })).logits as Float64Array);

describe('quantizeMatrix', () => {
  it('is the worked example: 4 bits, of several scales the one with the least squared error', () => {
    // With 8 at −8 the integers are −8, −3, 1, 0: (Σ w·q)²/Σ q² = 73.2²/74 = 72.41 of Σ w² = 72.76. With 8 at 7 they are
    // 7, 2, −1, 0: 62.6²/54 = 72.57, the best; smaller scales cut 8 off and give less. Stored with 8 added.
    const given = [8, 2.6, -1.4, 0.2];
    const { packed, scales } = quantizeMatrix([1, 4], (_, k) => given[k]!, { bits: 4, blockSize: 16 });
    expect(scales[0]).toBeCloseTo(62.6 / 54, 6);
    expect([...packed]).toEqual([0xaf, 0x87, ...new Array<number>(6).fill(0x88)]);
  });

  it.each([
    [4, 2.6],
    [8, 0.6],
  ] as const)('%i bits: no weight is off by more than %f scales', (bits, limit) => {
    const weights = new Float32Array(6 * 70);
    createRng(2).fillNormal(weights, 1);
    const matrix = quantizeMatrix([6, 70], (n, k) => weights[n * 70 + k]!, { bits, blockSize: 32 });
    const back = new Float32Array(weights.length);
    dequantizeMatrix(matrix, back);
    for (let i = 0; i < weights.length; i++) {
      const block = Math.floor(i / 70) * 3 + Math.floor((i % 70) / 32);
      const scale = Math.abs(matrix.scales[block]!);
      // Half a scale, and with 4 bits what is cut off: a quarter of the extreme, two steps of eight.
      expect(Math.abs(back[i]! - weights[i]!)).toBeLessThan(limit * scale);
    }
  });

  it('keeps zeros, and refuses odd block sizes', () => {
    const zeros = quantizeMatrix([2, 20], () => 0, { bits: 4, blockSize: 16 });
    const back = new Float32Array(40).fill(1);
    dequantizeMatrix(zeros, back);
    expect(back.every((x) => x === 0)).toBe(true);
    expect(() => quantizeMatrix([1, 1], () => 0, { bits: 4, blockSize: 24 })).toThrow(
      /blockSize.*received 24/,
    );
  });
});

describe.each(['llama-biases', 'gpt2-plain', 'gemma3_text-pattern'])('quantizeModel: %s', (name) => {
  const plain = readModel(goldenFolder(name));
  /** The float32 model with every linear weight rounded as the quantized one has it. */
  const rounded = (bits: 4 | 8): ModelWithParameters => {
    const copy = readModel(goldenFolder(name));
    for (const { name: weight, shape, linear } of copy.model.parameters) {
      if (linear === undefined) continue;
      const view = copy.parameters.view(weight);
      const [N, K] = (linear === 'out-in' ? shape : [...shape].reverse()) as [number, number];
      const place = (n: number, k: number): number => (linear === 'out-in' ? n * K + k : k * N + n);
      const out = new Float32Array(N * K);
      dequantizeMatrix(
        quantizeMatrix([N, K], (n, k) => view[place(n, k)]!, { bits, blockSize: 16 }),
        out,
      );
      for (let i = 0; i < out.length; i++) view[place(Math.floor(i / K), i % K)] = out[i]!;
    }
    return copy;
  };

  it.each([4, 8] as const)('%i bits: computes with the rounded weights, on both engines', async (bits) => {
    const quantized = quantizeModel(plain, { bits, blockSize: 16 });
    const wanted = await logits(rounded(bits));
    const shape = [wanted.length];
    // The rounded weights are numbers of float32; here the products with the scales are not rounded.
    expectClose('logits', await logits(quantized), wanted, shape, 1e-6);
    expectClose('logits', await logits(quantized, sharedOrt()), wanted, shape, 1e-5);
  });

  it('is off by some, with 8 bits by a tenth of that with 4 or less', async () => {
    const original = await logits(plain);
    const off = async (bits: 4 | 8): Promise<number> => {
      const quantized = await logits(quantizeModel(plain, { bits, blockSize: 16 }));
      return Math.hypot(...original.map((x, i) => x - quantized[i]!));
    };
    const [four, eight] = [await off(4), await off(8)];
    expect(four).toBeGreaterThan(1e-3 * Math.hypot(...original));
    expect(eight).toBeGreaterThan(0);
    expect(eight).toBeLessThan(four / 10);
  });

  it('takes an adapter: gradients are those over the rounded weights', async () => {
    const of = async (base: ModelWithParameters) => {
      const adapted = attachLora(base, { ...defaultLora, dora: true, r: 2, bias: 'lora_only' });
      adapted.parameters.specs.forEach(({ name: tensor }, n) => {
        if (tensor.includes('lora_B')) createRng(n).fillNormal(adapted.parameters.view(tensor), 0.3);
      });
      return { adapted, outputs: await evaluate(createInterpreter(), adapted, { ids, withGradients: true }) };
    };
    const quantized = await of(quantizeModel(plain, { bits: 4, blockSize: 16 }));
    const wanted = await of(rounded(4));
    expect(quantized.adapted.parameters.flat.length).toBe(wanted.adapted.parameters.flat.length);
    for (const { name: tensor } of wanted.adapted.parameters.specs) {
      const key = `gradient of ${tensor}`;
      const gradient = wanted.outputs[key]!;
      expectClose(key, quantized.outputs[key]!, gradient, [gradient.length], 1e-5);
    }
  });
});

const stories = new URL('../../../shared/data/models/stories260K/hf', import.meta.url).pathname;
const texts = new URL('../../../shared/data/tinystories-sample/test.jsonl.gz', import.meta.url).pathname;

describe.skipIf(!existsSync(stories) || !existsSync(texts))(
  'a trained model (stories260K on 12 stories)',
  () => {
    it('loses little with 8 bits and some with 4', async () => {
      const tokenizer = await loadTokenizer(stories);
      const encoder = createEncoder(tokenizer, { maxLength: 256, learn: 'all' });
      const examples: EncodedExample[] = [];
      for await (const row of readRows(texts)) if (examples.push(encoder.supervised(row)) === 12) break;
      const loss = async (quantize?: QuantizeOptions): Promise<number> => {
        const { model, parameters } = readModel(stories, { quantize });
        const options = { engine: sharedOrt(), model, parameters, batchSize: 4, bucket: 64 };
        const logProbs = await sequenceLogProbs(examples, options);
        return -logProbs.reduce((a, b) => a + b, 0) / examples.reduce((a, { ids }) => a + ids.length - 1, 0);
      };
      const [plain, eight, four] = [await loss(), await loss({ bits: 8 }), await loss({ bits: 4 })];
      // Measured on 108 stories (docs/guide/adapters.md): 0.0006 and 0.071 nats per token more.
      expect(plain).toBeLessThan(2);
      expect(Math.abs(eight - plain)).toBeLessThan(0.005);
      expect(four - plain).toBeGreaterThan(0.03);
      expect(four - plain).toBeLessThan(0.12);
    });
  },
);

describe('a quantized model', () => {
  const engine = sharedOrt();
  const wide = () => tinyModel(1, { hidden_size: 32, intermediate_size: 64, head_dim: 8 });

  it('holds its linear layers in an eighth and a scale per block, and nothing of the original', () => {
    const base = wide();
    const { parameters } = quantizeModel(base, { bits: 4 });
    const linear = base.model.parameters.filter((spec) => spec.linear !== undefined);
    const numbers = linear.reduce((total, { shape }) => total + shape[0]! * shape[1]!, 0);
    const other = base.parameters.count - numbers;
    expect(parameters.frozenBytes).toBe(numbers / 2 + (numbers / 32) * 4 + 4 * other);
    for (const array of Object.values(parameters.arrays()))
      expect(array.buffer).not.toBe(base.parameters.buffer);
    expect(parameters.flat).toHaveLength(0);
  });

  it('is trained through an adapter of float32: the loss falls, the integers stay', async () => {
    const base = quantizeModel(wide(), { bits: 4 });
    const before = Object.values(base.parameters.arrays()).map((array) => array.slice());
    const adapted = attachLora(base, { ...defaultLora, r: 4, alpha: 8, dropout: 0.05 });
    const learner = createLearner({
      ...{ engine, ...adapted, optimizer: adamW({ size: adapted.parameters.flat.length }) },
      step: supervisedStep({ aggregation: 'token-mean', packed: false }),
      settings: { microBatchSize: 4, bucket: 8, maxGradNorm: 1, gradientCheckpointing: true },
    });
    const losses: number[] = [];
    for (let step = 0; step < 20; step++)
      losses.push((await learner.update(tinyExamples(4), 1e-2, 'step')).loss);
    learner.dispose();
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
    expect(Object.values(base.parameters.arrays())).toEqual(before);
  });

  it.each([false, true])(
    'generates the same with its cache as in one pass (frozen into the program: %s)',
    async (prepack) => {
      const quantized = quantizeModel(wide(), { bits: 8 });
      const generator = createGenerator({ engine, ...quantized, prepack });
      const [completion] = await generator.generate([[3, 4, 5]], {
        ...{
          temperature: 0,
          topK: 0,
          topP: 1,
          maxNewTokens: 5,
          stopIds: new Set<number>(),
          rng: createRng(1),
        },
      });
      generator.dispose();
      const all = [3, 4, 5, ...completion!.ids];
      const outputs = await evaluate(engine, quantized, { ids: all });
      const rows = outputs.logits as Float32Array;
      for (const [t, id] of completion!.ids.entries()) {
        const row = rows.subarray((2 + t) * 24, (3 + t) * 24);
        expect(row.indexOf(Math.max(...row))).toBe(id);
      }
    },
  );

  it('is not saved, merged, quantized again or trained whole in part', () => {
    const quantized = quantizeModel(wide(), { bits: 8 });
    expect(() => saveModel('x', { config: {}, parameters: quantized.parameters })).toThrow(
      /weights of another/,
    );
    expect(() => mergeLora(attachLora(quantized, defaultLora))).toThrow(/expected a base in float32/);
    expect(() => quantizeModel(quantized, { bits: 8 })).toThrow(/quantized already/);
    expect(() => attachLora(quantized, { ...defaultLora, modulesToSave: ['q_proj'] })).toThrow(
      /which is quantized/,
    );
    expect(() => quantized.parameters.view('model.layers.0.mlp.up_proj.weight.packed')).toThrow(
      /packed integers/,
    );
  });
});
