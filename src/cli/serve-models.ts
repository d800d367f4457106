/** Models by name for the server, from folders and adapters. */
import { ConfigError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Engine } from '../engine/engine.ts';
import { isLoraModel, type LoadedModel, loadModel, locateModel, putAdapter } from '../models/index.ts';
import { mergeLora } from '../models/merge-adapter.ts';
import { readRewardCard } from '../parts/scorer/reward-card.ts';
import { type quantizations, quantizeOption } from '../parts/trainer/lora-fields.ts';
import { createServedModel, type ServedModel } from '../serve/index.ts';
import { checkTokenizerFits, loadTokenizer } from '../tokenizer/index.ts';

export interface ServeModelsOptions {
  /** Folders, files or hub ids, each also as `name=folder`. */
  readonly models: readonly string[];
  /** Adapters over the first model, as `name=folder`. */
  readonly adapters: readonly string[];
  readonly tokenizer?: string | undefined;
  readonly quantize: (typeof quantizations)[number];
  /** Merge adapters into copies of the weights, rather than keep them apart over the weights of the first model. */
  readonly mergeAdapters: boolean;
  readonly engine: Engine;
  readonly slots: number;
  readonly queue: number;
  readonly maxTokens: number;
  readonly prepack: boolean | 'auto';
  /** Tokens guessed at a time for a completion that is alone. */
  readonly speculate: number;
  readonly rng: Rng;
  readonly pause: () => Promise<void>;
  /** Milliseconds from any origin. */
  readonly clock: () => number;
}

/** Weights up to this are packed into the programs: one copy more per batch size that occurs. */
const packedBytes = 256 * 2 ** 20;

export interface LoadedModels {
  readonly models: ServedModel[];
  /** A further adapter over the first model. */
  readonly openAdapter: (name: string, folder: string) => Promise<ServedModel>;
}

/**
 * Loads everything that is to be served.
 *
 * @throws ConfigError when two names are equal; CheckpointError when a model cannot be read
 */
export async function loadServedModels(options: ServeModelsOptions): Promise<LoadedModels> {
  const { engine, slots, queue, maxTokens, prepack, speculate, rng, pause, clock } = options;
  const named = options.models.map(splitName);
  const adapters = options.adapters.map(splitName);
  const names = [...named, ...adapters].map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new ConfigError({
      where: 'heed serve',
      expected: 'models of different names',
      received: `${twice} twice`,
      fix: 'Name them: --model first=<folder> --model second=<folder>',
    });
  }
  const served: ServedModel[] = [];
  const [first] = named;
  let base: LoadedModel | undefined;
  try {
    for (const { name, source } of named) {
      const loaded = await loadModel(source, quantizeOption(options.quantize));
      base ??= loaded;
      served.push(await create(name, source, merged(loaded)));
    }
    for (const { name, source } of adapters) served.push(await openAdapter(name, await locateModel(source)));
    return { models: served, openAdapter };
  } catch (error) {
    await Promise.all(served.map((model) => model.dispose()));
    throw error;
  }

  async function openAdapter(name: string, folder: string): Promise<ServedModel> {
    return create(name, folder, adapterOver(base!, folder, options.mergeAdapters), first);
  }

  async function create(
    id: string,
    source: string,
    { model, parameters }: Pick<LoadedModel, 'model' | 'parameters'>,
    parent?: { readonly name: string; readonly source: string },
  ): Promise<ServedModel> {
    const place = parent?.source ?? source;
    const tokenizer = await loadTokenizer(options.tokenizer ?? place);
    checkTokenizerFits(tokenizer, { vocabSize: model.vocabSize, where: place });
    const bytes = Object.values(parameters.arrays()).reduce((total, { byteLength }) => total + byteLength, 0);
    const card = readRewardCard(source);
    // Packing would copy the weights that an adapter apart shares.
    const pack = bytes <= packedBytes && !isLoraModel(model);
    return createServedModel({
      ...{ id, parent: parent?.name, engine, model, parameters, tokenizer, slots, queue, maxTokens, pause },
      ...{ clock, speculate },
      prepack: prepack === 'auto' ? pack : prepack,
      rng: rng.split(id),
      ...(card === undefined ? {} : { card }),
    });
  }
}

/**
 * An adapter over a model that is loaded already. Merged it costs nothing per token and the memory of a model; apart it has
 * the memory of its own matrices, over the weights of the model, and some work per token.
 */
export function adapterOver(
  base: LoadedModel,
  folder: string,
  merge: boolean,
): Pick<LoadedModel, 'model' | 'parameters'> {
  const adapted = putAdapter(base, folder);
  return merge ? merged(adapted) : adapted;
}

/** A model without adapter where it may be: over quantized weights one stays apart. */
function merged({ model, parameters }: LoadedModel): Pick<LoadedModel, 'model' | 'parameters'> {
  if (!isLoraModel(model) || model.base.parameters.some(({ holds }) => holds !== undefined))
    return { model, parameters };
  return mergeLora({ model, parameters });
}

/** `name=source`, or a source that is named after its last part. */
export function splitName(given: string): { readonly name: string; readonly source: string } {
  const equals = given.indexOf('=');
  if (equals > 0) return { name: given.slice(0, equals), source: given.slice(equals + 1) };
  return { name: nameOf(given), source: given };
}

/** `runs/sft/model` is `sft`: the folder of a run says more than `model`. */
function nameOf(source: string): string {
  const parts = source.split(/[\\/]/).filter((part) => part !== '' && part !== '.');
  const last = parts.at(-1) ?? source;
  return last === 'model' && parts.length > 1 ? parts.at(-2)! : last;
}
