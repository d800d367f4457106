/**
 * A whole model as an ONNX graph, in the form that transformers.js and Optimum load: language models with their key/value
 * cache as inputs and outputs, models with a head for labels without one.
 *
 * The graph is that of training and generation, traced once with stand-ins for the sizes that only a run knows (rows, new
 * tokens, cached tokens). Rows may be padded anywhere; `attention_mask` says what counts.
 *
 * @source huggingface/transformers.js `src/models/modeling_utils.js` (names of inputs and outputs), read as 4.3.2
 */
import { ConfigError } from '../core/errors.ts';
import { add, cast, equal, mul, sub } from '../graph/ops/elementwise.ts';
import { cumulativeSum, max, sum } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import { type Program, trace } from '../graph/program.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';
import { placesOf } from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import type { Parameters } from '../nn/parameters.ts';
import { lowerProgram, type OnnxModel, type OpenSize } from '../onnx/index.ts';
import { type CausalModel, logitsOf, weightTypes } from './causal-model.ts';
import type { RawConfig } from './checkpoint.ts';
import type { ClassifierModel } from './classifier-model.ts';
import { isScoreModel, SCORE_WEIGHT } from './score-model.ts';

/** The model with its weights as initializers and its sizes open. @throws ConfigError for what has no such form */
export function lowerModel(
  model: CausalModel | ClassifierModel,
  config: RawConfig,
  parameters: Parameters,
): OnnxModel {
  refuse(model, config);
  const { sizes, row, cache } = standIns(model);
  const options = { name: model.type, constants: parameters.arrays() };
  if ('classify' in model)
    return lowerProgram(classifierProgram(model, sizes), { ...options, openSizes: row });
  if (isScoreModel(model)) return lowerProgram(scoreProgram(model, sizes), { ...options, openSizes: row });
  return lowerProgram(languageProgram(model, sizes), { ...options, openSizes: [...row, ...cache] });
}

function refuse(model: CausalModel | ClassifierModel, config: RawConfig): void {
  const refused = (received: string, fix: string): ConfigError =>
    new ConfigError({
      where: 'ONNX export',
      expected: 'a model of fixed float32 weights and fixed angles',
      received,
      fix,
    });
  if (/"(rope_)?type":\s*"dynamic"/.test(JSON.stringify([config.rope_scaling, config.rope_parameters]))) {
    throw refused(
      'rope scaling "dynamic", whose angles depend on the length of the row',
      'Set rope_scaling to null in config.json where rows fit the trained length, or write a Hugging Face folder (--to hf)',
    );
  }
  if (model.parameters.some(({ holds }) => holds !== undefined)) {
    throw refused('weights of 4 or 8 bits', 'Load the model without quantizing it');
  }
}

const long = (...shape: number[]): TensorType => ({ dtype: 'int64', shape });

interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly M: number;
}

function languageProgram(model: CausalModel, { B, T, M }: Sizes): Program {
  const layers = [...Array(model.layerCount).keys()];
  const cache = [B, model.keyValueHeads, M, model.headSize];
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    input_ids: long(B, T),
    attention_mask: long(B, M + T),
    position_ids: long(B, T),
  };
  for (const layer of layers) {
    types[`past_key_values.${layer}.key`] = { dtype: 'float32', shape: cache };
    types[`past_key_values.${layer}.value`] = { dtype: 'float32', shape: cache };
  }
  return trace(types, (inputs) => {
    const result = model.forward(inputs, {
      ids: inputs.input_ids!,
      positions: inputs.position_ids!,
      history: {
        layers: layers.map((layer) => ({
          key: inputs[`past_key_values.${layer}.key`]!,
          value: inputs[`past_key_values.${layer}.value`]!,
        })),
        counted: inputs.attention_mask!,
        tableLength: model.maxPositions,
      },
    });
    const present = result.cache.flatMap(({ key, value }, layer) => [
      [`present.${layer}.key`, key] as const,
      [`present.${layer}.value`, value] as const,
    ]);
    return { logits: logitsOf(model, inputs, result.hidden), ...Object.fromEntries(present) };
  });
}

/** Scores [B, A] of a decoder, read at the last token of each row that counts. */
function scoreProgram(model: CausalModel, { B, T }: Sizes): Program {
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    input_ids: long(B, T),
    attention_mask: long(B, T),
  };
  return trace(types, (inputs) => {
    const counted = inputs.attention_mask!;
    // Of padding in front the position is −1, which is in no table.
    const positions = mul(sub(cumulativeSum(counted, 1), 1), counted);
    const { hidden } = model.forward(inputs, {
      ids: inputs.input_ids!,
      positions,
      history: { counted, tableLength: model.maxPositions },
    });
    const scores = linear(hidden, inputs[SCORE_WEIGHT]!); // [B, T, A]
    const places = add(placesOf(counted), 1);
    const ends = cast(mul(places, counted), 'float32');
    const isLast = equal(ends, max(ends, { axes: 1, keepDims: true })); // [B, T]
    return { logits: sum(mul(scores, reshape(cast(isLast, 'float32'), [B, T, 1])), { axes: 1 }) };
  });
}

function classifierProgram(model: ClassifierModel, { B, T }: Sizes): Program {
  const pairs = model.tokenTypes > 1;
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    input_ids: long(B, T),
    attention_mask: long(B, T),
    ...(pairs ? { token_type_ids: long(B, T) } : {}),
  };
  return trace(types, (inputs): Record<string, Tensor> => {
    const logits = model.classify(inputs, {
      ids: inputs.input_ids!,
      counted: inputs.attention_mask!,
      tableLength: model.maxPositions,
      ...(pairs ? { types: inputs.token_type_ids! } : {}),
    });
    return { logits };
  });
}

const isPrime = (n: number): boolean => {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return n > 1;
};

/**
 * Stand-ins: primes that divide no size of the model; past and sequence so that half their sum is one too.
 */
function standIns(model: CausalModel | ClassifierModel): {
  readonly sizes: Sizes;
  /** Of a row of tokens, and of a cache besides. */
  readonly row: readonly OpenSize[];
  readonly cache: readonly OpenSize[];
} {
  const taken = new Set(model.parameters.flatMap(({ shape }) => shape));
  taken.add(model.maxPositions);
  if (!('classify' in model)) for (const size of [model.headSize, model.keyValueHeads]) taken.add(size);
  const isFree = (n: number): boolean => isPrime(n) && [...taken].every((size) => size % n !== 0);
  const free: number[] = [];
  for (let n = 10_007; free.length < 200; n += 2) if (isFree(n)) free.push(n);
  const [B, T, ...rest] = free as [number, number, ...number[]];
  const M = rest.find((n) => isFree((T + n) / 2) && (T + n) / 2 !== B)!;
  return {
    sizes: { B, T, M },
    row: [
      { name: 'batch_size', value: B, from: { input: 'input_ids', axis: 0 } },
      { name: 'sequence_length', value: T, from: { input: 'input_ids', axis: 1 } },
    ],
    cache: [
      { name: 'total_sequence_length', value: T + M, from: { input: 'attention_mask', axis: 1 } },
      {
        name: 'past_sequence_length',
        value: M,
        from: { minuend: 'total_sequence_length', subtrahend: 'sequence_length' },
      },
    ],
  };
}
