/**
 * The vision encoder and a language model that sees pictures, against values and gradients that transformers gave
 * (record-vision.py). Tolerances as in models.test.ts; the nearest wrong variant (the other form of GELU) is 1e-4 away.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostArray } from '../../src/core/host-tensor.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { neg } from '../../src/graph/ops/elementwise.ts';
import { pick } from '../../src/graph/ops/indexing.ts';
import { logSoftmax, mean } from '../../src/graph/ops/reduce.ts';
import { reshape, sliceAxis } from '../../src/graph/ops/shape.ts';
import { trace } from '../../src/graph/program.ts';
import type { Tensor, TensorType } from '../../src/graph/tensor.ts';
import { logitsOf, weightTypes } from '../../src/models/causal-model.ts';
import { readMultimodal, readVision, saveModel } from '../../src/models/checkpoint.ts';
import { checkImageTokens } from '../../src/models/llava.ts';
import { buildModel, buildMultimodal, buildVision } from '../../src/models/registry.ts';
import { readFolderHeader, readHeader, readTensor } from '../../src/models/safetensors.ts';
import { placesOf } from '../../src/nn/attention.ts';
import type { Parameters } from '../../src/nn/parameters.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { goldenFolder, readGolden } from '../support/golden-model.ts';

const engines = { interpreter: createInterpreter, ort: sharedOrt };
const tolerances = { interpreter: 1e-6, ort: 1e-5 };
type Traced = Readonly<Record<string, Tensor>>;

/** Outputs of `traced` and gradients of its `loss` by every weight. */
async function evaluate(
  engine: Engine,
  parameters: Parameters,
  inputs: Readonly<Record<string, { readonly type: TensorType; readonly data: HostArray }>>,
  traced: (inputs: Traced) => Record<string, Tensor>,
): Promise<Record<string, HostArray>> {
  const types = Object.fromEntries(Object.entries(inputs).map(([name, { type }]) => [name, type]));
  const weights = weightTypes({ parameters: parameters.specs });
  const program = trace({ ...weights, ...types }, (all) => {
    const outputs = traced(all);
    const names = parameters.specs.map(({ name }) => name);
    const slopes = gradients(
      outputs.loss!,
      names.map((name) => all[name]!),
    );
    return {
      ...outputs,
      ...Object.fromEntries(slopes.map((slope, i) => [`gradient of ${names[i]!}`, slope])),
    };
  });
  const executable = await engine.compile(program);
  const data = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.data]));
  const outputs = await executable.run({ ...parameters.arrays(), ...data });
  executable.dispose();
  return Object.fromEntries(Object.entries(outputs).map(([name, output]) => [name, output.data]));
}

/** Gradients that are 0 but for rounding (biases of keys) are compared on the scale of the largest. */
function expectGradients(
  folder: string,
  parameters: Parameters,
  outputs: Record<string, HostArray>,
  tolerance: number,
): void {
  const stored = readHeader(join(folder, 'gradients.safetensors'));
  expect([...stored.keys()].sort()).toEqual(parameters.specs.map(({ name }) => name).sort());
  const all = [...stored].map(([weight, tensor]) => {
    const wanted = parameters.view(weight).slice();
    readTensor(tensor, wanted);
    return {
      weight,
      wanted,
      most: wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0),
      shape: tensor.shape,
    };
  });
  const largest = Math.max(...all.map(({ most }) => most));
  for (const { weight, wanted, most, shape } of all) {
    const found = outputs[`gradient of ${weight}`]!;
    if (most < 1e-6 * largest) {
      for (const x of found) expect(Math.abs(Number(x)), weight).toBeLessThan(tolerance * largest);
    } else expectClose(weight, found, wanted, shape, tolerance);
  }
}

const floats = (numbers: readonly number[], shape: number[]) => ({
  type: { dtype: 'float32', shape } as TensorType,
  data: Float32Array.from(numbers),
});
const integers = (numbers: readonly number[], shape: number[]) => ({
  type: { dtype: 'int64', shape } as TensorType,
  data: BigInt64Array.from(numbers, BigInt),
});
const crossEntropy = (logits: Tensor, labels: Tensor): Tensor => neg(mean(pick(logSoftmax(logits), labels)));

interface Pictures {
  readonly pixels: readonly number[];
  readonly pictures: number;
  readonly loss: number;
  readonly nearest: Readonly<Record<string, number>>;
}

