/**
 * Losses of a preference pair beside DPO's, each a small function of the pair's scores. A score is log π/π_ref of a completion,
 * or what a divergence makes of it.
 */
import { ConfigError } from '../../core/errors.ts';
import { stopGradient } from '../../graph/ops/control.ts';
import {
  add,
  clamp,
  div,
  exp,
  maximum,
  mul,
  neg,
  sigmoid,
  square,
  sub,
} from '../../graph/ops/elementwise.ts';
import { relu } from '../../graph/ops/neural.ts';
import { logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { dpoSigmoidLoss } from './dpo.ts';

/** What is known of the pairs of a batch; all [B]. */
export interface PairScores {
  /** Scores of the chosen and of the rejected completion, nats. */
  readonly chosen: Tensor;
  readonly rejected: Tensor;
  /** Their tokens. */
  readonly chosenLength: Tensor;
  readonly rejectedLength: Tensor;
  /** −log π of the tokens of the chosen side, scaled so that its mean over pairs is the batch's mean per token; where asked for. */
  readonly nll?: Tensor;
  /** Margins between sides of equal rank in the batch, nats; where asked for. */
  readonly ranked?: RankedMargins;
}

/** Differences of log-ratios that the order of the whole batch pairs up, each with a gradient on one side only; all [B]. */
export interface RankedMargins {
  /** (log π(chosen) − log π(rejected)) less that of the reference whose rank is the same. */
  readonly paired: Tensor;
  /** log π/π_ref of the chosen side less that of the rejected side of the same rank, which is constant. */
  readonly chosen: Tensor;
  /** The same seen from the rejected side: that of the chosen side of the same rank, constant, less its own. */
  readonly rejected: Tensor;
}

/** A loss per pair, [B]. */
export type PairLoss = (pair: PairScores) => Tensor;

interface Scaled {
  /** β: multiplies scores. */
  readonly beta: number;
}
interface Smoothed extends Scaled {
  /** Assumed share of flipped labels, below 0.5. */
  readonly labelSmoothing: number;
}

const margin = ({ chosen, rejected }: PairScores): Tensor => sub(chosen, rejected);
const perToken = (score: Tensor, length: Tensor): Tensor => div(score, maximum(length, 1));
const negLogSigmoid = (x: Tensor): Tensor => neg(logSigmoid(x));

/** −(1 − ε) log σ(βh) − ε log σ(−βh). @source Rafailov et al. 2023, eq. 7; smoothing: Mitchell 2023 */
export const sigmoidLoss =
  ({ beta, labelSmoothing }: Smoothed): PairLoss =>
  (pair) =>
    dpoSigmoidLoss(margin(pair), { beta, labelSmoothing });

/** max(0, 1 − βh). @source Zhao et al. 2023, "SLiC-HF" (arXiv 2305.10425), eq. 1, on log-ratios. @example β 0.1, h 2: 0.8 */
export const hingeLoss =
  ({ beta }: Scaled): PairLoss =>
  (pair) =>
    relu(sub(1, mul(margin(pair), beta)));

/**
 * (h̄ − 1/(2β))², h̄ the difference of scores per token.
 * @source Azar et al. 2023, "IPO" (arXiv 2310.12036), eq. 17; per token as its authors confirmed to TRL
 * @example β 0.1, scores 1 and −1 on 4 and 5 tokens: h̄ = 0.45, loss 20.7025
 */
export const ipoLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected, chosenLength, rejectedLength }) =>
    square(sub(sub(perToken(chosen, chosenLength), perToken(rejected, rejectedLength)), 1 / (2 * beta)));

/** DPO on scores per token: −log σ(β h̄). @source huggingface/trl v1.16.0, `sigmoid_norm` */
export const sigmoidNormLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected, chosenLength, rejectedLength }) =>
    negLogSigmoid(mul(sub(perToken(chosen, chosenLength), perToken(rejected, rejectedLength)), beta));

/**
 * (−(1 − ε) log σ(βh) + ε log σ(−βh)) / (1 − 2ε): in the mean over labels of which a share ε is flipped, DPO's loss on clean ones.
 * @source Chowdhury et al. 2024, "Provably Robust DPO" (arXiv 2403.00409), eq. 12
 * @example β 0.1, ε 0.1, h 2: 0.5731388694
 */
