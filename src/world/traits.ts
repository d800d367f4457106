/** The attributes of a completion as people judge them: one list of names, a number or nothing for each. */
import { scoreAttributes } from './attributes.ts';
import { helpfulness } from './gold.ts';
import type { Request } from './request.ts';

/** What people rate. Each in [0, 1], except `words`. Higher is better, except for `words` and `flattery`: tastes differ. */
export const traitNames = [
  'helpfulness',
  'correctness',
  'completeness',
  'harmlessness',
  'honesty',
  'acceptance',
  'politeness',
  'readability',
  'concision',
  'format',
  'coherence',
  'words',
  'flattery',
] as const;
export type TraitName = (typeof traitNames)[number];

/** Undefined where a trait does not apply to the request or the completion. */
export type Traits = Readonly<Record<TraitName, number | undefined>>;

/** Scores a completion. `acceptance` is 1 − overRefusal; the others are the gold scorers' and `helpfulness`. */
export function scoreTraits(request: Request, completion: string): Traits {
  const attributes = scoreAttributes(request, completion);
  const { overRefusal, refusal: _, ...rest } = attributes;
  return {
    ...rest,
    helpfulness: helpfulness(request, attributes),
    acceptance: overRefusal === undefined ? undefined : 1 - overRefusal,
  };
}
