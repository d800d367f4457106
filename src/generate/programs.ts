/** The two programs of generation: prefill of prompts and one decode step, over a key/value cache in host memory. */

import { div } from '../graph/ops/elementwise.ts';
import { gather } from '../graph/ops/indexing.ts';
import { matmul } from '../graph/ops/matmul.ts';
import { argmax, logSoftmax, softmax } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import { type Program, trace } from '../graph/program.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';
import { type CausalModel, type LayerCache, weightTypes } from '../models/causal-model.ts';

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

/**
 * Next-token distributions of B rows: `greedy` int64 [B], `logProbs` [B, V] under the model, and `probs` [B, V] under the
 * temperature of each row.
 */
function distributions(last: Tensor, head: Tensor, temperature: Tensor): Record<string, Tensor> {
  const logits = matmul(last, head, { transposeB: true }); // [B, V]
  return {
    greedy: argmax(logits),
    logProbs: logSoftmax(logits),
    probs: softmax(div(logits, reshape(temperature, [temperature.shape[0]!, 1]))),
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

/**
 * Prompts in, right-padded. Inputs: weights, ids and positions int64 [B, T], `last` int64 [B] (flat index b·T + t of each
 * row's last token), temperature [B]. Outputs: distributions after it, and `new.key.L`, `new.value.L` [B, K, T, E].
 */
export function prefillProgram(model: CausalModel, B: number, T: number): Program {
  const types = {
    ...weightTypes(model),
    ids: long(B, T),
    positions: long(B, T),
    last: long(B),
    temperature: float(B),
  } as Record<string, TensorType>;
  return trace(types, (inputs) => {
    const { hidden, cache } = model.forward(inputs, { ids: inputs['ids']!, positions: inputs['positions']! });
    const last = gather(reshape(hidden, [B * T, model.hiddenSize]), inputs['last']!); // [B, D]
    return { ...distributions(last, model.head(inputs), inputs['temperature']!), ...newCache(cache) };
  });
}

/**
 * One token per row. Inputs: weights, ids and positions int64 [B, 1], `lengths` int64 [B], temperature [B], the cache
 * `key.L`, `value.L` [B, K, M, E]. Outputs as of prefill, with `new.…` [B, K, 1, E] to be stored at `lengths`.
 */
export function decodeProgram(model: CausalModel, B: number, M: number): Program {
  const shape = [B, model.keyValueHeads, M, model.headSize];
  const types = {
    ...weightTypes(model),
    ids: long(B, 1),
    positions: long(B, 1),
    lengths: long(B),
    temperature: float(B),
    ...Object.fromEntries(cacheTensorNames(model).map((name) => [name, float(...shape)])),
  } as Record<string, TensorType>;
  return trace(types, (inputs) => {
    const layers = [...Array(model.layerCount).keys()].map((layer) => {
      const names = cacheNames(layer);
      return { key: inputs[names.key]!, value: inputs[names.value]! };
    });
    const { hidden, cache } = model.forward(inputs, {
      ids: inputs['ids']!,
      positions: inputs['positions']!,
      past: { layers, lengths: inputs['lengths']! },
    });
    const last = reshape(hidden, [B, model.hiddenSize]);
    return { ...distributions(last, model.head(inputs), inputs['temperature']!), ...newCache(cache) };
  });
}
