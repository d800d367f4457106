/** The two programs of generation: prefill of prompts and one decode step, over a key/value cache in host memory. */

import { exp, log, mul, sub } from '../graph/ops/elementwise.ts';
import { gather } from '../graph/ops/indexing.ts';
import { max, sum } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import { type Program, trace } from '../graph/program.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';
import { type CausalModel, type LayerCache, logitsOf, weightTypes } from '../models/causal-model.ts';

const cacheNames = (layer: number): { key: string; value: string } => ({
  key: `key.${layer}`,
  value: `value.${layer}`,
});

/** Names of a model's cache tensors, keys and values layer by layer. */
export function cacheTensorNames(model: CausalModel): string[] {
  return [...Array(model.layerCount).keys()].flatMap((layer) => Object.values(cacheNames(layer)));
}

const float = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });
const long = (...shape: number[]): TensorType => ({ dtype: 'int64', shape });

/** The divisor W of V with the least W + V / W: sampling looks through V / W blocks, then through one of width W. */
export function blockWidth(V: number): number {
  let best = 1;
  for (let width = 2; width <= V; width++) {
    if (V % width === 0 && width + V / width < best + V / best) best = width;
  }
  return best;
}

/**
 * What sampling needs of B rows, so that the host reads about 2√V numbers per row:
 * `logits` [B, V]; `peaks` [B, V/W], the highest logit of each block of W = `blockWidth(V)` tokens; `weights` [B, V], exp of
 * (logit − highest logit) ÷ temperature; `sums` [B, V/W], their sums by block; `logTotal` [B], log Σ exp(logit − highest)
 * at temperature 1.
 */
function distributions(logits: Tensor, inverseTemperature: Tensor): Record<string, Tensor> {
  const [B, V] = logits.shape as [number, number];
  const W = blockWidth(V);
  const blocks = (x: Tensor): Tensor => reshape(x, [B, V / W, W]);
  const peaks = max(blocks(logits), { axes: 2 }); // [B, V/W]
  const below = sub(logits, max(peaks, { axes: 1, keepDims: true })); // [B, V], ≤ 0
  const weights = exp(mul(below, reshape(inverseTemperature, [B, 1])));
  return {
    logits,
    peaks,
    weights,
    sums: sum(blocks(weights), { axes: 2 }),
    logTotal: log(sum(exp(below), { axes: 1 })),
  };
}

const newCache = (cache: readonly LayerCache[]): Record<string, Tensor> =>
  Object.fromEntries(
    cache.flatMap(({ key, value }, layer) => {
      const names = cacheNames(layer);
      return [
        [`new.${names.key}`, key],
        [`new.${names.value}`, value],
      ];
    }),
  );

/** Size of a prefill: P prompts in `rows` rows of `columns` tokens. */
export interface PrefillShape {
  readonly prompts: number;
  readonly rows: number;
  readonly columns: number;
  /** Rows may hold several prompts. */
  readonly packed: boolean;
}

/**
 * Prompts in. Inputs: weights, ids and positions int64 [rows, columns], `last` int64 [P] (flat index of each prompt's last
 * token), inverseTemperature [P], and for packed rows `segments` int32 [rows, columns]: tokens attend within equal numbers.
 * Outputs: distributions after each prompt, and `new.key.L`, `new.value.L` [rows, K, columns, E].
 */
export function prefillProgram(model: CausalModel, shape: PrefillShape): Program {
  const { prompts: P, rows, columns, packed } = shape;
  const types = {
    ...weightTypes(model),
    ids: long(rows, columns),
    positions: long(rows, columns),
    last: long(P),
    inverseTemperature: float(P),
    ...(packed ? { segments: { dtype: 'int32', shape: [rows, columns] } } : {}),
  } as Record<string, TensorType>;
  return trace(types, (inputs) => {
    const { ids, positions, segments } = inputs;
    const { hidden, cache } = model.forward(inputs, {
      ...{ ids: ids!, positions: positions! },
      ...(segments === undefined ? {} : { segments }),
    });
    const last = gather(reshape(hidden, [rows * columns, model.hiddenSize]), inputs['last']!); // [P, D]
    return {
      ...distributions(logitsOf(model, inputs, last), inputs['inverseTemperature']!),
      ...newCache(cache),
    };
  });
}

/**
 * One token per row. Inputs: weights, ids int64 [B, 1], `lengths` int64 [B] (cached tokens, the position of the new one),
 * inverseTemperature [B], the cache `key.L`, `value.L` [B, K, M, E]. Outputs as of prefill, where `new.…` is the whole cache
 * for models with `inPlaceCache` (bind it to the memory of the input), and [B, K, 1, E] to be stored at `lengths` for others.
 */
export function decodeProgram(model: CausalModel, B: number, M: number): Program {
  return cachedProgram(model, B, 1, M);
}

/**
 * T tokens per row, each of which sees those before it. Inputs as of decode, with ids int64 [B, T], `positions` int64 [B, T]
 * and inverseTemperature [B·T]. Outputs: distributions after every token, [B·T, …], and [B, K, T, E] to be stored.
 */
export function verifyProgram(model: CausalModel, B: number, T: number, M: number): Program {
  return cachedProgram(model, B, T, M);
}

function cachedProgram(model: CausalModel, B: number, T: number, M: number): Program {
  const shape = [B, model.keyValueHeads, M, model.headSize];
  const types = {
    ...weightTypes(model),
    ids: long(B, T),
    lengths: long(B),
    ...(T === 1 ? {} : { positions: long(B, T) }),
    inverseTemperature: float(B * T),
    ...Object.fromEntries(cacheTensorNames(model).map((name) => [name, float(...shape)])),
  } as Record<string, TensorType>;
  return trace(types, (inputs) => {
    const layers = [...Array(model.layerCount).keys()].map((layer) => {
      const names = cacheNames(layer);
      return { key: inputs[names.key]!, value: inputs[names.value]! };
    });
    const lengths = inputs['lengths']!;
    const { hidden, cache } = model.forward(inputs, {
      ids: inputs['ids']!,
      positions: inputs['positions'] ?? reshape(lengths, [B, 1]),
      past: { layers, lengths, inPlace: T === 1 && model.inPlaceCache === true },
    });
    const last = reshape(hidden, [B * T, model.hiddenSize]);
    return {
      ...distributions(logitsOf(model, inputs, last), inputs['inverseTemperature']!),
      ...newCache(cache),
    };
  });
}