export const robustLoss =
  ({ beta, labelSmoothing: epsilon }: Smoothed): PairLoss =>
  (pair) => {
    const h = mul(margin(pair), beta);
    const difference = sub(mul(negLogSigmoid(h), 1 - epsilon), mul(negLogSigmoid(neg(h)), epsilon));
    return mul(difference, 1 / (1 - 2 * epsilon));
  };

/**
 * KL from the policy's choice between the two, (σ(βh), σ(−βh)), to the label's, (1 − ε, ε).
 * @source Ji et al. 2024, "EXO" (arXiv 2402.00856), eq. 16. ε has to be above 0
 */
export const exoLoss =
  ({ beta, labelSmoothing: epsilon }: Smoothed): PairLoss =>
  (pair) => {
    const h = mul(margin(pair), beta);
    const kept = mul(sigmoid(h), sub(logSigmoid(h), Math.log1p(-epsilon)));
    return add(kept, mul(sigmoid(neg(h)), sub(logSigmoid(neg(h)), Math.log(epsilon))));
  };

/** −log σ(βc) − ½ log σ(−βc) − ½ log σ(−βr). @source Chen et al. 2024, "Noise contrastive alignment" (arXiv 2402.05369), eq. 12 */
export const ncaLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected }) => {
    const [c, r] = [mul(chosen, beta), mul(rejected, beta)];
    return add(negLogSigmoid(c), mul(add(negLogSigmoid(neg(c)), negLogSigmoid(neg(r))), 0.5));
  };

/** −log σ(βc) − log σ(−βr). @source Jung et al. 2024, "Binary classifier optimization" (arXiv 2404.04656), without its shift, as TRL */
export const bcoPairLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected }) =>
    add(negLogSigmoid(mul(chosen, beta)), negLogSigmoid(mul(rejected, -beta)));

/** (c − 1/(2β))² + (r + 1/(2β))². @source Wu et al. 2024, "SPPO" (arXiv 2405.00675), eq. 4.7 with labels 1 and 0 */
export const sppoHardLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected }) =>
    add(square(sub(chosen, 0.5 / beta)), square(add(rejected, 0.5 / beta)));

/** 1 − σ(βc) + σ(βr): chosen up, rejected down. @source D'Oosterlinck et al. 2024, "APO" (arXiv 2408.06266), eq. 7 */
export const apoZeroLoss =
  ({ beta }: Scaled): PairLoss =>
  ({ chosen, rejected }) =>
    add(sigmoid(mul(chosen, -beta)), sigmoid(mul(rejected, beta)));

/** σ(βc) + 1 − σ(β(c − r)): both down, rejected further. @source D'Oosterlinck et al. 2024, eq. 8 */
export const apoDownLoss =
  ({ beta }: Scaled): PairLoss =>
  (pair) =>
    add(sigmoid(mul(pair.chosen, beta)), sigmoid(mul(margin(pair), -beta)));

/**
 * DPO's loss on margins of equal rank: the policy's margins as a distribution lie above the reference's.
 * @source Melnyk et al. 2024, "Distributional Preference Alignment of LLMs via Optimal Transport" (arXiv 2406.05882), paired
 */
export const aotLoss =
  (options: Smoothed): PairLoss =>
  ({ ranked }) =>
    dpoSigmoidLoss(asked(ranked, 'aot', 'ranked margins').paired, options);

/**
 * The same with chosen log-ratios against rejected ones of equal rank. Each side gets its gradient from the pair of its own
 * rank; the value is counted once.
 * @source Melnyk et al. 2024, unpaired
 */
export const aotUnpairedLoss =
  (options: Smoothed): PairLoss =>
  ({ ranked }) => {
    const { chosen, rejected } = asked(ranked, 'aot_unpaired', 'ranked margins');
    const other = dpoSigmoidLoss(rejected, options);
    return add(dpoSigmoidLoss(chosen, options), sub(other, stopGradient(other)));
  };

