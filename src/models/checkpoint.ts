/** Model folders in the Hugging Face layout, and llama2.c files: in; Hugging Face folders: out. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, ConfigError, DataError } from '../core/errors.ts';
import { allocateParameters, type Parameters } from '../nn/parameters.ts';
import { baseOfAdapter, isAdapterFolder, loadAdapter } from './adapter-folder.ts';
import type { CausalModel } from './causal-model.ts';
import { decodeBFloat16, decodeFloat16, encodeBFloat16, encodeFloat16 } from './float16.ts';
import { readGgufModel } from './gguf-model.ts';
import { type HubOptions, locateModel } from './hub.ts';
import { readLlama2c } from './llama2c.ts';
import type { MultimodalModel } from './llava.ts';
import { isLoraModel } from './lora-model.ts';
import { matchWeights, readWeights } from './place-weights.ts';
import { type QuantizeOptions, quantizeModel } from './quantized-model.ts';
import { buildModel, buildMultimodal, buildVision } from './registry.ts';
import {
  readFolderHeader,
  readTensor,
  type StoredTensor,
  type WritableType,
  writeModelWeights,
} from './safetensors.ts';
import { hasScoreHead, isScoreModel, SCORE_WEIGHT, scoreConfig, scoreModel } from './score-model.ts';
import type { VisionModel } from './siglip.ts';
import type { WeightSource } from './weight-source.ts';
import { writeFiles, writeModelFolder } from './write-folder.ts';

/** Contents of config.json, unknown keys included. */
export type RawConfig = Readonly<Record<string, unknown>>;

export interface LoadedModel {
  /** Where it came from, for messages. */
  readonly source: string;
  readonly config: RawConfig;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Parameters that the checkpoint lacks, a new head: to be drawn before training. Left out: none. */
  readonly fresh?: readonly string[];
}

export interface ReadOptions {
  /**
   * Round weights to what this type can hold, as a model kept in it would have them; they are float32 in memory all the
   * same. Default F32: as they are stored.
   */
  readonly dtype?: WritableType;
  /**
   * A linear head of so many numbers per sequence in place of the output embedding: a reward, cost or value model made of a
   * language model. Where the checkpoint has no such head it is 0; draw or train it. Left out: the model as it is stored.
   */
  readonly heads?: { readonly score: number };
  /** Hears of numbers that were read, of how many. */
  readonly onWeights?: (done: number, total: number) => void;
  /** Folder of a LoRA adapter in PEFT's layout, to put over the model. */
  readonly adapter?: string | undefined;
  /** Keep the linear layers in 4 or 8 bits, frozen: a model to use, or to train an adapter on. */
  readonly quantize?: QuantizeOptions | undefined;
}

export interface LoadOptions extends ReadOptions, HubOptions {}

/**
 * Loads a model into float32, from what `source` names:
 *
 * - a folder in the Hugging Face layout (config.json and safetensors, whole or in shards);
 * - a `.gguf` file, dequantised; a llama2.c `.bin` file;
 * - a hub id, `owner/name` or `owner/name@revision` (`owner/name/file.gguf` for one file): fetched into Hugging Face's cache
 *   first. A name whose first part is a folder here is a path;
 * - a folder of a LoRA adapter alone, in PEFT's layout: its base model with the adapter over it.
 *
 * Numbers are read by ranges: at its peak it needs the float32 weights and some MiB.
 *
 * @throws DataError when the source does not exist or cannot be fetched
 * @throws CheckpointError when files are missing, corrupt, or do not fit each other
 * @throws ConfigError when config.json names an architecture that is not there or lacks a key
 * @example const { model, parameters } = await loadModel('HuggingFaceTB/SmolLM2-135M-Instruct', { revision: 'main' });
 */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const place = await locateModel(source, options);
  // The revision is that of the source, not of what belongs to it.
  const { revision: _, ...others } = options;
  if (options.adapter !== undefined) {
    const adapter = await locateModel(options.adapter, others);
    return { ...readModel(place, { ...options, adapter }), source };
  }
  if (isAdapterFolder(place)) {
    const base = await locateModel(baseOfAdapter(place), others);
    return { ...readModel(base, { ...options, adapter: place }), source };
  }
  return { ...readModel(place, options), source };
}

