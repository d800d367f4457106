/** Encoders for sequence classification: in, as classifiers and as the base of a reward model. */
import { CheckpointError, ConfigError } from '../core/errors.ts';
import { allocateParameters } from '../nn/parameters.ts';
import { adapterOutputs, baseOfAdapter, isAdapterFolder, loadAdapter } from './adapter-folder.ts';
import {
  checkLayerCount,
  type LoadedModel,
  type LoadedOf,
  type LoadOptions,
  loadModel,
  openCheckpoint,
  type PlainOptions,
  type RawConfig,
  readBuilt,
  readConfig,
} from './checkpoint.ts';
import type { ClassifierModel } from './classifier-model.ts';
import { encoderScoreModel } from './encoder-score.ts';
import { type HubOptions, locateModel } from './hub.ts';
import { isInside } from './lora-config.ts';
import { isLoraModel } from './lora-model.ts';
import { mergeLora } from './merge-adapter.ts';
import { matchWeights, readWeights } from './place-weights.ts';
import { buildClassifier, classifierTypes } from './registry.ts';
import { hasScoreHead, scoreConfig, scoreOutputs } from './score-model.ts';

export type LoadedClassifier = LoadedOf<ClassifierModel>;

interface ClassifierOptions extends PlainOptions {
  /** Folder of a LoRA adapter in PEFT's layout, to merge into the weights. */
  readonly adapter?: string | undefined;
}

/**
 * Loads an encoder for sequence classification into float32: a folder in the Hugging Face layout, a hub id as for
 * `loadModel`, or a folder of a LoRA adapter on one, which is merged.
 *
 * @throws DataError, CheckpointError and ConfigError as `loadModel`; also for a checkpoint without a classification head
 */
export async function loadClassifier(
  source: string,
  { adapter, ...options }: HubOptions & ClassifierOptions = {},
): Promise<LoadedClassifier> {
  const place = await locateModel(source, options);
  const { revision: _, ...others } = options;
  const on = adapter === undefined ? {} : { adapter: await locateModel(adapter, others) };
  return { ...readClassifier(place, { ...options, ...on }), source };
}

/** As `loadClassifier`, of a path, at once. */
export function readClassifier(path: string, options: ClassifierOptions = {}): LoadedClassifier {
  const { adapter = isAdapterFolder(path) ? path : undefined, ...others } = options;
  if (adapter === undefined) return readBuilt(path, buildClassifier, others);
  const base = path === adapter ? baseOfAdapter(path) : path;
  const adapted = putAdapter(base, adapter);
  const { config } = adapted;
  if (!isLoraModel(adapted.model)) throw new Error('an adapter that was put on is there');
  const { parameters } = mergeLora({ model: adapted.model, parameters: adapted.parameters });
  return { source: path, config, model: buildClassifier(config, path), parameters };
}

/** Whether a path holds an encoder, or an adapter of one; reads no weights. */
export function isEncoder(path: string): boolean {
  const base = isAdapterFolder(path) ? baseOfAdapter(path) : path;
  return classifierTypes.includes(String(readConfig(base)['model_type']));
}

/**
 * The base of a reward model: a language model as `loadModel` gives it, or an encoder as a score model with one number. An
 * encoder's checkpoint may be that of the body alone, of a masked language model or of a classifier with other labels; what
 * it lacks of the head is listed in `fresh`.
 *
 * @throws as `loadModel`; ConfigError for an encoder with packed weights, which is not implemented
 */
export async function loadScoreBase(source: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const place = await locateModel(source, options);
  if (!isEncoder(place)) return loadModel(source, options);
  if (options.quantize !== undefined) {
    throw new ConfigError({
      where: '--quantize-base',
      expected: 'none, for an encoder',
      received: `${options.quantize.bits}bit`,
      fix: 'Leave it out: encoders are kept as float32',
    });
  }
  const loaded = isAdapterFolder(place)
    ? putAdapter(await locateModel(baseOfAdapter(place), options), place)
    : readScoreBase(place, 1, options);
  return { ...loaded, source };
}

/** @param outputs numbers per sequence; those of the checkpoint when undefined */
function readScoreBase(
  path: string,
  outputs: number | undefined,
  { onWeights }: PlainOptions = {},
): LoadedModel {
  const { config: stored, where, weights } = openCheckpoint(path);
  checkLayerCount(stored, where, weights.size);
  const own = scoreOutputs(stored);
  const fits = hasScoreHead(stored) && own === (outputs ?? own);
  const config = fits ? stored : labelConfig(stored, outputs ?? own);
  const encoder = buildClassifier(config, where);
  const head = encoder.parameters
    .map(({ name }) => name)
    .filter((name) => encoder.headModules.some((module) => isInside(name, module)));
  // Heads of other tasks stay behind: of masked language models, or for other labels.
  const foreign = fits ? /^(cls|decoder)\./ : /^(cls|decoder|classifier)\./;
  const kept = new Map([...weights].filter(([name]) => !foreign.test(name)));
  const matched = matchWeights(path, kept, encoder.parameters, head);
  const parameters = allocateParameters(encoder.parameters);
  readWeights(matched, parameters, onWeights);
  const fresh = head.filter((name) => !matched.has(name));
  return {
    ...{ source: path, config, model: encoderScoreModel(encoder), parameters },
    ...(fresh.length === 0 ? {} : { fresh }),
  };
}

/** An encoder with the adapter of a folder, which brings what the base lacks of the head. */
function putAdapter(path: string, adapter: string): LoadedModel {
  const base = readScoreBase(path, adapterOutputs(adapter));
  const adapted = loadAdapter(adapter, base);
  const lacking = (base.fresh ?? []).filter((name) => !adapted.model.lora.whole.has(name));
  if (lacking.length > 0) {
    throw new CheckpointError({
      where: adapter,
      expected: `the head, which ${path} lacks: ${lacking.join(', ')}`,
      received: 'an adapter without it',
      fix: 'Name the checkpoint with its classification head as the base',
    });
  }
  return { source: adapter, config: base.config, ...adapted };
}

/** config.json of an encoder with other labels: one label is a number, not a probability. */
function labelConfig(config: RawConfig, count: number): RawConfig {
  const names = Array.from({ length: count }, (_, index) => `LABEL_${index}`);
  return {
    ...scoreConfig(config, {}),
    num_labels: count,
    id2label: Object.fromEntries(names.map((name, index) => [index, name])),
    label2id: Object.fromEntries(names.map((name, index) => [name, index])),
    problem_type: count === 1 ? 'regression' : null,
  };
}