describe.each(['interpreter', 'ort'] as const)('siglip (%s)', (engine) => {
  it('gives hidden states, pooled vectors and gradients of transformers', async () => {
    const folder = goldenFolder('siglip-vision');
    const recorded = readGolden('siglip-vision', 'recorded.json') as Pictures & {
      readonly hidden: readonly number[][];
      readonly pooled: readonly number[][];
      readonly classes: readonly number[];
    };
    const { model, parameters } = readVision(folder);
    const size = [recorded.pictures, model.channels, model.imageSize, model.imageSize];
    const inputs = {
      pixels: floats(recorded.pixels, size),
      classes: integers(recorded.classes, [recorded.pictures]),
    };
    const outputs = await evaluate(engines[engine](), parameters, inputs, (all) => {
      const hidden = model.normalize(all, model.layers(all, all.pixels!).at(-1)!);
      const pooled = model.pool!(all, hidden);
      return { hidden, pooled, loss: crossEntropy(pooled, all.classes!) };
    });
    // The pixels of the interpreter are those that float32 can hold: 6e-8 of 1, in the logits 2e-7.
    const tolerance = tolerances[engine];
    const { patches, hiddenSize } = model;
    expectClose('hidden', outputs.hidden!, recorded.hidden.flat(), [2, patches, hiddenSize], tolerance);
    expectClose('pooled', outputs.pooled!, recorded.pooled.flat(), [2, hiddenSize], tolerance);
    expectClose('loss', outputs.loss!, [recorded.loss], [], tolerance);
    expectGradients(folder, parameters, outputs, engine === 'ort' ? 2e-5 : 2e-6);
    for (const far of Object.values(recorded.nearest)) expect(far).toBeGreaterThan(1e-4);
  });
});

describe.each(['llava-siglip', 'llava-options'])('%s', (name) => {
  const folder = goldenFolder(name);
  const recorded = readGolden(name, 'recorded.json') as Pictures & {
    readonly tokens: readonly number[][];
    readonly nextLogits: readonly number[][];
  };
  const [B, T] = [recorded.tokens.length, recorded.tokens[0]!.length];

  it.each(['interpreter', 'ort'] as const)(
    'gives logits and gradients of transformers (%s)',
    async (engine) => {
      const { model, parameters } = readMultimodal(folder);
      const { vision, text } = model;
      const size = [recorded.pictures, vision.channels, vision.imageSize, vision.imageSize];
      const inputs = { pixels: floats(recorded.pixels, size), ids: integers(recorded.tokens.flat(), [B, T]) };
      checkImageTokens(model, recorded.tokens.flat(), recorded.pictures);
      const outputs = await evaluate(engines[engine](), parameters, inputs, (all) => {
        const seeing = model.withImages(model.imageFeatures(all, all.pixels!));
        const { hidden } = seeing.forward(all, { ids: all.ids!, positions: placesOf(all.ids!) });
        const logits = logitsOf(seeing, all, hidden);
        const rows = (x: Tensor, from: number, to: number, width: number[]) =>
          reshape(sliceAxis(x, 1, from, to), [B * (T - 1), ...width]);
        const loss = crossEntropy(rows(logits, 0, T - 1, [text.vocabSize]), rows(all.ids!, 1, T, []));
        return { logits, loss };
      });
      const tolerance = tolerances[engine];
      expectClose('logits', outputs.logits!, recorded.nextLogits.flat(), [B, T, text.vocabSize], tolerance);
      expectClose('loss', outputs.loss!, [recorded.loss], [], tolerance);
      expectGradients(folder, parameters, outputs, engine === 'ort' ? 2e-5 : 2e-6);
      for (const far of Object.values(recorded.nearest)) expect(far).toBeGreaterThan(0.1);
    },
  );

  it('keeps every weight through save and load, under the names of the original', () => {
    const { config, parameters } = readMultimodal(folder);
    const place = mkdtempSync(join(tmpdir(), 'heed-golden-'));
    try {
      saveModel(join(place, 'model'), { config, parameters });
      expect(readMultimodal(join(place, 'model')).parameters.flat).toEqual(parameters.flat);
      const names = (at: string): string[] => [...readFolderHeader(at).keys()].sort();
      expect(names(join(place, 'model'))).toEqual(names(folder));
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});

describe('what does not fit', () => {
  it('is refused with what to do', () => {
    const config = readGolden('llava-siglip', 'config.json') as Record<string, unknown>;
    const model = buildMultimodal(config);
    expect(() => checkImageTokens(model, [7, 7, 5], 1)).toThrow(
      'expected 9 of id 7, 9 for each of 1 pictures, received 2. Repeat the image token once per square',
    );
    expect(() => buildMultimodal({ ...config, vision_feature_layer: 3 })).toThrow(
      'a layer from -3 to 2, received 3',
    );
    expect(() => buildMultimodal({ ...config, image_token_index: 24 })).toThrow('a token below 24');
    expect(() => buildModel(config)).toThrow('It sees pictures: no command takes it, loadMultimodal does');
    expect(() => buildVision(config)).toThrow(
      'expected siglip_vision_model, a vision encoder, received "llava"',
    );
  });

  it('is refused before memory is asked for', () => {
    const place = mkdtempSync(join(tmpdir(), 'heed-golden-'));
    try {
      const { config, parameters } = readMultimodal(goldenFolder('llava-siglip'));
      saveModel(join(place, 'model'), { config, parameters });
      const lying = { ...config, text_config: { ...(config.text_config as object), num_hidden_layers: 1e9 } };
      writeFileSync(join(place, 'model', 'config.json'), JSON.stringify(lying));
      expect(() => readMultimodal(join(place, 'model'))).toThrow('num_hidden_layers: expected at most');
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});
