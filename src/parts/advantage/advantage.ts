/** What estimators of advantages have in common. */
import type { HostTensor } from '../../core/host-tensor.ts';

/** Token rewards and values of a batch of completions, on the host. */
export interface AdvantageInput {
  /** Reward after each token, [B, C] */
  readonly rewards: HostTensor<Float64Array>;
  /** Value of the state before each token, [B, C] */
  readonly values: HostTensor<Float64Array>;
  /** 1 where the policy chose the token, [B, C] */
  readonly mask: HostTensor<Uint8Array>;
  /** Completions of one prompt have one number, [B]; needed by estimators that compare them */
  readonly groups?: ArrayLike<number>;
  /** Score of the likeliest completion of the same prompt, [B]; needed by estimators that compare with it */
  readonly baselines?: ArrayLike<number>;
}

export interface Advantages {
  /** How much better than expected each token was, [B, C]; 0 where the mask is 0. */
  readonly advantages: HostTensor<Float64Array>;
  /** What the value should have been, [B, C]; 0 where the mask is 0. */
  readonly returns: HostTensor<Float64Array>;
  /** What the estimator saw, for the log. */
  readonly metrics?: Readonly<Record<string, number>>;
}

export type AdvantageEstimator = (input: AdvantageInput) => Advantages;
