/** A whole model as the files that transformers.js and Optimum load. `onnx-graph.ts` makes the graph. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Parameters } from '../nn/parameters.ts';
import { type OnnxInitializer, type OnnxModel, onnxPieces } from '../onnx/index.ts';
import type { CausalModel } from './causal-model.ts';
import type { RawConfig } from './checkpoint.ts';
import type { ClassifierModel } from './classifier-model.ts';
import { writeAtomically, writeFully } from './file-bytes.ts';
import { lowerModel } from './onnx-graph.ts';

/** Weights above this go to a file of their own: protobuf ends at 2 GiB. */
const INLINE_BYTES = 1.5e9;

export interface OnnxExportOptions {
  readonly config: RawConfig;
  /** A language model, one with a score head, or an encoder for sequence classification. */
  readonly model: CausalModel | ClassifierModel;
  readonly parameters: Parameters;
  /** Bytes of weights above which they go to `model.onnx_data`; 1.5 GB when left out. */
  readonly inlineBytes?: number;
  /** Hears of bytes that were written, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes `onnx/model.onnx` (with `onnx/model.onnx_data` where the weights are large) into a folder.
 *
 * Of a language model, inputs: `input_ids`, `position_ids` int64 [batch, sequence], `attention_mask` int64
 * [batch, past + sequence], `past_key_values.L.key` and `.value` float32 [batch, K, past, E]; outputs: `logits`
 * [batch, sequence, V], `present.L.key` and `.value` [batch, K, past + sequence, E].
 *
 * Of a model that gives numbers for labels (a reward model, an encoder), inputs: `input_ids`, `attention_mask` int64
 * [batch, sequence], and `token_type_ids` where it knows pairs of texts; output: `logits` [batch, labels].
 *
 * @returns what config.json needs besides: `transformers.js_config`
 * @throws ConfigError where angles depend on the length of the row (dynamic rope scaling), or the weights are quantized
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
