/** Model folders in the Hugging Face layout, and llama2.c files: in; Hugging Face folders: out. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, ConfigError, DataError } from '../core/errors.ts';
import { formatShape, sameShape } from '../core/shapes.ts';
import { allocateParameters, type Parameters } from '../nn/parameters.ts';
import { baseOfAdapter, isAdapterFolder, loadAdapter } from './adapter-folder.ts';
import { type CausalModel, OUTPUT_EMBEDDINGS } from './causal-model.ts';
import { readGgufModel } from './gguf-model.ts';
import { readLlama2c } from './llama2c.ts';
import { isLoraModel } from './lora-model.ts';
import { buildModel } from './registry.ts';
import {
  readFolderHeader,
  readTensor,
  type StoredTensor,
  type WritableType,
  writeModelWeights,
} from './safetensors.ts';
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
}

export interface LoadOptions {
  /** Folder of a LoRA adapter in PEFT's layout, to put over the model. */
  readonly adapter?: string | undefined;
}

/**
 * Loads a model folder (config.json and safetensors), a `.gguf` or llama2.c `.bin` file into float32. The folder of an
 * adapter alone stands for its base model with the adapter over it.
 *
 * @throws DataError when the path does not exist
 * @throws CheckpointError when files are missing, corrupt, or do not fit each other
 * @throws ConfigError when config.json names an architecture that is not there or lacks a key
 */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<LoadedModel> {
  return readModel(source, options);
}

/** As `loadModel`, of what is on the disk, at once. */
export function readModel(source: string, { adapter }: LoadOptions = {}): LoadedModel {
  if (adapter !== undefined) return putAdapter(readModel(source), adapter);
  if (isAdapterFolder(source)) return putAdapter(readModel(baseOfAdapter(source)), source);
  return readPlainModel(source);
}

function putAdapter(base: LoadedModel, folder: string): LoadedModel {
  if (isLoraModel(base.model)) {
    throw new ConfigError({
      where: `adapter ${folder}`,
      expected: 'a model without adapter',
      received: `"${base.source}", which has one`,
      fix: 'Merge that one first: heed convert <in> <out> --to merged',
    });
  }
  return { ...base, ...loadAdapter(folder, base), source: folder };
}

function readPlainModel(source: string): LoadedModel {
  if (!existsSync(source)) {
    throw new DataError({
      where: 'loadModel',
      expected: 'a model folder or a llama2.c .bin file',
      received: `"${source}", which does not exist`,
      fix: 'Check the path',
    });
  }
  if (source.endsWith('.gguf') && !statSync(source).isDirectory()) {
    const { config, weights } = readGgufModel(source);
    const model = buildModel(config, source);
    const parameters = allocateParameters(model.parameters);
    placeWeights(source, weights, parameters);
    return { source, config, model, parameters };
  }
  if (!statSync(source).isDirectory()) {
    const { config, load } = readLlama2c(source);
    const model = buildModel(config, source);
    const parameters = allocateParameters(model.parameters);
    load(parameters);
    return { source, config, model, parameters };
  }
  const config = readModelConfig(source);
  const model = buildModel(config, join(source, 'config.json'));
  const parameters = allocateParameters(model.parameters);
  loadWeights(source, parameters);
  return { source, config, model, parameters };
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

/** Tables that some checkpoints carry besides the weights; they follow from the config. */
const TABLES = /(rotary_emb\.inv_freq|masked_bias|attn\.bias|attention\.bias)$/;

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
  const stored = new Map<string, WeightSource>();
  for (const [name, tensor] of readFolderHeader(folder)) {
    const own = rename === undefined ? name : rename(name);
    if (own !== undefined) stored.set(own, sourceOf(tensor));
  }
  placeWeights(folder, stored, parameters);
}

const sourceOf = (tensor: StoredTensor): WeightSource => ({
  where: `${tensor.file} (tensor "${tensor.name}")`,
  shape: tensor.shape,
  read: (out) => readTensor(tensor, out),
});

/**
 * Reads every parameter from stored tensors, whose names may be completed and which may stand in for each other as
 * `loadWeights` says.
 *
 * @param where what to call the checkpoint in errors
 * @throws CheckpointError as `loadWeights`
 */
export function placeWeights(
  where: string,
  given: ReadonlyMap<string, WeightSource>,
  parameters: Parameters,
): void {
  const stored = new Map(given);
  completeNames(stored, parameters);
  placeOutputEmbedding(stored, parameters);
  const missing = parameters.specs.filter(({ name }) => !stored.has(name)).map(({ name }) => name);
  const unexpected = [...stored.keys()].filter((name) => !parameters.has(name) && !TABLES.test(name));
  if (missing.length > 0 || unexpected.length > 0) {
    throw new CheckpointError({
      where,
      expected: `the ${parameters.specs.length} tensors of the architecture in config.json`,
      received: [
        ...(missing.length > 0 ? [`${missing.length} missing (${preview(missing)})`] : []),
        ...(unexpected.length > 0 ? [`${unexpected.length} unexpected (${preview(unexpected)})`] : []),
      ].join(' and '),
      fix: 'Check that config.json belongs to these weights',
    });
  }
  for (const { name, shape } of parameters.specs) {
    const tensor = stored.get(name)!;
    if (!sameShape(tensor.shape, shape)) {
      throw new CheckpointError({
        where: tensor.where,
        expected: `shape ${formatShape(shape)} from config.json`,
        received: formatShape(tensor.shape),
        fix: 'Check that config.json belongs to these weights',
      });
    }
  }
  for (const { name } of parameters.specs) stored.get(name)!.read(parameters.view(name));
}

/** Puts the first part of a parameter's name before names that are known only so. */
function completeNames(stored: Map<string, WeightSource>, parameters: Parameters): void {
  const bodies = new Set(parameters.specs.map(({ name }) => name.split('.', 1)[0]!));
  for (const [name, tensor] of [...stored]) {
    if (parameters.has(name)) continue;
    const body = [...bodies].find((first) => parameters.has(`${first}.${name}`));
    if (body === undefined || stored.has(`${body}.${name}`)) continue;
    stored.delete(name);
    stored.set(`${body}.${name}`, tensor);
  }
}

function placeOutputEmbedding(stored: Map<string, WeightSource>, parameters: Parameters): void {
  for (const name of OUTPUT_EMBEDDINGS) {
    const tensor = stored.get(name);
    if (tensor === undefined || parameters.has(name)) continue;
    stored.delete(name);
    const [missing, ...others] = parameters.specs.filter((spec) => !stored.has(spec.name));
    if (missing !== undefined && others.length === 0 && sameShape(missing.shape, tensor.shape))
      stored.set(missing.name, tensor);
  }
}

const preview = (names: readonly string[]): string =>
  names.length <= 8 ? names.join(', ') : `${names.slice(0, 8).join(', ')}, …`;

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
  { config, parameters, dtype = 'F32', files = {}, extra, maxShardBytes }: SaveOptions,
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
      { dtype, ...(maxShardBytes === undefined ? {} : { maxShardBytes }) },
    );
    writeFiles(temporary, files);
    extra?.(temporary);
  });
}