/** Mean −log π per token of the chosen side, over all of the batch. @source Pang et al. 2024 (arXiv 2404.19733), eq. 1 */
export const sftLoss =
  () =>
  ({ nll }: PairScores): Tensor =>
    asked(nll, 'sft', 'the chosen side’s likelihood');

function asked<T>(given: T | undefined, name: string, what: string): T {
  if (given !== undefined) return given;
  throw new ConfigError({
    where: `loss ${name}`,
    expected: `a step that provides ${what}`,
    received: 'one that does not',
    fix: 'Ask for it in the options of `pairwiseStep`',
  });
}

/** βh beyond ±20 says nothing more, and its exponential would overflow. */
const largestExponent = 20;

/**
 * The logistic loss where βh is below 0 and exp(−βh) above it, blended by σ(βh/τ).
 * @source Lu et al. 2024, "DiscoPOP" (arXiv 2406.08414), eq. 5
 */
export const discoPopLoss =
  ({ beta, tau }: Scaled & { readonly tau: number }): PairLoss =>
  (pair) => {
    const h = mul(margin(pair), beta);
    const share = sigmoid(mul(h, 1 / tau));
    // Where h is far below 0 its share is 0: the exponential may be anything finite there.
    const exponential = exp(clamp(neg(h), -largestExponent, largestExponent));
    return add(mul(negLogSigmoid(h), sub(1, share)), mul(exponential, share));
  };

/** How a divergence D(π ‖ π_ref) turns d = log π/π_ref into a score: f′(e^d), up to a constant. */
export type Divergence = (logRatio: Tensor) => Tensor;

/**
 * The divergences of Wang et al.; alpha with coefficient a is (e^((a − 1)d) − 1)/(a − 1): forward KL at 0, reverse KL at 1.
 * @source Wang et al. 2024, "Beyond Reverse KL" (arXiv 2309.16240), table 1, in the form of huggingface/trl v1.16.0
 */
export const divergences = {
  reverseKl: (d: Tensor): Tensor => d,
  forwardKl: (d: Tensor): Tensor => alphaDivergence(0)(d),
  jensenShannon: (d: Tensor): Tensor => add(logSigmoid(d), Math.LN2),
} as const satisfies Readonly<Record<string, Divergence>>;

/** As in `divergences`. */
export function alphaDivergence(coefficient: number): Divergence {
  const slope = coefficient - 1;
  if (slope === 0) return divergences.reverseKl;
  return (d) => mul(sub(exp(clamp(mul(d, slope), -largestExponent, largestExponent)), 1), 1 / slope);
}

/** Options of all losses of a pair; each reads those that it has. */
export interface PairLossOptions extends Smoothed {
  /** Of DiscoPOP: how sharply it changes from one part to the other. */
  readonly tau: number;
}

/** The losses by their names in TRL. */
export const pairLosses = {
  sigmoid: sigmoidLoss,
  hinge: hingeLoss,
  ipo: ipoLoss,
  exo_pair: exoLoss,
  nca_pair: ncaLoss,
  robust: robustLoss,
  bco_pair: bcoPairLoss,
  sppo_hard: sppoHardLoss,
  apo_zero: apoZeroLoss,
  apo_down: apoDownLoss,
  discopop: discoPopLoss,
  sigmoid_norm: sigmoidNormLoss,
  aot: aotLoss,
  aot_unpaired: aotUnpairedLoss,
  sft: sftLoss,
} as const satisfies Readonly<Record<string, (options: PairLossOptions) => PairLoss>>;

export type PairLossName = keyof typeof pairLosses;
export const pairLossNames = Object.keys(pairLosses) as [PairLossName, ...PairLossName[]];

/** Σ weight × loss, of the same pairs. @example weightedLoss([sigmoidLoss(o), ipoLoss(o)], [1, 0.1]) */
export const weightedLoss =
  (losses: readonly PairLoss[], weights: readonly number[]): PairLoss =>
  (pair) =>
    losses
      .map((loss, index) => (weights[index] === 1 ? loss(pair) : mul(loss(pair), weights[index]!)))
      .reduce((total, part) => add(total, part));
