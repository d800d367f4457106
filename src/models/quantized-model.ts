/** A frozen model whose linear layers are kept in 4 or 8 bits: the base of QLoRA. */
import { ConfigError } from '../core/errors.ts';
import { dequantize, matmulNBits, type QuantizedBits, type QuantizedLayout } from '../graph/ops/quantized.ts';
import { transpose } from '../graph/ops/shape.ts';
import { factored } from '../nn/linear.ts';
import { allocateOver, type FrozenArrays, type ParameterSpec } from '../nn/parameters.ts';
import { quantizeMatrix } from '../nn/quantize.ts';
import { type CausalModel, OUTPUT_EMBEDDINGS, type Weights } from './causal-model.ts';
import type { ModelWithParameters } from './lora-model.ts';

export interface QuantizeOptions {
  readonly bits: QuantizedBits;
  /** Weights that share a scale; 32 when left out: 4.5 or 8.5 bits per weight with the scales' 32. */
  readonly blockSize?: number;
}

interface QuantizedLayer {
  readonly weight: ParameterSpec;
  readonly packed: string;
  readonly scales: string;
  readonly layout: QuantizedLayout;
}

/**
 * The model with the matrices of its linear layers rounded to few bits. Everything else (embeddings, output embedding,
 * norms, biases) is copied as float32, so that the memory of the original can go. All of it is frozen.
 *
 * @throws ConfigError for a model that is trained or quantized already
 */
export function quantizeModel(
  { model, parameters }: ModelWithParameters,
  { bits, blockSize = 32 }: QuantizeOptions,
): ModelWithParameters {
  if (model.parameters.some(({ frozen }) => frozen === true)) {
    throw new ConfigError({
      where: 'quantizeModel',
      expected: 'a model with weights of its own',
      received: 'an adapter, or a model that is quantized already',
      fix: 'Quantize the base, then put the adapter over it',
    });
  }
  const layers: QuantizedLayer[] = [];
  const arrays: Record<string, FrozenArrays[string]> = {};
  const specs = model.parameters.flatMap((spec): ParameterSpec[] => {
    const view = parameters.view(spec.name);
    if (spec.linear === undefined || OUTPUT_EMBEDDINGS.includes(spec.name)) {
      arrays[spec.name] = copied(view);
      return [{ ...spec, frozen: true }];
    }
    const [rows, columns] = (spec.linear === 'out-in' ? spec.shape : [...spec.shape].reverse()) as [
      number,
      number,
    ];
    const at =
      spec.linear === 'out-in'
        ? (n: number, k: number): number => view[n * columns + k]!
        : (n: number, k: number): number => view[k * rows + n]!;
    const { packed, scales, layout } = quantizeMatrix([rows, columns], at, { bits, blockSize });
    const layer = { weight: spec, packed: `${spec.name}.packed`, scales: `${spec.name}.scales`, layout };
    layers.push(layer);
    arrays[layer.packed] = packed;
    arrays[layer.scales] = scales;
    const blocks = scales.length / rows;
    return [
      {
        ...{ name: layer.packed, shape: [rows, blocks, packed.length / scales.length], dtype: 'uint8' },
        ...{ frozen: true, holds: spec, quantized: layout },
      },
      { name: layer.scales, shape: [rows, blocks], frozen: true },
    ];
  });
  const quantized = quantizedModel(model, specs, layers);
  return { model: quantized, parameters: allocateOver(specs, arrays) };
}

function copied(view: Float32Array): Float32Array {
  const copy = new Float32Array(new SharedArrayBuffer(view.byteLength));
  copy.set(view);
  return copy;
}

function quantizedModel(
  model: CausalModel,
  parameters: readonly ParameterSpec[],
  layers: readonly QuantizedLayer[],
): CausalModel {
  const resolve = (weights: Weights): Weights => {
    const named: Record<string, Weights[string]> = { ...weights };
    for (const { weight, packed, scales, layout } of layers) {
      // An adapter has put its own weight in this place, made from ours.
      if (weights[weight.name] !== undefined) continue;
      const [q, s] = [weights[packed]!, weights[scales]!];
      const rows = dequantize(q, s, layout);
      named[weight.name] = factored(weight.linear === 'out-in' ? rows : transpose(rows), (x) =>
        matmulNBits(x, q, s, layout),
      );
    }
    return named;
  };
  return {
    ...model,
    parameters,
    resolve,
    forward: (weights, input) => model.forward(resolve(weights), input),
    head: (weights) => model.head(weights),
  };
}
