/** A reward model of any kind from its folder, as a scorer. */
import type { LoadedModel } from '../../models/checkpoint.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { ForwardOptions } from '../forward.ts';
import { processScorer } from './process-scorer.ts';
import { readRewardCard } from './reward-card.ts';
import { rewardModelScorer } from './reward-model-scorer.ts';
import type { Scorer } from './scorer.ts';

export interface OpenRewardModelOptions
  extends Pick<ForwardOptions, 'engine' | 'batchSize' | 'bucket' | 'onProgress'> {
  readonly folder: string;
  readonly name: string;
  readonly loaded: Pick<LoadedModel, 'model' | 'parameters'>;
  /** Of the texts: the policy's. */
  readonly tokenizer: Tokenizer;
  /** Apply the mean and deviation of the card; true when left out. */
  readonly normalize?: boolean;
  /** End texts that were not sampled with the stop token, where the card says so; false when left out. */
  readonly appendStop?: boolean;
}

/**
 * The scorer that the card in the folder asks for: of sequences, of weighted attributes, or of steps.
 *
 * @throws ConfigError when the model does not fit its card; CheckpointError when the card cannot be read
 */
export function openRewardModel(options: OpenRewardModelOptions): Scorer {
  const { folder, name, loaded, tokenizer, normalize = true, appendStop = false, ...rest } = options;
  const { model, parameters } = loaded;
  const card = readRewardCard(folder);
  const forward = { ...rest, model, parameters };
  if (card?.process !== undefined)
    return processScorer({ ...forward, name, tokenizer, process: card.process });
  const { normalizer, ...plain } = card ?? {};
  const used = normalize ? card : card && { ...(plain as typeof card) };
  return rewardModelScorer({
    ...{ ...forward, name },
    ...(used !== undefined && { card: used }),
    ...(appendStop && tokenizer.eosId !== undefined && { eosId: tokenizer.eosId }),
  });
}
