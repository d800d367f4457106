/** Model folders under test/golden/data with what transformers computed from them, and the same computed here. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostArray } from '../../src/core/host-tensor.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { neg } from '../../src/graph/ops/elementwise.ts';
import { mean } from '../../src/graph/ops/reduce.ts';
import { reshape, sliceAxis } from '../../src/graph/ops/shape.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { tokenLogProbs } from '../../src/graph/token-log-probs.ts';
import { type CausalModel, logitsOf, weightTypes } from '../../src/models/causal-model.ts';
import type { Parameters } from '../../src/nn/parameters.ts';

const data = new URL('../golden/data/', import.meta.url).pathname;

/** Contents of recorded.json. */
export interface Recorded {
  readonly ids: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly loss: number;
  /** How far wrong variants are: largest difference of a logit over the largest logit. */
  readonly nearest?: Readonly<Record<string, number>>;
}

export const goldenFolder = (name: string): string => join(data, name);

export const readGolden = (...path: string[]): unknown =>
  JSON.parse(readFileSync(join(data, ...path), 'utf8'));

/** Names of all folders that hold a language model and its logits. */
export const goldenModels: readonly string[] = readdirSync(data)
  .filter(
    (name) =>
      existsSync(join(data, name, 'model.safetensors')) &&
      existsSync(join(data, name, 'recorded.json')) &&
      'logits' in (readGolden(name, 'recorded.json') as object),
  )
  .sort();

export interface EvaluateOptions {
  readonly ids: readonly number[];
  /** Position and number of the segment of each token, where several sequences are packed. */
  readonly packed?: { readonly positions: readonly number[]; readonly segments: readonly number[] };
  /** Also the gradient of the loss by every weight, as `gradient of <name>`. */
  readonly withGradients?: boolean;
  readonly rematerialize?: boolean;
}

/** `logits` [T, V] and `loss`, the mean cross-entropy of the next tokens in nats. */
export async function evaluate(
  engine: Engine,
  { model, parameters }: { readonly model: CausalModel; readonly parameters: Parameters },
  { ids, packed, withGradients = false, rematerialize = false }: EvaluateOptions,
): Promise<Record<string, HostArray>> {
  const T = ids.length;
  const integers: TensorType = { dtype: 'int64', shape: [1, T] };
  const types: Record<string, TensorType> = { ...weightTypes(model), ids: integers, positions: integers };
  if (packed !== undefined) types.segments = { dtype: 'int32', shape: [1, T] };
  const program = trace(types, (inputs) => {
    const { hidden } = model.forward(inputs, {
      ids: inputs.ids!,
      positions: inputs.positions!,
      ...(packed === undefined ? {} : { segments: inputs.segments! }),
      rematerialize,
    });
    const rows = reshape(hidden, [T, model.hiddenSize]);
    const labels = reshape(sliceAxis(inputs.ids!, 1, 1, T), [T - 1]);
    const cap = model.logitCap === undefined ? {} : { cap: model.logitCap };
    const loss = neg(
      mean(tokenLogProbs(sliceAxis(rows, 0, 0, T - 1), model.head(inputs), labels, cap).logProbs),
    );
    const names = withGradients ? parameters.specs.map(({ name }) => name) : [];
    const slopes = gradients(
      loss,
      names.map((name) => inputs[name]!),
    ).map((tensor, index) => [`gradient of ${names[index]!}`, tensor] as const);
    return { logits: logitsOf(model, inputs, rows), loss, ...Object.fromEntries(slopes) };
  });
  const executable = await engine.compile(program);
  const positions = packed?.positions ?? [...ids.keys()];
  const outputs = await executable.run({
    ...parameters.arrays(),
    ids: BigInt64Array.from(ids, BigInt),
    positions: BigInt64Array.from(positions, BigInt),
    ...(packed === undefined ? {} : { segments: Int32Array.from(packed.segments) }),
  });
  executable.dispose();
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
}