/** As `loadModel`, of a path, at once. */
export function readModel(path: string, { adapter, ...options }: ReadOptions = {}): LoadedModel {
  if (adapter !== undefined) return putAdapter(readModel(path, options), adapter);
  if (isAdapterFolder(path)) return putAdapter(readModel(baseOfAdapter(path), options), path);
  return readPlainModel(path, options);
}

/** Names that transformers gives the numbers of a head. */
function labelsOf({ parameters }: CausalModel): string[] {
  const outputs = parameters.find(({ name }) => name === SCORE_WEIGHT)?.shape[0] ?? 1;
  return Array.from({ length: outputs }, (_, index) => `LABEL_${index}`);
}

/**
 * An adapter over a loaded model, whose weights it shares.
 *
 * @param folder in PEFT's layout
 * @throws ConfigError when the model has one; CheckpointError when the adapter does not fit it
 */
export function putAdapter(base: LoadedModel, folder: string): LoadedModel {
  if (isLoraModel(base.model)) {
    throw new ConfigError({
      where: `adapter ${folder}`,
      expected: 'a model without adapter',
      received: `"${base.source}", which has one`,
      fix: 'Merge that one first: heed convert <in> <out> --to merged',
    });
  }
  const adapted = loadAdapter(folder, base);
  const scored = isScoreModel(adapted.model) && !hasScoreHead(base.config);
  return {
    ...base,
    ...adapted,
    // An adapter of a classifier brings the head that a language model lacks.
    ...(scored ? { config: scoreConfig(base.config, {}, { labels: labelsOf(adapted.model) }) } : {}),
    source: folder,
  };
}

function readPlainModel(
  path: string,
  { dtype = 'F32', heads, onWeights, quantize }: ReadOptions,
): LoadedModel {
  const { config, where, weights } = openCheckpoint(path);
  checkLayerCount(config, where, weights.size);
  const stored = buildModel(config, where);
  const model = heads === undefined ? stored : scoreModel(stored, heads.score);
  // No memory is asked for before the config has proved to belong to these weights.
  const optional = heads === undefined ? [] : [SCORE_WEIGHT];
  const matched = matchWeights(path, weights, model.parameters, optional);
  const parameters = allocateParameters(model.parameters);
  readWeights(matched, parameters, onWeights);
  if (dtype !== 'F32') roundTo(dtype, parameters.flat);
  const quantized = quantize === undefined ? {} : quantizeModel({ model, parameters }, quantize);
  return { source: path, config, model, parameters, ...quantized };
}

/** A model of another kind than a language model, with its weights. `saveModel` writes it. */
export interface LoadedOf<M> {
  /** Where it came from, for messages. */
  readonly source: string;
  readonly config: RawConfig;
  readonly model: M;
  readonly parameters: Parameters;
}
export type PlainOptions = Pick<ReadOptions, 'dtype' | 'onWeights'>;

/** Loads a SigLIP vision encoder, as `loadClassifier`. Names before transformers 5 are read too. */
export async function loadVision(
  source: string,
  options: HubOptions & PlainOptions = {},
): Promise<LoadedOf<VisionModel>> {
  return { ...readVision(await locateModel(source, options), options), source };
}

/** As `loadVision`, of a path, at once. */
export function readVision(path: string, options: PlainOptions = {}): LoadedOf<VisionModel> {
  return readBuilt(path, buildVision, options, (name) => name.replace(/^vision_model\./, ''));
}

/** Loads a language model with a vision encoder (LLaVA with SigLIP), as `loadClassifier`. */
export async function loadMultimodal(
  source: string,
  options: HubOptions & PlainOptions = {},
): Promise<LoadedOf<MultimodalModel>> {
  return { ...readMultimodal(await locateModel(source, options), options), source };
}

/** As `loadMultimodal`, of a path, at once. */
export function readMultimodal(path: string, options: PlainOptions = {}): LoadedOf<MultimodalModel> {
  return readBuilt(path, buildMultimodal, options, (name) =>
    name.replace(/^vision_tower\.vision_model\./, 'vision_tower.'),
  );
}

