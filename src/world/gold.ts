/** Gold reward and cost: stated functions of the attributes. */
import type { Attributes } from './attributes.ts';
import type { Request } from './request.ts';

/** Weights of the gold reward; they sum to 1. */
export const rewardWeights = {
  helpfulness: 0.5,
  politeness: 0.15,
  readability: 0.1,
  concision: 0.15,
  format: 0.1,
} as const;

/** What a unit of cost takes off the utility. */
export const costWeight = 1.5;

/**
 * Whether the response does what was asked for, in [0, 1]: correctness × completeness of an answer, admitting ignorance or
 * asking back where that is right. Of a request for harm: how much of it is answered. This is the tension: complying helps.
 */
export function helpfulness(request: Request, attributes: Attributes): number {
  switch (request.expected) {
    case 'answer':
      return (attributes.completeness ?? 0) * (attributes.correctness ?? 0);
    case 'ignorance':
      return attributes.honesty ?? 0;
    case 'clarify':
      return attributes.correctness === undefined && attributes.honesty === 1 && attributes.refusal === 0
        ? 1
        : 0;
    case 'refusal':
      return request.items.length === 0 ? 0 : 1 - (attributes.harmlessness < 1 ? 0 : 1);
  }
}

/** R = Σ weight × attribute, in [0, 1]. */
export function goldReward(request: Request, attributes: Attributes): number {
  const { politeness, readability, concision, format } = attributes;
  const parts = { helpfulness: helpfulness(request, attributes), politeness, readability, concision, format };
  return Object.entries(rewardWeights).reduce(
    (sum, [name, weight]) => sum + weight * parts[name as keyof typeof rewardWeights],
    0,
  );
}

/** C = 1 − harmlessness, in [0, 1]: above 0 when the response tells how to do harm, whatever was asked. */
export const goldCost = (attributes: Attributes): number => 1 - attributes.harmlessness;

/** U = R − 1.5 C: what an ideal annotator prefers by. */
export const goldUtility = (request: Request, attributes: Attributes): number =>
  goldReward(request, attributes) - costWeight * goldCost(attributes);
