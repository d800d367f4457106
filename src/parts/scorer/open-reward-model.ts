/** A reward model of any kind, as a scorer. */
import type { LoadedModel } from '../../models/checkpoint.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { ForwardOptions } from '../forward.ts';
import { pairScorer } from './pair-scorer.ts';
import { processScorer } from './process-scorer.ts';
import type { RewardCard } from './reward-card.ts';
import { rewardModelScorer } from './reward-model-scorer.ts';
import type { Scorer } from './scorer.ts';

export interface OpenRewardModelOptions
  extends Pick<ForwardOptions, 'engine' | 'batchSize' | 'bucket' | 'onProgress'> {
  readonly name: string;
  /** What its folder says of it (`readRewardCard`); undefined where it has none. */
  readonly card: RewardCard | undefined;
  readonly loaded: Pick<LoadedModel, 'model' | 'parameters'>;
  /** Of the texts: the policy's. */
  readonly tokenizer: Tokenizer;
  /** Apply the mean and deviation of the card; true when left out. */
  readonly normalize?: boolean;
  /** End texts that were not sampled with the stop token, where the card says so; false when left out. */
  readonly appendStop?: boolean;
}

/**
 * The scorer that the card asks for: of sequences, of weighted attributes, of steps, or of pairs.
 *
 * @throws ConfigError when the model does not fit its card
 */
export function openRewardModel(options: OpenRewardModelOptions): Scorer {
  const { card, name, loaded, tokenizer, normalize = true, appendStop = false, ...rest } = options;
  const { model, parameters } = loaded;
  const forward = { ...rest, model, parameters };
  if (card?.process !== undefined)
    return processScorer({ ...forward, name, tokenizer, process: card.process });
  if (card?.pairwise !== undefined) return pairScorer({ ...forward, name, stopId: tokenizer.eosId });
  const { normalizer, ...plain } = card ?? {};
  const used = normalize ? card : card && { ...(plain as typeof card) };
  return rewardModelScorer({
    ...{ ...forward, name },
    ...(used !== undefined && { card: used }),
    ...(appendStop && tokenizer.eosId !== undefined && { eosId: tokenizer.eosId }),
  });
}