/** A model of any kind from a path. @throws as `loadModel` */
export function readBuilt<M extends Pick<CausalModel, 'parameters'>>(
  path: string,
  build: (config: RawConfig, where: string) => M,
  { dtype = 'F32', onWeights }: PlainOptions,
  rename?: (stored: string) => string,
): LoadedOf<M> {
  const { config, where, weights } = openCheckpoint(path, rename);
  for (const part of [config, config['text_config'], config['vision_config']]) {
    if (typeof part === 'object' && part !== null) checkLayerCount(part as RawConfig, where, weights.size);
  }
  const model = build(config, where);
  const matched = matchWeights(path, weights, model.parameters);
  const parameters = allocateParameters(model.parameters);
  readWeights(matched, parameters, onWeights);
  if (dtype !== 'F32') roundTo(dtype, parameters.flat);
  return { source: path, config, model, parameters };
}

/** config.json of a model, or what a file of another format says in its place. Reads no weights. */
export function readConfig(path: string): RawConfig {
  return openCheckpoint(path).config;
}

/** A checkpoint whose header was read. */
export interface OpenCheckpoint {
  readonly config: RawConfig;
  /** Where the config is, for messages. */
  readonly where: string;
  readonly weights: ReadonlyMap<string, WeightSource>;
}

/** Reads the header of a checkpoint, no weights. @throws DataError, CheckpointError */
export function openCheckpoint(path: string, rename?: (stored: string) => string): OpenCheckpoint {
  if (!existsSync(path)) {
    throw new DataError({
      where: 'loadModel',
      expected: 'a model folder, a .gguf file, a llama2.c .bin file, or a hub id (owner/name)',
      received: `"${path}", which does not exist`,
      fix: 'Check the path',
    });
  }
  if (statSync(path).isDirectory()) {
    const config = readModelConfig(path);
    return { config, where: join(path, 'config.json'), weights: folderWeights(path, rename) };
  }
  return { where: path, ...(path.endsWith('.gguf') ? readGgufModel(path) : readLlama2c(path)) };
}

/** Refuses a number of layers that the file cannot hold, before anything is made for each. */
export function checkLayerCount(config: RawConfig, where: string, tensors: number): void {
  for (const key of ['num_hidden_layers', 'n_layer']) {
    const count = config[key];
    if (typeof count !== 'number' || count <= tensors) continue;
    throw new CheckpointError({
      where: `${where}: ${key}`,
      expected: `at most ${tensors}, the number of tensors`,
      received: String(count),
      fix: 'Check that the config belongs to these weights',
    });
  }
}

/** Elements rounded at a time. */
const ROUND_CHUNK = 1 << 16;

/** Rounds numbers in place to the nearest ones of a 16-bit type. */
function roundTo(dtype: 'F16' | 'BF16', numbers: Float32Array): void {
  const bits = new Uint16Array(Math.min(ROUND_CHUNK, numbers.length));
  const [encode, decode] =
    dtype === 'F16' ? [encodeFloat16, decodeFloat16] : [encodeBFloat16, decodeBFloat16];
  for (let start = 0; start < numbers.length; start += ROUND_CHUNK) {
    const piece = numbers.subarray(start, start + ROUND_CHUNK);
    encode(piece, bits.subarray(0, piece.length));
    decode(bits.subarray(0, piece.length), piece);
  }
}

/** Reads config.json of a folder. Throws `CheckpointError` when it is missing or not a JSON object. */
export function readModelConfig(folder: string): RawConfig {
  const path = join(folder, 'config.json');
  if (!existsSync(path)) {
    throw new CheckpointError({
      where: folder,
      expected: 'config.json',
      received: 'no such file',
      fix: 'Name a model folder in the Hugging Face layout',
    });
  }
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CheckpointError({
      where: path,
      expected: 'JSON',
      received: (cause as Error).message,
      fix: 'Repair the file',
      cause,
    });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new CheckpointError({
      where: path,
      expected: 'a JSON object',
      received: JSON.stringify(config).slice(0, 60),
      fix: 'Repair the file',
    });
  }
  return config as RawConfig;
}

