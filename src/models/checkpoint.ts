/** Model folders in the Hugging Face layout, and llama2.c files: in; Hugging Face folders: out. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CheckpointError, DataError } from '../core/errors.ts';
import { formatShape, sameShape } from '../core/shapes.ts';
import { allocateParameters, type Parameters } from '../nn/parameters.ts';
import type { CausalModel } from './causal-model.ts';
import { readLlama2c } from './llama2c.ts';
import { buildModel } from './registry.ts';
import { readFolderHeader, readTensor, type WritableType, writeSafetensors } from './safetensors.ts';

/** Contents of config.json, unknown keys included. */
export type RawConfig = Readonly<Record<string, unknown>>;

export interface LoadedModel {
  /** Where it came from, for messages. */
  readonly source: string;
  readonly config: RawConfig;
  readonly model: CausalModel;
  readonly parameters: Parameters;
}

/**
 * Loads a model folder (config.json and safetensors) or a llama2.c `.bin` file into float32.
 *
 * @throws DataError when the path does not exist
 * @throws CheckpointError when files are missing, corrupt, or do not fit each other
 * @throws ConfigError when config.json names an architecture that is not there or lacks a key
 */
export function loadModel(source: string): LoadedModel {
  if (!existsSync(source)) {
    throw new DataError({
      where: 'loadModel',
      expected: 'a model folder or a llama2.c .bin file',
      received: `"${source}", which does not exist`,
      fix: 'Check the path',
    });
  }
  if (!statSync(source).isDirectory()) {
    const { config, tensors } = readLlama2c(source);
    const model = buildModel(config, source);
    const parameters = allocateParameters(model.parameters);
    for (const { name } of model.parameters) parameters.view(name).set(tensors.get(name)!);
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

/** Tensors that some checkpoints carry besides the weights: tables computed from the config, and copies of tied weights. */
const ignored = /(rotary_emb\.inv_freq|masked_bias|attn\.bias|^lm_head\.weight)$/;

/**
 * Reads every parameter from a folder's safetensors files, whatever their element type.
 *
 * @throws CheckpointError listing what is missing, unexpected or of another shape
 */
export function loadWeights(folder: string, parameters: Parameters): void {
  const stored = readFolderHeader(folder);
  const missing = parameters.specs.filter(({ name }) => !stored.has(name)).map(({ name }) => name);
  const known = new Set(parameters.specs.map(({ name }) => name));
  const unexpected = [...stored.keys()].filter((name) => !known.has(name) && !ignored.test(name));
  if (missing.length > 0 || unexpected.length > 0) {
    throw new CheckpointError({
      where: folder,
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
        where: `${tensor.file} (tensor "${name}")`,
        expected: `shape ${formatShape(shape)} from config.json`,
        received: formatShape(tensor.shape),
        fix: 'Check that config.json belongs to these weights',
      });
    }
    readTensor(tensor, parameters.view(name));
  }
}

const preview = (names: readonly string[]): string =>
  names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')}, …`;

export interface SaveOptions {
  readonly config: RawConfig;
  readonly parameters: Parameters;
  /** Element type of the weights; F32 when left out. */
  readonly dtype?: WritableType;
  /** Further files by name: tokenizer, generation config, trainer state. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Writes more files into the folder before it gets its name. */
  readonly extra?: (folder: string) => void;
}

const torchNames: Readonly<Record<WritableType, string>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

/** Writes a model folder under a temporary name, then renames it; an existing folder of the name is replaced at the end. */
export function saveModel(
  folder: string,
  { config, parameters, dtype = 'F32', files = {}, extra }: SaveOptions,
): void {
  const temporary = join(dirname(folder), `.${basename(folder)}.${process.pid}.partial`);
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  try {
    const written = { ...config, torch_dtype: torchNames[dtype] };
    writeFileSync(join(temporary, 'config.json'), `${JSON.stringify(written, null, 2)}\n`);
    writeSafetensors(
      join(temporary, 'model.safetensors'),
      parameters.specs.map(({ name, shape }) => ({ name, shape, data: parameters.view(name) })),
      { dtype },
    );
    for (const [name, content] of Object.entries(files)) writeFileSync(join(temporary, name), content);
    extra?.(temporary);
    const old = `${temporary}.old`;
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(temporary, folder);
    rmSync(old, { recursive: true, force: true });
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}
