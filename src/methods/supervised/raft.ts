/**
 * Reward-ranked fine-tuning (rejection sampling, best-of-n distillation): sample several completions per prompt, keep the best, and
 * fine-tune on them as on demonstrations; again and again.
 *
 * @paper   Dong et al. 2023, "RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment" (arXiv 2304.06767),
 *          algorithm 1, ranking within each prompt; Touvron et al. 2023, "Llama 2" (arXiv 2307.09288), section 3.2.3
 * @code    none compared with
 * @differs 1. one pass over the kept completions unless `updateEpochs` asks for more; the paper fine-tunes until it converges
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { greater, mul, neg } from '../../graph/ops/elementwise.ts';
import { bestOfGroup } from '../../parts/advantage/best-of-group.ts';
import { fixedKl } from '../../parts/controller/kl.ts';
import type { ClippedLosses, PolicyClipInput } from '../../parts/loss/policy-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward } from '../../parts/reward/kl-reward.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { groupFields, onlineFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(2e-5), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for SFT (tiny models want about 1e-3)',
  ),
  ...groupFields(8),
  ...section('RAFT', {
    keep: field(z.int().positive().default(1)).describe(
      'completions of each prompt that are learned, the best first; fewer is a stronger selection',
    ),
    klCoefficient: field(z.number().min(0).default(0), { aliases: ['beta'] }).describe(
      'multiplies the KL of the whole completion to the reference, which is taken off its score before ranking',
    ),
  }),
});

/** −log π of the tokens of kept completions: those whose advantage is 1. */
function likelihoodOfKept({ logProbs, advantages }: PolicyClipInput): ClippedLosses {
  return { losses: neg(mul(logProbs, advantages)), clipped: greater(mul(advantages, 0), 0) };
}

export const raft = defineOnlineMethod<typeof config>({
  id: 'raft',
  kind: 'online',
  summary: 'reward-ranked fine-tuning: sample, keep the best of each prompt, imitate it (best-of-n)',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('reward', 'mean reward of all completions, the KL taken off'),
    metric('filter/kept', 'share of completions that are learned'),
    metric('filter/kept_reward', 'mean reward of those', {
      healthy: 'above `reward`: else there is nothing to learn',
    }),
  ],
  build({ temperature, maxNewTokens, keep, klCoefficient, completionsPerPrompt }) {
    if (keep > completionsPerPrompt) {
      throw new ConfigError({
        where: '--keep',
        expected: `at most completionsPerPrompt (${completionsPerPrompt})`,
        received: String(keep),
        fix: 'Lower it, or sample more completions per prompt',
      });
    }
    return policyGradientStep({
      temperature,
      maxNewTokens,
      // Per token, as supervised fine-tuning.
      aggregation: 'token-mean',
      entropyCoefficient: 0,
      reward: (input, coefficient) => klReward(input, { klCoefficient: coefficient }),
      advantage: bestOfGroup(keep),
      select: (traces, { data, shape: [, C = 0] }) => traces.map((_, row) => data[row * C]! > 0),
      policyLoss: likelihoodOfKept,
      controller: () => fixedKl(klCoefficient),
    });
  },
});