export interface LoadWeightsOptions {
  /** Name that a stored tensor has in `parameters`; undefined leaves it out. */
  readonly rename?: (stored: string) => string | undefined;
}

/**
 * Reads every parameter from a folder's safetensors files, whatever their element type. Peak memory is that of
 * `parameters` plus 8 MiB.
 *
 * Names may lack the first part that `parameters` have (`wte.weight` for `transformer.wte.weight`): checkpoints of a
 * model's body do. A stored output embedding stands in for the one parameter of its shape that is missing: the output
 * embedding under another name, or the input embedding where they are tied. Else it is ignored.
 *
 * @throws CheckpointError listing what is missing, unexpected or of another shape; `parameters` are then unchanged
 */
export function loadWeights(
  folder: string,
  parameters: Parameters,
  { rename }: LoadWeightsOptions = {},
): void {
  readWeights(matchWeights(folder, folderWeights(folder, rename), parameters.specs), parameters);
}

/** The tensors of a folder, under the names that `rename` gives them. */
function folderWeights(
  folder: string,
  rename: (stored: string) => string | undefined = (name) => name,
): Map<string, WeightSource> {
  const weights = new Map<string, WeightSource>();
  for (const [name, tensor] of readFolderHeader(folder)) {
    const own = rename(name);
    if (own !== undefined) weights.set(own, sourceOf(tensor));
  }
  return weights;
}

const sourceOf = (tensor: StoredTensor): WeightSource => ({
  where: `${tensor.file} (tensor "${tensor.name}")`,
  shape: tensor.shape,
  read: (out) => readTensor(tensor, out),
});

export interface SaveOptions {
  readonly config: RawConfig;
  readonly parameters: Parameters;
  /** Element type of the weights; F32 when left out. */
  readonly dtype?: WritableType;
  /** Further files by name, also in subfolders: tokenizer, generation config, trainer state. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Writes more files into the folder before it gets its name. */
  readonly extra?: (folder: string) => void;
  /** Bytes above which the weights are divided into several files; 2 GB when left out. */
  readonly maxShardBytes?: number;
  /** Hears of numbers that were written, of how many. */
  readonly onWeights?: (done: number, total: number) => void;
}

const TORCH_NAMES: Readonly<Record<WritableType, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

/**
 * Writes a model folder, whole or not at all (`writeModelFolder`).
 *
 * config.json keeps every key; only the element type is brought up to date, under the name it has there.
 *
 * @throws CheckpointError when the place cannot be written, or holds something that is no model folder, or when weights
 *   lie in another model (an adapter's base)
 */
export function saveModel(
  folder: string,
  { config, parameters, dtype = 'F32', files = {}, extra, maxShardBytes, onWeights }: SaveOptions,
): void {
  if (parameters.frozenBytes > 0) {
    throw new CheckpointError({
      where: folder,
      expected: 'a model with all of its weights',
      received: 'an adapter over the weights of another',
      fix: 'Merge it first (mergeAdapter), or write the adapter alone (saveAdapter)',
    });
  }
  writeModelFolder(folder, (temporary) => {
    const typeKey = 'dtype' in config && !('torch_dtype' in config) ? 'dtype' : 'torch_dtype';
    const written = { ...config, [typeKey]: TORCH_NAMES[dtype] };
    writeFileSync(join(temporary, 'config.json'), `${JSON.stringify(written, null, 2)}\n`);
    writeModelWeights(
      temporary,
      parameters.specs.map(({ name, shape }) => ({ name, shape, data: parameters.view(name) })),
      {
        dtype,
        ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
        ...(onWeights === undefined ? {} : { onTensor: countTo(parameters.count, onWeights) }),
      },
    );
    writeFiles(temporary, files);
    extra?.(temporary);
  });
}

/** Adds up pieces and tells the sum. */
function countTo(total: number, tell: (done: number, total: number) => void): (count: number) => void {
  let done = 0;
  return (count) => {
    done += count;
    tell(done, total);
  };
}
