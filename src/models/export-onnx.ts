/**
 * A whole model as ONNX, with its key/value cache as inputs and outputs: the form that transformers.js and Optimum load.
 *
 * The graph is that of training and generation, traced once with stand-ins for the sizes that only a run knows (rows, new
 * tokens, cached tokens). Rows may be padded anywhere; `attention_mask` says what counts.
 *
 * @source huggingface/transformers.js `src/models/modeling_utils.js` (names of inputs and outputs), read as 4.3.2
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors.ts';
import { trace } from '../graph/program.ts';
import type { TensorType } from '../graph/tensor.ts';
import type { Parameters } from '../nn/parameters.ts';
import {
  lowerProgram,
  type OnnxInitializer,
  type OnnxModel,
  type OpenSize,
  onnxPieces,
} from '../onnx/index.ts';
import { type CausalModel, logitsOf, weightTypes } from './causal-model.ts';
import type { RawConfig } from './checkpoint.ts';
import { writeAtomically, writeFully } from './file-bytes.ts';
import { isScoreModel } from './score-model.ts';

/** Weights above this go to a file of their own: protobuf ends at 2 GiB. */
const INLINE_BYTES = 1.5e9;

export interface OnnxExportOptions {
  readonly config: RawConfig;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Bytes of weights above which they go to `model.onnx_data`; 1.5 GB when left out. */
  readonly inlineBytes?: number;
  /** Hears of bytes that were written, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes `onnx/model.onnx` (with `onnx/model.onnx_data` where the weights are large) into a folder.
 *
 * Inputs: `input_ids`, `position_ids` int64 [batch, sequence], `attention_mask` int64 [batch, past + sequence],
 * `past_key_values.L.key` and `.value` float32 [batch, K, past, E]. Outputs: `logits` [batch, sequence, V],
 * `present.L.key` and `.value` [batch, K, past + sequence, E].
 *
 * @returns what config.json needs besides: `transformers.js_config`
 * @throws ConfigError for a score model, and where angles depend on the length of the row (dynamic rope scaling)
 * @throws CheckpointError when the files cannot be written
 */
export function writeOnnxModel(folder: string, options: OnnxExportOptions): Record<string, unknown> {
  const { model, config, parameters, inlineBytes = INLINE_BYTES, onProgress = () => {} } = options;
  const lowered = lowerModel(model, config, parameters);
  const bytes = (initializer: OnnxInitializer): number => initializer.data?.byteLength ?? 0;
  const total = lowered.initializers.reduce((sum, one) => sum + bytes(one), 0);
  const external = total > inlineBytes;
  const place = join(folder, 'onnx');
  mkdirSync(place, { recursive: true });
  const weights = external ? lowered.initializers.filter((one) => bytes(one) > 1024) : [];
  const offsets = new Map<OnnxInitializer, number>();
  let end = 0;
  for (const one of weights) {
    offsets.set(one, end);
    // Mapped files want whole pages.
    end += Math.ceil(bytes(one) / 4096) * 4096;
  }
  let written = 0;
  const write = (descriptor: number, piece: ArrayBufferView): void => {
    writeFully(descriptor, piece);
    written += piece.byteLength;
    onProgress(Math.min(written, total), total);
  };
  if (external) {
    writeAtomically(join(place, 'model.onnx_data'), (descriptor) => {
      for (const one of weights) {
        write(descriptor, one.data!);
        writeFully(descriptor, new Uint8Array((4096 - (bytes(one) % 4096)) % 4096));
      }
    });
  }
  const stored: OnnxModel = {
    ...lowered,
    initializers: lowered.initializers.map((one) => {
      const offset = offsets.get(one);
      if (offset === undefined) return one;
      const { data, ...rest } = one;
      return { ...rest, external: { location: 'model.onnx_data', offset, length: data!.byteLength } };
    }),
  };
  writeAtomically(join(place, 'model.onnx'), (descriptor) => {
    for (const piece of onnxPieces(stored)) write(descriptor, piece);
  });
  return {
    'transformers.js_config': { dtype: 'fp32', ...(external ? { use_external_data_format: true } : {}) },
  };
}

/** The model with its weights as initializers and its sizes open. */
function lowerModel(model: CausalModel, config: RawConfig, parameters: Parameters): OnnxModel {
  const refuse = (received: string, fix: string): ConfigError =>
    new ConfigError({
      where: 'ONNX export',
      expected: 'a language model of fixed weights and angles',
      received,
      fix,
    });
  if (isScoreModel(model)) {
    throw refuse('a model with a score head', 'Export the language model, or save a Hugging Face folder');
  }
  if (/"(rope_)?type":\s*"dynamic"/.test(JSON.stringify([config.rope_scaling, config.rope_parameters]))) {
    throw refuse(
      'rope scaling "dynamic", whose angles depend on the length of the row',
      'Save a Hugging Face folder',
    );
  }
  const { sizes, openSizes } = standIns(model);
  const { B, T, M } = sizes;
  const layers = [...Array(model.layerCount).keys()];
  const cache = [B, model.keyValueHeads, M, model.headSize];
  const long = (...shape: number[]): TensorType => ({ dtype: 'int64', shape });
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
  const program = trace(types, (inputs) => {
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
  return lowerProgram(program, { name: model.type, constants: parameters.arrays(), openSizes });
}

const isPrime = (n: number): boolean => {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return n > 1;
};

/**
 * Stand-ins: primes that divide no size of the model; past and sequence so that half their sum is one too.
 */
function standIns(model: CausalModel): {
  readonly sizes: { readonly B: number; readonly T: number; readonly M: number };
  readonly openSizes: readonly OpenSize[];
} {
  const taken = new Set(model.parameters.flatMap(({ shape }) => shape));
  for (const size of [model.maxPositions, model.headSize, model.keyValueHeads]) taken.add(size);
  const isFree = (n: number): boolean => isPrime(n) && [...taken].every((size) => size % n !== 0);
  const free: number[] = [];
  for (let n = 10_007; free.length < 200; n += 2) if (isFree(n)) free.push(n);
  const [B, T, ...rest] = free as [number, number, ...number[]];
  const M = rest.find((n) => isFree((T + n) / 2) && (T + n) / 2 !== B)!;
  return {
    sizes: { B, T, M },
    openSizes: [
      { name: 'batch_size', value: B, from: { input: 'input_ids', axis: 0 } },
      { name: 'sequence_length', value: T, from: { input: 'input_ids', axis: 1 } },
      { name: 'total_sequence_length', value: T + M, from: { input: 'attention_mask', axis: 1 } },
      {
        name: 'past_sequence_length',
        value: M,
        from: { minuend: 'total_sequence_length', subtrahend: 'sequence_length' },
      },
    ],
  };
}
