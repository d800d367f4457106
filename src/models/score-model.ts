/**
 * Models that give numbers instead of tokens: a trunk with a linear `score` head without bias, in the layout of
 * transformers' `…ForSequenceClassification`. Reward, cost and value models are all of this kind.
 */
import { ConfigError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import type { Tensor } from '../graph/tensor.ts';
import { scoreHead } from '../nn/heads.ts';
import { allocateOver, allocateParameters, initialize, type Parameters } from '../nn/parameters.ts';
import { type CausalModel, OUTPUT_EMBEDDINGS, type Weights } from './causal-model.ts';
import type { LoadedModel, RawConfig } from './checkpoint.ts';

/** Name of the head's weight, [A, D]. */
export const SCORE_WEIGHT = 'score.weight';
const SUFFIX = 'ForSequenceClassification';
const PER_TOKEN_SUFFIX = 'ForTokenClassification';

const hasArchitecture = ({ architectures }: RawConfig, suffix: string): boolean =>
  Array.isArray(architectures) && architectures.some((name) => String(name).endsWith(suffix));

/** Whether config.json describes a model with a score head. */
export function hasScoreHead(config: RawConfig): boolean {
  return hasArchitecture(config, SUFFIX);
}

/** Whether config.json describes a model with a head that is read at tokens of the sequence, as of process rewards. */
export function hasTokenHead(config: RawConfig): boolean {
  return hasArchitecture(config, PER_TOKEN_SUFFIX);
}

/** Numbers per sequence of a config.json: `num_labels`, or the entries of `id2label`; 2 when neither is there, as transformers. */
export function scoreOutputs(config: RawConfig): number {
  const { num_labels: labels, id2label } = config;
  if (typeof labels === 'number') return labels;
  return typeof id2label === 'object' && id2label !== null ? Object.keys(id2label).length : 2;
}

/**
 * The trunk of a model with a score head in place of its output embedding. Its `head` throws: it writes no text.
 *
 * @param outputs A: numbers per sequence; 1 for a reward or a value
 */
export function scoreModel(trunk: CausalModel, outputs = 1): CausalModel {
  return {
    ...trunk,
    parameters: [
      ...trunk.parameters.filter(({ name }) => !OUTPUT_EMBEDDINGS.includes(name) && name !== SCORE_WEIGHT),
      {
        name: SCORE_WEIGHT,
        shape: [outputs, trunk.hiddenSize],
        // Scores of unit size or less at the start: the hidden state is normalised to about √D.
        init: { kind: 'normal', std: 1 / Math.sqrt(trunk.hiddenSize + 1) },
      },
    ],
    head() {
      throw new ConfigError({
        where: `${trunk.type}: output embedding`,
        expected: 'a language model',
        received: 'a model with a score head, which writes no text',
        fix: 'Use the language model that it was trained from',
      });
    },
    matrixParameters: trunk.matrixParameters + (outputs - trunk.vocabSize) * trunk.hiddenSize,
  };
}

/** Whether a model has a score head, or one of its own for labels. */
export function isScoreModel(model: CausalModel): boolean {
  return model.labels !== undefined || model.parameters.some(({ name }) => name === SCORE_WEIGHT);
}

/** Modules of the head, which are trained whole where an adapter changes the rest. */
export const headModules = (model: CausalModel): readonly string[] => model.labels?.modules ?? ['score'];

/**
 * Numbers [B, A] of whole sequences: by the score head at the last token, or as the model's own head reads them.
 *
 * @param input `ids`, `positions` int64 [B, T]; `last` int64 [B], the flat index b·T + t of each sequence's last token
 */
export function scoreSequences(
  model: CausalModel,
  weights: Weights,
  { ids, positions, last }: { readonly ids: Tensor; readonly positions: Tensor; readonly last: Tensor },
  { rematerialize = false }: { readonly rematerialize?: boolean } = {},
): Tensor {
  if (model.labels !== undefined) return model.labels.score(weights, { ids, last });
  const { hidden } = model.forward(weights, { ids, positions, rematerialize });
  return scoreHead(hidden, weights[SCORE_WEIGHT]!, last);
}

/**
 * A score model with parameters of its own: the trunk's weights are copied; the head is drawn from N(0, 1/(D + 1)), is
 * 0 without `rng` (a critic that expects nothing), or is copied too where the source has one of that size.
 *
 * @param source a language model or a score model
 */
export function scoreModelFrom(
  source: Pick<LoadedModel, 'model' | 'parameters'>,
  { outputs = 1, rng }: { readonly outputs?: number; readonly rng?: Rng },
): { readonly model: CausalModel; readonly parameters: Parameters } {
  const model = scoreModel(source.model, outputs);
  const parameters = allocateParameters(model.parameters);
  for (const { name } of model.parameters) {
    const view = parameters.view(name);
    const own = source.parameters.has(name) ? source.parameters.view(name) : undefined;
    if (own !== undefined && own.length === view.length) view.set(own);
    else rng?.split(name).fillNormal(view, 1 / Math.sqrt(model.hiddenSize + 1));
  }
  return { model, parameters };
}

/**
 * A score model over the weights of a trunk, which are shared and frozen: only the head is its own. For adapters over one
 * base. The head is made as by `scoreModelFrom`.
 */
export function scoreModelOver(
  source: Pick<LoadedModel, 'model' | 'parameters'>,
  { outputs = 1, rng }: { readonly outputs?: number; readonly rng?: Rng },
): { readonly model: CausalModel; readonly parameters: Parameters } {
  const plain = scoreModel(source.model, outputs);
  const model = {
    ...plain,
    parameters: plain.parameters.map((spec) =>
      spec.name === SCORE_WEIGHT ? spec : { ...spec, frozen: true },
    ),
  };
  const parameters = allocateOver(model.parameters, source.parameters.arrays());
  const view = parameters.view(SCORE_WEIGHT);
  const own = source.parameters.has(SCORE_WEIGHT) ? source.parameters.view(SCORE_WEIGHT) : undefined;
  if (own?.length === view.length) view.set(own);
  else rng?.split(SCORE_WEIGHT).fillNormal(view, 1 / Math.sqrt(model.hiddenSize + 1));
  return { model, parameters };
}

/** Draws what the checkpoint lacked, a new head, as the architecture starts it. */
export function drawFresh(loaded: LoadedModel, rng: Rng): LoadedModel {
  const { model, parameters, fresh = [] } = loaded;
  initialize(
    parameters,
    rng,
    model.parameters.filter(({ name }) => fresh.includes(name)),
  );
  return loaded;
}

/** Special tokens of a tokenizer, where it has them. */
export interface SpecialIds {
  readonly padId?: number | undefined;
  readonly bosId?: number | undefined;
  readonly eosId?: number | undefined;
}

/** What the numbers of a head are. */
export interface ScoreTask {
  /** A name for each number of the head. */
  readonly labels: readonly string[];
  /** The head is read at tokens of the sequence, not at its end. */
  readonly perToken?: boolean;
}

/**
 * config.json of a score model, of one output unless `task` says otherwise, from that of a language model: other keys are
 * kept.
 *
 * transformers reads the score at the last id that is not `pad_token_id`. Where that were the end-of-text token, it would
 * step over the token that carries the score; the beginning-of-text token, which ends no sequence, is named instead.
 */
export function scoreConfig(
  config: RawConfig,
  { padId, bosId, eosId }: SpecialIds,
  { labels, perToken = false }: ScoreTask = { labels: ['LABEL_0'] },
): RawConfig {
  const { architectures } = config;
  const name = Array.isArray(architectures) ? String(architectures[0]) : 'LlamaForCausalLM';
  const { pad_token_id: stored, ...rest } = config;
  const padding = [stored, padId, bosId].find((id) => typeof id === 'number' && id !== eosId);
  return {
    ...rest,
    architectures: [
      name.replace(/(LMHeadModel|Model|For[A-Z]\w*)$/, '') + (perToken ? PER_TOKEN_SUFFIX : SUFFIX),
    ],
    num_labels: labels.length,
    id2label: Object.fromEntries(labels.entries()),
    label2id: Object.fromEntries(labels.map((label, index) => [label, index])),
    ...(padding === undefined ? {} : { pad_token_id: padding }),
  };
}
