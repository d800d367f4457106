/** Losses of a preference pair without a reference: scores are log π of the completions, nats. */
import { add, exp, minimum, mul, square, sub } from '../../graph/ops/elementwise.ts';
import { relu } from '../../graph/ops/neural.ts';
import { log1mexp, logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { dpoSigmoidLoss } from './dpo.ts';
import type { PairLoss, PairScores } from './preference.ts';

/** A completion of probability 1 has infinite odds; log-probabilities count as at most this. */
const likeliest = -1e-6;

/**
 * log (odds(chosen) / odds(rejected)), odds = p/(1 − p) with log p the score per token.
 *
 * @source Hong et al. 2024, "ORPO" (arXiv 2403.07691), eqs. 4 and 7
 * @example scores −0.5, −1: 0.973841
 */
export function logOddsRatio({ chosen, rejected }: PairScores): Tensor {
  const logOdds = (score: Tensor): Tensor => {
    const below = minimum(score, likeliest);
    return sub(below, log1mexp(below));
  };
  return sub(logOdds(chosen), logOdds(rejected));
}

/** NLL of the chosen side − β log σ(log odds ratio). @source Hong et al. 2024, eq. 6, with β for their λ */
export const orpoLoss =
  ({ beta }: { readonly beta: number }): PairLoss =>
  (pair) =>
    sub(pair.nll!, mul(logSigmoid(logOddsRatio(pair)), beta));

/**
 * AlphaPO's reward of a score s: (1 − e^(−αs))/α, s itself at α = 0.
 *
 * @source Gupta et al. 2025, "AlphaPO" (arXiv 2501.03884), eq. 6
 * @example α 0.25, s −1: −1.136102
 */
export const alphaReward =
  (alpha: number) =>
  (score: Tensor): Tensor =>
    alpha === 0 ? score : mul(sub(1, exp(mul(score, -alpha))), 1 / alpha);

export interface MarginOptions {
  /** Multiplies scores. */
  readonly beta: number;
  /** Assumed share of flipped labels, below 0.5. */
  readonly labelSmoothing: number;
  /** Margin that β times the difference of rewards should exceed. */
  readonly gamma: number;
  /** Shape of the reward. */
  readonly alpha: number;
}

/**
 * −log σ(β(r(c) − r(r)) − γ), smoothed; r is `alphaReward`.
 *
 * @source Meng et al. 2024, "SimPO" (arXiv 2405.14734), eq. 6, on scores per token; with γ = 0 on sums, Xu et al. 2024, "CPO"
 *   (arXiv 2401.08417), eq. 3
 * @example β 2, γ 1, scores −0.5 and −1: −log σ(0) = ln 2
 */
export const marginLoss =
  ({ beta, labelSmoothing, gamma, alpha }: MarginOptions): PairLoss =>
  ({ chosen, rejected }) =>
    dpoSigmoidLoss(sub(rewardMargin(alpha, chosen, rejected), gamma / beta), { beta, labelSmoothing });

/** max(0, 1 − β(r(c) − r(r))), as CPO has it. @source huggingface/trl v1.16.0 `cpo_trainer.py`, `hinge` */
export const referenceFreeHinge =
  ({ beta, alpha }: Pick<MarginOptions, 'beta' | 'alpha'>): PairLoss =>
  ({ chosen, rejected }) =>
    relu(sub(1, mul(rewardMargin(alpha, chosen, rejected), beta)));

/** (r(c) − r(r) − 1/(2β))², on scores per token. @source the same, `ipo` */
export const referenceFreeIpo =
  ({ beta, alpha }: Pick<MarginOptions, 'beta' | 'alpha'>): PairLoss =>
  ({ chosen, rejected }) =>
    square(sub(rewardMargin(alpha, chosen, rejected), 1 / (2 * beta)));

function rewardMargin(alpha: number, chosen: Tensor, rejected: Tensor): Tensor {
  const reward = alphaReward(alpha);
  return sub(reward(chosen), reward(rejected));
}

/** loss + α · NLL of the chosen side. */
export const withNll =
  (loss: PairLoss, weight: number): PairLoss =>
  (pair) =>
    weight === 0 ? loss(pair) : add(loss(pair), mul(pair.nll!, weight));

/** Figures of ORPO per pair. */
export const oddsFigures = (pair: PairScores): Readonly<Record<string, Tensor>> => {
  const ratio = logOddsRatio(pair);
  return { nll_loss: pair.nll!, log_odds_chosen: ratio, log_odds_ratio: logSigmoid(ratio) };
};
